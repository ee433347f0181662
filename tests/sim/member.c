/* member.c - one simulated member: node and store, and the queue between their two loops.
 *
 * It does what kvd/serve does in the real process, on virtual time: committed entries wait in a
 * queue for the store side, the checkpoint "thread" runs late, snapshots are fetched out of band. A
 * crash drops everything that was not durable: the node and the memtable are simply abandoned. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "proto/codec.h"
#include "proto/etcd/kv.pb-c.h"
#include "tests/sim/plane.h"
#include "tests/sim/plugins.h"

enum {
    TICK_MS = 50,
    SLICES_PER_STEP = 4,
    FETCH_GIVE_UP_MS = 4000,
    TRAILING_ENTRIES = 20,
    TRAILING_BYTES = 64 * 1024,
    SNAPSHOT_ENTRIES = 40,
    SEGMENT_BYTES = 32 * 1024
};

bool member_running(const struct member *m)
{
    return m->alive && m->paused_until_ms <= m->world->now_ms;
}

bool member_decides_alone(const struct member *m)
{
    return node_decides_alone(m->node) && m->role == NODE_LEADER &&
           kv_applied_index(m->kv) >= m->lead_index;
}

void member_init(struct world *w, unsigned number)
{
    struct member *m = &w->members[number];
    memset(m, 0, sizeof(*m));
    m->world = w;
    m->number = number;
    snprintf(m->dir, sizeof(m->dir), "%s/m%u", w->dir, number);
    snprintf(m->address, sizeof(m->address), "member-%u", number);
    mkdir(m->dir, 0700);
    struct sim_disk_options disk = {.seed = rand_u64(&w->rand),
                                    .latency_ms_max = 8,
                                    .slow_chance = 0.05,
                                    .slow_ms_max = w->options.seed % 2 ? 400 : 60};
    m->disk = sim_disk_new(&disk);
    list_init(&m->deliveries);
    list_init(&m->ops);
}

/* ---- callbacks of the node ----------------------------------------------------------------------
 */

static void deliver(struct member *m, int kind, uint64_t index, uint64_t term, struct slice bytes)
{
    struct delivery *d = mem_xzalloc(sizeof(*d) + bytes.len);
    d->kind = kind;
    d->index = index;
    d->term = term;
    d->len = bytes.len;
    if (bytes.len > 0) {
        memcpy(d->bytes, bytes.data, bytes.len);
    }
    list_push_back(&m->deliveries, &d->link);
}

static void on_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
    struct member *m = data;
    m->committed_index = index;
    deliver(m, DELIVER_COMMIT, index, term, payload);
}

static void on_configuration(void *data, uint64_t index, struct slice encoded)
{
    deliver(data, DELIVER_CONFIGURATION, index, 0, encoded);
}

static void on_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
    struct member *m = data;
    (void)leader;
    if (role == NODE_LEADER && m->role != NODE_LEADER) {
        m->world->counts.leaders++;
        m->lead_index = m->committed_index;
    }
    m->role = role;
    m->term = term;
    if (m->plugins != NULL) {
        deliver(m, DELIVER_ROLE, role, term, slice_of(NULL, 0));
    }
}

static void on_dropped(void *data, uint64_t first, uint64_t last, int err)
{
    struct member *m = data;
    client_dropped(m, first, last, err);
    if (m->plugins != NULL) {
        sim_service_dropped(&m->plugins->service, first, last, err);
    }
}

static void on_snapshot_fetch(void *data, uint64_t from, const char *address, uint64_t index)
{
    struct member *m = data;
    struct world *w = m->world;
    (void)address;
    m->fetching = true;
    m->fetched = false;
    m->fetch_from = (unsigned)from;
    m->fetch_index = index;
    m->fetch_ms = w->now_ms + 20 + rand_below(&w->rand, 1500);
    m->fetch_give_up_ms = m->fetch_ms + FETCH_GIVE_UP_MS;
}

static void on_snapshot_install(void *data)
{
    deliver(data, DELIVER_INSTALL, 0, 0, slice_of(NULL, 0));
}

static void on_fatal(void *data, const char *why)
{
    struct member *m = data;
    /* With no room for term and vote the process ends, and its supervisor starts it again. */
    if (m->world->disk_full_phase && m->world->faults) {
        m->fatal = true;
        return;
    }
    history_fail(&m->world->history, "member %u: node reports fatal: %s", m->number, why);
}

