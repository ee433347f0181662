/* test_args - command lines: options in every spelling, words, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"

static const struct arg_option first_options[] = {
    {"form", 'w', ARG_STRING, "simple", "text"},
    {"wait", 0, ARG_DURATION, "2s", "time"},
    {0},
};
static const struct arg_option second_options[] = {
    {"limit", 'n', ARG_INT, "0", "number"},
    {"prefix", 'p', ARG_BOOL, "", "boolean"},
    {"on", 0, ARG_BOOL, "true", "boolean"},
    {0},
};

static struct args args;
static struct errmsg message;

/* Parses the words given; the list ends with NULL. */
static int parse(const char *const *words)
{
    int count = 0;
    int from = 0;
    while (words[count] != NULL) {
        count++;
    }
    message.text[0] = '\0';
    args_init(&args, first_options, second_options);
    int err = args_parse(&args, count, (char *const *)words, &from, false, &message);
    if (err == 0) {
        assert_int_equal(from, count);
        assert_null(args.words[args.word_count]);
    } else {
        assert_string_not_equal(message.text, "");
    }
    return err;
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void defaults_hold_until_something_is_given(void **state)
{
    (void)state;
    assert_int_equal(parse((const char *const[]){NULL}), 0);
    assert_string_equal(args_text(&args, "form"), "simple");
    assert_int_equal(args_ms(&args, "wait"), 2000);
    assert_int_equal(args_int(&args, "limit"), 0);
    assert_false(args_bool(&args, "prefix"));
    assert_true(args_bool(&args, "on"));
    assert_false(args_given(&args, "form"));
    assert_int_equal(args.word_count, 0);
    assert_int_equal(args.dash, 0);
}

static void every_spelling_of_an_option_is_taken(void **state)
{
    (void)state;
    const char *const spellings[][3] = {{"--form=json", NULL}, {"--form", "json", NULL},
                                        {"-w", "json", NULL},  {"-wjson", NULL},
                                        {"-w=json", NULL},     {"-wx", "-w=json", NULL}};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        assert_int_equal(parse(spellings[i]), 0);
        assert_string_equal(args_text(&args, "form"), "json");
        assert_true(args_given(&args, "form"));
        assert_int_equal(args.word_count, 0);
    }
    assert_int_equal(PARSE("--prefix", "--on=false", "-p=true", "--limit", "-3", "--wait=1ns"), 0);
    assert_true(args_bool(&args, "prefix"));
    assert_false(args_bool(&args, "on"));
    assert_int_equal(args_int(&args, "limit"), -3);
    assert_int_equal(args_ms(&args, "wait"), 1);
    assert_int_equal(PARSE("--form="), 0);
    assert_string_equal(args_text(&args, "form"), "");
    assert_true(args_given(&args, "form"));
    /* What follows an option that wants a value is the value, whatever it looks like. */
    assert_int_equal(PARSE("--form", "--prefix"), 0);
    assert_string_equal(args_text(&args, "form"), "--prefix");
    assert_false(args_bool(&args, "prefix"));
}

static void words_may_stand_between_options(void **state)
{
    (void)state;
    assert_int_equal(PARSE("a", "--prefix", "b", "-n5", "-", ""), 0);
    assert_int_equal(args.word_count, 4);
    assert_string_equal(args.words[0], "a");
    assert_string_equal(args.words[1], "b");
    assert_string_equal(args.words[2], "-");
    assert_string_equal(args.words[3], "");
    assert_int_equal(args.dash, 4);
    assert_int_equal(args_int(&args, "limit"), 5);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    assert_int_equal(PARSE("a", "--", "-n5", "--", "--help"), 0);
    assert_int_equal(args.word_count, 4);
    assert_int_equal(args.dash, 1);
    assert_string_equal(args.words[1], "-n5");
    assert_string_equal(args.words[2], "--");
    assert_string_equal(args.words[3], "--help");
    assert_false(args.help);
    assert_int_equal(PARSE("--"), 0);
    assert_int_equal(args.word_count, 0);
}

