/* change.c - rows out, hash and accounting along the way. */
#include "kv/change.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "kv/lease.h"
#include "kv/state.h"

void kv_stop(int err, const char *doing)
{
    LOG(LOG_FATAL, "the database cannot go on", F_STR("doing", doing),
        F_STR("error", err_text(err)),
        F_STR("next", err == ERR_DAMAGED
                          ? "the stored data fails its checksum: replace this member's data"
                          : "restart kvd; nothing acknowledged is lost"));
    FATAL_IF(true, "apply may not fail");
    __builtin_unreachable();
}

/* ---- running hash
 * -------------------------------------------------------------------------------- */

#define HASH_K0 0x9e3779b97f4a7c15ull
#define HASH_K1 0xd6e8feb86659fd93ull

/* The 128-bit product of two words, folded: every input bit reaches every output bit. */
static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_run(uint64_t hash, struct slice bytes)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.len;
    hash = hash_fold(hash ^ bytes.len, HASH_K1);
    while (left >= 16) {
        hash = hash_fold(bytes_le64(at) ^ hash, bytes_le64(at + 8) ^ HASH_K0);
        at += 16;
        left -= 16;
    }
    if (left > 0) {
        uint8_t tail[16] = {0};
        memcpy(tail, at, left);
        hash = hash_fold(bytes_le64(tail) ^ hash, bytes_le64(tail + 8) ^ HASH_K0);
    }
    /* A product with zero would forget everything before it. */
    return hash + HASH_K1;
}

uint64_t running_hash(uint64_t hash, uint8_t table, struct slice key, struct slice value)
{
    hash = hash_fold(hash ^ table, HASH_K0) + table;
    return hash_run(hash_run(hash, key), value);
}

/* ---- the operation
 * ------------------------------------------------------------------------------- */

void change_init(struct change *c)
{
    memset(c, 0, sizeof(*c));
    buf_init(&c->key);
    buf_init(&c->value);
}

static void change_stop_reading(struct change *c)
{
    if (c->reading) {
        mvcc_reader_close(&c->reader);
        c->reading = false;
    }
}

void change_close(struct change *c)
{
    change_stop_reading(c);
    buf_close(&c->key);
    buf_close(&c->value);
}

void change_begin(struct kv *kv, struct slice origin)
{
    struct change *c = &kv->change;
    ASSERT(!c->reading);
    c->count = 0;
    c->rows = 0;
    c->superseded = 0;
    c->tombstones = 0;
    c->origin = origin;
}

struct mvcc_reader *change_reader(struct kv *kv)
{
    struct change *c = &kv->change;
    if (!c->reading) {
        mvcc_reader_init(&c->reader, store_writer_view(kv->store));
        c->reading = true;
    }
    return &c->reader;
}

int64_t change_revision(const struct kv *kv)
{
    return kv->revision + 1;
}

int64_t change_visible(const struct kv *kv)
{
    return kv->change.count > 0 ? kv->revision + 1 : kv->revision;
}

bool change_find(struct kv *kv, struct slice key, struct version *out)
{
    struct rev newest = {.main = INT64_MAX, .sub = REV_SUB_MAX};
    int found = mvcc_find(change_reader(kv), key, newest, out);
    if (found < 0) {
        kv_stop(-found, "apply: reading a key's newest version");
    }
    return found > 0;
}

static void change_emit(struct kv *kv, enum store_table table, struct slice key, struct slice value)
{
    struct change *c = &kv->change;
    int err = store_put(kv->store, table, key, value);
    if (err != 0) {
        kv_stop(err, "apply: writing a row");
    }
    c->hash = running_hash(c->hash, (uint8_t)table, key, value);
    c->rows++;
}

void change_row(struct kv *kv, enum store_table table, struct slice key, struct slice value)
{
    struct buf *out = &kv->change.value;
    buf_clear(out);
    if (!buf_append_slice(out, value) || !row_seal(out, 0, key)) {
        kv_stop(ERR_NOMEM, "apply: building a row");
    }
    change_emit(kv, table, key, buf_slice(out));
}

void change_erase(struct kv *kv, enum store_table table, struct slice key)
{
    struct change *c = &kv->change;
    int err = store_erase(kv->store, table, key);
    if (err != 0) {
        kv_stop(err, "apply: erasing a row");
    }
    /* The table byte with its top bit turned tells an erased row from an empty one. */
    c->hash = running_hash(c->hash, (uint8_t)table ^ 0x80, key, slice_of(NULL, 0));
    c->rows++;
}

