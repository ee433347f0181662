/* test_watch - the hub: random watchers against the model, then one test per promise. */
#include "kv_random.h"

#include "base/limits.h"
#include "kv/state.h"
#include "proto/event.h"

/* ---- a stream that knows what must come
 * ---------------------------------------------------------- */

struct stream {
    struct kvf *f;
    struct model *m;
    struct kv_watcher *w;
    struct watch_options o;
    size_t at;    /* place in m->versions of the next version not looked at */
    int64_t next; /* lowest revision that may come */
    bool refuse;  /* the sink is full */
    bool refused; /* and has said so: waits for a resume */
    bool compacted;
    uint64_t events;
    uint64_t calls;
    int64_t last_header;
};

static bool stream_wants(const struct stream *s, const struct mversion *v)
{
    ProtobufCBinaryData key = bin_of(s->o.key.len > 0 ? s->o.key : slice_of("", 1));
    return v->rev.main >= s->next && !(v->tombstone ? s->o.no_delete : s->o.no_put) &&
           in_range(s->m->names[v->key], key, bin_of(s->o.range_end));
}

/* The next version that must come; NULL = none yet. */
static const struct mversion *stream_next(struct stream *s)
{
    while (s->at < s->m->len && !stream_wants(s, &s->m->versions[s->at])) {
        s->at++;
    }
    return s->at < s->m->len ? &s->m->versions[s->at] : NULL;
}

static void encode_event(struct stream *s, const struct mversion *v, bool prev_kv, struct buf *out)
{
    struct model *m = s->m;
    Mvccpb__Event event = MVCCPB__EVENT__INIT;
    if (v->tombstone) {
        event.type = MVCCPB__EVENT__EVENT_TYPE__DELETE;
        event.kv = arena_alloc(&m->arena, sizeof(*event.kv));
        mvccpb__key_value__init(event.kv);
        event.kv->key = bin_of(m->names[v->key]);
        event.kv->mod_revision = v->rev.main;
    } else {
        event.kv = model_kv(m, v);
    }
    bool created = !v->tombstone && v->create == v->rev.main;
    struct mversion *prev = model_live(m, v->key, v->rev.main - 1);
    if (prev_kv && !created && prev != NULL) {
        event.prev_kv = model_kv(m, prev);
    }
    assert_true(wire_put_header(out, 11, codec_size(&event)));
    assert_true(codec_encode(&event, out));
}

static bool stream_events(void *data, void *watcher_data, int64_t revision,
                          const struct watch_event *events, size_t count)
{
    struct stream *s = watcher_data;
    assert_true(count >= 1);
    assert_false(s->refused);
    assert_false(s->compacted);
    if (s->refuse) {
        s->refused = true;
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct buf want;
        const struct mversion *v = stream_next(s);
        assert_non_null(v);
        assert_int_equal(events[i].revision, v->rev.main);
        buf_init(&want);
        encode_event(s, v, s->o.prev_kv, &want);
        if (!slice_eq(blob_slice(events[i].body), buf_slice(&want))) {
            /* The value before may be gone with a compaction. */
            assert_true(s->o.prev_kv && v->rev.main - 1 < s->m->floor);
            buf_clear(&want);
            encode_event(s, v, false, &want);
            assert_true(slice_eq(blob_slice(events[i].body), buf_slice(&want)));
        }
        buf_close(&want);
        s->at++;
    }
    /* Whole revisions only. */
    const struct mversion *v = stream_next(s);
    int64_t last = events[count - 1].revision;
    assert_true(v == NULL || v->rev.main > last);
    assert_true(revision >= last);
    assert_true(revision >= s->last_header);
    s->last_header = revision;
    s->next = last + 1;
    s->events += count;
    s->calls++;
    return true;
}

static void stream_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    struct stream *s = watcher_data;
    assert_false(s->compacted);
    assert_int_equal(compact_revision, s->m->floor);
    assert_true(s->next < compact_revision);
    s->compacted = true;
    s->w = NULL;
}

