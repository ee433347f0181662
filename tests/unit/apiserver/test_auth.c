/* test_auth - tokens and reviews through HTTP, in virtual time: what they end with, and when. */
#include <stdbool.h>

#include "base/alloc.h"
#include "tests/unit/apiserver/server.h"

#define SEEDS  8u
#define SA     "/api/v1/namespaces/default/serviceaccounts"
#define REVIEW "/apis/authentication.k8s.io/v1/selfsubjectreviews"
#define TOKENS "/apis/authentication.k8s.io/v1/tokenreviews"
#define RIGHTS "/apis/authorization.k8s.io/v1/"

/* As system:masters, or with a token. */
static struct t_http *begin_as(const char *token, const char *method, const char *path,
                               const char *body)
{
    char header[4096];
    snprintf(header, sizeof header, "Bearer %s", token == NULL ? "" : token);
    struct kvp_pair headers[] = {{kvp_str("content-type"), kvp_str("application/json")},
                                 {kvp_str("authorization"), kvp_str(header)}};
    struct t_http_args a = {.size = sizeof a,
                            .port = SERVER_PORT,
                            .method = method,
                            .path = path,
                            .body = kvp_str(body),
                            .headers = headers,
                            .header_count = token == NULL ? 1 : 2,
                            .user = token == NULL ? "root" : NULL,
                            .group = token == NULL ? "system:masters" : NULL};
    return t_http_open(&a);
}

static struct asked ask_as(const char *token, const char *method, const char *path,
                           const char *body)
{
    return finish(begin_as(token, method, path, body));
}

static void root(const char *method, const char *path, const char *body, uint32_t code,
                 const char *part)
{
    struct asked a = ask_as(NULL, method, path, body);
    expect_part(a, code, part);
}

struct kept {
    char text[4096];
};

static struct kept token_of(const char *spec)
{
    struct kept t;
    char body[1024];
    snprintf(body, sizeof body, "{\"spec\":{%s}}", spec);
    struct asked a = ask_as(NULL, "POST", SA "/web/token", body);
    expect_part(a, 201, "\"token\":\"");
    pick(a.body, "\"token\":\"", t.text, sizeof t.text);
    return t;
}

static void expect_who(const struct kept *t, uint32_t code, const char *part)
{
    struct asked a = ask_as(t->text, "POST", REVIEW, "{}");
    expect_part(a, code, part);
}

static void put_object(const char *key, const char *kind, const char *rest)
{
    char value[1024];
    snprintf(value, sizeof value,
             "{\"kind\":\"%s\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\",%s}", kind, rest);
    t_put(key, value);
}

static void put_pod(const char *uid, const char *deletion)
{
    char rest[512];
    snprintf(rest, sizeof rest,
             "\"namespace\":\"default\",\"uid\":\"%s\"%s},\"spec\":{\"serviceAccountName\":\"web\","
             "\"nodeName\":\"x\"}",
             uid, deletion);
    put_object("/registry/pods/default/x", "Pod", rest);
}

/* ---- stories ------------------------------------------------------------------------------- */

static void end_story(void)
{
    server_open(NULL);
    root("POST", SA, "{\"metadata\":{\"name\":\"web\"}}", 201, NULL);
    struct kept hour = token_of("");
    struct kept short_one = token_of("\"expirationSeconds\":600");
    expect_who(&hour, 201, "\"username\":\"system:serviceaccount:default:web\"");
    expect_who(&short_one, 201, "system:serviceaccounts:default");
    t_advance(580000);
    expect_who(&short_one, 201, NULL);
    t_advance(40000);
    expect_who(&short_one, 401, "\"reason\":\"Unauthorized\"");
    expect_who(&hour, 201, NULL);
    t_advance(3000000);
    expect_who(&hour, 401, NULL);
    t_close();
}

static void tokens_end_by_the_clock(void **state)
{
    t_for_each_seed(2, end_story);
}

