/* host_impl.h - the parts of the plugin host. Private to plugins/host.
 *
 * Two sides. *Home* is the store loop: it alone touches struct service, and the fields marked
 * "home". The *lane* is where an instance's callbacks run: it alone touches the fields marked
 * "lane". A struct travels between them as a message and belongs to the side it was posted to. What
 * both read is constant after the start, or atomic. */
#ifndef KVD_PLUGINS_HOST_HOST_IMPL_H
#define KVD_PLUGINS_HOST_HOST_IMPL_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/hashmap.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/slice.h"
#include "plugins/host/crumb.h"
#include "plugins/host/host.h"
#include "plugins/host/lane.h"
#include "plugins/host/meter.h"
#include "plugins/host/metrics.h"
#include "plugins/host/notice.h"
#include "plugins/host/times.h"
#include "rpc/router.h"

#define HOST_PATH_MAX 4096u

#ifdef KVD_DEBUG
#define HOST_BUG(bit) ((host_bugs & (bit)) != 0)
#else
#define HOST_BUG(bit) false
#endif

struct change;
struct instance;
struct loaded;
struct plugin;
struct scope;
struct request;

/* ---- contexts: ctx.c ---------------------------------------------------------------------------
 */

/* Something of a context that ends with it and is not a request: caches, queues, controllers, http
 * routes. `end` runs on the lane before the context's watches and timers go; it must leave nothing
 * that calls back. Remove it from the list when it goes earlier. */
struct ctx_part {
    struct list link; /* kvp_ctx.parts */
    void (*end)(struct ctx_part *part);
};

struct kvp_ctx {
    struct instance *instance;
    bool is_term;
    bool is_call;                    /* of an object call: there is little to end */
    const struct kvp_plugin *writer; /* whose KVP_FOLLOW lets it write without a stamp */
    struct service_stamp stamp;      /* of a term */
    struct list link;                /* instance.terms (lane) */
    atomic_bool closed;              /* calls are refused; set by home, first of all */

    /* lane */
    struct list requests;
    struct list watches;
    struct list timers;
    struct list parts;
    bool silent;                        /* ctx_silence */
    struct scope *scope;                /* parts.c: NULL = no cache, queue or controller yet */
    int32_t reason;                     /* of the end */
    void (*ended)(struct kvp_ctx *ctx); /* lane: nothing of it is left */
    struct lane_msg end;                /* home -> lane: end it */
    struct lane_msg drain;              /* lane -> home: no more requests will come */
    struct lane_msg drained;            /* home -> lane: all of them have been answered */

    /* any thread */
    pthread_mutex_t post_lock; /* guards the two below */
    bool post_closed;
    size_t posts;

    /* home */
    struct list home_requests;
    struct list home_watches;
    struct list home_leases;
    size_t home_holds; /* calls of objects it answers, until they are gone */
    bool home_ending;
    bool home_drain; /* the drain message came */
};

/* In place; false = out of memory. */
void ctx_init(struct kvp_ctx *ctx, struct instance *instance, const struct service_stamp *stamp);
void ctx_close(struct kvp_ctx *ctx);
/* Home: refuses further calls, cancels what is under way, and lets the lane end the rest; then
 * `ended` runs there. Once. */
void ctx_end(struct kvp_ctx *ctx, int32_t reason, void (*ended)(struct kvp_ctx *ctx));
/* Lane: an init that failed has freed what its callbacks would be given, so none of them comes:
 * parts, watches and timers go, requests and posts end without a word. ctx_end still follows. */
void ctx_silence(struct kvp_ctx *ctx);
/* Home: a request or watch of an ending context went: is it empty now? */
void ctx_home_check(struct kvp_ctx *ctx);
/* Lane, for calls: 0, or INVALID, WRONG_THREAD, STOPPED. */
int ctx_check(const struct kvp_ctx *ctx);
/* The same for writes: also NOT_LEADER. */
int ctx_check_write(const struct kvp_ctx *ctx);

/* ---- instances: instance.c ---------------------------------------------------------------------
 */

enum instance_step { STEP_INIT, STEP_START, STEP_RELOAD, STEP_STOP, STEP_FINI };

struct instance {
    struct plugin *plugin;
    struct plugin_host *host;
    const struct kvp_plugin *descriptor;
    char name[PLUGIN_NAME_BYTES_MAX + 1];
    struct lane lane;
    void *conf;
    struct kvp_ctx root;
    struct metric_set metrics;
    struct meter_set meters;
    struct crumb *crumb; /* its place in the page; never NULL */

    /* lane */
    void *self;
    bool inited;
    bool frozen; /* init is over: no more registrations */
    struct notice_set notices;
    struct kvp_ctx *term; /* between start and stop, or NULL */
    struct list web_said; /* exchanges with something to say, until the callback returns */

