/* help.c - kvctl help, version, and the table of commands. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/release.h"

const struct arg_option cli_global_options[] = {
    {"endpoints", 0, ARG_STRING, "127.0.0.1:2379",
     "host:port or unix://path, comma-separated; the first to answer is used"},
    {"write-out", 'w', ARG_STRING, "simple", "form of the answer: simple, json or table"},
    {"hex", 0, ARG_BOOL, "", "print keys and values as \\x61\\x62"},
    {"dial-timeout", 0, ARG_DURATION, "2s",
     "how long to look for a server that answers (0 = for ever)"},
    {"command-timeout", 0, ARG_DURATION, "5s", "how long one request may take (0 = for ever)"},
    {"max-recv-bytes", 0, ARG_INT, "2147483647", "largest answer to accept"},
    {"insecure-transport", 0, ARG_BOOL, "true", "without TLS (the only way so far)"},
    /* Known to etcdctl; whoever gives one of these means it, so they are refused, not ignored. */
    {"cacert", 0, ARG_STRING, "", NULL},
    {"cert", 0, ARG_STRING, "", NULL},
    {"key", 0, ARG_STRING, "", NULL},
    {"insecure-skip-tls-verify", 0, ARG_BOOL, "", NULL},
    {"user", 0, ARG_STRING, "", NULL},
    {"password", 0, ARG_STRING, "", NULL},
    {"discovery-srv", 'd', ARG_STRING, "", NULL},
    {0},
};

