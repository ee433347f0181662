/* cmd_apply.c - kvctl apply: objects made as files say, and what files no longer say is taken away.
 *
 * As kubectl's client-side apply: the last file is kept in an annotation of the object (kubectl's,
 * so that both tools may take turns). The patch is strategic: the file as it is, and for each thing
 * that the last file had and this one has not, an order to remove it. What others have set stays.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "cli/objects.h"
#include "plugins/object/decode.h"
#include "plugins/object/encode.h"
#include "plugins/object/yamljson.h"

#define LAST_APPLIED    "kubectl.kubernetes.io/last-applied-configuration"
#define STRATEGIC       "application/strategic-merge-patch+json"
#define FILE_BYTES_MAX  (64u * 1024u * 1024u)
#define DOCUMENTS_MAX   10000u
#define PATCH_DEPTH_MAX 100u

const struct arg_option cmd_apply_options[] = {
    OBJECTS_OPTIONS,
    {"filename", 'f', ARG_STRING, "", "file with objects, YAML or JSON; - is standard input"},
    {"dry-run", 0, ARG_BOOL, "", "the server checks everything and keeps nothing"},
    {0},
};

/* ---- files ----------------------------------------------------------------------------------- */

static int read_file(struct cli *cli, const char *path, struct slice *out)
{
    struct errmsg e = {""};
    if (strcmp(path, "-") == 0) {
        return cli_read_stdin(&cli->arena, out, &e) == 0 ? 0
                                                         : cli_fail(cli, CLI_FAILURE, "%s", e.text);
    }
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return cli_fail(cli, CLI_FAILURE, "%s: %s", path, strerror(errno));
    }
    struct buf all;
    bool failed = false;
    buf_init(&all);
    while (!failed && buf_reserve(&all, 65536)) {
        size_t n = fread(all.data + all.len, 1, 65536, f);
        all.len += n;
        if (n == 0) {
            break;
        }
        failed = all.len > FILE_BYTES_MAX;
    }
    failed = failed || ferror(f) != 0 || all.failed;
    fclose(f);
    *out = failed ? slice_of(NULL, 0) : arena_dup(&cli->arena, buf_slice(&all));
    buf_close(&all);
    return out->data != NULL ? 0 : cli_fail(cli, CLI_FAILURE, "%s cannot be read", path);
}

struct documents {
    struct cli *cli;
    struct value *list;
    size_t count;
};

/* Adds an object, or the items of a List. */
static int add_document(struct documents *d, struct value v)
{
    const struct value *items = tree_get(&v, "items");
    if (value_is_text(tree_get(&v, "kind"), "List") && items != NULL) {
        int rc = 0;
        for (size_t i = 0; i < value_len(items) && rc == 0; i++) {
            rc = add_document(d, items->items[i]);
        }
        return rc;
    }
    if (d->count == DOCUMENTS_MAX) {
        return cli_fail(d->cli, CLI_FAILURE, "more than %u objects in one go", DOCUMENTS_MAX);
    }
    d->list[d->count++] = v;
    return 0;
}

/* One document of YAML (JSON is YAML); one of blanks and comments is none. line: its first. */
static int read_document(struct documents *d, struct slice text, size_t line)
{
    struct errmsg e = {""};
    struct buf json;
    struct value v;
    buf_init(&json);
    int rc = yaml_to_json(text, &d->cli->arena, &json, NULL, &e);
    if (rc == 0) {
        rc = decode_json(buf_slice(&json), NULL, &d->cli->arena, &v, NULL, &e);
    }
    buf_close(&json);
    if (rc != 0) {
        return cli_fail(d->cli, CLI_FAILURE, "the document that begins at line %zu: %s", line,
                        e.text);
    }
    if (v.kind == VALUE_NULL) {
        return 0;
    }
    if (v.kind != VALUE_MAP) {
        return cli_fail(d->cli, CLI_FAILURE, "the document that begins at line %zu is no object",
                        line);
    }
    return add_document(d, v);
}

