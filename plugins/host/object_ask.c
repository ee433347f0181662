/* object_ask.c - the asker's side of an object request, on its lane; see object.h. */
#include "plugins/host/object.h"

#include <stdio.h>

/* ---- the end -----------------------------------------------------------------------------------
 */

void object_on_left(struct lane_msg *m)
{
    struct kvp_object *o = LIST_ENTRY(m, struct kvp_object, left);
    struct instance *in = o->ctx->instance;
    atomic_fetch_sub(&in->requests, 1);
    atomic_fetch_sub(&in->request_bytes, o->words.blob->len);
    blob_unref(o->words.blob);
    mem_free(o);
}

static void object_bury(struct kvp_object *o)
{
    o->dead = true;
    list_remove(&o->part.link);
    o->leave.run = object_on_leave;
    lane_post(&o->ctx->instance->host->home, &o->leave);
}

static void object_tell(struct kvp_object *o, const struct kvp_result *result,
                        const struct kvp_object_answer *answer)
{
    struct instance *in = o->ctx->instance;
    object_bury(o);
    if (o->ctx->silent) {
        return; /* a failed init: whoever asked is freed */
    }
    callback_enter(in, "object done", bytes_slice(o->words.request.name), result->revision);
    o->done(o->data, result, answer);
    callback_leave(in);
}

static void object_tell_over(struct kvp_object *o, int err, const char *text)
{
    struct kvp_result result;
    /* With these two it has not reached the provider: it certainly did not happen. */
    bool reached = err != ERR_NOT_FOUND && err != ERR_NOMEM;
    answer_result(&result, err, reached && object_changes(&o->words.request), 0);
    result.text = text != NULL ? text : result.text;
    object_tell(o, &result, NULL);
}

void object_on_over(struct lane_msg *m)
{
    struct kvp_object *o = LIST_ENTRY(m, struct kvp_object, over);
    if (!o->dead) {
        object_tell_over(o, o->over_err, o->over_text);
    }
}

static void object_part_end(struct ctx_part *part)
{
    object_tell_over(LIST_ENTRY(part, struct kvp_object, part), ERR_STOPPED, NULL);
}

/* ---- notes -------------------------------------------------------------------------------------
 */

void object_note_free(struct object_note *n)
{
    blob_unref(n->blob);
    mem_free(n);
}

static void object_give_event(struct kvp_object *o, struct object_note *n)
{
    struct instance *in = o->ctx->instance;
    callback_enter(in, "object event", bytes_slice(o->words.request.name), n->revision);
    o->event(o->data, n->type, n->body, n->revision);
    callback_leave(in);
}

void object_on_told(struct lane_msg *m)
{
    struct object_note *n = LIST_ENTRY(m, struct object_note, msg);
    struct kvp_object *o = n->object;
    if (!o->dead && n->is_answer) {
        struct kvp_result result;
        const struct kvp_object_answer answer = {.size = sizeof(answer),
                                                 .status = n->status,
                                                 .content_type = n->type,
                                                 .body = n->body,
                                                 .revision = n->revision};
        answer_result(&result, 0, false, n->revision);
        object_tell(o, &result, &answer);
    } else if (!o->dead) {
        object_give_event(o, n);
    }
    if (o->dead) { /* credit would come behind `leave` */
        object_note_free(n);
        return;
    }
    n->msg.run = object_on_credit;
    lane_post(&o->ctx->instance->host->home, &n->msg);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

/* Copies texts one behind the other. */
struct words_writer {
    uint8_t *at;
};

static void words_put(struct words_writer *w, struct kvp_bytes *b)
{
    if (b->len > 0) {
        memcpy(w->at, b->data, b->len);
    }
    b->data = w->at;
    w->at += b->len;
}

static size_t words_identity_bytes(const struct kvp_identity *i)
{
    size_t n = i->user.len + i->uid.len + i->group_count * sizeof(struct kvp_bytes) +
               i->extra_count * sizeof(struct kvp_pair);
    for (size_t k = 0; k < i->group_count; k++) {
        n += i->groups[k].len;
    }
    for (size_t k = 0; k < i->extra_count; k++) {
        n += i->extra[k].name.len + i->extra[k].value.len;
    }
    return n;
}

static size_t words_request_bytes(const struct kvp_object_request *r)
{
    return r->group.len + r->version.len + r->resource.len + r->subresource.len + r->space.len +
           r->name.len + r->body.len + r->content_type.len + r->accept.len + r->query.len;
}

/* false: out of memory. */
static bool words_make(struct object_words *w, const struct kvp_object_request *r,
                       const struct kvp_identity *i)
{
    w->blob = blob_new(words_identity_bytes(i) + words_request_bytes(r));
    if (w->blob == NULL) {
        return false;
    }
    w->request = *r;
    w->request.size = sizeof(w->request);
    w->identity = *i;
    w->identity.size = sizeof(w->identity);
    /* The arrays stand first: a blob's bytes are aligned for them. */
    struct kvp_bytes *groups = (struct kvp_bytes *)(void *)w->blob->data;
    struct kvp_pair *extra = (struct kvp_pair *)(void *)(groups + i->group_count);
    struct words_writer at = {.at = (uint8_t *)(extra + i->extra_count)};
    for (size_t k = 0; k < i->group_count; k++) {
        groups[k] = i->groups[k];
        words_put(&at, &groups[k]);
    }
    for (size_t k = 0; k < i->extra_count; k++) {
        extra[k] = i->extra[k];
        words_put(&at, &extra[k].name);
        words_put(&at, &extra[k].value);
    }
    w->identity.groups = groups;
    w->identity.extra = extra;
    words_put(&at, &w->identity.user);
    words_put(&at, &w->identity.uid);
    struct kvp_bytes *texts[] = {
        &w->request.group,  &w->request.version, &w->request.resource, &w->request.subresource,
        &w->request.space,  &w->request.name,    &w->request.body,     &w->request.content_type,
        &w->request.accept, &w->request.query};
    for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
        words_put(&at, texts[k]);
    }
    return true;
}

