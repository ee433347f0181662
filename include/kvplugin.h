/* kvplugin.h - the plugin ABI of kvd and its manual. Needs libc only; C11 and C++.
 *
 * WHAT A PLUGIN IS. A shared object that kvd loads into its own process (`kvd --plugin ./x.so`) and
 * that exports one function, kvplugin_entry, made by KVP_PLUGIN. It is fully trusted: it shares
 * kvd's memory. It sees this header and nothing else of kvd; all calls go through the table
 * `struct kvp_host` that init receives. kvd's own Kubernetes parts live on the same table.
 *
 * LIFE.     init -> [ start(term) -> stop ]* -> fini         and reload any time between
 *   init    on every member, once. Reads its configuration, defines metrics, routes, objects and
 *           options, opens caches. When it has returned, the registries (metrics, http, objects)
 *           are closed. A failing init costs this plugin, never the member.
 *   start   this member leads: all entries of earlier terms are applied, and this plugin's new
 *           epoch is itself committed and applied. Gets a *term context*.
 *   stop    the term is over. Already when it is called everything of the term context has ended:
 *           timers and watches are gone, requests have called back. Free what is yours.
 *   reload  new configuration. May refuse with a sentence: the old one stays in force.
 *   fini    after the last callback. Free self, join threads of your own before returning.
 * With KVP_FOLLOW a plugin works on every member from init on, and leads besides.
 *
 * THREADS. All callbacks of one instance are serial; which thread runs them is the host's choice (a
 * lane: a thread of its own by default, the store loop in tests). So self needs no lock. Calls are
 * made from inside callbacks, except those marked "any thread". A callback must not block and
 * should return within 10 ms (init on a thread: a second): longer ones are logged by name. Heavy
 * work goes to `offload`.
 *
 * MEMORY. Bytes given to a callback live until it returns; `dup` keeps a copy. Bytes given to a
 * call are copied before it returns. Whoever allocated frees. Zero-initialise every argument struct
 * and set .size = sizeof: what is new in a later minor is then zero, which means "as before".
 * Structs that begin with `size` may grow at their end; all others are frozen in this major.
 *
 * OUTCOMES are three, never two: KVP_OK it happened; KVP_REFUSED it certainly did not happen, and
 * a reason says why; KVP_UNKNOWN it may have happened (leadership was lost or a deadline passed on
 * the way): read again and act on what is there.
 * A call returns 0 (accepted: its callback will run exactly once, later, never inside the call) or
 * a reason (refused: nothing happened, no callback will run). Reasons that every call may return:
 * KVP_INVALID, KVP_STOPPED, KVP_NO_MEMORY, KVP_BUSY, KVP_WRONG_THREAD; what to do stands at each.
 *
 * FENCING. A leader that was deposed may not know it yet, and its late writes could still be
 * carried to the new leader. So every write through a term context is stamped by the host with
 * (plugin, member, term, epoch); every member refuses a stamp older than the newest leadership of
 * that plugin: KVP_FENCED. Authors cannot forget it and need not think of it. For effects outside
 * the store, `leader` tells term and epoch.
 * The instance context (of init) reads and watches on every member; it writes only with KVP_FOLLOW,
 * unstamped: such writers compare (put_if, txn) instead of trusting a role.
 *
 * VERSIONS. A host loads plugins of its own major that need at most its minor. Inside a major the
 * table and sized structs only grow at their end. KVP_HAS(host, call) tells whether an optional
 * call is there. "1.N" at a call is the minor it came with; none means 1.0. */
#ifndef KVPLUGIN_H
#define KVPLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVP_ABI_MAJOR 1u
#define KVP_ABI_MINOR 0u
/* Lowest minor this plugin needs; define it before including to run on older hosts too, and then
 * ask KVP_HAS before each newer call. */
#ifndef KVP_NEED_MINOR
#define KVP_NEED_MINOR KVP_ABI_MINOR
#endif

#define KVP_HAS(host, call) \
    ((host)->size >= offsetof(struct kvp_host, call) + sizeof((host)->call) && (host)->call != NULL)

/* ---- shared types ------------------------------------------------------------------------------
 */

/* A run of bytes; keys and values may hold any byte, also NUL. Empty: len 0, data may be NULL. */
struct kvp_bytes {
    const void *data;
    size_t len;
};

/* The bytes of a C string, without its NUL. */
static inline struct kvp_bytes kvp_str(const char *text)
{
    struct kvp_bytes b;
    b.data = text;
    b.len = 0;
    while (text != NULL && text[b.len] != '\0') {
        b.len++;
    }
    return b;
}

static inline struct kvp_bytes kvp_bytes_of(const void *data, size_t len)
{
    struct kvp_bytes b;
    b.data = data;
    b.len = len;
    return b;
}

/* Outcomes (int32_t outcome). */
#define KVP_OK      0
#define KVP_REFUSED 1
#define KVP_UNKNOWN 2

/* Reasons (int32_t reason, and what calls return). Numbers never change their meaning. */
enum kvp_reason {
    KVP_REASON_NONE = 0,
    KVP_INVALID = 1,      /* an argument breaks the rule stated there: a bug of the caller */
    KVP_STOPPED = 2,      /* context, plugin or member is stopping: give up quietly */
    KVP_NO_MEMORY = 3,    /* try again later with backoff */
    KVP_BUSY = 4,         /* too much under way or not ready yet: try again with backoff */
    KVP_WRONG_THREAD = 5, /* not from inside a callback of this instance: use post */
    KVP_NOT_FOUND = 6,    /* no such key, lease, object or provider */
    KVP_CONFLICT = 7,     /* the compared revision or value is another one: read again */
    KVP_COMPACTED = 8,    /* that revision is gone: list again, go on from the answer's revision */
    KVP_FUTURE = 9,       /* that revision does not exist yet */
    KVP_FENCED = 10,      /* a newer leadership of this plugin exists: stop will follow */
    KVP_NOT_LEADER = 11,  /* writes of this plugin need a term context */
    KVP_TOO_LARGE = 12,   /* above --max-request-bytes or --max-txn-ops: split it */
    KVP_NO_SPACE = 13,    /* quota or disk: an operator must act; deletes still work */
    KVP_EXISTS = 14,      /* a lease, route, metric or provider of that name is there already */
    KVP_CANCELED = 15,    /* by the caller */
    KVP_TIMEOUT = 16,     /* no answer in time (a read: it did not happen) */
    KVP_UNAVAILABLE = 17, /* no leader or no quorum right now: try again with backoff */
    KVP_FORBIDDEN = 18,   /* the identity may not do that */
    KVP_UNSUPPORTED = 19, /* this host does not offer the call */
    KVP_INTERNAL = 20     /* disk error or damage: logged by the host; the member will stop */
};

