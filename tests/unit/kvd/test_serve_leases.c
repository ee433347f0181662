/* test_serve_leases.c - renewals and expiry around what makes a leader doubt (L-06, L-07, L-14). */
#include "tests/unit/kvd/serve_fixture.h"

#include <poll.h>

struct renewal {
    struct service_write write;
    struct outcome outcome;
    int64_t ttl;
};

static void renew(struct fixture *f, struct renewal *r, int64_t id)
{
    memset(r, 0, sizeof(*r));
    r->write.data = &r->outcome;
    r->write.cb = on_write;
    f->service->lease_keep_alive(f->service, &r->write, id, &r->ttl);
}

/* A lease of one second with a key. */
static void grant(struct fixture *f, int64_t id, const char *key)
{
    struct service_write w;
    struct outcome o = {0};
    w.data = &o;
    w.cb = on_write;
    f->service->lease_grant(f->service, &w, id, 1);
    run_until(f, &o.done);
    assert_int_equal(o.err, 0);
    buf_close(&o.body);
    assert_int_equal(put_now(f, key, "v", id, NULL), 0);
}

/* Waits until something was proposed, a revoke: nobody else does. */
static void expect_revoke(struct fixture *f, size_t before)
{
    for (int i = 0; i < 500 && f->proposals == before; i++) {
        run_for(f, 10);
    }
    assert_int_equal(f->proposals, before + 1);
}

/* The loop does nothing for so long; a stopped process comes back like this. */
static void stand_still(int ms)
{
    assert_int_equal(poll(NULL, 0, ms), 0);
}

static void renewals_move_the_end(void **state)
{
    struct fixture *f = *state;
    struct renewal r;
    grant(f, 5, "k");
    size_t before = f->proposals;
    for (int i = 0; i < 8; i++) {
        run_for(f, 200);
        renew(f, &r, 5);
        assert_true(r.outcome.done);
        assert_int_equal(r.outcome.err, 0);
        assert_int_equal(r.ttl, 1);
    }
    assert_int_equal(f->proposals, before);
    expect_revoke(f, before);
    renew(f, &r, 6); /* never was */
    assert_true(r.outcome.done);
    assert_int_equal(r.outcome.err, 0);
    assert_int_equal(r.ttl, 0);
}

/* L-07: over, but its keys are there still: the answer waits until they are gone. */
static void a_lease_that_is_over_waits_for_its_revoke(void **state)
{
    struct fixture *f = *state;
    struct renewal r;
    grant(f, 5, "k");
    size_t before = f->proposals;
    f->hold = true;
    expect_revoke(f, before);
    renew(f, &r, 5);
    run_for(f, 700); /* over a tick */
    assert_false(r.outcome.done);
    f->hold = false;
    serve_delivered(f->serve);
    run_until(f, &r.outcome.done);
    assert_int_equal(r.outcome.err, 0);
    assert_int_equal(r.ttl, 0);
    assert_int_equal(range_now(f, "k", NULL, true)->count, 0);
}

/* L-14: others may have renewed the lease meanwhile, so nothing is revoked before a majority says
 * that this leader still leads. L-06: nothing is renewed either. */
static void a_leader_that_stood_still_asks_first(void **state)
{
    struct fixture *f = *state;
    struct renewal r;
    grant(f, 5, "k");
    run_for(f, 20); /* the first tick: the clock runs */
    size_t before = f->proposals;
    f->hold_reads = true;
    stand_still(1500);
    run_for(f, 20);
    renew(f, &r, 5);
    run_for(f, 700);
    assert_false(r.outcome.done);
    assert_int_equal(f->proposals, before);
    f->hold_reads = false;
    serve_delivered(f->serve);
    run_until(f, &r.outcome.done);
    assert_int_equal(r.outcome.err, 0);
}

/* L-06: a leader that nobody confirms sends the client elsewhere. */
static void without_confirmation_renewals_fail(void **state)
{
    struct fixture *f = *state;
    struct renewal r;
    grant(f, 5, "k");
    run_for(f, 20);
    size_t before = f->proposals;
    f->cfg.request_timeout_ms = 400;
    f->hold_reads = true;
    stand_still(1500);
    run_for(f, 20);
    renew(f, &r, 5);
    run_until(f, &r.outcome.done);
    assert_int_equal(r.outcome.err, ERR_NOT_LEADER);
    assert_int_equal(f->proposals, before);
    /* No leader at all is told as such. */
    serve_role_changed(f->serve, SERVE_FOLLOWER, 9, 0);
    renew(f, &r, 5);
    run_until(f, &r.outcome.done);
    assert_int_equal(r.outcome.err, ERR_NO_LEADER);
    f->hold_reads = false;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(renewals_move_the_end),
        TEST(a_lease_that_is_over_waits_for_its_revoke),
        TEST(a_leader_that_stood_still_asks_first),
        TEST(without_confirmation_renewals_fail),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_close(&fixture_arena);
    return failed;
}
