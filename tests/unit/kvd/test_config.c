/* test_config - settings from flags, environment and files: what is taken, refused, resolved
 * (contract F-01 to F-07, design section 4). */
#include "kvd/config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/limits.h"
#include "kvd/flags.h"

#define WORDS_MAX 8

struct fixture {
    struct kvd_config cfg;
    struct kvd_warnings warnings;
    struct errmsg e;
};

static enum kvd_config_outcome load(struct fixture *f, const char *program,
                                    const char *const *words, const char *const *environment)
{
    static char *const empty[] = {NULL};
    char *argv[WORDS_MAX + 2] = {(char *)program};
    int argc = 1;
    for (; words != NULL && words[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)words[argc - 1];
    }
    f->e.text[0] = '\0';
    return kvd_config_load(&f->cfg, argc, argv,
                           environment != NULL ? (char *const *)environment : empty, &f->warnings,
                           &f->e);
}

static void defaults_under_the_name_etcd(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load(&f, "/usr/bin/etcd", NULL, NULL), KVD_CONFIG_RUN);
    assert_int_equal(f.cfg.profile, KVD_PROFILE_ETCD);
    assert_string_equal(f.cfg.name, "default");
    assert_string_equal(f.cfg.data_dir, "default.etcd");
    assert_int_equal(f.cfg.heartbeat_ms, 100);
    assert_int_equal(f.cfg.election_ms, 1000);
    assert_int_equal(f.cfg.request_timeout_ms, 7000);
    assert_int_equal(f.cfg.lease_min_ttl_s, 2);
    assert_int_equal(f.cfg.snapshot_entries, 10000);
    assert_int_equal(f.cfg.snapshot_catchup_entries, 5000);
    assert_int_equal(f.cfg.quota_bytes, 2147483648);
    assert_false(f.cfg.alarm_self_clearing);
    assert_int_equal(f.cfg.compaction_mode, KVD_COMPACTION_PERIODIC);
    assert_int_equal(f.cfg.compaction_period_ms, 0);
    assert_int_equal(f.cfg.max_request_bytes, 1572864);
    assert_int_equal(f.cfg.max_txn_ops, 128);
    assert_true(f.cfg.max_concurrent_streams == UINT32_MAX);
    assert_int_equal(f.cfg.progress_notify_ms, 600000);
    assert_int_equal(f.cfg.warning_unary_ms, 300);
    assert_int_equal(f.cfg.warning_apply_ms, 100);
    assert_int_equal(f.cfg.keepalive_min_ms, 5000);
    assert_int_equal(f.cfg.keepalive_interval_ms, 7200000);
    assert_int_equal(f.cfg.keepalive_timeout_ms, 20000);
    assert_int_equal(f.cfg.seal_bytes, MEMTABLE_SEAL_BYTES_DEFAULT);
    assert_int_equal(f.cfg.seal_ms, MEMTABLE_SEAL_MS_DEFAULT);
    assert_true(f.cfg.map_bytes == 16ull << 30);
    assert_int_equal(f.cfg.io_mode, KVD_IO_AUTO);
    assert_int_equal(f.cfg.listen_client.count, 1);
    assert_string_equal(f.cfg.listen_client.urls[0].host, "localhost");
    assert_int_equal(f.cfg.listen_client.urls[0].port, 2379);
    assert_string_equal(f.cfg.advertise_peer.texts[0], "http://localhost:2380");
    assert_int_equal(f.cfg.listen_metrics.count, 0);
    assert_int_equal(f.cfg.log_level, LOG_INFO);
    assert_true(f.cfg.log_json);
    assert_int_equal(f.cfg.log_output_count, 1);
    assert_string_equal(f.cfg.log_outputs[0], "default");
    assert_int_equal(f.warnings.count, 0);
    kvd_config_close(&f.cfg);
}

