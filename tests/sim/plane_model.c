/* plane_model.c - replica sets, pods and deployments as the history's events make them.
 *
 * Always: a replica set never has more pods that are neither ending nor over than it was ever told
 * to have; so no pod is made twice, whoever leads. In the end: everything is as the user wants it.
 */
#include <stdio.h>
#include <string.h>

#include "base/hashmap.h"
#include "plugins/object/object.h"
#include "tests/sim/plane.h"
#include "tests/sim/plugin_check.h"

/* One object, by its key in the store. */
struct thing {
    struct hash_node node;
    enum thing_kind { THING_POD, THING_SET, THING_DEPLOYMENT, THING_ENDPOINTS } kind;
    char name[64];
    char owner[64]; /* POD: uid of its replica set; "" = none */
    bool active;    /* POD: neither ending nor over */
    bool ready;     /* POD: runs, ready */
    bool bound;
    char app[16];                         /* POD: its label */
    char image[32];                       /* POD, DEPLOYMENT: of the first container */
    int64_t replicas, updated, available; /* DEPLOYMENT: in spec; in status */
    bool observed;                        /* DEPLOYMENT: the status is of this spec */
    size_t addresses;                     /* ENDPOINTS */
};

struct replica_set {
    struct hash_node node; /* by uid */
    char name[64];
    char uid[64];
    int64_t max; /* replicas it was ever told to have */
    int64_t active;
};

struct plane_model {
    struct history *history;
    struct hashmap things;
    struct hashmap sets;
    struct arena arena;
    struct plane_counts counts;
};

struct plane_model *plane_model_new(struct history *history)
{
    struct plane_model *p = mem_xzalloc(sizeof(*p));
    p->history = history;
    hashmap_init(&p->things);
    hashmap_init(&p->sets);
    arena_init(&p->arena, 0);
    return p;
}

static void free_all(struct hashmap *m, size_t offset)
{
    size_t bucket = 0;
    for (struct hash_node *n = hashmap_iter(m, &bucket, NULL); n != NULL;) {
        struct hash_node *next = hashmap_iter(m, &bucket, n);
        mem_free((char *)n - offset);
        n = next;
    }
    hashmap_close(m);
}

void plane_model_free(struct plane_model *p)
{
    free_all(&p->things, offsetof(struct thing, node));
    free_all(&p->sets, offsetof(struct replica_set, node));
    arena_close(&p->arena);
    mem_free(p);
}

struct history_event plane_history_event(struct slice key, struct slice value, bool deleted,
                                         int64_t revision)
{
    uint32_t number = PLUGIN_KEYS_END + 1 + (uint32_t)(hash_bytes(key) & 0x3fffffff);
    return (struct history_event){.revision = revision,
                                  .key = number,
                                  .value =
                                      deleted ? 0 : HISTORY_NOT_UNIQUE | hash_bytes(value) >> 1};
}

/* ---- events -------------------------------------------------------------------------------- */

static void text_at(const struct object *o, const char *path, char *out, size_t size)
{
    struct slice s = object_text(o, path);
    snprintf(out, size, "%.*s", (int)s.len, s.len > 0 ? (const char *)s.data : "");
}

/* The hash itself is the identity: 64 bits of a few thousand keys. */
static struct thing *thing_find(const struct plane_model *p, struct slice key)
{
    struct hash_node *n = hashmap_first(&p->things, hash_bytes(key));
    return n != NULL ? (struct thing *)((char *)n - offsetof(struct thing, node)) : NULL;
}

static struct replica_set *set_of(struct plane_model *p, const char *uid)
{
    uint64_t hash = hash_bytes(slice_str(uid));
    struct hash_node *n = hashmap_first(&p->sets, hash);
    if (n != NULL) {
        return (struct replica_set *)((char *)n - offsetof(struct replica_set, node));
    }
    struct replica_set *s = mem_xzalloc(sizeof(*s));
    snprintf(s->uid, sizeof(s->uid), "%s", uid);
    hashmap_insert(&p->sets, &s->node, hash);
    p->counts.replicasets++;
    return s;
}

/* The pod counts, or does not count any more, for its replica set. */
static void count_pod(struct plane_model *p, const struct thing *t, int by, int64_t revision)
{
    if (!t->active || t->owner[0] == '\0') {
        return;
    }
    struct replica_set *s = set_of(p, t->owner);
    s->active += by;
    if (by > 0 && s->active > s->max) {
        history_fail(p->history,
                     "replica set %s has %lld pods at revision %lld, the last one is %s; it was "
                     "never told to have more than %lld",
                     s->name, (long long)s->active, (long long)revision, t->name,
                     (long long)s->max);
    }
}

