/* plugins.c - host and plugins of a simulated member: start, turns, role, end. */
#include "tests/sim/plugins.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "plugins/host/cache.h"
#include "tests/sim/plane.h"

enum { TURNS_MAX = 4, PAGE_ROWS = 2 /* of a cache's list: there are only 8 keys */ };

static void load(struct plugins *p, const char *spec)
{
    struct errmsg e = {""};
    if (host_load(p->host, spec, &e) != 0) {
        history_fail(&p->member->world->history, "member %u: %s", p->member->number, e.text);
    }
}

void plugins_start(struct member *m)
{
    struct world *w = m->world;
    struct errmsg e = {""};
    struct plugins *p = mem_xzalloc(sizeof(*p));
    p->member = m;
    m->plugins = p;
    list_init(&p->spies);
    list_init(&p->plane);
    sim_service_init(&p->service, m);
    spies_register();
    cache_page_rows = PAGE_ROWS;
    struct host_options options = {.service = &p->service.service,
                                   .data_dir = m->dir,
                                   .member_id = m->number,
                                   .version = "simulated",
                                   .seed = rand_u64(&w->rand)};
    if (host_new(&options, &p->host, &e) != 0) {
        history_fail(&w->history, "member %u: host_new: %s", m->number, e.text);
        return;
    }
    if (w->plane != NULL) {
        plane_load(p);
        return;
    }
    load(p, "static:hello");
    load(p, "static:ttl-janitor");
    load(p, "static:scribe");
}

static bool turn(struct plugins *p)
{
    spies_turn(p);
    bool ran = host_turn(p->host, p->member->world->now_ms); /* the host may be gone after it */
    spies_turn(NULL);
    return ran;
}

static void on_host_stopped(void *data)
{
    struct plugins *p = data;
    struct world *w = p->member->world;
    p->host = NULL;
    /* Who gets no time for that long is left behind by the host. */
    bool in_time = w->now_ms - p->stop_ms < PLUGIN_STOP_MS_MAX;
    bool ended = list_empty(&p->spies) && plane_has_ended(p);
    if (in_time && (!sim_service_idle(&p->service) || !ended)) {
        history_fail(&w->history, "member %u: the plugins' end left %s behind", p->member->number,
                     ended ? "requests" : "a plugin");
    }
}

void plugins_step(struct member *m)
{
    struct plugins *p = m->plugins;
    struct world *w = m->world;
    if (p->host == NULL || p->late_until_ms > w->now_ms) {
        return;
    }
    if (w->faults && rand_chance(&w->rand, 0.0005)) {
        p->late_until_ms = w->now_ms + rand_below(&w->rand, 1500);
        return;
    }
    sim_service_step(&p->service);
    if (rand_chance(&w->rand, 0.01)) {
        spies_audit(p);
    }
    unsigned turns = w->faults ? (unsigned)rand_below(&w->rand, TURNS_MAX) : TURNS_MAX;
    while (turns-- > 0 && p->host != NULL && turn(p)) {
        /* on */
    }
}

void plugins_role(struct member *m, bool leads, uint64_t term)
{
    if (m->plugins->host != NULL && !m->plugins->stopping) {
        host_role(m->plugins->host, leads, term);
    }
}

void plugins_stop(struct member *m)
{
    struct plugins *p = m->plugins;
    if (!p->stopping && p->host != NULL) {
        p->stopping = true;
        (void)turn(p); /* the host's patience begins now, not when it last had time */
        p->stop_ms = m->world->now_ms;
        host_stop(p->host, on_host_stopped, p);
    }
}

void plugins_abandon(struct member *m)
{
    struct plugins *p = m->plugins;
    m->plugins = NULL;
    if (p != NULL) {
        spies_abandon(p);
        plane_abandon(p);
        sim_service_abandon(&p->service);
        /* p and what the host holds stay, as all of a crashed member does */
    }
}

bool plugins_quiet(struct member *m, char *why, size_t size)
{
    struct plugins *p = m->plugins;
    struct host_plugin rows[PLUGIN_KINDS];
    if (p == NULL || p->host == NULL || p->stopping) {
        return false;
    }
    bool leads = m->role == NODE_LEADER;
    if (m->world->plane != NULL) {
        return plane_is_quiet(p, leads, why, size);
    }
    size_t n = host_list(p->host, rows, PLUGIN_KINDS);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].requests > 0 || rows[i].state != (leads ? HOST_LEADING : HOST_READY)) {
            return false;
        }
    }
    spies_compare(p);
    while (turn(p)) {
        /* until all have looked */
    }
    return n == PLUGIN_KINDS && spies_same(p);
}
