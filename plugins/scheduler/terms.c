/* terms.c - reading affinity and spreading out of a pod; see terms.h. */
#include "plugins/scheduler/terms.h"

#include <string.h>

/* ---- node selectors ----------------------------------------------------------------------------
 */

static bool terms_operator(struct slice name, enum label_operator *out)
{
    static const struct {
        const char *name;
        enum label_operator op;
    } rows[] = {{"In", LABEL_IN},         {"NotIn", LABEL_NOT_IN},
                {"Exists", LABEL_EXISTS}, {"DoesNotExist", LABEL_NOT_EXISTS},
                {"Gt", LABEL_GREATER},    {"Lt", LABEL_LESS}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (slice_eq(name, slice_str(rows[i].name))) {
            *out = rows[i].op;
            return true;
        }
    }
    return false;
}

static void terms_sort(struct slice *values, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct slice v = values[i];
        size_t k = i;
        for (; k > 0 && slice_cmp(values[k - 1], v) > 0; k--) {
            values[k] = values[k - 1];
        }
        values[k] = v;
    }
}

/* matchExpressions or matchFields. */
static int terms_requirements(const struct value *list, struct arena *arena,
                              struct label_selector *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_SELECTOR_REQUIREMENT);
    *out = (struct label_selector){.count = value_len(list)};
    out->items = arena_zalloc(arena, out->count * sizeof *out->items);
    if (out->items == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < out->count; i++) {
        struct label_requirement *q = &out->items[i];
        const struct value *values = value_find(t, &list->items[i], "values");
        q->key = value_slice(value_find(t, &list->items[i], "key"));
        q->count = value_len(values);
        q->values = arena_alloc(arena, q->count * sizeof *q->values);
        if (q->values == NULL) {
            return ERR_NOMEM;
        }
        for (size_t k = 0; k < q->count; k++) {
            q->values[k] = value_slice(&values->items[k]);
        }
        terms_sort(q->values, q->count);
        if (!terms_operator(value_slice(value_find(t, &list->items[i], "operator")), &q->op)) {
            out->nothing = true;
        }
    }
    return 0;
}

static int terms_node_term(const struct value *message, struct arena *arena,
                           struct sched_node_term *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_SELECTOR_TERM);
    const struct value *labels = value_find(t, message, "matchExpressions");
    const struct value *fields = value_find(t, message, "matchFields");
    out->empty = value_len(labels) == 0 && value_len(fields) == 0;
    int rc = terms_requirements(labels, arena, &out->labels);
    return rc != 0 ? rc : terms_requirements(fields, arena, &out->fields);
}

static int terms_node(const struct value *affinity, struct arena *arena, struct sched_terms *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_AFFINITY);
    const struct schema_type *pt = schema_type(SCHEMA_CORE_V1_PREFERRED_SCHEDULING_TERM);
    const struct value *required =
        value_find(t, affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    const struct value *list =
        value_find(schema_type(SCHEMA_CORE_V1_NODE_SELECTOR), required, "nodeSelectorTerms");
    const struct value *preferred =
        value_find(t, affinity, "preferredDuringSchedulingIgnoredDuringExecution");
    out->node_required.given = required != NULL;
    out->node_required.count = value_len(list);
    out->node_required.items =
        arena_zalloc(arena, value_len(list) * sizeof(struct sched_node_term));
    out->node_preferred.count = value_len(preferred);
    out->node_preferred.items =
        arena_zalloc(arena, value_len(preferred) * sizeof(struct sched_node_term));
    if (out->node_required.items == NULL || out->node_preferred.items == NULL) {
        return ERR_NOMEM;
    }
    int rc = 0;
    for (size_t i = 0; i < value_len(list) && rc == 0; i++) {
        rc = terms_node_term(&list->items[i], arena, &out->node_required.items[i]);
    }
    for (size_t i = 0; i < value_len(preferred) && rc == 0; i++) {
        struct sched_node_term *term = &out->node_preferred.items[i];
        const struct value *weight = value_find(pt, &preferred->items[i], "weight");
        term->weight = weight == NULL ? 0 : (int32_t)weight->integer;
        rc = terms_node_term(value_find(pt, &preferred->items[i], "preference"), arena, term);
    }
    return rc;
}

bool sched_node_term_matches(const struct sched_node_term *t, const struct value *labels,
                             struct slice name)
{
    struct value pair[2] = {value_text(slice_str("metadata.name")), value_text(name)};
    struct value fields = {.kind = VALUE_MAP, .len = 1, .items = pair};
    return !t->empty && label_selector_matches(&t->labels, labels) &&
           label_selector_matches(&t->fields, &fields);
}

