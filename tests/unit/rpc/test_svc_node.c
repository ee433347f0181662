/* test_svc_node.c - Cluster, Maintenance, health and the not-yet methods over a fake node. */
#include "tests/unit/rpc/svc_fake.h"

#include "proto/etcd/auth.pb-c.h"
#include "proto/etcd/health.pb-c.h"
#include "rpc/version.h"

static void alarm_active(struct fake *f, uint64_t member, int type)
{
    wire_put_header(&f->alarms, 2, wire_uint_size(1, member) + wire_uint_size(2, (uint64_t)type));
    wire_put_uint(&f->alarms, 1, member);
    wire_put_uint(&f->alarms, 2, (uint64_t)type);
}

static void member_list(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__MemberListRequest r = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct rpc_call *call = call_start(f, "etcdserverpb.Cluster/MemberList", &r);
    Etcdserverpb__MemberListResponse *a =
        call_answer(call, 0, &etcdserverpb__member_list_response__descriptor);
    assert_header(a->header, 0); /* */
    assert_int_equal(a->n_members, 1);
    assert_int_equal(a->members[0]->id, 0xabcdef);
    assert_string_equal(a->members[0]->name, "one");
    assert_string_equal(a->members[0]->peerurls[0], "http://localhost:2380");
    assert_int_equal(a->members[0]->n_clienturls, 2);
    assert_string_equal(a->members[0]->clienturls[1], "http://10.0.0.1:2379");
    assert_null(f->read);
    call_free(call);

    r.linearizable = true;
    call = call_start(f, "etcdserverpb.Cluster/MemberList", &r);
    assert_true(f->confirming);
    assert_int_equal(call->count, 0);
    f->read->cb(f->read, 0, 9, slice_of(NULL, 0), 0, NULL, NULL, NULL);
    a = call_answer(call, 0, &etcdserverpb__member_list_response__descriptor);
    assert_header(a->header, 0);
    assert_int_equal(a->n_members, 1);
    call_free(call);

    call = call_start(f, "etcdserverpb.Cluster/MemberList", &r);
    f->read->cb(f->read, ERR_TIMEOUT, 0, slice_of(NULL, 0), 0, NULL, NULL, NULL);
    assert_error(call, ERR_TIMEOUT);
    call_free(call);
    f->read = NULL;
}

static void status(void **state)
{
    struct fake *f = *state;
    f->status = (struct service_status){.db_size = 20480,
                                        .db_size_in_use = 16384,
                                        .db_size_quota = 2147483648,
                                        .leader = 0x5678,
                                        .raft_index = 10,
                                        .raft_term = 3,
                                        .raft_applied_index = 9};
    alarm_active(f, 0x5678, 1);
    Etcdserverpb__StatusRequest r = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct rpc_call *call = call_start(f, "etcdserverpb.Maintenance/Status", &r);
    Etcdserverpb__StatusResponse *a =
        call_answer(call, 0, &etcdserverpb__status_response__descriptor);
    assert_header(a->header, 5);
    assert_string_equal(a->version, "3.8.0-alpha.0");
    assert_string_equal(a->storageversion, "3.8.0");
    assert_int_equal(a->dbsize, 20480);
    assert_int_equal(a->dbsizeinuse, 16384);
    assert_int_equal(a->dbsizequota, 2147483648);
    assert_int_equal(a->leader, 0x5678);
    assert_int_equal(a->raftindex, 10);
    assert_int_equal(a->raftappliedindex, 9);
    assert_int_equal(a->n_errors, 1);
    assert_string_equal(a->errors[0], "memberID:22136 alarm:NOSPACE");
    assert_non_null(a->downgradeinfo);
    /* The bytes are an encoder's. */
    struct buf again = {0};
    assert_true(codec_encode(a, &again));
    assert_true(slice_eq(buf_slice(&again), buf_slice(&call->out[0])));
    buf_close(&again);
    call_free(call);

    f->status.leader = 0;
    call = call_start(f, "etcdserverpb.Maintenance/Status", &r);
    a = call_answer(call, 0, &etcdserverpb__status_response__descriptor);
    assert_string_equal(a->errors[0], "etcdserver: no leader");
    call_free(call);
}

