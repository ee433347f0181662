/* queue.h - the work queue behind kvp_host.queue_*: client-go's rules.
 *
 * A key is in up to three places, as there: `dirty` (must be worked on), `processing` (a worker has
 * it), delayed (a time from which it will be dirty). It waits in line when it is dirty and not
 * processing. Each step is O(1), those with a delay O(log n). A key costs sizeof(struct queue_item)
 * (88) plus its bytes plus 16 in the table and heap, from the first add until it is neither dirty
 * nor processing nor delayed and its failures are forgotten. */
#ifndef KVD_PLUGINS_HOST_QUEUE_H
#define KVD_PLUGINS_HOST_QUEUE_H

#include "plugins/host/scope.h"

/* The table's calls, with the context's scope in place of the context. See kvplugin.h. */
int queue_open(struct scope *s, const struct kvp_queue_args *a, struct kvp_queue **out);
/* name: of its metrics; NULL: the plugin's. */
int queue_open_named(struct scope *s, const struct kvp_queue_args *a, const char *name,
                     struct kvp_queue **out);
int queue_add(struct kvp_queue *q, struct kvp_bytes key);
int queue_add_after(struct kvp_queue *q, struct kvp_bytes key, uint64_t ms);
int queue_add_limited(struct kvp_queue *q, struct kvp_bytes key);
void queue_forget(struct kvp_queue *q, struct kvp_bytes key);
void queue_done(struct kvp_queue *q, struct kvp_bytes key);
size_t queue_len(struct kvp_queue *q);
void queue_close(struct kvp_queue *q);

/* While paused, keys gather but none is given to work. */
void queue_pause(struct kvp_queue *q, bool paused);

struct queue_stats {
    size_t waiting;    /* in line */
    size_t delayed;    /* to come */
    size_t processing; /* with a worker */
    uint64_t adds;     /* keys that got into line */
    uint64_t retries;  /* queue_add_limited calls */
};
void queue_stats(const struct kvp_queue *q, struct queue_stats *out);

#endif
