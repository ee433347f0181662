/* store.h - rows by table and key, at versions: memtables over LMDB (design section 4).
 *
 * The log is the truth, LMDB is the checkpoint, the memtable is the newest seconds. One writer (the
 * apply thread) inserts rows; readers on any thread open a view and see exactly the operations
 * published before; one checkpoint thread moves sealed memtables into LMDB and is its only writer.
 *
 * A row is (table, key) -> value; keys are byte strings of any length in memcmp order, values of
 * any length. Rows written by one operation share its seq and become visible together at
 * store_publish. Erasing inserts a tombstone row. Tables know nothing of their contents. */
#ifndef KVD_KV_STORE_H
#define KVD_KV_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* First byte of every stored key. On disk: never renumber. Bytes below 0x10 are the store's own. */
enum store_table {
    TABLE_INDEX = 0x20,     /* user key, mod newest first -> create, version, lease, ... */
    TABLE_LEASE = 0x30,     /* id -> ttl */
    TABLE_LEASE_KEY = 0x38, /* id, user key -> nothing */
    TABLE_ALARM = 0x40,     /* type, member -> nothing */
    TABLE_MEMBER = 0x50,
    TABLE_AUTH = 0x60,
    TABLE_EPOCH = 0x70,
    TABLE_ACCOUNT = 0x78, /* the compaction floor's accounting (kv/change.h) */
    /* The highest on purpose: new records land at the very end of tree and memtable, which is
     * several times cheaper than anywhere else. */
    TABLE_RECORD = 0x80 /* main, sub -> the change (kv/record.h) */
};

/* What a checkpoint says about itself, stored with it in one LMDB transaction. */
struct store_meta {
    uint64_t applied_index; /* raft index of the last entry whose rows are all inside */
    uint64_t applied_term;
    uint64_t seq;                 /* of the last operation inside (set by the store) */
    int64_t revision;             /* MVCC main revision */
    int64_t compact_revision;     /* floor: last requested compaction, -1 = never */
    int64_t compact_done;         /* rows dropped up to here, -1 = never */
    int64_t accounted_bytes;      /* quota counter kept by apply */
    uint64_t running_hash;        /* over every emitted row (design: integrity) */
    uint64_t configuration_index; /* raft index of `configuration` */
    struct slice configuration;   /* raft members at applied_index, encoded; copied */
};

struct store;
struct store_view;

struct store_options {
    const char *dir;      /* exists; generations live in dir/<number>/data.mdb */
    size_t map_bytes;     /* LMDB map size: address space, not memory [16 GiB] */
    size_t reserve_bytes; /* real blocks kept free for deletes and alarms [0 = none] */
    bool unsafe_no_fsync; /* tests only: MDB_NOSYNC */
    /* Fault layer: called before each LMDB commit; non-zero errno makes the commit fail with it. */
    int (*commit_fault)(void *data);
    void *fault_data;
};

/* Opens or creates (then: revision 1, compact_* -1, all else 0). Incomplete generations (a crash in
 * the middle of a swap) are removed. Returns 0, ERR_IO, ERR_DAMAGED, ERR_TOO_NEW, ERR_NOMEM,
 * ERR_NO_SPACE with a sentence in e. */
int store_open(const struct store_options *options, struct store **out, struct errmsg *e);
/* No views may be open, no checkpoint running. What only the memtable has is dropped: the log has
 * it. */
void store_close(struct store *s);

/* The newest checkpoint's meta; `configuration` lives until the next call of any store function on
 * this thread. Apply thread. */
void store_checkpoint_meta(struct store *s, struct store_meta *out);
/* applied_index of the newest durable checkpoint: the log may be cut up to it. Any thread. */
uint64_t store_durable_index(const struct store *s);

/* ---- writing: apply thread only -------------------------------------------------------------- */

/* Inserts a row of the operation being written. Bytes are copied. 0 or ERR_NOMEM (then the caller
 * must stop the process: apply may not fail). Writing the same (table, key) twice in one operation:
 * the second wins. */
int store_put(struct store *s, enum store_table table, struct slice key, struct slice value);
int store_erase(struct store *s, enum store_table table, struct slice key);
/* What readers learn beside the rows. */
struct store_point {
    int64_t revision;
    int64_t compact_revision;
    uint64_t applied_index;
};
/* Ends the operation: its rows become visible with `point`, the next store_put belongs to the next
 * seq. An operation without rows may publish too. */
void store_publish(struct store *s, const struct store_point *point);
/* The writer's own view: sees unpublished rows too. Valid until the next store_publish, store_seal
 * or store_install, so fetch it anew for each operation; never close it, and close its cursors
 * first. Within one operation it is always the same view. Rows put while a cursor of it is open may
 * or may not be met by that cursor, unless it seeks again. */
struct store_view *store_writer_view(struct store *s);

/* ---- reading: any thread --------------------------------------------------------------------- */

/* A consistent view of everything published so far: memtables and LMDB snapshot together. Cheap
 * (about a microsecond). Long-lived views pin LMDB pages and memtables: see store_view_age_ms in
 * the owner's duty. ERR_NOMEM, ERR_IO, ERR_BUSY (STORE_VIEWS_MAX are open). */
