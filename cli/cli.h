/* cli.h - what all commands of kvctl share: options, connection, output, exit codes.
 *
 * One command per process: cli_run finds it, reads options and environment, calls its `run`, writes
 * what it put into `out`, and frees everything. */
#ifndef KVD_CLI_CLI_H
#define KVD_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/output.h"

/* etcdctl's numbers where it has any. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILURE = 1,     /* the server said no, could not be reached, or was too slow */
    CLI_BAD_INPUT = 3,   /* standard input of txn cannot be read */
    CLI_BAD_FEATURE = 4, /* an option has a value that does not exist */
    CLI_CANCELED = 5,    /* the server ended a watch */
    CLI_BAD_ARGS = 128   /* the command line is wrong */
};

/* Standard input as a value or a transaction: no server takes more. */
#define CLI_STDIN_BYTES_MAX (64u * 1024u * 1024u)

struct cli;

struct command {
    const char *name;                 /* "put", "lease grant" */
    const char *usage;                /* what follows the name */
    const char *summary;              /* one line */
    const char *details;              /* more lines, or NULL */
    const struct arg_option *options; /* or NULL */
    int (*run)(struct cli *cli);
    bool local; /* talks to no server: what is wrong with options and environment is no matter */
};

struct cli {
    const struct command *command;
    struct args args;
    struct output output;
    struct client client;
    struct client_options client_options;
    const char **endpoints;
    struct arena arena; /* of the command: answers, requests */
    struct buf out;     /* for standard output */
    char *const *environment;
};

/* All commands, in the order of the help; ends with a NULL name. */
extern const struct command cli_commands[];
/* Options every command has. */
extern const struct arg_option cli_global_options[];

/* Runs `kvctl ARGV...`. Returns the exit code; nothing is left open. */
int cli_run(int argc, char *const *argv, char *const *environment);

/* "Error: ..." on standard error. Returns code. */
int cli_fail(const struct cli *cli, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a wrong command line: says also how to get help. Returns CLI_BAD_ARGS. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One unary call; on failure the error is printed. 0 or CLI_FAILURE. */
int cli_call(struct cli *cli, enum client_call_id id, const void *request, void **response);
/* The endpoints a command asks one by one: --endpoints, or with --cluster (which it must have) the
 * client URLs of the member list; one_per_member: only the first of each. 0 or an exit code
 * (printed). */
int cli_endpoints(struct cli *cli, bool one_per_member, const char *const **list, size_t *count);
/* One call to one endpoint, over a connection of its own; the answer is in the arena. Returns a
 * gRPC code, with the sentence in e. */
int cli_endpoint_call(struct cli *cli, const char *endpoint, enum client_call_id id,
                      const void *request, struct arena *arena, void **response, struct errmsg *e);
/* Writes what is in `out` to standard output. 0 or CLI_FAILURE (printed). */
int cli_flush(struct cli *cli);
/* Tables exist for lists only. 0 or CLI_BAD_FEATURE (printed). */
int cli_no_table(const struct cli *cli);
/* The value of KVCTL_<name> or, without it, ETCDCTL_<name>; NULL or not empty. */
const char *cli_variable(char *const *environment, const char *name);

/* ---- pieces of requests
 * ---------------------------------------------------------------------------- */

/* A lease or member id in hexadecimal; false when it is none. */
bool cli_hex_id(const char *text, int64_t *out);
bool cli_decimal(const char *text, int64_t *out);
static inline ProtobufCBinaryData cli_bytes(struct slice s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)s.data};
}
/* The range of all keys that begin with `key`, or of all from `key` on; an empty key means all keys
 * there are. Bytes live in the arena. false when out of memory. */
bool cli_prefix_range(struct arena *arena, struct slice key, ProtobufCBinaryData *first,
                      ProtobufCBinaryData *end);
bool cli_from_key_range(struct slice key, ProtobufCBinaryData *first, ProtobufCBinaryData *end);
/* key, range_end of get, del and watch from words and the options prefix and from-key (NULL: the
 * command has none). ERR_INVALID with a sentence. */
