/* config_resolve.c - checks across flags, and values in their units; see config_resolve.h. */
#include "kvd/config_resolve.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "base/limits.h"
#include "kvd/url.h"

#define NS_PER_MS 1000000

static const char *config_text(const struct flag_values *f, enum flag_id id)
{
    return f->values[id].text;
}

static bool config_is(const struct flag_values *f, enum flag_id id, const char *word)
{
    return strcmp(f->values[id].text, word) == 0;
}

static bool config_empty(const struct flag_values *f, enum flag_id id)
{
    return config_is(f, id, "");
}

/* ---- validation
 * ---------------------------------------------------------------------------------- */

static int config_validate_bootstrap(const struct flag_values *f, struct errmsg *e)
{
    int ways = (flags_given(f, FLAG_initial_cluster) && !config_empty(f, FLAG_initial_cluster)) +
               !config_empty(f, FLAG_discovery_srv) + !config_empty(f, FLAG_discovery_endpoints);
    if (!config_is(f, FLAG_initial_cluster_state, "new") &&
        !config_is(f, FLAG_initial_cluster_state, "existing")) {
        return errmsg_set(e, ERR_INVALID, "unexpected clusterState \"%s\"",
                          config_text(f, FLAG_initial_cluster_state));
    }
    if (ways > 1) {
        return errmsg_set(e, ERR_INVALID,
                          "multiple discovery or bootstrap flags are set. Choose one of "
                          "\"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"");
    }
    if (config_empty(f, FLAG_discovery_token) != config_empty(f, FLAG_discovery_endpoints)) {
        return errmsg_set(e, ERR_INVALID,
                          "both --discovery-token and --discovery-endpoints must be set");
    }
    return 0;
}

static int config_validate_timing(const struct flag_values *f, struct errmsg *e)
{
    uint64_t heartbeat = f->values[FLAG_heartbeat_interval].v.u;
    uint64_t election = f->values[FLAG_election_timeout].v.u;
    if (heartbeat == 0) {
        return errmsg_set(e, ERR_INVALID, "--heartbeat-interval must be >0 (set to 0ms)");
    }
    if (election == 0) {
        return errmsg_set(e, ERR_INVALID, "--election-timeout must be >0 (set to 0ms)");
    }
    if (heartbeat > election / 5) {
        return errmsg_set(e, ERR_INVALID,
                          "--election-timeout[%llums] should be at least as 5 times as "
                          "--heartbeat-interval[%llums]",
                          (unsigned long long)election, (unsigned long long)heartbeat);
    }
    if (election > ELECTION_MS_MAX) {
        return errmsg_set(e, ERR_INVALID,
                          "--election-timeout[%llums] is too long, and should be set less than "
                          "%ums",
                          (unsigned long long)election, ELECTION_MS_MAX);
    }
    if (f->values[FLAG_compact_hash_check_time].v.i <= 0) {
        return errmsg_set(e, ERR_INVALID, "--compact-hash-check-time must be >0 (set to %s)",
                          config_text(f, FLAG_compact_hash_check_time));
    }
    return 0;
}

/* 0 = empty, 2 = TLS1.2, 3 = TLS1.3, -1 = neither. */
static int config_tls_version(const char *word)
{
    if (*word == '\0') {
        return 0;
    }
    return strcmp(word, "TLS1.2") == 0 ? 2 : strcmp(word, "TLS1.3") == 0 ? 3 : -1;
}

static int config_validate_tls(const struct flag_values *f, struct errmsg *e)
{
    const char *low = config_text(f, FLAG_tls_min_version);
    const char *high = config_text(f, FLAG_tls_max_version);
    int oldest = config_tls_version(low);
    int newest = config_tls_version(high);
    if (oldest < 0 || newest < 0) {
        return errmsg_set(e, ERR_INVALID,
                          "unexpected TLS version \"%s\" (must be one of TLS1.2, "
                          "TLS1.3)",
                          oldest < 0 ? low : high);
    }
    if (newest != 0 && oldest > newest) {
        return errmsg_set(e, ERR_INVALID, "min version (%s) is greater than max version (%s)", low,
                          high);
    }
    if (oldest == 3 && !config_empty(f, FLAG_cipher_suites)) {
        return errmsg_set(e, ERR_INVALID,
                          "cipher suites cannot be configured when only TLS1.3 is enabled");
    }
    if (!config_empty(f, FLAG_peer_cert_allowed_cn) &&
        !config_empty(f, FLAG_peer_cert_allowed_hostname)) {
        return errmsg_set(e, ERR_INVALID,
                          "AllowedCNs and AllowedHostnames are mutually exclusive: "
                          "--peer-cert-allowed-cn=%s, --peer-cert-allowed-hostname=%s",
                          config_text(f, FLAG_peer_cert_allowed_cn),
                          config_text(f, FLAG_peer_cert_allowed_hostname));
    }
    return 0;
}

static int config_validate_words(const struct flag_values *f, struct errmsg *e)
{
    static const struct {
        enum flag_id id;
        const char *words[4];
    } rows[] = {
        {FLAG_metrics, {"basic", "extensive"}},
        {FLAG_logger, {"zap"}},
        {FLAG_io_mode, {"auto", "kaio", "thread"}},
        {FLAG_backend_bbolt_freelist_type, {"map", "array"}},
        {FLAG_discovery_fallback, {"exit", "proxy"}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *const *word = rows[i].words;
        while (*word != NULL && !config_is(f, rows[i].id, *word)) {
            word++;
        }
        if (*word == NULL) {
            return errmsg_set(e, ERR_INVALID, "unknown value \"%s\" of --%s",
                              config_text(f, rows[i].id), flag_row(rows[i].id)->name);
        }
    }
    if (config_empty(f, FLAG_auto_compaction_mode)) {
        return errmsg_set(e, ERR_INVALID, "undefined auto-compaction-mode");
    }
    if (!config_is(f, FLAG_auto_compaction_mode, "periodic") &&
        !config_is(f, FLAG_auto_compaction_mode, "revision")) {
        return errmsg_set(e, ERR_INVALID, "unknown auto-compaction-mode \"%s\"",
                          config_text(f, FLAG_auto_compaction_mode));
    }
    return 0;
}

int config_validate(const struct flag_values *f, struct errmsg *e)
{
    int err = config_validate_bootstrap(f, e);
    if (err == 0) {
        err = config_validate_timing(f, e);
    }
    if (err == 0) {
        err = config_validate_words(f, e);
    }
    if (err == 0) {
        err = config_validate_tls(f, e);
    }
    if (err != 0) {
        return err;
    }
    /* A file that names listeners keeps the default advertised URLs, as etcd's does. */
    if (flags_given(f, FLAG_listen_client_urls) && !flags_given(f, FLAG_advertise_client_urls) &&
        f->values[FLAG_listen_client_urls].source != FLAG_FROM_FILE) {
        return errmsg_set(e, ERR_INVALID,
                          "--advertise-client-urls is required when --listen-client-urls is set "
                          "explicitly");
    }
    if (f->gates[GATE_LEASE_CHECKPOINT_PERSIST] && !f->gates[GATE_LEASE_CHECKPOINT]) {
        return errmsg_set(e, ERR_INVALID,
                          "enabling feature gate LeaseCheckpointPersist requires enabling feature "
                          "gate LeaseCheckpoint");
    }
    return 0;
}

/* ---- logs
 * ---------------------------------------------------------------------------------------- */

static const char *config_copy(struct kvd_config *cfg, const char *text)
{
    return (const char *)arena_dup(&cfg->arena, slice_of(text, strlen(text) + 1)).data;
}

static bool config_listed(const char *const *words, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], word) == 0) {
            return true;
        }
    }
    return false;
}

