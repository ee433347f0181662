/* test_gc.c - owners are deleted in each way there is, through the API server. */
#include "tests/unit/plane/plane.h"

#define POD SCHEMA_CORE_V1_POD
#define RS  SCHEMA_APPS_V1_REPLICA_SET
#define DEP SCHEMA_APPS_V1_DEPLOYMENT
#define MAP SCHEMA_CORE_V1_CONFIG_MAP

static void open_plane(void)
{
    plane_open("apiserver", "controllers", NULL);
}

static void deployment(void)
{
    plane_apply("{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":"
                "\"web\"},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"app\":\"w\"}},"
                "\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":"
                "[{\"name\":\"c\",\"image\":\"i\"}]}}}}");
    PLANE_UNTIL(plane_count(POD, "default", NULL) == 3, 5000);
    plane_advance(2000);
}

static size_t sets(void)
{
    return plane_count(RS, "default", NULL);
}
static size_t pods(void)
{
    return plane_count(POD, "default", NULL);
}

#define OPTIONS(policy) \
    "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"propagationPolicy\":\"" policy "\"}"

static void in_the_background(void **state)
{
    (void)state;
    open_plane();
    deployment();
    plane_delete(DEP, "default", "web", OPTIONS("Background"));
    assert_null(plane_get(DEP, "default", "web"));
    PLANE_UNTIL(sets() == 0 && pods() == 0, 10000);
    plane_close();
}

static void in_the_foreground(void **state)
{
    (void)state;
    open_plane();
    deployment();
    /* One of the pods takes its time: it is bound, and its kubelet has not confirmed. */
    size_t count;
    struct object *pod = plane_list(POD, "default", NULL, &count)[0];
    char name[64];
    snprintf(name, sizeof name, "%s", plane_text_of(pod, "metadata.name"));
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}");
    char binding[256];
    snprintf(binding, sizeof binding,
             "{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"%s\"},"
             "\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}",
             name);
    struct plane_answer a =
        plane_ask(KVP_VERB_BIND, POD, NULL, "default", name, binding, "application/json", NULL);
    assert_int_equal(a.status, 201);
    plane_delete(DEP, "default", "web", OPTIONS("Foreground"));
    PLANE_UNTIL(pods() == 1, 10000);
    plane_advance(5000);
    assert_int_equal(sets(), 1);
    assert_string_not_equal(plane_text(DEP, "default", "web", "metadata.deletionTimestamp"), "");
    struct object *set = plane_list(RS, "default", NULL, &count)[0];
    assert_string_equal(plane_text_of(set, "metadata.finalizers[0]"), "foregroundDeletion");
    plane_delete(POD, "default", name, "{\"gracePeriodSeconds\":0}");
    PLANE_UNTIL(sets() == 0 && plane_get(DEP, "default", "web") == NULL, 10000);
    assert_int_equal(pods(), 0);
    plane_close();
}

static void letting_them_go(void **state)
{
    (void)state;
    open_plane();
    deployment();
    plane_delete(DEP, "default", "web", OPTIONS("Orphan"));
    PLANE_UNTIL(plane_get(DEP, "default", "web") == NULL, 10000);
    plane_advance(10000);
    assert_int_equal(sets(), 1);
    assert_int_equal(pods(), 3);
    size_t count;
    struct object *set = plane_list(RS, "default", NULL, &count)[0];
    assert_int_equal(value_len(object_get(set, "metadata.ownerReferences")), 0);
    /* A new deployment of the same kind takes it over. */
    deployment();
    plane_advance(10000);
    assert_int_equal(sets(), 1);
    assert_int_equal(pods(), 3);
    set = plane_list(RS, "default", NULL, &count)[0];
    assert_string_equal(plane_text_of(set, "metadata.ownerReferences[0].uid"),
                        plane_text(DEP, "default", "web", "metadata.uid"));
    plane_close();
}

/* ---- config maps: kinds nobody else looks after --------------------------------------------- */

static void map(const char *space, const char *name, const char *owners)
{
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\","
                 "\"namespace\":\"%s\",\"ownerReferences\":[%s]}}",
                 name, space, owners);
}

/* A reference to a config map of the default namespace, valid until the next but three. */
static const char *reference(const char *name, const char *uid)
{
    static char out[4][300];
    static unsigned turn;
    char *o = out[turn++ % 4];
    snprintf(o, sizeof out[0],
             "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"%s\",\"uid\":\"%s\","
             "\"blockOwnerDeletion\":true}",
             name, uid != NULL ? uid : plane_text(MAP, "default", name, "metadata.uid"));
    return o;
}

static bool is_there(const char *name)
{
    return plane_get(MAP, "default", name) != NULL;
}

static void owners_that_never_were(void **state)
{
    (void)state;
    open_plane();
    map("default", "a", "");
    map("default", "good", reference("a", NULL));
    map("default", "bad", reference("a", "00000000-0000-4000-8000-000000000000"));
    map("default", "worse", reference("nobody", "00000000-0000-4000-8000-000000000001"));
    PLANE_UNTIL(!is_there("bad") && !is_there("worse"), 5000);
    plane_advance(5000);
    assert_true(is_there("good") && is_there("a"));
    plane_close();
}

static void one_of_two_owners(void **state)
{
    char both[700];
    (void)state;
    open_plane();
    map("default", "a", "");
    map("default", "b", "");
    snprintf(both, sizeof both, "%s,%s", reference("a", NULL), reference("b", NULL));
    map("default", "c", both);
    plane_delete(MAP, "default", "a", NULL);
    PLANE_UNTIL(value_len(object_get(plane_get(MAP, "default", "c"), "metadata.ownerReferences")) ==
                    1,
                5000);
    plane_expect(MAP, "default", "c", "metadata.ownerReferences[0].name", "b");
    plane_delete(MAP, "default", "b", NULL);
    PLANE_UNTIL(!is_there("c"), 5000);
    plane_close();
}