static void bound_story(void)
{
    char body[512];
    char version[64];
    server_open(NULL);
    root("POST", SA, "{\"metadata\":{\"name\":\"web\"}}", 201, NULL);
    put_pod("p1", "");
    put_object("/registry/minions/x", "Node", "\"uid\":\"n1\"}");
    struct kept pod =
        token_of("\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":"
                 "\"x\",\"uid\":\"p1\"},\"expirationSeconds\":3607");
    expect_who(&pod, 201, "\"authentication.kubernetes.io/pod-uid\":[\"p1\"]");
    expect_who(&pod, 201, "\"authentication.kubernetes.io/node-uid\":[\"n1\"]");
    t_delete("/registry/minions/x");
    expect_who(&pod, 201, "\"authentication.kubernetes.io/node-name\":[\"x\"]");
    /* Such a one may be used for a year, though it says an hour. */
    t_advance(4 * 3600000);
    expect_who(&pod, 201, NULL);
    /* Which is not for others. */
    root("POST", SA "/other/token", "{}", 404, "serviceaccounts \\\"other\\\" not found");
    root("POST", SA, "{\"metadata\":{\"name\":\"other\"}}", 201, NULL);
    snprintf(
        body, sizeof body,
        "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"x\"}}}");
    root("POST", SA "/other/token", body, 400, "running with different serviceaccount name");
    /* A pod that is going keeps its token for a minute. */
    snprintf(version, sizeof version, ",\"deletionTimestamp\":\"2023-11-14T22:13:20Z\"");
    put_pod("p1", version); /* 1,700,000,000 s: long ago by now */
    expect_who(&pod, 401, NULL);
    snprintf(version, sizeof version, ",\"deletionTimestamp\":\"2033-11-14T22:13:20Z\"");
    put_pod("p1", version);
    expect_who(&pod, 201, NULL);
    put_pod("p2", "");
    expect_who(&pod, 401, NULL);
    t_close();
}

static void tokens_end_with_what_they_are_bound_to(void **state)
{
    t_for_each_seed(SEEDS, bound_story);
}

static void trouble_story(void)
{
    server_open(NULL);
    root("POST", SA, "{\"metadata\":{\"name\":\"web\"}}", 201, NULL);
    struct kept t = token_of("");
    /* The store is not there: nobody is refused for that. */
    t_fail("range", 1, KVP_UNAVAILABLE);
    expect_who(&t, 503, "ServiceUnavailable");
    expect_who(&t, 201, NULL);
    /* A client that leaves while its token is looked at; and one whose body comes before. */
    t_hold("range");
    struct t_http *gone = begin_as(t.text, "POST", REVIEW, "{}");
    struct t_http *stays = begin_as(t.text, "POST", REVIEW, "{}");
    for (int i = 0; t_in_flight("range") < 2 && i < SERVER_WAIT_MS; i++) {
        t_advance(1);
    }
    t_advance(100);
    t_expect_int(t_http_ended(stays), 0);
    t_http_cancel(gone);
    t_advance(10);
    t_release("range");
    expect_part(finish(stays), 201, "system:serviceaccount:default:web");
    /* What is no token is refused at once, and a refused request's body is nothing. */
    t_hold("range");
    expect_part(ask_as("x.y.z", "POST", REVIEW, "{\"metadata\":{}}"), 401, NULL);
    expect_part(ask_as("", "GET", "/version", ""), 200, NULL); /* "Bearer " is nothing */
    t_release("range");
    t_close();
}

/* Until it is certain which keys the cluster has, no token is made or refused for its key. */
static void settle_story(void)
{
    t_on_failure(server_failed);
    t_open(kvplugin_entry(), NULL);
    t_hold("put_if");
    t_put("/registry/serviceaccounts/default/web",
          "{\"kind\":\"ServiceAccount\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\","
          "\"namespace\":\"default\",\"uid\":\"u\"}}");
    t_advance(5000);
    expect_part(ask_as(NULL, "POST", SA "/web/token", "{}"), 503, "are not known yet");
    t_release("put_if");
    t_advance(5000);
    struct kept t = token_of("");
    expect_who(&t, 201, NULL);
    t_close();
}

/* A row that is none: told once, looked at again, and taken over when it is good, or gone. */
static void broken_story(void)
{
    static const char row[] = "/registry/kvd.io/pki";
    t_on_failure(server_failed);
    t_open(kvplugin_entry(), NULL);
    t_hold("get");
    t_advance(1);
    t_put(row, "nonsense");
    t_put("/registry/serviceaccounts/default/web",
          "{\"kind\":\"ServiceAccount\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\","
          "\"namespace\":\"default\",\"uid\":\"u\"}}");
    t_release("get");
    t_advance(200000);
    t_expect_int(t_logged("the authority in the store cannot be read: this member goes on with its "
                          "own, and makes no tokens; put the row back, or delete it to have it "
                          "written anew"),
                 1);
    expect_part(ask_as(NULL, "POST", SA "/web/token", "{}"), 503, "are not known yet");
    t_delete(row);
    t_advance(70000);
    t_expect_int(t_count(row), 1);
    struct kept t = token_of("");
    expect_who(&t, 201, NULL);
    t_close();
}

static void a_broken_row_is_told(void **state)
{
    t_for_each_seed(SEEDS, broken_story);
}

static void keys_are_settled_first(void **state)
{
    t_for_each_seed(SEEDS, settle_story);
}

static void trouble_is_told_apart(void **state)
{
    t_for_each_seed(SEEDS, trouble_story);
}

