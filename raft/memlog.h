/* memlog.h - reading libraft's log in memory.
 *
 * libraft exports no reader, but struct raft_log is part of its public header: a ring of entries
 * whose first has index offset + 1. Pointers live until the next call into libraft. */
#ifndef KVD_RAFT_MEMLOG_H
#define KVD_RAFT_MEMLOG_H

#include <stddef.h>
#include <stdint.h>

#include <raft.h>

static inline size_t memlog_count(const struct raft *r)
{
    const struct raft_log *l = &r->log;
    return l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
}

/* Index of the first entry in memory, or of the next one when there is none. */
static inline uint64_t memlog_first(const struct raft *r)
{
    return r->log.offset + 1;
}

static inline uint64_t memlog_last(const struct raft *r)
{
    return r->log.offset + memlog_count(r);
}

/* NULL when the entry isn't in memory. */
static inline const struct raft_entry *memlog_get(const struct raft *r, uint64_t index)
{
    const struct raft_log *l = &r->log;
    if (index <= l->offset || index > memlog_last(r)) {
        return NULL;
    }
    return &l->entries[(l->front + (size_t)(index - l->offset - 1)) % l->size];
}

/* The term of an entry in memory or at the snapshot's end; 0 = unknown. */
static inline uint64_t memlog_term(const struct raft *r, uint64_t index)
{
    if (index != 0 && index == r->log.snapshot.last_index) {
        return r->log.snapshot.last_term;
    }
    const struct raft_entry *e = memlog_get(r, index);
    return e == NULL ? 0 : e->term;
}

#endif
