/* test_data_dir - layout, lock, version, identity, and creation cut short at every step. */
#include "kvd/data_dir.h"

#include <fcntl.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "kvd/sha1.h"

static char root[64];

static const char *const urls[] = {"http://localhost:2380"};
static const struct data_dir_identity identity = {
    .peer_urls = urls, .peer_url_count = 1, .token = "etcd-cluster"};

static const char *at(const char *name)
{
    static char path[4][256];
    static unsigned next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof(path[0]), "%s/%s", root, name);
    return out;
}

/* `inner` below the directory `name` of the test's root. */
static const char *below(const char *name, const char *inner)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", name, inner);
    return at(path);
}

static void remove_all(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/kvd-test-dir.XXXXXX");
    log_set_level(LOG_FATAL);
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    data_dir_fail_after(0);
    remove_all(root);
    return 0;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void get_file(const char *path, char *text, size_t room)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, room - 1, file)] = '\0';
    fclose(file);
}

static void must_open(struct data_dir *d, const char *path, bool fresh)
{
    struct errmsg e = {""};
    int err = data_dir_open(d, path, &identity, &e);
    if (err != 0) {
        print_message("%s\n", e.text);
    }
    assert_int_equal(err, 0);
    assert_int_equal(d->fresh, fresh);
    assert_true(exists(d->log_dir));
    assert_true(exists(d->db_dir));
}

/* FIPS 180-4's examples, and a length for each position of the padding. */
static void sha1_matches_its_standard(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *hex;
    } rows[] = {
        {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
        {"0123456789012345678901234567890123456789012345678901234",
         "9f3a4ce7f66b1b74c34da2c5d732c39f81e0f8df"},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         "cf0800f7644ace3cb4c3fa33388d3ba0ea3c8b6e"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sha1 s;
        uint8_t digest[SHA1_BYTES];
        char hex[2 * SHA1_BYTES + 1];
        sha1_init(&s);
        for (const char *p = rows[i].text; *p != '\0'; p++) {
            sha1_add(&s, p, 1);
        }
        sha1_end(&s, digest);
        for (int b = 0; b < SHA1_BYTES; b++) {
            snprintf(hex + 2 * b, 3, "%02x", digest[b]);
        }
        assert_string_equal(hex, rows[i].hex);
    }
    struct sha1 s;
    uint8_t digest[SHA1_BYTES];
    static char million[1000000];
    memset(million, 'a', sizeof(million));
    sha1_init(&s);
    sha1_add(&s, million, sizeof(million));
    sha1_end(&s, digest);
    static const uint8_t want[SHA1_BYTES] = {0x34, 0xaa, 0x97, 0x3c, 0xd4, 0xc4, 0xda,
                                             0xa4, 0xf6, 0x1e, 0xeb, 0x2b, 0xdb, 0xad,
                                             0x27, 0x31, 0x65, 0x34, 0x01, 0x6f};
    assert_memory_equal(digest, want, SHA1_BYTES);
}

/* The ids every etcd with default flags has. */
static void ids_are_etcds(void **state)
{
    (void)state;
    uint64_t member = data_dir_member_id(&identity);
    assert_true(member == 0x8e9e05c52164694d);
    assert_true(data_dir_cluster_id(&member, 1) == 0xcdf818194e3a8c32);
    /* The order of URLs does not matter, the token does. */
    static const char *const two[] = {"http://b:1", "http://a:1"};
    static const char *const swapped[] = {"http://a:1", "http://b:1"};
    struct data_dir_identity a = {.peer_urls = two, .peer_url_count = 2, .token = "t"};
    struct data_dir_identity b = {.peer_urls = swapped, .peer_url_count = 2, .token = "t"};
    assert_true(data_dir_member_id(&a) == data_dir_member_id(&b));
    b.token = "u";
    assert_true(data_dir_member_id(&a) != data_dir_member_id(&b));
}

