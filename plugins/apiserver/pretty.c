/* pretty.c - laying out JSON. */
#include "plugins/apiserver/pretty.h"

/* How much larger the result may be: deep nesting makes more blanks than text. */
#define PRETTY_GROWTH 8u

static void pretty_line(struct buf *out, size_t depth)
{
    buf_append_byte(out, '\n');
    for (size_t i = 0; i < depth; i++) {
        buf_append_str(out, "  ");
    }
}

/* The end of a text that begins at `at` with its quote. */
static size_t pretty_text_end(struct slice json, size_t at)
{
    for (at++; at < json.len && json.data[at] != '"'; at++) {
        at += json.data[at] == '\\';
    }
    return at + 1 < json.len ? at + 1 : json.len;
}

bool pretty_print(struct slice json, struct buf *out)
{
    size_t most = out->len + PRETTY_GROWTH * json.len;
    size_t depth = 0;
    bool opened = false; /* an object or list has begun, and nothing is in it yet */
    for (size_t i = 0; i < json.len && !out->failed;) {
        uint8_t byte = json.data[i];
        bool closes = byte == '}' || byte == ']';
        depth -= closes && depth > 0;
        if (out->len > most) {
            return false;
        }
        if (closes != opened) {
            pretty_line(out, depth);
        }
        opened = byte == '{' || byte == '[';
        depth += opened;
        if (byte == '"') {
            size_t end = pretty_text_end(json, i);
            buf_append(out, json.data + i, end - i);
            i = end;
            continue;
        }
        buf_append_byte(out, byte);
        if (byte == ',') {
            pretty_line(out, depth);
        } else if (byte == ':') {
            buf_append_byte(out, ' ');
        }
        i++;
    }
    return true;
}
