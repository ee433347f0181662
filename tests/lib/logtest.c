/* logtest.c - see logtest.h. Prints what differs before it says no. */
#include "tests/lib/logtest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rand.h"

/* A request under way; owns the payloads. */
struct logtest_req {
    struct log_append append;
    struct logtest *test;
    struct logtest_req *next;
    size_t ops_after; /* ops that are acknowledged with it */
    uint8_t bytes[];
};

static void *test_alloc(size_t size)
{
    void *p = calloc(1, size == 0 ? 1 : size);
    FATAL_IF(p == NULL, "out of memory");
    return p;
}

static void *test_grow(void *old, size_t *cap, size_t n, size_t item)
{
    if (n < *cap) {
        return old;
    }
    *cap = *cap == 0 ? 64 : *cap * 2;
    void *p = realloc(old, *cap * item);
    FATAL_IF(p == NULL, "out of memory");
    return p;
}

void logtest_fill(uint8_t *out, size_t len, uint64_t seed)
{
    struct rand r;
    rand_init(&r, seed);
    size_t at = 0;
    /* Long runs of zeros are what a tear must not be confused with. */
    size_t zeros = rand_chance(&r, 0.3) ? len / 2 : 0;
    memset(out, 0, zeros);
    for (at = zeros; at < len; at++) {
        out[at] = (uint8_t)rand_u64(&r);
    }
}

