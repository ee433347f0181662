/* hang.c - callbacks that do not come back: told while they last, not only when they are over.
 *
 * Home looks at every instance once per PLUGIN_HANG_LOOK_MS. It can do nothing about such a
 * callback, code cannot be taken away from a thread; it can say what is going on, keep operators'
 * requests from waiting for it, and remember it in the breadcrumb if the process is killed for it.
 * A plugin on the store loop cannot be watched this way, nor what the store loop does for a lent
 * lane (lane_lend.c): nobody looks while it is in a callback. */
#include "plugins/host/change.h"
#include "plugins/host/host_impl.h"

#include "base/clock.h"
#include "base/log.h"

static void hang_look_at(struct instance *in, uint64_t now_ms)
{
    const char *what = atomic_load(&in->callback);
    uint64_t since_ms = atomic_load(&in->callback_since_ms);
    uint64_t ms = what != NULL && now_ms > since_ms ? now_ms - since_ms : 0;
    if (ms < PLUGIN_HANG_MS || since_ms != in->hang_since_ms) {
        in->hang_since_ms = since_ms;
        in->hang_told_ms = 0;
    }
    if (ms < PLUGIN_HANG_MS) {
        return;
    }
    if (ms >= 2 * in->hang_told_ms) {
        in->hang_told_ms = ms;
        atomic_store(&in->crumb->died, CRUMB_DIED_HUNG);
        LOG(LOG_ERROR, "a plugin does not come back from a callback", F_STR("plugin", in->name),
            F_STR("callback", what), F_MS("for", (double)ms),
            F_INT("revision", atomic_load(&in->callback_revision)));
    }
    if (in->plugin->change != NULL && ms >= PLUGIN_STOP_MS_MAX) {
        change_impatient(in->plugin, what, ms);
    }
}

static void hang_arm(struct plugin_host *h);

static void hang_on_look(struct lane_timer *t)
{
    struct plugin_host *h = LIST_ENTRY(t, struct plugin_host, hang);
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->instance != NULL) {
            hang_look_at(p->instance, now_ms);
        }
    }
    hang_arm(h);
}

static void hang_arm(struct plugin_host *h)
{
    if (h->instances > 0) {
        /* Without memory nothing is told until the next plugin is loaded. */
        (void)lane_timer_set(&h->home, &h->hang, lane_now(&h->home) + PLUGIN_HANG_LOOK_MS);
    }
}

void hang_watch(struct plugin_host *h)
{
    if (h->o.loop != NULL && !lane_timer_is_set(&h->hang)) {
        h->hang.fire = hang_on_look;
        hang_arm(h);
    }
}