    /* lane in init, home from then on */
    struct list web_routes;
    size_t web_route_count;
    struct list web_listeners;
    size_t web_listener_count;

    /* home */
    struct list terms;         /* also past ones: their pointers stay valid until fini */
    struct kvp_ctx *home_term; /* the newest one; NULL: it could not be made */
    struct list web_exchanges; /* not ended yet */
    size_t web_exchange_count;
    bool web_serving;       /* init is through: its routes are in the routers */
    struct list calls;      /* of objects, that it answers and that have not ended */
    bool providing;         /* init is through: it may be asked */
    uint64_t hang_since_ms; /* hang.c: of the callback looked at last */
    uint64_t hang_told_ms;  /* how long it was then; 0 = not told */

    /* goes back and forth: one step at a time */
    struct lane_msg step_msg;
    enum instance_step step;
    int step_err;
    struct kvp_errmsg step_why;

    /* any thread */
    atomic_size_t requests;
    atomic_size_t request_bytes;
    atomic_size_t memory_bytes;
    atomic_size_t allocations;
    atomic_size_t web_bytes;        /* of answers, queued between lane and home */
    _Atomic(const char *) callback; /* running now, or NULL */
    atomic_uint_fast64_t callback_since_ms;
    atomic_uint_fast64_t callbacks;
    atomic_uint_fast64_t callback_ns;
    atomic_uint_fast64_t callbacks_slow;
    atomic_int_fast64_t callback_revision;
    struct times times;   /* of callbacks */
    atomic_size_t writes; /* of requests */
    atomic_size_t watches;
    atomic_size_t timers;
    atomic_uint_fast64_t events; /* of watches, delivered */
    /* log.c */
    atomic_uint_fast64_t log_second; /* the one that log_lines counts in */
    atomic_uint log_lines;
    atomic_uint_fast64_t log_dropped; /* so far */
    atomic_uint_fast64_t log_told;    /* of them */
};

/* Home. 0 or an error with a sentence; then the lane runs and init is on its way. */
int instance_new(struct plugin *p, void *conf, struct instance **out, struct errmsg *e);
/* Home: runs a step on the lane; plugin_on_step hears of its end. START makes a term context with
 * this stamp; STOP ends it. */
void instance_run(struct instance *in, enum instance_step step, const struct service_stamp *stamp,
                  int32_t reason);
/* Home, after init: of a plugin that may run on both lanes the store loop does what is quick. */
void instance_lend(struct instance *in);
/* Home, after STEP_FINI: closes the lane and frees; cb(plugin) when done. */
void instance_close(struct instance *in, void (*cb)(void *data), void *data);

/* Every callback into a plugin stands between these two (lane). what: a literal. key and revision
 * go into the breadcrumb. */
void callback_enter(struct instance *in, const char *what, struct slice key, int64_t revision);
void callback_leave(struct instance *in);
/* The instance whose callback runs on this thread, or NULL. */
struct instance *callback_current(void);

/* ---- plugins: plugin.c -------------------------------------------------------------------------
 */

struct plugin {
    struct list link;
    struct plugin_host *host;
    char name[PLUGIN_NAME_BYTES_MAX + 1];
    char *path;
    char sha256[65];
    char why[ERRMSG_BYTES_MAX];
    const struct kvp_plugin *descriptor; /* NULL when refused */
    struct instance *instance;
    enum host_state state;
    bool busy; /* a step or the registration is under way */
    bool registering;
    void *new_conf; /* being reloaded */
    void (*reloaded)(void *data, int err, const char *why);
    void *reloaded_data;
    bool failed; /* `fail`, or start failed: wait for retry */
    bool quit;   /* ends for good */
    int32_t stop_reason;
    uint64_t term;  /* of the newest registration */
    uint64_t epoch; /* within it */
    struct lane_timer retry;
    uint64_t retry_ms;
    struct service_write registration;
    char *flag_options; /* behind the file in --plugin; settings.h */
    char *set_options;  /* set by reloads since */
    uint64_t since_ms;  /* wall clock: in its state */
    struct change *change;
};

/* "hello"; the file where there is no name. */
static inline const char *plugin_shown_name(const struct plugin *p)
{
    return p->name[0] != '\0' ? p->name : p->path;
}
void plugin_set_state(struct plugin *p, enum host_state state);
/* Takes opened code and starts it with these options (settings.h): init is on its way. Otherwise an
 * error with the sentence, also for a quarantined one (ERR_BUSY) and a disabled one (ERR_REFUSED),
 * whose state then says so. p has no instance. */
int plugin_install(struct plugin *p, const struct loaded *code, const char *options,
                   struct errmsg *e);
