/* test_managed - who owns which field after which writes. */
#include "plugins/apiserver/managed.h"

#include "tests/unit/apiserver/fixture.h"

static const char *fields_of(struct fixture *f, const struct object *o, const char *manager)
{
    const struct value *list = object_get(o, "metadata.managedFields");
    const struct schema_type *t = schema_type(SCHEMA_META_V1_MANAGED_FIELDS_ENTRY);
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(t, &list->items[i], "manager"), manager)) {
            buf_clear(&f->out);
            buf_append_slice(&f->out, value_slice(value_find(t, &list->items[i], "fieldsV1")));
            return text_of(&f->out);
        }
    }
    return "nothing";
}

static struct object written(struct fixture *f, enum schema_type_id type, const struct object *old,
                             const char *json, const char *manager)
{
    struct object o = decoded(f, type, json);
    assert_int_equal(managed_update(&o, old, slice_str(manager), slice_of("", 0), 1700000000), 0);
    return o;
}

static void the_creator_owns_all_it_said(void **state)
{
    struct fixture *f = *state;
    struct object o = written(
        f, SCHEMA_CORE_V1_CONFIG_MAP, NULL,
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\"}},\"data\":{\"k\":\"v\"}}", "one");
    assert_string_equal(fields_of(f, &o, "one"),
                        "{\"f:data\":{\".\":{},\"f:k\":{}},\"f:metadata\":{\"f:labels\":{\".\":{},"
                        "\"f:x\":{}}}}");
    const char *json = encoded(f, &o);
    assert_non_null(strstr(json, "\"managedFields\":[{\"manager\":\"one\",\"operation\":\"Update\","
                                 "\"apiVersion\":\"v1\",\"time\":\"2023-11-14T22:13:20Z\","
                                 "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{"));
    o = written(f, SCHEMA_CORE_V1_POD, NULL,
                "{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{"
                "\"containerPort\":80,\"protocol\":\"TCP\"}]}]}}",
                "one");
    assert_string_equal(
        fields_of(f, &o, "one"),
        "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{},"
        "\"f:name\":{},\"f:ports\":{\".\":{},\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":"
        "\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{},\"f:protocol\":{}}}}}}}");
}

static void values_that_change_change_hands(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id t = SCHEMA_CORE_V1_CONFIG_MAP;
    struct object a =
        written(f, t, NULL, "{\"data\":{\"k\":\"1\",\"l\":\"1\",\"m\":\"1\"}}", "one");
    struct object b = written(f, t, &a, "{\"data\":{\"k\":\"2\",\"l\":\"1\",\"n\":\"1\"}}", "two");
    assert_string_equal(fields_of(f, &b, "one"), "{\"f:data\":{\".\":{},\"f:l\":{}}}");
    assert_string_equal(fields_of(f, &b, "two"), "{\"f:data\":{\"f:k\":{},\"f:n\":{}}}");
    /* What a client says about it counts for nothing; no change, no entry. */
    struct object c = written(f, t, &b,
                              "{\"metadata\":{\"managedFields\":[]},\"data\":{\"k\":\"2\",\"l\":"
                              "\"1\",\"n\":\"1\"}}",
                              "three");
    assert_string_equal(fields_of(f, &c, "three"), "nothing");
    assert_true(value_equal_field(
        schema_find(schema_type(SCHEMA_META_V1_OBJECT_META), slice_str("managedFields")),
        object_get(&c, "metadata.managedFields"), object_get(&b, "metadata.managedFields")));
    /* Taken away, it is nobody's; who owns nothing is forgotten. */
    struct object d = written(f, t, &c, "{}", "three");
    assert_null(object_get(&d, "metadata.managedFields"));
}

static void many_writers_become_one(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id t = SCHEMA_CORE_V1_CONFIG_MAP;
    struct object o = written(f, t, NULL, "{\"data\":{\"k\":\"1\"}}", "m0");
    char data[512] = "\"k\":\"1\"";
    for (int i = 1; i < 14; i++) {
        char json[600];
        char manager[16];
        size_t n = strlen(data);
        snprintf(data + n, sizeof data - n, ",\"k%d\":\"1\"", i);
        snprintf(json, sizeof json, "{\"data\":{%s}}", data);
        snprintf(manager, sizeof manager, "m%d", i);
        o = written(f, t, &o, json, manager);
    }
    assert_int_equal(value_len(object_get(&o, "metadata.managedFields")), 10);
    assert_string_equal(
        fields_of(f, &o, "ancient-changes"),
        "{\"f:data\":{\".\":{},\"f:k\":{},\"f:k1\":{},\"f:k2\":{},\"f:k3\":{},\"f:k4\":{}}}");
    assert_string_equal(fields_of(f, &o, "m13"), "{\"f:data\":{\"f:k13\":{}}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_creator_owns_all_it_said, setup, teardown),
        cmocka_unit_test_setup_teardown(values_that_change_change_hands, setup, teardown),
        cmocka_unit_test_setup_teardown(many_writers_become_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
