/* logtest.h - a log on a simulated disk beside a plain model of what it must hold.
 *
 * The model keeps every operation since the last known content, in order. Reopening after a crash
 * must find the content after some prefix of them that includes all acknowledged ones. */
#ifndef KVD_TESTS_LIB_LOGTEST_H
#define KVD_TESTS_LIB_LOGTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/log.h"
#include "tests/lib/sim_disk.h"

struct logtest_entry {
    uint64_t term;
    uint64_t seed; /* of the payload's bytes and type */
    size_t len;
};

/* Content: entries first .. first + n - 1. */
struct logtest_state {
    uint64_t first;
    struct logtest_entry *entries;
    size_t n;
    size_t cap;
};

struct logtest_op {
    enum { LOGTEST_ENTRY, LOGTEST_TRUNCATE, LOGTEST_RESET } kind;
    uint64_t index;
    struct logtest_entry entry;
};

struct logtest {
    struct disk *disk;
    uint64_t now_ms;
    struct log *log;
    struct log_options options; /* set segment_bytes, callbacks, applied_*; disk is filled in */

    struct logtest_state known; /* before ops[0] */
    struct logtest_op *ops;
    size_t op_count;
    size_t op_cap;
    size_t acked;    /* ops[0 .. acked) are acknowledged */
    uint64_t cut;    /* highest index given to log_cut */
    uint64_t seed;   /* of the next payload */
    size_t waiting;  /* requests without callback yet */
    struct errmsg e; /* of the last open */
    uint64_t first_index;
    struct logtest_state found; /* by the last open */
};

/* A fresh log; sets the term first term 1000000. segment_bytes 0: the default. */
void logtest_init(struct logtest *t, const struct sim_disk_options *o, uint32_t segment_bytes);
void logtest_close(struct logtest *t);
/* Opens, reading what there is into t->found; log_open's answer. t->log NULL on failure. */
int logtest_open(struct logtest *t);
/* Closes the log only, e.g. after a crash of the disk; requests without callback are forgotten. */
void logtest_shut(struct logtest *t);

/* One append of n entries with payloads of len bytes. */
void logtest_append(struct logtest *t, uint64_t term, size_t n, size_t len);
void logtest_truncate(struct logtest *t, uint64_t index);
void logtest_reset(struct logtest *t, uint64_t index, uint64_t term);
void logtest_cut(struct logtest *t, uint64_t index);
/* Virtual time passes; ticks come every 50 ms. */
void logtest_run(struct logtest *t, uint64_t ms);
/* Runs until everything is acknowledged and nothing is under way; false when that takes a minute.
 */
bool logtest_settle(struct logtest *t);
/* After a reopen: t->found is what the model allows? Takes it over as the new known content. */
bool logtest_check(struct logtest *t);
/* Next index counting everything queued. */
uint64_t logtest_next(const struct logtest *t);
/* Last index that is acknowledged and that nothing queued removes: what may be cut. */
uint64_t logtest_safe(const struct logtest *t);
/* The payload's bytes for a seed. */
void logtest_fill(uint8_t *out, size_t len, uint64_t seed);

#endif
