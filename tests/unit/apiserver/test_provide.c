/* test_provide.c - objects for other plugins: the API server in the real host over the real store,
 * in virtual time, asked by the probe. */
#include "tests/unit/plugins/host_fixture.h"

static uint64_t now_ms;

/* Runs host and store until neither has anything to do now. */
static void settle(void)
{
    for (int quiet = 0; quiet < 3;) {
        bool ran = host_turn(hf.host, now_ms);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
        quiet = ran ? 0 : quiet + 1;
    }
}

static void pass_ms(uint64_t ms)
{
    for (uint64_t end = now_ms + ms; now_ms < end;) {
        uint64_t next = host_next_ms(hf.host);
        now_ms = next < end ? next : end;
        settle();
    }
}

static void stop_all(void)
{
    if (hf.host == NULL) {
        return;
    }
    host_stop(hf.host, host_fixture_on_stopped, &hf.stopped);
    for (int i = 0; i < 1000 && !hf.stopped; i++) {
        (void)host_turn(hf.host, now_ms);
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
    }
    assert_true(hf.stopped);
    hf.host = NULL;
}

static void inside_now(void (*fn)(void *data), void *data)
{
    struct inside i = {.fn = fn, .data = data};
    assert_int_equal(probe.host->post(probe.root, inside_on_post, &i), 0);
    settle();
    assert_true(i.done);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

#define EVENTS_MAX 64

struct asked {
    int done, outcome, reason, status;
    int64_t revision;
    char body[8192];
    char type[64];
    int events;
    struct {
        char type[16];
        char object[1024];
        int64_t revision;
    } event[EVENTS_MAX];
    struct kvp_object *object;
};

struct want {
    struct kvp_ctx *ctx; /* NULL = the term's */
    uint32_t verb;
    const char *group, *version, *resource, *sub, *space, *name, *body, *type, *query;
    int64_t revision;
    const char *user; /* NULL = the probe itself */
    struct asked *a;
    bool cancel; /* at once */
};

static void asked_done(void *data, const struct kvp_result *r, const struct kvp_object_answer *a)
{
    struct asked *q = data;
    q->done++;
    q->outcome = r->outcome;
    q->reason = r->reason;
    if (a != NULL) {
        q->status = a->status;
        q->revision = a->revision;
        text_of(q->body, sizeof q->body, a->body);
        text_of(q->type, sizeof q->type, a->content_type);
    }
    q->object = NULL;
}

static void asked_event(void *data, struct kvp_bytes type, struct kvp_bytes object,
                        int64_t revision)
{
    struct asked *q = data;
    assert_int_equal(q->done, 0);
    if (q->events < EVENTS_MAX) {
        text_of(q->event[q->events].type, 16, type);
        text_of(q->event[q->events].object, 1024, object);
        q->event[q->events].revision = revision;
    }
    q->events++;
}

static struct kvp_bytes bytes(const char *text)
{
    return kvp_str(text == NULL ? "" : text);
}

static void want_inside(void *data)
{
    struct want *w = data;
    struct kvp_identity who = {.size = sizeof who, .authenticated = 1, .user = bytes(w->user)};
    struct kvp_object_args a = {
        .size = sizeof a,
        .request = {.size = sizeof a.request,
                    .verb = w->verb,
                    .group = bytes(w->group),
                    .version = bytes(w->version == NULL ? "v1" : w->version),
                    .resource = bytes(w->resource == NULL ? "configmaps" : w->resource),
                    .subresource = bytes(w->sub),
                    .space = bytes(w->space == NULL ? "default" : w->space),
                    .name = bytes(w->name),
                    .body = bytes(w->body),
                    .content_type = bytes(w->type),
                    .query = bytes(w->query),
                    .revision = w->revision},
        .identity = w->user == NULL ? NULL : &who,
        .done = asked_done,
        .event = asked_event,
        .data = w->a};
    struct kvp_object *object = NULL;
    int rc = probe.host->object(w->ctx == NULL ? probe.term : w->ctx, &a, &object);
    assert_int_equal(rc, 0);
    w->a->object = object;
    if (w->cancel) {
        probe.host->object_cancel(object);
        w->a->object = NULL;
    }
}

/* Asks, and waits as long as something happens now. */
static struct asked *want(struct want w)
{
    static struct asked shared;
    w.a = w.a == NULL ? &shared : w.a;
    memset(w.a, 0, sizeof *w.a);
    inside_now(want_inside, &w);
    return w.a;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("without %s: %s", part, text);
    }
}

