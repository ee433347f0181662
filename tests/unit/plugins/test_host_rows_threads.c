/* test_host_rows_threads.c - the row of an event is readable at the event: a plugin on a thread of
 * its own asks, while it hears of a revision, for its key and for the whole prefix, and is never
 * given less than that revision, while writes, deletions, compactions, seals, checkpoints and new
 * generations of the database (as defragmentation and giving back memory make them) go on.
 * (include/kvplugin.h: reads see, while an event is being handled, at least its revision.) */
#include "base/rand.h"
#include "tests/unit/plugins/host_fixture.h"

enum {
    KEYS = 40,
    WRITES = 3000,
    WINDOW = 32, /* writes under way */
    COMPACT_EACH = 25,
    KEPT = 60,       /* revisions that compactions leave */
    ASKED_MAX = 400, /* questions of the plugin under way */
};

/* What a question is about. */
struct question {
    int64_t revision;
    bool deleted; /* the event */
    bool exact;   /* asked at that revision */
    char key[32];
};

static struct {
    atomic_uint events, answers, exact, compacted, asked;
    atomic_int under_way;
    atomic_bool wrong;
    char what[256]; /* the first one that was wrong; read when all is over */
} rows;

static void rows_wrong(const struct question *q, const char *what, int64_t number)
{
    if (!atomic_exchange(&rows.wrong, true)) {
        snprintf(rows.what, sizeof(rows.what), "%s at revision %lld: %s (%lld)", q->key,
                 (long long)q->revision, what, (long long)number);
    }
}

/* The row of the question's key among these, or NULL. */
static const struct kvp_row *rows_find(const struct kvp_rows *found, const char *key)
{
    for (size_t i = 0; i < found->count; i++) {
        const struct kvp_bytes *k = &found->rows[i].key;
        if (k->len == strlen(key) && memcmp(k->data, key, k->len) == 0) {
            return &found->rows[i];
        }
    }
    return NULL;
}

static void rows_judge(const struct question *q, const struct kvp_result *r,
                       const struct kvp_rows *found)
{
    const struct kvp_row *row = rows_find(found, q->key);
    if (r->revision < q->revision || (q->exact && r->revision != q->revision)) {
        rows_wrong(q, "read at another revision", r->revision);
    } else if (q->exact && q->deleted != (row == NULL)) {
        rows_wrong(q, "there and gone are mixed up", row != NULL);
    } else if (q->exact && row != NULL && row->mod_revision != q->revision) {
        rows_wrong(q, "not the row of the event", row->mod_revision);
    } else if (row == NULL && !q->deleted && r->revision == q->revision) {
        rows_wrong(q, "not there", r->revision);
    } else if (row != NULL && row->mod_revision < q->revision + q->deleted) {
        rows_wrong(q, "an older row", row->mod_revision);
    }
}

static void rows_answered(void *data, const struct kvp_result *r, const struct kvp_rows *found)
{
    struct question *q = data;
    atomic_fetch_add(&rows.answers, 1);
    atomic_fetch_sub(&rows.under_way, 1);
    if (r->outcome == KVP_OK) {
        rows_judge(q, r, found);
        atomic_fetch_add(&rows.exact, q->exact);
    } else if (q->exact && r->reason == KVP_COMPACTED) {
        atomic_fetch_add(&rows.compacted, 1);
    } else if (r->reason != KVP_STOPPED) {
        rows_wrong(q, "refused", r->reason);
    }
    probe.host->release(probe.root, q);
}

static void rows_ask(const struct kvp_event *e, bool whole, bool exact, uint32_t flags)
{
    struct question *q = probe.host->alloc(probe.root, sizeof(*q));
    *q = (struct question){
        .revision = e->row.mod_revision, .deleted = e->type == KVP_EVENT_DELETE, .exact = exact};
    snprintf(q->key, sizeof(q->key), "%.*s", (int)e->row.key.len, (const char *)e->row.key.data);
    struct kvp_range range = {.size = sizeof(range),
                              .flags = flags | (whole ? KVP_PREFIX : 0),
                              .key = whole ? kvp_str("k/") : kvp_str(q->key),
                              .revision = exact ? q->revision : 0};
    int reason = probe.host->range(probe.root, &range, rows_answered, q);
    if (reason != 0) {
        rows_wrong(q, "not taken", reason);
        probe.host->release(probe.root, q);
        return;
    }
    atomic_fetch_add(&rows.asked, 1);
    atomic_fetch_add(&rows.under_way, 1);
}

static void rows_on_events(void *data, const struct kvp_batch *b)
{
    (void)data;
    for (size_t i = 0; i < b->count; i++) {
        atomic_fetch_add(&rows.events, 1);
        if (atomic_load(&rows.under_way) < ASKED_MAX) {
            rows_ask(&b->events[i], false, false, 0);
            rows_ask(&b->events[i], true, false, 0);
            rows_ask(&b->events[i], true, false, KVP_SERIALIZABLE);
            rows_ask(&b->events[i], false, true, i % 2 == 0 ? KVP_SERIALIZABLE : 0);
        }
    }
}

