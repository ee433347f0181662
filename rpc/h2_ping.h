/* h2_ping.h - keepalive, the rules against too many pings and resets, and GOAWAY. Private to rpc/.
 *
 * A client may ping every keepalive_min_ms while a call is open and every two hours otherwise; each
 * ping that comes earlier is a strike, more than two end the connection with ENHANCE_YOUR_CALM and
 * "too_many_pings". Any HEADERS or DATA we send clears the strikes: clients measure bandwidth with
 * pings while they receive (contract W-09, grpc-go's rules).
 *
 * A server ping goes out after keepalive_interval_ms without input; without any input for another
 * keepalive_timeout_ms the connection is closed. */
#ifndef KVD_RPC_H2_PING_H
#define KVD_RPC_H2_PING_H

#include <stdbool.h>
#include <stdint.h>

struct h2;

/* A PING came. Returns 0, or nghttp2's code that ends the session. */
int h2_ping_received(struct h2 *h, bool ack, const uint8_t data[8]);
/* SETTINGS came: the handshake is over, keepalive begins. */
void h2_ping_started(struct h2 *h);
/* A stream was reset by the peer, or because of it. Returns as h2_ping_received. */
int h2_count_reset(struct h2 *h);

#endif
