/* test_serve.c - writes and reads through serve over the real store: outcomes, limits, order,
 * slices, cancellation, stop. */
#include <stdatomic.h>

#include "tests/unit/kvd/serve_fixture.h"
#include "kv/store_test.h"

/* ---- writes ------------------------------------------------------------------------------------
 */

static void put_is_read_back(void **state)
{
    struct fixture *f = *state;
    int64_t revision = 0;
    assert_int_equal(f->service->revision(f->service), 1); /* */
    assert_int_equal(put_now(f, "a", "1", 0, &revision), 0);
    assert_int_equal(revision, 2);
    Etcdserverpb__RangeResponse *r = range_now(f, "a", NULL, false);
    assert_int_equal(r->count, 1);
    assert_int_equal(r->kvs[0]->mod_revision, 2);
    assert_memory_equal(r->kvs[0]->value.data, "1", 1);
    assert_int_equal(range_now(f, "b", NULL, false)->count, 0);
}

/* Writes of one turn leave in one run, and their results come in order. */
static void writes_share_a_run(void **state)
{
    struct fixture *f = *state;
    struct service_write w[50];
    struct outcome o[50];
    size_t before = f->proposals;
    for (int i = 0; i < 50; i++) {
        put_start(f, &w[i], &o[i], "k", "v", 0);
    }
    run_until(f, &o[49].done);
    assert_int_equal(f->proposals - before, 1);
    for (int i = 0; i < 50; i++) {
        assert_true(o[i].done);
        assert_int_equal(o[i].revision, 2 + i);
    }
}

static void apply_errors_come_back(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_now(f, "a", "1", 12345, NULL), ERR_LEASE_NOT_FOUND);
    assert_int_equal(f->service->revision(f->service), 1);
}

static void large_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    char *value = mem_xalloc(REQUEST_BYTES_MAX_DEFAULT + 1);
    memset(value, 'x', REQUEST_BYTES_MAX_DEFAULT);
    value[REQUEST_BYTES_MAX_DEFAULT] = '\0';
    assert_int_equal(put_now(f, "a", value, 0, NULL), ERR_REQUEST_TOO_LARGE);
    value[REQUEST_BYTES_MAX_DEFAULT - 64] = '\0';
    assert_int_equal(put_now(f, "a", value, 0, NULL), 0);
    mem_free(value);
}

static void pending_writes_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct service_write *w = mem_xzalloc((PROPOSALS_PENDING_MAX + 1) * sizeof(*w));
    struct outcome *o = mem_xzalloc((PROPOSALS_PENDING_MAX + 1) * sizeof(*o));
    f->hold = true;
    for (size_t i = 0; i <= PROPOSALS_PENDING_MAX; i++) {
        put_start(f, &w[i], &o[i], "k", "v", 0);
    }
    assert_true(o[PROPOSALS_PENDING_MAX].done);
    assert_int_equal(o[PROPOSALS_PENDING_MAX].err, ERR_TOO_MANY_REQUESTS);
    assert_false(o[0].done);
    assert_false(serve_quiet(f->serve));
    f->hold = false;
    serve_delivered(f->serve);
    run_until(f, &o[PROPOSALS_PENDING_MAX - 1].done);
    for (size_t i = 0; i < PROPOSALS_PENDING_MAX; i++) {
        assert_int_equal(o[i].err, 0);
    }
    assert_true(serve_quiet(f->serve));
    mem_free(w);
    mem_free(o);
}

/* A value that alone exceeds the quota of 100,000 bytes set here, which takes a restart. */
static const char *reopen_with_small_quota(struct fixture *f, bool alarm_self_clearing)
{
    static char value[100001];
    memset(value, 'v', sizeof(value) - 1);
    f->cfg.quota_bytes = sizeof(value) - 1;
    f->cfg.alarm_self_clearing = alarm_self_clearing;
    fixture_reopen(f);
    return value;
}

