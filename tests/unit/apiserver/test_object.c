/* test_object - decoding and encoding objects, their messages, access by path. */
#include "plugins/object/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/limits.h"
#include "plugins/object/encode.h"

struct fixture {
    struct arena arena;
    struct errmsg e;
    struct decode_report report;
    struct object o;
    struct buf out;
};

static int setup(void **state)
{
    struct fixture *f = mem_xzalloc(sizeof *f);
    arena_init(&f->arena, 0);
    buf_init(&f->out);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_close(&f->arena);
    buf_close(&f->out);
    mem_free(f);
    return 0;
}

static int decode(struct fixture *f, enum schema_type_id type, const char *json)
{
    f->e.text[0] = 0;
    return object_decode(&f->o, schema_type(type), &f->arena, slice_str(json), &f->report, &f->e);
}

static const char *encoded(struct fixture *f)
{
    buf_clear(&f->out);
    object_encode(&f->o, &f->out);
    buf_append_byte(&f->out, 0);
    assert_false(f->out.failed);
    return (const char *)f->out.data;
}

#define ASSERT_ENCODES(f, type, from, to)                 \
    do {                                                  \
        assert_int_equal(decode((f), (type), (from)), 0); \
        assert_string_equal(encoded(f), (to));            \
    } while (0)

#define ASSERT_REFUSED(f, type, json, message)                      \
    do {                                                            \
        assert_int_equal(decode((f), (type), (json)), ERR_INVALID); \
        assert_string_equal((f)->e.text, (message));                \
    } while (0)

#define ASSERT_COMPLAINS(f, type, json, message)               \
    do {                                                       \
        assert_int_equal(decode((f), (type), (json)), 0);      \
        buf_clear(&(f)->out);                                  \
        decode_report_text(&(f)->report, &(f)->out);           \
        buf_append_byte(&(f)->out, 0);                         \
        assert_string_equal((char *)(f)->out.data, (message)); \
    } while (0)

/* Fields come out in the schema's order, maps sorted, structs even when empty. */
static void json_has_the_schemas_order_and_rules(void **state)
{
    struct fixture *f = *state;
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_CONFIG_MAP,
                   "{\"data\":{\"b\":\"2\",\"a\":\"1\"},\"metadata\":{\"namespace\":\"d\",\"name\":"
                   "\"x\"},\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\"}",
                   "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\","
                   "\"namespace\":\"d\"},\"data\":{\"a\":\"1\",\"b\":\"2\"}}");
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_NAMESPACE, "{}",
                   "{\"metadata\":{},\"spec\":{},\"status\":{}}");
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}",
                   "{\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{}}]},"
                   "\"status\":{}}");
    ASSERT_ENCODES(f, SCHEMA_APPS_V1_DEPLOYMENT, "{}",
                   "{\"metadata\":{},\"spec\":{\"selector\":null,\"template\":{\"metadata\":{},"
                   "\"spec\":{\"containers\":null}},\"strategy\":{}},\"status\":{}}");
    /* Zero and absent differ for pointers only; times that are unset are null. */
    ASSERT_ENCODES(f, SCHEMA_APPS_V1_REPLICA_SET_SPEC,
                   "{\"replicas\":0,\"minReadySeconds\":0,\"selector\":{}}",
                   "{\"replicas\":0,\"selector\":{},\"template\":{\"metadata\":{},\"spec\":{"
                   "\"containers\":null}}}");
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_POD_CONDITION, "{\"type\":\"Ready\",\"status\":\"True\"}",
                   "{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":null,"
                   "\"lastTransitionTime\":null}");
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_SERVICE_PORT, "{\"port\":80,\"targetPort\":\"web\"}",
                   "{\"port\":80,\"targetPort\":\"web\"}");
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_SERVICE_PORT, "{\"port\":80}",
                   "{\"port\":80,\"targetPort\":0}");
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_CONTAINER, "{\"name\":\"c\",\"command\":[],\"args\":null}",
                   "{\"name\":\"c\",\"resources\":{}}");
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_ENDPOINTS, "{\"subsets\":[null,{\"ports\":[{\"port\":1}]}]}",
                   "{\"metadata\":{},\"subsets\":[{},{\"ports\":[{\"port\":1}]}]}");
}

