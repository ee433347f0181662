/* epoch.c - a short list of plugin leaderships. */
#include "kv/epoch.h"

#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "kv/state.h"

#define EPOCH_VALUE_BYTES 24u

void epoch_set_init(struct epoch_set *s)
{
    memset(s, 0, sizeof(*s));
}

void epoch_set_close(struct epoch_set *s)
{
    for (size_t i = 0; i < s->len; i++) {
        mem_free(s->epochs[i].plugin);
    }
    mem_free(s->epochs);
    epoch_set_init(s);
}

static struct epoch *epoch_set_find(const struct epoch_set *s, const char *plugin)
{
    for (size_t i = 0; i < s->len; i++) {
        if (strcmp(s->epochs[i].plugin, plugin) == 0) {
            return &s->epochs[i];
        }
    }
    return NULL;
}

static int epoch_cmp(const struct epoch *a, const struct epoch *b)
{
    if (a->term != b->term) {
        return a->term < b->term ? -1 : 1;
    }
    return a->epoch < b->epoch ? -1 : a->epoch > b->epoch;
}

/* A place for a plugin not seen before; NULL = out of memory. */
static struct epoch *epoch_set_add(struct epoch_set *s, const char *plugin)
{
    if (s->len == s->cap) {
        size_t cap = s->cap == 0 ? 8 : s->cap * 2;
        struct epoch *epochs = mem_realloc(s->epochs, cap * sizeof(*epochs));
        if (epochs == NULL) {
            return NULL;
        }
        s->epochs = epochs;
        s->cap = cap;
    }
    char *name = mem_strdup(plugin);
    if (name == NULL) {
        return NULL;
    }
    s->epochs[s->len] = (struct epoch){.plugin = name};
    return &s->epochs[s->len++];
}

int epoch_register(struct kv *kv, const struct epoch *e)
{
    size_t len = strlen(e->plugin);
    uint8_t value[EPOCH_VALUE_BYTES];
    if (len == 0 || len > EPOCH_NAME_BYTES_MAX) {
        return ERR_INVALID;
    }
    struct epoch *known = epoch_set_find(&kv->epochs, e->plugin);
    if (known != NULL) {
        int order = epoch_cmp(e, known);
        if (order == 0 && e->member == known->member) {
            return 0;
        }
        if (order <= 0) {
            return ERR_FENCED;
        }
    } else {
        if (kv->epochs.len >= EPOCHS_MAX) {
            return ERR_TOO_MANY_REQUESTS;
        }
        known = epoch_set_add(&kv->epochs, e->plugin);
        if (known == NULL) {
            kv_stop(ERR_NOMEM, "apply: registering an epoch");
        }
    }
    known->member = e->member;
    known->term = e->term;
    known->epoch = e->epoch;
    bytes_put_be64(value, e->member);
    bytes_put_be64(value + 8, e->term);
    bytes_put_be64(value + 16, e->epoch);
    change_row(kv, TABLE_EPOCH, slice_of(e->plugin, len), slice_of(value, sizeof(value)));
    return 0;
}

#ifdef KVD_DEBUG
bool epoch_test_no_fence;
#endif

int epoch_check(const struct kv *kv, const struct epoch *stamp)
{
#ifdef KVD_DEBUG
    if (epoch_test_no_fence) {
        return 0;
    }
#endif
    const struct epoch *known = epoch_set_find(&kv->epochs, stamp->plugin);
    return known != NULL && epoch_cmp(stamp, known) < 0 ? ERR_FENCED : 0;
}

static int epoch_open_one(struct kv *kv, struct slice key, struct slice value)
{
    char name[EPOCH_NAME_BYTES_MAX + 1];
    if (row_unseal(key, &value) != 0 || value.len != EPOCH_VALUE_BYTES || key.len == 0 ||
        key.len > EPOCH_NAME_BYTES_MAX) {
        return ERR_DAMAGED;
    }
    memcpy(name, key.data, key.len);
    name[key.len] = '\0';
    struct epoch *e = epoch_set_add(&kv->epochs, name);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->member = bytes_be64(value.data);
    e->term = bytes_be64(value.data + 8);
    e->epoch = bytes_be64(value.data + 16);
    return 0;
}

int epoch_open(struct kv *kv, struct store_view *view)
{
    struct store_cursor *cursor;
    epoch_set_close(&kv->epochs);
    int err = store_cursor_open(view, TABLE_EPOCH, &cursor);
    if (err != 0) {
        return err;
    }
    int found = store_cursor_seek(cursor, slice_of(NULL, 0));
    while (found > 0 && err == 0) {
        err = epoch_open_one(kv, store_cursor_key(cursor), store_cursor_value(cursor));
        found = store_cursor_next(cursor);
    }
    store_cursor_close(cursor);
    return err != 0 ? err : found < 0 ? -found : 0;
}
