/* buf.h - a growable byte buffer.
 *
 * Appends report failure once, at the end, if the caller wishes: after an allocation failed the
 * buffer is `failed` and ignores further appends until buf_clear. */
#ifndef KVD_BASE_BUF_H
#define KVD_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    bool failed; /* an append ran out of memory: contents are incomplete */
};

void buf_init(struct buf *b);  /* empty, allocates nothing */
void buf_close(struct buf *b); /* frees; b is as after buf_init */
void buf_clear(struct buf *b); /* length 0, not failed, keeps the memory */
/* Room for `more` further bytes; false (and failed) when out of memory. */
bool buf_reserve(struct buf *b, size_t more);
bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_append_slice(struct buf *b, struct slice s);
bool buf_append_byte(struct buf *b, uint8_t byte);
bool buf_append_str(struct buf *b, const char *text); /* without the NUL */
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In decimal. */
bool buf_append_int(struct buf *b, int64_t value);
/* Base-128 varint, as in protobuf. */
bool buf_append_varint(struct buf *b, uint64_t value);
/* Fixed-width integers, little and big endian. */
bool buf_append_le32(struct buf *b, uint32_t value);
bool buf_append_le64(struct buf *b, uint64_t value);
bool buf_append_be64(struct buf *b, uint64_t value);
/* Removes the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->data, b->len);
}

#endif
