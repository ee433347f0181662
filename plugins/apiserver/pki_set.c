/* pki_set.c - the set on disk. */
#include "plugins/apiserver/pki.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "plugins/apiserver/cert.h"
#include "plugins/apiserver/pki_file.h"

#define PKI_DAY           86400
#define PKI_CA_SECONDS    (3650ll * PKI_DAY)
#define PKI_CERT_SECONDS  (365ll * PKI_DAY)
#define PKI_RENEW_SECONDS (60ll * PKI_DAY) /* before the end */

/* ---- sets ---------------------------------------------------------------------------------- */

#define PKI_PARTS 7u
static struct buf *pki_part(struct pki_set *s, size_t i)
{
    struct buf *const parts[PKI_PARTS] = {&s->ca_cert,    &s->ca_key,     &s->server_cert,
                                          &s->server_key, &s->admin_cert, &s->admin_key,
                                          &s->sa_key};
    return parts[i];
}
static const struct {
    const char *name;
    mode_t mode;
} pki_files[PKI_PARTS] = {{"ca.crt", 0644},        {"ca.key", 0600},    {"apiserver.crt", 0644},
                          {"apiserver.key", 0600}, {"admin.crt", 0644}, {"admin.key", 0600},
                          {"sa.key", 0600}};
enum { PKI_CA_CERT, PKI_CA_KEY, PKI_SERVER_CERT, PKI_SERVER_KEY };

void pki_set_init(struct pki_set *s)
{
    for (size_t i = 0; i < PKI_PARTS; i++) {
        buf_init(pki_part(s, i));
    }
}

void pki_set_close(struct pki_set *s)
{
    for (size_t i = 0; i < PKI_PARTS; i++) {
        buf_close(pki_part(s, i));
    }
}

bool pki_set_copy(const struct pki_set *from, struct pki_set *to)
{
    struct pki_set view = *from;
    bool ok = true;
    pki_set_init(to);
    for (size_t i = 0; i < PKI_PARTS; i++) {
        ok = ok && buf_append_slice(pki_part(to, i), buf_slice(pki_part(&view, i)));
    }
    if (!ok) {
        pki_set_close(to);
    }
    return ok;
}

static int pki_path(const struct pki_plan *p, size_t i, char *out, struct errmsg *e)
{
    int n = snprintf(out, PKI_PATH_BYTES, "%s/%s", p->dir, pki_files[i].name);
    return n > 0 && (size_t)n < PKI_PATH_BYTES
               ? 0
               : errmsg_set(e, ERR_IO, "the data directory's name is too long");
}

/* ---- modes ---------------------------------------------------------------------------------- */

int pki_set_guard(const struct pki_plan *p, struct buf *corrected, struct errmsg *e)
{
    char path[PKI_PATH_BYTES];
    for (size_t i = 0; i < PKI_PARTS && p->dir[0] != 0; i++) {
        bool had_to = false;
        int rc = 0;
        if (pki_files[i].mode == 0600) {
            rc = pki_path(p, i, path, e);
            rc = rc == 0 ? pki_file_guard(path, &had_to, e) : rc;
        }
        if (rc != 0) {
            return rc;
        }
        if (had_to) {
            buf_printf(corrected, "%s%s", corrected->len > 0 ? " " : "", pki_files[i].name);
        }
    }
    bool had_to = false;
    int rc = p->dir[0] != 0 ? pki_file_guard(p->kubeconfig, &had_to, e) : 0;
    if (had_to) {
        buf_printf(corrected, "%sadmin.kubeconfig", corrected->len > 0 ? " " : "");
    }
    return rc;
}

/* ---- loading ------------------------------------------------------------------------------- */

/* A start that was cut short while another authority was taken over: its key is in place already,
 * and its certificate lies beside, whole, since all files are written before the first is renamed.
 */
static int pki_load_unfinished(struct pki_set *s, const struct pki_plan *p, struct errmsg *e)
{
    char path[PKI_PATH_BYTES];
    struct crypto_key *key = crypto_key_read(buf_slice(&s->ca_key), 0);
    struct errmsg none;
    struct buf cert;
    int rc = pki_path(p, PKI_CA_CERT, path, e);
    buf_init(&cert);
    if (rc == 0 && key != NULL && !cert_is_of(buf_slice(&s->ca_cert), key) &&
        pki_file_read_new(path, &cert, &none) == 0 && cert_is_of(buf_slice(&cert), key)) {
        buf_close(&s->ca_cert);
        s->ca_cert = cert;
        buf_init(&cert);
    }
    buf_close(&cert);
    crypto_key_free(key);
    return rc;
}

