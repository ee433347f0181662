/* rule_volumes.c - VolumeBinding, as far as it goes without PersistentVolumeClaims: the API server
 * has none yet, so a pod that wants one waits. */
#include "plugins/scheduler/cycle.h"

static void rule_volumes_reject(struct sched_cycle *c, const char *before)
{
    struct slice claim = c->pod->claim;
    size_t len = strlen(before);
    static const char after[] = "\" not found";
    const char *end = c->pod->claim_made ? "\"" : after;
    uint8_t *text = sched_cycle_alloc(c, len + claim.len + strlen(end));
    if (text != NULL) {
        memcpy(text, before, len);
        memcpy(text + len, claim.data, claim.len);
        memcpy(text + len + claim.len, end, strlen(end));
        c->rejection = slice_of(text, len + claim.len + strlen(end));
    }
}

static enum sched_go rule_volumes_pre(struct sched_cycle *c)
{
    if (c->pod->claim.len == 0) {
        return SCHED_SKIP;
    }
    rule_volumes_reject(c, c->pod->claim_made
                               ? "waiting for ephemeral volume controller to create the "
                                 "persistentvolumeclaim \""
                               : "persistentvolumeclaim \"");
    return SCHED_REJECT;
}

const struct sched_rule sched_rule_volumes = {
    .name = "VolumeBinding",
    .pre = rule_volumes_pre,
};
