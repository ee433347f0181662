/* watch_group.c - hash table and treap.
 *
 * The treap's shape depends only on the priorities, drawn here from a counter, so no client can
 * make it deep: recursion is about 2 log2(ranges). */
#include "kv/watch_group.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define MEMBER_OF(n) LIST_ENTRY(n, struct watch_member, link)
#define NODE_OF(n)   LIST_ENTRY(n, struct watch_node, hash)

void watch_group_init(struct watch_group *g)
{
    memset(g, 0, sizeof(*g));
    hashmap_init(&g->keys);
}

void watch_group_close(struct watch_group *g)
{
    ASSERT(g->len == 0);
    hashmap_close(&g->keys);
}

bool watch_member_covers(const struct watch_member *m, struct slice key)
{
    if (m->to_end) {
        return slice_cmp(m->key, key) <= 0;
    }
    if (m->end.len == 0) {
        return slice_eq(m->key, key);
    }
    return slice_cmp(m->key, key) <= 0 && slice_cmp(key, m->end) < 0;
}

static struct watch_node *node_new(const struct watch_member *m)
{
    struct watch_node *n = mem_alloc(sizeof(*n) + m->key.len + m->end.len);
    if (n == NULL) {
        return NULL;
    }
    memset(n, 0, sizeof(*n));
    uint8_t *bytes = (uint8_t *)(n + 1);
    if (m->key.len > 0) {
        memcpy(bytes, m->key.data, m->key.len);
    }
    if (m->end.len > 0) {
        memcpy(bytes + m->key.len, m->end.data, m->end.len);
    }
    n->key = slice_of(bytes, m->key.len);
    n->end = slice_of(bytes + m->key.len, m->end.len);
    n->to_end = m->to_end;
    n->exact = !m->to_end && m->end.len == 0;
    n->max = n->end;
    n->max_to_end = n->to_end;
    list_init(&n->members);
    return n;
}

/* ---- ranges
 * -------------------------------------------------------------------------------------- */

/* Order of ends: "to the end" is the largest. */
static int end_cmp(struct slice a, bool a_to_end, struct slice b, bool b_to_end)
{
    if (a_to_end || b_to_end) {
        return (int)a_to_end - (int)b_to_end;
    }
    return slice_cmp(a, b);
}

static int range_cmp(const struct watch_node *n, const struct watch_member *m)
{
    int order = slice_cmp(m->key, n->key);
    return order != 0 ? order : end_cmp(m->end, m->to_end, n->end, n->to_end);
}

static void node_update(struct watch_node *n)
{
    n->max = n->end;
    n->max_to_end = n->to_end;
    const struct watch_node *children[2] = {n->left, n->right};
    for (int i = 0; i < 2; i++) {
        const struct watch_node *c = children[i];
        if (c != NULL && end_cmp(c->max, c->max_to_end, n->max, n->max_to_end) > 0) {
            n->max = c->max;
            n->max_to_end = c->max_to_end;
        }
    }
}

static struct watch_node *rotate_right(struct watch_node *n)
{
    struct watch_node *top = n->left;
    n->left = top->right;
    top->right = n;
    node_update(n);
    node_update(top);
    return top;
}

static struct watch_node *rotate_left(struct watch_node *n)
{
    struct watch_node *top = n->right;
    n->right = top->left;
    top->left = n;
    node_update(n);
    node_update(top);
    return top;
}

static struct watch_node *tree_insert(struct watch_node *root, struct watch_node *n,
                                      const struct watch_member *m)
{
    if (root == NULL) {
        return n;
    }
    if (range_cmp(root, m) < 0) {
        root->left = tree_insert(root->left, n, m);
        if (root->left->priority > root->priority) {
            return rotate_right(root);
        }
    } else {
        root->right = tree_insert(root->right, n, m);
        if (root->right->priority > root->priority) {
            return rotate_left(root);
        }
    }
    node_update(root);
    return root;
}

