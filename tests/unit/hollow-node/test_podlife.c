/* test_podlife.c - the state machine of a pod on a hollow node. */
#include "tests/unit/apiserver/fixture.h"

#include <stdlib.h>

#include "plugins/hollow-node/podlife.h"
#include "plugins/object/patch.h"

/* A pod, its life, and a clock that goes only where the test says. */
struct life {
    struct fixture *f;
    struct object pod;
    struct podlife l;
    struct podlife_now now;
    struct podlife_times times;
    uint64_t next;
};

static void begin(struct life *x, struct fixture *f, const char *json)
{
    *x = (struct life){.f = f,
                       .now = {.ms = 1000, .wall_s = 1700000000},
                       .times = {.start_ms = 300, .init_ms = 200, .stop_ms = 500}};
    x->pod = decoded(f, SCHEMA_CORE_V1_POD, json);
    assert_int_equal(podlife_open(&x->l, &x->pod, &x->now), 0);
}

static bool advance(struct life *x)
{
    return podlife_advance(&x->l, &x->pod, &x->times, &x->now, &x->next);
}

static void pass(struct life *x, uint64_t ms)
{
    x->now.ms += ms;
    x->now.wall_s = 1700000000 + (int64_t)(x->now.ms - 1000) / 1000;
}

/* Writes the status into the pod as the API server would; the life has to show in it. */
static void store(struct life *x)
{
    struct buf patch;
    struct object after;
    struct decode_report report;
    buf_init(&patch);
    podlife_patch(&x->l, &x->pod, "172.30.0.3", "10.244.0.2", x->now.wall_s, &patch);
    assert_false(patch.failed);
    int rc = object_patch(&x->pod, PATCH_STRATEGIC, buf_slice(&patch), &x->f->arena, &after,
                          &report, &x->f->e);
    if (rc != 0) {
        print_error("%s\n", x->f->e.text);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(report.count, 0);
    buf_close(&patch);
    x->pod = after;
    assert_true(podlife_shows(&x->l, &x->pod));
}

/* Time goes on in the steps that the life asks for, until nothing more is due or `seconds` have
 * passed. Every change is stored. */
static void run(struct life *x, uint64_t seconds)
{
    uint64_t end = x->now.ms + seconds * 1000;
    for (;;) {
        if (advance(x)) {
            store(x);
        }
        if (x->next == PODLIFE_NEVER || x->next > end) {
            break;
        }
        assert_true(x->next > x->now.ms);
        pass(x, x->next - x->now.ms);
    }
    x->now.ms = end;
    x->now.wall_s = 1700000000 + (int64_t)(end - 1000) / 1000;
}

static void same_text(struct life *x, const char *path, const char *want)
{
    struct slice text = object_text(&x->pod, path);
    char got[256] = "";
    assert_true(text.len < sizeof got);
    memcpy(got, text.data == NULL ? (const uint8_t *)"" : text.data, text.len);
    assert_string_equal(got, want);
}

/* "Ready" -> its status, reason. */
static const char *condition(struct life *x, enum podlife_condition c, const char *member)
{
    static char got[128];
    char path[64];
    for (int i = 0; i < PODLIFE_CONDITIONS; i++) {
        snprintf(path, sizeof path, "status.conditions[%d].type", i);
        if (slice_eq(object_text(&x->pod, path), slice_str(podlife_condition_name(c)))) {
            snprintf(path, sizeof path, "status.conditions[%d].%s", i, member);
            struct slice text = object_text(&x->pod, path);
            snprintf(got, sizeof got, "%.*s", (int)text.len, (const char *)text.data);
            return got;
        }
    }
    return "none";
}

#define POD(meta, spec)                                                                     \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\","                 \
    "\"namespace\":\"default\",\"uid\":\"u-1\"" meta "},\"spec\":{\"nodeName\":\"n\"," spec \
    "},\"status\":{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\","       \
    "\"status\":\"True\",\"lastTransitionTime\":\"2023-11-14T22:13:20Z\"}]}}"
#define ONE(more) "\"containers\":[{\"name\":\"a\",\"image\":\"nginx\"" more "}]"

static void a_pod_starts_and_becomes_ready(void **state)
{
    struct life x;
    begin(&x, *state, POD("", ONE("")));
    assert_true(advance(&x));
    assert_int_equal(x.next, 1300);
    store(&x);
    same_text(&x, "status.phase", "Pending");
    same_text(&x, "status.hostIP", "172.30.0.3");
    same_text(&x, "status.podIP", "");
    same_text(&x, "status.containerStatuses[0].state.waiting.reason", "ContainerCreating");
    assert_string_equal(condition(&x, PODLIFE_INITIALIZED, "status"), "True");
    assert_string_equal(condition(&x, PODLIFE_SANDBOX, "status"), "False");
    assert_string_equal(condition(&x, PODLIFE_READY, "status"), "False");
    assert_string_equal(condition(&x, PODLIFE_READY, "reason"), "ContainersNotReady");
    assert_string_equal(condition(&x, PODLIFE_READY, "message"),
                        "containers with unready status: [a]");
    assert_string_equal(condition(&x, PODLIFE_SCHEDULED, "status"), "True");
    /* Nothing changes before it is due. */
    pass(&x, 299);
    assert_false(advance(&x));
    pass(&x, 1);
    assert_true(advance(&x));
    store(&x);
    same_text(&x, "status.phase", "Running");
    same_text(&x, "status.podIP", "10.244.0.2");
    same_text(&x, "status.podIPs[0].ip", "10.244.0.2");
    assert_int_equal(object_int(&x.pod, "status.startTime", 0), 1700000000);
    assert_true(object_bool(&x.pod, "status.containerStatuses[0].ready", false));
    assert_true(object_bool(&x.pod, "status.containerStatuses[0].started", false));
    for (int i = 0; i < PODLIFE_CONDITIONS; i++) {
        assert_string_equal(condition(&x, (enum podlife_condition)i, "status"), "True");
        assert_string_equal(condition(&x, (enum podlife_condition)i, "reason"), "");
    }
    assert_int_equal(x.next, PODLIFE_NEVER);
    pass(&x, 1000000);
    assert_false(advance(&x));
    podlife_close(&x.l);
}

static void readiness_waits_for_the_probe_and_the_gates(void **state)
{
    struct life x;
    begin(
        &x, *state,
        POD("", "\"readinessGates\":[{\"conditionType\":\"g\"}]," ONE(
                    ",\"readinessProbe\":{\"initialDelaySeconds\":5,\"tcpSocket\":{\"port\":1}}")));
    run(&x, 2);
    same_text(&x, "status.phase", "Running");
    assert_false(object_bool(&x.pod, "status.containerStatuses[0].ready", false));
    run(&x, 10);
    assert_string_equal(condition(&x, PODLIFE_CONTAINERS_READY, "status"), "True");
    assert_string_equal(condition(&x, PODLIFE_READY, "reason"), "ReadinessGatesNotReady");
    /* Somebody opens the gate: the life no longer shows. */
    struct object opened;
    struct decode_report report;
    const char *gate = "{\"status\":{\"conditions\":[{\"type\":\"g\",\"status\":\"True\"}]}}";
    assert_int_equal(object_patch(&x.pod, PATCH_STRATEGIC, slice_str(gate), &x.f->arena, &opened,
                                  &report, &x.f->e),
                     0);
    x.pod = opened;
    assert_false(podlife_shows(&x.l, &x.pod));
    store(&x);
    assert_string_equal(condition(&x, PODLIFE_READY, "status"), "True");
    podlife_close(&x.l);
}

static void init_containers_come_one_after_the_other(void **state)
{
    struct life x;
    begin(&x, *state,
          POD("", "\"initContainers\":[{\"name\":\"i\",\"image\":\"b\"},{\"name\":\"j\",\"image\":"
                  "\"b\",\"command\":[\"sleep\",\"3\"]},{\"name\":\"s\",\"image\":\"b\","
                  "\"restartPolicy\":\"Always\"}]," ONE("")));
    assert_true(advance(&x));
    store(&x);
    assert_string_equal(condition(&x, PODLIFE_INITIALIZED, "reason"), "ContainersNotInitialized");
    assert_string_equal(condition(&x, PODLIFE_INITIALIZED, "message"),
                        "containers with incomplete status: [i j s]");
    same_text(&x, "status.containerStatuses[0].state.waiting.reason", "PodInitializing");
    pass(&x, 300);
    assert_true(advance(&x));
    assert_int_equal(x.l.containers[0].state, PODLIFE_RUNNING);
    assert_int_equal(x.l.containers[1].state, PODLIFE_WAITING);
    assert_int_equal(x.next, 1500);
    pass(&x, 200);
    assert_true(advance(&x));
    store(&x);
    assert_int_equal(x.l.containers[0].state, PODLIFE_ENDED);
    assert_int_equal(x.l.containers[1].state, PODLIFE_RUNNING);
    same_text(&x, "status.phase", "Pending");
    run(&x, 5);
    /* The sidecar runs along. */
    assert_int_equal(x.l.containers[2].state, PODLIFE_RUNNING);
    same_text(&x, "status.phase", "Running");
    assert_string_equal(condition(&x, PODLIFE_READY, "status"), "True");
    assert_string_equal(condition(&x, PODLIFE_INITIALIZED, "status"), "True");
    podlife_close(&x.l);
}

static void an_init_container_that_fails(void **state)
{
    static const char init[] = "\"initContainers\":[{\"name\":\"i\",\"image\":\"b\",\"command\":"
                               "[\"sh\",\"-c\",\"sleep 1; exit 3\"]}],";
    struct life x;
    char json[1024];
    snprintf(json, sizeof json, POD("", "\"restartPolicy\":\"Never\",%s%s"), init, ONE(""));
    begin(&x, *state, json);
    run(&x, 10);
    same_text(&x, "status.phase", "Failed");
    assert_int_equal(
        object_int(&x.pod, "status.initContainerStatuses[0].state.terminated.exitCode", 0), 3);
    assert_int_equal(x.next, PODLIFE_NEVER);
    podlife_close(&x.l);
    snprintf(json, sizeof json, POD("", "%s%s"), init, ONE(""));
    begin(&x, *state, json);
    run(&x, 10);
    same_text(&x, "status.phase", "Pending");
    same_text(&x, "status.initContainerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
    assert_true(x.l.containers[0].restarts >= 1);
    podlife_close(&x.l);
}

static void work_that_ends(void **state)
{
    struct life x;
    begin(&x, *state,
          POD("", "\"restartPolicy\":\"Never\"," ONE(",\"command\":[\"/bin/sleep\",\"7\"]")));
    run(&x, 6);
    same_text(&x, "status.phase", "Running");
    run(&x, 3);
    same_text(&x, "status.phase", "Succeeded");
    same_text(&x, "status.containerStatuses[0].state.terminated.reason", "Completed");
    assert_string_equal(condition(&x, PODLIFE_READY, "reason"), "PodCompleted");
    assert_string_equal(condition(&x, PODLIFE_INITIALIZED, "status"), "True");
    podlife_close(&x.l);
    /* On failure it starts again: after a second, then after ten. */
    begin(&x, *state,
          POD(",\"annotations\":{\"kvd.io/hollow-exit-after\":\"2\","
              "\"kvd.io/hollow-exit-code\":\"4\"}",
              "\"restartPolicy\":\"OnFailure\"," ONE("")));
    run(&x, 2);
    same_text(&x, "status.phase", "Running");
    pass(&x, 300);
    run(&x, 1);
    same_text(&x, "status.phase", "Running");
    assert_int_equal(x.l.containers[0].crashes, 1);
    run(&x, 3);
    assert_int_equal(x.l.containers[0].restarts, 1);
    same_text(&x, "status.containerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
    same_text(&x, "status.containerStatuses[0].state.waiting.message",
              "back-off 10s restarting failed container=a pod=p_default(u-1)");
    assert_int_equal(
        object_int(&x.pod, "status.containerStatuses[0].lastState.terminated.exitCode", 0), 4);
    assert_string_equal(condition(&x, PODLIFE_READY, "status"), "False");
    run(&x, 3600);
    assert_true(x.l.containers[0].restarts >= 12 && x.l.containers[0].restarts <= 20);
    podlife_close(&x.l);
}

/* The pod as it is, being deleted. */
static void mark(struct life *x, int64_t grace_s)
{
    assert_int_equal(object_set_int(&x->pod, "metadata.deletionTimestamp", x->now.wall_s + grace_s),
                     0);
    assert_int_equal(object_set_int(&x->pod, "metadata.deletionGracePeriodSeconds", grace_s), 0);
}

static void a_deleted_pod_stops_and_goes(void **state)
{
    struct life x;
    begin(&x, *state, POD("", ONE("")));
    run(&x, 2);
    mark(&x, 30);
    assert_false(advance(&x));
    assert_false(x.l.stopped);
    assert_int_equal(x.next, x.now.ms + 500);
    pass(&x, 500);
    assert_true(advance(&x));
    assert_true(x.l.stopped);
    store(&x);
    same_text(&x, "status.phase", "Succeeded");
    assert_string_equal(condition(&x, PODLIFE_READY, "status"), "False");
    podlife_close(&x.l);
    /* No longer than its grace, also when that becomes shorter later. */
    begin(&x, *state, POD("", ONE("")));
    x.times.stop_ms = 60000;
    run(&x, 2);
    mark(&x, 30);
    (void)advance(&x);
    assert_int_equal(x.next, x.now.ms + 30000);
    mark(&x, 1);
    (void)advance(&x);
    assert_int_equal(x.next, x.now.ms + 1000);
    podlife_close(&x.l);
    /* One that has not begun goes at once. */
    begin(&x, *state, POD("", ONE("")));
    mark(&x, 30);
    assert_false(advance(&x));
    assert_true(x.l.stopped);
    podlife_close(&x.l);
}

/* Another leader sees only the pod: it goes on, and changes nothing that is as it was. */
static void a_new_leader_goes_on(void **state)
{
    struct life x;
    struct podlife again;
    uint64_t next;
    begin(&x, *state,
          POD("", "\"restartPolicy\":\"OnFailure\",\"initContainers\":[{\"name\":\"i\",\"image\":"
                  "\"b\"}]," ONE(",\"command\":[\"sleep\",\"60\"]")));
    run(&x, 20);
    assert_int_equal(podlife_open(&again, &x.pod, &x.now), 0);
    assert_false(podlife_advance(&again, &x.pod, &x.times, &x.now, &next));
    assert_true(podlife_shows(&again, &x.pod));
    assert_true(next > x.now.ms + 38000 && next <= x.now.ms + 41000);
    podlife_close(&x.l);
    x.l = again;
    run(&x, 60);
    same_text(&x, "status.phase", "Succeeded");
    assert_int_equal(podlife_open(&again, &x.pod, &x.now), 0);
    assert_false(podlife_advance(&again, &x.pod, &x.times, &x.now, &next));
    assert_int_equal(next, PODLIFE_NEVER);
    podlife_close(&again);
    podlife_close(&x.l);
}

/* What the node controller writes of a node that was silent is set right again. */
static void what_others_wrote_is_set_right(void **state)
{
    struct life x;
    struct object changed;
    struct decode_report report;
    begin(&x, *state, POD("", ONE("")));
    run(&x, 2);
    const char *patch = "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"},"
                        "{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]}}";
    assert_int_equal(object_patch(&x.pod, PATCH_STRATEGIC, slice_str(patch), &x.f->arena, &changed,
                                  &report, &x.f->e),
                     0);
    x.pod = changed;
    assert_false(podlife_shows(&x.l, &x.pod));
    store(&x);
    assert_string_equal(condition(&x, PODLIFE_READY, "status"), "True");
    /* Conditions of others stay. */
    assert_int_equal(value_len(object_get(&x.pod, "status.conditions")), 6);
    podlife_close(&x.l);
}

static void plan(struct fixture *f, const char *container, bool ends, uint64_t ms, int code)
{
    char json[1024];
    struct podplan p;
    snprintf(json, sizeof json, POD("", "\"containers\":[{\"name\":\"a\",\"image\":\"b\",%s}]"),
             container);
    struct object pod = decoded(f, SCHEMA_CORE_V1_POD, json);
    podplan_of(&pod, false, 0, &p);
    assert_int_equal(p.ends, ends);
    assert_int_equal(ends ? p.after_ms : 0, ms);
    assert_int_equal(ends ? p.code : 0, code);
}

static void commands_are_understood_or_run_for_ever(void **state)
{
    struct fixture *f = *state;
    plan(f, "\"command\":[\"true\"]", true, 0, 0);
    plan(f, "\"command\":[\"/bin/false\"]", true, 0, 1);
    plan(f, "\"command\":[\"sleep\",\"1.5\"]", true, 1500, 0);
    plan(f, "\"command\":[\"sleep\"],\"args\":[\"2m\"]", true, 120000, 0);
    plan(f, "\"command\":[\"sleep\",\"infinity\"]", false, 0, 0);
    plan(f, "\"command\":[\"sleep\",\"-1\"]", false, 0, 0);
    plan(f, "\"command\":[\"sleep\",\"nan\"]", false, 0, 0);
    plan(f, "\"command\":[\"sleep\",\"1e300\"]", false, 0, 0);
    plan(f, "\"command\":[\"sleep\",\"5x\"]", false, 0, 0);
    plan(f, "\"command\":[\"sh\",\"-c\",\"sleep 3; exit 7\"]", true, 3000, 7);
    plan(f, "\"command\":[\"sh\",\"-c\",\"sleep 3 && true; sleep 1\"]", true, 4000, 0);
    plan(f, "\"command\":[\"sh\",\"-c\",\"false && sleep 3\"]", true, 0, 1);
    plan(f, "\"command\":[\"sh\",\"-c\"],\"args\":[\" exit 300\"]", false, 0, 0);
    plan(f, "\"command\":[\"sh\",\"-c\",\"sleep 3 & exit 1\"]", false, 0, 0);
    plan(f, "\"command\":[\"sh\",\"-c\",\"while true; do sleep 1; done\"]", false, 0, 0);
    plan(f, "\"command\":[\"sh\",\"-c\",\"\"]", true, 0, 0);
    plan(f, "\"command\":[\"nginx\",\"-g\",\"daemon off;\"]", false, 0, 0);
    plan(f, "\"args\":[\"true\"]", false, 0, 0);
    plan(f, "\"command\":[\"\"]", false, 0, 0);
}

static void out_of_memory(void **state)
{
    struct life x;
    struct podlife again;
    begin(&x, *state, POD("", ONE("")));
    mem_fail_after(1);
    int rc = podlife_open(&again, &x.pod, &x.now);
    mem_fail_after(0);
    assert_int_equal(rc, ERR_NOMEM);
    podlife_close(&x.l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pod_starts_and_becomes_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(readiness_waits_for_the_probe_and_the_gates, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(init_containers_come_one_after_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(an_init_container_that_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(work_that_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deleted_pod_stops_and_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_leader_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(what_others_wrote_is_set_right, setup, teardown),
        cmocka_unit_test_setup_teardown(commands_are_understood_or_run_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
