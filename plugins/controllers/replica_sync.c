/* replica_sync.c - one owner: count, make or delete, write the status. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "plugins/controllers/claim.h"
#include "plugins/controllers/delete_options.h"
#include "plugins/controllers/pod_template.h"
#include "plugins/controllers/replica_pod.h"
#include "plugins/controllers/replicas_impl.h"

void replica_sync_free(struct replica_sync *s)
{
    list_remove(&s->link);
    arena_close(&s->arena);
    mem_free(s);
}

static struct replica_sync *replica_sync_new(struct replicas *c, struct work *w, struct slice key,
                                             const struct object *owner)
{
    struct replica_sync *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->c = c;
    s->work = w;
    arena_init(&s->arena, 0);
    list_push_back(&c->syncs, &s->link);
    s->key = arena_dup(&s->arena, key);
    if (s->key.data == NULL || object_copy(owner, &s->arena, &s->owner) != 0) {
        replica_sync_free(s);
        return NULL;
    }
    return s;
}

/* ---- the end: the status -------------------------------------------------------------------- */

static void replica_write_status(struct replica_sync *s)
{
    bool changed = false;
    int rc = replica_status_set(&s->owner, &s->counts, s->failed, s->why,
                                controllers_wall_s(s->c->all), &changed);
    if (rc == 0 && changed) {
        struct client_request r = {.verb = KVP_VERB_UPDATE,
                                   .type = s->owner.type,
                                   .sub = "status",
                                   .space = object_namespace(&s->owner),
                                   .name = object_name(&s->owner),
                                   .object = &s->owner};
        /* Conflict: somebody else wrote, and his event brings the key again. */
        rc = work_send(s->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    }
    if (rc != 0) {
        work_fail(s->work, "the status could not be written");
    }
}

static void replica_sync_finish(struct replica_sync *s)
{
    replica_write_status(s);
    replica_sync_free(s);
}

/* False: the context has ended, and with the last answer the sync. */
static bool replica_back(struct replica_sync *s, const struct client_answer *answer)
{
    s->in_flight--;
    if (answer->reason != KVP_STOPPED) {
        return true;
    }
    if (s->in_flight == 0) {
        replica_sync_free(s);
    }
    return false;
}

static void replica_sync_failed(struct replica_sync *s, const char *reason, struct slice why)
{
    if (s->failed == NULL) {
        s->failed = reason;
        s->why = arena_dup(&s->arena, why);
        s->why = s->why.data == NULL ? slice_of("", 0) : s->why;
    }
}

/* ---- too few -------------------------------------------------------------------------------- */

/* The name of the object in an answer; empty when it cannot be told. */
static struct slice replica_answer_name(const struct client_answer *answer, struct arena *a)
{
    struct object o;
    struct errmsg e;
    const struct schema_type *t = schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA);
    return object_decode(&o, t, a, answer->body, NULL, &e) == 0 ? object_text(&o, "metadata.name")
                                                                : slice_of("", 0);
}

static void replica_go_on_creating(struct replica_sync *s);

static void replica_created(void *data, const struct client_answer *answer)
{
    struct replica_sync *s = data;
    struct replicas *c = s->c;
    if (!replica_back(s, answer)) {
        return;
    }
    if (client_certainly_not(answer)) {
        expects_created(c->expects, s->key);
    }
    if (answer->ok) {
        struct arena a;
        arena_init(&a, 0);
        struct slice name = replica_answer_name(answer, &a);
        recorder_normal(c->recorder, &s->owner, "SuccessfulCreate", "Created pod: %.*s",
                        (int)name.len, (const char *)name.data);
        arena_close(&a);
    } else if (answer->ns_terminating) {
        /* The others would be refused as well, and the owner goes soon, too. */
        for (; s->left > 0; s->left--) {
            expects_created(c->expects, s->key);
        }
    } else {
        recorder_warning(c->recorder, &s->owner, "FailedCreate", "Error creating: %.*s",
                         (int)answer->message.len, (const char *)answer->message.data);
        replica_sync_failed(s, "FailedCreate", answer->message);
    }
    replica_go_on_creating(s);
}

static int replica_create(struct replica_sync *s)
{
    struct client_request r = {.verb = KVP_VERB_CREATE,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .space = object_namespace(&s->owner),
                               .body = s->body,
                               .done = replica_created,
                               .data = s};
    return work_send(s->work, &r, WORK_NS_TERMINATING_OK);
}

