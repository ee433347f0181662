/* test_mutation - a valid object of every kind, and every field its schema has made wrong in every
 * way: of another type, too long, unknown, given twice, nested without end, no UTF-8, too large.
 *
 * Each is answered with the right error and a cause that names the place, or accepted where nothing
 * is wrong with it; none with a 5xx, silence, or a crash. A new kind needs a line in `kinds`. */
#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "plugins/apiserver/request.h"
#include "plugins/object/encode.h"
#include "plugins/object/object.h"
#include "tests/unit/apiserver/server.h"

#define STEPS_MAX      48u
#define COMPLAINTS_MAX 20u
#define WORLD_REQUESTS 400u /* then a new one: the test host keeps all answers */
#define DEPTH_MAX      14u

#define NS      "/api/v1/namespaces/default/"
#define META    "\"metadata\":{\"name\":\"a\"}"
#define SPEC    "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"
#define PATTERN "\"template\":{\"metadata\":{\"labels\":{\"a\":\"1\"}}," SPEC "}"
#define SETS    "\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"1\"}}," PATTERN "}"

#define THERE                                                                          \
    "{\"metadata\":{\"name\":\"there\"},\"spec\":{\"serviceAccountName\":\"default\"," \
    "\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static const struct kind {
    enum schema_type_id type;
    const char *method, *path, *json;
    bool whole;  /* templates too; else they are left to the kinds that have them whole */
    bool strict; /* unknown fields are refused */
} kinds[] = {
    {SCHEMA_CORE_V1_NAMESPACE, "POST", "/api/v1/namespaces", "{" META "}", true, true},
    {SCHEMA_CORE_V1_NODE, "POST", "/api/v1/nodes", "{" META "}", true, true},
    {SCHEMA_CORE_V1_POD, "POST", NS "pods", "{" META "," SPEC "}", true, true},
    {SCHEMA_CORE_V1_POD_TEMPLATE, "POST", NS "podtemplates", "{" META "," PATTERN "}", false, true},
    {SCHEMA_CORE_V1_SERVICE, "POST", NS "services",
     "{" META ",\"spec\":{\"ports\":[{\"port\":80}]}}", true, true},
    {SCHEMA_CORE_V1_ENDPOINTS, "POST", NS "endpoints",
     "{" META ",\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"}],\"ports\":[{\"port\":1}]}]}",
     true, true},
    {SCHEMA_CORE_V1_CONFIG_MAP, "POST", NS "configmaps", "{" META ",\"data\":{\"k\":\"v\"}}", true,
     true},
    {SCHEMA_CORE_V1_SECRET, "POST", NS "secrets", "{" META ",\"data\":{\"k\":\"dg==\"}}", true,
     true},
    {SCHEMA_CORE_V1_SERVICE_ACCOUNT, "POST", NS "serviceaccounts", "{" META "}", true, true},
    {SCHEMA_CORE_V1_REPLICATION_CONTROLLER, "POST", NS "replicationcontrollers",
     "{" META ",\"spec\":{" PATTERN "}}", false, true},
    {SCHEMA_CORE_V1_EVENT, "POST", NS "events",
     "{" META ",\"involvedObject\":{\"namespace\":\"default\"}}", true, true},
    {SCHEMA_EVENTS_V1_EVENT, "POST", "/apis/events.k8s.io/v1/namespaces/default/events",
     "{" META ",\"regarding\":{\"namespace\":\"default\"}}", true, true},
    {SCHEMA_APPS_V1_REPLICA_SET, "POST", "/apis/apps/v1/namespaces/default/replicasets",
     "{" META "," SETS "}", false, true},
    {SCHEMA_APPS_V1_DEPLOYMENT, "POST", "/apis/apps/v1/namespaces/default/deployments",
     "{" META "," SETS "}", false, true},
    {SCHEMA_COORDINATION_V1_LEASE, "POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases",
     "{" META "}", true, true},
    {SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, "POST",
     "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
     "{" META ",\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]}]}", true,
     true},
    {SCHEMA_SCHEDULING_V1_PRIORITY_CLASS, "POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
     "{" META ",\"value\":1}", true, true},
    /* Bodies of subresources. */
    {SCHEMA_CORE_V1_BINDING, "POST", NS "bindings",
     "{\"metadata\":{\"name\":\"there\"},\"target\":{\"name\":\"n\"}}", true, true},
    {SCHEMA_CORE_V1_BINDING, "POST", NS "pods/there/binding",
     "{\"metadata\":{\"name\":\"there\"},\"target\":{\"name\":\"n\"}}", true, true},
    {SCHEMA_POLICY_V1_EVICTION, "POST", NS "pods/there/eviction",
     "{\"metadata\":{\"name\":\"there\"}}", true, true},
    {SCHEMA_AUTOSCALING_V1_SCALE, "PUT", "/apis/apps/v1/namespaces/default/replicasets/there/scale",
     "{\"metadata\":{\"name\":\"there\"},\"spec\":{\"replicas\":1}}", true, true},
    {SCHEMA_AUTHENTICATION_V1_TOKEN_REQUEST, "POST", NS "serviceaccounts/default/token",
     "{\"spec\":{\"audiences\":[]}}", true, true},
    /* Questions, which are answered and not stored. */
    {SCHEMA_AUTHENTICATION_V1_TOKEN_REVIEW, "POST", "/apis/authentication.k8s.io/v1/tokenreviews",
     "{\"spec\":{\"token\":\"x\"}}", true, true},
    {SCHEMA_AUTHENTICATION_V1_SELF_SUBJECT_REVIEW, "POST",
     "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", true, true},
    {SCHEMA_AUTHORIZATION_V1_SUBJECT_ACCESS_REVIEW, "POST",
     "/apis/authorization.k8s.io/v1/subjectaccessreviews",
     "{\"spec\":{\"user\":\"u\",\"nonResourceAttributes\":{\"path\":\"/\"}}}", true, true},
    {SCHEMA_AUTHORIZATION_V1_LOCAL_SUBJECT_ACCESS_REVIEW, "POST",
     "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
     "{\"spec\":{\"user\":\"u\",\"resourceAttributes\":{\"namespace\":\"default\"}}}", true, true},
    {SCHEMA_AUTHORIZATION_V1_SELF_SUBJECT_ACCESS_REVIEW, "POST",
     "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
     "{\"spec\":{\"nonResourceAttributes\":{\"path\":\"/\"}}}", true, true},
    {SCHEMA_AUTHORIZATION_V1_SELF_SUBJECT_RULES_REVIEW, "POST",
     "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
     "{\"spec\":{\"namespace\":\"default\"}}", true, true},
    {SCHEMA_META_V1_DELETE_OPTIONS, "DELETE", NS "pods/there", "{}", true, false},
    /* Changes. */
    {SCHEMA_CORE_V1_POD, "PUT", NS "pods/there", THERE, false, true},
    {SCHEMA_CORE_V1_POD, "PUT", NS "pods/there/status", THERE, false, true},
};

