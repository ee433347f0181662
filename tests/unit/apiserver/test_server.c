/* test_server - objects are created, read, listed, changed and deleted through HTTP. */
#include <stdbool.h>

#include "base/alloc.h"
#include "tests/unit/apiserver/server.h"

#define SEEDS 8u
#define CMS   "/api/v1/namespaces/default/configmaps"

static const char cm[] = "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\"}},\"data\":{\"k\":"
                         "\"v\"}}";

static void crud_story(void)
{
    char version[32];
    char body[1024];
    server_open_all();
    struct asked made = ask("POST", CMS, cm);
    expect_part(made, 201,
                "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                "\"a\",\"namespace\":\"default\",\"uid\":\"");
    pick(made.body, "\"resourceVersion\":\"", version, sizeof version);
    t_expect(strtoll(version, NULL, 10) == t_revision());
    t_expect(strstr(t_get("/registry/configmaps/default/a"), "resourceVersion") == NULL);
    expect_answer("POST", CMS, cm, 409, "configmaps \\\"a\\\" already exists");
    snprintf(body, sizeof body, "%s", made.body);
    struct asked got = ask("GET", CMS "/a", "");
    expect_part(got, 200, body);
    expect_answer("GET", CMS "/b", "", 404, "configmaps \\\"b\\\" not found");
    /* A change that is none is not written. */
    int64_t before = t_revision();
    expect_answer("PUT", CMS "/a", cm, 200, version);
    t_expect_int(t_revision(), before);
    snprintf(body, sizeof body,
             "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"},\"data\":{\"k\":\"w\"}}",
             version);
    expect_answer("PUT", CMS "/a", body, 200, "\"k\":\"w\"");
    expect_answer("PUT", CMS "/a", body, 409, "the object has been modified; please apply your");
    expect_answer("PUT", CMS "/b", cm, 400,
                  "the name of the object (a) does not match the name on the URL (b)");
    expect_answer("PUT", CMS "/b", "{\"metadata\":{\"name\":\"b\"}}", 404, "not found");
    expect_answer("DELETE", CMS "/a", "", 200,
                  "\"status\":\"Success\",\"details\":{\"name\":\"a\"");
    expect_answer("DELETE", CMS "/a", "", 404, NULL);
    t_expect_value("/registry/configmaps/default/a", NULL);
    t_close();
}

static void objects_live_and_die(void **state)
{
    t_for_each_seed(SEEDS, crud_story);
}

static void create_story(void)
{
    server_open_all();
    expect_answer("POST", CMS, "{\"metadata\":{\"generateName\":\"web-\"}}", 201,
                  "\"name\":\"web-");
    expect_answer("POST", CMS, "{}", 422, "name or generateName is required");
    expect_answer("POST", "/api/v1/namespaces/nowhere/configmaps", cm, 404,
                  "namespaces \\\"nowhere\\\" not found");
    expect_answer("POST", CMS, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", 400,
                  "cannot be handled as a ConfigMap");
    expect_answer("POST", CMS, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v2\"}", 400,
                  "the API version in the data (v2) does not match the expected API version (v1)");
    expect_answer("POST", CMS, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}", 400,
                  "the namespace of the provided object does not match");
    expect_answer("POST", CMS, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}", 500,
                  "resourceVersion should not be set on objects to be created");
    expect_answer("POST", CMS, "{\"data\":7}", 400, "json: cannot unmarshal number");
    expect_answer("POST", CMS "?fieldValidation=Strict",
                  "{\"metadata\":{\"name\":\"s\"},\"nothing\":1}", 400,
                  "strict decoding error: unknown field \\\"nothing\\\"");
    struct asked warned = ask("POST", CMS, "{\"metadata\":{\"name\":\"s\"},\"nothing\":1}");
    expect_part(warned, 201, NULL);
    t_expect(
        strcmp(t_http_header(warned.x, "warning"), "299 - \"unknown field \\\"nothing\\\"\"") == 0);
    t_expect(t_http_header(warned.x, "audit-id") != NULL);
    struct asked yaml = ask_typed("POST", CMS, "application/yaml",
                                  "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: yml\n");
    expect_part(yaml, 201, "\"name\":\"yml\"");
    struct asked cbor = ask_typed("POST", CMS, "application/cbor", "x");
    expect_part(cbor, 415, "the body of the request was in an unknown format");
    /* A dry run tells all and does nothing. */
    int64_t before = t_revision();
    expect_answer("POST", CMS "?dryRun=All", "{\"metadata\":{\"name\":\"d\"}}", 201, "\"uid\":\"");
    expect_answer("POST", CMS "?dryRun=All", "{\"metadata\":{\"name\":\"yml\"}}", 409, "exists");
    expect_answer("DELETE", CMS "/yml?dryRun=All", "", 200, "Success");
    expect_answer("POST", CMS "?dryRun=Some", cm, 422, "supported values: \\\"All\\\"");
    t_expect_int(t_revision(), before);
    t_close();
}

