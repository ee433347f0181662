/* pod.c - a pod's facts in one block of memory; see pod.h.
 *
 * The block is filled twice: first without memory, only to count its bytes. */
#include "plugins/scheduler/pod.h"

#include "plugins/object/instant.h"

/* Hands out pieces of one block, or only counts them. */
struct pod_room {
    uint8_t *base; /* NULL: counting */
    size_t used;
};

static void *pod_take(struct pod_room *r, size_t size)
{
    void *p = r->base == NULL ? NULL : r->base + r->used;
    r->used += (size + 15) & ~(size_t)15;
    return p;
}

static struct slice pod_keep(struct pod_room *r, struct slice text)
{
    void *p = pod_take(r, text.len);
    if (p != NULL && text.len > 0) {
        memcpy(p, text.data, text.len);
    }
    return slice_of(p, text.len);
}

static struct slice pod_text(struct pod_room *r, const struct object *o, const char *path)
{
    return pod_keep(r, object_text(o, path));
}

static void pod_names(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    struct slice space = object_text(o, "metadata.namespace");
    struct slice name = object_text(o, "metadata.name");
    uint8_t *key = pod_take(r, space.len + 1 + name.len);
    if (key != NULL) {
        memcpy(key, space.data, space.len);
        key[space.len] = '/';
        memcpy(key + space.len + 1, name.data, name.len);
        p->key = slice_of(key, space.len + 1 + name.len);
        p->space = slice_of(key, space.len);
        p->name = slice_of(key + space.len + 1, name.len);
    }
    p->uid = pod_text(r, o, "metadata.uid");
    p->scheduler = pod_text(r, o, "spec.schedulerName");
    p->node_name = pod_text(r, o, "spec.nodeName");
    p->nominated = pod_text(r, o, "status.nominatedNodeName");
}

static void pod_owner(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    const struct value *list = object_get(o, "metadata.ownerReferences");
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *is = value_find(t, &list->items[i], "controller");
        if (is != NULL && is->boolean) {
            p->owner_kind = pod_keep(r, value_slice(value_find(t, &list->items[i], "kind")));
            p->owner_name = pod_keep(r, value_slice(value_find(t, &list->items[i], "name")));
            return;
        }
    }
}

static void pod_labels(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    const struct value *map = object_get(o, "metadata.labels");
    size_t count = value_len(map);
    struct value *items = pod_take(r, 2 * count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        struct slice key = pod_keep(r, value_map_key(map, i));
        struct slice value = pod_keep(r, value_slice(value_map_at(map, i)));
        if (items != NULL) {
            items[2 * i] = value_text(key);
            items[2 * i + 1] = value_text(value);
        }
    }
    p->labels = (struct value){.kind = VALUE_MAP, .len = (uint32_t)count, .items = items};
}

static void pod_tolerations(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TOLERATION);
    const struct value *list = object_get(o, "spec.tolerations");
    p->toleration_count = value_len(list);
    p->tolerations = pod_take(r, p->toleration_count * sizeof *p->tolerations);
    for (size_t i = 0; i < p->toleration_count; i++) {
        const struct value *m = &list->items[i];
        struct sched_toleration one = {
            .key = pod_keep(r, value_slice(value_find(t, m, "key"))),
            .value = pod_keep(r, value_slice(value_find(t, m, "value"))),
            .effect = pod_keep(r, value_slice(value_find(t, m, "effect"))),
            .exists = value_is_text(value_find(t, m, "operator"), "Exists"),
        };
        if (p->tolerations != NULL) {
            p->tolerations[i] = one;
        }
    }
}

/* Containers whose ports count: the ordinary ones, and init containers that go on running. */
static bool pod_goes_on(const struct value *container, bool init)
{
    return !init || value_is_text(value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), container,
                                             "restartPolicy"),
                                  "Always");
}

/* Fills p->ports from `from` on when there is room; returns how many there are. */
static size_t pod_ports_of(struct pod_room *r, const struct value *containers, bool init,
                           struct sched_pod *p, size_t from)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_PORT);
    size_t count = 0;
    for (size_t i = 0; i < value_len(containers); i++) {
        const struct value *list =
            value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), &containers->items[i], "ports");
        for (size_t k = 0; k < value_len(list) && pod_goes_on(&containers->items[i], init); k++) {
            const struct value *m = &list->items[k];
            const struct value *port = value_find(t, m, "hostPort");
            if (port == NULL || port->integer <= 0) {
                continue;
            }
            struct slice protocol = value_slice(value_find(t, m, "protocol"));
            struct slice address = value_slice(value_find(t, m, "hostIP"));
            struct sched_port one = {
                .protocol = pod_keep(r, protocol.len == 0 ? slice_str("TCP") : protocol),
                .address = pod_keep(r, slice_eq(address, slice_str("0.0.0.0")) ? slice_of(NULL, 0)
                                                                               : address),
                .port = (int32_t)port->integer,
            };
            if (p->ports != NULL) {
                p->ports[from + count] = one;
            }
            count++;
        }
    }
    return count;
}

