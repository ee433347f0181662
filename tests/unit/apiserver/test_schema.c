/* test_schema - the tables made from the schema files: lookups, and facts of a few kinds. */
#include "plugins/schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* Every field is found by its name, and nothing else is. */
static void fields_are_found_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < schema_type_count; i++) {
        const struct schema_type *t = schema_types + i;
        for (size_t k = 0; k < t->field_count; k++) {
            const struct schema_field *f = schema_fields(t) + k;
            const char *name = schema_field_name(f);
            assert_int_equal(strlen(name), f->name_len);
            assert_ptr_equal(schema_find(t, slice_str(name)), f);
            char longer[256];
            snprintf(longer, sizeof longer, "%sx", name);
            const struct schema_field *other = schema_find(t, slice_str(longer));
            assert_true(other == NULL || strcmp(schema_field_name(other), longer) == 0);
        }
        assert_null(schema_find(t, slice_str("")));
        assert_null(schema_find(t, slice_str("nothing-is-called-so")));
    }
}

static const struct schema_type *kind(const char *group, const char *version, const char *name)
{
    const struct schema_type *t =
        schema_find_kind(slice_str(group), slice_str(version), slice_str(name));
    assert_non_null(t);
    return t;
}

static void kinds_are_found(void **state)
{
    (void)state;
    const struct schema_type *pod = kind("", "v1", "Pod");
    assert_ptr_equal(pod, schema_type(SCHEMA_CORE_V1_POD));
    const struct schema_resource *r = schema_resource_of(pod);
    assert_string_equal(schema_text(r, r->plural), "pods");
    assert_string_equal(schema_text(r, r->short_names), "po");
    assert_string_equal(schema_text(r, r->categories), "all");
    assert_true(r->rules & SCHEMA_RULE_NAMESPACED);
    assert_int_equal(r->verbs, 255);
    assert_ptr_equal(schema_at(r, r->list_type), kind("", "v1", "PodList"));
    assert_ptr_equal(
        schema_find_resource(slice_str("apps"), slice_str("v1"), slice_str("deployments")),
        schema_resource_of(kind("apps", "v1", "Deployment")));
    /* Two groups have events. */
    assert_ptr_not_equal(kind("", "v1", "Event"), kind("events.k8s.io", "v1", "Event"));
    const struct schema_resource *ns = schema_resource_of(kind("", "v1", "Namespace"));
    assert_false(ns->verbs & SCHEMA_VERB_DELETECOLLECTION);
    assert_null(schema_find_kind(slice_str(""), slice_str("v1"), slice_str("pod")));
    assert_null(schema_find_kind(slice_str("apps"), slice_str("v1"), slice_str("Pod")));
    /* Types that are no kinds of their own have no kind and apiVersion. */
    assert_null(schema_find_kind(slice_str(""), slice_str("v1"), slice_str("PodSpec")));
}

static void fields_say_what_they_are(void **state)
{
    (void)state;
    const struct schema_type *spec = schema_type(SCHEMA_CORE_V1_POD_SPEC);
    const struct schema_field *f = schema_find(spec, slice_str("terminationGracePeriodSeconds"));
    assert_int_equal(f->number, 4);
    assert_int_equal(f->kind, SCHEMA_INT64);
    assert_int_equal(f->fallback_number, 30);
    assert_true(f->flags & SCHEMA_FIELD_POINTER);
    f = schema_find(spec, slice_str("containers"));
    assert_string_equal(schema_text(f, f->merge_key), "name");
    assert_string_equal(schema_text(f, f->go_name), "[]v1.Container");
    assert_int_equal(f->merge, SCHEMA_MERGE_KEYED);
    assert_true(schema_field_always(f));
    f = schema_find(schema_field_type(f), slice_str("ports"));
    assert_string_equal(schema_text(f, f->merge_key), "containerPort");
    assert_string_equal(schema_text(f, f->list_keys), "containerPort,protocol");
    /* An inlined field knows the message it is in. */
    f = schema_find(schema_type(SCHEMA_CORE_V1_VOLUME), slice_str("hostPath"));
    assert_int_equal(f->outer, 2);
    assert_int_equal(f->number, 1);
    f = schema_find(spec, slice_str("restartPolicy"));
    assert_string_equal(schema_text(f, f->fallback), "Always");
    assert_true(schema_enum_has(schema_field_type(f), slice_str("OnFailure")));
    assert_false(schema_enum_has(schema_field_type(f), slice_str("Sometimes")));
    /* An unset time is null, but for the one that is left out. */
    assert_true(schema_field_always(
        schema_find(schema_type(SCHEMA_CORE_V1_POD_CONDITION), slice_str("lastProbeTime"))));
    assert_false(schema_field_always(
        schema_find(schema_type(SCHEMA_META_V1_OBJECT_META), slice_str("creationTimestamp"))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found_by_name),
        cmocka_unit_test(kinds_are_found),
        cmocka_unit_test(fields_say_what_they_are),
    };
    return cmocka_run_group_tests_name("apiserver/schema", tests, NULL, NULL);
}