/* The message a field is inlined from does not show. */
static void inlined_fields_are_flat(void **state)
{
    struct fixture *f = *state;
    const char *json = "{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}";
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_VOLUME, json, json);
    json = "{\"name\":\"s\",\"key\":\"k\"}";
    ASSERT_ENCODES(f, SCHEMA_CORE_V1_SECRET_KEY_SELECTOR, json, json);
}

static void values_have_their_canonical_form(void **state)
{
    struct fixture *f = *state;
    ASSERT_ENCODES(
        f, SCHEMA_CORE_V1_RESOURCE_REQUIREMENTS,
        "{\"limits\":{\"memory\":\"1024Mi\",\"cpu\":0.5},\"requests\":{\"cpu\":2}}",
        "{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"2\"}}");
    ASSERT_ENCODES(
        f, SCHEMA_CORE_V1_TAINT,
        "{\"key\":\"k\",\"effect\":\"NoExecute\",\"timeAdded\":\"2024-02-29T23:59:59.5+01:00\"}",
        "{\"key\":\"k\",\"effect\":\"NoExecute\",\"timeAdded\":\"2024-02-29T22:59:59Z\"}");
    ASSERT_ENCODES(f, SCHEMA_COORDINATION_V1_LEASE_SPEC,
                   "{\"renewTime\":\"2024-01-02T03:04:05.123456Z\"}",
                   "{\"renewTime\":\"2024-01-02T03:04:05.123456Z\"}");
    ASSERT_ENCODES(
        f, SCHEMA_CORE_V1_SECRET,
        "{\"data\":{\"a\":\"aGk=\",\"b\":\"\",\"c\":\"/+8A\",\"d\":null}}",
        "{\"metadata\":{},\"data\":{\"a\":\"aGk=\",\"b\":\"\",\"c\":\"/+8A\",\"d\":\"\"}}");
    ASSERT_ENCODES(f, SCHEMA_META_V1_MANAGED_FIELDS_ENTRY,
                   "{\"fieldsV1\": { \"f:a b\" : { } , \"x\\\"y\":[1, 2] } }",
                   "{\"fieldsV1\":{\"f:a b\":{},\"x\\\"y\":[1,2]}}");
    ASSERT_ENCODES(f, SCHEMA_AUTHENTICATION_V1_USER_INFO, "{\"extra\":{\"k\":[\"a\",\"b\"]}}",
                   "{\"extra\":{\"k\":[\"a\",\"b\"]}}");
}

static void texts_are_escaped_as_go_does(void **state)
{
    struct fixture *f = *state;
    ASSERT_ENCODES(
        f, SCHEMA_META_V1_STATUS_CAUSE,
        "{\"message\":\"<a>&\\u0001\\b\\f\\n\\r\\t\\\"\\\\\\/\\u00e9\\ud83d\\ude00\\u2028\"}",
        "{\"message\":\"\\u003ca\\u003e\\u0026\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\xc3\xa9"
        "\xf0\x9f\x98\x80\\u2028\"}");
    /* Half a pair, and bytes that are not UTF-8, become the replacement character. */
    ASSERT_ENCODES(f, SCHEMA_META_V1_STATUS_CAUSE, "{\"message\":\"\\ud83dx\\udc00\"}",
                   "{\"message\":\"\xef\xbf\xbdx\xef\xbf\xbd\"}");
    ASSERT_ENCODES(
        f, SCHEMA_META_V1_STATUS_CAUSE,
        "{\"message\":\"a\xff\xfe\\\"\xc3\xa9\xc3\",\"field\":\"x\"}",
        "{\"message\":\"a\xef\xbf\xbd\xef\xbf\xbd\\\"\xc3\xa9\xef\xbf\xbd\",\"field\":\"x\"}");
}

