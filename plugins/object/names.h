/* names.h - the rules for names, label keys and values, and what Kubernetes says when one is
 * broken. */
#ifndef KVD_OBJECT_NAMES_H
#define KVD_OBJECT_NAMES_H

#include <stdbool.h>

#include "base/slice.h"

enum name_rule {
    NAME_SUBDOMAIN,   /* DNS-1123 subdomain, up to 253 */
    NAME_LABEL,       /* DNS-1123 label, up to 63 */
    NAME_DNS1035,     /* a label that begins with a letter */
    NAME_PATH,        /* a segment of a path */
    NAME_QUALIFIED,   /* a label's key: [subdomain/]name */
    NAME_LABEL_VALUE, /* may be empty */
    NAME_CONFIG_KEY,  /* a key of a ConfigMap or Secret */
    NAME_PORT,        /* the name of a port, up to 15 */
    NAME_ENV,         /* an environment variable, as of 1.34 */
    NAME_PERCENT,     /* 25% */
    NAME_HTTP_HEADER,
};

#define NAME_COMPLAINTS_MAX 4u

/* Checks text. Returns the number of complaints put into out (static texts), 0 when it is fine. */
size_t name_check(enum name_rule rule, struct slice text, const char *out[NAME_COMPLAINTS_MAX]);
static inline bool name_is(enum name_rule rule, struct slice text)
{
    const char *complaints[NAME_COMPLAINTS_MAX];
    return name_check(rule, text, complaints) == 0;
}

#endif
