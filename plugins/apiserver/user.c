/* user.c - users. */
#include "plugins/apiserver/user.h"

bool user_add_group(struct user *u, struct slice group)
{
    if (user_has_group(u, group)) {
        return true;
    }
    if (u->group_count == USER_GROUPS_MAX) {
        return false;
    }
    u->groups[u->group_count++] = group;
    return true;
}

bool user_has_group(const struct user *u, struct slice group)
{
    for (size_t i = 0; i < u->group_count; i++) {
        if (slice_eq(u->groups[i], group)) {
            return true;
        }
    }
    return false;
}

void user_add_extra(struct user *u, struct slice key, struct slice value)
{
    if (u->extra_count < USER_EXTRA_MAX) {
        u->extra[u->extra_count++] = (struct user_extra){key, value};
    }
}

static bool user_copy(struct kvp_bytes from, struct arena *a, struct slice *to)
{
    *to = arena_dup(a, slice_of(from.data, from.len));
    return to->data != NULL;
}

bool user_of_identity(struct user *u, const struct kvp_identity *identity, struct arena *a)
{
    *u = (struct user){0};
    if (!user_copy(identity->user, a, &u->name) || !user_copy(identity->uid, a, &u->uid)) {
        return false;
    }
    for (size_t i = 0; i < identity->group_count; i++) {
        struct slice group;
        if (!user_copy(identity->groups[i], a, &group) || !user_add_group(u, group)) {
            return false;
        }
    }
    for (size_t i = 0; i < identity->extra_count; i++) {
        struct slice key;
        struct slice value;
        if (!user_copy(identity->extra[i].name, a, &key) ||
            !user_copy(identity->extra[i].value, a, &value)) {
            return false;
        }
        user_add_extra(u, key, value);
    }
    return user_add_group(u, slice_str("system:authenticated"));
}

void user_set_anonymous(struct user *u)
{
    *u = (struct user){.name = slice_str("system:anonymous")};
    user_add_group(u, slice_str("system:unauthenticated"));
}

static struct slice user_join(const char *prefix, struct slice a, const char *between,
                              struct slice b, struct arena *arena)
{
    size_t n = strlen(prefix);
    size_t k = strlen(between);
    uint8_t *to = arena_alloc(arena, n + a.len + k + b.len + 1);
    if (to == NULL) {
        return slice_of(NULL, 0);
    }
    memcpy(to, prefix, n);
    memcpy(to + n, a.data, a.len);
    memcpy(to + n + a.len, between, k);
    if (b.len > 0) {
        memcpy(to + n + a.len + k, b.data, b.len);
    }
    return slice_of(to, n + a.len + k + b.len);
}

bool user_set_account(struct user *u, struct slice space, struct slice name, struct slice uid,
                      struct arena *a)
{
    struct slice group = user_join("system:serviceaccounts:", space, "", slice_of("", 0), a);
    *u =
        (struct user){.name = user_join("system:serviceaccount:", space, ":", name, a), .uid = uid};
    return u->name.data != NULL && group.data != NULL &&
           user_add_group(u, slice_str("system:serviceaccounts")) && user_add_group(u, group) &&
           user_add_group(u, slice_str("system:authenticated"));
}
