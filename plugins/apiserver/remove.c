/* remove.c - delete and deletecollection: finalizers, grace, preconditions. */
#include <inttypes.h>
#include <stdio.h>

#include "plugins/apiserver/body.h"
#include "plugins/apiserver/listing.h"
#include "plugins/object/encode.h"
#include "plugins/object/metadata.h"
#include "plugins/object/yamljson.h"
#include "plugins/apiserver/media.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/strategy.h"
#include "plugins/apiserver/verbs.h"

/* Times somebody else may be quicker. */
#define REMOVE_TRIES 16u

/* One object that is to go. */
struct removal {
    struct exchange *ex;
    int64_t grace_s; /* -1 = unset */
    struct slice propagation;
    struct slice uid, version; /* preconditions; "" = none */
    bool dry_run;
    struct slice key;
    struct slice name; /* for messages */
    unsigned tries;
    struct object object; /* as it was, or as it stays */
    struct slice value;   /* of it */
    bool gone;            /* else it stays for its finalizers */
    /* Through: gone, marked, or not there (missing). */
    void (*done)(struct removal *rm, bool missing, int64_t revision);
    void *data;
};

static void remove_apply(struct removal *rm, const struct kvp_row *row);

/* ---- options ------------------------------------------------------------------------------- */

static bool remove_is_policy(struct slice s)
{
    return slice_eq(s, slice_str("Orphan")) || slice_eq(s, slice_str("Background")) ||
           slice_eq(s, slice_str("Foreground"));
}

/* From the query, and the body when there is one. False: answered. */
static bool remove_read_options(struct exchange *ex, struct removal *rm)
{
    const struct query *q = &ex->query;
    struct object o = {0};
    struct errmsg e = {.text = ""};
    enum query_switch orphan = q->orphan;
    *rm = (struct removal){.ex = ex,
                           .grace_s = q->grace_s,
                           .propagation = q->propagation,
                           .dry_run = q->dry_run,
                           .name = ex->request.name};
    if (ex->body.len > 0) {
        enum media_body form = media_body(ex->content_type);
        const struct schema_type *t = schema_type(SCHEMA_META_V1_DELETE_OPTIONS);
        struct slice text = buf_slice(&ex->body);
        if (form != MEDIA_BODY_JSON && form != MEDIA_BODY_YAML) {
            exchange_fail(ex, status_unsupported_media(&ex->arena, MEDIA_BODIES));
            return false;
        }
        int rc = form == MEDIA_BODY_JSON ? object_decode(&o, t, &ex->arena, text, NULL, &e)
                                         : object_decode_yaml(&o, t, &ex->arena, text, NULL, &e);
        if (rc != 0) {
            exchange_fail(ex, status_bad_request(&ex->arena, "%s", e.text));
            return false;
        }
        rm->grace_s = object_int(&o, "gracePeriodSeconds", -1);
        rm->propagation = object_text(&o, "propagationPolicy");
        rm->uid = object_text(&o, "preconditions.uid");
        rm->version = object_text(&o, "preconditions.resourceVersion");
        if (object_get(&o, "orphanDependents") != NULL) {
            orphan = object_bool(&o, "orphanDependents", false) ? QUERY_ON : QUERY_OFF;
        }
        const struct value *dry = object_get(&o, "dryRun");
        for (size_t i = 0; i < value_len(dry); i++) {
            rm->dry_run = rm->dry_run || value_is_text(&dry->items[i], "All");
        }
    }
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    causes_init(c, &ex->arena);
    query_check_write(q, c);
    if (orphan != QUERY_UNSET && rm->propagation.len > 0) {
        cause_invalid_text(c, PLACE_FIELD(NULL, "propagationPolicy"), rm->propagation,
                           "orphanDependents and deletionPropagation cannot be both set");
    } else if (rm->propagation.len > 0 && !remove_is_policy(rm->propagation)) {
        cause_not_supported(c, PLACE_FIELD(NULL, "propagationPolicy"), rm->propagation,
                            "Foreground,Background,Orphan");
    }
    if (c->count > 0) {
        exchange_fail(ex, status_invalid(&ex->arena, slice_str("meta.k8s.io"),
                                         slice_str("DeleteOptions"), slice_of("", 0), c));
        return false;
    }
    if (orphan != QUERY_UNSET) {
        rm->propagation = slice_str(orphan == QUERY_ON ? "Orphan" : "Background");
    }
    if (rm->propagation.len == 0 &&
        ex->request.type == schema_type(SCHEMA_CORE_V1_REPLICATION_CONTROLLER)) {
        rm->propagation = slice_str("Orphan");
    }
    return true;
}

