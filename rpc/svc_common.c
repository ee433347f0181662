/* svc_common.c - the life of struct svc and of unary calls, response headers, counting. */
#include "rpc/svc_common.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/utf8.h"

/* An open stream that requires a leader is ended after so many election timeouts without one. */
#define SVC_LEADERLESS_TICKS 3u
/* Levels that InternalRaftRequest puts around a request, and one to spare. */
#define SVC_WRAPPING_LEVELS 2u

static void svc_on_leader_tick(struct rpc_timer *t);

struct svc *svc_new(const struct svc_options *options)
{
    struct svc *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->service = options->service;
    s->options = *options;
    if (timers_init(&s->timers, options->loop) != 0) {
        mem_free(s);
        return NULL;
    }
    pool_init(&s->pool);
    arena_init(&s->arena, SVC_DECODE_BYTES_MAX);
    buf_init(&s->scratch);
    list_init(&s->leader_streams);
    s->leader_timer.fire = svc_on_leader_tick;
    memset(s->check_last, -1, sizeof(s->check_last));

    struct buf ids;
    buf_init(&ids);
    wire_put_uint(&ids, 1, s->service->ids.cluster_id);
    wire_put_uint(&ids, 2, s->service->ids.member_id);
    if (ids.failed) {
        buf_close(&ids);
        timers_close(&s->timers, NULL);
        mem_free(s);
        return NULL;
    }
    memcpy(s->ids, ids.data, ids.len);
    s->ids_len = ids.len;
    buf_close(&ids);
    return s;
}

void svc_set_plugins(struct svc *s, struct plugin_admin *plugins)
{
    s->options.plugins = plugins;
}

static void svc_on_timers_closed(uv_handle_t *handle)
{
    struct svc *s = (struct svc *)((char *)handle - offsetof(struct svc, timers.handle));
    timers_free(&s->timers);
    pool_close(&s->pool);
    arena_close(&s->arena);
    buf_close(&s->scratch);
    void (*cb)(void *data) = s->closed;
    void *data = s->closed_data;
    mem_free(s);
    if (cb != NULL) {
        cb(data);
    }
}

void svc_close(struct svc *s, void (*cb)(void *data), void *data)
{
    s->closed = cb;
    s->closed_data = data;
    timers_close(&s->timers, svc_on_timers_closed);
}

/* ---- counting ----------------------------------------------------------------------------------
 */

static struct svc_counts *svc_counts_of(struct svc *s, const struct rpc_method *method)
{
    return &s->counts[method - svc_methods()];
}

void svc_count_received(struct rpc_call *call)
{
    struct svc *s = svc_of(call);
    svc_counts_of(s, rpc_call_method(call))->received++;
}

bool svc_send(struct rpc_call *call, const struct rpc_part *parts, size_t count)
{
    struct svc *s = svc_of(call);
    svc_counts_of(s, rpc_call_method(call))->sent++;
    return rpc_call_send(call, parts, count);
}

void svc_on_finished(void *data, const struct rpc_method *method, int grpc_code)
{
    struct svc *s = data;
    unsigned code = (unsigned)grpc_code < SVC_CODES ? (unsigned)grpc_code : GRPC_UNKNOWN;
    svc_counts_of(s, method)->handled[code]++;
}

uint64_t svc_calls_started(const struct svc *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SVC_METHODS_MAX; i++) {
        sum += s->counts[i].started;
    }
    return sum;
}

/* The counter row of this client-api-version. The last one used is nearly always the next one. */
static struct svc_client_version *svc_version_row(struct svc *s, struct slice text)
{
    for (size_t i = 0; i < s->version_count; i++) {
        struct svc_client_version *v = &s->versions[i];
        if (v->len == text.len && memcmp(v->text, text.data, text.len) == 0) {
            return v;
        }
    }
    if (s->version_count < SVC_CLIENT_VERSIONS_MAX && text.len < sizeof(s->versions[0].text)) {
        struct svc_client_version *v = &s->versions[s->version_count++];
        memcpy(v->text, text.data, text.len);
        v->len = (uint8_t)text.len;
        return v;
    }
    return &s->versions[SVC_CLIENT_VERSIONS_MAX];
}

