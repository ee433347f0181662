/* err.h - one table of errors for the whole program (rows in err.def).
 *
 * Functions return 0 (ERR_OK) or a positive enum err unless they say otherwise. The row tells what
 * a client sees: the gRPC status code and the exact sentence etcd sends (contract section 7), which
 * Go clients map by text. */
#ifndef KVD_BASE_ERR_H
#define KVD_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

enum err {
#define ERR(name, grpc, retry, text) ERR_##name,
#include "base/err.def"
#undef ERR
    ERR_COUNT_
};

/* gRPC status codes (grpc/grpc doc/statuscodes.md). */
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16
};

const char *err_text(int err);        /* the sentence clients see; never NULL */
const char *err_name(int err);        /* the enum's name without ERR_, for logs */
enum grpc_code err_grpc(int err);     /* status code */
bool err_retryable(int err);          /* the request certainly did not happen */
const char *grpc_code_name(int code); /* "OK", "Canceled", "InvalidArgument", ... as Go spells */
int grpc_code_http(int code);         /* HTTP status of the JSON gateway (contract J-04) */

/* A message for a human that gains a prefix per layer:
 * "start: open data dir: lock /var/lib/kvd: already in use by pid 812". */
#define ERRMSG_BYTES_MAX 512
struct errmsg {
    char text[ERRMSG_BYTES_MAX]; /* "" = none; cut when too long */
};
/* Sets the text. Returns err, so it can stand in a return. e may be NULL. */
int errmsg_set(struct errmsg *e, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " in front. Returns err. */
int errmsg_wrap(struct errmsg *e, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
