/* history.h - what really happened in one simulated run, and the checks against it.
 *
 * The canonical history is built by whoever reports an event first; everybody else's watch stream,
 * every acknowledged write and every read is compared with it. Because each member reports through
 * its own apply and hub, a divergence, a lost or doubled event, a stale read or a lost write shows
 * up as a difference. Values are unique numbers, so "applied twice" is visible too. */
#ifndef KVD_TESTS_SIM_HISTORY_H
#define KVD_TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_KEYS 48u
/* A bit of values that may be written more than once (tests/sim/plugin_check.h). */
#define HISTORY_NOT_UNIQUE ((uint64_t)1 << 63)

struct history_event {
    int64_t revision;
    uint32_t key;   /* number of the key */
    uint64_t value; /* unique id of the writing operation; 0 = deleted */
};

/* A claim to be verified at the end, when the history is complete. */
struct history_claim {
    enum {
        CLAIM_PUT,   /* acknowledged: `value` was written to `key` at `revision` */
        CLAIM_SWAP,  /* as PUT, and the key's modification before it was `previous` */
        CLAIM_WIPE,  /* a delete range at `revision` removed `previous` keys */
        CLAIM_READ,  /* at `revision` the key held `value` (0 = absent), modified at `previous` */
        CLAIM_COUNT_ /* number of kinds */
    } kind;
    uint32_t key;
    uint64_t value;
    int64_t revision;
    int64_t previous;
    uint64_t at_ms;
    unsigned member;
};

struct history {
    struct history_event *events;
    size_t event_count, event_cap;
    struct history_claim *claims;
    size_t claim_count, claim_cap;
    /* state of the machine by raft index: running hash and revision, 0 = not reached yet */
    uint64_t *hashes;
    size_t index_cap;
    uint64_t index_max;
    int64_t acked_revision; /* largest revision acknowledged to any client */
    bool failed;
    char why[512];
};

void history_init(struct history *h);
void history_close(struct history *h);
/* Records the first violation (later ones are ignored). */
void history_fail(struct history *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A watcher at position *at reports one event; advances *at. */
void history_report(struct history *h, size_t *at, const struct history_event *e, unsigned member);
/* Where a watcher that starts at `revision` begins. */
size_t history_position(const struct history *h, int64_t revision);
/* The newest event of a key with revision <= limit, or NULL. */
const struct history_event *history_key_at(const struct history *h, uint32_t key, int64_t limit);
/* A member has applied `index` and its state hashes to `hash`. */
void history_applied(struct history *h, uint64_t index, uint64_t hash, unsigned member);
void history_claim(struct history *h, const struct history_claim *c);
/* Verifies all claims, and that no value was written twice. complete_to: revision all reached. */
void history_verify(struct history *h, int64_t complete_to);

#endif
