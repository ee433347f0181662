/* instant.c - the calendar, by counting days from March on as usual. */
#include "plugins/object/instant.h"

#include <inttypes.h>
#include <string.h>

static const char instant_layout[] = "2006-01-02T15:04:05Z07:00";
static const char instant_micro_layout[] = "2006-01-02T15:04:05.000000Z07:00";

static int64_t instant_days(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned of_era = (unsigned)(year - era * 400);
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + (int64_t)(of_era * 365 + of_era / 4 - of_era / 100 + of_year) - 719468;
}

static void instant_date(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * y + y / 4 - y / 100);
    unsigned m = (5 * of_year + 2) / 153;
    *day = of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = (int64_t)y + era * 400 + (*month <= 2);
}

static unsigned instant_month_days(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

struct instant_reader {
    struct slice all;
    size_t at;
    const char *layout;
    struct errmsg *e;
};

static int instant_refuse(const struct instant_reader *r, const char *element)
{
    struct slice rest = slice_of(r->all.data + r->at, r->all.len - r->at);
    return errmsg_set(r->e, ERR_INVALID,
                      "parsing time \"%.*s\" as \"%s\": cannot parse \"%.*s\" as \"%s\"",
                      (int)r->all.len, (const char *)r->all.data, r->layout, (int)rest.len,
                      (const char *)rest.data, element);
}

static int instant_out_of_range(const struct instant_reader *r, const char *what)
{
    return errmsg_set(r->e, ERR_INVALID, "parsing time \"%.*s\": %s out of range", (int)r->all.len,
                      (const char *)r->all.data, what);
}

/* Takes exactly `width` digits; of an hour one may do. */
static int instant_number(struct instant_reader *r, size_t width, const char *element,
                          unsigned *out)
{
    unsigned v = 0;
    bool hour = strcmp(element, "15") == 0;
    for (size_t i = 0; i < width; i++) {
        size_t at = r->at + i;
        if (hour && i == 1 &&
            (at >= r->all.len || r->all.data[at] < '0' || r->all.data[at] > '9')) {
            width = 1;
            break;
        }
        if (at >= r->all.len || r->all.data[at] < '0' || r->all.data[at] > '9') {
            return instant_refuse(r, element);
        }
        v = v * 10 + (unsigned)(r->all.data[at] - '0');
    }
    r->at += width;
    *out = v;
    return 0;
}

static int instant_letter(struct instant_reader *r, char letter)
{
    char element[2] = {letter, 0};
    if (r->at >= r->all.len || r->all.data[r->at] != (uint8_t)letter) {
        return instant_refuse(r, element);
    }
    r->at++;
    return 0;
}

/* A fraction, if one follows: microseconds, the rest is cut off. */
static unsigned instant_fraction(struct instant_reader *r)
{
    unsigned micros = 0;
    if (r->at + 1 >= r->all.len || (r->all.data[r->at] != '.' && r->all.data[r->at] != ',') ||
        r->all.data[r->at + 1] < '0' || r->all.data[r->at + 1] > '9') {
        return 0;
    }
    r->at++;
    unsigned digits = 0;
    for (; r->at < r->all.len && r->all.data[r->at] >= '0' && r->all.data[r->at] <= '9'; r->at++) {
        if (digits < 6) {
            micros = micros * 10 + (unsigned)(r->all.data[r->at] - '0');
            digits++;
        }
    }
    for (; digits < 6; digits++) {
        micros *= 10;
    }
    return micros;
}

/* Z or an offset; *seconds is what lies east of Greenwich. */
static int instant_zone(struct instant_reader *r, int64_t *seconds)
{
    *seconds = 0;
    if (r->at < r->all.len && r->all.data[r->at] == 'Z') {
        r->at++;
        return 0;
    }
    size_t start = r->at;
    unsigned hours = 0;
    unsigned minutes = 0;
    bool sign = r->at < r->all.len && (r->all.data[r->at] == '+' || r->all.data[r->at] == '-');
    bool negative = sign && r->all.data[r->at] == '-';
    struct errmsg ignored;
    struct instant_reader inner = {
        .all = r->all, .at = r->at + 1, .layout = r->layout, .e = &ignored};
    if (!sign || instant_number(&inner, 2, "", &hours) != 0 || instant_letter(&inner, ':') != 0 ||
        instant_number(&inner, 2, "", &minutes) != 0) {
        r->at = start;
        return instant_refuse(r, "Z07:00");
    }
    if (hours > 24) {
        return instant_out_of_range(r, "time zone offset hour");
    }
    if (minutes > 60) {
        return instant_out_of_range(r, "time zone offset minute");
    }
    r->at = inner.at;
    *seconds = (int64_t)(hours * 3600 + minutes * 60);
    *seconds = negative ? -*seconds : *seconds;
    return 0;
}

/* Six digits behind a point. */
static int instant_micros(struct instant_reader *r, unsigned *out)
{
    size_t start = r->at;
    struct errmsg ignored;
    struct instant_reader inner = *r;
    inner.e = &ignored;
    if (instant_letter(&inner, '.') != 0 || instant_number(&inner, 6, "", out) != 0) {
        r->at = start;
        return instant_refuse(r, ".000000");
    }
    r->at = inner.at;
    return 0;
}

int instant_parse(struct slice text, bool exact_micros, int64_t *micros, struct errmsg *e)
{
    struct instant_reader r = {
        .all = text, .layout = exact_micros ? instant_micro_layout : instant_layout, .e = e};
    unsigned v[6]; /* year, month, day, hour, minute, second */
    static const struct {
        size_t width;
        const char *element;
        char then;
        unsigned low;
        unsigned high;
        const char *name;
    } parts[6] = {{4, "2006", '-', 0, 9999, ""},   {2, "01", '-', 1, 12, "month"},
                  {2, "02", 'T', 0, 99, ""},       {2, "15", ':', 0, 23, "hour"},
                  {2, "04", ':', 0, 59, "minute"}, {2, "05", 0, 0, 59, "second"}};
    for (size_t i = 0; i < 6; i++) {
        int rc = instant_number(&r, parts[i].width, parts[i].element, &v[i]);
        if (rc != 0) {
            return rc;
        }
        if (v[i] < parts[i].low || v[i] > parts[i].high) {
            return instant_out_of_range(&r, parts[i].name);
        }
        rc = parts[i].then != 0 ? instant_letter(&r, parts[i].then) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    unsigned fraction = 0;
    int rc = exact_micros ? instant_micros(&r, &fraction) : 0;
    if (rc != 0) {
        return rc;
    }
    if (!exact_micros) {
        fraction = instant_fraction(&r);
    }
    int64_t east;
    rc = instant_zone(&r, &east);
    if (rc != 0) {
        return rc;
    }
    if (r.at < text.len) {
        return errmsg_set(e, ERR_INVALID, "parsing time \"%.*s\": extra text: \"%.*s\"",
                          (int)text.len, (const char *)text.data, (int)(text.len - r.at),
                          (const char *)text.data + r.at);
    }
    if (v[2] < 1 || v[2] > instant_month_days(v[0], v[1])) {
        return instant_out_of_range(&r, "day");
    }
    int64_t seconds = instant_days(v[0], v[1], v[2]) * 86400 + v[3] * 3600 + v[4] * 60 + v[5];
    *micros = (seconds - east) * 1000000 + fraction;
    return 0;
}

static size_t instant_format(int64_t seconds, int micros, char out[INSTANT_TEXT_BYTES_MAX])
{
    int64_t days = seconds / 86400;
    int64_t rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t year;
    unsigned month;
    unsigned day;
    instant_date(days, &year, &month, &day);
    /* Years beyond four digits have no RFC 3339 form: the nearest that has one. */
    year = year < 0 ? 0 : year > 9999 ? 9999 : year;
    const struct {
        char before; /* 0 = nothing */
        unsigned digits, number;
    } parts[] = {{0, 4, (unsigned)year},
                 {'-', 2, month},
                 {'-', 2, day},
                 {'T', 2, (unsigned)(rest / 3600)},
                 {':', 2, (unsigned)(rest / 60 % 60)},
                 {':', 2, (unsigned)(rest % 60)},
                 {'.', 6, micros < 0 ? 0 : (unsigned)micros}};
    size_t count = sizeof parts / sizeof parts[0] - (micros < 0);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned left = parts[i].number;
        if (parts[i].before != 0) {
            out[len++] = parts[i].before;
        }
        len += parts[i].digits;
        for (size_t at = len; at > len - parts[i].digits; left /= 10) {
            out[--at] = (char)('0' + left % 10);
        }
    }
    out[len++] = 'Z';
    return len;
}

size_t instant_print(int64_t seconds, char out[INSTANT_TEXT_BYTES_MAX])
{
    return instant_format(seconds, -1, out);
}

size_t instant_print_micros(int64_t micros, char out[INSTANT_TEXT_BYTES_MAX])
{
    int64_t seconds = micros / 1000000;
    int64_t rest = micros % 1000000;
    if (rest < 0) {
        rest += 1000000;
        seconds--;
    }
    return instant_format(seconds, (int)rest, out);
}