static void wrong_types_are_told_as_go_tells_them(void **state)
{
    struct fixture *f = *state;
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"terminationGracePeriodSeconds\":\"30\"}}",
                   "json: cannot unmarshal string into Go struct field "
                   "PodSpec.spec.terminationGracePeriodSeconds of type int64");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"containers\":[{\"command\":[1]}]}}",
                   "json: cannot unmarshal number into Go struct field "
                   "Container.spec.containers.command of type string");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"containers\":{}}}",
                   "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of "
                   "type []v1.Container");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"metadata\":{\"labels\":{\"a\":true}}}",
                   "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of "
                   "type string");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD, "{\"metadata\":{\"labels\":[]}}",
        "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of "
        "type map[string]string");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"affinity\":3}}",
                   "json: cannot unmarshal number into Go struct field PodSpec.spec.affinity of "
                   "type v1.Affinity");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"dnsPolicy\":3}}",
                   "json: cannot unmarshal number into Go struct field PodSpec.spec.dnsPolicy of "
                   "type v1.DNSPolicy");
    ASSERT_REFUSED(
        f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"priority\":1.5}}",
        "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of "
        "type int32");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"spec\":{\"priority\":3000000000}}",
                   "json: cannot unmarshal number 3000000000 into Go struct field "
                   "PodSpec.spec.priority of type int32");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "[]",
                   "json: cannot unmarshal array into Go value of type v1.Pod");
    /* The first one counts, and a syntax error before all. */
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"kind\":1,\"apiVersion\":2}",
                   "json: cannot unmarshal number into Go struct field Pod.kind of type string");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, "{\"kind\":1,}",
                   "invalid character '}' looking for beginning of object key string");
    /* Types that read themselves have sentences of their own. */
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_RESOURCE_REQUIREMENTS, "{\"limits\":{\"cpu\":\"1 core\"}}",
                   "quantities must match the regular expression "
                   "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_RESOURCE_REQUIREMENTS, "{\"limits\":{\"cpu\":\"1Kk\"}}",
                   "unable to parse quantity's suffix");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_SECRET, "{\"data\":{\"a\":\"a$b=\"}}",
                   "illegal base64 data at input byte 1");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_TAINT, "{\"timeAdded\":\"yesterday\"}",
                   "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse "
                   "\"yesterday\" as \"2006\"");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_TAINT, "{\"timeAdded\":\"2023-02-29T00:00:00Z\"}",
                   "parsing time \"2023-02-29T00:00:00Z\": day out of range");
    ASSERT_REFUSED(f, SCHEMA_CORE_V1_SERVICE_PORT, "{\"targetPort\":true}",
                   "json: cannot unmarshal bool into Go value of type int32");
}

static void syntax_errors_are_told_as_go_tells_them(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"", "unexpected end of JSON input"},
        {"{", "unexpected end of JSON input"},
        {"{\"kind\":\"a", "unexpected end of JSON input"},
        {"x", "invalid character 'x' looking for beginning of value"},
        {"{kind:1}", "invalid character 'k' looking for beginning of object key string"},
        {"{\"kind\" 1}", "invalid character '1' after object key"},
        {"{\"kind\":\"a\" \"b\"}", "invalid character '\"' after object key:value pair"},
        {"{\"x\":[1 2]}", "invalid character '2' after array element"},
        {"{\"kind\":\"a\nb\"}", "invalid character '\\n' in string literal"},
        {"{\"kind\":\"\\x\"}", "invalid character 'x' in string escape code"},
        {"{\"kind\":\"\\u00g0\"}", "invalid character 'g' in \\u hexadecimal character escape"},
        {"{\"x\":tru}", "invalid character '}' in literal true (expecting 'e')"},
        {"{\"x\":-}", "invalid character '}' in numeric literal"},
        {"{\"x\":1.}", "invalid character '}' after decimal point in numeric literal"},
        {"{\"x\":tr", "invalid character ' ' in literal true (expecting 'u')"},
        {"{\"x\":\"\\", "invalid character ' ' in string escape code"},
        {"{\"x\":1e}", "invalid character '}' in exponent of numeric literal"},
        {"{} {}", "invalid character '{' after top-level value"},
        {"{\"kind\":'a'}", "invalid character '\\'' looking for beginning of value"},
        {"\xc3\xa9", "invalid character '\xc3\x83' looking for beginning of value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ASSERT_REFUSED(f, SCHEMA_CORE_V1_POD, cases[i][0], cases[i][1]);
    }
    assert_int_equal(object_decode(&f->o, schema_type(SCHEMA_CORE_V1_POD), &f->arena,
                                   slice_of("{}\0", 3), NULL, &f->e),
                     ERR_INVALID);
    assert_string_equal(f->e.text, "invalid character '\\x00' after top-level value");
}