/* Revisions count the store's changes; they never go back. mod_revision compares a row's state. */
struct kvp_row {
    struct kvp_bytes key;
    struct kvp_bytes value; /* empty with KVP_KEYS_ONLY */
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version; /* writes since it was created */
    int64_t lease;   /* 0 = none */
    uint64_t reserved[2];
};

/* What every asynchronous answer begins with. */
struct kvp_result {
    uint32_t size;
    int32_t outcome; /* KVP_OK, KVP_REFUSED, KVP_UNKNOWN */
    int32_t reason;  /* enum kvp_reason: why refused or unknown */
    int32_t reserved;
    /* OK: of the write, or the one read at. COMPACTED: the first one that is still there. */
    int64_t revision;
    int64_t count; /* del: keys deleted. lease_grant, lease_renew: granted or left seconds */
    int64_t lease; /* lease_grant: the id */
    const struct kvp_row *row; /* put_if and del_if refused with CONFLICT: the row now, NULL=none */
    const char *text;          /* a sentence for the log; "" when OK */
};
typedef void kvp_done_fn(void *data, const struct kvp_result *r);

struct kvp_pair {
    struct kvp_bytes name;
    struct kvp_bytes value;
};

/* A sentence for the operator: what failed, on what, what to do. Written by snprintf into text. */
struct kvp_errmsg {
    char text[512];
};

/* Made by the host, opaque here. */
struct kvp_host;
struct kvp_ctx;   /* an instance (init .. fini) or a term (start .. stop) */
struct kvp_txn;   /* being built */
struct kvp_watch; /* until unwatch, or `ended` */
struct kvp_timer; /* until it fired for the last time, or timer_cancel */
struct kvp_cache; /* these three: until closed, once; harmless when their context has ended */
struct kvp_queue;
struct kvp_controller;
struct kvp_item;     /* one key inside reconcile, until finished */
struct kvp_emit;     /* during an index callback */
struct kvp_listener; /* a port of this plugin's own */
struct kvp_http;     /* one request and its answer, until `closed` */
struct kvp_object;   /* one object request, at the caller */
struct kvp_call;     /* the same, at the provider */

/* ---- the descriptor ----------------------------------------------------------------------------
 */

/* Types of options, and what lies at `offset` of the configuration struct. */
enum kvp_option_type {
    KVP_OPT_BOOL = 1,     /* int32_t 0 or 1; written true or false */
    KVP_OPT_INT = 2,      /* int64_t */
    KVP_OPT_DURATION = 3, /* int64_t milliseconds; written 250ms, 5s, 1m30s, 2h */
    KVP_OPT_SIZE = 4,     /* int64_t bytes; written 512, 64KiB, 4MiB, 1GiB */
    KVP_OPT_STRING = 5    /* const char *, never NULL, owned by the host */
};
#define KVP_OPT_RELOADABLE                                                                      \
    1u                      /* may change by reload; others need a restart, the host sees to it \
                             */
#define KVP_OPT_REQUIRED 2u /* must be given */
#define KVP_OPT_SECRET   4u /* never shown or logged */

/* One row of the option table; the last row has name NULL. Options are given as
 * --plugin FILE,name=value,...; a value holds no comma. An unknown name is refused, with the
 * nearest known one in the sentence. */
struct kvp_option {
    const char *name; /* lower case, digits, '-' */
    uint32_t type;    /* enum kvp_option_type */
    uint32_t flags;
    size_t offset;
    const char *def;    /* as written by a user; NULL = zero or "" */
    int64_t min, max;   /* of numbers, durations, sizes; both 0 = no bounds */
    const char *values; /* STRING: allowed words, "a|b|c"; NULL = any */
    const char *help;   /* one sentence */
    uint64_t reserved[2];
};

#define KVP_FOLLOW                                                                \
    1u /* works on every member; may write unstamped through its instance context \
        */

#define KVP_LANE_THREAD 1u /* an own thread, named after the plugin: what 0 means, too */
#define KVP_LANE_LOOP   2u /* the store loop: for plugins that do next to nothing per callback */
/* Both: a thread, and what is certainly quick (requests, answers and events of at most 16 KiB, one
 * by one) on the store loop while the thread sleeps: waking it would cost more. For plugins whose
 * callbacks for those take well under a millisecond: one that does not come back stops the store
 * loop, and nobody is left to say so. */

struct kvp_plugin {
    uint32_t size;
    uint32_t abi_major;
    uint32_t abi_minor; /* lowest one needed */
    uint32_t flags;     /* KVP_FOLLOW */
    uint32_t lanes;     /* lanes it can run on, the host picks; 0 = KVP_LANE_THREAD */
    uint32_t reserved;
    const char *name;    /* unique in a process: lower case, digits, '-'; at most 48 bytes */
    const char *version; /* its own, for people */
    const char *about;   /* one sentence for `kvctl plugin list` */
    const struct kvp_option *options; /* NULL = none */
    size_t conf_size;                 /* sizeof the configuration struct the offsets are in */
    /* conf: zeroed and filled from the options; lives until fini, or until the reload that replaces
     * it has returned 0. NULL when conf_size is 0. 0, or any other value after writing e->text: the
     * plugin is not loaded and neither start nor fini is called, nor any callback of what init
     * began (offloaded work may run). Free what is yours, and leave *self alone. */
    int (*init)(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e);
    /* May be NULL. Other than 0: logged; stop follows, then start again with backoff. */
    int (*start)(void *self, struct kvp_ctx *term_ctx, uint64_t term);
    /* May be NULL. reason: NOT_LEADER (deposed), STOPPED (the process ends), CANCELED (an operator
     * disabled or reloads it), INTERNAL (`fail`). The term context answers KVP_STOPPED from before
     * this call on, and its pointer stays valid until fini. */
    void (*stop)(void *self, int32_t reason);
    /* May be NULL: then changes of options are refused. Other than 0, after writing e->text: the
     * old configuration stays. */
    int (*reload)(void *self, const void *conf, struct kvp_errmsg *e);
    void (*fini)(void *self); /* may be NULL */
};

