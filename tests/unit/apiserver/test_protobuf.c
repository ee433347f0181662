/* test_protobuf - protobuf into objects and back, against bytes that Kubernetes' own Go code wrote.
 */
#include "tests/unit/apiserver/fixture.h"

#include <stdlib.h>

#include "plugins/object/protobuf.h"

/* What Go's types make of a JSON text, and the bytes its serializer makes of them. */
static const struct {
    const char *name;
    enum schema_type_id type;
    const char *json;
    const char *hex;
} known[] = {
    {"pod", SCHEMA_CORE_V1_POD,
     "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"namespace\":\"d"
     "efault\",\"creationTimestamp\":\"2026-11-28T05:00:00Z\",\"labels\":{\"a\":\"1\",\"b\":"
     "\"2\"},\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name"
     "\":\"r\",\"uid\":\"u\",\"controller\":true,\"blockOwnerDeletion\":false}],\"managedFie"
     "lds\":[{\"manager\":\"m\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"time\":\"20"
     "26-11-28T05:00:01Z\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{\"f:x\":{}}"
     "}}]},\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"c\",\"items\":[{"
     "\"key\":\"k\",\"path\":\"p\",\"mode\":420}],\"optional\":false}},{\"name\":\"e\",\"emp"
     "tyDir\":{\"sizeLimit\":\"1Gi\"}}],\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ar"
     "gs\":[\"\",\"x\"],\"ports\":[{\"containerPort\":80}],\"env\":[{\"name\":\"E\",\"valueF"
     "rom\":{\"configMapKeyRef\":{\"name\":\"c\",\"key\":\"k\"}}}],\"resources\":{\"limits\""
     ":{\"cpu\":\"500m\",\"memory\":\"64Mi\"}},\"livenessProbe\":{\"httpGet\":{\"path\":\"/"
     "\",\"port\":\"http\"},\"periodSeconds\":3},\"readinessProbe\":{\"tcpSocket\":{\"port\""
     ":8080}},\"securityContext\":{\"runAsUser\":0}}],\"restartPolicy\":\"Never\",\"terminat"
     "ionGracePeriodSeconds\":0,\"nodeName\":\"n\",\"tolerations\":[{\"key\":\"k\",\"operato"
     "r\":\"Exists\",\"tolerationSeconds\":300}]},\"status\":{\"phase\":\"Running\",\"condit"
     "ions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitio"
     "nTime\":\"2026-11-28T05:00:00Z\"}],\"containerStatuses\":[{\"name\":\"c\",\"state\":{"
     "\"running\":{\"startedAt\":\"2026-11-28T05:00:00Z\"}},\"lastState\":{},\"ready\":true,"
     "\"restartCount\":0,\"image\":\"i\",\"imageID\":\"\",\"started\":true}]}}",
     "6b3873000a090a0276311203506f641282040a92010a017012001a0764656661756c7422"
     "002a0032003800420808d0bfa9d80610005a060a01611201315a060a01621201326a1f0a"
     "0a5265706c6963615365741a01722201752a07617070732f7631300138008a013e0a016d"
     "12065570646174651a027631220808d1bfa9d806100032084669656c647356313a170a15"
     "7b22663a73706563223a7b22663a78223a7b7d7d7d4200128b020a1a0a017612159a0112"
     "0a030a016312090a016b12017018a40320000a100a0165120b12090a0012050a03314769"
     "12a1010a016312016922002201782a00320a0a001000185022002a003a110a014512001a"
     "0a1a080a030a016312016b42210a0d0a0363707512060a043530306d0a100a066d656d6f"
     "727912060a0436344d6952210a1512130a012f120a080110001a04687474701a00220010"
     "0018002003280030005a190a0d1a0b0a07080010903f1a00120010001800200028003000"
     "6a0072007a022000800100880100900100a201001a054e657665722000320042004a0052"
     "016e5800600068008201008a01009a0100b201120a016b12064578697374731a00220028"
     "ac02c201001a5d0a0752756e6e696e67121f0a0552656164791204547275651a00220808"
     "d0bfa9d80610002a00320038001a0022002a00320042200a0163120c120a0a0808d0bfa9"
     "d80610001a00200128003201693a00420048014a005a0072008801001a002200"},
    {"deployment", SCHEMA_APPS_V1_DEPLOYMENT,
     "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"d\"},\"sp"
     "ec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":"
     "[{\"key\":\"x\",\"operator\":\"In\",\"values\":[\"1\",\"2\"]}]},\"template\":{\"metada"
     "ta\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\""
     "i\",\"resources\":{}}]}},\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{"
     "\"maxUnavailable\":\"25%\",\"maxSurge\":1}}},\"status\":{\"observedGeneration\":-1}}",
     "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412c8010a110a016412"
     "001a0022002a00320038004200129b01080012170a060a0161120162120d0a0178120249"
     "6e1a01311a01321a540a180a0012001a0022002a003200380042005a060a016112016212"
     "38121a0a01631201692a0042006a007200800100880100900100a201001a00320042004a"
     "0052005800600068008201008a01009a0100c2010022240a0d526f6c6c696e6755706461"
     "746512130a09080110001a033235251206080010011a00280038001a1508ffffffffffff"
     "ffffff01100018002000280038001a002200"},
    {"secret", SCHEMA_CORE_V1_SECRET,
     "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"},\"immutable\""
     ":false,\"data\":{\"empty\":\"\",\"k\":\"AAH/\"},\"type\":\"Opaque\"}",
     "6b3873000a0c0a027631120653656372657412320a110a017312001a0022002a00320038"
     "00420012090a05656d707479120012080a016b12030001ff1a064f706171756528001a00"
     "2200"},
    {"event", SCHEMA_EVENTS_V1_EVENT,
     "{\"kind\":\"Event\",\"apiVersion\":\"events.k8s.io/v1\",\"metadata\":{\"name\":\"e\","
     "\"namespace\":\"n\"},\"eventTime\":\"2026-11-28T05:00:00.123456Z\",\"series\":{\"count"
     "\":2,\"lastObservedTime\":\"2026-11-28T05:00:01.000001Z\"},\"reportingController\":\"c"
     "\",\"action\":\"a\",\"reason\":\"r\",\"regarding\":{\"kind\":\"Pod\",\"name\":\"p\"},"
     "\"type\":\"Normal\",\"deprecatedSource\":{},\"deprecatedFirstTimestamp\":null,\"deprec"
     "atedLastTimestamp\":null}",
     "6b3873000a190a106576656e74732e6b38732e696f2f763112054576656e7412650a120a"
     "016512001a016e22002a00320038004200120b08d0bfa9d806108094ef3a1a0d08021209"
     "08d1bfa9d80610e8072201632a003201613a017242120a03506f6412001a017022002a00"
     "32003a0052005a064e6f726d616c62040a0012006a00720078001a002200"},
    {"service", SCHEMA_CORE_V1_SERVICE,
     "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"},\"spec\":{\""
     "ports\":[{\"name\":\"h\",\"protocol\":\"TCP\",\"port\":80,\"targetPort\":\"web\"},{\"p"
     "ort\":81,\"targetPort\":0,\"nodePort\":30001}],\"selector\":{\"a\":\"b\"},\"clusterIPs"
     "\":[\"10.0.0.1\"],\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":10}},\"i"
     "nternalTrafficPolicy\":\"Cluster\"},\"status\":{\"loadBalancer\":{}}}",
     "6b3873000a0d0a02763112075365727669636512790a110a017312001a0022002a003200"
     "3800420012600a170a0168120354435018502209080110001a0377656228000a120a0012"
     "0018512206080010001a0028b1ea0112060a01611201621a0022003a00420052005a0060"
     "00680072040a02080a92010831302e302e302e31b20107436c75737465721a020a001a00"
     "2200"},
    {"review", SCHEMA_AUTHORIZATION_V1_SUBJECT_ACCESS_REVIEW,
     "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"metadat"
     "a\":{},\"spec\":{\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\"},\"use"
     "r\":\"u\",\"groups\":[\"g\",\"h\"],\"extra\":{\"x\":[\"1\",\"2\"]}},\"status\":{\"allo"
     "wed\":false}}",
     "6b3873000a2e0a17617574686f72697a6174696f6e2e6b38732e696f2f76311213537562"
     "6a656374416363657373526576696577124d0a100a0012001a0022002a00320038004200"
     "122f0a150a0012036765741a0022002a04706f647332003a001a01752201672201682a0b"
     "0a017812060a01310a013232001a08080012001a0020001a002200"},
    {"options", SCHEMA_META_V1_DELETE_OPTIONS,
     "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"apps/v1\",\"gracePeriodSeconds\":0,\"prec"
     "onditions\":{\"uid\":\"u\"},\"propagationPolicy\":\"Background\",\"dryRun\":[\"All\"]}",
     "6b3873000a180a07617070732f7631120d44656c6574654f7074696f6e73121808001203"
     "0a0175220a4261636b67726f756e642a03416c6c1a002200"},
};
#define KNOWN (sizeof known / sizeof known[0])

