/* queue.c - where a waiting pod is, and what moves it; see queue.h. */
#include "plugins/scheduler/queue.h"

#include <stdlib.h>

/* Back-offs that end within one second of each other are ordered by priority. */
#define QUEUE_WINDOW_MS 1000u

void sched_queue_init(struct sched_queue *q, uint64_t backoff_min_ms, uint64_t backoff_max_ms)
{
    *q = (struct sched_queue){.backoff_min_ms = backoff_min_ms, .backoff_max_ms = backoff_max_ms};
    heap_init(&q->active);
    heap_init(&q->backoff);
    heap_init(&q->errors);
    list_init(&q->parked);
    list_init(&q->gated);
    list_init(&q->flying);
    list_init(&q->all);
}

void sched_queue_close(struct sched_queue *q)
{
    while (!list_empty(&q->all)) {
        sched_queue_remove(q, LIST_ENTRY(q->all.next, struct sched_waiting, in_all));
    }
    heap_close(&q->active);
    heap_close(&q->backoff);
    heap_close(&q->errors);
}

/* ---- order -------------------------------------------------------------------------------------
 */

/* Higher priorities first: the complement turns the order round without overflow. */
static int64_t queue_active_key(const struct sched_waiting *w)
{
    return (int64_t)~w->pod->priority * ((int64_t)1 << 32) + w->turn;
}

static int64_t queue_backoff_key(const struct sched_queue *q, const struct sched_waiting *w)
{
    uint64_t window = (w->since_ms + sched_queue_backoff_ms(q, w)) / QUEUE_WINDOW_MS;
    uint32_t rank = (uint32_t)((int64_t)~w->pod->priority + ((int64_t)1 << 31));
    return (int64_t)(window & INT32_MAX) * ((int64_t)1 << 32) + rank;
}

uint64_t sched_queue_backoff_ms(const struct sched_queue *q, const struct sched_waiting *w)
{
    uint32_t count = w->errors > 0 ? w->errors : w->failures;
    uint64_t ms = q->backoff_min_ms;
    for (uint32_t i = 1; i < count && ms < q->backoff_max_ms; i++) {
        ms *= 2;
    }
    return count == 0 ? 0 : ms < q->backoff_max_ms ? ms : q->backoff_max_ms;
}

static int queue_by_turn(const void *a, const void *b)
{
    const struct sched_waiting *const *x = a;
    const struct sched_waiting *const *y = b;
    return (*x)->turn < (*y)->turn ? -1 : (*x)->turn > (*y)->turn;
}

/* After four billion turns they are numbered anew. Without memory all that come next are equal. */
static void queue_renumber(struct sched_queue *q)
{
    struct sched_waiting **list = mem_alloc((q->len + 1) * sizeof *list);
    size_t count = 0;
    LIST_FOREACH (it, &q->all) {
        if (list != NULL) {
            list[count++] = LIST_ENTRY(it, struct sched_waiting, in_all);
        }
    }
    if (list == NULL) {
        return;
    }
    qsort(list, count, sizeof *list, queue_by_turn);
    for (size_t i = 0; i < count; i++) {
        list[i]->turn = (uint32_t)i;
        if (list[i]->place == SCHED_ACTIVE) {
            heap_set(&q->active, &list[i]->in_heap, queue_active_key(list[i]));
        }
    }
    q->turns = (uint32_t)count;
    mem_free(list);
}

static void queue_take_turn(struct sched_queue *q, struct sched_waiting *w)
{
    if (q->turns == UINT32_MAX) {
        queue_renumber(q);
    }
    w->turn = q->turns;
    q->turns += q->turns == UINT32_MAX ? 0 : 1;
}

/* ---- places ------------------------------------------------------------------------------------
 */

static void queue_leave(struct sched_queue *q, struct sched_waiting *w)
{
    q->count[w->place]--;
    switch (w->place) {
    case SCHED_ACTIVE:
        heap_remove(&q->active, &w->in_heap);
        break;
    case SCHED_BACKOFF:
        heap_remove(&q->backoff, &w->in_heap);
        break;
    case SCHED_ERRORS:
        heap_remove(&q->errors, &w->in_heap);
        break;
    default:
        list_remove(&w->in_list);
        break;
    }
}

