/* test_host.c - loading, options, the lifecycle, leadership and fencing of plugins. */
#include "tests/unit/plugins/host_fixture.h"

/* ---- loading -----------------------------------------------------------------------------------
 */

static void init_gets_typed_options(void **state)
{
    (void)state;
    probe_load("number=7,size=4MiB,flag=true,word=green");
    assert_int_equal(probe.inits, 1);
    assert_int_equal(probe.conf.number, 7);
    assert_int_equal(probe.conf.wait, 90000);
    assert_int_equal(probe.conf.size, 4 << 20);
    assert_int_equal(probe.conf.flag, 1);
    assert_string_equal(probe.conf.word, "green");
}

static void bad_options_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        const char *sentence;
    } rows[] = {
        {"numbr=7", "static:probe: it has no option numbr; the nearest is number"},
        {"number=x", "static:probe: option number: \"x\" is not a whole number"},
        {"number=10", "static:probe: option number: 10 is outside 1..9"},
        {"wait=5", "static:probe: option wait: \"5\" is not a duration such as 250ms, 5s or 1m30s"},
        {"size=1GB", "static:probe: option size: \"1GB\" is not a size such as 512, 64KiB or 4MiB"},
        {"size=999999999TiB",
         "static:probe: option size: \"999999999TiB\" is not a size such as 512, 64KiB or 4MiB"},
        {"flag=maybe", "static:probe: option flag: \"maybe\" is not true or false"},
        {"word=blue", "static:probe: option word: \"blue\" is none of red|green"},
        {"word", "static:probe: option word has no value: write word=VALUE"},
        {"flag=true,flag=true", "static:probe: option flag is given twice"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct errmsg e = {""};
        char spec[128];
        snprintf(spec, sizeof(spec), "static:probe,%s", rows[i].options);
        assert_int_equal(host_load(hf.host, spec, &e), ERR_INVALID);
        assert_string_equal(e.text, rows[i].sentence);
        assert_int_equal(probe_state(), HOST_REFUSED);
    }
    assert_int_equal(probe.inits, 0);
}

static void required_options_must_be_given(void **state)
{
    (void)state;
    static const struct kvp_option options[] = {{.name = "key-file",
                                                 .type = KVP_OPT_STRING,
                                                 .flags = KVP_OPT_REQUIRED,
                                                 .offset = offsetof(struct probe_conf, word),
                                                 .help = "where the key lies"},
                                                {.name = NULL}};
    struct errmsg e = {""};
    probe_plugin.options = options;
    int err = host_load(hf.host, "static:probe", &e);
    probe_plugin.options = probe_options;
    assert_int_equal(err, ERR_INVALID);
    assert_string_equal(e.text, "static:probe: option key-file must be given: where the key lies");
}

static void secrets_are_not_repeated(void **state)
{
    (void)state;
    static const struct kvp_option options[] = {{.name = "pin",
                                                 .type = KVP_OPT_INT,
                                                 .flags = KVP_OPT_SECRET,
                                                 .offset = offsetof(struct probe_conf, number)},
                                                {.name = NULL}};
    struct errmsg e = {""};
    probe_plugin.options = options;
    int err = host_load(hf.host, "static:probe,pin=12x4", &e);
    probe_plugin.options = probe_options;
    assert_int_equal(err, ERR_INVALID);
    assert_string_equal(e.text, "static:probe: option pin: \"(secret)\" is not a whole number");
}

