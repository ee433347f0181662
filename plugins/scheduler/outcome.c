/* outcome.c - a pod has no node: who is told, and who has to leave; see scheduler.h. */
#include "plugins/scheduler/scheduler.h"

#include "base/json.h"
#include "plugins/object/instant.h"

/* What the status is to say. */
struct outcome_status {
    const char *reason; /* Unschedulable, SchedulerError */
    struct slice message;
    const char *nominated; /* NULL: as it is; "": none */
    size_t nominated_len;
};

const struct object *scheduler_object(struct scheduler *s, const struct sched_pod *p)
{
    const struct object *o = informer_get(s->informers[SCHED_WATCH_PODS], p->key);
    return o != NULL && slice_eq(object_uid(o), p->uid) ? o : NULL;
}

/* ---- conditions --------------------------------------------------------------------------------
 */

static const struct value *outcome_condition(const struct object *o, const char *type)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    const struct value *list = object_get(o, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(t, &list->items[i], "type"), type)) {
            return &list->items[i];
        }
    }
    return NULL;
}

static bool outcome_says(const struct value *condition, const char *member, struct slice text)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_CONDITION);
    return condition != NULL && slice_eq(value_slice(value_find(t, condition, member)), text);
}

static void outcome_text(struct json *j, const char *key, struct slice text)
{
    json_key(j, key);
    json_str(j, text);
}

/* One condition of a patch; the time of its change only when it changes. */
static void outcome_write_condition(struct scheduler *s, struct json *j, const struct object *o,
                                    const char *type, const char *status, const char *reason,
                                    struct slice message)
{
    char time[INSTANT_TEXT_BYTES_MAX];
    size_t len = instant_print((int64_t)(s->host->wall_us(s->ctx) / 1000000u), time);
    int64_t generation = object_int(o, "metadata.generation", 0);
    json_object(j);
    outcome_text(j, "type", slice_str(type));
    outcome_text(j, "status", slice_str(status));
    outcome_text(j, "reason", slice_str(reason));
    outcome_text(j, "message", message);
    if (!outcome_says(outcome_condition(o, type), "status", slice_str(status))) {
        outcome_text(j, "lastTransitionTime", slice_of(time, len));
    }
    if (generation > 0) {
        json_key(j, "observedGeneration");
        json_int(j, generation);
    }
    json_object_end(j);
}

/* Begins {"metadata":{"uid":...},"status":{ : the patch is for this pod only. */
static void outcome_open_patch(struct json *j, struct buf *out, const struct object *o)
{
    json_init(j, out);
    json_object(j);
    json_key(j, "metadata");
    json_object(j);
    outcome_text(j, "uid", object_uid(o));
    json_object_end(j);
    json_key(j, "status");
    json_object(j);
}

static void outcome_close_patch(struct json *j)
{
    json_object_end(j);
    json_object_end(j);
}

static void outcome_send_patch(struct scheduler *s, const struct object *o, struct buf *body,
                               client_done_fn *done, void *data, int *rc)
{
    *rc = body->failed ? KVP_NO_MEMORY
                       : client_patch(s->term, o, "status", CLIENT_PATCH_STRATEGIC, buf_slice(body),
                                      done, data);
}

/* Writes the status unless it says so already. Nobody waits for it: the next failure writes again.
 */
static void outcome_write(struct scheduler *s, const struct object *o,
                          const struct outcome_status *status)
{
    const struct value *was = outcome_condition(o, "PodScheduled");
    struct slice nominated = slice_of(status->nominated, status->nominated_len);
    bool renominated = status->nominated != NULL &&
                       !slice_eq(nominated, object_text(o, "status.nominatedNodeName"));
    bool same = outcome_says(was, "status", slice_str("False")) &&
                outcome_says(was, "reason", slice_str(status->reason)) &&
                outcome_says(was, "message", status->message);
    struct buf body;
    struct json j;
    int rc = 0;
    if (same && !renominated) {
        return;
    }
    buf_init(&body);
    outcome_open_patch(&j, &body, o);
    json_key(&j, "conditions");
    json_array(&j);
    outcome_write_condition(s, &j, o, "PodScheduled", "False", status->reason, status->message);
    json_array_end(&j);
    if (renominated) {
        json_key(&j, "nominatedNodeName");
        if (nominated.len > 0) {
            json_str(&j, nominated);
        } else {
            json_null(&j);
        }
    }
    outcome_close_patch(&j);
    outcome_send_patch(s, o, &body, NULL, NULL, &rc);
    buf_close(&body);
}

