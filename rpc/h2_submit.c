/* h2_submit.c - what calls and exchanges have the framing send; see h2.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "rpc/conn.h"
#include "rpc/h2.h"
#include "rpc/h2_impl.h"

/* nghttp2 refuses only for lack of memory or because the stream is gone; a stream we can no longer
 * speak on is reset, and if even that fails the connection ends. */
static bool h2_submitted(struct h2_stream *stream, int rv)
{
    struct h2 *h = stream->h2;
    conn_mark_dirty(h->conn);
    if (rv == 0) {
        return true;
    }
    if (nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, stream->id,
                                  NGHTTP2_INTERNAL_ERROR) != 0) {
        conn_finish_after_flush(h->conn);
    }
    return false;
}

static size_t h2_name_values(const struct h2_field *fields, size_t count, nghttp2_nv *out)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
        /* Values made for one answer would only push useful ones out of the header table. */
        flags |= fields[i].is_static ? NGHTTP2_NV_FLAG_NO_COPY_VALUE : NGHTTP2_NV_FLAG_NO_INDEX;
        out[i] = (nghttp2_nv){
            .name = (uint8_t *)(uintptr_t)fields[i].name,
            .namelen = strlen(fields[i].name),
            .value = (uint8_t *)(uintptr_t)fields[i].value.data,
            .valuelen = fields[i].value.len,
            .flags = flags,
        };
    }
    return count;
}

bool h2_submit_headers(struct h2_stream *stream, const struct h2_field *fields, size_t count,
                       bool end)
{
    struct h2 *h = stream->h2;
    if (h->dying) {
        return false;
    }
    nghttp2_nv nv[H2_FIELDS_MAX];
    h2_name_values(fields, count, nv);
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = h2_read_data};
    return h2_submitted(
        stream, nghttp2_submit_response(h->session, stream->id, nv, count, end ? NULL : &provider));
}

bool h2_submit_trailers(struct h2_stream *stream, const struct h2_field *fields, size_t count)
{
    struct h2 *h = stream->h2;
    if (h->dying) {
        return false;
    }
    nghttp2_nv nv[H2_FIELDS_MAX];
    h2_name_values(fields, count, nv);
    return h2_submitted(stream, nghttp2_submit_trailer(h->session, stream->id, nv, count));
}

void h2_resume(struct h2_stream *stream)
{
    struct h2 *h = stream->h2;
    if (h->dying) {
        return;
    }
    if (stream->deferred) {
        stream->deferred = false;
        (void)h2_submitted(stream, nghttp2_session_resume_data(h->session, stream->id));
    }
    conn_mark_dirty(h->conn);
}

void h2_reset(struct h2_stream *stream, uint32_t code)
{
    struct h2 *h = stream->h2;
    if (!h->dying) {
        (void)h2_submitted(
            stream, nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, stream->id, code));
    }
}

void h2_consume(struct h2_stream *stream, size_t n)
{
    struct h2 *h = stream->h2;
    if (h->dying || n == 0) {
        return;
    }
    if (nghttp2_session_consume_stream(h->session, stream->id, n) != 0) {
        conn_finish_after_flush(h->conn);
    } else if (h2_wants_output(h)) {
        conn_mark_dirty(h->conn);
    }
}

/* Cuts the next "Name: value\r\n" off `lines`, the name made lower-case where it lies. */
static bool h2_next_line(uint8_t **lines, size_t *left, nghttp2_nv *out)
{
    uint8_t *end = *left > 0 ? memchr(*lines, '\r', *left) : NULL;
    uint8_t *colon = end != NULL ? memchr(*lines, ':', (size_t)(end - *lines)) : NULL;
    if (colon == NULL || colon + 2 > end) {
        return false;
    }
    for (uint8_t *p = *lines; p < colon; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (uint8_t)(*p | 0x20) : *p;
    }
    *out = (nghttp2_nv){
        .name = *lines,
        .namelen = (size_t)(colon - *lines),
        .value = colon + 2,
        .valuelen = (size_t)(end - colon) - 2,
    };
    *left -= (size_t)(end - *lines) + 2;
    *lines = end + 2;
    return true;
}

bool h2_submit_lines(struct h2_stream *stream, int status, struct slice lines, bool end)
{
    struct h2 *h = stream->h2;
    struct pool *pool = &h->conn->server->pool;
    if (h->dying) {
        return false;
    }
    char code[12];
    nghttp2_nv nv[RPC_HEADERS_MAX + 1];
    nv[0] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t) ":status", .namelen = 7};
    nv[0].value = (uint8_t *)code;
    nv[0].valuelen = (size_t)snprintf(code, sizeof(code), "%d", status);
    size_t count = 1;
    uint8_t *copy = pool_alloc(pool, lines.len + 1);
    if (copy == NULL) {
        h2_reset(stream, NGHTTP2_INTERNAL_ERROR);
        return false;
    }
    if (lines.len > 0) {
        memcpy(copy, lines.data, lines.len);
    }
    uint8_t *at = copy;
    size_t left = lines.len;
    while (count <= RPC_HEADERS_MAX && h2_next_line(&at, &left, &nv[count])) {
        count++;
    }
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = h2_read_data};
    bool ok = h2_submitted(
        stream, nghttp2_submit_response(h->session, stream->id, nv, count, end ? NULL : &provider));
    pool_free(pool, copy);
    return ok;
}

void h2_submit_continue(struct h2_stream *stream)
{
    static const char name[] = ":status";
    static const char value[] = "100";
    struct h2 *h = stream->h2;
    if (h->dying) {
        return;
    }
    const nghttp2_nv nv = {
        .name = (uint8_t *)(uintptr_t)name,
        .namelen = sizeof(name) - 1,
        .value = (uint8_t *)(uintptr_t)value,
        .valuelen = sizeof(value) - 1,
    };
    (void)h2_submitted(stream, nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, stream->id,
                                                      NULL, &nv, 1, NULL));
}

void h2_replace(struct h2_stream *from, struct h2_stream *to)
{
    struct h2 *h = from->h2;
    to->h2 = h;
    to->id = from->id;
    to->half_closed = from->half_closed;
    list_insert_before(&from->in_conn, &to->in_conn);
    list_remove(&from->in_conn);
    nghttp2_session_set_stream_user_data(h->session, to->id, to);
}
