/* namespace_report.c - counting what remains, and the conditions that tell. */
#include "plugins/controllers/namespace_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "plugins/controllers/conditions.h"

void namespace_report_resource(const struct schema_type *kind, char *out, size_t size)
{
    const struct schema_resource *res = schema_resource_of(kind);
    snprintf(out, size, "%s.%s", schema_text(res, res->plural), schema_text(kind, kind->group));
}

void namespace_report_error(struct namespace_report *r, struct slice sentence)
{
    size_t at = strlen(r->errors);
    r->error_count++;
    snprintf(r->errors + at, sizeof r->errors - at, "%s%.*s", at > 0 ? ", " : "",
             (int)(sentence.len < 512 ? sentence.len : 512), (const char *)sentence.data);
}

static void namespace_report_finalizer(struct namespace_report *r, struct slice name)
{
    size_t i = 0;
    while (i < r->finalizers_count && !slice_eq(slice_str(r->finalizers[i].name), name)) {
        i++;
    }
    if (i == NAMESPACE_FINALIZERS_MAX) {
        i--;
    } else if (i == r->finalizers_count) {
        snprintf(r->finalizers[i].name, sizeof r->finalizers[i].name, "%.*s", (int)name.len,
                 (const char *)name.data);
        r->finalizers_count++;
    }
    r->finalizers[i].count++;
}

/* Counts an item's finalizers; returns its grace period. */
static int64_t namespace_report_item(struct namespace_report *r, const struct value *item,
                                     bool *finalizers)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA);
    const struct value *list = value_at(t, item, "metadata.finalizers");
    const struct value *grace = value_at(t, item, "metadata.deletionGracePeriodSeconds");
    for (size_t i = 0; i < value_len(list); i++) {
        *finalizers = true;
        namespace_report_finalizer(r, value_slice(&list->items[i]));
    }
    return grace == NULL ? 0 : grace->integer;
}

void namespace_report_add(struct namespace_report *r, const struct schema_type *kind,
                          const struct object *list, struct slice space, int64_t deleted_s,
                          int64_t now_s)
{
    const struct value *items = object_get(list, "items");
    int64_t count = (int64_t)value_len(items) + object_int(list, "metadata.remainingItemCount", 0);
    bool finalizers = false;
    int64_t wait_s = 0;
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < value_len(items); i++) {
        int64_t grace = namespace_report_item(r, &items->items[i], &finalizers);
        if (kind == schema_type(SCHEMA_CORE_V1_POD)) {
            int64_t left = grace - (now_s - deleted_s);
            wait_s = left > wait_s ? left : wait_s;
        }
    }
    if (wait_s == 0 && finalizers) {
        wait_s = NAMESPACE_FINALIZER_WAIT_S;
    }
    r->wait_s = wait_s > r->wait_s ? wait_s : r->wait_s;
    if (r->remains_count < NAMESPACE_KINDS_MAX) {
        struct namespace_remains *m = &r->remains[r->remains_count++];
        namespace_report_resource(kind, m->resource, sizeof m->resource);
        m->count = count;
    }
    if (wait_s == 0) {
        char sentence[256];
        const struct schema_resource *res = schema_resource_of(kind);
        snprintf(sentence, sizeof sentence,
                 "unexpected items still remain in namespace: %.*s for gvr: %s/%s, Resource=%s",
                 (int)space.len, (const char *)space.data, schema_text(kind, kind->group),
                 schema_text(kind, kind->version), schema_text(res, res->plural));
        namespace_report_error(r, slice_str(sentence));
    }
}

/* ---- conditions ----------------------------------------------------------------------------- */

static int namespace_report_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "prefix: a, b": texts sorted, then joined. */
static void namespace_report_join(struct buf *out, const char *prefix, const char **texts,
                                  size_t count)
{
    qsort(texts, count, sizeof *texts, namespace_report_compare);
    buf_printf(out, "%s: ", prefix);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s%s", i > 0 ? ", " : "", texts[i]);
    }
    buf_append_byte(out, 0);
}

static void namespace_report_remaining(const struct namespace_report *r, struct buf *out)
{
    char texts[NAMESPACE_KINDS_MAX][160];
    const char *sorted[NAMESPACE_KINDS_MAX];
    for (size_t i = 0; i < r->remains_count; i++) {
        snprintf(texts[i], sizeof texts[i], "%s has %lld resource instances",
                 r->remains[i].resource, (long long)r->remains[i].count);
        sorted[i] = texts[i];
    }
    namespace_report_join(out, "Some resources are remaining", sorted, r->remains_count);
}

static void namespace_report_holders(const struct namespace_report *r, struct buf *out)
{
    char texts[NAMESPACE_FINALIZERS_MAX][320];
    const char *sorted[NAMESPACE_FINALIZERS_MAX];
    for (size_t i = 0; i < r->finalizers_count; i++) {
        snprintf(texts[i], sizeof texts[i], "%s in %lld resource instances", r->finalizers[i].name,
                 (long long)r->finalizers[i].count);
        sorted[i] = texts[i];
    }
    namespace_report_join(out, "Some content in the namespace has finalizers remaining", sorted,
                          r->finalizers_count);
}

int namespace_report_conditions(const struct namespace_report *r, struct object *space,
                                int64_t now_s, bool *changed)
{
    struct condition_want wants[] = {
        {"NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
         "All resources successfully discovered", now_s},
        {"NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
         "All legacy kube types successfully parsed", now_s},
        {"NamespaceDeletionContentFailure", "False", "ContentDeleted",
         "All content successfully deleted, may be waiting on finalization", now_s},
        {"NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed",
         now_s},
        {"NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers",
         "All content-preserving finalizers finished", now_s},
    };
    struct buf texts[3];
    for (size_t i = 0; i < 3; i++) {
        buf_init(&texts[i]);
    }
    if (r->error_count > 0) {
        buf_printf(&texts[0], "Failed to delete all resource types, %zu remaining: %s",
                   r->error_count, r->errors);
        buf_append_byte(&texts[0], 0);
        wants[2].status = "True";
        wants[2].reason = "ContentDeletionFailed";
        wants[2].message = (const char *)texts[0].data;
    }
    if (r->remains_count > 0) {
        namespace_report_remaining(r, &texts[1]);
        wants[3].status = "True";
        wants[3].reason = "SomeResourcesRemain";
        wants[3].message = (const char *)texts[1].data;
    }
    if (r->finalizers_count > 0) {
        namespace_report_holders(r, &texts[2]);
        wants[4].status = "True";
        wants[4].reason = "SomeFinalizersRemain";
        wants[4].message = (const char *)texts[2].data;
    }
    int rc = texts[0].failed || texts[1].failed || texts[2].failed ? ERR_NOMEM : 0;
    *changed = false;
    for (size_t i = 0; i < sizeof wants / sizeof wants[0] && rc == 0; i++) {
        bool one;
        rc = conditions_set(space, &wants[i], &one);
        *changed = *changed || one;
    }
    for (size_t i = 0; i < 3; i++) {
        buf_close(&texts[i]);
    }
    return rc;
}
