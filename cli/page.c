/* page.c - one request, one answer, over a connection of its own; see page.h. */
#include "cli/page.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <http_parser.h>

#include "base/clock.h"
#include "cli/conn.h"

struct page {
    const char *endpoint;
    uint64_t deadline_ms;
    size_t bytes_max;
    struct buf *out;
    size_t from; /* where the body begins in out */
    bool whole;
    bool large;
};

static int page_on_body(http_parser *parser, const char *at, size_t len)
{
    struct page *p = parser->data;
    if (len > p->bytes_max || p->out->len - p->from > p->bytes_max - len) {
        p->large = true;
        return 1;
    }
    return buf_append(p->out, at, len) ? 0 : 1;
}

static int page_on_end(http_parser *parser)
{
    struct page *p = parser->data;
    p->whole = true;
    return 0;
}

/* Waits until the socket is ready. 0, ERR_DEADLINE or ERR_IO with a sentence. */
static int page_wait(const struct page *p, int fd, short events, struct errmsg *e)
{
    struct pollfd waiting = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now = clock_mono_ms();
        uint64_t left = p->deadline_ms == CONN_NEVER ? 60000
                        : p->deadline_ms > now       ? p->deadline_ms - now
                                                     : 0;
        int rc = poll(&waiting, 1, left > 60000 ? 60000 : (int)left);
        if (rc > 0) {
            return 0;
        }
        if (rc < 0 && errno != EINTR) {
            return errmsg_set(e, ERR_IO, "%s: %s", p->endpoint, strerror(errno));
        }
        if (rc == 0 && left == 0) {
            return errmsg_set(e, ERR_DEADLINE, "%s: no answer in time", p->endpoint);
        }
    }
}

static int page_send(const struct page *p, int fd, struct slice request, struct errmsg *e)
{
    while (request.len > 0) {
        int rc = page_wait(p, fd, POLLOUT, e);
        if (rc != 0) {
            return rc;
        }
        ssize_t n = send(fd, request.data, request.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return errmsg_set(e, ERR_IO, "%s: %s", p->endpoint, strerror(errno));
        }
        request = slice_of(request.data + (n > 0 ? n : 0), request.len - (n > 0 ? (size_t)n : 0));
    }
    return 0;
}

static int page_receive(struct page *p, int fd, http_parser *parser, struct errmsg *e)
{
    static const http_parser_settings settings = {.on_body = page_on_body,
                                                  .on_message_complete = page_on_end};
    char bytes[16384];
    while (!p->whole) {
        int rc = page_wait(p, fd, POLLIN, e);
        if (rc != 0) {
            return rc;
        }
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (n < 0) {
            return errmsg_set(e, ERR_IO, "%s: %s", p->endpoint, strerror(errno));
        }
        size_t taken = http_parser_execute(parser, &settings, bytes, (size_t)n);
        if (p->large) {
            return errmsg_set(e, ERR_MALFORMED, "%s: the answer is larger than --max-recv-bytes",
                              p->endpoint);
        }
        if (!p->whole && (n == 0 || taken != (size_t)n)) {
            return errmsg_set(e, ERR_MALFORMED, "%s: %s", p->endpoint,
                              p->out->failed ? "out of memory"
                              : n == 0       ? "the connection ended in the middle of the answer"
                                             : "the answer is not HTTP");
        }
    }
    return 0;
}

int page_get(const char *endpoint, const char *path, uint64_t deadline_ms, size_t bytes_max,
             unsigned *status, struct buf *out, struct errmsg *e)
{
    struct page p = {.endpoint = endpoint,
                     .deadline_ms = deadline_ms,
                     .bytes_max = bytes_max,
                     .out = out,
                     .from = out->len};
    struct buf request;
    http_parser parser;
    int fd = -1;
    int rc = conn_connect(endpoint, deadline_ms, &fd, e);
    if (rc != 0) {
        return rc;
    }
    buf_init(&request);
    buf_printf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = &p;
    rc = request.failed ? errmsg_set(e, ERR_NOMEM, "out of memory")
                        : page_send(&p, fd, buf_slice(&request), e);
    rc = rc == 0 ? page_receive(&p, fd, &parser, e) : rc;
    *status = parser.status_code;
    buf_close(&request);
    close(fd);
    return rc;
}
