/* data_dir.c - the directory a member lives in; see data_dir.h for layout and order of creation.
 *
 * Files are made durable by write to a temporary name, sync, rename, sync of the directory, so each
 * exists whole or not at all. */
#include "kvd/data_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "kvd/sha1.h"

/* Nothing below member/ is deeper than db/<generation>/<file>. */
#define DATA_DIR_DEPTH_MAX 4

/* ---- ids
 * ----------------------------------------------------------------------------------------- */

static int data_dir_order_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int data_dir_order_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t data_dir_digest(struct sha1 *s)
{
    uint8_t digest[SHA1_BYTES];
    sha1_end(s, digest);
    return bytes_be64(digest);
}

uint64_t data_dir_member_id(const struct data_dir_identity *identity)
{
    struct sha1 s;
    sha1_init(&s);
    const char **sorted = mem_xalloc((identity->peer_url_count + 1) * sizeof(*sorted));
    for (size_t i = 0; i < identity->peer_url_count; i++) {
        sorted[i] = identity->peer_urls[i];
    }
    qsort(sorted, identity->peer_url_count, sizeof(*sorted), data_dir_order_text);
    for (size_t i = 0; i < identity->peer_url_count; i++) {
        sha1_add(&s, sorted[i], strlen(sorted[i]));
    }
    mem_free(sorted);
    sha1_add(&s, identity->token, strlen(identity->token));
    return data_dir_digest(&s);
}

uint64_t data_dir_cluster_id(const uint64_t *member_ids, size_t count)
{
    struct sha1 s;
    sha1_init(&s);
    uint64_t *sorted = mem_xalloc((count + 1) * sizeof(*sorted));
    memcpy(sorted, member_ids, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), data_dir_order_id);
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[8];
        bytes_put_be64(bytes, sorted[i]);
        sha1_add(&s, bytes, sizeof(bytes));
    }
    mem_free(sorted);
    return data_dir_digest(&s);
}

/* ---- small durable steps
 * ------------------------------------------------------------------------- */

static _Thread_local unsigned data_dir_steps_left;

void data_dir_fail_after(unsigned steps)
{
    data_dir_steps_left = steps;
}

/* True when the test wants this step to fail, as a crash would end everything here. */
static bool data_dir_fault(void)
{
    if (data_dir_steps_left == 0 || --data_dir_steps_left > 0) {
        return false;
    }
    errno = EIO;
    return true;
}

/* The sentence for errno about a path, with what an operator can do. */
static int data_dir_errno(struct errmsg *e, const char *doing, const char *path)
{
    int saved = errno;
    switch (saved) {
    case ENOSPC:
    case EDQUOT:
        return errmsg_set(e, ERR_NO_SPACE,
                          "%s %s: the disk is full: free some space, or choose a --data-dir on "
                          "another disk",
                          doing, path);
    case EACCES:
    case EPERM:
        return errmsg_set(
            e, ERR_IO,
            "%s %s: permission denied: run as the owner of the directory (this is uid "
            "%u), or choose another --data-dir",
            doing, path, (unsigned)geteuid());
    case EROFS:
        return errmsg_set(e, ERR_IO,
                          "%s %s: the file system is read-only: choose another --data-dir", doing,
                          path);
    case ENOTDIR:
        return errmsg_set(e, ERR_INVALID, "%s %s: a part of this path is a file, not a directory",
                          doing, path);
    default:
        return errmsg_set(e, ERR_IO, "%s %s: %s", doing, path, strerror(saved));
    }
}

static int data_dir_sync(const char *path, struct errmsg *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return data_dir_errno(e, "open", path);
    }
    int err = data_dir_fault() || fsync(fd) != 0 ? data_dir_errno(e, "sync", path) : 0;
    close(fd);
    return err;
}

/* mkdir -p with mode 0700; each directory made is synced into its parent. */
static int data_dir_make(const char *path, struct errmsg *e)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            return 0;
        }
        return errmsg_set(e, ERR_INVALID,
                          "%s is a file, not a directory: choose another --data-dir", path);
    }
    if (errno != ENOENT) {
        return data_dir_errno(e, "look at", path);
    }
    char *parent = mem_strdup(path);
    if (parent == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/') {
        n--;
    }
    while (n > 0 && parent[n - 1] != '/') {
        n--;
    }
    parent[n] = '\0';
    int err = n > 1 ? data_dir_make(parent, e) : 0;
    if (err == 0 && (data_dir_fault() || (mkdir(path, 0700) != 0 && errno != EEXIST))) {
        err = data_dir_errno(e, "create", path);
    }
    if (err == 0) {
        err = data_dir_sync(n > 0 ? parent : ".", e);
    }
    mem_free(parent);
    return err;
}

