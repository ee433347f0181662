/* test_host_admin - what operators see and do: facts, options and their origin, reload in place and
 * by another instance, what fails on the way, disable and enable over restarts, requests nobody
 * waits for. */
#include "tests/unit/plugins/host_fixture.h"

#include "plugins/host/host_impl.h"
#include "rpc/plugin_admin.h"

/* The last answer. */
static struct {
    struct plugin_admin_req req;
    unsigned count;
    int err;
    char why[512];
    size_t rows;
    struct plugin_info info; /* of the first row; texts are copied */
    char name[64];
    char info_why[512];
    char version[16];
    char previous[16];
    struct {
        char name[16], value[32], def[32];
        enum plugin_option_source source;
        bool secret, reloadable, required;
    } options[8];
} got;

static void copy(char *to, size_t room, const char *from)
{
    snprintf(to, room, "%s", from != NULL ? from : "");
}
#define COPY(to, from) copy((to), sizeof(to), (from))

static void on_answer(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    assert_ptr_equal(r, &got.req);
    got.count++;
    got.err = result->err;
    got.rows = result->count;
    COPY(got.why, result->why);
    COPY(got.previous, result->previous_version);
    if (result->count == 0) {
        return;
    }
    got.info = result->plugins[0];
    COPY(got.name, got.info.name);
    COPY(got.info_why, got.info.why);
    COPY(got.version, got.info.version);
    for (size_t i = 0; i < got.info.option_count && i < 8; i++) {
        const struct plugin_option *o = &got.info.options[i];
        COPY(got.options[i].name, o->name);
        COPY(got.options[i].value, o->value);
        COPY(got.options[i].def, o->default_value);
        got.options[i].source = o->source;
        got.options[i].secret = o->secret;
        got.options[i].reloadable = o->reloadable;
        got.options[i].required = o->required;
    }
}

static struct plugin_admin *admin(void)
{
    memset(&got, 0, sizeof(got));
    got.req.cb = on_answer;
    return host_admin(hf.host);
}

#define ANSWERED()                      \
    do {                                \
        UNTIL(got.count > 0);           \
        assert_int_equal(got.count, 1); \
    } while (0)

static void look(unsigned parts)
{
    struct plugin_admin *a = admin();
    a->read(a, &got.req, "probe", parts);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.err, 0);
    assert_int_equal(got.rows, 1);
}

static void disable(void)
{
    struct plugin_admin *a = admin();
    a->disable(a, &got.req, "probe");
    ANSWERED();
}

static void enable(void)
{
    struct plugin_admin *a = admin();
    a->enable(a, &got.req, "probe");
    ANSWERED();
}

/* Up to two settings; NULL names end them. */
static void reload(const char *name, const char *value, const char *name2, const char *value2)
{
    struct plugin_setting settings[] = {{name, value}, {name2, value2}};
    struct plugin_admin *a = admin();
    a->reload(a, &got.req, "probe", settings, name2 != NULL ? 2 : name != NULL ? 1 : 0);
    ANSWERED();
}

static void assert_ok(enum plugin_state state)
{
    assert_string_equal(got.why, "");
    assert_int_equal(got.err, 0);
    assert_int_equal(got.info.state, state);
}

