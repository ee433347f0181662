/* test_svc_watch.c - watch streams over a fake hub: ids, order of answers, progress, fragments,
 * slow clients (contract WA-01..WA-20). */
#include "tests/unit/rpc/svc_fake.h"

#include "base/blob.h"
#include "base/limits.h"

#define WATCH "etcdserverpb.Watch/Watch"

static struct rpc_call *watch_open(struct fake *f)
{
    struct rpc_call *call = call_new(f, WATCH);
    call_open(call);
    assert_true(call->headers_sent); /* clients wait for them */
    return call;
}

struct create {
    const char *key;
    const char *range_end;
    int64_t start_revision;
    int64_t watch_id;
    bool progress_notify;
    bool fragment;
};

static void create(struct rpc_call *call, struct create c)
{
    Etcdserverpb__WatchCreateRequest r = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    if (c.key != NULL) {
        r.key = (ProtobufCBinaryData){.len = strlen(c.key), .data = (uint8_t *)c.key};
    }
    if (c.range_end != NULL) {
        r.range_end =
            (ProtobufCBinaryData){.len = strlen(c.range_end), .data = (uint8_t *)c.range_end};
    }
    r.start_revision = c.start_revision;
    r.watch_id = c.watch_id;
    r.progress_notify = c.progress_notify;
    r.fragment = c.fragment;
    Etcdserverpb__WatchRequest w = ETCDSERVERPB__WATCH_REQUEST__INIT;
    w.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    w.create_request = &r;
    call_send(call, &w);
}

static void cancel(struct rpc_call *call, int64_t id)
{
    Etcdserverpb__WatchCancelRequest r = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    r.watch_id = id;
    Etcdserverpb__WatchRequest w = ETCDSERVERPB__WATCH_REQUEST__INIT;
    w.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    w.cancel_request = &r;
    call_send(call, &w);
}

static void ask_progress(struct rpc_call *call)
{
    Etcdserverpb__WatchProgressRequest r = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest w = ETCDSERVERPB__WATCH_REQUEST__INIT;
    w.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    w.progress_request = &r;
    call_send(call, &w);
}

static Etcdserverpb__WatchResponse *answer(const struct rpc_call *call, size_t i)
{
    return call_answer(call, i, &etcdserverpb__watch_response__descriptor);
}

/* An event as the hub encodes it: field 11 of WatchResponse, with a value of `size` bytes. */
static struct blob *event_new(int64_t revision, size_t size)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = (ProtobufCBinaryData)BIN("k");
    kv.mod_revision = revision;
    kv.value.len = size;
    kv.value.data = mem_xzalloc(size + 1);
    Mvccpb__Event ev = MVCCPB__EVENT__INIT;
    ev.kv = &kv;
    struct buf b = {0};
    wire_put_header(&b, 11, codec_size(&ev));
    codec_encode(&ev, &b);
    struct blob *blob = blob_new(b.len);
    memcpy(blob->data, b.data, b.len);
    buf_close(&b);
    mem_free(kv.value.data);
    return blob;
}

/* The hub hands `count` events from revision `first` on to watcher number i. */
static bool emit_sized(struct fake *f, size_t i, int64_t first, size_t count, size_t size)
{
    struct watch_event events[64];
    assert_true(count <= 64);
    for (size_t k = 0; k < count; k++) {
        events[k] = (struct watch_event){.body = event_new(first + (int64_t)k, size),
                                         .revision = first + (int64_t)k};
    }
    struct service_watcher *w = &f->watchers[i];
    bool taken =
        w->sink->events(w->sink_data, w->watcher_data, first + (int64_t)count - 1, events, count);
    for (size_t k = 0; k < count; k++) {
        blob_unref(events[k].body);
    }
    return taken;
}

static bool emit(struct fake *f, size_t i, int64_t first, size_t count)
{
    return emit_sized(f, i, first, count, 10);
}

