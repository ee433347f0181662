/* disk_files.h - the blocking halves of disk_posix: files of one directory, made and removed
 * durably.
 *
 * Every function returns 0 or an errno value. A new file is built under its name with ".new" behind
 * it and renamed when it is whole and synced, so that no crash leaves half of one; what such
 * attempts left is removed at start. sync false: for --unsafe-no-fsync. Any thread. */
#ifndef KVD_RAFT_DISK_FILES_H
#define KVD_RAFT_DISK_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ERR_NO_SPACE for what may pass (room, quota, file descriptors, memory), else ERR_IO; 0 for 0. */
int disk_files_err(int error);

/* Removes left-overs of interrupted creations, makes all there is durable, and drops it from the
 * page cache: what is read afterwards is what the device holds, also after a killed process or a
 * failed sync. */
int disk_files_start(int dir_fd, bool sync);
int disk_files_list(int dir_fd, void (*name)(void *data, const char *name, uint64_t size),
                    void *data);
/* bytes NULL: zeros, really written. Fails with EEXIST when the file exists. */
int disk_files_create(int dir_fd, const char *name, const void *bytes, uint64_t size, bool sync);
int disk_files_remove(int dir_fd, const char *name);
int disk_files_sync_dir(int dir_fd, bool sync);
int disk_files_read(int dir_fd, const char *name, uint64_t offset, void *out, size_t len,
                    size_t *got);
/* All of it, also when the kernel takes it in pieces. */
int disk_files_pwrite(int fd, uint64_t offset, const void *bytes, size_t len);
/* The device's physical sector, 512 to 4096: what it writes as a whole. 4096 when unknown. */
uint32_t disk_files_sector(int dir_fd);

#endif
