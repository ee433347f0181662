/* explain_print.c - the answers of `kvctl explain-schedule`; see explain.h. */
#include "plugins/scheduler/explain.h"

#include <stdlib.h>

#include "base/json.h"
#include "plugins/scheduler/message.h"

/* One node of the answer. */
struct explain_row {
    const struct sched_node *node;
    const struct sched_verdict *verdict;
    size_t fit; /* its place among those that fit; SIZE_MAX = it does not */
    int64_t total;
};

static int explain_order(const void *a, const void *b)
{
    const struct explain_row *x = a;
    const struct explain_row *y = b;
    if ((x->fit == SIZE_MAX) != (y->fit == SIZE_MAX)) {
        return x->fit == SIZE_MAX ? 1 : -1;
    }
    if (x->total != y->total) {
        return x->total > y->total ? -1 : 1;
    }
    return slice_cmp(x->node->name, y->node->name);
}

/* All nodes in the order they are shown; NULL = out of memory. */
static struct explain_row *explain_rows(const struct sched_cycle *c, size_t *count)
{
    bool looked = c->verdicts != NULL && c->result != SCHED_REJECTED;
    *count = looked ? c->cluster->count : 0;
    struct explain_row *rows = mem_alloc((*count + 1) * sizeof *rows);
    for (size_t i = 0; i < *count && rows != NULL; i++) {
        rows[i] = (struct explain_row){
            .node = c->cluster->list[i], .verdict = &c->verdicts[i], .fit = SIZE_MAX};
    }
    for (size_t k = 0; k < c->fit_count && rows != NULL && looked; k++) {
        rows[c->fits[k]].fit = k;
        rows[c->fits[k]].total = c->totals == NULL ? 0 : c->totals[k];
    }
    if (rows != NULL) {
        qsort(rows, *count, sizeof *rows, explain_order);
    }
    return rows;
}

/* The most a node can have. */
static int64_t explain_full(const struct sched_cycle *c)
{
    int64_t full = 0;
    for (size_t i = 0; i < SCHED_RULES; i++) {
        full += c->scores[i] == NULL ? 0 : SCHED_SCORE_MAX * c->args.weights->of[i];
    }
    return full;
}

/* Tenths of the rank out of 10. */
static int64_t explain_rank(const struct sched_cycle *c, int64_t total)
{
    int64_t full = explain_full(c);
    return full == 0 ? 0 : (total * 100 + full / 2) / full;
}

/* ---- words -------------------------------------------------------------------------------------
 */

static const char *explain_state(const struct sched_explanation *e)
{
    static const char *const places[SCHED_PLACES] = {
        [SCHED_FLYING] = "scheduling",    [SCHED_ACTIVE] = "active",
        [SCHED_BACKOFF] = "backoff",      [SCHED_ERRORS] = "error-backoff",
        [SCHED_PARKED] = "unschedulable", [SCHED_GATED] = "gated",
    };
    const struct sched_pod *p = e->pod;
    if (p->ended) {
        return "ended";
    }
    if (p->node_name.len > 0) {
        return "assigned";
    }
    if (p->assumed) {
        return "binding";
    }
    if (!slice_eq(p->scheduler, slice_str(e->scheduler_name))) {
        return "other-scheduler";
    }
    if (p->deleted) {
        return "deleted";
    }
    return p->waiting != NULL ? places[p->waiting->place] : e->leading ? "new" : "not-leading";
}

static const char *explain_decision(const struct sched_cycle *c)
{
    static const char *const words[] = {
        [SCHED_BY_NONE] = "none",
        [SCHED_BY_NOMINATION] = "nominated",
        [SCHED_BY_ONLY] = "only-node",
        [SCHED_BY_SCORE] = "highest-score",
        [SCHED_BY_DICE] = "random-among-equals",
    };
    return words[c->chosen == NULL ? SCHED_BY_NONE : c->decision];
}

static void explain_append(struct buf *out, const char *before, struct slice text)
{
    buf_append_str(out, before);
    buf_append_slice(out, text);
}