/* However long what a client writes is, the head of the answer stays one that can be sent. */
static void long_names_story(void)
{
    static char body[40000];
    size_t n = (size_t)snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"w\"},\"a");
    memset(body + n, 'a', 30000);
    snprintf(body + n + 30000, sizeof body - n - 30000, "\":1}");
    server_open_all();
    struct asked warned = ask("POST", CMS, body);
    expect_part(warned, 201, NULL);
    t_expect(strlen(t_http_header(warned.x, "warning")) < 300);
    struct kvp_pair audit = {kvp_str("audit-id"), kvp_bytes_of(body + n, 20000)};
    struct t_http_args a = {.size = sizeof a,
                            .port = SERVER_PORT,
                            .method = "GET",
                            .path = "/version",
                            .headers = &audit,
                            .header_count = 1};
    struct asked told = finish(t_http_open(&a));
    expect_part(told, 200, NULL);
    t_expect_int(strlen(t_http_header(told.x, "audit-id")), 36);
    t_close();
}

static void heads_stay_small(void **state)
{
    t_for_each_seed(1, long_names_story);
}

static void creation_has_rules(void **state)
{
    t_for_each_seed(SEEDS, create_story);
}

static void race_story(void)
{
    server_open_all();
    expect_answer("POST", CMS, cm, 201, NULL);
    /* Somebody writes between reading and writing: without a version the PUT wins all the same. */
    t_hold("put_if");
    struct t_http *x = begin_typed("PUT", CMS "/a", "application/json",
                                   "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"mine\"}}");
    for (int i = 0; t_in_flight("put_if") == 0 && i < SERVER_WAIT_MS; i++) {
        t_advance(1);
    }
    t_put("/registry/configmaps/default/a",
          "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\","
          "\"namespace\":\"default\",\"uid\":\"u\",\"creationTimestamp\":\"2024-01-01T00:00:00Z\"},"
          "\"data\":{\"k\":\"theirs\",\"other\":\"1\"}}");
    t_release("put_if");
    struct asked won = finish(x);
    expect_part(won, 200, "\"k\":\"mine\"");
    t_expect(strstr(won.body, "other") == NULL);
    /* The store is not there. */
    t_fail("get", 1, KVP_UNAVAILABLE);
    expect_answer("PUT", CMS "/a", cm, 503, "ServiceUnavailable");
    t_fail_unknown("put_if", 1, 1);
    expect_answer("PATCH", CMS "/a", "{}", 415, "application/merge-patch+json");
    struct asked unknown =
        ask_typed("PATCH", CMS "/a", "application/merge-patch+json", "{\"data\":{\"n\":\"1\"}}");
    expect_part(unknown, 504, "the outcome of the write is not known");
    t_close();
}

static void writers_compete(void **state)
{
    t_for_each_seed(SEEDS, race_story);
}

