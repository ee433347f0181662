/* flags.c - the table of flags, and values from the command line and the environment; see flags.h.
 */
#include "kvd/flags.h"

#include <ctype.h>
#include <string.h>

#include "base/assert.h"
#include "base/gosyntax.h"
#include "kvd/url.h"

static const char *const flags_initial_kvd[FLAG_COUNT_] = {
#define FLAG(id, name, type, group, support, initial, help)
#define PROFILE(id, initial) [FLAG_##id] = (initial),
#include "kvd/flags.def"
#undef FLAG
#undef PROFILE
};

static const struct flag_row flags_rows[FLAG_COUNT_] = {
#define FLAG(id, name, type, group, support, initial, help) \
    {(name), FLAG_TYPE_##type, FLAG_GROUP_##group, FLAG_##support, (initial), (help)},
#define PROFILE(id, initial)
#include "kvd/flags.def"
#undef FLAG
#undef PROFILE
};

static const struct {
    const char *name;
    bool initial;
    bool beta;
} flags_gates[GATE_COUNT_] = {
    [GATE_COMPACT_HASH_CHECK] = {"CompactHashCheck", false, false},
    [GATE_FAST_LEASE_KEEP_ALIVE] = {"FastLeaseKeepAlive", true, true},
    [GATE_INITIAL_CORRUPT_CHECK] = {"InitialCorruptCheck", false, false},
    [GATE_LEASE_CHECKPOINT] = {"LeaseCheckpoint", false, false},
    [GATE_LEASE_CHECKPOINT_PERSIST] = {"LeaseCheckpointPersist", false, false},
    [GATE_PRIORITY_REQUEST] = {"PriorityRequest", false, false},
    [GATE_SET_MEMBER_LOCAL_ADDR] = {"SetMemberLocalAddr", false, false},
    [GATE_STOP_GRPC_SERVICE_ON_DEFRAG] = {"StopGRPCServiceOnDefrag", false, false},
    [GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER] = {"TxnModeWriteWithSharedBuffer", true, true},
};

const struct flag_row *flag_row(enum flag_id id)
{
    return &flags_rows[id];
}

const char *flag_gate_name(enum flag_gate gate)
{
    return flags_gates[gate].name;
}

bool flag_gate_initial(enum flag_gate gate)
{
    return flags_gates[gate].initial;
}

const char *flag_initial(enum flag_id id, enum kvd_profile profile)
{
    if (profile == KVD_PROFILE_KVD && flags_initial_kvd[id] != NULL) {
        return flags_initial_kvd[id];
    }
    return flags_rows[id].initial;
}

enum flag_id flag_find(struct slice name)
{
    for (int i = 0; i < FLAG_COUNT_; i++) {
        if (slice_eq(slice_str(flags_rows[i].name), name)) {
            return (enum flag_id)i;
        }
    }
    return FLAG_COUNT_;
}

/* ---- values ------------------------------------------------------------------------------------
 */

static int flags_number_error(enum go_result result, struct errmsg *e)
{
    switch (result) {
    case GO_OK:
        return 0;
    case GO_RANGE:
        return errmsg_set(e, ERR_INVALID, "value out of range");
    default:
        return errmsg_set(e, ERR_INVALID, "parse error");
    }
}

static int flags_gate_set(bool gates[GATE_COUNT_], struct slice name, bool on, struct errmsg *e)
{
    bool all_alpha = slice_eq(name, slice_str("AllAlpha"));
    bool all_beta = slice_eq(name, slice_str("AllBeta"));
    bool known = all_alpha || all_beta;
    for (int i = 0; i < GATE_COUNT_; i++) {
        if (slice_eq(name, slice_str(flags_gates[i].name))) {
            gates[i] = on;
            known = true;
        } else if ((all_alpha && !flags_gates[i].beta) || (all_beta && flags_gates[i].beta)) {
            gates[i] = on;
        }
    }
    if (!known) {
        return errmsg_set(e, ERR_INVALID, "unrecognized feature gate: %.*s", (int)name.len,
                          (const char *)name.data);
    }
    return 0;
}

static struct slice flags_trim(const char *start, const char *end)
{
    while (start < end && isspace((unsigned char)*start)) {
        start++;
    }
    while (end > start && isspace((unsigned char)end[-1])) {
        end--;
    }
    return slice_of(start, (size_t)(end - start));
}

/* "A=true,B=false": the whole list is taken or nothing of it. */
static int flags_gates_set(struct flag_values *f, const char *text, struct errmsg *e)
{
    bool gates[GATE_COUNT_];
    memcpy(gates, f->gates, sizeof(gates));
    for (const char *next = text; next != NULL && *text != '\0';) {
        const char *comma = strchr(next, ',');
        const char *end = comma != NULL ? comma : next + strlen(next);
        struct slice pair = flags_trim(next, end);
        next = comma != NULL ? comma + 1 : NULL;
        if (pair.len == 0) {
            continue;
        }
        const char *equals = memchr(pair.data, '=', pair.len);
        if (equals == NULL) {
            return errmsg_set(e, ERR_INVALID, "missing bool value for %.*s", (int)pair.len,
                              (const char *)pair.data);
        }
        struct slice name = flags_trim((const char *)pair.data, equals);
        struct slice value = flags_trim(equals + 1, (const char *)pair.data + pair.len);
        char word[8] = "";
        bool on = false;
        if (value.len < sizeof(word)) {
            memcpy(word, value.data, value.len);
        }
        if (go_bool_parse(word, &on) != GO_OK) {
            return errmsg_set(e, ERR_INVALID, "invalid value of %.*s=%.*s, want true or false",
                              (int)name.len, (const char *)name.data, (int)value.len,
                              (const char *)value.data);
        }
        int err = flags_gate_set(gates, name, on, e);
        if (err != 0) {
            return err;
        }
    }
    memcpy(f->gates, gates, sizeof(gates));
    return 0;
}

static int flags_urls_check(const char *text, struct errmsg *e)
{
    struct arena arena;
    struct kvd_urls urls;
    arena_init(&arena, 0);
    int err = kvd_urls_parse(&arena, text, &urls, e);
    arena_close(&arena);
    return err;
}

static int flags_plugins_add(struct flag_values *f, const char *text, struct errmsg *e)
{
    if (*text == '\0') {
        return 0;
    }
    if (f->plugin_count == PLUGINS_MAX) {
        return errmsg_set(e, ERR_INVALID, "more than %u plugins", PLUGINS_MAX);
    }
    if (strlen(text) > PLUGIN_SPEC_BYTES_MAX) {
        return errmsg_set(e, ERR_INVALID, "longer than %u bytes", PLUGIN_SPEC_BYTES_MAX);
    }
    f->plugins[f->plugin_count++] = text;
    return 0;
}

int flags_set(struct flag_values *f, enum flag_id id, const char *text, enum flag_source source,
              struct errmsg *e)
{
    struct flag_value value = {.text = text, .source = source};
    int err = 0;
    switch (flags_rows[id].type) {
    case FLAG_TYPE_BOOL:
        err = flags_number_error(go_bool_parse(text, &value.v.b), e);
        break;
    case FLAG_TYPE_INT:
        err = flags_number_error(go_int_parse(text, &value.v.i), e);
        break;
    case FLAG_TYPE_UINT:
    case FLAG_TYPE_UINT32:
        err = flags_number_error(go_uint_parse(text, &value.v.u), e);
        if (err == 0 && flags_rows[id].type == FLAG_TYPE_UINT32 && value.v.u > UINT32_MAX) {
            err = flags_number_error(GO_RANGE, e);
        }
        break;
    case FLAG_TYPE_DURATION:
        err = flags_number_error(go_duration_parse(text, &value.v.i), e);
        break;
    case FLAG_TYPE_URLS:
        err = flags_urls_check(text, e);
        break;
    case FLAG_TYPE_GATES:
        err = flags_gates_set(f, text, e);
        break;
    case FLAG_TYPE_PLUGINS:
        err = flags_plugins_add(f, text, e);
        break;
    default:
        break;
    }
    if (err == 0) {
        f->values[id] = value;
    }
    return err;
}

void flags_init(struct flag_values *f, enum kvd_profile profile)
{
    memset(f, 0, sizeof(*f));
    f->profile = profile;
    for (int i = 0; i < GATE_COUNT_; i++) {
        f->gates[i] = flags_gates[i].initial;
    }
    for (int i = 0; i < FLAG_COUNT_; i++) {
        int err = flags_set(f, (enum flag_id)i, flag_initial((enum flag_id)i, profile),
                            FLAG_FROM_DEFAULT, NULL);
        /* An obsolete flag has no type, hence no default that could fail. */
        FATAL_IF(err != 0, "a default in kvd/flags.def does not fit its type");
    }
}

bool flags_given(const struct flag_values *f, enum flag_id id)
{
    return f->values[id].source != FLAG_FROM_DEFAULT;
}

bool flags_changed(const struct flag_values *f, enum flag_id id)
{
    const struct flag_value *value = &f->values[id];
    if (value->source == FLAG_FROM_DEFAULT) {
        return false;
    }
    struct flag_value normal = {.text = flag_initial(id, f->profile)};
    switch (flags_rows[id].type) {
    case FLAG_TYPE_BOOL:
        (void)go_bool_parse(normal.text, &normal.v.b);
        return value->v.b != normal.v.b;
    case FLAG_TYPE_INT:
        (void)go_int_parse(normal.text, &normal.v.i);
        return value->v.i != normal.v.i;
    case FLAG_TYPE_UINT:
    case FLAG_TYPE_UINT32:
        (void)go_uint_parse(normal.text, &normal.v.u);
        return value->v.u != normal.v.u;
    case FLAG_TYPE_DURATION:
        (void)go_duration_parse(normal.text, &normal.v.i);
        return value->v.i != normal.v.i;
    case FLAG_TYPE_GATES:
        for (int i = 0; i < GATE_COUNT_; i++) {
            if (f->gates[i] != flags_gates[i].initial) {
                return true;
            }
        }
        return false;
    default:
        return strcmp(value->text, normal.text) != 0;
    }
}

/* ---- command line ------------------------------------------------------------------------------
 */

/* One flag at argv[*at]. Moves *at behind it. */
static int flags_parse_one(struct flag_values *f, int argc, char *const *argv, int *at, bool *help,
                           struct errmsg *e)
{
    const char *word = argv[(*at)++];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    if (*name == '-' || *name == '=' || *name == '\0') {
        return errmsg_set(e, ERR_INVALID, "bad flag syntax: %s", word);
    }
    const char *equals = strchr(name, '=');
    struct slice key = slice_of(name, equals != NULL ? (size_t)(equals - name) : strlen(name));
    enum flag_id id = flag_find(key);
    if (id == FLAG_COUNT_) {
        if (slice_eq(key, slice_str("help")) || slice_eq(key, slice_str("h"))) {
            *help = true;
            return 0;
        }
        return errmsg_set(e, ERR_INVALID, "flag provided but not defined: -%.*s", (int)key.len,
                          name);
    }
    const struct flag_row *row = flag_row(id);
    const char *value = equals != NULL ? equals + 1 : NULL;
    struct errmsg why = {""};
    if (row->type == FLAG_TYPE_BOOL || row->type == FLAG_TYPE_ANY) {
        /* A bare boolean never takes the next word. */
        value = value != NULL ? value : "true";
        if (flags_set(f, id, value, FLAG_FROM_COMMAND, &why) != 0) {
            return errmsg_set(e, ERR_INVALID, "invalid boolean value \"%s\" for -%s: %s", value,
                              row->name, why.text);
        }
        return 0;
    }
    if (value == NULL) {
        if (*at >= argc) {
            return errmsg_set(e, ERR_INVALID, "flag needs an argument: -%s", row->name);
        }
        value = argv[(*at)++];
    }
    if (flags_set(f, id, value, FLAG_FROM_COMMAND, &why) != 0) {
        return errmsg_set(e, ERR_INVALID, "invalid value \"%s\" for flag -%s: %s", value, row->name,
                          why.text);
    }
    return 0;
}

int flags_parse(struct flag_values *f, int argc, char *const *argv, const char **leftover,
                bool *help, struct errmsg *e)
{
    int at = 1;
    *leftover = NULL;
    *help = false;
    while (at < argc && argv[at][0] == '-' && argv[at][1] != '\0') {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        int err = flags_parse_one(f, argc, argv, &at, help, e);
        if (err != 0 || *help) {
            return err;
        }
    }
    if (at < argc) {
        *leftover = argv[at];
    }
    return 0;
}

/* ---- environment -------------------------------------------------------------------------------
 */

void flags_variable(enum flag_id id, struct buf *out)
{
    const struct flag_row *row = flag_row(id);
    buf_append_str(out, row->group == FLAG_GROUP_KVD ? "KVD_" : "ETCD_");
    for (const char *p = row->name; *p != '\0'; p++) {
        buf_append_byte(out, *p == '-' ? '_' : (uint8_t)toupper((unsigned char)*p));
    }
}

/* Is `name` the variable of this flag? */
static bool flags_variable_is(enum flag_id id, struct slice name)
{
    const struct flag_row *row = flag_row(id);
    struct slice prefix = slice_str(row->group == FLAG_GROUP_KVD ? "KVD_" : "ETCD_");
    size_t n = strlen(row->name);
    if (name.len != prefix.len + n || !slice_starts_with(name, prefix)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char want = row->name[i] == '-' ? '_' : (char)toupper((unsigned char)row->name[i]);
        if ((char)name.data[prefix.len + i] != want) {
            return false;
        }
    }
    return true;
}

static int flags_environment_one(struct flag_values *f, struct slice name, const char *value,
                                 enum flag_id id, struct errmsg *e)
{
    if (f->values[id].source == FLAG_FROM_COMMAND) {
        return errmsg_set(e, ERR_INVALID,
                          "conflicting environment variable %.*s is shadowed by corresponding "
                          "command-line flag (either unset environment variable or disable flag)",
                          (int)name.len, (const char *)name.data);
    }
    struct errmsg why = {""};
    if (flags_set(f, id, value, FLAG_FROM_ENVIRONMENT, &why) != 0) {
        return errmsg_set(e, ERR_INVALID, "invalid value \"%s\" for %.*s: %s", value, (int)name.len,
                          (const char *)name.data, why.text);
    }
    return 0;
}

int flags_environment(struct flag_values *f, char *const *environment,
                      void (*unknown)(void *data, struct slice name), void *data, struct errmsg *e)
{
    for (char *const *entry = environment; *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL) {
            continue;
        }
        struct slice name = slice_of(*entry, (size_t)(equals - *entry));
        if (!slice_starts_with(name, slice_str("ETCD_")) &&
            !slice_starts_with(name, slice_str("KVD_"))) {
            continue;
        }
        int id = 0;
        while (id < FLAG_COUNT_ && !flags_variable_is((enum flag_id)id, name)) {
            id++;
        }
        /* "Print the version and exit" is no setting; with an empty value nothing is set. */
        if (id == FLAG_COUNT_ || id == FLAG_version) {
            unknown(data, name);
        } else if (equals[1] != '\0') {
            int err = flags_environment_one(f, name, equals + 1, (enum flag_id)id, e);
            if (err != 0) {
                return err;
            }
        }
    }
    return 0;
}