static void defaults_under_its_own_name(void **state)
{
    (void)state;
    struct fixture f;
    static const char *const programs[] = {"kvd", "./build/kvd", "etcd2", "/opt/etcd/kvd"};
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        assert_int_equal(load(&f, programs[i], NULL, NULL), KVD_CONFIG_RUN);
        assert_int_equal(f.cfg.profile, KVD_PROFILE_KVD);
        assert_string_equal(f.cfg.data_dir, "default.kvd");
        assert_true(f.cfg.alarm_self_clearing);
        assert_int_equal(f.cfg.compaction_period_ms, 3600000);
        kvd_config_close(&f.cfg);
    }
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--name=a", NULL}, NULL),
                     KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.data_dir, "a.kvd");
    kvd_config_close(&f.cfg);
}

/* Everything etcd would refuse, and everything kvd cannot do yet, with the sentence. */
static void refusals_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS_MAX];
        const char *text;
    } rows[] = {
        /* F-01 */
        {{"put", "--name=a"}, "\"put\" is not a valid flag"},
        {{"gateway", "start"}, "gateway is not supported yet (see docs/status.md)"},
        {{"grpc-proxy"}, "grpc-proxy is not supported yet (see docs/status.md)"},
        /* F-07 */
        {{"--heartbeat-interval=0"}, "--heartbeat-interval must be >0 (set to 0ms)"},
        {{"--election-timeout=0"}, "--election-timeout must be >0 (set to 0ms)"},
        {{"--heartbeat-interval=201"},
         "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[201ms]"},
        {{"--heartbeat-interval=18446744073709551615"},
         "--election-timeout[1000ms] should be at least as 5 times as "
         "--heartbeat-interval[18446744073709551615ms]"},
        {{"--election-timeout=50001"},
         "--election-timeout[50001ms] is too long, and should be set less than 50000ms"},
        {{"--listen-client-urls=http://127.0.0.1:1"},
         "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
        {{"--initial-cluster=default=http://localhost:2380", "--discovery-srv=x"},
         "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
         "\"discovery-endpoints\" or \"discovery-srv\""},
        {{"--discovery-endpoints=x", "--discovery-srv=x"},
         "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
         "\"discovery-endpoints\" or \"discovery-srv\""},
        {{"--discovery-token=x"}, "both --discovery-token and --discovery-endpoints must be set"},
        {{"--discovery-endpoints=x"},
         "both --discovery-token and --discovery-endpoints must be set"},
        {{"--initial-cluster-state=old"}, "unexpected clusterState \"old\""},
        {{"--auto-compaction-mode=daily"}, "unknown auto-compaction-mode \"daily\""},
        {{"--auto-compaction-mode="}, "undefined auto-compaction-mode"},
        {{"--auto-compaction-retention=soon"},
         "error parsing CompactionRetention: invalid duration \"soon\""},
        {{"--auto-compaction-retention=-1h"},
         "error parsing CompactionRetention: invalid duration \"-1h\""},
        {{"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"},
         "min version (TLS1.3) is greater than max version (TLS1.2)"},
        {{"--tls-min-version=SSL3"},
         "unexpected TLS version \"SSL3\" (must be one of TLS1.2, TLS1.3)"},
        {{"--tls-min-version=TLS1.3", "--cipher-suites=X"},
         "cipher suites cannot be configured when only TLS1.3 is enabled"},
        {{"--listen-peer-urls=http://example.com:1"},
         "--listen-peer-urls: expected IP in URL for binding (http://example.com:1)"},
        {{"--listen-client-urls=http://:1", "--advertise-client-urls=http://localhost:1"},
         "--listen-client-urls: expected IP in URL for binding (http://:1)"},
        {{"--compact-hash-check-time=0s"}, "--compact-hash-check-time must be >0 (set to 0s)"},
        {{"--feature-gates=LeaseCheckpointPersist=true"},
         "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
         "LeaseCheckpoint"},
        {{"--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://h:1"},
         "https://127.0.0.1:1 in --listen-client-urls is not supported yet (see docs/status.md)"},
        {{"--listen-metrics-urls=https://127.0.0.1:1"},
         "https://127.0.0.1:1 in --listen-metrics-urls is not supported yet (see docs/status.md)"},
        {{"--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"},
         "AllowedCNs and AllowedHostnames are mutually exclusive: --peer-cert-allowed-cn=a, "
         "--peer-cert-allowed-hostname=b"},
        {{"--advertise-client-urls=http://:1"},
         "--advertise-client-urls \"http://:1\" must be \"host:port\" (unexpected empty host "
         "(http://:1))"},
        /* Features to come. */
        {{"--cert-file", "x"}, "--cert-file is not supported yet (see docs/status.md)"},
        {{"--cert-file=x", "--key-file=y"},
         "--cert-file, --key-file are not supported yet (see docs/status.md)"},
        {{"--auth-token=jwt,pub-key=x"}, "--auth-token is not supported yet (see docs/status.md)"},
        {{"--initial-cluster-state=existing"},
         "--initial-cluster-state is not supported yet (see docs/status.md)"},
        {{"--force-new-cluster"}, "--force-new-cluster is not supported yet (see docs/status.md)"},
        {{"--enable-distributed-tracing"},
         "--enable-distributed-tracing is not supported yet (see docs/status.md)"},
        {{"--listen-client-http-urls=http://127.0.0.1:1"},
         "--listen-client-http-urls is not supported yet (see docs/status.md)"},
        {{"--wal-dir=x"}, "--wal-dir is not supported yet (see docs/status.md)"},
        {{"--feature-gates=CompactHashCheck=true"},
         "--feature-gates=CompactHashCheck=true is not supported yet (see docs/status.md)"},
        {{"--initial-cluster=default=http://localhost:2380,b=http://localhost:2382"},
         "--initial-cluster with more than one member is not supported yet (see docs/status.md)"},
        {{"--initial-cluster=b=http://localhost:2380"},
         "couldn't find local name \"default\" in the initial cluster configuration"},
        {{"--initial-cluster=http://localhost:2380"},
         "--initial-cluster: expected name=URL, not \"http://localhost:2380\""},
        {{"--initial-cluster=default=http://localhost:2390"},
         "--initial-cluster has default=http://localhost:2390 for this member, "
         "--initial-advertise-peer-urls has http://localhost:2380: they must be the same"},
        /* Values. */
        {{"--log-level=loud"},
         "unknown --log-level \"loud\": use debug, info, warn, error, panic or fatal"},
        {{"--log-format=xml"}, "unknown log format: xml, supported values json, console"},
        {{"--log-outputs=default,stderr"}, "multi logoutput for \"default\" is not supported yet"},
        {{"--log-outputs=a,b,c,d,e,f,g,h,i"}, "more than 8 --log-outputs"},
        {{"--logger=glog"}, "unknown value \"glog\" of --logger"},
        {{"--metrics=all"}, "unknown value \"all\" of --metrics"},
        {{"--io-mode=magic"}, "unknown value \"magic\" of --io-mode"},
        {{"--name="}, "--name must not be empty"},
        {{"--listen-client-urls=", "--advertise-client-urls="},
         "--listen-client-urls is empty: nobody could connect"},
        {{"--max-request-bytes=0"}, "--max-request-bytes is 0: it must be between 1 and 16777216"},
        {{"--seal-bytes=1"}, "--seal-bytes is 1: it must be between 65536 and 33554432"},
        {{"--seal-interval=2h"}, "--seal-interval is 2h: it must be between 1ms and 1h"},
        {{"--log-segment-bytes=70000"}, "--log-segment-bytes must be a multiple of 4096"},
        {{"--map-bytes=1"}, "--map-bytes is 1: it must be between 16777216 and 70368744177664"},
        {{"--map-bytes=33554432", "--quota-backend-bytes=33554432"},
         "--quota-backend-bytes must be at most half of --map-bytes (33554432)"},
        {{"--auto-compaction-mode=revision"},
         "--auto-compaction-mode=revision needs --auto-compaction-retention to be a number of "
         "revisions, not \"1h\""},
        {{"--config-file=/nonexistent/kvd.conf"},
         "open /nonexistent/kvd.conf: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        assert_int_equal(load(&f, "kvd", rows[i].words, NULL), KVD_CONFIG_REFUSED);
        assert_string_equal(f.e.text, rows[i].text);
        /* The refusal can be logged in some form. */
        assert_true(f.cfg.log_output_count > 0);
        kvd_config_close(&f.cfg);
    }
}

static void what_has_no_effect_warns_once(void **state)
{
    (void)state;
    struct fixture f;
    static const char *const words[] = {"--max-wals=0",
                                        "--memory-mlock",
                                        "--pre-vote=true",
                                        "--snapshot",
                                        "--feature-gates=FastLeaseKeepAlive=false",
                                        "--quota-backend-bytes=9000000000",
                                        NULL};
    static const char *const environment[] = {"ETCD_VERIFY=all", "ETCD_BCRYPT_COST=4", NULL};
    assert_int_equal(load(&f, "etcd", words, environment), KVD_CONFIG_RUN);
    static const char *const texts[] = {
        "unrecognized environment variable ETCD_VERIFY",
        "--max-wals is accepted but has no effect here",
        "--memory-mlock is accepted but has no effect here",
        "--bcrypt-cost is accepted but has no effect here",
        "--snapshot is no longer supported - ignoring",
        "feature gate FastLeaseKeepAlive is accepted but has no effect here",
        "--quota-backend-bytes is above 8 GiB, the largest quota that is advised",
    };
    assert_int_equal(f.warnings.count, sizeof(texts) / sizeof(texts[0]));
    for (size_t i = 0; i < f.warnings.count; i++) {
        assert_string_equal(f.warnings.texts[i], texts[i]);
    }
    kvd_config_close(&f.cfg);
}

static void outcomes_besides_running(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--help", NULL}, NULL), KVD_CONFIG_HELP);
    kvd_config_close(&f.cfg);
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--version", NULL}, NULL),
                     KVD_CONFIG_VERSION);
    kvd_config_close(&f.cfg);
    /* Versions are asked for before each start of a test: nothing else may get in the way. */
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--version", "--cert-file=x", NULL},
                          (const char *const[]){"ETCD_CERT_FILE=y", NULL}),
                     KVD_CONFIG_VERSION);
    kvd_config_close(&f.cfg);
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--version=false", NULL}, NULL),
                     KVD_CONFIG_RUN);
    kvd_config_close(&f.cfg);
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--nosuch", NULL}, NULL),
                     KVD_CONFIG_USAGE);
    assert_string_equal(f.e.text, "flag provided but not defined: -nosuch");
    kvd_config_close(&f.cfg);
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--name=a", NULL},
                          (const char *const[]){"ETCD_NAME=b", NULL}),
                     KVD_CONFIG_REFUSED);
    assert_non_null(strstr(f.e.text, "conflicting environment variable"));
    kvd_config_close(&f.cfg);
}