static const struct value *owner_of(const struct object *o, const char *kind)
{
    const struct value *owners = object_get(o, "metadata.ownerReferences");
    const struct schema_type *type = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    for (size_t i = 0; i < value_len(owners); i++) {
        const struct value *v = &owners->items[i];
        const struct value *yes = value_find(type, v, "controller");
        if (value_is_text(value_find(type, v, "kind"), kind) && yes != NULL && yes->boolean) {
            return value_find(type, v, "uid");
        }
    }
    return NULL;
}

static bool condition_is_true(const struct object *o, const char *name)
{
    const struct value *all = object_get(o, "status.conditions");
    char path[64];
    for (size_t i = 0; i < value_len(all); i++) {
        snprintf(path, sizeof(path), "status.conditions[%zu].type", i);
        if (slice_eq(object_text(o, path), slice_str(name))) {
            snprintf(path, sizeof(path), "status.conditions[%zu].status", i);
            return slice_eq(object_text(o, path), slice_str("True"));
        }
    }
    return false;
}

static void read_pod(struct plane_model *p, const struct object *o, struct thing *t)
{
    struct slice uid = value_slice(owner_of(o, "ReplicaSet"));
    struct slice phase = object_text(o, "status.phase");
    bool over = slice_eq(phase, slice_str("Succeeded")) || slice_eq(phase, slice_str("Failed"));
    bool was_bound = t->bound;
    bool was_ready = t->ready;
    snprintf(t->owner, sizeof(t->owner), "%.*s", (int)uid.len, (const char *)uid.data);
    t->active = !over && object_get(o, "metadata.deletionTimestamp") == NULL;
    t->bound = object_text(o, "spec.nodeName").len > 0;
    t->ready = t->active && slice_eq(phase, slice_str("Running")) && condition_is_true(o, "Ready");
    text_at(o, "metadata.labels[app]", t->app, sizeof(t->app));
    text_at(o, "spec.containers[0].image", t->image, sizeof(t->image));
    p->counts.bound += t->bound && !was_bound;
    p->counts.ready += t->ready && !was_ready;
}

static void read_set(struct plane_model *p, const struct object *o, const struct thing *t)
{
    char uid[64];
    text_at(o, "metadata.uid", uid, sizeof(uid));
    struct replica_set *s = set_of(p, uid);
    int64_t replicas = object_int(o, "spec.replicas", 1);
    snprintf(s->name, sizeof(s->name), "%s", t->name);
    s->max = replicas > s->max ? replicas : s->max;
}

static void read_deployment(const struct object *o, struct thing *t)
{
    t->replicas = object_int(o, "spec.replicas", 1);
    t->updated = object_int(o, "status.updatedReplicas", 0);
    t->available = object_int(o, "status.availableReplicas", 0);
    t->observed =
        object_int(o, "status.observedGeneration", 0) == object_int(o, "metadata.generation", 0) &&
        object_int(o, "status.replicas", 0) == t->replicas &&
        object_get(o, "metadata.deletionTimestamp") == NULL;
    text_at(o, "spec.template.spec.containers[0].image", t->image, sizeof(t->image));
}

static void read_endpoints(const struct object *o, struct thing *t)
{
    char path[64];
    size_t sets = value_len(object_get(o, "subsets"));
    t->addresses = 0;
    for (size_t i = 0; i < sets; i++) {
        snprintf(path, sizeof(path), "subsets[%zu].addresses", i);
        t->addresses += value_len(object_get(o, path));
    }
}

static const struct {
    const char *prefix;
    enum schema_type_id type;
    enum thing_kind kind;
} folders[] = {
    {"/registry/pods/default/", SCHEMA_CORE_V1_POD, THING_POD},
    {"/registry/replicasets/default/", SCHEMA_APPS_V1_REPLICA_SET, THING_SET},
    {"/registry/deployments/default/", SCHEMA_APPS_V1_DEPLOYMENT, THING_DEPLOYMENT},
    {"/registry/services/endpoints/default/", SCHEMA_CORE_V1_ENDPOINTS, THING_ENDPOINTS},
};

static void drop(struct plane_model *p, struct thing *t, int64_t revision)
{
    if (t->kind == THING_POD) {
        count_pod(p, t, -1, revision);
    }
    hashmap_remove(&p->things, &t->node);
    mem_free(t);
}

