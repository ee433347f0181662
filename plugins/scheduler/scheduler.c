/* scheduler.c - the scheduler plugin: its options, its life. */
#include "plugins/scheduler/scheduler.h"

#include <stdio.h>

#define AT(member)   offsetof(struct scheduler_conf, member)
#define WEIGHT(rule) (AT(weights.of) + (rule) * sizeof(int64_t))
#define WEIGHT_MAX   100
#define HOUR_MS      3600000
#define R            KVP_OPT_RELOADABLE

static const struct kvp_option options[] = {
    {"scheduler-name", KVP_OPT_STRING, 0, AT(scheduler_name), "default-scheduler",
     .help = "pods whose spec.schedulerName is this are scheduled"},
    {"percentage-of-nodes-to-score", KVP_OPT_INT, R, AT(weights.percentage), "0", 0, 100,
     .help = "in clusters of 100 nodes and more the search ends when so many fit; 0 = adaptive"},
    {"pod-initial-backoff", KVP_OPT_DURATION, R, AT(backoff_min_ms), "1s", 1, HOUR_MS,
     .help = "how long a pod waits after its first failure; doubled each time"},
    {"pod-max-backoff", KVP_OPT_DURATION, R, AT(backoff_max_ms), "10s", 1, HOUR_MS,
     .help = "how long it waits at most"},
    {"hard-pod-affinity-weight", KVP_OPT_INT, R, AT(weights.hard_affinity), "1", 0, WEIGHT_MAX,
     .help = "what required affinity of other pods to this one counts in scores"},
    {"weight-taint-toleration", KVP_OPT_INT, R, WEIGHT(SCHED_TAINTS), "3", 0, WEIGHT_MAX,
     .help = "weight of nodes without PreferNoSchedule taints; 0 = no matter"},
    {"weight-node-affinity", KVP_OPT_INT, R, WEIGHT(SCHED_NODE_AFFINITY), "2", 0, WEIGHT_MAX,
     .help = "weight of preferred node affinity"},
    {"weight-node-resources-fit", KVP_OPT_INT, R, WEIGHT(SCHED_FIT), "1", 0, WEIGHT_MAX,
     .help = "weight of nodes with much left"},
    {"weight-pod-topology-spread", KVP_OPT_INT, R, WEIGHT(SCHED_SPREAD), "2", 0, WEIGHT_MAX,
     .help = "weight of even spreading"},
    {"weight-inter-pod-affinity", KVP_OPT_INT, R, WEIGHT(SCHED_POD_AFFINITY), "2", 0, WEIGHT_MAX,
     .help = "weight of preferred pod affinity"},
    {"weight-node-resources-balanced-allocation", KVP_OPT_INT, R, WEIGHT(SCHED_BALANCED), "1", 0,
     WEIGHT_MAX, .help = "weight of nodes whose CPU and memory are used alike"},
    {"weight-image-locality", KVP_OPT_INT, R, WEIGHT(SCHED_IMAGES), "1", 0, WEIGHT_MAX,
     .help = "weight of nodes that have the images"},
    {0}};

static int scheduler_check(const struct scheduler_conf *conf, struct kvp_errmsg *e)
{
    if (conf->backoff_min_ms > conf->backoff_max_ms) {
        snprintf(e->text, sizeof e->text,
                 "pod-initial-backoff is longer than pod-max-backoff: %lld and %lld ms",
                 (long long)conf->backoff_min_ms, (long long)conf->backoff_max_ms);
        return KVP_INVALID;
    }
    return 0;
}

/* ---- metrics -----------------------------------------------------------------------------------
 */

static int scheduler_series(struct scheduler *s, uint32_t id, const char *const *labels,
                            enum scheduler_metric first, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct kvp_bytes label = kvp_str(labels[i]);
        rc = s->host->metric_series(s->ctx, id, &label, 1, &s->metrics[first + i]);
    }
    return rc;
}

