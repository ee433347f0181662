/* admit.c - which plugins of admission there are, and when they run. */
#include "plugins/apiserver/admit.h"

#include "plugins/apiserver/admit_pod.h"
#include "plugins/apiserver/remember.h"
#include "plugins/apiserver/stored.h"

bool admit_parse_disabled(const char *text, uint32_t *disabled)
{
    static const struct {
        const char *name;
        uint32_t plugin;
    } plugins[] = {
        {"ServiceAccount", ADMIT_SERVICE_ACCOUNT},
        {"Priority", ADMIT_PRIORITY},
        {"DefaultTolerationSeconds", ADMIT_DEFAULT_TOLERATION_SECONDS},
        {"TaintNodesByCondition", ADMIT_TAINT_NODES_BY_CONDITION},
    };
    *disabled = 0;
    while (*text != 0) {
        size_t n = strcspn(text, "+");
        uint32_t found = 0;
        for (size_t i = 0; i < sizeof plugins / sizeof plugins[0]; i++) {
            found |=
                slice_eq(slice_of(text, n), slice_str(plugins[i].name)) ? plugins[i].plugin : 0;
        }
        if (found == 0) {
            return false;
        }
        *disabled |= found;
        text += n + (text[n] == '+');
    }
    return true;
}

static bool admit_on(const struct exchange *ex, uint32_t plugin)
{
    return !(ex->api->admission_disabled & plugin);
}

static bool is_kind(const struct object *o, enum schema_type_id id)
{
    return o->type == schema_type(id);
}

static bool wants_account(const struct exchange *ex, const struct object *o)
{
    return admit_on(ex, ADMIT_SERVICE_ACCOUNT) && is_kind(o, SCHEMA_CORE_V1_POD) &&
           !admit_pod_is_mirror(o);
}

/* Of pods the class or all of them (one may be the default); of classes all. */
static bool wants_classes(const struct exchange *ex, const struct object *o)
{
    return admit_on(ex, ADMIT_PRIORITY) &&
           (is_kind(o, SCHEMA_CORE_V1_POD) || (is_kind(o, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS) &&
                                               object_bool(o, "globalDefault", false)));
}

bool admit_needs_reads(const struct exchange *ex, const struct object *o)
{
    return wants_account(ex, o) || wants_classes(ex, o);
}

static int admit_get(struct exchange *ex, struct kvp_txn *txn, enum schema_type_id type,
                     struct slice space, struct slice name)
{
    struct buf key;
    buf_init(&key);
    stored_key(schema_type(type), space, name, &key);
    struct kvp_range get = {.size = sizeof get,
                            .flags = name.len > 0 ? 0 : KVP_PREFIX,
                            .key = kvp_bytes_of(key.data, key.len)};
    int rc = key.failed ? KVP_NO_MEMORY : ex->api->host->txn_get(txn, KVP_THEN, &get);
    buf_close(&key);
    return rc;
}

int admit_ask(struct exchange *ex, const struct object *o, struct kvp_txn *txn)
{
    int rc = 0;
    if (wants_account(ex, o)) {
        rc = admit_get(ex, txn, SCHEMA_CORE_V1_SERVICE_ACCOUNT, ex->request.space,
                       admit_pod_account(o));
    }
    if (rc == 0 && wants_classes(ex, o)) {
        rc = admit_get(ex, txn, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS, slice_of("", 0),
                       is_kind(o, SCHEMA_CORE_V1_POD) ? object_text(o, "spec.priorityClassName")
                                                      : slice_of("", 0));
    }
    return rc;
}

/* One row that is remembered, and the guard of it. */
static bool guess_row(struct exchange *ex, enum schema_type_id type, struct slice space,
                      struct slice name, size_t at, struct admit_guess *g)
{
    struct buf key;
    int64_t revision = 0;
    buf_init(&key);
    stored_key(schema_type(type), space, name, &key);
    struct slice copy = key.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&key));
    buf_close(&key);
    if (copy.data == NULL || remember_find(ex->api, schema_type(type), copy, &revision) == NULL) {
        return false;
    }
    g->rows[at] = (struct kvp_row){.key = kvp_of_slice(copy), .mod_revision = revision};
    g->reads[at].rows = &g->rows[at];
    g->reads[at].row_count = 1;
    g->guards[g->guard_count++] = (struct guard){.key = copy, .revision = revision};
    return true;
}

