/* test_host_calls.c - the calls of the host table, one group after the other, from inside a plugin.
 */
#include "base/log.h"
#include "tests/unit/plugins/host_fixture.h"

/* Leads, and writes are allowed. */
static int lead_setup(void **state)
{
    host_setup(state);
    probe_load("");
    probe_lead();
    return 0;
}

static int64_t put_plain(const char *key, const char *value)
{
    struct answer a;
    ask((struct ask){.what = ASK_PUT, .ctx = probe.term, .key = key, .value = value, .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    return a.result.revision;
}

/* ---- read and write ----------------------------------------------------------------------------
 */

static void get_of_nothing_is_fine(void **state)
{
    (void)state;
    struct answer a;
    ask((struct ask){.what = ASK_GET, .ctx = probe.root, .key = "none", .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.row_count, 0);
    assert_int_equal(a.total, 0);
}

static void put_is_read_back(void **state)
{
    (void)state;
    struct answer a;
    int64_t revision = put_plain("a", "1");
    ask((struct ask){.what = ASK_GET, .ctx = probe.root, .key = "a", .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.row_count, 1);
    assert_string_equal(a.values[0], "1");
    assert_int_equal(a.mod[0], revision);
    assert_int_equal(a.result.revision, revision);
}

static void pages_cover_the_range_once(void **state)
{
    (void)state;
    struct answer a;
    char key[16];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "p/%d", i);
        put_plain(key, "v");
    }
    put_plain("q", "v");
    struct kvp_range r = {.size = sizeof(r), .flags = KVP_PREFIX, .key = kvp_str("p/"), .limit = 4};
    size_t seen = 0;
    char next[64];
    size_t next_len = 0;
    do {
        r.from = kvp_bytes_of(next, next_len);
        ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
        assert_outcome(&a, KVP_OK, 0);
        for (size_t i = 0; i < a.row_count; i++) {
            snprintf(key, sizeof(key), "p/%zu", seen++);
            assert_string_equal(a.keys[i], key);
        }
        /* Each page tells the revision it was read at, so that the next one is of the same. */
        assert_true(r.revision == 0 || a.result.revision == r.revision);
        r.revision = a.result.revision;
        next_len = a.next_len;
        memcpy(next, a.next, next_len);
        if (seen == 4) {
            put_plain("p/35", "after the page's revision"); /* may not be seen */
        }
    } while (a.more);
    assert_int_equal(seen, 10);
}

/* An answer above a page's bytes is cut behind a whole row, and goes on there. */
static char big_value[300 * 1024];
struct big {
    bool done;
    size_t count;
    uint32_t more;
    int64_t total;
    size_t next_len;
    char last[8];
};

static void big_on_rows(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct big *b = data;
    assert_int_equal(r->outcome, KVP_OK);
    b->done = true;
    b->count = rows->count;
    b->more = rows->more;
    b->total = rows->total;
    b->next_len = rows->next.len;
    for (size_t i = 0; i < rows->count; i++) {
        assert_int_equal(rows->rows[i].value.len, sizeof(big_value) - 1);
    }
    if (rows->count > 0) {
        text_of(b->last, sizeof(b->last), rows->rows[rows->count - 1].key);
    }
}

static void big_inside(void *data)
{
    struct kvp_range r = {.size = sizeof(r), .flags = KVP_PREFIX, .key = kvp_str("b/")};
    assert_int_equal(probe.host->range(probe.root, &r, big_on_rows, data), 0);
}

static void a_large_answer_is_cut_at_a_row(void **state)
{
    (void)state;
    struct big b = {0};
    char key[16];
    memset(big_value, 'x', sizeof(big_value) - 1);
    for (int i = 0; i < 6; i++) {
        snprintf(key, sizeof(key), "b/%d", i);
        put_plain(key, big_value);
    }
    inside(big_inside, &b);
    UNTIL(b.done);
    assert_int_equal(b.more, 1);
    assert_int_equal(b.total, -1);
    assert_in_range(b.count, 3, 4); /* 1 MiB holds three whole ones */
    snprintf(key, sizeof(key), "b/%zu", b.count - 1);
    assert_string_equal(b.last, key);
    assert_int_equal(b.next_len, 4); /* last key and a NUL */
}

static void edges_inside(void *data)
{
    struct kvp_range r = {.size = sizeof(r), .flags = KVP_PREFIX, .key = kvp_str("e/"), .limit = 3};
    assert_int_equal(probe.host->range(probe.root, &r, big_on_rows, data), 0);
}

/* As many rows as the limit and no more; and a row larger than a page, which comes alone. */
static void pages_end_where_they_must(void **state)
{
    (void)state;
    struct big b = {0};
    struct answer a;
    char key[16];
    memset(big_value, 'x', sizeof(big_value) - 1);
    for (int i = 0; i < 4; i++) {
        inside(edges_inside, &b); /* `more` only when a row follows */
        UNTIL(b.done);
        assert_int_equal(b.count, i < 3 ? i : 3);
        assert_int_equal(b.more, i > 3);
        assert_int_equal(b.total, i);
        b = (struct big){0};
        snprintf(key, sizeof(key), "e/%d", i);
        put_plain(key, big_value);
    }
    inside(edges_inside, &b);
    UNTIL(b.done);
    assert_int_equal(b.count, 3);
    assert_int_equal(b.more, 1);
    assert_int_equal(b.total, -1);
    assert_string_equal(b.last, "e/2");
    char *huge = mem_xalloc(KVP_PAGE_BYTES + 5000);
    memset(huge, 'y', KVP_PAGE_BYTES + 5000);
    huge[KVP_PAGE_BYTES + 4999] = '\0';
    put_plain("h/1", huge);
    put_plain("h/2", "small");
    mem_free(huge);
    struct kvp_range r = {.size = sizeof(r), .flags = KVP_PREFIX, .key = kvp_str("h/")};
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.row_count, 1);
    assert_int_equal(a.more, 1);
    char next[64];
    memcpy(next, a.next, a.next_len);
    r.from = kvp_bytes_of(next, a.next_len);
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_int_equal(a.row_count, 1);
    assert_string_equal(a.values[0], "small");
    assert_int_equal(a.more, 0);
    assert_int_equal(a.total, 1);
}

static void counts_keys_and_the_past_are_read(void **state)
{
    (void)state;
    struct answer a;
    int64_t first = put_plain("c/1", "old");
    put_plain("c/1", "new");
    put_plain("c/2", "x");
    struct kvp_range r = {
        .size = sizeof(r), .flags = KVP_PREFIX | KVP_COUNT_ONLY, .key = kvp_str("c/")};
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.total, 2);
    assert_int_equal(a.row_count, 0);
    r.flags = KVP_PREFIX | KVP_KEYS_ONLY | KVP_SERIALIZABLE;
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_int_equal(a.row_count, 2);
    assert_string_equal(a.values[0], "");
    r.flags = KVP_PREFIX;
    r.revision = first;
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_int_equal(a.row_count, 1);
    assert_string_equal(a.values[0], "old");
    assert_int_equal(a.result.revision, first);
    r.revision = 1000000;
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_outcome(&a, KVP_REFUSED, KVP_FUTURE);
}

