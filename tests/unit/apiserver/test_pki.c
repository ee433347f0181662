/* test_pki.c - the set of keys and certificates on disk: made once, kept, renewed, refused. */
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plugins/apiserver/cert.h"
#include "plugins/apiserver/pki.h"
#include "plugins/apiserver/pki_file.h"
#include "tests/unit/apiserver/fixture.h"

#define NOW   1700000000ll
#define DAY   86400ll
#define NAMES "DNS:localhost,IP:127.0.0.1"

static struct pki_plan plan;
static char folder[64];

/* Instead of libc's: tells what was flushed. */
static unsigned flushes;
static struct buf flushed; /* paths, with blanks around each */

int fsync(int fd)
{
    char link[64];
    char path[PKI_PATH_BYTES];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n > 0) {
        buf_printf(&flushed, " %.*s ", (int)n, path);
    }
    flushes++;
    return (int)syscall(SYS_fsync, fd);
}

static int pki_setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/kvd-test-pki-XXXXXX");
    assert_non_null(mkdtemp(folder));
    plan = (struct pki_plan){.names = NAMES, .cert_file = "", .key_file = "", .client_ca_file = ""};
    snprintf(plan.dir, sizeof plan.dir, "%s/pki", folder);
    snprintf(plan.kubeconfig, sizeof plan.kubeconfig, "%s/admin.kubeconfig", folder);
    snprintf(plan.url, sizeof plan.url, "https://127.0.0.1:6443");
    return setup(state);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    return remove(path);
}

static int pki_teardown(void **state)
{
    buf_close(&flushed);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return teardown(state);
}

/* A start: load, make, store. */
static int start(struct pki_set *s, int64_t now, struct errmsg *e)
{
    pki_set_init(s);
    int rc = pki_set_load(s, &plan, e);
    rc = rc == 0 ? pki_set_make(s, &plan, now, e) : rc;
    return rc == 0 ? pki_set_store(s, &plan, slice_of(NULL, 0), true, e) : rc;
}

static void started(struct pki_set *s, int64_t now)
{
    struct errmsg e = {.text = ""};
    if (start(s, now, &e) != 0) {
        fail_msg("%s", e.text);
    }
}

static bool same(const struct buf *a, const struct buf *b)
{
    return slice_eq(buf_slice(a), buf_slice(b));
}

static void in_pki(const char *name, char out[PKI_PATH_BYTES])
{
    snprintf(out, PKI_PATH_BYTES, "%s/%s", plan.dir, name);
}

