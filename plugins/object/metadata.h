/* metadata.h - what the server itself writes into metadata, at creation and at update.
 *
 * Clock and random bits are the caller's: this decides nothing that differs between members. */
#ifndef KVD_OBJECT_METADATA_H
#define KVD_OBJECT_METADATA_H

#include "plugins/object/object.h"

/* Facts of one creation. */
struct metadata_facts {
    int64_t now_seconds; /* since 1970 */
    uint8_t random[24];  /* 16 for the uid, the rest for a generated name */
};

/* Prepares a new object: name from generateName (cut to 58 characters, five letters appended) when
 * it has none, uid, creationTimestamp, generation 1 for kinds that count it, else none; deletion
 * marks and selfLink are cleared. 0 or ERR_NOMEM. */
int metadata_prepare_create(struct object *o, const struct metadata_facts *facts);
/* Prepares a change from old to new: what no client may set (uid, creation and deletion marks,
 * generation) is old's where the client left it out or tried, and generation grows by one when the
 * wanted state differs. Which fields those are: everything but metadata and status; of deployments
 * annotations, of endpoint slices labels too. 0 or ERR_NOMEM. */
int metadata_prepare_update(struct object *new, const struct object *old);
/* Marks an object as being deleted, gone by now + grace; generation grows by one if it is counted.
 * 0 or ERR_NOMEM. */
int metadata_mark_deleted(struct object *o, int64_t now_seconds, int64_t grace_seconds);
/* Drops owner references that repeat an earlier one's uid. *dropped: how many; their uids, each
 * once and with commas between, are appended to uids (may be NULL). 0 or ERR_NOMEM. */
int metadata_dedupe_owners(struct object *o, struct buf *uids, size_t *dropped);

#endif
