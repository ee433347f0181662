/* test_yaml - the tree of a configuration file, its refusals with line numbers, its bounds. */
#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"

struct fixture {
    struct arena arena;
    struct errmsg e;
    struct yaml_node *root;
};

static int setup(void **state)
{
    struct fixture *f = mem_xzalloc(sizeof *f);
    arena_init(&f->arena, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_close(&f->arena);
    mem_free(f);
    return 0;
}

static int load_slice(struct fixture *f, struct slice text)
{
    f->root = NULL;
    f->e.text[0] = '\0';
    int rc = yaml_load(text, &f->arena, &f->root, &f->e);
    assert_int_equal(rc == 0, f->root != NULL);
    assert_int_equal(rc == 0, f->e.text[0] == '\0');
    return rc;
}

static int load(struct fixture *f, const char *text)
{
    return load_slice(f, slice_str(text));
}

#define ASSERT_REFUSED(f, input, message)                  \
    do {                                                   \
        assert_int_equal(load((f), (input)), ERR_INVALID); \
        assert_string_equal((f)->e.text, (message));       \
    } while (0)

/* The shape of etcd's sample configuration. */
static void a_configuration_file_becomes_a_tree(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, "# comment\n"
                             "name: 'node 1'\n"
                             "data-dir:\n"
                             "quota-backend-bytes: 0\n"
                             "listen-client-urls: http://localhost:2379,http://[::1]:2379\n"
                             "client-transport-security:\n"
                             "  cert-file: \"a\\tb\"\n"
                             "  client-cert-auth: false\n"
                             "log-outputs: [stderr, 'null']\n"
                             "tick: 0x10\n"),
                     0);
    const struct yaml_node *r = f->root;
    assert_int_equal(r->type, YAML_MAP);
    assert_int_equal(r->count, 7);
    assert_string_equal(r->first->key, "name"); /* the file's order */
    assert_string_equal(r->last->key, "tick");
    assert_null(r->last->next);
    assert_string_equal(yaml_get(r, "name")->text, "node 1");
    assert_true(yaml_get(r, "name")->quoted);
    assert_int_equal(yaml_get(r, "name")->line, 2);
    assert_true(yaml_is_null(yaml_get(r, "data-dir")));
    assert_true(yaml_is_null(yaml_get(r, "missing")));
    assert_null(yaml_get(r, "missing"));
    int64_t n = -1;
    assert_true(yaml_int(yaml_get(r, "quota-backend-bytes"), &n));
    assert_int_equal(n, 0);
    assert_true(yaml_int(yaml_get(r, "tick"), &n));
    assert_int_equal(n, 16);
    assert_string_equal(yaml_get(r, "listen-client-urls")->text,
                        "http://localhost:2379,http://[::1]:2379");
    const struct yaml_node *tls = yaml_get(r, "client-transport-security");
    assert_string_equal(yaml_get(tls, "cert-file")->text, "a\tb");
    bool b = true;
    assert_true(yaml_bool(yaml_get(tls, "client-cert-auth"), &b));
    assert_false(b);
    const struct yaml_node *outputs = yaml_get(r, "log-outputs");
    assert_int_equal(outputs->type, YAML_LIST);
    assert_int_equal(outputs->count, 2);
    assert_string_equal(outputs->first->text, "stderr");
    assert_null(outputs->first->key);
    assert_false(yaml_is_null(outputs->last)); /* quoted: a word, not nothing */
    assert_null(yaml_get(outputs, "stderr"));
    assert_null(yaml_get(outputs->first, "x"));
    assert_null(yaml_get(NULL, "x"));
}

static void json_is_read_too(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, "{\"a\":1,\"b\":[true,null,\"\\u00e9\\/\"],\n\t\"c\":{\"d\":{}}}"), 0);
    const struct yaml_node *b = yaml_get(f->root, "b");
    assert_int_equal(b->count, 3);
    bool yes = false;
    assert_true(yaml_bool(b->first, &yes) && yes);
    assert_true(yaml_is_null(b->first->next));
    assert_string_equal(b->last->text, "\xc3\xa9/");
    const struct yaml_node *d = yaml_get(yaml_get(f->root, "c"), "d");
    assert_int_equal(d->type, YAML_MAP);
    assert_int_equal(d->count, 0);
    assert_int_equal(d->line, 2);
}

static void empty_documents_are_null(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"",      "\n\n", "# only a comment\n",
                                        "---\n", "~",    "\xef\xbb\xbf"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(load(f, texts[i]), 0);
        assert_true(yaml_is_null(f->root));
    }
    assert_int_equal(load_slice(f, slice_of(NULL, 0)), 0);
    assert_true(yaml_is_null(f->root));
}

static void scalars_are_read_strictly(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } ints[] = {
        {"5", true, 5},
        {"-5", true, -5},
        {"+5", true, 5},
        {"0o17", true, 15},
        {"0xfF", true, 255},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"0x", false, 0},
        {"-", false, 0},
        {"", false, 0},
        {"5s", false, 0},
        {"1.5", false, 0},
        {"0o8", false, 0},
        {"1f", false, 0},
        {"'5'", false, 0},
        {"[5]", false, 0},
    };
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        int64_t value = 77;
        assert_int_equal(load(f, ints[i].text), 0);
        assert_int_equal(yaml_int(f->root, &value), ints[i].ok);
        assert_int_equal(value, ints[i].ok ? ints[i].value : 77);
    }
    assert_false(yaml_int(NULL, &(int64_t){0}));
    static const char *const words[] = {"true", "True", "YES", "on", "false", "No", "OFF"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        bool value = i >= 4;
        assert_int_equal(load(f, words[i]), 0);
        assert_true(yaml_bool(f->root, &value));
        assert_int_equal(value, i < 4);
    }
    static const char *const others[] = {"tRUE", "1", "'true'", "[]", ""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        bool value;
        assert_int_equal(load(f, others[i]), 0);
        assert_false(yaml_bool(f->root, &value));
    }
    assert_false(yaml_bool(NULL, &(bool){false}));
}

