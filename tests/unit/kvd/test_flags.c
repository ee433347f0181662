/* test_flags - Go's flag syntax, environment variables, value types (contract F-01, F-02, F-05,
 * F-06). */
#include "kvd/flags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define WORDS_MAX 8

static int parse(struct flag_values *f, const char *const *words, const char **leftover, bool *help,
                 struct errmsg *e)
{
    char *argv[WORDS_MAX + 2] = {"etcd"};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)words[argc - 1];
    }
    e->text[0] = '\0';
    flags_init(f, KVD_PROFILE_ETCD);
    return flags_parse(f, argc, argv, leftover, help, e);
}

/* Each spelling of one command line, and what name and pre-vote become. */
static void spellings_of_go(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS_MAX];
        const char *name;
        bool pre_vote;
        const char *leftover;
    } rows[] = {
        {{NULL}, "default", true, NULL},
        {{"-name", "a"}, "a", true, NULL},
        {{"--name", "a"}, "a", true, NULL},
        {{"--name=a"}, "a", true, NULL},
        {{"-name=a=b"}, "a=b", true, NULL},
        {{"-name="}, "", true, NULL},
        {{"--name", "-dash"}, "-dash", true, NULL},
        {{"--name", "a", "--name", "b"}, "b", true, NULL},
        {{"--pre-vote=false", "--name=a"}, "a", false, NULL},
        {{"--pre-vote=0"}, "default", false, NULL},
        {{"--pre-vote=F"}, "default", false, NULL},
        {{"--pre-vote=false", "--pre-vote"}, "default", true, NULL},
        /* A bare boolean never takes the next word. */
        {{"--pre-vote", "false"}, "default", true, "false"},
        {{"--name=a", "--", "--name=b"}, "a", true, "--name=b"},
        {{"--name=a", "-", "--name=b"}, "a", true, "-"},
        {{"word", "--name=b"}, "default", true, "word"},
        /* Obsolete flags are booleans to the parser and take any value. */
        {{"--v=5", "-vv", "--snapshot", "--name=a"}, "a", true, NULL},
        {{"-test.coverprofile=x"}, "default", true, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flag_values f;
        struct errmsg e;
        const char *leftover = NULL;
        bool help = false;
        assert_int_equal(parse(&f, rows[i].words, &leftover, &help, &e), 0);
        assert_string_equal(f.values[FLAG_name].text, rows[i].name);
        assert_int_equal(f.values[FLAG_pre_vote].v.b, rows[i].pre_vote);
        assert_false(help);
        if (rows[i].leftover == NULL) {
            assert_null(leftover);
        } else {
            assert_string_equal(leftover, rows[i].leftover);
        }
    }
}

