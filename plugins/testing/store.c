/* store.c - keys in a sorted array, each with a chain of its changes, newest first. */
#include "plugins/testing/store.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

void store_init(struct store *s)
{
    *s = (struct store){.revision = 1};
}

void store_close(struct store *s)
{
    for (size_t i = 0; i < s->log_count; i++) {
        mem_free((void *)s->log[i]->row.value.data);
        mem_free(s->log[i]);
    }
    for (size_t i = 0; i < s->key_count; i++) {
        mem_free((void *)s->keys[i]->bytes.data);
        mem_free(s->keys[i]);
    }
    mem_free(s->keys);
    mem_free(s->log);
    *s = (struct store){0};
}

struct span span_of(struct kvp_bytes key, struct kvp_bytes end, uint32_t flags)
{
    return (struct span){.key = slice_of(key.data, key.len),
                         .end = slice_of(end.data, end.len),
                         .prefix = (flags & KVP_PREFIX) != 0};
}

bool span_has(const struct span *span, struct slice key)
{
    if (span->prefix) {
        return slice_starts_with(key, span->key);
    }
    if (span->end.len == 0) {
        return slice_eq(key, span->key);
    }
    bool to_the_last = span->end.len == 1 && span->end.data[0] == 0;
    return slice_cmp(key, span->key) >= 0 && (to_the_last || slice_cmp(key, span->end) < 0);
}

size_t store_seek(const struct store *s, struct slice key)
{
    size_t low = 0;
    size_t high = s->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_cmp(s->keys[middle]->bytes, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct kvp_row *store_row_at(const struct store *s, size_t i, int64_t revision)
{
    const struct store_change *c = s->keys[i]->last;
    while (c != NULL && revision != 0 && c->row.mod_revision > revision) {
        c = c->before;
    }
    return c == NULL || c->deleted ? NULL : &c->row;
}

const struct kvp_row *store_row(const struct store *s, struct slice key, int64_t revision)
{
    size_t i = store_seek(s, key);
    if (i == s->key_count || !slice_eq(s->keys[i]->bytes, key)) {
        return NULL;
    }
    return store_row_at(s, i, revision);
}

static struct store_key *store_key_of(struct store *s, struct slice key)
{
    size_t i = store_seek(s, key);
    if (i < s->key_count && slice_eq(s->keys[i]->bytes, key)) {
        return s->keys[i];
    }
    struct store_key *k = mem_xzalloc(sizeof(*k));
    uint8_t *copy = mem_xalloc(key.len + 1);
    memcpy(copy, key.data, key.len);
    copy[key.len] = '\0';
    k->bytes = slice_of(copy, key.len);
    s->keys = mem_xrealloc(s->keys, (s->key_count + 1) * sizeof(*s->keys));
    memmove(s->keys + i + 1, s->keys + i, (s->key_count - i) * sizeof(*s->keys));
    s->keys[i] = k;
    s->key_count++;
    return k;
}

static struct store_change *store_change(struct store *s, struct store_key *k)
{
    ASSERT(s->open);
    struct store_change *c = mem_xzalloc(sizeof(*c));
    c->key = k;
    c->before = k->last;
    c->row.key = kvp_bytes_of(k->bytes.data, k->bytes.len);
    c->row.mod_revision = s->revision + 1;
    k->last = c;
    if ((s->log_count & (s->log_count - 1)) == 0) {
        size_t room = s->log_count == 0 ? 1 : s->log_count * 2;
        s->log = mem_xrealloc(s->log, room * sizeof(*s->log));
    }
    s->log[s->log_count++] = c;
    s->changed++;
    return c;
}

void store_begin(struct store *s)
{
    s->open = true;
    s->changed = 0;
}

void store_put(struct store *s, struct slice key, struct slice value, int64_t lease)
{
    struct store_key *k = store_key_of(s, key);
    const struct kvp_row *old = k->last == NULL || k->last->deleted ? NULL : &k->last->row;
    int64_t create = old != NULL ? old->create_revision : s->revision + 1;
    int64_t version = old != NULL ? old->version + 1 : 1;
    uint8_t *copy = mem_xalloc(value.len + 1);
    if (value.len > 0) {
        memcpy(copy, value.data, value.len);
    }
    copy[value.len] = '\0';
    struct store_change *c = store_change(s, k);
    c->row.value = kvp_bytes_of(copy, value.len);
    c->row.create_revision = create;
    c->row.version = version;
    c->row.lease = lease;
}

bool store_delete(struct store *s, struct slice key)
{
    if (store_row(s, key, 0) == NULL) {
        return false;
    }
    store_change(s, store_key_of(s, key))->deleted = true;
    return true;
}

int64_t store_delete_span(struct store *s, const struct span *span)
{
    int64_t count = 0;
    for (size_t i = store_seek(s, span->key); i < s->key_count && span_has(span, s->keys[i]->bytes);
         i++) {
        count += store_delete(s, s->keys[i]->bytes);
    }
    return count;
}

int64_t store_end(struct store *s)
{
    s->open = false;
    if (s->changed > 0) {
        s->revision++;
    }
    return s->revision;
}
