/* slice_plan.c - endpoints into slices: what is in its place stays, the rest fills slices that are
 * written anyway, then one with room, then new ones. */
#include "plugins/controllers/slice_plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "plugins/client/client.h"
#include "plugins/controllers/message.h"
#include "plugins/object/instant.h"

struct slice_want { /* an endpoint that should be listed */
    struct slice key;
    struct value endpoint;
    bool placed;
};

/* Endpoints with the same ports: they can share slices. */
struct slice_group {
    struct slice_group *next;
    struct value ports;
    struct slice_want *wants; /* in the order of their keys */
    size_t count, room;
    size_t left; /* not placed */
};

struct slice_box { /* a slice, being filled */
    struct slice_action action;
    struct value endpoints;
    struct value ports;
    enum service_family family;
    const struct slice_group *group;
    bool grouped;
};

struct slice_planner {
    const struct slice_plan_args *args;
    struct arena *arena;
    struct slice_box *boxes;
    size_t count, room;
    struct value labels;
};

struct slice_wants {
    struct slice_planner *planner;
    struct slice_group *groups;
};

static const struct schema_field *slice_field(const char *name)
{
    return schema_find(schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE), slice_str(name));
}

/* ---- what is wanted ------------------------------------------------------------------------- */

static struct slice_group *slice_group_of(struct slice_planner *p, struct slice_group **groups,
                                          struct value ports)
{
    for (struct slice_group *g = *groups; g != NULL; g = g->next) {
        if (value_equal_field(slice_field("ports"), &g->ports, &ports)) {
            return g;
        }
    }
    struct slice_group *g = arena_zalloc(p->arena, sizeof *g);
    if (g != NULL) {
        g->ports = ports;
        g->next = *groups;
        *groups = g;
    }
    return g;
}

static int slice_group_add(struct slice_planner *p, struct slice_group *g, struct slice_want want)
{
    if (g->count == g->room) {
        size_t room = g->room == 0 ? 16 : g->room * 2;
        struct slice_want *wants = arena_alloc(p->arena, room * sizeof *wants);
        if (wants == NULL) {
            return ERR_NOMEM;
        }
        if (g->count > 0) {
            memcpy(wants, g->wants, g->count * sizeof *wants);
        }
        g->wants = wants;
        g->room = room;
    }
    g->wants[g->count++] = want;
    return 0;
}

static int slice_want_compare(const void *a, const void *b)
{
    return slice_cmp(((const struct slice_want *)a)->key, ((const struct slice_want *)b)->key);
}

int slice_wants_add(struct slice_wants *w, struct value ports, struct value endpoint,
                    struct slice key)
{
    struct slice_want want = {.key = key, .endpoint = endpoint};
    struct slice_group *g = slice_group_of(w->planner, &w->groups, ports);
    return g == NULL ? ERR_NOMEM : slice_group_add(w->planner, g, want);
}

/* Of several with one key one is listed. */
static void slice_drop_repeated(struct slice_group *g)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (kept == 0 || !slice_eq(g->wants[kept - 1].key, g->wants[i].key)) {
            g->wants[kept++] = g->wants[i];
        }
    }
    g->count = kept;
}

static int slice_want_all(struct slice_planner *p, enum service_family family,
                          struct slice_group **groups)
{
    struct slice_wants wants = {.planner = p};
    int rc = p->args->wants(p->args, family, p->arena, &wants);
    for (struct slice_group *g = wants.groups; g != NULL; g = g->next) {
        qsort(g->wants, g->count, sizeof *g->wants, slice_want_compare);
        slice_drop_repeated(g);
        g->left = g->count;
    }
    *groups = wants.groups;
    return rc;
}

