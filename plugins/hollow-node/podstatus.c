/* podstatus.c - a pod's life as the status a kubelet would write. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "plugins/hollow-node/podlife.h"
#include "plugins/object/instant.h"

static void put_time(struct json *j, const char *key, int64_t seconds)
{
    char text[INSTANT_TEXT_BYTES_MAX];
    json_key(j, key);
    json_str(j, slice_of(text, instant_print(seconds, text)));
}

static void put_id(struct json *j, const struct object *pod, struct slice name, int32_t restarts)
{
    struct slice uid = object_text(pod, "metadata.uid");
    char text[192];
    int n = snprintf(text, sizeof text, "hollow://%.*s/%.*s/%d", (int)uid.len,
                     (const char *)uid.data, (int)name.len, (const char *)name.data, restarts);
    json_str(j, slice_of(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
}

static void put_terminated(struct json *j, int32_t code, int64_t began_s, int64_t ended_s)
{
    json_key(j, "terminated");
    json_object(j);
    json_key(j, "exitCode");
    json_int(j, code);
    json_key(j, "reason");
    json_cstr(j, code == 0 ? "Completed" : "Error");
    put_time(j, "startedAt", began_s != 0 ? began_s : ended_s);
    put_time(j, "finishedAt", ended_s);
    json_object_end(j);
}

/* The seconds of the back-off that a container is in, for its message. */
static uint64_t backoff_s(const struct podlife_container *c)
{
    uint64_t s = 10;
    for (int32_t i = 2; i < c->crashes && s < 300; i++) {
        s *= 2;
    }
    return s < 300 ? s : 300;
}

static void put_waiting(struct json *j, const struct podlife *l, const struct object *pod,
                        const struct podlife_container *c, struct slice name)
{
    json_key(j, "waiting");
    json_object(j);
    json_key(j, "reason");
    if (c->again) {
        struct slice pod_name = object_text(pod, "metadata.name");
        struct slice space = object_text(pod, "metadata.namespace");
        struct slice uid = object_text(pod, "metadata.uid");
        char text[768];
        json_cstr(j, "CrashLoopBackOff");
        snprintf(text, sizeof text,
                 "back-off %llus restarting failed container=%.*s pod=%.*s_%.*s(%.*s)",
                 (unsigned long long)backoff_s(c), (int)name.len, (const char *)name.data,
                 (int)pod_name.len, (const char *)pod_name.data, (int)space.len,
                 (const char *)space.data, (int)uid.len, (const char *)uid.data);
        json_key(j, "message");
        json_cstr(j, text);
    } else {
        json_cstr(j, l->init_count > 0 ? "PodInitializing" : "ContainerCreating");
    }
    json_object_end(j);
}

static void put_container(struct json *j, const struct podlife *l, const struct object *pod,
                          const struct podlife_container *c, const struct value *spec, bool init)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    struct slice name = value_slice(value_at(t, spec, "name"));
    json_object(j);
    json_key(j, "name");
    json_str(j, name);
    json_key(j, "state");
    json_object(j);
    if (c->state == PODLIFE_RUNNING) {
        json_key(j, "running");
        json_object(j);
        put_time(j, "startedAt", c->began_s);
        json_object_end(j);
    } else if (c->state == PODLIFE_ENDED) {
        put_terminated(j, c->code, c->began_s, c->ended_s);
    } else {
        put_waiting(j, l, pod, c, name);
    }
    json_object_end(j);
    json_key(j, "lastState");
    json_object(j);
    if (c->again) {
        put_terminated(j, c->last_code, c->last_began_s, c->last_ended_s);
    }
    json_object_end(j);
    json_key(j, "ready");
    /* An init container that has done its work counts as ready. */
    json_bool(j, c->ready || (init && c->state == PODLIFE_ENDED && c->code == 0));
    json_key(j, "restartCount");
    json_int(j, c->restarts);
    json_key(j, "image");
    json_str(j, value_slice(value_at(t, spec, "image")));
    json_key(j, "imageID");
    json_cstr(j, "");
    if (c->state != PODLIFE_WAITING || c->again) {
        json_key(j, "containerID");
        put_id(j, pod, name, c->restarts);
    }
    json_key(j, "started");
    json_bool(j, c->state == PODLIFE_RUNNING);
    json_object_end(j);
}

static void put_containers(struct json *j, const struct podlife *l, const struct object *pod,
                           bool init)
{
    const struct value *specs = object_get(pod, init ? "spec.initContainers" : "spec.containers");
    size_t count = init ? l->init_count : l->count;
    if (count == 0) {
        return;
    }
    json_key(j, init ? "initContainerStatuses" : "containerStatuses");
    json_array(j);
    for (size_t i = 0; i < count && i < value_len(specs); i++) {
        const struct podlife_container *c = &l->containers[init ? i : l->init_count + i];
        put_container(j, l, pod, c, &specs->items[i], init);
    }
    json_array_end(j);
}

