/* gc_impl.h - what gc.c and gc_item.c share. */
#ifndef KVD_CONTROLLERS_GC_IMPL_H
#define KVD_CONTROLLERS_GC_IMPL_H

#include "plugins/controllers/controllers.h"
#include "plugins/controllers/gc_graph.h"

#define GC_KINDS_MAX 64u

/* One kind of objects, watched. */
struct gc_kind {
    const struct schema_type *type;
    struct informer *informer;
    struct informer_handler *handler;
    struct gc *gc;
    bool own;    /* opened here, for the term */
    bool synced; /* all of it is in the graph */
};

struct gc {
    struct controllers *all;
    struct client client;
    struct gc_graph graph;
    struct gc_kind kinds[GC_KINDS_MAX];
    size_t kind_count;
    struct works *works; /* keys: uids */
    struct recorder *recorder;
    struct list runs; /* struct gc_run: keys in work */
    bool ready;       /* the graph is complete; before that nothing is decided */
};

int64_t gc_reconcile(void *data, struct work *w, struct slice uid);
struct gc_run;
void gc_run_free_first(struct gc *gc); /* of the list runs, which is not empty */
/* The kind of a reference: NULL when none such is served. */
const struct schema_type *gc_type_of(const struct value *reference);
bool gc_is_namespaced(const struct schema_type *type);

#endif
