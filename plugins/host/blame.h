/* blame.h - did the process die of a plugin, or was it ended from outside?
 *
 * A breadcrumb (crumb.h) tells that a callback was running when the process ended; that alone is no
 * fault of the plugin: kill -9 and power cuts come at any moment. So deaths are marked: by handlers
 * of the signals a process dies of (a bad pointer, abort, an overflown stack, ...) and by one for
 * exit(), on the thread that runs the plugin's code, callbacks and offloaded work alike; and by the
 * host where a callback does not come back (hang.c). What was to happen on such a signal happens
 * all the same. _exit() and SIGKILL for want of memory are not noticed. */
#ifndef KVD_PLUGINS_HOST_BLAME_H
#define KVD_PLUGINS_HOST_BLAME_H

#include <signal.h>
#include <stdint.h>

#include "plugins/host/crumb.h"

/* Installs the handlers, once per process; later calls do nothing. Home. */
void blame_install(void);

/* Between these two this thread runs the code of the plugin whose breadcrumb this is; how:
 * CRUMB_DIED_*. They do not nest. */
void blame_begin(struct crumb *crumb, uint32_t how);
void blame_end(void);

/* A stack for the handlers on a thread of plugins, so that an overflown one is noticed too. Without
 * memory for it the thread does without. */
struct blame_stack {
    void *memory;
    stack_t before;
};
void blame_stack_open(struct blame_stack *s);
void blame_stack_close(struct blame_stack *s); /* on the same thread, at its end */

#endif
