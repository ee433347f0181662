/* test_binding.c - bindings that are refused, lost, or never show: the plugin against a server
 * whose every answer the test writes, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <kvplugin-test.h>

#define BINDS_MAX 64

/* The server: nodes and pods in its first lists, a watch of pods, and what was asked for. */
static struct {
    const char *nodes, *pods; /* items */
    struct t_call *watch;     /* of pods */
    struct t_call *binds[BINDS_MAX];
    char bound[BINDS_MAX][64]; /* pod>node */
    size_t bind_count;
    struct t_call *get;
    size_t scheduled, failed; /* Events */
    size_t errors;            /* conditions with reason SchedulerError */
    int by_itself;            /* bindings are answered at once, and shown */
    int64_t revision;
} server;

static int is(struct kvp_bytes b, const char *text)
{
    return b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
}

static int has(struct kvp_bytes b, const char *text)
{
    return b.len > 0 && memmem(b.data, b.len, text, strlen(text)) != NULL;
}

#define POD(name, node, cpu)                                                                       \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"uid\":\"u-" name "\"},"      \
    "\"spec\":{\"schedulerName\":\"default-scheduler\",\"nodeName\":\"" node "\",\"containers\":[" \
    "{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"}}}]}}"
#define NODE(name, cpu)                                                                 \
    "{\"metadata\":{\"name\":\"" name "\"},\"status\":{\"allocatable\":{\"cpu\":\"" cpu \
    "\",\"memory\":\"1Gi\",\"pods\":\"9\"}}}"

static void answer_list(struct t_call *c, const struct kvp_object_request *r)
{
    char body[4096];
    const char *items = is(r->resource, "nodes")  ? server.nodes
                        : is(r->resource, "pods") ? server.pods
                                                  : "";
    snprintf(body, sizeof body, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[%s]}",
             items);
    t_answer(c, 200, body, 10);
}

static void show_bound(const char *pod, const char *node)
{
    char body[512];
    if (server.watch == NULL || t_call_gone(server.watch)) {
        return;
    }
    snprintf(body, sizeof body,
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"u-%s\","
             "\"resourceVersion\":\"%lld\"},\"spec\":{\"nodeName\":\"%s\"}}",
             pod, pod, (long long)server.revision, node);
    t_event(server.watch, "MODIFIED", body, server.revision);
}

static void keep_bind(struct t_call *c, const struct kvp_object_request *r)
{
    char body[512];
    snprintf(body, sizeof body, "%.*s", (int)r->body.len, (const char *)r->body.data);
    const char *node = strrchr(body, ':') + 2;
    assert_true(server.bind_count < BINDS_MAX);
    snprintf(server.bound[server.bind_count], sizeof server.bound[0], "%.*s>%.*s", (int)r->name.len,
             (const char *)r->name.data, (int)strcspn(node, "\""), node);
    server.binds[server.bind_count++] = c;
    if (server.by_itself) {
        char pod[32];
        snprintf(pod, sizeof pod, "%.*s", (int)r->name.len, (const char *)r->name.data);
        server.revision++;
        t_answer(c, 201, "{}", server.revision);
        show_bound(pod, strchr(server.bound[server.bind_count - 1], '>') + 1);
    }
}

static void on_request(void *data, struct t_call *c, const struct kvp_object_request *r,
                       const struct kvp_identity *identity)
{
    (void)data;
    (void)identity;
    switch (r->verb) {
    case KVP_VERB_LIST:
        answer_list(c, r);
        break;
    case KVP_VERB_WATCH:
        server.watch = is(r->resource, "pods") ? c : server.watch;
        break;
    case KVP_VERB_BIND:
        keep_bind(c, r);
        break;
    case KVP_VERB_GET:
        server.get = c;
        break;
    case KVP_VERB_CREATE:
        server.scheduled += has(r->body, "\"Scheduled\"") ? 1 : 0;
        server.failed += has(r->body, "\"FailedScheduling\"") ? 1 : 0;
        t_answer(c, 201, "{}", ++server.revision);
        break;
    default:
        server.errors += has(r->body, "\"SchedulerError\"") ? 1 : 0;
        t_answer(c, 200, "{}", ++server.revision);
        break;
    }
}

static int open_world(const char *nodes, const char *pods)
{
    memset(&server, 0, sizeof server);
    server.nodes = nodes;
    server.pods = pods;
    server.revision = 10;
    int rc = t_open(kvplugin_entry(), NULL);
    if (rc == 0) {
        t_provide("*", "*", "*", on_request, NULL);
        t_lead(5);
    }
    return rc;
}

/* Until so many bindings were asked for; false: not within so many virtual milliseconds. */
static int until_binds(size_t count, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && server.bind_count < count; i++) {
        t_advance(1);
    }
    return server.bind_count >= count;
}

#define REFUSAL                                                                                    \
    "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"not now\",\"reason\":\"Conflict\"," \
    "\"code\":409}"

/* Told once, tried again after its backoff; the room is given to who waits for it meanwhile. */
static void refused(void **state)
{
    (void)state;
    open_world(NODE("n", "1"), POD("a", "", "1") "," POD("b", "", "1"));
    t_expect(until_binds(1, 1000));
    t_advance(500);
    t_expect_int(server.bind_count, 1); /* the other one does not fit beside it */
    char first[2] = {server.bound[0][0], '\0'};
    size_t failed = server.failed;
    t_answer(server.binds[0], 409, REFUSAL, 0);
    t_expect(until_binds(2, 50));
    t_expect(server.bound[1][0] != first[0]);
    t_expect_int(server.errors, 1);
    t_expect_int(server.failed, failed + 1);
    t_answer(server.binds[1], 409, REFUSAL, 0);
    t_expect(until_binds(3, 1100));
    t_expect(server.bound[2][0] == first[0]);
    t_close();
}