/* Who is refused for the quota's sake finds the alarm raised; asking again does not help. */
static void refusals_for_space_come_behind_the_alarm(void **state)
{
    struct fixture *f = *state;
    struct service_write w[4];
    struct outcome o[4];
    const char *value = reopen_with_small_quota(f, false);
    f->hold = true;
    for (int i = 0; i < 3; i++) {
        put_start(f, &w[i], &o[i], "large", value, 0);
    }
    f->service->cancel_write(f->service, &w[1]);
    run_for(f, 20);
    assert_false(o[0].done || o[1].done || o[2].done);
    assert_false(kv_alarm_active(serve_kv(f->serve), 1));
    f->hold = false;
    serve_delivered(f->serve);
    run_until(f, &o[2].done);
    assert_true(o[0].done);
    assert_false(o[1].done);
    assert_int_equal(o[0].err, ERR_NO_SPACE);
    assert_int_equal(o[2].err, ERR_NO_SPACE);
    assert_true(kv_alarm_active(serve_kv(f->serve), 1));
    put_start(f, &w[3], &o[3], "small", "v", 0);
    assert_true(o[3].done);
    assert_int_equal(o[3].err, ERR_NO_SPACE);
    assert_true(serve_quiet(f->serve));
}

/* The alarm cannot be raised: they are answered all the same, also at the end. */
static void refusals_for_space_are_always_answered(void **state)
{
    struct fixture *f = *state;
    struct service_write w[2];
    struct outcome o[2];
    const char *value = reopen_with_small_quota(f, false);
    f->hold = true;
    put_start(f, &w[0], &o[0], "large", value, 0);
    run_for(f, 5);
    serve_dropped(f->serve, 1, 1, ERR_NOT_LEADER);
    assert_true(o[0].done);
    assert_int_equal(o[0].err, ERR_NO_SPACE);
    fixture_reopen(f);
    f->hold = true;
    put_start(f, &w[1], &o[1], "large", value, 0);
    assert_false(o[1].done);
    fixture_close(f);
    assert_true(o[1].done);
    assert_int_equal(o[1].err, ERR_NO_SPACE);
}

/* With alarms that clear themselves a request too large for an empty database alone is refused. */
static void a_large_request_raises_no_alarm_to_be_cleared(void **state)
{
    struct fixture *f = *state;
    struct service_write w;
    struct outcome o;
    const char *value = reopen_with_small_quota(f, true);
    put_start(f, &w, &o, "large", value, 0);
    assert_true(o.done);
    assert_int_equal(o.err, ERR_NO_SPACE);
    assert_int_equal(put_now(f, "small", "v", 0, NULL), 0);
    assert_false(kv_alarm_active(serve_kv(f->serve), 1));
}

/* A canceled write goes on without an audience. */
static void canceled_writes_still_happen(void **state)
{
    struct fixture *f = *state;
    struct service_write w[3];
    struct outcome o[3];
    f->hold = true;
    for (int i = 0; i < 3; i++) {
        put_start(f, &w[i], &o[i], i == 1 ? "gone" : "k", "v", 0);
    }
    f->service->cancel_write(f->service, &w[1]);
    memset(&w[1], 0xee, sizeof(w[1]));
    f->hold = false;
    serve_delivered(f->serve);
    run_until(f, &o[2].done);
    assert_true(o[0].done);
    assert_false(o[1].done);
    assert_int_equal(range_now(f, "gone", NULL, false)->count, 1);
}

static void dropped_writes_answer(void **state)
{
    struct fixture *f = *state;
    struct service_write w[3];
    struct outcome o[3];
    f->hold = true;
    for (int i = 0; i < 3; i++) {
        put_start(f, &w[i], &o[i], "k", "v", 0);
    }
    run_for(f, 10);
    serve_dropped(f->serve, w[0].number, w[1].number, ERR_NOT_LEADER);
    assert_int_equal(o[0].err, ERR_NOT_LEADER);
    assert_true(o[1].done);
    assert_false(o[2].done);
    /* Unknown: it may still be applied, so nobody is told yet. */
    serve_dropped(f->serve, w[2].number, w[2].number, ERR_UNKNOWN_OUTCOME);
    assert_false(o[2].done);
    f->hold = false;
    serve_delivered(f->serve);
    run_until(f, &o[2].done);
    assert_int_equal(o[2].err, 0);
}

