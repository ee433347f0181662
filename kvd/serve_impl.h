/* serve_impl.h - struct serve and its parts. Private to kvd/serve and its files. */
#ifndef KVD_KVD_SERVE_IMPL_H
#define KVD_KVD_SERVE_IMPL_H

#include "base/limits.h"
#include "base/list.h"
#include "kvd/auto_compact.h"
#include "kvd/checkpointer.h"
#include "kvd/serve.h"
#include "rpc/pool.h"
#include "rpc/timer.h"

/* ---- writes: proposals.c -----------------------------------------------------------------------
 */

#define PROPOSALS_SLOTS 8192u /* a power of two above PROPOSALS_PENDING_MAX */

/* Lies in service_write.impl. */
struct proposal {
    struct service_write *chain; /* same slot */
    struct list link;            /* oldest first */
    uint64_t start_ms;
    uint64_t bytes;
    enum service_op op;
};
_Static_assert(sizeof(struct proposal) <= sizeof(((struct service_write *)0)->impl),
               "a proposal fits its request");

struct proposals {
    struct service_write *slots[PROPOSALS_SLOTS];
    struct list pending; /* struct proposal, oldest first */
    struct list refused; /* struct proposal: no space, to be told behind the alarm */
    size_t count;
    uint64_t bytes; /* of the requests waiting for a result */
    uint64_t next;  /* number of the next proposal */
    struct buf ops; /* this turn's, not yet handed to raft */
    uint64_t first; /* number of the first one in ops */
    struct rpc_timer expiry;
};

/* ---- committed entries: applier.c --------------------------------------------------------------
 */

struct applier {
    bool delivered; /* raft has something for us */
    bool applying;  /* an entry is inside kv_apply_* and takes more turns */
    uint64_t index; /* of it */
    size_t bytes;
    uint64_t started_ns;
    uint64_t until_ns;   /* end of this turn's budget */
    uint64_t last_index; /* newest committed one known here */
};

/* ---- reads: reads.c, read_stream.c --------------------------------------------------------------
 */

enum read_kind { READ_RANGE, READ_TXN, READ_CONFIRM };

/* Lies in service_read.impl. */
struct read {
    struct list link;         /* its round's reads, then reads.running */
    struct read_round *round; /* NULL: needs no confirmation, or is open already */
    size_t offset;            /* of the request in the round's bytes */
    size_t len;
    struct kv_range *range; /* NULL until its first slice */
    enum read_kind kind;
};
_Static_assert(sizeof(struct read) <= sizeof(((struct service_read *)0)->impl),
               "a read fits its request");

/* Lies in service_stream.impl. */
struct read_stream {
    struct list link; /* its round's streams, then reads.streams or, without room, reads.paused */
    struct read_round *round; /* while it waits */
    struct kv_range *range;   /* NULL until its first slice */
    uint8_t *request;         /* own copy until the range is open */
    size_t len;
    bool first; /* the next chunk is the first */
    bool *gone; /* inside its chunk callback: set when it is canceled there */
    uint64_t progress_ms;
};
_Static_assert(sizeof(struct read_stream) <= sizeof(((struct service_stream *)0)->impl),
               "a stream fits its request");

/* Reads of one loop turn that share a confirmation. */
struct read_round {
    struct list link;  /* reads.rounds, oldest first */
    struct list reads; /* waiting for the index */
    struct list streams;
    struct buf bytes; /* requests */
    uint64_t ticket;  /* of the confirmation under way; 0 = to be asked (again) */
    uint64_t index;
    uint64_t start_ms;
    size_t users; /* reads and streams whose `round` this is */
    bool confirmed;
};

struct reads {
    struct read_round *open;  /* this turn's; NULL = none yet */
    struct read_round *spare; /* an old one, to be used again */
    struct list rounds;       /* sent, oldest first */
    struct list running;      /* struct read, round robin */
    struct list streams;      /* struct read_stream with room, round robin */
    struct list paused;       /* struct read_stream without */
    struct list exports;      /* struct read_export: large answers being produced */
    uint64_t next_ticket;
    struct rpc_timer tick; /* while anything waits: timeouts, repeated questions, age of views */
    struct buf scratch;
};

/* ---- leases: leases.c --------------------------------------------------------------------------
 */

/* Lies in service_write.impl; its service_write.number is 0, unlike a proposal's. */
struct keep_alive {
    struct list link; /* leases.waiting */
    int64_t id;
    int64_t *ttl;
    int64_t revision;
    uint64_t start_ms;
};
_Static_assert(sizeof(struct keep_alive) <= sizeof(((struct service_write *)0)->impl),
               "a renewal fits its request");

