/* disk_posix.h - struct disk over one directory of a real file system.
 *
 * Writes go through KAIO (O_DIRECT|O_DSYNC, eventfd in the loop) where a probe at start says it
 * works, else through pwrite + fdatasync on one writer thread; creating and removing files always
 * runs on that thread. Nothing blocks the loop except list/read/write_now (start-up, elections). */
#ifndef KVD_RAFT_DISK_POSIX_H
#define KVD_RAFT_DISK_POSIX_H

#include <stdbool.h>

#include <uv.h>

#include "base/err.h"
#include "raft/disk.h"

/* dir exists. force_thread: never KAIO. unsafe_no_fsync: tests and --unsafe-no-fsync. */
int disk_posix_open(uv_loop_t *loop, const char *dir, bool force_thread, bool unsafe_no_fsync,
                    struct disk **out, struct errmsg *e);
/* cb when the thread has ended and all handles are closed; nothing may be in flight. */
void disk_posix_close(struct disk *d, void (*cb)(void *data), void *data);
/* "kaio" or "thread", for the log line at start. */
const char *disk_posix_mode(const struct disk *d);

#endif
