/* loader.c - opening shared objects with the suspicion they deserve. */
#include "plugins/host/loader.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "plugins/host/elf.h"
#include "plugins/host/options.h"

#define LOADER_CHUNK_BYTES (64u * 1024u)
#define LOADER_PATH_MAX    4096u

static bool has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name);
    size_t n = strlen(suffix);
    return len >= n && strcmp(name + len - n, suffix) == 0;
}

int loader_prepare(const char *plugins_dir, struct errmsg *e)
{
    if (mkdir(plugins_dir, 0700) != 0 && errno != EEXIST) {
        return errmsg_set(e, ERR_IO, "%s: cannot be made: %s", plugins_dir, strerror(errno));
    }
    DIR *dir = opendir(plugins_dir);
    if (dir == NULL) {
        return errmsg_set(e, ERR_IO, "%s: cannot be read: %s", plugins_dir, strerror(errno));
    }
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (has_suffix(d->d_name, ".so") || has_suffix(d->d_name, ".so.new")) {
            (void)unlinkat(dirfd(dir), d->d_name, 0);
        }
    }
    closedir(dir);
    return 0;
}

/* ---- the file ----------------------------------------------------------------------------------
 */

/* Whoever can write this file can be this process. */
static int loader_check_owner(const char *path, const struct stat *st, const char *what,
                              struct errmsg *e)
{
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        return errmsg_set(e, ERR_INVALID,
                          "%s: %s belongs to user %u, but must belong to root or to user %u, who "
                          "kvd runs as: chown it",
                          path, what, (unsigned)st->st_uid, (unsigned)geteuid());
    }
    bool sticky_dir = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0;
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky_dir) {
        return errmsg_set(e, ERR_INVALID,
                          "%s: %s may be written by others (mode %04o): chmod go-w it", path, what,
                          (unsigned)st->st_mode & 07777u);
    }
    return 0;
}

static int loader_check_file(const char *path, int fd, struct errmsg *e)
{
    struct stat st;
    char dir[LOADER_PATH_MAX];
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return errmsg_set(e, ERR_INVALID, "%s: is not a file", path);
    }
    int err = loader_check_owner(path, &st, "the file", e);
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash == NULL) {
        snprintf(dir, sizeof(dir), ".");
    } else {
        slash[slash == dir] = '\0';
    }
    if (err == 0 && stat(dir, &st) == 0) {
        err = loader_check_owner(path, &st, "its directory", e);
    }
    return err;
}

/* Copies fd to `to` and sums it up. */
static int loader_copy(const char *path, int fd, int to, char *hex, struct errmsg *e)
{
    static const char digits[] = "0123456789abcdef";
    struct sha256 sum;
    uint8_t out[SHA256_BYTES];
    ssize_t n;
    uint8_t *chunk = mem_alloc(LOADER_CHUNK_BYTES);
    if (chunk == NULL) {
        return errmsg_set(e, ERR_NOMEM, "%s: out of memory", path);
    }
    sha256_init(&sum);
    while ((n = read(fd, chunk, LOADER_CHUNK_BYTES)) > 0) {
        sha256_add(&sum, chunk, (size_t)n);
        if (write(to, chunk, (size_t)n) != n) {
            n = -1;
            break;
        }
    }
    mem_free(chunk);
    if (n < 0) {
        return errmsg_set(e, ERR_IO, "%s: cannot be copied into the data directory: %s", path,
                          strerror(errno));
    }
    sha256_final(&sum, out);
    for (size_t i = 0; i < sizeof(out); i++) {
        hex[2 * i] = digits[out[i] >> 4];
        hex[2 * i + 1] = digits[out[i] & 15];
    }
    hex[2 * sizeof(out)] = '\0';
    return 0;
}

/* Looked at in the copy, which nobody writes any more. */
static int loader_check_whole(const char *path, int copy, struct errmsg *e)
{
    uint64_t needed = 0;
    uint64_t there = 0;
    if (!elf_extent(copy, &needed, &there) || there >= needed) {
        return 0;
    }
    return errmsg_set(e, ERR_INVALID,
                      "%s: is not complete: it has %llu bytes, its headers speak of %llu: is it "
                      "still being written?",
                      path, (unsigned long long)there, (unsigned long long)needed);
}