static void write_over(const char *name, const char *text)
{
    char path[PKI_PATH_BYTES];
    in_pki(name, path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void the_set_is_made_once(void **state)
{
    struct pki_set first, second;
    struct stat st;
    char path[PKI_PATH_BYTES];
    started(&first, NOW);
    in_pki("ca.key", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(plan.kubeconfig, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    started(&second, NOW + DAY);
    assert_true(same(&first.ca_cert, &second.ca_cert) && same(&first.ca_key, &second.ca_key));
    assert_true(same(&first.server_cert, &second.server_cert));
    assert_true(same(&first.admin_cert, &second.admin_cert));
    assert_true(same(&first.sa_key, &second.sa_key));
    pki_set_close(&first);
    pki_set_close(&second);
}

static void certificates_are_renewed_in_time(void **state)
{
    struct pki_set first, second;
    started(&first, NOW);
    started(&second, NOW + 300 * DAY); /* which leaves 65 days */
    assert_true(same(&first.server_cert, &second.server_cert));
    pki_set_close(&second);
    started(&second, NOW + 310 * DAY);
    assert_false(same(&first.server_cert, &second.server_cert));
    assert_false(same(&first.admin_cert, &second.admin_cert));
    assert_true(same(&first.server_key, &second.server_key));
    assert_true(same(&first.ca_cert, &second.ca_cert));
    pki_set_close(&second);
    /* Other names, another certificate. */
    snprintf(plan.names, sizeof plan.names, NAMES ",DNS:here");
    started(&second, NOW);
    assert_false(same(&first.server_cert, &second.server_cert));
    pki_set_close(&first);
    pki_set_close(&second);
}

static void half_an_authority_is_refused(void **state)
{
    struct pki_set s, other;
    struct errmsg e = {.text = ""};
    char path[PKI_PATH_BYTES];
    started(&s, NOW);
    in_pki("ca.key", path);
    assert_int_equal(unlink(path), 0);
    assert_int_not_equal(start(&other, NOW, &e), 0);
    assert_string_equal(e.text, "ca.crt is there, but not its ca.key");
    pki_set_close(&other);
    write_over("ca.key", "nonsense");
    assert_int_not_equal(start(&other, NOW, &e), 0);
    assert_string_equal(e.text, "ca.crt is not the certificate of ca.key");
    pki_set_close(&other);
    /* A leaf that is spoilt is made again. */
    s.ca_key.data[s.ca_key.len - 1] = '\n';
    FILE *f = fopen(path, "w");
    fwrite(s.ca_key.data, 1, s.ca_key.len, f);
    fclose(f);
    write_over("apiserver.crt", "nonsense");
    write_over("admin.key", "");
    started(&other, NOW);
    assert_true(same(&s.ca_cert, &other.ca_cert));
    assert_true(other.server_cert.len > 100 && other.admin_key.len > 100);
    pki_set_close(&other);
    pki_set_close(&s);
}

static void a_set_is_shared(void **state)
{
    struct fixture *f = *state;
    struct pki_set a, b;
    started(&a, NOW);
    assert_true(pki_set_bundle(&a, &f->out));
    snprintf(plan.dir, sizeof plan.dir, "%s/other", folder);
    started(&b, NOW);
    assert_false(same(&a.ca_cert, &b.ca_cert));
    assert_true(pki_set_unbundle(&b, buf_slice(&f->out)));
    assert_true(same(&a.ca_cert, &b.ca_cert) && same(&a.ca_key, &b.ca_key));
    assert_true(same(&a.sa_key, &b.sa_key));
    /* Its certificates are of the shared authority then. */
    assert_int_equal(pki_set_make(&b, &plan, NOW, &f->e), 0);
    struct crypto_key *key = crypto_key_read(buf_slice(&b.server_key), 0);
    assert_true(cert_fits(buf_slice(&b.server_cert), key, buf_slice(&a.ca_cert), NAMES, NOW));
    crypto_key_free(key);
    /* What is no set changes nothing that would count: it is refused. */
    struct pki_set c;
    assert_true(pki_set_copy(&b, &c));
    assert_false(pki_set_unbundle(&c, slice_str("")));
    assert_false(pki_set_unbundle(&c, slice_of(f->out.data, f->out.len / 2)));
    buf_clear(&f->out);
    buf_append_slice(&f->out, buf_slice(&a.ca_cert));
    buf_append_slice(&f->out, buf_slice(&a.sa_key));
    buf_append_slice(&f->out, buf_slice(&a.ca_key));
    assert_false(pki_set_unbundle(&c, buf_slice(&f->out)));
    pki_set_close(&a);
    pki_set_close(&b);
    pki_set_close(&c);
}

static void write_part(const char *name, const struct buf *b)
{
    char path[PKI_PATH_BYTES];
    in_pki(name, path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    fclose(f);
}

/* Killed between two files of another authority, a member starts with that one. */
static void a_change_cut_short_is_finished(void **state)
{
    struct pki_set own, other, s;
    char dir[sizeof plan.dir];
    memcpy(dir, plan.dir, sizeof dir);
    started(&own, NOW);
    snprintf(plan.dir, sizeof plan.dir, "%s/other", folder);
    started(&other, NOW);
    memcpy(plan.dir, dir, sizeof dir);
    write_part("ca.crt.new", &other.ca_cert);
    write_part("ca.key", &other.ca_key);
    started(&s, NOW);
    assert_true(same(&s.ca_cert, &other.ca_cert) && same(&s.ca_key, &other.ca_key));
    pki_set_close(&s);
    /* It is in place now; what lies beside of another one does not count. */
    write_part("ca.crt.new", &own.ca_cert);
    started(&s, NOW);
    assert_true(same(&s.ca_cert, &other.ca_cert));
    pki_set_close(&s);
    pki_set_close(&own);
    pki_set_close(&other);
}

static void what_cannot_be_written_is_told(void **state)
{
    struct pki_set s;
    struct errmsg e = {.text = ""};
    snprintf(plan.dir, sizeof plan.dir, "%s/no/such/folder", folder);
    assert_int_equal(start(&s, NOW, &e), ERR_IO);
    assert_non_null(strstr(e.text, "/no/such/folder: No such file or directory"));
    pki_set_close(&s);
    /* Nowhere at all: the set is in memory only. */
    plan.dir[0] = 0;
    started(&s, NOW);
    assert_true(s.server_cert.len > 100);
    pki_set_close(&s);
}

static void expect_flushed(const char *path)
{
    char with_blanks[PKI_PATH_BYTES + 2];
    snprintf(with_blanks, sizeof with_blanks, " %s ", path);
    if (memmem(flushed.data, flushed.len, with_blanks, strlen(with_blanks)) == NULL) {
        fail_msg("not flushed: %s", path);
    }
}

/* The lane writes without waiting for the disk; who may wait flushes all of it, also what was there
 * already, and the names of files and of their folder. */
static void all_is_flushed_when_asked(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"ca.crt",    "ca.key",    "apiserver.crt", "apiserver.key",
                                        "admin.crt", "admin.key", "sa.key"};
    struct pki_set s;
    char path[PKI_PATH_BYTES];
    pki_set_init(&s);
    flushes = 0;
    buf_clear(&flushed);
    assert_int_equal(pki_set_make(&s, &plan, NOW, &f->e), 0);
    assert_int_equal(pki_set_store(&s, &plan, slice_of(NULL, 0), false, &f->e), 0);
    assert_int_equal(flushes, 0);
    assert_int_equal(pki_set_store(&s, &plan, slice_str("a\n"), true, &f->e), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        in_pki(names[i], path);
        expect_flushed(path);
    }
    in_pki("shared.new", path); /* before it has its name */
    expect_flushed(path);
    expect_flushed(plan.kubeconfig);
    expect_flushed(plan.dir);
    expect_flushed(folder);
    buf_close(&flushed);
    pki_set_close(&s);
}

static void chmod_part(const char *name, mode_t mode)
{
    char path[PKI_PATH_BYTES];
    in_pki(name, path);
    assert_int_equal(chmod(path, mode), 0);
}

static mode_t mode_of(const char *name)
{
    char path[PKI_PATH_BYTES];
    struct stat st;
    in_pki(name, path);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void keys_are_for_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct pki_set s;
    /* Nothing is there yet: nothing to guard. */
    assert_int_equal(pki_set_guard(&plan, &f->out, &f->e), 0);
    started(&s, NOW);
    pki_set_close(&s);
    assert_int_equal(pki_set_guard(&plan, &f->out, &f->e), 0);
    assert_int_equal(f->out.len, 0);
    chmod_part("ca.key", 0644);
    chmod_part("sa.key", 0660);
    chmod_part("ca.crt", 0666); /* no secret */
    assert_int_equal(chmod(plan.kubeconfig, 0604), 0);
    assert_int_equal(pki_set_guard(&plan, &f->out, &f->e), 0);
    assert_string_equal(text_of(&f->out), "ca.key sa.key admin.kubeconfig");
    assert_int_equal(mode_of("ca.key"), 0600);
    assert_int_equal(mode_of("sa.key"), 0600);
    assert_int_equal(mode_of("ca.crt"), 0666);
    buf_clear(&f->out);
    assert_int_equal(pki_set_guard(&plan, &f->out, &f->e), 0);
    assert_int_equal(f->out.len, 0);
    /* What belongs to somebody else cannot be corrected: only root can make such a file. */
    if (geteuid() == 0) {
        chmod_part("ca.key", 0644);
        assert_int_equal(chmod(plan.dir, 0755), 0);
        assert_int_equal(chmod(folder, 0755), 0);
        assert_int_equal(seteuid(65534), 0);
        int rc = pki_set_guard(&plan, &f->out, &f->e);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(rc, ERR_IO);
        assert_non_null(strstr(f->e.text, "ca.key: others may use this key (mode 644)"));
    }
}

/* Who was changed since all agreed has something new to say; who was not, has not. */
static void what_was_replaced_is_known(void **state)
{
    struct fixture *f = *state;
    struct pki_set a, b;
    struct buf row, agreed, loaded;
    buf_init(&row);
    buf_init(&agreed);
    buf_init(&loaded);
    started(&a, NOW);
    assert_true(pki_set_bundle(&a, &row) && pki_set_agreed(buf_slice(&row), &agreed));
    /* It is on disk behind the files. */
    assert_true(pki_set_load_agreed(&plan, &loaded));
    assert_int_equal(loaded.len, 0);
    assert_int_equal(pki_set_store(&a, &plan, buf_slice(&agreed), true, &f->e), 0);
    assert_true(pki_set_load_agreed(&plan, &loaded));
    assert_true(same(&loaded, &agreed));
    assert_int_equal(mode_of("shared"), 0600);
    /* All the same; then an authority of the operator's. */
    assert_false(pki_set_is_replaced(&a, buf_slice(&agreed), buf_slice(&row)));
    snprintf(plan.dir, sizeof plan.dir, "%s/other", folder);
    started(&b, NOW);
    assert_true(pki_set_is_replaced(&b, buf_slice(&agreed), buf_slice(&row)));
    /* A member that never agreed is a new one: the row counts. */
    assert_false(pki_set_is_replaced(&b, slice_of(NULL, 0), buf_slice(&row)));
    /* Changed here and there: the row counts. */
    buf_append_byte(&row, '\n');
    assert_false(pki_set_is_replaced(&b, buf_slice(&agreed), buf_slice(&row)));
    buf_close(&row);
    buf_close(&agreed);
    buf_close(&loaded);
    pki_set_close(&a);
    pki_set_close(&b);
}

/* Files as operators have them: no end of the last line, the authority before behind the new one.
 */
static void two_authorities_are_shared(void **state)
{
    struct fixture *f = *state;
    struct pki_set a, b, c;
    int64_t end;
    started(&a, NOW);
    snprintf(plan.dir, sizeof plan.dir, "%s/other", folder);
    started(&b, NOW + DAY);
    assert_true(buf_append_slice(&a.ca_cert, buf_slice(&b.ca_cert)));
    a.ca_cert.len--;
    assert_true(pki_set_bundle(&a, &f->out));
    assert_true(pki_set_copy(&b, &c));
    assert_true(pki_set_unbundle(&c, buf_slice(&f->out)));
    assert_true(same(&c.ca_key, &a.ca_key) && same(&c.sa_key, &a.sa_key));
    assert_int_equal(c.ca_cert.len, a.ca_cert.len + 1);
    assert_int_equal(pki_set_make(&c, &plan, NOW, &f->e), 0);
    struct crypto_key *key = crypto_key_read(buf_slice(&c.server_key), 0);
    assert_true(cert_fits(buf_slice(&c.server_cert), key, buf_slice(&a.ca_cert), NAMES, NOW));
    crypto_key_free(key);
    assert_true(cert_end(buf_slice(&c.ca_cert), &end));
    assert_int_equal(end, NOW + 3650 * DAY);
    assert_false(cert_end(slice_str("nothing"), &end));
    /* A key with something behind it would not come apart again: it is written in our form. */
    buf_append_slice(&c.ca_key, buf_slice(&c.ca_cert));
    assert_int_equal(pki_set_make(&c, &plan, NOW, &f->e), 0);
    assert_true(same(&c.ca_key, &a.ca_key));
    pki_set_close(&a);
    pki_set_close(&b);
    pki_set_close(&c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, pki_setup, pki_teardown)
    const struct CMUnitTest tests[] = {
        T(the_set_is_made_once),           T(certificates_are_renewed_in_time),
        T(half_an_authority_is_refused),   T(a_set_is_shared),
        T(what_cannot_be_written_is_told), T(a_change_cut_short_is_finished),
        T(all_is_flushed_when_asked),      T(keys_are_for_nobody_else),
        T(what_was_replaced_is_known),     T(two_authorities_are_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
