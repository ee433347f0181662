/* test_rules - what holds for writes of all kinds: creation, change, deletion, dry runs, managers,
 * validation of fields, patches, time and size. In the order of the contract's sections 1.8 - 1.12.
 */
#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "tests/unit/apiserver/server.h"

#define SEEDS 4u
#define CORE  "/api/v1/namespaces/default/"
#define APPS  "/apis/apps/v1/namespaces/default/"
#define MERGE "application/merge-patch+json"
#define JSONP "application/json-patch+json"
#define SMP   "application/strategic-merge-patch+json"

#define POD(name)                                                                                \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":" \
    "\"i\"}]}}"
#define WORK(name, replicas)                                                                       \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"replicas\":" replicas                       \
    ",\"selector\":{\"matchLabels\":{\"a\":\"1\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":" \
    "\"1\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"

static void expect_patch(const char *type, const char *path, const char *body, uint32_t code,
                         const char *part)
{
    struct asked a = ask_typed("PATCH", path, type, body);
    expect_part(a, code, part);
}

static bool has(struct asked a, const char *part)
{
    return strstr(a.body, part) != NULL;
}

/* ---- 1.8 create and update ---- */

static void create_story(void)
{
    server_open_all();
    struct asked a = ask("POST", CORE "configmaps",
                         "{\"metadata\":{\"name\":\"a\",\"uid\":\"mine\",\"selfLink\":\"/x\","
                         "\"generation\":7,\"creationTimestamp\":\"2001-01-01T00:00:00Z\","
                         "\"deletionTimestamp\":\"2001-01-01T00:00:00Z\","
                         "\"deletionGracePeriodSeconds\":4}}");
    expect_part(a, 201, "\"uid\":\"");
    t_expect(!has(a, "mine") && !has(a, "selfLink") && !has(a, "generation") &&
             !has(a, "2001-01-01") && !has(a, "deletion"));
    a = ask(
        "POST", CORE "configmaps",
        "{\"metadata\":{\"generateName\":\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefff"
        "fffffffgggggggggg-\"}}");
    expect_part(a, 201, "\"name\":\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffff");
    char name[128];
    pick(a.body, "\"metadata\":{\"name\":\"", name, sizeof name);
    t_expect_int(strlen(name), 63);
    t_expect(strspn(name + 58, "bcdfghjklmnpqrstvwxz2456789") == 5);
    /* Generations are counted, or not. */
    expect_answer("POST", CORE "pods", POD("p"), 201, "\"generation\":1");
    expect_answer("POST", APPS "deployments", WORK("d", "1"), 201, "\"generation\":1");
    expect_patch(MERGE, APPS "deployments/d", "{\"spec\":{\"replicas\":2}}", 200,
                 "\"generation\":2");
    expect_patch(MERGE, APPS "deployments/d", "{\"metadata\":{\"annotations\":{\"x\":\"1\"}}}", 200,
                 "\"generation\":3");
    expect_patch(MERGE, APPS "deployments/d", "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}", 200,
                 "\"generation\":3");
    expect_patch(MERGE, APPS "deployments/d/status", "{\"status\":{\"replicas\":2}}", 200,
                 "\"generation\":3");
    expect_answer("POST", APPS "replicasets", WORK("r", "1"), 201, "\"generation\":1");
    expect_patch(MERGE, APPS "replicasets/r", "{\"metadata\":{\"annotations\":{\"x\":\"1\"}}}", 200,
                 "\"generation\":1");
    expect_answer("POST", CORE "services",
                  "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":1}]}}", 201, NULL);
    a = ask("GET", CORE "services/s", "");
    t_expect(!has(a, "generation"));
    /* A delete that waits counts. */
    expect_patch(MERGE, APPS "replicasets/r", "{\"metadata\":{\"finalizers\":[\"a/b\"]}}", 200,
                 "\"generation\":1");
    expect_answer("DELETE", APPS "replicasets/r", "", 200, "\"generation\":2");
    /* Owners twice. */
    a = ask(
        "POST", CORE "configmaps",
        "{\"metadata\":{\"name\":\"o\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":"
        "\"Pod\",\"name\":\"p\",\"uid\":\"u\"},{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":"
        "\"p\",\"uid\":\"u\"}]}}");
    expect_part(a, 201,
                "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\","
                "\"uid\":\"u\"}]");
    t_expect(strstr(t_http_header(a.x, "warning"), "duplicate UID(s) observed: u") != NULL);
    expect_answer(
        "POST", CORE "configmaps",
        "{\"metadata\":{\"name\":\"o2\",\"ownerReferences\":[{\"apiVersion\":\"v1\","
        "\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"u\",\"controller\":true},{\"apiVersion\":"
        "\"v1\",\"kind\":\"Pod\",\"name\":\"q\",\"uid\":\"w\",\"controller\":true}]}}",
        422, "Only one reference can have Controller set to true");
    expect_answer("POST", CORE "configmaps",
                  "{\"metadata\":{\"name\":\"o2\",\"ownerReferences\":[{\"apiVersion\":\"v1\","
                  "\"kind\":\"Event\",\"name\":\"p\",\"uid\":\"u\"}]}}",
                  422, "is disallowed from being an owner");
    /* Deprecated kinds warn, however they are asked for. */
    a = ask("GET", CORE "endpoints", "");
    expect_part(a, 200, NULL);
    t_expect(strcmp(t_http_header(a.x, "warning"),
                    "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 "
                    "EndpointSlice\"") == 0);
    t_close();
}

