/* podlife.c - the state machine. */
#include "plugins/hollow-node/podlife.h"

#include <string.h>

/* A kubelet's back-off of containers that end: 10 s doubled to 5 minutes, forgotten after ten. The
 * first time it only takes a moment. */
#define CRASH_FIRST_MS  1000u
#define CRASH_MS        10000u
#define CRASH_MAX_MS    300000u
#define CRASH_FORGET_S  600
#define STOPPED_BY_KILL 137

static const char *const condition_names[PODLIFE_CONDITIONS] = {
    [PODLIFE_SANDBOX] = "PodReadyToStartContainers",
    [PODLIFE_INITIALIZED] = "Initialized",
    [PODLIFE_READY] = "Ready",
    [PODLIFE_CONTAINERS_READY] = "ContainersReady",
    [PODLIFE_SCHEDULED] = "PodScheduled",
};

const char *podlife_condition_name(enum podlife_condition c)
{
    return condition_names[c];
}

/* ---- beginning, perhaps in the middle ------------------------------------------------------- */

/* The condition of a type in the pod's status; NULL when it is not there. */
static const struct value *find_condition(const struct object *pod, struct slice type)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    const struct value *list = object_get(pod, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (slice_eq(value_slice(value_at(t, &list->items[i], "type")), type)) {
            return &list->items[i];
        }
    }
    return NULL;
}

static int64_t int_at(const struct schema_type *t, const struct value *m, const char *path)
{
    const struct value *v = value_at(t, m, path);
    return v != NULL && v->kind == VALUE_INT ? v->integer : 0;
}

static void restore_container(struct podlife_container *c, const struct value *status,
                              const struct podplan *plan, const struct podlife_now *now)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_STATUS);
    const struct value *ready = value_at(t, status, "ready");
    c->restarts = (int32_t)int_at(t, status, "restartCount");
    c->crashes = c->restarts;
    c->ready = ready != NULL && ready->boolean;
    if (value_at(t, status, "lastState.terminated") != NULL) {
        c->again = true;
        c->last_code = (int32_t)int_at(t, status, "lastState.terminated.exitCode");
        c->last_began_s = int_at(t, status, "lastState.terminated.startedAt");
        c->last_ended_s = int_at(t, status, "lastState.terminated.finishedAt");
    }
    if (value_at(t, status, "state.running") != NULL) {
        c->state = PODLIFE_RUNNING;
        c->began_s = int_at(t, status, "state.running.startedAt");
        uint64_t ran_ms =
            now->wall_s > c->began_s ? (uint64_t)(now->wall_s - c->began_s) * 1000 : 0;
        uint64_t left = plan->after_ms > ran_ms ? plan->after_ms - ran_ms : 0;
        c->due_ms = plan->ends ? now->ms + left : PODLIFE_NEVER;
        c->ready_ms = now->ms + (plan->ready_ms > ran_ms ? plan->ready_ms - ran_ms : 0);
    } else if (value_at(t, status, "state.terminated") != NULL) {
        c->state = PODLIFE_ENDED;
        c->code = (int32_t)int_at(t, status, "state.terminated.exitCode");
        c->began_s = int_at(t, status, "state.terminated.startedAt");
        c->ended_s = int_at(t, status, "state.terminated.finishedAt");
    }
}

static const struct value *find_status(const struct object *pod, bool init, size_t i)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_STATUS);
    const struct value *list =
        object_get(pod, init ? "status.initContainerStatuses" : "status.containerStatuses");
    const struct value *specs = object_get(pod, init ? "spec.initContainers" : "spec.containers");
    struct slice name =
        value_slice(value_at(schema_type(SCHEMA_CORE_V1_CONTAINER), &specs->items[i], "name"));
    for (size_t k = 0; k < value_len(list); k++) {
        if (slice_eq(value_slice(value_at(t, &list->items[k], "name")), name)) {
            return &list->items[k];
        }
    }
    return NULL;
}

