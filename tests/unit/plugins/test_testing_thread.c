/* test_testing_thread.c - the test host notices what it promises to notice. */
#include <pthread.h>

#include "tests/unit/plugins/probe.h"

static unsigned failures;

static void count_failure(const char *file, int line)
{
    (void)file;
    (void)line;
    failures++;
}

/* Opens a world in which failures are counted instead of ending the test. */
static void open_soft(int (*on_init)(void))
{
    t_on_failure(count_failure);
    failures = 0;
    probe = (struct probe){.on_init = on_init};
    t_open(&probe_plugin, NULL);
}

static void assert_failure(const char *part)
{
    assert_int_equal(failures, 1);
    if (strstr(t_failure(), part) == NULL) {
        fail_msg("the sentence is \"%s\", expected \"%s\" in it", t_failure(), part);
    }
    failures = 0;
}

static void *leaked;
static void leak(void *data)
{
    (void)data;
    leaked = probe.host->alloc(probe.ctx, 100);
}

static void leaks_are_failures(void **state)
{
    (void)state;
    open_soft(NULL);
    inside(leak, NULL);
    t_close();
    assert_failure("memory was not released: 1 allocations of 100 bytes");
}

static void release_twice(void *data)
{
    static _Alignas(16) char nothing[256]; /* no mark in front of its middle */
    (void)data;
    probe.host->release(probe.ctx, nothing + 128);
}

static void foreign_memory_is_a_failure(void **state)
{
    (void)state;
    open_soft(NULL);
    inside(release_twice, NULL);
    assert_failure("release of memory that alloc or dup did not give");
    t_close();
}

static struct kvp_txn *txn;
static void begin_txn(void *data)
{
    (void)data;
    txn = probe.host->txn_new(probe.ctx);
}

static void forgotten_transactions_are_failures(void **state)
{
    (void)state;
    open_soft(NULL);
    inside(begin_txn, NULL);
    t_close();
    assert_failure("neither committed nor freed");
}

static void free_twice(void *data)
{
    (void)data;
    txn = probe.host->txn_new(probe.ctx);
    probe.host->txn_free(txn);
    probe.host->txn_free(txn);
}

static void ended_transactions_are_not_used(void **state)
{
    (void)state;
    open_soft(NULL);
    inside(free_twice, NULL);
    assert_failure("txn_free on a transaction that was committed or freed");
    t_close();
}

static struct kvp_timer *timer;
static unsigned fired;
static void fire(void *data)
{
    (void)data;
    fired++;
}

static void set_timer(void *data)
{
    struct kvp_timer_args a = {.size = sizeof(a), .after_ms = *(uint64_t *)data, .fire = fire};
    assert_int_equal(probe.host->timer(probe.ctx, &a, &timer), 0);
}

static void cancel_timer(void *data)
{
    (void)data;
    probe.host->timer_cancel(timer);
}

static void timers_end_once(void **state)
{
    (void)state;
    uint64_t ms = 10;
    open_soft(NULL);
    fired = 0;
    inside(set_timer, &ms);
    t_advance(9);
    assert_int_equal(fired, 0);
    t_advance(1);
    assert_int_equal(fired, 1);
    inside(cancel_timer, NULL);
    assert_failure("timer_cancel of a timer that is over");
    inside(set_timer, &ms);
    inside(cancel_timer, NULL);
    t_advance(100);
    assert_int_equal(fired, 1);
    assert_int_equal(failures, 0);
    t_close();
}

static struct kvp_watch *watch;
static size_t events;
static int32_t ended_reason;
static int64_t ended_revision;

static void on_events(void *data, const struct kvp_batch *b)
{
    (void)data;
    events += b->count;
}

static void on_ended(void *data, const struct kvp_result *r)
{
    (void)data;
    ended_reason = r->reason;
    ended_revision = r->revision;
}

static void start_watch(void *from)
{
    struct kvp_watch_args a = {.size = sizeof(a),
                               .flags = KVP_PREFIX,
                               .key = kvp_str("/w/"),
                               .from_revision = *(int64_t *)from,
                               .events = on_events,
                               .ended = on_ended};
    events = 0;
    ended_reason = 0;
    assert_int_equal(probe.host->watch(probe.ctx, &a, &watch), 0);
}

static void stop_watch(void *data)
{
    (void)data;
    probe.host->unwatch(watch);
}

