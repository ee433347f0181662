/* request.h - what a request is about: the URL grammar and the verbs. Pure; any thread. */
#ifndef KVD_APISERVER_REQUEST_H
#define KVD_APISERVER_REQUEST_H

#include "base/alloc.h"
#include "base/slice.h"
#include "plugins/schema/schema.h"
#include "plugins/apiserver/status.h"

enum request_verb {
    REQUEST_OTHER, /* no resource: discovery, health, version */
    REQUEST_GET,
    REQUEST_LIST,
    REQUEST_WATCH,
    REQUEST_CREATE,
    REQUEST_UPDATE,
    REQUEST_PATCH,
    REQUEST_DELETE,
    REQUEST_DELETECOLLECTION
};

struct request {
    enum request_verb verb;
    struct slice method;
    struct slice path;                  /* as it came */
    struct slice group, version;        /* "" and "v1" for the core group */
    struct slice resource, name, sub;   /* "" = none */
    struct slice space;                 /* namespace; "" = none, or all of them */
    const struct schema_resource *kind; /* NULL when not a resource */
    const struct schema_type *type;     /* of the kind */
    const struct schema_sub *subkind;   /* NULL = the main resource */
};

/* Reads method and path (still percent-encoded; both are kept); watch: the query asks for a watch.
 * Returns 0; ERR_NOT_FOUND: nothing is there (plain 404); ERR_REFUSED: the path is known, the
 * method is not allowed there (out is filled, 405); ERR_INVALID: a broken escape, or a part with a
 * slash inside, . or ..; ERR_NOMEM. */
int request_parse(struct request *out, struct slice method, struct slice path, bool watch,
                  struct arena *a);
const char *request_verb_name(enum request_verb verb);
/* The type of the object that its body is: a Scale for a scale, else the kind's. */
const struct schema_type *request_body_type(const struct request *r);
/* What messages say it is about. */
struct status_about request_about(const struct request *r);
/* True for kinds and subresources that are served: what discovery shows and request_parse finds. */
bool request_serves(const struct schema_resource *kind, const struct schema_sub *sub);

#endif
