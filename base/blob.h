/* blob.h - immutable bytes shared by reference count: a watch event encoded once for many watchers.
 * blob_ref and blob_unref may be called on any thread; the bytes never change after blob_new. */
#ifndef KVD_BASE_BLOB_H
#define KVD_BASE_BLOB_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct blob {
    _Atomic uint32_t refs;
    size_t len;
    uint8_t data[];
};

/* One reference, `len` uninitialised bytes for the caller to fill before sharing. NULL: no memory.
 */
struct blob *blob_new(size_t len);
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b); /* frees at zero; NULL is fine */
static inline struct slice blob_slice(const struct blob *b)
{
    return slice_of(b->data, b->len);
}

#endif
