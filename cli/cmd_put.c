/* cmd_put.c - kvctl put. */
#include <string.h>

#include "cli/cli.h"

const struct arg_option cmd_put_options[] = {
    {"lease", 0, ARG_STRING, "0", "lease to attach the key to (hexadecimal id)"},
    {"prev-kv", 0, ARG_BOOL, "", "print what the key was before"},
    {"ignore-value", 0, ARG_BOOL, "", "keep the value, change only the lease"},
    {"ignore-lease", 0, ARG_BOOL, "", "keep the lease, change only the value"},
    {0},
};

int cmd_put_request(struct arena *arena, const struct args *a, bool value_from_stdin,
                    Etcdserverpb__PutRequest *r, struct errmsg *e)
{
    *r = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    r->ignore_value = args_bool(a, "ignore-value");
    r->ignore_lease = args_bool(a, "ignore-lease");
    r->prev_kv = args_bool(a, "prev-kv");
    if (!cli_hex_id(args_text(a, "lease"), &r->lease)) {
        return errmsg_set(e, ERR_INVALID, "bad lease id \"%s\": give it in hexadecimal",
                          args_text(a, "lease"));
    }
    size_t wanted = r->ignore_value ? 1 : 2;
    if (a->word_count == 0 || a->word_count > wanted) {
        return errmsg_set(e, ERR_INVALID,
                          r->ignore_value ? "with --ignore-value put takes a key and nothing else"
                                          : "put takes a key and a value; quote a value that has "
                                            "blanks, and put -- before one that begins with -");
    }
    r->key = cli_bytes(slice_str(a->words[0]));
    if (r->ignore_value) {
        return 0;
    }
    if (a->word_count == 2) {
        r->value = cli_bytes(slice_str(a->words[1]));
        return 0;
    }
    struct slice value = {0};
    if (!value_from_stdin) {
        return errmsg_set(e, ERR_INVALID, "put takes a key and a value");
    }
    int err = cli_read_stdin(arena, &value, e);
    if (err == 0 && value.len == 0) {
        return errmsg_set(e, ERR_INVALID,
                          "put takes a key and a value; standard input is empty too");
    }
    r->value = cli_bytes(value);
    return err;
}

int cmd_put(struct cli *cli)
{
    Etcdserverpb__PutRequest request;
    struct errmsg e = {""};
    void *response = NULL;
    int rc = cli_no_table(cli);
    if (rc != 0) {
        return rc;
    }
    int err = cmd_put_request(&cli->arena, &cli->args, true, &request, &e);
    if (err != 0) {
        /* An input that cannot be read is no wrong argument. */
        return err == ERR_INVALID ? cli_usage(cli, "%s", e.text)
                                  : cli_fail(cli, CLI_FAILURE, "%s", e.text);
    }
    rc = cli_call(cli, CLIENT_PUT, &request, &response);
    if (rc == 0) {
        output_put(&cli->output, response, &cli->out);
    }
    return rc;
}