static void rows_on_init(void)
{
    struct kvp_watch_args args = {.size = sizeof(args),
                                  .flags = KVP_PREFIX,
                                  .key = kvp_str("k/"),
                                  .from_revision = 2,
                                  .events = rows_on_events};
    if (probe.host->watch(probe.root, &args, NULL) != 0) {
        atomic_store(&rows.wrong, true);
    }
}

/* ---- the rest of the world ---------------------------------------------------------------------
 */

struct writer {
    struct service_write write;
    struct outcome outcome;
    bool busy;
};

static struct writer writers[WINDOW];
static unsigned written; /* answered */
static unsigned begun;
static int64_t newest;
static struct rand dice;

static void writer_begin(struct writer *w)
{
    static char value[2000];
    struct buf b = {0};
    char key[32];
    if (value[0] == '\0') {
        memset(value, 'v', sizeof(value) - 1);
    }
    snprintf(key, sizeof(key), "k/%u", (unsigned)(rand_u64(&dice) % KEYS));
    w->busy = true;
    begun++;
    if (rand_u64(&dice) % 6 == 0) {
        w->outcome = (struct outcome){0};
        w->write.data = &w->outcome;
        w->write.cb = on_write;
        wire_put_bytes(&b, 1, slice_str(key));
        hf.f->service->propose(hf.f->service, &w->write, SERVICE_DELETE_RANGE, buf_slice(&b));
        buf_close(&b);
    } else {
        put_start(hf.f, &w->write, &w->outcome, key, value, 0);
    }
}

/* Takes what was answered and begins more; true when all is through. */
static bool writers_go_on(void)
{
    for (size_t i = 0; i < WINDOW; i++) {
        struct writer *w = &writers[i];
        if (w->busy && w->outcome.done) {
            assert_int_equal(w->outcome.err, 0);
            newest = w->outcome.revision > newest ? w->outcome.revision : newest;
            buf_close(&w->outcome.body);
            w->busy = false;
            written++;
        }
        if (!w->busy && begun < WRITES) {
            writer_begin(w);
        }
    }
    return written == WRITES;
}

/* One job after the other: mostly compactions, sometimes a new generation of the database. */
static struct service_job job;
static struct outcome job_outcome = {.done = true};
static unsigned jobs, compactions, generations;

static void job_now_and_then(void)
{
    if (!job_outcome.done || written / COMPACT_EACH <= jobs || newest <= KEPT + 2) {
        return;
    }
    assert_int_equal(job_outcome.err, 0);
    job_outcome = (struct outcome){0};
    job.data = &job_outcome;
    job.cb = on_job;
    if (jobs++ % 10 == 9) {
        generations++;
        hf.f->service->defragment(hf.f->service, &job);
    } else {
        compactions++;
        hf.f->service->compact(hf.f->service, &job, newest - KEPT, false);
    }
}

static void the_row_of_an_event_is_readable_at_the_event(void **state)
{
    (void)state;
    rand_init(&dice, 20);
    probe.on_init = rows_on_init;
    probe_load("");
    uint64_t durable = hf.f->durable;
    unsigned checkpoints = 0;
    UNTIL((job_now_and_then(), checkpoints += hf.f->durable > durable, durable = hf.f->durable,
           writers_go_on()));
    UNTIL(job_outcome.done);
    /* A revision is one event: a deletion of nothing makes neither. */
    UNTIL(atomic_load(&rows.events) == (unsigned)(newest - 1) && atomic_load(&rows.under_way) == 0);
    host_fixture_close();
    if (atomic_load(&rows.wrong)) {
        fail_msg("%s", rows.what);
    }
    print_message("%u events, %u questions, %u at their revision, %u compacted, %u compactions, %u "
                  "generations, %u checkpoints\n",
                  atomic_load(&rows.events), atomic_load(&rows.asked), atomic_load(&rows.exact),
                  atomic_load(&rows.compacted), compactions, generations, checkpoints);
    assert_int_equal(atomic_load(&rows.answers), atomic_load(&rows.asked));
    assert_true(atomic_load(&rows.asked) >= ASKED_MAX); /* a slow machine skips events */
    assert_true(compactions > 10 && generations > 0);
    assert_true(checkpoints > 2);
}

/* Seals and checkpoints all the time. */
static int setup(void **state)
{
    struct fixture *f = fixture_new();
    f->cfg.seal_bytes = MEMTABLE_SEAL_BYTES_MIN;
    f->cfg.seal_ms = 10;
    fixture_open(f);
    fixture_lead(f);
    run_until(f, &f->ready);
    *state = f;
    hf.f = f;
    host_fixture_open(false);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_row_of_an_event_is_readable_at_the_event, setup,
                                        host_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