/* Writes record and index row of one version. */
static void change_version(struct kv *kv, const struct record *r, const struct key_value *fields,
                           struct version *v)
{
    struct change *c = &kv->change;
    uint8_t key[RECORD_KEY_BYTES];
    struct slice row = slice_of(key, sizeof(key));
    record_key(key, r->rev);
    buf_clear(&c->value);
    bool ok = record_head(&c->value, r);
    size_t start = c->value.len;
    ok = ok && key_value_append(&c->value, fields);
    size_t end = c->value.len;
    if (!ok || end - start > UINT32_MAX || !row_seal(&c->value, 0, row)) {
        kv_stop(ERR_NOMEM, "apply: building a record");
    }
    v->kv_size = (uint32_t)(end - start);
    change_emit(kv, TABLE_RECORD, row, buf_slice(&c->value));
    struct record whole = *r;
    whole.kv = slice_of(c->value.data + start, end - start);
    watch_hub_stage(&kv->hub, &whole, fields);

    buf_clear(&c->key);
    buf_clear(&c->value);
    ok = index_escape(&c->key, fields->key) && index_terminate(&c->key) &&
         index_rev(&c->key, r->rev) && index_value(&c->value, buf_slice(&c->key), v);
    if (!ok) {
        kv_stop(ERR_NOMEM, "apply: building an index row");
    }
    change_emit(kv, TABLE_INDEX, buf_slice(&c->key), buf_slice(&c->value));
    kv->accounting.bytes += version_cost(fields->key.len, v->kv_size);
    kv->counts.events++;
    FATAL_IF(++c->count == 0, "more changes in one operation than sub revisions");
}

/* Fills in what a put and a delete have in common. */
static struct record change_record(struct kv *kv, enum record_op op, struct slice key,
                                   const struct version *prev)
{
    struct change *c = &kv->change;
    struct record r = {.op = op, .origin = c->origin};
    r.rev = (struct rev){.main = change_revision(kv), .sub = c->count};
    if (c->count == 0) {
        r.garbage = kv->accounting.garbage;
        r.tombstones = kv->accounting.tombstones;
    }
    if (prev != NULL && !prev->tombstone) {
        r.has_prev = true;
        r.prev = prev->rev;
        c->superseded += version_cost(key.len, prev->kv_size);
    }
    return r;
}

void change_put(struct kv *kv, struct slice key, struct slice value, int64_t lease,
                const struct version *prev)
{
    struct record r = change_record(kv, RECORD_PUT, key, prev);
    struct version v = {.rev = r.rev, .create = r.rev.main, .version = 1, .lease = lease};
    int64_t lease_before = 0;
    if (r.has_prev) {
        v.create = prev->create;
        v.version = prev->version + 1;
        lease_before = prev->lease;
    }
    struct key_value fields = {.key = key,
                               .create = v.create,
                               .mod = r.rev.main,
                               .version = v.version,
                               .value = value,
                               .lease = lease};
    change_version(kv, &r, &fields, &v);
    kv->counts.puts++;
    kv->counts.put_bytes += key.len + value.len;
    kv->counts.live += !r.has_prev;
    lease_move_key(kv, key, lease_before, lease);
}

void change_delete(struct kv *kv, struct slice key, const struct version *prev)
{
    ASSERT(!prev->tombstone);
    struct record r = change_record(kv, RECORD_DELETE, key, prev);
    struct version v = {.rev = r.rev, .tombstone = true};
    struct key_value fields = {.key = key};
    change_version(kv, &r, &fields, &v);
    kv->counts.live--;
    kv->change.tombstones += version_cost(key.len, v.kv_size);
    lease_move_key(kv, key, prev->lease, 0);
}

void change_publish(struct kv *kv, uint64_t applied_index)
{
    struct change *c = &kv->change;
    struct accounting *a = &kv->accounting;
    change_stop_reading(c);
    if (c->count > 0) {
        kv->revision++;
        a->garbage += c->superseded + a->tombstones;
        a->tombstones = c->tombstones;
    }
    struct store_point point = {.revision = kv->revision,
                                .compact_revision = kv->compact_revision,
                                .applied_index = applied_index};
    store_publish(kv->store, &point);
    if (c->count > 0) {
        watch_hub_publish(kv, kv->revision);
    }
    c->origin = slice_of(NULL, 0);
}

/* ---- accounting
 * ---------------------------------------------------------------------------------- */

static const uint8_t ACCOUNT_KEY[] = {'f', 'l', 'o', 'o', 'r'};

