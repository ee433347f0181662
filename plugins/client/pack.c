/* pack.c - measures a tree, then copies it in one walk. */
#include "plugins/client/pack.h"

struct pack_size {
    size_t values;
    size_t text_bytes;
};

static size_t pack_children(const struct value *v)
{
    return v->kind == VALUE_MAP ? 2 * (size_t)v->len : value_len(v);
}

static void pack_measure(const struct value *v, struct pack_size *size)
{
    size_t n = pack_children(v);
    size->values += n;
    size->text_bytes += value_slice(v).len;
    for (size_t i = 0; i < n; i++) {
        pack_measure(&v->items[i], size);
    }
}

struct pack_at {
    struct value *values;
    uint8_t *text;
};

static struct value pack_copy(const struct value *from, struct pack_at *at)
{
    struct value out = *from;
    out.room = 0;
    struct slice text = value_slice(from);
    size_t n = pack_children(from);
    if (text.len > 0) {
        memcpy(at->text, text.data, text.len);
        out.text = at->text;
        at->text += text.len;
    } else if (from->kind >= VALUE_LIST) {
        out.items = n > 0 ? at->values : NULL;
        at->values += n;
        for (size_t i = 0; i < n; i++) {
            out.items[i] = pack_copy(&from->items[i], at);
        }
    }
    return out;
}

struct packed *packed_new(const struct object *o)
{
    struct pack_size size = {0};
    pack_measure(&o->root, &size);
    size_t bytes = sizeof(struct packed) + size.values * sizeof(struct value) + size.text_bytes;
    struct packed *p = mem_alloc(bytes);
    if (p == NULL) {
        return NULL;
    }
    struct pack_at at = {.values = (struct value *)(void *)(p + 1)};
    at.text = (uint8_t *)(at.values + size.values);
    list_init(&p->link);
    p->object = (struct object){.type = o->type, .root = pack_copy(&o->root, &at)};
    return p;
}

void packed_free(struct packed *p)
{
    mem_free(p);
}
