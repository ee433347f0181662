/* test_validate - what is refused, with Kubernetes' sentences, at creation and at update. */
#include "plugins/object/validate.h"

#include "tests/unit/apiserver/fixture.h"
#include "plugins/object/defaults.h"

static struct causes causes;

static const char *message(struct fixture *f, const struct object *o)
{
    struct buf kind;
    buf_init(&kind);
    buf_clear(&f->out);
    causes_kind(o->type, &kind);
    causes_message(&causes, text_of(&kind), object_text(o, "metadata.name"), &f->out);
    buf_close(&kind);
    assert_false(causes.failed);
    return text_of(&f->out);
}

/* Decodes, defaults and validates. */
static struct object create(struct fixture *f, enum schema_type_id type, const char *json)
{
    struct object o = decoded(f, type, json);
    assert_int_equal(object_default(&o), 0);
    causes_init(&causes, &f->arena);
    validate_create(&o, &causes);
    return o;
}

#define ASSERT_FINE(f, type, json)                        \
    do {                                                  \
        struct object made = create((f), (type), (json)); \
        if (causes.count > 0) {                           \
            assert_string_equal(message((f), &made), ""); \
        }                                                 \
    } while (0)

#define ASSERT_REFUSED(f, type, json, text)               \
    do {                                                  \
        struct object made = create((f), (type), (json)); \
        assert_string_equal(message((f), &made), (text)); \
    } while (0)

/* "metadata": a name, a namespace and a resource version. */
#define META "\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"resourceVersion\":\"1\"}"
#define C    "{\"name\":\"c\",\"image\":\"i\"}"
#define TEMPLATE                                                                                  \
    "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":" \
    "\"b\"}},"                                                                                    \
    "\"spec\":{\"containers\":[" C "]}}"

static void good_objects_pass(void **state)
{
    struct fixture *f = *state;
    ASSERT_FINE(f, SCHEMA_CORE_V1_POD, "{" META ",\"spec\":{\"containers\":[" C "]}}");
    ASSERT_FINE(f, SCHEMA_APPS_V1_DEPLOYMENT, "{" META ",\"spec\":{" TEMPLATE "}}");
    ASSERT_FINE(f, SCHEMA_APPS_V1_REPLICA_SET, "{" META ",\"spec\":{" TEMPLATE "}}");
    ASSERT_FINE(f, SCHEMA_CORE_V1_SERVICE, "{" META ",\"spec\":{\"ports\":[{\"port\":80}]}}");
    ASSERT_FINE(f, SCHEMA_CORE_V1_CONFIG_MAP, "{" META ",\"data\":{\"k\":\"v\"}}");
    ASSERT_FINE(f, SCHEMA_CORE_V1_SECRET, "{" META ",\"stringData\":{\"k\":\"v\"}}");
    ASSERT_FINE(f, SCHEMA_CORE_V1_NAMESPACE, "{\"metadata\":{\"name\":\"a\"}}");
    ASSERT_FINE(f, SCHEMA_CORE_V1_NODE, "{\"metadata\":{\"name\":\"a\"}}");
    ASSERT_FINE(f, SCHEMA_COORDINATION_V1_LEASE,
                "{" META ",\"spec\":{\"leaseDurationSeconds\":40}}");
    ASSERT_FINE(f, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS,
                "{\"metadata\":{\"name\":\"a\"},\"value\":1}");
    ASSERT_FINE(f, SCHEMA_CORE_V1_ENDPOINTS,
                "{" META
                ",\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"}],"
                "\"ports\":[{\"port\":1}]}]}");
    ASSERT_FINE(f, SCHEMA_CORE_V1_EVENT, "{" META ",\"involvedObject\":{\"namespace\":\"d\"}}");
}