/* ---- places -------------------------------------------------------------------------------- */

/* From the root to a field: a field's name, an item of a list, a key of a map. */
struct step {
    enum { STEP_FIELD, STEP_ITEM, STEP_KEY } kind;
    const char *name;
};

struct walk {
    const struct kind *kind;
    struct arena arena; /* of one mutation */
    struct step steps[STEPS_MAX];
    size_t depth;
    unsigned requests, refused, complaints;
    const char *how; /* it was made wrong */
};

static void place(const struct walk *w, struct buf *out)
{
    for (size_t i = 0; i < w->depth; i++) {
        const struct step *s = &w->steps[i];
        buf_append_str(out, s->kind == STEP_FIELD && i > 0 ? "." : "");
        buf_append_str(out, s->kind == STEP_FIELD ? s->name : s->kind == STEP_ITEM ? "[0]" : "[k]");
    }
}

static bool at_place(const struct walk *w, const char *text)
{
    struct buf b;
    buf_init(&b);
    place(w, &b);
    bool is = slice_eq(buf_slice(&b), slice_str(text));
    buf_close(&b);
    return is;
}

static struct value *made(struct value *v)
{
    assert_non_null(v);
    return v;
}

/* Puts leaf at the place, making what leads there. */
static void put_at(struct walk *w, struct value *root, struct value leaf)
{
    struct value *at = root;
    for (size_t i = 0; i < w->depth; i++) {
        bool last = i + 1 == w->depth;
        struct value below =
            last ? leaf : value_empty(w->steps[i + 1].kind == STEP_ITEM ? VALUE_LIST : VALUE_MAP);
        if (w->steps[i].kind == STEP_ITEM) {
            if (at->kind != VALUE_LIST) {
                *at = value_empty(VALUE_LIST);
            }
            struct value *item = at->len > 0 ? &at->items[0] : NULL;
            if (item == NULL || last || item->kind != below.kind) {
                item = item == NULL ? made(value_append(&w->arena, at, below)) : item;
                *item = below;
            }
            at = item;
        } else {
            struct slice key = slice_str(w->steps[i].kind == STEP_KEY ? "k" : w->steps[i].name);
            if (at->kind != VALUE_MAP) {
                *at = value_empty(VALUE_MAP);
            }
            struct value *child = value_map_get(at, key);
            if (child == NULL || last || child->kind != below.kind) {
                child = made(value_map_set(&w->arena, at, key, below));
            }
            at = child;
        }
    }
}