static void unknown_and_duplicate_fields_are_reported(void **state)
{
    struct fixture *f = *state;
    ASSERT_COMPLAINS(f, SCHEMA_CORE_V1_POD,
                     "{\"foo\":{\"bar\":1},\"spec\":{\"foo\":1,\"containers\":[{\"name\":\"a\"},"
                     "{\"name\":\"b\",\"imag\":\"x\",\"name\":\"c\"}]}}",
                     "strict decoding error: unknown field \"foo\", unknown field \"spec.foo\", "
                     "unknown field \"spec.containers[1].imag\", duplicate field "
                     "\"spec.containers[1].name\"");
    assert_string_equal(
        encoded(f), "{\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{}"
                    "},{\"name\":\"c\",\"resources\":{}}]},\"status\":{}}");
    ASSERT_COMPLAINS(f, SCHEMA_CORE_V1_POD,
                     "{\"metadata\":{\"labels\":{\"b\":\"1\",\"a\":\"2\",\"b\":\"3\"}}}",
                     "strict decoding error: duplicate field \"metadata.labels.b\"");
    assert_string_equal(encoded(f),
                        "{\"metadata\":{\"labels\":{\"a\":\"2\",\"b\":\"3\"}},\"spec\":{"
                        "\"containers\":null},\"status\":{}}");
    /* Names are case-sensitive; the same complaint comes once. */
    ASSERT_COMPLAINS(f, SCHEMA_CORE_V1_POD, "{\"Kind\":\"Pod\",\"Kind\":\"Pod\"}",
                     "strict decoding error: unknown field \"Kind\"");
}

static void depth_and_size_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct buf deep;
    buf_init(&deep);
    buf_append_str(&deep, "{\"x\":");
    for (int i = 0; i < 100000; i++) {
        buf_append_byte(&deep, '[');
    }
    assert_int_equal(object_decode(&f->o, schema_type(SCHEMA_CORE_V1_POD), &f->arena,
                                   buf_slice(&deep), NULL, &f->e),
                     ERR_TOO_DEEP);
    struct value v;
    assert_int_equal(decode_json(buf_slice(&deep), NULL, &f->arena, &v, NULL, &f->e), ERR_TOO_DEEP);
    buf_clear(&deep);
    while (deep.len <= OBJECT_BYTES_MAX) {
        buf_append_str(&deep, "          ");
    }
    assert_int_equal(decode_json(buf_slice(&deep), NULL, &f->arena, &v, NULL, &f->e),
                     ERR_REQUEST_TOO_LARGE);
    buf_close(&deep);
}

/* Without a schema any JSON is a tree, numbers as Go shows them. */
static void untyped_trees_keep_everything(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"{\"b\":[1,-2,9223372036854775807,null,true],\"a\":{\"x\":\"y\"}}",
         "{\"a\":{\"x\":\"y\"},\"b\":[1,-2,9223372036854775807,null,true]}"},
        {"[1.5,1.0,1e3,1e21,1e-7,0.000001,-0.1,9223372036854775808,123456789.125]",
         "[1.5,1,1000,1e+21,1e-7,0.000001,-0.1,9223372036854775808,123456789.125]"},
        {" \"x\" ", "\"x\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct value v;
        assert_int_equal(decode_json(slice_str(cases[i][0]), NULL, &f->arena, &v, NULL, &f->e), 0);
        buf_clear(&f->out);
        encode_json(NULL, &v, &f->out);
        buf_append_byte(&f->out, 0);
        assert_string_equal((char *)f->out.data, cases[i][1]);
    }
}