static void names_are_checked(void **state)
{
    struct fixture *f = *state;
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_CONFIG_MAP, "{\"metadata\":{\"namespace\":\"d\"}}",
                   "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName "
                   "is required");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_CONFIG_MAP, "{\"metadata\":{\"name\":\"A_b\",\"namespace\":\"d\"}}",
        "ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase "
        "RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'example.com', "
        "regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_SERVICE,
        "{\"metadata\":{\"name\":\"1a\",\"namespace\":\"d\"},\"spec\":{\"ports\":[{\"port\":1}]}}",
        "Service \"1a\" is invalid: metadata.name: Invalid value: \"1a\": a DNS-1035 label "
        "must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  "
        "or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_NAMESPACE,
                   "{\"metadata\":{\"name\":\"a.b\",\"namespace\":\"x\"}}",
                   "Namespace \"a.b\" is invalid: [metadata.name: Invalid value: \"a.b\": must not "
                   "contain dots, metadata.namespace: Forbidden: not allowed on this type]");
    /* A generated name ends in letters of the server's. */
    struct object o =
        create(f, SCHEMA_CORE_V1_CONFIG_MAP,
               "{\"metadata\":{\"generateName\":\"a-\",\"name\":\"a-1\",\"namespace\":\"d\"}}");
    (void)o;
    assert_int_equal(causes.count, 0);
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_CONFIG_MAP,
        "{\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"labels\":{\"a/b/c\":\"x\",\"-\":\"y "
        "z\"}}}",
        "ConfigMap \"a\" is invalid: [metadata.labels: Invalid value: \"-\": name part must "
        "consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
        "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
        "for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), metadata.labels: "
        "Invalid value: \"y z\": a valid label must be an empty string or consist of "
        "alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
        "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?'), metadata.labels: "
        "Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric "
        "characters, '-', '_' or '.', and must start and end with an alphanumeric character "
        "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix "
        "and '/' (e.g. 'example.com/MyName')]");
}

static void pods_are_checked(void **state)
{
    struct fixture *f = *state;
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{" META "}",
                   "Pod \"a\" is invalid: spec.containers: Required value");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"restartPolicy\":\"Sometimes\",\"containers\":[{}]}}",
        "Pod \"a\" is invalid: [spec.containers[0].name: Required value, "
        "spec.containers[0].image: Required value, spec.restartPolicy: Unsupported value: "
        "\"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"containers\":[" C "," C "],\"volumes\":[{\"name\":\"v\"},{"
        "\"name\":\"v\",\"emptyDir\":{},\"hostPath\":{\"path\":\"/x\"}}]}}",
        "Pod \"a\" is invalid: [spec.volumes[1].hostPath: Forbidden: may not specify more "
        "than 1 volume type, spec.volumes[1].name: Duplicate value: \"v\", "
        "spec.containers[1].name: Duplicate value: \"c\"]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"volumeMounts\":"
        "[{\"name\":\"v\",\"mountPath\":\"/a\"}],\"ports\":[{\"containerPort\":80,"
        "\"hostPort\":80},{\"containerPort\":70000,\"hostPort\":80,\"name\":\"UP\"}]}]}}",
        "Pod \"a\" is invalid: [spec.containers[0].ports[1].name: Invalid value: \"UP\": must "
        "contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), "
        "spec.containers[0].ports[1].name: Invalid value: \"UP\": must contain at least one "
        "letter (a-z), spec.containers[0].ports[1].containerPort: Invalid value: 70000: must "
        "be between 1 and 65535, inclusive, spec.containers[0].volumeMounts[0].name: Not "
        "found: \"v\", spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{"
        "\"limits\":{\"cpu\":\"500m\",\"x.y/z\":\"2\"},\"requests\":{\"cpu\":\"1\",\"memory\":"
        "\"-1\",\"x.y/z\":\"1\"}}}]}}",
        "Pod \"a\" is invalid: [spec.containers[0].resources.requests[memory]: Invalid value: "
        "\"-1\": must be greater than or equal to 0, spec.containers[0].resources.requests: "
        "Invalid value: \"1\": must be less than or equal to cpu limit of 500m, "
        "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to x.y/z "
        "limit of 2]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"containers\":[" C "],\"tolerations\":[{\"operator\":\"Equal\"},{"
        "\"key\":\"k\",\"tolerationSeconds\":1}],\"activeDeadlineSeconds\":0}}",
        "Pod \"a\" is invalid: [spec.tolerations[0].operator: Invalid value: \"Equal\": "
        "operator must be Exists when `key` is empty, which means \"match all values and "
        "all keys\", spec.tolerations[1].effect: Invalid value: \"\": effect must be "
        "'NoExecute' when `tolerationSeconds` is set, spec.activeDeadlineSeconds: Invalid "
        "value: 0: must be between 1 and 2147483647, inclusive]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"livenessProbe\":"
        "{\"periodSeconds\":-1},\"env\":[{\"name\":\"a=b\"},{\"name\":\"x\",\"value\":\"1\","
        "\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}]}]}}",
        "Pod \"a\" is invalid: [spec.containers[0].env[0].name: Invalid value: \"a=b\": a "
        "valid environment variable name must consist only of printable ASCII characters "
        "other than '=', spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be "
        "specified when `value` is not empty, "
        "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater "
        "than or equal to 0, spec.containers[0].livenessProbe: Required value: must specify a "
        "handler type]");
}

