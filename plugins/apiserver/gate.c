/* gate.c - who may do what: deny by default. */
#include "plugins/apiserver/gate.h"

#include <stdio.h>

struct access gate_access(const struct exchange *ex)
{
    const struct request *r = &ex->request;
    if (r->kind != NULL) {
        /* A namespace lies in itself, by Kubernetes' count. */
        bool is_namespace = r->type == schema_type(SCHEMA_CORE_V1_NAMESPACE);
        return (struct access){.is_resource = true,
                               .verb = slice_str(request_verb_name(r->verb)),
                               .group = r->group,
                               .resource = r->resource,
                               .sub = r->sub,
                               .name = r->name,
                               .space = is_namespace ? r->name : r->space};
    }
    static const char *const methods[][2] = {
        {"GET", "get"},     {"HEAD", "get"},      {"POST", "post"},      {"PUT", "put"},
        {"PATCH", "patch"}, {"DELETE", "delete"}, {"OPTIONS", "options"}};
    struct access a = {.verb = r->method, .path = r->path};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (slice_eq(r->method, slice_str(methods[i][0]))) {
            a.verb = slice_str(methods[i][1]);
        }
    }
    return a;
}

/* As Kubernetes puts names into the text of a refusal. */
static void gate_print(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '&' || c == '<' || c == '>') {
            buf_append_str(out, c == '&' ? "&amp;" : c == '<' ? "&lt;" : "&gt;");
        } else {
            buf_append_byte(out, c);
        }
    }
}

static void gate_print_quoted(struct buf *out, const char *before, struct slice text)
{
    buf_append_str(out, before);
    buf_append_str(out, " \"");
    gate_print(out, text);
    buf_append_byte(out, '"');
}

bool gate_lets_pass(struct exchange *ex, struct status *refusal)
{
    struct access a = gate_access(ex);
    struct status_about about = {0};
    struct buf out;
    const char *reason;
    if (ex->api->conf->insecure_allow_all || authorize_allows(&ex->user, &a, &reason)) {
        return true;
    }
    buf_init(&out);
    gate_print_quoted(&out, "User", ex->user.name);
    buf_append_str(&out, " cannot ");
    gate_print(&out, a.verb);
    if (a.is_resource) {
        about = request_about(&ex->request);
        gate_print_quoted(&out, " resource", a.resource);
        if (a.sub.len > 0) {
            out.len -= out.len > 0; /* without memory there is no quote to take back */
            buf_append_byte(&out, '/');
            gate_print(&out, a.sub);
            buf_append_byte(&out, '"');
        }
        gate_print_quoted(&out, " in API group", a.group);
        if (a.space.len > 0) {
            gate_print_quoted(&out, " in the namespace", a.space);
        } else {
            buf_append_str(&out, " at the cluster scope");
        }
    } else {
        gate_print_quoted(&out, " path", a.path);
    }
    if (slice_starts_with(ex->user.name, slice_str("kvd:plugin:"))) {
        /* Nobody reads its answers: its author, or the author of the rules, is to know. */
        KVP_LOG(ex->api->host, ex->api->ctx, KVP_WARN, "a plugin may not do what it asks for",
                kvp_f_bytes("why", kvp_bytes_of(out.data, out.len)));
    }
    *refusal = status_forbidden(&ex->arena, &about, "%.*s", (int)out.len, (const char *)out.data);
    buf_close(&out);
    return false;
}
