/* cmd_get.c - kvctl get: keys; objects are cmd_object.c's. */
#include <string.h>
#include <strings.h>

#include "cli/objects.h"

const struct arg_option cmd_get_options[] = {
    {"prefix", 0, ARG_BOOL, "", "all keys that begin with <key>"},
    {"from-key", 0, ARG_BOOL, "", "all keys from <key> on, in byte order"},
    {"limit", 0, ARG_INT, "0", "at most so many keys"},
    {"rev", 0, ARG_INT, "0", "as of this revision"},
    {"order", 0, ARG_STRING, "", "ASCEND or DESCEND"},
    {"sort-by", 0, ARG_STRING, "", "CREATE, KEY, MODIFY, VALUE or VERSION"},
    {"keys-only", 0, ARG_BOOL, "", "without values"},
    {"count-only", 0, ARG_BOOL, "", "only how many there are"},
    {"print-value-only", 0, ARG_BOOL, "", "only values, in the simple form"},
    {"consistency", 0, ARG_STRING, "l", "l = linearizable, s = whatever the member has"},
    {"min-create-rev", 0, ARG_INT, "0", "created at this revision or later"},
    {"max-create-rev", 0, ARG_INT, "0", "created at this revision or earlier"},
    {"min-mod-rev", 0, ARG_INT, "0", "last changed at this revision or later"},
    {"max-mod-rev", 0, ARG_INT, "0", "last changed at this revision or earlier"},
    OBJECTS_OPTIONS,
    {"all-namespaces", 'A', ARG_BOOL, "", "objects: of all namespaces"},
    {"selector", 'l', ARG_STRING, "", "objects: with these labels"},
    {"field-selector", 0, ARG_STRING, "", "objects: with these fields"},
    {"output", 'o', ARG_STRING, "", "objects: wide, json, yaml or name"},
    {"watch", 0, ARG_BOOL, "", "objects: go on and print what changes"},
    {0},
};

/* The position of a word in a list, any case; -1 = none. */
static int get_word(const char *word, const char *const *list)
{
    for (int i = 0; list[i] != NULL; i++) {
        if (strcasecmp(word, list[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int get_sort(const struct args *a, Etcdserverpb__RangeRequest *r, struct errmsg *e)
{
    static const char *const orders[] = {"", "ASCEND", "DESCEND", NULL};
    static const char *const targets[] = {"KEY", "VERSION", "CREATE", "MODIFY", "VALUE", "", NULL};
    int order = get_word(args_text(a, "order"), orders);
    int target = get_word(args_text(a, "sort-by"), targets);
    if (order < 0) {
        return errmsg_set(e, ERR_NOT_FOUND, "bad sort order \"%s\": use ASCEND or DESCEND",
                          args_text(a, "order"));
    }
    if (target < 0) {
        return errmsg_set(e, ERR_NOT_FOUND,
                          "bad sort target \"%s\": use CREATE, KEY, MODIFY, VALUE or VERSION",
                          args_text(a, "sort-by"));
    }
    /* The lists follow the numbers of the enums; no target is the key. */
    r->sort_order = (Etcdserverpb__RangeRequest__SortOrder)order;
    r->sort_target = (Etcdserverpb__RangeRequest__SortTarget)(target == 5 ? 0 : target);
    if (r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
        r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND) {
        /* That is the order of any answer; asking for it makes servers sort. */
        r->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    }
    return 0;
}

static int get_filters(const struct args *a, Etcdserverpb__RangeRequest *r, struct errmsg *e)
{
    r->min_create_revision = args_int(a, "min-create-rev");
    r->max_create_revision = args_int(a, "max-create-rev");
    r->min_mod_revision = args_int(a, "min-mod-rev");
    r->max_mod_revision = args_int(a, "max-mod-rev");
    if (r->max_create_revision > 0 && r->min_create_revision > r->max_create_revision) {
        return errmsg_set(e, ERR_INVALID, "--min-create-rev is above --max-create-rev");
    }
    if (r->max_mod_revision > 0 && r->min_mod_revision > r->max_mod_revision) {
        return errmsg_set(e, ERR_INVALID, "--min-mod-rev is above --max-mod-rev");
    }
    return 0;
}

int cmd_get_request(struct arena *arena, const struct args *a, Etcdserverpb__RangeRequest *r,
                    struct errmsg *e)
{
    const char *consistency = args_text(a, "consistency");
    *r = (Etcdserverpb__RangeRequest)ETCDSERVERPB__RANGE_REQUEST__INIT;
    r->limit = args_int(a, "limit");
    r->revision = args_int(a, "rev") > 0 ? args_int(a, "rev") : 0;
    r->keys_only = args_bool(a, "keys-only");
    r->count_only = args_bool(a, "count-only");
    r->serializable = strcmp(consistency, "s") == 0;
    if (!r->serializable && strcmp(consistency, "l") != 0) {
        return errmsg_set(e, ERR_NOT_FOUND, "unknown consistency flag \"%s\": use l or s",
                          consistency);
    }
    if (r->keys_only && r->count_only) {
        return errmsg_set(e, ERR_INVALID,
                          "`--keys-only` and `--count-only` cannot be set at the same time, choose "
                          "one");
    }
    int err = cli_range(arena, a, "from-key", &r->key, &r->range_end, e);
    if (err == 0) {
        err = get_sort(a, r, e);
    }
    return err == 0 ? get_filters(a, r, e) : err;
}

int cmd_get(struct cli *cli)
{
    Etcdserverpb__RangeRequest request;
    struct errmsg e = {""};
    void *response = NULL;
    const char *wrong = NULL;
    if (objects_meant(&cli->args, &wrong)) {
        return objects_get(cli);
    }
    if (wrong != NULL) {
        return cli_usage(cli, "--%s is about objects, but a key is asked for", wrong);
    }
    int rc = cli_no_table(cli);
    if (rc != 0) {
        return rc;
    }
    int err = cmd_get_request(&cli->arena, &cli->args, &request, &e);
    if (err != 0) {
        return err == ERR_NOT_FOUND ? cli_fail(cli, CLI_BAD_FEATURE, "%s", e.text)
                                    : cli_usage(cli, "%s", e.text);
    }
    cli->output.value_only = args_bool(&cli->args, "print-value-only");
    if (cli->output.value_only && cli->output.form != OUTPUT_SIMPLE) {
        return cli_usage(cli, "print-value-only is only for `--write-out=simple`");
    }
    rc = cli_call(cli, CLIENT_RANGE, &request, &response);
    if (rc == 0) {
        output_range(&cli->output, response, request.count_only, &cli->out);
    }
    return rc;
}