#if defined(__GNUC__)
#define KVP_EXPORT __attribute__((visibility("default")))
#else
#define KVP_EXPORT
#endif
/* Plugins linked into a program instead of loaded need different entry names: -DKVP_ENTRY=... */
#ifndef KVP_ENTRY
#define KVP_ENTRY kvplugin_entry
#endif
/* The one symbol of a plugin. Called once per load, any thread; must not fail. */
KVP_EXPORT const struct kvp_plugin *KVP_ENTRY(void);

/* KVP_PLUGIN(.name = "hello", .version = "1.0", .init = hello_init, ...) at the end of the file.
 * Compile with -fvisibility=hidden and link with -Wl,-z,defs: pkg-config --cflags --libs kvplugin.
 * In C++ before C++20 write the function out instead. */
#define KVP_PLUGIN(...)                                  \
    KVP_EXPORT const struct kvp_plugin *KVP_ENTRY(void)  \
    {                                                    \
        static const struct kvp_plugin kvp_this = {      \
            .size = (uint32_t)sizeof(struct kvp_plugin), \
            .abi_major = KVP_ABI_MAJOR,                  \
            .abi_minor = KVP_NEED_MINOR,                 \
            __VA_ARGS__,                                 \
        };                                               \
        return &kvp_this;                                \
    }                                                    \
    struct kvp_plugin /* swallows the semicolon */

/* ---- read --------------------------------------------------------------------------------------
 * Reads see every write that was acknowledged before they were asked for (linearizable), and while
 * an event is being handled at least its revision. */

#define KVP_PREFIX       1u /* all keys that begin with key; end is ignored; empty key = all */
#define KVP_KEYS_ONLY    2u /* rows without values */
#define KVP_COUNT_ONLY   4u /* no rows, only total */
#define KVP_SERIALIZABLE 8u /* what this member has now: no quorum asked, may be old */

#define KVP_PAGE_ROWS_MAX 10000           /* rows of one answer; 1000 when limit is 0 */
#define KVP_PAGE_BYTES    (1024u * 1024u) /* keys and values of one answer, or one larger row */

struct kvp_range {
    uint32_t size;
    uint32_t flags;       /* KVP_PREFIX, ... */
    struct kvp_bytes key; /* not empty unless KVP_PREFIX */
    struct kvp_bytes end; /* first key not wanted; empty: only `key`; one 0 byte: to the last key */
    /* The next page: `next` of the answer, with revision = the answer's revision. */
    struct kvp_bytes from;
    int64_t revision; /* 0 = the newest */
    int64_t limit;    /* rows at most */
};

struct kvp_rows {
    uint32_t size;
    uint32_t more; /* 1: there are further rows, from `next` on */
    const struct kvp_row *rows;
    size_t count;
    int64_t total; /* keys in the whole range from `from` on; -1 = not known (with more) */
    struct kvp_bytes next;
};
typedef void kvp_rows_fn(void *data, const struct kvp_result *r, const struct kvp_rows *rows);

/* ---- write -------------------------------------------------------------------------------------
 * A write that was answered OK is on the disks of a majority. Refusals besides the common ones:
 * FENCED, NOT_LEADER, TOO_LARGE, NO_SPACE, NOT_FOUND (the lease). */

#define KVP_KEEP_LEASE 16u /* put: leave the row's lease as it is; the row must exist */

struct kvp_put {
    uint32_t size;
    uint32_t flags;
    struct kvp_bytes key; /* not empty */
    struct kvp_bytes value;
    int64_t lease; /* 0 = none: the row stays until deleted */
};

struct kvp_del {
    uint32_t size;
    uint32_t flags;       /* KVP_PREFIX */
    struct kvp_bytes key; /* not empty unless KVP_PREFIX */
    struct kvp_bytes end; /* as in kvp_range */
};

enum kvp_target { /* what of a row a transaction compares; a missing row has 0 and "" */
                  KVP_CMP_VERSION = 0,
                  KVP_CMP_CREATE_REVISION = 1,
                  KVP_CMP_MOD_REVISION = 2,
                  KVP_CMP_VALUE = 3, /* false for a missing row */
                  KVP_CMP_LEASE = 4
};
enum kvp_relation { KVP_EQUAL = 0, KVP_GREATER = 1, KVP_LESS = 2, KVP_NOT_EQUAL = 3 };

struct kvp_compare {
    uint32_t size;
    uint32_t flags;       /* KVP_PREFIX: must hold for all rows there */
    uint32_t target;      /* enum kvp_target */
    uint32_t relation;    /* enum kvp_relation: row RELATION number (or value) */
    struct kvp_bytes key; /* not empty */
    struct kvp_bytes end; /* as in kvp_range */
    int64_t number;
    struct kvp_bytes value;
};

#define KVP_THEN 0u /* done when all compares hold */
#define KVP_ELSE 1u /* done otherwise */

enum kvp_txn_op { KVP_OP_GET = 1, KVP_OP_PUT = 2, KVP_OP_DEL = 3 };
struct kvp_op_result {
    uint32_t op;   /* enum kvp_txn_op */
    uint32_t more; /* GET: further rows */
    int64_t count; /* GET: keys in the range; DEL: keys deleted */
    const struct kvp_row *rows;
    size_t row_count;
    uint64_t reserved[2];
};
struct kvp_txn_result {
    uint32_t size;
    uint32_t succeeded;              /* 1: THEN was done, 0: ELSE */
    const struct kvp_op_result *ops; /* one for each operation of that list, in order */
    size_t count;
};
typedef void kvp_txn_fn(void *data, const struct kvp_result *r, const struct kvp_txn_result *t);

/* ---- watch -------------------------------------------------------------------------------------
 */

