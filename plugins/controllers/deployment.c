/* deployment.c - deployments: which events bring which ones to be worked on, and doing what
 * rollout.h decides.
 *
 * One key: claim its replica sets, decide, change the sets, and when all of that is answered write
 * the status. What could not be done leaves the status alone and comes again. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/list.h"
#include "plugins/controllers/claim.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/delete_options.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/replica_pod.h"
#include "plugins/controllers/rollout.h"

struct deployments {
    struct controllers *all;
    struct informer *deployments, *sets, *pods;
    struct works *works;
    struct recorder *recorder;
    struct handlers handlers;
    struct list runs; /* those in work */
};

/* One deployment in work, from the decision to the status. */
struct deploy_run {
    struct list link;
    struct deployments *c;
    struct work *work;
    struct arena arena;
    struct slice key;
    struct object before; /* as it was decided on */
    struct rollout rollout;
    uint32_t in_flight;
    bool failed; /* a set could not be changed: no status */
};

/* One change of a set. */
struct deploy_write {
    struct deploy_run *run;
    struct rollout_set *set;
};

static void deploy_run_free(struct deploy_run *run)
{
    list_remove(&run->link);
    arena_close(&run->arena);
    mem_free(run);
}

/* ---- the end: the status -------------------------------------------------------------------- */

