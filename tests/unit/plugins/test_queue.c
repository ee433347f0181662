/* test_queue.c - the work queue against a model, and each of its rules alone. */
#include "tests/unit/plugins/probe.h"

static struct kvp_queue *queue;
static struct kvp_queue_args queue_args;

/* What work saw. */
#define LOG_MAX 4096
static struct {
    char key[16];
    uint64_t at;
} worked[LOG_MAX];
static size_t worked_count;
static bool done_at_once;

static void work(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    (void)data;
    assert_true(worked_count < LOG_MAX);
    snprintf(worked[worked_count].key, sizeof(worked[0].key), "%.*s", (int)key.len,
             (const char *)key.data);
    worked[worked_count++].at = t_now();
    if (done_at_once) {
        probe.host->queue_done(q, key);
    }
}

static int open_queue(void)
{
    queue_args.size = sizeof(queue_args);
    queue_args.work = work;
    return probe.host->queue_open(probe.ctx, &queue_args, &queue);
}

static void open_world(void)
{
    t_on_failure(_fail);
    worked_count = 0;
    probe = (struct probe){.on_init = open_queue};
    t_open(&probe_plugin, NULL);
}

static int setup(void **state)
{
    (void)state;
    queue_args = (struct kvp_queue_args){0};
    done_at_once = true;
    return 0;
}

static void add(void *key)
{
    assert_int_equal(probe.host->queue_add(queue, kvp_str(key)), 0);
}
static void add_limited(void *key)
{
    assert_int_equal(probe.host->queue_add_limited(queue, kvp_str(key)), 0);
}
static void forget(void *key)
{
    probe.host->queue_forget(queue, kvp_str(key));
}
static void done(void *key)
{
    probe.host->queue_done(queue, kvp_str(key));
}

static void add_all(void *data)
{
    (void)data;
    add("b");
    add("a");
    add("b");
    add("c");
    add("a");
    assert_int_equal(probe.host->queue_len(queue), 3);
    assert_int_equal(worked_count, 0); /* never from inside a call */
}

static int again_worked;

/* Work that cuts itself into pieces: the key comes again at once, and again. */
static void work_again(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    (void)data;
    probe.host->queue_done(q, key);
    if (++again_worked < 40) {
        assert_int_equal(probe.host->queue_add(q, key), 0);
    }
}

static int open_queue_again(void)
{
    queue_args.size = sizeof(queue_args);
    queue_args.work = work_again;
    return probe.host->queue_open(probe.ctx, &queue_args, &queue);
}

/* Then each piece is a callback of its own, and all else of the plugin runs in between. */
static void a_key_that_comes_again_lets_others_go_first(void **state)
{
    (void)state;
    t_on_failure(_fail);
    again_worked = 0;
    probe = (struct probe){.on_init = open_queue_again};
    t_open(&probe_plugin, NULL);
    inside(add, "a");
    for (int pieces = again_worked; pieces < 40; pieces = again_worked) {
        t_step();
        assert_in_range(again_worked, pieces, pieces + 1);
    }
    t_close();
}

/* Keys come in the order they were added, each once however often it was. */
static void adds_coalesce_in_order(void **state)
{
    (void)state;
    open_world();
    inside(add_all, NULL);
    t_advance(1);
    assert_int_equal(worked_count, 3);
    assert_string_equal(worked[0].key, "b");
    assert_string_equal(worked[1].key, "a");
    assert_string_equal(worked[2].key, "c");
    t_close();
}

/* Added while in work: it comes again, after done, and to nobody else meanwhile. */
static void key_in_work_comes_again(void **state)
{
    (void)state;
    done_at_once = false;
    queue_args.parallel = 4;
    open_world();
    inside(add, "a");
    t_advance(1);
    assert_int_equal(worked_count, 1);
    inside(add, "a");
    inside(add, "a");
    t_advance(1000);
    assert_int_equal(worked_count, 1);
    inside(done, "a");
    t_advance(1);
    assert_int_equal(worked_count, 2);
    inside(done, "a");
    inside(done, "a"); /* once too often: nothing happens */
    t_advance(1000);
    assert_int_equal(worked_count, 2);
    t_close();
}

static void add_abc(void *data)
{
    (void)data;
    add("a");
    add("b");
    add("c");
}

static void parallel_is_a_bound(void **state)
{
    (void)state;
    done_at_once = false;
    queue_args.parallel = 2;
    open_world();
    inside(add_abc, NULL);
    t_advance(100);
    assert_int_equal(worked_count, 2);
    inside(done, "b");
    t_advance(1);
    assert_int_equal(worked_count, 3);
    assert_string_equal(worked[2].key, "c");
    t_close();
}

