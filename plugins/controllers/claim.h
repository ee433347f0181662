/* claim.h - whose child an object is: decided by selector and owner reference, made so by patches.
 *
 * An orphan that matches is adopted: first the owner is asked for anew (it may be gone, or another
 * one of its name), then the orphan gets an owner reference, on condition of its uid. A child that
 * does not match any more is released. A selector may come to match thousands: of each of the two
 * CLAIMS_MAX are seen to at once, then the key comes again. */
#ifndef KVD_CONTROLLERS_CLAIM_H
#define KVD_CONTROLLERS_CLAIM_H

#include "plugins/client/work.h"
#include "plugins/object/labels.h"

enum claim {
    CLAIM_OTHER,   /* somebody else's, or nobody's business */
    CLAIM_OWNED,   /* ours, and matches */
    CLAIM_ADOPT,   /* nobody's, and matches */
    CLAIM_RELEASE, /* ours, and does not match any more */
};
/* From what is known of the child: it has a controlling owner, that is ours, the selector matches,
 * owner and child are being deleted. Pure. */
enum claim claim_judge(bool owned, bool ours, bool matches, bool owner_deleted, bool child_deleted);
/* The same of an object. Owner and child are of one namespace. Pure. */
enum claim claim_decide(const struct object *owner, const struct label_selector *selector,
                        const struct object *child);
/* The strategic merge patches, appended to out; a failure is the buffer's. Pure. */
void claim_print_adopt(const struct object *owner, struct slice child_uid, struct buf *out);
void claim_print_release(struct slice owner_uid, struct slice child_uid, struct buf *out);

/* Requests that one callback sends: they take it a millisecond or two. */
#define CLAIMS_MAX 64u

/* Children to adopt, gathered while going through an informer. */
struct claims {
    const struct object *owner; /* good until claims_adopt returned */
    struct work *work;
    struct adoption *adoption; /* NULL = none so far */
    uint32_t adopts, releases;
    int reason; /* what went wrong first; 0 = nothing */
};
/* Takes note of an orphan, or sends the release of a child, as part of the work. */
void claims_note(struct claims *c, enum claim what, const struct object *child);
/* Sends what was gathered. Returns 0: there was nothing; positive: it is under way, and the
 * children's own events bring the key again; negative: failed, c->reason says why. */
int claims_adopt(struct claims *c);
/* Instead of claims_adopt. */
void claims_drop(struct claims *c);

/* An index for informers of children: under namespace/uid of the controlling owner, of orphans
 * under namespace/. An owner is of its children's namespace: what another one's child says is
 * nothing. */
void claim_index(void *data, const struct object *o, struct index_emit *emit);
/* Goes through the children of an owner, or a namespace's orphans, in an informer that has
 * claim_index as INDEX_CONTROLLER. */
int claim_each_child(struct informer *i, struct slice space, struct slice owner_uid,
                     informer_each_fn *each, void *data);
int claim_each_orphan(struct informer *i, struct slice space, informer_each_fn *each, void *data);

#endif
