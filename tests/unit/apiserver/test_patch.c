/* test_patch - the three patches on objects and on trees. */
#include "plugins/object/patch.h"

#include "tests/unit/apiserver/fixture.h"

static struct decode_report report;

static int patch(struct fixture *f, enum schema_type_id type, enum patch_kind kind,
                 const char *from, const char *change)
{
    struct object o = decoded(f, type, from);
    f->e.text[0] = 0;
    int rc = object_patch(&o, kind, slice_str(change), &f->arena, &f->o, &report, &f->e);
    /* The current object is as it was. */
    struct object again = decoded(f, type, from);
    assert_true(object_equal(&o, &again));
    return rc;
}

#define ASSERT_PATCHES(f, type, kind, from, change, to)            \
    do {                                                           \
        int result = patch((f), (type), (kind), (from), (change)); \
        if (result != 0) {                                         \
            print_error("%s\n", (f)->e.text);                      \
        }                                                          \
        assert_int_equal(result, 0);                               \
        assert_string_equal(encoded((f), &(f)->o), (to));          \
    } while (0)

#define ASSERT_REFUSES(f, type, kind, from, change, result, sentence)             \
    do {                                                                          \
        assert_int_equal(patch((f), (type), (kind), (from), (change)), (result)); \
        assert_string_equal((f)->e.text, (sentence));                             \
    } while (0)

#define CM(data) "{\"metadata\":{\"name\":\"a\"},\"data\":" data "}"

/* The examples of RFC 6902's appendix, on the data of a config map and on lists. */
static void json_patches_apply(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id cm = SCHEMA_CORE_V1_CONFIG_MAP;
    ASSERT_PATCHES(f, cm, PATCH_JSON, CM("{\"foo\":\"bar\"}"),
                   "[{\"op\":\"add\",\"path\":\"/data/baz\",\"value\":\"qux\"}]",
                   CM("{\"baz\":\"qux\",\"foo\":\"bar\"}"));
    ASSERT_PATCHES(
        f, cm, PATCH_JSON, CM("{\"baz\":\"qux\",\"foo\":\"bar\"}"),
        "[{\"op\":\"test\",\"path\":\"/data/baz\",\"value\":\"qux\"},{\"op\":\"remove\","
        "\"path\":\"/data/baz\"},{\"op\":\"replace\",\"path\":\"/data/foo\",\"value\":\"1\"}]",
        CM("{\"foo\":\"1\"}"));
    ASSERT_PATCHES(
        f, cm, PATCH_JSON, CM("{\"a/b~c\":\"1\"}"),
        "[{\"op\":\"move\",\"from\":\"/data/a~1b~0c\",\"path\":\"/data/x\"},{\"op\":\"copy\","
        "\"from\":\"/data/x\",\"path\":\"/data/y\"}]",
        CM("{\"x\":\"1\",\"y\":\"1\"}"));
    ASSERT_PATCHES(
        f, SCHEMA_CORE_V1_NAMESPACE, PATCH_JSON,
        "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"p\",\"q\"]}}",
        "[{\"op\":\"add\",\"path\":\"/metadata/finalizers/1\",\"value\":\"n\"},{\"op\":\"add\","
        "\"path\":\"/metadata/finalizers/-\",\"value\":\"z\"},{\"op\":\"remove\",\"path\":"
        "\"/metadata/finalizers/0\"},{\"op\":\"remove\",\"path\":\"/metadata/finalizers/-1\"}]",
        "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"n\",\"q\"]},\"spec\":{},\"status\":{}}");
    /* What one operation adds the next may change, without changing the patch's own value. */
    ASSERT_PATCHES(
        f, cm, PATCH_JSON, "{\"metadata\":{}}",
        "[{\"op\":\"add\",\"path\":\"/data\",\"value\":{}},{\"op\":\"add\",\"path\":\"/data/a\","
        "\"value\":\"1\"}]",
        "{\"metadata\":{},\"data\":{\"a\":\"1\"}}");
}

