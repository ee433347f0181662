/* test_work.c - queues of keys: when they come, when they come again, what their requests mean. */
#include "plugins/client/work.h"
#include "tests/unit/plane/fake.h"

/* ---- a controller the test steers ---------------------------------------------------------------
 */

static struct {
    struct works_args args;
    struct client client;
    struct works *works;
    struct informer *informer;
    char seen[2048]; /* "a a#1 b": keys, with failures */
    uint64_t at[64];
    int count;
    int64_t result;
    /* in reconcile */
    int requests; /* sent per key */
    unsigned forgiven;
    bool hold, close, fail;
    struct work *held;
    int done, stopped;
    int32_t done_reason;
    bool done_closes;
    int rc;
    int add_rc;
    size_t len;
} t;

static void on_done(void *data, const struct client_answer *a)
{
    (void)data;
    t.done++;
    t.stopped += a->reason == KVP_STOPPED && a->outcome == KVP_UNKNOWN && !a->ok;
    t.done_reason = a->reason;
    if (t.held != NULL) {
        work_release(t.held, KVP_DONE);
        t.held = NULL;
    }
    if (t.done_closes) {
        works_close(t.works);
        t.works = NULL;
    }
}

static int64_t reconcile(void *data, struct work *w, struct slice key)
{
    char line[64];
    assert_ptr_equal(data, &t);
    uint32_t failures = work_failures(w);
    int len = snprintf(line, sizeof(line), "%.*s", (int)key.len, (const char *)key.data);
    snprintf(line + len, sizeof(line) - (size_t)len, failures > 0 ? "#%u " : " ", failures);
    size_t had = strlen(t.seen);
    assert_true(had + strlen(line) < sizeof(t.seen));
    memcpy(t.seen + had, line, strlen(line) + 1);
    t.at[t.count % 64] = plane_now_ms();
    t.count++;
    for (int i = 0; i < t.requests; i++) {
        const struct client_request r = {.verb = KVP_VERB_DELETE,
                                         .type = schema_type(SCHEMA_CORE_V1_POD),
                                         .space = slice_str("n"),
                                         .name = slice_str("p"),
                                         .done = on_done,
                                         .data = &t};
        t.rc = work_send(w, &r, t.forgiven);
    }
    if (t.hold) {
        work_hold(w);
        t.held = w;
    }
    if (t.fail) {
        work_fail(w, "for the test");
    }
    if (t.close) {
        works_close(t.works);
        t.works = NULL;
    }
    return t.result;
}

static void open_inside(void *data)
{
    (void)data;
    t.args.reconcile = reconcile;
    t.args.data = &t;
    t.rc = works_open(t.client, &t.args, &t.works);
}

static void close_inside(void *data)
{
    (void)data;
    works_close(t.works);
    t.works = NULL;
    informer_close(t.informer);
    t.informer = NULL;
}

static void add_inside(void *data)
{
    t.add_rc = works_add(t.works, slice_str(data));
}

static void add_later_inside(void *data)
{
    t.add_rc = works_add_after(t.works, slice_str(data), 5000);
}

static void len_inside(void *data)
{
    (void)data;
    t.len = works_len(t.works);
}

static void release_inside(void *data)
{
    work_release(t.held, *(int64_t *)data);
}

static void open_works(void)
{
    struct works_args args = t.args;
    memset(&t, 0, sizeof(t));
    t.args = args;
    fake_open();
    t.client = plane_client();
    plane_inside(open_inside, NULL);
    assert_int_equal(t.rc, 0);
    plane_on_stop(close_inside, NULL);
}

static void add(const char *key)
{
    plane_inside(add_inside, (void *)(uintptr_t)key);
    assert_int_equal(t.add_rc, 0);
}

static void expect_seen(const char *text)
{
    if (strcmp(t.seen, text) != 0) {
        fail_msg("reconciled \"%s\" instead of \"%s\"", t.seen, text);
    }
    t.seen[0] = '\0';
}

/* ---- when keys come -----------------------------------------------------------------------------
 */

