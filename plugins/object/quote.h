/* quote.h - texts in quotes as Go's %q has them: in messages, not in JSON. */
#ifndef KVD_OBJECT_QUOTE_H
#define KVD_OBJECT_QUOTE_H

#include "base/buf.h"
#include "base/slice.h"

/* Appends text with its quotes. Characters Go does not count as printable because no character is
 * assigned to them are left as they are. Any thread. */
void quote_go(struct slice text, struct buf *out);

#endif
