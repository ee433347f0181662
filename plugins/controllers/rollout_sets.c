/* rollout_sets.c - the set of the present template, those of earlier ones, and what is written on
 * them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "plugins/controllers/rollout.h"
#include "plugins/object/encode.h"

#define NAME_BYTES_MAX 253u

/* ---- templates ------------------------------------------------------------------------------ */

static const struct schema_type *rollout_template_type(void)
{
    return schema_type(SCHEMA_CORE_V1_POD_TEMPLATE_SPEC);
}

/* A template without the label, as a shallow copy: what is changed is copied, the rest shared. */
static bool rollout_without_hash(const struct value *template, struct arena *a, struct value *out)
{
    *out = value_empty(VALUE_MESSAGE);
    if (template != NULL && value_copy_shared(a, template, out) != 0) {
        return false;
    }
    struct value *labels = value_at(rollout_template_type(), out, "metadata.labels");
    if (labels != NULL) {
        value_map_remove(labels, slice_str(ROLLOUT_HASH_LABEL));
    }
    return true;
}

bool rollout_same_template(const struct object *d, const struct object *set)
{
    struct arena a;
    struct value x;
    struct value y;
    arena_init(&a, 0);
    bool same = rollout_without_hash(object_get(d, "spec.template"), &a, &x) &&
                rollout_without_hash(object_get(set, "spec.template"), &a, &y) &&
                value_equal(rollout_template_type(), &x, &y);
    arena_close(&a);
    return same;
}

size_t rollout_find_fresh(const struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (rollout_same_template(&r->d, &r->sets[i].o)) {
            return i;
        }
    }
    return r->count;
}

int rollout_hash(const struct object *d, char out[ROLLOUT_HASH_BYTES])
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    struct buf text;
    uint32_t hash = 2166136261u;
    char digits[ROLLOUT_HASH_BYTES + 1];
    buf_init(&text);
    encode_json(rollout_template_type(), object_get(d, "spec.template"), &text);
    if (object_get(d, "status.collisionCount") != NULL) {
        buf_printf(&text, "%" PRId64, object_int(d, "status.collisionCount", 0));
    }
    bool failed = text.failed;
    for (size_t i = 0; i < text.len; i++) {
        hash = (hash ^ text.data[i]) * 16777619u;
    }
    buf_close(&text);
    snprintf(digits, sizeof digits, "%010" PRIu32, hash);
    for (size_t i = 0; i < ROLLOUT_HASH_BYTES; i++) {
        out[i] = letters[(unsigned char)digits[i] % (sizeof letters - 1)];
    }
    return failed ? ERR_NOMEM : 0;
}

/* ---- the new set ---------------------------------------------------------------------------- */

static int rollout_copy_part(struct object *to, const char *to_path, const struct object *from,
                             const char *from_path)
{
    const struct value *v = object_get(from, from_path);
    struct value copy;
    if (v == NULL) {
        return 0;
    }
    int rc = value_copy(to->arena, v, &copy);
    return rc == 0 ? object_set(to, to_path, copy) : rc;
}

static int rollout_fill_fresh(struct rollout *r, struct object *o, struct slice hash)
{
    const struct object *d = &r->d;
    struct slice base = object_text(d, "metadata.name");
    size_t room = NAME_BYTES_MAX - 1 - hash.len;
    char name[NAME_BYTES_MAX + 1];
    snprintf(name, sizeof name, "%.*s-%.*s", (int)(base.len < room ? base.len : room),
             (const char *)base.data, (int)hash.len, (const char *)hash.data);
    int rc = object_set_str(o, "metadata.name", name);
    rc = rc == 0 ? object_set_text(o, "metadata.namespace", object_text(d, "metadata.namespace"))
                 : rc;
    rc = rc == 0 ? rollout_copy_part(o, "spec.template", d, "spec.template") : rc;
    rc = rc == 0 ? rollout_copy_part(o, "spec.selector", d, "spec.selector") : rc;
    rc = rc == 0 ? object_set_text(o, "spec.template.metadata.labels[" ROLLOUT_HASH_LABEL "]", hash)
                 : rc;
    rc = rc == 0 ? object_set_text(o, "spec.selector.matchLabels[" ROLLOUT_HASH_LABEL "]", hash)
                 : rc;
    rc = rc == 0 ? rollout_copy_part(o, "metadata.labels", o, "spec.template.metadata.labels") : rc;
    return rc == 0 ? rollout_copy_part(o, "spec.minReadySeconds", d, "spec.minReadySeconds") : rc;
}

