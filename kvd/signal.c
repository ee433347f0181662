/* signal.c - how the process is asked to stop, see signal.h. */
#include "kvd/signal.h"

#include <signal.h>
#include <unistd.h>

#include "base/log.h"

_Noreturn void signal_die(int number)
{
    if (getpid() == 1) {
        _exit(0);
    }
    sigset_t set;
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    /* Only reached where the signal could not be delivered: the shell's way of saying the same. */
    _exit(128 + number);
}

static void signal_received(uv_signal_t *handle, int number)
{
    struct stop_signals *s = handle->data;
    if (s->received != 0) {
        LOG(LOG_WARN, "received a second signal; ending at once", F_INT("signal", number));
        signal_die(number);
    }
    s->received = number;
    LOG(LOG_INFO, "received signal; shutting down", F_INT("signal", number));
    s->stop(s->data);
}

void signal_ignore_pipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

int signal_start(struct stop_signals *s, uv_loop_t *loop, void (*stop)(void *data), void *data)
{
    *s = (struct stop_signals){.stop = stop, .data = data};
    uv_signal_init(loop, &s->term);
    uv_signal_init(loop, &s->interrupt);
    s->term.data = s;
    s->interrupt.data = s;
    int err = uv_signal_start(&s->term, signal_received, SIGTERM);
    return err == 0 ? uv_signal_start(&s->interrupt, signal_received, SIGINT) : err;
}

void signal_close(struct stop_signals *s)
{
    uv_close((uv_handle_t *)&s->term, NULL);
    uv_close((uv_handle_t *)&s->interrupt, NULL);
}
