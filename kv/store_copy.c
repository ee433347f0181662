/* store_copy.c - whole generations: compacting copies, defragmentation, snapshot install.
 *
 * All three end in the same way: a directory dir/<n+1>.tmp with a whole data.mdb is opened (so that
 * nothing can fail later), synced and renamed, the new version is published, and the files of the
 * old generation are unlinked at once; views that still use it keep its pages until they close. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "kv/store_internal.h"
#include "kv/store_test.h"

#ifdef KVD_DEBUG
_Atomic bool store_test_trim_always;
_Atomic bool store_test_copy_plain;
#endif

/* LMDB refuses a compacting copy of a file that lost track of a free page (known of its releases,
 * not seen here). Nothing is wrong with the rows then: the copy is made page by page instead. */
static int store_copy_pages(const struct generation *g, int fd)
{
    struct stat st;
    LOG(LOG_WARN, "the store is copied without compaction: LMDB has lost track of a free page");
    if (lseek(fd, 0, SEEK_SET) != 0 || ftruncate(fd, 0) != 0) {
        return errno;
    }
    int rc = mdb_env_copyfd2(g->env.env, fd, 0);
    if (rc != 0) {
        return rc;
    }
    /* Free pages at the end may never have been written; the copy is as long as its header says. */
    uint64_t end = env_end(&g->env);
    if (fstat(fd, &st) != 0 || ((uint64_t)st.st_size < end && ftruncate(fd, (off_t)end) != 0)) {
        return errno;
    }
    return 0;
}

static bool store_copy_refuses_to_compact(void)
{
#ifdef KVD_DEBUG
    return atomic_load_explicit(&store_test_copy_plain, memory_order_relaxed);
#else
    return false;
#endif
}

/* A compacted copy of the environment's newest commit in the file `path`, synced. */
static int store_copy_file(const struct generation *g, const char *path, struct errmsg *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errmsg_set(e, env_error(errno), "create %s: %s", path, strerror(errno));
    }
    int rc = store_copy_refuses_to_compact() ? MDB_INCOMPATIBLE
                                             : mdb_env_copyfd2(g->env.env, fd, MDB_CP_COMPACT);
    if (rc == MDB_INCOMPATIBLE) {
        rc = store_copy_pages(g, fd);
    }
    if (rc == 0 && fsync(fd) != 0) {
        rc = errno;
    }
    if (close(fd) != 0 && rc == 0) {
        rc = errno;
    }
    if (rc != 0) {
        unlink(path);
        return errmsg_set(e, env_error(rc), "copy to %s: %s", path, mdb_strerror(rc));
    }
    return 0;
}

/* Opens a copy on its own, without lock file, and reads its meta row. ERR_DAMAGED when it is no
 * whole checkpoint. */
static int store_copy_inspect(const char *path, size_t map_bytes, struct env_meta *meta,
                              struct errmsg *e)
{
    MDB_env *lmdb;
    MDB_txn *txn = NULL;
    MDB_envinfo info;
    MDB_stat main_stat;
    struct env env = {0};
    struct stat st;
    int err;
    if (stat(path, &st) != 0) {
        return errmsg_set(e, ERR_IO, "%s: %s", path, strerror(errno));
    }
    int rc = mdb_env_create(&lmdb);
    if (rc != 0) {
        return errmsg_set(e, env_error(rc), "%s: %s", path, mdb_strerror(rc));
    }
    if ((rc = mdb_env_set_mapsize(lmdb, map_bytes)) != 0 ||
        (rc = mdb_env_open(lmdb, path, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS, 0600)) !=
            0 ||
        (rc = mdb_env_info(lmdb, &info)) != 0 || (rc = mdb_env_stat(lmdb, &main_stat)) != 0) {
        goto lmdb;
    }
    if (((uint64_t)info.me_last_pgno + 1) * main_stat.ms_psize > (uint64_t)st.st_size) {
        err = errmsg_set(e, ERR_DAMAGED, "%s is cut short", path);
        goto out;
    }
    if ((rc = mdb_txn_begin(lmdb, NULL, MDB_RDONLY, &txn)) != 0 ||
        (rc = mdb_dbi_open(txn, NULL, 0, &env.dbi)) != 0) {
        goto lmdb;
    }
    err = env_meta_read(&env, txn, meta, e);
    goto out;
lmdb:
    err = errmsg_set(e, env_error(rc), "%s: %s", path, mdb_strerror(rc));
out:
    if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    mdb_env_close(lmdb);
    return err;
}

