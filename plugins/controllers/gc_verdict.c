/* gc_verdict.c - decisions about one object, and the patches they lead to. */
#include "plugins/controllers/gc_verdict.h"

#include "plugins/client/client.h"
#include "plugins/controllers/gc_graph.h"
#include "plugins/object/encode.h"

static bool gc_wears(const struct object *o, const char *finalizer)
{
    const struct value *list = object_get(o, "metadata.finalizers");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(&list->items[i], finalizer)) {
            return true;
        }
    }
    return false;
}

enum gc_owner gc_judge_owner(const struct object *o, struct slice uid)
{
    if (o == NULL || !slice_eq(object_text(o, "metadata.uid"), uid)) {
        return GC_DANGLING;
    }
    return object_get(o, "metadata.deletionTimestamp") != NULL && gc_wears(o, GC_FOREGROUND)
               ? GC_WAITING
               : GC_SOLID;
}

enum gc_action gc_judge(const enum gc_owner *owners, size_t count, bool dependents)
{
    size_t solid = 0;
    size_t waiting = 0;
    for (size_t i = 0; i < count; i++) {
        solid += owners[i] == GC_SOLID;
        waiting += owners[i] == GC_WAITING;
    }
    if (solid > 0 || count == 0) {
        return solid == count ? GC_KEEP : GC_UNLINK;
    }
    return waiting > 0 && dependents ? GC_DELETE_FOREGROUND : GC_DELETE;
}

const char *gc_propagation(const struct object *o)
{
    return gc_wears(o, GC_ORPHAN)       ? "Orphan"
           : gc_wears(o, GC_FOREGROUND) ? "Foreground"
                                        : "Background";
}

static void gc_print_uid(const struct object *o, struct buf *out)
{
    buf_append_str(out, "],\"uid\":");
    encode_text(object_text(o, "metadata.uid"), out);
    buf_append_str(out, "}}");
}

void gc_print_unlink(const struct object *o, const enum gc_owner *owners, struct buf *out)
{
    const struct value *list = object_get(o, "metadata.ownerReferences");
    bool first = true;
    buf_append_str(out, "{\"metadata\":{\"ownerReferences\":[");
    for (size_t i = 0; i < value_len(list); i++) {
        if (owners[i] == GC_SOLID) {
            continue;
        }
        buf_append_str(out, first ? "{\"$patch\":\"delete\",\"uid\":"
                                  : ",{\"$patch\":\"delete\",\"uid\":");
        encode_text(reference_text(&list->items[i], "uid"), out);
        buf_append_str(out, "}");
        first = false;
    }
    gc_print_uid(o, out);
}

void gc_print_unblock(const struct object *o, struct buf *out)
{
    const struct value *list = object_get(o, "metadata.ownerReferences");
    buf_append_str(out, "{\"metadata\":{\"ownerReferences\":[");
    for (size_t i = 0; i < value_len(list); i++) {
        buf_append_str(out, i > 0 ? ",{\"uid\":" : "{\"uid\":");
        encode_text(reference_text(&list->items[i], "uid"), out);
        buf_append_str(out, ",\"blockOwnerDeletion\":false}");
    }
    gc_print_uid(o, out);
}

bool gc_print_without_finalizer(const struct object *o, const char *finalizer, struct buf *out)
{
    const struct value *list = object_get(o, "metadata.finalizers");
    bool first = true;
    if (!gc_wears(o, finalizer)) {
        return false;
    }
    buf_append_str(out, "{\"metadata\":{\"resourceVersion\":");
    encode_text(object_text(o, "metadata.resourceVersion"), out);
    buf_append_str(out, ",\"finalizers\":[");
    for (size_t i = 0; i < value_len(list); i++) {
        if (!value_is_text(&list->items[i], finalizer)) {
            buf_append_str(out, first ? "" : ",");
            encode_text(value_slice(&list->items[i]), out);
            first = false;
        }
    }
    buf_append_str(out, "]}}");
    return true;
}