static void restore(struct podlife *l, const struct object *pod, const struct podlife_now *now)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    struct slice phase = object_text(pod, "status.phase");
    l->start_s = object_int(pod, "status.startTime", 0);
    l->sandbox_ms = now->ms;
    l->sandbox = object_text(pod, "status.podIP").len > 0;
    l->failed = slice_eq(phase, slice_str("Failed"));
    l->done = l->failed || slice_eq(phase, slice_str("Succeeded"));
    for (int i = 0; i < PODLIFE_CONDITIONS; i++) {
        const struct value *c = find_condition(pod, slice_str(condition_names[i]));
        l->was[i] = c == NULL ? -1 : (int8_t)value_is_text(value_at(t, c, "status"), "True");
        l->since_s[i] = int_at(t, c, "lastTransitionTime");
    }
    for (size_t i = 0; i < l->init_count + l->count && l->start_s != 0; i++) {
        bool init = i < l->init_count;
        size_t at = init ? i : i - l->init_count;
        const struct value *status = find_status(pod, init, at);
        struct podplan plan;
        if (status != NULL) {
            podplan_of(pod, init, at, &plan);
            restore_container(&l->containers[i], status, &plan, now);
        }
    }
}

int podlife_open(struct podlife *l, const struct object *pod, const struct podlife_now *now)
{
    *l = (struct podlife){0};
    l->init_count = value_len(object_get(pod, "spec.initContainers"));
    l->count = value_len(object_get(pod, "spec.containers"));
    l->containers = mem_zalloc((l->init_count + l->count + 1) * sizeof *l->containers);
    if (l->containers == NULL) {
        return ERR_NOMEM;
    }
    restore(l, pod, now);
    return 0;
}

void podlife_close(struct podlife *l)
{
    mem_free(l->containers);
    l->containers = NULL;
}

/* ---- moving on ------------------------------------------------------------------------------ */

struct step {
    const struct object *pod;
    const struct podlife_times *times;
    const struct podlife_now *now;
    uint64_t next_ms;
    bool changed;
};

static void later(struct step *s, uint64_t ms)
{
    s->next_ms = ms < s->next_ms ? ms : s->next_ms;
}

static uint64_t crash_delay(int32_t crashes)
{
    uint64_t ms = CRASH_MS;
    if (crashes == 0) {
        return CRASH_FIRST_MS;
    }
    for (int32_t i = 1; i < crashes && ms < CRASH_MAX_MS; i++) {
        ms *= 2;
    }
    return ms < CRASH_MAX_MS ? ms : CRASH_MAX_MS;
}

static void end_container(struct podlife_container *c, int32_t code, int64_t wall_s)
{
    c->state = PODLIFE_ENDED;
    c->ready = false;
    c->code = code;
    c->ended_s = wall_s;
}

/* Waits to be started again. */
static void wait_again(struct podlife_container *c, const struct step *s)
{
    c->again = true;
    c->last_code = c->code;
    c->last_began_s = c->began_s;
    c->last_ended_s = c->ended_s;
    c->state = PODLIFE_WAITING;
    if (c->ended_s - c->began_s >= CRASH_FORGET_S) {
        c->crashes = 0;
    }
    c->due_ms = s->now->ms + crash_delay(c->crashes++);
}

/* restart: whether an end with a code is followed by another start. */
static void advance_container(struct podlife_container *c, const struct podplan *plan,
                              bool restart_ok, bool restart_failed, struct step *s)
{
    for (;;) {
        switch (c->state) {
        case PODLIFE_WAITING:
            if (c->due_ms > s->now->ms) {
                later(s, c->due_ms);
                return;
            }
            c->state = PODLIFE_RUNNING;
            c->began_s = s->now->wall_s;
            c->restarts += c->again;
            c->due_ms = plan->ends ? s->now->ms + plan->after_ms : PODLIFE_NEVER;
            c->ready_ms = s->now->ms + plan->ready_ms;
            break;
        case PODLIFE_RUNNING:
            if (c->due_ms <= s->now->ms) {
                end_container(c, plan->code, s->now->wall_s);
                break;
            }
            if (c->ready || c->ready_ms > s->now->ms) {
                later(s, c->ready ? PODLIFE_NEVER : c->ready_ms);
                later(s, c->due_ms);
                return;
            }
            c->ready = true;
            break;
        case PODLIFE_ENDED:
            if (!(c->code == 0 ? restart_ok : restart_failed)) {
                return;
            }
            wait_again(c, s);
            break;
        }
        s->changed = true;
    }
}