/* "containers with unready status: [a b]". */
static void put_unready(struct json *j, const struct podlife *l, const struct object *pod,
                        bool init)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct value *specs = object_get(pod, init ? "spec.initContainers" : "spec.containers");
    struct buf text;
    bool first = true;
    buf_init(&text);
    buf_printf(&text, "containers with %s status: [", init ? "incomplete" : "unready");
    for (size_t i = 0; i < value_len(specs); i++) {
        const struct podlife_container *c = &l->containers[init ? i : l->init_count + i];
        bool fine = init ? c->state == PODLIFE_ENDED && c->code == 0 : c->ready;
        if (!fine) {
            buf_append_str(&text, first ? "" : " ");
            buf_append_slice(&text, value_slice(value_at(t, &specs->items[i], "name")));
            first = false;
        }
    }
    buf_append_str(&text, "]");
    json_str(j, buf_slice(&text));
    buf_close(&text);
}

/* Why a condition does not hold (or, of a pod that is done, why it does); NULL = no word on it. */
static const char *reason_of(const struct podlife *l, const struct object *pod,
                             enum podlife_condition c)
{
    bool holds = podlife_holds(l, pod, c);
    bool failed = l->done && podlife_phase(l)[0] == 'F';
    if (c == PODLIFE_INITIALIZED && l->done && !failed) {
        return "PodCompleted";
    }
    if (holds || c == PODLIFE_SANDBOX || c == PODLIFE_SCHEDULED) {
        return NULL;
    }
    if (c == PODLIFE_INITIALIZED) {
        return "ContainersNotInitialized";
    }
    if (l->done) {
        return failed ? "PodFailed" : "PodCompleted";
    }
    return c == PODLIFE_READY && podlife_holds(l, pod, PODLIFE_CONTAINERS_READY)
               ? "ReadinessGatesNotReady"
               : "ContainersNotReady";
}

/* Reason and message; null where there is none, so that an earlier one does not stay. */
static void put_reason(struct json *j, const struct podlife *l, const struct object *pod,
                       enum podlife_condition c)
{
    const char *reason = reason_of(l, pod, c);
    json_key(j, "reason");
    if (reason == NULL) {
        json_null(j);
    } else {
        json_cstr(j, reason);
    }
    json_key(j, "message");
    if (reason == NULL || strncmp(reason, "Pod", 3) == 0) {
        json_null(j);
    } else if (c == PODLIFE_READY && strcmp(reason, "ReadinessGatesNotReady") == 0) {
        json_cstr(j, "a condition that the pod's readiness gates name is not \"True\"");
    } else {
        put_unready(j, l, pod, c == PODLIFE_INITIALIZED);
    }
}

static void put_conditions(struct json *j, struct podlife *l, const struct object *pod,
                           int64_t wall_s)
{
    json_key(j, "conditions");
    json_array(j);
    for (int i = 0; i < PODLIFE_CONDITIONS; i++) {
        enum podlife_condition c = (enum podlife_condition)i;
        bool holds = podlife_holds(l, pod, c);
        if (l->was[i] != (int8_t)holds || l->since_s[i] == 0) {
            l->was[i] = (int8_t)holds;
            l->since_s[i] = wall_s;
        }
        json_object(j);
        json_key(j, "type");
        json_cstr(j, podlife_condition_name(c));
        json_key(j, "status");
        json_cstr(j, holds ? "True" : "False");
        json_key(j, "lastProbeTime");
        json_null(j);
        put_time(j, "lastTransitionTime", l->since_s[i]);
        put_reason(j, l, pod, c);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_address(struct json *j, const char *one, const char *list, const char *ip)
{
    json_key(j, one);
    json_cstr(j, ip);
    json_key(j, list);
    json_array(j);
    json_object(j);
    json_key(j, "ip");
    json_cstr(j, ip);
    json_object_end(j);
    json_array_end(j);
}

void podlife_patch(struct podlife *l, const struct object *pod, const char *host_ip,
                   const char *pod_ip, int64_t wall_s, struct buf *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    json_key(&j, "metadata");
    json_object(&j);
    json_key(&j, "uid");
    json_str(&j, object_text(pod, "metadata.uid"));
    json_object_end(&j);
    json_key(&j, "status");
    json_object(&j);
    json_key(&j, "phase");
    json_cstr(&j, podlife_phase(l));
    put_conditions(&j, l, pod, wall_s);
    put_address(&j, "hostIP", "hostIPs", host_ip);
    if (l->sandbox && *pod_ip != '\0') {
        put_address(&j, "podIP", "podIPs", pod_ip);
    }
    if (l->start_s != 0) {
        put_time(&j, "startTime", l->start_s);
    }
    put_containers(&j, l, pod, true);
    put_containers(&j, l, pod, false);
    json_object_end(&j);
    json_object_end(&j);
}