static const struct watch_sink SINK = {.events = stream_events, .compacted = stream_compacted};

static void stream_open(struct stream *s, struct kvf *f, struct model *m,
                        const struct watch_options *o)
{
    memset(s, 0, sizeof(*s));
    s->f = f;
    s->m = m;
    s->o = *o;
    s->next = o->start_revision > 0 ? o->start_revision : kv_revision(f->kv) + 1;
    s->w = kv_watch(f->kv, o, &SINK, s, s);
    assert_non_null(s->w);
}

static void stream_random(struct stream *s, struct kvf *f, struct model *m, struct rand *rnd)
{
    struct watch_options o = {0};
    ProtobufCBinaryData key = random_key(m, rnd);
    ProtobufCBinaryData end = random_end(m, rnd);
    o.key = slice_of(key.data, rand_below(rnd, 5) == 0 ? 0 : key.len);
    o.range_end = slice_of(end.data, end.len);
    switch (rand_below(rnd, 4)) {
    case 0:
        break;
    case 1:
        o.start_revision = m->revision + (int64_t)rand_below(rnd, 20);
        break;
    default:
        o.start_revision = 1 + (int64_t)rand_below(rnd, (uint64_t)m->revision);
        break;
    }
    o.no_put = rand_below(rnd, 6) == 0;
    o.no_delete = rand_below(rnd, 6) == 0;
    o.prev_kv = rand_below(rnd, 2) == 0;
    stream_open(s, f, m, &o);
}

static void drain(struct kvf *f)
{
    int steps = 0;
    while (kv_watch_step(f->kv) == KV_MORE) {
        assert_true(++steps < 1000000);
    }
}

static void stream_finish(struct stream *s)
{
    if (s->w != NULL) {
        assert_true(s->refused || s->o.start_revision > s->m->revision ||
                    kv_watch_synced(s->f->kv, s->w));
        if (!s->refused) {
            assert_null(stream_next(s));
        }
        kv_watch_cancel(s->f->kv, s->w);
    }
}

enum { STREAMS = 24 };

static void run_seed(uint64_t seed, uint64_t *all_compacted)
{
    struct rand rnd;
    struct model m;
    struct kvf f;
    struct stream streams[STREAMS];
    bool open[STREAMS] = {0};
    uint64_t events = 0;
    uint64_t compacted = 0;
    rand_init(&rnd, seed);
    model_init(&m, &rnd);
    kvf_open(&f);
    for (int i = 0; i < 1500; i++) {
        Etcdserverpb__InternalRaftRequest r;
        void *answer;
        do {
            random_request(&m, &rnd, &r);
        } while (r.compaction != NULL && rand_below(&rnd, 6) != 0);
        int want = model_apply(&m, &r, &answer);
        assert_int_equal(kvf_apply(&f, &r), want);
        struct stream *s = &streams[rand_below(&rnd, STREAMS)];
        bool *is_open = &open[s - streams];
        switch (rand_below(&rnd, 8)) {
        case 0:
            if (*is_open) {
                compacted += s->compacted;
                events += s->events;
                if (s->w != NULL) {
                    kv_watch_cancel(f.kv, s->w);
                }
                *is_open = false;
            } else {
                stream_random(s, &f, &m, &rnd);
                *is_open = true;
            }
            break;
        case 1:
            s->refuse = rand_below(&rnd, 3) == 0;
            break;
        case 2:
            if (*is_open && s->refused && s->w != NULL) {
                s->refused = false;
                s->refuse = rand_below(&rnd, 4) == 0;
                kv_watch_resume(f.kv, s->w);
            }
            break;
        case 3:
            drain(&f);
            break;
        case 4:
            kv_seal(f.kv, 0, true);
            break;
        case 5: {
            int err;
            kv_checkpoint_step(f.kv, &err);
            assert_int_equal(err, 0);
            break;
        }
        case 6:
            /* Forget the recent past, so that sweeps have work. */
            if (rand_below(&rnd, 8) == 0) {
                watch_ring_clear(&f.kv->hub.ring, kv_revision(f.kv) + 1);
            }
            break;
        default:
            kv_watch_step(f.kv);
            break;
        }
    }
    for (int i = 0; i < STREAMS; i++) {
        if (open[i]) {
            streams[i].refuse = streams[i].refused = false;
            if (streams[i].w != NULL) {
                kv_watch_resume(f.kv, streams[i].w);
            }
        }
    }
    drain(&f);
    for (int i = 0; i < STREAMS; i++) {
        if (open[i]) {
            compacted += streams[i].compacted;
            events += streams[i].events;
            stream_finish(&streams[i]);
        }
    }
    print_message("seed %llu: %llu events, %llu watchers compacted\n", (unsigned long long)seed,
                  (unsigned long long)events, (unsigned long long)compacted);
    assert_true(events > 1000);
    *all_compacted += compacted;
    kvf_close(&f);
    model_close(&m);
}

