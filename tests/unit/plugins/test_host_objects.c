/* test_host_objects.c - objects between two plugins: who is asked, whose stamp is on the writes,
 * watches with backpressure, and every order of going away; on the store loop and on threads. */
#include <sched.h>

#include "tests/unit/plugins/host_fixture.h"

/* ---- the provider: a second plugin -------------------------------------------------------------
 * It keeps each call in shelf.call, unless told to answer at once. */

static struct {
    const struct kvp_host *host;
    struct kvp_ctx *root;
    struct kvp_call *_Atomic call; /* the newest one */
    atomic_int requests, canceled, writables;
    atomic_bool answers; /* at once, with what it was asked for */
    atomic_int provided; /* by which of its rows */
    char seen[512];
    uint32_t authenticated;
    struct answer wrote; /* through call_ctx */
    atomic_bool wrote_done;
} shelf;

static int rows[] = {0, 1, 2, 3};

static void shelf_say(struct kvp_call *c, int status, const char *body)
{
    const struct kvp_object_answer a = {.size = sizeof(a),
                                        .status = status,
                                        .content_type = kvp_str("text/plain"),
                                        .body = kvp_str(body),
                                        .revision = 77};
    assert_int_equal(shelf.host->call_answer(c, &a), 0);
}

static void shelf_request(void *data, struct kvp_call *c, const struct kvp_object_request *r,
                          const struct kvp_identity *who)
{
    snprintf(shelf.seen, sizeof(shelf.seen), "%u %.*s/%.*s/%.*s %.*s/%.*s %.*s by %.*s of %.*s",
             r->verb, (int)r->group.len, (const char *)r->group.data, (int)r->version.len,
             (const char *)r->version.data, (int)r->resource.len, (const char *)r->resource.data,
             (int)r->space.len, (const char *)r->space.data, (int)r->name.len,
             (const char *)r->name.data, (int)r->body.len, (const char *)r->body.data,
             (int)who->user.len, (const char *)who->user.data,
             who->group_count > 0 ? (int)who->groups[0].len : 0,
             who->group_count > 0 ? (const char *)who->groups[0].data : "");
    shelf.authenticated = who->authenticated;
    shelf.provided = *(const int *)data;
    shelf.call = c;
    if (shelf.answers) {
        shelf_say(c, 200, shelf.seen);
    }
    atomic_fetch_add(&shelf.requests, 1);
}

static void shelf_writable(void *data, struct kvp_call *c)
{
    (void)data, (void)c;
    atomic_fetch_add(&shelf.writables, 1);
}

static void shelf_canceled(void *data, struct kvp_call *c)
{
    (void)data, (void)c;
    atomic_fetch_add(&shelf.canceled, 1);
}

static int shelf_provide(const char *group, const char *version, const char *resource, int *row)
{
    const struct kvp_provide_args a = {.size = sizeof(a),
                                       .group = kvp_str(group),
                                       .version = kvp_str(version),
                                       .resource = kvp_str(resource),
                                       .request = shelf_request,
                                       .writable = shelf_writable,
                                       .canceled = shelf_canceled,
                                       .data = row};
    return shelf.host->provide(shelf.root, &a);
}

static int shelf_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                      void **self, struct kvp_errmsg *e)
{
    (void)conf, (void)e;
    shelf.host = host;
    shelf.root = ctx;
    *self = &shelf;
    assert_int_equal(shelf_provide("", "v1", "pods", &rows[0]), 0);
    assert_int_equal(shelf_provide("", "v1", "*", &rows[1]), 0);
    assert_int_equal(shelf_provide("apps", "*", "*", &rows[2]), 0);
    assert_int_equal(shelf_provide("*", "v9", "pods", &rows[3]), 0);
    assert_int_equal(shelf_provide("", "v1", "*", &rows[0]), KVP_EXISTS);
    assert_int_equal(shelf_provide("", "", "pods", &rows[0]), KVP_INVALID);
    return 0;
}

static struct kvp_plugin shelf_plugin = {.size = sizeof(struct kvp_plugin),
                                         .abi_major = KVP_ABI_MAJOR,
                                         .name = "shelf",
                                         .version = "1",
                                         .about = "Has objects.",
                                         .init = shelf_init};

