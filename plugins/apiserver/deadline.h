/* deadline.h - how long a client waits for an answer: a minute, or less when it says so
 * (?timeout=10s); then it is told 504. Watches have times of their own. Callbacks of the lane. */
#ifndef KVD_APISERVER_DEADLINE_H
#define KVD_APISERVER_DEADLINE_H

#include "plugins/apiserver/exchange.h"

/* Reads a duration as Go writes it: "1m30s", "250ms", "0". 0 with milliseconds (rounded up), or
 * ERR_INVALID. */
int deadline_parse(struct slice text, int64_t *out_ms);
/* Sets the time of a request that was read. False: answered, its timeout is none. */
bool deadline_begin(struct exchange *ex);
/* Before the exchange is freed. Harmless when it has no time set. */
void deadline_end(struct exchange *ex);
/* When the plugin ends. */
void deadline_close(struct apiserver *api);

#endif