/* Who may change objects of a kind that a PUT can make, but not make them. */
static void making_story(void)
{
    static const char body[] =
        "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}]}}";
    const char *path = "/api/v1/namespaces/default/services/s";
    server_open("");
    struct t_http_args a = {.size = sizeof a,
                            .port = SERVER_PORT,
                            .method = "PUT",
                            .path = path,
                            .body = kvp_str(body),
                            .user = "kvd:plugin:controllers"};
    struct asked refused = finish(t_http_open(&a));
    expect_part(refused, 403,
                "User \\\"kvd:plugin:controllers\\\" cannot create resource \\\"services\\\"");
    root("PUT", path, body, 201, NULL);
    struct asked changed = finish(t_http_open(&a));
    expect_part(changed, 200, NULL);
    t_close();
}

static void changing_is_not_making(void **state)
{
    t_for_each_seed(1, making_story);
}

static void review_story(void)
{
    char body[8192];
    server_open(NULL);
    root("POST", SA, "{\"metadata\":{\"name\":\"web\"}}", 201, NULL);
    struct kept t = token_of("");
    struct kept other = token_of("\"audiences\":[\"vault\",\"db\"]");
    expect_who(&other, 401, NULL);
    snprintf(body, sizeof body, "{\"spec\":{\"token\":\"%s\",\"audiences\":[\"db\",\"x\"]}}",
             other.text);
    root("POST", TOKENS, body, 201, "\"authenticated\":true,\"user\":{\"username\":");
    root("POST", TOKENS, body, 201, "\"audiences\":[\"db\"]}");
    root("POST", TOKENS, "{\"spec\":{\"token\":\"x\"}}", 201, "\"error\":\"invalid bearer token\"");
    /* An account may look at itself only. */
    expect_part(ask_as(t.text, "POST", TOKENS, body), 403,
                "cannot create resource \\\"tokenreviews\\\" in API group "
                "\\\"authentication.k8s.io\\\" at the cluster scope");
    expect_part(ask_as(t.text, "POST", RIGHTS "selfsubjectrulesreviews",
                       "{\"spec\":{\"namespace\":\"default\"}}"),
                201, "\"resources\":[\"selfsubjectreviews\"]");
    expect_part(
        ask_as(t.text, "POST", RIGHTS "selfsubjectaccessreviews",
               "{\"spec\":{\"nonResourceAttributes\":{\"path\":\"/api\",\"verb\":\"get\"}}}"),
        201, "\"allowed\":true");
    root("POST", RIGHTS "namespaces/default/localsubjectaccessreviews",
         "{\"spec\":{\"user\":\"a\",\"resourceAttributes\":{\"namespace\":\"other\"}}}", 422,
         "spec.resourceAttributes.namespace: Invalid value: \\\"other\\\": must match "
         "metadata.namespace");
    root("POST", RIGHTS "subjectaccessreviews", "{\"spec\":{\"resourceAttributes\":{}}}", 422,
         "at least one of user or group must be specified");
    root("GET", RIGHTS "subjectaccessreviews", "", 405, NULL);
    root("GET", "/apis", "", 200, "authentication.k8s.io");
    root("GET", "/api/v1", "", 200, "\"name\":\"serviceaccounts/token\"");
    t_close();
}

static void reviews_answer(void **state)
{
    t_for_each_seed(SEEDS, review_story);
}

/* Allocation after allocation fails: each request is answered or broken off, none lets in who may
 * not, and the next one is fine. */
static void every_allocation_may_fail(void **state)
{
    static const char *const ways[][2] = {
        {SA "/web/token", "{\"spec\":{}}"},
        {REVIEW, "{}"},
        {RIGHTS "selfsubjectrulesreviews", "{\"spec\":{\"namespace\":\"x\"}}"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        bool failed = true;
        uint64_t n;
        server_open(NULL);
        root("POST", SA, "{\"metadata\":{\"name\":\"web\"}}", 201, NULL);
        struct kept t = token_of("");
        for (n = 1; failed && n < 1000; n++) {
            struct t_http *x = begin_as(i == 1 ? t.text : NULL, "POST", ways[i][0], ways[i][1]);
            mem_fail_after(n);
            t_advance(3000);
            failed = mem_fail_left() == 0;
            mem_fail_after(0);
            t_expect(t_http_ended(x) != 0);
        }
        expect_who(&t, 201, NULL);
        assert_false(failed);
        assert_true(n > 4);
        t_close();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changing_is_not_making),
        cmocka_unit_test(tokens_end_by_the_clock),
        cmocka_unit_test(tokens_end_with_what_they_are_bound_to),
        cmocka_unit_test(trouble_is_told_apart),
        cmocka_unit_test(keys_are_settled_first),
        cmocka_unit_test(a_broken_row_is_told),
        cmocka_unit_test(reviews_answer),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
