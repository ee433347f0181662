/* test_selectors - label and field selectors: grammar, messages, what they match. */
#include "plugins/object/fields.h"
#include "plugins/object/labels.h"

#include "tests/unit/apiserver/fixture.h"

static const char *label_printed(struct fixture *f, const char *text)
{
    struct label_selector s;
    assert_int_equal(label_selector_parse(slice_str(text), &f->arena, &s, &f->e), 0);
    buf_clear(&f->out);
    label_selector_print(&s, &f->out);
    return text_of(&f->out);
}

static void label_selectors_are_read(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"", ""},
        {" x ", "x"},
        {"x=a,y=b", "x=a,y=b"},
        {"y==b , x = a", "x=a,y==b"},
        {"x!=a", "x!=a"},
        {"!x,y", "!x,y"},
        {"x in (c,a,b,a)", "x in (a,b,c)"},
        {"x notin ( a , b )", "x notin (a,b)"},
        {"x in ()", "x in ()"},
        {"x in (,a)", "x in (,a)"},
        {"y<2,x>1", "x>1,y<2"},
        {"in in (in,notin)", "in in (in,notin)"},
        {"x=", "x="},
        {"a.b/c=d", "a.b/c=d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(label_printed(f, cases[i][0]), cases[i][1]);
    }
}

static void bad_label_selectors_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"x,", "found '', expected: identifier after ','"},
        {"=a", "found '=', expected: !, identifier, or 'end of string'"},
        {"x=a y", "found 'y', expected: ',' or 'end of string'"},
        {"x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"},
        {"x in a", "unable to parse requirement: found 'a' expected: '('"},
        {"x in (a", "unable to parse requirement: found '', expected: ',' or ')'"},
        {"x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"},
        {"!=a", "found '!=', expected: !, identifier, or 'end of string'"},
        {"!", "unable to parse requirement: found '', expected: identifier"},
        {"x>a", "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' "
                "operators, the value must be an integer"},
        {"x=-",
         "unable to parse requirement: values[0][x]: Invalid value: \"-\": a valid label must "
         "be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
         "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
         "'12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
        {"/x=a", "unable to parse requirement: <nil>: Invalid value: \"/x\": prefix part must be "
                 "non-empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct label_selector s;
        assert_int_equal(label_selector_parse(slice_str(cases[i][0]), &f->arena, &s, &f->e),
                         ERR_INVALID);
        assert_string_equal(f->e.text, cases[i][1]);
    }
}

static bool label_matches(struct fixture *f, const char *selector, const char *labels)
{
    struct label_selector s;
    struct value v;
    assert_int_equal(label_selector_parse(slice_str(selector), &f->arena, &s, &f->e), 0);
    assert_int_equal(decode_json(slice_str(labels), NULL, &f->arena, &v, NULL, &f->e), 0);
    return label_selector_matches(&s, &v);
}

static void labels_match(void **state)
{
    struct fixture *f = *state;
    const char *labels = "{\"a\":\"1\",\"b\":\"x\"}";
    assert_true(label_matches(f, "", labels));
    assert_true(label_matches(f, "a=1,b in (x,y)", labels));
    assert_false(label_matches(f, "a=1,b=y", labels));
    assert_true(label_matches(f, "c!=1,c notin (1),!c,a", labels));
    assert_false(label_matches(f, "c", labels));
    assert_true(label_matches(f, "a>0,a<2", labels));
    assert_false(label_matches(f, "b>0", labels));
    struct label_selector s;
    assert_int_equal(label_selector_from(NULL, &f->arena, &s, &f->e), 0);
    assert_false(label_selector_matches(&s, NULL));
    struct object o = decoded(f, SCHEMA_META_V1_LABEL_SELECTOR,
                              "{\"matchLabels\":{\"a\":\"1\"},\"matchExpressions\":[{\"key\":\"b\","
                              "\"operator\":\"NotIn\",\"values\":[\"z\",\"y\"]},{\"key\":\"c\","
                              "\"operator\":\"DoesNotExist\"}]}");
    assert_int_equal(label_selector_from(&o.root, &f->arena, &s, &f->e), 0);
    buf_clear(&f->out);
    label_selector_print(&s, &f->out);
    assert_string_equal(text_of(&f->out), "a=1,b notin (y,z),!c");
    struct value v;
    assert_int_equal(decode_json(slice_str(labels), NULL, &f->arena, &v, NULL, &f->e), 0);
    assert_true(label_selector_matches(&s, &v));
}