struct leases {
    struct rpc_timer tick;
    uint64_t last_tick_ms; /* 0 = not ticking */
    struct list waiting;   /* struct keep_alive: for a leader, a confirmation or a revoke */
    uint64_t ticket;       /* of the confirmation under way, 0 = none */
    bool stale;            /* the loop stood still: confirm before renewing (L-06) */
};

/* A write of our own: its struct is ours. */
struct own_write {
    struct service_write write;
    struct serve *serve;
    void (*done)(struct serve *s, struct own_write *w, int err);
    int64_t id;
};

/* ---- jobs: jobs.c ------------------------------------------------------------------------------
 */

struct jobs {
    struct list compactions; /* physical ones waiting for the disk */
    struct list hashes;      /* HashKV in slices, round robin */
    struct list defragments; /* waiting for the checkpoint thread */
    int64_t compacted;       /* compact_done as told last */
};

/* ---- live keys, for metrics: key_count.c --------------------------------------------------------
 */

struct key_count {
    struct kv_range *range; /* counting, in slices */
    bool known;
    int64_t counted;   /* at the moment the range saw */
    int64_t live_then; /* kv_counts.live then */
};

/* ---- alarms of our own: guard.c ----------------------------------------------------------------
 */

struct guard {
    bool log_full;           /* the log's disk */
    bool checkpoint_full;    /* LMDB's disk */
    bool space_low;          /* what is in memory would hardly fit */
    size_t looked_bytes;     /* store_unsaved_bytes() at the last look at the disk */
    struct own_write *alarm; /* raising or clearing under way */
    uint64_t not_before_ms;  /* after an attempt failed */
    struct rpc_timer tick;   /* while the alarm is on, or should be */
};

struct serve {
    struct service service;
    struct serve_options o;
    struct kv *kv;
    struct pool pool;
    struct timers timers;
    uv_check_t check;
    uv_prepare_t prepare;
    uv_idle_t idle;
    int handles; /* still open */
    bool turning;

    struct proposals proposals;
    struct applier applier;
    struct reads reads;
    struct leases leases;
    struct jobs jobs;
    struct guard guard;
    struct key_count key_count;
    uint64_t ranges; /* reads served outside apply, for metrics */
    struct checkpointer *checkpointer;
    struct auto_compact auto_compact;
    struct rpc_timer auto_compact_timer;
    struct rpc_timer seal_timer; /* set while something applied is in no sealed memtable */
    uint64_t sealed_index;       /* applied index of the newest seal */
    bool watch_work;             /* watchers catch up */
    bool seal_wanted;            /* whatever the memtable's size */
    bool dirty;                  /* the next turn has something to do */

    enum serve_role role;
    uint64_t term;
    uint64_t leader;
    uint64_t elected_ms;  /* when the present leader became known */
    uint64_t ready_index; /* of the barrier; 0 = not leader yet */
    bool ready;           /* said so */
    bool primary;         /* the lessor was promoted */
    bool primary_told;    /* options.role */
    uint64_t term_told;
    bool stopping;
    int64_t compact_seen; /* compaction floor the checkpoint thread was woken for */
    uint64_t durable_told;

    void (*closed)(void *data);
    void *closed_data;
};

static inline struct serve *serve_of(struct service *service)
{
    return service->impl;
}
static inline uint64_t serve_now(const struct serve *s)
{
    return uv_now(s->o.loop);
}
/* The next turn has something to do. Turns come after every round of callbacks, so no call of it
 * needs more than the flag. */
static inline void serve_wake(struct serve *s)
{
    s->dirty = true;
}

/* proposals.c */
void proposals_init(struct serve *s);
void proposals_close(struct serve *s);
void proposals_propose(struct service *service, struct service_write *w, enum service_op op,
                       struct slice request);
/* stamp may be NULL. */
void proposals_propose_as(struct service *service, struct service_write *w, enum service_op op,
                          struct slice request, const struct service_stamp *stamp);
void proposals_cancel(struct service *service, struct service_write *w);
void proposals_result(void *data, uint64_t number, int err, int64_t revision, struct slice body);
/* Hands this turn's operations to raft. */
void proposals_flush(struct serve *s);
void proposals_dropped(struct serve *s, uint64_t first, uint64_t last, int err);
/* A write of our own: w->done is called once, unless the process ends. false = out of memory. */
bool proposals_own(struct serve *s, enum service_op op, struct slice request, int64_t id,
                   void (*done)(struct serve *s, struct own_write *w, int err),
                   struct own_write **out);

