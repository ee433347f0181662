/* plugin_spy.c - stands between the host and each plugin, and checks what the ABI promises.
 *
 * Life: start only when the registration is applied here, never twice without stop, nowhere else in
 * that term; at stop every request of the term has been answered; at fini every request at all, and
 * no memory is left. Requests: answered exactly once, never inside the call. Caches: hold what the
 * store holds once all is quiet. The plugin gets a copy of the host's table with some calls
 * replaced; what caches and controllers do inside the host is not seen here but by its effects. */
#include <string.h>

#include "base/alloc.h"
#include "plugins/host/host_impl.h"
#include "proto/codec.h"
#include "tests/sim/plugin_scribe.h"
#include "tests/sim/plugins.h"

const struct kvp_plugin *hello_entry(void);
const struct kvp_plugin *janitor_entry(void);

struct spy {
    struct list link; /* plugins.spies */
    struct plugins *plugins;
    enum plugin_kind kind;
    const struct kvp_plugin *real;
    void *self; /* the plugin's */
    struct kvp_host table;
    const struct kvp_host *host;
    struct kvp_ctx *root;
    struct kvp_cache *cache; /* NULL = has none */
    char prefix[PLUGIN_KEY_BYTES];
    bool started;
    struct list calls;
    bool same; /* its cache and the store */
};

/* A request of the plugin. Stays until its context ends, so that a second answer is seen. */
struct spied {
    struct list link;
    struct spy *spy;
    bool is_term;
    bool inside; /* the call has not returned */
    bool answered;
    kvp_done_fn *done;
    kvp_rows_fn *rows;
    void *data;
};

static struct plugins *turning;

void spies_turn(struct plugins *p)
{
    turning = p;
}

struct plugins *spies_turning(void)
{
    return turning;
}

static void fail(const struct spy *s, const char *what)
{
    history_fail(&s->plugins->member->world->history, "member %u: plugin %s: %s",
                 s->plugins->member->number, plugin_kind_name(s->kind), what);
}

void scribe_complain(const char *why)
{
    history_fail(&turning->member->world->history, "member %u: %s", turning->member->number, why);
}

