/* crumb.h - breadcrumbs: which plugin's callback the process was in when it died.
 *
 * A plugin that dies on some input would kill member after member, as leadership moves and the same
 * event meets the same code. So each callback writes where it is into a page of a file mapped
 * shared, which outlives the process. At the next start a breadcrumb that was left inside a
 * callback by a process that died of it (blame.h) is a strike; PLUGIN_STRIKES_MAX of them within
 * PLUGIN_STRIKES_MS put that plugin into quarantine: the member serves without it until the file is
 * another one, or an operator lifts it.
 */
#ifndef KVD_PLUGINS_HOST_CRUMB_H
#define KVD_PLUGINS_HOST_CRUMB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

/* One plugin's place; the file is an array of them. */
struct crumb {
    char name[64];     /* "" = free */
    char callback[32]; /* "" = outside the plugin */
    uint64_t key_hash; /* of the key in hand, 0 = none */
    int64_t revision;  /* of the event in hand */
    uint64_t file;     /* first bytes of the file's SHA-256: another file gets another chance */
    uint64_t strikes_ms[PLUGIN_STRIKES_MAX]; /* wall clock, newest first; 0 = none */
    uint32_t quarantined;
    uint32_t disabled;     /* by an operator, until it is enabled */
    _Atomic uint32_t died; /* CRUMB_DIED_*; 0: no fault of the plugin's so far */
    uint32_t reserved[3];
};
enum {
    CRUMB_DIED_CALLBACK = 1, /* of something its callback did */
    CRUMB_DIED_WORK = 2,     /* of something its offloaded work did */
    CRUMB_DIED_HUNG = 3      /* its callback does not come back: if the process is killed now */
};
_Static_assert(sizeof(struct crumb) == 64 + 32 + 24 + 8 * PLUGIN_STRIKES_MAX + 24, "no padding");

struct crumb_page {
    struct crumb *crumbs; /* PLUGINS_MAX of them; mapped, or plain memory when there is no file */
    bool mapped;
};

/* Maps <path>, making it when missing, and turns what a dead process left into strikes at now_ms
 * (wall clock). Without a file (path NULL, or it cannot be used: logged) the page is plain memory.
 * false = out of memory. */
bool crumb_open(struct crumb_page *p, const char *path, uint64_t now_ms);
void crumb_close(struct crumb_page *p);
/* The place of a plugin, taken when new; NULL: no place is left. */
struct crumb *crumb_find(struct crumb_page *p, const char *name, bool create);
/* Says which file is about to be loaded; a quarantine of another one ends here. */
void crumb_file(struct crumb *c, uint64_t file);
/* Writes the sentence for a quarantined plugin. */
void crumb_why(const struct crumb *c, char *out, size_t room);
void crumb_lift(struct crumb *c);

#endif