static void creation(void **state)
{
    t_for_each_seed(SEEDS, create_story);
}

/* Kinds that a PUT makes, and those that it does not. */
static void put_story(void)
{
    static const struct {
        const char *path, *body;
        uint32_t code;
    } rows[] = {
        {"/apis/coordination.k8s.io/v1/namespaces/default/leases/x",
         "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"holderIdentity\":\"h\"}}", 201},
        {CORE "endpoints/x", "{\"metadata\":{\"name\":\"x\"}}", 201},
        {CORE "events/x",
         "{\"metadata\":{\"name\":\"x\"},\"involvedObject\":{\"namespace\":\"default\"}}", 201},
        {CORE "services/x", "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"ports\":[{\"port\":1}]}}",
         201},
        {CORE "configmaps/x", "{\"metadata\":{\"name\":\"x\"}}", 404},
        {CORE "secrets/x", "{\"metadata\":{\"name\":\"x\"}}", 404},
        {CORE "serviceaccounts/x", "{\"metadata\":{\"name\":\"x\"}}", 404},
        {CORE "pods/x", POD("x"), 404},
        {"/api/v1/nodes/x", "{\"metadata\":{\"name\":\"x\"}}", 404},
        {"/api/v1/namespaces/x", "{\"metadata\":{\"name\":\"x\"}}", 404},
        {APPS "deployments/x", WORK("x", "1"), 404},
        {APPS "replicasets/x", WORK("x", "1"), 404},
        {"/apis/scheduling.k8s.io/v1/priorityclasses/x",
         "{\"metadata\":{\"name\":\"x\"},\"value\":1}", 404},
        {"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/x",
         "{\"metadata\":{\"name\":\"x\"},\"addressType\":\"IPv4\",\"endpoints\":[]}", 404},
    };
    server_open_all();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_answer("PUT", rows[i].path, rows[i].body, rows[i].code, NULL);
    }
    /* Without a version: refused for leases, else the newest is meant. */
    expect_answer("PUT", rows[0].path, rows[0].body, 422,
                  "metadata.resourceVersion: Invalid value: \\\"\\\": must be specified for an "
                  "update");
    int64_t before = t_revision();
    expect_answer("PUT", rows[1].path, rows[1].body, 200, NULL);
    t_expect_int(t_revision(), before); /* a change that is none */
    expect_patch(MERGE, rows[1].path, "{\"metadata\":{\"labels\":{}}}", 200, NULL);
    expect_patch(JSONP, rows[1].path, "[]", 200, NULL);
    expect_patch(SMP, rows[1].path, "{}", 200, NULL);
    t_expect_int(t_revision(), before);
    t_close();
}

static void puts_make(void **state)
{
    t_for_each_seed(SEEDS, put_story);
}

