/* create.c - objects come into being.
 *
 * One transaction: the name is free, and the namespace is still the one that was looked at, so that
 * nothing is created in a namespace whose end has begun. */
#include <inttypes.h>

#include "plugins/apiserver/admit.h"
#include "plugins/apiserver/answer.h"
#include "plugins/apiserver/body.h"
#include "plugins/apiserver/managed.h"
#include "plugins/apiserver/remember.h"
#include "plugins/apiserver/service.h"
#include "plugins/object/defaults.h"
#include "plugins/object/metadata.h"
#include "plugins/object/validate.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/strategy.h"
#include "plugins/apiserver/verbs.h"

/* Names tried before giving up, and namespaces that change meanwhile. */
#define CREATE_TRIES 8u

struct create {
    struct exchange *ex;
    size_t bytes;         /* of what is worked on */
    struct object object; /* wanted */
    bool decoded;         /* object is */
    bool admitted;
    bool generated; /* the name is */
    bool guesses;   /* nothing was read: what is remembered has to be so still */
    unsigned tries;
    struct admit_guess guess;
    int64_t read_revision;             /* of reads; 0 = none */
    size_t warnings, warning_bytes;    /* before the body was read */
    int64_t space_revision;            /* 0 = no namespace to look at */
    const struct kvp_op_result *reads; /* of admission */
    struct metadata_facts facts;
    uint8_t random[ADMIT_RANDOM_BYTES];
    struct object now; /* what this try stores */
    struct commit commit;
    struct allocation allocation; /* the last: it is large, and not zeroed */
};

static void create_try(struct create *c);
static void create_begin_again(struct create *c);

static struct status_about create_about(struct create *c)
{
    struct status_about about = request_about(&c->ex->request);
    about.name = object_text(&c->now, "metadata.name");
    return about;
}

/* The namespace's row, or none. True: an object may be created in it. */
static bool create_check_space(struct create *c, const struct kvp_row *row)
{
    struct exchange *ex = c->ex;
    struct object space;
    struct errmsg e = {.text = ""};
    struct slice name = ex->request.space;
    if (row == NULL) {
        struct status_about about = {.resource = slice_str("namespaces"), .name = name};
        exchange_fail(ex, status_not_found(&ex->arena, &about));
        return false;
    }
    int rc = remember_decode(ex, schema_type(SCHEMA_CORE_V1_NAMESPACE), row, &space, &e);
    if (rc != 0) {
        exchange_fail(ex, status_internal(&ex->arena, "%s", e.text));
        return false;
    }
    c->space_revision = row->mod_revision;
    if (object_get(&space, "metadata.deletionTimestamp") == NULL) {
        return true;
    }
    struct status_about about = create_about(c);
    struct status s = status_forbidden(
        &ex->arena, &about,
        "unable to create new content in namespace %.*s because it is being terminated",
        (int)name.len, (const char *)name.data);
    struct status_cause *cause = arena_zalloc(&ex->arena, sizeof *cause);
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "namespace %.*s is being terminated", (int)name.len, (const char *)name.data);
    if (cause != NULL && !text.failed) {
        cause->reason = slice_str("NamespaceTerminating");
        cause->message = arena_dup(&ex->arena, buf_slice(&text));
        cause->field = slice_str("metadata.namespace");
        s.causes = cause;
        s.cause_count = 1;
    }
    buf_close(&text);
    exchange_fail(ex, s);
    return false;
}

static bool create_keep_rows(struct arena *a, struct kvp_op_result *op)
{
    struct kvp_row *rows = arena_alloc(a, op->row_count * sizeof *rows);
    for (size_t i = 0; rows != NULL && i < op->row_count; i++) {
        struct slice value = arena_dup(a, slice_of_kvp(op->rows[i].value));
        rows[i] = (struct kvp_row){.value = kvp_of_slice(value),
                                   .mod_revision = op->rows[i].mod_revision};
        if (value.data == NULL) {
            return false;
        }
    }
    op->rows = rows;
    return rows != NULL;
}

