/* service_pods.h - which pods are behind a service, and at which address and port. Pure. What is
 * returned points into the objects given. */
#ifndef KVD_CONTROLLERS_SERVICE_PODS_H
#define KVD_CONTROLLERS_SERVICE_PODS_H

#include "plugins/client/client.h"

/* The service's endpoints are computed: it has a selector and is not of type ExternalName. */
bool service_is_selecting(const struct object *service);
/* A pod of the same namespace with all labels of the selector, which is not empty. */
bool service_selects(const struct object *service, const struct object *pod);
/* It has no address of its own. */
bool service_is_headless(const struct object *service);
/* The pod has an address and has not ended; ending ones only if asked for. */
bool service_pod_counts(const struct object *pod, bool with_ending);
bool service_pod_ready(const struct object *pod);

enum service_family { SERVICE_IPV4, SERVICE_IPV6 };
/* The families of addresses it has; both false never. */
struct service_families {
    bool ipv4, ipv6;
    enum service_family first;
};
struct service_families service_families(const struct object *service);
/* The pod's first address of a family; empty: none. */
struct slice service_pod_ip(const struct object *pod, enum service_family family);
enum service_family service_ip_family(struct slice ip);

/* The number a ServicePort message means at a pod: a port by name is looked for in its containers,
 * restartable init containers included. 0: the pod has none. */
int64_t service_port_number(const struct value *port, const struct object *pod);
struct slice service_port_text(const struct value *port, const char *member);
/* The name a pod has in the service's domain; empty: none of its own. */
struct slice service_hostname(const struct object *service, const struct object *pod);

/* A message ObjectReference to a pod: kind, namespace, name, uid. 0 or ERR_NOMEM. */
int service_pod_reference(struct arena *a, const struct object *pod, struct value *out);

/* Whether endpoints can differ between two states of a pod. */
bool service_pod_differs(const struct object *before, const struct object *now);
/* What the last-change-trigger-time annotation says: which change caused this one. Kept for each
 * service: the newest time its pods became ready or not, and how many did at it. */
struct service_trigger {
    bool known;
    int64_t newest_s;
    size_t count;
};
/* Takes note of a pod of the service; in the end service_trigger_time. */
struct service_trigger_scan {
    struct service_trigger next;
    int64_t oldest_s; /* of those newer than what was known; 0 = none */
};
void service_trigger_pod(const struct service_trigger *t, struct service_trigger_scan *scan,
                         const struct object *pod);
/* Seconds since 1970; 0 = no cause is known. *t is what is known now. */
int64_t service_trigger_time(struct service_trigger *t, const struct service_trigger_scan *scan,
                             const struct object *service);

#endif