#define KVP_PREV_KV   32u  /* events carry the row before */
#define KVP_NO_PUT    64u  /* only deletes */
#define KVP_NO_DELETE 128u /* only puts */
#define KVP_PROGRESS  256u /* a batch without events about every ten minutes without any */

enum kvp_event_type { KVP_EVENT_PUT = 0, KVP_EVENT_DELETE = 1 };
struct kvp_event {
    uint32_t type;      /* enum kvp_event_type */
    uint32_t has_prev;  /* 1: `prev` is set */
    struct kvp_row row; /* PUT: as written. DELETE: key and mod_revision, the deletion's */
    struct kvp_row prev;
    uint64_t reserved[2];
};

/* Events of one or more whole revisions, in order; a revision is never split over two batches. */
struct kvp_batch {
    uint32_t size;
    uint32_t reserved;
    int64_t revision; /* everything of this watch up to here has been given */
    const struct kvp_event *events;
    size_t count; /* 0 = progress */
};

struct kvp_watch_args {
    uint32_t size;
    uint32_t flags;
    struct kvp_bytes key, end; /* as in kvp_range */
    int64_t from_revision;     /* first revision wanted, of the past or future; 0 = from now on */
    void (*events)(void *data, const struct kvp_batch *batch);
    /* The watch is over, after this the handle is dead. REFUSED with COMPACTED: r->revision is the
     * first one that is still there: list, then watch from the list's revision + 1. STOPPED at the
     * end of the context. Not called after unwatch. */
    void (*ended)(void *data, const struct kvp_result *r);
    void *data;
};

/* ---- lease, role, time -------------------------------------------------------------------------
 */

#define KVP_DETACHED 1u /* outlives the context: nobody renews it but lease_renew */

struct kvp_lease_args {
    uint32_t size;
    uint32_t flags; /* KVP_DETACHED */
    int64_t ttl_s;  /* seconds; the server may raise it, the answer tells */
    int64_t id;     /* 0 = picked by the server */
    /* Once, when a lease that the host renews has expired or was revoked by others. May be NULL. */
    void (*lost)(void *data, int64_t id);
    void *data; /* of lost */
};

struct kvp_role {
    uint32_t size;
    uint32_t is_leader; /* that term may write now, as far as this member knows */
    uint64_t term;      /* of a term context; of an instance context: the present one, 0 = none */
    uint64_t epoch;     /* within the term; grows with each start; 0 of an instance context */
    uint64_t member;    /* this member's id */
};

struct kvp_timer_args {
    uint32_t size;
    uint32_t jitter_percent; /* each wait is longer by a random 0..this many percent; at most 100 */
    uint64_t after_ms;
    uint64_t repeat_ms; /* 0 = once */
    void (*fire)(void *data);
    void *data;
};

/* ---- cache -------------------------------------------------------------------------------------
 * The rows under a prefix, decoded, kept current in memory: list, then watch, list again when
 * compacted. All views inside one callback are of one revision. */

struct kvp_cached {
    uint32_t size;
    uint32_t reserved;
    struct kvp_bytes key;
    const void *object; /* of decode; owned by the cache */
    int64_t create_revision, mod_revision, version, lease;
};

/* One index: calls emit for each value this object is to be found under. */
struct kvp_index {
    const char *name;
    void (*values)(void *data, const struct kvp_cached *c, struct kvp_emit *emit);
    uint64_t reserved[2];
};

struct kvp_cache_args {
    uint32_t size;
    uint32_t flags; /* none yet */
    struct kvp_bytes prefix;
    /* Makes an object of a row (bytes live during the call). KVP_NO_MEMORY: read again a little
     * later. Any other than 0: the row is left out, counted and logged. NULL: the object is a
     * struct kvp_bytes with a copy of the value and a NUL behind it. */
    int (*decode)(void *data, const struct kvp_row *row, void **out_object);
    void (*release)(void *data, void *object); /* may be NULL */
    const struct kvp_index *indexes;
    size_t index_count;
    void *data; /* of decode, release, values */
};

/* Called after the cache has changed, so it answers as of the event. `before` is NULL when added,
 * `now` is NULL when removed. Each may be NULL. */
struct kvp_cache_handlers {
    uint32_t size;
    uint32_t reserved;
    void (*changed)(void *data, const struct kvp_cached *before, const struct kvp_cached *now);
    void (*synced)(void *data); /* once, when the first list is in, after `changed` for each row */
    void *data;
};
/* Return 0 to go on, anything else to stop. */
typedef int kvp_each_fn(void *data, const struct kvp_cached *c);

/* ---- queue -------------------------------------------------------------------------------------
 * Keys to be worked on. A key waits once however often it is added; a key in work is never given to
 * a second worker; added while in work it comes again after done. */

struct kvp_queue_args {
    uint32_t size;
    uint32_t parallel;     /* keys in work at once; 0 = 1 */
    uint64_t delay_min_ms; /* add_limited: first delay, doubled each time; 0 = 5 */
    uint64_t delay_max_ms; /* 0 = 1,000,000 */
    uint32_t rate_per_s;   /* add_limited, all keys together; 0 = 10 */
    uint32_t burst;        /* 0 = 100 */
    /* Work on key; call queue_done when through, now or later. */
    void (*work)(void *data, struct kvp_queue *q, struct kvp_bytes key);
    void *data;
};

/* ---- controller --------------------------------------------------------------------------------
 * A cache, a queue and workers: each changed key is reconciled until it is as it should be. Most
 * plugins need only this. */

/* What reconcile returns; a positive number: look again in so many milliseconds. */
#define KVP_DONE    ((int64_t)0)  /* as it should be; failures of this key are forgotten */
#define KVP_RETRY   ((int64_t)-1) /* failed: again with backoff */
#define KVP_PENDING ((int64_t)-2) /* an item_* call was made, or item_done will be */

struct kvp_controller_args {
    uint32_t size;
    uint32_t parallel; /* items in work at once; 0 = 1 */
    const char *name;  /* in logs and metrics; NULL = the plugin's */
    struct kvp_cache *cache;
    /* Makes the world match the row as the cache has it NOW (not as some event had it). Runs once
     * the cache is synced. */
    int64_t (*reconcile)(void *data, struct kvp_item *item, struct kvp_bytes key);
    /* Which keys to reconcile when this one changed: add them with controller_add. NULL: itself.
     * Each row is told once, with before NULL, when the term begins, and every resync_ms. */
    void (*changed)(void *data, struct kvp_controller *c, const struct kvp_cached *before,
                    const struct kvp_cached *now);
    uint64_t delay_min_ms, delay_max_ms; /* as in kvp_queue_args */
    uint32_t rate_per_s, burst;
    uint64_t resync_ms; /* reconcile every key this often; 0 = never */
    void *data;
};

