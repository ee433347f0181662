/* test_request - paths, parameters, media types and error answers, without a server. */
#include "plugins/apiserver/request.h"

#include "plugins/apiserver/media.h"
#include "plugins/apiserver/query.h"
#include "plugins/apiserver/status.h"
#include "tests/unit/apiserver/fixture.h"

static int parse(struct fixture *f, const char *method, const char *path, struct request *r)
{
    const char *mark = strstr(path, "?watch");
    size_t len = mark == NULL ? strlen(path) : (size_t)(mark - path);
    return request_parse(r, slice_str(method), slice_of(path, len), mark != NULL, &f->arena);
}

/* What the request became: verb group/version/resource namespace/name/sub, or the error. */
static const char *told(struct fixture *f, const char *method, const char *path)
{
    struct request r;
    int rc = parse(f, method, path, &r);
    buf_clear(&f->out);
    if (rc != 0 && rc != ERR_REFUSED) {
        return err_name(rc);
    }
    buf_printf(&f->out, "%s%s", rc == 0 ? "" : "refused ", request_verb_name(r.verb));
    struct slice parts[] = {r.group, r.version, r.resource, r.space, r.name, r.sub};
    for (size_t i = 0; i < 6; i++) {
        buf_append_byte(&f->out, i == 0 || i == 3 ? ' ' : '/');
        buf_append_slice(&f->out, parts[i]);
    }
    return text_of(&f->out);
}

