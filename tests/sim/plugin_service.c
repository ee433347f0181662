/* plugin_service.c - the plugin host's requests at a simulated member. */
#include "tests/sim/plugin_service.h"

#include <string.h>

#include "base/alloc.h"
#include "proto/batch.h"
#include "proto/codec.h"

enum { ANSWER_MS_MAX = 7000, ASK_AGAIN_MS = 250 };

/* Lies in service_write.impl. */
struct sim_write {
    struct list link;
    uint64_t started_ms;
};
_Static_assert(sizeof(struct sim_write) <= sizeof(((struct service_write *)0)->impl),
               "a write fits its request");

struct sim_read {
    struct list link;
    struct sim_service *service;
    struct service_read *request; /* NULL: canceled, waits for the node's word */
    bool is_txn;
    struct buf bytes;
    struct node_read confirm;
    bool asked; /* the question is with the node */
    bool confirmed;
    uint64_t index;
    uint64_t started_ms, again_ms;
};

struct service_watcher {
    struct list link;
    struct sim_service *service;
    struct kv_watcher *watcher;
    const struct watch_sink *sink;
    void *sink_data, *watcher_data;
    bool refused; /* by us */
};

static struct sim_service *of(struct service *service)
{
    return service->impl;
}

static uint64_t now_of(const struct sim_service *s)
{
    return s->member->world->now_ms;
}

/* ---- writes ------------------------------------------------------------------------------------
 */

static struct sim_write *write_of(struct service_write *w)
{
    return (struct sim_write *)(void *)w->impl;
}

static struct service_write *write_at(struct list *link)
{
    char *p = (char *)LIST_ENTRY(link, struct sim_write, link);
    return (struct service_write *)(void *)(p - offsetof(struct service_write, impl));
}

static void write_answer(struct service_write *w, int err, int64_t revision, struct slice body)
{
    list_remove(&write_of(w)->link);
    w->cb(w, err, revision, body);
}

static void propose_as(struct service *service, struct service_write *w, enum service_op op,
                       struct slice request, const struct service_stamp *stamp)
{
    struct sim_service *s = of(service);
    struct member *m = s->member;
    struct buf ops;
    struct batch_origin origin = {m->number, m->incarnation, m->next_number++};
    buf_init(&ops);
    w->number = origin.number;
    write_of(w)->started_ms = now_of(s);
    list_push_back(&s->writes, &write_of(w)->link);
    if (stamp == NULL) {
        batch_add_field(&ops, origin, (uint32_t)op, request);
    } else {
        struct batch_stamp b = {slice_str(stamp->plugin), stamp->member, stamp->term, stamp->epoch};
        batch_add_stamped(&ops, origin, (uint32_t)op, request, &b);
    }
    node_propose(m->node, buf_slice(&ops), origin.number, origin.number);
    buf_close(&ops);
}

static void propose(struct service *service, struct service_write *w, enum service_op op,
                    struct slice request)
{
    propose_as(service, w, op, request, NULL);
}

static void lease_grant_as(struct service *service, struct service_write *w, int64_t id,
                           int64_t ttl, const struct service_stamp *stamp)
{
    struct buf request;
    buf_init(&request);
    wire_put_uint(&request, 1, (uint64_t)ttl);
    wire_put_uint(&request, 2, (uint64_t)(id != 0 ? id : ++of(service)->member->world->next_lease));
    propose_as(service, w, SERVICE_LEASE_GRANT, buf_slice(&request), stamp);
    buf_close(&request);
}

static void cancel_write(struct service *service, struct service_write *w)
{
    (void)service;
    list_remove(&write_of(w)->link);
}

static struct service_write *write_find(struct sim_service *s, uint64_t number)
{
    LIST_FOREACH (link, &s->writes) {
        struct service_write *w = write_at(link);
        if (w->number == number) {
            return w;
        }
    }
    return NULL;
}

void sim_service_result(struct sim_service *s, uint64_t number, int err, int64_t revision,
                        struct slice body)
{
    struct service_write *w = write_find(s, number);
    if (w != NULL) {
        write_answer(w, err, revision, body);
    }
}

void sim_service_dropped(struct sim_service *s, uint64_t first, uint64_t last, int err)
{
    if (err == ERR_UNKNOWN_OUTCOME) {
        return; /* apply or the timeout answers */
    }
    for (uint64_t number = first; number <= last; number++) {
        sim_service_result(s, number, err, 0, slice_of(NULL, 0));
    }
}

/* ---- reads -------------------------------------------------------------------------------------
 */

static void read_free(struct sim_read *x)
{
    list_remove(&x->link);
    buf_close(&x->bytes);
    mem_free(x);
}