static void expect(struct want w, int status, const char *part)
{
    struct asked *a = want(w);
    assert_int_equal(a->done, 1);
    assert_int_equal(a->outcome, KVP_OK);
    if (a->status != status) {
        fail_msg("%d instead of %d: %s", a->status, status, a->body);
    }
    assert_string_equal(a->type, "application/json");
    assert_has(a->body, part);
}

static void cancel_inside(void *data)
{
    struct asked *a = data;
    probe.host->object_cancel(a->object);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int open_with(void **state, const char *api)
{
    struct errmsg e = {""};
    assert_int_equal(fixture_setup(state), 0);
    hf.f = *state;
    struct host_options o = {
        .service = hf.f->service, .data_dir = hf.f->dir, .member_id = 7, .seed = 3};
    memset(&probe, 0, sizeof(probe));
    probe_plugin.flags = 0;
    now_ms = 1000;
    hf.stopped = false;
    assert_int_equal(host_new(&o, &hf.host, &e), 0);
    host_register_static(kvplugin_entry());
    host_register_static(&probe_plugin);
    if (host_load(hf.host, api, &e) != 0 || host_load(hf.host, "static:probe", &e) != 0) {
        fail_msg("%s", e.text);
    }
    settle();
    host_role(hf.host, true, hf.f->term);
    settle();
    assert_int_equal(probe_state(), HOST_LEADING);
    pass_ms(10);
    return 0;
}

static int setup_all(void **state)
{
    return open_with(state, "static:apiserver,insecure-allow-all=true");
}

static int setup_strict(void **state)
{
    return open_with(state, "static:apiserver");
}

static int teardown(void **state)
{
    stop_all();
    return fixture_teardown(state);
}

/* ---- the verbs ---------------------------------------------------------------------------------
 */

static const char cm[] = "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\"}},\"data\":{\"k\":"
                         "\"v\"}}";

static void every_verb_is_answered(void **state)
{
    struct asked *a = want((struct want){.verb = KVP_VERB_CREATE, .body = cm});
    assert_int_equal(a->status, 201);
    assert_has(a->body,
               "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"");
    assert_has(a->body, "\"manager\":\"probe\"");
    int64_t created = a->revision;
    char version[64];
    snprintf(version, sizeof version, "\"resourceVersion\":\"%lld\"", (long long)created);
    assert_has(a->body, version);
    expect((struct want){.verb = KVP_VERB_CREATE, .body = cm}, 409, "\"reason\":\"AlreadyExists\"");
    /* The name is the object's. */
    expect((struct want){.verb = KVP_VERB_CREATE, .name = "x", .body = cm}, 409, "AlreadyExists");
    a = want((struct want){.verb = KVP_VERB_GET, .name = "a"});
    assert_int_equal(a->status, 200);
    assert_int_equal(a->revision, created);
    expect((struct want){.verb = KVP_VERB_GET, .name = "b"}, 404, "configmaps \\\"b\\\" not found");
    expect(
        (struct want){
            .verb = KVP_VERB_UPDATE,
            .name = "a",
            .body =
                "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\"}},\"data\":{\"k\":\"w\"}}"},
        200, "\"k\":\"w\"");
    expect((struct want){.verb = KVP_VERB_UPDATE,
                         .name = "a",
                         .body = "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}"},
           409, "the object has been modified");
    expect((struct want){.verb = KVP_VERB_PATCH,
                         .name = "a",
                         .type = "application/merge-patch+json",
                         .body = "{\"data\":{\"more\":\"1\"}}",
                         .query = "fieldManager=me"},
           200, "\"manager\":\"me\"");
    expect((struct want){.verb = KVP_VERB_PATCH, .name = "a", .body = "{}"}, 415,
           "application/merge-patch+json");
    a = want((struct want){.verb = KVP_VERB_LIST, .query = "labelSelector=x%3D1&limit=1"});
    assert_int_equal(a->status, 200);
    assert_has(a->body, "\"kind\":\"ConfigMapList\"");
    assert_has(a->body, "\"more\":\"1\"");
    assert_true(a->revision > created);
    expect((struct want){.verb = KVP_VERB_LIST, .query = "labelSelector=x%3D2"}, 200,
           "\"items\":[]");
    expect((struct want){.verb = KVP_VERB_LIST,
                         .revision = 99999,
                         .query = "resourceVersionMatch=Wrong"},
           422, "resourceVersionMatch");
    expect((struct want){.verb = KVP_VERB_DELETE,
                         .name = "a",
                         .body = "{\"preconditions\":{\"uid\":\"other\"}}"},
           409, "the UID in the precondition (other)");
    expect((struct want){.verb = KVP_VERB_DELETE, .name = "a"}, 200, "\"status\":\"Success\"");
    expect((struct want){.verb = KVP_VERB_DELETE, .name = "a"}, 404, "NotFound");
    expect((struct want){.verb = KVP_VERB_CREATE, .body = cm}, 201, "");
    expect((struct want){.verb = KVP_VERB_DELETE, .query = "labelSelector=x%3D1"}, 200,
           "\"name\":\"a\"");
    expect((struct want){.verb = KVP_VERB_LIST}, 200, "\"items\":[]");
}

static void subresources_and_scopes(void **state)
{
    expect((struct want){.verb = KVP_VERB_CREATE,
                         .resource = "namespaces",
                         .space = "",
                         .body = "{\"metadata\":{\"name\":\"n\"}}"},
           201, "\"phase\":\"Active\"");
    expect(
        (struct want){
            .verb = KVP_VERB_UPDATE,
            .resource = "namespaces",
            .sub = "status",
            .space = "",
            .name = "n",
            .body =
                "{\"metadata\":{\"name\":\"n\"},\"status\":{\"phase\":\"Active\",\"conditions\":["
                "{\"type\":\"Seen\",\"status\":\"True\"}]}}"},
        200, "\"type\":\"Seen\"");
    expect((struct want){.verb = KVP_VERB_LIST, .space = "", .resource = "configmaps"}, 200,
           "ConfigMapList");
    expect((struct want){.verb = KVP_VERB_LIST, .group = "apps", .resource = "replicasets"}, 200,
           "\"apiVersion\":\"apps/v1\"");
}

static void nonsense_is_refused(void **state)
{
    expect((struct want){.verb = KVP_VERB_GET}, 400, "the request needs a name");
    expect((struct want){.verb = KVP_VERB_LIST, .name = "a"}, 400, "a list is not of one name");
    expect((struct want){.verb = KVP_VERB_LIST, .query = "watch=1"}, 400,
           "the options do not fit the verb");
    expect((struct want){.verb = KVP_VERB_GET, .resource = "nothings", .name = "a"}, 404,
           "the server could not find the requested resource");
    expect((struct want){.verb = KVP_VERB_GET, .name = "../../secrets/x"}, 400,
           "the path has an invalid part");
    expect((struct want){.verb = KVP_VERB_CREATE, .body = "{"}, 400, "BadRequest");
    expect((struct want){.verb = KVP_VERB_CREATE, .space = "nowhere", .body = cm}, 404,
           "namespaces \\\"nowhere\\\" not found");
    expect((struct want){.verb = KVP_VERB_UPDATE, .sub = "nothing", .name = "a", .body = "{}"}, 404,
           "could not find");
}

/* ---- whose writes ------------------------------------------------------------------------------
 */

static void only_leaders_write(void **state)
{
    expect((struct want){.ctx = probe.root, .verb = KVP_VERB_CREATE, .body = cm}, 503,
           "whoever asks does not lead");
    expect((struct want){.ctx = probe.root, .verb = KVP_VERB_LIST}, 200, "\"items\":[]");
}

static void on_epoch(struct service_write *w, int err, int64_t revision, struct slice body)
{
    assert_int_equal(err, 0);
    *(bool *)w->data = true;
}

static void writes_carry_the_askers_leadership(void **state)
{
    struct service *s = hf.f->service;
    struct buf b = {0};
    bool done = false;
    struct service_write epoch = {.cb = on_epoch, .data = &done};
    expect((struct want){.verb = KVP_VERB_CREATE, .body = cm}, 201, "");
    /* A newer leadership of the asker, elsewhere. */
    wire_put_bytes(&b, 1, slice_str("probe"));
    wire_put_uint(&b, 2, 9);
    wire_put_uint(&b, 3, hf.f->term + 1);
    wire_put_uint(&b, 4, 1);
    s->propose(s, &epoch, SERVICE_EPOCH, buf_slice(&b));
    for (int i = 0; i < 100 && !done; i++) {
        settle();
    }
    assert_true(done);
    buf_close(&b);
    expect((struct want){.verb = KVP_VERB_DELETE, .name = "a"}, 503, "whoever asks does not lead");
    expect((struct want){.verb = KVP_VERB_GET, .name = "a"}, 200, "\"name\":\"a\"");
}

/* ---- watches -----------------------------------------------------------------------------------
 */

static void make(const char *name)
{
    char body[128];
    snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"%s\"}}", name);
    expect((struct want){.verb = KVP_VERB_CREATE, .body = body}, 201, name);
}

static void watches_tell_type_object_and_revision(void **state)
{
    static struct asked w;
    make("before");
    struct asked *list = want((struct want){.verb = KVP_VERB_LIST});
    int64_t from = list->revision;
    want((struct want){.verb = KVP_VERB_WATCH,
                       .revision = from,
                       .query = "allowWatchBookmarks=true&timeoutSeconds=600",
                       .a = &w});
    assert_int_equal(w.events, 0);
    expect((struct want){.verb = KVP_VERB_CREATE, .body = cm}, 201, "");
    assert_int_equal(w.events, 1);
    assert_string_equal(w.event[0].type, "ADDED");
    assert_int_equal(w.event[0].object[0], '{');
    assert_has(w.event[0].object, "\"kind\":\"ConfigMap\"");
    char version[64];
    snprintf(version, sizeof version, "\"resourceVersion\":\"%lld\"",
             (long long)w.event[0].revision);
    assert_has(w.event[0].object, version);
    assert_int_equal(w.event[0].object[strlen(w.event[0].object) - 1], '}');
    expect((struct want){.verb = KVP_VERB_DELETE, .name = "a"}, 200, "");
    assert_int_equal(w.events, 2);
    assert_string_equal(w.event[1].type, "DELETED");
    assert_true(w.event[1].revision > w.event[0].revision);
    pass_ms(70000);
    assert_true(w.events >= 3);
    assert_string_equal(w.event[2].type, "BOOKMARK");
    assert_int_equal(w.event[2].revision, w.event[1].revision);
    assert_has(w.event[2].object, "\"metadata\":{\"resourceVersion\":\"");
    pass_ms(600000);
    assert_int_equal(w.done, 1);
    assert_int_equal(w.status, 200);
}

static void watches_begin_with_what_is_there(void **state)
{
    static struct asked w;
    make("one");
    make("two");
    want((struct want){.verb = KVP_VERB_WATCH,
                       .query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
                                "allowWatchBookmarks=true",
                       .a = &w});
    assert_int_equal(w.events, 3);
    assert_string_equal(w.event[0].type, "ADDED");
    assert_string_equal(w.event[1].type, "ADDED");
    assert_string_equal(w.event[2].type, "BOOKMARK");
    assert_has(w.event[2].object, "k8s.io/initial-events-end");
    inside_now(cancel_inside, &w);
    make("three");
    assert_int_equal(w.events, 3);
    assert_int_equal(w.done, 0);
}

struct burst {
    int count;
    int done;
};

static void burst_done(void *data, const struct kvp_result *r, const struct kvp_object_answer *a)
{
    struct burst *b = data;
    b->done++;
    assert_int_equal(a->status, 201);
}

/* Many creations at once: their events are more than may be under way to one asker. */
static void burst_inside(void *data)
{
    static char body[9000];
    struct burst *b = data;
    for (int i = 0; i < b->count; i++) {
        int n =
            snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"m%03d\"},\"data\":{\"k\":\"", i);
        memset(body + n, 'x', 8000);
        snprintf(body + n + 8000, sizeof body - (size_t)n - 8000, "\"}}");
        struct kvp_object_args a = {.size = sizeof a,
                                    .request = {.size = sizeof a.request,
                                                .verb = KVP_VERB_CREATE,
                                                .version = kvp_str("v1"),
                                                .resource = kvp_str("configmaps"),
                                                .space = kvp_str("default"),
                                                .body = kvp_str(body)},
                                    .done = burst_done,
                                    .data = b};
        assert_int_equal(probe.host->object(probe.term, &a, NULL), 0);
    }
}

