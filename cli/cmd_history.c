/* cmd_history.c - kvctl history, diff, undo, why: what the store still knows of an object.
 *
 * An object is a row of the store, and a row's old versions stay until they are compacted. They are
 * read over etcd's API, newest first: each version says at which revision it was written, so the
 * one before it is what the row was one revision earlier. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "cli/objects.h"
#include "plugins/object/decode.h"
#include "plugins/object/encode.h"
#include "plugins/object/registry.h"
#include "proto/kvd/record.pb-c.h"

#define OWNERS_MAX 8u

const struct arg_option cmd_history_options[] = {
    OBJECTS_OPTIONS,
    {"limit", 0, ARG_INT, "0", "at most so many revisions, newest first (0 = all)"},
    {0},
};
const struct arg_option cmd_diff_options[] = {
    OBJECTS_OPTIONS,
    {"at", 0, ARG_INT, "0", "the revision to compare with"},
    {"to", 0, ARG_INT, "0", "what to compare it to (0 = what it is now)"},
    {0},
};
const struct arg_option cmd_undo_options[] = {
    OBJECTS_OPTIONS,
    {"to", 0, ARG_INT, "0", "the revision to go back to"},
    {"dry-run", 0, ARG_BOOL, "", "only show what would change"},
    {0},
};

/* One version of an object. */
struct version {
    bool there;          /* false: the key did not exist then */
    bool compacted;      /* nobody knows any more */
    int64_t revision;    /* that wrote it */
    int64_t number;      /* 1 = the object was created */
    struct slice plugin; /* that wrote it; empty: a client, or the server does not tell */
    struct value tree;   /* without what the server adds */
};

/* ---- reading --------------------------------------------------------------------------------- */

static int read_value(struct cli *cli, struct slice value, struct value *tree)
{
    if (value.len >= 4 && memcmp(value.data, "k8s\0", 4) == 0) {
        return cli_fail(cli, CLI_FAILURE,
                        "the object is stored as protobuf, which kvctl cannot read yet");
    }
    return tree_read(cli, value, tree);
}

/* The plugin that wrote a version; empty when a client did, or when the server does not tell (an
 * etcd). 0 or an exit code (printed). */
static int read_origin(struct cli *cli, struct slice key, struct version *v)
{
    Kvdpb__OriginRequest request = KVDPB__ORIGIN_REQUEST__INIT;
    void *answer = NULL;
    struct errmsg e = {""};
    request.key = cli_bytes(key);
    request.revision = v->revision;
    int code = client_call(&cli->client, CLIENT_RECORD_ORIGIN, &request, &cli->arena, &answer, &e);
    if (code == GRPC_OK) {
        v->plugin = slice_str(((const Kvdpb__OriginResponse *)answer)->plugin);
    }
    /* Compacted while we read: then it is not known any more, as the rest. */
    bool fine = code == GRPC_OK || code == GRPC_UNIMPLEMENTED || code == GRPC_OUT_OF_RANGE ||
                code == GRPC_NOT_FOUND;
    return fine ? 0 : cli_fail(cli, CLI_FAILURE, "%s", e.text);
}