static struct value base_of(struct walk *w)
{
    struct value v;
    struct errmsg e;
    assert_int_equal(decode_json(slice_str(w->kind->json), NULL, &w->arena, &v, NULL, &e), 0);
    return v;
}

/* ---- asking -------------------------------------------------------------------------------- */

static void world_begin(void)
{
    server_open_all();
    expect_answer("POST", NS "pods", THERE, 201, NULL);
    expect_answer("POST", "/apis/apps/v1/namespaces/default/replicasets",
                  "{\"metadata\":{\"name\":\"there\"}," SETS "}", 201, NULL);
}

static void complain(struct walk *w, struct asked a, struct slice body, const char *wanted)
{
    struct buf b;
    buf_init(&b);
    place(w, &b);
    print_error("%s %s, %.*s %s: %u instead of %s: %.300s\n    sent: %.*s\n", w->kind->method,
                w->kind->path, (int)b.len, b.data == NULL ? "" : (const char *)b.data, w->how,
                a.status, wanted, a.body, body.len < 300 ? (int)body.len : 300,
                (const char *)body.data);
    buf_close(&b);
    if (++w->complaints > COMPLAINTS_MAX) {
        fail_msg("too many complaints");
    }
}

static struct asked send_body(struct walk *w, struct slice body)
{
    char path[256];
    struct kvp_pair headers[] = {{kvp_str("content-type"), kvp_str("application/json")}};
    snprintf(path, sizeof path, "%s?%s&fieldValidation=Strict", w->kind->path, "dryRun=All");
    struct t_http_args args = {.size = sizeof args,
                               .port = SERVER_PORT,
                               .method = w->kind->method,
                               .path = path,
                               .body = kvp_bytes_of(body.data, body.len),
                               .headers = headers,
                               .header_count = 1};
    if (w->requests++ % WORLD_REQUESTS == WORLD_REQUESTS - 1) {
        t_close();
        world_begin();
    }
    struct t_http *x = t_http_open(&args);
    for (int ms = 0; !t_http_ended(x) && ms < SERVER_WAIT_MS; ms++) {
        t_advance(1);
    }
    return (struct asked){t_http_status(x), t_http_body(x).data, x};
}

/* Every answer: complete, UTF-8, and if it is an error one that says what is wrong. */
static bool is_sound(struct asked a)
{
    struct slice body = slice_str(a.body);
    bool fine = a.status >= 200 && a.status < 300;
    bool refused = a.status >= 400 && a.status < 500;
    return t_http_ended(a.x) == 1 && utf8_valid(body) &&
           (fine || (refused && strstr(a.body, "\"kind\":\"Status\"") != NULL &&
                     strstr(a.body, "\"message\":\"") != NULL &&
                     strstr(a.body, "\"message\":\"\"") == NULL));
}

/* code 0: whatever is sound. part: what the answer must have. */
static void judge(struct walk *w, struct slice body, uint32_t code, const char *part)
{
    struct asked a = send_body(w, body);
    char wanted[160];
    bool right = code == 0 ? is_sound(a)
                           : a.status == code && is_sound(a) &&
                                 (part == NULL || strstr(a.body, part) != NULL);
    w->refused += a.status >= 400;
    /* What is invalid says where. */
    if (a.status == 422 && strstr(a.body, "\"field\":\"") == NULL) {
        right = false;
    }
    if (!right) {
        snprintf(wanted, sizeof wanted, "%u with %s", code, part == NULL ? "anything" : part);
        complain(w, a, body, wanted);
    }
}

/* The base with the field's text put in as it is, wrong as it may be. */
static void judge_raw(struct walk *w, const char *how, struct slice raw, uint32_t code,
                      const char *part)
{
    static const char mark[] = "\"%%MARK%%\"";
    struct buf b;
    struct buf out;
    w->how = how;
    arena_clear(&w->arena);
    struct value root = base_of(w);
    put_at(w, &root, value_text(slice_str("%%MARK%%")));
    buf_init(&b);
    buf_init(&out);
    encode_json(NULL, &root, &b);
    buf_append_byte(&b, 0);
    assert_false(b.failed);
    const char *at = strstr((const char *)b.data, mark);
    assert_non_null(at);
    buf_append(&out, b.data, (size_t)(at - (const char *)b.data));
    buf_append_slice(&out, raw);
    buf_append_str(&out, at + sizeof mark - 1);
    assert_false(out.failed);
    judge(w, buf_slice(&out), code, part);
    buf_close(&b);
    buf_close(&out);
}

