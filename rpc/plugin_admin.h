/* plugin_admin.h - what the Plugin service (svc_plugin.c) needs from the plugin host; plugins/host
 * implements it. It keeps rpc/ ignorant of plugins and the host of wire formats.
 *
 * As in service.h: a request is a struct embedded by the caller that completes exactly once, on the
 * loop thread, possibly before the call returns. Everything here is for that thread. Texts given to
 * a call are copied before it returns where they are needed longer; texts in a result live during
 * the callback. NULL texts count as "". */
#ifndef KVD_RPC_PLUGIN_ADMIN_H
#define KVD_RPC_PLUGIN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plugin_admin;

/* Numbers of proto/kvd/plugin.proto, which says what each of these states means. */
enum plugin_state {
    PLUGIN_STATE_NONE = 0,
    PLUGIN_STARTING = 1,
    PLUGIN_LOADED = 2,
    PLUGIN_FOLLOWING = 3,
    PLUGIN_LEADING = 4,
    PLUGIN_STOPPING = 5,
    PLUGIN_STOPPED = 6,
    PLUGIN_DISABLED = 7,
    PLUGIN_QUARANTINED = 8,
    PLUGIN_FAILED = 9
};

enum plugin_lane { PLUGIN_LANE_NONE = 0, PLUGIN_LANE_THREAD = 1, PLUGIN_LANE_LOOP = 2 };

/* Numbers of include/kvplugin.h's option types. */
enum plugin_option_type {
    PLUGIN_OPTION_BOOL = 1,
    PLUGIN_OPTION_INT = 2,
    PLUGIN_OPTION_DURATION = 3, /* bounds in ms */
    PLUGIN_OPTION_SIZE = 4,     /* bounds in bytes */
    PLUGIN_OPTION_STRING = 5
};

enum plugin_option_source { PLUGIN_FROM_DEFAULT = 0, PLUGIN_FROM_FLAG = 1, PLUGIN_FROM_RELOAD = 2 };

/* One row of a plugin's option table with the value in force. The service shows neither value nor
 * default of a secret one, whatever stands here. */
struct plugin_option {
    const char *name;
    enum plugin_option_type type;
    const char *value; /* as a user writes it */
    const char *default_value;
    int64_t minimum; /* both 0: no bounds */
    int64_t maximum;
    const char *words; /* "a|b|c"; NULL = any */
    const char *help;
    bool reloadable;
    bool required;
    bool secret;
    enum plugin_option_source source;
};

/* What it costs; counters since it was loaded or loaded anew. */
struct plugin_load {
    uint64_t callbacks;
    uint64_t callbacks_slow; /* longer than they should take */
    uint64_t time_sum_ns;    /* inside callbacks */
    uint64_t time_p50_ns;    /* of one callback */
    uint64_t time_p99_ns;
    uint64_t time_max_ns;
    uint64_t queue;    /* keys waiting in its work queues */
    uint64_t retries;  /* keys given back to a queue after a failure */
    uint64_t events;   /* of watches, delivered */
    uint64_t requests; /* under way, without writes */
    uint64_t writes;   /* under way */
    uint64_t watches;
    uint64_t timers;
    uint64_t memory_bytes;
    uint64_t allocations;
    const char *running; /* the breadcrumb: callback it is in now; NULL or "" = none */
    uint64_t running_ms; /* for how long */
    int64_t running_revision;
};

struct plugin_info {
    const char *name; /* of the file where there is no descriptor */
    const char *version;
    const char *about;
    const char *file;
    const char *sha256; /* hexadecimal; "" for one that is linked in */
    enum plugin_lane lane;
    uint32_t abi_major;
    uint32_t abi_minor;
    bool follows;
    enum plugin_state state;
    const char *why; /* a sentence without a full stop; "" = nothing to say */
    uint64_t since_unix_ms;
    uint64_t term; /* while it leads */
    uint64_t epoch;
    uint32_t strikes;
    const struct plugin_option *options; /* with PLUGIN_READ_OPTIONS, in the table's order */
    size_t option_count;
    struct plugin_load load; /* with PLUGIN_READ_LOAD */
};

struct plugin_setting {
    const char *name;
    const char *value;
};

struct plugin_admin_result {
    /* 0; ERR_NOT_FOUND: no such plugin (any more). ERR_INVALID: a setting its option table does not
     * take. ERR_REFUSED: its state or the plugin itself does not allow it; what was in force still
     * is. ERR_BUSY: another change of it is under way. ERR_UNIMPLEMENTED: this host cannot do that.
     * Others of the table where they fit. */
    int err;
    const char *why; /* the sentence for err, without "kvd: "; NULL = the table's text */
    /* read: the plugins asked for, in the order of loading. Changes: the one, as it is now. */
    const struct plugin_info *plugins;
    size_t count;
    const char *previous_version; /* reload: of what ran before */
    const char *previous_sha256;
};

struct plugin_admin_req {
    void *data;
    /* The struct is the caller's again when cb runs: it may be freed inside. */
    void (*cb)(struct plugin_admin_req *r, const struct plugin_admin_result *result);
    void *impl[6]; /* private to the implementation */
};

#define PLUGIN_READ_OPTIONS 1u
#define PLUGIN_READ_LOAD    2u

struct plugin_admin {
    void *impl;

    /* Calls back with the name of every plugin, in the order of loading, before it returns. */
    void (*names)(struct plugin_admin *a, void (*name)(void *data, const char *name), void *data);
    /* One plugin, or with name NULL all of them; parts: PLUGIN_READ_*. */
    void (*read)(struct plugin_admin *a, struct plugin_admin_req *r, const char *name,
                 unsigned parts);
    /* Loads the file again (also when it did not change) and gives options other values; those not
     * named keep theirs. Whatever fails leaves the old code and the old options in force. */
    void (*reload)(struct plugin_admin *a, struct plugin_admin_req *r, const char *name,
                   const struct plugin_setting *settings, size_t count);
    /* Lifts a quarantine or a disable, and starts it. One that runs already: done at once. */
    void (*enable)(struct plugin_admin *a, struct plugin_admin_req *r, const char *name);
    /* Stops it; completes when it has stopped. It stays so over a restart of the process. One that
     * is disabled already: done at once. */
    void (*disable)(struct plugin_admin *a, struct plugin_admin_req *r, const char *name);
    /* Forgets the callback: the change goes on without an audience. Only for requests whose cb has
     * not run. */
    void (*cancel)(struct plugin_admin *a, struct plugin_admin_req *r);
};

#endif