/* E-03: three kinds of timeouts. */
static void writes_time_out(void **state)
{
    struct fixture *f = *state;
    struct service_write w;
    struct outcome o;
    f->cfg.request_timeout_ms = 300;
    f->cfg.election_ms = 10;
    f->hold = true;
    run_for(f, 50); /* the election is long ago */
    put_start(f, &w, &o, "k", "v", 0);
    run_until(f, &o.done);
    assert_int_equal(o.err, ERR_TIMEOUT);

    f->cfg.election_ms = 1000;
    put_start(f, &w, &o, "k", "v", 0);
    run_for(f, 20);
    serve_role_changed(f->serve, SERVE_FOLLOWER, 5, 8); /* elected within the window */
    run_until(f, &o.done);
    assert_int_equal(o.err, ERR_TIMEOUT_LEADER_FAIL);

    put_start(f, &w, &o, "k", "v", 0);
    serve_role_changed(f->serve, SERVE_CANDIDATE, 6, 0);
    run_until(f, &o.done);
    assert_int_equal(o.err, ERR_TIMEOUT_CONN_LOST);
    /* Late results find nobody and hurt nobody. */
    f->hold = false;
    serve_delivered(f->serve);
    run_for(f, 10);
}

/* ---- reads -------------------------------------------------------------------------------------
 */

/* A read sees all that was acknowledged before it, also when apply lags behind. */
static void reads_wait_for_their_index(void **state)
{
    struct fixture *f = *state;
    struct service_read r;
    struct outcome o;
    struct service_write w;
    struct outcome wo;
    f->index_ahead = 1; /* leadership is confirmed at an index not applied here yet */
    range_start(f, &r, &o, "a", NULL, false);
    run_for(f, 20);
    assert_false(o.done);
    Etcdserverpb__RangeResponse *local = range_now(f, "a", NULL, true);
    assert_int_equal(local->count, 0); /* serializable does not wait */
    put_start(f, &w, &wo, "a", "1", 0);
    run_until(f, &o.done);
    assert_int_equal(range_answer(&o)->count, 1);
}

/* Alone, no read waits for a round, and none is older than what was acknowledged before it. */
static void a_member_alone_reads_at_once(void **state)
{
    struct fixture *f = *state;
    struct service_read r;
    struct outcome o;
    f->hold_reads = true; /* a round would never come back */
    f->alone = true;
    for (int i = 0; i < 20; i++) {
        char value[8];
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(put_now(f, "a", value, 0, NULL), 0);
        range_start(f, &r, &o, "a", NULL, false);
        assert_true(o.done); /* within the call */
        Etcdserverpb__RangeResponse *got = range_answer(&o);
        assert_int_equal(got->count, 1);
        assert_memory_equal(got->kvs[0]->value.data, value, strlen(value));
    }
    f->alone = false;
    range_start(f, &r, &o, "a", NULL, false);
    run_for(f, 20);
    assert_false(o.done);
    f->alone = true; /* the round under way is still the round's */
    f->hold_reads = false;
    serve_delivered(f->serve);
    run_until(f, &o.done);
    assert_int_equal(range_answer(&o)->count, 1);
}

/* A leader whose barrier is not applied yet may lack what an older one acknowledged. */
static void alone_without_the_barrier_reads_wait(void **state)
{
    struct fixture *f = *state;
    struct service_read r;
    struct outcome o;
    f->alone = true;
    f->hold_reads = true;
    serve_role_changed(f->serve, SERVE_FOLLOWER, ++f->term, 0);
    run_for(f, 5);
    range_start(f, &r, &o, "a", NULL, false);
    run_for(f, 20);
    assert_false(o.done);
    f->hold_reads = false;
    serve_delivered(f->serve);
    run_until(f, &o.done);
    assert_int_equal(range_answer(&o)->count, 0);
}

static void reads_of_a_turn_share_a_round(void **state)
{
    struct fixture *f = *state;
    struct service_read r[20];
    struct outcome o[20];
    f->hold_reads = true;
    for (int i = 0; i < 20; i++) {
        range_start(f, &r[i], &o[i], "a", NULL, false);
    }
    run_for(f, 5);
    size_t rounds = 0;
    LIST_FOREACH (it, &f->queue) {
        rounds++;
    }
    assert_int_equal(rounds, 1);
    f->service->cancel_read(f->service, &r[3]);
    memset(&r[3], 0xee, sizeof(r[3]));
    f->hold_reads = false;
    serve_delivered(f->serve);
    run_until(f, &o[19].done);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(o[i].done, i != 3);
        buf_close(&o[i].body);
    }
}

