/* method.c - a small hash table of the services' paths, filled once.
 *
 * The hash looks at the length and the last eight bytes only: paths are ours, not a client's, so
 * nobody can make them collide, and every hit is compared in full. */
#include "rpc/method.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"

struct method_slot {
    const struct rpc_method *row; /* NULL = free */
    char *path;                   /* "/service/method", owned */
    size_t len;
};

static size_t method_hash(const uint8_t *path, size_t len)
{
    uint64_t end = 0;
    if (len >= 8) {
        end = bytes_le64(path + len - 8);
    } else if (len > 0) {
        memcpy(&end, path, len);
    }
    uint64_t h = (end ^ (uint64_t)len * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
    return (size_t)(h >> 32);
}

static bool method_insert(struct method_table *t, const struct rpc_method *row)
{
    size_t service = strlen(row->service);
    size_t method = strlen(row->method);
    size_t len = service + method + 2;
    char *path = mem_alloc(len);
    if (path == NULL) {
        return false;
    }
    path[0] = '/';
    memcpy(path + 1, row->service, service);
    path[1 + service] = '/';
    memcpy(path + 2 + service, row->method, method);
    size_t at = method_hash((const uint8_t *)path, len) & t->mask;
    while (t->slots[at].row != NULL) {
        at = (at + 1) & t->mask;
    }
    t->slots[at] = (struct method_slot){.row = row, .path = path, .len = len};
    return true;
}

bool method_table_init(struct method_table *t, const struct rpc_method *rows)
{
    memset(t, 0, sizeof(*t));
    size_t count = 0;
    while (rows != NULL && rows[count].service != NULL) {
        count++;
    }
    /* At most a quarter full, so that a search ends soon, also one that finds nothing. */
    size_t size = 16;
    while (size < count * 4) {
        size *= 2;
    }
    t->slots = mem_zalloc(size * sizeof(*t->slots));
    if (t->slots == NULL) {
        return false;
    }
    t->mask = size - 1;
    t->count = count;
    for (size_t i = 0; i < count; i++) {
        if (!method_insert(t, &rows[i])) {
            method_table_close(t);
            return false;
        }
    }
    return true;
}

void method_table_close(struct method_table *t)
{
    for (size_t i = 0; t->slots != NULL && i <= t->mask; i++) {
        mem_free(t->slots[i].path);
    }
    mem_free(t->slots);
    memset(t, 0, sizeof(*t));
}

const struct rpc_method *method_find(const struct method_table *t, struct slice path)
{
    size_t at = method_hash(path.data, path.len) & t->mask;
    for (; t->slots[at].row != NULL; at = (at + 1) & t->mask) {
        const struct method_slot *slot = &t->slots[at];
        if (slot->len == path.len && memcmp(slot->path, path.data, path.len) == 0) {
            return slot->row;
        }
    }
    return NULL;
}

bool method_service_known(const struct method_table *t, struct slice service)
{
    for (size_t i = 0; i <= t->mask; i++) {
        const struct rpc_method *row = t->slots[i].row;
        if (row != NULL && slice_eq(slice_str(row->service), service)) {
            return true;
        }
    }
    return false;
}