/* The object as it was at a revision (0 = now). 0 or an exit code (printed). */
static int version_at(struct objects *o, const struct target *t, int64_t revision,
                      struct version *v)
{
    struct cli *cli = o->cli;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    void *answer = NULL;
    struct errmsg e = {""};
    struct buf key;
    int rc = 0;
    *v = (struct version){0};
    buf_init(&key);
    registry_key(t->kind.type, objects_space(o, &t->kind), t->name, &key);
    request.key = cli_bytes(buf_slice(&key));
    request.revision = revision;
    int code = key.failed
                   ? GRPC_RESOURCE_EXHAUSTED
                   : client_call(&cli->client, CLIENT_RANGE, &request, &cli->arena, &answer, &e);
    if (code == GRPC_OUT_OF_RANGE && strcmp(e.text, err_text(ERR_COMPACTED)) == 0) {
        v->compacted = true;
        rc = 0;
    } else if (code != GRPC_OK) {
        rc = cli_fail(cli, CLI_FAILURE, "%s",
                      code == GRPC_RESOURCE_EXHAUSTED && key.failed ? "out of memory" : e.text);
    } else if (((const Etcdserverpb__RangeResponse *)answer)->n_kvs > 0) {
        const Mvccpb__KeyValue *kv = ((const Etcdserverpb__RangeResponse *)answer)->kvs[0];
        v->there = true;
        v->revision = kv->mod_revision;
        v->number = kv->version;
        rc = read_value(cli, slice_of(kv->value.data, kv->value.len), &v->tree);
        rc = rc == 0 ? read_origin(cli, buf_slice(&key), v) : rc;
    }
    buf_close(&key);
    return rc;
}

/* A revision that a command needs. */
static int need_version(struct objects *o, const struct target *t, int64_t revision,
                        struct version *v)
{
    int rc = version_at(o, t, revision, v);
    if (rc == 0 && v->compacted) {
        return cli_fail(o->cli, CLI_FAILURE, "revision %" PRId64 " has been compacted: it is gone",
                        revision);
    }
    if (rc == 0 && !v->there) {
        char when[64] = "now";
        if (revision != 0) {
            snprintf(when, sizeof when, "at revision %" PRId64, revision);
        }
        struct buf name;
        buf_init(&name);
        kind_name(&t->kind, &name);
        rc = cli_fail(o->cli, CLI_FAILURE, "there is no %.*s/%.*s %s", (int)name.len,
                      (const char *)name.data, (int)t->name.len, (const char *)t->name.data, when);
        buf_close(&name);
    }
    return rc;
}

/* ---- who wrote it ---------------------------------------------------------------------------- */

struct writer {
    struct slice manager, operation, subresource, time;
};

static bool has_entry(const struct value *list, const struct value *entry)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_equal(NULL, entry, &list->items[i])) {
            return true;
        }
    }
    return false;
}

/* Has only the status changed? */
static bool only_status_differs(const struct value *before, const struct value *now)
{
    for (size_t i = 0; before != NULL && i < value_len(now); i++) {
        struct slice key = value_map_key(now, i);
        const struct value *old = value_map_get(before, key);
        if (!slice_eq(key, slice_str("status")) && !slice_eq(key, slice_str("metadata")) &&
            (old == NULL || !value_equal(NULL, old, value_map_at(now, i)))) {
            return false;
        }
    }
    return before != NULL;
}

/* Who wrote a version: the newest entry of managedFields that the version before did not have.
 * Times are of whole seconds: who writes twice within one leaves his entry as it is. So without a
 * new one it was one of the newest: that of the status when only it has changed, else the other;
 * when there are several like that, nobody is named. */
static struct writer writer_of(const struct value *before, const struct value *now)
{
    const struct value *list = tree_get(now, "metadata.managedFields");
    const struct value *old = before == NULL ? NULL : tree_get(before, "metadata.managedFields");
    bool status = only_status_differs(before, now);
    const struct value *found = NULL;
    bool is_new = false;
    bool several = false;
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *entry = &list->items[i];
        bool fresh = !has_entry(old, entry);
        bool fits = (tree_text(entry, "subresource").len > 0) == status;
        if ((is_new && !fresh) || (!fresh && !fits)) {
            continue;
        }
        /* Times of RFC 3339 in UTC sort as texts. */
        int order = found == NULL || (fresh && !is_new)
                        ? 1
                        : slice_cmp(tree_text(entry, "time"), tree_text(found, "time"));
        several = order == 0 || (order < 0 && several);
        if (order > 0 || (order == 0 && fits)) {
            found = entry;
            is_new = fresh;
        }
    }
    if (found == NULL || (several && !is_new)) {
        return (struct writer){0};
    }
    return (struct writer){.manager = tree_text(found, "manager"),
                           .operation = tree_text(found, "operation"),
                           .subresource = tree_text(found, "subresource"),
                           .time = tree_text(found, "time")};
}

