/* env.c - see env.h. */
#include "kv/env.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"

#define ENV_META_KEY     0x01u
#define ENV_META_VERSION 1u
/* magic, version, ten numbers, configuration length; then the configuration and a CRC of it all. */
#define ENV_META_HEAD_BYTES (8u + 4u + 10u * 8u + 4u)
#define ENV_META_CRC_BYTES  4u

/* Less free space than this is none, whatever a failed commit wanted: the tree's own pages, and
 * what file systems keep back for theirs. */
#define ENV_PROBE_BYTES (4u * 1024u * 1024u)

static const char env_meta_magic[8] = {'k', 'v', 'd', 's', 't', 'o', 'r', 'e'};

int env_error(int rc)
{
    switch (rc) {
    case 0:
        return ERR_OK;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_NO_SPACE;
    case ENOMEM:
        return ERR_NOMEM;
    case MDB_READERS_FULL:
        return ERR_BUSY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_VALSIZE:
        return ERR_DAMAGED;
    default:
        return ERR_IO;
    }
}

/* LMDB keeps its free pages in database 0: per transaction a list of page numbers whose first word
 * counts them. Sums up those numbered `from` and more; *damaged when the lists cannot be walked. */
static uint64_t env_free_pages(MDB_txn *txn, uint64_t from, bool *damaged)
{
    MDB_cursor *mc;
    MDB_val k;
    MDB_val v;
    uint64_t pages = 0;
    int rc = mdb_cursor_open(txn, 0, &mc);
    if (rc != 0) {
        *damaged = true;
        return 0;
    }
    while ((rc = mdb_cursor_get(mc, &k, &v, MDB_NEXT)) == 0) {
        size_t count = 0;
        if (v.mv_size >= sizeof count) {
            memcpy(&count, v.mv_data, sizeof count);
        }
        if (v.mv_size / sizeof count <= count) {
            *damaged = true;
            break;
        }
        for (size_t i = 1; from > 0 && i <= count; i++) {
            size_t page;
            memcpy(&page, (const uint8_t *)v.mv_data + i * sizeof page, sizeof page);
            pages += page >= from;
        }
        pages += from == 0 ? count : 0;
    }
    *damaged = *damaged || (rc != 0 && rc != MDB_NOTFOUND);
    mdb_cursor_close(mc);
    return pages;
}

/* The header may claim more pages than the file has. LMDB leaves pages unwritten that were taken
 * and freed in one transaction, so that is fine when all the missing ones are free; else the file
 * was cut, and touching it would be SIGBUS. It is made as long as it claims (a hole), which also
 * makes the free lists safe to walk; cut back when that shows damage. */
static int env_check_length(const struct env *env, MDB_txn *txn, const char *dir, struct errmsg *e)
{
    MDB_envinfo info;
    struct stat st;
    mdb_env_info(env->env, &info);
    if (fstat(env->fd, &st) != 0) {
        return errmsg_set(e, ERR_IO, "%s/data.mdb: %s", dir, strerror(errno));
    }
    uint64_t need = ((uint64_t)info.me_last_pgno + 1) * env->page_size;
    if ((uint64_t)st.st_size >= need) {
        return 0;
    }
    if (need > info.me_mapsize) {
        return errmsg_set(e, ERR_DAMAGED, "%s/data.mdb: its header is damaged", dir);
    }
    if (ftruncate(env->fd, (off_t)need) != 0) {
        return errmsg_set(e, env_error(errno), "%s/data.mdb: %s", dir, strerror(errno));
    }
    uint64_t from = (uint64_t)st.st_size / env->page_size;
    bool damaged = from == 0;
    uint64_t found = damaged ? 0 : env_free_pages(txn, from, &damaged);
    if (!damaged && found == (uint64_t)info.me_last_pgno + 1 - from) {
        return 0;
    }
    (void)WARN_IF(ftruncate(env->fd, st.st_size) != 0, "a damaged file keeps its new length");
    return errmsg_set(e, ERR_DAMAGED,
                      "%s/data.mdb is cut short: %llu bytes, its header says %llu; restore a copy "
                      "or resync this member",
                      dir, (unsigned long long)st.st_size, (unsigned long long)need);
}

