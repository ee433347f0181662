/* objects.c - what commands about objects share: options, requests, words. */
#include "cli/objects.h"

#include <string.h>

#include "base/gosyntax.h"
#include "plugins/object/decode.h"

int objects_open(struct objects *o, struct cli *cli)
{
    *o = (struct objects){.cli = cli, .space = slice_str(args_text(&cli->args, "namespace"))};
    return 0;
}

void objects_close(struct objects *o)
{
    kube_close(o->kube);
    o->kube = NULL;
}

/* Finds the server when it is needed first. */
static int connect_server(struct objects *o)
{
    struct cli *cli = o->cli;
    struct errmsg e = {""};
    struct kube_limits limits = {.dial_timeout_ms = cli->client_options.dial_timeout_ms,
                                 .command_timeout_ms = cli->client_options.command_timeout_ms,
                                 .answer_bytes_max = cli->client_options.message_bytes_max};
    if (o->kube != NULL) {
        return 0;
    }
    int rc = kube_config_find(args_text(&cli->args, "server"), args_text(&cli->args, "kubeconfig"),
                              cli->environment, &cli->arena, &o->config, &e);
    if (rc == 0) {
        o->kube = kube_open(&o->config, &limits, &e);
    }
    return o->kube != NULL ? 0 : cli_fail(cli, CLI_FAILURE, "%s", e.text);
}

struct slice objects_space(const struct objects *o, const struct kind *k)
{
    if (!kind_is_namespaced(k) || o->all) {
        return slice_of("", 0);
    }
    if (o->space.len > 0) {
        return o->space;
    }
    /* The kubeconfig's, when there is one; to find none is no failure here. */
    struct kube_config config;
    struct errmsg e;
    const struct args *a = &o->cli->args;
    bool found = kube_config_find(args_text(a, "server"), args_text(a, "kubeconfig"),
                                  o->cli->environment, &o->cli->arena, &config, &e) == 0;
    return slice_str(found && *config.space != '\0' ? config.space : "default");
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A Status, or whatever else came with a bad status, as a sentence. */
static int say_status(struct objects *o, const struct kube_answer *a)
{
    struct value status;
    struct errmsg e;
    if (decode_json(a->body, NULL, &o->cli->arena, &status, NULL, &e) == 0) {
        struct slice message = tree_text(&status, "message");
        struct slice reason = tree_text(&status, "reason");
        if (message.len > 0) {
            struct buf text;
            buf_init(&text);
            go_visible(&text, message);
            if (reason.len > 0) {
                buf_append_str(&text, " (");
                go_visible(&text, reason);
                buf_append_str(&text, ")");
            }
            int rc = cli_fail(o->cli, CLI_FAILURE, "%.*s", (int)text.len, (const char *)text.data);
            buf_close(&text);
            return rc;
        }
    }
    return cli_fail(o->cli, CLI_FAILURE, "%s answered with status %d and no reason",
                    o->config.server, a->status);
}

int objects_send(struct objects *o, const struct kube_request *r, struct value *out, bool *missing)
{
    struct kube_answer a;
    struct errmsg e = {""};
    int rc = connect_server(o);
    if (rc != 0) {
        return rc;
    }
    if (kube_send(o->kube, r, &o->cli->arena, &a, &e) != 0) {
        return cli_fail(o->cli, CLI_FAILURE, "%s", e.text);
    }
    if (missing != NULL) {
        *missing = a.status == 404;
        if (*missing) {
            return 0;
        }
    }
    if (a.status < 200 || a.status >= 300) {
        return say_status(o, &a);
    }
    return out == NULL || r->line != NULL ? 0 : tree_read(o->cli, a.body, out);
}

int objects_call(struct objects *o, const char *method, const char *path, const char *content_type,
                 struct slice body, struct value *out, bool *missing)
{
    struct kube_request r = {
        .method = method, .path = path, .content_type = content_type, .body = body};
    return objects_send(o, &r, out, missing);
}

/* ---- words ----------------------------------------------------------------------------------- */

static int unknown_kind(struct cli *cli, struct slice word)
{
    return cli_usage(cli, "there is no kind \"%.*s\" (they are written like pods, deploy, svc/web)",
                     (int)word.len, (const char *)word.data);
}

int objects_targets(struct cli *cli, struct target **list, size_t *count)
{
    const struct args *a = &cli->args;
    const char *first = a->word_count > 0 ? a->words[0] : "";
    bool slashed = strchr(first, '/') != NULL;
    *list = arena_zalloc(&cli->arena, (a->word_count + 1) * sizeof **list);
    *count = 0;
    if (*list == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    if (a->word_count == 0) {
        return cli_usage(cli, "%s needs a kind, and a name perhaps: pods, pod web, pod/web",
                         cli->command->name);
    }
    for (size_t i = slashed ? 0 : 1; i < a->word_count; i++) {
        struct target *t = &(*list)[(*count)++];
        struct slice word = slice_str(a->words[i]);
        const char *slash = strchr(a->words[i], '/');
        if ((slash != NULL) != slashed || (slash != NULL && slash[1] == '\0')) {
            return cli_usage(cli, "give either KIND NAME... or KIND/NAME..., not both");
        }
        struct slice kind = slice_str(first);
        if (slashed) {
            kind = slice_of(word.data, (size_t)(slash - a->words[i]));
            word = slice_str(slash + 1);
        }
        t->name = word;
        if (!kind_find(kind, &t->kind)) {
            return unknown_kind(cli, kind);
        }
    }
    if (*count == 0) {
        (*count)++;
        return kind_find(slice_str(first), &(*list)[0].kind) ? 0
                                                             : unknown_kind(cli, slice_str(first));
    }
    return 0;
}

int objects_target(struct cli *cli, struct target *t)
{
    struct target *list;
    size_t count;
    if (cli->args.word_count > 0) {
        int rc = objects_targets(cli, &list, &count);
        if (rc != 0) {
            return rc;
        }
        if (count == 1 && list[0].name.len > 0) {
            *t = list[0];
            return 0;
        }
    }
    return cli_usage(cli, "%s needs one object: KIND/NAME", cli->command->name);
}