static void explain_pod(const struct sched_explanation *e, struct buf *out)
{
    const struct sched_pod *p = e->pod;
    const char *state = explain_state(e);
    explain_append(out, "Pod:       ", p->key);
    buf_printf(out, " (priority %d)\nState:     ", p->priority);
    if (e->node != NULL) {
        explain_append(out, p->assumed ? "being bound to " : "assigned to ", e->node->name);
    } else if (slice_eq(slice_str(state), slice_str("other-scheduler"))) {
        explain_append(out, "left to the scheduler ", p->scheduler);
    } else if (p->waiting != NULL) {
        uint64_t ms = e->now_ms - p->waiting->since_ms;
        buf_printf(out, "waits (%s), tried %u times, since %llu.%llu s", state,
                   p->waiting->attempts, (unsigned long long)(ms / 1000),
                   (unsigned long long)(ms % 1000 / 100));
    } else {
        buf_append_str(out, slice_eq(slice_str(state), slice_str("not-leading"))
                                ? "waits; this member does not schedule, its leader does"
                                : state);
    }
    if (p->nominee != NULL) {
        explain_append(out, "\nNominated: ", p->nominee->name);
        buf_append_str(out, ", where room is being made");
    }
    buf_append_byte(out, '\n');
}

static void explain_choice(const struct sched_explanation *e, struct buf *out)
{
    const struct sched_cycle *c = e->cycle;
    if (c->chosen == NULL) {
        buf_append_str(out, "Decision:  no node\nReason:    ");
        sched_message(c, slice_of(NULL, 0), out);
        buf_append_byte(out, '\n');
        return;
    }
    explain_append(out, "Decision:  ", c->chosen->name);
    if (c->decision == SCHED_BY_DICE) {
        buf_printf(out, " or another of %zu", c->ties);
    }
    buf_append_str(out, "\nRule:      ");
    if (c->decision == SCHED_BY_ONLY) {
        buf_append_str(out, "the only node that fits\n");
    } else if (c->decision == SCHED_BY_DICE) {
        buf_printf(out, "%zu nodes have the highest score: one of them at random\n", c->ties);
    } else {
        buf_append_str(out, "the highest score\n");
    }
    if (e->node != NULL) {
        buf_append_str(out, "Note:      as things are now, without this pod; they were others when "
                            "it was scheduled\n");
    }
}

static void explain_scores(const struct sched_cycle *c, const struct explain_row *row,
                           struct buf *out)
{
    bool first = true;
    for (size_t i = 0; i < SCHED_RULES; i++) {
        if (c->scores[i] != NULL) {
            buf_printf(out, "%s%s %lld*%lld", first ? "" : ", ", sched_rules[i]->name,
                       (long long)c->scores[i][row->fit], (long long)c->args.weights->of[i]);
            first = false;
        }
    }
}

static void explain_refusal(const struct explain_row *row, struct buf *out)
{
    if (row->verdict->code == SCHED_UNSEEN) {
        buf_append_str(out, "NodeAffinity: not among the nodes it names");
        return;
    }
    buf_printf(out, "%s: ", sched_rules[row->verdict->rule]->name);
    for (size_t i = 0; i < row->verdict->reason_count; i++) {
        explain_append(out, i > 0 ? ", " : "", row->verdict->reasons[i]);
    }
}

static void explain_row_text(const struct sched_explanation *e, const struct explain_row *row,
                             int width, struct buf *out)
{
    const struct sched_cycle *c = e->cycle;
    buf_printf(out, "%-*.*s  ", width, (int)row->node->name.len,
               (const char *)row->node->name.data);
    if (row->fit == SIZE_MAX) {
        buf_append_str(out, "   -      -  ");
        explain_refusal(row, out);
    } else {
        int64_t rank = explain_rank(c, row->total);
        buf_printf(out, "%2lld.%lld  %5lld  ", (long long)(rank / 10), (long long)(rank % 10),
                   (long long)row->total);
        explain_scores(c, row, out);
    }
    buf_append_byte(out, '\n');
}

