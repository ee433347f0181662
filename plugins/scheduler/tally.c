/* tally.c - a table of counters; see tally.h. */
#include "plugins/scheduler/tally.h"

#include "base/list.h"

void sched_tally_init(struct sched_tally *t, struct arena *arena)
{
    *t = (struct sched_tally){.arena = arena};
    hashmap_init(&t->map);
}

void sched_tally_close(struct sched_tally *t)
{
    hashmap_close(&t->map);
}

static uint64_t tally_hash(struct slice key, struct slice value)
{
    return hash_bytes(value) ^ (hash_bytes(key) * 31);
}

struct sched_tally_entry *sched_tally_find(const struct sched_tally *t, struct slice key,
                                           struct slice value)
{
    uint64_t hash = tally_hash(key, value);
    for (struct hash_node *h = hashmap_first(&t->map, hash); h != NULL; h = hashmap_next(h, hash)) {
        struct sched_tally_entry *e = LIST_ENTRY(h, struct sched_tally_entry, node);
        if (slice_eq(e->key, key) && slice_eq(e->value, value)) {
            return e;
        }
    }
    return NULL;
}

static struct sched_tally_entry *tally_make(struct sched_tally *t, struct slice key,
                                            struct slice value)
{
    struct sched_tally_entry *e = sched_tally_find(t, key, value);
    if (e != NULL) {
        return e;
    }
    e = arena_zalloc(t->arena, sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    e->key = arena_dup(t->arena, key);
    e->value = arena_dup(t->arena, value);
    if (e->key.data == NULL || e->value.data == NULL ||
        !hashmap_insert(&t->map, &e->node, tally_hash(key, value))) {
        return NULL;
    }
    return e;
}

bool sched_tally_add(struct sched_tally *t, struct slice key, struct slice value, int64_t n)
{
    struct sched_tally_entry *e = tally_make(t, key, value);
    if (e == NULL) {
        return false;
    }
    t->nonzero -= e->n != 0 ? 1 : 0;
    e->n += n;
    t->nonzero += e->n != 0 ? 1 : 0;
    return true;
}

int64_t sched_tally_get(const struct sched_tally *t, struct slice key, struct slice value)
{
    const struct sched_tally_entry *e = sched_tally_find(t, key, value);
    return e == NULL ? 0 : e->n;
}

int64_t sched_tally_min(const struct sched_tally *t)
{
    int64_t min = INT64_MAX;
    size_t bucket = 0;
    struct hash_node *h = NULL;
    while ((h = hashmap_iter(&t->map, &bucket, h)) != NULL) {
        int64_t n = LIST_ENTRY(h, struct sched_tally_entry, node)->n;
        min = n < min ? n : min;
    }
    return min;
}
