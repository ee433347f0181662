/* url.h - percent-encoding, and walking the pairs of a query. Any thread. */
#ifndef KVD_APISERVER_URL_H
#define KVD_APISERVER_URL_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"

/* Decodes %41 (and '+' as a blank when plus is set). What needs no decoding is returned as it is,
 * else it lies in the arena. Returns 0, ERR_INVALID (a broken escape), ERR_NOMEM. */
int url_decode(struct slice text, bool plus, struct arena *a, struct slice *out);
/* The next name=value of a query, which is consumed. Pairs that do not decode are left out, as Go
 * does. 0, ERR_NOT_FOUND at the end, ERR_NOMEM. */
int url_next_pair(struct slice *query, struct arena *a, struct slice *name, struct slice *value);
/* Appends text so that url_decode reads it again; also slashes are encoded. */
void url_encode(struct slice text, struct buf *out);

#endif