/* What was read is needed until the object is admitted: in this callback, or later. False: out of
 * memory. */
static bool create_keep_reads(struct create *c, size_t count)
{
    struct arena *a = &c->ex->arena;
    if (c->bytes <= EXCHANGE_INLINE_BYTES_MAX) {
        return true;
    }
    struct kvp_op_result *reads = arena_alloc(a, count * sizeof *reads);
    for (size_t i = 0; reads != NULL && i < count; i++) {
        reads[i] = c->reads[i];
        if (!create_keep_rows(a, &reads[i])) {
            return false;
        }
    }
    c->reads = reads;
    return reads != NULL;
}

static void create_read_answer(void *data, const struct kvp_result *r,
                               const struct kvp_txn_result *t)
{
    struct create *c = data;
    struct exchange *ex = c->ex;
    if (!exchange_back_well(ex, r)) {
        return;
    }
    const struct kvp_op_result *reads = t->ops;
    if (ex->request.space.len > 0) {
        const struct kvp_row *space = reads->row_count > 0 ? &reads->rows[0] : NULL;
        if (!create_check_space(c, space)) {
            return;
        }
        reads++;
    }
    c->reads = reads;
    c->read_revision = r->revision;
    if (create_keep_reads(c, t->count - (size_t)(reads - t->ops))) {
        create_try(c);
    } else {
        exchange_no_memory(ex);
    }
}

static void create_space_answer(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct create *c = data;
    if (exchange_back_well(c->ex, r) &&
        create_check_space(c, rows->count > 0 ? &rows->rows[0] : NULL)) {
        create_try(c);
    }
}

/* The namespace, and what admission wants to see. */
static void create_read(struct create *c)
{
    struct exchange *ex = c->ex;
    const struct kvp_host *host = ex->api->host;
    bool more = admit_needs_reads(ex, &c->object);
    bool spaced = ex->request.space.len > 0;
    struct kvp_txn *txn = more ? host->txn_new(ex->ctx) : NULL;
    struct buf key;
    buf_init(&key);
    stored_key(schema_type(SCHEMA_CORE_V1_NAMESPACE), slice_of("", 0), ex->request.space, &key);
    struct kvp_range get = {.size = sizeof get, .key = kvp_bytes_of(key.data, key.len)};
    exchange_call(ex);
    int rc = key.failed ? KVP_NO_MEMORY : more && txn == NULL ? KVP_UNAVAILABLE : 0;
    if (rc == 0 && !more) {
        rc = host->get(ex->ctx, get.key, create_space_answer, c);
    } else if (rc == 0) {
        rc = spaced ? host->txn_get(txn, KVP_THEN, &get) : 0;
        rc = rc == 0 ? admit_ask(ex, &c->object, txn) : rc;
        if (rc == 0) {
            rc = host->txn_commit(txn, create_read_answer, c);
        } else {
            host->txn_free(txn);
        }
    } else if (txn != NULL) {
        host->txn_free(txn);
    }
    buf_close(&key);
    if (rc != 0) {
        exchange_not_called(ex, rc);
    }
}

static void create_again(void *data)
{
    create_try(data);
}

static void create_committed(struct commit *commit, enum commit_end end, int64_t revision,
                             const struct kvp_row *row)
{
    struct create *c = commit->data;
    struct exchange *ex = c->ex;
    struct status_about about = create_about(c);
    if (end == COMMIT_DONE) {
        answer_value(ex, 201, commit->value, ex->query.dry_run ? 0 : revision);
        return;
    }
    c->tries++;
    if (end == COMMIT_GUESSED || (end == COMMIT_CHANGED && c->guesses && !c->generated)) {
        create_begin_again(c);
    } else if (end == COMMIT_CHANGED) {
        if (!c->generated) {
            exchange_fail(ex, status_exists(&ex->arena, &about));
        } else if (c->tries >= CREATE_TRIES) {
            exchange_fail(ex, status_exists_generated(&ex->arena, &about));
        } else {
            create_try(c);
        }
    } else if (end == COMMIT_TAKEN) {
        service_taken(ex, &c->allocation, &c->now, commit->taken, create_again, c);
    } else if (c->tries >= CREATE_TRIES) {
        exchange_fail(ex, status_server_timeout(&ex->arena, &about, "create"));
    } else if (create_check_space(c, row)) {
        create_try(c);
    }
}

