/* signal.h - SIGTERM and SIGINT of the process (contract X-01).
 *
 * The first one asks for a graceful stop; a second one, of either kind, kills at once. When all is
 * done the process ends by the signal that asked, with default action, so that its parent sees
 * death by signal; as process 1, where the kernel ignores default actions, it exits 0. */
#ifndef KVD_KVD_SIGNAL_H
#define KVD_KVD_SIGNAL_H

#include <uv.h>

struct stop_signals {
    uv_signal_t term;
    uv_signal_t interrupt;
    int received; /* the first signal, 0 = none yet */
    void (*stop)(void *data);
    void *data;
};

/* Ignores SIGPIPE: a client that left must not end the server. Before any thread starts. */
void signal_ignore_pipe(void);
/* Watches on the loop; `stop` is called once, on the loop. 0 or a libuv error. */
int signal_start(struct stop_signals *s, uv_loop_t *loop, void (*stop)(void *data), void *data);
/* Closes the handles; they are gone after the next loop turn. */
void signal_close(struct stop_signals *s);
/* Ends the process by `number` as told above. */
_Noreturn void signal_die(int number);

#endif
