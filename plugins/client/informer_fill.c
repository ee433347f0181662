/* informer_fill.c - list and watch: what an informer asks for next, and when.
 *
 *   LISTING --last page--> WATCHING --ended--> WATCHING from the revision seen
 *      ^  \__failed__         |  \___failed__> WAITING, then again
 *      |___________\_410______/
 *
 * Pages are taken in as they come: they are all of one revision, which is not older than anything
 * the informer shows. What no page had is removed after the last one. A failure keeps all objects.
 * Nothing is lost for want of memory: the watch begins again behind the last change taken in. */
#include "plugins/client/informer_impl.h"

static void informer_watch(struct informer *i);

/* ---- failures ------------------------------------------------------------------------------ */

static uint64_t informer_backoff(const struct informer *i)
{
    const struct kvp_host *host = i->client.host;
    uint64_t ms = i->synced ? INFORMER_BACKOFF_MS_FIRST : INFORMER_BACKOFF_MS_EARLY;
    uint64_t dice;
    for (uint32_t k = 1; k < i->failures && ms < INFORMER_BACKOFF_MS_LAST; k++) {
        ms *= 2;
    }
    ms = ms < INFORMER_BACKOFF_MS_LAST ? ms : INFORMER_BACKOFF_MS_LAST;
    host->random(i->client.ctx, &dice, sizeof(dice));
    return ms + dice % (ms + 1);
}

/* Goes on later: with a list, or with a watch from the revision shown. */
static void informer_wait(struct informer *i, const char *what, struct slice why)
{
    const struct kvp_host *host = i->client.host;
    i->failures += i->failures < UINT32_MAX;
    KVP_LOG(host, i->client.ctx, i->failures == INFORMER_FAILURES_TOLD ? KVP_WARN : KVP_DEBUG, what,
            kvp_f_str("kind", schema_type_name(i->type)), kvp_f_bytes("why", kvp_of_slice(why)),
            kvp_f_int("failures", i->failures));
    uint64_t ms = informer_backoff(i);
    i->state = INFORMER_WAITING;
    i->retry_at = host->now_ms(i->client.ctx) + ms;
    alarm_set(&i->alarm, ms);
}

static void informer_list_failed(struct informer *i, struct slice why)
{
    i->relist = true;
    informer_wait(i, "listing failed, it is tried again", why);
}

void informer_on_alarm(void *data)
{
    struct informer *i = data;
    informer_enter(i);
    informer_replay(i);
    if (!i->closed && i->state == INFORMER_WAITING) {
        uint64_t now = i->client.host->now_ms(i->client.ctx);
        if (now < i->retry_at) {
            alarm_set(&i->alarm, i->retry_at - now);
        } else if (i->relist) {
            informer_list(i);
        } else {
            informer_watch(i);
        }
    }
    informer_leave(i);
}

/* ---- asking -------------------------------------------------------------------------------- */

static int informer_ask(struct informer *i, struct kvp_object_args *args, struct buf *query)
{
    const struct schema_resource *kind = schema_resource_of(i->type);
    if (i->query.len > 0) {
        buf_append_byte(query, '&');
        buf_append_slice(query, i->query);
    }
    args->size = sizeof(*args);
    args->data = i;
    args->request.size = sizeof(args->request);
    args->request.group = kvp_str(schema_text(i->type, i->type->group));
    args->request.version = kvp_str(schema_text(i->type, i->type->version));
    args->request.resource = kvp_str(schema_text(kind, kind->plural));
    args->request.query = kvp_of_slice(buf_slice(query));
    if (i->metadata) {
        args->request.accept =
            kvp_str(args->request.verb == KVP_VERB_LIST ? CLIENT_METADATA_LIST : CLIENT_METADATA);
    }
    int reason =
        query->failed ? KVP_NO_MEMORY : i->client.host->object(i->client.ctx, args, &i->request);
    if (reason != 0) {
        i->request = NULL;
    }
    if (reason == KVP_STOPPED) {
        i->state = INFORMER_ENDED;
    }
    return reason;
}

/* Why an answer is none: a Status's message, or the host's sentence. In scratch. */
static struct slice informer_why(struct informer *i, const struct kvp_result *r,
                                 const struct kvp_object_answer *a)
{
    struct object status;
    struct errmsg e = {""};
    if (r->outcome != KVP_OK || a == NULL) {
        return slice_str(r->text != NULL ? r->text : "");
    }
    if (object_decode(&status, schema_type(SCHEMA_META_V1_STATUS), &i->scratch,
                      slice_of_kvp(a->body), NULL, &e) != 0) {
        return slice_str("an answer that is no Status");
    }
    return object_text(&status, "message");
}

