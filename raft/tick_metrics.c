/* tick_metrics.c - a maximum is written by the raft loop and taken by the scraping thread. */
#include "raft/tick_metrics.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/metrics.h"

static _Atomic uint64_t tick_late_ns;
static _Atomic uint64_t tick_held_ns;

/* Takes the maximum: the next one begins at nothing. */
static double tick_take(void *data)
{
    _Atomic uint64_t *most = data;
    return (double)atomic_exchange_explicit(most, 0, memory_order_relaxed) / 1e9;
}

static struct metric tick_late_metric = {
    .name = "kvd_raft_tick_late_seconds_max",
    .help = "By how much the raft loop's tick came late at most since the last scrape.",
    .type = METRIC_GAUGE,
    .read = tick_take,
    .data = &tick_late_ns,
};
static struct metric tick_held_metric = {
    .name = "kvd_raft_tick_held_seconds_max",
    .help = "The same without the time in which the thread waited for a processor.",
    .type = METRIC_GAUGE,
    .read = tick_take,
    .data = &tick_held_ns,
};

void tick_metrics_register(void)
{
    metrics_register(&tick_late_metric);
    metrics_register(&tick_held_metric);
}

static void tick_raise(_Atomic uint64_t *most, uint64_t ns)
{
    uint64_t seen = atomic_load_explicit(most, memory_order_relaxed);
    while (seen < ns && !atomic_compare_exchange_weak_explicit(
                            most, &seen, ns, memory_order_relaxed, memory_order_relaxed)) {
    }
}

void tick_metrics_came(uint64_t gap_ns, uint64_t every_ns, uint64_t waited_ns)
{
    uint64_t late = gap_ns > every_ns ? gap_ns - every_ns : 0;
    tick_raise(&tick_late_ns, late);
    tick_raise(&tick_held_ns, late > waited_ns ? late - waited_ns : 0);
}

/* Nanoseconds this thread was ready to run but did not, ever: the second number. */
static uint64_t tick_waited(const struct tick_watch *w)
{
    char text[96];
    unsigned long long ran;
    unsigned long long waited;
    ssize_t n = w->fd < 0 ? -1 : pread(w->fd, text, sizeof(text) - 1, 0);
    if (n <= 0) {
        return w->waited_ns;
    }
    text[n] = '\0';
    return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : w->waited_ns;
}

void tick_watch_open(struct tick_watch *w, uint64_t every_ms, uint64_t now_ns)
{
    *w = (struct tick_watch){.every_ns = every_ms * 1000000u, .last_ns = now_ns};
    w->fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    w->waited_ns = tick_waited(w);
}

void tick_watch_tick(struct tick_watch *w, uint64_t now_ns)
{
    uint64_t waited = tick_waited(w);
    tick_metrics_came(now_ns - w->last_ns, w->every_ns, waited - w->waited_ns);
    w->waited_ns = waited;
    w->last_ns = now_ns;
}

void tick_watch_close(struct tick_watch *w)
{
    if (w->fd >= 0) {
        close(w->fd);
        w->fd = -1;
    }
}
