/* test_svc_plugin.c - kvdpb.Plugin over a fake plugin host: every method, its errors, secrets,
 * clients that leave, memory that runs out. */
#include "tests/unit/rpc/svc_fake.h"

#include "base/limits.h"
#include "proto/kvd/plugin.pb-c.h"

/* ---- the host ----------------------------------------------------------------------------------
 */

struct fake_host {
    struct plugin_admin admin;
    struct fake *f;
    const char *names[8];
    size_t name_count;
    /* the pending request; NULL when there is none or it was canceled */
    struct plugin_admin_req *req;
    char what[16];
    char name[64]; /* "" = all */
    unsigned parts;
    char settings[256]; /* name=value; ... */
    int canceled;
    /* completes from inside the call with this */
    const struct plugin_admin_result *at_once;
};

static struct fake_host *host_of(struct plugin_admin *a)
{
    return a->impl;
}

static void host_take(struct fake_host *h, struct plugin_admin_req *r, const char *what,
                      const char *name)
{
    assert_null(h->req);
    snprintf(h->what, sizeof(h->what), "%s", what);
    snprintf(h->name, sizeof(h->name), "%s", name != NULL ? name : "");
    if (h->at_once != NULL) {
        r->cb(r, h->at_once);
    } else {
        h->req = r;
    }
}

static void host_names(struct plugin_admin *a, void (*name)(void *data, const char *name),
                       void *data)
{
    for (size_t i = 0; i < host_of(a)->name_count; i++) {
        name(data, host_of(a)->names[i]);
    }
}

static void host_read(struct plugin_admin *a, struct plugin_admin_req *r, const char *name,
                      unsigned parts)
{
    host_of(a)->parts = parts;
    host_take(host_of(a), r, "read", name);
}

static void host_reload(struct plugin_admin *a, struct plugin_admin_req *r, const char *name,
                        const struct plugin_setting *settings, size_t count)
{
    struct fake_host *h = host_of(a);
    size_t at = 0;
    h->settings[0] = '\0';
    for (size_t i = 0; i < count && at < sizeof(h->settings); i++) {
        at += (size_t)snprintf(h->settings + at, sizeof(h->settings) - at, "%s=%s;",
                               settings[i].name, settings[i].value);
    }
    host_take(h, r, "reload", name);
}

static void host_enable(struct plugin_admin *a, struct plugin_admin_req *r, const char *name)
{
    host_take(host_of(a), r, "enable", name);
}

static void host_disable(struct plugin_admin *a, struct plugin_admin_req *r, const char *name)
{
    host_take(host_of(a), r, "disable", name);
}

static void host_cancel(struct plugin_admin *a, struct plugin_admin_req *r)
{
    assert_ptr_equal(host_of(a)->req, r);
    host_of(a)->req = NULL;
    host_of(a)->canceled++;
}

static struct fake_host host;

static int setup(void **state)
{
    assert_int_equal(fake_setup(state), 0);
    struct fake *f = *state;
    host = (struct fake_host){
        .admin = {.impl = &host,
                  .names = host_names,
                  .read = host_read,
                  .reload = host_reload,
                  .enable = host_enable,
                  .disable = host_disable,
                  .cancel = host_cancel},
        .f = f,
        .names = {"hello", "scheduler"},
        .name_count = 2,
    };
    f->svc->options.plugins = &host.admin;
    return 0;
}

/* Completes the pending request. */
static void complete(const struct plugin_admin_result *result)
{
    struct plugin_admin_req *r = host.req;
    assert_non_null(r);
    host.req = NULL;
    r->cb(r, result);
}

static void complete_err(int err, const char *why)
{
    const struct plugin_admin_result result = {.err = err, .why = why};
    complete(&result);
}

static const struct plugin_option options[] = {
    {.name = "greeting",
     .type = PLUGIN_OPTION_STRING,
     .value = "moin",
     .default_value = "hello",
     .words = "hello|moin",
     .help = "what to say",
     .reloadable = true,
     .source = PLUGIN_FROM_RELOAD},
    {.name = "every",
     .type = PLUGIN_OPTION_DURATION,
     .value = "5s",
     .default_value = "5s",
     .minimum = -1,
     .maximum = 60000,
     .required = true},
    {.name = "token",
     .type = PLUGIN_OPTION_STRING,
     .value = "s3cret-value",
     .default_value = "s3cret-default",
     .secret = true,
     .source = PLUGIN_FROM_FLAG},
};

