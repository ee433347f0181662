/* sched_fixture.h - what the scheduler's tests share: a cluster made from short JSON. */
#ifndef KVD_TESTS_SCHED_FIXTURE_H
#define KVD_TESTS_SCHED_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "plugins/object/defaults.h"
#include "plugins/scheduler/message.h"
#include "plugins/scheduler/preempt.h"

struct sched_fixture {
    struct arena arena;
    struct sched_cluster cluster;
    struct sched_cycle cycle;
    struct sched_preemption preemption;
    struct sched_weights weights;
    struct buf out;
    uint64_t dice; /* the next throw */
    size_t start;
};

static inline int sched_setup(void **state)
{
    struct sched_fixture *f = mem_xzalloc(sizeof *f);
    arena_init(&f->arena, 0);
    sched_cluster_init(&f->cluster);
    sched_cycle_init(&f->cycle);
    sched_preempt_init(&f->preemption);
    sched_weights_default(&f->weights);
    buf_init(&f->out);
    *state = f;
    return 0;
}

static inline int sched_teardown(void **state)
{
    struct sched_fixture *f = *state;
    sched_preempt_close(&f->preemption);
    sched_cycle_close(&f->cycle);
    sched_cluster_close(&f->cluster);
    buf_close(&f->out);
    arena_close(&f->arena);
    mem_free(f);
    return 0;
}

/* The fixture's JSON has ' for ". */
static inline struct object sched_decoded(struct sched_fixture *f, enum schema_type_id type,
                                          const char *json)
{
    struct object o;
    struct errmsg e = {""};
    struct decode_report report;
    char *text = mem_strdup(json);
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    int rc = object_decode(&o, schema_type(type), &f->arena, slice_str(text), &report, &e);
    if (rc != 0) {
        print_error("%s\n%s\n", e.text, text);
    }
    assert_int_equal(rc, 0);
    if (report.count > 0) {
        print_error("%.*s\n", (int)report.texts[0].len, (const char *)report.texts[0].data);
    }
    assert_int_equal(report.count, 0);
    mem_free(text);
    return o;
}

/* A node with these further members of metadata, spec and status; may be NULL. */
static inline struct sched_node *sched_node_of(struct sched_fixture *f, const char *name,
                                               const char *labels, const char *spec,
                                               const char *status)
{
    struct buf text;
    struct sched_node *n = NULL;
    buf_init(&text);
    buf_printf(&text,
               "{'metadata':{'name':'%s','labels':{'kubernetes.io/hostname':'%s'%s%s}},"
               "'spec':{%s},'status':{%s}}%c",
               name, name, labels == NULL ? "" : ",", labels == NULL ? "" : labels,
               spec == NULL ? "" : spec,
               status == NULL ? "'allocatable':{'cpu':'4','memory':'8Gi','pods':'110'}" : status,
               0);
    struct object o = sched_decoded(f, SCHEMA_CORE_V1_NODE, (const char *)text.data);
    assert_int_equal(sched_cluster_node_set(&f->cluster, &o, &n), 0);
    buf_close(&text);
    return n;
}

static inline struct object sched_pod_object(struct sched_fixture *f, const char *name,
                                             const char *labels, const char *spec)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text,
               "{'metadata':{'namespace':'default','name':'%s','uid':'uid-%s','labels':{%s}},"
               "'spec':{%s}}%c",
               name, name, labels == NULL ? "" : labels, spec, 0);
    struct object o = sched_decoded(f, SCHEMA_CORE_V1_POD, (const char *)text.data);
    buf_close(&text);
    return o;
}

/* A pod of the cluster; spec names its node when it has one. */
static inline struct sched_pod *sched_pod_of(struct sched_fixture *f, const char *name,
                                             const char *labels, const char *spec)
{
    struct object o = sched_pod_object(f, name, labels, spec);
    struct sched_pod *p = sched_pod_make(&o);
    assert_non_null(p);
    assert_int_equal(sched_cluster_pod_set(&f->cluster, p), 0);
    return p;
}

/* One container that asks for this; rest: further members of the spec, with a comma in front. */
#define POD_ASKS(cpu, memory, rest)                                                \
    "'containers':[{'name':'c','image':'web','resources':{'requests':{'cpu':'" cpu \
    "','memory':'" memory "'}}}]" rest
#define POD_PLAIN(rest) "'containers':[{'name':'c','image':'web'}]" rest

static inline void sched_throw(void *data, void *out, size_t len)
{
    struct sched_fixture *f = data;
    memcpy(out, &f->dice, len < sizeof f->dice ? len : sizeof f->dice);
}

static inline struct sched_cycle_args sched_args(struct sched_fixture *f, struct sched_pod *p)
{
    return (struct sched_cycle_args){.cluster = &f->cluster,
                                     .pod = p,
                                     .weights = &f->weights,
                                     .random = sched_throw,
                                     .data = f,
                                     .start = &f->start};
}

/* A whole cycle, one look at a time. */
static inline enum sched_result sched_run(struct sched_fixture *f, const struct sched_cycle_args *a)
{
    enum sched_result result = SCHED_MORE;
    sched_cycle_begin(&f->cycle, a);
    while (result == SCHED_MORE) {
        int64_t budget = 1;
        result = sched_cycle_step(&f->cycle, &budget);
    }
    return result;
}

static inline enum sched_result sched_explain(struct sched_fixture *f, struct sched_pod *p)
{
    struct sched_cycle_args a = sched_args(f, p);
    a.explain = true;
    return sched_run(f, &a);
}

/* What a cycle says when nothing fits. */
static inline const char *sched_refusal(struct sched_fixture *f, struct sched_pod *p)
{
    struct sched_cycle_args a = sched_args(f, p);
    enum sched_result result = sched_run(f, &a);
    assert_true(result == SCHED_NO_NODE || result == SCHED_REJECTED || result == SCHED_NO_NODES);
    buf_clear(&f->out);
    sched_message(&f->cycle, slice_of(NULL, 0), &f->out);
    buf_append_byte(&f->out, 0);
    assert_false(f->out.failed);
    return (const char *)f->out.data;
}

/* Name of the node a cycle chose. */
static inline const char *sched_choice(struct sched_fixture *f, struct sched_pod *p)
{
    struct sched_cycle_args a = sched_args(f, p);
    assert_int_equal(sched_run(f, &a), SCHED_CHOSEN);
    buf_clear(&f->out);
    buf_append_slice(&f->out, f->cycle.chosen->name);
    buf_append_byte(&f->out, 0);
    return (const char *)f->out.data;
}

/* Normalized score of a rule for a node, of the last explanation; -1 = not scored. */
static inline int64_t sched_score(struct sched_fixture *f, enum sched_rule_id rule,
                                  const char *node)
{
    for (size_t k = 0; k < f->cycle.fit_count; k++) {
        const struct sched_node *n = f->cluster.list[f->cycle.fits[k]];
        if (slice_eq(n->name, slice_str(node))) {
            return f->cycle.scores[rule] == NULL ? -1 : f->cycle.scores[rule][k];
        }
    }
    fail_msg("%s does not fit", node);
    return -1;
}

#endif
