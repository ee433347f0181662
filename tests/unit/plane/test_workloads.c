/* test_workloads.c - replica sets, replication controllers and deployments through the API server,
 * in virtual time. The test plays scheduler and kubelet: it makes pods ready. */
#include "plugins/client/expect.h"
#include "tests/unit/plane/plane.h"

#include "plugins/client/informer.h"

#define POD SCHEMA_CORE_V1_POD
#define RS  SCHEMA_APPS_V1_REPLICA_SET
#define RC  SCHEMA_CORE_V1_REPLICATION_CONTROLLER
#define DEP SCHEMA_APPS_V1_DEPLOYMENT

static void open_plane(void)
{
    plane_open("apiserver", "controllers", NULL);
}

/* ' for " in templates of JSON. */
static const char *quoted(const char *text)
{
    static char out[4][4096];
    static unsigned turn;
    char *o = out[turn++ % 4];
    size_t n = strlen(text);
    assert_in_range(n, 0, sizeof out[0] - 1);
    for (size_t i = 0; i <= n; i++) {
        o[i] = text[i];
        if (text[i] == '\'') {
            o[i] = '"';
        }
    }
    return o;
}

static void apply_set(enum schema_type_id type, const char *name, int replicas)
{
    bool rc = type == RC;
    plane_applyf(quoted("{'apiVersion':'%s','kind':'%s','metadata':{'name':'%s'},"
                        "'spec':{'replicas':%d,'selector':%s,'template':{'metadata':{'labels':"
                        "{'app':'%s'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}"),
                 rc ? "v1" : "apps/v1", rc ? "ReplicationController" : "ReplicaSet", name, replicas,
                 rc ? quoted("{'app':'s'}") : quoted("{'matchLabels':{'app':'s'}}"), "s");
}

static void apply_deployment(int replicas, const char *image, const char *more)
{
    plane_applyf(quoted("{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web'},"
                        "'spec':{'replicas':%d,'selector':{'matchLabels':{'app':'web'}},"
                        "'template':{'metadata':{'labels':{'app':'web'}},"
                        "'spec':{'containers':[{'name':'c','image':'%s'}]}}%s}}"),
                 replicas, image, more);
}

/* Active pods of an image (NULL = any). */
static size_t pods_of(const char *image)
{
    size_t count;
    size_t n = 0;
    struct object **pods = plane_list(POD, "default", NULL, &count);
    for (size_t i = 0; i < count; i++) {
        n += !object_is_deleted(pods[i]) &&
             (image == NULL ||
              strcmp(plane_text_of(pods[i], "spec.containers[0].image"), image) == 0);
    }
    return n;
}

/* The kubelet: up to `most` pods that are not ready become so. Returns how many. */
static size_t make_ready(size_t most)
{
    size_t count;
    size_t n = 0;
    struct object **pods = plane_list(POD, "default", NULL, &count);
    int64_t s = (int64_t)(plane_now_ms() / 1000);
    for (size_t i = 0; i < count && n < most; i++) {
        struct object *p = pods[i];
        if (object_is_deleted(p) || object_get(p, "status.conditions[0]") != NULL) {
            continue;
        }
        struct value *unused;
        assert_int_equal(object_set_str(p, "status.phase", "Running"), 0);
        assert_int_equal(object_append(p, "status.conditions", value_empty(VALUE_MESSAGE), &unused),
                         0);
        assert_int_equal(object_set_str(p, "status.conditions[0].type", "Ready"), 0);
        assert_int_equal(object_set_str(p, "status.conditions[0].status", "True"), 0);
        assert_int_equal(object_set_int(p, "status.conditions[0].lastTransitionTime", s), 0);
        plane_update(p, "status");
        n++;
    }
    return n;
}

static int64_t number_of(enum schema_type_id type, const char *name, const char *path)
{
    const char *text = plane_text(type, "default", name, path);
    return strtoll(text, NULL, 10);
}

/* ---- replica sets --------------------------------------------------------------------------- */

