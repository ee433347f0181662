/* serve_fixture.h - the real serve over the real store, with a consensus of one that commits when
 * the test lets it. Include once per test program. */
#ifndef KVD_TESTS_UNIT_KVD_SERVE_FIXTURE_H
#define KVD_TESTS_UNIT_KVD_SERVE_FIXTURE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/list.h"
#include "kvd/serve.h"
#include "proto/batch.h"
#include "proto/codec.h"
#include "proto/etcd/kv.pb-c.h"
#include "proto/etcd/rpc.pb-c.h"

struct toy_entry {
    struct list link;
    struct buf payload;
    uint64_t ticket; /* a confirmation instead */
};

struct fixture {
    char dir[64];
    struct kvd_config cfg;
    uv_loop_t loop;
    struct serve *serve;
    struct service *service;
    struct serve_raft raft;
    struct list queue;
    struct buf applying; /* payload of the entry in hand */
    uint64_t index;
    uint64_t term;
    bool hold;            /* commit nothing */
    bool hold_reads;      /* confirm nothing */
    bool alone;           /* reads need no confirmation */
    int confirm_err;      /* answer confirmations with it */
    uint64_t index_ahead; /* added to the index of confirmations */
    uint64_t durable;
    size_t proposals; /* runs handed over */
    bool ready;
    bool leads; /* as serve told */
    uint64_t leads_term;
    unsigned role_calls;
    bool closed;
    bool fatal;
    uv_timer_t timer;
    uv_timer_t beat;    /* while run_until waits */
    uv_prepare_t first; /* while run_until waits: runs before serve's */
    uv_prepare_t last;  /* runs behind serve's */
    const bool *awaited;
    bool early; /* *awaited was true before the prepare phase: its flush still comes */
};

static struct arena fixture_arena;

/* ---- a consensus of one ------------------------------------------------------------------------
 */

static void toy_push(struct fixture *f, struct slice ops, uint64_t ticket)
{
    struct toy_entry *e = mem_xzalloc(sizeof(*e));
    e->ticket = ticket;
    if (ticket == 0 && ops.len > 0) {
        batch_start(&e->payload);
        buf_append_slice(&e->payload, ops);
    }
    list_push_back(&f->queue, &e->link);
    serve_delivered(f->serve);
}

static void toy_propose(struct serve_raft *r, struct slice ops, uint64_t first, uint64_t last)
{
    struct fixture *f = r->impl;
    assert_true(ops.len > 0);
    assert_true(first <= last);
    f->proposals++;
    toy_push(f, ops, 0);
}

static bool toy_confirm(struct serve_raft *r, uint64_t ticket)
{
    toy_push(r->impl, slice_of(NULL, 0), ticket);
    return true;
}

static bool toy_alone(struct serve_raft *r)
{
    struct fixture *f = r->impl;
    return f->alone;
}

static void toy_durable(struct serve_raft *r, uint64_t index)
{
    struct fixture *f = r->impl;
    assert_true(index > f->durable);
    f->durable = index;
}

static void toy_flush(struct serve_raft *r)
{
    (void)r;
}

