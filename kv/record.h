/* record.h - the bytes of record and index rows (kv/README.md has the tables).
 *
 * A record row is one change of one key, written once. Its heart is the protobuf KeyValue exactly
 * as clients, watchers and HashKV want it, so reading is mostly copying. An index row finds it:
 * user key, newest revision first. Every value ends with a CRC-32C over the row's key and value:
 * what does not match is ERR_DAMAGED, never an answer. */
#ifndef KVD_KV_RECORD_H
#define KVD_KV_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* A revision: the main number clients see and the place of the change inside it. */
struct rev {
    int64_t main;
    uint32_t sub;
};

static inline int rev_cmp(struct rev a, struct rev b)
{
    if (a.main != b.main) {
        return a.main < b.main ? -1 : 1;
    }
    return a.sub < b.sub ? -1 : a.sub > b.sub;
}

/* The fields of a mvccpb.KeyValue; slices point into the encoding. */
struct key_value {
    struct slice key;
    int64_t create;
    int64_t mod;
    int64_t version;
    struct slice value;
    int64_t lease;
};

size_t key_value_size(const struct key_value *kv);
bool key_value_append(struct buf *out, const struct key_value *kv);
/* false when the bytes are not a KeyValue. */
bool key_value_parse(struct slice bytes, struct key_value *out);

enum record_op { RECORD_PUT = 1, RECORD_DELETE = 2 };

struct record {
    enum record_op op;
    struct rev rev;
    bool has_prev; /* the key was live before: */
    struct rev prev;
    int64_t garbage;     /* sub 0 only, else 0: struct accounting as of the revision before */
    int64_t tombstones;  /* the same */
    struct slice origin; /* who asked for it; empty = an etcd client */
    struct slice kv;     /* encoded KeyValue; of a delete only its key */
};

#define RECORD_KEY_BYTES 12u
void record_key(uint8_t out[RECORD_KEY_BYTES], struct rev rev);
/* Appends the row's value except the KeyValue and the CRC: the caller appends the KeyValue, then
 * calls row_seal with `start` = the length before record_head. */
bool record_head(struct buf *out, const struct record *r);
/* 0 or ERR_DAMAGED. Slices point into `value`. */
int record_parse(struct slice key, struct slice value, struct record *out);

/* Appends the CRC of key and of what was appended to `out` since `start`. */
bool row_seal(struct buf *out, size_t start, struct slice key);
/* Takes the CRC off and checks it. 0 or ERR_DAMAGED. */
int row_unseal(struct slice key, struct slice *value);

/* ---- index ----------------------------------------------------------------------------------- */

/* One version of a key as its index row tells it. */
struct version {
    struct rev rev;
    bool tombstone;
    int64_t create; /* 0 on a tombstone, as the next two */
    int64_t version;
    int64_t lease;
    uint32_t kv_size; /* bytes of its KeyValue in the record row */
};

#define INDEX_REV_BYTES  12u
#define INDEX_TERM_BYTES 2u
/* Appends the user key so that memcmp of results orders as memcmp of keys does. Without terminator:
 * every row of a key >= `key` is >= this, every row of a smaller key is smaller. */
bool index_escape(struct buf *out, struct slice key);
/* Appends the terminator: now it is the common prefix of exactly this key's rows. */
bool index_terminate(struct buf *out);
/* Appends the inverted revision. */
bool index_rev(struct buf *out, struct rev rev);
/* Splits a row's key into the escaped user key with terminator and the revision. 0, ERR_DAMAGED. */
int index_split(struct slice row_key, struct slice *escaped, struct rev *rev);
/* The user key of an escaped one (with terminator): points into it or, when it holds zero bytes,
 * into `scratch`. 0, ERR_DAMAGED, ERR_NOMEM. */
int index_unescape(struct slice escaped, struct buf *scratch, struct slice *key);
/* Appends the row's value (v->rev is in the key) and seals it. */
bool index_value(struct buf *out, struct slice row_key, const struct version *v);
/* Everything but v->rev, which must be set. 0, ERR_DAMAGED. */
int index_parse(struct slice row_key, struct slice value, struct version *v);

/* What one version adds to the accounted bytes (quota): its two rows and their share of the tree.
 */
#define VERSION_COST_BYTES 128u
static inline int64_t version_cost(size_t key_len, size_t kv_size)
{
    return (int64_t)(VERSION_COST_BYTES + key_len + kv_size);
}

#endif
