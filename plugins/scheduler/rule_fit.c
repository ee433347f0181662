/* rule_fit.c - NodeResourcesFit: what the pod asks for must be left; the more is left the better.
 */
#include "plugins/scheduler/cycle.h"

/* CPU, memory and disk, then extra resources. */
#define FIT_PLAIN 3u

struct rule_fit_state {
    struct slice *insufficient; /* "Insufficient NAME" of each extra resource */
};

static enum sched_go rule_fit_pre(struct sched_cycle *c)
{
    const struct sched_amounts *a = &c->pod->request;
    struct rule_fit_state *s = sched_cycle_alloc(c, sizeof *s);
    static const char word[] = "Insufficient ";
    if (s == NULL) {
        return SCHED_GO;
    }
    c->state[SCHED_FIT] = s;
    s->insufficient = sched_cycle_alloc(c, a->extra_count * sizeof *s->insufficient);
    for (size_t i = 0; i < a->extra_count && s->insufficient != NULL; i++) {
        size_t len = sizeof word - 1 + a->extra[i].name.len;
        uint8_t *text = sched_cycle_alloc(c, len);
        if (text != NULL) {
            memcpy(text, word, sizeof word - 1);
            memcpy(text + sizeof word - 1, a->extra[i].name.data, a->extra[i].name.len);
            s->insufficient[i] = slice_of(text, len);
        }
    }
    return SCHED_GO;
}

/* What is too little, collected. */
struct rule_fit_list {
    struct slice reasons[FIT_PLAIN + 1];
    struct slice *extra; /* into the cycle's arena */
    size_t count, extra_count;
    bool never; /* more is asked for than the node has at all */
};

static bool rule_fit_lacks(int64_t wanted, int64_t allocatable, int64_t requested)
{
    return wanted > 0 && wanted > allocatable - requested;
}

static void rule_fit_plain(struct rule_fit_list *l, const char *reason, int64_t wanted,
                           int64_t allocatable, int64_t requested)
{
    if (rule_fit_lacks(wanted, allocatable, requested)) {
        l->reasons[l->count++] = slice_str(reason);
        l->never = l->never || wanted > allocatable;
    }
}

static void rule_fit_extra(struct sched_cycle *c, const struct sched_node *n,
                           struct rule_fit_list *l)
{
    const struct sched_amounts *a = &c->pod->request;
    const struct rule_fit_state *s = c->state[SCHED_FIT];
    for (size_t i = 0; i < a->extra_count; i++) {
        int64_t allocatable = sched_amounts_extra(&n->allocatable, a->extra[i].name);
        int64_t requested = sched_amounts_extra(&n->requested, a->extra[i].name);
        if (!rule_fit_lacks(a->extra[i].amount, allocatable, requested)) {
            continue;
        }
        l->never = l->never || a->extra[i].amount > allocatable;
        if (l->extra == NULL) {
            l->extra = sched_cycle_alloc(c, a->extra_count * sizeof *l->extra);
        }
        if (l->extra != NULL) {
            l->extra[l->extra_count++] = s->insufficient[i];
        }
    }
}

static enum sched_code rule_fit_filter(struct sched_cycle *c, struct sched_node *n,
                                       struct sched_verdict *v)
{
    const struct sched_amounts *a = &c->pod->request;
    struct rule_fit_list l = {0};
    if ((int64_t)n->pod_count + 1 > n->pods_max) {
        l.reasons[l.count++] = slice_str("Too many pods");
    }
    rule_fit_plain(&l, "Insufficient cpu", a->cpu_m, n->allocatable.cpu_m, n->requested.cpu_m);
    rule_fit_plain(&l, "Insufficient memory", a->memory, n->allocatable.memory,
                   n->requested.memory);
    rule_fit_plain(&l, "Insufficient ephemeral-storage", a->disk, n->allocatable.disk,
                   n->requested.disk);
    rule_fit_extra(c, n, &l);
    if (l.count + l.extra_count == 0) {
        return SCHED_FITS;
    }
    struct slice *reasons = sched_cycle_alloc(c, (l.count + l.extra_count) * sizeof *reasons);
    if (reasons == NULL) {
        return sched_refuse(v, SCHED_UNSCHEDULABLE, NULL, 0);
    }
    memcpy(reasons, l.reasons, l.count * sizeof *reasons);
    if (l.extra_count > 0) {
        memcpy(reasons + l.count, l.extra, l.extra_count * sizeof *reasons);
    }
    return sched_refuse(v, l.never ? SCHED_UNRESOLVABLE : SCHED_UNSCHEDULABLE, reasons,
                        l.count + l.extra_count);
}