static void json_patches_are_refused(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id cm = SCHEMA_CORE_V1_CONFIG_MAP;
    const char *from = CM("{\"a\":\"1\"}");
    ASSERT_REFUSES(f, cm, PATCH_JSON, from, "{}", ERR_INVALID,
                   "json: cannot unmarshal object into Go value of type jsonpatch.Patch");
    ASSERT_REFUSES(f, cm, PATCH_JSON, from,
                   "[{\"op\":\"test\",\"path\":\"/data/a\",\"value\":\"2\"}]", ERR_NOT_FOUND,
                   "testing value /data/a failed: test failed");
    ASSERT_REFUSES(
        f, cm, PATCH_JSON, from, "[{\"op\":\"remove\",\"path\":\"/data/b\"}]", ERR_NOT_FOUND,
        "remove operation does not apply: doc is missing path: \"/data/b\": missing value");
    ASSERT_REFUSES(f, cm, PATCH_JSON, from,
                   "[{\"op\":\"replace\",\"path\":\"/data/b\",\"value\":\"2\"}]", ERR_NOT_FOUND,
                   "replace operation does not apply: doc is missing key: /data/b: missing value");
    ASSERT_REFUSES(f, cm, PATCH_JSON, from, "[{\"op\":\"add\",\"path\":\"/x/y\",\"value\":\"2\"}]",
                   ERR_NOT_FOUND,
                   "add operation does not apply: doc is missing path: \"/x/y\": missing value");
    ASSERT_REFUSES(f, cm, PATCH_JSON, from, "[{\"op\":\"turn\",\"path\":\"/data/a\"}]",
                   ERR_NOT_FOUND, "Unexpected kind: turn");
    /* The result must be an object of the kind. */
    ASSERT_REFUSES(
        f, cm, PATCH_JSON, from, "[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":2}]",
        ERR_REFUSED,
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string");
    ASSERT_REFUSES(f, cm, PATCH_JSON, from, "[", ERR_INVALID, "unexpected end of JSON input");
    /* Copies into copies grow without end: bounded. */
    struct buf b;
    buf_init(&b);
    buf_append_byte(&b, '[');
    for (int i = 0; i < 40; i++) {
        buf_printf(&b, "%s{\"op\":\"copy\",\"from\":\"/metadata\",\"path\":\"/metadata/x%d\"}",
                   i > 0 ? "," : "", i);
    }
    buf_append_byte(&b, ']');
    assert_int_equal(patch(f, cm, PATCH_JSON, from, text_of(&b)), ERR_REQUEST_TOO_LARGE);
    buf_clear(&b);
    buf_append_byte(&b, '[');
    for (unsigned i = 0; i <= PATCH_OPERATIONS_MAX; i++) {
        buf_printf(&b, "%s{}", i > 0 ? "," : "");
    }
    buf_append_byte(&b, ']');
    ASSERT_REFUSES(f, cm, PATCH_JSON, from, text_of(&b), ERR_REQUEST_TOO_LARGE,
                   "The allowed maximum operations in a JSON patch is 10000, got 10001");
    buf_close(&b);
}

static void merge_patches_apply(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id cm = SCHEMA_CORE_V1_CONFIG_MAP;
    ASSERT_PATCHES(
        f, cm, PATCH_MERGE, CM("{\"a\":\"1\",\"b\":\"2\"}"),
        "{\"data\":{\"a\":\"x\",\"b\":null,\"c\":\"3\",\"d\":null},\"metadata\":{\"labels\":{"
        "\"l\":\"m\",\"n\":null}}}",
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"l\":\"m\"}},\"data\":{\"a\":\"x\",\"c\":\"3\"}"
        "}");
    ASSERT_PATCHES(f, cm, PATCH_MERGE, CM("{\"a\":\"1\"}"), "{\"data\":null}",
                   "{\"metadata\":{\"name\":\"a\"}}");
    /* Lists are replaced as a whole. */
    ASSERT_PATCHES(f, SCHEMA_CORE_V1_NAMESPACE, PATCH_MERGE,
                   "{\"metadata\":{\"finalizers\":[\"p\",\"q\"]}}",
                   "{\"metadata\":{\"finalizers\":[\"r\"]}}",
                   "{\"metadata\":{\"finalizers\":[\"r\"]},\"spec\":{},\"status\":{}}");
    ASSERT_REFUSES(f, cm, PATCH_MERGE, CM("{}"), "[]", ERR_INVALID,
                   "json: cannot unmarshal array into Go value of type map[string]interface {}");
}

