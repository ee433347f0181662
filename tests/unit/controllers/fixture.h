/* fixture.h - what the tests of controllers' decisions share: objects decoded from JSON. */
#ifndef KVD_TESTS_CONTROLLERS_FIXTURE_H
#define KVD_TESTS_CONTROLLERS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "plugins/object/encode.h"
#include "plugins/object/object.h"

struct fixture {
    struct arena arena;
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

/* Decodes strictly. In the JSON ' stands for ", so that it reads well in C. */
static inline struct object decoded(struct fixture *f, enum schema_type_id type, const char *json)
{
    struct object o;
    struct decode_report report;
    struct errmsg e = {.text = ""};
    struct slice copy = arena_dup(&f->arena, slice_str(json));
    for (size_t i = 0; i < copy.len; i++) {
        if (copy.data[i] == '\'') {
            ((uint8_t *)(uintptr_t)copy.data)[i] = '"';
        }
    }
    int rc = object_decode(&o, schema_type(type), &f->arena, copy, &report, &e);
    if (rc != 0) {
        print_error("%s\n", e.text);
    }
    assert_int_equal(rc, 0);
    for (size_t i = 0; i < report.count; i++) {
        print_error("%.*s\n", (int)report.texts[i].len, (const char *)report.texts[i].data);
    }
    assert_int_equal(report.count, 0);
    return o;
}

/* printf into JSON, decoded. */
static inline struct object decoded_f(struct fixture *f, enum schema_type_id type,
                                      const char *format, ...)
{
    char json[4096];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(json, sizeof json, format, args);
    va_end(args);
    assert_in_range(len, 1, sizeof json - 1);
    return decoded(f, type, json);
}

/* Text of a buffer, with ' for ". */
static inline const char *plain(struct buf *b)
{
    buf_append_byte(b, 0);
    assert_false(b->failed);
    for (size_t i = 0; i < b->len; i++) {
        b->data[i] = b->data[i] == '"' ? '\'' : b->data[i];
    }
    return (const char *)b->data;
}

static inline const char *text_at(struct fixture *f, const struct object *o, const char *path)
{
    buf_clear(&f->out);
    buf_append_slice(&f->out, object_text(o, path));
    return plain(&f->out);
}

#endif
