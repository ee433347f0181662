/* test_lessor - expiry, promotion, spreading, renewals; leases through apply. */
#include "kv_fixture.h"

#include "kv/lessor.h"

struct ids {
    int64_t ids[4096];
    size_t len;
};

static void note(void *data, int64_t id)
{
    struct ids *s = data;
    assert_true(s->len < 4096);
    s->ids[s->len++] = id;
}

static size_t expired(struct lessor *l, uint64_t now, struct ids *out)
{
    out->len = 0;
    return lessor_expired(l, now, 3000, 500, note, out);
}

/* Only a primary expires; a follower's leases live for ever. */
static void followers_expire_nothing(void **state)
{
    struct lessor l;
    struct ids s;
    int64_t ttl;
    lessor_init(&l);
    struct lease *lease = lessor_grant(&l, 1, 5);
    assert_non_null(lease);
    assert_int_equal(expired(&l, 1000000, &s), 0);
    assert_int_equal(lessor_next_ms(&l), UINT64_MAX);
    assert_int_equal(lessor_renew(&l, 1, 0, &ttl), ERR_NOT_LEADER);
    assert_int_equal(lessor_remaining_ms(&l, lease, 7), -1);
    lessor_close(&l);
}

/* A promotion starts every TTL anew, plus the extension (contract L-11). */
static void a_promotion_extends(void **state)
{
    struct lessor l;
    struct ids s;
    int64_t ttl;
    lessor_init(&l);
    lessor_grant(&l, 1, 5);
    lessor_grant(&l, 2, 10);
    lessor_promote(&l, 1000, 500);
    assert_int_equal(lessor_next_ms(&l), 6500);
    assert_int_equal(expired(&l, 6499, &s), 0);
    assert_int_equal(expired(&l, 6500, &s), 1);
    assert_int_equal(s.ids[0], 1);
    /* It waits for its revoke: renewals see it as gone, it is named again only after the retry. */
    assert_int_equal(lessor_renew(&l, 1, 6501, &ttl), ERR_LEASE_NOT_FOUND);
    assert_int_equal(expired(&l, 6600, &s), 0);
    assert_int_equal(expired(&l, 9500, &s), 1);
    assert_int_equal(lessor_renew(&l, 2, 9600, &ttl), 0);
    assert_int_equal(ttl, 10);
    lessor_revoke(&l, lessor_find(&l, 1));
    assert_int_equal(expired(&l, 19599, &s), 0);
    assert_int_equal(expired(&l, 19600, &s), 1);
    assert_int_equal(s.ids[0], 2);
    lessor_close(&l);
}

/* A lease granted on a primary runs from the first time it hears of, never shorter than its TTL. */
static void a_grant_never_runs_short(void **state)
{
    struct lessor l;
    struct ids s;
    lessor_init(&l);
    lessor_promote(&l, 1000, 0);
    struct lease *lease = lessor_grant(&l, 7, 2);
    assert_int_equal(lessor_next_ms(&l), 3000);
    assert_int_equal(lessor_remaining_ms(&l, lease, 1400), 2000);
    assert_int_equal(expired(&l, 3399, &s), 0);
    assert_int_equal(expired(&l, 3400, &s), 1);
    lease = lessor_grant(&l, 8, 3);
    lessor_revoke(&l, lease);
    assert_int_equal(lessor_next_ms(&l), 6400); /* 7's retry */
    lessor_close(&l);
}

/* Losing the leadership forgets expiries, also that something had expired. */
static void a_demotion_forgets(void **state)
{
    struct lessor l;
    struct ids s;
    int64_t ttl;
    lessor_init(&l);
    lessor_grant(&l, 1, 5);
    lessor_promote(&l, 0, 0);
    lessor_grant(&l, 2, 5);
    assert_int_equal(expired(&l, 5000, &s), 1);
    lessor_demote(&l);
    assert_int_equal(expired(&l, 50000, &s), 0);
    assert_int_equal(lessor_next_ms(&l), UINT64_MAX);
    lessor_promote(&l, 60000, 1000);
    assert_int_equal(lessor_renew(&l, 1, 60001, &ttl), 0);
    assert_int_equal(lessor_renew(&l, 2, 60001, &ttl), 0);
    lessor_close(&l);
}

