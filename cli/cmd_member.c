/* cmd_member.c - kvctl member list. */
#include "cli/cli.h"

int cmd_member_list(struct cli *cli)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    void *response = NULL;
    if (cli->args.word_count != 0) {
        return cli_usage(cli, "member list takes no arguments");
    }
    request.linearizable = true;
    int rc = cli_call(cli, CLIENT_MEMBER_LIST, &request, &response);
    if (rc == 0) {
        output_members(&cli->output, response, &cli->out);
    }
    return rc;
}