static void shelf_inside(void (*fn)(void *data), void *data)
{
    struct inside i = {.fn = fn, .data = data};
    assert_int_equal(shelf.host->post(shelf.root, inside_on_post, &i), 0);
    UNTIL(i.done);
}

/* ---- the asker: the probe ----------------------------------------------------------------------
 */

static struct {
    atomic_int done, events, disordered;
    int outcome, reason, status;
    int64_t revision;
    char body[512], text[128];
    struct kvp_object *object;
    int accepted;
} asked;

static void asked_done(void *data, const struct kvp_result *r, const struct kvp_object_answer *a)
{
    (void)data;
    asked.outcome = r->outcome;
    asked.reason = r->reason;
    snprintf(asked.text, sizeof(asked.text), "%s", r->text);
    asked.status = a != NULL ? a->status : 0;
    asked.revision = r->revision;
    if (a != NULL) {
        text_of(asked.body, sizeof(asked.body), a->body);
    }
    asked.object = NULL;
    atomic_fetch_add(&asked.done, 1);
}

static void asked_event(void *data, struct kvp_bytes type, struct kvp_bytes object,
                        int64_t revision)
{
    (void)data;
    if (revision != asked.events + 1 || type.len != 5 || memcmp(type.data, "ADDED", 5) != 0 ||
        object.len != 3000) {
        atomic_fetch_add(&asked.disordered, 1);
    }
    atomic_fetch_add(&asked.events, 1);
}

struct wanted {
    struct kvp_ctx *ctx;
    uint32_t verb;
    const char *group, *version, *resource;
    const struct kvp_identity *identity;
};

static void want_inside(void *data)
{
    const struct wanted *w = data;
    const struct kvp_object_args a = {.size = sizeof(a),
                                      .request = {.size = sizeof(a.request),
                                                  .verb = w->verb,
                                                  .group = kvp_str(w->group),
                                                  .version = kvp_str(w->version),
                                                  .resource = kvp_str(w->resource),
                                                  .space = kvp_str("default"),
                                                  .name = kvp_str("web-1"),
                                                  .body = kvp_str("{}")},
                                      .identity = w->identity,
                                      .done = asked_done,
                                      .event = asked_event};
    asked.accepted = probe.host->object(w->ctx, &a, &asked.object);
    assert_int_equal(asked.done, 0); /* never inside the call */
}

static void want(struct wanted w)
{
    memset(&asked, 0, sizeof(asked));
    inside(want_inside, &w);
    assert_int_equal(asked.accepted, 0);
}

static struct wanted pods(uint32_t verb)
{
    return (struct wanted){
        .ctx = probe.root, .verb = verb, .group = "", .version = "v1", .resource = "pods"};
}

/* ---- life --------------------------------------------------------------------------------------
 */

static bool on_loop; /* all plugins are */

static int objects_setup(void **state, bool no_threads, uint32_t lanes)
{
    struct errmsg e = {""};
    memset(&shelf, 0, sizeof(shelf));
    assert_int_equal(fixture_setup(state), 0);
    hf.f = *state;
    on_loop = no_threads;
    host_fixture_open(no_threads);
    shelf_plugin.lanes = probe_plugin.lanes = lanes;
    host_register_static(&shelf_plugin);
    assert_int_equal(host_load(hf.host, "static:shelf", &e), 0);
    UNTIL(probe_state() == HOST_READY);
    probe_load("");
    return 0;
}

static int loop_setup(void **state)
{
    return objects_setup(state, true, 0);
}

static int thread_setup(void **state)
{
    return objects_setup(state, false, 0);
}

