/* encode.c - arguments of the plugin ABI as the messages that rpc/service.h takes. */
#include "plugins/host/host_impl.h"
#include "proto/codec.h"

/* The first key behind all that begin with prefix: its last byte that is not 0xff, one higher. One
 * zero byte (all keys from here on) when there is none. */
static bool encode_prefix_end(struct buf *out, uint32_t field, struct kvp_bytes prefix)
{
    size_t len = prefix.len;
    const uint8_t *bytes = prefix.data;
    while (len > 0 && bytes[len - 1] == 0xff) {
        len--;
    }
    wire_put_header(out, field, len > 0 ? len : 1);
    if (len == 0) {
        return buf_append_byte(out, 0);
    }
    buf_append(out, bytes, len - 1);
    return buf_append_byte(out, (uint8_t)(bytes[len - 1] + 1));
}

static bool encode_starts_with(struct kvp_bytes b, struct kvp_bytes prefix)
{
    return slice_starts_with(bytes_slice(b), bytes_slice(prefix));
}

bool encode_range_bounds(struct buf *out, uint32_t key_field, uint32_t end_field,
                         struct kvp_bytes key, struct kvp_bytes end, struct kvp_bytes from,
                         bool prefix)
{
    static const uint8_t zero = 0;
    struct slice first = bytes_slice(key);
    if (key.len == 0) {
        if (!prefix) {
            return false;
        }
        first = slice_of(&zero, 1);
    }
    bool open = end.len == 1 && *(const uint8_t *)end.data == 0;
    if (!prefix && end.len > 0 && !open && slice_cmp(bytes_slice(end), first) <= 0) {
        return false; /* an empty range is a mistake */
    }
    if (from.len > 0) {
        if (slice_cmp(bytes_slice(from), bytes_slice(key)) < 0 ||
            (prefix && !encode_starts_with(from, key)) || (!prefix && end.len == 0)) {
            return false;
        }
        first = bytes_slice(from);
    }
    wire_put_bytes(out, key_field, first);
    if (prefix) {
        encode_prefix_end(out, end_field, key);
    } else {
        wire_put_bytes(out, end_field, bytes_slice(end));
    }
    return true;
}

bool encode_put(struct buf *out, const struct kvp_put *p)
{
    if (p->size < sizeof(*p) || p->key.len == 0 || (p->flags & ~KVP_KEEP_LEASE) != 0 ||
        ((p->flags & KVP_KEEP_LEASE) != 0 && p->lease != 0)) {
        return false;
    }
    wire_put_bytes(out, 1, bytes_slice(p->key));
    wire_put_bytes(out, 2, bytes_slice(p->value));
    wire_put_uint(out, 3, (uint64_t)p->lease);
    wire_put_uint(out, 6, (p->flags & KVP_KEEP_LEASE) != 0);
    return true;
}

bool encode_del(struct buf *out, const struct kvp_del *d)
{
    return d->size >= sizeof(*d) && (d->flags & ~KVP_PREFIX) == 0 &&
           encode_range_bounds(out, 1, 2, d->key, d->end, (struct kvp_bytes){0},
                               (d->flags & KVP_PREFIX) != 0);
}

bool encode_range(struct buf *out, const struct kvp_range *r)
{
    static const uint32_t known = KVP_PREFIX | KVP_KEYS_ONLY | KVP_COUNT_ONLY | KVP_SERIALIZABLE;
    if (r->size < sizeof(*r) || (r->flags & ~known) != 0 || r->revision < 0 || r->limit < 0 ||
        !encode_range_bounds(out, 1, 2, r->key, r->end, r->from, (r->flags & KVP_PREFIX) != 0)) {
        return false;
    }
    uint64_t limit = r->limit == 0                     ? PLUGIN_PAGE_ROWS_DEFAULT
                     : r->limit > PLUGIN_PAGE_ROWS_MAX ? PLUGIN_PAGE_ROWS_MAX
                                                       : (uint64_t)r->limit;
    bool count_only = (r->flags & KVP_COUNT_ONLY) != 0;
    wire_put_uint(out, 3, count_only ? 0 : limit);
    wire_put_uint(out, 4, (uint64_t)r->revision);
    wire_put_uint(out, 7, (r->flags & KVP_SERIALIZABLE) != 0);
    wire_put_uint(out, 8, (r->flags & KVP_KEYS_ONLY) != 0);
    wire_put_uint(out, 9, count_only);
    return true;
}
