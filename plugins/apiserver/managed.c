/* managed.c - sets of fields as trees in the form of fieldsV1, and their owners.
 *
 * A node is a map from path elements (f:name, k:{"name":"x"}, v:"x") to nodes. A node belongs to
 * the set when it is empty or holds ".". */
#include "plugins/apiserver/managed.h"

#include "base/limits.h"
#include "plugins/apiserver/strategy.h"
#include "plugins/object/encode.h"
#include "plugins/object/metadata.h"
#include "plugins/object/texts.h"

/* Entries of one object made by updates; the oldest beyond these become one. */
#define MANAGED_UPDATES_MAX 10u
/* What a set takes as a text, as a rule. */
#define MANAGED_FIELDS_BYTES 1024u

struct diff {
    struct arena *a;
    bool no_status;   /* the main way owns none of it */
    bool absent_only; /* only what the other lacks; else also what differs */
    bool failed;
};

/* ---- sets ---------------------------------------------------------------------------------- */

static const struct slice dot = {(const uint8_t *)".", 1};

static bool set_has_self(const struct value *node)
{
    return node->len == 0 || value_map_get(node, dot) != NULL;
}

/* A child, made when it is not there; NULL: out of memory. */
static struct value *set_child(struct diff *d, struct value *node, struct slice key)
{
    struct value *child = value_map_reach(d->a, node, key, value_empty(VALUE_MAP));
    d->failed = d->failed || child == NULL;
    return child;
}

static void set_union(struct diff *d, struct value *to, const struct value *from)
{
    struct value added = value_empty(VALUE_MAP);
    for (size_t i = 0; i < from->len; i++) {
        struct slice key = value_map_key(from, i);
        const struct value *theirs = value_map_at(from, i);
        struct value *known = value_map_get(to, key);
        struct value fresh = value_empty(VALUE_MAP);
        struct value *ours = known != NULL ? known : &fresh;
        if (!slice_eq(key, dot)) {
            bool self = set_has_self(theirs) || (known != NULL && set_has_self(known));
            set_union(d, ours, theirs);
            if (self && ours->len > 0) {
                set_child(d, ours, dot);
            }
        }
        if (known == NULL && value_map_push(d->a, &added, key, fresh) == NULL) {
            d->failed = true;
        }
    }
    d->failed = value_map_add(d->a, to, &added) != 0 || d->failed;
}

static void set_subtract(struct value *from, const struct value *what)
{
    /* "." is taken away only where the node itself is, so that no room has to be made for it. */
    for (size_t i = 0; i < what->len; i++) {
        struct slice key = value_map_key(what, i);
        const struct value *theirs = value_map_at(what, i);
        struct value *ours = value_map_get(from, key);
        if (ours == NULL || slice_eq(key, dot)) {
            continue;
        }
        bool self = set_has_self(ours) && !set_has_self(theirs);
        if (!self) {
            value_map_remove(ours, dot);
        }
        set_subtract(ours, theirs);
        if (ours->len == 0 && !self) {
            ours->kind = VALUE_GONE;
        } else if (ours->len == 1 && self && value_map_get(ours, dot) != NULL) {
            value_map_remove(ours, dot);
        }
    }
    value_map_sweep(from);
}

/* ---- differences --------------------------------------------------------------------------- */

static void diff_message(struct diff *d, const struct schema_type *t, const struct value *new,
                         const struct value *old, bool root, struct value *out);

static struct slice diff_key(struct diff *d, const char *prefix, struct slice text)
{
    uint8_t *to = arena_alloc(d->a, text.len + 2);
    if (to == NULL) {
        d->failed = true;
        return slice_of("", 0);
    }
    memcpy(to, prefix, 2);
    memcpy(to + 2, text.data, text.len);
    return slice_of(to, text.len + 2);
}

static bool diff_absent(const struct schema_field *f, const struct value *v)
{
    return v == NULL || (!(f->flags & SCHEMA_FIELD_POINTER) && value_is_zero(v) &&
                         !(f->kind == SCHEMA_MESSAGE && f->shape == SCHEMA_ONE));
}

/* Marks a path as belonging to the set, and adds what is below it. */
static void diff_add(struct diff *d, struct value *out, struct slice key, bool self,
                     const struct value *below)
{
    if (!self && below->len == 0) {
        return;
    }
    struct value *child = set_child(d, out, key);
    if (child != NULL) {
        *child = *below;
        if (self && child->len > 0) {
            set_child(d, child, dot);
        }
    }
}