/* ---- http --------------------------------------------------------------------------------------
 * HTTP/1.1 and HTTP/2 alike. Answers may stream for hours. The host writes Date, lengths and what
 * belongs to the connection; Content-Length of http_respond is taken as a promise. A route on kvd's
 * client port stands beside kvd's own and has its CORS rules and host whitelist; there HTTP/2
 * without TLS is for gRPC only, as in etcd. When the plugin ends, requests not yet answered get
 * 503, answers that began are broken off. */

struct kvp_identity {
    uint32_t size;
    uint32_t authenticated;         /* 0: nobody has shown who he is */
    struct kvp_bytes user;          /* client certificate: its common name */
    const struct kvp_bytes *groups; /* its organizations */
    size_t group_count;
    struct kvp_bytes uid;
    const struct kvp_pair *extra;
    size_t extra_count;
};

struct kvp_listen_args {
    uint32_t size;
    uint32_t flags;                     /* KVP_CLIENT_CERT_* */
    const char *address;                /* IP address or "localhost" */
    uint32_t port;                      /* 0 = any free one */
    uint32_t connections_max;           /* 0 = the host's default */
    struct kvp_bytes cert_pem, key_pem; /* both empty = plain HTTP */
    struct kvp_bytes client_ca_pem;     /* empty = no client certificates asked for */
    /* Once, when the member is ready: the port is open (why NULL), or could not be opened (why is
     * the sentence that is also in the log) and no request will come. May be NULL. */
    void (*opened)(void *data, struct kvp_listener *listener, const char *why);
    void *data; /* of opened */
};
#define KVP_CLIENT_CERT_REQUIRED 1u /* connections without a valid one are refused */

struct kvp_http_request {
    uint32_t size;
    uint32_t http_major; /* 1 or 2 */
    struct kvp_bytes method, path /* still percent-encoded */, query /* without '?' */;
    struct kvp_bytes authority;     /* host the client asked for */
    const struct kvp_pair *headers; /* names in lower case */
    size_t header_count;
    const struct kvp_identity *identity; /* of the connection; never NULL */
    struct kvp_bytes peer;               /* address:port */
    uint64_t deadline_ms;                /* on now_ms's clock; 0 = none */
};

struct kvp_route_args {
    uint32_t size;
    uint32_t body_bytes_max;       /* larger bodies are answered 413 by the host; 0 = 3 MiB */
    struct kvp_listener *listener; /* NULL = kvd's client port */
    const char *method;            /* "GET" (HEAD too); "*" = any */
    const char *pattern;           /* "/hello": exactly it; "/hello/" and below: "/hello/""*" */
    /* A request; r lives until it returns. Answer now or later. Required. */
    void (*begin)(void *data, struct kvp_http *x, const struct kvp_http_request *r);
    /* The body in pieces, last = 1 on the final one (which may be empty). NULL: thrown away. */
    void (*body)(void *data, struct kvp_http *x, struct kvp_bytes bytes, int last);
    void (*writable)(void *data, struct kvp_http *x); /* after http_write said KVP_BUSY */
    /* Exactly once for each begin: the whole answer is on its way (complete = 1), or client gone,
     * aborted, ended by the host (0). x is dead when it returns. Free what http_set_data holds. */
    void (*closed)(void *data, struct kvp_http *x, int complete);
    void *data;
};

/* ---- objects -----------------------------------------------------------------------------------
 * Kubernetes objects by group, version and resource. One plugin provides them (the API server), all
 * others ask: defaults, validation and access rules hold, and the provider's transaction carries
 * the asking context's stamp. No plugin writes another's keys. */

enum kvp_verb {
    KVP_VERB_GET = 1,
    KVP_VERB_LIST = 2,
    KVP_VERB_WATCH = 3,
    KVP_VERB_CREATE = 4, /* name: only with a subresource, else the object has it */
    KVP_VERB_UPDATE = 5,
    KVP_VERB_PATCH = 6,
    KVP_VERB_DELETE = 7, /* without a name: the collection, as query selects */
    KVP_VERB_BIND = 8    /* pods/binding: body names the node */
};

struct kvp_object_request {
    uint32_t size;
    uint32_t verb; /* enum kvp_verb */
    struct kvp_bytes group, version, resource, subresource;
    struct kvp_bytes space, name; /* namespace "" = cluster scope, or all of them for list, watch */
    struct kvp_bytes body;        /* create, update, patch, bind, delete options */
    struct kvp_bytes content_type; /* of body; PATCH: which kind of patch. Empty: JSON */
    struct kvp_bytes accept;       /* of the answer. Empty: JSON */
    struct kvp_bytes query;        /* further options as in a URL: labelSelector=...&limit=... */
    int64_t revision;              /* resourceVersion; 0 = none given */
};

struct kvp_object_answer {
    uint32_t size;
    int32_t status; /* as in HTTP: 200, 201, 404, 409, ...; body is a Status object above 399 */
    struct kvp_bytes content_type, body;
    int64_t revision; /* of the object or list */
};

struct kvp_object_args {
    uint32_t size;
    uint32_t reserved;
    struct kvp_object_request request;
    /* NULL = this plugin's own: user "kvd:plugin:NAME", group "kvd:plugins". */
    const struct kvp_identity *identity;
    /* Once. r: OK when the provider answered, whatever the status. WATCH: at the end. */
    void (*done)(void *data, const struct kvp_result *r, const struct kvp_object_answer *a);
    /* WATCH: one event: type "ADDED", "MODIFIED", "DELETED", "BOOKMARK" or "ERROR". */
    void (*event)(void *data, struct kvp_bytes type, struct kvp_bytes object, int64_t revision);
    void *data;
};