/* ---- finalizers ---------------------------------------------------------------------------- */

static int remove_set_finalizer(struct object *o, const char *name, bool wanted)
{
    struct value *list = object_get(o, "metadata.finalizers");
    struct value *unused;
    for (size_t i = 0; i < value_len(list);) {
        if (value_is_text(&list->items[i], name)) {
            if (wanted) {
                return 0;
            }
            value_remove_item(list, i);
        } else {
            i++;
        }
    }
    return wanted ? object_append(o, "metadata.finalizers", value_text(slice_str(name)), &unused)
                  : 0;
}

/* As propagationPolicy says; without one finalizers stay as they are. */
static int remove_set_finalizers(struct removal *rm)
{
    struct slice p = rm->propagation;
    if (p.len == 0) {
        return 0;
    }
    int rc = remove_set_finalizer(&rm->object, "orphan", slice_eq(p, slice_str("Orphan")));
    return rc == 0 ? remove_set_finalizer(&rm->object, "foregroundDeletion",
                                          slice_eq(p, slice_str("Foreground")))
                   : rc;
}

/* ---- one object ---------------------------------------------------------------------------- */

static void remove_done(void *data, const struct kvp_result *r)
{
    struct removal *rm = data;
    struct exchange *ex = rm->ex;
    if (r->outcome == KVP_REFUSED && r->reason == KVP_CONFLICT) {
        if (!exchange_back(ex)) {
            return;
        }
        struct status_about about = request_about(&ex->request);
        about.name = rm->name;
        if (++rm->tries >= REMOVE_TRIES) {
            exchange_fail(ex, status_modified(&ex->arena, &about));
        } else {
            remove_apply(rm, r->row);
        }
        return;
    }
    if (exchange_back_well(ex, r)) {
        rm->done(rm, false, r->revision);
    }
}

/* False: answered. */
static bool remove_check(struct removal *rm)
{
    struct exchange *ex = rm->ex;
    struct status_about about = request_about(&ex->request);
    struct slice uid = object_text(&rm->object, "metadata.uid");
    struct slice version = object_text(&rm->object, "metadata.resourceVersion");
    about.name = rm->name;
    if (rm->uid.len > 0 && !slice_eq(rm->uid, uid)) {
        exchange_fail(
            ex, status_conflict(&ex->arena, &about,
                                "the UID in the precondition (%.*s) does not match the UID in "
                                "record (%.*s). The object might have been deleted and then "
                                "recreated",
                                (int)rm->uid.len, (const char *)rm->uid.data, (int)uid.len,
                                (const char *)uid.data));
        return false;
    }
    if (rm->version.len > 0 && !slice_eq(rm->version, version)) {
        exchange_fail(
            ex, status_conflict(&ex->arena, &about,
                                "the ResourceVersion in the precondition (%.*s) does not match the "
                                "ResourceVersion in record (%.*s). The object might have been "
                                "modified",
                                (int)rm->version.len, (const char *)rm->version.data,
                                (int)version.len, (const char *)version.data));
        return false;
    }
    if (strategy_is_immortal(&rm->object)) {
        exchange_fail(ex,
                      status_forbidden(&ex->arena, &about, "this namespace may not be deleted"));
        return false;
    }
    return true;
}

