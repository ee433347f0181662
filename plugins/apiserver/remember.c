/* remember.c - sets of a few entries each, found by the hash of the key. A row of one key and one
 * revision has one value, so nothing has to be told when a row changes. */
#include "plugins/apiserver/remember.h"

#include "base/alloc.h"
#include "plugins/apiserver/stored.h"

#define REMEMBER_SETS      16u
#define REMEMBER_ROW_BYTES (8u * 1024u) /* larger ones are decoded each time */

struct remembered {
    struct arena arena;             /* of all that follows */
    const struct schema_type *type; /* NULL: unused */
    struct slice key;
    int64_t revision;
    struct object object;
    uint64_t used; /* when, in look-ups */
};

struct remember {
    uint64_t lookups;
    int64_t no_default;
    struct remembered sets[REMEMBER_SETS][REMEMBER_GOOD];
};

static struct remember *remember_of(struct apiserver *api)
{
    if (api->remember == NULL) {
        api->remember = mem_zalloc(sizeof *api->remember);
    }
    return api->remember;
}

static int remember_new(struct remembered *r, const struct schema_type *type,
                        const struct kvp_row *row, struct errmsg *e)
{
    r->type = NULL;
    arena_close(&r->arena);
    arena_init(&r->arena, 0);
    r->key = arena_dup(&r->arena, slice_of_kvp(row->key));
    struct slice value = arena_dup(&r->arena, slice_of_kvp(row->value));
    int rc = r->key.data == NULL || value.data == NULL
                 ? ERR_NOMEM
                 : stored_decode(type, value, row->mod_revision, &r->arena, &r->object, e);
    if (rc == 0) {
        r->type = type;
        r->revision = row->mod_revision;
    }
    return rc;
}

int remember_decode(struct exchange *ex, const struct schema_type *type, const struct kvp_row *row,
                    struct object *out, struct errmsg *e)
{
    struct slice key = slice_of_kvp(row->key);
    bool fits = !ex->work.away && row->value.len <= REMEMBER_ROW_BYTES;
    struct remember *all = fits ? remember_of(ex->api) : NULL;
    if (all == NULL) {
        return stored_decode(type, slice_of_kvp(row->value), row->mod_revision, &ex->arena, out, e);
    }
    struct remembered *set = all->sets[hash_bytes(key) % REMEMBER_SETS];
    struct remembered *oldest = set;
    struct remembered *found = NULL;
    for (size_t i = 0; i < REMEMBER_GOOD && found == NULL; i++) {
        bool same = set[i].type == type && set[i].revision == row->mod_revision &&
                    slice_eq(set[i].key, key);
        found = same ? &set[i] : NULL;
        oldest = set[i].used < oldest->used ? &set[i] : oldest;
    }
    int rc = found == NULL ? remember_new(oldest, type, row, e) : 0;
    found = found == NULL ? oldest : found;
    found->used = ++all->lookups;
    if (rc == 0) {
        *out = found->object;
    }
    return rc;
}

const struct object *remember_find(struct apiserver *api, const struct schema_type *type,
                                   struct slice key, int64_t *revision)
{
    struct remember *all = api->remember;
    if (all == NULL) {
        return NULL;
    }
    struct remembered *set = all->sets[hash_bytes(key) % REMEMBER_SETS];
    struct remembered *found = NULL;
    for (size_t i = 0; i < REMEMBER_GOOD; i++) {
        if (set[i].type == type && slice_eq(set[i].key, key) &&
            (found == NULL || set[i].revision > found->revision)) {
            found = &set[i];
        }
    }
    if (found == NULL) {
        return NULL;
    }
    found->used = ++all->lookups;
    *revision = found->revision;
    return &found->object;
}

void remember_no_default(struct apiserver *api, int64_t revision)
{
    struct remember *all = remember_of(api);
    if (all != NULL && revision > all->no_default) {
        all->no_default = revision;
    }
}

int64_t remember_when_no_default(const struct apiserver *api)
{
    return api->remember == NULL ? 0 : api->remember->no_default;
}

void remember_close(struct apiserver *api)
{
    struct remember *all = api->remember;
    for (size_t i = 0; all != NULL && i < REMEMBER_SETS; i++) {
        for (size_t k = 0; k < REMEMBER_GOOD; k++) {
            arena_close(&all->sets[i][k].arena);
        }
    }
    mem_free(all);
    api->remember = NULL;
}
