/* key_count.c - how many keys are live, for etcd_debugging_mvcc_keys_total.
 *
 * Apply keeps no such number, and a scrape must not walk a million keys. So the first scrape starts
 * one walk, in slices, over one moment; from then on the difference apply counts is added. A small
 * database is counted before the first scrape is answered; a large one shows the number a little
 * later. */
#include "kvd/serve_impl.h"
#include "proto/codec.h"

/* RangeRequest{key: "\0", range_end: "\0", serializable, count_only}: everything. */
static const uint8_t key_count_request[] = {0x0a, 1, 0, 0x12, 1, 0, 0x38, 1, 0x48, 1};

static void key_count_finish(struct serve *s)
{
    struct key_count *c = &s->key_count;
    struct slice body = kv_range_small(c->range);
    struct wire_field f;
    c->counted = 0;
    while (wire_next(&body, &f) > 0) {
        if (f.number == 4 && f.type == WIRE_VARINT) {
            c->counted = (int64_t)f.value;
        }
    }
    c->known = true;
    key_count_close(s);
}

bool key_count_step(struct serve *s)
{
    struct key_count *c = &s->key_count;
    int err = 0;
    if (c->range == NULL) {
        return false;
    }
    enum kv_progress progress = kv_range_measure(c->range, &err);
    if (err != 0) {
        key_count_close(s); /* the next scrape tries again */
        return false;
    }
    if (progress == KV_DONE) {
        key_count_finish(s);
        return false;
    }
    return true;
}

bool key_count_now(struct serve *s, int64_t *keys)
{
    struct key_count *c = &s->key_count;
    if (!c->known && c->range == NULL) {
        c->live_then = kv_counts(s->kv)->live;
        struct slice request = slice_of(key_count_request, sizeof(key_count_request));
        if (kv_range_open(s->kv, request, &c->range) != 0) {
            c->range = NULL;
        } else if (key_count_step(s)) {
            serve_wake(s);
        }
    }
    *keys = c->counted + kv_counts(s->kv)->live - c->live_then;
    return c->known;
}

void key_count_close(struct serve *s)
{
    kv_range_close(s->key_count.range);
    s->key_count.range = NULL;
}