/* Decides between going and staying; the value of what stays. 0 or an error. */
static int remove_decide(struct removal *rm, bool *unchanged)
{
    struct exchange *ex = rm->ex;
    struct object *o = &rm->object;
    struct buf text;
    int64_t now = (int64_t)(ex->api->host->wall_us(ex->api->ctx) / 1000000u);
    int64_t grace = strategy_grace(o, rm->grace_s);
    bool marked = object_get(o, "metadata.deletionTimestamp") != NULL;
    int64_t before = object_int(o, "metadata.deletionGracePeriodSeconds", 0);
    int rc = remove_set_finalizers(rm);
    *unchanged = false;
    rm->gone = strategy_may_go(o) && grace == 0;
    if (rc == 0 && !rm->gone && (!marked || grace < before)) {
        rc = metadata_mark_deleted(o, now, grace);
    }
    rc = rc == 0 && !rm->gone ? strategy_mark_deleted(o) : rc;
    if (rc != 0) {
        return rc;
    }
    struct slice old = rm->value;
    buf_init(&text);
    rc = stored_encode(o, &text);
    rm->value = rc == 0 ? arena_dup(&ex->arena, buf_slice(&text)) : slice_of(NULL, 0);
    buf_close(&text);
    *unchanged = rm->value.data != NULL && slice_eq(old, rm->value);
    return rm->value.data == NULL ? ERR_NOMEM : 0;
}

/* row NULL: it is not there. */
static void remove_apply(struct removal *rm, const struct kvp_row *row)
{
    struct exchange *ex = rm->ex;
    const struct kvp_host *host = ex->api->host;
    struct errmsg e = {.text = ""};
    bool unchanged = false;
    if (row == NULL) {
        rm->done(rm, true, 0);
        return;
    }
    rm->value = arena_dup(&ex->arena, slice_of_kvp(row->value));
    int64_t revision = row->mod_revision;
    int rc = rm->value.data == NULL ? ERR_NOMEM
                                    : stored_decode(ex->request.type, rm->value, revision,
                                                    &ex->arena, &rm->object, &e);
    if (rc == 0 && !remove_check(rm)) {
        return;
    }
    rc = rc == 0 ? remove_decide(rm, &unchanged) : rc;
    if (rc != 0) {
        exchange_fail(
            ex, status_internal(&ex->arena, "%s", rc == ERR_NOMEM ? "out of memory" : e.text));
        return;
    }
    if (rm->dry_run || (unchanged && !rm->gone)) {
        rm->done(rm, false, revision);
        return;
    }
    struct kvp_put put = {
        .size = sizeof put, .key = kvp_of_slice(rm->key), .value = kvp_of_slice(rm->value)};
    exchange_call(ex);
    int reason = rm->gone ? host->del_if(ex->ctx, put.key, revision, remove_done, rm)
                          : host->put_if(ex->ctx, &put, revision, remove_done, rm);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

static void remove_row(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct removal *rm = data;
    if (exchange_back_well(rm->ex, r)) {
        remove_apply(rm, rows->count > 0 ? &rows->rows[0] : NULL);
    }
}

static void remove_read(struct removal *rm)
{
    struct exchange *ex = rm->ex;
    exchange_call(ex);
    int reason = ex->api->host->get(ex->ctx, kvp_of_slice(rm->key), remove_row, rm);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

/* ---- delete -------------------------------------------------------------------------------- */

static void delete_done(struct removal *rm, bool missing, int64_t revision)
{
    struct exchange *ex = rm->ex;
    struct status_about about = request_about(&ex->request);
    struct buf out;
    if (missing) {
        exchange_fail(ex, status_not_found(&ex->arena, &about));
        return;
    }
    if (!rm->gone) {
        answer_stored(ex, 200, rm->value, revision);
        return;
    }
    struct status s = status_success(&about, object_text(&rm->object, "metadata.uid"));
    buf_init(&out);
    status_print(&s, &out);
    if (out.failed) {
        exchange_no_memory(ex);
    } else {
        ex->revision = revision;
        exchange_json(ex, 200, buf_slice(&out));
    }
    buf_close(&out);
}

void verb_delete(struct exchange *ex)
{
    struct removal *rm = arena_zalloc(&ex->arena, sizeof *rm);
    struct buf key;
    if (rm == NULL) {
        exchange_no_memory(ex);
        return;
    }
    if (!remove_read_options(ex, rm)) {
        return;
    }
    buf_init(&key);
    stored_key(ex->request.type, ex->request.space, ex->request.name, &key);
    rm->key = key.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&key));
    buf_close(&key);
    rm->done = delete_done;
    if (rm->key.data == NULL) {
        exchange_no_memory(ex);
        return;
    }
    remove_read(rm);
}

