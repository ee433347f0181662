/* cmd_plugin.c - kvctl plugin list, describe, top, config, reload, enable, disable.
 *
 * Plugins belong to members, so every endpoint is asked by itself, as the endpoint commands do.
 * What one cannot answer does not keep the others from answering; a change stops at the first that
 * fails, so that a bad plugin does not go round the whole cluster. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/output_plugin.h"

/* `plugin top` on a terminal: from one picture to the next. */
#define PLUGIN_TOP_MS 1000u

#define PLUGIN_CLUSTER                                                                       \
    {                                                                                        \
        "cluster", 0, ARG_BOOL, "", "every member of the member list instead of --endpoints" \
    }

const struct arg_option cmd_plugin_options[] = {
    PLUGIN_CLUSTER,
    {0},
};

const struct arg_option cmd_plugin_top_options[] = {
    PLUGIN_CLUSTER,
    {"once", 0, ARG_BOOL, "", "print once, also on a terminal"},
    {0},
};

/* ---- asking ------------------------------------------------------------------------------------
 */

/* Calls one endpoint. On failure the sentence is in e, and says so when the server is no kvd. */
static bool plugin_call(struct cli *cli, const char *endpoint, enum client_call_id id,
                        const void *request, struct arena *arena, void **response, struct errmsg *e)
{
    int code = cli_endpoint_call(cli, endpoint, id, request, arena, response, e);
    if (code == GRPC_UNIMPLEMENTED && strncmp(e->text, "kvd: ", 5) != 0) {
        struct errmsg said = *e;
        errmsg_set(e, ERR_UNIMPLEMENTED, "%.400s: only kvd has plugins, is this another server?",
                   said.text);
    }
    return code == GRPC_OK;
}

/* Prints why an endpoint did not answer; named where there are several. */
static int plugin_say(const struct cli *cli, const char *endpoint, size_t endpoints,
                      const struct errmsg *e)
{
    if (endpoints > 1) {
        return cli_fail(cli, CLI_FAILURE, "%s: %s", endpoint, e->text);
    }
    return cli_fail(cli, CLI_FAILURE, "%s", e->text);
}

/* Where an answer of this call goes. */
static void plugin_store(struct output_plugin *answer, enum client_call_id id, const void *response)
{
    switch (id) {
    case CLIENT_PLUGIN_LIST:
        answer->list = response;
        break;
    case CLIENT_PLUGIN_DESCRIBE:
        answer->describe = response;
        break;
    case CLIENT_PLUGIN_TOP:
        answer->top = response;
        break;
    case CLIENT_PLUGIN_CONFIG:
        answer->config = response;
        break;
    default:
        answer->change = response;
        break;
    }
}

struct plugin_answers {
    struct output_plugin *list;
    size_t count;
};

/* Followers first, leaders last: what goes wrong with new code or settings shows where the plugin
 * does not lead, and leadership does not meet half-changed members. Who does not answer is a
 * follower: the change itself will tell. *list is the cli's own then. 0 or CLI_FAILURE. */
static int plugin_leader_last(struct cli *cli, const char *const **list, size_t count)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const char **sorted = arena_alloc(&cli->arena, (count + 1) * sizeof(*sorted));
    const char **leaders = arena_alloc(&cli->arena, (count + 1) * sizeof(*leaders));
    size_t followers = 0, leading = 0;
    if (sorted == NULL || leaders == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        struct errmsg e = {""};
        Etcdserverpb__StatusResponse *s = NULL;
        int code = cli_endpoint_call(cli, (*list)[i], CLIENT_STATUS, &request, &cli->arena,
                                     (void **)&s, &e);
        bool leads = code == GRPC_OK && s->header != NULL && s->leader != 0 &&
                     s->leader == s->header->member_id;
        if (leads) {
            leaders[leading++] = (*list)[i];
        } else {
            sorted[followers++] = (*list)[i];
        }
    }
    memcpy(sorted + followers, leaders, leading * sizeof(*leaders));
    *list = sorted;
    return 0;
}