static struct watch_node *tree_remove(struct watch_node *root, const struct watch_member *m)
{
    int order = range_cmp(root, m);
    if (order < 0) {
        root->left = tree_remove(root->left, m);
    } else if (order > 0) {
        root->right = tree_remove(root->right, m);
    } else if (root->left == NULL) {
        return root->right;
    } else if (root->right == NULL) {
        return root->left;
    } else if (root->left->priority > root->right->priority) {
        root = rotate_right(root);
        root->right = tree_remove(root->right, m);
    } else {
        root = rotate_left(root);
        root->left = tree_remove(root->left, m);
    }
    node_update(root);
    return root;
}

static struct watch_node *tree_find(struct watch_node *root, const struct watch_member *m)
{
    while (root != NULL) {
        int order = range_cmp(root, m);
        if (order == 0) {
            return root;
        }
        root = order < 0 ? root->left : root->right;
    }
    return NULL;
}

static void node_visit(const struct watch_node *n,
                       void (*member)(void *data, struct watch_member *m), void *data)
{
    LIST_FOREACH (it, (struct list *)&n->members) {
        member(data, MEMBER_OF(it));
    }
}

static void tree_visit(const struct watch_node *root, struct slice key,
                       void (*member)(void *data, struct watch_member *m), void *data)
{
    while (root != NULL && (root->max_to_end || slice_cmp(key, root->max) < 0)) {
        tree_visit(root->left, key, member, data);
        if (slice_cmp(key, root->key) < 0) {
            return;
        }
        if (root->to_end || slice_cmp(key, root->end) < 0) {
            node_visit(root, member, data);
        }
        root = root->right;
    }
}

/* ---- both
 * ---------------------------------------------------------------------------------------- */

static struct watch_node *keys_find(const struct watch_group *g, struct slice key, uint64_t hash)
{
    struct hash_node *n = hashmap_first(&g->keys, hash);
    while (n != NULL && !slice_eq(NODE_OF(n)->key, key)) {
        n = hashmap_next(n, hash);
    }
    return n == NULL ? NULL : NODE_OF(n);
}

/* A number no client knows or steers: splitmix64 over a counter. */
static uint64_t next_priority(struct watch_group *g)
{
    uint64_t z = (g->seed += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

bool watch_group_add(struct watch_group *g, struct watch_member *m)
{
    ASSERT(m->node == NULL);
    bool exact = !m->to_end && m->end.len == 0;
    uint64_t hash = exact ? hash_bytes(m->key) : 0;
    struct watch_node *n = exact ? keys_find(g, m->key, hash) : tree_find(g->ranges, m);
    if (n == NULL) {
        n = node_new(m);
        if (n == NULL) {
            return false;
        }
        if (!exact) {
            n->priority = next_priority(g);
            g->ranges = tree_insert(g->ranges, n, m);
        } else if (!hashmap_insert(&g->keys, &n->hash, hash)) {
            mem_free(n);
            return false;
        }
    }
    m->node = n;
    list_push_back(&n->members, &m->link);
    g->len++;
    return true;
}

void watch_group_remove(struct watch_group *g, struct watch_member *m)
{
    struct watch_node *n = m->node;
    if (n == NULL) {
        return;
    }
    list_remove(&m->link);
    m->node = NULL;
    g->len--;
    if (list_empty(&n->members)) {
        if (n->exact) {
            hashmap_remove(&g->keys, &n->hash);
        } else {
            g->ranges = tree_remove(g->ranges, m);
        }
        mem_free(n);
    }
}

void watch_group_visit(const struct watch_group *g, struct slice key,
                       void (*member)(void *data, struct watch_member *m), void *data)
{
    if (g->keys.len > 0) {
        const struct watch_node *n = keys_find(g, key, hash_bytes(key));
        if (n != NULL) {
            node_visit(n, member, data);
        }
    }
    tree_visit(g->ranges, key, member, data);
}
