/* watch.c - watches of the test host: batches of whole revisions, sometimes several at once. */
#include "plugins/testing/world.h"

struct kvp_watch {
    struct list link; /* first: in kvp_ctx.watches, then among the graves */
    struct task task;
    struct kvp_ctx *ctx;
    struct kvp_watch_args args;
    struct span span;
    int64_t next; /* revision that comes next */
    bool over;
    char *keys; /* what span points at */
};

static void watch_over(struct kvp_watch *w)
{
    w->over = true;
    task_cancel(&w->task);
    list_remove(&w->link);
    list_push_back(&world->graves, &w->link);
    uint64_t left = quiet_begin();
    mem_free(w->keys);
    w->keys = NULL;
    quiet_end(left);
}

static void watch_end(struct kvp_watch *w, int32_t reason, int64_t revision)
{
    struct kvp_result r = {.size = sizeof(r),
                           .outcome = KVP_REFUSED,
                           .reason = reason,
                           .revision = revision,
                           .text = "the watch has ended"};
    watch_over(w);
    if (w->args.ended != NULL) {
        callback_begin();
        w->args.ended(w->args.data, &r);
        callback_end();
    }
}

/* The position of the first change of revision >= the watch's next one. */
static size_t watch_position(const struct kvp_watch *w)
{
    const struct store *s = &world->store;
    size_t low = 0;
    size_t high = s->log_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->log[middle]->row.mod_revision < w->next) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool watch_wants(const struct kvp_watch *w, const struct store_change *c)
{
    uint32_t filter = c->deleted ? KVP_NO_DELETE : KVP_NO_PUT;
    return (w->args.flags & filter) == 0 && span_has(&w->span, c->key->bytes);
}

static void watch_event(const struct kvp_watch *w, const struct store_change *c,
                        struct kvp_event *e)
{
    *e = (struct kvp_event){.type = c->deleted ? KVP_EVENT_DELETE : KVP_EVENT_PUT, .row = c->row};
    if ((w->args.flags & KVP_PREV_KV) != 0 && c->before != NULL && !c->before->deleted) {
        e->has_prev = 1;
        e->prev = c->before->row;
    }
}

/* Gives one to three revisions. */
static void watch_give(struct kvp_watch *w)
{
    const struct store *s = &world->store;
    size_t first = watch_position(w);
    size_t revisions = 1 + chance_below(3);
    size_t end = first;
    int64_t last = w->next - 1;
    while (end < s->log_count && (s->log[end]->row.mod_revision == last || revisions > 0)) {
        revisions -= s->log[end]->row.mod_revision != last;
        last = s->log[end]->row.mod_revision;
        end++;
    }
    uint64_t left = quiet_begin();
    struct kvp_event *events = mem_xalloc((end - first + 1) * sizeof(*events));
    quiet_end(left);
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        if (watch_wants(w, s->log[i])) {
            watch_event(w, s->log[i], &events[count++]);
        }
    }
    w->next = end < s->log_count ? s->log[end]->row.mod_revision : s->revision + 1;
    struct kvp_batch batch = {
        .size = sizeof(batch), .revision = w->next - 1, .events = events, .count = count};
    bool progress = (w->args.flags & KVP_PROGRESS) != 0 && chance_below(4) == 0;
    if ((count > 0 || progress) && w->args.events != NULL) {
        callback_begin();
        w->args.events(w->args.data, &batch);
        callback_end();
    }
    mem_free(events);
}

static void watch_task(struct task *t)
{
    struct kvp_watch *w = LIST_ENTRY(t, struct kvp_watch, task);
    if (w->next < world->store.compacted) {
        watch_end(w, KVP_COMPACTED, world->store.compacted);
        return;
    }
    if (world->chaos > 0 && chance_below(200) < world->chaos) {
        watch_end(w, chance_below(2) == 0 ? KVP_UNAVAILABLE : KVP_BUSY, 0);
        return;
    }
    if (w->next <= world->store.revision) {
        watch_give(w);
    }
    if (!w->over && w->next <= world->store.revision) {
        task_soon(&w->task);
    }
}

int t_call_watch(struct kvp_ctx *ctx, const struct kvp_watch_args *a, struct kvp_watch **out)
{
    if (a == NULL || a->size == 0 || a->events == NULL || out == NULL || a->from_revision < 0 ||
        (a->key.len == 0 && (a->flags & KVP_PREFIX) == 0)) {
        misuse("watch: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    int reason = call_simple(ctx, "watch");
    if (reason != 0) {
        return reason;
    }
    struct kvp_watch *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return KVP_NO_MEMORY;
    }
    w->ctx = ctx;
    w->args = *a;
    w->keys = quiet_zalloc(a->key.len + a->end.len + 1);
    if (a->key.len > 0) {
        memcpy(w->keys, a->key.data, a->key.len);
    }
    if (a->end.len > 0) {
        memcpy(w->keys + a->key.len, a->end.data, a->end.len);
    }
    w->span = span_of(kvp_bytes_of(w->keys, a->key.len),
                      kvp_bytes_of(w->keys + a->key.len, a->end.len), a->flags);
    w->next = a->from_revision != 0 ? a->from_revision : world->store.revision + 1;
    w->task.run = watch_task;
    list_push_back(&ctx->watches, &w->link);
    if (w->next <= world->store.revision) {
        task_soon(&w->task);
    }
    *out = w;
    return 0;
}

void t_call_unwatch(struct kvp_watch *w)
{
    if (w == NULL) {
        return;
    }
    if (w->over) {
        misuse("unwatch of a watch that is over");
        return;
    }
    watch_over(w);
}

void watches_feed(void)
{
    LIST_FOREACH (ctx, &world->contexts) {
        LIST_FOREACH (it, &LIST_ENTRY(ctx, struct kvp_ctx, link)->watches) {
            struct kvp_watch *w = LIST_ENTRY(it, struct kvp_watch, link);
            bool behind = w->next <= world->store.revision || w->next < world->store.compacted;
            if (!task_is_set(&w->task) && behind) {
                task_soon(&w->task);
            }
        }
    }
}

void watches_end(struct kvp_ctx *ctx)
{
    while (!list_empty(&ctx->watches)) {
        watch_end(LIST_ENTRY(ctx->watches.next, struct kvp_watch, link), KVP_STOPPED, 0);
    }
}