static void keys_come_as_reconcile_says(void **state)
{
    (void)state;
    t.args = (struct works_args){.name = "test"};
    open_works();
    add("a");
    add("b");
    expect_seen("a b ");
    plane_advance(3600000);
    expect_seen("");
    t.result = 700; /* look again */
    add("a");
    plane_advance(699);
    expect_seen("a ");
    t.result = KVP_DONE;
    plane_advance(1);
    expect_seen("a ");
    plane_inside(add_later_inside, "c");
    plane_advance(4999);
    expect_seen("");
    plane_advance(1);
    expect_seen("c ");
    /* Failures: ever later, counted, until it works. */
    t.result = KVP_RETRY;
    uint64_t before = plane_now_ms();
    t.count = 0;
    add("d");
    plane_advance(5 + 10 + 20 + 40);
    expect_seen("d d#1 d#2 d#3 d#4 ");
    assert_int_equal(t.at[4] - before, 75);
    t.result = KVP_DONE;
    plane_advance(80);
    expect_seen("d#5 ");
    add("d");
    expect_seen("d ");
    t.fail = true; /* whatever it returns */
    add("e");
    t.fail = false;
    plane_advance(5);
    expect_seen("e e#1 ");
    plane_close();
}

/* A key is in work until all answers are there; added meanwhile it comes again; others go on up to
 * the limit. */
static void keys_wait_for_their_answers(void **state)
{
    (void)state;
    t.args = (struct works_args){.name = "test", .parallel = 2};
    open_works();
    t.requests = 2;
    add("a");
    add("a");
    add("b");
    add("c");
    expect_seen("a b ");
    assert_int_equal(fake_open_calls(), 4);
    plane_inside(len_inside, NULL);
    assert_int_equal(t.len, 1);
    t.requests = 0;
    fake_answer(&fake.calls[0], 200, "{}");
    expect_seen("");
    assert_int_equal(t.done, 1);
    fake_answer(&fake.calls[1], 200, "{}");
    expect_seen("c a ");
    fake_answer(&fake.calls[2], 200, "{}");
    fake_refuse(&fake.calls[3], 500, "InternalError");
    expect_seen("");
    plane_advance(5);
    expect_seen("b#1 ");
    assert_int_equal(t.done, 4);
    plane_close();
}

struct forgiveness {
    int status;
    const char *body;
    unsigned forgiven;
    bool again;
};

/* What is forgiven counts as done, all else comes again. */
static void answers_are_forgiven(void **state)
{
    static const char terminating[] =
        "{\"message\":\"m\",\"reason\":\"Forbidden\",\"details\":{\"causes\":[{\"reason\":"
        "\"NamespaceTerminating\"}]}}";
    static const struct forgiveness cases[] = {
        {200, "{}", 0, false},
        {404, "{\"reason\":\"NotFound\"}", 0, true},
        {404, "{\"reason\":\"NotFound\"}", WORK_NOT_FOUND_OK, false},
        {409, "{\"reason\":\"AlreadyExists\"}", WORK_EXISTS_OK, false},
        {409, "{\"reason\":\"AlreadyExists\"}", WORK_CONFLICT_OK, true},
        {409, "{\"reason\":\"Conflict\"}", WORK_EXISTS_OK, true},
        {409, "{\"reason\":\"Conflict\"}", WORK_CONFLICT_OK | WORK_NOT_FOUND_OK, false},
        {403, "{\"reason\":\"Forbidden\"}", WORK_NS_TERMINATING_OK, true},
        {403, terminating, WORK_NS_TERMINATING_OK, false},
        {403, terminating, 0, true},
        {422, "{\"reason\":\"Invalid\"}", ~0u, true},
        {500, "", ~0u, true},
    };
    (void)state;
    t.args = (struct works_args){.name = "test"};
    open_works();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t.requests = 1;
        t.forgiven = cases[i].forgiven;
        add("k");
        expect_seen("k ");
        t.requests = 0;
        fake_answer(fake_find(KVP_VERB_DELETE), cases[i].status, cases[i].body);
        plane_advance(5);
        expect_seen(cases[i].again ? "k#1 " : "");
    }
    plane_close();
}