static void random_watchers_get_what_the_model_says(void **state)
{
    const char *text = getenv("KV_MODEL_SEEDS");
    const char *first = getenv("KV_MODEL_FIRST");
    uint64_t from = first == NULL ? 1 : strtoull(first, NULL, 10);
    uint64_t seeds = text == NULL ? 6 : strtoull(text, NULL, 10);
    uint64_t compacted = 0;
    for (uint64_t seed = from; seed < from + seeds; seed++) {
        run_seed(seed, &compacted);
    }
    assert_true(compacted > 0);
}

/* ---- a plain recorder for directed tests
 * --------------------------------------------------------- */

struct record_sink {
    char text[8192]; /* "P a@2 | D a@3": one call between bars */
    size_t len;
    uint64_t events;
    uint64_t calls;
    int64_t header;
    int64_t compacted;
    bool full;
    struct kvf *f;
    struct kv_watcher *cancel; /* cancelled from inside the next callback */
};

static bool record_events(void *data, void *watcher_data, int64_t revision,
                          const struct watch_event *events, size_t count)
{
    struct record_sink *r = data;
    if (r->cancel != NULL) {
        struct kv_watcher *w = r->cancel;
        r->cancel = NULL;
        kv_watch_cancel(r->f->kv, w);
    }
    if (r->full) {
        return false;
    }
    if (r->len < 7000) {
        r->len += (size_t)snprintf(r->text + r->len, sizeof(r->text) - r->len, "%s",
                                   r->len > 0 ? " |" : "");
    }
    for (size_t i = 0; i < count && r->len < 7000; i++) {
        struct slice body = blob_slice(events[i].body);
        struct wire_field outer;
        struct wire_field inner;
        char type = 'P';
        struct key_value kv = {0};
        assert_int_equal(wire_next(&body, &outer), 1);
        assert_int_equal(outer.number, 11);
        while (wire_next(&outer.bytes, &inner) > 0) {
            if (inner.number == 1) {
                type = 'D';
            } else if (inner.number == 2) {
                assert_true(key_value_parse(inner.bytes, &kv));
            }
        }
        r->len += (size_t)snprintf(r->text + r->len, sizeof(r->text) - r->len, "%s%c %.*s@%lld",
                                   r->len > 0 ? " " : "", type, (int)kv.key.len, kv.key.data,
                                   (long long)events[i].revision);
    }
    r->events += count;
    r->calls++;
    r->header = revision;
    return true;
}

static void record_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    struct record_sink *r = data;
    r->compacted = compact_revision;
}

static const struct watch_sink RECORDER = {.events = record_events, .compacted = record_compacted};

