/* test_client.c - one request and its answer, and what controllers need of metadata. */
#include "tests/unit/plane/fake.h"

struct got {
    int calls;
    struct client_answer a;
    char reason[64], message[256], body[512];
};

static void copy(char *out, size_t room, struct slice s)
{
    snprintf(out, room, "%.*s", (int)s.len, s.len > 0 ? (const char *)s.data : "");
}

static void on_done(void *data, const struct client_answer *a)
{
    struct got *g = data;
    g->calls++;
    g->a = *a;
    copy(g->reason, sizeof(g->reason), a->status_reason);
    copy(g->message, sizeof(g->message), a->message);
    copy(g->body, sizeof(g->body), a->body);
}

struct send {
    struct client client;
    struct client_request request;
    int rc;
};

static void send_inside(void *data)
{
    struct send *s = data;
    s->rc = client_send(s->client, &s->request);
}

static int send_now(struct client_request r)
{
    struct send s = {.client = plane_client(), .request = r};
    plane_inside(send_inside, &s);
    return s.rc;
}

static struct arena arena;

static struct object decode(enum schema_type_id type, const char *json)
{
    struct object o;
    struct errmsg e = {""};
    if (object_decode(&o, schema_type(type), &arena, slice_str(json), NULL, &e) != 0) {
        fail_msg("%s", e.text);
    }
    return o;
}

static const char pod_json[] =
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u1\",\"resourceVersion\":\"42\","
    "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"x\",\"uid\":\"u8\"},"
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"r\",\"uid\":\"u9\","
    "\"controller\":true}]}}";

/* Group, names, body and content type are taken from the object where the request leaves them. */
static void requests_say_what_is_meant(void **state)
{
    (void)state;
    fake_open();
    arena_init(&arena, 0);
    struct object pod = decode(SCHEMA_CORE_V1_POD, pod_json);
    struct got g = {0};
    const struct schema_type *type = schema_type(SCHEMA_CORE_V1_POD);
    assert_int_equal(send_now((struct client_request){.verb = KVP_VERB_UPDATE,
                                                      .type = type,
                                                      .sub = "status",
                                                      .object = &pod,
                                                      .done = on_done,
                                                      .data = &g}),
                     0);
    struct fake_call *c = fake_find(KVP_VERB_UPDATE);
    assert_string_equal(c->resource, "pods");
    assert_string_equal(c->sub, "status");
    assert_string_equal(c->space, "n");
    assert_string_equal(c->name, "p");
    assert_string_equal(c->type, "application/json");
    assert_string_equal(c->user, "kvd:plugin:probe");
    assert_non_null(strstr(c->body, "\"resourceVersion\":\"42\""));
    assert_int_equal(g.calls, 0);
    fake_answer(c, 200, "{\"x\":1}");
    assert_int_equal(g.calls, 1);
    assert_true(g.a.ok);
    assert_int_equal(g.a.outcome, KVP_OK);
    assert_int_equal(g.a.status, 200);
    assert_string_equal(g.body, "{\"x\":1}");

    /* A new object's name is not part of the request. */
    assert_int_equal(
        send_now((struct client_request){.verb = KVP_VERB_CREATE, .type = type, .object = &pod}),
        0);
    c = fake_find(KVP_VERB_CREATE);
    assert_string_equal(c->name, "");
    assert_string_equal(c->space, "n");
    fake_answer(c, 201, "{}"); /* nobody wants to know */

    static const char *const types[] = {"application/merge-patch+json",
                                        "application/strategic-merge-patch+json",
                                        "application/json-patch+json"};
    for (int k = CLIENT_PATCH_MERGE; k <= CLIENT_PATCH_JSON; k++) {
        assert_int_equal(send_now((struct client_request){.verb = KVP_VERB_PATCH,
                                                          .type = type,
                                                          .object = &pod,
                                                          .patch = (enum client_patch)k}),
                         0);
        c = fake_find(KVP_VERB_PATCH);
        assert_string_equal(c->type, types[k]);
        fake_answer(c, 200, "{}");
    }
    arena_close(&arena);
    plane_close();
}