static const struct plugin_info plugins[] = {
    {.name = "hello",
     .version = "1.2",
     .about = "says hello",
     .file = "/plugins/hello.so",
     .sha256 = "ab12",
     .lane = PLUGIN_LANE_THREAD,
     .abi_major = 1,
     .abi_minor = 2,
     .follows = true,
     .state = PLUGIN_LEADING,
     .since_unix_ms = 1700000000000,
     .term = 7,
     .epoch = 3,
     .strikes = 2,
     .options = options,
     .option_count = 3,
     .load = {.callbacks = 100,
              .callbacks_slow = 2,
              .time_sum_ns = 5000000,
              .time_p50_ns = 40000,
              .time_p99_ns = 900000,
              .time_max_ns = 12000000,
              .queue = 4,
              .retries = 5,
              .events = 6,
              .requests = 7,
              .writes = 8,
              .watches = 9,
              .timers = 10,
              .memory_bytes = 11,
              .allocations = 12,
              .running = "reconcile",
              .running_ms = 13,
              .running_revision = 14}},
    {.name = "bad\xff.so",
     .about = NULL,
     .state = PLUGIN_FAILED,
     .why = "bad\xff.so: it has no entry kvplugin_entry"},
};
static const struct plugin_admin_result both = {.plugins = plugins, .count = 2};
static const struct plugin_admin_result one = {
    .plugins = plugins, .count = 1, .previous_version = "1.1", .previous_sha256 = "00ff"};

static struct rpc_call *named(struct fake *f, const char *method, const char *name)
{
    Kvdpb__PluginDescribeRequest r = KVDPB__PLUGIN_DESCRIBE_REQUEST__INIT;
    r.name = (char *)name; /* field 1 of every request with a name */
    char path[64];
    snprintf(path, sizeof(path), "kvdpb.Plugin/%s", method);
    return call_start(f, path, &r);
}

