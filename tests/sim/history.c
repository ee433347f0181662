/* history.c - the canonical history of a simulated run. */
#include "tests/sim/history.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

void history_init(struct history *h)
{
    memset(h, 0, sizeof(*h));
}

void history_close(struct history *h)
{
    mem_free(h->events);
    mem_free(h->claims);
    mem_free(h->hashes);
    history_init(h);
}

void history_fail(struct history *h, const char *format, ...)
{
    if (h->failed) {
        return;
    }
    h->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(h->why, sizeof(h->why), format, args);
    va_end(args);
}

static void *grow(void *array, size_t *cap, size_t need, size_t item)
{
    if (need <= *cap) {
        return array;
    }
    size_t old = *cap;
    *cap = need * 2 > 1024 ? need * 2 : 1024;
    array = mem_xrealloc(array, *cap * item);
    memset((char *)array + old * item, 0, (*cap - old) * item);
    return array;
}

static void append_event(struct history *h, const struct history_event *e, unsigned member)
{
    int64_t last = h->event_count > 0 ? h->events[h->event_count - 1].revision : 1;
    if (e->revision != last && e->revision != last + 1) {
        history_fail(h, "member %u reports revision %lld after %lld: a gap", member,
                     (long long)e->revision, (long long)last);
        return;
    }
    h->events = grow(h->events, &h->event_cap, h->event_count + 1, sizeof(*h->events));
    h->events[h->event_count++] = *e;
}

void history_report(struct history *h, size_t *at, const struct history_event *e, unsigned member)
{
    if (*at == h->event_count) {
        append_event(h, e, member);
    } else {
        const struct history_event *known = &h->events[*at];
        if (known->revision != e->revision || known->key != e->key || known->value != e->value) {
            history_fail(h,
                         "member %u watch event %zu is (revision %lld key %u value %llu), "
                         "elsewhere it was (revision %lld key %u value %llu)",
                         member, *at, (long long)e->revision, e->key, (unsigned long long)e->value,
                         (long long)known->revision, known->key, (unsigned long long)known->value);
        }
    }
    (*at)++;
}

size_t history_position(const struct history *h, int64_t revision)
{
    size_t low = 0;
    size_t high = h->event_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->events[middle].revision < revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void history_applied(struct history *h, uint64_t index, uint64_t hash, unsigned member)
{
    h->hashes = grow(h->hashes, &h->index_cap, index + 1, sizeof(*h->hashes));
    uint64_t tagged = hash | 1; /* never 0, which means unknown */
    if (h->hashes[index] == 0) {
        h->hashes[index] = tagged;
    } else if (h->hashes[index] != tagged) {
        history_fail(h, "state divergence: member %u hashes differently at index %llu", member,
                     (unsigned long long)index);
    }
    if (index > h->index_max) {
        h->index_max = index;
    }
}

void history_claim(struct history *h, const struct history_claim *c)
{
    h->claims = grow(h->claims, &h->claim_cap, h->claim_count + 1, sizeof(*h->claims));
    h->claims[h->claim_count++] = *c;
}

const struct history_event *history_key_at(const struct history *h, uint32_t key, int64_t limit)
{
    size_t i = history_position(h, limit + 1);
    while (i-- > 0) {
        if (h->events[i].key == key) {
            return &h->events[i];
        }
    }
    return NULL;
}

static const struct history_event *event_at(const struct history *h, int64_t revision, uint32_t key)
{
    for (size_t i = history_position(h, revision);
         i < h->event_count && h->events[i].revision == revision; i++) {
        if (h->events[i].key == key) {
            return &h->events[i];
        }
    }
    return NULL;
}

static void verify_write(struct history *h, const struct history_claim *c)
{
    const struct history_event *e = event_at(h, c->revision, c->key);
    if (e == NULL || e->value != c->value) {
        history_fail(h,
                     "acknowledged write lost: value %llu to key %u at revision %lld "
                     "(acknowledged at %llu ms by member %u)",
                     (unsigned long long)c->value, c->key, (long long)c->revision,
                     (unsigned long long)c->at_ms, c->member);
        return;
    }
    if (c->kind == CLAIM_SWAP) {
        const struct history_event *before = history_key_at(h, c->key, c->revision - 1);
        int64_t mod = before != NULL && before->value != 0 ? before->revision : 0;
        if (mod != c->previous) {
            history_fail(h,
                         "compare-and-swap on key %u at revision %lld succeeded against %lld, but "
                         "the key was modified at %lld",
                         c->key, (long long)c->revision, (long long)c->previous, (long long)mod);
        }
    }
}

static void verify_wipe(struct history *h, const struct history_claim *c)
{
    int64_t removed = 0;
    for (size_t i = history_position(h, c->revision);
         i < h->event_count && h->events[i].revision == c->revision; i++) {
        removed += h->events[i].value == 0;
    }
    if (removed != c->previous) {
        history_fail(h, "delete range at revision %lld answered %lld keys, history has %lld",
                     (long long)c->revision, (long long)c->previous, (long long)removed);
    }
}

static void verify_read(struct history *h, const struct history_claim *c)
{
    const struct history_event *e = history_key_at(h, c->key, c->revision);
    uint64_t value = e != NULL ? e->value : 0;
    if (value != c->value || (value != 0 && e->revision != c->previous)) {
        history_fail(h,
                     "wrong read: key %u at revision %lld answered value %llu (modified %lld), "
                     "history has %llu (member %u at %llu ms)",
                     c->key, (long long)c->revision, (unsigned long long)c->value,
                     (long long)c->previous, (unsigned long long)value, c->member,
                     (unsigned long long)c->at_ms);
    }
}

static void verify_once(struct history *h)
{
    /* A value may appear several times in one revision (a transaction writes two keys), never in
     * two. */
    uint64_t max = 0;
    for (size_t i = 0; i < h->event_count; i++) {
        uint64_t value = h->events[i].value;
        max = value > max && (value & HISTORY_NOT_UNIQUE) == 0 ? value : max;
    }
    int64_t *seen = mem_xzalloc((max + 1) * sizeof(*seen));
    for (size_t i = 0; i < h->event_count; i++) {
        const struct history_event *e = &h->events[i];
        if ((e->value & HISTORY_NOT_UNIQUE) != 0) {
            continue;
        }
        if (e->value != 0 && seen[e->value] != 0 && seen[e->value] != e->revision) {
            history_fail(h, "value %llu was applied at revision %lld and again at %lld",
                         (unsigned long long)e->value, (long long)seen[e->value],
                         (long long)e->revision);
        }
        seen[e->value] = e->revision;
    }
    mem_free(seen);
}

void history_verify(struct history *h, int64_t complete_to)
{
    verify_once(h);
    for (size_t i = 0; i < h->claim_count && !h->failed; i++) {
        const struct history_claim *c = &h->claims[i];
        if (c->revision > complete_to) {
            history_fail(h, "member %u claimed revision %lld, but the end is %lld", c->member,
                         (long long)c->revision, (long long)complete_to);
            return;
        }
        switch (c->kind) {
        case CLAIM_PUT:
        case CLAIM_SWAP:
            verify_write(h, c);
            break;
        case CLAIM_WIPE:
            verify_wipe(h, c);
            break;
        case CLAIM_READ:
            verify_read(h, c);
            break;
        case CLAIM_COUNT_:
            break;
        }
    }
}
