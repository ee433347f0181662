/* node_lifecycle.c - the node lifecycle controller: the monitor's timer, and what follows at once
 * from the state of a node.
 *
 * Two queues: nodes (taints against scheduling as their conditions ask, the old labels of system
 * and architecture), and pods on nodes that are not ready (their Ready turns False, so services
 * send them nothing). */
#include <stdio.h>

#include "base/alloc.h"
#include "plugins/controllers/conditions.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/node_monitor.h"
#include "plugins/controllers/taint.h"
#include "plugins/object/encode.h"

#define NODE_FIRST_LOOK_MS 100u /* the caches of a warm member are synced by then */

struct node_lifecycle {
    struct controllers *all;
    struct node_monitor monitor;
    struct recorder *recorder;
    struct works *nodes; /* keys of nodes */
    struct works *pods;  /* keys of pods */
    struct handlers handlers;
};

/* ---- nodes ---------------------------------------------------------------------------------- */

static int node_send_patch(struct work *w, const struct object *node, struct slice body)
{
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = node->type,
                               .name = object_name(node),
                               .patch = CLIENT_PATCH_MERGE,
                               .body = body};
    return work_send(w, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
}

static int node_reconcile_taints(struct node_lifecycle *s, struct work *w,
                                 const struct object *node)
{
    struct taint_id add[TAINT_LIST_MAX];
    struct taint_id remove[TAINT_LIST_MAX];
    taint_wanted(node, add, remove);
    if (add[0].key == NULL && remove[0].key == NULL) {
        return 0;
    }
    struct arena a;
    struct buf body;
    bool changed;
    arena_init(&a, 0);
    buf_init(&body);
    int rc = taint_patch(node, add, remove, controllers_wall_s(s->all), &a, &body, &changed);
    if (rc == 0 && changed) {
        rc = node_send_patch(w, node, buf_slice(&body));
    }
    buf_close(&body);
    arena_close(&a);
    return rc;
}

/* beta.kubernetes.io/os and arch say what kubernetes.io/os and arch say. */
static int node_reconcile_labels(struct work *w, const struct object *node)
{
    static const char *const names[] = {"os", "arch"};
    const struct value *labels = object_get(node, "metadata.labels");
    struct buf body;
    buf_init(&body);
    for (size_t i = 0; i < 2; i++) {
        char from[32];
        char to[32];
        snprintf(from, sizeof from, "kubernetes.io/%s", names[i]);
        snprintf(to, sizeof to, "beta.kubernetes.io/%s", names[i]);
        const struct value *wanted = value_map_cget(labels, from);
        if (wanted != NULL &&
            !slice_eq(value_slice(wanted), value_slice(value_map_cget(labels, to)))) {
            buf_printf(&body, "%s\"%s\":", body.len == 0 ? "{\"metadata\":{\"labels\":{" : ",", to);
            encode_text(value_slice(wanted), &body);
        }
    }
    int rc = 0;
    if (body.len > 0) {
        buf_append_str(&body, "}}}");
        rc = body.failed ? KVP_NO_MEMORY : node_send_patch(w, node, buf_slice(&body));
    }
    buf_close(&body);
    return rc;
}

