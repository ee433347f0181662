/* test_openapi - the documents are whole, and are served with what caches need. */
#include "tests/unit/apiserver/server.h"

#include "base/alloc.h"
#include "plugins/apiserver/openapi_doc.h"
#include "plugins/object/decode.h"

#define PIECE_BYTES_MAX 32768u

/* A whole document. */
static void write_document(const char *group, const char *version, struct buf *out)
{
    struct arena a;
    struct openapi_doc d;
    arena_init(&a, 0);
    assert_int_equal(openapi_doc_init(&d, group, version, &a), 0);
    size_t before = out->len;
    while (openapi_doc_next(&d, out)) {
        assert_true(out->len - before < PIECE_BYTES_MAX);
        before = out->len;
    }
    assert_false(out->failed);
    arena_close(&a);
}

static struct value parsed(struct buf *json, struct arena *a)
{
    struct value v;
    struct errmsg e;
    int rc = decode_json(buf_slice(json), NULL, a, &v, NULL, &e);
    if (rc != 0) {
        print_error("%s\n", e.text);
    }
    assert_int_equal(rc, 0);
    return v;
}

/* Counts the references below v, each of which must lead to one of types. */
static size_t follow_references(const struct value *v, struct slice prefix,
                                const struct value *types)
{
    size_t found = 0;
    if (v->kind == VALUE_LIST) {
        for (size_t i = 0; i < v->len; i++) {
            found += follow_references(&v->items[i], prefix, types);
        }
    }
    for (size_t i = 0; v->kind == VALUE_MAP && i < v->len; i++) {
        const struct value *child = value_map_at(v, i);
        if (slice_eq(value_map_key(v, i), slice_str("$ref"))) {
            struct slice to = value_slice(child);
            assert_true(slice_starts_with(to, prefix));
            to = slice_of(to.data + prefix.len, to.len - prefix.len);
            assert_non_null(value_map_get(types, to));
            found++;
        } else {
            found += follow_references(child, prefix, types);
        }
    }
    return found;
}

static void check_document(const char *group, const char *version)
{
    struct buf json;
    struct arena a;
    buf_init(&json);
    arena_init(&a, 0);
    write_document(group, version, &json);
    struct value doc = parsed(&json, &a);
    const struct value *types = group == NULL
                                    ? value_map_cget(&doc, "definitions")
                                    : value_map_cget(value_map_cget(&doc, "components"), "schemas");
    assert_non_null(types);
    assert_true(value_len(value_map_cget(&doc, "paths")) > 0);
    const char *prefix = group == NULL ? "#/definitions/" : "#/components/schemas/";
    assert_true(follow_references(&doc, slice_str(prefix), types) > 20);
    arena_close(&a);
    buf_close(&json);
}

static void documents_are_whole(void **state)
{
    check_document(NULL, NULL);
    check_document("", "v1");
    check_document("apps", "v1");
    check_document("coordination.k8s.io", "v1");
    check_document("discovery.k8s.io", "v1");
    check_document("events.k8s.io", "v1");
    check_document("scheduling.k8s.io", "v1");
}

static void expect_in(const char *group, const char *part)
{
    struct buf json;
    buf_init(&json);
    write_document(group, "v1", &json);
    buf_append_byte(&json, 0);
    if (strstr((const char *)json.data, part) == NULL) {
        print_error("not there: %s\n", part);
    }
    assert_non_null(strstr((const char *)json.data, part));
    buf_close(&json);
}

static void types_tell_how_they_merge(void **state)
{
    expect_in(
        "", "\"ports\":{\"type\":\"array\",\"items\":{\"allOf\":[{\"$ref\":\"#/components/schemas/"
            "io.k8s.api.core.v1.ServicePort\"}],\"default\":{}}");
    expect_in(
        "", ",\"x-kubernetes-list-map-keys\":[\"port\",\"protocol\"],\"x-kubernetes-list-type\":"
            "\"map\","
            "\"x-kubernetes-patch-merge-key\":\"port\",\"x-kubernetes-patch-strategy\":\"merge\"}");
    expect_in("",
              "\"finalizers\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"default\":\"\"},"
              "\"description\":\"Must be empty before the object is removed.\","
              "\"x-kubernetes-list-type\":\"set\",\"x-kubernetes-patch-strategy\":\"merge\"}");
    expect_in("", "\"x-kubernetes-patch-strategy\":\"merge,retainKeys\"");
    expect_in("apps", "\"x-kubernetes-patch-strategy\":\"retainKeys\"");
    expect_in("",
              "\"nodeSelector\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\","
              "\"default\":\"\"},\"description\":\"Labels a node must have.\","
              "\"x-kubernetes-map-type\":\"atomic\"}");
    expect_in("", "\"protocol\":{\"type\":\"string\",\"enum\":[\"SCTP\",\"TCP\",\"UDP\"],"
                  "\"default\":\"TCP\"");
    expect_in("", "\"x-kubernetes-group-version-kind\":[{\"group\":\"\",\"kind\":\"Pod\","
                  "\"version\":\"v1\"}]}");
    expect_in("", "\"required\":[\"containers\"]");
    expect_in(
        "apps",
        "\"x-kubernetes-group-version-kind\":[{\"group\":\"apps\",\"kind\":\"DeploymentList\","
        "\"version\":\"v1\"}]}");
    expect_in(NULL, "\"template\":{\"$ref\":\"#/definitions/"
                    "io.k8s.api.core.v1.PodTemplateSpec\",\"description\":");
    expect_in(NULL,
              "\"io.k8s.apimachinery.pkg.util.intstr.IntOrString\":{\"type\":\"string\",\"format\":"
              "\"int-or-string\"");
}