/* The bytes to be stored. */
static bool create_encode(struct exchange *ex, void *data)
{
    struct create *c = data;
    struct object *o = &c->now;
    struct commit *commit = &c->commit;
    struct buf text;
    *commit = (struct commit){.ex = ex,
                              .space_revision = c->space_revision,
                              .claims = &c->allocation.claims,
                              .owner = service_owner(o, &ex->arena),
                              .done = create_committed,
                              .data = c};
    if (c->guesses) {
        memcpy(commit->guards, c->guess.guards, sizeof commit->guards);
        commit->guard_count = c->guess.guard_count;
    }
    buf_init(&text);
    int rc = stored_encode(o, &text);
    commit->value = rc == 0 ? arena_dup(&ex->arena, buf_slice(&text)) : slice_of(NULL, 0);
    buf_clear(&text);
    stored_key(o->type, ex->request.space, object_text(o, "metadata.name"), &text);
    commit->key = text.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&text));
    buf_close(&text);
    if (commit->value.data == NULL || commit->key.data == NULL || commit->owner.data == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    return true;
}

static void create_write(void *data)
{
    struct create *c = data;
    commit_run(&c->commit);
}

/* Admits the object, gives it its identity and checks it. */
static bool create_make(struct exchange *ex, void *data)
{
    struct create *c = data;
    struct object *o = &c->now;
    if (!c->admitted && !admit_create(ex, &c->object, c->reads, c->random)) {
        return false;
    }
    if (!c->admitted && c->read_revision > 0) {
        admit_learn(ex, &c->object, c->read_revision);
    }
    c->admitted = true;
    struct causes causes; /* what is told of them is written at once */
    int rc = 0;
    if ((c->generated || o->type == schema_type(SCHEMA_CORE_V1_SERVICE))) {
        rc = object_copy(&c->object, &ex->arena, o);
    } else {
        *o = c->object; /* the next try makes the same changes to it again */
    }
    rc = rc == 0 ? metadata_prepare_create(o, &c->facts) : rc;
    causes_init(&causes, &ex->arena);
    rc = rc == 0 ? service_complete(&ex->api->ranges, o, &causes) : rc;
    if (rc != 0) {
        exchange_no_memory(ex);
        return false;
    }
    validate_create(o, &causes);
    if (causes.failed) {
        exchange_no_memory(ex);
        return false;
    }
    if (causes.count > 0) {
        exchange_fail(ex, status_invalid(&ex->arena, ex->request.group,
                                         slice_str(schema_type_name(o->type)),
                                         object_text(o, "metadata.name"), &causes));
        return false;
    }
    return true;
}

static void create_made(void *data)
{
    struct create *c = data;
    if (service_allocate(c->ex, &c->allocation, &c->now, NULL)) {
        exchange_work(c->ex, c->bytes, create_encode, create_write, c);
    }
}

/* Time and chance of one try. */
static void create_draw(struct create *c)
{
    const struct apiserver *api = c->ex->api;
    uint8_t random[sizeof c->facts.random + sizeof c->random];
    api->host->random(api->ctx, random, sizeof random);
    memcpy(c->facts.random, random, sizeof c->facts.random);
    memcpy(c->random, random + sizeof c->facts.random, sizeof c->random);
    c->facts.now_seconds = (int64_t)(api->host->wall_us(api->ctx) / 1000000u);
}

static void create_try(struct create *c)
{
    create_draw(c);
    exchange_work(c->ex, c->bytes, create_make, create_made, c);
}

