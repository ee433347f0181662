/* fuzz_config - settings from hostile sources. Byte 0 picks: even, the rest is a configuration
 * file; odd, it is a command line and an environment (words end at newlines, the environment begins
 * after an empty word). Whatever is accepted resolves to settings within their bounds; whatever is
 * not has a sentence. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "kvd/config.h"
#include "kvd/config_file.h"
#include "kvd/config_resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 64

static void check_settings(const struct kvd_config *c)
{
    FATAL_IF(c->name == NULL || *c->name == '\0', "no name");
    FATAL_IF(c->data_dir == NULL || *c->data_dir == '\0', "no data directory");
    FATAL_IF(c->listen_client.count == 0 || c->listen_client.count > 16, "listeners");
    for (size_t i = 0; i < c->listen_client.count; i++) {
        const struct kvd_url *url = &c->listen_client.urls[i];
        FATAL_IF(url->scheme != KVD_HTTP && url->scheme != KVD_UNIX, "a scheme we do not speak");
        FATAL_IF(url->text != c->listen_client.texts[i] || *url->host == '\0', "half a URL");
    }
    FATAL_IF(c->heartbeat_ms == 0 || c->election_ms < 5 * c->heartbeat_ms ||
                 c->election_ms > ELECTION_MS_MAX,
             "timing");
    FATAL_IF(c->lease_min_ttl_s < 1 || c->lease_min_ttl_s > 75, "least lease");
    FATAL_IF(c->snapshot_entries == 0, "snapshots");
    FATAL_IF(c->quota_bytes == 0 || (c->quota_bytes > 0 && (uint64_t)c->quota_bytes > c->map_bytes),
             "quota");
    FATAL_IF(c->seal_bytes > MEMTABLE_BYTES_MAX || c->seal_ms == 0, "seal");
    FATAL_IF(c->max_request_bytes == 0 || c->max_request_bytes > REQUEST_BYTES_MAX_CEILING,
             "request size");
    FATAL_IF(c->progress_notify_ms < 100, "progress interval");
    FATAL_IF(c->keepalive_interval_ms == 0 || c->keepalive_timeout_ms == 0, "keepalive");
    FATAL_IF(c->log_output_count == 0 || c->log_output_count > LOG_OUTPUTS_MAX, "log outputs");
    FATAL_IF(c->compaction_revisions < 0, "compaction");
}

static void ignore_warning(void *data, const char *text)
{
    (void)data;
    FATAL_IF(*text == '\0', "an empty warning");
}

static void try_file(struct slice contents)
{
    struct flag_values f;
    struct kvd_config cfg = {0};
    struct arena scratch;
    struct errmsg e = {""};
    arena_init(&cfg.arena, 64u << 20);
    arena_init(&scratch, 64u << 20);
    flags_init(&f, KVD_PROFILE_KVD);
    int err = config_file_parse(&f, &scratch, "file", contents, ignore_warning, NULL, &e);
    if (err == 0) {
        err = config_resolve_log(&cfg, &f, &e);
    }
    if (err == 0) {
        err = config_validate(&f, &e);
    }
    if (err == 0) {
        err = config_resolve(&cfg, &f, ignore_warning, NULL, &e);
    }
    if (err == 0) {
        check_settings(&cfg);
    } else {
        FATAL_IF(e.text[0] == '\0', "a refusal without a sentence");
    }
    arena_close(&scratch);
    arena_close(&cfg.arena);
}

/* Words of a copy of the input, in place. */
static void try_words(char *text, size_t len)
{
    char *argv[WORDS_MAX + 2] = {NULL};
    char *environment[WORDS_MAX + 1] = {NULL};
    struct kvd_config cfg;
    struct kvd_warnings warnings;
    struct errmsg e = {""};
    int argc = 0;
    int variables = 0;
    bool in_environment = false;
    /* Files are the other half's subject, and a pipe could be named. */
    if (strstr(text, "config-file") != NULL || strstr(text, "CONFIG_FILE") != NULL) {
        return;
    }
    argv[argc++] = "etcd";
    char *end = text + len;
    for (char *word = text; word < end;) {
        char *stop = memchr(word, '\n', (size_t)(end - word));
        stop = stop != NULL ? stop : end;
        *stop = '\0';
        if (!in_environment && stop == word) {
            in_environment = true;
        } else if (in_environment && variables < WORDS_MAX) {
            environment[variables++] = word;
        } else if (!in_environment && argc < WORDS_MAX) {
            argv[argc++] = word;
        }
        word = stop + 1;
    }
    switch (kvd_config_load(&cfg, argc, argv, environment, &warnings, &e)) {
    case KVD_CONFIG_RUN:
        check_settings(&cfg);
        break;
    case KVD_CONFIG_USAGE:
    case KVD_CONFIG_REFUSED:
        FATAL_IF(e.text[0] == '\0', "a refusal without a sentence");
        break;
    default:
        break;
    }
    FATAL_IF(warnings.count > KVD_CONFIG_WARNINGS_MAX, "warnings");
    kvd_config_close(&cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        try_file(slice_of(data + 1, size - 1));
        return 0;
    }
    char *copy = mem_alloc(size);
    if (copy != NULL) {
        memcpy(copy, data + 1, size - 1);
        copy[size - 1] = '\0';
        try_words(copy, size - 1);
        mem_free(copy);
    }
    return 0;
}
