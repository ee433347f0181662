/* cmd_alarm.c - kvctl alarm list, disarm. */
#include "cli/cli.h"

static int alarm_run(struct cli *cli, enum client_call_id id,
                     Etcdserverpb__AlarmRequest__AlarmAction action)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    void *response = NULL;
    if (cli->args.word_count != 0) {
        return cli_usage(cli, "%s takes no arguments", cli->command->name);
    }
    request.action = action;
    int rc = cli_no_table(cli);
    if (rc == 0) {
        rc = cli_call(cli, id, &request, &response);
    }
    if (rc == 0) {
        output_alarms(&cli->output, response, &cli->out);
    }
    return rc;
}

int cmd_alarm_list(struct cli *cli)
{
    return alarm_run(cli, CLIENT_ALARM_LIST, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET);
}

/* The server takes one alarm at a time: all there are are asked for first, as etcdctl does. */
int cmd_alarm_disarm(struct cli *cli)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    Etcdserverpb__AlarmResponse *active = NULL;
    Etcdserverpb__AlarmResponse all = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    if (cli->args.word_count != 0) {
        return cli_usage(cli, "alarm disarm takes no arguments");
    }
    int rc = cli_no_table(cli);
    if (rc == 0) {
        rc = cli_call(cli, CLIENT_ALARM_LIST, &request, (void **)&active);
    }
    if (rc != 0) {
        return rc;
    }
    all.header = active->header;
    all.alarms = active->n_alarms > 0
                     ? arena_alloc(&cli->arena, active->n_alarms * sizeof(*all.alarms))
                     : NULL;
    if (active->n_alarms > 0 && all.alarms == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    for (size_t i = 0; i < active->n_alarms; i++) {
        void *response = NULL;
        request.memberid = active->alarms[i]->memberid;
        request.alarm = active->alarms[i]->alarm;
        rc = cli_call(cli, CLIENT_ALARM_CHANGE, &request, &response);
        if (rc != 0) {
            return rc;
        }
        const Etcdserverpb__AlarmResponse *answer = response;
        all.header = answer->header;
        if (answer->n_alarms > 0) {
            all.alarms[all.n_alarms++] = answer->alarms[0];
        }
    }
    output_alarms(&cli->output, &all, &cli->out);
    return 0;
}
