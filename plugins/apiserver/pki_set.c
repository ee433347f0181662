/* pki_set.c - the set on disk. */
#include "plugins/apiserver/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "plugins/apiserver/cert.h"

#define PKI_FILE_BYTES_MAX (1024u * 1024u)
#define PKI_DAY            86400
#define PKI_CA_SECONDS     (3650ll * PKI_DAY)
#define PKI_CERT_SECONDS   (365ll * PKI_DAY)
#define PKI_RENEW_SECONDS  (60ll * PKI_DAY) /* before the end */
#define PKI_PATH_BYTES     4352u

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

/* ---- files --------------------------------------------------------------------------------- */

int pki_read_file(const char *path, struct buf *out, struct errmsg *e)
{
    uint8_t piece[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int missing = errno == ENOENT;
        return errmsg_set(e, missing ? ERR_NOT_FOUND : ERR_IO, "%.400s: %s", path, strerror(errno));
    }
    int rc = 0;
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            rc = errmsg_set(e, ERR_IO, "%.400s: %s", path, strerror(errno));
        }
        if (n <= 0) {
            break;
        }
        if (!buf_append(out, piece, (size_t)n) || out->len > PKI_FILE_BYTES_MAX) {
            rc = errmsg_set(e, ERR_IO, "%.400s: too large", path);
            break;
        }
    }
    (void)close(fd);
    return rc;
}

static bool pki_write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return fsync(fd) == 0;
}

/* Whole or as it was; nothing when it is so already. */
static int pki_write_file(const char *path, struct slice bytes, mode_t mode, struct errmsg *e)
{
    char temporary[PKI_PATH_BYTES];
    struct buf old;
    struct errmsg ignored;
    buf_init(&old);
    bool same = pki_read_file(path, &old, &ignored) == 0 && slice_eq(buf_slice(&old), bytes);
    buf_close(&old);
    if (same) {
        return 0;
    }
    int n = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof temporary) {
        return errmsg_set(e, ERR_IO, "%.400s: the name is too long", path);
    }
    (void)unlink(temporary); /* of a start that was cut short; it may have another mode */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    bool ok = fd >= 0 && fchmod(fd, mode) == 0 && pki_write_all(fd, bytes);
    int why = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (ok && rename(temporary, path) != 0) {
        ok = false;
        why = errno;
    }
    return ok ? 0 : errmsg_set(e, ERR_IO, "%.400s: %s", path, strerror(why));
}

static int pki_path(const struct pki_plan *p, size_t i, char *out, struct errmsg *e)
{
    int n = snprintf(out, PKI_PATH_BYTES, "%s/%s", p->dir, pki_files[i].name);
    return n > 0 && (size_t)n < PKI_PATH_BYTES
               ? 0
               : errmsg_set(e, ERR_IO, "the data directory's name is too long");
}

int pki_set_load(struct pki_set *s, const struct pki_plan *p, struct errmsg *e)
{
    char path[PKI_PATH_BYTES];
    for (size_t i = 0; i < PKI_PARTS && p->dir[0] != 0; i++) {
        int rc = pki_path(p, i, path, e);
        rc = rc == 0 ? pki_read_file(path, pki_part(s, i), e) : rc;
        if (rc != 0 && rc != ERR_NOT_FOUND) {
            return rc;
        }
    }
    if (p->cert_file[0] == 0) {
        return 0;
    }
    buf_clear(&s->server_cert);
    buf_clear(&s->server_key);
    int rc = pki_read_file(p->cert_file, &s->server_cert, e);
    rc = rc == 0 ? pki_read_file(p->key_file, &s->server_key, e) : rc;
    return rc == 0 ? 0 : ERR_IO;
}

/* ---- making -------------------------------------------------------------------------------- */

