/* pki_share.c - one authority for all members: whoever comes first writes his to the store. */
#include "plugins/apiserver/pki_impl.h"

#define PKI_RETRY_MS      1000u
#define PKI_UNREADABLE_MS 60000u /* people have to see to it first */

static void share_write(struct pki *pki, int64_t revision);

static void share_on_timer(void *data)
{
    pki_share(data);
}

static void share_after(struct pki *pki, uint64_t ms)
{
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = ms, .fire = share_on_timer, .data = pki};
    (void)pki->api->host->timer(pki->api->ctx, &timer, NULL);
}

void pki_share_later(struct pki *pki)
{
    share_after(pki, PKI_RETRY_MS);
}

static void share_is_unreadable(struct pki *pki)
{
    if (!pki->unreadable) {
        KVP_LOG(pki->api->host, pki->api->ctx, KVP_ERROR,
                "the authority in the store cannot be read: this member goes on with its own, and "
                "makes no tokens; put the row back, or delete it to have it written anew",
                kvp_f_str("key", PKI_ROW), kvp_f_int("next-look-s", PKI_UNREADABLE_MS / 1000));
    }
    pki->unreadable = true;
    share_after(pki, PKI_UNREADABLE_MS);
}

/* What the store has counts, unless this member's own was replaced since all had that. */
static void share_take(struct pki *pki, const struct kvp_row *row)
{
    struct pki_set set;
    struct slice value = slice_of_kvp(row->value);
    struct buf own;
    buf_init(&own);
    bool same = pki_set_bundle(&pki->set, &own) && slice_eq(buf_slice(&own), value);
    buf_close(&own);
    if (same) {
        pki_settle(pki);
        return;
    }
    if (pki_set_is_replaced(&pki->set, buf_slice(&pki->agreed), value)) {
        KVP_LOG(pki->api->host, pki->api->ctx, KVP_WARN,
                "the authority or the key of tokens was replaced: the other members get it at "
                "their next start",
                kvp_f_str("folder", pki->plan.dir));
        share_write(pki, row->mod_revision);
        return;
    }
    bool begun = pki_set_copy(&pki->set, &set);
    if (begun && !pki_set_unbundle(&set, value)) {
        pki_set_close(&set);
        share_is_unreadable(pki);
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
        pki_settle(pki);
    } else if (r->outcome == KVP_REFUSED && r->reason == KVP_CONFLICT && r->row != NULL) {
        share_take(pki, r->row);
    } else {
        pki_share_later(pki);
    }
}

/* revision: of the row that it takes the place of; 0 = there is none. */
static void share_write(struct pki *pki, int64_t revision)
{
    struct buf own;
    buf_init(&own);
    bool ok = pki_set_bundle(&pki->set, &own);
    struct kvp_put put = {
        .size = sizeof put, .key = kvp_str(PKI_ROW), .value = kvp_of_slice(buf_slice(&own))};
    if (!ok || pki->api->host->put_if(pki->api->ctx, &put, revision, share_written, pki) != 0) {
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
        share_take(pki, &rows->rows[0]);
    } else {
        share_write(pki, 0);
    }
}

void pki_share(struct pki *pki)
{
    struct apiserver *api = pki->api;
    if (api->host->get(api->ctx, kvp_str(PKI_ROW), share_read, pki) != 0) {
        pki_share_later(pki);
    }
}
