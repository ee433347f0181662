/* test_txn_parse - the notation of transactions: what each line becomes, quoting, hostile input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "cli/cli.h"

static struct arena arena;
static Etcdserverpb__TxnRequest txn;
static struct errmsg message;

/* Parses bytes that end where their memory ends. */
static int parse_bytes(const void *text, size_t len)
{
    struct slice copy = {0};
    arena_clear(&arena);
    memset(&message, 0, sizeof(message));
    void *exact = mem_alloc(len > 0 ? len : 1);
    assert_non_null(exact);
    memcpy(exact, text, len);
    copy = slice_of(exact, len);
    int err = cmd_txn_parse(&arena, copy, &txn, &message);
    mem_free(exact);
    assert_int_equal(err != 0, message.text[0] != '\0');
    return err;
}

static int parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void same(ProtobufCBinaryData got, const char *want, size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, want, len);
}
#define SAME(got, want) same(got, want, sizeof(want) - 1)

static void refused(const char *text, const char *sentence)
{
    assert_int_not_equal(parse(text), 0);
    if (strstr(message.text, sentence) == NULL) {
        fail_msg("\"%s\": \"%s\" is not in \"%s\"", text, sentence, message.text);
    }
}

static void the_three_parts_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(parse("ver(\"a\") = \"1\"\nver(\"b\") = \"2\"\n\nput a 1\n\nget a\ndel b\n\n"),
                     0);
    assert_int_equal(txn.n_compare, 2);
    assert_int_equal(txn.n_success, 1);
    assert_int_equal(txn.n_failure, 2);
    SAME(txn.success[0]->request_put->key, "a");
    SAME(txn.failure[1]->request_delete_range->key, "b");
    /* The last blank line may be missing, and the last line end; what follows it is not read. */
    assert_int_equal(parse("\nput a 1\n\nget a"), 0);
    assert_int_equal(txn.n_failure, 1);
    assert_int_equal(parse("\nput a 1"), 0);
    assert_int_equal(txn.n_success, 1);
    assert_int_equal(parse("\n\n\nnobody reads this"), 0);
    assert_int_equal(parse(" \t\r\n \n\v\f\n"), 0);
    refused("", "ends before the blank line");
    refused("ver(\"a\") = \"1\"", "ends before the blank line");
    refused("ver(\"a\") = \"1\"\n", "ends before the blank line");
}

