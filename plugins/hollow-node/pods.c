/* pods.c - the pods of hollow nodes: what podlife.h decides is written and told the API server. */
#include <string.h>

#include "base/alloc.h"
#include "plugins/hollow-node/hollow.h"

#define POD_PARALLEL      16u
#define POD_JITTER        50u
#define INDEX_NODE        0u
#define POD_KEY_BYTES_MAX 320u /* namespace/name */

/* One pod that lives here. Freed only by the reconcile of its key, or when the term is over: so it
 * lives as long as its requests. */
struct hollow_pod {
    struct hash_node node;
    char key[POD_KEY_BYTES_MAX];
    char uid[64];
    struct hollow_node *home;
    unsigned address; /* 0 = none of the node's range */
    char ip[16];
    struct podlife life;
    struct podlife_times times;
    bool unsaid;      /* the status is to be written */
    int64_t revision; /* of the last status written: older objects say nothing about it */
};

static struct hollow_pod *pod_find(struct hollow *h, struct slice key)
{
    uint64_t hash = hash_bytes(key);
    for (struct hash_node *n = hashmap_first(&h->pods, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct hollow_pod *p = (struct hollow_pod *)n;
        if (slice_eq(slice_str(p->key), key)) {
            return p;
        }
    }
    return NULL;
}

static void pod_free(struct hollow *h, struct hollow_pod *p)
{
    hashmap_remove(&h->pods, &p->node);
    hollow_address_give(p->home, p->address);
    podlife_close(&p->life);
    mem_free(p);
}

/* The pod's address: that of its status, or a free one, or the node's own. */
static void pod_address(struct hollow_pod *p, const struct object *pod)
{
    struct slice known = object_text(pod, "status.podIP");
    if (object_bool(pod, "spec.hostNetwork", false)) {
        memcpy(p->ip, p->home->address, sizeof p->ip);
    } else if (known.len > 0 && known.len < sizeof p->ip) {
        memcpy(p->ip, known.data, known.len);
        (void)hollow_address_claim(p->home, known, &p->address);
    }
}

static struct hollow_pod *pod_new(struct hollow *h, struct hollow_node *home, struct slice key,
                                  const struct object *pod)
{
    struct podlife_now now = hollow_now(h);
    struct slice uid = object_uid(pod);
    struct hollow_pod *p = mem_zalloc(sizeof *p);
    if (p == NULL || key.len >= sizeof p->key || uid.len >= sizeof p->uid ||
        podlife_open(&p->life, pod, &now) != 0) {
        mem_free(p);
        return NULL;
    }
    memcpy(p->key, key.data, key.len);
    memcpy(p->uid, uid.data, uid.len);
    p->home = home;
    p->times.start_ms = hollow_jitter(h, h->conf->start_ms, POD_JITTER);
    p->times.init_ms = hollow_jitter(h, h->conf->init_ms, POD_JITTER);
    p->times.stop_ms = hollow_jitter(h, h->conf->stop_ms, POD_JITTER);
    pod_address(p, pod);
    if (!hashmap_insert(&h->pods, &p->node, hash_bytes(key))) {
        hollow_address_give(home, p->address);
        podlife_close(&p->life);
        mem_free(p);
        return NULL;
    }
    return p;
}

static void status_written(void *data, const struct client_answer *a)
{
    struct hollow_pod *p = data;
    if (a->ok) {
        p->revision = a->revision;
    } else {
        p->unsaid = true;
    }
}

/* Writes the status. */
static void pod_report(struct hollow_pod *p, const struct object *pod, struct work *w)
{
    struct buf body;
    buf_init(&body);
    podlife_patch(&p->life, pod, p->home->address, p->ip, hollow_now(p->home->all).wall_s, &body);
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .sub = "status",
                               .space = object_namespace(pod),
                               .name = object_name(pod),
                               .body = buf_slice(&body),
                               .patch = CLIENT_PATCH_STRATEGIC,
                               .done = status_written,
                               .data = p};
    p->unsaid = false;
    if (body.failed) {
        p->unsaid = true;
        work_fail(w, "out of memory");
    } else {
        /* 409: another pod of this name, or somebody else wrote: an event is on its way. */
        (void)work_send(w, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    }
    buf_close(&body);
}

/* The pod may go: what a kubelet says last. */
static void pod_remove(struct hollow_pod *p, const struct object *pod, struct work *w)
{
    struct buf body;
    struct slice uid = object_uid(pod);
    buf_init(&body);
    buf_printf(&body,
               "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0,"
               "\"preconditions\":{\"uid\":\"%.*s\"}}",
               (int)uid.len, (const char *)uid.data);
    struct client_request r = {.verb = KVP_VERB_DELETE,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .space = object_namespace(pod),
                               .name = object_name(pod),
                               .body = buf_slice(&body)};
    if (body.failed) {
        work_fail(w, "out of memory");
    } else {
        (void)work_send(w, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    }
    buf_close(&body);
}

struct pod_kept {
    const struct hollow_node *home;
    uint8_t bits[32];
};

static int pod_keeps(void *data, const struct object *o)
{
    struct pod_kept *kept = data;
    struct slice ip = object_text(o, "status.podIP");
    unsigned number = 0;
    size_t at = ip.len;
    while (at > 0 && ip.data[at - 1] >= '0' && ip.data[at - 1] <= '9') {
        at--;
    }
    for (; at < ip.len && number < 256; at++) {
        number = number * 10 + (ip.data[at] - '0');
    }
    char own[16];
    hollow_address_print(kept->home, number, own);
    if (number < 256 && slice_eq(ip, slice_str(own))) {
        kept->bits[number / 8] |= (uint8_t)(1u << (number % 8));
    }
    return 0;
}

/* Takes an address that no pod of the node has, also none that this term has not met yet. */
static void pod_take_address(struct hollow_pod *p)
{
    struct pod_kept kept = {.home = p->home};
    (void)informer_by_index(p->home->all->pod_informer, INDEX_NODE, slice_str(p->home->name),
                            pod_keeps, &kept);
    p->address = hollow_address_take(p->home, kept.bits);
    if (p->address != 0) {
        hollow_address_print(p->home, p->address, p->ip);
    } else {
        memcpy(p->ip, p->home->address, sizeof p->ip);
    }
}

static int64_t pod_live(struct hollow_pod *p, const struct object *pod, struct work *w)
{
    struct podlife_now now = hollow_now(p->home->all);
    uint64_t next = PODLIFE_NEVER;
    if (podlife_advance(&p->life, pod, &p->times, &now, &next)) {
        p->unsaid = true;
    }
    if (p->life.sandbox && *p->ip == '\0') {
        pod_take_address(p);
    }
    bool current = object_revision(pod) >= p->revision;
    if (p->unsaid || (current && p->life.start_s != 0 && !podlife_shows(&p->life, pod))) {
        pod_report(p, pod, w);
        /* Once it is written, on at once. */
        return p->life.stopped || next <= now.ms ? 1
               : next == PODLIFE_NEVER           ? KVP_DONE
                                                 : (int64_t)(next - now.ms);
    }
    if (p->life.stopped) {
        pod_remove(p, pod, w);
        return KVP_DONE;
    }
    return next == PODLIFE_NEVER ? KVP_DONE : next > now.ms ? (int64_t)(next - now.ms) : 1;
}

static int64_t pod_reconcile(void *data, struct work *w, struct slice key)
{
    struct hollow *h = data;
    const struct object *pod = informer_get(h->pod_informer, key);
    struct hollow_pod *p = pod_find(h, key);
    struct hollow_node *home = NULL;
    if (pod != NULL) {
        home = hollow_node_find(h, object_text(pod, "spec.nodeName"));
    }
    if (p != NULL && (home != p->home || !slice_eq(slice_str(p->uid), object_uid(pod)))) {
        pod_free(h, p);
        p = NULL;
    }
    if (home == NULL || !hollow_node_acts(home)) {
        return KVP_DONE;
    }
    if (p == NULL) {
        p = pod_new(h, home, key, pod);
    }
    if (p == NULL) {
        work_fail(w, "out of memory");
        return KVP_RETRY;
    }
    return pod_live(p, pod, w);
}

static void pod_changed(void *data, const struct object *before, const struct object *now)
{
    struct hollow *h = data;
    const struct object *o = now != NULL ? now : before;
    if (hollow_node_find(h, object_text(o, "spec.nodeName")) != NULL) {
        hollow_check(h, works_add_object(h->pod_works, o));
    }
}

static void index_node(void *data, const struct object *o, struct index_emit *emit)
{
    informer_emit(emit, object_text(o, "spec.nodeName"));
}

static int wake(void *data, const struct object *o)
{
    struct hollow *h = data;
    hollow_check(h, works_add_object(h->pod_works, o));
    return 0;
}

void hollow_pods_wake(struct hollow *h, const struct hollow_node *n)
{
    if (h->pod_works != NULL) {
        (void)informer_by_index(h->pod_informer, INDEX_NODE, slice_str(n->name), wake, h);
    }
}

int hollow_pods_start(struct hollow *h)
{
    struct informer_args informer = {.type = schema_type(SCHEMA_CORE_V1_POD),
                                     .query = "fieldSelector=spec.nodeName%21%3D",
                                     .indexes = {index_node}};
    int rc = informer_open(h->term, &informer, &h->pod_informer);
    struct works_args works = {.name = "pods",
                               .parallel = POD_PARALLEL,
                               .reconcile = pod_reconcile,
                               .data = h,
                               .informers = {h->pod_informer, h->node_informer}};
    rc = rc == 0 ? works_open(h->term, &works, &h->pod_works) : rc;
    struct informer_handler *handler;
    return rc == 0 ? informer_on(h->pod_informer, pod_changed, NULL, h, &handler) : rc;
}

void hollow_pods_stop(struct hollow *h)
{
    size_t bucket = 0;
    struct hash_node *n = hashmap_iter(&h->pods, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *next = hashmap_iter(&h->pods, &bucket, n);
        pod_free(h, (struct hollow_pod *)n);
        n = next;
    }
}