static void bad_arguments_are_refused_at_once(void **state)
{
    (void)state;
    struct answer a;
    struct kvp_range r = {0};
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_int_equal(a.accepted, KVP_INVALID); /* no size */
    r.size = sizeof(r);
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_int_equal(a.accepted, KVP_INVALID); /* no key */
    r.key = kvp_str("b");
    r.end = kvp_str("a");
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_int_equal(a.accepted, KVP_INVALID); /* nothing in between */
    r.end = kvp_str("c");
    r.from = kvp_str("a");
    ask((struct ask){.what = ASK_RANGE, .ctx = probe.root, .range = &r, .answer = &a});
    assert_int_equal(a.accepted, KVP_INVALID); /* in front of the range */
    ask((struct ask){.what = ASK_PUT, .ctx = probe.term, .key = "", .value = "1", .answer = &a});
    assert_int_equal(a.accepted, KVP_INVALID);
    ask((struct ask){.what = ASK_GET, .ctx = NULL, .key = "a", .answer = &a});
    assert_int_equal(a.accepted, KVP_INVALID);
    /* From outside a callback. */
    assert_int_equal(probe.host->get(probe.root, kvp_str("a"), answer_rows, &a), KVP_WRONG_THREAD);
    assert_int_equal(probe.host->provide(probe.root, NULL), KVP_WRONG_THREAD);
}

static void put_if_compares(void **state)
{
    (void)state;
    struct answer a;
    struct ask q = {.what = ASK_PUT_IF, .ctx = probe.term, .key = "a", .value = "1", .answer = &a};
    ask(q); /* 0: not there */
    assert_outcome(&a, KVP_OK, 0);
    int64_t first = a.result.revision;
    ask(q);
    assert_outcome(&a, KVP_REFUSED, KVP_CONFLICT);
    assert_true(a.has_row);
    assert_int_equal(a.row_mod, first);
    q.mod = first;
    q.value = "2";
    ask(q);
    assert_outcome(&a, KVP_OK, 0);
    q.key = "b";
    ask(q);
    assert_outcome(&a, KVP_REFUSED, KVP_CONFLICT);
    assert_false(a.has_row);
}

static void del_counts_and_del_if_compares(void **state)
{
    (void)state;
    struct answer a;
    int64_t mod = put_plain("d/1", "x");
    put_plain("d/2", "x");
    put_plain("d/3", "x");
    struct ask q = {.what = ASK_DEL_IF, .ctx = probe.term, .key = "d/1", .answer = &a};
    q.mod = mod + 1;
    ask(q);
    assert_outcome(&a, KVP_REFUSED, KVP_CONFLICT);
    assert_int_equal(a.row_mod, mod);
    q.mod = mod;
    ask(q);
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.result.count, 1);
    q = (struct ask){
        .what = ASK_DEL, .ctx = probe.term, .key = "d/", .flags = KVP_PREFIX, .answer = &a};
    ask(q);
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.result.count, 2);
    ask(q);
    assert_outcome(&a, KVP_OK, 0);
    assert_int_equal(a.result.count, 0);
}

