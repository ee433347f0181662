/* cmd_lease.c - kvctl lease grant, revoke, timetolive, list, keep-alive. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "proto/codec.h"

const struct arg_option cmd_time_to_live_options[] = {
    {"keys", 0, ARG_BOOL, "", "print also the keys attached to it"},
    {0},
};

const struct arg_option cmd_keep_alive_options[] = {
    {"once", 0, ARG_BOOL, "", "renew it once and end"},
    {0},
};

/* The lease id a command wants as its only word. */
static int lease_id(struct cli *cli, int64_t *id)
{
    if (cli->args.word_count != 1) {
        return cli_usage(cli, "%s takes one lease id", cli->command->name);
    }
    if (!cli_hex_id(cli->args.words[0], id)) {
        return cli_usage(cli,
                         "bad lease id \"%s\": give it in hexadecimal, as `lease grant` prints it",
                         cli->args.words[0]);
    }
    return cli_no_table(cli);
}

int cmd_lease_grant(struct cli *cli)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    void *response = NULL;
    if (cli->args.word_count != 1 || !cli_decimal(cli->args.words[0], &request.ttl)) {
        return cli_usage(cli, "lease grant takes a time to live in whole seconds");
    }
    int rc = cli_no_table(cli);
    if (rc == 0) {
        rc = cli_call(cli, CLIENT_LEASE_GRANT, &request, &response);
    }
    if (rc == 0) {
        output_lease_grant(&cli->output, response, &cli->out);
    }
    return rc;
}

int cmd_lease_revoke(struct cli *cli)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    void *response = NULL;
    int rc = lease_id(cli, &request.id);
    if (rc == 0) {
        rc = cli_call(cli, CLIENT_LEASE_REVOKE, &request, &response);
    }
    if (rc == 0) {
        output_lease_revoke(&cli->output, request.id, response, &cli->out);
    }
    return rc;
}

int cmd_lease_time_to_live(struct cli *cli)
{
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    void *response = NULL;
    int rc = lease_id(cli, &request.id);
    request.keys = args_bool(&cli->args, "keys");
    if (rc == 0) {
        rc = cli_call(cli, CLIENT_LEASE_TIME_TO_LIVE, &request, &response);
    }
    if (rc == 0) {
        output_lease_time_to_live(&cli->output, response, request.keys, &cli->out);
    }
    return rc;
}

int cmd_lease_list(struct cli *cli)
{
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    void *response = NULL;
    if (cli->args.word_count != 0) {
        return cli_usage(cli, "lease list takes no arguments");
    }
    int rc = cli_no_table(cli);
    if (rc == 0) {
        rc = cli_call(cli, CLIENT_LEASE_LEASES, &request, &response);
    }
    if (rc == 0) {
        output_lease_list(&cli->output, response, &cli->out);
    }
    return rc;
}

/* ---- keep-alive
 * ------------------------------------------------------------------------------------ */

/* Between two attempts to connect again. */
#define LEASE_RETRY_MS 200
/* Renewed at least so often, whatever time to live the server names. */
#define LEASE_TTL_SECONDS_MAX 86400

/* What one stream ended with, beside exit codes. */
#define LEASE_LOST (-1)

/* The stream ended or is silent. A lease outlives its server's restart, so only --once gives up. */
static int lease_lost(struct cli *cli, const struct conn_call *call, bool timeout)
{
    struct errmsg e = {""};
    if (timeout) {
        errmsg_set(&e, ERR_DEADLINE, "%s", err_text(ERR_DEADLINE));
    } else {
        client_say(call, &e);
    }
    if (args_bool(&cli->args, "once") || (!timeout && conn_call_code(call) != GRPC_UNAVAILABLE)) {
        return cli_fail(cli, CLI_FAILURE, "%s", e.text);
    }
    fprintf(stderr, "%s; connecting again\n", e.text);
    return LEASE_LOST;
}

