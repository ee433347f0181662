/* test_loop.c - the raft thread against a store loop, on a real disk: order, hand-over, limits,
 * close. */
#include "raft/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "proto/batch.h"
#include "raft/loop_impl.h"

static struct {
    uv_loop_t loop;
    char dir[128];
    struct raft_loop *raft;
    bool manual; /* the wake-up drains nothing: the test does */
    bool slow;   /* commits keep their payload until the next drain */
    size_t slice;

    uint64_t applied;
    uint64_t applied_term;
    uint64_t configuration_index;
    uint8_t configuration[512];
    size_t configuration_len;
    uint64_t results; /* operations applied */
    uint64_t last_number;
    bool misordered;
    struct slice lent;
    uint64_t lent_hash;
    uint64_t lent_index;
    bool lent_changed;
    enum node_role role;
    uint64_t dropped[ERR_COUNT_];
    uint64_t wakes;
    bool closed;
    unsigned reads_open;
    unsigned reads_good;
    unsigned reads_stopped;
    bool stale;
} s;

/* ---- the store's side ---- */

static uint64_t hash_of(struct slice b)
{
    uint64_t h = 14695981039346656037ull;
    for (size_t i = 0; i < b.len; i++) {
        h = (h ^ b.data[i]) * 1099511628211ull;
    }
    return h;
}

static bool on_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
    s.misordered = s.misordered || index != s.applied + 1;
    s.applied = index;
    s.applied_term = term;
    size_t at = 0;
    struct batch_op op;
    while (payload.len > 0 && batch_next(payload, &at, &op) == 1) {
        s.misordered = s.misordered || op.origin.number != s.last_number + 1;
        s.last_number = op.origin.number;
        s.results++;
    }
    if (s.slow && payload.len > 0) {
        s.lent = payload;
        s.lent_hash = hash_of(payload);
        return false;
    }
    return true;
}

static void on_configuration(void *data, uint64_t index, struct slice encoded)
{
    s.configuration_index = index;
    s.configuration_len = encoded.len;
    memcpy(s.configuration, encoded.data, encoded.len);
}

static void on_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
    s.role = role;
}

static void on_dropped(void *data, uint64_t first, uint64_t last, int err)
{
    s.dropped[err] += last - first + 1;
}

static void on_fatal(void *data, const char *why)
{
    fail_msg("%s", why);
}

static bool drain(void)
{
    if (s.lent.data != NULL) {
        s.lent_changed = s.lent_changed || hash_of(s.lent) != s.lent_hash;
        s.lent.data = NULL;
    }
    return raft_loop_drain(s.raft, s.slice);
}

static void on_wake(void *data)
{
    s.wakes++;
    while (!s.manual && drain()) {
    }
}

static void on_closed(void *data)
{
    s.closed = true;
}

/* ---- helpers ---- */

static void start_loop(bool thread)
{
    static const struct node_member me = {.id = 9, .address = "http://localhost:2380"};
    struct raft_loop_options o = {.store_loop = &s.loop,
                                  .callbacks = {.wake = on_wake,
                                                .commit = on_commit,
                                                .configuration = on_configuration,
                                                .role = on_role,
                                                .dropped = on_dropped,
                                                .fatal = on_fatal},
                                  .dir = s.dir,
                                  .disk_thread = thread,
                                  .id = 9,
                                  .address = "http://localhost:2380",
                                  .initial = &me,
                                  .initial_n = 1,
                                  .incarnation = 1,
                                  .applied_index = s.applied,
                                  .applied_term = s.applied_term,
                                  .configuration_index = s.configuration_index,
                                  .configuration = slice_of(s.configuration, s.configuration_len)};
    struct errmsg e = {""};
    if (raft_loop_start(&o, &s.raft, &e) != 0) {
        fail_msg("%s", e.text);
    }
    s.closed = false;
}

static void turn(void)
{
    uv_run(&s.loop, UV_RUN_ONCE);
}

static void stop_loop(void)
{
    s.manual = false;
    raft_loop_close(s.raft, on_closed, NULL);
    while (!s.closed) {
        turn();
    }
    s.raft = NULL;
}

static void wait_leader(void)
{
    while (s.role != NODE_LEADER) {
        turn();
    }
}

static int setup(void **state)
{
    memset(&s, 0, sizeof(s));
    s.slice = SIZE_MAX;
    const char *tmp = getenv("TMPDIR");
    snprintf(s.dir, sizeof(s.dir), "%s/kvd-loop-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(s.dir));
    assert_int_equal(uv_loop_init(&s.loop), 0);
    return 0;
}

static int teardown(void **state)
{
    if (s.raft != NULL) {
        stop_loop();
    }
    uv_run(&s.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s.loop), 0);
    DIR *d = opendir(s.dir);
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", s.dir, e->d_name);
        if (e->d_name[0] != '.') {
            unlink(path);
        }
    }
    closedir(d);
    rmdir(s.dir);
    return 0;
}

