/* gc_verdict.h - what becomes of an object, when all its owners have been looked at. Pure. */
#ifndef KVD_CONTROLLERS_GC_VERDICT_H
#define KVD_CONTROLLERS_GC_VERDICT_H

#include "plugins/object/object.h"

/* What an owner turned out to be. */
enum gc_owner {
    GC_SOLID,    /* it is there; or nobody can know */
    GC_DANGLING, /* it is gone */
    GC_WAITING,  /* it is being deleted in the foreground */
};

/* Of an owner as the API server has it now; o NULL: it is not there. uid: of the reference. */
enum gc_owner gc_judge_owner(const struct object *o, struct slice uid);

enum gc_action {
    GC_KEEP,
    GC_UNLINK,            /* take the references that lead nowhere */
    GC_DELETE_FOREGROUND, /* and its own dependents first */
    GC_DELETE,            /* as gc_propagation says */
};
/* owners: of each reference. dependents: it has some itself. */
enum gc_action gc_judge(const enum gc_owner *owners, size_t count, bool dependents);
/* As its finalizers ask. */
const char *gc_propagation(const struct object *o);

/* Patches, appended to out; a failure is the buffer's. */
/* Strategic: takes the references that are not solid. */
void gc_print_unlink(const struct object *o, const enum gc_owner *owners, struct buf *out);
/* Strategic: no reference holds up its owner's deletion any more. */
void gc_print_unblock(const struct object *o, struct buf *out);
/* Merge: without this finalizer, if nobody wrote meanwhile. False: it has none such. */
bool gc_print_without_finalizer(const struct object *o, const char *finalizer, struct buf *out);

#endif