bool sched_terms_match_node(const struct sched_terms *t, const struct value *labels,
                            struct slice name)
{
    if (t == NULL) {
        return true;
    }
    for (size_t i = 0; i < value_len(&t->node_selector); i++) {
        const struct value *has = value_map_get(labels, value_map_key(&t->node_selector, i));
        if (has == NULL ||
            !slice_eq(value_slice(has), value_slice(value_map_at(&t->node_selector, i)))) {
            return false;
        }
    }
    for (size_t i = 0; i < t->node_required.count; i++) {
        if (sched_node_term_matches(&t->node_required.items[i], labels, name)) {
            return true;
        }
    }
    return !t->node_required.given;
}

/* ---- labels of the pod itself as part of a selector --------------------------------------------
 */

/* Adds `key in (the pod's own value)`, or notin, for each key that the pod has a label of. */
static int terms_label_keys(const struct object *pod, const struct value *keys,
                            enum label_operator op, struct arena *arena,
                            struct label_selector *selector)
{
    const struct value *labels = object_get(pod, "metadata.labels");
    size_t room = selector->count + value_len(keys);
    if (value_len(keys) == 0) {
        return 0;
    }
    struct label_requirement *items = arena_alloc(arena, room * sizeof *items);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    if (selector->count > 0) {
        memcpy(items, selector->items, selector->count * sizeof *items);
    }
    selector->items = items;
    for (size_t i = 0; i < value_len(keys); i++) {
        struct slice key = value_slice(&keys->items[i]);
        const struct value *has = value_map_get(labels, key);
        struct slice *values = arena_alloc(arena, sizeof *values);
        struct slice copy = arena_dup(arena, value_slice(has));
        if (values == NULL || copy.data == NULL) {
            return ERR_NOMEM;
        }
        *values = copy;
        if (has != NULL) {
            items[selector->count++] =
                (struct label_requirement){.op = op, .key = key, .values = values, .count = 1};
        }
    }
    return 0;
}

/* A selector that no label can have matches nothing. */
static int terms_selector(const struct value *message, struct arena *arena,
                          struct label_selector *out)
{
    struct errmsg e;
    int rc = label_selector_from(message, arena, out, &e);
    if (rc == ERR_INVALID) {
        *out = (struct label_selector){.nothing = true};
        rc = 0;
    }
    return rc;
}

/* ---- pod affinity ------------------------------------------------------------------------------
 */

static int terms_pod_term(const struct object *pod, const struct value *m, struct arena *arena,
                          struct sched_pod_term *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_AFFINITY_TERM);
    const struct value *spaces = value_find(t, m, "namespaces");
    const struct value *space_labels = value_find(t, m, "namespaceSelector");
    bool own = value_len(spaces) == 0 && space_labels == NULL;
    out->topology_key = value_slice(value_find(t, m, "topologyKey"));
    out->space_count = own ? 1 : value_len(spaces);
    out->spaces = arena_alloc(arena, out->space_count * sizeof *out->spaces);
    if (out->spaces == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < value_len(spaces); i++) {
        out->spaces[i] = value_slice(&spaces->items[i]);
    }
    if (own) {
        out->spaces[0] = arena_dup(arena, object_text(pod, "metadata.namespace"));
        if (out->spaces[0].data == NULL) {
            return ERR_NOMEM;
        }
    }
    int rc = terms_selector(space_labels, arena, &out->space_labels);
    rc = rc == 0 ? terms_selector(value_find(t, m, "labelSelector"), arena, &out->labels) : rc;
    rc = rc == 0 ? terms_label_keys(pod, value_find(t, m, "matchLabelKeys"), LABEL_IN, arena,
                                    &out->labels)
                 : rc;
    return rc == 0 ? terms_label_keys(pod, value_find(t, m, "mismatchLabelKeys"), LABEL_NOT_IN,
                                      arena, &out->labels)
                   : rc;
}

static int terms_pod_list(const struct object *pod, const struct value *list, bool weighted,
                          struct arena *arena, struct sched_pod_terms *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_WEIGHTED_POD_AFFINITY_TERM);
    int rc = 0;
    out->count = value_len(list);
    out->items = arena_zalloc(arena, out->count * sizeof *out->items);
    if (out->items == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < out->count && rc == 0; i++) {
        const struct value *m = &list->items[i];
        if (weighted) {
            const struct value *weight = value_find(t, m, "weight");
            out->items[i].weight = weight == NULL ? 0 : (int32_t)weight->integer;
            m = value_find(t, m, "podAffinityTerm");
        }
        rc = terms_pod_term(pod, m, arena, &out->items[i]);
    }
    return rc;
}

