/* test_elf.c - this program, cut at many lengths, is never taken for whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "plugins/host/elf.h"

/* A file in memory with these bytes. */
static int file_of(const void *bytes, size_t len)
{
    int fd = memfd_create("elf", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    return fd;
}

static uint8_t *myself(size_t *len)
{
    FILE *f = fopen("/proc/self/exe", "rb");
    assert_non_null(f);
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    *len = (size_t)st.st_size;
    uint8_t *bytes = mem_xalloc(*len);
    assert_int_equal(fread(bytes, 1, *len, f), *len);
    fclose(f);
    return bytes;
}

static void every_shorter_file_lacks_something(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = myself(&len);
    uint64_t needed, there;
    int fd = file_of(bytes, len);
    assert_true(elf_extent(fd, &needed, &there));
    assert_int_equal(there, len);
    assert_true(needed <= len);
    for (size_t cut = needed - 1; cut > 64; cut -= cut / 7 + 1) {
        assert_int_equal(ftruncate(fd, (off_t)cut), 0);
        assert_true(elf_extent(fd, &needed, &there));
        assert_true(there < needed);
    }
    for (size_t cut = 63; cut >= 4; cut--) {
        assert_int_equal(ftruncate(fd, (off_t)cut), 0);
        assert_true(elf_extent(fd, &needed, &there));
        assert_true(there < needed);
    }
    close(fd);
    mem_free(bytes);
}

static void what_is_no_elf_is_left_to_dlopen(void **state)
{
    (void)state;
    uint64_t needed, there;
    const char *const texts[] = {"", "abc", "this is not ELF, and it is longer than any header"};
    for (size_t i = 0; i < 3; i++) {
        int fd = file_of(texts[i], strlen(texts[i]));
        assert_false(elf_extent(fd, &needed, &there));
        close(fd);
    }
    assert_false(elf_extent(-1, &needed, &there));
}

/* Offsets that wrap are beyond any end. */
static void headers_that_lie(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = myself(&len);
    uint64_t needed, there;
    for (size_t at = 24; at < 64; at++) {
        uint8_t was = bytes[at];
        bytes[at] = 0xff;
        int fd = file_of(bytes, len);
        (void)elf_extent(fd, &needed, &there); /* any answer, no crash */
        close(fd);
        bytes[at] = was;
    }
    memset(bytes + 40, 0xff, 8); /* e_shoff of a 64-bit file */
    int fd = file_of(bytes, len);
    assert_true(!elf_extent(fd, &needed, &there) || there < needed);
    close(fd);
    mem_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shorter_file_lacks_something),
        cmocka_unit_test(what_is_no_elf_is_left_to_dlopen),
        cmocka_unit_test(headers_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
