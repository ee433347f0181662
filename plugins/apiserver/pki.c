/* pki.c - the set in force: what the port uses, and how it is renewed. */
#include "plugins/apiserver/pki.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/alloc.h"
#include "plugins/apiserver/issuer.h"
#include "plugins/apiserver/pki_file.h"
#include "plugins/apiserver/pki_impl.h"

/* How often files of flags are looked at, and our own certificates' age. */
#define PKI_LOOK_FILES_MS 60000u
#define PKI_LOOK_OWN_MS   (12u * 3600000u)

/* ---- names --------------------------------------------------------------------------------- */

static bool pki_is_ip(const char *text)
{
    uint8_t bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* The host of host, host:port or [host]:port. False: it is none. */
static bool pki_host(const char *text, char *out, size_t room)
{
    bool bracket = text[0] == '[';
    const char *from = bracket ? text + 1 : text;
    size_t len = strcspn(from, bracket ? "]" : ":");
    if (!bracket && strchr(from + len + (from[len] != 0), ':') != NULL) {
        len = strlen(from); /* several colons: an address without a port */
    }
    if (len == 0 || len >= room) {
        return false;
    }
    memcpy(out, from, len);
    out[len] = 0;
    return pki_is_ip(out) || strspn(out, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789-.") == len;
}

static void pki_add_name(struct pki_plan *p, const char *host)
{
    char name[300];
    static const char *const there[] = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "::"};
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
        if (strcmp(host, there[i]) == 0) {
            return;
        }
    }
    snprintf(name, sizeof name, ",%s:%s", pki_is_ip(host) ? "IP" : "DNS", host);
    size_t used = strlen(p->names);
    if (strstr(p->names, name) == NULL && used + strlen(name) < sizeof p->names) {
        memcpy(p->names + used, name, strlen(name) + 1);
    }
}

static int pki_plan(struct pki *pki, struct kvp_errmsg *e)
{
    struct pki_plan *p = &pki->plan;
    const struct kvp_host *host = pki->api->host;
    const struct apiserver_conf *conf = pki->api->conf;
    const char *data = KVP_HAS(host, data_dir) ? host->data_dir(pki->api->ctx) : "";
    char advertised[256];
    char service[ADDRESS_TEXT_BYTES]; /* of kubernetes.default.svc */
    snprintf(p->names, sizeof p->names,
             "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
             "DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:::1");
    address_print(&pki->api->ranges.addresses, 0, service);
    pki_add_name(p, service);
    pki_add_name(p, conf->address);
    if (conf->advertise[0] != 0) {
        if (!pki_host(conf->advertise, advertised, sizeof advertised)) {
            snprintf(e->text, sizeof e->text, "advertise is not host:port: %.200s",
                     conf->advertise);
            return KVP_INVALID;
        }
        pki_add_name(p, advertised);
    }
    p->cert_file = conf->tls_cert_file;
    p->key_file = conf->tls_private_key_file;
    p->client_ca_file = conf->client_ca_file;
    if ((p->cert_file[0] == 0) != (p->key_file[0] == 0)) {
        snprintf(e->text, sizeof e->text, "tls-cert-file and tls-private-key-file come together");
        return KVP_INVALID;
    }
    if (data[0] != 0) {
        int n = snprintf(p->dir, sizeof p->dir, "%s/pki", data);
        int k = snprintf(p->kubeconfig, sizeof p->kubeconfig, "%s/admin.kubeconfig", data);
        if (n >= (int)sizeof p->dir || k >= (int)sizeof p->kubeconfig) {
            snprintf(e->text, sizeof e->text, "the data directory's name is too long");
            return KVP_INVALID;
        }
    }
    return 0;
}

/* ---- what is in force ---------------------------------------------------------------------- */

struct slice pki_server_cert(const struct pki *pki)
{
    return buf_slice(&pki->set.server_cert);
}

struct slice pki_server_key(const struct pki *pki)
{
    return buf_slice(&pki->set.server_key);
}

struct slice pki_token_key(const struct pki *pki)
{
    return buf_slice(&pki->set.sa_key);
}

struct slice pki_client_ca(const struct pki *pki)
{
    return buf_slice(pki->client_ca.len > 0 ? &pki->client_ca : &pki->set.ca_cert);
}

struct slice pki_server_ca(const struct pki *pki)
{
    return buf_slice(pki->plan.cert_file[0] != 0 ? &pki->set.server_cert : &pki->set.ca_cert);
}

bool pki_is_settled(const struct pki *pki)
{
    return pki->settled;
}

/* ---- work ---------------------------------------------------------------------------------- */

static void pki_work_free(struct pki_work *w)
{
    pki_set_close(&w->set);
    buf_close(&w->client_ca);
    buf_close(&w->agreed);
    mem_free(w);
}