static void paths_read_and_write(void **state)
{
    struct fixture *f = *state;
    struct object *o = &f->o;
    struct value *made;
    assert_int_equal(object_new(o, schema_type(SCHEMA_APPS_V1_DEPLOYMENT), &f->arena), 0);
    assert_true(slice_eq(object_text(o, "apiVersion"), slice_str("apps/v1")));
    assert_int_equal(object_int(o, "spec.replicas", 7), 7);
    assert_int_equal(object_set_int(o, "spec.replicas", 3), 0);
    assert_int_equal(object_int(o, "spec.replicas", 7), 3);
    assert_int_equal(object_set_str(o, "metadata.name", "web"), 0);
    assert_int_equal(object_set_str(o, "metadata.labels[app.kubernetes.io/name]", "x"), 0);
    assert_int_equal(object_set_str(o, "metadata.labels[a]", "y"), 0);
    assert_true(
        slice_eq(object_text(o, "metadata.labels[app.kubernetes.io/name]"), slice_str("x")));
    assert_int_equal(
        object_append(o, "spec.template.spec.containers", value_empty(VALUE_MESSAGE), &made), 0);
    assert_int_equal(object_set_str(o, "spec.template.spec.containers[0].image", "i"), 0);
    assert_int_equal(
        object_set_str(o, "spec.template.spec.containers[0].resources.limits[cpu]", "1"), 0);
    struct quantity q;
    assert_true(object_quantity(o, "spec.template.spec.containers[0].resources.limits[cpu]", &q));
    assert_int_equal(quantity_millis(&q), 1000);
    assert_int_equal(object_set_bool(o, "spec.paused", true), 0);
    /* What the schema does not have is refused and changes nothing. */
    assert_int_equal(object_set_int(o, "spec.nothing", 1), ERR_INVALID);
    assert_int_equal(object_set_int(o, "spec.paused", 1), ERR_INVALID);
    assert_int_equal(object_set_int(o, "spec.replicas", (int64_t)1 << 40), ERR_INVALID);
    assert_int_equal(object_set_str(o, "spec.template.spec.containers[1].image", "i"), ERR_INVALID);
    assert_null(object_get(o, "spec.template.spec.containers[1]"));
    assert_null(object_get(o, "spec.replicas.x"));
    object_remove(o, "metadata.labels[a]");
    object_remove(o, "spec.paused");
    object_remove(o, "spec.nothing.at.all");
    assert_string_equal(
        encoded(f),
        "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"web\","
        "\"labels\":{\"app.kubernetes.io/name\":\"x\"}},\"spec\":{\"replicas\":3,\"selector\":null,"
        "\"template\":{\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"\",\"image\":\"i\","
        "\"resources\":{\"limits\":{\"cpu\":\"1\"}}}]}},\"strategy\":{}},\"status\":{}}");
}

static void copies_are_equal_and_independent(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        decode(f, SCHEMA_CORE_V1_POD,
               "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\"}},\"spec\":{"
               "\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":80}]}]}}"),
        0);
    struct arena other;
    arena_init(&other, 0);
    struct object copy;
    assert_int_equal(object_copy(&f->o, &other, &copy), 0);
    assert_true(object_equal(&f->o, &copy));
    assert_int_equal(object_set_int(&copy, "spec.containers[0].ports[0].containerPort", 81), 0);
    assert_false(object_equal(&f->o, &copy));
    assert_int_equal(object_int(&f->o, "spec.containers[0].ports[0].containerPort", 0), 80);
    assert_int_equal(object_set_int(&copy, "spec.containers[0].ports[0].containerPort", 80), 0);
    assert_true(object_equal(&f->o, &copy));
    /* Empty and absent are one, but for pointers. */
    struct value *made;
    assert_int_equal(object_make(&copy, "spec.tolerations", &made), 0);
    assert_int_equal(object_make(&copy, "status", &made), 0);
    assert_int_equal(object_set_str(&copy, "spec.nodeName", ""), 0);
    assert_true(object_equal(&f->o, &copy));
    assert_int_equal(object_make(&copy, "spec.affinity", &made), 0);
    assert_false(object_equal(&f->o, &copy));
    arena_close(&other);
}

/* Every allocation of a decoding may fail; nothing leaks, and the next attempt works. */
/* Who only looks at objects leaves managedFields out, wherever they are; broken ones are still
 * refused. */
static void lean_objects_have_no_managed_fields(void **state)
{
    struct fixture *f = *state;
    static const char pods[] =
        "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"metadata\":{\"name\":\"a\","
        "\"managedFields\":[{\"manager\":\"m\",\"fieldsV1\":{\"f:a\":{\"x\":[1,\"]\"]}}}],"
        "\"labels\":{\"managedFields\":\"mine\"}},\"spec\":{\"nodeName\":\"n\"}}]}";
    const struct schema_type *list = schema_type(SCHEMA_CORE_V1_POD_LIST);
    assert_int_equal(object_decode_lean(&f->o, list, &f->arena, slice_str(pods), &f->e), 0);
    assert_null(object_get(&f->o, "items[0].metadata.managedFields"));
    assert_true(
        slice_eq(object_text(&f->o, "items[0].metadata.labels[managedFields]"), slice_str("mine")));
    assert_true(slice_eq(object_text(&f->o, "items[0].spec.nodeName"), slice_str("n")));
    assert_int_equal(decode(f, SCHEMA_CORE_V1_POD_LIST, pods), 0);
    assert_non_null(object_get(&f->o, "items[0].metadata.managedFields"));
    static const char broken[] = "{\"metadata\":{\"managedFields\":[{\"manager\" 1}]}}";
    assert_int_equal(object_decode_lean(&f->o, schema_type(SCHEMA_CORE_V1_POD), &f->arena,
                                        slice_str(broken), &f->e),
                     ERR_INVALID);
}

