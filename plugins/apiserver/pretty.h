/* pretty.h - JSON for people: one value a line, two blanks a level. Pure; any thread. */
#ifndef KVD_APISERVER_PRETTY_H
#define KVD_APISERVER_PRETTY_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* Larger texts stay as they are: laying them out would hold up everybody else. */
#define PRETTY_BYTES_MAX (4u * 1024u * 1024u)

/* Appends compact, well-formed JSON laid out as Go's encoder indents it; failure is the buffer's.
 * False: it became larger than anybody reads (deeply nested), out holds a part. */
bool pretty_print(struct slice json, struct buf *out);

#endif
