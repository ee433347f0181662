/* decode_report.c - what decoding complains of, in Go's words. */
#include <string.h>

#include "base/buf.h"
#include "plugins/object/decoder.h"
#include "plugins/object/quote.h"

static void decode_path(const struct decoder *d, struct buf *out)
{
    for (unsigned i = 0; i < d->depth; i++) {
        const struct decode_step *step = &d->steps[i];
        if (step->name.data == NULL) {
            buf_printf(out, "[%u]", step->index);
            continue;
        }
        if (out->len > 0) {
            buf_append_byte(out, '.');
        }
        buf_append_slice(out, step->name);
    }
}

int decode_report_add(struct decode_report *report, struct arena *arena, struct slice text)
{
    if (report->count == DECODE_COMPLAINTS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < report->count; i++) {
        if (slice_eq(report->texts[i], text)) {
            return 0;
        }
    }
    if (report->texts == NULL) {
        report->texts = arena_alloc(arena, DECODE_COMPLAINTS_MAX * sizeof *report->texts);
        if (report->texts == NULL) {
            return ERR_NOMEM;
        }
    }
    struct slice copy = arena_dup(arena, text);
    if (copy.data == NULL) {
        return ERR_NOMEM;
    }
    report->texts[report->count++] = copy;
    return 0;
}

void decode_report_text(const struct decode_report *report, struct buf *out)
{
    buf_append_str(out, "strict decoding error: ");
    for (size_t i = 0; i < report->count; i++) {
        if (i > 0) {
            buf_append_str(out, ", ");
        }
        buf_append_slice(out, report->texts[i]);
    }
}

int decode_complain(struct decoder *d, const char *what, struct slice name)
{
    if (d->report == NULL || d->report->count == DECODE_COMPLAINTS_MAX) {
        return 0;
    }
    struct buf path;
    struct buf text;
    buf_init(&path);
    buf_init(&text);
    decode_path(d, &path);
    if (path.len > 0) {
        buf_append_byte(&path, '.');
    }
    buf_append_slice(&path, name);
    buf_printf(&text, "%s ", what);
    quote_go(buf_slice(&path), &text);
    int rc = path.failed || text.failed ? ERR_NOMEM
                                        : decode_report_add(d->report, d->arena, buf_slice(&text));
    buf_close(&path);
    buf_close(&text);
    return rc;
}

/* The text comes from the field's place or, for the root, from its type alone. */
void decode_wrong(struct decoder *d, const struct decode_want *want, const char *found)
{
    if (d->wrong_type) {
        return;
    }
    d->wrong_type = true;
    const char *name = want->go_name;
    if (want->element) {
        name += strncmp(name, "[]", 2) == 0 ? 2 : strncmp(name, "map[string]", 11) == 0 ? 11 : 0;
        name = strcmp(want->go_name, "v1.ResourceList") == 0 ? "resource.Quantity" : name;
    }
    struct buf path;
    buf_init(&path);
    const char *owner = NULL;
    for (unsigned i = 0; i < d->depth; i++) {
        if (d->steps[i].owner != NULL) {
            if (owner != NULL) {
                buf_append_byte(&path, '.');
            }
            owner = schema_type_name(d->steps[i].owner);
            buf_append_slice(&path, d->steps[i].name);
        }
    }
    if (owner == NULL) {
        errmsg_set(d->e, ERR_INVALID, "json: cannot unmarshal %s into Go value of type %s", found,
                   name);
    } else {
        errmsg_set(d->e, ERR_INVALID,
                   "json: cannot unmarshal %s into Go struct field %s.%.*s of type %s", found,
                   owner, (int)path.len, (const char *)path.data, name);
    }
    buf_close(&path);
}

void decode_refused(struct decoder *d, const char *sentence)
{
    if (!d->wrong_type) {
        d->wrong_type = true;
        errmsg_set(d->e, ERR_INVALID, "%s", sentence);
    }
}

/* Go's word for the JSON value that begins with c. */
static const char *decode_word(uint8_t c)
{
    switch (c) {
    case '{':
        return "object";
    case '[':
        return "array";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "bool";
    default:
        return "number";
    }
}

int decode_skip_wrong(struct decoder *d, const struct decode_want *want)
{
    decode_wrong(d, want, decode_word(*d->s.p));
    return scan_skip(&d->s, d->depth);
}
