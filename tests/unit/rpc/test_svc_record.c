/* test_svc_record.c - kvdpb.Record over a node that the test plays. */
#include "tests/unit/rpc/svc_fake.h"

#include "proto/kvd/record.pb-c.h"

static struct rpc_call *ask(struct fake *f, const char *key, int64_t revision)
{
    Kvdpb__OriginRequest r = KVDPB__ORIGIN_REQUEST__INIT;
    r.key = (ProtobufCBinaryData){.len = strlen(key), .data = (uint8_t *)key};
    r.revision = revision;
    return call_start(f, "kvdpb.Record/Origin", &r);
}

static void origins_are_told(void **state)
{
    struct fake *f = *state;
    static const char *const names[] = {"hello", ""};
    for (int64_t i = 0; i < 2; i++) {
        struct rpc_call *call = ask(f, "k", 7 + i);
        Kvdpb__OriginResponse *a = call_answer(call, 0, &kvdpb__origin_response__descriptor);
        assert_header(a->header, 5);
        assert_string_equal(a->plugin, names[i]);
        call_free(call);
    }
}

static void refusals(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = ask(f, "", 7);
    assert_error(call, ERR_EMPTY_KEY);
    call_free(call);
    call = ask(f, "k", 9);
    assert_true(call->finished);
    assert_int_equal(call->code, GRPC_NOT_FOUND);
    assert_string_equal(call->text, "kvd: that revision did not write the key");
    call_free(call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(origins_are_told, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(refusals, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
