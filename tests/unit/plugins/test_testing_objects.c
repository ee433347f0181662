/* test_testing_objects.c - the test host's objects group: the plugin asks, the plugin answers. */
#include "tests/unit/plugins/probe.h"

/* ---- the plugin asks ---------------------------------------------------------------------------
 */

static struct {
    unsigned ends, events;
    int32_t outcome, reason, status;
    int64_t revision;
    char body[128], event[128];
    struct kvp_object *handle;
} got;

static void on_done(void *data, const struct kvp_result *r, const struct kvp_object_answer *a)
{
    (void)data;
    got.ends++;
    got.outcome = r->outcome;
    got.reason = r->reason;
    got.status = a != NULL ? a->status : 0;
    got.revision = a != NULL ? a->revision : 0;
    snprintf(got.body, sizeof(got.body), "%.*s", a != NULL ? (int)a->body.len : 0,
             a != NULL ? (const char *)a->body.data : "");
}

static void on_event(void *data, struct kvp_bytes type, struct kvp_bytes object, int64_t revision)
{
    (void)data;
    got.events++;
    snprintf(got.event, sizeof(got.event), "%.*s %.*s %lld", (int)type.len, (const char *)type.data,
             (int)object.len, (const char *)object.data, (long long)revision);
}

static struct kvp_object_request request(uint32_t verb)
{
    struct kvp_object_request r = {.size = sizeof(r),
                                   .verb = verb,
                                   .version = kvp_str("v1"),
                                   .resource = kvp_str("pods"),
                                   .space = kvp_str("ns"),
                                   .name = kvp_str("a"),
                                   .body = kvp_str(verb == KVP_VERB_CREATE ? "{}" : "")};
    return r;
}

static void ask(void *verb)
{
    const struct kvp_object_args a = {.size = sizeof(a),
                                      .request = request(*(uint32_t *)verb),
                                      .done = on_done,
                                      .event = on_event};
    assert_int_equal(
        probe.host->object(probe.term != NULL ? probe.term : probe.ctx, &a, &got.handle), 0);
}

static void cancel(void *data)
{
    (void)data;
    probe.host->object_cancel(got.handle);
}

static void asks(uint32_t verb)
{
    memset(&got, 0, sizeof(got));
    inside(ask, &verb);
}

static struct t_call *asked;
static char asker[64];

static void provider(void *data, struct t_call *c, const struct kvp_object_request *r,
                     const struct kvp_identity *identity)
{
    asked = c;
    snprintf(asker, sizeof(asker), "%.*s", (int)identity->user.len,
             (const char *)identity->user.data);
    if (r->verb == KVP_VERB_GET) {
        t_answer(c, 200, data, 7);
    } else if (r->verb == KVP_VERB_WATCH) {
        t_event(c, "ADDED", "x", 8);
    }
}

static void open_probe(void)
{
    t_on_failure(_fail);
    probe = (struct probe){0};
    asked = NULL;
    t_open(&probe_plugin, NULL);
}

static void the_test_answers(void **state)
{
    (void)state;
    open_probe();
    asks(KVP_VERB_GET);
    t_advance(20);
    assert_int_equal(got.ends, 1);
    assert_int_equal(got.outcome, KVP_REFUSED);
    assert_int_equal(got.reason, KVP_NOT_FOUND);

    t_provide("*", "*", "*", provider, "any");
    t_provide("", "v1", "pods", provider, "pods");
    asks(KVP_VERB_GET);
    t_advance(20);
    assert_int_equal(got.ends, 1);
    assert_int_equal(got.outcome, KVP_OK);
    assert_int_equal(got.status, 200);
    assert_int_equal(got.revision, 7);
    assert_string_equal(got.body, "pods");
    assert_string_equal(asker, "kvd:plugin:probe");

    asks(KVP_VERB_WATCH);
    t_advance(20);
    assert_string_equal(got.event, "ADDED x 8");
    t_event(asked, "MODIFIED", "y", 9);
    t_advance(20);
    assert_string_equal(got.event, "MODIFIED y 9");
    assert_int_equal(got.ends, 0);
    assert_false(t_call_gone(asked));
    inside(cancel, NULL);
    t_event(asked, "MODIFIED", "z", 10);
    t_advance(20);
    assert_true(t_call_gone(asked));
    assert_int_equal(got.events, 2);
    assert_int_equal(got.ends, 0);
    t_close();
}