/* Only some fields of some types: the others are skipped, wherever they are, and still JSON. */
static void some_fields_are_enough(void **state)
{
    struct fixture *f = *state;
    struct decode_kept kept[2] = {{.type = schema_type(SCHEMA_META_V1_OBJECT_META)},
                                  {.type = schema_type(SCHEMA_CORE_V1_CONTAINER)}};
    struct decode_keep keep = {kept, 2};
    decode_keep_field(&kept[0], "name");
    decode_keep_field(&kept[1], "image");
    decode_keep_field(&kept[1], "nothing");
    static const char pod[] = "{\"metadata\":{\"labels\":{\"a\":\"\\\"}\"},\"name\":\"n\","
                              "\"generation\":\"wrong\"},\"spec\":{"
                              "\"nodeName\":\"x\",\"containers\":[{\"name\":\"c\",\"env\":[{"
                              "\"name\":\"e\"}],\"image\":\"i\"}]}}";
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD);
    assert_int_equal(object_decode_some(&f->o, t, &keep, &f->arena, slice_str(pod), &f->e), 0);
    assert_string_equal(encoded(f),
                        "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"\","
                        "\"image\":\"i\",\"resources\":{}}],\"nodeName\":\"x\"},\"status\":{}}");
    static const char *const broken[] = {
        "{\"metadata\":{\"labels\":{\"a\" 1}}}", "{\"metadata\":{\"labels\":{\"a\":\"1}}}",
        "{\"metadata\":{\"labels\":\"\\x\"}}", "{\"metadata\":{\"labels\":[1,]}}",
        "{\"metadata\":{\"labels\":\"\1\"}}"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_int_equal(
            object_decode_some(&f->o, t, &keep, &f->arena, slice_str(broken[i]), &f->e),
            ERR_INVALID);
    }
}

/* Paths say what is wanted; of types for which there is no room everything is. */
static void paths_say_what_is_wanted(void **state)
{
    struct fixture *f = *state;
    static const char pod[] =
        "{\"metadata\":{\"name\":\"n\",\"uid\":\"u\"},\"spec\":{\"nodeName\":\"x\","
        "\"hostname\":\"h\"},\"status\":{\"phase\":\"Running\",\"hostIP\":\"1.2.3.4\"}}";
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD);
    for (size_t max = 0; max < 5; max++) {
        struct decode_kept kept[4];
        size_t count = 0;
        decode_keep_path(kept, max, &count, t, slice_str("metadata.name"));
        decode_keep_path(kept, max, &count, t, slice_str("spec.nodeName"));
        decode_keep_path(kept, max, &count, t, slice_str("spec.nothing.at.all"));
        decode_keep_path(kept, max, &count, t, slice_str("metadata.name.more"));
        assert_int_equal(count, max < 3 ? max : 3);
        struct decode_keep keep = {kept, count};
        assert_int_equal(object_decode_some(&f->o, t, &keep, &f->arena, slice_str(pod), &f->e), 0);
        assert_true(slice_eq(object_text(&f->o, "metadata.name"), slice_str("n")));
        assert_true(slice_eq(object_text(&f->o, "spec.nodeName"), slice_str("x")));
        assert_int_equal(object_get(&f->o, "status") != NULL, max < 1);
        assert_int_equal(object_get(&f->o, "metadata.uid") != NULL, max < 2);
        assert_int_equal(object_get(&f->o, "spec.hostname") != NULL, max < 3);
    }
}

