/* controller.h - the controller behind kvp_host.controller*: a cache, a queue, items in work.
 *
 * Each changed key is reconciled until it is as it should be; a key is with one worker at a time.
 * An item (one key in work) ends when reconcile has returned, all item_* writes have been answered
 * and, when reconcile asked for it, item_done was called; then its result goes to the queue.
 * When memory is missing for a key to be added, all keys are walked anew at the next pulse: what is
 * there is never forgotten (a deletion may be, as it may while another member leads). */
#ifndef KVD_PLUGINS_HOST_CONTROLLER_H
#define KVD_PLUGINS_HOST_CONTROLLER_H

#include "plugins/host/scope.h"

/* The table's calls, with the context's scope in place of the context. See kvplugin.h. The cache
 * may be of another scope (of init); its end closes the controller. */
int controller_open(struct scope *s, const struct kvp_controller_args *a,
                    struct kvp_controller **out);
int controller_add(struct kvp_controller *c, struct kvp_bytes key);
int controller_add_after(struct kvp_controller *c, struct kvp_bytes key, uint64_t ms);
void controller_close(struct kvp_controller *c);
int64_t controller_item_put(struct kvp_item *item, const struct kvp_put *p);
int64_t controller_item_put_if(struct kvp_item *item, const struct kvp_put *p,
                               int64_t mod_revision);
int64_t controller_item_txn(struct kvp_item *item, struct kvp_txn *txn);
void controller_item_done(struct kvp_item *item, int64_t result);

/* For the host's metrics and `kvctl plugin top`. */
struct controller_stats {
    const char *name; /* NULL: the plugin's */
    uint64_t reconciles;
    uint64_t failures; /* items that ended in a retry */
    size_t waiting;    /* keys in line */
    size_t delayed;    /* keys that will be */
    size_t in_work;    /* items */
};
void controller_stats(const struct kvp_controller *c, struct controller_stats *out);

#endif
