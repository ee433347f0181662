/* test_cells - what tables show of objects, cell by cell. */
#include "tests/unit/apiserver/fixture.h"

#include "plugins/apiserver/cells.h"
#include "plugins/apiserver/cells_keep.h"
#include "plugins/apiserver/table.h"

/* 2024-05-01T12:00:00Z. */
#define NOW INT64_C(1714564800)

/* The cells, with < and > as people read them. */
static const char *cells_of(struct fixture *f, enum schema_type_id type, const char *json)
{
    struct object o = decoded(f, type, json);
    struct object some;
    struct buf escaped;
    struct buf again;
    buf_init(&escaped);
    buf_init(&again);
    table_print_cells(&o, NOW * 1000000, &f->arena, &escaped);
    /* What lists decode is enough. */
    assert_int_equal(object_decode_some(&some, schema_type(type), cells_keep(), &f->arena,
                                        slice_str(json), &f->e),
                     0);
    table_print_cells(&some, NOW * 1000000, &f->arena, &again);
    assert_true(slice_eq(buf_slice(&again), buf_slice(&escaped)));
    buf_close(&again);
    buf_clear(&f->out);
    for (size_t i = 0; i < escaped.len; i++) {
        const uint8_t *at = escaped.data + i;
        bool less = escaped.len - i >= 6 && memcmp(at, "\\u003c", 6) == 0;
        bool greater = escaped.len - i >= 6 && memcmp(at, "\\u003e", 6) == 0;
        buf_append_byte(&f->out, less ? '<' : greater ? '>' : *at);
        i += less || greater ? 5 : 0;
    }
    buf_close(&escaped);
    return text_of(&f->out);
}

#define expect_cells(f, type, json, cells) \
    assert_string_equal(cells_of((f), (type), (json)), "\"cells\":[" cells "]")

/* Every column of every kind has a function, so no cell is null. */
static void every_column_has_a_function(void **state)
{
    size_t seen = 0;
    for (size_t i = 0; i < schema_resource_count; i++) {
        const struct schema_resource *kind = schema_resources + i;
        const struct schema_column *columns = schema_at(kind, kind->columns);
        for (size_t k = 0; k < kind->column_count; k++) {
            const char *name = schema_text(columns + k, columns[k].name);
            const struct cells_column *cell = cells_find(schema_at(kind, kind->type), name);
            if (cell == NULL) {
                print_error("%s: %s\n", schema_text(kind, kind->plural), name);
            }
            assert_non_null(cell);
            seen++;
        }
    }
    assert_true(seen > 80);
}

static const char *since(struct fixture *f, int64_t seconds)
{
    struct object o = decoded(f, SCHEMA_CORE_V1_NAMESPACE, "{}");
    struct cells c = {.object = &o, .now_us = NOW * 1000000, .arena = &f->arena, .out = &f->out};
    buf_clear(&f->out);
    cells_put_since(&c, (NOW - seconds) * 1000000);
    return text_of(&f->out);
}

/* The longer ago, the coarser. */
static void ages_are_short(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {-2, "<invalid>"},
        {-1, "0s"},
        {0, "0s"},
        {119, "119s"},
        {120, "2m"},
        {121, "2m1s"},
        {599, "9m59s"},
        {600, "10m"},
        {659, "10m"},
        {3 * 3600 - 1, "179m"},
        {3 * 3600, "3h"},
        {3 * 3600 + 61, "3h1m"},
        {8 * 3600 - 1, "7h59m"},
        {8 * 3600, "8h"},
        {48 * 3600 - 1, "47h"},
        {48 * 3600, "2d"},
        {49 * 3600, "2d1h"},
        {8 * 86400 - 1, "7d23h"},
        {8 * 86400, "8d"},
        {2 * 365 * 86400 - 1, "729d"},
        {2 * 365 * 86400, "2y"},
        {2 * 365 * 86400 + 86400, "2y1d"},
        {INT64_C(8) * 365 * 86400, "8y"},
        {INT64_C(9) * 365 * 86400, "9y"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(since(f, cases[i].seconds), cases[i].text);
    }
}