static void a_burst_loses_no_event(void **state)
{
    static struct asked w;
    struct burst b = {.count = 200};
    want((struct want){.verb = KVP_VERB_WATCH, .a = &w});
    inside_now(burst_inside, &b);
    assert_int_equal(b.done, 200);
    assert_int_equal(w.events, 200);
    /* And all of them at once. */
    static struct asked late;
    want((struct want){.verb = KVP_VERB_WATCH, .a = &late});
    assert_int_equal(late.events, 200);
    for (int i = 1; i < EVENTS_MAX; i++) {
        assert_true(w.event[i].revision > w.event[i - 1].revision);
    }
}

static void spoil_done(void *data, const struct kvp_result *r)
{
    assert_int_equal(r->outcome, KVP_OK);
}

static void spoil_inside(void *data)
{
    struct kvp_put put = {.size = sizeof put,
                          .key = kvp_str("/registry/configmaps/default/z"),
                          .value = kvp_str("{")};
    assert_int_equal(probe.host->put(probe.term, &put, spoil_done, NULL), 0);
}

static void errors_of_watches_are_events(void **state)
{
    static struct asked w;
    make("one");
    expect((struct want){.verb = KVP_VERB_WATCH, .query = "fieldSelector=spec.nothing%3D1"}, 400,
           "field label not supported");
    struct asked *list = want((struct want){.verb = KVP_VERB_LIST});
    want((struct want){.verb = KVP_VERB_WATCH,
                       .query = "labelSelector=a%3Db",
                       .revision = list->revision,
                       .a = &w});
    assert_int_equal(w.done, 0);
    /* A value nobody could have written through here. */
    inside_now(spoil_inside, NULL);
    assert_int_equal(w.events, 1);
    assert_string_equal(w.event[0].type, "ERROR");
    assert_has(w.event[0].object, "{\"kind\":\"Status\"");
    assert_int_equal(w.done, 1);
}