static struct slice from_hex(struct fixture *f, const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *bytes = arena_alloc(&f->arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return slice_of(bytes, n);
}

/* The object an envelope holds, with the kind and version it says. */
static int opened(struct fixture *f, struct slice bytes, enum schema_type_id type)
{
    struct protobuf_envelope p;
    int rc = protobuf_open(bytes, &p, &f->e);
    f->o = (struct object){.type = schema_type(type), .arena = &f->arena};
    rc = rc == 0 ? decode_protobuf(p.object, f->o.type, &f->arena, &f->o.root, &f->e) : rc;
    if (rc == 0) {
        assert_int_equal(object_set_text(&f->o, "kind", p.kind), 0);
        assert_int_equal(object_set_text(&f->o, "apiVersion", p.api_version), 0);
    }
    return rc;
}

static void print(struct fixture *f)
{
    buf_clear(&f->out);
    object_encode(&f->o, &f->out);
    buf_append_byte(&f->out, 0);
}

static void what_go_writes_is_read(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < KNOWN; i++) {
        struct object want = decoded(f, known[i].type, known[i].json);
        assert_int_equal(opened(f, from_hex(f, known[i].hex), known[i].type), 0);
        print(f);
        struct buf text;
        buf_init(&text);
        object_encode(&want, &text);
        buf_append_byte(&text, 0);
        assert_string_equal(f->out.data, text.data);
        buf_close(&text);
    }
}

