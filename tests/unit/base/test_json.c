/* test_json - the JSON writer, its escapes, and the definition of UTF-8 they rest on. */
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/utf8.h"

#define ASSERT_TEXT(b, text) assert_true(slice_eq(buf_slice(b), slice_str(text)))

static void commas_go_where_they_belong(void **state)
{
    (void)state;
    struct buf b;
    struct json j;
    buf_init(&b);
    json_init(&j, &b);
    json_object(&j);
    json_key(&j, "a");
    json_int(&j, -1);
    json_key(&j, "b");
    json_array(&j);
    json_uint(&j, UINT64_MAX);
    json_cstr(&j, "x");
    json_object(&j);
    json_object_end(&j);
    json_array(&j);
    json_array_end(&j);
    json_bool(&j, true);
    json_null(&j);
    json_array_end(&j);
    json_key(&j, "c");
    json_object(&j);
    json_key(&j, "d");
    json_int_str(&j, INT64_MIN);
    json_key(&j, "e");
    json_uint_str(&j, 7);
    json_object_end(&j);
    json_key(&j, "f");
    json_bool(&j, false);
    json_object_end(&j);
    ASSERT_TEXT(&b, "{\"a\":-1,\"b\":[18446744073709551615,\"x\",{},[],true,null],"
                    "\"c\":{\"d\":\"-9223372036854775808\",\"e\":\"7\"},\"f\":false}");
    buf_close(&b);
}

static void doubles_are_numbers_or_null(void **state)
{
    (void)state;
    struct buf b;
    struct json j;
    buf_init(&b);
    json_init(&j, &b);
    json_array(&j);
    json_double(&j, 0.5);
    json_double(&j, NAN);
    json_double(&j, INFINITY);
    json_double(&j, -3);
    json_array_end(&j);
    ASSERT_TEXT(&b, "[0.5,null,null,-3]");
    buf_close(&b);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    struct buf b;
    struct json j;
    buf_init(&b);
    json_init(&j, &b);
    static const char text[] = "q\" b\\ n\n r\r t\t 0\0 e\x1f d\x7f u\xc3\xbc bad\xff\xc3";
    json_str(&j, slice_of(text, sizeof text - 1));
    ASSERT_TEXT(&b, "\"q\\\" b\\\\ n\\n r\\r t\\t 0\\u0000 e\\u001f d\\u007f u\xc3\xbc "
                    "bad\\ufffd\\ufffd\"");
    buf_clear(&b);
    json_init(&j, &b);
    json_cstr(&j, NULL);
    ASSERT_TEXT(&b, "\"\"");
    buf_close(&b);
}

/* Controls above ASCII, separators, marks and non-characters; their neighbours stay. */
static void special_characters_are_escaped(void **state)
{
    (void)state;
    struct buf b;
    struct json j;
    buf_init(&b);
    json_init(&j, &b);
    json_cstr(&j, "\x7e \xc2\x80 \xc2\x9b \xc2\x9f \xc2\xa0");
    json_init(&j, &b);
    json_cstr(&j, "\xe2\x80\xa7 \xe2\x80\xa8 \xe2\x80\xa9 \xef\xbb\xbf \xef\xbf\xbd \xef\xbf\xbe "
                  "\xef\xbf\xbf \xf0\x90\x80\x80");
    ASSERT_TEXT(&b, "\"\x7e \\u0080 \\u009b \\u009f \xc2\xa0\""
                    "\"\xe2\x80\xa7 \\u2028 \\u2029 \\ufeff \xef\xbf\xbd \\ufffe \\uffff "
                    "\xf0\x90\x80\x80\"");
    buf_close(&b);
}

/* A full buffer ends the escape between two whole ones, never inside. */
static void escape_stops_at_whole_characters(void **state)
{
    (void)state;
    char out[16];
    size_t taken;
    assert_int_equal(json_escape(out, 5, slice_of("a\0b", 3), &taken), 1);
    assert_int_equal(taken, 1);
    assert_int_equal(json_escape(out, 3, slice_str("aa\xe2\x82\xac"), &taken), 2);
    assert_int_equal(taken, 2);
    assert_int_equal(json_escape(out, 5, slice_str("aa\xe2\x82\xac"), &taken), 5);
    assert_int_equal(taken, 5);
    assert_int_equal(json_escape(out, 0, slice_str("a"), &taken), 0);
    assert_int_equal(taken, 0);
    assert_int_equal(json_escape(out, 16, slice_of(NULL, 0), &taken), 0);
}