int cli_range(struct arena *arena, const struct args *a, const char *from_key_option,
              ProtobufCBinaryData *first, ProtobufCBinaryData *end, struct errmsg *e);

/* ---- commands, and what txn borrows from them
 * ------------------------------------------------------ */

extern const struct arg_option cmd_put_options[];
extern const struct arg_option cmd_get_options[];
extern const struct arg_option cmd_del_options[];
extern const struct arg_option cmd_watch_options[];
extern const struct arg_option cmd_time_to_live_options[];
extern const struct arg_option cmd_keep_alive_options[];
extern const struct arg_option cmd_compaction_options[];
extern const struct arg_option cmd_endpoint_options[];
extern const struct arg_option cmd_hash_kv_options[];
extern const struct arg_option cmd_txn_options[];
extern const struct arg_option cmd_plugin_options[];
extern const struct arg_option cmd_plugin_top_options[];
extern const struct arg_option cmd_explain_options[];
extern const struct arg_option cmd_describe_options[];
extern const struct arg_option cmd_delete_options[];
extern const struct arg_option cmd_apply_options[];
extern const struct arg_option cmd_history_options[];
extern const struct arg_option cmd_diff_options[];
extern const struct arg_option cmd_undo_options[];

/* Build a request from words and options. ERR_INVALID with a sentence. value_from_stdin: put may
 * read its value there. */
int cmd_put_request(struct arena *arena, const struct args *a, bool value_from_stdin,
                    Etcdserverpb__PutRequest *r, struct errmsg *e);
/* Also ERR_NOT_FOUND: the value of an option is none of those there are. */
int cmd_get_request(struct arena *arena, const struct args *a, Etcdserverpb__RangeRequest *r,
                    struct errmsg *e);
int cmd_del_request(struct arena *arena, const struct args *a, Etcdserverpb__DeleteRangeRequest *r,
                    struct errmsg *e);
/* Reads a whole transaction in etcdctl's notation. ERR_INVALID with a sentence. */
int cmd_txn_parse(struct arena *arena, struct slice text, Etcdserverpb__TxnRequest *r,
                  struct errmsg *e);
/* Everything on standard input, in the arena. */
int cli_read_stdin(struct arena *arena, struct slice *out, struct errmsg *e);

int cmd_put(struct cli *cli);
int cmd_get(struct cli *cli);
int cmd_del(struct cli *cli);
int cmd_txn(struct cli *cli);
int cmd_watch(struct cli *cli);
int cmd_lease_grant(struct cli *cli);
int cmd_lease_revoke(struct cli *cli);
int cmd_lease_time_to_live(struct cli *cli);
int cmd_lease_list(struct cli *cli);
int cmd_lease_keep_alive(struct cli *cli);
int cmd_compaction(struct cli *cli);
int cmd_endpoint_status(struct cli *cli);
int cmd_endpoint_health(struct cli *cli);
int cmd_endpoint_hash_kv(struct cli *cli);
int cmd_member_list(struct cli *cli);
int cmd_defrag(struct cli *cli);
int cmd_alarm_list(struct cli *cli);
int cmd_alarm_disarm(struct cli *cli);
int cmd_plugin_list(struct cli *cli);
int cmd_plugin_describe(struct cli *cli);
int cmd_plugin_top(struct cli *cli);
int cmd_plugin_config(struct cli *cli);
int cmd_plugin_reload(struct cli *cli);
int cmd_plugin_enable(struct cli *cli);
int cmd_plugin_disable(struct cli *cli);
int cmd_explain_schedule(struct cli *cli);
int cmd_describe(struct cli *cli);
int cmd_delete(struct cli *cli);
int cmd_apply(struct cli *cli);
int cmd_history(struct cli *cli);
int cmd_diff(struct cli *cli);
int cmd_undo(struct cli *cli);
int cmd_why(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_help(struct cli *cli);

/* The help of one command, or of all when name is "". Appends; false when there is no such command.
 */
bool cli_help(const char *name, struct buf *out);

#endif