/* Go writes what is zero, too: the bytes differ, what they say does not. */
static void what_we_write_says_the_same(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < KNOWN; i++) {
        struct object o = decoded(f, known[i].type, known[i].json);
        struct buf m;
        struct buf whole;
        buf_init(&m);
        buf_init(&whole);
        encode_protobuf(o.type, &o.root, &m);
        protobuf_wrap(object_text(&o, "apiVersion"), object_text(&o, "kind"), buf_slice(&m),
                      &whole);
        assert_false(whole.failed);
        assert_int_equal(opened(f, buf_slice(&whole), known[i].type), 0);
        assert_true(object_equal(&f->o, &o));
        buf_close(&m);
        buf_close(&whole);
    }
}

/* Every prefix and every changed byte is refused or read, with a sentence, within bounds. */
static void broken_bytes_are_refused(void **state)
{
    struct fixture *f = *state;
    size_t refused = 0;
    for (size_t i = 0; i < KNOWN; i++) {
        struct slice all = from_hex(f, known[i].hex);
        uint8_t *copy = mem_xzalloc(all.len);
        for (size_t n = 0; n < all.len; n++) {
            memcpy(copy, all.data, all.len);
            copy[n] ^= 0x55;
            f->e.text[0] = 0;
            struct slice cut = slice_of(all.data, n);
            refused += opened(f, cut, known[i].type) != 0 && f->e.text[0] != 0;
            (void)opened(f, slice_of(copy, all.len), known[i].type);
        }
        mem_free(copy);
    }
    assert_true(refused > 100);
}

static int decode_hex(struct fixture *f, enum schema_type_id type, const char *hex)
{
    f->o = (struct object){.type = schema_type(type), .arena = &f->arena};
    return decode_protobuf(from_hex(f, hex), f->o.type, &f->arena, &f->o.root, &f->e);
}

static void single_rules(void **state)
{
    struct fixture *f = *state;
    /* Unknown fields of every wire type, then metadata.name: skipped. */
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_SECRET,
                                "f80705f907000000000000000"
                                "0fa0702abcdfd07000000000a030a0173"),
                     0);
    assert_true(slice_eq(object_text(&f->o, "metadata.name"), slice_str("s")));
    /* A group, a tag of field 0, an endless varint, a length beyond the end. */
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_SECRET, "0b0c"), ERR_INVALID);
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_SECRET, "0200"), ERR_INVALID);
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_SECRET, "ffffffffffffffffffff7f"), ERR_INVALID);
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_SECRET, "0aff01"), ERR_INVALID);
    assert_string_equal(f->e.text, "protobuf: a Secret is cut short or no message");
    /* A text that is no UTF-8, a number where a text belongs. */
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_SECRET, "0a030a01ff"), ERR_INVALID);
    assert_string_equal(f->e.text, "protobuf: field name: the text is no UTF-8");
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_SECRET, "0a020801"), ERR_INVALID);
    assert_string_equal(f->e.text, "protobuf: field name: another type on the wire");
    /* No envelope. */
    assert_int_equal(opened(f, slice_str("{}"), SCHEMA_CORE_V1_SECRET), ERR_INVALID);
    assert_non_null(strstr(f->e.text, "does not appear to be a protobuf message"));
    /* An entry of a map without a value. */
    assert_int_equal(decode_hex(f, SCHEMA_CORE_V1_CONFIG_MAP, "12030a016b"), 0);
    print(f);
    assert_non_null(strstr((char *)f->out.data, "\"data\":{\"k\":\"\"}"));
}

static void depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    /* securityContext... there is no kind that nests without end: raw JSON does. */
    char json[600];
    memset(json, '[', sizeof json);
    struct buf raw;
    struct buf field;
    struct buf meta;
    buf_init(&raw);
    buf_init(&field);
    buf_init(&meta);
    const uint8_t head[] = {0x0a, 0xd8, 0x04}; /* raw, 600 bytes */
    buf_append(&raw, head, sizeof head);
    buf_append(&raw, json, sizeof json);
    buf_append_byte(&field, 0x3a); /* fieldsV1 of an entry */
    buf_append_varint(&field, raw.len);
    buf_append_slice(&field, buf_slice(&raw));
    assert_int_equal(decode_protobuf(buf_slice(&field),
                                     schema_type(SCHEMA_META_V1_MANAGED_FIELDS_ENTRY), &f->arena,
                                     &f->o.root, &f->e),
                     ERR_INVALID);
    assert_non_null(strstr(f->e.text, "fieldsV1"));
    buf_close(&raw);
    buf_close(&field);
    buf_close(&meta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_go_writes_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_we_write_says_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_bytes_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(single_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(depth_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests_name("object/protobuf", tests, NULL, NULL);
}