#define META "\"metadata\":{\"name\":\"a\",\"creationTimestamp\":\"2024-05-01T11:55:00Z\""
#define POD(more, spec, status)                                                                    \
    "{" META more "},\"spec\":{\"containers\":[{\"name\":\"c\"}]" spec "},\"status\":{" status "}" \
    "}"
#define CONTAINERS(states) "\"containerStatuses\":[" states "]"
#define CONTAINER(ready, restarts, state)                            \
    "{\"name\":\"c\",\"ready\":" ready ",\"restartCount\":" restarts \
    ",\"image\":\"\",\"imageID\":"                                   \
    "\"\",\"state\":{" state "}}"
#define RUNNING      "\"running\":{\"startedAt\":\"2024-05-01T11:56:00Z\"}"
#define WAITING(why) "\"waiting\":{\"reason\":\"" why "\"}"
#define ENDED(more)  "\"terminated\":{" more "}"
#define WIDE         ",\"<none>\",\"<none>\",\"<none>\",\"<none>\""
#define POD_CELLS(ready, status, restarts) \
    "\"a\",\"" ready "\",\"" status "\",\"" restarts "\",\"5m\"" WIDE

static void pods_tell_their_status(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *pod;
        const char *ready, *status, *restarts;
    } cases[] = {
        {POD("", "", ""), "0/1", "", "0"},
        {POD("", "", "\"phase\":\"Pending\""), "0/1", "Pending", "0"},
        {POD("", "", "\"phase\":\"Failed\",\"reason\":\"Evicted\""), "0/1", "Evicted", "0"},
        {POD("", "",
             "\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":"
             "\"False\",\"reason\":\"SchedulingGated\"}]"),
         "0/1", "SchedulingGated", "0"},
        {POD("", "",
             "\"phase\":\"Pending\"," CONTAINERS(
                 CONTAINER("false", "0", WAITING("ContainerCreating")))),
         "0/1", "ContainerCreating", "0"},
        {POD("", "", "\"phase\":\"Running\"," CONTAINERS(CONTAINER("true", "0", RUNNING))), "1/1",
         "Running", "0"},
        {POD("", "",
             "\"phase\":\"Running\"," CONTAINERS(
                 CONTAINER("false", "2", WAITING("CrashLoopBackOff")))),
         "0/1", "CrashLoopBackOff", "2"},
        {POD("", "",
             "\"phase\":\"Failed\"," CONTAINERS(CONTAINER("false", "0", ENDED("\"exitCode\":3")))),
         "0/1", "ExitCode:3", "0"},
        {POD("", "",
             "\"phase\":\"Failed\"," CONTAINERS(
                 CONTAINER("false", "0", ENDED("\"exitCode\":137,\"signal\":9")))),
         "0/1", "Signal:9", "0"},
        {POD("", "",
             "\"phase\":\"Failed\"," CONTAINERS(
                 CONTAINER("false", "0", ENDED("\"exitCode\":1,\"reason\":\"Error\"")))),
         "0/1", "Error", "0"},
        /* one through, one running and the pod ready */
        {POD("", "",
             "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"
             "," CONTAINERS(CONTAINER(
                 "false", "0",
                 ENDED("\"exitCode\":0,\"reason\":\"Completed\"")) "," CONTAINER("true", "0",
                                                                                 RUNNING))),
         "1/1", "Running", "0"},
        /* the same, but the pod is not ready */
        {POD("", "",
             "\"phase\":\"Running\"," CONTAINERS(CONTAINER(
                 "false", "0",
                 ENDED("\"exitCode\":0,\"reason\":\"Completed\"")) "," CONTAINER("true", "0",
                                                                                 RUNNING))),
         "1/1", "NotReady", "0"},
        /* one through, one failed */
        {POD("", "",
             "\"phase\":\"Failed\"," CONTAINERS(CONTAINER(
                 "false", "0",
                 ENDED(
                     "\"exitCode\":0,\"reason\":\"Completed\"")) "," CONTAINER("false", "0",
                                                                               ENDED(
                                                                                   "\"exitCode\":1,"
                                                                                   "\"reason\":"
                                                                                   "\"Error\"")))),
         "0/1", "Error", "0"},
        {POD(",\"deletionTimestamp\":\"2024-05-01T11:59:00Z\"", "",
             "\"phase\":\"Running\"," CONTAINERS(CONTAINER("true", "0", RUNNING))),
         "1/1", "Terminating", "0"},
        {POD(",\"deletionTimestamp\":\"2024-05-01T11:59:00Z\"", "",
             "\"phase\":\"Running\",\"reason\":\"NodeLost\""),
         "0/1", "Unknown", "0"},
        /* through before it is removed */
        {POD(",\"deletionTimestamp\":\"2024-05-01T11:59:00Z\"", "",
             "\"phase\":\"Running\"," CONTAINERS(
                 CONTAINER("false", "0", ENDED("\"exitCode\":0,\"reason\":\"Completed\"")))),
         "0/1", "Terminating", "0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[300];
        snprintf(expected, sizeof expected, "\"cells\":[\"a\",\"%s\",\"%s\",\"%s\",\"5m\"" WIDE "]",
                 cases[i].ready, cases[i].status, cases[i].restarts);
        const char *cells = cells_of(f, SCHEMA_CORE_V1_POD, cases[i].pod);
        if (strncmp(cells, expected, strlen(expected)) != 0) {
            print_error("%zu: %s\n", i, cells);
        }
        assert_int_equal(strncmp(cells, expected, strlen(expected)), 0);
    }
}

