/* claim.c - adopting and releasing. */
#include "plugins/controllers/claim.h"

#include <string.h>

#include "base/alloc.h"
#include "plugins/controllers/controllers.h"
#include "plugins/object/encode.h"

/* The controlling owner's uid; empty = nobody's. */
static struct slice claim_owner_uid(const struct object *child)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    const struct value *list = object_get(child, "metadata.ownerReferences");
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *flag = value_find(t, &list->items[i], "controller");
        if (flag != NULL && flag->kind == VALUE_BOOL && flag->boolean) {
            return value_slice(value_find(t, &list->items[i], "uid"));
        }
    }
    return slice_of(NULL, 0);
}

static bool claim_is_deleted(const struct object *o)
{
    return object_get(o, "metadata.deletionTimestamp") != NULL;
}

enum claim claim_judge(bool owned, bool ours, bool matches, bool owner_deleted, bool child_deleted)
{
    if (owned && !ours) {
        return CLAIM_OTHER;
    }
    if (ours) {
        return matches ? CLAIM_OWNED : owner_deleted ? CLAIM_OTHER : CLAIM_RELEASE;
    }
    return !matches || owner_deleted || child_deleted ? CLAIM_OTHER : CLAIM_ADOPT;
}

enum claim claim_decide(const struct object *owner, const struct label_selector *selector,
                        const struct object *child)
{
    struct slice uid = claim_owner_uid(child);
    return claim_judge(uid.len > 0, slice_eq(uid, object_text(owner, "metadata.uid")),
                       label_selector_matches(selector, object_get(child, "metadata.labels")),
                       claim_is_deleted(owner), claim_is_deleted(child));
}