/* Numbers that follow from others. */
static void values_are_resolved(void **state)
{
    (void)state;
    struct fixture f;
    static const struct {
        const char *heartbeat;
        const char *election;
        int64_t ttl;
    } ttls[] = {
        {"--heartbeat-interval=100", "--election-timeout=1000", 2},
        {"--heartbeat-interval=10", "--election-timeout=100", 1},
        {"--heartbeat-interval=500", "--election-timeout=5000", 8},
        {"--heartbeat-interval=300", "--election-timeout=1600", 3}, /* 5 ticks, 7, 2.1 s */
        {"--heartbeat-interval=10000", "--election-timeout=50000", 70},
    };
    for (size_t i = 0; i < sizeof(ttls) / sizeof(ttls[0]); i++) {
        assert_int_equal(load(&f, "etcd",
                              (const char *const[]){ttls[i].heartbeat, ttls[i].election, NULL},
                              NULL),
                         KVD_CONFIG_RUN);
        assert_int_equal(f.cfg.lease_min_ttl_s, ttls[i].ttl);
        kvd_config_close(&f.cfg);
    }
    static const struct {
        const char *mode;
        const char *retention;
        uint64_t period_ms;
        int64_t revisions;
    } compactions[] = {
        {"--auto-compaction-mode=periodic", "--auto-compaction-retention=0", 0, 0},
        {"--auto-compaction-mode=periodic", "--auto-compaction-retention=", 0, 0},
        {"--auto-compaction-mode=periodic", "--auto-compaction-retention=3", 3 * 3600000, 0},
        {"--auto-compaction-mode=periodic", "--auto-compaction-retention=90s", 90000, 0},
        {"--auto-compaction-mode=periodic", "--auto-compaction-retention=1ns", 1, 0},
        {"--auto-compaction-mode=revision", "--auto-compaction-retention=1000", 0, 1000},
        {"--auto-compaction-mode=revision", "--auto-compaction-retention=0", 0, 0},
    };
    for (size_t i = 0; i < sizeof(compactions) / sizeof(compactions[0]); i++) {
        assert_int_equal(
            load(&f, "kvd",
                 (const char *const[]){compactions[i].mode, compactions[i].retention, NULL}, NULL),
            KVD_CONFIG_RUN);
        assert_int_equal(f.cfg.compaction_period_ms, compactions[i].period_ms);
        assert_int_equal(f.cfg.compaction_revisions, compactions[i].revisions);
        kvd_config_close(&f.cfg);
    }
    static const char *const words[] = {
        "--quota-backend-bytes=-5",     "--watch-progress-notify-interval=1ms",
        "--grpc-keepalive-interval=0s", "--grpc-keepalive-min-time=0s",
        "--snapshot-count=0",           "--warning-unary-request-duration=1us",
        "--warning-apply-duration=0s",  NULL};
    assert_int_equal(load(&f, "etcd", words, NULL), KVD_CONFIG_RUN);
    assert_int_equal(f.cfg.quota_bytes, -1);
    assert_true(f.cfg.map_bytes == MAP_BYTES_UNLIMITED);
    assert_int_equal(f.cfg.progress_notify_ms, 100);
    assert_int_equal(f.cfg.keepalive_interval_ms, 7200000);
    assert_int_equal(f.cfg.keepalive_min_ms, 300000);
    assert_int_equal(f.cfg.snapshot_entries, 10000);
    assert_int_equal(f.cfg.warning_unary_ms, 1);
    assert_int_equal(f.cfg.warning_apply_ms, 0);
    kvd_config_close(&f.cfg);
    /* The map grows with the quota. */
    assert_int_equal(
        load(&f, "etcd", (const char *const[]){"--quota-backend-bytes=8589934592", NULL}, NULL),
        KVD_CONFIG_RUN);
    assert_true(f.cfg.map_bytes == 32ull << 30);
    kvd_config_close(&f.cfg);
}

