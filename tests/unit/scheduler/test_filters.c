/* test_filters.c - each filter with the reason it gives, their order, and the message made of it.
 */
#include "tests/unit/scheduler/sched_fixture.h"

#define NO_TAINT            NULL, NULL, NULL
#define REFUSES(f, p, text) assert_string_equal(sched_refusal(f, p), text)

static void nothing_to_schedule_on(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_pod *p = sched_pod_of(f, "a", NULL, POD_PLAIN(""));
    REFUSES(f, p, "no nodes available to schedule pods");
    sched_node_of(f, "n", NO_TAINT);
    assert_string_equal(sched_choice(f, p), "n");
}

static void resources(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, NULL, "'allocatable':{'cpu':'2','memory':'4Gi','pods':'110'}");
    sched_node_of(f, "b", NULL, NULL, "'allocatable':{'cpu':'2','memory':'4Gi','pods':'110'}");
    sched_node_of(f, "c", NULL, NULL, "'allocatable':{'cpu':'4','memory':'1Gi','pods':'110'}");
    REFUSES(f, sched_pod_of(f, "x", NULL, POD_ASKS("3", "2Gi", "")),
            "0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu.");
    REFUSES(f, sched_pod_of(f, "y", NULL, POD_ASKS("5", "5Gi", "")),
            "0/3 nodes are available: 3 Insufficient cpu, 3 Insufficient memory.");
    assert_string_equal(sched_choice(f, sched_pod_of(f, "z", NULL, POD_ASKS("3", "1Gi", ""))), "c");
}

static void resources_of_pods_count(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "n", NULL, NULL,
                  "'allocatable':{'cpu':'1','memory':'1Gi','pods':'2','ephemeral-storage':'1Gi',"
                  "'example.com/gpu':'1'}");
    sched_pod_of(f, "there", NULL,
                 "'nodeName':'n','containers':[{'name':'c','image':'web','resources':{'requests':{"
                 "'cpu':'600m','example.com/gpu':'1','ephemeral-storage':'600Mi'}}}]");
    struct sched_pod *p =
        sched_pod_of(f, "p", NULL,
                     "'containers':[{'name':'c','image':'web','resources':{'requests':{"
                     "'cpu':'500m','example.com/gpu':'1','ephemeral-storage':'600Mi'}}}]");
    REFUSES(f, p,
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient ephemeral-storage, "
            "1 Insufficient example.com/gpu.");
    assert_int_equal(f->cycle.verdicts[0].code, SCHED_UNSCHEDULABLE);
    sched_cluster_pod_gone(&f->cluster, sched_cluster_pod(&f->cluster, slice_str("default/there")));
    assert_string_equal(sched_choice(f, p), "n");
    struct sched_pod *two = sched_pod_of(f, "two", NULL,
                                         "'containers':[{'name':'c','image':'web','resources':{'"
                                         "requests':{'example.com/gpu':'2'}}}]");
    REFUSES(f, two, "0/1 nodes are available: 1 Insufficient example.com/gpu.");
    assert_int_equal(f->cycle.verdicts[0].code, SCHED_UNRESOLVABLE);
    sched_pod_of(f, "q1", NULL, POD_PLAIN(",'nodeName':'n'"));
    sched_pod_of(f, "q2", NULL, POD_PLAIN(",'nodeName':'n'"));
    REFUSES(f, sched_pod_of(f, "q3", NULL, POD_PLAIN("")),
            "0/1 nodes are available: 1 Too many pods.");
}

/* max(sum of containers and sidecars, largest init with sidecars before it) + overhead. */
static void requests_of_a_pod(void **state)
{
    struct sched_fixture *f = *state;
    struct object o = sched_pod_object(
        f, "p", NULL,
        "'overhead':{'cpu':'10m'},"
        "'initContainers':["
        "{'name':'i1','image':'i','resources':{'requests':{'cpu':'300m','memory':'1Gi'}}},"
        "{'name':'s','image':'i','restartPolicy':'Always','resources':{'requests':{'cpu':'100m'}}},"
        "{'name':'i2','image':'i','resources':{'requests':{'cpu':'450m'}}}],"
        "'containers':["
        "{'name':'a','image':'i','resources':{'requests':{'cpu':'200m','memory':'100Mi'}}},"
        "{'name':'b','image':'i','resources':{'requests':{'cpu':'200m'}}}]");
    struct sched_amounts a;
    assert_true(sched_amounts_of_pod(&o, false, &f->arena, &a));
    assert_int_equal(a.cpu_m, 560); /* i2 and the sidecar: 550; a, b and the sidecar: 500 */
    assert_int_equal(a.memory, 1024 * 1024 * 1024);
    assert_true(sched_amounts_of_pod(&o, true, &f->arena, &a));
    assert_int_equal(a.cpu_m, 560);
    assert_int_equal(a.memory, 1024 * 1024 * 1024); /* still i1's: the others' defaults are less */
    struct object whole = sched_pod_object(
        f, "w", NULL,
        "'resources':{'requests':{'cpu':'50m'}},"
        "'containers':[{'name':'a','image':'i','resources':{'requests':{'cpu':'200m'}}}]");
    assert_true(sched_amounts_of_pod(&whole, false, &f->arena, &a));
    assert_int_equal(a.cpu_m, 50);
}

