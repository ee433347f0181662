/* utf8.h - the one definition of valid UTF-8 (RFC 3629: shortest form, no surrogates). */
#ifndef KVD_BASE_UTF8_H
#define KVD_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Length of the code point at p (1..4) with `left` bytes available, 0 when invalid or cut short. */
size_t utf8_length(const uint8_t *p, size_t left);
/* True when all of text is UTF-8. ASCII is checked eight bytes at a time. */
bool utf8_valid(struct slice text);

#endif
