/* waiting.c - waits for a revision: any change of the store from there on tells of it. */
#include "plugins/apiserver/waiting.h"

#define WAITING_MS 3000u

struct waiting {
    struct exchange *ex;
    struct kvp_watch *watch;
    struct kvp_timer *timer;
    int64_t wanted, current;
    void (*then)(struct exchange *ex);
};

static void waiting_over(struct waiting *w)
{
    const struct kvp_host *host = w->ex->api->host;
    w->ex->gone = NULL;
    if (w->watch != NULL) {
        host->unwatch(w->watch);
        w->watch = NULL;
    }
    if (w->timer != NULL) {
        host->timer_cancel(w->timer);
        w->timer = NULL;
    }
}

static void waiting_gone(struct exchange *ex)
{
    waiting_over(ex->op);
}

static void waiting_events(void *data, const struct kvp_batch *batch)
{
    struct waiting *w = data;
    if (batch->revision >= w->wanted) {
        waiting_over(w);
        w->then(w->ex);
    }
}

static void waiting_failed(struct waiting *w)
{
    waiting_over(w);
    exchange_fail(w->ex, status_too_new(&w->ex->arena, w->wanted, w->current));
}

static void waiting_ended(void *data, const struct kvp_result *r)
{
    struct waiting *w = data;
    w->watch = NULL;
    waiting_failed(w);
}

static void waiting_late(void *data)
{
    struct waiting *w = data;
    w->timer = NULL;
    waiting_failed(w);
}

void wait_for_revision(struct exchange *ex, int64_t revision, int64_t current,
                       void (*then)(struct exchange *ex))
{
    const struct kvp_host *host = ex->api->host;
    struct waiting *w = arena_zalloc(&ex->arena, sizeof *w);
    if (w == NULL) {
        exchange_no_memory(ex);
        return;
    }
    *w = (struct waiting){.ex = ex, .wanted = revision, .current = current, .then = then};
    ex->op = w;
    ex->gone = waiting_gone;
    struct kvp_watch_args watch = {.size = sizeof watch,
                                   .flags = KVP_PREFIX,
                                   .from_revision = revision,
                                   .events = waiting_events,
                                   .ended = waiting_ended,
                                   .data = w};
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = WAITING_MS, .fire = waiting_late, .data = w};
    if (host->watch(ex->ctx, &watch, &w->watch) != 0 ||
        host->timer(ex->api->ctx, &timer, &w->timer) != 0) {
        waiting_failed(w);
    }
}