static void keep_a_number(enum schema_type_id type)
{
    open_plane();
    apply_set(type, "s", 3);
    PLANE_UNTIL(pods_of(NULL) == 3 && number_of(type, "s", "status.replicas") == 3, 1000);
    assert_int_equal(number_of(type, "s", "status.fullyLabeledReplicas"), 3);
    assert_int_equal(number_of(type, "s", "status.observedGeneration"), 1);
    assert_int_equal(plane_events("default", "s", "SuccessfulCreate"), 3);
    size_t count;
    struct object *pod = plane_list(POD, "default", NULL, &count)[0];
    assert_string_equal(plane_text_of(pod, "metadata.ownerReferences[0].uid"),
                        plane_text(type, "default", "s", "metadata.uid"));
    assert_string_equal(plane_text_of(pod, "metadata.ownerReferences[0].controller"), "true");
    assert_string_equal(plane_text_of(pod, "metadata.ownerReferences[0].blockOwnerDeletion"),
                        "true");
    assert_string_equal(plane_text_of(pod, "metadata.generateName"), "s-");
    make_ready(2);
    PLANE_UNTIL(number_of(type, "s", "status.availableReplicas") == 2, 1000);
    /* One that is gone is replaced, ready ones stay when there are too many. */
    plane_delete(POD, "default", plane_text_of(pod, "metadata.name"), NULL);
    PLANE_UNTIL(pods_of(NULL) == 3, 1000);
    plane_patch(type, "default", "s", NULL, "{\"spec\":{\"replicas\":1}}");
    PLANE_UNTIL(pods_of(NULL) == 1 && number_of(type, "s", "status.replicas") == 1, 1000);
    assert_int_equal(number_of(type, "s", "status.readyReplicas"), 1);
    assert_int_equal(plane_events("default", "s", "SuccessfulDelete"), 2);
    plane_patch(type, "default", "s", NULL, "{\"spec\":{\"replicas\":0}}");
    PLANE_UNTIL(pods_of(NULL) == 0, 1000);
    plane_close();
}

static void replica_sets_keep_a_number(void **state)
{
    (void)state;
    keep_a_number(RS);
}

static void replication_controllers_keep_a_number(void **state)
{
    (void)state;
    keep_a_number(RC);
}