/* The words of a comma-separated list, NULL-terminated; empty ones are nothing. NULL = no memory.
 */
static const char *const *config_words(struct kvd_config *cfg, const char *list)
{
    size_t most = 2;
    for (const char *p = list; *p != '\0'; p++) {
        most += *p == ',';
    }
    const char **words = arena_zalloc(&cfg->arena, most * sizeof(*words));
    char *rest = (char *)arena_dup(&cfg->arena, slice_of(list, strlen(list) + 1)).data;
    if (words == NULL || rest == NULL) {
        return NULL;
    }
    size_t count = 0;
    for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
        word += strspn(word, " ");
        if (*word != '\0') {
            words[count++] = word;
        }
    }
    return words;
}

static int config_log_outputs(struct kvd_config *cfg, const char *list, struct errmsg *e)
{
    const char **outputs = arena_zalloc(&cfg->arena, LOG_OUTPUTS_MAX * sizeof(*outputs));
    char *copy = (char *)arena_dup(&cfg->arena, slice_of(list, strlen(list) + 1)).data;
    size_t count = 0;
    if (outputs == NULL || copy == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    char *rest = copy;
    for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
        if (*word == '\0' || config_listed(outputs, count, word)) {
            continue;
        }
        if (strcmp(word, "systemd/journal") == 0) {
            return errmsg_set(e, ERR_INVALID,
                              "--log-outputs systemd/journal is not supported yet (see "
                              "docs/status.md); under systemd the journal has stderr");
        }
        if (count == LOG_OUTPUTS_MAX) {
            return errmsg_set(e, ERR_INVALID, "more than %u --log-outputs", LOG_OUTPUTS_MAX);
        }
        outputs[count++] = word;
    }
    if (count == 0) {
        outputs[count++] = "default";
    }
    if (count > 1 && config_listed(outputs, count, "default")) {
        return errmsg_set(e, ERR_INVALID, "multi logoutput for \"default\" is not supported yet");
    }
    cfg->log_outputs = outputs;
    cfg->log_output_count = count;
    return 0;
}