static void update_story(void)
{
    server_open_all();
    expect_answer("POST", CORE "configmaps", "{\"metadata\":{\"name\":\"a\"}}", 201, NULL);
    expect_answer("PUT", CORE "configmaps/a", "{\"metadata\":{\"name\":\"a\",\"uid\":\"no\"}}", 409,
                  "Precondition failed: UID in precondition: no, UID in object meta: ");
    expect_answer("PUT", CORE "configmaps/a", "{\"metadata\":{\"name\":\"b\"}}", 400,
                  "the name of the object (b) does not match the name on the URL (a)");
    expect_answer("PUT", CORE "configmaps/a",
                  "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}", 400,
                  "the namespace of the provided object does not match the namespace sent");
    struct asked a =
        ask("PUT", CORE "configmaps/a",
            "{\"metadata\":{\"name\":\"a\",\"creationTimestamp\":"
            "\"2001-01-01T00:00:00Z\",\"deletionTimestamp\":\"2001-01-01T00:00:00Z\"}}");
    expect_part(a, 200, NULL);
    t_expect(!has(a, "2001-01-01"));
    expect_answer("PUT", CORE "configmaps/a",
                  "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"x\"}}", 422,
                  "metadata.resourceVersion: Invalid value: \\\"x\\\"");
    /* Each way writes its own half. */
    expect_answer("POST", CORE "pods",
                  "{\"metadata\":{\"name\":\"p\",\"ownerReferences\":[{\"apiVersion\":\"v1\","
                  "\"kind\":\"Node\",\"name\":\"n\",\"uid\":\"u\"}]},\"spec\":{\"restartPolicy\":"
                  "\"OnFailure\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]},\"status\":{"
                  "\"phase\":\"Running\"}}",
                  201, "\"phase\":\"Pending\"");
    expect_patch(MERGE, CORE "pods/p", "{\"status\":{\"phase\":\"Running\"}}", 200,
                 "\"phase\":\"Pending\"");
    expect_patch(
        MERGE, CORE "pods/p/status",
        "{\"metadata\":{\"ownerReferences\":null,\"labels\":{\"l\":\"1\"},"
        "\"deletionTimestamp\":\"2001-01-01T00:00:00Z\"},\"spec\":{\"nodeName\":\"n\"},"
        "\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\",\"image\":"
        "\"i\",\"state\":{\"terminated\":{\"exitCode\":0}}}]}}",
        200, "\"phase\":\"Running\"");
    a = ask("GET", CORE "pods/p", "");
    t_expect(has(a, "ownerReferences") && has(a, "\"labels\":{\"l\":\"1\"}") &&
             !has(a, "nodeName") && !has(a, "2001-01-01"));
    /* What has ended stays ended, unless it failed and is to be started again. */
    expect_patch(MERGE, CORE "pods/p/status",
                 "{\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"image\":\"i\",\"state\":{"
                 "\"running\":{}}}]}}",
                 422,
                 "status.containerStatuses[0].state: Forbidden: may not be transitioned to "
                 "non-terminated state");
    expect_patch(MERGE, CORE "pods/p/status",
                 "{\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"image\":\"i\",\"state\":{"
                 "\"terminated\":{\"exitCode\":3}}}]}}",
                 200, NULL);
    expect_patch(MERGE, CORE "pods/p/status",
                 "{\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"image\":\"i\",\"state\":{"
                 "\"running\":{}}}]}}",
                 200, "\"running\"");
    expect_patch(MERGE, CORE "pods/p/status", "{\"status\":{\"nominatedNodeName\":\"A_B\"}}", 422,
                 "status.nominatedNodeName: Invalid value: \\\"A_B\\\"");
    expect_answer("POST", APPS "deployments", WORK("d", "1"), 201, NULL);
    expect_patch(MERGE, APPS "deployments/d/status",
                 "{\"metadata\":{\"labels\":{\"l\":\"1\"}},\"spec\":{\"replicas\":9},\"status\":{"
                 "\"replicas\":4}}",
                 200, "\"status\":{\"replicas\":4}");
    a = ask("GET", APPS "deployments/d", "");
    t_expect(!has(a, "\"l\":\"1\"") && has(a, "\"replicas\":1"));
    expect_answer("GET", APPS "deployments/d/status", "", 200, "\"replicas\":4");
    t_close();
}

static void updates(void **state)
{
    t_for_each_seed(SEEDS, update_story);
}

/* ---- 1.9 delete ---- */

