/* test_log - the form of log lines (contract LG-01), their bounds, and the asserts that log. */
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/metrics.h"

/* 2024-02-29T12:34:56.000789Z */
static uint64_t fixed_clock(void)
{
    return 1709210096000789u;
}

struct capture {
    int pipe[2];
    char text[2 * LOG_LINE_BYTES_MAX];
};

static int capture_start(void **state)
{
    struct capture *c = mem_xzalloc(sizeof *c);
    assert_int_equal(pipe(c->pipe), 0);
    assert_int_equal(fcntl(c->pipe[0], F_SETFL, O_NONBLOCK), 0);
    log_set_outputs(&c->pipe[1], 1);
    log_set_clock(fixed_clock);
    log_set_level(LOG_INFO);
    log_set_json(true);
    *state = c;
    return 0;
}

static int capture_end(void **state)
{
    struct capture *c = *state;
    log_set_outputs((const int[]){2}, 1);
    log_set_clock(NULL);
    close(c->pipe[0]);
    close(c->pipe[1]);
    mem_free(c);
    return 0;
}

/* What was written since the last call. */
static const char *captured(struct capture *c)
{
    size_t len = 0;
    ssize_t n;
    while ((n = read(c->pipe[0], c->text + len, sizeof c->text - 1 - len)) > 0) {
        len += (size_t)n;
    }
    c->text[len] = '\0';
    return c->text;
}

static void a_line_has_the_contracts_form(void **state)
{
    log_write(LOG_INFO, "kvd/serve.c", 42, "ready to serve client requests",
              (const struct log_field[]){F_INT("revision", -7),
                                         F_UINT("bytes", UINT64_MAX),
                                         F_STR("name", "a \"b\""),
                                         F_STR("none", NULL),
                                         F_BOOL("ok", true),
                                         F_BOOL("bad", false),
                                         F_HEX("member-id", 0x8e9e05c52164694d),
                                         F_MS("took", 1.5),
                                         F_BYTES("key", slice_of("k\0\xff", 3)),
                                         {.name = NULL}});
    assert_string_equal(
        captured(*state),
        "{\"level\":\"info\",\"ts\":\"2024-02-29T12:34:56.000789Z\",\"caller\":\"kvd/serve.c:42\","
        "\"msg\":\"ready to serve client requests\",\"revision\":-7,\"bytes\":18446744073709551615,"
        "\"name\":\"a \\\"b\\\"\",\"none\":\"\",\"ok\":true,\"bad\":false,"
        "\"member-id\":\"8e9e05c52164694d\",\"took\":\"1.5ms\",\"key\":\"k\\u0000\\ufffd\"}\n");
}

static void callers_are_two_path_components(void **state)
{
    static const char *const cases[][2] = {
        {"kvd/serve.c", "\"caller\":\"kvd/serve.c:1\""},
        {"a/b/c/kvd/serve.c", "\"caller\":\"kvd/serve.c:1\""},
        {"/serve.c", "\"caller\":\"/serve.c:1\""},
        {"serve.c", "\"caller\":\"serve.c:1\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        log_write(LOG_WARN, cases[i][0], 1, "x", NULL);
        assert_non_null(strstr(captured(*state), cases[i][1]));
    }
}

/* The macro: with and without fields, nothing at all below the level. */
static void levels_filter(void **state)
{
    LOG(LOG_DEBUG, "quiet");
    assert_string_equal(captured(*state), "");
    assert_false(log_enabled(LOG_DEBUG));
    LOG(LOG_INFO, "loud");
    assert_non_null(strstr(captured(*state), "\"caller\":\"base/test_log.c:"));
    log_set_level(LOG_ERROR);
    LOG(LOG_WARN, "quiet", F_INT("a", 1));
    assert_string_equal(captured(*state), "");
    LOG(LOG_ERROR, "loud", F_INT("a", 1));
    assert_non_null(strstr(captured(*state), "\"level\":\"error\""));
    static const char *const names[] = {"debug", "info", "warn", "error", "panic", "fatal"};
    for (int i = 0; i < 6; i++) {
        enum log_level level;
        assert_true(log_level_parse(names[i], &level));
        assert_int_equal(level, i);
    }
    enum log_level level = LOG_PANIC;
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse("", &level));
    assert_int_equal(level, LOG_PANIC);
}

static void messages_stay_one_line_and_never_empty(void **state)
{
    log_write(LOG_INFO, "a/b.c", 1, "two\nlines", NULL);
    assert_non_null(strstr(captured(*state), "\"msg\":\"two\\nlines\"}\n"));
    log_write(LOG_INFO, "a/b.c", 1, "", NULL);
    assert_non_null(strstr(captured(*state), "\"msg\":\"(no message)\"}\n"));
    log_write(LOG_INFO, "a/b.c", 1, NULL, NULL);
    assert_non_null(strstr(captured(*state), "\"msg\":\"(no message)\"}\n"));
}

static void console_form_is_tabbed(void **state)
{
    log_set_json(false);
    log_write(LOG_WARN, "a/b.c", 3, "odd\nthing", (const struct log_field[]){{.name = NULL}});
    assert_string_equal(captured(*state),
                        "2024-02-29T12:34:56.000789Z\twarn\ta/b.c:3\todd\\nthing\n");
    log_write(LOG_WARN, "a/b.c", 3, "odd",
              (const struct log_field[]){F_INT("n", 1), F_STR("s", "x"), {.name = NULL}});
    assert_string_equal(captured(*state),
                        "2024-02-29T12:34:56.000789Z\twarn\ta/b.c:3\todd\t{\"n\": 1, \"s\": "
                        "\"x\"}\n");
}

