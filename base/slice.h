/* slice.h - a borrowed run of bytes.
 *
 * A slice never owns what it points at; each function that takes or returns one says how long the
 * bytes live. An empty slice may have a NULL pointer. Keys and values are arbitrary bytes, so no
 * slice is ever NUL-terminated on purpose. */
#ifndef KVD_BASE_SLICE_H
#define KVD_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = len};
}

/* The bytes of a NUL-terminated string, without the NUL. */
static inline struct slice slice_str(const char *text)
{
    return (struct slice){.data = (const uint8_t *)text, .len = strlen(text)};
}

/* Bytewise order, shorter first on a common prefix: the order of etcd keys. <0, 0, >0. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

#endif
