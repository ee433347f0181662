/* flags_help.c - --help and usage, made from the table of flags. */
#include <string.h>

#include "kvd/flags.h"

/* Text of a flag is wrapped here. */
#define HELP_COLUMNS 96u

static const char *const help_groups[] = {
    [FLAG_GROUP_MEMBER] = "Member",
    [FLAG_GROUP_CLUSTERING] = "Clustering",
    [FLAG_GROUP_SECURITY] = "Security",
    [FLAG_GROUP_AUTH] = "Auth",
    [FLAG_GROUP_MONITORING] = "Profiling and Monitoring",
    [FLAG_GROUP_LOGGING] = "Logging",
    [FLAG_GROUP_TRACING] = "Distributed tracing",
    [FLAG_GROUP_FEATURES] = "Features",
    [FLAG_GROUP_UNSAFE] = "Unsafe feature",
    [FLAG_GROUP_KVD] = "kvd's own",
    [FLAG_GROUP_MISC] = "Miscellaneous",
};

/* Words of text, each line indented, broken before HELP_COLUMNS. */
static void help_wrap(struct buf *out, const char *text, unsigned indent)
{
    unsigned column = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        if (column > 0 && column + 1 + n > HELP_COLUMNS) {
            buf_append_byte(out, '\n');
            column = 0;
        }
        if (column == 0) {
            buf_printf(out, "%*s", (int)indent, "");
            column = indent;
        } else {
            buf_append_byte(out, ' ');
            column++;
        }
        buf_append(out, text, n);
        column += (unsigned)n;
        text += n;
        text += strspn(text, " ");
    }
    buf_append_byte(out, '\n');
}

static void help_group(struct buf *out, enum flag_group group, enum kvd_profile profile)
{
    bool any = false;
    for (int i = 0; i < FLAG_COUNT_; i++) {
        const struct flag_row *row = flag_row((enum flag_id)i);
        if (row->group != group || row->support != FLAG_WORKS) {
            continue;
        }
        if (!any) {
            buf_printf(out, "\n%s:\n", help_groups[group]);
            any = true;
        }
        if (i == FLAG_version) {
            buf_printf(out, "  --%s\n", row->name);
        } else {
            buf_printf(out, "  --%s '%s'\n", row->name, flag_initial((enum flag_id)i, profile));
        }
        help_wrap(out, row->help, 4);
    }
}

/* The names of all flags of one support status, as one paragraph. */
static void help_names(struct buf *out, const char *title, enum flag_support support)
{
    struct buf names;
    buf_init(&names);
    for (int i = 0; i < FLAG_COUNT_; i++) {
        const struct flag_row *row = flag_row((enum flag_id)i);
        if (row->support == support) {
            buf_printf(&names, "%s--%s", names.len > 0 ? " " : "", row->name);
        }
    }
    buf_append_byte(&names, '\0');
    buf_printf(out, "\n%s:\n", title);
    if (!names.failed) {
        help_wrap(out, (const char *)names.data, 2);
    }
    buf_close(&names);
}

void flags_usage(struct buf *out, enum kvd_profile profile)
{
    const char *name = profile == KVD_PROFILE_ETCD ? "etcd" : "kvd";
    buf_printf(
        out,
        "Usage:\n"
        "\n"
        "  %s [flags]\n"
        "    Start a server: a store for etcd v3 clients.\n"
        "\n"
        "  %s --config-file PATH\n"
        "    Start it with the settings of a YAML or JSON file; other flags and environment\n"
        "    variables are ignored then.\n"
        "\n"
        "  %s --version\n"
        "    Show versions.\n"
        "\n"
        "  %s -h | --help\n"
        "    Show all flags.\n",
        name, name, name, name);
}

void flags_help(struct buf *out, enum kvd_profile profile)
{
    flags_usage(out, profile);
    buf_append_str(
        out,
        "\n"
        "A flag is written --name value or --name=value, with one dash or two; the last one of a\n"
        "name counts. Each flag is also an environment variable: ETCD_ and its name in capitals\n"
        "with _ for - (ETCD_DATA_DIR), KVD_ for kvd's own. Giving both is an error. Times are\n"
        "written like 100ms, 5s or 1h30m; in a file also as whole nanoseconds.\n");
    for (int group = 0; group < FLAG_GROUP_OBSOLETE; group++) {
        help_group(out, (enum flag_group)group, profile);
    }
    help_names(out, "Known to etcd, not supported here yet: refused unless left at their defaults",
               FLAG_REFUSED);
    help_names(out, "Accepted without effect: they tune what this server does not have", FLAG_IDLE);
    help_names(out, "Accepted for old start scripts, ignored", FLAG_OBSOLETE);
    buf_append_str(
        out, "\n"
             "Exit status:\n"
             "  killed by SIGTERM or SIGINT after a clean stop (0 as process 1 of a container)\n"
             "  1  a setting was refused, or the server could not start or go on: the last log\n"
             "     line says why\n"
             "  2  a flag is unknown or its value cannot be read\n");
    if (profile == KVD_PROFILE_KVD) {
        buf_append_str(
            out, "\n"
                 "Started under the name etcd, this program has etcd's defaults: no automatic\n"
                 "compaction, alarms are ended by hand, data in ${name}.etcd.\n");
    }
}
