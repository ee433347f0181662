/* fixture.h - what the tests of objects share: an arena, an object decoded from JSON, its JSON. */
#ifndef KVD_TESTS_APISERVER_FIXTURE_H
#define KVD_TESTS_APISERVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "plugins/object/encode.h"
#include "plugins/object/object.h"

struct fixture {
    struct arena arena;
    struct errmsg e;
    struct object o;
    struct buf out;
};

static inline int setup(void **state)
{
    struct fixture *f = mem_xzalloc(sizeof *f);
    arena_init(&f->arena, 0);
    buf_init(&f->out);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    arena_close(&f->arena);
    buf_close(&f->out);
    mem_free(f);
    return 0;
}

/* Decodes strictly: a test's JSON has no mistakes. */
static inline struct object decoded(struct fixture *f, enum schema_type_id type, const char *json)
{
    struct object o;
    struct decode_report report;
    int rc = object_decode(&o, schema_type(type), &f->arena, slice_str(json), &report, &f->e);
    if (rc != 0) {
        print_error("%s\n", f->e.text);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(report.count, 0);
    return o;
}

static inline const char *text_of(struct buf *b)
{
    buf_append_byte(b, 0);
    assert_false(b->failed);
    return (const char *)b->data;
}

static inline const char *encoded(struct fixture *f, const struct object *o)
{
    buf_clear(&f->out);
    object_encode(o, &f->out);
    return text_of(&f->out);
}

#endif