#define INIT(states) "\"initContainerStatuses\":[" states "]"
#define INIT_SPEC    ",\"initContainers\":[{\"name\":\"c\"},{\"name\":\"d\"}]"
#define SIDECAR_SPEC ",\"initContainers\":[{\"name\":\"c\",\"restartPolicy\":\"Always\"}]"

/* While init containers run, the status is theirs; sidecars count among the others. */
static void init_containers_come_first(void **state)
{
    struct fixture *f = *state;
    expect_cells(
        f, SCHEMA_CORE_V1_POD,
        POD("", INIT_SPEC, "\"phase\":\"Pending\"," INIT(CONTAINER("false", "0", RUNNING))),
        POD_CELLS("0/1", "Init:0/2", "0"));
    expect_cells(f, SCHEMA_CORE_V1_POD,
                 POD("", INIT_SPEC,
                     "\"phase\":\"Pending\"," INIT(
                         CONTAINER("true", "1", ENDED("\"exitCode\":0")) "," CONTAINER(
                             "false", "2", WAITING("PodInitializing")))),
                 POD_CELLS("0/1", "Init:1/2", "3"));
    expect_cells(
        f, SCHEMA_CORE_V1_POD,
        POD("", INIT_SPEC,
            "\"phase\":\"Pending\"," INIT(CONTAINER("false", "4", WAITING("CrashLoopBackOff")))),
        POD_CELLS("0/1", "Init:CrashLoopBackOff", "4"));
    expect_cells(
        f, SCHEMA_CORE_V1_POD,
        POD("", INIT_SPEC,
            "\"phase\":\"Pending\"," INIT(CONTAINER("false", "0", ENDED("\"exitCode\":7")))),
        POD_CELLS("0/1", "Init:ExitCode:7", "0"));
    expect_cells(f, SCHEMA_CORE_V1_POD,
                 POD("", INIT_SPEC,
                     "\"phase\":\"Pending\"," INIT(
                         CONTAINER("false", "0", ENDED("\"exitCode\":7,\"signal\":11")))),
                 POD_CELLS("0/1", "Init:Signal:11", "0"));
    expect_cells(f, SCHEMA_CORE_V1_POD,
                 POD("", INIT_SPEC,
                     "\"phase\":\"Failed\"," INIT(
                         CONTAINER("false", "0", ENDED("\"exitCode\":7,\"reason\":\"Error\"")))),
                 POD_CELLS("0/1", "Init:Error",
                           "0") "],\"conditions\":[{\"type\":\"Completed\",\"status\":"
                                "\"True\",\"reason\":\"Failed\",\"message\":\"The pod failed.\"}");
    expect_cells(
        f, SCHEMA_CORE_V1_POD,
        POD("", SIDECAR_SPEC,
            "\"phase\":\"Running\"," INIT(
                "{\"name\":\"c\",\"ready\":true,\"started\":true,\"restartCount\":1,\"image\":"
                "\"\",\"imageID\":\"\",\"state\":{" RUNNING
                "}}") "," CONTAINERS(CONTAINER("true", "2", RUNNING))),
        POD_CELLS("2/2", "Running", "3"));
}

