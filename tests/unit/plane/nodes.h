/* nodes.h - nodes, leases and pods for the tests of the control plane, as kubelets would write
 * them. */
#ifndef KVD_TESTS_UNIT_PLANE_NODES_H
#define KVD_TESTS_UNIT_PLANE_NODES_H

#include "plugins/object/instant.h"
#include "tests/unit/plane/plane.h"

static inline void node_ready(const char *name, const char *status)
{
    char now[INSTANT_TEXT_BYTES_MAX];
    char json[512];
    int len = (int)instant_print((int64_t)(plane_now_ms() / 1000), now);
    snprintf(json, sizeof json,
             "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\","
             "\"reason\":\"KubeletReady\",\"lastHeartbeatTime\":\"%.*s\","
             "\"lastTransitionTime\":\"%.*s\"}]}}",
             status, len, now, len, now);
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, name, "status", json);
}

static inline void node_renew(const char *name)
{
    char now[INSTANT_TEXT_BYTES_MAX];
    int len = (int)instant_print_micros((int64_t)plane_now_ms() * 1000, now);
    plane_applyf("{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\","
                 "\"metadata\":{\"name\":\"%s\",\"namespace\":\"kube-node-lease\"},"
                 "\"spec\":{\"renewTime\":\"%.*s\",\"leaseDurationSeconds\":40}}",
                 name, len, now);
}

static inline void node_join(const char *name)
{
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\","
                 "\"labels\":{\"kubernetes.io/os\":\"linux\",\"kubernetes.io/arch\":\"amd64\"}}}",
                 name);
    node_ready(name, "True");
    node_renew(name);
}

/* Lets time pass while these nodes live: each renews its lease every 10 s. */
static inline void nodes_live(uint64_t ms, size_t count, const char *const *names)
{
    while (ms > 0) {
        uint64_t step = ms < 10000 ? ms : 10000;
        plane_advance(step);
        ms -= step;
        for (size_t i = 0; i < count; i++) {
            node_renew(names[i]);
        }
    }
}

/* A running, ready pod; seconds: how long it tolerates a node that is down, < 0 = forever. */
static inline void pod_run(const char *name, const char *node, int seconds, const char *ip,
                           const char *labels)
{
    char json[1024];
    char grace[40] = "";
    if (seconds >= 0) {
        snprintf(grace, sizeof grace, ",\"tolerationSeconds\":%d", seconds);
    }
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
                 "\"labels\":%s},\"spec\":{\"nodeName\":\"%s\",\"containers\":[{\"name\":\"c\","
                 "\"image\":\"i\",\"ports\":[{\"name\":\"web\",\"containerPort\":8080}]}],"
                 "\"tolerations\":[{\"key\":\"node.kubernetes.io/not-ready\","
                 "\"operator\":\"Exists\",\"effect\":\"NoExecute\"%s},"
                 "{\"key\":\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\","
                 "\"effect\":\"NoExecute\"%s}]}}",
                 name, labels, node, grace, grace);
    snprintf(json, sizeof json,
             "{\"status\":{\"phase\":\"Running\",\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}],"
             "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
             ip, ip);
    plane_patch(SCHEMA_CORE_V1_POD, "default", name, "status", json);
}

static inline void pod_ready(const char *name, const char *status)
{
    char json[256];
    snprintf(json, sizeof json,
             "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}", status);
    plane_patch(SCHEMA_CORE_V1_POD, "default", name, "status", json);
}

static inline bool pod_is_ending(const char *name)
{
    return plane_text(SCHEMA_CORE_V1_POD, "default", name, "metadata.deletionTimestamp")[0] != 0;
}

#endif