static void take(struct plane_model *p, struct thing *t, const struct object *o, int64_t revision)
{
    switch (t->kind) {
    case THING_POD:
        count_pod(p, t, -1, revision);
        read_pod(p, o, t);
        count_pod(p, t, 1, revision);
        break;
    case THING_SET:
        read_set(p, o, t);
        break;
    case THING_DEPLOYMENT:
        read_deployment(o, t);
        break;
    case THING_ENDPOINTS:
        read_endpoints(o, t);
        break;
    }
}

void plane_model_event(struct plane_model *p, struct slice key, struct slice value, bool deleted,
                       int64_t revision)
{
    size_t i = 0;
    size_t n = sizeof(folders) / sizeof(folders[0]);
    while (i < n && !slice_starts_with(key, slice_str(folders[i].prefix))) {
        i++;
    }
    p->counts.events++;
    if (i == n) {
        return;
    }
    struct thing *t = thing_find(p, key);
    struct object o;
    struct errmsg e = {""};
    if (deleted) {
        if (t != NULL) {
            drop(p, t, revision);
        }
        return;
    }
    if (object_decode(&o, schema_type(folders[i].type), &p->arena, value, NULL, &e) != 0) {
        history_fail(p->history, "%.*s at revision %lld cannot be read: %s", (int)key.len,
                     (const char *)key.data, (long long)revision, e.text);
    } else {
        if (t == NULL) {
            t = mem_xzalloc(sizeof(*t));
            t->kind = folders[i].kind;
            text_at(&o, "metadata.name", t->name, sizeof(t->name));
            hashmap_insert(&p->things, &t->node, hash_bytes(key));
            p->counts.pods += t->kind == THING_POD;
        }
        take(p, t, &o, revision);
    }
    arena_clear(&p->arena);
}

/* ---- the end ------------------------------------------------------------------------------- */

static bool lacks(char *why, size_t size, const char *what, const char *name)
{
    snprintf(why, size, "%s (%s)", what, name);
    return false;
}

static bool deployment_is_settled(const struct thing *t, char *why, size_t size)
{
    unsigned i = (unsigned)(t->name[1] - '0');
    int64_t wanted = i < PLANE_DEPLOYMENTS ? plane_final_replicas(i) : -1;
    if (t->replicas != wanted || strcmp(t->image, "image:99") != 0) {
        return lacks(why, size, "a deployment is not as the user wants it", t->name);
    }
    if (!t->observed || t->updated != wanted || t->available != wanted) {
        return lacks(why, size, "a deployment's status is not complete", t->name);
    }
    return true;
}

bool plane_model_settled(const struct plane_model *p, char *why, size_t size)
{
    size_t bucket = 0;
    int deployments = 0;
    int pods[PLANE_DEPLOYMENTS] = {0};
    size_t addresses = SIZE_MAX;
    for (struct hash_node *n = hashmap_iter(&p->things, &bucket, NULL); n != NULL;
         n = hashmap_iter(&p->things, &bucket, n)) {
        const struct thing *t = (struct thing *)((char *)n - offsetof(struct thing, node));
        if (t->kind == THING_DEPLOYMENT) {
            deployments++;
            if (!deployment_is_settled(t, why, size)) {
                return false;
            }
        } else if (t->kind == THING_POD) {
            unsigned i = (unsigned)(t->app[1] - '0');
            if (!t->ready || i >= PLANE_DEPLOYMENTS || strcmp(t->image, "image:99") != 0) {
                snprintf(why, size, "pod %s of %s is one too many, or not ready:%s%s%s", t->name,
                         t->image, t->active ? "" : " ending", t->bound ? " bound" : "",
                         t->ready ? " ready" : "");
                return false;
            }
            pods[i]++;
        } else if (t->kind == THING_ENDPOINTS && strcmp(t->name, "s") == 0) {
            addresses = t->addresses;
        }
    }
    for (unsigned i = 0; i < PLANE_DEPLOYMENTS; i++) {
        char name[8];
        snprintf(name, sizeof(name), "d%u", i);
        if (pods[i] != plane_final_replicas(i)) {
            return lacks(why, size, "a deployment has not the pods it should have", name);
        }
    }
    if (deployments != (int)PLANE_DEPLOYMENTS) {
        return lacks(why, size, "a deployment is missing", "d?");
    }
    if (addresses != (size_t)plane_final_replicas(0)) {
        return lacks(why, size, "the endpoints do not list the ready pods", "s");
    }
    return true;
}

struct plane_counts plane_model_counts(const struct plane_model *p)
{
    return p->counts;
}