static void restarts_say_how_long_ago(void **state)
{
    struct fixture *f = *state;
    expect_cells(
        f, SCHEMA_CORE_V1_POD,
        POD("", "",
            "\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\",\"ready\":true,"
            "\"restartCount\":5,\"image\":\"\",\"imageID\":\"\",\"lastState\":{\"terminated\":{"
            "\"exitCode\":1,\"finishedAt\":\"2024-05-01T11:56:30Z\"}},\"state\":{" RUNNING "}}]"),
        POD_CELLS("1/1", "Running", "5 (3m30s ago)"));
}

static void pods_have_wide_cells_and_conditions(void **state)
{
    struct fixture *f = *state;
    expect_cells(
        f, SCHEMA_CORE_V1_POD,
        POD("",
            ",\"nodeName\":\"n1\",\"readinessGates\":[{\"conditionType\":\"x/a\"},{"
            "\"conditionType\":\"x/b\"}]",
            "\"phase\":\"Succeeded\",\"nominatedNodeName\":\"n2\",\"podIPs\":[{\"ip\":"
            "\"10.0.0.1\"},{\"ip\":\"fd00::1\"}],\"conditions\":[{\"type\":\"x/b\",\"status\":"
            "\"True\"}]"),
        "\"a\",\"0/1\",\"Succeeded\",\"0\",\"5m\",\"10.0.0.1\",\"n1\",\"n2\",\"1/"
        "2\"],\"conditions\":"
        "[{\"type\":\"Completed\",\"status\":\"True\",\"reason\":\"Succeeded\",\"message\":\"The "
        "pod has completed successfully.\"}");
}

#define TEMPLATE(labels)                                                                           \
    "\"template\":{\"metadata\":{" labels "},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":" \
    "\"i:1\"},{\"name\":\"d\",\"image\":\"j\"}]}}"

static void workloads_count_pods(void **state)
{
    struct fixture *f = *state;
    expect_cells(
        f, SCHEMA_APPS_V1_REPLICA_SET,
        "{" META "},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"b\":\"2\",\"a\":"
        "\"1\"},\"matchExpressions\":[{\"key\":\"z\",\"operator\":\"In\",\"values\":[\"y\",\"x\"]}"
        ",{\"key\":\"e\",\"operator\":\"Exists\"}]}," TEMPLATE(
            "") "},\"status\":{\"replicas\":2,\"readyReplicas\":1}}",
        "\"a\",3,2,1,\"5m\",\"c,d\",\"i:1,j\",\"a=1,b=2,e,z in (x,y)\"");
    expect_cells(f, SCHEMA_CORE_V1_REPLICATION_CONTROLLER,
                 "{" META
                 "},\"spec\":{\"replicas\":3,\"selector\":{\"b\":\"2\",\"a\":\"1\"}," TEMPLATE(
                     "") "},\"status\":{\"replicas\":0}}",
                 "\"a\",3,0,0,\"5m\",\"c,d\",\"i:1,j\",\"a=1,b=2\"");
    expect_cells(f, SCHEMA_CORE_V1_REPLICATION_CONTROLLER,
                 "{" META "},\"spec\":{},\"status\":{\"replicas\":0}}",
                 "\"a\",0,0,0,\"5m\",\"\",\"\",\"<none>\"");
    expect_cells(
        f, SCHEMA_APPS_V1_DEPLOYMENT,
        "{" META
        "},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"a\":\"1\"}}," TEMPLATE(
            "") "},\"status\":{\"replicas\":4,\"updatedReplicas\":2,\"readyReplicas\":1,"
                "\"availableReplicas\":1}}",
        "\"a\",\"1/3\",2,1,\"5m\",\"c,d\",\"i:1,j\",\"a=1\"");
    expect_cells(f, SCHEMA_CORE_V1_POD_TEMPLATE,
                 "{" META "}," TEMPLATE("\"labels\":{\"x\":\"y\"}") "}",
                 "\"a\",\"c,d\",\"i:1,j\",\"x=y\"");
    expect_cells(f, SCHEMA_AUTOSCALING_V1_SCALE,
                 "{" META "},\"spec\":{\"replicas\":3},\"status\":{\"replicas\":2}}",
                 "\"a\",3,2,\"5m\"");
}