static void bad_command_lines_say_what_go_says(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS_MAX];
        const char *text;
    } rows[] = {
        {{"--nosuch"}, "flag provided but not defined: -nosuch"},
        {{"-nosuch=1"}, "flag provided but not defined: -nosuch"},
        {{"---name=a"}, "bad flag syntax: ---name=a"},
        {{"--=a"}, "bad flag syntax: --=a"},
        {{"-=a"}, "bad flag syntax: -=a"},
        {{"--name"}, "flag needs an argument: -name"},
        {{"--pre-vote=maybe"}, "invalid boolean value \"maybe\" for -pre-vote: parse error"},
        {{"--pre-vote="}, "invalid boolean value \"\" for -pre-vote: parse error"},
        {{"--election-timeout", "1s"},
         "invalid value \"1s\" for flag -election-timeout: parse error"},
        {{"--election-timeout=-1"}, "invalid value \"-1\" for flag -election-timeout: parse error"},
        {{"--snapshot-count=99999999999999999999"},
         "invalid value \"99999999999999999999\" for flag -snapshot-count: value out of range"},
        {{"--max-concurrent-streams=4294967296"},
         "invalid value \"4294967296\" for flag -max-concurrent-streams: value out of range"},
        {{"--corrupt-check-time=5"},
         "invalid value \"5\" for flag -corrupt-check-time: parse error"},
        {{"--listen-client-urls=ftp://x:1"},
         "invalid value \"ftp://x:1\" for flag -listen-client-urls: URL scheme must be http, "
         "https, "
         "unix, or unixs: ftp://x:1"},
        {{"--listen-client-urls=http://localhost"},
         "invalid value \"http://localhost\" for flag -listen-client-urls: URL address does not "
         "have "
         "the form \"host:port\": http://localhost"},
        {{"--listen-client-urls=http://localhost:1/x"},
         "invalid value \"http://localhost:1/x\" for flag -listen-client-urls: URL must not "
         "contain a "
         "path: http://localhost:1/x"},
        {{"--feature-gates=Nosuch=true"},
         "invalid value \"Nosuch=true\" for flag -feature-gates: unrecognized feature gate: "
         "Nosuch"},
        {{"--feature-gates=CompactHashCheck"},
         "invalid value \"CompactHashCheck\" for flag -feature-gates: missing bool value for "
         "CompactHashCheck"},
        {{"--feature-gates=CompactHashCheck=2"},
         "invalid value \"CompactHashCheck=2\" for flag -feature-gates: invalid value of "
         "CompactHashCheck=2, want true or false"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flag_values f;
        struct errmsg e;
        const char *leftover = NULL;
        bool help = false;
        assert_int_equal(parse(&f, rows[i].words, &leftover, &help, &e), ERR_INVALID);
        assert_string_equal(e.text, rows[i].text);
    }
}