static void patch_story(void)
{
    server_open_all();
    expect_answer("POST", CMS, cm, 201, NULL);
    struct asked a = ask_typed("PATCH", CMS "/a", "application/merge-patch+json",
                               "{\"data\":{\"k\":null,\"n\":\"1\"}}");
    expect_part(a, 200, "\"data\":{\"n\":\"1\"}");
    a = ask_typed("PATCH", CMS "/a", "application/json-patch+json",
                  "[{\"op\":\"replace\",\"path\":\"/data/n\",\"value\":\"2\"}]");
    expect_part(a, 200, "\"data\":{\"n\":\"2\"}");
    a = ask_typed("PATCH", CMS "/a", "application/json-patch+json",
                  "[{\"op\":\"test\",\"path\":\"/data/n\",\"value\":\"7\"}]");
    expect_part(a, 422, "the server rejected our request due to an error in our request");
    t_expect(strstr(a.body, "details") == NULL);
    /* Server-side apply says that it is not there, not what is wrong with its parameters. */
    a = ask_typed("PATCH", CMS "/a?fieldManager=kubectl&force=false",
                  "application/apply-patch+yaml", "kind: ConfigMap");
    expect_part(a, 415,
                "the body of the request was in an unknown format - accepted media types "
                "include: application/json-patch+json, application/merge-patch+json, "
                "application/strategic-merge-patch+json");
    a = ask_typed("PATCH", CMS "/a", "application/strategic-merge-patch+json",
                  "{\"metadata\":{\"labels\":{\"y\":\"2\"}}}");
    expect_part(a, 200, "\"labels\":{\"x\":\"1\",\"y\":\"2\"}");
    a = ask_typed("PATCH", CMS "/a", "application/merge-patch+json",
                  "{\"metadata\":{\"resourceVersion\":\"1\"}}");
    expect_part(a, 409, "the object has been modified");
    a = ask_typed("PATCH", CMS "/a", "application/merge-patch+json",
                  "{\"metadata\":{\"uid\":\"other\"}}");
    expect_part(a, 409, "Precondition failed: UID in precondition: other, UID in object meta: ");
    a = ask_typed("PATCH", CMS "/zz", "application/merge-patch+json", "{}");
    expect_part(a, 404, NULL);
    /* Status and spec have a way each. */
    const char *nodes = "/api/v1/nodes";
    expect_answer("POST", nodes, "{\"metadata\":{\"name\":\"n\"}}", 201, NULL);
    a = ask_typed("PATCH", "/api/v1/nodes/n/status", "application/merge-patch+json",
                  "{\"spec\":{\"unschedulable\":true},\"status\":{\"phase\":\"Running\"}}");
    expect_part(a, 200, "\"phase\":\"Running\"");
    t_expect(strstr(a.body, "unschedulable") == NULL);
    a = ask_typed("PATCH", "/api/v1/nodes/n", "application/merge-patch+json",
                  "{\"spec\":{\"unschedulable\":true},\"status\":{\"phase\":\"Pending\"}}");
    expect_part(a, 200, "\"unschedulable\":true");
    t_expect(strstr(a.body, "Pending") == NULL);
    t_expect(t_get("/registry/minions/n") != NULL);
    t_close();
}

static void patches_are_applied(void **state)
{
    t_for_each_seed(SEEDS, patch_story);
}

/* Whether a list has an object. */
static bool lists(struct asked a, const char *name)
{
    char part[64];
    snprintf(part, sizeof part, "{\"metadata\":{\"name\":\"%s\"", name);
    return strstr(a.body, part) != NULL;
}

