/* health.c - the checks, and how they are told. */
#include "plugins/apiserver/health.h"

#include "plugins/apiserver/url.h"

static const char *const checks[] = {"ping", "etcd"};
enum { CHECK_PING, CHECK_ETCD, CHECK_COUNT };

struct health {
    struct exchange *ex;
    const char *which; /* readyz */
    bool verbose;
    bool single;
    bool wanted[CHECK_COUNT];
};

static void health_tell(struct health *h, const bool ok[CHECK_COUNT])
{
    struct exchange *ex = h->ex;
    bool all = true;
    struct buf out;
    buf_init(&out);
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        bool fine = !h->wanted[i] || ok[i];
        all = all && fine;
        buf_printf(&out, "[%s]%s %s\n", fine ? "+" : "-", checks[i],
                   !h->wanted[i] ? "excluded: ok"
                   : fine        ? "ok"
                                 : "failed: reason withheld");
    }
    buf_printf(&out, "%s check %s\n", h->which, all ? "passed" : "failed");
    bool brief = all && (!h->verbose || h->single);
    if (out.failed) {
        exchange_no_memory(ex);
    } else {
        exchange_answer(ex, all ? 200 : 500, "text/plain; charset=utf-8",
                        brief ? slice_str("ok") : buf_slice(&out));
    }
    buf_close(&out);
}

static void health_read(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct health *h = data;
    const bool ok[CHECK_COUNT] = {true, r->outcome == KVP_OK};
    if (exchange_back(h->ex)) {
        health_tell(h, ok);
    }
}

static void health_read_query(struct health *h)
{
    struct slice rest = h->ex->query_text;
    struct slice name;
    struct slice value;
    while (url_next_pair(&rest, &h->ex->arena, &name, &value) == 0) {
        h->verbose = h->verbose || slice_eq(name, slice_str("verbose"));
        for (size_t i = 0; i < CHECK_COUNT; i++) {
            if (slice_eq(name, slice_str("exclude")) && slice_eq(value, slice_str(checks[i]))) {
                h->wanted[i] = false;
            }
        }
    }
}

/* Which of the three, and what is behind it; NULL: none. */
static const char *health_which(struct slice path, struct slice *rest)
{
    static const char *const names[] = {"healthz", "livez", "readyz"};
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(names[i]);
        if (path.len > n && slice_eq(slice_of(path.data + 1, n), slice_str(names[i])) &&
            (path.len == n + 1 || path.data[n + 1] == '/')) {
            *rest =
                path.len == n + 1 ? slice_of("", 0) : slice_of(path.data + n + 2, path.len - n - 2);
            return names[i];
        }
    }
    return NULL;
}

bool health_answer(struct exchange *ex, struct slice path)
{
    struct slice rest;
    const char *which = health_which(path, &rest);
    if (which == NULL) {
        return false;
    }
    struct health *h = arena_zalloc(&ex->arena, sizeof *h);
    if (h == NULL) {
        exchange_no_memory(ex);
        return true;
    }
    *h = (struct health){.ex = ex, .which = which, .single = rest.len > 0, .wanted = {true, true}};
    if (h->single) {
        bool known = false;
        for (size_t i = 0; i < CHECK_COUNT; i++) {
            h->wanted[i] = slice_eq(rest, slice_str(checks[i]));
            known = known || h->wanted[i];
        }
        if (!known) {
            return false;
        }
    }
    health_read_query(h);
    const bool fine[CHECK_COUNT] = {true, false};
    if (!h->wanted[CHECK_ETCD]) {
        health_tell(h, fine);
        return true;
    }
    exchange_call(ex);
    if (ex->api->host->get(ex->ctx, kvp_str("/registry/health"), health_read, h) != 0) {
        health_tell(h, fine);
        exchange_back(ex);
    }
    return true;
}