static void delete_story(void)
{
    server_open_all();
    /* A pod on a node gets its grace, from the request, else from itself. */
    expect_answer("POST", CORE "pods",
                  "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\","
                  "\"terminationGracePeriodSeconds\":11,\"containers\":[{\"name\":\"c\",\"image\":"
                  "\"i\"}]}}",
                  201, NULL);
    expect_answer("DELETE", CORE "pods/p", "", 200, "\"deletionGracePeriodSeconds\":11");
    expect_answer("DELETE", CORE "pods/p", "{\"gracePeriodSeconds\":12}", 200,
                  "\"deletionGracePeriodSeconds\":11");
    expect_answer("DELETE", CORE "pods/p?gracePeriodSeconds=-5", "", 200,
                  "\"deletionGracePeriodSeconds\":1");
    expect_answer("DELETE", CORE "pods/p?gracePeriodSeconds=0", "", 200, "Success");
    /* Ended or without a node: at once. */
    expect_answer("POST", CORE "pods", POD("q"), 201, NULL);
    expect_answer("DELETE", CORE "pods/q", "", 200, "Success");
    expect_answer("POST", CORE "pods",
                  "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{"
                  "\"name\":\"c\",\"image\":\"i\"}]}}",
                  201, NULL);
    expect_patch(MERGE, CORE "pods/q/status", "{\"status\":{\"phase\":\"Failed\"}}", 200, NULL);
    expect_answer("DELETE", CORE "pods/q", "", 200, "Success");
    /* Options. */
    expect_answer("POST", CORE "configmaps", "{\"metadata\":{\"name\":\"a\"}}", 201, NULL);
    expect_answer("DELETE", CORE "configmaps/a",
                  "{\"orphanDependents\":true,\"propagationPolicy\":\"Background\"}", 422,
                  "orphanDependents and deletionPropagation cannot be both set");
    expect_answer("DELETE", CORE "configmaps/a", "{\"dryRun\":[\"Some\"]}", 422,
                  "dryRun: Unsupported value: \\\"Some\\\": supported values: \\\"All\\\"");
    expect_answer("DELETE", CORE "configmaps/a", "{\"gracePeriodSeconds\":\"x\"}", 400,
                  "json: cannot unmarshal string");
    expect_answer(
        "DELETE", CORE "configmaps/a", "{\"preconditions\":{\"resourceVersion\":\"1\"}}", 409,
        "the ResourceVersion in the precondition (1) does not match the ResourceVersion in "
        "record (");
    expect_answer("DELETE", CORE "configmaps/a", "{\"dryRun\":[\"All\"]}", 200, "Success");
    expect_answer("DELETE", CORE "configmaps/a?propagationPolicy=Orphan", "", 200,
                  "\"finalizers\":[\"orphan\"]");
    expect_answer("DELETE", CORE "configmaps/a?propagationPolicy=Foreground", "", 200,
                  "\"finalizers\":[\"foregroundDeletion\"]");
    expect_answer("DELETE", CORE "configmaps/a?orphanDependents=false", "", 200, "Success");
    /* Replication controllers leave their pods, all others take them along. */
    expect_answer(
        "POST", CORE "replicationcontrollers",
        "{\"metadata\":{\"name\":\"rc\"},\"spec\":{\"template\":{\"metadata\":{\"labels\":{"
        "\"a\":\"1\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
        201, NULL);
    expect_answer("DELETE", CORE "replicationcontrollers/rc", "", 200,
                  "\"finalizers\":[\"orphan\"]");
    expect_answer("POST", APPS "replicasets", WORK("r", "1"), 201, NULL);
    expect_answer("DELETE", APPS "replicasets/r", "", 200, "Success");
    /* Namespaces. */
    expect_answer("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"t\"}}", 201, NULL);
    expect_answer("DELETE", "/api/v1/namespaces/t", "", 200, "\"phase\":\"Terminating\"");
    expect_answer("DELETE", "/api/v1/namespaces/t", "", 200, "\"phase\":\"Terminating\"");
    static const char *const kept[] = {"default", "kube-system", "kube-public"};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "/api/v1/namespaces/%s", kept[i]);
        expect_answer("DELETE", path, "", 403, "this namespace may not be deleted");
    }
    expect_answer(
        "PUT", "/api/v1/namespaces/t/finalize",
        "{\"metadata\":{\"name\":\"t\"},\"spec\":{\"finalizers\":[\"kubernetes\",\"a/b\"]}}", 200,
        "\"finalizers\":[\"kubernetes\",\"a/b\"]");
    expect_answer("PUT", "/api/v1/namespaces/t/finalize",
                  "{\"metadata\":{\"name\":\"t\"},\"spec\":{\"finalizers\":[\"no name\"]}}", 422,
                  "spec.finalizers[0]: Invalid value: \\\"no name\\\"");
    expect_patch(MERGE, "/api/v1/namespaces/t/status", "{\"status\":{\"phase\":\"Active\"}}", 422,
                 "status.phase: Invalid value: \\\"Active\\\": may only be 'Terminating' if "
                 "`deletionTimestamp` is not empty");
    expect_patch(MERGE, "/api/v1/namespaces/default/status",
                 "{\"status\":{\"phase\":\"Terminating\"}}", 422,
                 "may only be 'Active' if `deletionTimestamp` is empty");
    expect_answer("PATCH", "/api/v1/namespaces/t/finalize", "{}", 405, NULL);
    expect_answer("PUT", "/api/v1/namespaces/t/finalize",
                  "{\"metadata\":{\"name\":\"t\"},\"spec\":{}}", 200, NULL);
    expect_answer("GET", "/api/v1/namespaces/t", "", 404, NULL);
    expect_answer("DELETE", "/api/v1/namespaces", "", 405, "deletecollection is not supported");
    t_close();
}