/* It does not run: HOST_REFUSED, unless it is quarantined or disabled. */
void plugin_refuse(struct plugin *p, const char *why);
/* An operator's word, remembered in the breadcrumb page. p has no instance. */
void plugin_disabled(struct plugin *p);
/* The word alone: p may still run, and is not loaded at the next start. */
void plugin_mark_disabled(struct plugin *p);
/* Lifts quarantine and disable. */
void plugin_lift(struct plugin *p);
/* The same as host_reload. */
int plugin_reload(struct plugin *p, const char *options,
                  void (*cb)(void *data, int err, const char *why), void *data, struct errmsg *e);

/* Moves p on as far as it can: registers, starts, stops, ends. */
void plugin_advance(struct plugin *p);
/* The same; a change of an operator hears when there is no step to take. */
void plugin_move(struct plugin *p);
void plugin_on_step(struct plugin *p);
/* Leadership changed or the host stops: a registration under way is of no use any more. */
void plugin_unregister(struct plugin *p);
/* `fail` of a context. */
void plugin_fail(struct plugin *p, uint64_t term, const char *why);
void plugin_free(struct plugin *p);

struct plugin_host {
    struct host_options o;
    char *data_dir;
    struct lane home;
    struct list plugins;
    size_t instances; /* not yet closed */
    bool leads;
    uint64_t term;
    bool stopping;
    struct lane_timer patience; /* of host_stop */
    struct lane_timer hang;     /* hang.c */
    void (*stopped)(void *data);
    void *stopped_data;
    struct crumb_page crumbs;
    struct plugin_admin admin;
    /* work.c (home) */
    struct list works; /* waiting for a pool thread */
    unsigned works_running;
    /* web_register.c, web_port.c */
    bool ready;       /* home: own ports may open */
    size_t web_ports; /* home: not yet closed */
    pthread_mutex_t registry_lock;
    struct http_router client_routes; /* any thread, locked: what the client port has already */
    struct list web_addresses;        /* any thread, locked: listeners of all plugins */
    struct list providers;            /* any thread, locked */
    struct lane_timer nudge;          /* home: some lane has messages that could wait */
};
/* Home: posts what can wait some milliseconds for the lane's next wake. */
void host_post_quietly(struct plugin_host *h, struct lane *l, struct lane_msg *m);
/* Home: an instance, or work that counted as one, is gone; h too when it was the last of a stop. */
void host_instance_gone(struct plugin_host *h);
/* Home: the directory for copies (HOST_PATH_MAX bytes), made when missing, with the breadcrumbs. */
int host_prepare(struct plugin_host *h, char *plugins_dir, struct errmsg *e);
bool host_is_static(const char *path);
/* Opens a file or a static plugin. Blocks on the disk. */
int host_open(const char *path, const char *plugins_dir, struct loaded *out, struct errmsg *e);
/* The running plugin of that name other than `but`. */
struct plugin *host_find(struct plugin_host *h, const char *name, const struct plugin *but);
/* Home: something the end of the host waits for is gone. */
void host_settle(struct plugin_host *h);

/* ---- requests: request.c -----------------------------------------------------------------------
 * lane: request_new, fill, request_submit -> home: start -> the service -> request_answer ->
 * lane: finish (calls the plugin) -> freed. Exactly once, whatever happens. */

struct request_kind {
    const char *name;                  /* of the callback, for logs */
    bool is_write;                     /* an unknown outcome is possible */
    bool is_slow;                      /* whatever its answer, `finish` is not quick (lane.h) */
    void (*start)(struct request *r);  /* home; may answer at once */
    void (*cancel)(struct request *r); /* home; after it no callback of the service comes */
    /* lane, inside callback_enter: tells the plugin. */
    void (*finish)(struct request *r, struct kvp_result *result);
};

struct request {
    struct lane_msg msg;
    struct list link;      /* kvp_ctx.requests (lane) */
    struct list home_link; /* kvp_ctx.home_requests (home) */
    struct kvp_ctx *ctx;
    const struct request_kind *kind;
    union {
        kvp_done_fn *done;
        kvp_rows_fn *rows;
        kvp_txn_fn *txn;
        void (*work)(void *data, int canceled);
    } cb;
    void *data;
    struct buf request; /* encoded for the service */
    struct buf body;    /* the answer */
    size_t counted_bytes;
    int err;
    bool unknown;
    int64_t revision;
    int64_t number; /* of the kind: lease id, ttl, compared revision, ... */
    int64_t number2;
    uint32_t op;
    bool flag;
    bool cut; /* the answer's body holds only its first rows */
    union {
        struct service_write write;
        struct service_read read;
        uv_work_t work;
    } u;
    void *extra;
};

/* NULL with *reason: out of memory, too many. */
struct request *request_new(struct kvp_ctx *ctx, const struct request_kind *kind, void *data,
                            int *reason);
