/* plugin_check.c - a model of fencing, and what each plugin may do to each of its keys. */
#include "tests/sim/plugin_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "proto/batch.h"
#include "proto/codec.h"

/* Kinds of values that are not unique, above the bits that tell them apart. */
enum { VALUE_EMPTY = 1, VALUE_STAMPED, VALUE_FRESH, VALUE_LEASED, VALUE_SCRIBED };
#define VALUE_KIND_SHIFT 56
#define VALUE_KIND(v)    ((unsigned)((v) >> VALUE_KIND_SHIFT & 0x7f))
#define VALUE_SECONDS(v) ((uint64_t)(v)&0xffff)
/* Of a scribe's: term, epoch, count, without the member. */
#define VALUE_ORDER(v) ((uint64_t)(v) & (((uint64_t)1 << 52) - 1))

struct stamp {
    uint64_t member, term, epoch;
};

/* A request on a plugin's key, or its absence of a stamp. */
struct request_seen {
    uint32_t key;
    int kind; /* whose stamp; -1 = none */
    struct stamp stamp;
    bool fenced; /* an older stamp than the newest registration before it */
};

struct entry_seen {
    int64_t revision; /* behind it */
    uint64_t ms;      /* first applied by anybody */
    size_t first, count;
};

struct registration {
    enum plugin_kind kind;
    struct stamp stamp;
    uint64_t index;
};

struct started {
    enum plugin_kind kind;
    uint64_t term, member;
};

struct key_seen {
    uint64_t value; /* 0 = absent */
    uint64_t fresh_ms;
    uint64_t order; /* of a scribe's */
};

struct plugin_model {
    struct history *history;
    struct entry_seen *entries; /* by index */
    size_t entries_cap;
    uint64_t index_max;
    struct request_seen *requests;
    size_t requests_n, requests_cap;
    struct registration *registrations;
    size_t registrations_n, registrations_cap;
    struct started *started;
    size_t started_n, started_cap;
    struct stamp newest[PLUGIN_KINDS];
    struct key_seen keys[PLUGIN_KEYS_END];
    size_t at; /* in the history */
    struct plugin_counts counts;
};

const char *plugin_kind_name(enum plugin_kind kind)
{
    static const char *const NAMES[] = {"hello", "ttl-janitor", "scribe"};
    return NAMES[kind];
}

/* -1 = none of ours. */
static int kind_of(struct slice name)
{
    for (int i = 0; i < PLUGIN_KINDS; i++) {
        if (slice_eq(name, slice_str(plugin_kind_name((enum plugin_kind)i)))) {
            return i;
        }
    }
    return -1;
}

/* ---- keys and values ---------------------------------------------------------------------------
 */

struct slice plugin_key_text(uint32_t key, char *out)
{
    const char *folder = key < PLUGIN_KEY_TTL      ? "/hello/"
                         : key < PLUGIN_KEY_SCRIBE ? "/ttl/"
                                                   : "/scribe/";
    uint32_t number = key - (key < PLUGIN_KEY_TTL      ? PLUGIN_KEY_HELLO
                             : key < PLUGIN_KEY_SCRIBE ? PLUGIN_KEY_TTL
                                                       : PLUGIN_KEY_SCRIBE);
    int len = snprintf(out, PLUGIN_KEY_BYTES, "%s%03u", folder, number);
    return slice_of(out, (size_t)len);
}

uint32_t plugin_parse_key(struct slice key)
{
    char text[PLUGIN_KEY_BYTES];
    for (uint32_t i = HISTORY_KEYS; i < PLUGIN_KEYS_END; i++) {
        if (slice_eq(key, plugin_key_text(i, text))) {
            return i;
        }
    }
    return PLUGIN_KEYS_END;
}

static uint64_t value_of(unsigned kind, uint64_t rest)
{
    return HISTORY_NOT_UNIQUE | (uint64_t)kind << VALUE_KIND_SHIFT | rest;
}

