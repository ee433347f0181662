/* test_gc.c - the graph of owners, what it calls out of order, and the verdicts. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/gc_graph.h"
#include "plugins/controllers/gc_verdict.h"

struct bed {
    struct fixture *f;
    struct gc_graph g;
    char looked[512];    /* uids, with blanks around */
    struct object known; /* what `find` and `seek` give; type NULL = nothing */
    unsigned sought;     /* how often */
};

static void bed_look(void *data, const struct gc_node *n)
{
    struct bed *b = data;
    char uid[16];
    snprintf(uid, sizeof uid, " %.*s ", (int)n->uid_len, n->uid);
    if (strstr(b->looked, uid) == NULL) {
        strncat(b->looked, uid, sizeof b->looked - strlen(b->looked) - 1);
    }
}

static const struct object *bed_find(void *data, const struct value *reference, struct slice space)
{
    struct bed *b = data;
    (void)reference;
    (void)space;
    return b->known.type != NULL ? &b->known : NULL;
}

static const struct object *bed_seek(void *data, const struct value *reference)
{
    struct bed *b = data;
    b->sought++;
    return bed_find(data, reference, slice_of("", 0));
}

static void bed_init(struct bed *b, struct fixture *f)
{
    *b = (struct bed){.f = f};
    b->g.look = bed_look;
    b->g.find = bed_find;
    b->g.seek = bed_seek;
    b->g.data = b;
    gc_graph_init(&b->g);
}

#define REF(uid, more) \
    "{'apiVersion':'apps/v1','kind':'ReplicaSet','name':'" uid "','uid':'" uid "'" more "}"
#define BLOCKS ",'blockOwnerDeletion':true"
#define GOING  ",'deletionTimestamp':'2026-01-01T00:00:00Z','finalizers':['foregroundDeletion']"

static struct object pod(struct bed *b, const char *uid, const char *more)
{
    return decoded_f(b->f, SCHEMA_CORE_V1_POD,
                     "{'metadata':{'name':'%s','namespace':'a','uid':'%s'%s}}", uid, uid, more);
}
static struct object set(struct bed *b, const char *uid, const char *space, const char *more)
{
    return decoded_f(b->f, SCHEMA_APPS_V1_REPLICA_SET,
                     "{'metadata':{'name':'%s','namespace':'%s','uid':'%s'%s}}", uid, space, uid,
                     more);
}

static void put(struct bed *b, struct object o)
{
    b->looked[0] = 0;
    assert_int_equal(gc_graph_put(&b->g, &o), 0);
}
static void gone(struct bed *b, const char *uid)
{
    b->looked[0] = 0;
    gc_graph_remove(&b->g, slice_str(uid));
}
static bool has(struct bed *b, const char *uid)
{
    return gc_graph_get(&b->g, slice_str(uid)) != NULL;
}

static void what_owns_nothing_takes_no_room(void **state)
{
    struct bed b;
    bed_init(&b, *state);
    put(&b, pod(&b, "p", ""));
    put(&b, set(&b, "s", "a", ""));
    assert_int_equal(b.g.nodes.len, 0);
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]"));
    assert_int_equal(b.g.nodes.len, 2);
    put(&b, pod(&b, "p", ""));
    assert_int_equal(b.g.nodes.len, 0);
    gone(&b, "s");
    gone(&b, "x");
    gc_graph_close(&b.g);
}

static void dependents_of_what_is_gone_are_looked_at(void **state)
{
    struct bed b;
    bed_init(&b, *state);
    /* The owner is not known: perhaps its event is on its way. */
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]"));
    assert_string_equal(b.looked, " p ");
    put(&b, set(&b, "s", "a", ""));
    assert_string_equal(b.looked, "");
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]"));
    assert_string_equal(b.looked, "");
    put(&b, pod(&b, "q", ",'ownerReferences':[" REF("s", "") "]"));
    assert_string_equal(b.looked, "");
    gone(&b, "s");
    assert_string_equal(b.looked, " p  q ");
    b.looked[0] = 0;
    gc_graph_look_at_all(&b.g);
    assert_int_equal(strlen(b.looked), 6);
    gone(&b, "p");
    gone(&b, "q");
    assert_int_equal(b.g.nodes.len, 0);
    /* An owner without a node is asked of the informers. */
    b.known = set(&b, "s", "a", "");
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]"));
    assert_string_equal(b.looked, "");
    /* One of the same name with another uid is another one. */
    put(&b, pod(&b, "q", ",'ownerReferences':[" REF("t", "") "]"));
    assert_string_equal(b.looked, " q ");
    gc_graph_close(&b.g);
}

