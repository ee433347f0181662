/* cmd_explain.c - kvctl explain-schedule: asks the scheduler plugin of the first endpoint that has
 * one. The plugin serves a page on kvd's client port, beside gRPC. */
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "cli/cli.h"
#include "cli/kube.h"

const struct arg_option cmd_explain_options[] = {
    {"namespace", 'n', ARG_STRING, "default", "namespace of the pod"},
    {0},
};

/* Letters that names of pods and namespaces are made of: everything else would change the path. */
static bool explain_name(const char *text, size_t len)
{
    return len > 0 && len <= 253 && *text != '.' && *text != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") >= len;
}

/* NAMESPACE/POD, or POD with --namespace. 0 or an exit code (printed). */
static int explain_path(struct cli *cli, struct buf *path)
{
    if (cli->args.word_count != 1) {
        return cli_usage(cli, "explain-schedule takes the name of one pod");
    }
    const char *word = cli->args.words[0];
    const char *slash = strchr(word, '/');
    const char *space = slash != NULL ? word : args_text(&cli->args, "namespace");
    size_t space_len = slash != NULL ? (size_t)(slash - word) : strlen(space);
    const char *name = slash != NULL ? slash + 1 : word;
    if (slash != NULL && args_given(&cli->args, "namespace")) {
        return cli_usage(cli, "the namespace is given twice: \"%s\" and --namespace", word);
    }
    if (!explain_name(space, space_len) || !explain_name(name, strlen(name))) {
        return cli_usage(cli, "\"%s\" is no name of a pod: write POD or NAMESPACE/POD", word);
    }
    buf_printf(path, "/scheduler/explain/%.*s/%s%s", (int)space_len, space, name,
               cli->output.form == OUTPUT_JSON ? "?output=json" : "");
    return 0;
}

/* Texts of other machines are shown without what steers a terminal; lines stay lines. */
static void explain_show(struct cli *cli, struct slice body)
{
    while (body.len > 0) {
        const uint8_t *end = memchr(body.data, '\n', body.len);
        size_t len = end == NULL ? body.len : (size_t)(end - body.data);
        go_visible(&cli->out, slice_of(body.data, len));
        buf_append_byte(&cli->out, '\n');
        len += end == NULL ? 0 : 1;
        body = slice_of(body.data + len, body.len - len);
    }
}

/* What a refusal says, on one line. */
static int explain_refused(struct cli *cli, unsigned status, struct slice body)
{
    struct buf text;
    buf_init(&text);
    while (body.len > 0 && body.data[body.len - 1] == '\n') {
        body.len--;
    }
    go_visible(&text, slice_of(body.data, body.len > 400 ? 400 : body.len));
    buf_append_byte(&text, 0);
    int rc = text.failed ? cli_fail(cli, CLI_FAILURE, "out of memory")
                         : cli_fail(cli, CLI_FAILURE, "%s (status %u)", (char *)text.data, status);
    buf_close(&text);
    return rc;
}

/* kvd answers what no plugin serves with 404 and a text of its own; the scheduler's names the pod.
 */
static bool explain_is_missing(unsigned status, struct slice body, const char *path)
{
    const char *key = path + strlen("/scheduler/explain/");
    size_t len = strcspn(key, "?");
    return status == 404 && !slice_starts_with(body, slice_of(key, len));
}

/* One endpoint. 0 with the answer in the command's arena, or an error with a sentence. */
static int explain_get(struct cli *cli, const char *endpoint, const char *path,
                       struct kube_answer *a, struct errmsg *e)
{
    char server[512];
    bool scheme = strstr(endpoint, "://") != NULL;
    if (scheme && strncmp(endpoint, "http://", 7) != 0) {
        return errmsg_set(e, ERR_INVALID, "%s: explain-schedule needs host:port", endpoint);
    }
    snprintf(server, sizeof(server), "%s%s", scheme ? "" : "http://", endpoint);
    struct kube_config config = {
        .source = "--endpoints", .server = server, .space = "", .token = "", .server_name = ""};
    struct kube_limits limits = {cli->client_options.dial_timeout_ms,
                                 cli->client_options.command_timeout_ms,
                                 cli->client_options.message_bytes_max};
    struct kube_request r = {.method = "GET", .path = path, .accept = "*/*"};
    struct kube *k = kube_open(&config, &limits, e);
    int rc = k == NULL ? ERR_INVALID : kube_send(k, &r, &cli->arena, a, e);
    kube_close(k);
    return rc;
}

static int explain_ask(struct cli *cli, const char *path)
{
    const char *const *endpoints = cli->client_options.endpoints;
    struct errmsg e = {"no endpoint"};
    for (size_t i = 0; i < cli->client_options.endpoint_count; i++) {
        struct kube_answer a = {0};
        if (explain_get(cli, endpoints[i], path, &a, &e) != 0) {
            continue;
        }
        if (explain_is_missing((unsigned)a.status, a.body, path)) {
            errmsg_set(&e, ERR_NOT_FOUND, "%s: no scheduler plugin is loaded there", endpoints[i]);
            continue;
        }
        if (a.status != 200) {
            return explain_refused(cli, (unsigned)a.status, a.body);
        }
        explain_show(cli, a.body);
        return 0;
    }
    return cli_fail(cli, CLI_FAILURE, "%s", e.text);
}

int cmd_explain_schedule(struct cli *cli)
{
    struct buf path;
    buf_init(&path);
    int rc = cli_no_table(cli);
    rc = rc == 0 ? explain_path(cli, &path) : rc;
    buf_append_byte(&path, 0);
    if (rc == 0) {
        rc = path.failed ? cli_fail(cli, CLI_FAILURE, "out of memory")
                         : explain_ask(cli, (const char *)path.data);
    }
    buf_close(&path);
    return rc;
}