static void unschedulable_and_taints(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "closed", NULL, "'unschedulable':true", NULL);
    sched_node_of(f, "tainted", NULL, "'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]",
                  NULL);
    sched_node_of(f, "leaving", NULL, "'taints':[{'key':'x','effect':'NoExecute'}]", NULL);
    REFUSES(f, sched_pod_of(f, "p", NULL, POD_PLAIN("")),
            "0/3 nodes are available: 1 node(s) were unschedulable, "
            "2 node(s) had untolerated taint(s).");
    struct sched_pod *q = sched_pod_of(
        f, "q", NULL, POD_PLAIN(",'tolerations':[{'key':'k','operator':'Equal','value':'v'}]"));
    assert_string_equal(sched_choice(f, q), "tainted");
    struct sched_pod *other =
        sched_pod_of(f, "o", NULL,
                     POD_PLAIN(",'tolerations':[{'key':'k','operator':'Equal','value':'w'},"
                               "{'key':'x','operator':'Exists','effect':'NoSchedule'}]"));
    assert_int_equal(sched_explain(f, other), SCHED_NO_NODE);
    struct sched_pod *all =
        sched_pod_of(f, "all", NULL, POD_PLAIN(",'tolerations':[{'operator':'Exists'}]"));
    assert_int_equal(sched_explain(f, all), SCHED_CHOSEN);
    assert_int_equal(f->cycle.fit_count, 3);
}

static void the_first_filter_decides(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "n", NULL, "'unschedulable':true,'taints':[{'key':'k','effect':'NoSchedule'}]",
                  NULL);
    REFUSES(f, sched_pod_of(f, "p", NULL, POD_ASKS("99", "1Gi", ",'nodeSelector':{'a':'b'}")),
            "0/1 nodes are available: 1 node(s) were unschedulable.");
    sched_node_of(f, "n", NULL, "'taints':[{'key':'k','effect':'NoSchedule'}]", NULL);
    REFUSES(f, sched_cluster_pod(&f->cluster, slice_str("default/p")),
            "0/1 nodes are available: 1 node(s) had untolerated taint(s).");
}

#define AFFINITY(terms)                                                                        \
    POD_PLAIN(",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':" \
              "{'nodeSelectorTerms':[" terms "]}}}")

static void node_affinity(void **state)
{
    struct sched_fixture *f = *state;
    static const char refused[] =
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
    sched_node_of(f, "ssd", "'disk':'ssd','cores':'8'", NULL, NULL);
    sched_node_of(f, "hdd", "'disk':'hdd'", NULL, NULL);
    REFUSES(f, sched_pod_of(f, "a", NULL, POD_PLAIN(",'nodeSelector':{'disk':'tape'}")), refused);
    assert_string_equal(
        sched_choice(f, sched_pod_of(f, "b", NULL, POD_PLAIN(",'nodeSelector':{'disk':'ssd'}"))),
        "ssd");
    assert_string_equal(
        sched_choice(f, sched_pod_of(f, "c", NULL,
                                     AFFINITY("{'matchExpressions':[{'key':'cores','operator':'Gt',"
                                              "'values':['4']}]}"))),
        "ssd");
    assert_string_equal(
        sched_choice(f, sched_pod_of(f, "d", NULL,
                                     AFFINITY("{'matchExpressions':[{'key':'cores','operator':"
                                              "'DoesNotExist'}]}"))),
        "hdd");
    assert_string_equal(
        sched_choice(f, sched_pod_of(f, "e", NULL,
                                     AFFINITY("{'matchExpressions':[{'key':'disk','operator':"
                                              "'NotIn','values':['ssd','tape']}]}"))),
        "hdd");
    /* Terms are alternatives; an empty one matches nothing. */
    REFUSES(f, sched_pod_of(f, "g", NULL, AFFINITY("{}")), refused);
    assert_int_equal(
        sched_explain(f, sched_pod_of(f, "h", NULL,
                                      AFFINITY("{'matchExpressions':[{'key':'disk','operator':'In',"
                                               "'values':['hdd']}]},{'matchExpressions':[{'key':"
                                               "'cores','operator':'Exists'}]}"))),
        SCHED_CHOSEN);
    assert_int_equal(f->cycle.fit_count, 2);
}