static void delete_inside(void *data)
{
    const struct client_delete opt = {
        .uid = slice_str("u1"), .grace_s = 0, .propagation = "Orphan", .resource_version = 7};
    const struct schema_type *type = schema_type(SCHEMA_CORE_V1_POD);
    assert_int_equal(
        client_delete(plane_client(), type, slice_str("n"), slice_str("p"), &opt, on_done, data),
        0);
    assert_int_equal(
        client_delete(plane_client(), type, slice_str("n"), slice_str("q"), NULL, NULL, NULL), 0);
}

/* What deletions ask for stands in their body. */
static void deletions_have_options(void **state)
{
    struct got g = {0};
    (void)state;
    fake_open();
    plane_inside(delete_inside, &g);
    assert_string_equal(fake.calls[0].body,
                        "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\","
                        "\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"u1\","
                        "\"resourceVersion\":\"7\"},\"propagationPolicy\":\"Orphan\"}");
    assert_string_equal(fake.calls[1].body, "");
    assert_string_equal(fake.calls[1].name, "q");
    fake_answer(&fake.calls[0], 200, "{}");
    assert_true(g.a.ok);
    plane_close();
}

/* A refusal has reason and text, whatever the server wrote. */
static void refusals_have_texts(void **state)
{
    struct got g = {0};
    (void)state;
    fake_open();
    struct client_request r = {.verb = KVP_VERB_GET,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .space = slice_str("n"),
                               .name = slice_str("p"),
                               .done = on_done,
                               .data = &g};
    assert_int_equal(send_now(r), 0);
    fake_refuse(fake_find(KVP_VERB_GET), 404, "NotFound");
    assert_false(g.a.ok);
    assert_int_equal(g.a.outcome, KVP_OK);
    assert_int_equal(g.a.status, 404);
    assert_string_equal(g.reason, "NotFound");
    assert_string_equal(g.message, "refused: NotFound");
    assert_false(g.a.ns_terminating);
    assert_int_equal(send_now(r), 0);
    fake_answer(fake_find(KVP_VERB_GET), 403,
                "{\"message\":\"no\",\"reason\":\"Forbidden\",\"details\":{\"causes\":["
                "{\"reason\":\"Other\"},{\"reason\":\"NamespaceTerminating\"}]}}");
    assert_true(g.a.ns_terminating);
    static const char *const bodies[] = {"", "{", "[]", "{\"message\":3}", "<html>"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(send_now(r), 0);
        fake_answer(fake_find(KVP_VERB_GET), 500, bodies[i]);
        assert_false(g.a.ok);
        assert_true(strlen(g.message) > 0);
    }
    assert_int_equal(g.calls, 7);
    plane_close();
}

/* What makes no sense is refused at once. */
static void nonsense_is_refused(void **state)
{
    (void)state;
    fake_open();
    const struct schema_type *pod = schema_type(SCHEMA_CORE_V1_POD);
    assert_int_equal(send_now((struct client_request){.verb = KVP_VERB_GET}), KVP_INVALID);
    assert_int_equal(send_now((struct client_request){.verb = KVP_VERB_GET,
                                                      .type = schema_type(SCHEMA_META_V1_STATUS)}),
                     KVP_INVALID);
    assert_int_equal(send_now((struct client_request){
                         .verb = KVP_VERB_GET, .type = pod, .space = slice_str("n")}),
                     KVP_INVALID);
    assert_int_equal(send_now((struct client_request){
                         .verb = KVP_VERB_GET, .type = pod, .name = slice_str("p")}),
                     KVP_INVALID);
    assert_int_equal(send_now((struct client_request){.verb = KVP_VERB_WATCH, .type = pod}),
                     KVP_INVALID);
    assert_int_equal(fake.count, 0);
    plane_close();
}

/* At the end of the term every request under way is answered, once: reads did not happen, writes
 * may have. */
static void the_end_of_the_term_answers(void **state)
{
    struct got get = {0};
    struct got del = {0};
    (void)state;
    fake_open();
    struct client_request r = {.verb = KVP_VERB_GET,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .space = slice_str("n"),
                               .name = slice_str("p"),
                               .done = on_done,
                               .data = &get};
    assert_int_equal(send_now(r), 0);
    r.verb = KVP_VERB_DELETE;
    r.data = &del;
    assert_int_equal(send_now(r), 0);
    plane_follow();
    assert_int_equal(get.calls, 1);
    assert_int_equal(get.a.outcome, KVP_REFUSED);
    assert_int_equal(get.a.reason, KVP_STOPPED);
    assert_true(strlen(get.message) > 0);
    assert_int_equal(del.calls, 1);
    assert_int_equal(del.a.outcome, KVP_UNKNOWN);
    assert_int_equal(del.a.reason, KVP_STOPPED);
    plane_close();
}