static void a_new_directory_becomes_a_members(void **state)
{
    (void)state;
    struct data_dir d;
    struct errmsg e = {""};
    struct stat st;
    must_open(&d, at("a/b/data"), true);
    assert_int_equal(stat(at("a/b/data"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(at("a/b/data/member"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_true(d.member_id == 0x8e9e05c52164694d);
    assert_true(d.cluster_id == 0xcdf818194e3a8c32);
    assert_true(exists(at("a/b/data/member/new")));
    assert_int_equal(data_dir_finish(&d, &e), 0);
    assert_false(d.fresh);
    assert_false(exists(at("a/b/data/member/new")));
    data_dir_close(&d);

    /* Later flags do not change who it is. */
    static const char *const other[] = {"http://localhost:9999"};
    const struct data_dir_identity changed = {
        .peer_urls = other, .peer_url_count = 1, .token = "x"};
    assert_int_equal(data_dir_open(&d, at("a/b/data"), &changed, &e), 0);
    assert_false(d.fresh);
    assert_true(d.member_id == 0x8e9e05c52164694d);
    data_dir_close(&d);
    /* Closing twice is harmless. */
    data_dir_close(&d);
}

static void an_empty_directory_is_taken(void **state)
{
    (void)state;
    struct data_dir d;
    assert_int_equal(mkdir(at("data"), 0755), 0);
    put_file(at("data/notes.txt"), "mine");
    must_open(&d, at("data"), true);
    data_dir_close(&d);
    assert_true(exists(at("data/notes.txt")));
}

static void a_second_process_is_told_who_holds_it(void **state)
{
    (void)state;
    struct data_dir d;
    struct data_dir second;
    struct errmsg e = {""};
    char want[256];
    must_open(&d, at("data"), true);
    assert_int_equal(data_dir_open(&second, at("data"), &identity, &e), ERR_LOCKED);
    snprintf(want, sizeof(want), "open data directory: %s is already in use by pid %d", at("data"),
             getpid());
    assert_string_equal(e.text, want);
    data_dir_close(&d);
    must_open(&d, at("data"), true);
    data_dir_close(&d);
}

/* A killed process leaves the lock file, not the lock. */
static void a_killed_process_frees_the_lock(void **state)
{
    (void)state;
    struct data_dir d;
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct errmsg e;
        if (data_dir_open(&d, at("data"), &identity, &e) == 0) {
            (void)!write(ready[1], "x", 1);
        }
        for (;;) {
            pause();
        }
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct errmsg e = {""};
    assert_int_equal(data_dir_open(&d, at("data"), &identity, &e), ERR_LOCKED);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    must_open(&d, at("data"), true);
    data_dir_close(&d);
    close(ready[0]);
    close(ready[1]);
}

static void a_newer_format_is_refused(void **state)
{
    (void)state;
    struct data_dir d;
    struct errmsg e = {""};
    must_open(&d, at("data"), true);
    assert_int_equal(data_dir_finish(&d, &e), 0);
    data_dir_close(&d);
    put_file(at("data/member/version"), "kvd-data 2\n");
    assert_int_equal(data_dir_open(&d, at("data"), &identity, &e), ERR_TOO_NEW);
    assert_non_null(strstr(e.text, "written by a newer kvd (format 2, this one knows up to 1)"));
    static const char *const bad[] = {"",         "kvd-data\n",   "kvd-data 1", "kvd-data 0\n",
                                      "etcd 1\n", "kvd-data 1 \n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put_file(at("data/member/version"), bad[i]);
        assert_int_equal(data_dir_open(&d, at("data"), &identity, &e), ERR_DAMAGED);
        assert_non_null(strstr(e.text, "version is damaged"));
    }
    put_file(at("data/member/version"), "kvd-data 1\n");
    must_open(&d, at("data"), false);
    data_dir_close(&d);
}

/* Every bit of the id file counts. */
static void a_flipped_bit_in_the_id_is_found(void **state)
{
    (void)state;
    struct data_dir d;
    struct errmsg e = {""};
    char text[256];
    must_open(&d, at("data"), true);
    assert_int_equal(data_dir_finish(&d, &e), 0);
    data_dir_close(&d);
    get_file(at("data/member/id"), text, sizeof(text));
    size_t n = strlen(text);
    assert_true(n > 60);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        char flipped[256];
        memcpy(flipped, text, n + 1);
        flipped[bit / 8] = (char)(flipped[bit / 8] ^ (1 << bit % 8));
        FILE *file = fopen(at("data/member/id"), "w");
        assert_non_null(file);
        assert_int_equal(fwrite(flipped, 1, n, file), n);
        fclose(file);
        assert_int_equal(data_dir_open(&d, at("data"), &identity, &e), ERR_DAMAGED);
    }
    for (size_t length = 0; length < n; length++) {
        FILE *file = fopen(at("data/member/id"), "w");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, length, file), length);
        fclose(file);
        assert_int_equal(data_dir_open(&d, at("data"), &identity, &e), ERR_DAMAGED);
    }
    put_file(at("data/member/id"), text);
    must_open(&d, at("data"), false);
    data_dir_close(&d);
}

static void missing_parts_of_a_members_directory_are_damage(void **state)
{
    (void)state;
    static const char *const parts[] = {"id", "version", "log", "db"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        struct data_dir d;
        struct errmsg e = {""};
        char path[256];
        char aside[256];
        snprintf(path, sizeof(path), "%s/d%zu/member/%s", root, i, parts[i]);
        snprintf(aside, sizeof(aside), "%s/d%zu/aside", root, i);
        char dir[16];
        snprintf(dir, sizeof(dir), "d%zu", i);
        must_open(&d, at(dir), true);
        assert_int_equal(data_dir_finish(&d, &e), 0);
        put_file(below(dir, "member/log/segment"), "entries");
        data_dir_close(&d);
        assert_int_equal(rename(path, aside), 0);
        assert_int_equal(data_dir_open(&d, at(dir), &identity, &e), ERR_DAMAGED);
        assert_non_null(strstr(e.text, "is missing"));
        assert_non_null(strstr(e.text, parts[i]));
        assert_int_equal(rename(aside, path), 0);
        must_open(&d, at(dir), false);
        data_dir_close(&d);
    }
}

static void what_is_no_data_directory_is_refused(void **state)
{
    (void)state;
    struct data_dir d;
    struct errmsg e = {""};
    put_file(at("file"), "x");
    assert_int_equal(data_dir_open(&d, at("file"), &identity, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "is a file, not a directory"));
    assert_int_equal(data_dir_open(&d, at("file/inside"), &identity, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "a part of this path is a file"));
    /* etcd's own. */
    assert_int_equal(mkdir(at("etcd"), 0700), 0);
    assert_int_equal(mkdir(at("etcd/member"), 0700), 0);
    assert_int_equal(mkdir(at("etcd/member/snap"), 0700), 0);
    put_file(at("etcd/member/snap/db"), "bolt");
    assert_int_equal(data_dir_open(&d, at("etcd"), &identity, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "is an etcd data directory, which kvd cannot import yet"));
    /* Nothing was written into it. */
    assert_false(exists(at("etcd/member/lock")));
}

static void no_permission_says_who_we_are(void **state)
{
    (void)state;
    struct errmsg e = {""};
    char want[64];
    if (geteuid() != 0) {
        assert_int_equal(mkdir(at("closed"), 0500), 0);
        struct data_dir d;
        assert_int_equal(data_dir_open(&d, at("closed/data"), &identity, &e), ERR_IO);
    } else {
        /* Root may write anywhere: a child that is nobody tries. */
        int out[2];
        assert_int_equal(mkdir(at("closed"), 0700), 0);
        assert_int_equal(chmod(root, 0755), 0);
        assert_int_equal(pipe(out), 0);
        pid_t child = fork();
        if (child == 0) {
            struct data_dir d;
            if (setuid(65534) == 0 &&
                data_dir_open(&d, at("closed/data"), &identity, &e) == ERR_IO) {
                (void)!write(out[1], e.text, strlen(e.text));
            }
            _exit(0);
        }
        close(out[1]);
        ssize_t n = read(out[0], e.text, sizeof(e.text) - 1);
        assert_true(n > 0);
        e.text[n] = '\0';
        close(out[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    snprintf(want, sizeof(want), "(this is uid %u)", geteuid() != 0 ? (unsigned)geteuid() : 65534u);
    assert_non_null(strstr(e.text, "permission denied"));
    assert_non_null(strstr(e.text, want));
}

/* Creation dies at step N, for every N; then files appear as a server would have written them
 * before data_dir_finish. The next start must begin again, with nothing of that left, and the same
 * id. */
static void creation_cut_short_begins_again(void **state)
{
    (void)state;
    unsigned step = 1;
    for (;; step++) {
        struct data_dir d;
        struct errmsg e = {""};
        char dir[16];
        snprintf(dir, sizeof(dir), "s%u", step);
        data_dir_fail_after(step);
        int err = data_dir_open(&d, at(dir), &identity, &e);
        if (err == 0) {
            err = data_dir_finish(&d, &e);
            if (err != 0) {
                data_dir_close(&d);
            }
        }
        data_dir_fail_after(0);
        if (err == 0) {
            data_dir_close(&d);
            break;
        }
        assert_int_equal(err, ERR_IO);
        bool finished =
            exists(at(dir)) && exists(below(dir, "member/db")) && !exists(below(dir, "member/new"));
        /* A second crash during the recovery, at each of its steps. */
        for (unsigned inner = 1;; inner++) {
            data_dir_fail_after(inner);
            err = data_dir_open(&d, at(dir), &identity, &e);
            data_dir_fail_after(0);
            if (err == 0) {
                break;
            }
        }
        assert_int_equal(d.fresh, !finished);
        assert_true(d.member_id == 0x8e9e05c52164694d);
        char path[300];
        snprintf(path, sizeof(path), "%s/1", d.db_dir);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof(path), "%s/1/data.mdb", d.db_dir);
        put_file(path, "half");
        snprintf(path, sizeof(path), "%s/0001", d.log_dir);
        put_file(path, "half");
        bool fresh = d.fresh;
        data_dir_close(&d);
        must_open(&d, at(dir), fresh);
        assert_int_equal(exists(path), !fresh);
        if (fresh) {
            assert_int_equal(data_dir_finish(&d, &e), 0);
        }
        data_dir_close(&d);
        must_open(&d, at(dir), false);
        data_dir_close(&d);
    }
    assert_true(step > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_matches_its_standard),
        cmocka_unit_test(ids_are_etcds),
        cmocka_unit_test_setup_teardown(a_new_directory_becomes_a_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_directory_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_process_is_told_who_holds_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_process_frees_the_lock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flipped_bit_in_the_id_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(missing_parts_of_a_members_directory_are_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_data_directory_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_permission_says_who_we_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(creation_cut_short_begins_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