int store_copy(struct store *s, const char *path, struct store_meta *meta,
               struct buf *configuration)
{
    struct env_meta found;
    struct errmsg e = {""};
    pthread_mutex_lock(&s->lock);
    struct store_version *v = store_version_ref(s);
    pthread_mutex_unlock(&s->lock);
    int err = store_copy_file(v->gen, path, &e);
    store_version_unref(s, v);
    if (err == 0) {
        err = store_copy_inspect(path, s->options.map_bytes, &found, &e);
    }
    if (err != 0) {
        LOG(LOG_WARN, "copying the store failed", F_STR("error", e.text));
        unlink(path);
        return err;
    }
    *meta = found.meta;
    meta->configuration = slice_of(NULL, 0);
    size_t start = configuration->len;
    if (found.configuration != NULL) {
        buf_append_slice(configuration, blob_slice(found.configuration));
        blob_unref(found.configuration);
        if (configuration->failed) {
            unlink(path);
            return ERR_NOMEM;
        }
        meta->configuration = slice_of(configuration->data + start, configuration->len - start);
    }
    return 0;
}

/* ---- swaps
 * --------------------------------------------------------------------------------------- */

/* Unlinks a generation's files; whoever uses it goes on. */
static void store_retire(struct store *s, uint64_t number)
{
    generation_remove(s->dir, number, false);
    struct errmsg e = {""};
    if (env_sync_path(s->dir, &e) != 0) {
        LOG(LOG_WARN, "removing an old generation", F_STR("error", e.text));
    }
}

/* Opens the whole data.mdb in dir/<number>.tmp and renames the directory, durably. On failure the
 * file is closed, the directory still there. *meta: the caller owns its configuration. */
static int store_adopt(struct store *s, uint64_t number, struct generation **out, size_t *txnid,
                       struct env_meta *meta, struct errmsg *e)
{
    struct generation *fresh = NULL;
    int err = generation_open(s, number, true, &fresh, e);
    if (err != 0) {
        return err;
    }
    *meta = (struct env_meta){0};
    err = store_generation_load(fresh, txnid, meta, e);
    if (err == 0) {
        err = generation_commit_tmp(s->dir, number, e);
    }
    if (err != 0) {
        blob_unref(meta->configuration);
        generation_close(fresh);
        return err;
    }
    *out = fresh;
    return 0;
}

int store_defragment(struct store *s)
{
    struct errmsg e = {""};
    struct generation *fresh = NULL;
    struct env_meta meta = {0};
    char *path = NULL;
    size_t txnid = 0;
    store_reap(s);
    pthread_mutex_lock(&s->lock);
    struct store_version *from = store_version_ref(s);
    pthread_mutex_unlock(&s->lock);
    uint64_t old_number = from->gen->number;
    uint64_t number = old_number + 1;
    int err = ERR_NOMEM;
    struct store_version *next = mem_alloc(sizeof *next);
    path = generation_path(s->dir, number, true, "data.mdb");
    if (next == NULL || path == NULL) {
        goto out;
    }
    if ((err = generation_make_tmp(s->dir, number, &e)) != 0) {
        goto out;
    }
    if ((err = store_copy_file(from->gen, path, &e)) != 0 ||
        (err = store_adopt(s, number, &fresh, &txnid, &meta, &e)) != 0) {
        generation_remove(s->dir, number, true);
        goto out;
    }
    blob_unref(meta.configuration);
    pthread_mutex_lock(&s->lock);
    struct store_version *before = s->current; /* apply may have sealed meanwhile */
    store_version_swap(s, next, fresh, before->active, before->sealed, txnid);
    fresh->refs--;
    pthread_mutex_unlock(&s->lock);
    next = NULL;
    store_version_unref(s, before);
    s->retained = 0;
    store_measure(s, fresh);
    store_retire(s, old_number);
out:
    mem_free(next);
    mem_free(path);
    store_version_unref(s, from);
    store_reap(s);
    if (err != 0) {
        LOG(LOG_WARN, "defragmentation failed", F_STR("error", e.text),
            F_STR("kind", err_name(err)));
    }
    return err;
}

static uint64_t store_trim_bytes(void)
{
#ifdef KVD_DEBUG
    if (atomic_load_explicit(&store_test_trim_always, memory_order_relaxed)) {
        return 0;
    }
#endif
    return STORE_TRIM_BYTES;
}

bool store_trim_worthwhile(const struct store *s)
{
    return s->retained >= store_trim_bytes();
}

/* The same file, by a second name and with a reader table of its own, opened in dir/<n+1>. Readers
 * of the old environment would be unknown to the new one's writer, so the swap happens only at a
 * moment without any: under the lock, when the current version is the only holder of the
 * generation. */
