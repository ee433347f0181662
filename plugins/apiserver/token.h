/* token.h - continue tokens: where the next page of a list begins, and of which revision it is.
 * Unpadded base64url of {"v":"meta.k8s.io/v1","rv":N,"start":"ns/name\u0000"}. Pure; any thread. */
#ifndef KVD_APISERVER_TOKEN_H
#define KVD_APISERVER_TOKEN_H

#include "base/alloc.h"
#include "base/err.h"
#include "base/slice.h"

#define TOKEN_NEWEST (-1) /* revision of a token that goes on with whatever is there now */

/* start: the key below the list's prefix. data NULL when out of memory. */
struct slice token_make(int64_t revision, struct slice start, struct arena *a);
/* 0, or ERR_INVALID with the sentence of a 400, or ERR_NOMEM. */
int token_read(struct slice token, struct arena *a, int64_t *revision, struct slice *start,
               struct errmsg *e);

#endif