static void ids_count_from_zero(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "a"});
    create(call, (struct create){.key = "b"});
    create(call, (struct create){.key = "c", .watch_id = 3});
    create(call, (struct create){.key = "d", .watch_id = 3}); /* in use */
    create(call, (struct create){.key = "e"});                /* 2 */
    create(call, (struct create){.key = "f"});                /* skips 3 */
    static const int64_t ids[] = {0, 1, 3, -1, 2, 4};
    assert_int_equal(call->count, 6);
    for (size_t i = 0; i < 6; i++) {
        Etcdserverpb__WatchResponse *r = answer(call, i);
        assert_header(r->header, 5);
        assert_int_equal(r->watch_id, ids[i]);
        assert_true(r->created);
        assert_int_equal(r->canceled, i == 3);
    }
    assert_string_equal(answer(call, 3)->cancel_reason,
                        "mvcc: duplicate watch ID provided on the WatchStream");
    /* A cancelled id may be chosen again; the counter never goes back. */
    cancel(call, 1);
    create(call, (struct create){.key = "g"});
    assert_int_equal(answer(call, 7)->watch_id, 5);
    create(call, (struct create){.key = "h", .watch_id = 1});
    assert_int_equal(answer(call, 8)->watch_id, 1);
    assert_false(answer(call, 8)->canceled);
    call_free(call);
}

static void options_reach_the_hub(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = NULL});
    assert_true(slice_eq(buf_slice(&f->request), slice_of("\0", 1))); /* WA-02 */
    static const uint8_t raw[] = {0x0a, 16,  0x0a, 1, 'k',  0x12,
                                  1,    'z', 0x18, 9,          /* key, range_end, start_revision */
                                  0x2a, 2,   0,    1, 0x30, 1, /* filters packed, prev_kv */
                                  0x2a, 0};
    call_message(call, slice_of(raw, sizeof(raw)));
    const struct watch_options *o = &f->watchers[1].options;
    assert_int_equal(o->start_revision, 9);
    assert_true(o->no_put && o->no_delete && o->prev_kv);
    assert_int_equal(o->range_end.len, 1);
    call_free(call);
}

static void refused_creates(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "b", .range_end = "a"});
    create(call, (struct create){.key = "b", .range_end = "b"});
    create(call, (struct create){.key = "b", .start_revision = -1});
    for (size_t i = 0; i < 3; i++) {
        Etcdserverpb__WatchResponse *r = answer(call, i);
        assert_true(r->created && r->canceled);
        assert_int_equal(r->watch_id, -1);
        assert_int_equal(r->compact_revision, 0);
        assert_string_equal(r->cancel_reason,
                            i < 2 ? "mvcc: watcher range is empty" : err_text(ERR_COMPACTED));
    }
    assert_int_equal(f->watcher_count, 0);
    /* "\0" as range_end is from key on, not an empty range. */
    static const uint8_t from[] = {0x0a, 6, 0x0a, 1, 'b', 0x12, 1, 0};
    call_message(call, slice_of(from, sizeof(from)));
    assert_false(answer(call, 3)->canceled);
    /* A hub without memory: the announced watcher is withdrawn. */
    f->watch_err = ERR_NOMEM;
    create(call, (struct create){.key = "b"});
    assert_true(answer(call, 4)->created);
    assert_true(answer(call, 5)->canceled);
    assert_int_equal(answer(call, 4)->watch_id, answer(call, 5)->watch_id);
    call_free(call);
}

static void empty_requests_are_ignored(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    call_message(call, slice_of(NULL, 0));
    call_message(call, slice_of("\x7a\x01x", 3)); /* an unknown field */
    assert_false(call->finished);
    assert_int_equal(call->count, 0);
    call_message(call, slice_of("\x0a", 1));
    assert_error(call, ERR_MALFORMED);
    call_free(call);
}

static void events_and_cancel_keep_order(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "k"});
    assert_true(emit(f, 0, 6, 3));
    f->revision = 8;
    cancel(call, 0);
    cancel(call, 0);  /* gone: ignored */
    cancel(call, 99); /* unknown: ignored */
    assert_int_equal(call->count, 3);
    Etcdserverpb__WatchResponse *r = answer(call, 1);
    assert_header(r->header, 8);
    assert_int_equal(r->n_events, 3);
    assert_int_equal(r->events[2]->kv->mod_revision, 8);
    assert_false(r->created || r->canceled || r->fragment);
    r = answer(call, 2);
    assert_true(r->canceled);
    assert_string_equal(r->cancel_reason, "");
    assert_header(r->header, 8);
    assert_false(f->watchers[0].live);
    call_free(call);
}