/* Held work is open until it is released; the earliest of all results holds. */
static void holds_keep_work_open(void **state)
{
    int64_t later = 300;
    int64_t retry = KVP_RETRY;
    (void)state;
    t.args = (struct works_args){.name = "test"};
    open_works();
    t.hold = true;
    t.result = 1000;
    add("a");
    add("a");
    plane_advance(60000);
    expect_seen("a ");
    t.hold = false;
    t.result = 0;
    plane_inside(release_inside, &later); /* was added meanwhile: at once */
    expect_seen("a ");
    plane_advance(300);
    expect_seen("a ");
    plane_advance(60000);
    expect_seen("");
    t.hold = true;
    add("b");
    t.hold = false;
    plane_inside(release_inside, &retry);
    plane_advance(5);
    expect_seen("b b#1 ");
    plane_close();
}

/* ---- informers ----------------------------------------------------------------------------------
 */

static void informer_inside(void *data)
{
    const struct informer_args a = {.type = schema_type(SCHEMA_CORE_V1_POD)};
    (void)data;
    t.rc = informer_open(plane_root_client(), &a, &t.informer);
}

static void close_informer_inside(void *data)
{
    (void)data;
    informer_close(t.informer);
    t.informer = NULL;
}

static void open_behind_informer(void)
{
    memset(&t, 0, sizeof(t));
    fake_open();
    t.client = plane_client();
    plane_inside(informer_inside, NULL);
    assert_int_equal(t.rc, 0);
    t.args = (struct works_args){.name = "test", .parallel = 2, .informers = {t.informer}};
    plane_inside(open_inside, NULL);
    assert_int_equal(t.rc, 0);
    plane_on_stop(close_inside, NULL);
}

static const char no_pods[] = "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}";

/* Nothing before the informers are synced, then everything, each key once. */
static void work_waits_for_informers(void **state)
{
    (void)state;
    open_behind_informer();
    add("a");
    add("b");
    add("c");
    add("a");
    plane_advance(1000);
    expect_seen("");
    fake_answer(fake_await(KVP_VERB_LIST, 0), 200, no_pods);
    expect_seen("a b c a ");
    add("d");
    expect_seen("d ");
    plane_close();

    /* Reconcile may close it all, at the first key. */
    open_behind_informer();
    add("a");
    add("b");
    t.close = true;
    fake_answer(fake_await(KVP_VERB_LIST, 0), 200, no_pods);
    expect_seen("a ");
    plane_close();

    /* The informer is closed first. */
    open_behind_informer();
    add("a");
    plane_inside(close_informer_inside, NULL);
    add("b");
    plane_advance(60000);
    expect_seen("");
    plane_close();
}

/* ---- ends ---------------------------------------------------------------------------------------
 */

/* Closed inside reconcile, inside a done, with requests under way, with holds. */
static void closing_at_any_time(void **state)
{
    (void)state;
    t.args = (struct works_args){.name = "test"};
    open_works();
    t.close = true;
    t.requests = 2;
    add("a");
    expect_seen("a ");
    fake_refuse(&fake.calls[0], 500, "InternalError");
    fake_answer(&fake.calls[1], 200, "{}");
    plane_advance(60000);
    expect_seen("");
    assert_int_equal(t.done, 2); /* inside works_close, and not again */
    assert_int_equal(t.stopped, 2);
    plane_close();

    open_works();
    t.requests = 2;
    t.done_closes = true;
    add("a");
    add("b");
    fake_refuse(&fake.calls[0], 500, "InternalError");
    assert_int_equal(t.done, 4);
    assert_int_equal(t.stopped, 3);
    fake_answer(&fake.calls[1], 200, "{}");
    plane_advance(60000);
    expect_seen("a b ");
    plane_close(); /* the other two are under way still */
    assert_int_equal(t.done, 4);

    /* From outside; a done may release what it held. */
    open_works();
    t.requests = 2;
    t.hold = true;
    add("a");
    plane_inside(close_inside, NULL);
    assert_int_equal(t.stopped, 2);
    fake_answer(&fake.calls[0], 200, "{}");
    plane_close();
    assert_int_equal(t.done, 2);

    open_works();
    t.hold = true;
    add("a");
    t.requests = 1;
    add("b");
    plane_inside(close_inside, NULL);
    plane_close();
}