uint64_t plugin_parse_value(uint32_t key, struct slice value, int64_t lease)
{
    char text[64] = "";
    unsigned long long number[4] = {0};
    if (value.len > 0) {
        memcpy(text, value.data, value.len < sizeof(text) - 1 ? value.len : sizeof(text) - 1);
    }
    if (key >= PLUGIN_KEY_SCRIBE) {
        if (sscanf(text, "%llu %llu %llu %llu", &number[0], &number[1], &number[2], &number[3]) !=
            4) {
            return value_of(VALUE_SCRIBED, 0);
        }
        return value_of(VALUE_SCRIBED, (uint64_t)number[2] << 52 | (uint64_t)number[0] << 32 |
                                           (uint64_t)number[1] << 24 | number[3]);
    }
    if (value.len == 0) {
        return value_of(VALUE_EMPTY, 0);
    }
    if (strcmp(text, "stamped") == 0) {
        return value_of(VALUE_STAMPED, 0);
    }
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (key >= PLUGIN_KEY_TTL && strcmp(end, "s") == 0) {
        return lease == 0 ? value_of(VALUE_FRESH, n)
                          : value_of(VALUE_LEASED, ((uint64_t)lease & 0xffffffff) << 16 | n);
    }
    return n;
}

/* ---- the log -----------------------------------------------------------------------------------
 */

static void *grow(void *array, size_t *cap, size_t need, size_t item)
{
    if (need > *cap) {
        *cap = need * 2 > 256 ? need * 2 : 256;
        array = mem_xrealloc(array, *cap * item);
    }
    return array;
}

struct plugin_model *plugin_model_new(struct history *history)
{
    struct plugin_model *p = mem_xzalloc(sizeof(*p));
    p->history = history;
    return p;
}

void plugin_model_free(struct plugin_model *p)
{
    mem_free(p->entries);
    mem_free(p->requests);
    mem_free(p->registrations);
    mem_free(p->started);
    mem_free(p);
}

static bool is_older(struct stamp a, struct stamp b)
{
    return a.term != b.term ? a.term < b.term : a.epoch < b.epoch;
}

/* The first bytes field `number` of a message. */
static struct slice field_bytes(struct slice message, uint32_t number)
{
    struct wire_field f;
    while (wire_next(&message, &f) == 1) {
        if (f.number == number) {
            return f.bytes;
        }
    }
    return slice_of(NULL, 0);
}

/* PutRequest and DeleteRangeRequest: key 1. TxnRequest of put_if: compare 1, its key 3. */
static uint32_t key_of_request(uint32_t field, struct slice message)
{
    struct slice key = field == 6                 ? field_bytes(field_bytes(message, 1), 3)
                       : field == 4 || field == 5 ? field_bytes(message, 1)
                                                  : slice_of(NULL, 0);
    return plugin_parse_key(key);
}

static int parse_epoch(struct slice message, struct stamp *out)
{
    struct wire_field f;
    int kind = -1;
    *out = (struct stamp){0};
    while (wire_next(&message, &f) == 1) {
        if (f.number == 1) {
            kind = kind_of(f.bytes);
        } else if (f.number == 2) {
            out->member = f.value;
        } else if (f.number == 3) {
            out->term = f.value;
        } else if (f.number == 4) {
            out->epoch = f.value;
        }
    }
    return kind;
}

static void see_request(struct plugin_model *p, uint64_t index, struct slice request)
{
    struct wire_field f;
    struct request_seen r = {.key = PLUGIN_KEYS_END, .kind = -1};
    bool alone = true;
    while (wire_next(&request, &f) == 1) {
        if (f.number == 2000) {
            r.kind = parse_epoch(f.bytes, &r.stamp);
        } else if (f.number >= 3 && f.number <= 11) {
            alone = false;
            r.key = key_of_request(f.number, f.bytes);
        }
    }
    if (alone && r.kind >= 0) {
        if (!is_older(p->newest[r.kind], r.stamp)) {
            return; /* refused */
        }
        p->newest[r.kind] = r.stamp;
        p->registrations = grow(p->registrations, &p->registrations_cap, p->registrations_n + 1,
                                sizeof(*p->registrations));
        p->registrations[p->registrations_n++] =
            (struct registration){(enum plugin_kind)r.kind, r.stamp, index};
        return;
    }
    r.fenced = r.kind >= 0 && is_older(r.stamp, p->newest[r.kind]);
    p->counts.fenced += r.fenced;
    if (plugin_is_key(r.key)) {
        p->requests = grow(p->requests, &p->requests_cap, p->requests_n + 1, sizeof(*p->requests));
        p->requests[p->requests_n++] = r;
    }
}