static void foreground(void **state)
{
    struct bed b;
    bed_init(&b, *state);
    put(&b, set(&b, "s", "a", ""));
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", BLOCKS) "]"));
    put(&b, pod(&b, "q", ",'ownerReferences':[" REF("s", "") "]"));
    put(&b, set(&b, "s", "a", GOING));
    assert_string_equal(b.looked, " p  q  s ");
    const struct gc_node *s = gc_graph_get(&b.g, slice_str("s"));
    assert_true(gc_node_is_blocked(s));
    /* One that comes late goes as well. */
    put(&b, pod(&b, "r", ",'ownerReferences':[" REF("s", "") "]"));
    assert_string_equal(b.looked, " r ");
    gone(&b, "p");
    assert_string_equal(b.looked, " s ");
    assert_false(gc_node_is_blocked(s));
    gone(&b, "q");
    gone(&b, "r");
    assert_true(has(&b, "s"));
    gone(&b, "s");
    assert_false(has(&b, "s"));
    /* One that does not block any more. */
    put(&b, set(&b, "s", "a", GOING));
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", BLOCKS) "]"));
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]"));
    assert_non_null(strstr(b.looked, " s "));
    gc_graph_close(&b.g);
}

static void orphaning(void **state)
{
    struct bed b;
    bed_init(&b, *state);
    put(&b, set(&b, "s", "a",
                ",'deletionTimestamp':'2026-01-01T00:00:00Z','finalizers':['orphan','x']"));
    assert_string_equal(b.looked, " s ");
    put(&b, set(&b, "s", "a", ",'deletionTimestamp':'2026-01-01T00:00:00Z','finalizers':['x']"));
    assert_int_equal(b.g.nodes.len, 0);
    gc_graph_close(&b.g);
}

static void owners_elsewhere(void **state)
{
    struct bed b;
    bed_init(&b, *state);
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]"));
    put(&b, set(&b, "s", "other", ""));
    assert_string_equal(b.looked, " p ");
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]"));
    assert_string_equal(b.looked, " p ");
    gc_graph_close(&b.g);
}

/* However many name an owner that is elsewhere, or nowhere, it is looked for once. */
static void owners_are_sought_once(void **state)
{
    struct bed b;
    bed_init(&b, *state);
    struct object p = pod(&b, "p", ",'ownerReferences':[" REF("s", "") "]");
    struct object q = pod(&b, "q", ",'ownerReferences':[" REF("s", "") "]");
    const struct value *of_p = object_get(&p, "metadata.ownerReferences[0]");
    const struct value *of_q = object_get(&q, "metadata.ownerReferences[0]");
    struct slice space = slice_str("a");
    put(&b, p);
    put(&b, q);
    assert_false(gc_graph_is_elsewhere(&b.g, of_p, space));
    assert_false(gc_graph_is_elsewhere(&b.g, of_q, space));
    assert_int_equal(b.sought, 1);
    /* It comes, elsewhere, and goes. */
    put(&b, set(&b, "s", "other", ""));
    assert_true(gc_graph_is_elsewhere(&b.g, of_p, space));
    gone(&b, "s");
    assert_false(gc_graph_is_elsewhere(&b.g, of_q, space));
    assert_int_equal(b.sought, 1);
    gc_graph_close(&b.g);

    /* It was there before anybody named it. */
    bed_init(&b, *state);
    put(&b, p);
    put(&b, q);
    b.known = set(&b, "s", "other", "");
    assert_true(gc_graph_is_elsewhere(&b.g, of_p, space));
    b.known.type = NULL;
    assert_true(gc_graph_is_elsewhere(&b.g, of_q, space));
    assert_false(gc_graph_is_elsewhere(&b.g, of_q, slice_str("other")));
    assert_int_equal(b.sought, 1);
    assert_true(gc_node_needs_look(gc_graph_get(&b.g, slice_str("q"))));
    gone(&b, "p");
    gone(&b, "q");
    assert_int_equal(b.g.nodes.len, 0);
    gc_graph_close(&b.g);
}

static void circles_and_doubles(void **state)
{
    struct bed b;
    bed_init(&b, *state);
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("p", "") "," REF("q", "") "]"));
    put(&b, pod(&b, "q", ",'ownerReferences':[" REF("p", "") "," REF("p", "") "]"));
    gone(&b, "p");
    assert_string_equal(b.looked, " q ");
    gone(&b, "q");
    assert_int_equal(b.g.nodes.len, 0);
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("p", "") "]"));
    put(&b, pod(&b, "p", ""));
    gone(&b, "p");
    assert_int_equal(b.g.nodes.len, 0);
    put(&b, pod(&b, "p", ",'ownerReferences':[" REF("s", "") "," REF("s", "") "]"));
    put(&b, pod(&b, "p", ""));
    assert_int_equal(b.g.nodes.len, 0);
    gc_graph_close(&b.g);
}