static void what_may_have_happened_is_unknown(void **state)
{
    (void)state;
    open_probe();
    t_provide("", "v1", "pods", provider, "pods");
    t_lead(3);

    t_fail("object", 1, KVP_UNAVAILABLE);
    asks(KVP_VERB_CREATE);
    t_advance(20);
    assert_int_equal(got.outcome, KVP_REFUSED);
    assert_null(asked);

    t_fail_unknown("object", 1, 0);
    asks(KVP_VERB_CREATE);
    t_advance(20);
    assert_int_equal(got.outcome, KVP_UNKNOWN);
    assert_null(asked);

    t_fail_unknown("object", 1, 1);
    asks(KVP_VERB_CREATE);
    t_advance(20);
    assert_non_null(asked);
    assert_int_equal(got.ends, 0);
    t_answer(asked, 201, "{}", 9);
    t_advance(20);
    assert_int_equal(got.outcome, KVP_UNKNOWN);
    assert_int_equal(got.status, 0);

    /* The end of the term: asked and not answered, may have happened; a watch is just over. */
    asks(KVP_VERB_CREATE);
    t_advance(20);
    assert_int_equal(t_in_flight("object"), 1);
    t_depose();
    assert_int_equal(got.ends, 1);
    assert_int_equal(got.outcome, KVP_UNKNOWN);
    assert_int_equal(got.reason, KVP_STOPPED);
    assert_int_equal(t_in_flight("object"), 0);
    t_lead(4);
    asks(KVP_VERB_WATCH);
    t_advance(20);
    t_depose();
    assert_int_equal(got.outcome, KVP_REFUSED);
    assert_int_equal(got.reason, KVP_STOPPED);

    /* One that is held has not happened. */
    t_lead(5);
    t_hold("object");
    asked = NULL;
    asks(KVP_VERB_CREATE);
    t_advance(20);
    assert_null(asked);
    t_release("object");
    t_advance(20);
    assert_non_null(asked);
    t_close();
    assert_int_equal(got.ends, 1);
}

/* ---- the plugin answers ------------------------------------------------------------------------
 */

static struct {
    struct kvp_call *call;
    unsigned requests, canceled, writable, written;
    int32_t written_reason, busy;
} served;

static void on_put(void *data, const struct kvp_result *r)
{
    (void)data;
    served.written++;
    served.written_reason = r->reason;
    const struct kvp_object_answer a = {
        .size = sizeof(a), .status = 201, .body = kvp_str("made"), .revision = r->revision};
    if (r->outcome == KVP_OK) {
        assert_int_equal(probe.host->call_answer(served.call, &a), 0);
    }
}

static void serve(void *data, struct kvp_call *c, const struct kvp_object_request *r,
                  const struct kvp_identity *identity)
{
    (void)data;
    (void)identity;
    served.call = c;
    served.requests++;
    if (r->verb == KVP_VERB_CREATE) {
        const struct kvp_put put = {.size = sizeof(put), .key = kvp_str("/made"), .value = r->body};
        assert_int_equal(probe.host->put(probe.host->call_ctx(c), &put, on_put, NULL), 0);
    }
}

static void serve_writable(void *data, struct kvp_call *c)
{
    (void)data;
    (void)c;
    served.writable++;
}

static void serve_canceled(void *data, struct kvp_call *c)
{
    (void)data;
    assert_ptr_equal(c, served.call);
    served.canceled++;
}

static int provide(void)
{
    const struct kvp_provide_args a = {.size = sizeof(a),
                                       .group = kvp_str(""),
                                       .version = kvp_str("v1"),
                                       .resource = kvp_str("*"),
                                       .request = serve,
                                       .writable = serve_writable,
                                       .canceled = serve_canceled};
    assert_int_equal(probe.host->provide(probe.ctx, &a), 0);
    assert_int_equal(probe.host->provide(probe.ctx, &a), KVP_EXISTS);
    return 0;
}

static void open_provider(void)
{
    t_on_failure(_fail);
    probe = (struct probe){.on_init = provide};
    memset(&served, 0, sizeof(served));
    t_open(&probe_plugin, NULL);
}

static struct t_object *test_asks(uint32_t verb, uint32_t leads)
{
    const struct t_object_args a = {.size = sizeof(a), .leads = leads, .request = request(verb)};
    return t_object_open(&a);
}

static void the_plugin_answers(void **state)
{
    (void)state;
    open_provider();
    struct t_object *o = test_asks(KVP_VERB_CREATE, 0);
    assert_int_equal(t_object_status(o), 0);
    t_advance(20);
    assert_int_equal(t_object_status(o), 201);
    assert_string_equal(t_object_body(o).data, "made");
    assert_int_equal(t_object_revision(o), t_revision());
    t_expect_value("/made", "{}");
    assert_int_equal(served.canceled, 0);

    /* It asks itself, too. */
    asks(KVP_VERB_CREATE);
    t_advance(30);
    assert_int_equal(got.status, 201);
    t_close();
}

static void writes_of_a_call_carry_the_askers_stamp(void **state)
{
    (void)state;
    open_provider();
    t_lead(3);
    struct t_object *o = test_asks(KVP_VERB_CREATE, 1);
    t_hold("put");
    t_advance(20);
    assert_int_equal(served.requests, 1);
    t_lead_elsewhere();
    t_release("put");
    t_advance(20);
    assert_int_equal(served.written_reason, KVP_FENCED);
    t_expect_value("/made", NULL);
    assert_int_equal(t_object_status(o), 0);
    t_close();
    assert_int_equal(served.canceled, 1);
}

static void flood(void *data)
{
    static char big[5000];
    (void)data;
    memset(big, 'x', sizeof(big));
    int reason = 0;
    for (int i = 0; i < 100 && reason == 0; i++) {
        reason = probe.host->call_event(served.call, kvp_str("ADDED"),
                                        kvp_bytes_of(big, sizeof(big)), i + 1);
    }
    served.busy = reason;
}