static void patches_are_as_strict_as_writes(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(patch(f, SCHEMA_CORE_V1_CONFIG_MAP, PATCH_MERGE, CM("{}"),
                           "{\"dta\":{},\"data\":{\"a\":\"1\",\"a\":\"2\"}}"),
                     0);
    buf_clear(&f->out);
    decode_report_text(&report, &f->out);
    assert_string_equal(text_of(&f->out),
                        "strict decoding error: duplicate field \"data.a\", unknown field \"dta\"");
}

#define POD(containers, rest) \
    "{\"metadata\":{},\"spec\":{\"containers\":" containers rest "},\"status\":{}}"
#define BOX(name, image) "{\"name\":\"" name "\",\"image\":\"" image "\",\"resources\":{}}"

static void strategic_patches_merge_lists_by_key(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id pod = SCHEMA_CORE_V1_POD;
    const char *from = POD("[" BOX("a", "1") "," BOX("b", "2") "]", "");
    ASSERT_PATCHES(
        f, pod, PATCH_STRATEGIC, from,
        "{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"3\"},{\"name\":\"c\",\"image\":"
        "\"4\"}]}}",
        POD("[" BOX("a", "1") "," BOX("b", "3") "," BOX("c", "4") "]", ""));
    ASSERT_PATCHES(f, pod, PATCH_STRATEGIC, from,
                   "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"}]}}",
                   POD("[" BOX("b", "2") "]", ""));
    ASSERT_PATCHES(
        f, pod, PATCH_STRATEGIC, from,
        "{\"spec\":{\"containers\":[{\"name\":\"z\",\"image\":\"9\"},{\"$patch\":\"replace\"}]}}",
        POD("[" BOX("z", "9") "]", ""));
    /* kubectl's order: c before b; a, which it does not know, stays before b as it was. */
    ASSERT_PATCHES(f, pod, PATCH_STRATEGIC, from,
                   "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"b\"}],"
                   "\"containers\":[{\"name\":\"c\",\"image\":\"4\"}]}}",
                   POD("[" BOX("c", "4") "," BOX("a", "1") "," BOX("b", "2") "]", ""));
    ASSERT_PATCHES(
        f, pod, PATCH_STRATEGIC, from,
        "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}",
        POD("[" BOX("b", "2") "," BOX("a", "1") "]", ""));
    ASSERT_REFUSES(f, pod, PATCH_STRATEGIC, from, "{\"spec\":{\"containers\":[{\"image\":\"3\"}]}}",
                   ERR_INVALID, "map: map[] does not contain declared merge key: name");
    ASSERT_REFUSES(f, pod, PATCH_STRATEGIC, from,
                   "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],"
                   "\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
                   ERR_INVALID, "The order in patch list doesn't match $setElementOrder list");
    ASSERT_REFUSES(f, pod, PATCH_STRATEGIC, from, "{\"spec\":{\"$setElementOrder/boxes\":[]}}",
                   ERR_INVALID,
                   "unable to find api field in struct PodSpec for the json field \"boxes\"");
    /* Tolerations have no key: replaced. */
    ASSERT_PATCHES(f, pod, PATCH_STRATEGIC,
                   POD("[" BOX("a", "1") "]", ",\"tolerations\":[{\"key\":\"x\"},{\"key\":\"y\"}]"),
                   "{\"spec\":{\"tolerations\":[{\"key\":\"z\"}]}}",
                   POD("[" BOX("a", "1") "]", ",\"tolerations\":[{\"key\":\"z\"}]"));
}