struct kvp_provide_args {
    uint32_t size;
    uint32_t reserved;
    struct kvp_bytes group, version, resource; /* each may be "*" */
    /* A request of another plugin; r lives until it returns. Answer now or later: call_answer. */
    void (*request)(void *data, struct kvp_call *c, const struct kvp_object_request *r,
                    const struct kvp_identity *identity);
    void (*writable)(void *data, struct kvp_call *c); /* WATCH: after call_event said KVP_BUSY */
    void (*canceled)(void *data, struct kvp_call *c); /* the asker is gone; c is dead after it */
    void *data;
};

/* ---- metrics, log, misc ------------------------------------------------------------------------
 */

enum kvp_metric_type { KVP_COUNTER = 1, KVP_GAUGE = 2, KVP_HISTOGRAM = 3 };
#define KVP_LABELS_MAX 4
#define KVP_SERIES_MAX 256 /* of one metric; further label values share the series "other" */
struct kvp_metric_args {
    uint32_t size;
    uint32_t type; /* enum kvp_metric_type */
    /* Shown as kvd_plugin_<plugin>_<name>. Names that begin with workqueue_ are taken: the host
     * measures queues and controllers. */
    const char *name;
    const char *help;                   /* one sentence */
    const char *labels[KVP_LABELS_MAX]; /* names; NULL = no more */
    const double *bounds; /* HISTOGRAM: upper bounds ascending; NULL = 1 ms * 2^k, k = 0..13 */
    size_t bound_count;   /* at most 24 */
};

enum kvp_level { KVP_DEBUG = 0, KVP_INFO = 1, KVP_WARN = 2, KVP_ERROR = 3 };
enum kvp_field_type {
    KVP_FIELD_STR = 1,
    KVP_FIELD_INT = 2,
    KVP_FIELD_UINT = 3,
    KVP_FIELD_DOUBLE = 4,
    KVP_FIELD_BYTES = 5 /* shown as text; control bytes are escaped */
};
struct kvp_field {
    const char *name;
    uint32_t type;
    uint32_t reserved;
    union {
        const char *str;
        int64_t i;
        uint64_t u;
        double d;
        struct kvp_bytes bytes;
    } v;
};
static inline struct kvp_field kvp_f_str(const char *name, const char *value)
{
    struct kvp_field f;
    f.name = name;
    f.type = KVP_FIELD_STR;
    f.reserved = 0;
    f.v.str = value;
    return f;
}
static inline struct kvp_field kvp_f_int(const char *name, int64_t value)
{
    struct kvp_field f;
    f.name = name;
    f.type = KVP_FIELD_INT;
    f.reserved = 0;
    f.v.i = value;
    return f;
}
static inline struct kvp_field kvp_f_bytes(const char *name, struct kvp_bytes value)
{
    struct kvp_field f;
    f.name = name;
    f.type = KVP_FIELD_BYTES;
    f.reserved = 0;
    f.v.bytes = value;
    return f;
}
#ifndef __cplusplus
/* At least one field: KVP_LOG(host, ctx, KVP_INFO, "stamped", kvp_f_bytes("key", key),
 * kvp_f_int("n", n)); */
#define KVP_LOG(host, ctx, level, event, ...)                                      \
    ((host)->log((ctx), (level), (event), (const struct kvp_field[]){__VA_ARGS__}, \
                 sizeof((const struct kvp_field[]){__VA_ARGS__}) / sizeof(struct kvp_field)))
#endif

#define KVP_EVENT_NORMAL  0u
#define KVP_EVENT_WARNING 1u
struct kvp_notice {
    uint32_t size;
    uint32_t severity;       /* KVP_EVENT_* */
    struct kvp_bytes object; /* what it is about: a key, or kind/namespace/name */
    const char *reason;      /* one CamelCase word */
    const char *text;        /* a sentence */
};

/* ---- the table ---------------------------------------------------------------------------------
 * Lives as long as the process. Unless said otherwise a call is made from inside a callback of the
 * instance, with either context, copies its arguments, and returns 0 or a reason (see the top).
 * Work begun through a context ends with it: its callbacks run with STOPPED (a write that was on
 * its way: UNKNOWN) before `stop` or `fini`, timers just go. */
struct kvp_host {
    uint32_t size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t reserved;
    const char *version; /* of kvd, for people */

    /* Read. get: one key; NOT_FOUND is not an error: OK with count 0. range: a page. Refused
     * through the callback: COMPACTED, FUTURE (revision), UNAVAILABLE, TIMEOUT: try again. */
    int (*get)(struct kvp_ctx *ctx, struct kvp_bytes key, kvp_rows_fn *cb, void *data);
    int (*range)(struct kvp_ctx *ctx, const struct kvp_range *r, kvp_rows_fn *cb, void *data);

    /* Write. put_if, del_if: only if the row's mod_revision is this one (0: if there is no row), or
     * else REFUSED with CONFLICT and the row as it is in r->row. del of nothing is OK, count 0. */
    int (*put)(struct kvp_ctx *ctx, const struct kvp_put *p, kvp_done_fn *cb, void *data);
    int (*put_if)(struct kvp_ctx *ctx, const struct kvp_put *p, int64_t mod_revision,
                  kvp_done_fn *cb, void *data);
    int (*del)(struct kvp_ctx *ctx, const struct kvp_del *d, kvp_done_fn *cb, void *data);
    int (*del_if)(struct kvp_ctx *ctx, struct kvp_bytes key, int64_t mod_revision, kvp_done_fn *cb,
                  void *data);

    /* Transactions: made, filled, committed; all or nothing. txn_new: NULL = out of memory or
     * stopped. The fillers may fail with INVALID, NO_MEMORY, TOO_LARGE; so does then the commit.
     * txn_commit consumes txn whatever it returns; txn_free drops one that is not wanted. A key may
     * be put once per list. Without put and del it is a read and needs no leadership. */
    struct kvp_txn *(*txn_new)(struct kvp_ctx *ctx);
    int (*txn_compare)(struct kvp_txn *txn, const struct kvp_compare *c);
    int (*txn_put)(struct kvp_txn *txn, uint32_t list, const struct kvp_put *p);
    int (*txn_del)(struct kvp_txn *txn, uint32_t list, const struct kvp_del *d);
    int (*txn_get)(struct kvp_txn *txn, uint32_t list, const struct kvp_range *r);
    int (*txn_commit)(struct kvp_txn *txn, kvp_txn_fn *cb, void *data);
    void (*txn_free)(struct kvp_txn *txn);