static void watches_end_once(void **state)
{
    (void)state;
    int64_t now = 0;
    int64_t past = 2;
    open_soft(NULL);
    t_put("/w/a", "1");
    t_put("/other", "1");
    inside(start_watch, &now);
    t_put("/w/a", "2");
    t_advance(100);
    assert_int_equal(events, 1);
    inside(stop_watch, NULL);
    t_put("/w/a", "3");
    t_advance(100);
    assert_int_equal(events, 1);
    assert_int_equal(ended_reason, 0);
    inside(stop_watch, NULL);
    assert_failure("unwatch of a watch that is over");
    inside(start_watch, &past);
    t_advance(100);
    assert_int_equal(events, 3);
    inside(stop_watch, NULL);
    t_compact(4);
    inside(start_watch, &past);
    t_advance(100);
    assert_int_equal(ended_reason, KVP_COMPACTED);
    assert_int_equal(ended_revision, 4);
    assert_int_equal(failures, 0);
    t_close();
}

static void outside_a_callback_is_a_failure(void **state)
{
    (void)state;
    open_soft(NULL);
    assert_int_equal(probe.host->get(probe.ctx, kvp_str("a"), NULL, NULL), KVP_INVALID);
    assert_failure("an argument breaks its rule");
    struct kvp_put p = {.size = sizeof(p), .key = kvp_str("a")};
    assert_int_equal(probe.host->put(probe.ctx, &p, NULL, NULL), KVP_WRONG_THREAD);
    assert_failure("put was called from outside a callback");
    t_close();
}

static void posted(void *data)
{
    *(int *)data = 1;
}

static void *thread_body(void *data)
{
    struct kvp_put p = {.size = sizeof(p), .key = kvp_str("a")};
    void *memory = probe.host->alloc(probe.ctx, 10);
    probe.host->release(probe.ctx, memory);
    probe.host->log(probe.ctx, KVP_INFO, "from a thread", NULL, 0);
    assert_int_equal(probe.host->post(probe.ctx, posted, data), 0);
    /* And what is not allowed. */
    assert_int_equal(probe.host->put(probe.ctx, &p, NULL, NULL), KVP_WRONG_THREAD);
    return NULL;
}

/* Calls for any thread work from any; others are told when the test goes on. */
static void threads_are_told_apart(void **state)
{
    (void)state;
    int seen = 0;
    pthread_t thread;
    open_soft(NULL);
    assert_int_equal(pthread_create(&thread, NULL, thread_body, &seen), 0);
    pthread_join(thread, NULL);
    t_advance(10);
    assert_int_equal(seen, 1);
    assert_int_equal(t_logged("from a thread"), 1);
    assert_failure("put was called from a thread of the plugin's own");
    t_close();
}

static int work_reason;
static int done_canceled;
static void work(void *data)
{
    struct kvp_put p = {.size = sizeof(p), .key = kvp_str("a")};
    (void)data;
    work_reason = probe.host->put(probe.ctx, &p, NULL, NULL);
}

static void work_done(void *data, int canceled)
{
    (void)data;
    done_canceled = canceled;
}

static void offload_it(void *data)
{
    (void)data;
    done_canceled = -1;
    assert_int_equal(probe.host->offload(probe.ctx, work, work_done, NULL), 0);
}

static void work_may_not_call(void **state)
{
    (void)state;
    open_soft(NULL);
    inside(offload_it, NULL);
    t_advance(100);
    assert_int_equal(work_reason, KVP_WRONG_THREAD);
    assert_int_equal(done_canceled, 0);
    assert_failure("put was called inside offloaded work");
    t_hold("offload");
    inside(offload_it, NULL);
    t_advance(100);
    assert_int_equal(done_canceled, -1);
    t_close();
    assert_int_equal(done_canceled, 1);
}

static struct kvp_queue *queue;
static void queue_work(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    (void)data;
    (void)q;
    (void)key;
}

static int open_term_queue(void)
{
    struct kvp_queue_args a = {.size = sizeof(a), .work = queue_work};
    return probe.host->queue_open(probe.term, &a, &queue);
}

static void add_to_queue(void *data)
{
    (void)data;
    assert_int_equal(probe.host->queue_add(queue, kvp_str("a")), KVP_STOPPED);
}

static void use_after_stop_is_a_failure(void **state)
{
    (void)state;
    open_soft(NULL);
    probe.on_start = open_term_queue;
    t_lead(1);
    t_depose();
    inside(add_to_queue, NULL);
    assert_failure("queue_add: that cache, queue or controller has ended");
    t_close();
}

static void close_queue(void *data)
{
    (void)data;
    probe.host->queue_close(queue);
}

