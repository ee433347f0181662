/* dev_reload.h - a plugin is loaded again when its file changes (`kvd --dev`).
 *
 * The directory of each plugin's file is watched. After an event the file is looked at every
 * DEV_SETTLE_MS until it is the same twice and, if it is ELF, all of it is there: a compiler may
 * take its time. Then it is reloaded as by `kvctl plugin reload`, with the settings in force: what
 * does not load leaves the old code at work, and the log says why. */
#ifndef KVD_KVD_DEV_RELOAD_H
#define KVD_KVD_DEV_RELOAD_H

#include <uv.h>

#include "rpc/plugin_admin.h"

struct dev_reload;

/* Watches the files of all plugins there are now. admin is borrowed until the stop. NULL: out of
 * memory, logged. Loop thread. */
struct dev_reload *dev_reload_start(uv_loop_t *loop, struct plugin_admin *admin);

/* No plugin is reloaded after this; one that is being reloaded is left to the host. The memory goes
 * when the handles have closed, later on the loop. */
void dev_reload_stop(struct dev_reload *d);

#endif
