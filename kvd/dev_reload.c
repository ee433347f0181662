/* dev_reload.c - from a changed file to a reload; see dev_reload.h.
 *
 * Files are looked at on a pool thread: a loop thread does not wait for a disk. */
#include "kvd/dev_reload.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "plugins/host/elf.h"

/* What of a file tells one version from another. Zero: there is none. */
struct dev_mark {
    uint64_t inode;
    uint64_t size;
    uint64_t changed_ns;
};

struct dev_file {
    struct list link; /* dev_reload.files */
    struct dev_reload *d;
    char *path;
    uv_fs_event_t event;
    uv_timer_t settle;
    uv_work_t look;
    bool looking;
    int handles;            /* not closed yet; with the pool thread's look */
    struct dev_mark fresh;  /* of this look */
    bool whole;             /* of this look */
    struct dev_mark before; /* of the look before */
    struct dev_mark loaded; /* what was given to the host last */
    unsigned looks;         /* since the last event */
    struct plugin_admin_req req;
    bool reloading;
};

struct dev_reload {
    uv_loop_t *loop;
    struct plugin_admin *admin;
    struct list files;
    struct plugin_admin_req list; /* of the start */
    bool stopping;
};

static bool mark_same(const struct dev_mark *a, const struct dev_mark *b)
{
    return a->inode == b->inode && a->size == b->size && a->changed_ns == b->changed_ns;
}

/* Blocks on the disk. */
static void dev_look(struct dev_file *w)
{
    struct stat st;
    uint64_t needed = 0;
    uint64_t there = 0;
    w->fresh = (struct dev_mark){0};
    w->whole = false;
    int fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        w->fresh = (struct dev_mark){.inode = st.st_ino,
                                     .size = (uint64_t)st.st_size,
                                     .changed_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u +
                                                   (uint64_t)st.st_mtim.tv_nsec};
        w->whole = st.st_size > 0 && (!elf_extent(fd, &needed, &there) || there >= needed);
    }
    close(fd);
}

/* ---- reloading ---------------------------------------------------------------------------------
 */

static void dev_settle(struct dev_file *w);

struct dev_search {
    struct plugin_admin_req req;
    const char *path;
    char name[4096]; /* of the file where it never loaded */
};

/* The name by which the host knows the plugin of a file: one that never loaded has none yet. */
static void dev_on_search(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    struct dev_search *s = r->data;
    for (size_t i = 0; i < result->count; i++) {
        if (strcmp(result->plugins[i].file, s->path) == 0) {
            strncpy(s->name, result->plugins[i].name, sizeof(s->name) - 1);
        }
    }
}

static void dev_on_reloaded(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    struct dev_file *w = r->data;
    w->reloading = false;
    if (result->err == ERR_BUSY) { /* another change of it is under way */
        w->loaded = (struct dev_mark){0};
        dev_settle(w);
    }
}

static void dev_reload(struct dev_file *w)
{
    struct plugin_admin *a = w->d->admin;
    struct dev_search s = {.path = w->path};
    s.req.data = &s;
    s.req.cb = dev_on_search;
    a->read(a, &s.req, NULL, 0);
    LOG(LOG_INFO, "the file of a plugin has changed: loading it again", F_STR("path", w->path));
    w->loaded = w->fresh;
    w->reloading = true;
    w->req.data = w;
    w->req.cb = dev_on_reloaded;
    a->reload(a, &w->req, s.name, NULL, 0);
}

/* ---- settling ----------------------------------------------------------------------------------
 */

static void dev_closed(struct dev_file *w)
{
    struct dev_reload *d = w->d;
    if (--w->handles > 0) {
        return;
    }
    list_remove(&w->link);
    mem_free(w->path);
    mem_free(w);
    if (d->stopping && list_empty(&d->files)) {
        mem_free(d);
    }
}

static void dev_on_handle_closed(uv_handle_t *handle)
{
    dev_closed(handle->data);
}

