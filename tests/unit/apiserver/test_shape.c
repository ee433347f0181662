/* test_shape - answers as tables, as metadata and laid out for people, through HTTP. */
#include "tests/unit/apiserver/server.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "plugins/apiserver/media.h"
#include "plugins/apiserver/pretty.h"

#define CMS          "/api/v1/namespaces/default/configmaps"
#define TABLE        "application/json;as=Table;v=v1;g=meta.k8s.io"
#define PARTIAL      "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
#define PARTIAL_LIST "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

static struct t_http *begin_to(const char *method, const char *path, const char *accept,
                               const char *agent, const char *body)
{
    struct kvp_pair headers[] = {{kvp_str("accept"), kvp_str(accept)},
                                 {kvp_str("user-agent"), kvp_str(agent)}};
    struct t_http_args a = {.size = sizeof a,
                            .port = SERVER_PORT,
                            .method = method,
                            .path = path,
                            .body = kvp_str(body),
                            .headers = headers,
                            .header_count = 2};
    return t_http_open(&a);
}

static struct t_http *begin_as(const char *path, const char *accept, const char *agent)
{
    return begin_to("GET", path, accept, agent, "");
}

static struct asked get_as(const char *path, const char *accept)
{
    return finish(begin_as(path, accept, "tester/1.0"));
}

static void open_with_two(void)
{
    server_open_all();
    expect_answer("POST", CMS,
                  "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\"}},\"data\":{\"k\":\"v\"}}",
                  201, NULL);
    expect_answer("POST", CMS, "{\"metadata\":{\"name\":\"b\"}}", 201, NULL);
}

static void media_ranges_are_tried_by_quality(void **state)
{
    struct media_answer m;
    const unsigned all = MEDIA_CAN_TABLE | MEDIA_CAN_PARTIAL;
    assert_true(media_choose(slice_str(TABLE ",application/json"), all, &m));
    assert_int_equal(m.shape, MEDIA_TABLE);
    assert_string_equal(m.version, "v1");
    assert_true(media_choose(slice_str(TABLE ";q=0.5,application/json;q=0.75"), all, &m));
    assert_int_equal(m.shape, MEDIA_WHOLE);
    assert_true(media_choose(slice_str("*/*," PARTIAL), all, &m));
    assert_int_equal(m.shape, MEDIA_PARTIAL);
    assert_true(
        media_choose(slice_str("application/json;as=Table;v=v1beta1;g=meta.k8s.io"), all, &m));
    assert_string_equal(m.version, "v1beta1");
    assert_true(
        media_choose(slice_str("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;"
                               "v=v1;g=meta.k8s.io," PARTIAL ",application/json"),
                     all, &m));
    assert_int_equal(m.shape, MEDIA_PARTIAL);
    assert_true(media_choose(slice_str("application/json;pretty=1"), all, &m));
    assert_true(m.pretty);
    /* what a resource cannot be shown as is passed over */
    assert_true(media_choose(slice_str(TABLE ",application/json"), 0, &m));
    assert_int_equal(m.shape, MEDIA_WHOLE);
    assert_false(media_choose(slice_str(TABLE), MEDIA_CAN_PARTIAL, &m));
    assert_false(media_choose(slice_str("application/json;as=Table;v=v2;g=meta.k8s.io"), all, &m));
    assert_false(media_choose(slice_str("application/json;as=Chair;v=v1;g=meta.k8s.io"), all, &m));
    assert_false(media_choose(slice_str("application/json;v=v1"), all, &m));
    assert_true(media_choose(slice_str("application/json;stream=watch"), all, &m));
    assert_false(media_choose(slice_str("application/json;stream=other"), all, &m));
}

