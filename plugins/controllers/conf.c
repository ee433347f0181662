/* conf.c - reading what the options' texts say. */
#include "plugins/controllers/conf.h"

#include <stdlib.h>
#include <string.h>

#define CONF_RATE_MAX 1e6

bool conf_controller_enabled(const char *list, const char *name)
{
    static const char separators[] = ": \t";
    bool all = false;
    size_t name_len = strlen(name);
    while (*list != 0) {
        list += strspn(list, separators);
        size_t len = strcspn(list, separators);
        if (len == name_len && memcmp(list, name, len) == 0) {
            return true;
        }
        if (len == name_len + 1 && *list == '-' && memcmp(list + 1, name, name_len) == 0) {
            return false;
        }
        all = all || (len == 1 && *list == '*');
        list += len;
    }
    return all;
}

bool conf_rate(const char *text, double *out)
{
    char *end;
    if (strspn(text, "0123456789.") != strlen(text) || *text == 0) {
        return false;
    }
    double rate = strtod(text, &end);
    if (*end != 0 || !(rate >= 0) || rate > CONF_RATE_MAX) {
        return false;
    }
    *out = rate;
    return true;
}
