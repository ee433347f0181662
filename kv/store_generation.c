/* store_generation.c - the directories dir/<number>, each one LMDB environment.
 *
 * A swap fills dir/<n+1>.tmp, syncs its file and itself, renames it to dir/<n+1>, syncs dir, and
 * only then removes dir/<n>. Whatever moment a crash chooses, the highest name without .tmp is a
 * whole generation; the others are removed at the next start. Only names of this form are touched.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "kv/store_internal.h"

char *generation_path(const char *dir, uint64_t number, bool tmp, const char *file)
{
    size_t size = strlen(dir) + 32 + (file == NULL ? 0 : strlen(file));
    char *path = mem_alloc(size);
    if (path != NULL) {
        snprintf(path, size, "%s/%" PRIu64 "%s%s%s", dir, number, tmp ? ".tmp" : "",
                 file == NULL ? "" : "/", file == NULL ? "" : file);
    }
    return path;
}

/* Is this "<number>" or "<number>.tmp"? */
static bool generation_parse(const char *name, uint64_t *number, bool *tmp)
{
    if (name[0] < '1' || name[0] > '9') {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long n = strtoull(name, &end, 10);
    if (errno != 0 || n == UINT64_MAX) {
        return false;
    }
    *number = n;
    *tmp = strcmp(end, ".tmp") == 0;
    return *tmp || *end == '\0';
}

void generation_remove(const char *dir, uint64_t number, bool tmp)
{
    char *path = generation_path(dir, number, tmp, NULL);
    if (path == NULL) {
        return; /* the next start removes it */
    }
    DIR *d = opendir(path);
    if (d != NULL) {
        struct dirent *entry;
        while ((entry = readdir(d)) != NULL) {
            if (entry->d_name[0] != '.') {
                unlinkat(dirfd(d), entry->d_name, 0);
            }
        }
        closedir(d);
        rmdir(path);
    }
    mem_free(path);
}

int generation_scan(const char *dir, uint64_t *number, struct errmsg *e)
{
    *number = 0;
    DIR *d = opendir(dir);
    if (d == NULL) {
        return errmsg_set(e, ERR_IO, "open %s: %s", dir, strerror(errno));
    }
    struct dirent *entry;
    uint64_t n;
    bool tmp;
    while ((entry = readdir(d)) != NULL) {
        if (generation_parse(entry->d_name, &n, &tmp) && !tmp && n > *number) {
            *number = n;
        }
    }
    rewinddir(d);
    while ((entry = readdir(d)) != NULL) {
        if (generation_parse(entry->d_name, &n, &tmp) && (tmp || n < *number)) {
            generation_remove(dir, n, tmp);
        }
    }
    closedir(d);
    return 0;
}

int generation_make_tmp(const char *dir, uint64_t number, struct errmsg *e)
{
    generation_remove(dir, number, true);
    char *path = generation_path(dir, number, true, NULL);
    if (path == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    int err = 0;
    if (mkdir(path, 0700) != 0) {
        err = errmsg_set(e, env_error(errno), "make directory %s: %s", path, strerror(errno));
    }
    mem_free(path);
    return err;
}

int generation_commit_tmp(const char *dir, uint64_t number, struct errmsg *e)
{
    char *file = generation_path(dir, number, true, "data.mdb");
    char *from = generation_path(dir, number, true, NULL);
    char *to = generation_path(dir, number, false, NULL);
    int err = ERR_NOMEM;
    if (file == NULL || from == NULL || to == NULL) {
        errmsg_set(e, err, "out of memory");
        goto out;
    }
    if ((err = env_sync_path(file, e)) != 0 || (err = env_sync_path(from, e)) != 0) {
        goto out;
    }
    if (rename(from, to) != 0) {
        err = errmsg_set(e, env_error(errno), "rename %s to %s: %s", from, to, strerror(errno));
        goto out;
    }
    err = env_sync_path(dir, e);
    if (err != 0 && rename(to, from) != 0) {
        /* Both generations would be there, and the next start would choose this one. */
        errmsg_wrap(e, err, "%s must be removed by hand", to);
    }
out:
    mem_free(to);
    mem_free(from);
    mem_free(file);
    return err;
}

int generation_open(struct store *s, uint64_t number, bool tmp, struct generation **out,
                    struct errmsg *e)
{
    int err = ERR_NOMEM;
    char *path = generation_path(s->dir, number, tmp, NULL);
    struct generation *g = mem_zalloc(sizeof *g);
    if (path == NULL || g == NULL) {
        errmsg_set(e, err, "out of memory");
        goto fail;
    }
    g->number = number;
    g->refs = 1;
    err = env_open(&g->env, path, s->options.map_bytes, s->options.unsafe_no_fsync, e);
    if (err != 0) {
        goto fail;
    }
    err = store_view_prepare_writer(s, g);
    if (err != 0) {
        errmsg_set(e, err, "%s: no read transaction", path);
        env_close(&g->env);
        goto fail;
    }
    mem_free(path);
    *out = g;
    return 0;
fail:
    mem_free(g);
    mem_free(path);
    return err;
}

void generation_close(struct generation *g)
{
    while (g->idle != NULL) {
        struct store_view *v = g->idle;
        g->idle = v->next;
        store_view_destroy(v);
    }
    store_view_destroy(g->writer);
    env_close(&g->env);
    mem_free(g);
}
