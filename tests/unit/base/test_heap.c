/* test_heap - order under random use against a plain model, and failure of each allocation. */
#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/rand.h"

enum { NODES = 200 };

static int64_t smallest_inside(const struct heap_node *nodes)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < NODES; i++) {
        if (nodes[i].at != 0 && nodes[i].key < least) {
            least = nodes[i].key;
        }
    }
    return least;
}

static void random_use_keeps_the_minimum_first(void **state)
{
    (void)state;
    struct heap h;
    heap_init(&h);
    assert_null(heap_min(&h));
    struct heap_node nodes[NODES];
    memset(nodes, 0, sizeof nodes);
    struct rand r;
    rand_init(&r, 3);
    for (int i = 0; i < 50000; i++) {
        struct heap_node *n = &nodes[rand_below(&r, NODES)];
        if (rand_chance(&r, 0.4)) {
            heap_remove(&h, n); /* also when outside */
            assert_int_equal(n->at, 0);
        } else {
            assert_true(heap_set(&h, n, (int64_t)rand_below(&r, 1000) - 500));
        }
        if (h.len == 0) {
            assert_null(heap_min(&h));
        } else {
            assert_int_equal(heap_min(&h)->key, smallest_inside(nodes));
        }
    }
    heap_close(&h);
}

static void popping_sorts(void **state)
{
    (void)state;
    struct heap h;
    heap_init(&h);
    struct heap_node nodes[NODES];
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < NODES; i++) {
        assert_true(heap_set(&h, &nodes[i], (int64_t)i * 7919 % NODES));
    }
    assert_true(heap_set(&h, &nodes[0], INT64_MIN));
    assert_true(heap_set(&h, &nodes[1], INT64_MAX));
    int64_t last = INT64_MIN;
    int count = 0;
    while (heap_min(&h) != NULL) {
        assert_true(heap_min(&h)->key >= last);
        last = heap_min(&h)->key;
        heap_remove(&h, heap_min(&h));
        count++;
    }
    assert_int_equal(count, NODES);
    heap_close(&h);
}

static void failed_insert_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct heap h;
        heap_init(&h);
        struct heap_node nodes[NODES];
        memset(nodes, 0, sizeof nodes);
        mem_fail_after(n);
        int failures = 0;
        for (int i = 0; i < NODES; i++) {
            size_t len = h.len;
            if (!heap_set(&h, &nodes[i], NODES - i)) {
                failures++;
                assert_int_equal(h.len, len);
                assert_int_equal(nodes[i].at, 0);
            } else {
                assert_int_equal(heap_min(&h)->key, NODES - i);
                /* Moving needs no memory. */
                assert_true(heap_set(&h, &nodes[i], NODES - i));
            }
        }
        mem_fail_after(0);
        heap_close(&h);
        if (failures == 0) {
            assert_true(n > 3);
            break;
        }
        assert_int_equal(failures, 1);
    }
}

/* Up to what was reserved no insert allocates. */
static void reserved_inserts_cannot_fail(void **state)
{
    (void)state;
    struct heap h;
    heap_init(&h);
    struct heap_node nodes[NODES];
    memset(nodes, 0, sizeof nodes);
    mem_fail_after(1);
    assert_false(heap_reserve(&h, NODES));
    assert_int_equal(h.cap, 0);
    assert_true(heap_reserve(&h, NODES));
    for (int i = 0; i < NODES; i++) {
        mem_fail_after(1);
        assert_true(heap_reserve(&h, (size_t)i));
        assert_true(heap_set(&h, &nodes[i], -i));
        assert_int_equal(mem_fail_left(), 1);
        mem_fail_after(0);
    }
    assert_ptr_equal(heap_min(&h), &nodes[NODES - 1]);
    heap_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_use_keeps_the_minimum_first),
        cmocka_unit_test(popping_sorts),
        cmocka_unit_test(failed_insert_changes_nothing),
        cmocka_unit_test(reserved_inserts_cannot_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