static void services_show_where_they_are(void **state)
{
    struct fixture *f = *state;
    expect_cells(
        f, SCHEMA_CORE_V1_SERVICE,
        "{" META "},\"spec\":{\"type\":\"ClusterIP\",\"clusterIPs\":[\"10.0.0.1\"],\"ports\":[{"
        "\"port\":80,\"protocol\":\"TCP\"},{\"port\":53,\"protocol\":\"UDP\"}],\"selector\":{"
        "\"app\":\"a\"}}}",
        "\"a\",\"ClusterIP\",\"10.0.0.1\",\"<none>\",\"80/TCP,53/UDP\",\"5m\",\"app=a\"");
    expect_cells(f, SCHEMA_CORE_V1_SERVICE,
                 "{" META "},\"spec\":{\"type\":\"ClusterIP\",\"clusterIPs\":[\"None\"]}}",
                 "\"a\",\"ClusterIP\",\"None\",\"<none>\",\"<none>\",\"5m\",\"<none>\"");
    expect_cells(
        f, SCHEMA_CORE_V1_SERVICE,
        "{" META "},\"spec\":{\"type\":\"NodePort\",\"externalIPs\":[\"1.2.3.4\",\"1.2.3.5\"],"
        "\"ports\":[{\"port\":80,\"nodePort\":30080,\"protocol\":\"TCP\"}]}}",
        "\"a\",\"NodePort\",\"<none>\",\"1.2.3.4,1.2.3.5\",\"80:30080/TCP\",\"5m\",\"<none>\"");
    expect_cells(f, SCHEMA_CORE_V1_SERVICE, "{" META "},\"spec\":{\"type\":\"LoadBalancer\"}}",
                 "\"a\",\"LoadBalancer\",\"<none>\",\"<pending>\",\"<none>\",\"5m\",\"<none>\"");
    expect_cells(
        f, SCHEMA_CORE_V1_SERVICE,
        "{" META "},\"spec\":{\"type\":\"LoadBalancer\",\"externalIPs\":[\"1.1.1.1\"]},\"status\":{"
        "\"loadBalancer\":{\"ingress\":[{\"hostname\":\"lb.example\"},{\"ip\":\"9.9.9.9\"},{\"ip\":"
        "\"9.9.9.9\"}]}}}",
        "\"a\",\"LoadBalancer\",\"<none>\",\"9.9.9.9,lb.example,1.1.1.1\",\"<none>\",\"5m\",\"<"
        "none>\"");
    expect_cells(f, SCHEMA_CORE_V1_SERVICE,
                 "{" META "},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"db.example\"}}",
                 "\"a\",\"ExternalName\",\"<none>\",\"db.example\",\"<none>\",\"5m\",\"<none>\"");
}