static void paths_tell_what_can_be_done(void **state)
{
    expect_in("", "\"operationId\":\"connectCoreV1GetNamespacedPodExec\"");
    expect_in(
        "",
        "\"x-kubernetes-action\":\"connect\",\"x-kubernetes-group-version-kind\":{\"group\":\"\","
        "\"kind\":\"PodExecOptions\",\"version\":\"v1\"}}");
    expect_in(
        "apps",
        "\"/apis/apps/v1/deployments\":{\"get\":{\"description\":\"List or watch objects of kind "
        "Deployment\",\"operationId\":\"listAppsV1DeploymentForAllNamespaces\"");
    expect_in("apps", "\"operationId\":\"patchAppsV1NamespacedDeployment\",\"parameters\":[{"
                      "\"name\":\"dryRun\",");
    expect_in("apps", "{\"name\":\"fieldValidation\",\"in\":\"query\",");
    expect_in(
        "apps",
        "\"application/strategic-merge-patch+json\":{\"schema\":{\"$ref\":\"#/components/schemas/"
        "io.k8s.apimachinery.pkg.apis.meta.v1.Patch\"}}");
    expect_in(
        "apps",
        "\"x-kubernetes-action\":\"patch\",\"x-kubernetes-group-version-kind\":{\"group\":\"apps\","
        "\"kind\":\"Deployment\",\"version\":\"v1\"}}");
    expect_in("apps", "\"operationId\":\"replaceAppsV1NamespacedDeploymentStatus\"");
    expect_in(
        "", "\"/api/v1/nodes/{name}\":{\"get\":{\"description\":\"Read the Node\",\"operationId\":"
            "\"readCoreV1Node\"");
    expect_in(
        NULL,
        "{\"name\":\"body\",\"in\":\"body\",\"required\":true,\"schema\":{\"$ref\":\"#/definitions/"
        "io.k8s.api.core.v1.Pod\"}}");
}

/* ---- the document of 2.0 in protobuf -------------------------------------------------------- */

/* Takes the next field off a message: its number; 0 at the end. All of the document are texts,
 * messages or numbers. */
static unsigned next_field(struct slice *message, struct slice *text)
{
    uint64_t numbers[2] = {0, 0};
    if (message->len == 0) {
        return 0;
    }
    for (size_t i = 0; i < 2; i++) {
        for (unsigned shift = 0;; shift += 7) {
            assert_true(message->len > 0);
            uint8_t byte = message->data[0];
            *message = slice_of(message->data + 1, message->len - 1);
            numbers[i] |= (uint64_t)(byte & 127) << shift;
            if (byte < 128) {
                break;
            }
        }
    }
    if ((numbers[0] & 7) == 0) {
        *text = slice_of(NULL, 0);
    } else {
        assert_int_equal(numbers[0] & 7, 2);
        assert_true(numbers[1] <= message->len);
        *text = slice_of(message->data, numbers[1]);
        *message = slice_of(message->data + numbers[1], message->len - numbers[1]);
    }
    return (unsigned)(numbers[0] >> 3);
}

/* What a path of numbers leads to, everywhere; counts how often, and returns the last one. */
static size_t count_fields(struct slice message, const unsigned *path, struct slice *last)
{
    struct slice text;
    size_t n = 0;
    for (unsigned number = next_field(&message, &text); number != 0;
         number = next_field(&message, &text)) {
        if (number == path[0]) {
            n += path[1] == 0 ? 1 : count_fields(text, path + 1, last);
            if (path[1] == 0) {
                *last = text;
            }
        }
    }
    return n;
}