static int object_check(const struct kvp_object_args *a)
{
    const struct kvp_object_request *r = a != NULL ? &a->request : NULL;
    if (a == NULL || a->size < sizeof(*a) || a->done == NULL || r->size < sizeof(*r) ||
        r->verb < KVP_VERB_GET || r->verb > KVP_VERB_BIND || r->version.len == 0 ||
        r->resource.len == 0 || (r->verb == KVP_VERB_WATCH && a->event == NULL) ||
        (a->identity != NULL && a->identity->size < sizeof(*a->identity))) {
        return KVP_INVALID;
    }
    return words_request_bytes(r) > PLUGIN_OBJECT_BYTES_MAX ? KVP_TOO_LARGE : 0;
}

/* Made, but for what its words are. */
static struct kvp_object *object_new(struct kvp_ctx *ctx, const struct kvp_object_args *a,
                                     int *reason)
{
    struct instance *in = ctx->instance;
    if (atomic_load(&in->requests) >= PLUGIN_REQUESTS_MAX ||
        atomic_load(&in->request_bytes) >= PLUGIN_REQUEST_BYTES_MAX) {
        *reason = KVP_BUSY;
        return NULL;
    }
    struct kvp_object *o = mem_zalloc(sizeof(*o));
    if (o == NULL) {
        *reason = KVP_NO_MEMORY;
        return NULL;
    }
    o->ctx = ctx;
    o->done = a->done;
    o->event = a->event;
    o->data = a->data;
    o->part.end = object_part_end;
    o->ask.run = object_on_ask;
    return o;
}

static int host_object(struct kvp_ctx *ctx, const struct kvp_object_args *a,
                       struct kvp_object **out)
{
    char user[sizeof("kvd:plugin:") + PLUGIN_NAME_BYTES_MAX];
    static const struct kvp_bytes groups[] = {{"kvd:plugins", 11}};
    int reason = ctx_check(ctx);
    if (reason == 0) {
        reason = object_check(a);
    }
    struct kvp_object *o = reason == 0 ? object_new(ctx, a, &reason) : NULL;
    if (o == NULL) {
        return reason;
    }
    struct instance *in = ctx->instance;
    snprintf(user, sizeof(user), "kvd:plugin:%s", in->name);
    const struct kvp_identity own = {.size = sizeof(own),
                                     .authenticated = 1,
                                     .user = kvp_str(user),
                                     .groups = groups,
                                     .group_count = 1};
    if (!words_make(&o->words, &a->request, a->identity != NULL ? a->identity : &own)) {
        mem_free(o);
        return KVP_NO_MEMORY;
    }
    atomic_fetch_add(&in->requests, 1);
    atomic_fetch_add(&in->request_bytes, o->words.blob->len);
    list_push_back(&ctx->parts, &o->part.link);
    lane_post(&in->host->home, &o->ask);
    if (out != NULL) {
        *out = o;
    }
    return 0;
}

static void host_object_cancel(struct kvp_object *o)
{
    if (o != NULL && !o->dead) {
        object_bury(o);
    }
}

void object_ask_calls(struct kvp_host *t)
{
    t->object = host_object;
    t->object_cancel = host_object_cancel;
}