/* Lists of words end with NULL; the lists' defaults allow everything (H-09, H-10). */
static void word_lists_are_split(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load(&f, "kvd", NULL, NULL), KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.cors[0], "*");
    assert_null(f.cfg.cors[1]);
    assert_string_equal(f.cfg.host_whitelist[0], "*");
    assert_false(f.cfg.extensive_metrics);
    kvd_config_close(&f.cfg);
    const char *const words[] = {"--cors=http://a.example,, http://b.example",
                                 "--host-whitelist=", "--metrics=extensive", NULL};
    assert_int_equal(load(&f, "kvd", words, NULL), KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.cors[0], "http://a.example");
    assert_string_equal(f.cfg.cors[1], "http://b.example");
    assert_null(f.cfg.cors[2]);
    assert_null(f.cfg.host_whitelist[0]);
    assert_true(f.cfg.extensive_metrics);
    kvd_config_close(&f.cfg);
}

static void urls_are_split_sorted_and_unique(void **state)
{
    (void)state;
    struct fixture f;
    static const char *const words[] = {
        "--listen-client-urls=unix://localhost:20000, http://[::1]:2379,http://127.0.0.1:2379,"
        "http://127.0.0.1:2379,unix:///run/kvd.sock",
        "--advertise-client-urls=https://store.example:443",
        "--listen-metrics-urls=http://0.0.0.0:9090",
        "--name=m1",
        "--initial-advertise-peer-urls=http://10.0.0.1:2380,http://10.0.0.1:2381",
        "--initial-cluster=m1=http://10.0.0.1:2381,m1=http://10.0.0.1:2380",
        NULL};
    assert_int_equal(load(&f, "etcd", words, NULL), KVD_CONFIG_RUN);
    const struct kvd_urls *l = &f.cfg.listen_client;
    assert_int_equal(l->count, 4);
    assert_string_equal(l->texts[0], "http://127.0.0.1:2379");
    assert_string_equal(l->urls[1].host, "::1");
    assert_int_equal(l->urls[1].port, 2379);
    assert_int_equal(l->urls[2].scheme, KVD_UNIX);
    assert_string_equal(l->urls[2].host, "/run/kvd.sock");
    assert_string_equal(l->urls[3].host, "localhost:20000");
    assert_string_equal(f.cfg.advertise_client.texts[0], "https://store.example:443");
    assert_int_equal(f.cfg.advertise_peer.count, 2);
    assert_int_equal(f.cfg.listen_metrics.urls[0].port, 9090);
    kvd_config_close(&f.cfg);
}

