/* main.c - kvd: one process, one node.
 *
 * Start: configuration -> logs -> file limit -> server -> signals -> the loop -> READY=1 to the
 * service manager. Stop: a signal -> server stops -> the loop runs dry -> death by that signal. A
 * server that cannot go on ends the process with status 1: nothing acknowledged is at stake, and a
 * restart by the service manager is the best answer. Everything printed is a log line, except help,
 * usage and versions (contract LG-01), and what to type next after --dev. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <uv.h>

#include "base/limits.h"
#include "base/log.h"
#include "kvd/config.h"
#include "kvd/dev.h"
#include "kvd/flags.h"
#include "kvd/notify.h"
#include "kvd/server.h"
#include "kvd/signal.h"
#include "kvd/release.h"
#include "rpc/version.h"
#include "version.h"

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2 };

extern char **environ;

struct kvd_main {
    struct kvd_config config;
    uv_loop_t loop;
    struct stop_signals signals;
    struct kvd_server *server;
    const char *program; /* argv[0] */
    bool stopped;
};

/* ---- texts
 * ---------------------------------------------------------------------------------------- */

static void main_print(FILE *to, const struct buf *text)
{
    fwrite(text->data, 1, text->len, to);
    fflush(to);
}

static int main_help(const struct kvd_config *cfg)
{
    struct buf text;
    buf_init(&text);
    flags_help(&text, cfg->profile);
    main_print(stdout, &text);
    buf_close(&text);
    return 0;
}

static int main_usage(const struct kvd_config *cfg, const char *why)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s\n", why);
    flags_usage(&text, cfg->profile);
    main_print(stderr, &text);
    buf_close(&text);
    return EXIT_USAGE;
}

/* Test harnesses read the first line's version to learn how flags are spelled (F-04), so under
 * etcd's name it is etcd's. */
static int main_version(const struct kvd_config *cfg)
{
    if (cfg->profile == KVD_PROFILE_ETCD) {
        printf("etcd Version: %s\nGit SHA: %s\nGo Version: none (kvd %s is written in C)\n",
               SERVER_VERSION, KVD_GIT_SHA, KVD_VERSION);
    } else {
        printf("kvd Version: %s\netcd API Version: %s\nGit SHA: %s\n", KVD_VERSION, SERVER_VERSION,
               KVD_GIT_SHA);
    }
#if defined(__x86_64__)
    const char *arch = "amd64";
#elif defined(__aarch64__)
    const char *arch = "arm64";
#else
    const char *arch = "unknown";
#endif
    printf(cfg->profile == KVD_PROFILE_ETCD ? "Go OS/Arch: linux/%s\n" : "OS/Arch: linux/%s\n",
           arch);
    return fflush(stdout) == 0 ? 0 : EXIT_REFUSED;
}

/* ---- set-up
 * --------------------------------------------------------------------------------------- */

