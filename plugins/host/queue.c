/* queue.c - keys in line, with a worker, or waiting for their time.
 *
 * Work is never called from inside an add: adds arm the part's wake, and queue_wake hands out keys,
 * at most PLUGIN_QUEUE_SLICE at a time so that other callbacks get their turn. */
#include "plugins/host/queue.h"

#include <string.h>

#include "base/assert.h"
#include "base/hashmap.h"
#include "base/heap.h"
#include "base/limits.h"
#include "plugins/host/meter.h"

struct queue_item {
    struct hash_node node;
    struct list link;       /* in kvp_queue.line while dirty and not processing */
    struct heap_node delay; /* in kvp_queue.delayed while delayed */
    uint32_t failures;      /* add_limited calls since forget */
    uint32_t key_len;
    uint64_t began_ns; /* while processing: of its meter */
    bool dirty;
    bool processing;
    bool pinned; /* inside work(): the key's bytes must stay */
    uint8_t key[];
};

struct kvp_queue {
    struct scope_part part;
    struct kvp_queue_args args; /* defaults filled in */
    struct hashmap items;
    struct list line;
    size_t waiting;
    size_t processing;
    struct heap delayed;
    bool paused;
    bool pumping;
    /* The bucket of all keys, in thousandths of a token; below 0 tokens are owed. */
    int64_t millitokens;
    uint64_t refilled_ms;
    uint64_t adds;
    uint64_t retries;
    struct meter *meter; /* NULL: not measured */
};

static void queue_part_close(struct scope_part *p)
{
    struct kvp_queue *q = (struct kvp_queue *)p;
    meter_leave_line(q->meter, q->waiting);
    q->meter = NULL;
}

static void queue_part_clear(struct scope_part *p)
{
    struct kvp_queue *q = (struct kvp_queue *)p;
    size_t bucket = 0;
    for (struct hash_node *n = hashmap_iter(&q->items, &bucket, NULL); n != NULL;) {
        struct hash_node *next = hashmap_iter(&q->items, &bucket, n);
        part_free(p, LIST_ENTRY(n, struct queue_item, node));
        n = next;
    }
    hashmap_close(&q->items);
    heap_close(&q->delayed);
}

static void queue_wake(struct scope_part *p);

static const struct scope_kind queue_kind = {
    .close = queue_part_close, .clear = queue_part_clear, .wake = queue_wake};

int queue_open(struct scope *s, const struct kvp_queue_args *a, struct kvp_queue **out)
{
    return queue_open_named(s, a, NULL, out);
}

int queue_open_named(struct scope *s, const struct kvp_queue_args *a, const char *name,
                     struct kvp_queue **out)
{
    if (a == NULL || a->size == 0 || a->work == NULL || out == NULL ||
        a->parallel > PLUGIN_QUEUE_PARALLEL_MAX || a->rate_per_s > PLUGIN_QUEUE_RATE_MAX ||
        a->burst > PLUGIN_QUEUE_RATE_MAX || a->delay_max_ms > PLUGIN_QUEUE_DELAY_MS_MAX ||
        a->delay_min_ms > PLUGIN_QUEUE_DELAY_MS_MAX) {
        return KVP_INVALID;
    }
    int reason;
    struct kvp_queue *q = part_new(s, &queue_kind, sizeof(*q), &reason);
    if (q == NULL) {
        return reason;
    }
    q->args = *a;
    q->meter = s->meter != NULL ? s->meter(s->ctx, name) : NULL;
    q->args.parallel = a->parallel != 0 ? a->parallel : 1;
    q->args.delay_min_ms = a->delay_min_ms != 0 ? a->delay_min_ms : PLUGIN_QUEUE_DELAY_MS_FIRST;
    q->args.delay_max_ms = a->delay_max_ms != 0 ? a->delay_max_ms : PLUGIN_QUEUE_DELAY_MS_LAST;
    q->args.rate_per_s = a->rate_per_s != 0 ? a->rate_per_s : PLUGIN_QUEUE_RATE;
    q->args.burst = a->burst != 0 ? a->burst : PLUGIN_QUEUE_BURST;
    q->millitokens = (int64_t)q->args.burst * 1000;
    q->refilled_ms = part_now(&q->part);
    hashmap_init(&q->items);
    heap_init(&q->delayed);
    list_init(&q->line);
    *out = q;
    return 0;
}

