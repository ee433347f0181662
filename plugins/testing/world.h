/* world.h - the inside of the test host: one world, its tasks, its contexts.
 *
 * Everything that happens later is a task: due at a virtual millisecond, among equals in an order
 * thrown by the dice. Tasks run one after the other on the thread of the test; a callback of the
 * plugin runs between callback_begin and callback_end. Only inside them does the fault hook of
 * base/alloc.h count, so that t_fail_alloc hits the plugin and what the host allocates for it (the
 * code of plugins/host, accepted calls), never the world's own bookkeeping. */
#ifndef KVD_PLUGINS_TESTING_WORLD_H
#define KVD_PLUGINS_TESTING_WORLD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/rand.h"
#include "include/kvplugin.h"
#include "plugins/host/scope.h"
#include "plugins/testing/store.h"

struct task {
    struct heap_node node;
    void (*run)(struct task *t);
};

/* ---- contexts ------------------------------------------------------------------------------ */

struct kvp_ctx {
    struct list link; /* in world.contexts until t_close */
    struct scope scope;
    bool is_term;
    bool may_write; /* a term, or any of a plugin with KVP_FOLLOW */
    bool stopped;   /* answers STOPPED */
    bool gone;      /* after fini: nobody may use it */
    uint64_t term;
    uint64_t epoch;
    struct list calls;   /* struct call.link */
    struct list timers;  /* struct kvp_timer.link, those that may fire */
    struct list watches; /* struct kvp_watch.link, those not over */
    struct list txns;    /* struct kvp_txn.link, neither committed nor freed */
    struct list works;   /* struct work.link: offloaded */
    struct list posts;   /* struct post.link, in order; under world.lock */
    struct task post_task;
};

/* ---- calls by name: counted, held, made to fail -------------------------------------------- */

enum fault_how { FAULT_NONE, FAULT_CALL, FAULT_REFUSED, FAULT_UNKNOWN_DONE, FAULT_UNKNOWN_LOST };

struct call_name {
    const char *name;
    size_t made;
    size_t in_flight;
    bool held;
};

struct fault {
    struct list link;
    struct call_name *name;
    size_t at; /* which call, counted from t_open */
    enum fault_how how;
    int32_t reason;
};

/* An asynchronous call: takes effect, later is answered. */
struct call {
    struct task task;
    struct list link; /* in kvp_ctx.calls */
    struct kvp_ctx *ctx;
    struct call_name *name;
    bool writes;
    bool effected;
    bool held;
    enum fault_how fault;
    int32_t fault_reason;
    struct kvp_result result;
    struct arena memory; /* copies of arguments, rows of the answer */
    void (*effect)(struct call *c);
    void (*deliver)(struct call *c, const struct kvp_result *r);
    void *data;
    /* each kind uses what it needs */
    union {
        kvp_done_fn *done;
        kvp_rows_fn *rows;
        kvp_txn_fn *txn;
    } cb;
    struct kvp_range range;
    struct kvp_put put;
    struct kvp_del del;
    struct kvp_txn *txn;
    struct kvp_lease_args lease;
    int64_t number; /* mod_revision, lease id */
    struct kvp_rows rows;
    struct kvp_txn_result txn_result;
};

/* ---- the world ----------------------------------------------------------------------------- */

struct world {
    uint64_t seed;
    struct rand dice;
    uint64_t now_ms;
    struct heap tasks;
    pthread_t thread;
    pthread_mutex_t lock; /* what calls marked "any thread" touch: blocks, posts, metrics, log */
    int depth;            /* callbacks on the stack */
    bool working;         /* inside offloaded work */
    uint64_t alloc_left;  /* of the fault hook while outside callbacks */
    bool alloc_armed;
    unsigned chaos;
    char misuse[256]; /* by another thread: told at the next occasion; under lock */
    const char *file; /* of the t_ call under way that can fail */
    int line;

    const struct kvp_plugin *plugin;
    char *options;
    void *conf;
    void *self;
    bool opened; /* init has returned 0, fini has not run */
    bool in_init;
    bool started;
    bool leads;     /* this member does, for all it knows */
    bool elsewhere; /* another one does */
    uint64_t term;
    uint64_t epoch; /* newest of the store */
    uint64_t retry_ms;
    struct task retry;
    struct task failed; /* `fail` was called */
    struct kvp_ctx *instance;
    struct kvp_ctx *leading; /* the term's context between start and stop */
    struct list contexts;

