/* answer.h - answers with an object as it is stored. */
#ifndef KVD_APISERVER_ANSWER_H
#define KVD_APISERVER_ANSWER_H

#include "plugins/apiserver/exchange.h"

/* As answer_stored, and a large value is worked on away from the lane. The value is copied when it
 * is needed longer. */
void answer_value(struct exchange *ex, int code, struct slice value, int64_t revision);

#endif