static int64_t node_reconcile(void *data, struct work *w, struct slice key)
{
    struct node_lifecycle *s = data;
    const struct object *node = informer_get(s->all->informers[WATCH_NODES], key);
    if (node == NULL) {
        return KVP_DONE;
    }
    int rc = node_reconcile_taints(s, w, node);
    rc = rc == 0 ? node_reconcile_labels(w, node) : rc;
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

/* ---- pods on nodes that are not ready ------------------------------------------------------- */

static bool node_is_down(const struct object *node)
{
    enum node_ready ready = node_health_ready(node);
    return ready == NODE_NOT_READY || ready == NODE_UNKNOWN;
}

/* The pod says Ready although its node is not. */
static bool node_pod_is_wrong(struct node_lifecycle *s, const struct object *pod)
{
    struct slice name = object_text(pod, "spec.nodeName");
    if (name.len == 0 || !conditions_is(conditions_find(pod, "Ready"), "True")) {
        return false;
    }
    const struct object *node = informer_get(s->all->informers[WATCH_NODES], name);
    return node != NULL && node_is_down(node);
}

static int64_t node_reconcile_pod(void *data, struct work *w, struct slice key)
{
    struct node_lifecycle *s = data;
    const struct object *pod = informer_get(s->all->informers[WATCH_PODS], key);
    if (pod == NULL || !node_pod_is_wrong(s, pod)) {
        return KVP_DONE;
    }
    struct arena a;
    struct object o;
    struct condition_want want = {.type = "Ready",
                                  .status = "False",
                                  .reason = NULL,
                                  .message = NULL,
                                  .now_s = controllers_wall_s(s->all)};
    arena_init(&a, 0);
    int rc = object_copy(pod, &a, &o);
    rc = rc == 0 ? conditions_set(&o, &want, NULL) : rc;
    if (rc == 0) {
        struct client_request r = {.verb = KVP_VERB_UPDATE,
                                   .type = o.type,
                                   .sub = "status",
                                   .space = object_namespace(pod),
                                   .name = object_name(pod),
                                   .object = &o};
        rc = work_send(w, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    }
    if (rc == 0) {
        recorder_warning(s->recorder, pod, "NodeNotReady", "Node is not ready");
    }
    arena_close(&a);
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

/* ---- changes -------------------------------------------------------------------------------- */

static int node_add_pod(void *data, const struct object *pod)
{
    struct node_lifecycle *s = data;
    if (node_pod_is_wrong(s, pod)) {
        handlers_queue_object(&s->handlers, s->pods, pod);
    }
    return 0;
}

static void node_changed(void *data, const struct object *before, const struct object *now)
{
    struct node_lifecycle *s = data;
    struct slice name = object_name(now != NULL ? now : before);
    bool replaced = before != NULL && now != NULL && !slice_eq(object_uid(before), object_uid(now));
    if (now == NULL || replaced) {
        recorder_normal(s->recorder, before, "RemovingNode",
                        "Node %.*s event: Removing Node %.*s from Controller", (int)name.len,
                        (const char *)name.data, (int)name.len, (const char *)name.data);
        node_monitor_forget(&s->monitor, name);
    }
    if (now != NULL) {
        handlers_queue_object(&s->handlers, s->nodes, now);
    }
    if (now != NULL && node_is_down(now) && (before == NULL || !node_is_down(before))) {
        informer_by_index(s->all->informers[WATCH_PODS], INDEX_POD_NODE, name, node_add_pod, s);
    }
}

static void node_pod_changed(void *data, const struct object *before, const struct object *now)
{
    (void)before;
    if (now != NULL) {
        node_add_pod(data, now);
    }
}

static void node_look_at_all(void *data)
{
    struct node_lifecycle *s = data;
    node_monitor_look(&s->monitor);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void node_lifecycle_close(void *self)
{
    struct node_lifecycle *s = self;
    handlers_off(&s->handlers);
    works_close(s->nodes);
    works_close(s->pods);
    node_monitor_close(&s->monitor);
    recorder_close(s->recorder);
    mem_free(s);
}

static int node_lifecycle_begin(struct node_lifecycle *s, struct client term)
{
    struct controllers *all = s->all;
    struct informer *nodes = all->informers[WATCH_NODES];
    struct informer *pods = all->informers[WATCH_PODS];
    struct works_args a = {.name = "node-taints",
                           .parallel = 8,
                           .reconcile = node_reconcile,
                           .data = s,
                           .informers = {nodes}};
    struct works_args b = {.name = "node-pods",
                           .parallel = 8,
                           .reconcile = node_reconcile_pod,
                           .data = s,
                           .informers = {nodes, pods}};
    struct kvp_timer_args timer = {.size = sizeof timer,
                                   .after_ms = NODE_FIRST_LOOK_MS,
                                   .repeat_ms = (uint64_t)all->conf->node_monitor_period_ms,
                                   .fire = node_look_at_all,
                                   .data = s};
    int rc = works_open(term, &a, &s->nodes);
    rc = rc != 0 ? rc : works_open(term, &b, &s->pods);
    rc = rc != 0 ? rc : handlers_add(&s->handlers, nodes, node_changed, s);
    rc = rc != 0 ? rc : handlers_add(&s->handlers, pods, node_pod_changed, s);
    return rc != 0 ? rc : term.host->timer(term.ctx, &timer, NULL);
}

static int node_lifecycle_open(struct controllers *all, struct client term, void **self)
{
    struct node_lifecycle *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    s->all = all;
    s->handlers.term = term;
    s->recorder = recorder_open(term, "node-controller");
    node_monitor_init(&s->monitor, all, term, s->recorder);
    int rc = s->recorder == NULL ? KVP_NO_MEMORY : node_lifecycle_begin(s, term);
    if (rc != 0) {
        node_lifecycle_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller node_lifecycle_controller = {.name = "node-lifecycle-controller",
                                                     .open = node_lifecycle_open,
                                                     .close = node_lifecycle_close};
