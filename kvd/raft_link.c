/* raft_link.c - the seam between the store loop and the raft thread. */
#include "kvd/raft_link.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"

struct link_read {
    struct list link;
    struct raft_loop_read read;
    struct raft_link *owner;
    uint64_t ticket;
};

/* ---- out ---------------------------------------------------------------------------------------
 */

static void link_propose(struct serve_raft *r, struct slice ops, uint64_t first, uint64_t last)
{
    struct raft_link *l = r->impl;
    raft_loop_propose(l->loop, ops, first, last);
}

static void link_on_read(struct raft_loop_read *read, int err, uint64_t index)
{
    struct link_read *x = read->data;
    struct raft_link *l = x->owner;
    uint64_t ticket = x->ticket;
    list_remove(&x->link);
    pool_free(&l->pool, x);
    serve_confirmed(l->serve, ticket, err, index);
}

static bool link_confirm(struct serve_raft *r, uint64_t ticket)
{
    struct raft_link *l = r->impl;
    struct link_read *x = pool_zalloc(&l->pool, sizeof(*x));
    if (x == NULL) {
        return false;
    }
    x->owner = l;
    x->ticket = ticket;
    x->read.data = x;
    x->read.cb = link_on_read;
    list_push_back(&l->reads, &x->link);
    raft_loop_read(l->loop, &x->read);
    return true;
}

static bool link_alone(struct serve_raft *r)
{
    struct raft_link *l = r->impl;
    return l->loop != NULL && raft_loop_alone(l->loop);
}

static void link_durable(struct serve_raft *r, uint64_t index)
{
    struct raft_link *l = r->impl;
    raft_loop_durable(l->loop, index);
}

static void link_flush(struct serve_raft *r)
{
    struct raft_link *l = r->impl;
    if (l->loop != NULL) {
        raft_loop_flush(l->loop);
    }
}

static bool link_drain(struct serve_raft *r, size_t bytes)
{
    struct raft_link *l = r->impl;
    return l->loop != NULL && raft_loop_drain(l->loop, bytes);
}

/* ---- in ----------------------------------------------------------------------------------------
 */

static void link_wake(void *data)
{
    struct raft_link *l = data;
    serve_delivered(l->serve);
}

static bool link_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
    struct raft_link *l = data;
    return serve_commit(l->serve, index, term, payload);
}

static void link_configuration(void *data, uint64_t index, struct slice encoded)
{
    struct raft_link *l = data;
    serve_configuration(l->serve, index, encoded);
}

static void link_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
    static const enum serve_role roles[] = {[NODE_FOLLOWER] = SERVE_FOLLOWER,
                                            [NODE_CANDIDATE] = SERVE_CANDIDATE,
                                            [NODE_LEADER] = SERVE_LEADER,
                                            [NODE_UNAVAILABLE] = SERVE_FOLLOWER};
    static const char *const names[] = {"follower", "candidate", "leader", "unavailable"};
    struct raft_link *l = data;
    LOG(LOG_INFO, "raft role changed", F_STR("role", names[role]), F_UINT("term", term),
        F_HEX("leader", leader));
    serve_role_changed(l->serve, roles[role], term, leader);
}

static void link_dropped(void *data, uint64_t first, uint64_t last, int err)
{
    struct raft_link *l = data;
    serve_dropped(l->serve, first, last, err);
}

static void link_fatal(void *data, const char *why)
{
    struct raft_link *l = data;
    l->fatal(l->data, why);
}

static void link_disk_full(void *data, bool is_full)
{
    struct raft_link *l = data;
    serve_log_full(l->serve, is_full);
}

/* ---- life --------------------------------------------------------------------------------------
 */

void raft_link_init(struct raft_link *l, void (*fatal)(void *data, const char *why), void *data)
{
    *l = (struct raft_link){.fatal = fatal, .data = data};
    l->raft = (struct serve_raft){.impl = l,
                                  .propose = link_propose,
                                  .confirm = link_confirm,
                                  .alone = link_alone,
                                  .durable = link_durable,
                                  .flush = link_flush,
                                  .drain = link_drain};
    pool_init(&l->pool);
    list_init(&l->reads);
}

/* What other members would dial (M-16); a cluster of one has none. */
static void link_address(const struct kvd_config *cfg, char *out, size_t size)
{
    out[0] = '\0';
    if (cfg->advertise_peer.count > 0) {
        const struct kvd_url *u = &cfg->advertise_peer.urls[0];
        snprintf(out, size, "%s:%u", u->host, u->port);
    }
}

int raft_link_start(struct raft_link *l, struct serve *serve,
                    const struct raft_link_options *options, struct errmsg *e)
{
    const struct kvd_config *cfg = options->cfg;
    struct store_meta meta;
    char address[256];
    link_address(cfg, address, sizeof(address));
    l->serve = serve;
    store_checkpoint_meta(kv_store(serve_kv(serve)), &meta);
    struct node_member self = {.id = options->member_id, .address = address, .kind = NODE_VOTER};
    struct raft_loop_options o = {
        .store_loop = options->loop,
        .callbacks = {.data = l,
                      .wake = link_wake,
                      .commit = link_commit,
                      .configuration = link_configuration,
                      .role = link_role,
                      .dropped = link_dropped,
                      .fatal = link_fatal,
                      .disk_full = link_disk_full},
        .dir = options->log_dir,
        .disk_thread = cfg->io_mode == KVD_IO_THREAD,
        .unsafe_no_fsync = cfg->unsafe_no_fsync,
        .id = options->member_id,
        .address = address,
        .initial = options->fresh ? &self : NULL,
        .initial_n = options->fresh ? 1 : 0,
        .heartbeat_ms = cfg->heartbeat_ms,
        .election_ms = cfg->election_ms,
        .incarnation = options->incarnation,
        .applied_index = meta.applied_index,
        .applied_term = meta.applied_term,
        .configuration_index = meta.configuration_index,
        .configuration = meta.configuration,
        .trailing_bytes = cfg->log_trailing_bytes,
        .trailing_entries = cfg->snapshot_catchup_entries,
        .snapshot_entries = cfg->snapshot_entries,
        .segment_bytes = cfg->log_segment_bytes,
    };
    int err = raft_loop_start(&o, &l->loop, e);
    if (err != 0) {
        return err;
    }
    if (cfg->io_mode == KVD_IO_KAIO && strcmp(raft_loop_disk_mode(l->loop), "kaio") != 0) {
        LOG(LOG_WARN, "kernel AIO does not work on this file system; the log uses a thread");
    }
    return 0;
}

void raft_link_stop(struct raft_link *l, void (*cb)(void *data), void *data)
{
    struct raft_loop *loop = l->loop;
    raft_loop_close(loop, cb, data);
}

void raft_link_close(struct raft_link *l)
{
    FATAL_IF(!list_empty(&l->reads), "confirmations outlive the raft thread");
    pool_close(&l->pool);
}
