/* result.c - marks into lengths. */
#include "kv/result.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "proto/codec.h"

/* Buffers that grew beyond this for one huge answer are given back. */
#define RESULT_KEEP_BYTES (1024u * 1024u)

void result_init(struct result *r, size_t limit)
{
    memset(r, 0, sizeof(*r));
    r->limit = limit;
    buf_init(&r->body);
    buf_init(&r->whole);
}

void result_close(struct result *r)
{
    buf_close(&r->body);
    buf_close(&r->whole);
    mem_free(r->marks);
    r->marks = NULL;
    r->len = r->cap = 0;
}

static void shrink(struct buf *b)
{
    buf_clear(b);
    if (b->cap > RESULT_KEEP_BYTES) {
        buf_close(b);
    }
}

void result_clear(struct result *r, bool wanted)
{
    shrink(&r->body);
    shrink(&r->whole);
    r->len = 0;
    r->open = 0;
    r->wanted = wanted;
    r->failed = false;
}

void result_fail(struct result *r)
{
    r->failed = true;
    shrink(&r->body);
}

void result_check(struct result *r)
{
    if (result_live(r) && (r->body.failed || r->body.len > r->limit)) {
        result_fail(r);
    }
}

/* A new mark at the end of the body; NULL = failed. */
static struct result_mark *result_mark(struct result *r)
{
    if (!result_live(r)) {
        return NULL;
    }
    if (r->len == r->cap) {
        uint32_t cap = r->cap == 0 ? 32 : r->cap * 2;
        struct result_mark *marks = mem_realloc(r->marks, cap * sizeof(*marks));
        if (marks == NULL) {
            result_fail(r);
            return NULL;
        }
        r->marks = marks;
        r->cap = cap;
    }
    struct result_mark *m = &r->marks[r->len++];
    memset(m, 0, sizeof(*m));
    m->start = m->end = r->body.len;
    m->parent = r->open;
    return m;
}

void result_enter(struct result *r, uint32_t field)
{
    struct result_mark *m = result_mark(r);
    if (m != NULL) {
        m->field = field;
        m->message = true;
        r->open = r->len;
    }
}

void result_leave(struct result *r)
{
    if (result_live(r)) {
        ASSERT(r->open > 0);
        struct result_mark *m = &r->marks[r->open - 1];
        m->end = r->body.len;
        r->open = m->parent;
    }
}

uint32_t result_count(struct result *r, uint32_t field)
{
    struct result_mark *m = result_mark(r);
    if (m == NULL) {
        return 0;
    }
    m->field = field;
    return r->len - 1;
}

void result_set(struct result *r, uint32_t handle, uint64_t value)
{
    if (result_live(r)) {
        r->marks[handle].value = value;
    }
}

void result_header(struct result *r, int64_t revision)
{
    if (result_live(r)) {
        wire_put_header(&r->body, 1, wire_uint_size(3, (uint64_t)revision));
        wire_put_uint(&r->body, 3, (uint64_t)revision);
        result_check(r);
    }
}

/* The bytes a mark itself puts in. */
static size_t mark_size(const struct result_mark *m)
{
    if (!m->message) {
        return wire_uint_size(m->field, m->value);
    }
    size_t inner = m->end - m->start + m->extra;
    return wire_varint_size((uint64_t)m->field << 3) + wire_varint_size(inner) + inner -
           (m->end - m->start);
}

struct slice result_finish(struct result *r)
{
    static const uint8_t nothing[1];
    if (r->failed) {
        return slice_of(NULL, 0);
    }
    ASSERT(r->open == 0);
    /* Children come after their parents, so backwards every mark is complete when it is added up.
     */
    for (uint32_t i = r->len; i-- > 0;) {
        struct result_mark *m = &r->marks[i];
        if (m->parent > 0) {
            r->marks[m->parent - 1].extra += mark_size(m);
        }
    }
    if (r->len == 0) {
        return r->body.len == 0 ? slice_of(nothing, 0) : buf_slice(&r->body);
    }
    struct slice rest = buf_slice(&r->body);
    for (uint32_t i = 0; i < r->len; i++) {
        const struct result_mark *m = &r->marks[i];
        size_t before = m->start - (r->body.len - rest.len);
        if (before > 0) {
            buf_append(&r->whole, rest.data, before);
            rest = slice_of(rest.data + before, rest.len - before);
        }
        if (m->message) {
            wire_put_header(&r->whole, m->field, m->end - m->start + m->extra);
        } else {
            wire_put_uint(&r->whole, m->field, m->value);
        }
    }
    buf_append_slice(&r->whole, rest);
    if (r->whole.failed) {
        return slice_of(NULL, 0);
    }
    return r->whole.len == 0 ? slice_of(nothing, 0) : buf_slice(&r->whole);
}
