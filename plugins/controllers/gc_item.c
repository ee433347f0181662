/* gc_item.c - one object of the graph that is out of order: asked for anew, judged, dealt with.
 *
 *   owner waits, orphan finalizer     its dependents are let go, then the finalizer goes
 *   owner waits, foreground           nothing blocks: the finalizer goes; else its dependents are
 *                                     looked at
 *   dependent                         asked for; its owners are asked for; judged (gc_verdict.h)
 *
 * Asking anew is what makes this safe: informers may be behind, the API server is not. */
#include "base/alloc.h"
#include "plugins/controllers/delete_options.h"
#include "plugins/controllers/claim.h"
#include "plugins/controllers/gc_impl.h"
#include "plugins/controllers/gc_verdict.h"

/* One key in work. */
struct gc_run {
    struct list link;
    struct gc *gc;
    struct work *work;
    struct arena arena;
    const struct schema_type *type;
    struct slice uid, space, name;
    const char *finalizer; /* to be taken away; NULL = it is a dependent */
    struct object now;     /* as the API server has it */
    enum gc_owner *owners; /* of each of its references */
    uint32_t in_flight;
    bool failed;
    bool cut; /* not all dependents were let go at once: the key comes again */
};

/* Dependents let go in one callback: a few milliseconds. */
#define GC_LET_GO_MAX 64u

struct gc_ask {
    struct gc_run *run;
    const struct schema_type *type;
    const struct value *reference; /* in run->now */
    enum gc_owner *verdict;
};

static void gc_run_free(struct gc_run *run)
{
    list_remove(&run->link);
    arena_close(&run->arena);
    mem_free(run);
}

void gc_run_free_first(struct gc *gc)
{
    gc_run_free(LIST_ENTRY(gc->runs.next, struct gc_run, link));
}

static struct gc_run *gc_run_new(struct gc *gc, struct work *w, const struct gc_node *n)
{
    struct gc_run *run = mem_zalloc(sizeof *run);
    struct slice space;
    struct slice name;
    if (run == NULL) {
        return NULL;
    }
    run->gc = gc;
    run->work = w;
    run->type = n->type;
    arena_init(&run->arena, 0);
    list_push_back(&gc->runs, &run->link);
    object_key_split(slice_str(n->key), &space, &name);
    run->uid = arena_dup(&run->arena, gc_node_uid(n));
    run->space = arena_dup(&run->arena, space);
    run->name = arena_dup(&run->arena, name);
    if (run->uid.data == NULL || run->space.data == NULL || run->name.data == NULL) {
        gc_run_free(run);
        return NULL;
    }
    return run;
}

static int gc_send(struct gc_run *run, struct client_request *r, unsigned forgiven)
{
    r->type = run->type;
    r->space = run->space;
    r->name = run->name;
    return work_send(run->work, r, forgiven);
}

/* A patch or deletion that nobody here waits for. What it was decided on may have changed: then it
 * is refused, and the key comes again. */
static void gc_send_last(struct gc_run *run, enum kvp_verb verb, enum client_patch patch,
                         struct buf *body)
{
    struct client_request r = {.verb = verb, .patch = patch, .body = buf_slice(body)};
    if (body->failed || gc_send(run, &r, WORK_NOT_FOUND_OK) != 0) {
        work_fail(run->work, "a request could not be sent");
    }
}

/* ---- dealing with a dependent --------------------------------------------------------------- */

static void gc_delete(struct gc_run *run, const char *propagation, bool any_version)
{
    struct buf body;
    buf_init(&body);
    delete_options_print(run->uid,
                         any_version ? slice_of("", 0)
                                     : object_text(&run->now, "metadata.resourceVersion"),
                         propagation, &body);
    gc_send_last(run, KVP_VERB_DELETE, CLIENT_PATCH_MERGE, &body);
    buf_close(&body);
}

/* One of its dependents waits for dependents itself: owners in a circle would wait for ever. */
static bool gc_is_circle(const struct gc_node *n)
{
    LIST_FOREACH (it, &n->dependents) {
        if (LIST_ENTRY(it, struct gc_edge, link)->dependent->foreground) {
            return true;
        }
    }
    return false;
}

static void gc_act(struct gc_run *run)
{
    size_t count = value_len(object_get(&run->now, "metadata.ownerReferences"));
    const struct gc_node *n = gc_graph_get(&run->gc->graph, run->uid);
    bool dependents = n != NULL && !list_empty(&n->dependents);
    struct buf body;
    buf_init(&body);
    switch (gc_judge(run->owners, count, dependents)) {
    case GC_KEEP:
        break;
    case GC_UNLINK:
        gc_print_unlink(&run->now, run->owners, &body);
        gc_send_last(run, KVP_VERB_PATCH, CLIENT_PATCH_STRATEGIC, &body);
        break;
    case GC_DELETE_FOREGROUND:
        if (gc_is_circle(n)) {
            gc_print_unblock(&run->now, &body);
            gc_send_last(run, KVP_VERB_PATCH, CLIENT_PATCH_STRATEGIC, &body);
            gc_delete(run, "Foreground", true);
        } else {
            gc_delete(run, "Foreground", false);
        }
        break;
    case GC_DELETE:
        gc_delete(run, gc_propagation(&run->now), false);
        break;
    }
    buf_close(&body);
}

