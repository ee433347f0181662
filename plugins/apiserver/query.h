/* query.h - the parameters of a request, and which of them do not go together. Pure; any thread. */
#ifndef KVD_APISERVER_QUERY_H
#define KVD_APISERVER_QUERY_H

#include "base/alloc.h"
#include "base/err.h"
#include "base/slice.h"
#include "plugins/object/cause.h"
#include "plugins/apiserver/request.h"

/* A switch that may be left open. */
enum query_switch { QUERY_UNSET, QUERY_OFF, QUERY_ON };
enum query_match { QUERY_MATCH_UNSET, QUERY_MATCH_EXACT, QUERY_MATCH_NOT_OLDER, QUERY_MATCH_BAD };

struct query {
    struct slice label_selector, field_selector;
    struct slice next; /* continue */
    int64_t limit;     /* 0 = none */
    struct slice revision_text;
    int64_t revision; /* of resourceVersion; 0 = none or "0", see has_revision */
    bool has_revision;
    enum query_match match;
    struct slice match_text;
    bool watch, bookmarks;
    enum query_switch initial_events;
    int64_t timeout_s;    /* -1 = unset */
    struct slice timeout; /* of the request, as it came; "" = none */
    enum query_switch pretty;
    bool dry_run;
    struct slice bad_dry_run; /* a value that is not All */
    struct slice manager;
    struct slice validation; /* "", Ignore, Warn, Strict, or something else */
    enum query_switch force;
    int64_t grace_s; /* -1 = unset */
    struct slice propagation;
    enum query_switch orphan;
    struct slice include; /* includeObject of tables */
    bool exports;
};

/* Reads a query (without '?'; kept). Unknown names are ignored. Returns 0; ERR_INVALID with the
 * sentence of a 400 in e; ERR_NOMEM. */
int query_parse(struct query *q, struct slice text, struct arena *a, struct errmsg *e);
/* Adds what is wrong with the parameters of a list or watch to c. */
void query_check_list(const struct query *q, bool watch, struct causes *c);
/* The same for writes: dryRun, fieldManager, fieldValidation, force. */
void query_check_write(const struct query *q, struct causes *c);
/* A resourceVersion: 0 and the number, or ERR_INVALID with the sentence. */
int query_revision(struct slice text, int64_t *out, struct errmsg *e);

#endif