int store_view_open(struct store *s, struct store_view **out);
void store_view_close(struct store_view *v);
const struct store_point *store_view_point(const struct store_view *v);

/* Looks one row up. 1 = found, *value valid until the view closes; 0 = absent; negative = -(enum
 * err). */
int store_get(struct store_view *v, enum store_table table, struct slice key, struct slice *value);

/* A cursor over one table in key order, merging memtables and LMDB, newest visible row per key,
 * erased rows skipped. */
struct store_cursor;
int store_cursor_open(struct store_view *v, enum store_table table, struct store_cursor **out);
void store_cursor_close(struct store_cursor *c); /* before its view */
/* Moves to the first row with key >= `key` / to the next one. 1 = on a row, 0 = past the end,
 * negative = -(enum err). */
int store_cursor_seek(struct store_cursor *c, struct slice key);
int store_cursor_next(struct store_cursor *c);
/* The row under the cursor; valid until the cursor moves (key) or the view closes (value). */
struct slice store_cursor_key(const struct store_cursor *c);
struct slice store_cursor_value(const struct store_cursor *c);

/* ---- sealing and checkpoints ----------------------------------------------------------------- */

/* Bytes in the active memtable (apply thread) and whether a sealed one waits (any thread). */
size_t store_active_bytes(const struct store *s);
/* Bytes of rows that are in no checkpoint yet: the active and the sealed memtable. Apply thread. */
size_t store_unsaved_bytes(struct store *s);
bool store_sealed(const struct store *s);
/* Freezes the active memtable with what it means; false when one is sealed already, or the active
 * one is empty and meta.applied_index is already durable. Only between entries. Apply thread. */
bool store_seal(struct store *s, const struct store_meta *meta);
/* Writes the sealed memtable to LMDB in one synced transaction, then publishes the version without
 * it. Nothing sealed: returns 0 at once. ERR_NO_SPACE leaves everything as it was: try again later.
 * ERR_IO, ERR_DAMAGED: stop the process. Checkpoint thread (any one thread at a time). */
int store_checkpoint(struct store *s);

/* Compaction and scrubbing write to LMDB through this: `work` runs inside one LMDB write
 * transaction on the checkpoint thread; returning 0 commits (synced), anything else aborts and is
 * returned. */
struct store_txn;
int store_maintain(struct store *s, int (*work)(struct store_txn *t, void *data), void *data);
/* The meta of the checkpoint being worked on. Compaction must not go beyond its compact_revision: a
 * copy or a restart would otherwise show a floor below which rows are gone already. */
const struct store_meta *store_txn_meta(const struct store_txn *t);
int store_txn_get(struct store_txn *t, enum store_table table, struct slice key,
                  struct slice *value);
int store_txn_erase(struct store_txn *t, enum store_table table, struct slice key);
/* Records in the meta row that compaction has dropped rows up to this revision. */
int store_txn_set_compact_done(struct store_txn *t, int64_t revision);
/* First row >= key in the checkpoint (not the memtables); as store_cursor_seek. Key and value are
 * valid until the transaction's next write. */
int store_txn_seek(struct store_txn *t, enum store_table table, struct slice key,
                   struct slice *out_key, struct slice *out_value);

/* ---- whole copies ---------------------------------------------------------------------------- */

/* Rewrites LMDB compactly into a new generation while reads and writes go on (checkpoints wait),
 * and swaps. Checkpoint thread. ERR_NO_SPACE leaves the old one. */
int store_defragment(struct store *s);
/* Gives back what LMDB keeps in memory after large commits (a copy of every page they touched, 90
 * MB with a million keys, and the mapped pages of the file) by opening the file anew beside itself
 * and swapping. For idle moments: some milliseconds of work, and the next reads fault their pages
 * in again. Returns at once when there is little to gain; ERR_BUSY while any view is open or
 * something is sealed; other errors leave everything as it was. Checkpoint thread. */
int store_trim(struct store *s);
/* Would it give back enough to be worth it? Checkpoint thread. */
bool store_trim_worthwhile(const struct store *s);
/* Writes a compacted copy of the newest checkpoint to `path` (a file, synced) and its meta to *meta
 * (configuration appended to *configuration). Any thread; pins a read transaction meanwhile. */
int store_copy(struct store *s, const char *path, struct store_meta *meta,
               struct buf *configuration);
/* Replaces everything by a copy made by store_copy: checks its header, length and meta row (whoever
 * received the bytes has compared their checksum), renames it into a new generation (so `path` must
 * be on the same file system), empties the memtables. Views open before stay as they were. Apply
 * thread, no checkpoint running. On failure the old state stays, and so does the file; only after
 * ERR_IO stop the process. */
int store_install(struct store *s, const char *path, struct errmsg *e);

/* Sizes in bytes of the current generation: file blocks used by LMDB, and pages in use. Any thread.
 */
uint64_t store_bytes(const struct store *s);
uint64_t store_bytes_in_use(const struct store *s);
/* The file system could not give the reserve back after the last commit: the disk is as good as
 * full and only deletes and compaction should still be let in. Any thread. */
bool store_reserve_short(const struct store *s);
/* Tries again to get the whole reserve, if it is short. true = it is whole. Checkpoint thread. */
bool store_restore_reserve(struct store *s);

#endif