/* applier.c */
void applier_init(struct serve *s);
/* Applies for about budget_ns. true = more could be done. */
bool applier_step(struct serve *s, uint64_t budget_ns);

/* reads.c */
void reads_init(struct serve *s);
void reads_close(struct serve *s);
void reads_range(struct service *service, struct service_read *r, struct slice request,
                 bool serializable);
void reads_txn(struct service *service, struct service_read *r, struct slice request,
               bool serializable);
void reads_confirm(struct service *service, struct service_read *r);
void reads_cancel(struct service *service, struct service_read *r);
void reads_confirmed(struct serve *s, uint64_t ticket, int err, uint64_t index);
/* The round of this turn, made if need be; NULL = out of memory. */
struct read_round *reads_round(struct serve *s);
/* A linearizable read may look at what is applied, now. */
bool reads_at_once(struct serve *s);
/* One user less. */
void reads_round_leave(struct serve *s, struct read_round *round);
/* Questions that found no leader are asked again. */
void reads_retry(struct serve *s);
/* Starts what the applied index allows. */
void reads_advance(struct serve *s);
/* Slices until the time is over, at least one. true = more could be done. */
bool reads_step(struct serve *s, uint64_t until_ns);
/* Sends this turn's confirmation. */
void reads_flush(struct serve *s);
/* Something waits: the tick is needed. */
void reads_arm(struct serve *s);
/* read_stream.c */
void read_stream_open(struct service *service, struct service_stream *st, struct slice request,
                      bool serializable);
void read_stream_resume(struct service *service, struct service_stream *st);
void read_stream_cancel(struct service *service, struct service_stream *st);
/* Ends it with an error; its link is in no list any more when the callback runs. */
void read_stream_fail(struct serve *s, struct read_stream *rs, int err);
bool read_streams_step(struct serve *s, uint64_t until_ns);
/* Views of streams that a client left standing are given up. */
void read_streams_expire(struct serve *s, uint64_t now_ms);
static inline struct read *read_of(struct service_read *r)
{
    return (struct read *)(void *)r->impl;
}
static inline struct read_stream *read_stream_of(struct service_stream *st)
{
    return (struct read_stream *)(void *)st->impl;
}

/* leases.c */
void leases_init(struct serve *s);
void leases_close(struct serve *s);
void leases_grant(struct service *service, struct service_write *w, int64_t id, int64_t ttl);
void leases_grant_as(struct service *service, struct service_write *w, int64_t id, int64_t ttl,
                     const struct service_stamp *stamp);
void leases_keep_alive(struct service *service, struct service_write *w, int64_t id, int64_t *ttl);
bool leases_cancel(struct serve *s, struct service_write *w);
bool leases_time_to_live(struct service *service, int64_t id, struct service_lease *out,
                         void (*key)(void *data, struct slice key), void *data);
void leases_list(struct service *service, void (*lease)(void *data, int64_t id), void *data);
/* Leadership came or went; something was applied. */
void leases_role(struct serve *s);
void leases_applied(struct serve *s);
bool leases_confirmed(struct serve *s, uint64_t ticket, int err);

/* jobs.c */
void jobs_init(struct serve *s);
void jobs_close(struct serve *s);
void jobs_compact(struct service *service, struct service_job *j, int64_t revision, bool physical);
void jobs_hash(struct service *service, struct service_job *j);
void jobs_hash_kv(struct service *service, struct service_job *j, int64_t revision);
void jobs_defragment(struct service *service, struct service_job *j);
void jobs_cancel(struct service *service, struct service_job *j);
bool jobs_step(struct serve *s);
/* The checkpoint thread reported progress. */
void jobs_compacted(struct serve *s, int64_t done);
void jobs_defragmented(struct serve *s, int err);

/* key_count.c */
/* Live keys now; false = not known yet, being counted. */
bool key_count_now(struct serve *s, int64_t *keys);
/* One slice. true = more to do. */
bool key_count_step(struct serve *s);
void key_count_close(struct serve *s);

/* guard.c */
void guard_init(struct serve *s);
void guard_close(struct serve *s);
/* May this write be proposed now? 0 or the error; raises the alarm by itself. */
int guard_check(struct serve *s, enum service_op op, struct slice request);
void guard_applied(struct serve *s);
void guard_disk(struct serve *s, bool *which, bool is_full);

/* maintain.c: seals, progress of the checkpoint thread, automatic compaction */
bool maintain_init(struct serve *s, struct errmsg *e);
void maintain_close(struct serve *s);
void maintain_role(struct serve *s);
/* Between entries: seals if it is time. */
void maintain_turn(struct serve *s);

#endif