static void reads_without_leader_wait_and_retry(void **state)
{
    struct fixture *f = *state;
    struct service_read r;
    struct outcome o;
    f->confirm_err = ERR_NOT_LEADER;
    range_start(f, &r, &o, "a", NULL, false);
    run_for(f, 50);
    assert_false(o.done);
    f->confirm_err = 0; /* the tick asks again */
    run_until(f, &o.done);
    assert_int_equal(o.err, 0);
    buf_close(&o.body);

    f->confirm_err = ERR_LEADER_CHANGED;
    range_start(f, &r, &o, "a", NULL, false);
    run_until(f, &o.done);
    assert_int_equal(o.err, ERR_LEADER_CHANGED);

    f->cfg.request_timeout_ms = 100;
    f->confirm_err = ERR_NOT_LEADER;
    range_start(f, &r, &o, "a", NULL, false);
    run_until(f, &o.done);
    assert_int_equal(o.err, ERR_TIMEOUT);
    /* An answer that comes after the timeout finds nobody. */
    f->confirm_err = 0;
    f->hold_reads = true;
    range_start(f, &r, &o, "a", NULL, false);
    run_until(f, &o.done);
    f->hold_reads = false;
    serve_delivered(f->serve);
    run_for(f, 10);
}

static void store_many(struct fixture *f, int keys, size_t value_bytes)
{
    char *value = mem_xalloc(value_bytes + 1);
    memset(value, 'v', value_bytes);
    value[value_bytes] = '\0';
    struct service_write *w = mem_xzalloc((size_t)keys * sizeof(*w));
    struct outcome *o = mem_xzalloc((size_t)keys * sizeof(*o));
    for (int i = 0; i < keys; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key%05d", i);
        put_start(f, &w[i], &o[i], key, value, 0);
        if (i % 1000 == 999) {
            run_until(f, &o[i].done);
        }
    }
    run_until(f, &o[keys - 1].done);
    for (int i = 0; i < keys; i++) {
        assert_int_equal(o[i].err, 0);
    }
    mem_free(value);
    mem_free(w);
    mem_free(o);
}

/* A large answer is produced on demand and sees one moment, whatever is written meanwhile. */
static void large_ranges_are_produced(void **state)
{
    struct fixture *f = *state;
    store_many(f, 3000, 200);
    struct service_read r;
    struct outcome o;
    range_start(f, &r, &o, "key", "kez", false);
    run_until(f, &o.done);
    assert_int_equal(o.err, 0);
    assert_non_null(o.produce);
    assert_int_equal(o.revision, 3001);
    assert_int_equal(put_now(f, "key00000", "changed", 0, NULL), 0);
    Etcdserverpb__RangeResponse *a = range_answer(&o);
    assert_int_equal(a->n_kvs, 3000);
    assert_int_equal(a->count, 3000);
    assert_int_equal(a->kvs[0]->value.len, 200);
    assert_memory_equal(a->kvs[2999]->key.data, "key02999", 8);
    /* A client that leaves in the middle. */
    range_start(f, &r, &o, "key", "kez", false);
    run_until(f, &o.done);
    struct buf part = {0};
    assert_true(o.produce(o.produce_data, &part, 4096));
    o.finish(o.produce_data);
    buf_close(&part);
}

/* Small reads pass a huge one: it takes many slices. */
static void small_reads_pass_large_ones(void **state)
{
    struct fixture *f = *state;
    store_many(f, 20000, 10);
    struct service_read big;
    struct service_read small;
    struct outcome big_o;
    struct outcome small_o;
    /* Sorting by value makes it fetch everything. */
    struct buf b = {0};
    range_bytes(&b, "key", "kez");
    wire_put_uint(&b, 5, 2);
    wire_put_uint(&b, 6, 4);
    big_o = (struct outcome){0};
    big.data = &big_o;
    big.cb = on_read;
    f->service->range(f->service, &big, buf_slice(&b), true);
    range_start(f, &small, &small_o, "key00007", NULL, true);
    run_until(f, &small_o.done);
    assert_false(big_o.done);
    run_until(f, &big_o.done);
    assert_int_equal(range_answer(&big_o)->n_kvs, 20000);
    assert_int_equal(range_answer(&small_o)->count, 1);
    /* Canceled between two slices. */
    big_o = (struct outcome){0};
    f->service->range(f->service, &big, buf_slice(&b), true);
    f->service->cancel_read(f->service, &big);
    run_for(f, 5);
    assert_false(big_o.done);
    buf_close(&b);
}

/* The last slice may fall into the prepare phase, behind the front end's flush: the loop must come
 * round again before it sleeps. Sizes differ so that some do. */
