/* test_unknown.c - creations of which nobody knows whether they happened: what the server names is
 * not made again before the caches had time to show it. */
#include "plugins/controllers/claim.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/replicas.h"
#include "plugins/controllers/slice_pods.h"
#include "plugins/controllers/slice_writer.h"
#include "tests/unit/plane/fake.h"

/* Longer than what is created is waited for (expect.h) would make another one rightly. */
#define PATIENCE_MS 240000u

static struct {
    struct controllers all;
    struct slice_writer writer;
    void *replicas;
    const char *node, *pod; /* what lists of these have; NULL = nothing */
} t;

static const char service[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\",\"namespace\":\"n\","
    "\"uid\":\"u1\",\"resourceVersion\":\"5\"},\"spec\":{\"selector\":{\"app\":\"s\"},"
    "\"clusterIP\":\"10.0.0.1\",\"ipFamilies\":[\"IPv4\"],\"ports\":[{\"port\":80}]}}";
static const char set[] =
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"s\","
    "\"namespace\":\"n\",\"uid\":\"u1\",\"resourceVersion\":\"5\"},\"spec\":{\"replicas\":1,"
    "\"selector\":{\"matchLabels\":{\"app\":\"s\"}},\"template\":{\"metadata\":{\"labels\":"
    "{\"app\":\"s\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}";

static const char *item_of(const char *resource)
{
    const char *item = strcmp(resource, "services") == 0      ? service
                       : strcmp(resource, "replicasets") == 0 ? set
                       : strcmp(resource, "nodes") == 0       ? t.node
                       : strcmp(resource, "pods") == 0        ? t.pod
                                                              : NULL;
    return item == NULL ? "" : item;
}

/* Time passes. Every list that is asked for has what is above; what is written but creations is
 * well. */
static void go_on(uint64_t ms)
{
    char text[1024];
    for (uint64_t passed = 0; passed < ms; passed += 100) {
        struct fake_call *c;
        plane_advance(100);
        while ((c = fake_find(KVP_VERB_LIST)) != NULL) {
            snprintf(text, sizeof text, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[%s]}",
                     item_of(c->resource));
            fake_answer(c, 200, text);
        }
        while ((c = fake_find(KVP_VERB_UPDATE)) != NULL) {
            fake_answer(c, 200, "{}");
        }
    }
}

static size_t creates_of(const char *resource)
{
    size_t n = 0;
    for (size_t i = 0; i < fake.count; i++) {
        n += fake.calls[i].verb == KVP_VERB_CREATE && strcmp(fake.calls[i].resource, resource) == 0;
    }
    return n;
}

static struct fake_call *create_of(const char *resource)
{
    for (size_t i = 0; i < fake.count; i++) {
        struct fake_call *c = &fake.calls[i];
        if (c->verb == KVP_VERB_CREATE && c->call != NULL && strcmp(c->resource, resource) == 0) {
            return c;
        }
    }
    return NULL;
}

/* ---- the two that create what the server names --------------------------------------------------
 */

static void informers_open(void)
{
    static const struct {
        enum watched watch;
        enum schema_type_id type;
    } kinds[] = {{WATCH_PODS, SCHEMA_CORE_V1_POD},
                 {WATCH_SERVICES, SCHEMA_CORE_V1_SERVICE},
                 {WATCH_REPLICASETS, SCHEMA_APPS_V1_REPLICA_SET},
                 {WATCH_ENDPOINT_SLICES, SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE}};
    t.all.host = plane_root_client().host;
    t.all.ctx = plane_root_client().ctx;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct informer_args a = {.type = schema_type(kinds[i].type),
                                        .indexes = {claim_index}};
        assert_int_equal(informer_open(plane_root_client(), &a, &t.all.informers[kinds[i].watch]),
                         0);
    }
}

static void informers_close(void)
{
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        informer_close(t.all.informers[i]);
    }
}

static int64_t slices_reconcile(void *data, struct work *w, struct slice key)
{
    int64_t later;
    struct slice_pods src = {.service = informer_get(t.all.informers[WATCH_SERVICES], key)};
    struct slice_plan_args args = {.endpoints_max = 100};
    (void)data;
    assert_non_null(src.service);
    if (!slice_writer_may(&t.writer, key, &later)) {
        return later;
    }
    slice_pods_plan(&src, &args);
    return slice_writer_sync(&t.writer, w, key, &args) == 0 ? KVP_DONE : KVP_RETRY;
}