/* The request hears of it; x stays while the node has its question. */
static void read_end(struct sim_read *x, int err)
{
    struct service_read *r = x->request;
    x->request = NULL;
    if (r != NULL) {
        r->cb(r, err, 0, slice_of(NULL, 0), 0, NULL, NULL, NULL);
    }
    if (!x->asked) {
        read_free(x);
    }
}

static bool range_produce(void *data, struct buf *out, size_t room)
{
    return kv_range_produce(data, out, room);
}

static void range_done(void *data)
{
    kv_range_close(data);
}

static void answer_range(struct sim_service *s, struct service_read *r, struct slice request)
{
    struct kv_range *range = NULL;
    int err = kv_range_open(s->member->kv, request, &range);
    while (err == 0 && kv_range_measure(range, &err) == KV_MORE) {
        /* the whole answer at once: slices are tested elsewhere */
    }
    if (err != 0) {
        if (range != NULL) {
            kv_range_close(range);
        }
        r->cb(r, err, 0, slice_of(NULL, 0), 0, NULL, NULL, NULL);
        return;
    }
    struct slice small = kv_range_small(range);
    uint64_t total = kv_range_total(range);
    if (small.len == total) {
        r->cb(r, 0, kv_range_revision(range), small, total, NULL, NULL, NULL);
        kv_range_close(range);
    } else {
        r->cb(r, 0, kv_range_revision(range), slice_of(NULL, 0), total, range_produce, range_done,
              range);
    }
}

static void answer_txn(struct sim_service *s, struct service_read *r, struct slice request)
{
    struct buf out;
    int64_t revision = 0;
    buf_init(&out);
    int err = kv_txn_read(s->member->kv, request, &revision, &out);
    r->cb(r, err, revision, err == 0 ? buf_slice(&out) : slice_of(NULL, 0), out.len, NULL, NULL,
          NULL);
    buf_close(&out);
}

static void read_now(struct sim_service *s, struct service_read *r, bool is_txn, struct slice bytes)
{
    if (is_txn) {
        answer_txn(s, r, bytes);
    } else {
        answer_range(s, r, bytes);
    }
}

static void on_confirmed(struct node_read *n, int err, uint64_t index)
{
    struct sim_read *x = n->data;
    x->asked = false;
    if (x->request == NULL) {
        read_free(x);
    } else if (err == ERR_NOT_LEADER) {
        x->again_ms = now_of(x->service) + ASK_AGAIN_MS;
    } else if (err != 0) {
        read_end(x, err);
    } else {
        x->confirmed = true;
        x->index = index;
    }
}

static void read_ask(struct sim_read *x)
{
    x->confirm = (struct node_read){.data = x, .cb = on_confirmed};
    x->asked = true;
    node_read_index(x->service->member->node, &x->confirm);
}

static void read_begin(struct service *service, struct service_read *r, struct slice request,
                       bool is_txn, bool serializable)
{
    struct sim_service *s = of(service);
    if (serializable || member_decides_alone(s->member)) {
        read_now(s, r, is_txn, request);
        return;
    }
    struct sim_read *x = mem_xzalloc(sizeof(*x));
    x->service = s;
    x->request = r;
    x->is_txn = is_txn;
    x->started_ms = now_of(s);
    buf_init(&x->bytes);
    buf_append_slice(&x->bytes, request);
    list_push_back(&s->reads, &x->link);
    r->impl[0] = x;
    read_ask(x);
}

static void range(struct service *service, struct service_read *r, struct slice request,
                  bool serializable)
{
    read_begin(service, r, request, false, serializable);
}

static void txn_read(struct service *service, struct service_read *r, struct slice request,
                     bool serializable)
{
    read_begin(service, r, request, true, serializable);
}

static void cancel_read(struct service *service, struct service_read *r)
{
    struct sim_read *x = r->impl[0];
    (void)service;
    x->request = NULL;
    if (!x->asked) {
        read_free(x);
    }
}

static void read_step(struct sim_service *s, struct sim_read *x)
{
    if (x->confirmed && kv_applied_index(s->member->kv) >= x->index) {
        struct service_read *r = x->request;
        read_now(s, r, x->is_txn, buf_slice(&x->bytes));
        read_free(x);
    } else if (x->request != NULL && now_of(s) - x->started_ms > ANSWER_MS_MAX) {
        read_end(x, ERR_TIMEOUT);
    } else if (!x->asked && !x->confirmed && now_of(s) >= x->again_ms) {
        read_ask(x);
    }
}

/* ---- watches -----------------------------------------------------------------------------------
 */

