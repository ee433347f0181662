/* delete_options.h - the body of a DELETE that is part of some work (work_send). */
#ifndef KVD_CONTROLLERS_DELETE_OPTIONS_H
#define KVD_CONTROLLERS_DELETE_OPTIONS_H

#include "base/buf.h"
#include "base/slice.h"

/* Appends DeleteOptions. uid: only this one; version: only this state, empty = any; propagation:
 * "Background", "Foreground", "Orphan", NULL = the kind's default. A failure is the buffer's. */
void delete_options_print(struct slice uid, struct slice version, const char *propagation,
                          struct buf *out);

#endif