static void strategic_patches_merge_sets_and_maps(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id ns = SCHEMA_CORE_V1_NAMESPACE;
    const char *from =
        "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"finalizers\":[\"p\",\"q\"]}}";
    ASSERT_PATCHES(
        f, ns, PATCH_STRATEGIC, from,
        "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\"},\"finalizers\":[\"r\",\"q\"]}}",
        "{\"metadata\":{\"labels\":{\"b\":\"2\",\"c\":\"3\"},\"finalizers\":[\"r\",\"p\",\"q\"]},"
        "\"spec\":{},\"status\":{}}");
    ASSERT_PATCHES(f, ns, PATCH_STRATEGIC, from,
                   "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"p\"],"
                   "\"$setElementOrder/finalizers\":[\"s\",\"q\"],\"finalizers\":[\"s\"]}}",
                   "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"finalizers\":[\"s\","
                   "\"q\"]},\"spec\":"
                   "{},\"status\":{}}");
    ASSERT_PATCHES(
        f, ns, PATCH_STRATEGIC, from,
        "{\"metadata\":{\"labels\":{\"$patch\":\"replace\",\"z\":\"9\"}}}",
        "{\"metadata\":{\"labels\":{\"z\":\"9\"},\"finalizers\":[\"p\",\"q\"]},\"spec\":{},"
        "\"status\":{}}");
    ASSERT_PATCHES(f, ns, PATCH_STRATEGIC, from,
                   "{\"metadata\":{\"labels\":{\"$patch\":\"delete\"}}}",
                   "{\"metadata\":{\"finalizers\":[\"p\",\"q\"]},\"spec\":{},\"status\":{}}");
    ASSERT_REFUSES(f, ns, PATCH_STRATEGIC, from, "{\"metadata\":{\"$patch\":\"burn\"}}",
                   ERR_INVALID, "Unknown patch type found: burn");
    /* Directives leave no trace in what is new. */
    ASSERT_PATCHES(
        f, SCHEMA_CORE_V1_POD, PATCH_STRATEGIC, "{}",
        "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"}],\"containers\":[{\"name\":"
        "\"a\",\"image\":null,\"env\":[{\"name\":\"x\",\"$patch\":\"delete\"}]},{\"name\":\"b\","
        "\"$patch\":\"delete\"}]}}",
        "{\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{}}]},"
        "\"status\":{}}");
}

/* A deployment's strategy changes its kind: kubectl says which keys stay. */
static void strategic_patches_retain_keys(void **state)
{
    struct fixture *f = *state;
    enum schema_type_id t = SCHEMA_APPS_V1_DEPLOYMENT_SPEC;
    const char *from =
        "{\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1}}}";
    ASSERT_PATCHES(
        f, t, PATCH_STRATEGIC, from,
        "{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"Recreate\"}}",
        "{\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{\"containers\":null}},"
        "\"strategy\":{\"type\":\"Recreate\"}}");
    ASSERT_REFUSES(f, t, PATCH_STRATEGIC, from,
                   "{\"strategy\":{\"$retainKeys\":[\"type\"],\"rollingUpdate\":{}}}", ERR_INVALID,
                   "retainKeys list doesn't contain a field present in the patch: rollingUpdate");
}

/* Ports merge by containerPort alone, though server-side apply has two keys for them. */
static void strategic_keys_come_from_the_schema(void **state)
{
    struct fixture *f = *state;
    ASSERT_PATCHES(f, SCHEMA_CORE_V1_CONTAINER, PATCH_STRATEGIC,
                   "{\"name\":\"c\",\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}]}",
                   "{\"ports\":[{\"containerPort\":80,\"protocol\":\"UDP\"}]}",
                   "{\"name\":\"c\",\"ports\":[{\"containerPort\":80,\"protocol\":\"UDP\"}],"
                   "\"resources\":{}}");
    ASSERT_PATCHES(
        f, SCHEMA_CORE_V1_POD_STATUS, PATCH_STRATEGIC,
        "{\"conditions\":[{\"type\":\"A\",\"status\":\"True\"},{\"type\":\"B\",\"status\":\"True\"}"
        "]}",
        "{\"conditions\":[{\"type\":\"B\",\"status\":\"False\"}]}",
        "{\"conditions\":[{\"type\":\"A\",\"status\":\"True\",\"lastProbeTime\":null,"
        "\"lastTransitionTime\":null},{\"type\":\"B\",\"status\":\"False\",\"lastProbeTime\":null,"
        "\"lastTransitionTime\":null}]}");
}

/* Every allocation of a patch may fail. */
static void running_out_of_memory_is_survived(void **state)
{
    struct fixture *f = *state;
    static const char *const changes[] = {
        "[{\"op\":\"copy\",\"from\":\"/metadata\",\"path\":\"/metadata/"
        "labels\"},{\"op\":\"remove\",\"path\":"
        "\"/metadata/labels\"}]",
        "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
        "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"$setElementOrder/finalizers\":[\"y\",\"x\"],"
        "\"finalizers\":[\"y\"]}}"};
    for (int kind = PATCH_JSON; kind <= PATCH_STRATEGIC; kind++) {
        int rc = ERR_NOMEM;
        for (uint64_t n = 1; rc == ERR_NOMEM; n++) {
            assert_true(n < 200);
            struct object o =
                decoded(f, SCHEMA_CORE_V1_NAMESPACE, "{\"metadata\":{\"finalizers\":[\"x\"]}}");
            struct arena arena;
            arena_init(&arena, 0);
            mem_fail_after(n);
            rc = object_patch(&o, (enum patch_kind)kind, slice_str(changes[kind]), &arena, &f->o,
                              &report, &f->e);
            mem_fail_after(0);
            arena_close(&arena);
        }
        assert_int_equal(rc, 0);
    }
}

