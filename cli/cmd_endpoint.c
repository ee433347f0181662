/* cmd_endpoint.c - kvctl endpoint status, health, hashkv, and defrag: one answer per endpoint, each
 * over a connection of its own. What one endpoint cannot answer does not keep the others from
 * answering; the exit code says that something was wrong. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/gosyntax.h"
#include "cli/cli.h"

const struct arg_option cmd_endpoint_options[] = {
    {"cluster", 0, ARG_BOOL, "", "all endpoints of the member list instead of --endpoints"},
    {0},
};

const struct arg_option cmd_hash_kv_options[] = {
    {"cluster", 0, ARG_BOOL, "", "all endpoints of the member list instead of --endpoints"},
    {"rev", 0, ARG_INT, "0", "hash up to this revision; 0 = all"},
    {0},
};

int cli_endpoints(struct cli *cli, bool one_per_member, const char *const **list, size_t *count)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    Etcdserverpb__MemberListResponse *members = NULL;
    size_t total = 0;
    *list = cli->client_options.endpoints;
    *count = cli->client_options.endpoint_count;
    if (!args_bool(&cli->args, "cluster")) {
        return 0;
    }
    int rc = cli_call(cli, CLIENT_MEMBER_LIST, &request, (void **)&members);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < members->n_members; i++) {
        total += members->members[i]->n_clienturls;
    }
    const char **urls = arena_alloc(&cli->arena, (total + 1) * sizeof(*urls));
    if (urls == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    *count = 0;
    for (size_t i = 0; i < members->n_members; i++) {
        for (size_t k = 0; k < members->members[i]->n_clienturls; k++) {
            if (k == 0 || !one_per_member) {
                urls[(*count)++] = members->members[i]->clienturls[k];
            }
        }
    }
    *list = urls;
    return 0;
}

/* The endpoints of a command that takes no words. */
static int endpoint_list(struct cli *cli, const char *const **list, size_t *count)
{
    if (cli->args.word_count != 0) {
        return cli_usage(cli, "%s takes no arguments; endpoints are set with --endpoints",
                         cli->command->name);
    }
    return cli_endpoints(cli, false, list, count);
}

int cli_endpoint_call(struct cli *cli, const char *endpoint, enum client_call_id id,
                      const void *request, struct arena *arena, void **response, struct errmsg *e)
{
    struct client client;
    struct client_options options = cli->client_options;
    options.endpoints = &endpoint;
    options.endpoint_count = 1;
    client_init(&client, &options);
    int code = client_call(&client, id, request, arena, response, e);
    client_close(&client);
    return code;
}

static int endpoint_call(struct cli *cli, const char *endpoint, enum client_call_id id,
                         const void *request, void **response, struct errmsg *e)
{
    return cli_endpoint_call(cli, endpoint, id, request, &cli->arena, response, e);
}

int cmd_endpoint_status(struct cli *cli)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const char *const *endpoints = NULL;
    size_t count = 0;
    size_t answered = 0;
    int rc = endpoint_list(cli, &endpoints, &count);
    if (rc != 0) {
        return rc;
    }
    struct output_status *list = arena_alloc(&cli->arena, (count + 1) * sizeof(*list));
    if (list == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        void *response = NULL;
        struct errmsg e = {""};
        if (endpoint_call(cli, endpoints[i], CLIENT_STATUS, &request, &response, &e) != GRPC_OK) {
            fprintf(stderr, "Failed to get the status of endpoint %s (%s)\n", endpoints[i], e.text);
            rc = CLI_FAILURE;
        } else {
            list[answered++] =
                (struct output_status){.endpoint = endpoints[i], .response = response};
        }
    }
    output_statuses(&cli->output, list, answered, &cli->out);
    return rc;
}