/* A request has ended. False: with the context, and the informer with it. */
static bool informer_goes_on(struct informer *i, const struct kvp_result *r)
{
    i->request = NULL;
    if (r->outcome != KVP_OK && r->reason == KVP_STOPPED) {
        i->state = INFORMER_ENDED;
        return false;
    }
    return true;
}

/* ---- listing ------------------------------------------------------------------------------- */

static void informer_page(struct informer *i);

/* Removes what the list did not have. */
static void informer_sweep(struct informer *i)
{
    for (struct list *it = i->order.next; it != &i->order && !i->closed;) {
        struct informer_entry *entry = LIST_ENTRY(it, struct informer_entry, link);
        it = it->next;
        if (entry->listed != i->listed) {
            (void)informer_remove(i, entry, NULL); /* needs no memory */
        }
    }
}

static void informer_listed(struct informer *i)
{
    informer_sweep(i);
    if (i->closed) {
        return;
    }
    i->revision = i->listing;
    if (i->failures >= INFORMER_FAILURES_TOLD) {
        KVP_LOG(i->client.host, i->client.ctx, KVP_INFO, "listed again",
                kvp_f_str("kind", schema_type_name(i->type)));
    }
    i->synced = true;
    informer_watch(i);
    informer_tell_synced(i);
}

/* Takes in one page. 0, ERR_INVALID or ERR_NOMEM. */
static int informer_take_page(struct informer *i, struct slice body, struct errmsg *e)
{
    struct object list;
    int rc = object_decode_lean(&list, i->list_type, &i->scratch, body, e);
    if (rc != 0) {
        return rc;
    }
    const struct value *items = object_get(&list, "items");
    for (size_t k = 0; k < value_len(items) && rc == 0 && !i->closed; k++) {
        struct object o = {.type = i->type, .root = items->items[k], .arena = &i->scratch};
        rc = object_set_type_meta(&o);
        if (rc == 0) {
            rc = informer_put(i, &o);
        }
    }
    buf_clear(&i->next);
    buf_append_slice(&i->next, object_text(&list, "metadata.continue"));
    i->listing = object_revision(&list);
    return rc == 0 && i->next.failed ? ERR_NOMEM : rc;
}

static void informer_page_answered(struct informer *i, const struct kvp_result *r,
                                   const struct kvp_object_answer *a)
{
    struct errmsg e = {""};
    if (r->outcome != KVP_OK || a->status >= 400) {
        informer_list_failed(i, informer_why(i, r, a));
        return;
    }
    int rc = informer_take_page(i, slice_of_kvp(a->body), &e);
    if (i->closed) {
        return;
    }
    if (rc != 0) {
        informer_list_failed(i, slice_str(e.text[0] != '\0' ? e.text : err_text(rc)));
    } else if (i->next.len > 0) {
        informer_page(i);
    } else {
        informer_listed(i);
    }
}

static void informer_on_page(void *data, const struct kvp_result *r,
                             const struct kvp_object_answer *a)
{
    struct informer *i = data;
    if (!informer_goes_on(i, r)) {
        return;
    }
    informer_enter(i);
    informer_page_answered(i, r, a);
    arena_close(&i->scratch);
    informer_leave(i);
}

static void informer_page(struct informer *i)
{
    struct kvp_object_args args = {.request = {.verb = KVP_VERB_LIST}, .done = informer_on_page};
    struct buf query;
    buf_init(&query);
    buf_printf(&query, "limit=%u", INFORMER_PAGE_OBJECTS);
    if (i->next.len > 0) {
        buf_append_str(&query, "&continue=");
        client_add_escaped(&query, buf_slice(&i->next));
    }
    int reason = informer_ask(i, &args, &query);
    buf_close(&query);
    if (reason != 0 && reason != KVP_STOPPED) {
        informer_list_failed(i, slice_str("the request could not be made"));
    }
}

void informer_list(struct informer *i)
{
    i->state = INFORMER_LISTING;
    i->listed++;
    buf_clear(&i->next);
    informer_page(i);
}

/* ---- watching ------------------------------------------------------------------------------ */

/* The revision shown is gone: lists again, at once the first time. */
static void informer_compacted(struct informer *i)
{
    i->relist = true;
    if (i->failures == 0) {
        i->failures = 1;
        informer_list(i);
        return;
    }
    informer_wait(i, "the watched revision is compacted again", slice_str("410"));
}

