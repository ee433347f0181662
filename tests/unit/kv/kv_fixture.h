/* kv_fixture.h - a database in a temporary folder, fed with entries of one operation each.
 * Everything that was applied is kept, so that a test can replay it into another database. */
#ifndef KVD_TESTS_KV_FIXTURE_H
#define KVD_TESTS_KV_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "kv/kv.h"
#include "proto/batch.h"
#include "proto/codec.h"
#include "proto/entry.pb-c.h"

#define MEMBER      11u
#define INCARNATION 7u

/* One applied entry. */
struct entry {
    uint8_t *bytes;
    size_t len;
};

struct kvf {
    char dir[256];
    struct kv_options options;
    struct kv *kv;
    struct entry *log; /* log[i] has raft index i + 1 */
    size_t log_len;
    size_t log_cap;
    uint64_t number;
    struct arena arena; /* decoded answers; cleared by hand */

    /* the last result */
    uint64_t results;
    uint64_t result_number;
    int err;
    int64_t revision;
    struct buf body;
    uint32_t steps; /* kv_apply_step calls it took */
};

static void kvf_result(void *data, uint64_t number, int err, int64_t revision, struct slice body)
{
    struct kvf *f = data;
    f->results++;
    f->result_number = number;
    f->err = err;
    f->revision = revision;
    buf_clear(&f->body);
    assert_true(buf_append_slice(&f->body, body));
}

static inline void kvf_start(struct kvf *f)
{
    struct errmsg e = {{0}};
    int err = kv_open(&f->options, &f->kv, &e);
    if (err != 0) {
        fail_msg("kv_open: %s: %s", err_name(err), e.text);
    }
}

static inline void kvf_open(struct kvf *f)
{
    memset(f, 0, sizeof(*f));
    const char *root = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%s/kvd-kv-XXXXXX", root == NULL ? "/tmp" : root);
    assert_non_null(mkdtemp(f->dir));
    f->options = (struct kv_options){
        .member_id = MEMBER,
        .incarnation = INCARNATION,
        .data = f,
        .result = kvf_result,
        .store = {.dir = f->dir, .map_bytes = 1ul << 30, .unsafe_no_fsync = true}};
    arena_init(&f->arena, 0);
    buf_init(&f->body);
    log_set_level(LOG_WARN);
    kvf_start(f);
}

static int kvf_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static inline void kvf_remove(const char *dir)
{
    nftw(dir, kvf_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void kvf_close(struct kvf *f)
{
    kv_close(f->kv);
    kvf_remove(f->dir);
    for (size_t i = 0; i < f->log_len; i++) {
        free(f->log[i].bytes);
    }
    free(f->log);
    buf_close(&f->body);
    arena_close(&f->arena);
}

/* Applies one entry without keeping it. */
static inline void kvf_feed(struct kvf *f, const struct entry *e)
{
    uint64_t index = kv_applied_index(f->kv) + 1;
    kv_apply_begin(f->kv, index, 1, slice_of(e->bytes, e->len));
    f->steps = 1;
    while (kv_apply_step(f->kv) == KV_MORE) {
        f->steps++;
    }
    assert_int_equal(kv_applied_index(f->kv), index);
}

/* Applies and keeps a payload. */
static inline void kvf_entry(struct kvf *f, struct slice payload)
{
    if (f->log_len == f->log_cap) {
        f->log_cap = f->log_cap == 0 ? 64 : f->log_cap * 2;
        f->log = realloc(f->log, f->log_cap * sizeof(f->log[0]));
    }
    struct entry *e = &f->log[f->log_len++];
    e->bytes = malloc(payload.len + 1);
    e->len = payload.len;
    if (payload.len > 0) {
        memcpy(e->bytes, payload.data, payload.len);
    }
    kvf_feed(f, e);
}

static inline void kvf_batch(struct kvf *f, struct buf *payload,
                             const Etcdserverpb__InternalRaftRequest *r)
{
    struct buf request;
    buf_init(&request);
    assert_true(codec_encode(r, &request));
    if (payload->len == 0) {
        assert_true(batch_start(payload));
    }
    struct batch_origin origin = {
        .member = MEMBER, .incarnation = INCARNATION, .number = ++f->number};
    assert_true(batch_add(payload, origin, buf_slice(&request)));
    buf_close(&request);
}

/* Applies one operation as an entry of its own; its result is in f. Returns the error. */
static inline int kvf_apply(struct kvf *f, const Etcdserverpb__InternalRaftRequest *r)
{
    struct buf payload;
    uint64_t before = f->results;
    buf_init(&payload);
    kvf_batch(f, &payload, r);
    kvf_entry(f, buf_slice(&payload));
    buf_close(&payload);
    assert_int_equal(f->results, before + 1);
    assert_int_equal(f->result_number, f->number);
    return f->err;
}

static inline ProtobufCBinaryData bin(const char *text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
}

static inline ProtobufCBinaryData bin_of(struct slice s)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)s.data, .len = s.len};
}

/* Everything from the first key on: a single zero byte. */
static inline ProtobufCBinaryData bin_zero(void)
{
    static uint8_t zero[1];
    return (ProtobufCBinaryData){.data = zero, .len = 1};
}

#define RAFT(name) \
    Etcdserverpb__InternalRaftRequest name = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT

static inline int kvf_put_lease(struct kvf *f, const char *key, const char *value, int64_t lease)
{
    RAFT(r);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = bin(key);
    put.value = bin(value);
    put.lease = lease;
    r.put = &put;
    return kvf_apply(f, &r);
}