int pki_set_load(struct pki_set *s, const struct pki_plan *p, struct errmsg *e)
{
    char path[PKI_PATH_BYTES];
    for (size_t i = 0; i < PKI_PARTS && p->dir[0] != 0; i++) {
        int rc = pki_path(p, i, path, e);
        rc = rc == 0 ? pki_file_read(path, pki_part(s, i), e) : rc;
        if (rc != 0 && rc != ERR_NOT_FOUND) {
            return rc;
        }
    }
    int rc = p->dir[0] != 0 ? pki_load_unfinished(s, p, e) : 0;
    if (rc != 0 || p->cert_file[0] == 0) {
        return rc;
    }
    buf_clear(&s->server_cert);
    buf_clear(&s->server_key);
    rc = pki_file_read(p->cert_file, &s->server_cert, e);
    rc = rc == 0 ? pki_file_read(p->key_file, &s->server_key, e) : rc;
    return rc == 0 ? 0 : ERR_IO;
}

/* ---- making -------------------------------------------------------------------------------- */

/* Whether a text is one key in the form of ours, and nothing else: only then a bundle can be taken
 * apart again. */
static bool pki_is_plain(struct slice pem)
{
    static const char begin[] = "-----BEGIN PRIVATE KEY-----\n";
    static const char end[] = "-----END PRIVATE KEY-----\n";
    const size_t end_len = sizeof end - 1;
    if (!slice_starts_with(pem, slice_str(begin)) || pem.len < sizeof begin - 1 + end_len) {
        return false;
    }
    const uint8_t *at = memmem(pem.data, pem.len, end, end_len);
    return at != NULL && at + end_len == pem.data + pem.len;
}

/* The key of a PEM text, or a new one, whose text replaces it; so does ours of one that was given
 * in another form. NULL: out of memory. */
static struct crypto_key *pki_key(struct buf *pem)
{
    struct crypto_key *k = crypto_key_read(buf_slice(pem), 0);
    bool there = k != NULL && crypto_key_is_private(k);
    if (there && pki_is_plain(buf_slice(pem))) {
        return k;
    }
    if (!there) {
        crypto_key_free(k);
        k = crypto_key_new();
    }
    buf_clear(pem);
    if (k != NULL && !crypto_key_write(k, false, pem)) {
        crypto_key_free(k);
        k = NULL;
    }
    return k;
}

/* A certificate for w, unless the one there is does. */
static int pki_make_cert(struct pki_set *s, const struct cert_wanted *w,
                         const struct crypto_key *ca_key, struct buf *key_pem, struct buf *cert,
                         struct errmsg *e)
{
    struct crypto_key *key = pki_key(key_pem);
    int rc = key == NULL ? errmsg_set(e, ERR_NOMEM, "a key could not be made") : 0;
    if (rc == 0 && !cert_fits(buf_slice(cert), key, buf_slice(&s->ca_cert), w->names,
                              w->now + PKI_RENEW_SECONDS)) {
        buf_clear(cert);
        rc = cert_make(w, key, buf_slice(&s->ca_cert), ca_key, cert, e);
    }
    crypto_key_free(key);
    return rc;
}

static int pki_make_authority(struct pki_set *s, int64_t now, struct crypto_key **key,
                              struct errmsg *e)
{
    if (s->ca_cert.len > 0 && s->ca_key.len == 0) {
        return errmsg_set(e, ERR_INVALID, "ca.crt is there, but not its ca.key");
    }
    *key = pki_key(&s->ca_key);
    if (*key == NULL) {
        return errmsg_set(e, ERR_NOMEM, "a key could not be made");
    }
    if (s->ca_cert.len > 0) {
        return cert_is_of(buf_slice(&s->ca_cert), *key)
                   ? 0
                   : errmsg_set(e, ERR_INVALID, "ca.crt is not the certificate of ca.key");
    }
    return cert_make_authority(*key, "kubernetes", now, PKI_CA_SECONDS, &s->ca_cert);
}

int pki_set_make(struct pki_set *s, const struct pki_plan *p, int64_t now, struct errmsg *e)
{
    struct crypto_key *ca_key = NULL;
    struct crypto_key *sa_key = NULL;
    const struct cert_wanted server = {
        .user = "kube-apiserver", .names = p->names, .now = now, .seconds = PKI_CERT_SECONDS};
    const struct cert_wanted admin = {.user = "kubernetes-admin",
                                      .groups = {"system:masters"},
                                      .now = now,
                                      .seconds = PKI_CERT_SECONDS};
    int rc = pki_make_authority(s, now, &ca_key, e);
    if (rc == 0 && p->cert_file[0] == 0) {
        rc = pki_make_cert(s, &server, ca_key, &s->server_key, &s->server_cert, e);
    }
    if (rc == 0 && p->client_ca_file[0] == 0) {
        rc = pki_make_cert(s, &admin, ca_key, &s->admin_key, &s->admin_cert, e);
    }
    if (rc == 0) {
        sa_key = pki_key(&s->sa_key);
        rc = sa_key == NULL ? errmsg_set(e, ERR_NOMEM, "a key could not be made") : 0;
    }
    crypto_key_free(ca_key);
    crypto_key_free(sa_key);
    return rc;
}