static void propose(uint64_t first, unsigned n, size_t len)
{
    static uint8_t value[1400 * 1024];
    struct buf ops;
    buf_init(&ops);
    for (unsigned i = 0; i < n; i++) {
        struct batch_origin o = {.member = 9, .incarnation = 1, .number = first + i};
        assert_true(batch_add(&ops, o, slice_of(value, len)));
    }
    raft_loop_propose(s.raft, buf_slice(&ops), first, first + n - 1);
    buf_close(&ops);
}

struct one_read {
    struct raft_loop_read r;
    uint64_t floor;
};

static void on_read(struct raft_loop_read *r, int err, uint64_t index)
{
    struct one_read *o = r->data;
    s.reads_open--;
    s.reads_good += err == 0;
    s.reads_stopped += err == ERR_STOPPED;
    s.stale = s.stale || (err == 0 && index < o->floor);
    free(o);
}

static void read_now(void)
{
    struct one_read *o = calloc(1, sizeof(*o));
    o->r.data = o;
    o->r.cb = on_read;
    o->floor = s.applied;
    s.reads_open++;
    raft_loop_read(s.raft, &o->r);
}

/* ---- tests ---- */

/* Proposals come back as commits in order, across restarts, on both kinds of disk. */
static void proposals_come_back_in_order(void **state)
{
    uint64_t number = 1;
    for (unsigned round = 0; round < 4; round++) {
        start_loop(round % 2 != 0);
        wait_leader();
        for (unsigned i = 0; i < 200; i++) {
            unsigned n = 1 + i % 7;
            propose(number, n, 20 + i);
            number += n;
            if (i % 3 == 0) {
                read_now();
            }
            turn();
        }
        while (s.results < number - 1) {
            turn();
        }
        while (s.reads_open > 0) {
            turn();
        }
        raft_loop_durable(s.raft, s.applied);
        stop_loop();
        s.role = NODE_FOLLOWER;
        assert_false(s.misordered);
    }
    assert_int_equal(s.results, number - 1);
    assert_int_equal(s.reads_good, 4 * 67);
    assert_false(s.stale);
    assert_int_equal(s.configuration_index, 1);
}

/* Nothing durable told: a restart delivers everything again from the first entry. */
static void undelivered_entries_come_again_after_a_restart(void **state)
{
    start_loop(false);
    wait_leader();
    propose(1, 100, 50);
    while (s.results < 100) {
        turn();
    }
    uint64_t applied = s.applied;
    stop_loop();
    s.applied = s.results = s.last_number = 0;
    s.configuration_len = 0;
    s.role = NODE_FOLLOWER;
    start_loop(false);
    wait_leader();
    assert_int_equal(s.results, 100);
    assert_true(s.applied > applied); /* and the new term's barrier */
    assert_false(s.misordered);
}

/* A commit that returned false keeps its payload until the next drain, which stops there. */
static void payloads_are_lent_until_the_next_drain(void **state)
{
    start_loop(false);
    wait_leader();
    s.slow = true;
    s.manual = true;
    for (unsigned i = 1; i <= 50; i++) {
        propose(i, 1, 1000);
        raft_loop_flush(s.raft);
        uint64_t before = s.results;
        while (s.results == before) {
            turn();
            drain();
        }
        assert_int_equal(s.results, before + 1);
    }
    assert_false(s.lent_changed);
    assert_false(s.misordered);
}

/* A store that drains in small portions is told that more waits. */
static void drain_keeps_to_its_portion(void **state)
{
    start_loop(false);
    wait_leader();
    s.manual = true;
    s.slice = 1;
    for (unsigned i = 0; i < 10; i++) {
        propose(1 + i * 10, 10, 100);
        raft_loop_flush(s.raft);
        struct raft_loop_status st;
        do {
            uv_run(&s.loop, UV_RUN_NOWAIT);
            raft_loop_status(s.raft, &st);
        } while (st.commit_index < 3 + i); /* configuration, barrier, i + 1 batches */
    }
    assert_int_equal(s.results, 0);
    for (unsigned i = 0; i < 10; i++) {
        while (s.results == 10 * i) {
            drain();
        }
        assert_int_equal(s.results, 10 * (i + 1));
    }
    assert_false(drain());
    assert_false(s.misordered);
}

/* A store that doesn't drain stops the flow of entries, then proposals are refused: memory is
 * bounded, and all that was taken is applied once it drains again. */
