/* test_plane.c - the test bed itself, over the API server. */
#include "tests/unit/plane/plane.h"

static const char config_map[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},"
    "\"data\":{\"k\":\"v\"}}";

/* Objects are made, read, changed, listed and deleted. */
static void objects_are_asked_for(void **state)
{
    (void)state;
    plane_open("apiserver", NULL);
    assert_string_equal(plane_state("apiserver"), "leading");
    struct object *o = plane_apply(config_map);
    assert_string_equal(plane_text_of(o, "data[k]"), "v");
    assert_string_equal(plane_text_of(o, "metadata.creationTimestamp"), "1767225600");
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"},"
                 "\"data\":{\"more\":\"%d\"}}",
                 "a", 1);
    plane_expect(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", "data", "{\"k\":\"v\",\"more\":\"1\"}");
    o = plane_get(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a");
    assert_int_equal(object_set_str(o, "data[k]", "w"), 0);
    plane_update(o, NULL);
    plane_patch(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", NULL, "{\"data\":{\"more\":null}}");
    plane_expect(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", "data", "{\"k\":\"w\"}");
    assert_int_equal(plane_count(SCHEMA_CORE_V1_CONFIG_MAP, "default", NULL), 1);
    plane_delete(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", NULL);
    assert_null(plane_get(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a"));
    assert_string_equal(plane_text(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", "data"), "");
    struct plane_answer a = plane_ask(KVP_VERB_DELETE, SCHEMA_CORE_V1_CONFIG_MAP, NULL, "default",
                                      "a", NULL, NULL, NULL);
    assert_int_equal(a.status, 404);
    assert_string_equal(a.message, "configmaps \"a\" not found");
    plane_close();
}

static bool clock_is_late(void *data)
{
    return plane_now_ms() >= *(uint64_t *)data;
}

/* The clock goes where it is told, and no further. */
static void time_is_the_tests(void **state)
{
    (void)state;
    plane_open("apiserver", NULL);
    uint64_t start = plane_now_ms();
    plane_advance(3600000);
    assert_int_equal(plane_now_ms(), start + 3600000);
    uint64_t late = plane_now_ms() + 5000;
    assert_false(plane_until(clock_is_late, &late, 4000));
    assert_int_equal(plane_now_ms(), late - 1000);
    assert_true(plane_until(clock_is_late, &late, 4000));
    assert_in_range(plane_now_ms(), late, late + PLANE_STEP_MS);
    struct object *o = plane_apply(config_map);
    assert_int_equal(object_int(o, "metadata.creationTimestamp", 0), plane_now_ms() / 1000);
    plane_close();
}

/* Terms come and go, and the host is restarted; what is stored stays. */
static void leadership_and_restart(void **state)
{
    (void)state;
    plane_open("apiserver", NULL);
    plane_apply(config_map);
    plane_follow();
    assert_string_equal(plane_state("apiserver"), "ready");
    struct plane_answer a = plane_ask(KVP_VERB_DELETE, SCHEMA_CORE_V1_CONFIG_MAP, NULL, "default",
                                      "a", NULL, NULL, NULL);
    assert_int_equal(a.status, 503);
    plane_expect(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", "data[k]", "v");
    plane_lead();
    plane_patch(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", NULL, "{\"data\":{\"k\":\"x\"}}");
    plane_restart();
    plane_expect(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", "data[k]", "x");
    plane_delete(SCHEMA_CORE_V1_CONFIG_MAP, "default", "a", NULL);
    plane_close();
}

static void on_refused(void *data, const struct client_answer *a)
{
    *(int *)data = a->status;
}

static void list_secrets_inside(void *data)
{
    const struct client_request r = {.verb = KVP_VERB_LIST,
                                     .type = schema_type(SCHEMA_CORE_V1_SECRET),
                                     .done = on_refused,
                                     .data = data};
    assert_int_equal(client_send(plane_client(), &r), 0);
}

/* Without the option everybody has the rights he has: they are enough for the plugins' work. */
static void rights_are_enough(void **state)
{
    (void)state;
    plane_open("apiserver,insecure-allow-all=false", "controllers", "scheduler", "hollow-node",
               NULL);
    int refused = 0;
    plane_inside(list_secrets_inside, &refused);
    assert_int_equal(refused, 403);
    plane_apply(
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\"},"
        "\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
        "\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
        "\"image\":\"i\"}]}}}}");
    PLANE_UNTIL(
        strcmp(plane_text(SCHEMA_APPS_V1_DEPLOYMENT, "default", "d", "status.availableReplicas"),
               "3") == 0,
        120000);
    assert_true(plane_events("default", "d", "ScalingReplicaSet") > 0);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(objects_are_asked_for),
        PLANE_TEST(time_is_the_tests),
        PLANE_TEST(leadership_and_restart),
        PLANE_TEST(rights_are_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
