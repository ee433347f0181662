/* pki_end.c - when certificates end. Those that the authority signs are renewed in time; the
 * authority is not: whoever trusts it has to learn of the next one, which only people can see to.
 */
#include "plugins/apiserver/cert.h"
#include "plugins/apiserver/pki_impl.h"

#define END_DAY           86400
#define END_WARN_SECONDS  (365ll * END_DAY) /* of the authority: this early */
#define END_AGAIN_SECONDS 3600              /* it is looked at more often */

static const char *const end_names[] = {"ca", "apiserver", "admin"};
#define END_COUNT (sizeof end_names / sizeof end_names[0])

void pki_end_open(struct pki *pki)
{
    const struct kvp_host *host = pki->api->host;
    const struct kvp_metric_args metric = {.size = sizeof metric,
                                           .type = KVP_GAUGE,
                                           .name = "certificate_end_timestamp_seconds",
                                           .help = "When a certificate of this member ends.",
                                           .labels = {"certificate"}};
    uint32_t id = 0;
    int rc = host->metric(pki->api->ctx, &metric, &id);
    for (size_t i = 0; i < END_COUNT && rc == 0; i++) {
        struct kvp_bytes name = kvp_str(end_names[i]);
        rc = host->metric_series(pki->api->ctx, id, &name, 1, &pki->ends[i]);
    }
    if (rc != 0) {
        KVP_LOG(host, pki->api->ctx, KVP_WARN, "the metric of certificates cannot be made",
                kvp_f_int("reason", rc));
    }
}

void pki_end_tell(struct pki *pki)
{
    const struct kvp_host *host = pki->api->host;
    const struct buf *const certs[END_COUNT] = {&pki->set.ca_cert, &pki->set.server_cert,
                                                &pki->set.admin_cert};
    int64_t now = (int64_t)(host->wall_us(pki->api->ctx) / 1000000u);
    int64_t end;
    for (size_t i = 0; i < END_COUNT; i++) {
        if (cert_end(buf_slice(certs[i]), &end)) {
            host->metric_set(pki->api->ctx, pki->ends[i], end);
        }
    }
    bool used = pki->plan.cert_file[0] == 0 || pki->plan.client_ca_file[0] == 0;
    if (used && cert_end(buf_slice(&pki->set.ca_cert), &end) && end - now < END_WARN_SECONDS &&
        now - pki->warned >= END_AGAIN_SECONDS) {
        pki->warned = now;
        KVP_LOG(host, pki->api->ctx, KVP_WARN,
                end > now ? "the authority ends within a year: replace ca.crt and ca.key"
                          : "the authority has ended: replace ca.crt and ca.key",
                kvp_f_int("days", (end - now) / END_DAY), kvp_f_str("folder", pki->plan.dir));
    }
}