static int svc_admit(struct svc *s, struct rpc_call *call, bool stream)
{
    svc_counts_of(s, rpc_call_method(call))->started++;
    struct slice version = rpc_call_metadata(call, "client-api-version");
    if (version.data == NULL) {
        version = slice_of("unknown", 7);
    } else if (!utf8_valid(version)) {
        return ERR_INVALID_CLIENT_API_VERSION;
    }
    struct svc_client_version *row = svc_version_row(s, version);
    if (stream) {
        row->stream++;
    } else {
        row->unary++;
    }
    if (!s->service->has_leader(s->service) &&
        slice_eq(rpc_call_metadata(call, "hasleader"), slice_of("true", 4))) {
        return ERR_NO_LEADER;
    }
    return 0;
}

void svc_open_unary(struct rpc_call *call)
{
    int err = svc_admit(svc_of(call), call, false);
    if (err != 0) {
        rpc_call_finish_err(call, err);
    }
}

bool svc_open_stream(struct rpc_call *call)
{
    int err = svc_admit(svc_of(call), call, true);
    if (err != 0) {
        rpc_call_finish_err(call, err);
    }
    return err == 0;
}

/* ---- streams that require a leader (W-11) ------------------------------------------------------
 */

static void svc_arm_leader_timer(struct svc *s)
{
    timers_set(&s->timers, &s->leader_timer, uv_now(s->options.loop) + s->options.election_ms);
}

static void svc_on_leader_tick(struct rpc_timer *t)
{
    struct svc *s = (struct svc *)((char *)t - offsetof(struct svc, leader_timer));
    s->leaderless_ticks = s->service->has_leader(s->service) ? 0 : s->leaderless_ticks + 1;
    if (s->leaderless_ticks >= SVC_LEADERLESS_TICKS) {
        struct list ended;
        list_init(&ended);
        list_splice_back(&ended, &s->leader_streams);
        for (struct list *it; (it = list_pop_front(&ended)) != NULL;) {
            rpc_call_finish_err(LIST_ENTRY(it, struct svc_leader_link, link)->call, ERR_NO_LEADER);
        }
    }
    if (list_empty(&s->leader_streams)) {
        s->leaderless_ticks = 0;
    } else {
        svc_arm_leader_timer(s);
    }
}

void svc_leader_watch(struct rpc_call *call, struct svc_leader_link *link)
{
    struct svc *s = svc_of(call);
    list_init(&link->link);
    link->call = call;
    if (!slice_eq(rpc_call_metadata(call, "hasleader"), slice_of("true", 4))) {
        return;
    }
    list_push_back(&s->leader_streams, &link->link);
    if (!rpc_timer_is_set(&s->leader_timer)) {
        svc_arm_leader_timer(s);
    }
}

void svc_leader_unwatch(struct svc_leader_link *link)
{
    list_remove(&link->link);
}

/* ---- headers -----------------------------------------------------------------------------------
 */

static size_t svc_put_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (uint8_t)value | 0x80;
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

size_t svc_header(struct svc *s, int64_t revision, uint8_t *out)
{
    uint8_t *p = out + 2; /* the content is below 128 bytes: one length byte */
    memcpy(p, s->ids, s->ids_len);
    p += s->ids_len;
    if (revision != 0) {
        *p++ = 3 << 3 | WIRE_VARINT;
        p += svc_put_varint(p, (uint64_t)revision);
    }
    uint64_t term = s->service->raft_term(s->service);
    if (term != 0) {
        *p++ = 4 << 3 | WIRE_VARINT;
        p += svc_put_varint(p, term);
    }
    out[0] = 1 << 3 | WIRE_BYTES;
    out[1] = (uint8_t)(p - out - 2);
    return (size_t)(p - out);
}