static void deletion(void **state)
{
    t_for_each_seed(SEEDS, delete_story);
}

/* ---- 1.10 dry runs ---- */

static void dry_story(void)
{
    server_open_all();
    expect_answer("POST", CORE "configmaps", "{\"metadata\":{\"name\":\"a\"}}", 201, NULL);
    expect_answer("POST", APPS "replicasets", WORK("r", "1"), 201, NULL);
    int64_t before = t_revision();
    expect_answer("POST", CORE "configmaps?dryRun=All", "{\"metadata\":{\"generateName\":\"g-\"}}",
                  201, "\"name\":\"g-");
    expect_answer("PUT", CORE "configmaps/a?dryRun=All",
                  "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", 200, "\"k\":\"v\"");
    expect_answer("PUT", CORE "endpoints/e?dryRun=All", "{\"metadata\":{\"name\":\"e\"}}", 201,
                  NULL);
    expect_patch(MERGE, CORE "configmaps/a?dryRun=All", "{\"data\":{\"k\":\"v\"}}", 200,
                 "\"k\":\"v\"");
    expect_patch(MERGE, APPS "replicasets/r/status?dryRun=All", "{\"status\":{\"replicas\":3}}",
                 200, "\"replicas\":3");
    expect_patch(MERGE, APPS "replicasets/r/scale?dryRun=All", "{\"spec\":{\"replicas\":3}}", 200,
                 "\"replicas\":3");
    expect_answer("DELETE", CORE "configmaps/a?dryRun=All", "", 200, "Success");
    expect_answer("DELETE", CORE "configmaps?dryRun=All", "", 200, "ConfigMapList");
    expect_answer("POST", CORE "pods?dryRun=All", POD("p"), 201, "kube-api-access-");
    expect_answer("POST", CORE "pods?dryRun=All", "{\"metadata\":{\"name\":\"p\"},\"spec\":{}}",
                  422, "spec.containers: Required value");
    t_expect_int(t_revision(), before);
    static const char *const ways[][2] = {{"POST", CORE "configmaps?dryRun=x"},
                                          {"PUT", CORE "configmaps/a?dryRun=x"},
                                          {"DELETE", CORE "configmaps/a?dryRun=x"}};
    for (size_t i = 0; i < 3; i++) {
        expect_answer(ways[i][0], ways[i][1], "{\"metadata\":{\"name\":\"a\"}}", 422,
                      "dryRun: Unsupported value: \\\"x\\\": supported values: \\\"All\\\"");
    }
    expect_patch(MERGE, CORE "configmaps/a?dryRun=x", "{}", 422, "dryRun: Unsupported value");
    t_close();
}

static void dry_runs(void **state)
{
    t_for_each_seed(SEEDS, dry_story);
}

/* ---- 1.11 managers, validation of fields ---- */