/* At most `max` per pass. */
static void passes_are_bounded(void **state)
{
    struct lessor l;
    struct ids s = {.len = 0};
    lessor_init(&l);
    for (int64_t id = 1; id <= 900; id++) {
        lessor_grant(&l, id, 1);
    }
    lessor_promote(&l, 0, 0);
    assert_int_equal(lessor_expired(&l, 1000, 3000, 500, note, &s), 500);
    assert_int_equal(lessor_expired(&l, 1000, 3000, 500, note, &s), 400);
    assert_int_equal(lessor_expired(&l, 1000, 3000, 500, note, &s), 0);
    lessor_close(&l);
}

/* Contract L-11: 1,000 and more that would come due together are spread, about 750 per second. */
static void pile_ups_are_spread(void **state)
{
    enum { LEASES = 4000 };
    struct lessor l;
    lessor_init(&l);
    for (int64_t id = 1; id <= LEASES; id++) {
        lessor_grant(&l, id, 10);
    }
    lessor_promote(&l, 0, 0);
    size_t worst = 0;
    size_t all = 0;
    for (uint64_t now = 10000; now <= 20000; now += 1000) {
        struct ids s = {.len = 0};
        lessor_expired(&l, now, 100000, 4096, note, &s);
        worst = s.len > worst ? s.len : worst;
        all += s.len;
    }
    assert_int_equal(all, LEASES);
    assert_true(worst <= 1000);
    assert_true(worst >= 500);
    lessor_close(&l);
}

/* Ids by expiry on a primary, by id elsewhere (contract L-09). */
static void lists_are_ordered(void **state)
{
    struct lessor l;
    struct ids s = {.len = 0};
    lessor_init(&l);
    lessor_grant(&l, 3, 5);
    lessor_grant(&l, 1, 50);
    lessor_grant(&l, 2, 10);
    assert_true(lessor_list(&l, note, &s));
    assert_int_equal(s.len, 3);
    assert_true(s.ids[0] == 1 && s.ids[1] == 2 && s.ids[2] == 3);
    lessor_promote(&l, 0, 0);
    s.len = 0;
    assert_true(lessor_list(&l, note, &s));
    assert_true(s.ids[0] == 3 && s.ids[1] == 2 && s.ids[2] == 1);
    lessor_close(&l);
}

/* ---- through apply
 * ------------------------------------------------------------------------------- */

/* Contract L-01, L-03, L-04 as far as apply sees them. */
static void grants_and_revokes(void **state)
{
    struct kvf f;
    kvf_open(&f);
    assert_int_equal(kvf_grant(&f, 0, 10), ERR_LEASE_NOT_FOUND);
    assert_int_equal(kvf_grant(&f, 1, 9000000001ll), ERR_LEASE_TTL_TOO_LARGE);
    assert_int_equal(kvf_grant(&f, 1, 9000000000ll), 0);
    Etcdserverpb__LeaseGrantResponse *a =
        kvf_body(&f, &etcdserverpb__lease_grant_response__descriptor);
    assert_int_equal(a->id, 1);
    assert_int_equal(a->ttl, 9000000000ll);
    assert_int_equal(kvf_grant(&f, 1, 10), ERR_LEASE_EXIST);
    assert_int_equal(kvf_grant(&f, -5, -5), 0);
    assert_int_equal(f.revision, 1);
    assert_int_equal(kvf_revoke(&f, 77), ERR_LEASE_NOT_FOUND);
    assert_int_equal(kvf_revoke(&f, -5), 0);
    assert_int_equal(f.revision, 1); /* no keys, no revision */
    assert_int_equal(kvf_put_lease(&f, "b", "1", 1), 0);
    assert_int_equal(kvf_put_lease(&f, "a", "1", 1), 0);
    assert_int_equal(kvf_put(&f, "c", "1"), 0);
    assert_int_equal(kvf_revoke(&f, 1), 0);
    assert_int_equal(f.revision, 5);
    assert_int_equal(f.body.len, 0);
    assert_string_equal(kvf_list(&f, "a", "z", 0), "c=1");
    assert_int_equal(kvf_put_lease(&f, "a", "1", 1), ERR_LEASE_NOT_FOUND);
    kvf_close(&f);
}

