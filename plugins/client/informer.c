/* informer.c - opening, closing and looking things up. */
#include "plugins/client/informer_impl.h"

/* ---- opened and closed --------------------------------------------------------------------- */

static void informer_free(struct informer *i)
{
    informer_handlers_close(i);
    informer_store_close(i);
    alarm_close(&i->alarm);
    buf_close(&i->next);
    arena_close(&i->scratch);
    mem_free((void *)(uintptr_t)i->query.data);
    mem_free(i);
}

void informer_leave(struct informer *i)
{
    i->depth--;
    if (i->depth > 0) {
        return;
    }
    for (struct list *it; (it = list_pop_front(&i->trash)) != NULL;) {
        packed_free(LIST_ENTRY(it, struct packed, link));
    }
    informer_handlers_sweep(i);
    if (i->closed) {
        informer_free(i);
    }
}

int informer_open(struct client c, const struct informer_args *a, struct informer **out)
{
    const struct schema_resource *kind = a->type != NULL ? schema_resource_of(a->type) : NULL;
    if (kind == NULL || kind->list_type == 0) {
        return KVP_INVALID;
    }
    struct informer *i = mem_zalloc(sizeof(*i));
    if (i == NULL) {
        return KVP_NO_MEMORY;
    }
    i->client = c;
    i->type = a->type;
    i->list_type = (const struct schema_type *)schema_at(kind, kind->list_type);
    i->namespaced = (kind->rules & SCHEMA_RULE_NAMESPACED) != 0;
    i->metadata = a->metadata;
    i->index_data = a->data;
    memcpy(i->index_fns, a->indexes, sizeof(i->index_fns));
    hashmap_init(&i->entries);
    list_init(&i->order);
    for (size_t k = 0; k < INFORMER_INDEXES; k++) {
        hashmap_init(&i->indexes[k]);
    }
    list_init(&i->trash);
    list_init(&i->handlers);
    buf_init(&i->next);
    arena_init(&i->scratch, 0);
    i->query = slice_str(a->query != NULL ? a->query : "");
    i->query.data = mem_dup(i->query.data, i->query.len);
    int reason =
        i->query.data == NULL ? KVP_NO_MEMORY : alarm_open(&i->alarm, c, informer_on_alarm, i);
    if (reason != 0) {
        informer_free(i);
        return reason;
    }
    informer_list(i);
    *out = i;
    return 0;
}

void informer_close(struct informer *i)
{
    if (i == NULL || i->closed) {
        return;
    }
    i->closed = true;
    if (i->request != NULL) {
        i->client.host->object_cancel(i->request);
        i->request = NULL;
    }
    alarm_close(&i->alarm);
    informer_enter(i);
    informer_leave(i);
}

/* ---- looking up ---------------------------------------------------------------------------- */

bool informer_synced(const struct informer *i)
{
    return i->synced;
}

size_t informer_len(const struct informer *i)
{
    return i->entries.len;
}

int64_t informer_revision(const struct informer *i)
{
    return i->revision;
}

const struct object *informer_get(struct informer *i, struct slice key)
{
    const struct informer_entry *entry = informer_entry(i, key);
    return entry != NULL ? &entry->packed->object : NULL;
}

const struct object *informer_find(struct informer *i, struct slice space, struct slice name)
{
    uint8_t key[512]; /* both names are at most 253 bytes long */
    if (space.len + 1 + name.len > sizeof(key) || space.len == 0) {
        return space.len == 0 ? informer_get(i, name) : NULL;
    }
    memcpy(key, space.data, space.len);
    key[space.len] = '/';
    if (name.len > 0) {
        memcpy(key + space.len + 1, name.data, name.len);
    }
    return informer_get(i, slice_of(key, space.len + 1 + name.len));
}

int informer_each(struct informer *i, informer_each_fn *each, void *data)
{
    int rc = 0;
    informer_enter(i);
    for (struct list *it = i->order.next; it != &i->order && rc == 0 && !i->closed; it = it->next) {
        rc = each(data, &LIST_ENTRY(it, struct informer_entry, link)->packed->object);
    }
    informer_leave(i);
    return rc;
}

static int informer_each_under(struct informer *i, size_t index, struct slice value,
                               informer_each_fn *each, void *data)
{
    struct index_value *v = informer_index_value(i, index, value);
    int rc = 0;
    if (v == NULL) {
        return 0;
    }
    informer_enter(i);
    for (struct list *it = v->refs.next; it != &v->refs && rc == 0 && !i->closed; it = it->next) {
        rc = each(data, &LIST_ENTRY(it, struct index_ref, link)->entry->packed->object);
    }
    informer_leave(i);
    return rc;
}

int informer_each_in(struct informer *i, struct slice space, informer_each_fn *each, void *data)
{
    return informer_each_under(i, INFORMER_BY_NAMESPACE, space, each, data);
}

int informer_by_index(struct informer *i, size_t index, struct slice value, informer_each_fn *each,
                      void *data)
{
    return index < INFORMER_INDEXES_MAX ? informer_each_under(i, index, value, each, data) : 0;
}

void informer_index_controller(void *data, const struct object *o, struct index_emit *emit)
{
    struct slice uid = reference_text(object_controller(o), "uid");
    (void)data;
    if (uid.len > 0) {
        informer_emit(emit, uid);
    }
}