/* Texts are looked at eight bytes at a time: what needs care is found at every place. */
static void texts_are_read_wherever_marks_are(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *mark, *means; /* NULL: an error */
    } marks[] = {{"\\n", "\n"},
                 {"\\\"", "\""},
                 {"\\\\", "\\"},
                 {"\xc3\xa9", "\xc3\xa9"},
                 {"\\u0041", "A"},
                 {" ", " "},
                 {"\x7f", "\x7f"},
                 {"!#[]", "!#[]"},
                 {"\xff", "\xef\xbf\xbd"},
                 {"\x01", NULL},
                 {"\n", NULL},
                 {"\\q", NULL}};
    struct decode_kept kept = {.type = schema_type(SCHEMA_META_V1_OBJECT_META)};
    struct decode_keep keep = {&kept, 1};
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONFIG_MAP);
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        for (int before = 0; before < 20; before++) {
            for (int after = 0; after < 10; after++) {
                char json[128];
                char want[128];
                snprintf(json, sizeof json, "{\"metadata\":{\"name\":\"%.*s%s%.*s\"}}", before,
                         "abcdefghijklmnopqrstuvwxyz", marks[i].mark, after, "0123456789");
                int rc = object_decode(&f->o, t, &f->arena, slice_str(json), NULL, &f->e);
                int skipped =
                    object_decode_some(&f->o, t, &keep, &f->arena, slice_str(json), &f->e);
                assert_int_equal(rc, marks[i].means == NULL ? ERR_INVALID : 0);
                assert_int_equal(skipped, rc);
                if (rc == 0) {
                    assert_int_equal(
                        object_decode(&f->o, t, &f->arena, slice_str(json), NULL, &f->e), 0);
                    snprintf(want, sizeof want, "%.*s%s%.*s", before, "abcdefghijklmnopqrstuvwxyz",
                             marks[i].means, after, "0123456789");
                    assert_true(slice_eq(object_text(&f->o, "metadata.name"), slice_str(want)));
                }
                arena_clear(&f->arena);
            }
        }
    }
}

static void running_out_of_memory_is_survived(void **state)
{
    struct fixture *f = *state;
    const char *json =
        "{\"metadata\":{\"labels\":{\"b\":\"\xff\",\"a\":\"2\"}},\"foo\":1,\"spec\":{"
        "\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":1.5}}}]}}";
    int rc = ERR_NOMEM;
    for (uint64_t n = 1; rc == ERR_NOMEM; n++) {
        assert_true(n < 100);
        arena_close(&f->arena);
        arena_init(&f->arena, 0);
        mem_fail_after(n);
        rc = decode(f, SCHEMA_CORE_V1_POD, json);
        mem_fail_after(0);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(f->report.count, 1);
}

/* A wrapper is a list where other kinds have one value: texts are appended to it. */
static void wrappers_take_texts(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(decode(f, SCHEMA_AUTHENTICATION_V1_TOKEN_REVIEW, "{}"), 0);
    static const char path[] = "status.user.extra[example.com/a.b]";
    struct value *out;
    assert_int_equal(object_append(&f->o, path, value_text(slice_str("x")), &out), 0);
    assert_int_equal(object_append(&f->o, path, value_text(slice_str("y")), &out), 0);
    assert_int_equal(object_append(&f->o, path, value_int(1), &out), ERR_INVALID);
    assert_int_equal(object_append(&f->o, "status.user.uid", value_text(slice_str("x")), &out),
                     ERR_INVALID);
    assert_non_null(strstr(encoded(f), "\"extra\":{\"example.com/a.b\":[\"x\",\"y\"]}"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(json_has_the_schemas_order_and_rules),
        T(inlined_fields_are_flat),
        T(values_have_their_canonical_form),
        T(texts_are_escaped_as_go_does),
        T(wrong_types_are_told_as_go_tells_them),
        T(syntax_errors_are_told_as_go_tells_them),
        T(unknown_and_duplicate_fields_are_reported),
        T(depth_and_size_are_bounded),
        T(untyped_trees_keep_everything),
        T(paths_read_and_write),
        T(wrappers_take_texts),
        T(copies_are_equal_and_independent),
        T(lean_objects_have_no_managed_fields),
        T(some_fields_are_enough),
        T(paths_say_what_is_wanted),
        T(texts_are_read_wherever_marks_are),
        T(running_out_of_memory_is_survived),
    };
    return cmocka_run_group_tests_name("apiserver/object", tests, NULL, NULL);
}