static bool on_events(void *data, void *watcher_data, int64_t revision,
                      const struct watch_event *events, size_t count)
{
    struct service_watcher *w = watcher_data;
    struct world *world = w->service->member->world;
    (void)data;
    if (world->faults && rand_chance(&world->rand, 0.02)) {
        w->refused = true;
        return false;
    }
    return w->sink->events(w->sink_data, w->watcher_data, revision, events, count);
}

static void on_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    struct service_watcher w = *(struct service_watcher *)watcher_data;
    (void)data;
    list_remove(&((struct service_watcher *)watcher_data)->link);
    mem_free(watcher_data);
    w.sink->compacted(w.sink_data, w.watcher_data, compact_revision);
}

static const struct watch_sink SINK = {.events = on_events, .compacted = on_compacted};

static struct service_watcher *watch(struct service *service, const struct watch_options *o,
                                     const struct watch_sink *sink, void *sink_data,
                                     void *watcher_data, int *err)
{
    struct sim_service *s = of(service);
    struct service_watcher *w = mem_xzalloc(sizeof(*w));
    w->service = s;
    w->sink = sink;
    w->sink_data = sink_data;
    w->watcher_data = watcher_data;
    w->watcher = kv_watch(s->member->kv, o, &SINK, s, w);
    if (w->watcher == NULL) {
        mem_free(w);
        *err = ERR_NOMEM;
        return NULL;
    }
    list_push_back(&s->watchers, &w->link);
    return w;
}

static void watch_cancel(struct service *service, struct service_watcher *w)
{
    kv_watch_cancel(of(service)->member->kv, w->watcher);
    list_remove(&w->link);
    mem_free(w);
}

static void watch_resume(struct service *service, struct service_watcher *w)
{
    kv_watch_resume(of(service)->member->kv, w->watcher);
}

static bool watch_synced(struct service *service, struct service_watcher *w)
{
    return kv_watch_synced(of(service)->member->kv, w->watcher);
}

static int64_t revision_of(struct service *service)
{
    return kv_revision(of(service)->member->kv);
}

/* ---- life --------------------------------------------------------------------------------------
 */

void sim_service_init(struct sim_service *s, struct member *m)
{
    *s = (struct sim_service){.member = m};
    s->service = (struct service){
        .impl = s,
        .ids = {.cluster_id = 1, .member_id = m->number},
        .max_request_bytes = 1536 * 1024,
        .max_txn_ops = 128,
        .progress_notify_ms = 600000,
        .propose = propose,
        .propose_as = propose_as,
        .lease_grant_as = lease_grant_as,
        .cancel_write = cancel_write,
        .range = range,
        .txn_read = txn_read,
        .cancel_read = cancel_read,
        .watch = watch,
        .watch_cancel = watch_cancel,
        .watch_resume = watch_resume,
        .watch_synced = watch_synced,
        .revision = revision_of,
    };
    list_init(&s->writes);
    list_init(&s->reads);
    list_init(&s->watchers);
}

void sim_service_step(struct sim_service *s)
{
    struct world *w = s->member->world;
    struct list *next;
    for (struct list *link = s->reads.next; link != &s->reads; link = next) {
        next = link->next;
        read_step(s, LIST_ENTRY(link, struct sim_read, link));
    }
    while (!list_empty(&s->writes)) {
        struct service_write *oldest = write_at(s->writes.next);
        if (w->now_ms - write_of(oldest)->started_ms <= ANSWER_MS_MAX) {
            break;
        }
        write_answer(oldest, ERR_TIMEOUT, 0, slice_of(NULL, 0));
    }
    LIST_FOREACH (link, &s->watchers) {
        struct service_watcher *x = LIST_ENTRY(link, struct service_watcher, link);
        if (x->refused && (!w->faults || rand_chance(&w->rand, 0.2))) {
            x->refused = false;
            kv_watch_resume(s->member->kv, x->watcher);
        }
    }
}

bool sim_service_idle(const struct sim_service *s)
{
    LIST_FOREACH (link, &s->reads) {
        if (LIST_ENTRY(link, struct sim_read, link)->request != NULL) {
            return false; /* canceled ones only wait for the node's word */
        }
    }
    return list_empty(&s->writes) && list_empty(&s->watchers);
}

void sim_service_abandon(struct sim_service *s)
{
    struct list *link;
    while (!list_empty(&s->reads)) {
        read_free(LIST_ENTRY(s->reads.next, struct sim_read, link));
    }
    while ((link = list_pop_front(&s->watchers)) != NULL) {
        struct service_watcher *w = LIST_ENTRY(link, struct service_watcher, link);
        kv_watch_cancel(s->member->kv, w->watcher);
        mem_free(w);
    }
}
