/* kubelet.c - subresources that a kubelet answers: log, exec, attach, portforward, proxy. Nothing
 * here talks to kubelets; what can be known without one is answered as Kubernetes does. */
#include "plugins/apiserver/sub.h"
#include "plugins/apiserver/url.h"

static bool kubelet_is(const struct exchange *ex, const char *sub)
{
    return slice_eq(ex->request.sub, slice_str(sub));
}

/* The container asked for; data NULL = none is named. */
static int kubelet_container(struct exchange *ex, struct slice *out)
{
    struct slice query = ex->query_text;
    struct slice name;
    struct slice value;
    int rc;
    *out = slice_of(NULL, 0);
    while ((rc = url_next_pair(&query, &ex->arena, &name, &value)) == 0) {
        if (slice_eq(name, slice_str("container"))) {
            *out = value;
        }
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static bool kubelet_find(const struct object *pod, const char *list, struct slice name,
                         struct buf *names)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct value *v = object_get(pod, list);
    bool found = false;
    for (size_t i = 0; i < value_len(v); i++) {
        struct slice one = value_slice(value_find(t, &v->items[i], "name"));
        found = found || slice_eq(one, name);
        buf_append_str(names, i > 0 ? " " : "");
        buf_append_slice(names, one);
    }
    return found;
}

/* A container of the pod is meant, and it is clear which. False: answered. */
static bool kubelet_check_container(struct exchange *ex, const struct object *pod)
{
    struct slice name;
    struct slice pod_name = ex->request.name;
    struct buf names;
    buf_init(&names);
    int rc = kubelet_container(ex, &name);
    bool found = kubelet_find(pod, "spec.containers", name, &names);
    size_t len = names.len;
    found = kubelet_find(pod, "spec.initContainers", name, &names) || found;
    if (rc != 0 || names.failed) {
        exchange_no_memory(ex);
    } else if (name.len == 0 && value_len(object_get(pod, "spec.containers")) > 1) {
        exchange_fail(ex, status_bad_request(
                              &ex->arena,
                              "a container name must be specified for pod %.*s, choose one of: "
                              "[%.*s]",
                              (int)pod_name.len, (const char *)pod_name.data, (int)len,
                              (const char *)names.data));
    } else if (name.len > 0 && !found) {
        exchange_fail(ex, status_bad_request(&ex->arena, "container %.*s is not valid for pod %.*s",
                                             (int)name.len, (const char *)name.data,
                                             (int)pod_name.len, (const char *)pod_name.data));
    } else {
        buf_close(&names);
        return true;
    }
    buf_close(&names);
    return false;
}

static void kubelet_pod(struct exchange *ex, const struct object *pod)
{
    struct slice node = object_text(pod, "spec.nodeName");
    struct slice name = ex->request.name;
    bool portforward = kubelet_is(ex, "portforward");
    if (!portforward && !kubelet_is(ex, "proxy") && !kubelet_check_container(ex, pod)) {
        return;
    }
    if (node.len == 0 && kubelet_is(ex, "log")) {
        exchange_answer(ex, 200, "text/plain", slice_of("", 0));
    } else if (node.len == 0) {
        exchange_fail(ex, status_bad_request(&ex->arena, "pod %.*s does not have a host assigned",
                                             (int)name.len, (const char *)name.data));
    } else {
        exchange_fail(ex, status_unavailable(&ex->arena,
                                             "pods/%.*s needs the kubelet of node \"%.*s\", and "
                                             "this API server does not connect to kubelets",
                                             (int)ex->request.sub.len,
                                             (const char *)ex->request.sub.data, (int)node.len,
                                             (const char *)node.data));
    }
}

static void kubelet_answer(struct exchange *ex, const struct object *o)
{
    struct slice name = ex->request.name;
    if (o->type == schema_type(SCHEMA_CORE_V1_POD)) {
        kubelet_pod(ex, o);
    } else if (o->type == schema_type(SCHEMA_CORE_V1_SERVICE)) {
        exchange_fail(ex, status_unavailable(&ex->arena,
                                             "services/proxy needs the pods of service \"%.*s\", "
                                             "and this API server does not connect to pods",
                                             (int)name.len, (const char *)name.data));
    } else {
        exchange_fail(ex, status_unavailable(&ex->arena,
                                             "nodes/proxy needs the kubelet of node \"%.*s\", and "
                                             "this API server does not connect to kubelets",
                                             (int)name.len, (const char *)name.data));
    }
}

/* [scheme:]name[:port] of a proxy: only the name is needed. */
static struct slice kubelet_name(struct exchange *ex)
{
    struct slice name = ex->request.name;
    size_t colons = 0;
    size_t at[2] = {0, 0};
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == ':' && colons < 2) {
            at[colons++] = i;
        }
    }
    if (!kubelet_is(ex, "proxy") || colons == 0) {
        return name;
    }
    return colons == 1 ? slice_of(name.data, at[0])
                       : slice_of(name.data + at[0] + 1, at[1] - at[0] - 1);
}

void sub_kubelet(struct exchange *ex)
{
    ex->request.name = kubelet_name(ex);
    if (ex->request.name.len == 0) {
        exchange_fail(ex, status_bad_request(&ex->arena, "invalid name for a proxy request"));
    } else {
        sub_read(ex, kubelet_answer);
    }
}
