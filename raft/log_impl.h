/* log_impl.h - inside of the log; for raft/log*.c only.
 *
 * log_open.c reads what is there and builds struct log; log.c queues operations and turns them into
 * records, one write at a time; log_space.c makes segments ahead, removes old ones and deals with a
 * full disk. All on the raft loop thread. */
#ifndef KVD_RAFT_LOG_IMPL_H
#define KVD_RAFT_LOG_IMPL_H

#include "raft/log.h"

#include "base/limits.h"
#include "base/list.h"
#include "raft/record.h"
#include "raft/segment.h"

struct log_segment {
    struct list node; /* log.segments (oldest first), or log.spares */
    uint64_t generation;
    uint64_t bytes;
    uint64_t next_index; /* first whole entry to come; the log would begin with it here ... */
    uint64_t low;        /* ... but for this: lowest truncation in it, UINT64_MAX = none, ... */
    bool has_reset; /* ... or the index after the newest reset in it (then low counts from it) */
    bool started;   /* the header is durable */
    uint32_t sector_bytes;
    uint64_t max_index;     /* highest entry in it that is not truncated; 0 = none */
    struct disk_file *file; /* open for the active segment and the spares, else NULL */
};

/* One queued item. */
struct log_op {
    enum record_item_kind kind;
    uint16_t type;
    uint64_t index;
    uint64_t term;
    struct slice payload;
    struct log_append *req; /* called back when this op is durable; NULL for all but the last */
};

struct log {
    struct log_options options;
    struct disk *disk;

    /* Queue: a ring of operations, in order; the first `in_write` of them are in the record under
     * way and end with it, and head_done bytes of the first one's payload are durable already. */
    struct log_op *ops;
    size_t ops_cap; /* a power of two */
    size_t ops_head;
    size_t ops_len;
    size_t head_done;

    /* The record under way. */
    struct disk_req write_req;
    size_t in_write;
    size_t part_bytes; /* payload bytes of the op behind them that are in the record too */
    size_t write_bytes;
    uint64_t write_began_ns;
    uint64_t write_offset;
    uint32_t write_link;
    bool write_seals;
    bool writing;    /* composed and not yet durable */
    bool on_disk;    /* really handed to the disk: false while a full disk makes it wait */
    uint8_t *buffer; /* aligned to 4096, inside buffer_memory */
    void *buffer_memory;
    size_t buffer_bytes;
    size_t peak_bytes; /* largest write of late, for shrinking */

    /* Where the next record goes. */
    struct log_segment *active; /* last of segments; its header may still be to be written */
    uint64_t offset;            /* in it; 0 = header and record come next */
    uint64_t seq;               /* of the next record */
    uint32_t link;              /* of the last one */
    uint64_t prev_generation;   /* for the header of a segment that begins */
    struct list segments;
    struct list spares;

    uint64_t first_index;  /* counting what is queued */
    uint64_t next_index;   /* counting what is queued */
    uint64_t durable_next; /* next index after what is durable, for headers */
    uint64_t cut_index;
    uint64_t next_generation;
    uint64_t segment_bytes;

    /* In the background. */
    struct disk_req create_req;
    struct log_segment *creating; /* NULL = none */
    struct disk_req remove_req;
    bool removing;
    struct list doomed; /* segments being removed */
    struct list strays; /* segments to be removed: left over, of no use */
    bool full_create;
    bool full_write;
    bool told_full;
    unsigned ticks;

    bool dead;
    void (*drain_cb)(void *data);
    void *drain_data;
};

/* ---- log.c ------------------------------------------------------------------------------------
 */

/* Starts the next write if there is anything to write and a place for it. */
void log_kick(struct log *l);
/* The disk failed for good: tells options.fatal once, or aborts. */
void log_die(struct log *l, const char *why);
/* The write buffer, aligned, of at least `bytes` whole pages; false leaves the old one. */
bool log_buffer_resize(struct log *l, size_t bytes);
/* Ends the active segment, which need not be open, and makes the first spare the active one;
 * durable on return. For log_open: nothing is queued or under way. */
int log_seal_now(struct log *l);
/* The callback of write_req. */
void log_written(struct disk_req *req, int err);
/* Hands the composed record to the disk (again). */
void log_submit(struct log *l);
/* Room for more queued operations; false when out of memory. */
bool log_ops_reserve(struct log *l, size_t more);
struct log_op *log_op_at(const struct log *l, size_t i);

/* ---- log_space.c ------------------------------------------------------------------------------
 */

/* Prepares segments and removes unneeded ones, as far as nothing of that is under way. */
void log_space_work(struct log *l);
/* Takes the next prepared segment out of the list, NULL when there is none. */
struct log_segment *log_space_take(struct log *l);
/* Tells options.full when its state changed. */
void log_space_report(struct log *l);
/* Hands a write that a full disk refused to the disk again. */
void log_space_retry_write(struct log *l);
void log_space_tick(struct log *l);
/* Forgets what is in flight and frees all segments. */
void log_space_close(struct log *l);
/* First index as the remaining segments and the queue say. */
uint64_t log_space_first(const struct log *l);
struct log_segment *log_segment_new(uint64_t generation, uint64_t bytes, uint32_t sector_bytes);
void log_segment_free(struct log *l, struct log_segment *s); /* closes its file, too */
/* What the durable operation does to the indexes of the segments, of which it lies in the last. */
void log_segment_apply(struct list *segments, enum record_item_kind kind, uint64_t index);
#endif
