/* test_collection - deletecollection of many objects takes memory for what it answers, and for one
 * object at a time. */
#include <malloc.h>

#include "tests/unit/apiserver/server.h"

#define CMS   "/api/v1/namespaces/default/configmaps"
#define ROWS  "/registry/configmaps/default/"
#define MANY  1500u
#define LARGE 8192u /* bytes of each */
/* A few blocks of an arena, and what the simulated store keeps of calls under way. */
#define ONE_BYTES_MAX (32u * LARGE)

/* AddressSanitizer's allocator tells by itself. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes != NULL) {
        return __sanitizer_get_current_allocated_bytes();
    }
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void fill(void)
{
    static char value[LARGE + 256];
    char filler[LARGE];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    for (unsigned i = 0; i < MANY; i++) {
        char key[64];
        snprintf(key, sizeof key, ROWS "c%04u", i);
        snprintf(value, sizeof value,
                 "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c%04u\","
                 "\"namespace\":\"default\",\"uid\":\"u%u\"},\"data\":{\"x\":\"%s\"}}",
                 i, i, filler);
        t_put(key, value);
    }
}

/* The most that a collection has while it reads its objects one by one, above what it had at the
 * first of them. */
static size_t grown(const char *path)
{
    size_t first = 0;
    size_t most = 0;
    struct t_http *x = begin_typed("DELETE", path, "application/json", "");
    for (unsigned i = 0; i < 100 * MANY && !t_http_ended(x); i++) {
        t_advance(1);
        if (t_in_flight("get") > 0) { /* neither listing nor answering */
            size_t now = heap_bytes();
            first = first == 0 ? now : first;
            most = now > most ? now : most;
        }
    }
    t_expect(t_http_ended(x) != 0);
    t_expect_int(t_http_status(x), 200);
    t_expect(t_http_body(x).len > (size_t)MANY * LARGE);
    t_expect(first > 0);
    return most - first;
}

static void large_story(void)
{
    server_open_all();
    fill();
    /* Nothing goes, so what the store has does not change meanwhile. */
    size_t bytes = grown(CMS "?dryRun=All");
    print_message("%u objects of %u KiB, one after the other: %zu KiB more\n", MANY, LARGE / 1024,
                  bytes / 1024);
    t_expect(bytes < ONE_BYTES_MAX);
    t_expect_int(t_count(ROWS), MANY);
    grown(CMS);
    t_expect_int(t_count(ROWS), 0);
    t_close();
}

static void a_large_collection_is_one_object_at_a_time(void **state)
{
    (void)state;
    t_for_each_seed(1, large_story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_collection_is_one_object_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