static void slices_ready(void *data)
{
    (void)data;
    t.writer.caught_up = true;
    assert_int_equal(works_add(t.writer.works, slice_str("n/s")), 0);
}

static void slices_open(void *data)
{
    (void)data;
    informers_open();
    const struct works_args a = {.name = "slices",
                                 .reconcile = slices_reconcile,
                                 .informers = {t.all.informers[WATCH_SERVICES]}};
    t.writer.handlers.term = plane_client();
    assert_int_equal(works_open(plane_client(), &a, &t.writer.works), 0);
    assert_int_equal(slice_writer_open(&t.writer, &t.all, SLICE_PODS_MANAGER, slices_ready, NULL),
                     0);
}

static void slices_close(void *data)
{
    (void)data;
    slice_writer_close(&t.writer);
    informers_close();
}

static void pods_open(void *data)
{
    static const struct replicas_kind kind = {"replicas", SCHEMA_APPS_V1_REPLICA_SET,
                                              WATCH_REPLICASETS};
    (void)data;
    informers_open();
    assert_int_equal(replicas_open(&t.all, plane_client(), &kind, 1, &t.replicas), 0);
}

static void pods_close(void *data)
{
    (void)data;
    replicas_close(t.replicas);
    informers_close();
}

static void begin(void (*open)(void *data), void (*close)(void *data))
{
    memset(&t, 0, sizeof t);
    fake_open();
    plane_inside(open, NULL);
    plane_on_stop(close, NULL);
    go_on(1000);
}

/* ---- what comes back ----------------------------------------------------------------------------
 */

/* Refused for sure: it is made again. Else it is not, but when it shows, or when the patience is at
 * an end. */
static void once(const char *resource, void (*open)(void *data), void (*close)(void *data))
{
    begin(open, close);
    assert_int_equal(creates_of(resource), 1);
    fake_refuse(create_of(resource), 500, "InternalError");
    go_on(10000);
    assert_int_equal(creates_of(resource), 2);
    fake_refuse(create_of(resource), 504, "Timeout");
    go_on(PATIENCE_MS);
    assert_int_equal(creates_of(resource), 2);
    go_on(120000);
    assert_int_equal(creates_of(resource), 3);
    plane_close();

    /* Its provider ends. */
    begin(open, close);
    assert_int_equal(creates_of(resource), 1);
    plane_disable("fake");
    plane_enable("fake");
    go_on(PATIENCE_MS);
    assert_int_equal(creates_of(resource), 0); /* the provider is new, and counts anew */
    plane_close();

    /* Closed while the term goes on: nothing of it is left. */
    begin(open, close);
    assert_int_equal(creates_of(resource), 1);
    plane_on_stop(NULL, NULL);
    plane_inside(close, NULL);
    fake_answer(create_of(resource), 201, "{}");
    plane_close();
}

static void slices_are_made_once(void **state)
{
    (void)state;
    once("endpointslices", slices_open, slices_close);
}

static void pods_are_made_once(void **state)
{
    (void)state;
    once("pods", pods_open, pods_close);
}

/* A pod of which it is not known whether it was bound is asked for, and not bound again at once. */
static void bindings_are_asked_for(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    fake_open_with("scheduler");
    t.node = "{\"metadata\":{\"name\":\"n1\",\"uid\":\"u2\",\"resourceVersion\":\"5\"},\"status\":{"
             "\"allocatable\":{\"cpu\":\"4\",\"memory\":\"4Gi\",\"pods\":\"9\"}}}";
    t.pod =
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u3\",\"resourceVersion\":"
        "\"6\"},\"spec\":{\"schedulerName\":\"default-scheduler\",\"containers\":[{\"name\":\"c\","
        "\"image\":\"i\"}]},\"status\":{\"phase\":\"Pending\"}}";
    go_on(1000);
    assert_non_null(fake_find(KVP_VERB_BIND));
    fake_refuse(fake_find(KVP_VERB_BIND), 504, "Timeout");
    go_on(30000);
    assert_null(fake_find(KVP_VERB_BIND));
    assert_string_equal(fake_await(KVP_VERB_GET, 0)->name, "p");
    fake_answer(fake_find(KVP_VERB_GET), 200, t.pod); /* it was not */
    go_on(30000);
    assert_non_null(fake_find(KVP_VERB_BIND));
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {PLANE_TEST(slices_are_made_once),
                                       PLANE_TEST(pods_are_made_once),
                                       PLANE_TEST(bindings_are_asked_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
