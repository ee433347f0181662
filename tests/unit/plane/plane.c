/* plane.c - the test bed of plane.h. */
#include "tests/unit/plane/plane.h"

#include "base/err.h"
#include "base/log.h"
#include "plugins/object/encode.h"
#include "tests/unit/plugins/host_fixture.h"

/* Entries of the plugins that are linked; NULL when the tree does not have one yet. */
#define PLANE_ENTRY(name) __attribute__((weak)) const struct kvp_plugin *plane_entry_##name(void)
PLANE_ENTRY(apiserver);
PLANE_ENTRY(controllers);
PLANE_ENTRY(scheduler);
PLANE_ENTRY(hollow_node);

#define PLANE_PLUGINS_MAX 8

struct plane_hook {
    void (*fn)(void *data);
    void *data;
};

static struct {
    bool open;
    bool registered;
    void *fixture;
    uint64_t now_ms;
    char specs[PLANE_PLUGINS_MAX][256];
    size_t spec_count;
    struct arena arena;
    bool arena_ready;
    struct plane_hook start, stop, fini;
} plane;

/* ---- the probe ----------------------------------------------------------------------------- */

static void plane_run_hook(struct plane_hook *hook)
{
    struct plane_hook h = *hook;
    *hook = (struct plane_hook){0};
    if (h.fn != NULL) {
        h.fn(h.data);
    }
}

static void plane_probe_start(void)
{
    plane_run_hook(&plane.start);
}

static void plane_probe_stop(void)
{
    plane_run_hook(&plane.stop);
    probe.term = NULL;
}

static void plane_probe_fini(void *self)
{
    plane_run_hook(&plane.fini);
    probe_fini(self);
}

void plane_on_start(void (*fn)(void *data), void *data)
{
    plane.start = (struct plane_hook){fn, data};
}

void plane_on_stop(void (*fn)(void *data), void *data)
{
    plane.stop = (struct plane_hook){fn, data};
}

void plane_on_fini(void (*fn)(void *data), void *data)
{
    plane.fini = (struct plane_hook){fn, data};
}

struct client plane_client(void)
{
    assert_non_null(probe.term);
    return (struct client){.host = probe.host, .ctx = probe.term};
}

struct client plane_root_client(void)
{
    return (struct client){.host = probe.host, .ctx = probe.root};
}

/* ---- time ---------------------------------------------------------------------------------- */

uint64_t plane_now_ms(void)
{
    return plane.now_ms;
}

void plane_settle(void)
{
    for (int quiet = 0; quiet < 3;) {
        bool ran = host_turn(hf.host, plane.now_ms);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
        quiet = ran ? 0 : quiet + 1;
    }
}

void plane_turns(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        (void)host_turn(hf.host, plane.now_ms);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
    }
}

void plane_crawl(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        plane.now_ms++;
        plane_turns(1);
    }
}

/* Only the plugins' and the host's own allocations may fail: those of apply would rightly end the
 * process. */
bool plane_settle_failing(uint64_t n)
{
    uint64_t left = n;
    for (int quiet = 0; quiet < 3;) {
        mem_fail_after(left);
        bool ran = host_turn(hf.host, plane.now_ms);
        left = mem_fail_left();
        mem_fail_after(0);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
        quiet = ran ? 0 : quiet + 1;
    }
    return left == 0;
}

uint64_t plane_step(uint64_t ms)
{
    uint64_t next = host_next_ms(hf.host);
    uint64_t end = plane.now_ms + ms;
    uint64_t before = plane.now_ms;
    plane.now_ms = next < end ? (next > before ? next : before + 1) : end;
    plane_settle();
    return plane.now_ms - before;
}

void plane_advance(uint64_t ms)
{
    plane_settle();
    while (ms > 0) {
        ms -= plane_step(ms);
    }
}

bool plane_until(plane_condition *condition, void *data, uint64_t ms)
{
    plane_settle();
    while (!condition(data)) {
        if (ms == 0) {
            return false;
        }
        ms -= plane_step(ms < PLANE_STEP_MS ? ms : PLANE_STEP_MS);
    }
    return true;
}

