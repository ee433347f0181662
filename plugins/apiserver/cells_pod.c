/* cells_pod.c - how a pod is doing, in a word: the cells of pods. */
#include "plugins/apiserver/cells.h"

#include <inttypes.h>

#include "plugins/object/instant.h"

/* What the cells of a pod say about its containers. */
struct pod_summary {
    struct slice status;
    int64_t ready, total;
    int64_t restarts;
    int64_t restarted; /* when last, microseconds; INSTANT_UNSET = unknown */
};

static bool is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

static const struct schema_type *status_type(void)
{
    return schema_type(SCHEMA_CORE_V1_CONTAINER_STATUS);
}

static struct value *status_get(const struct value *status, const char *path)
{
    return value_at(status_type(), status, path);
}

static struct slice status_text(const struct value *status, const char *path)
{
    return value_slice(status_get(status, path));
}

static int64_t status_int(const struct value *status, const char *path)
{
    const struct value *v = status_get(status, path);
    return v == NULL ? 0 : v->integer;
}

static bool status_bool(const struct value *status, const char *path)
{
    const struct value *v = status_get(status, path);
    return v != NULL && v->boolean;
}

/* A pod's condition of a type; NULL when it has none. */
static const struct value *pod_condition(const struct object *pod, struct slice type)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    const struct value *list = object_get(pod, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (slice_eq(value_slice(value_find(t, &list->items[i], "type")), type)) {
            return &list->items[i];
        }
    }
    return NULL;
}

static bool pod_condition_is_true(const struct object *pod, struct slice type)
{
    const struct value *condition = pod_condition(pod, type);
    return value_is_text(value_find(schema_type(SCHEMA_CORE_V1_POD_CONDITION), condition, "status"),
                         "True");
}

/* Whether a container restarts on its own beside the others: a sidecar. */
static bool container_is_sidecar(const struct value *container)
{
    return value_is_text(
        value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), container, "restartPolicy"), "Always");
}

static bool pod_has_sidecar(const struct object *pod, struct slice name)
{
    const struct value *list = object_get(pod, "spec.initContainers");
    bool sidecar = false;
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *container = &list->items[i];
        if (slice_eq(
                value_slice(value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), container, "name")),
                name)) {
            sidecar = container_is_sidecar(container);
        }
    }
    return sidecar;
}

static void count_restarts(const struct value *status, int64_t *count, int64_t *last)
{
    int64_t ended = cells_micros(status_get(status, "lastState.terminated.finishedAt"));
    *count += status_int(status, "restartCount");
    if (ended > *last) {
        *last = ended;
    }
}

/* Why a container ended: its reason, signal or exit code. */
static struct slice ended_why(struct cells *c, const struct value *status, const char *prefix)
{
    struct slice reason = status_text(status, "state.terminated.reason");
    int64_t signal = status_int(status, "state.terminated.signal");
    if (reason.len > 0) {
        return cells_format(c, "%s%.*s", prefix, (int)reason.len, (const char *)reason.data);
    }
    if (signal != 0) {
        return cells_format(c, "%sSignal:%" PRId64, prefix, signal);
    }
    return cells_format(c, "%sExitCode:%" PRId64, prefix,
                        status_int(status, "state.terminated.exitCode"));
}

/* The status of the first init container that is not through; false: all are. */
static bool summarize_init(struct cells *c, struct pod_summary *s, int64_t *sidecar_restarts,
                           int64_t *sidecar_restarted)
{
    const struct object *pod = c->object;
    const struct value *list = object_get(pod, "status.initContainerStatuses");
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *status = &list->items[i];
        struct slice waiting = status_text(status, "state.waiting.reason");
        bool ended = status_get(status, "state.terminated") != NULL;
        bool sidecar = pod_has_sidecar(pod, status_text(status, "name"));
        count_restarts(status, &s->restarts, &s->restarted);
        if (sidecar) {
            count_restarts(status, sidecar_restarts, sidecar_restarted);
        }
        if (ended && status_int(status, "state.terminated.exitCode") == 0) {
            continue;
        }
        if (sidecar && status_bool(status, "started")) {
            s->ready += status_bool(status, "ready");
            continue;
        }
        if (ended) {
            s->status = ended_why(c, status, "Init:");
        } else if (waiting.len > 0 && !is(waiting, "PodInitializing")) {
            s->status = cells_format(c, "Init:%.*s", (int)waiting.len, (const char *)waiting.data);
        } else {
            s->status = cells_format(c, "Init:%zu/%zu", i,
                                     value_len(object_get(pod, "spec.initContainers")));
        }
        return true;
    }
    return false;
}

/* The first container that has something to tell decides the status: they are asked from the last
 * to the first. */