#define NAMED(name) \
    "{'matchFields':[{'key':'metadata.name','operator':'In','values':['" name "']}]}"

/* Nodes that were named are looked at; all others are narrowed out beforehand. */
static void named_nodes(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, "'taints':[{'key':'k','effect':'NoSchedule'}]", NULL);
    sched_node_of(f, "b", NO_TAINT);
    sched_node_of(f, "c", NO_TAINT);
    REFUSES(f, sched_pod_of(f, "p", NULL, AFFINITY(NAMED("a"))),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), "
            "2 node(s) didn't satisfy plugin(s) [NodeAffinity].");
    assert_string_equal(sched_choice(f, sched_pod_of(f, "q", NULL, AFFINITY(NAMED("c")))), "c");
    REFUSES(
        f,
        sched_pod_of(f, "r", NULL,
                     AFFINITY("{'matchFields':[{'key':'metadata.name','operator':'In','values':"
                              "['a']},{'key':'metadata.name','operator':'In','values':['b']}]}")),
        "0/3 nodes are available: pod affinity terms conflict.");
}

#define PORT(port, rest)                                                                         \
    "'containers':[{'name':'c','image':'web','ports':[{'containerPort':80,'hostPort':" port rest \
    "}]}]"

static void host_ports(void **state)
{
    struct sched_fixture *f = *state;
    static const char refused[] = "0/1 nodes are available: 1 node(s) didn't have free ports for "
                                  "the requested pod ports.";
    sched_node_of(f, "n", NO_TAINT);
    sched_pod_of(f, "there", NULL, PORT("8080", ",'hostIP':'10.0.0.1'") ",'nodeName':'n'");
    REFUSES(f, sched_pod_of(f, "a", NULL, PORT("8080", "")), refused);
    REFUSES(f, sched_pod_of(f, "b", NULL, PORT("8080", ",'hostIP':'0.0.0.0'")), refused);
    REFUSES(f, sched_pod_of(f, "c", NULL, PORT("8080", ",'hostIP':'10.0.0.1'")), refused);
    assert_string_equal(
        sched_choice(f, sched_pod_of(f, "d", NULL, PORT("8080", ",'hostIP':'10.0.0.2'"))), "n");
    assert_string_equal(
        sched_choice(f, sched_pod_of(f, "e", NULL, PORT("8080", ",'protocol':'UDP'"))), "n");
    assert_string_equal(sched_choice(f, sched_pod_of(f, "g", NULL, PORT("8081", ""))), "n");
}

#define SPREAD(key, rest)                                                                        \
    POD_PLAIN(                                                                                   \
        ",'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'" key                         \
        "','whenUnsatisfiable':'DoNotSchedule','labelSelector':{'matchLabels':{'app':'w'}}" rest \
        "}]")

static void topology_spread(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a1", "'zone':'a'", NULL, NULL);
    sched_node_of(f, "b1", "'zone':'b'", "'unschedulable':true", NULL);
    sched_node_of(f, "x", NULL, NULL, NULL);
    sched_pod_of(f, "w1", "'app':'w'", POD_PLAIN(",'nodeName':'a1'"));
    struct sched_pod *p = sched_pod_of(f, "p", "'app':'w'", SPREAD("zone", ""));
    REFUSES(f, p,
            "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, "
            "1 node(s) didn't match pod topology spread constraints (missing required label), "
            "1 node(s) were unschedulable.");
    /* A second one in b allows a second one in a. */
    sched_pod_of(f, "w2", "'app':'w'", POD_PLAIN(",'nodeName':'b1'"));
    assert_string_equal(sched_choice(f, p), "a1");
    /* With fewer domains than wanted the least is none. */
    struct sched_pod *min = sched_pod_of(f, "m", "'app':'w'", SPREAD("zone", ",'minDomains':3"));
    assert_int_equal(sched_explain(f, min), SCHED_NO_NODE);
    /* What the selector does not mean adds nothing to the skew. */
    struct sched_pod *other = sched_pod_of(f, "o", "'app':'other'", SPREAD("zone", ""));
    assert_int_equal(sched_explain(f, other), SCHED_CHOSEN);
}

#define NEAR(kind, key)                                                                     \
    POD_PLAIN(",'affinity':{'" kind "':{'requiredDuringSchedulingIgnoredDuringExecution':[" \
              "{'labelSelector':{'matchLabels':{'app':'db'}},'topologyKey':'" key "'}]}}")