static struct queue_item *queue_find(const struct kvp_queue *q, struct kvp_bytes key, uint64_t hash)
{
    for (struct hash_node *n = hashmap_first(&q->items, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct queue_item *it = LIST_ENTRY(n, struct queue_item, node);
        if (slice_eq(slice_of(it->key, it->key_len), slice_of_kvp(key))) {
            return it;
        }
    }
    return NULL;
}

/* The item of key, made when new; NULL = out of memory. There is room in the heap for every item,
 * so nothing after this can fail. */
static struct queue_item *queue_item(struct kvp_queue *q, struct kvp_bytes key)
{
    uint64_t hash = hash_bytes(slice_of_kvp(key));
    struct queue_item *it = queue_find(q, key, hash);
    if (it != NULL) {
        return it;
    }
    if (!heap_reserve(&q->delayed, q->items.len + 1)) {
        return NULL;
    }
    it = part_alloc(&q->part, sizeof(*it) + key.len);
    if (it == NULL) {
        return NULL;
    }
    memset(it, 0, sizeof(*it));
    it->key_len = (uint32_t)key.len;
    if (key.len > 0) {
        memcpy(it->key, key.data, key.len);
    }
    list_init(&it->link);
    if (!hashmap_insert(&q->items, &it->node, hash)) {
        part_free(&q->part, it);
        return NULL;
    }
    return it;
}

/* Frees an item nothing is known about any more. */
static void queue_item_drop(struct kvp_queue *q, struct queue_item *it)
{
    if (it->dirty || it->processing || it->pinned || it->failures > 0 || it->delay.at != 0) {
        return;
    }
    hashmap_remove(&q->items, &it->node);
    part_free(&q->part, it);
}

static void queue_pump_soon(struct kvp_queue *q)
{
    if (!q->pumping && !q->paused && q->waiting > 0 && q->processing < q->args.parallel) {
        part_wake(&q->part, part_now(&q->part));
    }
}

static void queue_line_up(struct kvp_queue *q, struct queue_item *it)
{
    list_push_back(&q->line, &it->link);
    q->waiting++;
    q->adds++;
    meter_line_up(q->meter);
}

static void queue_mark_dirty(struct kvp_queue *q, struct queue_item *it)
{
    if (it->dirty) {
        return;
    }
    it->dirty = true;
    if (!it->processing) {
        queue_line_up(q, it);
    }
}

static int queue_key_check(struct kvp_queue *q, struct kvp_bytes key, const char *call)
{
    if (q == NULL || (key.len > 0 && key.data == NULL) || key.len > UINT32_MAX) {
        return KVP_INVALID;
    }
    return part_enter(&q->part, call);
}

int queue_add(struct kvp_queue *q, struct kvp_bytes key)
{
    int reason = queue_key_check(q, key, "queue_add");
    if (reason != 0) {
        return reason;
    }
    struct queue_item *it = queue_item(q, key);
    if (it == NULL) {
        return KVP_NO_MEMORY;
    }
    queue_mark_dirty(q, it);
    queue_pump_soon(q);
    return 0;
}

/* Of two times for one key the earlier one holds. */
static void queue_delay(struct kvp_queue *q, struct queue_item *it, uint64_t ms)
{
    ms = ms > PLUGIN_QUEUE_DELAY_MS_MAX ? PLUGIN_QUEUE_DELAY_MS_MAX : ms;
    int64_t at = (int64_t)(part_now(&q->part) + ms);
    if (it->delay.at == 0 || at < it->delay.key) {
        bool set = heap_set(&q->delayed, &it->delay, at);
        FATAL_IF(!set, "a work queue has no room for a key it made room for");
    }
    part_wake(&q->part, (uint64_t)heap_min(&q->delayed)->key);
}

static int queue_add_delayed(struct kvp_queue *q, struct kvp_bytes key, uint64_t ms)
{
    struct queue_item *it = queue_item(q, key);
    if (it == NULL) {
        return KVP_NO_MEMORY;
    }
    if (ms == 0) {
        queue_mark_dirty(q, it);
        queue_pump_soon(q);
    } else {
        queue_delay(q, it, ms);
    }
    return 0;
}

int queue_add_after(struct kvp_queue *q, struct kvp_bytes key, uint64_t ms)
{
    int reason = queue_key_check(q, key, "queue_add_after");
    return reason != 0 ? reason : queue_add_delayed(q, key, ms);
}

static uint64_t queue_backoff(const struct kvp_queue *q, uint32_t failures)
{
    uint64_t ms = q->args.delay_min_ms;
    for (uint32_t i = 0; i < failures && ms < q->args.delay_max_ms; i++) {
        ms *= 2;
    }
    return ms < q->args.delay_max_ms ? ms : q->args.delay_max_ms;
}

/* Takes a token, maybe one of the future; returns how long until it is there. */
static uint64_t queue_take_token(struct kvp_queue *q)
{
    uint64_t now = part_now(&q->part);
    int64_t full = (int64_t)q->args.burst * 1000;
    uint64_t passed = now - q->refilled_ms;
    q->refilled_ms = now;
    if (passed >= (uint64_t)(full - q->millitokens) / q->args.rate_per_s + 1) {
        q->millitokens = full;
    } else {
        q->millitokens += (int64_t)(passed * q->args.rate_per_s);
        q->millitokens = q->millitokens < full ? q->millitokens : full;
    }
    q->millitokens -= 1000;
    if (q->millitokens >= 0) {
        return 0;
    }
    return ((uint64_t)-q->millitokens + q->args.rate_per_s - 1) / q->args.rate_per_s;
}

int queue_add_limited(struct kvp_queue *q, struct kvp_bytes key)
{
    int reason = queue_key_check(q, key, "queue_add_limited");
    if (reason != 0) {
        return reason;
    }
    struct queue_item *it = queue_item(q, key);
    if (it == NULL) {
        return KVP_NO_MEMORY;
    }
    uint64_t own = queue_backoff(q, it->failures);
    uint64_t all = queue_take_token(q);
    if (it->failures < UINT32_MAX) {
        it->failures++;
    }
    q->retries++;
    meter_retry(q->meter);
    return queue_add_delayed(q, key, own > all ? own : all);
}

void queue_forget(struct kvp_queue *q, struct kvp_bytes key)
{
    if (queue_key_check(q, key, "queue_forget") != 0) {
        return;
    }
    struct queue_item *it = queue_find(q, key, hash_bytes(slice_of_kvp(key)));
    if (it != NULL) {
        it->failures = 0;
        queue_item_drop(q, it);
    }
}

void queue_done(struct kvp_queue *q, struct kvp_bytes key)
{
    if (queue_key_check(q, key, "queue_done") != 0) {
        return;
    }
    struct queue_item *it = queue_find(q, key, hash_bytes(slice_of_kvp(key)));
    if (it == NULL || !it->processing) {
        return;
    }
    it->processing = false;
    q->processing--;
    meter_worked(q->meter, it->began_ns);
    if (it->dirty) {
        queue_line_up(q, it);
    }
    queue_item_drop(q, it);
    queue_pump_soon(q);
}

size_t queue_len(struct kvp_queue *q)
{
    return part_enter(&q->part, "queue_len") == 0 ? q->waiting : 0;
}

void queue_close(struct kvp_queue *q)
{
    if (q != NULL && part_may_close(&q->part, "queue_close")) {
        part_close(&q->part);
    }
}

void queue_pause(struct kvp_queue *q, bool paused)
{
    q->paused = paused;
    queue_pump_soon(q);
}

void queue_stats(const struct kvp_queue *q, struct queue_stats *out)
{
    *out = (struct queue_stats){.waiting = q->waiting,
                                .delayed = q->delayed.len,
                                .processing = q->processing,
                                .adds = q->adds,
                                .retries = q->retries};
}

static void queue_take_due(struct kvp_queue *q)
{
    int64_t now = (int64_t)part_now(&q->part);
    for (struct heap_node *n; (n = heap_min(&q->delayed)) != NULL && n->key <= now;) {
        heap_remove(&q->delayed, n);
        queue_mark_dirty(q, LIST_ENTRY(n, struct queue_item, delay));
    }
}

static void queue_work(struct kvp_queue *q, struct queue_item *it)
{
    q->waiting--;
    meter_leave_line(q->meter, 1);
    it->began_ns = meter_begin(q->meter);
    it->dirty = false;
    it->processing = true;
    q->processing++;
    it->pinned = true;
    q->args.work(q->args.data, q, kvp_bytes_of(it->key, it->key_len));
    it->pinned = false;
    queue_item_drop(q, it);
}

static void queue_wake(struct scope_part *p)
{
    struct kvp_queue *q = (struct kvp_queue *)p;
    queue_take_due(q);
    q->pumping = true;
    /* A key that comes again at once waits for the next wake: others get their turn before it. */
    size_t most = q->waiting < PLUGIN_QUEUE_SLICE ? q->waiting : PLUGIN_QUEUE_SLICE;
    for (size_t i = 0; i < most; i++) {
        if (q->part.closed || q->paused || q->processing >= q->args.parallel ||
            list_empty(&q->line)) {
            break;
        }
        queue_work(q, LIST_ENTRY(list_pop_front(&q->line), struct queue_item, link));
    }
    q->pumping = false;
    if (q->part.closed) {
        return;
    }
    queue_pump_soon(q);
    if (heap_min(&q->delayed) != NULL) {
        part_wake(p, (uint64_t)heap_min(&q->delayed)->key);
    }
}
