/* h1.h - HTTP/1.1 of one connection, over http_parser. Private to rpc/.
 *
 * One request at a time: what a pipelining client sends meanwhile waits in a bounded buffer. It is
 * the carrier of one struct http_request after the other. */
#ifndef KVD_RPC_H1_H
#define KVD_RPC_H1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/slice.h"

struct conn;
struct h1;

/* NULL when out of memory. */
struct h1 *h1_new(struct conn *c);
/* A request without an answer is told closed. */
void h1_free(struct h1 *h);
void h1_input(struct h1 *h, struct slice bytes);
/* The next bytes to write, at most cap, as parts: some of them lie in copy, all are valid until
 * h1_given. Returns how many bytes; *more: there are others. */
size_t h1_output(struct h1 *h, uint8_t *copy, size_t cap, struct slice *parts, size_t max,
                 size_t *count, bool *more);
/* Those bytes are written, or copied aside. */
void h1_given(struct h1 *h);
/* Before a flush: goes on with pipelined requests after an answer. */
void h1_advance(struct h1 *h);
/* Reading should pause: more than the pipeline bound waits. */
bool h1_wants_pause(const struct h1 *h);
/* Sets the connection's timer to what is waited for now; after each flush. */
void h1_rearm(struct h1 *h);
void h1_timer(struct h1 *h);
/* The server stops. Returns false when no request is being received or answered. */
bool h1_shutdown(struct h1 *h);
/* The peer has sent its last byte: a request without an answer is told closed. */
void h1_eof(struct h1 *h);
/* Something of an answer has not been given to h1_output. */
bool h1_has_output(const struct h1 *h);

#endif