/* Accounting: a lease costs 64 bytes while it exists. */
static void leases_are_accounted(void **state)
{
    struct kvf f;
    kvf_open(&f);
    int64_t before = kv_accounted_bytes(f.kv);
    kvf_grant(&f, 4, 10);
    assert_int_equal(kv_accounted_bytes(f.kv), before + 64);
    kvf_revoke(&f, 4);
    assert_int_equal(kv_accounted_bytes(f.kv), before);
    kvf_close(&f);
}

/* Attachments and TTLs survive a restart; time does not run while there is no leader (L-13). */
static void leases_survive_restarts(void **state)
{
    struct kvf f;
    struct kv_lease_info info;
    int64_t ttl;
    kvf_open(&f);
    kv_lessor_promote(f.kv, 100, 0);
    kvf_grant(&f, 4, 10);
    kvf_put_lease(&f, "a", "1", 4);
    assert_int_equal(kv_lease_renew(f.kv, 4, 200, &ttl), 0);
    kvf_checkpoint(&f);
    kvf_crash(&f);
    assert_false(kv_lessor_primary(f.kv));
    assert_true(kv_lease_lookup(f.kv, 4, 0, &info));
    assert_int_equal(info.granted_ttl, 10);
    assert_int_equal(info.key_count, 1);
    assert_int_equal(info.remaining_ms, -1);
    kv_lessor_promote(f.kv, 5000000, 1000);
    assert_true(kv_lease_lookup(f.kv, 4, 5000000, &info));
    assert_int_equal(info.remaining_ms, 11000);
    assert_int_equal(kvf_revoke(&f, 4), 0);
    assert_string_equal(kvf_list(&f, "a", "", 0), "");
    kvf_close(&f);
}

/* A lease with very many keys is revoked in slices, as one revision. */
static void huge_leases_are_revoked_in_slices(void **state)
{
    enum { KEYS = 5000 };
    struct kvf f;
    struct buf payload;
    kvf_open(&f);
    kvf_grant(&f, 4, 10);
    buf_init(&payload);
    for (int i = 0; i < KEYS; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%06d", i);
        put.key = bin(key);
        put.lease = 4;
        r.put = &put;
        kvf_batch(&f, &payload, &r);
    }
    kvf_entry(&f, buf_slice(&payload));
    assert_int_equal(kvf_revoke(&f, 4), 0);
    assert_true(f.steps > 5);
    assert_int_equal(f.revision, KEYS + 2);
    assert_string_equal(kvf_list(&f, "k", "l", 0), "");
    buf_close(&payload);
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(followers_expire_nothing),
        cmocka_unit_test(a_promotion_extends),
        cmocka_unit_test(a_grant_never_runs_short),
        cmocka_unit_test(a_demotion_forgets),
        cmocka_unit_test(passes_are_bounded),
        cmocka_unit_test(pile_ups_are_spread),
        cmocka_unit_test(lists_are_ordered),
        cmocka_unit_test(grants_and_revokes),
        cmocka_unit_test(leases_are_accounted),
        cmocka_unit_test(leases_survive_restarts),
        cmocka_unit_test(huge_leases_are_revoked_in_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
