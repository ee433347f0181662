/* pki_file.c - written beside, flushed, renamed. */
#include "plugins/apiserver/pki_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PKI_FILE_BYTES_MAX (1024u * 1024u)

int pki_file_read(const char *path, struct buf *out, struct errmsg *e)
{
    uint8_t piece[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int missing = errno == ENOENT;
        return errmsg_set(e, missing ? ERR_NOT_FOUND : ERR_IO, "%.400s: %s", path, strerror(errno));
    }
    int rc = 0;
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            rc = errmsg_set(e, ERR_IO, "%.400s: %s", path, strerror(errno));
        }
        if (n <= 0) {
            break;
        }
        if (!buf_append(out, piece, (size_t)n) || out->len > PKI_FILE_BYTES_MAX) {
            rc = errmsg_set(e, ERR_IO, "%.400s: too large", path);
            break;
        }
    }
    (void)close(fd);
    return rc;
}

int pki_file_guard(const char *path, bool *corrected, struct errmsg *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;
    *corrected = false;
    if (fd < 0) {
        return 0; /* whoever reads it says why */
    }
    if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0) {
        *corrected = fchmod(fd, st.st_mode & 0700) == 0;
        if (!*corrected) {
            rc = errmsg_set(e, ERR_IO,
                            "%.400s: others may use this key (mode %03o), and it is not ours to "
                            "change: %s",
                            path, (unsigned)st.st_mode & 0777, strerror(errno));
        }
    }
    (void)close(fd);
    return rc;
}

/* The folder a path is in; false: none that has a name. */
static bool pki_file_folder(const char *path, char out[PKI_PATH_BYTES])
{
    snprintf(out, PKI_PATH_BYTES, "%s", path);
    char *slash = strrchr(out, '/');
    if (slash == NULL || slash == out) {
        return false;
    }
    *slash = 0;
    return true;
}

static bool pki_file_write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return true;
}

static bool pki_file_is_so(const struct pki_file *f)
{
    struct buf old;
    struct errmsg ignored;
    buf_init(&old);
    bool same = pki_file_read(f->path, &old, &ignored) == 0 && slice_eq(buf_slice(&old), f->bytes);
    buf_close(&old);
    return same;
}

static void pki_file_temporary(const struct pki_file *f, char out[PKI_PATH_BYTES + 8])
{
    snprintf(out, PKI_PATH_BYTES + 8, "%s.new", f->path);
}

int pki_file_read_new(const char *path, struct buf *out, struct errmsg *e)
{
    char temporary[PKI_PATH_BYTES + 8];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    return pki_file_read(temporary, out, e);
}

int pki_file_sync_folder(const char *path, struct errmsg *e)
{
    char folder[PKI_PATH_BYTES];
    if (!pki_file_folder(path, folder)) {
        return 0;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc =
        fd < 0 || fsync(fd) != 0 ? errmsg_set(e, ERR_IO, "%.400s: %s", folder, strerror(errno)) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

static int pki_file_refuse(const struct pki_file *f, struct errmsg *e)
{
    return errmsg_set(e, ERR_IO, "%.400s: %s", f->path, strerror(errno));
}

static int pki_file_begin(struct pki_file *f, bool flush, struct errmsg *e)
{
    char temporary[PKI_PATH_BYTES + 8];
    f->fd = -1;
    f->replaced = !pki_file_is_so(f);
    if (!f->replaced) {
        /* Whoever wrote it may not have flushed it. */
        f->fd = flush ? open(f->path, O_RDONLY | O_CLOEXEC) : -1;
        return 0;
    }
    pki_file_temporary(f, temporary);
    (void)unlink(temporary); /* of a start that was cut short; it may have another mode */
    f->fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, f->mode);
    if (f->fd < 0 || fchmod(f->fd, f->mode) != 0 || !pki_file_write_all(f->fd, f->bytes)) {
        return pki_file_refuse(f, e);
    }
    return 0;
}

static int pki_file_finish(struct pki_file *f, struct errmsg *e)
{
    char temporary[PKI_PATH_BYTES + 8];
    pki_file_temporary(f, temporary);
    return rename(temporary, f->path) == 0 ? 0 : pki_file_refuse(f, e);
}

int pki_files_write(struct pki_file *files, size_t count, bool flush, struct errmsg *e)
{
    int rc = 0;
    size_t begun = 0;
    for (; begun < count && rc == 0; begun++) {
        rc = pki_file_begin(&files[begun], flush, e);
    }
    for (size_t i = 0; i < begun && rc == 0 && flush; i++) {
        if (files[i].fd >= 0 && fsync(files[i].fd) != 0) {
            rc = pki_file_refuse(&files[i], e);
        }
    }
    for (size_t i = 0; i < begun; i++) {
        if (files[i].fd >= 0) {
            (void)close(files[i].fd);
        }
        if (rc == 0 && files[i].replaced) {
            rc = pki_file_finish(&files[i], e);
        }
        if (rc == 0 && flush) {
            rc = pki_file_sync_folder(files[i].path, e);
        }
    }
    return rc;
}