int env_open(struct env *env, const char *dir, size_t map_bytes, bool unsafe_no_fsync,
             struct errmsg *e)
{
    MDB_txn *txn;
    *env = (struct env){.fd = -1};
    int rc = mdb_env_create(&env->env);
    if (rc != 0) {
        return errmsg_set(e, env_error(rc), "%s: %s", dir, mdb_strerror(rc));
    }
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (unsafe_no_fsync ? MDB_NOSYNC : 0);
    if ((rc = mdb_env_set_mapsize(env->env, map_bytes)) != 0 ||
        (rc = mdb_env_set_maxreaders(env->env, STORE_VIEWS_MAX)) != 0 ||
        (rc = mdb_env_open(env->env, dir, flags, 0600)) != 0 ||
        (rc = mdb_env_get_fd(env->env, &env->fd)) != 0) {
        goto fail;
    }
    /* The unnamed database needs no transaction to exist, but one to learn its key order. */
    if ((rc = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &txn)) != 0) {
        goto fail;
    }
    rc = mdb_dbi_open(txn, NULL, 0, &env->dbi);
    MDB_stat stat_main = {0};
    if (rc == 0) {
        rc = mdb_stat(txn, env->dbi, &stat_main);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        goto fail;
    }
    env->page_size = stat_main.ms_psize;
    ASSERT((unsigned)mdb_env_get_maxkeysize(env->env) >= 511);
    int err = env_check_length(env, txn, dir, e);
    mdb_txn_abort(txn);
    if (err != 0) {
        env_close(env);
    }
    return err;
fail:
    mdb_env_close(env->env);
    *env = (struct env){.fd = -1};
    return errmsg_set(e, env_error(rc), "%s/data.mdb: %s", dir, mdb_strerror(rc));
}

void env_close(struct env *env)
{
    if (env->env != NULL) {
        mdb_env_close(env->env);
    }
    *env = (struct env){.fd = -1};
}

/* ---- the meta row
 * -------------------------------------------------------------------------------- */

int env_meta_read(const struct env *env, MDB_txn *txn, struct env_meta *out, struct errmsg *e)
{
    uint8_t key = ENV_META_KEY;
    MDB_val k = {.mv_data = &key, .mv_size = 1};
    MDB_val v;
    int rc = mdb_get(txn, env->dbi, &k, &v);
    if (rc == MDB_NOTFOUND) {
        return errmsg_set(e, ERR_DAMAGED, "the checkpoint has no meta row");
    }
    if (rc != 0) {
        return errmsg_set(e, env_error(rc), "meta row: %s", mdb_strerror(rc));
    }
    const uint8_t *p = v.mv_data;
    if (v.mv_size < ENV_META_HEAD_BYTES + ENV_META_CRC_BYTES ||
        memcmp(p, env_meta_magic, sizeof env_meta_magic) != 0 ||
        crc32c(0, p, v.mv_size - ENV_META_CRC_BYTES) !=
            bytes_le32(p + v.mv_size - ENV_META_CRC_BYTES)) {
        return errmsg_set(e, ERR_DAMAGED, "the checkpoint's meta row is damaged");
    }
    uint32_t version = bytes_le32(p + 8);
    if (version > ENV_META_VERSION) {
        return errmsg_set(e, ERR_TOO_NEW,
                          "the checkpoint has format %u, this program knows up to %u: start the "
                          "newer version",
                          version, ENV_META_VERSION);
    }
    const uint8_t *n = p + 12;
    *out = (struct env_meta){
        .meta = {.applied_index = bytes_le64(n),
                 .applied_term = bytes_le64(n + 8),
                 .seq = bytes_le64(n + 16),
                 .revision = (int64_t)bytes_le64(n + 24),
                 .compact_revision = (int64_t)bytes_le64(n + 32),
                 .compact_done = (int64_t)bytes_le64(n + 40),
                 .accounted_bytes = (int64_t)bytes_le64(n + 48),
                 .running_hash = bytes_le64(n + 56),
                 .configuration_index = bytes_le64(n + 64)},
        .next_directory = bytes_le64(n + 72),
    };
    uint32_t len = bytes_le32(n + 80);
    if (len != v.mv_size - ENV_META_HEAD_BYTES - ENV_META_CRC_BYTES) {
        return errmsg_set(e, ERR_DAMAGED, "the checkpoint's meta row is damaged");
    }
    if (len > 0) {
        out->configuration = blob_new(len);
        if (out->configuration == NULL) {
            return errmsg_set(e, ERR_NOMEM, "out of memory");
        }
        memcpy(out->configuration->data, p + ENV_META_HEAD_BYTES, len);
        out->meta.configuration = blob_slice(out->configuration);
    }
    return 0;
}

