/* store.c - opening, versions and their references, the writer's side.
 *
 * Why readers are right (the proof every other file leans on): a reader takes the version and the
 * published seq S under one lock, so its layers hold every row in (base_seq, S]. Then it begins an
 * LMDB read transaction; LMDB gives the newest commit. If that is not the commit the version
 * belongs to (transaction ids differ), the reader starts over: an LMDB newer than the version may
 * hold rows newer than S, or lack rows that compaction dropped. LMDB commits come before the
 * version that names them, by microseconds, so starting over ends with the checkpoint thread's next
 * steps.
 *
 * The id alone is not enough. LMDB has two header pages, used in turn; a reader that is held up
 * between learning the id T and copying the header of T finds there the header of T + 2, once two
 * commits have passed, and still calls itself T. (Seen: 4 of 144,000 views in the stress test.) So
 * the reader looks again whether its version is the current one: commit T + 2 cannot have begun
 * before the version of T + 1 took its place. */
#include "kv/store.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "kv/store_internal.h"

#define STORE_MAP_BYTES_DEFAULT ((size_t)16 << 30)

/* ---- layers, versions
 * ---------------------------------------------------------------------------- */

struct layer *layer_new(void)
{
    struct layer *l = mem_zalloc(sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->refs = 1;
    l->rows = memtable_new();
    if (l->rows == NULL) {
        mem_free(l);
        return NULL;
    }
    return l;
}

void layer_free(struct layer *l)
{
    memtable_free(l->rows);
    blob_unref(l->meta.configuration);
    mem_free(l);
}

struct store_version *store_version_ref(struct store *s)
{
    struct store_version *v = atomic_load_explicit(&s->current, memory_order_relaxed);
    v->refs++;
    return v;
}

/* Lock held. What lost its last reference comes back in dead[] for freeing without the lock. */
static void store_layer_drop(struct layer *l, struct layer **dead)
{
    if (l != NULL && --l->refs == 0) {
        *dead = l;
    }
}

static void store_generation_drop(struct store *s, struct generation *g)
{
    if (--g->refs == 0) {
        /* Unmapping a large file takes milliseconds: not here, this may be a loop thread. */
        g->next_dead = s->dead;
        s->dead = g;
    }
}

void store_generation_unref(struct store *s, struct generation *g)
{
    pthread_mutex_lock(&s->lock);
    store_generation_drop(s, g);
    pthread_mutex_unlock(&s->lock);
}

void store_version_unref(struct store *s, struct store_version *v)
{
    struct layer *dead_active = NULL;
    struct layer *dead_sealed = NULL;
    pthread_mutex_lock(&s->lock);
    bool last = --v->refs == 0;
    if (last) {
        store_layer_drop(v->active, &dead_active);
        store_layer_drop(v->sealed, &dead_sealed);
        store_generation_drop(s, v->gen);
    }
    pthread_mutex_unlock(&s->lock);
    if (last) {
        mem_free(v);
    }
    if (dead_active != NULL) {
        layer_free(dead_active);
    }
    if (dead_sealed != NULL) {
        layer_free(dead_sealed);
    }
}

struct store_version *store_version_swap(struct store *s, struct store_version *next,
                                         struct generation *gen, struct layer *active,
                                         struct layer *sealed, size_t txnid)
{
    struct store_version *old = atomic_load_explicit(&s->current, memory_order_relaxed);
    *next = (struct store_version){
        .refs = 1, .gen = gen, .active = active, .sealed = sealed, .txnid = txnid};
    gen->refs++;
    active->refs++;
    if (sealed != NULL) {
        sealed->refs++;
    }
    atomic_store_explicit(&s->current, next, memory_order_release);
    atomic_store_explicit(&s->sealed, sealed != NULL, memory_order_release);
    return old;
}

void store_reap(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    struct generation *g = s->dead;
    s->dead = NULL;
    pthread_mutex_unlock(&s->lock);
    while (g != NULL) {
        struct generation *next = g->next_dead;
        generation_close(g);
        g = next;
    }
}

void store_measure(struct store *s, struct generation *g)
{
    MDB_txn *txn;
    uint64_t bytes;
    uint64_t in_use;
    if (mdb_txn_begin(g->env.env, NULL, MDB_RDONLY, &txn) != 0) {
        return; /* no reader slot or memory: the figures stay those of the last commit */
    }
    env_measure(&g->env, txn, &bytes, &in_use);
    mdb_txn_abort(txn);
    atomic_store_explicit(&s->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&s->bytes_in_use, in_use, memory_order_relaxed);
    if (s->options.reserve_bytes > 0) {
        bool whole = env_reserve(&g->env, bytes, s->options.reserve_bytes);
        atomic_store_explicit(&s->reserve_short, !whole, memory_order_relaxed);
    }
}

int store_generation_load(struct generation *g, size_t *txnid, struct env_meta *meta,
                          struct errmsg *e)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(g->env.env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return errmsg_set(e, env_error(rc), "read transaction: %s", mdb_strerror(rc));
    }
    *txnid = mdb_txn_id(txn);
    int err = env_meta_read(&g->env, txn, meta, e);
    mdb_txn_abort(txn);
    return err;
}

