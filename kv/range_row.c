/* range_row.c - one row of a RangeResponse: field 2, a KeyValue. */
#include "base/err.h"
#include "kv/range.h"
#include "proto/codec.h"

/* The KeyValue of keys_only: no value, and a lease only where etcd shows one. */
static struct key_value bare(const struct range_plan *plan, struct slice key,
                             const struct version *v)
{
    return (struct key_value){.key = key,
                              .create = v->create,
                              .mod = v->rev.main,
                              .version = v->version,
                              .lease = plan->keep_lease ? v->lease : 0};
}

static uint32_t framed(size_t size)
{
    return (uint32_t)(1 + wire_varint_size(size) + size);
}

uint32_t range_row_size(const struct range_plan *plan, struct slice key, const struct version *v)
{
    if (plan->keys_only) {
        struct key_value kv = bare(plan, key, v);
        return framed(key_value_size(&kv));
    }
    return framed(v->kv_size);
}

static int begin_record(struct kv_range *r, const struct record *record)
{
    buf_clear(&r->piece);
    r->piece_sent = 0;
    r->body = record->kv;
    return wire_put_header(&r->piece, 2, record->kv.len) ? 0 : ERR_NOMEM;
}

static int begin_bare(struct kv_range *r, const struct key_value *kv)
{
    buf_clear(&r->piece);
    r->piece_sent = 0;
    r->body = slice_of(NULL, 0);
    return wire_put_header(&r->piece, 2, key_value_size(kv)) && key_value_append(&r->piece, kv)
               ? 0
               : ERR_NOMEM;
}

int range_row_begin(struct kv_range *r, struct slice key, const struct version *v)
{
    struct record record;
    if (r->plan.keys_only) {
        struct key_value kv = bare(&r->plan, key, v);
        return begin_bare(r, &kv);
    }
    int err = mvcc_record(r->view, v->rev, &record);
    if (err != 0) {
        return err;
    }
    /* The sizes promised in the first pass came from the index. */
    return record.kv.len != v->kv_size ? ERR_DAMAGED : begin_record(r, &record);
}

int range_row_begin_ref(struct kv_range *r, const struct range_ref *ref)
{
    struct record record;
    struct key_value kv;
    int err = mvcc_record(r->view, (struct rev){.main = ref->main, .sub = ref->sub}, &record);
    if (err != 0) {
        return err;
    }
    if (!r->plan.keys_only) {
        return framed(record.kv.len) != ref->size ? ERR_DAMAGED : begin_record(r, &record);
    }
    if (!key_value_parse(record.kv, &kv)) {
        return ERR_DAMAGED;
    }
    kv.value = slice_of(NULL, 0);
    kv.lease = r->plan.keep_lease ? kv.lease : 0;
    return framed(key_value_size(&kv)) != ref->size ? ERR_DAMAGED : begin_bare(r, &kv);
}

int range_row_append(struct kv_range *r, struct slice key, const struct version *v, struct buf *out)
{
    int err = range_row_begin(r, key, v);
    if (err != 0) {
        return err;
    }
    return buf_append_slice(out, buf_slice(&r->piece)) && buf_append_slice(out, r->body)
               ? 0
               : ERR_NOMEM;
}

size_t range_trailer_size(const struct kv_range *r)
{
    return wire_uint_size(3, r->more) + wire_uint_size(4, (uint64_t)r->count);
}

bool range_trailer(const struct kv_range *r, struct buf *out)
{
    return wire_put_uint(out, 3, r->more) && wire_put_uint(out, 4, (uint64_t)r->count);
}