/* {"name":"x","port":1} of a list's item. */
static struct slice diff_item_key(struct diff *d, const struct schema_field *f,
                                  const struct value *item)
{
    const struct schema_type *t = schema_field_type(f);
    const char *names = schema_text(f, f->list_keys);
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "{");
    while (*names != 0) {
        size_t n = strcspn(names, ",");
        const struct schema_field *kf = schema_find(t, slice_of(names, n));
        const struct value *v =
            kf == NULL ? NULL : value_member(item, (unsigned)(kf - schema_fields(t)));
        if (v != NULL) {
            buf_append_str(&b, b.len > 1 ? "," : "");
            encode_text(slice_of(names, n), &b);
            buf_append_byte(&b, ':');
            encode_field(kf, v, &b);
        }
        names += n + (names[n] == ',');
    }
    buf_append_byte(&b, '}');
    d->failed = d->failed || b.failed;
    struct slice key = b.failed ? slice_of("", 0) : diff_key(d, "k:", buf_slice(&b));
    buf_close(&b);
    return key;
}

/* A list that validation is going to refuse is not looked into. */
static bool diff_is_too_long(const struct schema_field *f, const struct value *list)
{
    return value_len(list) > (f->max_items > 0 ? f->max_items : OBJECT_ITEMS_MAX);
}

/* Where each item of a list is, counted from 1, by key (keyed), or by text. False: failed. */
static bool diff_index(struct diff *d, const struct schema_field *f, const struct value *list,
                       struct texts *out)
{
    if (texts_init(out, d->a, value_len(list)) != 0) {
        d->failed = true;
        return false;
    }
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *item = &list->items[i];
        size_t *number = texts_put(out, f->merge == SCHEMA_MERGE_KEYED ? diff_item_key(d, f, item)
                                                                       : value_slice(item));
        *number = *number == 0 ? i + 1 : *number;
    }
    return true;
}

static void diff_keyed(struct diff *d, const struct schema_field *f, const struct value *new,
                       const struct value *old, struct value *below)
{
    struct texts index;
    if (diff_is_too_long(f, new) || diff_is_too_long(f, old) || !diff_index(d, f, old, &index)) {
        return;
    }
    for (size_t i = 0; i < value_len(new); i++) {
        struct slice key = diff_item_key(d, f, &new->items[i]);
        size_t at = texts_get(&index, key);
        const struct value *twin = at == 0 ? NULL : &old->items[at - 1];
        struct value inner = value_empty(VALUE_MAP);
        diff_message(d, schema_field_type(f), &new->items[i], twin, false, &inner);
        diff_add(d, below, key, twin == NULL, &inner);
    }
}

static void diff_set(struct diff *d, const struct schema_field *f, const struct value *new,
                     const struct value *old, struct value *below)
{
    struct value nothing = value_empty(VALUE_MAP);
    struct texts index;
    if (diff_is_too_long(f, new) || diff_is_too_long(f, old) || !diff_index(d, f, old, &index)) {
        return;
    }
    for (size_t i = 0; i < value_len(new); i++) {
        struct slice text = value_slice(&new->items[i]);
        bool twin = texts_get(&index, text) != 0;
        struct buf b;
        buf_init(&b);
        encode_text(text, &b);
        d->failed = d->failed || b.failed;
        if (!b.failed) {
            diff_add(d, below, diff_key(d, "v:", buf_slice(&b)), !twin, &nothing);
        }
        buf_close(&b);
    }
}

static void diff_map(struct diff *d, const struct value *new, const struct value *old,
                     struct value *below)
{
    struct value nothing = value_empty(VALUE_MAP);
    for (size_t i = 0; i < value_len(new); i++) {
        const struct value *twin = value_map_get(old, value_map_key(new, i));
        bool counts =
            twin == NULL || (!d->absent_only && !value_equal(NULL, value_map_at(new, i), twin));
        diff_add(d, below, diff_key(d, "f:", value_map_key(new, i)), counts, &nothing);
    }
}

