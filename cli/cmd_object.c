/* cmd_object.c - kvctl get KIND, describe, delete. */
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "cli/objects.h"

#define CHUNK "500"
/* As many as a table has. */
#define GET_COLUMNS_MAX 20u
#define TABLE_ACCEPT    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

const struct arg_option cmd_describe_options[] = {OBJECTS_OPTIONS, {0}};
const struct arg_option cmd_delete_options[] = {
    OBJECTS_OPTIONS,
    {"filename", 'f', ARG_STRING, "", "file with the objects to delete; - is standard input"},
    {"selector", 'l', ARG_STRING, "", "all objects with these labels"},
    {"all", 0, ARG_BOOL, "", "all objects of the kind in the namespace"},
    {"cascade", 0, ARG_STRING, "background",
     "what becomes of objects it owns: background, foreground or orphan"},
    {"grace-period", 0, ARG_INT, "-1", "seconds to end in; -1 = as the object says"},
    {"ignore-not-found", 0, ARG_BOOL, "", "what is not there is no failure"},
    {0},
};

/* ---- get: objects or keys ------------------------------------------------------------------- */

bool objects_meant(const struct args *a, const char **wrong)
{
    static const char *const of_keys[] = {
        "prefix",         "from-key",       "limit",       "rev",         "order",
        "sort-by",        "keys-only",      "count-only",  "consistency", "print-value-only",
        "min-create-rev", "max-create-rev", "min-mod-rev", "max-mod-rev", NULL};
    static const char *const of_objects[] = {"namespace", "all-namespaces", "selector",
                                             "output",    "watch",          "kubeconfig",
                                             "server",    "field-selector", NULL};
    struct kind k;
    *wrong = NULL;
    const char *key_option = NULL;
    const char *object_option = NULL;
    for (const char *const *o = of_keys; *o != NULL; o++) {
        key_option = args_given(a, *o) ? *o : key_option;
    }
    for (const char *const *o = of_objects; *o != NULL; o++) {
        object_option = args_given(a, *o) ? *o : object_option;
    }
    if (object_option != NULL && (key_option != NULL || (a->word_count > 0 && a->dash == 0))) {
        *wrong = object_option;
        return false;
    }
    return object_option != NULL ||
           (key_option == NULL && a->word_count > 0 && a->dash > 0 &&
            kind_find(slice_str(a->words[0]), &k) && !kind_is_short(&k, slice_str(a->words[0])));
}

enum get_form { GET_TABLE, GET_WIDE, GET_JSON, GET_YAML, GET_NAME };

struct get {
    struct objects o;
    enum get_form form;
    struct value items; /* list of whole objects, for JSON and YAML */
    /* Rows of one kind, printed together. */
    struct output_table table;
    const char *titles[GET_COLUMNS_MAX];
    size_t columns[GET_COLUMNS_MAX]; /* where a cell is found; SIZE_MAX: the namespace */
    bool titled;                     /* watching: the titles have been printed */
    size_t shown;
};