/* The key of a PEM text, or a new one, whose text replaces it. NULL: out of memory. */
static struct crypto_key *pki_key(struct buf *pem)
{
    struct crypto_key *k = crypto_key_read(buf_slice(pem), 0);
    if (k != NULL && crypto_key_is_private(k)) {
        return k;
    }
    crypto_key_free(k);
    k = crypto_key_new();
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

static int pki_store_kubeconfig(const struct pki_set *s, const struct pki_plan *p, struct errmsg *e)
{
    struct buf out;
    buf_init(&out);
    buf_append_str(&out, "apiVersion: v1\nkind: Config\nclusters:\n- name: kvd\n  cluster:\n");
    pki_print_data(&out, "certificate-authority-data", &s->ca_cert);
    buf_printf(&out, "    server: %s\n", p->url);
    buf_append_str(&out, "users:\n- name: kubernetes-admin\n  user:\n");
    pki_print_data(&out, "client-certificate-data", &s->admin_cert);
    pki_print_data(&out, "client-key-data", &s->admin_key);
    buf_append_str(&out, "contexts:\n- name: kubernetes-admin@kvd\n  context:\n    cluster: kvd\n"
                         "    user: kubernetes-admin\ncurrent-context: kubernetes-admin@kvd\n");
    int rc = out.failed ? errmsg_set(e, ERR_NOMEM, "out of memory")
                        : pki_write_file(p->kubeconfig, buf_slice(&out), 0600, e);
    buf_close(&out);
    return rc;
}

int pki_set_store(const struct pki_set *set, const struct pki_plan *p, struct errmsg *e)
{
    char path[PKI_PATH_BYTES];
    struct pki_set view = *set;
    int rc = 0;
    if (p->dir[0] == 0) {
        return 0;
    }
    if (mkdir(p->dir, 0700) != 0 && errno != EEXIST) {
        return errmsg_set(e, ERR_IO, "%.400s: %s", p->dir, strerror(errno));
    }
    for (size_t i = 0; i < PKI_PARTS && rc == 0; i++) {
        bool given = p->cert_file[0] != 0 && (i == PKI_SERVER_CERT || i == PKI_SERVER_KEY);
        if (!given && pki_part(&view, i)->len > 0) {
            rc = pki_path(p, i, path, e);
            rc = rc == 0 ? pki_write_file(path, buf_slice(pki_part(&view, i)), pki_files[i].mode, e)
                         : rc;
        }
    }
    bool ours = p->cert_file[0] == 0 && p->client_ca_file[0] == 0;
    return rc == 0 && ours && p->url[0] != 0 ? pki_store_kubeconfig(set, p, e) : rc;
}

/* ---- sharing ------------------------------------------------------------------------------- */

bool pki_set_bundle(const struct pki_set *s, struct buf *out)
{
    buf_append_slice(out, buf_slice(&s->ca_cert));
    buf_append_slice(out, buf_slice(&s->ca_key));
    return buf_append_slice(out, buf_slice(&s->sa_key));
}

/* The text up to the end of the first block with this name, which is taken off. */
static bool pki_take_block(struct slice *text, const char *end, struct buf *out)
{
    size_t n = strlen(end);
    for (size_t i = 0; i + n <= text->len; i++) {
        if (memcmp(text->data + i, end, n) == 0) {
            size_t taken = i + n;
            buf_clear(out);
            buf_append(out, text->data, taken);
            *text = slice_of(text->data + taken, text->len - taken);
            return !out->failed;
        }
    }
    return false;
}

bool pki_set_unbundle(struct pki_set *s, struct slice text)
{
    if (!pki_take_block(&text, "-----END CERTIFICATE-----\n", &s->ca_cert) ||
        !pki_take_block(&text, "-----END PRIVATE KEY-----\n", &s->ca_key) ||
        !pki_take_block(&text, "-----END PRIVATE KEY-----\n", &s->sa_key)) {
        return false;
    }
    struct crypto_key *ca = crypto_key_read(buf_slice(&s->ca_key), 0);
    struct crypto_key *sa = crypto_key_read(buf_slice(&s->sa_key), 0);
    bool ok = ca != NULL && sa != NULL && cert_is_of(buf_slice(&s->ca_cert), ca);
    crypto_key_free(ca);
    crypto_key_free(sa);
    return ok;
}
