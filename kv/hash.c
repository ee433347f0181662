/* hash.c - HashKV, bit for bit what etcd computes over its "key" bucket (contract MT-09).
 *
 * CRC-32C over the bucket's name, then per record the 17 (a tombstone: 18) byte revision key and
 * the serialized KeyValue. Records up to the compaction revision count only if their key is live
 * with them at the hashed revision; if nothing at all is live there, etcd skips none of what a
 * finished compaction left, which are the records live at the compaction revision. Tombstones up to
 * it never count. None of that depends on how far the physical dropping has come. */
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "kv/state.h"

#define REVISION_KEY_BYTES  17u
#define TOMBSTONE_KEY_BYTES 18u

struct kv_hash {
    struct store_view *view;
    struct store_cursor *cursor;
    struct mvcc_reader reader;
    struct mvcc_iter iter; /* looking for a live key */
    enum { HASH_PROBE, HASH_START, HASH_WALK, HASH_DONE } phase;
    bool probing;
    int64_t revision;
    int64_t floor;
    int64_t alive_at; /* where records up to the floor must be live to count */
    uint32_t crc;
};

int kv_hash_open(struct kv *kv, int64_t revision, struct kv_hash **out)
{
    struct kv_hash *h = mem_zalloc(sizeof(*h));
    if (h == NULL) {
        return ERR_NOMEM;
    }
    int err = store_view_open(kv->store, &h->view);
    if (err != 0) {
        mem_free(h);
        return err;
    }
    const struct store_point *point = store_view_point(h->view);
    mvcc_reader_init(&h->reader, h->view);
    h->floor = point->compact_revision;
    h->revision = revision == 0 ? point->revision : revision;
    if (revision > 0 && revision < h->floor) {
        err = ERR_COMPACTED;
    } else if (revision > 0 && revision > point->revision) {
        err = ERR_FUTURE_REV;
    }
    if (err != 0) {
        kv_hash_close(h);
        return err;
    }
    h->crc = crc32c(0, "key", 3);
    *out = h;
    return 0;
}

void kv_hash_close(struct kv_hash *h)
{
    if (h == NULL) {
        return;
    }
    if (h->probing) {
        mvcc_iter_close(&h->iter);
    }
    if (h->cursor != NULL) {
        store_cursor_close(h->cursor);
    }
    mvcc_reader_close(&h->reader);
    store_view_close(h->view);
    mem_free(h);
}

void kv_hash_result(const struct kv_hash *h, uint32_t *hash, int64_t *compact_revision,
                    int64_t *hash_revision)
{
    *hash = h->crc;
    *compact_revision = h->floor;
    *hash_revision = h->revision;
}

/* Is anything live at the hashed revision? */
static bool hash_probe(struct kv_hash *h, uint32_t *budget, int *err)
{
    static const uint8_t zero[1] = {0};
    if (!h->probing) {
        *err = mvcc_iter_open(&h->iter, h->view, slice_of(zero, 1), slice_of(zero, 1), h->revision);
        h->probing = true;
        if (*err != 0) {
            return false;
        }
    }
    int found = mvcc_iter_next(&h->iter, budget);
    if (found == 2) {
        return false;
    }
    if (found < 0) {
        *err = -found;
        return false;
    }
    h->alive_at = found > 0 ? h->revision : h->floor;
    h->phase = HASH_START;
    return true;
}

static int hash_counts(struct kv_hash *h, const struct record *r, struct slice key, bool *counts)
{
    struct version v;
    struct rev at = {.main = h->alive_at, .sub = REV_SUB_MAX};
    *counts = r->rev.main > h->floor;
    if (*counts || r->op == RECORD_DELETE) {
        return 0;
    }
    int found = mvcc_find(&h->reader, key, at, &v);
    *counts = found > 0 && rev_cmp(v.rev, r->rev) == 0;
    return found < 0 ? -found : 0;
}

static void hash_record(struct kv_hash *h, const struct record *r)
{
    uint8_t key[TOMBSTONE_KEY_BYTES];
    bytes_put_be64(key, (uint64_t)r->rev.main);
    key[8] = '_';
    bytes_put_be64(key + 9, r->rev.sub);
    key[REVISION_KEY_BYTES] = 't';
    h->crc = crc32c(h->crc, key, r->op == RECORD_DELETE ? TOMBSTONE_KEY_BYTES : REVISION_KEY_BYTES);
    h->crc = crc32c(h->crc, r->kv.data, r->kv.len);
}

static enum kv_progress hash_walk(struct kv_hash *h, uint32_t *budget, int *err)
{
    int found = 1;
    if (h->phase == HASH_START) {
        *err = store_cursor_open(h->view, TABLE_RECORD, &h->cursor);
        if (*err != 0) {
            return KV_DONE;
        }
        h->phase = HASH_WALK;
        found = store_cursor_seek(h->cursor, slice_of(NULL, 0));
    }
    size_t bytes = 0;
    while (found > 0) {
        struct record r;
        struct key_value fields;
        bool counts;
        struct slice value = store_cursor_value(h->cursor);
        *err = record_parse(store_cursor_key(h->cursor), value, &r);
        if (*err != 0 || r.rev.main > h->revision) {
            break;
        }
        if (!key_value_parse(r.kv, &fields)) {
            *err = ERR_DAMAGED;
            break;
        }
        *err = hash_counts(h, &r, fields.key, &counts);
        if (*err != 0) {
            break;
        }
        if (counts) {
            hash_record(h, &r);
        }
        bytes += value.len;
        *budget -= *budget > 0;
        found = store_cursor_next(h->cursor);
        if (found > 0 && (*budget == 0 || bytes >= SLICE_BYTES_MAX)) {
            return KV_MORE;
        }
    }
    if (found < 0) {
        *err = -found;
    }
    h->phase = HASH_DONE;
    return KV_DONE;
}

enum kv_progress kv_hash_step(struct kv_hash *h, int *err)
{
    uint32_t budget = SLICE_ROWS_MAX;
    *err = 0;
    if (h->phase == HASH_DONE) {
        return KV_DONE;
    }
    if (h->phase == HASH_PROBE) {
        if (h->floor < 0) {
            h->phase = HASH_START;
        } else if (!hash_probe(h, &budget, err)) {
            return *err != 0 ? KV_DONE : KV_MORE;
        }
    }
    return hash_walk(h, &budget, err);
}
