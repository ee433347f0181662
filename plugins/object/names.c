/* names.c - the regular expressions of names, as loops. */
#include "plugins/object/names.h"

#include <stdint.h>

#define LABEL_TEXT                                                                               \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and " \
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "   \
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define SUBDOMAIN_TEXT                                                                            \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "  \
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used " \
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define DNS1035_TEXT                                                                             \
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an " \
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "         \
    "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
#define KEY_TEXT                                                                                \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " \
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "      \
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define KEY_SHAPE_TEXT                                                                    \
    "a valid label key " KEY_TEXT " with an optional DNS subdomain prefix and '/' (e.g. " \
    "'example.com/MyName')"
#define LABEL_VALUE_TEXT                                                                        \
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or " \
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "          \
    "'my_value',  or '12345', regex used for validation is "                                    \
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
#define CONFIG_KEY_TEXT                                                                  \
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. " \
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "          \
    "'[-._a-zA-Z0-9]+')"
#define PERCENT_TEXT                                                                             \
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or " \
    "'93%', regex used for validation is '[0-9]+%')"
#define HEADER_TEXT                                                                              \
    "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', " \
    "regex used for validation is '[-A-Za-z0-9]+')"

static bool name_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool name_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool name_lower_digit(uint8_t c)
{
    return name_lower(c) || name_digit(c);
}

static bool name_alnum(uint8_t c)
{
    return name_lower(c) || name_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool name_is_label(struct slice s)
{
    if (s.len == 0 || !name_lower_digit(s.data[0]) || !name_lower_digit(s.data[s.len - 1])) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (!name_lower_digit(s.data[i]) && s.data[i] != '-') {
            return false;
        }
    }
    return true;
}

static bool name_is_subdomain(struct slice s)
{
    size_t begin = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i == s.len || s.data[i] == '.') {
            if (!name_is_label(slice_of(s.data + begin, i - begin))) {
                return false;
            }
            begin = i + 1;
        }
    }
    return true;
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool name_is_key(struct slice s)
{
    if (s.len == 0 || !name_alnum(s.data[0]) || !name_alnum(s.data[s.len - 1])) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (!name_alnum(c) && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return true;
}

static size_t name_check_label(struct slice s, const char *out[])
{
    size_t n = 0;
    if (s.len > 63) {
        out[n++] = "must be no more than 63 characters";
    }
    if (!name_is_label(s)) {
        out[n++] = s.len > 0 && name_is_subdomain(s) ? "must not contain dots" : LABEL_TEXT;
    }
    return n;
}

static size_t name_check_subdomain(struct slice s, const char *out[])
{
    size_t n = 0;
    if (s.len > 253) {
        out[n++] = "must be no more than 253 characters";
    }
    if (!name_is_subdomain(s)) {
        out[n++] = SUBDOMAIN_TEXT;
    }
    return n;
}

static size_t name_check_dns1035(struct slice s, const char *out[])
{
    size_t n = 0;
    if (s.len > 63) {
        out[n++] = "must be no more than 63 characters";
    }
    if (!name_is_label(s) || !name_lower(s.data[0])) {
        out[n++] = DNS1035_TEXT;
    }
    return n;
}

static size_t name_check_path(struct slice s, const char *out[])
{
    if (slice_eq(s, slice_of(".", 1))) {
        out[0] = "may not be '.'";
        return 1;
    }
    if (slice_eq(s, slice_of("..", 2))) {
        out[0] = "may not be '..'";
        return 1;
    }
    size_t n = 0;
    if (s.len > 0 && memchr(s.data, '/', s.len) != NULL) {
        out[n++] = "may not contain '/'";
    }
    if (s.len > 0 && memchr(s.data, '%', s.len) != NULL) {
        out[n++] = "may not contain '%'";
    }
    return n;
}

static size_t name_check_qualified(struct slice s, const char *out[])
{
    size_t n = 0;
    const uint8_t *slash = s.len == 0 ? NULL : memchr(s.data, '/', s.len);
    struct slice name = s;
    if (slash != NULL) {
        struct slice prefix = slice_of(s.data, (size_t)(slash - s.data));
        name = slice_of(slash + 1, s.len - prefix.len - 1);
        if (name.len > 0 && memchr(name.data, '/', name.len) != NULL) {
            out[0] = KEY_SHAPE_TEXT;
            return 1;
        }
        if (prefix.len == 0) {
            out[n++] = "prefix part must be non-empty";
        } else {
            if (prefix.len > 253) {
                out[n++] = "prefix part must be no more than 253 bytes";
            }
            if (!name_is_subdomain(prefix)) {
                out[n++] = "prefix part " SUBDOMAIN_TEXT;
            }
        }
    }
    if (name.len == 0) {
        out[n++] = "name part must be non-empty";
    } else if (name.len > 63) {
        out[n++] = "name part must be no more than 63 bytes";
    }
    if (!name_is_key(name)) {
        out[n++] = "name part " KEY_TEXT;
    }
    return n;
}

static size_t name_check_value(struct slice s, const char *out[])
{
    size_t n = 0;
    if (s.len > 63) {
        out[n++] = "must be no more than 63 bytes";
    }
    if (s.len > 0 && !name_is_key(s)) {
        out[n++] = LABEL_VALUE_TEXT;
    }
    return n;
}

static size_t name_check_config_key(struct slice s, const char *out[])
{
    size_t n = 0;
    bool good = s.len > 0;
    for (size_t i = 0; i < s.len && good; i++) {
        uint8_t c = s.data[i];
        good = name_alnum(c) || c == '-' || c == '_' || c == '.';
    }
    if (s.len > 253) {
        out[n++] = "must be no more than 253 characters";
    }
    if (!good) {
        out[n++] = CONFIG_KEY_TEXT;
    }
    if (slice_eq(s, slice_of(".", 1))) {
        out[n++] = "must not be '.'";
    } else if (slice_eq(s, slice_of("..", 2))) {
        out[n++] = "must not be '..'";
    } else if (slice_starts_with(s, slice_of("..", 2))) {
        out[n++] = "must not start with '..'";
    }
    return n;
}

static size_t name_check_port(struct slice s, const char *out[])
{
    size_t n = 0;
    bool good = true;
    bool letter = false;
    bool twice = false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        good = good && (name_lower_digit(c) || c == '-');
        letter = letter || name_lower(c);
        twice = twice || (i > 0 && c == '-' && s.data[i - 1] == '-');
    }
    if (s.len > 15) {
        out[n++] = "must be no more than 15 characters";
    }
    if (!good || s.len == 0) {
        out[n++] = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
    }
    if (!letter) {
        out[n++] = "must contain at least one letter (a-z)";
    }
    if (twice && n < NAME_COMPLAINTS_MAX) {
        out[n++] = "must not contain consecutive hyphens";
    }
    if (s.len > 0 && (s.data[0] == '-' || s.data[s.len - 1] == '-') && n < NAME_COMPLAINTS_MAX) {
        out[n++] = "must not begin or end with a hyphen";
    }
    return n;
}

