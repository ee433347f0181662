/* test_crc32c - published check values, and the two implementations against each other. */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/rand.h"

/* RFC 3720 appendix B.4, and the check value of the CRC catalogues. */
static void published_values(void **state)
{
    (void)state;
    uint8_t data[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, NULL, 0), 0);
    memset(data, 0, 32);
    assert_int_equal(crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, 32);
    assert_int_equal(crc32c(0, data, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) {
        data[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, data, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++) {
        data[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(0, data, 32), 0x113fdb5c);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_portable(0, data, 32), 0x113fdb5c);
}

/* Any length, alignment and split gives the same result in both implementations. */
static void implementations_agree_on_all_shapes(void **state)
{
    (void)state;
    enum { MAX = 20000 };
    uint8_t *data = mem_alloc(MAX);
    struct rand r;
    rand_init(&r, 1);
    for (int i = 0; i < MAX; i++) {
        data[i] = (uint8_t)rand_u64(&r);
    }
    /* Around every length where the way of computing changes. */
    for (size_t len = 0; len < 2 * 3072 + 500; len++) {
        assert_int_equal(crc32c(7, data + len % 9, len), crc32c_portable(7, data + len % 9, len));
    }
    for (int i = 0; i < 500; i++) {
        size_t from = rand_below(&r, 64);
        size_t len = rand_below(&r, MAX - 64);
        size_t cut = len == 0 ? 0 : rand_below(&r, len);
        uint32_t whole = crc32c(0, data + from, len);
        assert_int_equal(whole, crc32c_portable(0, data + from, len));
        assert_int_equal(whole, crc32c(crc32c(0, data + from, cut), data + from + cut, len - cut));
    }
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(implementations_agree_on_all_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
