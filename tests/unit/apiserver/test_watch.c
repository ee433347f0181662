/* test_watch - changes arrive as they come: in order, selected, once each, however slow the client.
 */
#include <stdbool.h>

#include "tests/unit/apiserver/server.h"

#define SEEDS 10u
#define CMS   "/api/v1/namespaces/default/configmaps"
#define WATCH CMS "?watch=1"

/* The stream as TYPE name@revision lines. */
static const char *told(struct t_http *x)
{
    static char out[65536];
    size_t n = 0;
    struct kvp_bytes all = t_http_body(x);
    const char *at = all.data;
    out[0] = 0;
    for (const char *end; (end = strchr(at, '\n')) != NULL && n + 200 < sizeof out; at = end + 1) {
        char line[4096];
        char type[32];
        char name[64];
        snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
        pick(line, "{\"type\":\"", type, sizeof type);
        pick(line, "\"metadata\":{\"name\":\"", name, sizeof name);
        n += (size_t)snprintf(out + n, sizeof out - n, "%s %s,", type, name);
    }
    return out;
}

static void until(struct t_http *x, const char *want)
{
    for (int ms = 0; strcmp(told(x), want) != 0 && ms < SERVER_WAIT_MS; ms += SERVER_STEP_MS) {
        t_advance(SERVER_STEP_MS);
    }
    if (strcmp(told(x), want) != 0) {
        t_fail_test("%s instead of %s: %s", told(x), want, (const char *)t_http_body(x).data);
    }
}

static void make(const char *name, const char *label)
{
    char body[256];
    snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"l\":\"%s\"}}}", name,
             label);
    expect_answer("POST", CMS, body, 201, NULL);
}

static void label(const char *name, const char *value)
{
    char path[256];
    char body[256];
    snprintf(path, sizeof path, CMS "/%s", name);
    snprintf(body, sizeof body, "{\"metadata\":{\"labels\":{\"l\":\"%s\"}}}", value);
    struct asked a = ask_typed("PATCH", path, "application/merge-patch+json", body);
    expect_part(a, 200, NULL);
}

static void changes_story(void)
{
    char path[256];
    char version[32];
    server_open_all();
    make("a", "1");
    struct t_http *from_zero = begin_typed("GET", WATCH, "", "");
    until(from_zero, "ADDED a,");
    snprintf(path, sizeof path, WATCH "&resourceVersion=%lld", (long long)t_revision());
    struct t_http *from_here = begin_typed("GET", path, "", "");
    make("b", "1");
    label("a", "2");
    expect_answer("DELETE", CMS "/b", "", 200, NULL);
    until(from_zero, "ADDED a,ADDED b,MODIFIED a,DELETED b,");
    until(from_here, "ADDED b,MODIFIED a,DELETED b,");
    /* The deletion has a revision of its own. */
    const char *last = strstr(t_http_body(from_here).data, "DELETED");
    pick(last, "\"resourceVersion\":\"", version, sizeof version);
    t_expect_int(strtoll(version, NULL, 10), t_revision());
    t_expect_int(t_http_ended(from_here), 0);
    t_http_cancel(from_here);
    t_close();
}

static void changes_are_told(void **state)
{
    t_for_each_seed(SEEDS, changes_story);
}

/* HEAD: what a watch would begin with, without one. */
static void head_story(void)
{
    server_open_all();
    make("a", "1");
    struct asked a = ask("HEAD", WATCH, "");
    t_expect_int(a.status, 200);
    t_expect_int((int)t_http_body(a.x).len, 0);
    a = ask("HEAD", WATCH "&resourceVersion=1", "");
    t_expect_int(a.status, 200);
    a = ask("HEAD", WATCH "&labelSelector=%3D", "");
    t_expect_int(a.status, 400);
    t_close();
}

static void head_watches_nothing(void **state)
{
    t_for_each_seed(SEEDS, head_story);
}