static void descriptors_are_checked(void **state)
{
    (void)state;
    struct kvp_plugin kept = probe_plugin;
    struct errmsg e = {""};
    probe_plugin.abi_major = 2;
    assert_int_equal(host_load(hf.host, "static:probe", &e), ERR_INVALID);
    assert_string_equal(e.text, "probe: wants plugin ABI 2.0, this kvd has 1.0: build it with the "
                                "kvplugin.h of this kvd");
    probe_plugin = kept;
    probe_plugin.abi_minor = 9;
    assert_int_equal(host_load(hf.host, "static:probe", &e), ERR_INVALID);
    assert_string_equal(e.text, "probe: needs plugin ABI 1.9, this kvd has 1.0: upgrade kvd, or "
                                "build it with an older kvplugin.h");
    probe_plugin = kept;
    probe_plugin.init = NULL;
    assert_int_equal(host_load(hf.host, "static:probe", &e), ERR_INVALID);
    probe_plugin = kept;
    probe_plugin.conf_size = 8;
    assert_int_equal(host_load(hf.host, "static:probe", &e), ERR_INVALID);
    assert_string_equal(e.text, "probe: its option wait lies outside its configuration");
    probe_plugin = kept;
    assert_int_equal(host_load(hf.host, "static:nobody", &e), ERR_NOT_FOUND);
}

static void names_are_unique(void **state)
{
    (void)state;
    struct errmsg e = {""};
    probe_load("");
    assert_int_equal(host_load(hf.host, "static:probe", &e), ERR_INVALID);
    assert_string_equal(e.text,
                        "static:probe: a plugin named probe is loaded already, from static:probe");
    assert_int_equal(probe.inits, 1);
}

static void failing_init_costs_only_the_plugin(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct host_plugin row;
    probe.init_result = -5;
    assert_int_equal(host_load(hf.host, "static:probe", &e), 0);
    UNTIL(probe_state() == HOST_REFUSED);
    assert_int_equal(host_list(hf.host, &row, 1), 1);
    assert_string_equal(row.why, "static:probe: init failed: no flux left, refill it");
    assert_int_equal(probe.finis, 0);
    host_role(hf.host, true, 1);
    assert_int_equal(put_now(hf.f, "a", "1", 0, NULL), 0); /* the member serves */
    assert_int_equal(probe.starts, 0);
}

/* What an init that fails has begun: nothing of it may call back into what init has freed. */
static struct {
    unsigned called;
    struct kvp_cache *cache;
    struct kvp_queue *queue;
} silent;

static void silent_called(void *data)
{
    (void)data;
    silent.called++;
}

static void silent_rows(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    (void)data, (void)r, (void)rows;
    silent.called++;
}

static void silent_events(void *data, const struct kvp_batch *b)
{
    (void)data, (void)b;
    silent.called++;
}

static void silent_ended(void *data, const struct kvp_result *r)
{
    (void)data, (void)r;
    silent.called++;
}

static void silent_canceled(void *data, int canceled)
{
    (void)data, (void)canceled;
    silent.called++;
}

static void silent_offloaded(void *data)
{
    (void)data;
}

static void silent_work(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    (void)data, (void)q, (void)key;
    silent.called++;
}

static void silent_answered(void *data, const struct kvp_result *r,
                            const struct kvp_object_answer *a)
{
    (void)data, (void)r, (void)a;
    silent.called++;
}

static void silent_on_init(void)
{
    const struct kvp_host *h = probe.host;
    struct kvp_ctx *ctx = probe.root;
    struct kvp_timer_args timer = {.size = sizeof(timer), .fire = silent_called};
    struct kvp_watch_args watch = {.size = sizeof(watch),
                                   .key = kvp_str("a"),
                                   .from_revision = 1,
                                   .events = silent_events,
                                   .ended = silent_ended};
    struct kvp_cache_args cache = {.size = sizeof(cache), .prefix = kvp_str("a")};
    struct kvp_queue_args queue = {.size = sizeof(queue), .work = silent_work};
    struct kvp_object_args object = {.size = sizeof(object),
                                     .request = {.size = sizeof(object.request),
                                                 .verb = KVP_VERB_GET,
                                                 .version = kvp_str("v1"),
                                                 .resource = kvp_str("pods"),
                                                 .name = kvp_str("a")},
                                     .done = silent_answered};
    assert_int_equal(h->object(ctx, &object, NULL), 0);
    assert_int_equal(h->timer(ctx, &timer, NULL), 0);
    timer.after_ms = timer.repeat_ms = 1;
    assert_int_equal(h->timer(ctx, &timer, NULL), 0);
    assert_int_equal(h->watch(ctx, &watch, NULL), 0);
    assert_int_equal(h->get(ctx, kvp_str("a"), silent_rows, NULL), 0);
    assert_int_equal(h->post(ctx, silent_called, NULL), 0);
    assert_int_equal(h->offload(ctx, silent_offloaded, silent_canceled, NULL), 0);
    assert_int_equal(h->cache_open(ctx, &cache, &silent.cache), 0);
    assert_int_equal(h->queue_open(ctx, &queue, &silent.queue), 0);
    assert_int_equal(h->queue_add(silent.queue, kvp_str("k")), 0);
}