/* What changes by itself is not told. */
static void strip(struct value *tree)
{
    struct value *meta = value_map_cget(tree, "metadata");
    if (meta != NULL && meta->kind == VALUE_MAP) {
        (void)value_map_remove(meta, slice_str("managedFields"));
        (void)value_map_remove(meta, slice_str("resourceVersion"));
        (void)value_map_remove(meta, slice_str("generation"));
    }
}

struct changes {
    struct buf *out;
    const char *separator, *lead;
    size_t count;
    size_t most; /* told at most; the rest is counted */
    size_t value_bytes;
};

static void put_change(void *data, struct slice path, const struct value *a, const struct value *b)
{
    struct changes *c = data;
    if (c->count++ >= c->most) {
        return;
    }
    buf_append_str(c->out, c->count > 1 ? c->separator : "");
    buf_append_str(c->out, c->lead);
    go_visible(c->out, path);
    buf_append_str(c->out, ": ");
    tree_brief(a, c->value_bytes, c->out);
    buf_append_str(c->out, " -> ");
    tree_brief(b, c->value_bytes, c->out);
}

/* What has changed from one version to the next. false when out of memory. */
static bool put_changes(struct cli *cli, const struct version *before, const struct version *now,
                        struct changes *c)
{
    struct value a;
    struct value b;
    if (value_copy_shared(&cli->arena, &before->tree, &a) != 0 ||
        value_copy_shared(&cli->arena, &now->tree, &b) != 0) {
        return false;
    }
    strip(&a);
    strip(&b);
    tree_diff(&a, &b, put_change, c);
    return true;
}

/* ---- history and why ------------------------------------------------------------------------- */

typedef int version_fn(void *data, const struct version *v, const struct version *before);

/* Calls for each version that is left, newest first; before: the one it replaced (there false:
 * none; compacted: not known any more). */
static int each_version(struct objects *o, const struct target *t, int64_t most, version_fn *fn,
                        void *data)
{
    struct version v;
    int rc = need_version(o, t, 0, &v);
    for (int64_t n = 0; rc == 0 && v.there && (most <= 0 || n < most); n++) {
        struct version before = {0};
        if (v.number > 1) {
            rc = version_at(o, t, v.revision - 1, &before);
        }
        rc = rc == 0 ? fn(data, &v, &before) : rc;
        v = before;
    }
    return rc;
}

struct history {
    struct cli *cli;
    struct output_table table;
    bool cut;
};

static int put_history(void *data, const struct version *v, const struct version *before)
{
    struct history *h = data;
    struct buf text;
    struct writer w = writer_of(before->there ? &before->tree : NULL, &v->tree);
    buf_init(&text);
    if (v->number == 1) {
        buf_append_str(&text, "created");
    } else if (before->compacted) {
        buf_append_str(&text, "(what it was before has been compacted)");
        h->cut = true;
    } else {
        struct changes c = {
            .out = &text, .separator = ", ", .lead = "", .most = 2, .value_bytes = 40};
        if (!put_changes(h->cli, before, v, &c)) {
            buf_close(&text);
            return cli_fail(h->cli, CLI_FAILURE, "out of memory");
        }
        if (c.count > c.most) {
            buf_printf(&text, ", and %zu more", c.count - c.most);
        }
        buf_append_str(&text, c.count == 0 ? "nothing" : "");
    }
    output_table_cell(&h->table, "%" PRId64, v->revision);
    output_table_cell(&h->table, "%.*s", (int)w.time.len, (const char *)w.time.data);
    if (w.manager.len == 0) {
        w.manager = v->plugin;
    }
    output_table_cell(&h->table, "%.*s%s%.*s", (int)w.manager.len, (const char *)w.manager.data,
                      w.subresource.len > 0 ? "/" : "", (int)w.subresource.len,
                      (const char *)w.subresource.data);
    output_table_cell(&h->table, "%.*s", (int)text.len, (const char *)text.data);
    buf_close(&text);
    return 0;
}

