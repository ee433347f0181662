/* delete_options.c - DeleteOptions as JSON. */
#include "plugins/controllers/delete_options.h"

#include "plugins/object/encode.h"

void delete_options_print(struct slice uid, struct slice version, const char *propagation,
                          struct buf *out)
{
    buf_append_str(out, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"");
    if (propagation != NULL) {
        buf_append_str(out, ",\"propagationPolicy\":");
        encode_text(slice_str(propagation), out);
    }
    buf_append_str(out, ",\"preconditions\":{\"uid\":");
    encode_text(uid, out);
    if (version.len > 0) {
        buf_append_str(out, ",\"resourceVersion\":");
        encode_text(version, out);
    }
    buf_append_str(out, "}}");
}