/* The term ends: requests call back, nothing is reconciled, adding is refused; in stop it is
 * closed. Between the two, handlers of longer-living informers may add. */
static void the_end_of_the_term(void **state)
{
    (void)state;
    t.args = (struct works_args){.name = "test"};
    open_works();
    plane_on_stop(NULL, NULL);
    t.requests = 1;
    add("a");
    t.requests = 0;
    t.hold = true;
    add("b");
    plane_inside(add_later_inside, "c");
    plane_follow();
    assert_int_equal(t.done, 1);
    assert_int_equal(t.done_reason, KVP_STOPPED);
    plane_inside(add_inside, "d");
    assert_int_equal(t.add_rc, KVP_STOPPED);
    plane_inside(add_later_inside, "d");
    assert_int_equal(t.add_rc, KVP_STOPPED);
    plane_inside(len_inside, NULL);
    assert_int_equal(t.len, 0);
    plane_advance(60000);
    expect_seen("a b ");
    plane_inside(close_inside, NULL);
    /* The next term has one of its own. */
    plane_lead();
    t.client = plane_client();
    t.hold = false;
    plane_inside(open_inside, NULL);
    plane_on_stop(close_inside, NULL);
    add("a");
    expect_seen("a ");
    plane_close();
}

/* More than may be under way: the key has failed. */
static void requests_that_cannot_be_sent(void **state)
{
    (void)state;
    t.args = (struct works_args){.name = "test"};
    open_works();
    t.requests = 4097; /* PLUGIN_REQUESTS_MAX and one */
    add("a");
    assert_int_equal(t.rc, KVP_BUSY);
    plane_on_stop(close_inside, NULL);
    plane_close();
}

/* ---- memory -------------------------------------------------------------------------------------
 */

struct opening {
    uint64_t n;
    bool hit;
};

static void opening_inside(void *data)
{
    struct opening *o = data;
    mem_fail_after(o->n);
    open_inside(NULL);
    o->hit = mem_fail_left() == 0;
    mem_fail_after(0);
}

/* Each allocation fails once: while opening, and while a key is worked on; no key is lost. */
static void memory_failures_lose_no_key(void **state)
{
    struct opening o = {.hit = true};
    bool hit = true;
    (void)state;
    memset(&t, 0, sizeof(t));
    fake_open();
    t.client = plane_client();
    plane_inside(informer_inside, NULL);
    t.args = (struct works_args){.name = "test", .informers = {t.informer}};
    for (o.n = 1; o.hit; o.n++) {
        plane_inside(opening_inside, &o);
        assert_int_equal(t.rc, o.hit ? KVP_NO_MEMORY : 0);
    }
    assert_true(o.n > 4);
    plane_on_stop(close_inside, NULL);
    plane_close();

    t.args = (struct works_args){.name = "test"};
    for (uint64_t n = 1; hit; n++) {
        open_works();
        t.requests = 1;
        add("first"); /* the queue is warm */
        fake_answer(fake_find(KVP_VERB_DELETE), 200, "{}");
        t.seen[0] = '\0';
        plane_inside_only(add_inside, "a");
        assert_int_equal(t.add_rc, 0);
        hit = plane_settle_failing(n);
        plane_advance(20000); /* the host's pulse, when it had no memory for a timer */
        while (fake_find(KVP_VERB_DELETE) != NULL) {
            fake_answer(fake_find(KVP_VERB_DELETE), 200, "{}");
            plane_advance(20000);
        }
        assert_true(strlen(t.seen) > 0);
        t.seen[0] = '\0';
        add("a"); /* it is finished: it comes at once */
        assert_true(strncmp(t.seen, "a ", 2) == 0);
        plane_close();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(keys_come_as_reconcile_says), PLANE_TEST(keys_wait_for_their_answers),
        PLANE_TEST(answers_are_forgiven),        PLANE_TEST(holds_keep_work_open),
        PLANE_TEST(work_waits_for_informers),    PLANE_TEST(closing_at_any_time),
        PLANE_TEST(the_end_of_the_term),         PLANE_TEST(requests_that_cannot_be_sent),
        PLANE_TEST(memory_failures_lose_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
