/* config.h - every setting of one kvd process, resolved: defaults, profile, file, flags,
 * environment and validation are behind it (contract sections 9.1 and 9.2).
 *
 * Where a value comes from: the defaults of the profile; then the configuration file alone when
 * there is one (F-03), else flags and ETCD_* / KVD_* environment variables. What kvd cannot do yet
 * is refused by name when it is set to something else than its default, so a field that exists here
 * is one that works. Nobody changes a struct kvd_config once it is made; any thread may read it. */
#ifndef KVD_KVD_CONFIG_H
#define KVD_KVD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/log.h"

/* Run as `etcd`, kvd has etcd's defaults; under any other name its own (design section 4). */
enum kvd_profile { KVD_PROFILE_KVD, KVD_PROFILE_ETCD };

/* How the log reaches the disk: by KAIO where a probe says it works, by KAIO or not at all, or by a
 * writer thread. */
enum kvd_io_mode { KVD_IO_AUTO, KVD_IO_KAIO, KVD_IO_THREAD };

enum kvd_compaction_mode { KVD_COMPACTION_PERIODIC, KVD_COMPACTION_REVISION };

/* The list of peers' listeners holds KVD_HTTP and KVD_UNIX only until peers speak TLS. */
enum kvd_scheme { KVD_HTTP, KVD_HTTPS, KVD_UNIX, KVD_UNIXS };

struct kvd_url {
    enum kvd_scheme scheme;
    uint16_t port;    /* 0 for unix */
    const char *host; /* name or IP address without brackets, or a path relative to the working
                         directory: http "::1", unix "localhost:20000" (W-06) */
    const char *text; /* as given, for logs and member lists */
};

/* A list of URLs. texts[i] is urls[i].text, in the shape struct service_member wants. */
struct kvd_urls {
    const struct kvd_url *urls;
    const char *const *texts;
    size_t count;
};

struct kvd_config {
    struct arena arena; /* owns everything the pointers below lead to */
    enum kvd_profile profile;

    /* Member and cluster. */
    const char *name;
    const char *data_dir;
    const char *initial_cluster_token;
    struct kvd_urls listen_client;  /* hosts are IP addresses or "localhost" */
    struct kvd_urls listen_metrics; /* /metrics, /health, /livez, /readyz only (H-08) */
    struct kvd_urls listen_peer;    /* checked, not listened on: a cluster of one has no peers */
    struct kvd_urls advertise_client;
    struct kvd_urls advertise_peer; /* part of the member id (M-02), shown by MemberList */

    /* Raft. */
    uint32_t heartbeat_ms;
    uint32_t election_ms;
    uint64_t snapshot_entries;         /* --snapshot-count */
    uint64_t snapshot_catchup_entries; /* log kept behind the checkpoint */
    uint64_t log_trailing_bytes;       /* the same in bytes, whichever is less */
    uint32_t log_segment_bytes;
    enum kvd_io_mode io_mode;
    bool unsafe_no_fsync;

    /* Store. */
    int64_t quota_bytes; /* resolved: etcd's 2 GiB for 0; <= 0 = no limit */
    bool alarm_self_clearing;
    size_t seal_bytes;    /* memtable is sealed at this size ... */
    uint32_t seal_ms;     /* ... or age */
    size_t map_bytes;     /* LMDB map: address space */
    size_t reserve_bytes; /* real blocks kept free for deletes and alarms; 0 = none */
    enum kvd_compaction_mode compaction_mode;
    uint64_t compaction_period_ms; /* periodic: history kept; 0 = off (C-07) */
    int64_t compaction_revisions;  /* revision: history kept; 0 = off */

    /* Requests. */
    uint32_t max_request_bytes;
    uint32_t max_txn_ops;
    uint64_t request_timeout_ms; /* 5 s + 2 election timeouts, contract section 11 */
    int64_t lease_min_ttl_s;     /* L-02, from the two timeouts */
    uint64_t progress_notify_ms; /* --watch-progress-notify-interval, resolved */
    uint64_t warning_unary_ms;   /* log `request stats` above; 0 = always */
    uint64_t warning_apply_ms;   /* log `apply request took too long` above; 0 = always */

    /* Connections. */
    uint32_t max_concurrent_streams;
    uint32_t max_connections;
    uint64_t keepalive_min_ms;
    uint64_t keepalive_interval_ms;
    uint64_t keepalive_timeout_ms;
    const char *const *cors;           /* origins, NULL-terminated (H-10) */
    const char *const *host_whitelist; /* names of this host, NULL-terminated (H-09) */
    bool extensive_metrics;            /* --metrics=extensive */

    /* Plugins. */
    const char *const *plugins; /* --plugin, NULL-terminated */
    const char *plugin_dir;     /* "" = none */
    bool dev;                   /* --dev: kvd/dev.h */
    const char *temporary_dir;  /* made for --dev, to be removed at the end; NULL = none */
    /* TLS of client and metrics listeners. The files are set when a URL needs them, else NULL. */
    bool tls; /* a URL needs it */
    const char *cert_file;
    const char *key_file;
    const char *trusted_ca_file; /* NULL: the system's, when clients are required */
    bool client_cert_required;
    const char *const *cipher_suites; /* NULL-terminated; empty: the default */
    int tls_version_min;              /* 12 or 13 */
    int tls_version_max;              /* 12, 13, or 0: the newest */

    /* Logs. Main has applied them before anything else runs. */
    enum log_level log_level;
    bool log_json;
    const char *const *log_outputs; /* "stderr", "stdout", "default", or a path */
    size_t log_output_count;
};

/* What main does next. */
enum kvd_config_outcome {
    KVD_CONFIG_RUN,     /* *cfg is complete */
    KVD_CONFIG_HELP,    /* print kvd_flags_help to stdout, exit 0 */
    KVD_CONFIG_VERSION, /* print the version lines to stdout, exit 0 */
    KVD_CONFIG_USAGE, /* unknown flag or bad value: e has the line, print usage to stderr, exit 2 */
    KVD_CONFIG_REFUSED /* e has the sentence: log it, exit 1 */
};

/* Warnings found on the way (an unknown ETCD_ variable, a flag without effect here), in order; main
 * logs them once logging is set up. */
#define KVD_CONFIG_WARNINGS_MAX 64
struct kvd_warnings {
    const char *texts[KVD_CONFIG_WARNINGS_MAX]; /* in the configuration's arena */
    size_t count;                               /* further ones are dropped */
};

/* Makes a configuration from argv (argv[0]'s last part chooses the profile) and environment (a
 * NULL-terminated list of NAME=value). cfg is initialised here and owns copies of all text; close
 * it whatever is returned. e holds the sentence of USAGE and REFUSED. Start-up, one thread. */
enum kvd_config_outcome kvd_config_load(struct kvd_config *cfg, int argc, char *const *argv,
                                        char *const *environment, struct kvd_warnings *warnings,
                                        struct errmsg *e);
void kvd_config_close(struct kvd_config *cfg);

#endif