static void conditions_become_compares(void **state)
{
    (void)state;
    assert_int_equal(parse("version(\"k\") = \"1\"\nver(\"k\") != \"-2\"\nc(\"k\") > \"3\"\n"
                           "create(\"k\") < \"4\"\nm(\"k\")=\"5\"\nmod( `k`)\t> `6`\n"
                           "value(\"k\") = \"x\\x00y\"\nval(\"\\x6b\") < \"\"\n"
                           "lease(\"k\") = \"7fffffffffffffff\"\n\n"),
                     0);
    assert_int_equal(txn.n_compare, 9);
    for (size_t i = 0; i < 9; i++) {
        SAME(txn.compare[i]->key, "k");
    }
    assert_int_equal(txn.compare[0]->version, 1);
    assert_int_equal(txn.compare[1]->version, -2);
    assert_int_equal(txn.compare[1]->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL);
    assert_int_equal(txn.compare[2]->create_revision, 3);
    assert_int_equal(txn.compare[2]->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER);
    assert_int_equal(txn.compare[3]->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS);
    assert_int_equal(txn.compare[4]->mod_revision, 5);
    assert_int_equal(txn.compare[4]->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    assert_int_equal(txn.compare[5]->mod_revision, 6);
    SAME(txn.compare[6]->value, "x\0y");
    SAME(txn.compare[7]->value, "");
    assert_int_equal(txn.compare[8]->lease, INT64_MAX);
    assert_int_equal(txn.compare[8]->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE);
}

static void conditions_that_are_none_are_refused(void **state)
{
    (void)state;
    refused("x\n\n", "write it like");
    refused("(\"k\") = \"1\"\n\n", "unknown target");
    refused("size(\"k\") = \"1\"\n\n", "unknown target size");
    refused("values(\"k\") = \"1\"\n\n", "unknown target values");
    refused("val (\"k\") = \"1\"\n\n", "unknown target val ");
    refused("val(k) = \"1\"\n\n", "malformed comparison");
    refused("val(\"k) = 1\n\n", "malformed comparison");
    refused("val(\"k\" = \"1\"\n\n", "malformed comparison");
    refused("val(\"k\")\n\n", "malformed comparison");
    refused("val(\"k\") =\n\n", "malformed comparison");
    refused("val(\"k\") == \"1\"\n\n", "malformed comparison");
    refused("val(\"k\") ! \"1\"\n\n", "malformed comparison");
    refused("val(\"k\") = \"1\" \"2\"\n\n", "malformed comparison");
    refused("val(\"k\") = \"\\q\"\n\n", "malformed comparison");
    refused("ver(\"k\") = \"\"\n\n", "is no number");
    refused("ver(\"k\") = \"1x\"\n\n", "is no number");
    refused("ver(\"k\") = \" 1\"\n\n", "is no number");
    refused("ver(\"k\") = \"9223372036854775808\"\n\n", "is no number");
    refused("mod(\"k\") = \"1\\x00\"\n\n", "is no number");
    refused("lease(\"k\") = \"xyz\"\n\n", "is no number");
}

static void operations_take_their_options(void **state)
{
    (void)state;
    assert_int_equal(parse("\nput k v --lease=1f --prev-kv\nput --ignore-value k\nput k -- -5\n"
                           "get k --prefix --limit 3 --rev=4 --keys-only --sort-by=mod\n"),
                     ERR_NOT_FOUND);
    assert_int_equal(parse("\nput k v --lease=1f --prev-kv\nput --ignore-value k\nput k -- -5\n"
                           "get k --prefix --limit 3 --rev=4 --keys-only --sort-by=MODIFY\n"
                           "get a z --count-only --consistency=s\ndel k --from-key --prev-kv\n"),
                     0);
    assert_int_equal(txn.n_success, 6);
    assert_int_equal(txn.success[0]->request_put->lease, 0x1f);
    assert_true(txn.success[0]->request_put->prev_kv);
    assert_true(txn.success[1]->request_put->ignore_value);
    SAME(txn.success[2]->request_put->value, "-5");
    const Etcdserverpb__RangeRequest *get = txn.success[3]->request_range;
    SAME(get->range_end, "l");
    assert_int_equal(get->limit, 3);
    assert_int_equal(get->revision, 4);
    assert_true(get->keys_only);
    assert_int_equal(get->sort_target, ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD);
    assert_true(txn.success[4]->request_range->serializable);
    SAME(txn.success[5]->request_delete_range->range_end, "\0");
    refused("\nfrob k\n", "invalid txn request: frob k");
    refused("\nput k\n", "put takes a key and a value");
    refused("\nput a b c\n", "quote a value that has blanks");
    refused("\nget\n", "one key is needed");
    refused("\nget k --frob\n", "unknown flag: --frob");
    refused("\ndel k --prefix --from-key\n", "cannot be set at the same time");
    refused("\nput k v --lease=x\n", "bad lease id");
}

static void quotes_hold_words_together(void **state)
{
    (void)state;
    static const char quoted[] =
        "\nput \"a b\" 'c\\nd'\n"
        "put k \"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\\'\\x7f\\101\\u00e9\\U0001F600\"\n"
        "put \"\" '\"'\nput a\"b c'd\n";
    assert_int_equal(parse(quoted), 0);
    SAME(txn.success[0]->request_put->key, "a b");
    SAME(txn.success[0]->request_put->value, "c\\nd");
    SAME(txn.success[1]->request_put->value, "\a\b\f\n\r\t\v\\\"'\x7f"
                                             "A\xc3\xa9\xf0\x9f\x98\x80");
    SAME(txn.success[2]->request_put->key, "");
    SAME(txn.success[2]->request_put->value, "\"");
    /* A quote inside a word is a letter like others. */
    SAME(txn.success[3]->request_put->key, "a\"b");
    SAME(txn.success[3]->request_put->value, "c'd");
    refused("\nput \"a b\n", "a quote is not closed: \"a b");
    refused("\nput 'a\n", "a quote is not closed");
    refused("\nput \"a\\\"\n", "a quote is not closed");
    refused("\nput \"a\\\n", "a quote is not closed");
    refused("\nput \"\\q\" 1\n", "a backslash sequence");
    refused("\nput \"\\x4\" 1\n", "a backslash sequence");
    refused("\nput \"\\u00\" 1\n", "a backslash sequence");
    refused("\nput \"\\ud800\" 1\n", "a backslash sequence");
    refused("\nput \"\\U00110000\" 1\n", "a backslash sequence");
    refused("\nput \"\\400\" 1\n", "a backslash sequence");
    refused("\nput \"\\08\" 1\n", "a backslash sequence");
    refused("\nput \"a\\x00\" 1\n", "a NUL byte cannot be given here");
    static const char nul[] = "\nput a b\0c\n";
    assert_int_not_equal(parse_bytes(nul, sizeof(nul) - 1), 0);
    assert_non_null(strstr(message.text, "NUL byte"));
}

static void lines_words_and_memory_are_bounded(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text);
    buf_append_byte(&text, '\n');
    for (int i = 0; i < 4096; i++) {
        buf_append_str(&text, "get k\n");
    }
    assert_int_equal(parse_bytes(text.data, text.len), 0);
    assert_int_equal(txn.n_success, 4096);
    buf_append_str(&text, "get k\n");
    assert_int_not_equal(parse_bytes(text.data, text.len), 0);
    assert_non_null(strstr(message.text, "more than 4096 lines"));
    buf_clear(&text);
    buf_append_str(&text, "\nput");
    for (int i = 0; i < 300; i++) {
        buf_append_str(&text, " \"x\"");
    }
    assert_int_not_equal(parse_bytes(text.data, text.len), 0);
    assert_non_null(strstr(message.text, "more than 256 words"));
    /* 200 quoted words on a line of 1 MiB: each takes what it has, not what the line has. */
    buf_clear(&text);
    buf_append_str(&text, "\nput");
    for (int i = 0; i < 200; i++) {
        buf_append_str(&text, " \"x\"");
    }
    buf_append_byte(&text, ' ');
    for (int i = 0; i < 1024 * 1024; i++) {
        buf_append_byte(&text, 'y');
    }
    assert_int_not_equal(parse_bytes(text.data, text.len), 0);
    assert_true(arena.used < 4 * text.len);
    /* A message quotes a line as far as there is room. */
    text.data[0] = 'v';
    assert_int_not_equal(parse_bytes(text.data, text.len), 0);
    buf_close(&text);
}

