/* bench_object - what it costs to decode, encode, copy, default, validate and patch a pod of about
 * 3 KiB, on one core: microseconds per object, best of some rounds. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "plugins/object/defaults.h"
#include "plugins/object/encode.h"
#include "plugins/object/object.h"
#include "plugins/object/patch.h"
#include "plugins/object/validate.h"

#define ROUNDS 7
#define TIMES  5000

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* A pod as a deployment makes it and a kubelet reports it. */
static void make_pod(struct buf *out)
{
    buf_append_str(
        out,
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web-6b7f675859-abcde\","
        "\"generateName\":\"web-6b7f675859-\",\"namespace\":\"default\",\"uid\":\"5f3b0c2e-8d0f-"
        "4d6b-"
        "9a55-5b1f4f7a0c11\",\"resourceVersion\":\"123456\",\"creationTimestamp\":\"2024-05-01T10:"
        "00:"
        "00Z\",\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"6b7f675859\",\"tier\":\"front\"}"
        ","
        "\"annotations\":{\"example.com/checksum\":\"0123456789abcdef0123456789abcdef\"},"
        "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-"
        "6b7f675859\",\"uid\":\"0c2e5f3b-8d0f-4d6b-9a55-5b1f4f7a0c11\",\"controller\":true,"
        "\"blockOwnerDeletion\":true}],\"managedFields\":[{\"manager\":\"kube-controller-manager\","
        "\"operation\":\"Update\",\"apiVersion\":\"v1\",\"time\":\"2024-05-01T10:00:00Z\","
        "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:generateName\":{},\"f:"
        "labels\":{"
        "\".\":{},\"f:app\":{},\"f:pod-template-hash\":{}},\"f:ownerReferences\":{\".\":{},\"k:{\\"
        "\"uid\\\":\\\"0c2e5f3b-8d0f-4d6b-9a55-5b1f4f7a0c11\\\"}\":{}}},\"f:spec\":{\"f:"
        "containers\":{"
        "\"k:{\\\"name\\\":\\\"web\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{},\"f:ports\":{}}}}}"
        "}]},"
        "\"spec\":{\"volumes\":[{\"name\":\"kube-api-access-x7x2q\",\"projected\":{\"sources\":[{"
        "\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}},{\"configMap\":{"
        "\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},{"
        "\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\","
        "\"fieldPath\":\"metadata.namespace\"}}]}}],\"defaultMode\":420}}],\"containers\":[{"
        "\"name\":"
        "\"web\",\"image\":\"registry.example.com/web:1.2.3\",\"ports\":[{\"name\":\"http\","
        "\"containerPort\":8080,\"protocol\":\"TCP\"}],\"env\":[{\"name\":\"MODE\",\"value\":"
        "\"production\"},{\"name\":\"POD\",\"valueFrom\":{\"fieldRef\":{\"apiVersion\":\"v1\","
        "\"fieldPath\":\"metadata.name\"}}}],\"resources\":{\"limits\":{\"cpu\":\"500m\","
        "\"memory\":"
        "\"256Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"}},\"volumeMounts\":[{"
        "\"name\":"
        "\"kube-api-access-x7x2q\",\"readOnly\":true,\"mountPath\":\"/var/run/secrets/"
        "kubernetes.io/"
        "serviceaccount\"}],\"livenessProbe\":{\"httpGet\":{\"path\":\"/"
        "healthz\",\"port\":\"http\","
        "\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,\"periodSeconds\":10,\"successThreshold\":1,"
        "\"failureThreshold\":3},\"terminationMessagePath\":\"/dev/termination-log\","
        "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\"}],"
        "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":"
        "\"ClusterFirst\",\"serviceAccountName\":\"default\",\"serviceAccount\":\"default\","
        "\"nodeName\":\"node-17\",\"securityContext\":{},\"schedulerName\":\"default-scheduler\","
        "\"tolerations\":[{\"key\":\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\","
        "\"effect\":\"NoExecute\",\"tolerationSeconds\":300},{\"key\":\"node.kubernetes.io/"
        "unreachable\",\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300}]"
        ","
        "\"priority\":0,\"enableServiceLinks\":true,\"preemptionPolicy\":\"PreemptLowerPriority\"},"
        "\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
        "\"lastProbeTime\":null,\"lastTransitionTime\":\"2024-05-01T10:00:05Z\"},{\"type\":"
        "\"PodScheduled\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2024-"
        "05-"
        "01T10:00:00Z\"}],\"hostIP\":\"10.0.0.17\",\"hostIPs\":[{\"ip\":\"10.0.0.17\"}],\"podIP\":"
        "\"10.1.2.3\",\"podIPs\":[{\"ip\":\"10.1.2.3\"}],\"startTime\":\"2024-05-01T10:00:00Z\","
        "\"containerStatuses\":[{\"name\":\"web\",\"state\":{\"running\":{\"startedAt\":\"2024-05-"
        "01T10:"
        "00:04Z\"}},\"lastState\":{},\"ready\":true,\"restartCount\":0,\"image\":\"registry."
        "example."
        "com/web:1.2.3\",\"imageID\":\"sha256:0123456789abcdef\",\"started\":true}],\"qosClass\":"
        "\"Burstable\"}}");
}

