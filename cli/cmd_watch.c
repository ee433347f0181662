/* cmd_watch.c - kvctl watch: prints changes until a signal ends it.
 *
 * A connection that breaks is made again, to the next endpoint, and the watch goes on behind the
 * last revision that was seen, so nothing is missed or shown twice. With `-- COMMAND` a command
 * runs for each event, one after the other. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/gosyntax.h"
#include "cli/cli.h"
#include "proto/codec.h"

/* Between two attempts to connect again. */
#define WATCH_RETRY_MS 200

const struct arg_option cmd_watch_options[] = {
    {"prefix", 0, ARG_BOOL, "", "all keys that begin with <key>"},
    {"rev", 0, ARG_INT, "0", "from this revision on; 0 = from now on"},
    {"prev-kv", 0, ARG_BOOL, "", "print also what the key was before"},
    {"progress-notify", 0, ARG_BOOL, "", "let the server say now and then that nothing was missed"},
    {0},
};

struct watch {
    struct cli *cli;
    Etcdserverpb__WatchCreateRequest create;
    const char *const *command; /* NULL-terminated, or NULL */
    int64_t next;               /* revision to go on at; 0 = now */
};

/* ---- a command per event
 * --------------------------------------------------------------------------- */

static void watch_variable(struct buf *to, const char *name, struct slice value)
{
    buf_printf(to, "%s=", name);
    go_quote(to, value);
    buf_append_byte(to, '\0');
}

/* Environment of the command: ours and etcdctl's four variables. The array lives in the arena, the
 * new texts in `texts`. NULL when out of memory. */
static char **watch_environment(struct watch *w, struct arena *arena, struct buf *texts)
{
    size_t count = 0;
    while (w->cli->environment[count] != NULL) {
        count++;
    }
    char **list = arena_zalloc(arena, (count + 5) * sizeof(*list));
    if (list == NULL || texts->failed) {
        return NULL;
    }
    /* One watch may run inside the command of another: only one variable of each name is left. */
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(w->cli->environment[i], "ETCD_WATCH_", 11) != 0) {
            list[kept++] = w->cli->environment[i];
        }
    }
    char *text = (char *)texts->data;
    for (size_t i = 0; i < 4; i++) {
        list[kept + i] = text;
        text += strlen(text) + 1;
    }
    return list;
}

static int watch_spawn(struct watch *w, char **environment)
{
    pid_t pid = 0;
    int status = 0;
    int err = posix_spawnp(&pid, w->command[0], NULL, NULL, (char *const *)w->command, environment);
    if (err != 0) {
        return cli_fail(w->cli, CLI_FAILURE, "command \"%s\": %s", w->command[0], strerror(err));
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return 0;
    }
    return WIFEXITED(status) ? cli_fail(w->cli, CLI_FAILURE, "command \"%s\": exit status %d",
                                        w->command[0], WEXITSTATUS(status))
                             : cli_fail(w->cli, CLI_FAILURE, "command \"%s\": killed by signal %d",
                                        w->command[0], WTERMSIG(status));
}

static int watch_run_command(struct watch *w, const Etcdserverpb__WatchResponse *r,
                             const Mvccpb__Event *event, struct arena *arena)
{
    struct buf texts;
    int rc = CLI_FAILURE;
    buf_init(&texts);
    buf_printf(&texts, "ETCD_WATCH_REVISION=%" PRId64, r->header != NULL ? r->header->revision : 0);
    buf_append_byte(&texts, '\0');
    watch_variable(&texts, "ETCD_WATCH_EVENT_TYPE", slice_str(output_event_type(event)));
    watch_variable(&texts, "ETCD_WATCH_KEY",
                   event->kv != NULL ? output_bytes(event->kv->key) : slice_of("", 0));
    watch_variable(&texts, "ETCD_WATCH_VALUE",
                   event->kv != NULL ? output_bytes(event->kv->value) : slice_of("", 0));
    char **environment = watch_environment(w, arena, &texts);
    if (environment == NULL) {
        rc = cli_fail(w->cli, CLI_FAILURE, "out of memory");
    } else {
        rc = watch_spawn(w, environment);
    }
    buf_close(&texts);
    return rc;
}

/* ---- responses
 * ------------------------------------------------------------------------------------- */

static int watch_canceled(struct watch *w, const Etcdserverpb__WatchResponse *r)
{
    const char *why = r->cancel_reason != NULL && *r->cancel_reason != '\0' ? r->cancel_reason
                      : r->compact_revision != 0 ? err_text(ERR_COMPACTED)
                                                 : "no reason was given";
    struct buf visible;
    buf_init(&visible);
    go_visible(&visible, slice_str(why));
    buf_append_byte(&visible, 0);
    why = visible.failed ? "out of memory" : (const char *)visible.data;
    if (r->compact_revision != 0) {
        fprintf(stderr, "watch was canceled (%s; the oldest revision left is %" PRId64 ")\n", why,
                r->compact_revision);
    } else {
        fprintf(stderr, "watch was canceled (%s)\n", why);
    }
    buf_close(&visible);
    return cli_fail(w->cli, CLI_CANCELED, "watch is canceled by the server");
}