static void what_the_store_refuses_has_a_reason(void **state)
{
    (void)state;
    struct answer a;
    struct ask q = {
        .what = ASK_PUT, .ctx = probe.term, .key = "a", .value = "1", .lease = 99, .answer = &a};
    ask(q);
    assert_outcome(&a, KVP_REFUSED, KVP_NOT_FOUND);
    q.lease = 0;
    q.flags = KVP_KEEP_LEASE;
    ask(q);
    assert_outcome(&a, KVP_REFUSED, KVP_NOT_FOUND);
    char *huge = mem_xalloc(REQUEST_BYTES_MAX_DEFAULT + 1);
    memset(huge, 'x', REQUEST_BYTES_MAX_DEFAULT);
    huge[REQUEST_BYTES_MAX_DEFAULT] = '\0';
    q.flags = 0;
    q.value = huge;
    ask(q);
    assert_outcome(&a, KVP_REFUSED, KVP_TOO_LARGE);
    mem_free(huge);
}

/* ---- transactions ------------------------------------------------------------------------------
 */

struct txn_seen {
    bool done;
    int accepted;
    int outcome, reason;
    uint32_t succeeded;
    size_t count;
    uint32_t ops[4];
    int64_t counts[4];
    char values[4][16];
    int variant;
};

static void txn_on_done(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    struct txn_seen *s = data;
    s->done = true;
    s->outcome = r->outcome;
    s->reason = r->reason;
    if (t == NULL) {
        return;
    }
    s->succeeded = t->succeeded;
    s->count = t->count;
    for (size_t i = 0; i < t->count && i < 4; i++) {
        s->ops[i] = t->ops[i].op;
        s->counts[i] = t->ops[i].count;
        if (t->ops[i].row_count > 0) {
            text_of(s->values[i], 16, t->ops[i].rows[0].value);
        }
    }
}

static void txn_inside(void *data)
{
    struct txn_seen *s = data;
    const struct kvp_host *h = probe.host;
    struct kvp_txn *t = h->txn_new(s->variant == 3 ? probe.root : probe.term);
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("t"), .value = kvp_str("new")};
    struct kvp_del del = {.size = sizeof(del), .key = kvp_str("gone")};
    struct kvp_range get = {.size = sizeof(get), .key = kvp_str("t")};
    struct kvp_compare value = {.size = sizeof(value),
                                .target = KVP_CMP_VALUE,
                                .relation = KVP_EQUAL,
                                .key = kvp_str("t"),
                                .value = kvp_str(s->variant == 1 ? "other" : "old")};
    struct kvp_compare version = {.size = sizeof(version),
                                  .target = KVP_CMP_VERSION,
                                  .relation = KVP_GREATER,
                                  .key = kvp_str("t")};
    assert_non_null(t);
    assert_int_equal(h->txn_compare(t, &value), 0);
    assert_int_equal(h->txn_compare(t, &version), 0);
    if (s->variant != 3) {
        assert_int_equal(h->txn_put(t, KVP_THEN, &put), 0);
        assert_int_equal(h->txn_del(t, KVP_THEN, &del), 0);
    }
    assert_int_equal(h->txn_get(t, KVP_THEN, &get), 0);
    assert_int_equal(h->txn_get(t, KVP_ELSE, &get), 0);
    if (s->variant == 2) {
        assert_int_equal(h->txn_put(t, KVP_THEN, &put), 0); /* a key twice */
    }
    if (s->variant == 4) {
        put.size = 0;
        assert_int_equal(h->txn_put(t, KVP_ELSE, &put), KVP_INVALID);
    }
    s->accepted = h->txn_commit(t, txn_on_done, s);
    h->txn_free(h->txn_new(probe.term)); /* one that is not wanted */
}

static struct txn_seen txn_run(int variant)
{
    struct txn_seen s = {.variant = variant};
    inside(txn_inside, &s);
    if (s.accepted == 0) {
        UNTIL(s.done);
    }
    return s;
}

static void transactions_do_one_list(void **state)
{
    (void)state;
    put_plain("t", "old");
    put_plain("gone", "x");
    struct txn_seen s = txn_run(1); /* ELSE */
    assert_int_equal(s.outcome, KVP_OK);
    assert_int_equal(s.succeeded, 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.ops[0], KVP_OP_GET);
    assert_string_equal(s.values[0], "old");
    s = txn_run(0); /* THEN */
    assert_int_equal(s.outcome, KVP_OK);
    assert_int_equal(s.succeeded, 1);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.ops[0], KVP_OP_PUT);
    assert_int_equal(s.ops[1], KVP_OP_DEL);
    assert_int_equal(s.counts[1], 1);
    assert_int_equal(s.ops[2], KVP_OP_GET);
    assert_string_equal(s.values[2], "new");
}

