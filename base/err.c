/* err.c - lookups in the error table, and messages that gain a prefix per layer. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct err_row {
    const char *name;
    const char *text;
    enum grpc_code grpc;
    bool retryable;
};

static const struct err_row err_rows[] = {
#define ERR(err, code, retry, words) {#err, words, code, retry},
#include "base/err.def"
#undef ERR
};
_Static_assert(sizeof err_rows / sizeof err_rows[0] == ERR_COUNT_, "one row per error");

static const struct err_row err_unknown = {"UNKNOWN", "kvd: unknown error", GRPC_UNKNOWN, false};

static const struct err_row *err_row(int err)
{
    return err >= 0 && err < ERR_COUNT_ ? &err_rows[err] : &err_unknown;
}

const char *err_text(int err)
{
    return err_row(err)->text;
}

const char *err_name(int err)
{
    return err_row(err)->name;
}

enum grpc_code err_grpc(int err)
{
    return err_row(err)->grpc;
}

bool err_retryable(int err)
{
    return err_row(err)->retryable;
}

struct grpc_row {
    const char *name;
    int http;
};

static const struct grpc_row grpc_rows[] = {
    [GRPC_OK] = {"OK", 200},
    [GRPC_CANCELED] = {"Canceled", 499},
    [GRPC_UNKNOWN] = {"Unknown", 500},
    [GRPC_INVALID_ARGUMENT] = {"InvalidArgument", 400},
    [GRPC_DEADLINE_EXCEEDED] = {"DeadlineExceeded", 504},
    [GRPC_NOT_FOUND] = {"NotFound", 404},
    [GRPC_ALREADY_EXISTS] = {"AlreadyExists", 409},
    [GRPC_PERMISSION_DENIED] = {"PermissionDenied", 403},
    [GRPC_RESOURCE_EXHAUSTED] = {"ResourceExhausted", 429},
    [GRPC_FAILED_PRECONDITION] = {"FailedPrecondition", 400},
    [GRPC_ABORTED] = {"Aborted", 409},
    [GRPC_OUT_OF_RANGE] = {"OutOfRange", 400},
    [GRPC_UNIMPLEMENTED] = {"Unimplemented", 501},
    [GRPC_INTERNAL] = {"Internal", 500},
    [GRPC_UNAVAILABLE] = {"Unavailable", 503},
    [GRPC_DATA_LOSS] = {"DataLoss", 500},
    [GRPC_UNAUTHENTICATED] = {"Unauthenticated", 401},
};

static const struct grpc_row *grpc_row(int code)
{
    int count = sizeof grpc_rows / sizeof grpc_rows[0];
    return &grpc_rows[code >= 0 && code < count ? code : GRPC_UNKNOWN];
}

const char *grpc_code_name(int code)
{
    return grpc_row(code)->name;
}

int grpc_code_http(int code)
{
    return grpc_row(code)->http;
}

int errmsg_set(struct errmsg *e, int err, const char *format, ...)
{
    if (e != NULL) {
        /* Through a copy: an argument may point into the text being replaced. */
        char text[ERRMSG_BYTES_MAX];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        memcpy(e->text, text, strlen(text) + 1);
    }
    return err;
}

int errmsg_wrap(struct errmsg *e, int err, const char *format, ...)
{
    if (e == NULL) {
        return err;
    }
    /* Room for both in full; the cut comes last. */
    char text[2 * ERRMSG_BYTES_MAX + 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, ERRMSG_BYTES_MAX, format, args);
    va_end(args);
    size_t len = strlen(text);
    if (e->text[0] != '\0') {
        memcpy(text + len, ": ", 2);
        memcpy(text + len + 2, e->text, strlen(e->text) + 1);
        len += 2 + strlen(e->text);
    }
    len = len < ERRMSG_BYTES_MAX ? len : ERRMSG_BYTES_MAX - 1;
    memcpy(e->text, text, len);
    e->text[len] = '\0';
    return err;
}