int rollout_make_fresh(struct rollout *r)
{
    char hash[ROLLOUT_HASH_BYTES];
    struct object o;
    int rc = rollout_hash(&r->d, hash);
    rc = rc == 0 ? object_new(&o, schema_type(SCHEMA_APPS_V1_REPLICA_SET), r->arena) : rc;
    rc = rc == 0 ? rollout_fill_fresh(r, &o, slice_of(hash, sizeof hash)) : rc;
    if (rc != 0) {
        return rc;
    }
    r->sets[r->count] = (struct rollout_set){.o = o, .terminating = -1};
    r->fresh = r->count++;
    r->create = true;
    r->sets[r->fresh].want = rollout_fresh_size(r, 0);
    rc = object_set_int(&r->sets[r->fresh].o, "spec.replicas", r->sets[r->fresh].want);
    return rc == 0 ? rollout_sync_revision(r, true) : rc;
}

/* ---- annotations ---------------------------------------------------------------------------- */

static struct slice rollout_annotation(const struct object *o, const char *name)
{
    return value_slice(value_map_cget(object_get(o, "metadata.annotations"), name));
}

bool rollout_number(const struct object *o, const char *annotation, int64_t *out)
{
    struct slice s = rollout_annotation(o, annotation);
    int64_t v = 0;
    if (s.len == 0 || s.len > 18) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }
        v = v * 10 + (s.data[i] - '0');
    }
    *out = v;
    return true;
}

int rollout_annotate(struct object *o, struct slice name, struct slice value, bool *changed)
{
    struct value *map;
    int rc = object_make(o, "metadata.annotations", &map);
    if (rc != 0) {
        return rc;
    }
    const struct value *old = value_map_get(map, name);
    if (old != NULL && slice_eq(value_slice(old), value)) {
        return 0;
    }
    struct slice key = arena_dup(o->arena, name);
    struct slice text = arena_dup(o->arena, value);
    if (key.data == NULL || text.data == NULL ||
        value_map_set(o->arena, map, key, value_text(text)) == NULL) {
        return ERR_NOMEM;
    }
    *changed = true;
    return 0;
}

static int rollout_annotate_number(struct object *o, const char *name, int64_t n, bool *changed)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    return rollout_annotate(o, slice_str(name), slice_str(text), changed);
}

/* What a deployment's annotations do not hand down. */
static bool rollout_is_own(struct slice name)
{
    static const char *const own[] = {ROLLOUT_LAST_APPLIED, ROLLOUT_REVISION, ROLLOUT_HISTORY,
                                      ROLLOUT_DESIRED,      ROLLOUT_MAX,      ROLLOUT_ROLLBACK_TO};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (slice_eq(name, slice_str(own[i]))) {
            return true;
        }
    }
    return false;
}

static int rollout_hand_down(const struct object *d, struct object *set, bool *changed)
{
    const struct value *map = object_get(d, "metadata.annotations");
    int rc = 0;
    for (size_t i = 0; i < value_len(map) && rc == 0; i++) {
        struct slice name = value_map_key(map, i);
        if (!rollout_is_own(name)) {
            rc = rollout_annotate(set, name, value_slice(value_map_at(map, i)), changed);
        }
    }
    return rc;
}

/* A set that is used again: the number it had is remembered, the oldest ones are dropped when the
 * list gets too long. */
static int rollout_remember(struct object *set, struct slice revision, bool *changed)
{
    struct slice list = rollout_annotation(set, ROLLOUT_HISTORY);
    struct buf text;
    buf_init(&text);
    while (list.len > 0 && list.len + revision.len + 1 > ROLLOUT_HISTORY_BYTES_MAX) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t cut = comma == NULL ? list.len : (size_t)(comma - list.data) + 1;
        list = slice_of(list.data + cut, list.len - cut);
    }
    buf_append_slice(&text, list);
    buf_append_str(&text, list.len > 0 ? "," : "");
    buf_append_slice(&text, revision);
    int rc = text.failed
                 ? ERR_NOMEM
                 : rollout_annotate(set, slice_str(ROLLOUT_HISTORY), buf_slice(&text), changed);
    buf_close(&text);
    return rc;
}

/* The new set's revision is above all others'. */
static int rollout_number_fresh(struct rollout *r, struct rollout_set *fresh)
{
    int64_t highest = 0;
    int64_t n;
    int64_t old = 0;
    struct slice text = rollout_annotation(&fresh->o, ROLLOUT_REVISION);
    for (size_t i = 0; i < r->count; i++) {
        if (i != r->fresh && rollout_number(&r->sets[i].o, ROLLOUT_REVISION, &n)) {
            highest = n > highest ? n : highest;
        }
    }
    /* Somebody wrote there what is no number: it is left alone. */
    if (text.len > 0 && !rollout_number(&fresh->o, ROLLOUT_REVISION, &old)) {
        return 0;
    }
    if (old >= highest + 1) {
        return 0;
    }
    int rc = text.len > 0 ? rollout_remember(&fresh->o, text, &fresh->changed) : 0;
    return rc == 0
               ? rollout_annotate_number(&fresh->o, ROLLOUT_REVISION, highest + 1, &fresh->changed)
               : rc;
}