static void faulty_transactions_do_nothing(void **state)
{
    (void)state;
    put_plain("t", "old");
    struct txn_seen s = txn_run(2);
    assert_int_equal(s.outcome, KVP_REFUSED);
    assert_int_equal(s.reason, KVP_INVALID);
    s = txn_run(4);
    assert_int_equal(s.accepted, KVP_INVALID);
    assert_false(s.done);
}

/* Reads only: allowed to those who do not lead. */
static void reading_transactions_need_no_term(void **state)
{
    (void)state;
    put_plain("t", "old");
    struct txn_seen s = txn_run(3);
    assert_int_equal(s.outcome, KVP_OK);
    assert_int_equal(s.succeeded, 1);
    assert_string_equal(s.values[0], "old");
}

/* ---- watch -------------------------------------------------------------------------------------
 */

struct seen {
    struct kvp_watch *watch;
    int accepted;
    uint32_t flags;
    int64_t from;
    struct kvp_ctx *ctx;
    size_t batches, events;
    int64_t revision; /* of the newest batch */
    char log[512];    /* "+key=value(prev) -key" */
    bool ended;
    int reason;
    int64_t restart;
    bool unwatch; /* in the next batch */
    size_t stall; /* do not return from so many batches */
};

static void seen_on_events(void *data, const struct kvp_batch *b)
{
    struct seen *s = data;
    assert_true(b->revision >= s->revision);
    s->batches++;
    s->events += b->count;
    s->revision = b->revision;
    for (size_t i = 0; i < b->count; i++) {
        const struct kvp_event *e = &b->events[i];
        size_t at = strlen(s->log);
        assert_true(e->row.mod_revision <= b->revision);
        if (at > sizeof(s->log) - 64) {
            continue;
        }
        at += (size_t)snprintf(s->log + at, sizeof(s->log) - at, "%s%.*s",
                               e->type == KVP_EVENT_PUT ? "+" : "-", (int)e->row.key.len,
                               (const char *)e->row.key.data);
        if (e->type == KVP_EVENT_PUT) {
            at += (size_t)snprintf(s->log + at, sizeof(s->log) - at, "=%.*s", (int)e->row.value.len,
                                   (const char *)e->row.value.data);
        }
        if (e->has_prev) {
            at += (size_t)snprintf(s->log + at, sizeof(s->log) - at, "(%.*s)",
                                   (int)e->prev.value.len, (const char *)e->prev.value.data);
        }
        snprintf(s->log + at, sizeof(s->log) - at, " ");
    }
    if (s->unwatch) {
        probe.host->unwatch(s->watch);
    }
}

static void seen_on_ended(void *data, const struct kvp_result *r)
{
    struct seen *s = data;
    assert_false(s->ended);
    s->ended = true;
    s->reason = r->reason;
    s->restart = r->revision;
}

static void watch_inside(void *data)
{
    struct seen *s = data;
    struct kvp_watch_args args = {.size = sizeof(args),
                                  .flags = KVP_PREFIX | s->flags,
                                  .key = kvp_str("w/"),
                                  .from_revision = s->from,
                                  .events = seen_on_events,
                                  .ended = seen_on_ended,
                                  .data = s};
    s->accepted = probe.host->watch(s->ctx, &args, &s->watch);
}

static void watch_start(struct seen *s)
{
    s->ctx = s->ctx != NULL ? s->ctx : probe.root;
    inside(watch_inside, s);
    assert_int_equal(s->accepted, 0);
}

static void watches_see_what_happens(void **state)
{
    (void)state;
    struct seen s = {.flags = KVP_PREV_KV};
    struct answer a;
    watch_start(&s);
    put_plain("w/a", "1");
    put_plain("v", "not mine");
    put_plain("w/a", "2");
    ask((struct ask){.what = ASK_DEL, .ctx = probe.term, .key = "w/a", .answer = &a});
    UNTIL(s.events == 3);
    assert_string_equal(s.log, "+w/a=1 +w/a=2(1) -w/a(2) ");
    assert_int_equal(s.revision, a.result.revision);
    host_fixture_close(); /* what is on this stack is told of the end */
}

static void watches_replay_the_past_and_filter(void **state)
{
    (void)state;
    struct answer a;
    int64_t first = put_plain("w/a", "1");
    ask((struct ask){.what = ASK_DEL, .ctx = probe.term, .key = "w/a", .answer = &a});
    put_plain("w/b", "2");
    struct seen all = {.from = first};
    struct seen puts = {.from = first, .flags = KVP_NO_DELETE};
    struct seen deletes = {.from = first, .flags = KVP_NO_PUT};
    watch_start(&all);
    watch_start(&puts);
    watch_start(&deletes);
    UNTIL(all.events == 3 && puts.events == 2 && deletes.events == 1);
    assert_string_equal(all.log, "+w/a=1 -w/a +w/b=2 ");
    assert_string_equal(puts.log, "+w/a=1 +w/b=2 ");
    assert_string_equal(deletes.log, "-w/a ");
    host_fixture_close(); /* what is on this stack is told of the end */
}

