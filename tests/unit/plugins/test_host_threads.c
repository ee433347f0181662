/* test_host_threads.c - plugins on threads of their own: the same contract, seen by TSan. */
#include <semaphore.h>

#include "tests/unit/plugins/host_fixture.h"

/* ---- a plugin at work --------------------------------------------------------------------------
 * It answers each put under in/ with one under out/, and counts what came back. */

enum { ECHOES = 300 };

static struct {
    atomic_int events, written, failed, ended;
    struct kvp_watch *watch;
    pthread_t lane;
    atomic_int foreign; /* callbacks that ran elsewhere */
} echo;

static void echo_check_thread(void)
{
    if (!pthread_equal(pthread_self(), echo.lane)) {
        atomic_fetch_add(&echo.foreign, 1);
    }
}

static void echo_on_put(void *data, const struct kvp_result *r)
{
    (void)data;
    echo_check_thread();
    atomic_fetch_add(r->outcome == KVP_OK ? &echo.written : &echo.failed, 1);
}

static void echo_on_events(void *data, const struct kvp_batch *b)
{
    (void)data;
    echo_check_thread();
    for (size_t i = 0; i < b->count; i++) {
        char key[64];
        snprintf(key, sizeof(key), "out/%.*s", (int)b->events[i].row.key.len - 3,
                 (const char *)b->events[i].row.key.data + 3);
        struct kvp_put put = {
            .size = sizeof(put), .key = kvp_str(key), .value = b->events[i].row.value};
        if (probe.host->put(probe.term, &put, echo_on_put, NULL) != 0) {
            atomic_fetch_add(&echo.failed, 1);
        }
        atomic_fetch_add(&echo.events, 1);
    }
}

static void echo_on_ended(void *data, const struct kvp_result *r)
{
    (void)data, (void)r;
    echo_check_thread();
    atomic_fetch_add(&echo.ended, 1);
}

static void echo_on_start(void)
{
    struct kvp_watch_args args = {.size = sizeof(args),
                                  .flags = KVP_PREFIX,
                                  .key = kvp_str("in/"),
                                  .from_revision = 1,
                                  .events = echo_on_events,
                                  .ended = echo_on_ended};
    echo.lane = pthread_self();
    if (probe.host->watch(probe.term, &args, &echo.watch) != 0) {
        atomic_fetch_add(&echo.failed, 1);
    }
}

static void a_plugin_thread_echoes_every_event(void **state)
{
    (void)state;
    char key[32];
    memset(&echo, 0, sizeof(echo));
    probe.on_start = echo_on_start;
    probe_load("");
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING);
    for (int i = 0; i < ECHOES; i++) {
        snprintf(key, sizeof(key), "in/%d", i);
        assert_int_equal(put_now(hf.f, key, "v", 0, NULL), 0);
    }
    UNTIL(atomic_load(&echo.written) == ECHOES);
    assert_int_equal(atomic_load(&echo.events), ECHOES);
    assert_int_equal(range_now(hf.f, "out/", "out0", false)->n_kvs, ECHOES);
    host_fixture_close();
    assert_int_equal(atomic_load(&echo.ended), 1);
    assert_int_equal(atomic_load(&echo.failed), 0);
    assert_int_equal(atomic_load(&echo.foreign), 0);
}

/* The term ends while events and writes are on their way, again and again: every callback comes
 * before stop, and nothing is torn. */
static void terms_end_in_the_middle_of_work(void **state)
{
    (void)state;
    char key[32];
    memset(&echo, 0, sizeof(echo));
    probe.on_start = echo_on_start;
    probe_load("");
    for (int term = 0; term < 20; term++) {
        host_role(hf.host, true, ++hf.f->term);
        UNTIL(probe_state() == HOST_LEADING);
        for (int i = 0; i < 5; i++) {
            snprintf(key, sizeof(key), "in/%d.%d", term, i);
            assert_int_equal(put_now(hf.f, key, "v", 0, NULL), 0);
        }
        host_role(hf.host, false, 0);
        UNTIL(probe_state() == HOST_READY);
        assert_int_equal(atomic_load(&echo.ended), term + 1);
    }
    assert_int_equal(atomic_load(&echo.foreign), 0);
}

/* ---- posting from elsewhere --------------------------------------------------------------------
 */

enum { POSTERS = 3, POSTS = 500 };
static struct {
    atomic_int accepted, run;
    atomic_bool stopped; /* a post was refused */
} posting;

static void posting_run(void *data)
{
    (void)data;
    atomic_fetch_add(&posting.run, 1);
}

static void *posting_thread(void *data)
{
    struct kvp_ctx *ctx = data;
    for (;;) {
        int reason = probe.host->post(ctx, posting_run, NULL);
        if (reason == KVP_STOPPED) {
            atomic_store(&posting.stopped, true);
            return NULL;
        }
        if (reason == 0) {
            atomic_fetch_add(&posting.accepted, 1);
        }
    }
}

static void accepted_posts_run_before_the_end(void **state)
{
    (void)state;
    pthread_t threads[POSTERS];
    memset(&posting, 0, sizeof(posting));
    probe_load("");
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING);
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, posting_thread, probe.term), 0);
    }
    UNTIL(atomic_load(&posting.run) > POSTS);
    host_role(hf.host, false, 0);
    UNTIL(probe_state() == HOST_READY);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(atomic_load(&posting.stopped));
    assert_int_equal(atomic_load(&posting.run), atomic_load(&posting.accepted));
}

/* ---- work on pool threads ----------------------------------------------------------------------
 */

enum { JOBS = 20 };
static struct {
    int sums[JOBS]; /* of the pool thread, then of the lane */
    atomic_int accepted, done, canceled;
    uint32_t counter;
} work;

