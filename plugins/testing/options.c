/* options.c - "name=value,..." into a plugin's configuration struct, as kvd reads it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/testing/world.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
static const struct unit sizes[] = {
    {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}};

/* A number with one of the units at *text, which moves behind it. */
static bool option_quantity(const char **text, const struct unit *units, size_t count, int64_t *sum)
{
    char *end;
    errno = 0;
    long long n = strtoll(*text, &end, 10);
    if (end == *text || errno != 0 || n < 0) {
        return false;
    }
    size_t len = strspn(end, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    for (size_t i = 0; i < count; i++) {
        if (strlen(units[i].name) == len && strncmp(units[i].name, end, len) == 0) {
            int64_t part;
            *text = end + len;
            return !__builtin_mul_overflow(n, units[i].factor, &part) &&
                   !__builtin_add_overflow(*sum, part, sum);
        }
    }
    return false;
}

static bool option_duration(const char *text, int64_t *out)
{
    *out = 0;
    do {
        if (!option_quantity(&text, durations, 4, out)) {
            return false;
        }
    } while (*text != '\0');
    return true;
}

static bool option_size(const char *text, int64_t *out)
{
    *out = 0;
    return option_quantity(&text, sizes, 5, out) && *text == '\0';
}

static bool option_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0;
}

/* word is one of "a|b|c". */
static bool option_listed(const char *values, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = values; *at != '\0';) {
        size_t part = strcspn(at, "|");
        if (part == len && strncmp(at, word, len) == 0) {
            return true;
        }
        at += part + (at[part] == '|');
    }
    return false;
}

static bool option_set(const struct kvp_option *o, uint8_t *conf, const char *text,
                       struct kvp_errmsg *e)
{
    int64_t n = 0;
    bool good = true;
    switch (o->type) {
    case KVP_OPT_BOOL:
        good = strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
        *(int32_t *)(conf + o->offset) = strcmp(text, "true") == 0;
        break;
    case KVP_OPT_STRING:
        good = o->values == NULL || option_listed(o->values, text);
        *(const char **)(conf + o->offset) = text;
        break;
    case KVP_OPT_INT:
        good = option_int(text, &n);
        break;
    case KVP_OPT_DURATION:
        good = option_duration(text, &n);
        break;
    case KVP_OPT_SIZE:
        good = option_size(text, &n);
        break;
    default:
        good = false;
        break;
    }
    if (o->type == KVP_OPT_INT || o->type == KVP_OPT_DURATION || o->type == KVP_OPT_SIZE) {
        good = good && ((o->min == 0 && o->max == 0) || (n >= o->min && n <= o->max));
        *(int64_t *)(conf + o->offset) = n;
    }
    if (!good) {
        snprintf(e->text, sizeof(e->text), "option %s: \"%.100s\" is not a valid value (%s)",
                 o->name, text, o->help != NULL ? o->help : "see its table");
    }
    return good;
}

static const struct kvp_option *option_find(const struct kvp_plugin *p, const char *name)
{
    for (const struct kvp_option *o = p->options; o != NULL && o->name != NULL; o++) {
        if (strcmp(o->name, name) == 0) {
            return o;
        }
    }
    return NULL;
}

static bool options_defaults(const struct kvp_plugin *p, uint8_t *conf, struct kvp_errmsg *e)
{
    for (const struct kvp_option *o = p->options; o != NULL && o->name != NULL; o++) {
        if (o->def != NULL && !option_set(o, conf, o->def, e)) {
            return false;
        }
        if (o->def == NULL && o->type == KVP_OPT_STRING) {
            *(const char **)(conf + o->offset) = "";
        }
    }
    return true;
}

static bool options_given(const struct kvp_plugin *p, uint8_t *conf, char *text, uint64_t *given,
                          struct kvp_errmsg *e)
{
    for (char *next = text; *text != '\0'; text = next) {
        size_t len = strcspn(text, ",");
        next = text + len + (text[len] == ',');
        text[len] = '\0';
        char *value = strchr(text, '=');
        if (value == NULL) {
            snprintf(e->text, sizeof(e->text), "\"%.100s\": options are written name=value", text);
            return false;
        }
        *value = '\0';
        const struct kvp_option *o = option_find(p, text);
        if (o == NULL) {
            snprintf(e->text, sizeof(e->text), "plugin %s has no option \"%.100s\"", p->name, text);
            return false;
        }
        if (o - p->options < 64) {
            *given |= 1ull << (o - p->options);
        }
        if (!option_set(o, conf, value + 1, e)) {
            return false;
        }
    }
    return true;
}

void *options_read(const struct kvp_plugin *p, const char *text, struct kvp_errmsg *e)
{
    size_t len = text != NULL ? strlen(text) : 0;
    size_t size = (p->conf_size + 15) & ~(size_t)15;
    uint8_t *conf = quiet_zalloc(size + len + 1);
    char *copy = (char *)conf + size;
    if (len > 0) {
        memcpy(copy, text, len);
    }
    uint64_t given = 0;
    bool good = options_defaults(p, conf, e) && options_given(p, conf, copy, &given, e);
    for (const struct kvp_option *o = p->options; good && o != NULL && o->name != NULL; o++) {
        if ((o->flags & KVP_OPT_REQUIRED) != 0 && o - p->options < 64 &&
            (given & (1ull << (o - p->options))) == 0) {
            snprintf(e->text, sizeof(e->text), "option %s must be given", o->name);
            good = false;
        }
    }
    if (!good) {
        mem_free(conf);
        return NULL;
    }
    return conf;
}