int config_resolve_log(struct kvd_config *cfg, const struct flag_values *f, struct errmsg *e)
{
    enum log_level level;
    if (!log_level_parse(config_text(f, FLAG_log_level), &level)) {
        return errmsg_set(
            e, ERR_INVALID,
            "unknown --log-level \"%s\": use debug, info, warn, error, panic or fatal",
            config_text(f, FLAG_log_level));
    }
    bool json = config_is(f, FLAG_log_format, "json");
    if (!json && !config_is(f, FLAG_log_format, "console")) {
        return errmsg_set(e, ERR_INVALID, "unknown log format: %s, supported values json, console",
                          config_text(f, FLAG_log_format));
    }
    int err = config_log_outputs(cfg, config_text(f, FLAG_log_outputs), e);
    if (err == 0) {
        cfg->log_level = level;
        cfg->log_json = json;
    }
    return err;
}

/* ---- addresses
 * ----------------------------------------------------------------------------------- */

static bool config_is_ip(const char *host)
{
    unsigned char address[16];
    char bare[INET6_ADDRSTRLEN];
    /* A zone (fe80::1%eth0) is part of where to bind. */
    size_t n = strcspn(host, "%");
    if (n >= sizeof(bare)) {
        return false;
    }
    memcpy(bare, host, n);
    bare[n] = '\0';
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, bare, address) == 1;
}

/* The URLs of one flag; `listening` ones must name this machine and a scheme we speak. */
static int config_urls(struct kvd_config *cfg, const struct flag_values *f, enum flag_id id,
                       bool listening, struct kvd_urls *out, struct errmsg *e)
{
    int err = kvd_urls_parse(&cfg->arena, config_text(f, id), out, e);
    if (err != 0) {
        return err;
    }
    for (size_t i = 0; i < out->count; i++) {
        const struct kvd_url *url = &out->urls[i];
        bool named = url->scheme == KVD_HTTP || url->scheme == KVD_HTTPS;
        if (listening && (url->scheme == KVD_HTTPS || url->scheme == KVD_UNIXS)) {
            return errmsg_set(e, ERR_INVALID,
                              "%s in --%s is not supported yet (see docs/status.md)", url->text,
                              flag_row(id)->name);
        }
        if (listening && named && strcmp(url->host, "localhost") != 0 && !config_is_ip(url->host)) {
            return errmsg_set(e, ERR_INVALID, "--%s: expected IP in URL for binding (%s)",
                              flag_row(id)->name, url->text);
        }
        if (!listening && named && *url->host == '\0') {
            return errmsg_set(e, ERR_INVALID,
                              "--%s \"%s\" must be \"host:port\" (unexpected empty host (%s))",
                              flag_row(id)->name, config_text(f, id), url->text);
        }
    }
    return 0;
}