static void manager_story(void)
{
    char path[256];
    char many[130];
    server_open_all();
    expect_answer("POST", CORE "configmaps",
                  "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", 201,
                  "\"manager\":\"tester\",\"operation\":\"Update\"");
    expect_patch(MERGE, CORE "configmaps/a?fieldManager=me", "{\"data\":{\"k\":\"w\"}}", 200,
                 "\"manager\":\"me\"");
    memset(many, 'm', 129);
    many[129] = 0;
    snprintf(path, sizeof path, CORE "configmaps?fieldManager=%s", many);
    expect_answer(
        "POST", path, "{\"metadata\":{\"name\":\"b\"}}", 422,
        "CreateOptions.meta.k8s.io \\\"\\\" is invalid: fieldManager: Too long: may not be "
        "more than 128 bytes");
    expect_answer("POST", CORE "configmaps?fieldManager=a%07b", "{\"metadata\":{\"name\":\"b\"}}",
                  422, "should only contain printable characters");
    /* Unknown and repeated fields: refused, warned of, passed over. */
    static const char twice[] = "{\"metadata\":{\"name\":\"v\"},\"data\":{\"a\":\"1\"},\"nope\":1,"
                                "\"immutable\":false,\"immutable\":true}";
    expect_answer(
        "POST", CORE "configmaps?fieldValidation=Strict", twice, 400,
        "ConfigMap in version \\\"v1\\\" cannot be handled as a ConfigMap: strict decoding "
        "error: unknown field \\\"nope\\\", duplicate field \\\"immutable\\\"");
    struct asked a = ask("POST", CORE "configmaps?fieldValidation=Warn&dryRun=All", twice);
    expect_part(a, 201, NULL);
    t_expect(t_http_header(a.x, "warning") != NULL);
    a = ask("POST", CORE "configmaps?dryRun=All", twice);
    t_expect(t_http_header(a.x, "warning") != NULL);
    a = ask("POST", CORE "configmaps?fieldValidation=Ignore&dryRun=All", twice);
    expect_part(a, 201, NULL);
    t_expect(t_http_header(a.x, "warning") == NULL);
    expect_answer("POST", CORE "configmaps?fieldValidation=Loud", twice, 422,
                  "fieldValidation: Unsupported value: \\\"Loud\\\"");
    a = ask_typed("POST", CORE "configmaps?fieldValidation=Strict", "application/yaml",
                  "metadata:\n  name: yml\ndata:\n  a: \"1\"\n  a: \"2\"\n");
    expect_part(a, 400, "line 5: key \\\"a\\\" already set in map");
    static const char *const patches[][2] = {
        {MERGE, "{\"spec\":{\"x\":1}}"},
        {SMP, "{\"spec\":{\"x\":1}}"},
        {JSONP, "[{\"op\":\"add\",\"path\":\"/spec\",\"value\":{\"x\":1}}]"}};
    for (size_t i = 0; i < 3; i++) {
        expect_patch(patches[i][0], CORE "configmaps/a?fieldValidation=Strict", patches[i][1], 422,
                     " \\\"\\\" is invalid: patch: Invalid value: ");
        expect_patch(patches[i][0], CORE "configmaps/a?fieldValidation=Strict", patches[i][1], 422,
                     "strict decoding error: unknown field \\\"spec\\\"");
        a = ask_typed("PATCH", CORE "configmaps/a", patches[i][0], patches[i][1]);
        expect_part(a, 200, NULL);
        t_expect(strstr(t_http_header(a.x, "warning"), "unknown field") != NULL);
    }
    t_close();
}

static void managers(void **state)
{
    t_for_each_seed(SEEDS, manager_story);
}

/* ---- 1.12 patches ---- */