static void nothing_calls_back_after_an_init_that_failed(void **state)
{
    (void)state;
    struct errmsg e = {""};
    assert_int_equal(put_now(hf.f, "a", "1", 0, NULL), 0);
    memset(&silent, 0, sizeof(silent));
    probe.on_init = silent_on_init;
    probe.init_result = -5;
    assert_int_equal(host_load(hf.host, "static:probe", &e), 0);
    UNTIL(probe_state() == HOST_REFUSED);
    assert_int_equal(silent.called, 0);
    probe.init_result = 0; /* the same with an init that does well calls back */
    assert_int_equal(host_load(hf.host, "static:probe", &e), 0);
    UNTIL(silent.called >= 6);
}

/* ---- leading -----------------------------------------------------------------------------------
 */

static void terms_come_and_go(void **state)
{
    (void)state;
    struct host_plugin row;
    probe_load("");
    probe_lead();
    assert_int_equal(probe.starts, 1);
    struct kvp_ctx *first = probe.term;
    host_list(hf.host, &row, 1);
    assert_int_equal(row.epoch, 1);
    assert_int_equal(row.term, hf.f->term);
    host_role(hf.host, false, hf.f->term);
    UNTIL(probe_state() == HOST_READY);
    assert_int_equal(probe.stops, 1);
    assert_int_equal(probe.stop_reason, KVP_NOT_LEADER);
    hf.f->term++;
    probe_lead();
    assert_int_equal(probe.starts, 2);
    assert_ptr_not_equal(probe.term, first);
    host_fixture_close();
    assert_int_equal(probe.stops, 2);
    assert_int_equal(probe.stop_reason, KVP_STOPPED);
    assert_int_equal(probe.finis, 1);
    assert_int_equal(probe.inits, 1);
}

/* Two terms in one blink: the one in between is never started. */
static void only_the_newest_term_is_started(void **state)
{
    (void)state;
    probe_load("");
    host_role(hf.host, true, 11);
    host_role(hf.host, false, 11);
    host_role(hf.host, true, 12);
    UNTIL(probe_state() == HOST_LEADING && probe.starts == 1);
    assert_int_equal(probe.term_number, 12);
    assert_int_equal(probe.starts, 1);
}

static void a_failing_start_is_tried_again(void **state)
{
    (void)state;
    probe_load("");
    probe.start_result = 1;
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe.starts == 1);
    UNTIL(probe.stops == 1); /* what start began is ended */
    assert_int_equal(probe.stop_reason, KVP_INTERNAL);
    probe.start_result = 0;
    UNTIL(probe.starts == 2 && probe_state() == HOST_LEADING);
    struct host_plugin row;
    host_list(hf.host, &row, 1);
    assert_int_equal(row.epoch, 2);
}

static void fail_inside(void *data)
{
    (probe.host->fail)(probe.term, data); /* cmocka has a macro of that name */
}

