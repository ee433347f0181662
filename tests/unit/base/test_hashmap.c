/* test_hashmap - the table against a plain model while it grows, iteration, the keyed hash. */
#include "base/hashmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/rand.h"

struct item {
    struct hash_node node;
    uint64_t key;
    bool inside;
};

enum { ITEMS = 3000 };

static struct item *find(const struct hashmap *m, uint64_t key)
{
    uint64_t hash = hash_u64(key);
    for (struct hash_node *n = hashmap_first(m, hash); n != NULL; n = hashmap_next(n, hash)) {
        struct item *it = LIST_ENTRY(n, struct item, node);
        if (it->key == key) {
            return it;
        }
    }
    return NULL;
}

static void random_use_agrees_with_a_model(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    assert_null(hashmap_first(&m, 1));
    struct item *items = mem_zalloc(ITEMS * sizeof(*items));
    struct rand r;
    rand_init(&r, 4);
    size_t inside = 0;
    for (int i = 0; i < 40000; i++) {
        struct item *it = &items[rand_below(&r, ITEMS)];
        it->key = (uint64_t)(it - items) * 64;
        if (it->inside) {
            assert_ptr_equal(find(&m, it->key), it);
            if (rand_chance(&r, 0.5)) {
                hashmap_remove(&m, &it->node);
                it->inside = false;
                inside--;
                assert_null(find(&m, it->key));
            }
        } else {
            assert_null(find(&m, it->key));
            assert_true(hashmap_insert(&m, &it->node, hash_u64(it->key)));
            it->inside = true;
            inside++;
        }
        assert_int_equal(m.len, inside);
        /* Chains stay short however far growth has come. */
        assert_true(m.bucket_count >= m.len / 2);
    }
    hashmap_close(&m);
    mem_free(items);
}

/* At every moment of growth each node is found, and iteration shows each exactly once. */
static void growth_loses_nothing(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    struct item *items = mem_zalloc(ITEMS * sizeof(*items));
    for (size_t i = 0; i < ITEMS; i++) {
        items[i].key = i;
        assert_true(hashmap_insert(&m, &items[i].node, hash_u64(i)));
        if (i % 37 == 0 || i < 100) {
            for (size_t k = 0; k <= i; k++) {
                assert_ptr_equal(find(&m, k), &items[k]);
            }
            size_t bucket = 0;
            size_t seen = 0;
            uint64_t sum = 0;
            struct hash_node *n = NULL;
            while ((n = hashmap_iter(&m, &bucket, n)) != NULL) {
                seen++;
                sum += LIST_ENTRY(n, struct item, node)->key;
            }
            assert_int_equal(seen, i + 1);
            assert_int_equal(sum, i * (i + 1) / 2);
        }
    }
    hashmap_close(&m);
    mem_free(items);
}

static void nodes_may_leave_during_iteration(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    size_t bucket = 0;
    assert_null(hashmap_iter(&m, &bucket, NULL));
    struct item *items = mem_zalloc(ITEMS * sizeof(*items));
    for (size_t i = 0; i < ITEMS; i++) {
        items[i].key = i;
        assert_true(hashmap_insert(&m, &items[i].node, hash_u64(i % 50))); /* long chains too */
    }
    size_t removed = 0;
    struct hash_node *n = hashmap_iter(&m, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *after = hashmap_iter(&m, &bucket, n);
        if (LIST_ENTRY(n, struct item, node)->key % 3 == 0) {
            hashmap_remove(&m, n);
            removed++;
        }
        n = after;
    }
    assert_int_equal(removed, ITEMS / 3);
    assert_int_equal(m.len, ITEMS - ITEMS / 3);
    /* Removing a node that is not inside changes nothing. */
    hashmap_remove(&m, &items[0].node);
    assert_int_equal(m.len, ITEMS - ITEMS / 3);
    hashmap_close(&m);
    mem_free(items);
}

/* Duplicates of one hash are all reachable. */
static void equal_hashes_chain(void **state)
{
    (void)state;
    struct hashmap m;
    hashmap_init(&m);
    struct hash_node nodes[20];
    for (int i = 0; i < 20; i++) {
        assert_true(hashmap_insert(&m, &nodes[i], i < 10 ? 5 : 5 + ((uint64_t)1 << 40)));
    }
    int count = 0;
    for (struct hash_node *n = hashmap_first(&m, 5); n != NULL; n = hashmap_next(n, 5)) {
        assert_true(n >= nodes && n < nodes + 10);
        count++;
    }
    assert_int_equal(count, 10);
    assert_null(hashmap_first(&m, 6));
    hashmap_close(&m);
}

/* Only the first allocation can fail an insert; without memory to grow, chains get longer. */
static void survives_each_failure(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct hashmap m;
        hashmap_init(&m);
        struct item *items = mem_zalloc(ITEMS * sizeof(*items));
        mem_fail_after(n);
        size_t failures = 0;
        for (size_t i = 0; i < ITEMS; i++) {
            items[i].key = i;
            if (!hashmap_insert(&m, &items[i].node, hash_u64(i))) {
                assert_int_equal(m.len, 0);
                failures++;
                assert_true(hashmap_insert(&m, &items[i].node, hash_u64(i)));
            }
        }
        mem_fail_after(0);
        for (size_t i = 0; i < ITEMS; i++) {
            assert_ptr_equal(find(&m, i), &items[i]);
        }
        hashmap_close(&m);
        mem_free(items);
        assert_int_equal(failures, n == 1);
        if (n > 12) { /* more than growth needs for so many */
            break;
        }
    }
}

/* The same under one key, different under another; an integer hashes as its eight bytes. */
static void hash_is_keyed(void **state)
{
    (void)state;
    hash_seed(1);
    uint64_t a = hash_bytes(slice_str("key"));
    assert_int_equal(a, hash_bytes(slice_str("key")));
    uint64_t eight = hash_u64(0x3736353433323130);
    assert_int_equal(eight, hash_bytes(slice_str("01234567")));
    hash_seed(2);
    assert_int_not_equal(a, hash_bytes(slice_str("key")));
    hash_seed(1);
    assert_int_equal(a, hash_bytes(slice_str("key")));
    /* Lengths and zero bytes count. */
    static const uint8_t zero[32];
    for (size_t i = 0; i < 32; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(hash_bytes(slice_of(zero, i)), hash_bytes(slice_of(zero, k)));
        }
    }
    hash_bytes(slice_of(NULL, 0));
}

/* Consecutive integers spread over the low bits that pick buckets. */
static void hash_spreads(void **state)
{
    (void)state;
    int seen[16] = {0};
    for (uint64_t i = 0; i < 16000; i++) {
        seen[hash_u64(i << 32) & 15]++;
    }
    for (int i = 0; i < 16; i++) {
        assert_in_range(seen[i], 800, 1200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_use_agrees_with_a_model),
        cmocka_unit_test(growth_loses_nothing),
        cmocka_unit_test(nodes_may_leave_during_iteration),
        cmocka_unit_test(equal_hashes_chain),
        cmocka_unit_test(survives_each_failure),
        cmocka_unit_test(hash_is_keyed),
        cmocka_unit_test(hash_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