static uint16_t type_of(uint64_t seed)
{
    return (uint16_t)(1 + seed % 3);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void state_push(struct logtest_state *s, struct logtest_entry e)
{
    s->entries = test_grow(s->entries, &s->cap, s->n, sizeof *s->entries);
    s->entries[s->n++] = e;
}

static void state_apply(struct logtest_state *s, const struct logtest_op *op)
{
    switch (op->kind) {
    case LOGTEST_ENTRY:
        FATAL_IF(op->index != s->first + s->n, "the model lost count");
        state_push(s, op->entry);
        break;
    case LOGTEST_TRUNCATE:
        if (op->index <= s->first) {
            s->first = op->index;
            s->n = 0;
        } else {
            s->n = (size_t)(op->index - s->first);
        }
        break;
    case LOGTEST_RESET:
        s->first = op->index + 1;
        s->n = 0;
        break;
    }
}

/* found may begin later than wanted, as far as the cut allows. */
static bool state_allows(const struct logtest_state *wanted, const struct logtest_state *found,
                         uint64_t cut)
{
    if (found->first + found->n != wanted->first + wanted->n || found->first < wanted->first ||
        (found->first > wanted->first && found->first > cut + 1)) {
        return false;
    }
    size_t skip = (size_t)(found->first - wanted->first);
    return found->n == 0 ||
           memcmp(found->entries, wanted->entries + skip, found->n * sizeof *found->entries) == 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int on_entry(void *data, const struct log_entry *e)
{
    struct logtest *t = data;
    struct logtest_state *s = &t->found;
    if (s->n == 0) {
        s->first = e->index;
    }
    if (e->index != s->first + s->n || e->payload.len < 8) {
        printf("entry %llu comes out of order or short\n", (unsigned long long)e->index);
        return ERR_INVALID;
    }
    struct logtest_entry got = {.term = e->term, .len = e->payload.len};
    memcpy(&got.seed, e->payload.data, 8);
    uint8_t *wanted = test_alloc(got.len);
    logtest_fill(wanted + 8, got.len - 8, got.seed);
    bool same = memcmp(wanted + 8, e->payload.data + 8, got.len - 8) == 0;
    free(wanted);
    if (!same || e->type != type_of(got.seed)) {
        printf("entry %llu has other bytes than written\n", (unsigned long long)e->index);
        return ERR_INVALID;
    }
    state_push(s, got);
    return 0;
}

int logtest_open(struct logtest *t)
{
    t->options.disk = t->disk;
    t->found.n = 0;
    t->e.text[0] = 0;
    int err = log_open(&t->options, on_entry, t, &t->log, &t->first_index, &t->e);
    if (err == 0 && t->found.n == 0) {
        t->found.first = t->first_index;
    }
    FATAL_IF(err == 0 && t->found.first != t->first_index,
             "the first index is not the first one's");
    FATAL_IF(err == 0 && log_first_index(t->log) != t->first_index, "two first indexes");
    return err;
}

static struct logtest_req *pending; /* of the one log a test has open */

void logtest_shut(struct logtest *t)
{
    log_close(t->log);
    t->log = NULL;
    while (pending != NULL) {
        struct logtest_req *next = pending->next;
        free(pending);
        pending = next;
    }
    t->waiting = 0;
}

void logtest_init(struct logtest *t, const struct sim_disk_options *o, uint32_t segment_bytes)
{
    memset(t, 0, sizeof *t);
    t->disk = sim_disk_new(o);
    t->options.segment_bytes = segment_bytes;
    t->known.first = 1;
    t->seed = 1;
    struct term_file *terms;
    FATAL_IF(logtest_open(t) != 0, "a fresh log opens");
    FATAL_IF(term_file_open(t->disk, &terms, &t->e) != 0, "a fresh term file opens");
    FATAL_IF(term_file_set(terms, 1000000, 1) != 0, "the term is stored");
    term_file_close(terms);
}

void logtest_close(struct logtest *t)
{
    logtest_shut(t);
    sim_disk_free(t->disk);
    free(t->known.entries);
    free(t->found.entries);
    free(t->ops);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void push_op(struct logtest *t, struct logtest_op op)
{
    t->ops = test_grow(t->ops, &t->op_cap, t->op_count, sizeof *t->ops);
    t->ops[t->op_count++] = op;
}

static void on_durable(struct log_append *append)
{
    struct logtest_req *r = append->data;
    struct logtest *t = r->test;
    FATAL_IF(pending != r, "callbacks come out of order");
    FATAL_IF(r->ops_after <= t->acked, "acknowledged twice");
    t->acked = r->ops_after;
    t->waiting--;
    pending = r->next;
    free(r);
}

static struct logtest_req *new_req(struct logtest *t, size_t bytes)
{
    struct logtest_req *r = test_alloc(sizeof *r + bytes);
    r->test = t;
    r->append = (struct log_append){.data = r, .cb = on_durable};
    struct logtest_req **at = &pending;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = r;
    t->waiting++;
    return r;
}

uint64_t logtest_next(const struct logtest *t)
{
    return log_last_index(t->log) + 1;
}

void logtest_append(struct logtest *t, uint64_t term, size_t n, size_t len)
{
    len = len < 8 ? 8 : len;
    struct logtest_req *r = new_req(t, n * len);
    struct log_entry *entries = test_alloc(n * sizeof *entries);
    uint64_t index = logtest_next(t);
    for (size_t i = 0; i < n; i++) {
        uint8_t *bytes = r->bytes + i * len;
        uint64_t seed = t->seed++;
        memcpy(bytes, &seed, 8);
        logtest_fill(bytes + 8, len - 8, seed);
        entries[i] = (struct log_entry){.index = index + i,
                                        .term = term,
                                        .type = type_of(seed),
                                        .payload = slice_of(bytes, len)};
        push_op(t, (struct logtest_op){.kind = LOGTEST_ENTRY,
                                       .index = index + i,
                                       .entry = {.term = term, .seed = seed, .len = len}});
    }
    r->ops_after = t->op_count;
    log_append(t->log, &r->append, entries, n);
    memset(entries, 0xee, n * sizeof *entries); /* the array is the caller's again */
    free(entries);
}

void logtest_truncate(struct logtest *t, uint64_t index)
{
    push_op(t, (struct logtest_op){.kind = LOGTEST_TRUNCATE, .index = index});
    log_truncate(t->log, index);
}

void logtest_reset(struct logtest *t, uint64_t index, uint64_t term)
{
    struct logtest_req *r = new_req(t, 0);
    push_op(t, (struct logtest_op){.kind = LOGTEST_RESET, .index = index});
    r->ops_after = t->op_count;
    log_reset(t->log, &r->append, index, term);
}

void logtest_cut(struct logtest *t, uint64_t index)
{
    t->cut = index > t->cut ? index : t->cut;
    log_cut(t->log, index);
}

uint64_t logtest_safe(const struct logtest *t)
{
    uint64_t next = t->known.first + t->known.n;
    for (size_t i = 0; i < t->op_count; i++) {
        const struct logtest_op *op = &t->ops[i];
        if (op->kind == LOGTEST_ENTRY) {
            next = i < t->acked ? op->index + 1 : next;
        } else if (op->kind == LOGTEST_RESET) {
            next = i < t->acked ? op->index + 1 : 1;
        } else {
            next = op->index < next ? op->index : next;
        }
    }
    return next - 1;
}

void logtest_run(struct logtest *t, uint64_t ms)
{
    uint64_t end = t->now_ms + ms;
    while (t->now_ms < end) {
        uint64_t next = sim_disk_next_ms(t->disk);
        uint64_t tick = t->now_ms / 50 * 50 + 50;
        next = next < tick ? next : tick;
        next = next < end ? next : end;
        t->now_ms = next > t->now_ms ? next : t->now_ms + 1;
        sim_disk_run(t->disk, t->now_ms);
        if (t->now_ms % 50 == 0 && t->log != NULL) {
            log_tick(t->log);
        }
    }
}

bool logtest_settle(struct logtest *t)
{
    for (int i = 0; i < 60000; i++) {
        if (!log_pending(t->log) && sim_disk_in_flight(t->disk) == 0) {
            return true;
        }
        logtest_run(t, 1);
    }
    return false;
}

bool logtest_check(struct logtest *t)
{
    size_t k = 0;
    for (; k < t->acked; k++) {
        state_apply(&t->known, &t->ops[k]);
    }
    for (; !state_allows(&t->known, &t->found, t->cut); k++) {
        if (k == t->op_count) {
            printf("found entries %llu to %llu; queued up to %llu, acknowledged %zu of %zu "
                   "operations, cut %llu\n",
                   (unsigned long long)t->found.first,
                   (unsigned long long)(t->found.first + t->found.n - 1),
                   (unsigned long long)(t->known.first + t->known.n - 1), t->acked, t->op_count,
                   (unsigned long long)t->cut);
            return false;
        }
        state_apply(&t->known, &t->ops[k]);
    }
    struct logtest_state swap = t->known;
    t->known = t->found;
    t->found = swap;
    t->op_count = 0;
    t->acked = 0;
    return true;
}