/* ---- files
 * --------------------------------------------------------------------------------------- */

/* Runs with a configuration file of this text. */
static enum kvd_config_outcome load_file(struct fixture *f, const char *program, const char *text,
                                         const char *more)
{
    char path[] = "/tmp/kvd-test-config.XXXXXX";
    char word[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    snprintf(word, sizeof(word), "--config-file=%s", path);
    enum kvd_config_outcome outcome =
        load(f, program, (const char *const[]){word, more, NULL}, NULL);
    unlink(path);
    return outcome;
}

static void files_replace_flags_and_environment(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load_file(&f, "etcd",
                               "name: from-file\n"
                               "data-dir: /tmp/x\n"
                               "heartbeat-interval: 50\n"
                               "election-timeout: 500\n"
                               "watch-progress-notify-interval: 5000000000\n"
                               "warning-apply-duration: 250ms\n"
                               "strict-reconfig-check: true\n"
                               "listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n"
                               "log-outputs: [stderr, /tmp/y]\n"
                               "log-level: debug\n"
                               "quota-backend-bytes:\n"
                               "feature-gates: InitialCorruptCheck=true\n"
                               "seal-bytes: 100000\n",
                               "--name=from-flag"),
                     KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.name, "from-file");
    assert_string_equal(f.cfg.data_dir, "/tmp/x");
    assert_int_equal(f.cfg.heartbeat_ms, 50);
    assert_int_equal(f.cfg.progress_notify_ms, 5000);
    assert_int_equal(f.cfg.warning_apply_ms, 250);
    assert_int_equal(f.cfg.listen_client.count, 2);
    /* A file keeps the default advertised URLs, as etcd's does. */
    assert_string_equal(f.cfg.advertise_client.texts[0], "http://localhost:2379");
    assert_int_equal(f.cfg.log_output_count, 2);
    assert_string_equal(f.cfg.log_outputs[1], "/tmp/y");
    assert_int_equal(f.cfg.log_level, LOG_DEBUG);
    assert_int_equal(f.cfg.quota_bytes, 2147483648);
    assert_int_equal(f.cfg.seal_bytes, 100000);
    assert_int_equal(f.warnings.count, 1);
    assert_non_null(strstr(f.warnings.texts[0], "are ignored"));
    kvd_config_close(&f.cfg);
}

