/* test_serve_disk - a disk that fills up under the server: the NOSPACE alarm comes before the rows
 * in memory cannot be written any more, and goes when there is room. On a small tmpfs in a mount
 * namespace of its own; skipped where mounting is not permitted. */
#include "serve_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "base/log.h"

#define DISK_MIB      24
#define SEGMENT_BYTES (1024u * 1024u)
#define VALUE_BYTES   60000u
#define PUTS_MAX      1000
#define NOSPACE       1

static char value[VALUE_BYTES + 1];

static void filler_path(const struct fixture *f, char *out, size_t size)
{
    snprintf(out, size, "%.200s/filler", f->dir);
}

/* Takes all but `left` bytes of the disk. */
static void fill_but(const struct fixture *f, uint64_t left)
{
    char path[256];
    filler_path(f, path, sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    off_t at = 0;
    struct statvfs v;
    for (;;) {
        assert_int_equal(fstatvfs(fd, &v), 0);
        if ((uint64_t)v.f_bavail * v.f_frsize <= left) {
            break;
        }
        assert_int_equal(fallocate(fd, 0, at, (off_t)v.f_frsize), 0);
        at += (off_t)v.f_frsize;
    }
    close(fd);
}

static void free_filler(const struct fixture *f)
{
    char path[256];
    filler_path(f, path, sizeof path);
    assert_int_equal(unlink(path), 0);
}

static int disk_setup(void **state)
{
    log_set_level(LOG_FATAL);
    memset(value, 'v', VALUE_BYTES);
    struct fixture *f = fixture_new();
    char size[32];
    snprintf(size, sizeof size, "size=%dm", DISK_MIB);
    *state = f;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", f->dir, "tmpfs", 0, size) != 0) {
        return 0; /* the cases skip: no server is open */
    }
    f->cfg.seal_ms = 50;
    f->cfg.seal_bytes = 4u << 20;
    f->cfg.reserve_bytes = 1u << 20;
    f->cfg.log_segment_bytes = SEGMENT_BYTES;
    fixture_open(f);
    fixture_lead(f);
    run_until(f, &f->ready);
    return 0;
}

static int disk_teardown(void **state)
{
    struct fixture *f = *state;
    if (f->serve != NULL) {
        fixture_close(f);
        umount2(f->dir, MNT_DETACH);
    }
    return fixture_teardown(state);
}

static bool alarm_is(struct fixture *f, bool wanted)
{
    for (int i = 0; i < 1500; i++) {
        if (kv_alarm_active(serve_kv(f->serve), NOSPACE) == wanted) {
            return true;
        }
        run_for(f, 10);
    }
    return false;
}

static int put_number(struct fixture *f, int i)
{
    char key[16];
    snprintf(key, sizeof key, "k%04d", i);
    return put_now(f, key, value, 0, NULL);
}

static void expect_rows(struct fixture *f, int count)
{
    assert_int_equal(range_now(f, "k", "l", true)->count, count);
}

/* A checkpoint reaches this index. */
static void expect_durable(struct fixture *f, uint64_t index)
{
    for (int i = 0; i < 1500 && f->durable < index; i++) {
        run_for(f, 10);
    }
    assert_true(f->durable >= index);
}

/* Fills the disk by writes; everything accepted reaches a checkpoint although no byte is freed. */
static void writes_end_while_memory_still_fits(void **state)
{
    struct fixture *f = *state;
    if (f->serve == NULL) {
        skip();
    }
    fill_but(f, 12u << 20);
    int puts = 0;
    int err = 0;
    while (puts < PUTS_MAX && (err = put_number(f, puts)) == 0) {
        puts++;
    }
    assert_int_equal(err, ERR_NO_SPACE);
    assert_true(puts > 20);
    assert_true(alarm_is(f, true));
    expect_durable(f, f->index);
    expect_rows(f, puts);
    free_filler(f);
    assert_true(alarm_is(f, false));
    assert_int_equal(put_number(f, puts), 0);
    expect_rows(f, puts + 1);
}

/* Somebody else takes the last byte: the checkpoint goes into the reserve, and that is told. */
static void a_used_reserve_raises_the_alarm(void **state)
{
    struct fixture *f = *state;
    if (f->serve == NULL) {
        skip();
    }
    fill_but(f, 0);
    assert_int_equal(put_number(f, 0), 0);
    assert_int_equal(put_number(f, 1), 0);
    uint64_t last = f->index;
    assert_true(alarm_is(f, true));
    expect_durable(f, last);
    assert_int_equal(put_number(f, 2), ERR_NO_SPACE);
    expect_rows(f, 2);
    free_filler(f);
    assert_true(alarm_is(f, false));
    assert_int_equal(put_number(f, 2), 0);
}

/* Under etcd's name the alarm stays until somebody disarms it. */
static void etcds_profile_keeps_the_alarm(void **state)
{
    struct fixture *f = *state;
    if (f->serve == NULL) {
        skip();
    }
    f->cfg.alarm_self_clearing = false;
    fixture_reopen(f);
    fill_but(f, 0);
    assert_int_equal(put_number(f, 0), 0);
    assert_true(alarm_is(f, true));
    free_filler(f);
    run_for(f, 3000);
    assert_true(kv_alarm_active(serve_kv(f->serve), NOSPACE));
    assert_int_equal(put_number(f, 1), ERR_NO_SPACE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_end_while_memory_still_fits, disk_setup,
                                        disk_teardown),
        cmocka_unit_test_setup_teardown(a_used_reserve_raises_the_alarm, disk_setup, disk_teardown),
        cmocka_unit_test_setup_teardown(etcds_profile_keeps_the_alarm, disk_setup, disk_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