/* Lane: 0, or a reason and r is freed. */
int request_submit(struct request *r);
void request_free(struct request *r); /* never submitted */
/* Home: the answer; body is copied (NULL data = none). r belongs to the lane after it. */
void request_answer(struct request *r, int err, int64_t revision, struct slice body);
/* Home: for kinds over service->propose. */
void request_propose(struct request *r, enum service_op op);
void request_cancel_write(struct request *r);
/* Home: cancels every request of the context: writes are UNKNOWN, the rest REFUSED. */
void request_cancel_all(struct kvp_ctx *ctx);
/* The stamp of its context, or NULL. */
const struct service_stamp *request_stamp(const struct request *r);

/* ---- answers: answer.c -------------------------------------------------------------------------
 */

int32_t answer_reason(int err); /* enum kvp_reason of a row of base/err.def */
void answer_result(struct kvp_result *out, int err, bool unknown, int64_t revision);
/* Rows of an encoded RangeResponse without header; they point into body. */
struct answer_rows {
    struct kvp_row *rows; /* mem_*; free with answer_rows_close */
    size_t count;
    bool more;
    int64_t total;
    bool cut; /* the last row was not complete: left out */
};
/* false: malformed or out of memory. cut: body may end in the middle of a row. */
bool answer_rows_open(struct answer_rows *a, struct slice body, bool cut);
void answer_rows_close(struct answer_rows *a);
bool answer_row(struct slice key_value, struct kvp_row *out);

/* ---- the groups of calls -----------------------------------------------------------------------
 * Each fills its entries of the table. */

void read_calls(struct kvp_host *t);
void write_calls(struct kvp_host *t);
void txn_calls(struct kvp_host *t);
void watch_calls(struct kvp_host *t);
void lease_calls(struct kvp_host *t);
void time_calls(struct kvp_host *t);
void work_calls(struct kvp_host *t);
void metric_calls(struct kvp_host *t);
void log_calls(struct kvp_host *t);
void notice_calls(struct kvp_host *t);
void part_calls(struct kvp_host *t);    /* cache, queue, controller */
void parts_settle(struct kvp_ctx *ctx); /* lane: every request has been answered */
void parts_close(struct kvp_ctx *ctx);  /* the context is freed */
/* Calls nobody offers yet answer KVP_UNSUPPORTED: http, objects, auth.
 * Whoever implements one of them fills its entries behind this one in table.c, from the plugin's
 * lane and over the other calls; what must end with a context is a ctx_part. */
const struct kvp_host *host_table(const char *version);

/* Encoding shared by read, write, txn and watch (encode.c). false: INVALID. */
bool encode_range_bounds(struct buf *out, uint32_t key_field, uint32_t end_field,
                         struct kvp_bytes key, struct kvp_bytes end, struct kvp_bytes from,
                         bool prefix);
bool encode_put(struct buf *out, const struct kvp_put *p);
bool encode_del(struct buf *out, const struct kvp_del *d);
bool encode_range(struct buf *out, const struct kvp_range *r);
static inline struct slice bytes_slice(struct kvp_bytes b)
{
    return slice_of(b.data, b.len);
}

/* web_register.c, web_port.c, web_home.c, web_lane.c; web.h has the rest. */
void web_calls(struct kvp_host *t);
bool web_host_init(struct plugin_host *h); /* false = out of memory */
void web_host_close(struct plugin_host *h);
void web_init(struct instance *in);
void web_close(struct instance *in);    /* home, when nothing else is left of the instance */
void web_serve(struct instance *in);    /* home: after init, and when the member is ready */
void web_home_end(struct instance *in); /* home: ends routes, ports and exchanges */
void web_send(struct instance *in);     /* lane: what the callback said goes home */
/* object_provide.c, object_ask.c, object_call.c, object_home.c; object.h has the rest. */
void object_calls(struct kvp_host *t);
void object_close(struct instance *in);    /* home, when nothing else is left of the instance */
void object_home_end(struct instance *in); /* home: it is asked no more */
void authorize_calls(struct kvp_host *t);  /* authorize.c */
/* watch.c, lease.c: what home undoes at the end of a context. */
void watch_end_all(struct kvp_ctx *ctx);     /* lane */
void watch_silence_all(struct kvp_ctx *ctx); /* lane: the same without `ended` */
void watch_home_end(struct kvp_ctx *ctx);
void lease_home_end(struct kvp_ctx *ctx);
/* time.c (lane) */
void timer_end_all(struct kvp_ctx *ctx);
/* hang.c (home): an instance has come: look at it now and then. */
void hang_watch(struct plugin_host *h);
/* log.c, any thread: may this instance log one more line in this second? */
bool log_allowed(struct instance *in);
/* Says how many lines were not logged since it was said last. */
void log_tell_dropped(struct instance *in);
/* work.c (home): a pool thread is free. */
void work_next(struct plugin_host *h);

#endif