static void long_reads_are_answered_at_once(void **state)
{
    struct fixture *f = *state;
    store_many(f, 20000, 10);
    for (int i = 0; i < 40; i++) {
        char from[16];
        snprintf(from, sizeof(from), "key%05d", i * 500);
        Etcdserverpb__RangeResponse *r = range_now(f, from, "kez", i % 2 == 0);
        assert_int_equal(r->count, 20000 - i * 500);
    }
}

static void read_only_transactions(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put_now(f, "a", "1", 0, NULL), 0);
    /* success: [range a] */
    static const uint8_t txn[] = {0x12, 5, 0x0a, 3, 0x0a, 1, 'a'};
    struct service_read r;
    struct outcome o = {0};
    r.data = &o;
    r.cb = on_read;
    f->service->txn_read(f->service, &r, slice_of(txn, sizeof(txn)), false);
    assert_false(o.done);
    run_until(f, &o.done);
    assert_int_equal(o.err, 0);
    assert_int_equal(o.revision, 2);
    Etcdserverpb__TxnResponse *t = NULL;
    assert_int_equal(codec_decode(&etcdserverpb__txn_response__descriptor, buf_slice(&o.body),
                                  &fixture_arena, (void **)&t),
                     0);
    assert_true(t->succeeded);
    assert_int_equal(t->responses[0]->response_range->count, 1);
    buf_close(&o.body);
    /* A compacted revision inside is the transaction's error. */
    static const uint8_t future[] = {0x12, 7, 0x0a, 5, 0x0a, 1, 'a', 0x20, 99};
    o = (struct outcome){0};
    f->service->txn_read(f->service, &r, slice_of(future, sizeof(future)), true);
    run_until(f, &o.done);
    assert_int_equal(o.err, ERR_FUTURE_REV);
}

static void confirm_answers_with_the_revision(void **state)
{
    struct fixture *f = *state;
    struct service_read r;
    struct outcome o = {0};
    r.data = &o;
    r.cb = on_read;
    f->service->confirm(f->service, &r);
    run_until(f, &o.done);
    assert_int_equal(o.err, 0);
    assert_int_equal(o.revision, 1);
}

/* ---- streams -----------------------------------------------------------------------------------
 */

struct stream_seen {
    struct fixture *f;
    size_t chunks;
    size_t rows;
    int64_t count;
    bool more;
    bool last;
    int err;
    size_t pause_after; /* chunks */
    size_t cancel_after;
    size_t first_rows;
};

static bool on_chunk(struct service_stream *st, int err, int64_t revision, struct slice body,
                     bool last)
{
    struct stream_seen *seen = st->data;
    (void)revision;
    assert_false(seen->last);
    if (err != 0) {
        seen->err = err;
        seen->last = true;
        return false;
    }
    Etcdserverpb__RangeResponse *r = NULL;
    assert_int_equal(
        codec_decode(&etcdserverpb__range_response__descriptor, body, &fixture_arena, (void **)&r),
        0);
    if (seen->chunks++ == 0) {
        seen->first_rows = r->n_kvs;
    }
    seen->rows += r->n_kvs;
    if (last) {
        seen->count = r->count;
        seen->more = r->more;
        seen->last = true;
    } else {
        assert_int_equal(r->count, 0); /* S-02 */
        assert_false(r->more);
    }
    if (seen->chunks == seen->cancel_after) {
        seen->f->service->range_stream_cancel(seen->f->service, st);
        memset(st, 0xee, sizeof(*st)); /* it is ours again */
        seen->last = true;
        return false;
    }
    return seen->chunks != seen->pause_after;
}

static void stream_start(struct fixture *f, struct service_stream *st, struct stream_seen *seen,
                         const char *key, const char *end, bool serializable)
{
    struct buf b = {0};
    seen->f = f;
    st->data = seen;
    st->chunk = on_chunk;
    f->service->range_stream(f->service, st, range_bytes(&b, key, end), serializable);
    buf_close(&b);
}