static void compact_inside_loop(int64_t revision)
{
    struct service_job j;
    struct outcome o = {0};
    j.data = &o;
    j.cb = on_job;
    hf.f->service->compact(hf.f->service, &j, revision, false);
    run_until(hf.f, &o.done);
    assert_int_equal(o.err, 0);
}

static void compaction_tells_where_to_restart(void **state)
{
    (void)state;
    int64_t first = put_plain("w/a", "1");
    put_plain("w/a", "2");
    int64_t last = put_plain("w/a", "3");
    compact_inside_loop(last);
    struct seen s = {.from = first};
    watch_start(&s);
    UNTIL(s.ended);
    assert_int_equal(s.reason, KVP_COMPACTED);
    assert_int_equal(s.restart, last);
    struct seen again = {.from = s.restart};
    watch_start(&again);
    UNTIL(again.events == 1);
    assert_string_equal(again.log, "+w/a=3 ");
    host_fixture_close(); /* what is on this stack is told of the end */
}

static void unwatch_inside_events_is_final(void **state)
{
    (void)state;
    struct seen s = {.unwatch = true};
    struct seen other = {0};
    watch_start(&s);
    watch_start(&other);
    put_plain("w/a", "1");
    put_plain("w/a", "2");
    UNTIL(other.events == 2);
    assert_int_equal(s.batches, 1);
    assert_false(s.ended);
    host_fixture_close(); /* what is on this stack is told of the end */
}

static void watches_end_with_their_context(void **state)
{
    (void)state;
    struct seen term = {.ctx = probe.term};
    struct seen root = {0};
    watch_start(&term);
    watch_start(&root);
    host_role(hf.host, false, 0);
    UNTIL(probe.stops == 1);
    assert_true(term.ended); /* before stop */
    assert_int_equal(term.reason, KVP_STOPPED);
    assert_false(root.ended);
    host_fixture_close();
    assert_true(root.ended);
}

/* More events than may be outstanding, all of them put before the lane gets to run one: the hub
 * waits, and the rest comes from the store, whole and in order. */
static void a_slow_lane_misses_nothing(void **state)
{
    (void)state;
    enum { PUTS = PLUGIN_WATCH_EVENTS_MAX * 2 };
    struct buf b = {0};
    struct outcome last = {0};
    int64_t first = put_plain("x", "before");
    struct service_write *writes = mem_xzalloc(PUTS * sizeof(*writes));
    struct outcome *outcomes = mem_xzalloc(PUTS * sizeof(*outcomes));
    for (size_t i = 0; i < PUTS; i++) {
        put_start(hf.f, &writes[i], &outcomes[i], "w/k", "v", 0);
        if (i % 4000 == 3999 || i == PUTS - 1) {
            run_until(hf.f, &outcomes[i].done);
        }
    }
    (void)last;
    struct seen s = {.from = first + 1};
    watch_start(&s);
    put_plain("w/end", "!");
    UNTIL(s.events == PUTS + 1);
    for (size_t i = 0; i < PUTS; i++) {
        assert_int_equal(outcomes[i].err, 0);
        buf_close(&outcomes[i].body);
    }
    mem_free(writes);
    mem_free(outcomes);
    buf_close(&b);
    host_fixture_close(); /* what is on this stack is told of the end */
}

static void progress_comes_when_nothing_happens(void **state)
{
    (void)state;
    struct seen s = {.flags = KVP_PROGRESS};
    hf.f->service->progress_notify_ms = 20;
    watch_start(&s);
    int64_t revision = put_plain("elsewhere", "1");
    UNTIL(s.batches > 0 && s.revision == revision);
    assert_int_equal(s.events, 0);
    host_fixture_close(); /* what is on this stack is told of the end */
}

/* ---- leases ------------------------------------------------------------------------------------
 */

struct lease_seen {
    struct answer granted;
    struct answer other;
    struct kvp_lease_args args;
    int64_t lost;
    int64_t id;
    bool revoke; /* else renew */
};

static void lease_on_lost(void *data, int64_t id)
{
    ((struct lease_seen *)data)->lost = id;
}

static void lease_inside(void *data)
{
    struct lease_seen *l = data;
    l->args.size = sizeof(l->args);
    l->args.lost = lease_on_lost;
    l->args.data = l;
    l->granted.accepted = probe.host->lease_grant(probe.term, &l->args, answer_done, &l->granted);
}