struct bench {
    struct buf json;
    struct buf out;
    struct arena arena;
    struct arena scratch;
    struct object pod;
    struct errmsg e;
};

static int bench_decode(struct bench *b)
{
    struct decode_report report;
    arena_clear(&b->scratch);
    struct object o;
    return object_decode(&o, schema_type(SCHEMA_CORE_V1_POD), &b->scratch, buf_slice(&b->json),
                         &report, &b->e);
}

static int bench_encode(struct bench *b)
{
    buf_clear(&b->out);
    object_encode(&b->pod, &b->out);
    return b->out.failed;
}

static int bench_copy(struct bench *b)
{
    struct object o;
    arena_clear(&b->scratch);
    return object_copy(&b->pod, &b->scratch, &o);
}

static int bench_equal(struct bench *b)
{
    return object_equal(&b->pod, &b->pod) ? 0 : 1;
}

static int bench_paths(struct bench *b)
{
    return object_int(&b->pod, "spec.terminationGracePeriodSeconds", 0) == 30 &&
                   object_text(&b->pod, "metadata.labels[app]").len == 3 &&
                   object_text(&b->pod, "spec.containers[0].image").len > 0
               ? 0
               : 1;
}

static int bench_default(struct bench *b)
{
    return object_default(&b->pod);
}

static int bench_validate(struct bench *b)
{
    static struct causes causes;
    arena_clear(&b->scratch);
    causes_init(&causes, &b->scratch);
    validate_create(&b->pod, &causes);
    return causes.count > 0;
}

/* What a kubelet sends about a pod that became ready. */
static int bench_patch(struct bench *b)
{
    static const char change[] =
        "{\"metadata\":{\"uid\":\"5f3b0c2e-8d0f-4d6b-9a55-5b1f4f7a0c11\"},\"status\":{"
        "\"$setElementOrder/conditions\":[{\"type\":\"PodScheduled\"},{\"type\":\"Ready\"}],"
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}],\"phase\":\"Failed\"}}";
    struct object o;
    struct decode_report report;
    arena_clear(&b->scratch);
    return object_patch(&b->pod, PATCH_STRATEGIC, slice_str(change), &b->scratch, &o, &report,
                        &b->e);
}

static const struct {
    const char *name;
    int (*run)(struct bench *b);
} benches[] = {
    {"decode strictly", bench_decode},
    {"encode", bench_encode},
    {"copy", bench_copy},
    {"compare", bench_equal},
    {"read three paths", bench_paths},
    {"set defaults again", bench_default},
    {"validate", bench_validate},
    {"patch strategically", bench_patch},
};

int main(void)
{
    struct bench b = {0};
    buf_init(&b.json);
    buf_init(&b.out);
    arena_init(&b.arena, 0);
    arena_init(&b.scratch, 0);
    make_pod(&b.json);
    int rc = object_decode(&b.pod, schema_type(SCHEMA_CORE_V1_POD), &b.arena, buf_slice(&b.json),
                           NULL, &b.e);
    if (rc != 0) {
        fprintf(stderr, "bench_object: %s\n", b.e.text);
        return 1;
    }
    printf("a pod of %zu bytes, %zu in memory\n", b.json.len, b.arena.used);
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
        double best = 1e18;
        for (int round = 0; round < ROUNDS; round++) {
            double start = now_us();
            for (int k = 0; k < TIMES; k++) {
                if (benches[i].run(&b) != 0) {
                    fprintf(stderr, "bench_object: %s failed\n", benches[i].name);
                    return 1;
                }
            }
            double each = (now_us() - start) / TIMES;
            best = each < best ? each : best;
        }
        printf("%-20s %8.2f us\n", benches[i].name, best);
    }
    buf_close(&b.json);
    buf_close(&b.out);
    arena_close(&b.arena);
    arena_close(&b.scratch);
    return 0;
}
