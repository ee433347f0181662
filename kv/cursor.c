/* cursor.c - one table as a sorted list, merged from the active memtable, the sealed one and LMDB.
 *
 * Each source stands on its next candidate. The smallest key wins; on equal keys the newer source
 * does (active, sealed, LMDB) and the others step along with it. An erasure that wins hides its
 * key. Nothing is allocated per step; cursors are kept by their view for reuse. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "kv/store_internal.h"

enum { SOURCE_ACTIVE, SOURCE_SEALED, SOURCE_LMDB, SOURCE_COUNT };

struct store_cursor {
    struct store_view *view;
    struct store_cursor *next; /* in view.cursors while idle */
    uint8_t table;
    bool opened; /* the LMDB walk has this view's transaction */
    uint8_t at;  /* bit per source: stands on the current key, must step next */
    const struct memtable *rows[SOURCE_LMDB];    /* NULL = no such source */
    const struct memtable_row *row[SOURCE_LMDB]; /* candidates; NULL = past the end */
    bool more;                                   /* the LMDB walk is on a row */
    struct longkey_cursor walk;
    struct slice key;
    struct slice value;
};

int store_cursor_open(struct store_view *v, enum store_table table, struct store_cursor **out)
{
    struct store_cursor *c = v->cursors;
    if (c != NULL) {
        v->cursors = c->next;
        v->cursor_count--;
    } else {
        c = mem_zalloc(sizeof *c);
        if (c == NULL) {
            return ERR_NOMEM;
        }
        longkey_cursor_init(&c->walk);
    }
    c->view = v;
    c->next = NULL;
    c->table = (uint8_t)table;
    c->opened = false;
    c->at = 0;
    c->more = false;
    c->rows[SOURCE_ACTIVE] = v->version->active->rows;
    c->rows[SOURCE_SEALED] = v->version->sealed == NULL ? NULL : v->version->sealed->rows;
    c->row[SOURCE_ACTIVE] = NULL;
    c->row[SOURCE_SEALED] = NULL;
    *out = c;
    return 0;
}

/* Frees the first idle cursor of a view. */
void store_cursor_destroy(struct store_cursor *c)
{
    c->view->cursors = c->next;
    longkey_cursor_close(&c->walk);
    mem_free(c);
}

void store_cursor_close(struct store_cursor *c)
{
    struct store_view *v = c->view;
    c->next = v->cursors;
    v->cursors = c;
    if (v->cursor_count == STORE_CURSORS_IDLE_MAX) {
        store_cursor_destroy(c);
    } else {
        v->cursor_count++;
    }
}

static struct slice store_cursor_source_key(const struct store_cursor *c, int source)
{
    return source == SOURCE_LMDB ? c->walk.key : memtable_row_key(c->row[source]);
}

/* Steps one source past the current key. 0 or -(enum err). */
static int store_cursor_step(struct store_cursor *c, int source)
{
    if (source == SOURCE_LMDB) {
        int rc = longkey_cursor_next(&c->walk);
        c->more = rc > 0;
        return rc < 0 ? rc : 0;
    }
    const struct memtable *rows = c->rows[source];
    const struct memtable_row *row =
        memtable_visible(rows, memtable_next_key(rows, c->row[source]), c->table, c->view->seq);
    if (row != NULL) {
        /* Neighbours in order lie anywhere in memory: the next one comes while this one is used. */
        const struct memtable_row *next = memtable_next(row);
        __builtin_prefetch(next);
        __builtin_prefetch((const uint8_t *)next + 64);
    }
    c->row[source] = row;
    return 0;
}

/* Finds the smallest candidate; erased ones are stepped over. */
static int store_cursor_settle(struct store_cursor *c)
{
    for (;;) {
        int best = -1;
        struct slice key = {0};
        c->at = 0;
        for (int source = 0; source < SOURCE_COUNT; source++) {
            if (source == SOURCE_LMDB ? !c->more : c->row[source] == NULL) {
                continue;
            }
            struct slice candidate = store_cursor_source_key(c, source);
            int order = best < 0 ? -1 : slice_cmp(candidate, key);
            if (order < 0) {
                best = source;
                key = candidate;
                c->at = (uint8_t)(1u << source);
            } else if (order == 0) {
                c->at |= (uint8_t)(1u << source);
            }
        }
        if (best < 0) {
            return 0;
        }
        if (best == SOURCE_LMDB) {
            c->key = key;
            c->value = c->walk.value;
            return 1;
        }
        if (!c->row[best]->erased) {
            c->key = key;
            c->value = memtable_row_value(c->row[best]);
            return 1;
        }
        for (int source = 0; source < SOURCE_COUNT; source++) {
            if ((c->at & (1u << source)) != 0) {
                int rc = store_cursor_step(c, source);
                if (rc < 0) {
                    return rc;
                }
            }
        }
    }
}

int store_cursor_seek(struct store_cursor *c, struct slice key)
{
    struct store_view *v = c->view;
    if (!c->opened) {
        int rc = longkey_cursor_open(&c->walk, v->txn, v->version->gen->env.dbi, c->table);
        if (rc != 0) {
            return -env_error(rc);
        }
        c->opened = true;
    }
    for (int source = 0; source < SOURCE_LMDB; source++) {
        const struct memtable *rows = c->rows[source];
        c->row[source] = rows == NULL ? NULL
                                      : memtable_visible(rows, memtable_seek(rows, c->table, key),
                                                         c->table, v->seq);
    }
    int rc = longkey_cursor_seek(&c->walk, key);
    c->more = rc > 0;
    return rc < 0 ? rc : store_cursor_settle(c);
}

int store_cursor_next(struct store_cursor *c)
{
    if (c->at == 1u << SOURCE_LMDB && c->row[SOURCE_ACTIVE] == NULL &&
        c->row[SOURCE_SEALED] == NULL) {
        /* Nothing to merge with: the common case of scans. */
        int rc = longkey_cursor_next(&c->walk);
        c->more = rc > 0;
        c->key = c->walk.key;
        c->value = c->walk.value;
        c->at = rc > 0 ? 1u << SOURCE_LMDB : 0;
        return rc;
    }
    for (int source = 0; source < SOURCE_COUNT; source++) {
        if ((c->at & (1u << source)) != 0) {
            int rc = store_cursor_step(c, source);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return store_cursor_settle(c);
}

struct slice store_cursor_key(const struct store_cursor *c)
{
    return c->key;
}

struct slice store_cursor_value(const struct store_cursor *c)
{
    return c->value;
}