static bool toy_drain(struct serve_raft *r, size_t bytes)
{
    struct fixture *f = r->impl;
    (void)bytes;
    for (struct list *it = f->queue.next, *next; it != &f->queue; it = next) {
        struct toy_entry *e = LIST_ENTRY(it, struct toy_entry, link);
        next = it->next;
        if (e->ticket != 0 ? f->hold_reads : f->hold) {
            continue;
        }
        list_remove(&e->link);
        bool go_on = true;
        if (e->ticket != 0) {
            serve_confirmed(f->serve, e->ticket, f->confirm_err, f->index + f->index_ahead);
        } else {
            buf_close(&f->applying);
            f->applying = e->payload;
            go_on = serve_commit(f->serve, ++f->index, f->term, buf_slice(&f->applying));
        }
        mem_free(e);
        if (!go_on) {
            return true;
        }
        next = f->queue.next; /* callbacks may have added or removed some */
    }
    return false;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void fixture_on_ready(void *data)
{
    ((struct fixture *)data)->ready = true;
}

static void fixture_on_role(void *data, bool leads, uint64_t term)
{
    struct fixture *f = data;
    f->leads = leads;
    f->leads_term = term;
    f->role_calls++;
}

static void fixture_on_fatal(void *data, const char *why)
{
    (void)why;
    ((struct fixture *)data)->fatal = true;
}

static void fixture_on_closed(void *data)
{
    ((struct fixture *)data)->closed = true;
}

static void fixture_on_beat(uv_timer_t *t)
{
    (void)t;
}

static void fixture_on_first(uv_prepare_t *prepare)
{
    struct fixture *f = prepare->data;
    f->early = f->awaited != NULL && *f->awaited;
}

/* The front end flushes before serve's turn of a prepare phase, so answers of that turn leave in
 * the next iteration: poll may not wait then. */
static void fixture_on_last(uv_prepare_t *prepare)
{
    struct fixture *f = prepare->data;
    if (f->awaited != NULL && *f->awaited && !f->early) {
        assert_int_equal(uv_backend_timeout(&f->loop), 0);
    }
}

/* Runs the loop until *flag; fails after ten seconds. */
static void run_until(struct fixture *f, const bool *flag)
{
    uv_update_time(&f->loop); /* opening may have taken a while */
    uint64_t deadline = uv_now(&f->loop) + 10000;
    uv_timer_start(&f->beat, fixture_on_beat, 2, 2);
    uv_prepare_start(&f->first, fixture_on_first); /* started last, so run first */
    f->awaited = flag;
    while (!*flag) {
        uv_run(&f->loop, UV_RUN_ONCE);
        assert_true(uv_now(&f->loop) < deadline);
    }
    uv_timer_stop(&f->beat);
    uv_prepare_stop(&f->first);
    f->awaited = NULL;
}

static void fixture_on_timer(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

static inline void run_for(struct fixture *f, uint64_t ms)
{
    bool over = false;
    f->timer.data = &over;
    uv_timer_start(&f->timer, fixture_on_timer, ms, 0);
    run_until(f, &over);
}

static void fixture_lead(struct fixture *f)
{
    toy_push(f, slice_of(NULL, 0), 0); /* the barrier */
    bool hold = f->hold;
    f->hold = false;
    uv_run(&f->loop, UV_RUN_NOWAIT);
    f->hold = hold;
    serve_role_changed(f->serve, SERVE_LEADER, ++f->term, 7);
}

static void fixture_open(struct fixture *f)
{
    struct errmsg e = {""};
    struct serve_options o = {.cfg = &f->cfg,
                              .loop = &f->loop,
                              .raft = &f->raft,
                              .ids = {.cluster_id = 5, .member_id = 7},
                              .incarnation = 99,
                              .store_dir = f->dir,
                              .ready = fixture_on_ready,
                              .role = fixture_on_role,
                              .fatal = fixture_on_fatal,
                              .data = f};
    if (serve_new(&o, &f->serve, &e) != 0) {
        fail_msg("%s", e.text);
    }
    f->service = serve_service(f->serve);
    f->index = kv_applied_index(serve_kv(f->serve));
}

static void fixture_close(struct fixture *f)
{
    serve_close(f->serve, fixture_on_closed, f);
    f->closed = false;
    run_until(f, &f->closed);
    f->serve = NULL;
    for (struct list *it; (it = list_pop_front(&f->queue)) != NULL;) {
        struct toy_entry *e = LIST_ENTRY(it, struct toy_entry, link);
        buf_close(&e->payload);
        mem_free(e);
    }
    buf_close(&f->applying);
    buf_init(&f->applying);
}

/* A restart that finds no log. */
static inline void fixture_reopen(struct fixture *f)
{
    fixture_close(f);
    f->ready = false;
    fixture_open(f);
    fixture_lead(f);
    run_until(f, &f->ready);
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = mem_xzalloc(sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/kvd-test-serve-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->timer);
    uv_timer_init(&f->loop, &f->beat);
    uv_prepare_init(&f->loop, &f->first);
    f->first.data = f;
    uv_prepare_init(&f->loop, &f->last);
    uv_prepare_start(&f->last, fixture_on_last); /* started first, so run last */
    f->last.data = f;
    list_init(&f->queue);
    f->raft = (struct serve_raft){.impl = f,
                                  .propose = toy_propose,
                                  .confirm = toy_confirm,
                                  .alone = toy_alone,
                                  .durable = toy_durable,
                                  .flush = toy_flush,
                                  .drain = toy_drain};
    f->cfg = (struct kvd_config){.name = "t",
                                 .heartbeat_ms = 100,
                                 .election_ms = 1000,
                                 .quota_bytes = 1 << 30,
                                 .alarm_self_clearing = true,
                                 .seal_bytes = MEMTABLE_SEAL_BYTES_DEFAULT,
                                 .seal_ms = 60000,
                                 .map_bytes = (size_t)4 << 30,
                                 .max_request_bytes = REQUEST_BYTES_MAX_DEFAULT,
                                 .max_txn_ops = TXN_OPS_MAX_DEFAULT,
                                 .request_timeout_ms = 7000,
                                 .lease_min_ttl_s = 1,
                                 .progress_notify_ms = 600000,
                                 .warning_apply_ms = 10000};
    return f;
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = fixture_new();
    fixture_open(f);
    fixture_lead(f);
    run_until(f, &f->ready);
    *state = f;
    return 0;
}

static int fixture_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    if (f->serve != NULL) {
        fixture_close(f);
    }
    uv_close((uv_handle_t *)&f->timer, NULL);
    uv_close((uv_handle_t *)&f->beat, NULL);
    uv_close((uv_handle_t *)&f->first, NULL);
    uv_close((uv_handle_t *)&f->last, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    nftw(f->dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(f);
    arena_clear(&fixture_arena);
    return 0;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

struct outcome {
    bool done;
    int err;
    int64_t revision;
    struct buf body;
    uint64_t total;
    bool (*produce)(void *data, struct buf *out, size_t room);
    void (*finish)(void *data);
    void *produce_data;
    struct service_hash hash;
};

static void on_write(struct service_write *w, int err, int64_t revision, struct slice body)
{
    struct outcome *o = w->data;
    assert_false(o->done);
    o->done = true;
    o->err = err;
    o->revision = revision;
    buf_append_slice(&o->body, body);
}

static inline void on_read(struct service_read *r, int err, int64_t revision, struct slice body,
                           uint64_t total,
                           bool (*produce)(void *data, struct buf *out, size_t room),
                           void (*finish)(void *data), void *produce_data)
{
    struct outcome *o = r->data;
    assert_false(o->done);
    o->done = true;
    o->err = err;
    o->revision = revision;
    o->total = total;
    o->produce = produce;
    o->finish = finish;
    o->produce_data = produce_data;
    buf_append_slice(&o->body, body);
}

static inline void on_job(struct service_job *j, int err, int64_t revision,
                          const struct service_hash *hash)
{
    struct outcome *o = j->data;
    assert_false(o->done);
    o->done = true;
    o->err = err;
    o->revision = revision;
    if (hash != NULL) {
        o->hash = *hash;
    }
}

static struct slice put_bytes(struct buf *b, const char *key, const char *value, int64_t lease)
{
    buf_clear(b);
    wire_put_bytes(b, 1, slice_str(key));
    wire_put_bytes(b, 2, slice_str(value));
    wire_put_uint(b, 3, (uint64_t)lease);
    return buf_slice(b);
}

/* Starts a put; the outcome comes later. */
static void put_start(struct fixture *f, struct service_write *w, struct outcome *o,
                      const char *key, const char *value, int64_t lease)
{
    struct buf b = {0};
    *o = (struct outcome){0};
    w->data = o;
    w->cb = on_write;
    f->service->propose(f->service, w, SERVICE_PUT, put_bytes(&b, key, value, lease));
    buf_close(&b);
}

/* Puts and waits; returns the error, *revision the revision. */
static inline int put_now(struct fixture *f, const char *key, const char *value, int64_t lease,
                          int64_t *revision)
{
    struct service_write w;
    struct outcome o;
    put_start(f, &w, &o, key, value, lease);
    run_until(f, &o.done);
    if (revision != NULL) {
        *revision = o.revision;
    }
    buf_close(&o.body);
    return o.err;
}

static inline struct slice range_bytes(struct buf *b, const char *key, const char *end)
{
    buf_clear(b);
    wire_put_bytes(b, 1, slice_str(key));
    if (end != NULL) {
        wire_put_bytes(b, 2, slice_str(end));
    }
    return buf_slice(b);
}

static inline void range_start(struct fixture *f, struct service_read *r, struct outcome *o,
                               const char *key, const char *end, bool serializable)
{
    struct buf b = {0};
    *o = (struct outcome){0};
    r->data = o;
    r->cb = on_read;
    f->service->range(f->service, r, range_bytes(&b, key, end), serializable);
    buf_close(&b);
}

/* The whole answer of a read, small or large, decoded into fixture_arena. */
static inline Etcdserverpb__RangeResponse *range_answer(struct outcome *o)
{
    static struct buf kept[64];
    static size_t used;
    struct buf *b = &kept[used++ % 64];
    buf_close(b);
    buf_init(b);
    if (o->produce != NULL) {
        while (b->len < o->total) {
            size_t before = b->len;
            assert_true(o->produce(o->produce_data, b, 32768));
            assert_true(b->len > before && b->len - before <= 32768);
        }
        o->finish(o->produce_data);
    } else {
        buf_append_slice(b, buf_slice(&o->body));
    }
    assert_int_equal(b->len, o->total);
    buf_close(&o->body);
    Etcdserverpb__RangeResponse *r = NULL;
    assert_int_equal(codec_decode(&etcdserverpb__range_response__descriptor, buf_slice(b),
                                  &fixture_arena, (void **)&r),
                     0);
    return r;
}

static inline Etcdserverpb__RangeResponse *range_now(struct fixture *f, const char *key,
                                                     const char *end, bool serializable)
{
    struct service_read r;
    struct outcome o;
    range_start(f, &r, &o, key, end, serializable);
    run_until(f, &o.done);
    assert_int_equal(o.err, 0);
    return range_answer(&o);
}

#endif
