/* exchange.c - requests, answers, and the counting of what is under way for them. */
#include "plugins/apiserver/exchange.h"

#include "plugins/apiserver/carrier.h"
#include "plugins/apiserver/deadline.h"
#include "plugins/apiserver/pretty.h"
#include "plugins/object/quote.h"

/* What one object and its answer may cost: a body of 3 MiB as a tree, changed and written. */
#define EXCHANGE_BYTES_MAX (256u * 1024u * 1024u)

struct exchange *exchange_new(struct apiserver *api, const struct carrier *carrier, void *peer,
                              struct kvp_ctx *ctx)
{
    struct exchange *ex = mem_zalloc(sizeof *ex);
    if (ex == NULL) {
        return NULL;
    }
    ex->api = api;
    ex->carrier = carrier;
    ex->peer = peer;
    ex->ctx = ctx;
    arena_init(&ex->arena, EXCHANGE_BYTES_MAX);
    buf_init(&ex->body);
    buf_init(&ex->out);
    buf_init(&ex->work.body);
    return ex;
}

static void exchange_free_when_done(struct exchange *ex)
{
    if (ex->peer == NULL && ex->calls == 0) {
        deadline_end(ex);
        arena_close(&ex->arena);
        buf_close(&ex->body);
        buf_close(&ex->out);
        buf_close(&ex->work.body);
        mem_free(ex);
    }
}

void exchange_closed(struct exchange *ex)
{
    ex->peer = NULL;
    if (ex->gone != NULL && !ex->work.away) { /* else work_back tells it */
        ex->gone(ex);
    }
    exchange_free_when_done(ex);
}

void exchange_call(struct exchange *ex)
{
    ex->calls++;
}

bool exchange_back(struct exchange *ex)
{
    /* What was answered early, at its deadline, is not gone on with. */
    bool there = ex->peer != NULL && (!ex->answered || ex->stream);
    ex->calls--;
    exchange_free_when_done(ex);
    return there;
}

struct status exchange_status(struct exchange *ex, int reason, const char *text)
{
    struct arena *a = &ex->arena;
    switch (reason) {
    case KVP_TIMEOUT:
        return status_timeout(a, "request did not complete within the allotted timeout");
    case KVP_STOPPED:
    case KVP_CANCELED:
        return status_unavailable(a, "apiserver is shutting down");
    case KVP_FENCED:
    case KVP_NOT_LEADER:
        return status_unavailable(a, "whoever asks does not lead: %s", text);
    case KVP_TOO_LARGE:
        return status_too_large(a, "etcdserver: request is too large");
    case KVP_NO_SPACE:
        return status_unclassed(a, "etcdserver: mvcc: database space exceeded");
    case KVP_BUSY:
    case KVP_UNAVAILABLE:
    case KVP_NO_MEMORY: {
        struct status s = status_unavailable(a, "the store is not available right now: %s", text);
        s.retry_after_s = 1;
        return s;
    }
    default:
        return status_internal(a, "%s", text);
    }
}

void exchange_not_called(struct exchange *ex, int reason)
{
    exchange_fail(ex, exchange_status(ex, reason, "the call was not accepted"));
    exchange_back(ex);
}