static size_t name_check_env(struct slice s, const char *out[])
{
    if (s.len == 0) {
        out[0] = "environment variable name must be non-empty";
        return 1;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20 || s.data[i] > 0x7e || s.data[i] == '=') {
            out[0] = "a valid environment variable name must consist only of printable ASCII "
                     "characters other than '='";
            return 1;
        }
    }
    return 0;
}

static size_t name_check_percent(struct slice s, const char *out[])
{
    bool good = s.len > 1 && s.data[s.len - 1] == '%';
    for (size_t i = 0; good && i + 1 < s.len; i++) {
        good = name_digit(s.data[i]);
    }
    out[0] = PERCENT_TEXT;
    return !good;
}

static size_t name_check_header(struct slice s, const char *out[])
{
    bool good = s.len > 0;
    for (size_t i = 0; good && i < s.len; i++) {
        good = name_alnum(s.data[i]) || s.data[i] == '-';
    }
    out[0] = HEADER_TEXT;
    return !good;
}

size_t name_check(enum name_rule rule, struct slice text, const char *out[NAME_COMPLAINTS_MAX])
{
    switch (rule) {
    case NAME_SUBDOMAIN:
        return name_check_subdomain(text, out);
    case NAME_LABEL:
        return name_check_label(text, out);
    case NAME_DNS1035:
        return name_check_dns1035(text, out);
    case NAME_PATH:
        return name_check_path(text, out);
    case NAME_QUALIFIED:
        return name_check_qualified(text, out);
    case NAME_LABEL_VALUE:
        return name_check_value(text, out);
    case NAME_CONFIG_KEY:
        return name_check_config_key(text, out);
    case NAME_PORT:
        return name_check_port(text, out);
    case NAME_ENV:
        return name_check_env(text, out);
    case NAME_PERCENT:
        return name_check_percent(text, out);
    case NAME_HTTP_HEADER:
        return name_check_header(text, out);
    }
    return 0;
}
