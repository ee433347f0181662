/* log.c - formats a line on the stack and writes it with one write(2) per output.
 *
 * No allocation: a line can be written when memory is out. Lines are bounded: a value that would
 * not fit is cut, a field that would not fit is left out, and the line stays valid JSON. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

/* Kept free while values are written: closing quote, brace, newline. */
#define LOG_TAIL_BYTES 8u

static const char *const log_names[] = {"debug", "info", "warn", "error", "panic", "fatal"};

static atomic_int log_level = LOG_INFO;
static atomic_int log_fds[LOG_OUTPUTS_MAX] = {STDERR_FILENO};
static atomic_int log_fd_count = 1;
static atomic_bool log_json = true;
static uint64_t (*_Atomic log_clock)(void);

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

bool log_level_parse(const char *word, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_FATAL; i++) {
        if (strcmp(word, log_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_outputs(const int *fds, int count)
{
    count = count < 0 ? 0 : count > (int)LOG_OUTPUTS_MAX ? (int)LOG_OUTPUTS_MAX : count;
    atomic_store(&log_fd_count, 0);
    for (int i = 0; i < count; i++) {
        atomic_store(&log_fds[i], fds[i]);
    }
    atomic_store(&log_fd_count, count);
}

void log_set_json(bool json)
{
    atomic_store(&log_json, json);
}

void log_set_clock(uint64_t (*now_us)(void))
{
    atomic_store(&log_clock, now_us);
}

struct log_line {
    char text[LOG_LINE_BYTES_MAX];
    size_t len;
    bool json;
};

static size_t log_room(const struct log_line *l)
{
    size_t end = sizeof l->text - LOG_TAIL_BYTES;
    return l->len < end ? end - l->len : 0; /* a closing quote may already lie in the tail */
}

static void log_put(struct log_line *l, const char *text, size_t len)
{
    size_t room = log_room(l);
    len = len > room ? room : len;
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

static void log_put_str(struct log_line *l, const char *text)
{
    log_put(l, text, strlen(text));
}

/* A quoted string, cut at the line's end; the closing quote always has its place in the tail. */
static void log_put_quoted(struct log_line *l, struct slice text)
{
    log_put_str(l, "\"");
    size_t taken;
    l->len += json_escape(l->text + l->len, log_room(l), text, &taken);
    l->text[l->len++] = '"';
}

/* 2006-01-02T15:04:05.000000Z */
static void log_put_time(struct log_line *l)
{
    uint64_t (*now)(void) = atomic_load(&log_clock);
    uint64_t us = now != NULL ? now() : clock_wall_us();
    time_t seconds = (time_t)(us / 1000000u);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[64];
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%06uZ", (unsigned)(us % 1000000u));
    log_put_str(l, text);
}

/* The last two components of a source path: "base/log.c". */
static const char *log_short_path(const char *file)
{
    const char *slash = strrchr(file, '/');
    while (slash != NULL && slash > file) {
        slash--;
        if (*slash == '/') {
            return slash + 1;
        }
    }
    return file;
}

/* A duration as Go prints it: "0s", "1.5µs", "12.345ms", "2.5s", "1m30s". */
static void log_duration(char *out, size_t size, double ms)
{
    const char *sign = ms < 0 ? "-" : "";
    double abs_ms = fabs(ms);
    if (!(abs_ms < 1e15)) { /* also NaN: no clock gives this */
        snprintf(out, size, "%s", "invalid");
        return;
    }
    uint64_t ns = (uint64_t)(abs_ms * 1e6 + 0.5);
    if (ns == 0) {
        snprintf(out, size, "0s");
    } else if (ns < 1000) {
        snprintf(out, size, "%s%" PRIu64 "ns", sign, ns);
    } else if (ns < 1000000) {
        snprintf(out, size, "%s%.6g\xc2\xb5s", sign, (double)ns / 1e3);
    } else if (ns < 1000000000) {
        snprintf(out, size, "%s%.9gms", sign, (double)ns / 1e6);
    } else if (ns < 60000000000) {
        snprintf(out, size, "%s%.11gs", sign, (double)ns / 1e9);
    } else {
        uint64_t minutes = ns / 60000000000;
        double seconds = (double)(ns % 60000000000) / 1e9;
        if (minutes >= 60) {
            snprintf(out, size, "%s%" PRIu64 "h%" PRIu64 "m%.11gs", sign, minutes / 60,
                     minutes % 60, seconds);
        } else {
            snprintf(out, size, "%s%" PRIu64 "m%.11gs", sign, minutes, seconds);
        }
    }
}

static void log_put_value(struct log_line *l, const struct log_field *f)
{
    char text[64];
    switch (f->type) {
    case LOG_STR:
        log_put_quoted(l, slice_str(f->v.s == NULL ? "" : f->v.s));
        return;
    case LOG_BYTES:
        log_put_quoted(l, f->v.b);
        return;
    case LOG_INT:
        snprintf(text, sizeof text, "%" PRId64, f->v.i);
        break;
    case LOG_UINT:
        snprintf(text, sizeof text, "%" PRIu64, f->v.u);
        break;
    case LOG_BOOL:
        snprintf(text, sizeof text, "%s", f->v.i != 0 ? "true" : "false");
        break;
    case LOG_DURATION_MS:
        log_duration(text, sizeof text, f->v.d);
        log_put_quoted(l, slice_str(text));
        return;
    case LOG_HEX:
        snprintf(text, sizeof text, "\"%" PRIx64 "\"", f->v.u);
        break;
    default:
        snprintf(text, sizeof text, "null");
        break;
    }
    log_put_str(l, text);
}

/* Appends ,"name":value for all that fit: names are ours and short, so 64 bytes beyond the name are
 * enough for a number or a shortened string. */
static void log_put_fields(struct log_line *l, const struct log_field *fields, bool first)
{
    for (const struct log_field *f = fields; f != NULL && f->name != NULL; f++) {
        if (log_room(l) < 6 * strlen(f->name) + 64) {
            continue;
        }
        if (!first) {
            log_put_str(l, l->json ? "," : ", ");
        }
        first = false;
        log_put_quoted(l, slice_str(f->name));
        log_put_str(l, l->json ? ":" : ": ");
        log_put_value(l, f);
    }
}

static void log_put_head_json(struct log_line *l, enum log_level level, const char *caller,
                              const char *msg)
{
    log_put_str(l, "{\"level\":\"");
    log_put_str(l, log_names[level]);
    log_put_str(l, "\",\"ts\":\"");
    log_put_time(l);
    log_put_str(l, "\",\"caller\":");
    log_put_quoted(l, slice_str(caller));
    log_put_str(l, ",\"msg\":");
    log_put_quoted(l, slice_str(msg));
}

/* time TAB level TAB caller TAB message TAB {fields}; the message keeps JSON's escapes, without the
 * quotes, so that a line stays a line. */
static void log_put_head_console(struct log_line *l, enum log_level level, const char *caller,
                                 const char *msg)
{
    log_put_time(l);
    log_put_str(l, "\t");
    log_put_str(l, log_names[level]);
    log_put_str(l, "\t");
    log_put_str(l, caller);
    log_put_str(l, "\t");
    size_t taken;
    l->len += json_escape(l->text + l->len, log_room(l), slice_str(msg), &taken);
}

/* A short write is not continued: another thread's line may already follow. */
static void log_send(const struct log_line *l)
{
    int saved = errno;
    int count = atomic_load(&log_fd_count);
    for (int i = 0; i < count; i++) {
        ssize_t n;
        do {
            n = write(atomic_load(&log_fds[i]), l->text, l->len);
        } while (n < 0 && errno == EINTR);
    }
    errno = saved;
}

void log_write(enum log_level level, const char *file, int line, const char *msg,
               const struct log_field *fields)
{
    struct log_line l;
    l.len = 0;
    l.json = atomic_load(&log_json);
    level = level > LOG_FATAL ? LOG_FATAL : level;
    char caller[256];
    snprintf(caller, sizeof caller, "%s:%d", log_short_path(file), line);
    /* The contract wants no line without a message. */
    msg = msg == NULL || msg[0] == '\0' ? "(no message)" : msg;
    bool any = fields != NULL && fields->name != NULL;
    if (l.json) {
        log_put_head_json(&l, level, caller, msg);
        log_put_fields(&l, fields, false);
        l.text[l.len++] = '}';
    } else {
        log_put_head_console(&l, level, caller, msg);
        if (any) {
            log_put_str(&l, "\t{");
            log_put_fields(&l, fields, true);
            l.text[l.len++] = '}';
        }
    }
    l.text[l.len++] = '\n';
    log_send(&l);
}
