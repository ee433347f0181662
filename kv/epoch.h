/* epoch.h - fencing: the newest leadership of each plugin (design section 5).
 *
 * An operation that is only an EpochRequest registers a leadership; one beside another request is a
 * stamp: apply refuses the request when a newer leadership of that plugin is registered. Newer
 * means a higher (term, epoch). Replicated in TABLE_EPOCH: plugin name -> member, term, epoch. */
#ifndef KVD_KV_EPOCH_H
#define KVD_KV_EPOCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "kv/store.h"

struct kv;

struct epoch {
    char *plugin; /* owned */
    uint64_t member;
    uint64_t term;
    uint64_t epoch;
};

struct epoch_set {
    struct epoch *epochs;
    size_t len;
    size_t cap;
};

void epoch_set_init(struct epoch_set *s);
void epoch_set_close(struct epoch_set *s);
/* Registers e (its plugin name is copied). 0; ERR_FENCED when an equal or newer one is known (the
 * same member, term and epoch again is fine); ERR_INVALID name; ERR_TOO_MANY_REQUESTS: EPOCHS_MAX.
 * Inside an operation of apply. */
int epoch_register(struct kv *kv, const struct epoch *e);
#ifdef KVD_DEBUG
/* Planted bug: no stamp is refused. For the simulator, which proves that it finds it. */
extern bool epoch_test_no_fence;
#endif
/* 0, or ERR_FENCED when a newer leadership than the stamp is known. */
int epoch_check(const struct kv *kv, const struct epoch *stamp);
/* Rebuilds kv->epochs from the rows. 0 or an enum err. */
int epoch_open(struct kv *kv, struct store_view *view);

#endif
