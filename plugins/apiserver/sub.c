/* sub.c - which function a subresource has, and what these functions share. */
#include "plugins/apiserver/sub.h"

#include "plugins/apiserver/shape.h"
#include "plugins/apiserver/stored.h"

static const struct {
    const char *name;
    void (*answer)(struct exchange *ex);
} subs[] = {
    {"binding", sub_bind},  {"eviction", sub_evict},      {"scale", sub_scale},
    {"log", sub_kubelet},   {"exec", sub_kubelet},        {"attach", sub_kubelet},
    {"proxy", sub_kubelet}, {"portforward", sub_kubelet}, {"token", sub_token},
};

bool sub_answer(struct exchange *ex)
{
    const struct request *r = &ex->request;
    if (r->kind != NULL && r->type == schema_type(SCHEMA_CORE_V1_BINDING)) {
        sub_bind_legacy(ex);
        return true;
    }
    for (size_t i = 0; r->subkind != NULL && i < sizeof subs / sizeof subs[0]; i++) {
        if (slice_eq(r->sub, slice_str(subs[i].name))) {
            subs[i].answer(ex);
            return true;
        }
    }
    return false;
}

bool sub_check_name(struct exchange *ex, const struct object *o, const char *what)
{
    if (slice_eq(object_text(o, "metadata.name"), ex->request.name)) {
        return true;
    }
    exchange_fail(
        ex, status_bad_request(&ex->arena, "name in URL does not match name in %s object", what));
    return false;
}

struct sub_reading {
    void (*then)(struct exchange *ex, const struct object *o);
};

static void sub_got(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct exchange *ex = data;
    struct sub_reading *reading = ex->op;
    struct object o;
    struct errmsg e = {.text = ""};
    if (!exchange_back_well(ex, r)) {
        return;
    }
    if (rows->count == 0) {
        struct status_about about = request_about(&ex->request);
        exchange_fail(ex, status_not_found(&ex->arena, &about));
        return;
    }
    struct slice value = arena_dup(&ex->arena, slice_of_kvp(rows->rows[0].value));
    int rc = value.data == NULL ? ERR_NOMEM
                                : stored_decode(ex->request.type, value, rows->rows[0].mod_revision,
                                                &ex->arena, &o, &e);
    if (rc != 0) {
        exchange_fail(
            ex, status_internal(&ex->arena, "%s", rc == ERR_NOMEM ? "out of memory" : e.text));
    } else {
        reading->then(ex, &o);
    }
}

void sub_read(struct exchange *ex, void (*then)(struct exchange *ex, const struct object *o))
{
    struct sub_reading *reading = arena_zalloc(&ex->arena, sizeof *reading);
    struct buf key;
    buf_init(&key);
    stored_key(ex->request.type, ex->request.space, ex->request.name, &key);
    if (key.failed || reading == NULL) {
        exchange_no_memory(ex);
    } else {
        reading->then = then;
        ex->op = reading;
        exchange_call(ex);
        int reason = ex->api->host->get(ex->ctx, kvp_bytes_of(key.data, key.len), sub_got, ex);
        if (reason != 0) {
            exchange_not_called(ex, reason);
        }
    }
    buf_close(&key);
}

void sub_answer_object(struct exchange *ex, int code, const struct object *o)
{
    struct buf out;
    if (!shape_allows_object(ex)) {
        return;
    }
    buf_init(&out);
    shape_print_object(ex, o, &out);
    if (out.failed) {
        exchange_no_memory(ex);
    } else {
        exchange_json(ex, code, buf_slice(&out));
    }
    buf_close(&out);
}

void sub_answer_done(struct exchange *ex, int64_t revision)
{
    ex->revision = revision;
    struct status s = status_created();
    struct buf out;
    buf_init(&out);
    status_print(&s, &out);
    if (out.failed) {
        exchange_no_memory(ex);
    } else {
        exchange_json(ex, s.code, buf_slice(&out));
    }
    buf_close(&out);
}
