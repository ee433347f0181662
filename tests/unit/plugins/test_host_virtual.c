/* test_host_virtual.c - the host without a loop: on the test's clock, and with failing memory. */
#include "tests/unit/plugins/host_fixture.h"

static uint64_t now_ms;

/* Runs host and store until neither has anything to do now. */
static void settle(void)
{
    for (int quiet = 0; quiet < 3;) {
        bool ran = host_turn(hf.host, now_ms);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
        quiet = ran ? 0 : quiet + 1;
    }
}

static void virtual_close(void)
{
    if (hf.host == NULL) {
        return;
    }
    host_stop(hf.host, host_fixture_on_stopped, &hf.stopped);
    for (int i = 0; i < 1000 && !hf.stopped; i++) {
        (void)host_turn(hf.host, now_ms);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
    }
    assert_true(hf.stopped);
    hf.host = NULL;
}

static int virtual_setup(void **state)
{
    struct errmsg e = {""};
    assert_int_equal(fixture_setup(state), 0);
    hf.f = *state;
    struct host_options o = {
        .service = hf.f->service, .data_dir = hf.f->dir, .member_id = 7, .seed = 3};
    memset(&probe, 0, sizeof(probe));
    probe_plugin.flags = 0;
    now_ms = 1000;
    hf.stopped = false;
    assert_int_equal(host_new(&o, &hf.host, &e), 0);
    host_register_static(&probe_plugin);
    assert_int_equal(host_load(hf.host, "static:probe", &e), 0);
    settle();
    assert_int_equal(probe_state(), HOST_READY);
    host_role(hf.host, true, hf.f->term);
    settle();
    assert_int_equal(probe_state(), HOST_LEADING);
    return 0;
}

static int virtual_teardown(void **state)
{
    virtual_close();
    return fixture_teardown(state);
}

static void run_inside(void (*fn)(void *data), void *data)
{
    struct inside i = {.fn = fn, .data = data};
    assert_int_equal(probe.host->post(probe.root, inside_on_post, &i), 0);
    settle();
    assert_true(i.done);
}

/* ---- the clock ---------------------------------------------------------------------------------
 */

static struct {
    unsigned fired;
    uint64_t at_ms;
    int worked, canceled;
} seen;

static void on_fire(void *data)
{
    (void)data;
    seen.fired++;
    seen.at_ms = probe.host->now_ms(probe.root);
}

static void on_work(void *data)
{
    (void)data;
    seen.worked++;
}

static void on_worked(void *data, int canceled)
{
    (void)data;
    seen.canceled += canceled;
}

static void timers_inside(void *data)
{
    struct kvp_timer_args hour = {
        .size = sizeof(hour), .after_ms = 3600000, .repeat_ms = 3600000, .fire = on_fire};
    (void)data;
    assert_int_equal(probe.host->timer(probe.root, &hour, NULL), 0);
    assert_int_equal(probe.host->offload(probe.root, on_work, on_worked, NULL), 0);
}

static void hours_pass_in_no_time(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    run_inside(timers_inside, NULL);
    assert_int_equal(seen.worked, 1);
    assert_int_equal(seen.canceled, 0);
    assert_int_equal(host_next_ms(hf.host), 1000 + 3600000);
    now_ms = host_next_ms(hf.host) - 1;
    settle();
    assert_int_equal(seen.fired, 0);
    for (unsigned i = 1; i <= 24; i++) {
        now_ms = host_next_ms(hf.host);
        settle();
        assert_int_equal(seen.fired, i);
        assert_int_equal(seen.at_ms, 1000 + i * 3600000ull);
    }
}

/* ---- failing memory ----------------------------------------------------------------------------
 * Allocation number N fails, for every N: each call is either refused or answered once, and the
 * next try works. */

struct attempt {
    unsigned answers;
    int accepted;
    int outcome;
    uint64_t fail_at;
    bool reached; /* the failing allocation came */
    int what;
    struct kvp_watch *watch;
    unsigned ended;
};

static void attempt_done(void *data, const struct kvp_result *r)
{
    struct attempt *a = data;
    a->answers++;
    a->outcome = r->outcome;
}