static void work_on_init(void)
{
    struct kvp_metric_args args = {
        .size = sizeof(args), .type = KVP_COUNTER, .name = "jobs_total", .help = "Jobs."};
    probe.host->metric(probe.root, &args, &work.counter);
}

static void work_on_pool_thread(void *data)
{
    int *sum = data;
    char *scratch = probe.host->alloc(probe.root, 100);
    for (int i = 1; i <= 100; i++) {
        scratch[i - 1] = (char)i;
        *sum += scratch[i - 1];
    }
    probe.host->release(probe.root, scratch);
    probe.host->metric_add(probe.root, work.counter, 1);
    KVP_LOG(probe.host, probe.root, KVP_DEBUG, "a sum", kvp_f_int("sum", *sum));
}

static void work_on_done(void *data, int canceled)
{
    int *sum = data;
    atomic_fetch_add(canceled ? &work.canceled : &work.done, *sum == (canceled ? 0 : 5050));
}

static void work_inside(void *data)
{
    (void)data;
    for (int i = 0; i < JOBS; i++) {
        work.sums[i] = 0;
        int reason =
            probe.host->offload(probe.root, work_on_pool_thread, work_on_done, &work.sums[i]);
        atomic_fetch_add(&work.accepted, reason == 0);
    }
}

static void offloaded_work_meets_its_lane_again(void **state)
{
    (void)state;
    memset(&work, 0, sizeof(work));
    probe.on_init = work_on_init;
    probe_load("");
    assert_int_equal(probe.host->post(probe.root, work_inside, NULL), 0);
    UNTIL(atomic_load(&work.done) == JOBS);
    assert_int_equal(probe.host->post(probe.root, work_inside, NULL), 0);
    UNTIL(atomic_load(&work.accepted) > JOBS);
    host_fixture_close(); /* in the middle of it: each comes back, run or not */
    assert_int_equal(atomic_load(&work.done) + atomic_load(&work.canceled),
                     atomic_load(&work.accepted));
}

/* ---- a lane that does not take its events -------------------------------------------------------
 */

static struct {
    sem_t gate;
    atomic_int events, batches;
    int64_t last;
} slow;

static void slow_on_events(void *data, const struct kvp_batch *b)
{
    (void)data;
    if (atomic_fetch_add(&slow.batches, 1) == 0) {
        sem_wait(&slow.gate);
    }
    for (size_t i = 0; i < b->count; i++) {
        if (b->events[i].row.mod_revision == slow.last + 1) { /* no gap, no repetition */
            atomic_fetch_add(&slow.events, 1);
        }
        slow.last = b->events[i].row.mod_revision;
    }
}

static void slow_on_init(void)
{
    struct kvp_watch_args args = {
        .size = sizeof(args), .flags = KVP_PREFIX, .events = slow_on_events, .from_revision = 2};
    slow.last = 1;
    probe.host->watch(probe.root, &args, NULL);
}

static void a_stalled_plugin_costs_bounded_memory_and_no_event(void **state)
{
    (void)state;
    enum { PUTS = PLUGIN_WATCH_EVENTS_MAX * 2 };
    memset(&slow, 0, sizeof(slow));
    sem_init(&slow.gate, 0, 0);
    probe.on_init = slow_on_init;
    probe_load("");
    struct service_write *writes = mem_xzalloc(PUTS * sizeof(*writes));
    struct outcome *outcomes = mem_xzalloc(PUTS * sizeof(*outcomes));
    int64_t before = hf.f->service->revision(hf.f->service);
    for (size_t i = 0; i < PUTS; i++) {
        put_start(hf.f, &writes[i], &outcomes[i], "k", "v", 0);
        if (i % 512 == 511 || i == PUTS - 1) {
            UNTIL(outcomes[i].done);
        }
    }
    assert_int_equal(before, 1);
    assert_int_equal(atomic_load(&slow.batches), 1); /* it stands in its first one */
    sem_post(&slow.gate);
    UNTIL(atomic_load(&slow.events) == PUTS);
    for (size_t i = 0; i < PUTS; i++) {
        assert_int_equal(outcomes[i].err, 0);
        buf_close(&outcomes[i].body);
    }
    mem_free(writes);
    mem_free(outcomes);
    host_fixture_close();
    sem_destroy(&slow.gate);
}

/* ---- a plugin that does not return -------------------------------------------------------------
 */

static sem_t stuck_gate;
static struct plugin_host *stuck_host; /* left behind on purpose: keeps its memory reachable */

static void stuck_inside(void *data)
{
    (void)data;
    sem_wait(&stuck_gate);
}

static void a_stuck_plugin_is_left_behind(void **state)
{
    (void)state;
    struct host_plugin row;
    sem_init(&stuck_gate, 0, 0);
    probe_load("");
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING);
    assert_int_equal(probe.host->post(probe.term, stuck_inside, NULL), 0);
    UNTIL((host_list(hf.host, &row, 1), row.callback != NULL));
    assert_string_equal(row.callback, "post");
    stuck_host = hf.host;
    host_fixture_close();
    assert_int_equal(probe.stops, 0);
    assert_int_equal(put_now(hf.f, "a", "1", 0, NULL), 0); /* the store is still served */
    sem_post(&stuck_gate);                                 /* what it does now reaches nobody */
    UNTIL(sem_trywait(&stuck_gate) == -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, host_setup_threads, host_teardown)
    const struct CMUnitTest tests[] = {
        T(a_plugin_thread_echoes_every_event),
        T(terms_end_in_the_middle_of_work),
        T(accepted_posts_run_before_the_end),
        T(offloaded_work_meets_its_lane_again),
        T(a_stalled_plugin_costs_bounded_memory_and_no_event),
        T(a_stuck_plugin_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
