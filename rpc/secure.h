/* secure.h - TLS between a connection and its carrier. Private to rpc/.
 *
 * It is a carrier itself: the connection writes through its conn_ops, it writes through the
 * carrier's. What comes in is decrypted and handed to conn_input, so HTTP/1 and HTTP/2 know nothing
 * of it. The carrier calls secure_input, secure_eof and secure_written in place of conn_input,
 * conn_eof and conn_written once conn.security is set. */
#ifndef KVD_RPC_SECURE_H
#define KVD_RPC_SECURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/tls.h"

struct conn;
struct secure;

/* First byte of a TLS ClientHello's record. */
#define SECURE_FIRST_BYTE 0x16

/* The connection's first bytes (not used up here) begin a TLS handshake, or should: one that begins
 * otherwise is told so if it looks like HTTP, and ended. Sets c->security, which goes with
 * conn_free. Without memory the connection is destroyed. */
void secure_begin(struct conn *c, struct tls_context *tls, const uint8_t *data, size_t len);
void secure_free(struct secure *s); /* NULL is fine */
void secure_input(struct secure *s, const uint8_t *data, size_t len);
void secure_eof(struct secure *s);
void secure_written(struct secure *s, int status);
bool secure_established(const struct secure *s);
/* NULL without a client certificate. */
const struct tls_peer *secure_peer(const struct secure *s);

#endif
