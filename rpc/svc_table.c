/* svc_table.c - every method (contract table 1.1) and every page, one row each. */
#include "rpc/svc_common.h"

#define KV          "etcdserverpb.KV"
#define WATCH       "etcdserverpb.Watch"
#define LEASE       "etcdserverpb.Lease"
#define CLUSTER     "etcdserverpb.Cluster"
#define MAINTENANCE "etcdserverpb.Maintenance"
#define AUTH        "etcdserverpb.Auth"
#define LOCK        "v3lockpb.Lock"
#define ELECTION    "v3electionpb.Election"
#define HEALTH      "grpc.health.v1.Health"
#define PLUGIN      "kvdpb.Plugin"
#define RECORD      "kvdpb.Record"

static void svc_open_server_stream(struct rpc_call *call)
{
    (void)svc_open_stream(call);
}

#define UNARY(service_, method_, message_)                                                         \
    {                                                                                              \
        .service = (service_), .method = (method_), .open = svc_open_unary, .message = (message_), \
        .closed = svc_unary_closed                                                                 \
    }
#define LATER(service_, method_)                                            \
    {                                                                       \
        .service = (service_), .method = (method_), .open = svc_open_unary, \
        .message = svc_unimplemented_message                                \
    }
#define LATER_STREAM(service_, method_)                                      \
    {                                                                        \
        .service = (service_), .method = (method_), .server_streams = true,  \
        .open = svc_open_server_stream, .message = svc_unimplemented_message \
    }

static const struct rpc_method svc_rows[] = {
    UNARY(KV, "Range", svc_kv_range),
    UNARY(KV, "Put", svc_kv_put),
    UNARY(KV, "DeleteRange", svc_kv_delete_range),
    UNARY(KV, "Txn", svc_kv_txn),
    UNARY(KV, "Compact", svc_kv_compact),
    {.service = KV,
     .method = "RangeStream",
     .server_streams = true,
     .open = svc_open_server_stream,
     .message = svc_range_stream_message,
     .writable = svc_range_stream_writable,
     .closed = svc_range_stream_closed},
    {.service = WATCH,
     .method = "Watch",
     .client_streams = true,
     .server_streams = true,
     .open = svc_watch_open,
     .message = svc_watch_message,
     .writable = svc_watch_writable,
     .closed = svc_watch_closed},
    UNARY(LEASE, "LeaseGrant", svc_lease_grant),
    UNARY(LEASE, "LeaseRevoke", svc_lease_revoke),
    UNARY(LEASE, "LeaseTimeToLive", svc_lease_time_to_live),
    UNARY(LEASE, "LeaseLeases", svc_lease_leases),
    {.service = LEASE,
     .method = "LeaseKeepAlive",
     .client_streams = true,
     .server_streams = true,
     .open = svc_keep_alive_open,
     .message = svc_keep_alive_message,
     .half_close = svc_keep_alive_half_close,
     .closed = svc_keep_alive_closed},
    UNARY(CLUSTER, "MemberList", svc_cluster_member_list),
    LATER(CLUSTER, "MemberAdd"),
    LATER(CLUSTER, "MemberRemove"),
    LATER(CLUSTER, "MemberUpdate"),
    LATER(CLUSTER, "MemberPromote"),
    UNARY(MAINTENANCE, "Alarm", svc_maintenance_alarm),
    UNARY(MAINTENANCE, "Status", svc_maintenance_status),
    UNARY(MAINTENANCE, "Defragment", svc_maintenance_defragment),
    UNARY(MAINTENANCE, "Hash", svc_maintenance_hash),
    UNARY(MAINTENANCE, "HashKV", svc_maintenance_hash_kv),
    LATER_STREAM(MAINTENANCE, "Snapshot"),
    LATER(MAINTENANCE, "MoveLeader"),
    LATER(MAINTENANCE, "Downgrade"),
    UNARY(AUTH, "AuthStatus", svc_auth_status),
    LATER(AUTH, "AuthEnable"),
    LATER(AUTH, "AuthDisable"),
    LATER(AUTH, "Authenticate"),
    LATER(AUTH, "UserAdd"),
    LATER(AUTH, "UserGet"),
    LATER(AUTH, "UserList"),
    LATER(AUTH, "UserDelete"),
    LATER(AUTH, "UserChangePassword"),
    LATER(AUTH, "UserGrantRole"),
    LATER(AUTH, "UserRevokeRole"),
    LATER(AUTH, "RoleAdd"),
    LATER(AUTH, "RoleGet"),
    LATER(AUTH, "RoleList"),
    LATER(AUTH, "RoleDelete"),
    LATER(AUTH, "RoleGrantPermission"),
    LATER(AUTH, "RoleRevokePermission"),
    LATER(LOCK, "Lock"),
    LATER(LOCK, "Unlock"),
    LATER(ELECTION, "Campaign"),
    LATER(ELECTION, "Proclaim"),
    LATER(ELECTION, "Resign"),
    LATER(ELECTION, "Leader"),
    LATER_STREAM(ELECTION, "Observe"),
    UNARY(HEALTH, "Check", svc_health_check),
    UNARY(HEALTH, "List", svc_health_list),
    {.service = HEALTH,
     .method = "Watch",
     .server_streams = true,
     .open = svc_health_watch_open,
     .message = svc_health_watch_message,
     .closed = svc_health_watch_closed},
    UNARY(PLUGIN, "List", svc_plugin_list),
    UNARY(PLUGIN, "Describe", svc_plugin_describe),
    UNARY(PLUGIN, "Top", svc_plugin_top),
    UNARY(PLUGIN, "Config", svc_plugin_config),
    UNARY(PLUGIN, "Reload", svc_plugin_reload),
    UNARY(PLUGIN, "Enable", svc_plugin_enable),
    UNARY(PLUGIN, "Disable", svc_plugin_disable),
    UNARY(RECORD, "Origin", svc_record_origin),
    {.service = NULL},
};

_Static_assert(sizeof(svc_rows) / sizeof(svc_rows[0]) <= SVC_METHODS_MAX, "raise SVC_METHODS_MAX");

const struct rpc_method *svc_methods(void)
{
    return svc_rows;
}

static const struct http_route svc_pages[] = {
    {.path = "/health", .methods = {"GET"}, .handler = http_health},
    {.path = "/livez", .methods = {"GET"}, .handler = http_livez},
    {.path = "/livez/", .prefix = true, .methods = {"GET"}, .handler = http_livez},
    {.path = "/readyz", .methods = {"GET"}, .handler = http_readyz},
    {.path = "/readyz/", .prefix = true, .methods = {"GET"}, .handler = http_readyz},
    {.path = "/version", .methods = {"GET"}, .handler = http_version},
    {.path = "/metrics", .methods = {"GET"}, .handler = http_metrics},
    {.path = "/debug/vars", .methods = {"GET"}, .handler = http_debug_vars},
    {.path = NULL},
};

const struct http_route *svc_routes(void)
{
    return svc_pages;
}