static int informer_take_event(struct informer *i, struct slice type, struct slice body,
                               int64_t revision, struct errmsg *e)
{
    struct object o;
    int rc = object_decode_lean(&o, i->type, &i->scratch, body, e);
    rc = rc == 0 ? object_set_type_meta(&o) : rc;
    if (rc != 0) {
        return rc;
    }
    int64_t before = i->revision;
    int64_t at = object_revision(&o);
    at = at > 0 ? at : revision;
    i->revision = at > before ? at : before; /* what handlers are told of is shown already */
    if (slice_eq(type, slice_str("DELETED"))) {
        struct buf key;
        buf_init(&key);
        rc = object_key(&o, &key);
        struct informer_entry *entry = rc == 0 ? informer_entry(i, buf_slice(&key)) : NULL;
        buf_close(&key);
        rc = entry != NULL ? informer_remove(i, entry, &o) : rc;
    } else if (!slice_eq(type, slice_str("BOOKMARK"))) {
        rc = informer_put(i, &o);
    }
    if (rc != 0) {
        i->revision = before; /* nothing has changed: the watch begins again from here */
    }
    return rc;
}

/* The stream is of no use any more. */
static void informer_drop_watch(struct informer *i)
{
    i->client.host->object_cancel(i->request);
    i->request = NULL;
}

static void informer_take_error(struct informer *i, struct slice body)
{
    struct object status;
    struct errmsg e = {""};
    informer_drop_watch(i);
    int rc =
        object_decode(&status, schema_type(SCHEMA_META_V1_STATUS), &i->scratch, body, NULL, &e);
    if (rc == 0 && object_int(&status, "code", 0) == 410) {
        informer_compacted(i);
        return;
    }
    i->relist = false;
    informer_wait(i, "a watch failed, it is begun again",
                  rc == 0 ? object_text(&status, "message") : slice_str(e.text));
}

static void informer_on_event(void *data, struct kvp_bytes type, struct kvp_bytes object,
                              int64_t revision)
{
    struct informer *i = data;
    struct errmsg e = {""};
    informer_enter(i);
    if (slice_eq(slice_of_kvp(type), slice_str("ERROR"))) {
        informer_take_error(i, slice_of_kvp(object));
    } else {
        int rc = informer_take_event(i, slice_of_kvp(type), slice_of_kvp(object), revision, &e);
        if (rc == 0) {
            i->heard = true;
            i->failures = 0;
        } else if (!i->closed) {
            informer_drop_watch(i);
            i->relist = false;
            informer_wait(i, "an event could not be taken in",
                          slice_str(e.text[0] != '\0' ? e.text : err_text(rc)));
        }
    }
    arena_clear(&i->scratch);
    informer_leave(i);
}

static void informer_on_watch_end(void *data, const struct kvp_result *r,
                                  const struct kvp_object_answer *a)
{
    struct informer *i = data;
    if (!informer_goes_on(i, r)) {
        return;
    }
    informer_enter(i);
    uint64_t lasted = i->client.host->now_ms(i->client.ctx) - i->began_ms;
    bool good = r->outcome == KVP_OK && a->status < 400;
    if (i->heard || (good && lasted >= INFORMER_WATCH_MS_MIN)) {
        i->failures = 0;
    }
    i->relist = false;
    if (r->outcome == KVP_OK && a->status == 410) {
        informer_compacted(i);
    } else if (good && i->failures == 0 && (i->heard || lasted >= INFORMER_WATCH_MS_MIN)) {
        informer_watch(i);
    } else {
        informer_wait(i, "a watch ended, it is begun again",
                      good ? slice_str("without having told anything") : informer_why(i, r, a));
    }
    arena_clear(&i->scratch);
    informer_leave(i);
}

static void informer_watch(struct informer *i)
{
    struct kvp_object_args args = {.request = {.verb = KVP_VERB_WATCH, .revision = i->revision},
                                   .done = informer_on_watch_end,
                                   .event = informer_on_event};
    struct buf query;
    i->state = INFORMER_WATCHING;
    i->heard = false;
    i->began_ms = i->client.host->now_ms(i->client.ctx);
    buf_init(&query);
    buf_append_str(&query, "allowWatchBookmarks=true");
    int reason = informer_ask(i, &args, &query);
    buf_close(&query);
    if (reason != 0 && reason != KVP_STOPPED) {
        i->relist = false;
        informer_wait(i, "a watch could not be begun", slice_str("the request could not be made"));
    }
}