static struct kv_watcher *watch(struct kvf *f, struct record_sink *r, const char *key,
                                const char *end, int64_t start)
{
    struct watch_options o = {
        .key = slice_str(key), .range_end = slice_str(end), .start_revision = start};
    struct kv_watcher *w = kv_watch(f->kv, &o, &RECORDER, r, NULL);
    assert_non_null(w);
    r->f = f;
    return w;
}

/* Contract WA-05: start 0 shows what comes after; a future start waits, and is not synced. */
static void starts_now_and_in_the_future(void **state)
{
    struct kvf f;
    struct record_sink now = {0};
    struct record_sink future = {0};
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    struct kv_watcher *n = watch(&f, &now, "a", "", 0);
    struct kv_watcher *u = watch(&f, &future, "a", "", 5);
    assert_true(kv_watch_synced(f.kv, n));
    assert_false(kv_watch_synced(f.kv, u));
    kvf_put(&f, "a", "2");
    kvf_put(&f, "a", "3");
    assert_int_equal(future.events, 0);
    kvf_put(&f, "a", "4");
    assert_true(kv_watch_synced(f.kv, u));
    assert_string_equal(now.text, "P a@3 | P a@4 | P a@5");
    assert_string_equal(future.text, "P a@5");
    assert_int_equal(now.header, 5);
    assert_int_equal(kv_watch_step(f.kv), KV_DONE);
    kvf_close(&f);
}

/* Contract WA-07: a start at the compaction revision shows a deletion made exactly there, also
 * after the rows were dropped and after a restart; below it the watcher is told (WA-08). */
static void a_tombstone_at_the_floor_is_seen(void **state)
{
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "b", "1");
    kvf_delete(&f, "a", "");
    kvf_put(&f, "c", "1");
    kvf_compact(&f, 4);
    for (int round = 0; round < 3; round++) {
        struct record_sink at = {0};
        struct record_sink below = {0};
        struct kv_watcher *w = watch(&f, &at, "a", "z", 4);
        watch(&f, &below, "a", "z", 3);
        drain(&f);
        assert_string_equal(at.text, "D a@4 P c@5");
        assert_int_equal(below.compacted, 4);
        assert_int_equal(below.events, 0);
        kv_watch_cancel(f.kv, w);
        if (round == 0) {
            kvf_checkpoint(&f);
            assert_int_equal(kv_compact_done(f.kv), 4);
        } else {
            kvf_crash(&f);
        }
    }
    kvf_compact(&f, 5);
    kvf_checkpoint(&f);
    struct record_sink after = {0};
    watch(&f, &after, "a", "z", 5);
    drain(&f);
    assert_string_equal(after.text, "P c@5");
    kvf_close(&f);
}

/* A full sink costs nothing until it is resumed, and then misses nothing (WA-20). */
static void a_full_sink_loses_nothing(void **state)
{
    struct kvf f;
    struct record_sink slow = {.full = true};
    struct record_sink quick = {0};
    kvf_open(&f);
    struct kv_watcher *w = watch(&f, &slow, "k", "", 0);
    watch(&f, &quick, "k", "", 0);
    for (int i = 0; i < 5; i++) {
        kvf_put(&f, "k", "v");
    }
    assert_int_equal(quick.events, 5);
    assert_int_equal(kv_watch_step(f.kv), KV_DONE);
    assert_int_equal(slow.events, 0);
    assert_false(kv_watch_synced(f.kv, w));
    slow.full = false;
    kv_watch_resume(f.kv, w);
    drain(&f);
    assert_string_equal(slow.text, "P k@2 P k@3 P k@4 P k@5 P k@6");
    assert_int_equal(slow.header, 6);
    assert_true(kv_watch_synced(f.kv, w));
    kvf_put(&f, "k", "v");
    assert_int_equal(slow.events, 6);
    kvf_close(&f);
}