/* Labels of the owner and the controller's own. */
static int slice_want_labels(struct slice_planner *p)
{
    static const char *const own[] = {SLICE_LABEL_SERVICE, SLICE_LABEL_MANAGER,
                                      "service.kubernetes.io/headless"};
    const struct object *owner = p->args->owner;
    const struct value *labels = object_get(owner, "metadata.labels");
    struct slice values[3] = {object_name(owner), slice_str(p->args->manager), slice_str("")};
    p->labels = value_empty(VALUE_MAP);
    if (labels != NULL && value_copy_shared(p->arena, labels, &p->labels) != 0) {
        return ERR_NOMEM;
    }
    value_map_remove(&p->labels, slice_str(own[2]));
    for (size_t i = 0; i < (p->args->headless ? 3u : 2u); i++) {
        if (value_map_set(p->arena, &p->labels, slice_str(own[i]), value_text(values[i])) == NULL) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

/* ---- boxes ---------------------------------------------------------------------------------- */

static struct slice_box *slice_box_new(struct slice_planner *p)
{
    if (p->count == p->room) {
        size_t room = p->room == 0 ? 8 : p->room * 2;
        struct slice_box *boxes = arena_alloc(p->arena, room * sizeof *boxes);
        if (boxes == NULL) {
            return NULL;
        }
        if (p->count > 0) {
            memcpy(boxes, p->boxes, p->count * sizeof *boxes);
        }
        p->boxes = boxes;
        p->room = room;
    }
    struct slice_box *b = &p->boxes[p->count++];
    memset(b, 0, sizeof *b);
    b->endpoints = value_empty(VALUE_LIST);
    b->ports = value_empty(VALUE_LIST);
    return b;
}

static bool slice_box_owned(const struct slice_planner *p, const struct object *slice)
{
    return slice_eq(reference_text(object_controller(slice), "uid"), object_uid(p->args->owner));
}

/* All slices there are, kept so far if they are the service's, else deleted. */
static int slice_box_all(struct slice_planner *p)
{
    for (size_t i = 0; i < p->args->slice_count; i++) {
        struct slice_box *b = slice_box_new(p);
        if (b == NULL) {
            return ERR_NOMEM;
        }
        const struct object *o = p->args->slices[i];
        b->action.have = o;
        b->action.what = slice_box_owned(p, o) ? SLICE_KEEP : SLICE_DELETE;
        b->grouped = b->action.what == SLICE_DELETE;
        b->family = slice_eq(object_text(o, "addressType"), slice_str("IPv6")) ? SERVICE_IPV6
                                                                               : SERVICE_IPV4;
    }
    return 0;
}

/* ---- filling -------------------------------------------------------------------------------- */

static struct slice_want *slice_find_want(struct slice_planner *p, struct slice_group *g,
                                          const struct value *endpoint)
{
    struct slice_want key = {.key = p->args->key(endpoint)};
    struct slice_want *w =
        g->count == 0 ? NULL : bsearch(&key, g->wants, g->count, sizeof key, slice_want_compare);
    return w == NULL || w->placed ? NULL : w;
}

/* Keeps of a slice what is wanted. */
static int slice_fit(struct slice_planner *p, struct slice_group *g, struct slice_box *b)
{
    const struct schema_type *t = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT);
    const struct schema_type *meta = schema_type(SCHEMA_META_V1_OBJECT_META);
    const struct value *have = object_get(b->action.have, "endpoints");
    bool differs = false;
    for (size_t i = 0; i < value_len(have); i++) {
        struct slice_want *w = slice_find_want(p, g, &have->items[i]);
        if (w == NULL || value_len(&b->endpoints) >= p->args->endpoints_max) {
            differs = true;
            continue;
        }
        w->placed = true;
        g->left--;
        differs = differs || !value_equal(t, &w->endpoint, &have->items[i]);
        if (value_append(p->arena, &b->endpoints, w->endpoint) == NULL) {
            return ERR_NOMEM;
        }
    }
    bool labels = !value_equal_field(schema_find(meta, slice_str("labels")), &p->labels,
                                     object_get(b->action.have, "metadata.labels"));
    b->group = g;
    b->grouped = true;
    b->ports = g->ports;
    if (differs && value_len(&b->endpoints) == 0) {
        b->action.what = SLICE_DELETE;
    } else if (differs || labels) {
        b->action.what = SLICE_UPDATE;
    }
    return 0;
}

static int slice_fill(struct slice_planner *p, struct slice_group *g, struct slice_box *b)
{
    for (size_t i = 0; i < g->count && value_len(&b->endpoints) < p->args->endpoints_max; i++) {
        struct slice_want *w = &g->wants[i];
        if (w->placed) {
            continue;
        }
        if (value_append(p->arena, &b->endpoints, w->endpoint) == NULL) {
            return ERR_NOMEM;
        }
        w->placed = true;
        g->left--;
    }
    return 0;
}

/* The fullest slice of the group in a state, with room for so many more; NULL = none. */
static struct slice_box *slice_fullest(struct slice_planner *p, const struct slice_group *g,
                                       enum slice_what what, size_t room)
{
    struct slice_box *best = NULL;
    for (size_t i = 0; i < p->count; i++) {
        struct slice_box *b = &p->boxes[i];
        if (b->group == g && b->action.what == what &&
            value_len(&b->endpoints) + room <= p->args->endpoints_max &&
            (best == NULL || value_len(&b->endpoints) > value_len(&best->endpoints))) {
            best = b;
        }
    }
    return best;
}

static int slice_place(struct slice_planner *p, struct slice_group *g, enum service_family family)
{
    int rc = 0;
    while (g->left > 0 && rc == 0) {
        struct slice_box *b = slice_fullest(p, g, SLICE_UPDATE, 1);
        if (b == NULL && g->left < p->args->endpoints_max) {
            b = slice_fullest(p, g, SLICE_KEEP, g->left);
        }
        if (b == NULL) {
            b = slice_box_new(p);
            if (b == NULL) {
                return ERR_NOMEM;
            }
            b->action.what = SLICE_CREATE;
            b->family = family;
            b->ports = g->ports;
        } else {
            b->action.what = SLICE_UPDATE;
        }
        rc = slice_fill(p, g, b);
    }
    return rc;
}

static int slice_plan_group(struct slice_planner *p, struct slice_group *g,
                            enum service_family family)
{
    int rc = 0;
    for (size_t i = 0; i < p->count && rc == 0; i++) {
        struct slice_box *b = &p->boxes[i];
        if (b->family == family && !b->grouped && b->action.have != NULL &&
            value_equal_field(slice_field("ports"), &g->ports,
                              object_get(b->action.have, "ports"))) {
            rc = slice_fit(p, g, b);
        }
    }
    return rc == 0 ? slice_place(p, g, family) : rc;
}

/* A service without endpoints has one slice without any. */
static int slice_plan_placeholder(struct slice_planner *p, enum service_family family)
{
    struct slice_box *empty = NULL;
    for (size_t i = 0; i < p->count; i++) {
        struct slice_box *b = &p->boxes[i];
        if (b->family != family) {
            continue;
        }
        if (b->action.what != SLICE_DELETE) {
            return 0;
        }
        bool fits = b->action.have != NULL && slice_box_owned(p, b->action.have) &&
                    value_len(object_get(b->action.have, "endpoints")) == 0 &&
                    value_len(object_get(b->action.have, "ports")) == 0;
        empty = fits && empty == NULL ? b : empty;
    }
    const struct schema_type *meta = schema_type(SCHEMA_META_V1_OBJECT_META);
    if (empty != NULL) {
        bool same = value_equal_field(schema_find(meta, slice_str("labels")), &p->labels,
                                      object_get(empty->action.have, "metadata.labels"));
        empty->action.what = same ? SLICE_KEEP : SLICE_UPDATE;
        return 0;
    }
    struct slice_box *b = slice_box_new(p);
    if (b == NULL) {
        return ERR_NOMEM;
    }
    b->action.what = SLICE_CREATE;
    b->family = family;
    return 0;
}

static int slice_plan_family(struct slice_planner *p, enum service_family family, bool wanted)
{
    struct slice_group *groups = NULL;
    int rc = wanted ? slice_want_all(p, family, &groups) : 0;
    for (struct slice_group *g = groups; g != NULL && rc == 0; g = g->next) {
        rc = slice_plan_group(p, g, family);
    }
    for (size_t i = 0; i < p->count; i++) {
        struct slice_box *b = &p->boxes[i];
        if (b->family == family && !b->grouped && b->action.have != NULL) {
            b->action.what = SLICE_DELETE;
        }
    }
    return rc == 0 && wanted && p->args->placeholder ? slice_plan_placeholder(p, family) : rc;
}

/* ---- objects -------------------------------------------------------------------------------- */

/* What would be deleted is written anew instead of creating another one. */
static void slice_plan_reuse(struct slice_planner *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct slice_box *old = &p->boxes[i];
        if (old->action.what != SLICE_DELETE || !slice_box_owned(p, old->action.have)) {
            continue;
        }
        for (size_t j = 0; j < p->count; j++) {
            struct slice_box *new = &p->boxes[j];
            if (new->action.what == SLICE_CREATE &&new->family == old->family) {
                new->action.what = SLICE_UPDATE;
                new->action.have = old->action.have;
                old->action.what = SLICE_KEEP;
                break;
            }
        }
    }
}

