/* validate_namespace.c - what clears up a namespace, and when it is ending. */
#include "plugins/object/validate_kinds.h"

#include <string.h>

void validate_namespace_object(const struct validate_at *at)
{
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "spec"), "finalizers");
    const struct value *list = validate_get(at, "spec.finalizers");
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice text = value_slice(&list->items[i]);
        validate_name(at->causes, NAME_QUALIFIED, PLACE_INDEX(p, i), text);
        if (name_is(NAME_QUALIFIED, text) && memchr(text.data, '/', text.len) == NULL &&
            !slice_eq(text, slice_str("kubernetes")) && !slice_eq(text, slice_str("orphan")) &&
            !slice_eq(text, slice_str("foregroundDeletion"))) {
            cause_invalid_text(at->causes, PLACE_INDEX(p, i), text,
                               "name is neither a standard finalizer name nor is it fully "
                               "qualified");
        }
    }
    struct slice phase = validate_text(at, "status.phase");
    bool ends = validate_get(at, "metadata.deletionTimestamp") != NULL;
    if (at->old != NULL && !slice_eq(phase, slice_str(ends ? "Terminating" : "Active"))) {
        cause_invalid_text(at->causes, PLACE_FIELD(PLACE_FIELD(at->place, "status"), "phase"),
                           phase,
                           ends ? "may only be 'Terminating' if `deletionTimestamp` is not empty"
                                : "may only be 'Active' if `deletionTimestamp` is empty");
    }
}