static void pod_affinity(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a1", "'zone':'a'", NULL, NULL);
    sched_node_of(f, "a2", "'zone':'a'", NULL, NULL);
    sched_node_of(f, "b1", "'zone':'b'", NULL, NULL);
    struct sched_pod *near = sched_pod_of(f, "near", NULL, NEAR("podAffinity", "zone"));
    REFUSES(f, near, "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
    assert_int_equal(f->cycle.verdicts[0].code, SCHED_UNRESOLVABLE);
    /* The first of a group goes anywhere. */
    struct sched_pod *first = sched_pod_of(f, "first", "'app':'db'", NEAR("podAffinity", "zone"));
    assert_int_equal(sched_explain(f, first), SCHED_CHOSEN);
    assert_int_equal(f->cycle.fit_count, 3);
    sched_pod_of(f, "db", "'app':'db'", POD_PLAIN(",'nodeName':'b1'"));
    assert_string_equal(sched_choice(f, near), "b1");
    struct sched_pod *far = sched_pod_of(f, "far", NULL, NEAR("podAntiAffinity", "zone"));
    assert_int_equal(sched_explain(f, far), SCHED_CHOSEN);
    assert_int_equal(f->cycle.fit_count, 2);
    sched_pod_of(f, "db2", "'app':'db'", POD_PLAIN(",'nodeName':'a1'"));
    REFUSES(f, far, "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.");
    assert_int_equal(f->cycle.verdicts[0].code, SCHED_UNSCHEDULABLE);
    /* Who is there already may not want the newcomer. */
    sched_cluster_pod_gone(&f->cluster, sched_cluster_pod(&f->cluster, slice_str("default/db2")));
    sched_cluster_pod_gone(&f->cluster, sched_cluster_pod(&f->cluster, slice_str("default/db")));
    sched_pod_of(f, "loner", NULL, NEAR("podAntiAffinity", "zone") ",'nodeName':'a1'");
    struct sched_pod *db = sched_pod_of(f, "db3", "'app':'db'", POD_PLAIN(""));
    assert_string_equal(sched_choice(f, db), "b1");
    sched_pod_of(f, "loner2", NULL, NEAR("podAntiAffinity", "zone") ",'nodeName':'b1'");
    REFUSES(f, db,
            "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.");
}

static const struct value *space_labels(void *data, struct slice space)
{
    struct object *o = data;
    return slice_eq(space, slice_str("default")) ? object_get(o, "metadata.labels") : NULL;
}

/* Terms mean pods of their own namespace, or of those they select. */
static void pod_affinity_over_namespaces(void **state)
{
    struct sched_fixture *f = *state;
    struct object o = sched_decoded(f, SCHEMA_CORE_V1_NAMESPACE,
                                    "{'metadata':{'name':'default','labels':{'team':'a'}}}");
    f->cluster.space_labels = space_labels;
    f->cluster.data = &o;
    sched_node_of(f, "n", NO_TAINT);
    struct object other = sched_pod_object(
        f, "p", NULL,
        POD_PLAIN(",'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':["
                  "{'labelSelector':{'matchLabels':{'app':'db'}},'topologyKey':"
                  "'kubernetes.io/hostname','namespaceSelector':{'matchLabels':{'team':'b'}}}]}}"));
    assert_int_equal(object_set_str(&other, "metadata.namespace", "elsewhere"), 0);
    sched_pod_of(f, "db", "'app':'db'", POD_PLAIN(",'nodeName':'n'"));
    struct sched_pod *p = sched_pod_make(&other);
    assert_int_equal(sched_cluster_pod_set(&f->cluster, p), 0);
    REFUSES(f, p, "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.");
    assert_int_equal(object_set_str(&o, "metadata.labels[team]", "b"), 0);
    assert_string_equal(sched_choice(f, p), "n");
}

/* There are no claims in this cluster. */
static void volume_claims(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "n", NO_TAINT);
    REFUSES(f,
            sched_pod_of(f, "p", NULL,
                         POD_PLAIN(",'volumes':[{'name':'e','emptyDir':{}},{'name':'v',"
                                   "'persistentVolumeClaim':{'claimName':'data'}}]")),
            "0/1 nodes are available: persistentvolumeclaim \"data\" not found.");
    REFUSES(f,
            sched_pod_of(f, "q", NULL,
                         POD_PLAIN(",'volumes':[{'name':'v','ephemeral':{'volumeClaimTemplate':{"
                                   "'spec':{}}}}]")),
            "0/1 nodes are available: waiting for ephemeral volume controller to create the "
            "persistentvolumeclaim \"q-v\".");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sched_setup, sched_teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_to_schedule_on),
        T(resources),
        T(resources_of_pods_count),
        T(requests_of_a_pod),
        T(unschedulable_and_taints),
        T(the_first_filter_decides),
        T(node_affinity),
        T(named_nodes),
        T(host_ports),
        T(topology_spread),
        T(pod_affinity),
        T(pod_affinity_over_namespaces),
        T(volume_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
