/* turn.c - one turn: pods from the queue, each through its cycle; see scheduler.h.
 *
 * A turn ends when its budget is used up and goes on in the next callback, so that news, answers
 * and everything else of this lane come in between. */
#include "plugins/scheduler/scheduler.h"

#include <stdio.h>

/* About a thousandth of a millisecond each: looks at a node or a pod. A turn is some milliseconds.
 */
#define TURN_BUDGET    4000
#define TURN_POD_COST  40 /* of taking a pod and writing its binding */
#define TURN_EXPIRE_MS 1000u

void scheduler_wake(struct scheduler *s)
{
    if (s->leading) {
        alarm_set(&s->alarm, 0);
    }
}

static void turn_dice(void *data, void *out, size_t len)
{
    struct scheduler *s = data;
    s->host->random(s->ctx, out, len);
}

/* Begins the cycle of the pod in hand. */
static void turn_begin(struct scheduler *s)
{
    struct sched_pod *p = s->current->pod;
    arena_clear(&s->spread_arena);
    struct sched_cycle_args a = {
        .cluster = &s->cluster,
        .pod = p,
        .weights = &s->conf->weights,
        .spread_selector = scheduler_spreading(s, p, &s->spread_arena, &s->spread_selector),
        .random = turn_dice,
        .data = s,
        .start = &s->start,
    };
    sched_cycle_begin(&s->cycle, &a);
    s->begun = true;
    s->preempting = false;
}

static bool turn_take(struct scheduler *s, int64_t *budget)
{
    while (s->current == NULL) {
        struct sched_waiting *w = s->bindings < SCHED_BINDINGS_MAX
                                      ? sched_queue_pop(&s->queue, scheduler_now_ms(s))
                                      : NULL;
        if (w == NULL) {
            return false;
        }
        *budget -= TURN_POD_COST;
        if (w->pod->deleted) {
            scheduler_skip(s, w);
        } else {
            s->current = w;
            s->begun = false;
        }
    }
    return true;
}

/* No node: may others leave? */
static void turn_preempt(struct scheduler *s)
{
    const char *refusal = sched_preempt_refusal(&s->cycle);
    if (refusal != NULL) {
        char post[160];
        int len =
            snprintf(post, sizeof post, "no new claims to deallocate, preemption: %s", refusal);
        struct sched_waiting *w = s->current;
        s->current = NULL;
        scheduler_refuse(s, w, slice_of(post, (size_t)len), NULL, false);
        return;
    }
    uint64_t dice = 0;
    turn_dice(s, &dice, sizeof dice);
    sched_preempt_begin(&s->preemption, &s->cycle, dice);
    s->preempting = true;
}

static void turn_preempted(struct scheduler *s)
{
    struct sched_waiting *w = s->current;
    struct buf post;
    buf_init(&post);
    s->current = NULL;
    s->preempting = false;
    if (s->preemption.chosen == NULL) {
        buf_append_str(&post, "no new claims to deallocate, preemption: ");
        sched_preempt_message(&s->preemption, &post);
    }
    if (s->preemption.failed || post.failed) {
        scheduler_fail(s, w, "");
    } else {
        scheduler_refuse(s, w, buf_slice(&post), s->preemption.chosen,
                         s->preemption.chosen == NULL);
    }
    buf_close(&post);
}

static void turn_ended(struct scheduler *s, enum sched_result result)
{
    struct sched_waiting *w = s->current;
    switch (result) {
    case SCHED_MORE:
        break;
    case SCHED_CHOSEN:
        s->current = NULL;
        scheduler_bind(s, w, s->cycle.chosen);
        break;
    case SCHED_NO_NODE:
    case SCHED_REJECTED:
        turn_preempt(s);
        break;
    case SCHED_NO_NODES:
        s->current = NULL;
        scheduler_refuse(s, w, slice_of(NULL, 0), NULL, false);
        break;
    case SCHED_NO_MEMORY:
        s->current = NULL;
        scheduler_fail(s, w, "");
        break;
    }
}

/* Works on the pod in hand. */
static void turn_work(struct scheduler *s, int64_t *budget)
{
    /* Nodes came or went while victims were looked for: what was found is worth nothing. */
    if (!s->begun || (s->preempting && s->cycle.version != s->cluster.version)) {
        turn_begin(s);
    }
    if (!s->preempting) {
        turn_ended(s, sched_cycle_step(&s->cycle, budget));
    } else if (sched_preempt_step(&s->preemption, budget)) {
        turn_preempted(s);
    }
}

static void turn_expire(struct scheduler *s)
{
    size_t count = list_empty(&s->cluster.assumed)
                       ? 0
                       : sched_cluster_expire(&s->cluster, scheduler_now_ms(s),
                                              informer_revision(s->informers[SCHED_WATCH_PODS]));
    if (count > 0) {
        KVP_LOG(s->host, s->ctx, KVP_WARN, "bindings that never showed are forgotten",
                kvp_f_int("pods", (int64_t)count));
        scheduler_queue_all(s);
    }
}

static void turn_metrics(const struct scheduler *s)
{
    const size_t *n = s->queue.count;
    s->host->metric_set(s->ctx, s->metrics[SCHED_METRIC_ACTIVE], (int64_t)n[SCHED_ACTIVE]);
    s->host->metric_set(s->ctx, s->metrics[SCHED_METRIC_BACKOFF],
                        (int64_t)(n[SCHED_BACKOFF] + n[SCHED_ERRORS]));
    s->host->metric_set(s->ctx, s->metrics[SCHED_METRIC_PARKED], (int64_t)n[SCHED_PARKED]);
    s->host->metric_set(s->ctx, s->metrics[SCHED_METRIC_GATED], (int64_t)n[SCHED_GATED]);
}

/* When to look again by the clock. */
static void turn_sleep(struct scheduler *s)
{
    uint64_t now = scheduler_now_ms(s);
    uint64_t next = sched_queue_next_ms(&s->queue);
    if (!list_empty(&s->cluster.assumed) && next > now + TURN_EXPIRE_MS) {
        next = now + TURN_EXPIRE_MS;
    }
    if (next != UINT64_MAX) {
        alarm_set(&s->alarm, next > now ? next - now : 0);
    }
}

void scheduler_turn(void *data)
{
    struct scheduler *s = data;
    int64_t budget = TURN_BUDGET;
    if (!s->leading || !scheduler_synced(s)) {
        return;
    }
    turn_expire(s);
    sched_queue_flush(&s->queue, scheduler_now_ms(s));
    while (budget > 0 && turn_take(s, &budget)) {
        turn_work(s, &budget);
    }
    turn_metrics(s);
    if (budget <= 0) {
        scheduler_wake(s);
    } else {
        turn_sleep(s);
    }
}