/* What an operation costs depends on the document: what is too much in all is refused. */
static void patches_cost_what_they_may(void **state)
{
    struct fixture *f = *state;
    struct object out;
    struct object cm = decoded(f, SCHEMA_CORE_V1_CONFIG_MAP, "{\"data\":{\"k\":\"v\"}}");
    buf_clear(&f->out);
    buf_append_str(&f->out, "[{\"op\":\"add\",\"path\":\"/metadata/finalizers\",\"value\":[\"\"");
    for (int i = 0; i < 100000; i++) {
        buf_append_str(&f->out, ",\"\"");
    }
    buf_append_str(&f->out, "]}");
    for (int i = 0; i < 400; i++) {
        buf_append_str(&f->out,
                       ",{\"op\":\"add\",\"path\":\"/metadata/finalizers/0\",\"value\":\"x\"}");
    }
    buf_append_str(&f->out, "]");
    assert_int_equal(
        object_patch(&cm, PATCH_JSON, buf_slice(&f->out), &f->arena, &out, NULL, &f->e),
        ERR_REQUEST_TOO_LARGE);
    /* Values put into values: each is not too deep, but all together. */
    buf_clear(&f->out);
    buf_append_str(&f->out, "[{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":{}}");
    for (int i = 0; i < 60; i++) {
        buf_append_str(&f->out, ",{\"op\":\"add\",\"path\":\"/metadata/annotations");
        for (int k = 0; k < i; k++) {
            buf_append_str(&f->out, "/a/a/a");
        }
        buf_append_str(&f->out, "/a\",\"value\":{\"a\":{\"a\":{}}}}");
    }
    buf_append_str(&f->out, "]");
    assert_int_equal(
        object_patch(&cm, PATCH_JSON, buf_slice(&f->out), &f->arena, &out, NULL, &f->e),
        ERR_TOO_DEEP);
}

/* Keys that come, go and stay, in any order among each other. */
static void maps_merge_as_a_whole(void **state)
{
    struct fixture *f = *state;
    static const enum patch_kind ways[] = {PATCH_MERGE, PATCH_STRATEGIC};
    for (size_t w = 0; w < 2; w++) {
        struct object out;
        struct object cm = decoded(f, SCHEMA_CORE_V1_CONFIG_MAP,
                                   "{\"data\":{\"b\":\"1\",\"d\":\"1\",\"f\":\"1\",\"h\":\"1\"}}");
        struct slice patch =
            slice_str("{\"data\":{\"a\":\"2\",\"b\":null,\"c\":\"2\",\"d\":\"2\",\"e\":null,"
                      "\"h\":null,\"i\":\"2\"}}");
        assert_int_equal(object_patch(&cm, ways[w], patch, &f->arena, &out, NULL, &f->e), 0);
        buf_clear(&f->out);
        object_encode(&out, &f->out);
        buf_append_byte(&f->out, 0);
        assert_non_null(strstr((const char *)f->out.data,
                               "\"data\":{\"a\":\"2\",\"c\":\"2\",\"d\":\"2\",\"f\":\"1\","
                               "\"i\":\"2\"}"));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(json_patches_apply),
        T(json_patches_are_refused),
        T(merge_patches_apply),
        T(patches_are_as_strict_as_writes),
        T(strategic_patches_merge_lists_by_key),
        T(strategic_patches_merge_sets_and_maps),
        T(strategic_patches_retain_keys),
        T(strategic_keys_come_from_the_schema),
        T(running_out_of_memory_is_survived),
        T(patches_cost_what_they_may),
        T(maps_merge_as_a_whole),
    };
    return cmocka_run_group_tests_name("apiserver/patch", tests, NULL, NULL);
}