int cmd_history(struct cli *cli)
{
    static const char *const titles[] = {"revision", "when", "who", "changes"};
    struct objects o;
    struct target t;
    struct history h = {.cli = cli};
    int rc = objects_open(&o, cli);
    output_table_init(&h.table, titles, 4);
    rc = rc == 0 ? objects_target(cli, &t) : rc;
    rc = rc == 0 ? each_version(&o, &t, args_int(&cli->args, "limit"), put_history, &h) : rc;
    if (rc == 0) {
        output_table_columns(&h.table, &cli->out);
    }
    output_table_close(&h.table);
    objects_close(&o);
    return rc;
}

/* "plugin controllers as deployment-controller (Update of status) at ...". */
static void put_writer(struct slice plugin, const struct writer *w, struct buf *out)
{
    if (plugin.len > 0) {
        buf_append_str(out, "plugin ");
        go_visible(out, plugin);
    }
    if (w->manager.len == 0) {
        buf_append_str(out, plugin.len > 0 ? "" : "somebody whom the object does not name");
        return;
    }
    if (!slice_eq(plugin, w->manager)) {
        buf_append_str(out, plugin.len > 0 ? " as " : "");
        go_visible(out, w->manager);
    }
    buf_printf(out, " (%.*s%s%.*s) at %.*s", (int)w->operation.len, (const char *)w->operation.data,
               w->subresource.len > 0 ? " of " : "", (int)w->subresource.len,
               (const char *)w->subresource.data, (int)w->time.len, (const char *)w->time.data);
}

static int put_why(void *data, const struct version *v, const struct version *before)
{
    struct cli *cli = data;
    struct buf *out = &cli->out;
    struct writer w = writer_of(before->there ? &before->tree : NULL, &v->tree);
    buf_printf(out, "\nrevision %" PRId64 ": ", v->revision);
    put_writer(v->plugin, &w, out);
    if (v->number == 1) {
        buf_append_str(out, " created it\n");
        return 0;
    }
    buf_append_str(out, " wrote\n");
    if (before->compacted) {
        buf_append_str(out, "  (what it was before has been compacted)\n");
        return 0;
    }
    struct changes c = {
        .out = out, .separator = "\n", .lead = "  ", .most = 100, .value_bytes = 200};
    if (!put_changes(cli, before, v, &c)) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    buf_append_str(out, c.count == 0 ? "  nothing new\n" : "\n");
    if (c.count > c.most) {
        buf_printf(out, "  and %zu more\n", c.count - c.most);
    }
    return 0;
}

/* The controlling owner, and its, until there is none. */
static int put_owners(struct objects *o, struct target t, const struct value *object)
{
    struct buf *out = &o->cli->out;
    struct value tree = *object;
    kind_name(&t.kind, out);
    buf_append_byte(out, '/');
    go_visible(out, t.name);
    for (size_t depth = 0; depth < OWNERS_MAX; depth++) {
        const struct value *list = tree_get(&tree, "metadata.ownerReferences");
        const struct value *owner = NULL;
        for (size_t i = 0; i < value_len(list) && owner == NULL; i++) {
            const struct value *is = tree_get(&list->items[i], "controller");
            owner = is != NULL && is->kind == VALUE_BOOL && is->boolean ? &list->items[i] : NULL;
        }
        if (owner == NULL) {
            buf_append_str(out, depth == 0 ? " has no owner: somebody asked for it\n" : "\n");
            return 0;
        }
        struct target up = {.name = tree_text(owner, "name")};
        buf_append_str(out, depth == 0 ? " is there because of " : ", because of ");
        if (!kind_of(tree_text(owner, "apiVersion"), tree_text(owner, "kind"), &up.kind)) {
            go_visible(out, tree_text(owner, "kind"));
            buf_append_byte(out, ' ');
            go_visible(out, up.name);
            buf_append_byte(out, '\n');
            return 0;
        }
        kind_name(&up.kind, out);
        buf_append_byte(out, '/');
        go_visible(out, up.name);
        struct version v;
        int rc = version_at(o, &up, 0, &v);
        if (rc != 0 || !v.there) {
            buf_append_str(out, rc == 0 ? ", which is gone\n" : "\n");
            return rc;
        }
        tree = v.tree;
    }
    buf_append_byte(out, '\n');
    return 0;
}