/* ---- owners --------------------------------------------------------------------------------- */

/* The owner is one of another namespace, or of one while the object is of none. */
static void gc_tell_invalid(struct gc_run *run, const struct value *reference)
{
    struct slice version = reference_text(reference, "apiVersion");
    struct slice kind = reference_text(reference, "kind");
    struct slice name = reference_text(reference, "name");
    struct slice uid = reference_text(reference, "uid");
    if (run->space.len > 0 && !gc_graph_is_elsewhere(&run->gc->graph, reference, run->space)) {
        return; /* it is just gone */
    }
    recorder_warning(run->gc->recorder, &run->now, "OwnerRefInvalidNamespace",
                     "ownerRef [%.*s/%.*s, namespace: %.*s, name: %.*s, uid: %.*s] does not exist "
                     "in namespace \"%.*s\"",
                     (int)version.len, (const char *)version.data, (int)kind.len,
                     (const char *)kind.data, (int)run->space.len, (const char *)run->space.data,
                     (int)name.len, (const char *)name.data, (int)uid.len, (const char *)uid.data,
                     (int)run->space.len, (const char *)run->space.data);
}

/* All is answered: the verdict, unless something could not be found out. */
static void gc_settle(struct gc_run *run)
{
    if (run->in_flight > 0) {
        return;
    }
    if (!run->failed) {
        gc_act(run);
    }
    gc_run_free(run);
}

/* True: go on. Else the context has ended, and with the last answer the run. */
static bool gc_back(struct gc_run *run, const struct client_answer *answer)
{
    run->in_flight--;
    if (answer->reason != KVP_STOPPED) {
        return true;
    }
    if (run->in_flight == 0) {
        gc_run_free(run);
    }
    return false;
}

static void gc_owner_answer(void *data, const struct client_answer *answer)
{
    struct gc_ask *ask = data;
    struct gc_run *run = ask->run;
    struct object owner;
    struct errmsg e;
    if (!gc_back(run, answer)) {
        return;
    }
    if (answer->status == 404) {
        *ask->verdict = GC_DANGLING;
        gc_tell_invalid(run, ask->reference);
    } else if (answer->ok &&
               object_decode(&owner, ask->type, &run->arena, answer->body, NULL, &e) == 0) {
        *ask->verdict = gc_judge_owner(&owner, reference_text(ask->reference, "uid"));
    } else {
        run->failed = true;
        work_fail(run->work, "an owner could not be read");
    }
    gc_settle(run);
}

/* 0, or a reason. */
static int gc_ask_owner(struct gc_run *run, const struct value *reference, enum gc_owner *verdict)
{
    const struct schema_type *t = gc_type_of(reference);
    *verdict = GC_SOLID;
    if (t == NULL) {
        return 0; /* a kind that is not served: nobody can tell that it is gone */
    }
    bool namespaced = gc_is_namespaced(t);
    if (namespaced && run->space.len == 0) {
        gc_tell_invalid(run, reference);
        return 0; /* it cannot be resolved, so it is never collected */
    }
    struct gc_ask *ask = arena_alloc(&run->arena, sizeof *ask);
    if (ask == NULL) {
        return KVP_NO_MEMORY;
    }
    *ask = (struct gc_ask){run, t, reference, verdict};
    struct client_request r = {.verb = KVP_VERB_GET,
                               .type = t,
                               .space = namespaced ? run->space : slice_of("", 0),
                               .name = reference_text(reference, "name"),
                               .done = gc_owner_answer,
                               .data = ask};
    int rc = work_send(run->work, &r, WORK_NOT_FOUND_OK);
    run->in_flight += rc == 0;
    return rc;
}

static void gc_ask_owners(struct gc_run *run)
{
    const struct value *list = object_get(&run->now, "metadata.ownerReferences");
    size_t count = value_len(list);
    run->owners = arena_zalloc(&run->arena, (count + 1) * sizeof *run->owners);
    run->failed = run->owners == NULL;
    for (size_t i = 0; i < count && !run->failed; i++) {
        run->failed = gc_ask_owner(run, &list->items[i], &run->owners[i]) != 0;
    }
    if (run->failed) {
        work_fail(run->work, "the owners could not be asked for");
    }
    gc_settle(run);
}

/* ---- taking a finalizer away ---------------------------------------------------------------- */

static void gc_finish_owner(struct gc_run *run)
{
    struct buf body;
    buf_init(&body);
    if (gc_print_without_finalizer(&run->now, run->finalizer, &body)) {
        gc_send_last(run, KVP_VERB_PATCH, CLIENT_PATCH_MERGE, &body);
    }
    buf_close(&body);
    gc_run_free(run);
}

