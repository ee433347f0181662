/* explain.c - GET /scheduler/explain/NAMESPACE/POD on kvd's client port: which nodes there are for
 * a pod, what refused them or how they rank, and what decides.
 *
 * A cycle of its own is run over the books as they are, on any member, in steps like all others. A
 * pod that has its node already is taken off it for each step and put back: nothing else sees that.
 * Who asks must be allowed to read the pod's key in the store. */
#include "plugins/scheduler/explain.h"

#include <stdio.h>

#include "plugins/scheduler/scheduler.h"

#define EXPLAIN_PATH      "/scheduler/explain/"
#define EXPLAIN_BUDGET    4000
#define EXPLAIN_STEPS_MAX 10000u /* nodes that come and go make it begin anew */

struct explain {
    struct scheduler *s;
    struct kvp_http *x; /* NULL: the client is gone */
    bool pending;       /* a callback is on its way */
    bool json;
    bool begun;
    uint64_t serial; /* of the pod the cycle is about */
    unsigned steps;
    struct sched_cycle cycle;
    struct arena arena; /* of the selector */
    struct label_selector selector;
    struct sched_weights weights; /* as they were: a reload may come in between */
    struct slice key;             /* behind the struct */
};

static void explain_free(struct explain *e)
{
    sched_cycle_close(&e->cycle);
    arena_close(&e->arena);
    mem_free(e);
}

static void explain_send(struct scheduler *s, struct kvp_http *x, uint32_t status, const char *type,
                         struct slice body)
{
    struct kvp_pair header = {kvp_str("content-type"), kvp_str(type)};
    (void)s->host->http_respond(x, status, &header, 1);
    (void)s->host->http_write(x, kvp_of_slice(body));
    (void)s->host->http_finish(x);
}

static void explain_refuse(struct explain *e, uint32_t status, const char *sentence)
{
    struct buf text;
    buf_init(&text);
    buf_append_slice(&text, e->key);
    buf_printf(&text, ": %s\n", sentence);
    explain_send(e->s, e->x, text.failed ? 503 : status, "text/plain", buf_slice(&text));
    buf_close(&text);
}

static void explain_answer(struct explain *e, const struct sched_pod *p)
{
    struct sched_explanation what = {.cycle = &e->cycle,
                                     .pod = p,
                                     .node = p->on,
                                     .scheduler_name = e->s->conf->scheduler_name,
                                     .now_ms = scheduler_now_ms(e->s),
                                     .leading = e->s->leading};
    struct buf out;
    buf_init(&out);
    if (e->json ? sched_explain_json(&what, &out) : sched_explain_text(&what, &out)) {
        explain_send(e->s, e->x, 200, e->json ? "application/json" : "text/plain", buf_slice(&out));
    } else {
        explain_refuse(e, 503, "out of memory, try again");
    }
    buf_close(&out);
}

static void explain_dice(void *data, void *out, size_t len)
{
    struct scheduler *s = data;
    s->host->random(s->ctx, out, len);
}

static void explain_begin_cycle(struct explain *e, struct sched_pod *p)
{
    arena_clear(&e->arena);
    e->weights = e->s->conf->weights;
    struct sched_cycle_args a = {
        .cluster = &e->s->cluster,
        .pod = p,
        .weights = &e->weights,
        .spread_selector = scheduler_spreading(e->s, p, &e->arena, &e->selector),
        .random = explain_dice,
        .data = e->s,
        .explain = true,
    };
    sched_cycle_begin(&e->cycle, &a);
    e->begun = true;
    e->serial = p->serial;
}

static void explain_post(struct explain *e);

static void explain_step(void *data)
{
    struct explain *e = data;
    struct scheduler *s = e->s;
    int64_t budget = EXPLAIN_BUDGET;
    e->pending = false;
    if (e->x == NULL) {
        explain_free(e);
        return;
    }
    struct sched_pod *p = sched_cluster_pod(&s->cluster, e->key);
    if (p == NULL || !scheduler_synced(s) || ++e->steps > EXPLAIN_STEPS_MAX) {
        bool missing = p == NULL && scheduler_synced(s);
        explain_refuse(e, missing ? 404 : 503,
                       missing ? "there is no such pod" : "not ready yet, try again");
        return;
    }
    if (!e->begun || e->serial != p->serial) {
        explain_begin_cycle(e, p);
    }
    struct sched_node *n = p->on;
    if (n != NULL) {
        sched_cluster_lift(&s->cluster, p);
    }
    enum sched_result result = sched_cycle_step(&e->cycle, &budget);
    if (n != NULL) {
        sched_cluster_drop(&s->cluster, p, n);
    }
    if (result == SCHED_MORE) {
        explain_post(e);
    } else if (result == SCHED_NO_MEMORY) {
        explain_refuse(e, 503, "out of memory, try again");
    } else {
        explain_answer(e, p);
    }
}