/* ---- open and close
 * ------------------------------------------------------------------------------ */

/* The first generation: an LMDB file with nothing but a meta row, made like any other swap. */
static int store_create(struct store *s, uint64_t number, struct errmsg *e)
{
    struct generation *g = NULL;
    MDB_txn *txn;
    struct env_meta meta = {
        .meta = {.compact_revision = -1, .compact_done = -1, .revision = 1},
        .next_directory = 1,
    };
    int err = generation_make_tmp(s->dir, number, e);
    if (err == 0) {
        err = generation_open(s, number, true, &g, e);
    }
    if (err == 0) {
        int rc = mdb_txn_begin(g->env.env, NULL, 0, &txn);
        if (rc == 0) {
            rc = env_meta_write(&g->env, txn, &meta, &s->scratch);
            if (rc != 0) {
                mdb_txn_abort(txn);
            } else {
                rc = mdb_txn_commit(txn);
            }
        }
        if (rc != 0) {
            err = errmsg_set(e, env_error(rc), "create the store: %s", mdb_strerror(rc));
        }
        generation_close(g);
    }
    if (err == 0) {
        err = generation_commit_tmp(s->dir, number, e);
    }
    if (err != 0) {
        generation_remove(s->dir, number, true);
    }
    return err;
}

static struct store_point store_point_of(const struct store_meta *meta)
{
    return (struct store_point){.revision = meta->revision,
                                .compact_revision = meta->compact_revision,
                                .applied_index = meta->applied_index};
}

int store_open(const struct store_options *options, struct store **out, struct errmsg *e)
{
    uint64_t number = 0;
    size_t txnid = 0;
    struct generation *g = NULL;
    struct store_version *first = NULL;
    int err = ERR_NOMEM;
    struct store *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return errmsg_set(e, err, "out of memory");
    }
    buf_init(&s->scratch);
    pthread_mutex_init(&s->lock, NULL);
    s->options = *options;
    if (s->options.map_bytes == 0) {
        s->options.map_bytes = STORE_MAP_BYTES_DEFAULT;
    }
    s->dir = mem_strdup(options->dir);
    s->active = layer_new();
    first = mem_zalloc(sizeof *first);
    if (s->dir == NULL || s->active == NULL || first == NULL) {
        errmsg_set(e, err, "out of memory");
        goto fail;
    }
    s->options.dir = s->dir;
    if ((err = generation_scan(s->dir, &number, e)) != 0) {
        goto fail;
    }
    if (number == 0) {
        number = 1;
        if ((err = store_create(s, number, e)) != 0) {
            goto fail;
        }
    }
    if ((err = generation_open(s, number, false, &g, e)) != 0) {
        goto fail;
    }
    if ((err = store_generation_load(g, &txnid, &s->durable, e)) != 0) {
        generation_close(g);
        goto fail;
    }
    s->published = s->durable.meta.seq;
    s->point = store_point_of(&s->durable.meta);
    s->write_seq = s->published + 1;
    atomic_store(&s->durable_index, s->durable.meta.applied_index);
    store_version_swap(s, first, g, s->active, NULL, txnid);
    g->refs--;
    s->active->refs--;
    store_measure(s, g);
    *out = s;
    return 0;
