/* svc.h - the services of one server: etcd's gRPC methods and HTTP pages over a struct service.
 *
 * One struct svc belongs to one loop (a front end): it holds what the methods share - the encoded
 * part of the response header that never changes, small-block pool, timers, counters.
 * rpc_server_options gets svc_methods(), svc_routes(), data = the struct svc, on_finished =
 * svc_on_finished. */
#ifndef KVD_RPC_SVC_H
#define KVD_RPC_SVC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "rpc/call.h"
#include "rpc/http.h"
#include "rpc/plugin_admin.h"
#include "rpc/service.h"

struct svc;

struct svc_options {
    struct service *service; /* borrowed; outlives the svc */
    struct plugin_admin
        *plugins; /* the same; NULL = no plugin host: kvdpb.Plugin is Unimplemented */
    uv_loop_t *loop;
    uint32_t election_ms;     /* for calls that require a leader (contract W-11) */
    uint64_t slow_request_ms; /* unary calls slower than this are logged as "request stats" */
    bool extensive_metrics;   /* grpc_server_handling_seconds too */
    /* Appended to /metrics after the registry: facts that only the caller knows. May be NULL. */
    void (*metrics)(void *data, struct buf *out);
    void *metrics_data;
};

/* NULL when out of memory. */
struct svc *svc_new(const struct svc_options *options);
/* Gives or takes away svc_options.plugins. NULL: all its requests must have completed. */
void svc_set_plugins(struct svc *s, struct plugin_admin *plugins);
/* After the rpc_server is closed (no call is left). cb when the handles are closed and s is freed.
 */
void svc_close(struct svc *s, void (*cb)(void *data), void *data);

/* All methods, ending with a NULL service; all routes, ending with a NULL path. They live for ever.
 */
const struct rpc_method *svc_methods(void);
const struct http_route *svc_routes(void);
/* For rpc_server_options.on_finished; data is the struct svc. */
void svc_on_finished(void *data, const struct rpc_method *method, int grpc_code);

/* Sum over all methods, for load figures. */
uint64_t svc_calls_started(const struct svc *s);

#endif
