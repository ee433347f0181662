/* test_namespace_report.c - what the status of an ending namespace says. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/conditions.h"
#include "plugins/controllers/namespace_report.h"

#define NOW_S 1767225700

static void add(struct fixture *f, struct namespace_report *r, enum schema_type_id kind,
                const char *list)
{
    struct object o = decoded(f, SCHEMA_META_V1_PARTIAL_OBJECT_METADATA_LIST, list);
    namespace_report_add(r, schema_type(kind), &o, slice_str("x"), NOW_S - 5, NOW_S);
}

static void expect(struct fixture *f, const struct namespace_report *r, const char *type,
                   const char *status, const char *reason, const char *message)
{
    bool changed;
    struct object o = decoded(f, SCHEMA_CORE_V1_NAMESPACE, "{'metadata':{'name':'x'}}");
    assert_int_equal(namespace_report_conditions(r, &o, NOW_S, &changed), 0);
    assert_true(changed);
    struct condition c = conditions_find(&o, type);
    assert_true(conditions_is(c, status));
    assert_true(slice_eq(conditions_text(c, "reason"), slice_str(reason)));
    buf_clear(&f->out);
    buf_append_slice(&f->out, conditions_text(c, "message"));
    assert_string_equal(plain(&f->out), message);
    assert_int_equal(namespace_report_conditions(r, &o, NOW_S + 9, &changed), 0);
    assert_false(changed);
    assert_int_equal(value_len(object_get(&o, "status.conditions")), 5);
}

static void nothing_remains(void **state)
{
    struct fixture *f = *state;
    struct namespace_report r = {0};
    add(f, &r, SCHEMA_CORE_V1_POD, "{'items':[]}");
    assert_true(namespace_report_is_empty(&r));
    expect(f, &r, "NamespaceContentRemaining", "False", "ContentRemoved",
           "All content successfully removed");
    expect(f, &r, "NamespaceDeletionContentFailure", "False", "ContentDeleted",
           "All content successfully deleted, may be waiting on finalization");
    expect(f, &r, "NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
           "All legacy kube types successfully parsed");
}

static void grace_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct namespace_report r = {0};
    add(f, &r, SCHEMA_CORE_V1_POD,
        "{'metadata':{'remainingItemCount':3},'items':[{'metadata':{'name':'a',"
        "'deletionGracePeriodSeconds':30}},{'metadata':{'name':'b',"
        "'deletionGracePeriodSeconds':10}}]}");
    assert_int_equal(r.wait_s, 25);
    assert_int_equal(r.error_count, 0);
    assert_false(namespace_report_is_empty(&r));
    expect(f, &r, "NamespaceContentRemaining", "True", "SomeResourcesRemain",
           "Some resources are remaining: pods. has 5 resource instances");
}

static void finalizers_are_counted(void **state)
{
    struct fixture *f = *state;
    struct namespace_report r = {0};
    add(f, &r, SCHEMA_CORE_V1_SECRET,
        "{'items':[{'metadata':{'finalizers':['z','a']}},{'metadata':{'finalizers':['a']}}]}");
    add(f, &r, SCHEMA_APPS_V1_DEPLOYMENT, "{'items':[{'metadata':{'finalizers':['a']}}]}");
    assert_int_equal(r.wait_s, NAMESPACE_FINALIZER_WAIT_S);
    assert_int_equal(r.error_count, 0);
    expect(f, &r, "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
           "Some content in the namespace has finalizers remaining: a in 3 resource instances, "
           "z in 1 resource instances");
    expect(f, &r, "NamespaceContentRemaining", "True", "SomeResourcesRemain",
           "Some resources are remaining: deployments.apps has 1 resource instances, "
           "secrets. has 2 resource instances");
}

static void what_stays_without_reason_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct namespace_report r = {0};
    add(f, &r, SCHEMA_APPS_V1_DEPLOYMENT, "{'items':[{'metadata':{'name':'d'}}]}");
    assert_int_equal(r.wait_s, 0);
    expect(f, &r, "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed",
           "Failed to delete all resource types, 1 remaining: unexpected items still remain in "
           "namespace: x for gvr: apps/v1, Resource=deployments");
    for (int i = 0; i < 200; i++) {
        namespace_report_error(&r, slice_str("a sentence of some length, said very often"));
    }
    for (int i = 0; i < 200; i++) {
        add(f, &r, SCHEMA_CORE_V1_SECRET, "{'items':[{'metadata':{'finalizers':['y']}}]}");
    }
    assert_int_equal(r.remains_count, NAMESPACE_KINDS_MAX);
    expect(f, &r, "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
           "Some content in the namespace has finalizers remaining: y in 200 resource instances");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_remains, setup, teardown),
        cmocka_unit_test_setup_teardown(grace_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(finalizers_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_stays_without_reason_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