static uint64_t world_now(void *data)
{
    return ((struct world *)data)->now_ms;
}

static void on_frame(void *data, uint64_t from, struct slice frame)
{
    struct member *m = data;
    if (m->alive && !m->stopping) {
        node_receive(m->node, from, frame);
    }
}

/* ---- watching our own store
 * ---------------------------------------------------------------------- */

static bool on_events(void *data, void *watcher_data, int64_t revision,
                      const struct watch_event *events, size_t count)
{
    struct member *m = data;
    struct world *w = m->world;
    (void)watcher_data;
    /* A full queue now and then: the watcher must come back without loss. */
    if (w->faults && rand_chance(&w->rand, 0.02)) {
        return false;
    }
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < count; i++) {
        struct slice input = blob_slice(events[i].body);
        struct wire_field field;
        Mvccpb__Event *event = NULL;
        if (wire_next(&input, &field) != 1 || field.number != 11 ||
            codec_decode(&mvccpb__event__descriptor, field.bytes, &arena, (void **)&event) != 0 ||
            event->kv == NULL) {
            history_fail(&w->history, "member %u: undecodable watch event", m->number);
            break;
        }
        struct slice key = slice_of(event->kv->key.data, event->kv->key.len);
        struct slice value = slice_of(event->kv->value.data, event->kv->value.len);
        bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
        struct history_event e = {.revision = event->kv->mod_revision,
                                  .key = client_parse_key(key)};
        if (e.key >= PLUGIN_KEYS_END && w->plane != NULL) {
            e = plane_history_event(key, value, deleted, e.revision);
            if (m->watch_at == w->history.event_count) {
                plane_model_event(w->plane, key, value, deleted, e.revision);
            }
        } else if (!deleted) {
            e.value = plugin_is_key(e.key) ? plugin_parse_value(e.key, value, event->kv->lease)
                                           : client_parse_value(value);
        }
        if (e.revision != events[i].revision || e.revision > revision) {
            history_fail(&w->history, "member %u: event revision %lld announced as %lld", m->number,
                         (long long)e.revision, (long long)events[i].revision);
        }
        if (i == 0 && e.revision <= m->watch_revision) {
            history_fail(&w->history, "member %u: revision %lld was delivered already (at %lld)",
                         m->number, (long long)e.revision, (long long)m->watch_revision);
        }
        history_report(&w->history, &m->watch_at, &e, m->number);
        m->watch_revision = e.revision;
        w->counts.watch_events++;
    }
    arena_close(&arena);
    return true;
}

static void watch_from(struct member *m, int64_t revision);

static void on_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    struct member *m = data;
    (void)watcher_data;
    /* Overtaken: start again where history still is. The member's own state may be behind the
     * history (it is a follower): positions are found by revision. */
    if (compact_revision <= m->watch_revision + 1) {
        history_fail(&m->world->history,
                     "member %u: watcher at %lld was cancelled by compaction at %lld", m->number,
                     (long long)m->watch_revision, (long long)compact_revision);
    }
    m->watcher = NULL;
    m->watch_revision = compact_revision - 1;
}

static const struct watch_sink SINK = {.events = on_events, .compacted = on_compacted};