/* ---- life ---------------------------------------------------------------------------------- */

void plane_register(const struct kvp_plugin *descriptor)
{
    host_register_static(descriptor);
}

static void plane_register_all(void)
{
    enum log_level level = LOG_WARN;
    const char *wanted = getenv("PLANE_LOG");
    (void)(wanted != NULL && log_level_parse(wanted, &level));
    log_set_level(level);
    if (plane.registered) {
        return;
    }
    plane.registered = true;
    const struct kvp_plugin *(*entries[])(void) = {plane_entry_apiserver, plane_entry_controllers,
                                                   plane_entry_scheduler, plane_entry_hollow_node};
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (entries[i] != NULL) {
            host_register_static(entries[i]());
        }
    }
    probe_plugin.fini = plane_probe_fini;
    host_register_static(&probe_plugin);
}

const char *plane_state(const char *plugin)
{
    struct host_plugin rows[PLANE_PLUGINS_MAX + 1];
    size_t n = host_list(hf.host, rows, PLANE_PLUGINS_MAX + 1);
    for (size_t i = 0; i < n && i <= PLANE_PLUGINS_MAX; i++) {
        if (strcmp(rows[i].name, plugin) == 0) {
            return host_state_name(rows[i].state);
        }
    }
    return "";
}

static void plane_check(enum host_state state)
{
    struct host_plugin rows[PLANE_PLUGINS_MAX + 1];
    size_t n = host_list(hf.host, rows, PLANE_PLUGINS_MAX + 1);
    for (size_t i = 0; i < n && i <= PLANE_PLUGINS_MAX; i++) {
        if (rows[i].state != state) {
            fail_msg("plugin %s is %s: %s", rows[i].name, host_state_name(rows[i].state),
                     rows[i].why);
        }
    }
}

static bool plane_has(const char *plugin)
{
    size_t len = strlen(plugin);
    for (size_t i = 0; i < plane.spec_count; i++) {
        if (strncmp(plane.specs[i], plugin, len) == 0 &&
            (plane.specs[i][len] == ',' || plane.specs[i][len] == '\0')) {
            return true;
        }
    }
    return false;
}

static void plane_load(const char *plugin)
{
    struct errmsg e = {""};
    char spec[300];
    /* Everybody may do everything unless a test says otherwise: the probe asks too. */
    bool open_to_all = strcmp(plugin, "apiserver") == 0;
    snprintf(spec, sizeof(spec), "static:%s%s", plugin,
             open_to_all ? ",insecure-allow-all=true" : "");
    if (host_load(hf.host, spec, &e) != 0) {
        fail_msg("%s", e.text);
    }
}

static void plane_host_open(void)
{
    struct errmsg e = {""};
    struct host_options o = {
        .service = hf.f->service, .data_dir = hf.f->dir, .member_id = 7, .seed = 3};
    memset(&probe, 0, sizeof(probe));
    probe.on_start = plane_probe_start;
    probe.on_stop = plane_probe_stop;
    hf.stopped = false;
    assert_int_equal(host_new(&o, &hf.host, &e), 0);
    (void)host_turn(hf.host, plane.now_ms);
    for (size_t i = 0; i < plane.spec_count; i++) {
        plane_load(plane.specs[i]);
    }
    plane_load("probe");
    plane_settle();
    plane_check(HOST_READY);
    host_ready(hf.host);
}

static void plane_host_close(void)
{
    if (hf.host == NULL) {
        return;
    }
    host_stop(hf.host, host_fixture_on_stopped, &hf.stopped);
    for (int i = 0; i < 10000 && !hf.stopped; i++) {
        (void)host_turn(hf.host, plane.now_ms);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
    }
    assert_true(hf.stopped);
    hf.host = NULL;
}

