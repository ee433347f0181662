/* watch_event.c - a change as field 11 of WatchResponse: Event {type, kv, prev_kv}. */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "kv/state.h"
#include "proto/codec.h"

#define FIELD_EVENTS  11
#define FIELD_TYPE    1
#define FIELD_KV      2
#define FIELD_PREV_KV 3
#define TYPE_DELETE   1
#define KV_FIELD_MOD  3

/* An embedded message of `len` bytes: tag, length, bytes. All tags here are one byte. */
static size_t framed(size_t len)
{
    return 1 + wire_varint_size(len) + len;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_frame(uint8_t *at, uint8_t field, size_t len)
{
    *at++ = (uint8_t)(field << 3 | WIRE_BYTES);
    return put_varint(at, len);
}

static uint8_t *put_bytes(uint8_t *at, struct slice bytes)
{
    if (bytes.len > 0) {
        memcpy(at, bytes.data, bytes.len);
    }
    return at + bytes.len;
}

bool hub_event_make(struct hub_event *e, const struct record *r)
{
    struct key_value fields;
    bool is_delete = r->op == RECORD_DELETE;
    /* A deletion shows key and revision only (contract WA-12). */
    size_t mod = is_delete ? wire_uint_size(KV_FIELD_MOD, (uint64_t)r->rev.main) : 0;
    size_t kv = r->kv.len + mod;
    size_t event = framed(kv) + (is_delete ? 2 : 0);
    struct blob *b = blob_new(framed(event));
    if (b == NULL) {
        return false;
    }
    uint8_t *at = put_frame(b->data, FIELD_EVENTS, event);
    if (is_delete) {
        *at++ = FIELD_TYPE << 3;
        *at++ = TYPE_DELETE;
    }
    at = put_frame(at, FIELD_KV, kv);
    struct slice copy = slice_of(at, r->kv.len);
    at = put_bytes(at, r->kv);
    if (is_delete) {
        *at++ = KV_FIELD_MOD << 3;
        at = put_varint(at, (uint64_t)r->rev.main);
    }
    ASSERT(at == b->data + b->len);
    if (!key_value_parse(copy, &fields)) {
        blob_unref(b);
        return false;
    }
    /* A creation has no value before, even when its revision changed the key more than once. */
    bool creation = !is_delete && fields.create == r->rev.main;
    *e = (struct hub_event){.rev = r->rev,
                            .prev = r->prev,
                            .has_prev = r->has_prev && !creation,
                            .is_delete = is_delete,
                            .plain = b,
                            .key = fields.key};
    return true;
}

/* The event again with prev_kv at its end. */
static struct blob *with_prev(const struct hub_event *e, struct slice prev)
{
    /* The plain encoding without its outer frame. */
    struct slice plain = blob_slice(e->plain);
    struct wire_field f;
    if (wire_next(&plain, &f) <= 0) {
        return NULL;
    }
    size_t event = f.bytes.len + framed(prev.len);
    struct blob *b = blob_new(framed(event));
    if (b != NULL) {
        uint8_t *at = put_frame(b->data, FIELD_EVENTS, event);
        at = put_bytes(at, f.bytes);
        at = put_frame(at, FIELD_PREV_KV, prev.len);
        at = put_bytes(at, prev);
        ASSERT(at == b->data + b->len);
    }
    return b;
}

/* Finds the version the key had before all of the event's revision; almost always e->prev is it. 1
 * = it was live, 0 = it was not, negative = -(enum err). */
static int find_prev(const struct hub_event *e, struct store_view *view, struct rev *out)
{
    struct mvcc_reader reader;
    struct version v;
    *out = e->prev;
    if (e->prev.main < e->rev.main) {
        return 1;
    }
    mvcc_reader_init(&reader, view);
    struct rev before = {.main = e->rev.main - 1, .sub = REV_SUB_MAX};
    int found = mvcc_find(&reader, e->key, before, &v);
    mvcc_reader_close(&reader);
    *out = v.rev;
    return found <= 0 ? found : !v.tombstone;
}

/* Reads the value before the event. 1 = found, 0 = there was none or compaction has taken it
 * (contract WA-13), negative = -(enum err). Close *view when not NULL. */
static int read_prev(struct kv *kv, const struct hub_event *e, struct store_view **view,
                     struct record *r)
{
    struct rev at;
    if (e->rev.main - 1 < kv->compact_revision) {
        return 0;
    }
    int err = store_view_open(kv->store, view);
    if (err != 0) {
        *view = NULL;
        return -err;
    }
    int found = find_prev(e, *view, &at);
    if (found == 1) {
        err = mvcc_record(*view, at, r);
        found = err != 0 ? -err : 1;
    }
    return found;
}

struct blob *hub_event_body(struct kv *kv, struct hub_event *e, bool prev_kv)
{
    struct record r;
    struct store_view *view = NULL;
    if (!prev_kv || !e->has_prev) {
        return e->plain;
    }
    if (e->with_prev != NULL) {
        return e->with_prev;
    }
    int found = read_prev(kv, e, &view, &r);
    if (found == 1) {
        e->with_prev = with_prev(e, r.kv);
    } else if (found == 0) {
        e->with_prev = blob_ref(e->plain);
    } else if (found != -ERR_NOMEM) {
        kv_stop(-found, "watch: reading the value before a change");
    }
    if (view != NULL) {
        store_view_close(view);
    }
    return e->with_prev;
}

void hub_event_drop(struct hub_event *e)
{
    blob_unref(e->plain);
    blob_unref(e->with_prev);
    e->plain = e->with_prev = NULL;
}
