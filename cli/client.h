/* client.h - calls to a cluster: endpoints tried in turn, deadlines, errors as sentences.
 *
 * One connection at a time, to the first endpoint that takes it. A call that certainly did not
 * reach a server is tried on the next endpoint; a read also when its answer got lost or the member
 * has no leader. A write whose answer got lost is never sent again: it may have happened. */
#ifndef KVD_CLI_CLIENT_H
#define KVD_CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/alloc.h"
#include "base/err.h"
#include "cli/conn.h"

struct client_options {
    const char *const *endpoints; /* outlive the client */
    size_t endpoint_count;
    uint64_t dial_timeout_ms;    /* for finding an endpoint that answers; 0 = none */
    uint64_t command_timeout_ms; /* for one call; 0 = none */
    size_t message_bytes_max;
};

struct client {
    struct client_options options;
    struct conn *conn; /* NULL = not connected */
    size_t next;       /* endpoint to try first */
};

/* One unary method. */
struct client_method {
    const char *path;
    const ProtobufCMessageDescriptor *response;
    bool read; /* may be sent again */
};

enum client_call_id {
    CLIENT_RANGE,
    CLIENT_PUT,
    CLIENT_DELETE_RANGE,
    CLIENT_TXN,
    CLIENT_COMPACT,
    CLIENT_LEASE_GRANT,
    CLIENT_LEASE_REVOKE,
    CLIENT_LEASE_TIME_TO_LIVE,
    CLIENT_LEASE_LEASES,
    CLIENT_MEMBER_LIST,
    CLIENT_ALARM_LIST,
    CLIENT_ALARM_CHANGE,
    CLIENT_STATUS,
    CLIENT_HASH_KV,
    CLIENT_DEFRAGMENT,
    CLIENT_PLUGIN_LIST,
    CLIENT_PLUGIN_DESCRIBE,
    CLIENT_PLUGIN_TOP,
    CLIENT_PLUGIN_CONFIG,
    CLIENT_PLUGIN_RELOAD,
    CLIENT_PLUGIN_ENABLE,
    CLIENT_PLUGIN_DISABLE,
    CLIENT_RECORD_ORIGIN,
    CLIENT_CALL_COUNT_
};

const struct client_method *client_method(enum client_call_id id);

/* Connects nothing yet. */
void client_init(struct client *c, const struct client_options *options);
void client_close(struct client *c);

/* Makes sure there is a connection. 0, or an error with a sentence that names what was tried. */
int client_connect(struct client *c, struct errmsg *e);
/* Closes the connection; the next call starts at the following endpoint. */
void client_drop(struct client *c);

/* One unary call. request is a generated struct; on success *response is one too, in the arena.
 * Returns a gRPC code: GRPC_OK, or with the sentence in e as etcd's own clients print it (the
 * server's text, "context deadline exceeded", or what happened to the connection). */
int client_call(struct client *c, enum client_call_id id, const void *request, struct arena *arena,
                void **response, struct errmsg *e);

/* The sentence for a call that ended with an error: etcd's own texts as they are, others as Go's
 * gRPC prints them. */
void client_say(const struct conn_call *call, struct errmsg *e);

/* Is `text` what servers say while they have no leader, so that another member may know more? */
bool client_is_transient(int code, const char *text);

#endif
