/* kvplugin-test.h - a host for tests of plugins: your plugin runs in it without kvd.
 *
 * Link with `pkg-config --cflags --libs kvplugin-test`: a static library that needs libc only. Use
 * it with any test framework, or none. C11 and C++.
 *
 *     #include <kvplugin-test.h>
 *     static void story(void) {
 *         t_open(kvplugin_entry(), "prefix=/hello/");       init has run
 *         t_put("/hello/a", "");                            as another client would
 *         t_lead(5);                                        this member leads: start(term 5)
 *         t_advance(1000);                                  a virtual second passes
 *         t_expect_value("/hello/a", "stamped");
 *         t_close();                                        stop, fini; leaks are failures
 *     }
 *     int main(void) { t_for_each_seed(200, story); return 0; }
 *
 * THE WORLD. Between t_open and t_close there is one world in the process: a store with revisions
 * in memory, a clock that only t_advance and its like move, dice thrown from one seed. All
 * callbacks of the plugin run inside those calls, on the calling thread. Each asynchronous call
 * takes effect at a random moment of 0 to 3 ms after it was made, and is answered at a random
 * moment of 0 to 3 ms after that: another seed is another order. A run is repeated exactly by its
 * seed.
 *
 * FAILURES. A failed expectation prints one sentence with the place and the seed, then calls what
 * t_on_failure was given, else abort(). KVP_TEST_SEED=n in the environment makes t_for_each_seed
 * (and a world opened without it) run that seed only; KVP_TEST_LOG=1 prints the plugin's log lines.
 * Watched all the time, and a failure too: calls from a wrong thread, from outside a callback or
 * inside offloaded work; use of timers, watches, caches, queues, transactions or requests that have
 * ended; at t_close memory of `alloc` and `dup` that was not released, transactions neither
 * committed nor freed. authorize says OK here, unless t_fail makes it refuse. */
#ifndef KVPLUGIN_TEST_H
#define KVPLUGIN_TEST_H

#include <stddef.h>
#include <stdint.h>

#include <kvplugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef T_EXPORT
#if defined(__GNUC__)
#define T_EXPORT       __attribute__((visibility("default")))
#define T_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define T_EXPORT
#define T_PRINTF(f, a)
#endif
#endif

/* ---- life --------------------------------------------------------------------------------------
 * t_open makes a world and runs init; options as behind `--plugin FILE,`: "name=value,...", or
 * NULL. 0. Other than 0: init was refused because of an allocation that t_fail_alloc made fail; any
 * other refusal is a failure, unless it was announced: t_open_refused expects init (or the reading
 * of the options) to be refused, with `part` inside the sentence; then there is no world. */
#define t_open(plugin, options) t_open_at(__FILE__, __LINE__, (plugin), (options))
#define t_open_refused(plugin, options, part) \
    t_open_refused_at(__FILE__, __LINE__, (plugin), (options), (part))
T_EXPORT int t_open_at(const char *file, int line, const struct kvp_plugin *plugin,
                       const char *options);
T_EXPORT void t_open_refused_at(const char *file, int line, const struct kvp_plugin *plugin,
                                const char *options, const char *part);
/* stop when it leads, fini, then the checks. After a t_open that failed: just ends the world. */
#define t_close() t_close_at(__FILE__, __LINE__)
T_EXPORT void t_close_at(const char *file, int line);
/* A new process over the same store: stop, fini, init. As t_open. */
#define t_reopen() t_reopen_at(__FILE__, __LINE__)
T_EXPORT int t_reopen_at(const char *file, int line);
/* New options. 0, or what the plugin's reload (or the reading of the options) answered. */
T_EXPORT int t_reload(const char *options);

/* This member leads from now on: start runs at once, with a new epoch. A start that fails is tried
 * again with backoff, as in kvd. term grows from call to call. */
T_EXPORT void t_lead(uint64_t term);
/* Leadership is lost. Writes on their way: those that t_hold holds never happen, of the others some
 * (by the dice) happen before; all are answered UNKNOWN. Then stop. */
T_EXPORT void t_depose(void);
/* Another member leads already and this one has not heard of it: its writes are refused as FENCED,
 * until t_depose. */
T_EXPORT void t_lead_elsewhere(void);
/* Leadership moves: away from this member, or to it with the next term. */
T_EXPORT void t_change_leader(void);
T_EXPORT int t_is_leader(void); /* 1: this member leads, whether or not start succeeded yet */
T_EXPORT int t_leading(void);   /* 1: between start and stop */

/* ---- time --------------------------------------------------------------------------------------
 */
/* Lets so many virtual milliseconds pass, with all that happens in them. */
T_EXPORT void t_advance(uint64_t ms);
/* The next thing that happens, whenever; 0 when nothing will. */
T_EXPORT int t_step(void);
T_EXPORT uint64_t t_now(void); /* milliseconds, as now_ms */

