/* crumb.c - the page of breadcrumbs; see crumb.h.
 *
 * The file is written through a shared mapping only: what a process wrote before it died is in the
 * page cache and the next one finds it. After a power cut it may not be; then there was no death by
 * plugin either. */
#include "plugins/host/crumb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"

#define CRUMB_BYTES (PLUGINS_MAX * sizeof(struct crumb))

static void crumb_terminate(struct crumb *c)
{
    c->name[sizeof(c->name) - 1] = '\0';
    c->callback[sizeof(c->callback) - 1] = '\0';
}

/* A process died of this callback. */
static void crumb_strike(struct crumb *c, uint64_t now_ms)
{
    memmove(c->strikes_ms + 1, c->strikes_ms, sizeof(c->strikes_ms) - sizeof(c->strikes_ms[0]));
    c->strikes_ms[0] = now_ms;
    uint64_t oldest = c->strikes_ms[PLUGIN_STRIKES_MAX - 1];
    if (oldest != 0 && now_ms >= oldest && now_ms - oldest <= PLUGIN_STRIKES_MS) {
        c->quarantined = 1; /* the callback stays for the sentence */
    } else {
        LOG(LOG_WARN, "the process died inside a plugin last time", F_STR("plugin", c->name),
            F_STR("callback", c->callback), F_HEX("key-hash", c->key_hash),
            F_INT("revision", c->revision));
        c->callback[0] = '\0';
    }
}

static void crumb_review(struct crumb_page *p, uint64_t now_ms)
{
    for (size_t i = 0; i < PLUGINS_MAX; i++) {
        struct crumb *c = &p->crumbs[i];
        crumb_terminate(c);
        uint32_t died = atomic_exchange(&c->died, 0);
        if (died == CRUMB_DIED_WORK) {
            snprintf(c->callback, sizeof(c->callback), "offload");
        }
        if (c->name[0] == '\0' || c->callback[0] == '\0' || c->quarantined != 0) {
            continue;
        }
        if (died != 0) {
            crumb_strike(c, now_ms);
        } else {
            c->callback[0] = '\0'; /* ended from outside while it worked */
        }
    }
}

static void *crumb_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *map = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)CRUMB_BYTES) == 0) {
        map = mmap(NULL, CRUMB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (map == MAP_FAILED) {
        LOG(LOG_WARN, "no breadcrumbs of plugins: a plugin that kills the process is not noticed",
            F_STR("path", path), F_STR("error", strerror(errno)));
    }
    if (fd >= 0) {
        close(fd);
    }
    return map == MAP_FAILED ? NULL : map;
}

bool crumb_open(struct crumb_page *p, const char *path, uint64_t now_ms)
{
    p->crumbs = path != NULL ? crumb_map(path) : NULL;
    p->mapped = p->crumbs != NULL;
    if (!p->mapped) {
        p->crumbs = mem_zalloc(CRUMB_BYTES);
        return p->crumbs != NULL;
    }
    crumb_review(p, now_ms);
    return true;
}

void crumb_close(struct crumb_page *p)
{
    if (p->mapped) {
        munmap(p->crumbs, CRUMB_BYTES);
    } else {
        mem_free(p->crumbs);
    }
    p->crumbs = NULL;
}

struct crumb *crumb_find(struct crumb_page *p, const char *name, bool create)
{
    struct crumb *spare = NULL;
    for (size_t i = 0; i < PLUGINS_MAX; i++) {
        struct crumb *c = &p->crumbs[i];
        if (strcmp(c->name, name) == 0) {
            return c;
        }
        if (spare == NULL && c->name[0] == '\0') {
            spare = c;
        }
    }
    if (!create || spare == NULL || strlen(name) >= sizeof(spare->name)) {
        return NULL;
    }
    memset(spare, 0, sizeof(*spare));
    strncpy(spare->name, name, sizeof(spare->name) - 1);
    return spare;
}

void crumb_why(const struct crumb *c, char *out, size_t room)
{
    snprintf(
        out, room,
        "the process died %u times within %u minutes inside plugin %s (last in %s, at revision "
        "%lld): it is not loaded any more: replace the file and start kvd again, or try it again "
        "with `kvctl plugin enable %s`",
        PLUGIN_STRIKES_MAX, PLUGIN_STRIKES_MS / 60000u, c->name, c->callback,
        (long long)c->revision, c->name);
}

void crumb_file(struct crumb *c, uint64_t file)
{
    if (c->file != file) {
        if (c->quarantined != 0) {
            LOG(LOG_INFO, "another file of a quarantined plugin: it is tried again",
                F_STR("plugin", c->name));
        }
        crumb_lift(c);
        c->file = file;
    }
}

void crumb_lift(struct crumb *c)
{
    c->quarantined = 0;
    atomic_store(&c->died, 0);
    c->callback[0] = '\0';
    memset(c->strikes_ms, 0, sizeof(c->strikes_ms));
}