static void pod_ports(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    const struct value *containers = object_get(o, "spec.containers");
    const struct value *init = object_get(o, "spec.initContainers");
    struct pod_room nowhere = {0};
    p->ports = NULL;
    p->port_count = pod_ports_of(&nowhere, containers, false, p, 0);
    p->port_count += pod_ports_of(&nowhere, init, true, p, p->port_count);
    p->ports = pod_take(r, p->port_count * sizeof *p->ports);
    size_t first = pod_ports_of(r, containers, false, p, 0);
    pod_ports_of(r, init, true, p, first);
}

/* The tag is what stands behind the last colon of the last part. */
static bool image_has_tag(struct slice image)
{
    for (size_t i = image.len; i > 0; i--) {
        if (image.data[i - 1] == ':') {
            return true;
        }
        if (image.data[i - 1] == '/') {
            return false;
        }
    }
    return false;
}

void sched_image_name(struct slice image, struct buf *out)
{
    buf_append_slice(out, image);
    if (!image_has_tag(image)) {
        buf_append_str(out, ":latest");
    }
}

static void pod_images(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    static const char *const paths[] = {"spec.initContainers", "spec.containers"};
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    p->image_count = value_len(object_get(o, paths[0])) + value_len(object_get(o, paths[1]));
    p->images = pod_take(r, p->image_count * sizeof *p->images);
    size_t at = 0;
    for (size_t i = 0; i < 2; i++) {
        const struct value *list = object_get(o, paths[i]);
        for (size_t k = 0; k < value_len(list); k++) {
            struct slice image = value_slice(value_find(t, &list->items[k], "image"));
            struct slice tag = image_has_tag(image) ? slice_of(NULL, 0) : slice_str(":latest");
            uint8_t *text = pod_take(r, image.len + tag.len);
            if (text != NULL) {
                memcpy(text, image.data, image.len);
                memcpy(text + image.len, tag.data == NULL ? (const uint8_t *)"" : tag.data,
                       tag.len);
                p->images[at++] = slice_of(text, image.len + tag.len);
            }
        }
    }
}

/* An ephemeral volume's claim is named after pod and volume. */
static void pod_claim(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_VOLUME);
    const struct value *list = object_get(o, "spec.volumes");
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *claim = value_find(t, &list->items[i], "persistentVolumeClaim");
        if (claim != NULL) {
            p->claim =
                pod_keep(r, value_slice(value_find(
                                schema_type(SCHEMA_CORE_V1_PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE),
                                claim, "claimName")));
            return;
        }
        if (value_find(t, &list->items[i], "ephemeral") != NULL) {
            struct slice pod = object_text(o, "metadata.name");
            struct slice volume = value_slice(value_find(t, &list->items[i], "name"));
            uint8_t *text = pod_take(r, pod.len + 1 + volume.len);
            if (text != NULL) {
                memcpy(text, pod.data, pod.len);
                text[pod.len] = '-';
                memcpy(text + pod.len + 1, volume.data, volume.len);
            }
            p->claim = slice_of(text, pod.len + 1 + volume.len);
            p->claim_made = true;
            return;
        }
    }
}

static bool pod_is_preempted(const struct object *o)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    const struct value *list = object_get(o, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *m = &list->items[i];
        if (value_is_text(value_find(t, m, "type"), "DisruptionTarget")) {
            return value_is_text(value_find(t, m, "status"), "True") &&
                   value_is_text(value_find(t, m, "reason"), "PreemptionByScheduler");
        }
    }
    return false;
}

static void pod_plain(const struct object *o, struct sched_pod *p)
{
    struct slice phase = object_text(o, "status.phase");
    p->priority = (int32_t)object_int(o, "spec.priority", 0);
    p->never_preempts = slice_eq(object_text(o, "spec.preemptionPolicy"), slice_str("Never"));
    p->gated = value_len(object_get(o, "spec.schedulingGates")) > 0;
    p->deleted = object_get(o, "metadata.deletionTimestamp") != NULL;
    p->ended = slice_eq(phase, slice_str("Succeeded")) || slice_eq(phase, slice_str("Failed"));
    p->preempted = p->deleted && pod_is_preempted(o);
    p->started_s = object_int(o, "status.startTime", INT64_MAX);
    p->generation = object_int(o, "metadata.generation", 0);
}