static void orphans_are_adopted_and_strangers_released(void **state)
{
    (void)state;
    open_plane();
    static const char orphan[] =
        "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'o%d','labels':{'app':'s'}},"
        "'spec':{'containers':[{'name':'c','image':'i'}]}}";
    plane_applyf(quoted(orphan), 1);
    apply_set(RS, "s", 2);
    PLANE_UNTIL(pods_of(NULL) == 2 && number_of(RS, "s", "status.replicas") == 2, 1000);
    const char *uid = plane_text(RS, "default", "s", "metadata.uid");
    plane_expect(POD, "default", "o1", "metadata.ownerReferences[0].uid", uid);
    plane_expect(POD, "default", "o1", "metadata.ownerReferences[0].kind", "ReplicaSet");
    /* One more than wanted: it is adopted, and then one goes. */
    plane_applyf(quoted(orphan), 2);
    PLANE_UNTIL(pods_of(NULL) == 2, 1000);
    /* Its label changes: it is nobody's, and replaced. */
    const char *left = plane_get(POD, "default", "o1") != NULL ? "o1" : "o2";
    assert_non_null(plane_get(POD, "default", left));
    plane_patch(POD, "default", left, NULL, "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
    PLANE_UNTIL(pods_of(NULL) == 3, 1000);
    PLANE_UNTIL(plane_text(POD, "default", left, "metadata.ownerReferences[0].uid")[0] == 0, 1000);
    plane_close();
}

/* An owner's children are of its namespace, whatever a pod elsewhere says. */
static void children_are_of_the_same_namespace(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers,controllers=*:-garbage-collector-controller", NULL);
    plane_apply(quoted("{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'other'}}"));
    apply_deployment(1, "v1", "");
    PLANE_UNTIL(pods_of(NULL) == 1, 1000);
    size_t count;
    const struct object *set = plane_list(RS, "default", NULL, &count)[0];
    const char *name = plane_text_of(set, "metadata.name");
    const char *owner = quoted("'ownerReferences':[{'apiVersion':'apps/v1','kind':'%s',"
                               "'name':'%s','uid':'%s','controller':true}]");
    char owners[256];
    snprintf(owners, sizeof owners, owner, "ReplicaSet", name, plane_text_of(set, "metadata.uid"));
    for (int i = 0; i < 3; i++) {
        plane_applyf(quoted("{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p%d','namespace':"
                            "'other','labels':{'app':'web','pod-template-hash':'%s'},%s},"
                            "'spec':{'containers':[{'name':'c','image':'v1'}]}}"),
                     i, plane_text_of(set, "metadata.labels[pod-template-hash]"), owners);
    }
    snprintf(owners, sizeof owners, owner, "Deployment", "web",
             plane_text(DEP, "default", "web", "metadata.uid"));
    plane_applyf(quoted("{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'x',"
                        "'namespace':'other',%s},'spec':{'replicas':0,'selector':{'matchLabels':"
                        "{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},"
                        "'spec':{'containers':[{'name':'c','image':'v0'}]}}}}"),
                 owners);
    plane_patch(DEP, "default", "web", NULL, "{\"spec\":{\"replicas\":2}}");
    PLANE_UNTIL(pods_of(NULL) == 2 && number_of(RS, name, "status.replicas") == 2, 1000);
    plane_advance(60000);
    assert_int_equal(number_of(RS, name, "status.replicas"), 2);
    assert_int_equal(number_of(DEP, "web", "status.replicas"), 2);
    assert_int_equal(plane_events("default", "web", "ScalingReplicaSet"), 2);
    assert_int_equal(plane_count(POD, "other", NULL), 3);
    /* Too many of its own go, and nothing is asked of the strangers. */
    plane_patch(DEP, "default", "web", NULL, "{\"spec\":{\"replicas\":0}}");
    PLANE_UNTIL(pods_of(NULL) == 0 && number_of(RS, name, "status.replicas") == 0, 1000);
    assert_int_equal(plane_events("default", name, "SuccessfulDelete"), 2);
    assert_int_equal(plane_count(POD, "other", NULL), 3);
    plane_close();
}

static void pods_count_as_available_after_a_while(void **state)
{
    (void)state;
    open_plane();
    apply_set(RS, "s", 2);
    plane_patch(RS, "default", "s", NULL, "{\"spec\":{\"minReadySeconds\":30}}");
    PLANE_UNTIL(pods_of(NULL) == 2, 1000);
    make_ready(2);
    PLANE_UNTIL(number_of(RS, "s", "status.readyReplicas") == 2, 1000);
    plane_advance(25000);
    assert_int_equal(number_of(RS, "s", "status.availableReplicas"), 0);
    PLANE_UNTIL(number_of(RS, "s", "status.availableReplicas") == 2, 7000);
    plane_close();
}

/* What cannot be made is tried a few times, not a hundred, and said. */
static void refused_pods_are_told(void **state)
{
    (void)state;
    open_plane();
    plane_apply(quoted("{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'s'},"
                       "'spec':{'replicas':100,'selector':{'matchLabels':{'app':'s'}},"
                       "'template':{'metadata':{'labels':{'app':'s'}},'spec':{"
                       "'priorityClassName':'missing',"
                       "'containers':[{'name':'c','image':'i'}]}}}}"));
    PLANE_UNTIL(
        strcmp(plane_text(RS, "default", "s", "status.conditions[0].reason"), "FailedCreate") == 0,
        1000);
    plane_expect(RS, "default", "s", "status.conditions[0].type", "ReplicaFailure");
    assert_int_equal(pods_of(NULL), 0);
    assert_true(plane_events("default", "s", "FailedCreate") < 20);
    plane_close();
}

/* A burst is bounded, and everything arrives. */
static void many_pods(void **state)
{
    (void)state;
    open_plane();
    apply_set(RS, "s", 700);
    PLANE_UNTIL(pods_of(NULL) == 700 && number_of(RS, "s", "status.replicas") == 700, 10000);
    plane_patch(RS, "default", "s", NULL, "{\"spec\":{\"replicas\":10}}");
    PLANE_UNTIL(pods_of(NULL) == 10, 10000);
    plane_advance(60000);
    assert_int_equal(pods_of(NULL), 10);
    plane_close();
}

/* ---- deployments ---------------------------------------------------------------------------- */

/* The kubelet works until the deployment's status says that all is done. */
static void roll_out(int64_t replicas)
{
    for (int i = 0; i < 100; i++) {
        plane_advance(100);
        make_ready(2);
        plane_settle();
        if (number_of(DEP, "web", "status.updatedReplicas") == replicas &&
            number_of(DEP, "web", "status.replicas") == replicas &&
            number_of(DEP, "web", "status.availableReplicas") == replicas &&
            number_of(DEP, "web", "status.observedGeneration") ==
                number_of(DEP, "web", "metadata.generation")) {
            return;
        }
    }
    fail_msg("not rolled out: %s", plane_text(DEP, "default", "web", "status"));
}

static size_t sets(void)
{
    return plane_count(RS, "default", NULL);
}

static void a_deployment_makes_a_set_and_pods(void **state)
{
    (void)state;
    open_plane();
    apply_deployment(3, "v1", "");
    PLANE_UNTIL(pods_of(NULL) == 3, 1000);
    assert_int_equal(sets(), 1);
    roll_out(3);
    plane_expect(DEP, "default", "web", "metadata.annotations[deployment.kubernetes.io/revision]",
                 "1");
    plane_expect(DEP, "default", "web", "metadata.generation", "1");
    assert_int_equal(plane_events("default", "web", "ScalingReplicaSet"), 1);
    size_t count;
    struct object *set = plane_list(RS, "default", NULL, &count)[0];
    assert_string_equal(plane_text_of(set, "metadata.ownerReferences[0].name"), "web");
    plane_patch(DEP, "default", "web", NULL, "{\"spec\":{\"replicas\":5}}");
    roll_out(5);
    plane_patch(DEP, "default", "web", NULL, "{\"spec\":{\"replicas\":2}}");
    roll_out(2);
    assert_int_equal(pods_of(NULL), 2);
    assert_int_equal(sets(), 1);
    /* Nothing is written any more once all is as it should be. */
    char version[32];
    plane_advance(5000);
    snprintf(version, sizeof version, "%s",
             plane_text(DEP, "default", "web", "metadata.resourceVersion"));
    plane_advance(3600000);
    plane_expect(DEP, "default", "web", "metadata.resourceVersion", version);
    plane_close();
}

/* ---- bounds at every change of a pod ---- */

struct bounds {
    struct informer *pods;
    struct informer_handler *handler;
    size_t most, least; /* pods; available ones, once there were that many */
    bool armed;
    size_t changes;
    size_t over, under;
};

struct tally {
    size_t active, available;
};

static int tally_pod(void *data, const struct object *p)
{
    struct tally *t = data;
    if (!object_is_deleted(p)) {
        t->active++;
        t->available += value_is_text(object_get(p, "status.conditions[0].status"), "True");
    }
    return 0;
}

static void bounds_changed(void *data, const struct object *before, const struct object *now)
{
    struct bounds *b = data;
    struct tally t = {0};
    (void)before;
    (void)now;
    informer_each(b->pods, tally_pod, &t);
    if (b->armed) {
        b->changes++;
        b->over += t.active > b->most;
        b->under += t.available < b->least;
    }
}

static void bounds_open(void *data)
{
    struct bounds *b = data;
    struct informer_args a = {.type = schema_type(POD)};
    assert_int_equal(informer_open(plane_root_client(), &a, &b->pods), 0);
    assert_int_equal(informer_on(b->pods, bounds_changed, NULL, b, &b->handler), 0);
}

static void bounds_close(void *data)
{
    struct bounds *b = data;
    informer_close(b->pods);
}

static void rolling_updates_keep_their_bounds(void **state)
{
    static const struct {
        const char *strategy;
        size_t most, least;
    } cases[] = {
        {"", 10 + 3, 10 - 2}, /* 25% and 25% */
        {",'strategy':{'rollingUpdate':{'maxSurge':1,'maxUnavailable':0}}", 11, 10},
        {",'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':'30%'}}", 10, 7},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_plane();
        struct bounds b = {.most = cases[i].most, .least = cases[i].least};
        apply_deployment(10, "v1", quoted(cases[i].strategy));
        PLANE_UNTIL(pods_of(NULL) == 10, 1000);
        roll_out(10);
        plane_inside(bounds_open, &b);
        plane_settle();
        b.armed = true;
        apply_deployment(10, "v2", quoted(cases[i].strategy));
        roll_out(10);
        assert_int_equal(pods_of("v2"), 10);
        assert_int_equal(pods_of("v1"), 0);
        assert_true(b.changes >= 20);
        assert_int_equal(b.over, 0);
        assert_int_equal(b.under, 0);
        assert_int_equal(sets(), 2);
        plane_inside(bounds_close, &b);
        plane_close();
    }
}

static void undo_and_pause(void **state)
{
    (void)state;
    open_plane();
    apply_deployment(2, "v1", "");
    roll_out(2);
    apply_deployment(2, "v2", "");
    roll_out(2);
    plane_expect(DEP, "default", "web", "metadata.annotations[deployment.kubernetes.io/revision]",
                 "2");
    /* kubectl rollout undo puts the old set's template back. */
    apply_deployment(2, "v1", "");
    roll_out(2);
    assert_int_equal(sets(), 2);
    assert_int_equal(pods_of("v1"), 2);
    plane_expect(DEP, "default", "web", "metadata.annotations[deployment.kubernetes.io/revision]",
                 "3");
    plane_patch(DEP, "default", "web", NULL, "{\"spec\":{\"paused\":true}}");
    apply_deployment(2, "v3", "");
    plane_advance(60000);
    assert_int_equal(sets(), 2);
    assert_int_equal(pods_of("v1"), 2);
    plane_expect(DEP, "default", "web", "status.conditions[1].reason", "DeploymentPaused");
    plane_patch(DEP, "default", "web", NULL, "{\"spec\":{\"paused\":false}}");
    roll_out(2);
    assert_int_equal(pods_of("v3"), 2);
    plane_close();
}

static void recreate(void **state)
{
    (void)state;
    open_plane();
    struct bounds b = {.most = 3};
    apply_deployment(3, "v1", quoted(",'strategy':{'type':'Recreate'}"));
    roll_out(3);
    plane_inside(bounds_open, &b);
    plane_settle();
    b.armed = true;
    apply_deployment(3, "v2", quoted(",'strategy':{'type':'Recreate'}"));
    roll_out(3);
    assert_int_equal(pods_of("v2"), 3);
    assert_int_equal(b.over, 0);
    plane_inside(bounds_close, &b);
    plane_close();
}

/* The reason of the deployment's condition of a type; "" = there is none. */
static const char *reason_of(const char *type)
{
    char path[64];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "status.conditions[%d].type", i);
        if (strcmp(plane_text(DEP, "default", "web", path), type) == 0) {
            snprintf(path, sizeof path, "status.conditions[%d].reason", i);
            return plane_text(DEP, "default", "web", path);
        }
    }
    return "";
}

