/* disk_posix.c - struct disk over a directory: who does which operation.
 *
 * Creating and removing run on the worker thread. Writes go to the kernel's AIO if the probe liked
 * it, else, and whenever the kernel refuses one or does half of it, to the worker too: pwrite, then
 * fdatasync unless the file is open O_DSYNC. Start-up calls and write_now run here. */
#include "raft/disk_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/disk_files.h"
#include "raft/disk_kaio.h"
#include "raft/disk_worker.h"

struct disk_file {
    int fd;
};

struct disk_posix {
    struct disk disk;
    int dir_fd;
    bool sync;
    bool direct; /* writes through kaio */
    struct disk_worker worker;
    struct disk_kaio kaio;
    struct disk_req *kaio_req;
    unsigned closing; /* handles still to close */
    void (*closed)(void *data);
    void *closed_data;
};

/* Lies in disk_req.impl. */
struct posix_job {
    struct disk_job job;
    struct disk_posix *posix;
    struct disk_file *file;  /* write: target; create: what will be opened */
    struct disk_file **out;  /* create */
    char *names;             /* create, remove: each with its NUL, an empty one ends; owned */
    uint64_t offset_or_size; /* write: offset, create: size */
    const void *bytes;       /* write */
    size_t len;
};
_Static_assert(sizeof(struct posix_job) <= sizeof(((struct disk_req *)0)->impl),
               "a job fits into its request");

static struct disk_posix *posix_of(struct disk *d)
{
    return d->impl;
}

static struct posix_job *posix_job(struct disk_req *req)
{
    return (struct posix_job *)req->impl;
}

static struct disk_req *posix_req(struct disk_job *job)
{
    return LIST_ENTRY(job, struct disk_req, impl);
}

/* ---- synchronous calls ----------------------------------------------------------------------- */

static int posix_list(struct disk *d, void (*name)(void *data, const char *name, uint64_t size),
                      void *data)
{
    return disk_files_list(posix_of(d)->dir_fd, name, data) == 0 ? 0 : ERR_IO;
}

static int posix_read(struct disk *d, const char *name, uint64_t offset, void *out, size_t len,
                      size_t *got)
{
    int error = disk_files_read(posix_of(d)->dir_fd, name, offset, out, len, got);
    if (error != 0) {
        LOG(LOG_ERROR, "cannot read", F_STR("file", name), F_STR("error", strerror(error)));
    }
    return error == 0 ? 0 : ERR_IO;
}

static int posix_write_now(struct disk *d, const char *name, uint64_t offset, const void *bytes,
                           size_t len)
{
    struct disk_posix *p = posix_of(d);
    int error = 0;
    int fd = openat(p->dir_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        error = disk_files_pwrite(fd, offset, bytes, len);
        if (error == 0 && p->sync && fdatasync(fd) != 0) {
            error = errno;
        }
        close(fd);
    } else if (errno == ENOENT && offset == 0) {
        error = disk_files_create(p->dir_fd, name, bytes, len, p->sync);
    } else {
        error = errno;
    }
    if (error != 0) {
        LOG(LOG_ERROR, "cannot write", F_STR("file", name), F_STR("error", strerror(error)));
    }
    return disk_files_err(error);
}

static int posix_open_fd(const struct disk_posix *p, const char *name)
{
    int flags = O_WRONLY | O_CLOEXEC;
    if (p->direct) {
        flags |= O_DIRECT | (p->sync ? O_DSYNC : 0);
    }
    return openat(p->dir_fd, name, flags);
}

