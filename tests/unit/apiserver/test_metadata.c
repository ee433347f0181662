/* test_metadata - what the server writes into metadata itself. */
#include "plugins/object/metadata.h"

#include "tests/unit/apiserver/fixture.h"

static const struct metadata_facts facts = {.now_seconds = 1700000000, .random = {1, 2, 3, 4, 5}};

static void a_new_object_gets_its_identity(void **state)
{
    struct fixture *f = *state;
    struct object o =
        decoded(f, SCHEMA_CORE_V1_POD,
                "{\"metadata\":{\"generateName\":\"web-\",\"uid\":\"mine\",\"generation\":7,"
                "\"deletionTimestamp\":\"2024-01-01T00:00:00Z\",\"selfLink\":\"x\"}}");
    assert_int_equal(metadata_prepare_create(&o, &facts), 0);
    struct slice name = object_text(&o, "metadata.name");
    assert_int_equal(name.len, 9);
    assert_true(slice_starts_with(name, slice_str("web-")));
    assert_true(slice_eq(object_text(&o, "metadata.uid"),
                         slice_str("01020304-0500-4000-8000-000000000000")));
    assert_int_equal(object_int(&o, "metadata.creationTimestamp", 0), 1700000000);
    assert_int_equal(object_int(&o, "metadata.generation", 0), 1);
    assert_null(object_get(&o, "metadata.deletionTimestamp"));
    assert_null(object_get(&o, "metadata.selfLink"));
    /* A name stays; config maps count no generations. */
    o = decoded(f, SCHEMA_CORE_V1_CONFIG_MAP,
                "{\"metadata\":{\"generateName\":\"web-\",\"name\":\"a\",\"generation\":7}}");
    assert_int_equal(metadata_prepare_create(&o, &facts), 0);
    assert_true(slice_eq(object_text(&o, "metadata.name"), slice_str("a")));
    assert_null(object_get(&o, "metadata.generation"));
    /* Long prefixes are cut so that the name is a label. */
    o = decoded(
        f, SCHEMA_CORE_V1_POD,
        "{\"metadata\":{\"generateName\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaa\"}}");
    assert_int_equal(metadata_prepare_create(&o, &facts), 0);
    assert_int_equal(object_text(&o, "metadata.name").len, 63);
}

static int64_t generation_after(struct fixture *f, enum schema_type_id type, const char *from,
                                const char *to)
{
    struct object old = decoded(f, type, from);
    struct object new = decoded(f, type, to);
    assert_int_equal(metadata_prepare_update(&new, &old), 0);
    return object_int(&new, "metadata.generation", 0);
}

static void generations_count_what_is_wanted(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id d = SCHEMA_APPS_V1_DEPLOYMENT;
    const char *from = "{\"metadata\":{\"generation\":3},\"spec\":{\"replicas\":1}}";
    assert_int_equal(generation_after(f, d, from, "{\"spec\":{\"replicas\":2}}"), 4);
    assert_int_equal(generation_after(f, d, from, "{\"spec\":{\"replicas\":1}}"), 3);
    assert_int_equal(generation_after(f, d, from,
                                      "{\"metadata\":{\"generation\":9},\"spec\":{\"replicas\":1},"
                                      "\"status\":{\"replicas\":5}}"),
                     3);
    assert_int_equal(generation_after(f, d, from,
                                      "{\"metadata\":{\"annotations\":{\"a\":\"b\"}},\"spec\":{"
                                      "\"replicas\":1}}"),
                     4);
    assert_int_equal(
        generation_after(
            f, SCHEMA_APPS_V1_REPLICA_SET, from,
            "{\"metadata\":{\"annotations\":{\"a\":\"b\"}},\"spec\":{\"replicas\":1}}"),
        3);
    assert_int_equal(
        generation_after(f, SCHEMA_CORE_V1_CONFIG_MAP, "{}", "{\"data\":{\"a\":\"b\"}}"), 0);
}