void plugin_model_applied(struct plugin_model *p, uint64_t index, struct slice payload,
                          int64_t revision, uint64_t now_ms)
{
    struct batch_op op;
    size_t position = 0;
    if (index <= p->index_max) {
        return; /* another member, or the same one again after a restart */
    }
    p->entries = grow(p->entries, &p->entries_cap, index + 1, sizeof(*p->entries));
    while (++p->index_max < index) { /* configurations and what bootstrap wrote: nothing in them */
        p->entries[p->index_max] = (struct entry_seen){.first = p->requests_n, .ms = now_ms};
        p->entries[p->index_max].revision =
            p->index_max > 1 ? p->entries[p->index_max - 1].revision : 1;
    }
    struct entry_seen *e = &p->entries[index];
    *e = (struct entry_seen){.revision = revision, .ms = now_ms, .first = p->requests_n};
    while (payload.len > 0 && batch_next(payload, &position, &op) == 1) {
        see_request(p, index, op.request);
    }
    e->count = p->requests_n - e->first;
}

/* The entry that made a revision; NULL: not applied by anybody yet. */
static const struct entry_seen *entry_of(const struct plugin_model *p, int64_t revision)
{
    uint64_t low = 1;
    uint64_t high = p->index_max + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (p->entries[middle].revision < revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low <= p->index_max ? &p->entries[low] : NULL;
}

/* ---- leading -----------------------------------------------------------------------------------
 */

void plugin_model_started(struct plugin_model *p, enum plugin_kind kind, uint64_t member,
                          uint64_t term, uint64_t epoch, uint64_t applied)
{
    bool registered = false;
    p->counts.starts++;
    for (size_t i = 0; i < p->registrations_n; i++) {
        const struct registration *r = &p->registrations[i];
        registered |= r->kind == kind && r->stamp.member == member && r->stamp.term == term &&
                      r->stamp.epoch == epoch && r->index <= applied;
    }
    if (!registered) {
        history_fail(p->history,
                     "%s starts term %llu epoch %llu on member %llu, which has not applied that "
                     "registration",
                     plugin_kind_name(kind), (unsigned long long)term, (unsigned long long)epoch,
                     (unsigned long long)member);
    }
    for (size_t i = 0; i < p->started_n; i++) {
        const struct started *s = &p->started[i];
        if (s->kind == kind && s->term == term && s->member != member) {
            history_fail(p->history, "%s starts term %llu on members %llu and %llu",
                         plugin_kind_name(kind), (unsigned long long)term,
                         (unsigned long long)s->member, (unsigned long long)member);
        }
    }
    p->started = grow(p->started, &p->started_cap, p->started_n + 1, sizeof(*p->started));
    p->started[p->started_n++] = (struct started){kind, term, member};
}

/* ---- events ------------------------------------------------------------------------------------
 */

/* A plugin made this event: a request of its own, with a stamp that holds, must be in its entry. */
static void check_author(struct plugin_model *p, const struct entry_seen *x,
                         const struct history_event *e, enum plugin_kind kind)
{
    const char *why = "by nobody's request";
    for (size_t i = x->first; i < x->first + x->count; i++) {
        const struct request_seen *r = &p->requests[i];
        if (r->key != e->key) {
            continue;
        }
        if (r->kind == (int)kind && !r->fenced) {
            return;
        }
        why = r->kind < 0 ? "without a stamp"
              : r->fenced ? "by a deposed leader, after a newer leader's epoch"
                          : "by another plugin";
    }
    history_fail(p->history, "key %u was written for %s at revision %lld %s", e->key,
                 plugin_kind_name(kind), (long long)e->revision, why);
}

static void bad_event(struct plugin_model *p, const struct history_event *e, const char *what)
{
    history_fail(p->history, "%s: key %u at revision %lld holds %llx, before it %llx", what, e->key,
                 (long long)e->revision, (unsigned long long)e->value,
                 (unsigned long long)p->keys[e->key].value);
}

static void check_hello(struct plugin_model *p, const struct entry_seen *x,
                        const struct history_event *e)
{
    if (e->value == value_of(VALUE_STAMPED, 0)) {
        check_author(p, x, e, PLUGIN_HELLO);
        if (p->keys[e->key].value != value_of(VALUE_EMPTY, 0)) {
            bad_event(p, e, "a stamp on what is not an empty value");
        }
        p->counts.stamps++;
    }
}

static void check_ttl(struct plugin_model *p, const struct entry_seen *x,
                      const struct history_event *e)
{
    struct key_seen *k = &p->keys[e->key];
    unsigned before = VALUE_KIND(k->value);
    uint64_t seconds = VALUE_SECONDS(k->value);
    if (e->value == 0) {
        if (before != VALUE_LEASED) {
            bad_event(p, e, "a key went that had no lease");
        } else if (x->ms < k->fresh_ms + seconds * 1000) {
            history_fail(p->history,
                         "key %u went at %llu ms: written at %llu ms for %llu s, too early", e->key,
                         (unsigned long long)x->ms, (unsigned long long)k->fresh_ms,
                         (unsigned long long)seconds);
        }
        p->counts.expired++;
    } else if (VALUE_KIND(e->value) == VALUE_LEASED) {
        check_author(p, x, e, PLUGIN_JANITOR);
        if (before != VALUE_FRESH || seconds != VALUE_SECONDS(e->value)) {
            bad_event(p, e, "a lease on another value");
        }
    } else if (VALUE_KIND(e->value) == VALUE_FRESH) {
        k->fresh_ms = x->ms;
    }
}

static void check_scribe(struct plugin_model *p, const struct entry_seen *x,
                         const struct history_event *e)
{
    struct key_seen *k = &p->keys[e->key];
    check_author(p, x, e, PLUGIN_SCRIBE);
    if (VALUE_ORDER(e->value) <= k->order) {
        bad_event(p, e, "leaderships out of order, or one write twice");
    }
    k->order = VALUE_ORDER(e->value);
    p->counts.scribed++;
}

void plugin_model_follow(struct plugin_model *p)
{
    const struct history *h = p->history;
    for (; p->at < h->event_count && !h->failed; p->at++) {
        const struct history_event *e = &h->events[p->at];
        if (!plugin_is_key(e->key)) {
            continue;
        }
        const struct entry_seen *x = entry_of(p, e->revision);
        if (x == NULL) {
            return;
        }
        if (e->key >= PLUGIN_KEY_SCRIBE) {
            check_scribe(p, x, e);
        } else if (e->key >= PLUGIN_KEY_TTL) {
            check_ttl(p, x, e);
        } else {
            check_hello(p, x, e);
        }
        p->keys[e->key].value = e->value;
    }
}

bool plugin_model_settled(const struct plugin_model *p)
{
    for (uint32_t key = PLUGIN_KEY_HELLO; key < PLUGIN_KEY_SCRIBE; key++) {
        uint64_t value = p->keys[key].value;
        unsigned kind = (value & HISTORY_NOT_UNIQUE) != 0 ? VALUE_KIND(value) : 0;
        if (kind == VALUE_EMPTY || kind == VALUE_FRESH || kind == VALUE_LEASED) {
            return false;
        }
    }
    return p->at == p->history->event_count;
}

struct plugin_counts plugin_model_counts(const struct plugin_model *p)
{
    return p->counts;
}
