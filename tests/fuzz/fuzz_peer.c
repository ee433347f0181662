/* fuzz_peer - arbitrary frames, time and disk progress into one member of three.
 *
 * The input is a script: each step's first byte picks what happens. Frames come raw, or built from
 * small numbers near the member's own terms and indexes so that they get past the decoder. What
 * must hold: no memory error, commits in order without gaps, and a member that gave up (fatal)
 * stays quiet. What a lying leader can make a follower commit is not judged: peers are
 * authenticated. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "proto/batch.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"
#include "raft/wire.h"

/* Fuzz targets link the program's libraries only. */
#include "tests/lib/sim_disk.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 400u

static struct {
    const uint8_t *data;
    size_t left;
    uint64_t now;
    struct disk *disk;
    struct node *node;
    struct rand rand;
    struct node_transport transport;
    uint64_t committed;
    bool fatal;
    bool fetching;
    bool installing;
    struct node_read reads[8];
    struct node_change changes[4];
    bool read_busy[8];
    bool change_busy[4];
    uint8_t configuration[4096];
    size_t configuration_len;
} z;

static uint8_t byte(void)
{
    if (z.left == 0) {
        return 0;
    }
    z.left--;
    return *z.data++;
}

/* A number near `base`, seldom far away. */
static uint64_t near(uint64_t base)
{
    uint8_t b = byte();
    if (b == 255) {
        return (uint64_t)byte() << (byte() % 64);
    }
    int64_t delta = (int64_t)(b % 16) - 8;
    return delta < 0 && base < (uint64_t)-delta ? 0 : base + (uint64_t)delta;
}

/* ---- the member's surroundings ------------------------------------------------------------ */

static void on_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
    FATAL_IF(index != z.committed + 1, "commits must come without gaps");
    FATAL_IF(z.fatal, "a failed member must not commit");
    z.committed = index;
}

static void on_configuration(void *data, uint64_t index, struct slice encoded)
{
    FATAL_IF(encoded.len > sizeof(z.configuration), "a configuration above its bound");
    memcpy(z.configuration, encoded.data, encoded.len);
    z.configuration_len = encoded.len;
}

static void on_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
}

static void on_dropped(void *data, uint64_t first, uint64_t last, int err)
{
}

static void on_fetch(void *data, uint64_t from, const char *address, uint64_t index)
{
    FATAL_IF(z.fetching, "told to fetch twice");
    z.fetching = true;
}

static void on_install(void *data)
{
    z.installing = true;
}

static void on_fatal(void *data, const char *why)
{
    FATAL_IF(z.fatal, "fatal twice");
    z.fatal = true;
}

static void on_send(struct node_transport *t, uint64_t to, const char *address, struct slice frame)
{
    struct frame f;
    /* A liar can push the term to where our own next election leaves the decoder's range. */
    bool extreme = z.node != NULL && node_term(z.node) > FRAME_NUMBER_MAX - STEPS_MAX;
    FATAL_IF(!extreme && !frame_get(frame, &f), "sent a frame we would not accept");
}

static size_t on_queued(struct node_transport *t, uint64_t to)
{
    return 0;
}

static uint64_t on_now(void *data)
{
    return z.now;
}

static void on_read(struct node_read *r, int err, uint64_t index)
{
    z.read_busy[r - z.reads] = false;
}

static void on_change(struct node_change *c, int err)
{
    z.change_busy[c - z.changes] = false;
}

static void start(void)
{
    struct errmsg e = {""};
    struct node_options o = {.id = 1,
                             .address = "m1",
                             .disk = z.disk,
                             .transport = &z.transport,
                             .callbacks = {.commit = on_commit,
                                           .configuration = on_configuration,
                                           .role = on_role,
                                           .dropped = on_dropped,
                                           .snapshot_fetch = on_fetch,
                                           .snapshot_install = on_install,
                                           .fatal = on_fatal},
                             .now_ms = on_now,
                             .rand = &z.rand,
                             .trailing_entries = 4,
                             .snapshot_entries = 8,
                             .segment_bytes = 16384};
    static const struct node_member members[3] = {
        {.id = 1, .address = "m1"}, {.id = 2, .address = "m2"}, {.id = 3, .address = "m3"}};
    z.committed = 0;
    z.fatal = z.fetching = z.installing = false;
    memset(z.read_busy, 0, sizeof(z.read_busy));
    memset(z.change_busy, 0, sizeof(z.change_busy));
    node_bootstrap(&o, members, 3, &e);
    FATAL_IF(node_start(&o, &z.node, &e) != 0, "the member does not start");
}

/* ---- steps -------------------------------------------------------------------------------- */

static void step_raw(void)
{
    size_t len = byte() | (size_t)byte() << 8;
    len = len < z.left ? len : z.left;
    struct slice frame = slice_of(z.data, len);
    z.data += len;
    z.left -= len;
    node_receive(z.node, byte() % 4, frame);
}

