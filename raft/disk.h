/* disk.h - the disk as the log sees it: a table of operations, so that simulation can tear them.
 *
 * disk_posix.c implements it with files of one directory; tests/sim has one that loses, tears,
 * reorders, delays, fills up and flips. All calls and completions happen on the raft loop thread;
 * an asynchronous call never completes inside itself. Names are plain file names without '/'. */
#ifndef KVD_RAFT_DISK_H
#define KVD_RAFT_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct disk_file; /* an open segment, opaque */

/* One asynchronous operation; embedded by the caller, who keeps it until cb. err: 0, ERR_NO_SPACE
 * (nothing usable was written: may be retried), ERR_IO. */
struct disk_req {
    void *data;
    void (*cb)(struct disk_req *req, int err);
    void *impl[12];
};

struct disk {
    void *impl;
    /* Write granularity of the device in bytes, 512 or 4096: no two records share such a sector,
     * and a crash leaves each sector of a write in flight old or new. */
    uint32_t sector_bytes;

    /* Start-up, synchronous: calls `name` for each file, in any order. 0 or ERR_IO. What list and
     * read show is durable: an implementation that inherits unsynced bytes of a killed process
     * syncs first. */
    int (*list)(struct disk *d, void (*name)(void *data, const char *name, uint64_t size),
                void *data);
    /* Start-up, synchronous: reads up to len bytes at offset; short only at the end of file. */
    int (*read)(struct disk *d, const char *name, uint64_t offset, void *out, size_t len,
                size_t *got);
    /* Synchronous and durable, for term and vote (libraft wants them durable on return) and for
     * start-up. Overwrites bytes inside an existing file: a crash leaves each sector old or new. A
     * new file (offset 0) appears whole, with the directory synced, or not at all. 0, ERR_NO_SPACE,
     * ERR_IO. */
    int (*write_now)(struct disk *d, const char *name, uint64_t offset, const void *bytes,
                     size_t len);
    /* Opens an existing segment for write. NULL on failure. */
    struct disk_file *(*open)(struct disk *d, const char *name);
    void (*close)(struct disk *d, struct disk_file *f);

    /* Creates `name` of `size` bytes, all zeros really written, synced, directory synced; *file is
     * set before cb(0). After a failure there is no such file, after a crash none or the whole one.
     * `name` is copied. */
    void (*create)(struct disk *d, struct disk_req *req, const char *name, uint64_t size,
                   struct disk_file **file);
    /* Durable write. offset and len are multiples of sector_bytes, `bytes` is aligned to 4096 and
     * stays the caller's and unchanged until cb. At most one write is in flight per disk. */
    void (*write)(struct disk *d, struct disk_req *req, struct disk_file *f, uint64_t offset,
                  const void *bytes, size_t len);
    /* Removes files (a NULL-terminated list of names, copied), then syncs the directory. Missing
     * ones are no error. A crash may leave any of them. */
    void (*remove)(struct disk *d, struct disk_req *req, const char *const *names);
    /* The caller of an asynchronous call goes away: its cb is not called any more, and once this
     * returns `req`, `bytes` and `*file` are not touched. The operation happens or not, and a file
     * it would have opened is closed again. May wait for the disk: for closing only. Harmless when
     * req is not in flight. */
    void (*forget)(struct disk *d, struct disk_req *req);
};

#endif