/* Init containers, in turn. True when all are through. */
static bool advance_init(struct podlife *l, bool never, struct step *s)
{
    for (size_t i = 0; i < l->init_count; i++) {
        struct podlife_container *c = &l->containers[i];
        struct podplan plan;
        podplan_of(s->pod, true, i, &plan);
        if (!plan.sidecar && !plan.ends) {
            plan.ends = true;
            plan.after_ms = s->times->init_ms;
        }
        if (!plan.sidecar) {
            plan.ready_ms = PODLIFE_NEVER - s->now->ms;
        }
        advance_container(c, &plan, plan.sidecar, plan.sidecar || !never, s);
        if (!plan.sidecar && c->state == PODLIFE_ENDED && c->code != 0) {
            l->failed = true;
            return false;
        }
        if (plan.sidecar ? c->state != PODLIFE_RUNNING : c->state != PODLIFE_ENDED) {
            return false;
        }
    }
    return true;
}

/* Everything that runs ends. */
static void end_all(struct podlife *l, int32_t code, int64_t wall_s)
{
    for (size_t i = 0; i < l->init_count + l->count; i++) {
        if (l->containers[i].state == PODLIFE_RUNNING) {
            end_container(&l->containers[i], code, wall_s);
        }
    }
}

static bool all_ended(const struct podlife *l)
{
    for (size_t i = l->init_count; i < l->init_count + l->count; i++) {
        if (l->containers[i].state != PODLIFE_ENDED) {
            return false;
        }
    }
    return true;
}

/* The pod is being deleted: true when nothing is left to do but that. */
static bool advance_stop(struct podlife *l, struct step *s)
{
    int64_t grace_s = object_int(s->pod, "metadata.deletionGracePeriodSeconds", 0);
    uint64_t grace_ms = grace_s > 0 ? (uint64_t)grace_s * 1000 : 0;
    uint64_t wait = s->times->stop_ms < grace_ms ? s->times->stop_ms : grace_ms;
    if (l->stop_ms == 0 || l->stop_ms > s->now->ms + grace_ms) {
        l->stop_ms = s->now->ms + wait;
    }
    if (l->done || !l->sandbox) {
        l->stopped = true;
        return true;
    }
    if (l->stop_ms > s->now->ms) {
        later(s, l->stop_ms);
        return false;
    }
    /* What has not started never will: it counts as killed. */
    for (size_t i = l->init_count; i < l->init_count + l->count; i++) {
        struct podlife_container *c = &l->containers[i];
        if (c->state == PODLIFE_WAITING) {
            end_container(c, c->again ? c->last_code : STOPPED_BY_KILL, s->now->wall_s);
        }
    }
    end_all(l, 0, s->now->wall_s);
    l->done = true;
    l->stopped = true;
    s->changed = true;
    return true;
}

static void advance_containers(struct podlife *l, struct step *s)
{
    struct slice policy = object_text(s->pod, "spec.restartPolicy");
    bool never = slice_eq(policy, slice_str("Never"));
    bool always = !never && !slice_eq(policy, slice_str("OnFailure"));
    if (advance_init(l, never, s)) {
        for (size_t i = 0; i < l->count; i++) {
            struct podplan plan;
            podplan_of(s->pod, false, i, &plan);
            advance_container(&l->containers[l->init_count + i], &plan, always, !never, s);
        }
    }
    if (l->failed || (!always && all_ended(l))) {
        end_all(l, 0, s->now->wall_s);
        l->done = true;
        s->changed = true;
    }
}

