/* status.h - Kubernetes' error answers: one constructor for each, with its code, reason and
 * sentence.
 *
 * All texts go to the arena given; out of memory leaves an empty message, the code stays right. Any
 * thread. */
#ifndef KVD_APISERVER_STATUS_H
#define KVD_APISERVER_STATUS_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"
#include "plugins/object/cause.h"

/* What a request is about, as messages show it; each may be empty. */
struct status_about {
    struct slice group;
    struct slice resource; /* plural; with a subresource "pods/status" is not used: pods */
    struct slice name;
};

struct status_cause {
    struct slice reason;
    struct slice message;
    struct slice field;
};

struct status {
    int code;           /* as in HTTP */
    const char *reason; /* "" = none */
    struct slice message;
    struct status_about about; /* details */
    struct slice kind;         /* details.kind; empty: the resource */
    struct slice uid;
    const struct status_cause *causes;
    size_t cause_count;
    int retry_after_s; /* 0 = none */
    struct slice next; /* metadata.continue */
};

struct status status_bad_request(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct status status_unauthorized(struct arena *a);
/* <res> "N" is forbidden: WHY, or without what about is empty. */
struct status status_forbidden(struct arena *a, const struct status_about *about,
                               const char *format, ...) __attribute__((format(printf, 3, 4)));
struct status status_not_found(struct arena *a, const struct status_about *about);
/* verb: "create", "deletecollection", ... */
struct status status_method(struct arena *a, const struct status_about *about, const char *verb);
/* types: the list of media types that would have done. */
struct status status_not_acceptable(struct arena *a, const char *types);
struct status status_unsupported_media(struct arena *a, const char *types);
struct status status_exists(struct arena *a, const struct status_about *about);
/* After all tries to generate a name. */
struct status status_exists_generated(struct arena *a, const struct status_about *about);
/* Operation cannot be fulfilled on <res> "N": WHY */
struct status status_conflict(struct arena *a, const struct status_about *about, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));
/* The usual one: somebody else has changed the object. */
struct status status_modified(struct arena *a, const struct status_about *about);
struct status status_expired(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct status status_too_large(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* kind is "Pod" or "Deployment.apps"; the causes' texts are shared. */
struct status status_invalid(struct arena *a, struct slice group, struct slice kind,
                             struct slice name, const struct causes *c);
/* A JSON patch that does not apply. Neither what it is about nor why is in it: kubectl would show
 * those instead of the message. */
struct status status_unprocessable(void);
struct status status_internal(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* 500 without a reason, as errors come out that Kubernetes has no class for. */
struct status status_unclassed(struct arena *a, const char *text);
struct status status_server_timeout(struct arena *a, const struct status_about *about,
                                    const char *verb);
struct status status_unavailable(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct status status_timeout(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A resourceVersion that does not exist yet. */
struct status status_too_new(struct arena *a, int64_t wanted, int64_t current);
/* An object that is gone: Success, code not shown. */
struct status status_success(const struct status_about *about, struct slice uid);
/* What was asked for has been done and is no object: 201 with Success and the code. */
struct status status_created(void);

/* Appends the Status object as JSON. */
void status_print(const struct status *s, struct buf *out);

#endif
