/* cmd_compaction.c - kvctl compaction. */
#include "cli/cli.h"

const struct arg_option cmd_compaction_options[] = {
    {"physical", 0, ARG_BOOL, "", "wait until the old revisions are really gone from the disk"},
    {0},
};

int cmd_compaction(struct cli *cli)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    void *response = NULL;
    if (cli->args.word_count != 1 || !cli_decimal(cli->args.words[0], &request.revision)) {
        return cli_usage(cli, "compaction takes one revision: history before it is dropped");
    }
    request.physical = args_bool(&cli->args, "physical");
    int rc = cli_no_table(cli);
    if (rc == 0) {
        rc = cli_call(cli, CLIENT_COMPACT, &request, &response);
    }
    if (rc == 0) {
        output_compaction(&cli->output, request.revision, response, &cli->out);
    }
    return rc;
}