bool sched_explain_text(const struct sched_explanation *e, struct buf *out)
{
    size_t count = 0;
    size_t width = 4;
    struct explain_row *rows = explain_rows(e->cycle, &count);
    if (rows == NULL) {
        return false;
    }
    explain_pod(e, out);
    explain_choice(e, out);
    for (size_t i = 0; i < count; i++) {
        width = rows[i].node->name.len > width ? rows[i].node->name.len : width;
    }
    if (count > 0) {
        buf_printf(out, "\n%-*s  RANK  TOTAL  SCORES, OR WHAT REFUSED IT\n", (int)width, "NODE");
    }
    for (size_t i = 0; i < count && i < SCHED_EXPLAIN_NODES_MAX; i++) {
        explain_row_text(e, &rows[i], (int)width, out);
    }
    if (count > SCHED_EXPLAIN_NODES_MAX) {
        buf_printf(out, "... and %zu more\n", count - SCHED_EXPLAIN_NODES_MAX);
    }
    mem_free(rows);
    return !out->failed;
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

static void explain_member(struct json *j, const char *key, struct slice text)
{
    json_key(j, key);
    json_str(j, text);
}

static void explain_json_row(const struct sched_cycle *c, const struct explain_row *row,
                             struct json *j)
{
    bool fits = row->fit != SIZE_MAX;
    json_object(j);
    explain_member(j, "name", row->node->name);
    json_key(j, "fits");
    json_bool(j, fits);
    if (fits) {
        json_key(j, "rank");
        json_double(j, (double)explain_rank(c, row->total) / 10);
        json_key(j, "total");
        json_int(j, row->total);
        json_key(j, "scores");
        json_object(j);
        for (size_t i = 0; i < SCHED_RULES; i++) {
            if (c->scores[i] != NULL) {
                json_key(j, sched_rules[i]->name);
                json_object(j);
                json_key(j, "score");
                json_int(j, c->scores[i][row->fit]);
                json_key(j, "weight");
                json_int(j, c->args.weights->of[i]);
                json_object_end(j);
            }
        }
        json_object_end(j);
    } else {
        bool unseen = row->verdict->code == SCHED_UNSEEN;
        explain_member(
            j, "refusedBy",
            slice_str(sched_rules[unseen ? SCHED_NODE_AFFINITY : row->verdict->rule]->name));
        json_key(j, "reasons");
        json_array(j);
        for (size_t i = 0; i < row->verdict->reason_count; i++) {
            json_str(j, row->verdict->reasons[i]);
        }
        json_array_end(j);
    }
    json_object_end(j);
}

static void explain_json_pod(const struct sched_explanation *e, struct json *j)
{
    const struct sched_pod *p = e->pod;
    explain_member(j, "namespace", p->space);
    explain_member(j, "name", p->name);
    explain_member(j, "uid", p->uid);
    json_key(j, "priority");
    json_int(j, p->priority);
    explain_member(j, "state", slice_str(explain_state(e)));
    if (e->node != NULL) {
        explain_member(j, "node", e->node->name);
    }
    if (p->nominee != NULL) {
        explain_member(j, "nominated", p->nominee->name);
    }
    if (p->waiting != NULL) {
        json_key(j, "attempts");
        json_uint(j, p->waiting->attempts);
    }
}

bool sched_explain_json(const struct sched_explanation *e, struct buf *out)
{
    const struct sched_cycle *c = e->cycle;
    size_t count = 0;
    struct json j;
    struct explain_row *rows = explain_rows(c, &count);
    if (rows == NULL) {
        return false;
    }
    json_init(&j, out);
    json_object(&j);
    explain_json_pod(e, &j);
    explain_member(&j, "decision", slice_str(explain_decision(c)));
    if (c->chosen != NULL) {
        explain_member(&j, "chosen", c->chosen->name);
        json_key(&j, "equals");
        json_uint(&j, c->ties);
    } else {
        struct buf message;
        buf_init(&message);
        sched_message(c, slice_of(NULL, 0), &message);
        explain_member(&j, "message", buf_slice(&message));
        out->failed = out->failed || message.failed;
        buf_close(&message);
    }
    json_key(&j, "nodeCount");
    json_uint(&j, count);
    json_key(&j, "nodes");
    json_array(&j);
    for (size_t i = 0; i < count && i < SCHED_EXPLAIN_NODES_MAX; i++) {
        explain_json_row(c, &rows[i], &j);
    }
    json_array_end(&j);
    json_object_end(&j);
    buf_append_byte(out, '\n');
    mem_free(rows);
    return !out->failed;
}