fail:
    mem_free(first);
    if (s->active != NULL) {
        layer_free(s->active);
    }
    mem_free(s->dir);
    buf_close(&s->scratch);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
    return errmsg_wrap(e, err, "open the store");
}

void store_close(struct store *s)
{
    if (s == NULL) {
        return;
    }
    store_writer_view_close(s);
    struct store_version *last = s->current;
    FATAL_IF(last->refs != 1, "the store is closed while views are open");
    store_version_unref(s, last);
    store_reap(s);
    blob_unref(s->durable.configuration);
    blob_unref(s->meta_configuration);
    buf_close(&s->scratch);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->dir);
    mem_free(s);
}

/* ---- facts
 * --------------------------------------------------------------------------------------- */

void store_checkpoint_meta(struct store *s, struct store_meta *out)
{
    pthread_mutex_lock(&s->lock);
    struct blob *before = s->meta_configuration;
    *out = s->durable.meta;
    s->meta_configuration =
        s->durable.configuration == NULL ? NULL : blob_ref(s->durable.configuration);
    pthread_mutex_unlock(&s->lock);
    blob_unref(before);
}

uint64_t store_durable_index(const struct store *s)
{
    return atomic_load_explicit(&s->durable_index, memory_order_acquire);
}

size_t store_active_bytes(const struct store *s)
{
    return memtable_bytes(s->active->rows);
}

size_t store_unsaved_bytes(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    const struct store_version *v = atomic_load_explicit(&s->current, memory_order_relaxed);
    size_t sealed = v->sealed == NULL ? 0 : memtable_bytes(v->sealed->rows);
    pthread_mutex_unlock(&s->lock);
    return sealed + store_active_bytes(s);
}

bool store_sealed(const struct store *s)
{
    return atomic_load_explicit(&s->sealed, memory_order_acquire);
}

bool store_restore_reserve(struct store *s)
{
    if (store_reserve_short(s)) {
        pthread_mutex_lock(&s->lock);
        struct store_version *v = store_version_ref(s);
        pthread_mutex_unlock(&s->lock);
        store_measure(s, v->gen);
        store_version_unref(s, v);
    }
    return !store_reserve_short(s);
}

bool store_reserve_short(const struct store *s)
{
    return atomic_load_explicit(&s->reserve_short, memory_order_relaxed);
}

uint64_t store_bytes(const struct store *s)
{
    return atomic_load_explicit(&s->bytes, memory_order_relaxed);
}

uint64_t store_bytes_in_use(const struct store *s)
{
    return atomic_load_explicit(&s->bytes_in_use, memory_order_relaxed);
}

/* ---- writing
 * ------------------------------------------------------------------------------------- */

int store_put(struct store *s, enum store_table table, struct slice key, struct slice value)
{
    return memtable_add(s->active->rows, (uint8_t)table, key, value, s->write_seq, false)
               ? 0
               : ERR_NOMEM;
}

int store_erase(struct store *s, enum store_table table, struct slice key)
{
    return memtable_add(s->active->rows, (uint8_t)table, key, slice_of(NULL, 0), s->write_seq, true)
               ? 0
               : ERR_NOMEM;
}

void store_publish(struct store *s, const struct store_point *point)
{
    store_writer_view_close(s);
    pthread_mutex_lock(&s->lock);
    s->published = s->write_seq;
    s->point = *point;
    pthread_mutex_unlock(&s->lock);
    s->write_seq++;
}
