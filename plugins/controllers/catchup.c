/* catchup.c - the newest change of a kind, and waiting until an informer shows it. */
#include "plugins/controllers/catchup.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "plugins/client/alarm.h"

/* Objects of one answer: a page is decoded within one callback. */
#define CATCHUP_PAGE         100
#define CATCHUP_LOOK_MS      100u
#define CATCHUP_RETRY_MS     100u
#define CATCHUP_RETRY_MS_MAX 10000u

struct catchup {
    struct client client;
    struct informer *informer;
    struct informer_handler *handler;
    const struct schema_type *type;
    struct alarm alarm; /* the first try, those after a failure, looks in between */
    uint64_t retry_ms;
    int64_t newest; /* of the pages so far */
    bool listing;   /* a request is under way */
    bool told;      /* handlers that were there before ours know of all objects, as ours does */
    bool listed, ready_called, closed;
    void (*ready)(void *data);
    void *data;
};

static void catchup_list(struct catchup *c, struct slice token);

static void catchup_free(struct catchup *c)
{
    if (c->closed && !c->listing) {
        mem_free(c);
    }
}

static void catchup_check(struct catchup *c)
{
    if (!c->listed || !c->told || c->ready_called || c->closed) {
        return;
    }
    if (informer_revision(c->informer) < c->newest) {
        alarm_set(&c->alarm, CATCHUP_LOOK_MS); /* the end of a list anew is told to nobody */
        return;
    }
    c->ready_called = true;
    c->ready(c->data);
}

static void catchup_changed(void *data, const struct object *before, const struct object *now)
{
    (void)before;
    (void)now;
    catchup_check(data);
}

static void catchup_synced(void *data)
{
    struct catchup *c = data;
    c->told = true;
    catchup_check(c);
}

static void catchup_try(void *data)
{
    struct catchup *c = data;
    if (!c->listing && !c->listed) {
        c->newest = 0;
        catchup_list(c, slice_of("", 0));
    }
    catchup_check(c);
}

static void catchup_retry(struct catchup *c)
{
    alarm_set(&c->alarm, c->retry_ms);
    c->retry_ms = c->retry_ms * 2 > CATCHUP_RETRY_MS_MAX ? CATCHUP_RETRY_MS_MAX : c->retry_ms * 2;
}

/* One page: its newest change, and where the next one begins. */
static bool catchup_page(struct catchup *c, struct slice json, struct arena *a, struct slice *token)
{
    struct object list;
    struct errmsg e;
    const struct schema_type *item = schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA);
    if (object_decode(&list, schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA_LIST), a, json,
                      NULL, &e) != 0) {
        return false;
    }
    const struct value *items = object_get(&list, "items");
    for (size_t i = 0; i < value_len(items); i++) {
        struct object o = {.type = item, .root = items->items[i], .arena = a};
        int64_t revision = object_revision(&o);
        c->newest = revision > c->newest ? revision : c->newest;
    }
    *token = object_text(&list, "metadata.continue");
    return true;
}

static void catchup_answer(void *data, const struct client_answer *answer)
{
    struct catchup *c = data;
    struct arena a;
    struct slice token = {0};
    c->listing = false;
    if (c->closed || answer->reason == KVP_STOPPED) {
        catchup_free(c);
        return;
    }
    arena_init(&a, 0);
    if (!answer->ok || !catchup_page(c, answer->body, &a, &token)) {
        catchup_retry(c);
    } else if (token.len > 0) {
        catchup_list(c, token);
    } else {
        c->listed = true;
        catchup_check(c);
    }
    arena_close(&a);
}

static void catchup_list(struct catchup *c, struct slice token)
{
    struct buf query;
    buf_init(&query);
    buf_printf(&query, "limit=%d", CATCHUP_PAGE);
    if (token.len > 0) {
        buf_append_str(&query, "&continue=");
        buf_append_slice(&query, token);
    }
    struct client_request r = {.verb = KVP_VERB_LIST,
                               .type = c->type,
                               .query = buf_slice(&query),
                               .done = catchup_answer,
                               .data = c};
    int reason = query.failed ? KVP_NO_MEMORY : client_send(c->client, &r);
    buf_close(&query);
    c->listing = reason == 0;
    if (reason != 0 && reason != KVP_STOPPED) {
        catchup_retry(c);
    }
}

int catchup_open(struct client term, struct informer *i, const struct schema_type *type,
                 void (*ready)(void *data), void *data, struct catchup **out)
{
    struct catchup *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return KVP_NO_MEMORY;
    }
    *c = (struct catchup){.client = term,
                          .informer = i,
                          .type = type,
                          .retry_ms = CATCHUP_RETRY_MS,
                          .ready = ready,
                          .data = data};
    int reason = informer_on(i, catchup_changed, catchup_synced, c, &c->handler);
    reason = reason != 0 ? reason : alarm_open(&c->alarm, term, catchup_try, c);
    if (reason != 0) {
        catchup_close(c);
        return reason;
    }
    *out = c;
    return 0;
}

void catchup_close(struct catchup *c)
{
    if (c == NULL) {
        return;
    }
    c->closed = true;
    informer_off(c->handler);
    alarm_close(&c->alarm);
    catchup_free(c);
}