struct faulty {
    struct got got;
    uint64_t n;
    int rc;
    bool failed;
};

static void faulty_inside(void *data)
{
    struct faulty *f = data;
    const struct client_delete opt = {.uid = slice_str("u1"), .grace_s = 5};
    mem_fail_after(f->n);
    f->rc = client_delete(plane_client(), schema_type(SCHEMA_CORE_V1_POD), slice_str("n"),
                          slice_str("p"), &opt, on_done, &f->got);
    f->failed = mem_fail_left() == 0;
    mem_fail_after(0);
}

/* Each allocation fails once: then nothing was sent, or it is answered. */
static void memory_failures_are_reasons(void **state)
{
    bool reached = true;
    (void)state;
    fake_open();
    for (uint64_t n = 1; reached; n++) {
        struct faulty f = {.n = n};
        plane_inside(faulty_inside, &f);
        reached = f.failed;
        struct fake_call *c = fake_find(KVP_VERB_DELETE);
        assert_int_equal(c != NULL, f.rc == 0);
        if (c != NULL) {
            fake_refuse(c, 409, "Conflict");
            assert_string_equal(f.got.reason, "Conflict");
        } else {
            assert_int_equal(f.rc, KVP_NO_MEMORY);
        }
        assert_int_equal(f.got.calls, f.rc == 0);
    }
    plane_close();
}

static void metadata_is_read(void **state)
{
    struct slice space, name;
    struct buf key;
    (void)state;
    arena_init(&arena, 0);
    buf_init(&key);
    struct object pod = decode(SCHEMA_CORE_V1_POD, pod_json);
    assert_int_equal(object_key(&pod, &key), 0);
    assert_memory_equal(key.data, "n/p", key.len);
    object_key_split(buf_slice(&key), &space, &name);
    assert_true(slice_eq(space, slice_str("n")) && slice_eq(name, slice_str("p")));
    object_key_split(slice_str("node"), &space, &name);
    assert_true(space.len == 0 && slice_eq(name, slice_str("node")));
    object_key_split(slice_of(NULL, 0), &space, &name);
    assert_true(space.len == 0 && name.len == 0);
    assert_int_equal(object_revision(&pod), 42);
    assert_true(slice_eq(object_uid(&pod), slice_str("u1")));
    assert_false(object_is_deleted(&pod));
    assert_true(slice_eq(reference_text(object_controller(&pod), "uid"), slice_str("u9")));
    assert_true(slice_eq(reference_text(object_controller(&pod), "kind"), slice_str("ReplicaSet")));
    assert_int_equal(reference_text(NULL, "uid").len, 0);
    struct object odd =
        decode(SCHEMA_CORE_V1_NODE, "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":"
                                    "\"99999999999999999999999\",\"deletionTimestamp\":"
                                    "\"2026-01-01T00:00:00Z\"}}");
    assert_int_equal(object_revision(&odd), 0);
    assert_true(object_is_deleted(&odd));
    assert_null(object_controller(&odd));
    struct object owner =
        decode(SCHEMA_APPS_V1_REPLICA_SET, "{\"metadata\":{\"name\":\"rs\",\"uid\":\"u5\"}}");
    assert_int_equal(object_set_controller(&odd, &owner), 0);
    buf_clear(&key);
    object_encode(&odd, &key);
    buf_append_byte(&key, 0);
    assert_non_null(strstr((const char *)key.data,
                           "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":"
                           "\"ReplicaSet\",\"name\":\"rs\",\"uid\":\"u5\",\"controller\":true,"
                           "\"blockOwnerDeletion\":true}]"));
    assert_true(slice_eq(reference_text(object_controller(&odd), "name"), slice_str("rs")));
    buf_close(&key);
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(requests_say_what_is_meant),
        PLANE_TEST(deletions_have_options),
        PLANE_TEST(refusals_have_texts),
        PLANE_TEST(nonsense_is_refused),
        PLANE_TEST(the_end_of_the_term_answers),
        PLANE_TEST(memory_failures_are_reasons),
        PLANE_TEST(metadata_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
