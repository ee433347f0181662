/* cli.c - finds the command, reads options and environment, and what commands share; see cli.h. */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLI_ENDPOINTS_MAX  64u
#define CLI_NAME_BYTES_MAX 64u

/* ---- messages
 * -------------------------------------------------------------------------------------- */

int cli_fail(const struct cli *cli, int code, const char *format, ...)
{
    va_list args;
    (void)cli;
    fputs("Error: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list args;
    fputs("Error: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (cli->command != NULL) {
        fprintf(stderr, "\nUsage: kvctl %s %s\nSee `kvctl help %s`.\n", cli->command->name,
                cli->command->usage, cli->command->name);
    } else {
        fputs("\nSee `kvctl help`.\n", stderr);
    }
    return CLI_BAD_ARGS;
}

int cli_no_table(const struct cli *cli)
{
    if (!output_is_table(&cli->output)) {
        return 0;
    }
    return cli_fail(cli, CLI_BAD_FEATURE, "`%s` has no table form: use -w simple or -w json",
                    cli->command->name);
}

int cli_flush(struct cli *cli)
{
    const uint8_t *at = cli->out.data;
    size_t left = cli->out.len;
    if (cli->out.failed) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    while (left > 0) {
        ssize_t n = write(STDOUT_FILENO, at, left);
        if (n < 0 && errno != EINTR) {
            return cli_fail(cli, CLI_FAILURE, "standard output: %s", strerror(errno));
        }
        at += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    buf_clear(&cli->out);
    return 0;
}

/* ---- calls and input
 * ------------------------------------------------------------------------------- */

int cli_call(struct cli *cli, enum client_call_id id, const void *request, void **response)
{
    struct errmsg e = {""};
    if (client_call(&cli->client, id, request, &cli->arena, response, &e) == GRPC_OK) {
        return 0;
    }
    return cli_fail(cli, CLI_FAILURE, "%s", e.text);
}

int cli_read_stdin(struct arena *arena, struct slice *out, struct errmsg *e)
{
    struct buf all;
    int err = 0;
    buf_init(&all);
    for (;;) {
        if (!buf_reserve(&all, 64u * 1024u)) {
            err = errmsg_set(e, ERR_NOMEM, "out of memory");
            break;
        }
        ssize_t n = read(STDIN_FILENO, all.data + all.len, 64u * 1024u);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            err = errmsg_set(e, ERR_IO, "standard input: %s", strerror(errno));
            break;
        }
        all.len += n > 0 ? (size_t)n : 0;
        if (all.len > CLI_STDIN_BYTES_MAX) {
            err = errmsg_set(e, ERR_INVALID, "standard input is larger than any server accepts");
            break;
        }
    }
    if (err == 0) {
        *out = arena_dup(arena, buf_slice(&all));
        err = out->data == NULL ? errmsg_set(e, ERR_NOMEM, "out of memory") : 0;
    }
    buf_close(&all);
    return err;
}

/* ---- pieces of requests
 * ------------------------------------------------------------------------------ */

static bool cli_number(const char *text, int base, int64_t *out)
{
    char *end = NULL;
    bool sign = *text == '-' || *text == '+';
    if (!isxdigit((unsigned char)text[sign ? 1 : 0])) {
        return false;
    }
    errno = 0;
    long long value = strtoll(text, &end, base);
    if (errno != 0 || *end != '\0') {
        return false;
    }
    *out = value;
    return true;
}

bool cli_hex_id(const char *text, int64_t *out)
{
    return cli_number(text, 16, out);
}

bool cli_decimal(const char *text, int64_t *out)
{
    return cli_number(text, 10, out);
}

bool cli_from_key_range(struct slice key, ProtobufCBinaryData *first, ProtobufCBinaryData *end)
{
    static const uint8_t zero = 0;
    *first = key.len > 0 ? cli_bytes(key) : cli_bytes(slice_of(&zero, 1));
    *end = cli_bytes(slice_of(&zero, 1));
    return true;
}

bool cli_prefix_range(struct arena *arena, struct slice key, ProtobufCBinaryData *first,
                      ProtobufCBinaryData *end)
{
    size_t n = key.len;
    while (n > 0 && key.data[n - 1] == 0xff) {
        n--;
    }
    if (n == 0) {
        /* Nothing but 0xff, or nothing at all: no key can come after the last of them. */
        return cli_from_key_range(key, first, end);
    }
    struct slice after = arena_dup(arena, slice_of(key.data, n));
    if (after.data == NULL) {
        return false;
    }
    ((uint8_t *)after.data)[n - 1]++;
    *first = cli_bytes(key);
    *end = cli_bytes(after);
    return true;
}

int cli_range(struct arena *arena, const struct args *a, const char *from_key_option,
              ProtobufCBinaryData *first, ProtobufCBinaryData *end, struct errmsg *e)
{
    bool prefix = args_bool(a, "prefix");
    bool from_key = from_key_option != NULL && args_bool(a, from_key_option);
    if (prefix && from_key) {
        return errmsg_set(e, ERR_INVALID,
                          "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    }
    if (a->word_count == 0 || a->word_count > 2) {
        return errmsg_set(e, ERR_INVALID, "one key is needed, and a range_end may follow");
    }
    if (a->word_count == 2 && (prefix || from_key)) {
        return errmsg_set(
            e, ERR_INVALID,
            "too many arguments: with `--prefix` or `--from-key` only one key is taken");
    }
    struct slice key = slice_str(a->words[0]);
    if (prefix) {
        return cli_prefix_range(arena, key, first, end) ? 0
                                                        : errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    if (from_key) {
        return cli_from_key_range(key, first, end) ? 0 : ERR_NOMEM;
    }
    *first = cli_bytes(key);
    if (a->word_count == 2) {
        *end = cli_bytes(slice_str(a->words[1]));
    }
    return 0;
}

/* ---- environment
 * ------------------------------------------------------------------------------------- */

static const char *cli_lookup(char *const *environment, const char *prefix, const char *name)
{
    char wanted[CLI_NAME_BYTES_MAX];
    size_t n = (size_t)snprintf(wanted, sizeof(wanted), "%s%s=", prefix, name);
    for (char *const *entry = environment; *entry != NULL && n < sizeof(wanted); entry++) {
        if (strncmp(*entry, wanted, n) == 0 && (*entry)[n] != '\0') {
            return *entry + n;
        }
    }
    return NULL;
}

const char *cli_variable(char *const *environment, const char *name)
{
    const char *value = cli_lookup(environment, "KVCTL_", name);
    return value != NULL ? value : cli_lookup(environment, "ETCDCTL_", name);
}

/* Options that were not given take their value from the environment. */
static int cli_read_environment(struct cli *cli, struct errmsg *e)
{
    for (const struct arg_option *o = cli_global_options; o->name != NULL; o++) {
        char name[CLI_NAME_BYTES_MAX];
        size_t n = 0;
        for (; o->name[n] != '\0' && n + 1 < sizeof(name); n++) {
            name[n] = o->name[n] == '-' ? '_' : (char)toupper((unsigned char)o->name[n]);
        }
        name[n] = '\0';
        const char *value = cli_variable(cli->environment, name);
        if (value != NULL && !args_given(&cli->args, o->name)) {
            int err = args_set(&cli->args, o->name, value, e);
            if (err != 0) {
                bool ours = cli_lookup(cli->environment, "KVCTL_", name) != NULL;
                return errmsg_wrap(e, err, "environment variable %s%s",
                                   ours ? "KVCTL_" : "ETCDCTL_", name);
            }
        }
    }
    return 0;
}

/* ---- options
 * ----------------------------------------------------------------------------------------- */

static int cli_set_endpoints(struct cli *cli)
{
    const char *text = args_text(&cli->args, "endpoints");
    char *rest = (char *)arena_dup(&cli->arena, slice_of(text, strlen(text) + 1)).data;
    const char **list = arena_alloc(&cli->arena, CLI_ENDPOINTS_MAX * sizeof(*list));
    size_t count = 0;
    if (rest == NULL || list == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
        word += strspn(word, " ");
        word[strcspn(word, " ")] = '\0';
        if (*word == '\0') {
            continue;
        }
        if (count == CLI_ENDPOINTS_MAX) {
            return cli_usage(cli, "more than %u endpoints", CLI_ENDPOINTS_MAX);
        }
        struct errmsg e = {""};
        if (conn_check_endpoint(word, &e) != 0) {
            return cli_usage(cli, "%s", e.text);
        }
        list[count++] = word;
    }
    if (count == 0) {
        return cli_usage(cli, "no endpoints: set --endpoints host:port");
    }
    cli->client_options.endpoints = list;
    cli->client_options.endpoint_count = count;
    return 0;
}

static int cli_set_options(struct cli *cli)
{
    static const char *const forms[] = {
        [OUTPUT_SIMPLE] = "simple", [OUTPUT_JSON] = "json", [OUTPUT_TABLE] = "table"};
    const char *form = args_text(&cli->args, "write-out");
    bool known = false;
    for (const struct arg_option *o = cli_global_options; o->name != NULL; o++) {
        if (o->help == NULL && args_given(&cli->args, o->name)) {
            return cli_fail(cli, CLI_BAD_FEATURE, "--%s is not supported yet (see docs/status.md)",
                            o->name);
        }
    }
    if (!args_bool(&cli->args, "insecure-transport")) {
        return cli_fail(cli, CLI_BAD_FEATURE,
                        "--insecure-transport=false is not supported yet (see docs/status.md)");
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(form, forms[i]) == 0) {
            cli->output.form = (enum output_form)i;
            known = true;
        }
    }
    if (!known) {
        return cli_fail(cli, CLI_BAD_FEATURE,
                        "unsupported output format \"%s\": use simple, json or table", form);
    }
    int64_t most = args_int(&cli->args, "max-recv-bytes");
    cli->output.hex = args_bool(&cli->args, "hex");
    cli->client_options.dial_timeout_ms = args_ms(&cli->args, "dial-timeout");
    cli->client_options.command_timeout_ms = args_ms(&cli->args, "command-timeout");
    cli->client_options.message_bytes_max =
        most <= 0 || most > INT32_MAX ? INT32_MAX : (size_t)most;
    return cli_set_endpoints(cli);
}

/* ---- commands
 * ---------------------------------------------------------------------------------------- */

/* The command whose words begin at argv[*at], options of all commands between them allowed. *at is
 * moved behind them. NULL when there is none; `name` then holds what was asked for. */
static const struct command *cli_find(struct cli *cli, int argc, char *const *argv, int *at,
                                      char name[CLI_NAME_BYTES_MAX], struct errmsg *e)
{
    size_t len = 0;
    name[0] = '\0';
    /* A command has at most two words. */
    for (int words = 0; words < 2; words++) {
        if (args_parse(&cli->args, argc, argv, at, true, e) != 0) {
            return NULL;
        }
        if (*at >= argc) {
            return NULL;
        }
        if (argv[*at][0] == '\0') {
            (void)errmsg_set(e, ERR_INVALID, "a command is needed, not an empty word");
            return NULL;
        }
        len += (size_t)snprintf(name + len, CLI_NAME_BYTES_MAX - len, "%s%.30s",
                                words > 0 ? " " : "", argv[*at]);
        (*at)++;
        for (const struct command *c = cli_commands; c->name != NULL; c++) {
            if (strcmp(c->name, name) == 0) {
                return c;
            }
        }
        bool group = false;
        for (const struct command *c = cli_commands; c->name != NULL; c++) {
            group = group || (strncmp(c->name, name, len) == 0 && c->name[len] == ' ');
        }
        if (!group) {
            return NULL;
        }
    }
    return NULL;
}

/* No command was found: help where it was asked for or nothing was, else what is wrong. */
static int cli_no_command(struct cli *cli, const char *name, const struct errmsg *e)
{
    if (e->text[0] != '\0') {
        return cli_usage(cli, "%s", e->text);
    }
    if (cli_help(name, &cli->out)) {
        int rc = cli_flush(cli);
        return rc == 0 && *name != '\0' && !cli->args.help
                   ? cli_usage(cli, "\"%s\" needs one of these commands", name)
                   : rc;
    }
    return cli_usage(cli, "there is no command \"%s\"", name);
}

static int cli_command(struct cli *cli, int argc, char *const *argv)
{
    struct errmsg e = {""};
    char name[CLI_NAME_BYTES_MAX];
    int at = 1;
    args_init(&cli->args, cli_global_options, NULL);
    const struct command *command = cli_find(cli, argc, argv, &at, name, &e);
    if (command == NULL) {
        return cli_no_command(cli, name, &e);
    }
    /* Options given before the command's name are kept. */
    struct args before = cli->args;
    cli->command = command;
    args_init(&cli->args, cli_global_options, command->options);
    for (size_t i = 0; i < before.option_count; i++) {
        cli->args.values[i] = before.values[i];
    }
    cli->args.help = before.help;
    if (args_parse(&cli->args, argc, argv, &at, false, &e) != 0) {
        return cli_usage(cli, "%s", e.text);
    }
    if (cli->args.help) {
        (void)cli_help(command->name, &cli->out);
        return cli_flush(cli);
    }
    if (command->local) {
        int rc = command->run(cli);
        return rc == 0 ? cli_flush(cli) : rc;
    }
    if (cli_read_environment(cli, &e) != 0) {
        return cli_usage(cli, "%s", e.text);
    }
    int rc = cli_set_options(cli);
    if (rc != 0) {
        return rc;
    }
    client_init(&cli->client, &cli->client_options);
    rc = command->run(cli);
    client_close(&cli->client);
    /* What was printed before a failure is part of the truth. */
    int written = cli_flush(cli);
    return rc != 0 ? rc : written;
}

int cli_run(int argc, char *const *argv, char *const *environment)
{
    struct cli cli = {.environment = environment};
    arena_init(&cli.arena, 0);
    buf_init(&cli.out);
    int rc = cli_command(&cli, argc, argv);
    buf_close(&cli.out);
    arena_close(&cli.arena);
    return rc;
}
