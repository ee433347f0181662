/* disk_kaio.c - io_submit with an eventfd in the loop, and the probe. */
#include "raft/disk_kaio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

/* libaio would be one more package for four system calls. */
static long kaio_setup(unsigned events, unsigned long *context)
{
    return syscall(SYS_io_setup, events, context);
}

static long kaio_submit(unsigned long context, struct iocb *cb)
{
    return syscall(SYS_io_submit, context, 1, &cb);
}

static long kaio_events(unsigned long context, long min, struct io_event *event,
                        struct timespec *timeout)
{
    return syscall(SYS_io_getevents, context, min, 1, event, timeout);
}

static struct iocb kaio_write_block(int fd, uint64_t offset, const void *bytes, size_t len)
{
    struct iocb cb;
    memset(&cb, 0, sizeof cb);
    cb.aio_lio_opcode = IOCB_CMD_PWRITE;
    cb.aio_fildes = (uint32_t)fd;
    cb.aio_buf = (uint64_t)(uintptr_t)bytes;
    cb.aio_nbytes = len;
    cb.aio_offset = (int64_t)offset;
    return cb;
}

/* ---- probe ----------------------------------------------------------------------------------- */

#define PROBE_NAME    "probe.new"
#define PROBE_BYTES   16384u
#define PROBE_SECONDS 10

/* What the kernel says about direct I/O on this file: 0 = not at all, UINT32_MAX = it does not say.
 */
static uint32_t probe_alignment(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx st;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 && (st.stx_mask & STATX_DIOALIGN)) {
        return st.stx_dio_mem_align > 4096 ? 0 : st.stx_dio_offset_align;
    }
#else
    (void)fd;
#endif
    return UINT32_MAX;
}

/* Writes `len` bytes at offset `len`, reads the file back through the page cache and compares. */
static bool probe_write(unsigned long context, int fd, int plain_fd, size_t len)
{
    static uint8_t pattern[4096] __attribute__((aligned(4096)));
    uint8_t back[2 * 4096];
    struct io_event event;
    struct timespec limit = {.tv_sec = PROBE_SECONDS};
    for (size_t i = 0; i < len; i++) {
        pattern[i] = (uint8_t)(i * 7 + len / 512);
    }
    struct iocb cb = kaio_write_block(fd, len, pattern, len);
    if (kaio_submit(context, &cb) != 1) {
        return false;
    }
    if (kaio_events(context, 1, &event, &limit) != 1 || event.res != (int64_t)len) {
        return false;
    }
    return pread(plain_fd, back, 2 * len, 0) == (ssize_t)(2 * len) &&
           memcmp(back + len, pattern, len) == 0;
}

static uint32_t probe_files(unsigned long context, int dir_fd, int fd, bool dsync)
{
    static const uint8_t zeros[PROBE_BYTES];
    if (pwrite(fd, zeros, sizeof zeros, 0) != (ssize_t)sizeof zeros || (dsync && fsync(fd) != 0)) {
        return 0;
    }
    int flags = O_WRONLY | O_DIRECT | O_CLOEXEC | (dsync ? O_DSYNC : 0);
    int direct = openat(dir_fd, PROBE_NAME, flags);
    if (direct < 0) {
        return 0;
    }
    uint32_t align = probe_alignment(fd);
    uint32_t works = 0;
    for (uint32_t try = 512; try <= 4096 && works == 0; try *= 2) {
        if (align == 0 || (align != UINT32_MAX && try % align != 0)) {
            continue;
        }
        works = probe_write(context, direct, fd, try) ?
        try:
            0;
    }
    close(direct);
    return works;
}

/* The alignment of offsets the directory's files take (512 to 4096), 0 when it does not work. */
static uint32_t probe_dir(unsigned long context, int dir_fd, bool dsync)
{
    uint32_t align = 0;
    int fd = openat(dir_fd, PROBE_NAME, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        align = probe_files(context, dir_fd, fd, dsync);
        close(fd);
        unlinkat(dir_fd, PROBE_NAME, 0);
    }
    return align;
}

/* ---- use ------------------------------------------------------------------------------------- */

static void kaio_on_event(uv_poll_t *poll, int status, int events)
{
    struct disk_kaio *k = poll->data;
    uint64_t count;
    struct io_event event;
    struct timespec now = {0};
    (void)status;
    (void)events;
    if (read(k->event_fd, &count, sizeof count) != (ssize_t)sizeof count || !k->busy ||
        kaio_events(k->context, 0, &event, &now) != 1) {
        return;
    }
    k->busy = false;
    uv_unref((uv_handle_t *)&k->poll);
    k->done(k, (long)event.res);
}

uint32_t disk_kaio_init(struct disk_kaio *k, uv_loop_t *loop, int dir_fd, bool dsync,
                        void (*done)(struct disk_kaio *k, long result))
{
    k->context = 0;
    k->busy = false;
    k->done = done;
    if (kaio_setup(1, &k->context) != 0) {
        return 0;
    }
    /* The context that was tried is the one that is used: destroying one takes 10 to 30 ms. */
    uint32_t align = probe_dir(k->context, dir_fd, dsync);
    if (align == 0) {
        goto err_after_setup;
    }
    k->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (k->event_fd < 0) {
        goto err_after_setup;
    }
    if (uv_poll_init(loop, &k->poll, k->event_fd) != 0) {
        goto err_after_event_fd;
    }
    k->poll.data = k;
    uv_poll_start(&k->poll, UV_READABLE, kaio_on_event);
    uv_unref((uv_handle_t *)&k->poll);
    return align;

err_after_event_fd:
    close(k->event_fd);
err_after_setup:
    syscall(SYS_io_destroy, k->context);
    return 0;
}

bool disk_kaio_write(struct disk_kaio *k, int fd, uint64_t offset, const void *bytes, size_t len)
{
    ASSERT(!k->busy);
    struct iocb cb = kaio_write_block(fd, offset, bytes, len);
    cb.aio_flags = IOCB_FLAG_RESFD;
    cb.aio_resfd = (uint32_t)k->event_fd;
    if (kaio_submit(k->context, &cb) != 1) {
        return false;
    }
    k->busy = true;
    uv_ref((uv_handle_t *)&k->poll);
    return true;
}

void disk_kaio_forget(struct disk_kaio *k)
{
    struct io_event event;
    uint64_t count;
    if (!k->busy) {
        return;
    }
    while (kaio_events(k->context, 1, &event, NULL) != 1) {
        FATAL_IF(errno != EINTR, "cannot wait for a disk write");
    }
    (void)!read(k->event_fd, &count, sizeof count);
    k->busy = false;
    uv_unref((uv_handle_t *)&k->poll);
}

static void kaio_on_closed(uv_handle_t *handle)
{
    struct disk_kaio *k = handle->data;
    close(k->event_fd);
    syscall(SYS_io_destroy, k->context);
    k->closed(k);
}

void disk_kaio_close(struct disk_kaio *k, void (*closed)(struct disk_kaio *k))
{
    FATAL_IF(k->busy, "the disk is closed with a write under way");
    k->closed = closed;
    uv_close((uv_handle_t *)&k->poll, kaio_on_closed);
}