static void patch_story(void)
{
    server_open_all();
    expect_answer("POST", CORE "configmaps",
                  "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", 201, NULL);
    /* What is no patch, and what makes no object. */
    expect_patch(MERGE, CORE "configmaps/a", "{", 400, "unexpected end of JSON input");
    expect_patch(MERGE, CORE "configmaps/a", "[]", 400, "json: cannot unmarshal array");
    expect_patch(JSONP, CORE "configmaps/a", "{}", 400, NULL);
    expect_patch(JSONP, CORE "configmaps/a", "[{\"op\":\"test\",\"path\":\"/data/k\",\"value\":1}]",
                 422, "the server rejected our request due to an error in our request");
    expect_patch(JSONP, CORE "configmaps/a", "[{\"op\":\"remove\",\"path\":\"/data/none\"}]", 422,
                 "the server rejected our request due to an error in our request");
    expect_patch(
        MERGE, CORE "configmaps/a", "{\"data\":7}", 422,
        "patch: Invalid value: \\\"{\\\\\\\"data\\\\\\\":7}\\\": json: cannot unmarshal number "
        "into Go struct field ConfigMap.data of type map[string]string");
    expect_patch("text/plain", CORE "configmaps/a", "{}", 415, "UnsupportedMediaType");
    expect_patch(MERGE, CORE "configmaps/none", "{}", 404, "configmaps \\\"none\\\" not found");
    expect_patch(MERGE, CORE "configmaps/a", "{\"metadata\":{\"name\":\"b\"}}", 400,
                 "the name of the object (b) does not match the name on the URL (a)");
    expect_patch(
        MERGE, CORE "configmaps/a?force=true", "{}", 422,
        "PatchOptions.meta.k8s.io \\\"\\\" is invalid: force: Forbidden: may not be specified "
        "for non-apply patch");
    /* Too many operations. */
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "[");
    for (int i = 0; i < 10001; i++) {
        buf_append_str(&b, i > 0 ? "," : "");
        buf_append_str(&b, "{\"op\":\"add\",\"path\":\"/data/x\",\"value\":\"1\"}");
    }
    buf_append_str(&b, "]");
    buf_append_byte(&b, 0);
    expect_patch(JSONP, CORE "configmaps/a", (const char *)b.data, 413, "10000");
    buf_close(&b);
    t_close();
}

static void patches(void **state)
{
    t_for_each_seed(SEEDS, patch_story);
}

/* Somebody writes between read and write of a patch: with a version it is refused, without it wins.
 */
static void patch_race_story(void)
{
    char body[128];
    server_open_all();
    for (int versioned = 0; versioned < 2; versioned++) {
        char path[64];
        snprintf(path, sizeof path, CORE "configmaps/r%d", versioned);
        snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"r%d\"}}", versioned);
        expect_answer("POST", CORE "configmaps", body, 201, NULL);
        snprintf(body, sizeof body,
                 versioned ? "{\"metadata\":{\"resourceVersion\":\"%lld\"},\"data\":{\"a\":\"1\"}}"
                           : "{\"data\":{\"a\":\"1\"}}",
                 (long long)t_revision());
        t_hold("put_if");
        struct t_http *x = begin_typed("PATCH", path, MERGE, body);
        for (int i = 0; t_in_flight("put_if") == 0 && i < SERVER_WAIT_MS; i++) {
            t_advance(1);
        }
        char key[64];
        snprintf(key, sizeof key, "/registry/configmaps/default/r%d", versioned);
        snprintf(body, sizeof body,
                 "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"r%d\","
                 "\"namespace\":\"default\",\"uid\":\"u\"}}",
                 versioned);
        t_put(key, body);
        t_release("put_if");
        struct asked a = finish(x);
        expect_part(a, versioned ? 409 : 200, versioned ? "has been modified" : "\"a\":\"1\"");
    }
    t_close();
}

static void patches_race(void **state)
{
    t_for_each_seed(SEEDS, patch_race_story);
}

/* ---- time, size, paths and methods ---- */

static void limit_story(void)
{
    server_open_all();
    expect_answer("POST", CORE "configmaps", "{\"metadata\":{\"name\":\"a\"}}", 201, NULL);
    /* The store does not answer. */
    t_hold("get");
    t_hold("range");
    uint64_t start = t_now();
    struct t_http *slow = begin_typed("PUT", CORE "configmaps/a", "application/json",
                                      "{\"metadata\":{\"name\":\"a\"},\"data\":{\"x\":\"1\"}}");
    struct t_http *quick = begin_typed("GET", CORE "configmaps/a?timeout=1500ms", "", "");
    struct t_http *watch = begin_typed("GET", CORE "configmaps?watch=1&timeout=1s", "", "");
    while (!t_http_ended(quick)) {
        t_advance(10);
    }
    t_expect(t_now() - start >= 1500 && t_now() - start < 1700);
    struct asked a = finish(quick);
    expect_part(a, 504,
                "\"message\":\"Timeout: request did not complete within the allotted timeout\","
                "\"reason\":\"Timeout\"");
    t_expect_int(t_http_ended(slow), 0);
    while (!t_http_ended(slow)) {
        t_advance(100);
    }
    t_expect(t_now() - start >= 60000 && t_now() - start < 60300);
    a = finish(slow);
    expect_part(a, 504, "did not complete within the allotted timeout");
    t_expect_int(t_http_ended(watch), 0);
    /* What was given up is not gone on with. */
    int64_t before = t_revision();
    t_release("get");
    t_release("range");
    t_advance(1000);
    t_expect_int(t_revision(), before);
    t_http_cancel(watch);
    expect_answer("GET", CORE "configmaps/a?timeout=soon", "", 400,
                  "invalid timeout specified in the request URL - time: invalid duration");
    expect_answer("GET", CORE "configmaps/a?timeout=1h2m3.5s", "", 200, NULL);
    /* Bodies. */
    size_t n = 3u * 1024u * 1024u + 1;
    char *large = mem_xzalloc(n + 1);
    memset(large, ' ', n);
    memcpy(large, "{\"metadata\":{\"name\":\"l\"}}", 25);
    expect_answer("POST", CORE "configmaps", large, 413,
                  "Request entity too large: limit is 3145728");
    large[n - 1] = 0;
    expect_answer("POST", CORE "configmaps", large, 201, NULL);
    mem_free(large);
    t_close();
}

