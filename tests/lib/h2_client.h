/* h2_client.h - a gRPC client for tests: one HTTP/2 connection over loopback, driven together with
 * the server's uv loop in the same thread, so that a test says step by step what both sides do.
 *
 * It is not a polite client: it sends what the test asks for, also raw bytes between frames. */
#ifndef KVD_TESTS_LIB_H2_CLIENT_H
#define KVD_TESTS_LIB_H2_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <uv.h>

#include "base/buf.h"
#include "base/slice.h"

#define H2_REPLIES_MAX 20000

/* What came back on one stream. */
struct h2_reply {
    int32_t stream_id;
    char http_status[4];
    char content_type[64];
    int grpc_status; /* -1 = none seen */
    char grpc_message[4096];
    struct buf headers; /* "name: value\n" of each, of all blocks */
    int header_blocks;  /* HEADERS frames: 1 = trailers-only, 2 = headers and trailers */
    struct buf data;    /* DATA bytes, framing of gRPC included */
    size_t data_taken;  /* by h2_reply_message */
    bool ended;         /* END_STREAM came */
    bool closed;        /* the stream is closed */
    uint32_t error_code;
    /* What this side still has to send; see h2_client_call. */
    struct buf upload;
    size_t uploaded;
    bool upload_end;
};

struct h2_client {
    uv_loop_t *loop;
    int fd;
    SSL *ssl; /* over fd; NULL = plain */
    nghttp2_session *session;
    struct h2_reply *replies[H2_REPLIES_MAX];
    size_t reply_count;
    struct buf unsent;
    bool paused; /* the test does not let it read */
    bool eof;    /* the server closed */
    bool reset;  /* the server's end was reset */
    int goaways;
    uint32_t goaway_code;
    int32_t goaway_last;
    char goaway_debug[128];
    int ping_acks;
    int pings; /* from the server */
    bool ping_no_ack;
    bool no_window_updates; /* what is received is never given back */
    uint32_t window;        /* SETTINGS_INITIAL_WINDOW_SIZE to announce; 0 = default */
    uint32_t max_streams;
};

struct h2_header {
    const char *name;
    const char *value;
};

/* A non-blocking TCP socket connected to 127.0.0.1:port. */
int test_connect(uint16_t port);
/* One turn of the loop that does not block; sleeps a little in poll when nothing is ready. */
void test_turn(uv_loop_t *loop);
/* Milliseconds, monotonic. */
uint64_t test_now_ms(void);

/* Connects and queues preface and SETTINGS. `window` and ping_no_ack may be set before (c zeroed).
 */
void h2_client_open(struct h2_client *c, uv_loop_t *loop, uint16_t port);
/* The same on a socket of the caller's, which is then c's; c->ssl may be set before, with the
 * socket given to it, and is then c's too. */
void h2_client_adopt(struct h2_client *c, uv_loop_t *loop, int fd);
void h2_client_close(struct h2_client *c);

/* POST path with the usual gRPC headers and the given ones (NULL name ends; may be NULL). A header
 * of ours that is given again replaces ours; with value NULL it is left out. body: bytes as they
 * are; end: END_STREAM after them. */
struct h2_reply *h2_client_call(struct h2_client *c, const char *path,
                                const struct h2_header *headers, struct slice body, bool end);
/* More bytes for an open call. */
void h2_client_send(struct h2_client *c, struct h2_reply *r, struct slice body, bool end);
void h2_client_rst(struct h2_client *c, struct h2_reply *r, uint32_t code);
/* Bytes straight to the socket, after what is queued. */
void h2_client_raw(struct h2_client *c, const void *data, size_t len);

/* Sends and receives what is possible now, without the loop. */
void h2_client_pump(struct h2_client *c);
/* Runs both sides until *flag or the time is over; returns *flag. */
bool h2_client_wait(struct h2_client *c, const bool *flag, uint64_t ms);
/* Runs both sides for this long. */
void h2_client_run(struct h2_client *c, uint64_t ms);

/* Appends a gRPC message (prefix and bytes). */
void grpc_frame(struct buf *out, struct slice message);
/* The next whole message of a reply; false when there is none (more). */
bool h2_reply_message(struct h2_reply *r, struct slice *out);

#endif