/* Reads what the client sent, and fills in what every object of its kind has. */
static bool create_prepare(struct exchange *ex, void *data)
{
    struct create *c = data;
    struct object *o = &c->object;
    if (!c->decoded && !body_decode(ex, o)) {
        return false;
    }
    if (!c->decoded && object_text(o, "metadata.resourceVersion").len > 0) {
        exchange_fail(
            ex, status_unclassed(&ex->arena,
                                 "resourceVersion should not be set on objects to be created"));
        return false;
    }
    c->now = *o;
    c->generated =
        object_text(o, "metadata.name").len == 0 && object_text(o, "metadata.generateName").len > 0;
    if (!body_dedupe_owners(ex, o, true)) {
        return false;
    }
    strategy_reset(o);
    int rc = object_default(o);
    rc = rc == 0 ? managed_update(o, NULL, ex->manager, ex->request.sub, c->facts.now_seconds) : rc;
    rc = rc == 0 ? strategy_create(o) : rc;
    if (rc != 0) {
        exchange_no_memory(ex);
        return false;
    }
    return true;
}

/* Whether nothing has to be read, since what would be is remembered: then it is made at once, and
 * the write tells whether that was right. A refusal by what may be old is none: then it is read. */
static bool create_guess(struct create *c)
{
    struct exchange *ex = c->ex;
    const struct schema_type *spaces = schema_type(SCHEMA_CORE_V1_NAMESPACE);
    struct buf key;
    buf_init(&key);
    stored_key(spaces, slice_of("", 0), ex->request.space, &key);
    const struct object *space =
        key.failed || ex->request.space.len == 0
            ? NULL
            : remember_find(ex->api, spaces, buf_slice(&key), &c->space_revision);
    buf_close(&key);
    if (space == NULL || object_get(space, "metadata.deletionTimestamp") != NULL ||
        !admit_guess(ex, &c->object, &c->guess)) {
        return false;
    }
    c->guesses = true;
    c->reads = c->guess.reads;
    create_draw(c);
    return exchange_tentatively(ex, create_make, c);
}

static void create_prepared(void *data)
{
    struct create *c = data;
    bool plain = !c->decoded && c->tries == 0 && c->bytes <= EXCHANGE_INLINE_BYTES_MAX &&
                 c->object.type != schema_type(SCHEMA_CORE_V1_SERVICE);
    if (plain && create_guess(c)) {
        create_made(c);
    } else if (c->guesses) {
        create_begin_again(c);
    } else if (c->ex->request.space.len > 0 || admit_needs_reads(c->ex, &c->object)) {
        create_read(c);
    } else {
        create_try(c);
    }
}

/* o NULL: it is in the body. */
static void create_begin(struct exchange *ex, const struct object *o)
{
    struct create *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return;
    }
    memset(c, 0, offsetof(struct create, allocation));
    allocation_init(&c->allocation);
    c->ex = ex;
    c->bytes = body_bytes(ex);
    c->decoded = o != NULL;
    if (o != NULL) {
        c->object = *o;
    }
    c->warnings = ex->warning_count;
    c->warning_bytes = ex->warning_bytes;
    c->facts.now_seconds = (int64_t)(ex->api->host->wall_us(ex->api->ctx) / 1000000u);
    exchange_work(ex, c->bytes, create_prepare, create_prepared, c);
}

/* What was remembered is not so any more: all of it again, with what is read now. */
static void create_begin_again(struct create *c)
{
    struct exchange *ex = c->ex;
    ex->warning_count = c->warnings;
    ex->warning_bytes = c->warning_bytes;
    c->guesses = false;
    c->admitted = false;
    c->space_revision = 0;
    c->tries++;
    exchange_work(ex, c->bytes, create_prepare, create_prepared, c);
}

void create_object(struct exchange *ex, struct object *o)
{
    create_begin(ex, o);
}

void verb_create(struct exchange *ex)
{
    if (body_check_options(ex, "CreateOptions")) {
        create_begin(ex, NULL);
    }
}