static void limits(void **state)
{
    t_for_each_seed(SEEDS, limit_story);
}

static void method_story(void)
{
    server_open_all();
    expect_answer("POST", CORE "configmaps", "{\"metadata\":{\"name\":\"a\"}}", 201, NULL);
    /* The old way to watch. */
    struct t_http *x = begin_typed("GET",
                                   "/api/v1/watch/namespaces/default/configmaps/a"
                                   "?timeoutSeconds=2",
                                   "", "");
    struct t_http *y = begin_typed("GET", "/api/v1/watch/configmaps?timeoutSeconds=2", "", "");
    t_advance(500);
    expect_answer("POST", CORE "configmaps", "{\"metadata\":{\"name\":\"b\"}}", 201, NULL);
    struct asked a = finish(x);
    expect_part(a, 200, "{\"type\":\"ADDED\",\"object\":{");
    t_expect(has(a, "\"name\":\"a\"") && !has(a, "\"name\":\"b\""));
    a = finish(y);
    expect_part(a, 200, "\"name\":\"b\"");
    /* HEAD: the same without a body. */
    static const char *const heads[] = {
        CORE "configmaps/a", CORE "configmaps", "/version",
        "/healthz",          "/apis",           CORE "configmaps/none"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        a = ask("HEAD", heads[i], "");
        t_expect_int(a.status, i == 5 ? 404 : 200);
        t_expect_int(t_http_body(a.x).len, 0);
    }
    static const char *const wrong[][3] = {
        {"POST", CORE "configmaps/a", "post"},
        {"PUT", CORE "configmaps", "put"},
        {"PATCH", CORE "configmaps", "patch"},
        {"DELETE", "/api/v1/namespaces", "deletecollection"},
        {"DELETE", "/api/v1/configmaps", "deletecollection"},
        {"POST", "/api/v1/configmaps", "create"},
        {"DELETE", CORE "pods/p/status", "delete"},
        {"POST", CORE "pods/p/status", "create"},
        {"GET", CORE "pods/p/eviction", "get"},
        {"OPTIONS", CORE "configmaps", "options"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char part[64];
        snprintf(part, sizeof part, "\"message\":\"%s is not supported on resources of kind",
                 wrong[i][2]);
        expect_answer(wrong[i][0], wrong[i][1], "", 405, part);
    }
    expect_answer("POST", "/version", "", 405, NULL);
    static const char *const nowhere[] = {
        "/api/v2/pods",        "/apis/apps/v2/deployments",
        "/apis/none.io/v1/x",  CORE "nothings",
        CORE "pods/p/none",    CORE "pods/p/log/more",
        "/api/v1/nodes/n/x/y", "/api/v1/namespaces/default/nodes"};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        expect_answer("GET", nowhere[i], "", 404, "404 page not found");
    }
    t_close();
}

static void methods(void **state)
{
    t_for_each_seed(SEEDS, method_story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creation), cmocka_unit_test(puts_make),    cmocka_unit_test(updates),
        cmocka_unit_test(deletion), cmocka_unit_test(dry_runs),     cmocka_unit_test(managers),
        cmocka_unit_test(patches),  cmocka_unit_test(patches_race), cmocka_unit_test(limits),
        cmocka_unit_test(methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
