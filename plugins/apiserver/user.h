/* user.h - who a caller is, once that has been shown. */
#ifndef KVD_APISERVER_USER_H
#define KVD_APISERVER_USER_H

#include <kvplugin.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/slice.h"

#define USER_GROUPS_MAX 64u
#define USER_EXTRA_MAX  16u

/* One more fact about a user; several may have one key. */
struct user_extra {
    struct slice key, value;
};

/* All texts lie in the arena of whoever made it. A zeroed one is nobody: no name, no groups. */
struct user {
    struct slice name, uid;
    struct slice groups[USER_GROUPS_MAX];
    size_t group_count;
    struct user_extra extra[USER_EXTRA_MAX];
    size_t extra_count;
};

/* What the host says of a certificate or plugin, and system:authenticated. False: out of memory, or
 * more groups than there is room for. */
bool user_of_identity(struct user *u, const struct kvp_identity *identity, struct arena *a);
void user_set_anonymous(struct user *u);
/* False: no room. The text is kept. */
bool user_add_group(struct user *u, struct slice group);
bool user_has_group(const struct user *u, struct slice group);
void user_add_extra(struct user *u, struct slice key, struct slice value);
/* "system:serviceaccount:SPACE:NAME" and its groups. False: out of memory. */
bool user_set_account(struct user *u, struct slice space, struct slice name, struct slice uid,
                      struct arena *a);

#endif
