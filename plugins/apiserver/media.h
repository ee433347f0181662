/* media.h - which form a body has and which one the answer gets. Pure; any thread. */
#ifndef KVD_APISERVER_MEDIA_H
#define KVD_APISERVER_MEDIA_H

#include <stdbool.h>

#include "base/slice.h"

enum media_body {
    MEDIA_BODY_UNKNOWN,
    MEDIA_BODY_JSON,
    MEDIA_BODY_YAML,
    MEDIA_BODY_PROTOBUF,
    MEDIA_BODY_JSON_PATCH,
    MEDIA_BODY_MERGE_PATCH,
    MEDIA_BODY_STRATEGIC_PATCH
};

/* What answers are written in, and what bodies may come in. */
#define MEDIA_ANSWERS "application/json"
#define MEDIA_OPENAPI "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
#define MEDIA_BODIES  "application/json, application/yaml, application/vnd.kubernetes.protobuf"
#define MEDIA_PATCHES                                             \
    "application/json-patch+json, application/merge-patch+json, " \
    "application/strategic-merge-patch+json"

/* The form a Content-Type names; nothing means JSON. */
enum media_body media_body(struct slice content_type);
/* What an answer shows of objects, as `as=` of an Accept header asks for it. */
enum media_shape { MEDIA_WHOLE, MEDIA_TABLE, MEDIA_PARTIAL, MEDIA_PARTIAL_LIST };

struct media_answer {
    enum media_shape shape;
    const char *version; /* of meta.k8s.io, which shapes are written in: "v1" or "v1beta1" */
    bool pretty;         /* pretty=1 */
};

/* What a resource can be shown as besides whole objects: bits for media_choose. */
#define MEDIA_CAN_TABLE   1u
#define MEDIA_CAN_PARTIAL 2u

/* Chooses the form of an answer from an Accept header: its entries are tried by quality, then as
 * they stand; what can not be done is passed over. No header: whole objects. False: nothing in it
 * can be done. */
bool media_choose(struct slice accept, unsigned can, struct media_answer *out);
/* Whether plain JSON will do. */
bool media_accepts_json(struct slice accept);
/* How the OpenAPI document of 2.0 is written, by the first entry that can be done; without a header
 * it is JSON. False: nothing in it can be done. */
bool media_openapi(struct slice accept, bool *protobuf);
/* Whether it asks for aggregated discovery (version 2) at least as much as for the plain one. */
bool media_accepts_discovery(struct slice accept);

#endif
