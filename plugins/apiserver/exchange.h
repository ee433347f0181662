/* exchange.h - one request on its way through the server, and its answer: of an HTTP client or of
 * another plugin, which makes no difference to the verbs.
 *
 * It lives from begin to the last of: the client is answered or gone, and every store call made for
 * it has called back. Store calls are counted (exchange_call before, exchange_back first thing in
 * the callback). An answer is given once; what the client does not read yet waits in `out`.
 *
 * All of it runs in callbacks of the plugin's lane, but for steps of work on something large
 * (exchange_work): while one is away, on a thread of the pool, it has the exchange's arena, body,
 * request, warnings and `op`, and the lane has the rest. */
#ifndef KVD_APISERVER_EXCHANGE_H
#define KVD_APISERVER_EXCHANGE_H

#include "base/alloc.h"
#include "base/buf.h"
#include "plugins/apiserver/apiserver.h"
#include "plugins/apiserver/media.h"
#include "plugins/apiserver/query.h"
#include "plugins/apiserver/request.h"
#include "plugins/apiserver/status.h"
#include "plugins/apiserver/user.h"

/* Warning headers of one answer; more would only make it larger. */
#define EXCHANGE_WARNINGS_MAX 16u

/* Work on more than so many bytes is not done on the lane: decoding, checking and writing an object
 * of this size takes some milliseconds. */
#define EXCHANGE_INLINE_BYTES_MAX (32u * 1024u)

/* One step of work: see exchange_work. */
struct exchange_work {
    bool (*step)(struct exchange *ex, void *data);
    void (*then)(void *data);
    void *data;
    bool away;      /* it is not on the lane; only the lane writes this */
    bool tentative; /* what it answers may be dropped */
    bool good;      /* what step returned */
    bool answers;   /* an answer was laid ready: */
    int code;
    const char *content_type;
    struct buf body;
};

struct exchange {
    struct apiserver *api;
    const struct carrier *carrier;
    void *peer;          /* kvp_http or kvp_call. NULL: gone, or answered to the end */
    struct kvp_ctx *ctx; /* of all store calls made for it; clock, chance and timers: api->ctx */
    struct arena arena;  /* of everything that lives as long as the exchange */
    struct request request;
    struct query query;
    struct slice query_text;
    struct user user;        /* who asks */
    int bad_path, bad_query; /* what came of reading them: 0 or an error */
    struct slice query_why;  /* the sentence of bad_query */
    bool impersonates;       /* asks for being somebody else */
    bool admitted;           /* who asks is known, and may */
    bool body_done;          /* all of the body is there */
    struct slice accept, content_type, audit_id, none_match;
    struct slice etag;                             /* of the answer; "" = none */
    struct slice cache_control, expires, location; /* headers of the answer; "" = the usual, none */
    struct slice manager; /* who writes: fieldManager, else the user agent */
    struct buf body;
    struct media_answer media; /* the shape of objects in the answer */
    bool human;                /* a person is asking, by the looks of the user agent */
    bool pretty;               /* JSON is laid out for people */
    bool head;                 /* HEAD: an answer without its body */
    bool answered;             /* the header is out */
    bool stream;               /* begun by exchange_stream */
    bool finished;             /* the end is told to the host */
    bool last;                 /* nothing follows what is in out */
    struct buf out;
    size_t sent;      /* of out */
    size_t event_at;  /* where the newest event begins in out */
    int64_t revision; /* of the answer: for plugins, which need not look for it in the object */
    struct slice warnings[EXCHANGE_WARNINGS_MAX];
    size_t warning_count;
    size_t warning_bytes; /* of all of them */
    unsigned calls;       /* store calls that have not called back */
    void *op;             /* of the verb, in the arena */
    struct exchange_work work;
    /* Streams: all of out was taken; the client is gone. NULL = not a stream. */
    void (*drained)(struct exchange *ex);
    void (*gone)(struct exchange *ex);
    struct heap_node deadline; /* deadline.c */
    /* Of a plugin (carrier_call.c). */
    struct hash_node call_node;
    struct exchange *next_answered;
    int code;
    const char *answer_type;
};

/* Begins an exchange (carrier.h has the two ways to do so). NULL: out of memory. */
struct exchange *exchange_new(struct apiserver *api, const struct carrier *carrier, void *peer,
                              struct kvp_ctx *ctx);
/* The client is gone or has everything: frees the exchange now or after its last store call. */
void exchange_closed(struct exchange *ex);

/* Around store calls. exchange_back: false when nobody waits any more, or all is said (ex may be
 * freed then). */
void exchange_call(struct exchange *ex);
bool exchange_back(struct exchange *ex);
/* A call that was not accepted: answers 503 or what fits. */
void exchange_not_called(struct exchange *ex, int reason);
/* As exchange_back, and answers an outcome other than OK: true when all is well. */
bool exchange_back_well(struct exchange *ex, const struct kvp_result *r);
/* What a reason of the store means for a client. */
struct status exchange_status(struct exchange *ex, int reason, const char *text);

/* Does a step of work on something of about so many bytes, then goes on with then(data) when the
 * step returned true, or is through when it returned false and has answered. What is small is done
 * at once. For what is large the step runs on a thread of the pool: there it may use the exchange's
 * arena and what it was given, and call no function of the host; answers it gives (exchange_fail,
 * exchange_json, ...) and warnings are laid ready and given when it is back. Meanwhile the client
 * may leave or be told that it took too long: then `then` is not called. One step at a time; not in
 * a step. */
void exchange_work(struct exchange *ex, size_t bytes, bool (*step)(struct exchange *ex, void *data),
                   void (*then)(void *data), void *data);

/* Does a step at once, and drops what it answers: for what is not certain. Returns what the step
 * did. */
bool exchange_tentatively(struct exchange *ex, bool (*step)(struct exchange *ex, void *data),
                          void *data);

/* Answers. The first one counts, later ones are dropped; while a stream is under way they break it
 * off. */
void exchange_answer(struct exchange *ex, int code, const char *content_type, struct slice body);
void exchange_json(struct exchange *ex, int code, struct slice body);
void exchange_fail(struct exchange *ex, struct status s);
void exchange_no_memory(struct exchange *ex);
/* At its deadline: also while work is away. */
void exchange_late(struct exchange *ex);
/* A part of the request was read with this result: 0, ERR_NOMEM, or another error, of which e says
 * what is wrong. False: answered. */
bool exchange_understands(struct exchange *ex, int rc, const struct errmsg *e);
/* Nothing is there: 404 as text for HTTP clients. */
void exchange_no_path(struct exchange *ex);
/* A header of its own for the answer to come; the text is copied, and cut when it is long. */
void exchange_warn(struct exchange *ex, struct slice text);
/* A part of the request was read with this result: 0, ERR_NOMEM, or another error, of which e says
 * what is wrong. False: answered. */
bool exchange_understands(struct exchange *ex, int rc, const struct errmsg *e);

/* Streams: the header now, then bytes appended to out and exchange_pump, until exchange_end. */
void exchange_stream(struct exchange *ex, const char *content_type);
/* Hands on what the client takes; true when all of out was taken. */
bool exchange_pump(struct exchange *ex);
void exchange_end(struct exchange *ex);
/* The client reads on. */
void exchange_writable(struct exchange *ex);

/* One event of a watch: its object is appended to out between the two. */
void exchange_event_begin(struct exchange *ex, const char *type, int64_t revision);
void exchange_event_end(struct exchange *ex);
/* Instead of the end: as if it had not begun. */
void exchange_event_drop(struct exchange *ex);

#endif