static void selector_story(void)
{
    server_open_all();
    make("a", "1");
    make("b", "2");
    struct t_http *x = begin_typed("GET", WATCH "&labelSelector=l%3D1", "", "");
    until(x, "ADDED a,");
    label("b", "1");
    label("a", "2");
    make("c", "2");
    label("b", "1");
    expect_answer("DELETE", CMS "/a", "", 200, NULL);
    expect_answer("DELETE", CMS "/b", "", 200, NULL);
    until(x, "ADDED a,ADDED b,DELETED a,DELETED b,");
    /* What no longer matches goes as it was. */
    const char *gone = strstr(t_http_body(x).data, "DELETED");
    t_expect(strstr(gone, "\"labels\":{\"l\":\"1\"}") != NULL);
    struct t_http *one = begin_typed("GET", WATCH "&fieldSelector=metadata.name%3Dd", "", "");
    t_advance(100);
    make("d", "1");
    make("dd", "1");
    until(one, "ADDED d,");
    t_close();
}

static void selectors_turn_changes(void **state)
{
    t_for_each_seed(SEEDS, selector_story);
}

static void initial_story(void)
{
    server_open_all();
    const char *query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                        "&allowWatchBookmarks=true";
    char path[256];
    snprintf(path, sizeof path, WATCH "%s", query);
    struct t_http *empty = begin_typed("GET", path, "", "");
    until(empty, "BOOKMARK ,");
    t_expect(strstr(t_http_body(empty).data,
                    "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}") != NULL);
    make("a", "1");
    struct t_http *full = begin_typed("GET", path, "", "");
    until(full, "ADDED a,BOOKMARK ,");
    make("b", "1");
    until(full, "ADDED a,BOOKMARK ,ADDED b,");
    /* Bookmarks come from time to time, and with the end. */
    t_advance(70000);
    until(full, "ADDED a,BOOKMARK ,ADDED b,BOOKMARK ,");
    struct asked bad = ask("GET", WATCH "&sendInitialEvents=true", "");
    expect_part(bad, 422, "sendInitialEvents requires setting resourceVersionMatch");
    snprintf(path, sizeof path, WATCH "&timeoutSeconds=5&allowWatchBookmarks=1%s", query);
    struct t_http *brief = begin_typed("GET", path, "", "");
    t_advance(5200);
    t_expect_int(t_http_ended(brief), 1);
    t_expect(strcmp(told(brief), "ADDED a,ADDED b,BOOKMARK ,BOOKMARK ,") == 0);
    t_close();
}

static void informers_get_their_bookmark(void **state)
{
    t_for_each_seed(SEEDS, initial_story);
}

/* The time of a watch is up while a page of the initial events is on its way. */
static void late_story(void)
{
    struct kvp_pair table = {kvp_str("accept"),
                             kvp_str("application/json;as=Table;v=v1;g=meta.k8s.io")};
    struct t_http_args a = {.size = sizeof a,
                            .port = SERVER_PORT,
                            .method = "GET",
                            .path = WATCH "&timeoutSeconds=1",
                            .headers = &table,
                            .header_count = 1};
    server_open_all();
    for (int i = 0; i < 900; i++) {
        char key[64];
        char value[200];
        snprintf(key, sizeof key, "/registry/configmaps/default/c%03d", i);
        snprintf(value, sizeof value,
                 "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c%03d\","
                 "\"namespace\":\"default\"}}",
                 i);
        t_put(key, value);
    }
    struct t_http *x = t_http_open(&a);
    t_http_stall(x, 1);
    t_advance(990 + t_random(30));
    t_http_stall(x, 0);
    finish(x);
    t_close();
}

static void a_watch_may_end_at_any_time(void **state)
{
    t_for_each_seed(60, late_story);
}

static void compacted_story(void)
{
    server_open_all();
    make("a", "1");
    make("b", "1");
    t_compact(0);
    struct t_http *x = begin_typed("GET", WATCH "&resourceVersion=2", "", "");
    struct asked a = finish(x);
    expect_part(a, 200, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\"");
    t_expect(strstr(a.body, "too old resource version: 2 (") != NULL);
    t_expect(strstr(a.body, "\"code\":410}}\n") != NULL);
    t_close();
}

static void what_is_too_old_is_said(void **state)
{
    t_for_each_seed(SEEDS, compacted_story);
}