static void a_stuck_store_bounds_memory(void **state)
{
    start_loop(false);
    wait_leader();
    s.manual = true;
    uint64_t number = 1;
    struct raft_loop_status st = {0};
    uint64_t deadline = clock_mono_ms() + 60000;
    uint64_t worst = 0;
    size_t refused_at = 0;
    while (s.dropped[ERR_TOO_MANY_REQUESTS] == 0 && clock_mono_ms() < deadline) {
        propose(number++, 1, 1000 * 1024);
        raft_loop_flush(s.raft);
        /* One entry each, until deliveries are stopped: a disk slower than we are would have the
         * proposals refused before. */
        do {
            uv_run(&s.loop, UV_RUN_NOWAIT);
            raft_loop_status(s.raft, &st);
            worst = st.delivery_bytes > worst ? st.delivery_bytes : worst;
        } while (st.delivery_bytes < RAFT_DELIVERY_BYTES_MAX && st.commit_index < 1 + number &&
                 clock_mono_ms() < deadline);
        /* Refusals come in order behind the commits nobody drains: look at what is taken in
         * instead. */
        if (st.proposals_bytes > 0 && number > 250) {
            refused_at = number;
            break;
        }
    }
    assert_true(refused_at > 0);
    assert_true(worst <= RAFT_DELIVERY_BYTES_MAX + 4u * 1024 * 1024);
    assert_true(st.proposals_bytes <= PROPOSALS_QUEUED_BYTES_MAX);
    s.manual = false;
    while (s.results + s.dropped[ERR_TOO_MANY_REQUESTS] < number - 1) {
        drain();
        uv_run(&s.loop, UV_RUN_NOWAIT);
    }
    assert_true(s.dropped[ERR_TOO_MANY_REQUESTS] > 0);
    assert_true(s.results >= 90);
}

/* Everything asked before, during and after close is answered exactly once. */
static void close_answers_everything(void **state)
{
    for (unsigned round = 0; round < 20; round++) {
        uint64_t results = s.results;
        memset(s.dropped, 0, sizeof(s.dropped));
        start_loop(round % 2 != 0);
        wait_leader();
        unsigned n = 0;
        for (; n < 40; n++) {
            propose(s.last_number + 1 + n, 1, 100);
            read_now();
            if (n % 8 == round % 8) {
                raft_loop_flush(s.raft);
                uv_run(&s.loop, UV_RUN_NOWAIT);
            }
        }
        raft_loop_close(s.raft, on_closed, NULL);
        propose(s.last_number + 1000, 1, 100);
        read_now();
        n++;
        while (!s.closed) {
            turn();
        }
        s.raft = NULL;
        uint64_t told = s.results - results;
        for (unsigned e = 0; e < ERR_COUNT_; e++) {
            told += s.dropped[e];
        }
        /* What was in flight at the very end may be told twice: "unknown", and then by its number.
         */
        assert_true(told >= n && told <= n + s.dropped[ERR_UNKNOWN_OUTCOME]);
        assert_int_equal(s.reads_open, 0);
        s.role = NODE_FOLLOWER;
        s.misordered = false;
    }
    assert_true(s.reads_stopped >= 20);
}

static bool transferred;
static int transfer_err;

static void on_transfer(void *data, int err)
{
    transferred = true;
    transfer_err = err;
}

static void facts_and_transfer(void **state)
{
    start_loop(true);
    assert_string_equal(raft_loop_disk_mode(s.raft), "thread");
    wait_leader();
    struct raft_loop_status st;
    raft_loop_status(s.raft, &st);
    assert_int_equal(st.role, NODE_LEADER);
    assert_true(st.ready);
    assert_int_equal(st.leader, 9);
    assert_true(st.term >= 2 && st.commit_index >= 2 && st.last_index >= 2);
    assert_true(st.log_bytes > 0);
    raft_loop_transfer(s.raft, 0, on_transfer, NULL);
    while (!transferred) {
        turn();
    }
    assert_int_equal(transfer_err, ERR_UNHEALTHY);
}

/* A directory that cannot be used is an error at start, with a sentence and nothing left behind. */
static void a_bad_directory_is_an_error(void **state)
{
    char dir[128];
    memcpy(dir, s.dir, sizeof(dir));
    struct raft_loop_options o = {
        .store_loop = &s.loop, .dir = "/nonexistent/kvd", .id = 9, .address = "x"};
    struct errmsg e = {""};
    struct raft_loop *l = NULL;
    assert_int_not_equal(raft_loop_start(&o, &l, &e), 0);
    assert_null(l);
    assert_string_not_equal(e.text, "");
    static const struct node_member nobody = {.id = 0, .address = "x"};
    o.dir = dir;
    o.initial = &nobody;
    o.initial_n = 1;
    assert_int_equal(raft_loop_start(&o, &l, &e), ERR_INVALID);
    assert_null(l);
}

#define LOOP(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        LOOP(proposals_come_back_in_order),
        LOOP(undelivered_entries_come_again_after_a_restart),
        LOOP(payloads_are_lent_until_the_next_drain),
        LOOP(drain_keeps_to_its_portion),
        LOOP(a_stuck_store_bounds_memory),
        LOOP(close_answers_everything),
        LOOP(facts_and_transfer),
        LOOP(a_bad_directory_is_an_error),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