/* At most 1,000 revisions in one catch-up response. */
static void long_pasts_come_in_bounded_responses(void **state)
{
    enum { COUNT = 20500 };
    struct kvf f;
    struct record_sink r = {0};
    struct buf payload;
    kvf_open(&f);
    buf_init(&payload);
    for (int i = 0; i < COUNT; i++) {
        RAFT(q);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = bin("k");
        q.put = &put;
        kvf_batch(&f, &payload, &q);
    }
    kvf_entry(&f, buf_slice(&payload));
    watch(&f, &r, "k", "", 2);
    drain(&f);
    assert_int_equal(r.events, COUNT);
    assert_int_equal(r.calls,
                     (COUNT + WATCH_CATCHUP_REVISIONS_MAX - 1) / WATCH_CATCHUP_REVISIONS_MAX);
    buf_close(&payload);
    kvf_close(&f);
}

/* Callbacks may cancel watchers, their own included. */
static void callbacks_may_cancel(void **state)
{
    struct kvf f;
    struct record_sink a = {0};
    struct record_sink b = {0};
    struct record_sink c = {0};
    kvf_open(&f);
    struct kv_watcher *first = watch(&f, &a, "k", "", 0);
    struct kv_watcher *second = watch(&f, &b, "k", "", 0);
    watch(&f, &c, "a", "z", 0);
    a.cancel = second;
    kvf_put(&f, "k", "1");
    assert_int_equal(a.events, 1);
    assert_int_equal(b.events, 0);
    assert_int_equal(c.events, 1);
    a.cancel = first;
    kvf_put(&f, "k", "2");
    assert_int_equal(a.events, 2);
    kvf_put(&f, "k", "3");
    assert_int_equal(a.events, 2);
    assert_int_equal(c.events, 3);
    struct record_sink d = {0};
    d.cancel = watch(&f, &d, "k", "", 2);
    drain(&f);
    assert_int_equal(d.calls, 1);
    kvf_close(&f);
}

/* One revision with more changes than the hub stages: read back from the table, whole, by all. */
static void huge_revisions_arrive_whole(void **state)
{
    enum { KEYS = 9000 };
    struct kvf f;
    struct record_sink all = {0};
    struct record_sink one = {0};
    struct record_sink old = {0};
    struct buf payload;
    kvf_open(&f);
    buf_init(&payload);
    for (int i = 0; i < KEYS; i++) {
        RAFT(q);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%05d", i);
        put.key = bin(key);
        q.put = &put;
        kvf_batch(&f, &payload, &q);
    }
    kvf_entry(&f, buf_slice(&payload));
    struct kv_watcher *w = watch(&f, &all, "k", "l", 0);
    watch(&f, &one, "k00077", "", 0);
    watch(&f, &old, "k", "l", KEYS - 10);
    kvf_delete(&f, "k", "l");
    assert_int_equal(all.events, 0);
    assert_false(kv_watch_synced(f.kv, w));
    kvf_put(&f, "k", "after");
    drain(&f);
    assert_true(kv_watch_synced(f.kv, w));
    assert_int_equal(all.events, KEYS + 1);
    assert_true(all.calls <= 2);
    char want[64];
    snprintf(want, sizeof(want), "D k00077@%d", KEYS + 2);
    assert_string_equal(one.text, want);
    assert_int_equal(old.events, 12 + KEYS + 1);
    kvf_put(&f, "k", "live");
    assert_int_equal(all.events, KEYS + 2);
    buf_close(&payload);
    kvf_close(&f);
}

/* A watcher created between two slices of an operation sees its revision whole or not at all. */
static void watchers_born_inside_an_operation(void **state)
{
    enum { KEYS = 3000 };
    struct kvf f;
    struct buf payload;
    struct record_sink r = {0};
    kvf_open(&f);
    buf_init(&payload);
    for (int i = 0; i < KEYS; i++) {
        RAFT(q);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%05d", i);
        put.key = bin(key);
        q.put = &put;
        kvf_batch(&f, &payload, &q);
    }
    kvf_entry(&f, buf_slice(&payload));
    buf_clear(&payload);
    RAFT(q);
    Etcdserverpb__DeleteRangeRequest d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    d.key = bin("k");
    d.range_end = bin("l");
    q.delete_range = &d;
    kvf_batch(&f, &payload, &q);
    kv_apply_begin(f.kv, 2, 1, buf_slice(&payload));
    assert_int_equal(kv_apply_step(f.kv), KV_MORE);
    watch(&f, &r, "k", "l", 0);
    while (kv_apply_step(f.kv) == KV_MORE) {
    }
    drain(&f);
    assert_int_equal(r.events, KEYS);
    assert_int_equal(r.calls, 1);
    buf_close(&payload);
    kvf_close(&f);
}

