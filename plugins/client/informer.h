/* informer.h - the objects of one kind, decoded, kept current in memory.
 *
 * Lists in pages at one revision, then watches with bookmarks from there; when the watch ends it
 * goes on from the last revision seen, and lists again only when that is compacted (410), telling
 * the differences as changes. Failures are repeated with backoff (0.8 s doubled to 30 s, with
 * jitter; from 0.1 s while nothing has been listed yet). Opened with the instance's context it
 * stays warm on every member; with a term's it lasts for the term. Objects are never changed in
 * place: one that a handler or getter has handed out stays as it is until the callback returns;
 * keep a copy (object_copy) to hold it longer. They have no arena, apiVersion and kind always, and
 * metadata.managedFields never: it is as large as the rest, and an update without it keeps what the
 * server has.
 *
 * Whoever opens closes: an informer of a term in stop, one of the instance in fini. When its
 * context has ended before, it calls back no more, but still answers with what it had. */
#ifndef KVD_CLIENT_INFORMER_H
#define KVD_CLIENT_INFORMER_H

#include "plugins/client/client.h"

struct informer; /* until informer_close */

#define INFORMER_INDEXES_MAX 4u

/* Calls emit for each value the object is to be found under. */
struct index_emit;
void informer_emit(struct index_emit *emit, struct slice value);
typedef void informer_index_fn(void *data, const struct object *o, struct index_emit *emit);

struct informer_args {
    const struct schema_type *type;
    const char *query; /* selectors as in a URL, escaped; NULL = all */
    informer_index_fn *indexes[INFORMER_INDEXES_MAX]; /* NULL = no more */
    void *data;                                       /* of the indexes */
    bool metadata; /* the objects have kind and metadata only: so little memory, and traffic */
};

/* before NULL: added. now NULL: removed; before is then its last state (of the DELETED event when
 * there was one). Called after the informer has changed. */
typedef void informer_changed_fn(void *data, const struct object *before, const struct object *now);
typedef void informer_synced_fn(void *data);

/* 0 or a reason of kvplugin.h. */
int informer_open(struct client c, const struct informer_args *a, struct informer **out);
/* Frees all; no handler runs after it, and all handlers' handles are dead. Also from inside a
 * handler, and after the end of the context. NULL is fine. */
void informer_close(struct informer *i);
/* Adds handlers (each may be NULL). What the informer holds already is told as added, in a callback
 * of its own soon after; synced once all of the first list has been told. 0 or KVP_NO_MEMORY. */
struct informer_handler; /* until informer_off or informer_close */
int informer_on(struct informer *i, informer_changed_fn *changed, informer_synced_fn *synced,
                void *data, struct informer_handler **out);
/* No callback of it runs after this. For handlers of a term on an informer of the instance: in
 * stop. Also from inside a handler. NULL is fine. */
void informer_off(struct informer_handler *h);

bool informer_synced(const struct informer *i);
size_t informer_len(const struct informer *i);
int64_t informer_revision(const struct informer *i); /* it shows; 0 before the first list */

/* NULL: not there. */
const struct object *informer_get(struct informer *i, struct slice key);
const struct object *informer_find(struct informer *i, struct slice space, struct slice name);
/* Return 0 to go on. The informer may not be closed meanwhile. */
typedef int informer_each_fn(void *data, const struct object *o);
/* All, in no order; those of a namespace; those an index has under a value. */
int informer_each(struct informer *i, informer_each_fn *each, void *data);
int informer_each_in(struct informer *i, struct slice space, informer_each_fn *each, void *data);
int informer_by_index(struct informer *i, size_t index, struct slice value, informer_each_fn *each,
                      void *data);

/* An index to use as is: by uid of the controlling owner. */
void informer_index_controller(void *data, const struct object *o, struct index_emit *emit);

#endif
