/* options.c - typed options of plugins. */
#include "plugins/host/options.h"

#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/gosyntax.h"
#include "base/limits.h"

#define OPTIONS_MAX 256u

static size_t option_bytes(uint32_t type)
{
    switch (type) {
    case KVP_OPT_BOOL:
        return sizeof(int32_t);
    case KVP_OPT_INT:
    case KVP_OPT_DURATION:
    case KVP_OPT_SIZE:
        return sizeof(int64_t);
    case KVP_OPT_STRING:
        return sizeof(const char *);
    default:
        return 0;
    }
}

/* ---- values ------------------------------------------------------------------------------------
 */

static bool size_parse(const char *text, int64_t *out)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    size_t digits = strspn(text, "0123456789");
    uint64_t n = 0;
    if (digits == 0 || digits > 18) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text + digits, units[i].suffix) == 0) {
            *out = (int64_t)(n << units[i].shift);
            return n <= (uint64_t)INT64_MAX >> units[i].shift;
        }
    }
    return false;
}

static bool words_have(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = words; p != NULL; p = strchr(p, '|'), p = p != NULL ? p + 1 : NULL) {
        if (strncmp(p, word, len) == 0 && (p[len] == '\0' || p[len] == '|')) {
            return true;
        }
    }
    return false;
}

/* One value; strings go to *strings, which has room. what: "option x" for the sentence. */
static int option_set(const struct kvp_option *o, const char *text, void *conf, char **strings,
                      struct errmsg *e)
{
    void *to = (char *)conf + o->offset;
    int64_t number = 0;
    bool flag = false;
    bool ok = true;
    const char *form = "";
    const char *shown = (o->flags & KVP_OPT_SECRET) != 0 ? "(secret)" : text;
    switch (o->type) {
    case KVP_OPT_BOOL:
        ok = go_bool_parse(text, &flag) == GO_OK;
        form = "true or false";
        *(int32_t *)to = flag;
        break;
    case KVP_OPT_INT:
        ok = go_int_parse(text, &number) == GO_OK;
        form = "a whole number";
        break;
    case KVP_OPT_DURATION:
        ok = go_duration_parse(text, &number) == GO_OK && number >= 0;
        number /= 1000000;
        form = "a duration such as 250ms, 5s or 1m30s";
        break;
    case KVP_OPT_SIZE:
        ok = size_parse(text, &number);
        form = "a size such as 512, 64KiB or 4MiB";
        break;
    default:
        if (o->values != NULL && !words_have(o->values, text)) {
            return errmsg_set(e, ERR_INVALID, "option %s: \"%s\" is none of %s", o->name, shown,
                              o->values);
        }
        memcpy(*strings, text, strlen(text) + 1);
        memcpy(to, strings, sizeof(*strings));
        *strings += strlen(text) + 1;
        return 0;
    }
    if (!ok) {
        return errmsg_set(e, ERR_INVALID, "option %s: \"%s\" is not %s", o->name, shown, form);
    }
    if (o->type != KVP_OPT_BOOL) {
        if ((o->min != 0 || o->max != 0) && (number < o->min || number > o->max)) {
            return errmsg_set(e, ERR_INVALID, "option %s: %s is outside %lld..%lld", o->name, shown,
                              (long long)o->min, (long long)o->max);
        }
        memcpy(to, &number, sizeof(number));
    }
    return 0;
}

/* ---- names -------------------------------------------------------------------------------------
 */

/* Edits that make one word of the other; words are at most 64 bytes here. */
static unsigned word_distance(const char *a, const char *b)
{
    unsigned row[66];
    size_t la = strlen(a);
    size_t lb = strlen(b);
    if (la > 64 || lb > 64) {
        return UINT_MAX;
    }
    for (unsigned j = 0; j <= lb; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; i <= la; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            unsigned above = row[j];
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
            corner = above;
        }
    }
    return row[lb];
}

static int option_unknown(const struct kvp_plugin *d, const char *name, struct errmsg *e)
{
    const struct kvp_option *near = NULL;
    unsigned best = UINT_MAX;
    for (const struct kvp_option *o = d->options; o != NULL && o->name != NULL; o++) {
        unsigned distance = word_distance(name, o->name);
        if (distance < best) {
            best = distance;
            near = o;
        }
    }
    if (near == NULL) {
        return errmsg_set(e, ERR_INVALID, "it has no option %s: it has none at all", name);
    }
    return errmsg_set(e, ERR_INVALID, "it has no option %s; the nearest is %s", name, near->name);
}

