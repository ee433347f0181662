/* informer_store.c - the objects of an informer and its indexes. */
#include "plugins/client/informer_impl.h"

/* ---- indexes ------------------------------------------------------------------------------- */

struct index_emit {
    struct informer *informer;
    struct informer_entry *entry;
    struct index_ref *refs; /* made so far */
    uint8_t index;
    bool failed; /* out of memory */
};

struct index_value *informer_index_value(struct informer *i, size_t index, struct slice value)
{
    uint64_t hash = hash_bytes(value);
    for (struct hash_node *n = hashmap_first(&i->indexes[index], hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct index_value *v = LIST_ENTRY(n, struct index_value, node);
        if (slice_eq(slice_of(v->bytes, v->len), value)) {
            return v;
        }
    }
    return NULL;
}

static void index_value_drop(struct informer *i, struct index_value *v)
{
    if (list_empty(&v->refs)) {
        hashmap_remove(&i->indexes[v->index], &v->node);
        mem_free(v);
    }
}

static struct index_value *index_value_make(struct informer *i, uint8_t index, struct slice value)
{
    struct index_value *v = informer_index_value(i, index, value);
    if (v != NULL) {
        return v;
    }
    v = mem_alloc(sizeof(*v) + value.len);
    if (v == NULL) {
        return NULL;
    }
    v->index = index;
    v->len = value.len;
    if (value.len > 0) {
        memcpy(v->bytes, value.data, value.len);
    }
    list_init(&v->refs);
    if (!hashmap_insert(&i->indexes[index], &v->node, hash_bytes(value))) {
        mem_free(v);
        return NULL;
    }
    return v;
}

static void index_refs_free(struct informer *i, struct index_ref *refs)
{
    while (refs != NULL) {
        struct index_ref *next = refs->next;
        list_remove(&refs->link);
        index_value_drop(i, refs->value);
        mem_free(refs);
        refs = next;
    }
}

void informer_emit(struct index_emit *emit, struct slice value)
{
    struct index_value *v = index_value_make(emit->informer, emit->index, value);
    if (v == NULL) {
        emit->failed = true;
        return;
    }
    for (const struct index_ref *r = emit->refs; r != NULL; r = r->next) {
        if (r->value == v) {
            return; /* emitted twice */
        }
    }
    struct index_ref *r = mem_alloc(sizeof(*r));
    if (r == NULL) {
        index_value_drop(emit->informer, v);
        emit->failed = true;
        return;
    }
    *r = (struct index_ref){.value = v, .entry = emit->entry, .next = emit->refs};
    list_push_back(&v->refs, &r->link);
    emit->refs = r;
}

/* Where an object is to be found. false: out of memory, nothing made. */
static bool index_object(struct informer *i, struct informer_entry *entry, const struct object *o,
                         struct index_ref **out)
{
    struct index_emit emit = {.informer = i, .entry = entry};
    for (uint8_t k = 0; k < INFORMER_INDEXES_MAX && i->index_fns[k] != NULL; k++) {
        emit.index = k;
        i->index_fns[k](i->index_data, o, &emit);
    }
    if (i->namespaced) {
        emit.index = INFORMER_BY_NAMESPACE;
        informer_emit(&emit, object_namespace(o));
    }
    if (emit.failed) {
        index_refs_free(i, emit.refs);
        return false;
    }
    *out = emit.refs;
    return true;
}

/* ---- objects ------------------------------------------------------------------------------- */

struct informer_entry *informer_entry(struct informer *i, struct slice key)
{
    uint64_t hash = hash_bytes(key);
    for (struct hash_node *n = hashmap_first(&i->entries, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct informer_entry *entry = LIST_ENTRY(n, struct informer_entry, node);
        if (slice_eq(slice_of(entry->key, entry->key_len), key)) {
            return entry;
        }
    }
    return NULL;
}

static struct informer_entry *entry_new(struct informer *i, struct slice key)
{
    struct informer_entry *entry = mem_zalloc(sizeof(*entry) + key.len);
    if (entry == NULL) {
        return NULL;
    }
    entry->key_len = (uint32_t)key.len;
    if (key.len > 0) {
        memcpy(entry->key, key.data, key.len);
    }
    if (!hashmap_insert(&i->entries, &entry->node, hash_bytes(key))) {
        mem_free(entry);
        return NULL;
    }
    entry->number = ++i->numbers;
    list_push_back(&i->order, &entry->link);
    return entry;
}

static void entry_free(struct informer *i, struct informer_entry *entry)
{
    informer_step_over(i, entry);
    hashmap_remove(&i->entries, &entry->node);
    list_remove(&entry->link);
    index_refs_free(i, entry->refs);
    mem_free(entry);
}

/* The object as it is kept; NULL = out of memory. */
static struct packed *informer_pack(struct object *o)
{
    object_remove(o, "metadata.managedFields");
    return packed_new(o);
}

/* Puts p into the entry of its key, made when new. false: out of memory, nothing changed. */
static bool informer_place(struct informer *i, struct packed *p, struct slice key,
                           struct informer_entry **out)
{
    struct informer_entry *entry = informer_entry(i, key);
    struct informer_entry *made = entry == NULL ? entry_new(i, key) : NULL;
    struct index_ref *refs;
    entry = entry != NULL ? entry : made;
    if (entry == NULL) {
        return false;
    }
    if (!index_object(i, entry, &p->object, &refs)) {
        if (made != NULL) {
            entry_free(i, made);
        }
        return false;
    }
    index_refs_free(i, entry->refs);
    entry->refs = refs;
    *out = entry;
    return true;
}

/* The same state of the same object? */
static bool informer_is_shown(const struct informer_entry *entry, const struct object *o)
{
    const struct object *shown = &entry->packed->object;
    return slice_eq(object_text(shown, "metadata.resourceVersion"),
                    object_text(o, "metadata.resourceVersion")) &&
           slice_eq(object_uid(shown), object_uid(o));
}

static int informer_put_key(struct informer *i, struct object *o, struct slice key)
{
    struct informer_entry *entry = informer_entry(i, key);
    if (entry != NULL && informer_is_shown(entry, o)) {
        entry->listed = i->listed;
        return 0;
    }
    struct packed *p = informer_pack(o);
    if (p == NULL || !informer_place(i, p, key, &entry)) {
        packed_free(p);
        return ERR_NOMEM;
    }
    struct packed *before = entry->packed;
    entry->packed = p;
    entry->listed = i->listed;
    if (before != NULL) {
        list_push_back(&i->trash, &before->link);
    }
    informer_tell(i, entry->number, before != NULL ? &before->object : NULL, &p->object);
    return 0;
}

int informer_put(struct informer *i, struct object *o)
{
    struct buf key;
    buf_init(&key);
    int rc = object_key(o, &key);
    if (rc == 0) {
        rc = informer_put_key(i, o, buf_slice(&key));
    }
    buf_close(&key);
    return rc;
}

int informer_remove(struct informer *i, struct informer_entry *entry, struct object *last)
{
    struct packed *shown = entry->packed;
    uint64_t number = entry->number;
    if (last != NULL) {
        struct packed *p = informer_pack(last);
        if (p == NULL) {
            return ERR_NOMEM;
        }
        list_push_back(&i->trash, &shown->link);
        shown = p;
    }
    list_push_back(&i->trash, &shown->link);
    entry_free(i, entry);
    informer_tell(i, number, &shown->object, NULL);
    return 0;
}

void informer_store_close(struct informer *i)
{
    for (struct list *it; (it = list_pop_front(&i->order)) != NULL;) {
        struct informer_entry *entry = LIST_ENTRY(it, struct informer_entry, link);
        packed_free(entry->packed);
        entry_free(i, entry);
    }
    hashmap_close(&i->entries);
    for (size_t k = 0; k < INFORMER_INDEXES; k++) {
        hashmap_close(&i->indexes[k]);
    }
}
