/* flags.h - the table of flags (flags.def) and values given for them: Go's flag syntax, environment
 * variables, types checked (contract F-01, F-02, F-05, F-06). What the values mean is config.c's.
 *
 * A struct flag_values borrows all text; whoever fills it keeps arguments, environment and file
 * contents alive as long. Start-up, one thread. */
#ifndef KVD_KVD_FLAGS_H
#define KVD_KVD_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "kvd/config.h"

enum flag_id {
#define FLAG(id, name, type, group, support, initial, help) FLAG_##id,
#define PROFILE(id, initial)
#include "kvd/flags.def"
#undef FLAG
#undef PROFILE
    FLAG_COUNT_
};

enum flag_type {
    FLAG_TYPE_STRING,
    FLAG_TYPE_STRINGS, /* comma-separated */
    FLAG_TYPE_URLS,    /* comma-separated; may be empty */
    FLAG_TYPE_BOOL,
    FLAG_TYPE_INT,
    FLAG_TYPE_UINT,
    FLAG_TYPE_UINT32,
    FLAG_TYPE_DURATION,
    FLAG_TYPE_GATES,
    FLAG_TYPE_PLUGINS, /* may be given again and again: flag_values.plugins */
    FLAG_TYPE_ANY
};

enum flag_group {
    FLAG_GROUP_MEMBER,
    FLAG_GROUP_CLUSTERING,
    FLAG_GROUP_SECURITY,
    FLAG_GROUP_AUTH,
    FLAG_GROUP_MONITORING,
    FLAG_GROUP_LOGGING,
    FLAG_GROUP_TRACING,
    FLAG_GROUP_FEATURES,
    FLAG_GROUP_UNSAFE,
    FLAG_GROUP_KVD,
    FLAG_GROUP_MISC,
    FLAG_GROUP_OBSOLETE
};

enum flag_support { FLAG_WORKS, FLAG_IDLE, FLAG_REFUSED, FLAG_OBSOLETE };

struct flag_row {
    const char *name;
    enum flag_type type;
    enum flag_group group;
    enum flag_support support;
    const char *initial; /* etcd's default; flag_initial knows the profile's */
    const char *help;
};

/* Later sources may not meet earlier ones: flags and environment conflict, a file excludes both. */
enum flag_source { FLAG_FROM_DEFAULT, FLAG_FROM_COMMAND, FLAG_FROM_ENVIRONMENT, FLAG_FROM_FILE };

/* Feature gates (contract 9.2), in the order of their names. */
enum flag_gate {
    GATE_COMPACT_HASH_CHECK,
    GATE_FAST_LEASE_KEEP_ALIVE,
    GATE_INITIAL_CORRUPT_CHECK,
    GATE_LEASE_CHECKPOINT,
    GATE_LEASE_CHECKPOINT_PERSIST,
    GATE_PRIORITY_REQUEST,
    GATE_SET_MEMBER_LOCAL_ADDR,
    GATE_STOP_GRPC_SERVICE_ON_DEFRAG,
    GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER,
    GATE_COUNT_
};

struct flag_value {
    const char *text;
    enum flag_source source;
    union {
        bool b;
        int64_t i; /* INT, and DURATION in nanoseconds */
        uint64_t u;
    } v;
};

struct flag_values {
    enum kvd_profile profile;
    struct flag_value values[FLAG_COUNT_];
    bool gates[GATE_COUNT_];
    const char *plugins[PLUGINS_MAX]; /* in the order they were given */
    size_t plugin_count;
};

const struct flag_row *flag_row(enum flag_id id);
/* The flag of that name, or FLAG_COUNT_. */
enum flag_id flag_find(struct slice name);
const char *flag_gate_name(enum flag_gate gate);
/* What a gate is when nobody sets it. */
bool flag_gate_initial(enum flag_gate gate);
/* The default of a flag under a profile. */
const char *flag_initial(enum flag_id id, enum kvd_profile profile);

/* All defaults. */
void flags_init(struct flag_values *f, enum kvd_profile profile);
/* Checks text against the flag's type and takes it. ERR_INVALID leaves the flag as it was; e says
 * only what is wrong with the value ("parse error", "value out of range", ...). */
int flags_set(struct flag_values *f, enum flag_id id, const char *text, enum flag_source source,
              struct errmsg *e);
/* Is the value another than the default? */
bool flags_changed(const struct flag_values *f, enum flag_id id);
bool flags_given(const struct flag_values *f, enum flag_id id);

/* Reads the command line. *leftover: the first argument that belongs to no flag, or NULL; *help:
 * -h, -help or --help was met (parsing ends there, as in Go). ERR_INVALID with the line Go prints.
 */
int flags_parse(struct flag_values *f, int argc, char *const *argv, const char **leftover,
                bool *help, struct errmsg *e);
/* Reads the environment: ETCD_* for etcd's flags, KVD_* for our own. Calls `unknown` with the name
 * of each other variable that begins so. ERR_INVALID: a flag has both ("conflicting environment
 * variable"), or a bad value. */
int flags_environment(struct flag_values *f, char *const *environment,
                      void (*unknown)(void *data, struct slice name), void *data, struct errmsg *e);
/* The variable of a flag: "ETCD_DATA_DIR". Appends. */
void flags_variable(enum flag_id id, struct buf *out);

/* --help: all flags by group with their defaults, and what is not supported. Appends. */
void flags_help(struct buf *out, enum kvd_profile profile);
/* What Go prints after a bad flag. Appends. */
void flags_usage(struct buf *out, enum kvd_profile profile);

#endif
