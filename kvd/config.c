/* config.c - from given values to settings; see config.h.
 *
 * Load: profile from argv[0] -> command line -> file, or environment -> validate (etcd's sentences,
 * F-07) -> refuse by name what is not there yet -> warn of what has no effect -> resolve. Every way
 * out leaves cfg with usable log settings, so that main can say what happened in the form asked
 * for. */
#include "kvd/config.h"

#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "base/limits.h"
#include "kvd/config_file.h"
#include "kvd/config_resolve.h"
#include "kvd/dev.h"
#include "kvd/flags.h"

struct config_loader {
    struct kvd_config *cfg;
    struct arena scratch; /* what a file said; everything that stays is copied by resolving */
    struct kvd_warnings *warnings;
    struct flag_values flags;
};

static void config_warn(void *data, const char *text)
{
    struct config_loader *l = data;
    struct slice copy = arena_dup(&l->cfg->arena, slice_of(text, strlen(text) + 1));
    if (copy.data != NULL && l->warnings->count < KVD_CONFIG_WARNINGS_MAX) {
        l->warnings->texts[l->warnings->count++] = (const char *)copy.data;
    }
}

static void config_unknown_variable(void *data, struct slice name)
{
    char text[256];
    snprintf(text, sizeof(text), "unrecognized environment variable %.*s", (int)name.len,
             (const char *)name.data);
    config_warn(data, text);
}

/* ---- what is refused, what has no effect
 * --------------------------------------------------------- */

static bool config_gate_refused(const struct flag_values *f, enum flag_gate gate)
{
    switch (gate) {
    case GATE_INITIAL_CORRUPT_CHECK:
        return false; /* compares with peers, and a cluster of one has none: nothing to leave out */
    case GATE_FAST_LEASE_KEEP_ALIVE:
    case GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER:
        return false; /* ways to do the same faster */
    default:
        return f->gates[gate];
    }
}

static int config_refuse_unsupported(const struct flag_values *f, struct errmsg *e)
{
    struct errmsg names = {""};
    size_t count = 0;
    size_t at = 0;
    for (int i = 0; i < FLAG_COUNT_; i++) {
        const struct flag_row *row = flag_row((enum flag_id)i);
        if (row->support == FLAG_REFUSED && flags_changed(f, (enum flag_id)i)) {
            int n = snprintf(names.text + at, sizeof(names.text) - at, "%s--%s",
                             count > 0 ? ", " : "", row->name);
            at = at + (size_t)n < sizeof(names.text) ? at + (size_t)n : sizeof(names.text) - 1;
            count++;
        }
    }
    for (int i = 0; i < GATE_COUNT_; i++) {
        if (config_gate_refused(f, (enum flag_gate)i)) {
            int n = snprintf(names.text + at, sizeof(names.text) - at, "%s--feature-gates=%s=true",
                             count > 0 ? ", " : "", flag_gate_name((enum flag_gate)i));
            at = at + (size_t)n < sizeof(names.text) ? at + (size_t)n : sizeof(names.text) - 1;
            count++;
        }
    }
    if (count == 0) {
        return 0;
    }
    return errmsg_set(e, ERR_INVALID, "%.400s %s not supported yet (see docs/status.md)",
                      names.text, count > 1 ? "are" : "is");
}

static void config_warn_idle(struct config_loader *l)
{
    char text[256];
    for (int i = 0; i < FLAG_COUNT_; i++) {
        const struct flag_row *row = flag_row((enum flag_id)i);
        if (row->support == FLAG_IDLE && flags_changed(&l->flags, (enum flag_id)i)) {
            snprintf(text, sizeof(text), "--%s is accepted but has no effect here", row->name);
            config_warn(l, text);
        } else if (row->support == FLAG_OBSOLETE && flags_given(&l->flags, (enum flag_id)i)) {
            snprintf(text, sizeof(text), "--%s is no longer supported - ignoring", row->name);
            config_warn(l, text);
        }
    }
    for (int i = 0; i < GATE_COUNT_; i++) {
        if (l->flags.gates[i] != flag_gate_initial((enum flag_gate)i) &&
            i != GATE_INITIAL_CORRUPT_CHECK) {
            snprintf(text, sizeof(text), "feature gate %s is accepted but has no effect here",
                     flag_gate_name((enum flag_gate)i));
            config_warn(l, text);
        }
    }
}

