/* test_host_objects_threads.c - many object requests between two plugins on threads of their own,
 * answered, watched, written for, canceled and cut off by the end; seen by TSan. */
#include "tests/unit/plugins/host_fixture.h"

enum { REQUESTS = 400, EVENTS = 40 };

/* ---- the provider ------------------------------------------------------------------------------
 */

static struct {
    const struct kvp_host *host;
    struct kvp_ctx *root;
    atomic_int requests, canceled, answered, wrong;
} shelf;

struct shelf_work {
    struct kvp_call *call;
    bool canceled;
    bool writing;
    int next; /* event */
};

static struct shelf_work *shelf_find[REQUESTS * 2];

static void shelf_drop(struct shelf_work *w)
{
    for (int i = 0; i < REQUESTS * 2; i++) {
        if (shelf_find[i] == w) {
            shelf_find[i] = NULL;
        }
    }
    shelf.host->release(shelf.root, w);
}

static struct shelf_work *shelf_of(struct kvp_call *c)
{
    for (int i = 0; i < REQUESTS * 2; i++) {
        if (shelf_find[i] != NULL && shelf_find[i]->call == c) {
            return shelf_find[i];
        }
    }
    return NULL;
}

static void shelf_say(struct shelf_work *w)
{
    const struct kvp_object_answer a = {.size = sizeof(a), .status = 200, .body = kvp_str("{}")};
    if (shelf.host->call_answer(w->call, &a) != 0) {
        atomic_fetch_add(&shelf.wrong, 1);
    }
    atomic_fetch_add(&shelf.answered, 1);
    w->call = NULL;
}

static void shelf_wrote(void *data, const struct kvp_result *r)
{
    struct shelf_work *w = data;
    (void)r;
    w->writing = false;
    if (!w->canceled) {
        shelf_say(w);
    }
    shelf_drop(w);
}

static void shelf_pour(struct shelf_work *w)
{
    static char object[4000];
    while (w->next < EVENTS) {
        int rv = shelf.host->call_event(w->call, kvp_str("ADDED"),
                                        kvp_bytes_of(object, sizeof(object)), w->next);
        if (rv != 0) {
            if (rv != KVP_BUSY) {
                atomic_fetch_add(&shelf.wrong, 1);
            }
            return;
        }
        w->next++;
    }
    shelf_say(w);
    shelf_drop(w);
}

static void shelf_request(void *data, struct kvp_call *c, const struct kvp_object_request *r,
                          const struct kvp_identity *who)
{
    (void)data, (void)who;
    struct shelf_work *w = shelf.host->alloc(shelf.root, sizeof(*w));
    *w = (struct shelf_work){.call = c};
    for (int i = 0; i < REQUESTS * 2; i++) {
        if (shelf_find[i] == NULL) {
            shelf_find[i] = w;
            break;
        }
    }
    atomic_fetch_add(&shelf.requests, 1);
    if (r->verb == KVP_VERB_WATCH) {
        shelf_pour(w);
    } else if (r->verb == KVP_VERB_CREATE) {
        const struct kvp_put put = {.size = sizeof(put), .key = r->name, .value = r->body};
        w->writing = shelf.host->put(shelf.host->call_ctx(c), &put, shelf_wrote, w) == 0;
        if (!w->writing) {
            shelf_say(w);
            shelf_drop(w);
        }
    } else {
        shelf_say(w);
        shelf_drop(w);
    }
}

static void shelf_writable(void *data, struct kvp_call *c)
{
    (void)data;
    shelf_pour(shelf_of(c));
}

static void shelf_canceled(void *data, struct kvp_call *c)
{
    (void)data;
    struct shelf_work *w = shelf_of(c);
    atomic_fetch_add(&shelf.canceled, 1);
    w->canceled = true;
    w->call = NULL;
    if (!w->writing) {
        shelf_drop(w);
    }
}

static int shelf_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                      void **self, struct kvp_errmsg *e)
{
    const struct kvp_provide_args a = {.size = sizeof(a),
                                       .group = kvp_str("*"),
                                       .version = kvp_str("*"),
                                       .resource = kvp_str("*"),
                                       .request = shelf_request,
                                       .writable = shelf_writable,
                                       .canceled = shelf_canceled};
    (void)conf, (void)e;
    shelf.host = host;
    shelf.root = ctx;
    *self = &shelf;
    return host->provide(ctx, &a);
}

static struct kvp_plugin shelf_plugin = {.size = sizeof(struct kvp_plugin),
                                         .abi_major = KVP_ABI_MAJOR,
                                         .name = "shelf",
                                         .version = "1",
                                         .about = "Has objects.",
                                         .init = shelf_init};