int env_meta_write(const struct env *env, MDB_txn *txn, const struct env_meta *m,
                   struct buf *scratch)
{
    const struct store_meta *meta = &m->meta;
    struct slice configuration =
        m->configuration == NULL ? slice_of(NULL, 0) : blob_slice(m->configuration);
    const uint64_t numbers[10] = {
        meta->applied_index,
        meta->applied_term,
        meta->seq,
        (uint64_t)meta->revision,
        (uint64_t)meta->compact_revision,
        (uint64_t)meta->compact_done,
        (uint64_t)meta->accounted_bytes,
        meta->running_hash,
        meta->configuration_index,
        m->next_directory,
    };
    buf_clear(scratch);
    buf_append(scratch, env_meta_magic, sizeof env_meta_magic);
    buf_append_le32(scratch, ENV_META_VERSION);
    for (size_t i = 0; i < 10; i++) {
        buf_append_le64(scratch, numbers[i]);
    }
    buf_append_le32(scratch, (uint32_t)configuration.len);
    buf_append_slice(scratch, configuration);
    buf_append_le32(scratch, scratch->failed ? 0 : crc32c(0, scratch->data, scratch->len));
    if (scratch->failed) {
        return ENOMEM;
    }
    uint8_t key = ENV_META_KEY;
    MDB_val k = {.mv_data = &key, .mv_size = 1};
    MDB_val v = {.mv_data = scratch->data, .mv_size = scratch->len};
    return mdb_put(txn, env->dbi, &k, &v, 0);
}

/* ---- sizes and blocks
 * ---------------------------------------------------------------------------- */

uint64_t env_end(const struct env *env)
{
    MDB_envinfo info;
    mdb_env_info(env->env, &info);
    return ((uint64_t)info.me_last_pgno + 1) * env->page_size;
}

void env_measure(const struct env *env, MDB_txn *txn, uint64_t *bytes, uint64_t *in_use)
{
    uint64_t pages = env_end(env) / env->page_size;
    bool damaged = false;
    uint64_t free_pages = env_free_pages(txn, 0, &damaged);
    *bytes = pages * env->page_size;
    *in_use = (free_pages < pages ? pages - free_pages : 0) * env->page_size;
}

static int env_allocate(const struct env *env, uint64_t from, uint64_t bytes)
{
    int rc;
    do {
        rc = fallocate(env->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)bytes);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : errno;
}

/* Drops the blocks behind `end`, and those behind the file's own end in any case. */
static void env_cut(const struct env *env, uint64_t end)
{
    struct stat st;
    if (fstat(env->fd, &st) == 0) {
        uint64_t size = (uint64_t)st.st_size < end ? (uint64_t)st.st_size : end;
        (void)WARN_IF(ftruncate(env->fd, (off_t)size) != 0, "the reserve could not be released");
    }
}

bool env_reserve(const struct env *env, uint64_t end, uint64_t bytes)
{
    int rc = env_allocate(env, end, bytes);
    for (uint64_t part = bytes / 2; (rc == ENOSPC || rc == EDQUOT) && part >= bytes / 4;
         part /= 2) {
        if (env_allocate(env, end, part) == 0) {
            break;
        }
    }
    /* A file system without fallocate cannot promise blocks; that is no shortage. */
    return rc == 0 || rc == EOPNOTSUPP || rc == ENOSYS;
}

void env_reserve_retreat(const struct env *env, uint64_t bytes)
{
    uint64_t end = env_end(env);
    env_cut(env, end);
    if (bytes > 0) {
        env_reserve(env, end, bytes / 4 * 3);
    }
}

bool env_disk_full(const struct env *env, uint64_t need)
{
    struct stat st;
    struct statvfs fs;
    if (fstat(env->fd, &st) != 0 || fstatvfs(env->fd, &fs) != 0) {
        return false;
    }
    need += ENV_PROBE_BYTES;
    if ((uint64_t)fs.f_bavail * fs.f_frsize < need) {
        return true;
    }
    /* Quotas do not show there, only when blocks are asked for. */
    int rc = env_allocate(env, (uint64_t)st.st_size, need);
    env_cut(env, (uint64_t)st.st_size);
    return rc == ENOSPC || rc == EDQUOT;
}

int env_sync_path(const char *path, struct errmsg *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errmsg_set(e, ERR_IO, "open %s: %s", path, strerror(errno));
    }
    int rc = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return rc == 0 ? 0 : errmsg_set(e, ERR_IO, "fsync %s: %s", path, strerror(rc));
}