/* ---- sources ------------------------------------------------------------------------------------
 */

static enum kvd_profile config_profile(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    return strcmp(slash != NULL ? slash + 1 : argv0, "etcd") == 0 ? KVD_PROFILE_ETCD
                                                                  : KVD_PROFILE_KVD;
}

/* The value of ETCD_CONFIG_FILE: looked at first, because it decides whether others count. */
static const char *config_file_variable(char *const *environment)
{
    static const char prefix[] = "ETCD_CONFIG_FILE=";
    const char *value = "";
    for (char *const *entry = environment; *entry != NULL; entry++) {
        if (strncmp(*entry, prefix, sizeof(prefix) - 1) == 0) {
            value = *entry + sizeof(prefix) - 1;
        }
    }
    return value;
}

static int config_from_file(struct config_loader *l, const char *path, struct errmsg *e)
{
    struct kvd_config *cfg = l->cfg;
    bool others = false;
    for (int i = 0; i < FLAG_COUNT_; i++) {
        others = others || (i != FLAG_config_file && flags_given(&l->flags, (enum flag_id)i));
    }
    if (others) {
        config_warn(l, "a configuration file is used: other command line flags and environment "
                       "variables are ignored");
    }
    flags_init(&l->flags, cfg->profile);
    return config_file_load(&l->flags, &l->scratch, path, config_warn, l, e);
}

/* Proxies are programs of their own, hidden behind a first word. */
static bool config_is_subcommand(const char *word)
{
    return strcmp(word, "gateway") == 0 || strcmp(word, "grpc-proxy") == 0;
}

/* Everything between the command line and the result. */
static int config_load_values(struct config_loader *l, char *const *environment, struct errmsg *e)
{
    const char *file = l->flags.values[FLAG_config_file].text;
    if (*file == '\0') {
        file = config_file_variable(environment);
    }
    int err = *file != '\0'
                  ? config_from_file(l, file, e)
                  : flags_environment(&l->flags, environment, config_unknown_variable, l, e);
    if (err == 0) {
        err = dev_settings(l->cfg, &l->flags, e);
    }
    if (err == 0) {
        err = config_resolve_log(l->cfg, &l->flags, e);
    }
    if (err == 0) {
        err = config_validate(&l->flags, e);
    }
    if (err == 0) {
        err = config_refuse_unsupported(&l->flags, e);
    }
    if (err == 0) {
        config_warn_idle(l);
        err = config_resolve(l->cfg, &l->flags, config_warn, l, e);
    }
    return err;
}

enum kvd_config_outcome kvd_config_load(struct kvd_config *cfg, int argc, char *const *argv,
                                        char *const *environment, struct kvd_warnings *warnings,
                                        struct errmsg *e)
{
    static const char *const stderr_only[] = {"stderr"};
    struct config_loader l = {.cfg = cfg, .warnings = warnings};
    memset(cfg, 0, sizeof(*cfg));
    warnings->count = 0;
    arena_init(&cfg->arena, 0);
    cfg->profile = config_profile(argc > 0 ? argv[0] : "");
    cfg->log_level = LOG_INFO;
    cfg->log_json = true;
    cfg->log_outputs = stderr_only;
    cfg->log_output_count = 1;
    flags_init(&l.flags, cfg->profile);

    const char *leftover = NULL;
    bool help = false;
    if (argc > 1 && config_is_subcommand(argv[1])) {
        errmsg_set(e, ERR_INVALID, "%s is not supported yet (see docs/status.md)", argv[1]);
        return KVD_CONFIG_REFUSED;
    }
    if (flags_parse(&l.flags, argc, argv, &leftover, &help, e) != 0) {
        return KVD_CONFIG_USAGE;
    }
    if (help) {
        return KVD_CONFIG_HELP;
    }
    if (leftover != NULL) {
        errmsg_set(e, ERR_INVALID, "\"%s\" is not a valid flag", leftover);
        return KVD_CONFIG_REFUSED;
    }
    if (l.flags.values[FLAG_version].v.b) {
        return KVD_CONFIG_VERSION;
    }
    arena_init(&l.scratch, 0);
    int err = config_load_values(&l, environment, e);
    arena_close(&l.scratch);
    return err == 0 ? KVD_CONFIG_RUN : KVD_CONFIG_REFUSED;
}

void kvd_config_close(struct kvd_config *cfg)
{
    arena_close(&cfg->arena);
}