/* Slow watchers far apart are served side by side. */
static void far_and_near_are_served_side_by_side(void **state)
{
    enum { COUNT = 60000 };
    struct kvf f;
    struct record_sink far = {0};
    struct record_sink near = {0};
    struct buf payload;
    kvf_open(&f);
    buf_init(&payload);
    for (int i = 0; i < COUNT; i++) {
        RAFT(q);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = bin("k");
        q.put = &put;
        kvf_batch(&f, &payload, &q);
    }
    kvf_entry(&f, buf_slice(&payload));
    watch(&f, &far, "k", "", 2);
    watch(&f, &near, "k", "", COUNT - 100);
    int steps = 0;
    while (near.events == 0) {
        kv_watch_step(f.kv);
        assert_true(++steps < 6);
    }
    assert_true(far.events < COUNT / 2);
    assert_int_equal(near.events, 102);
    drain(&f);
    assert_int_equal(far.events, COUNT);
    buf_close(&payload);
    kvf_close(&f);
}

/* What the ring keeps of recent events is bounded with the values before, which some watchers want.
 */
static void recent_events_are_bounded_with_values_before(void **state)
{
    struct kvf f;
    struct record_sink live = {0};
    struct watch_options o = {.key = slice_str("k"), .prev_kv = true};
    struct buf payload;
    buf_init(&payload);
    kvf_open(&f);
    for (size_t i = 0; i < 64 * 1024; i++) {
        buf_append_byte(&payload, 'x');
    }
    buf_append_byte(&payload, '\0');
    live.f = &f;
    assert_non_null(kv_watch(f.kv, &o, &RECORDER, &live, NULL));
    for (int i = 0; i < 200; i++) {
        kvf_put(&f, "k", (const char *)payload.data);
    }
    const struct watch_ring *r = &f.kv->hub.ring;
    size_t bytes = 0;
    for (size_t i = 0; i < r->len; i++) {
        const struct hub_event *event = &r->events[(r->first + i) & (r->cap - 1)];
        bytes += event->plain->len + (event->with_prev != NULL ? event->with_prev->len : 0);
    }
    assert_int_equal(live.events, 200);
    assert_int_equal(bytes, r->bytes);
    assert_true(bytes <= WATCH_RING_BYTES_MAX && r->len > 10);
    buf_close(&payload);
    kvf_close(&f);
}

/* Contract WA-22: a snapshot replaces the state of a member that lags; its watchers go on from
 * where they were, or are told that their past is gone. */
