/* test_yamljson - objects sent as YAML: how scalars are read, keys given twice, aliases and their
 * bounds. */
#include "plugins/object/yamljson.h"

#include "tests/unit/apiserver/fixture.h"

static const char *json_of(struct fixture *f, const char *yaml)
{
    buf_clear(&f->out);
    int rc = yaml_to_json(slice_str(yaml), &f->arena, &f->out, NULL, &f->e);
    if (rc != 0) {
        print_error("%s\n", f->e.text);
    }
    assert_int_equal(rc, 0);
    return text_of(&f->out);
}

static void scalars_follow_yaml_1_1(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(
        json_of(f, "b: [yes, No, on, true, y]\ni: [0644, 0x1F, 0b11, 0o17, 1_000, -5, +7]\n"
                   "d: [1.5, 1e3, .5, 2.0]\nz: [~, null, '']\n"
                   "s: ['yes', \"1\", 1.2.3, 08x, 2024-01-02, v1, 0x, '-', 1e400]\n"),
        "{\"b\":[true,false,true,true,true],\"d\":[1.5,1000,0.5,2],\"i\":[420,31,3,15,1000,-5,7],"
        "\"s\":[\"yes\",\"1\",\"1.2.3\",\"08x\",\"2024-01-02\",\"v1\","
        "\"0x\",\"-\","
        "\"1e400\"],\"z\":[null,null,\"\"]}");
    assert_string_equal(json_of(f, "1: a\ntrue: b\n'2': c\n"),
                        "{\"1\":\"a\",\"2\":\"c\",\"true\":\"b\"}");
    assert_string_equal(json_of(f, "a: |\n  x\n  y\nb: >-\n  p\n  q\n"),
                        "{\"a\":\"x\\ny\\n\",\"b\":\"p q\"}");
    assert_string_equal(json_of(f, "{\"a\": [1, {\"b\": null}]}"), "{\"a\":[1,{\"b\":null}]}");
}

static void an_object_is_decoded(void **state)
{
    struct fixture *f = *state;
    struct decode_report report;
    assert_int_equal(
        object_decode_yaml(&f->o, schema_type(SCHEMA_CORE_V1_POD), &f->arena,
                           slice_str("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n"
                                     "spec:\n  containers:\n  - name: c\n    image: i\n"
                                     "    ports:\n    - containerPort: 80\n  foo: 1\n"
                                     "  hostname: h1\n  hostname: h2\n"),
                           &report, &f->e),
        0);
    assert_string_equal(
        encoded(f, &f->o),
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"},\"spec\":{"
        "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":80}],"
        "\"resources\":{}}],\"hostname\":\"h2\"},\"status\":{}}");
    buf_clear(&f->out);
    decode_report_text(&report, &f->out);
    assert_string_equal(
        text_of(&f->out),
        "strict decoding error: yaml: unmarshal errors:\n  line 13: key \"hostname\" "
        "already set in map, unknown field \"spec.foo\"");
    /* A number where a text belongs stays wrong. */
    assert_int_equal(object_decode_yaml(&f->o, schema_type(SCHEMA_CORE_V1_CONFIG_MAP), &f->arena,
                                        slice_str("data: {a: 1}"), NULL, &f->e),
                     ERR_INVALID);
    assert_string_equal(f->e.text,
                        "json: cannot unmarshal number into Go struct field ConfigMap.data "
                        "of type string");
    assert_int_equal(object_decode_yaml(&f->o, schema_type(SCHEMA_CORE_V1_POD), &f->arena,
                                        slice_str("a: b: c"), NULL, &f->e),
                     ERR_INVALID);
    assert_string_equal(f->e.text, "yaml: line 1: mapping values are not allowed in this context");
}

static void aliases_are_copies(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(json_of(f, "a: &x {p: 1}\nb: *x\nc: [*x, &y z, *y]\n"),
                        "{\"a\":{\"p\":1},\"b\":{\"p\":1},\"c\":[{\"p\":1},\"z\",\"z\"]}");
    assert_string_equal(
        json_of(f, "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n"
                   "c: {<<: [{p: 8, r: 9}, *x]}\n"),
        "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":1,\"q\":3},\"c\":{\"p\":8,\"q\":2,\"r\":9}}");
    static const char *const bad[][2] = {
        {"a: *x", "yaml: line 1: an alias (*) of an unknown anchor"},
        {"a: &x [*x]", "yaml: line 1: an anchor's value contains itself"},
        {"a: !!str 1", "yaml: line 1: tags (!) are not supported"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(yaml_to_json(slice_str(bad[i][0]), &f->arena, &f->out, NULL, &f->e),
                         ERR_INVALID);
        assert_string_equal(f->e.text, bad[i][1]);
    }
}

/* Nine lines that would be a thousand million values. */
static void laughter_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++) {
        buf_printf(&b, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                   i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    assert_int_equal(yaml_to_json(buf_slice(&b), &f->arena, &f->out, NULL, &f->e), ERR_INVALID);
    assert_string_equal(f->e.text, "yaml: line 6: too many values in one file");
    buf_close(&b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(scalars_follow_yaml_1_1),
        T(an_object_is_decoded),
        T(aliases_are_copies),
        T(laughter_is_bounded),
    };
    return cmocka_run_group_tests_name("apiserver/yamljson", tests, NULL, NULL);
}