static void closing_after_the_end_is_fine_once(void **state)
{
    (void)state;
    open_soft(NULL);
    probe.on_start = open_term_queue;
    t_lead(1);
    t_depose();
    inside(close_queue, NULL);
    assert_int_equal(failures, 0);
    inside(close_queue, NULL);
    assert_failure("queue_close: that cache, queue or controller has ended");
    t_close();
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static int32_t outcome;
static int32_t outcome_reason;
static unsigned answers;

static void on_done(void *data, const struct kvp_result *r)
{
    (void)data;
    outcome = r->outcome;
    outcome_reason = r->reason;
    answers++;
}

static void put_one(void *data)
{
    struct kvp_put p = {.size = sizeof(p), .key = kvp_str("/x"), .value = kvp_str("1")};
    *(int *)data = probe.host->put(probe.term, &p, on_done, NULL);
}

static void faults_come_when_asked(void **state)
{
    (void)state;
    int status = 0;
    open_soft(NULL);
    t_lead(1);
    t_fail_call("put", 1, KVP_BUSY);
    t_fail("put", 2, KVP_NO_SPACE);
    t_fail_unknown("put", 3, 0);
    t_fail_unknown("put", 4, 1);
    answers = 0;
    inside(put_one, &status);
    assert_int_equal(status, KVP_BUSY);
    t_advance(10);
    assert_int_equal(answers, 0);
    inside(put_one, &status);
    t_advance(10);
    assert_int_equal(outcome, KVP_REFUSED);
    assert_int_equal(outcome_reason, KVP_NO_SPACE);
    inside(put_one, &status);
    t_advance(10);
    assert_int_equal(outcome, KVP_UNKNOWN);
    t_expect_value("/x", NULL);
    inside(put_one, &status);
    t_advance(10);
    assert_int_equal(outcome, KVP_UNKNOWN);
    t_expect_value("/x", "1");
    assert_int_equal(answers, 3);
    t_lead_elsewhere();
    inside(put_one, &status);
    t_advance(10);
    assert_int_equal(outcome_reason, KVP_FENCED);
    t_depose();
    inside(put_one, &status);
    assert_int_equal(status, KVP_STOPPED);
    assert_int_equal(failures, 0);
    t_close();
}

static void expectations_speak(void **state)
{
    (void)state;
    const char *value;
    open_soft(NULL);
    t_put("/a", "1");
    t_expect_value("/a", "2");
    assert_failure("key /a has value \"1\", expected \"2\"");
    t_expect_value("/b", "2");
    assert_failure("there is no key /b, expected value \"2\"");
    t_expect_value("/a", NULL);
    assert_failure("expected no such key");
    t_expect_int(1 + 1, 3);
    assert_failure("1 + 1 is 2, expected 3");
    t_expect(1 == 2);
    assert_failure("expected: 1 == 2");
    t_fail("no_such_call", 1, KVP_BUSY);
    assert_failure("no call is named \"no_such_call\"");
    t_delete("/a");
    assert_int_equal(t_history("/a", 0, &value), 1);
    assert_string_equal(value, "1");
    assert_int_equal(t_history("/a", 1, &value), 1);
    assert_null(value);
    assert_int_equal(t_history("/a", 2, &value), 0);
    t_close();
}

static int refuse(void)
{
    return 42;
}

static void refusals_of_init(void **state)
{
    (void)state;
    open_soft(refuse);
    assert_failure("init was refused: on_init answered 42");
    t_close();
    t_open_refused(&probe_plugin, NULL, "answered 42");
    assert_int_equal(failures, 0);
    t_open_refused(&probe_plugin, NULL, "another sentence");
    assert_failure("expected \"another sentence\" in it");
    probe.on_init = NULL;
    t_open_refused(&probe_plugin, "none=1", "none");
    assert_int_equal(failures, 0);
    t_open_refused(&probe_plugin, NULL, "anything");
    assert_failure("was expected to refuse");
}

/* ---- leases ---------------------------------------------------------------------------------- */

static int64_t lease;
static int64_t lost;
static void on_lease(void *data, const struct kvp_result *r)
{
    (void)data;
    assert_int_equal(r->outcome, KVP_OK);
    lease = r->lease;
    struct kvp_put p = {
        .size = sizeof(p), .key = kvp_str("/l"), .value = kvp_str("1"), .lease = lease};
    assert_int_equal(probe.host->put(probe.term, &p, NULL, NULL), 0);
}

static void on_lost(void *data, int64_t id)
{
    (void)data;
    lost = id;
}

static void grant(void *flags)
{
    struct kvp_lease_args a = {
        .size = sizeof(a), .flags = *(uint32_t *)flags, .ttl_s = 10, .lost = on_lost};
    lost = 0;
    assert_int_equal(probe.host->lease_grant(probe.term, &a, on_lease, NULL), 0);
}

static void leases_follow_their_context(void **state)
{
    (void)state;
    uint32_t kept = 0;
    uint32_t detached = KVP_DETACHED;
    open_soft(NULL);
    t_lead(1);
    inside(grant, &kept);
    t_advance(100000);
    t_expect_value("/l", "1"); /* renewed */
    t_depose();
    t_advance(9000);
    t_expect_value("/l", "1");
    t_advance(2000);
    t_expect_value("/l", NULL);
    t_lead(2);
    inside(grant, &detached);
    t_advance(9000);
    t_expect_value("/l", "1");
    t_advance(2000);
    t_expect_value("/l", NULL);
    assert_int_equal(t_leases(), 0);
    inside(grant, &kept);
    t_advance(100);
    assert_int_equal(t_expire(lease), 1);
    assert_int_equal(lost, lease);
    t_expect_value("/l", NULL);
    assert_int_equal(failures, 0);
    t_close();
}

/* ---- fail, start -------------------------------------------------------------------------------
 */

static void give_up(void *data)
{
    (void)data;
    (probe.host->fail)(probe.term, "cannot go on"); /* cmocka has a macro of that name */
}

static int refuse_start(void)
{
    return probe.starts < 4 ? KVP_BUSY : 0;
}

static void failed_terms_start_again(void **state)
{
    (void)state;
    open_soft(NULL);
    t_lead(1);
    inside(give_up, NULL);
    t_advance(1);
    assert_int_equal(probe.stops, 1);
    assert_int_equal(probe.stop_reason, KVP_INTERNAL);
    assert_int_equal(t_leading(), 0);
    t_advance(998);
    assert_int_equal(probe.starts, 1);
    t_advance(10);
    assert_int_equal(probe.starts, 2);
    assert_int_equal(t_leading(), 1);
    t_depose();
    probe.starts = probe.stops = 0;
    probe.on_start = refuse_start;
    t_lead(2);
    assert_int_equal(probe.stops, 1); /* stop follows a start that failed, as in kvd */
    assert_int_equal(probe.stop_reason, KVP_INTERNAL);
    t_advance(6900);
    assert_int_equal(t_leading(), 0); /* 1 + 2 + 4 seconds */
    t_advance(200);
    assert_int_equal(t_leading(), 1);
    assert_int_equal(probe.stops, 3);
    t_close();
    assert_int_equal(failures, 0);
}

/* The same seed is the same run. */
static uint64_t fingerprint;
static void fingerprint_story(void)
{
    int status = 0;
    probe = (struct probe){0};
    t_open(&probe_plugin, NULL);
    t_lead(1);
    for (int i = 0; i < 20; i++) {
        inside(put_one, &status);
        fingerprint = fingerprint * 31 + t_now();
        t_step();
    }
    t_close();
}

static void seeds_repeat_a_run(void **state)
{
    (void)state;
    t_on_failure(_fail);
    fingerprint = 0;
    t_for_each_seed(10, fingerprint_story);
    uint64_t first = fingerprint;
    fingerprint = 0;
    t_for_each_seed(10, fingerprint_story);
    assert_int_equal(fingerprint, first);
    fingerprint = 0;
    t_for_each_seed(11, fingerprint_story);
    assert_int_not_equal(fingerprint, first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaks_are_failures),
        cmocka_unit_test(foreign_memory_is_a_failure),
        cmocka_unit_test(forgotten_transactions_are_failures),
        cmocka_unit_test(ended_transactions_are_not_used),
        cmocka_unit_test(timers_end_once),
        cmocka_unit_test(watches_end_once),
        cmocka_unit_test(outside_a_callback_is_a_failure),
        cmocka_unit_test(threads_are_told_apart),
        cmocka_unit_test(work_may_not_call),
        cmocka_unit_test(use_after_stop_is_a_failure),
        cmocka_unit_test(closing_after_the_end_is_fine_once),
        cmocka_unit_test(faults_come_when_asked),
        cmocka_unit_test(expectations_speak),
        cmocka_unit_test(refusals_of_init),
        cmocka_unit_test(leases_follow_their_context),
        cmocka_unit_test(failed_terms_start_again),
        cmocka_unit_test(seeds_repeat_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
