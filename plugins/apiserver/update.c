/* update.c - PUT and PATCH: read, change, compare and swap, and again when somebody was quicker. */
#include "plugins/apiserver/gate.h"
#include "plugins/apiserver/update.h"

#include "plugins/apiserver/admit.h"
#include "plugins/apiserver/body.h"
#include "plugins/apiserver/managed.h"
#include "plugins/apiserver/media.h"
#include "plugins/object/defaults.h"
#include "plugins/object/metadata.h"
#include "plugins/object/validate.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/strategy.h"
#include "plugins/apiserver/verbs.h"

/* Times somebody else may be quicker. */
#define UPDATE_TRIES       16u
#define UPDATE_SHOWN_BYTES 1024u /* of a patch, in a refusal */

static void update_apply(struct update *u, const struct kvp_row *row);

static void update_read_answer(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct update *u = data;
    if (exchange_back_well(u->ex, r)) {
        update_apply(u, rows->count > 0 ? &rows->rows[0] : NULL);
    }
}

static void update_read(struct update *u)
{
    struct exchange *ex = u->ex;
    exchange_call(ex);
    int reason = ex->api->host->get(ex->ctx, kvp_of_slice(u->key), update_read_answer, u);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

static void update_again(void *data)
{
    update_read(data);
}

static void update_committed(struct commit *commit, enum commit_end end, int64_t revision,
                             const struct kvp_row *row)
{
    struct update *u = commit->data;
    struct exchange *ex = u->ex;
    if (end == COMMIT_DONE) {
        u->answer(u, &u->now, revision);
        return;
    }
    if (end == COMMIT_TAKEN) {
        service_taken(ex, &u->allocation, &u->now, commit->taken, update_again, u);
        return;
    }
    struct status_about about = request_about(&ex->request);
    if (++u->tries >= UPDATE_TRIES) {
        exchange_fail(ex, status_modified(&ex->arena, &about));
    } else {
        update_apply(u, row);
    }
}

/* The last finalizer of an object that is to go has been taken away. */
static bool update_goes(const struct object *new)
{
    return object_get(new, "metadata.deletionTimestamp") != NULL &&
           object_int(new, "metadata.deletionGracePeriodSeconds", 0) == 0 && strategy_may_go(new);
}

static void update_write(struct update *u, const struct object *new, int64_t revision)
{
    struct exchange *ex = u->ex;
    if (ex->query.dry_run) {
        u->answer(u, &u->now, revision);
        return;
    }
    u->commit = (struct commit){.ex = ex,
                                .key = u->key,
                                .value = u->value,
                                .revision = revision,
                                .remove = update_goes(new),
                                .claims = &u->allocation.claims,
                                .owner = service_owner(new, &ex->arena),
                                .done = update_committed,
                                .data = u};
    if (u->commit.owner.data == NULL) {
        exchange_no_memory(ex);
    } else {
        commit_run(&u->commit);
    }
}

/* What a patch that fails means. */
static void update_patch_failed(struct exchange *ex, int rc, const struct errmsg *e)
{
    switch (rc) {
    case ERR_NOMEM:
        exchange_no_memory(ex);
        break;
    case ERR_NOT_FOUND:
        exchange_fail(ex, status_unprocessable());
        break;
    case ERR_REQUEST_TOO_LARGE:
        exchange_fail(ex, status_too_large(&ex->arena, "%s", e->text));
        break;
    default:
        exchange_fail(ex, status_bad_request(&ex->arena, "%s", e->text));
    }
}

/* What a patch makes of the object is none. */
static void update_refuse_patch(struct exchange *ex, const char *why)
{
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    struct slice shown = buf_slice(&ex->body);
    if (c == NULL) {
        exchange_no_memory(ex);
        return;
    }
    shown.len = shown.len < UPDATE_SHOWN_BYTES ? shown.len : UPDATE_SHOWN_BYTES;
    causes_init(c, &ex->arena);
    cause_invalid_text(c, PLACE_FIELD(NULL, "patch"), shown, "%s", why);
    exchange_fail(ex,
                  status_invalid(&ex->arena, slice_of("", 0), slice_of("", 0), slice_of("", 0), c));
}

bool update_patch(struct update *u, const struct object *old, struct object *new)
{
    struct exchange *ex = u->ex;
    struct errmsg e = {.text = ""};
    struct decode_report report = {0};
    int rc = object_patch(old, u->patch_kind, buf_slice(&ex->body), &ex->arena, new, &report, &e);
    if (rc == ERR_REFUSED) {
        update_refuse_patch(ex, e.text);
        return false;
    }
    if (rc != 0) {
        update_patch_failed(ex, rc, &e);
        return false;
    }
    if (report.count > 0 && slice_eq(ex->query.validation, slice_str("Strict"))) {
        struct buf b;
        buf_init(&b);
        decode_report_text(&report, &b);
        buf_append_byte(&b, 0);
        update_refuse_patch(ex, b.failed ? "strict decoding error" : (const char *)b.data);
        buf_close(&b);
        return false;
    }
    /* Once: what a patch says too much it says again at every try. */
    return u->tries > 0 || body_report(ex, &report);
}

bool update_check(struct update *u, const struct object *old, struct object *new)
{
    struct exchange *ex = u->ex;
    struct status_about about = request_about(&ex->request);
    struct slice version = object_text(new, "metadata.resourceVersion");
    struct slice current = object_text(old, "metadata.resourceVersion");
    if (!update_check_uid(ex, object_text(new, "metadata.uid"), old)) {
        return false;
    }
    if (slice_eq(version, slice_str("0"))) {
        version = slice_of("", 0);
    }
    if (version.len > 0) {
        struct errmsg e;
        int64_t number;
        if (query_revision(version, &number, &e) != 0) {
            struct causes *c = arena_alloc(&ex->arena, sizeof *c);
            if (c == NULL) {
                exchange_no_memory(ex);
                return false;
            }
            causes_init(c, &ex->arena);
            cause_invalid_text(c, PLACE_FIELD(PLACE_FIELD(NULL, "metadata"), "resourceVersion"),
                               version, "%s", e.text);
            exchange_fail(ex, status_invalid(&ex->arena, ex->request.group,
                                             slice_str(schema_type_name(new->type)),
                                             ex->request.name, c));
            return false;
        }
        if (!slice_eq(version, current)) {
            exchange_fail(ex, status_modified(&ex->arena, &about));
            return false;
        }
    } else if (!(ex->request.kind->rules & SCHEMA_RULE_CONDITIONAL_UPDATE) || u->patch) {
        if (object_set_text(new, "metadata.resourceVersion", current) != 0) {
            exchange_no_memory(ex);
            return false;
        }
    }
    return true;
}

bool update_check_uid(struct exchange *ex, struct slice uid, const struct object *old)
{
    struct status_about about = request_about(&ex->request);
    struct slice now = object_text(old, "metadata.uid");
    if (uid.len == 0 || slice_eq(uid, now)) {
        return true;
    }
    exchange_fail(ex, status_conflict(&ex->arena, &about,
                                      "Precondition failed: UID in precondition: %.*s, UID in "
                                      "object meta: %.*s",
                                      (int)uid.len, (const char *)uid.data, (int)now.len,
                                      (const char *)now.data));
    return false;
}

/* All rules. False: answered. */
static bool update_prepare(struct update *u, struct object *old, struct object *new)
{
    struct exchange *ex = u->ex;
    int64_t now = (int64_t)(ex->api->host->wall_us(ex->api->ctx) / 1000000u);
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (!body_dedupe_owners(ex, new, u->tries == 0)) {
        return false;
    }
    int rc = c == NULL ? ERR_NOMEM : strategy_update(new, old, ex->request.sub);
    rc = rc == 0 ? object_default(new) : rc;
    rc = rc == 0 ? service_carry(new, old) : rc;
    rc = rc == 0 ? admit_update(u->ex, new, old) : rc;
    rc = rc == 0 ? metadata_prepare_update(new, old) : rc;
    if (rc == 0 && slice_eq(ex->request.sub, slice_str("status")) &&
        object_get(old, "metadata.generation") != NULL) {
        /* Also a deployment's annotations, which count otherwise, may come with its status. */
        rc = object_set_int(new, "metadata.generation", object_int(old, "metadata.generation", 0));
    }
    rc = rc == 0 ? managed_update(new, old, ex->manager, ex->request.sub, now) : rc;
    if (rc == 0) {
        causes_init(c, &ex->arena);
        rc = service_complete(&ex->api->ranges, new, c);
    }
    if (rc != 0) {
        exchange_no_memory(ex);
        return false;
    }
    validate_update(new, old, c);
    if (c->count > 0) {
        exchange_fail(ex,
                      status_invalid(&ex->arena, ex->request.group,
                                     slice_str(schema_type_name(new->type)), ex->request.name, c));
        return false;
    }
    if (c->failed) {
        exchange_no_memory(ex);
        return false;
    }
    return true;
}

/* The new value. False: answered. */
static bool update_encode(struct update *u, struct object *new)
{
    struct buf text;
    buf_init(&text);
    int rc = stored_encode(new, &text);
    u->value = rc == 0 ? arena_dup(&u->ex->arena, buf_slice(&text)) : slice_of(NULL, 0);
    buf_close(&text);
    u->now = *new;
    if (u->value.data == NULL) {
        exchange_no_memory(u->ex);
        return false;
    }
    return true;
}

bool update_check_name(struct exchange *ex, const struct object *o)
{
    struct slice name = object_text(o, "metadata.name");
    struct slice want = ex->request.name;
    if (name.len == 0) {
        exchange_fail(ex, status_bad_request(&ex->arena,
                                             "the name of the object (%.*s based on URL) was "
                                             "undeterminable: name must be provided",
                                             (int)want.len, (const char *)want.data));
        return false;
    }
    if (!slice_eq(name, want)) {
        exchange_fail(ex, status_bad_request(&ex->arena,
                                             "the name of the object (%.*s) does not match the "
                                             "name on the URL (%.*s)",
                                             (int)name.len, (const char *)name.data, (int)want.len,
                                             (const char *)want.data));
        return false;
    }
    return true;
}

static void update_missing(struct update *u)
{
    struct exchange *ex = u->ex;
    struct status_about about = request_about(&ex->request);
    bool creates = !u->patch && ex->request.sub.len == 0 &&
                   (ex->request.kind->rules & SCHEMA_RULE_CREATE_ON_UPDATE);
    if (!creates) {
        exchange_fail(ex, status_not_found(&ex->arena, &about));
        return;
    }
    struct slice uid = object_text(&u->given, "metadata.uid");
    if (uid.len > 0) {
        exchange_fail(ex, status_conflict(&ex->arena, &about,
                                          "Precondition failed: UID in precondition: %.*s, UID in "
                                          "object meta: ",
                                          (int)uid.len, (const char *)uid.data));
        return;
    }
    /* Whoever may change an object need not be allowed to make one. */
    struct status refusal;
    ex->request.verb = REQUEST_CREATE;
    if (!gate_lets_pass(ex, &refusal)) {
        exchange_fail(ex, refusal);
        return;
    }
    object_remove(&u->given, "metadata.resourceVersion");
    create_object(ex, &u->given);
}

/* What it takes and gives back; all, when it goes with this write. False: answered. */
static bool update_allocate(struct update *u, const struct object *old, struct object *new)
{
    return service_allocate(u->ex, &u->allocation, update_goes(new) ? NULL : new, old);
}

static void update_apply(struct update *u, const struct kvp_row *row)
{
    struct exchange *ex = u->ex;
    struct object old;
    struct object new;
    struct errmsg e = {.text = ""};
    if (row == NULL) {
        update_missing(u);
        return;
    }
    struct slice stored = arena_dup(&ex->arena, slice_of_kvp(row->value));
    int64_t revision = row->mod_revision;
    int rc = stored.data == NULL
                 ? ERR_NOMEM
                 : stored_decode(ex->request.type, stored, revision, &ex->arena, &old, &e);
    if (rc != 0) {
        exchange_fail(
            ex, status_internal(&ex->arena, "%s", rc == ERR_NOMEM ? "out of memory" : e.text));
        return;
    }
    if (!u->make(u, &old, &new) ||
        (!u->bare && (!update_check(u, &old, &new) || !update_prepare(u, &old, &new))) ||
        !update_allocate(u, &old, &new) || !update_encode(u, &new)) {
        return;
    }
    if (slice_eq(stored, u->value)) {
        u->answer(u, &u->now, revision);
        return;
    }
    update_write(u, &new, revision);
}

bool update_read_patch(struct update *u)
{
    struct exchange *ex = u->ex;
    u->patch = true;
    switch (media_body(ex->content_type)) {
    case MEDIA_BODY_JSON_PATCH:
        u->patch_kind = PATCH_JSON;
        return true;
    case MEDIA_BODY_MERGE_PATCH:
        u->patch_kind = PATCH_MERGE;
        return true;
    case MEDIA_BODY_STRATEGIC_PATCH:
        u->patch_kind = PATCH_STRATEGIC;
        return true;
    default:
        exchange_fail(ex, status_unsupported_media(&ex->arena, MEDIA_PATCHES));
        return false;
    }
}

struct update *update_new(struct exchange *ex)
{
    struct update *u = arena_zalloc(&ex->arena, sizeof *u);
    if (u == NULL) {
        exchange_no_memory(ex);
        return NULL;
    }
    u->ex = ex;
    return u;
}

void update_run(struct update *u)
{
    struct exchange *ex = u->ex;
    struct buf key;
    buf_init(&key);
    stored_key(ex->request.type, ex->request.space, ex->request.name, &key);
    u->key = key.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&key));
    buf_close(&key);
    if (u->key.data == NULL) {
        exchange_no_memory(ex);
        return;
    }
    update_read(u);
}

/* ---- PUT and PATCH ------------------------------------------------------------------------- */

static bool verb_update_make(struct update *u, const struct object *old, struct object *new)
{
    if (u->patch) {
        return update_patch(u, old, new) && update_check_name(u->ex, new);
    }
    if (object_copy(&u->given, &u->ex->arena, new) == 0) {
        return true;
    }
    exchange_no_memory(u->ex);
    return false;
}

static void verb_update_answer(struct update *u, struct object *now, int64_t revision)
{
    answer_stored(u->ex, 200, u->value, revision);
}

void verb_update(struct exchange *ex)
{
    struct update *u = update_new(ex);
    bool patch = ex->request.verb == REQUEST_PATCH;
    /* The form first: server-side apply has parameters of its own, which must not hide that it is
     * not there. */
    if (u == NULL || (patch && !update_read_patch(u)) ||
        !body_check_options(ex, patch ? "PatchOptions" : "UpdateOptions")) {
        return;
    }
    u->make = verb_update_make;
    u->answer = verb_update_answer;
    if (patch || (body_decode(ex, &u->given) && update_check_name(ex, &u->given))) {
        update_run(u);
    }
}