static void dev_on_looked(uv_work_t *work, int status)
{
    struct dev_file *w = LIST_ENTRY(work, struct dev_file, look);
    (void)status;
    w->looking = false;
    if (w->d->stopping) {
        dev_closed(w);
        return;
    }
    w->handles--;
    bool settled = w->whole && mark_same(&w->fresh, &w->before);
    w->before = w->fresh;
    if (w->fresh.size == 0 && w->looks >= DEV_SETTLE_LOOKS_MAX) {
        return; /* it is gone: the next event tells when there is one again */
    }
    if (mark_same(&w->fresh, &w->loaded)) {
        return;
    }
    /* What does not become whole is given to the host all the same: its sentence says why. */
    if (!w->reloading && (settled || w->looks >= DEV_SETTLE_LOOKS_MAX)) {
        dev_reload(w);
        return;
    }
    dev_settle(w);
}

static void dev_on_pool(uv_work_t *work)
{
    dev_look(LIST_ENTRY(work, struct dev_file, look));
}

static void dev_on_settle(uv_timer_t *timer)
{
    struct dev_file *w = timer->data;
    w->looks++;
    if (w->looking || uv_queue_work(w->d->loop, &w->look, dev_on_pool, dev_on_looked) != 0) {
        dev_settle(w);
        return;
    }
    w->looking = true;
    w->handles++;
}

static void dev_settle(struct dev_file *w)
{
    if (!w->d->stopping) {
        uv_timer_start(&w->settle, dev_on_settle, DEV_SETTLE_MS, 0);
    }
}

static void dev_on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct dev_file *w = event->data;
    const char *slash = strrchr(w->path, '/');
    (void)events;
    if (status == 0 && name != NULL && strcmp(name, slash != NULL ? slash + 1 : w->path) != 0) {
        return; /* a neighbour */
    }
    w->looks = 0;
    dev_settle(w);
}

/* ---- start and stop ----------------------------------------------------------------------------
 */

static void dev_watch(struct dev_reload *d, const char *path)
{
    char dir[4096];
    struct dev_file *w = mem_zalloc(sizeof(*w));
    char *copy = mem_strdup(path);
    if (w == NULL || copy == NULL) {
        LOG(LOG_WARN, "no memory to watch the file of a plugin", F_STR("path", path));
        mem_free(w);
        mem_free(copy);
        return;
    }
    w->d = d;
    w->path = copy;
    w->handles = 2;
    w->event.data = w->settle.data = w;
    list_push_back(&d->files, &w->link);
    uv_fs_event_init(d->loop, &w->event);
    uv_timer_init(d->loop, &w->settle);
    dev_look(w); /* at the start: the loop does not run yet */
    w->loaded = w->fresh;
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    snprintf(slash != NULL ? slash + (slash == dir) : dir, 2, "%s", slash != NULL ? "" : ".");
    int rv = uv_fs_event_start(&w->event, dev_on_event, dir, 0);
    if (rv != 0) {
        LOG(LOG_WARN, "changes of a plugin's file are not noticed: use `kvctl plugin reload`",
            F_STR("path", path), F_STR("error", uv_strerror(rv)));
    }
}

static void dev_on_list(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        dev_watch(r->data, result->plugins[i].file);
    }
}

struct dev_reload *dev_reload_start(uv_loop_t *loop, struct plugin_admin *admin)
{
    struct dev_reload *d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        LOG(LOG_WARN, "no memory to watch the files of plugins");
        return NULL;
    }
    d->loop = loop;
    d->admin = admin;
    list_init(&d->files);
    d->list.data = d;
    d->list.cb = dev_on_list;
    admin->read(admin, &d->list, NULL, 0);
    return d;
}

void dev_reload_stop(struct dev_reload *d)
{
    d->stopping = true;
    if (list_empty(&d->files)) {
        mem_free(d);
        return;
    }
    LIST_FOREACH (it, &d->files) {
        struct dev_file *w = LIST_ENTRY(it, struct dev_file, link);
        if (w->reloading) {
            d->admin->cancel(d->admin, &w->req);
        }
        uv_close((uv_handle_t *)&w->event, dev_on_handle_closed);
        uv_close((uv_handle_t *)&w->settle, dev_on_handle_closed);
    }
}
