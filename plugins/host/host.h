/* host.h - the plugin host: loads plugins, gives each a lane and the table of include/kvplugin.h,
 * follows leadership, and stops them in order.
 *
 *   kvd/server --> host_new, host_load, host_role, host_stop
 *                    |  plugin.c: one state machine per plugin         (store loop: "home")
 *                    |  request.c, watch.c, lease.c: over rpc/service.h (home)
 *                    v  messages, each way, copied bytes
 *                  instance.c, ctx.c: callbacks, contexts, timers       (the plugin's lane)
 *
 * All functions here are for the store loop's thread, host_register_static for start-up. */
#ifndef KVD_PLUGINS_HOST_HOST_H
#define KVD_PLUGINS_HOST_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "include/kvplugin.h"
#include "rpc/plugin_admin.h"
#include "rpc/service.h"

struct plugin_host;
struct rpc_server;

struct host_options {
    struct service *service; /* borrowed until host_stop's callback */
    uv_loop_t *loop;         /* the store loop; NULL: host_turn drives everything (simulation) */
    /* Where plugins' routes on the client port go; borrowed likewise, with all its own routes in it
     * already. NULL: plugins get UNSUPPORTED for them. */
    struct rpc_server *clients;
    const char *data_dir; /* copied; <data_dir>/plugins.d holds private copies of plugins */
    uint64_t member_id;
    const char *version; /* of kvd; borrowed */
    bool no_threads;     /* all plugins on the store loop: tests */
    uint64_t seed;       /* of the plugins' chance when there is no loop */
};

/* 0, or ERR_NOMEM, ERR_IO with a sentence. Makes <data_dir>/plugins.d when the first file is
 * loaded. */
int host_new(const struct host_options *options, struct plugin_host **out, struct errmsg *e);

/* A plugin linked into the program, loaded by host_load("static:NAME"): for sanitizer builds and
 * tests. descriptor must live for ever. */
void host_register_static(const struct kvp_plugin *descriptor);

/* Loads "FILE[,option=value]..." or "static:NAME[,option=value]...". Reads the file: blocks on the
 * disk. 0: init is on its way (host_list shows how it went). Otherwise ERR_INVALID, ERR_NOT_FOUND,
 * ERR_IO, ERR_NOMEM with one sentence: the file, what is wrong, what to do; the plugin is listed as
 * refused with that sentence, and all others go on. */
int host_load(struct plugin_host *h, const char *spec, struct errmsg *e);
/* Loads every *.so of a directory, in the order of their names, without options. Goes on after a
 * refusal and returns the last error with its sentence. */
int host_load_dir(struct plugin_host *h, const char *dir, struct errmsg *e);

/* The member is ready to serve: the plugins' own ports open. */
void host_ready(struct plugin_host *h);

/* This member leads `term` and has applied everything before it; or it does not lead any more. */
void host_role(struct plugin_host *h, bool leads, uint64_t term);

/* Stops all plugins and their lanes, then frees h and calls cb, later on the loop. A plugin that
 * does not return from a callback for PLUGIN_STOP_MS_MAX is named in the log and left behind: the
 * process is about to end. */
void host_stop(struct plugin_host *h, void (*cb)(void *data), void *data);

enum host_state {
    HOST_REFUSED,     /* not loaded, or init failed: `why` */
    HOST_QUARANTINED, /* died too often: `why` */
    HOST_STARTING,    /* init or start is under way */
    HOST_READY,       /* does not lead */
    HOST_LEADING,     /* between start and stop */
    HOST_STOPPING,
    HOST_DISABLED /* by an operator */
};

struct host_plugin {
    const char *name; /* of the descriptor, else the file */
    const char *version;
    const char *about;
    const char *path;
    const char *sha256;   /* of the file, hex; "" for static ones */
    const char *why;      /* "" or a sentence */
    const char *callback; /* it is in right now; NULL = none */
    enum host_state state;
    uint64_t term, epoch; /* while leading */
    size_t requests;      /* under way */
    size_t memory_bytes;  /* from alloc and dup */
    uint64_t callbacks;   /* so far */
};
const char *host_state_name(enum host_state state);
/* Fills at most max rows and returns how many plugins there are. Texts live until the next call of
 * any function here. */
size_t host_list(struct plugin_host *h, struct host_plugin *out, size_t max);
/* Gives a plugin new options, all of them at once as behind the file in --plugin. cb comes once,
 * later: err 0, ERR_INVALID, ERR_STOPPED, with the sentence (valid during the call); on an error
 * the old options stay in force. Refused at once (no cb): ERR_NOT_FOUND, ERR_BUSY (it starts, stops
 * or reloads), ERR_INVALID (also: an option that needs a restart would change, the plugin has no
 * reload), ERR_NOMEM. */
int host_reload(struct plugin_host *h, const char *name, const char *options,
                void (*cb)(void *data, int err, const char *why), void *data, struct errmsg *e);

/* A host without a loop: moves the clock of all lanes to now_ms (never back; it starts at 1,000)
 * and runs what is posted and due by then, offloaded work included. true = something ran. */
bool host_turn(struct plugin_host *h, uint64_t now_ms);
/* When the next timer of a host without a loop is due; UINT64_MAX = never. */
uint64_t host_next_ms(const struct plugin_host *h);

/* How operators see and steer plugins, for svc_set_plugins. Requests still under way are answered
 * ERR_STOPPED inside host_stop; not to be used after host_stop's callback. */
struct plugin_admin *host_admin(struct plugin_host *h);

/* Planted bugs: the simulator proves that it finds each. Bits. Only builds with KVD_DEBUG have
 * them; the names are there in all, so that tests compile. */
enum host_bug {
    HOST_BUG_EARLY_START = 1, /* start runs before the epoch is committed and applied */
    HOST_BUG_NO_STAMP = 2     /* writes of a term carry no stamp */
};
#ifdef KVD_DEBUG
extern unsigned host_bugs;
#endif

/* Appends the plugins' metrics and the host's about them, as Prometheus text. */
void host_metrics_render(struct plugin_host *h, struct buf *out);

#endif