/* Reads what flags name again, makes what does not fit, stores it. */
static void pki_work(void *data)
{
    struct pki_work *w = data;
    const struct pki_plan *p = &w->plan;
    if (p->cert_file[0] != 0) {
        buf_clear(&w->set.server_cert);
        buf_clear(&w->set.server_key);
        w->rc = pki_file_read(p->cert_file, &w->set.server_cert, &w->e);
        w->rc = w->rc == 0 ? pki_file_read(p->key_file, &w->set.server_key, &w->e) : w->rc;
    }
    if (w->rc == 0 && p->client_ca_file[0] != 0) {
        w->rc = pki_file_read(p->client_ca_file, &w->client_ca, &w->e);
    }
    w->rc = w->rc == 0 ? pki_set_make(&w->set, p, w->now, &w->e) : w->rc;
    w->rc = w->rc == 0 ? pki_set_store(&w->set, p, buf_slice(&w->agreed), true, &w->e) : w->rc;
}

static bool pki_differs(const struct buf *a, const struct buf *b)
{
    return !slice_eq(buf_slice(a), buf_slice(b));
}

/* Takes over what came out. */
static void pki_put_in_force(struct pki *pki, struct pki_work *w)
{
    struct apiserver *api = pki->api;
    struct kvp_errmsg e = {.text = ""};
    bool port = pki_differs(&pki->set.server_cert, &w->set.server_cert) ||
                pki_differs(&pki->set.server_key, &w->set.server_key) ||
                pki_differs(&pki->set.ca_cert, &w->set.ca_cert) ||
                pki_differs(&pki->client_ca, &w->client_ca);
    bool keys = pki_differs(&pki->set.sa_key, &w->set.sa_key);
    struct pki_set set = pki->set;
    struct buf ca = pki->client_ca;
    pki->set = w->set;
    pki->client_ca = w->client_ca;
    w->set = set;
    w->client_ca = ca;
    if (port && api->listener != NULL && !api->conf->insecure_http) {
        int rc = api->host->http_certificate(api->listener, kvp_of_slice(pki_server_cert(pki)),
                                             kvp_of_slice(pki_server_key(pki)),
                                             kvp_of_slice(pki_client_ca(pki)), &e);
        KVP_LOG(api->host, api->ctx, rc == 0 ? KVP_INFO : KVP_ERROR,
                rc == 0 ? "new certificates" : "new certificates were refused",
                kvp_f_str("why", e.text), kvp_f_int("reason", rc));
    }
    if (keys && issuer_set_own_key(api->issuer, buf_slice(&pki->set.sa_key)) != 0) {
        KVP_LOG(api->host, api->ctx, KVP_ERROR, "the key of tokens could not be changed",
                kvp_f_str("file", "sa.key"));
    }
}

static void pki_worked(void *data, int canceled)
{
    struct pki_work *w = data;
    struct pki *pki = w->pki;
    pki->working = false;
    if (!canceled && w->rc != 0) {
        KVP_LOG(pki->api->host, pki->api->ctx, KVP_ERROR, "certificates stay as they are",
                kvp_f_str("error", w->e.text));
    } else if (!canceled) {
        pki_put_in_force(pki, w);
        pki_end_tell(pki);
        pki->settled = pki->settled || w->adopts;
        if (w->adopts) {
            struct buf agreed = pki->agreed;
            pki->agreed = w->agreed;
            w->agreed = agreed;
        }
    }
    bool failed = !canceled && w->adopts && !pki->settled;
    bool again = !canceled && pki->again;
    pki->again = false;
    pki_work_free(w);
    if (failed) {
        pki_share_later(pki); /* a full disk is still full at once */
    } else if (again) {
        (void)pki_work_begin(pki, &pki->set, false);
    }
}

/* What is to be remembered with a set: that all have it, if they do. */
static bool pki_work_agree(struct pki_work *w, const struct pki *pki)
{
    struct buf bundle;
    if (!w->adopts && !pki->settled) {
        return true;
    }
    buf_init(&bundle);
    bool ok = pki_set_bundle(&w->set, &bundle) && pki_set_agreed(buf_slice(&bundle), &w->agreed);
    buf_close(&bundle);
    return ok;
}

void pki_settle(struct pki *pki)
{
    pki->settled = true;
    pki->unreadable = false;
    /* Which is remembered on disk. */
    pki->again = pki->working;
    if (!pki->working) {
        (void)pki_work_begin(pki, &pki->set, false);
    }
}

bool pki_work_begin(struct pki *pki, const struct pki_set *set, bool adopts)
{
    const struct kvp_host *host = pki->api->host;
    struct pki_work *w = pki->working ? NULL : mem_zalloc(sizeof *w);
    if (w == NULL) {
        return false;
    }
    if (!pki_set_copy(set, &w->set)) {
        mem_free(w);
        return false;
    }
    buf_init(&w->client_ca);
    buf_init(&w->agreed);
    w->pki = pki;
    w->plan = pki->plan;
    w->adopts = adopts;
    w->now = (int64_t)(host->wall_us(pki->api->ctx) / 1000000u);
    if (!pki_work_agree(w, pki) || host->offload(pki->api->ctx, pki_work, pki_worked, w) != 0) {
        pki_work_free(w);
        return false;
    }
    pki->working = true;
    return true;
}