/* Everything that lies in the block. */
static void pod_fill(struct pod_room *r, const struct object *o, struct sched_pod *p)
{
    pod_names(r, o, p);
    pod_owner(r, o, p);
    pod_labels(r, o, p);
    pod_tolerations(r, o, p);
    pod_ports(r, o, p);
    pod_images(r, o, p);
    pod_claim(r, o, p);
}

/* Extra resources point into the object: their names and the list move to the pod's arena. */
static bool pod_keep_extras(struct sched_pod *p)
{
    struct sched_amounts *a = &p->request;
    struct sched_amount *kept = NULL;
    if (a->extra_count > 0) {
        kept = arena_alloc(&p->arena, a->extra_count * sizeof *kept);
        for (size_t i = 0; kept != NULL && i < a->extra_count; i++) {
            kept[i] = a->extra[i];
            kept[i].name = arena_dup(&p->arena, a->extra[i].name);
            if (kept[i].name.data == NULL) {
                return false;
            }
        }
        if (kept == NULL) {
            return false;
        }
    }
    a->extra = kept;
    return true;
}

static bool pod_amounts(const struct object *o, struct sched_pod *p)
{
    struct arena scratch;
    struct sched_amounts scored;
    arena_init(&scratch, 0);
    bool ok = sched_amounts_of_pod(o, false, &scratch, &p->request) &&
              sched_amounts_of_pod(o, true, &scratch, &scored) && pod_keep_extras(p);
    if (ok) {
        p->score_cpu_m = scored.cpu_m;
        p->score_memory = scored.memory;
    }
    arena_close(&scratch);
    return ok;
}

static bool pod_terms(const struct object *o, struct sched_pod *p)
{
    if (!sched_terms_needed(o)) {
        return true;
    }
    p->terms = arena_alloc(&p->arena, sizeof *p->terms);
    return p->terms != NULL && sched_terms_read(o, &p->arena, p->terms) == 0;
}

struct sched_pod *sched_pod_make(const struct object *o)
{
    struct pod_room room = {0};
    struct sched_pod counted = {0};
    pod_take(&room, sizeof counted);
    pod_fill(&room, o, &counted);
    struct sched_pod *p = mem_zalloc(room.used);
    if (p == NULL) {
        return NULL;
    }
    room = (struct pod_room){.base = (uint8_t *)p};
    pod_take(&room, sizeof *p);
    pod_fill(&room, o, p);
    pod_plain(o, p);
    arena_init(&p->arena, 0);
    list_init(&p->by_assumption);
    list_init(&p->by_nomination);
    if (!pod_amounts(o, p) || !pod_terms(o, p)) {
        sched_pod_free(p);
        return NULL;
    }
    return p;
}

void sched_pod_free(struct sched_pod *p)
{
    if (p != NULL) {
        arena_close(&p->arena);
        mem_free(p);
    }
}

/* ---- questions ---------------------------------------------------------------------------------
 */

bool sched_tolerates(const struct sched_toleration *t, const struct sched_taint *taint)
{
    if (t->effect.len > 0 && !slice_eq(t->effect, taint->effect)) {
        return false;
    }
    if (t->key.len > 0 && !slice_eq(t->key, taint->key)) {
        return false;
    }
    return t->exists || (t->key.len > 0 && slice_eq(t->value, taint->value));
}

bool sched_pod_tolerates(const struct sched_pod *p, const struct sched_taint *taint)
{
    for (size_t i = 0; i < p->toleration_count; i++) {
        if (sched_tolerates(&p->tolerations[i], taint)) {
            return true;
        }
    }
    return false;
}

bool sched_ports_clash(const struct sched_port *a, const struct sched_port *b)
{
    return a->port == b->port && slice_eq(a->protocol, b->protocol) &&
           (a->address.len == 0 || b->address.len == 0 || slice_eq(a->address, b->address));
}

bool sched_pod_has_anti_affinity(const struct sched_pod *p)
{
    return p->terms != NULL && p->terms->far_required.count > 0;
}

bool sched_pod_has_affinity(const struct sched_pod *p)
{
    const struct sched_terms *t = p->terms;
    return t != NULL && t->near_required.count + t->near_preferred.count + t->far_required.count +
                                t->far_preferred.count >
                            0;
}
