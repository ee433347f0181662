/* svc_fake.h - a fake gRPC engine and a fake node around the real services, for unit tests.
 *
 * Defines rpc_call_* and http_* (so the real engine is not linked) and a struct service whose
 * requests are recorded for the test to complete by hand. Include once per test program. */
#ifndef KVD_TESTS_UNIT_RPC_SVC_FAKE_H
#define KVD_TESTS_UNIT_RPC_SVC_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/alloc.h"
#include "proto/codec.h"
#include "proto/etcd/rpc.pb-c.h"
#include "rpc/svc_common.h"

/* ---- calls -------------------------------------------------------------------------------------
 */

#define FAKE_MESSAGES_MAX 512

struct rpc_call {
    const struct rpc_method *method;
    struct svc *svc;
    void *data;
    const char *hasleader;
    const char *client_api_version;
    struct slice raw_version;
    struct buf out[FAKE_MESSAGES_MAX];
    size_t count;
    bool headers_sent;
    bool finished;
    int code;
    char text[256];
    bool above_high_water;
    /* a produced answer */
    uint64_t total;
    bool (*produce)(void *data, struct buf *out, size_t room);
    void (*done)(void *data);
    void *produce_data;
};

bool rpc_call_send(struct rpc_call *call, const struct rpc_part *parts, size_t count)
{
    if (call->finished) {
        return false;
    }
    assert_true(call->count < FAKE_MESSAGES_MAX);
    struct buf *b = &call->out[call->count++];
    for (size_t i = 0; i < count; i++) {
        if (parts[i].blob != NULL) {
            assert_true(parts[i].bytes.data >= parts[i].blob->data);
        }
        buf_append_slice(b, parts[i].bytes);
    }
    return true;
}

bool rpc_call_send_produced(struct rpc_call *call, uint64_t total,
                            bool (*produce)(void *data, struct buf *out, size_t room),
                            void (*done)(void *data), void *data)
{
    if (call->finished) {
        done(data);
        return false;
    }
    call->total = total;
    call->produce = produce;
    call->done = done;
    call->produce_data = data;
    return true;
}

void rpc_call_send_headers(struct rpc_call *call)
{
    call->headers_sent = true;
}

void rpc_call_finish(struct rpc_call *call, int grpc_code, const char *text)
{
    if (!call->finished) {
        call->finished = true;
        call->code = grpc_code;
        snprintf(call->text, sizeof(call->text), "%s", text == NULL ? "" : text);
    }
}

void rpc_call_finish_err(struct rpc_call *call, int err)
{
    rpc_call_finish(call, err_grpc(err), err == 0 ? NULL : err_text(err));
}

void rpc_call_reset(struct rpc_call *call, uint32_t h2_code)
{
    (void)h2_code;
    rpc_call_finish(call, GRPC_CANCELED, "reset");
}

bool rpc_call_above_high_water(const struct rpc_call *call)
{
    return call->above_high_water;
}

struct slice rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    if (strcmp(name, "hasleader") == 0 && call->hasleader != NULL) {
        return slice_str(call->hasleader);
    }
    if (strcmp(name, "client-api-version") == 0) {
        return call->raw_version;
    }
    return slice_of(NULL, 0);
}

uint64_t rpc_call_deadline_ns(const struct rpc_call *call)
{
    (void)call;
    return 0;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *call)
{
    return call->method;
}

const char *rpc_call_peer(const struct rpc_call *call)
{
    (void)call;
    return "127.0.0.1:1";
}

void rpc_call_set_data(struct rpc_call *call, void *data)
{
    call->data = data;
}

void *rpc_call_data(const struct rpc_call *call)
{
    return call->data;
}

void *rpc_call_server_data(const struct rpc_call *call)
{
    return call->svc;
}

/* ---- pages -------------------------------------------------------------------------------------
 */

