/* longkey.h - keys of any length in LMDB, which takes 511 bytes, with their order kept.
 *
 * An ordinary row lies under its table byte and key, as long as that is at most 510 bytes. The rows
 * whose key is longer share a directory with all others that begin with the same bytes:
 *
 *   table, first 509 bytes of the key, marker  ->  directory id (8 bytes)     a continuation
 *   0x08, directory id (8, big endian), the rest of the key  ->  value        a row in a directory
 *
 * and a directory may hold continuations of its own, each level taking 501 bytes more. Only
 * continuations are 511 bytes long, that is how they are told apart. The order is kept: a key that
 * ends where a continuation begins sorts before it, and every key inside it sorts before whatever
 * follows the continuation. A directory never is empty: the erasure of its last row removes its
 * continuation too.
 *
 * A cursor walks this as one sorted list. Nothing here recurses; depth is key length / 501. */
#ifndef KVD_KV_LONGKEY_H
#define KVD_KV_LONGKEY_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define LONGKEY_ROW_BYTES_MAX   510u  /* table byte and key of an ordinary row */
#define LONGKEY_DIRECTORY_TABLE 0x08u /* first byte of rows inside directories */

/* 1 = found, *value as LMDB says; 0 = absent; negative = -(enum err). Read or write transaction. */
int longkey_get(MDB_txn *txn, MDB_dbi dbi, uint8_t table, struct slice key, struct slice *value);

/* The write side works on one MDB_cursor of the write transaction, kept for many rows: LMDB then
 * stays on the page where the last one went. *next_directory is the next id never used; stored with
 * the checkpoint's meta. 0 or an LMDB code (env_error translates). */
int longkey_put(MDB_cursor *mc, uint8_t table, struct slice key, struct slice value,
                uint64_t *next_directory);
/* As longkey_put for a key expected behind all rows of the whole database; falls back to an
 * ordinary put and sets *append to false when it is not. */
int longkey_append(MDB_cursor *mc, uint8_t table, struct slice key, struct slice value,
                   uint64_t *next_directory, bool *append);
/* MDB_NOTFOUND when there is no such row. */
int longkey_erase(MDB_cursor *mc, uint8_t table, struct slice key);

/* A walk over one table. One thread at a time. */
struct longkey_cursor {
    MDB_cursor *mc; /* NULL until longkey_cursor_open */
    uint8_t table;
    uint32_t depth;     /* directories entered; 0 = in the table itself */
    struct buf ids;     /* 8 bytes per directory entered, outermost first */
    struct buf bytes;   /* the logical key, built only at depth > 0 */
    size_t prefix_len;  /* how much of it the directories stand for */
    struct slice key;   /* of the row under the cursor: LMDB's bytes or ours; until it moves */
    struct slice value; /* LMDB's bytes */
};

void longkey_cursor_init(struct longkey_cursor *c);
/* Gives the cursor a transaction; reuses its MDB_cursor when it has one (of the same environment;
 * read transactions only, as LMDB demands). 0 or an LMDB code. */
int longkey_cursor_open(struct longkey_cursor *c, MDB_txn *txn, MDB_dbi dbi, uint8_t table);
void longkey_cursor_close(struct longkey_cursor *c); /* frees; before its transaction ends when that
                                                        is a write transaction */
/* First row with key >= `key` / the next one: 1 = on a row, 0 = past the end, -(enum err). */
int longkey_cursor_seek(struct longkey_cursor *c, struct slice key);
int longkey_cursor_next(struct longkey_cursor *c);

#endif
