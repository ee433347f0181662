/* config_tls.c - the TLS flags: what they may be together, and what they mean for the listeners
 * (contract 9.1, F-07, H-08). The sentences are etcd's. */
#include <stdio.h>
#include <string.h>

#include "kvd/config_resolve.h"

static const char *config_text(const struct flag_values *f, enum flag_id id)
{
    return f->values[id].text;
}

static bool config_empty(const struct flag_values *f, enum flag_id id)
{
    return *config_text(f, id) == '\0';
}

/* 0 = empty, 2 = TLS1.2, 3 = TLS1.3, -1 = neither. */
static int config_tls_version(const char *word)
{
    if (*word == '\0') {
        return 0;
    }
    return strcmp(word, "TLS1.2") == 0 ? 2 : strcmp(word, "TLS1.3") == 0 ? 3 : -1;
}

int config_validate_tls(const struct flag_values *f, struct errmsg *e)
{
    const char *low = config_text(f, FLAG_tls_min_version);
    const char *high = config_text(f, FLAG_tls_max_version);
    int oldest = config_tls_version(low);
    int newest = config_tls_version(high);
    if (oldest < 0 || newest < 0) {
        return errmsg_set(e, ERR_INVALID,
                          "unexpected TLS version \"%s\" (must be one of TLS1.2, "
                          "TLS1.3)",
                          oldest < 0 ? low : high);
    }
    if (newest != 0 && oldest > newest) {
        return errmsg_set(e, ERR_INVALID, "min version (%s) is greater than max version (%s)", low,
                          high);
    }
    if (oldest == 3 && !config_empty(f, FLAG_cipher_suites)) {
        return errmsg_set(e, ERR_INVALID,
                          "cipher suites cannot be configured when only TLS1.3 is enabled");
    }
    if (!config_empty(f, FLAG_peer_cert_allowed_cn) &&
        !config_empty(f, FLAG_peer_cert_allowed_hostname)) {
        return errmsg_set(e, ERR_INVALID,
                          "AllowedCNs and AllowedHostnames are mutually exclusive: "
                          "--peer-cert-allowed-cn=%s, --peer-cert-allowed-hostname=%s",
                          config_text(f, FLAG_peer_cert_allowed_cn),
                          config_text(f, FLAG_peer_cert_allowed_hostname));
    }
    return 0;
}

static bool config_is_secure(const struct kvd_url *url)
{
    return url->scheme == KVD_HTTPS || url->scheme == KVD_UNIXS;
}

/* Files that no listener of these uses are told of: whoever set them expects them to matter. */
static void config_warn_unused(const struct kvd_urls *urls, const struct flag_values *f,
                               void (*warn)(void *data, const char *text), void *data)
{
    char text[512];
    for (size_t i = 0; i < urls->count; i++) {
        const char *what = NULL;
        if (config_is_secure(&urls->urls[i])) {
            continue;
        }
        if (f->values[FLAG_client_cert_auth].v.b || !config_empty(f, FLAG_trusted_ca_file)) {
            what = "--client-cert-auth and --trusted-ca-file mean nothing for it";
        } else if (!config_empty(f, FLAG_cert_file) || !config_empty(f, FLAG_key_file)) {
            what = "--cert-file and --key-file mean nothing for it";
        }
        if (what != NULL) {
            snprintf(text, sizeof(text), "%.300s is a URL without TLS: %s", urls->urls[i].text,
                     what);
            warn(data, text);
        }
    }
}

static int config_need_files(const struct flag_values *f, const struct kvd_urls *urls, bool metrics,
                             bool *needed, struct errmsg *e)
{
    bool cert = !config_empty(f, FLAG_cert_file);
    bool key = !config_empty(f, FLAG_key_file);
    for (size_t i = 0; i < urls->count; i++) {
        if (!config_is_secure(&urls->urls[i])) {
            continue;
        }
        *needed = true;
        if (!cert && !key && metrics) {
            return errmsg_set(e, ERR_INVALID,
                              "client TLS key/cert (--cert-file, --key-file) must be provided for "
                              "metrics secure url %s",
                              urls->urls[i].text);
        }
        if (!cert && !key) {
            return errmsg_set(e, ERR_INVALID,
                              "TLS key/cert (--cert-file, --key-file) must be provided for client "
                              "url %s with HTTPS scheme",
                              urls->urls[i].text);
        }
        if (!cert || !key) {
            return errmsg_set(
                e, ERR_INVALID,
                "KeyFile and CertFile must both be present[key: %.200s, cert: %.200s]",
                config_text(f, FLAG_key_file), config_text(f, FLAG_cert_file));
        }
    }
    return 0;
}

static const char *config_file_name(struct kvd_config *cfg, const struct flag_values *f,
                                    enum flag_id id, bool *ok)
{
    const char *text = config_text(f, id);
    if (*text == '\0') {
        return NULL;
    }
    const char *copy = (const char *)arena_dup(&cfg->arena, slice_of(text, strlen(text) + 1)).data;
    *ok = *ok && copy != NULL;
    return copy;
}

int config_resolve_tls(struct kvd_config *cfg, const struct flag_values *f,
                       void (*warn)(void *data, const char *text), void *data, struct errmsg *e)
{
    int err = config_need_files(f, &cfg->listen_client, false, &cfg->tls, e);
    if (err == 0) {
        err = config_need_files(f, &cfg->listen_metrics, true, &cfg->tls, e);
    }
    if (err != 0) {
        return err;
    }
    config_warn_unused(&cfg->listen_client, f, warn, data);
    if (!cfg->tls) {
        return 0;
    }
    bool ok = true;
    cfg->cert_file = config_file_name(cfg, f, FLAG_cert_file, &ok);
    cfg->key_file = config_file_name(cfg, f, FLAG_key_file, &ok);
    cfg->trusted_ca_file = config_file_name(cfg, f, FLAG_trusted_ca_file, &ok);
    cfg->cipher_suites = config_words(cfg, config_text(f, FLAG_cipher_suites));
    ok = ok && cfg->cipher_suites != NULL;
    cfg->client_cert_required =
        f->values[FLAG_client_cert_auth].v.b || cfg->trusted_ca_file != NULL;
    /* 2 and 3 are the minor numbers; config_validate_tls has seen them. */
    int oldest = config_tls_version(config_text(f, FLAG_tls_min_version));
    int newest = config_tls_version(config_text(f, FLAG_tls_max_version));
    cfg->tls_version_min = oldest == 3 ? 13 : 12;
    cfg->tls_version_max = newest == 0 ? 0 : 10 + newest;
    return ok ? 0 : errmsg_set(e, ERR_NOMEM, "out of memory");
}