static void assert_refused(struct rpc_call *call, int code, const char *text)
{
    assert_true(call->finished);
    assert_string_equal(call->text, text);
    assert_int_equal(call->code, code);
    assert_int_equal(call->count, 0);
    call_free(call);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void list_shows_every_plugin(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = named(f, "List", "");
    assert_string_equal(host.what, "read");
    assert_string_equal(host.name, "");
    assert_int_equal(host.parts, 0);
    assert_int_equal(call->count, 0);
    complete(&both);
    Kvdpb__PluginListResponse *a = call_answer(call, 0, &kvdpb__plugin_list_response__descriptor);
    assert_header(a->header, 5);
    assert_true(a->now_unix_ms > 1700000000000);
    assert_int_equal(a->n_plugins, 2);
    const Kvdpb__PluginInfo *p = a->plugins[0];
    assert_string_equal(p->name, "hello");
    assert_string_equal(p->version, "1.2");
    assert_string_equal(p->about, "says hello");
    assert_string_equal(p->file, "/plugins/hello.so");
    assert_string_equal(p->sha256, "ab12");
    assert_int_equal(p->lane, KVDPB__PLUGIN_LANE__LANE_THREAD);
    assert_int_equal(p->abi_major, 1);
    assert_int_equal(p->abi_minor, 2);
    assert_true(p->follows);
    assert_int_equal(p->state, KVDPB__PLUGIN_STATE__LEADING);
    assert_string_equal(p->why, "");
    assert_int_equal(p->since_unix_ms, 1700000000000);
    assert_int_equal(p->term, 7);
    assert_int_equal(p->epoch, 3);
    assert_int_equal(p->strikes, 2);
    /* Bytes that are no UTF-8 would make the whole answer unreadable. */
    assert_string_equal(a->plugins[1]->name, "bad\\xff.so");
    assert_string_equal(a->plugins[1]->why, "bad\\xff.so: it has no entry kvplugin_entry");
    assert_string_equal(a->plugins[1]->version, "");
    assert_int_equal(call->code, 0);
    call_free(call);

    call = named(f, "List", "");
    complete(&(struct plugin_admin_result){.count = 0});
    a = call_answer(call, 0, &kvdpb__plugin_list_response__descriptor);
    assert_int_equal(a->n_plugins, 0);
    call_free(call);
}

static void top_shows_what_they_cost(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = named(f, "Top", "");
    assert_string_equal(host.name, "");
    assert_int_equal(host.parts, PLUGIN_READ_LOAD);
    complete(&both);
    Kvdpb__PluginTopResponse *a = call_answer(call, 0, &kvdpb__plugin_top_response__descriptor);
    assert_header(a->header, 5);
    assert_true(a->now_mono_ns > 0);
    assert_int_equal(a->n_loads, 2);
    const Kvdpb__PluginLoad *l = a->loads[0];
    assert_string_equal(l->name, "hello");
    assert_int_equal(l->state, KVDPB__PLUGIN_STATE__LEADING);
    assert_int_equal(l->callbacks, 100);
    assert_int_equal(l->callbacks_slow, 2);
    assert_int_equal(l->time_sum_ns, 5000000);
    assert_int_equal(l->time_p50_ns, 40000);
    assert_int_equal(l->time_p99_ns, 900000);
    assert_int_equal(l->time_max_ns, 12000000);
    assert_int_equal(l->queue, 4);
    assert_int_equal(l->retries, 5);
    assert_int_equal(l->events, 6);
    assert_int_equal(l->requests, 7);
    assert_int_equal(l->writes, 8);
    assert_int_equal(l->watches, 9);
    assert_int_equal(l->timers, 10);
    assert_int_equal(l->memory_bytes, 11);
    assert_int_equal(l->allocations, 12);
    assert_string_equal(l->running, "reconcile");
    assert_int_equal(l->running_ms, 13);
    assert_int_equal(l->running_revision, 14);
    call_free(call);

    call = named(f, "Top", "hello");
    assert_string_equal(host.name, "hello");
    complete(&one);
    a = call_answer(call, 0, &kvdpb__plugin_top_response__descriptor);
    assert_int_equal(a->n_loads, 1);
    call_free(call);
}

static bool contains(struct slice bytes, const char *text)
{
    return memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
}

static void secrets_are_never_shown(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = named(f, "Config", "hello");
    assert_int_equal(host.parts, PLUGIN_READ_OPTIONS);
    complete(&one);
    Kvdpb__PluginConfigResponse *a =
        call_answer(call, 0, &kvdpb__plugin_config_response__descriptor);
    assert_header(a->header, 5);
    assert_string_equal(a->name, "hello");
    assert_int_equal(a->n_options, 3);
    const Kvdpb__PluginOption *o = a->options[0];
    assert_string_equal(o->name, "greeting");
    assert_int_equal(o->type, KVDPB__PLUGIN_OPTION_TYPE__OPTION_STRING);
    assert_string_equal(o->value, "moin");
    assert_string_equal(o->default_value, "hello");
    assert_string_equal(o->words, "hello|moin");
    assert_string_equal(o->help, "what to say");
    assert_true(o->reloadable);
    assert_false(o->required);
    assert_int_equal(o->source, KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_RELOAD);
    o = a->options[1];
    assert_int_equal(o->type, KVDPB__PLUGIN_OPTION_TYPE__OPTION_DURATION);
    assert_int_equal(o->minimum, -1);
    assert_int_equal(o->maximum, 60000);
    assert_true(o->required);
    assert_string_equal(o->words, "");
    o = a->options[2];
    assert_true(o->secret);
    assert_string_equal(o->value, "");
    assert_string_equal(o->default_value, "");
    assert_int_equal(o->source, KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_FLAG);
    assert_false(contains(buf_slice(&call->out[0]), "s3cret"));
    assert_true(contains(buf_slice(&call->out[0]), "moin"));
    call_free(call);

    call = named(f, "Describe", "hello");
    assert_int_equal(host.parts, PLUGIN_READ_OPTIONS | PLUGIN_READ_LOAD);
    complete(&one);
    Kvdpb__PluginDescribeResponse *d =
        call_answer(call, 0, &kvdpb__plugin_describe_response__descriptor);
    assert_header(d->header, 5);
    assert_string_equal(d->plugin->about, "says hello");
    assert_string_equal(d->load->running, "reconcile");
    assert_int_equal(d->n_options, 3);
    assert_false(contains(buf_slice(&call->out[0]), "s3cret"));
    call_free(call);
}

static void changes_reach_the_host(void **state)
{
    struct fake *f = *state;
    Kvdpb__PluginReloadRequest r = KVDPB__PLUGIN_RELOAD_REQUEST__INIT;
    Kvdpb__PluginSetting s[2] = {KVDPB__PLUGIN_SETTING__INIT, KVDPB__PLUGIN_SETTING__INIT};
    Kvdpb__PluginSetting *settings[] = {&s[0], &s[1]};
    s[0].name = (char *)"greeting";
    s[0].value = (char *)"moin=moin";
    s[1].name = (char *)"every";
    r.name = (char *)"hello";
    r.settings = settings;
    r.n_settings = 2;
    struct rpc_call *call = call_start(f, "kvdpb.Plugin/Reload", &r);
    assert_string_equal(host.what, "reload");
    assert_string_equal(host.name, "hello");
    assert_string_equal(host.settings, "greeting=moin=moin;every=;");
    assert_false(call->finished);
    complete(&one);
    Kvdpb__PluginChangeResponse *a =
        call_answer(call, 0, &kvdpb__plugin_change_response__descriptor);
    assert_header(a->header, 5);
    assert_string_equal(a->plugin->version, "1.2");
    assert_string_equal(a->previous_version, "1.1");
    assert_string_equal(a->previous_sha256, "00ff");
    call_free(call);

    const char *const methods[] = {"Enable", "enable", "Disable", "disable"};
    for (size_t i = 0; i < 4; i += 2) {
        call = named(f, methods[i], "scheduler");
        assert_string_equal(host.what, methods[i + 1]);
        assert_string_equal(host.name, "scheduler");
        complete(&one);
        a = call_answer(call, 0, &kvdpb__plugin_change_response__descriptor);
        assert_string_equal(a->plugin->name, "hello");
        assert_int_equal(call->code, 0);
        call_free(call);
    }
}

static void a_host_may_answer_at_once(void **state)
{
    struct fake *f = *state;
    const struct plugin_admin_result no = {.err = ERR_BUSY};
    host.at_once = &one;
    struct rpc_call *call = named(f, "Reload", "hello");
    assert_true(call->finished);
    assert_int_equal(call->code, 0);
    assert_int_equal(call->count, 1);
    call_free(call);
    host.at_once = &no;
    call = named(f, "Describe", "hello");
    assert_error(call, ERR_BUSY);
    call_free(call);
    assert_int_equal(host.canceled, 0);
}

/* ---- errors ------------------------------------------------------------------------------------
 */

static const char *const all_methods[] = {"List",   "Describe", "Top",    "Config",
                                          "Reload", "Enable",   "Disable"};

static void without_a_host_all_say_so(void **state)
{
    struct fake *f = *state;
    f->svc->options.plugins = NULL;
    for (size_t i = 0; i < 7; i++) {
        assert_refused(named(f, all_methods[i], "hello"), GRPC_UNIMPLEMENTED,
                       "kvd: this server has no plugin host, so there are no plugins to show or to "
                       "change (see docs/status.md)");
    }
}

static void unknown_names_get_the_nearest(void **state)
{
    struct fake *f = *state;
    for (size_t i = 1; i < 7; i++) { /* all but List */
        assert_refused(named(f, all_methods[i], "sheduler"), GRPC_NOT_FOUND,
                       "kvd: there is no plugin \"sheduler\" on this member; the nearest is "
                       "\"scheduler\"");
    }
    host.names[1] = "bad\xff";
    assert_refused(named(f, "Enable", "bad"), GRPC_NOT_FOUND,
                   "kvd: there is no plugin \"bad\" on this member; the nearest is \"bad\\xff\"");
    host.name_count = 0;
    assert_refused(named(f, "Describe", "hello"), GRPC_NOT_FOUND,
                   "kvd: there is no plugin \"hello\": none is loaded on this member");
    assert_null(host.req);
    host.name_count = 1;
    for (size_t i = 1; i < 7; i++) {
        if (strcmp(all_methods[i], "Top") != 0) {
            assert_refused(named(f, all_methods[i], ""), GRPC_INVALID_ARGUMENT,
                           "kvd: the request names no plugin");
        }
    }
    char longest[4096];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    struct rpc_call *call = named(f, "Describe", longest);
    assert_int_equal(call->code, GRPC_NOT_FOUND);
    call_free(call);
}

static void the_hosts_sentence_reaches_the_client(void **state)
{
    struct fake *f = *state;
    static const struct {
        int err;
        int code;
        const char *why;
        const char *text;
    } rows[] = {
        {ERR_NOT_FOUND, GRPC_NOT_FOUND, "it is gone", "kvd: it is gone"},
        {ERR_INVALID, GRPC_INVALID_ARGUMENT, "it has no option gretting; the nearest is greeting",
         "kvd: it has no option gretting; the nearest is greeting"},
        {ERR_REFUSED, GRPC_FAILED_PRECONDITION, "hello is quarantined",
         "kvd: hello is quarantined"},
        {ERR_REFUSED, GRPC_FAILED_PRECONDITION, "", "kvd: refused"},
        {ERR_REFUSED, GRPC_FAILED_PRECONDITION, "\xff", "kvd: \\xff"},
        {ERR_BUSY, GRPC_UNAVAILABLE, NULL, "kvd: busy, try again"},
        {ERR_UNIMPLEMENTED, GRPC_UNIMPLEMENTED, "hello has no reload", "kvd: hello has no reload"},
        {ERR_STOPPED, GRPC_UNAVAILABLE, NULL, "etcdserver: server stopped"},
    };
    for (size_t m = 0; m < 7; m++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            struct rpc_call *call = named(f, all_methods[m], "hello");
            complete_err(rows[i].err, rows[i].why);
            assert_refused(call, rows[i].code, rows[i].text);
        }
    }
}