static void diff_field(struct diff *d, const struct schema_field *f, const struct value *new,
                       const struct value *old, struct slice key, struct value *out)
{
    const struct schema_type *t = schema_field_type(f);
    bool appeared = diff_absent(f, old);
    struct value below = value_empty(VALUE_MAP);
    if (diff_absent(f, new)) {
        return;
    }
    if (f->kind == SCHEMA_MESSAGE && f->shape == SCHEMA_ONE && !(t->flags & SCHEMA_TYPE_ATOMIC)) {
        diff_message(d, t, new, old, false, &below);
        /* A message counts by its fields; an empty one by itself when it can be absent. */
        diff_add(d, out, key, appeared && below.len == 0 && (f->flags & SCHEMA_FIELD_POINTER) != 0,
                 &below);
    } else if (f->shape == SCHEMA_LIST && f->merge == SCHEMA_MERGE_KEYED && t != NULL) {
        diff_keyed(d, f, new, old, &below);
        diff_add(d, out, key, appeared && !schema_field_always(f), &below);
    } else if (f->shape == SCHEMA_LIST && f->merge == SCHEMA_MERGE_SET) {
        diff_set(d, f, new, old, &below);
        diff_add(d, out, key, appeared && !schema_field_always(f), &below);
    } else if (f->shape == SCHEMA_MAP && f->merge == SCHEMA_MERGE_GRANULAR) {
        diff_map(d, new, old, &below);
        diff_add(d, out, key, appeared && !schema_field_always(f), &below);
    } else {
        diff_add(d, out, key, appeared || (!d->absent_only && !value_equal_field(f, new, old)),
                 &below);
    }
}

/* What nobody owns. */
static bool diff_is_unowned(const char *name)
{
    static const char *const names[] = {"name",
                                        "namespace",
                                        "creationTimestamp",
                                        "selfLink",
                                        "uid",
                                        "generation",
                                        "managedFields",
                                        "resourceVersion",
                                        "deletionTimestamp",
                                        "deletionGracePeriodSeconds"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void diff_message(struct diff *d, const struct schema_type *t, const struct value *new,
                         const struct value *old, bool root, struct value *out)
{
    const struct schema_field *fields = schema_fields(t);
    bool meta = t == schema_type(SCHEMA_META_V1_OBJECT_META);
    for (size_t i = 0; i < value_len(new); i++) {
        const struct schema_field *f = fields + new->items[i].field;
        const char *name = schema_field_name(f);
        if ((root && f->number == 0) || (meta && diff_is_unowned(name)) ||
            (root && d->no_status && strcmp(name, "status") == 0)) {
            continue;
        }
        diff_field(d, f, &new->items[i], value_member(old, new->items[i].field),
                   diff_key(d, "f:", slice_str(name)), out);
    }
}

/* ---- owners -------------------------------------------------------------------------------- */

static struct slice entry_text(const struct value *entry, const char *name)
{
    return value_slice(value_find(schema_type(SCHEMA_META_V1_MANAGED_FIELDS_ENTRY), entry, name));
}

static int entry_set(struct object *o, struct value *entry, const char *name, struct value v)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_MANAGED_FIELDS_ENTRY);
    const struct schema_field *f = schema_find(t, slice_str(name));
    return value_set_member(o->arena, entry, (unsigned)(f - schema_fields(t)), v) == NULL
               ? ERR_NOMEM
               : 0;
}

/* Writes a set into an entry. */
static int entry_set_fields(struct object *o, struct value *entry, const struct value *set)
{
    struct buf b;
    buf_init(&b);
    buf_reserve(&b, MANAGED_FIELDS_BYTES);
    encode_json(NULL, set, &b);
    struct slice copy = b.failed ? slice_of(NULL, 0) : arena_dup(o->arena, buf_slice(&b));
    buf_close(&b);
    if (copy.data == NULL) {
        return ERR_NOMEM;
    }
    struct value raw = value_text(copy);
    raw.kind = VALUE_RAW;
    return entry_set(o, entry, "fieldsV1", raw);
}

static int entry_fields(struct diff *d, const struct value *entry, struct value *set)
{
    struct errmsg e;
    *set = value_empty(VALUE_MAP);
    struct slice raw = entry_text(entry, "fieldsV1");
    struct value v;
    int rc = raw.len == 0 ? ERR_INVALID : decode_json(raw, NULL, d->a, &v, NULL, &e);
    if (rc == 0 && v.kind == VALUE_MAP) {
        *set = v;
    }
    return rc == ERR_NOMEM ? rc : 0;
}

static bool entry_is(const struct value *entry, struct slice manager, struct slice version,
                     struct slice sub)
{
    return slice_eq(entry_text(entry, "manager"), manager) &&
           slice_eq(entry_text(entry, "operation"), slice_str("Update")) &&
           slice_eq(entry_text(entry, "apiVersion"), version) &&
           slice_eq(entry_text(entry, "subresource"), sub);
}