static void write_protobuf(struct buf *out)
{
    struct arena a;
    struct openapi_doc d;
    arena_init(&a, 0);
    assert_int_equal(openapi_doc_init(&d, NULL, NULL, &a), 0);
    d.protobuf = true;
    while (openapi_doc_next(&d, out)) {
        assert_false(out->failed); /* each member of the JSON has its field */
    }
    arena_close(&a);
}

static void protobuf_has_all(void **state)
{
    static const unsigned swagger[] = {1, 0};
    static const unsigned path_names[] = {8, 2, 1, 0};
    static const unsigned type_names[] = {9, 1, 1, 0};
    static const unsigned parameters[] = {8, 2, 2, 8, 8, 1, 2, 3, 4, 0}; /* of patches, by query */
    static const unsigned schemes[] = {13, 1, 2, 2, 2, 0};
    static const unsigned needed[] = {12, 1, 1, 0};
    struct buf json;
    struct buf proto;
    struct arena a;
    struct slice last;
    buf_init(&json);
    buf_init(&proto);
    arena_init(&a, 0);
    write_document(NULL, NULL, &json);
    struct value doc = parsed(&json, &a);
    write_protobuf(&proto);
    struct slice all = buf_slice(&proto);
    assert_int_equal(count_fields(all, swagger, &last), 1);
    assert_true(slice_eq(last, slice_str("2.0")));
    assert_int_equal(count_fields(all, path_names, &last),
                     value_len(value_map_cget(&doc, "paths")));
    assert_int_equal(count_fields(all, type_names, &last),
                     value_len(value_map_cget(&doc, "definitions")));
    assert_true(count_fields(all, parameters, &last) > 20);
    assert_int_equal(count_fields(all, schemes, &last), 1);
    assert_true(slice_eq(last, slice_str("authorization")));
    assert_int_equal(count_fields(all, needed, &last), 1);
    assert_true(slice_eq(last, slice_str("BearerToken")));
    arena_close(&a);
    buf_close(&proto);
    buf_close(&json);
}

static void expect_protobuf(const char *json, const char *bytes, size_t n)
{
    struct buf out;
    buf_init(&out);
    assert_int_equal(openapi_protobuf(slice_str(json), &out), 0);
    assert_int_equal(out.len, n);
    assert_memory_equal(out.data, bytes, n);
    buf_close(&out);
}

static void protobuf_wraps(void **state)
{
    struct buf out;
#define BYTES(text) (text), sizeof(text) - 1
    expect_protobuf("{\"definitions\":{\"A\":{\"type\":\"array\",\"items\":{\"$ref\":\"B\"}}}}",
                    BYTES("\x4a\x19\x0a\x17\x0a\x01"
                          "A\x12\x12\xba\x01\x05\x0a\x03\x0a\x01"
                          "B\xb2\x01\x07\x0a\x05"
                          "array"));
    expect_protobuf(
        "{\"definitions\":{\"A\":{\"x-k\":[1],\"enum\":[\"a\"]}}}",
        BYTES("\x4a\x1e\x0a\x1c\x0a\x01"
              "A\x12\x17\xa2\x01\x05\x12\x03\"a\"\xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]"));
    buf_init(&out);
    assert_int_equal(openapi_protobuf(slice_str("{\"definitions\":{\"A\":{\"oneOf\":[]}}}"), &out),
                     ERR_INVALID);
    buf_close(&out);
}

/* ---- as they are served -------------------------------------------------------------------- */

static struct asked get_with(const char *path, const char *name, const char *value)
{
    struct kvp_pair headers[] = {{kvp_str(name), kvp_str(value)},
                                 {kvp_str("user-agent"), kvp_str("tester/1.0")}};
    struct t_http_args a = {.size = sizeof a,
                            .port = SERVER_PORT,
                            .method = "GET",
                            .path = path,
                            .headers = headers,
                            .header_count = 2};
    return finish(t_http_open(&a));
}

static void expect_header(struct asked a, const char *name, const char *part)
{
    const char *value = t_http_header(a.x, name);
    if (value == NULL || strstr(value, part) == NULL) {
        t_fail_test_at(__FILE__, __LINE__, "%s: %s instead of %s", name,
                       value == NULL ? "nothing" : value, part);
    }
}

