/* remove.c - delete and deletecollection. */
#include <inttypes.h>

#include "plugins/apiserver/answer.h"
#include "plugins/apiserver/body.h"
#include "plugins/apiserver/listing.h"
#include "plugins/apiserver/removal.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/verbs.h"

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
        answer_value(ex, 200, rm->value, revision);
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

static bool delete_read_options(struct exchange *ex, void *data)
{
    return removal_read_options(data, ex);
}

static void delete_run(void *data)
{
    struct removal *rm = data;
    rm->done = delete_done;
    removal_run_named(rm);
}

void verb_delete(struct exchange *ex)
{
    struct removal *rm = arena_zalloc(&ex->arena, sizeof *rm);
    if (rm == NULL) {
        exchange_no_memory(ex);
        return;
    }
    rm->ex = ex;
    exchange_work(ex, body_bytes(ex), delete_read_options, delete_run, rm);
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
    struct arena memory; /* of the object in hand */
    struct buf items;    /* of the answer */
};

static void collection_next(struct collection *c);

static void collection_free(struct exchange *ex)
{
    struct collection *c = ex->op;
    buf_close(&c->items);
    arena_close(&c->memory);
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

static bool collection_answer_step(struct exchange *ex, void *data)
{
    struct collection *c = data;
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
    return false;
}

static void collection_answered(void *data)
{
}

static void collection_answer(struct collection *c)
{
    exchange_work(c->removal.ex, c->items.len, collection_answer_step, collection_answered, c);
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
    arena_clear(&c->memory);
    removal_run(&c->removal);
}

static bool collection_read_options(struct exchange *ex, void *data)
{
    struct collection *c = data;
    return removal_read_options(&c->removal, ex);
}

static void collection_run(void *data)
{
    struct collection *c = data;
    struct exchange *ex = c->removal.ex;
    if (!selection_read(ex, &c->selection) || !listing_init(&c->listing, ex, &c->selection)) {
        return;
    }
    buf_init(&c->items);
    arena_init(&c->memory, 0);
    c->removal.memory = &c->memory;
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

void verb_delete_collection(struct exchange *ex)
{
    struct collection *c = arena_zalloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
    } else {
        exchange_work(ex, body_bytes(ex), collection_read_options, collection_run, c);
    }
}