static void jobs(void **state)
{
    struct fake *f = *state;
    struct service_hash hash = {.hash = 0xcafe, .compact_revision = -1, .hash_revision = 5};
    Etcdserverpb__HashKVRequest r = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    r.revision = 5;
    struct rpc_call *call = call_start(f, "etcdserverpb.Maintenance/HashKV", &r);
    assert_int_equal(f->job_revision, 5);
    f->job->cb(f->job, 0, 7, &hash);
    Etcdserverpb__HashKVResponse *a =
        call_answer(call, 0, &etcdserverpb__hash_kvresponse__descriptor);
    assert_header(a->header, 7);
    assert_int_equal(a->hash, 0xcafe);
    assert_int_equal(a->compact_revision, -1); /* trap 1 */
    assert_int_equal(a->hash_revision, 5);
    call_free(call);

    call = call_start(f, "etcdserverpb.Maintenance/HashKV", &r);
    f->job->cb(f->job, ERR_FUTURE_REV, 0, NULL);
    assert_error(call, ERR_FUTURE_REV);
    call_free(call);

    Etcdserverpb__HashRequest plain = ETCDSERVERPB__HASH_REQUEST__INIT;
    call = call_start(f, "etcdserverpb.Maintenance/Hash", &plain);
    assert_string_equal(f->job_name, "hash");
    f->job->cb(f->job, 0, 7, &hash);
    Etcdserverpb__HashResponse *h = call_answer(call, 0, &etcdserverpb__hash_response__descriptor);
    assert_int_equal(h->hash, 0xcafe);
    assert_header(h->header, 7);
    call_free(call);

    Etcdserverpb__DefragmentRequest d = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    call = call_start(f, "etcdserverpb.Maintenance/Defragment", &d);
    assert_string_equal(f->job_name, "defragment");
    f->job->cb(f->job, 0, 7, NULL);
    assert_int_equal(call->count, 1);
    assert_int_equal(call->out[0].len, 0); /* no header at all: R-08 */
    assert_int_equal(call->code, 0);
    call_free(call);
}

static void alarm_is_proposed(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__AlarmRequest r = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct rpc_call *call = call_start(f, "etcdserverpb.Maintenance/Alarm", &r);
    assert_int_equal(f->op, SERVICE_ALARM);
    alarm_active(f, 3, 2);
    f->write->cb(f->write, 0, 5, buf_slice(&f->alarms));
    Etcdserverpb__AlarmResponse *a =
        call_answer(call, 0, &etcdserverpb__alarm_response__descriptor);
    assert_header(a->header, 5);
    assert_int_equal(a->n_alarms, 1);
    assert_int_equal(a->alarms[0]->memberid, 3);
    call_free(call);
}

static void health_service(void **state)
{
    struct fake *f = *state;
    Grpc__Health__V1__HealthCheckRequest r = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct rpc_call *call = call_start(f, "grpc.health.v1.Health/Check", &r);
    Grpc__Health__V1__HealthCheckResponse *a =
        call_answer(call, 0, &grpc__health__v1__health_check_response__descriptor);
    assert_int_equal(a->status, 1);
    call_free(call);
    r.service = (char *)"etcdserverpb.KV";
    call = call_start(f, "grpc.health.v1.Health/Check", &r);
    assert_int_equal(call->code, GRPC_NOT_FOUND);
    assert_string_equal(call->text, "unknown service");
    call_free(call);
    call = call_start(f, "grpc.health.v1.Health/Watch", &r);
    a = call_answer(call, 0, &grpc__health__v1__health_check_response__descriptor);
    assert_int_equal(a->status, 3);
    assert_false(call->finished);
    call_free(call);
    r.service = (char *)"";
    call = call_start(f, "grpc.health.v1.Health/Watch", &r);
    a = call_answer(call, 0, &grpc__health__v1__health_check_response__descriptor);
    assert_int_equal(a->status, 1);
    call_free(call);
    call = call_start(f, "grpc.health.v1.Health/List", &r);
    assert_memory_equal(call->out[0].data, "\x0a\x04\x12\x02\x08\x01", 6);
    call_free(call);
}

