/* client.c - the store as the test sees it: another client's writes and reads, at once. */
#include "include/kvplugin-test.h"
#include "plugins/testing/world.h"

static int64_t client_done(void)
{
    if (world->client_txn) {
        return world->store.revision + 1;
    }
    int64_t revision = store_end(&world->store);
    watches_feed();
    return revision;
}

static void client_begin(void)
{
    if (!world->client_txn) {
        store_begin(&world->store);
    }
}

int64_t t_put_bytes(struct kvp_bytes key, struct kvp_bytes value)
{
    world_need("t_put");
    client_begin();
    store_put(&world->store, slice_of_kvp(key), slice_of_kvp(value), 0);
    return client_done();
}

int64_t t_put(const char *key, const char *value)
{
    return t_put_bytes(kvp_str(key), kvp_str(value));
}

int64_t t_delete(const char *key)
{
    world_need("t_delete");
    client_begin();
    store_delete(&world->store, slice_str(key));
    return client_done();
}

int64_t t_delete_prefix(const char *key)
{
    world_need("t_delete_prefix");
    struct span span = span_of(kvp_str(key), kvp_bytes_of(NULL, 0), KVP_PREFIX);
    client_begin();
    store_delete_span(&world->store, &span);
    return client_done();
}

void t_txn_begin(void)
{
    world_need("t_txn_begin");
    client_begin();
    world->client_txn = true;
}

int64_t t_txn_end(void)
{
    world_need("t_txn_end");
    world->client_txn = false;
    return client_done();
}

/* ---- reads --------------------------------------------------------------------------------- */

int t_row(const char *key, struct kvp_row *out)
{
    world_need("t_row");
    const struct kvp_row *row = store_row(&world->store, slice_str(key), 0);
    if (row == NULL) {
        return 0;
    }
    *out = *row;
    return 1;
}

const char *t_get(const char *key)
{
    struct kvp_row row;
    return t_row(key, &row) ? row.value.data : NULL;
}

size_t t_count(const char *prefix)
{
    const struct store *s = &world_need("t_count")->store;
    size_t count = 0;
    for (size_t i = store_seek(s, slice_str(prefix));
         i < s->key_count && slice_starts_with(s->keys[i]->bytes, slice_str(prefix)); i++) {
        count += store_row_at(s, i, 0) != NULL;
    }
    return count;
}

int64_t t_revision(void)
{
    return world_need("t_revision")->store.revision;
}

void t_compact(int64_t revision)
{
    struct store *s = &world_need("t_compact")->store;
    revision = revision == 0 || revision > s->revision ? s->revision : revision;
    if (revision > s->compacted) {
        s->compacted = revision;
        watches_feed();
    }
}

int t_history(const char *key, size_t i, const char **value)
{
    const struct store *s = &world_need("t_history")->store;
    for (size_t at = 0; at < s->log_count; at++) {
        const struct store_change *c = s->log[at];
        if (slice_eq(c->key->bytes, slice_str(key)) && i-- == 0) {
            *value = c->deleted ? NULL : c->row.value.data;
            return 1;
        }
    }
    return 0;
}