static int slice_plan_object(struct slice_planner *p, struct slice_box *b)
{
    static const char trigger[] =
        "metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]";
    const struct object *owner = p->args->owner;
    struct object *o = &b->action.o;
    int rc = 0;
    if (b->action.have != NULL) {
        rc = object_copy(b->action.have, p->arena, o);
    } else {
        char name[300];
        int len = snprintf(name, sizeof name, "%.*s-", (int)object_name(owner).len,
                           (const char *)object_name(owner).data);
        rc = object_new(o, schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE), p->arena);
        rc = rc == 0 ? object_set_text(o, "metadata.generateName",
                                       slice_of(name, (size_t)len < sizeof name ? (size_t)len
                                                                                : sizeof name - 1))
                     : rc;
        rc = rc == 0 ? object_set_text(o, "metadata.namespace", object_namespace(owner)) : rc;
        rc = rc == 0 ? object_set_controller(o, owner) : rc;
        rc = rc == 0 ? object_set_str(o, "addressType", b->family == SERVICE_IPV6 ? "IPv6" : "IPv4")
                     : rc;
    }
    object_remove(o, "metadata.labels");
    rc = rc == 0 ? object_set(o, "metadata.labels", p->labels) : rc;
    object_remove(o, trigger);
    if (rc == 0 && p->args->trigger_s > 0) {
        char text[INSTANT_TEXT_BYTES_MAX];
        size_t len = instant_print(p->args->trigger_s, text);
        rc = object_set_text(o, trigger, slice_of(text, len));
    }
    object_remove(o, "endpoints");
    object_remove(o, "ports");
    rc = rc == 0 && value_len(&b->endpoints) > 0 ? object_set(o, "endpoints", b->endpoints) : rc;
    return rc == 0 && value_len(&b->ports) > 0 ? object_set(o, "ports", b->ports) : rc;
}

int slice_plan(const struct slice_plan_args *args, struct arena *a, struct slice_plan *out)
{
    struct slice_planner p = {.args = args, .arena = a};
    int rc = slice_want_labels(&p);
    rc = rc == 0 ? slice_box_all(&p) : rc;
    rc = rc == 0 ? slice_plan_family(&p, SERVICE_IPV4, args->ipv4) : rc;
    rc = rc == 0 ? slice_plan_family(&p, SERVICE_IPV6, args->ipv6) : rc;
    if (rc != 0) {
        return rc;
    }
    slice_plan_reuse(&p);
    *out = (struct slice_plan){.items = arena_alloc(a, (p.count + 1) * sizeof *out->items)};
    if (out->items == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < p.count && rc == 0; i++) {
        struct slice_box *b = &p.boxes[i];
        if (b->action.what == SLICE_CREATE || b->action.what == SLICE_UPDATE) {
            rc = slice_plan_object(&p, b);
        }
        out->creates += b->action.what == SLICE_CREATE;
        out->items[out->count++] = b->action;
    }
    return rc;
}