static void an_update_keeps_what_the_server_wrote(void **state)
{
    struct fixture *f = *state;
    struct object old = decoded(
        f, SCHEMA_CORE_V1_CONFIG_MAP,
        "{\"metadata\":{\"uid\":\"u\",\"creationTimestamp\":\"2024-01-01T00:00:00Z\","
        "\"deletionTimestamp\":\"2024-01-02T00:00:00Z\",\"deletionGracePeriodSeconds\":0}}");
    struct object new = decoded(f, SCHEMA_CORE_V1_CONFIG_MAP,
                                "{\"metadata\":{\"creationTimestamp\":\"2025-01-01T00:00:00Z\"}}");
    assert_int_equal(metadata_prepare_update(&new, &old), 0);
    assert_true(object_equal(&new, &old));
    /* Another uid is told from the right one later. */
    new = decoded(f, SCHEMA_CORE_V1_CONFIG_MAP, "{\"metadata\":{\"uid\":\"v\"}}");
    assert_int_equal(metadata_prepare_update(&new, &old), 0);
    assert_true(slice_eq(object_text(&new, "metadata.uid"), slice_str("v")));
}

static void deletion_is_marked(void **state)
{
    struct fixture *f = *state;
    struct object o = decoded(f, SCHEMA_CORE_V1_POD, "{\"metadata\":{\"generation\":1}}");
    assert_int_equal(metadata_mark_deleted(&o, 1000, 30), 0);
    assert_int_equal(object_int(&o, "metadata.deletionTimestamp", 0), 1030);
    assert_int_equal(object_int(&o, "metadata.deletionGracePeriodSeconds", 0), 30);
    assert_int_equal(object_int(&o, "metadata.generation", 0), 2);
    o = decoded(f, SCHEMA_CORE_V1_CONFIG_MAP, "{}");
    /* A grace without end. */
    assert_int_equal(metadata_mark_deleted(&o, 1000, INT64_MAX), 0);
    assert_int_equal(object_int(&o, "metadata.deletionTimestamp", 0), 253402300799);
    assert_int_equal(metadata_mark_deleted(&o, 1000, 0), 0);
    assert_null(object_get(&o, "metadata.generation"));
}

static void owners_are_named_once(void **state)
{
    struct fixture *f = *state;
    struct object o = decoded(
        f, SCHEMA_CORE_V1_POD,
        "{\"metadata\":{\"ownerReferences\":[{\"uid\":\"a\",\"name\":\"1\"},{\"uid\":\"b\"},"
        "{\"uid\":\"a\",\"name\":\"2\"},{\"uid\":\"b\"}]}}");
    struct buf uids;
    size_t dropped;
    buf_init(&uids);
    assert_int_equal(metadata_dedupe_owners(&o, &uids, &dropped), 0);
    assert_int_equal(dropped, 2);
    assert_true(slice_eq(buf_slice(&uids), slice_str("a, b")));
    buf_close(&uids);
    assert_int_equal(value_len(object_get(&o, "metadata.ownerReferences")), 2);
    assert_true(slice_eq(object_text(&o, "metadata.ownerReferences[0].name"), slice_str("1")));
    assert_int_equal(metadata_dedupe_owners(&o, NULL, &dropped), 0);
    assert_int_equal(dropped, 0);
}

/* As many as a body has room for: what takes the square of that never ends. */
static void many_owners_take_no_time(void **state)
{
    struct fixture *f = *state;
    struct buf json;
    size_t dropped;
    buf_init(&json);
    buf_append_str(&json, "{\"metadata\":{\"ownerReferences\":[");
    for (int i = 0; i < 150000; i++) {
        buf_printf(&json, "%s{\"uid\":\"%d\"}", i > 0 ? "," : "", i % 149999);
    }
    buf_append_str(&json, "]}}");
    buf_append_byte(&json, 0);
    struct object o = decoded(f, SCHEMA_CORE_V1_POD, (const char *)json.data);
    buf_close(&json);
    assert_int_equal(metadata_dedupe_owners(&o, NULL, &dropped), 0);
    assert_int_equal(dropped, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_new_object_gets_its_identity),
        T(generations_count_what_is_wanted),
        T(an_update_keeps_what_the_server_wrote),
        T(deletion_is_marked),
        T(owners_are_named_once),
        T(many_owners_take_no_time),
    };
    return cmocka_run_group_tests_name("apiserver/metadata", tests, NULL, NULL);
}