/* Asks every endpoint. A change asks followers first and leaders last, and leaves alone those
 * behind one that fails. Returns 0, or an exit code when any failed (printed); what the others said
 * is in *a all the same. */
static int plugin_ask(struct cli *cli, enum client_call_id id, const void *request, bool changes,
                      struct plugin_answers *a)
{
    const char *const *endpoints = NULL;
    size_t count = 0;
    *a = (struct plugin_answers){0};
    int rc = cli_endpoints(cli, true, &endpoints, &count);
    if (rc == 0 && changes && count > 1) {
        rc = plugin_leader_last(cli, &endpoints, count);
    }
    if (rc != 0) {
        return rc;
    }
    a->list = arena_zalloc(&cli->arena, (count + 1) * sizeof(*a->list));
    if (a->list == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        void *response = NULL;
        struct errmsg e = {""};
        if (plugin_call(cli, endpoints[i], id, request, &cli->arena, &response, &e)) {
            a->list[a->count].endpoint = endpoints[i];
            plugin_store(&a->list[a->count++], id, response);
            continue;
        }
        rc = plugin_say(cli, endpoints[i], count, &e);
        if (changes) {
            if (i + 1 < count) {
                fprintf(stderr, "Nothing was changed at the %zu endpoint%s after it.\n",
                        count - i - 1, count - i > 2 ? "s" : "");
            }
            break;
        }
    }
    return rc;
}

