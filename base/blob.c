/* blob.c - reference counts of shared immutable bytes. */
#include "base/blob.h"

#include "base/alloc.h"
#include "base/assert.h"

struct blob *blob_new(size_t len)
{
    if (len > SIZE_MAX / 2) {
        return NULL;
    }
    struct blob *b = mem_alloc(sizeof *b + len);
    if (b == NULL) {
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->len = len;
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    uint32_t before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    (void)before;
    return b;
}

void blob_unref(struct blob *b)
{
    if (b == NULL) {
        return;
    }
    /* Release our uses of the bytes; the last owner acquires everyone's before freeing. */
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        mem_free(b);
    }
}