/* A new or larger node may do if it is large enough at all; a pod that left makes room for sure. */
static bool rule_fit_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    const struct sched_amounts *a = &pod->request;
    if (e->node == NULL) {
        return true;
    }
    const struct sched_amounts *has = &e->node->allocatable;
    for (size_t i = 0; i < a->extra_count; i++) {
        if (a->extra[i].amount > sched_amounts_extra(has, a->extra[i].name)) {
            return false;
        }
    }
    return a->cpu_m <= has->cpu_m && a->memory <= has->memory && a->disk <= has->disk &&
           e->node->pods_max > 0;
}

/* ---- least allocated ---------------------------------------------------------------------------
 */

static int64_t rule_fit_left(int64_t requested, int64_t allocatable)
{
    return requested > allocatable
               ? 0
               : (int64_t)((__int128)(allocatable - requested) * SCHED_SCORE_MAX / allocatable);
}

static int64_t rule_fit_score(struct sched_cycle *c, struct sched_node *n)
{
    int64_t sum = 0;
    int64_t weights = 0;
    if (n->allocatable.cpu_m != 0) {
        sum += rule_fit_left(n->score_cpu_m + c->pod->score_cpu_m, n->allocatable.cpu_m);
        weights++;
    }
    if (n->allocatable.memory != 0) {
        sum += rule_fit_left(n->score_memory + c->pod->score_memory, n->allocatable.memory);
        weights++;
    }
    return weights == 0 ? 0 : sum / weights;
}

const struct sched_rule sched_rule_fit = {
    .name = "NodeResourcesFit",
    .events = SCHED_NODE_ADDED | SCHED_NODE_ALLOCATABLE | SCHED_POD_GONE | SCHED_POD_SMALLER,
    .hint = rule_fit_hint,
    .pre = rule_fit_pre,
    .filter = rule_fit_filter,
    .score = rule_fit_score,
    .weight = 1,
};

/* ---- balanced ----------------------------------------------------------------------------------
 */

static enum sched_go rule_balanced_pre_score(struct sched_cycle *c)
{
    const struct sched_amounts *a = &c->pod->request;
    return a->cpu_m == 0 && a->memory == 0 ? SCHED_SKIP : SCHED_GO;
}

static double rule_balanced_fraction(int64_t requested, int64_t allocatable)
{
    double f = (double)requested / (double)allocatable;
    return f > 1 ? 1 : f;
}

/* CPU and memory should be used up alike: of two numbers half their distance is the deviation. */
static int64_t rule_balanced_score(struct sched_cycle *c, struct sched_node *n)
{
    double deviation = 0;
    if (n->allocatable.cpu_m != 0 && n->allocatable.memory != 0) {
        double cpu = rule_balanced_fraction(n->requested.cpu_m + c->pod->request.cpu_m,
                                            n->allocatable.cpu_m);
        double memory = rule_balanced_fraction(n->requested.memory + c->pod->request.memory,
                                               n->allocatable.memory);
        deviation = (cpu > memory ? cpu - memory : memory - cpu) / 2;
    }
    return (int64_t)((1 - deviation) * SCHED_SCORE_MAX);
}

const struct sched_rule sched_rule_balanced = {
    .name = "NodeResourcesBalancedAllocation",
    .pre_score = rule_balanced_pre_score,
    .score = rule_balanced_score,
    .weight = 1,
};