static void deploy_finish(struct deploy_run *run)
{
    bool changed = false;
    int64_t again_ms = 0;
    int rc = run->failed ? 0 : rollout_status(&run->rollout, &run->before, &changed, &again_ms);
    if (rc == 0 && changed) {
        struct client_request r = {.verb = KVP_VERB_UPDATE,
                                   .type = run->rollout.d.type,
                                   .sub = "status",
                                   .object = &run->rollout.d};
        /* Conflict: somebody else wrote, and his event brings the key again. */
        rc = work_send(run->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    }
    if (rc != 0) {
        work_fail(run->work, "the status could not be written");
    }
    if (again_ms > 0 && works_add_after(run->c->works, run->key, (uint64_t)again_ms) != 0) {
        work_fail(run->work, "the deadline could not be remembered");
    }
    deploy_run_free(run);
}

/* ---- changing sets -------------------------------------------------------------------------- */

static void deploy_told_scaled(struct deploy_run *run, const struct rollout_set *s)
{
    struct slice name = object_name(&s->o);
    if (s->want != s->was) {
        recorder_normal(run->c->recorder, &run->before, "ScalingReplicaSet",
                        "Scaled %s replica set %.*s from %d to %d",
                        s->want > s->was ? "up" : "down", (int)name.len, (const char *)name.data,
                        s->was, s->want);
    }
}

/* True when this answer may still be followed by a status; else the run is over. */
static bool deploy_back(struct deploy_run *run, const struct client_answer *answer)
{
    run->in_flight--;
    if (answer->reason == KVP_STOPPED) {
        if (run->in_flight == 0) {
            deploy_run_free(run);
        }
        return false;
    }
    return true;
}

static void deploy_settle(struct deploy_run *run)
{
    if (run->in_flight == 0) {
        deploy_finish(run);
    }
}

static void deploy_changed(void *data, const struct client_answer *answer)
{
    struct deploy_write *w = data;
    struct deploy_run *run = w->run;
    if (!deploy_back(run, answer)) {
        return;
    }
    if (answer->ok && !w->set->removed) {
        deploy_told_scaled(run, w->set);
    }
    run->failed = run->failed || (!answer->ok && !w->set->removed);
    deploy_settle(run);
}

/* The name of the new set is taken: by itself, when our informer is behind, or by another one, and
 * then the next try uses another name. */
static void deploy_exists(struct deploy_run *run, const struct rollout_set *s)
{
    const struct object *there =
        informer_find(run->c->sets, object_namespace(&s->o), object_name(&s->o));
    const struct value *ref = there == NULL ? NULL : object_controller(there);
    if (there == NULL || (slice_eq(reference_text(ref, "uid"), object_uid(&run->before)) &&
                          rollout_same_template(&run->before, there))) {
        run->failed = true;
    } else if (rollout_collided(&run->rollout) != 0) {
        run->failed = true;
    }
}

static void deploy_created(void *data, const struct client_answer *answer)
{
    struct deploy_write *w = data;
    struct deploy_run *run = w->run;
    struct slice name = object_name(&w->set->o);
    struct slice why = answer->message;
    int rc = 0;
    if (!deploy_back(run, answer)) {
        return;
    }
    if (answer->ok) {
        deploy_told_scaled(run, w->set);
        rc = rollout_created(&run->rollout);
    } else if (slice_eq(answer->status_reason, slice_str("AlreadyExists"))) {
        deploy_exists(run, w->set);
    } else if (answer->ns_terminating || !client_certainly_not(answer)) {
        run->failed = true;
    } else {
        char text[1024];
        snprintf(text, sizeof text, "Failed to create new replica set \"%.*s\": %.*s",
                 (int)name.len, (const char *)name.data, (int)why.len, (const char *)why.data);
        recorder_warning(run->c->recorder, &run->before, "ReplicaSetCreateError", "%s", text);
        rc = rollout_create_failed(&run->rollout, slice_str(text));
    }
    run->failed = run->failed || rc != 0;
    if (!answer->ok) {
        /* It is not there: nothing of it may be counted. */
        run->rollout.count--;
        run->rollout.fresh = run->rollout.count;
    }
    deploy_settle(run);
}

static int deploy_send_set(struct deploy_run *run, struct rollout_set *s)
{
    struct deploy_write *w = arena_alloc(&run->arena, sizeof *w);
    bool creates = run->rollout.create && s == rollout_fresh(&run->rollout);
    struct client_request r = {.type = s->o.type, .object = &s->o, .data = w};
    struct buf options;
    if (w == NULL) {
        return KVP_NO_MEMORY;
    }
    *w = (struct deploy_write){run, s};
    if (creates) {
        r.verb = KVP_VERB_CREATE;
        r.done = deploy_created;
        return object_set_controller(&s->o, &run->before) != 0
                   ? KVP_NO_MEMORY
                   : work_send(run->work, &r, WORK_NS_TERMINATING_OK);
    }
    r.done = deploy_changed;
    if (!s->removed) {
        r.verb = KVP_VERB_UPDATE;
        return object_set_int(&s->o, "spec.replicas", s->want) != 0
                   ? KVP_NO_MEMORY
                   : work_send(run->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    }
    r.verb = KVP_VERB_DELETE;
    r.object = NULL;
    r.space = object_namespace(&s->o);
    r.name = object_name(&s->o);
    buf_init(&options);
    delete_options_print(object_uid(&s->o), slice_of("", 0), NULL, &options);
    r.body = buf_slice(&options);
    int rc = options.failed ? KVP_NO_MEMORY
                            : work_send(run->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    buf_close(&options);
    return rc;
}

/* Sends all changes. The run belongs to the answers, or is over. */
static void deploy_carry_out(struct deploy_run *run)
{
    struct rollout *r = &run->rollout;
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_set *s = &r->sets[i];
        bool creates = r->create && i == r->fresh;
        if (!creates && !s->removed && !s->changed && s->want == s->was) {
            continue;
        }
        if (deploy_send_set(run, s) == 0) {
            run->in_flight++;
        } else {
            run->failed = true;
        }
    }
    if (run->failed) {
        work_fail(run->work, "a replica set could not be changed");
    }
    deploy_settle(run);
}

/* ---- what there is -------------------------------------------------------------------------- */

struct deploy_gather {
    struct deploy_run *run;
    struct label_selector selector;
    struct claims claims;
    size_t room;
    bool failed;
};

static int deploy_gather_set(void *data, const struct object *set)
{
    struct deploy_gather *g = data;
    struct deploy_run *run = g->run;
    struct rollout *r = &run->rollout;
    enum claim what = claim_decide(&run->before, &g->selector, set);
    claims_note(&g->claims, what, set);
    if (what != CLAIM_OWNED) {
        return 0;
    }
    /* One place stays free for a new set. */
    if (r->count + 1 >= g->room) {
        size_t room = g->room == 0 ? 8 : g->room * 2;
        struct rollout_set *sets = arena_alloc(&run->arena, room * sizeof *sets);
        if (sets == NULL) {
            g->failed = true;
            return 1;
        }
        if (r->count > 0) {
            memcpy(sets, r->sets, r->count * sizeof *sets);
        }
        r->sets = sets;
        g->room = room;
    }
    struct object copy;
    if (object_copy(set, &run->arena, &copy) != 0) {
        g->failed = true;
        return 1;
    }
    rollout_set_read(&r->sets[r->count++], &copy);
    return 0;
}

static int deploy_pod_runs(void *data, const struct object *pod)
{
    bool *there = data;
    *there = !replica_pod_ended(pod);
    return *there;
}

static void deploy_look_for_old_pods(struct deploy_run *run)
{
    struct rollout *r = &run->rollout;
    for (size_t i = 0; i < r->count && !r->old_pods; i++) {
        if (i != r->fresh) {
            claim_each_child(run->c->pods, object_namespace(&run->before),
                             object_uid(&r->sets[i].o), deploy_pod_runs, &r->old_pods);
        }
    }
}

/* True: all sets are in the run. Else *result is what reconcile returns. */
static bool deploy_gather_sets(struct deploy_run *run, int64_t *result)
{
    struct deploy_gather g = {.run = run, .claims = {.owner = &run->before, .work = run->work}};
    struct errmsg e;
    struct object *d = &run->before;
    int rc = label_selector_from(object_get(d, "spec.selector"), &run->arena, &g.selector, &e);
    if (rc != 0) {
        *result = rc == ERR_NOMEM ? KVP_RETRY : KVP_DONE;
        return false;
    }
    run->rollout.sets = arena_alloc(&run->arena, 4 * sizeof *run->rollout.sets);
    g.room = 4;
    g.failed = run->rollout.sets == NULL;
    if (!g.failed) {
        claim_each_child(run->c->sets, object_namespace(d), object_uid(d), deploy_gather_set, &g);
        claim_each_orphan(run->c->sets, object_namespace(d), deploy_gather_set, &g);
    }
    if (g.failed) {
        claims_drop(&g.claims);
        *result = KVP_RETRY;
        return false;
    }
    int adopts = claims_adopt(&g.claims);
    *result = adopts < 0 ? KVP_RETRY : KVP_DONE;
    return adopts == 0;
}

/* ---- one key -------------------------------------------------------------------------------- */

static struct deploy_run *deploy_run_new(struct deployments *c, struct work *w, struct slice key,
                                         const struct object *d)
{
    struct deploy_run *run = mem_zalloc(sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    run->c = c;
    run->work = w;
    arena_init(&run->arena, 0);
    list_push_back(&c->runs, &run->link);
    run->key = arena_dup(&run->arena, key);
    run->rollout.arena = &run->arena;
    run->rollout.now_us = (int64_t)c->all->host->wall_us(c->all->ctx);
    if (run->key.data == NULL || object_copy(d, &run->arena, &run->before) != 0 ||
        object_copy(d, &run->arena, &run->rollout.d) != 0) {
        deploy_run_free(run);
        return NULL;
    }
    return run;
}

/* One that selects every pod would take over all others' replica sets. */
static bool deploy_selects_all(const struct object *d)
{
    return value_len(object_get(d, "spec.selector.matchLabels")) == 0 &&
           value_len(object_get(d, "spec.selector.matchExpressions")) == 0;
}

static int64_t deploy_refuse(struct deploy_run *run)
{
    struct object *d = &run->rollout.d;
    int64_t generation = object_int(d, "metadata.generation", 0);
    int rc = 0;
    recorder_warning(run->c->recorder, d, "SelectingAll",
                     "This deployment is selecting all pods. A non-empty selector is required.");
    if (object_int(d, "status.observedGeneration", 0) < generation) {
        struct client_request r = {
            .verb = KVP_VERB_UPDATE, .type = d->type, .sub = "status", .object = d};
        rc = object_set_int(d, "status.observedGeneration", generation);
        rc = rc != 0 ? rc : work_send(run->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    }
    deploy_run_free(run);
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

static int64_t deploy_reconcile(void *data, struct work *w, struct slice key)
{
    struct deployments *c = data;
    const struct object *d = informer_get(c->deployments, key);
    int64_t result = KVP_DONE;
    if (d == NULL) {
        return KVP_DONE;
    }
    struct deploy_run *run = deploy_run_new(c, w, key, d);
    if (run == NULL) {
        return KVP_RETRY;
    }
    if (deploy_selects_all(d)) {
        return deploy_refuse(run);
    }
    if (!deploy_gather_sets(run, &result)) {
        deploy_run_free(run);
        return result;
    }
    rollout_begin(&run->rollout);
    if (!rollout_is_rolling(&run->rollout)) {
        deploy_look_for_old_pods(run);
    }
    if (rollout_decide(&run->rollout) != 0) {
        deploy_run_free(run);
        return KVP_RETRY;
    }
    deploy_carry_out(run);
    return KVP_DONE;
}

/* ---- events --------------------------------------------------------------------------------- */

static void deploy_event(void *data, const struct object *before, const struct object *now)
{
    struct deployments *c = data;
    handlers_queue_object(&c->handlers, c->works, now != NULL ? now : before);
}

/* The deployment that a set names as its owner, when it is still that one. */
static const struct object *deploy_owner_of(struct deployments *c, const struct object *set)
{
    const struct value *ref = object_controller(set);
    if (ref == NULL || !slice_eq(reference_text(ref, "kind"), slice_str("Deployment"))) {
        return NULL;
    }
    const struct object *d =
        informer_find(c->deployments, object_namespace(set), reference_text(ref, "name"));
    return d != NULL && slice_eq(object_uid(d), reference_text(ref, "uid")) ? d : NULL;
}

static bool deploy_add_owner(struct deployments *c, const struct object *set)
{
    const struct object *d = deploy_owner_of(c, set);
    if (d != NULL) {
        handlers_queue_object(&c->handlers, c->works, d);
    }
    return d != NULL;
}

struct deploy_orphan {
    struct deployments *c;
    const struct object *set;
};

static int deploy_add_if_matching(void *data, const struct object *d)
{
    struct deploy_orphan *o = data;
    struct label_selector s;
    struct errmsg e;
    struct arena a;
    arena_init(&a, 0);
    int rc = label_selector_from(object_get(d, "spec.selector"), &a, &s, &e);
    if (rc == ERR_NOMEM) {
        handlers_check(&o->c->handlers, KVP_NO_MEMORY);
    } else if (rc == 0 && label_selector_matches(&s, object_get(o->set, "metadata.labels"))) {
        handlers_queue_object(&o->c->handlers, o->c->works, d);
    }
    arena_close(&a);
    return 0;
}

static void deploy_set_event(void *data, const struct object *before, const struct object *now)
{
    struct deployments *c = data;
    const struct object *set = now != NULL ? now : before;
    struct slice was =
        before == NULL ? slice_of("", 0) : reference_text(object_controller(before), "uid");
    struct slice is = reference_text(object_controller(set), "uid");
    if (before != NULL && !slice_eq(was, is)) {
        deploy_add_owner(c, before);
    }
    if (is.len > 0) {
        deploy_add_owner(c, set);
    } else if (now != NULL && !object_is_deleted(now)) {
        struct deploy_orphan o = {c, now};
        informer_each_in(c->deployments, object_namespace(now), deploy_add_if_matching, &o);
    }
}

/* Recreate waits for the last pod of the old sets to go. */
static void deploy_pod_event(void *data, const struct object *before, const struct object *now)
{
    struct deployments *c = data;
    const struct value *ref = object_controller(now != NULL ? now : before);
    bool went = now == NULL || replica_pod_ended(now);
    if (!went || !slice_eq(reference_text(ref, "kind"), slice_str("ReplicaSet"))) {
        return;
    }
    const struct object *pod = now != NULL ? now : before;
    const struct object *set =
        informer_find(c->sets, object_namespace(pod), reference_text(ref, "name"));
    const struct object *d = set != NULL ? deploy_owner_of(c, set) : NULL;
    if (d != NULL && value_is_text(object_get(d, "spec.strategy.type"), "Recreate")) {
        handlers_queue_object(&c->handlers, c->works, d);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void deployments_close(void *self)
{
    struct deployments *c = self;
    handlers_off(&c->handlers);
    works_close(c->works);
    while (!list_empty(&c->runs)) {
        deploy_run_free(LIST_ENTRY(c->runs.next, struct deploy_run, link));
    }
    recorder_close(c->recorder);
    mem_free(c);
}

static int deployments_open(struct controllers *all, struct client term, void **self)
{
    struct deployments *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return KVP_NO_MEMORY;
    }
    c->all = all;
    c->handlers.term = term;
    c->deployments = all->informers[WATCH_DEPLOYMENTS];
    c->sets = all->informers[WATCH_REPLICASETS];
    c->pods = all->informers[WATCH_PODS];
    list_init(&c->runs);
    c->recorder = recorder_open(term, "deployment-controller");
    struct works_args a = {.name = deployment_controller.name,
                           .parallel = (uint32_t)all->conf->concurrent_deployment_syncs,
                           .reconcile = deploy_reconcile,
                           .data = c,
                           .informers = {c->deployments, c->sets, c->pods}};
    int rc = c->recorder == NULL ? KVP_NO_MEMORY : works_open(term, &a, &c->works);
    rc = rc != 0 ? rc : handlers_add(&c->handlers, c->deployments, deploy_event, c);
    rc = rc != 0 ? rc : handlers_add(&c->handlers, c->sets, deploy_set_event, c);
    rc = rc != 0 ? rc : handlers_add(&c->handlers, c->pods, deploy_pod_event, c);
    if (rc != 0) {
        deployments_close(c);
        return rc;
    }
    *self = c;
    return 0;
}

const struct controller deployment_controller = {
    .name = "deployment-controller", .open = deployments_open, .close = deployments_close};