static int terms_pods(const struct object *pod, const struct value *m, const struct schema_type *t,
                      struct arena *arena, struct sched_pod_terms *required,
                      struct sched_pod_terms *preferred)
{
    int rc = terms_pod_list(pod, value_find(t, m, "requiredDuringSchedulingIgnoredDuringExecution"),
                            false, arena, required);
    return rc != 0
               ? rc
               : terms_pod_list(pod,
                                value_find(t, m, "preferredDuringSchedulingIgnoredDuringExecution"),
                                true, arena, preferred);
}

bool sched_pod_term_matches(const struct sched_pod_term *t, struct slice space,
                            const struct value *space_labels, const struct value *labels)
{
    bool here = false;
    for (size_t i = 0; i < t->space_count && !here; i++) {
        here = slice_eq(t->spaces[i], space);
    }
    here = here || label_selector_matches(&t->space_labels, space_labels);
    return here && label_selector_matches(&t->labels, labels);
}

/* ---- spreading ---------------------------------------------------------------------------------
 */

static int64_t terms_number(const struct schema_type *t, const struct value *m, const char *name)
{
    const struct value *v = value_find(t, m, name);
    return v == NULL ? 0 : v->integer;
}

static int terms_spreads(const struct object *pod, const struct value *list, struct arena *arena,
                         struct sched_terms *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TOPOLOGY_SPREAD_CONSTRAINT);
    int rc = 0;
    out->spread_count = value_len(list);
    out->spreads = arena_zalloc(arena, out->spread_count * sizeof *out->spreads);
    if (out->spreads == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < out->spread_count && rc == 0; i++) {
        struct sched_spread *s = &out->spreads[i];
        const struct value *m = &list->items[i];
        s->topology_key = value_slice(value_find(t, m, "topologyKey"));
        s->skew_max = (int32_t)terms_number(t, m, "maxSkew");
        s->domains_min = (int32_t)terms_number(t, m, "minDomains");
        s->hard = !value_is_text(value_find(t, m, "whenUnsatisfiable"), "ScheduleAnyway");
        s->honor_affinity = !value_is_text(value_find(t, m, "nodeAffinityPolicy"), "Ignore");
        s->honor_taints = value_is_text(value_find(t, m, "nodeTaintsPolicy"), "Honor");
        rc = terms_selector(value_find(t, m, "labelSelector"), arena, &s->labels);
        rc = rc == 0 ? terms_label_keys(pod, value_find(t, m, "matchLabelKeys"), LABEL_IN, arena,
                                        &s->labels)
                     : rc;
    }
    return rc;
}

/* ---- all of it ---------------------------------------------------------------------------------
 */

bool sched_terms_needed(const struct object *pod)
{
    return value_len(object_get(pod, "spec.nodeSelector")) > 0 ||
           object_get(pod, "spec.affinity") != NULL ||
           value_len(object_get(pod, "spec.topologySpreadConstraints")) > 0;
}

int sched_terms_read(const struct object *pod, struct arena *arena, struct sched_terms *out)
{
    static const char *const paths[] = {"spec.nodeSelector", "spec.affinity",
                                        "spec.topologySpreadConstraints"};
    struct value copies[3] = {0};
    *out = (struct sched_terms){0};
    for (size_t i = 0; i < 3; i++) {
        const struct value *v = object_get(pod, paths[i]);
        if (v != NULL && value_copy(arena, v, &copies[i]) != 0) {
            return ERR_NOMEM;
        }
    }
    out->node_selector = copies[0];
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_AFFINITY);
    const struct value *affinity = copies[1].kind == VALUE_MESSAGE ? &copies[1] : NULL;
    int rc = terms_node(value_find(t, affinity, "nodeAffinity"), arena, out);
    rc = rc == 0 ? terms_pods(pod, value_find(t, affinity, "podAffinity"),
                              schema_type(SCHEMA_CORE_V1_POD_AFFINITY), arena, &out->near_required,
                              &out->near_preferred)
                 : rc;
    rc = rc == 0 ? terms_pods(pod, value_find(t, affinity, "podAntiAffinity"),
                              schema_type(SCHEMA_CORE_V1_POD_ANTI_AFFINITY), arena,
                              &out->far_required, &out->far_preferred)
                 : rc;
    return rc == 0 ? terms_spreads(pod, &copies[2], arena, out) : rc;
}
