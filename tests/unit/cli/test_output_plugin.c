/* test_output_plugin - plugins as columns, named lines and JSON: widths, words, rates, escapes,
 * answers with nothing in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "cli/output_plugin.h"

static struct buf out;

static void printed(const char *want)
{
    char got[8192];
    assert_false(out.failed);
    assert_true(out.len < sizeof(got));
    if (out.len > 0) {
        memcpy(got, out.data, out.len);
    }
    got[out.len] = '\0';
    buf_clear(&out); /* before the comparison: one failure is one failure */
    assert_string_equal(got, want);
}

static const struct output simple = {.form = OUTPUT_SIMPLE};
static const struct output json = {.form = OUTPUT_JSON};
static const struct output table = {.form = OUTPUT_TABLE};

#define TEXT(text) ((char *)(text))

/* ---- numbers -----------------------------------------------------------------------------------
 */

static void times_have_three_digits(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {
        {0, "0ns"},
        {999, "999ns"},
        {1000, "1.00µs"},
        {9994, "9.99µs"},
        {9996, "10.0µs"},
        {12345, "12.3µs"},
        {99960, "100µs"},
        {999499, "999µs"},
        {1250000, "1.25ms"},
        {59400000000, "59.4s"},
        {60000000000, "1m0s"},
        {312999999999, "5m12s"},
        {3600000000000, "1h0m"},
        {7530000000000, "2h5m"},
        {86400000000000, "1d0h"},
        {356400000000000, "4d3h"},
        {UINT64_MAX, "213503d23h"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[OUTPUT_TIME_BYTES_MAX];
        output_plugin_time(rows[i].ns, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void numbers_of_newer_servers_are_unknown(void **state)
{
    (void)state;
    assert_string_equal(output_plugin_state(9), "failed");
    assert_string_equal(output_plugin_state(10), "unknown");
    assert_string_equal(output_plugin_state(-1), "unknown");
    assert_string_equal(output_plugin_lane(77), "unknown");
    assert_string_equal(output_plugin_type(5), "string");
    assert_string_equal(output_plugin_type(6), "unknown");
    assert_string_equal(output_plugin_source(2), "reload");
    assert_string_equal(output_plugin_source(3), "unknown");
}

/* ---- list --------------------------------------------------------------------------------------
 */

static Kvdpb__PluginInfo info_hello(void)
{
    Kvdpb__PluginInfo p = KVDPB__PLUGIN_INFO__INIT;
    p.name = TEXT("hello");
    p.version = TEXT("1.2");
    p.about = TEXT("says hello");
    p.file = TEXT("./hello.so");
    p.sha256 = TEXT("ab12");
    p.lane = KVDPB__PLUGIN_LANE__LANE_THREAD;
    p.abi_major = 1;
    p.abi_minor = 2;
    p.state = KVDPB__PLUGIN_STATE__LEADING;
    p.since_unix_ms = 1000000;
    p.term = 7;
    p.epoch = 3;
    p.strikes = 1;
    return p;
}

static void lists_are_columns(void **state)
{
    (void)state;
    Kvdpb__PluginListResponse r = KVDPB__PLUGIN_LIST_RESPONSE__INIT;
    Kvdpb__PluginInfo hello = info_hello();
    Kvdpb__PluginInfo bad = KVDPB__PLUGIN_INFO__INIT;
    Kvdpb__PluginInfo *plugins[] = {&hello, &bad};
    struct output_plugin answers[] = {{.endpoint = "a:1", .list = &r},
                                      {.endpoint = "b:2", .list = &r}};
    bad.name = TEXT("x\x1b[2J.so");
    bad.state = KVDPB__PLUGIN_STATE__FAILED;
    bad.why = TEXT("x.so: it has no entry");
    bad.about = TEXT("hidden by the reason");
    r.plugins = plugins;
    r.n_plugins = 2;
    r.now_unix_ms = 1000000 + 192000;
    output_plugin_list(&simple, answers, 1, &out);
    printed("NAME         VERSION  STATE    FOR    TERM  LANE    ABOUT OR WHY\n"
            "hello        1.2      leading  3m12s  7     thread  says hello\n"
            "x\\x1b[2J.so           failed                        x.so: it has no entry\n");
    r.now_unix_ms = 1000000 - 1; /* the member's clock was set back */
    bad.why = bad.about = TEXT("");
    output_plugin_list(&simple, answers, 2, &out);
    printed("ENDPOINT  NAME         VERSION  STATE    FOR  TERM  LANE    ABOUT OR WHY\n"
            "a:1       hello        1.2      leading       7     thread  says hello\n"
            "a:1       x\\x1b[2J.so           failed\n"
            "b:2       hello        1.2      leading       7     thread  says hello\n"
            "b:2       x\\x1b[2J.so           failed\n");
    r.n_plugins = 1;
    output_plugin_list(&table, answers, 1, &out);
    printed("+-------+---------+---------+-----+------+--------+--------------+\n"
            "| NAME  | VERSION |  STATE  | FOR | TERM |  LANE  | ABOUT OR WHY |\n"
            "+-------+---------+---------+-----+------+--------+--------------+\n"
            "| hello |     1.2 | leading |     |    7 | thread |   says hello |\n"
            "+-------+---------+---------+-----+------+--------+--------------+\n");
    output_plugin_list(&json, answers, 1, &out);
    printed("[{\"endpoint\":\"a:1\",\"now_unix_ms\":999999,\"plugins\":[{\"name\":\"hello\","
            "\"version\":\"1.2\",\"about\":\"says hello\",\"file\":\"./hello.so\","
            "\"sha256\":\"ab12\",\"lane\":\"thread\",\"abi_major\":1,\"abi_minor\":2,"
            "\"follows\":false,\"state\":\"leading\",\"why\":\"\",\"since_unix_ms\":1000000,"
            "\"term\":7,\"epoch\":3,\"strikes\":1}]}]\n");
    r.n_plugins = 0;
    output_plugin_list(&simple, answers, 1, &out);
    printed("NAME  VERSION  STATE  FOR  TERM  LANE  ABOUT OR WHY\n");
}

/* ---- top ---------------------------------------------------------------------------------------
 */

static Kvdpb__PluginLoad load_of(const char *name, uint64_t time_ns, uint64_t calls,
                                 uint64_t events)
{
    Kvdpb__PluginLoad l = KVDPB__PLUGIN_LOAD__INIT;
    l.name = TEXT(name);
    l.state = KVDPB__PLUGIN_STATE__LEADING;
    l.time_sum_ns = time_ns;
    l.callbacks = calls;
    l.events = events;
    return l;
}

static void top_begins_with_what_takes_most(void **state)
{
    (void)state;
    Kvdpb__PluginTopResponse r = KVDPB__PLUGIN_TOP_RESPONSE__INIT;
    Kvdpb__PluginTopResponse before = KVDPB__PLUGIN_TOP_RESPONSE__INIT;
    Kvdpb__PluginLoad now[] = {
        load_of("idle", 9000000000, 5, 5), load_of("busy", 2000000000, 300, 30),
        load_of("fresh", 500000000, 10, 1), load_of("also", 0, 0, 0), load_of("Also", 0, 0, 0)};
    Kvdpb__PluginLoad then[] = {load_of("idle", 9000000000, 5, 5),
                                load_of("busy", 1000000000, 100, 10),
                                load_of("fresh", 900000000, 99, 9)};
    Kvdpb__PluginLoad *now_list[] = {&now[0], &now[1], &now[2], &now[3], &now[4]};
    Kvdpb__PluginLoad *then_list[] = {&then[0], &then[1], &then[2]};
    struct output_plugin answer = {.endpoint = "a:1", .top = &r};
    now[1].time_p50_ns = 4000;
    now[1].time_p99_ns = 90000;
    now[1].time_max_ns = 12000000;
    now[1].queue = 4;
    now[1].retries = 5;
    now[1].requests = 6;
    now[1].writes = 7;
    now[1].watches = 8;
    now[1].timers = 9;
    now[1].memory_bytes = 1500000;
    now[1].running = TEXT("reconcile");
    now[1].running_ms = 15;
    r.loads = now_list;
    r.n_loads = 4;
    r.now_mono_ns = 12000000000;
    before.loads = then_list;
    before.n_loads = 3;
    before.now_mono_ns = 10000000000;
    output_plugin_top(&simple, &answer, 1, &out);
    printed("NAME   STATE    TIME   CALLS  P50     P99     MAX     QUEUE  RETRIES  EVENTS  READS  "
            "WRITES"
            "  WATCHES  TIMERS  MEMORY  RUNNING\n"
            "idle   leading  9.00s  5      0ns     0ns     0ns     0      0        5       0      "
            "0     "
            "  0        0       0 B\n"
            "busy   leading  2.00s  300    4.00µs  90.0µs  12.0ms  4      5        30      6      "
            "7     "
            "  8        9       1.5 MB  reconcile 15.0ms\n"
            "fresh  leading  500ms  10     0ns     0ns     0ns     0      0        1       0      "
            "0     "
            "  0        0       0 B\n"
            "also   leading  0ns    0      0ns     0ns     0ns     0      0        0       0      "
            "0     "
            "  0        0       0 B\n");
    /* Between two looks, two seconds apart: busy 1 s, fresh was loaded anew, idle did nothing. */
    answer.top_before = &before;
    r.n_loads = 5;
    now[1].running = TEXT("");
    output_plugin_top(&simple, &answer, 1, &out);
    printed("NAME   STATE    TIME   CALLS  P50     P99     MAX     QUEUE  RETRIES  EVENTS  READS  "
            "WRITES"
            "  WATCHES  TIMERS  MEMORY  RUNNING\n"
            "busy   leading  50.0%  100/s  4.00µs  90.0µs  12.0ms  4      5        10/s    6      "
            "7     "
            "  8        9       1.5 MB\n"
            "fresh  leading  25.0%  5/s    0ns     0ns     0ns     0      0        0/s     0      "
            "0     "
            "  0        0       0 B\n"
            "idle   leading  0.0%   0/s    0ns     0ns     0ns     0      0        0/s     0      "
            "0     "
            "  0        0       0 B\n"
            "Also   leading  0.0%   0/s    0ns     0ns     0ns     0      0        0/s     0      "
            "0     "
            "  0        0       0 B\n"
            "also   leading  0.0%   0/s    0ns     0ns     0ns     0      0        0/s     0      "
            "0     "
            "  0        0       0 B\n");
    /* A member that was started again counts from its beginning. */
    before.now_mono_ns = r.now_mono_ns + 1;
    r.n_loads = 1;
    output_plugin_top(&simple, &answer, 1, &out);
    assert_non_null(memmem(out.data, out.len, "9.00s", 5));
    buf_clear(&out);
    r.loads = now_list + 1;
    output_plugin_top(&json, &answer, 1, &out);
    printed("[{\"endpoint\":\"a:1\",\"now_mono_ns\":12000000000,\"loads\":[{\"name\":\"busy\","
            "\"state\":\"leading\",\"callbacks\":300,\"callbacks_slow\":0,"
            "\"time_sum_ns\":2000000000,\"time_p50_ns\":4000,\"time_p99_ns\":90000,"
            "\"time_max_ns\":12000000,\"queue\":4,\"retries\":5,\"events\":30,\"requests\":6,"
            "\"writes\":7,\"watches\":8,\"timers\":9,\"memory_bytes\":1500000,\"allocations\":0,"
            "\"running\":\"\",\"running_ms\":15,\"running_revision\":0}]}]\n");
}

/* ---- options -----------------------------------------------------------------------------------
 */

static Kvdpb__PluginOption option_of(const char *name, Kvdpb__PluginOptionType type, int64_t low,
                                     int64_t high)
{
    Kvdpb__PluginOption o = KVDPB__PLUGIN_OPTION__INIT;
    o.name = TEXT(name);
    o.type = type;
    o.minimum = low;
    o.maximum = high;
    return o;
}

static void options_tell_bounds_and_origin_and_no_secrets(void **state)
{
    (void)state;
    Kvdpb__PluginConfigResponse r = KVDPB__PLUGIN_CONFIG_RESPONSE__INIT;
    Kvdpb__PluginOption o[] = {
        option_of("every", KVDPB__PLUGIN_OPTION_TYPE__OPTION_DURATION, 100, 90000),
        option_of("keep", KVDPB__PLUGIN_OPTION_TYPE__OPTION_SIZE, 512, 4 << 20),
        option_of("count", KVDPB__PLUGIN_OPTION_TYPE__OPTION_INT, -1, 0),
        option_of("mode", KVDPB__PLUGIN_OPTION_TYPE__OPTION_STRING, 0, 0),
        option_of("token", KVDPB__PLUGIN_OPTION_TYPE__OPTION_STRING, 0, 0),
        option_of("on", KVDPB__PLUGIN_OPTION_TYPE__OPTION_BOOL, 0, 0),
        option_of("far", KVDPB__PLUGIN_OPTION_TYPE__OPTION_DURATION, INT64_MIN, INT64_MAX),
    };
    Kvdpb__PluginOption *options[7];
    struct output_plugin answers[] = {{.endpoint = "a:1", .config = &r},
                                      {.endpoint = "b:2", .config = &r}};
    for (size_t i = 0; i < 7; i++) {
        options[i] = &o[i];
    }
    o[0].value = TEXT("5s");
    o[0].default_value = TEXT("1s");
    o[0].source = KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_RELOAD;
    o[0].reloadable = 1;
    o[0].help = TEXT("how often");
    o[1].value = TEXT("64KiB");
    o[1].required = 1;
    o[3].words = TEXT("fast|safe");
    o[4].secret = 1;
    o[4].value = TEXT("a broken server's leak");
    o[4].source = KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_FLAG;
    r.options = options;
    r.n_options = 7;
    output_plugin_config(&simple, answers, 1, &out);
    printed("OPTION  VALUE     FROM     DEFAULT     TYPE      BOUNDS                               "
            "      CHANGE   HELP\n"
            "every   5s        reload   1s          duration  100ms..1m30s                         "
            "      reload   how often\n"
            "keep    64KiB     default  (required)  size      512..4MiB                            "
            "      restart\n"
            "count             default              int       -1..0                                "
            "      restart\n"
            "mode              default              string    fast|safe                            "
            "      restart\n"
            "token   (secret)  flag                 string                                         "
            "      restart\n"
            "on                default              bool                                           "
            "      restart\n"
            "far               default              duration  "
            "-9223372036854775808..9223372036854775807  restart\n");
    r.n_options = 1;
    output_plugin_config(&simple, answers, 2, &out);
    printed(
        "ENDPOINT  OPTION  VALUE  FROM    DEFAULT  TYPE      BOUNDS        CHANGE  HELP\n"
        "a:1       every   5s     reload  1s       duration  100ms..1m30s  reload  how often\n"
        "b:2       every   5s     reload  1s       duration  100ms..1m30s  reload  how often\n");
    r.name = TEXT("hello");
    output_plugin_config(&json, answers, 1, &out);
    printed("[{\"endpoint\":\"a:1\",\"name\":\"hello\",\"options\":[{\"name\":\"every\","
            "\"type\":\"duration\",\"value\":\"5s\",\"default_value\":\"1s\",\"minimum\":100,"
            "\"maximum\":90000,\"words\":\"\",\"help\":\"how often\",\"reloadable\":true,"
            "\"required\":false,\"secret\":false,\"source\":\"reload\"}]}]\n");
}

/* ---- describe ----------------------------------------------------------------------------------
 */

static void describe_says_all_there_is(void **state)
{
    (void)state;
    Kvdpb__PluginDescribeResponse r = KVDPB__PLUGIN_DESCRIBE_RESPONSE__INIT;
    Kvdpb__PluginInfo hello = info_hello();
    Kvdpb__PluginLoad load = load_of("hello", 2000000, 300, 30);
    Kvdpb__PluginOption o = option_of("on", KVDPB__PLUGIN_OPTION_TYPE__OPTION_BOOL, 0, 0);
    Kvdpb__PluginOption *options[] = {&o};
    struct output_plugin answers[] = {{.endpoint = "a:1", .describe = &r},
                                      {.endpoint = "b:2", .describe = &r}};
    hello.state = KVDPB__PLUGIN_STATE__STOPPED;
    hello.why = TEXT("it asked\x1b[31m for it");
    hello.follows = 1;
    load.running = TEXT("watch");
    load.running_ms = 2;
    load.running_revision = 99;
    load.queue = 1;
    r.plugin = &hello;
    r.load = &load;
    r.options = options;
    r.n_options = 1;
    r.now_unix_ms = 1005999;
    output_plugin_describe(&simple, answers, 1, &out);
    printed("Name:       hello\n"
            "Version:    1.2\n"
            "About:      says hello\n"
            "State:      stopped for 5s\n"
            "Why:        it asked\\x1b[31m for it\n"
            "Term:       7, epoch 3\n"
            "File:       ./hello.so\n"
            "SHA-256:    ab12\n"
            "ABI:        1.2\n"
            "Lane:       thread\n"
            "Works on:   every member\n"
            "Strikes:    1\n"
            "Callbacks:  300 in 2.00ms; p50 0ns, p99 0ns, longest 0ns; 0 slow\n"
            "Under way:  0 requests, 0 writes, 0 watches, 0 timers, 1 keys queued\n"
            "Done:       30 events, 0 retries\n"
            "Memory:     0 B in 0 allocations\n"
            "Running:    watch for 2.00ms, revision 99\n"
            "\n"
            "OPTION  VALUE  FROM     DEFAULT  TYPE  BOUNDS  CHANGE   HELP\n"
            "on             default           bool          restart\n");
    output_plugin_describe(&json, answers, 1, &out);
    assert_non_null(memmem(out.data, out.len, "\"load\":{\"name\":\"hello\"", 22));
    assert_non_null(memmem(out.data, out.len, "\"why\":\"it asked\\u001b[31m for it\"", 31));
    buf_clear(&out);
    /* Answers with nothing in them are no crash. */
    Kvdpb__PluginDescribeResponse empty = KVDPB__PLUGIN_DESCRIBE_RESPONSE__INIT;
    answers[0].describe = answers[1].describe = &empty;
    output_plugin_describe(&simple, answers, 2, &out);
    printed("Endpoint:   a:1\n\nEndpoint:   b:2\n");
    output_plugin_describe(&json, answers, 1, &out);
    printed("[{\"endpoint\":\"a:1\",\"now_unix_ms\":0,\"options\":[]}]\n");
}

/* ---- changes -----------------------------------------------------------------------------------
 */

static void changes_say_what_became_of_it(void **state)
{
    (void)state;
    Kvdpb__PluginChangeResponse r = KVDPB__PLUGIN_CHANGE_RESPONSE__INIT;
    Kvdpb__PluginInfo hello = info_hello();
    struct output_plugin answers[] = {{.endpoint = "a:1", .change = &r},
                                      {.endpoint = "b:2", .change = &r}};
    r.plugin = &hello;
    r.previous_version = TEXT("1.1");
    r.previous_sha256 = TEXT("00ff");
    output_plugin_change(&simple, "reloaded", answers, 1, &out);
    printed("hello reloaded: version 1.2 (was 1.1), new code; it is leading\n");
    r.previous_version = TEXT("1.2");
    r.previous_sha256 = TEXT("ab12");
    output_plugin_change(&simple, "reloaded", answers, 2, &out);
    printed("a:1: hello reloaded: version 1.2, the same code; it is leading\n"
            "b:2: hello reloaded: version 1.2, the same code; it is leading\n");
    r.previous_version = r.previous_sha256 = TEXT("");
    hello.state = KVDPB__PLUGIN_STATE__DISABLED;
    hello.why = TEXT("by an operator");
    output_plugin_change(&simple, "disabled", answers, 1, &out);
    printed("hello disabled; it is disabled (by an operator)\n");
    r.plugin = NULL;
    output_plugin_change(&simple, "enabled", answers, 1, &out);
    printed("");
    output_plugin_change(&json, "enabled", answers, 1, &out);
    printed("[{\"endpoint\":\"a:1\",\"now_unix_ms\":0,\"previous_version\":\"\","
            "\"previous_sha256\":\"\"}]\n");
}

static void running_out_of_memory_fails_the_output(void **state)
{
    (void)state;
    Kvdpb__PluginTopResponse r = KVDPB__PLUGIN_TOP_RESPONSE__INIT;
    Kvdpb__PluginLoad load = load_of("hello", 1, 1, 1);
    Kvdpb__PluginLoad *loads[] = {&load};
    struct output_plugin answer = {.endpoint = "a:1", .top = &r};
    uint64_t n = 0;
    r.loads = loads;
    r.n_loads = 1;
    do {
        buf_close(&out);
        mem_fail_after(++n);
        output_plugin_top(&simple, &answer, 1, &out);
        mem_fail_after(0);
        assert_true(n < 100);
    } while (out.failed);
    assert_true(n > 2);
}

static int teardown(void **state)
{
    (void)state;
    buf_close(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_have_three_digits),
        cmocka_unit_test(numbers_of_newer_servers_are_unknown),
        cmocka_unit_test(lists_are_columns),
        cmocka_unit_test(top_begins_with_what_takes_most),
        cmocka_unit_test(options_tell_bounds_and_origin_and_no_secrets),
        cmocka_unit_test(describe_says_all_there_is),
        cmocka_unit_test(changes_say_what_became_of_it),
        cmocka_unit_test(running_out_of_memory_fails_the_output),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