/* ---- unary calls -------------------------------------------------------------------------------
 */

struct svc_unary *svc_unary_new(struct rpc_call *call, struct slice request)
{
    struct svc *s = svc_of(call);
    struct svc_unary *u = pool_alloc(&s->pool, sizeof(*u));
    if (u == NULL) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return NULL;
    }
    u->svc = s;
    u->call = call;
    u->start_ms = uv_now(s->options.loop);
    u->request_bytes = (uint32_t)request.len;
    u->kind = SVC_UNARY_IDLE;
    u->extra = 0;
    rpc_call_set_data(call, u);
    return u;
}

/* The slow-request line (LG-03 "request stats"). Contents are not repeated: values may be secrets.
 */
static void svc_log_slow(const struct svc_unary *u, uint64_t took_ms, size_t response_bytes)
{
    const struct rpc_method *m = rpc_call_method(u->call);
    char path[128];
    snprintf(path, sizeof(path), "/%s/%s", m->service, m->method);
    LOG(took_ms > u->svc->options.slow_request_ms ? LOG_WARN : LOG_DEBUG, "request stats",
        F_MS("time spent", (double)took_ms), F_STR("remote", rpc_call_peer(u->call)),
        F_STR("response type", path), F_INT("request size", u->request_bytes),
        F_INT("response size", (int64_t)response_bytes));
}

static const double svc_seconds_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                            0.5,   1,    2.5,   5,    10};

/* The call answers now: statistics, then u is gone. */
static struct rpc_call *svc_unary_release(struct svc_unary *u, size_t response_bytes)
{
    struct svc *s = u->svc;
    struct rpc_call *call = u->call;
    uint64_t took_ms = uv_now(s->options.loop) - u->start_ms;
    if (__builtin_expect(took_ms > s->options.slow_request_ms || log_enabled(LOG_DEBUG), 0)) {
        svc_log_slow(u, took_ms, response_bytes);
    }
    if (s->options.extensive_metrics) {
        struct svc_counts *counts = svc_counts_of(s, rpc_call_method(call));
        double seconds = (double)took_ms / 1000;
        size_t at = 0;
        while (at < sizeof(svc_seconds_bounds) / sizeof(svc_seconds_bounds[0]) &&
               seconds > svc_seconds_bounds[at]) {
            at++;
        }
        counts->seconds_buckets[at]++;
        counts->seconds_sum += seconds;
    }
    rpc_call_set_data(call, NULL);
    pool_free(&s->pool, u);
    return call;
}

static void svc_send_reply(struct rpc_call *call, const uint8_t *header, size_t header_len,
                           struct slice body)
{
    struct rpc_part parts[2] = {{.bytes = slice_of(header, header_len)}, {.bytes = body}};
    svc_send(call, parts, body.len > 0 ? 2 : 1);
    rpc_call_finish(call, GRPC_OK, NULL);
}

void svc_reply(struct rpc_call *call, int64_t revision, struct slice body)
{
    uint8_t header[SVC_HEADER_BYTES_MAX];
    svc_send_reply(call, header, svc_header(svc_of(call), revision, header), body);
}

void svc_unary_answer(struct svc_unary *u, int err, int64_t revision, struct slice body)
{
    struct svc *s = u->svc;
    struct rpc_call *call = svc_unary_release(u, body.len);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return;
    }
    uint8_t header[SVC_HEADER_BYTES_MAX];
    svc_send_reply(call, header, svc_header(s, revision, header), body);
}

void svc_unary_answer_bare(struct svc_unary *u, int err, struct slice body)
{
    struct rpc_call *call = svc_unary_release(u, body.len);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return;
    }
    struct rpc_part part = {.bytes = body};
    svc_send(call, &part, 1);
    rpc_call_finish(call, GRPC_OK, NULL);
}

void svc_unary_fail(struct svc_unary *u, int grpc_code, const char *text)
{
    rpc_call_finish(svc_unary_release(u, 0), grpc_code, text);
}

