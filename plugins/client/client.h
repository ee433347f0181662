/* client.h - asking the API server for objects, from inside another plugin of the control plane.
 *
 * A thin layer over the objects group of kvplugin.h that speaks in objects (plugins/object). What
 * client-go is to Go controllers this folder is to ours: client.h (requests), informer.h (a cache
 * kept current by list and watch), work.h (a queue and reconcile), recorder.h (Events).
 *
 * All calls are made in callbacks of the plugin that owns the context, and call back there. Every
 * request calls back exactly once, later, never inside the call; at the end of its context with
 * KVP_REFUSED or KVP_UNKNOWN and reason KVP_STOPPED. */
#ifndef KVD_CLIENT_CLIENT_H
#define KVD_CLIENT_CLIENT_H

#include <kvplugin.h>

#include "base/slice.h"
#include "plugins/object/object.h"

/* Where requests are made: the plugin's table and a context, which decides whose leadership they
 * carry. Writes need a term's context. A small value, copied as is. */
struct client {
    const struct kvp_host *host;
    struct kvp_ctx *ctx;
};

static inline struct slice slice_of_kvp(struct kvp_bytes b)
{
    return slice_of(b.data, b.len);
}
static inline struct kvp_bytes kvp_of_slice(struct slice s)
{
    return kvp_bytes_of(s.data, s.len);
}

enum client_patch { CLIENT_PATCH_MERGE, CLIENT_PATCH_STRATEGIC, CLIENT_PATCH_JSON };

struct client_answer {
    int32_t
        outcome; /* KVP_OK: the server answered, see status. REFUSED, UNKNOWN: as in kvplugin.h */
    int32_t reason; /* enum kvp_reason of REFUSED and UNKNOWN */
    int32_t status; /* as in HTTP; 0 unless outcome is KVP_OK */
    /* What the request was for is so: status below 400. */
    bool ok;
    /* Above 399: reason and message of the Status, such as "AlreadyExists". Else "". */
    struct slice status_reason;
    struct slice message; /* also of REFUSED and UNKNOWN; never without text when not ok */
    bool ns_terminating;  /* 403 with the cause NamespaceTerminating */
    struct slice body;    /* JSON; lives during the callback, as do the texts above */
    int64_t revision;
};
typedef void client_done_fn(void *data, const struct client_answer *a);

/* Whether a request was without effect for sure, so that no event of it will come. What is neither
 * ok nor that may have happened: the asking ended first, or the server (504) does not know. */
bool client_certainly_not(const struct client_answer *a);

/* One request. Texts and body are copied. */
struct client_request {
    enum kvp_verb verb;             /* not WATCH: that is the informer's */
    const struct schema_type *type; /* the kind: schema_type(SCHEMA_CORE_V1_POD) */
    const char *sub;                /* subresource, NULL = none */
    struct slice space, name;       /* empty: the object's, where the request names one */
    const struct object *object;    /* body; or */
    struct slice body;              /* these bytes: JSON */
    enum client_patch patch;        /* of PATCH */
    bool collection;                /* DELETE: all of the namespace, not one by name */
    struct slice query;             /* "labelSelector=..."; escaped */
    bool metadata;                  /* GET, LIST: PartialObjectMetadata of the objects will do */
    int64_t revision;               /* resourceVersion parameter of GET and LIST; 0 = none */
    client_done_fn *done;           /* NULL: nobody wants to know */
    void *data;
};

/* What to accept when metadata of objects will do: in answers and events, in lists. */
#define CLIENT_METADATA      "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#define CLIENT_METADATA_LIST "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

/* Appends text so that it may stand in a query. */
void client_add_escaped(struct buf *out, struct slice text);

/* 0: accepted, done will be called. Else a reason of kvplugin.h: nothing happened and done will
 * not be called (INVALID: a type that is no kind, or a name is missing; KVP_BUSY: too many under
 * way). */
int client_send(struct client c, const struct client_request *r);

/* Frequent ones; all as client_send. */
int client_create(struct client c, const struct object *o, client_done_fn *done, void *data);
/* Compares when o carries a resourceVersion. sub NULL = the object itself, else "status", ... */
int client_update(struct client c, const struct object *o, const char *sub, client_done_fn *done,
                  void *data);
int client_patch(struct client c, const struct object *o, const char *sub, enum client_patch patch,
                 struct slice body, client_done_fn *done, void *data);
struct client_delete {
    struct slice uid;         /* only this one; empty = any */
    int64_t grace_s;          /* < 0 = the object's own */
    const char *propagation;  /* "Background", "Foreground", "Orphan"; NULL = the kind's default */
    int64_t resource_version; /* only this state; 0 = any */
};
/* opt NULL = all defaults. */
int client_delete(struct client c, const struct schema_type *type, struct slice space,
                  struct slice name, const struct client_delete *opt, client_done_fn *done,
                  void *data);

/* ---- what every controller needs of metadata ---- */
struct slice object_namespace(const struct object *o);
struct slice object_name(const struct object *o);
struct slice object_uid(const struct object *o);
int64_t object_revision(const struct object *o); /* resourceVersion as a number */
bool object_is_deleted(const struct object *o);  /* has a deletionTimestamp */
/* "namespace/name", or "name" in cluster scope: the key of informers and queues. */
int object_key(const struct object *o, struct buf *out);
/* Splits a key; space is empty in cluster scope. */
void object_key_split(struct slice key, struct slice *space, struct slice *name);
/* The owner reference with controller: true; NULL = none. */
const struct value *object_controller(const struct object *o);
/* Of an owner reference: a text member by name ("kind", "uid"); empty when reference is NULL. */
struct slice reference_text(const struct value *reference, const char *member);
/* Appends an owner reference to owner, with controller and blockOwnerDeletion true. 0 or ERR_*. */
int object_set_controller(struct object *o, const struct object *owner);

#endif