static void anything_is_read_or_refused(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "val(", "\"",   "\"k\"", ")",        " = ",     "!=", "\n",       "\n\n",
        "put ", "get ", "del ",  "--prefix", "--",      "-w", "`",        "'",
        "\\",   "\\x4", "\\u12", "\xff",     "k ",      "1",  "--limit=", "(",
        "<",    "mod",  "lease", "\r\n",     "--lease", "\t", "",         "-9223372036854775809"};
    struct rand r;
    struct buf text;
    rand_init(&r, 7);
    buf_init(&text);
    int good = 0;
    for (int round = 0; round < 30000; round++) {
        buf_clear(&text);
        for (uint64_t left = rand_below(&r, 24); left > 0; left--) {
            buf_append_str(&text, pieces[rand_below(&r, sizeof(pieces) / sizeof(pieces[0]))]);
        }
        if (rand_chance(&r, 0.1)) {
            buf_append_byte(&text, '\0');
        }
        good += parse_bytes(text.data != NULL ? (char *)text.data : "", text.len) == 0;
    }
    assert_true(good > 100);
    buf_close(&text);
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    static const char text[] =
        "val(\"k\") = \"v\"\n\nput k \"v\" --prev-kv\nget k --prefix\n\ndel k\n";
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        arena_close(&arena);
        arena_init(&arena, 0);
        memset(&message, 0, sizeof(message));
        mem_fail_after(n);
        int err = cmd_txn_parse(&arena, slice_of(text, sizeof(text) - 1), &txn, &message);
        mem_fail_after(0);
        if (err == 0) {
            break;
        }
        assert_string_equal(message.text, "out of memory");
        failures++;
    }
    assert_true(failures > 0);
    /* The same with an arena that has a limit. */
    for (size_t limit = 1; limit < 400000; limit += 16) {
        arena_close(&arena);
        arena_init(&arena, limit);
        memset(&message, 0, sizeof(message));
        int err = cmd_txn_parse(&arena, slice_of(text, sizeof(text) - 1), &txn, &message);
        assert_true(err == 0 || message.text[0] != '\0');
    }
}

static int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_three_parts_are_told_apart),       TEST(conditions_become_compares),
        TEST(conditions_that_are_none_are_refused), TEST(operations_take_their_options),
        TEST(quotes_hold_words_together),           TEST(lines_words_and_memory_are_bounded),
        TEST(anything_is_read_or_refused),          TEST(out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