/* ---- deletecollection ---------------------------------------------------------------------- */

struct collected {
    struct collected *next;
    struct slice key, name;
};

struct collection {
    struct listing listing;
    struct selection selection;
    struct removal removal; /* the options, then one object after the other */
    struct collected *first, **last;
    struct buf items; /* of the answer */
};

static void collection_next(struct collection *c);

static void collection_free(struct exchange *ex)
{
    struct collection *c = ex->op;
    buf_close(&c->items);
}

static int collection_row(struct listing *walk, struct slice key, struct slice value,
                          int64_t revision)
{
    struct collection *c = walk->data;
    struct arena *a = &walk->ex->arena;
    struct errmsg e;
    struct collected *one = arena_zalloc(a, sizeof *one);
    if (one == NULL) {
        return ERR_NOMEM;
    }
    one->key = arena_dup(a, key);
    if (one->key.data == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = one->key.len; i > 0 && one->key.data[i - 1] != '/'; i--) {
        one->name = slice_of(one->key.data + i - 1, one->key.len - i + 1);
    }
    *c->last = one;
    c->last = &one->next;
    buf_append_str(&c->items, c->items.len > 0 ? "," : "");
    return stored_print(walk->ex->request.type, value, revision, true, &walk->scratch, &c->items,
                        &e);
}

static void collection_listed(struct listing *walk)
{
    struct collection *c = walk->data;
    listing_close(walk);
    collection_next(c);
}

static void collection_compacted(struct listing *walk)
{
    struct exchange *ex = walk->ex;
    listing_close(walk);
    exchange_fail(ex, status_expired(&ex->arena, "%s",
                                     "The resourceVersion for the provided list is too old."));
}

static void collection_removed(struct removal *rm, bool missing, int64_t revision)
{
    collection_next(rm->data);
}

static void collection_answer(struct collection *c)
{
    struct exchange *ex = c->removal.ex;
    const struct schema_type *type = ex->request.type;
    struct slice version = object_api_version(type, &ex->arena);
    struct buf out;
    buf_init(&out);
    buf_printf(&out,
               "{\"kind\":\"%sList\",\"apiVersion\":\"%.*s\",\"metadata\":{\"resourceVersion\":"
               "\"%" PRId64 "\"},\"items\":[",
               schema_type_name(type), (int)version.len, (const char *)version.data,
               c->listing.revision);
    buf_append_slice(&out, buf_slice(&c->items));
    buf_append_str(&out, "]}");
    if (out.failed || c->items.failed) {
        exchange_no_memory(ex);
    } else {
        ex->revision = c->listing.revision;
        exchange_json(ex, 200, buf_slice(&out));
    }
    buf_close(&out);
}

static void collection_next(struct collection *c)
{
    struct collected *one = c->first;
    if (one == NULL) {
        collection_answer(c);
        return;
    }
    c->first = one->next;
    c->removal.key = one->key;
    c->removal.name = one->name;
    c->removal.tries = 0;
    remove_read(&c->removal);
}

void verb_delete_collection(struct exchange *ex)
{
    struct collection *c = arena_zalloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return;
    }
    if (!remove_read_options(ex, &c->removal) || !selection_read(ex, &c->selection) ||
        !listing_init(&c->listing, ex, &c->selection)) {
        return;
    }
    buf_init(&c->items);
    c->last = &c->first;
    c->removal.done = collection_removed;
    c->removal.data = c;
    c->listing.limit = ex->query.limit > 0 ? ex->query.limit : 0;
    c->listing.row = collection_row;
    c->listing.done = collection_listed;
    c->listing.compacted = collection_compacted;
    c->listing.restart = verb_delete_collection;
    c->listing.data = c;
    ex->op = c;
    ex->gone = collection_free;
    listing_page(&c->listing);
}