static void long_strings_of_escapes_fit(void **state)
{
    (void)state;
    struct buf b;
    struct json j;
    buf_init(&b);
    json_init(&j, &b);
    char text[5000];
    memset(text, 1, sizeof text);
    json_str(&j, slice_of(text, sizeof text));
    assert_int_equal(b.len, 2 + 6 * sizeof text);
    assert_memory_equal(b.data, "\"\\u0001\\u0001", 13);
    buf_close(&b);
}

/* RFC 4648 section 10. */
static void base64_is_standard(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "\"\""},        {"f", "\"Zg==\""},          {"fo", "\"Zm8=\""},
        {"foo", "\"Zm9v\""}, {"foobar", "\"Zm9vYmFy\""}, {"\xfb\xff\xfe", "\"+//+\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;
        struct json j;
        buf_init(&b);
        json_init(&j, &b);
        json_base64(&j, slice_str(cases[i][0]));
        ASSERT_TEXT(&b, cases[i][1]);
        buf_close(&b);
    }
}

/* Whichever allocation fails, the buffer says so and the writer goes on harmlessly. */
static void failure_shows_in_the_buffer(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct buf b;
        struct json j;
        buf_init(&b);
        json_init(&j, &b);
        mem_fail_after(n);
        json_array(&j);
        for (int i = 0; i < 50; i++) {
            json_cstr(&j, "some \n text");
            json_base64(&j, slice_str("bytes"));
            json_int(&j, i);
        }
        json_array_end(&j);
        mem_fail_after(0);
        bool failed = b.failed;
        buf_close(&b);
        if (!failed) {
            assert_true(n > 3);
            break;
        }
    }
}

static void utf8_is_rfc_3629(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "plain",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "long enough \xc3\xa4 for words",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(utf8_valid(slice_str(good[i])));
    }
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xe2\x82",
        "\xe2\x82\x41",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
        "abcdefgh\xff",
        "abcdefghabcdef\xc3",
        "\xf0\x90\x80",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(utf8_valid(slice_str(bad[i])));
    }
    assert_true(utf8_valid(slice_of("a\0b", 3)));
    assert_true(utf8_valid(slice_of(NULL, 0)));
    assert_int_equal(utf8_length((const uint8_t *)"\xe2\x82\xac", 2), 0);
    assert_int_equal(utf8_length((const uint8_t *)"\xe2\x82\xac", 3), 3);
    assert_int_equal(utf8_length(NULL, 0), 0);
}

/* Every code point encoded by hand is valid exactly when it is no surrogate and small enough. */
static void utf8_knows_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0x10000; c < 0x110800; c += 61) {
        uint8_t p[4] = {(uint8_t)(0xf0 | c >> 18), (uint8_t)(0x80 | (c >> 12 & 63)),
                        (uint8_t)(0x80 | (c >> 6 & 63)), (uint8_t)(0x80 | (c & 63))};
        assert_int_equal(utf8_valid(slice_of(p, 4)), c <= 0x10ffff);
    }
    for (uint32_t c = 0; c < 0x10000; c++) {
        uint8_t p[3] = {(uint8_t)(0xe0 | c >> 12), (uint8_t)(0x80 | (c >> 6 & 63)),
                        (uint8_t)(0x80 | (c & 63))};
        bool valid = c >= 0x800 && (c < 0xd800 || c > 0xdfff);
        assert_int_equal(utf8_valid(slice_of(p, 3)), valid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_go_where_they_belong),
        cmocka_unit_test(doubles_are_numbers_or_null),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(special_characters_are_escaped),
        cmocka_unit_test(escape_stops_at_whole_characters),
        cmocka_unit_test(long_strings_of_escapes_fit),
        cmocka_unit_test(base64_is_standard),
        cmocka_unit_test(failure_shows_in_the_buffer),
        cmocka_unit_test(utf8_is_rfc_3629),
        cmocka_unit_test(utf8_knows_every_code_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