int cmd_endpoint_hash_kv(struct cli *cli)
{
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    const char *const *endpoints = NULL;
    size_t count = 0;
    size_t answered = 0;
    int rc = endpoint_list(cli, &endpoints, &count);
    if (rc != 0) {
        return rc;
    }
    struct output_hash *list = arena_alloc(&cli->arena, (count + 1) * sizeof(*list));
    if (list == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    request.revision = args_int(&cli->args, "rev");
    for (size_t i = 0; i < count; i++) {
        void *response = NULL;
        struct errmsg e = {""};
        if (endpoint_call(cli, endpoints[i], CLIENT_HASH_KV, &request, &response, &e) != GRPC_OK) {
            fprintf(stderr, "Failed to get the hash of endpoint %s (%s)\n", endpoints[i], e.text);
            rc = CLI_FAILURE;
        } else {
            list[answered++] = (struct output_hash){.endpoint = endpoints[i], .response = response};
        }
    }
    output_hashes(&cli->output, list, answered, &cli->out);
    return rc;
}

/* ---- health
 * ---------------------------------------------------------------------------------------- */

/* A linearizable read goes through the quorum: who answers it is healthy, unless an alarm is
 * active. */
static void endpoint_health(struct cli *cli, const char *endpoint, struct output_health *health)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    Etcdserverpb__AlarmResponse *alarms = NULL;
    void *response = NULL;
    struct errmsg e = {""};
    *health = (struct output_health){.endpoint = endpoint, .error = ""};
    uint64_t start_ns = clock_mono_ns();
    range.key = cli_bytes(slice_str("health"));
    int code = endpoint_call(cli, endpoint, CLIENT_RANGE, &range, &response, &e);
    go_duration_print((int64_t)(clock_mono_ns() - start_ns), health->took);
    /* Refusing permission takes a quorum too. */
    if (code == GRPC_OK || code == GRPC_PERMISSION_DENIED) {
        code = endpoint_call(cli, endpoint, CLIENT_ALARM_LIST, &alarm, (void **)&alarms, &e);
        if (code != GRPC_OK) {
            errmsg_set(&e, ERR_IO, "Unable to fetch the alarm list");
        } else if (alarms->n_alarms > 0) {
            size_t at = (size_t)snprintf(e.text, sizeof(e.text), "Active Alarm(s): ");
            for (size_t i = 0; i < alarms->n_alarms && at < sizeof(e.text) - 16; i++) {
                at += (size_t)snprintf(e.text + at, sizeof(e.text) - at, "%s ",
                                       output_alarm_type(alarms->alarms[i]->alarm));
            }
            code = GRPC_FAILED_PRECONDITION;
        }
    }
    health->healthy = code == GRPC_OK;
    if (!health->healthy) {
        struct slice text = arena_dup(&cli->arena, slice_of(e.text, strlen(e.text) + 1));
        health->error = text.data != NULL ? (const char *)text.data : "out of memory";
    }
}

int cmd_endpoint_health(struct cli *cli)
{
    const char *const *endpoints = NULL;
    size_t count = 0;
    bool sick = false;
    int rc = endpoint_list(cli, &endpoints, &count);
    if (rc != 0) {
        return rc;
    }
    struct output_health *list = arena_alloc(&cli->arena, (count + 1) * sizeof(*list));
    if (list == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        endpoint_health(cli, endpoints[i], &list[i]);
        sick = sick || !list[i].healthy;
    }
    struct buf errors;
    buf_init(&errors);
    output_healths(&cli->output, list, count, &cli->out, &errors);
    rc = cli_flush(cli);
    if (errors.len > 0) {
        fwrite(errors.data, 1, errors.len, stderr);
    }
    buf_close(&errors);
    return sick ? cli_fail(cli, CLI_FAILURE, "unhealthy cluster") : rc;
}

/* ---- defrag
 * ---------------------------------------------------------------------------------------- */

int cmd_defrag(struct cli *cli)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    const char *const *endpoints = NULL;
    size_t count = 0;
    int rc = cli_no_table(cli);
    if (rc == 0) {
        rc = endpoint_list(cli, &endpoints, &count);
    }
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        void *response = NULL;
        struct errmsg e = {""};
        char took[GO_DURATION_BYTES_MAX];
        uint64_t start_ns = clock_mono_ns();
        int code = endpoint_call(cli, endpoints[i], CLIENT_DEFRAGMENT, &request, &response, &e);
        go_duration_print((int64_t)(clock_mono_ns() - start_ns), took);
        if (code != GRPC_OK) {
            fprintf(stderr, "Failed to defragment etcd member[%s]. took %s. (%s)\n", endpoints[i],
                    took, e.text);
            rc = CLI_FAILURE;
            continue;
        }
        buf_printf(&cli->out, "Finished defragmenting etcd member[%s]. took %s\n", endpoints[i],
                   took);
        if (cli_flush(cli) != 0) {
            return CLI_FAILURE;
        }
    }
    return rc;
}
