/* method.h - finds the rpc_method row of a path. Private to rpc/. */
#ifndef KVD_RPC_METHOD_H
#define KVD_RPC_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "rpc/call.h"

struct method_slot;

struct method_table {
    struct method_slot *slots; /* open addressing; NULL without methods */
    size_t mask;
    size_t count; /* methods */
};

/* Rows end with a NULL service and must outlive the table. false when out of memory. */
bool method_table_init(struct method_table *t, const struct rpc_method *rows);
void method_table_close(struct method_table *t);
/* The row of "/service/method", NULL when there is none. */
const struct rpc_method *method_find(const struct method_table *t, struct slice path);
/* Is there any method of this service? For the answer to an unknown one. */
bool method_service_known(const struct method_table *t, struct slice service);

#endif
