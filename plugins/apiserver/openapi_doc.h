/* openapi_doc.h - OpenAPI documents, written from the schema's tables piece by piece.
 *
 * A document is never in memory as a whole: each piece is a path or a type. Pure; any thread. */
#ifndef KVD_APISERVER_OPENAPI_DOC_H
#define KVD_APISERVER_OPENAPI_DOC_H

#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "plugins/schema/schema.h"

/* Types that are not messages of the schema but have a name in OpenAPI: bits. */
enum openapi_extra {
    OPENAPI_TIME = 1,
    OPENAPI_MICROTIME = 2,
    OPENAPI_QUANTITY = 4,
    OPENAPI_INT_OR_TEXT = 8,
    OPENAPI_RAW = 16,
    OPENAPI_FIELDS = 32,
    OPENAPI_PATCH = 64
};

struct openapi_doc {
    bool v3;           /* else 2.0, of all groups */
    bool protobuf;     /* the document of 2.0 in protobuf; set it after openapi_doc_init */
    const char *group; /* of a v3 document, with its version */
    const char *version;
    uint8_t *types;  /* by number: 1 = described in this document; in the arena */
    unsigned extras; /* enum openapi_extra */
    unsigned stage;  /* which part is written */
    size_t at;       /* the next one of that part */
    bool comma;      /* something of the part is written */
};

/* Begins a document: of a group's version, or (group NULL) the one of 2.0. 0 or ERR_NOMEM. */
int openapi_doc_init(struct openapi_doc *d, const char *group, const char *version,
                     struct arena *a);
/* Appends the next piece, some KiB at most. False: there is none, nothing was appended. Failures
 * are out's. */
bool openapi_doc_next(struct openapi_doc *d, struct buf *out);

/* ---- parts, each a file of its own ---- */
/* A type as components.schemas or definitions have it: "name":{...}. */
void openapi_print_type(const struct openapi_doc *d, const struct schema_type *t, struct buf *out);
/* The same for one of the extras. */
void openapi_print_extra(const struct openapi_doc *d, enum openapi_extra extra, struct buf *out);
/* {"$ref":"..."} of a type, and of an extra. */
void openapi_print_ref(const struct openapi_doc *d, const struct schema_type *t, struct buf *out);
void openapi_print_extra_ref(const struct openapi_doc *d, enum openapi_extra extra,
                             struct buf *out);
/* What a subresource takes and answers: its own type, or that of the kind. */
const struct schema_type *openapi_sub_type(const struct schema_resource *kind,
                                           const struct schema_sub *sub);
/* Whether a subresource hands the connection on, as exec and proxy do: what its type describes are
 * the parameters of the query, and no body. */
bool openapi_connects(const struct schema_type *body);
/* The extra a field's value is; 0 = none. */
unsigned openapi_extra_of(const struct schema_field *f);
/* Appends JSON of a document of 2.0, or a part of one, in protobuf: parts one after the other make
 * up the whole. 0; ERR_INVALID: something in it has no place there; ERR_NOMEM. */
int openapi_protobuf(struct slice json, struct buf *out);
/* The paths of a kind, "path":{...} with commas between them. */
void openapi_print_paths(const struct openapi_doc *d, const struct schema_resource *kind,
                         struct buf *out);

#endif