static void pki_look(void *data)
{
    struct pki *pki = data;
    (void)pki_work_begin(pki, &pki->set, false);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int pki_guard(struct pki *pki, struct errmsg *why)
{
    struct buf corrected;
    buf_init(&corrected);
    int rc = pki_set_guard(&pki->plan, &corrected, why);
    if (corrected.len > 0) {
        buf_append_byte(&corrected, 0);
        KVP_LOG(pki->api->host, pki->api->ctx, KVP_WARN,
                "others could use keys of this member: their files are 0600 now",
                kvp_f_str("files", corrected.failed ? "" : (const char *)corrected.data),
                kvp_f_str("folder", pki->plan.dir));
    }
    buf_close(&corrected);
    return rc;
}

int pki_open(struct apiserver *api, struct kvp_errmsg *e)
{
    struct errmsg why = {.text = ""};
    struct pki *pki = mem_zalloc(sizeof *pki);
    if (pki == NULL) {
        snprintf(e->text, sizeof e->text, "out of memory");
        return KVP_NO_MEMORY;
    }
    pki->api = api;
    pki_set_init(&pki->set);
    buf_init(&pki->client_ca);
    buf_init(&pki->agreed);
    api->pki = pki;
    int reason = pki_plan(pki, e);
    if (reason != 0) {
        return reason;
    }
    int64_t now = (int64_t)(api->host->wall_us(api->ctx) / 1000000u);
    int rc = pki_guard(pki, &why);
    rc = rc == 0 ? pki_set_load(&pki->set, &pki->plan, &why) : rc;
    rc = rc == 0 && !pki_set_load_agreed(&pki->plan, &pki->agreed) ? ERR_NOMEM : rc;
    rc = rc == 0 ? pki_set_make(&pki->set, &pki->plan, now, &why) : rc;
    if (rc == 0 && pki->plan.client_ca_file[0] != 0) {
        rc = pki_file_read(pki->plan.client_ca_file, &pki->client_ca, &why);
    }
    if (rc != 0) {
        snprintf(e->text, sizeof e->text, "%.250s", why.text);
        return rc == ERR_NOMEM ? KVP_NO_MEMORY : KVP_INVALID;
    }
    return 0;
}

int pki_store(struct apiserver *api, struct kvp_errmsg *e)
{
    struct pki_plan *p = &api->pki->plan;
    struct errmsg why = {.text = ""};
    const char *address = api->conf->address;
    bool any = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
    if (api->listener == NULL || api->conf->insecure_http) {
        p->url[0] = 0;
    } else if (api->conf->advertise[0] != 0) {
        snprintf(p->url, sizeof p->url, "https://%s", api->conf->advertise);
    } else {
        bool v6 = strchr(address, ':') != NULL && !any;
        snprintf(p->url, sizeof p->url, "https://%s%s%s:%u", v6 ? "[" : "",
                 any ? "127.0.0.1" : address, v6 ? "]" : "", api->port);
    }
    /* Flushing takes longer than a callback may: that is pki_begin's. */
    if (pki_set_store(&api->pki->set, p, slice_of(NULL, 0), false, &why) != 0) {
        snprintf(e->text, sizeof e->text, "%.250s", why.text);
        return KVP_INVALID;
    }
    return 0;
}

void pki_begin(struct apiserver *api)
{
    struct pki *pki = api->pki;
    bool files = pki->plan.cert_file[0] != 0 || pki->plan.client_ca_file[0] != 0;
    uint64_t ms = files ? PKI_LOOK_FILES_MS : PKI_LOOK_OWN_MS;
    struct kvp_timer_args timer = {.size = sizeof timer,
                                   .jitter_percent = 10,
                                   .after_ms = ms,
                                   .repeat_ms = ms,
                                   .fire = pki_look,
                                   .data = pki};
    if (api->host->timer(api->ctx, &timer, NULL) != 0) {
        KVP_LOG(api->host, api->ctx, KVP_ERROR, "certificates will not be renewed",
                kvp_f_str("why", "no timer"));
    }
    pki_end_open(pki);
    pki_end_tell(pki);
    pki_look(pki);
    pki_share(pki);
}

void pki_close(struct apiserver *api)
{
    if (api->pki != NULL) {
        pki_set_close(&api->pki->set);
        buf_close(&api->pki->client_ca);
        buf_close(&api->pki->agreed);
        mem_free(api->pki);
        api->pki = NULL;
    }
}
