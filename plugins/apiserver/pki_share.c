/* pki_share.c - one authority for all members: whoever comes first writes his to the store. */
#include "plugins/apiserver/pki_impl.h"

#define PKI_RETRY_MS 1000u

static void share_on_timer(void *data)
{
    pki_share(data);
}

void pki_share_later(struct pki *pki)
{
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = PKI_RETRY_MS, .fire = share_on_timer, .data = pki};
    (void)pki->api->host->timer(pki->api->ctx, &timer, NULL);
}

/* What the store has counts. */
static void share_take(struct pki *pki, struct slice value)
{
    struct pki_set set;
    struct buf own;
    buf_init(&own);
    bool same = pki_set_bundle(&pki->set, &own) && slice_eq(buf_slice(&own), value);
    buf_close(&own);
    if (same) {
        pki->settled = true;
        return;
    }
    bool begun = pki_set_copy(&pki->set, &set);
    if (begun && !pki_set_unbundle(&set, value)) {
        KVP_LOG(pki->api->host, pki->api->ctx, KVP_ERROR,
                "the authority in the store cannot be read: this member goes on with its own",
                kvp_f_str("key", PKI_ROW));
        pki_set_close(&set);
        return;
    }
    if (begun) {
        begun = pki_work_begin(pki, &set, true);
        pki_set_close(&set);
    }
    if (!begun) {
        pki_share_later(pki);
    }
}

static void share_written(void *data, const struct kvp_result *r)
{
    struct pki *pki = data;
    if (r->reason == KVP_STOPPED) {
        return;
    }
    if (r->outcome == KVP_OK) {
        pki->settled = true;
    } else if (r->outcome == KVP_REFUSED && r->reason == KVP_CONFLICT && r->row != NULL) {
        share_take(pki, slice_of_kvp(r->row->value));
    } else {
        pki_share_later(pki);
    }
}

static void share_write(struct pki *pki)
{
    struct buf own;
    buf_init(&own);
    bool ok = pki_set_bundle(&pki->set, &own);
    struct kvp_put put = {
        .size = sizeof put, .key = kvp_str(PKI_ROW), .value = kvp_of_slice(buf_slice(&own))};
    if (!ok || pki->api->host->put_if(pki->api->ctx, &put, 0, share_written, pki) != 0) {
        pki_share_later(pki);
    }
    buf_close(&own);
}

static void share_read(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct pki *pki = data;
    if (r->reason == KVP_STOPPED) {
        return;
    }
    if (r->outcome != KVP_OK) {
        pki_share_later(pki);
    } else if (rows->count > 0) {
        share_take(pki, slice_of_kvp(rows->rows[0].value));
    } else {
        share_write(pki);
    }
}

void pki_share(struct pki *pki)
{
    struct apiserver *api = pki->api;
    if (api->host->get(api->ctx, kvp_str(PKI_ROW), share_read, pki) != 0) {
        pki_share_later(pki);
    }
}