static void lease_act_inside(void *data)
{
    struct lease_seen *l = data;
    l->other.accepted = l->revoke
                            ? probe.host->lease_revoke(probe.term, l->id, answer_done, &l->other)
                            : probe.host->lease_renew(probe.term, l->id, answer_done, &l->other);
}

static void lease_act(struct lease_seen *l, bool revoke)
{
    memset(&l->other, 0, sizeof(l->other));
    l->revoke = revoke;
    inside(lease_act_inside, l);
    assert_int_equal(l->other.accepted, 0);
    UNTIL(l->other.done);
}

static void a_lease_of_the_term_is_renewed(void **state)
{
    (void)state;
    struct lease_seen l = {.args = {.ttl_s = 1}};
    struct answer a;
    inside(lease_inside, &l);
    UNTIL(l.granted.done);
    assert_outcome(&l.granted, KVP_OK, 0);
    assert_int_equal(l.granted.result.count, 1);
    ask((struct ask){.what = ASK_PUT,
                     .ctx = probe.term,
                     .key = "leased",
                     .value = "1",
                     .lease = l.granted.result.lease,
                     .answer = &a});
    assert_outcome(&a, KVP_OK, 0);
    run_for(hf.f, 2500); /* twice its time, and the expiry's tick */
    assert_int_equal(l.lost, 0);
    ask((struct ask){.what = ASK_GET, .ctx = probe.root, .key = "leased", .answer = &a});
    assert_int_equal(a.row_count, 1);
    host_role(hf.host, false, 0); /* nobody renews it any more */
    struct answer gone = {.row_count = 1};
    UNTIL((ask((struct ask){.what = ASK_GET, .ctx = probe.root, .key = "leased", .answer = &gone}),
           gone.row_count == 0));
}

static void a_lost_lease_is_told(void **state)
{
    (void)state;
    struct lease_seen l = {.args = {.ttl_s = 1, .id = 77}};
    inside(lease_inside, &l);
    UNTIL(l.granted.done);
    assert_int_equal(l.granted.result.lease, 77);
    struct service_write w;
    struct outcome o = {0};
    struct buf b = {0};
    w.data = &o;
    w.cb = on_write;
    wire_put_uint(&b, 1, 77);
    hf.f->service->propose(hf.f->service, &w, SERVICE_LEASE_REVOKE, buf_slice(&b));
    UNTIL(l.lost == 77);
    UNTIL(o.done);
    buf_close(&b);
    buf_close(&o.body);
}

static void leases_are_renewed_and_revoked_by_hand(void **state)
{
    (void)state;
    struct lease_seen l = {.args = {.ttl_s = 100, .id = 78, .flags = KVP_DETACHED}, .id = 78};
    inside(lease_inside, &l);
    UNTIL(l.granted.done);
    lease_act(&l, false);
    assert_outcome(&l.other, KVP_OK, 0);
    assert_int_equal(l.other.result.count, 100);
    struct lease_seen twice = {.args = {.ttl_s = 100, .id = 78, .flags = KVP_DETACHED}};
    inside(lease_inside, &twice);
    UNTIL(twice.granted.done);
    assert_outcome(&twice.granted, KVP_REFUSED, KVP_EXISTS);
    lease_act(&l, true);
    assert_outcome(&l.other, KVP_OK, 0);
    lease_act(&l, false);
    assert_outcome(&l.other, KVP_REFUSED, KVP_NOT_FOUND);
}

/* ---- time --------------------------------------------------------------------------------------
 */

struct ticking {
    struct kvp_timer *timer;
    struct kvp_timer_args args;
    unsigned fired;
    unsigned cancel_at;
    uint64_t first_ms, last_ms;
};

static void ticking_on_fire(void *data)
{
    struct ticking *t = data;
    t->last_ms = probe.host->now_ms(probe.root);
    if (++t->fired == t->cancel_at) {
        probe.host->timer_cancel(t->timer);
    }
}

static void ticking_inside(void *data)
{
    struct ticking *t = data;
    t->args.size = sizeof(t->args);
    t->args.fire = ticking_on_fire;
    t->args.data = t;
    t->first_ms = probe.host->now_ms(probe.root);
    struct kvp_ctx *ctx = t->cancel_at == 99 ? probe.term : probe.root;
    assert_int_equal(probe.host->timer(ctx, &t->args, &t->timer), 0);
}

static void timers_fire_repeat_and_end(void **state)
{
    (void)state;
    struct ticking once = {.args = {.after_ms = 5, .jitter_percent = 100}};
    struct ticking thrice = {.args = {.after_ms = 1, .repeat_ms = 2}, .cancel_at = 3};
    struct ticking term = {.args = {.after_ms = 1, .repeat_ms = 1}, .cancel_at = 99};
    struct ticking never = {.args = {.after_ms = UINT64_MAX}};
    inside(ticking_inside, &once);
    inside(ticking_inside, &thrice);
    inside(ticking_inside, &term);
    inside(ticking_inside, &never);
    UNTIL(once.fired == 1 && thrice.fired == 3 && term.fired > 3);
    assert_true(once.last_ms >= once.first_ms + 5);
    host_role(hf.host, false, 0);
    UNTIL(probe.stops == 1);
    unsigned fired = term.fired;
    run_for(hf.f, 20);
    assert_int_equal(term.fired, fired);
    assert_int_equal(thrice.fired, 3);
    assert_int_equal(once.fired, 1);
    assert_int_equal(never.fired, 0);
}