static void an_install_resyncs_watchers(void **state)
{
    struct kvf f;
    struct kvf g;
    struct record_sink live = {0};
    struct record_sink late = {.full = true};
    struct record_sink future = {0};
    kvf_open(&f);
    kvf_open(&g);
    for (int i = 0; i < 10; i++) {
        kvf_put(&f, "k", "v");
    }
    kvf_grant(&f, 3, 60);
    kvf_put_lease(&f, "leased", "v", 3);
    for (int i = 0; i < 4; i++) {
        kvf_feed(&g, &f.log[i]);
    }
    watch(&g, &live, "k", "", 0);
    struct kv_watcher *w = watch(&g, &late, "k", "", 0);
    watch(&g, &future, "k", "", 14);
    kvf_feed(&g, &f.log[4]);
    assert_string_equal(live.text, "P k@6");
    kvf_checkpoint(&f);
    char path[300];
    struct store_meta meta;
    struct buf configuration;
    struct errmsg e = {{0}};
    buf_init(&configuration);
    snprintf(path, sizeof(path), "%s/copy", g.dir);
    assert_int_equal(store_copy(kv_store(f.kv), path, &meta, &configuration), 0);
    int err = kv_install(g.kv, path, &e);
    if (err != 0) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(kv_revision(g.kv), kv_revision(f.kv));
    assert_int_equal(kv_running_hash(g.kv), kv_running_hash(f.kv));
    assert_int_equal(kv_accounted_bytes(g.kv), kv_accounted_bytes(f.kv));
    struct kv_lease_info info;
    assert_true(kv_lease_lookup(g.kv, 3, 0, &info));
    assert_int_equal(info.key_count, 1);
    drain(&g);
    assert_string_equal(live.text, "P k@6 | P k@7 P k@8 P k@9 P k@10 P k@11");
    late.full = false;
    kv_watch_resume(g.kv, w);
    drain(&g);
    assert_string_equal(late.text, "P k@6 P k@7 P k@8 P k@9 P k@10 P k@11");
    size_t known = f.log_len;
    kvf_put(&f, "k", "v");
    kvf_put(&f, "k", "v");
    kvf_feed(&g, &f.log[known]);
    kvf_feed(&g, &f.log[known + 1]);
    assert_string_equal(future.text, "P k@14");
    assert_int_equal(live.events, 8);
    assert_int_equal(late.events, 8);
    buf_close(&configuration);
    kvf_close(&f);
    kvf_close(&g);
}

struct prev_sink {
    char text[256];
    size_t len;
};

/* Notes the value before of each event: "one" or "-". */
static bool prev_events(void *data, void *watcher_data, int64_t revision,
                        const struct watch_event *events, size_t count)
{
    struct prev_sink *p = data;
    for (size_t i = 0; i < count; i++) {
        struct slice body = blob_slice(events[i].body);
        struct wire_field outer;
        struct wire_field inner;
        struct key_value kv = {.value = slice_str("-")};
        assert_int_equal(wire_next(&body, &outer), 1);
        while (wire_next(&outer.bytes, &inner) > 0) {
            if (inner.number == 3) {
                assert_true(key_value_parse(inner.bytes, &kv));
            }
        }
        p->len += (size_t)snprintf(p->text + p->len, sizeof(p->text) - p->len, "%.*s ",
                                   (int)kv.value.len, kv.value.data);
    }
    return true;
}

/* Contract WA-13: the value before is shown unless it is not readable any more: the one an event at
 * the floor replaced is not, the next one is. Creations have none. */
static void values_before_end_at_the_floor(void **state)
{
    static const struct watch_sink sink = {.events = prev_events, .compacted = record_compacted};
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "k", "one");   /* 2 */
    kvf_put(&f, "k", "two");   /* 3 */
    kvf_put(&f, "k", "three"); /* 4 */
    kvf_delete(&f, "k", "");   /* 5 */
    kvf_put(&f, "k", "four");  /* 6 */
    for (int round = 0; round < 3; round++) {
        struct prev_sink p = {.len = 0};
        struct watch_options o = {
            .key = slice_str("k"), .start_revision = round == 0 ? 2 : 3, .prev_kv = true};
        struct kv_watcher *w = kv_watch(f.kv, &o, &sink, &p, NULL);
        drain(&f);
        assert_string_equal(p.text, round == 0 ? "- one two three - " : "- two three - ");
        kv_watch_cancel(f.kv, w);
        if (round == 0) {
            kvf_compact(&f, 3);
        } else {
            kvf_checkpoint(&f);
        }
    }
    kvf_close(&f);
}

