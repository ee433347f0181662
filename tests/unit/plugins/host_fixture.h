/* host_fixture.h - the plugin host over the real serve and store, with a plugin the test steers.
 *
 * The plugin "probe" records its lifecycle and keeps its contexts. inside() runs a function of the
 * test in one of its callbacks, as a plugin's own code would run. Include once per test program. */
#ifndef KVD_TESTS_UNIT_PLUGINS_HOST_FIXTURE_H
#define KVD_TESTS_UNIT_PLUGINS_HOST_FIXTURE_H

#include <stdatomic.h>

#include "plugins/host/host.h"
#include "tests/unit/kvd/serve_fixture.h"

struct probe_conf {
    int64_t number;
    int64_t wait;
    int64_t size;
    int32_t flag;
    const char *word;
};

/* What the plugin saw; one probe per test program. */
struct probe {
    const struct kvp_host *host;
    struct kvp_ctx *root;
    struct kvp_ctx *term;
    uint64_t term_number;
    atomic_uint inits, starts, stops, finis;
    int32_t stop_reason;
    int init_result;
    int start_result;
    struct probe_conf conf;
    void (*on_init)(void); /* inside init */
    void (*on_start)(void);
    void (*on_stop)(void);
};
static struct probe probe;

static int probe_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                      void **self, struct kvp_errmsg *e)
{
    probe.inits++;
    probe.host = host;
    probe.root = ctx;
    memcpy(&probe.conf, conf, sizeof(probe.conf));
    if (probe.on_init != NULL) {
        probe.on_init();
    }
    if (probe.init_result != 0) {
        snprintf(e->text, sizeof(e->text), "no flux left, refill it");
        return probe.init_result;
    }
    *self = &probe;
    return 0;
}

static int probe_start(void *self, struct kvp_ctx *term_ctx, uint64_t term)
{
    assert_ptr_equal(self, &probe);
    probe.starts++;
    probe.term = term_ctx;
    probe.term_number = term;
    if (probe.on_start != NULL) {
        probe.on_start();
    }
    return probe.start_result;
}

static void probe_stop(void *self, int32_t reason)
{
    assert_ptr_equal(self, &probe);
    probe.stops++;
    probe.stop_reason = reason;
    if (probe.on_stop != NULL) {
        probe.on_stop();
    }
}

static void probe_fini(void *self)
{
    assert_ptr_equal(self, &probe);
    probe.finis++;
}

static const struct kvp_option probe_options[] = {
    {.name = "number",
     .type = KVP_OPT_INT,
     .offset = offsetof(struct probe_conf, number),
     .def = "3",
     .min = 1,
     .max = 9},
    {.name = "wait",
     .type = KVP_OPT_DURATION,
     .offset = offsetof(struct probe_conf, wait),
     .def = "1m30s"},
    {.name = "size", .type = KVP_OPT_SIZE, .offset = offsetof(struct probe_conf, size)},
    {.name = "flag", .type = KVP_OPT_BOOL, .offset = offsetof(struct probe_conf, flag)},
    {.name = "word",
     .type = KVP_OPT_STRING,
     .offset = offsetof(struct probe_conf, word),
     .values = "red|green"},
    {.name = NULL}};

static struct kvp_plugin probe_plugin = {.size = sizeof(struct kvp_plugin),
                                         .abi_major = KVP_ABI_MAJOR,
                                         .abi_minor = 0,
                                         .name = "probe",
                                         .version = "1",
                                         .about = "What a test wants.",
                                         .options = probe_options,
                                         .conf_size = sizeof(struct probe_conf),
                                         .init = probe_init,
                                         .start = probe_start,
                                         .stop = probe_stop,
                                         .fini = probe_fini};

struct host_fixture {
    struct fixture *f;
    struct plugin_host *host;
    struct rpc_server *clients; /* where plugins' routes go; NULL = none */
    bool stopped;
};
static struct host_fixture hf;

static void host_fixture_on_stopped(void *data)
{
    *(bool *)data = true;
}

static void host_fixture_open(bool no_threads)
{
    struct errmsg e = {""};
    struct host_options o = {.service = hf.f->service,
                             .loop = &hf.f->loop,
                             .clients = hf.clients,
                             .data_dir = hf.f->dir,
                             .member_id = 7,
                             .version = "test",
                             .no_threads = no_threads};
    memset(&probe, 0, sizeof(probe));
    probe_plugin.flags = 0;
    probe_plugin.lanes = 0;
    assert_int_equal(host_new(&o, &hf.host, &e), 0);
    host_register_static(&probe_plugin);
    hf.stopped = false;
}

static void host_fixture_close(void)
{
    if (hf.host != NULL) {
        host_stop(hf.host, host_fixture_on_stopped, &hf.stopped);
        run_until(hf.f, &hf.stopped);
        hf.host = NULL;
    }
}

static inline int host_setup(void **state)
{
    assert_int_equal(fixture_setup(state), 0);
    hf.f = *state;
    host_fixture_open(true);
    return 0;
}

static inline int host_setup_threads(void **state)
{
    assert_int_equal(fixture_setup(state), 0);
    hf.f = *state;
    host_fixture_open(false);
    return 0;
}

static inline int host_teardown(void **state)
{
    host_fixture_close();
    return fixture_teardown(state);
}