static void plane_await_namespaces(void)
{
    if (plane_has("apiserver")) {
        PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_NAMESPACE, NULL, "default") != NULL, 10000);
        PLANE_UNTIL(plane_count(SCHEMA_CORE_V1_NAMESPACE, NULL, NULL) >= 4, 10000);
    }
}

void plane_open(const char *plugin, ...)
{
    va_list args;
    assert_false(plane.open);
    plane_register_all();
    plane.open = true;
    plane.now_ms = PLANE_START_MS;
    plane.spec_count = 0;
    arena_init(&plane.arena, 0);
    va_start(args, plugin);
    for (const char *p = plugin; p != NULL; p = va_arg(args, const char *)) {
        assert_true(plane.spec_count < PLANE_PLUGINS_MAX && strlen(p) < sizeof(plane.specs[0]));
        memcpy(plane.specs[plane.spec_count++], p, strlen(p) + 1);
    }
    va_end(args);
    assert_int_equal(fixture_setup(&plane.fixture), 0);
    hf.f = plane.fixture;
    plane_host_open();
    host_role(hf.host, true, hf.f->term);
    plane_settle();
    plane_check(HOST_LEADING);
    plane_await_namespaces();
}

void plane_close(void)
{
    mem_fail_after(0);
    if (!plane.open) {
        return;
    }
    plane_host_close();
    plane.open = false;
    arena_close(&plane.arena);
    plane.start = plane.stop = plane.fini = (struct plane_hook){0};
    if (plane.fixture != NULL) {
        fixture_teardown(&plane.fixture);
        plane.fixture = NULL;
    }
}

int plane_teardown(void **state)
{
    (void)state;
    plane_close();
    return 0;
}

void plane_follow(void)
{
    host_role(hf.host, false, hf.f->term);
    plane_settle();
    plane_check(HOST_READY);
}

void plane_lead(void)
{
    host_role(hf.host, true, ++hf.f->term);
    plane_settle();
    plane_check(HOST_LEADING);
}

static void plane_on_admin(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    if (result->err != 0) {
        fail_msg("%s", result->why != NULL ? result->why : err_text(result->err));
    }
    *(bool *)r->data = true;
}

static void plane_switch(const char *plugin, bool on)
{
    struct plugin_admin *a = host_admin(hf.host);
    bool done = false;
    struct plugin_admin_req r = {.data = &done, .cb = plane_on_admin};
    (on ? a->enable : a->disable)(a, &r, plugin);
    for (int i = 0; i < 1000 && !done; i++) {
        plane_settle();
    }
    assert_true(done);
    plane_settle();
}

void plane_disable(const char *plugin)
{
    plane_switch(plugin, false);
}

void plane_enable(const char *plugin)
{
    plane_switch(plugin, true);
}

static void plane_on_compacted(struct service_job *j, int err, int64_t revision,
                               const struct service_hash *hash)
{
    (void)revision, (void)hash;
    assert_int_equal(err, 0);
    *(bool *)j->data = true;
}

void plane_compact(void)
{
    struct service *s = hf.f->service;
    bool done = false;
    struct service_job job = {.data = &done, .cb = plane_on_compacted};
    s->compact(s, &job, s->revision(s), false);
    for (int i = 0; i < 1000 && !done; i++) {
        plane_settle();
    }
    assert_true(done);
}

void plane_restart(void)
{
    plane_host_close();
    plane_host_open();
    plane_lead();
    plane_await_namespaces();
}

/* ---- inside a plugin ----------------------------------------------------------------------- */

void plane_inside_only(void (*fn)(void *data), void *data)
{
    struct inside i = {.fn = fn, .data = data};
    assert_int_equal(probe.host->post(probe.root, inside_on_post, &i), 0);
    for (int n = 0; n < 1000 && !i.done; n++) {
        (void)host_turn(hf.host, plane.now_ms);
    }
    assert_true(i.done);
}

void plane_inside(void (*fn)(void *data), void *data)
{
    plane_inside_only(fn, data);
    plane_settle();
}

/* ---- asking -------------------------------------------------------------------------------- */