    /* Watch. A slow plugin is not disconnected: the host holds a bounded amount of events and reads
     * the rest from the store later. unwatch: no callback of it runs after that; also from inside
     * `events`. */
    int (*watch)(struct kvp_ctx *ctx, const struct kvp_watch_args *a, struct kvp_watch **out);
    void (*unwatch)(struct kvp_watch *w);

    /* Lease. Rows put with a lease go when it ends. The host renews a lease of a context while the
     * context lasts, then lets it expire. EXISTS: the id is taken. lease_renew is for detached
     * ones; NOT_FOUND: it has expired. Revoking deletes its rows at once. */
    int (*lease_grant)(struct kvp_ctx *ctx, const struct kvp_lease_args *a, kvp_done_fn *cb,
                       void *data);
    int (*lease_renew)(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data);
    int (*lease_revoke)(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data);

    /* Role. Set out->size first. A hint: only the stamp decides. */
    int (*leader)(struct kvp_ctx *ctx, struct kvp_role *out);

    /* Time and chance: use these only, then tests can run on a clock and dice of their own. now_ms:
     * monotonic. wall_us: microseconds since 1970. Both: any thread. timer: out may be NULL.
     * timer_cancel: it will not fire; also from inside fire. */
    uint64_t (*now_ms)(struct kvp_ctx *ctx);
    uint64_t (*wall_us)(struct kvp_ctx *ctx);
    void (*random)(struct kvp_ctx *ctx, void *out, size_t len);
    int (*timer)(struct kvp_ctx *ctx, const struct kvp_timer_args *a, struct kvp_timer **out);
    void (*timer_cancel)(struct kvp_timer *t);

    /* Cache. Opened in init it is filled on every member (a new leader finds it warm), opened in
     * start it lives for the term. cache_get: NOT_FOUND; fills out (set out->size). cache_each:
     * all, in key order. cache_by_index: BUSY while not synced. cache_on: handlers, before the
     * first list is in, at best where it is opened; INVALID later; any number. cache_revision: what
     * it shows; 0 before the first list. index_emit: only inside `values`. */
    int (*cache_open)(struct kvp_ctx *ctx, const struct kvp_cache_args *a, struct kvp_cache **out);
    int (*cache_on)(struct kvp_cache *c, const struct kvp_cache_handlers *h);
    int (*cache_get)(struct kvp_cache *c, struct kvp_bytes key, struct kvp_cached *out);
    int (*cache_each)(struct kvp_cache *c, kvp_each_fn *each, void *data);
    int (*cache_by_index)(struct kvp_cache *c, size_t index, struct kvp_bytes value,
                          kvp_each_fn *each, void *data);
    int (*cache_synced)(struct kvp_cache *c); /* 1 or 0 */
    int64_t (*cache_revision)(struct kvp_cache *c);
    size_t (*cache_len)(struct kvp_cache *c);
    void (*cache_close)(struct kvp_cache *c);
    void (*index_emit)(struct kvp_emit *emit, struct kvp_bytes value);

    /* Queue. queue_add: now. queue_add_after: in ms. queue_add_limited: after the key's backoff and
     * when the bucket of all keys allows. queue_forget: the key's backoff starts anew.
     * queue_done: a worker is through with key. queue_len: keys waiting. */
    int (*queue_open)(struct kvp_ctx *ctx, const struct kvp_queue_args *a, struct kvp_queue **out);
    int (*queue_add)(struct kvp_queue *q, struct kvp_bytes key);
    int (*queue_add_after)(struct kvp_queue *q, struct kvp_bytes key, uint64_t ms);
    int (*queue_add_limited)(struct kvp_queue *q, struct kvp_bytes key);
    void (*queue_forget)(struct kvp_queue *q, struct kvp_bytes key);
    void (*queue_done)(struct kvp_queue *q, struct kvp_bytes key);
    size_t (*queue_len)(struct kvp_queue *q);
    void (*queue_close)(struct kvp_queue *q);

    /* Controller. `controller` in start, with the term context; ends with the term. The item_*
     * calls are writes whose outcome finishes the item: OK done; CONFLICT, UNKNOWN and all other
     * refusals: again with backoff. Use: `return host->item_put_if(item, &put, row.mod_revision);`
     * They return KVP_PENDING, always. item_txn consumes txn; an ELSE outcome means again with
     * backoff. item_done finishes an item for which reconcile returned KVP_PENDING, with what
     * reconcile could have returned; it may be called inside reconcile. */
    int (*controller)(struct kvp_ctx *ctx, const struct kvp_controller_args *a,
                      struct kvp_controller **out);
    int (*controller_add)(struct kvp_controller *c, struct kvp_bytes key);
    int (*controller_add_after)(struct kvp_controller *c, struct kvp_bytes key, uint64_t ms);
    void (*controller_close)(struct kvp_controller *c);
    int64_t (*item_put)(struct kvp_item *item, const struct kvp_put *p);
    int64_t (*item_put_if)(struct kvp_item *item, const struct kvp_put *p, int64_t mod_revision);
    int64_t (*item_txn)(struct kvp_item *item, struct kvp_txn *txn);
    void (*item_done)(struct kvp_item *item, int64_t result);

