/* texts.c - a table with open addressing, half empty. */
#include "plugins/object/texts.h"

#include "base/err.h"
#include "base/hashmap.h"

struct texts_slot {
    struct slice text; /* data NULL: free */
    size_t number;
};

int texts_init(struct texts *t, struct arena *a, size_t count)
{
    size_t slots = 4;
    while (slots < 2 * count) {
        slots *= 2;
    }
    t->mask = slots - 1;
    t->slots = arena_zalloc(a, slots * sizeof *t->slots);
    return t->slots == NULL ? ERR_NOMEM : 0;
}

/* Where a text is, or belongs. */
static struct texts_slot *texts_slot(const struct texts *t, struct slice text)
{
    size_t at = hash_bytes(text) & t->mask;
    while (t->slots[at].text.data != NULL && !slice_eq(t->slots[at].text, text)) {
        at = (at + 1) & t->mask;
    }
    return &t->slots[at];
}

size_t *texts_put(struct texts *t, struct slice text)
{
    struct texts_slot *s = texts_slot(t, text);
    s->text = text.data == NULL ? slice_of("", 0) : text;
    return &s->number;
}

size_t texts_get(const struct texts *t, struct slice text)
{
    return texts_slot(t, text)->number;
}