static void bad_requests_are_refused(void **state)
{
    struct fake *f = *state;
    for (size_t i = 0; i < 7; i++) {
        char path[64];
        snprintf(path, sizeof(path), "kvdpb.Plugin/%s", all_methods[i]);
        struct rpc_call *call = call_new(f, path);
        call_open(call);
        call_message(call, slice_of("\x0a\x05x", 3));
        assert_error(call, ERR_MALFORMED);
        call_free(call);
        assert_null(host.req);
    }
    Kvdpb__PluginReloadRequest r = KVDPB__PLUGIN_RELOAD_REQUEST__INIT;
    Kvdpb__PluginSetting s = KVDPB__PLUGIN_SETTING__INIT;
    Kvdpb__PluginSetting *settings[PLUGIN_SETTINGS_MAX + 1];
    for (size_t i = 0; i <= PLUGIN_SETTINGS_MAX; i++) {
        settings[i] = &s;
    }
    r.name = (char *)"hello";
    r.settings = settings;
    r.n_settings = 1;
    s.value = (char *)"x";
    assert_refused(call_start(f, "kvdpb.Plugin/Reload", &r), GRPC_INVALID_ARGUMENT,
                   "kvd: a setting has no name");
    s.name = (char *)"a";
    r.n_settings = PLUGIN_SETTINGS_MAX + 1;
    assert_refused(call_start(f, "kvdpb.Plugin/Reload", &r), GRPC_INVALID_ARGUMENT,
                   "kvd: too many settings in one reload");
    assert_null(host.req);
    r.n_settings = PLUGIN_SETTINGS_MAX;
    struct rpc_call *call = call_start(f, "kvdpb.Plugin/Reload", &r);
    assert_string_equal(host.what, "reload");
    complete(&one);
    call_free(call);
}

