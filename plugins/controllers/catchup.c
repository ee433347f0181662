/* catchup.c - the newest change of a kind, and waiting until an informer shows it. */
#include "plugins/controllers/catchup.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/list.h"
#include "plugins/client/alarm.h"

/* Objects of one answer: a page is decoded within one callback. */
#define CATCHUP_PAGE         200
#define CATCHUP_LOOK_MS      100u
#define CATCHUP_RETRY_MS     100u
#define CATCHUP_RETRY_MS_MAX 10000u

struct catchup_list {
    struct client client;
    const struct schema_type *type;
    struct catchup_list **home; /* where those who wait find it; NULL = closed */
    struct list waiters;        /* catchup.link */
    struct alarm alarm;         /* the first try, and those after a failure */
    uint64_t retry_ms;
    int64_t newest; /* of the pages so far */
    bool asking;    /* a request is under way */
    bool listed;
};

struct catchup {
    struct list link;
    struct catchup_list *list;
    struct informer *informer;
    struct informer_handler *handler;
    struct alarm alarm; /* looks in between */
    bool told;          /* handlers that were there before ours know of all objects, as ours does */
    bool ready_called;
    void (*ready)(void *data);
    void *data;
};

/* ---- the list ------------------------------------------------------------------------------- */

static void catchup_ask(struct catchup_list *l, struct slice token);

static void catchup_list_free(struct catchup_list *l)
{
    if (l->home == NULL && !l->asking) {
        mem_free(l);
    }
}

static void catchup_list_close(struct catchup_list *l)
{
    *l->home = NULL;
    l->home = NULL;
    alarm_close(&l->alarm);
    catchup_list_free(l);
}

static void catchup_try(void *data)
{
    struct catchup_list *l = data;
    if (!l->asking && !l->listed) {
        l->newest = 0;
        catchup_ask(l, slice_of("", 0));
    }
}

static void catchup_retry(struct catchup_list *l)
{
    alarm_set(&l->alarm, l->retry_ms);
    l->retry_ms = l->retry_ms * 2 > CATCHUP_RETRY_MS_MAX ? CATCHUP_RETRY_MS_MAX : l->retry_ms * 2;
}

/* One page: its newest change, and where the next one begins. */
static bool catchup_page(struct catchup_list *l, struct slice json, struct arena *a,
                         struct slice *token)
{
    struct object list;
    struct errmsg e;
    const struct schema_type *item = schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA);
    if (object_decode_lean(&list, schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA_LIST), a, json,
                           &e) != 0) {
        return false;
    }
    const struct value *items = object_get(&list, "items");
    for (size_t i = 0; i < value_len(items); i++) {
        struct object o = {.type = item, .root = items->items[i], .arena = a};
        int64_t revision = object_revision(&o);
        l->newest = revision > l->newest ? revision : l->newest;
    }
    *token = object_text(&list, "metadata.continue");
    return true;
}

static void catchup_answer(void *data, const struct client_answer *answer)
{
    struct catchup_list *l = data;
    struct arena a;
    struct slice token = {0};
    l->asking = false;
    if (l->home == NULL || answer->reason == KVP_STOPPED) {
        catchup_list_free(l);
        return;
    }
    arena_init(&a, 0);
    if (!answer->ok || !catchup_page(l, answer->body, &a, &token)) {
        catchup_retry(l);
    } else if (token.len > 0) {
        catchup_ask(l, token);
    } else {
        l->listed = true;
        LIST_FOREACH (it, &l->waiters) {
            alarm_set(&LIST_ENTRY(it, struct catchup, link)->alarm, 0);
        }
    }
    arena_close(&a);
}

static void catchup_ask(struct catchup_list *l, struct slice token)
{
    struct buf query;
    buf_init(&query);
    buf_printf(&query, "limit=%d", CATCHUP_PAGE);
    if (token.len > 0) {
        buf_append_str(&query, "&continue=");
        client_add_escaped(&query, token);
    }
    struct client_request r = {.verb = KVP_VERB_LIST,
                               .type = l->type,
                               .query = buf_slice(&query),
                               .metadata = true,
                               .done = catchup_answer,
                               .data = l};
    int reason = query.failed ? KVP_NO_MEMORY : client_send(l->client, &r);
    buf_close(&query);
    l->asking = reason == 0;
    if (reason != 0 && reason != KVP_STOPPED) {
        catchup_retry(l);
    }
}

static int catchup_list_open(struct client term, const struct schema_type *type,
                             struct catchup_list **home)
{
    struct catchup_list *l = mem_zalloc(sizeof *l);
    if (l == NULL) {
        return KVP_NO_MEMORY;
    }
    *l = (struct catchup_list){
        .client = term, .type = type, .home = home, .retry_ms = CATCHUP_RETRY_MS};
    list_init(&l->waiters);
    *home = l;
    int reason = alarm_open(&l->alarm, term, catchup_try, l);
    if (reason != 0) {
        catchup_list_close(l);
    }
    return reason;
}

/* ---- those who wait ------------------------------------------------------------------------- */

static void catchup_check(void *data)
{
    struct catchup *c = data;
    if (!c->list->listed || !c->told || c->ready_called) {
        return;
    }
    if (informer_revision(c->informer) < c->list->newest) {
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

int catchup_open(struct client term, struct informer *i, const struct schema_type *type,
                 struct catchup_list **shared, void (*ready)(void *data), void *data,
                 struct catchup **out)
{
    int reason = *shared == NULL ? catchup_list_open(term, type, shared) : 0;
    struct catchup *c = reason == 0 ? mem_zalloc(sizeof *c) : NULL;
    if (c == NULL) {
        if (reason == 0 && list_empty(&(*shared)->waiters)) {
            catchup_list_close(*shared);
        }
        return reason == 0 ? KVP_NO_MEMORY : reason;
    }
    *c = (struct catchup){.list = *shared, .informer = i, .ready = ready, .data = data};
    list_push_back(&c->list->waiters, &c->link);
    reason = informer_on(i, catchup_changed, catchup_synced, c, &c->handler);
    reason = reason != 0 ? reason : alarm_open(&c->alarm, term, catchup_check, c);
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
    informer_off(c->handler);
    alarm_close(&c->alarm);
    list_remove(&c->link);
    if (list_empty(&c->list->waiters)) {
        catchup_list_close(c->list);
    }
    mem_free(c);
}