/* No default class: then there is none as long as no class is newer than that. */
static bool guess_no_default(struct exchange *ex, struct admit_guess *g)
{
    struct buf key;
    int64_t revision = remember_when_no_default(ex->api);
    buf_init(&key);
    stored_key(schema_type(SCHEMA_SCHEDULING_V1_PRIORITY_CLASS), slice_of("", 0), slice_of("", 0),
               &key);
    struct slice copy = key.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&key));
    buf_close(&key);
    g->guards[g->guard_count++] = (struct guard){.key = copy, .revision = revision, .all = true};
    return copy.data != NULL && revision > 0;
}

bool admit_guess(struct exchange *ex, const struct object *o, struct admit_guess *g)
{
    size_t at = 0;
    *g = (struct admit_guess){0};
    if (wants_account(ex, o) && !guess_row(ex, SCHEMA_CORE_V1_SERVICE_ACCOUNT, ex->request.space,
                                           admit_pod_account(o), at++, g)) {
        return false;
    }
    if (!wants_classes(ex, o)) {
        return true;
    }
    struct slice name = object_text(o, "spec.priorityClassName");
    return is_kind(o, SCHEMA_CORE_V1_POD) &&
           (name.len > 0
                ? guess_row(ex, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS, slice_of("", 0), name, at, g)
                : guess_no_default(ex, g));
}

void admit_learn(struct exchange *ex, const struct object *o, int64_t revision)
{
    /* A default class would have given the pod its name. */
    if (wants_classes(ex, o) && is_kind(o, SCHEMA_CORE_V1_POD) && !ex->work.away &&
        object_text(o, "spec.priorityClassName").len == 0) {
        remember_no_default(ex->api, revision);
    }
}

/* There is one default class at most. False: answered. */
static bool admit_class(struct exchange *ex, struct object *o, const struct kvp_op_result *classes)
{
    for (size_t i = 0; i < classes->row_count; i++) {
        struct object other;
        struct errmsg e = {.text = ""};
        const struct kvp_row *row = &classes->rows[i];
        if (stored_decode(o->type, slice_of_kvp(row->value), row->mod_revision, &ex->arena, &other,
                          &e) != 0 ||
            !object_bool(&other, "globalDefault", false)) {
            continue;
        }
        struct slice name = object_text(&other, "metadata.name");
        struct status_about about = request_about(&ex->request);
        about.name = object_text(o, "metadata.name");
        if (!slice_eq(name, about.name)) {
            exchange_fail(ex, status_forbidden(&ex->arena, &about,
                                               "PriorityClass %.*s is already marked as default. "
                                               "Only one default can exist",
                                               (int)name.len, (const char *)name.data));
            return false;
        }
    }
    return true;
}

bool admit_create(struct exchange *ex, struct object *o, const struct kvp_op_result *reads,
                  const uint8_t random[ADMIT_RANDOM_BYTES])
{
    int rc = 0;
    if (wants_account(ex, o)) {
        rc = admit_pod_service_account(ex, o, reads++, random);
    } else if (is_kind(o, SCHEMA_CORE_V1_POD) && admit_on(ex, ADMIT_SERVICE_ACCOUNT)) {
        rc = admit_pod_mirror(ex, o);
    }
    if (rc == 0 && is_kind(o, SCHEMA_CORE_V1_NODE) &&
        admit_on(ex, ADMIT_TAINT_NODES_BY_CONDITION)) {
        rc = admit_node_taint(ex->api, o);
    }
    if (rc == 0 && wants_classes(ex, o)) {
        if (!is_kind(o, SCHEMA_CORE_V1_POD)) {
            return admit_class(ex, o, reads);
        }
        rc = admit_pod_priority(ex, o, reads);
    }
    if (rc == 0 && is_kind(o, SCHEMA_CORE_V1_POD) &&
        admit_on(ex, ADMIT_DEFAULT_TOLERATION_SECONDS)) {
        rc = admit_pod_tolerations(ex->api, o);
    }
    if (rc == ERR_NOMEM) {
        exchange_no_memory(ex);
    }
    return rc == 0;
}

int admit_update(struct exchange *ex, struct object *new, const struct object *old)
{
    if (!is_kind(new, SCHEMA_CORE_V1_POD) || ex->request.sub.len > 0) {
        return 0;
    }
    int rc = admit_on(ex, ADMIT_PRIORITY) ? admit_pod_keep_priority(new, old) : 0;
    return rc == 0 && admit_on(ex, ADMIT_DEFAULT_TOLERATION_SECONDS)
               ? admit_pod_tolerations(ex->api, new)
               : rc;
}