static void a_client_that_leaves_cancels(void **state)
{
    struct fake *f = *state;
    for (size_t i = 0; i < 7; i++) {
        struct rpc_call *call = named(f, all_methods[i], "hello");
        assert_non_null(host.req);
        call_free(call);
        assert_null(host.req);
        assert_int_equal(host.canceled, (int)i + 1);
    }
}

static void running_out_of_memory_is_an_error(void **state)
{
    struct fake *f = *state;
    static const struct plugin_admin_result bad = {.plugins = &plugins[1], .count = 1};
    for (size_t m = 0; m < 7; m++) {
        uint64_t n = 0;
        bool ok = false;
        while (!ok) {
            struct rpc_call *call = named(f, all_methods[m], "hello");
            /* Answers are made in a buffer that grows once and stays. */
            buf_close(&f->svc->scratch);
            mem_fail_after(++n);
            complete(m % 2 == 0 ? &bad : &one);
            mem_fail_after(0);
            assert_true(call->finished);
            ok = call->code == 0;
            if (!ok) {
                assert_error(call, ERR_NOMEM);
            }
            call_free(call);
            assert_true(n < 100);
        }
        assert_true(n > 1);
    }
}

static int teardown_arena(void **state)
{
    (void)state;
    arena_close(&fake_arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(list_shows_every_plugin),           TEST(top_shows_what_they_cost),
        TEST(secrets_are_never_shown),           TEST(changes_reach_the_host),
        TEST(a_host_may_answer_at_once),         TEST(without_a_host_all_say_so),
        TEST(unknown_names_get_the_nearest),     TEST(the_hosts_sentence_reaches_the_client),
        TEST(bad_requests_are_refused),          TEST(a_client_that_leaves_cancels),
        TEST(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, teardown_arena);
}
