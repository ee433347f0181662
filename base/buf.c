/* buf.c - the growable byte buffer: capacity doubles, failure sticks until buf_clear. */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"

#define BUF_BYTES_MIN 64u

void buf_init(struct buf *b)
{
    *b = (struct buf){0};
}

void buf_close(struct buf *b)
{
    mem_free(b->data);
    buf_init(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

static bool buf_grow(struct buf *b, size_t more)
{
    if (more > SIZE_MAX / 4 - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + more;
    size_t cap = b->cap < BUF_BYTES_MIN ? BUF_BYTES_MIN : b->cap * 2;
    cap = cap < need ? need : cap;
    uint8_t *data = mem_realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

bool buf_reserve(struct buf *b, size_t more)
{
    if (b->failed) {
        return false;
    }
    if (__builtin_expect(more <= b->cap - b->len, 1)) {
        return true;
    }
    return buf_grow(b, more);
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
    if (!buf_reserve(b, len)) {
        return false;
    }
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
    return true;
}

bool buf_append_slice(struct buf *b, struct slice s)
{
    return buf_append(b, s.data, s.len);
}

bool buf_append_byte(struct buf *b, uint8_t byte)
{
    if (!buf_reserve(b, 1)) {
        return false;
    }
    b->data[b->len++] = byte;
    return true;
}

bool buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_printf(struct buf *b, const char *format, ...)
{
    if (b->failed) {
        return false;
    }
    va_list args;
    va_start(args, format);
    size_t room = b->cap - b->len;
    int n = vsnprintf(room == 0 ? NULL : (char *)b->data + b->len, room, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return false;
    }
    if ((size_t)n >= room) { /* the terminating NUL needs a byte as well */
        if (!buf_reserve(b, (size_t)n + 1)) {
            return false;
        }
        va_start(args, format);
        vsnprintf((char *)b->data + b->len, b->cap - b->len, format, args);
        va_end(args);
    }
    b->len += (size_t)n;
    return true;
}

bool buf_append_int(struct buf *b, int64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        digits[--at] = '-';
    }
    return buf_append(b, digits + at, sizeof(digits) - at);
}

bool buf_append_varint(struct buf *b, uint64_t value)
{
    if (!buf_reserve(b, 10)) {
        return false;
    }
    uint8_t *p = b->data + b->len;
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    b->len = (size_t)(p - b->data);
    return true;
}

bool buf_append_le32(struct buf *b, uint32_t value)
{
    if (!buf_reserve(b, 4)) {
        return false;
    }
    bytes_put_le32(b->data + b->len, value);
    b->len += 4;
    return true;
}

bool buf_append_le64(struct buf *b, uint64_t value)
{
    if (!buf_reserve(b, 8)) {
        return false;
    }
    bytes_put_le64(b->data + b->len, value);
    b->len += 8;
    return true;
}

bool buf_append_be64(struct buf *b, uint64_t value)
{
    if (!buf_reserve(b, 8)) {
        return false;
    }
    bytes_put_be64(b->data + b->len, value);
    b->len += 8;
    return true;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    if (n > 0) {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
}