const struct command cli_commands[] = {
    {"put", "[options] <key> [<value>]", "write a key",
     "Without <value> it is read from standard input, byte for byte. A value that begins with - "
     "comes\n"
     "after --:  kvctl put temperature -- -5",
     cmd_put_options, cmd_put},
    {"get", "[options] <key> [range_end] | <kind> [name...]",
     "read a key or all keys of [key, range_end), or objects",
     "With --count-only the simple form prints one number.\n"
     "\n"
     "Objects of Kubernetes are meant when the first word is a kind written out (pods or pod, not "
     "po), or\n"
     "an option is given that only objects have (-n, -A, -l, -o ...); and none that only keys "
     "have\n"
     "(--prefix, --rev ...). A key of that name is read after --:  kvctl get -- pods",
     cmd_get_options, cmd_get},
    {"del", "[options] <key> [range_end]", "delete a key, or all keys of [key, range_end)",
     "Prints how many were deleted. Unlike etcdctl's it does not pause before deleting a range.",
     cmd_del_options, cmd_del},
    {"txn", "[options] < transaction", "do several things at once, or not at all",
     "Reads three parts from standard input, each ended by a blank line: conditions, what to do "
     "when\n"
     "all of them hold, and what to do otherwise.\n"
     "\n"
     "  value(\"user\") = \"ann\"\n"
     "  mod(\"user\") > \"0\"\n"
     "\n"
     "  put user bob\n"
     "  get --prefix session/\n"
     "\n"
     "  get user\n"
     "\n"
     "Conditions compare version, create, mod, value or lease of a key by = != < >. Both sides "
     "are\n"
     "quoted, with Go's escapes. Operations are put, get and del with their options.",
     cmd_txn_options, cmd_txn},
    {"watch", "[options] <key> [range_end] [-- command...]", "print changes as they happen",
     "Runs until it is interrupted; a lost connection is made again without missing anything. "
     "With\n"
     "-- a command runs for each change; it finds ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE,\n"
     "ETCD_WATCH_KEY and ETCD_WATCH_VALUE (quoted) in its environment.",
     cmd_watch_options, cmd_watch},
    {"lease grant", "<seconds>", "make a lease: keys attached to it go when it expires", NULL, NULL,
     cmd_lease_grant},
    {"lease revoke", "<lease>", "end a lease now, and delete its keys", NULL, NULL,
     cmd_lease_revoke},
    {"lease timetolive", "[options] <lease>", "how long a lease has left", NULL,
     cmd_time_to_live_options, cmd_lease_time_to_live},
    {"lease list", "", "all leases there are", NULL, NULL, cmd_lease_list},
    {"lease keep-alive", "[options] <lease>", "renew a lease again and again",
     "Runs until it is interrupted, or the lease is gone; a lost connection is made again.",
     cmd_keep_alive_options, cmd_lease_keep_alive},
    {"compaction", "[options] <revision>", "drop history before a revision", NULL,
     cmd_compaction_options, cmd_compaction},
    {"endpoint status", "[options]", "what each endpoint says about itself", NULL,
     cmd_endpoint_options, cmd_endpoint_status},
    {"endpoint health", "[options]", "whether each endpoint takes part in the cluster", NULL,
     cmd_endpoint_options, cmd_endpoint_health},
    {"endpoint hashkv", "[options]", "a hash of each endpoint's whole history", NULL,
     cmd_hash_kv_options, cmd_endpoint_hash_kv},
    {"member list", "", "the members of the cluster", NULL, NULL, cmd_member_list},
    {"defrag", "[options]", "give free space of the database file back", NULL, cmd_endpoint_options,
     cmd_defrag},
    {"alarm list", "", "active alarms", NULL, NULL, cmd_alarm_list},
    {"alarm disarm", "", "end all alarms", NULL, NULL, cmd_alarm_disarm},
    {"plugin list", "[options]", "the plugins of a member, and how they are",
     "Every endpoint is asked by itself: plugins belong to members.", cmd_plugin_options,
     cmd_plugin_list},
    {"plugin describe", "[options] <plugin>", "all there is to know about one plugin", NULL,
     cmd_plugin_options, cmd_plugin_describe},
    {"plugin top", "[options] [plugin]", "what plugins cost, those that take most time first",
     "On a terminal it goes on and shows each second what the last one cost, until it is "
     "interrupted;\notherwise it prints once what they have cost since they were loaded.",
     cmd_plugin_top_options, cmd_plugin_top},
    {"plugin reload", "[options] <plugin> [name=value...]",
     "load its file again, with other settings",
     "Settings that are not named stay as they are; those of a reload last until kvd ends. When\n"
     "anything fails, the old code and the old settings stay in force, and no further endpoint is\n"
     "asked. Of several endpoints the followers come first, the leader last.",
     cmd_plugin_options, cmd_plugin_reload},
    {"plugin enable", "[options] <plugin>", "lift its quarantine, or start it when disabled", NULL,
     cmd_plugin_options, cmd_plugin_enable},
    {"plugin disable", "[options] <plugin>", "stop it until it is enabled", NULL,
     cmd_plugin_options, cmd_plugin_disable},
    {"plugin config", "[options] <plugin>", "its settings, and where they come from", NULL,
     cmd_plugin_options, cmd_plugin_config},
    {"describe", "[options] <kind> <name>...", "an object in full, and the events about it", NULL,
     cmd_describe_options, cmd_describe},
    {"apply", "[options] -f <file>", "make objects as a file says",
     "Objects that are not there are created. Of others what the file says is set, what the file\n"
     "before it said and this one does not is removed, and the rest stays. That file is kept in "
     "the\n"
     "object, as kubectl's client-side apply does: both may be used on the same objects.",
     cmd_apply_options, cmd_apply},
    {"delete", "[options] <kind> <name>... | -f <file>", "delete objects",
     "Does not wait until they are gone.", cmd_delete_options, cmd_delete},
    {"history", "[options] <kind>/<name>", "the revisions of an object that are still in the store",
     "Newest first: when and by whom each was written (as the object's managedFields tell) and "
     "what "
     "it\nchanged. Read over etcd's API (--endpoints). Compaction ends it.",
     cmd_history_options, cmd_history},
    {"diff", "[options] <kind>/<name> --at <revision>", "what has changed since a revision",
     "A unified difference of both states as YAML, without managedFields; nothing when they are "
     "the "
     "same.",
     cmd_diff_options, cmd_diff},
    {"undo", "[options] <kind>/<name> --to <revision>", "make an object as it was at a revision",
     "Everything but metadata and status is put back, by an update through the API server; if "
     "somebody\n"
     "writes at the same time it fails. An object that was deleted is created again.",
     cmd_undo_options, cmd_undo},
    {"why", "[options] <kind>/<name>", "why an object is there, and who made it as it is",
     "Its owners, then every revision that is still in the store, with its writer and all changes.",
     cmd_history_options, cmd_why},
    {"config", "[options] <plugin>", "the settings of a plugin: the same as plugin config", NULL,
     cmd_plugin_options, cmd_plugin_config},
    {"explain-schedule", "[options] <pod>", "why a pod is on its node, or on none",
     "Asks the scheduler of the first endpoint that has one, and prints every node: its rank out "
     "of "
     "10 with\nthe score and weight of each rule, or the filter that refused it; then the rule "
     "that "
     "decided. <pod> may\nalso be <namespace>/<pod>. For a pod that has its node already it is "
     "worked out anew, without it.",
     cmd_explain_options, cmd_explain_schedule},
    {"version", "", "print versions", NULL, NULL, cmd_version, true},
    {"help", "[command]", "this text, or that of one command", NULL, NULL, cmd_help, true},
    {0},
};

