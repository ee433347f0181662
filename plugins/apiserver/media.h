/* media.h - which form a body has and which one the answer gets. Pure; any thread. */
#ifndef KVD_APISERVER_MEDIA_H
#define KVD_APISERVER_MEDIA_H

#include <stdbool.h>

#include "base/slice.h"

enum media_body {
    MEDIA_BODY_UNKNOWN,
    MEDIA_BODY_JSON,
    MEDIA_BODY_YAML,
    MEDIA_BODY_JSON_PATCH,
    MEDIA_BODY_MERGE_PATCH,
    MEDIA_BODY_STRATEGIC_PATCH
};

/* What answers are written in, and what bodies may come in. */
#define MEDIA_ANSWERS "application/json"
#define MEDIA_BODIES  "application/json, application/yaml"
#define MEDIA_PATCHES                                             \
    "application/json-patch+json, application/merge-patch+json, " \
    "application/strategic-merge-patch+json"

/* The form a Content-Type names; nothing means JSON. */
enum media_body media_body(struct slice content_type);
/* Whether an Accept header (absent: anything) is satisfied by plain JSON: entries that ask for
 * another shape (as=Table) are passed over. */
bool media_accepts_json(struct slice accept);
/* Whether it asks for aggregated discovery (version 2) at least as much as for the plain one. */
bool media_accepts_discovery(struct slice accept);

#endif