static void assert_no(int err, const char *why)
{
    assert_string_equal(got.why, why);
    assert_int_equal(got.err, err);
    assert_int_equal(got.rows, 0);
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static void on_name(void *data, const char *name)
{
    struct buf *b = data;
    buf_printf(b, "%s;", name);
}

static void names_and_facts(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct buf names;
    struct plugin_admin *a = admin();
    a->read(a, &got.req, NULL, 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.rows, 0);
    assert_int_not_equal(host_load(hf.host, "static:nothing", &e), 0);
    probe_load("");
    buf_init(&names);
    a->names(a, on_name, &names);
    buf_append_byte(&names, 0);
    assert_string_equal((const char *)names.data, "static:nothing;probe;");
    buf_close(&names);

    a = admin();
    a->read(a, &got.req, NULL, 0);
    assert_int_equal(got.rows, 2);
    assert_int_equal(got.info.state, PLUGIN_FAILED);
    assert_string_equal(got.name, "static:nothing");
    assert_non_null(strstr(got.info_why, "no plugin of that name is built into this kvd"));
    a = admin();
    a->read(a, &got.req, "nobody", 0);
    assert_int_equal(got.err, ERR_NOT_FOUND);

    look(PLUGIN_READ_LOAD);
    assert_int_equal(got.info.state, PLUGIN_LOADED);
    assert_int_equal(got.info.abi_major, KVP_ABI_MAJOR);
    assert_int_equal(got.info.lane, PLUGIN_LANE_LOOP);
    assert_int_equal(got.info.term, 0);
    assert_int_equal(got.info.load.callbacks, 1); /* init */
    assert_true(got.info.load.time_max_ns >= got.info.load.time_p50_ns);
    assert_true(got.info.since_unix_ms > 1600000000000);
    probe_lead();
    look(PLUGIN_READ_LOAD);
    assert_int_equal(got.info.state, PLUGIN_LEADING);
    assert_int_equal(got.info.term, hf.f->term);
    assert_int_equal(got.info.epoch, 1);
    assert_int_equal(got.info.load.callbacks, 2);
}

static void options_and_their_origin(void **state)
{
    (void)state;
    struct kvp_option options[] = {probe_options[0], probe_options[1], probe_options[2],
                                   probe_options[3], probe_options[4], {.name = NULL}};
    options[4].flags = KVP_OPT_SECRET | KVP_OPT_REQUIRED;
    probe_plugin.options = options;
    probe_load("number=5,word=red");
    look(PLUGIN_READ_OPTIONS);
    assert_int_equal(got.info.option_count, 5);
    assert_string_equal(got.options[0].name, "number");
    assert_string_equal(got.options[0].value, "5");
    assert_string_equal(got.options[0].def, "3");
    assert_int_equal(got.options[0].source, PLUGIN_FROM_FLAG);
    assert_string_equal(got.options[1].value, "1m30s");
    assert_int_equal(got.options[1].source, PLUGIN_FROM_DEFAULT);
    assert_string_equal(got.options[2].value, "0");
    assert_string_equal(got.options[3].value, "false");
    assert_true(got.options[4].secret);
    assert_true(got.options[4].required);
    reload("wait", "2s", "number", "6");
    assert_ok(PLUGIN_LOADED);
    look(PLUGIN_READ_OPTIONS);
    assert_string_equal(got.options[0].value, "6");
    assert_int_equal(got.options[0].source, PLUGIN_FROM_RELOAD);
    assert_string_equal(got.options[1].value, "2s");
    assert_int_equal(got.options[4].source, PLUGIN_FROM_FLAG);
    for (uint64_t n = 1;; n++) {
        struct plugin_admin *a = admin();
        mem_fail_after(n);
        a->read(a, &got.req, "probe", PLUGIN_READ_OPTIONS);
        mem_fail_after(0);
        assert_int_equal(got.count, 1);
        if (got.err == 0) {
            assert_true(n > 1);
            break;
        }
        assert_int_equal(got.err, ERR_NOMEM);
    }
    host_fixture_close();
    probe_plugin.options = probe_options;
}

/* ---- reload ------------------------------------------------------------------------------------
 */

static struct {
    unsigned reloads;
    int result;
    int64_t wait;
} in_place;

static int on_reload(void *self, const void *conf, struct kvp_errmsg *e)
{
    assert_ptr_equal(self, &probe);
    in_place.reloads++;
    in_place.wait = ((const struct probe_conf *)conf)->wait;
    snprintf(e->text, sizeof(e->text), "not on a Friday");
    return in_place.result;
}

static void reloadable_options_change_in_place(void **state)
{
    (void)state;
    struct kvp_option options[sizeof(probe_options) / sizeof(probe_options[0])];
    memset(&in_place, 0, sizeof(in_place));
    memcpy(options, probe_options, sizeof(options));
    options[1].flags = KVP_OPT_RELOADABLE; /* wait */
    probe_plugin.options = options;
    probe_plugin.reload = on_reload;
    probe_load("number=5");
    probe_lead();
    reload("wait", "2s", NULL, NULL);
    assert_ok(PLUGIN_LEADING);
    assert_string_equal(got.previous, "1");
    assert_int_equal(in_place.reloads, 1);
    assert_int_equal(in_place.wait, 2000);
    assert_int_equal(probe.inits, 1);
    assert_int_equal(probe.stops, 0);
    /* The plugin refuses: all stays, also what is shown. */
    in_place.result = 1;
    reload("wait", "4s", NULL, NULL);
    assert_no(ERR_REFUSED, "plugin probe keeps its old options: not on a Friday");
    look(PLUGIN_READ_OPTIONS);
    assert_string_equal(got.options[1].value, "2s");
    assert_int_equal(got.options[1].source, PLUGIN_FROM_RELOAD);
    /* An option that cannot change in place: another instance, which keeps the others. */
    reload("number", "7", NULL, NULL);
    assert_ok(PLUGIN_LEADING);
    assert_int_equal(in_place.reloads, 2);
    assert_int_equal(probe.inits, 2);
    assert_int_equal(probe.stops, 1);
    assert_int_equal(probe.stop_reason, KVP_CANCELED);
    assert_int_equal(probe.finis, 1);
    assert_int_equal(probe.conf.number, 7);
    assert_int_equal(probe.conf.wait, 2000);
    assert_int_equal(got.info.epoch, 2);
    host_fixture_close();
    probe_plugin.options = probe_options;
    probe_plugin.reload = NULL;
}

static void bad_settings_change_nothing(void **state)
{
    (void)state;
    probe_load("number=5");
    probe_lead();
    reload("numbre", "7", NULL, NULL);
    assert_no(ERR_INVALID, "plugin probe: it has no option numbre; the nearest is number");
    reload("number", "70", NULL, NULL);
    assert_no(ERR_INVALID, "plugin probe: option number: 70 is outside 1..9");
    reload("number", "7,word=red", NULL, NULL);
    assert_no(ERR_INVALID, "option number: a value has no comma");
    reload("number", "7", "number", "8");
    assert_no(ERR_INVALID, "option number is given twice");
    assert_int_equal(probe.inits, 1);
    assert_int_equal(probe.stops, 0);
    look(PLUGIN_READ_OPTIONS);
    assert_string_equal(got.options[0].value, "5");
    assert_int_equal(got.info.state, PLUGIN_LEADING);
}

static bool init_fails_once;

static void fail_this_init(void)
{
    probe.init_result = init_fails_once ? 1 : 0;
    init_fails_once = false;
}

static void an_init_that_fails_brings_the_old_one_back(void **state)
{
    (void)state;
    probe_load("number=5");
    probe_lead();
    probe.on_init = fail_this_init;
    init_fails_once = true;
    reload("number", "7", NULL, NULL);
    assert_no(ERR_REFUSED, "static:probe: init failed: no flux left, refill it; the code before "
                           "works on");
    assert_int_equal(probe.inits, 3); /* first, failed, first again */
    assert_int_equal(probe.conf.number, 5);
    look(PLUGIN_READ_OPTIONS);
    assert_int_equal(got.info.state, PLUGIN_LEADING);
    assert_string_equal(got.info_why, "");
    assert_string_equal(got.options[0].value, "5");
    assert_int_equal(got.options[0].source, PLUGIN_FROM_FLAG);
    /* Both fail: it is out, with the reason, until somebody tries again. */
    probe.on_init = NULL;
    probe.init_result = 1;
    reload("number", "7", NULL, NULL);
    assert_int_equal(got.err, ERR_REFUSED);
    assert_non_null(strstr(got.why, "the code before cannot be started again"));
    look(0);
    assert_int_equal(got.info.state, PLUGIN_FAILED);
    assert_non_null(strstr(got.info_why, "no flux left, refill it"));
    reload(NULL, NULL, NULL, NULL);
    assert_int_equal(got.err, ERR_REFUSED);
    probe.init_result = 0;
    reload("number", "8", NULL, NULL);
    assert_ok(PLUGIN_LEADING);
    assert_int_equal(probe.conf.number, 8);
}

static void a_start_that_fails_is_told(void **state)
{
    (void)state;
    probe_load("");
    probe_lead();
    probe.start_result = 5;
    reload(NULL, NULL, NULL, NULL);
    assert_ok(PLUGIN_STOPPED);
    assert_string_equal(got.info_why, "its start failed with 5, it is tried again");
    probe.start_result = 0;
    UNTIL(probe_state() == HOST_LEADING);
    look(0);
    assert_string_equal(got.info_why, "");
}

/* ---- disable, enable ---------------------------------------------------------------------------
 */

static void disabled_until_enabled_also_over_a_restart(void **state)
{
    (void)state;
    struct errmsg e = {""};
    probe_load("number=5");
    probe_lead();
    enable();
    assert_ok(PLUGIN_LEADING); /* nothing to do */
    assert_int_equal(probe.inits, 1);
    disable();
    assert_ok(PLUGIN_DISABLED);
    assert_string_equal(got.info_why,
                        "an operator disabled it: `kvctl plugin enable probe` starts it");
    assert_int_equal(probe.stop_reason, KVP_CANCELED);
    assert_int_equal(probe.finis, 1);
    disable();
    assert_ok(PLUGIN_DISABLED);
    reload(NULL, NULL, NULL, NULL);
    assert_no(ERR_REFUSED, "plugin probe is disabled: enable it first");
    host_role(hf.host, false, hf.f->term);
    host_role(hf.host, true, hf.f->term);
    assert_int_equal(probe.inits, 1);

    host_fixture_close();
    host_fixture_open(true);
    assert_int_equal(host_load(hf.host, "static:probe,number=6", &e), ERR_REFUSED);
    assert_int_equal(probe_state(), HOST_DISABLED);
    assert_int_equal(probe.inits, 0);
    host_role(hf.host, true, hf.f->term);
    enable();
    assert_ok(PLUGIN_LEADING);
    assert_int_equal(probe.conf.number, 6);
    host_fixture_close();
    host_fixture_open(true);
    probe_load("");
}

static void enable_lifts_a_quarantine(void **state)
{
    (void)state;
    struct errmsg e = {""};
    probe_load("");
    disable();
    enable(); /* the page is there, the place is taken */
    disable();
    struct plugin_host *h = hf.host;
    struct crumb *c = crumb_find(&h->crumbs, "probe", false);
    assert_non_null(c);
    c->disabled = 0;
    c->quarantined = 1;
    c->strikes_ms[0] = c->strikes_ms[1] = 1;
    host_fixture_close();
    host_fixture_open(true);
    assert_int_equal(host_load(hf.host, "static:probe", &e), ERR_BUSY);
    look(0);
    assert_int_equal(got.info.state, PLUGIN_QUARANTINED);
    assert_int_equal(got.info.strikes, 2);
    assert_non_null(strstr(got.info_why, "kvctl plugin enable probe"));
    reload(NULL, NULL, NULL, NULL);
    assert_no(ERR_REFUSED, "plugin probe is quarantined: enable it first");
    enable();
    assert_ok(PLUGIN_LOADED);
    assert_int_equal(got.info.strikes, 0);
    assert_int_equal(probe.inits, 1);
}

static void what_was_never_loaded_cannot_be_disabled(void **state)
{
    (void)state;
    struct errmsg e = {""};
    assert_int_not_equal(host_load(hf.host, "static:nothing", &e), 0);
    struct plugin_admin *a = admin();
    a->disable(a, &got.req, "static:nothing");
    ANSWERED();
    assert_no(ERR_REFUSED, "it was never loaded, so there is nothing to disable");
    a = admin();
    a->enable(a, &got.req, "static:nothing");
    ANSWERED();
    assert_no(ERR_REFUSED, "nothing: no plugin of that name is built into this kvd");
    a = admin();
    a->enable(a, &got.req, "nobody");
    ANSWERED();
    assert_int_equal(got.err, ERR_NOT_FOUND);
}

/* ---- on the way --------------------------------------------------------------------------------
 */

static void on_other(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    *(int *)r->data = result->err;
}

static void one_change_at_a_time_and_cancel_forgets_the_request(void **state)
{
    (void)state;
    int err = -1;
    struct plugin_admin_req other = {.data = &err, .cb = on_other};
    probe_load("");
    probe_lead();
    struct plugin_admin *a = admin();
    a->reload(a, &got.req, "probe", NULL, 0);
    assert_int_equal(got.count, 0);
    a->disable(a, &other, "probe");
    assert_int_equal(err, ERR_BUSY);
    a->cancel(a, &got.req);
    UNTIL(probe.inits == 2 && probe_state() == HOST_LEADING);
    assert_int_equal(got.count, 0);
    disable(); /* the change is over */
    assert_ok(PLUGIN_DISABLED);
}

static void leadership_lost_on_the_way_still_answers(void **state)
{
    (void)state;
    probe_load("");
    probe_lead();
    struct plugin_admin *a = admin();
    a->reload(a, &got.req, "probe", NULL, 0);
    UNTIL(probe.inits == 2);
    host_role(hf.host, false, hf.f->term);
    ANSWERED();
    assert_int_equal(got.err, 0);
    UNTIL(probe_state() == HOST_READY);
}

static void a_stop_answers_what_is_under_way(void **state)
{
    (void)state;
    probe_load("");
    probe_lead();
    struct plugin_admin *a = admin();
    a->reload(a, &got.req, "probe", NULL, 0);
    assert_int_equal(got.count, 0);
    host_stop(hf.host, host_fixture_on_stopped, &hf.stopped);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.err, ERR_STOPPED);
    a = admin();
    a->enable(a, &got.req, "probe");
    assert_int_equal(got.err, ERR_STOPPED);
    run_until(hf.f, &hf.stopped);
    hf.host = NULL;
    assert_int_equal(probe.finis, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, host_setup, host_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_and_facts),
        TEST(options_and_their_origin),
        TEST(reloadable_options_change_in_place),
        TEST(bad_settings_change_nothing),
        TEST(an_init_that_fails_brings_the_old_one_back),
        TEST(a_start_that_fails_is_told),
        TEST(disabled_until_enabled_also_over_a_restart),
        TEST(enable_lifts_a_quarantine),
        TEST(what_was_never_loaded_cannot_be_disabled),
        TEST(one_change_at_a_time_and_cancel_forgets_the_request),
        TEST(leadership_lost_on_the_way_still_answers),
        TEST(a_stop_answers_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