static void owners_elsewhere(void **state)
{
    (void)state;
    open_plane();
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"other\"}}");
    map("default", "a", "");
    plane_advance(1000);
    map("other", "c", reference("a", NULL));
    PLANE_UNTIL(plane_get(MAP, "other", "c") == NULL, 5000);
    assert_int_equal(plane_events("other", "c", "OwnerRefInvalidNamespace"), 1);
    /* Without a namespace it cannot be resolved, so it stays. */
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\","
                 "\"ownerReferences\":[%s]}}",
                 reference("a", NULL));
    plane_advance(5000);
    assert_non_null(plane_get(SCHEMA_CORE_V1_NODE, NULL, "n"));
    assert_true(plane_events("default", "n", "OwnerRefInvalidNamespace") > 0);
    plane_close();
}

/* Two that own each other, deleted in the foreground. */
static void circles_are_broken(void **state)
{
    (void)state;
    open_plane();
    map("default", "a", "");
    map("default", "b", reference("a", NULL));
    map("default", "a", reference("b", NULL));
    plane_advance(1000);
    plane_delete(MAP, "default", "a", OPTIONS("Foreground"));
    PLANE_UNTIL(!is_there("a") && !is_there("b"), 30000);
    plane_close();
}

/* Kinds that are not served are nobody's business. */
static void unknown_owners(void **state)
{
    (void)state;
    open_plane();
    map("default", "a",
        "{\"apiVersion\":\"example.org/v1\",\"kind\":\"Thing\",\"name\":\"t\",\"uid\":\"t1\"}");
    plane_advance(60000);
    assert_true(is_there("a"));
    plane_close();
}

/* More dependents than are let go at once. */
static void letting_many_go(void **state)
{
    (void)state;
    open_plane();
    plane_apply(
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":"
        "\"many\"},\"spec\":{\"replicas\":150,\"selector\":{\"matchLabels\":{\"app\":\"w\"}},"
        "\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":"
        "[{\"name\":\"c\",\"image\":\"i\"}]}}}}");
    PLANE_UNTIL(plane_count(POD, "default", NULL) == 150, 20000);
    plane_delete(SCHEMA_APPS_V1_REPLICA_SET, "default", "many", OPTIONS("Orphan"));
    PLANE_UNTIL(sets() == 0, 20000);
    plane_advance(10000);
    size_t count;
    struct object **all = plane_list(POD, "default", NULL, &count);
    assert_int_equal(count, 150);
    for (size_t i = 0; i < count; i++) {
        assert_null(object_controller(all[i]));
    }
    plane_close();
}

/* What was to go is found by the next leader, too. */
static void another_leader(void **state)
{
    (void)state;
    open_plane();
    deployment();
    plane_follow();
    plane_lead();
    plane_delete(DEP, "default", "web", OPTIONS("Foreground"));
    plane_turns(8);
    plane_follow();
    plane_lead();
    PLANE_UNTIL(sets() == 0 && pods() == 0 && plane_get(DEP, "default", "web") == NULL, 20000);
    plane_close();
}

static void delete_it(void *data)
{
    struct client_delete opt = {.grace_s = -1, .propagation = data};
    assert_int_equal(client_delete(plane_client(), schema_type(DEP), slice_str("default"),
                                   slice_str("web"), &opt, NULL, NULL),
                     0);
}

/* What cannot be done for want of memory is done later. */
static void without_memory_it_takes_longer(void **state)
{
    bool failed = true;
    (void)state;
    open_plane();
    for (uint64_t n = 1; failed; n += 1 + n / 20) {
        static char foreground[] = "Foreground";
        static char orphan[] = "Orphan";
        bool keeps = n % 2 == 0;
        PLANE_UNTIL(strcmp(plane_state("controllers"), "leading") == 0, 600000);
        deployment();
        plane_inside_only(delete_it, keeps ? orphan : foreground);
        failed = plane_settle_failing(n);
        if (plane_get(DEP, "default", "web") != NULL) {
            plane_inside(delete_it, keeps ? orphan : foreground);
        }
        PLANE_UNTIL(plane_get(DEP, "default", "web") == NULL, 600000);
        if (keeps) {
            plane_advance(10000);
        } else {
            PLANE_UNTIL(sets() == 0 && pods() == 0, 600000);
        }
        assert_int_equal(sets(), keeps ? 1 : 0);
        assert_int_equal(pods(), keeps ? 3 : 0);
        /* Whatever is left goes, for the next round on the same plane. */
        plane_ask(KVP_VERB_DELETE, SCHEMA_APPS_V1_REPLICA_SET, NULL, "default", NULL, NULL, NULL,
                  NULL);
        PLANE_UNTIL(sets() == 0 && pods() == 0, 600000);
    }
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(in_the_background),
        PLANE_TEST(in_the_foreground),
        PLANE_TEST(letting_them_go),
        PLANE_TEST(owners_that_never_were),
        PLANE_TEST(one_of_two_owners),
        PLANE_TEST(owners_elsewhere),
        PLANE_TEST(circles_are_broken),
        PLANE_TEST(unknown_owners),
        PLANE_TEST(letting_many_go),
        PLANE_TEST(another_leader),
        PLANE_TEST(without_memory_it_takes_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