/* `garbage` as it was right after `revision`. */
static int64_t accounting_garbage(struct kv *kv, int64_t revision)
{
    struct record r;
    if (revision <= 1) {
        return 0;
    }
    if (revision >= kv->revision) {
        return kv->accounting.garbage;
    }
    /* The first record of a revision carries what was true after the one before. It is above the
     * old floor, so no compaction has taken it away. */
    int err = mvcc_record(change_reader(kv)->view, (struct rev){.main = revision + 1}, &r);
    if (err != 0) {
        kv_stop(err, "apply: reading the accounting of a revision");
    }
    return r.garbage;
}

void accounting_compact(struct kv *kv, int64_t revision)
{
    struct accounting *a = &kv->accounting;
    uint8_t value[16];
    int64_t garbage = accounting_garbage(kv, revision);
    a->bytes -= garbage - a->floor_garbage;
    a->floor_garbage = garbage;
    bytes_put_be64(value, (uint64_t)revision);
    bytes_put_be64(value + 8, (uint64_t)garbage);
    change_row(kv, TABLE_ACCOUNT, slice_of(ACCOUNT_KEY, sizeof(ACCOUNT_KEY)),
               slice_of(value, sizeof(value)));
}

/* Adds what one record of the newest revision superseded or buried. */
static int accounting_add(struct accounting *a, struct mvcc_reader *reader, struct slice key,
                          struct slice value)
{
    struct record r;
    struct key_value fields;
    struct version prev;
    int err = record_parse(key, value, &r);
    if (err != 0 || !key_value_parse(r.kv, &fields)) {
        return ERR_DAMAGED;
    }
    if (r.rev.sub == 0) {
        a->garbage += r.garbage + r.tombstones;
    }
    if (r.op == RECORD_DELETE) {
        a->tombstones += version_cost(fields.key.len, r.kv.len);
    }
    if (r.has_prev) {
        int found = mvcc_find(reader, fields.key, r.prev, &prev);
        if (found < 0) {
            return -found;
        }
        if (found == 0 || rev_cmp(prev.rev, r.prev) != 0) {
            return ERR_DAMAGED;
        }
        a->garbage += version_cost(fields.key.len, prev.kv_size);
    }
    return 0;
}

/* Walks the newest revision's records. When the floor is that revision, superseded versions may be
 * gone, but then the floor's row tells the sum. */
static int accounting_walk(struct kv *kv, struct store_view *view)
{
    struct accounting *a = &kv->accounting;
    struct store_cursor *cursor;
    uint8_t key[RECORD_KEY_BYTES];
    bool at_floor = kv->compact_revision == kv->revision;
    int err = store_cursor_open(view, TABLE_RECORD, &cursor);
    if (err != 0) {
        return err;
    }
    struct mvcc_reader reader;
    mvcc_reader_init(&reader, view);
    record_key(key, (struct rev){.main = kv->revision});
    int found = store_cursor_seek(cursor, slice_of(key, sizeof(key)));
    while (found > 0 && err == 0) {
        struct slice row = store_cursor_value(cursor);
        struct record r;
        if (!at_floor) {
            err = accounting_add(a, &reader, store_cursor_key(cursor), row);
        } else {
            err = record_parse(store_cursor_key(cursor), row, &r);
            if (err == 0 && r.op == RECORD_DELETE) {
                struct key_value fields;
                err = key_value_parse(r.kv, &fields) ? 0 : ERR_DAMAGED;
                a->tombstones += version_cost(fields.key.len, r.kv.len);
            }
        }
        found = store_cursor_next(cursor);
    }
    mvcc_reader_close(&reader);
    store_cursor_close(cursor);
    return err != 0 ? err : found < 0 ? -found : 0;
}

int accounting_open(struct kv *kv, struct store_view *view)
{
    struct accounting *a = &kv->accounting;
    struct slice key = slice_of(ACCOUNT_KEY, sizeof(ACCOUNT_KEY));
    struct slice value;
    a->garbage = a->tombstones = a->floor_garbage = 0;
    int found = store_get(view, TABLE_ACCOUNT, key, &value);
    if (found < 0) {
        return -found;
    }
    if (found > 0) {
        int err = row_unseal(key, &value);
        if (err != 0 || value.len != 16) {
            return ERR_DAMAGED;
        }
        a->floor_garbage = (int64_t)bytes_be64(value.data + 8);
        if (kv->compact_revision == kv->revision) {
            a->garbage = a->floor_garbage;
        }
    }
    return kv->revision <= 1 ? 0 : accounting_walk(kv, view);
}