    /* HTTP. http_listen and http_route: in init only; EXISTS: address or pattern is taken. A bad
     * address, certificate or key: INVALID; e has the sentence, also for EXISTS. The port is known
     * at once, and opens when the member is ready to serve: `opened`. Then for each request:
     * http_respond once (INVALID: a header that is not one line), http_write as often as wanted,
     * http_finish. http_write takes all or nothing: KVP_BUSY = nothing, wait for `writable`; what
     * is offered when less than 64 KiB are queued is taken, up to 4 MiB (TOO_LARGE: split it).
     * http_finish: no more will be written; without http_respond before it the answer is 500.
     * http_abort resets the stream. http_pause: 1 stops `body` (the client is slowed down; that it
     * left may be seen only after it), 0 goes on. All of them answer STOPPED once the client is
     * gone; `closed` is on its way then. What a callback writes leaves when it returns.
     * http_certificate is at the table's end. */
    int (*http_listen)(struct kvp_ctx *ctx, const struct kvp_listen_args *a,
                       struct kvp_listener **out, uint32_t *out_port, struct kvp_errmsg *e);
    int (*http_route)(struct kvp_ctx *ctx, const struct kvp_route_args *a);
    void (*http_set_data)(struct kvp_http *x, void *data);
    void *(*http_data)(struct kvp_http *x);
    int (*http_respond)(struct kvp_http *x, uint32_t status, const struct kvp_pair *headers,
                        size_t count);
    int (*http_write)(struct kvp_http *x, struct kvp_bytes bytes);
    int (*http_finish)(struct kvp_http *x);
    void (*http_abort)(struct kvp_http *x);
    void (*http_pause)(struct kvp_http *x, int pause);

    /* Objects. object: refused through done with NOT_FOUND when nobody provides that resource, with
     * UNAVAILABLE when the provider ends; what might have changed something is then UNKNOWN, also
     * with STOPPED. Any member's provider is the one in the same process. object_cancel: no
     * callback runs after it; out may be NULL when it is never canceled. provide: in init only;
     * EXISTS: somebody provides exactly that. Of several that match, the one with most names that
     * are not "*" is asked, resource before group before version. call_answer: once; ends the call,
     * also a watch; c is dead after it. call_event: KVP_BUSY = not taken, wait for `writable`.
     * call_ctx: a context for this call's own reads and writes: reads see at least what the asker
     * has seen; writes carry the asker's stamp (without one: NOT_LEADER unless the asker has
     * KVP_FOLLOW). It ends with the call: then its requests are answered with STOPPED, and it may
     * not be used any more. A plugin may ask itself. */
    int (*object)(struct kvp_ctx *ctx, const struct kvp_object_args *a, struct kvp_object **out);
    void (*object_cancel)(struct kvp_object *o);
    int (*provide)(struct kvp_ctx *ctx, const struct kvp_provide_args *a);
    struct kvp_ctx *(*call_ctx)(struct kvp_call *c);
    int (*call_event)(struct kvp_call *c, struct kvp_bytes type, struct kvp_bytes object,
                      int64_t revision);
    int (*call_answer)(struct kvp_call *c, const struct kvp_object_answer *a);

    /* Auth: may this identity do that in the store's own roles? cb: OK or FORBIDDEN. verb: GET
     * (read) or UPDATE (write); end as in kvp_range. While the store has no users and roles (auth
     * off), everybody may do all. */
    int (*authorize)(struct kvp_ctx *ctx, const struct kvp_identity *identity, uint32_t verb,
                     struct kvp_bytes key, struct kvp_bytes end, kvp_done_fn *cb, void *data);

    /* Metrics. metric: in init only; *out_id is the series of a metric without labels.
     * metric_series: the series of these label values (one for each name), made when new; keep the
     * id. metric_add (COUNTER, GAUGE), metric_set (GAUGE), metric_observe (HISTOGRAM, in the unit
     * of its bounds): any thread, a few nanoseconds; a wrong id is ignored. */
    int (*metric)(struct kvp_ctx *ctx, const struct kvp_metric_args *a, uint32_t *out_id);
    int (*metric_series)(struct kvp_ctx *ctx, uint32_t id, const struct kvp_bytes *values,
                         size_t count, uint32_t *out_series);
    void (*metric_add)(struct kvp_ctx *ctx, uint32_t series, int64_t n);
    void (*metric_set)(struct kvp_ctx *ctx, uint32_t series, int64_t value);
    void (*metric_observe)(struct kvp_ctx *ctx, uint32_t series, double value);

    /* Log: one line; the host adds plugin and term. event is a constant short text, what varies
     * goes into fields (at most 24). log_enabled: 1 when level is shown. Any thread. */
    void (*log)(struct kvp_ctx *ctx, int level, const char *event, const struct kvp_field *fields,
                size_t count);
    int (*log_enabled)(struct kvp_ctx *ctx, int level);
    /* Something operators should see; the same object and reason is told once, then counted. */
    int (*notice)(struct kvp_ctx *ctx, const struct kvp_notice *n);

    /* Work. post: fn(data) in a callback of its own, in order, any thread; STOPPED: it will not
     * run. At the end of the context all posts accepted have run. offload: work(data) on a pool
     * thread, where only post, log, metrics and memory calls may be made, then done(data, canceled)
     * in a callback; canceled = 1: the context ended before work began, it did not run. The context
     * does not end while work runs. fail: stop this instance's term, start it again with backoff
     * (1 s doubled to 5 min); why is logged. Between terms
     * it is only logged. */
    int (*post)(struct kvp_ctx *ctx, void (*fn)(void *data), void *data);
    int (*offload)(struct kvp_ctx *ctx, void (*work)(void *data),
                   void (*done)(void *data, int canceled), void *data);
    void (*fail)(struct kvp_ctx *ctx, const char *why);

    /* Memory, counted per plugin. Any thread. alloc, dup: NULL = out of memory; dup copies and puts
     * a NUL behind. release: NULL is fine. */
    void *(*alloc)(struct kvp_ctx *ctx, size_t size);
    void *(*dup)(struct kvp_ctx *ctx, struct kvp_bytes bytes);
    void (*release)(struct kvp_ctx *ctx, void *memory);

    /* HTTP, while it runs: another certificate and key, and whom to trust (client_ca_pem empty: no
     * client certificates), for connections that come from now on; e may be NULL. INVALID with the
     * sentence: the old ones stay. Only for a listener that was made with a certificate. */
    int (*http_certificate)(struct kvp_listener *listener, struct kvp_bytes cert_pem,
                            struct kvp_bytes key_pem, struct kvp_bytes client_ca_pem,
                            struct kvp_errmsg *e);

    /* The member's data directory, for files that belong to this machine and not into the store
     * (keys, certificates): keep to files and folders of names of your own. Lives as long as the
     * process. Never NULL; "" = this host has none. Any thread. */
    const char *(*data_dir)(struct kvp_ctx *ctx);
};

#ifdef __cplusplus
}
#endif

#endif