static int watch_take(struct watch *w, const Etcdserverpb__WatchResponse *r, struct arena *arena)
{
    int64_t revision = r->header != NULL ? r->header->revision : 0;
    if (r->canceled) {
        return watch_canceled(w, r);
    }
    if (r->created) {
        /* From now on means: after what the server had when it said so. */
        if (w->next == 0) {
            w->next = revision + 1;
        }
        return 0;
    }
    output_watch(&w->cli->output, r, &w->cli->out);
    int rc = cli_flush(w->cli);
    for (size_t i = 0; rc == 0 && i < r->n_events; i++) {
        const Mvccpb__Event *event = r->events[i];
        if (w->command != NULL) {
            rc = watch_run_command(w, r, event, arena);
        }
        if (event->kv != NULL && event->kv->mod_revision >= w->next) {
            w->next = event->kv->mod_revision + 1;
        }
    }
    /* A progress notification says that nothing up to its revision is missing. */
    if (r->n_events == 0 && revision >= w->next) {
        w->next = revision + 1;
    }
    return rc;
}

/* ---- one stream
 * ------------------------------------------------------------------------------------ */

/* Opens the stream and asks for the watch. NULL with a sentence. */
static struct conn_call *watch_open(struct watch *w, struct errmsg *e)
{
    const struct conn_call_options options = {.path = "/etcdserverpb.Watch/Watch",
                                              .message_bytes_max =
                                                  w->cli->client_options.message_bytes_max,
                                              .require_leader = true};
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    struct buf encoded;
    struct conn_call *call = NULL;
    buf_init(&encoded);
    w->create.start_revision = w->next;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &w->create;
    if (client_connect(&w->cli->client, e) == 0) {
        call = conn_call_start(w->cli->client.conn, &options);
        if (call == NULL || !codec_encode(&request, &encoded) ||
            !conn_call_send(call, buf_slice(&encoded), false)) {
            conn_call_end(call);
            call = NULL;
            errmsg_set(e, ERR_NOMEM, "out of memory");
        }
    }
    buf_close(&encoded);
    return call;
}

/* Reads the stream until it ends. 0: go on with a new one. */
static int watch_read(struct watch *w, struct conn_call *call)
{
    struct arena arena;
    struct slice message = {0};
    struct errmsg e = {""};
    int rc = 0;
    arena_init(&arena, 0);
    while (rc == 0) {
        void *response = NULL;
        if (conn_call_next(call, CONN_NEVER, &message) != CONN_MESSAGE) {
            client_say(call, &e);
            if (conn_call_code(call) != GRPC_UNAVAILABLE) {
                rc = cli_fail(w->cli, CLI_FAILURE, "%s", e.text);
            } else {
                fprintf(stderr, "%s; watching on\n", e.text);
            }
            break;
        }
        if (codec_decode(&etcdserverpb__watch_response__descriptor, message, &arena, &response) !=
            0) {
            rc = cli_fail(w->cli, CLI_FAILURE, "the server sent an answer that cannot be read");
        } else {
            rc = watch_take(w, response, &arena);
        }
        arena_clear(&arena);
    }
    arena_close(&arena);
    return rc;
}

static int watch_run(struct watch *w)
{
    struct errmsg e = {""};
    struct conn_call *call = watch_open(w, &e);
    if (call == NULL) {
        return cli_fail(w->cli, CLI_FAILURE, "%s", e.text);
    }
    for (;;) {
        int rc = watch_read(w, call);
        conn_call_end(call);
        if (rc != 0) {
            return rc;
        }
        client_drop(&w->cli->client);
        do {
            (void)poll(NULL, 0, WATCH_RETRY_MS);
            call = watch_open(w, &e);
        } while (call == NULL);
    }
}

/* ---- the command
 * ----------------------------------------------------------------------------------- */

/* Splits "key [range_end] -- command..."; the key may come from the environment as in etcdctl. */
static int watch_words(struct watch *w, struct args *a)
{
    const char *key = cli_variable(w->cli->environment, "WATCH_KEY");
    const char *end = cli_variable(w->cli->environment, "WATCH_RANGE_END");
    if (a->dash < a->word_count) {
        const char **copy =
            arena_zalloc(&w->cli->arena, sizeof(*copy) * (a->word_count - a->dash + 1));
        if (copy == NULL) {
            return cli_fail(w->cli, CLI_FAILURE, "out of memory");
        }
        memcpy(copy, a->words + a->dash, sizeof(*copy) * (a->word_count - a->dash));
        w->command = copy;
        a->word_count = a->dash;
    }
    if (a->word_count == 0 && key != NULL) {
        a->words[a->word_count++] = key;
        if (end != NULL) {
            a->words[a->word_count++] = end;
        }
    } else if (a->word_count > 0 && key != NULL) {
        return cli_usage(w->cli, "a key is given here and in the variable WATCH_KEY: choose one");
    }
    return 0;
}

int cmd_watch(struct cli *cli)
{
    struct watch w = {.cli = cli};
    struct errmsg e = {""};
    int rc = cli_no_table(cli);
    if (rc == 0) {
        rc = watch_words(&w, &cli->args);
    }
    if (rc != 0) {
        return rc;
    }
    w.create = (Etcdserverpb__WatchCreateRequest)ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    w.create.prev_kv = args_bool(&cli->args, "prev-kv");
    w.create.progress_notify = args_bool(&cli->args, "progress-notify");
    w.next = args_int(&cli->args, "rev");
    if (cli_range(&cli->arena, &cli->args, NULL, &w.create.key, &w.create.range_end, &e) != 0) {
        return cli_usage(cli, "%s", e.text);
    }
    return watch_run(&w);
}