/* ---- work, memory, metrics, log ----------------------------------------------------------------
 */

struct job {
    int sum;
    int canceled;
    bool done;
};

static void job_work(void *data)
{
    struct job *j = data;
    for (int i = 1; i <= 100; i++) {
        j->sum += i;
    }
    /* Pool threads may not read or write. */
    struct answer a = {0};
    if (probe.host->get(probe.root, kvp_str("a"), answer_rows, &a) != KVP_WRONG_THREAD) {
        j->sum = -1;
    }
}

static void job_done(void *data, int canceled)
{
    struct job *j = data;
    j->canceled = canceled;
    j->done = true;
}

static void job_inside(void *data)
{
    assert_int_equal(probe.host->offload(probe.root, job_work, job_done, data), 0);
}

static void offloaded_work_comes_back(void **state)
{
    (void)state;
    struct job jobs[6];
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 6; i++) {
        inside(job_inside, &jobs[i]);
    }
    for (int i = 0; i < 6; i++) {
        UNTIL(jobs[i].done);
        assert_int_equal(jobs[i].sum, 5050);
        assert_int_equal(jobs[i].canceled, 0);
    }
    /* At the end each one comes back once, run or not. */
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 6; i++) {
        inside(job_inside, &jobs[i]);
    }
    host_fixture_close();
    for (int i = 0; i < 6; i++) {
        assert_true(jobs[i].done);
        assert_int_equal(jobs[i].sum, jobs[i].canceled ? 0 : 5050);
    }
}

static void data_dir_inside(void *data)
{
    (void)data;
    assert_string_equal(probe.host->data_dir(probe.root), hf.f->dir);
}

static void the_data_directory_is_told(void **state)
{
    (void)state;
    inside(data_dir_inside, NULL);
}

static void memory_inside(void *data)
{
    void **kept = data;
    const struct kvp_host *h = probe.host;
    struct kvp_bytes b = {.data = "ab", .len = 2};
    char *copy = h->dup(probe.root, b);
    assert_string_equal(copy, "ab");
    kept[0] = copy;
    kept[1] = h->alloc(probe.root, 100);
    h->release(probe.root, NULL);
}

static void memory_release_inside(void *data)
{
    void **kept = data;
    probe.host->release(probe.root, kept[0]);
    probe.host->release(probe.root, kept[1]);
}

static void memory_is_counted(void **state)
{
    (void)state;
    void *kept[2];
    struct host_plugin row;
    inside(memory_inside, kept);
    host_list(hf.host, &row, 1);
    assert_int_equal(row.memory_bytes, 103);
    inside(memory_release_inside, kept);
    host_list(hf.host, &row, 1);
    assert_int_equal(row.memory_bytes, 0);
}

static void notice_inside(void *data)
{
    struct kvp_notice n = {.size = sizeof(n),
                           .severity = KVP_EVENT_WARNING,
                           .object = kvp_str("pod/a"),
                           .reason = "NoRoom",
                           .text = "no node has room"};
    (void)data;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(probe.host->notice(probe.root, &n), 0);
    }
    n.object = kvp_str("pod/b");
    assert_int_equal(probe.host->notice(probe.root, &n), 0);
    n.reason = NULL;
    assert_int_equal(probe.host->notice(probe.root, &n), KVP_INVALID);
}

static void notices_are_told_once(void **state)
{
    (void)state;
    char text[4096];
    size_t told = 0;
    FILE *notice_file = tmpfile();
    assert_non_null(notice_file);
    int fd = fileno(notice_file);
    log_set_outputs(&fd, 1);
    inside(notice_inside, NULL);
    fd = 2;
    log_set_outputs(&fd, 1);
    rewind(notice_file);
    size_t len = fread(text, 1, sizeof(text) - 1, notice_file);
    text[len] = '\0';
    fclose(notice_file);
    for (const char *p = text; (p = strstr(p, "\"msg\":\"no node has room\"")) != NULL; p++) {
        told++;
    }
    assert_int_equal(told, 2); /* one for each object */
    assert_non_null(strstr(text, "\"plugin\":\"probe\",\"reason\":\"NoRoom\""));
}

static struct {
    uint32_t counter, family, histogram;
} ids;

