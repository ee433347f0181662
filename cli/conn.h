/* conn.h - one HTTP/2 connection to an endpoint, and calls on it, blocking with deadlines.
 *
 * A command line tool does one thing at a time, so there is no loop: each function that waits moves
 * all bytes there are until what it waits for happened. Single thread. Deadlines are on
 * clock_mono_ms; CONN_NEVER waits for ever. */
#ifndef KVD_CLI_CONN_H
#define KVD_CLI_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define CONN_NEVER UINT64_MAX

struct conn;
struct conn_call;

/* Can the endpoint be read? 0, or ERR_INVALID with a sentence. */
int conn_check_endpoint(const char *endpoint, struct errmsg *e);
/* Connects to "host:port", "http://host:port" or "unix://path" and waits until the server has sent
 * its first frame. Returns 0, ERR_INVALID (the
 * endpoint cannot be read, or asks for TLS), ERR_DEADLINE, ERR_IO with a sentence that names the
 * endpoint. */
int conn_open(const char *endpoint, uint64_t deadline_ms, struct conn **out, struct errmsg *e);
void conn_close(struct conn *c); /* end its calls first; NULL is fine */
/* Can new calls be made on it? False once it broke or the server said goodbye. */
bool conn_alive(const struct conn *c);
const char *conn_endpoint(const struct conn *c);

struct conn_call_options {
    const char *path;         /* "/etcdserverpb.KV/Put"; not copied */
    uint64_t timeout_ms;      /* told to the server as grpc-timeout; 0 = none */
    size_t message_bytes_max; /* larger answers end the call */
    bool require_leader;      /* metadata hasleader: true (contract W-11) */
};

/* Starts a call; NULL when out of memory or the connection is no longer alive. */
struct conn_call *conn_call_start(struct conn *c, const struct conn_call_options *options);
/* Queues one message; `last`: nothing more will be sent. false when out of memory. */
bool conn_call_send(struct conn_call *call, struct slice message, bool last);

enum conn_result {
    CONN_MESSAGE, /* *message holds the next one until the following call */
    CONN_END,     /* the call is over: conn_call_code and conn_call_text say how */
    CONN_TIMEOUT  /* the deadline passed; the call goes on */
};
enum conn_result conn_call_next(struct conn_call *call, uint64_t deadline_ms,
                                struct slice *message);
/* The gRPC status. A connection that broke counts as GRPC_UNAVAILABLE. Valid until conn_call_end.
 */
int conn_call_code(const struct conn_call *call);
const char *conn_call_text(const struct conn_call *call);
/* Did the server say it, and not this side about the connection? */
bool conn_call_answered(const struct conn_call *call);
/* Did the server certainly not look at the request? (refused stream, connection broken before a
 * byte was sent) */
bool conn_call_unsent(const struct conn_call *call);
/* Cancels the call if it is not over, and frees it. NULL is fine. */
void conn_call_end(struct conn_call *call);

#endif