static void workloads_are_checked(void **state)
{
    struct fixture *f = *state;
    ASSERT_REFUSED(
        f, SCHEMA_APPS_V1_DEPLOYMENT,
        "{" META ",\"spec\":{\"replicas\":-1,\"template\":{\"spec\":{\"containers\":[" C "]}}}}",
        "Deployment.apps \"a\" is invalid: [spec.replicas: Invalid value: -1: must be greater "
        "than or equal to 0, spec.selector: Required value, spec.template.metadata.labels: "
        "Invalid value: null: `selector` does not match template `labels`]");
    ASSERT_REFUSED(
        f, SCHEMA_APPS_V1_DEPLOYMENT,
        "{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"c\"}},\"template\":{"
        "\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"restartPolicy\":\"Never\","
        "\"containers\":[" C "]}}}}",
        "Deployment.apps \"a\" is invalid: [spec.template.metadata.labels: Invalid value: "
        "{\"a\":\"b\"}: `selector` does not match template `labels`, "
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: "
        "\"Always\"]");
    ASSERT_REFUSED(f, SCHEMA_APPS_V1_DEPLOYMENT,
                   "{" META ",\"spec\":{" TEMPLATE
                   ",\"strategy\":{\"rollingUpdate\":{\"maxSurge\":0,"
                   "\"maxUnavailable\":\"0%\"}},\"minReadySeconds\":600}}",
                   "Deployment.apps \"a\" is invalid: [spec.strategy.rollingUpdate.maxUnavailable: "
                   "Invalid value: \"0%\": may not be 0 when `maxSurge` is 0, "
                   "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than "
                   "minReadySeconds]");
    ASSERT_REFUSED(
        f, SCHEMA_APPS_V1_REPLICA_SET,
        "{" META ",\"spec\":{\"selector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":"
        "\"In\"},{\"key\":\"a\",\"operator\":\"Is\"}]},\"template\":{\"spec\":{\"containers\":[" C
        "]}}}}",
        "ReplicaSet.apps \"a\" is invalid: [spec.selector.matchExpressions[0].values: Required "
        "value: must be specified when `operator` is 'In' or 'NotIn', "
        "spec.selector.matchExpressions[1].operator: Invalid value: \"Is\": not a valid "
        "selector operator, spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":"
        "\"a\",\"operator\":\"In\"},{\"key\":\"a\",\"operator\":\"Is\"}]}: invalid label "
        "selector]");
}

