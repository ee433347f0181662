/* test_abi.c - the plugin ABI keeps its layout: sizes and offsets of kvplugin.h against abi.golden.
 *
 * `test_abi --print` writes the file anew: do it only for additions at an end, never to make a
 * failure go away, for plugins built long ago count on what stands there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "include/kvplugin.h"

#define GOLDEN_PATH "tests/unit/plugins/abi.golden"

struct layout {
    const char *name;
    size_t offset; /* SIZE_MAX: a struct, size counts */
    size_t size;
};

static const struct layout layouts[] = {
#define STRUCT(s)   {#s, SIZE_MAX, sizeof(struct s)},
#define FIELD(s, f) {#s "." #f, offsetof(struct s, f), sizeof(((struct s *)0)->f)},
#include "tests/unit/plugins/abi.def"
#undef STRUCT
#undef FIELD
};

static void layout_line(const struct layout *l, char *out, size_t room)
{
    if (l->offset == SIZE_MAX) {
        snprintf(out, room, "%s %zu\n", l->name, l->size);
    } else {
        snprintf(out, room, "%s %zu %zu\n", l->name, l->offset, l->size);
    }
}

/* Every line of the file is what this header gives, and the header has nothing else. */
static void layout_is_as_kept(void **state)
{
    (void)state;
    char want[256];
    char have[256];
    FILE *f = fopen(GOLDEN_PATH, "r");
    assert_non_null(f);
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        layout_line(&layouts[i], have, sizeof(have));
        if (fgets(want, sizeof(want), f) == NULL || strcmp(want, have) != 0) {
            fail_msg("%s has \"%.100s\", the header \"%.100s\"", GOLDEN_PATH, want, have);
        }
    }
    assert_null(fgets(want, sizeof(want), f));
    fclose(f);
}

/* Structs that may grow begin with their size; the fields of the list cover each struct to its end,
 * so that a field added without a row here is noticed. */
static void list_covers_each_struct(void **state)
{
    (void)state;
    size_t n = sizeof(layouts) / sizeof(layouts[0]);
    for (size_t i = 0; i < n; i++) {
        if (layouts[i].offset != SIZE_MAX) {
            continue;
        }
        size_t end = 0;
        for (size_t j = i + 1; j < n && layouts[j].offset != SIZE_MAX; j++) {
            assert_true(layouts[j].offset >= end); /* in order, no overlap */
            assert_true(layouts[j].offset - end < 8);
            end = layouts[j].offset + layouts[j].size;
        }
        assert_true(layouts[i].size - end < 8); /* padding only */
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
            char line[256];
            layout_line(&layouts[i], line, sizeof(line));
            fputs(line, stdout);
        }
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_is_as_kept),
        cmocka_unit_test(list_covers_each_struct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