static int scheduler_metrics(struct scheduler *s)
{
    static const char *const results[] = {"scheduled", "unschedulable", "error"};
    static const char *const queues[] = {"active", "backoff", "unschedulable", "gated"};
    struct kvp_metric_args attempts = {.size = sizeof attempts,
                                       .type = KVP_COUNTER,
                                       .name = "schedule_attempts_total",
                                       .help = "Pods that were given a node, or not.",
                                       .labels = {"result"}};
    struct kvp_metric_args pending = {.size = sizeof pending,
                                      .type = KVP_GAUGE,
                                      .name = "pending_pods",
                                      .help = "Pods that wait, by queue.",
                                      .labels = {"queue"}};
    struct kvp_metric_args victims = {.size = sizeof victims,
                                      .type = KVP_COUNTER,
                                      .name = "preemption_victims_total",
                                      .help = "Pods that had to leave for others."};
    struct kvp_metric_args wait = {.size = sizeof wait,
                                   .type = KVP_HISTOGRAM,
                                   .name = "pod_scheduling_sli_duration_seconds",
                                   .help = "From being seen to being bound."};
    uint32_t id = 0;
    int rc = s->host->metric(s->ctx, &attempts, &id);
    rc = rc == 0 ? scheduler_series(s, id, results, SCHED_METRIC_SCHEDULED, 3) : rc;
    rc = rc == 0 ? s->host->metric(s->ctx, &pending, &id) : rc;
    rc = rc == 0 ? scheduler_series(s, id, queues, SCHED_METRIC_ACTIVE, 4) : rc;
    rc = rc == 0 ? s->host->metric(s->ctx, &victims, &s->metrics[SCHED_METRIC_VICTIMS]) : rc;
    return rc == 0 ? s->host->metric(s->ctx, &wait, &s->metrics[SCHED_METRIC_WAIT]) : rc;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void scheduler_free(struct scheduler *s)
{
    sched_cluster_close(&s->cluster);
    sched_cycle_close(&s->cycle);
    sched_preempt_close(&s->preemption);
    arena_close(&s->spread_arena);
    mem_free(s);
}

static int scheduler_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                          void **self, struct kvp_errmsg *e)
{
    struct scheduler *s = scheduler_check(conf, e) != 0 ? NULL : mem_zalloc(sizeof *s);
    if (s == NULL) {
        if (e->text[0] == '\0') {
            snprintf(e->text, sizeof e->text, "out of memory");
        }
        return KVP_INVALID;
    }
    s->host = host;
    s->ctx = ctx;
    s->conf = conf;
    sched_cluster_init(&s->cluster);
    sched_cycle_init(&s->cycle);
    sched_preempt_init(&s->preemption);
    arena_init(&s->spread_arena, 0);
    int rc = scheduler_metrics(s);
    rc = rc == 0 ? scheduler_explain_open(s, e) : rc;
    rc = rc == 0 ? scheduler_watch(s) : rc;
    if (rc != 0) {
        if (e->text[0] == '\0') {
            snprintf(e->text, sizeof e->text, "init failed (reason %d)", rc);
        }
        scheduler_free(s);
        return rc;
    }
    *self = s;
    return 0;
}

static int scheduler_start(void *self, struct kvp_ctx *ctx, uint64_t term)
{
    struct scheduler *s = self;
    s->term = (struct client){s->host, ctx};
    sched_queue_init(&s->queue, (uint64_t)s->conf->backoff_min_ms,
                     (uint64_t)s->conf->backoff_max_ms);
    s->leading = true;
    s->recorder = recorder_open(s->term, s->conf->scheduler_name);
    int rc = s->recorder == NULL ? KVP_NO_MEMORY : 0;
    rc = rc == 0 ? alarm_open(&s->alarm, s->term, scheduler_turn, s) : rc;
    if (rc == 0) {
        scheduler_queue_all(s);
    }
    return rc;
}

/* What was decided but does not show is forgotten: the next leader decides, and a pod that has its
 * node already refuses another one. */
static void scheduler_stop(void *self, int32_t reason)
{
    struct scheduler *s = self;
    s->leading = false;
    s->current = NULL;
    s->begun = false;
    s->bindings = 0;
    alarm_close(&s->alarm);
    recorder_close(s->recorder);
    s->recorder = NULL;
    sched_queue_close(&s->queue);
    while (!list_empty(&s->cluster.assumed)) {
        sched_cluster_forget(&s->cluster,
                             LIST_ENTRY(s->cluster.assumed.next, struct sched_pod, by_assumption));
    }
    for (size_t i = 0; i < 4; i++) {
        s->host->metric_set(s->ctx, s->metrics[SCHED_METRIC_ACTIVE + i], 0);
    }
}

static int scheduler_reload(void *self, const void *conf, struct kvp_errmsg *e)
{
    struct scheduler *s = self;
    int rc = scheduler_check(conf, e);
    if (rc == 0) {
        s->conf = conf;
        s->queue.backoff_min_ms = (uint64_t)s->conf->backoff_min_ms;
        s->queue.backoff_max_ms = (uint64_t)s->conf->backoff_max_ms;
        s->begun = false; /* the cycle under way looks at the old weights */
    }
    return rc;
}

static void scheduler_fini(void *self)
{
    struct scheduler *s = self;
    scheduler_unwatch(s);
    scheduler_free(s);
}

KVP_PLUGIN(.name = "scheduler", .version = "0.1", .about = "gives pods their nodes",
           .options = options, .conf_size = sizeof(struct scheduler_conf), .init = scheduler_init,
           .start = scheduler_start, .stop = scheduler_stop, .reload = scheduler_reload,
           .fini = scheduler_fini);
