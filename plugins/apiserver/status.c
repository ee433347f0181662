/* status.c - error answers. */
#include "plugins/apiserver/status.h"

#include <inttypes.h>
#include <stdio.h>

#include "plugins/object/encode.h"

/* What a formatted sentence may have; longer ones are cut. */
#define STATUS_TEXT_BYTES_MAX 2048u

static struct slice status_text(struct arena *a, struct buf *b)
{
    struct slice s = b->failed ? slice_of("", 0) : arena_dup(a, buf_slice(b));
    buf_close(b);
    return s.data == NULL ? slice_of("", 0) : s;
}

/* The message: prefix (taken over) and the formatted rest. */
static struct slice status_format(struct arena *a, struct buf *b, const char *format, va_list args)
{
    char text[STATUS_TEXT_BYTES_MAX];
    int n = vsnprintf(text, sizeof text, format, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    buf_append(b, text, len);
    return status_text(a, b);
}

#define STATUS_FORMAT(s, a, b, format)                         \
    do {                                                       \
        va_list args;                                          \
        va_start(args, format);                                \
        (s).message = status_format((a), (b), (format), args); \
        va_end(args);                                          \
    } while (0)

/* pods, or deployments.apps */
static void status_resource(const struct status_about *about, struct buf *b)
{
    buf_append_slice(b, about->resource);
    if (about->group.len > 0) {
        buf_append_byte(b, '.');
        buf_append_slice(b, about->group);
    }
}

/* <res> "N" */
static void status_named(const struct status_about *about, struct buf *b)
{
    status_resource(about, b);
    if (about->name.len > 0) {
        buf_printf(b, " \"%.*s\"", (int)about->name.len, (const char *)about->name.data);
    }
}

#define STATUS_PLAIN(function, number, word, prefix)                 \
    struct status function(struct arena *a, const char *format, ...) \
    {                                                                \
        struct status s = {.code = (number), .reason = (word)};      \
        struct buf b;                                                \
        buf_init(&b);                                                \
        buf_append_str(&b, (prefix));                                \
        STATUS_FORMAT(s, a, &b, format);                             \
        return s;                                                    \
    }

STATUS_PLAIN(status_bad_request, 400, "BadRequest", "")
STATUS_PLAIN(status_expired, 410, "Expired", "")
STATUS_PLAIN(status_too_large, 413, "RequestEntityTooLarge", "Request entity too large: ")
STATUS_PLAIN(status_internal, 500, "InternalError", "Internal error occurred: ")
STATUS_PLAIN(status_unavailable, 503, "ServiceUnavailable", "")
STATUS_PLAIN(status_timeout, 504, "Timeout", "Timeout: ")

struct status status_unauthorized(struct arena *a)
{
    return (struct status){
        .code = 401, .reason = "Unauthorized", .message = slice_str("Unauthorized")};
}

struct status status_forbidden(struct arena *a, const struct status_about *about,
                               const char *format, ...)
{
    struct status s = {.code = 403, .reason = "Forbidden", .about = *about};
    struct buf b;
    buf_init(&b);
    if (about->resource.len > 0) {
        status_named(about, &b);
        buf_append_str(&b, " is ");
    }
    buf_append_str(&b, "forbidden: ");
    STATUS_FORMAT(s, a, &b, format);
    return s;
}

/* about, then a constant. */
static struct status status_of(struct arena *a, int code, const char *reason,
                               const struct status_about *about, const char *rest)
{
    struct status s = {.code = code, .reason = reason, .about = *about};
    struct buf b;
    buf_init(&b);
    status_named(about, &b);
    buf_append_str(&b, rest);
    s.message = status_text(a, &b);
    return s;
}

struct status status_not_found(struct arena *a, const struct status_about *about)
{
    return status_of(a, 404, "NotFound", about, " not found");
}

struct status status_exists(struct arena *a, const struct status_about *about)
{
    return status_of(a, 409, "AlreadyExists", about, " already exists");
}

struct status status_exists_generated(struct arena *a, const struct status_about *about)
{
    struct status s = status_of(a, 409, "AlreadyExists", about,
                                " already exists, the server was not able to generate a unique "
                                "name for the object");
    s.retry_after_s = 1;
    return s;
}

struct status status_method(struct arena *a, const struct status_about *about, const char *verb)
{
    struct status s = {.code = 405, .reason = "MethodNotAllowed", .about = *about};
    struct buf b;
    s.about.name = slice_of(NULL, 0);
    buf_init(&b);
    buf_printf(&b, "%s is not supported on resources of kind \"", verb);
    status_resource(about, &b);
    buf_append_byte(&b, '"');
    s.message = status_text(a, &b);
    return s;
}

struct status status_not_acceptable(struct arena *a, const char *types)
{
    struct status s = {.code = 406, .reason = "NotAcceptable"};
    struct buf b;
    buf_init(&b);
    buf_printf(&b, "only the following media types are accepted: %s", types);
    s.message = status_text(a, &b);
    return s;
}

struct status status_unsupported_media(struct arena *a, const char *types)
{
    struct status s = {.code = 415, .reason = "UnsupportedMediaType"};
    struct buf b;
    buf_init(&b);
    buf_printf(&b,
               "the body of the request was in an unknown format - accepted media types "
               "include: %s",
               types);
    s.message = status_text(a, &b);
    return s;
}

struct status status_conflict(struct arena *a, const struct status_about *about, const char *format,
                              ...)
{
    struct status s = {.code = 409, .reason = "Conflict", .about = *about};
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "Operation cannot be fulfilled on ");
    status_named(about, &b);
    buf_append_str(&b, ": ");
    STATUS_FORMAT(s, a, &b, format);
    return s;
}

