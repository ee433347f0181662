/* object_home.c - object requests on the store loop: who answers whom, and who has gone; see
 * object.h. */
#include "plugins/host/object.h"

/* ---- ends --------------------------------------------------------------------------------------
 */

/* The provider is to let go of it: it was answered, or nobody waits any more. */
static void call_end(struct kvp_call *c)
{
    if (c->ending) {
        return;
    }
    c->ending = true;
    if (c->object != NULL) {
        c->object->call = NULL;
        c->object = NULL;
    }
    list_remove(&c->link);
    c->bye.run = call_on_bye;
    lane_post_quick(&c->instance->lane, &c->bye);
}

static void call_free(struct kvp_call *c)
{
    struct kvp_ctx *root = &c->instance->root;
    ctx_close(&c->ctx);
    blob_unref(c->words.blob);
    mem_free(c);
    root->home_holds--;
    ctx_home_check(root);
}

static void call_on_freed(struct lane_msg *m)
{
    call_free(LIST_ENTRY(m, struct kvp_call, gone));
}

/* Lane: its context has ended. */
static void call_on_ctx_ended(struct kvp_ctx *ctx)
{
    struct kvp_call *c = LIST_ENTRY(ctx, struct kvp_call, ctx);
    c->gone.run = call_on_freed;
    lane_post(&c->instance->host->home, &c->gone);
}

void call_on_gone(struct lane_msg *m)
{
    struct kvp_call *c = LIST_ENTRY(m, struct kvp_call, gone);
    if (c->ctx_used) { /* the lane has no more say, so its field may be read */
        ctx_end(&c->ctx, KVP_CANCELED, call_on_ctx_ended);
        return;
    }
    call_free(c);
}

static void object_over(struct kvp_object *o, int err, const char *text)
{
    o->over_err = err;
    o->over_text = text;
    o->over.run = object_on_over;
    lane_post_quick(&o->ctx->instance->lane, &o->over);
}

void object_home_end(struct instance *in)
{
    in->providing = false;
    while (!list_empty(&in->calls)) {
        struct kvp_call *c = LIST_ENTRY(in->calls.next, struct kvp_call, link);
        if (c->object != NULL) {
            object_over(c->object, ERR_UNKNOWN_OUTCOME, "the plugin that provides it has stopped");
        }
        call_end(c);
    }
}

void object_on_leave(struct lane_msg *m)
{
    struct kvp_object *o = LIST_ENTRY(m, struct kvp_object, leave);
    if (o->call != NULL) {
        call_end(o->call);
    }
    o->left.run = object_on_left;
    lane_post_quick(&o->ctx->instance->lane, &o->left);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static struct kvp_call *call_new(struct kvp_object *o, const struct provider *p)
{
    const struct kvp_ctx *asker = o->ctx;
    struct kvp_call *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    c->instance = p->instance;
    c->provider = p;
    c->words = o->words;
    blob_ref(c->words.blob);
    struct service_stamp stamp = asker->stamp;
    if (asker->is_term) {
        /* The asker may be gone before the last write through this context was encoded. */
        strncpy(c->stamp_plugin, stamp.plugin, sizeof(c->stamp_plugin) - 1);
        stamp.plugin = c->stamp_plugin;
    }
    ctx_init(&c->ctx, p->instance, asker->is_term ? &stamp : NULL);
    c->ctx.is_call = true;
    c->ctx.writer = asker->writer;
    c->object = o;
    o->call = c;
    list_init(&c->link);
    list_push_back(&p->instance->calls, &c->link);
    p->instance->root.home_holds++;
    return c;
}

void object_on_ask(struct lane_msg *m)
{
    struct kvp_object *o = LIST_ENTRY(m, struct kvp_object, ask);
    if (o->ctx->home_ending) {
        return; /* the lane ends it */
    }
    const struct provider *p = provider_find(o->ctx->instance->host, &o->words.request);
    struct kvp_call *c = p != NULL ? call_new(o, p) : NULL;
    if (c == NULL) {
        object_over(o, p == NULL ? ERR_NOT_FOUND : ERR_NOMEM,
                    p == NULL ? "no plugin provides that resource" : NULL);
        return;
    }
    c->begin.run = call_on_begin;
    if (c->words.blob == NULL || c->words.blob->len <= LANE_QUICK_BYTES_MAX) {
        lane_post_quick(&p->instance->lane, &c->begin);
    } else {
        lane_post(&p->instance->lane, &c->begin);
    }
}

/* ---- notes -------------------------------------------------------------------------------------
 */

void object_on_note(struct lane_msg *m)
{
    struct object_note *n = LIST_ENTRY(m, struct object_note, msg);
    struct kvp_call *c = n->call;
    struct kvp_object *o = c->object;
    if (o == NULL) {
        object_note_free(n);
        return; /* `bye` is on its way */
    }
    n->object = o;
    n->msg.run = object_on_told;
    if (n->is_answer) {
        call_end(c);
    }
    lane_post(&o->ctx->instance->lane, &n->msg);
}

void object_on_credit(struct lane_msg *m)
{
    struct object_note *n = LIST_ENTRY(m, struct object_note, msg);
    struct kvp_call *c = n->object->call;
    if (c != NULL && lane_flow_taken(&c->flow, n->cost)) {
        c->writable.run = call_on_writable;
        lane_post(&c->instance->lane, &c->writable);
    }
    object_note_free(n);
}