static void list_story(void)
{
    char token[256];
    char path[512];
    server_open_all();
    struct asked empty = ask("GET", CMS, "");
    expect_part(empty, 200, "\"items\":[]}");
    for (int i = 0; i < 5; i++) {
        char body[128];
        snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"n\":\"%d\"}}}",
                 i, i % 2);
        expect_answer("POST", CMS, body, 201, NULL);
    }
    struct asked all = ask("GET", "/api/v1/configmaps", "");
    expect_part(all, 200,
                "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{"
                "\"resourceVersion\":\"");
    t_expect(strstr(all.body, "\"items\":[{\"metadata\":{\"name\":\"c0\"") != NULL);
    t_expect(lists(all, "c4") && strstr(all.body, "\"kind\":\"ConfigMap\"") == NULL);
    struct asked some = ask("GET", CMS "?labelSelector=n%3D1", "");
    t_expect(lists(some, "c1") && lists(some, "c3"));
    t_expect(!lists(some, "c0") && !lists(some, "c2"));
    some = ask("GET", CMS "?fieldSelector=metadata.name%3Dc2", "");
    t_expect(lists(some, "c2") && !lists(some, "c1"));
    expect_answer("GET", CMS "?fieldSelector=spec.x%3D1", "", 400,
                  "field label not supported: spec.x");
    expect_answer("GET", CMS "?labelSelector=%3D%3D", "", 400,
                  "found '==', expected: !, identifier, or 'end of string'");
    /* Pages show one revision, whatever is written between them. */
    struct asked page = ask("GET", CMS "?limit=2", "");
    expect_part(page, 200, "\"remainingItemCount\":3");
    t_expect(lists(page, "c1") && !lists(page, "c2"));
    pick(page.body, "\"continue\":\"", token, sizeof token);
    expect_answer("DELETE", CMS "/c2", "", 200, NULL);
    snprintf(path, sizeof path, CMS "?limit=2&continue=%s", token);
    page = ask("GET", path, "");
    t_expect(lists(page, "c2") && lists(page, "c3"));
    t_expect(!lists(page, "c4") && !lists(page, "c1"));
    pick(page.body, "\"continue\":\"", token, sizeof token);
    snprintf(path, sizeof path, CMS "?limit=2&continue=%s", token);
    page = ask("GET", path, "");
    t_expect(lists(page, "c4") && strstr(page.body, "continue") == NULL);
    /* A page with a selector ends where the next match begins. */
    page = ask("GET", CMS "?limit=1&labelSelector=n%3D1", "");
    t_expect(lists(page, "c1") && !lists(page, "c3"));
    t_expect(strstr(page.body, "continue") != NULL && strstr(page.body, "remaining") == NULL);
    t_compact(0);
    page = ask("GET", path, "");
    expect_part(page, 410, "The provided continue parameter is too old");
    pick(page.body, "\"continue\":\"", token, sizeof token);
    snprintf(path, sizeof path, CMS "?limit=2&continue=%s", token);
    expect_answer("GET", path, "", 200, "\"name\":\"c4\"");
    expect_answer("GET", CMS "?continue=***", "", 400,
                  "invalid continue token: continue key is not valid");
    expect_answer("GET", CMS "?resourceVersion=1&resourceVersionMatch=Exact", "", 410,
                  "The resourceVersion for the provided list is too old.");
    expect_answer("GET", CMS "?resourceVersionMatch=Exact", "", 422,
                  "ListOptions.meta.k8s.io \\\"\\\" is invalid: resourceVersionMatch: Forbidden");
    expect_answer("GET", CMS "?resourceVersion=99999", "", 504,
                  "Timeout: Too large resource version: 99999, current: ");
    t_close();
}

static void lists_have_pages_and_selectors(void **state)
{
    t_for_each_seed(SEEDS, list_story);
}

/* A revision that comes while the client waits is answered. */
static void wait_story(void)
{
    char path[128];
    server_open_all();
    expect_answer("POST", CMS, cm, 201, NULL);
    snprintf(path, sizeof path, CMS "/a?resourceVersion=%lld", (long long)t_revision() + 1);
    struct t_http *x = begin_typed("GET", path, "", "");
    t_advance(1000);
    t_expect_int(t_http_ended(x), 0);
    t_put("/other", "1");
    struct asked a = finish(x);
    expect_part(a, 200, "\"name\":\"a\"");
    t_close();
}

static void readers_wait_for_a_revision(void **state)
{
    t_for_each_seed(SEEDS, wait_story);
}

