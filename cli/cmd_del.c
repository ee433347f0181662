/* cmd_del.c - kvctl del. */
#include "cli/cli.h"

const struct arg_option cmd_del_options[] = {
    {"prefix", 0, ARG_BOOL, "", "all keys that begin with <key>"},
    {"from-key", 0, ARG_BOOL, "", "all keys from <key> on, in byte order"},
    {"range", 0, ARG_BOOL, "", "[key, range_end) is meant; taken for etcdctl's sake"},
    {"prev-kv", 0, ARG_BOOL, "", "print what was deleted"},
    {0},
};

int cmd_del_request(struct arena *arena, const struct args *a, Etcdserverpb__DeleteRangeRequest *r,
                    struct errmsg *e)
{
    *r = (Etcdserverpb__DeleteRangeRequest)ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    r->prev_kv = args_bool(a, "prev-kv");
    return cli_range(arena, a, "from-key", &r->key, &r->range_end, e);
}

int cmd_del(struct cli *cli)
{
    Etcdserverpb__DeleteRangeRequest request;
    struct errmsg e = {""};
    void *response = NULL;
    int rc = cli_no_table(cli);
    if (rc != 0) {
        return rc;
    }
    if (cmd_del_request(&cli->arena, &cli->args, &request, &e) != 0) {
        return cli_usage(cli, "%s", e.text);
    }
    rc = cli_call(cli, CLIENT_DELETE_RANGE, &request, &response);
    if (rc == 0) {
        output_delete(&cli->output, response, &cli->out);
    }
    return rc;
}