static void json_is_read_too(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load_file(&f, "kvd", "{\"name\": \"j\", \"max-txn-ops\": 7}\n", NULL),
                     KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.name, "j");
    assert_int_equal(f.cfg.max_txn_ops, 7);
    kvd_config_close(&f.cfg);
}

static void bad_files_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *part;
    } rows[] = {
        {"name: a\nheartbeat-interval: soon\n", "line 2: heartbeat-interval: parse error"},
        {"name: [a, b]\n", "line 1: name: expected one value, not a list"},
        {"name: {a: b}\n", "line 1: name: expected one value, not a section"},
        {"log-outputs: [{a: b}]\n", "line 1: log-outputs: expected a list of words"},
        {"- a\n- b\n", "expected settings as \"name: value\""},
        {"name: a\nname: b\n", "line 2"},
        {"client-transport-security: yes\n", "invalid client-transport-security"},
        {"client-transport-security:\n  cert-file: x\n", "--cert-file is not supported yet"},
        {"peer-transport-security:\n  allowed-cn: x\n",
         "--peer-cert-allowed-cn is not supported yet"},
        {"peer-transport-security:\n  auto-tls: true\n", "--peer-auto-tls is not supported yet"},
        {"discovery-config:\n  token: x\n", "discovery-config is not supported yet"},
        {"name: \"a\n", "line"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        assert_int_equal(load_file(&f, "kvd", rows[i].text, NULL), KVD_CONFIG_REFUSED);
        assert_non_null(strstr(f.e.text, rows[i].part));
        kvd_config_close(&f.cfg);
    }
}

