/* update.h - one stored object is read, changed, and written back unless somebody was quicker; then
 * all of it again.
 *
 * What PUT, PATCH and the subresources that write share. All of it runs in callbacks of the lane,
 * but for `make` and what it may call of this header: that may be a step of work (exchange_work).
 */
#ifndef KVD_APISERVER_UPDATE_H
#define KVD_APISERVER_UPDATE_H

#include "plugins/apiserver/service.h"
#include "plugins/object/object.h"
#include "plugins/object/patch.h"

struct update {
    struct exchange *ex;
    /* Makes what shall be from what is (both in the exchange's arena); called again at each try.
     * Asks the host for nothing: `seconds` is the time. False: it has answered. */
    bool (*make)(struct update *u, const struct object *old, struct object *new);
    /* The object is stored (or would be, in a dry run): answers. */
    void (*answer)(struct update *u, struct object *now, int64_t revision);
    /* Nothing but make decides what is stored: no defaults, no validation, no generation, no
     * managedFields. */
    bool bare;
    bool patch;
    enum patch_kind patch_kind;
    struct object given; /* decoded body of a PUT */
    void *data;          /* of make and answer */
    int64_t seconds;     /* since 1970 */
    /* Of update.c. */
    unsigned tries;
    bool large; /* of the row, the body, or what a patch can make of them */
    struct slice key;
    struct slice stored; /* as it is, of this revision */
    int64_t revision;
    struct slice value; /* the new one */
    struct object old, now;
    struct commit commit;
    struct allocation allocation; /* the last: it is large, and not zeroed */
};

/* A zeroed one in the arena; NULL: answered. */
struct update *update_new(struct exchange *ex);
/* Which kind of patch a PATCH has. False: answered. */
bool update_read_patch(struct update *u);
/* Whether a few words of it may make much: each copy of a JSON patch may double what is there. */
bool update_patch_grows(const struct update *u);
/* Applies the patch of the request to an object of any type. False: answered. */
bool update_patch(struct update *u, const struct object *old, struct object *new);
/* Names in a body are those of the path. False: answered. */
bool update_check_name(struct exchange *ex, const struct object *o);
/* A uid that the request gives (empty: none) is the object's. False: answered. */
bool update_check_uid(struct exchange *ex, struct slice uid, const struct object *old);
/* uid and resourceVersion of new, where given, are old's; else they become it. False: answered. */
bool update_check(struct update *u, const struct object *old, struct object *new);
/* Reads the object the request names, and so on. */
void update_run(struct update *u);
/* The same for exchange_work, with a struct update. */
void update_go(void *data);

#endif
