/* client.c - one request and its answer. */
#include "plugins/client/client.h"

#include <stdio.h>

struct client_call {
    client_done_fn *done;
    void *data;
};

/* ---- the answer ---------------------------------------------------------------------------- */

static const char *client_reason_text(int32_t reason)
{
    switch (reason) {
    case KVP_STOPPED:
        return "the context has ended";
    case KVP_NO_MEMORY:
        return "out of memory";
    case KVP_BUSY:
        return "too many requests under way";
    case KVP_NOT_FOUND:
        return "no plugin provides that resource";
    case KVP_TIMEOUT:
        return "no answer in time";
    case KVP_FENCED:
        return "a newer leader is at work";
    default:
        return "the API server did not answer";
    }
}

static bool client_has_cause(const struct object *status, const char *reason)
{
    const struct value *causes = object_get(status, "details.causes");
    const struct schema_type *type = schema_type(SCHEMA_META_V1_STATUS_CAUSE);
    for (size_t i = 0; i < value_len(causes); i++) {
        if (value_is_text(value_find(type, &causes->items[i], "reason"), reason)) {
            return true;
        }
    }
    return false;
}

/* Takes reason and message out of a Status; texts in the arena. */
static void client_read_status(struct client_answer *a, struct arena *arena)
{
    struct object status;
    struct errmsg e = {""};
    const struct schema_type *type = schema_type(SCHEMA_META_V1_STATUS);
    if (object_decode(&status, type, arena, a->body, NULL, &e) == 0) {
        a->status_reason = object_text(&status, "reason");
        a->message = object_text(&status, "message");
        a->ns_terminating = client_has_cause(&status, "NamespaceTerminating");
    }
    if (a->message.len == 0) {
        a->message = slice_str("the API server refused it without a message");
    }
}

bool client_certainly_not(const struct client_answer *a)
{
    return !a->ok && a->outcome != KVP_UNKNOWN && a->status != 504;
}

static void client_on_done(void *data, const struct kvp_result *r,
                           const struct kvp_object_answer *answer)
{
    struct client_call *call = data;
    struct client_answer a = {.outcome = r->outcome, .reason = r->reason};
    struct arena arena;
    arena_init(&arena, 0);
    if (r->outcome == KVP_OK && answer != NULL) {
        a.status = answer->status;
        a.ok = answer->status < 400;
        a.body = slice_of_kvp(answer->body);
        a.revision = answer->revision;
        if (!a.ok) {
            client_read_status(&a, &arena);
        }
    } else {
        const char *text = r->text != NULL && r->text[0] != '\0' ? r->text : NULL;
        a.message = slice_str(text != NULL ? text : client_reason_text(r->reason));
    }
    client_done_fn *done = call->done;
    void *user = call->data;
    mem_free(call);
    done(user, &a);
    arena_close(&arena);
}

static void client_on_nothing(void *data, const struct kvp_result *r,
                              const struct kvp_object_answer *answer)
{
    (void)data, (void)r, (void)answer;
}

/* ---- the request --------------------------------------------------------------------------- */

void client_add_escaped(struct buf *out, struct slice text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t k = 0; k < text.len; k++) {
        uint8_t c = text.data[k];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            buf_append_byte(out, c);
        } else {
            buf_append_byte(out, '%');
            buf_append_byte(out, (uint8_t)hex[c >> 4]);
            buf_append_byte(out, (uint8_t)hex[c & 15]);
        }
    }
}

static const char *client_content_type(const struct client_request *r)
{
    if (r->verb != KVP_VERB_PATCH) {
        return "application/json";
    }
    switch (r->patch) {
    case CLIENT_PATCH_STRATEGIC:
        return "application/strategic-merge-patch+json";
    case CLIENT_PATCH_JSON:
        return "application/json-patch+json";
    default:
        return "application/merge-patch+json";
    }
}

static const char *client_accept(const struct client_request *r)
{
    return !r->metadata ? NULL : r->verb == KVP_VERB_LIST ? CLIENT_METADATA_LIST : CLIENT_METADATA;
}

/* The names of a request: its own, else the object's. */
static bool client_names(const struct client_request *r, bool namespaced, struct slice *space,
                         struct slice *name)
{
    bool creates = r->verb == KVP_VERB_CREATE && r->sub == NULL;
    *space = r->space;
    *name = r->name;
    if (r->object != NULL && space->len == 0 && namespaced) {
        *space = object_namespace(r->object);
    }
    if (r->object != NULL && name->len == 0 && !creates) {
        *name = object_name(r->object);
    }
    bool collection = r->collection && r->verb == KVP_VERB_DELETE;
    bool needs_name = !creates && r->verb != KVP_VERB_LIST && !collection;
    bool needs_space = namespaced && r->verb != KVP_VERB_LIST;
    if (collection && name->len > 0) {
        return false;
    }
    return (!needs_name || name->len > 0) && (!needs_space || space->len > 0);
}