static void endpoints_are_shown_three_at_a_time(void **state)
{
    struct fixture *f = *state;
    expect_cells(f, SCHEMA_CORE_V1_ENDPOINTS, "{" META "}}", "\"a\",\"<none>\",\"5m\"");
    expect_cells(f, SCHEMA_CORE_V1_ENDPOINTS,
                 "{" META
                 "},\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"}],"
                 "\"ports\":[{\"port\":80},{\"port\":443}]}]}",
                 "\"a\",\"10.0.0.1:80,[fd00::1]:80,10.0.0.1:443 + 1 more...\",\"5m\"");
    expect_cells(f, SCHEMA_CORE_V1_ENDPOINTS,
                 "{" META "},\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"}]}]}",
                 "\"a\",\"10.0.0.1\",\"5m\"");
    expect_cells(
        f, SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE,
        "{" META "},\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"1\",\"2\"]},{"
        "\"addresses\":[\"3\"]},{\"addresses\":[\"4\",\"5\"]}],\"ports\":[{\"port\":80},{\"name\":"
        "\"x\"}]}",
        "\"a\",\"IPv4\",\"80,x\",\"1,2,3 + 2 more...\",\"5m\"");
    expect_cells(f, SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE,
                 "{" META "},\"addressType\":\"IPv4\",\"endpoints\":[],\"ports\":[]}",
                 "\"a\",\"IPv4\",\"<unset>\",\"<unset>\",\"5m\"");
}

static void nodes_have_roles_and_addresses(void **state)
{
    struct fixture *f = *state;
    expect_cells(f, SCHEMA_CORE_V1_NODE, "{" META "}}",
                 "\"a\",\"Unknown\",\"<none>\",\"5m\",\"\",\"<none>\",\"<none>\",\"<unknown>\","
                 "\"<unknown>\",\"<unknown>\"");
    expect_cells(
        f, SCHEMA_CORE_V1_NODE,
        "{" META ",\"labels\":{\"node-role.kubernetes.io/worker\":\"\",\"kubernetes.io/role\":"
        "\"control-plane\",\"node-role.kubernetes.io/control-plane\":\"\","
        "\"node-role.kubernetes.io/\":\"\"}},\"spec\":{\"unschedulable\":true},\"status\":{"
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"addresses\":[{\"type\":"
        "\"InternalIP\",\"address\":\"10.0.0.1\"},{\"type\":\"ExternalIP\",\"address\":"
        "\"1.2.3.4\"}],\"nodeInfo\":{\"kubeletVersion\":\"v1.35.0\",\"osImage\":\"Debian\","
        "\"kernelVersion\":\"6.1\",\"containerRuntimeVersion\":\"containerd://2.0\"}}}",
        "\"a\",\"Ready,SchedulingDisabled\",\"control-plane,worker\",\"5m\",\"v1.35.0\","
        "\"10.0.0.1\",\"1.2.3.4\",\"Debian\",\"6.1\",\"containerd://2.0\"");
    const char *not_ready = cells_of(
        f, SCHEMA_CORE_V1_NODE,
        "{" META "},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}");
    assert_non_null(strstr(not_ready, "\"NotReady\""));
}