int rollout_note_size(struct rollout *r, struct rollout_set *s)
{
    int32_t wanted = rollout_wanted(r);
    int rc = rollout_annotate_number(&s->o, ROLLOUT_DESIRED, wanted, &s->changed);
    return rc == 0 ? rollout_annotate_number(&s->o, ROLLOUT_MAX,
                                             (int64_t)wanted + rollout_max_surge(r), &s->changed)
                   : rc;
}

int rollout_note_sizes(struct rollout *r)
{
    int rc = 0;
    for (size_t i = 0; i < r->count && rc == 0; i++) {
        bool made = r->create && i == r->fresh;
        if (r->sets[i].want != r->sets[i].was || made) {
            rc = rollout_note_size(r, &r->sets[i]);
        }
    }
    return rc;
}

int rollout_sync_revision(struct rollout *r, bool created)
{
    struct rollout_set *fresh = rollout_fresh(r);
    bool unused = false;
    int64_t ready_s = object_int(&r->d, "spec.minReadySeconds", 0);
    int rc = rollout_hand_down(&r->d, &fresh->o, &fresh->changed);
    rc = rc == 0 ? rollout_number_fresh(r, fresh) : rc;
    if (rc == 0 && object_int(&fresh->o, "spec.minReadySeconds", 0) != ready_s) {
        rc = object_set_int(&fresh->o, "spec.minReadySeconds", ready_s);
        fresh->changed = true;
    }
    struct slice revision = rollout_annotation(&fresh->o, ROLLOUT_REVISION);
    if (rc == 0 && !created) {
        rc = revision.len == 0
                 ? 0
                 : rollout_annotate(&r->d, slice_str(ROLLOUT_REVISION), revision, &unused);
        if (rc == 0 && rollout_has_deadline(&r->d) &&
            rollout_condition_text(&r->d, "Progressing", "type").len == 0) {
            struct slice name = object_text(&fresh->o, "metadata.name");
            char text[300];
            snprintf(text, sizeof text, "Found new replica set \"%.*s\"", (int)name.len,
                     (const char *)name.data);
            rc = rollout_condition(&r->d, "Progressing", "True", "FoundNewReplicaSet",
                                   slice_str(text), r->now_us / 1000000);
        }
    }
    return rc;
}

int rollout_created(struct rollout *r)
{
    struct rollout_set *fresh = rollout_fresh(r);
    struct slice name = object_text(&fresh->o, "metadata.name");
    bool unused = false;
    char text[300];
    int rc = rollout_annotate(&r->d, slice_str(ROLLOUT_REVISION),
                              rollout_annotation(&fresh->o, ROLLOUT_REVISION), &unused);
    if (rc == 0 && rollout_has_deadline(&r->d)) {
        snprintf(text, sizeof text, "Created new replica set \"%.*s\"", (int)name.len,
                 (const char *)name.data);
        rc = rollout_condition(&r->d, "Progressing", "True", "NewReplicaSetCreated",
                               slice_str(text), r->now_us / 1000000);
    }
    return rc;
}

int rollout_create_failed(struct rollout *r, struct slice message)
{
    return rollout_has_deadline(&r->d)
               ? rollout_condition(&r->d, "Progressing", "False", "ReplicaSetCreateError", message,
                                   r->now_us / 1000000)
               : 0;
}

int rollout_collided(struct rollout *r)
{
    return object_set_int(&r->d, "status.collisionCount",
                          object_int(&r->d, "status.collisionCount", 0) + 1);
}

/* ---- history -------------------------------------------------------------------------------- */

static int rollout_by_revision(const void *a, const void *b)
{
    const struct rollout_set *const *x = a;
    const struct rollout_set *const *y = b;
    int64_t m;
    int64_t n;
    if (rollout_number(&(*x)->o, ROLLOUT_REVISION, &m) &&
        rollout_number(&(*y)->o, ROLLOUT_REVISION, &n) && m != n) {
        return m < n ? -1 : 1;
    }
    return *x < *y ? -1 : 1; /* sets lie in the order of their creation */
}

int rollout_clean_up(struct rollout *r)
{
    int64_t limit = object_int(&r->d, "spec.revisionHistoryLimit", INT32_MAX);
    size_t count = 0;
    if (limit == INT32_MAX) {
        return 0;
    }
    struct rollout_set **old = arena_alloc(r->arena, (r->count + 1) * sizeof(struct rollout_set *));
    if (old == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (i != r->fresh && object_get(&r->sets[i].o, "metadata.deletionTimestamp") == NULL) {
            old[count++] = &r->sets[i];
        }
    }
    if ((int64_t)count <= limit) {
        return 0;
    }
    qsort(old, count, sizeof(struct rollout_set *), rollout_by_revision);
    for (size_t i = 0; i < count - (size_t)limit; i++) {
        struct rollout_set *s = old[i];
        bool seen = object_int(&s->o, "metadata.generation", 0) <=
                    object_int(&s->o, "status.observedGeneration", 0);
        s->removed = s->actual == 0 && s->was == 0 && s->want == 0 && seen;
    }
    return 0;
}