static struct spy *spy_of(const struct kvp_ctx *ctx)
{
    LIST_FOREACH (link, &turning->spies) {
        struct spy *s = LIST_ENTRY(link, struct spy, link);
        if (s->root->instance == ctx->instance) {
            return s;
        }
    }
    return NULL;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static struct spied *spied_new(struct kvp_ctx *ctx, void *data)
{
    struct spied *x = mem_xzalloc(sizeof(*x));
    x->spy = spy_of(ctx);
    x->is_term = ctx != x->spy->root;
    x->inside = true;
    x->data = data;
    list_push_back(&x->spy->calls, &x->link);
    return x;
}

static int spied_made(struct spied *x, int reason)
{
    x->inside = false;
    if (reason != 0) {
        if (x->answered) {
            fail(x->spy, "a call was refused and answered");
        }
        list_remove(&x->link);
        mem_free(x);
    }
    return reason;
}

static void spied_answered(struct spied *x)
{
    if (x->inside) {
        fail(x->spy, "was called back inside its call");
    }
    if (x->answered) {
        fail(x->spy, "was answered twice");
    }
    x->answered = true;
}

static void spied_done(void *data, const struct kvp_result *r)
{
    struct spied *x = data;
    spied_answered(x);
    x->done(x->data, r);
}

static void spied_rows(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct spied *x = data;
    spied_answered(x);
    x->rows(x->data, r, rows);
}

/* The context has ended: all of its requests were answered. */
static void spied_close(struct spy *s, bool is_term)
{
    for (struct list *link = s->calls.next, *next; link != &s->calls; link = next) {
        struct spied *x = LIST_ENTRY(link, struct spied, link);
        next = link->next;
        if (x->is_term || !is_term) {
            if (!x->answered) {
                fail(s, "a request was not answered before its context ended");
            }
            list_remove(link);
            mem_free(x);
        }
    }
}

static int spy_put(struct kvp_ctx *ctx, const struct kvp_put *p, kvp_done_fn *cb, void *data)
{
    struct spied *x = spied_new(ctx, data);
    x->done = cb;
    return spied_made(x, x->spy->host->put(ctx, p, spied_done, x));
}

static int spy_put_if(struct kvp_ctx *ctx, const struct kvp_put *p, int64_t mod_revision,
                      kvp_done_fn *cb, void *data)
{
    struct spied *x = spied_new(ctx, data);
    x->done = cb;
    return spied_made(x, x->spy->host->put_if(ctx, p, mod_revision, spied_done, x));
}

static int spy_lease_grant(struct kvp_ctx *ctx, const struct kvp_lease_args *a, kvp_done_fn *cb,
                           void *data)
{
    struct spied *x = spied_new(ctx, data);
    x->done = cb;
    return spied_made(x, x->spy->host->lease_grant(ctx, a, spied_done, x));
}

static int spy_get(struct kvp_ctx *ctx, struct kvp_bytes key, kvp_rows_fn *cb, void *data)
{
    struct spied *x = spied_new(ctx, data);
    x->rows = cb;
    return spied_made(x, x->spy->host->get(ctx, key, spied_rows, x));
}

/* ---- caches ------------------------------------------------------------------------------------
 */

static int spy_cache_open(struct kvp_ctx *ctx, const struct kvp_cache_args *a,
                          struct kvp_cache **out)
{
    struct spy *s = spy_of(ctx);
    int reason = s->host->cache_open(ctx, a, out);
    if (reason == 0) {
        s->cache = *out;
        memcpy(s->prefix, a->prefix.data, a->prefix.len);
    }
    return reason;
}

/* Rows of the store in key order, compared one by one with the cache's. */
struct comparison {
    struct slice rows; /* RangeResponse: kvs 2 */
    bool same;
    size_t count;
};

static bool next_row(struct slice *rows, struct slice *out)
{
    struct wire_field f;
    while (wire_next(rows, &f) == 1) {
        if (f.number == 2) {
            *out = f.bytes;
            return true;
        }
    }
    return false;
}

static int compare_row(void *data, const struct kvp_cached *c)
{
    struct comparison *x = data;
    const struct kvp_bytes *value = c->object;
    struct slice row;
    struct slice key = {0};
    struct slice stored = {0};
    uint64_t number[7] = {0};
    struct wire_field f;
    if (!next_row(&x->rows, &row)) {
        x->same = false;
        return 1;
    }
    while (wire_next(&row, &f) == 1) {
        if (f.number == 1) {
            key = f.bytes;
        } else if (f.number == 5) {
            stored = f.bytes;
        } else if (f.number < 7) {
            number[f.number] = f.value;
        }
    }
    x->count++;
    x->same &= slice_eq(key, slice_of(c->key.data, c->key.len)) &&
               slice_eq(stored, slice_of(value->data, value->len)) &&
               number[2] == (uint64_t)c->create_revision &&
               number[3] == (uint64_t)c->mod_revision && number[4] == (uint64_t)c->version &&
               number[6] == (uint64_t)c->lease;
    return 0;
}

static bool store_rows(struct spy *s, struct buf *out)
{
    char end[PLUGIN_KEY_BYTES];
    size_t len = strlen(s->prefix);
    struct buf request;
    struct kv_range *range = NULL;
    memcpy(end, s->prefix, len);
    end[len - 1]++;
    buf_init(&request);
    wire_put_bytes(&request, 1, slice_of(s->prefix, len));
    wire_put_bytes(&request, 2, slice_of(end, len));
    int err = kv_range_open(s->plugins->member->kv, buf_slice(&request), &range);
    while (err == 0 && kv_range_measure(range, &err) == KV_MORE) {
        /* whole */
    }
    while (err == 0 && out->len < kv_range_total(range) && kv_range_produce(range, out, 4096)) {
        /* appended */
    }
    if (range != NULL) {
        kv_range_close(range);
    }
    buf_close(&request);
    return err == 0;
}

static void compare(void *data)
{
    struct spy *s = data;
    struct slice row;
    struct buf rows;
    buf_init(&rows);
    bool read = store_rows(s, &rows);
    struct comparison x = {.rows = buf_slice(&rows), .same = true};
    s->same = read && s->host->cache_synced(s->cache) == 1 &&
              s->host->cache_each(s->cache, compare_row, &x) == 0 && x.same &&
              x.count == s->host->cache_len(s->cache) && !next_row(&x.rows, &row);
    buf_close(&rows);
}

void spies_compare(struct plugins *p)
{
    LIST_FOREACH (link, &p->spies) {
        struct spy *s = LIST_ENTRY(link, struct spy, link);
        s->same = s->cache == NULL;
        if (s->cache != NULL) {
            (void)s->host->post(s->root, compare, s); /* refused: not the same yet */
        }
    }
}

bool spies_same(const struct plugins *p)
{
    size_t n = 0;
    LIST_FOREACH (link, &p->spies) {
        n++;
        if (!LIST_ENTRY(link, struct spy, link)->same) {
            return false;
        }
    }
    return n == PLUGIN_KINDS;
}

/* At any time a cache is what the store was at the revision it shows, once that is history. */
static void audit(void *data)
{
    struct spy *s = data;
    const struct history *h = &s->plugins->member->world->history;
    int64_t revision = s->host->cache_revision(s->cache);
    uint32_t first = s->kind == PLUGIN_HELLO ? PLUGIN_KEY_HELLO : PLUGIN_KEY_TTL;
    if (s->host->cache_synced(s->cache) != 1 || h->event_count == 0 ||
        revision > h->events[h->event_count - 1].revision) {
        return;
    }
    for (uint32_t key = first; key < first + PLUGIN_KEYS; key++) {
        char text[PLUGIN_KEY_BYTES];
        struct slice name = plugin_key_text(key, text);
        struct kvp_cached row = {.size = sizeof(row)};
        bool there = s->host->cache_get(s->cache, kvp_bytes_of(name.data, name.len), &row) == 0;
        const struct kvp_bytes *value = row.object;
        const struct history_event *e = history_key_at(h, key, revision);
        bool expected = e != NULL && e->value != 0;
        if (there != expected ||
            (there &&
             (row.mod_revision != e->revision ||
              plugin_parse_value(key, slice_of(value->data, value->len), row.lease) != e->value))) {
            history_fail(&s->plugins->member->world->history,
                         "member %u: the cache of %s shows revision %lld, but key %u is not as "
                         "history has it",
                         s->plugins->member->number, plugin_kind_name(s->kind), (long long)revision,
                         key);
            return;
        }
    }
}

void spies_audit(struct plugins *p)
{
    LIST_FOREACH (link, &p->spies) {
        struct spy *s = LIST_ENTRY(link, struct spy, link);
        if (s->cache != NULL) {
            (void)s->host->post(s->root, audit, s); /* refused when it ends */
        }
    }
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int spy_init(enum plugin_kind kind, const struct kvp_plugin *real, struct kvp_ctx *ctx,
                    const struct kvp_host *host, const void *conf, void **self,
                    struct kvp_errmsg *e)
{
    struct spy *s = mem_xzalloc(sizeof(*s));
    s->plugins = turning;
    s->kind = kind;
    s->real = real;
    s->host = host;
    s->root = ctx;
    list_init(&s->calls);
    s->table = *host;
    s->table.put = spy_put;
    s->table.put_if = spy_put_if;
    s->table.lease_grant = spy_lease_grant;
    s->table.get = spy_get;
    s->table.cache_open = spy_cache_open;
    list_push_back(&turning->spies, &s->link);
    *self = s;
    int result = real->init(ctx, &s->table, conf, &s->self, e);
    if (result != 0) {
        fail(s, "init failed");
    }
    return result;
}

static int init_hello(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                      void **self, struct kvp_errmsg *e)
{
    return spy_init(PLUGIN_HELLO, hello_entry(), ctx, host, conf, self, e);
}

static int init_janitor(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                        void **self, struct kvp_errmsg *e)
{
    return spy_init(PLUGIN_JANITOR, janitor_entry(), ctx, host, conf, self, e);
}

static int init_scribe(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                       void **self, struct kvp_errmsg *e)
{
    return spy_init(PLUGIN_SCRIBE, scribe_entry(), ctx, host, conf, self, e);
}

static int spy_start(void *self, struct kvp_ctx *term_ctx, uint64_t term)
{
    struct spy *s = self;
    struct member *m = s->plugins->member;
    if (s->started) {
        fail(s, "start without a stop before it");
    }
    if (term != term_ctx->stamp.term) {
        fail(s, "start with another term than its context's");
    }
    s->started = true;
    plugin_model_started(m->world->plugin_model, s->kind, m->number, term, term_ctx->stamp.epoch,
                         kv_applied_index(m->kv));
    return s->real->start(s->self, term_ctx, term);
}

static void spy_stop(void *self, int32_t reason)
{
    struct spy *s = self;
    if (!s->started) {
        fail(s, "stop without a start");
    }
    s->started = false;
    spied_close(s, true);
    if (s->real->stop != NULL) {
        s->real->stop(s->self, reason);
    }
}

static void spy_fini(void *self)
{
    struct spy *s = self;
    const struct instance *in = s->root->instance;
    if (s->started) {
        fail(s, "fini without stop");
    }
    spied_close(s, false);
    s->real->fini(s->self);
    if (atomic_load(&in->allocations) != 0 || atomic_load(&in->requests) != 0 ||
        atomic_load(&in->timers) != 0 || atomic_load(&in->watches) != 0) {
        fail(s, "left memory, requests, timers or watches behind");
    }
    list_remove(&s->link);
    mem_free(s);
}

void spies_register(void)
{
    static struct kvp_plugin wrapped[PLUGIN_KINDS];
    const struct kvp_plugin *real[PLUGIN_KINDS] = {hello_entry(), janitor_entry(), scribe_entry()};
    int (*const init[PLUGIN_KINDS])(struct kvp_ctx *, const struct kvp_host *, const void *,
                                    void **,
                                    struct kvp_errmsg *) = {init_hello, init_janitor, init_scribe};
    for (size_t i = 0; i < PLUGIN_KINDS; i++) {
        wrapped[i] = *real[i];
        wrapped[i].init = init[i];
        wrapped[i].start = spy_start;
        wrapped[i].stop = spy_stop;
        wrapped[i].fini = spy_fini;
        host_register_static(&wrapped[i]);
    }
}

void spies_abandon(struct plugins *p)
{
    while (!list_empty(&p->spies)) {
        struct spy *s = LIST_ENTRY(list_pop_front(&p->spies), struct spy, link);
        while (!list_empty(&s->calls)) {
            mem_free(LIST_ENTRY(list_pop_front(&s->calls), struct spied, link));
        }
        mem_free(s);
    }
}