static int client_submit(struct client c, const struct client_request *r,
                         struct kvp_object_args *args)
{
    struct client_call *call = NULL;
    args->done = client_on_nothing;
    if (r->done != NULL) {
        call = mem_alloc(sizeof(*call));
        if (call == NULL) {
            return KVP_NO_MEMORY;
        }
        *call = (struct client_call){.done = r->done, .data = r->data};
        args->done = client_on_done;
    }
    args->data = call;
    int reason = c.host->object(c.ctx, args, NULL);
    if (reason != 0) {
        mem_free(call);
    }
    return reason;
}

int client_send(struct client c, const struct client_request *r)
{
    const struct schema_resource *kind = r->type != NULL ? schema_resource_of(r->type) : NULL;
    struct slice space, name;
    if (kind == NULL || r->verb == KVP_VERB_WATCH ||
        !client_names(r, (kind->rules & SCHEMA_RULE_NAMESPACED) != 0, &space, &name)) {
        return KVP_INVALID;
    }
    struct buf body;
    buf_init(&body);
    if (r->object != NULL) {
        object_encode(r->object, &body);
    }
    struct slice bytes = r->object != NULL ? buf_slice(&body) : r->body;
    struct kvp_object_args args = {
        .size = sizeof(args),
        .request = {.size = sizeof(args.request),
                    .verb = r->verb,
                    .group = kvp_str(schema_text(r->type, r->type->group)),
                    .version = kvp_str(schema_text(r->type, r->type->version)),
                    .resource = kvp_str(schema_text(kind, kind->plural)),
                    .subresource = kvp_str(r->sub),
                    .space = kvp_of_slice(space),
                    .name = kvp_of_slice(name),
                    .body = kvp_of_slice(bytes),
                    .content_type = kvp_str(bytes.len > 0 ? client_content_type(r) : NULL),
                    .accept = kvp_str(client_accept(r)),
                    .query = kvp_of_slice(r->query),
                    .revision = r->revision}};
    int reason = body.failed ? KVP_NO_MEMORY : client_submit(c, r, &args);
    buf_close(&body);
    return reason;
}

/* ---- frequent ones ------------------------------------------------------------------------- */

int client_create(struct client c, const struct object *o, client_done_fn *done, void *data)
{
    const struct client_request r = {
        .verb = KVP_VERB_CREATE, .type = o->type, .object = o, .done = done, .data = data};
    return client_send(c, &r);
}

int client_update(struct client c, const struct object *o, const char *sub, client_done_fn *done,
                  void *data)
{
    const struct client_request r = {.verb = KVP_VERB_UPDATE,
                                     .type = o->type,
                                     .sub = sub,
                                     .object = o,
                                     .done = done,
                                     .data = data};
    return client_send(c, &r);
}

int client_patch(struct client c, const struct object *o, const char *sub, enum client_patch patch,
                 struct slice body, client_done_fn *done, void *data)
{
    const struct client_request r = {.verb = KVP_VERB_PATCH,
                                     .type = o->type,
                                     .sub = sub,
                                     .space = object_namespace(o),
                                     .name = object_name(o),
                                     .body = body,
                                     .patch = patch,
                                     .done = done,
                                     .data = data};
    return client_send(c, &r);
}

/* DeleteOptions; false when out of memory. */
static bool client_delete_body(const struct client_delete *opt, struct arena *arena,
                               struct buf *out)
{
    struct object o;
    int err = object_new(&o, schema_type(SCHEMA_META_V1_DELETE_OPTIONS), arena);
    if (err == 0 && opt->uid.len > 0) {
        err = object_set_text(&o, "preconditions.uid", opt->uid);
    }
    if (err == 0 && opt->resource_version > 0) {
        char text[24];
        snprintf(text, sizeof(text), "%lld", (long long)opt->resource_version);
        err = object_set_str(&o, "preconditions.resourceVersion", text);
    }
    if (err == 0 && opt->grace_s >= 0) {
        err = object_set_int(&o, "gracePeriodSeconds", opt->grace_s);
    }
    if (err == 0 && opt->propagation != NULL) {
        err = object_set_str(&o, "propagationPolicy", opt->propagation);
    }
    if (err == 0) {
        object_encode(&o, out);
    }
    return err == 0 && !out->failed;
}

int client_delete(struct client c, const struct schema_type *type, struct slice space,
                  struct slice name, const struct client_delete *opt, client_done_fn *done,
                  void *data)
{
    struct client_request r = {.verb = KVP_VERB_DELETE,
                               .type = type,
                               .space = space,
                               .name = name,
                               .done = done,
                               .data = data};
    struct arena arena;
    struct buf body;
    int reason = 0;
    arena_init(&arena, 0);
    buf_init(&body);
    if (opt != NULL && !client_delete_body(opt, &arena, &body)) {
        reason = KVP_NO_MEMORY;
    }
    r.body = buf_slice(&body);
    reason = reason == 0 ? client_send(c, &r) : reason;
    buf_close(&body);
    arena_close(&arena);
    return reason;
}