/* One renewal on the stream. 0 with *ttl, LEASE_LOST, or an exit code (printed). */
static int lease_renew(struct cli *cli, struct conn_call *call, int64_t id, int64_t *ttl)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    Etcdserverpb__LeaseKeepAliveResponse *response = NULL;
    uint64_t timeout_ms = cli->client_options.command_timeout_ms;
    struct slice message = {0};
    struct buf encoded;
    struct arena arena;
    buf_init(&encoded);
    request.id = id;
    bool sent =
        codec_encode(&request, &encoded) && conn_call_send(call, buf_slice(&encoded), false);
    buf_close(&encoded);
    if (!sent) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    uint64_t deadline_ms = timeout_ms > 0 ? clock_mono_ms() + timeout_ms : CONN_NEVER;
    enum conn_result result = conn_call_next(call, deadline_ms, &message);
    if (result != CONN_MESSAGE) {
        return lease_lost(cli, call, result == CONN_TIMEOUT);
    }
    arena_init(&arena, 0);
    int rc = 0;
    if (codec_decode(&etcdserverpb__lease_keep_alive_response__descriptor, message, &arena,
                     (void **)&response) != 0) {
        rc = cli_fail(cli, CLI_FAILURE, "the server sent an answer that cannot be read");
    } else {
        *ttl = response->ttl;
        if (*ttl > 0) {
            output_lease_keep_alive(&cli->output, response, &cli->out);
        }
        rc = cli_flush(cli);
    }
    arena_close(&arena);
    return rc;
}

/* Waits between renewals with an ear to the stream: 0 = time for the next one. */
static int lease_wait(struct cli *cli, struct conn_call *call, uint64_t ms)
{
    struct slice message = {0};
    switch (conn_call_next(call, clock_mono_ms() + ms, &message)) {
    case CONN_TIMEOUT:
        return 0;
    case CONN_MESSAGE:
        return cli_fail(cli, CLI_FAILURE, "the server sent an answer that was not asked for");
    default:
        return lease_lost(cli, call, false);
    }
}

/* Renews on one stream until the lease is gone (0), or LEASE_LOST, or an exit code (printed). */
static int lease_keep(struct cli *cli, struct conn_call *call, int64_t id, bool once)
{
    for (;;) {
        int64_t ttl = 0;
        int rc = lease_renew(cli, call, id, &ttl);
        if (rc != 0) {
            return rc;
        }
        if (ttl <= 0 && once) {
            return cli_fail(cli, CLI_FAILURE, "%s", err_text(ERR_LEASE_NOT_FOUND));
        }
        if (ttl <= 0) {
            if (cli->output.form == OUTPUT_SIMPLE) {
                buf_printf(&cli->out, "lease %016" PRIx64 " expired or revoked.\n", (uint64_t)id);
            }
            return 0;
        }
        if (once) {
            return 0;
        }
        /* Three chances within each time to live, as Go's client has. */
        ttl = ttl > LEASE_TTL_SECONDS_MAX ? LEASE_TTL_SECONDS_MAX : ttl;
        rc = lease_wait(cli, call, (uint64_t)ttl * 1000 / 3);
        if (rc != 0) {
            return rc;
        }
    }
}

int cmd_lease_keep_alive(struct cli *cli)
{
    const struct conn_call_options options = {.path = "/etcdserverpb.Lease/LeaseKeepAlive",
                                              .message_bytes_max =
                                                  cli->client_options.message_bytes_max,
                                              .require_leader = true};
    struct errmsg e = {""};
    int64_t id = 0;
    int rc = lease_id(cli, &id);
    if (rc != 0) {
        return rc;
    }
    if (client_connect(&cli->client, &e) != 0) {
        return cli_fail(cli, CLI_FAILURE, "%s", e.text);
    }
    for (;;) {
        struct conn_call *call = conn_call_start(cli->client.conn, &options);
        if (call == NULL) {
            return cli_fail(cli, CLI_FAILURE, "out of memory");
        }
        rc = lease_keep(cli, call, id, args_bool(&cli->args, "once"));
        conn_call_end(call);
        if (rc != LEASE_LOST) {
            return rc;
        }
        client_drop(&cli->client);
        do {
            (void)poll(NULL, 0, LEASE_RETRY_MS);
        } while (client_connect(&cli->client, &e) != 0);
    }
}
