/* scan.h - JSON's tokens, inside decode.c's copy of the input: texts are unescaped in place. */
#ifndef KVD_OBJECT_SCAN_H
#define KVD_OBJECT_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/slice.h"

struct scan {
    uint8_t *p; /* next byte */
    uint8_t *end;
    struct arena *arena; /* for the rare text that grows: bytes that are not UTF-8 */
    struct errmsg *e;
};

/* Skips blanks. Returns the next byte without taking it, 0 at the end (and for a NUL byte: which is
 * refused anyway). */
static inline uint8_t scan_peek(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r')) {
        s->p++;
    }
    return s->p < s->end ? *s->p : 0;
}

/* The error for the byte at p: "invalid character 'x' CONTEXT" or "unexpected end of JSON input".
 */
int scan_refuse(struct scan *s, const char *context);
/* The first byte of a text at which one has to look: a quote, a backslash, a control character, or
 * the end. */
const uint8_t *scan_plain(const uint8_t *p, const uint8_t *end);
/* A text; p is behind its opening quote. */
int scan_text(struct scan *s, struct slice *out);
/* A number; p is at its first byte. *integer is set when it has neither fraction nor exponent. */
int scan_number(struct scan *s, struct slice *out, bool *integer);
/* true, false or null; p is at its first byte. */
int scan_literal(struct scan *s, const char *word);
/* Any value, checked and thrown away. *depth is how deep p is already. */
int scan_skip(struct scan *s, unsigned depth);
/* Reads a number's digits as int64; false when they are too many. */
bool scan_int64(struct slice digits, int64_t *out);

#endif