static bool field_matches(struct fixture *f, const char *selector, const struct object *o)
{
    struct field_selector s;
    assert_int_equal(field_selector_parse(slice_str(selector), &f->arena, &s, &f->e), 0);
    assert_int_equal(field_selector_check(&s, o->type, &f->e), 0);
    return field_selector_matches(&s, o->type, &o->root);
}

static void fields_match(void **state)
{
    struct fixture *f = *state;
    struct object pod =
        decoded(f, SCHEMA_CORE_V1_POD,
                "{\"metadata\":{\"name\":\"a\",\"namespace\":\"d\"},\"spec\":{\"nodeName\":"
                "\"n\"},\"status\":{\"phase\":\"Running\",\"podIPs\":[{\"ip\":\"1.2.3.4\"}]}}");
    assert_true(field_matches(f, "", &pod));
    assert_true(field_matches(f, "metadata.name=a,metadata.namespace==d", &pod));
    assert_true(field_matches(f, "status.phase!=Succeeded,status.phase!=Failed", &pod));
    assert_false(field_matches(f, "spec.nodeName=", &pod));
    assert_true(field_matches(f, "spec.hostNetwork=false,status.podIPs=1.2.3.4", &pod));
    struct object node = decoded(f, SCHEMA_CORE_V1_NODE, "{\"spec\":{\"unschedulable\":true}}");
    assert_true(field_matches(f, "spec.unschedulable=true", &node));
    struct object rc = decoded(f, SCHEMA_CORE_V1_REPLICATION_CONTROLLER, "{}");
    assert_true(field_matches(f, "status.replicas=0", &rc));
    struct object ev = decoded(f, SCHEMA_CORE_V1_EVENT, "{\"source\":{\"component\":\"k\"}}");
    assert_true(field_matches(f, "source=k,involvedObject.name=", &ev));
}

static void field_selectors_are_read(void **state)
{
    struct fixture *f = *state;
    struct field_selector s;
    assert_int_equal(field_selector_parse(slice_str("b=x\\,y\\=z\\\\,,a!=1"), &f->arena, &s, &f->e),
                     0);
    buf_clear(&f->out);
    field_selector_print(&s, &f->out);
    assert_string_equal(text_of(&f->out), "a!=1,b=x\\,y\\=z\\\\");
    assert_true(slice_eq(field_selector_exact(&s, "b"), slice_str("x,y=z\\")));
    assert_null(field_selector_exact(&s, "a").data);
    static const char *const cases[][2] = {
        {"x", "invalid selector: 'x'; can't understand 'x'"},
        {"a=1,x", "invalid selector: 'a=1,x'; can't understand 'x'"},
        {"a=b=c", "invalid field selector: unescaped character in value: ="},
        {"a=b\\x", "invalid field selector: invalid escape sequence: \\x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(field_selector_parse(slice_str(cases[i][0]), &f->arena, &s, &f->e),
                         ERR_INVALID);
        assert_string_equal(f->e.text, cases[i][1]);
    }
    assert_int_equal(field_selector_parse(slice_str("spec.foo=1"), &f->arena, &s, &f->e), 0);
    assert_int_equal(field_selector_check(&s, schema_type(SCHEMA_CORE_V1_POD), &f->e), ERR_INVALID);
    assert_string_equal(f->e.text, "field label not supported: spec.foo");
    assert_int_equal(field_selector_parse(slice_str("metadata.namespace=x"), &f->arena, &s, &f->e),
                     0);
    assert_int_equal(field_selector_check(&s, schema_type(SCHEMA_CORE_V1_NODE), &f->e),
                     ERR_INVALID);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(label_selectors_are_read),
        T(bad_label_selectors_are_refused),
        T(labels_match),
        T(fields_match),
        T(field_selectors_are_read),
    };
    return cmocka_run_group_tests_name("apiserver/selectors", tests, NULL, NULL);
}
