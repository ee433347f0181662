/* endpoints_subsets.c - packing addresses and ports into subsets. */
#include "plugins/controllers/endpoints_subsets.h"

#include <stdlib.h>

#include "plugins/controllers/message.h"
#include "plugins/controllers/service_pods.h"
#include "plugins/object/instant.h"

/* A port and who has it: numbers of pods * 2, + 1 when ready, ascending. */
struct endpoints_port {
    struct endpoints_port *next;
    struct slice name, protocol, app;
    int64_t number; /* -1: the service has no ports */
    uint32_t *who;
    size_t count, room;
    bool packed;
};

struct endpoints_pack {
    struct arena *arena;
    const struct object *service;
    const struct object **pods;
    struct slice *ips; /* of the pods */
    struct endpoints_port *ports;
    size_t port_count;
};

/* ---- gathering ------------------------------------------------------------------------------ */

static struct endpoints_port *endpoints_port_of(struct endpoints_pack *p,
                                                const struct endpoints_port *like)
{
    for (struct endpoints_port *e = p->ports; e != NULL; e = e->next) {
        if (e->number == like->number && slice_eq(e->name, like->name) &&
            slice_eq(e->protocol, like->protocol) && slice_eq(e->app, like->app)) {
            return e;
        }
    }
    struct endpoints_port *e = arena_alloc(p->arena, sizeof *e);
    if (e != NULL) {
        *e = *like;
        e->next = p->ports;
        p->ports = e;
        p->port_count++;
    }
    return e;
}

static int endpoints_offer(struct endpoints_pack *p, const struct endpoints_port *like, size_t pod,
                           bool ready)
{
    struct endpoints_port *e = endpoints_port_of(p, like);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    if (e->count == e->room) {
        size_t room = e->room == 0 ? 16 : e->room * 2;
        uint32_t *who = arena_alloc(p->arena, room * sizeof *who);
        if (who == NULL) {
            return ERR_NOMEM;
        }
        if (e->count > 0) {
            memcpy(who, e->who, e->count * sizeof *who);
        }
        e->who = who;
        e->room = room;
    }
    e->who[e->count++] = (uint32_t)(pod * 2 + ready);
    return 0;
}

static int endpoints_offer_all(struct endpoints_pack *p, size_t pod, bool ready)
{
    const struct value *ports = object_get(p->service, "spec.ports");
    struct endpoints_port like = {.number = -1};
    if (value_len(ports) == 0) {
        return service_is_headless(p->service) ? endpoints_offer(p, &like, pod, ready) : 0;
    }
    int rc = 0;
    for (size_t i = 0; i < value_len(ports) && rc == 0; i++) {
        const struct value *port = &ports->items[i];
        like = (struct endpoints_port){.number = service_port_number(port, p->pods[pod]),
                                       .name = service_port_text(port, "name"),
                                       .protocol = service_port_text(port, "protocol"),
                                       .app = service_port_text(port, "appProtocol")};
        rc = like.number == 0 ? 0 : endpoints_offer(p, &like, pod, ready);
    }
    return rc;
}

/* ---- messages ------------------------------------------------------------------------------- */

static int endpoints_put_address(struct endpoints_pack *p, size_t pod, struct value *list)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_ADDRESS);
    const struct object *o = p->pods[pod];
    struct value m = value_empty(VALUE_MESSAGE);
    struct value ref;
    int rc = message_set_text(p->arena, t, &m, "ip", p->ips[pod]);
    rc = rc == 0 ? message_set_text(p->arena, t, &m, "hostname", service_hostname(p->service, o))
                 : rc;
    rc = rc == 0 ? message_set_text(p->arena, t, &m, "nodeName", object_text(o, "spec.nodeName"))
                 : rc;
    rc = rc == 0 ? service_pod_reference(p->arena, o, &ref) : rc;
    rc = rc == 0 ? message_set(p->arena, t, &m, "targetRef", ref) : rc;
    return rc == 0 && value_append(p->arena, list, m) == NULL ? ERR_NOMEM : rc;
}