/* Each method of the contract's table has a row, and those without code say so by name. */
static void unimplemented_methods_say_so(void **state)
{
    struct fake *f = *state;
    static const char *const services[] = {"etcdserverpb.Auth", "v3lockpb.Lock",
                                           "v3electionpb.Election"};
    int rows = 0;
    int later = 0;
    for (const struct rpc_method *m = svc_methods(); m->service != NULL; m++) {
        rows++;
        bool named = false;
        for (size_t i = 0; i < 3; i++) {
            named |= strcmp(m->service, services[i]) == 0;
        }
        if (!named || strcmp(m->method, "AuthStatus") == 0) {
            continue;
        }
        later++;
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", m->service, m->method);
        struct rpc_call *call = call_new(f, path);
        call_open(call);
        call_message(call, slice_of(NULL, 0));
        char text[200];
        snprintf(text, sizeof(text), "kvd: %s/%s is not implemented yet, see docs/status.md",
                 strrchr(m->service, '.') + 1, m->method);
        assert_int_equal(call->code, GRPC_UNIMPLEMENTED);
        assert_string_equal(call->text, text);
        call_free(call);
    }
    assert_int_equal(rows, 6 + 1 + 5 + 5 + 8 + 17 + 2 + 5 + 3 + 7 +
                               1); /* table 1.1, our Plugin and Record */
    assert_int_equal(later, 16 + 2 + 5);

    Etcdserverpb__AuthStatusRequest r = ETCDSERVERPB__AUTH_STATUS_REQUEST__INIT;
    struct rpc_call *call = call_start(f, "etcdserverpb.Auth/AuthStatus", &r);
    Etcdserverpb__AuthStatusResponse *a =
        call_answer(call, 0, &etcdserverpb__auth_status_response__descriptor);
    assert_header(a->header, 5);
    assert_false(a->enabled);
    assert_int_equal(a->authrevision, 1);
    call_free(call);
}

/* ---- pages -------------------------------------------------------------------------------------
 */

static struct http_request *page(struct fake *f, const char *path, const char *query)
{
    struct http_request *req = mem_xzalloc(sizeof(*req));
    req->svc = f->svc;
    req->path = path;
    req->query = query;
    size_t len = strlen(path);
    for (const struct http_route *r = svc_routes(); r->path != NULL; r++) {
        size_t n = strlen(r->path);
        if (r->prefix ? strncmp(path, r->path, n) == 0 && len > n : strcmp(path, r->path) == 0) {
            r->handler(req);
            return req;
        }
    }
    fail_msg("no route for %s", path);
    return req;
}

static void read_done(struct fake *f, int err)
{
    struct service_read *r = f->read;
    assert_non_null(r);
    f->read = NULL;
    r->cb(r, err, 5, slice_of(NULL, 0), 0, NULL, NULL, NULL);
}

