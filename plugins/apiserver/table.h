/* table.h - objects as rows of a Table: what clients print for people. Pure; any thread. */
#ifndef KVD_APISERVER_TABLE_H
#define KVD_APISERVER_TABLE_H

#include "base/alloc.h"
#include "base/buf.h"
#include "plugins/object/object.h"

/* Appends the JSON array of column definitions of a kind: those of the schema, or Name and Created
 * At for a kind without any. */
void table_print_columns(const struct schema_type *type, struct buf *out);
/* Appends "cells":[...] of an object and, where its kind has such, ,"conditions":[...]: the inside
 * of a row but its object. now_us: since 1970. scratch is used and not cleared. */
void table_print_cells(const struct object *o, int64_t now_us, struct arena *scratch,
                       struct buf *out);

#endif