/* ---- the asker ---------------------------------------------------------------------------------
 */

static struct {
    atomic_int accepted, done, ok, cut, canceled, events;
} asked;

static void asked_done(void *data, const struct kvp_result *r, const struct kvp_object_answer *a)
{
    (void)data, (void)a;
    atomic_fetch_add(r->outcome == KVP_OK ? &asked.ok : &asked.cut, 1);
    atomic_fetch_add(&asked.done, 1);
}

static void asked_event(void *data, struct kvp_bytes type, struct kvp_bytes object,
                        int64_t revision)
{
    (void)data, (void)type, (void)object, (void)revision;
    atomic_fetch_add(&asked.events, 1);
}

static void ask_many(void *data)
{
    static const uint32_t verbs[] = {KVP_VERB_GET, KVP_VERB_CREATE, KVP_VERB_WATCH};
    int until = *(int *)data;
    for (int i = 0; i < until; i++) {
        struct kvp_object *o = NULL;
        const struct kvp_object_args a = {.size = sizeof(a),
                                          .request = {.size = sizeof(a.request),
                                                      .verb = verbs[i % 3],
                                                      .version = kvp_str("v1"),
                                                      .resource = kvp_str("pods"),
                                                      .name = kvp_str("a"),
                                                      .body = kvp_str("{}")},
                                          .done = asked_done,
                                          .event = asked_event};
        if (probe.host->object(probe.term, &a, &o) == 0) {
            if (i % 7 == 0) {
                probe.host->object_cancel(o);
                atomic_fetch_add(&asked.canceled, 1);
            } else {
                atomic_fetch_add(&asked.accepted, 1);
            }
        }
    }
}

static int setup_on(void **state, uint32_t lanes)
{
    struct errmsg e = {""};
    memset(&shelf, 0, sizeof(shelf));
    memset(&asked, 0, sizeof(asked));
    memset(shelf_find, 0, sizeof(shelf_find));
    assert_int_equal(fixture_setup(state), 0);
    hf.f = *state;
    host_fixture_open(false);
    shelf_plugin.lanes = probe_plugin.lanes = lanes;
    host_register_static(&shelf_plugin);
    assert_int_equal(host_load(hf.host, "static:shelf", &e), 0);
    UNTIL(probe_state() == HOST_READY);
    probe_load("");
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING);
    return 0;
}

static int thread_setup(void **state)
{
    return setup_on(state, 0);
}

/* The store loop does what is quick. */
static int lent_setup(void **state)
{
    return setup_on(state, KVP_LANE_THREAD | KVP_LANE_LOOP);
}

static void each_request_is_answered_or_canceled_once(void **state)
{
    int n = REQUESTS;
    (void)state;
    inside(ask_many, &n);
    UNTIL(asked.done == asked.accepted);
    assert_int_equal(asked.accepted + asked.canceled, REQUESTS);
    assert_int_equal(asked.ok, asked.accepted);
    UNTIL(shelf.requests == shelf.answered + shelf.canceled);
    assert_true(asked.events >= EVENTS);
    assert_int_equal(shelf.wrong, 0);
}

/* The term, then both plugins, end while requests are everywhere. */
static void the_end_meets_requests_everywhere(void **state)
{
    int n = REQUESTS;
    (void)state;
    hf.f->hold = true; /* writes stay under way */
    inside(ask_many, &n);
    UNTIL(shelf.requests > 10);
    host_role(hf.host, false, hf.f->term);
    UNTIL(probe.stops == 1);
    assert_int_equal(asked.done, asked.accepted);
    assert_true(asked.cut > 0);
    hf.f->hold = false;
    host_fixture_close();
    assert_int_equal(shelf.requests, shelf.answered + shelf.canceled);
    assert_int_equal(shelf.wrong, 0);
}

static void both_plugins_end_in_the_middle(void **state)
{
    int n = REQUESTS;
    (void)state;
    inside(ask_many, &n);
    host_fixture_close();
    assert_int_equal(asked.done, asked.accepted);
    assert_int_equal(shelf.requests, shelf.answered + shelf.canceled);
    assert_int_equal(probe.finis, 1);
}

#define THREADS(test)                                                   \
    cmocka_unit_test_setup_teardown(test, thread_setup, host_teardown), \
        cmocka_unit_test_setup_teardown(test, lent_setup, host_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREADS(each_request_is_answered_or_canceled_once),
        THREADS(the_end_meets_requests_everywhere),
        THREADS(both_plugins_end_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