/* Turns the loop until condition holds; fails after ten seconds. */
#define UNTIL(condition)                                                    \
    do {                                                                    \
        uv_update_time(&hf.f->loop);                                        \
        uint64_t until_deadline = uv_now(&hf.f->loop) + 10000;              \
        uv_timer_start(&hf.f->beat, fixture_on_beat, 2, 2);                 \
        while (!(condition)) {                                              \
            uv_run(&hf.f->loop, UV_RUN_ONCE);                               \
            if (uv_now(&hf.f->loop) > until_deadline) {                     \
                fail_msg("still not so after ten seconds: %s", #condition); \
            }                                                               \
        }                                                                   \
        uv_timer_stop(&hf.f->beat);                                         \
    } while (0)

static inline enum host_state probe_state(void)
{
    struct host_plugin rows[16];
    size_t n = host_list(hf.host, rows, 16);
    assert_in_range(n, 1, 16);
    return rows[n - 1].state;
}

/* Loads the probe and waits until init is through. */
static inline void probe_load(const char *options)
{
    struct errmsg e = {""};
    char spec[256];
    snprintf(spec, sizeof(spec), "static:probe%s%s", options[0] != '\0' ? "," : "", options);
    if (host_load(hf.host, spec, &e) != 0) {
        fail_msg("%s", e.text);
    }
    UNTIL(probe_state() == HOST_READY);
}

static inline void probe_lead(void)
{
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING && probe.term != NULL && probe.term_number == hf.f->term);
}

struct inside {
    void (*fn)(void *data);
    void *data;
    atomic_bool done;
};

static void inside_on_post(void *data)
{
    struct inside *i = data;
    i->fn(i->data);
    i->done = true;
}

/* Runs fn in a callback of the probe, and returns when it has. */
static inline void inside(void (*fn)(void *data), void *data)
{
    struct inside i = {.fn = fn, .data = data};
    assert_int_equal(probe.host->post(probe.root, inside_on_post, &i), 0);
    UNTIL(i.done);
}

/* ---- one asynchronous call and its answer ------------------------------------------------------
 */

struct answer {
    bool done;
    int accepted; /* what the call returned */
    struct kvp_result result;
    size_t row_count;
    char keys[16][64];
    char values[16][64];
    int64_t mod[16];
    uint32_t more;
    int64_t total;
    char next[64]; /* with its NUL inside */
    size_t next_len;
    bool has_row; /* of a conflict */
    int64_t row_mod;
};

static inline void text_of(char *out, size_t room, struct kvp_bytes b)
{
    snprintf(out, room, "%.*s", (int)b.len, (const char *)b.data);
}

static inline void answer_done(void *data, const struct kvp_result *r)
{
    struct answer *a = data;
    assert_false(a->done);
    a->done = true;
    a->result = *r;
    a->has_row = r->row != NULL;
    a->row_mod = r->row != NULL ? r->row->mod_revision : 0;
    a->result.row = NULL;
}

static inline void answer_rows(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct answer *a = data;
    answer_done(a, r);
    if (rows == NULL) {
        assert_int_not_equal(r->outcome, KVP_OK);
        return;
    }
    a->row_count = rows->count;
    a->more = rows->more;
    a->total = rows->total;
    a->next_len = rows->next.len;
    assert_true(rows->next.len <= sizeof(a->next));
    if (rows->next.len > 0) {
        memcpy(a->next, rows->next.data, rows->next.len);
    }
    for (size_t i = 0; i < rows->count && i < 16; i++) {
        text_of(a->keys[i], 64, rows->rows[i].key);
        text_of(a->values[i], 64, rows->rows[i].value);
        a->mod[i] = rows->rows[i].mod_revision;
    }
}

/* A call to be made inside: which, on which context, with what. */
struct ask {
    enum { ASK_GET, ASK_RANGE, ASK_PUT, ASK_PUT_IF, ASK_DEL, ASK_DEL_IF } what;
    struct kvp_ctx *ctx;
    const char *key;
    const char *value;
    int64_t mod;
    int64_t lease;
    uint32_t flags;
    const struct kvp_range *range;
    struct answer *answer;
};

static inline void ask_inside(void *data)
{
    struct ask *q = data;
    const struct kvp_host *h = probe.host;
    struct answer *a = q->answer;
    struct kvp_put put = {.size = sizeof(put),
                          .flags = q->flags,
                          .key = kvp_str(q->key),
                          .value = kvp_str(q->value),
                          .lease = q->lease};
    struct kvp_del del = {.size = sizeof(del), .flags = q->flags, .key = kvp_str(q->key)};
    switch (q->what) {
    case ASK_GET:
        a->accepted = h->get(q->ctx, kvp_str(q->key), answer_rows, a);
        break;
    case ASK_RANGE:
        a->accepted = h->range(q->ctx, q->range, answer_rows, a);
        break;
    case ASK_PUT:
        a->accepted = h->put(q->ctx, &put, answer_done, a);
        break;
    case ASK_PUT_IF:
        a->accepted = h->put_if(q->ctx, &put, q->mod, answer_done, a);
        break;
    case ASK_DEL:
        a->accepted = h->del(q->ctx, &del, answer_done, a);
        break;
    case ASK_DEL_IF:
        a->accepted = h->del_if(q->ctx, kvp_str(q->key), q->mod, answer_done, a);
        break;
    }
    assert_false(a->done); /* never inside the call */
}

/* Makes the call; waits for the answer when it was accepted. */
static inline void ask(struct ask q)
{
    memset(q.answer, 0, sizeof(*q.answer));
    inside(ask_inside, &q);
    if (q.answer->accepted == 0) {
        UNTIL(q.answer->done);
    }
}

static inline void assert_outcome(const struct answer *a, int outcome, int reason)
{
    assert_int_equal(a->accepted, 0);
    assert_true(a->done);
    assert_int_equal(a->result.reason, reason);
    assert_int_equal(a->result.outcome, outcome);
}

#endif