static void health_page(void **state)
{
    struct fake *f = *state;
    struct http_request *req = page(f, "/health", "");
    assert_false(req->answered);
    assert_false(f->serializable);
    /* The read is a valid one: it would pass the checks of a client's. */
    Etcdserverpb__RangeRequest *r;
    assert_int_equal(codec_decode(&etcdserverpb__range_request__descriptor, buf_slice(&f->request),
                                  &fake_arena, (void **)&r),
                     0);
    assert_int_equal(r->key.len, 1);
    assert_int_equal(r->limit, 1);
    assert_true(r->keys_only && !r->serializable);
    read_done(f, 0);
    assert_int_equal(req->status, 200);
    assert_string_equal(req->body, "{\"health\":\"true\",\"reason\":\"\"}");
    mem_free(req);

    req = page(f, "/health", "serializable=true");
    assert_true(f->serializable);
    read_done(f, ERR_TIMEOUT);
    assert_int_equal(req->status, 503);
    assert_string_equal(
        req->body,
        "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}\n");
    mem_free(req);

    f->has_leader = false;
    req = page(f, "/health", "");
    assert_string_equal(req->body, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    mem_free(req);
    alarm_active(f, 1, 1); /* alarms come before the leader */
    req = page(f, "/health", "exclude=CORRUPT");
    assert_string_equal(req->body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    mem_free(req);
    req = page(f, "/health", "exclude=CORRUPT&exclude=NOSPACE&serializable=true");
    assert_false(req->answered);
    req->closed(req); /* the prober gave up */
    assert_int_equal(f->canceled, 1);
    mem_free(req);
    assert_int_equal(f->svc->health_success, 1);
    assert_int_equal(f->svc->health_failures, 3);
}

static void livez_and_readyz(void **state)
{
    struct fake *f = *state;
    struct http_request *req = page(f, "/livez", "");
    assert_true(f->serializable);
    read_done(f, 0);
    assert_int_equal(req->status, 200);
    assert_string_equal(req->body, "ok\n");
    assert_string_equal(req->content_type, "text/plain; charset=utf-8");
    mem_free(req);

    req = page(f, "/readyz", "verbose");
    read_done(f, 0);
    read_done(f, 0);
    assert_string_equal(req->body, "[+]data_corruption ok\n[+]serializable_read ok\n"
                                   "[+]linearizable_read ok\n[+]non_learner ok\nok\n");
    mem_free(req);

    alarm_active(f, 1, 1); /* NOSPACE does not matter */
    alarm_active(f, 1, 2);
    f->status.is_learner = true;
    req = page(f, "/readyz", "");
    read_done(f, 0);
    read_done(f, ERR_LEADER_CHANGED);
    assert_int_equal(req->status, 503);
    assert_string_equal(req->body, "[-]data_corruption failed: alarm activated: CORRUPT\n"
                                   "[+]serializable_read ok\n"
                                   "[-]linearizable_read failed: etcdserver: leader changed\n"
                                   "[-]non_learner failed: not supported for learner\n\n");
    mem_free(req);

    req = page(f, "/readyz",
               "verbose&exclude=data_corruption&exclude=linearizable_read&exclude=nonsense");
    read_done(f, 0);
    assert_int_equal(req->status, 503);
    assert_string_equal(req->body, "[+]serializable_read ok\n"
                                   "[-]non_learner failed: not supported for learner\n\n");
    mem_free(req);

    req = page(f, "/readyz/data_corruption", "");
    assert_string_equal(req->body, "[-]data_corruption failed: alarm activated: CORRUPT\n\n");
    mem_free(req);
    req = page(f, "/livez/data_corruption", ""); /* not one of livez's */
    assert_int_equal(req->status, 404);
    mem_free(req);
    req = page(f, "/livez/serializable_read", "verbose");
    req->closed(req);
    assert_null(f->read);
    mem_free(req);
}

static void version_and_metrics(void **state)
{
    struct fake *f = *state;
    struct http_request *req = page(f, "/version", "");
    assert_string_equal(
        req->body,
        "{\"etcdserver\":\"3.8.0-alpha.0\",\"etcdcluster\":\"3.8.0\",\"storage\":\"3.8.0\"}");
    assert_string_equal(req->content_type, "application/json");
    mem_free(req);
    req = page(f, "/metrics", "");
    assert_int_equal(req->status, 200);
    mem_free(req);
    struct buf out = {0};
    svc_metrics_render(f->svc, &out);
    buf_append_byte(&out, 0);
    assert_non_null(strstr((char *)out.data,
                           "grpc_server_handled_total{grpc_code=\"Canceled\","
                           "grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\","
                           "grpc_type=\"bidi_stream\"} 0\n"));
    buf_close(&out);
    req = page(f, "/debug/vars", "");
    assert_int_equal(req->body[0], '{');
    mem_free(req);
}

static int teardown_arena(void **state)
{
    (void)state;
    arena_close(&fake_arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(member_list),       TEST(status),           TEST(jobs),
        TEST(alarm_is_proposed), TEST(health_service),   TEST(unimplemented_methods_say_so),
        TEST(health_page),       TEST(livez_and_readyz), TEST(version_and_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, teardown_arena);
}
