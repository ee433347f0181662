/* http.c - plain HTTP requests: routes, CORS and host checks, answers; see http.h. */
#include "rpc/http.h"

#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/log.h"
#include "rpc/conn.h"
#include "rpc/h1.h"
#include "rpc/http_impl.h"

/* ---- parts of a request ---------------------------------------------------------------------- */

struct slice http_method(const struct http_request *req)
{
    return req->method;
}

struct slice http_path(const struct http_request *req)
{
    return req->path;
}

struct slice http_query(const struct http_request *req)
{
    return req->query;
}

struct slice http_body(const struct http_request *req)
{
    return req->body;
}

struct slice http_header(const struct http_request *req, const char *lowercase_name)
{
    size_t name = strlen(lowercase_name);
    const uint8_t *p = req->lines.data;
    size_t left = req->lines.len;
    while (left > 0) {
        const uint8_t *end = memchr(p, '\n', left);
        size_t line = end != NULL ? (size_t)(end - p) : left;
        if (line > name && p[name] == ':' && memcmp(p, lowercase_name, name) == 0) {
            return slice_of(p + name + 1, line - name - 1);
        }
        size_t step = line + (end != NULL);
        p += step;
        left -= step;
    }
    return slice_of(NULL, 0);
}

void *http_server_data(const struct http_request *req)
{
    return req->server->options.data;
}

void http_set_data(struct http_request *req, void *data)
{
    req->data = data;
}

void *http_data(const struct http_request *req)
{
    return req->data;
}

void http_on_closed(struct http_request *req, void (*closed)(struct http_request *req))
{
    req->closed = closed;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes up to a delimiter into out; returns how many bytes of s were used. */
static size_t query_part(struct slice s, const char *delimiters, char *out, size_t size)
{
    size_t used = 0;
    size_t len = 0;
    while (used < s.len && strchr(delimiters, s.data[used]) == NULL) {
        uint8_t c = s.data[used++];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && s.len - used >= 2 && hex_digit(s.data[used]) >= 0 &&
                   hex_digit(s.data[used + 1]) >= 0) {
            c = (uint8_t)(hex_digit(s.data[used]) * 16 + hex_digit(s.data[used + 1]));
            used += 2;
        }
        if (len + 1 < size) {
            out[len++] = (char)c;
        }
    }
    if (size > 0) {
        out[len] = '\0';
    }
    return used;
}

bool http_query_next(const struct http_request *req, size_t *position, char *name, size_t name_size,
                     char *value, size_t value_size)
{
    struct slice q = req->query;
    /* Empty pairs ("a=1&&b=2") are nothing. */
    while (*position < q.len && q.data[*position] == '&') {
        (*position)++;
    }
    if (*position >= q.len) {
        return false;
    }
    *position += query_part(slice_of(q.data + *position, q.len - *position), "&=", name, name_size);
    if (value_size > 0) {
        value[0] = '\0';
    }
    if (*position < q.len && q.data[*position] == '=') {
        (*position)++;
        *position +=
            query_part(slice_of(q.data + *position, q.len - *position), "&", value, value_size);
    }
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "";
}

/* A value with a line break would let whoever chose it write headers of their own. */
static void http_append_header(struct buf *out, const char *name, struct slice value)
{
    if (WARN_IF(memchr(value.data, '\r', value.len) != NULL ||
                    memchr(value.data, '\n', value.len) != NULL,
                "a response header with a line break was left out")) {
        return;
    }
    buf_append_str(out, name);
    buf_append_str(out, ": ");
    buf_append_slice(out, value);
    buf_append_str(out, "\r\n");
}

static void http_append_date(struct buf *out)
{
    char text[40];
    struct tm tm;
    time_t now = time(NULL);
    gmtime_r(&now, &tm);
    size_t len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    http_append_header(out, "Date", slice_of(text, len));
}

void http_respond(struct http_request *req, int status, const char *content_type,
                  const struct http_header_field *headers, struct slice body)
{
    struct buf head;
    buf_init(&head);
    if (req->cors.data != NULL) {
        http_append_header(&head, "Access-Control-Allow-Origin", req->cors);
        http_append_header(&head, "Access-Control-Allow-Methods",
                           slice_str("POST, GET, OPTIONS, PUT, DELETE"));
        http_append_header(&head, "Access-Control-Allow-Headers",
                           slice_str("accept, content-type, authorization"));
    }
    if (content_type != NULL) {
        http_append_header(&head, "Content-Type", slice_str(content_type));
    }
    for (size_t i = 0; headers != NULL && headers[i].name != NULL; i++) {
        http_append_header(&head, headers[i].name, slice_str(headers[i].value));
    }
    http_append_date(&head);
    if (head.failed) {
        buf_clear(&head);
        status = 503;
        body = slice_of(NULL, 0);
    }
    h1_respond(req, status, buf_slice(&head), body);
    buf_close(&head);
}

