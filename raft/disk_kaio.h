/* disk_kaio.h - one asynchronous direct write at a time through Linux's native AIO.
 *
 * Why: a durable write costs 24 us of CPU this way, 83 through a thread pool (libraft-notes section
 * 5). Whether it works depends on file system, kernel and sandbox, so it is tried before it is
 * used. Loop thread only. */
#ifndef KVD_RAFT_DISK_KAIO_H
#define KVD_RAFT_DISK_KAIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct disk_kaio {
    unsigned long context;
    int event_fd;
    uv_poll_t poll;
    bool busy;
    void (*done)(struct disk_kaio *k, long result); /* bytes written, or -errno */
    void (*closed)(struct disk_kaio *k);
};

/* Tries a direct, synced, asynchronous write of a file in this directory and reads it back; blocks
 * for a few milliseconds: for start-up. dsync: as for the segments. Returns the alignment of
 * offsets it takes (512 to 4096), or 0 when it does not work here or the kernel has no room for
 * another context: then k is as before, and is not closed. */
uint32_t disk_kaio_init(struct disk_kaio *k, uv_loop_t *loop, int dir_fd, bool dsync,
                        void (*done)(struct disk_kaio *k, long result));
/* fd is O_DIRECT. False when the kernel does not take it now: do it another way. */
bool disk_kaio_write(struct disk_kaio *k, int fd, uint64_t offset, const void *bytes, size_t len);
/* Waits for the write in flight; `done` is not called for it. */
void disk_kaio_forget(struct disk_kaio *k);
/* Nothing may be in flight. */
void disk_kaio_close(struct disk_kaio *k, void (*closed)(struct disk_kaio *k));

#endif