static void attempt_rows(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    attempt_done(data, r);
    assert_int_equal(rows != NULL, r->outcome == KVP_OK);
}

static void attempt_txn(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    attempt_done(data, r);
    assert_int_equal(t != NULL, r->outcome == KVP_OK);
}

static void attempt_events(void *data, const struct kvp_batch *b)
{
    struct attempt *a = data;
    a->answers += (unsigned)b->count;
    a->outcome = KVP_OK;
}

static void attempt_ended(void *data, const struct kvp_result *r)
{
    struct attempt *a = data;
    a->ended++;
    a->outcome = r->outcome;
}

static int attempt_commit(struct attempt *a)
{
    const struct kvp_host *h = probe.host;
    struct kvp_txn *t = h->txn_new(probe.term);
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("m"), .value = kvp_str("1")};
    struct kvp_range get = {.size = sizeof(get), .key = kvp_str("m")};
    if (t == NULL) {
        return KVP_NO_MEMORY;
    }
    (void)h->txn_put(t, KVP_THEN, &put);
    (void)h->txn_get(t, KVP_THEN, &get);
    return h->txn_commit(t, attempt_txn, a);
}

static void attempt_inside(void *data)
{
    struct attempt *a = data;
    const struct kvp_host *h = probe.host;
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("m"), .value = kvp_str("1")};
    struct kvp_lease_args lease = {.size = sizeof(lease), .ttl_s = 60};
    struct kvp_watch_args watch = {.size = sizeof(watch),
                                   .key = kvp_str("m"),
                                   .from_revision = 2,
                                   .events = attempt_events,
                                   .ended = attempt_ended,
                                   .data = a};
    mem_fail_after(a->fail_at);
    switch (a->what) {
    case 0:
        a->accepted = h->put(probe.term, &put, attempt_done, a);
        break;
    case 1:
        a->accepted = h->get(probe.term, kvp_str("m"), attempt_rows, a);
        break;
    case 2:
        a->accepted = attempt_commit(a);
        break;
    case 3:
        a->accepted = h->lease_grant(probe.term, &lease, attempt_done, a);
        break;
    case 4:
        a->accepted = h->put_if(probe.term, &put, 9999, attempt_done, a);
        break;
    default:
        a->accepted = h->watch(probe.term, &watch, &a->watch);
        break;
    }
}

static void unwatch_inside(void *data)
{
    struct attempt *a = data;
    probe.host->unwatch(a->watch);
}

/* Only the host's own allocations may fail: those of apply would rightly end the process. So the
 * counter is off again before the store's loop runs, and on for each of the lane's turns. */
static void settle_failing(struct attempt *a)
{
    uint64_t left = a->fail_at;
    for (int quiet = 0; quiet < 3;) {
        mem_fail_after(left);
        bool ran = host_turn(hf.host, now_ms);
        mem_fail_after(0);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
        quiet = ran ? 0 : quiet + 1;
    }
}

static void failing_memory_is_survived(void **state)
{
    (void)state;
    for (int what = 0; what <= 5; what++) {
        for (uint64_t n = 1; n <= 12; n++) {
            struct attempt a = {.fail_at = n, .what = what};
            struct inside i = {.fn = attempt_inside, .data = &a};
            assert_int_equal(probe.host->post(probe.root, inside_on_post, &i), 0);
            settle_failing(&a);
            assert_true(i.done);
            if (a.what == 5) {
                assert_true(a.accepted != 0 || a.answers > 0 || a.ended == 1);
                assert_true(a.ended <= 1);
            } else {
                assert_int_equal(a.answers, a.accepted == 0 ? 1 : 0);
            }
            if (a.what == 5 && a.accepted == 0 && a.ended == 0) {
                run_inside(unwatch_inside, &a);
            }
        }
        struct attempt last = {.what = what};
        run_inside(attempt_inside, &last);
        assert_int_equal(last.accepted, 0);
        assert_true(last.answers > 0);
        assert_int_equal(last.outcome, what == 4 ? KVP_REFUSED : KVP_OK);
        if (what == 5) {
            run_inside(unwatch_inside, &last);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, virtual_setup, virtual_teardown)
    const struct CMUnitTest tests[] = {
        T(hours_pass_in_no_time),
        T(failing_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
