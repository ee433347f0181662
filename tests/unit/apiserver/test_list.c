/* test_list - long lists are sent page by page: whole, slow, broken off, without memory. */
#include "tests/unit/apiserver/server.h"

#include "base/alloc.h"

#define CMS   "/api/v1/namespaces/default/configmaps"
#define SEEDS 10
#define MANY  1234 /* four pages */

/* Objects of at least so many bytes. */
static void fill_wide(int count, int bytes)
{
    for (int i = 0; i < count; i++) {
        char key[64];
        char value[4096];
        snprintf(key, sizeof key, "/registry/configmaps/default/c%04d", i);
        snprintf(value, sizeof value,
                 "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c%04d\","
                 "\"namespace\":\"default\",\"uid\":\"u%0*d\"}}",
                 i, bytes, i);
        t_put(key, value);
    }
}

static void fill(int count)
{
    fill_wide(count, 1);
}

/* All items of a list, each once, in order, and nothing behind it. */
static void expect_all(struct asked a)
{
    const char *at = a.body;
    expect_part(
        a, 200,
        "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"");
    for (int i = 0; i < MANY; i++) {
        char mark[64];
        snprintf(mark, sizeof mark, "%s{\"metadata\":{\"name\":\"c%04d\",", i > 0 ? "," : "[", i);
        at = at == NULL ? NULL : strstr(at, mark);
    }
    t_expect(at != NULL);
    t_expect(at != NULL && strcmp(at + strcspn(at, "}"), "}}]}\n") == 0);
}

static void whole_story(void)
{
    server_open_all();
    fill(MANY);
    expect_all(ask("GET", CMS, ""));
    expect_all(ask("GET", CMS "?resourceVersion=0", ""));
    /* with a limit it is one answer, as is a short one: they have a length */
    expect_answer("GET", CMS "?limit=1000", "", 200, ",\"remainingItemCount\":234},\"items\":[{");
    struct asked a = ask("GET", CMS "?pretty=true", "");
    expect_part(a, 200, "{\n  \"kind\": \"ConfigMapList\",\n");
    expect_part(a, 200, "\"name\": \"c1233\",");
    a = ask("HEAD", CMS, "");
    t_expect_int(a.status, 200);
    t_expect_int((int)t_http_body(a.x).len, 0);
    expect_answer("GET", CMS "?labelSelector=x", "", 200, "\"items\":[]}");
    t_close();
}

static void long_lists_are_whole(void **state)
{
    t_for_each_seed(SEEDS, whole_story);
}

/* Pages of large objects are cut by their bytes: by the host's bound, then by ours; also for a
 * client that stops reading now and then. */
static void wide_story(void)
{
    server_open_all();
    fill_wide(MANY, 3500);
    struct asked whole = ask("GET", CMS, "");
    expect_all(whole);
    struct t_http *x = begin_typed("GET", CMS, "", "");
    for (int i = 0; i < 20; i++) {
        t_http_stall(x, i % 2 == 0);
        t_advance(30);
    }
    t_http_stall(x, 0);
    expect_all(finish(x));
    t_close();
}

static void wide_lists_are_whole(void **state)
{
    t_for_each_seed(SEEDS, wide_story);
}

/* A client that does not read stops the walk, not the server; writes meanwhile do not show. */
static void slow_story(void)
{
    server_open_all();
    fill(MANY);
    struct t_http *x = begin_typed("GET", CMS, "", "");
    t_http_stall(x, 1);
    t_advance(2000);
    t_expect_int(t_http_ended(x), 0);
    size_t part = t_http_body(x).len;
    expect_answer("DELETE", CMS "/c1200", "", 200, NULL);
    expect_answer("POST", CMS, "{\"metadata\":{\"name\":\"c1233x\"}}", 201, NULL);
    t_http_stall(x, 0);
    struct asked a = finish(x);
    t_expect(t_http_body(x).len > part);
    expect_all(a);
    t_close();
}

static void slow_clients_get_one_revision(void **state)
{
    t_for_each_seed(SEEDS, slow_story);
}

static void gone_story(void)
{
    server_open_all();
    fill(MANY);
    struct t_http *x = begin_typed("GET", CMS, "", "");
    t_http_stall(x, 1);
    t_advance(500);
    t_http_cancel(x);
    t_advance(500);
    expect_answer("GET", CMS "?limit=1", "", 200, NULL);
    t_close();
}

static void gone_clients_end_the_walk(void **state)
{
    t_for_each_seed(SEEDS, gone_story);
}

/* What cannot be read on a later page, or a store that fails there, breaks the answer off: nobody
 * takes a part for the whole. */
static void broken_story(void)
{
    server_open_all();
    fill(MANY);
    t_fail("range", 2, KVP_UNAVAILABLE);
    struct t_http *x = begin_typed("GET", CMS, "", "");
    for (int ms = 0; t_http_ended(x) == 0 && ms < SERVER_WAIT_MS; ms += SERVER_STEP_MS) {
        t_advance(SERVER_STEP_MS);
    }
    t_expect_int(t_http_ended(x), -1);
    t_put("/registry/configmaps/default/c1100", "not JSON");
    x = begin_typed("GET", CMS, "", "");
    for (int ms = 0; t_http_ended(x) == 0 && ms < SERVER_WAIT_MS; ms += SERVER_STEP_MS) {
        t_advance(SERVER_STEP_MS);
    }
    t_expect_int(t_http_ended(x), -1);
    t_close();
}

static void broken_lists_are_broken_off(void **state)
{
    t_for_each_seed(SEEDS, broken_story);
}

static void memory_may_fail(void **state)
{
    bool failed = true;
    uint64_t n;
    for (n = 1; failed && n < 1000; n++) {
        server_open_all();
        fill(600);
        struct t_http *x = begin_typed("GET", CMS, "", "");
        mem_fail_after(n);
        t_advance(3000);
        failed = mem_fail_left() == 0;
        mem_fail_after(0);
        t_expect(t_http_ended(x) != 0);
        expect_answer("GET", CMS "?limit=1", "", 200, NULL);
        t_close();
    }
    assert_false(failed);
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_lists_are_whole),
        cmocka_unit_test(wide_lists_are_whole),
        cmocka_unit_test(slow_clients_get_one_revision),
        cmocka_unit_test(gone_clients_end_the_walk),
        cmocka_unit_test(broken_lists_are_broken_off),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