static int get_form(struct cli *cli, enum get_form *form)
{
    static const char *const names[] = {
        [GET_WIDE] = "wide", [GET_JSON] = "json", [GET_YAML] = "yaml", [GET_NAME] = "name"};
    const char *text = args_text(&cli->args, "output");
    *form = *text == '\0' && cli->output.form == OUTPUT_JSON ? GET_JSON : GET_TABLE;
    for (int i = GET_WIDE; i <= GET_NAME && *text != '\0'; i++) {
        if (strcmp(text, names[i]) == 0) {
            *form = (enum get_form)i;
            return 0;
        }
    }
    return *text == '\0'
               ? 0
               : cli_fail(cli, CLI_BAD_FEATURE,
                          "unsupported output \"%s\": use wide, json, yaml or name", text);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void put_cell(struct output_table *t, const struct value *v)
{
    struct buf text;
    buf_init(&text);
    if (v == NULL || v->kind == VALUE_NULL) {
        buf_append_str(&text, "<none>");
    } else {
        tree_brief(v, 900, &text);
    }
    output_table_cell(t, "%.*s", (int)text.len, (const char *)text.data);
    buf_close(&text);
}

/* Which columns there are: the first Table of a kind says so. */
static int start_table(struct get *g, const struct kind *k, const struct value *columns)
{
    size_t count = 0;
    if (g->o.all && kind_is_namespaced(k)) {
        g->titles[count] = "namespace";
        g->columns[count++] = SIZE_MAX;
    }
    for (size_t i = 0; i < value_len(columns) && count < GET_COLUMNS_MAX; i++) {
        const struct value *priority = tree_get(&columns->items[i], "priority");
        if (g->form == GET_WIDE || priority == NULL || priority->integer == 0) {
            struct slice name = tree_text(&columns->items[i], "name");
            char *title = arena_zalloc(&g->o.cli->arena, name.len + 1);
            if (title == NULL) {
                return cli_fail(g->o.cli, CLI_FAILURE, "out of memory");
            }
            memcpy(title, name.data, name.len);
            g->titles[count] = title;
            g->columns[count++] = i;
        }
    }
    output_table_init(&g->table, g->titles, count);
    return 0;
}

static int add_rows(struct get *g, const struct kind *k, const struct value *table)
{
    const struct value *rows = tree_get(table, "rows");
    const struct value *columns = tree_get(table, "columnDefinitions");
    /* Later pages and events may leave the columns out. */
    if (g->table.columns == 0 && value_len(columns) > 0) {
        int rc = start_table(g, k, columns);
        if (rc != 0) {
            return rc;
        }
    }
    for (size_t r = 0; r < value_len(rows); r++) {
        const struct value *row = &rows->items[r];
        const struct value *cells = tree_get(row, "cells");
        for (size_t c = 0; c < g->table.columns; c++) {
            size_t at = g->columns[c];
            put_cell(&g->table, at == SIZE_MAX          ? tree_get(row, "object.metadata.namespace")
                                : at < value_len(cells) ? &cells->items[at]
                                                        : NULL);
        }
        g->shown++;
    }
    return 0;
}

/* Prints the rows there are, the first time with titles. keep: more of that kind will come. */
static void put_rows(struct get *g, bool keep)
{
    struct buf *out = &g->o.cli->out;
    size_t before = out->len;
    if (g->table.cell_count > 0) {
        output_table_columns(&g->table, out);
        if (g->titled && !out->failed) {
            const uint8_t *end = memchr(out->data + before, '\n', out->len - before);
            size_t line = end == NULL ? 0 : (size_t)(end - out->data) - before + 1;
            memmove(out->data + before, out->data + before + line, out->len - before - line);
            out->len -= line;
        }
        g->titled = keep;
    }
    g->table.cell_count = 0;
    buf_clear(&g->table.cells);
    if (!keep) {
        output_table_close(&g->table);
        g->table = (struct output_table){0};
    }
}

/* An API server without tables (older than any of them, or not ours): what every object has. */
static int put_plain(struct get *g, const struct kind *k, const struct value *object)
{
    struct buf *out = &g->o.cli->out;
    struct buf name;
    buf_init(&name);
    kind_name(k, &name);
    buf_append_byte(&name, '/');
    go_visible(&name, tree_text(object, "metadata.name"));
    if (g->o.all) {
        go_visible(out, tree_text(object, "metadata.namespace"));
        buf_append_str(out, "  ");
    }
    buf_append_slice(out, buf_slice(&name));
    buf_append_byte(out, '\n');
    buf_close(&name);
    g->shown++;
    return 0;
}

/* An item of a list says no more what it is than its list does. */
static bool put_type(struct get *g, const struct kind *k, struct value *item)
{
    struct arena *a = &g->o.cli->arena;
    struct buf version;
    const char *group = schema_text(k->type, k->type->group);
    buf_init(&version);
    buf_printf(&version, "%s%s%s", group, *group != '\0' ? "/" : "",
               schema_text(k->type, k->type->version));
    struct slice text = arena_dup(a, buf_slice(&version));
    buf_close(&version);
    return item->kind == VALUE_MAP && text.data != NULL &&
           value_map_set(a, item, slice_str("apiVersion"), value_text(text)) != NULL &&
           value_map_set(a, item, slice_str("kind"),
                         value_text(slice_str(schema_type_name(k->type)))) != NULL;
}

/* One answer: a Table, a list, or an object. */
static int take(struct get *g, const struct kind *k, struct value *answer)
{
    struct value *items = value_map_cget(answer, "items");
    struct value one = value_empty(VALUE_LIST);
    struct arena *a = &g->o.cli->arena;
    if (value_is_text(tree_get(answer, "kind"), "Table")) {
        return add_rows(g, k, answer);
    }
    if (items == NULL) {
        if (value_append(a, &one, *answer) == NULL) {
            return cli_fail(g->o.cli, CLI_FAILURE, "out of memory");
        }
        items = &one;
    }
    for (size_t i = 0; i < value_len(items); i++) {
        if (g->form == GET_JSON || g->form == GET_YAML) {
            if (!put_type(g, k, &items->items[i]) ||
                value_append(a, &g->items, items->items[i]) == NULL) {
                return cli_fail(g->o.cli, CLI_FAILURE, "out of memory");
            }
        } else {
            (void)put_plain(g, k, &items->items[i]);
        }
    }
    return 0;
}

static void put_query(const struct cli *cli, struct buf *path)
{
    static const char *const options[][2] = {{"selector", "labelSelector"},
                                             {"field-selector", "fieldSelector"}};
    for (size_t i = 0; i < 2; i++) {
        const char *text = args_text(&cli->args, options[i][0]);
        if (*text != '\0') {
            buf_printf(path, "&%s=", options[i][1]);
            kube_escape(path, slice_str(text));
        }
    }
}

/* All of a target, page by page. *revision: of the list. */
static int get_target(struct get *g, const struct target *t, struct slice *revision)
{
    bool whole = g->form == GET_JSON || g->form == GET_YAML || g->form == GET_NAME;
    struct kube_request r = {.method = "GET", .accept = whole ? NULL : TABLE_ACCEPT};
    struct slice next = slice_of("", 0);
    int rc = 0;
    do {
        struct buf path;
        struct value answer;
        buf_init(&path);
        kind_path(&t->kind, objects_space(&g->o, &t->kind), t->name, &path);
        if (t->name.len == 0) {
            buf_append_str(&path, "?limit=" CHUNK);
            put_query(g->o.cli, &path);
            if (next.len > 0) {
                buf_append_str(&path, "&continue=");
                kube_escape(&path, next);
            }
        }
        buf_append_byte(&path, 0);
        r.path = (const char *)path.data;
        rc = path.failed ? cli_fail(g->o.cli, CLI_FAILURE, "out of memory")
                         : objects_send(&g->o, &r, &answer, NULL);
        if (rc == 0) {
            next = tree_text(&answer, "metadata.continue");
            *revision = tree_text(&answer, "metadata.resourceVersion");
            rc = take(g, &t->kind, &answer);
        }
        buf_close(&path);
    } while (rc == 0 && next.len > 0);
    return rc;
}

static int put_items(struct get *g, bool one)
{
    struct arena *a = &g->o.cli->arena;
    struct buf *out = &g->o.cli->out;
    struct value list = value_empty(VALUE_MAP);
    struct value meta = value_empty(VALUE_MAP);
    const struct value *v = one && value_len(&g->items) == 1 ? &g->items.items[0] : &list;
    if (value_map_set(a, &meta, slice_str("resourceVersion"), value_text(slice_of("", 0))) ==
            NULL ||
        value_map_set(a, &list, slice_str("apiVersion"), value_text(slice_str("v1"))) == NULL ||
        value_map_set(a, &list, slice_str("items"), g->items) == NULL ||
        value_map_set(a, &list, slice_str("kind"), value_text(slice_str("List"))) == NULL ||
        value_map_set(a, &list, slice_str("metadata"), meta) == NULL) {
        return cli_fail(g->o.cli, CLI_FAILURE, "out of memory");
    }
    if (g->form == GET_JSON) {
        tree_json(v, out);
    } else {
        tree_yaml(v, out);
    }
    return 0;
}

/* ---- watching -------------------------------------------------------------------------------- */

struct watching {
    struct get *g;
    const struct target *t;
    int rc;
    bool gone; /* the revision has been compacted: list again */
};

static int on_event(void *data, struct slice line)
{
    struct watching *w = data;
    struct get *g = w->g;
    struct value event;
    w->rc = tree_read(g->o.cli, line, &event);
    if (w->rc != 0) {
        return 1;
    }
    struct value *object = value_map_cget(&event, "object");
    if (object == NULL || value_is_text(tree_get(&event, "type"), "BOOKMARK")) {
        return 0;
    }
    if (value_is_text(tree_get(&event, "type"), "ERROR")) {
        struct slice message = tree_text(object, "message");
        w->rc = cli_fail(g->o.cli, CLI_CANCELED, "the watch ended: %.*s", (int)message.len,
                         (const char *)message.data);
        return 1;
    }
    g->items = value_empty(VALUE_LIST);
    w->rc = take(g, &w->t->kind, object);
    if (w->rc == 0 && value_len(&g->items) > 0) {
        if (g->form == GET_YAML) {
            buf_append_str(&g->o.cli->out, "---\n");
        }
        w->rc = put_items(g, true);
    }
    put_rows(g, true);
    w->rc = w->rc == 0 ? cli_flush(g->o.cli) : w->rc;
    return w->rc;
}

static int get_watch(struct get *g, const struct target *t, struct slice revision)
{
    struct watching w = {.g = g, .t = t};
    bool whole = g->form == GET_JSON || g->form == GET_YAML || g->form == GET_NAME;
    struct buf path;
    buf_init(&path);
    kind_path(&t->kind, objects_space(&g->o, &t->kind), slice_of("", 0), &path);
    buf_append_str(&path, "?watch=true&resourceVersion=");
    kube_escape(&path, revision);
    put_query(g->o.cli, &path);
    if (t->name.len > 0) {
        buf_append_str(&path, "&fieldSelector=metadata.name%3D");
        kube_escape(&path, t->name);
    }
    buf_append_byte(&path, 0);
    struct kube_request r = {.method = "GET",
                             .path = (const char *)path.data,
                             .accept = whole ? NULL : TABLE_ACCEPT,
                             .line = on_event,
                             .data = &w};
    int rc = path.failed ? cli_fail(g->o.cli, CLI_FAILURE, "out of memory")
                         : objects_send(&g->o, &r, NULL, NULL);
    buf_close(&path);
    return rc != 0 ? rc : w.rc;
}

int objects_get(struct cli *cli)
{
    struct get g = {.items = value_empty(VALUE_LIST)};
    struct target *list;
    size_t count = 0;
    struct slice revision = slice_of("", 0);
    int rc = objects_open(&g.o, cli);
    g.o.all = args_bool(&cli->args, "all-namespaces");
    rc = rc == 0 ? get_form(cli, &g.form) : rc;
    rc = rc == 0 ? objects_targets(cli, &list, &count) : rc;
    bool watch = args_bool(&cli->args, "watch");
    if (rc == 0 && g.o.all && list[0].name.len > 0) {
        rc = cli_usage(cli, "an object with a name is in one namespace: leave -A away");
    }
    if (rc == 0 && watch && count > 1) {
        rc = cli_usage(cli, "--watch takes one kind or one object");
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (i > 0 && list[i].kind.type != list[i - 1].kind.type && g.table.cell_count > 0) {
            put_rows(&g, false);
            buf_append_byte(&cli->out, '\n');
        }
        rc = get_target(&g, &list[i], &revision);
    }
    put_rows(&g, watch);
    bool whole = g.form == GET_JSON || g.form == GET_YAML;
    if (rc == 0 && whole && !(watch && value_len(&g.items) == 0)) {
        rc = put_items(&g, count == 1 && list[0].name.len > 0);
    } else if (rc == 0 && g.shown == 0 && !whole && !watch) {
        struct slice space = objects_space(&g.o, &list[0].kind);
        fprintf(stderr, "No resources found%s%.*s%s.\n", space.len > 0 ? " in " : "",
                (int)space.len, (const char *)space.data, space.len > 0 ? " namespace" : "");
    }
    if (rc == 0 && watch) {
        rc = cli_flush(cli);
        rc = rc == 0 ? get_watch(&g, &list[0], revision) : rc;
    }
    output_table_close(&g.table);
    objects_close(&g.o);
    return rc;
}

/* ---- describe -------------------------------------------------------------------------------- */

static int put_events(struct objects *o, const struct target *t, const struct value *object)
{
    static const char *const titles[] = {"last seen", "type", "reason", "from", "message"};
    struct kind events;
    struct value answer;
    struct buf path;
    (void)kind_find(slice_str("events"), &events);
    buf_init(&path);
    struct slice space = objects_space(o, &t->kind);
    kind_path(&events, space.len > 0 ? space : slice_str("default"), slice_of("", 0), &path);
    buf_append_str(&path, "?fieldSelector=involvedObject.uid%3D");
    kube_escape(&path, tree_text(object, "metadata.uid"));
    buf_append_byte(&path, 0);
    int rc = objects_call(o, "GET", (const char *)path.data, NULL, slice_of("", 0), &answer, NULL);
    buf_close(&path);
    const struct value *items = rc == 0 ? tree_get(&answer, "items") : NULL;
    if (rc != 0 || value_len(items) == 0) {
        buf_append_str(&o->cli->out, rc == 0 ? "events: none\n" : "");
        return rc;
    }
    struct output_table table;
    output_table_init(&table, titles, 5);
    for (size_t i = 0; i < value_len(items); i++) {
        const struct value *e = &items->items[i];
        struct slice seen = tree_text(e, "lastTimestamp");
        struct value first = value_text(seen.len > 0 ? seen : tree_text(e, "eventTime"));
        struct slice from = tree_text(e, "source.component");
        struct value source = value_text(from.len > 0 ? from : tree_text(e, "reportingComponent"));
        const struct value *cells[] = {&first, tree_get(e, "type"), tree_get(e, "reason"), &source,
                                       tree_get(e, "message")};
        for (size_t c = 0; c < 5; c++) {
            put_cell(&table, cells[c]);
        }
    }
    buf_append_str(&o->cli->out, "events:\n");
    output_table_columns(&table, &o->cli->out);
    output_table_close(&table);
    return 0;
}

static int describe_one(struct objects *o, const struct target *t)
{
    struct value object;
    struct buf path;
    buf_init(&path);
    kind_path(&t->kind, objects_space(o, &t->kind), t->name, &path);
    buf_append_byte(&path, 0);
    int rc = objects_call(o, "GET", (const char *)path.data, NULL, slice_of("", 0), &object, NULL);
    buf_close(&path);
    if (rc != 0) {
        return rc;
    }
    struct value *meta = value_map_cget(&object, "metadata");
    if (meta != NULL && meta->kind == VALUE_MAP) {
        (void)value_map_remove(meta, slice_str("managedFields"));
        struct value *notes = value_map_cget(meta, "annotations");
        if (notes != NULL && notes->kind == VALUE_MAP) {
            (void)value_map_remove(notes,
                                   slice_str("kubectl.kubernetes.io/last-applied-configuration"));
        }
    }
    tree_yaml(&object, &o->cli->out);
    return put_events(o, t, &object);
}

int cmd_describe(struct cli *cli)
{
    struct objects o;
    struct target *list;
    size_t count = 0;
    int rc = objects_open(&o, cli);
    rc = rc == 0 ? objects_targets(cli, &list, &count) : rc;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (list[i].name.len == 0) {
            rc = cli_usage(cli, "describe needs names: pod web, or pod/web");
            break;
        }
        buf_append_str(&cli->out, i > 0 ? "\n---\n" : "");
        rc = describe_one(&o, &list[i]);
    }
    objects_close(&o);
    return rc;
}