static void help_options(struct buf *out, const char *title, const struct arg_option *options)
{
    static const char *const values[] = {
        [ARG_BOOL] = "", [ARG_INT] = " N", [ARG_STRING] = " TEXT", [ARG_DURATION] = " TIME"};
    buf_printf(out, "\n%s:\n", title);
    for (const struct arg_option *o = options; o->name != NULL; o++) {
        char left[64];
        char letter[8] = "    ";
        if (o->help == NULL) {
            continue;
        }
        if (o->letter != 0) {
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        }
        snprintf(left, sizeof(left), "%s--%s%s", letter, o->name, values[o->type]);
        buf_printf(out, "  %-30s %s", left, o->help);
        if (*o->initial != '\0' && strcmp(o->initial, "0") != 0) {
            buf_printf(out, " [%s]", o->initial);
        }
        buf_append_byte(out, '\n');
    }
}

static void help_all(struct buf *out)
{
    buf_append_str(out,
                   "kvctl talks to kvd, or to any etcd.\n\nUsage:\n  kvctl [options] <command>\n");
    buf_append_str(out, "\nCommands:\n");
    for (const struct command *c = cli_commands; c->name != NULL; c++) {
        buf_printf(out, "  %-18s %s\n", c->name, c->summary);
    }
    help_options(out, "Options of all commands", cli_global_options);
    buf_append_str(
        out,
        "\nEach of these options is also an environment variable: KVCTL_ENDPOINTS, or as etcdctl\n"
        "has it ETCDCTL_ENDPOINTS. Times are written like 500ms, 5s or 1m30s.\n"
        "\nExit status:\n"
        "  0    done\n"
        "  1    the server said no, could not be reached, or was too slow; or an endpoint is sick\n"
        "  3    the transaction on standard input cannot be read\n"
        "  4    an option has a value that does not exist\n"
        "  5    the server ended a watch\n"
        "  128  the command line is wrong\n"
        "\n`kvctl help <command>` says more about each command.\n");
}

/* Commands of a group ("lease"): name is a first word. */
static bool help_group(const char *name, struct buf *out)
{
    size_t n = strlen(name);
    bool any = false;
    for (const struct command *c = cli_commands; c->name != NULL; c++) {
        if (strncmp(c->name, name, n) == 0 && c->name[n] == ' ') {
            if (!any) {
                buf_printf(out, "Usage:\n  kvctl %s <command>\n\nCommands:\n", name);
            }
            any = true;
            buf_printf(out, "  %-18s %s\n", c->name, c->summary);
        }
    }
    if (any) {
        buf_append_str(out, "\n`kvctl help` lists all commands and the options they share.\n");
    }
    return any;
}

bool cli_help(const char *name, struct buf *out)
{
    if (*name == '\0') {
        help_all(out);
        return true;
    }
    for (const struct command *c = cli_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            buf_printf(out, "kvctl %s - %s\n\nUsage:\n  kvctl %s %s\n", c->name, c->summary,
                       c->name, c->usage);
            if (c->details != NULL) {
                buf_printf(out, "\n%s\n", c->details);
            }
            if (c->options != NULL) {
                help_options(out, "Options", c->options);
            }
            help_options(out, "Options of all commands", cli_global_options);
            return true;
        }
    }
    return help_group(name, out);
}

int cmd_help(struct cli *cli)
{
    char name[64] = "";
    size_t at = 0;
    for (size_t i = 0; i < cli->args.word_count && at < sizeof(name); i++) {
        at += (size_t)snprintf(name + at, sizeof(name) - at, "%s%s", i > 0 ? " " : "",
                               cli->args.words[i]);
    }
    if (!cli_help(name, &cli->out)) {
        return cli_usage(cli, "there is no command \"%s\"", name);
    }
    return 0;
}

int cmd_version(struct cli *cli)
{
    if (cli->args.word_count != 0) {
        return cli_usage(cli, "version takes no arguments");
    }
    buf_printf(&cli->out, "kvctl version: %s\nAPI version: %s\n", KVCTL_VERSION, KVCTL_API_VERSION);
    return 0;
}
