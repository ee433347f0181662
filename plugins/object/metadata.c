/* metadata.c - names, identities and generations. */
#include "plugins/object/metadata.h"

#include <string.h>

#include "plugins/object/texts.h"
#include "plugins/object/uuid.h"

/* The end of the year 9999: as far as times are written. */
#define METADATA_SECONDS_MAX 253402300799

#define NAME_BASE_MAX 58u /* of generateName: five letters follow */

static bool metadata_counts(const struct object *o)
{
    const struct schema_resource *r = schema_resource_of(o->type);
    return r != NULL && (r->rules & SCHEMA_RULE_GENERATION);
}

/* Letters and digits that make no words. */
static int metadata_generate_name(struct object *o, const uint8_t random[8])
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    struct slice base = object_text(o, "metadata.generateName");
    char name[NAME_BASE_MAX + 5];
    size_t len = base.len < NAME_BASE_MAX ? base.len : NAME_BASE_MAX;
    if (base.len == 0 || object_text(o, "metadata.name").len > 0) {
        return 0;
    }
    memcpy(name, base.data, len);
    uint64_t bits;
    memcpy(&bits, random, sizeof bits);
    for (int i = 0; i < 5; i++) {
        name[len++] = letters[bits % (sizeof letters - 1)];
        bits /= sizeof letters - 1;
    }
    return object_set_text(o, "metadata.name", slice_of(name, len));
}

static int metadata_set_uid(struct object *o, const uint8_t random[16])
{
    char text[UUID_TEXT_BYTES];
    uuid_print(random, text);
    return object_set_text(o, "metadata.uid", slice_of(text, sizeof text));
}

int metadata_prepare_create(struct object *o, const struct metadata_facts *facts)
{
    static const char *const cleared[] = {"metadata.deletionTimestamp",
                                          "metadata.deletionGracePeriodSeconds",
                                          "metadata.selfLink", "metadata.generation"};
    for (size_t i = 0; i < sizeof cleared / sizeof cleared[0]; i++) {
        object_remove(o, cleared[i]);
    }
    int rc = metadata_generate_name(o, facts->random + 16);
    rc = rc == 0 ? metadata_set_uid(o, facts->random) : rc;
    rc = rc == 0 ? object_set_int(o, "metadata.creationTimestamp", facts->now_seconds) : rc;
    return rc == 0 && metadata_counts(o) ? object_set_int(o, "metadata.generation", 1) : rc;
}

/* Whether two objects want different things. */
static bool metadata_wants_change(const struct object *new, const struct object *old)
{
    const struct schema_type *t = new->type;
    const struct schema_field *fields = schema_fields(t);
    const struct schema_type *mt = schema_type(SCHEMA_META_V1_OBJECT_META);
    for (unsigned i = 0; i < t->field_count; i++) {
        const char *name = schema_field_name(fields + i);
        bool skipped =
            fields[i].number == 0 || strcmp(name, "metadata") == 0 || strcmp(name, "status") == 0;
        if (!skipped && !value_equal_field(fields + i, value_member(&new->root, i),
                                           value_member(&old->root, i))) {
            return true;
        }
    }
    bool deployment = t == schema_type(SCHEMA_APPS_V1_DEPLOYMENT);
    bool slices = t == schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE);
    if (!deployment && !slices) {
        return false;
    }
    const char *name = deployment ? "annotations" : "labels";
    const struct value *now = object_get(new, "metadata");
    const struct value *before = object_get(old, "metadata");
    return !value_equal_field(schema_find(mt, slice_str(name)), value_find(mt, now, name),
                              value_find(mt, before, name));
}

int metadata_prepare_update(struct object *new, const struct object *old)
{
    /* A uid of the client's own stays: it is a precondition that validation looks at. */
    static const char *const kept[] = {"metadata.creationTimestamp", "metadata.deletionTimestamp",
                                       "metadata.deletionGracePeriodSeconds", "metadata.generation",
                                       "metadata.uid"};
    int rc = 0;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0] && rc == 0; i++) {
        const struct value *v = object_get(old, kept[i]);
        if (strcmp(kept[i], "metadata.uid") == 0 && object_text(new, kept[i]).len > 0) {
            continue;
        }
        object_remove(new, kept[i]);
        if (v != NULL) {
            struct value copy;
            rc = value_copy(new->arena, v, &copy);
            rc = rc == 0 ? object_set(new, kept[i], copy) : rc;
        }
    }
    object_remove(new, "metadata.selfLink");
    if (rc == 0 && metadata_counts(new) && metadata_wants_change(new, old)) {
        rc = object_set_int(new, "metadata.generation",
                            object_int(old, "metadata.generation", 0) + 1);
    }
    return rc;
}

int metadata_mark_deleted(struct object *o, int64_t now_seconds, int64_t grace_seconds)
{
    int64_t generation = object_int(o, "metadata.generation", 0);
    int64_t at = grace_seconds > METADATA_SECONDS_MAX - now_seconds ? METADATA_SECONDS_MAX
                                                                    : now_seconds + grace_seconds;
    int rc = object_set_int(o, "metadata.deletionTimestamp", at);
    rc = rc == 0 ? object_set_int(o, "metadata.deletionGracePeriodSeconds", grace_seconds) : rc;
    return rc == 0 && generation > 0 ? object_set_int(o, "metadata.generation", generation + 1)
                                     : rc;
}

int metadata_dedupe_owners(struct object *o, struct buf *uids, size_t *dropped)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    struct value *list = object_get(o, "metadata.ownerReferences");
    size_t n = value_len(list);
    size_t kept = 0;
    struct texts seen;
    *dropped = 0;
    if (n < 2) {
        return 0;
    }
    if (texts_init(&seen, o->arena, n) != 0) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct slice uid = value_slice(value_find(t, &list->items[i], "uid"));
        size_t *times = texts_put(&seen, uid);
        if (++*times == 1) {
            list->items[kept++] = list->items[i];
        } else if (*times == 2 && uids != NULL) { /* told once, however many there are */
            buf_append_str(uids, uids->len > 0 ? ", " : "");
            buf_append_slice(uids, uid);
        }
    }
    *dropped = n - kept;
    list->len = (uint32_t)kept;
    return 0;
}
