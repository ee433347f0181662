/* removal.c - one object is deleted: options, finalizers, grace, preconditions. */
#include "plugins/apiserver/removal.h"

#include "plugins/apiserver/media.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/strategy.h"
#include "plugins/apiserver/verbs.h"
#include "plugins/object/metadata.h"
#include "plugins/object/yamljson.h"

/* Times somebody else may be quicker. */
#define REMOVE_TRIES 16u

static void remove_apply(struct removal *rm, const struct kvp_row *row);

/* ---- options ------------------------------------------------------------------------------- */

static bool remove_is_policy(struct slice s)
{
    return slice_eq(s, slice_str("Orphan")) || slice_eq(s, slice_str("Background")) ||
           slice_eq(s, slice_str("Foreground"));
}

/* dryRun of a body: nothing, or All once. */
static void removal_read_dry_run(struct removal *rm, const struct value *dry, struct causes *c)
{
    for (size_t i = 0; i < value_len(dry); i++) {
        if (value_is_text(&dry->items[i], "All")) {
            rm->dry_run = true;
        } else {
            cause_not_supported(c, PLACE_FIELD(NULL, "dryRun"), value_slice(&dry->items[i]), "All");
        }
    }
}

bool removal_init(struct removal *rm, struct exchange *ex, const struct object *options)
{
    const struct query *q = &ex->query;
    enum query_switch orphan = q->orphan;
    *rm = (struct removal){.ex = ex,
                           .memory = &ex->arena,
                           .grace_s = q->grace_s,
                           .propagation = q->propagation,
                           .dry_run = q->dry_run,
                           .name = ex->request.name};
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    causes_init(c, &ex->arena);
    query_check_write(q, c);
    if (options != NULL) {
        rm->grace_s = object_int(options, "gracePeriodSeconds", -1);
        rm->propagation = object_text(options, "propagationPolicy");
        rm->uid = object_text(options, "preconditions.uid");
        rm->version = object_text(options, "preconditions.resourceVersion");
        if (object_get(options, "orphanDependents") != NULL) {
            orphan = object_bool(options, "orphanDependents", false) ? QUERY_ON : QUERY_OFF;
        }
        removal_read_dry_run(rm, object_get(options, "dryRun"), c);
    }
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

bool removal_read_options(struct removal *rm, struct exchange *ex)
{
    struct object o = {0};
    struct errmsg e = {.text = ""};
    enum media_body form = media_body(ex->content_type);
    const struct schema_type *t = schema_type(SCHEMA_META_V1_DELETE_OPTIONS);
    struct slice text = buf_slice(&ex->body);
    if (text.len == 0) {
        return removal_init(rm, ex, NULL);
    }
    if (form != MEDIA_BODY_JSON && form != MEDIA_BODY_YAML) {
        exchange_fail(ex, status_unsupported_media(&ex->arena, MEDIA_BODIES));
        return false;
    }
    int rc = form == MEDIA_BODY_JSON ? object_decode(&o, t, &ex->arena, text, NULL, &e)
                                     : object_decode_yaml(&o, t, &ex->arena, text, NULL, &e);
    return exchange_understands(ex, rc, &e) && removal_init(rm, ex, &o);
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

static void remove_committed(struct commit *commit, enum commit_end end, int64_t revision,
                             const struct kvp_row *row)
{
    struct removal *rm = commit->data;
    struct exchange *ex = rm->ex;
    if (end == COMMIT_DONE) {
        rm->done(rm, false, revision);
        return;
    }
    struct status_about about = request_about(&ex->request);
    about.name = rm->name;
    if (++rm->tries >= REMOVE_TRIES) {
        exchange_fail(ex, status_modified(&ex->arena, &about));
    } else {
        remove_apply(rm, row);
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
    struct object *o = &rm->object;
    struct buf text;
    int64_t now = rm->seconds;
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
    rc = rc == 0 && !rm->gone && rm->mark != NULL ? rm->mark(rm, now) : rc;
    if (rc != 0) {
        return rc;
    }
    struct slice old = rm->value;
    buf_init(&text);
    rc = stored_encode(o, &text);
    rm->value = rc == 0 ? arena_dup(rm->memory, buf_slice(&text)) : slice_of(NULL, 0);
    buf_close(&text);
    *unchanged = rm->value.data != NULL && slice_eq(old, rm->value);
    return rm->value.data == NULL ? ERR_NOMEM : 0;
}

/* What becomes of the object. */
static bool remove_change(struct exchange *ex, void *data)
{
    struct removal *rm = data;
    struct errmsg e = {.text = ""};
    int rc = stored_decode(ex->request.type, rm->value, rm->revision, rm->memory, &rm->object, &e);
    if (rc == 0 && !remove_check(rm)) {
        return false;
    }
    rc = rc == 0 ? remove_decide(rm, &rm->unchanged) : rc;
    if (rc != 0) {
        exchange_fail(
            ex, status_internal(&ex->arena, "%s", rc == ERR_NOMEM ? "out of memory" : e.text));
    }
    return rc == 0;
}

static void remove_changed(void *data)
{
    struct removal *rm = data;
    struct exchange *ex = rm->ex;
    if (rm->dry_run || (rm->unchanged && !rm->gone)) {
        rm->done(rm, false, rm->revision);
        return;
    }
    if (rm->gone && !service_allocate(ex, &rm->allocation, NULL, &rm->object)) {
        return;
    }
    struct slice owner = service_owner(&rm->object, rm->memory);
    if (owner.data == NULL) {
        exchange_no_memory(ex);
        return;
    }
    rm->commit = (struct commit){.ex = ex,
                                 .key = rm->key,
                                 .value = rm->value,
                                 .revision = rm->revision,
                                 .remove = rm->gone,
                                 .claims = rm->gone ? &rm->allocation.claims : NULL,
                                 .owner = owner,
                                 .done = remove_committed,
                                 .data = rm};
    commit_run(&rm->commit);
}

/* row NULL: it is not there. */
static void remove_apply(struct removal *rm, const struct kvp_row *row)
{
    struct exchange *ex = rm->ex;
    if (row == NULL) {
        rm->done(rm, true, 0);
        return;
    }
    rm->value = arena_dup(rm->memory, slice_of_kvp(row->value));
    rm->revision = row->mod_revision;
    rm->seconds = (int64_t)(ex->api->host->wall_us(ex->api->ctx) / 1000000u);
    if (rm->value.data == NULL) {
        exchange_no_memory(ex);
    } else {
        exchange_work(ex, rm->value.len, remove_change, remove_changed, rm);
    }
}

static void remove_row(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct removal *rm = data;
    if (exchange_back_well(rm->ex, r)) {
        remove_apply(rm, rows->count > 0 ? &rows->rows[0] : NULL);
    }
}

void removal_run(struct removal *rm)
{
    struct exchange *ex = rm->ex;
    exchange_call(ex);
    int reason = ex->api->host->get(ex->ctx, kvp_of_slice(rm->key), remove_row, rm);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

void removal_run_named(struct removal *rm)
{
    struct exchange *ex = rm->ex;
    struct buf key;
    buf_init(&key);
    stored_key(ex->request.type, ex->request.space, ex->request.name, &key);
    rm->key = key.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&key));
    buf_close(&key);
    if (rm->key.data == NULL) {
        exchange_no_memory(ex);
        return;
    }
    removal_run(rm);
}