struct plane_request {
    bool ignored; /* nobody waits for the answer */
    struct kvp_object_args args;
    struct plane_answer answer;
    int accepted;
    bool done;
};

static const char *plane_keep(struct slice s)
{
    char *copy = arena_alloc(&plane.arena, s.len + 1);
    assert_non_null(copy);
    if (s.len > 0) {
        memcpy(copy, s.data, s.len);
    }
    copy[s.len] = '\0';
    return copy;
}

static void plane_on_answer(void *data, const struct kvp_result *r,
                            const struct kvp_object_answer *a)
{
    struct plane_request *q = data;
    q->done = true;
    q->answer.outcome = r->outcome;
    q->answer.reason = r->reason;
    q->answer.message = plane_keep(slice_str(r->text != NULL ? r->text : ""));
    q->answer.body = "";
    if (a != NULL) {
        q->answer.status = a->status;
        q->answer.body = plane_keep(slice_of_kvp(a->body));
    }
}

static void plane_on_ignored(void *data, const struct kvp_result *r,
                             const struct kvp_object_answer *a)
{
    (void)data, (void)r, (void)a;
}

static void plane_ask_inside(void *data)
{
    struct plane_request *q = data;
    static const struct kvp_bytes groups[] = {{"system:masters", 14}, {"system:authenticated", 20}};
    static const struct kvp_identity admin = {.size = sizeof(admin),
                                              .authenticated = 1,
                                              .user = {"kubernetes-admin", 16},
                                              .groups = groups,
                                              .group_count = 2};
    q->args.identity = &admin;
    q->args.done = q->ignored ? plane_on_ignored : plane_on_answer;
    q->args.data = q;
    /* Without leadership writes are refused, as they should be. */
    struct kvp_ctx *ctx = probe.term != NULL ? probe.term : probe.root;
    q->accepted = probe.host->object(ctx, &q->args, NULL);
}

static struct object *plane_decode(const struct schema_type *type, const char *json)
{
    struct errmsg e = {""};
    struct object *o = arena_zalloc(&plane.arena, sizeof(*o));
    assert_non_null(o);
    if (object_decode(o, type, &plane.arena, slice_str(json), NULL, &e) != 0) {
        fail_msg("%s: %s", e.text, json);
    }
    return o;
}

static bool plane_answered(void *data)
{
    return ((struct plane_request *)data)->done;
}

struct plane_answer plane_ask(enum kvp_verb verb, enum schema_type_id type_id, const char *sub,
                              const char *space, const char *name, const char *body,
                              const char *content_type, const char *query)
{
    const struct schema_type *type = schema_type(type_id);
    const struct schema_resource *kind = schema_resource_of(type);
    if (kind == NULL) {
        fail_msg("%s is not a kind that is served", schema_type_name(type));
    }
    content_type = content_type != NULL || verb != KVP_VERB_PATCH ? content_type
                                                                  : "application/merge-patch+json";
    struct plane_request q = {
        .args = {.size = sizeof(q.args),
                 .request = {.size = sizeof(q.args.request),
                             .verb = verb,
                             .group = kvp_str(schema_text(type, type->group)),
                             .version = kvp_str(schema_text(type, type->version)),
                             .resource = kvp_str(schema_text(kind, kind->plural)),
                             .subresource = kvp_str(sub),
                             .space = kvp_str(space),
                             .name = kvp_str(name),
                             .body = kvp_str(body),
                             .content_type = kvp_str(content_type),
                             .query = kvp_str(query)}}};
    plane_inside(plane_ask_inside, &q);
    assert_int_equal(q.accepted, 0);
    /* Answers take no time, but the server may wait for something of its own. */
    if (!plane_until(plane_answered, &q, 60000)) {
        fail_msg("no answer to verb %d on %s %s", (int)verb, schema_text(kind, kind->plural),
                 name != NULL ? name : "");
    }
    if (q.answer.status >= 400) {
        struct object *status = plane_decode(schema_type(SCHEMA_META_V1_STATUS), q.answer.body);
        q.answer.message = plane_keep(object_text(status, "message"));
    }
    return q.answer;
}