static uint64_t asked_at;
static void add_after(void *ms)
{
    asked_at = t_now();
    assert_int_equal(probe.host->queue_add_after(queue, kvp_str("a"), *(uint64_t *)ms), 0);
}

/* Of two times for a key the earlier one holds; then there is none left. */
static void earlier_time_holds(void **state)
{
    (void)state;
    open_world();
    uint64_t ms[] = {5000, 1000, 3000};
    inside(add_after, &ms[0]);
    inside(add_after, &ms[1]);
    uint64_t at = asked_at + 1000;
    inside(add_after, &ms[2]);
    t_advance(10000);
    assert_int_equal(worked_count, 1);
    assert_int_equal(worked[0].at, at);
    t_close();
}

/* 5, 10, 20, ... up to 1,000 s; forget starts anew. */
static void backoff_doubles(void **state)
{
    (void)state;
    open_world();
    uint64_t want = 5;
    for (int i = 0; i < 22; i++) {
        size_t before = worked_count;
        inside(add_limited, "a");
        uint64_t start = t_now();
        while (worked_count == before) {
            assert_true(t_step());
        }
        assert_int_equal(worked[before].at - start, want);
        want = want * 2 < 1000000 ? want * 2 : 1000000;
    }
    inside(forget, "a");
    size_t before = worked_count;
    inside(add_limited, "a");
    uint64_t start = t_now();
    t_advance(100);
    assert_int_equal(worked[before].at - start, 5);
    t_close();
}

static void add_many_limited(void *count)
{
    for (int i = 0; i < *(int *)count; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        add_limited(key);
    }
}

/* 100 at once, then 10 a second. */
static void bucket_of_all_keys(void **state)
{
    (void)state;
    queue_args.parallel = 1000;
    open_world();
    int count = 130;
    inside(add_many_limited, &count);
    t_advance(5);
    assert_int_equal(worked_count, 100);
    t_advance(990);
    assert_int_equal(worked_count, 109);
    t_advance(1005);
    assert_int_equal(worked_count, 120);
    t_advance(1000);
    assert_int_equal(worked_count, 130);
    /* Rest fills it again, up to 100. */
    t_advance(3600000);
    worked_count = 0;
    inside(add_many_limited, &count);
    t_advance(10);
    assert_int_equal(worked_count, 100);
    t_close();
}

static void close_from_work(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    (void)data;
    worked_count++;
    probe.host->queue_close(q);
    /* The key still lives here. */
    assert_memory_equal(key.data, "a", 1);
}

static int open_closing_queue(void)
{
    queue_args.size = sizeof(queue_args);
    queue_args.work = close_from_work;
    return probe.host->queue_open(probe.ctx, &queue_args, &queue);
}

static void closed_from_inside_work(void **state)
{
    (void)state;
    worked_count = 0;
    probe = (struct probe){.on_init = open_closing_queue};
    t_open(&probe_plugin, NULL);
    inside(add_abc, NULL);
    t_advance(1000);
    assert_int_equal(worked_count, 1);
    t_close();
}

/* ---- the model ------------------------------------------------------------------------------
 * Operations happen at times divisible by 3, delays are never: so nothing is due in the same
 * millisecond as an operation, and the model knows exactly what is worked when. */

#define KEYS 6
static struct {
    bool dirty;
    bool processing;
    uint64_t delay_at; /* 0 = none */
    unsigned failures;
    unsigned given; /* to work */
} m[KEYS];
static unsigned given[KEYS];
static unsigned operations;

static void model_give(size_t k)
{
    if (m[k].dirty && !m[k].processing) {
        m[k].dirty = false;
        m[k].processing = true;
        m[k].given++;
    }
}

static void model_pass_to(uint64_t now)
{
    for (size_t k = 0; k < KEYS; k++) {
        if (m[k].delay_at != 0 && m[k].delay_at <= now) {
            m[k].delay_at = 0;
            m[k].dirty = true;
            model_give(k);
        }
    }
}

static void model_delay(size_t k, uint64_t at)
{
    m[k].delay_at = m[k].delay_at == 0 || at < m[k].delay_at ? at : m[k].delay_at;
}

static void model_work(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    (void)data;
    (void)q;
    given[*(const char *)key.data - 'a']++;
}