/* A line that begins with --- ends a document. */
static int read_documents(struct documents *d, struct slice text)
{
    size_t begin = 0;
    size_t first = 1;
    size_t line = 1;
    int rc = 0;
    for (size_t i = 0; i < text.len && rc == 0; line++) {
        const uint8_t *end = memchr(text.data + i, '\n', text.len - i);
        size_t next = end == NULL ? text.len : (size_t)(end - text.data) + 1;
        bool dashes = next - i >= 3 && memcmp(text.data + i, "---", 3) == 0 &&
                      (next - i == 3 || text.data[i + 3] <= ' ');
        if (dashes) {
            rc = read_document(d, slice_of(text.data + begin, i - begin), first);
            begin = next;
            first = line + 1;
        }
        i = next;
    }
    return rc == 0 ? read_document(d, slice_of(text.data + begin, text.len - begin), first) : rc;
}

int objects_read_files(struct cli *cli, struct value **list, size_t *count)
{
    struct documents d = {.cli = cli};
    struct slice text;
    d.list = arena_alloc(&cli->arena, DOCUMENTS_MAX * sizeof *d.list);
    if (d.list == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    int rc = read_file(cli, args_text(&cli->args, "filename"), &text);
    rc = rc == 0 ? read_documents(&d, text) : rc;
    if (rc == 0 && d.count == 0) {
        rc = cli_fail(cli, CLI_FAILURE, "there are no objects in %s",
                      args_text(&cli->args, "filename"));
    }
    *list = d.list;
    *count = d.count;
    return rc;
}

/* ---- what to take away ----------------------------------------------------------------------- */

struct removal {
    struct arena *arena;
    bool failed; /* out of memory, or too deep */
};

static void set(struct removal *r, struct value *map, struct slice key, struct value v)
{
    if (value_map_set(r->arena, map, key, v) == NULL) {
        r->failed = true;
    }
}

static void remove_from_map(struct removal *r, const struct schema_type *type, unsigned depth,
                            const struct value *last, struct value *patch);

static const struct value *find_item(const struct value *list, const char *key,
                                     const struct value *name)
{
    for (size_t i = 0; i < value_len(list) && name != NULL; i++) {
        const struct value *own = value_map_cget(&list->items[i], key);
        if (own != NULL && value_equal(NULL, own, name)) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* A list whose items have a key: those of last that are not in patch. */
static void remove_from_keyed(struct removal *r, const struct schema_type *type, const char *key,
                              unsigned depth, const struct value *last, struct value *patch)
{
    for (size_t i = 0; i < value_len(last); i++) {
        const struct value *item = &last->items[i];
        const struct value *name = item->kind == VALUE_MAP ? value_map_cget(item, key) : NULL;
        struct value *now = (struct value *)find_item(patch, key, name);
        if (name == NULL) {
            continue;
        }
        if (now != NULL) {
            remove_from_map(r, type, depth + 1, item, now);
            continue;
        }
        struct value order = value_empty(VALUE_MAP);
        set(r, &order, slice_str("$patch"), value_text(slice_str("delete")));
        set(r, &order, slice_str(key), *name);
        if (value_append(r->arena, patch, order) == NULL) {
            r->failed = true;
        }
    }
}

/* A list of plain values that merges as a set. */
static void remove_from_set(struct removal *r, struct slice name, const struct value *last,
                            const struct value *now, struct value *patch)
{
    struct value gone = value_empty(VALUE_LIST);
    struct buf key;
    for (size_t i = 0; i < value_len(last); i++) {
        bool there = false;
        for (size_t k = 0; k < value_len(now); k++) {
            there = there || value_equal(NULL, &last->items[i], &now->items[k]);
        }
        if (!there && value_append(r->arena, &gone, last->items[i]) == NULL) {
            r->failed = true;
        }
    }
    buf_init(&key);
    buf_append_str(&key, "$deleteFromPrimitiveList/");
    buf_append_slice(&key, name);
    struct slice kept = arena_dup(r->arena, buf_slice(&key));
    buf_close(&key);
    if (kept.data == NULL) {
        r->failed = true;
    } else if (gone.len > 0) {
        set(r, patch, kept, gone);
    }
}

/* What last has and patch has not. type NULL: a map of plain values, or nothing is known. */
static void remove_from_map(struct removal *r, const struct schema_type *type, unsigned depth,
                            const struct value *last, struct value *patch)
{
    if (depth > PATCH_DEPTH_MAX || patch->kind != VALUE_MAP) {
        return;
    }
    for (size_t i = 0; i < value_len(last) && last->kind == VALUE_MAP; i++) {
        struct slice name = value_map_key(last, i);
        const struct value *before = value_map_at(last, i);
        struct value *now = value_map_get(patch, name);
        const struct schema_field *f = type == NULL ? NULL : schema_find(type, name);
        const struct schema_type *inner = f == NULL ? NULL : schema_field_type(f);
        bool merges = f != NULL && f->shape == SCHEMA_LIST && f->patch == SCHEMA_PATCH_MERGE;
        if (now == NULL) {
            set(r, patch, name, value_null());
        } else if (before->kind == VALUE_MAP && now->kind == VALUE_MAP) {
            bool message = f != NULL && f->kind == SCHEMA_MESSAGE && f->shape == SCHEMA_ONE;
            remove_from_map(r, message ? inner : NULL, depth + 1, before, now);
        } else if (merges && before->kind == VALUE_LIST && now->kind == VALUE_LIST) {
            const char *key = schema_text(f, f->merge_key);
            if (*key != '\0') {
                remove_from_keyed(r, inner, key, depth, before, now);
            } else {
                remove_from_set(r, name, before, now, patch);
            }
        }
    }
}

/* ---- applying -------------------------------------------------------------------------------- */

struct applied {
    struct objects *o;
    struct target t;
    struct slice space;
    struct value *file;  /* with the annotation */
    struct value before; /* the object, when it is there */
    bool there;
};

/* The file as compact JSON with a newline, as kubectl keeps it, becomes an annotation of itself. */
static int annotate(struct applied *p)
{
    struct cli *cli = p->o->cli;
    struct arena *a = &cli->arena;
    struct buf json;
    struct value *meta = value_map_cget(p->file, "metadata");
    struct value *notes = meta == NULL ? NULL : value_map_cget(meta, "annotations");
    if (notes != NULL && notes->kind == VALUE_MAP) {
        (void)value_map_remove(notes, slice_str(LAST_APPLIED));
    } else if (notes == NULL && meta != NULL) {
        notes = value_map_set(a, meta, slice_str("annotations"), value_empty(VALUE_MAP));
    }
    if (notes == NULL || notes->kind != VALUE_MAP) {
        return cli_fail(cli, CLI_FAILURE, "metadata.annotations is no map");
    }
    buf_init(&json);
    encode_json(NULL, p->file, &json);
    buf_append_byte(&json, '\n');
    struct slice text = json.failed ? slice_of(NULL, 0) : arena_dup(a, buf_slice(&json));
    buf_close(&json);
    if (text.data == NULL ||
        value_map_set(a, notes, slice_str(LAST_APPLIED), value_text(text)) == NULL) {
        return cli_fail(cli, CLI_FAILURE, "out of memory");
    }
    return 0;
}

static void put_path(const struct applied *p, bool named, struct buf *out)
{
    kind_path(&p->t.kind, p->space, named ? p->t.name : slice_of("", 0), out);
    buf_append_str(out, "?fieldManager=kvctl-apply");
    buf_append_str(out, args_bool(&p->o->cli->args, "dry-run") ? "&dryRun=All" : "");
    buf_append_byte(out, 0);
}

static int find_before(struct applied *p)
{
    struct buf path;
    bool missing = false;
    buf_init(&path);
    kind_path(&p->t.kind, p->space, p->t.name, &path);
    buf_append_byte(&path, 0);
    int rc = objects_call(p->o, "GET", (const char *)path.data, NULL, slice_of("", 0), &p->before,
                          &missing);
    buf_close(&path);
    p->there = !missing;
    return rc;
}

static int write_object(struct applied *p, struct value *after)
{
    struct cli *cli = p->o->cli;
    struct removal r = {.arena = &cli->arena};
    struct buf path;
    struct buf body;
    if (p->there) {
        struct value last;
        struct errmsg e;
        /* By hand: the annotation's own name has dots. */
        const struct value *notes = tree_get(&p->before, "metadata.annotations");
        struct slice text = value_slice(value_map_cget(notes, LAST_APPLIED));
        if (text.len > 0 && decode_json(text, NULL, &cli->arena, &last, NULL, &e) == 0) {
            remove_from_map(&r, p->t.kind.type, 0, &last, p->file);
        }
    }
    buf_init(&path);
    buf_init(&body);
    put_path(p, p->there, &path);
    encode_json(NULL, p->file, &body);
    int rc = path.failed || body.failed || r.failed
                 ? cli_fail(cli, CLI_FAILURE, "out of memory")
                 : objects_call(p->o, p->there ? "PATCH" : "POST", (const char *)path.data,
                                p->there ? STRATEGIC : NULL, buf_slice(&body), after, NULL);
    buf_close(&path);
    buf_close(&body);
    return rc;
}

static int apply_one(struct objects *o, struct value *file, size_t number)
{
    struct cli *cli = o->cli;
    struct applied p = {.o = o, .file = file};
    struct value after;
    struct slice kind = tree_text(file, "kind");
    struct slice version = tree_text(file, "apiVersion");
    p.t.name = tree_text(file, "metadata.name");
    if (!kind_of(version, kind, &p.t.kind)) {
        return cli_fail(cli, CLI_FAILURE,
                        "object %zu: no matches for kind \"%.*s\" in version \"%.*s\"", number,
                        (int)kind.len, (const char *)kind.data, (int)version.len,
                        (const char *)version.data);
    }
    if (p.t.name.len == 0) {
        return cli_fail(cli, CLI_FAILURE, "object %zu has no metadata.name", number);
    }
    struct slice space = tree_text(file, "metadata.namespace");
    p.space = space.len > 0 && kind_is_namespaced(&p.t.kind) ? space : objects_space(o, &p.t.kind);
    if (space.len > 0 && o->space.len > 0 && !slice_eq(space, o->space)) {
        return cli_fail(cli, CLI_FAILURE,
                        "object %zu is of namespace \"%.*s\", not \"%.*s\" as -n says", number,
                        (int)space.len, (const char *)space.data, (int)o->space.len,
                        (const char *)o->space.data);
    }
    int rc = annotate(&p);
    rc = rc == 0 ? find_before(&p) : rc;
    rc = rc == 0 ? write_object(&p, &after) : rc;
    if (rc == 0) {
        bool same = p.there && slice_eq(tree_text(&p.before, "metadata.resourceVersion"),
                                        tree_text(&after, "metadata.resourceVersion"));
        kind_name(&p.t.kind, &cli->out);
        buf_append_byte(&cli->out, '/');
        go_visible(&cli->out, p.t.name);
        buf_append_str(&cli->out, !p.there ? " created" : same ? " unchanged" : " configured");
        buf_append_str(&cli->out, args_bool(&cli->args, "dry-run") ? " (dry run)\n" : "\n");
    }
    return rc;
}

int cmd_apply(struct cli *cli)
{
    struct objects o;
    struct value *list;
    size_t count = 0;
    int rc = objects_open(&o, cli);
    if (rc == 0 && (cli->args.word_count > 0 || *args_text(&cli->args, "filename") == '\0')) {
        rc = cli_usage(cli, "apply needs a file: -f FILE, or -f - for standard input");
    }
    rc = rc == 0 ? objects_read_files(cli, &list, &count) : rc;
    /* One that is refused does not keep the others from being applied. */
    for (size_t i = 0; i < count && (rc == 0 || rc == CLI_FAILURE); i++) {
        int one = apply_one(&o, &list[i], i + 1);
        rc = one != 0 ? one : rc;
    }
    objects_close(&o);
    return rc;
}
