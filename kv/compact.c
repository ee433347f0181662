/* compact.c - sealing, checkpointing, and the walk that drops rows. */
#include "kv/compact.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "kv/state.h"

void compactor_open(struct compactor *c, int64_t floor, int64_t done)
{
    atomic_store(&c->sealed_floor, floor);
    atomic_store(&c->done, done);
    c->durable_floor = floor;
    c->target = -1;
    c->dropped = 0;
}

void compactor_close(struct compactor *c)
{
    buf_close(&c->key);
}

int64_t kv_compact_done(const struct kv *kv)
{
    return atomic_load_explicit(&kv->compactor.done, memory_order_acquire);
}

uint64_t kv_compact_dropped(const struct kv *kv)
{
    return atomic_load_explicit(&kv->compactor.dropped_ever, memory_order_relaxed);
}

bool kv_seal(struct kv *kv, size_t seal_bytes, bool force)
{
    FATAL_IF(kv->apply.active, "the memtable is sealed in the middle of an entry");
    if (store_sealed(kv->store) || (!force && store_active_bytes(kv->store) < seal_bytes)) {
        return false;
    }
    struct store_meta meta = {.applied_index = kv->applied_index,
                              .applied_term = kv->applied_term,
                              .revision = kv->revision,
                              .compact_revision = kv->compact_revision,
                              .compact_done = kv_compact_done(kv),
                              .accounted_bytes = kv->accounting.bytes,
                              .running_hash = kv->running_hash,
                              .configuration_index = kv->configuration_index,
                              .configuration = buf_slice(&kv->configuration)};
    atomic_store_explicit(&kv->compactor.sealed_floor, kv->compact_revision, memory_order_release);
    return store_seal(kv->store, &meta);
}

/* ---- the walk
 * ------------------------------------------------------------------------------------ */

/* One transaction's worth of the walk; the compactor itself moves only after the commit. */
struct compact_slice {
    struct compactor *compactor;
    struct rev position;
    uint64_t dropped;
    bool finished;
};

/* Erases record and index row of one version. */
static int compact_drop(struct store_txn *t, struct buf *index, struct slice user_key,
                        struct rev rev)
{
    uint8_t key[RECORD_KEY_BYTES];
    buf_clear(index);
    if (!index_escape(index, user_key) || !index_terminate(index) || !index_rev(index, rev)) {
        return ERR_NOMEM;
    }
    int err = store_txn_erase(t, TABLE_INDEX, buf_slice(index));
    if (err != 0 && err != ERR_NOT_FOUND) {
        return err;
    }
    record_key(key, rev);
    err = store_txn_erase(t, TABLE_RECORD, slice_of(key, sizeof(key)));
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* Looks at the record at or behind s->position. */
static int compact_record(struct store_txn *t, struct compact_slice *s, struct buf *user_key)
{
    struct compactor *c = s->compactor;
    uint8_t bytes[RECORD_KEY_BYTES];
    struct slice key;
    struct slice value;
    struct record r;
    struct key_value fields;
    record_key(bytes, s->position);
    int found = store_txn_seek(t, TABLE_RECORD, slice_of(bytes, sizeof(bytes)), &key, &value);
    if (found < 0) {
        return -found;
    }
    if (found > 0) {
        int err = record_parse(key, value, &r);
        if (err != 0 || !key_value_parse(r.kv, &fields)) {
            return ERR_DAMAGED;
        }
    }
    if (found == 0 || r.rev.main > c->target) {
        s->finished = true;
        return 0;
    }
    buf_clear(user_key);
    if (!buf_append_slice(user_key, fields.key)) {
        return ERR_NOMEM;
    }
    /* From here on the row's bytes are gone with the next erasure. */
    int err = 0;
    if (r.has_prev && r.rev.main > c->from) {
        err = compact_drop(t, &c->key, buf_slice(user_key), r.prev);
        s->dropped++;
    }
    if (err == 0 && r.op == RECORD_DELETE && r.rev.main < c->target) {
        err = compact_drop(t, &c->key, buf_slice(user_key), r.rev);
        s->dropped++;
    }
    s->position = (struct rev){.main = r.rev.main, .sub = r.rev.sub + 1};
    if (s->position.sub == 0) {
        s->position.main++;
    }
    return err;
}

static int compact_work(struct store_txn *t, void *data)
{
    struct compact_slice *s = data;
    struct compactor *c = s->compactor;
    struct buf user_key;
    int err = 0;
    FATAL_IF(store_txn_meta(t)->compact_revision < c->target,
             "compaction would drop rows that the checkpoint shows as readable");
    buf_init(&user_key);
    for (uint32_t n = 0; n < COMPACT_SLICE_ROWS_MAX && !s->finished && err == 0; n++) {
        err = compact_record(t, s, &user_key);
    }
    buf_close(&user_key);
    int64_t done = s->finished ? c->target : s->position.main - 1;
    if (err == 0 && done > c->from) {
        err = store_txn_set_compact_done(t, done);
    }
    return err;
}

/* One slice. false = nothing (more) to do or *err. */
static bool compact_step(struct kv *kv, int *err)
{
    struct compactor *c = &kv->compactor;
    int64_t done = atomic_load_explicit(&c->done, memory_order_relaxed);
    if (c->target < 0) {
        if (c->durable_floor <= done) {
            return false;
        }
        c->target = c->durable_floor;
        c->from = done;
        c->position = (struct rev){.main = done > 0 ? done : 0};
        c->dropped = 0;
    }
    struct compact_slice s = {.compactor = c, .position = c->position};
    *err = store_maintain(kv->store, compact_work, &s);
    if (*err != 0) {
        return false;
    }
    c->position = s.position;
    c->dropped += s.dropped;
    atomic_fetch_add_explicit(&c->dropped_ever, s.dropped, memory_order_relaxed);
    if (!s.finished) {
        if (s.position.main - 1 > c->from) {
            atomic_store_explicit(&c->done, s.position.main - 1, memory_order_release);
        }
        return true;
    }
    atomic_store_explicit(&c->done, c->target, memory_order_release);
    LOG(LOG_INFO, "finished scheduled compaction", F_INT("compact-revision", c->target),
        F_UINT("number-of-versions-compacted", c->dropped),
        F_UINT("current-db-size-bytes", store_bytes(kv->store)),
        F_UINT("current-db-size-in-use-bytes", store_bytes_in_use(kv->store)));
    c->target = -1;
    return c->durable_floor > atomic_load_explicit(&c->done, memory_order_relaxed);
}

enum kv_progress kv_checkpoint_step(struct kv *kv, int *err)
{
    struct compactor *c = &kv->compactor;
    *err = 0;
    if (store_sealed(kv->store)) {
        int64_t floor = atomic_load_explicit(&c->sealed_floor, memory_order_acquire);
        *err = store_checkpoint(kv->store);
        if (*err != 0) {
            return KV_DONE;
        }
        c->durable_floor = floor;
    }
    bool more = compact_step(kv, err);
    return *err == 0 && (more || store_sealed(kv->store)) ? KV_MORE : KV_DONE;
}