/* Sends more of the batch while there is room; when all of it is answered, the next one, twice as
 * large; when something failed, no more. */
static void replica_go_on_creating(struct replica_sync *s)
{
    if (s->in_flight == 0 && s->begun == s->batch) {
        s->batch *= 2;
        s->begun = 0;
    }
    while (s->failed == NULL && s->left > 0 && s->begun < s->batch &&
           s->in_flight < REPLICAS_IN_FLIGHT_MAX) {
        if (replica_create(s) != 0) {
            work_fail(s->work, "a pod could not be asked for");
            replica_sync_failed(s, "FailedCreate", slice_str("the request could not be sent"));
            break;
        }
        s->begun++;
        s->left--;
        s->in_flight++;
    }
    if (s->in_flight == 0) {
        /* What is not begun will not be seen. */
        for (; s->left > 0; s->left--) {
            expects_created(s->c->expects, s->key);
        }
        replica_sync_finish(s);
    }
}

static bool replica_make_body(struct replica_sync *s)
{
    struct object pod;
    struct buf text;
    buf_init(&text);
    bool ok =
        pod_from_template(&s->owner, object_get(&s->owner, "spec.template"), &s->arena, &pod) == 0;
    if (ok) {
        object_encode(&pod, &text);
        s->body = arena_dup(&s->arena, buf_slice(&text));
        ok = !text.failed && s->body.data != NULL;
    }
    buf_close(&text);
    return ok;
}

/* False: nothing began. Else s belongs to the answers. */
static bool replica_begin_creating(struct replica_sync *s, uint32_t count)
{
    if (!replica_make_body(s) || expects_creations(s->c->expects, s->key, count) != 0) {
        return false;
    }
    s->left = count;
    s->batch = 1;
    replica_go_on_creating(s);
    return true;
}

/* ---- too many ------------------------------------------------------------------------------- */

struct replica_victim { /* a pod that goes */
    struct replica_sync *sync;
    struct slice name, uid;
};

static void replica_go_on_deleting(struct replica_sync *s);

static void replica_deleted(void *data, const struct client_answer *answer)
{
    struct replica_victim *v = data;
    struct replica_sync *s = v->sync;
    struct replicas *c = s->c;
    if (!replica_back(s, answer)) {
        return;
    }
    bool gone = answer->status == 404 || answer->status == 409;
    if (client_certainly_not(answer)) {
        expects_deleted(c->expects, s->key, v->uid);
    }
    if (answer->ok) {
        recorder_normal(c->recorder, &s->owner, "SuccessfulDelete", "Deleted pod: %.*s",
                        (int)v->name.len, (const char *)v->name.data);
    } else if (!gone) {
        recorder_warning(c->recorder, &s->owner, "FailedDelete", "Error deleting: %.*s",
                         (int)answer->message.len, (const char *)answer->message.data);
        replica_sync_failed(s, "FailedDelete", answer->message);
    }
    replica_go_on_deleting(s);
}

