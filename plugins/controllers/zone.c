/* zone.c - states of zones and the rates that follow from them. */
#include "plugins/controllers/zone.h"

#define ZONE_WAIT_MS_MAX   1e12 /* thirty years: a rate so low is never */
#define ZONE_DISRUPTED_MIN 3u   /* fewer nodes that are not ready are no disruption */

enum zone_state zone_state(size_t ready, size_t not_ready, const struct zone_conf *conf)
{
    if (ready == 0 && not_ready > 0) {
        return ZONE_FULL;
    }
    bool many = not_ready >= ZONE_DISRUPTED_MIN &&
                (double)not_ready >= conf->threshold * (double)(ready + not_ready);
    return many ? ZONE_PARTIAL : ZONE_NORMAL;
}

double zone_rate(enum zone_state state, size_t nodes, const struct zone_conf *conf)
{
    if (state != ZONE_PARTIAL) {
        return conf->rate;
    }
    return (int64_t)nodes > conf->large ? conf->secondary_rate : 0;
}

static uint64_t zone_wait_ms(double rate)
{
    double ms = 1000.0 / rate;
    return (uint64_t)(ms < ZONE_WAIT_MS_MAX ? ms : ZONE_WAIT_MS_MAX);
}

void zone_limiter_set(struct zone_limiter *l, double rate, uint64_t now_ms)
{
    if (rate == l->rate) {
        return;
    }
    bool waiting = l->rate > 0 && now_ms < l->next_ms;
    l->rate = rate;
    l->next_ms = waiting && rate > 0 ? now_ms + zone_wait_ms(rate) : now_ms;
}

bool zone_limiter_take(struct zone_limiter *l, uint64_t now_ms)
{
    if (l->rate <= 0 || now_ms < l->next_ms) {
        return false;
    }
    l->next_ms = now_ms + zone_wait_ms(l->rate);
    return true;
}