static void progress_has_a_deadline(void **state)
{
    (void)state;
    open_plane();
    apply_deployment(2, "v1", quoted(",'progressDeadlineSeconds':60"));
    PLANE_UNTIL(pods_of(NULL) == 2, 1000);
    plane_advance(55000);
    assert_string_equal(reason_of("Progressing"), "ReplicaSetUpdated");
    PLANE_UNTIL(strcmp(reason_of("Progressing"), "ProgressDeadlineExceeded") == 0, 15000);
    roll_out(2);
    assert_string_equal(reason_of("Progressing"), "NewReplicaSetAvailable");
    plane_close();
}

/* ---- interrupted ---------------------------------------------------------------------------- */

static void send_deployment(void *data)
{
    char body[512];
    snprintf(body, sizeof body,
             quoted("{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web'},"
                    "'spec':{'replicas':%d,'selector':{'matchLabels':{'app':'web'}},"
                    "'template':{'metadata':{'labels':{'app':'web'}},"
                    "'spec':{'containers':[{'name':'c','image':'v1'}]}}}}"),
             *(const int *)data);
    struct client_request r = {.verb = KVP_VERB_CREATE,
                               .type = schema_type(DEP),
                               .space = slice_str("default"),
                               .body = slice_str(body)};
    assert_int_equal(client_send(plane_client(), &r), 0);
}

