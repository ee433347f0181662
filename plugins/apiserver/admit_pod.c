/* admit_pod.c - accounts, priorities and tolerations of pods, the taint of new nodes. */
#include "plugins/apiserver/admit_pod.h"

#include <stdio.h>

#include "plugins/apiserver/remember.h"
#include "plugins/apiserver/stored.h"

#define TOKEN_FOLDER     "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_VOLUME     "kube-api-access-"
#define ADMIT_PATH_BYTES 64u

static struct status_about admit_about(struct exchange *ex, const struct object *o)
{
    struct status_about about = request_about(&ex->request);
    about.name = object_text(o, "metadata.name");
    if (about.name.len == 0) {
        about.name = object_text(o, "metadata.generateName");
    }
    return about;
}

/* ---- what is added ------------------------------------------------------------------------- */

/* Shared by all objects they were added to: never changed. */
struct admit_parts {
    struct arena arena;
    struct value tolerations[2]; /* not-ready, unreachable */
    struct value taint;
    struct value mount, volume; /* their names are set */
};

#define TOLERATION(key)                                                \
    "{\"key\":\"node.kubernetes.io/" key "\",\"operator\":\"Exists\"," \
    "\"effect\":\"NoExecute\",\"tolerationSeconds\":300}"

static bool part_read(struct admit_parts *parts, enum schema_type_id type, const char *json,
                      struct value *out)
{
    struct errmsg e;
    return decode_json(slice_str(json), schema_type(type), &parts->arena, out, NULL, &e) == 0;
}

bool admit_open(struct apiserver *api)
{
    struct admit_parts *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        return false;
    }
    api->admit_parts = p;
    arena_init(&p->arena, 0);
    return part_read(p, SCHEMA_CORE_V1_TOLERATION, TOLERATION("not-ready"), &p->tolerations[0]) &&
           part_read(p, SCHEMA_CORE_V1_TOLERATION, TOLERATION("unreachable"), &p->tolerations[1]) &&
           part_read(p, SCHEMA_CORE_V1_TAINT,
                     "{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":\"NoSchedule\"}",
                     &p->taint) &&
           part_read(p, SCHEMA_CORE_V1_VOLUME_MOUNT,
                     "{\"readOnly\":true,\"mountPath\":\"" TOKEN_FOLDER "\"}", &p->mount) &&
           part_read(p, SCHEMA_CORE_V1_VOLUME,
                     "{\"projected\":{\"sources\":[{\"serviceAccountToken\":{"
                     "\"expirationSeconds\":3607,\"path\":\"token\"}},{\"configMap\":{\"name\":"
                     "\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},{"
                     "\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{"
                     "\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}],"
                     "\"defaultMode\":420}}",
                     &p->volume);
}

void admit_close(struct apiserver *api)
{
    if (api->admit_parts != NULL) {
        arena_close(&api->admit_parts->arena);
        mem_free(api->admit_parts);
        api->admit_parts = NULL;
    }
}

static int append_part(struct object *o, const char *list, const struct value *part)
{
    struct value copy;
    struct value *unused;
    int rc = value_copy_shared(o->arena, part, &copy);
    return rc == 0 ? object_append(o, list, copy, &unused) : rc;
}

/* The same of one that has a name, which is kept. */
static int append_named(struct object *o, const char *list, enum schema_type_id type,
                        const struct value *part, struct slice name)
{
    const struct schema_type *t = schema_type(type);
    const struct schema_field *f = schema_find(t, slice_str("name"));
    struct value copy;
    struct value *unused;
    int rc = value_copy_shared(o->arena, part, &copy);
    if (rc == 0 && value_set_member(o->arena, &copy, (unsigned)(f - schema_fields(t)),
                                    value_text(name)) == NULL) {
        rc = ERR_NOMEM;
    }
    return rc == 0 ? object_append(o, list, copy, &unused) : rc;
}

/* ---- accounts ------------------------------------------------------------------------------ */

bool admit_pod_is_mirror(const struct object *pod)
{
    return value_map_cget(object_get(pod, "metadata.annotations"), "kubernetes.io/config.mirror") !=
           NULL;
}

int admit_pod_mirror(struct exchange *ex, const struct object *pod)
{
    if (object_text(pod, "spec.serviceAccountName").len == 0) {
        return 0;
    }
    struct status_about about = admit_about(ex, pod);
    exchange_fail(ex, status_forbidden(&ex->arena, &about,
                                       "a mirror pod may not reference service accounts"));
    return ERR_REFUSED;
}

struct slice admit_pod_account(const struct object *pod)
{
    struct slice name = object_text(pod, "spec.serviceAccountName");
    return name.len > 0 ? name : slice_str("default");
}

