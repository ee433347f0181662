/* upkeep.c - objects of the system: their values, their writes, complaints about them. */
#include "plugins/apiserver/upkeep.h"

#include "plugins/apiserver/stored.h"
#include "plugins/object/metadata.h"

/* Failures in a row until a person is told. */
#define UPKEEP_FAILURES_TOLD 5u

bool upkeep_is_over(const struct kvp_result *r)
{
    return r->reason == KVP_STOPPED || r->reason == KVP_FENCED || r->reason == KVP_NOT_LEADER;
}

int upkeep_encode(struct upkeep *u, struct object *o, const struct object *old,
                  const struct kvp_row *row, struct buf *out)
{
    const struct kvp_host *host = u->api->host;
    struct metadata_facts facts;
    int rc;
    if (old == NULL) {
        facts.now_seconds = (int64_t)(host->wall_us(u->ctx) / 1000000u);
        host->random(u->ctx, facts.random, sizeof facts.random);
        rc = metadata_prepare_create(o, &facts);
    } else {
        rc = metadata_prepare_update(o, old);
    }
    rc = rc == 0 ? stored_encode(o, out) : rc;
    if (rc == 0 && row != NULL && slice_eq(buf_slice(out), slice_of_kvp(row->value))) {
        buf_clear(out);
    }
    return rc;
}

int upkeep_put(struct upkeep *u, struct kvp_txn *txn, struct kvp_bytes key, struct kvp_bytes value,
               int64_t revision)
{
    const struct kvp_host *host = u->api->host;
    struct kvp_compare same = {.size = sizeof same,
                               .target = KVP_CMP_MOD_REVISION,
                               .relation = KVP_EQUAL,
                               .key = key,
                               .number = revision};
    struct kvp_put put = {.size = sizeof put, .key = key, .value = value};
    int rc = host->txn_compare(txn, &same);
    return rc == 0 ? host->txn_put(txn, KVP_THEN, &put) : rc;
}

/* ---- complaints ---------------------------------------------------------------------------- */

static void upkeep_complain(const struct upkeep *u, const char *object, const char *why)
{
    KVP_LOG(u->api->host, u->ctx, KVP_WARN, "an object of the system cannot be kept",
            kvp_f_str("object", object), kvp_f_str("why", why));
}

/* The host is busy, or without memory or leader, for a moment. */
static bool upkeep_passes(int32_t reason)
{
    return reason == KVP_BUSY || reason == KVP_UNAVAILABLE || reason == KVP_TIMEOUT ||
           reason == KVP_NO_MEMORY || reason == KVP_CONFLICT;
}

void upkeep_failed(struct upkeep *u, unsigned which, const char *object, int32_t reason,
                   const char *why)
{
    if (!upkeep_passes(reason)) {
        upkeep_refused(u, which, object, why);
    } else if (u->failures[which] < UPKEEP_FAILURES_TOLD &&
               ++u->failures[which] == UPKEEP_FAILURES_TOLD) {
        upkeep_complain(u, object, why);
    }
}

void upkeep_refused(struct upkeep *u, unsigned which, const char *object, const char *why)
{
    if (u->failures[which] < UPKEEP_FAILURES_TOLD) {
        u->failures[which] = UPKEEP_FAILURES_TOLD;
        upkeep_complain(u, object, why);
    }
}

void upkeep_well(struct upkeep *u, unsigned which)
{
    u->failures[which] = 0;
}
