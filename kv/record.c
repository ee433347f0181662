/* record.c - encoding and decoding of record and index rows. */
#include "kv/record.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "proto/codec.h"

#define CRC_BYTES 4u

/* Bits of a record's first byte beside the op in the low nibble. */
#define RECORD_OP_MASK     0x0f
#define RECORD_HAS_PREV    0x10
#define RECORD_HAS_ORIGIN  0x20
#define RECORD_HAS_GARBAGE 0x40

/* Bits of an index value's first byte. */
#define INDEX_TOMBSTONE 0x01
#define INDEX_LEASE     0x02

static bool get_varint(struct slice *in, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < in->len && i < 10; i++) {
        uint8_t byte = in->data[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *in = slice_of(in->data + i + 1, in->len - i - 1);
            *out = value;
            return true;
        }
    }
    return false;
}

size_t key_value_size(const struct key_value *kv)
{
    return wire_bytes_size(1, kv->key.len) + wire_uint_size(2, (uint64_t)kv->create) +
           wire_uint_size(3, (uint64_t)kv->mod) + wire_uint_size(4, (uint64_t)kv->version) +
           wire_bytes_size(5, kv->value.len) + wire_uint_size(6, (uint64_t)kv->lease);
}

bool key_value_append(struct buf *out, const struct key_value *kv)
{
    return buf_reserve(out, key_value_size(kv)) && wire_put_bytes(out, 1, kv->key) &&
           wire_put_uint(out, 2, (uint64_t)kv->create) &&
           wire_put_uint(out, 3, (uint64_t)kv->mod) &&
           wire_put_uint(out, 4, (uint64_t)kv->version) && wire_put_bytes(out, 5, kv->value) &&
           wire_put_uint(out, 6, (uint64_t)kv->lease);
}

bool key_value_parse(struct slice bytes, struct key_value *out)
{
    struct wire_field f;
    int more;
    memset(out, 0, sizeof(*out));
    while ((more = wire_next(&bytes, &f)) > 0) {
        switch (f.number) {
        case 1:
            out->key = f.bytes;
            break;
        case 2:
            out->create = (int64_t)f.value;
            break;
        case 3:
            out->mod = (int64_t)f.value;
            break;
        case 4:
            out->version = (int64_t)f.value;
            break;
        case 5:
            out->value = f.bytes;
            break;
        case 6:
            out->lease = (int64_t)f.value;
            break;
        default:
            return false;
        }
    }
    return more == 0;
}

bool row_seal(struct buf *out, size_t start, struct slice key)
{
    if (out->failed) {
        return false;
    }
    uint32_t crc = crc32c(0, key.data, key.len);
    if (out->len > start) {
        crc = crc32c(crc, out->data + start, out->len - start);
    }
    return buf_append_le32(out, crc);
}

int row_unseal(struct slice key, struct slice *value)
{
    if (value->len < CRC_BYTES) {
        return ERR_DAMAGED;
    }
    size_t len = value->len - CRC_BYTES;
    uint32_t crc = crc32c(0, key.data, key.len);
    crc = crc32c(crc, value->data, len);
    if (crc != bytes_le32(value->data + len)) {
        return ERR_DAMAGED;
    }
    value->len = len;
    return 0;
}

void record_key(uint8_t out[RECORD_KEY_BYTES], struct rev rev)
{
    bytes_put_be64(out, (uint64_t)rev.main);
    bytes_put_be32(out + 8, rev.sub);
}

bool record_head(struct buf *out, const struct record *r)
{
    bool garbage = r->rev.sub == 0;
    uint8_t first = (uint8_t)r->op;
    first |= r->has_prev ? RECORD_HAS_PREV : 0;
    first |= r->origin.len > 0 ? RECORD_HAS_ORIGIN : 0;
    first |= garbage ? RECORD_HAS_GARBAGE : 0;
    bool ok = buf_append_byte(out, first);
    if (r->has_prev) {
        ok = ok && buf_append_varint(out, (uint64_t)(r->rev.main - r->prev.main)) &&
             buf_append_varint(out, r->prev.sub);
    }
    if (r->origin.len > 0) {
        ok = ok && buf_append_varint(out, r->origin.len) && buf_append_slice(out, r->origin);
    }
    if (garbage) {
        ok = ok && buf_append_varint(out, (uint64_t)r->garbage) &&
             buf_append_varint(out, (uint64_t)r->tombstones);
    }
    return ok;
}

int record_parse(struct slice key, struct slice value, struct record *out)
{
    memset(out, 0, sizeof(*out));
    if (key.len != RECORD_KEY_BYTES || row_unseal(key, &value) != 0 || value.len < 1) {
        return ERR_DAMAGED;
    }
    out->rev.main = (int64_t)bytes_be64(key.data);
    out->rev.sub = bytes_be32(key.data + 8);
    uint8_t first = value.data[0];
    out->op = first & RECORD_OP_MASK;
    if (out->op != RECORD_PUT && out->op != RECORD_DELETE) {
        return ERR_DAMAGED;
    }
    value = slice_of(value.data + 1, value.len - 1);
    if (first & RECORD_HAS_PREV) {
        uint64_t distance;
        uint64_t sub;
        if (!get_varint(&value, &distance) || !get_varint(&value, &sub)) {
            return ERR_DAMAGED;
        }
        out->has_prev = true;
        out->prev.main = out->rev.main - (int64_t)distance;
        out->prev.sub = (uint32_t)sub;
    }
    if (first & RECORD_HAS_ORIGIN) {
        uint64_t len;
        if (!get_varint(&value, &len) || len > value.len) {
            return ERR_DAMAGED;
        }
        out->origin = slice_of(value.data, (size_t)len);
        value = slice_of(value.data + len, value.len - (size_t)len);
    }
    if (first & RECORD_HAS_GARBAGE) {
        uint64_t garbage;
        uint64_t tombstones;
        if (!get_varint(&value, &garbage) || !get_varint(&value, &tombstones)) {
            return ERR_DAMAGED;
        }
        out->garbage = (int64_t)garbage;
        out->tombstones = (int64_t)tombstones;
    }
    out->kv = value;
    return 0;
}

