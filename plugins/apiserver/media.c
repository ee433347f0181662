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
        {"application/vnd.kubernetes.protobuf", MEDIA_BODY_PROTOBUF},
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

/* Entries of an Accept header that are looked at; clients send two or three. */
#define MEDIA_RANGES_MAX 16u

/* One entry of Accept. */
struct media_range {
    bool json;      /* JSON is among what it names */
    unsigned exact; /* 0 = any type, 1 = any of application, 2 = JSON */
    bool shaped;    /* as=, g= or v= */
    bool watch_or_none;
    bool pretty;
    unsigned quality;      /* thousandths */
    struct slice as, g, v; /* "" = not there */
};

/* "0.75" in thousandths; what is no number counts as 1, as in Go. */
static unsigned media_quality(struct slice q)
{
    unsigned value = 0;
    unsigned unit = 1000;
    bool point = false;
    for (size_t i = 0; i < q.len; i++) {
        if (q.data[i] == '.' && !point) {
            point = true;
        } else if (q.data[i] >= '0' && q.data[i] <= '9') {
            unit = point ? unit / 10 : unit;
            value = point ? value + (q.data[i] - '0') * unit
                          : (value > 1000 ? value : value * 10 + (q.data[i] - '0') * 1000u);
        } else {
            return 1000;
        }
    }
    return q.len == 0 ? 1000 : value;
}

static struct media_range media_range(struct slice entry)
{
    struct media_range r = {.quality = 1000, .watch_or_none = true};
    struct slice type = media_cut(&entry, ';');
    r.exact = media_is(type, "application/json") ? 2 : media_is(type, "application/*");
    r.json = r.exact > 0 || media_is(type, "*/*");
    while (entry.len > 0) {
        struct slice value = media_cut(&entry, ';');
        struct slice name = media_cut(&value, '=');
        if (media_is(name, "as")) {
            r.as = value;
        } else if (media_is(name, "v")) {
            r.v = value;
        } else if (media_is(name, "g")) {
            r.g = value;
        } else if (media_is(name, "q")) {
            r.quality = media_quality(value);
        } else if (media_is(name, "pretty")) {
            r.pretty = media_is(value, "1");
        } else if (media_is(name, "stream")) {
            r.watch_or_none = value.len == 0 || media_is(value, "watch");
        }
    }
    r.shaped = r.as.len + r.g.len + r.v.len > 0;
    return r;
}

/* The entries in the order they are to be tried; those that name another format are left out. */
static size_t media_ranges(struct slice accept, struct media_range out[MEDIA_RANGES_MAX])
{
    size_t n = 0;
    while (accept.len > 0 && n < MEDIA_RANGES_MAX) {
        struct media_range r = media_range(media_cut(&accept, ','));
        if (!r.json || r.quality == 0 || !r.watch_or_none) {
            continue;
        }
        size_t at = n++;
        for (; at > 0; at--) {
            const struct media_range *before = &out[at - 1];
            if (r.quality < before->quality ||
                (r.quality == before->quality && r.exact <= before->exact)) {
                break;
            }
            out[at] = *before;
        }
        out[at] = r;
    }
    return n;
}

static bool media_text_is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

/* The shape an entry asks for. False: there is none such, or it can not be done. */
static bool media_shape(const struct media_range *r, unsigned can, struct media_answer *out)
{
    static const struct {
        const char *as;
        enum media_shape shape;
        unsigned needs;
    } shapes[] = {
        {"Table", MEDIA_TABLE, MEDIA_CAN_TABLE},
        {"PartialObjectMetadata", MEDIA_PARTIAL, MEDIA_CAN_PARTIAL},
        {"PartialObjectMetadataList", MEDIA_PARTIAL_LIST, MEDIA_CAN_PARTIAL},
    };
    bool v1 = media_text_is(r->v, "v1");
    *out = (struct media_answer){.version = v1 ? "v1" : "v1beta1", .pretty = r->pretty};
    if (!r->shaped) {
        return true;
    }
    if (!media_text_is(r->g, "meta.k8s.io") || (!v1 && !media_text_is(r->v, "v1beta1"))) {
        return false;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (media_text_is(r->as, shapes[i].as)) {
            out->shape = shapes[i].shape;
            return (can & shapes[i].needs) != 0;
        }
    }
    return false;
}

bool media_choose(struct slice accept, unsigned can, struct media_answer *out)
{
    struct media_range ranges[MEDIA_RANGES_MAX];
    *out = (struct media_answer){.version = "v1"};
    if (accept.len == 0) {
        return true;
    }
    size_t n = media_ranges(accept, ranges);
    for (size_t i = 0; i < n; i++) {
        if (media_shape(&ranges[i], can, out)) {
            return true;
        }
    }
    return false;
}

bool media_accepts_json(struct slice accept)
{
    struct media_answer any;
    return media_choose(accept, 0, &any);
}

bool media_openapi(struct slice accept, bool *protobuf)
{
    *protobuf = false;
    if (accept.len == 0) {
        return true;
    }
    while (accept.len > 0) {
        struct slice entry = media_cut(&accept, ',');
        struct slice type = entry;
        type = media_cut(&type, ';');
        /* The older spelling is that of kubectl up to 1.22. */
        *protobuf = media_is(type, MEDIA_OPENAPI) ||
                    media_is(type, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
        if (*protobuf || media_accepts_json(entry)) {
            return true;
        }
    }
    return false;
}

bool media_accepts_discovery(struct slice accept)
{
    struct media_range ranges[MEDIA_RANGES_MAX];
    size_t n = media_ranges(accept, ranges);
    for (size_t i = 0; i < n; i++) {
        const struct media_range *r = &ranges[i];
        bool wanted = media_text_is(r->as, "APIGroupDiscoveryList") && media_is(r->v, "v2") &&
                      media_is(r->g, "apidiscovery.k8s.io");
        if (wanted || !r->shaped) {
            return wanted;
        }
    }
    return false;
}