/* A watcher that wants exactly the revision a sweep is in the middle of gets all of it. */
static void joining_in_the_middle_of_a_revision(void **state)
{
    enum { KEYS = 9000 };
    struct kvf f;
    struct record_sink first = {0};
    struct record_sink second = {0};
    struct buf payload;
    kvf_open(&f);
    buf_init(&payload);
    for (int i = 0; i < KEYS; i++) {
        RAFT(q);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%05d", i);
        put.key = bin(key);
        q.put = &put;
        kvf_batch(&f, &payload, &q);
    }
    kvf_entry(&f, buf_slice(&payload));
    kvf_delete(&f, "k", "l");
    int64_t huge = kv_revision(f.kv);
    watch(&f, &first, "k", "l", huge);
    assert_int_equal(kv_watch_step(f.kv), KV_MORE);
    assert_int_equal(kv_watch_step(f.kv), KV_MORE);
    assert_int_equal(first.events, 0);
    watch(&f, &second, "k", "l", huge);
    drain(&f);
    assert_int_equal(first.events, KEYS);
    assert_int_equal(second.events, KEYS);
    assert_int_equal(second.calls, 1);
    buf_close(&payload);
    kvf_close(&f);
}

/* A lagging member gets a snapshot whose floor is beyond what its watcher still needs. */
static void an_install_beyond_the_past_cancels(void **state)
{
    struct kvf f;
    struct kvf g;
    struct record_sink live = {0};
    kvf_open(&f);
    kvf_open(&g);
    for (int i = 0; i < 10; i++) {
        kvf_put(&f, "k", "v");
    }
    kvf_feed(&g, &f.log[0]);
    watch(&g, &live, "k", "", 0);
    kvf_compact(&f, 9);
    kvf_checkpoint(&f);
    char path[300];
    struct store_meta meta;
    struct buf configuration;
    struct errmsg e = {{0}};
    buf_init(&configuration);
    snprintf(path, sizeof(path), "%s/copy", g.dir);
    assert_int_equal(store_copy(kv_store(f.kv), path, &meta, &configuration), 0);
    assert_int_equal(kv_install(g.kv, path, &e), 0);
    drain(&g);
    assert_int_equal(live.compacted, 9);
    assert_int_equal(live.events, 0);
    buf_close(&configuration);
    kvf_close(&f);
    kvf_close(&g);
}

/* Revoking a lease deletes its keys in one revision, in byte order (WA-21). */
static void a_revoke_is_one_revision(void **state)
{
    struct kvf f;
    struct record_sink r = {0};
    kvf_open(&f);
    kvf_grant(&f, 9, 60);
    kvf_put_lease(&f, "z", "1", 9);
    kvf_put_lease(&f, "a", "1", 9);
    kvf_put_lease(&f, "m", "1", 9);
    watch(&f, &r, "a", "zz", 0);
    assert_int_equal(kvf_revoke(&f, 9), 0);
    assert_string_equal(r.text, "D a@5 D m@5 D z@5");
    assert_int_equal(r.calls, 1);
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_watchers_get_what_the_model_says),
        cmocka_unit_test(starts_now_and_in_the_future),
        cmocka_unit_test(a_tombstone_at_the_floor_is_seen),
        cmocka_unit_test(a_full_sink_loses_nothing),
        cmocka_unit_test(long_pasts_come_in_bounded_responses),
        cmocka_unit_test(callbacks_may_cancel),
        cmocka_unit_test(huge_revisions_arrive_whole),
        cmocka_unit_test(watchers_born_inside_an_operation),
        cmocka_unit_test(far_and_near_are_served_side_by_side),
        cmocka_unit_test(an_install_resyncs_watchers),
        cmocka_unit_test(an_install_beyond_the_past_cancels),
        cmocka_unit_test(recent_events_are_bounded_with_values_before),
        cmocka_unit_test(a_revoke_is_one_revision),
        cmocka_unit_test(values_before_end_at_the_floor),
        cmocka_unit_test(joining_in_the_middle_of_a_revision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