int store_trim(struct store *s)
{
    struct errmsg e = {""};
    struct generation *fresh = NULL;
    size_t txnid = 0;
    struct env_meta meta = {0};
    store_reap(s);
    if (!store_trim_worthwhile(s)) {
        return 0;
    }
    pthread_mutex_lock(&s->lock);
    struct store_version *now = s->current;
    bool busy = now->refs > 1 || now->gen->refs > 1 || now->sealed != NULL;
    uint64_t old_number = now->gen->number;
    pthread_mutex_unlock(&s->lock);
    if (busy) {
        return ERR_BUSY;
    }
    uint64_t number = old_number + 1;
    int err = ERR_NOMEM;
    struct store_version *next = mem_alloc(sizeof *next);
    char *from = generation_path(s->dir, old_number, false, "data.mdb");
    char *to = generation_path(s->dir, number, true, "data.mdb");
    if (next == NULL || from == NULL || to == NULL) {
        goto out;
    }
    if ((err = generation_make_tmp(s->dir, number, &e)) != 0) {
        goto out;
    }
    if (link(from, to) != 0) {
        err = errmsg_set(&e, env_error(errno), "link %s: %s", to, strerror(errno));
        generation_remove(s->dir, number, true);
        goto out;
    }
    if ((err = store_adopt(s, number, &fresh, &txnid, &meta, &e)) != 0) {
        generation_remove(s->dir, number, true);
        goto out;
    }
    blob_unref(meta.configuration);
    pthread_mutex_lock(&s->lock);
    now = s->current;
    busy = now->refs > 1 || now->gen->refs > 1 || now->sealed != NULL;
    if (!busy) {
        store_version_swap(s, next, fresh, now->active, NULL, txnid);
        fresh->refs--;
    }
    pthread_mutex_unlock(&s->lock);
    if (busy) {
        /* Two names of one file: which one goes does not matter, but the other must be ours. */
        generation_close(fresh);
        generation_remove(s->dir, number, false);
        err = ERR_BUSY;
        goto out;
    }
    next = NULL;
    store_version_unref(s, now);
    store_reap(s);
    generation_remove(s->dir, old_number, false);
    s->retained = 0;
    malloc_trim(0);
out:
    mem_free(to);
    mem_free(from);
    mem_free(next);
    if (err != 0 && err != ERR_BUSY) {
        LOG(LOG_WARN, "giving memory back failed", F_STR("error", e.text));
    }
    return err;
}

int store_install(struct store *s, const char *path, struct errmsg *e)
{
    struct generation *fresh = NULL;
    struct layer *layer = NULL;
    struct env_meta meta = {0};
    size_t txnid = 0;
    store_writer_view_close(s);
    struct store_version *now = s->current;
    uint64_t old_number = now->gen->number;
    uint64_t number = old_number + 1;
    struct store_version *next = mem_alloc(sizeof *next);
    char *target = generation_path(s->dir, number, true, "data.mdb");
    layer = layer_new();
    int err = ERR_NOMEM;
    if (next == NULL || target == NULL || layer == NULL) {
        errmsg_set(e, err, "out of memory");
        goto fail;
    }
    if ((err = store_copy_inspect(path, s->options.map_bytes, &meta, e)) != 0) {
        goto fail;
    }
    blob_unref(meta.configuration);
    meta.configuration = NULL;
    if ((err = generation_make_tmp(s->dir, number, e)) != 0) {
        goto fail;
    }
    if (rename(path, target) != 0) {
        err = errmsg_set(e, env_error(errno), "rename %s: %s", path, strerror(errno));
        goto fail_tmp;
    }
    if ((err = store_adopt(s, number, &fresh, &txnid, &meta, e)) != 0) {
        goto fail_renamed;
    }
    pthread_mutex_lock(&s->lock);
    struct store_version *before = s->current;
    store_version_swap(s, next, fresh, layer, NULL, txnid);
    fresh->refs--;
    layer->refs--;
    struct blob *old_configuration = s->durable.configuration;
    s->durable = meta;
    s->published = meta.meta.seq;
    s->point = (struct store_point){.revision = meta.meta.revision,
                                    .compact_revision = meta.meta.compact_revision,
                                    .applied_index = meta.meta.applied_index};
    pthread_mutex_unlock(&s->lock);
    s->active = layer;
    s->write_seq = meta.meta.seq + 1;
    atomic_store_explicit(&s->durable_index, meta.meta.applied_index, memory_order_release);
    blob_unref(old_configuration);
    store_version_unref(s, before);
    mem_free(target);
    store_measure(s, fresh);
    store_retire(s, old_number);
    return 0;
fail_renamed:
    (void)WARN_IF(rename(target, path) != 0, "a refused snapshot could not be put back");
fail_tmp:
    generation_remove(s->dir, number, true);
fail:
    mem_free(target);
    mem_free(next);
    if (layer != NULL) {
        layer_free(layer);
    }
    return errmsg_wrap(e, err, "install %s", path);
}