static void delete_story(void)
{
    server_open_all();
    expect_answer("POST", CMS, "{\"metadata\":{\"name\":\"f\",\"finalizers\":[\"example.com/x\"]}}",
                  201, NULL);
    expect_answer("DELETE", CMS "/f", "{\"preconditions\":{\"uid\":\"no\"}}", 409,
                  "the UID in the precondition (no) does not match the UID in record (");
    expect_answer("DELETE", CMS "/f", "", 200, "\"deletionTimestamp\":\"");
    int64_t before = t_revision();
    expect_answer("DELETE", CMS "/f", "", 200, "\"deletionGracePeriodSeconds\":0");
    t_expect_int(t_revision(), before);
    struct asked a = ask_typed("PATCH", CMS "/f", "application/merge-patch+json",
                               "{\"metadata\":{\"finalizers\":[\"example.com/y\"]}}");
    expect_part(a, 422, "no new finalizers can be added if the object is being deleted");
    a = ask_typed("PATCH", CMS "/f", "application/merge-patch+json",
                  "{\"metadata\":{\"finalizers\":null}}");
    expect_part(a, 200, "\"name\":\"f\"");
    t_expect_value("/registry/configmaps/default/f", NULL);
    /* How dependents go is left as a finalizer. */
    expect_answer("POST", CMS, cm, 201, NULL);
    expect_answer("DELETE", CMS "/a?propagationPolicy=Sideways", "", 422, "Unsupported value");
    expect_answer("DELETE", CMS "/a", "{\"propagationPolicy\":\"Foreground\"}", 200,
                  "\"finalizers\":[\"foregroundDeletion\"]");
    expect_answer("DELETE", CMS "/a?propagationPolicy=Background", "", 200, "Success");
    for (int i = 0; i < 3; i++) {
        expect_answer("POST", CMS, "{\"metadata\":{\"generateName\":\"g-\"}}", 201, NULL);
    }
    expect_answer("POST", CMS, cm, 201, NULL);
    expect_answer("DELETE", CMS "?labelSelector=!x", "", 200, "\"kind\":\"ConfigMapList\"");
    t_expect_int(t_count("/registry/configmaps/default/"), 1);
    t_close();
}

static void deletion_waits_for_finalizers(void **state)
{
    t_for_each_seed(SEEDS, delete_story);
}

static void pod_story(void)
{
    const char *pods = "/api/v1/namespaces/default/pods";
    const char *pod = "/api/v1/namespaces/default/pods/p";
    server_open_all();
    expect_answer("POST", pods,
                  "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{"
                  "\"name\":\"c\",\"image\":\"i\"}]},\"status\":{\"phase\":\"Running\"}}",
                  201, "\"status\":{\"phase\":\"Pending\",\"qosClass\":\"BestEffort\"}}");
    expect_answer("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn", "", 200,
                  "\"restartPolicy\":\"Always\"");
    /* On a node it gets time to end; the kubelet deletes it at last. */
    expect_answer("DELETE", pod, "", 200, "\"deletionGracePeriodSeconds\":30");
    expect_answer("DELETE", pod, "{\"gracePeriodSeconds\":60}", 200,
                  "\"deletionGracePeriodSeconds\":30");
    expect_answer("DELETE", pod, "{\"gracePeriodSeconds\":5}", 200,
                  "\"deletionGracePeriodSeconds\":5");
    expect_answer("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0", "", 200,
                  "Success");
    expect_answer("GET", pod, "", 404, NULL);
    /* Leases are made by a PUT, and then need a version. */
    const char *lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    const char *body = "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"x\"}}";
    expect_answer("PUT", lease, body, 201, "\"holderIdentity\":\"x\"");
    expect_answer("PUT", lease, body, 422,
                  "metadata.resourceVersion: Invalid value: \\\"\\\": must be specified for an "
                  "update");
    /* Whoever means a certain object does not make another one. */
    expect_answer("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/g",
                  "{\"metadata\":{\"name\":\"g\",\"uid\":\"u\",\"resourceVersion\":\"3\"}}", 409,
                  "Precondition failed: UID in precondition: u, UID in object meta: ");
    t_close();
}

static void kinds_have_rules_of_their_own(void **state)
{
    t_for_each_seed(SEEDS, pod_story);
}

