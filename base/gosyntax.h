/* gosyntax.h - values as Go programs read and print them, because etcd's flags, environment and
 * output are written that way: booleans, integers with base prefixes, durations, quoted strings.
 *
 * Nothing here allocates but go_quote's buffer; any thread. */
#ifndef KVD_BASE_GOSYNTAX_H
#define KVD_BASE_GOSYNTAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum go_result { GO_OK, GO_SYNTAX, GO_RANGE };

/* 1 t T true TRUE True, 0 f F false FALSE False (strconv.ParseBool). */
enum go_result go_bool_parse(const char *text, bool *out);
/* Decimal, 0x, 0o, 0b or a leading 0 for octal, with a sign where the type has one
 * (strconv.ParseInt with base 0; underscores between digits are not taken). */
enum go_result go_int_parse(const char *text, int64_t *out);
enum go_result go_uint_parse(const char *text, uint64_t *out);
/* "1m30s", "1.5h", "-300ms", "0" in nanoseconds (time.ParseDuration). */
enum go_result go_duration_parse(const char *text, int64_t *ns);
/* The shortest form Go prints: "1m30s", "300ms", "1.5µs", "0s". `out` needs GO_DURATION_BYTES_MAX.
 */
#define GO_DURATION_BYTES_MAX 32
void go_duration_print(int64_t ns, char *out);
/* Appends text as %q does for strings: double quotes, backslash escapes, \x for bytes that are not
 * UTF-8. Printable text outside ASCII stays as it is. false when out of memory. */
bool go_quote(struct buf *out, struct slice text);
/* Appends text for a terminal: what would not print (control characters, invisible ones, bytes that
 * are not UTF-8) is escaped as go_quote does, everything else, also quotes and backslashes, stays.
 * false when out of memory. */
bool go_visible(struct buf *out, struct slice text);

#endif