/* The heaps have room for all pods of the queue, so nothing here fails. */
static void queue_enter(struct sched_queue *q, struct sched_waiting *w, enum sched_place place)
{
    w->place = place;
    q->count[place]++;
    switch (place) {
    case SCHED_ACTIVE:
        heap_set(&q->active, &w->in_heap, queue_active_key(w));
        break;
    case SCHED_BACKOFF:
        heap_set(&q->backoff, &w->in_heap, queue_backoff_key(q, w));
        break;
    case SCHED_ERRORS:
        heap_set(&q->errors, &w->in_heap, (int64_t)(w->since_ms + sched_queue_backoff_ms(q, w)));
        break;
    case SCHED_PARKED:
        list_push_back(&q->parked, &w->in_list);
        break;
    case SCHED_GATED:
        list_push_back(&q->gated, &w->in_list);
        break;
    default:
        list_push_back(&q->flying, &w->in_list);
        break;
    }
}

static void queue_move(struct sched_queue *q, struct sched_waiting *w, enum sched_place place)
{
    queue_leave(q, w);
    queue_enter(q, w, place);
}

/* To active, unless it failed a moment ago. */
static enum sched_place queue_back(const struct sched_queue *q, const struct sched_waiting *w,
                                   uint64_t now_ms)
{
    return w->since_ms + sched_queue_backoff_ms(q, w) > now_ms ? SCHED_BACKOFF : SCHED_ACTIVE;
}

int sched_queue_add(struct sched_queue *q, struct sched_pod *p, uint64_t now_ms)
{
    struct sched_waiting *w = mem_zalloc(sizeof *w);
    if (w == NULL || !heap_reserve(&q->active, q->len + 1) ||
        !heap_reserve(&q->backoff, q->len + 1) || !heap_reserve(&q->errors, q->len + 1)) {
        mem_free(w);
        return ERR_NOMEM;
    }
    w->pod = p;
    w->priority = p->priority;
    w->since_ms = now_ms;
    w->added_ms = now_ms;
    list_init(&w->in_list);
    list_push_back(&q->all, &w->in_all);
    q->len++;
    p->waiting = w;
    queue_take_turn(q, w);
    queue_enter(q, w, p->gated ? SCHED_GATED : SCHED_ACTIVE);
    return 0;
}

void sched_queue_remove(struct sched_queue *q, struct sched_waiting *w)
{
    if (w == NULL) {
        return;
    }
    queue_leave(q, w);
    list_remove(&w->in_all);
    q->len--;
    w->pod->waiting = NULL;
    mem_free(w);
}

void sched_queue_changed(struct sched_queue *q, struct sched_pod *p, bool material, uint64_t now_ms)
{
    struct sched_waiting *w = p->waiting;
    bool priority = p->priority != w->priority;
    w->priority = p->priority;
    switch (w->place) {
    case SCHED_FLYING:
        w->changed = w->changed || material;
        break;
    case SCHED_GATED:
        if (!p->gated) {
            queue_move(q, w, SCHED_ACTIVE);
        }
        break;
    case SCHED_PARKED:
        if (material) {
            queue_move(q, w, queue_back(q, w, now_ms));
        }
        break;
    default:
        if (p->gated) {
            queue_move(q, w, SCHED_GATED);
        } else if (priority) {
            queue_move(q, w, w->place);
        }
        break;
    }
}

struct sched_waiting *sched_queue_pop(struct sched_queue *q, uint64_t now_ms)
{
    sched_queue_flush(q, now_ms);
    struct heap_node *h = heap_min(&q->active);
    h = h != NULL ? h : heap_min(&q->backoff);
    if (h == NULL) {
        return NULL;
    }
    struct sched_waiting *w = LIST_ENTRY(h, struct sched_waiting, in_heap);
    queue_move(q, w, SCHED_FLYING);
    w->attempts++;
    w->seen = 0;
    w->changed = false;
    return w;
}

