/* test_crumb.c - breadcrumbs: strikes, quarantine, and what is forgiven. */
#include "plugins/host/crumb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/kvd-test-crumb-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* One process that ends inside the plugin's callback (or, with NULL, outside), by a fault of it or
 * not. Returns whether the next one may load it. */
static bool life_of(uint64_t now_ms, const char *callback, uint32_t died)
{
    struct crumb_page p;
    assert_true(crumb_open(&p, path, now_ms));
    struct crumb *c = crumb_find(&p, "x", true);
    assert_non_null(c);
    bool usable = c->quarantined == 0;
    if (usable) {
        assert_string_equal(c->callback, "");
        if (callback != NULL) {
            snprintf(c->callback, sizeof(c->callback), "%s", callback);
            c->revision = 42;
        }
        c->died = died;
    }
    crumb_close(&p);
    return usable;
}

static bool life(uint64_t now_ms, const char *callback)
{
    return life_of(now_ms, callback, callback != NULL ? CRUMB_DIED_CALLBACK : 0);
}

static void three_deaths_in_ten_minutes(void **state)
{
    (void)state;
    char why[512];
    struct crumb_page p;
    uint64_t now = 1000000;
    assert_true(life(now, "start"));
    assert_true(life(now += 60000, "start"));
    assert_true(life(now += 60000, "timer"));
    assert_false(life(now += 60000, NULL));
    assert_false(life(now += PLUGIN_STRIKES_MS * 10, NULL)); /* until somebody lifts it */
    assert_true(crumb_open(&p, path, now));
    struct crumb *c = crumb_find(&p, "x", false);
    crumb_why(c, why, sizeof(why));
    assert_non_null(strstr(why, "3 times within 10 minutes inside plugin x (last in timer, at "
                                "revision 42)"));
    crumb_lift(c);
    crumb_close(&p);
    assert_true(life(now, "start"));
    assert_true(life(now, NULL)); /* it starts from nothing again */
}

/* A quarantine is about one file: the next build is tried again, from nothing. */
static void another_file_is_tried_again(void **state)
{
    (void)state;
    struct crumb_page p;
    assert_true(life(1000, "start"));
    assert_true(life(1000, "start"));
    assert_true(life(1000, "start"));
    assert_true(crumb_open(&p, path, 1000));
    struct crumb *c = crumb_find(&p, "x", false);
    assert_int_equal(c->quarantined, 1);
    crumb_file(c, 0); /* the same as ever */
    assert_int_equal(c->quarantined, 1);
    crumb_file(c, 77);
    assert_int_equal(c->quarantined, 0);
    crumb_close(&p);
    assert_true(life(1000, "start"));
    assert_true(life(1000, "start"));
    assert_true(life(1000, NULL));
}

static void deaths_far_apart_are_forgiven(void **state)
{
    (void)state;
    uint64_t now = 1000000;
    for (int i = 0; i < 20; i++) {
        assert_true(life(now, "start"));
        now += PLUGIN_STRIKES_MS / 2 + 1;
    }
}

static void only_deaths_inside_count(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_true(life(1000000, NULL));
    }
}

/* kill -9 comes at any moment. */
static void an_end_from_outside_is_no_fault(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_true(life_of(1000000, "timer", 0));
    }
    assert_true(life_of(1000000, "timer", CRUMB_DIED_HUNG)); /* unless it was killed for it */
    assert_true(life_of(1000000, "timer", CRUMB_DIED_HUNG));
    assert_true(life_of(1000000, "timer", CRUMB_DIED_HUNG));
    assert_false(life(1000000, NULL));
}

static void work_elsewhere_counts(void **state)
{
    (void)state;
    char why[512];
    struct crumb_page p;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(life_of(1000000, NULL, CRUMB_DIED_WORK)); /* its lane was in no callback */
    }
    assert_true(crumb_open(&p, path, 1000000));
    crumb_why(crumb_find(&p, "x", false), why, sizeof(why));
    assert_non_null(strstr(why, "(last in offload"));
    crumb_close(&p);
}

static void places_are_found_again_and_end(void **state)
{
    (void)state;
    struct crumb_page p;
    char name[16];
    assert_true(crumb_open(&p, path, 1));
    for (unsigned i = 0; i < PLUGINS_MAX; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        assert_null(crumb_find(&p, name, false));
        struct crumb *c = crumb_find(&p, name, true);
        assert_non_null(c);
        assert_ptr_equal(crumb_find(&p, name, true), c);
    }
    assert_null(crumb_find(&p, "one-more", true));
    crumb_close(&p);
}

/* Whatever lies in the file: no crash, and texts end. */
static void a_damaged_file_does_no_harm(void **state)
{
    (void)state;
    struct crumb_page p;
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 5000; i++) {
        fputc(0xe5, f);
    }
    fclose(f);
    assert_true(crumb_open(&p, path, 1));
    for (unsigned i = 0; i < PLUGINS_MAX; i++) {
        assert_true(strlen(p.crumbs[i].name) < sizeof(p.crumbs[i].name));
    }
    crumb_close(&p);
    assert_true(crumb_open(&p, "/nowhere/at/all", 1)); /* plain memory */
    assert_false(p.mapped);
    crumb_close(&p);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(three_deaths_in_ten_minutes),     T(deaths_far_apart_are_forgiven),
        T(another_file_is_tried_again),     T(only_deaths_inside_count),
        T(places_are_found_again_and_end),  T(a_damaged_file_does_no_harm),
        T(an_end_from_outside_is_no_fault), T(work_elsewhere_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
