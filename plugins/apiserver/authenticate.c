/* authenticate.c - the ways to show who one is, in their order. */
#include "plugins/apiserver/authenticate.h"

#include "plugins/apiserver/bearer.h"

struct authentication {
    struct bearer bearer;
    void (*then)(struct exchange *ex);
};

static void authenticate_refuse(struct exchange *ex)
{
    exchange_fail(ex, status_unauthorized(&ex->arena));
}

/* The token of "Bearer TOKEN"; empty: another scheme, or nothing. */
static struct slice authenticate_token(struct slice header)
{
    static const char scheme[] = "bearer";
    size_t n = sizeof scheme - 1;
    if (header.len <= n || header.data[n] != ' ') {
        return slice_of("", 0);
    }
    for (size_t i = 0; i < n; i++) {
        if ((header.data[i] | 0x20) != (uint8_t)scheme[i]) {
            return slice_of("", 0);
        }
    }
    struct slice token = slice_of(header.data + n + 1, header.len - n - 1);
    while (token.len > 0 && token.data[0] == ' ') {
        token = slice_of(token.data + 1, token.len - 1);
    }
    while (token.len > 0 && token.data[token.len - 1] == ' ') {
        token.len--;
    }
    return token;
}

static void authenticate_checked(struct bearer *b)
{
    struct authentication *a = b->data;
    struct exchange *ex = b->ex;
    if (!b->good) {
        if (ex->api->host->log_enabled(ex->api->ctx, KVP_DEBUG)) {
            KVP_LOG(ex->api->host, ex->api->ctx, KVP_DEBUG, "a token was refused",
                    kvp_f_str("why", b->error));
        }
        authenticate_refuse(ex);
        return;
    }
    ex->user = b->user;
    a->then(ex);
}

static void authenticate_bearer(struct exchange *ex, struct slice token,
                                void (*then)(struct exchange *ex))
{
    struct authentication *a = arena_zalloc(&ex->arena, sizeof *a);
    struct slice copy = arena_dup(&ex->arena, token);
    if (a == NULL || copy.data == NULL) {
        exchange_no_memory(ex);
        return;
    }
    a->then = then;
    a->bearer = (struct bearer){.ex = ex, .token = copy, .done = authenticate_checked, .data = a};
    bearer_check(&a->bearer);
}

void authenticate_http(struct exchange *ex, const struct kvp_http_request *r,
                       void (*then)(struct exchange *ex))
{
    struct slice token = slice_of("", 0);
    for (size_t i = 0; i < r->header_count; i++) {
        struct slice name = slice_of_kvp(r->headers[i].name);
        if (slice_eq(name, slice_str("authorization"))) {
            token = authenticate_token(slice_of_kvp(r->headers[i].value));
        }
        ex->impersonates = ex->impersonates || slice_starts_with(name, slice_str("impersonate-"));
    }
    /* A certificate without a name is nobody's. */
    if (r->identity->authenticated && r->identity->user.len > 0) {
        if (user_of_identity(&ex->user, r->identity, &ex->arena)) {
            then(ex);
        } else {
            authenticate_refuse(ex);
        }
    } else if (token.len > 0) {
        authenticate_bearer(ex, token, then);
    } else if (ex->api->conf->anonymous_auth) {
        user_set_anonymous(&ex->user);
        then(ex);
    } else {
        authenticate_refuse(ex);
    }
}

bool authenticate_plugin(struct exchange *ex, const struct kvp_identity *identity)
{
    if (!identity->authenticated) {
        user_set_anonymous(&ex->user);
        return true;
    }
    if (!user_of_identity(&ex->user, identity, &ex->arena)) {
        authenticate_refuse(ex);
        return false;
    }
    return true;
}