/* ---- delete ---------------------------------------------------------------------------------- */

static int delete_options(struct cli *cli, struct buf *body)
{
    static const char *const words[][2] = {
        {"background", "Background"}, {"foreground", "Foreground"}, {"orphan", "Orphan"}};
    const char *cascade = args_text(&cli->args, "cascade");
    int64_t grace = args_int(&cli->args, "grace-period");
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(cascade, words[i][0]) == 0) {
            buf_printf(body,
                       "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"propagationPolicy\":"
                       "\"%s\"",
                       words[i][1]);
            if (grace >= 0) {
                buf_printf(body, ",\"gracePeriodSeconds\":%lld", (long long)grace);
            }
            buf_append_byte(body, '}');
            return 0;
        }
    }
    return cli_fail(cli, CLI_BAD_FEATURE,
                    "unsupported --cascade \"%s\": use background, foreground or orphan", cascade);
}

static int delete_target(struct objects *o, const struct target *t, struct slice space,
                         struct slice body)
{
    struct buf path;
    struct buf *out = &o->cli->out;
    bool missing = false;
    buf_init(&path);
    kind_path(&t->kind, space, t->name, &path);
    if (t->name.len == 0) {
        buf_append_byte(&path, '?');
        const char *selector = args_text(&o->cli->args, "selector");
        if (*selector != '\0') {
            buf_append_str(&path, "labelSelector=");
            kube_escape(&path, slice_str(selector));
        }
    }
    buf_append_byte(&path, 0);
    struct value answer;
    bool forgiven = args_bool(&o->cli->args, "ignore-not-found");
    int rc = path.failed ? cli_fail(o->cli, CLI_FAILURE, "out of memory")
                         : objects_call(o, "DELETE", (const char *)path.data, NULL, body, &answer,
                                        forgiven ? &missing : NULL);
    buf_close(&path);
    if (rc != 0 || missing) {
        return rc;
    }
    const struct value *items = tree_get(&answer, "items");
    for (size_t i = 0; i < (t->name.len > 0 ? 1 : value_len(items)); i++) {
        kind_name(&t->kind, out);
        buf_append_str(out, " \"");
        go_visible(out, t->name.len > 0 ? t->name : tree_text(&items->items[i], "metadata.name"));
        buf_append_str(out, "\" deleted\n");
    }
    return 0;
}

