/* range.h - single operations on the test host's store, shared by calls and transactions. */
#ifndef KVD_PLUGINS_TESTING_RANGE_H
#define KVD_PLUGINS_TESTING_RANGE_H

#include "plugins/testing/world.h"

/* 0 or KVP_INVALID. */
int32_t range_check(const struct kvp_range *r);
int32_t put_check(const struct kvp_put *p);
int32_t del_check(const struct kvp_del *d);

/* 0, KVP_COMPACTED or KVP_FUTURE. Rows lie in memory, their bytes in the store. */
int32_t range_read(struct arena *memory, const struct kvp_range *r, struct kvp_rows *out);
/* 0 or KVP_NOT_FOUND: lease or row. */
int32_t put_possible(const struct kvp_put *p);
/* Inside a transaction of the store. */
void put_do(const struct kvp_put *p);
/* 0 or KVP_NOT_LEADER. */
int write_allowed(struct kvp_ctx *ctx);

#endif
