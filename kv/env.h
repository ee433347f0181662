/* env.h - one LMDB file: opening, error codes, the meta row, sizes, reserved blocks.
 *
 * The only place (with longkey.c) that knows LMDB's flags. Full sync always, except under the
 * unsafe option of tests: NOSYNC lost data in 209 of 300 power-loss trials, and WRITEMAP would let
 * a stray pointer reach the file. MDB_NOTLS ties read transactions to objects rather than threads.
 * MDB_NORDAHEAD because lookups are random. MDB_NOMEMINIT is not used: it would write bytes of our
 * heap (other clients' values, later keys and tokens) into the unused parts of pages. */
#ifndef KVD_KV_ENV_H
#define KVD_KV_ENV_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/buf.h"
#include "base/err.h"
#include "kv/store.h"

/* enum err for an LMDB code or errno: ERR_NO_SPACE for full disks and maps, ERR_NOMEM, ERR_BUSY (no
 * reader slot), ERR_DAMAGED for what LMDB calls corrupt, ERR_IO for the rest. 0 stays 0. */
int env_error(int rc);

struct env {
    MDB_env *env;
    MDB_dbi dbi;
    int fd;             /* of data.mdb, LMDB's own */
    uint64_t page_size; /* bytes */
};

/* Opens or creates dir/data.mdb. A file shorter than it claims is ERR_DAMAGED here rather than a
 * SIGBUS later. */
int env_open(struct env *env, const char *dir, size_t map_bytes, bool unsafe_no_fsync,
             struct errmsg *e);
/* No transaction may be open. */
void env_close(struct env *env);

/* The meta row of a checkpoint. configuration is shared, not copied. */
struct env_meta {
    struct store_meta meta;     /* its configuration slice points into `configuration` */
    struct blob *configuration; /* NULL = none */
    uint64_t next_directory;    /* longkey.h */
};

/* Reads the row in this transaction. ERR_DAMAGED, ERR_TOO_NEW, ERR_NOMEM. On success the caller
 * owns one reference of out->configuration. */
int env_meta_read(const struct env *env, MDB_txn *txn, struct env_meta *out, struct errmsg *e);
/* Writes it; scratch is cleared and used. 0 or an LMDB code. */
int env_meta_write(const struct env *env, MDB_txn *txn, const struct env_meta *meta,
                   struct buf *scratch);

/* Where LMDB's last page ends: the length of the file as its header has it. */
uint64_t env_end(const struct env *env);
/* Bytes up to the last page ever used, and without the free ones among them. The transaction is a
 * read one on the newest state. */
void env_measure(const struct env *env, MDB_txn *txn, uint64_t *bytes, uint64_t *in_use);

/* The reserve: `bytes` of real blocks behind LMDB's last page (the file's size stays), which is
 * where its next new pages go. So a checkpoint that meets a full disk is written into the reserve,
 * and what cannot be reserved anew afterwards says that the disk is full while erasures still get
 * through. */
/* false: the disk has not that much left; a half or a quarter is held then, if that can be had.
 * end: of LMDB's last page. */
bool env_reserve(const struct env *env, uint64_t end, uint64_t bytes);
/* After a commit failed for lack of space: cuts off what it wrote behind LMDB's last page, and
 * keeps three quarters of the reserve there. The last quarter is set free for pages that lie in
 * holes further in front, which LMDB leaves now and then and which the reserve itself cannot serve.
 */
void env_reserve_retreat(const struct env *env, uint64_t bytes);
/* LMDB says EIO when a write came out short, as it does on a full disk. Is it that? need: bytes the
 * transaction may have wanted; with less than that left the disk counts as full, because a write
 * can come out short long before the last block is taken (ext4 gave 0.5 of 2 MB with megabytes
 * free). */
bool env_disk_full(const struct env *env, uint64_t need);

/* fsync of a directory or file by path. 0 or ERR_IO. */
int env_sync_path(const char *path, struct errmsg *e);

#endif