static void model_operation(void *data)
{
    (void)data;
    uint64_t now = t_now();
    assert_int_equal(now % 3, 0);
    /* What was due before must have been given by now. */
    model_pass_to(now);
    for (size_t k = 0; k < KEYS; k++) {
        if (given[k] != m[k].given) {
            t_fail_test("at %llu key %zu was given %u times, the model says %u",
                        (unsigned long long)now, k, given[k], m[k].given);
        }
    }
    size_t k = t_random(KEYS);
    char name[2] = {(char)('a' + k), '\0'};
    operations++;
    switch (t_random(6)) {
    case 0:
        add(name);
        m[k].dirty = true;
        break;
    case 1: {
        uint64_t ms = t_random(30) * 3 + 1 + t_random(2);
        assert_int_equal(probe.host->queue_add_after(queue, kvp_str(name), ms), 0);
        model_delay(k, now + ms);
        break;
    }
    case 2: {
        add_limited(name);
        uint64_t ms = 5ull << (m[k].failures < 7 ? m[k].failures : 7);
        model_delay(k, now + (ms < 500 ? ms : 500));
        m[k].failures++;
        break;
    }
    case 3:
        forget(name);
        m[k].failures = 0;
        break;
    default:
        done(name);
        m[k].processing = false;
        break;
    }
    model_give(k);
}

static int open_model_queue(void)
{
    queue_args = (struct kvp_queue_args){.size = sizeof(queue_args),
                                         .parallel = KEYS,
                                         .delay_max_ms = 500,
                                         .rate_per_s = 1000000,
                                         .burst = 1000000,
                                         .work = model_work};
    struct kvp_timer_args tick = {
        .size = sizeof(tick), .after_ms = 3 - t_now() % 3, .repeat_ms = 3, .fire = model_operation};
    int status = probe.host->timer(probe.ctx, &tick, NULL);
    return status != 0 ? status : probe.host->queue_open(probe.ctx, &queue_args, &queue);
}

static void model_story(void)
{
    memset(m, 0, sizeof(m));
    memset(given, 0, sizeof(given));
    operations = 0;
    probe = (struct probe){.on_init = open_model_queue};
    t_open(&probe_plugin, NULL);
    t_advance(3000);
    assert_true(operations >= 900);
    t_close();
}

static void random_operations_match_the_model(void **state)
{
    (void)state;
    t_on_failure(_fail);
    t_for_each_seed(100, model_story);
}

/* Whichever allocation fails: an add says so, or the key is worked. */
static int alloc_status;
static void add_any(void *key)
{
    alloc_status = probe.host->queue_add_limited(queue, kvp_str(key));
}

static void alloc_story(void)
{
    worked_count = 0;
    probe = (struct probe){.on_init = open_queue};
    if (t_open(&probe_plugin, NULL) == 0) {
        inside(add_any, "a");
        if (alloc_status == 0) {
            t_advance(20000);
            assert_int_equal(worked_count, 1);
        } else {
            assert_int_equal(alloc_status, KVP_NO_MEMORY);
            assert_int_equal(worked_count, 0);
        }
    }
    t_close();
}

static void allocations_fail(void **state)
{
    (void)state;
    t_on_failure(_fail);
    assert_true(t_for_each_alloc(alloc_story) > 5);
}

static void bad_arguments(void *data)
{
    struct kvp_queue *q;
    struct kvp_queue_args a = {.size = sizeof(a)};
    (void)data;
    assert_int_equal(probe.host->queue_open(probe.ctx, &a, &q), KVP_INVALID);
    a.work = work;
    a.parallel = 1000000;
    assert_int_equal(probe.host->queue_open(probe.ctx, &a, &q), KVP_INVALID);
    a.parallel = 0;
    a.rate_per_s = UINT32_MAX;
    assert_int_equal(probe.host->queue_open(probe.ctx, &a, &q), KVP_INVALID);
    assert_int_equal(probe.host->queue_add(queue, kvp_bytes_of(NULL, 3)), KVP_INVALID);
    assert_int_equal(probe.host->queue_add(queue, kvp_bytes_of(NULL, 0)), 0); /* a key, too */
    assert_int_equal(probe.host->queue_add_after(queue, kvp_str("x"), UINT64_MAX), 0);
}

static void arguments_are_checked(void **state)
{
    (void)state;
    open_world();
    inside(bad_arguments, NULL);
    t_advance(1000);
    assert_int_equal(worked_count, 1);
    t_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_key_that_comes_again_lets_others_go_first, setup),
        cmocka_unit_test_setup(adds_coalesce_in_order, setup),
        cmocka_unit_test_setup(key_in_work_comes_again, setup),
        cmocka_unit_test_setup(parallel_is_a_bound, setup),
        cmocka_unit_test_setup(earlier_time_holds, setup),
        cmocka_unit_test_setup(backoff_doubles, setup),
        cmocka_unit_test_setup(bucket_of_all_keys, setup),
        cmocka_unit_test_setup(closed_from_inside_work, setup),
        cmocka_unit_test_setup(random_operations_match_the_model, setup),
        cmocka_unit_test_setup(allocations_fail, setup),
        cmocka_unit_test_setup(arguments_are_checked, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
