/* test_output - answers as text: JSON of any bytes, field order, tables, sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "cli/output.h"

static struct buf out;

static ProtobufCBinaryData bytes_of(const char *text, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)text};
}
#define BYTES(text) bytes_of(text, sizeof(text) - 1)

static void printed(const char *want)
{
    assert_false(out.failed);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data, want, out.len);
    buf_clear(&out);
}

static const struct output simple = {.form = OUTPUT_SIMPLE};
static const struct output hex = {.form = OUTPUT_SIMPLE, .hex = true};
static const struct output json = {.form = OUTPUT_JSON};
static const struct output table = {.form = OUTPUT_TABLE};

static void keys_and_values_are_base64(void **state)
{
    (void)state;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__KeyValue *kvs[] = {&kv};
    Etcdserverpb__RangeResponse r = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    header.cluster_id = UINT64_MAX;
    header.member_id = 1;
    header.revision = INT64_MAX;
    r.header = &header;
    r.kvs = kvs;
    r.n_kvs = 1;
    r.count = 2;
    r.more = true;
    kv.key = BYTES("a\n\"\\\xff");
    kv.value = BYTES("\0\0");
    kv.version = -1;
    kv.lease = INT64_MIN;
    output_range(&json, &r, false, &out);
    printed("{\"header\":{\"cluster_id\":18446744073709551615,\"member_id\":1,"
            "\"revision\":9223372036854775807},\"kvs\":[{\"key\":\"YQoiXP8=\",\"version\":-1,"
            "\"value\":\"AAA=\",\"lease\":-9223372036854775808}],\"more\":true,\"count\":2}\n");
    output_range(&simple, &r, true, &out);
    assert_int_equal(out.len, 5 + 1 + 2 + 1 + 2);
    buf_clear(&out);
    output_range(&hex, &r, false, &out);
    printed("\\x61\\x0a\\x22\\x5c\\xff\n\\x00\\x00\n");
}

static void answers_without_a_header_are_no_crash(void **state)
{
    (void)state;
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    Etcdserverpb__TxnResponse txn = ETCDSERVERPB__TXN_RESPONSE__INIT;
    Etcdserverpb__ResponseOp op = ETCDSERVERPB__RESPONSE_OP__INIT;
    Etcdserverpb__ResponseOp *ops[] = {&op};
    Etcdserverpb__WatchResponse watch = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    Mvccpb__Event event = MVCCPB__EVENT__INIT;
    Mvccpb__Event *events[] = {&event};
    Etcdserverpb__LeaseGrantResponse grant = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;
    Etcdserverpb__StatusResponse status = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    const struct output_status one = {.endpoint = "e", .response = &status};
    output_put(&json, &put, &out);
    printed("{}\n");
    txn.responses = ops;
    txn.n_responses = 1;
    output_txn(&json, &txn, &out);
    printed("{\"responses\":[{\"Response\":{}}]}\n");
    output_txn(&simple, &txn, &out);
    printed("FAILURE\n\n");
    watch.events = events;
    watch.n_events = 1;
    event.type = (Mvccpb__Event__EventType)77;
    output_watch(&simple, &watch, &out);
    printed("PUT\n");
    output_watch(&json, &watch, &out);
    printed("{\"Header\":{},\"Events\":[{\"type\":77}],\"CompactRevision\":0,\"Canceled\":false,"
            "\"Created\":false}\n");
    grant.error = (char *)"no\n\"good\" \xff";
    output_lease_grant(&json, &grant, &out);
    printed("{\"ID\":0,\"TTL\":0,\"Error\":\"no\\n\\\"good\\\" \\ufffd\"}\n");
    output_statuses(&simple, &one, 1, &out);
    printed("e, 0, , , 0 B, 0 B, 0%, 0 B, true, false, 0, 0, 0, , , false\n");
    output_statuses(&json, &one, 1, &out);
    printed("[{\"Endpoint\":\"e\",\"Status\":{}}]\n");
}

static void texts_of_servers_are_escaped(void **state)
{
    (void)state;
    Etcdserverpb__MemberListResponse r = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__Member m = ETCDSERVERPB__MEMBER__INIT;
    Etcdserverpb__Member *members[] = {&m};
    char *urls[] = {(char *)"http://a", (char *)"http://b\x1b[2J"};
    r.members = members;
    r.n_members = 1;
    m.id = UINT64_MAX;
    m.name = (char *)"na\"me\x1b[31m\\";
    m.clienturls = urls;
    m.n_clienturls = 2;
    m.islearner = true;
    output_members(&json, &r, &out);
    printed("{\"members\":[{\"ID\":18446744073709551615,\"name\":\"na\\\"me\\u001b[31m\\\\\","
            "\"clientURLs\":[\"http://a\",\"http://b\\u001b[2J\"],\"isLearner\":true}]}\n");
    output_members(&simple, &r, &out);
    printed("ffffffffffffffff, started, na\"me\\x1b[31m\\, , http://a,http://b\\x1b[2J, true\n");
    const struct output hex_json = {.form = OUTPUT_JSON, .hex = true};
    m.name = (char *)"";
    m.n_clienturls = 0;
    output_members(&hex_json, &r, &out);
    printed("{\"members\":[{\"ID\":\"ffffffffffffffff\",\"isLearner\":true}]}\n");
    output_members(&simple, &r, &out);
    printed("ffffffffffffffff, unstarted, , , , true\n");
}

static void tables_are_as_wide_as_their_cells(void **state)
{
    (void)state;
    const struct output_hash none = {.endpoint = NULL};
    output_hashes(&table, &none, 0, &out);
    printed("+----------+------+---------------+\n"
            "| ENDPOINT | HASH | HASH_REVISION |\n"
            "+----------+------+---------------+\n"
            "+----------+------+---------------+\n");
    Etcdserverpb__HashKVResponse r = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    r.hash = UINT32_MAX;
    const struct output_hash one = {.endpoint = "h\xc3\xb6st\xff:2379", .response = &r};
    output_hashes(&table, &one, 1, &out);
    printed("+---------------+------------+---------------+\n"
            "|   ENDPOINT    |    HASH    | HASH_REVISION |\n"
            "+---------------+------------+---------------+\n"
            "| h\xc3\xb6st\\xff:2379 | 4294967295 |             0 |\n"
            "+---------------+------------+---------------+\n");
    /* A cell is cut at 1,023 bytes; the table stays one. */
    static char name[5000];
    memset(name, 'x', sizeof(name) - 1);
    const struct output_hash wide = {.endpoint = name, .response = &r};
    output_hashes(&table, &wide, 1, &out);
    assert_int_equal(out.len, 5 * (1023 + 2 + 1 + 12 + 1 + 15 + 1 + 2));
    buf_clear(&out);
}