/* The store loop does what is quick. */
static int lent_setup(void **state)
{
    return objects_setup(state, false, KVP_LANE_THREAD | KVP_LANE_LOOP);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void a_request_is_answered(void **state)
{
    static const struct kvp_bytes groups[] = {{"ops", 3}, {"dev", 3}};
    const struct kvp_identity alice = {.size = sizeof(alice),
                                       .authenticated = 1,
                                       .user = kvp_str("alice"),
                                       .groups = groups,
                                       .group_count = 2};
    (void)state;
    shelf.answers = true;
    want(pods(KVP_VERB_GET));
    UNTIL(asked.done == 1);
    assert_int_equal(asked.outcome, KVP_OK);
    assert_int_equal(asked.status, 200);
    assert_int_equal(asked.revision, 77);
    assert_string_equal(asked.body,
                        "1 /v1/pods default/web-1 {} by kvd:plugin:probe of kvd:plugins");
    assert_int_equal(shelf.authenticated, 1);
    struct wanted w = pods(KVP_VERB_CREATE);
    w.identity = &alice;
    want(w);
    UNTIL(asked.done == 1);
    assert_string_equal(asked.body, "4 /v1/pods default/web-1 {} by alice of ops");
    assert_int_equal(shelf.canceled, 0);
}

static void assert_provided(const char *group, const char *version, const char *resource, int row)
{
    want((struct wanted){.ctx = probe.root,
                         .verb = KVP_VERB_GET,
                         .group = group,
                         .version = version,
                         .resource = resource});
    UNTIL(asked.done == 1);
    assert_int_equal(asked.outcome, KVP_OK);
    assert_int_equal(shelf.provided, row);
}

static void the_best_match_is_asked(void **state)
{
    (void)state;
    shelf.answers = true;
    assert_provided("", "v1", "pods", 0);
    assert_provided("", "v1", "nodes", 1);
    assert_provided("apps", "v1", "deployments", 2);
    assert_provided("other", "v9", "pods", 3);
    assert_provided("apps", "v9", "pods", 3); /* two exact names before one */
    want((struct wanted){.ctx = probe.root,
                         .verb = KVP_VERB_CREATE,
                         .group = "batch",
                         .version = "v1",
                         .resource = "jobs"});
    UNTIL(asked.done == 1);
    assert_int_equal(asked.outcome, KVP_REFUSED);
    assert_int_equal(asked.reason, KVP_NOT_FOUND);
    assert_string_equal(asked.text, "no plugin provides that resource");
}

static void mistakes_inside(void *data)
{
    (void)data;
    struct kvp_object_args a = {.size = sizeof(a), .done = asked_done};
    const struct kvp_host *h = probe.host;
    a.request = (struct kvp_object_request){.size = sizeof(a.request),
                                            .verb = KVP_VERB_GET,
                                            .version = kvp_str("v1"),
                                            .resource = kvp_str("pods")};
    a.request.verb = 9;
    assert_int_equal(h->object(probe.root, &a, NULL), KVP_INVALID);
    a.request.verb = KVP_VERB_WATCH; /* without event */
    assert_int_equal(h->object(probe.root, &a, NULL), KVP_INVALID);
    a.request.verb = KVP_VERB_GET;
    a.request.resource = kvp_str("");
    assert_int_equal(h->object(probe.root, &a, NULL), KVP_INVALID);
    a.request.resource = kvp_str("pods");
    a.done = NULL;
    assert_int_equal(h->object(probe.root, &a, NULL), KVP_INVALID);
    const struct kvp_provide_args late = {.size = sizeof(late),
                                          .version = kvp_str("v1"),
                                          .resource = kvp_str("late"),
                                          .request = shelf_request};
    assert_int_equal(h->provide(probe.root, &late), KVP_INVALID);
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    inside(mistakes_inside, NULL);
}

/* ---- the call's context ------------------------------------------------------------------------
 */

static void wrote_done(void *data, const struct kvp_result *r)
{
    (void)data;
    answer_done(&shelf.wrote, r);
    atomic_store(&shelf.wrote_done, true);
}

static void write_inside(void *data)
{
    (void)data;
    const struct kvp_put put = {
        .size = sizeof(put), .key = kvp_str("/o/web-1"), .value = kvp_str("{}")};
    struct kvp_ctx *ctx = shelf.host->call_ctx(shelf.call);
    assert_non_null(ctx);
    memset(&shelf.wrote, 0, sizeof(shelf.wrote));
    shelf.wrote_done = false;
    shelf.wrote.accepted = shelf.host->put(ctx, &put, wrote_done, NULL);
}

/* As data of a callback that does not change it. */
static void *text(const char *literal)
{
    return (void *)(uintptr_t)literal;
}

static void answer_inside(void *data)
{
    shelf_say(shelf.call, 201, data);
}

static void on_epoch(struct service_write *w, int err, int64_t revision, struct slice body)
{
    (void)revision, (void)body;
    assert_int_equal(err, 0);
    *(bool *)w->data = true;
}

static void writes_carry_the_askers_stamp(void **state)
{
    struct service *s = hf.f->service;
    (void)state;
    /* The shelf does not lead: it could not write for itself. */
    probe_lead();
    struct wanted w = pods(KVP_VERB_CREATE);
    w.ctx = probe.term;
    want(w);
    UNTIL(shelf.call != NULL);
    shelf_inside(write_inside, NULL);
    assert_int_equal(shelf.wrote.accepted, 0);
    UNTIL(shelf.wrote_done);
    assert_int_equal(shelf.wrote.result.outcome, KVP_OK);
    /* A newer leadership of the asker, elsewhere: what is written for it is fenced. */
    struct buf b = {0};
    wire_put_bytes(&b, 1, slice_str("probe"));
    wire_put_uint(&b, 2, 9);
    wire_put_uint(&b, 3, hf.f->term + 1);
    wire_put_uint(&b, 4, 1);
    bool done = false;
    struct service_write epoch = {.cb = on_epoch, .data = &done};
    s->propose(s, &epoch, SERVICE_EPOCH, buf_slice(&b));
    UNTIL(done);
    buf_close(&b);
    shelf_inside(write_inside, NULL);
    UNTIL(shelf.wrote_done);
    assert_int_equal(shelf.wrote.result.outcome, KVP_REFUSED);
    assert_int_equal(shelf.wrote.result.reason, KVP_FENCED);
    shelf_inside(answer_inside, text("late"));
    UNTIL(asked.done == 1);
    assert_int_equal(asked.status, 201);
}

static void without_a_stamp_nothing_is_written(void **state)
{
    (void)state;
    want(pods(KVP_VERB_CREATE)); /* through the instance context */
    UNTIL(shelf.call != NULL);
    shelf_inside(write_inside, NULL);
    assert_int_equal(shelf.wrote.accepted, KVP_NOT_LEADER);
    shelf_inside(answer_inside, text("no"));
    UNTIL(asked.done == 1);
}

static int64_t read_at;
static atomic_bool read_done;

static void read_rows(void *data, const struct kvp_result *r, const struct kvp_rows *found)
{
    (void)data;
    assert_int_equal(r->outcome, KVP_OK);
    assert_int_equal(found->count, 1);
    read_at = r->revision;
    read_done = true;
}

static void read_inside(void *data)
{
    (void)data;
    struct kvp_ctx *ctx = shelf.host->call_ctx(shelf.call);
    assert_int_equal(shelf.host->get(ctx, kvp_str("/o/seen"), read_rows, NULL), 0);
}

static void reads_see_what_the_asker_has_seen(void **state)
{
    struct answer a;
    (void)state;
    probe_lead();
    ask((struct ask){
        .what = ASK_PUT, .ctx = probe.term, .key = "/o/seen", .value = "1", .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    want(pods(KVP_VERB_GET));
    UNTIL(shelf.call != NULL);
    read_done = false;
    shelf_inside(read_inside, NULL);
    UNTIL(read_done);
    assert_true(read_at >= a.result.revision);
    shelf_inside(answer_inside, text("seen"));
    UNTIL(asked.done == 1);
}

/* A write under way when the call is answered: it is called back all the same, before the end. */
static void write_and_answer_inside(void *data)
{
    write_inside(data);
    answer_inside(text("quick"));
    assert_null(shelf.host->call_ctx(shelf.call));
}

static void the_context_ends_with_the_call(void **state)
{
    (void)state;
    probe_lead();
    struct wanted w = pods(KVP_VERB_CREATE);
    w.ctx = probe.term;
    want(w);
    UNTIL(shelf.call != NULL);
    hf.f->hold = true;
    shelf_inside(write_and_answer_inside, NULL);
    UNTIL(shelf.wrote_done && asked.done == 1);
    assert_int_equal(shelf.wrote.result.outcome, KVP_UNKNOWN);
    assert_int_equal(shelf.wrote.result.reason, KVP_STOPPED);
    hf.f->hold = false;
}

/* ---- watches -----------------------------------------------------------------------------------
 */

struct burst {
    int next, taken;
    int last; /* what call_event said */
    int until;
};

static void burst_inside(void *data)
{
    static char object[3000];
    struct burst *b = data;
    b->taken = 0;
    while (b->next <= b->until &&
           (b->last = shelf.host->call_event(shelf.call, kvp_str("ADDED"),
                                             kvp_bytes_of(object, sizeof(object)), b->next)) == 0) {
        b->next++;
        b->taken++;
    }
}

static void events_come_in_order_within_a_bound(void **state)
{
    struct burst b = {.next = 1, .until = 1000};
    (void)state;
    want(pods(KVP_VERB_WATCH));
    UNTIL(shelf.call != NULL);
    int rounds = 0;
    while (b.next <= b.until) {
        int before = shelf.writables;
        shelf_inside(burst_inside, &b);
        rounds++;
        /* The asker may take some meanwhile, when it has a thread of its own. */
        assert_in_range(b.taken, 0, 1000);
        if (b.next <= b.until) {
            assert_int_equal(b.last, KVP_BUSY);
            UNTIL(shelf.writables > before);
        }
    }
    UNTIL(asked.events == 1000);
    assert_int_equal(asked.disordered, 0);
    /* On a thread of its own the asker may keep up: a_stalled_asker_costs_a_bound. */
    assert_true(rounds > 1 || !on_loop);
    shelf_inside(answer_inside, text("end"));
    UNTIL(asked.done == 1);
    assert_int_equal(asked.outcome, KVP_OK);
}

/* An asker that is busy elsewhere lets no more than a bound pile up. */
static void stall_inside(void *data)
{
    struct burst *b = data;
    struct inside i = {.fn = burst_inside, .data = b};
    assert_int_equal(shelf.host->post(shelf.root, inside_on_post, &i), 0);
    while (!i.done) {
        sched_yield();
    }
}

static void a_stalled_asker_costs_a_bound(void **state)
{
    struct burst b = {.next = 1, .until = 1000};
    (void)state;
    want(pods(KVP_VERB_WATCH));
    UNTIL(shelf.call != NULL);
    inside(stall_inside, &b);
    assert_int_equal(b.last, KVP_BUSY);
    assert_in_range(b.taken * 3000, 1, PLUGIN_FLOW_HIGH_BYTES + 3000);
    UNTIL(shelf.writables == 1 && asked.events == b.taken);
}

static void not_a_watch_inside(void *data)
{
    (void)data;
    assert_int_equal(shelf.host->call_event(shelf.call, kvp_str("ADDED"), kvp_str("x"), 1),
                     KVP_INVALID);
}

static void only_watches_have_events(void **state)
{
    (void)state;
    want(pods(KVP_VERB_LIST));
    UNTIL(shelf.call != NULL);
    shelf_inside(not_a_watch_inside, NULL);
    shelf_inside(answer_inside, text("[]"));
    UNTIL(asked.done == 1);
}

/* ---- going away --------------------------------------------------------------------------------
 */

static void cancel_inside(void *data)
{
    (void)data;
    probe.host->object_cancel(asked.object);
}

static void a_canceled_request_is_quiet(void **state)
{
    struct burst b = {.next = 1, .until = 5};
    (void)state;
    want(pods(KVP_VERB_WATCH));
    UNTIL(shelf.call != NULL);
    shelf_inside(burst_inside, &b);
    inside(cancel_inside, NULL);
    int events = asked.events;
    UNTIL(shelf.canceled == 1);
    assert_int_equal(asked.done, 0);
    assert_int_equal(asked.events, events);
    /* And at once, before the provider has seen it. */
    want(pods(KVP_VERB_GET));
    inside(cancel_inside, NULL);
    UNTIL(shelf.canceled == 2);
    assert_int_equal(asked.done, 0);
}

static void an_ended_term_takes_its_requests_along(void **state)
{
    (void)state;
    probe_lead();
    struct wanted w = pods(KVP_VERB_CREATE);
    w.ctx = probe.term;
    want(w);
    UNTIL(shelf.call != NULL);
    shelf_inside(write_inside, NULL);
    UNTIL(shelf.wrote_done);
    host_role(hf.host, false, hf.f->term);
    UNTIL(probe.stops == 1);
    assert_int_equal(asked.done, 1); /* before stop */
    assert_int_equal(asked.outcome, KVP_UNKNOWN);
    assert_int_equal(asked.reason, KVP_STOPPED);
    UNTIL(shelf.canceled == 1);
}

static void both_may_end_with_requests_under_way(void **state)
{
    (void)state;
    probe_lead();
    struct wanted w = pods(KVP_VERB_WATCH);
    w.ctx = probe.term;
    want(w);
    UNTIL(shelf.requests == 1);
    shelf_inside(write_inside, NULL);
    UNTIL(shelf.wrote_done);
    host_fixture_close();
    assert_int_equal(asked.done, 1);
    assert_int_equal(shelf.canceled, 1);
    assert_int_equal(probe.finis, 1);
}

static void self_inside(void *data)
{
    (void)data;
    const struct kvp_object_args a = {.size = sizeof(a),
                                      .request = {.size = sizeof(a.request),
                                                  .verb = KVP_VERB_GET,
                                                  .version = kvp_str("v1"),
                                                  .resource = kvp_str("pods")},
                                      .done = asked_done};
    assert_int_equal(shelf.host->object(shelf.root, &a, NULL), 0);
}

static void a_provider_may_ask_itself(void **state)
{
    (void)state;
    memset(&asked, 0, sizeof(asked));
    shelf.answers = true;
    shelf_inside(self_inside, NULL);
    UNTIL(asked.done == 1);
    assert_string_equal(asked.body, "1 /v1/pods /  by kvd:plugin:shelf of kvd:plugins");
}

/* ---- authorize ---------------------------------------------------------------------------------
 */

struct permit {
    struct answer a;
    uint32_t verb;
    const char *key;
    atomic_bool done;
};

static void permit_done(void *data, const struct kvp_result *r)
{
    struct permit *p = data;
    answer_done(&p->a, r);
    p->done = true;
}

static void permit_inside(void *data)
{
    struct permit *p = data;
    const struct kvp_identity nobody = {.size = sizeof(nobody)};
    p->a.accepted = probe.host->authorize(probe.root, &nobody, p->verb, kvp_str(p->key),
                                          kvp_str(""), permit_done, p);
}

static void everybody_may_while_auth_is_off(void **state)
{
    struct permit p = {.verb = KVP_VERB_UPDATE, .key = "/a"};
    (void)state;
    inside(permit_inside, &p);
    UNTIL(p.done);
    assert_outcome(&p.a, KVP_OK, 0);
    p = (struct permit){.verb = KVP_VERB_DELETE, .key = "/a"};
    inside(permit_inside, &p);
    assert_int_equal(p.a.accepted, KVP_INVALID);
    p = (struct permit){.verb = KVP_VERB_GET, .key = ""};
    inside(permit_inside, &p);
    assert_int_equal(p.a.accepted, KVP_INVALID);
}

#define ALL(test)                                                           \
    cmocka_unit_test_setup_teardown(test, loop_setup, host_teardown),       \
        cmocka_unit_test_setup_teardown(test, thread_setup, host_teardown), \
        cmocka_unit_test_setup_teardown(test, lent_setup, host_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(a_request_is_answered),
        ALL(the_best_match_is_asked),
        ALL(mistakes_are_refused),
        ALL(writes_carry_the_askers_stamp),
        ALL(without_a_stamp_nothing_is_written),
        ALL(reads_see_what_the_asker_has_seen),
        ALL(the_context_ends_with_the_call),
        ALL(events_come_in_order_within_a_bound),
        cmocka_unit_test_setup_teardown(a_stalled_asker_costs_a_bound, thread_setup, host_teardown),
        ALL(only_watches_have_events),
        ALL(a_canceled_request_is_quiet),
        ALL(an_ended_term_takes_its_requests_along),
        ALL(both_may_end_with_requests_under_way),
        ALL(a_provider_may_ask_itself),
        ALL(everybody_may_while_auth_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