/* ---- ways to be wrong ---------------------------------------------------------------------- */

#define DEEP 300u
static char deep_[2 * DEEP + 1];
static char long_[20001];

/* Of another type than the schema says. */
static void wrong_type(struct walk *w, const struct schema_field *f)
{
    static const char *const texts[] = {
        [SCHEMA_TEXT] = "7",         [SCHEMA_BYTES] = "\"***\"",   [SCHEMA_BOOL] = "\"x\"",
        [SCHEMA_INT32] = "\"x\"",    [SCHEMA_INT64] = "\"x\"",     [SCHEMA_DOUBLE] = "\"x\"",
        [SCHEMA_TIME] = "\"today\"", [SCHEMA_MICROTIME] = "\"x\"", [SCHEMA_QUANTITY] = "\"1 kg\"",
        [SCHEMA_INT_OR_TEXT] = "[]", [SCHEMA_RAW] = NULL,          [SCHEMA_MESSAGE] = "7",
        [SCHEMA_WRAPPER] = "7",
    };
    /* These are parsed behind the JSON: the sentence is about the text. */
    bool parsed =
        (f->kind >= SCHEMA_TIME && f->kind <= SCHEMA_INT_OR_TEXT) || f->kind == SCHEMA_BYTES;
    if (texts[f->kind] != NULL) {
        judge_raw(w, "of another type", slice_str(texts[f->kind]), 400,
                  parsed ? NULL : schema_field_name(f));
    }
    if (f->kind == SCHEMA_INT32 || f->kind == SCHEMA_INT64) {
        judge_raw(w, "too large", slice_str("99999999999999999999"), 400, NULL);
        judge_raw(w, "a fraction", slice_str("1.5"), 400, NULL);
        judge_raw(w, "negative", slice_str("-1"), 0, NULL);
    }
}

/* Fields whose content is looked up before it is validated, or that mean something to a write. */
static uint32_t special_code(const struct walk *w)
{
    if (at_place(w, "metadata.resourceVersion") && strcmp(w->kind->method, "POST") == 0 &&
        w->kind->type != SCHEMA_CORE_V1_BINDING && w->kind->type != SCHEMA_POLICY_V1_EVICTION) {
        return 500; /* as Kubernetes has it */
    }
    return 0;
}

static void judge_text(struct walk *w, const char *how, struct slice json)
{
    uint32_t code = special_code(w);
    if (code == 0) {
        judge_raw(w, how, json, 0, NULL);
    }
}

static void odd_texts(struct walk *w, const struct schema_field *f)
{
    const struct schema_type *t = schema_field_type(f);
    bool closed = t != NULL && t->form == SCHEMA_FORM_ENUM;
    judge_text(w, "too long", slice_of(long_, sizeof long_ - 1));
    judge_text(w, "no UTF-8", slice_of("\"\xff\xfe\xc3\"", 5));
    judge_text(w, "half a pair", slice_str("\"\\ud800\""));
    judge_text(w, "a NUL and a slash", slice_str("\"a\\u0000/../b\""));
    judge_text(w, "empty", slice_str("\"\""));
    if (closed && !(f->flags & SCHEMA_FIELD_UNCHECKED)) {
        judge_text(w, "no value of its enum", slice_str("\"Nothing\""));
    }
}

static void step_down(struct walk *w, int kind, const char *name)
{
    assert_true(w->depth < STEPS_MAX);
    w->steps[w->depth].kind = kind;
    w->steps[w->depth++].name = name;
}

static void visit_message(struct walk *w, const struct schema_type *t);

static void visit_one(struct walk *w, const struct schema_field *f)
{
    wrong_type(w, f);
    judge_raw(w, "nested without end", slice_of(deep_, 2 * DEEP), 400, NULL);
    judge_raw(w, "null", slice_str("null"), 0, NULL);
    if (f->kind == SCHEMA_TEXT) {
        odd_texts(w, f);
    }
    if (f->kind == SCHEMA_MESSAGE) {
        judge_raw(w, "empty", slice_str("{}"), 0, NULL);
        visit_message(w, schema_field_type(f));
    }
}