/* ---- storing ------------------------------------------------------------------------------- */

static void pki_print_data(struct buf *out, const char *name, const struct buf *pem)
{
    struct json j;
    buf_printf(out, "    %s: ", name);
    json_init(&j, out);
    json_base64(&j, buf_slice(pem));
    buf_append_byte(out, '\n');
}

static void pki_print_kubeconfig(const struct pki_set *s, const struct pki_plan *p, struct buf *out)
{
    buf_append_str(out, "apiVersion: v1\nkind: Config\nclusters:\n- name: kvd\n  cluster:\n");
    pki_print_data(out, "certificate-authority-data", &s->ca_cert);
    buf_printf(out, "    server: %s\n", p->url);
    buf_append_str(out, "users:\n- name: kubernetes-admin\n  user:\n");
    pki_print_data(out, "client-certificate-data", &s->admin_cert);
    pki_print_data(out, "client-key-data", &s->admin_key);
    buf_append_str(out, "contexts:\n- name: kubernetes-admin@kvd\n  context:\n    cluster: kvd\n"
                        "    user: kubernetes-admin\ncurrent-context: kubernetes-admin@kvd\n");
}

/* Which files there are to be: at most PKI_PARTS and the kubeconfig. The authority's key before its
 * certificate: that is what pki_load_unfinished expects. */
static int pki_list_files(struct pki_set *set, const struct pki_plan *p, struct slice kubeconfig,
                          struct pki_file *files, size_t *count, struct errmsg *e)
{
    for (size_t n = 0; n < PKI_PARTS; n++) {
        size_t i = n == PKI_CA_CERT ? PKI_CA_KEY : n == PKI_CA_KEY ? PKI_CA_CERT : n;
        bool given = p->cert_file[0] != 0 && (i == PKI_SERVER_CERT || i == PKI_SERVER_KEY);
        if (given || pki_part(set, i)->len == 0) {
            continue;
        }
        struct pki_file *f = &files[(*count)++];
        f->bytes = buf_slice(pki_part(set, i));
        f->mode = pki_files[i].mode;
        int rc = pki_path(p, i, f->path, e);
        if (rc != 0) {
            return rc;
        }
    }
    if (kubeconfig.len > 0) {
        struct pki_file *f = &files[(*count)++];
        f->bytes = kubeconfig;
        f->mode = 0600;
        snprintf(f->path, sizeof f->path, "%s", p->kubeconfig);
    }
    return 0;
}

/* The names of the folder and of what is in it, and what all agreed on, which counts only when the
 * files it is about are there. */
static int pki_store_agreed(const struct pki_plan *p, struct slice agreed, bool flush,
                            struct pki_file *f, struct errmsg *e)
{
    int rc = flush ? pki_file_sync_folder(p->dir, e) : 0;
    if (rc != 0 || agreed.len == 0) {
        return rc;
    }
    *f = (struct pki_file){.bytes = agreed, .mode = 0600};
    int n = snprintf(f->path, sizeof f->path, "%s/" PKI_AGREED, p->dir);
    return n < (int)sizeof f->path ? pki_files_write(f, 1, flush, e)
                                   : errmsg_set(e, ERR_IO, "the data directory's name is too long");
}

int pki_set_store(const struct pki_set *set, const struct pki_plan *p, struct slice agreed,
                  bool flush, struct errmsg *e)
{
    struct pki_set view = *set;
    struct buf kubeconfig;
    size_t count = 0;
    if (p->dir[0] == 0) {
        return 0;
    }
    struct pki_file *files = mem_zalloc((PKI_PARTS + 1) * sizeof *files);
    if (files == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    buf_init(&kubeconfig);
    if (p->cert_file[0] == 0 && p->client_ca_file[0] == 0 && p->url[0] != 0) {
        pki_print_kubeconfig(set, p, &kubeconfig);
    }
    int rc = kubeconfig.failed ? errmsg_set(e, ERR_NOMEM, "out of memory") : 0;
    if (rc == 0 && mkdir(p->dir, 0700) != 0 && errno != EEXIST) {
        rc = errmsg_set(e, ERR_IO, "%.400s: %s", p->dir, strerror(errno));
    }
    rc = rc == 0 ? pki_list_files(&view, p, buf_slice(&kubeconfig), files, &count, e) : rc;
    rc = rc == 0 ? pki_files_write(files, count, flush, e) : rc;
    rc = rc == 0 ? pki_store_agreed(p, agreed, flush, &files[0], e) : rc;
    buf_close(&kubeconfig);
    mem_free(files);
    return rc;
}