/* As nothing had been: for the next round on the same plane. Opening one takes longer than all that
 * a round does. */
static void clear_plane(void)
{
    plane_delete(DEP, "default", "web", NULL);
    PLANE_UNTIL(sets() == 0 && plane_count(POD, "default", NULL) == 0, 60000);
    plane_advance(1000); /* everybody is at rest */
}

/* Another leader goes on where the first one was cut off, wherever that was, and makes no pod
 * twice. */
static void a_leader_change_makes_no_pod_twice(void **state)
{
    size_t partly = 0;
    int replicas = 30;
    struct bounds b = {.most = 30, .armed = true};
    (void)state;
    open_plane();
    plane_inside(bounds_open, &b);
    plane_advance(1000); /* everybody is at rest */
    for (uint32_t cut = 4; cut < 34; cut++) {
        b.changes = 0;
        plane_inside_only(send_deployment, &replicas);
        plane_turns(cut);
        size_t seen = b.changes;
        plane_follow();
        partly += seen > 0 && seen < 30;
        plane_lead();
        if (plane_get(DEP, "default", "web") == NULL) {
            plane_inside(send_deployment, &replicas); /* so early that it was not stored */
        }
        PLANE_UNTIL(pods_of(NULL) == 30, 30000);
        plane_advance(60000);
        assert_int_equal(pods_of(NULL), 30);
        assert_int_equal(b.over, 0);
        assert_int_equal(sets(), 1);
        clear_plane();
    }
    plane_inside(bounds_close, &b);
    plane_close();
    assert_true(partly > 3);
}