static char *data_dir_join(const char *dir, const char *name)
{
    size_t room = strlen(dir) + strlen(name) + 2;
    char *path = mem_alloc(room);
    if (path != NULL) {
        snprintf(path, room, "%s/%s", dir, name);
    }
    return path;
}

static bool data_dir_write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Writes member/<name> durably. */
static int data_dir_write(const struct data_dir *d, const char *name, const char *text,
                          struct errmsg *e)
{
    char *path = data_dir_join(d->member_dir, name);
    char *temporary = data_dir_join(d->member_dir, "write.tmp");
    int err = 0;
    int fd = -1;
    if (path == NULL || temporary == NULL) {
        err = errmsg_set(e, ERR_NOMEM, "out of memory");
        goto out;
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || data_dir_fault() || !data_dir_write_all(fd, text) || fsync(fd) != 0) {
        err = data_dir_errno(e, "write", path);
        goto out;
    }
    if (data_dir_fault() || rename(temporary, path) != 0) {
        err = data_dir_errno(e, "write", path);
        goto out;
    }
    err = data_dir_sync(d->member_dir, e);
out:
    if (fd >= 0) {
        close(fd);
    }
    mem_free(temporary);
    mem_free(path);
    return err;
}

/* Reads member/<name>, at most room - 1 bytes, NUL-terminated. *exists is false when it is not
 * there. */
static int data_dir_read(const struct data_dir *d, const char *name, char *out, size_t room,
                         bool *exists, struct errmsg *e)
{
    char *path = data_dir_join(d->member_dir, name);
    *exists = false;
    out[0] = '\0';
    if (path == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    int err = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err = errno == ENOENT ? 0 : data_dir_errno(e, "open", path);
    } else {
        ssize_t n = read(fd, out, room - 1);
        *exists = true;
        if (n < 0) {
            err = data_dir_errno(e, "read", path);
        } else {
            out[n] = '\0';
        }
        close(fd);
    }
    mem_free(path);
    return err;
}

static bool data_dir_has(const char *dir, const char *name)
{
    struct stat st;
    char *path = data_dir_join(dir, name);
    bool found = path != NULL && lstat(path, &st) == 0;
    mem_free(path);
    return found;
}

/* True when the directory has entries; a missing one has none. */
static bool data_dir_filled(const char *path)
{
    DIR *dir = opendir(path);
    bool filled = false;
    if (dir == NULL) {
        return errno != ENOENT;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        filled = filled || (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0);
    }
    closedir(dir);
    return filled;
}

/* Removes everything inside a directory. */
static int data_dir_empty(const char *path, int depth, struct errmsg *e)
{
    DIR *dir = opendir(path);
    int err = 0;
    if (dir == NULL) {
        return errno == ENOENT ? 0 : data_dir_errno(e, "open", path);
    }
    for (struct dirent *entry = readdir(dir); err == 0 && entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        struct stat st;
        char *inner = data_dir_join(path, entry->d_name);
        if (inner == NULL) {
            err = errmsg_set(e, ERR_NOMEM, "out of memory");
        } else if (data_dir_fault() || lstat(inner, &st) != 0) {
            err = data_dir_errno(e, "look at", inner);
        } else if (S_ISDIR(st.st_mode)) {
            err = depth < DATA_DIR_DEPTH_MAX
                      ? data_dir_empty(inner, depth + 1, e)
                      : errmsg_set(e, ERR_DAMAGED, "%s: unexpectedly deep directory", inner);
            if (err == 0 && rmdir(inner) != 0) {
                err = data_dir_errno(e, "remove", inner);
            }
        } else if (unlink(inner) != 0) {
            err = data_dir_errno(e, "remove", inner);
        }
        mem_free(inner);
    }
    closedir(dir);
    return err == 0 ? data_dir_sync(path, e) : err;
}

/* ---- lock
 * ---------------------------------------------------------------------------------------- */

static int data_dir_lock(struct data_dir *d, struct errmsg *e)
{
    char text[32] = "";
    char *path = data_dir_join(d->member_dir, "lock");
    int err = 0;
    if (path == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0) {
        err = data_dir_errno(e, "open", path);
        goto out;
    }
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            err = data_dir_errno(e, "lock", path);
            goto out;
        }
        ssize_t n = pread(d->lock_fd, text, sizeof(text) - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        long pid = strtol(text, NULL, 10);
        err = pid > 0
                  ? errmsg_set(e, ERR_LOCKED, "%s is already in use by pid %ld", d->path, pid)
                  : errmsg_set(e, ERR_LOCKED, "%s is already in use by another process", d->path);
        goto out;
    }
    /* Only words for the next one who finds it locked, so a full disk is no reason to stop. */
    snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(d->lock_fd, 0) != 0 || pwrite(d->lock_fd, text, strlen(text), 0) < 0) {
        LOG(LOG_WARN, "cannot write the process id into the lock file", F_STR("path", path),
            F_STR("error", strerror(errno)));
    }