static struct disk_file *posix_open(struct disk *d, const char *name)
{
    struct disk_file *f = mem_alloc(sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    f->fd = posix_open_fd(posix_of(d), name);
    if (f->fd < 0) {
        LOG(LOG_ERROR, "cannot open", F_STR("file", name), F_STR("error", strerror(errno)));
        mem_free(f);
        return NULL;
    }
    /* What start-up read stays out of the way of direct writes. */
    posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
    return f;
}

static void posix_close_file(struct disk *d, struct disk_file *f)
{
    (void)d;
    close(f->fd);
    mem_free(f);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void posix_warn(const char *what, const char *name, int error)
{
    if (error != 0) {
        LOG(LOG_WARN, what, F_STR("file", name), F_STR("error", strerror(error)));
    }
}

/* Loop thread: the end of any job. */
static void posix_done(struct disk_job *job)
{
    struct disk_req *req = posix_req(job);
    struct posix_job *pj = posix_job(req);
    if (pj->out != NULL) {
        if (job->err == 0) {
            *pj->out = pj->file;
        } else {
            mem_free(pj->file);
        }
    }
    mem_free(pj->names);
    req->cb(req, job->err);
}

static void posix_fail(struct disk_job *job)
{
    job->err = ERR_NO_SPACE; /* no memory for the request: worth another try later */
}

static struct posix_job *posix_begin(struct disk *d, struct disk_req *req,
                                     void (*work)(struct disk_job *job))
{
    struct posix_job *pj = posix_job(req);
    memset(pj, 0, sizeof *pj);
    pj->posix = posix_of(d);
    pj->job.work = work;
    pj->job.done = posix_done;
    return pj;
}

static void posix_create_work(struct disk_job *job)
{
    struct posix_job *pj = posix_job(posix_req(job));
    struct disk_posix *p = pj->posix;
    int error = disk_files_create(p->dir_fd, pj->names, NULL, pj->offset_or_size, p->sync);
    if (error == 0) {
        pj->file->fd = posix_open_fd(p, pj->names);
        if (pj->file->fd < 0) {
            error = errno;
            disk_files_remove(p->dir_fd, pj->names);
        }
    }
    posix_warn("cannot create", pj->names, error);
    job->err = disk_files_err(error);
}

static void posix_create(struct disk *d, struct disk_req *req, const char *name, uint64_t size,
                         struct disk_file **file)
{
    struct posix_job *pj = posix_begin(d, req, posix_create_work);
    pj->file = mem_alloc(sizeof *pj->file);
    pj->names = mem_strdup(name);
    pj->out = file;
    pj->offset_or_size = size;
    if (pj->file == NULL || pj->names == NULL) {
        pj->job.work = posix_fail;
    }
    disk_worker_submit(&pj->posix->worker, &pj->job);
}

static void posix_remove_work(struct disk_job *job)
{
    struct posix_job *pj = posix_job(posix_req(job));
    struct disk_posix *p = pj->posix;
    int error = 0;
    for (const char *name = pj->names; *name != 0 && error == 0; name += strlen(name) + 1) {
        error = disk_files_remove(p->dir_fd, name);
        posix_warn("cannot remove", name, error);
    }
    error = error != 0 ? error : disk_files_sync_dir(p->dir_fd, p->sync);
    job->err = disk_files_err(error);
}

static char *posix_pack_names(const char *const *names)
{
    size_t bytes = 1;
    for (size_t i = 0; names[i] != NULL; i++) {
        bytes += strlen(names[i]) + 1;
    }
    char *packed = mem_alloc(bytes);
    char *to = packed;
    for (size_t i = 0; packed != NULL && names[i] != NULL; i++) {
        size_t n = strlen(names[i]) + 1;
        memcpy(to, names[i], n);
        to += n;
    }
    if (packed != NULL) {
        *to = 0;
    }
    return packed;
}

static void posix_remove(struct disk *d, struct disk_req *req, const char *const *names)
{
    struct posix_job *pj = posix_begin(d, req, posix_remove_work);
    pj->names = posix_pack_names(names);
    if (pj->names == NULL) {
        pj->job.work = posix_fail;
    }
    disk_worker_submit(&pj->posix->worker, &pj->job);
}

static void posix_write_work(struct disk_job *job)
{
    struct posix_job *pj = posix_job(posix_req(job));
    struct disk_posix *p = pj->posix;
    int error = disk_files_pwrite(pj->file->fd, pj->offset_or_size, pj->bytes, pj->len);
    if (error == 0 && p->sync && !p->direct && fdatasync(pj->file->fd) != 0) {
        error = errno;
    }
    posix_warn("cannot write", "log segment", error);
    job->err = disk_files_err(error);
}

static void posix_write(struct disk *d, struct disk_req *req, struct disk_file *f, uint64_t offset,
                        const void *bytes, size_t len)
{
    struct posix_job *pj = posix_begin(d, req, posix_write_work);
    struct disk_posix *p = pj->posix;
    ASSERT((uintptr_t)bytes % 4096 == 0);
    ASSERT(offset % d->sector_bytes == 0 && len % d->sector_bytes == 0);
    pj->file = f;
    pj->offset_or_size = offset;
    pj->bytes = bytes;
    pj->len = len;
    if (p->direct && disk_kaio_write(&p->kaio, f->fd, offset, bytes, len)) {
        p->kaio_req = req;
        return;
    }
    disk_worker_submit(&p->worker, &pj->job);
}

static void posix_kaio_done(struct disk_kaio *k, long result)
{
    struct disk_posix *p = LIST_ENTRY(k, struct disk_posix, kaio);
    struct disk_req *req = p->kaio_req;
    struct posix_job *pj = posix_job(req);
    p->kaio_req = NULL;
    if (result >= 0 && (size_t)result == pj->len) {
        req->cb(req, 0);
        return;
    }
    if (result >= 0 || result == -EAGAIN || result == -EINTR) {
        disk_worker_submit(&p->worker, &pj->job);
        return;
    }
    posix_warn("cannot write", "log segment", (int)-result);
    req->cb(req, disk_files_err((int)-result));
}

static void posix_forget(struct disk *d, struct disk_req *req)
{
    struct disk_posix *p = posix_of(d);
    struct posix_job *pj = posix_job(req);
    bool ran;
    if (p->kaio_req == req) {
        disk_kaio_forget(&p->kaio);
        p->kaio_req = NULL;
        return;
    }
    if (!disk_worker_forget(&p->worker, &pj->job, &ran)) {
        return;
    }
    if (pj->out != NULL) {
        if (ran && pj->job.err == 0) {
            close(pj->file->fd);
        }
        mem_free(pj->file);
    }
    mem_free(pj->names);
}

/* ---- opening and closing --------------------------------------------------------------------- */

int disk_posix_open(uv_loop_t *loop, const char *dir, bool force_thread, bool unsafe_no_fsync,
                    struct disk **out, struct errmsg *e)
{
    int err = ERR_IO;
    *out = NULL;
    struct disk_posix *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    p->sync = !unsafe_no_fsync;
    p->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->dir_fd < 0) {
        errmsg_set(e, err, "open %s: %s", dir, strerror(errno));
        goto err_after_alloc;
    }
    int error = disk_files_start(p->dir_fd, p->sync);
    if (error != 0) {
        errmsg_set(e, err, "sync %s: %s", dir, strerror(error));
        goto err_after_open;
    }
    uint32_t sector = disk_files_sector(p->dir_fd);
    err = disk_worker_init(&p->worker, loop);
    if (err != 0) {
        errmsg_set(e, err, "cannot watch the disk's thread: too many open files?");
        goto err_after_open;
    }
    uint32_t align =
        force_thread ? 0 : disk_kaio_init(&p->kaio, loop, p->dir_fd, p->sync, posix_kaio_done);
    p->direct = align != 0;
    p->disk = (struct disk){.impl = p,
                            .sector_bytes = p->direct && align > sector ? align : sector,
                            .list = posix_list,
                            .read = posix_read,
                            .write_now = posix_write_now,
                            .open = posix_open,
                            .close = posix_close_file,
                            .create = posix_create,
                            .write = posix_write,
                            .remove = posix_remove,
                            .forget = posix_forget};
    *out = &p->disk;
    return 0;

err_after_open:
    close(p->dir_fd);
err_after_alloc:
    mem_free(p);
    return err;
}

static void posix_closed(struct disk_posix *p)
{
    if (--p->closing > 0) {
        return;
    }
    void (*cb)(void *data) = p->closed;
    void *data = p->closed_data;
    close(p->dir_fd);
    mem_free(p);
    if (cb != NULL) {
        cb(data);
    }
}

static void posix_worker_closed(struct disk_worker *w)
{
    posix_closed(LIST_ENTRY(w, struct disk_posix, worker));
}

static void posix_kaio_closed(struct disk_kaio *k)
{
    posix_closed(LIST_ENTRY(k, struct disk_posix, kaio));
}

void disk_posix_close(struct disk *d, void (*cb)(void *data), void *data)
{
    struct disk_posix *p = posix_of(d);
    p->closed = cb;
    p->closed_data = data;
    p->closing = p->direct ? 2 : 1;
    if (p->direct) {
        disk_kaio_close(&p->kaio, posix_kaio_closed);
    }
    disk_worker_close(&p->worker, posix_worker_closed);
}

const char *disk_posix_mode(const struct disk *d)
{
    const struct disk_posix *p = d->impl;
    return p->direct ? "kaio" : "thread";
}