/* The response is byte for byte what a protobuf encoder writes for the same message. */
static void event_bytes_are_canonical(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "k", .watch_id = 300});
    assert_true(emit(f, 0, 6, 2));
    Etcdserverpb__WatchResponse *r = answer(call, 1);
    struct buf again = {0};
    assert_true(codec_encode(r, &again));
    assert_true(slice_eq(buf_slice(&again), buf_slice(&call->out[1])));
    buf_close(&again);
    call_free(call);
}

static void compaction_cancels(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "k", .start_revision = 2});
    create(call, (struct create){.key = "other"});
    struct service_watcher *w = &f->watchers[0];
    w->live = false; /* the hub forgets it after this call */
    w->sink->compacted(w->sink_data, w->watcher_data, 4);
    Etcdserverpb__WatchResponse *r = answer(call, 2);
    assert_true(r->canceled);
    assert_false(r->created);
    assert_int_equal(r->compact_revision, 4);
    assert_header(r->header, 0); /* trap 4 */
    assert_string_equal(r->cancel_reason, "");
    assert_true(emit(f, 1, 6, 1)); /* the other one lives on */
    assert_int_equal(answer(call, 3)->watch_id, 1);
    call_free(call);
}

static void progress_for_all(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    ask_progress(call);
    assert_int_equal(call->count, 0); /* no watcher: nothing */
    create(call, (struct create){.key = "a"});
    create(call, (struct create){.key = "b"});
    f->watchers[1].synced = false;
    ask_progress(call);
    assert_int_equal(call->count, 2);
    f->watchers[1].synced = true;
    f->revision = 12;
    ask_progress(call);
    Etcdserverpb__WatchResponse *r = answer(call, 2);
    assert_int_equal(r->watch_id, -1);
    assert_header(r->header, 12);
    assert_int_equal(r->n_events, 0);
    assert_false(r->created || r->canceled);
    call_free(call);
}

/* WA-17: at each tick, to watchers that asked, are synced and saw no event since the last one. */
static void progress_notifications(void **state)
{
    struct fake *f = *state;
    f->service.progress_notify_ms = 1; /* raised to 100 */
    uint64_t start = uv_now(&f->loop);
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "a", .progress_notify = true});
    create(call, (struct create){.key = "b"});
    create(call, (struct create){.key = "c", .progress_notify = true});
    create(call, (struct create){.key = "d", .progress_notify = true});
    f->watchers[3].synced = false;
    assert_true(emit(f, 2, 6, 1));
    f->revision = 6;
    assert_int_equal(call->count, 5);
    uv_run(&f->loop, UV_RUN_ONCE); /* first tick: only a; c had an event */
    assert_in_range(uv_now(&f->loop) - start, 100, 1000);
    assert_int_equal(call->count, 6);
    Etcdserverpb__WatchResponse *r = answer(call, 5);
    assert_int_equal(r->watch_id, 0);
    assert_header(r->header, 6);
    assert_int_equal(r->n_events, 0);
    uv_run(&f->loop, UV_RUN_ONCE); /* second tick: a and c */
    assert_int_equal(call->count, 8);
    assert_int_equal(answer(call, 6)->watch_id + answer(call, 7)->watch_id, 2);
    call_free(call);
}

static void fragments(void **state)
{
    struct fake *f = *state;
    f->service.max_request_bytes = 1000; /* + 512 KiB */
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "a", .fragment = true});
    create(call, (struct create){.key = "b"});
    size_t limit = 1000 + REQUEST_OVERHEAD_BYTES;
    assert_true(emit_sized(f, 0, 6, 10, limit / 4));
    size_t events = 0;
    for (size_t i = 2; i < call->count; i++) {
        Etcdserverpb__WatchResponse *r = answer(call, i);
        assert_int_equal(r->fragment, i + 1 < call->count);
        assert_int_equal(r->watch_id, 0);
        assert_header(r->header, 15);
        assert_true(r->n_events >= 1);
        assert_true(call->out[i].len < limit);
        for (size_t k = 0; k < r->n_events; k++) {
            assert_int_equal(r->events[k]->kv->mod_revision, 6 + events);
            events++;
        }
    }
    assert_int_equal(events, 10);
    assert_int_equal(call->count, 2 + 4); /* three fit each time: 3 + 3 + 3 + 1 */
    /* One huge event is one message; without fragment=true everything is one message. */
    assert_true(emit_sized(f, 0, 16, 1, 2 * limit));
    assert_false(answer(call, 6)->fragment);
    assert_true(emit_sized(f, 0, 17, 2, 2 * limit)); /* at least one event in each */
    assert_true(answer(call, 7)->fragment);
    assert_false(answer(call, 8)->fragment);
    assert_true(emit_sized(f, 1, 6, 10, limit / 4));
    assert_int_equal(call->count, 10);
    assert_int_equal(answer(call, 9)->n_events, 10);
    call_free(call);
}