static inline int kvf_put(struct kvf *f, const char *key, const char *value)
{
    return kvf_put_lease(f, key, value, 0);
}

static inline int kvf_delete(struct kvf *f, const char *key, const char *end)
{
    RAFT(r);
    Etcdserverpb__DeleteRangeRequest d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    d.key = bin(key);
    d.range_end = bin(end);
    r.delete_range = &d;
    return kvf_apply(f, &r);
}

static inline int kvf_compact(struct kvf *f, int64_t revision)
{
    RAFT(r);
    Etcdserverpb__CompactionRequest c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    c.revision = revision;
    r.compaction = &c;
    return kvf_apply(f, &r);
}

static inline int kvf_grant(struct kvf *f, int64_t id, int64_t ttl)
{
    RAFT(r);
    Etcdserverpb__LeaseGrantRequest g = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    g.id = id;
    g.ttl = ttl;
    r.lease_grant = &g;
    return kvf_apply(f, &r);
}

static inline int kvf_revoke(struct kvf *f, int64_t id)
{
    RAFT(r);
    Etcdserverpb__LeaseRevokeRequest g = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    g.id = id;
    r.lease_revoke = &g;
    return kvf_apply(f, &r);
}

static inline int kvf_txn(struct kvf *f, Etcdserverpb__TxnRequest *txn)
{
    RAFT(r);
    r.txn = txn;
    return kvf_apply(f, &r);
}

/* Decodes the last result's body. */
static inline void *kvf_body(struct kvf *f, const ProtobufCMessageDescriptor *type)
{
    void *message = NULL;
    assert_int_equal(codec_decode(type, buf_slice(&f->body), &f->arena, &message), 0);
    return message;
}

/* Seals and checkpoints everything, compaction included. */
static inline void kvf_checkpoint(struct kvf *f)
{
    int err;
    kv_seal(f->kv, 0, true);
    while (kv_checkpoint_step(f->kv, &err) == KV_MORE) {
    }
    assert_int_equal(err, 0);
}

/* Stops without a checkpoint, starts again and replays what the checkpoint lacks. */
static inline void kvf_crash(struct kvf *f)
{
    kv_close(f->kv);
    kvf_start(f);
    while (kv_applied_index(f->kv) < f->log_len) {
        kvf_feed(f, &f->log[kv_applied_index(f->kv)]);
    }
}

/* Reads an encoded RangeRequest's answer whole into *out; returns the error. In `pieces` bytes at a
 * time from the second pass when > 0. */
static inline int kvf_range_raw(struct kvf *f, struct slice request, struct buf *out, size_t pieces,
                                int64_t *revision)
{
    struct kv_range *r;
    int err = kv_range_open(f->kv, request, &r);
    if (err != 0) {
        return err;
    }
    while (kv_range_measure(r, &err) == KV_MORE) {
    }
    if (err != 0) {
        kv_range_close(r);
        return err;
    }
    if (revision != NULL) {
        *revision = kv_range_revision(r);
    }
    uint64_t total = kv_range_total(r);
    struct slice small = kv_range_small(r);
    if (pieces == 0 && small.data != NULL) {
        assert_true(buf_append_slice(out, small));
    } else {
        while (out->len < total) {
            size_t before = out->len;
            assert_true(kv_range_produce(r, out, pieces == 0 ? 4096 : pieces));
            assert_true(out->len > before);
        }
    }
    assert_int_equal(out->len, total);
    kv_range_close(r);
    return 0;
}

static inline int kvf_range(struct kvf *f, const Etcdserverpb__RangeRequest *request,
                            Etcdserverpb__RangeResponse **response)
{
    struct buf bytes;
    struct buf out;
    void *message = NULL;
    buf_init(&bytes);
    buf_init(&out);
    assert_true(codec_encode(request, &bytes));
    int err = kvf_range_raw(f, buf_slice(&bytes), &out, 0, NULL);
    if (err == 0) {
        struct slice kept = arena_dup(&f->arena, buf_slice(&out));
        assert_int_equal(
            codec_decode(&etcdserverpb__range_response__descriptor, kept, &f->arena, &message), 0);
        *response = message;
    }
    buf_close(&bytes);
    buf_close(&out);
    return err;
}

/* "k1=v1 k2=v2" of the keys in [key, end) at a revision, for short expectations. */
static inline const char *kvf_list(struct kvf *f, const char *key, const char *end,
                                   int64_t revision)
{
    static char text[4096];
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *a;
    q.key = bin(key);
    q.range_end = bin(end);
    q.revision = revision;
    int err = kvf_range(f, &q, &a);
    if (err != 0) {
        return err_name(err);
    }
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < a->n_kvs; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.*s=%.*s", i > 0 ? " " : "",
                                (int)a->kvs[i]->key.len, (char *)a->kvs[i]->key.data,
                                (int)a->kvs[i]->value.len, (char *)a->kvs[i]->value.data);
    }
    return text;
}

static inline void kvf_hash(struct kvf *f, int64_t revision, uint32_t *hash, int64_t *compact,
                            int64_t *at)
{
    struct kv_hash *h;
    int err;
    assert_int_equal(kv_hash_open(f->kv, revision, &h), 0);
    while (kv_hash_step(h, &err) == KV_MORE) {
    }
    assert_int_equal(err, 0);
    kv_hash_result(h, hash, compact, at);
    kv_hash_close(h);
}

#endif