static void namespace_story(void)
{
    const char *nss = "/api/v1/namespaces";
    server_open_all();
    expect_answer("DELETE", "/api/v1/namespaces/default", "", 403,
                  "namespaces \\\"default\\\" is forbidden: this namespace may not be deleted");
    expect_answer("POST", nss, "{\"metadata\":{\"name\":\"t\"}}", 201,
                  "\"spec\":{\"finalizers\":[\"kubernetes\"]},\"status\":{\"phase\":\"Active\"}}");
    expect_answer("POST", "/api/v1/namespaces/t/configmaps", cm, 201, NULL);
    expect_answer("DELETE", "/api/v1/namespaces/t", "", 200, "\"phase\":\"Terminating\"");
    expect_answer("POST", "/api/v1/namespaces/t/secrets", "{\"metadata\":{\"name\":\"s\"}}", 403,
                  "unable to create new content in namespace t because it is being terminated");
    expect_answer("PUT", "/api/v1/namespaces/t/finalize",
                  "{\"metadata\":{\"name\":\"t\"},\"spec\":{}}", 200, NULL);
    t_expect_value("/registry/namespaces/t", NULL);
    t_close();
}

static void namespaces_end_in_two_steps(void **state)
{
    t_for_each_seed(SEEDS, namespace_story);
}

/* A namespace whose end begins between the look at it and the write. */
static void namespace_race_story(void)
{
    server_open_all();
    expect_answer("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"t\"}}", 201, NULL);
    t_hold("txn_commit");
    struct t_http *x =
        begin_typed("POST", "/api/v1/namespaces/t/configmaps", "application/json", cm);
    for (int i = 0; t_in_flight("txn_commit") == 0 && i < SERVER_WAIT_MS; i++) {
        t_advance(1);
    }
    expect_answer("DELETE", "/api/v1/namespaces/t", "", 200, "Terminating");
    t_release("txn_commit");
    struct asked a = finish(x);
    expect_part(a, 403, "namespace t is being terminated");
    t_expect_int(t_count("/registry/configmaps/t/"), 0);
    t_close();
}

static void nothing_slips_into_an_ending_namespace(void **state)
{
    t_for_each_seed(SEEDS, namespace_race_story);
}

static void events_story(void)
{
    server_open_all();
    expect_answer("POST", "/api/v1/namespaces/default/events",
                  "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace"
                  "\":\"default\",\"name\":\"p\"},\"message\":\"hello\",\"count\":3}",
                  201, NULL);
    expect_answer("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e", "", 200,
                  "\"note\":\"hello\"");
    expect_answer("GET", "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dp", "", 200,
                  "\"deprecatedCount\":3");
    t_close();
}

static void events_of_both_groups_are_one(void **state)
{
    t_for_each_seed(SEEDS, events_story);
}

static void refusal_story(void)
{
    server_open(NULL);
    expect_answer("GET", CMS, "", 403,
                  "\"message\":\"configmaps is forbidden: User \\\"system:anonymous\\\" cannot "
                  "list resource \\\"configmaps\\\" in API group \\\"\\\" in the namespace "
                  "\\\"default\\\"\",\"reason\":\"Forbidden\"");
    expect_answer("GET", "/nothing", "", 403,
                  "forbidden: User \\\"system:anonymous\\\" cannot get path \\\"/nothing\\\"");
    expect_answer("GET", "/api", "", 403, "cannot get path");
    expect_answer("GET", "/version", "", 200, "\n  \"gitVersion\": \"v1.35.4\",\n");
    struct t_http_args a = {.size = sizeof a, .port = SERVER_PORT, .path = CMS "/x", .user = "eve"};
    struct asked refused = finish(t_http_open(&a));
    expect_part(refused, 403,
                "configmaps \\\"x\\\" is forbidden: User \\\"eve\\\" cannot get resource "
                "\\\"configmaps\\\" in API group \\\"\\\" in the namespace \\\"default\\\"");
    a.path = "/api/v1/namespaces/default";
    refused = finish(t_http_open(&a));
    expect_part(refused, 403, "in the namespace \\\"default\\\"");
    a.path = "/api/v1";
    expect_part(finish(t_http_open(&a)), 200, "APIResourceList");
    a.path = CMS "/x";
    a.group = "system:masters";
    expect_part(finish(t_http_open(&a)), 404, "not found");
    t_close();
}

