/* quantity.h - amounts of resources: 500m, 1Gi, 1e3. Exact to a billionth, up to 10^29.
 *
 * Parsing and printing follow Kubernetes' rules, also where they surprise: what is finer than a
 * billionth is rounded away from zero, a binary amount is capped at 2^63 - 1, one below 1 Ki or
 * with a fraction prints as a decimal one, and a text that already has a power of a thousand stays
 * as it is written ("1.500", "12.345k"). Beyond 10^29, and past 18 decimals of a binary amount,
 * Kubernetes is exact and this is not: it refuses the former and rounds the latter away from zero.
 * Any thread. */
#ifndef KVD_OBJECT_QUANTITY_H
#define KVD_OBJECT_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum quantity_format { QUANTITY_DECIMAL, QUANTITY_BINARY, QUANTITY_EXPONENT };

__extension__ typedef __int128 quantity_nano;

struct quantity {
    quantity_nano nano; /* billionths */
    enum quantity_format format;
};

/* Longest text quantity_print makes, and longest text that is parsed. */
#define QUANTITY_TEXT_BYTES_MAX 64u

/* Reads a quantity. Returns 0 or ERR_INVALID; then *why is the sentence clients get (static). */
int quantity_parse(struct slice text, struct quantity *q, const char **why);
/* The canonical text. Returns its length; no NUL. */
size_t quantity_print(const struct quantity *q, char out[QUANTITY_TEXT_BYTES_MAX]);
/* Reads, and writes the text an object keeps. Returns 0 with *len, or ERR_INVALID with *why. */
int quantity_canonical(struct slice text, char out[QUANTITY_TEXT_BYTES_MAX], size_t *len,
                       const char **why);
/* Sum and difference; false when out of bounds (q unchanged). The format is q's, or that of `more`
 * when q is zero. */
bool quantity_add(struct quantity *q, const struct quantity *more);
bool quantity_sub(struct quantity *q, const struct quantity *less);
static inline int quantity_cmp(const struct quantity *a, const struct quantity *b)
{
    return a->nano < b->nano ? -1 : a->nano > b->nano;
}
/* Rounded up to whole units, or to thousandths; capped to what fits. */
int64_t quantity_units(const struct quantity *q);
int64_t quantity_millis(const struct quantity *q);

#endif
