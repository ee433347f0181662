/* h2_impl.h - the inside of struct h2, for h2.c, h2_submit.c and h2_ping.c. */
#ifndef KVD_RPC_H2_IMPL_H
#define KVD_RPC_H2_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>

#include "base/list.h"

struct conn;
struct h2_stream;

struct h2 {
    struct conn *conn;
    nghttp2_session *session;
    struct list streams; /* open */
    size_t stream_count;
    struct h2_stream *current; /* whose headers are arriving */
    bool dying;                /* streams are being closed: the session must not be touched */
    size_t received;           /* DATA bytes of the input under way */

    /* The buffer of the output under way, and the rest of a frame that did not fit. */
    uint8_t *out;
    size_t out_len;
    size_t out_cap;
    bool out_full;
    const uint8_t *carry;
    size_t carry_len;

    /* h2_ping.c */
    uint64_t last_input_ms;
    uint64_t last_ping_ms; /* of the client's; 0 = none yet */
    unsigned strikes;
    bool strikes_reset; /* HEADERS or DATA were sent since the last ping */
    bool started;       /* the client's SETTINGS came */
    bool ping_sent;     /* our keepalive ping is unanswered */
    bool stopping;      /* shutdown notice sent, the final GOAWAY follows its ping */
    uint64_t ping_sent_ms;
    uint64_t resets_since_ms; /* start of the second in which resets are counted */
    uint32_t resets;
};

/* Feeds DATA frames of a stream (source.ptr: its struct h2_stream). */
ssize_t h2_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *unused, size_t wanted,
                     uint32_t *flags, nghttp2_data_source *source, void *user);

#endif
