/* grpc_text.h - the small texts of gRPC over HTTP/2: status messages, timeouts, content types.
 * Pure functions. Private to rpc/. */
#ifndef KVD_RPC_GRPC_TEXT_H
#define KVD_RPC_GRPC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Writes text percent-encoded as grpc-message wants it: printable ASCII but '%' stays (but spaces
 * at the ends, which HTTP forbids), every other byte becomes %XX, bytes that are not UTF-8 become
 * U+FFFD. Cut at a character when out is full. Returns the length (without the NUL). size > 0. */
size_t grpc_message_encode(const char *text, char *out, size_t size);

/* "application/grpc", or that and '+' or ';' (grpc-go's rule). */
bool grpc_content_type_ok(struct slice value);

enum grpc_timeout_result {
    GRPC_TIMEOUT_OK,
    GRPC_TIMEOUT_SHORT,
    GRPC_TIMEOUT_LONG,
    GRPC_TIMEOUT_UNIT,
    GRPC_TIMEOUT_NUMBER
};
/* 1 to 8 digits and a unit out of H M S m u n. *ns is cut at INT64_MAX. */
enum grpc_timeout_result grpc_timeout_parse(struct slice value, uint64_t *ns);

/* Writes value between double quotes, with quotes, backslashes and unprintable bytes escaped. Cut
 * when out is full; always terminated. size > 0. */
void grpc_quote(struct slice value, char *out, size_t size);

#endif
