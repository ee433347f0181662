/* fuzz_entry - raft entries into the database.
 *
 * The input is a row of payloads, each behind its length (two bytes, little endian); bit 15 of it
 * means "seal and checkpoint one database first". Payloads kv_payload_check refuses are skipped;
 * the others are applied to two databases, one of which checkpoints and compacts on the way. What
 * must hold: no crash, equal running hashes, accounted bytes and HashKV, and a watcher of
 * everything sees as many events as there are records. */
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hashmap.h"
#include "base/log.h"
#include "kv/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Entries of one input: keeps a run short. */
#define ENTRIES_MAX 64

struct side {
    char dir[64];
    struct kv *kv;
    uint64_t results;
    uint64_t events;
};

static void on_result(void *data, uint64_t number, int err, int64_t revision, struct slice body)
{
    struct side *s = data;
    s->results += (uint64_t)err + body.len;
}

static bool on_events(void *data, void *watcher_data, int64_t revision,
                      const struct watch_event *events, size_t count)
{
    struct side *s = data;
    FATAL_IF(revision < events[count - 1].revision, "a header is older than its events");
    s->events += count;
    return true;
}

static void on_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    FATAL_IF(true, "a live watcher was overtaken by a compaction");
}

static const struct watch_sink SINK = {.events = on_events, .compacted = on_compacted};

static void side_open(struct side *s)
{
    static const uint8_t zero[1] = {0};
    struct errmsg e = {{0}};
    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "%s/kvd-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FATAL_IF(mkdtemp(s->dir) == NULL, "no folder for the fuzzed database");
    struct kv_options o = {
        .store = {.dir = s->dir, .map_bytes = 64u << 20, .unsafe_no_fsync = true},
        .data = s,
        .result = on_result};
    FATAL_IF(kv_open(&o, &s->kv, &e) != 0, "the fuzzed database cannot be opened");
    struct watch_options w = {
        .key = slice_of(zero, 1), .range_end = slice_of(zero, 1), .prev_kv = true};
    FATAL_IF(kv_watch(s->kv, &w, &SINK, s, NULL) == NULL, "out of memory");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void side_close(struct side *s)
{
    kv_close(s->kv);
    nftw(s->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void side_apply(struct side *s, struct slice payload)
{
    kv_apply_begin(s->kv, kv_applied_index(s->kv) + 1, 1, payload);
    while (kv_apply_step(s->kv) == KV_MORE) {
    }
    while (kv_watch_step(s->kv) == KV_MORE) {
    }
}

static void side_checkpoint(struct side *s)
{
    int err;
    kv_seal(s->kv, 0, true);
    while (kv_checkpoint_step(s->kv, &err) == KV_MORE) {
    }
    FATAL_IF(err != 0, "a checkpoint failed");
}

static uint32_t side_hash(struct side *s)
{
    struct kv_hash *h;
    uint32_t hash;
    int64_t compact;
    int64_t at;
    int err;
    FATAL_IF(kv_hash_open(s->kv, 0, &h) != 0, "no hash");
    while (kv_hash_step(h, &err) == KV_MORE) {
    }
    FATAL_IF(err != 0, "the hash met damage");
    kv_hash_result(h, &hash, &compact, &at);
    kv_hash_close(h);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct side quiet;
    struct side busy;
    struct slice in = slice_of(data, size);
    hash_seed(1);
    log_set_level(LOG_PANIC);
    side_open(&quiet);
    side_open(&busy);
    for (int i = 0; i < ENTRIES_MAX && in.len >= 2; i++) {
        size_t head = (size_t)in.data[0] | (size_t)in.data[1] << 8;
        size_t len = head & 0x7fff;
        in = slice_of(in.data + 2, in.len - 2);
        len = len < in.len ? len : in.len;
        struct slice payload = slice_of(in.data, len);
        in = slice_of(in.data + len, in.len - len);
        if (head & 0x8000) {
            side_checkpoint(&busy);
        }
        if (kv_payload_check(payload) == 0) {
            side_apply(&quiet, payload);
            side_apply(&busy, payload);
        }
    }
    FATAL_IF(kv_running_hash(quiet.kv) != kv_running_hash(busy.kv), "running hashes differ");
    FATAL_IF(kv_accounted_bytes(quiet.kv) != kv_accounted_bytes(busy.kv), "accounting differs");
    FATAL_IF(kv_accounted_bytes(quiet.kv) < 0, "accounted bytes below zero");
    FATAL_IF(quiet.results != busy.results, "results differ");
    FATAL_IF(quiet.events != busy.events, "watchers saw different numbers of events");
    FATAL_IF(side_hash(&quiet) != side_hash(&busy), "HashKV differs");
    side_checkpoint(&busy);
    FATAL_IF(side_hash(&quiet) != side_hash(&busy), "HashKV depends on what was dropped");
    side_close(&quiet);
    side_close(&busy);
    return 0;
}