static void events_of_both_groups_look_alike(void **state)
{
    struct fixture *f = *state;
    expect_cells(
        f, SCHEMA_CORE_V1_EVENT,
        "{" META "},\"involvedObject\":{\"kind\":\"ReplicaSet\",\"name\":\"web\",\"fieldPath\":"
        "\"spec.x\"},\"reason\":\"Made\",\"message\":\" made a pod\\n\",\"source\":{\"component\":"
        "\"ctl\",\"host\":\"h1\"},\"firstTimestamp\":\"2024-05-01T11:00:00Z\",\"lastTimestamp\":"
        "\"2024-05-01T11:58:00Z\",\"count\":7,\"type\":\"Normal\"}",
        "\"2m\",\"Normal\",\"Made\",\"replicaset/web\",\"spec.x\",\"ctl, h1\",\"made a pod\","
        "\"60m\",7,\"a\"");
    expect_cells(
        f, SCHEMA_EVENTS_V1_EVENT,
        "{" META "},\"eventTime\":\"2024-05-01T11:58:00.000000Z\",\"reportingController\":\"ctl\","
        "\"reportingInstance\":\"i\",\"reason\":\"Made\",\"regarding\":{\"kind\":\"Pod\"},\"note\":"
        "\"made\",\"type\":\"Warning\"}",
        "\"2m\",\"Warning\",\"Made\",\"pod\",\"\",\"ctl, i\",\"made\",\"2m\",1,\"a\"");
    expect_cells(f, SCHEMA_CORE_V1_EVENT,
                 "{" META "},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\"},\"eventTime\":"
                 "\"2024-05-01T11:00:00.000000Z\",\"series\":{\"count\":9,\"lastObservedTime\":"
                 "\"2024-05-01T11:59:00.000000Z\"},\"type\":\"Normal\"}",
                 "\"60s\",\"Normal\",\"\",\"pod/p\",\"\",\"\",\"\",\"60m\",9,\"a\"");
}

static void plain_kinds_show_a_field_or_two(void **state)
{
    struct fixture *f = *state;
    expect_cells(f, SCHEMA_CORE_V1_NAMESPACE, "{" META "},\"status\":{\"phase\":\"Active\"}}",
                 "\"a\",\"Active\",\"5m\"");
    expect_cells(f, SCHEMA_CORE_V1_CONFIG_MAP,
                 "{" META "},\"data\":{\"x\":\"1\",\"y\":\"2\"},\"binaryData\":{\"z\":\"AA==\"}}",
                 "\"a\",3,\"5m\"");
    expect_cells(f, SCHEMA_CORE_V1_SECRET,
                 "{" META "},\"data\":{\"x\":\"AA==\"},\"type\":\"Opaque\"}",
                 "\"a\",\"Opaque\",1,\"5m\"");
    expect_cells(f, SCHEMA_CORE_V1_SERVICE_ACCOUNT, "{\"metadata\":{\"name\":\"a\\\"<\"}}",
                 "\"a\\\"<\",\"<unknown>\"");
    expect_cells(f, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS,
                 "{" META "},\"value\":-7,\"globalDefault\":true,\"preemptionPolicy\":\"Never\"}",
                 "\"a\",-7,true,\"5m\",\"Never\"");
    expect_cells(f, SCHEMA_COORDINATION_V1_LEASE,
                 "{" META "},\"spec\":{\"holderIdentity\":\"me\"}}", "\"a\",\"me\",\"5m\"");
}

/* Kinds without columns of their own get name and birthday. */
static void others_have_the_default_table(void **state)
{
    struct fixture *f = *state;
    expect_cells(f, SCHEMA_META_V1_PARTIAL_OBJECT_METADATA, "{" META "}}",
                 "\"a\",\"2024-05-01T11:55:00Z\"");
    buf_clear(&f->out);
    table_print_columns(schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA), &f->out);
    assert_non_null(
        strstr(text_of(&f->out), "\"name\":\"Created At\",\"type\":\"date\",\"format\":\"\""));
    buf_clear(&f->out);
    table_print_columns(schema_type(SCHEMA_CORE_V1_NAMESPACE), &f->out);
    assert_non_null(strstr(text_of(&f->out),
                           "[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","
                           "\"description\":\"Unique"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_column_has_a_function),
        TEST(ages_are_short),
        TEST(pods_tell_their_status),
        TEST(init_containers_come_first),
        TEST(restarts_say_how_long_ago),
        TEST(pods_have_wide_cells_and_conditions),
        TEST(workloads_count_pods),
        TEST(services_show_where_they_are),
        TEST(endpoints_are_shown_three_at_a_time),
        TEST(nodes_have_roles_and_addresses),
        TEST(events_of_both_groups_look_alike),
        TEST(plain_kinds_show_a_field_or_two),
        TEST(others_have_the_default_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