void claim_print_adopt(const struct object *owner, struct slice child_uid, struct buf *out)
{
    struct arena a;
    arena_init(&a, 0);
    struct slice version = object_api_version(owner->type, &a);
    if (version.data == NULL) {
        out->failed = true;
    }
    buf_append_str(out, "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":");
    encode_text(version, out);
    buf_append_str(out, ",\"kind\":");
    encode_text(slice_str(schema_type_name(owner->type)), out);
    buf_append_str(out, ",\"name\":");
    encode_text(object_text(owner, "metadata.name"), out);
    buf_append_str(out, ",\"uid\":");
    encode_text(object_text(owner, "metadata.uid"), out);
    buf_append_str(out, ",\"controller\":true,\"blockOwnerDeletion\":true}],\"uid\":");
    encode_text(child_uid, out);
    buf_append_str(out, "}}");
    arena_close(&a);
}

void claim_print_release(struct slice owner_uid, struct slice child_uid, struct buf *out)
{
    buf_append_str(out, "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":");
    encode_text(owner_uid, out);
    buf_append_str(out, "}],\"uid\":");
    encode_text(child_uid, out);
    buf_append_str(out, "}}");
}

/* ---- making it so --------------------------------------------------------------------------- */

struct orphan {
    struct orphan *next;
    const struct schema_type *type;
    struct slice space, name, uid;
};

/* After so many milliseconds the next ones. */
#define CLAIMS_AGAIN_MS 1

struct adoption {
    struct arena arena;
    struct work *work;
    struct object owner; /* what the patches say of it: metadata only */
    struct orphan *orphans;
    bool more; /* orphans than these */
};

static void adoption_free(struct adoption *a)
{
    arena_close(&a->arena);
    mem_free(a);
}

static int claim_send_patch(struct work *w, const struct orphan *o, struct buf *patch)
{
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = o->type,
                               .space = o->space,
                               .name = o->name,
                               .body = buf_slice(patch),
                               .patch = CLIENT_PATCH_STRATEGIC};
    /* Conflict: another object has the name by now. */
    return patch->failed ? KVP_NO_MEMORY : work_send(w, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
}

/* The owner as it is now: still the same one, and not on its way out? */
static bool adoption_may(struct adoption *a, const struct client_answer *answer)
{
    struct object now;
    struct errmsg e;
    if (!answer->ok || object_decode(&now, a->owner.type, &a->arena, answer->body, NULL, &e) != 0) {
        return false;
    }
    return slice_eq(object_text(&now, "metadata.uid"), object_text(&a->owner, "metadata.uid")) &&
           !claim_is_deleted(&now);
}

static void adoption_checked(void *data, const struct client_answer *answer)
{
    struct adoption *a = data;
    struct buf patch;
    buf_init(&patch);
    if (adoption_may(a, answer)) {
        for (const struct orphan *o = a->orphans; o != NULL; o = o->next) {
            buf_clear(&patch);
            claim_print_adopt(&a->owner, o->uid, &patch);
            if (claim_send_patch(a->work, o, &patch) != 0) {
                work_fail(a->work, "an orphan could not be adopted");
            }
        }
        if (a->more) {
            work_look_again(a->work, CLAIMS_AGAIN_MS);
        }
    }
    buf_close(&patch);
    adoption_free(a);
}

static struct adoption *adoption_new(struct claims *c)
{
    struct adoption *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return NULL;
    }
    arena_init(&a->arena, 0);
    a->work = c->work;
    int rc = object_new(&a->owner, c->owner->type, &a->arena);
    rc = rc != 0
             ? rc
             : object_set_text(&a->owner, "metadata.name", object_text(c->owner, "metadata.name"));
    rc = rc != 0
             ? rc
             : object_set_text(&a->owner, "metadata.uid", object_text(c->owner, "metadata.uid"));
    if (rc != 0) {
        adoption_free(a);
        return NULL;
    }
    return a;
}

static bool adoption_add(struct adoption *a, const struct object *child)
{
    struct orphan *o = arena_zalloc(&a->arena, sizeof *o);
    if (o == NULL) {
        return false;
    }
    o->type = child->type;
    o->space = arena_dup(&a->arena, object_text(child, "metadata.namespace"));
    o->name = arena_dup(&a->arena, object_text(child, "metadata.name"));
    o->uid = arena_dup(&a->arena, object_text(child, "metadata.uid"));
    if (o->space.data == NULL || o->name.data == NULL || o->uid.data == NULL) {
        return false;
    }
    o->next = a->orphans;
    a->orphans = o;
    return true;
}

static void claims_note_orphan(struct claims *c, const struct object *child)
{
    if (c->adopts == CLAIMS_MAX) {
        c->adoption->more = true;
        return;
    }
    c->adopts++;
    c->adoption = c->adoption == NULL ? adoption_new(c) : c->adoption;
    if (c->adoption == NULL || !adoption_add(c->adoption, child)) {
        c->reason = KVP_NO_MEMORY;
    }
}

static void claims_release(struct claims *c, const struct object *child)
{
    struct buf patch;
    struct orphan o = {.type = child->type,
                       .space = object_text(child, "metadata.namespace"),
                       .name = object_text(child, "metadata.name")};
    if (c->releases == CLAIMS_MAX) {
        work_look_again(c->work, CLAIMS_AGAIN_MS);
        return;
    }
    c->releases++;
    buf_init(&patch);
    claim_print_release(object_text(c->owner, "metadata.uid"), object_text(child, "metadata.uid"),
                        &patch);
    int reason = claim_send_patch(c->work, &o, &patch);
    c->reason = c->reason == 0 ? reason : c->reason;
    buf_close(&patch);
}

void claims_note(struct claims *c, enum claim what, const struct object *child)
{
    if (what == CLAIM_ADOPT && c->reason == 0) {
        claims_note_orphan(c, child);
    } else if (what == CLAIM_RELEASE) {
        claims_release(c, child);
    }
}

int claims_adopt(struct claims *c)
{
    struct adoption *a = c->adoption;
    c->adoption = NULL;
    if (c->reason != 0) {
        if (a != NULL) {
            adoption_free(a);
        }
        return -1;
    }
    if (a == NULL) {
        return 0;
    }
    struct client_request r = {.verb = KVP_VERB_GET,
                               .type = c->owner->type,
                               .space = object_text(c->owner, "metadata.namespace"),
                               .name = object_text(c->owner, "metadata.name"),
                               .done = adoption_checked,
                               .data = a};
    c->reason = work_send(c->work, &r, WORK_NOT_FOUND_OK);
    if (c->reason != 0) {
        adoption_free(a);
        return -1;
    }
    return 1;
}

void claims_drop(struct claims *c)
{
    if (c->adoption != NULL) {
        adoption_free(c->adoption);
        c->adoption = NULL;
    }
}

/* ---- finding children ----------------------------------------------------------------------- */

/* A namespace's name is a label, at most 63 bytes; a uid that the server gives is 36. */
#define CLAIM_PART_BYTES_MAX 63u
#define CLAIM_KEY_BYTES      (2 * CLAIM_PART_BYTES_MAX + 1)

/* Empty: no object can have such a namespace or uid. */
static struct slice claim_key(struct slice space, struct slice uid, char out[CLAIM_KEY_BYTES])
{
    if (space.len > CLAIM_PART_BYTES_MAX || uid.len > CLAIM_PART_BYTES_MAX) {
        return slice_of("", 0);
    }
    if (space.len > 0) {
        memcpy(out, space.data, space.len);
    }
    out[space.len] = '/';
    if (uid.len > 0) {
        memcpy(out + space.len + 1, uid.data, uid.len);
    }
    return slice_of(out, space.len + 1 + uid.len);
}

void claim_index(void *data, const struct object *o, struct index_emit *emit)
{
    char out[CLAIM_KEY_BYTES];
    struct slice key = claim_key(object_text(o, "metadata.namespace"), claim_owner_uid(o), out);
    (void)data;
    if (key.len > 0) {
        informer_emit(emit, key);
    }
}

int claim_each_child(struct informer *i, struct slice space, struct slice owner_uid,
                     informer_each_fn *each, void *data)
{
    char key[CLAIM_KEY_BYTES];
    return informer_by_index(i, INDEX_CONTROLLER, claim_key(space, owner_uid, key), each, data);
}

int claim_each_orphan(struct informer *i, struct slice space, informer_each_fn *each, void *data)
{
    return claim_each_child(i, space, slice_of("", 0), each, data);
}