/* The private copy's path in `copy`. */
static int loader_install(const char *path, const char *plugins_dir, char *copy, char *hex,
                          struct errmsg *e)
{
    char fresh[LOADER_PATH_MAX];
    const char *base = strrchr(path, '/');
    base = base != NULL ? base + 1 : path;
    int base_len = (int)strcspn(base, ".");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errmsg_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: cannot be read: %s",
                          path, strerror(errno));
    }
    int err = loader_check_file(path, fd, e);
    /* Its own name: files of the same base name may be loaded at once, by several pool threads. */
    static atomic_uint serial;
    snprintf(fresh, sizeof(fresh), "%s/%.*s.%u.so.new", plugins_dir, base_len, base,
             atomic_fetch_add(&serial, 1));
    int to = -1;
    if (err == 0) {
        to = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0500);
        if (to < 0) {
            err = errmsg_set(e, ERR_IO, "%s: its copy %s cannot be made: %s", path, fresh,
                             strerror(errno));
        }
    }
    err = err != 0 ? err : loader_copy(path, fd, to, hex, e);
    err = err != 0 ? err : loader_check_whole(path, to, e);
    close(fd);
    if (to >= 0) {
        close(to);
    }
    if (err != 0) {
        (void)unlink(fresh);
        return err;
    }
    int len = snprintf(copy, LOADER_PATH_MAX, "%s/%.*s.%s.so", plugins_dir, base_len, base, hex);
    if (len >= (int)LOADER_PATH_MAX || rename(fresh, copy) != 0) {
        return errmsg_set(e, ERR_IO, "%s: its copy cannot be named: %s", path, strerror(errno));
    }
    return 0;
}

/* ---- the descriptor ----------------------------------------------------------------------------
 */

static bool loader_name_ok(const char *name)
{
    size_t len = name != NULL ? strlen(name) : 0;
    return len > 0 && len <= PLUGIN_NAME_BYTES_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && name[0] >= 'a';
}

int loader_check(const struct kvp_plugin *d, const char *what, struct errmsg *e)
{
    if (d == NULL || d->size < 3 * sizeof(uint32_t)) {
        return errmsg_set(e, ERR_INVALID, "%s: its kvplugin_entry returns no descriptor", what);
    }
    if (d->abi_major != KVP_ABI_MAJOR) {
        return errmsg_set(e, ERR_INVALID,
                          "%s: wants plugin ABI %u.%u, this kvd has %u.%u: build it with the "
                          "kvplugin.h of this kvd",
                          what, d->abi_major, d->abi_minor, KVP_ABI_MAJOR, KVP_ABI_MINOR);
    }
    if (d->abi_minor > KVP_ABI_MINOR) {
        return errmsg_set(e, ERR_INVALID,
                          "%s: needs plugin ABI %u.%u, this kvd has %u.%u: upgrade kvd, or build "
                          "it with an older kvplugin.h",
                          what, d->abi_major, d->abi_minor, KVP_ABI_MAJOR, KVP_ABI_MINOR);
    }
    if (d->size < sizeof(*d)) {
        return errmsg_set(e, ERR_INVALID, "%s: its descriptor has %u bytes instead of %zu", what,
                          d->size, sizeof(*d));
    }
    if (!loader_name_ok(d->name)) {
        return errmsg_set(e, ERR_INVALID,
                          "%s: its name must be 1 to %u lower-case letters, digits and '-', "
                          "beginning with a letter",
                          what, PLUGIN_NAME_BYTES_MAX);
    }
    if (d->init == NULL) {
        return errmsg_set(e, ERR_INVALID, "%s: plugin %s has no init", what, d->name);
    }
    if ((d->flags & ~KVP_FOLLOW) != 0 || (d->lanes & ~(KVP_LANE_THREAD | KVP_LANE_LOOP)) != 0) {
        return errmsg_set(e, ERR_INVALID, "%s: plugin %s has flags this kvd does not know", what,
                          d->name);
    }
    struct errmsg why = {""};
    if (options_check(d, &why) != 0) {
        return errmsg_set(e, ERR_INVALID, "%s: %s", what, why.text);
    }
    return 0;
}

/* What dlopen says, without the copy's path in front. */
static const char *loader_dlerror(const char *copy)
{
    const char *text = dlerror();
    size_t len = strlen(copy);
    if (text == NULL) {
        return "unknown reason";
    }
    return strncmp(text, copy, len) == 0 && text[len] == ':' ? text + len + 2 : text;
}

int loader_open(const char *path, const char *plugins_dir, struct loaded *out, struct errmsg *e)
{
    char copy[LOADER_PATH_MAX];
    memset(out, 0, sizeof(*out));
    int err = loader_install(path, plugins_dir, copy, out->sha256, e);
    if (err != 0) {
        return err;
    }
    void *handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL) {
        return errmsg_set(e, ERR_INVALID,
                          "%s: cannot be loaded: %.200s (a plugin may use what it links itself; "
                          "kvd's calls come through struct kvp_host)",
                          path, loader_dlerror(copy));
    }
    const struct kvp_plugin *(*entry)(void) = NULL;
    void *symbol = dlsym(handle, "kvplugin_entry");
    memcpy(&entry, &symbol,
           sizeof(entry)); /* the way POSIX has it: no cast between the two kinds */
    if (entry == NULL) {
        return errmsg_set(
            e, ERR_INVALID,
            "%s: exports no kvplugin_entry, so it is no plugin of kvd: end its source "
            "with KVP_PLUGIN(...)",
            path);
    }
    out->descriptor = entry();
    return loader_check(out->descriptor, path, e);
}
