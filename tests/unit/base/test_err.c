/* test_err - the error table as clients see it, and messages that gain prefixes. */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void rows_are_found(void **state)
{
    (void)state;
    assert_string_equal(err_text(ERR_OK), "");
    assert_string_equal(err_name(ERR_COMPACTED), "COMPACTED");
    assert_string_equal(err_text(ERR_COMPACTED),
                        "etcdserver: mvcc: required revision has been compacted");
    assert_int_equal(err_grpc(ERR_COMPACTED), GRPC_OUT_OF_RANGE);
    assert_int_equal(err_grpc(ERR_KEY_NOT_FOUND), GRPC_INVALID_ARGUMENT);
    assert_true(err_retryable(ERR_NO_LEADER));
    assert_false(err_retryable(ERR_TIMEOUT));
    /* Numbers outside the table have an answer too. */
    assert_int_equal(err_grpc(-1), GRPC_UNKNOWN);
    assert_int_equal(err_grpc(ERR_COUNT_), GRPC_UNKNOWN);
    assert_non_null(err_text(100000));
    assert_false(err_retryable(-5));
}

/* Every row has a name, a sentence and a code; success alone has code OK. */
static void rows_are_complete(void **state)
{
    (void)state;
    for (int e = 1; e < ERR_COUNT_; e++) {
        assert_true(strlen(err_name(e)) > 0);
        assert_true(strlen(err_text(e)) > 0);
        assert_int_not_equal(err_grpc(e), GRPC_OK);
        assert_in_range(err_grpc(e), 1, 16);
    }
}

/* Contract J-04 and Go's spelling of the codes. */
static void grpc_codes_have_names_and_http_statuses(void **state)
{
    (void)state;
    static const int http[17] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                 400, 409, 400, 501, 500, 503, 500, 401};
    for (int code = 0; code <= 16; code++) {
        assert_int_equal(grpc_code_http(code), http[code]);
    }
    assert_string_equal(grpc_code_name(GRPC_OK), "OK");
    assert_string_equal(grpc_code_name(GRPC_CANCELED), "Canceled");
    assert_string_equal(grpc_code_name(GRPC_FAILED_PRECONDITION), "FailedPrecondition");
    assert_string_equal(grpc_code_name(GRPC_DEADLINE_EXCEEDED), "DeadlineExceeded");
    assert_string_equal(grpc_code_name(17), "Unknown");
    assert_int_equal(grpc_code_http(-1), 500);
}

static void messages_gain_prefixes(void **state)
{
    (void)state;
    struct errmsg e;
    e.text[0] = '\0';
    assert_int_equal(errmsg_set(&e, ERR_LOCKED, "already in use by pid %d", 812), ERR_LOCKED);
    assert_int_equal(errmsg_wrap(&e, ERR_IO, "lock %s", "/var/lib/kvd"), ERR_IO);
    assert_int_equal(errmsg_wrap(&e, ERR_IO, "start"), ERR_IO);
    assert_string_equal(e.text, "start: lock /var/lib/kvd: already in use by pid 812");
    /* Without a text the prefix stands alone; without an object nothing happens. */
    e.text[0] = '\0';
    errmsg_wrap(&e, ERR_IO, "open");
    assert_string_equal(e.text, "open");
    assert_int_equal(errmsg_set(NULL, ERR_IO, "x"), ERR_IO);
    assert_int_equal(errmsg_wrap(NULL, ERR_IO, "x"), ERR_IO);
    /* The old text may be an argument. */
    errmsg_set(&e, 0, "%s it", e.text);
    assert_string_equal(e.text, "open it");
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    char text[2 * ERRMSG_BYTES_MAX];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    struct errmsg e;
    errmsg_set(&e, 0, "%s", text);
    assert_int_equal(strlen(e.text), ERRMSG_BYTES_MAX - 1);
    for (int i = 0; i < 5; i++) {
        errmsg_wrap(&e, 0, "prefix");
        assert_int_equal(strlen(e.text), ERRMSG_BYTES_MAX - 1);
        assert_memory_equal(e.text, "prefix: ", 8);
    }
    errmsg_wrap(&e, 0, "%s", text);
    assert_int_equal(strlen(e.text), ERRMSG_BYTES_MAX - 1);
    assert_int_equal(e.text[0], 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found),
        cmocka_unit_test(rows_are_complete),
        cmocka_unit_test(grpc_codes_have_names_and_http_statuses),
        cmocka_unit_test(messages_gain_prefixes),
        cmocka_unit_test(long_messages_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