static void other_kinds_are_checked(void **state)
{
    struct fixture *f = *state;
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_SERVICE, "{" META "}",
                   "Service \"a\" is invalid: spec.ports: Required value");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_SERVICE,
        "{" META ",\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"None\",\"ports\":[{\"port\":0"
        ",\"name\":\"a\"},{\"port\":80}]}}",
        "Service \"a\" is invalid: [spec.clusterIPs[0]: Invalid value: \"None\": may not be "
        "set to 'None' for NodePort services, spec.ports[0].port: Invalid value: 0: must be "
        "between 1 and 65535, inclusive, spec.ports[0].targetPort: Invalid value: 0: must be "
        "between 1 and 65535, inclusive, spec.ports[1].name: Required value]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_CONFIG_MAP,
        "{" META ",\"data\":{\"a b\":\"\",\"k\":\"\"},\"binaryData\":{\"k\":\"\"}}",
        "ConfigMap \"a\" is invalid: [data[a b]: Invalid value: \"a b\": a valid config key "
        "must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
        "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+'), "
        "data[k]: Invalid value: \"k\": duplicate of key present in binaryData]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_SECRET, "{" META ",\"type\":\"kubernetes.io/tls\"}",
        "Secret \"a\" is invalid: [data[tls.crt]: Required value, data[tls.key]: Required "
        "value]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_SECRET,
        "{" META ",\"type\":\"kubernetes.io/dockerconfigjson\",\"stringData\":{"
        "\".dockerconfigjson\":\"{x\"}}",
        "Secret \"a\" is invalid: data[.dockerconfigjson]: Invalid value: \"<secret contents "
        "redacted>\": invalid character 'x' looking for beginning of object key string");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_ENDPOINTS,
        "{" META ",\"subsets\":[{\"addresses\":[{\"ip\":\"127.0.0.1\"},{\"ip\":\"x\"}],"
        "\"ports\":[{\"port\":0}]}]}",
        "Endpoints \"a\" is invalid: [subsets[0].addresses[0].ip: Invalid value: "
        "\"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128), "
        "subsets[0].addresses[1].ip: Invalid value: \"x\": must be a valid IP address, "
        "subsets[0].addresses[1].ip: Invalid value: \"x\": must be a valid IP address, (e.g. "
        "10.9.8.7 or 2001:db8::ffff), subsets[0].ports[0].port: Invalid value: 0: must be "
        "between 1 and 65535, inclusive]");
    ASSERT_REFUSED(f, SCHEMA_COORDINATION_V1_LEASE,
                   "{" META ",\"spec\":{\"leaseDurationSeconds\":0}}",
                   "Lease.coordination.k8s.io \"a\" is invalid: spec.leaseDurationSeconds: Invalid "
                   "value: 0: must be greater than 0");
    ASSERT_REFUSED(
        f, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS,
        "{\"metadata\":{\"name\":\"a\"},\"value\":1000000001}",
        "PriorityClass.scheduling.k8s.io \"a\" is invalid: value: Forbidden: maximum allowed "
        "value of a user defined priority is 1000000000");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_EVENT, "{" META ",\"involvedObject\":{\"namespace\":\"e\"}}",
        "Event \"a\" is invalid: involvedObject.namespace: Invalid value: \"e\": does not "
        "match event.namespace");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_NODE,
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"No\"}]}}",
        "Node \"a\" is invalid: metadata.taints[0].effect: Unsupported value: \"No\": supported "
        "values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"");
}

/* The causes as a Status carries them. */
static void causes_have_reason_message_and_field(void **state)
{
    struct fixture *f = *state;
    struct object o = create(f, SCHEMA_CORE_V1_POD, "{" META "}");
    (void)o;
    assert_int_equal(causes.count, 1);
    assert_string_equal(cause_reason_name(causes.items[0].reason), "FieldValueRequired");
    assert_true(slice_eq(causes.items[0].message, slice_str("Required value")));
    assert_true(slice_eq(causes.items[0].field, slice_str("spec.containers")));
}

static const char *updated(struct fixture *f, enum schema_type_id type, const char *from,
                           const char *to)
{
    struct object old = decoded(f, type, from);
    struct object new = decoded(f, type, to);
    assert_int_equal(object_default(&old), 0);
    assert_int_equal(object_default(&new), 0);
    causes_init(&causes, &f->arena);
    validate_update(&new, &old, &causes);
    return causes.count == 0 ? "" : message(f, &new);
}

