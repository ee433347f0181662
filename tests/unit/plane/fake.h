/* fake.h - a provider of objects whose every answer the test writes. Include once per test program,
 * beside plane.h.
 *
 * Requests gather in fake.calls in the order they come, each open until the test answers it. */
#ifndef KVD_TESTS_UNIT_PLANE_FAKE_H
#define KVD_TESTS_UNIT_PLANE_FAKE_H

#include "tests/unit/plane/plane.h"

#define FAKE_CALLS_MAX 8192

struct fake_call {
    struct kvp_call *call; /* NULL: answered, or given up by the asker */
    uint32_t verb;
    char resource[64], sub[32], space[64], name[256], query[1024], type[64], user[64], accept[128];
    char *body;
    int64_t revision;
    bool canceled;
};

static struct {
    const struct kvp_host *host;
    struct kvp_ctx *ctx;
    struct fake_call calls[FAKE_CALLS_MAX];
    size_t count;
} fake;

static void fake_text(char *out, size_t room, struct kvp_bytes b)
{
    assert_true(b.len < room);
    snprintf(out, room, "%.*s", (int)b.len, b.len > 0 ? (const char *)b.data : "");
}

static void fake_on_request(void *data, struct kvp_call *c, const struct kvp_object_request *r,
                            const struct kvp_identity *identity)
{
    (void)data;
    assert_true(fake.count < FAKE_CALLS_MAX);
    struct fake_call *call = &fake.calls[fake.count++];
    memset(call, 0, sizeof(*call));
    call->call = c;
    call->verb = r->verb;
    call->revision = r->revision;
    fake_text(call->resource, sizeof(call->resource), r->resource);
    fake_text(call->sub, sizeof(call->sub), r->subresource);
    fake_text(call->space, sizeof(call->space), r->space);
    fake_text(call->name, sizeof(call->name), r->name);
    fake_text(call->query, sizeof(call->query), r->query);
    fake_text(call->type, sizeof(call->type), r->content_type);
    fake_text(call->accept, sizeof(call->accept), r->accept);
    fake_text(call->user, sizeof(call->user), identity->user);
    call->body = strndup(r->body.len > 0 ? r->body.data : "", r->body.len);
}

static void fake_on_canceled(void *data, struct kvp_call *c)
{
    (void)data;
    for (size_t i = 0; i < fake.count; i++) {
        if (fake.calls[i].call == c) {
            fake.calls[i].call = NULL;
            fake.calls[i].canceled = true;
        }
    }
}

static void fake_clear(void)
{
    for (size_t i = 0; i < fake.count; i++) {
        free(fake.calls[i].body);
    }
    fake.count = 0;
}

static int fake_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                     void **self, struct kvp_errmsg *e)
{
    const struct kvp_provide_args a = {.size = sizeof(a),
                                       .group = kvp_str("*"),
                                       .version = kvp_str("*"),
                                       .resource = kvp_str("*"),
                                       .request = fake_on_request,
                                       .canceled = fake_on_canceled};
    (void)conf, (void)e;
    fake_clear();
    fake.host = host;
    fake.ctx = ctx;
    *self = &fake;
    return host->provide(ctx, &a);
}

static void fake_fini(void *self)
{
    (void)self;
    fake_clear();
}

static const struct kvp_plugin fake_plugin = {.size = sizeof(struct kvp_plugin),
                                              .abi_major = KVP_ABI_MAJOR,
                                              .name = "fake",
                                              .version = "1",
                                              .about = "Answers what the test says.",
                                              .init = fake_init,
                                              .fini = fake_fini};

/* A plane with nothing but this provider, and a plugin of the control plane (NULL = none). */
static inline void fake_open_with(const char *plugin)
{
    static bool registered;
    if (!registered) {
        plane_register(&fake_plugin);
        registered = true;
    }
    plane_open("fake", plugin, NULL);
}

static inline void fake_open(void)
{
    fake_open_with(NULL);
}

struct fake_say {
    struct fake_call *call;
    int status;
    const char *event; /* type; NULL: the answer */
    const char *text;
    int64_t revision;
    int rc;
};

static void fake_say_inside(void *data)
{
    struct fake_say *s = data;
    const struct kvp_object_answer a = {.size = sizeof(a),
                                        .status = s->status,
                                        .content_type = kvp_str("application/json"),
                                        .body = kvp_str(s->text),
                                        .revision = s->revision};
    if (s->event != NULL) {
        s->rc =
            fake.host->call_event(s->call->call, kvp_str(s->event), kvp_str(s->text), s->revision);
    } else {
        s->rc = fake.host->call_answer(s->call->call, &a);
        s->call->call = s->rc == 0 ? NULL : s->call->call;
    }
}

static void fake_say(struct fake_say s)
{
    assert_non_null(s.call->call);
    /* Calls are answered in a callback of the provider, and the lanes are one thread here. */
    assert_int_equal(fake.host->post(fake.ctx, fake_say_inside, &s), 0);
    s.rc = -1;
    plane_settle();
    assert_int_equal(s.rc, 0);
}

static inline void fake_answer(struct fake_call *call, int status, const char *body)
{
    fake_say((struct fake_say){.call = call, .status = status, .text = body});
}

/* A Status with this reason. */
static inline void fake_refuse(struct fake_call *call, int status, const char *reason)
{
    char body[256];
    snprintf(body, sizeof(body),
             "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
             "\"message\":\"refused: %s\",\"reason\":\"%s\",\"code\":%d}",
             reason, reason, status);
    fake_answer(call, status, body);
}

static inline void fake_event(struct fake_call *call, const char *type, const char *object)
{
    fake_say((struct fake_say){.call = call, .event = type, .text = object});
}

/* The oldest open request of a verb; fails when there is none within so many milliseconds. */
static inline struct fake_call *fake_find(uint32_t verb)
{
    for (size_t i = 0; i < fake.count; i++) {
        if (fake.calls[i].verb == verb && fake.calls[i].call != NULL) {
            return &fake.calls[i];
        }
    }
    return NULL;
}

static inline struct fake_call *fake_await(uint32_t verb, uint64_t ms)
{
    PLANE_UNTIL(fake_find(verb) != NULL, ms);
    return fake_find(verb);
}

static inline size_t fake_open_calls(void)
{
    size_t n = 0;
    for (size_t i = 0; i < fake.count; i++) {
        n += fake.calls[i].call != NULL;
    }
    return n;
}

#endif