/* Every allocation fails once: an error is returned, and nothing leaks or breaks. */
static void memory_fails(void **state)
{
    for (uint64_t n = 1; n < 12; n++) {
        struct bed b;
        bed_init(&b, *state);
        struct object one = pod(&b, "p", ",'ownerReferences':[" REF("s", "") "," REF("t", "") "]");
        struct object two = pod(&b, "p", ",'ownerReferences':[" REF("u", "") "]");
        mem_fail_after(n);
        int rc = gc_graph_put(&b.g, &one);
        rc = rc == 0 ? gc_graph_put(&b.g, &two) : rc;
        bool failed = mem_fail_left() == 0;
        mem_fail_after(0);
        assert_true(rc == (failed ? ERR_NOMEM : 0));
        gc_graph_remove(&b.g, slice_str("p"));
        gc_graph_close(&b.g);
    }
}

static void verdicts(void **state)
{
    struct fixture *f = *state;
    static const enum gc_owner s = GC_SOLID;
    static const enum gc_owner d = GC_DANGLING;
    static const enum gc_owner w = GC_WAITING;
    const enum gc_owner lists[][2] = {{s, s}, {s, d}, {w, s}, {d, d}, {d, w}};
    static const enum gc_action without[] = {GC_KEEP, GC_UNLINK, GC_UNLINK, GC_DELETE, GC_DELETE};
    static const enum gc_action with[] = {GC_KEEP, GC_UNLINK, GC_UNLINK, GC_DELETE,
                                          GC_DELETE_FOREGROUND};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(gc_judge(lists[i], 2, false), without[i]);
        assert_int_equal(gc_judge(lists[i], 2, true), with[i]);
    }
    assert_int_equal(gc_judge(NULL, 0, true), GC_KEEP);
    struct object o = decoded(f, SCHEMA_CORE_V1_POD, "{'metadata':{'uid':'u'" GOING "}}");
    assert_int_equal(gc_judge_owner(&o, slice_str("u")), GC_WAITING);
    assert_int_equal(gc_judge_owner(&o, slice_str("v")), GC_DANGLING);
    assert_int_equal(gc_judge_owner(NULL, slice_str("u")), GC_DANGLING);
    assert_string_equal(gc_propagation(&o), "Foreground");
    o = decoded(f, SCHEMA_CORE_V1_POD, "{'metadata':{'uid':'u','finalizers':['orphan']}}");
    assert_string_equal(gc_propagation(&o), "Orphan");
    assert_int_equal(gc_judge_owner(&o, slice_str("u")), GC_SOLID);
    o = decoded(f, SCHEMA_CORE_V1_POD, "{'metadata':{'uid':'u','finalizers':['x']}}");
    assert_string_equal(gc_propagation(&o), "Background");
}

static void patches(void **state)
{
    struct fixture *f = *state;
    struct object o = decoded(f, SCHEMA_CORE_V1_POD,
                              "{'metadata':{'uid':'u','resourceVersion':'7',"
                              "'finalizers':['a','orphan','b'],'ownerReferences':[" REF(
                                  "s", BLOCKS) "," REF("t", "") "," REF("v", "") "]}}");
    const enum gc_owner owners[] = {GC_DANGLING, GC_SOLID, GC_WAITING};
    gc_print_unlink(&o, owners, &f->out);
    assert_string_equal(plain(&f->out), "{'metadata':{'ownerReferences':[{'$patch':'delete','uid':"
                                        "'s'},{'$patch':'delete','uid':'v'}],'uid':'u'}}");
    buf_clear(&f->out);
    gc_print_unblock(&o, &f->out);
    assert_string_equal(plain(&f->out),
                        "{'metadata':{'ownerReferences':[{'uid':'s','blockOwnerDeletion':false},"
                        "{'uid':'t','blockOwnerDeletion':false},"
                        "{'uid':'v','blockOwnerDeletion':false}],'uid':'u'}}");
    buf_clear(&f->out);
    assert_true(gc_print_without_finalizer(&o, "orphan", &f->out));
    assert_string_equal(plain(&f->out),
                        "{'metadata':{'resourceVersion':'7','finalizers':['a','b']}}");
    buf_clear(&f->out);
    assert_false(gc_print_without_finalizer(&o, "foregroundDeletion", &f->out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_owns_nothing_takes_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(dependents_of_what_is_gone_are_looked_at, setup, teardown),
        cmocka_unit_test_setup_teardown(foreground, setup, teardown),
        cmocka_unit_test_setup_teardown(orphaning, setup, teardown),
        cmocka_unit_test_setup_teardown(owners_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(owners_are_sought_once, setup, teardown),
        cmocka_unit_test_setup_teardown(circles_and_doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(patches, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