static void help_ends_parsing(void **state)
{
    (void)state;
    static const char *const words[][WORDS_MAX] = {
        {"-h"}, {"--h"}, {"-help"}, {"--help"}, {"--name=a", "-h", "--nosuch"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct flag_values f;
        struct errmsg e;
        const char *leftover = NULL;
        bool help = false;
        assert_int_equal(parse(&f, words[i], &leftover, &help, &e), 0);
        assert_true(help);
    }
}

static void values_have_types(void **state)
{
    (void)state;
    struct flag_values f;
    struct errmsg e;
    flags_init(&f, KVD_PROFILE_ETCD);
    assert_int_equal(flags_set(&f, FLAG_quota_backend_bytes, "-1", FLAG_FROM_COMMAND, &e), 0);
    assert_int_equal(f.values[FLAG_quota_backend_bytes].v.i, -1);
    assert_int_equal(flags_set(&f, FLAG_snapshot_count, "0x10", FLAG_FROM_COMMAND, &e), 0);
    assert_int_equal(f.values[FLAG_snapshot_count].v.u, 16);
    assert_int_equal(flags_set(&f, FLAG_grpc_keepalive_min_time, "1m30s", FLAG_FROM_COMMAND, &e),
                     0);
    assert_true(f.values[FLAG_grpc_keepalive_min_time].v.i == 90000000000);
    /* A value that does not fit leaves the old one. */
    assert_int_equal(flags_set(&f, FLAG_snapshot_count, "x", FLAG_FROM_COMMAND, &e), ERR_INVALID);
    assert_int_equal(f.values[FLAG_snapshot_count].v.u, 16);
    /* A gate list is taken whole or not at all. */
    assert_int_equal(
        flags_set(&f, FLAG_feature_gates, "InitialCorruptCheck=true,X=true", FLAG_FROM_COMMAND, &e),
        ERR_INVALID);
    assert_false(f.gates[GATE_INITIAL_CORRUPT_CHECK]);
    assert_int_equal(flags_set(&f, FLAG_feature_gates,
                               " InitialCorruptCheck = true , FastLeaseKeepAlive=false",
                               FLAG_FROM_COMMAND, &e),
                     0);
    assert_true(f.gates[GATE_INITIAL_CORRUPT_CHECK]);
    assert_false(f.gates[GATE_FAST_LEASE_KEEP_ALIVE]);
    assert_int_equal(
        flags_set(&f, FLAG_feature_gates, "AllAlpha=true,AllBeta=false", FLAG_FROM_COMMAND, &e), 0);
    assert_true(f.gates[GATE_PRIORITY_REQUEST]);
    assert_false(f.gates[GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER]);
}

static void changed_compares_meanings(void **state)
{
    (void)state;
    struct flag_values f;
    struct errmsg e;
    flags_init(&f, KVD_PROFILE_ETCD);
    for (int i = 0; i < FLAG_COUNT_; i++) {
        assert_false(flags_changed(&f, (enum flag_id)i));
        assert_false(flags_given(&f, (enum flag_id)i));
    }
    static const struct {
        enum flag_id id;
        const char *same;
        const char *other;
    } rows[] = {
        {FLAG_heartbeat_interval, "0x64", "101"},
        {FLAG_pre_vote, "T", "0"},
        {FLAG_compact_hash_check_time, "60s", "61s"},
        {FLAG_quota_backend_bytes, "-0", "1"},
        {FLAG_name, "default", "Default"},
        {FLAG_feature_gates, "CompactHashCheck=false", "CompactHashCheck=true"},
        {FLAG_max_concurrent_streams, "0xffffffff", "1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(flags_set(&f, rows[i].id, rows[i].same, FLAG_FROM_COMMAND, &e), 0);
        assert_true(flags_given(&f, rows[i].id));
        assert_false(flags_changed(&f, rows[i].id));
        assert_int_equal(flags_set(&f, rows[i].id, rows[i].other, FLAG_FROM_COMMAND, &e), 0);
        assert_true(flags_changed(&f, rows[i].id));
    }
}

/* ---- environment -------------------------------------------------------------------------------
 */

static char unknown_names[256];

static void note_unknown(void *data, struct slice name)
{
    (void)data;
    size_t n = strlen(unknown_names);
    snprintf(unknown_names + n, sizeof(unknown_names) - n, "%.*s ", (int)name.len,
             (const char *)name.data);
}

static void environment_names_flags(void **state)
{
    (void)state;
    struct flag_values f;
    struct errmsg e = {""};
    char *const environment[] = {"PATH=/bin",
                                 "ETCD_NAME=a",
                                 "ETCD_MAX_REQUEST_BYTES=2000000",
                                 "ETCD_PRE_VOTE=false",
                                 "ETCD_DATA_DIR=",
                                 "ETCD_VERSION=3",
                                 "ETCD_UNSUPPORTED_ARCH=arm64",
                                 "KVD_SEAL_BYTES=1000000",
                                 "ETCD_SEAL_BYTES=5",
                                 "KVD_NAME=b",
                                 "ETCD_",
                                 NULL};
    flags_init(&f, KVD_PROFILE_ETCD);
    unknown_names[0] = '\0';
    assert_int_equal(flags_environment(&f, environment, note_unknown, NULL, &e), 0);
    assert_string_equal(f.values[FLAG_name].text, "a");
    assert_int_equal(f.values[FLAG_max_request_bytes].v.u, 2000000);
    assert_false(f.values[FLAG_pre_vote].v.b);
    assert_int_equal(f.values[FLAG_seal_bytes].v.u, 1000000);
    assert_int_equal(f.values[FLAG_name].source, FLAG_FROM_ENVIRONMENT);
    /* Empty = unset. */
    assert_int_equal(f.values[FLAG_data_dir].source, FLAG_FROM_DEFAULT);
    assert_string_equal(unknown_names,
                        "ETCD_VERSION ETCD_UNSUPPORTED_ARCH ETCD_SEAL_BYTES KVD_NAME ");
}

static void environment_may_not_meet_the_command_line(void **state)
{
    (void)state;
    struct flag_values f;
    struct errmsg e = {""};
    char *const environment[] = {"ETCD_NAME=a", NULL};
    char *const empty[] = {"ETCD_NAME=", NULL};
    flags_init(&f, KVD_PROFILE_ETCD);
    assert_int_equal(flags_set(&f, FLAG_name, "b", FLAG_FROM_COMMAND, &e), 0);
    assert_int_equal(flags_environment(&f, environment, note_unknown, NULL, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "conflicting environment variable ETCD_NAME"));
    assert_int_equal(flags_environment(&f, empty, note_unknown, NULL, &e), 0);
    assert_string_equal(f.values[FLAG_name].text, "b");
}

static void environment_values_are_checked(void **state)
{
    (void)state;
    struct flag_values f;
    struct errmsg e = {""};
    char *const environment[] = {"ETCD_ELECTION_TIMEOUT=soon", NULL};
    flags_init(&f, KVD_PROFILE_ETCD);
    assert_int_equal(flags_environment(&f, environment, note_unknown, NULL, &e), ERR_INVALID);
    assert_string_equal(e.text, "invalid value \"soon\" for ETCD_ELECTION_TIMEOUT: parse error");
}

/* ---- the table
 * ----------------------------------------------------------------------------------- */

static void profiles_differ_where_stated(void **state)
{
    (void)state;
    assert_string_equal(flag_initial(FLAG_auto_compaction_retention, KVD_PROFILE_ETCD), "0");
    assert_string_equal(flag_initial(FLAG_auto_compaction_retention, KVD_PROFILE_KVD), "1h");
    assert_string_equal(flag_initial(FLAG_alarm_self_clearing, KVD_PROFILE_ETCD), "false");
    assert_string_equal(flag_initial(FLAG_alarm_self_clearing, KVD_PROFILE_KVD), "true");
    int different = 0;
    for (int i = 0; i < FLAG_COUNT_; i++) {
        different += strcmp(flag_initial((enum flag_id)i, KVD_PROFILE_ETCD),
                            flag_initial((enum flag_id)i, KVD_PROFILE_KVD)) != 0;
    }
    assert_int_equal(different, 2);
}

static void names_are_unique_and_found(void **state)
{
    (void)state;
    for (int i = 0; i < FLAG_COUNT_; i++) {
        assert_int_equal(flag_find(slice_str(flag_row((enum flag_id)i)->name)), i);
    }
    assert_int_equal(flag_find(slice_str("nam")), FLAG_COUNT_);
    assert_int_equal(flag_find(slice_str("")), FLAG_COUNT_);
}

/* Every flag of the contract's section 9.2 is known. */
static void all_flags_of_etcd_are_known(void **state)
{
    (void)state;
    static const char names[] =
        "name data-dir wal-dir snapshot-count heartbeat-interval election-timeout "
        "initial-election-tick-advance listen-peer-urls listen-client-urls "
        "listen-client-http-urls max-wals memory-mlock quota-backend-bytes "
        "backend-bbolt-freelist-type backend-batch-interval backend-batch-limit max-txn-ops "
        "max-request-bytes max-concurrent-streams grpc-keepalive-min-time "
        "grpc-keepalive-interval grpc-keepalive-timeout socket-reuse-port "
        "socket-reuse-address enable-grpc-gateway raft-read-timeout raft-write-timeout "
        "feature-gates initial-advertise-peer-urls initial-cluster initial-cluster-state "
        "initial-cluster-token advertise-client-urls discovery-token discovery-endpoints "
        "discovery-dial-timeout discovery-request-timeout discovery-keepalive-time "
        "discovery-keepalive-timeout discovery-insecure-transport "
        "discovery-insecure-skip-tls-verify discovery-cert discovery-key discovery-cacert "
        "discovery-user discovery-password discovery-fallback discovery-srv "
        "discovery-srv-name strict-reconfig-check pre-vote auto-compaction-retention "
        "auto-compaction-mode cert-file key-file client-cert-auth client-cert-file "
        "client-key-file client-crl-file client-cert-allowed-hostname trusted-ca-file "
        "auto-tls peer-cert-file peer-key-file peer-client-cert-auth peer-client-cert-file "
        "peer-client-key-file peer-trusted-ca-file peer-cert-allowed-cn "
        "peer-cert-allowed-hostname peer-auto-tls self-signed-cert-validity peer-crl-file "
        "peer-skip-client-san-verification cipher-suites cors host-whitelist tls-min-version "
        "tls-max-version auth-token bcrypt-cost auth-token-ttl enable-pprof metrics "
        "listen-metrics-urls logger log-outputs log-level log-format enable-log-rotation "
        "log-rotation-config-json warning-unary-request-duration warning-apply-duration "
        "enable-distributed-tracing distributed-tracing-address "
        "distributed-tracing-service-name distributed-tracing-instance-id "
        "distributed-tracing-sampling-rate corrupt-check-time compact-hash-check-time "
        "compaction-batch-limit compaction-sleep-interval watch-progress-notify-interval "
        "bootstrap-defrag-threshold-megabytes max-learners downgrade-check-time "
        "snapshot-catchup-entries force-new-cluster unsafe-no-fsync version config-file "
        "cluster-active-size cluster-remove-delay cluster-sync-interval config force "
        "max-result-buffer max-retry-attempts peer-heartbeat-interval peer-election-timeout "
        "retry-interval snapshot v vv test.coverprofile test.outputdir ";
    int count = 0;
    for (const char *name = names; *name != '\0'; count++) {
        size_t n = strcspn(name, " ");
        assert_int_not_equal(flag_find(slice_of(name, n)), FLAG_COUNT_);
        name += n + 1;
    }
    /* The rest is ours. */
    int ours = 0;
    for (int i = 0; i < FLAG_COUNT_; i++) {
        ours += flag_row((enum flag_id)i)->group == FLAG_GROUP_KVD;
    }
    assert_int_equal(FLAG_COUNT_ - ours, count);
}

static void help_names_every_flag_and_fits_the_screen(void **state)
{
    (void)state;
    struct buf text;
    char name[80];
    buf_init(&text);
    flags_help(&text, KVD_PROFILE_KVD);
    buf_append_byte(&text, '\0');
    assert_false(text.failed);
    for (int i = 0; i < FLAG_COUNT_; i++) {
        snprintf(name, sizeof(name), "--%s", flag_row((enum flag_id)i)->name);
        assert_non_null(strstr((char *)text.data, name));
    }
    assert_non_null(strstr((char *)text.data, "--auto-compaction-retention '1h'"));
    for (const char *line = (char *)text.data; line != NULL && *line != '\0';) {
        size_t n = strcspn(line, "\n");
        assert_true(n <= 110);
        line += n + (line[n] == '\n');
    }
    buf_close(&text);
}

static void variables_are_upper_case(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text);
    flags_variable(FLAG_max_request_bytes, &text);
    buf_append_byte(&text, ' ');
    flags_variable(FLAG_io_mode, &text);
    buf_append_byte(&text, '\0');
    assert_string_equal((char *)text.data, "ETCD_MAX_REQUEST_BYTES KVD_IO_MODE");
    buf_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_of_go),
        cmocka_unit_test(bad_command_lines_say_what_go_says),
        cmocka_unit_test(help_ends_parsing),
        cmocka_unit_test(values_have_types),
        cmocka_unit_test(changed_compares_meanings),
        cmocka_unit_test(environment_names_flags),
        cmocka_unit_test(environment_may_not_meet_the_command_line),
        cmocka_unit_test(environment_values_are_checked),
        cmocka_unit_test(profiles_differ_where_stated),
        cmocka_unit_test(names_are_unique_and_found),
        cmocka_unit_test(all_flags_of_etcd_are_known),
        cmocka_unit_test(help_names_every_flag_and_fits_the_screen),
        cmocka_unit_test(variables_are_upper_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