bool index_escape(struct buf *out, struct slice key)
{
    const uint8_t *at = key.data;
    const uint8_t *end = at + key.len;
    if (!buf_reserve(out, key.len + INDEX_TERM_BYTES + INDEX_REV_BYTES)) {
        return false;
    }
    while (at < end) {
        const uint8_t *zero = memchr(at, 0, (size_t)(end - at));
        if (zero == NULL) {
            return buf_append(out, at, (size_t)(end - at));
        }
        static const uint8_t escaped[2] = {0x00, 0xff};
        if (!buf_append(out, at, (size_t)(zero - at)) || !buf_append(out, escaped, 2)) {
            return false;
        }
        at = zero + 1;
    }
    return true;
}

bool index_terminate(struct buf *out)
{
    static const uint8_t term[INDEX_TERM_BYTES] = {0x00, 0x01};
    return buf_append(out, term, sizeof(term));
}

bool index_rev(struct buf *out, struct rev rev)
{
    uint8_t bytes[INDEX_REV_BYTES];
    bytes_put_be64(bytes, ~(uint64_t)rev.main);
    bytes_put_be32(bytes + 8, ~rev.sub);
    return buf_append(out, bytes, sizeof(bytes));
}

int index_split(struct slice row_key, struct slice *escaped, struct rev *rev)
{
    if (row_key.len < INDEX_TERM_BYTES + INDEX_REV_BYTES) {
        return ERR_DAMAGED;
    }
    size_t len = row_key.len - INDEX_REV_BYTES;
    const uint8_t *tail = row_key.data + len;
    if (tail[-2] != 0x00 || tail[-1] != 0x01) {
        return ERR_DAMAGED;
    }
    *escaped = slice_of(row_key.data, len);
    rev->main = (int64_t)~bytes_be64(tail);
    rev->sub = ~bytes_be32(tail + 8);
    return 0;
}

int index_unescape(struct slice escaped, struct buf *scratch, struct slice *key)
{
    if (escaped.len < INDEX_TERM_BYTES) {
        return ERR_DAMAGED;
    }
    const uint8_t *at = escaped.data;
    const uint8_t *end = at + escaped.len - INDEX_TERM_BYTES;
    const uint8_t *zero = at == end ? NULL : memchr(at, 0, (size_t)(end - at));
    if (zero == NULL) {
        *key = slice_of(at, (size_t)(end - at));
        return 0;
    }
    buf_clear(scratch);
    while (zero != NULL) {
        if (end - zero < 2 || zero[1] != 0xff) {
            return ERR_DAMAGED;
        }
        buf_append(scratch, at, (size_t)(zero + 1 - at));
        at = zero + 2;
        zero = at == end ? NULL : memchr(at, 0, (size_t)(end - at));
    }
    if (!buf_append(scratch, at, (size_t)(end - at))) {
        return ERR_NOMEM;
    }
    *key = buf_slice(scratch);
    return 0;
}

bool index_value(struct buf *out, struct slice row_key, const struct version *v)
{
    size_t start = out->len;
    uint8_t flags = (v->tombstone ? INDEX_TOMBSTONE : 0) | (v->lease != 0 ? INDEX_LEASE : 0);
    bool ok = buf_append_byte(out, flags) && buf_append_varint(out, v->kv_size);
    if (!v->tombstone) {
        ok = ok && buf_append_varint(out, (uint64_t)(v->rev.main - v->create)) &&
             buf_append_varint(out, (uint64_t)v->version);
    }
    if (v->lease != 0) {
        ok = ok && buf_append_le64(out, (uint64_t)v->lease);
    }
    return ok && row_seal(out, start, row_key);
}

int index_parse(struct slice row_key, struct slice value, struct version *v)
{
    uint64_t size;
    v->create = v->version = v->lease = 0;
    if (row_unseal(row_key, &value) != 0 || value.len < 1) {
        return ERR_DAMAGED;
    }
    uint8_t flags = value.data[0];
    value = slice_of(value.data + 1, value.len - 1);
    if (!get_varint(&value, &size) || size > UINT32_MAX) {
        return ERR_DAMAGED;
    }
    v->kv_size = (uint32_t)size;
    v->tombstone = (flags & INDEX_TOMBSTONE) != 0;
    if (!v->tombstone) {
        uint64_t age;
        uint64_t version;
        if (!get_varint(&value, &age) || !get_varint(&value, &version)) {
            return ERR_DAMAGED;
        }
        v->create = v->rev.main - (int64_t)age;
        v->version = (int64_t)version;
    }
    if (flags & INDEX_LEASE) {
        if (value.len != 8) {
            return ERR_DAMAGED;
        }
        v->lease = (int64_t)bytes_le64(value.data);
    }
    return 0;
}