static int endpoints_put_port(struct endpoints_pack *p, const struct endpoints_port *e,
                              struct value *list)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_PORT);
    struct value m = value_empty(VALUE_MESSAGE);
    int rc = message_set_text(p->arena, t, &m, "name", e->name);
    rc = rc == 0 ? message_set(p->arena, t, &m, "port", value_int(e->number)) : rc;
    rc = rc == 0 ? message_set_text(p->arena, t, &m, "protocol", e->protocol) : rc;
    rc = rc == 0 ? message_set_text(p->arena, t, &m, "appProtocol", e->app) : rc;
    return rc == 0 && value_append(p->arena, list, m) == NULL ? ERR_NOMEM : rc;
}

static int endpoints_compare_ports(const void *a, const void *b)
{
    const struct endpoints_port *x = *(struct endpoints_port *const *)a;
    const struct endpoints_port *y = *(struct endpoints_port *const *)b;
    int order = slice_cmp(x->name, y->name);
    if (order == 0 && x->number != y->number) {
        order = x->number < y->number ? -1 : 1;
    }
    order = order == 0 ? slice_cmp(x->protocol, y->protocol) : order;
    return order == 0 ? slice_cmp(x->app, y->app) : order;
}

/* A subset: the ports from `first` on that have the same addresses in the same states. */
static int endpoints_pack_subset(struct endpoints_pack *p, struct endpoints_port **ports,
                                 size_t first, struct value *subsets)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_SUBSET);
    struct endpoints_port *e = ports[first];
    struct value lists[3] = {value_empty(VALUE_LIST), value_empty(VALUE_LIST),
                             value_empty(VALUE_LIST)};
    static const char *const names[3] = {"notReadyAddresses", "addresses", "ports"};
    int rc = 0;
    for (size_t i = 0; i < e->count && rc == 0; i++) {
        rc = endpoints_put_address(p, e->who[i] / 2, &lists[e->who[i] % 2]);
    }
    for (size_t i = first; i < p->port_count && rc == 0; i++) {
        struct endpoints_port *other = ports[i];
        if (!other->packed && other->count == e->count &&
            memcmp(other->who, e->who, e->count * sizeof *e->who) == 0) {
            other->packed = true;
            rc = other->number < 0 ? 0 : endpoints_put_port(p, other, &lists[2]);
        }
    }
    struct value m = value_empty(VALUE_MESSAGE);
    for (size_t i = 0; i < 3 && rc == 0; i++) {
        rc = value_len(&lists[i]) == 0 ? 0 : message_set(p->arena, t, &m, names[i], lists[i]);
    }
    return rc == 0 && value_append(p->arena, subsets, m) == NULL ? ERR_NOMEM : rc;
}

static int endpoints_pack_all(struct endpoints_pack *p, struct value *subsets)
{
    struct endpoints_port **ports = arena_alloc(p->arena, p->port_count * sizeof(void *) + 1);
    if (ports == NULL) {
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (struct endpoints_port *e = p->ports; e != NULL; e = e->next) {
        ports[n++] = e;
    }
    qsort(ports, n, sizeof(void *), endpoints_compare_ports);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = ports[i]->packed ? 0 : endpoints_pack_subset(p, ports, i, subsets);
    }
    return rc;
}

/* ---- at most a thousand --------------------------------------------------------------------- */

static size_t endpoints_count(const struct value *subsets, const char *list)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_SUBSET);
    size_t n = 0;
    for (size_t i = 0; i < value_len(subsets); i++) {
        n += value_len(value_find(t, &subsets->items[i], list));
    }
    return n;
}

static void endpoints_shorten(struct value *subset, const char *list, size_t len)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_SUBSET);
    struct value *v = value_find(t, subset, list);
    if (len == 0 && v != NULL) {
        const struct schema_field *f = schema_find(t, slice_str(list));
        value_remove_member(subset, (unsigned)(f - schema_fields(t)));
    }
    while (len > 0 && value_len(v) > len) {
        value_remove_item(v, value_len(v) - 1);
    }
}

