/* update.c - PUT and PATCH: read, change, compare and swap, and again when somebody was quicker. */
#include "plugins/apiserver/gate.h"
#include "plugins/apiserver/update.h"

#include "plugins/apiserver/admit.h"
#include "plugins/apiserver/answer.h"
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
#define UPDATE_TRIES 16u

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

static void update_write(struct update *u)
{
    struct exchange *ex = u->ex;
    if (ex->query.dry_run) {
        u->answer(u, &u->now, u->revision);
        return;
    }
    u->commit = (struct commit){.ex = ex,
                                .key = u->key,
                                .value = u->value,
                                .revision = u->revision,
                                .remove = update_goes(&u->now),
                                .claims = &u->allocation.claims,
                                .owner = service_owner(&u->now, &ex->arena),
                                .done = update_committed,
                                .data = u};
    if (u->commit.owner.data == NULL) {
        exchange_no_memory(ex);
    } else {
        commit_run(&u->commit);
    }
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
    struct causes causes; /* what is told of them is written at once */
    struct causes *c = &causes;
    if (!body_dedupe_owners(ex, new, u->tries == 0)) {
        return false;
    }
    int rc = strategy_update(new, old, ex->request.sub);
    rc = rc == 0 ? object_default(new) : rc;
    rc = rc == 0 ? service_carry(new, old) : rc;
    rc = rc == 0 ? admit_update(u->ex, new, old) : rc;
    rc = rc == 0 ? metadata_prepare_update(new, old) : rc;
    if (rc == 0 && slice_eq(ex->request.sub, slice_str("status")) &&
        object_get(old, "metadata.generation") != NULL) {
        /* Also a deployment's annotations, which count otherwise, may come with its status. */
        rc = object_set_int(new, "metadata.generation", object_int(old, "metadata.generation", 0));
    }
    rc = rc == 0 ? managed_update(new, old, ex->manager, ex->request.sub, u->seconds) : rc;
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
static bool update_encode(struct exchange *ex, void *data)
{
    struct update *u = data;
    struct buf text;
    buf_init(&text);
    int rc = stored_encode(&u->now, &text);
    u->value = rc == 0 ? arena_dup(&u->ex->arena, buf_slice(&text)) : slice_of(NULL, 0);
    buf_close(&text);
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
static bool update_allocate(struct update *u)
{
    return service_allocate(u->ex, &u->allocation, update_goes(&u->now) ? NULL : &u->now, &u->old);
}

/* For exchange_work. */
static size_t update_bytes(const struct update *u)
{
    return u->large ? SIZE_MAX : 0;
}

/* What shall be, from what is. */
static bool update_change(struct exchange *ex, void *data)
{
    struct update *u = data;
    struct object *old = &u->old;
    struct object *new = &u->now;
    struct errmsg e = {.text = ""};
    int rc = stored_decode(ex->request.type, u->stored, u->revision, &ex->arena, old, &e);
    if (rc != 0) {
        exchange_fail(
            ex, status_internal(&ex->arena, "%s", rc == ERR_NOMEM ? "out of memory" : e.text));
        return false;
    }
    return u->make(u, old, new) &&
           (u->bare || (update_check(u, old, new) && update_prepare(u, old, new)));
}

static void update_encoded(void *data)
{
    struct update *u = data;
    if (slice_eq(u->stored, u->value)) {
        u->answer(u, &u->now, u->revision);
    } else {
        update_write(u);
    }
}

static void update_changed(void *data)
{
    struct update *u = data;
    if (update_allocate(u)) {
        exchange_work(u->ex, update_bytes(u), update_encode, update_encoded, u);
    }
}

static void update_apply(struct update *u, const struct kvp_row *row)
{
    struct exchange *ex = u->ex;
    if (row == NULL) {
        update_missing(u);
        return;
    }
    u->stored = arena_dup(&ex->arena, slice_of_kvp(row->value));
    u->revision = row->mod_revision;
    u->seconds = (int64_t)(ex->api->host->wall_us(ex->api->ctx) / 1000000u);
    u->large = body_bytes(ex) > EXCHANGE_INLINE_BYTES_MAX ||
               u->stored.len > EXCHANGE_INLINE_BYTES_MAX || update_patch_grows(u);
    if (u->stored.data == NULL) {
        exchange_no_memory(ex);
        return;
    }
    exchange_work(ex, update_bytes(u), update_change, update_changed, u);
}

struct update *update_new(struct exchange *ex)
{
    struct update *u = arena_alloc(&ex->arena, sizeof *u);
    if (u == NULL) {
        exchange_no_memory(ex);
        return NULL;
    }
    memset(u, 0, offsetof(struct update, allocation));
    allocation_init(&u->allocation);
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

void update_go(void *data)
{
    update_run(data);
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
    answer_value(u->ex, 200, u->value, revision);
}

static bool verb_update_decode(struct exchange *ex, void *data)
{
    struct update *u = data;
    return body_decode(ex, &u->given) && update_check_name(ex, &u->given);
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
    if (patch) {
        update_run(u);
    } else {
        exchange_work(ex, body_bytes(ex), verb_update_decode, update_go, u);
    }
}