static void hashes_name_documents(void **state)
{
    char url[200];
    server_open_all();
    struct asked a = ask("GET", "/openapi/v3", "");
    expect_part(a, 200, "{\"paths\":{\"");
    pick(a.body, "\"api/v1\":{\"serverRelativeURL\":\"", url, sizeof url);
    assert_int_equal(strncmp(url, "/openapi/v3/api/v1?hash=", 24), 0);
    a = ask("GET", url, "");
    expect_part(a, 200, "{\"openapi\":\"3.0.0\"");
    expect_header(a, "cache-control", "public, immutable");
    expect_header(a, "expires", " GMT");
    expect_header(a, "vary", "Accept");
    expect_header(a, "etag", "\"");
    char tag[64];
    snprintf(tag, sizeof tag, "%s", t_http_header(a.x, "etag"));
    a = ask("GET", "/openapi/v3/api/v1?hash=0", "");
    t_expect_int(a.status, 301);
    expect_header(a, "location", url);
    a = ask("GET", "/openapi/v3/api/v1", "");
    expect_part(a, 200, "{\"openapi\":\"3.0.0\"");
    expect_header(a, "cache-control", "no-cache, private");
    expect_header(a, "etag", tag);
    a = get_with("/openapi/v3/api/v1", "if-none-match", tag);
    t_expect_int(a.status, 304);
    t_expect_int((int)t_http_body(a.x).len, 0);
    a = ask("HEAD", "/openapi/v3/api/v1", "");
    t_expect_int(a.status, 200);
    t_expect_int((int)t_http_body(a.x).len, 0);
    a = ask("GET", "/openapi/v2", "");
    expect_part(a, 200, "{\"swagger\":\"2.0\"");
    a = get_with("/openapi/v2", "accept",
                 "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    t_expect_int(a.status, 200);
    expect_header(a, "content-type", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    expect_header(a, "etag", "-protobuf\"");
    t_expect(memcmp(a.body, "\x12\x15\x0a\x0aKubernetes", 14) == 0);
    a = get_with("/openapi/v2", "accept",
                 "application/com.github.proto-openapi.spec.v2@v1.0+protobuf, application/json");
    expect_header(a, "content-type", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    a = get_with("/openapi/v2", "accept", "application/json, */*");
    expect_header(a, "content-type", "application/json");
    a = get_with("/openapi/v2", "accept", "text/html");
    t_expect_int(a.status, 406);
    a = get_with("/openapi/v3/api/v1", "accept",
                 "application/com.github.proto-openapi.spec.v3.v1.0+protobuf");
    t_expect_int(a.status, 406);
    expect_answer("GET", "/openapi/v3/apis/none/v1", "", 404, "404 page not found");
    expect_answer("POST", "/openapi/v3", "", 405, NULL);
    t_close();
}

/* A client that does not read holds up nothing, and gets all in the end. */
static void slow_clients_get_all(void **state)
{
    server_open_all();
    struct t_http *x = begin_typed("GET", "/openapi/v2", "", "");
    t_http_stall(x, 1);
    t_advance(2000);
    t_expect_int(t_http_ended(x), 0);
    size_t part = t_http_body(x).len;
    t_http_stall(x, 0);
    struct asked a = finish(x);
    t_expect(t_http_body(x).len > part);
    t_expect(strcmp(a.body + t_http_body(x).len - 6, "\":[]}]}") != 0 &&
             strstr(a.body, "\"security\":[{\"BearerToken\":[]}]}") != NULL);
    t_close();
}

static void gone_clients_leave_nothing(void **state)
{
    server_open_all();
    struct t_http *x = begin_typed("GET", "/openapi/v3", "", "");
    t_advance(1);
    t_http_cancel(x);
    t_advance(1000);
    expect_answer("GET", "/openapi/v3", "", 200, NULL);
    t_close();
}

static void memory_may_fail(void **state)
{
    static const char *const paths[] = {"/openapi/v3", "/openapi/v3/apis/apps/v1"};
    for (size_t i = 0; i < 2; i++) {
        bool failed = true;
        uint64_t n;
        for (n = 1; failed && n < 1000; n++) {
            server_open_all();
            struct t_http *x = begin_typed("GET", paths[i], "", "");
            mem_fail_after(n);
            t_advance(3000);
            failed = mem_fail_left() == 0;
            mem_fail_after(0);
            t_expect(t_http_ended(x) != 0);
            expect_answer("GET", paths[i], "", 200, NULL);
            t_close();
        }
        assert_false(failed);
        assert_true(n > 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_whole),
        cmocka_unit_test(types_tell_how_they_merge),
        cmocka_unit_test(paths_tell_what_can_be_done),
        cmocka_unit_test(protobuf_has_all),
        cmocka_unit_test(protobuf_wraps),
        cmocka_unit_test(hashes_name_documents),
        cmocka_unit_test(slow_clients_get_all),
        cmocka_unit_test(gone_clients_leave_nothing),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