static void fail_starts_the_term_again(void **state)
{
    (void)state;
    probe_load("");
    probe_lead();
    inside(fail_inside, "lost my way");
    UNTIL(probe.stops == 1);
    assert_int_equal(probe.stop_reason, KVP_INTERNAL);
    UNTIL(probe.starts == 2);
    assert_int_equal(probe.inits, 1);
}

static void role_inside(void *data)
{
    struct kvp_role *roles = data;
    roles[0] = roles[1] = (struct kvp_role){.size = sizeof(struct kvp_role)};
    assert_int_equal(probe.host->leader(probe.root, &roles[0]), 0);
    if (probe.term != NULL) {
        assert_int_equal(probe.host->leader(probe.term, &roles[1]), 0);
    }
}

static void leader_tells_the_role(void **state)
{
    (void)state;
    struct kvp_role roles[2];
    probe_load("");
    inside(role_inside, roles);
    assert_int_equal(roles[0].is_leader, 0);
    assert_int_equal(roles[0].member, 7);
    probe_lead();
    inside(role_inside, roles);
    assert_int_equal(roles[0].is_leader, 1);
    assert_int_equal(roles[0].term, hf.f->term);
    assert_int_equal(roles[0].epoch, 0); /* epochs are of terms' contexts */
    assert_int_equal(roles[1].is_leader, 1);
    assert_int_equal(roles[1].term, hf.f->term);
    assert_int_equal(roles[1].epoch, 1);
    host_role(hf.host, false, 0);
    UNTIL(probe_state() == HOST_READY);
    inside(role_inside, roles);
    assert_int_equal(roles[0].is_leader, 0);
    assert_int_equal(roles[1].is_leader, 0);
}

/* ---- fencing -----------------------------------------------------------------------------------
 */