struct http_request {
    struct svc *svc;
    void *data;
    void (*closed)(struct http_request *req);
    const char *path;
    const char *query; /* name=value&name, not encoded */
    bool answered;
    int status;
    char content_type[64];
    char body[65536];
};

struct slice http_method(const struct http_request *req)
{
    (void)req;
    return slice_str("GET");
}

struct slice http_path(const struct http_request *req)
{
    return slice_str(req->path);
}

struct slice http_query(const struct http_request *req)
{
    return slice_str(req->query);
}

struct slice http_header(const struct http_request *req, const char *lowercase_name)
{
    (void)req, (void)lowercase_name;
    return slice_of(NULL, 0);
}

struct slice http_body(const struct http_request *req)
{
    (void)req;
    return slice_of(NULL, 0);
}

void *http_server_data(const struct http_request *req)
{
    return req->svc;
}

bool http_query_next(const struct http_request *req, size_t *position, char *name, size_t name_size,
                     char *value, size_t value_size)
{
    const char *p = req->query + *position;
    if (*p == '\0') {
        return false;
    }
    size_t len = strcspn(p, "&");
    const char *equals = memchr(p, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - p) : len;
    snprintf(name, name_size, "%.*s", (int)name_len, p);
    snprintf(value, value_size, "%.*s", equals != NULL ? (int)(len - name_len - 1) : 0,
             equals != NULL ? equals + 1 : "");
    *position += len + (p[len] == '&');
    return true;
}

void http_set_data(struct http_request *req, void *data)
{
    req->data = data;
}

void *http_data(const struct http_request *req)
{
    return req->data;
}

void http_on_closed(struct http_request *req, void (*closed)(struct http_request *req))
{
    req->closed = closed;
}

void http_respond(struct http_request *req, int status, const char *content_type,
                  const struct http_header_field *headers, struct slice body)
{
    (void)headers;
    assert_false(req->answered);
    req->answered = true;
    req->status = status;
    snprintf(req->content_type, sizeof(req->content_type), "%s", content_type);
    assert_true(body.len < sizeof(req->body) || status == 200);
    size_t len = body.len < sizeof(req->body) ? body.len : sizeof(req->body) - 1;
    memcpy(req->body, body.data, len);
    req->body[len] = '\0';
}

/* ---- the node ----------------------------------------------------------------------------------
 */

#define FAKE_WATCHERS_MAX 4096

struct service_watcher {
    struct watch_options options;
    const struct watch_sink *sink;
    void *sink_data;
    void *watcher_data;
    bool synced;
    bool live;
    int resumed;
};

struct fake {
    struct service service;
    uv_loop_t loop;
    struct svc *svc;
    bool svc_closed;
    int64_t revision;
    uint64_t term;
    bool has_leader;
    struct service_status status;
    struct buf alarms;
    /* newest request of each kind, NULL when there is none or it was canceled */
    struct service_write *write;
    enum service_op op;
    struct buf request;
    int64_t lease_id, lease_ttl;
    struct service_read *read;
    bool serializable;
    bool confirming;
    struct service_stream *stream;
    int stream_resumes;
    bool stream_canceled;
    struct service_job *job;
    char job_name[16];
    int64_t job_revision;
    bool job_physical;
    /* keep alives in order */
    struct service_write *renewals[16];
    int64_t *renewal_ttls[16];
    size_t renewal_count;
    int canceled;
    struct service_lease lease;
    bool lease_known;
    struct service_watcher watchers[FAKE_WATCHERS_MAX];
    size_t watcher_count;
    int watch_err;
};

static struct fake *fake_of(struct service *s)
{
    return s->impl;
}

static void fake_record(struct fake *f, struct slice request)
{
    buf_clear(&f->request);
    buf_append_slice(&f->request, request);
}

static void fake_propose(struct service *s, struct service_write *w, enum service_op op,
                         struct slice request)
{
    struct fake *f = fake_of(s);
    f->write = w;
    f->op = op;
    fake_record(f, request);
}