/* Mounts the volume in each container of the list that has nothing there. *mounted: in some. */
static int mount_token(struct object *pod, const char *list, const struct value *mount,
                       struct slice volume, bool *mounted)
{
    const struct schema_type *mt = schema_type(SCHEMA_CORE_V1_VOLUME_MOUNT);
    size_t n = value_len(object_get(pod, list));
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        char path[ADMIT_PATH_BYTES];
        snprintf(path, sizeof path, "%s[%zu].volumeMounts", list, i);
        const struct value *mounts = object_get(pod, path);
        bool there = false;
        for (size_t k = 0; k < value_len(mounts) && !there; k++) {
            there = value_is_text(value_find(mt, &mounts->items[k], "mountPath"), TOKEN_FOLDER);
        }
        if (!there) {
            rc = append_named(pod, path, SCHEMA_CORE_V1_VOLUME_MOUNT, mount, volume);
            *mounted = true;
        }
    }
    return rc;
}

/* A token of its account, for an hour and again, with what is needed to reach the API server. */
static int add_token(const struct admit_parts *parts, struct object *pod,
                     const uint8_t random[ADMIT_RANDOM_BYTES])
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    char text[sizeof TOKEN_VOLUME - 1 + ADMIT_RANDOM_BYTES];
    const struct schema_type *vt = schema_type(SCHEMA_CORE_V1_VOLUME);
    const struct value *volumes = object_get(pod, "spec.volumes");
    struct slice name = slice_of(text, sizeof text);
    bool there = false;
    bool mounted = false;
    memcpy(text, TOKEN_VOLUME, sizeof TOKEN_VOLUME - 1);
    for (size_t i = 0; i < ADMIT_RANDOM_BYTES; i++) {
        text[sizeof TOKEN_VOLUME - 1 + i] = letters[random[i] % (sizeof letters - 1)];
    }
    for (size_t i = 0; i < value_len(volumes) && !there; i++) {
        struct slice have = value_slice(value_find(vt, &volumes->items[i], "name"));
        if (slice_starts_with(have, slice_str(TOKEN_VOLUME)) && have.len <= sizeof text) {
            name = have;
            there = true;
        }
    }
    name = arena_dup(pod->arena, name);
    if (name.data == NULL) {
        return ERR_NOMEM;
    }
    int rc = mount_token(pod, "spec.initContainers", &parts->mount, name, &mounted);
    rc = rc == 0 ? mount_token(pod, "spec.containers", &parts->mount, name, &mounted) : rc;
    if (rc != 0 || there || !mounted) {
        return rc;
    }
    return append_named(pod, "spec.volumes", SCHEMA_CORE_V1_VOLUME, &parts->volume, name);
}

static int copy_pull_secrets(struct object *pod, const struct object *account)
{
    const struct value *secrets = object_get(account, "imagePullSecrets");
    struct value copy;
    if (value_len(secrets) == 0 || value_len(object_get(pod, "spec.imagePullSecrets")) > 0) {
        return 0;
    }
    int rc = value_copy(pod->arena, secrets, &copy);
    return rc == 0 ? object_set(pod, "spec.imagePullSecrets", copy) : rc;
}

int admit_pod_service_account(struct exchange *ex, struct object *pod,
                              const struct kvp_op_result *account,
                              const uint8_t random[ADMIT_RANDOM_BYTES])
{
    struct object sa;
    struct errmsg e = {.text = ""};
    struct slice name = admit_pod_account(pod);
    struct slice space = ex->request.space;
    if (account->row_count == 0) {
        struct status_about about = admit_about(ex, pod);
        exchange_fail(ex, status_forbidden(&ex->arena, &about,
                                           "error looking up service account %.*s/%.*s: "
                                           "serviceaccount \"%.*s\" not found",
                                           (int)space.len, (const char *)space.data, (int)name.len,
                                           (const char *)name.data, (int)name.len,
                                           (const char *)name.data));
        return ERR_REFUSED;
    }
    int rc = remember_decode(ex, schema_type(SCHEMA_CORE_V1_SERVICE_ACCOUNT), &account->rows[0],
                             &sa, &e);
    if (rc == ERR_INVALID) {
        exchange_fail(ex, status_internal(&ex->arena, "%s", e.text));
        return ERR_REFUSED;
    }
    rc = rc == 0 ? object_set_text(pod, "spec.serviceAccountName", name) : rc;
    rc = rc == 0 ? object_set_text(pod, "spec.serviceAccount", name) : rc;
    rc = rc == 0 ? copy_pull_secrets(pod, &sa) : rc;
    if (rc != 0) {
        return rc;
    }
    bool wanted = object_bool(pod, "spec.automountServiceAccountToken",
                              object_bool(&sa, "automountServiceAccountToken", true));
    return wanted ? add_token(ex->api->admit_parts, pod, random) : 0;
}

/* ---- priorities ---------------------------------------------------------------------------- */

/* The class named, or the default one; *found: there is one. Of several defaults the lowest. 0 or
 * ERR_NOMEM; what cannot be read is no class. */