static void the_instance_context_writes_only_with_follow(void **state)
{
    (void)state;
    struct answer a;
    probe_load("");
    ask((struct ask){.what = ASK_PUT, .ctx = probe.root, .key = "a", .value = "1", .answer = &a});
    assert_int_equal(a.accepted, KVP_NOT_LEADER);
    probe_plugin.flags = KVP_FOLLOW;
    ask((struct ask){.what = ASK_PUT, .ctx = probe.root, .key = "a", .value = "1", .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
}

static void an_ended_term_writes_no_more(void **state)
{
    (void)state;
    struct answer a;
    probe_load("");
    probe_lead();
    struct kvp_ctx *old = probe.term;
    ask((struct ask){.what = ASK_PUT, .ctx = old, .key = "a", .value = "1", .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    host_role(hf.host, false, 0);
    UNTIL(probe_state() == HOST_READY);
    ask((struct ask){.what = ASK_PUT, .ctx = old, .key = "a", .value = "2", .answer = &a});
    assert_int_equal(a.accepted, KVP_STOPPED);
    ask((struct ask){.what = ASK_GET, .ctx = old, .key = "a", .answer = &a});
    assert_int_equal(a.accepted, KVP_STOPPED);
    ask((struct ask){.what = ASK_GET, .ctx = probe.root, .key = "a", .answer = &a});
    assert_string_equal(a.values[0], "1");
}

/* A write that was on its way when the term ended: nobody knows, and it is told once, before stop.
 */
static struct answer late_answer;
static bool late_was_done_at_stop;

static void late_on_stop(void)
{
    late_was_done_at_stop = late_answer.done;
}

static void late_inside(void *data)
{
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("late"), .value = kvp_str("1")};
    (void)data;
    assert_int_equal(probe.host->put(probe.term, &put, answer_done, &late_answer), 0);
}

static void a_write_under_way_ends_unknown(void **state)
{
    (void)state;
    memset(&late_answer, 0, sizeof(late_answer));
    probe_load("");
    probe_lead();
    probe.on_stop = late_on_stop;
    hf.f->hold = true;
    size_t proposals = hf.f->proposals;
    inside(late_inside, NULL);
    UNTIL(hf.f->proposals > proposals);
    host_role(hf.host, false, 0);
    UNTIL(probe.stops == 1);
    assert_outcome(&late_answer, KVP_UNKNOWN, KVP_STOPPED);
    assert_true(late_was_done_at_stop);
    hf.f->hold = false;
    serve_delivered(hf.f->serve);
}

static void on_stamped(struct service_write *w, int err, int64_t revision, struct slice body)
{
    (void)revision, (void)body;
    *(int *)w->data = err;
}

/* What a deposed member's late proposal meets, wherever it is applied. */
static void an_older_stamp_is_refused(void **state)
{
    (void)state;
    struct service *s = hf.f->service;
    struct buf b = {0};
    struct service_write w = {.cb = on_stamped};
    int err = -1;
    w.data = &err;
    probe_load("");
    probe_lead(); /* registers (term, 1) */
    struct service_stamp stamp = {
        .plugin = "probe", .member = 3, .term = hf.f->term - 1, .epoch = 5};
    s->propose_as(s, &w, SERVICE_PUT, put_bytes(&b, "x", "stale", 0), &stamp);
    UNTIL(err != -1);
    assert_int_equal(err, ERR_FENCED);
    err = -1;
    stamp.term = hf.f->term;
    stamp.epoch = 1;
    s->propose_as(s, &w, SERVICE_PUT, put_bytes(&b, "x", "fresh", 0), &stamp);
    UNTIL(err != -1);
    assert_int_equal(err, 0);
    buf_close(&b);
    Etcdserverpb__RangeResponse *r = range_now(hf.f, "x", NULL, false);
    assert_int_equal(r->n_kvs, 1);
    assert_memory_equal(r->kvs[0]->value.data, "fresh", 5);
}

/* The term context's own writes are stamped: a newer leadership elsewhere fences them. */
static void writes_of_a_term_are_stamped(void **state)
{
    (void)state;
    struct service *s = hf.f->service;
    struct buf b = {0};
    struct service_write w = {.cb = on_stamped};
    struct answer a;
    int err = -1;
    w.data = &err;
    probe_load("");
    probe_lead();
    wire_put_bytes(&b, 1, slice_str("probe"));
    wire_put_uint(&b, 2, 9);
    wire_put_uint(&b, 3, hf.f->term + 1);
    wire_put_uint(&b, 4, 1);
    s->propose(s, &w, SERVICE_EPOCH, buf_slice(&b));
    UNTIL(err != -1);
    assert_int_equal(err, 0);
    buf_close(&b);
    ask((struct ask){.what = ASK_PUT, .ctx = probe.term, .key = "a", .value = "1", .answer = &a});
    assert_outcome(&a, KVP_REFUSED, KVP_FENCED);
    ask((struct ask){
        .what = ASK_PUT_IF, .ctx = probe.term, .key = "a", .value = "1", .answer = &a});
    assert_outcome(&a, KVP_REFUSED, KVP_FENCED);
    ask((struct ask){.what = ASK_DEL, .ctx = probe.term, .key = "a", .answer = &a});
    assert_outcome(&a, KVP_REFUSED, KVP_FENCED);
    ask((struct ask){.what = ASK_GET, .ctx = probe.term, .key = "a", .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.row_count, 0);
}

/* ---- reload ------------------------------------------------------------------------------------
 */

static struct {
    bool done;
    int err;
    char why[128];
    unsigned reloads;
    int result;
    int64_t wait; /* as reload saw it */
} reload;

static int reload_callback(void *self, const void *conf, struct kvp_errmsg *e)
{
    const struct probe_conf *c = conf;
    assert_ptr_equal(self, &probe);
    reload.reloads++;
    reload.wait = c->wait;
    if (reload.result != 0) {
        snprintf(e->text, sizeof(e->text), "not on a Friday");
    }
    return reload.result;
}

static void reload_on_done(void *data, int err, const char *why)
{
    (void)data;
    reload.done = true;
    reload.err = err;
    snprintf(reload.why, sizeof(reload.why), "%s", why);
}

static void reload_changes_what_may_change(void **state)
{
    (void)state;
    struct kvp_option options[sizeof(probe_options) / sizeof(probe_options[0])];
    struct errmsg e = {""};
    memset(&reload, 0, sizeof(reload));
    memcpy(options, probe_options, sizeof(options));
    options[1].flags = KVP_OPT_RELOADABLE; /* wait */
    probe_plugin.options = options;
    assert_int_equal(host_reload(hf.host, "probe", "", reload_on_done, NULL, &e), ERR_NOT_FOUND);
    probe_load("number=5,wait=1s");
    assert_int_equal(host_reload(hf.host, "probe", "", reload_on_done, NULL, &e), ERR_INVALID);
    assert_string_equal(e.text, "plugin probe cannot change its options while it runs");
    probe_plugin.reload = reload_callback;
    assert_int_equal(host_reload(hf.host, "probe", "wait=2s", reload_on_done, NULL, &e),
                     ERR_INVALID); /* number would go back to its default */
    assert_string_equal(e.text,
                        "plugin probe: option number cannot change while it runs: restart kvd");
    assert_int_equal(host_reload(hf.host, "probe", "number=5,wait=x", reload_on_done, NULL, &e),
                     ERR_INVALID);
    assert_int_equal(host_reload(hf.host, "probe", "number=5,wait=2s", reload_on_done, NULL, &e),
                     0);
    assert_int_equal(host_reload(hf.host, "probe", "number=5,wait=3s", reload_on_done, NULL, &e),
                     ERR_BUSY);
    UNTIL(reload.done);
    assert_int_equal(reload.err, 0);
    assert_int_equal(reload.wait, 2000);
    reload.done = false;
    reload.result = 1;
    assert_int_equal(host_reload(hf.host, "probe", "number=5,wait=4s", reload_on_done, NULL, &e),
                     0);
    UNTIL(reload.done);
    assert_int_equal(reload.err, ERR_INVALID);
    assert_string_equal(reload.why, "not on a Friday");
    assert_int_equal(reload.reloads, 2);
    probe_lead(); /* it goes on */
    host_fixture_close();
    probe_plugin.options = probe_options;
    probe_plugin.reload = NULL;
}

/* serve tells its role once the barrier is applied, and when it is lost. */
static void serve_tells_its_role(void **state)
{
    struct fixture *f = *state;
    assert_true(f->leads);
    assert_int_equal(f->leads_term, f->term);
    assert_int_equal(f->role_calls, 1);
    serve_role_changed(f->serve, SERVE_FOLLOWER, f->term + 1, 9);
    assert_false(f->leads);
    assert_int_equal(f->role_calls, 2);
    f->term++;
    fixture_lead(f);
    UNTIL(f->leads);
    assert_int_equal(f->leads_term, f->term);
    assert_int_equal(f->role_calls, 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
    const struct CMUnitTest tests[] = {
        T(init_gets_typed_options),
        T(bad_options_are_refused_with_a_sentence),
        T(required_options_must_be_given),
        T(secrets_are_not_repeated),
        T(descriptors_are_checked),
        T(names_are_unique),
        T(failing_init_costs_only_the_plugin),
        T(nothing_calls_back_after_an_init_that_failed),
        T(terms_come_and_go),
        T(only_the_newest_term_is_started),
        T(a_failing_start_is_tried_again),
        T(fail_starts_the_term_again),
        T(leader_tells_the_role),
        T(the_instance_context_writes_only_with_follow),
        T(an_ended_term_writes_no_more),
        T(a_write_under_way_ends_unknown),
        T(an_older_stamp_is_refused),
        T(writes_of_a_term_are_stamped),
        T(reload_changes_what_may_change),
        T(serve_tells_its_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