/* ---- going away --------------------------------------------------------------------------------
 */

static void askers_may_leave_at_any_moment(void **state)
{
    static const uint32_t verbs[] = {KVP_VERB_GET,    KVP_VERB_LIST,  KVP_VERB_WATCH,
                                     KVP_VERB_CREATE, KVP_VERB_PATCH, KVP_VERB_DELETE};
    static struct asked a;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        /* After this many turns of host and store. */
        for (int turns = 0; turns < 12; turns++) {
            struct want w = {.verb = verbs[i], .a = &a, .cancel = turns == 0};
            bool list = verbs[i] == KVP_VERB_LIST || verbs[i] == KVP_VERB_WATCH;
            w.name = list || verbs[i] == KVP_VERB_CREATE ? NULL : "a";
            w.body = verbs[i] == KVP_VERB_CREATE ? cm : verbs[i] == KVP_VERB_DELETE ? NULL : "{}";
            w.type = verbs[i] == KVP_VERB_PATCH ? "application/merge-patch+json" : NULL;
            memset(&a, 0, sizeof a);
            struct inside in = {.fn = want_inside, .data = &w};
            assert_int_equal(probe.host->post(probe.root, inside_on_post, &in), 0);
            for (int k = 0; k < turns; k++) {
                (void)host_turn(hf.host, now_ms);
                if (k % 2 == 1) {
                    uv_run(&hf.f->loop, UV_RUN_NOWAIT);
                }
            }
            if (in.done && a.object != NULL) {
                inside_now(cancel_inside, &a);
            }
            settle();
            assert_true(in.done);
        }
    }
    expect((struct want){.verb = KVP_VERB_LIST}, 200, "ConfigMapList");
}