/* Each subset keeps its part, rounded up, of what may stay: ready ones first. True: some went. */
static bool endpoints_truncate(struct value *subsets)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_SUBSET);
    size_t ready = endpoints_count(subsets, "addresses");
    size_t total = endpoints_count(subsets, "notReadyAddresses");
    if (ready + total <= ENDPOINTS_ADDRESSES_MAX) {
        return false;
    }
    bool cut_ready = ready > ENDPOINTS_ADDRESSES_MAX;
    const char *list = cut_ready ? "addresses" : "notReadyAddresses";
    size_t room = cut_ready ? ENDPOINTS_ADDRESSES_MAX : ENDPOINTS_ADDRESSES_MAX - ready;
    size_t left = room;
    total = cut_ready ? ready : total;
    for (size_t i = 0; i < value_len(subsets); i++) {
        struct value *s = &subsets->items[i];
        size_t have = value_len(value_find(t, s, list));
        size_t keep = (have * room + total - 1) / total;
        keep = keep > left ? left : keep;
        keep = keep > have ? have : keep;
        endpoints_shorten(s, list, keep);
        left -= keep;
        if (cut_ready) {
            endpoints_shorten(s, "notReadyAddresses", 0);
        }
    }
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------ */

struct endpoints_pod {
    const struct object *pod;
    struct slice ip;
};

static int endpoints_compare_pods(const void *a, const void *b)
{
    const struct endpoints_pod *x = a;
    const struct endpoints_pod *y = b;
    int order = slice_cmp(x->ip, y->ip);
    return order != 0 ? order : slice_cmp(object_uid(x->pod), object_uid(y->pod));
}

/* The pods that count, with their addresses, in order. */
static int endpoints_sort(struct endpoints_pack *p, size_t *count, bool publish)
{
    enum service_family family = service_families(p->service).first;
    struct endpoints_pod *items = arena_alloc(p->arena, (*count + 1) * sizeof *items);
    p->ips = arena_alloc(p->arena, (*count + 1) * sizeof *p->ips);
    if (items == NULL || p->ips == NULL) {
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < *count; i++) {
        struct slice ip = service_pod_ip(p->pods[i], family);
        if (ip.len > 0 && service_pod_counts(p->pods[i], publish)) {
            items[n++] = (struct endpoints_pod){p->pods[i], ip};
        }
    }
    qsort(items, n, sizeof *items, endpoints_compare_pods);
    for (size_t i = 0; i < n; i++) {
        p->pods[i] = items[i].pod;
        p->ips[i] = items[i].ip;
    }
    *count = n;
    return 0;
}

int endpoints_set_subsets(struct object *o, const struct object *service,
                          const struct object **pods, size_t count, bool *truncated)
{
    struct endpoints_pack p = {.arena = o->arena, .service = service, .pods = pods};
    struct value subsets = value_empty(VALUE_LIST);
    bool publish = object_bool(service, "spec.publishNotReadyAddresses", false);
    int rc = endpoints_sort(&p, &count, publish);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = endpoints_offer_all(&p, i, publish || service_pod_ready(pods[i]));
    }
    rc = rc == 0 ? endpoints_pack_all(&p, &subsets) : rc;
    if (rc != 0) {
        return rc;
    }
    *truncated = endpoints_truncate(&subsets);
    object_remove(o, "subsets");
    return value_len(&subsets) == 0 ? 0 : object_set(o, "subsets", subsets);
}

int endpoints_set_metadata(struct object *o, const struct object *service, bool truncated,
                           int64_t trigger_s)
{
    static const char trigger[] =
        "metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]";
    static const char over[] = "metadata.annotations[endpoints.kubernetes.io/over-capacity]";
    const struct value *labels = object_get(service, "metadata.labels");
    struct value copy = value_empty(VALUE_MAP);
    int rc = labels == NULL ? 0 : value_copy(o->arena, labels, &copy);
    object_remove(o, "metadata.labels");
    rc = rc == 0 && labels != NULL ? object_set(o, "metadata.labels", copy) : rc;
    rc = rc == 0 ? object_set_str(o, "metadata.labels[endpoints.kubernetes.io/managed-by]",
                                  "endpoint-controller")
                 : rc;
    object_remove(o, "metadata.labels[service.kubernetes.io/headless]");
    if (rc == 0 && service_is_headless(service)) {
        rc = object_set_str(o, "metadata.labels[service.kubernetes.io/headless]", "");
    }
    object_remove(o, trigger);
    if (rc == 0 && trigger_s > 0) {
        char text[INSTANT_TEXT_BYTES_MAX];
        size_t len = instant_print(trigger_s, text);
        rc = object_set_text(o, trigger, slice_of(text, len));
    }
    object_remove(o, over);
    return rc == 0 && truncated ? object_set_str(o, over, "truncated") : rc;
}