/* The field given twice. */
static void visit_twice(struct walk *w, const char *name)
{
    struct buf b;
    buf_init(&b);
    buf_printf(&b, "{\"%s\":null,\"%s\":null}", name, name);
    assert_false(b.failed);
    w->depth--;
    if (w->depth > 0) {
        judge_raw(w, "twice", buf_slice(&b), w->kind->strict ? 400 : 0,
                  w->kind->strict ? "duplicate field" : NULL);
    }
    w->depth++;
    buf_close(&b);
}

static void visit_field(struct walk *w, const struct schema_field *f)
{
    step_down(w, STEP_FIELD, schema_field_name(f));
    visit_twice(w, schema_field_name(f));
    if (f->shape == SCHEMA_LIST) {
        judge_raw(w, "no list", slice_str("7"), 400, NULL);
        judge_raw(w, "no list but a map", slice_str("{\"a\":1}"), 400, NULL);
        step_down(w, STEP_ITEM, NULL);
        visit_one(w, f);
        w->depth--;
    } else if (f->shape == SCHEMA_MAP) {
        judge_raw(w, "no map", slice_str("7"), 400, NULL);
        judge_raw(w, "no map but a list", slice_str("[1]"), 400, NULL);
        judge_raw(w, "a bad key", slice_str("{\"no key \\u0001\":null,\"\":null}"), 0, NULL);
        step_down(w, STEP_KEY, NULL);
        visit_one(w, f);
        w->depth--;
    } else {
        visit_one(w, f);
    }
    w->depth--;
}

static void visit_message(struct walk *w, const struct schema_type *t)
{
    const struct schema_field *fields = schema_fields(t);
    bool template = t == schema_type(SCHEMA_CORE_V1_POD_SPEC) && !w->kind->whole;
    if (w->depth > 0) {
        judge_raw(w, "with an unknown field", slice_str("{\"nope\":1}"), w->kind->strict ? 400 : 0,
                  w->kind->strict ? "unknown field" : NULL);
    }
    if (template || w->depth > DEPTH_MAX) {
        return;
    }
    for (unsigned i = 0; i < t->field_count; i++) {
        if (fields[i].number != 0) {
            visit_field(w, &fields[i]);
        }
    }
}

/* The body as a whole. */
static void visit_root(struct walk *w)
{
    static const char *const bad[] = {"",        "{",    "[]",       "7",        "\"x\"",
                                      "{\"a\"}", "{}{}", "{\"a\":}", "\xff\xfe", "{\"kind\":7}",
                                      "nul"};
    size_t n = 3u * 1024u * 1024u + 1;
    char *large = mem_xalloc(n);
    w->depth = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bool options = !w->kind->strict;
        w->how = "as a whole";
        judge(w, slice_str(bad[i]), options && i == 0 ? 200 : 400, NULL);
    }
    memset(large, 'a', n);
    memcpy(large, "{\"metadata\":{\"name\":\"", 21);
    memcpy(large + n - 3, "\"}}", 3);
    w->how = "larger than 3 MiB";
    judge(w, slice_of(large, n), 413, "limit is 3145728");
    w->how = "a name of 3 MB";
    memcpy(large + n - 4, "\"}}", 3);
    judge(w, slice_of(large, n - 1), 0, NULL);
    mem_free(large);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void every_field_may_be_wrong(void **state)
{
    unsigned requests = 0;
    unsigned complaints = 0;
    memset(deep_, '[', DEEP);
    memset(deep_ + DEEP, ']', DEEP);
    memset(long_, 'a', sizeof long_ - 1);
    long_[0] = long_[sizeof long_ - 2] = '"';
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct walk w = {.kind = &kinds[i]};
        arena_init(&w.arena, 0);
        world_begin();
        w.how = "as it is";
        judge(&w, slice_str(kinds[i].json), strcmp(kinds[i].method, "POST") == 0 ? 201 : 200, NULL);
        visit_root(&w);
        visit_message(&w, schema_type(kinds[i].type));
        t_close();
        arena_close(&w.arena);
        assert_true(w.refused > 10);
        requests += w.requests;
        complaints += w.complaints;
    }
    print_message("%u mutations\n", requests);
    assert_int_equal(complaints, 0);
}

static void no_kind_is_left_out(void **state)
{
    for (size_t i = 0; i < schema_resource_count; i++) {
        const struct schema_resource *r = schema_resources + i;
        const struct schema_type *t = schema_at(r, r->type);
        bool listed = false;
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            listed = listed || schema_type(kinds[k].type) == t;
        }
        if (!listed) {
            fail_msg("%s has no line in kinds", schema_type_name(t));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_kind_is_left_out),
        cmocka_unit_test(every_field_may_be_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