static void a_term_may_end_with_requests_under_way(void **state)
{
    static struct asked w, c;
    want((struct want){.verb = KVP_VERB_WATCH, .a = &w});
    hf.f->hold = true;
    want((struct want){.verb = KVP_VERB_CREATE, .body = cm, .a = &c});
    assert_int_equal(c.done, 0);
    host_role(hf.host, false, hf.f->term);
    settle();
    assert_int_equal(probe.stops, 1);
    assert_int_equal(w.done, 1);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.outcome, KVP_UNKNOWN);
    hf.f->hold = false;
    settle();
}

static void the_end_comes_with_requests_under_way(void **state)
{
    static struct asked w, c;
    want((struct want){.verb = KVP_VERB_WATCH, .a = &w});
    hf.f->hold = true;
    want((struct want){.verb = KVP_VERB_CREATE, .body = cm, .a = &c});
    stop_all();
    assert_int_equal(w.done, 1);
    assert_int_equal(c.done, 1);
}

/* Allocation number N of host and API server fails: a request is answered once all the same, and
 * what it began is gone. */
static void memory_may_fail(void **state)
{
    static struct asked a;
    for (uint64_t n = 1; n <= 60; n++) {
        struct want w = {
            .verb = n % 2 ? KVP_VERB_LIST : KVP_VERB_GET, .name = n % 2 ? NULL : "a", .a = &a};
        struct inside in = {.fn = want_inside, .data = &w};
        memset(&a, 0, sizeof a);
        assert_int_equal(probe.host->post(probe.root, inside_on_post, &in), 0);
        (void)host_turn(hf.host, now_ms); /* asked */
        uint64_t left = n;
        for (int quiet = 0; quiet < 3;) {
            mem_fail_after(left);
            bool ran = host_turn(hf.host, now_ms);
            left = mem_fail_left();
            mem_fail_after(0);
            uv_run(&hf.f->loop, UV_RUN_NOWAIT);
            quiet = ran ? 0 : quiet + 1;
        }
        assert_true(in.done);
        assert_int_equal(a.done, 1);
    }
}

