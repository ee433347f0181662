/* admit.h - admission: what the server adds to objects of certain kinds, and refuses, by what other
 * objects say. Kubernetes' plugins ServiceAccount, Priority, DefaultTolerationSeconds and
 * TaintNodesByCondition; NamespaceLifecycle is in create.c.
 *
 * In three steps: reads are asked for, together with the namespace; then the object is admitted
 * with what was read; changes are admitted with the object as it was. */
#ifndef KVD_APISERVER_ADMIT_H
#define KVD_APISERVER_ADMIT_H

#include "plugins/apiserver/commit.h"
#include "plugins/apiserver/exchange.h"
#include "plugins/object/object.h"

enum admit_plugin {
    ADMIT_SERVICE_ACCOUNT = 1,
    ADMIT_PRIORITY = 2,
    ADMIT_DEFAULT_TOLERATION_SECONDS = 4,
    ADMIT_TAINT_NODES_BY_CONDITION = 8
};

/* Reads the option: names joined by '+', as "ServiceAccount+Priority". False: an unknown one. */
bool admit_parse_disabled(const char *text, uint32_t *disabled);
/* In init: what it adds, decoded once. False: out of memory. */
bool admit_open(struct apiserver *api);
void admit_close(struct apiserver *api);
/* Whether creating this object needs reads. */
bool admit_needs_reads(const struct exchange *ex, const struct object *o);
/* Adds the reads to a transaction. 0 or a reason. */
int admit_ask(struct exchange *ex, const struct object *o, struct kvp_txn *txn);
/* What the reads of admit_ask would give, by what is remembered, and what has to be so then. */
struct admit_guess {
    struct kvp_row rows[2]; /* without values: only what remembers them can read them */
    struct kvp_op_result reads[2];
    struct guard guards[COMMIT_GUARDS_MAX];
    size_t guard_count;
};
/* False: not all of it is known. What is in g is good in this callback. */
bool admit_guess(struct exchange *ex, const struct object *o, struct admit_guess *g);
/* After an object was admitted by real reads, made at this revision. */
void admit_learn(struct exchange *ex, const struct object *o, int64_t revision);

/* Chance that admission of one object needs. */
#define ADMIT_RANDOM_BYTES 5u
/* Admits a new object; reads: the answers to those of admit_ask, in order. False: answered. May run
 * in a step of work. */
bool admit_create(struct exchange *ex, struct object *o, const struct kvp_op_result *reads,
                  const uint8_t random[ADMIT_RANDOM_BYTES]);
/* Admits a change, after defaults. 0 or ERR_NOMEM. May run in a step of work. */
int admit_update(struct exchange *ex, struct object *new, const struct object *old);

#endif