/* ---- victims -----------------------------------------------------------------------------------
 */

/* One victim, from its condition to its deletion. */
struct outcome_victim {
    struct scheduler *s;
    struct slice space, name, uid; /* behind the struct */
};

static void outcome_deleted(void *data, const struct client_answer *a)
{
    struct scheduler *s = data;
    if (!a->ok && a->status != 404 && a->reason != KVP_STOPPED) {
        KVP_LOG(s->host, s->ctx, KVP_WARN, "a victim could not be deleted",
                kvp_f_bytes("why", kvp_of_slice(a->message)));
    }
}

static void outcome_delete(struct outcome_victim *v)
{
    struct client_delete opt = {.uid = v->uid, .grace_s = -1};
    if (client_delete(v->s->term, schema_type(SCHEMA_CORE_V1_POD), v->space, v->name, &opt,
                      outcome_deleted, v->s) != 0) {
        KVP_LOG(v->s->host, v->s->ctx, KVP_WARN, "a victim could not be deleted",
                kvp_f_str("why", "too much is under way"));
    }
}

/* Its condition is written, or could not be: it has to leave in any case. */
static void outcome_marked(void *data, const struct client_answer *a)
{
    struct outcome_victim *v = data;
    if (a->reason != KVP_STOPPED && a->status != 404) {
        outcome_delete(v);
    }
    mem_free(v);
}

static struct outcome_victim *outcome_victim_make(struct scheduler *s, const struct sched_pod *p)
{
    struct outcome_victim *v = mem_alloc(sizeof *v + p->key.len + p->uid.len);
    if (v != NULL) {
        uint8_t *at = (uint8_t *)(v + 1);
        memcpy(at, p->key.data, p->key.len);
        memcpy(at + p->key.len, p->uid.len == 0 ? (const uint8_t *)"" : p->uid.data, p->uid.len);
        v->s = s;
        object_key_split(slice_of(at, p->key.len), &v->space, &v->name);
        v->uid = slice_of(at + p->key.len, p->uid.len);
    }
    return v;
}

static void outcome_mark(struct scheduler *s, const struct object *o, struct outcome_victim *v)
{
    struct buf body;
    struct buf message;
    struct json j;
    int rc = 0;
    buf_init(&body);
    buf_init(&message);
    buf_printf(&message, "%s: preempting to accommodate a higher priority pod",
               s->conf->scheduler_name);
    outcome_open_patch(&j, &body, o);
    json_key(&j, "conditions");
    json_array(&j);
    outcome_write_condition(s, &j, o, "DisruptionTarget", "True", "PreemptionByScheduler",
                            buf_slice(&message));
    json_array_end(&j);
    outcome_close_patch(&j);
    outcome_send_patch(s, o, &body, outcome_marked, v, &rc);
    if (rc != 0) {
        outcome_delete(v);
        mem_free(v);
    }
    buf_close(&message);
    buf_close(&body);
}

static void outcome_evict(struct scheduler *s, const struct sched_victim *victim,
                          const struct sched_pod *preemptor, const struct sched_node *n)
{
    struct sched_pod *p = sched_cluster_pod(&s->cluster, victim->key);
    const struct object *o = p == NULL ? NULL : scheduler_object(s, p);
    if (o == NULL || !slice_eq(p->uid, victim->uid) || p->deleted) {
        return; /* it is leaving anyway */
    }
    struct outcome_victim *v = outcome_victim_make(s, p);
    if (v == NULL) {
        return; /* the pod comes again, and looks for victims again */
    }
    outcome_mark(s, o, v);
    scheduler_count(s, SCHED_METRIC_VICTIMS, 1);
    recorder_normal(s->recorder, o, "Preempted", "Preempted by pod %.*s on node %.*s",
                    (int)preemptor->uid.len, (const char *)preemptor->uid.data, (int)n->name.len,
                    (const char *)n->name.data);
}