/* Opens the outputs and applies level and form. false after a log line on stderr. */
static bool main_set_logs(const struct kvd_config *cfg)
{
    int fds[LOG_OUTPUTS_MAX];
    log_set_level(cfg->log_level);
    log_set_json(cfg->log_json);
    for (size_t i = 0; i < cfg->log_output_count; i++) {
        const char *word = cfg->log_outputs[i];
        if (strcmp(word, "stderr") == 0 || strcmp(word, "default") == 0) {
            fds[i] = STDERR_FILENO;
        } else if (strcmp(word, "stdout") == 0) {
            fds[i] = STDOUT_FILENO;
        } else {
            fds[i] = open(word, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
        }
        if (fds[i] < 0) {
            LOG(LOG_ERROR, "cannot open a log output", F_STR("path", word),
                F_STR("error", strerror(errno)));
            return false;
        }
    }
    log_set_outputs(fds, (int)cfg->log_output_count);
    return true;
}

/* Connections are file descriptors, and the usual soft limit of 1024 is soon used up. */
static void main_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The texts of a URL list, comma-separated, for the log. */
static const char *main_urls(struct kvd_config *cfg, const struct kvd_urls *urls)
{
    size_t room = 1;
    size_t at = 0;
    for (size_t i = 0; i < urls->count; i++) {
        room += strlen(urls->texts[i]) + 1;
    }
    char *text = arena_zalloc(&cfg->arena, room);
    for (size_t i = 0; text != NULL && i < urls->count; i++) {
        at += (size_t)snprintf(text + at, room - at, "%s%s", i > 0 ? "," : "", urls->texts[i]);
    }
    return text != NULL ? text : "";
}

static void main_log_start(struct kvd_config *cfg)
{
    struct rlimit files = {0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    LOG(LOG_INFO,
        cfg->profile == KVD_PROFILE_ETCD ? "starting an etcd server (kvd)" : "starting kvd",
        F_STR("kvd-version", KVD_VERSION), F_STR("etcd-version", SERVER_VERSION),
        F_STR("git-sha", KVD_GIT_SHA), F_STR("name", cfg->name), F_STR("data-dir", cfg->data_dir),
        F_UINT("heartbeat-interval", cfg->heartbeat_ms),
        F_UINT("election-timeout", cfg->election_ms),
        F_UINT("snapshot-count", cfg->snapshot_entries),
        F_UINT("snapshot-catchup-entries", cfg->snapshot_catchup_entries),
        F_STR("listen-client-urls", main_urls(cfg, &cfg->listen_client)),
        F_STR("advertise-client-urls", main_urls(cfg, &cfg->advertise_client)),
        F_STR("listen-metrics-urls", main_urls(cfg, &cfg->listen_metrics)),
        F_STR("initial-advertise-peer-urls", main_urls(cfg, &cfg->advertise_peer)),
        F_INT("quota-backend-bytes", cfg->quota_bytes),
        F_UINT("max-request-bytes", cfg->max_request_bytes),
        F_BOOL("alarm-self-clearing", cfg->alarm_self_clearing),
        F_STR("auto-compaction-mode",
              cfg->compaction_mode == KVD_COMPACTION_PERIODIC ? "periodic" : "revision"),
        F_UINT("auto-compaction-period-ms", cfg->compaction_period_ms),
        F_INT("auto-compaction-revisions", cfg->compaction_revisions),
        F_UINT("open-files-limit", (uint64_t)files.rlim_cur), F_INT("pid", getpid()));
    if (cfg->unsafe_no_fsync) {
        LOG(LOG_WARN, "--unsafe-no-fsync: a power cut will lose acknowledged writes");
    }
}

static void main_notify(const char *state)
{
    int err = notify_send(getenv("NOTIFY_SOCKET"), state);
    if (err != 0) {
        LOG(LOG_WARN, "cannot tell the service manager", F_STR("state", state),
            F_STR("error", strerror(err)));
    }
}

/* ---- the server's life
 * --------------------------------------------------------------------------- */

static void main_ready(void *data)
{
    struct kvd_main *m = data;
    if (m->config.dev) {
        struct buf text;
        buf_init(&text);
        dev_banner(&m->config, m->program, &text);
        main_print(stdout, &text);
        buf_close(&text);
    }
    main_notify("READY=1");
}

static void main_fatal(void *data, const char *why)
{
    struct kvd_main *m = data;
    LOG(LOG_FATAL, "the server cannot go on; ending with status 1", F_STR("error", why));
    dev_remove(&m->config);
    /* Threads may be in the middle of anything: no exit handlers, no destructors. */
    _exit(EXIT_REFUSED);
}

static void main_stopped(void *data)
{
    struct kvd_main *m = data;
    m->stopped = true;
    signal_close(&m->signals);
}

static void main_stop(void *data)
{
    struct kvd_main *m = data;
    main_notify("STOPPING=1");
    kvd_server_stop(m->server, main_stopped, m);
}

static int main_run(struct kvd_main *m)
{
    const struct kvd_server_callbacks callbacks = {
        .data = m, .ready = main_ready, .fatal = main_fatal};
    struct errmsg e = {""};
    int err = uv_loop_init(&m->loop);
    if (err != 0) {
        LOG(LOG_ERROR, "could not start", F_STR("error", uv_strerror(err)));
        return EXIT_REFUSED;
    }
    err = kvd_server_start(&m->config, &m->loop, &callbacks, &m->server, &e);
    if (err != 0) {
        LOG(LOG_ERROR, "could not start", F_STR("error", *e.text != '\0' ? e.text : err_text(err)));
        return EXIT_REFUSED;
    }
    /* Until here a signal simply kills: nothing is promised yet, and reading a long log may take a
     * while. */
    err = signal_start(&m->signals, &m->loop, main_stop, m);
    if (err != 0) {
        main_fatal(m, uv_strerror(err));
    }
    uv_run(&m->loop, UV_RUN_DEFAULT);
    if (!m->stopped) {
        main_fatal(m, "the event loop ended by itself");
    }
    if (uv_loop_close(&m->loop) != 0) {
        LOG(LOG_WARN, "handles were left on the event loop");
    }
    int number = m->signals.received;
    dev_remove(&m->config);
    kvd_config_close(&m->config);
    LOG(LOG_INFO, "stopped", F_INT("signal", number));
    signal_die(number);
}

int main(int argc, char **argv)
{
    struct kvd_main m = {.program = argc > 0 ? argv[0] : ""};
    struct kvd_warnings warnings;
    struct errmsg e = {""};
    signal_ignore_pipe();
    enum kvd_config_outcome outcome =
        kvd_config_load(&m.config, argc, argv, environ, &warnings, &e);
    int status = EXIT_REFUSED;
    switch (outcome) {
    case KVD_CONFIG_HELP:
        status = main_help(&m.config);
        break;
    case KVD_CONFIG_VERSION:
        status = main_version(&m.config);
        break;
    case KVD_CONFIG_USAGE:
        status = main_usage(&m.config, e.text);
        break;
    case KVD_CONFIG_REFUSED:
    case KVD_CONFIG_RUN:
        if (!main_set_logs(&m.config)) {
            break;
        }
        for (size_t i = 0; i < warnings.count; i++) {
            LOG(LOG_WARN, warnings.texts[i]);
        }
        if (outcome == KVD_CONFIG_REFUSED) {
            LOG(LOG_ERROR, "failed to verify flags", F_STR("error", e.text));
            break;
        }
        main_raise_files();
        main_log_start(&m.config);
        status = main_run(&m);
        break;
    }
    dev_remove(&m.config);
    kvd_config_close(&m.config);
    return status;
}