static int delete_files(struct objects *o, struct slice body)
{
    struct value *list;
    size_t count = 0;
    int rc = objects_read_files(o->cli, &list, &count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct target t = {.name = tree_text(&list[i], "metadata.name")};
        if (!kind_of(tree_text(&list[i], "apiVersion"), tree_text(&list[i], "kind"), &t.kind) ||
            t.name.len == 0) {
            return cli_fail(o->cli, CLI_FAILURE, "document %zu is no object with a name", i + 1);
        }
        struct slice space = tree_text(&list[i], "metadata.namespace");
        bool own = space.len > 0 && kind_is_namespaced(&t.kind);
        rc = delete_target(o, &t, own ? space : objects_space(o, &t.kind), body);
    }
    return rc;
}

int cmd_delete(struct cli *cli)
{
    struct objects o;
    struct target *list;
    size_t count = 0;
    struct buf body;
    bool many = *args_text(&cli->args, "selector") != '\0' || args_bool(&cli->args, "all");
    buf_init(&body);
    int rc = objects_open(&o, cli);
    rc = rc == 0 ? delete_options(cli, &body) : rc;
    if (rc == 0 && *args_text(&cli->args, "filename") != '\0') {
        rc = cli->args.word_count > 0 || many
                 ? cli_usage(cli, "with -f the file says what to delete, and nothing else")
                 : delete_files(&o, buf_slice(&body));
    } else if (rc == 0) {
        rc = objects_targets(cli, &list, &count);
        for (size_t i = 0; i < count && rc == 0; i++) {
            if ((list[i].name.len == 0) != many) {
                rc = cli_usage(cli, "delete needs names, or -l or --all and no names");
                break;
            }
            rc = delete_target(&o, &list[i], objects_space(&o, &list[i].kind), buf_slice(&body));
        }
    }
    buf_close(&body);
    objects_close(&o);
    return rc;
}