/* Durations as Go spells them. */
static void durations_read_like_gos(void **state)
{
    static const struct {
        double ms;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {0.000001, "1ns"},
        {0.0015, "1.5\xc2\xb5s"},
        {1, "1ms"},
        {12.345678, "12.345678ms"},
        {999.999999, "999.999999ms"},
        {2500, "2.5s"},
        {60000, "1m0s"},
        {90500, "1m30.5s"},
        {3600000, "1h0m0s"},
        {5430000, "1h30m30s"},
        {-1.5, "-1.5ms"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        LOG(LOG_INFO, "x", F_MS("took", cases[i].ms));
        char want[64];
        snprintf(want, sizeof want, "\"took\":\"%s\"}", cases[i].text);
        assert_non_null(strstr(captured(*state), want));
    }
}

/* However long the values: one line, valid to its end, within the bound, short fields kept. */
static void long_lines_are_cut_but_whole(void **state)
{
    struct capture *c = *state;
    char *big = mem_xalloc(60000);
    for (int shape = 0; shape < 3; shape++) {
        memset(big, shape == 0 ? 'x' : shape == 1 ? '\n' : 0xff, 59999);
        big[59999] = '\0';
        LOG(LOG_INFO, big, F_STR("a", big), F_INT("n", 5));
        const char *line = captured(c);
        size_t len = strlen(line);
        assert_in_range(len, LOG_LINE_BYTES_MAX - 64, LOG_LINE_BYTES_MAX);
        assert_string_equal(line + len - 3, "\"}\n");
        assert_ptr_equal(strchr(line, '\n'), line + len - 1);
        LOG(LOG_INFO, "m", F_INT("n", 5), F_STR("a", big), F_STR("gone", "x"));
        line = captured(c);
        len = strlen(line);
        assert_in_range(len, LOG_LINE_BYTES_MAX - 64, LOG_LINE_BYTES_MAX);
        assert_non_null(strstr(line, "\"msg\":\"m\",\"n\":5,\"a\":\""));
        assert_null(strstr(line, "gone"));
        assert_string_equal(line + len - 3, "\"}\n");
    }
    mem_free(big);
}

static void several_outputs_get_each_line(void **state)
{
    struct capture *c = *state;
    int both[2] = {c->pipe[1], c->pipe[1]};
    log_set_outputs(both, 2);
    LOG(LOG_INFO, "twice");
    const char *line = strstr(captured(c), "twice");
    assert_non_null(line);
    assert_non_null(strstr(line + 1, "twice"));
    log_set_outputs(both, 0);
    LOG(LOG_INFO, "nowhere");
    assert_string_equal(captured(c), "");
}

/* No allocation: a line can tell that memory is out. */
static void logging_needs_no_memory(void **state)
{
    mem_fail_after(1);
    LOG(LOG_INFO, "still", F_STR("s", "text"), F_MS("t", 1.25));
    void *p = mem_alloc(1);
    assert_null(p); /* the failure is still waiting */
    assert_non_null(strstr(captured(*state), "still"));
}

static void *log_many(void *data)
{
    (void)data;
    for (int i = 0; i < 50; i++) {
        LOG(LOG_INFO, "from a thread", F_INT("i", i));
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    struct capture *c = *state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    int lines = 0;
    const char *line = captured(c);
    while (*line != '\0') {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_memory_equal(line, "{\"level\":", 9);
        assert_int_equal(end[-1], '}');
        lines++;
        line = end + 1;
    }
    assert_int_equal(lines, 200);
}

static void warnings_log_count_and_are_true(void **state)
{
    struct buf b;
    buf_init(&b);
    assert_false(WARN_IF(1 > 2, "never"));
    assert_string_equal(captured(*state), "");
    metrics_render(&b);
    buf_append_byte(&b, 0);
    assert_non_null(strstr((char *)b.data, "kvd_warnings_total 0\n"));
    assert_true(WARN_IF(2 > 1, "look at this"));
    const char *line = captured(*state);
    assert_non_null(strstr(line, "\"level\":\"warn\""));
    assert_non_null(strstr(line, "\"msg\":\"look at this\",\"condition\":\"2 > 1\""));
    buf_clear(&b);
    metrics_render(&b);
    buf_append_byte(&b, 0);
    assert_non_null(strstr((char *)b.data, "kvd_warnings_total 1\n"));
    buf_close(&b);
}

static void fatal_logs_and_aborts(void **state)
{
    FATAL_IF(1 > 2, "not reached");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL);
        FATAL_IF(2 > 1, "data at stake");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    const char *line = captured(*state);
    assert_non_null(strstr(line, "\"level\":\"fatal\""));
    assert_non_null(strstr(line, "\"msg\":\"data at stake\",\"condition\":\"2 > 1\"}\n"));
}

int main(void)
{
#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, capture_start, capture_end)
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_line_has_the_contracts_form),
        LOG_TEST(callers_are_two_path_components),
        LOG_TEST(levels_filter),
        LOG_TEST(messages_stay_one_line_and_never_empty),
        LOG_TEST(console_form_is_tabbed),
        LOG_TEST(durations_read_like_gos),
        LOG_TEST(long_lines_are_cut_but_whole),
        LOG_TEST(several_outputs_get_each_line),
        LOG_TEST(logging_needs_no_memory),
        LOG_TEST(lines_of_threads_do_not_mix),
        LOG_TEST(warnings_log_count_and_are_true),
        LOG_TEST(fatal_logs_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
