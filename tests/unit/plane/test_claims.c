/* test_claims.c - many children are adopted and released a few at a time. */
#include "plugins/controllers/claim.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/replicas.h"
#include "tests/unit/plane/fake.h"

#define PODS        1000
#define AT_ONCE_MAX 64u

static struct {
    struct controllers all;
    void *replicas;
    bool owned;          /* what the pods say first */
    size_t patches_most; /* under way at once */
    size_t patched;
} t;

static const char owner[] =
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"s\","
    "\"namespace\":\"n\",\"uid\":\"u1\",\"resourceVersion\":\"5\"},\"spec\":{\"replicas\":%d,"
    "\"selector\":{\"matchLabels\":{\"app\":\"%s\"}},\"template\":{\"metadata\":{\"labels\":"
    "{\"app\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}";

static void pod_print(char *out, size_t room, size_t number, bool owned, size_t revision)
{
    snprintf(out, room,
             "{\"metadata\":{\"name\":\"p%zu\",\"namespace\":\"n\",\"uid\":\"p%zu\","
             "\"resourceVersion\":\"%zu\",\"labels\":{\"app\":\"a\"}%s}}",
             number, number, revision,
             owned ? ",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\","
                     "\"name\":\"s\",\"uid\":\"u1\",\"controller\":true}]"
                   : "");
}

static void answer_list(struct fake_call *c, const char *set)
{
    static char text[PODS * 300];
    int len = snprintf(text, sizeof text, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[%s",
                       strcmp(c->resource, "replicasets") == 0 ? set : "");
    for (size_t i = 0; i < PODS && strcmp(c->resource, "pods") == 0; i++) {
        len += snprintf(text + len, sizeof text - (size_t)len, "%s", i > 0 ? "," : "");
        pod_print(text + len, sizeof text - (size_t)len, i, t.owned, 5);
        len = (int)strlen(text);
    }
    snprintf(text + len, sizeof text - (size_t)len, "]}");
    fake_answer(c, 200, text);
}

static struct fake_call *watch_of_pods(void)
{
    for (size_t i = fake.count; i-- > 0;) {
        struct fake_call *c = &fake.calls[i];
        if (c->verb == KVP_VERB_WATCH && c->call != NULL && strcmp(c->resource, "pods") == 0) {
            return c;
        }
    }
    return NULL;
}

/* Every patch is well, and shows. */
static void answer_patches(void)
{
    size_t count = 0;
    for (size_t i = 0; i < fake.count; i++) {
        count += fake.calls[i].verb == KVP_VERB_PATCH && fake.calls[i].call != NULL;
    }
    t.patches_most = count > t.patches_most ? count : t.patches_most;
    for (size_t i = 0; i < fake.count; i++) {
        struct fake_call *c = &fake.calls[i];
        if (c->verb == KVP_VERB_PATCH && c->call != NULL && count-- > 0) {
            char text[512];
            t.patched++;
            pod_print(text, sizeof text, strtoull(c->name + 1, NULL, 10), !t.owned,
                      100 + t.patched);
            fake_event(watch_of_pods(), "MODIFIED", text);
            fake_answer(c, 200, text);
        }
    }
}

static void open_all(void *data)
{
    static const struct replicas_kind kind = {"replicas", SCHEMA_APPS_V1_REPLICA_SET,
                                              WATCH_REPLICASETS};
    static const struct informer_args pods = {.indexes = {claim_index}};
    struct informer_args a = pods;
    (void)data;
    t.all.host = plane_root_client().host;
    t.all.ctx = plane_root_client().ctx;
    a.type = schema_type(SCHEMA_CORE_V1_POD);
    assert_int_equal(informer_open(plane_root_client(), &a, &t.all.informers[WATCH_PODS]), 0);
    a.type = schema_type(SCHEMA_APPS_V1_REPLICA_SET);
    assert_int_equal(informer_open(plane_root_client(), &a, &t.all.informers[WATCH_REPLICASETS]),
                     0);
    assert_int_equal(replicas_open(&t.all, plane_client(), &kind, 1, &t.replicas), 0);
}

static void close_all(void *data)
{
    (void)data;
    replicas_close(t.replicas);
    informer_close(t.all.informers[WATCH_PODS]);
    informer_close(t.all.informers[WATCH_REPLICASETS]);
}

/* A set and PODS pods; label: what its selector asks for. */
static void claim_all_pods(bool owned, const char *label, int replicas)
{
    char set[600];
    memset(&t, 0, sizeof t);
    t.owned = owned;
    snprintf(set, sizeof set, owner, replicas, label, label);
    fake_open();
    plane_inside(open_all, NULL);
    plane_on_stop(close_all, NULL);
    for (int step = 0; step < 2000 && t.patched < PODS; step++) {
        struct fake_call *c;
        plane_advance(10);
        while ((c = fake_find(KVP_VERB_LIST)) != NULL) {
            answer_list(c, set);
        }
        while ((c = fake_find(KVP_VERB_GET)) != NULL) {
            fake_answer(c, 200, set);
        }
        while ((c = fake_find(KVP_VERB_UPDATE)) != NULL) {
            fake_answer(c, 200, "{}");
        }
        answer_patches();
    }
    plane_advance(10000);
    assert_int_equal(t.patched, PODS);
    assert_null(fake_find(KVP_VERB_PATCH));
    assert_in_range(t.patches_most, 1, AT_ONCE_MAX);
    plane_close();
}

static void orphans_are_adopted_in_turns(void **state)
{
    (void)state;
    claim_all_pods(false, "a", PODS);
}

static void strangers_are_released_in_turns(void **state)
{
    (void)state;
    claim_all_pods(true, "b", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {PLANE_TEST(orphans_are_adopted_in_turns),
                                       PLANE_TEST(strangers_are_released_in_turns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