static void range_streams(void **state)
{
    struct fixture *f = *state;
    store_many(f, 5000, 500);
    struct service_stream st;
    struct stream_seen seen = {0};
    stream_start(f, &st, &seen, "key", "kez", false);
    run_until(f, &seen.last);
    assert_int_equal(seen.err, 0);
    assert_int_equal(seen.rows, 5000);
    assert_int_equal(seen.count, 5000);
    assert_true(seen.first_rows <= RANGE_STREAM_FIRST_ROWS); /* S-04 */
    assert_in_range(seen.chunks, 4, 50);

    /* Paused and resumed. */
    seen = (struct stream_seen){.pause_after = 2};
    stream_start(f, &st, &seen, "key", "kez", true);
    run_for(f, 30);
    assert_int_equal(seen.chunks, 2);
    f->service->range_stream_resume(f->service, &st);
    run_until(f, &seen.last);
    assert_int_equal(seen.rows, 5000);

    /* Canceled while paused, inside a chunk, and before it began. */
    seen = (struct stream_seen){.pause_after = 1};
    stream_start(f, &st, &seen, "key", "kez", true);
    run_for(f, 20);
    f->service->range_stream_cancel(f->service, &st);
    seen = (struct stream_seen){.cancel_after = 2};
    stream_start(f, &st, &seen, "key", "kez", true);
    run_until(f, &seen.last);
    run_for(f, 10);
    assert_int_equal(seen.chunks, 2);
    seen = (struct stream_seen){0};
    stream_start(f, &st, &seen, "key", "kez", false);
    f->service->range_stream_cancel(f->service, &st);
    run_for(f, 10);
    assert_int_equal(seen.chunks, 0);

    /* An empty range is one empty last chunk (S-06). */
    seen = (struct stream_seen){0};
    stream_start(f, &st, &seen, "none", NULL, false);
    run_until(f, &seen.last);
    assert_int_equal(seen.chunks, 1);
    assert_int_equal(seen.rows, 0);
}

/* ---- watch -------------------------------------------------------------------------------------
 */

struct watch_seen {
    struct fixture *f;
    size_t events;
    int64_t last;
    int64_t compacted;
    bool refuse;
    bool got;
};

static bool on_events(void *data, void *watcher_data, int64_t revision,
                      const struct watch_event *events, size_t count)
{
    struct watch_seen *seen = watcher_data;
    (void)data;
    if (seen->refuse) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(events[i].revision >= seen->last);
        seen->last = events[i].revision;
    }
    assert_true(revision >= seen->last);
    seen->events += count;
    seen->got = true;
    return true;
}

static void on_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    struct watch_seen *seen = watcher_data;
    (void)data;
    seen->compacted = compact_revision;
    seen->got = true;
}

static const struct watch_sink sink = {.events = on_events, .compacted = on_compacted};

static void watchers_follow_and_catch_up(void **state)
{
    struct fixture *f = *state;
    int err = 0;
    struct watch_seen live = {.f = f};
    struct watch_seen past = {.f = f};
    store_many(f, 100, 10);
    struct watch_options o = {.key = slice_of("key", 3), .range_end = slice_of("kez", 3)};
    struct service_watcher *a = f->service->watch(f->service, &o, &sink, NULL, &live, &err);
    o.start_revision = 2;
    struct service_watcher *b = f->service->watch(f->service, &o, &sink, NULL, &past, &err);
    run_until(f, &past.got);
    assert_int_equal(past.events, 100);
    assert_int_equal(live.events, 0);
    assert_int_equal(put_now(f, "key1", "x", 0, NULL), 0);
    assert_int_equal(live.events, 1);
    assert_int_equal(past.events, 101);
    assert_true(f->service->watch_synced(f->service, a));
    /* Refused: it rereads from the store once resumed. */
    live.refuse = true;
    assert_int_equal(put_now(f, "key2", "x", 0, NULL), 0);
    assert_int_equal(put_now(f, "key3", "x", 0, NULL), 0);
    assert_false(f->service->watch_synced(f->service, a));
    live.refuse = live.got = false;
    f->service->watch_resume(f->service, a);
    run_until(f, &live.got);
    assert_int_equal(live.events, 3);
    f->service->watch_cancel(f->service, a);
    f->service->watch_cancel(f->service, b);
}

/* ---- checkpoints, stop, restart ----------------------------------------------------------------
 */

static void seals_reach_the_disk(void **state)
{
    struct fixture *f = *state;
    f->cfg.seal_ms = 50;
    fixture_reopen(f);
    assert_int_equal(put_now(f, "a", "1", 0, NULL), 0);
    for (int i = 0; i < 200 && f->durable < f->index; i++) {
        run_for(f, 10);
    }
    assert_int_equal(f->durable, f->index);
    uint64_t before = f->durable;
    run_for(f, 150); /* nothing applied: nothing sealed */
    assert_int_equal(f->durable, before);
    /* What the checkpoint holds is there again without any log. */
    fixture_reopen(f);
    assert_int_equal(f->index, before + 1); /* and a new barrier */
    assert_int_equal(range_now(f, "a", NULL, false)->count, 1);
}

