/* correlate.c - see correlate.h. */
#include "plugins/client/correlate.h"

#include "base/alloc.h"

/* Begins every record: so sets can handle all kinds of them alike. */
struct correlate_record {
    struct hash_node node;
    struct list link;
};

struct correlate_similar {
    struct hash_node node;
    struct list link;
    uint64_t last_ms;
    uint64_t messages[CORRELATE_SIMILAR_MAX];
    uint32_t count;
};

struct correlate_spam {
    struct hash_node node;
    struct list link;
    uint32_t tokens;
    uint64_t filled_ms; /* tokens is as of then */
};

_Static_assert(offsetof(struct correlate_seen, link) == offsetof(struct correlate_record, link) &&
                   offsetof(struct correlate_similar, link) ==
                       offsetof(struct correlate_record, link) &&
                   offsetof(struct correlate_spam, link) == offsetof(struct correlate_record, link),
               "records begin alike");

static void set_init(struct correlate_set *s)
{
    hashmap_init(&s->records);
    list_init(&s->used);
}

static void set_drop(struct correlate_set *s, struct correlate_record *r)
{
    hashmap_remove(&s->records, &r->node);
    list_remove(&r->link);
    mem_free(r);
}

static void set_close(struct correlate_set *s)
{
    while (!list_empty(&s->used)) {
        set_drop(s, LIST_ENTRY(s->used.next, struct correlate_record, link));
    }
    hashmap_close(&s->records);
}

static void *set_find(struct correlate_set *s, uint64_t hash)
{
    struct hash_node *n = hashmap_first(&s->records, hash);
    if (n == NULL) {
        return NULL;
    }
    struct correlate_record *r = LIST_ENTRY(n, struct correlate_record, node);
    list_remove(&r->link);
    list_push_front(&s->used, &r->link);
    return r;
}

/* A zeroed record; the one not used for longest makes room. NULL: out of memory. */
static void *set_add(struct correlate_set *s, uint64_t hash, size_t size)
{
    struct correlate_record *r = mem_zalloc(size);
    if (r == NULL || !hashmap_insert(&s->records, &r->node, hash)) {
        mem_free(r);
        return NULL;
    }
    list_push_front(&s->used, &r->link);
    if (s->records.len > CORRELATE_RECORDS_MAX) {
        set_drop(s, LIST_ENTRY(s->used.prev, struct correlate_record, link));
    }
    return r;
}

void correlator_init(struct correlator *c)
{
    set_init(&c->seen);
    set_init(&c->similar);
    set_init(&c->spam);
}

void correlator_close(struct correlator *c)
{
    set_close(&c->seen);
    set_close(&c->similar);
    set_close(&c->spam);
}

/* Adds a message to the different ones of a group. */
static void similar_note(struct correlate_similar *s, uint64_t message, uint64_t now_ms)
{
    if (now_ms - s->last_ms > CORRELATE_SIMILAR_MS) {
        s->count = 0;
    }
    s->last_ms = now_ms;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->messages[i] == message) {
            return;
        }
    }
    s->messages[s->count++] = message;
}

/* Is this the one too many? Then room is made for the next different one. */
static bool similar_is_combined(struct correlate_similar *s)
{
    if (s->count < CORRELATE_SIMILAR_MAX) {
        return false;
    }
    s->count--;
    return true;
}

static bool spam_takes(struct correlate_spam *s, uint64_t now_ms)
{
    uint64_t fresh = (now_ms - s->filled_ms) / CORRELATE_TOKEN_MS;
    s->filled_ms += fresh * CORRELATE_TOKEN_MS;
    s->tokens = fresh > CORRELATE_BURST - s->tokens ? CORRELATE_BURST : s->tokens + (uint32_t)fresh;
    if (s->tokens == 0) {
        return false;
    }
    if (s->tokens == CORRELATE_BURST) {
        s->filled_ms = now_ms; /* a full bucket gathers nothing */
    }
    s->tokens--;
    return true;
}

void correlator_judge(struct correlator *c, const struct correlate_key *key, uint64_t now_ms,
                      struct correlate_verdict *out)
{
    *out = (struct correlate_verdict){.no_memory = true};
    struct correlate_similar *similar = set_find(&c->similar, key->similar);
    if (similar == NULL) {
        similar = set_add(&c->similar, key->similar, sizeof(*similar));
    }
    struct correlate_spam *spam = set_find(&c->spam, key->object);
    if (spam == NULL && (spam = set_add(&c->spam, key->object, sizeof(*spam))) != NULL) {
        spam->tokens = CORRELATE_BURST;
        spam->filled_ms = now_ms;
    }
    if (similar == NULL || spam == NULL) {
        return;
    }
    out->no_memory = false;
    similar_note(similar, key->message, now_ms);
    out->combined = similar_is_combined(similar);
    out->event = out->combined ? key->similar : hash_u64(key->similar ^ hash_u64(key->message));
    out->dropped = !spam_takes(spam, now_ms);
    out->seen = set_find(&c->seen, out->event);
    if (out->seen != NULL) {
        out->seen->count++; /* also when it is dropped: the next one that is told says how many */
    }
}

bool correlator_add(struct correlator *c, uint64_t event, const char *name, int64_t first_s)
{
    size_t bytes = strlen(name) + 1;
    struct correlate_seen *s = set_add(&c->seen, event, sizeof(*s) + bytes);
    if (s == NULL) {
        return false;
    }
    s->count = 1;
    s->first_s = first_s;
    memcpy(s->name, name, bytes);
    return true;
}

struct correlate_seen *correlator_find(struct correlator *c, uint64_t event)
{
    return set_find(&c->seen, event);
}

void correlator_forget(struct correlator *c, uint64_t event)
{
    struct correlate_seen *s = set_find(&c->seen, event);
    if (s != NULL) {
        set_drop(&c->seen, (struct correlate_record *)(void *)s);
    }
}
