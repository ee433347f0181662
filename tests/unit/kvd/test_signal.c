/* test_signal - how the process ends, and what it tells the service manager (contract ).
 */
#include "kvd/signal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "kvd/notify.h"

struct child {
    pid_t pid;
    int out; /* what it says */
};

static struct stop_signals signals;
static uv_loop_t loop;
static int say_fd;
static bool linger;

static void say(char byte)
{
    if (write(say_fd, &byte, 1) != 1) {
        _exit(99);
    }
}

static void stop(void *data)
{
    (void)data;
    say('s');
    if (!linger) {
        signal_close(&signals);
    }
}

/* A process with a loop like kvd's: says r when ready, s when asked to stop, e before its end. */
static struct child start(bool lingering)
{
    int out[2];
    struct child c;
    assert_int_equal(pipe(out), 0);
    c.pid = fork();
    if (c.pid == 0) {
        say_fd = out[1];
        linger = lingering;
        log_set_level(LOG_FATAL);
        signal_ignore_pipe();
        if (uv_loop_init(&loop) != 0 || signal_start(&signals, &loop, stop, NULL) != 0) {
            _exit(98);
        }
        say('r');
        uv_run(&loop, UV_RUN_DEFAULT);
        raise(SIGPIPE);
        say('e');
        signal_die(signals.received);
    }
    close(out[1]);
    c.out = out[0];
    return c;
}

static char hear(struct child *c)
{
    char byte = 0;
    assert_int_equal(read(c->out, &byte, 1), 1);
    return byte;
}

static void expect_death(struct child *c, int number)
{
    int status = 0;
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), number);
    close(c->out);
}

static void the_first_signal_stops_then_kills(void **state)
{
    (void)state;
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct child c = start(false);
        assert_int_equal(hear(&c), 'r');
        assert_int_equal(kill(c.pid, numbers[i]), 0);
        assert_int_equal(hear(&c), 's');
        /* SIGPIPE in between did not end it. */
        assert_int_equal(hear(&c), 'e');
        expect_death(&c, numbers[i]);
    }
}

static void the_second_signal_kills_at_once(void **state)
{
    (void)state;
    struct child c = start(true);
    assert_int_equal(hear(&c), 'r');
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(hear(&c), 's');
    assert_int_equal(kill(c.pid, SIGINT), 0);
    expect_death(&c, SIGINT);
}

static void states_reach_the_service_manager(void **state)
{
    (void)state;
    static const char *const addresses[] = {"/tmp/kvd-test-notify.%d", "@kvd-test-notify.%d"};
    for (size_t i = 0; i < 2; i++) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        char address[64];
        char got[64] = "";
        snprintf(address, sizeof(address), addresses[i], getpid());
        size_t n = strlen(address);
        memcpy(at.sun_path, address, n);
        if (address[0] == '@') {
            at.sun_path[0] = '\0';
        }
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&at,
                              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
                         0);
        assert_int_equal(notify_send(address, "READY=1"), 0);
        assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), 7);
        assert_string_equal(got, "READY=1");
        close(fd);
        unlink(address);
        assert_int_not_equal(notify_send(address, "READY=1"), 0);
    }
    assert_int_equal(notify_send(NULL, "READY=1"), 0);
    assert_int_equal(notify_send("", "READY=1"), 0);
    assert_int_equal(notify_send("relative", "READY=1"), EINVAL);
    char longer[300];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(notify_send(longer, "READY=1"), EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_signal_stops_then_kills),
        cmocka_unit_test(the_second_signal_kills_at_once),
        cmocka_unit_test(states_reach_the_service_manager),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