static void fake_lease_grant(struct service *s, struct service_write *w, int64_t id, int64_t ttl)
{
    struct fake *f = fake_of(s);
    f->write = w;
    f->op = SERVICE_LEASE_GRANT;
    f->lease_id = id;
    f->lease_ttl = ttl;
}

static void fake_cancel_write(struct service *s, struct service_write *w)
{
    struct fake *f = fake_of(s);
    f->canceled++;
    if (f->write == w) {
        f->write = NULL;
    }
}

static void fake_range(struct service *s, struct service_read *r, struct slice request,
                       bool serializable)
{
    struct fake *f = fake_of(s);
    assert_null(f->read);
    f->read = r;
    f->serializable = serializable;
    f->confirming = false;
    fake_record(f, request);
}

static void fake_confirm(struct service *s, struct service_read *r)
{
    struct fake *f = fake_of(s);
    f->read = r;
    f->confirming = true;
}

static void fake_cancel_read(struct service *s, struct service_read *r)
{
    struct fake *f = fake_of(s);
    assert_ptr_equal(f->read, r);
    f->read = NULL;
    f->canceled++;
}

static void fake_range_stream(struct service *s, struct service_stream *st, struct slice request,
                              bool serializable)
{
    struct fake *f = fake_of(s);
    f->stream = st;
    f->serializable = serializable;
    fake_record(f, request);
}

static void fake_stream_resume(struct service *s, struct service_stream *st)
{
    struct fake *f = fake_of(s);
    assert_ptr_equal(f->stream, st);
    f->stream_resumes++;
}

static void fake_stream_cancel(struct service *s, struct service_stream *st)
{
    struct fake *f = fake_of(s);
    assert_ptr_equal(f->stream, st);
    f->stream = NULL;
    f->stream_canceled = true;
}

static struct service_watcher *fake_watch(struct service *s, const struct watch_options *o,
                                          const struct watch_sink *sink, void *sink_data,
                                          void *watcher_data, int *err)
{
    struct fake *f = fake_of(s);
    if (f->watch_err != 0) {
        *err = f->watch_err;
        return NULL;
    }
    assert_true(f->watcher_count < FAKE_WATCHERS_MAX);
    struct service_watcher *w = &f->watchers[f->watcher_count++];
    *w = (struct service_watcher){.options = *o,
                                  .sink = sink,
                                  .sink_data = sink_data,
                                  .watcher_data = watcher_data,
                                  .synced = true,
                                  .live = true};
    fake_record(f, o->key);
    return w;
}

static void fake_watch_cancel(struct service *s, struct service_watcher *w)
{
    (void)s;
    assert_true(w->live);
    w->live = false;
}

static void fake_watch_resume(struct service *s, struct service_watcher *w)
{
    (void)s;
    assert_true(w->live);
    w->resumed++;
}

static bool fake_watch_synced(struct service *s, struct service_watcher *w)
{
    (void)s;
    return w->synced;
}

static int64_t fake_revision(struct service *s)
{
    return fake_of(s)->revision;
}

static uint64_t fake_raft_term(struct service *s)
{
    return fake_of(s)->term;
}

static bool fake_has_leader(struct service *s)
{
    return fake_of(s)->has_leader;
}

static void fake_status(struct service *s, struct service_status *out)
{
    *out = fake_of(s)->status;
}

static void fake_alarms(struct service *s, struct buf *out)
{
    buf_append_slice(out, buf_slice(&fake_of(s)->alarms));
}

static void fake_keep_alive(struct service *s, struct service_write *w, int64_t id, int64_t *ttl)
{
    struct fake *f = fake_of(s);
    (void)id;
    assert_true(f->renewal_count < 16);
    f->renewals[f->renewal_count] = w;
    f->renewal_ttls[f->renewal_count++] = ttl;
}

