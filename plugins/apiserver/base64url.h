/* base64url.h - RFC 4648's alphabet for URLs, without padding. Pure; any thread. */
#ifndef KVD_APISERVER_BASE64URL_H
#define KVD_APISERVER_BASE64URL_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"

void base64url_encode(struct slice bytes, struct buf *out);
/* Into the arena. 0; ERR_INVALID: a byte outside the alphabet, or bits left over that are not zero;
 * ERR_NOMEM. */
int base64url_decode(struct slice text, struct arena *a, struct slice *out);

#endif