#define GONE "{\"kind\":\"Status\",\"message\":\"no\",\"reason\":\"NotFound\",\"code\":404}"

/* The answer got lost: the pod is read, and what it says is so. */
static void unknown_and_written(void **state)
{
    (void)state;
    open_world(NODE("n", "4"), "");
    t_advance(100);
    t_fail_unknown("object", 1, 1);
    t_event(server.watch, "ADDED", POD("a", "", "1"), ++server.revision);
    t_expect(until_binds(1, 100));
    t_answer(server.binds[0], 201, "{}", ++server.revision); /* the plugin does not hear it */
    for (int i = 0; i < 100 && server.get == NULL; i++) {
        t_advance(1);
    }
    t_expect(server.get != NULL);
    t_answer(server.get, 200, POD("a", "n", "1"), ++server.revision);
    t_advance(5000);
    t_expect_int(server.bind_count, 1); /* not once more */
    t_expect_int(server.scheduled, 1);
    t_expect_int(server.errors, 0);
    t_close();
}

static void unknown_and_lost(void **state)
{
    (void)state;
    open_world(NODE("n", "4"), "");
    t_advance(100);
    t_fail_unknown("object", 1, 0);
    t_event(server.watch, "ADDED", POD("a", "", "1"), ++server.revision);
    for (int i = 0; i < 100 && server.get == NULL; i++) {
        t_advance(1);
    }
    t_expect(server.get != NULL);
    t_expect_int(server.bind_count, 0);
    t_answer(server.get, 200, POD("a", "", "1"), ++server.revision);
    t_expect(until_binds(1, 1100));
    t_close();
}

/* A binding that the server took and then forgot is made again, but not before it is certain. */
static void never_shown(void **state)
{
    (void)state;
    open_world(NODE("n", "4"), POD("a", "", "1"));
    t_expect(until_binds(1, 1000));
    t_answer(server.binds[0], 201, "{}", 20);
    t_advance(60000);
    t_expect_int(server.bind_count, 1); /* the watch has not come that far */
    t_event(server.watch, "BOOKMARK",
            "{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"30\"}}", 30);
    t_expect(until_binds(2, 2000));
    t_close();
}

/* Another pod of the same name is another pod. */
static void replaced_meanwhile(void **state)
{
    (void)state;
    open_world(NODE("n", "1"), POD("a", "", "1"));
    t_expect(until_binds(1, 1000));
    t_event(server.watch, "DELETED", POD("a", "", "1"), ++server.revision);
    t_advance(20);
    t_event(
        server.watch, "ADDED",
        "{\"metadata\":{\"name\":\"a\",\"namespace\":\"default\",\"uid\":\"u-2\"},\"spec\":{"
        "\"schedulerName\":\"default-scheduler\",\"containers\":[{\"name\":\"c\",\"image\":\"i\","
        "\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}",
        ++server.revision);
    t_expect(until_binds(2, 100));
    t_answer(server.binds[0], 404, GONE, 0); /* of the first one: no harm to the second */
    t_answer(server.binds[1], 201, "{}", ++server.revision);
    t_advance(5000);
    t_expect_int(server.bind_count, 2);
    t_close();
}

/* Deposed with a binding on its way: the next term starts from what is shown. */
static void deposed(void)
{
    open_world(NODE("n", "9"), POD("a", "", "1") "," POD("b", "", "1") "," POD("c", "", "1"));
    t_advance(t_random(30));
    t_depose();
    t_advance(t_random(30));
    server.by_itself = 1;
    t_lead(6);
    t_advance(3000);
    for (size_t i = 0; i < 3; i++) {
        size_t count = 0;
        for (size_t k = 0; k < server.bind_count; k++) {
            count += server.bound[k][0] == "abc"[i] ? 1 : 0;
        }
        t_expect(count >= 1);
    }
    t_expect(server.bind_count <= 6); /* once per term at most */
    t_close();
}

static void deposed_at_any_moment(void **state)
{
    (void)state;
    t_for_each_seed(100, deposed);
}

/* Each allocation of init, of the term's beginning and of the first cycles fails once: the plugin
 * is refused and leaves nothing behind, or the pods get their nodes all the same. */
static void hungry(void)
{
    int rc = open_world(NODE("n", "9"), POD("a", "", "1") "," POD("b", "", "1"));
    server.by_itself = 1;
    for (int i = 0; i < 600 && rc == 0 && server.bind_count < 2; i++) {
        t_advance(100);
    }
    t_expect(rc != 0 || server.bind_count == 2);
    t_close();
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    unsigned failed = t_for_each_alloc(hungry);
    assert_true(failed > 60);
}

/* What may not be is refused at the start. */
static void bad_settings(void **state)
{
    (void)state;
    t_open_refused(kvplugin_entry(), "pod-initial-backoff=20s",
                   "pod-initial-backoff is longer than pod-max-backoff: 20000 and 10000 ms");
    t_open_refused(kvplugin_entry(), "weight-node-affinity=101", "weight-node-affinity");
    t_open_refused(kvplugin_entry(), "percentage-of-nodes-to-score=101",
                   "percentage-of-nodes-to-score");
    open_world("", "");
    t_expect_int(t_reload("pod-max-backoff=30s"), 0);
    t_expect(t_reload("scheduler-name=other") != 0);
    t_close();
}

int main(void)
{
    t_on_failure(_fail);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),
        cmocka_unit_test(unknown_and_written),
        cmocka_unit_test(unknown_and_lost),
        cmocka_unit_test(never_shown),
        cmocka_unit_test(replaced_meanwhile),
        cmocka_unit_test(deposed_at_any_moment),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(bad_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