static void updates_keep_what_is_immutable(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(
        updated(
            f, SCHEMA_CORE_V1_CONFIG_MAP,
            "{\"metadata\":{\"name\":\"a\",\"uid\":\"1\",\"generation\":2,\"deletionTimestamp\":"
            "\"2024-01-01T00:00:00Z\"},\"immutable\":true}",
            "{\"metadata\":{\"name\":\"a\",\"uid\":\"2\",\"generation\":1,\"deletionTimestamp\":"
            "\"2024-01-01T00:00:00Z\",\"finalizers\":[\"x/y\"]},\"data\":{\"k\":\"v\"}}"),
        "ConfigMap \"a\" is invalid: [metadata.finalizers: Forbidden: no new finalizers can be "
        "added if "
        "the object is being deleted, found new finalizers []string{\"x/y\"}, "
        "metadata.resourceVersion: Invalid value: \"\": must be specified for an update, "
        "metadata.generation: Invalid value: 1: must not be decremented, metadata.uid: Invalid "
        "value: "
        "\"2\": field is immutable, immutable: Forbidden: field is immutable when `immutable` is "
        "set, "
        "data: Forbidden: field is immutable when `immutable` is set]");
    assert_string_equal(
        updated(f, SCHEMA_CORE_V1_SECRET, "{" META ",\"type\":\"a\"}", "{" META ",\"type\":\"b\"}"),
        "Secret \"a\" is invalid: type: Invalid value: \"b\": field is immutable");
    assert_string_equal(
        updated(
            f, SCHEMA_APPS_V1_DEPLOYMENT, "{" META ",\"spec\":{" TEMPLATE "}}",
            "{" META
            ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"c\"}},\"template\":{\"metadata\":"
            "{\"labels\":{\"a\":\"c\"}},\"spec\":{\"containers\":[" C "]}}}}"),
        "Deployment.apps \"a\" is invalid: spec.selector: Invalid value: "
        "{\"matchLabels\":{\"a\":\"c\"}}: "
        "field is immutable");
    assert_string_equal(
        updated(f, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS,
                "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"value\":1}",
                "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"value\":2}"),
        "PriorityClass.scheduling.k8s.io \"a\" is invalid: value: Forbidden: may not be changed in "
        "an "
        "update.");
    assert_string_equal(
        updated(f, SCHEMA_CORE_V1_SERVICE,
                "{" META ",\"spec\":{\"clusterIP\":\"10.0.0.1\",\"ports\":[{\"port\":1}]}}",
                "{" META ",\"spec\":{\"clusterIP\":\"10.0.0.2\",\"ports\":[{\"port\":1}]}}"),
        "Service \"a\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may "
        "not change once set");
}

static void pods_change_little(void **state)
{
    struct fixture *f = *state;
    const char *pod = "{" META ",\"spec\":{\"containers\":[" C "],\"tolerations\":[{\"key\":\"k\","
                      "\"operator\":\"Exists\"}],\"schedulingGates\":[{\"name\":\"x/g\"}]}}";
    assert_string_equal(updated(f, SCHEMA_CORE_V1_POD, pod, pod), "");
    assert_string_equal(
        updated(
            f, SCHEMA_CORE_V1_POD, pod,
            "{" META
            ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"j\",\"imagePullPolicy\":"
            "\"Always\"}],\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"},{\"key\":\"l\","
            "\"operator\":\"Exists\"}],\"activeDeadlineSeconds\":5}}"),
        "");
    assert_string_equal(
        updated(f, SCHEMA_CORE_V1_POD, pod,
                "{" META ",\"spec\":{\"containers\":[" C
                "],\"nodeName\":\"n\",\"schedulingGates\":[{"
                "\"name\":\"x/h\"}]}}"),
        "Pod \"a\" is invalid: [spec.schedulingGates[0].name: Forbidden: only deletion is allowed, "
        "but "
        "found new scheduling gate 'x/h', spec.tolerations: Forbidden: existing toleration can not "
        "be "
        "modified except its tolerationSeconds, spec: Forbidden: pod updates may not change fields "
        "other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
        "negative)]");
}

