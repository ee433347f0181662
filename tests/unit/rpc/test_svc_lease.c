/* test_svc_lease.c - Lease requests and the order of keep-alive answers (contract section 4). */
#include "tests/unit/rpc/svc_fake.h"

#include "base/limits.h"

static void grant_checks_the_ceiling(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__LeaseGrantRequest r = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    r.ttl = LEASE_TTL_SECONDS_MAX + 1;
    struct rpc_call *call = call_start(f, "etcdserverpb.Lease/LeaseGrant", &r);
    assert_error(call, ERR_LEASE_TTL_TOO_LARGE);
    call_free(call);
    r.ttl = LEASE_TTL_SECONDS_MAX;
    r.id = 77;
    call = call_start(f, "etcdserverpb.Lease/LeaseGrant", &r);
    assert_int_equal(f->lease_id, 77);
    assert_int_equal(f->lease_ttl, LEASE_TTL_SECONDS_MAX);
    f->write->cb(f->write, 0, 6, slice_of("\x10\x4d\x18\x05", 4)); /* ID 77, TTL 5 */
    Etcdserverpb__LeaseGrantResponse *a =
        call_answer(call, 0, &etcdserverpb__lease_grant_response__descriptor);
    assert_header(a->header, 6);
    assert_int_equal(a->id, 77);
    assert_int_equal(a->ttl, 5);
    call_free(call);
}

static void revoke_is_proposed(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__LeaseRevokeRequest r = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    r.id = 9;
    struct rpc_call *call = call_start(f, "etcdserverpb.Lease/LeaseRevoke", &r);
    assert_int_equal(f->op, SERVICE_LEASE_REVOKE);
    f->write->cb(f->write, ERR_LEASE_NOT_FOUND, 6, slice_of(NULL, 0));
    assert_error(call, ERR_LEASE_NOT_FOUND);
    call_free(call);
}

static void time_to_live(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__LeaseTimeToLiveRequest r = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    r.id = 9;
    r.keys = true;
    f->lease = (struct service_lease){.ttl = 12, .granted_ttl = 60};
    struct rpc_call *call = call_start(f, "etcdserverpb.Lease/LeaseTimeToLive", &r);
    Etcdserverpb__LeaseTimeToLiveResponse *a =
        call_answer(call, 0, &etcdserverpb__lease_time_to_live_response__descriptor);
    assert_header(a->header, 5);
    assert_int_equal(a->id, 9);
    assert_int_equal(a->ttl, 12);
    assert_int_equal(a->grantedttl, 60);
    assert_int_equal(a->n_keys, 2);
    assert_memory_equal(a->keys[1].data, "k2", 2);
    call_free(call);
    /* Unknown: OK with -1 (trap 9). */
    r.keys = false;
    f->lease = (struct service_lease){.ttl = -1};
    call = call_start(f, "etcdserverpb.Lease/LeaseTimeToLive", &r);
    a = call_answer(call, 0, &etcdserverpb__lease_time_to_live_response__descriptor);
    assert_int_equal(a->ttl, -1);
    assert_int_equal(a->n_keys, 0);
    assert_int_equal(call->code, 0);
    call_free(call);
    f->lease_known = false;
    call = call_start(f, "etcdserverpb.Lease/LeaseTimeToLive", &r);
    assert_error(call, ERR_NO_LEADER);
    call_free(call);
}

static void leases_are_listed(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__LeaseLeasesRequest r = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    struct rpc_call *call = call_start(f, "etcdserverpb.Lease/LeaseLeases", &r);
    Etcdserverpb__LeaseLeasesResponse *a =
        call_answer(call, 0, &etcdserverpb__lease_leases_response__descriptor);
    assert_int_equal(a->n_leases, 2);
    assert_int_equal(a->leases[0]->id, 7);
    assert_int_equal(a->leases[1]->id, 300);
    assert_header(a->header, 5);
    call_free(call);
}

static void keep_alive(struct rpc_call *call, int64_t id)
{
    Etcdserverpb__LeaseKeepAliveRequest r = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    r.id = id;
    call_send(call, &r);
}

static void renewed(struct fake *f, size_t i, int err, int64_t revision, int64_t ttl)
{
    *f->renewal_ttls[i] = ttl;
    f->renewals[i]->cb(f->renewals[i], err, revision, slice_of(NULL, 0));
}

/* L-05: one answer per request, in the order of the requests, whatever ends first. */
static void keep_alives_answer_in_order(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = call_new(f, "etcdserverpb.Lease/LeaseKeepAlive");
    call_open(call);
    keep_alive(call, 1);
    keep_alive(call, 2);
    keep_alive(call, 3);
    renewed(f, 2, 0, 30, 33);
    renewed(f, 1, 0, 20, 0); /* unknown lease: TTL 0, stream stays */
    assert_int_equal(call->count, 0);
    renewed(f, 0, 0, 10, 11);
    assert_int_equal(call->count, 3);
    static const int64_t ttls[] = {11, 0, 33};
    for (size_t i = 0; i < 3; i++) {
        Etcdserverpb__LeaseKeepAliveResponse *a =
            call_answer(call, i, &etcdserverpb__lease_keep_alive_response__descriptor);
        assert_header(a->header, (int64_t)(i + 1) * 10);
        assert_int_equal(a->id, i + 1);
        assert_int_equal(a->ttl, ttls[i]);
    }
    assert_false(call->finished);
    /* EOF: what is pending is answered first, then OK. */
    keep_alive(call, 4);
    call->method->half_close(call);
    assert_false(call->finished);
    renewed(f, 3, 0, 40, 5);
    assert_int_equal(call->count, 4);
    assert_true(call->finished);
    assert_int_equal(call->code, 0);
    call_free(call);
}

/* L-06: a leader that cannot confirm itself sends the client elsewhere. */
static void lost_leadership_ends_keep_alives(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = call_new(f, "etcdserverpb.Lease/LeaseKeepAlive");
    call_open(call);
    keep_alive(call, 1);
    keep_alive(call, 2);
    renewed(f, 0, ERR_NOT_LEADER, 5, 0);
    assert_true(call->finished);
    assert_int_equal(call->code, GRPC_UNKNOWN);
    assert_string_equal(call->text, "not a primary lessor");
    call_free(call);
    assert_int_equal(f->canceled, 1); /* the second one */

    call = call_new(f, "etcdserverpb.Lease/LeaseKeepAlive");
    call_open(call);
    keep_alive(call, 1);
    renewed(f, 2, ERR_TIMEOUT, 5, 0);
    assert_error(call, ERR_TIMEOUT);
    call_free(call);
}

static int teardown_arena(void **state)
{
    (void)state;
    arena_close(&fake_arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(grant_checks_the_ceiling),
        TEST(revoke_is_proposed),
        TEST(time_to_live),
        TEST(leases_are_listed),
        TEST(keep_alives_answer_in_order),
        TEST(lost_leadership_ends_keep_alives),
    };
    return cmocka_run_group_tests(tests, NULL, teardown_arena);
}