bool exchange_back_well(struct exchange *ex, const struct kvp_result *r)
{
    if (!exchange_back(ex)) {
        return false;
    }
    if (r->outcome == KVP_UNKNOWN) {
        exchange_fail(ex, status_timeout(&ex->arena, "the outcome of the write is not known"));
        return false;
    }
    if (r->outcome != KVP_OK) {
        exchange_fail(ex, exchange_status(ex, r->reason, r->text));
        return false;
    }
    return true;
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Of all warnings together, as Kubernetes has it: a head may not become large by what somebody
 * calls a field. What does not fit whole is cut to so many bytes. */
#define EXCHANGE_WARNING_BYTES_MAX 4096u
#define EXCHANGE_WARNING_CUT_BYTES 256u

/* Where a long text is cut, between two characters. */
static size_t warning_cut(struct slice text)
{
    size_t n = text.len < EXCHANGE_WARNING_CUT_BYTES ? text.len : EXCHANGE_WARNING_CUT_BYTES;
    while (n > 0 && n < text.len && (text.data[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

void exchange_warn(struct exchange *ex, struct slice text)
{
    if (ex->warning_count == EXCHANGE_WARNINGS_MAX) {
        return;
    }
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "299 - ");
    quote_go(text, &b);
    if (b.len > EXCHANGE_WARNING_BYTES_MAX - ex->warning_bytes) {
        text.len = warning_cut(text);
        buf_clear(&b);
        buf_append_str(&b, "299 - ");
        quote_go(text, &b);
    }
    if (b.len > EXCHANGE_WARNING_BYTES_MAX - ex->warning_bytes) {
        buf_close(&b);
        return;
    }
    struct slice copy = b.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&b));
    buf_close(&b);
    if (copy.data != NULL) {
        ex->warnings[ex->warning_count++] = copy;
        ex->warning_bytes += copy.len;
    }
}

static void exchange_break_off(struct exchange *ex)
{
    ex->last = true;
    ex->finished = true;
    ex->carrier->break_off(ex);
}

/* False: nothing more can be said. */
static bool exchange_respond(struct exchange *ex, int code, const char *content_type)
{
    if (ex->peer == NULL || ex->answered) {
        return false;
    }
    ex->answered = true;
    if (!ex->carrier->respond(ex, code, content_type)) {
        exchange_break_off(ex); /* else the client would wait for ever */
        return false;
    }
    return true;
}

bool exchange_pump(struct exchange *ex)
{
    if (ex->peer == NULL || ex->finished || !ex->carrier->hand_on(ex)) {
        return false;
    }
    if (ex->last) {
        ex->finished = true;
        ex->carrier->finish(ex);
    }
    buf_clear(&ex->out);
    ex->sent = 0;
    return true;
}

void exchange_writable(struct exchange *ex)
{
    if (exchange_pump(ex) && !ex->last && ex->drained != NULL) {
        ex->drained(ex);
    }
}

/* How an answer is given, whose body has two parts. */
typedef void exchange_say_fn(struct exchange *ex, int code, const char *content_type,
                             struct slice body, const char *tail);

static void exchange_say(struct exchange *ex, int code, const char *content_type, struct slice body,
                         const char *tail)
{
    if (ex->peer != NULL && ex->answered && !ex->last) {
        exchange_break_off(ex); /* a stream has begun: no more can be said */
        return;
    }
    if (!exchange_respond(ex, code, content_type)) {
        return;
    }
    buf_clear(&ex->out);
    ex->sent = 0;
    buf_reserve(&ex->out, body.len + 1);
    if (!ex->head && (!buf_append_slice(&ex->out, body) || !buf_append_str(&ex->out, tail))) {
        exchange_break_off(ex);
        return;
    }
    ex->last = true;
    exchange_pump(ex);
}

/* Of a step of work that is away. */
static void exchange_lay_ready(struct exchange *ex, int code, const char *content_type,
                               struct slice body, const char *tail)
{
    struct exchange_work *w = &ex->work;
    if (!w->answers) {
        w->answers = true;
        w->code = code;
        w->content_type = content_type;
        buf_append_slice(&w->body, body);
        buf_append_str(&w->body, tail);
    }
}

/* Whoever asks this is on the lane while nothing is away, or in the step that is. */
static exchange_say_fn *exchange_way(const struct exchange *ex)
{
    return ex->work.away || ex->work.tentative ? exchange_lay_ready : exchange_say;
}

void exchange_answer(struct exchange *ex, int code, const char *content_type, struct slice body)
{
    exchange_way(ex)(ex, code, content_type, body, "");
}

static void exchange_say_json(struct exchange *ex, int code, struct slice body,
                              exchange_say_fn *say)
{
    bool pretty = (ex->pretty || ex->media.pretty) && body.len <= PRETTY_BYTES_MAX;
    struct buf laid_out;
    buf_init(&laid_out);
    pretty = pretty && pretty_print(body, &laid_out) && !laid_out.failed;
    /* Go's encoder ends compact texts with a line, and only those. */
    say(ex, code, "application/json", pretty ? buf_slice(&laid_out) : body,
        pretty || !ex->carrier->speaks_http ? "" : "\n");
    buf_close(&laid_out);
}

void exchange_json(struct exchange *ex, int code, struct slice body)
{
    exchange_say_json(ex, code, body, exchange_way(ex));
}

static void exchange_say_status(struct exchange *ex, const struct status *s, exchange_say_fn *say)
{
    struct buf b;
    buf_init(&b);
    status_print(s, &b);
    exchange_say_json(ex, s->code, b.failed ? slice_of("", 0) : buf_slice(&b), say);
    buf_close(&b);
}

void exchange_fail(struct exchange *ex, struct status s)
{
    exchange_say_status(ex, &s, exchange_way(ex));
}

void exchange_late(struct exchange *ex)
{
    struct arena memory; /* the exchange's own may be away */
    arena_init(&memory, 0);
    struct status s =
        status_timeout(&memory, "request did not complete within the allotted timeout");
    exchange_say_status(ex, &s, exchange_say);
    arena_close(&memory);
}

void exchange_no_memory(struct exchange *ex)
{
    exchange_fail(ex, status_internal(&ex->arena, "out of memory"));
}

bool exchange_understands(struct exchange *ex, int rc, const struct errmsg *e)
{
    if (rc == ERR_NOMEM) {
        exchange_no_memory(ex);
    } else if (rc != 0) {
        exchange_fail(ex, status_bad_request(&ex->arena, "%s", e->text));
    }
    return rc == 0;
}

void exchange_no_path(struct exchange *ex)
{
    if (ex->carrier->speaks_http) {
        exchange_answer(ex, 404, "text/plain; charset=utf-8", slice_str("404 page not found\n"));
        return;
    }
    struct status s = {.code = 404,
                       .reason = "NotFound",
                       .message = slice_str("the server could not find the requested resource")};
    exchange_fail(ex, s);
}

/* ---- work ---------------------------------------------------------------------------------- */

/* What a step has laid ready. Its bytes are not copied: they may be megabytes. */
static void work_answer(struct exchange *ex)
{
    struct exchange_work *w = &ex->work;
    if (w->body.failed) {
        exchange_no_memory(ex);
    } else if (exchange_respond(ex, w->code, w->content_type)) {
        if (!ex->head) {
            buf_close(&ex->out);
            ex->out = w->body;
            buf_init(&w->body);
        }
        ex->sent = 0;
        ex->last = true;
        exchange_pump(ex);
    }
}

static void work_away(void *data)
{
    struct exchange *ex = data;
    ex->work.good = ex->work.step(ex, ex->work.data);
}

static void work_back(void *data, int canceled)
{
    struct exchange *ex = data;
    struct exchange_work *w = &ex->work;
    w->away = false;
    if (ex->peer == NULL && ex->gone != NULL) {
        ex->gone(ex);
    }
    if (!exchange_back(ex)) {
        return;
    }
    if (canceled) {
        exchange_fail(ex, exchange_status(ex, KVP_CANCELED, ""));
    } else if (w->good) {
        w->then(w->data);
    } else {
        work_answer(ex);
    }
}

void exchange_work(struct exchange *ex, size_t bytes, bool (*step)(struct exchange *ex, void *data),
                   void (*then)(void *data), void *data)
{
    if (bytes <= EXCHANGE_INLINE_BYTES_MAX) {
        if (step(ex, data)) {
            then(data);
        }
        return;
    }
    ex->work.step = step;
    ex->work.then = then;
    ex->work.data = data;
    ex->work.away = true;
    exchange_call(ex);
    int reason = ex->api->host->offload(ex->api->ctx, work_away, work_back, ex);
    if (reason != 0) {
        ex->work.away = false;
        exchange_not_called(ex, reason);
    }
}

bool exchange_tentatively(struct exchange *ex, bool (*step)(struct exchange *ex, void *data),
                          void *data)
{
    size_t warnings = ex->warning_count;
    size_t bytes = ex->warning_bytes;
    ex->work.tentative = true;
    bool good = step(ex, data);
    ex->work.tentative = false;
    if (!good) {
        ex->work.answers = false;
        buf_clear(&ex->work.body);
        ex->warning_count = warnings;
        ex->warning_bytes = bytes;
    }
    return good;
}

/* ---- streams ------------------------------------------------------------------------------- */

void exchange_stream(struct exchange *ex, const char *content_type)
{
    ex->stream = true;
    exchange_respond(ex, 200, content_type);
}

void exchange_end(struct exchange *ex)
{
    ex->last = true;
    exchange_pump(ex);
}

void exchange_event_begin(struct exchange *ex, const char *type, int64_t revision)
{
    ex->event_at = ex->out.len;
    ex->carrier->event_begin(ex, type, revision);
}

void exchange_event_end(struct exchange *ex)
{
    ex->carrier->event_end(ex);
}

void exchange_event_drop(struct exchange *ex)
{
    ex->out.len = ex->event_at;
    ex->out.failed = false;
}