void sched_queue_return(struct sched_queue *q, struct sched_waiting *w)
{
    w->attempts--;
    queue_move(q, w, w->pod->gated ? SCHED_GATED : SCHED_ACTIVE);
}

/* Has something happened meanwhile that one of these rules listens to? */
static bool queue_missed(const struct sched_waiting *w)
{
    for (size_t i = 0; i < SCHED_RULES; i++) {
        if ((w->refused_by & (1u << i)) && (sched_rules[i]->events & w->seen)) {
            return true;
        }
    }
    return w->changed;
}

void sched_queue_failed(struct sched_queue *q, struct sched_waiting *w, unsigned refused_by,
                        bool error, uint64_t now_ms)
{
    w->since_ms = now_ms;
    w->refused_by = refused_by;
    w->failures += error ? 0 : 1;
    w->errors = error ? w->errors + 1 : 0;
    queue_take_turn(q, w);
    if (w->pod->gated) {
        queue_move(q, w, SCHED_GATED);
    } else if (error) {
        queue_move(q, w, SCHED_ERRORS);
    } else {
        queue_move(q, w, queue_missed(w) ? queue_back(q, w, now_ms) : SCHED_PARKED);
    }
}

void sched_queue_activate(struct sched_queue *q, struct sched_waiting *w, uint64_t now_ms)
{
    if (w->place == SCHED_PARKED) {
        queue_move(q, w, queue_back(q, w, now_ms));
    }
}

/* Does a rule that refused the pod think that this may help? */
static bool queue_helps(const struct sched_waiting *w, const struct sched_event *e)
{
    for (size_t i = 0; i < SCHED_RULES; i++) {
        const struct sched_rule *r = sched_rules[i];
        if ((w->refused_by & (1u << i)) && (r->events & e->kinds) &&
            (r->hint == NULL || r->hint(w->pod, e))) {
            return true;
        }
    }
    /* Nothing is known to have refused it: there were no nodes. */
    return w->refused_by == 0;
}

size_t sched_queue_event(struct sched_queue *q, const struct sched_event *e, uint64_t now_ms)
{
    size_t moved = 0;
    struct list *next = NULL;
    for (struct list *it = q->parked.next; it != &q->parked; it = next) {
        struct sched_waiting *w = LIST_ENTRY(it, struct sched_waiting, in_list);
        next = it->next;
        if (queue_helps(w, e)) {
            queue_move(q, w, queue_back(q, w, now_ms));
            moved++;
        }
    }
    LIST_FOREACH (it, &q->flying) {
        LIST_ENTRY(it, struct sched_waiting, in_list)->seen |= e->kinds;
    }
    return moved;
}

void sched_queue_flush(struct sched_queue *q, uint64_t now_ms)
{
    struct heap_node *h = NULL;
    while ((h = heap_min(&q->errors)) != NULL && h->key <= (int64_t)now_ms) {
        queue_move(q, LIST_ENTRY(h, struct sched_waiting, in_heap), SCHED_ACTIVE);
    }
    /* Parked in the order of their failures: the first is the oldest. */
    while (!list_empty(&q->parked)) {
        struct sched_waiting *w = LIST_ENTRY(q->parked.next, struct sched_waiting, in_list);
        if (now_ms < w->since_ms + SCHED_UNSCHEDULABLE_MS) {
            break;
        }
        queue_move(q, w, queue_back(q, w, now_ms));
    }
}

uint64_t sched_queue_next_ms(const struct sched_queue *q)
{
    uint64_t next = UINT64_MAX;
    const struct heap_node *h = heap_min(&q->errors);
    if (h != NULL) {
        next = (uint64_t)h->key;
    }
    if (!list_empty(&q->parked)) {
        uint64_t at = LIST_ENTRY(q->parked.next, struct sched_waiting, in_list)->since_ms +
                      SCHED_UNSCHEDULABLE_MS;
        next = at < next ? at : next;
    }
    return next;
}
