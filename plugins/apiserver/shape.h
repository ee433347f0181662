/* shape.h - what answers show of objects: all of it, a row of a table, or its metadata.
 *
 * The shape was chosen when the request came (exchange.media). Callbacks of the plugin's lane. */
#ifndef KVD_APISERVER_SHAPE_H
#define KVD_APISERVER_SHAPE_H

#include "plugins/apiserver/exchange.h"
#include "plugins/object/object.h"

/* Chooses the shape from the request's Accept header. False: answered with 406, or with 400 for an
 * includeObject that is none. */
bool shape_choose(struct exchange *ex);
/* Whether single objects may be answered in the shape chosen; false: answered with 406. */
bool shape_allows_object(struct exchange *ex);
/* The same for lists. */
bool shape_allows_list(struct exchange *ex);

/* Appends a stored object as an answer of its own. revision 0: value has none (a dry run). first:
 * nothing was shown of this watch before (tables have their columns then). scratch is used and not
 * cleared. 0, ERR_NOMEM, or ERR_INVALID with the sentence. */
int shape_print(struct exchange *ex, struct slice value, int64_t revision, bool first,
                struct arena *scratch, struct buf *out, struct errmsg *e);
/* The same for an object that is no stored value, such as a scale; failure is the buffer's. */
void shape_print_object(struct exchange *ex, const struct object *o, struct buf *out);
/* Appends an object without content, to tell of a revision; ends_initial: with the annotation that
 * ends the initial events. 0 or ERR_NOMEM. */
int shape_print_bookmark(struct exchange *ex, int64_t revision, bool ends_initial, bool first,
                         struct arena *scratch, struct buf *out);

/* A list: its beginning up to "metadata": (whose value the caller appends), what stands between
 * that and the items, its items, and the end. */
void shape_list_begin(struct exchange *ex, struct buf *out);
void shape_list_items(struct exchange *ex, struct buf *out);
int shape_list_item(struct exchange *ex, struct slice value, int64_t revision,
                    struct arena *scratch, struct buf *out, struct errmsg *e);
void shape_list_end(struct buf *out);

#endif