/* Whatever cannot be done for want of memory is done later. Returns how often there were more pods
 * than wanted; ends at the first one. */
static size_t over_without_memory(void)
{
    int replicas = 3;
    bool failed = true;
    struct bounds b = {.most = 3, .armed = true};
    open_plane();
    plane_inside(bounds_open, &b);
    plane_advance(1000);
    for (uint64_t n = 1; failed && b.over == 0; n += 1 + n / 60) {
        plane_inside_only(send_deployment, &replicas);
        failed = plane_settle_failing(n);
        if (plane_get(DEP, "default", "web") == NULL) {
            plane_inside(send_deployment, &replicas);
        }
        PLANE_UNTIL(pods_of(NULL) == 3, 600000);
        /* What cannot be remembered ends the term, and each next one begins later. */
        PLANE_UNTIL(strcmp(plane_state("controllers"), "leading") == 0, 600000);
        roll_out(3);
        plane_advance(10000);
        assert_int_equal(pods_of(NULL), 3);
        assert_int_equal(sets(), 1);
        clear_plane();
    }
    plane_inside(bounds_close, &b);
    plane_close();
    return b.over;
}

static void without_memory_it_takes_longer(void **state)
{
    (void)state;
    assert_int_equal(over_without_memory(), 0);
}

/* The bug planted: controllers that expect nothing of what they did make pods twice, and are seen
 * to. */
static void without_expectations_pods_are_made_twice(void **state)
{
    (void)state;
    expects_blind = true;
    size_t over = over_without_memory();
    expects_blind = false;
    assert_true(over > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(replica_sets_keep_a_number),
        PLANE_TEST(replication_controllers_keep_a_number),
        PLANE_TEST(orphans_are_adopted_and_strangers_released),
        PLANE_TEST(children_are_of_the_same_namespace),
        PLANE_TEST(pods_count_as_available_after_a_while),
        PLANE_TEST(refused_pods_are_told),
        PLANE_TEST(many_pods),
        PLANE_TEST(a_deployment_makes_a_set_and_pods),
        PLANE_TEST(rolling_updates_keep_their_bounds),
        PLANE_TEST(undo_and_pause),
        PLANE_TEST(recreate),
        PLANE_TEST(progress_has_a_deadline),
        PLANE_TEST(a_leader_change_makes_no_pod_twice),
        PLANE_TEST(without_memory_it_takes_longer),
        PLANE_TEST(without_expectations_pods_are_made_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