static void paths_become_requests(void **state)
{
    static const struct {
        const char *method, *path, *want;
    } rows[] = {
        {"GET", "/api/v1/pods", "list /v1/pods //"},
        {"GET", "/api/v1/pods?watch", "watch /v1/pods //"},
        {"GET", "/api/v1/namespaces/a/pods", "list /v1/pods a//"},
        {"HEAD", "/api/v1/namespaces/a/pods/x", "get /v1/pods a/x/"},
        {"POST", "/api/v1/namespaces/a/pods", "create /v1/pods a//"},
        {"PUT", "/apis/apps/v1/namespaces/a/deployments/x", "update apps/v1/deployments a/x/"},
        {"PATCH", "/apis/apps/v1/namespaces/a/deployments/x/status",
         "patch apps/v1/deployments a/x/status"},
        {"DELETE", "/api/v1/namespaces/a/pods/x", "delete /v1/pods a/x/"},
        {"DELETE", "/api/v1/namespaces/a/pods", "deletecollection /v1/pods a//"},
        {"GET", "/api/v1/watch/namespaces/a/pods", "watch /v1/pods a//"},
        {"GET", "/api/v1/watch/namespaces/a/pods/x", "watch /v1/pods a/x/"},
        {"POST", "/api/v1/watch/namespaces/a/pods", "refused other /v1/pods a//"},
        {"DELETE", "/api/v1/watch/namespaces/a/pods/x", "refused other /v1/pods a/x/"},
        {"GET", "/api/v1/namespaces/a", "get /v1/namespaces /a/"},
        {"PUT", "/api/v1/namespaces/a/finalize", "update /v1/namespaces /a/finalize"},
        {"GET", "/api/v1/namespaces/a/status", "get /v1/namespaces /a/status"},
        {"GET", "/api/v1/namespaces/a%20b", "get /v1/namespaces /a b/"},
        {"GET", "/api/v1/nodes/n", "get /v1/nodes /n/"},
        {"GET", "/version", "other // //"},
        {"GET", "/apis/apps/v1/", "other apps/v1/ //"},
        {"GET", "/", "other // //"},
        /* Known, but not so. */
        {"POST", "/api/v1/pods", "refused create /v1/pods //"},
        {"DELETE", "/api/v1/namespaces", "refused deletecollection /v1/namespaces //"},
        {"PUT", "/api/v1/namespaces/a/pods", "refused other /v1/pods a//"},
        {"POST", "/api/v1/namespaces/a/pods/x", "refused other /v1/pods a/x/"},
        {"DELETE", "/api/v1/namespaces/a/pods/x/status", "refused delete /v1/pods a/x/status"},
        /* Not there. */
        {"GET", "/api/v2/pods", "NOT_FOUND"},
        {"GET", "/apis/apps/v1/pods", "NOT_FOUND"},
        {"GET", "/api/v1/pods/x", "NOT_FOUND"},
        {"GET", "/api/v1/namespaces/a/nodes", "NOT_FOUND"},
        {"GET", "/api/v1/namespaces/a/pods/x/nothing", "NOT_FOUND"},
        {"GET", "/api/v1/namespaces/a/pods/x/status/more", "NOT_FOUND"},
        {"GET", "/api/v1/namespaces/a/pods/", "NOT_FOUND"},
        {"GET", "/api//v1", "NOT_FOUND"},
        {"GET", "/api/v1/%zz", "INVALID"},
        {"GET", "/api/v1/%4", "INVALID"},
        {"GET", "/api/v1/namespaces/a/pods/b%2Fc", "INVALID"},
        {"GET", "/api/v1/namespaces/%2e%2E/pods", "INVALID"},
        {"GET", "nothing", "NOT_FOUND"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(told(f, rows[i].method, rows[i].path), rows[i].want);
    }
}

static void queries_are_read(void **state)
{
    struct fixture *f = *state;
    struct query q;
    const char *text = "labelSelector=a%3Db%2Cc&limit=5&watch=1&x;y=1&bad=%z&allowWatchBookmarks&"
                       "sendInitialEvents=False&resourceVersion=12&resourceVersionMatch=Exact&"
                       "timeoutSeconds=9&fieldManager=me+too&dryRun=All";
    assert_int_equal(query_parse(&q, slice_str(text), &f->arena, &f->e), 0);
    assert_true(slice_eq(q.label_selector, slice_str("a=b,c")));
    assert_true(slice_eq(q.manager, slice_str("me too")));
    assert_int_equal(q.limit, 5);
    assert_true(q.watch && q.bookmarks && q.dry_run && q.has_revision);
    assert_int_equal(q.initial_events, QUERY_OFF);
    assert_int_equal(q.revision, 12);
    assert_int_equal(q.match, QUERY_MATCH_EXACT);
    assert_int_equal(q.timeout_s, 9);
    assert_int_equal(query_parse(&q, slice_str(""), &f->arena, &f->e), 0);
    assert_true(!q.has_revision && q.grace_s == -1 && q.timeout_s == -1);
    assert_int_equal(query_parse(&q, slice_str("limit=x"), &f->arena, &f->e), ERR_INVALID);
    assert_string_equal(f->e.text, "strconv.ParseInt: parsing \"x\": invalid syntax");
    assert_int_equal(query_parse(&q, slice_str("resourceVersion=-1"), &f->arena, &f->e),
                     ERR_INVALID);
    assert_int_equal(
        query_parse(&q, slice_str("resourceVersion=99999999999999999999"), &f->arena, &f->e),
        ERR_INVALID);
    assert_non_null(strstr(f->e.text, "value out of range"));
}

/* The first complaint; "" when there is none. */
static const char *complaint(struct fixture *f, const char *text, bool watch)
{
    static struct causes c;
    struct query q;
    causes_init(&c, &f->arena);
    assert_int_equal(query_parse(&q, slice_str(text), &f->arena, &f->e), 0);
    query_check_list(&q, watch, &c);
    buf_clear(&f->out);
    if (c.count > 0) {
        buf_append_slice(&f->out, c.items[0].message);
    }
    return text_of(&f->out);
}

static void some_parameters_exclude_others(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(complaint(f, "resourceVersion=5&resourceVersionMatch=Exact", false), "");
    assert_string_equal(complaint(f, "resourceVersion=0&resourceVersionMatch=NotOlderThan", false),
                        "");
    assert_string_equal(
        complaint(f, "resourceVersionMatch=Exact", false),
        "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
    assert_string_equal(
        complaint(f, "resourceVersion=5&resourceVersionMatch=Exact&continue=x", false),
        "Forbidden: resourceVersionMatch is forbidden when continue is provided");
    assert_string_equal(complaint(f, "resourceVersion=0&resourceVersionMatch=Exact", false),
                        "Forbidden: resourceVersionMatch \"exact\" is forbidden for "
                        "resourceVersion \"0\"");
    assert_string_equal(complaint(f, "sendInitialEvents=true", false),
                        "Forbidden: sendInitialEvents is forbidden for list");
    assert_string_equal(complaint(f, "sendInitialEvents=true", true),
                        "Forbidden: sendInitialEvents requires setting resourceVersionMatch to "
                        "NotOlderThan");
    assert_string_equal(
        complaint(f, "resourceVersion=1&resourceVersionMatch=NotOlderThan", true),
        "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
        "provided");
    assert_string_equal(
        complaint(f, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan", true), "");
}

static void media_types_are_chosen(void **state)
{
    assert_int_equal(media_body(slice_str("")), MEDIA_BODY_JSON);
    assert_int_equal(media_body(slice_str("Application/JSON; charset=utf-8")), MEDIA_BODY_JSON);
    assert_int_equal(media_body(slice_str("application/strategic-merge-patch+json")),
                     MEDIA_BODY_STRATEGIC_PATCH);
    assert_int_equal(media_body(slice_str("application/cbor")), MEDIA_BODY_UNKNOWN);
    assert_true(media_accepts_json(slice_str("")));
    assert_true(media_accepts_json(slice_str("text/html, */*;q=0.5")));
    assert_true(media_accepts_json(
        slice_str("application/json;as=Table;v=v1;g=meta.k8s.io,application/json")));
    assert_false(media_accepts_json(slice_str("application/json;as=Table;v=v1;g=meta.k8s.io")));
    assert_false(media_accepts_json(slice_str("application/vnd.kubernetes.protobuf")));
    assert_false(media_accepts_json(slice_str("application/json;q=0")));
    const char *both = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
                       "application/json";
    assert_true(media_accepts_discovery(slice_str(both)));
    assert_true(media_accepts_json(slice_str(both)));
    assert_false(media_accepts_discovery(slice_str("application/json")));
    assert_false(media_accepts_discovery(
        slice_str("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")));
}

static const char *printed(struct fixture *f, struct status s)
{
    buf_clear(&f->out);
    status_print(&s, &f->out);
    return text_of(&f->out);
}

static void errors_are_status_objects(void **state)
{
    struct fixture *f = *state;
    struct arena *a = &f->arena;
    struct status_about about = {slice_str("apps"), slice_str("deployments"), slice_str("x")};
    assert_string_equal(
        printed(f, status_not_found(a, &about)),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
        "\"message\":\"deployments.apps \\\"x\\\" not found\",\"reason\":\"NotFound\",\"details\":{"
        "\"name\":\"x\",\"group\":\"apps\",\"kind\":\"deployments\"},\"code\":404}");
    assert_string_equal(
        printed(f, status_unauthorized(a)),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
        "\"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}");
    assert_string_equal(
        printed(f, status_too_new(a, 9, 5)),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
        "\"message\":\"Timeout: Too large resource version: 9, current: 5\",\"reason\":\"Timeout\","
        "\"details\":{\"causes\":[{\"reason\":\"ResourceVersionTooLarge\",\"message\":\"Too large "
        "resource version\"}],\"retryAfterSeconds\":1},\"code\":504}");
    assert_string_equal(
        printed(f, status_success(&about, slice_str("u"))),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\","
        "\"details\":{\"name\":\"x\",\"group\":\"apps\",\"kind\":\"deployments\",\"uid\":\"u\"}}");
    assert_non_null(strstr(printed(f, status_modified(a, &about)),
                           "Operation cannot be fulfilled on deployments.apps \\\"x\\\": the "
                           "object has been modified; please apply"));
    assert_non_null(strstr(printed(f, status_forbidden(a, &about, "no %d", 1)),
                           "deployments.apps \\\"x\\\" is forbidden: no 1"));
    struct status_about nothing = {0};
    assert_non_null(
        strstr(printed(f, status_forbidden(a, &nothing, "no")), "\"message\":\"forbidden: no\""));
    assert_non_null(strstr(printed(f, status_method(a, &about, "create")),
                           "create is not supported on resources of kind "
                           "\\\"deployments.apps\\\""));
}

static void invalid_lists_its_causes(void **state)
{
    static struct causes c;
    struct fixture *f = *state;
    causes_init(&c, &f->arena);
    cause_required(&c, PLACE_FIELD(PLACE_FIELD(NULL, "spec"), "x"), "");
    assert_string_equal(
        printed(f, status_invalid(&f->arena, slice_str("apps"), slice_str("Deployment"),
                                  slice_str("d"), &c)),
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
        "\"message\":\"Deployment.apps \\\"d\\\" is invalid: spec.x: Required value\","
        "\"reason\":\"Invalid\",\"details\":{\"name\":\"d\",\"group\":\"apps\",\"kind\":"
        "\"Deployment\",\"causes\":[{\"reason\":\"FieldValueRequired\",\"message\":\"Required "
        "value\",\"field\":\"spec.x\"}]},\"code\":422}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths_become_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(queries_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(some_parameters_exclude_others, setup, teardown),
        cmocka_unit_test(media_types_are_chosen),
        cmocka_unit_test_setup_teardown(errors_are_status_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(invalid_lists_its_causes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