static void without_authorization_nobody_may(void **state)
{
    t_for_each_seed(SEEDS, refusal_story);
}

static void path_story(void)
{
    server_open_all();
    struct asked a = ask("GET", "/api/v1/nothings", "");
    expect_part(a, 404, "404 page not found");
    t_expect(strcmp(t_http_header(a.x, "content-type"), "text/plain; charset=utf-8") == 0);
    expect_answer("DELETE", "/api/v1/namespaces", "", 405,
                  "deletecollection is not supported on resources of kind \\\"namespaces\\\"");
    expect_answer("GET", CMS "?limit=x", "", 400, "strconv.ParseInt");
    struct kvp_pair accept = {kvp_str("accept"), kvp_str("application/vnd.kubernetes.protobuf")};
    struct t_http_args args = {.size = sizeof args,
                               .port = SERVER_PORT,
                               .path = CMS,
                               .headers = &accept,
                               .header_count = 1};
    a = finish(t_http_open(&args));
    expect_part(a, 406, "only the following media types are accepted: application/json");
    args.method = "HEAD";
    args.path = "/api/v1/namespaces/default";
    args.header_count = 0;
    a = finish(t_http_open(&args));
    t_expect_int(a.status, 200);
    t_expect_int(t_http_body(a.x).len, 0);
    t_close();
}

static void paths_answer_for_themselves(void **state)
{
    t_for_each_seed(SEEDS, path_story);
}