static void put_entries(struct buf *out, struct frame *f)
{
    uint64_t term = f->b;
    f->n = byte() % 5;
    struct raft_entry e[4];
    for (uint32_t i = 0; i < f->n % 5 && i < 4; i++) {
        term = near(term);
        uint8_t kind = byte();
        bool change = kind % 8 == 7;
        e[i] = (struct raft_entry){
            .term = term,
            .type = change ? RAFT_CHANGE : 1 + kind % 2,
            .buf = {.base = change ? z.configuration : (void *)z.data,
                    .len = change ? z.configuration_len : (z.left < 9 ? z.left : 9)}};
        if (change && z.configuration_len > 20) {
            z.configuration[z.configuration_len - 1 - kind / 8 % 20] = byte();
        }
    }
    f->n = f->n > 4 ? 4 : f->n;
    frame_put(out, f);
    for (uint32_t i = 0; i < f->n; i++) {
        frame_put_entry(out, &e[i]);
    }
}

static void step_frame(enum frame_type type)
{
    const struct raft *r = &z.node->raft;
    struct frame f = {.type = type, .flags = byte()};
    uint64_t from = 2 + byte() % 2;
    f.term = near(r->current_term);
    f.a = near(byte() % 2 ? memlog_last(r) : r->commit_index);
    f.b = type == FRAME_APPEND_RESULT ? near(memlog_last(r))
          : byte() % 2                ? memlog_term(r, f.a)
                                      : near(r->current_term);
    f.c = type == FRAME_VOTE ? from : near(r->commit_index);
    struct buf out;
    buf_init(&out);
    if (type == FRAME_APPEND) {
        put_entries(&out, &f);
    } else {
        if (type == FRAME_INSTALL) {
            f.n = 2;
            f.body = slice_str("m2");
        }
        frame_put(&out, &f);
    }
    node_receive(z.node, from, buf_slice(&out));
    buf_close(&out);
}

static void step_disk(void)
{
    for (unsigned ms = byte() % 16; ms > 0; ms--) {
        z.now++;
        sim_disk_run(z.disk, z.now);
    }
}

static void step_tick(void)
{
    z.now += byte() * 4u;
    sim_disk_run(z.disk, z.now);
    node_tick(z.node);
}

static void step_propose(void)
{
    struct batch_origin origin = {.member = 1, .number = byte()};
    struct buf ops;
    buf_init(&ops);
    batch_add(&ops, origin, slice_of(z.data, z.left < 30 ? z.left : 30));
    node_propose(z.node, buf_slice(&ops), origin.number, origin.number);
    buf_close(&ops);
    node_flush(z.node);
}

static void step_read(void)
{
    unsigned i = byte() % 8;
    if (!z.read_busy[i]) {
        z.read_busy[i] = true;
        z.reads[i] = (struct node_read){.cb = on_read};
        node_read_index(z.node, &z.reads[i]);
    }
    node_flush(z.node);
}

static void step_change(void)
{
    unsigned i = byte() % 4;
    uint8_t what = byte();
    struct node_member m = {
        .id = 1 + byte() % 5, .address = "m4", .kind = what % 2 ? NODE_VOTER : NODE_LEARNER};
    if (z.change_busy[i]) {
        return;
    }
    z.change_busy[i] = true;
    z.changes[i] = (struct node_change){.cb = on_change};
    switch (what / 2 % 4) {
    case 0:
        node_add(z.node, &z.changes[i], &m);
        break;
    case 1:
        node_promote(z.node, &z.changes[i], m.id);
        break;
    case 2:
        node_remove(z.node, &z.changes[i], m.id);
        break;
    default:
        node_transfer(z.node, &z.changes[i], m.id);
        break;
    }
}

static void step_snapshot(void)
{
    uint8_t what = byte();
    if (z.installing && what % 2) {
        z.installing = false;
        z.committed = z.node->snapshot.index;
        node_snapshot_installed(z.node);
    } else if (z.fetching && !z.installing && what % 4 == 0) {
        z.fetching = false;
        node_snapshot_failed(z.node);
    } else if (z.fetching && !z.installing) {
        z.fetching = false;
        uint64_t index = near(z.node->snapshot.wanted);
        node_snapshot_ready(z.node, index, near(node_term(z.node)), index,
                            slice_of(z.configuration, z.configuration_len));
    } else {
        node_durable(z.node, near(z.committed));
    }
}

static void step(void)
{
    uint8_t op = byte();
    switch (op % 16) {
    case 0:
        step_raw();
        break;
    case 9:
        step_disk();
        break;
    case 10:
        step_tick();
        break;
    case 11:
        step_propose();
        break;
    case 12:
        step_read();
        break;
    case 13:
        step_change();
        break;
    case 14:
        step_snapshot();
        break;
    case 15:
        node_flush(z.node);
        break;
    default:
        step_frame((enum frame_type)(op % 16));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_level(LOG_FATAL);
    memset(&z, 0, sizeof(z));
    z.data = data;
    z.left = size;
    z.now = 1000;
    rand_init(&z.rand, 1);
    z.transport = (struct node_transport){.send = on_send, .queued = on_queued};
    z.disk = sim_disk_new(&(struct sim_disk_options){.seed = 1, .latency_ms_max = 2});
    sim_disk_run(z.disk, z.now);
    start();
    for (unsigned i = 0; i < STEPS_MAX && z.left > 0; i++) {
        step();
    }
    sim_disk_crash(z.disk);
    node_abandon(z.node);
    sim_disk_free(z.disk);
    return 0;
}