int cmd_why(struct cli *cli)
{
    struct objects o;
    struct target t;
    struct version v;
    int rc = objects_open(&o, cli);
    rc = rc == 0 ? objects_target(cli, &t) : rc;
    rc = rc == 0 ? need_version(&o, &t, 0, &v) : rc;
    rc = rc == 0 ? put_owners(&o, t, &v.tree) : rc;
    rc = rc == 0 ? each_version(&o, &t, args_int(&cli->args, "limit"), put_why, cli) : rc;
    objects_close(&o);
    return rc;
}

/* ---- diff and undo --------------------------------------------------------------------------- */

static int put_diff(struct cli *cli, const struct target *t, struct version *a, struct version *b)
{
    struct buf texts[2];
    char names[2][400];
    struct version *versions[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        struct buf name;
        struct value *meta = value_map_cget(&versions[i]->tree, "metadata");
        buf_init(&texts[i]);
        buf_init(&name);
        kind_name(&t->kind, &name);
        snprintf(names[i], sizeof names[i], "%.*s/%.*s@%" PRId64, (int)name.len,
                 (const char *)name.data, (int)t->name.len, (const char *)t->name.data,
                 versions[i]->revision);
        buf_close(&name);
        if (meta != NULL && meta->kind == VALUE_MAP) {
            (void)value_map_remove(meta, slice_str("managedFields"));
        }
        tree_yaml(&versions[i]->tree, &texts[i]);
    }
    lines_diff(buf_slice(&texts[0]), buf_slice(&texts[1]), names[0], names[1], &cli->out);
    cli->out.failed = cli->out.failed || texts[0].failed || texts[1].failed;
    buf_close(&texts[0]);
    buf_close(&texts[1]);
    return 0;
}

int cmd_diff(struct cli *cli)
{
    struct objects o;
    struct target t;
    struct version a;
    struct version b;
    int64_t at = args_int(&cli->args, "at");
    int64_t to = args_int(&cli->args, "to");
    int rc = objects_open(&o, cli);
    rc = rc == 0 ? objects_target(cli, &t) : rc;
    if (rc == 0 && (at <= 0 || to < 0)) {
        rc = cli_usage(cli, "diff needs --at REVISION; `kvctl history` lists them");
    }
    rc = rc == 0 ? need_version(&o, &t, at, &a) : rc;
    rc = rc == 0 ? need_version(&o, &t, to, &b) : rc;
    rc = rc == 0 ? put_diff(cli, &t, &a, &b) : rc;
    objects_close(&o);
    return rc;
}

/* The present object with everything but metadata and status as it was then. */
static bool take_back(struct arena *a, const struct value *then, struct value *now)
{
    for (size_t i = now->len; i-- > 0;) {
        struct slice key = value_map_key(now, i);
        if (!slice_eq(key, slice_str("metadata")) && !slice_eq(key, slice_str("status")) &&
            value_map_get(then, key) == NULL) {
            (void)value_map_remove(now, key);
        }
    }
    for (size_t i = 0; i < then->len; i++) {
        struct slice key = value_map_key(then, i);
        if (!slice_eq(key, slice_str("metadata")) && !slice_eq(key, slice_str("status")) &&
            value_map_set(a, now, key, *value_map_at(then, i)) == NULL) {
            return false;
        }
    }
    return true;
}

