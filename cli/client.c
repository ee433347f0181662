/* client.c - calls to a cluster; see client.h. */
#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/gosyntax.h"
#include "proto/codec.h"
#include "proto/etcd/rpc.pb-c.h"
#include "proto/kvd/plugin.pb-c.h"
#include "proto/kvd/record.pb-c.h"

/* Between two rounds over all endpoints while none of them takes a connection. */
#define CLIENT_RETRY_MS 50
/* For one of several endpoints, where all together may take for ever. */
#define CLIENT_SHARE_MS 2000

#define ROW(id, service, name, message, again) \
    [id] = {"/etcdserverpb." service "/" name, &etcdserverpb__##message##__descriptor, again}

#define PLUGIN(id, name, message, again) \
    [id] = {"/kvdpb.Plugin/" name, &kvdpb__plugin_##message##_response__descriptor, again}

static const struct client_method client_methods[CLIENT_CALL_COUNT_] = {
    ROW(CLIENT_RANGE, "KV", "Range", range_response, true),
    ROW(CLIENT_PUT, "KV", "Put", put_response, false),
    ROW(CLIENT_DELETE_RANGE, "KV", "DeleteRange", delete_range_response, false),
    ROW(CLIENT_TXN, "KV", "Txn", txn_response, false),
    ROW(CLIENT_COMPACT, "KV", "Compact", compaction_response, false),
    ROW(CLIENT_LEASE_GRANT, "Lease", "LeaseGrant", lease_grant_response, false),
    ROW(CLIENT_LEASE_REVOKE, "Lease", "LeaseRevoke", lease_revoke_response, false),
    ROW(CLIENT_LEASE_TIME_TO_LIVE, "Lease", "LeaseTimeToLive", lease_time_to_live_response, true),
    ROW(CLIENT_LEASE_LEASES, "Lease", "LeaseLeases", lease_leases_response, true),
    ROW(CLIENT_MEMBER_LIST, "Cluster", "MemberList", member_list_response, true),
    ROW(CLIENT_ALARM_LIST, "Maintenance", "Alarm", alarm_response, true),
    ROW(CLIENT_ALARM_CHANGE, "Maintenance", "Alarm", alarm_response, false),
    ROW(CLIENT_STATUS, "Maintenance", "Status", status_response, true),
    ROW(CLIENT_HASH_KV, "Maintenance", "HashKV", hash_kvresponse, true),
    ROW(CLIENT_DEFRAGMENT, "Maintenance", "Defragment", defragment_response, false),
    PLUGIN(CLIENT_PLUGIN_LIST, "List", list, true),
    PLUGIN(CLIENT_PLUGIN_DESCRIBE, "Describe", describe, true),
    PLUGIN(CLIENT_PLUGIN_TOP, "Top", top, true),
    PLUGIN(CLIENT_PLUGIN_CONFIG, "Config", config, true),
    PLUGIN(CLIENT_PLUGIN_RELOAD, "Reload", change, false),
    PLUGIN(CLIENT_PLUGIN_ENABLE, "Enable", change, false),
    PLUGIN(CLIENT_PLUGIN_DISABLE, "Disable", change, false),
    [CLIENT_RECORD_ORIGIN] = {"/kvdpb.Record/Origin", &kvdpb__origin_response__descriptor, true},
};

const struct client_method *client_method(enum client_call_id id)
{
    return &client_methods[id];
}

void client_init(struct client *c, const struct client_options *options)
{
    *c = (struct client){.options = *options};
}

void client_drop(struct client *c)
{
    if (c->conn != NULL) {
        conn_close(c->conn);
        c->conn = NULL;
        c->next = (c->next + 1) % c->options.endpoint_count;
    }
}

void client_close(struct client *c)
{
    conn_close(c->conn);
    c->conn = NULL;
}

/* Until when one endpoint may take: one that swallows everything must leave time for the others. */
static uint64_t client_share(uint64_t deadline_ms, size_t endpoints)
{
    uint64_t now = clock_mono_ms();
    if (deadline_ms == CONN_NEVER) {
        return endpoints == 1 ? CONN_NEVER : now + CLIENT_SHARE_MS;
    }
    return now + (now < deadline_ms ? deadline_ms - now : 0) / endpoints;
}

/* One round over all endpoints. e has what the last one said. */
static int client_connect_round(struct client *c, uint64_t deadline_ms, struct errmsg *e)
{
    int err = ERR_INVALID;
    for (size_t i = 0; i < c->options.endpoint_count; i++) {
        err = conn_open(c->options.endpoints[c->next],
                        client_share(deadline_ms, c->options.endpoint_count - i), &c->conn, e);
        if (err == 0) {
            return 0;
        }
        if (err == ERR_INVALID || err == ERR_NOMEM) {
            return err;
        }
        c->next = (c->next + 1) % c->options.endpoint_count;
    }
    return err;
}

/* No endpoint was reached; e has what the last one said. */
static int client_say_unreachable(const struct client *c, int err, struct errmsg *e)
{
    struct errmsg last = *e;
    if (c->options.endpoint_count == 1) {
        return errmsg_set(e, err,
                          "cannot connect: %.300s. Is a server running there? --endpoints or "
                          "KVCTL_ENDPOINTS says where to look",
                          last.text);
    }
    return errmsg_set(e, err,
                      "cannot connect to any of %zu endpoints; the last one: %.300s. Is a server "
                      "running there? --endpoints or KVCTL_ENDPOINTS says where to look",
                      c->options.endpoint_count, last.text);
}

int client_connect(struct client *c, struct errmsg *e)
{
    uint64_t deadline_ms =
        c->options.dial_timeout_ms > 0 ? clock_mono_ms() + c->options.dial_timeout_ms : CONN_NEVER;
    if (c->conn != NULL && conn_alive(c->conn)) {
        return 0;
    }
    client_drop(c);
    if (c->options.endpoint_count == 0) {
        return errmsg_set(e, ERR_INVALID, "no endpoints: set --endpoints host:port");
    }
    for (;;) {
        int err = client_connect_round(c, deadline_ms, e);
        if (err == 0) {
            return 0;
        }
        if (err == ERR_INVALID || err == ERR_NOMEM) {
            return errmsg_wrap(e, err, "cannot connect");
        }
        if (deadline_ms != CONN_NEVER && clock_mono_ms() + CLIENT_RETRY_MS >= deadline_ms) {
            return client_say_unreachable(c, err, e);
        }
        /* A server that is just starting refuses connections for a moment. */
        (void)poll(NULL, 0, CLIENT_RETRY_MS);
    }
}

bool client_is_transient(int code, const char *text)
{
    return code == GRPC_UNAVAILABLE && (strcmp(text, err_text(ERR_NO_LEADER)) == 0 ||
                                        strcmp(text, err_text(ERR_STOPPED)) == 0 ||
                                        strcmp(text, err_text(ERR_LEADER_CHANGED)) == 0);
}

void client_say(const struct conn_call *call, struct errmsg *e)
{
    const char *text = conn_call_text(call);
    struct buf visible;
    buf_init(&visible);
    go_visible(&visible, slice_str(text));
    buf_append_byte(&visible, 0);
    /* Not as it came: a server could write to the terminal what it likes. */
    const char *shown = visible.failed ? "out of memory" : (const char *)visible.data;
    if (!conn_call_answered(call) || strncmp(text, "etcdserver: ", 12) == 0 ||
        strncmp(text, "kvd: ", 5) == 0) {
        errmsg_set(e, ERR_IO, "%s", shown);
    } else {
        errmsg_set(e, ERR_IO, "rpc error: code = %s desc = %s",
                   grpc_code_name(conn_call_code(call)), shown);
    }
    buf_close(&visible);
}

/* A call on the connection there is. *again: the request may go to the next endpoint. */
static int client_call_once(struct client *c, const struct client_method *m, struct slice request,
                            uint64_t deadline_ms, struct arena *arena, void **response, bool *again,
                            struct errmsg *e)
{
    const struct conn_call_options options = {.path = m->path,
                                              .timeout_ms = c->options.command_timeout_ms,
                                              .message_bytes_max = c->options.message_bytes_max};
    struct slice message = {0};
    struct slice answer = {0};
    *again = false;
    struct conn_call *call = conn_call_start(c->conn, &options);
    if (call == NULL || !conn_call_send(call, request, true)) {
        conn_call_end(call);
        errmsg_set(e, ERR_NOMEM, "out of memory");
        return GRPC_RESOURCE_EXHAUSTED;
    }
    enum conn_result result = conn_call_next(call, deadline_ms, &message);
    if (result == CONN_MESSAGE) {
        answer = arena_dup(arena, message);
        result = conn_call_next(call, deadline_ms, &message);
    }
    int code = GRPC_OK;
    /* Both sides watch the same deadline; whichever sees it first, the user reads the same. */
    if (result == CONN_TIMEOUT ||
        (result == CONN_END && conn_call_code(call) == GRPC_DEADLINE_EXCEEDED)) {
        code = GRPC_DEADLINE_EXCEEDED;
        errmsg_set(e, ERR_DEADLINE, "%s: no answer from %s within --command-timeout%s",
                   err_text(ERR_DEADLINE), conn_endpoint(c->conn),
                   m->read ? "" : "; it may have been done all the same");
    } else if (result == CONN_MESSAGE) {
        code = GRPC_INTERNAL;
        errmsg_set(e, ERR_MALFORMED, "%s sent more than one answer", conn_endpoint(c->conn));
    } else if (conn_call_code(call) != GRPC_OK) {
        code = conn_call_code(call);
        client_say(call, e);
        *again =
            conn_call_unsent(call) ||
            (m->read && (client_is_transient(code, conn_call_text(call)) || !conn_alive(c->conn)));
    } else if (answer.data == NULL || codec_decode(m->response, answer, arena, response) != 0) {
        code = GRPC_INTERNAL;
        errmsg_set(e, ERR_MALFORMED, "%s sent an answer that cannot be read",
                   conn_endpoint(c->conn));
    }
    conn_call_end(call);
    return code;
}

int client_call(struct client *c, enum client_call_id id, const void *request, struct arena *arena,
                void **response, struct errmsg *e)
{
    struct buf encoded;
    int code = GRPC_UNAVAILABLE;
    buf_init(&encoded);
    if (!codec_encode(request, &encoded)) {
        errmsg_set(e, ERR_NOMEM, "out of memory");
        code = GRPC_RESOURCE_EXHAUSTED;
        goto out;
    }
    bool again = true;
    /* Each endpoint gets one chance; the time is for all of them. */
    uint64_t deadline_ms = CONN_NEVER;
    for (size_t tries = 0; again && tries < c->options.endpoint_count + 1; tries++) {
        if (client_connect(c, e) != 0) {
            code = GRPC_UNAVAILABLE;
            break;
        }
        if (deadline_ms == CONN_NEVER && c->options.command_timeout_ms > 0) {
            deadline_ms = clock_mono_ms() + c->options.command_timeout_ms;
        }
        code = client_call_once(c, client_method(id), buf_slice(&encoded), deadline_ms, arena,
                                response, &again, e);
        if (again) {
            client_drop(c);
        }
    }
out:
    buf_close(&encoded);
    return code;
}
