/* args.c - command lines, see args.h. */
#include "cli/args.h"

#include <string.h>

#include "base/assert.h"
#include "base/gosyntax.h"

void args_init(struct args *a, const struct arg_option *first, const struct arg_option *second)
{
    memset(a, 0, sizeof(*a));
    const struct arg_option *tables[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        for (const struct arg_option *o = tables[i]; o != NULL && o->name != NULL; o++) {
            FATAL_IF(a->option_count == ARGS_OPTIONS_MAX, "more options than ARGS_OPTIONS_MAX");
            a->values[a->option_count++] = (struct arg_value){.option = o, .text = o->initial};
        }
    }
}

static struct arg_value *args_find(const struct args *a, const char *name, size_t len)
{
    for (size_t i = 0; i < a->option_count; i++) {
        const struct arg_option *o = a->values[i].option;
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0) {
            return (struct arg_value *)&a->values[i];
        }
    }
    return NULL;
}

static struct arg_value *args_find_letter(const struct args *a, char letter)
{
    for (size_t i = 0; i < a->option_count; i++) {
        if (a->values[i].option->letter == letter) {
            return (struct arg_value *)&a->values[i];
        }
    }
    return NULL;
}

static int args_take(struct arg_value *value, const char *text, struct errmsg *e)
{
    bool b;
    int64_t i;
    enum go_result result = GO_OK;
    switch (value->option->type) {
    case ARG_BOOL:
        result = go_bool_parse(text, &b);
        break;
    case ARG_INT:
        result = go_int_parse(text, &i);
        break;
    case ARG_DURATION:
        result = go_duration_parse(text, &i);
        if (result == GO_OK && i < 0) {
            result = GO_RANGE;
        }
        break;
    case ARG_STRING:
        break;
    }
    if (result != GO_OK) {
        static const char *const wanted[] = {
            [ARG_BOOL] = "true or false",
            [ARG_INT] = "a whole number",
            [ARG_STRING] = "text",
            [ARG_DURATION] = "a time like 500ms, 5s or 1m30s",
        };
        return errmsg_set(e, ERR_INVALID, "invalid argument \"%s\" for --%s: give %s", text,
                          value->option->name, wanted[value->option->type]);
    }
    value->text = text;
    value->given = true;
    return 0;
}

int args_set(struct args *a, const char *name, const char *text, struct errmsg *e)
{
    struct arg_value *value = args_find(a, name, strlen(name));
    FATAL_IF(value == NULL, "an option that is in no table");
    return args_take(value, text, e);
}

/* "--name", "--name=value", "--name value". */
static int args_parse_long(struct args *a, int argc, char *const *argv, int *at, struct errmsg *e)
{
    const char *name = argv[(*at)++] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    if (len == 4 && memcmp(name, "help", 4) == 0) {
        a->help = true;
        return 0;
    }
    struct arg_value *value = args_find(a, name, len);
    if (value == NULL) {
        return errmsg_set(e, ERR_INVALID, "unknown flag: --%.*s", (int)len, name);
    }
    if (equals != NULL) {
        return args_take(value, equals + 1, e);
    }
    if (value->option->type == ARG_BOOL) {
        return args_take(value, "true", e);
    }
    if (*at >= argc) {
        return errmsg_set(e, ERR_INVALID, "flag needs an argument: --%.*s", (int)len, name);
    }
    return args_take(value, argv[(*at)++], e);
}

/* "-w json", "-wjson", "-w=json"; only one letter per word, there are too few to join. */
static int args_parse_short(struct args *a, int argc, char *const *argv, int *at, struct errmsg *e)
{
    const char *word = argv[(*at)++];
    if (strcmp(word, "-h") == 0) {
        a->help = true;
        return 0;
    }
    struct arg_value *value = args_find_letter(a, word[1]);
    if (value == NULL) {
        return errmsg_set(e, ERR_INVALID, "unknown shorthand flag: '%c' in %s", word[1], word);
    }
    if (word[2] != '\0') {
        return args_take(value, word + (word[2] == '=' ? 3 : 2), e);
    }
    if (value->option->type == ARG_BOOL) {
        return args_take(value, "true", e);
    }
    if (*at >= argc) {
        return errmsg_set(e, ERR_INVALID, "flag needs an argument: '%c' in %s", word[1], word);
    }
    return args_take(value, argv[(*at)++], e);
}

static int args_add_word(struct args *a, const char *word, struct errmsg *e)
{
    if (a->word_count == ARGS_WORDS_MAX) {
        return errmsg_set(e, ERR_INVALID, "more than %d arguments", ARGS_WORDS_MAX);
    }
    a->words[a->word_count++] = word;
    return 0;
}

int args_parse(struct args *a, int argc, char *const *argv, int *from, bool stop_at_word,
               struct errmsg *e)
{
    bool ended = false;
    int err = 0;
    while (err == 0 && *from < argc) {
        const char *word = argv[*from];
        if (!ended && strcmp(word, "--") == 0) {
            if (stop_at_word) {
                break;
            }
            ended = true;
            a->dash = a->word_count;
            (*from)++;
        } else if (!ended && word[0] == '-' && word[1] == '-') {
            err = args_parse_long(a, argc, argv, from, e);
        } else if (!ended && word[0] == '-' && word[1] != '\0') {
            err = args_parse_short(a, argc, argv, from, e);
        } else if (stop_at_word) {
            break;
        } else {
            err = args_add_word(a, word, e);
            (*from)++;
        }
    }
    if (!ended) {
        a->dash = a->word_count;
    }
    return err;
}

static const struct arg_value *args_value(const struct args *a, const char *name)
{
    const struct arg_value *value = args_find(a, name, strlen(name));
    FATAL_IF(value == NULL, "an option that is in no table");
    return value;
}

bool args_bool(const struct args *a, const char *name)
{
    bool b = false;
    (void)go_bool_parse(args_value(a, name)->text, &b);
    return b;
}

int64_t args_int(const struct args *a, const char *name)
{
    int64_t i = 0;
    (void)go_int_parse(args_value(a, name)->text, &i);
    return i;
}

const char *args_text(const struct args *a, const char *name)
{
    return args_value(a, name)->text;
}

uint64_t args_ms(const struct args *a, const char *name)
{
    int64_t ns = 0;
    (void)go_duration_parse(args_value(a, name)->text, &ns);
    return ns <= 0 ? 0 : ((uint64_t)ns + 999999) / 1000000;
}

bool args_given(const struct args *a, const char *name)
{
    return args_value(a, name)->given;
}