/* Places and values as Kubernetes has them, where its inner types show through. */
static void odd_places_are_as_they_are(void **state)
{
    struct fixture *f = *state;
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"containers\":[" C
        "],\"schedulingGates\":[{\"name\":\"g\"},{\"name\":"
        "\"g\"}],\"os\":{\"name\":\"x\"},\"hostAliases\":[{\"ip\":\"x\"}],\"preemptionPolicy\":"
        "\"X\"}}",
        "Pod \"a\" is invalid: [spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP "
        "address, (e.g. 10.9.8.7 or 2001:db8::ffff), spec.preemptionPolicy: Unsupported value: "
        "\"X\": supported values: \"PreemptLowerPriority\", \"Never\", spec.schedulingGates[1]: "
        "Duplicate value: \"g\", spec.os: Unsupported value: \"x\": supported values: \"linux\", "
        "\"windows\"]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_NODE,
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":"
        "\"NoSchedule\"},"
        "{\"key\":\"k\",\"effect\":\"NoSchedule\"}]},\"status\":{\"capacity\":{\"memory\":\"-1\"}}"
        "}",
        "Node \"a\" is invalid: [metadata.taints[1]: Duplicate value: "
        "{\"Key\":\"k\",\"Value\":\"\","
        "\"Effect\":\"NoSchedule\",\"TimeAdded\":null}: taints must be unique by key and effect "
        "pair, "
        "status.capacity.memory: Invalid value: \"-1\": must be greater than or equal to 0, "
        "status.allocatable.memory: Invalid value: \"-1\": must be greater than or equal to 0]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_SERVICE,
        "{" META
        ",\"spec\":{\"externalTrafficPolicy\":\"Local\",\"ports\":[{\"port\":80,\"name\":\"a\"},"
        "{\"port\":80,\"name\":\"b\"}]}}",
        "Service \"a\" is invalid: [spec.ports[1]: Duplicate value: "
        "{\"Name\":\"\",\"Protocol\":\"TCP\","
        "\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}, "
        "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for "
        "externally-accessible services]");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_CONFIG_MAP,
                   "{\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"finalizers\":[\"x\"],"
                   "\"ownerReferences\":[{"
                   "\"apiVersion\":\"v1\",\"kind\":\"Event\",\"name\":\"e\",\"uid\":\"u\"}]}}",
                   "ConfigMap \"a\" is invalid: [metadata.finalizers[0]: Invalid value: \"x\": "
                   "name is neither a "
                   "standard finalizer name nor is it fully qualified, metadata.ownerReferences: "
                   "Invalid value: "
                   "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"name\":\"e\",\"uid\":\"u\"}: /v1, "
                   "Kind=Event is "
                   "disallowed from being an owner]");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD,
        "{" META ",\"spec\":{\"containers\":[" C "],\"affinity\":{\"nodeAffinity\":{"
        "\"requiredDuringSchedulingIgnoredDuringExecution\":{}}},\"topologySpreadConstraints\":[{}]"
        "}}",
        "Pod \"a\" is invalid: [spec.affinity.nodeAffinity."
        "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must "
        "have at "
        "least one node selector term, spec.topologySpreadConstraints[0].topologyKey: Required "
        "value: "
        "can not be empty, spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "
        "\"\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\", "
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero]");
}

/* Lists whose items are compared with each other are bounded. */
static void long_lists_are_refused(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "{" META ",\"spec\":{\"ports\":[");
    for (int i = 0; i < 2001; i++) {
        buf_printf(&b, "%s{\"port\":1}", i > 0 ? "," : "");
    }
    buf_append_str(&b, "]}}");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_SERVICE, text_of(&b),
        "Service \"a\" is invalid: spec.ports: Too many: 2001: must have at most 2000 items");
    buf_close(&b);
}

static void functions_are_announced(void **state)
{
    (void)state;
    for (size_t i = 0; i < schema_type_count; i++) {
        if (validate_function(schema_types + i) != NULL) {
            assert_true(schema_types[i].flags & SCHEMA_TYPE_CHECKED);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(good_objects_pass),
        T(names_are_checked),
        T(pods_are_checked),
        T(workloads_are_checked),
        T(other_kinds_are_checked),
        T(causes_have_reason_message_and_field),
        T(updates_keep_what_is_immutable),
        T(pods_change_little),
        T(odd_places_are_as_they_are),
        T(long_lists_are_refused),
        T(functions_are_announced),
    };
    return cmocka_run_group_tests_name("apiserver/validate", tests, NULL, NULL);
}
