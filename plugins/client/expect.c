/* expect.c - see expect.h. One record per key; a record that is satisfied answers like none. */
#include "plugins/client/expect.h"

#include "base/hashmap.h"
#include "base/list.h"

#define EXPECT_MS 300000u /* five minutes, as in client-go */

#ifdef KVD_DEBUG
bool expects_blind;
#define EXPECTS_BLIND expects_blind
#else
#define EXPECTS_BLIND false
#endif

struct expect_uid {
    struct expect_uid *next;
    size_t len;
    uint8_t bytes[];
};

struct expect {
    struct hash_node node;
    uint64_t set_ms;
    size_t creations;          /* not seen yet */
    struct expect_uid *doomed; /* not seen to be gone yet */
    size_t key_len;
    uint8_t key[];
};

struct expects {
    struct client client;
    struct hashmap keys;
};

struct expects *expects_open(struct client c)
{
    struct expects *e = mem_zalloc(sizeof(*e));
    if (e != NULL) {
        e->client = c;
        hashmap_init(&e->keys);
    }
    return e;
}

static void expect_clear(struct expect *x)
{
    x->creations = 0;
    while (x->doomed != NULL) {
        struct expect_uid *next = x->doomed->next;
        mem_free(x->doomed);
        x->doomed = next;
    }
}

void expects_close(struct expects *e)
{
    if (e == NULL) {
        return;
    }
    size_t bucket = 0;
    for (struct hash_node *n = hashmap_iter(&e->keys, &bucket, NULL); n != NULL;) {
        struct hash_node *next = hashmap_iter(&e->keys, &bucket, n);
        struct expect *x = LIST_ENTRY(n, struct expect, node);
        expect_clear(x);
        mem_free(x);
        n = next;
    }
    hashmap_close(&e->keys);
    mem_free(e);
}

static struct expect *expects_find(const struct expects *e, struct slice key)
{
    uint64_t hash = hash_bytes(key);
    for (struct hash_node *n = hashmap_first(&e->keys, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct expect *x = LIST_ENTRY(n, struct expect, node);
        if (slice_eq(slice_of(x->key, x->key_len), key)) {
            return x;
        }
    }
    return NULL;
}

static struct expect *expects_make(struct expects *e, struct slice key)
{
    struct expect *x = expects_find(e, key);
    if (x != NULL) {
        return x;
    }
    x = mem_zalloc(sizeof(*x) + key.len);
    if (x == NULL) {
        return NULL;
    }
    x->key_len = key.len;
    if (key.len > 0) {
        memcpy(x->key, key.data, key.len);
    }
    if (!hashmap_insert(&e->keys, &x->node, hash_bytes(key))) {
        mem_free(x);
        return NULL;
    }
    return x;
}

static uint64_t expects_now(const struct expects *e)
{
    return e->client.host->now_ms(e->client.ctx);
}

static bool expect_is_satisfied(const struct expects *e, const struct expect *x)
{
    return (x->creations == 0 && x->doomed == NULL) || expects_now(e) - x->set_ms > EXPECT_MS;
}

int expects_creations(struct expects *e, struct slice key, size_t count)
{
    struct expect *x = expects_make(e, key);
    if (x == NULL) {
        return KVP_NO_MEMORY;
    }
    expect_clear(x);
    x->creations = count;
    x->set_ms = expects_now(e);
    return 0;
}

static struct expect_uid **expect_find_uid(struct expect *x, struct slice uid)
{
    struct expect_uid **at = &x->doomed;
    while (*at != NULL && !slice_eq(slice_of((*at)->bytes, (*at)->len), uid)) {
        at = &(*at)->next;
    }
    return at;
}

int expects_deletion(struct expects *e, struct slice key, struct slice uid)
{
    struct expect *x = expects_make(e, key);
    if (x == NULL) {
        return KVP_NO_MEMORY;
    }
    if (expect_is_satisfied(e, x)) {
        expect_clear(x); /* what has run out is not expected any more */
    }
    struct expect_uid **at = expect_find_uid(x, uid);
    if (*at == NULL) {
        struct expect_uid *made = mem_alloc(sizeof(*made) + uid.len);
        if (made == NULL) {
            return KVP_NO_MEMORY;
        }
        made->next = NULL;
        made->len = uid.len;
        if (uid.len > 0) {
            memcpy(made->bytes, uid.data, uid.len);
        }
        *at = made;
    }
    x->set_ms = expects_now(e);
    return 0;
}

void expects_created(struct expects *e, struct slice key)
{
    struct expect *x = expects_find(e, key);
    if (x != NULL && x->creations > 0) {
        x->creations--;
    }
}

void expects_deleted(struct expects *e, struct slice key, struct slice uid)
{
    struct expect *x = expects_find(e, key);
    struct expect_uid **at = x != NULL ? expect_find_uid(x, uid) : NULL;
    if (at != NULL && *at != NULL) {
        struct expect_uid *seen = *at;
        *at = seen->next;
        mem_free(seen);
    }
}

bool expects_satisfied(struct expects *e, struct slice key)
{
    const struct expect *x = expects_find(e, key);
    return x == NULL || EXPECTS_BLIND || expect_is_satisfied(e, x);
}

uint64_t expects_left_ms(struct expects *e, struct slice key)
{
    const struct expect *x = expects_find(e, key);
    return expects_satisfied(e, key) ? 0 : x->set_ms + EXPECT_MS + 1 - expects_now(e);
}

void expects_forget(struct expects *e, struct slice key)
{
    struct expect *x = expects_find(e, key);
    if (x != NULL) {
        hashmap_remove(&e->keys, &x->node);
        expect_clear(x);
        mem_free(x);
    }
}