static void metrics_on_init(void)
{
    static const double bounds[] = {1, 10};
    const struct kvp_host *h = probe.host;
    struct kvp_metric_args counter = {
        .size = sizeof(counter), .type = KVP_COUNTER, .name = "stamped_total", .help = "Stamps."};
    struct kvp_metric_args family = {.size = sizeof(family),
                                     .type = KVP_GAUGE,
                                     .name = "depth",
                                     .help = "Depth.",
                                     .labels = {"queue"}};
    struct kvp_metric_args histogram = {.size = sizeof(histogram),
                                        .type = KVP_HISTOGRAM,
                                        .name = "size",
                                        .help = "Sizes.",
                                        .bounds = bounds,
                                        .bound_count = 2};
    uint32_t unused;
    assert_int_equal(h->metric(probe.root, &counter, &ids.counter), 0);
    assert_int_equal(h->metric(probe.root, &family, &ids.family), 0);
    assert_int_equal(h->metric(probe.root, &histogram, &ids.histogram), 0);
    assert_int_equal(h->metric(probe.root, &counter, &unused), KVP_EXISTS);
    counter.name = "Bad name";
    assert_int_equal(h->metric(probe.root, &counter, &unused), KVP_INVALID);
}

static void metrics_late_inside(void *data)
{
    struct kvp_metric_args late = {
        .size = sizeof(late), .type = KVP_COUNTER, .name = "late", .help = "Too late."};
    uint32_t id;
    *(int *)data = probe.host->metric(probe.root, &late, &id);
}

static void metrics_are_shown(void **state)
{
    (void)state;
    const struct kvp_host *h;
    uint32_t series;
    struct buf text = {0};
    int late;
    probe.on_init = metrics_on_init;
    probe_load("");
    h = probe.host;
    inside(metrics_late_inside, &late);
    assert_int_equal(late, KVP_INVALID);
    h->metric_add(probe.root, ids.counter, 3);
    h->metric_add(probe.root, ids.counter, -1); /* counters only grow */
    h->metric_add(probe.root, 4000, 1);
    struct kvp_bytes value = kvp_str("a\"b");
    assert_int_equal(h->metric_series(probe.root, ids.family, &value, 1, &series), 0);
    h->metric_set(probe.root, series, 9);
    uint32_t same;
    assert_int_equal(h->metric_series(probe.root, ids.family, &value, 1, &same), 0);
    assert_int_equal(same, series);
    h->metric_observe(probe.root, ids.histogram, 5);
    h->metric_observe(probe.root, ids.histogram, 50);
    for (unsigned i = 0; i < PLUGIN_SERIES_MAX + 5; i++) {
        char word[16];
        snprintf(word, sizeof(word), "%u", i);
        value = kvp_str(word);
        assert_int_equal(h->metric_series(probe.root, ids.family, &value, 1, &series), 0);
    }
    h->metric_set(probe.root, series, 5);
    host_metrics_render(hf.host, &text);
    buf_append_byte(&text, 0);
    const char *t = (const char *)text.data;
    assert_non_null(strstr(t, "kvd_plugin_probe_stamped_total 3\n"));
    assert_non_null(strstr(t, "kvd_plugin_probe_depth{queue=\"a\\\"b\"} 9\n"));
    assert_non_null(strstr(t, "kvd_plugin_probe_depth{queue=\"other\"} 5\n"));
    assert_non_null(strstr(t, "kvd_plugin_probe_size_bucket{le=\"1\"} 0\n"));
    assert_non_null(strstr(t, "kvd_plugin_probe_size_bucket{le=\"10\"} 1\n"));
    assert_non_null(strstr(t, "kvd_plugin_probe_size_bucket{le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(t, "kvd_plugin_probe_size_sum 55\n"));
    assert_non_null(strstr(t, "kvd_plugin_up{plugin=\"probe\"} 1\n"));
    buf_close(&text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, lead_setup, host_teardown)
    const struct CMUnitTest tests[] = {
        T(get_of_nothing_is_fine),
        T(put_is_read_back),
        T(pages_cover_the_range_once),
        T(a_large_answer_is_cut_at_a_row),
        T(pages_end_where_they_must),
        T(counts_keys_and_the_past_are_read),
        T(bad_arguments_are_refused_at_once),
        T(put_if_compares),
        T(del_counts_and_del_if_compares),
        T(what_the_store_refuses_has_a_reason),
        T(transactions_do_one_list),
        T(faulty_transactions_do_nothing),
        T(reading_transactions_need_no_term),
        T(watches_see_what_happens),
        T(watches_replay_the_past_and_filter),
        T(compaction_tells_where_to_restart),
        T(unwatch_inside_events_is_final),
        T(watches_end_with_their_context),
        T(a_slow_lane_misses_nothing),
        T(progress_comes_when_nothing_happens),
        T(a_lease_of_the_term_is_renewed),
        T(a_lost_lease_is_told),
        T(leases_are_renewed_and_revoked_by_hand),
        T(timers_fire_repeat_and_end),
        T(offloaded_work_comes_back),
        T(the_data_directory_is_told),
        T(memory_is_counted),
        T(notices_are_told_once),
        cmocka_unit_test_setup_teardown(metrics_are_shown, host_setup, host_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