out:
    mem_free(path);
    return err;
}

/* ---- version and id
 * ------------------------------------------------------------------------------ */

static int data_dir_check_version(const struct data_dir *d, bool *exists, struct errmsg *e)
{
    char text[64];
    unsigned format = 0;
    char end = '\0';
    int err = data_dir_read(d, "version", text, sizeof(text), exists, e);
    if (err != 0 || !*exists) {
        return err;
    }
    if (sscanf(text, "kvd-data %u%c", &format, &end) != 2 || end != '\n' || format == 0) {
        return errmsg_set(e, ERR_DAMAGED, "%s/version is damaged: it should say \"kvd-data %u\"",
                          d->member_dir, DATA_DIR_FORMAT);
    }
    if (format > DATA_DIR_FORMAT) {
        return errmsg_set(
            e, ERR_TOO_NEW,
            "%s was written by a newer kvd (format %u, this one knows up to %u): start "
            "that version",
            d->path, format, DATA_DIR_FORMAT);
    }
    return 0;
}

static int data_dir_write_version(const struct data_dir *d, struct errmsg *e)
{
    char text[64];
    snprintf(text, sizeof(text), "kvd-data %u\n", DATA_DIR_FORMAT);
    return data_dir_write(d, "version", text, e);
}

static int data_dir_id_text(uint64_t cluster, uint64_t member, char *text, size_t room)
{
    int n =
        snprintf(text, room, "cluster %016" PRIx64 "\nmember %016" PRIx64 "\n", cluster, member);
    return n + snprintf(text + n, room - (size_t)n, "crc32c %08" PRIx32 "\n",
                        crc32c(0, text, (size_t)n));
}

static int data_dir_read_id(struct data_dir *d, bool *exists, struct errmsg *e)
{
    char text[128];
    char again[128];
    uint64_t cluster = 0;
    uint64_t member = 0;
    int err = data_dir_read(d, "id", text, sizeof(text), exists, e);
    if (err != 0 || !*exists) {
        return err;
    }
    /* Read loosely, then compare with what we would have written: every byte is checked. */
    if (sscanf(text, "cluster %" SCNx64 " member %" SCNx64, &cluster, &member) != 2) {
        return errmsg_set(e, ERR_DAMAGED, "%s/id is damaged", d->member_dir);
    }
    data_dir_id_text(cluster, member, again, sizeof(again));
    if (strcmp(text, again) != 0) {
        return errmsg_set(e, ERR_DAMAGED, "%s/id is damaged: its checksum does not match",
                          d->member_dir);
    }
    d->cluster_id = cluster;
    d->member_id = member;
    return 0;
}

static int data_dir_make_id(struct data_dir *d, const struct data_dir_identity *identity,
                            struct errmsg *e)
{
    char text[128];
    d->member_id = data_dir_member_id(identity);
    d->cluster_id = data_dir_cluster_id(&d->member_id, 1);
    data_dir_id_text(d->cluster_id, d->member_id, text, sizeof(text));
    return data_dir_write(d, "id", text, e);
}

/* ---- opening
 * ------------------------------------------------------------------------------------- */

/* Things about the outer directory that are no reason to stop. */
static void data_dir_look(const struct data_dir *d)
{
    struct stat st;
    DIR *dir = opendir(d->path);
    if (stat(d->path, &st) == 0 && (st.st_mode & 077) != 0) {
        char mode[8];
        snprintf(mode, sizeof(mode), "%04o", (unsigned)(st.st_mode & 07777));
        LOG(LOG_WARN, "others may enter the data directory; chmod 700 would keep them out",
            F_STR("data-dir", d->path), F_STR("mode", mode));
    }
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "member") != 0 &&
            strcmp(name, "plugins.d") != 0 && strcmp(name, "pki") != 0 &&
            strcmp(name, "admin.kubeconfig") != 0 && strcmp(name, "lost+found") != 0) {
            LOG(LOG_WARN, "found an unknown file in the data directory, leaving it alone",
                F_STR("data-dir", d->path), F_STR("name", name));
        }
    }
    closedir(dir);
}

