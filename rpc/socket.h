/* socket.h - connections whose bytes a uv stream carries: TCP and unix sockets. Private to rpc/. */
#ifndef KVD_RPC_SOCKET_H
#define KVD_RPC_SOCKET_H

#include <stdbool.h>

#include <uv.h>

struct rpc_server;
struct tls_context;

/* Takes the next connection waiting at a listening stream (uv_tcp_t or uv_pipe_t). Connections over
 * options.connections_max are accepted and closed at once. With `tls` the first byte decides
 * whether it is TLS; with plain_too it need not be. */
void socket_accept(struct rpc_server *s, uv_stream_t *listening, struct tls_context *tls,
                   bool plain_too);

#endif