/* ---- the gate ----------------------------------------------------------------------------------
 */

static void strangers_may_nothing(void **state)
{
    expect((struct want){.verb = KVP_VERB_LIST}, 403,
           "configmaps is forbidden: User \\\"kvd:plugin:probe\\\" cannot list resource "
           "\\\"configmaps\\\" in API group \\\"\\\" in the namespace \\\"default\\\"");
    expect((struct want){.verb = KVP_VERB_LIST, .user = "kvd:plugin:controllers"}, 200, "items");
    expect((struct want){.verb = KVP_VERB_LIST, .user = "alice"}, 403, "User \\\"alice\\\"");
}

int main(void)
{
#define T(name)  cmocka_unit_test_setup_teardown(name, setup_all, teardown)
#define TS(name) cmocka_unit_test_setup_teardown(name, setup_strict, teardown)
    const struct CMUnitTest tests[] = {
        T(every_verb_is_answered),
        T(subresources_and_scopes),
        T(nonsense_is_refused),
        T(only_leaders_write),
        T(writes_carry_the_askers_leadership),
        T(watches_tell_type_object_and_revision),
        T(watches_begin_with_what_is_there),
        T(a_burst_loses_no_event),
        T(errors_of_watches_are_events),
        T(askers_may_leave_at_any_moment),
        T(a_term_may_end_with_requests_under_way),
        T(the_end_comes_with_requests_under_way),
        T(memory_may_fail),
        TS(strangers_may_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