static void summarize_containers(struct cells *c, struct pod_summary *s)
{
    const struct value *list = object_get(c->object, "status.containerStatuses");
    bool running = false;
    struct slice failed = slice_of("", 0);
    for (size_t i = value_len(list); i-- > 0;) {
        const struct value *status = &list->items[i];
        struct slice waiting = status_text(status, "state.waiting.reason");
        count_restarts(status, &s->restarts, &s->restarted);
        if (waiting.len > 0) {
            s->status = waiting;
        } else if (status_get(status, "state.terminated") != NULL) {
            s->status = ended_why(c, status, "");
            failed = status_int(status, "state.terminated.exitCode") != 0 ? s->status : failed;
        } else if (status_bool(status, "ready") && status_get(status, "state.running") != NULL) {
            running = true;
            s->ready++;
        }
    }
    if (!is(s->status, "Completed")) {
        return;
    }
    if (running && pod_condition_is_true(c->object, slice_str("Ready"))) {
        s->status = slice_str("Running");
    } else if (failed.len > 0) {
        s->status = failed;
    } else if (running) {
        s->status = slice_str("NotReady");
    }
}

static bool pod_waits_at_gate(const struct object *pod)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    const struct value *list = object_get(pod, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(t, &list->items[i], "type"), "PodScheduled") &&
            value_is_text(value_find(t, &list->items[i], "reason"), "SchedulingGated")) {
            return true;
        }
    }
    return false;
}

static struct pod_summary summarize(struct cells *c)
{
    const struct object *pod = c->object;
    struct slice phase = object_text(pod, "status.phase");
    struct slice reason = object_text(pod, "status.reason");
    struct pod_summary s = {.status = reason.len > 0 ? reason : phase, .restarted = INSTANT_UNSET};
    int64_t sidecar_restarts = 0;
    int64_t sidecar_restarted = INSTANT_UNSET;
    const struct value *init = object_get(pod, "spec.initContainers");
    s.total = (int64_t)value_len(object_get(pod, "spec.containers"));
    for (size_t i = 0; i < value_len(init); i++) {
        s.total += container_is_sidecar(&init->items[i]);
    }
    if (pod_waits_at_gate(pod)) {
        s.status = slice_str("SchedulingGated");
    }
    bool initializing = summarize_init(c, &s, &sidecar_restarts, &sidecar_restarted);
    if (!initializing || pod_condition_is_true(pod, slice_str("Initialized"))) {
        s.restarts = sidecar_restarts;
        s.restarted = sidecar_restarted;
        summarize_containers(c, &s);
    }
    if (object_get(pod, "metadata.deletionTimestamp") != NULL) {
        if (is(reason, "NodeLost")) {
            s.status = slice_str("Unknown");
        } else if (!is(phase, "Succeeded") && !is(phase, "Failed")) {
            s.status = slice_str("Terminating");
        }
    }
    return s;
}

/* The summary, made for the first column that shows some of it. */
static struct pod_summary summary_of(struct cells *c)
{
    struct pod_summary *s = c->memo;
    if (s == NULL) {
        s = arena_alloc(c->arena, sizeof *s);
        if (s == NULL) {
            c->out->failed = true;
            return (struct pod_summary){.status = slice_of("", 0)};
        }
        *s = summarize(c);
        c->memo = s;
    }
    return *s;
}

static void print_ready(struct cells *c)
{
    struct pod_summary s = summary_of(c);
    cells_put_int(c, s.ready);
    cells_put(c, "/");
    cells_put_int(c, s.total);
}

static void print_status(struct cells *c)
{
    cells_put_slice(c, summary_of(c).status);
}

static void print_restarts(struct cells *c)
{
    struct pod_summary s = summary_of(c);
    cells_put_int(c, s.restarts);
    if (s.restarts != 0 && s.restarted != INSTANT_UNSET) {
        cells_put(c, " (");
        cells_put_since(c, s.restarted);
        cells_put(c, " ago)");
    }
}

static void print_ip(struct cells *c)
{
    cells_put_path(c, "status.podIPs[0].ip", "<none>");
}

static void print_node(struct cells *c)
{
    cells_put_path(c, "spec.nodeName", "<none>");
}

static void print_nominated_node(struct cells *c)
{
    cells_put_path(c, "status.nominatedNodeName", "<none>");
}

static void print_readiness_gates(struct cells *c)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_READINESS_GATE);
    const struct value *gates = object_get(c->object, "spec.readinessGates");
    size_t open = 0;
    for (size_t i = 0; i < value_len(gates); i++) {
        open += pod_condition_is_true(
            c->object, value_slice(value_find(t, &gates->items[i], "conditionType")));
    }
    if (value_len(gates) == 0) {
        cells_put(c, "<none>");
    } else {
        buf_printf(c->out, "%zu/%zu", open, value_len(gates));
    }
}

const struct cells_column cells_pod[] = {
    {"Ready", print_ready, false},
    {"Status", print_status, false},
    {"Restarts", print_restarts, false},
    {"IP", print_ip, false},
    {"Node", print_node, false},
    {"Nominated Node", print_nominated_node, false},
    {"Readiness Gates", print_readiness_gates, false},
    {0},
};