static void sizes_round_like_etcdctl(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } rows[] = {{-1, "0 B"},
                {0, "0 B"},
                {9, "9 B"},
                {10, "10 B"},
                {999, "999 B"},
                {1000, "1.0 kB"},
                {1049, "1.0 kB"},
                {1050, "1.1 kB"},
                {20480, "20 kB"},
                {999949, "1000 kB"},
                {2147483648, "2.1 GB"},
                {INT64_MAX, "9.2 EB"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[32];
        output_size(rows[i].bytes, text, sizeof(text));
        assert_string_equal(text, rows[i].text);
    }
}

static void lease_keys_are_listed(void **state)
{
    (void)state;
    Etcdserverpb__LeaseTimeToLiveResponse r = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    ProtobufCBinaryData keys[] = {BYTES("a"), BYTES("b\xff")};
    r.id = -1;
    r.ttl = 5;
    r.grantedttl = 10;
    output_lease_time_to_live(&json, &r, true, &out);
    printed("{\"id\":-1,\"ttl\":5,\"granted-ttl\":10,\"keys\":null}\n");
    r.keys = keys;
    r.n_keys = 2;
    output_lease_time_to_live(&json, &r, true, &out);
    printed("{\"id\":-1,\"ttl\":5,\"granted-ttl\":10,\"keys\":[\"YQ==\",\"Yv8=\"]}\n");
    output_lease_time_to_live(&simple, &r, true, &out);
    printed(
        "lease ffffffffffffffff granted with TTL(10s), remaining(5s), attached keys([a b\xff])\n");
}

static void out_of_memory_marks_the_buffer(void **state)
{
    (void)state;
    Etcdserverpb__MemberListResponse r = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__Member m = ETCDSERVERPB__MEMBER__INIT;
    Etcdserverpb__Member *members[] = {&m};
    r.members = members;
    r.n_members = 1;
    const struct output *forms[] = {&simple, &json, &table};
    for (size_t i = 0; i < 3; i++) {
        int failures = 0;
        for (uint64_t n = 1;; n++) {
            buf_close(&out);
            mem_fail_after(n);
            output_members(forms[i], &r, &out);
            mem_fail_after(0);
            if (!out.failed) {
                break;
            }
            failures++;
        }
        assert_true(failures > 0);
    }
    buf_clear(&out);
}

static int close_out(void **state)
{
    (void)state;
    buf_close(&out);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, close_out)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_and_values_are_base64),     TEST(answers_without_a_header_are_no_crash),
        TEST(texts_of_servers_are_escaped),   TEST(tables_are_as_wide_as_their_cells),
        TEST(sizes_round_like_etcdctl),       TEST(lease_keys_are_listed),
        TEST(out_of_memory_marks_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
