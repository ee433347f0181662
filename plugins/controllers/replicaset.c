/* replicaset.c - replica sets and replication controllers: two descriptions of one mechanism. */
#include "plugins/controllers/conf.h"
#include "plugins/controllers/replicas.h"

static const struct replicas_kind replicaset_kind = {
    .controller = "replicaset-controller",
    .type = SCHEMA_APPS_V1_REPLICA_SET,
    .watch = WATCH_REPLICASETS,
};

static int replicaset_open(struct controllers *all, struct client term, void **self)
{
    return replicas_open(all, term, &replicaset_kind, all->conf->concurrent_replicaset_syncs, self);
}

const struct controller replicaset_controller = {
    .name = "replicaset-controller", .open = replicaset_open, .close = replicas_close};

static const struct replicas_kind replication_kind = {
    .controller = "replication-controller",
    .type = SCHEMA_CORE_V1_REPLICATION_CONTROLLER,
    .watch = WATCH_REPLICATION_CONTROLLERS,
};

static int replication_open(struct controllers *all, struct client term, void **self)
{
    return replicas_open(all, term, &replication_kind, all->conf->concurrent_rc_syncs, self);
}

const struct controller replication_controller = {
    .name = "replicationcontroller-controller", .open = replication_open, .close = replicas_close};
