/* heap.c - binary min-heap whose nodes know their place, so they can move or leave. */
#include "base/heap.h"

#include "base/alloc.h"
#include "base/assert.h"

#define HEAP_NODES_MIN 16u

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_close(struct heap *h)
{
    mem_free(h->nodes);
    heap_init(h);
}

static void heap_place(struct heap *h, struct heap_node *n, size_t index)
{
    h->nodes[index] = n;
    n->at = index + 1;
}

/* Moves n from the hole at index towards the root. Returns where it came to rest. */
static size_t heap_rise(struct heap *h, struct heap_node *n, size_t index)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (h->nodes[parent]->key <= n->key) {
            break;
        }
        heap_place(h, h->nodes[parent], index);
        index = parent;
    }
    heap_place(h, n, index);
    return index;
}

static void heap_sink(struct heap *h, struct heap_node *n, size_t index)
{
    for (;;) {
        size_t child = index * 2 + 1;
        if (child >= h->len) {
            break;
        }
        if (child + 1 < h->len && h->nodes[child + 1]->key < h->nodes[child]->key) {
            child++;
        }
        if (n->key <= h->nodes[child]->key) {
            break;
        }
        heap_place(h, h->nodes[child], index);
        index = child;
    }
    heap_place(h, n, index);
}

static void heap_settle(struct heap *h, struct heap_node *n, size_t index)
{
    if (heap_rise(h, n, index) == index) {
        heap_sink(h, n, index);
    }
}

bool heap_reserve(struct heap *h, size_t len)
{
    if (len <= h->cap) {
        return true;
    }
    size_t cap = h->cap == 0 ? HEAP_NODES_MIN : h->cap * 2;
    cap = cap < len ? len : cap;
    struct heap_node **nodes = mem_realloc(h->nodes, cap * sizeof(*nodes));
    if (nodes == NULL) {
        return false;
    }
    h->nodes = nodes;
    h->cap = cap;
    return true;
}

bool heap_set(struct heap *h, struct heap_node *n, int64_t key)
{
    if (n->at != 0) {
        ASSERT(n->at <= h->len && h->nodes[n->at - 1] == n);
        n->key = key;
        heap_settle(h, n, n->at - 1);
        return true;
    }
    if (!heap_reserve(h, h->len + 1)) {
        return false;
    }
    n->key = key;
    h->len++;
    heap_rise(h, n, h->len - 1);
    return true;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (n->at == 0) {
        return;
    }
    ASSERT(n->at <= h->len && h->nodes[n->at - 1] == n);
    size_t index = n->at - 1;
    struct heap_node *last = h->nodes[h->len - 1];
    h->len--;
    n->at = 0;
    if (last != n) {
        heap_settle(h, last, index);
    }
}

struct heap_node *heap_min(const struct heap *h)
{
    return h->len == 0 ? NULL : h->nodes[0];
}