void http_respond_error(struct http_request *req, int status, const char *text,
                        const struct http_header_field *headers)
{
    struct http_header_field all[4] = {{"X-Content-Type-Options", "nosniff"}};
    for (size_t i = 0; i < 2 && headers != NULL && headers[i].name != NULL; i++) {
        all[i + 1] = headers[i];
    }
    struct buf body;
    buf_init(&body);
    buf_append_str(&body, text);
    buf_append_byte(&body, '\n');
    http_respond(req, status, "text/plain; charset=utf-8", all, buf_slice(&body));
    buf_close(&body);
}

/* ---- checks and routes ----------------------------------------------------------------------- */

static bool list_has(const char *const *list, struct slice item)
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (slice_eq(slice_str(list[i]), item)) {
            return true;
        }
    }
    return false;
}

static bool list_allows_all(const char *const *list)
{
    return list == NULL || list[0] == NULL || list_has(list, slice_of("*", 1));
}

/* "name:port" -> name; "[::1]:port" -> ::1. */
static struct slice http_host_name(struct slice host)
{
    if (host.len > 0 && host.data[0] == '[') {
        const uint8_t *end = memchr(host.data, ']', host.len);
        return end != NULL ? slice_of(host.data + 1, (size_t)(end - host.data) - 1) : host;
    }
    const uint8_t *colon = host.len > 0 ? memrchr(host.data, ':', host.len) : NULL;
    return colon != NULL ? slice_of(host.data, (size_t)(colon - host.data)) : host;
}

/* A page of another site that had its name point here (DNS rebinding) is told by the Host header.
 */
static bool http_check_host(struct http_request *req)
{
    struct slice host = http_header(req, "host");
    if (req->needs_host && host.data == NULL) {
        http_respond_error(req, 400, "400 Bad Request: missing required Host header", NULL);
        return false;
    }
    const char *const *allowed = req->server->options.host_whitelist;
    if (list_allows_all(allowed) || list_has(allowed, http_host_name(host))) {
        return true;
    }
    if (server_refusal_due(req->server)) {
        LOG(LOG_WARN, "rejecting HTTP request to prevent DNS rebinding attacks",
            F_BYTES("host", host), F_STR("remote-addr", conn_peer(req->conn)));
    }
    http_respond_error(req, 421,
                       "This host name is not allowed here. If it should be, start the server with "
                       "it in --host-whitelist.",
                       NULL);
    return false;
}

static void http_set_cors(struct http_request *req)
{
    const char *const *allowed = req->server->options.cors;
    if (list_allows_all(allowed)) {
        req->cors = slice_of("*", 1);
        return;
    }
    struct slice origin = http_header(req, "origin");
    if (origin.data != NULL && list_has(allowed, origin)) {
        req->cors = origin;
    }
}

static const struct http_route *http_find_route(const struct http_request *req)
{
    const struct http_route *best = NULL;
    size_t best_len = 0;
    const struct http_route *routes = req->server->options.routes;
    for (; routes != NULL && routes->path != NULL; routes++) {
        struct slice path = slice_str(routes->path);
        if (slice_eq(path, req->path)) {
            return routes;
        }
        if (routes->prefix && slice_starts_with(req->path, path) && path.len > best_len) {
            best = routes;
            best_len = path.len;
        }
    }
    return best;
}

static bool http_method_allowed(const struct http_request *req, const struct http_route *route)
{
    for (size_t i = 0; i < 6 && route->methods[i] != NULL; i++) {
        struct slice method = slice_str(route->methods[i]);
        if (slice_eq(method, req->method) ||
            (req->head_only && slice_eq(method, slice_str("GET")))) {
            return true;
        }
    }
    return false;
}

static void http_refuse_method(struct http_request *req, const struct http_route *route)
{
    struct buf allow;
    buf_init(&allow);
    for (size_t i = 0; i < 6 && route->methods[i] != NULL; i++) {
        if (i > 0) {
            buf_append_str(&allow, ", ");
        }
        buf_append_str(&allow, route->methods[i]);
    }
    buf_append_byte(&allow, '\0');
    const struct http_header_field headers[] = {
        {"Allow", allow.failed ? "" : (const char *)allow.data},
        {NULL, NULL},
    };
    http_respond_error(req, 405, "Method Not Allowed", headers);
    buf_close(&allow);
}

void http_dispatch(struct http_request *req)
{
    req->head_only = slice_eq(req->method, slice_str("HEAD"));
    if (!http_check_host(req)) {
        return;
    }
    http_set_cors(req);
    if (slice_eq(req->method, slice_str("OPTIONS"))) {
        http_respond(req, 200, NULL, NULL, slice_of(NULL, 0));
        return;
    }
    const struct http_route *route = http_find_route(req);
    if (route == NULL) {
        http_respond_error(req, 404, "404 page not found", NULL);
    } else if (!http_method_allowed(req, route)) {
        http_refuse_method(req, route);
    } else {
        route->handler(req);
    }
}