static int replica_delete(struct replica_sync *s, struct replica_victim *v)
{
    struct buf options;
    buf_init(&options);
    delete_options_print(v->uid, slice_of("", 0), NULL, &options);
    struct client_request r = {.verb = KVP_VERB_DELETE,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .space = object_namespace(&s->owner),
                               .name = v->name,
                               .body = buf_slice(&options),
                               .done = replica_deleted,
                               .data = v};
    int rc = options.failed ? KVP_NO_MEMORY
                            : work_send(s->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    buf_close(&options);
    return rc;
}

/* Sends more while there is room. */
static void replica_go_on_deleting(struct replica_sync *s)
{
    while (s->left > 0 && s->in_flight < REPLICAS_IN_FLIGHT_MAX) {
        struct replica_victim *v = &s->victims[s->begun++];
        s->left--;
        if (replica_delete(s, v) == 0) {
            s->in_flight++;
            continue;
        }
        expects_deleted(s->c->expects, s->key, v->uid);
        work_fail(s->work, "a deletion could not be asked for");
        replica_sync_failed(s, "FailedDelete", slice_str("the request could not be sent"));
    }
    if (s->in_flight == 0) {
        replica_sync_finish(s);
    }
}

/* pods: the first `count` of them go. As replica_begin_creating. */
static bool replica_begin_deleting(struct replica_sync *s, const struct rank_pod *pods,
                                   uint32_t count)
{
    struct replicas *c = s->c;
    struct replica_victim *v = arena_zalloc(&s->arena, count * sizeof *v);
    if (v == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        v[i].sync = s;
        v[i].name = arena_dup(&s->arena, object_name(pods[i].pod));
        v[i].uid = arena_dup(&s->arena, pods[i].uid);
        if (v[i].name.data == NULL || v[i].uid.data == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (expects_deletion(c->expects, s->key, v[i].uid) != 0) {
            expects_forget(c->expects, s->key);
            return false;
        }
    }
    s->victims = v;
    s->left = count;
    replica_go_on_deleting(s);
    return true;
}

/* ---- what there is -------------------------------------------------------------------------- */

/* Pods of an owner, as one pass over the informer sees them. */
struct replica_gather {
    struct replica_sync *sync;
    struct label_selector selector, template;
    struct claims claims;
    struct slice owner_uid;
    bool owner_deleted;
    int64_t min_ready_s, now_s;
    const struct object **pods; /* active and ours; in the informer */
    size_t count, room;
    bool failed;
};

static int replica_gather_pod(void *data, const struct object *pod)
{
    struct replica_gather *g = data;
    struct replica_sync *s = g->sync;
    struct replica_look look;
    replica_look(&s->c->fields, pod, &look);
    enum claim what = claim_judge(look.owner_uid.len > 0, slice_eq(look.owner_uid, g->owner_uid),
                                  label_selector_matches(&g->selector, look.labels),
                                  g->owner_deleted, look.deleted);
    if (what == CLAIM_OWNED) {
        replica_count(&s->counts, &look, &g->template, g->min_ready_s, g->now_s);
    } else if (look.active) {
        claims_note(&g->claims, what, pod);
    }
    if (what != CLAIM_OWNED || !look.active) {
        return 0;
    }
    if (g->count == g->room) {
        size_t room = g->room == 0 ? 16 : g->room * 2;
        const struct object **pods = mem_realloc(g->pods, room * sizeof *pods);
        if (pods == NULL) {
            g->failed = true;
            return 1;
        }
        g->pods = pods;
        g->room = room;
    }
    g->pods[g->count++] = pod;
    return 0;
}

static int replica_each_pod(struct replicas *c, const struct object *owner, informer_each_fn *each,
                            void *data)
{
    return claim_each_child(c->pods, object_namespace(owner), object_uid(owner), each, data);
}

/* ---- pods that share nodes ------------------------------------------------------------------ */

/* Nodes of the active pods of an owner's siblings, and how many are on each. */
struct replica_nodes {
    struct replicas *c;
    const struct rank_pod *pods; /* candidates, sorted by node */
    uint32_t *together;
    size_t count;
};

static int replica_by_node(const void *a, const void *b)
{
    return slice_cmp(((const struct rank_pod *)a)->node, ((const struct rank_pod *)b)->node);
}

static int replica_count_node(void *data, const struct object *pod)
{
    struct replica_nodes *n = data;
    struct replica_look look;
    size_t low = 0;
    size_t high = n->count;
    replica_look(&n->c->fields, pod, &look);
    struct slice node = look.node;
    if (!look.active) {
        return 0;
    }
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (slice_cmp(n->pods[mid].node, node) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (; low < n->count && slice_eq(n->pods[low].node, node); low++) {
        n->together[low]++;
    }
    return 0;
}

static int replica_count_sibling(void *data, const struct object *owner)
{
    struct replica_nodes *n = data;
    replica_each_pod(n->c, owner, replica_count_node, n);
    return 0;
}

/* Pods of the owner and of what is owned by the same one, such as a deployment's other sets. */
static bool replica_count_together(struct replica_sync *s, struct rank_pod *pods, size_t count)
{
    const struct value *parent = object_controller(&s->owner);
    uint32_t *together = arena_zalloc(&s->arena, count * sizeof *together);
    struct replica_nodes n = {.c = s->c, .pods = pods, .together = together, .count = count};
    if (together == NULL) {
        return false;
    }
    qsort(pods, count, sizeof *pods, replica_by_node);
    if (parent != NULL && s->c->kind->watch == WATCH_REPLICASETS) {
        claim_each_child(s->c->owners, object_namespace(&s->owner), reference_text(parent, "uid"),
                         replica_count_sibling, &n);
    } else {
        replica_count_sibling(&n, &s->owner);
    }
    for (size_t i = 0; i < count; i++) {
        pods[i].together = together[i];
    }
    return true;
}

/* ---- one key -------------------------------------------------------------------------------- */

static bool replica_shrink(struct replica_sync *s, const struct replica_gather *g, uint32_t surplus)
{
    struct rank_pod *pods = arena_alloc(&s->arena, g->count * sizeof *pods);
    uint32_t count = surplus < REPLICAS_BURST ? surplus : REPLICAS_BURST;
    if (pods == NULL) {
        return false;
    }
    for (size_t i = 0; i < g->count; i++) {
        rank_read(&pods[i], &s->c->fields, g->pods[i]);
    }
    if (count < g->count) {
        if (!replica_count_together(s, pods, g->count)) {
            return false;
        }
        rank_sort(pods, g->count, (int64_t)s->c->all->host->wall_us(s->c->all->ctx));
    }
    return replica_begin_deleting(s, pods, count);
}

/* Makes the number right. False: failed before anything began; s is still the caller's. */
static bool replica_manage(struct replica_sync *s, const struct replica_gather *g)
{
    int64_t wanted = object_int(&s->owner, "spec.replicas", 1);
    int64_t missing = wanted - (int64_t)g->count;
    bool may = !object_is_deleted(&s->owner) && expects_satisfied(s->c->expects, s->key);
    if (!may || missing == 0) {
        replica_sync_finish(s);
        return true;
    }
    if (missing > 0) {
        return replica_begin_creating(s, missing < (int64_t)REPLICAS_BURST ? (uint32_t)missing
                                                                           : REPLICAS_BURST);
    }
    return replica_shrink(s, g, (uint32_t)-missing);
}

/* 0: all is gathered; KVP_DONE-like results otherwise: *result. */
static bool replica_gather(struct replica_gather *g, int64_t *result)
{
    struct replica_sync *s = g->sync;
    struct slice space = object_namespace(&s->owner);
    const struct value *labels = object_get(&s->owner, "spec.template.metadata.labels");
    int rc = replicas_selector(&s->owner, &s->arena, &g->selector);
    rc = rc != 0 ? rc : label_selector_from_map(labels, &s->arena, &g->template);
    if (rc != 0) {
        *result = rc == ERR_NOMEM ? KVP_RETRY : KVP_DONE;
        return false;
    }
    g->owner_uid = object_uid(&s->owner);
    g->owner_deleted = object_is_deleted(&s->owner);
    g->min_ready_s = object_int(&s->owner, "spec.minReadySeconds", 0);
    g->now_s = controllers_wall_s(s->c->all);
    g->claims = (struct claims){.owner = &s->owner, .work = s->work};
    replica_each_pod(s->c, &s->owner, replica_gather_pod, g);
    claim_each_orphan(s->c->pods, space, replica_gather_pod, g);
    if (g->failed) {
        claims_drop(&g->claims);
        *result = KVP_RETRY;
        return false;
    }
    int adopts = claims_adopt(&g->claims);
    *result = adopts < 0 ? KVP_RETRY : KVP_DONE;
    return adopts == 0;
}

int64_t replica_reconcile(void *data, struct work *w, struct slice key)
{
    struct replicas *c = data;
    const struct object *owner = informer_get(c->owners, key);
    int64_t result = KVP_DONE;
    if (owner == NULL) {
        expects_forget(c->expects, key);
        return KVP_DONE;
    }
    if (!c->caught_up) {
        return KVP_DONE;
    }
    struct replica_gather g = {.sync = replica_sync_new(c, w, key, owner)};
    if (g.sync == NULL) {
        return KVP_RETRY;
    }
    if (!replica_gather(&g, &result)) {
        replica_sync_free(g.sync);
    } else {
        int64_t wait_ms = g.sync->counts.next_s * 1000;
        int64_t left_ms = (int64_t)expects_left_ms(c->expects, key);
        result = wait_ms <= 0 || (left_ms > 0 && left_ms < wait_ms) ? left_ms : wait_ms;
        if (!replica_manage(g.sync, &g)) {
            replica_sync_free(g.sync);
            result = KVP_RETRY;
        }
    }
    mem_free(g.pods);
    return result;
}