static void explain_post(struct explain *e)
{
    e->pending = e->s->host->post(e->s->ctx, explain_step, e) == 0;
    if (!e->pending) {
        explain_refuse(e, 503, "out of memory, try again");
    }
}

static void explain_authorized(void *data, const struct kvp_result *r)
{
    struct explain *e = data;
    if (e->x != NULL && r->outcome != KVP_OK) {
        e->pending = false;
        explain_refuse(e, r->reason == KVP_FORBIDDEN ? 403 : 503,
                       r->reason == KVP_FORBIDDEN ? "you may not read this pod" : r->text);
    } else {
        explain_step(e);
    }
}

/* NAMESPACE/POD behind the path, of letters that names may have; and what comes after '?'. */
static bool explain_key(const struct kvp_http_request *r, struct slice *key)
{
    struct slice path = slice_of(r->path.data, r->path.len);
    size_t slashes = 0;
    size_t skip = sizeof EXPLAIN_PATH - 1;
    *key = slice_of(path.data + skip, path.len - skip);
    for (size_t i = 0; i < key->len; i++) {
        uint8_t c = key->data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (!plain && c != '/') {
            return false;
        }
        slashes += c == '/' ? 1 : 0;
    }
    return slashes == 1 && key->data[0] != '/' && key->data[key->len - 1] != '/';
}

static struct explain *explain_make(struct scheduler *s, struct kvp_http *x, struct slice key)
{
    struct explain *e = mem_zalloc(sizeof *e + key.len);
    if (e != NULL) {
        memcpy(e + 1, key.data, key.len);
        e->key = slice_of(e + 1, key.len);
        e->s = s;
        e->x = x;
        sched_cycle_init(&e->cycle);
        arena_init(&e->arena, 0);
    }
    return e;
}

static void explain_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct scheduler *s = data;
    struct slice key;
    if (!explain_key(r, &key)) {
        explain_send(s, x, 400, "text/plain",
                     slice_str("the path is " EXPLAIN_PATH "NAMESPACE/POD\n"));
        return;
    }
    struct explain *e = explain_make(s, x, key);
    struct buf row;
    buf_init(&row);
    buf_append_str(&row, "/registry/pods/");
    buf_append_slice(&row, key);
    if (e == NULL || row.failed) {
        explain_send(s, x, 503, "text/plain", slice_str("out of memory, try again\n"));
        if (e != NULL) {
            explain_free(e);
        }
    } else {
        e->json = slice_eq(slice_of_kvp(r->query), slice_str("output=json"));
        s->host->http_set_data(x, e);
        e->pending =
            s->host->authorize(s->ctx, r->identity, KVP_VERB_GET, kvp_of_slice(buf_slice(&row)),
                               kvp_bytes_of(NULL, 0), explain_authorized, e) == 0;
        if (!e->pending) {
            explain_refuse(e, 503, "not now, try again");
        }
    }
    buf_close(&row);
}

static void explain_closed(void *data, struct kvp_http *x, int complete)
{
    struct scheduler *s = data;
    struct explain *e = s->host->http_data(x);
    if (e != NULL && e->pending) {
        e->x = NULL;
    } else if (e != NULL) {
        explain_free(e);
    }
}

int scheduler_explain_open(struct scheduler *s, struct kvp_errmsg *e)
{
    struct kvp_route_args a = {.size = sizeof a,
                               .method = "GET",
                               .pattern = EXPLAIN_PATH "*",
                               .begin = explain_begin,
                               .closed = explain_closed,
                               .data = s};
    int rc = s->host->http_route(s->ctx, &a);
    if (rc == KVP_UNSUPPORTED) {
        return 0; /* a host without a client port (tests, simulations): nobody can ask there */
    }
    if (rc != 0) {
        snprintf(e->text, sizeof e->text, "no route " EXPLAIN_PATH " (reason %d)", rc);
    }
    return rc;
}
