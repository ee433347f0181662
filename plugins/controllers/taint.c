/* taint.c - taints and tolerations. */
#include "plugins/controllers/taint.h"

#include "plugins/controllers/conditions.h"
#include "plugins/object/encode.h"

struct slice taint_text(const struct value *taint, const char *member)
{
    return value_slice(value_find(schema_type(SCHEMA_CORE_V1_TAINT), taint, member));
}

int64_t taint_added_s(const struct value *taint)
{
    const struct value *v = value_find(schema_type(SCHEMA_CORE_V1_TAINT), taint, "timeAdded");
    return v != NULL && v->kind == VALUE_INT ? v->integer : 0;
}

static bool taint_is(const struct value *taint, const char *key, const char *effect)
{
    return slice_eq(taint_text(taint, "key"), slice_str(key)) &&
           (effect == NULL || slice_eq(taint_text(taint, "effect"), slice_str(effect)));
}

const struct value *taint_find(const struct object *node, const char *key, const char *effect)
{
    const struct value *list = object_get(node, "spec.taints");
    for (size_t i = 0; i < value_len(list); i++) {
        if (taint_is(&list->items[i], key, effect)) {
            return &list->items[i];
        }
    }
    return NULL;
}

static struct slice toleration_text(const struct value *t, const char *member)
{
    return value_slice(value_find(schema_type(SCHEMA_CORE_V1_TOLERATION), t, member));
}

bool toleration_tolerates(const struct value *toleration, const struct value *taint)
{
    struct slice effect = toleration_text(toleration, "effect");
    struct slice key = toleration_text(toleration, "key");
    struct slice op = toleration_text(toleration, "operator");
    if (effect.len > 0 && !slice_eq(effect, taint_text(taint, "effect"))) {
        return false;
    }
    if (key.len > 0 && !slice_eq(key, taint_text(taint, "key"))) {
        return false;
    }
    if (slice_eq(op, slice_str("Exists"))) {
        return true;
    }
    return (op.len == 0 || slice_eq(op, slice_str("Equal"))) &&
           slice_eq(toleration_text(toleration, "value"), taint_text(taint, "value"));
}

/* The first toleration that tolerates it counts. False: there is none. */
static bool taint_tolerated(const struct value *tolerations, const struct value *taint,
                            struct taint_verdict *v)
{
    int64_t added = taint_added_s(taint);
    v->started_s = added > v->started_s ? added : v->started_s;
    for (size_t i = 0; i < value_len(tolerations); i++) {
        const struct value *t = &tolerations->items[i];
        if (!toleration_tolerates(t, taint)) {
            continue;
        }
        const struct value *s =
            value_find(schema_type(SCHEMA_CORE_V1_TOLERATION), t, "tolerationSeconds");
        if (s != NULL) {
            int64_t seconds = s->integer < 0 ? 0 : s->integer;
            v->seconds = v->forever || seconds < v->seconds ? seconds : v->seconds;
            v->forever = false;
        }
        return true;
    }
    return false;
}

struct taint_verdict taint_judge(const struct object *node, const struct object *pod)
{
    struct taint_verdict v = {.tolerated = true, .forever = true};
    const struct value *taints = object_get(node, "spec.taints");
    const struct value *tolerations = object_get(pod, "spec.tolerations");
    for (size_t i = 0; i < value_len(taints); i++) {
        const struct value *taint = &taints->items[i];
        if (slice_eq(taint_text(taint, "effect"), slice_str(TAINT_NO_EXECUTE))) {
            v.tainted = true;
            v.tolerated = taint_tolerated(tolerations, taint, &v) && v.tolerated;
        }
    }
    return v;
}

/* ---- changes -------------------------------------------------------------------------------- */

static bool taint_in(const struct taint_id *list, const struct value *taint)
{
    for (; list->key != NULL; list++) {
        if (taint_is(taint, list->key, list->effect)) {
            return true;
        }
    }
    return false;
}

static int taint_append(struct object *o, const struct taint_id *id, int64_t now_s)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TAINT);
    const struct schema_field *fields = schema_fields(t);
    struct value *m;
    int rc = object_append(o, "spec.taints", value_empty(VALUE_MESSAGE), &m);
    struct value members[] = {value_text(slice_str(id->key)), value_text(slice_str(id->effect)),
                              value_int(now_s)};
    static const char *const names[] = {"key", "effect", "timeAdded"};
    for (size_t i = 0; i < 3 && rc == 0; i++) {
        unsigned field = (unsigned)(schema_find(t, slice_str(names[i])) - fields);
        rc = value_set_member(o->arena, m, field, members[i]) == NULL ? ERR_NOMEM : 0;
    }
    return rc;
}

int taint_patch(const struct object *node, const struct taint_id *add,
                const struct taint_id *remove, int64_t now_s, struct arena *a, struct buf *body,
                bool *changed)
{
    struct object o;
    *changed = false;
    int rc = object_copy(node, a, &o);
    if (rc != 0) {
        return rc;
    }
    struct value *list = object_get(&o, "spec.taints");
    for (size_t i = value_len(list); i-- > 0;) {
        if (taint_in(remove, &list->items[i])) {
            value_remove_item(list, i);
            *changed = true;
        }
    }
    for (; add->key != NULL && rc == 0; add++) {
        if (!taint_has(&o, add->key, add->effect)) {
            rc = taint_append(&o, add, now_s);
            *changed = true;
        }
    }
    if (rc != 0 || !*changed) {
        return rc;
    }
    const struct schema_field *f =
        schema_find(schema_type(SCHEMA_CORE_V1_NODE_SPEC), slice_str("taints"));
    struct slice version = object_text(node, "metadata.resourceVersion");
    list = object_get(&o, "spec.taints");
    buf_printf(body, "{\"metadata\":{\"resourceVersion\":\"%.*s\"},\"spec\":{\"taints\":",
               (int)version.len, (const char *)version.data);
    if (value_len(list) == 0) {
        buf_append_str(body, "null");
    } else {
        encode_field(f, list, body);
    }
    buf_append_str(body, "}}");
    return body->failed ? ERR_NOMEM : 0;
}

/* ---- conditions and taints ------------------------------------------------------------------ */

static const struct {
    const char *condition;
    const char *status;
    const char *key;
} taint_causes[] = {
    {"Ready", "False", TAINT_NOT_READY},
    {"Ready", "Unknown", TAINT_UNREACHABLE},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {NULL, NULL, "node.kubernetes.io/unschedulable"}, /* spec.unschedulable */
};
#define TAINT_CAUSES (sizeof taint_causes / sizeof taint_causes[0])

void taint_wanted(const struct object *node, struct taint_id *add, struct taint_id *remove)
{
    _Static_assert(TAINT_CAUSES < TAINT_LIST_MAX, "all fit, and the end");
    for (size_t i = 0; i < TAINT_CAUSES; i++) {
        struct taint_id id = {taint_causes[i].key, TAINT_NO_SCHEDULE};
        bool want = taint_causes[i].condition == NULL
                        ? object_bool(node, "spec.unschedulable", false)
                        : conditions_is(conditions_find(node, taint_causes[i].condition),
                                        taint_causes[i].status);
        bool have = taint_has(node, id.key, id.effect);
        if (want && !have) {
            *add++ = id;
        } else if (!want && have) {
            *remove++ = id;
        }
    }
    *add = (struct taint_id){NULL, NULL};
    *remove = (struct taint_id){NULL, NULL};
}
