/* txn.h - running puts, deletes, ranges and transactions, in slices.
 *
 * A request becomes a flat program in three phases: COMPARE evaluates every compare of the chosen
 * path against the state before (contract T-04..T-06) and lists the operations in order; CHECK
 * refuses what cannot work before anything is written (T-07); RUN executes (T-08..T-11). A single
 * put, delete or range is a program of one step. With `kv` the program may write, inside an
 * operation of kv/change.h; without it only reads are possible, on any thread. */
#ifndef KVD_KV_TXN_H
#define KVD_KV_TXN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "kv/kv.h"
#include "kv/mvcc.h"
#include "kv/range.h"
#include "kv/result.h"
#include "proto/etcd/rpc.pb-c.h"

enum txn_kind { TXN_PUT, TXN_DELETE, TXN_RANGE, TXN_ENTER, TXN_LEAVE, TXN_REVOKE };

struct txn_step {
    enum txn_kind kind;
    bool succeeded; /* ENTER */
    union {
        const Etcdserverpb__PutRequest *put;
        const Etcdserverpb__DeleteRangeRequest *delete_range;
        const Etcdserverpb__RangeRequest *range;
        int64_t lease; /* REVOKE */
    } u;
};

/* A transaction being flattened. */
struct txn_frame {
    const Etcdserverpb__TxnRequest *request;
    size_t compare; /* next to evaluate */
    bool chosen;
    Etcdserverpb__RequestOp **ops;
    size_t op_count;
    size_t op;
};

struct txn {
    struct kv *kv;           /* NULL: read only */
    struct store_view *view; /* what it reads */
    struct mvcc_reader *reader;
    int64_t begin; /* revision before */
    int64_t floor;
    struct arena *arena; /* holds the program */
    struct result *result;
    bool nested; /* operations answer inside a TxnResponse */
    enum { TXN_PHASE_COMPARE, TXN_PHASE_CHECK, TXN_PHASE_RUN, TXN_PHASE_DONE } phase;

    struct txn_frame stack[TXN_DEPTH_MAX];
    size_t depth;
    struct txn_step *steps;
    size_t len;
    size_t cap;
    size_t at; /* step being checked or run */

    /* a compare, delete or revoke in progress */
    bool walking;
    bool any; /* a compare saw a key */
    int64_t deleted;
    uint32_t deleted_mark;
    struct mvcc_iter iter;
    struct store_cursor *cursor; /* REVOKE */
    /* a range in progress */
    bool ranging;
    size_t range_end; /* the body's length when the range is written; 0 = not begun */
    struct kv_range range;
};

/* Zeroes it and remembers the surroundings. */
void txn_init(struct txn *t, struct kv *kv, struct store_view *view, struct mvcc_reader *reader,
              struct arena *arena, struct result *result);
/* One of these makes the program; 0 or ERR_NOMEM. The requests must live as long as it runs. */
int txn_set_put(struct txn *t, const Etcdserverpb__PutRequest *put);
int txn_set_delete(struct txn *t, const Etcdserverpb__DeleteRangeRequest *delete_range);
int txn_set_range(struct txn *t, const Etcdserverpb__RangeRequest *range);
int txn_set_revoke(struct txn *t, int64_t lease);
int txn_set_txn(struct txn *t, const Etcdserverpb__TxnRequest *txn);
/* Works until *budget (rows) is used up. KV_DONE: over; *err != 0 = refused, nothing was written.
 */
enum kv_progress txn_run(struct txn *t, uint32_t *budget, int *err);
/* Gives back what an unfinished or finished run holds. */
void txn_close(struct txn *t);

/* ---- txn_compare.c ---- */
/* The COMPARE phase. */
enum kv_progress txn_compare(struct txn *t, uint32_t *budget, int *err);
int txn_push_step(struct txn *t, struct txn_step step);

/* A read failed: a writer stops the process (what it reads is what every member reads), a reader
 * returns err. */
int txn_read_failed(const struct txn *t, int err);

#endif