static int entry_new(struct object *o, struct slice manager, struct slice version, struct slice sub,
                     struct value **out)
{
    struct value *e;
    manager = arena_dup(o->arena, manager);
    sub = arena_dup(o->arena, sub);
    if (manager.data == NULL || sub.data == NULL) {
        return ERR_NOMEM;
    }
    int rc = object_append(o, "metadata.managedFields", value_empty(VALUE_MESSAGE), &e);
    rc = rc == 0 ? entry_set(o, e, "manager", value_text(manager)) : rc;
    rc = rc == 0 ? entry_set(o, e, "operation", value_text(slice_str("Update"))) : rc;
    rc = rc == 0 ? entry_set(o, e, "apiVersion", value_text(version)) : rc;
    rc = rc == 0 ? entry_set(o, e, "fieldsType", value_text(slice_str("FieldsV1"))) : rc;
    rc = rc == 0 && sub.len > 0 ? entry_set(o, e, "subresource", value_text(sub)) : rc;
    *out = e;
    return rc;
}

/* Takes changed and removed fields from an entry; the writer's gets the changed ones. *drop: it is
 * empty now. */
static int entry_update(struct object *o, struct diff *d, struct value *entry, bool writer,
                        const struct value *changed, const struct value *removed,
                        int64_t now_seconds, bool *drop)
{
    struct value set;
    int rc = entry_fields(d, entry, &set);
    if (rc != 0) {
        return rc;
    }
    set_subtract(&set, removed);
    if (writer) {
        if (set.len == 0) {
            set = *changed; /* of which nothing is changed below */
        } else {
            set_union(d, &set, changed);
        }
        rc = changed->len + removed->len == 0
                 ? 0
                 : entry_set(o, entry, "time",
                             (struct value){.kind = VALUE_INT, .integer = now_seconds});
    } else {
        set_subtract(&set, changed);
    }
    *drop = set.len == 0;
    return rc == 0 && !d->failed ? entry_set_fields(o, entry, &set) : ERR_NOMEM;
}

/* The oldest updates beyond the bound become one entry of nobody in particular. */
static int managed_bound(struct object *o, struct diff *d)
{
    struct value *list = object_get(o, "metadata.managedFields");
    while (value_len(list) > MANAGED_UPDATES_MAX) {
        struct value first;
        struct value second;
        int rc = entry_fields(d, &list->items[0], &first);
        rc = rc == 0 ? entry_fields(d, &list->items[1], &second) : rc;
        if (rc != 0) {
            return rc;
        }
        set_union(d, &second, &first);
        rc = entry_set(o, &list->items[1], "manager", value_text(slice_str("ancient-changes")));
        rc = rc == 0 ? entry_set_fields(o, &list->items[1], &second) : rc;
        if (rc != 0) {
            return rc;
        }
        value_remove_item(list, 0);
    }
    return 0;
}

int managed_update(struct object *new, const struct object *old, struct slice manager,
                   struct slice sub, int64_t now_seconds)
{
    struct diff d = {.a = new->arena, .no_status = sub.len == 0 && strategy_has_status(new->type)};
    struct value changed = value_empty(VALUE_MAP);
    struct value removed = value_empty(VALUE_MAP);
    const struct value *before = old == NULL ? NULL : object_get(old, "metadata.managedFields");
    struct value copy;
    struct slice version = object_api_version(new->type, new->arena);
    object_remove(new, "metadata.managedFields");
    if (before != NULL) {
        int rc = value_copy(new->arena, before, &copy);
        rc = rc == 0 ? object_set(new, "metadata.managedFields", copy) : rc;
        if (rc != 0) {
            return rc;
        }
    }
    diff_message(&d, new->type, &new->root, old == NULL ? NULL : &old->root, true, &changed);
    d.absent_only = true;
    if (old != NULL) {
        diff_message(&d, new->type, &old->root, &new->root, true, &removed);
    }
    if (d.failed || version.data == NULL) {
        return ERR_NOMEM;
    }
    if (changed.len + removed.len == 0) {
        return 0;
    }
    struct value *list = object_get(new, "metadata.managedFields");
    bool found = false;
    for (size_t i = 0; i < value_len(list) && !found; i++) {
        found = entry_is(&list->items[i], manager, version, sub);
    }
    struct value *entry;
    int rc = found || changed.len == 0 ? 0 : entry_new(new, manager, version, sub, &entry);
    list = object_get(new, "metadata.managedFields");
    for (size_t i = 0; i < value_len(list) && rc == 0;) {
        bool drop = false;
        entry = &list->items[i];
        rc = entry_update(new, &d, entry, entry_is(entry, manager, version, sub), &changed,
                          &removed, now_seconds, &drop);
        if (drop) {
            value_remove_item(list, i);
        } else {
            i++;
        }
    }
    if (rc == 0 && value_len(list) == 0) {
        object_remove(new, "metadata.managedFields");
    }
    return rc == 0 ? managed_bound(new, &d) : rc;
}