static void refusals_name_the_line(void **state)
{
    struct fixture *f = *state;
    ASSERT_REFUSED(f, "a: 1\nb: &x 2\n", "line 2: anchors (&) and tags (!) are not supported");
    ASSERT_REFUSED(f, "a: &x [1]\n", "line 1: anchors (&) and tags (!) are not supported");
    ASSERT_REFUSED(f, "a: 1\nb: *x\n", "line 2: aliases (*) are not supported");
    ASSERT_REFUSED(f, "a: !!int 5\n", "line 1: anchors (&) and tags (!) are not supported");
    ASSERT_REFUSED(f, "a: !!map {}\n", "line 1: anchors (&) and tags (!) are not supported");
    ASSERT_REFUSED(f, "a: 1\nb: 2\na: 3\n", "line 3: key \"a\" is given twice, first in line 1");
    ASSERT_REFUSED(f, "a: 1\n---\nb: 2\n", "line 2: a second document in the file");
    ASSERT_REFUSED(f, "? [a]\n: 1\n", "line 1: a key must be a text");
    ASSERT_REFUSED(f, "a: \"\\0\"\n", "line 1: a NUL character inside a text");
    ASSERT_REFUSED(f, "a: b: c\n", "line 1: mapping values are not allowed in this context");
    ASSERT_REFUSED(f, "a: 1\n\tb: 2\n", "line 2: found a tab character that violates indentation");
    ASSERT_REFUSED(f, "a: [1\n", "line 2: did not find expected ',' or ']'");
    assert_int_equal(load(f, "a: \xff\n"), ERR_INVALID);
    assert_memory_equal(f->e.text, "byte 3: ", 8);
    /* Messages are optional. */
    struct yaml_node *root = NULL;
    assert_int_equal(yaml_load(slice_str("a: *x"), &f->arena, &root, NULL), ERR_INVALID);
    assert_null(root);
}

static void bounds_hold(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    buf_init(&b);
    for (unsigned depth = YAML_DEPTH_MAX; depth <= YAML_DEPTH_MAX + 1; depth++) {
        buf_clear(&b);
        for (unsigned i = 0; i < depth; i++) {
            buf_append_byte(&b, '[');
        }
        for (unsigned i = 0; i < depth; i++) {
            buf_append_byte(&b, ']');
        }
        assert_int_equal(load_slice(f, buf_slice(&b)), depth <= YAML_DEPTH_MAX ? 0 : ERR_INVALID);
    }
    assert_string_equal(f->e.text, "line 1: nested too deeply");
    /* A megabyte of brackets ends as soon. */
    buf_clear(&b);
    for (unsigned i = 0; i < YAML_BYTES_MAX; i++) {
        buf_append_byte(&b, '[');
    }
    assert_int_equal(load_slice(f, buf_slice(&b)), ERR_INVALID);
    buf_append_byte(&b, '[');
    assert_int_equal(load_slice(f, buf_slice(&b)), ERR_INVALID);
    assert_string_equal(f->e.text, "larger than 1048576 bytes");
    for (unsigned count = YAML_NODES_MAX - 1; count <= YAML_NODES_MAX; count++) {
        buf_clear(&b);
        for (unsigned i = 0; i < count; i++) {
            buf_append_str(&b, "- x\n");
        }
        assert_int_equal(load_slice(f, buf_slice(&b)), count < YAML_NODES_MAX ? 0 : ERR_INVALID);
    }
    assert_string_equal(f->e.text, "line 10000: too many values in one file");
    buf_close(&b);
}

/* Whichever allocation of ours fails, the answer is NOMEM; so with an arena at its limit. */
static void survives_each_failure(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 200; i++) {
        buf_printf(&b, "key%d: [value, {a: b}]\n", i);
    }
    for (uint64_t n = 1;; n++) {
        struct arena a;
        struct errmsg e;
        struct yaml_node *root = NULL;
        arena_init(&a, 0);
        mem_fail_after(n);
        int rc = yaml_load(buf_slice(&b), &a, &root, &e);
        mem_fail_after(0);
        arena_close(&a);
        if (rc == 0) {
            assert_true(n > 3);
            break;
        }
        assert_int_equal(rc, ERR_NOMEM);
        assert_null(root);
        assert_string_equal(e.text, "out of memory");
    }
    struct arena a;
    struct yaml_node *root = NULL;
    arena_init(&a, 500);
    assert_int_equal(yaml_load(buf_slice(&b), &a, &root, NULL), ERR_NOMEM);
    arena_close(&a);
    arena_init(&a, 1);
    assert_int_equal(yaml_load(slice_str(""), &a, &root, NULL), ERR_NOMEM);
    arena_close(&a);
    buf_close(&b);
}

int main(void)
{
#define YAML_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        YAML_TEST(a_configuration_file_becomes_a_tree),
        YAML_TEST(json_is_read_too),
        YAML_TEST(empty_documents_are_null),
        YAML_TEST(scalars_are_read_strictly),
        YAML_TEST(refusals_name_the_line),
        YAML_TEST(bounds_hold),
        YAML_TEST(survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
