/* store_internal.h - what the store's files share; nobody else includes it.
 *
 * A version names everything a reader needs: {generation, sealed, active, LMDB transaction id}.
 * Versions, generations and layers carry plain reference counts guarded by store.lock; views hold
 * one version. A new version is made by store_seal and store_install (apply thread), and by
 * checkpoints, maintenance and defragmentation (checkpoint thread), always under the lock. */
#ifndef KVD_KV_STORE_INTERNAL_H
#define KVD_KV_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "kv/env.h"
#include "kv/longkey.h"
#include "kv/memtable.h"
#include "kv/store.h"

/* A memtable with its references and, once sealed, its meaning. */
struct layer {
    uint32_t refs; /* store.lock */
    struct memtable *rows;
    struct env_meta meta; /* set by store_seal, then constant */
};

/* One directory dir/<number> and its LMDB environment. */
struct generation {
    uint64_t number;
    uint32_t refs; /* store.lock: versions, and whoever works on it */
    struct env env;
    struct store_view *idle; /* store.lock: closed views, their transactions reset */
    uint32_t idle_count;
    struct store_view *writer; /* apply thread: the writer's view, its transaction made ahead */
    struct generation *next_dead;
};

struct store_version {
    uint32_t refs; /* store.lock */
    struct generation *gen;
    struct layer *active;
    struct layer *sealed; /* or NULL */
    size_t txnid;         /* of the LMDB commit that belongs to it: LMDB rows of base_seq */
};

struct store_view {
    struct store *store;
    struct store_version *version; /* NULL while idle */
    MDB_txn *txn;
    uint64_t seq; /* newest operation seen */
    struct store_point point;
    bool writer;
    struct store_cursor *cursors; /* idle ones */
    uint32_t cursor_count;
    struct store_view *next; /* in generation.idle */
};

struct store {
    struct store_options options;
    char *dir;

    pthread_mutex_t lock; /* held for a few instructions only, never around LMDB or the disk */
    _Atomic(struct store_version *) current; /* written under the lock */
    uint64_t published;                      /* lock: seq of the newest published operation */
    struct store_point point;                /* lock: published with it */
    struct env_meta durable; /* lock: of the newest checkpoint; the checkpoint thread writes it */
    struct generation *dead; /* lock: without references, closed by the checkpoint thread */

    _Atomic uint64_t durable_index;
    _Atomic bool sealed;
    _Atomic bool reserve_short;
    _Atomic uint64_t bytes;
    _Atomic uint64_t bytes_in_use;

    /* apply thread */
    struct layer *active;            /* current->active: only this thread replaces it */
    uint64_t write_seq;              /* of the operation being written = published + 1 */
    struct store_view *writer;       /* open writer view or NULL */
    struct blob *meta_configuration; /* what store_checkpoint_meta last handed out */

    /* checkpoint thread */
    struct buf scratch;
    uint64_t
        retained; /* bytes LMDB may keep since its file was opened: pages of its largest commit */
};

/* ---- store.c ---- */
struct layer *layer_new(void); /* one reference; NULL = out of memory */
void layer_free(struct layer *l);
/* lock held: the caller's reference. */
struct store_version *store_version_ref(struct store *s);
/* Gives one reference back; frees what nobody holds any more. Takes the lock. */
void store_version_unref(struct store *s, struct store_version *v);
void store_generation_unref(struct store *s, struct generation *g);
/* Makes `next` the current version (its counts of gen and layers are taken here) and returns the
 * one before, whose reference the caller must give back after unlocking. Lock held. */
struct store_version *store_version_swap(struct store *s, struct store_version *next,
                                         struct generation *gen, struct layer *active,
                                         struct layer *sealed, size_t txnid);
/* Closes generations nobody uses any more. Checkpoint thread, store_close. */
void store_reap(struct store *s);
/* Measures the newest state and re-establishes the reserve. */
void store_measure(struct store *s, struct generation *g);
/* Reads the transaction id and meta of a generation's newest state. */
int store_generation_load(struct generation *g, size_t *txnid, struct env_meta *meta,
                          struct errmsg *e);

/* ---- store_view.c ---- */
/* Frees an idle view with its transaction and cursors. */
void store_view_destroy(struct store_view *v);
/* The writer's view of a generation, made before anyone needs it. */
int store_view_prepare_writer(struct store *s, struct generation *g);
/* Closes the writer's view if it is open. Apply thread. */
void store_writer_view_close(struct store *s);

/* ---- store_generation.c ---- */
/* The highest complete generation of dir; 0 = none. Leftovers are removed. */
int generation_scan(const char *dir, uint64_t *number, struct errmsg *e);
/* Opens dir/<number>, or dir/<number>.tmp which must be empty or hold a data.mdb. */
int generation_open(struct store *s, uint64_t number, bool tmp, struct generation **out,
                    struct errmsg *e);
void generation_close(struct generation *g);
/* An empty directory dir/<number>.tmp. */
int generation_make_tmp(const char *dir, uint64_t number, struct errmsg *e);
/* Syncs dir/<number>.tmp and renames it to dir/<number>, durably. */
int generation_commit_tmp(const char *dir, uint64_t number, struct errmsg *e);
/* Removes dir/<number> or dir/<number>.tmp with its files. */
void generation_remove(const char *dir, uint64_t number, bool tmp);
/* "dir/<number>[.tmp][/file]" on the heap; NULL = out of memory. */
char *generation_path(const char *dir, uint64_t number, bool tmp, const char *file);

/* ---- cursor.c ---- */
void store_cursor_destroy(struct store_cursor *c);

#endif
