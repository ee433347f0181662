/* store_checkpoint.c - sealing the memtable and moving it into LMDB; maintenance transactions.
 *
 * A checkpoint, step by step: (1) take the sealed layer; (2) begin the LMDB write transaction, put
 * the newest row of each key in key order, erase the erased, write the meta row; (3) ask the fault
 * hook, commit: LMDB writes the pages, syncs, writes its header, syncs; (4) under the lock, make
 * the version without the sealed layer current and remember the new meta; (5) free the old version
 * when its last view closes. A failure before (3) ends leaves everything as it was, and the sealed
 * layer waits for the next try; between (3) and (4) nothing can fail (the version is allocated
 * first).
 *
 * Rows go in by one cursor in key order, which lets LMDB stay on its page; records go in with
 * MDB_APPEND (their table is the last), which fills pages whole instead of by halves. */
#include <errno.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "kv/store_internal.h"

bool store_seal(struct store *s, const struct store_meta *meta)
{
    store_writer_view_close(s);
    if (store_sealed(s)) {
        return false;
    }
    struct layer *old = s->active;
    if (memtable_rows(old->rows) == 0 && meta->applied_index <= store_durable_index(s)) {
        return false;
    }
    struct layer *fresh = layer_new();
    struct store_version *next = mem_alloc(sizeof *next);
    struct blob *configuration = NULL;
    if (meta->configuration.len > 0) {
        configuration = blob_new(meta->configuration.len);
    }
    if (fresh == NULL || next == NULL || (meta->configuration.len > 0 && configuration == NULL)) {
        if (fresh != NULL) {
            layer_free(fresh);
        }
        mem_free(next);
        blob_unref(configuration);
        return false; /* out of memory: the caller tries again later */
    }
    old->meta = (struct env_meta){.meta = *meta, .configuration = configuration};
    if (configuration != NULL) {
        memcpy(configuration->data, meta->configuration.data, meta->configuration.len);
        old->meta.meta.configuration = blob_slice(configuration);
    }
    pthread_mutex_lock(&s->lock);
    ASSERT(s->write_seq == s->published + 1);
    old->meta.meta.seq = s->published;
    struct store_version *before = s->current;
    store_version_swap(s, next, before->gen, fresh, old, before->txnid);
    s->active = fresh;
    fresh->refs--; /* the version's reference is the only one */
    pthread_mutex_unlock(&s->lock);
    store_version_unref(s, before);
    return true;
}

/* The enum err for what LMDB said to a write of about `bytes`; a full disk is met by giving back
 * what was taken. */
static int store_write_error(struct store *s, const struct generation *g, uint64_t bytes, int rc)
{
    if (rc == EIO && env_disk_full(&g->env, bytes)) {
        rc = ENOSPC;
    }
    int err = env_error(rc);
    if (rc == ENOSPC || rc == EDQUOT) {
        env_reserve_retreat(&g->env, s->options.reserve_bytes);
        atomic_store_explicit(&s->reserve_short, true, memory_order_relaxed);
    }
    if (err != 0) {
        LOG(err == ERR_NO_SPACE ? LOG_WARN : LOG_ERROR, "writing the store failed",
            F_STR("error", mdb_strerror(rc)), F_STR("kind", err_name(err)));
    }
    return err;
}

