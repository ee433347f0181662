/* lease.c - lease rows, and kv.h's functions that need both rows and lessor. */
#include "kv/lease.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "kv/state.h"

void lease_key(uint8_t out[LEASE_ID_BYTES], int64_t id)
{
    bytes_put_be64(out, (uint64_t)id);
}

int lease_grant(struct kv *kv, int64_t id, int64_t *ttl)
{
    uint8_t key[LEASE_ID_BYTES];
    uint8_t value[8];
    if (id == 0) {
        return ERR_LEASE_NOT_FOUND;
    }
    if (*ttl > LEASE_TTL_SECONDS_MAX) {
        return ERR_LEASE_TTL_TOO_LARGE;
    }
    if (lessor_find(&kv->lessor, id) != NULL) {
        return ERR_LEASE_EXIST;
    }
    if (*ttl < 1) {
        *ttl = 1;
    }
    if (lessor_grant(&kv->lessor, id, *ttl) == NULL) {
        kv_stop(ERR_NOMEM, "apply: granting a lease");
    }
    lease_key(key, id);
    bytes_put_be64(value, (uint64_t)*ttl);
    change_row(kv, TABLE_LEASE, slice_of(key, sizeof(key)), slice_of(value, sizeof(value)));
    kv->accounting.bytes += LEASE_COST_BYTES;
    kv->counts.leases_granted++;
    return 0;
}

void lease_drop(struct kv *kv, struct lease *lease)
{
    uint8_t key[LEASE_ID_BYTES];
    (void)WARN_IF(lease->keys != 0, "a lease is dropped while keys are counted as attached");
    lease_key(key, lease->id);
    change_erase(kv, TABLE_LEASE, slice_of(key, sizeof(key)));
    kv->accounting.bytes -= LEASE_COST_BYTES;
    kv->counts.leases_revoked++;
    lessor_revoke(&kv->lessor, lease);
}

/* The key of an attachment row in the change's scratch buffer. */
static struct slice lease_attachment(struct kv *kv, int64_t id, struct slice key)
{
    struct buf *out = &kv->change.key;
    buf_clear(out);
    if (!buf_append_be64(out, (uint64_t)id) || !buf_append_slice(out, key)) {
        kv_stop(ERR_NOMEM, "apply: attaching a key to a lease");
    }
    return buf_slice(out);
}

void lease_move_key(struct kv *kv, struct slice key, int64_t before, int64_t after)
{
    if (before == after) {
        return;
    }
    if (before != 0) {
        struct lease *lease = lessor_find(&kv->lessor, before);
        change_erase(kv, TABLE_LEASE_KEY, lease_attachment(kv, before, key));
        if (lease != NULL && lease->keys > 0) {
            lease->keys--;
        }
    }
    if (after != 0) {
        struct lease *lease = lessor_find(&kv->lessor, after);
        FATAL_IF(lease == NULL, "a key is attached to a lease that does not exist");
        change_row(kv, TABLE_LEASE_KEY, lease_attachment(kv, after, key), slice_of(NULL, 0));
        lease->keys++;
    }
}

/* ---- opening
 * ------------------------------------------------------------------------------------- */

static int lease_open_one(struct kv *kv, struct slice key, struct slice value)
{
    if (row_unseal(key, &value) != 0 || key.len != LEASE_ID_BYTES || value.len != 8) {
        return ERR_DAMAGED;
    }
    int64_t id = (int64_t)bytes_be64(key.data);
    int64_t ttl = (int64_t)bytes_be64(value.data);
    return lessor_grant(&kv->lessor, id, ttl) == NULL ? ERR_NOMEM : 0;
}

static int lease_open_key(struct kv *kv, struct slice key, struct slice value)
{
    if (row_unseal(key, &value) != 0 || key.len <= LEASE_ID_BYTES) {
        return ERR_DAMAGED;
    }
    struct lease *lease = lessor_find(&kv->lessor, (int64_t)bytes_be64(key.data));
    if (lease == NULL) {
        return ERR_DAMAGED;
    }
    lease->keys++;
    return 0;
}

static int lease_walk(struct kv *kv, struct store_view *view, enum store_table table,
                      int (*row)(struct kv *kv, struct slice key, struct slice value))
{
    struct store_cursor *cursor;
    int err = store_cursor_open(view, table, &cursor);
    if (err != 0) {
        return err;
    }
    int found = store_cursor_seek(cursor, slice_of(NULL, 0));
    while (found > 0 && err == 0) {
        err = row(kv, store_cursor_key(cursor), store_cursor_value(cursor));
        found = store_cursor_next(cursor);
    }
    store_cursor_close(cursor);
    return err != 0 ? err : found < 0 ? -found : 0;
}

int lease_open(struct kv *kv, struct store_view *view)
{
    lessor_clear(&kv->lessor);
    int err = lease_walk(kv, view, TABLE_LEASE, lease_open_one);
    return err != 0 ? err : lease_walk(kv, view, TABLE_LEASE_KEY, lease_open_key);
}

/* ---- kv.h
 * ---------------------------------------------------------------------------------------- */

void kv_lessor_promote(struct kv *kv, uint64_t now_ms, uint64_t extend_ms)
{
    lessor_promote(&kv->lessor, now_ms, extend_ms);
}

void kv_lessor_demote(struct kv *kv)
{
    lessor_demote(&kv->lessor);
}

bool kv_lessor_primary(const struct kv *kv)
{
    return kv->lessor.primary;
}

int kv_lease_renew(struct kv *kv, int64_t id, uint64_t now_ms, int64_t *ttl)
{
    return lessor_renew(&kv->lessor, id, now_ms, ttl);
}

bool kv_lease_lookup(struct kv *kv, int64_t id, uint64_t now_ms, struct kv_lease_info *out)
{
    struct lease *lease = lessor_find(&kv->lessor, id);
    if (lease == NULL) {
        return false;
    }
    out->id = id;
    out->granted_ttl = lease->ttl;
    out->remaining_ms = lessor_remaining_ms(&kv->lessor, lease, now_ms);
    out->key_count = lease->keys;
    return true;
}

void kv_lease_keys(struct kv *kv, int64_t id, void (*key)(void *data, struct slice key), void *data)
{
    struct store_view *view;
    struct store_cursor *cursor;
    uint8_t prefix[LEASE_ID_BYTES];
    lease_key(prefix, id);
    if (store_view_open(kv->store, &view) != 0) {
        return;
    }
    if (store_cursor_open(view, TABLE_LEASE_KEY, &cursor) == 0) {
        struct slice start = slice_of(prefix, sizeof(prefix));
        int found = store_cursor_seek(cursor, start);
        while (found > 0 && slice_starts_with(store_cursor_key(cursor), start)) {
            struct slice row = store_cursor_key(cursor);
            key(data, slice_of(row.data + LEASE_ID_BYTES, row.len - LEASE_ID_BYTES));
            found = store_cursor_next(cursor);
        }
        store_cursor_close(cursor);
    }
    store_view_close(view);
}

void kv_lease_list(struct kv *kv, void (*lease)(void *data, int64_t id), void *data)
{
    (void)WARN_IF(!lessor_list(&kv->lessor, lease, data), "out of memory for a list of leases");
}

size_t kv_lease_expired(struct kv *kv, uint64_t now_ms, uint64_t retry_ms, size_t max,
                        void (*expired)(void *data, int64_t id), void *data)
{
    return lessor_expired(&kv->lessor, now_ms, retry_ms, max, expired, data);
}

uint64_t kv_lease_next_ms(const struct kv *kv)
{
    return lessor_next_ms(&kv->lessor);
}