static void lists_are_tables(void **state)
{
    open_with_two();
    struct asked a = get_as(CMS "?labelSelector=x", TABLE);
    expect_part(a, 200,
                "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/"
                "v1\",\"metadata\":{\"resourceVersion\":\"");
    expect_part(
        a, 200,
        "},\"columnDefinitions\":[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\",");
    expect_part(
        a, 200,
        "\"rows\":[{\"cells\":[\"a\",1,\"0s\"],\"object\":{\"kind\":\"PartialObjectMetadata\","
        "\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"name\":\"a\",");
    assert_null(strstr(a.body, "\"data\""));
    a = get_as(CMS "?includeObject=None&limit=1", TABLE);
    expect_part(a, 200, ",\"continue\":\"");
    expect_part(a, 200, ",\"remainingItemCount\":1},\"columnDefinitions\"");
    expect_part(a, 200, "\"rows\":[{\"cells\":[\"a\",1,\"0s\"],\"object\":null}]}");
    a = get_as(CMS "?includeObject=Object", TABLE);
    expect_part(
        a, 200,
        "\"object\":{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",");
    expect_part(a, 200, "\"data\":{\"k\":\"v\"}}");
    a = get_as("/api/v1/namespaces/kube-public/configmaps", TABLE);
    expect_part(a, 200, ",\"rows\":[]}");
    a = get_as(CMS "?includeObject=All", TABLE);
    expect_part(a, 400,
                "Unable to convert to Table as requested: includeObject: Invalid value: "
                "\\\"All\\\": must be "
                "'Metadata', 'Object', 'None', or empty");
    t_close();
}

static void objects_are_tables_of_one_row(void **state)
{
    open_with_two();
    struct asked a = get_as(CMS "/a", TABLE);
    expect_part(a, 200, "\"rows\":[{\"cells\":[\"a\",1,\"0s\"],\"object\":{\"kind\":\"Partial");
    a = get_as(CMS "/missing", TABLE);
    expect_part(a, 404, "\"kind\":\"Status\"");
    a = get_as(CMS "/a", TABLE ";q=0.1,application/json");
    expect_part(a, 200, "{\"kind\":\"ConfigMap\"");
    a = get_as("/api", TABLE);
    expect_part(a, 406, "\"reason\":\"NotAcceptable\"");
    t_close();
}

/* What is not stored has no table; other forms that would do are taken. */
static void reviews_have_no_table(void **state)
{
    const char *path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    const char *body = "{\"spec\":{\"nonResourceAttributes\":{\"path\":\"/\",\"verb\":\"get\"}}}";
    server_open_all();
    struct asked a = finish(begin_to("POST", path, TABLE, "tester", body));
    expect_part(a, 406, "only the following media types are accepted: application/json");
    expect_part(a, 406, "\"reason\":\"NotAcceptable\"");
    a = finish(begin_to("POST", path, TABLE ",application/json", "tester", body));
    t_expect(a.status != 406);
    t_close();
}

/* Metadata is cut out of the stored bytes, whatever texts are in it; what others wrote is decoded.
 */
static void metadata_is_cut_out(void **state)
{
    open_with_two();
    expect_answer("POST", CMS,
                  "{\"metadata\":{\"name\":\"odd\",\"annotations\":{\"a\":\"}{\\\"\\\\\",\"b\":\"]"
                  "\"}},\"data\":{"
                  "\"k\":\"}\"}}",
                  201, NULL);
    struct asked a = get_as(CMS "/odd", PARTIAL);
    expect_part(a, 200, "\"annotations\":{\"a\":\"}{\\\"\\\\\",\"b\":\"]\"},\"managedFields\":[");
    expect_part(a, 200, "\"resourceVersion\":\"");
    assert_null(strstr(a.body, "\"data\""));
    t_expect(strcmp(a.body + strlen(a.body) - 5, "}]}}\n") == 0);
    t_put("/registry/configmaps/default/other",
          "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"k\":\"v\"},\"metadata\":{"
          "\"name\":\"other\","
          "\"namespace\":\"default\",\"uid\":\"u\"}}");
    a = get_as(CMS "/other", PARTIAL);
    expect_part(a, 200,
                "\"metadata\":{\"name\":\"other\",\"namespace\":\"default\",\"uid\":\"u\","
                "\"resourceVersion\":\"");
    t_close();
}

/* Pages of rows that are decoded are small ones. */
static void long_tables_are_whole(void **state)
{
    server_open_all();
    for (int i = 0; i < 1200; i++) {
        char key[64];
        char value[256];
        snprintf(key, sizeof key, "/registry/configmaps/default/c%04d", i);
        snprintf(value, sizeof value,
                 "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c%04d\","
                 "\"namespace\":\"default\",\"uid\":\"u\"}}",
                 i);
        t_put(key, value);
    }
    struct asked a = get_as(CMS "?includeObject=None", TABLE);
    const char *at = a.body;
    for (int i = 0; i < 1200; i++) {
        char mark[32];
        snprintf(mark, sizeof mark, "{\"cells\":[\"c%04d\",0,", i);
        at = at == NULL ? NULL : strstr(at, mark);
    }
    t_expect(at != NULL);
    a = get_as(CMS "?limit=700", TABLE);
    t_expect(strstr(a.body, "[\"c0699\",0,") != NULL && strstr(a.body, "[\"c0700\",0,") == NULL);
    expect_part(a, 200, ",\"remainingItemCount\":500}");
    t_close();
}

static void scales_are_tables(void **state)
{
    server_open_all();
    expect_answer(
        "POST", "/apis/apps/v1/namespaces/default/deployments",
        "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{"
        "\"a\":\"1\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"1\"}},\"spec\":{"
        "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
        201, NULL);
    struct asked a = get_as("/apis/apps/v1/namespaces/default/deployments/d/scale", TABLE);
    expect_part(a, 200, "{\"name\":\"Desired\",\"type\":\"integer\"");
    expect_part(a, 200, "\"rows\":[{\"cells\":[\"d\",3,0,\"0s\"],\"object\":{\"kind\":\"Partial");
    t_close();
}

static void objects_are_metadata_only(void **state)
{
    open_with_two();
    struct asked a = get_as(CMS "/a", PARTIAL);
    expect_part(a, 200,
                "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/"
                "v1\",\"metadata\":{\"name\":\"a\",");
    assert_null(strstr(a.body, "\"data\""));
    a = get_as(CMS, PARTIAL_LIST);
    expect_part(a, 200,
                "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/"
                "v1\",\"metadata\":{\"resourceVersion\":\"");
    expect_part(a, 200,
                "\"items\":[{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/"
                "v1\",\"metadata\":{\"name\":\"a\",");
    a = get_as(CMS, PARTIAL);
    expect_part(a, 406,
                "you requested PartialObjectMetadata, but the requested object is a list "
                "(*core.ConfigMapList)");
    a = get_as("/apis/coordination.k8s.io/v1/leases", PARTIAL);
    expect_part(a, 406, "(*coordination.LeaseList)");
    a = get_as(CMS "/a", PARTIAL_LIST);
    expect_part(a, 406,
                "you requested PartialObjectMetadataList, but the requested object is not a list "
                "(*core.ConfigMap)");
    t_close();
}

/* Columns are told once; bookmarks are rows too. */
static void watches_are_tables(void **state)
{
    open_with_two();
    struct t_http *x =
        begin_as(CMS "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
                     "allowWatchBookmarks=true&timeoutSeconds=5&includeObject=None",
                 TABLE, "tester/1.0");
    t_advance(1000);
    expect_answer("PUT", CMS "/b", "{\"metadata\":{\"name\":\"b\"},\"data\":{\"k\":\"v\"}}", 200,
                  NULL);
    struct asked a = finish(x);
    expect_part(a, 200,
                "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/"
                "v1\",\"metadata\":{\"resourceVersion\":\"");
    const char *first = strstr(a.body, "\"columnDefinitions\":[{");
    assert_non_null(first);
    assert_null(strstr(first + 1, "\"columnDefinitions\":[{"));
    expect_part(
        a, 200,
        "\"columnDefinitions\":null,\"rows\":[{\"cells\":[\"b\",0,\"0s\"],\"object\":null}]}}\n");
    expect_part(a, 200, "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Table\"");
    /* the end of the initial events shows its annotation even if no objects are wanted */
    expect_part(a, 200, "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Table\"");
    expect_part(a, 200, "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
    expect_part(a, 200, "\"rows\":[{\"cells\":[\"\",0,\"\\u003cunknown\\u003e\"]");
    t_close();
}

static void watches_are_metadata(void **state)
{
    open_with_two();
    struct asked a = get_as(CMS "?watch=1&timeoutSeconds=1", PARTIAL);
    expect_part(a, 200, "{\"type\":\"ADDED\",\"object\":{\"kind\":\"PartialObjectMetadata\",");
    assert_null(strstr(a.body, "\"data\""));
    t_close();
}

static const char *laid_out(struct buf *out, const char *json)
{
    buf_clear(out);
    assert_true(pretty_print(slice_str(json), out));
    buf_append_byte(out, 0);
    return (const char *)out->data;
}

static void json_is_laid_out_for_people(void **state)
{
    struct buf out;
    buf_init(&out);
    assert_string_equal(laid_out(&out, "{}"), "{}");
    assert_string_equal(laid_out(&out, "[]"), "[]");
    assert_string_equal(
        laid_out(&out, "{\"a\":{},\"b\":[1,{\"c\":\"x,\\\"y{\"}],\"d\":[]}"),
        "{\n  \"a\": {},\n  \"b\": [\n    1,\n    {\n      \"c\": \"x,\\\"y{\"\n    }\n  ],\n"
        "  \"d\": []\n}");
    /* what grows beyond measure is given up */
    struct buf deep;
    buf_init(&deep);
    for (int i = 0; i < 100; i++) {
        buf_append_byte(&deep, '[');
    }
    for (int i = 0; i < 1000; i++) {
        buf_append_str(&deep, i > 0 ? ",0" : "0");
    }
    for (int i = 0; i < 100; i++) {
        buf_append_byte(&deep, ']');
    }
    buf_clear(&out);
    assert_false(pretty_print(buf_slice(&deep), &out));
    buf_close(&deep);
    buf_close(&out);
}

static void people_get_lines(void **state)
{
    open_with_two();
    const char *line = "{\n  \"kind\": \"ConfigMap\",\n  \"apiVersion\": \"v1\",\n";
    expect_part(finish(begin_as(CMS "/a", "*/*", "curl/8.0")), 200, line);
    expect_part(finish(begin_as(CMS "/a", "*/*", "Wget/1.21")), 200, line);
    expect_part(finish(begin_as(CMS "/a", "*/*", "Mozilla/5.0 (X11)")), 200, line);
    expect_part(finish(begin_as(CMS "/a?pretty=true", "*/*", "tester")), 200, line);
    expect_part(finish(begin_as(CMS "/a", "application/json;pretty=1", "tester")), 200, line);
    expect_part(finish(begin_as(CMS "/none", "*/*", "curl/8.0")), 404,
                "{\n  \"kind\": \"Status\",\n");
    const char *compact = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",";
    expect_part(finish(begin_as(CMS "/a?pretty=false", "*/*", "curl/8.0")), 200, compact);
    expect_part(finish(begin_as(CMS "/a", "*/*", "tester")), 200, compact);
    expect_part(finish(begin_as(CMS "/a", "*/*", "tester")), 200, "}\n");
    t_close();
}

/* Each allocation of a table's way fails once: an answer or a broken one, and nothing is lost. */
static void shapes_survive_a_lack_of_memory(void **state)
{
    static const char *const ways[][2] = {
        {CMS "?limit=1", TABLE},
        {CMS "/a", PARTIAL},
        {CMS "?watch=1&allowWatchBookmarks=true&timeoutSeconds=1", TABLE},
        {"/api/v1/namespaces/default", "application/json;pretty=1"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        bool failed = true;
        uint64_t n;
        for (n = 1; failed && n < 1000; n++) {
            open_with_two();
            struct t_http *x = begin_as(ways[i][0], ways[i][1], "tester");
            mem_fail_after(n);
            t_advance(3000);
            failed = mem_fail_left() == 0;
            mem_fail_after(0);
            t_expect(t_http_ended(x) != 0);
            expect_answer("GET", CMS "?limit=1", "", 200, NULL);
            t_close();
        }
        assert_false(failed);
        assert_true(n > 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media_ranges_are_tried_by_quality),
        cmocka_unit_test(lists_are_tables),
        cmocka_unit_test(objects_are_tables_of_one_row),
        cmocka_unit_test(reviews_have_no_table),
        cmocka_unit_test(metadata_is_cut_out),
        cmocka_unit_test(long_tables_are_whole),
        cmocka_unit_test(scales_are_tables),
        cmocka_unit_test(objects_are_metadata_only),
        cmocka_unit_test(watches_are_tables),
        cmocka_unit_test(watches_are_metadata),
        cmocka_unit_test(json_is_laid_out_for_people),
        cmocka_unit_test(people_get_lines),
        cmocka_unit_test(shapes_survive_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