void plane_send(enum schema_type_id type_id, const char *space, const char *json)
{
    const struct schema_type *type = schema_type(type_id);
    struct plane_request q = {
        .ignored = true,
        .args = {.size = sizeof(q.args),
                 .request = {.size = sizeof(q.args.request),
                             .verb = KVP_VERB_CREATE,
                             .group = kvp_str(schema_text(type, type->group)),
                             .version = kvp_str(schema_text(type, type->version)),
                             .resource = kvp_str(schema_text(schema_resource_of(type),
                                                             schema_resource_of(type)->plural)),
                             .space = kvp_str(space),
                             .body = kvp_str(json)}}};
    plane_inside_only(plane_ask_inside, &q);
    assert_int_equal(q.accepted, 0);
}

static struct plane_answer plane_must(struct plane_answer a, const char *what, const char *name)
{
    if (a.status < 200 || a.status > 299) {
        fail_msg("%s %s: %d (outcome %d, reason %d): %s", what, name != NULL ? name : "", a.status,
                 (int)a.outcome, (int)a.reason, a.message);
    }
    return a;
}

static enum schema_type_id plane_type_id(const struct schema_type *t)
{
    return (enum schema_type_id)(t - schema_types);
}

static const char *plane_space_of(const struct object *o)
{
    bool namespaced = (schema_resource_of(o->type)->rules & SCHEMA_RULE_NAMESPACED) != 0;
    struct slice space = object_namespace(o);
    return !namespaced ? NULL : space.len > 0 ? plane_keep(space) : "default";
}

struct object *plane_apply(const char *json)
{
    struct errmsg e = {""};
    struct slice version, kind;
    if (decode_type_meta(slice_str(json), &plane.arena, &version, &kind, &e) != 0) {
        fail_msg("%s: %s", e.text, json);
    }
    const uint8_t *slash = version.len > 0 ? memchr(version.data, '/', version.len) : NULL;
    size_t group_len = slash != NULL ? (size_t)(slash - version.data) : 0;
    struct slice group = slice_of(version.data, group_len);
    size_t skip = slash != NULL ? group_len + 1 : 0;
    const struct schema_type *type =
        schema_find_kind(group, slice_of(version.data + skip, version.len - skip), kind);
    if (type == NULL || schema_resource_of(type) == NULL) {
        fail_msg("no such kind: %s", json);
    }
    struct object *o = plane_decode(type, json);
    const char *space = plane_space_of(o);
    const char *name = plane_keep(object_name(o));
    enum schema_type_id id = plane_type_id(type);
    struct plane_answer a =
        plane_ask(KVP_VERB_CREATE, id, NULL, space, NULL, json, "application/json", NULL);
    if (a.status == 409 && strstr(a.body, "\"AlreadyExists\"") != NULL) {
        a = plane_ask(KVP_VERB_PATCH, id, NULL, space, name, json, NULL, NULL);
    }
    return plane_decode(type, plane_must(a, "apply", name).body);
}

struct object *plane_applyf(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    assert_true(vasprintf(&text, format, args) >= 0);
    va_end(args);
    const char *kept = plane_keep(slice_str(text));
    free(text);
    return plane_apply(kept);
}

struct object *plane_get(enum schema_type_id type, const char *space, const char *name)
{
    struct plane_answer a = plane_ask(KVP_VERB_GET, type, NULL, space, name, NULL, NULL, NULL);
    return a.status == 404 ? NULL
                           : plane_decode(schema_type(type), plane_must(a, "get", name).body);
}

