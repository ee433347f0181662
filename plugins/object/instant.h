/* instant.h - points in time as objects write them: RFC 3339. Any thread. */
#ifndef KVD_OBJECT_INSTANT_H
#define KVD_OBJECT_INSTANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define INSTANT_TEXT_BYTES_MAX 32u
#define INSTANT_UNSET          INT64_MIN

/* Reads 2006-01-02T15:04:05Z, with a fraction or an offset if it has them. *micros counts from
 * 1970. Returns 0, or ERR_INVALID with Go's sentence in e. */
int instant_parse(struct slice text, bool exact_micros, int64_t *micros, struct errmsg *e);
/* 2006-01-02T15:04:05Z. Returns the length; no NUL. */
size_t instant_print(int64_t seconds, char out[INSTANT_TEXT_BYTES_MAX]);
/* 2006-01-02T15:04:05.000000Z. */
size_t instant_print_micros(int64_t micros, char out[INSTANT_TEXT_BYTES_MAX]);

#endif