static int find_class(struct exchange *ex, bool named, const struct kvp_op_result *classes,
                      struct object *out, bool *found)
{
    const struct schema_type *type = schema_type(SCHEMA_SCHEDULING_V1_PRIORITY_CLASS);
    bool few = classes->row_count <= REMEMBER_GOOD;
    *found = false;
    for (size_t i = 0; i < classes->row_count; i++) {
        const struct kvp_row *row = &classes->rows[i];
        struct object one;
        struct errmsg e = {.text = ""};
        int rc = few ? remember_decode(ex, type, row, &one, &e)
                     : stored_decode(type, slice_of_kvp(row->value), row->mod_revision, &ex->arena,
                                     &one, &e);
        if (rc == ERR_NOMEM) {
            return rc;
        }
        if (rc != 0 || (!named && !object_bool(&one, "globalDefault", false))) {
            continue;
        }
        if (!*found || object_int(&one, "value", 0) < object_int(out, "value", 0)) {
            *out = one;
            *found = true;
        }
    }
    return 0;
}

int admit_pod_priority(struct exchange *ex, struct object *pod, const struct kvp_op_result *classes)
{
    struct slice name = object_text(pod, "spec.priorityClassName");
    struct slice policy = slice_str("PreemptLowerPriority");
    struct object class;
    struct status_about about = admit_about(ex, pod);
    bool found;
    int rc = find_class(ex, name.len > 0, classes, &class, &found);
    if (rc != 0) {
        return rc;
    }
    if (!found && name.len > 0) {
        exchange_fail(ex, status_forbidden(&ex->arena, &about,
                                           "no PriorityClass with name %.*s was "
                                           "found",
                                           (int)name.len, (const char *)name.data));
        return ERR_REFUSED;
    }
    int64_t value = found ? object_int(&class, "value", 0) : 0;
    const struct value *given = object_get(pod, "spec.priority");
    if (given != NULL && given->integer != value) {
        exchange_fail(ex, status_forbidden(&ex->arena, &about,
                                           "the integer value of priority (%lld) must not be "
                                           "provided in pod spec; priority admission controller "
                                           "computed %lld from the given PriorityClass name",
                                           (long long)given->integer, (long long)value));
        return ERR_REFUSED;
    }
    struct slice theirs = object_text(pod, "spec.preemptionPolicy");
    if (found && object_text(&class, "preemptionPolicy").len > 0) {
        policy = object_text(&class, "preemptionPolicy");
    }
    if (theirs.len > 0 && !slice_eq(theirs, policy)) {
        exchange_fail(ex, status_forbidden(&ex->arena, &about,
                                           "the string value of PreemptionPolicy (%.*s) must not "
                                           "be provided in pod spec; priority admission controller "
                                           "computed %.*s from the given PriorityClass name",
                                           (int)theirs.len, (const char *)theirs.data,
                                           (int)policy.len, (const char *)policy.data));
        return ERR_REFUSED;
    }
    rc = found
             ? object_set_text(pod, "spec.priorityClassName", object_text(&class, "metadata.name"))
             : 0;
    rc = rc == 0 ? object_set_int(pod, "spec.priority", value) : rc;
    return rc == 0 ? object_set_text(pod, "spec.preemptionPolicy", policy) : rc;
}

int admit_pod_keep_priority(struct object *new, const struct object *old)
{
    static const char *const paths[] = {"spec.priority", "spec.preemptionPolicy"};
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        const struct value *v = object_get(old, paths[i]);
        struct value copy;
        if (v != NULL && object_get(new, paths[i]) == NULL) {
            rc = value_copy(new->arena, v, &copy);
            rc = rc == 0 ? object_set(new, paths[i], copy) : rc;
        }
    }
    return rc;
}

/* ---- tolerations and taints ---------------------------------------------------------------- */

static bool tolerates(const struct object *pod, const char *key)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TOLERATION);
    const struct value *list = object_get(pod, "spec.tolerations");
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice have = value_slice(value_find(t, &list->items[i], "key"));
        struct slice effect = value_slice(value_find(t, &list->items[i], "effect"));
        if ((have.len == 0 || slice_eq(have, slice_str(key))) &&
            (effect.len == 0 || slice_eq(effect, slice_str("NoExecute")))) {
            return true;
        }
    }
    return false;
}

int admit_pod_tolerations(const struct apiserver *api, struct object *pod)
{
    static const char *const keys[] = {"node.kubernetes.io/not-ready",
                                       "node.kubernetes.io/unreachable"};
    bool wanted[2];
    int rc = 0;
    for (size_t i = 0; i < 2; i++) {
        wanted[i] = !tolerates(pod, keys[i]);
    }
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        rc =
            wanted[i] ? append_part(pod, "spec.tolerations", &api->admit_parts->tolerations[i]) : 0;
    }
    return rc;
}

int admit_node_taint(const struct apiserver *api, struct object *node)
{
    static const char key[] = "node.kubernetes.io/not-ready";
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TAINT);
    const struct value *list = object_get(node, "spec.taints");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(t, &list->items[i], "key"), key) &&
            value_is_text(value_find(t, &list->items[i], "effect"), "NoSchedule")) {
            return 0;
        }
    }
    return append_part(node, "spec.taints", &api->admit_parts->taint);
}