bool podlife_advance(struct podlife *l, const struct object *pod, const struct podlife_times *times,
                     const struct podlife_now *now, uint64_t *next_ms)
{
    struct step s = {.pod = pod, .times = times, .now = now, .next_ms = PODLIFE_NEVER};
    bool deleted = object_int(pod, "metadata.deletionTimestamp", 0) != 0;
    if ((deleted && advance_stop(l, &s)) || l->done) {
        *next_ms = PODLIFE_NEVER;
        return s.changed;
    }
    if (l->start_s == 0) {
        l->start_s = now->wall_s;
        l->sandbox_ms = now->ms + times->start_ms;
        s.changed = true;
    }
    if (!l->sandbox && l->sandbox_ms <= now->ms) {
        l->sandbox = true;
        s.changed = true;
    }
    if (l->sandbox) {
        advance_containers(l, &s);
    } else {
        later(&s, l->sandbox_ms);
    }
    *next_ms = s.next_ms;
    return s.changed;
}

/* ---- what it shows -------------------------------------------------------------------------- */

static bool initialized(const struct podlife *l)
{
    for (size_t i = 0; i < l->init_count; i++) {
        const struct podlife_container *c = &l->containers[i];
        /* A sidecar that runs is ready or becomes so; the others have ended well. */
        if (!(c->state == PODLIFE_ENDED && c->code == 0) &&
            !(c->state == PODLIFE_RUNNING && c->ready)) {
            return false;
        }
    }
    return true;
}

const char *podlife_phase(const struct podlife *l)
{
    bool failed = l->failed;
    bool begun = false;
    for (size_t i = l->init_count; i < l->init_count + l->count; i++) {
        const struct podlife_container *c = &l->containers[i];
        failed = failed || (c->state == PODLIFE_ENDED && c->code != 0);
        begun = begun || c->state != PODLIFE_WAITING || c->again;
    }
    return l->done ? failed ? "Failed" : "Succeeded" : begun ? "Running" : "Pending";
}

static bool gates_open(const struct object *pod)
{
    const struct schema_type *gate = schema_type(SCHEMA_CORE_V1_POD_READINESS_GATE);
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    const struct value *gates = object_get(pod, "spec.readinessGates");
    for (size_t i = 0; i < value_len(gates); i++) {
        struct slice type = value_slice(value_at(gate, &gates->items[i], "conditionType"));
        const struct value *c = find_condition(pod, type);
        if (c == NULL || !value_is_text(value_at(t, c, "status"), "True")) {
            return false;
        }
    }
    return true;
}

bool podlife_holds(const struct podlife *l, const struct object *pod, enum podlife_condition c)
{
    bool ready = initialized(l) && !l->done;
    switch (c) {
    case PODLIFE_SANDBOX:
        return l->sandbox && !l->done;
    case PODLIFE_INITIALIZED:
        return initialized(l) || (l->done && !l->failed);
    case PODLIFE_SCHEDULED:
        return true;
    default:
        for (size_t i = l->init_count; i < l->init_count + l->count; i++) {
            ready = ready && l->containers[i].ready;
        }
        return ready && (c == PODLIFE_CONTAINERS_READY || gates_open(pod));
    }
}

bool podlife_shows(const struct podlife *l, const struct object *pod)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    if (!slice_eq(object_text(pod, "status.phase"), slice_str(podlife_phase(l)))) {
        return false;
    }
    for (int i = 0; i < PODLIFE_CONDITIONS; i++) {
        const struct value *c = find_condition(pod, slice_str(condition_names[i]));
        const char *status = podlife_holds(l, pod, (enum podlife_condition)i) ? "True" : "False";
        if (c == NULL || !value_is_text(value_at(t, c, "status"), status)) {
            return false;
        }
    }
    return true;
}
