/* notice.c - what operators should see: the same object and reason is told once, then counted.
 *
 * The newest NOTICES_MAX different ones are remembered per plugin (lane); one that comes again is
 * told again after NOTICE_AGAIN_MS with the number of times in between. */
#include "plugins/host/notice.h"

#include "base/log.h"
#include "plugins/host/host_impl.h"

#define NOTICE_AGAIN_MS 600000u

static uint64_t notice_hash(const struct kvp_notice *n)
{
    uint64_t object = hash_bytes(bytes_slice(n->object));
    uint64_t reason = hash_bytes(slice_str(n->reason));
    return hash_u64(object ^ (reason << 1 | reason >> 63));
}

/* The place of this notice: its own, or the one not seen for longest. */
static struct notice *notice_find(struct notice_set *set, uint64_t hash)
{
    struct notice *oldest = &set->notices[0];
    for (size_t i = 0; i < NOTICES_MAX; i++) {
        struct notice *n = &set->notices[i];
        if (n->hash == hash) {
            return n;
        }
        if (n->told_ms < oldest->told_ms) {
            oldest = n;
        }
    }
    *oldest = (struct notice){.hash = hash};
    return oldest;
}

static int host_notice(struct kvp_ctx *ctx, const struct kvp_notice *n)
{
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    if (n == NULL || n->size < sizeof(*n) || n->reason == NULL || n->text == NULL ||
        n->severity > KVP_EVENT_WARNING) {
        return KVP_INVALID;
    }
    struct instance *in = ctx->instance;
    struct notice *known = notice_find(&in->notices, notice_hash(n));
    uint64_t now = lane_now(&in->lane);
    known->count++;
    if ((known->told_ms == 0 || now - known->told_ms >= NOTICE_AGAIN_MS) && log_allowed(in)) {
        LOG(n->severity == KVP_EVENT_WARNING ? LOG_WARN : LOG_INFO, n->text,
            F_STR("plugin", in->name), F_STR("reason", n->reason),
            F_BYTES("object", bytes_slice(n->object)), F_UINT("count", known->count));
        known->told_ms = now;
        known->count = 0;
    }
    return 0;
}

void notice_calls(struct kvp_host *t)
{
    t->notice = host_notice;
}