/* Less important pods that were to come to that node look for another. */
static void outcome_unnominate(struct scheduler *s, const struct sched_pod *preemptor,
                               struct sched_node *n)
{
    struct list *next = NULL;
    for (struct list *it = n->nominated.next; it != &n->nominated; it = next) {
        struct sched_pod *p = LIST_ENTRY(it, struct sched_pod, by_nomination);
        next = it->next;
        if (p == preemptor || p->priority >= preemptor->priority) {
            continue;
        }
        const struct object *o = scheduler_object(s, p);
        sched_cluster_nominate(&s->cluster, p, slice_of(NULL, 0));
        if (o != NULL) {
            int rc = 0;
            struct buf body;
            struct json j;
            buf_init(&body);
            outcome_open_patch(&j, &body, o);
            json_key(&j, "nominatedNodeName");
            json_null(&j);
            outcome_close_patch(&j);
            outcome_send_patch(s, o, &body, NULL, NULL, &rc);
            buf_close(&body);
        }
        if (p->waiting != NULL) {
            sched_queue_activate(&s->queue, p->waiting, scheduler_now_ms(s));
        }
    }
}

/* ---- outcomes ----------------------------------------------------------------------------------
 */

void scheduler_refuse(struct scheduler *s, struct sched_waiting *w, struct slice post,
                      const struct sched_candidate *chosen, bool hopeless)
{
    struct sched_pod *p = w->pod;
    const struct object *o = scheduler_object(s, p);
    unsigned refusers = sched_cycle_refusers(&s->cycle);
    struct outcome_status status = {.reason = "Unschedulable"};
    struct buf message;
    buf_init(&message);
    sched_message(&s->cycle, post, &message);
    status.message = buf_slice(&message);
    if (chosen != NULL) {
        status.nominated = (const char *)chosen->node->name.data;
        status.nominated_len = chosen->node->name.len;
        sched_cluster_nominate(&s->cluster, p, chosen->node->name);
    } else if (hopeless) {
        status.nominated = "";
        sched_cluster_nominate(&s->cluster, p, slice_of(NULL, 0));
    }
    if (o != NULL && !message.failed) {
        recorder_warning(s->recorder, o, "FailedScheduling", "%.*s", (int)message.len,
                         (const char *)message.data);
        outcome_write(s, o, &status);
    }
    scheduler_count(s, SCHED_METRIC_UNSCHEDULABLE, 1);
    sched_queue_failed(&s->queue, w, refusers, false, scheduler_now_ms(s));
    if (chosen != NULL) {
        outcome_unnominate(s, p, chosen->node);
        for (size_t i = 0; i < chosen->count; i++) {
            outcome_evict(s, &chosen->victims[i], p, chosen->node);
        }
    }
    buf_close(&message);
}

void scheduler_fail(struct scheduler *s, struct sched_waiting *w, const char *why)
{
    const struct object *o = why[0] == '\0' ? NULL : scheduler_object(s, w->pod);
    struct outcome_status status = {.reason = "SchedulerError", .message = slice_str(why)};
    if (o != NULL) {
        recorder_warning(s->recorder, o, "FailedScheduling", "%s", why);
        outcome_write(s, o, &status);
    }
    scheduler_count(s, SCHED_METRIC_ERROR, 1);
    sched_queue_failed(&s->queue, w, 0, true, scheduler_now_ms(s));
    scheduler_wake(s);
}

void scheduler_skip(struct scheduler *s, struct sched_waiting *w)
{
    const struct object *o = scheduler_object(s, w->pod);
    if (o != NULL) {
        recorder_warning(s->recorder, o, "FailedScheduling", "skip schedule deleting pod: %.*s",
                         (int)w->pod->key.len, (const char *)w->pod->key.data);
    }
    sched_queue_remove(&s->queue, w);
}