/* Commits after asking the fault hook. An LMDB code; the transaction has ended in any case. */
static int store_commit(const struct store *s, MDB_txn *txn)
{
    int rc = 0;
    if (s->options.commit_fault != NULL) {
        rc = s->options.commit_fault(s->options.fault_data);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* Puts a layer's rows, newest per key. An LMDB code. */
static int store_checkpoint_rows(MDB_cursor *mc, const struct memtable *rows,
                                 uint64_t *next_directory)
{
    bool append = true;
    const struct memtable_row *row = memtable_first(rows);
    while (row != NULL) {
        uint8_t table = memtable_row_table(row);
        struct slice key = memtable_row_key(row);
        int rc;
        if (row->erased) {
            rc = longkey_erase(mc, table, key);
            rc = rc == MDB_NOTFOUND ? 0 : rc;
        } else if (table == TABLE_RECORD) {
            rc = longkey_append(mc, table, key, memtable_row_value(row), next_directory, &append);
        } else {
            rc = longkey_put(mc, table, key, memtable_row_value(row), next_directory);
        }
        if (rc != 0) {
            return rc;
        }
        row = memtable_next_key(rows, row);
    }
    return 0;
}

/* LMDB keeps the memory of the pages of its largest transaction. Every row may have touched a page
 * of its own, and large rows several. */
static void store_note_pages(struct store *s, const struct generation *g, size_t rows, size_t bytes)
{
    uint64_t most = rows * g->env.page_size + bytes;
    uint64_t file = atomic_load_explicit(&s->bytes, memory_order_relaxed) + 2 * bytes;
    most = most < file ? most : file;
    s->retained = s->retained > most ? s->retained : most;
}

/* Everything a checkpoint puts into its transaction. An LMDB code. */
static int store_checkpoint_fill(struct store *s, const struct generation *g, MDB_txn *txn,
                                 const struct memtable *rows, struct env_meta *meta)
{
    MDB_cursor *mc;
    store_note_pages(s, g, memtable_rows(rows), memtable_bytes(rows));
    int rc = mdb_cursor_open(txn, g->env.dbi, &mc);
    if (rc == 0) {
        rc = store_checkpoint_rows(mc, rows, &meta->next_directory);
        mdb_cursor_close(mc);
    }
    return rc == 0 ? env_meta_write(&g->env, txn, meta, &s->scratch) : rc;
}

/* Publishes what a commit made durable. without_sealed: the sealed layer is inside LMDB now. */
static void store_commit_publish(struct store *s, struct store_version *next, size_t txnid,
                                 const struct env_meta *meta, bool without_sealed)
{
    pthread_mutex_lock(&s->lock);
    struct store_version *before = s->current;
    store_version_swap(s, next, before->gen, before->active, without_sealed ? NULL : before->sealed,
                       txnid);
    struct blob *old_configuration = s->durable.configuration;
    s->durable = *meta;
    atomic_store_explicit(&s->durable_index, meta->meta.applied_index, memory_order_release);
    pthread_mutex_unlock(&s->lock);
    if (old_configuration != meta->configuration) {
        blob_unref(old_configuration);
    }
    store_version_unref(s, before);
}

int store_checkpoint(struct store *s)
{
    store_reap(s);
    if (!store_sealed(s)) {
        return 0;
    }
    struct store_version *next = mem_alloc(sizeof *next);
    if (next == NULL) {
        return ERR_NOMEM;
    }
    pthread_mutex_lock(&s->lock);
    struct store_version *from = store_version_ref(s);
    struct layer *sealed = from->sealed;
    struct env_meta meta = sealed->meta;
    meta.next_directory = s->durable.next_directory;
    if (meta.meta.compact_done < s->durable.meta.compact_done) {
        meta.meta.compact_done = s->durable.meta.compact_done;
    }
    pthread_mutex_unlock(&s->lock);

    struct generation *g = from->gen;
    MDB_txn *txn;
    size_t txnid = 0;
    int rc = mdb_txn_begin(g->env.env, NULL, 0, &txn);
    if (rc == 0) {
        txnid = mdb_txn_id(txn);
        rc = store_checkpoint_fill(s, g, txn, sealed->rows, &meta);
        if (rc == 0) {
            rc = store_commit(s, txn);
        } else {
            mdb_txn_abort(txn);
        }
    }
    /* Twice: pages are filled by halves at worst. */
    int err = store_write_error(s, g, 2 * (uint64_t)memtable_bytes(sealed->rows), rc);
    if (err == 0) {
        if (meta.configuration != NULL) {
            blob_ref(meta.configuration);
        }
        store_commit_publish(s, next, txnid, &meta, true);
        next = NULL;
        store_measure(s, g);
    }
    mem_free(next);
    store_version_unref(s, from);
    return err;
}

/* ---- maintenance
 * --------------------------------------------------------------------------------- */

struct store_txn {
    struct generation *gen;
    MDB_txn *txn;
    MDB_cursor *mc; /* for writes */
    struct longkey_cursor walk;
    bool walk_open;
    bool changed;
    size_t erased; /* rows */
    struct env_meta meta;
};

int store_maintain(struct store *s, int (*work)(struct store_txn *t, void *data), void *data)
{
    store_reap(s);
    struct store_version *next = mem_alloc(sizeof *next);
    if (next == NULL) {
        return ERR_NOMEM;
    }
    struct store_txn t = {0};
    longkey_cursor_init(&t.walk);
    pthread_mutex_lock(&s->lock);
    struct store_version *from = store_version_ref(s);
    t.gen = from->gen;
    t.meta = s->durable;
    pthread_mutex_unlock(&s->lock);

    int err = 0; /* what work answered; rc is LMDB's */
    size_t txnid = 0;
    int rc = mdb_txn_begin(t.gen->env.env, NULL, 0, &t.txn);
    if (rc == 0) {
        txnid = mdb_txn_id(t.txn);
        rc = mdb_cursor_open(t.txn, t.gen->env.dbi, &t.mc);
        if (rc == 0) {
            err = work(&t, data);
        }
        store_note_pages(s, t.gen, t.erased, 0);
        if (rc == 0 && err == 0 && t.changed) {
            rc = env_meta_write(&t.gen->env, t.txn, &t.meta, &s->scratch);
        }
        longkey_cursor_close(&t.walk);
        if (t.mc != NULL) {
            mdb_cursor_close(t.mc);
        }
        if (rc == 0 && err == 0 && t.changed) {
            rc = store_commit(s, t.txn);
        } else {
            mdb_txn_abort(t.txn);
        }
    }
    if (rc != 0) {
        err = store_write_error(s, t.gen, 0, rc);
    } else if (err == 0 && t.changed) {
        store_commit_publish(s, next, txnid, &t.meta, false);
        next = NULL;
        store_measure(s, t.gen);
    }
    mem_free(next);
    store_version_unref(s, from);
    return err;
}

const struct store_meta *store_txn_meta(const struct store_txn *t)
{
    return &t->meta.meta;
}

int store_txn_get(struct store_txn *t, enum store_table table, struct slice key,
                  struct slice *value)
{
    return longkey_get(t->txn, t->gen->env.dbi, (uint8_t)table, key, value);
}

int store_txn_erase(struct store_txn *t, enum store_table table, struct slice key)
{
    int rc = longkey_erase(t->mc, (uint8_t)table, key);
    t->changed = t->changed || rc == 0;
    t->erased += rc == 0;
    return rc == MDB_NOTFOUND ? 0 : env_error(rc);
}

int store_txn_set_compact_done(struct store_txn *t, int64_t revision)
{
    t->meta.meta.compact_done = revision;
    t->changed = true;
    return 0;
}

int store_txn_seek(struct store_txn *t, enum store_table table, struct slice key,
                   struct slice *out_key, struct slice *out_value)
{
    if (!t->walk_open) {
        int rc = longkey_cursor_open(&t->walk, t->txn, t->gen->env.dbi, (uint8_t)table);
        if (rc != 0) {
            return -env_error(rc);
        }
        t->walk_open = true;
    }
    t->walk.table = (uint8_t)table;
    int rc = longkey_cursor_seek(&t->walk, key);
    if (rc > 0) {
        *out_key = t->walk.key;
        *out_value = t->walk.value;
    }
    return rc;
}