/* The plugin a command wants as its only word. */
static int plugin_name(struct cli *cli, char **name)
{
    if (cli->args.word_count != 1 || *cli->args.words[0] == '\0') {
        return cli_usage(cli, "%s takes the name of one plugin, see `kvctl plugin list`",
                         cli->command->name);
    }
    *name = (char *)cli->args.words[0];
    return 0;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

int cmd_plugin_list(struct cli *cli)
{
    Kvdpb__PluginListRequest request = KVDPB__PLUGIN_LIST_REQUEST__INIT;
    struct plugin_answers a;
    if (cli->args.word_count != 0) {
        return cli_usage(cli, "plugin list takes no arguments");
    }
    int rc = plugin_ask(cli, CLIENT_PLUGIN_LIST, &request, false, &a);
    if (a.count > 0) {
        output_plugin_list(&cli->output, a.list, a.count, &cli->out);
    }
    return rc;
}

int cmd_plugin_describe(struct cli *cli)
{
    Kvdpb__PluginDescribeRequest request = KVDPB__PLUGIN_DESCRIBE_REQUEST__INIT;
    struct plugin_answers a;
    int rc = plugin_name(cli, &request.name);
    if (rc == 0) {
        rc = cli_no_table(cli);
    }
    if (rc != 0) {
        return rc;
    }
    rc = plugin_ask(cli, CLIENT_PLUGIN_DESCRIBE, &request, false, &a);
    if (a.count > 0) {
        output_plugin_describe(&cli->output, a.list, a.count, &cli->out);
    }
    return rc;
}

int cmd_plugin_config(struct cli *cli)
{
    Kvdpb__PluginConfigRequest request = KVDPB__PLUGIN_CONFIG_REQUEST__INIT;
    struct plugin_answers a;
    int rc = plugin_name(cli, &request.name);
    if (rc != 0) {
        return rc;
    }
    rc = plugin_ask(cli, CLIENT_PLUGIN_CONFIG, &request, false, &a);
    if (a.count > 0) {
        output_plugin_config(&cli->output, a.list, a.count, &cli->out);
    }
    return rc;
}

/* ---- top ---------------------------------------------------------------------------------------
 */

/* One look at every endpoint, in an arena of its own: the next look needs this one. */
struct plugin_look {
    struct arena arena;
    const Kvdpb__PluginTopResponse **tops; /* per endpoint; NULL = did not answer */
};

struct plugin_top {
    struct cli *cli;
    const char *const *endpoints;
    size_t count;
    Kvdpb__PluginTopRequest request;
    struct plugin_look looks[2];
    struct buf errors; /* of the present look */
};

/* How many endpoints answered. */
static size_t plugin_look_at(struct plugin_top *top, struct plugin_look *look)
{
    size_t answered = 0;
    arena_clear(&look->arena);
    buf_clear(&top->errors);
    look->tops = arena_zalloc(&look->arena, (top->count + 1) * sizeof(*look->tops));
    for (size_t i = 0; look->tops != NULL && i < top->count; i++) {
        struct errmsg e = {""};
        void *response = NULL;
        if (plugin_call(top->cli, top->endpoints[i], CLIENT_PLUGIN_TOP, &top->request, &look->arena,
                        &response, &e)) {
            look->tops[i] = response;
            answered++;
        } else if (top->count > 1) {
            buf_printf(&top->errors, "Error: %s: %s\n", top->endpoints[i], e.text);
        } else {
            buf_printf(&top->errors, "Error: %s\n", e.text);
        }
    }
    return answered;
}

/* Appends the picture of this look; `before` may be NULL. */
static void plugin_picture(struct plugin_top *top, const struct plugin_look *look,
                           const struct plugin_look *before, struct buf *out)
{
    struct output_plugin *list = mem_zalloc((top->count + 1) * sizeof(*list));
    size_t count = 0;
    if (list == NULL || look->tops == NULL) {
        out->failed = true;
        mem_free(list);
        return;
    }
    for (size_t i = 0; i < top->count; i++) {
        if (look->tops[i] != NULL) {
            list[count].endpoint = top->endpoints[i];
            list[count].top = look->tops[i];
            list[count++].top_before =
                before != NULL && before->tops != NULL ? before->tops[i] : NULL;
        }
    }
    if (count > 0) {
        output_plugin_top(&top->cli->output, list, count, out);
    }
    mem_free(list);
}

/* Draws over the picture before: from the corner, each line to its end, and nothing below. */
static int plugin_draw(struct plugin_top *top, const struct buf *picture)
{
    struct buf *out = &top->cli->out;
    buf_append_str(out, "\x1b[H");
    for (size_t i = 0; i < picture->len; i++) {
        if (picture->data[i] == '\n') {
            buf_append_str(out, "\x1b[K");
        }
        buf_append_byte(out, picture->data[i]);
    }
    buf_append_str(out, "\x1b[J");
    if (picture->failed) {
        out->failed = true;
    }
    return cli_flush(top->cli);
}

/* Looks every second, until it is interrupted or standard output is gone. */
static int plugin_watch(struct plugin_top *top)
{
    struct buf picture;
    int rc = 0;
    buf_init(&picture);
    for (size_t n = 0; rc == 0; n++) {
        const struct plugin_look *before = n > 0 ? &top->looks[(n + 1) % 2] : NULL;
        uint64_t next_ms = clock_mono_ms() + PLUGIN_TOP_MS;
        if (n > 0) {
            (void)plugin_look_at(top, &top->looks[n % 2]);
        }
        buf_clear(&picture);
        plugin_picture(top, &top->looks[n % 2], before, &picture);
        buf_append_slice(&picture, buf_slice(&top->errors));
        rc = plugin_draw(top, &picture);
        uint64_t now_ms = clock_mono_ms();
        if (rc == 0 && now_ms < next_ms) {
            (void)poll(NULL, 0, (int)(next_ms - now_ms));
        }
    }
    buf_close(&picture);
    return rc;
}

int cmd_plugin_top(struct cli *cli)
{
    struct plugin_top top = {.cli = cli, .request = KVDPB__PLUGIN_TOP_REQUEST__INIT};
    if (cli->args.word_count > 1) {
        return cli_usage(cli, "plugin top takes the name of one plugin, or none for all");
    }
    if (cli->args.word_count == 1) {
        top.request.name = (char *)cli->args.words[0];
    }
    int rc = cli_endpoints(cli, true, &top.endpoints, &top.count);
    if (rc != 0) {
        return rc;
    }
    arena_init(&top.looks[0].arena, 0);
    arena_init(&top.looks[1].arena, 0);
    buf_init(&top.errors);
    bool goes_on = cli->output.form != OUTPUT_JSON && !args_bool(&cli->args, "once") &&
                   isatty(STDOUT_FILENO) == 1;
    size_t answered = plugin_look_at(&top, &top.looks[0]);
    if (answered > 0 && goes_on) {
        rc = plugin_watch(&top);
    } else {
        if (answered > 0) {
            plugin_picture(&top, &top.looks[0], NULL, &cli->out);
        }
        rc = answered == top.count ? 0 : CLI_FAILURE;
        if (top.errors.len > 0) {
            fwrite(top.errors.data, 1, top.errors.len, stderr);
        }
    }
    buf_close(&top.errors);
    arena_close(&top.looks[0].arena);
    arena_close(&top.looks[1].arena);
    return rc;
}

/* ---- changing ----------------------------------------------------------------------------------
 */

static int plugin_change(struct cli *cli, enum client_call_id id, const void *request,
                         const char *done)
{
    struct plugin_answers a;
    int rc = cli_no_table(cli);
    if (rc != 0) {
        return rc;
    }
    rc = plugin_ask(cli, id, request, true, &a);
    if (a.count > 0) {
        output_plugin_change(&cli->output, done, a.list, a.count, &cli->out);
    }
    return rc;
}

int cmd_plugin_enable(struct cli *cli)
{
    Kvdpb__PluginEnableRequest request = KVDPB__PLUGIN_ENABLE_REQUEST__INIT;
    int rc = plugin_name(cli, &request.name);
    return rc != 0 ? rc : plugin_change(cli, CLIENT_PLUGIN_ENABLE, &request, "enabled");
}

int cmd_plugin_disable(struct cli *cli)
{
    Kvdpb__PluginDisableRequest request = KVDPB__PLUGIN_DISABLE_REQUEST__INIT;
    int rc = plugin_name(cli, &request.name);
    return rc != 0 ? rc : plugin_change(cli, CLIENT_PLUGIN_DISABLE, &request, "disabled");
}

int cmd_plugin_reload(struct cli *cli)
{
    Kvdpb__PluginReloadRequest request = KVDPB__PLUGIN_RELOAD_REQUEST__INIT;
    Kvdpb__PluginSetting settings[ARGS_WORDS_MAX];
    Kvdpb__PluginSetting *pointers[ARGS_WORDS_MAX];
    size_t count = cli->args.word_count;
    if (count == 0 || *cli->args.words[0] == '\0') {
        return cli_usage(cli, "plugin reload takes the name of a plugin, and settings may follow");
    }
    request.name = (char *)cli->args.words[0];
    for (size_t i = 1; i < count; i++) {
        const char *word = cli->args.words[i];
        const char *equals = strchr(word, '=');
        if (equals == NULL || equals == word) {
            return cli_usage(cli, "\"%s\" is no setting: write name=value", word);
        }
        struct slice name = arena_dup(&cli->arena, slice_of(word, (size_t)(equals - word) + 1));
        if (name.data == NULL) {
            return cli_fail(cli, CLI_FAILURE, "out of memory");
        }
        ((char *)name.data)[name.len - 1] = '\0';
        kvdpb__plugin_setting__init(&settings[i - 1]);
        settings[i - 1].name = (char *)name.data;
        settings[i - 1].value = (char *)equals + 1;
        pointers[i - 1] = &settings[i - 1];
    }
    request.settings = pointers;
    request.n_settings = count - 1;
    return plugin_change(cli, CLIENT_PLUGIN_RELOAD, &request, "reloaded");
}
