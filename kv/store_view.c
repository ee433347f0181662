/* store_view.c - views: one version, one LMDB read transaction, one seq.
 *
 * Closed views go back to their generation with the transaction reset (it keeps its reader slot and
 * memory, and pins nothing), so opening one is a lock, a renewal and a comparison. */
#include <errno.h>
#include <sched.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "kv/store_internal.h"
#include "kv/store_test.h"

#ifdef KVD_DEBUG
_Atomic bool store_test_skip_version_retry;
void (*store_test_view_window)(void *data);
void *store_test_view_window_data;
#endif

void store_view_destroy(struct store_view *v)
{
    if (v == NULL) {
        return;
    }
    while (v->cursors != NULL) {
        struct store_cursor *c = v->cursors;
        store_cursor_destroy(c);
    }
    if (v->txn != NULL) {
        mdb_txn_abort(v->txn);
    }
    mem_free(v);
}

int store_view_prepare_writer(struct store *s, struct generation *g)
{
    struct store_view *v = mem_zalloc(sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    int rc = mdb_txn_begin(g->env.env, NULL, MDB_RDONLY, &v->txn);
    if (rc != 0) {
        mem_free(v);
        return env_error(rc);
    }
    mdb_txn_reset(v->txn);
    v->store = s;
    v->writer = true;
    g->writer = v;
    return 0;
}

/* Returns a view, whose transaction is reset, to its generation, and its version. */
static void store_view_put_back(struct store_view *v)
{
    struct store_version *version = v->version;
    struct generation *g = version->gen;
    struct store *s = v->store;
    v->version = NULL;
    if (!v->writer) {
        pthread_mutex_lock(&s->lock);
        bool keep = g->idle_count < STORE_VIEWS_IDLE_MAX;
        if (keep) {
            v->next = g->idle;
            g->idle = v;
            g->idle_count++;
        }
        pthread_mutex_unlock(&s->lock);
        if (!keep) {
            store_view_destroy(v);
        }
    }
    store_version_unref(s, version);
}

static void store_view_test_window(void)
{
#ifdef KVD_DEBUG
    if (store_test_view_window != NULL) {
        store_test_view_window(store_test_view_window_data);
    }
#endif
}

/* Does the transaction show the commit its version belongs to? See the proof in store.c. */
static bool store_view_matches(const struct store_view *v)
{
#ifdef KVD_DEBUG
    if (atomic_load_explicit(&store_test_skip_version_retry, memory_order_relaxed)) {
        return true;
    }
#endif
#ifndef __SANITIZE_THREAD__ /* which knows no fences; on its machines loads stay in order anyway \
                             */
    atomic_thread_fence(memory_order_acquire);
#endif
    return mdb_txn_id(v->txn) == v->version->txnid &&
           atomic_load_explicit(&v->store->current, memory_order_relaxed) == v->version;
}

int store_view_open(struct store *s, struct store_view **out)
{
    for (unsigned attempt = 0;; attempt++) {
        pthread_mutex_lock(&s->lock);
        struct store_version *version = store_version_ref(s);
        uint64_t seq = s->published;
        struct store_point point = s->point;
        struct generation *g = version->gen;
        struct store_view *v = g->idle;
        if (v != NULL) {
            g->idle = v->next;
            g->idle_count--;
        }
        pthread_mutex_unlock(&s->lock);
        store_view_test_window();

        int rc;
        if (v != NULL) {
            rc = mdb_txn_renew(v->txn);
        } else {
            v = mem_zalloc(sizeof *v);
            rc = v == NULL ? ENOMEM : mdb_txn_begin(g->env.env, NULL, MDB_RDONLY, &v->txn);
        }
        if (rc != 0) {
            store_view_destroy(v);
            store_version_unref(s, version);
            return env_error(rc);
        }
        v->store = s;
        v->version = version;
        v->seq = seq;
        v->point = point;
        if (store_view_matches(v)) {
            *out = v;
            return 0;
        }
        mdb_txn_reset(v->txn);
        store_view_put_back(v);
        if (attempt > 0) {
            /* The checkpoint thread is between its commit and its version: let it run. */
            sched_yield();
        }
    }
}

void store_view_close(struct store_view *v)
{
    mdb_txn_reset(v->txn);
    store_view_put_back(v);
}

const struct store_point *store_view_point(const struct store_view *v)
{
    return &v->point;
}

struct store_view *store_writer_view(struct store *s)
{
    while (s->writer == NULL) {
        pthread_mutex_lock(&s->lock);
        struct store_version *version = store_version_ref(s);
        pthread_mutex_unlock(&s->lock);
        struct store_view *v = version->gen->writer;
        int rc = mdb_txn_renew(v->txn);
        FATAL_IF(rc != 0, "LMDB refuses to renew a read transaction");
        v->version = version;
        v->seq = s->write_seq;
        v->point = s->point; /* only this thread writes it */
        if (store_view_matches(v)) {
            s->writer = v;
            break;
        }
        store_view_close(v);
        sched_yield();
    }
    return s->writer;
}

void store_writer_view_close(struct store *s)
{
    if (s->writer != NULL) {
        struct store_view *v = s->writer;
        s->writer = NULL;
        store_view_close(v);
    }
}

int store_get(struct store_view *v, enum store_table table, struct slice key, struct slice *value)
{
    const struct store_version *version = v->version;
    const struct memtable_row *row =
        memtable_get(version->active->rows, (uint8_t)table, key, v->seq);
    if (row == NULL && version->sealed != NULL) {
        row = memtable_get(version->sealed->rows, (uint8_t)table, key, v->seq);
    }
    if (row != NULL) {
        if (row->erased) {
            return 0;
        }
        *value = memtable_row_value(row);
        return 1;
    }
    return longkey_get(v->txn, version->gen->env.dbi, (uint8_t)table, key, value);
}