void svc_unary_on_write(struct service_write *w, int err, int64_t revision, struct slice body)
{
    svc_unary_answer(w->data, err, revision, body);
}

void svc_unary_propose(struct svc_unary *u, enum service_op op, struct slice request)
{
    struct service *service = u->svc->service;
    u->kind = SVC_UNARY_WRITE;
    u->req.write.data = u;
    u->req.write.cb = svc_unary_on_write;
    service->propose(service, &u->req.write, op, request);
}

void svc_unary_closed(struct rpc_call *call)
{
    struct svc_unary *u = rpc_call_data(call);
    if (u == NULL) {
        return;
    }
    struct svc *s = u->svc;
    switch (u->kind) {
    case SVC_UNARY_IDLE:
        break;
    case SVC_UNARY_WRITE:
        s->service->cancel_write(s->service, &u->req.write);
        break;
    case SVC_UNARY_READ:
        s->service->cancel_read(s->service, &u->req.read);
        break;
    case SVC_UNARY_JOB:
        s->service->cancel_job(s->service, &u->req.job);
        break;
    case SVC_UNARY_PLUGIN:
        s->options.plugins->cancel(s->options.plugins, &u->req.plugin);
        break;
    }
    rpc_call_set_data(call, NULL);
    pool_free(&s->pool, u);
}

/* A large answer: the header first, then what the store produces. */
struct svc_produced {
    struct svc *svc;
    uint8_t header[SVC_HEADER_BYTES_MAX];
    size_t header_len;
    size_t sent; /* of the header */
    bool (*produce)(void *data, struct buf *out, size_t room);
    void (*done)(void *data);
    void *data;
};

static bool svc_produced_next(void *data, struct buf *out, size_t room)
{
    struct svc_produced *p = data;
    if (p->sent < p->header_len) {
        p->sent = p->header_len; /* room >= 1024 holds any header */
        return buf_append(out, p->header, p->header_len);
    }
    return p->produce(p->data, out, room);
}

static void svc_produced_done(void *data)
{
    struct svc_produced *p = data;
    p->done(p->data);
    pool_free(&p->svc->pool, p);
}

void svc_unary_on_read(struct service_read *r, int err, int64_t revision, struct slice body,
                       uint64_t total, bool (*produce)(void *data, struct buf *out, size_t room),
                       void (*done)(void *data), void *produce_data)
{
    struct svc_unary *u = r->data;
    if (err != 0 || produce == NULL) {
        svc_unary_answer(u, err, revision, body);
        return;
    }
    struct svc *s = u->svc;
    struct rpc_call *call = svc_unary_release(u, total);
    struct svc_produced *p = pool_alloc(&s->pool, sizeof(*p));
    if (p == NULL || total > RPC_SEND_BYTES_MAX - SVC_HEADER_BYTES_MAX) {
        pool_free(&s->pool, p);
        done(produce_data);
        rpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED,
                        p == NULL ? err_text(ERR_NOMEM)
                                  : "grpc: trying to send message larger than max");
        return;
    }
    p->svc = s;
    p->header_len = svc_header(s, revision, p->header);
    p->sent = 0;
    p->produce = produce;
    p->done = done;
    p->data = produce_data;
    svc_counts_of(s, rpc_call_method(call))->sent++;
    if (rpc_call_send_produced(call, p->header_len + total, svc_produced_next, svc_produced_done,
                               p)) {
        rpc_call_finish(call, GRPC_OK, NULL);
    }
}

void *svc_decode(struct rpc_call *call, const ProtobufCMessageDescriptor *type, struct slice bytes)
{
    struct svc *s = svc_of(call);
    void *msg = NULL;
    arena_clear(&s->arena);
    int err = codec_decode_inner(type, bytes, SVC_WRAPPING_LEVELS, &s->arena, &msg);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return NULL;
    }
    return msg;
}