/* --plugin adds up, in order; its commas belong to the plugin. */
static void plugins_add_up(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load(&f, "kvd", NULL, NULL), KVD_CONFIG_RUN);
    assert_null(f.cfg.plugins[0]);
    assert_string_equal(f.cfg.plugin_dir, "");
    kvd_config_close(&f.cfg);
    assert_int_equal(load(&f, "kvd",
                          (const char *const[]){"--plugin", "/a.so", "--plugin=/b.so,x=1,y=2",
                                                "--plugin-dir=/d", NULL},
                          NULL),
                     KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.plugins[0], "/a.so");
    assert_string_equal(f.cfg.plugins[1], "/b.so,x=1,y=2");
    assert_null(f.cfg.plugins[2]);
    assert_string_equal(f.cfg.plugin_dir, "/d");
    kvd_config_close(&f.cfg);
    assert_int_equal(
        load_file(&f, "kvd", "plugin:\n  - /a.so,x=1\n  - /b.so\nplugin-dir: /d\n", NULL),
        KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.plugins[0], "/a.so,x=1");
    assert_string_equal(f.cfg.plugins[1], "/b.so");
    assert_null(f.cfg.plugins[2]);
    kvd_config_close(&f.cfg);
    assert_int_equal(load_file(&f, "kvd", "plugin: {a: b}\n", NULL), KVD_CONFIG_REFUSED);
    assert_non_null(strstr(f.e.text, "line 1: plugin"));
    kvd_config_close(&f.cfg);
}

static void unknown_keys_are_warnings(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load_file(&f, "kvd",
                               "colour: blue\n"
                               "discovery: ''\n"
                               "client-transport-security:\n  shape: round\n",
                               NULL),
                     KVD_CONFIG_RUN);
    assert_int_equal(f.warnings.count, 2);
    assert_non_null(strstr(f.warnings.texts[0], "line 1: unknown key ignored: \"colour\""));
    assert_non_null(strstr(f.warnings.texts[1], "line 4: unknown key ignored: \"shape\""));
    kvd_config_close(&f.cfg);
}

/* The shape of etcd's own sample, which must start a server (F-03): legacy keys, empty values, a
 * cipher list without TLS. */
static void a_file_like_etcds_sample_starts(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(load_file(&f, "etcd",
                               "name: 'default'\n"
                               "data-dir:\n"
                               "wal-dir:\n"
                               "snapshot-count: 10000\n"
                               "max-wals: 5\n"
                               "cors:\n"
                               "discovery:\n"
                               "discovery-fallback: 'proxy'\n"
                               "discovery-proxy:\n"
                               "discovery-srv:\n"
                               "initial-cluster:\n"
                               "initial-cluster-state: 'new'\n"
                               "strict-reconfig-check: false\n"
                               "enable-pprof: true\n"
                               "client-transport-security:\n"
                               "  cert-file:\n"
                               "  client-cert-auth: false\n"
                               "peer-transport-security:\n"
                               "  allowed-cn:\n"
                               "  allowed-hostname:\n"
                               "self-signed-cert-validity: 1\n"
                               "log-outputs: [stderr]\n"
                               "force-new-cluster: false\n"
                               "auto-compaction-retention: \"1\"\n"
                               "cipher-suites: [\n"
                               "  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\n"
                               "  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n"
                               "]\n"
                               "tls-min-version: 'TLS1.2'\n"
                               "tls-max-version: 'TLS1.3'\n",
                               NULL),
                     KVD_CONFIG_RUN);
    assert_string_equal(f.cfg.data_dir, "default.etcd");
    assert_int_equal(f.cfg.compaction_period_ms, 3600000);
    kvd_config_close(&f.cfg);
}