struct status status_modified(struct arena *a, const struct status_about *about)
{
    return status_conflict(a, about,
                           "the object has been modified; please apply your changes to the "
                           "latest version and try again");
}

struct status status_invalid(struct arena *a, struct slice group, struct slice kind,
                             struct slice name, const struct causes *c)
{
    struct status s = {.code = 422, .reason = "Invalid", .kind = kind};
    struct buf b;
    struct buf shown;
    s.about.group = group;
    s.about.name = name;
    buf_init(&b);
    buf_init(&shown);
    buf_append_slice(&shown, kind);
    if (group.len > 0) {
        buf_append_byte(&shown, '.');
        buf_append_slice(&shown, group);
    }
    buf_append_byte(&shown, 0);
    if (!shown.failed) {
        causes_message(c, (const char *)shown.data, name, &b);
    }
    s.message = status_text(a, &b);
    buf_close(&shown);
    struct status_cause *list = arena_alloc(a, (c->count + 1) * sizeof *list);
    for (size_t i = 0; list != NULL && i < c->count; i++) {
        list[i].reason = slice_str(cause_reason_name(c->items[i].reason));
        list[i].message = c->items[i].message;
        list[i].field = c->items[i].field;
    }
    s.causes = list;
    s.cause_count = list == NULL ? 0 : c->count;
    return s;
}

struct status status_unprocessable(void)
{
    return (struct status){
        .code = 422,
        .reason = "Invalid",
        .message = slice_str("the server rejected our request due to an error in our request")};
}

struct status status_unclassed(struct arena *a, const char *text)
{
    struct status s = {.code = 500, .reason = ""};
    struct slice copy = arena_dup(a, slice_str(text));
    s.message = copy.data == NULL ? slice_of("", 0) : copy;
    return s;
}

struct status status_server_timeout(struct arena *a, const struct status_about *about,
                                    const char *verb)
{
    struct status s = {.code = 500, .reason = "ServerTimeout", .about = *about};
    struct buf b;
    buf_init(&b);
    s.about.name = slice_of(NULL, 0);
    buf_printf(&b, "The %s operation against ", verb);
    status_resource(about, &b);
    buf_append_str(&b, " could not be completed at this time, please try again.");
    s.message = status_text(a, &b);
    return s;
}

struct status status_too_new(struct arena *a, int64_t wanted, int64_t current)
{
    static const struct status_cause cause = {
        {(const uint8_t *)"ResourceVersionTooLarge", 23},
        {(const uint8_t *)"Too large resource version", 26},
        {NULL, 0},
    };
    struct status s = status_timeout(
        a, "Too large resource version: %" PRId64 ", current: %" PRId64, wanted, current);
    s.retry_after_s = 1;
    s.causes = &cause;
    s.cause_count = 1;
    return s;
}

struct status status_success(const struct status_about *about, struct slice uid)
{
    return (struct status){.code = 200, .reason = "", .about = *about, .uid = uid};
}

struct status status_created(void)
{
    return (struct status){.code = 201, .reason = ""};
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void print_member(struct buf *out, bool *comma, const char *name, struct slice text)
{
    if (text.len > 0) {
        buf_printf(out, "%s\"%s\":", *comma ? "," : "", name);
        encode_text(text, out);
        *comma = true;
    }
}

static void print_details(const struct status *s, struct buf *out)
{
    bool comma = false;
    buf_append_str(out, ",\"details\":{");
    print_member(out, &comma, "name", s->about.name);
    print_member(out, &comma, "group", s->about.group);
    print_member(out, &comma, "kind", s->kind.len > 0 ? s->kind : s->about.resource);
    print_member(out, &comma, "uid", s->uid);
    for (size_t i = 0; i < s->cause_count; i++) {
        bool inner = false;
        buf_append_str(out, i > 0 ? ",{" : comma ? ",\"causes\":[{" : "\"causes\":[{");
        print_member(out, &inner, "reason", s->causes[i].reason);
        print_member(out, &inner, "message", s->causes[i].message);
        print_member(out, &inner, "field", s->causes[i].field);
        buf_append_byte(out, '}');
    }
    if (s->cause_count > 0) {
        buf_append_byte(out, ']');
        comma = true;
    }
    if (s->retry_after_s > 0) {
        buf_printf(out, "%s\"retryAfterSeconds\":%d", comma ? "," : "", s->retry_after_s);
    }
    buf_append_byte(out, '}');
}

void status_print(const struct status *s, struct buf *out)
{
    bool success = s->code < 300;
    bool details = s->about.name.len + s->about.resource.len + s->kind.len + s->uid.len > 0 ||
                   s->cause_count > 0 || s->retry_after_s > 0;
    bool comma = false;
    buf_append_str(out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{");
    print_member(out, &comma, "continue", s->next);
    buf_printf(out, "},\"status\":\"%s\"", success ? "Success" : "Failure");
    comma = true;
    print_member(out, &comma, "message", s->message);
    print_member(out, &comma, "reason", slice_str(s->reason));
    if (details) {
        print_details(s, out);
    }
    if (s->code != 200) {
        buf_printf(out, ",\"code\":%d", s->code);
    }
    buf_append_byte(out, '}');
}