static bool fake_time_to_live(struct service *s, int64_t id, struct service_lease *out,
                              void (*key)(void *data, struct slice key), void *data)
{
    struct fake *f = fake_of(s);
    *out = f->lease;
    out->id = id;
    if (key != NULL) {
        key(data, slice_str("k1"));
        key(data, slice_str("k2"));
    }
    return f->lease_known;
}

static void fake_lease_list(struct service *s, void (*lease)(void *data, int64_t id), void *data)
{
    (void)s;
    lease(data, 7);
    lease(data, 300);
}

static int fake_origin(struct service *s, struct slice key, int64_t revision, struct buf *out)
{
    (void)s;
    if (revision == 7) {
        buf_append_str(out, "hello");
    }
    return key.len == 0 ? ERR_EMPTY_KEY : revision > 8 ? ERR_NOT_FOUND : 0;
}

static void fake_job(struct fake *f, struct service_job *j, const char *name)
{
    f->job = j;
    snprintf(f->job_name, sizeof(f->job_name), "%s", name);
}

static void fake_compact(struct service *s, struct service_job *j, int64_t revision, bool physical)
{
    fake_of(s)->job_revision = revision;
    fake_of(s)->job_physical = physical;
    fake_job(fake_of(s), j, "compact");
}

static void fake_hash(struct service *s, struct service_job *j)
{
    fake_job(fake_of(s), j, "hash");
}

static void fake_hash_kv(struct service *s, struct service_job *j, int64_t revision)
{
    fake_of(s)->job_revision = revision;
    fake_job(fake_of(s), j, "hash_kv");
}

static void fake_defragment(struct service *s, struct service_job *j)
{
    fake_job(fake_of(s), j, "defragment");
}

static void fake_cancel_job(struct service *s, struct service_job *j)
{
    assert_ptr_equal(fake_of(s)->job, j);
    fake_of(s)->job = NULL;
    fake_of(s)->canceled++;
}

static void fake_txn_read(struct service *s, struct service_read *r, struct slice request,
                          bool serializable)
{
    fake_range(s, r, request, serializable);
}

static size_t fake_members(struct service *s, struct service_member *out, size_t max)
{
    static const char *const peers[] = {"http://localhost:2380"};
    static const char *const clients[] = {"http://localhost:2379", "http://10.0.0.1:2379"};
    (void)s;
    assert_true(max >= 1);
    out[0] = (struct service_member){.id = 0xabcdef,
                                     .name = "one",
                                     .peer_urls = peers,
                                     .peer_url_count = 1,
                                     .client_urls = clients,
                                     .client_url_count = 2};
    return 1;
}

/* ---- fixture -----------------------------------------------------------------------------------
 */

static int fake_setup(void **state)
{
    struct fake *f = mem_xzalloc(sizeof(*f));
    uv_loop_init(&f->loop);
    f->revision = 5;
    f->term = 3;
    f->has_leader = true;
    f->lease_known = true;
    f->service = (struct service){
        .impl = f,
        .ids = {.cluster_id = 0x1234, .member_id = 0x5678},
        .max_request_bytes = 1572864,
        .max_txn_ops = 128,
        .progress_notify_ms = 600000,
        .propose = fake_propose,
        .lease_grant = fake_lease_grant,
        .cancel_write = fake_cancel_write,
        .range = fake_range,
        .txn_read = fake_txn_read,
        .cancel_read = fake_cancel_read,
        .range_stream = fake_range_stream,
        .range_stream_resume = fake_stream_resume,
        .range_stream_cancel = fake_stream_cancel,
        .confirm = fake_confirm,
        .watch = fake_watch,
        .watch_cancel = fake_watch_cancel,
        .watch_resume = fake_watch_resume,
        .watch_synced = fake_watch_synced,
        .revision = fake_revision,
        .raft_term = fake_raft_term,
        .has_leader = fake_has_leader,
        .status = fake_status,
        .alarms = fake_alarms,
        .lease_keep_alive = fake_keep_alive,
        .lease_time_to_live = fake_time_to_live,
        .lease_list = fake_lease_list,
        .origin = fake_origin,
        .compact = fake_compact,
        .hash = fake_hash,
        .hash_kv = fake_hash_kv,
        .defragment = fake_defragment,
        .cancel_job = fake_cancel_job,
        .members = fake_members,
    };
    struct svc_options options = {
        .service = &f->service, .loop = &f->loop, .election_ms = 20, .slow_request_ms = 300};
    f->svc = svc_new(&options);
    assert_non_null(f->svc);
    *state = f;
    return 0;
}