/* ---- the store, seen by another client ---------------------------------------------------------
 * Values are C strings here; the _bytes forms take anything. All act at once. They return the
 * revision. */
T_EXPORT int64_t t_put(const char *key, const char *value);
T_EXPORT int64_t t_put_bytes(struct kvp_bytes key, struct kvp_bytes value);
T_EXPORT int64_t t_delete(const char *key);        /* of nothing: the revision stays */
T_EXPORT int64_t t_delete_prefix(const char *key); /* one revision */
/* Puts and deletes between these two share one revision, as in a transaction. */
T_EXPORT void t_txn_begin(void);
T_EXPORT int64_t t_txn_end(void);
/* The value with a NUL behind, until the next t_ call; NULL = no such key. */
T_EXPORT const char *t_get(const char *key);
/* The row; 0 = no such key. Its bytes live until the next t_ call. */
T_EXPORT int t_row(const char *key, struct kvp_row *out);
T_EXPORT size_t t_count(const char *prefix);
T_EXPORT int64_t t_revision(void);
/* Forgets revisions below this one; 0 = below the newest. Watches that are behind end. */
T_EXPORT void t_compact(int64_t revision);
/* The i-th change of a key since t_open, from 0 on (NULL: a deletion); i past the last: returns 0.
 */
T_EXPORT int t_history(const char *key, size_t i, const char **value);
/* A lease's time is up now: its rows go. 0 = no such lease. */
T_EXPORT int t_expire(int64_t lease);
T_EXPORT size_t t_leases(void);

/* ---- faults ------------------------------------------------------------------------------------
 * `call` is a name of the table in kvplugin.h: "get", "range", "put", "put_if", "del", "del_if",
 * "txn_commit", "watch", "lease_grant", "lease_renew", "lease_revoke", "timer", "cache_open",
 * "queue_open", "controller", "post", "offload", "object", "authorize", "http_listen" (REFUSED: the
 * port could not be opened); writes of items are counted as "put", "put_if" and
 * "txn_commit", what caches ask as "range" and "watch". n: 1 = the next such call. */
/* It is accepted and answered REFUSED with this reason (KVP_UNAVAILABLE, KVP_COMPACTED, ...). */
T_EXPORT void t_fail(const char *call, unsigned n, int32_t reason);
/* It returns this reason: not accepted. */
T_EXPORT void t_fail_call(const char *call, unsigned n, int32_t reason);
/* It is answered UNKNOWN, and has happened or not. */
T_EXPORT void t_fail_unknown(const char *call, unsigned n, int happened);
/* Every call meets one of these faults with this chance, watches end, revisions are compacted. 0
 * ends it. */
T_EXPORT void t_chaos(unsigned percent);
/* The n-th allocation from now on made by the plugin, or for it by the host, fails once. 0: no
 * more. Returns 1 when the one asked for before has happened. */
T_EXPORT int t_fail_alloc(uint64_t n);
/* Calls of this name made from now on do not take effect until t_release. */
T_EXPORT void t_hold(const char *call);
T_EXPORT void t_release(const char *call);
T_EXPORT size_t t_in_flight(const char *call); /* not answered yet */
T_EXPORT size_t t_calls(const char *call);     /* made since t_open */

/* ---- many runs ---------------------------------------------------------------------------------
 * story opens and closes its own world. Seeds 1 .. count. */
T_EXPORT void t_for_each_seed(unsigned count, void (*story)(void));
/* Runs story with allocation 1, 2, 3, ... failing, until one run makes fewer; returns how many
 * failed. In story: `if (t_open(...) != 0) { t_close(); return; }`. Since only one allocation
 * fails, all else must hold as ever. */
T_EXPORT unsigned t_for_each_alloc(void (*story)(void));
T_EXPORT uint64_t t_seed(void);
T_EXPORT uint64_t t_random(uint64_t below); /* of the world's dice */

/* ---- expectations ------------------------------------------------------------------------------
 */
