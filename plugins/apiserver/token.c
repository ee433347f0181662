/* token.c - continue tokens. */
#include "plugins/apiserver/token.h"

#include <inttypes.h>

#include "plugins/object/decode.h"
#include "plugins/object/encode.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct slice token_make(int64_t revision, struct slice start, struct arena *a)
{
    struct buf json;
    struct slice out = slice_of(NULL, 0);
    buf_init(&json);
    buf_printf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRId64 ",\"start\":", revision);
    encode_text(start, &json);
    buf_append_byte(&json, '}');
    uint8_t *to = json.failed ? NULL : arena_alloc(a, (json.len + 2) / 3 * 4 + 1);
    size_t n = 0;
    for (size_t i = 0; to != NULL && i < json.len; i += 3) {
        size_t have = json.len - i < 3 ? json.len - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++) {
            bits = bits << 8 | (k < have ? json.data[i + k] : 0u);
        }
        for (size_t k = 0; k < have + 1; k++) {
            to[n++] = (uint8_t)digits[bits >> (18 - 6 * k) & 63];
        }
    }
    if (to != NULL) {
        out = slice_of(to, n);
    }
    buf_close(&json);
    return out;
}

static int token_decode(struct slice token, struct arena *a, struct slice *out)
{
    uint8_t *to = arena_alloc(a, token.len + 1);
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    if (to == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < token.len; i++) {
        const char *at = token.data[i] == 0 ? NULL : strchr(digits, token.data[i]);
        if (at == NULL) {
            return ERR_INVALID;
        }
        bits = bits << 6 | (uint32_t)(at - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            to[n++] = (uint8_t)(bits >> held);
        }
    }
    *out = slice_of(to, n);
    return 0;
}

int token_read(struct slice token, struct arena *a, int64_t *revision, struct slice *start,
               struct errmsg *e)
{
    static const char prefix[] = "continue key is not valid";
    struct slice json;
    struct value v;
    struct errmsg why = {.text = "encoding error"};
    int rc = token_decode(token, a, &json);
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