static void fake_on_svc_closed(void *data)
{
    *(bool *)data = true;
}

static int fake_teardown(void **state)
{
    struct fake *f = *state;
    svc_close(f->svc, fake_on_svc_closed, &f->svc_closed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->svc_closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    buf_close(&f->request);
    buf_close(&f->alarms);
    mem_free(f);
    return 0;
}

/* ---- driving -----------------------------------------------------------------------------------
 */

static inline struct rpc_call *call_new(struct fake *f, const char *method)
{
    struct rpc_call *call = mem_xzalloc(sizeof(*call));
    call->svc = f->svc;
    for (const struct rpc_method *m = svc_methods(); m->service != NULL; m++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", m->service, m->method);
        if (strcmp(path, method) == 0) {
            call->method = m;
        }
    }
    assert_non_null(call->method);
    return call;
}

/* As the engine: nothing is delivered to a finished call. */
static inline void call_open(struct rpc_call *call)
{
    if (call->method->open != NULL) {
        call->method->open(call);
    }
}

static inline void call_message(struct rpc_call *call, struct slice bytes)
{
    if (!call->finished) {
        call->method->message(call, bytes);
    }
}

static inline void call_free(struct rpc_call *call)
{
    if (call->done != NULL) {
        call->done(call->produce_data);
    }
    svc_on_finished(call->svc, call->method, call->finished ? call->code : GRPC_CANCELED);
    if (call->method->closed != NULL) {
        call->method->closed(call);
    }
    for (size_t i = 0; i < call->count; i++) {
        buf_close(&call->out[i]);
    }
    mem_free(call);
}

/* Opens a call and sends one message, an encoded struct. */
static inline struct rpc_call *call_start(struct fake *f, const char *method, const void *msg)
{
    struct rpc_call *call = call_new(f, method);
    struct buf b = {0};
    assert_true(codec_encode(msg, &b));
    call_open(call);
    call_message(call, buf_slice(&b));
    buf_close(&b);
    return call;
}

static inline void call_send(struct rpc_call *call, const void *msg)
{
    struct buf b = {0};
    assert_true(codec_encode(msg, &b));
    call_message(call, buf_slice(&b));
    buf_close(&b);
}

/* Decodes message i of the call's answers into the test's arena. */
static struct arena fake_arena;
static inline void *call_answer(const struct rpc_call *call, size_t i,
                                const ProtobufCMessageDescriptor *type)
{
    void *msg = NULL;
    assert_true(i < call->count);
    assert_int_equal(codec_decode(type, buf_slice(&call->out[i]), &fake_arena, &msg), 0);
    return msg;
}

static inline void assert_error(const struct rpc_call *call, int err)
{
    assert_true(call->finished);
    assert_string_equal(call->text, err_text(err));
    assert_int_equal(call->code, err_grpc(err));
    assert_int_equal(call->count, 0);
}

static inline void assert_header(const Etcdserverpb__ResponseHeader *h, int64_t revision)
{
    assert_non_null(h);
    assert_int_equal(h->cluster_id, 0x1234);
    assert_int_equal(h->member_id, 0x5678);
    assert_int_equal(h->raft_term, 3);
    assert_int_equal(h->revision, revision);
}

#define BIN(text)                                          \
    {                                                      \
        .len = sizeof(text) - 1, .data = (uint8_t *)(text) \
    }

#endif
