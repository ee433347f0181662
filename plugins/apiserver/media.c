/* media.c - Content-Type and Accept. */
#include "plugins/apiserver/media.h"

#include <stddef.h>

/* The part before `mark`, without blanks around it; rest is what follows. */
static struct slice media_cut(struct slice *rest, char mark)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->data, mark, rest->len) : NULL;
    size_t len = at == NULL ? rest->len : (size_t)(at - rest->data);
    struct slice s = slice_of(rest->data, len);
    size_t taken = len + (at != NULL);
    *rest = slice_of(rest->data == NULL ? NULL : rest->data + taken, rest->len - taken);
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s = slice_of(s.data + 1, s.len - 1);
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

static bool media_is(struct slice s, const char *text)
{
    size_t n = strlen(text);
    if (s.len != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t c = s.data[i] >= 'A' && s.data[i] <= 'Z' ? s.data[i] | 0x20 : s.data[i];
        if (c != (uint8_t)text[i]) {
            return false;
        }
    }
    return true;
}

enum media_body media_body(struct slice content_type)
{
    static const struct {
        const char *name;
        enum media_body form;
    } known[] = {
        {"", MEDIA_BODY_JSON},
        {"application/json", MEDIA_BODY_JSON},
        {"application/yaml", MEDIA_BODY_YAML},
        {"application/json-patch+json", MEDIA_BODY_JSON_PATCH},
        {"application/merge-patch+json", MEDIA_BODY_MERGE_PATCH},
        {"application/strategic-merge-patch+json", MEDIA_BODY_STRATEGIC_PATCH},
    };
    struct slice type = media_cut(&content_type, ';');
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (media_is(type, known[i].name)) {
            return known[i].form;
        }
    }
    return MEDIA_BODY_UNKNOWN;
}

/* One entry of Accept. */
struct media_range {
    bool json;
    bool shaped;    /* as=... */
    bool discovery; /* as=APIGroupDiscoveryList of version v2 */
    bool refused;   /* q=0 */
};

static bool media_zero(struct slice q)
{
    for (size_t i = 0; i < q.len; i++) {
        if (q.data[i] != '0' && q.data[i] != '.') {
            return false;
        }
    }
    return q.len > 0;
}

static struct media_range media_range(struct slice entry)
{
    struct media_range r = {0};
    struct slice type = media_cut(&entry, ';');
    bool v2 = false;
    bool group = false;
    bool list = false;
    r.json = media_is(type, "application/json") || media_is(type, "*/*") ||
             media_is(type, "application/*");
    while (entry.len > 0) {
        struct slice value = media_cut(&entry, ';');
        struct slice name = media_cut(&value, '=');
        if (media_is(name, "as")) {
            r.shaped = true;
            list = media_is(value, "apigroupdiscoverylist") ||
                   slice_eq(value, slice_str("APIGroupDiscoveryList"));
        } else if (media_is(name, "v")) {
            v2 = media_is(value, "v2");
        } else if (media_is(name, "g")) {
            group = media_is(value, "apidiscovery.k8s.io");
        } else if (media_is(name, "q")) {
            r.refused = media_zero(value);
        }
    }
    r.discovery = list && v2 && group && r.json;
    return r;
}

bool media_accepts_json(struct slice accept)
{
    if (accept.len == 0) {
        return true;
    }
    while (accept.len > 0) {
        struct media_range r = media_range(media_cut(&accept, ','));
        if (r.json && !r.shaped && !r.refused) {
            return true;
        }
    }
    return false;
}

bool media_accepts_discovery(struct slice accept)
{
    while (accept.len > 0) {
        struct media_range r = media_range(media_cut(&accept, ','));
        if (r.json && !r.refused && (r.discovery || !r.shaped)) {
            return r.discovery;
        }
    }
    return false;
}
