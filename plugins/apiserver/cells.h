/* cells.h - the cells of tables: what each column of a kind shows of an object.
 *
 * Pure functions of the object and the time; which columns a kind has, and in which order, says the
 * schema. Any thread. */
#ifndef KVD_APISERVER_CELLS_H
#define KVD_APISERVER_CELLS_H

#include "base/alloc.h"
#include "base/buf.h"
#include "plugins/object/object.h"

/* One object while its cells are made. */
struct cells {
    const struct object *object;
    int64_t now_us;      /* since 1970 */
    struct arena *arena; /* for what is put together on the way; not cleared */
    struct buf *out;     /* where a column's function puts its text, without quotes */
    void *memo; /* what a kind's functions found out and other columns show; in the arena */
};

struct cells_column {
    const char *name; /* as in the schema; NULL ends a list */
    void (*print)(struct cells *c);
    bool json; /* print writes a number, true or false: no quotes */
};

/* Columns that look the same for all kinds (Name, Age, Created At), then those of kinds. */
extern const struct cells_column cells_common[];
extern const struct cells_column cells_pod[];
extern const struct cells_column cells_pod_template[];
extern const struct cells_column cells_replicas[]; /* ReplicaSet, ReplicationController */
extern const struct cells_column cells_deployment[];
extern const struct cells_column cells_scale[];
extern const struct cells_column cells_service[];
extern const struct cells_column cells_endpoints[];
extern const struct cells_column cells_endpoint_slice[];
extern const struct cells_column cells_node[];
extern const struct cells_column cells_event[]; /* of both groups */
extern const struct cells_column cells_namespace[];
extern const struct cells_column cells_config_map[];
extern const struct cells_column cells_secret[];
extern const struct cells_column cells_priority_class[];
extern const struct cells_column cells_lease[];

/* The function of a kind's column: its own, or the common one; NULL when there is none. */
const struct cells_column *cells_find(const struct schema_type *type, const char *name);

/* ---- for the functions ---- */
static inline void cells_put(struct cells *c, const char *text)
{
    buf_append_str(c->out, text);
}
static inline void cells_put_slice(struct cells *c, struct slice text)
{
    buf_append_slice(c->out, text);
}
/* The text, or what stands for an empty one. */
void cells_put_or(struct cells *c, struct slice text, const char *instead);
void cells_put_int(struct cells *c, int64_t v);
/* The object's text or integer at a path. */
void cells_put_path(struct cells *c, const char *path, const char *instead);
void cells_put_int_path(struct cells *c, const char *path);
/* How long ago a time was, in the short human form; INSTANT_UNSET: <unknown>. */
void cells_put_since(struct cells *c, int64_t micros);
/* A map of texts as "a=1,b=2"; empty: <none>. */
void cells_put_labels(struct cells *c, const struct value *map);
/* The next text of a list with commas; *first: none was put before, false afterwards. */
void cells_put_next(struct cells *c, struct slice text, bool *first);
/* Sorts texts in place and puts each that differs from the one before, as cells_put_next. */
void cells_put_sorted(struct cells *c, struct slice *texts, size_t count, bool *first);
/* Begins the next entry of a list that is counted: puts a comma between those shown. True: print
 * it; false: it is beyond those shown. */
bool cells_next_of_few(struct cells *c, size_t *count);
/* Ends such a list: " + 3 more..." when some were not shown. */
void cells_end_of_few(struct cells *c, size_t count);
/* Text made as by printf, in the arena; empty when out of memory. */
struct slice cells_format(struct cells *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Time in microseconds from a value in seconds; NULL: INSTANT_UNSET. */
int64_t cells_micros(const struct value *seconds);

#endif