static void help_is_seen_anywhere(void **state)
{
    (void)state;
    assert_int_equal(PARSE("a", "-h"), 0);
    assert_true(args.help);
    assert_int_equal(PARSE("--help", "a"), 0);
    assert_true(args.help);
    assert_int_equal(args.word_count, 1);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *sentence;
    } rows[] = {
        {{"--frob"}, "unknown flag: --frob"},
        {{"--frob=1"}, "unknown flag: --frob"},
        {{"--for=1"}, "unknown flag: --for"},
        {{"--forms"}, "unknown flag: --forms"},
        {{"---form=x"}, "unknown flag: ---form"},
        {{"--=x"}, "unknown flag: --"},
        {{"-x"}, "unknown shorthand flag: 'x' in -x"},
        {{"-xw"}, "unknown shorthand flag: 'x' in -xw"},
        {{"--form"}, "flag needs an argument: --form"},
        {{"-w"}, "flag needs an argument: 'w' in -w"},
        {{"--limit=x"}, "invalid argument \"x\" for --limit: give a whole number"},
        {{"--limit="}, "invalid argument \"\" for --limit: give a whole number"},
        {{"--limit", "1.5"}, "invalid argument \"1.5\" for --limit: give a whole number"},
        {{"--limit=9223372036854775808"},
         "invalid argument \"9223372036854775808\" for --limit: give a whole number"},
        {{"-pfalsy"}, "invalid argument \"falsy\" for --prefix: give true or false"},
        {{"--prefix="}, "invalid argument \"\" for --prefix: give true or false"},
        {{"--wait=5"}, "invalid argument \"5\" for --wait: give a time like 500ms, 5s or 1m30s"},
        {{"--wait=-5s"},
         "invalid argument \"-5s\" for --wait: give a time like 500ms, 5s or 1m30s"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(parse(rows[i].words), ERR_INVALID);
        assert_string_equal(message.text, rows[i].sentence);
    }
}

static void the_first_word_can_stop_the_parser(void **state)
{
    (void)state;
    const char *const words[] = {"--form", "json", "get", "--limit=1", NULL};
    int from = 0;
    args_init(&args, first_options, NULL);
    assert_int_equal(args_parse(&args, 4, (char *const *)words, &from, true, &message), 0);
    assert_int_equal(from, 2);
    assert_int_equal(args.word_count, 0);
    assert_string_equal(args_text(&args, "form"), "json");
    const char *const ended[] = {"--", "get", NULL};
    from = 0;
    assert_int_equal(args_parse(&args, 2, (char *const *)ended, &from, true, &message), 0);
    assert_int_equal(from, 0);
}

static void words_and_messages_are_bounded(void **state)
{
    (void)state;
    static const char *many[ARGS_WORDS_MAX + 2];
    static char word[100000];
    for (size_t i = 0; i < ARGS_WORDS_MAX; i++) {
        many[i] = "x";
    }
    assert_int_equal(parse(many), 0);
    assert_int_equal(args.word_count, ARGS_WORDS_MAX);
    many[ARGS_WORDS_MAX] = "x";
    assert_int_equal(parse(many), ERR_INVALID);
    assert_string_equal(message.text, "more than 256 arguments");
    memset(word, '-', sizeof(word) - 1);
    assert_int_equal(PARSE(word), ERR_INVALID);
    memset(word + 1, 'q', sizeof(word) - 2);
    assert_int_equal(PARSE(word), ERR_INVALID);
    assert_int_equal(PARSE("--limit", word), ERR_INVALID);
}

static void a_value_can_be_set_by_name(void **state)
{
    (void)state;
    args_init(&args, first_options, second_options);
    assert_int_equal(args_set(&args, "limit", "0x10", &message), 0);
    assert_int_equal(args_int(&args, "limit"), 16);
    assert_int_equal(args_set(&args, "wait", "soon", &message), ERR_INVALID);
    assert_int_equal(args_ms(&args, "wait"), 2000);
    assert_false(args_given(&args, "wait"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_until_something_is_given),
        cmocka_unit_test(every_spelling_of_an_option_is_taken),
        cmocka_unit_test(words_may_stand_between_options),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_is_seen_anywhere),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(the_first_word_can_stop_the_parser),
        cmocka_unit_test(words_and_messages_are_bounded),
        cmocka_unit_test(a_value_can_be_set_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