static void large_memtables_are_sealed(void **state)
{
    struct fixture *f = *state;
    f->cfg.seal_bytes = 100000;
    store_many(f, 1000, 500);
    for (int i = 0; i < 300 && f->durable == 0; i++) {
        run_for(f, 10);
    }
    assert_true(f->durable > 0);
    assert_int_equal(range_now(f, "key", "kez", false)->count, 1000);
}

#ifdef KVD_DEBUG
/* After some idle seconds the checkpoint thread opens the database anew to give back memory, which
 * shows as the next generation; what was written before and comes after is there. */
static void memory_is_given_back_when_idle(void **state)
{
    struct fixture *f = *state;
    char next[80];
    snprintf(next, sizeof next, "%s/2", f->dir);
    atomic_store(&store_test_trim_always, true);
    f->cfg.seal_ms = 50;
    fixture_reopen(f);
    assert_int_equal(put_now(f, "a", "1", 0, NULL), 0);
    for (int i = 0; i < 1000 && f->durable < f->index; i++) {
        run_for(f, 10);
    }
    assert_true(f->durable >= f->index);
    for (int i = 0; i < 3000 && access(next, F_OK) != 0; i++) {
        run_for(f, 10);
    }
    atomic_store(&store_test_trim_always, false);
    assert_int_equal(access(next, F_OK), 0);
    assert_int_equal(put_now(f, "b", "2", 0, NULL), 0);
    assert_int_equal(range_now(f, "a", "c", false)->count, 2);
    fixture_reopen(f);
    assert_int_equal(range_now(f, "a", NULL, false)->count, 1);
}
#endif

static void stopping_answers_everybody(void **state)
{
    struct fixture *f = *state;
    struct service_write w[2];
    struct outcome o[2];
    struct service_read r[2];
    struct outcome ro[2];
    struct service_stream st;
    struct stream_seen seen = {0};
    f->hold = f->hold_reads = true;
    put_start(f, &w[0], &o[0], "a", "1", 0);
    range_start(f, &r[0], &ro[0], "a", NULL, false);
    stream_start(f, &st, &seen, "a", NULL, false);
    run_for(f, 5);
    range_start(f, &r[1], &ro[1], "a", NULL, false); /* in a round not sent yet */
    serve_stop(f->serve);
    put_start(f, &w[1], &o[1], "b", "1", 0);
    assert_int_equal(o[1].err, ERR_STOPPED);
    fixture_close(f);
    assert_int_equal(o[0].err, ERR_STOPPED);
    assert_int_equal(ro[0].err, ERR_STOPPED);
    assert_int_equal(ro[1].err, ERR_STOPPED);
    assert_int_equal(seen.err, ERR_STOPPED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_is_read_back),
        TEST(writes_share_a_run),
        TEST(apply_errors_come_back),
        TEST(large_requests_are_refused),
        TEST(pending_writes_are_bounded),
        TEST(refusals_for_space_come_behind_the_alarm),
        TEST(refusals_for_space_are_always_answered),
        TEST(a_large_request_raises_no_alarm_to_be_cleared),
        TEST(canceled_writes_still_happen),
        TEST(dropped_writes_answer),
        TEST(writes_time_out),
        TEST(reads_wait_for_their_index),
        TEST(a_member_alone_reads_at_once),
        TEST(alone_without_the_barrier_reads_wait),
        TEST(reads_of_a_turn_share_a_round),
        TEST(reads_without_leader_wait_and_retry),
        TEST(large_ranges_are_produced),
        TEST(small_reads_pass_large_ones),
        TEST(long_reads_are_answered_at_once),
        TEST(read_only_transactions),
        TEST(confirm_answers_with_the_revision),
        TEST(range_streams),
        TEST(watchers_follow_and_catch_up),
        TEST(seals_reach_the_disk),
        TEST(large_memtables_are_sealed),
#ifdef KVD_DEBUG
        TEST(memory_is_given_back_when_idle),
#endif
        TEST(stopping_answers_everybody),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_close(&fixture_arena);
    return failed;
}
