/* work.h - reconciling: keys wait in a queue, each is worked on by a few requests, and is done when
 * all of them are answered.
 *
 * The queue is the host's (client-go's rules: a key waits once, is never in work twice, comes again
 * when added meanwhile; failures come again with backoff). reconcile looks at informers and sends
 * what has to change with work_send; it need not wait for answers. When the last one is in, the key
 * is finished: again with backoff if any request failed that was not forgiven, else as reconcile
 * said.
 *
 * Whoever opens closes: in stop. When the context has ended before, requests under way have called
 * back (KVP_STOPPED), nothing is reconciled any more, and adding is refused with KVP_STOPPED, so
 * that handlers on informers of the instance may still call it until they are taken off. */
#ifndef KVD_CLIENT_WORK_H
#define KVD_CLIENT_WORK_H

#include "plugins/client/informer.h"

struct works; /* a queue with its workers, until works_close */
struct work;  /* one key in work, until it is finished */

/* What reconcile returns: KVP_DONE, KVP_RETRY, or after how many milliseconds to look again. */
typedef int64_t work_reconcile_fn(void *data, struct work *w, struct slice key);

#define WORKS_INFORMERS_MAX 8u

struct works_args {
    const char *name;  /* in logs */
    uint32_t parallel; /* keys in work at once; 0 = 5 */
    work_reconcile_fn *reconcile;
    void *data;
    /* Nothing is worked on before all of these are synced; NULL = no more. An informer that is
     * closed before it synced keeps everything waiting. */
    struct informer *informers[WORKS_INFORMERS_MAX];
    uint64_t delay_min_ms, delay_max_ms; /* 0 = 5, 1,000,000 */
};

/* 0 or a reason. */
int works_open(struct client c, const struct works_args *a, struct works **out);
/* No reconcile and no done of work_send runs after it. Whoever waits for an answer still is told
 * inside it, with KVP_STOPPED: refused of reads, else the outcome is unknown; the answers
 * themselves are dropped. Then holds end (no work_release any more). Also from inside reconcile or
 * done, and after the end of the context. NULL is fine. */
void works_close(struct works *q);
int works_add(struct works *q, struct slice key);
int works_add_object(struct works *q, const struct object *o); /* by its key */
int works_add_after(struct works *q, struct slice key, uint64_t ms);
size_t works_len(const struct works *q); /* keys that wait for their turn */

/* What is forgiven: these answers count as done. */
#define WORK_NOT_FOUND_OK      1u /* delete, update, patch of something that is gone */
#define WORK_EXISTS_OK         2u /* create of something that is there */
#define WORK_CONFLICT_OK       4u /* somebody else wrote: his event brings the key again */
#define WORK_NS_TERMINATING_OK 8u /* 403 with cause NamespaceTerminating */

/* Sends a request as part of this work, in reconcile or in a done of the same work. r->done, when
 * there is one, is called exactly once, before the work goes on (for its effects on expectations,
 * events), also when the context ends or the works are closed. Returns 0 or a reason, and a request
 * that could not be sent counts as failed. */
int work_send(struct work *w, const struct client_request *r, unsigned forgiven);
/* In reconcile or a done: the key failed, for this reason (logged at debug level). */
void work_fail(struct work *w, const char *why);
/* In reconcile or a done: the key comes again so many milliseconds after it is finished, whatever
 * reconcile returns (sooner when that says so). ms > 0. */
void work_look_again(struct work *w, int64_t ms);
/* Keeps the work open for something that is no request, until work_release. */
void work_hold(struct work *w);
/* result: as reconcile returns; of several the earliest holds. w may be gone when it returns. */
void work_release(struct work *w, int64_t result);
/* How often this key failed in a row (0 = not). */
uint32_t work_failures(const struct work *w);

#endif