/* A member's URLs out of --initial-cluster "name=url,name=url": those of `name` joined in *own;
 * *others tells whether there are more members. */
static int config_initial_cluster(struct kvd_config *cfg, const char *text, const char *name,
                                  const char **own, bool *others, struct errmsg *e)
{
    size_t n = strlen(text) + 1;
    char *joined = arena_zalloc(&cfg->arena, n);
    char *copy = (char *)arena_dup(&cfg->arena, slice_of(text, n)).data;
    if (joined == NULL || copy == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    *others = false;
    size_t at = 0;
    char *rest = copy;
    for (char *pair = strsep(&rest, ","); pair != NULL; pair = strsep(&rest, ",")) {
        while (*pair == ' ') {
            pair++;
        }
        char *equals = strchr(pair, '=');
        if (equals == NULL || equals == pair) {
            return errmsg_set(e, ERR_INVALID, "--initial-cluster: expected name=URL, not \"%s\"",
                              pair);
        }
        *equals = '\0';
        if (strcmp(pair, name) != 0) {
            *others = true;
            continue;
        }
        at += (size_t)snprintf(joined + at, n - at, "%s%s", at > 0 ? "," : "", equals + 1);
    }
    *own = joined;
    return 0;
}

static int config_check_cluster(struct kvd_config *cfg, const struct flag_values *f,
                                struct errmsg *e)
{
    const char *text = config_text(f, FLAG_initial_cluster);
    const char *own = NULL;
    bool others = false;
    struct kvd_urls urls;
    if (*text == '\0') {
        return 0;
    }
    int err = config_initial_cluster(cfg, text, cfg->name, &own, &others, e);
    if (err != 0) {
        return err;
    }
    if (*own == '\0') {
        return errmsg_set(e, ERR_INVALID,
                          "couldn't find local name \"%s\" in the initial cluster configuration",
                          cfg->name);
    }
    if (others) {
        return errmsg_set(e, ERR_INVALID,
                          "--initial-cluster with more than one member is not supported yet (see "
                          "docs/status.md)");
    }
    err = kvd_urls_parse(&cfg->arena, own, &urls, e);
    if (err != 0) {
        return errmsg_wrap(e, err, "--initial-cluster");
    }
    bool equal = urls.count == cfg->advertise_peer.count;
    for (size_t i = 0; equal && i < urls.count; i++) {
        equal = strcmp(urls.texts[i], cfg->advertise_peer.texts[i]) == 0;
    }
    if (!equal) {
        return errmsg_set(e, ERR_INVALID,
                          "--initial-cluster has %s for this member, --initial-advertise-peer-urls "
                          "has %s: they must be the same",
                          text, config_text(f, FLAG_initial_advertise_peer_urls));
    }
    return 0;
}

static int config_resolve_urls(struct kvd_config *cfg, const struct flag_values *f,
                               struct errmsg *e)
{
    const struct {
        enum flag_id id;
        bool listening;
        struct kvd_urls *out;
    } lists[] = {
        {FLAG_listen_peer_urls, true, &cfg->listen_peer},
        {FLAG_listen_client_urls, true, &cfg->listen_client},
        {FLAG_listen_metrics_urls, true, &cfg->listen_metrics},
        {FLAG_initial_advertise_peer_urls, false, &cfg->advertise_peer},
        {FLAG_advertise_client_urls, false, &cfg->advertise_client},
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        int err = config_urls(cfg, f, lists[i].id, lists[i].listening, lists[i].out, e);
        if (err != 0) {
            return err;
        }
    }
    if (cfg->listen_client.count == 0) {
        return errmsg_set(e, ERR_INVALID, "--listen-client-urls is empty: nobody could connect");
    }
    if (cfg->advertise_peer.count == 0) {
        return errmsg_set(e, ERR_INVALID, "--initial-advertise-peer-urls must not be empty");
    }
    return config_check_cluster(cfg, f, e);
}

/* ---- numbers
 * ------------------------------------------------------------------------------------- */

static int config_bounds(const struct flag_values *f, enum flag_id id, uint64_t value, uint64_t low,
                         uint64_t high, struct errmsg *e)
{
    if (value >= low && value <= high) {
        return 0;
    }
    return errmsg_set(e, ERR_INVALID, "--%s is %s: it must be between %llu and %llu",
                      flag_row(id)->name, config_text(f, id), (unsigned long long)low,
                      (unsigned long long)high);
}

static uint64_t config_ms(const struct flag_values *f, enum flag_id id)
{
    int64_t ns = f->values[id].v.i;
    return ns <= 0 ? 0 : ((uint64_t)ns + NS_PER_MS - 1) / NS_PER_MS;
}

int config_resolve_compaction(struct kvd_config *cfg, const struct flag_values *f, struct errmsg *e)
{
    const char *text = config_text(f, FLAG_auto_compaction_retention);
    uint64_t number = 0;
    int64_t ns = 0;
    bool plain = *text != '\0' && strspn(text, "0123456789") == strlen(text) && strlen(text) < 18;
    for (const char *p = text; plain && *p != '\0'; p++) {
        number = number * 10 + (uint64_t)(*p - '0');
    }
    if (config_is(f, FLAG_auto_compaction_mode, "revision")) {
        cfg->compaction_mode = KVD_COMPACTION_REVISION;
        if (!plain && *text != '\0') {
            return errmsg_set(
                e, ERR_INVALID,
                "--auto-compaction-mode=revision needs --auto-compaction-retention to "
                "be a number of revisions, not \"%s\"",
                text);
        }
        cfg->compaction_revisions = (int64_t)number;
        return 0;
    }
    cfg->compaction_mode = KVD_COMPACTION_PERIODIC;
    if (plain) {
        if (number > COMPACTION_HOURS_MAX) {
            return errmsg_set(e, ERR_INVALID,
                              "--auto-compaction-retention: %s hours is more than %u", text,
                              COMPACTION_HOURS_MAX);
        }
        cfg->compaction_period_ms = number * 3600000;
        return 0;
    }
    if (*text != '\0' && (go_duration_parse(text, &ns) != GO_OK || ns < 0)) {
        return errmsg_set(e, ERR_INVALID,
                          "error parsing CompactionRetention: invalid duration \"%s\"", text);
    }
    cfg->compaction_period_ms = ((uint64_t)ns + NS_PER_MS - 1) / NS_PER_MS;
    return 0;
}

static int config_resolve_raft(struct kvd_config *cfg, const struct flag_values *f,
                               struct errmsg *e)
{
    uint64_t snapshot = f->values[FLAG_snapshot_count].v.u;
    uint64_t segment = f->values[FLAG_log_segment_bytes].v.u;
    cfg->heartbeat_ms = (uint32_t)f->values[FLAG_heartbeat_interval].v.u;
    cfg->election_ms = (uint32_t)f->values[FLAG_election_timeout].v.u;
    cfg->request_timeout_ms = 5000 + 2ull * cfg->election_ms;
    /* Contract L-02, in the order of etcd's integer divisions. */
    uint64_t ticks = cfg->election_ms / cfg->heartbeat_ms;
    cfg->lease_min_ttl_s = (int64_t)((3 * ticks / 2 * cfg->heartbeat_ms + 999) / 1000);
    cfg->snapshot_entries = snapshot == 0 ? 10000 : snapshot;
    cfg->snapshot_catchup_entries = f->values[FLAG_snapshot_catchup_entries].v.u;
    cfg->log_trailing_bytes = f->values[FLAG_log_trailing_bytes].v.u;
    cfg->unsafe_no_fsync = f->values[FLAG_unsafe_no_fsync].v.b;
    cfg->io_mode = config_is(f, FLAG_io_mode, "kaio")     ? KVD_IO_KAIO
                   : config_is(f, FLAG_io_mode, "thread") ? KVD_IO_THREAD
                                                          : KVD_IO_AUTO;
    int err = config_bounds(f, FLAG_log_segment_bytes, segment, LOG_SEGMENT_BYTES_MIN,
                            LOG_SEGMENT_BYTES_MAX, e);
    if (err == 0 && segment % 4096 != 0) {
        err = errmsg_set(e, ERR_INVALID, "--log-segment-bytes must be a multiple of 4096");
    }
    cfg->log_segment_bytes = (uint32_t)segment;
    return err;
}

/* The map must hold the quota, the pages a checkpoint copies before it frees others, and what old
 * readers pin. It is address space, so generosity costs nothing. */
static uint64_t config_map_bytes(int64_t quota)
{
    if (quota <= 0) {
        return MAP_BYTES_UNLIMITED;
    }
    uint64_t wanted =
        (uint64_t)quota > MAP_BYTES_UNLIMITED / 4 ? MAP_BYTES_UNLIMITED : (uint64_t)quota * 4;
    return wanted > MAP_BYTES_DEFAULT ? wanted : MAP_BYTES_DEFAULT;
}

static int config_resolve_store(struct kvd_config *cfg, const struct flag_values *f,
                                void (*warn)(void *data, const char *text), void *data,
                                struct errmsg *e)
{
    int64_t quota = f->values[FLAG_quota_backend_bytes].v.i;
    uint64_t map = f->values[FLAG_map_bytes].v.u;
    cfg->quota_bytes = quota == 0 ? (int64_t)QUOTA_BYTES_DEFAULT : quota < 0 ? -1 : quota;
    if (cfg->quota_bytes > QUOTA_BYTES_ADVISED) {
        warn(data, "--quota-backend-bytes is above 8 GiB, the largest quota that is advised");
    }
    cfg->alarm_self_clearing = f->values[FLAG_alarm_self_clearing].v.b;
    cfg->seal_bytes = f->values[FLAG_seal_bytes].v.u;
    uint64_t seal_ms = config_ms(f, FLAG_seal_interval);
    cfg->seal_ms = (uint32_t)seal_ms;
    cfg->map_bytes = (map != 0 ? map : config_map_bytes(cfg->quota_bytes)) / 65536 * 65536;
    cfg->reserve_bytes = f->values[FLAG_reserve_bytes].v.u;
    int err = config_bounds(f, FLAG_seal_bytes, cfg->seal_bytes, MEMTABLE_SEAL_BYTES_MIN,
                            MEMTABLE_BYTES_MAX / 2, e);
    if (err == 0) {
        err = config_bounds(f, FLAG_seal_interval, seal_ms, 1, 3600000, e);
        if (err != 0) {
            err = errmsg_set(e, ERR_INVALID, "--seal-interval is %s: it must be between 1ms and 1h",
                             config_text(f, FLAG_seal_interval));
        }
    }
    if (err == 0 && map != 0) {
        err = config_bounds(f, FLAG_map_bytes, map, MAP_BYTES_MIN, MAP_BYTES_MAX, e);
    }
    if (err == 0) {
        err = config_bounds(f, FLAG_reserve_bytes, cfg->reserve_bytes, 0, RESERVE_BYTES_MAX, e);
    }
    if (err == 0 && cfg->quota_bytes > 0 && (uint64_t)cfg->quota_bytes > cfg->map_bytes / 2) {
        err = errmsg_set(e, ERR_INVALID,
                         "--quota-backend-bytes must be at most half of --map-bytes (%llu)",
                         (unsigned long long)cfg->map_bytes);
    }
    return err == 0 ? config_resolve_compaction(cfg, f, e) : err;
}

static int config_resolve_requests(struct kvd_config *cfg, const struct flag_values *f,
                                   struct errmsg *e)
{
    uint64_t request = f->values[FLAG_max_request_bytes].v.u;
    uint64_t ops = f->values[FLAG_max_txn_ops].v.u;
    int err = config_bounds(f, FLAG_max_request_bytes, request, 1, REQUEST_BYTES_MAX_CEILING, e);
    if (err == 0) {
        err = config_bounds(f, FLAG_max_txn_ops, ops, 1, UINT32_MAX, e);
    }
    if (err == 0) {
        err = config_bounds(f, FLAG_max_connections, f->values[FLAG_max_connections].v.u, 1,
                            CONNECTIONS_MAX_CEILING, e);
    }
    if (err == 0) {
        err = config_bounds(f, FLAG_max_concurrent_streams,
                            f->values[FLAG_max_concurrent_streams].v.u, 1, UINT32_MAX, e);
    }
    cfg->max_request_bytes = (uint32_t)request;
    cfg->max_txn_ops = (uint32_t)ops;
    cfg->max_connections = (uint32_t)f->values[FLAG_max_connections].v.u;
    cfg->max_concurrent_streams = (uint32_t)f->values[FLAG_max_concurrent_streams].v.u;

    uint64_t progress = config_ms(f, FLAG_watch_progress_notify_interval);
    cfg->progress_notify_ms = progress == 0 ? 600000 : progress < 100 ? 100 : progress;
    uint64_t unary = config_ms(f, FLAG_warning_unary_request_duration);
    cfg->warning_unary_ms = unary == 0 ? 300 : unary;
    cfg->warning_apply_ms = config_ms(f, FLAG_warning_apply_duration);

    /* As etcd hands them to gRPC: 0 leaves gRPC's own defaults, not "off". */
    uint64_t min = config_ms(f, FLAG_grpc_keepalive_min_time);
    uint64_t interval = config_ms(f, FLAG_grpc_keepalive_interval);
    uint64_t timeout = config_ms(f, FLAG_grpc_keepalive_timeout);
    cfg->keepalive_min_ms = min == 0 ? 300000 : min;
    cfg->keepalive_interval_ms = interval == 0 || timeout == 0 ? 7200000 : interval;
    cfg->keepalive_timeout_ms = interval == 0 || timeout == 0 ? 20000 : timeout;
    return err;
}

static int config_resolve_plugins(struct kvd_config *cfg, const struct flag_values *f,
                                  struct errmsg *e)
{
    const char **plugins =
        arena_zalloc(&cfg->arena, (f->plugin_count + 1) * sizeof(cfg->plugins[0]));
    cfg->plugin_dir = config_copy(cfg, config_text(f, FLAG_plugin_dir));
    bool ok = plugins != NULL && cfg->plugin_dir != NULL;
    for (size_t i = 0; ok && i < f->plugin_count; i++) {
        plugins[i] = config_copy(cfg, f->plugins[i]);
        ok = plugins[i] != NULL;
    }
    cfg->plugins = plugins;
    return ok ? 0 : errmsg_set(e, ERR_NOMEM, "out of memory");
}

int config_resolve(struct kvd_config *cfg, const struct flag_values *f,
                   void (*warn)(void *data, const char *text), void *data, struct errmsg *e)
{
    if (config_empty(f, FLAG_name)) {
        return errmsg_set(e, ERR_INVALID, "--name must not be empty");
    }
    cfg->name = config_copy(cfg, config_text(f, FLAG_name));
    cfg->initial_cluster_token = config_copy(cfg, config_text(f, FLAG_initial_cluster_token));
    if (config_empty(f, FLAG_data_dir)) {
        size_t room = strlen(config_text(f, FLAG_name)) + sizeof(".etcd");
        char *dir = arena_alloc(&cfg->arena, room);
        if (dir != NULL) {
            snprintf(dir, room, "%s.%s", config_text(f, FLAG_name),
                     cfg->profile == KVD_PROFILE_ETCD ? "etcd" : "kvd");
        }
        cfg->data_dir = dir;
    } else {
        cfg->data_dir = config_copy(cfg, config_text(f, FLAG_data_dir));
    }
    if (cfg->name == NULL || cfg->initial_cluster_token == NULL || cfg->data_dir == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    int err = config_resolve_urls(cfg, f, e);
    if (err == 0) {
        err = config_resolve_raft(cfg, f, e);
    }
    if (err == 0) {
        err = config_resolve_store(cfg, f, warn, data, e);
    }
    cfg->extensive_metrics = config_is(f, FLAG_metrics, "extensive");
    cfg->cors = config_words(cfg, config_text(f, FLAG_cors));
    cfg->host_whitelist = config_words(cfg, config_text(f, FLAG_host_whitelist));
    if (err == 0 && (cfg->cors == NULL || cfg->host_whitelist == NULL)) {
        err = errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    if (err == 0) {
        err = config_resolve_plugins(cfg, f, e);
    }
    return err == 0 ? config_resolve_requests(cfg, f, e) : err;
}
