/* args.h - command lines as etcdctl takes them: options anywhere, --name=value, --name value, -n
 * value, -nvalue, -- ends them, booleans without a value; and words that are no options.
 *
 * Texts are borrowed from argv and from the tables of options, which live for ever. */
#ifndef KVD_CLI_ARGS_H
#define KVD_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum arg_type { ARG_BOOL, ARG_INT, ARG_STRING, ARG_DURATION };

struct arg_option {
    const char *name; /* NULL ends a table */
    char letter;      /* 0 = none */
    enum arg_type type;
    const char *initial; /* text of the default; "" also for false, 0 */
    const char *help;
};

#define ARGS_OPTIONS_MAX 48
/* Words kept; what a command does not want is counted all the same. */
#define ARGS_WORDS_MAX 256

struct arg_value {
    const struct arg_option *option;
    const char *text;
    bool given;
};

struct args {
    struct arg_value values[ARGS_OPTIONS_MAX];
    size_t option_count;
    const char *words[ARGS_WORDS_MAX + 1]; /* NULL-terminated */
    size_t word_count;
    size_t dash; /* index into words of what followed "--"; word_count when there was none */
    bool help;   /* -h or --help */
};

/* Starts with the defaults of two tables (either may be NULL). */
void args_init(struct args *a, const struct arg_option *first, const struct arg_option *second);
/* Reads words [from, argc). ERR_INVALID with a sentence: "unknown flag: --x", "flag needs an
 * argument:
 * --x", or a bad value. stop_at_word: the first word and what follows stays unread; *from is moved.
 */
int args_parse(struct args *a, int argc, char *const *argv, int *from, bool stop_at_word,
               struct errmsg *e);
/* Takes a value for an option by name, checked against its type. */
int args_set(struct args *a, const char *name, const char *text, struct errmsg *e);

/* Values; the option must be in one of the tables. */
bool args_bool(const struct args *a, const char *name);
int64_t args_int(const struct args *a, const char *name);
const char *args_text(const struct args *a, const char *name);
uint64_t args_ms(const struct args *a, const char *name); /* a duration, rounded up */
bool args_given(const struct args *a, const char *name);

#endif