/* An object that is gone is made again: as it was, but for what only servers write. */
static void make_new(struct value *tree)
{
    static const char *const servers[] = {"uid",
                                          "resourceVersion",
                                          "creationTimestamp",
                                          "generation",
                                          "managedFields",
                                          "deletionTimestamp",
                                          "deletionGracePeriodSeconds",
                                          "ownerReferences",
                                          NULL};
    struct value *meta = value_map_cget(tree, "metadata");
    for (const char *const *s = servers; *s != NULL && meta != NULL && meta->kind == VALUE_MAP;
         s++) {
        (void)value_map_remove(meta, slice_str(*s));
    }
    (void)value_map_remove(tree, slice_str("status"));
}

static int undo_write(struct objects *o, const struct target *t, bool there, struct value *object)
{
    struct cli *cli = o->cli;
    struct buf path;
    struct buf body;
    struct value after;
    buf_init(&path);
    buf_init(&body);
    kind_path(&t->kind, objects_space(o, &t->kind), there ? t->name : slice_of("", 0), &path);
    buf_append_str(&path, "?fieldManager=kvctl-undo");
    buf_append_byte(&path, 0);
    encode_json(NULL, object, &body);
    int rc = path.failed || body.failed
                 ? cli_fail(cli, CLI_FAILURE, "out of memory")
                 : objects_call(o, there ? "PUT" : "POST", (const char *)path.data, NULL,
                                buf_slice(&body), &after, NULL);
    buf_close(&path);
    buf_close(&body);
    if (rc == 0) {
        struct slice revision = tree_text(&after, "metadata.resourceVersion");
        kind_name(&t->kind, &cli->out);
        buf_append_byte(&cli->out, '/');
        go_visible(&cli->out, t->name);
        buf_printf(&cli->out, " is %s as it was at revision %" PRId64 " (now revision %.*s)\n",
                   there ? "again" : "made again", args_int(&cli->args, "to"), (int)revision.len,
                   (const char *)revision.data);
    }
    return rc;
}

static int undo(struct objects *o, const struct target *t, struct version *then)
{
    struct cli *cli = o->cli;
    struct value now;
    struct value before;
    struct buf path;
    bool missing = false;
    buf_init(&path);
    kind_path(&t->kind, objects_space(o, &t->kind), t->name, &path);
    buf_append_byte(&path, 0);
    int rc = objects_call(o, "GET", (const char *)path.data, NULL, slice_of("", 0), &now, &missing);
    buf_close(&path);
    if (rc != 0) {
        return rc;
    }
    if (missing) {
        make_new(&then->tree);
        if (args_bool(&cli->args, "dry-run")) {
            tree_yaml(&then->tree, &cli->out);
            return 0;
        }
        return undo_write(o, t, false, &then->tree);
    }
    if (value_copy(&cli->arena, &now, &before) != 0 || !take_back(&cli->arena, &then->tree, &now)) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    if (value_equal(NULL, &before, &now)) {
        buf_append_str(&cli->out, "nothing to undo: that is how it is\n");
        return 0;
    }
    if (args_bool(&cli->args, "dry-run")) {
        struct changes c = {
            .out = &cli->out, .separator = "\n", .lead = "", .most = 1000, .value_bytes = 200};
        tree_diff(&before, &now, put_change, &c);
        buf_append_byte(&cli->out, '\n');
        return 0;
    }
    return undo_write(o, t, true, &now);
}

int cmd_undo(struct cli *cli)
{
    struct objects o;
    struct target t;
    struct version then;
    int64_t to = args_int(&cli->args, "to");
    int rc = objects_open(&o, cli);
    rc = rc == 0 ? objects_target(cli, &t) : rc;
    if (rc == 0 && to <= 0) {
        rc = cli_usage(cli, "undo needs --to REVISION; `kvctl history` lists them");
    }
    rc = rc == 0 ? need_version(&o, &t, to, &then) : rc;
    rc = rc == 0 ? undo(&o, &t, &then) : rc;
    objects_close(&o);
    return rc;
}