static void the_file_may_come_from_the_environment(void **state)
{
    (void)state;
    struct fixture f;
    static const char *const environment[] = {"ETCD_CONFIG_FILE=/nonexistent/x", "ETCD_NAME=a",
                                              NULL};
    assert_int_equal(load(&f, "kvd", NULL, environment), KVD_CONFIG_REFUSED);
    assert_non_null(strstr(f.e.text, "/nonexistent/x"));
    kvd_config_close(&f.cfg);
    assert_int_equal(load(&f, "kvd", (const char *const[]){"--config-file=/", NULL}, NULL),
                     KVD_CONFIG_REFUSED);
    assert_string_equal(f.e.text, "read /: is a directory");
    kvd_config_close(&f.cfg);
}

/* The sample we ship states the defaults: read as it is, it changes nothing; with every setting
 * switched on it still starts. */
static void the_shipped_sample_states_the_defaults(void **state)
{
    (void)state;
    struct fixture f;
    struct fixture d;
    assert_int_equal(
        load(&f, "kvd", (const char *const[]){"--config-file=deploy/kvd.conf.sample", NULL}, NULL),
        KVD_CONFIG_RUN);
    assert_int_equal(f.warnings.count, 0);
    kvd_config_close(&f.cfg);

    /* "#name: value" is a setting, "# text" a comment. */
    static char text[65536];
    FILE *sample = fopen("deploy/kvd.conf.sample", "r");
    assert_non_null(sample);
    char line[512];
    size_t at = 0;
    while (fgets(line, sizeof(line), sample) != NULL) {
        if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s", line + 1);
        }
    }
    fclose(sample);
    for (int i = 0; i < FLAG_COUNT_; i++) {
        const struct flag_row *row = flag_row((enum flag_id)i);
        if (row->support == FLAG_WORKS && row->group != FLAG_GROUP_MISC) {
            snprintf(line, sizeof(line), "%s: ", row->name);
            assert_non_null(strstr(text, line));
        }
    }
    assert_int_equal(load_file(&f, "kvd", text, NULL), KVD_CONFIG_RUN);
    assert_int_equal(load(&d, "kvd", NULL, NULL), KVD_CONFIG_RUN);
    assert_int_equal(f.warnings.count, 0);
    assert_string_equal(f.cfg.name, d.cfg.name);
    assert_string_equal(f.cfg.data_dir, d.cfg.data_dir);
    assert_string_equal(f.cfg.listen_client.texts[0], d.cfg.listen_client.texts[0]);
    assert_int_equal(f.cfg.compaction_period_ms, d.cfg.compaction_period_ms);
    assert_int_equal(f.cfg.quota_bytes, d.cfg.quota_bytes);
    assert_int_equal(f.cfg.seal_bytes, d.cfg.seal_bytes);
    assert_int_equal(f.cfg.seal_ms, d.cfg.seal_ms);
    assert_true(f.cfg.map_bytes == d.cfg.map_bytes);
    assert_int_equal(f.cfg.progress_notify_ms, d.cfg.progress_notify_ms);
    assert_int_equal(f.cfg.keepalive_interval_ms, d.cfg.keepalive_interval_ms);
    assert_int_equal(f.cfg.warning_unary_ms, d.cfg.warning_unary_ms);
    assert_int_equal(f.cfg.alarm_self_clearing, d.cfg.alarm_self_clearing);
    assert_int_equal(f.cfg.snapshot_entries, d.cfg.snapshot_entries);
    kvd_config_close(&f.cfg);
    kvd_config_close(&d.cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_under_the_name_etcd),
        cmocka_unit_test(defaults_under_its_own_name),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(what_has_no_effect_warns_once),
        cmocka_unit_test(outcomes_besides_running),
        cmocka_unit_test(values_are_resolved),
        cmocka_unit_test(word_lists_are_split),
        cmocka_unit_test(urls_are_split_sorted_and_unique),
        cmocka_unit_test(files_replace_flags_and_environment),
        cmocka_unit_test(json_is_read_too),
        cmocka_unit_test(bad_files_name_the_line),
        cmocka_unit_test(plugins_add_up),
        cmocka_unit_test(unknown_keys_are_warnings),
        cmocka_unit_test(a_file_like_etcds_sample_starts),
        cmocka_unit_test(the_file_may_come_from_the_environment),
        cmocka_unit_test(the_shipped_sample_states_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
