/* evict.c - pods/eviction: a delete that says why. No disruption budgets are served yet, so none
 * can refuse it. */
#include "plugins/apiserver/body.h"
#include "plugins/apiserver/condition.h"
#include "plugins/apiserver/removal.h"
#include "plugins/apiserver/sub.h"

static int evict_mark(struct removal *rm, int64_t now_seconds)
{
    struct condition disrupted = {.type = "DisruptionTarget",
                                  .status = "True",
                                  .reason = "EvictionByEvictionAPI",
                                  .message = "Eviction API: evicting"};
    return condition_set(&rm->object, &disrupted, now_seconds);
}

static void evict_done(struct removal *rm, bool missing, int64_t revision)
{
    struct exchange *ex = rm->ex;
    if (missing) {
        struct status_about about = request_about(&ex->request);
        exchange_fail(ex, status_not_found(&ex->arena, &about));
    } else {
        sub_answer_done(ex, revision);
    }
}

struct evict {
    struct removal removal;
    struct object eviction;
};

static bool evict_decode(struct exchange *ex, void *data)
{
    struct evict *v = data;
    return body_decode(ex, &v->eviction) && sub_check_name(ex, &v->eviction, "Eviction");
}

static void evict_decoded(void *data)
{
    struct evict *v = data;
    struct removal *rm = &v->removal;
    struct exchange *ex = rm->ex;
    const struct value *given = object_get(&v->eviction, "deleteOptions");
    struct object options = {.type = schema_type(SCHEMA_META_V1_DELETE_OPTIONS),
                             .arena = &ex->arena};
    if (given != NULL) {
        options.root = *given;
    }
    if (removal_init(rm, ex, given == NULL ? NULL : &options)) {
        rm->dry_run = rm->dry_run || ex->query.dry_run;
        rm->mark = evict_mark;
        rm->done = evict_done;
        removal_run_named(rm);
    }
}

void sub_evict(struct exchange *ex)
{
    struct evict *v = arena_zalloc(&ex->arena, sizeof *v);
    if (v == NULL) {
        exchange_no_memory(ex);
    } else if (body_check_options(ex, "CreateOptions")) {
        v->removal.ex = ex;
        exchange_work(ex, body_bytes(ex), evict_decode, evict_decoded, v);
    }
}
