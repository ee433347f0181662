/* test_sha256.c - the sums of FIPS 180-4's examples, in one piece and in many. */
#include "base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void sum_hex(const char *text, size_t repeat, size_t step, char *out)
{
    struct sha256 s;
    uint8_t sum[SHA256_BYTES];
    sha256_init(&s);
    for (size_t r = 0; r < repeat; r++) {
        size_t len = strlen(text);
        for (size_t at = 0; at < len; at += step) {
            sha256_add(&s, text + at, len - at < step ? len - at : step);
        }
    }
    sha256_final(&s, sum);
    for (size_t i = 0; i < sizeof(sum); i++) {
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
    }
}

static void known_sums(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t repeat;
        const char *sum;
    } rows[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t step = 1; step < 80; step += 13) {
            char hex[65];
            sum_hex(rows[i].text, rows[i].repeat, step, hex);
            assert_string_equal(hex, rows[i].sum);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