/* Above high water responses wait in order; when 128 wait the hub is refused, and resumed once all
 * have left. */
static void slow_client(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "a", .progress_notify = true});
    create(call, (struct create){.key = "b"});
    call->above_high_water = true;
    for (int i = 0; i < (int)WATCH_RESPONSES_BUFFERED_MAX; i++) {
        assert_true(emit(f, 0, 6 + i, 1));
    }
    assert_false(emit(f, 0, 500, 1));
    assert_false(emit(f, 1, 501, 2));
    assert_false(emit(f, 0, 500, 1)); /* asked again: refused again, resumed once */
    create(call, (struct create){.key = "c"});
    cancel(call, 1); /* while refused */
    assert_int_equal(call->count, 2);

    call->above_high_water = false;
    call->method->writable(call);
    assert_int_equal(call->count, 2 + WATCH_RESPONSES_BUFFERED_MAX + 2);
    for (size_t i = 0; i < WATCH_RESPONSES_BUFFERED_MAX; i++) {
        assert_int_equal(answer(call, 2 + i)->header->revision, 6 + i);
    }
    assert_true(answer(call, 2 + WATCH_RESPONSES_BUFFERED_MAX)->created);
    assert_true(answer(call, 3 + WATCH_RESPONSES_BUFFERED_MAX)->canceled);
    assert_int_equal(f->watchers[0].resumed, 1);
    assert_int_equal(f->watchers[1].resumed, 0);
    assert_true(emit(f, 0, 500, 1));
    call_free(call);
}

/* Large events fill the byte limit long before 128 responses. */
static void slow_client_bytes(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "a"});
    call->above_high_water = true;
    int taken = 0;
    while (emit_sized(f, 0, 6 + taken, 1, 1024 * 1024)) {
        taken++;
    }
    assert_int_equal(taken, 4);
    call_free(call); /* with responses still queued: nothing leaks */
}

/* A client that never reads while creating watchers loses its stream, not our memory. */
static void unread_answers_are_bounded(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    call->above_high_water = true;
    size_t made = 0;
    while (!call->finished && made < 200000) {
        create(call, (struct create){.key = "b", .range_end = "a"});
        made++;
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_true(call->finished);
    assert_int_equal(call->code, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(call->count, 0);
    call_free(call);
}

static void half_close_keeps_watching(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    create(call, (struct create){.key = "a"});
    if (call->method->half_close != NULL) {
        call->method->half_close(call);
    }
    assert_false(call->finished);
    assert_true(emit(f, 0, 6, 1));
    assert_int_equal(call->count, 2);
    call_free(call);
}

static void closing_cancels_all(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = watch_open(f);
    for (int i = 0; i < 100; i++) {
        create(call, (struct create){.key = "a"});
    }
    assert_int_equal(f->svc->watchers, 100);
    assert_int_equal(f->svc->watch_streams, 1);
    call_free(call);
    for (int i = 0; i < 100; i++) {
        assert_false(f->watchers[i].live);
    }
    assert_int_equal(f->svc->watchers, 0);
    assert_int_equal(f->svc->watch_streams, 0);
}

static int teardown_arena(void **state)
{
    (void)state;
    arena_close(&fake_arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_count_from_zero),
        TEST(options_reach_the_hub),
        TEST(refused_creates),
        TEST(empty_requests_are_ignored),
        TEST(events_and_cancel_keep_order),
        TEST(event_bytes_are_canonical),
        TEST(compaction_cancels),
        TEST(progress_for_all),
        TEST(progress_notifications),
        TEST(fragments),
        TEST(slow_client),
        TEST(slow_client_bytes),
        TEST(unread_answers_are_bounded),
        TEST(half_close_keeps_watching),
        TEST(closing_cancels_all),
    };
    return cmocka_run_group_tests(tests, NULL, teardown_arena);
}
