/* ended_queues.h - the plugin in the test host, which calls it a mistake to close a queue whose
 * context has ended. plugins/client does so on purpose (client/alarm.h): kvd's own host keeps the
 * handle good. Between the two this lets such closings pass, and nothing else. */
#ifndef KVD_TESTS_SCHED_ENDED_QUEUES_H
#define KVD_TESTS_SCHED_ENDED_QUEUES_H

#include <kvplugin-test.h>

#define ENDED_QUEUES_MAX 64

static struct {
    const struct kvp_plugin *plugin;
    const struct kvp_host *host;
    struct kvp_host table;
    struct kvp_plugin shown;
    struct {
        struct kvp_queue *queue;
        struct kvp_ctx *ctx;
        int ended;
    } queues[ENDED_QUEUES_MAX];
    struct kvp_ctx *term;
} ended;

static int ended_queue_open(struct kvp_ctx *ctx, const struct kvp_queue_args *a,
                            struct kvp_queue **out)
{
    int rc = ended.host->queue_open(ctx, a, out);
    for (size_t i = 0; i < ENDED_QUEUES_MAX && rc == 0; i++) {
        if (ended.queues[i].queue == NULL) {
            ended.queues[i].queue = *out;
            ended.queues[i].ctx = ctx;
            ended.queues[i].ended = 0;
            break;
        }
    }
    return rc;
}

static void ended_queue_close(struct kvp_queue *q)
{
    for (size_t i = 0; i < ENDED_QUEUES_MAX; i++) {
        if (ended.queues[i].queue == q) {
            ended.queues[i].queue = NULL;
            if (ended.queues[i].ended) {
                return;
            }
        }
    }
    ended.host->queue_close(q);
}

static void ended_mark(const struct kvp_ctx *ctx)
{
    for (size_t i = 0; i < ENDED_QUEUES_MAX; i++) {
        ended.queues[i].ended |= ctx == NULL || ended.queues[i].ctx == ctx;
    }
}

static int ended_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                      void **self, struct kvp_errmsg *e)
{
    ended.host = host;
    ended.table = *host;
    ended.table.queue_open = ended_queue_open;
    ended.table.queue_close = ended_queue_close;
    memset(ended.queues, 0, sizeof ended.queues);
    return ended.plugin->init(ctx, &ended.table, conf, self, e);
}

static int ended_start(void *self, struct kvp_ctx *term_ctx, uint64_t term)
{
    ended.term = term_ctx;
    return ended.plugin->start(self, term_ctx, term);
}

static void ended_stop(void *self, int32_t reason)
{
    ended_mark(ended.term);
    ended.plugin->stop(self, reason);
}

static void ended_fini(void *self)
{
    ended_mark(NULL);
    ended.plugin->fini(self);
}

/* What to hand to t_open. */
static const struct kvp_plugin *ended_entry(void)
{
    ended.plugin = kvplugin_entry();
    ended.shown = *ended.plugin;
    ended.shown.init = ended_init;
    ended.shown.start = ended_start;
    ended.shown.stop = ended_stop;
    ended.shown.fini = ended_fini;
    return &ended.shown;
}

#endif