    struct store store;
    bool client_txn;
    struct list leases;
    int64_t next_lease;
    struct list faults;
    /* Timers, watches, transactions that are over, kept to tell misuse. Their link comes first. */
    struct list graves;
    struct list blocks; /* the plugin's memory; under lock */
    uint64_t block_count;
    struct list metrics;
    uint32_t series_count;
    struct list lines; /* log events and notices, counted; under lock */
    struct list listeners;
    uint32_t next_port;
    struct list routes;
    struct list exchanges;
    struct list objects;
    struct list providers;      /* the plugin's */
    struct list test_providers; /* t_provide's, until t_close */
    char *text;                 /* t_get's */
};

extern struct world *world;          /* NULL outside t_open .. t_close */
extern const struct kvp_host t_host; /* table.c: what plugins see */

/* The world, or the end of the test when there is none. */
struct world *world_need(const char *what);

/* ---- failures (fail.c) --------------------------------------------------------------------- */
void fail_test(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A plugin broke a rule of the ABI. On another thread it is told later. */
void misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
void misuse_tell(void); /* what other threads did */

/* ---- tasks and callbacks (world.c) --------------------------------------------------------- */
void task_at(struct task *t, uint64_t at_ms);
void task_soon(struct task *t); /* 0 to 3 ms from now */
void task_cancel(struct task *t);
bool task_is_set(const struct task *t);
void callback_begin(void);
void callback_end(void);
uint64_t chance_below(uint64_t below);

/* Around the world's own allocations inside calls of the plugin: they do not count as its. */
static inline uint64_t quiet_begin(void)
{
    uint64_t left = mem_fail_left();
    mem_fail_after(0);
    return left;
}
static inline void quiet_end(uint64_t left)
{
    mem_fail_after(left);
}
void *quiet_zalloc(size_t size);
/* With a NUL behind. */
void *quiet_dup(const void *data, size_t len);

/* ---- contexts (context.c) ------------------------------------------------------------------ */
struct kvp_ctx *ctx_new(bool is_term);
/* 0 when this thread may make this call with ctx now; else the reason to return. */
int ctx_enter(struct kvp_ctx *ctx, const char *call);
/* Ends everything of ctx, as before stop and fini. */
void ctx_end(struct kvp_ctx *ctx);
void ctx_free(struct kvp_ctx *ctx);

/* ---- calls (call.c) ------------------------------------------------------------------------ */
struct call_name *call_name_find(const char *name); /* fails the test when there is none */
void call_names_clear(void);
/* Counts a call and draws its fault. FAULT_CALL: return *reason. */
enum fault_how call_fault(struct call_name *n, int32_t *reason);
/* For calls that have no answer: 0 or the reason to return. */
int call_simple(struct kvp_ctx *ctx, const char *name);
/* A call that is accepted unless *reason is set (then NULL). Fill it, then call_go. */
struct call *call_new(struct kvp_ctx *ctx, const char *name, int *reason);
void call_go(struct call *c);
struct kvp_bytes call_keep(struct call *c, struct kvp_bytes bytes);
void *call_keep_all(struct call *c, const void *data, size_t size);
void call_refuse(struct call *c, int32_t reason, const char *text);
/* Answers all calls of an ended context. */
void calls_end(struct kvp_ctx *ctx);
void calls_release(struct call_name *n);

/* ---- the groups ---------------------------------------------------------------------------- */
void watches_feed(void); /* the store has changed */
void watches_end(struct kvp_ctx *ctx);
void timers_end(struct kvp_ctx *ctx);
void txns_end(struct kvp_ctx *ctx);
void works_end(struct kvp_ctx *ctx);
void works_release(void);             /* after t_hold("offload") */
void posts_take(void);                /* those of other threads get their task */
void leases_end(struct kvp_ctx *ctx); /* nobody renews them from here on */
void leases_clear(void);
bool lease_known(int64_t id);
void http_end(void);
void http_clear(void);
/* Ends what the plugin provides, before its instance ends; what a context has asked for; all. */
void objects_end_provided(void);
void objects_end(struct kvp_ctx *ctx);
void objects_release(void); /* after t_release("object") */
void objects_clear(void);
void objects_forget_providers(void);
void metrics_clear(void);
void lines_clear(void);
void blocks_check(void);
void block_free_all(void);
void line_count(char kind, const char *text);

/* Memory of the plugin (memory.c): shared by host and scopes. */
void *block_alloc(struct kvp_ctx *ctx, size_t size);
void *block_dup(struct kvp_ctx *ctx, struct kvp_bytes bytes);
void block_release(struct kvp_ctx *ctx, void *memory);

/* The members of struct kvp_host, by file. */
int t_call_get(struct kvp_ctx *ctx, struct kvp_bytes key, kvp_rows_fn *cb, void *data);
int t_call_range(struct kvp_ctx *ctx, const struct kvp_range *r, kvp_rows_fn *cb, void *data);
int t_call_put(struct kvp_ctx *ctx, const struct kvp_put *p, kvp_done_fn *cb, void *data);
int t_call_put_if(struct kvp_ctx *ctx, const struct kvp_put *p, int64_t mod_revision,
                  kvp_done_fn *cb, void *data);
int t_call_del(struct kvp_ctx *ctx, const struct kvp_del *d, kvp_done_fn *cb, void *data);
int t_call_del_if(struct kvp_ctx *ctx, struct kvp_bytes key, int64_t mod_revision, kvp_done_fn *cb,
                  void *data);
struct kvp_txn *t_call_txn_new(struct kvp_ctx *ctx);
int t_call_txn_compare(struct kvp_txn *txn, const struct kvp_compare *c);
int t_call_txn_put(struct kvp_txn *txn, uint32_t list, const struct kvp_put *p);
int t_call_txn_del(struct kvp_txn *txn, uint32_t list, const struct kvp_del *d);
int t_call_txn_get(struct kvp_txn *txn, uint32_t list, const struct kvp_range *r);
int t_call_txn_commit(struct kvp_txn *txn, kvp_txn_fn *cb, void *data);
void t_call_txn_free(struct kvp_txn *txn);
int t_call_watch(struct kvp_ctx *ctx, const struct kvp_watch_args *a, struct kvp_watch **out);
void t_call_unwatch(struct kvp_watch *w);
int t_call_lease_grant(struct kvp_ctx *ctx, const struct kvp_lease_args *a, kvp_done_fn *cb,
                       void *data);
int t_call_lease_renew(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data);
int t_call_lease_revoke(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data);
int t_call_timer(struct kvp_ctx *ctx, const struct kvp_timer_args *a, struct kvp_timer **out);
void t_call_timer_cancel(struct kvp_timer *t);
int t_call_post(struct kvp_ctx *ctx, void (*fn)(void *data), void *data);
int t_call_offload(struct kvp_ctx *ctx, void (*work)(void *data),
                   void (*done)(void *data, int canceled), void *data);
void t_call_fail(struct kvp_ctx *ctx, const char *why);
int t_call_http_listen(struct kvp_ctx *ctx, const struct kvp_listen_args *a,
                       struct kvp_listener **out, uint32_t *out_port, struct kvp_errmsg *e);
int t_call_http_certificate(struct kvp_listener *listener, struct kvp_bytes cert_pem,
                            struct kvp_bytes key_pem, struct kvp_bytes client_ca_pem,
                            struct kvp_errmsg *e);
int t_call_http_route(struct kvp_ctx *ctx, const struct kvp_route_args *a);
void t_call_http_set_data(struct kvp_http *x, void *data);
void *t_call_http_data(struct kvp_http *x);
int t_call_http_respond(struct kvp_http *x, uint32_t status, const struct kvp_pair *headers,
                        size_t count);
int t_call_http_write(struct kvp_http *x, struct kvp_bytes bytes);
int t_call_http_finish(struct kvp_http *x);
void t_call_http_abort(struct kvp_http *x);
void t_call_http_pause(struct kvp_http *x, int pause);
int t_call_object(struct kvp_ctx *ctx, const struct kvp_object_args *a, struct kvp_object **out);
void t_call_object_cancel(struct kvp_object *o);
int t_call_provide(struct kvp_ctx *ctx, const struct kvp_provide_args *a);
struct kvp_ctx *t_call_call_ctx(struct kvp_call *c);
int t_call_call_event(struct kvp_call *c, struct kvp_bytes type, struct kvp_bytes object,
                      int64_t revision);
int t_call_call_answer(struct kvp_call *c, const struct kvp_object_answer *a);
int t_call_authorize(struct kvp_ctx *ctx, const struct kvp_identity *identity, uint32_t verb,
                     struct kvp_bytes key, struct kvp_bytes end, kvp_done_fn *cb, void *data);
int t_call_metric(struct kvp_ctx *ctx, const struct kvp_metric_args *a, uint32_t *out_id);
int t_call_metric_series(struct kvp_ctx *ctx, uint32_t id, const struct kvp_bytes *values,
                         size_t count, uint32_t *out_series);
void t_call_metric_add(struct kvp_ctx *ctx, uint32_t series, int64_t n);
void t_call_metric_set(struct kvp_ctx *ctx, uint32_t series, int64_t value);
void t_call_metric_observe(struct kvp_ctx *ctx, uint32_t series, double value);
void t_call_log(struct kvp_ctx *ctx, int level, const char *event, const struct kvp_field *fields,
                size_t count);
int t_call_log_enabled(struct kvp_ctx *ctx, int level);
int t_call_notice(struct kvp_ctx *ctx, const struct kvp_notice *n);

#endif