static void discovery_story(void)
{
    server_open_all();
    expect_answer("GET", "/api", "", 200, "\"versions\":[\"v1\"]");
    expect_answer("GET", "/apis", "", 200,
                  "{\"name\":\"apps\",\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1"
                  "\"}],\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}");
    expect_answer("GET", "/apis/apps/", "", 200, "{\"kind\":\"APIGroup\"");
    expect_answer("GET", "/apis/nothing", "", 404, NULL);
    expect_answer("GET", "/api/v1", "", 200,
                  "{\"name\":\"configmaps\",\"singularName\":\"configmap\",\"namespaced\":true,"
                  "\"kind\":\"ConfigMap\",\"verbs\":[\"create\",\"delete\",\"deletecollection\","
                  "\"get\",\"list\",\"patch\",\"update\",\"watch\"],\"shortNames\":[\"cm\"],"
                  "\"storageVersionHash\":\"qFsyl6wFWjQ=\"},{\"name\":\"endpoints\"");
    expect_answer("GET", "/apis/apps/v1", "", 200, "\"name\":\"deployments/status\"");
    struct kvp_pair accept[2] = {
        {kvp_str("accept"),
         kvp_str("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
                 "application/json")}};
    struct t_http_args args = {.size = sizeof args,
                               .port = SERVER_PORT,
                               .path = "/apis",
                               .headers = accept,
                               .header_count = 1};
    struct asked a = finish(t_http_open(&args));
    expect_part(
        a, 200,
        "{\"metadata\":{\"name\":\"apps\"},\"versions\":[{\"version\":\"v1\",\"resources\":[{"
        "\"resource\":\"deployments\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":"
        "\"Deployment\"},\"scope\":\"Namespaced\"");
    t_expect(strcmp(t_http_header(a.x, "content-type"),
                    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList") == 0);
    accept[1] = (struct kvp_pair){kvp_str("if-none-match"), kvp_str(t_http_header(a.x, "etag"))};
    args.header_count = 2;
    a = finish(t_http_open(&args));
    t_expect_int(a.status, 304);
    expect_answer("GET", "/readyz", "", 200, "ok");
    expect_answer("GET", "/readyz?verbose", "", 200,
                  "[+]ping ok\n[+]etcd ok\nreadyz check passed\n");
    expect_answer("GET", "/livez/ping", "", 200, "ok");
    t_fail("get", 1, KVP_UNAVAILABLE);
    expect_answer("GET", "/healthz", "", 500, "[-]etcd failed: reason withheld");
    expect_answer("GET", "/healthz/nothing", "", 404, NULL);
    t_close();
}

static void what_is_served_is_told(void **state)
{
    t_for_each_seed(SEEDS, discovery_story);
}

/* Whatever fails, every request is answered or broken off, and nothing is lost or leaks. */
static void chaos_story(void)
{
    server_open_all();
    t_chaos(20);
    struct t_http *x[12];
    for (size_t i = 0; i < 12; i++) {
        static const char *const ways[][3] = {
            {"POST", CMS, cm},
            {"PUT", CMS "/a", "{\"metadata\":{\"name\":\"a\"},\"data\":{\"z\":\"1\"}}"},
            {"GET", CMS "?limit=1", ""},
            {"DELETE", CMS "/a", ""},
            {"DELETE", CMS, ""},
            {"GET", CMS "?watch=1&timeoutSeconds=2", ""},
        };
        x[i] = begin_typed(ways[i % 6][0], ways[i % 6][1], "application/json", ways[i % 6][2]);
        t_advance(t_random(4));
    }
    t_http_cancel(x[t_random(12)]);
    t_advance(10000);
    for (size_t i = 0; i < 12; i++) {
        t_expect(t_http_ended(x[i]) != 0);
    }
    t_chaos(0);
    t_close();
}

static void all_is_answered_in_chaos(void **state)
{
    t_for_each_seed(40, chaos_story);
}

static void alloc_story(void)
{
    if (t_open(kvplugin_entry(), "insecure-allow-all=true") != 0) {
        t_close();
        return;
    }
    t_lead(1);
    t_advance(5000);
    struct t_http *x = begin_typed("POST", CMS, "application/json", cm);
    t_advance(1000);
    t_expect(t_http_ended(x) != 0);
    t_close();
}

static void memory_may_fail(void **state)
{
    t_on_failure(server_failed);
    t_for_each_alloc(alloc_story);
}

/* Allocation after allocation of the plugin's own fails: each request is answered or broken off,
 * and the next one is fine. */
static void every_allocation_may_fail(void **state)
{
    static const char *const ways[][3] = {
        {"POST", CMS, "{\"metadata\":{\"name\":\"m\"}}"},
        {"PUT", CMS "/a", "{\"metadata\":{\"name\":\"a\"},\"data\":{\"z\":\"1\"}}"},
        {"GET", CMS "?limit=1", ""},
        {"GET", "/apis", ""},
        {"DELETE", CMS "/a", "{\"propagationPolicy\":\"Foreground\"}"},
        {"GET", CMS "?watch=1&timeoutSeconds=1&labelSelector=x", ""},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        bool failed = true;
        uint64_t n;
        for (n = 1; failed && n < 1000; n++) {
            server_open_all();
            expect_answer("POST", CMS, cm, 201, NULL);
            struct t_http *x = begin_typed(ways[i][0], ways[i][1], "application/json", ways[i][2]);
            mem_fail_after(n);
            t_advance(3000);
            failed = mem_fail_left() == 0;
            mem_fail_after(0);
            t_expect(t_http_ended(x) != 0);
            expect_answer("GET", CMS "?limit=1", "", 200, NULL);
            t_close();
        }
        assert_false(failed);
        assert_true(n > 4); /* some did fail */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_live_and_die),
        cmocka_unit_test(creation_has_rules),
        cmocka_unit_test(heads_stay_small),
        cmocka_unit_test(writers_compete),
        cmocka_unit_test(patches_are_applied),
        cmocka_unit_test(lists_have_pages_and_selectors),
        cmocka_unit_test(readers_wait_for_a_revision),
        cmocka_unit_test(deletion_waits_for_finalizers),
        cmocka_unit_test(kinds_have_rules_of_their_own),
        cmocka_unit_test(namespaces_end_in_two_steps),
        cmocka_unit_test(nothing_slips_into_an_ending_namespace),
        cmocka_unit_test(events_of_both_groups_are_one),
        cmocka_unit_test(without_authorization_nobody_may),
        cmocka_unit_test(paths_answer_for_themselves),
        cmocka_unit_test(what_is_served_is_told),
        cmocka_unit_test(all_is_answered_in_chaos),
        cmocka_unit_test(memory_may_fail),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
