/* probe.h - a plugin without a will of its own: a test runs its functions inside its callbacks. */
#ifndef KVD_TESTS_UNIT_PLUGINS_PROBE_H
#define KVD_TESTS_UNIT_PLUGINS_PROBE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "include/kvplugin-test.h"

struct probe {
    struct kvp_ctx *ctx;  /* of init */
    struct kvp_ctx *term; /* of the last start */
    const struct kvp_host *host;
    int starts;
    int stops;
    int32_t stop_reason;
    int (*on_init)(void); /* set before probe_open; may be NULL, as those below */
    int (*on_start)(void);
    void (*on_stop)(void);
    void (*on_fini)(void);
    void (*inside)(void *data);
};
static struct probe probe;

static int probe_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                      void **self, struct kvp_errmsg *e)
{
    (void)conf;
    probe.ctx = ctx;
    probe.host = host;
    *self = &probe;
    int status = probe.on_init != NULL ? probe.on_init() : 0;
    snprintf(e->text, sizeof(e->text), "on_init answered %d", status);
    return status;
}

static int probe_start(void *self, struct kvp_ctx *term_ctx, uint64_t term)
{
    (void)self;
    (void)term;
    probe.term = term_ctx;
    probe.starts++;
    return probe.on_start != NULL ? probe.on_start() : 0;
}

static void probe_stop(void *self, int32_t reason)
{
    (void)self;
    probe.stops++;
    probe.stop_reason = reason;
    if (probe.on_stop != NULL) {
        probe.on_stop();
    }
}

static void probe_fini(void *self)
{
    (void)self;
    if (probe.on_fini != NULL) {
        probe.on_fini();
    }
}

static const struct kvp_plugin probe_plugin = {.size = sizeof(struct kvp_plugin),
                                               .abi_major = KVP_ABI_MAJOR,
                                               .abi_minor = KVP_ABI_MINOR,
                                               .flags = KVP_FOLLOW,
                                               .name = "probe",
                                               .version = "1.0",
                                               .about = "Does what a test says.",
                                               .init = probe_init,
                                               .start = probe_start,
                                               .stop = probe_stop,
                                               .fini = probe_fini};

static int probe_inside_done;
static void probe_posted(void *data)
{
    probe.inside(data);
    probe_inside_done = 1;
}

/* Runs fn in a callback of its own, soon. */
static inline void inside(void (*fn)(void *data), void *data)
{
    probe.inside = fn;
    probe_inside_done = 0;
    while (probe.host->post(probe.ctx, probe_posted, data) != 0) {
        t_advance(1); /* a fault was drawn for it */
    }
    while (!probe_inside_done) {
        assert_true(t_step());
    }
}

#endif
