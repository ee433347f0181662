/* namespace_report.h - what is still in an ending namespace, and how its status tells. Pure. */
#ifndef KVD_CONTROLLERS_NAMESPACE_REPORT_H
#define KVD_CONTROLLERS_NAMESPACE_REPORT_H

#include "base/buf.h"
#include "plugins/object/object.h"

#define NAMESPACE_FINALIZER_WAIT_S 15 /* how long objects with finalizers are given */

struct namespace_remains { /* of one kind */
    char resource[96];     /* "pods.", "deployments.apps" */
    int64_t count;
};
struct namespace_finalizer {
    char name[256];
    int64_t count;
};
#define NAMESPACE_KINDS_MAX      128u
#define NAMESPACE_FINALIZERS_MAX 32u /* more are counted with the last one */
#define NAMESPACE_ERRORS_BYTES   2048u

/* Starts zeroed. */
struct namespace_report {
    struct namespace_remains remains[NAMESPACE_KINDS_MAX];
    size_t remains_count;
    struct namespace_finalizer finalizers[NAMESPACE_FINALIZERS_MAX];
    size_t finalizers_count;
    int64_t wait_s; /* the longest of the waits; 0 = nothing to wait for */
    size_t error_count;
    char errors[NAMESPACE_ERRORS_BYTES]; /* sentences, joined by ", "; cut */
};

/* Adds what a list of a kind shows after its deletion: list is a PartialObjectMetadataList (its
 * first page). For pods their grace periods count, from deleted_s on. What remains without reason
 * to wait for is an error. */
void namespace_report_add(struct namespace_report *r, const struct schema_type *kind,
                          const struct object *list, struct slice space, int64_t deleted_s,
                          int64_t now_s);
/* A request failed. */
void namespace_report_error(struct namespace_report *r, struct slice sentence);
static inline bool namespace_report_is_empty(const struct namespace_report *r)
{
    return r->remains_count == 0 && r->error_count == 0;
}
/* Sets the five conditions of the namespace. *changed: whether any differs now. 0 or ERR_NOMEM. */
int namespace_report_conditions(const struct namespace_report *r, struct object *space,
                                int64_t now_s, bool *changed);
/* "pods.", "deployments.apps". */
void namespace_report_resource(const struct schema_type *kind, char *out, size_t size);

#endif