static void watches_are_slowed_down_and_canceled(void **state)
{
    (void)state;
    struct t_event e;
    open_provider();
    struct t_object *o = test_asks(KVP_VERB_WATCH, 0);
    t_advance(20);
    t_object_stall(o, 1);
    inside(flood, NULL);
    assert_int_equal(served.busy, KVP_BUSY);
    t_advance(20);
    assert_int_equal(served.writable, 0);
    assert_false(t_object_event(o, 0, &e));
    t_object_stall(o, 0);
    t_advance(200);
    assert_int_equal(served.writable, 1);
    assert_true(t_object_event(o, 12, &e));
    assert_string_equal(e.type, "ADDED");
    assert_int_equal(e.object.len, 5000);
    assert_int_equal(e.revision, 13);
    assert_false(t_object_event(o, 13, &e));
    t_object_cancel(o);
    t_advance(20);
    assert_int_equal(served.canceled, 1);

    /* The end of the plugin: it is told, and so is the asker. */
    o = test_asks(KVP_VERB_CREATE, 0);
    t_hold("put");
    t_advance(20);
    t_close();
    assert_int_equal(served.canceled, 2);
    assert_int_equal(served.written, 1);
    assert_int_equal(served.written_reason, KVP_STOPPED);
}

static void answer_twice(void *data)
{
    (void)data;
    const struct kvp_object_answer a = {.size = sizeof(a), .status = 200};
    assert_int_equal(probe.host->call_answer(served.call, &a), 0);
    assert_int_equal(probe.host->call_answer(served.call, &a), KVP_INVALID);
}

static char told[256];
static void keep_failure(const char *file, int line)
{
    (void)file;
    (void)line;
    snprintf(told, sizeof(told), "%s", t_failure());
}

static void a_second_answer_is_misuse(void **state)
{
    (void)state;
    open_provider();
    struct t_object *o = test_asks(KVP_VERB_GET, 0);
    t_advance(20);
    t_on_failure(keep_failure);
    inside(answer_twice, NULL);
    assert_non_null(strstr(told, "call_answer: that call was answered or canceled"));
    t_advance(20);
    assert_int_equal(t_object_status(o), 200);
    t_close();
}

/* ---- roles and ports ---------------------------------------------------------------------------
 */

static unsigned allowed, forbidden;
static void on_authorized(void *data, const struct kvp_result *r)
{
    (void)data;
    allowed += r->outcome == KVP_OK;
    forbidden += r->reason == KVP_FORBIDDEN;
}

static void ask_role(void *data)
{
    (void)data;
    const struct kvp_identity i = {.size = sizeof(i), .user = kvp_str("ann")};
    assert_int_equal(probe.host->authorize(probe.ctx, &i, KVP_VERB_GET, kvp_str("/k"), kvp_str(""),
                                           on_authorized, NULL),
                     0);
}

static void everybody_may_all_unless_the_test_says_no(void **state)
{
    (void)state;
    open_probe();
    inside(ask_role, NULL);
    t_advance(20);
    assert_int_equal(allowed, 1);
    t_fail("authorize", 1, KVP_FORBIDDEN);
    inside(ask_role, NULL);
    t_advance(20);
    assert_int_equal(forbidden, 1);
    t_close();
}

static unsigned opened;
static char why_shut[64];
static void on_opened(void *data, struct kvp_listener *l, const char *why)
{
    (void)data;
    assert_non_null(l);
    opened++;
    snprintf(why_shut, sizeof(why_shut), "%s", why != NULL ? why : "");
}

static int listen_all(void)
{
    struct kvp_listener *l;
    struct kvp_errmsg e;
    const struct kvp_listen_args a = {
        .size = sizeof(a), .address = "127.0.0.1", .port = 70, .opened = on_opened};
    assert_int_equal(probe.host->http_listen(probe.ctx, &a, &l, NULL, &e), 0);
    return 0;
}

static void ports_open_when_the_member_is_ready(void **state)
{
    (void)state;
    t_on_failure(_fail);
    probe = (struct probe){.on_init = listen_all};
    t_open(&probe_plugin, NULL);
    assert_int_equal(opened, 0);
    t_advance(20);
    assert_int_equal(opened, 1);
    assert_string_equal(why_shut, "");
    t_fail("http_listen", 1, KVP_UNAVAILABLE);
    t_reopen();
    t_advance(20);
    assert_int_equal(opened, 2);
    assert_string_equal(why_shut, "the address is in use");
    t_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_test_answers),
        cmocka_unit_test(what_may_have_happened_is_unknown),
        cmocka_unit_test(the_plugin_answers),
        cmocka_unit_test(writes_of_a_call_carry_the_askers_stamp),
        cmocka_unit_test(watches_are_slowed_down_and_canceled),
        cmocka_unit_test(a_second_answer_is_misuse),
        cmocka_unit_test(everybody_may_all_unless_the_test_says_no),
        cmocka_unit_test(ports_open_when_the_member_is_ready),
    };
    return cmocka_run_group_tests_name("plugins/testing objects", tests, NULL, NULL);
}
