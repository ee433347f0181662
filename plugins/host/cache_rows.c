/* cache_rows.c - a skip list of decoded rows and a hash table of index values. */
#include "plugins/host/cache_rows.h"

#include <string.h>

#include "base/assert.h"
#include "plugins/host/cache.h"

void cache_rows_init(struct cache_rows *t)
{
    *t = (struct cache_rows){0};
    hashmap_init(&t->values);
}

void cache_rows_close(struct cache_rows *t, struct cache_owner *o)
{
    for (struct cache_row *r; (r = t->head[0]) != NULL;) {
        /* Only level 0 is needed from here on. */
        t->head[0] = r->next[0];
        for (struct cache_posting *p = r->postings; p != NULL; p = p->next) {
            list_remove(&p->link);
        }
        cache_row_free(t, o, r);
    }
    ASSERT(t->values.len == 0);
    hashmap_close(&t->values);
    *t = (struct cache_rows){0};
}

/* ---- indexes ------------------------------------------------------------------------------- */

static uint64_t cache_value_hash(uint32_t index, struct slice value)
{
    return hash_bytes(value) + index * 0x9E3779B97F4A7C15ull;
}

struct cache_value *cache_value_find(const struct cache_rows *t, uint32_t index, struct slice value)
{
    uint64_t hash = cache_value_hash(index, value);
    for (struct hash_node *n = hashmap_first(&t->values, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct cache_value *v = LIST_ENTRY(n, struct cache_value, node);
        if (v->index == index && slice_eq(slice_of(v->bytes, v->len), value)) {
            return v;
        }
    }
    return NULL;
}

static struct cache_value *cache_value_new(struct kvp_emit *emit, struct slice value)
{
    const struct scope_part *part = emit->owner->part;
    struct cache_value *v = part_alloc(part, sizeof(*v) + value.len);
    if (v == NULL) {
        return NULL;
    }
    memset(v, 0, sizeof(*v));
    list_init(&v->postings);
    v->index = emit->index;
    v->len = (uint32_t)value.len;
    if (value.len > 0) {
        memcpy(v->bytes, value.data, value.len);
    }
    if (!hashmap_insert(&emit->rows->values, &v->node, cache_value_hash(emit->index, value))) {
        part_free(part, v);
        return NULL;
    }
    return v;
}

static void cache_value_drop(struct cache_rows *t, struct cache_owner *o, struct cache_value *v)
{
    if (v->refs == 0) {
        hashmap_remove(&t->values, &v->node);
        part_free(o->part, v);
    }
}

void cache_emit(struct kvp_emit *emit, struct kvp_bytes value)
{
    if (emit->failed) {
        return;
    }
    struct cache_value *v = cache_value_find(emit->rows, emit->index, slice_of_kvp(value));
    if (v == NULL) {
        v = cache_value_new(emit, slice_of_kvp(value));
    } else if (v->last == emit->row) {
        return;
    }
    struct cache_posting *p =
        v == NULL ? NULL : part_alloc(emit->owner->part, sizeof(struct cache_posting));
    if (p == NULL) {
        emit->failed = true;
        if (v != NULL) {
            cache_value_drop(emit->rows, emit->owner, v);
        }
        return;
    }
    list_init(&p->link);
    p->value = v;
    p->row = emit->row;
    p->next = emit->row->postings;
    emit->row->postings = p;
    v->refs++;
    v->last = emit->row;
}

static bool cache_row_index(struct cache_rows *t, struct cache_owner *o, struct cache_row *row)
{
    struct kvp_cached shown = cache_row_shown(row);
    for (size_t i = 0; i < o->index_count; i++) {
        struct kvp_emit emit = {.owner = o, .rows = t, .row = row, .index = (uint32_t)i};
        o->indexes[i].values(o->data, &shown, &emit);
        if (emit.failed) {
            return false;
        }
    }
    return true;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static uint8_t cache_levels(struct rand *dice)
{
    uint64_t bits = rand_u64(dice);
    uint8_t levels = 1;
    while (levels < CACHE_LEVELS_MAX && (bits & 3) == 0) {
        levels++;
        bits >>= 2;
    }
    return levels;
}

static size_t cache_align(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* Room for header, links, key, and without decode for a struct kvp_bytes and the value. */
static struct cache_row *cache_row_alloc(struct cache_owner *o, const struct kvp_row *row)
{
    uint8_t levels = cache_levels(&o->dice);
    size_t fixed = sizeof(struct cache_row) + levels * sizeof(struct cache_row *);
    size_t behind = o->decode == NULL ? sizeof(struct kvp_bytes) + row->value.len + 1 : 0;
    size_t key_room = behind > 0 ? cache_align(row->key.len) : row->key.len;
    struct cache_row *r = part_alloc(o->part, fixed + key_room + behind);
    if (r == NULL) {
        return NULL;
    }
    memset(r, 0, fixed);
    r->levels = levels;
    r->key_len = (uint32_t)row->key.len;
    uint8_t *at = (uint8_t *)r + fixed;
    memcpy(at, row->key.data, row->key.len);
    if (behind > 0) {
        struct kvp_bytes *object = (struct kvp_bytes *)(at + key_room);
        uint8_t *copy = (uint8_t *)(object + 1);
        if (row->value.len > 0) {
            memcpy(copy, row->value.data, row->value.len);
        }
        copy[row->value.len] = '\0'; /* so that authors may print it */
        *object = kvp_bytes_of(copy, row->value.len);
        r->object = object;
        r->owned = true;
    }
    return r;
}

struct cache_row *cache_row_new(struct cache_rows *t, struct cache_owner *o,
                                const struct kvp_row *row, int *refused)
{
    *refused = 0;
    struct cache_row *r = cache_row_alloc(o, row);
    if (r == NULL) {
        return NULL;
    }
    r->create_revision = row->create_revision;
    r->mod_revision = row->mod_revision;
    r->version = row->version;
    r->lease = row->lease;
    if (o->decode != NULL) {
        *refused = o->decode(o->data, row, &r->object);
        if (*refused != 0) {
            *refused = *refused == KVP_NO_MEMORY ? 0 : *refused;
            part_free(o->part, r);
            return NULL;
        }
    }
    if (!cache_row_index(t, o, r)) {
        cache_row_free(t, o, r);
        return NULL;
    }
    return r;
}

void cache_row_free(struct cache_rows *t, struct cache_owner *o, struct cache_row *row)
{
    for (struct cache_posting *p = row->postings; p != NULL;) {
        struct cache_posting *next = p->next;
        ASSERT(list_empty(&p->link));
        if (p->value->last == row) {
            p->value->last = NULL; /* another row may get this address */
        }
        p->value->refs--;
        cache_value_drop(t, o, p->value);
        part_free(o->part, p);
        p = next;
    }
    if (!row->owned && o->release != NULL) {
        o->release(o->data, row->object);
    }
    part_free(o->part, row);
}

/* path[i]: the link that leads to the first row >= key (or > key) on level i. */
static void cache_path(struct cache_rows *t, struct slice key, struct cache_row **path[])
{
    struct cache_row **links = t->head;
    for (int level = CACHE_LEVELS_MAX - 1; level >= 0; level--) {
        while (links[level] != NULL && slice_cmp(cache_row_key(links[level]), key) < 0) {
            links = links[level]->next;
        }
        path[level] = &links[level];
    }
}

static struct cache_row *cache_unlink_at(struct cache_rows *t, struct slice key,
                                         struct cache_row **path[])
{
    struct cache_row *r = *path[0];
    if (r == NULL || !slice_eq(cache_row_key(r), key)) {
        return NULL;
    }
    for (int level = 0; level < r->levels; level++) {
        *path[level] = r->next[level];
    }
    for (struct cache_posting *p = r->postings; p != NULL; p = p->next) {
        list_remove(&p->link);
    }
    t->len--;
    return r;
}

struct cache_row *cache_row_unlink(struct cache_rows *t, struct slice key)
{
    struct cache_row **path[CACHE_LEVELS_MAX];
    cache_path(t, key, path);
    return cache_unlink_at(t, key, path);
}

struct cache_row *cache_row_link(struct cache_rows *t, struct cache_row *row)
{
    struct cache_row **path[CACHE_LEVELS_MAX];
    struct slice key = cache_row_key(row);
    cache_path(t, key, path);
    struct cache_row *before = cache_unlink_at(t, key, path);
    for (int level = 0; level < row->levels; level++) {
        row->next[level] = *path[level];
        *path[level] = row;
    }
    for (struct cache_posting *p = row->postings; p != NULL; p = p->next) {
        list_push_back(&p->value->postings, &p->link);
    }
    t->len++;
    return before;
}

struct cache_row *cache_rows_seek(const struct cache_rows *t, struct slice key, bool after)
{
    struct cache_row *const *links = t->head;
    for (int level = CACHE_LEVELS_MAX - 1; level >= 0; level--) {
        while (links[level] != NULL) {
            int order = slice_cmp(cache_row_key(links[level]), key);
            if (order > 0 || (order == 0 && !after)) {
                break;
            }
            links = links[level]->next;
        }
    }
    return links[0];
}