static const struct kvp_option *option_find(const struct kvp_plugin *d, const char *name,
                                            size_t *index)
{
    const struct kvp_option *o = d->options;
    for (*index = 0; o != NULL && o->name != NULL; o++, (*index)++) {
        if (strcmp(o->name, name) == 0) {
            return o;
        }
    }
    return NULL;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

int options_check(const struct kvp_plugin *d, struct errmsg *e)
{
    size_t n = 0;
    for (const struct kvp_option *o = d->options; o != NULL && o->name != NULL; o++, n++) {
        size_t bytes = option_bytes(o->type);
        size_t first;
        if (n >= OPTIONS_MAX) {
            return errmsg_set(e, ERR_INVALID, "its option table has no end row");
        }
        if (bytes == 0) {
            return errmsg_set(e, ERR_INVALID, "its option %s is of the unknown type %u", o->name,
                              o->type);
        }
        if (o->offset > d->conf_size || d->conf_size - o->offset < bytes ||
            o->offset % bytes != 0) {
            return errmsg_set(e, ERR_INVALID, "its option %s lies outside its configuration",
                              o->name);
        }
        if (option_find(d, o->name, &first) != o) {
            return errmsg_set(e, ERR_INVALID, "its option %s is there twice", o->name);
        }
    }
    return 0;
}

/* Bytes of all default strings with their NULs. */
static size_t options_default_bytes(const struct kvp_plugin *d)
{
    size_t bytes = 0;
    for (const struct kvp_option *o = d->options; o != NULL && o->name != NULL; o++) {
        bytes += (o->def != NULL ? strlen(o->def) : 0) + 1;
    }
    return bytes;
}

/* words is cut up. given: which options were met. */
static int options_take(const struct kvp_plugin *d, char *words, void *conf, char **strings,
                        bool *given, struct errmsg *e)
{
    for (char *word = words, *next; word != NULL && *word != '\0'; word = next) {
        size_t at;
        next = strchr(word, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        char *value = strchr(word, '=');
        if (value == NULL) {
            return errmsg_set(e, ERR_INVALID, "option %s has no value: write %s=VALUE", word, word);
        }
        *value++ = '\0';
        const struct kvp_option *o = option_find(d, word, &at);
        if (o == NULL) {
            return option_unknown(d, word, e);
        }
        if (given[at]) {
            return errmsg_set(e, ERR_INVALID, "option %s is given twice", word);
        }
        given[at] = true;
        int err = option_set(o, value, conf, strings, e);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static int options_defaults(const struct kvp_plugin *d, void *conf, char **strings,
                            const bool *given, struct errmsg *e)
{
    size_t at = 0;
    for (const struct kvp_option *o = d->options; o != NULL && o->name != NULL; o++, at++) {
        if (given[at]) {
            continue;
        }
        if ((o->flags & KVP_OPT_REQUIRED) != 0) {
            return errmsg_set(e, ERR_INVALID, "option %s must be given: %s", o->name,
                              o->help != NULL ? o->help : "it has no default");
        }
        if (o->def != NULL || o->type == KVP_OPT_STRING) {
            struct kvp_option any = *o;
            any.values = o->def != NULL ? o->values : NULL;
            int err = option_set(&any, o->def != NULL ? o->def : "", conf, strings, e);
            if (err != 0) {
                return errmsg_wrap(e, err, "its own default");
            }
        }
    }
    return 0;
}

int options_parse(const struct kvp_plugin *d, const char *text, void **out, struct errmsg *e)
{
    bool given[OPTIONS_MAX] = {false};
    size_t len = strlen(text);
    size_t conf_bytes = (d->conf_size + 15) & ~(size_t)15;
    *out = NULL;
    char *words = mem_dup(text, len + 1);
    char *conf = mem_zalloc(conf_bytes + len + 1 + options_default_bytes(d));
    int err = words == NULL || conf == NULL ? errmsg_set(e, ERR_NOMEM, "out of memory") : 0;
    if (err == 0) {
        char *strings = conf + conf_bytes;
        err = options_take(d, words, conf, &strings, given, e);
        err = err != 0 ? err : options_defaults(d, conf, &strings, given, e);
    }
    mem_free(words);
    if (err != 0 || d->conf_size == 0) {
        mem_free(conf);
        return err;
    }
    *out = conf;
    return 0;
}

const char *options_fixed_change(const struct kvp_plugin *d, const void *a, const void *b)
{
    for (const struct kvp_option *o = d->options; o != NULL && o->name != NULL; o++) {
        const char *left = (const char *)a + o->offset;
        const char *right = (const char *)b + o->offset;
        bool same;
        if (o->type == KVP_OPT_STRING) {
            const char *words[2];
            memcpy(&words[0], left, sizeof(words[0]));
            memcpy(&words[1], right, sizeof(words[1]));
            same = strcmp(words[0], words[1]) == 0;
        } else {
            same = memcmp(left, right, option_bytes(o->type)) == 0;
        }
        if (!same && (o->flags & KVP_OPT_RELOADABLE) == 0) {
            return o->name;
        }
    }
    return NULL;
}