#define t_expect(condition) t_expect_at(__FILE__, __LINE__, (condition) ? 1 : 0, #condition)
/* value NULL: the key must not be there. */
#define t_expect_value(key, value) t_expect_value_at(__FILE__, __LINE__, (key), (value))
#define t_expect_int(have, want) \
    t_expect_int_at(__FILE__, __LINE__, #have, (int64_t)(have), (int64_t)(want))
T_EXPORT void t_expect_at(const char *file, int line, int holds, const char *text);
T_EXPORT void t_expect_value_at(const char *file, int line, const char *key, const char *value);
T_EXPORT void t_expect_int_at(const char *file, int line, const char *text, int64_t have,
                              int64_t want);
/* A failure of your own. */
#define t_fail_test(...) t_fail_test_at(__FILE__, __LINE__, __VA_ARGS__)
T_EXPORT void t_fail_test_at(const char *file, int line, const char *format, ...) T_PRINTF(3, 4);
/* Called after the sentence was printed; may leave by longjmp (the world is lost then, t_open makes
 * a new one). With cmocka: t_on_failure(_fail). NULL: abort. */
T_EXPORT void t_on_failure(void (*fail)(const char *file, int line));
/* The last sentence, without place and seed. */
T_EXPORT const char *t_failure(void);

/* ---- metrics and log ---------------------------------------------------------------------------
 */
/* The value of a counter or gauge, how often a histogram observed; label values follow, then NULL.
 * -1: no such metric or series. */
T_EXPORT int64_t t_metric(const char *name, ...);
T_EXPORT size_t t_logged(const char *event);   /* how often since t_open */
T_EXPORT size_t t_noticed(const char *reason); /* calls of notice */

/* ---- http --------------------------------------------------------------------------------------
 */
struct t_http; /* an exchange, until t_close */
struct t_http_args {
    uint32_t size;
    uint32_t port;      /* of http_listen; 0 = kvd's own */
    const char *method; /* NULL = "GET" */
    const char *path;   /* with ?query */
    struct kvp_bytes body;
    const struct kvp_pair *headers;
    size_t header_count;
    const char *user; /* of the client certificate; NULL = nobody */
    const char *group;
};
/* A client asks; begin comes with the next t_advance. t_http_args is its long form. */
T_EXPORT struct t_http *t_http(const char *method, const char *path);
T_EXPORT struct t_http *t_http_open(const struct t_http_args *a);
T_EXPORT uint32_t t_http_status(const struct t_http *x); /* 0 = no answer yet */
/* Of the answer; NULL = not there. */
T_EXPORT const char *t_http_header(const struct t_http *x, const char *name);
/* What has been read of the answer's body until now, with a NUL behind; lives until t_close or the
 * next t_advance. */
T_EXPORT struct kvp_bytes t_http_body(struct t_http *x);
/* 0 = open, 1 = answered to the end, -1 = broken off. */
T_EXPORT int t_http_ended(const struct t_http *x);
/* The client reads no more (1) or goes on (0): more than 64 KiB unread make http_write say BUSY. */
T_EXPORT void t_http_stall(struct t_http *x, int stall);
T_EXPORT void t_http_cancel(struct t_http *x); /* the client goes away */

/* ---- objects -----------------------------------------------------------------------------------
 * What the plugin asks for is answered by the best provider that fits: the test's (t_provide)
 * before its own (provide). */
struct t_call; /* a request of the plugin, until t_close */
/* c may be answered inside or later; r and identity live as long as c. */
typedef void t_provider_fn(void *data, struct t_call *c, const struct kvp_object_request *r,
                           const struct kvp_identity *identity);
/* The test provides; each name may be "*". */
T_EXPORT void t_provide(const char *group, const char *version, const char *resource,
                        t_provider_fn *request, void *data);
T_EXPORT void t_answer(struct t_call *c, int32_t status, const char *body, int64_t revision);
T_EXPORT void t_event(struct t_call *c, const char *type, const char *object, int64_t revision);
T_EXPORT int t_call_gone(const struct t_call *c); /* 1: answered, or the plugin wants it no more */

/* The test asks what the plugin provides; it is told with the next t_advance. */
struct t_object; /* until t_close */
struct t_object_args {
    uint32_t size;
    uint32_t leads; /* 1: asked by a plugin that leads: writes of the call carry a stamp */
    struct kvp_object_request request;
    const struct kvp_identity *identity; /* NULL = that of a plugin named test */
};
struct t_event {
    const char *type;
    struct kvp_bytes object;
    int64_t revision;
};
T_EXPORT struct t_object *t_object_open(const struct t_object_args *a);
/* 0 = no answer yet; -1 = the end without one, t_object_reason tells why. */
T_EXPORT int32_t t_object_status(const struct t_object *o);
T_EXPORT int32_t t_object_reason(const struct t_object *o);
T_EXPORT struct kvp_bytes t_object_body(const struct t_object *o); /* with a NUL behind */
T_EXPORT int64_t t_object_revision(const struct t_object *o);
/* The i-th event of a watch, from 0 on; i past the last: returns 0. */
T_EXPORT int t_object_event(const struct t_object *o, size_t i, struct t_event *out);
/* The asker takes nothing (1) or goes on (0): more than 64 KiB waiting make call_event say BUSY. */
T_EXPORT void t_object_stall(struct t_object *o, int stall);
T_EXPORT void t_object_cancel(struct t_object *o); /* the asker goes away */

#ifdef __cplusplus
}
#endif

#endif
