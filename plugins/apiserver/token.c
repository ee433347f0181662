/* token.c - continue tokens. */
#include "plugins/apiserver/token.h"

#include <inttypes.h>

#include "plugins/apiserver/base64url.h"
#include "plugins/object/decode.h"
#include "plugins/object/encode.h"

struct slice token_make(int64_t revision, struct slice start, struct arena *a)
{
    struct buf json;
    struct buf text;
    struct slice out = slice_of(NULL, 0);
    buf_init(&json);
    buf_printf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRId64 ",\"start\":", revision);
    encode_text(start, &json);
    buf_append_byte(&json, '}');
    buf_init(&text);
    base64url_encode(buf_slice(&json), &text);
    if (!json.failed && !text.failed) {
        out = arena_dup(a, buf_slice(&text));
    }
    buf_close(&text);
    buf_close(&json);
    return out;
}

int token_read(struct slice token, struct arena *a, int64_t *revision, struct slice *start,
               struct errmsg *e)
{
    static const char prefix[] = "continue key is not valid";
    struct slice json;
    struct value v;
    struct errmsg why = {.text = "encoding error"};
    int rc = base64url_decode(token, a, &json);
    rc = rc == 0 ? decode_json(json, NULL, a, &v, NULL, &why) : rc;
    if (rc == ERR_NOMEM) {
        return rc;
    }
    if (rc != 0 || v.kind != VALUE_MAP) {
        return errmsg_set(e, ERR_INVALID, "%s: %s", prefix, why.text);
    }
    const struct value *number = value_map_cget(&v, "rv");
    const struct value *text = value_map_cget(&v, "start");
    if (!value_is_text(value_map_cget(&v, "v"), "meta.k8s.io/v1")) {
        return errmsg_set(e, ERR_INVALID, "%s: server does not recognize this encoded version",
                          prefix);
    }
    if (number == NULL || number->kind != VALUE_INT || number->integer == 0 ||
        number->integer < TOKEN_NEWEST) {
        return errmsg_set(e, ERR_INVALID, "%s: incorrect encoded start resourceVersion", prefix);
    }
    struct slice s = value_slice(text);
    /* The end of the prefix is not a place to begin at, and .. would not stay below it. */
    if (text == NULL || text->kind != VALUE_TEXT || s.len == 0 || s.data[0] == '/') {
        return errmsg_set(e, ERR_INVALID, "%s: no start key", prefix);
    }
    *revision = number->integer;
    *start = s;
    return 0;
}