static int data_dir_refuse_foreign(const struct data_dir *d, struct errmsg *e)
{
    if (data_dir_has(d->member_dir, "version") || data_dir_has(d->member_dir, "new")) {
        return 0;
    }
    if (data_dir_has(d->member_dir, "snap") || data_dir_has(d->member_dir, "wal")) {
        return errmsg_set(
            e, ERR_INVALID,
            "%s is an etcd data directory, which kvd cannot import yet: choose another "
            "--data-dir and copy the keys from a running etcd (etcdctl make-mirror)",
            d->path);
    }
    return 0;
}

/* Brings member/ from nothing, or from a creation that was cut short, to a fresh member. */
static int data_dir_create(struct data_dir *d, const struct data_dir_identity *identity,
                           bool has_new, bool has_version, bool has_id, struct errmsg *e)
{
    int err = has_new ? 0 : data_dir_write(d, "new", "being created\n", e);
    if (err == 0 && !has_version) {
        err = data_dir_write_version(d, e);
    }
    if (err == 0) {
        err = data_dir_make(d->log_dir, e);
    }
    if (err == 0) {
        err = data_dir_make(d->db_dir, e);
    }
    if (err == 0) {
        err = data_dir_empty(d->log_dir, 0, e);
    }
    if (err == 0) {
        err = data_dir_empty(d->db_dir, 0, e);
    }
    if (err == 0 && !has_id) {
        err = data_dir_make_id(d, identity, e);
    }
    d->fresh = true;
    return err;
}

static int data_dir_enter(struct data_dir *d, const struct data_dir_identity *identity,
                          struct errmsg *e)
{
    bool has_new = data_dir_has(d->member_dir, "new");
    bool has_version = false;
    bool has_id = false;
    int err = data_dir_check_version(d, &has_version, e);
    if (err == 0) {
        err = data_dir_read_id(d, &has_id, e);
    }
    if (err != 0) {
        return err;
    }
    if (has_new) {
        LOG(LOG_INFO,
            "an earlier start ended before the data directory was complete; starting over",
            F_STR("data-dir", d->path));
    }
    if (has_new ||
        (!has_version && !has_id && !data_dir_filled(d->log_dir) && !data_dir_filled(d->db_dir))) {
        return data_dir_create(d, identity, has_new, has_version, has_id, e);
    }
    if (!has_version || !has_id) {
        return errmsg_set(e, ERR_DAMAGED,
                          "%s/%s is missing although there is data: put it back from a backup; kvd "
                          "will not guess",
                          d->member_dir, has_version ? "id" : "version");
    }
    if (!data_dir_has(d->member_dir, "log") || !data_dir_has(d->member_dir, "db")) {
        return errmsg_set(e, ERR_DAMAGED,
                          "%s/%s is missing: put it back from a backup; without it acknowledged "
                          "writes would be lost",
                          d->member_dir, data_dir_has(d->member_dir, "log") ? "db" : "log");
    }
    return 0;
}

int data_dir_open(struct data_dir *d, const char *path, const struct data_dir_identity *identity,
                  struct errmsg *e)
{
    *d = (struct data_dir){.lock_fd = -1};
    d->path = mem_strdup(path);
    d->member_dir = data_dir_join(path, "member");
    d->log_dir = data_dir_join(path, "member/log");
    d->db_dir = data_dir_join(path, "member/db");
    int err = 0;
    if (d->path == NULL || d->member_dir == NULL || d->log_dir == NULL || d->db_dir == NULL) {
        err = errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    if (err == 0) {
        err = data_dir_make(d->path, e);
    }
    if (err == 0) {
        err = data_dir_refuse_foreign(d, e);
    }
    if (err == 0) {
        err = data_dir_make(d->member_dir, e);
    }
    if (err == 0) {
        err = data_dir_lock(d, e);
    }
    if (err == 0) {
        data_dir_look(d);
        err = data_dir_enter(d, identity, e);
    }
    if (err != 0) {
        data_dir_close(d);
        return errmsg_wrap(e, err, "open data directory");
    }
    return 0;
}

int data_dir_finish(struct data_dir *d, struct errmsg *e)
{
    char *path = data_dir_join(d->member_dir, "new");
    if (path == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    int err = data_dir_fault() || unlink(path) != 0 ? data_dir_errno(e, "remove", path)
                                                    : data_dir_sync(d->member_dir, e);
    mem_free(path);
    if (err == 0) {
        d->fresh = false;
    }
    return err;
}

void data_dir_close(struct data_dir *d)
{
    if (d->lock_fd >= 0) {
        close(d->lock_fd);
    }
    mem_free(d->path);
    mem_free(d->member_dir);
    mem_free(d->log_dir);
    mem_free(d->db_dir);
    *d = (struct data_dir){.lock_fd = -1};
}