static void watch_from(struct member *m, int64_t revision)
{
    struct watch_options options = {
        .key = slice_of("\0", 1), .range_end = slice_of("\0", 1), .start_revision = revision};
    m->watch_at = history_position(&m->world->history, revision);
    m->watcher = kv_watch(m->kv, &options, &SINK, m, NULL);
    if (m->watcher == NULL) {
        history_fail(&m->world->history, "member %u: out of memory", m->number);
    }
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

static void on_result(void *data, uint64_t number, int err, int64_t revision, struct slice body)
{
    struct member *m = data;
    client_result(m, number, err, revision, body);
    if (m->plugins != NULL) {
        sim_service_result(&m->plugins->service, number, err, revision, body);
    }
}

static int commit_fault(void *data)
{
    struct member *m = data;
    return m->world->faults && rand_chance(&m->world->rand, 0.02) ? 28 /* ENOSPC */ : 0;
}

void member_start(struct member *m, bool founding)
{
    struct world *w = m->world;
    struct errmsg e = {""};
    struct kv_options options = {
        .store = {.dir = m->dir,
                  .map_bytes = (size_t)1 << 30,
                  .unsafe_no_fsync = true,
                  .commit_fault = commit_fault,
                  .fault_data = m},
        .member_id = m->number,
        .incarnation = m->incarnation = rand_u64(&w->rand),
        .alarm_self_clearing = true,
        .data = m,
        .result = on_result,
    };
    if (kv_open(&options, &m->kv, &e) != 0) {
        history_fail(&w->history, "member %u: kv_open: %s", m->number, e.text);
        return;
    }
    m->exists = true;
    m->fatal = false;
    m->next_number = 1;
    m->role = NODE_FOLLOWER;
    m->term = 0;
    m->fetching = m->fetched = m->install_wanted = m->changing = false;
    m->checkpoint_ms = 0;
    m->seal_ms = w->now_ms + 200 + rand_below(&w->rand, 3000);
    m->next_tick_ms = w->now_ms + rand_below(&w->rand, TICK_MS);
    struct store_meta meta;
    store_checkpoint_meta(kv_store(m->kv), &meta);
    if (meta.revision > m->watch_revision + 1 && m->watch_revision == 0) {
        m->watch_revision = 1;
    }
    struct node_transport *transport = sim_net_attach(w->net, m->number, on_frame, m);
    struct rand *jitter = mem_xzalloc(sizeof(*jitter));
    rand_init(jitter, rand_u64(&w->rand));
    struct node_options node = {
        .id = m->number,
        .address = m->address,
        .disk = m->disk,
        .transport = transport,
        .callbacks = {m, on_commit, on_configuration, on_role, on_dropped, on_snapshot_fetch,
                      on_snapshot_install, on_fatal},
        .now_ms = world_now,
        .clock_data = w,
        .rand = jitter,
        .heartbeat_ms = 100,
        .election_ms = 1000,
        .incarnation = m->incarnation,
        .applied_index = meta.applied_index,
        .applied_term = meta.applied_term,
        .configuration_index = meta.configuration_index,
        .configuration = meta.configuration,
        .trailing_bytes = TRAILING_BYTES,
        .trailing_entries = TRAILING_ENTRIES,
        .snapshot_entries = SNAPSHOT_ENTRIES,
        .segment_bytes = SEGMENT_BYTES,
    };
    if (founding) {
        struct node_member founders[SIM_MEMBERS_MAX];
        for (unsigned i = 0; i < w->options.members; i++) {
            founders[i] = (struct node_member){i + 1, w->members[i + 1].address, NODE_VOTER};
        }
        if (node_bootstrap(&node, founders, w->options.members, &e) != 0) {
            history_fail(&w->history, "member %u: node_bootstrap: %s", m->number, e.text);
            return;
        }
    }
    m->alive = true;
    if (w->options.plugins || w->options.plane) {
        plugins_start(m);
    }
    if (node_start(&node, &m->node, &e) != 0) {
        history_fail(&w->history, "member %u: node_start: %s", m->number, e.text);
        m->alive = false;
        return;
    }
    /* What this member already showed its watchers is not shown again. */
    watch_from(m, m->watch_revision + 1 > 2 ? m->watch_revision + 1 : 2);
}

static void drop_deliveries(struct member *m)
{
    struct list *link;
    while ((link = list_pop_front(&m->deliveries)) != NULL) {
        mem_free(LIST_ENTRY(link, struct delivery, link));
    }
    mem_free(m->applying);
    m->applying = NULL;
}

static void abandon(struct member *m, uint64_t restart_ms)
{
    sim_net_detach(m->world->net, m->number);
    m->alive = false;
    m->stopping = false;
    m->changing = false;
    m->restart_ms = restart_ms;
    client_abandon(m);
    drop_deliveries(m);
    m->leaving = false;
    if (m->plugins != NULL) {
        plugins_abandon(m);
    }
    if (m->watcher != NULL) {
        kv_watch_cancel(m->kv, m->watcher);
        m->watcher = NULL;
    }
    kv_close(m->kv);
    m->kv = NULL;
    m->node = NULL;
}

void member_crash(struct member *m, bool power_cut, uint64_t restart_ms)
{
    struct world *w = m->world;
    /* A checkpoint under way may have become durable without anybody having heard of it. */
    int err = 0;
    if (m->checkpoint_ms != 0 && rand_chance(&w->rand, 0.5)) {
        kv_checkpoint_step(m->kv, &err);
    }
    if (power_cut) {
        w->counts.power_cuts++;
        sim_disk_crash(m->disk);
    } else {
        w->counts.crashes++;
        sim_disk_kill(m->disk);
    }
    node_abandon(m->node);
    abandon(m, restart_ms);
}

static void on_stopped(void *data)
{
    struct member *m = data;
    if (m->alive && m->stopping) {
        m->node = NULL;
        abandon(m, m->restart_ms);
    }
}

static void close_node(struct member *m)
{
    m->leaving = false;
    m->stopping = true;
    node_close(m->node, on_stopped, m);
}

void member_stop(struct member *m, uint64_t restart_ms)
{
    m->restart_ms = restart_ms;
    if (m->plugins == NULL) {
        close_node(m);
    } else {
        m->leaving = true;
        plugins_stop(m);
    }
}

/* ---- the store side
 * ------------------------------------------------------------------------------ */

static void incoming_path(const struct member *m, char *out, size_t size)
{
    snprintf(out, size, "%s/incoming", m->dir);
}

static void install(struct member *m)
{
    struct errmsg e = {""};
    char path[256];
    incoming_path(m, path, sizeof(path));
    int err = kv_install(m->kv, path, &e);
    if (err != 0) {
        history_fail(&m->world->history, "member %u: kv_install: %s", m->number, e.text);
        return;
    }
    m->world->counts.installs++;
    m->fetching = m->fetched = false;
    history_applied(&m->world->history, kv_applied_index(m->kv), kv_running_hash(m->kv), m->number);
    node_snapshot_installed(m->node);
}

static void entry_done(struct member *m)
{
    struct world *w = m->world;
    history_applied(&w->history, m->applying->index, kv_running_hash(m->kv), m->number);
    if (w->plugin_model != NULL) {
        plugin_model_applied(w->plugin_model, m->applying->index,
                             slice_of(m->applying->bytes, m->applying->len), kv_revision(m->kv),
                             w->now_ms);
    }
    mem_free(m->applying);
    m->applying = NULL;
}

/* One slice of store work; false when there is none. */
static bool store_slice(struct member *m)
{
    if (m->applying != NULL) {
        if (kv_apply_step(m->kv) == KV_DONE) {
            entry_done(m);
        }
        return true;
    }
    if (m->deliveries.next == &m->deliveries) {
        return false;
    }
    struct delivery *d = LIST_ENTRY(m->deliveries.next, struct delivery, link);
    if (d->kind == DELIVER_INSTALL && m->checkpoint_ms != 0) {
        return false; /* the checkpoint thread must be idle */
    }
    list_remove(&d->link);
    switch (d->kind) {
    case DELIVER_COMMIT:
        m->applying = d;
        kv_apply_begin(m->kv, d->index, d->term, slice_of(d->bytes, d->len));
        return true;
    case DELIVER_CONFIGURATION:
        kv_set_configuration(m->kv, d->index, slice_of(d->bytes, d->len));
        break;
    case DELIVER_INSTALL:
        install(m);
        break;
    case DELIVER_ROLE:
        plugins_role(m, d->index == NODE_LEADER, d->term);
        break;
    }
    mem_free(d);
    return true;
}

static void checkpoint_step(struct member *m)
{
    struct world *w = m->world;
    if (m->checkpoint_ms == 0) {
        bool due = w->now_ms >= m->seal_ms;
        if (!kv_applying(m->kv) && kv_seal(m->kv, 24 * 1024, due)) {
            m->checkpoint_ms = w->now_ms + 1 + rand_below(&w->rand, 200);
        }
        if (due) {
            m->seal_ms = w->now_ms + 200 + rand_below(&w->rand, 3000);
        }
        return;
    }
    if (w->now_ms < m->checkpoint_ms) {
        return;
    }
    int err = 0;
    enum kv_progress progress = kv_checkpoint_step(m->kv, &err);
    if (err != 0 && err != ERR_NO_SPACE) {
        history_fail(&w->history, "member %u: checkpoint: %s", m->number, err_name(err));
    }
    w->counts.checkpoints++;
    node_durable(m->node, store_durable_index(kv_store(m->kv)));
    bool again = progress == KV_MORE || err == ERR_NO_SPACE;
    m->checkpoint_ms = again ? w->now_ms + 1 + rand_below(&w->rand, 30) : 0;
}

/* The source of a snapshot makes a checkpoint that is new enough, then the copy is taken. */
static void fetch_step(struct member *m)
{
    struct world *w = m->world;
    if (!m->fetching || m->fetched || w->now_ms < m->fetch_ms) {
        return;
    }
    struct member *from = &w->members[m->fetch_from];
    bool reachable = m->fetch_from >= 1 && m->fetch_from <= SIM_MEMBERS_MAX &&
                     member_running(from) && !w->cut[m->fetch_from][m->number];
    char path[256];
    incoming_path(m, path, sizeof(path));
    if (reachable && store_durable_index(kv_store(from->kv)) >= m->fetch_index) {
        struct store_meta meta;
        struct buf configuration;
        buf_init(&configuration);
        unlink(path);
        int err = store_copy(kv_store(from->kv), path, &meta, &configuration);
        if (err == 0) {
            m->fetched = true;
            node_snapshot_ready(m->node, meta.applied_index, meta.applied_term,
                                meta.configuration_index, buf_slice(&configuration));
        } else {
            history_fail(&w->history, "member %u: store_copy: %s", from->number, err_name(err));
        }
        buf_close(&configuration);
        return;
    }
    if (reachable && from->checkpoint_ms == 0 && !kv_applying(from->kv) &&
        kv_seal(from->kv, 0, true)) {
        from->checkpoint_ms = w->now_ms + 1;
    }
    if (w->now_ms >= m->fetch_give_up_ms) {
        m->fetching = false;
        node_snapshot_failed(m->node);
    }
}

static void watch_step(struct member *m)
{
    struct world *w = m->world;
    if (m->watcher == NULL) {
        watch_from(m, m->watch_revision + 1);
    }
    if (rand_chance(&w->rand, 0.2) || !w->faults) {
        if (m->watcher != NULL) {
            kv_watch_resume(m->kv, m->watcher);
        }
    }
    kv_watch_step(m->kv);
}

static void lessor_step(struct member *m)
{
    struct world *w = m->world;
    bool leader = node_leader_ready(m->node);
    if (leader && !kv_lessor_primary(m->kv)) {
        kv_lessor_promote(m->kv, w->now_ms, 1000);
    } else if (!leader && kv_lessor_primary(m->kv)) {
        kv_lessor_demote(m->kv);
    }
    if (leader && w->now_ms >= m->lessor_ms) {
        m->lessor_ms = w->now_ms + 500;
        client_expire_leases(m);
    }
}

void member_step(struct member *m)
{
    struct world *w = m->world;
    if (!m->alive) {
        if (m->exists && !m->removed && w->now_ms >= m->restart_ms) {
            member_start(m, false);
        }
        return;
    }
    if (m->fatal) {
        member_crash(m, false, w->now_ms + 500);
        return;
    }
    if (m->paused_until_ms > w->now_ms) {
        return;
    }
    sim_disk_run(m->disk, w->now_ms);
    if (!m->alive) {
        return; /* the graceful stop has just completed */
    }
    if (w->now_ms >= m->next_tick_ms) {
        m->next_tick_ms = w->now_ms + TICK_MS;
        node_tick(m->node);
    }
    if (m->alive && !m->stopping && m->store_until_ms <= w->now_ms) {
        /* Requests of plugins may get to the node before the loop hears of what happened to it. */
        bool plugins_first = m->plugins != NULL && rand_chance(&w->rand, 0.5);
        if (plugins_first) {
            plugins_step(m);
        }
        for (unsigned i = 0; i < SLICES_PER_STEP && store_slice(m); i++) {
            /* sliced so that other members' events fall in between */
        }
        client_reads(m);
        if (m->plugins != NULL && !plugins_first) {
            plugins_step(m);
        }
        checkpoint_step(m);
        watch_step(m);
        lessor_step(m);
        fetch_step(m);
    }
    if (m->leaving && m->plugins->host == NULL) {
        close_node(m);
    }
    if (m->node != NULL) {
        node_flush(m->node);
    }
}