/* A client that stops reading loses nothing and costs one batch. */
static void slow_story(void)
{
    static char body[40000];
    char want[4096] = "";
    size_t n = 0;
    server_open_all();
    struct t_http *x = begin_typed("GET", WATCH, "", "");
    t_advance(200);
    t_http_stall(x, 1);
    for (int i = 0; i < 12; i++) {
        int len =
            snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"c%02d\"},\"data\":{\"k\":\"", i);
        memset(body + len, 'x', 30000);
        snprintf(body + len + 30000, sizeof body - 30000 - (size_t)len, "\"}}");
        expect_answer("POST", CMS, body, 201, NULL);
        n += (size_t)snprintf(want + n, sizeof want - n, "ADDED c%02d,", i);
        if (t_random(3) == 0) {
            t_advance(t_random(500));
        }
    }
    t_expect_int(t_http_body(x).len, 0);
    t_http_stall(x, 0);
    for (int ms = 0; strlen((const char *)t_http_body(x).data) < 360000 && ms < SERVER_WAIT_MS;
         ms++) {
        t_advance(SERVER_STEP_MS);
    }
    /* The lines are too long for told: count what matters. */
    const char *at = t_http_body(x).data;
    for (int i = 0; i < 12; i++) {
        char mark[64];
        snprintf(mark, sizeof mark, "\"metadata\":{\"name\":\"c%02d\"", i);
        at = at == NULL ? NULL : strstr(at, mark);
        t_expect(at != NULL);
    }
    t_expect(strstr(at + 20, "\"name\":\"c") == NULL);
    t_close();
}

static void slow_clients_lose_nothing(void **state)
{
    t_for_each_seed(SEEDS, slow_story);
}

/* A stalled list goes on as well. */
static void slow_list_story(void)
{
    static char body[70000];
    server_open_all();
    for (int i = 0; i < 5; i++) {
        int len =
            snprintf(body, sizeof body, "{\"metadata\":{\"name\":\"c%d\"},\"data\":{\"k\":\"", i);
        memset(body + len, 'x', 60000);
        snprintf(body + len + 60000, sizeof body - 60000 - (size_t)len, "\"}}");
        expect_answer("POST", CMS, body, 201, NULL);
    }
    struct t_http *x = begin_typed("GET", CMS, "", "");
    t_http_stall(x, 1);
    t_advance(1000);
    t_expect_int(t_http_ended(x), 0);
    t_http_stall(x, 0);
    struct asked a = finish(x);
    t_expect(strstr(a.body, "\"name\":\"c4\"") != NULL &&
             strcmp(a.body + t_http_body(x).len - 2, "}\n") == 0);
    t_close();
}

static void slow_lists_end(void **state)
{
    t_for_each_seed(SEEDS, slow_list_story);
}

/* A store that fails while the initial events are under way ends the stream: a client that waited
 * on would wait for ever. */
static void broken_story(void)
{
    server_open_all();
    for (int i = 0; i < 1200; i++) {
        char key[64];
        char value[256];
        snprintf(key, sizeof key, "/registry/configmaps/default/c%04d", i);
        snprintf(value, sizeof value,
                 "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c%04d\","
                 "\"namespace\":\"default\",\"uid\":\"u\"}}",
                 i);
        t_put(key, value);
    }
    t_fail("range", 2, KVP_UNAVAILABLE);
    struct t_http *x = begin_typed("GET", WATCH, "", "");
    for (int ms = 0; t_http_ended(x) == 0 && ms < SERVER_WAIT_MS; ms += SERVER_STEP_MS) {
        t_advance(SERVER_STEP_MS);
    }
    t_expect_int(t_http_ended(x), -1);
    /* Without a fault all of them come, page after page. */
    struct t_http *all = begin_typed("GET", WATCH, "", "");
    for (int ms = 0; strstr(t_http_body(all).data, "c1199") == NULL && ms < SERVER_WAIT_MS;
         ms += SERVER_STEP_MS) {
        t_advance(SERVER_STEP_MS);
    }
    t_expect(strstr(t_http_body(all).data, "c1199") != NULL);
    /* A value nobody can read is said to be one. */
    t_put("/registry/configmaps/default/c0000", "not JSON");
    expect_answer("GET", CMS, "", 500, "a stored object cannot be read: /registry/configmaps/");
    t_close();
}

static void broken_streams_end(void **state)
{
    t_for_each_seed(3, broken_story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_told),          cmocka_unit_test(head_watches_nothing),
        cmocka_unit_test(selectors_turn_changes),    cmocka_unit_test(informers_get_their_bookmark),
        cmocka_unit_test(what_is_too_old_is_said),   cmocka_unit_test(a_watch_may_end_at_any_time),
        cmocka_unit_test(slow_clients_lose_nothing), cmocka_unit_test(slow_lists_end),
        cmocka_unit_test(broken_streams_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
