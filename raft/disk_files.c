/* disk_files.c - see disk_files.h. */
#include "raft/disk_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"

#define DISK_NEW_SUFFIX ".new"
#define DISK_ZERO_BYTES (64u * 1024u)
#define DISK_NAME_BYTES 64

int disk_files_err(int error)
{
    switch (error) {
    case 0:
        return 0;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERR_NO_SPACE;
    default:
        return ERR_IO;
    }
}

/* ---- single calls ---------------------------------------------------------------------------- */

int disk_files_pwrite(int fd, uint64_t offset, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    while (len > 0) {
        ssize_t n = pwrite(fd, from, len, (off_t)offset);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n == 0) {
            return EIO;
        }
        if (n > 0) {
            from += n;
            offset += (uint64_t)n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int disk_files_read(int dir_fd, const char *name, uint64_t offset, void *out, size_t len,
                    size_t *got)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    uint8_t *to = out;
    int error = 0;
    *got = 0;
    while (*got < len) {
        ssize_t n = pread(fd, to + *got, len - *got, (off_t)(offset + *got));
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            error = errno;
            break;
        }
        *got += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return error;
}

int disk_files_sync_dir(int dir_fd, bool sync)
{
    return sync && fsync(dir_fd) != 0 ? errno : 0;
}

int disk_files_remove(int dir_fd, const char *name)
{
    return unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT ? errno : 0;
}

/* ---- creating -------------------------------------------------------------------------------- */

static int disk_write_zeros(int fd, uint64_t size)
{
    static const uint8_t zeros[DISK_ZERO_BYTES];
    /* Room in one piece, and a full disk noticed before anything is written. File systems that
     * cannot do it may say so. */
    if (fallocate(fd, 0, 0, (off_t)size) != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        return errno;
    }
    for (uint64_t at = 0; at < size; at += sizeof zeros) {
        uint64_t n = size - at < sizeof zeros ? size - at : sizeof zeros;
        int error = disk_files_pwrite(fd, at, zeros, (size_t)n);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int disk_rename_new(int dir_fd, const char *from, const char *to)
{
    if (renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    /* A file system without that flag: link refuses to replace as well. */
    if (linkat(dir_fd, from, dir_fd, to, 0) != 0) {
        return errno;
    }
    return disk_files_remove(dir_fd, from);
}

int disk_files_create(int dir_fd, const char *name, const void *bytes, uint64_t size, bool sync)
{
    char temporary[DISK_NAME_BYTES];
    if (snprintf(temporary, sizeof temporary, "%s" DISK_NEW_SUFFIX, name) >=
        (int)sizeof temporary) {
        return ENAMETOOLONG;
    }
    int fd = openat(dir_fd, temporary, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    int error =
        bytes == NULL ? disk_write_zeros(fd, size) : disk_files_pwrite(fd, 0, bytes, (size_t)size);
    if (error == 0 && sync && fsync(fd) != 0) {
        error = errno;
    }
    if (error == 0) {
        /* Direct writes would have to throw the pages away one by one. */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    close(fd);
    bool renamed = false;
    if (error == 0) {
        error = disk_rename_new(dir_fd, temporary, name);
        renamed = error == 0;
    }
    error = error != 0 ? error : disk_files_sync_dir(dir_fd, sync);
    if (error != 0) {
        unlinkat(dir_fd, renamed ? name : temporary, 0);
    }
    return error;
}

/* ---- the directory --------------------------------------------------------------------------- */

static bool disk_is_leftover(const char *name)
{
    size_t len = strlen(name);
    size_t suffix = strlen(DISK_NEW_SUFFIX);
    return len > suffix && strcmp(name + len - suffix, DISK_NEW_SUFFIX) == 0;
}

/* Calls `each` for the regular files. */
static int disk_walk(int dir_fd, int (*each)(void *data, const char *name, uint64_t size),
                     void *data)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    int error = 0;
    struct dirent *entry;
    while (error == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        struct stat st;
        if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            error = errno;
        } else if (S_ISREG(st.st_mode)) {
            error = each(data, entry->d_name, (uint64_t)st.st_size);
        }
    }
    if (error == 0 && entry == NULL && errno != 0) {
        error = errno;
    }
    closedir(dir);
    return error;
}

struct disk_lister {
    void (*name)(void *data, const char *name, uint64_t size);
    void *data;
};

static int disk_list_one(void *data, const char *name, uint64_t size)
{
    struct disk_lister *l = data;
    if (!disk_is_leftover(name)) {
        l->name(l->data, name, size);
    }
    return 0;
}

int disk_files_list(int dir_fd, void (*name)(void *data, const char *name, uint64_t size),
                    void *data)
{
    struct disk_lister l = {.name = name, .data = data};
    return disk_walk(dir_fd, disk_list_one, &l);
}

struct disk_starter {
    int dir_fd;
    bool sync;
};

static int disk_start_one(void *data, const char *name, uint64_t size)
{
    struct disk_starter *s = data;
    (void)size;
    if (disk_is_leftover(name)) {
        return disk_files_remove(s->dir_fd, name);
    }
    int fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int error = s->sync && fsync(fd) != 0 ? errno : 0;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return error;
}

int disk_files_start(int dir_fd, bool sync)
{
    struct disk_starter s = {.dir_fd = dir_fd, .sync = sync};
    int error = disk_walk(dir_fd, disk_start_one, &s);
    return error != 0 ? error : disk_files_sync_dir(dir_fd, sync);
}

/* ---- device ---------------------------------------------------------------------------------- */

static uint32_t disk_read_number(const char *path)
{
    char text[32] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

uint32_t disk_files_sector(int dir_fd)
{
    struct stat st;
    char path[PATH_MAX];
    uint32_t bytes = 0;
    if (fstat(dir_fd, &st) == 0) {
        /* A whole device has the queue itself, a partition has it one folder up. */
        for (int up = 0; up < 2 && bytes == 0; up++) {
            snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%squeue/physical_block_size",
                     major(st.st_dev), minor(st.st_dev), up ? "../" : "");
            bytes = disk_read_number(path);
        }
    }
    bool sensible = bytes >= 512 && bytes <= 4096 && (bytes & (bytes - 1)) == 0;
    return sensible ? bytes : 4096;
}