struct object **plane_list(enum schema_type_id type, const char *space, const char *query,
                           size_t *count)
{
    const struct schema_resource *kind = schema_resource_of(schema_type(type));
    struct plane_answer a = plane_must(
        plane_ask(KVP_VERB_LIST, type, NULL, space, NULL, NULL, NULL, query), "list", query);
    struct object *list =
        plane_decode((const struct schema_type *)schema_at(kind, kind->list_type), a.body);
    const struct value *items = object_get(list, "items");
    *count = value_len(items);
    struct object **out = arena_zalloc(&plane.arena, (*count + 1) * sizeof(struct object *));
    assert_non_null(out);
    for (size_t i = 0; i < *count; i++) {
        out[i] = arena_zalloc(&plane.arena, sizeof(struct object));
        assert_non_null(out[i]);
        *out[i] = (struct object){
            .type = schema_type(type), .root = items->items[i], .arena = &plane.arena};
        assert_int_equal(object_set_type_meta(out[i]), 0);
    }
    return out;
}

size_t plane_count(enum schema_type_id type, const char *space, const char *query)
{
    size_t count;
    (void)plane_list(type, space, query, &count);
    return count;
}

struct object *plane_update(const struct object *o, const char *sub)
{
    struct buf body;
    buf_init(&body);
    object_encode(o, &body);
    assert_false(body.failed);
    const char *json = plane_keep(buf_slice(&body));
    buf_close(&body);
    const char *name = plane_keep(object_name(o));
    struct plane_answer a = plane_ask(KVP_VERB_UPDATE, plane_type_id(o->type), sub,
                                      plane_space_of(o), name, json, "application/json", NULL);
    return plane_decode(o->type, plane_must(a, "update", name).body);
}

struct object *plane_patch(enum schema_type_id type, const char *space, const char *name,
                           const char *sub, const char *json)
{
    struct plane_answer a = plane_ask(KVP_VERB_PATCH, type, sub, space, name, json, NULL, NULL);
    return plane_decode(schema_type(type), plane_must(a, "patch", name).body);
}

void plane_delete(enum schema_type_id type, const char *space, const char *name,
                  const char *options)
{
    (void)plane_must(plane_ask(KVP_VERB_DELETE, type, NULL, space, name, options,
                               options != NULL ? "application/json" : NULL, NULL),
                     "delete", name);
}

/* ---- looking ------------------------------------------------------------------------------- */

const char *plane_text_of(const struct object *o, const char *path)
{
    const struct value *v = o != NULL ? object_get(o, path) : NULL;
    char number[40];
    if (v == NULL) {
        return "";
    }
    switch ((enum value_kind)v->kind) {
    case VALUE_TEXT:
    case VALUE_BYTES:
    case VALUE_RAW:
        return plane_keep(value_slice(v));
    case VALUE_BOOL:
        return v->boolean ? "true" : "false";
    case VALUE_INT:
        snprintf(number, sizeof(number), "%lld", (long long)v->integer);
        return plane_keep(slice_str(number));
    default:
        break;
    }
    struct buf out;
    buf_init(&out);
    encode_json(NULL, v, &out);
    const char *text = plane_keep(buf_slice(&out));
    buf_close(&out);
    return text;
}

const char *plane_text(enum schema_type_id type, const char *space, const char *name,
                       const char *path)
{
    return plane_text_of(plane_get(type, space, name), path);
}

void plane_expect(enum schema_type_id type, const char *space, const char *name, const char *path,
                  const char *text)
{
    const char *found = plane_text(type, space, name, path);
    if (strcmp(found, text) != 0) {
        fail_msg("%s of %s is \"%s\" instead of \"%s\"", path, name, found, text);
    }
}

size_t plane_events(const char *space, const char *about, const char *reason)
{
    size_t count;
    size_t sum = 0;
    struct object **events =
        plane_list(SCHEMA_CORE_V1_EVENT, space != NULL ? space : "default", NULL, &count);
    for (size_t i = 0; i < count; i++) {
        const struct object *o = events[i];
        if (slice_eq(object_text(o, "reason"), slice_str(reason)) &&
            (about == NULL || slice_eq(object_text(o, "involvedObject.name"), slice_str(about)))) {
            sum += (size_t)object_int(o, "count", 1);
        }
    }
    return sum;
}