/* ---- the object itself ---------------------------------------------------------------------- */

static void gc_answer(void *data, const struct client_answer *answer)
{
    struct gc_run *run = data;
    struct errmsg e;
    if (!gc_back(run, answer)) {
        return;
    }
    bool there =
        answer->ok && object_decode(&run->now, run->type, &run->arena, answer->body, NULL, &e) == 0;
    if (!there && answer->status != 404) {
        work_fail(run->work, "the object could not be read");
    }
    /* Gone, or another one of its name: the informer will say so. */
    if (!there || !slice_eq(object_uid(&run->now), run->uid)) {
        gc_run_free(run);
    } else if (run->finalizer != NULL) {
        gc_finish_owner(run);
    } else if (object_is_deleted(&run->now)) {
        gc_run_free(run);
    } else {
        gc_ask_owners(run);
    }
}

static void gc_ask_object(struct gc_run *run)
{
    struct client_request r = {.verb = KVP_VERB_GET, .done = gc_answer, .data = run};
    if (gc_send(run, &r, WORK_NOT_FOUND_OK) != 0) {
        work_fail(run->work, "the object could not be asked for");
        gc_run_free(run);
        return;
    }
    run->in_flight++;
}

/* ---- letting dependents go ------------------------------------------------------------------ */

/* All that was sent is answered. */
static void gc_let_go_end(struct gc_run *run)
{
    if (run->cut && !run->failed) {
        if (works_add(run->gc->works, run->uid) != 0) {
            work_fail(run->work, "the other dependents could not be remembered");
        }
        gc_run_free(run);
    } else if (run->failed) {
        gc_run_free(run);
    } else {
        gc_ask_object(run);
    }
}

static void gc_let_go_answer(void *data, const struct client_answer *answer)
{
    struct gc_run *run = data;
    if (!gc_back(run, answer)) {
        return;
    }
    /* Conflict: the name is another object's by now. */
    run->failed = run->failed || (!answer->ok && answer->status != 404 && answer->status != 409);
    if (run->in_flight == 0) {
        gc_let_go_end(run);
    }
}

static int gc_let_go(struct gc_run *run, const struct gc_node *dependent)
{
    struct slice space;
    struct slice name;
    struct buf body;
    if (!gc_node_seen(dependent)) {
        return 0;
    }
    object_key_split(slice_str(dependent->key), &space, &name);
    buf_init(&body);
    claim_print_release(run->uid, gc_node_uid(dependent), &body);
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = dependent->type,
                               .space = space,
                               .name = name,
                               .patch = CLIENT_PATCH_STRATEGIC,
                               .body = buf_slice(&body),
                               .done = gc_let_go_answer,
                               .data = run};
    int rc = body.failed ? KVP_NO_MEMORY
                         : work_send(run->work, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    buf_close(&body);
    run->in_flight += rc == 0;
    return rc;
}

static void gc_orphan(struct gc_run *run, const struct gc_node *n)
{
    LIST_FOREACH (it, &n->dependents) {
        run->cut = run->in_flight == GC_LET_GO_MAX;
        if (run->cut) {
            break;
        }
        if (gc_let_go(run, LIST_ENTRY(it, struct gc_edge, link)->dependent) != 0) {
            run->failed = true;
            work_fail(run->work, "a dependent could not be let go");
            break;
        }
    }
    if (run->in_flight == 0) {
        gc_let_go_end(run);
    }
}

/* ---- one key -------------------------------------------------------------------------------- */

/* Those that hold up their owner, and do not wait for others themselves. */
static int64_t gc_look_at_blocking(struct gc *gc, const struct gc_node *n)
{
    int64_t result = KVP_DONE;
    LIST_FOREACH (it, &n->dependents) {
        const struct gc_edge *e = LIST_ENTRY(it, struct gc_edge, link);
        if (e->blocks && !e->dependent->deleted &&
            works_add(gc->works, gc_node_uid(e->dependent)) != 0) {
            result = KVP_RETRY;
        }
    }
    return result;
}

int64_t gc_reconcile(void *data, struct work *w, struct slice uid)
{
    struct gc *gc = data;
    const struct gc_node *n = gc_graph_get(&gc->graph, uid);
    if (!gc->ready || n == NULL || !gc_node_needs_look(n)) {
        return KVP_DONE;
    }
    if (n->foreground && !n->orphaning && gc_node_is_blocked(n)) {
        return gc_look_at_blocking(gc, n);
    }
    struct gc_run *run = gc_run_new(gc, w, n);
    if (run == NULL) {
        return KVP_RETRY;
    }
    if (n->orphaning) {
        run->finalizer = GC_ORPHAN;
        gc_orphan(run, n);
    } else {
        run->finalizer = n->foreground ? GC_FOREGROUND : NULL;
        gc_ask_object(run);
    }
    return KVP_DONE;
}
