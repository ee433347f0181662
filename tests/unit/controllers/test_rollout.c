/* test_rollout.c - the decisions of the deployment controller, on objects alone: sets play the part
 * of the replica set controller, pods are numbers. */
#include "tests/unit/controllers/fixture.h"

#include "base/rand.h"
#include "plugins/controllers/rollout.h"

#define NOW_S    1700000000ll
#define SETS_MAX 16u

/* A deployment and its sets, as the store has them. */
struct bed {
    struct fixture *f;
    struct object d;
    struct object sets[SETS_MAX];
    size_t count;
    int64_t now_us;
    bool old_pods;
    int made; /* sets in all */
    /* of the last step */
    bool status_changed, created, unsettled;
    int64_t again_ms;
    int removed;
};

static struct object deployment(struct fixture *f, int replicas, const char *strategy)
{
    return decoded_f(f, SCHEMA_APPS_V1_DEPLOYMENT,
                     "{'metadata':{'name':'web','namespace':'default','uid':'d1','generation':1,"
                     "'annotations':{'note':'x',"
                     "'kubectl.kubernetes.io/last-applied-configuration':'{}'}},"
                     "'spec':{'replicas':%d,'selector':{'matchLabels':{'app':'web'}},"
                     "'template':{'metadata':{'labels':{'app':'web'}},"
                     "'spec':{'containers':[{'name':'c','image':'v1'}]}},"
                     "'strategy':%s,'revisionHistoryLimit':2,'progressDeadlineSeconds':600}}",
                     replicas, strategy);
}

static void bed_init(struct bed *b, struct fixture *f, int replicas, const char *strategy)
{
    *b = (struct bed){.f = f, .now_us = NOW_S * 1000000};
    b->d = deployment(f, replicas, strategy);
}

/* What a client changes counts as a generation. */
static void wants(struct bed *b, const char *path, const char *text)
{
    assert_int_equal(object_set_str(&b->d, path, text), 0);
    object_set_int(&b->d, "metadata.generation", object_int(&b->d, "metadata.generation", 0) + 1);
}
static void wants_number(struct bed *b, const char *path, int64_t n)
{
    assert_int_equal(object_set_int(&b->d, path, n), 0);
    object_set_int(&b->d, "metadata.generation", object_int(&b->d, "metadata.generation", 0) + 1);
}
static void wants_image(struct bed *b, const char *image)
{
    wants(b, "spec.template.spec.containers[0].image", image);
}

/* One reconciliation, all of whose writes succeed. */
static void step(struct bed *b)
{
    struct rollout r = {.arena = &b->f->arena, .now_us = b->now_us, .old_pods = b->old_pods};
    struct object before;
    struct rollout_set sets[SETS_MAX + 1];
    assert_int_equal(object_copy(&b->d, &b->f->arena, &before), 0);
    assert_int_equal(object_copy(&b->d, &b->f->arena, &r.d), 0);
    r.sets = sets;
    for (size_t i = 0; i < b->count; i++) {
        struct object copy;
        assert_int_equal(object_copy(&b->sets[i], &b->f->arena, &copy), 0);
        rollout_set_read(&r.sets[r.count++], &copy);
    }
    rollout_begin(&r);
    assert_int_equal(rollout_decide(&r), 0);
    b->created = r.create;
    b->unsettled = r.unsettled;
    b->removed = 0;
    b->count = 0;
    if (r.create) {
        assert_int_equal(rollout_created(&r), 0);
    }
    for (size_t i = 0; i < r.count; i++) {
        struct object *o = &r.sets[i].o;
        if (r.sets[i].removed) {
            b->removed++;
            continue;
        }
        assert_int_equal(object_set_int(o, "spec.replicas", r.sets[i].want), 0);
        if (r.create && i == r.fresh) {
            object_set_int(o, "metadata.creationTimestamp", NOW_S + b->made++);
        }
        assert_in_range(b->count, 0, SETS_MAX - 1);
        b->sets[b->count++] = *o;
    }
    assert_int_equal(rollout_status(&r, &before, &b->status_changed, &b->again_ms), 0);
    b->d = r.d;
}

static int64_t number(const struct object *o, const char *path)
{
    return object_int(o, path, 0);
}

/* The replica set controller: the number of pods is right, all are available. */
static void settle_sets(struct bed *b)
{
    for (size_t i = 0; i < b->count; i++) {
        int64_t n = number(&b->sets[i], "spec.replicas");
        object_set_int(&b->sets[i], "status.replicas", n);
        object_set_int(&b->sets[i], "status.readyReplicas", n);
        object_set_int(&b->sets[i], "status.availableReplicas", n);
    }
}

/* Until nothing changes any more. */
static void settle(struct bed *b)
{
    for (int i = 0; i < 200; i++) {
        bool busy = false;
        settle_sets(b);
        size_t count = b->count;
        int64_t sizes = 0;
        for (size_t k = 0; k < b->count; k++) {
            sizes = sizes * 100 + number(&b->sets[k], "spec.replicas");
        }
        step(b);
        int64_t after = 0;
        for (size_t k = 0; k < b->count; k++) {
            after = after * 100 + number(&b->sets[k], "spec.replicas");
        }
        busy = b->status_changed || b->created || b->removed > 0 || b->count != count ||
               after != sizes;
        if (!busy) {
            return;
        }
    }
    fail_msg("it does not come to rest");
}

static const char *annotation(struct bed *b, const struct object *o, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "metadata.annotations[%s]", name);
    return text_at(b->f, o, path);
}

/* A member of the condition of a type; "" = there is none. */
static const char *condition(struct bed *b, const char *type, const char *member)
{
    buf_clear(&b->f->out);
    buf_append_slice(&b->f->out, rollout_condition_text(&b->d, type, member));
    return plain(&b->f->out);
}

#define ROLLING "{'type':'RollingUpdate','rollingUpdate':{'maxSurge':'25%','maxUnavailable':'25%'}}"
#define ROLL(s, u) \
    "{'type':'RollingUpdate','rollingUpdate':{'maxSurge':" s ",'maxUnavailable':" u "}}"

static void first_set(void **state)
{
    struct bed b;
    char hash[ROLLOUT_HASH_BYTES];
    char name[32];
    bed_init(&b, *state, 3, ROLLING);
    assert_int_equal(rollout_hash(&b.d, hash), 0);
    snprintf(name, sizeof name, "web-%.10s", hash);
    step(&b);
    assert_int_equal(b.count, 1);
    struct object *s = &b.sets[0];
    assert_string_equal(text_at(b.f, s, "metadata.name"), name);
    assert_string_equal(text_at(b.f, s, "metadata.labels[pod-template-hash]"), name + 4);
    assert_string_equal(text_at(b.f, s, "metadata.labels[app]"), "web");
    assert_string_equal(text_at(b.f, s, "spec.selector.matchLabels[pod-template-hash]"), name + 4);
    assert_string_equal(text_at(b.f, s, "spec.template.metadata.labels[pod-template-hash]"),
                        name + 4);
    assert_int_equal(number(s, "spec.replicas"), 3);
    assert_string_equal(annotation(&b, s, ROLLOUT_REVISION), "1");
    assert_string_equal(annotation(&b, s, ROLLOUT_DESIRED), "3");
    assert_string_equal(annotation(&b, s, ROLLOUT_MAX), "4");
    assert_string_equal(annotation(&b, s, "note"), "x");
    assert_string_equal(annotation(&b, s, ROLLOUT_LAST_APPLIED), "");
    assert_string_equal(annotation(&b, &b.d, ROLLOUT_REVISION), "1");
    /* The deployment's own template has no hash. */
    assert_string_equal(text_at(b.f, &b.d, "spec.template.metadata.labels[pod-template-hash]"), "");
    assert_string_equal(condition(&b, "Progressing", "reason"), "NewReplicaSetCreated");
    assert_string_equal(condition(&b, "Available", "reason"), "MinimumReplicasUnavailable");
    assert_int_equal(number(&b.d, "status.unavailableReplicas"), 3);
    assert_int_equal(number(&b.d, "status.observedGeneration"), 1);
    settle_sets(&b);
    step(&b);
    assert_int_equal(b.count, 1);
    assert_string_equal(condition(&b, "Progressing", "reason"), "NewReplicaSetAvailable");
    assert_string_equal(condition(&b, "Progressing", "status"), "True");
    assert_string_equal(condition(&b, "Available", "message"),
                        "Deployment has minimum availability.");
    assert_int_equal(number(&b.d, "status.availableReplicas"), 3);
    step(&b);
    assert_false(b.status_changed);
    assert_int_equal(b.again_ms, 0);
}

static void bounds_round_in_favour_of_progress(void **state)
{
    static const struct {
        int replicas;
        const char *strategy;
        int surge, unavailable;
    } cases[] = {
        {3, ROLLING, 1, 0},
        {4, ROLLING, 1, 1},
        {10, ROLLING, 3, 2},
        {0, ROLLING, 0, 0},
        {1, ROLL("0", "'25%'"), 0, 1}, /* both would be nothing */
        {3, ROLL("0", "0"), 0, 1},
        {2, ROLL("5", "7"), 5, 2},
        {3, "{'type':'Recreate'}", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rollout r = {.d = deployment(*state, cases[i].replicas, cases[i].strategy)};
        assert_int_equal(rollout_max_surge(&r), cases[i].surge);
        assert_int_equal(rollout_max_unavailable(&r), cases[i].unavailable);
    }
}

/* Pods come, become available, break and go at random; in no state of any set are there more pods
 * wanted than allowed, or fewer available ones than promised by the rollout's own doing. */
static void roll_at_random(struct bed *b, unsigned seed)
{
    struct rand dice;
    rand_init(&dice, seed);
    for (int i = 0; i < 400; i++) {
        struct rollout r = {.d = b->d};
        int64_t wanted = number(&b->d, "spec.replicas");
        int64_t total = 0;
        int64_t before = 0;
        int64_t after = 0;
        for (size_t k = 0; k < b->count; k++) {
            before += number(&b->sets[k], "status.availableReplicas");
        }
        step(b);
        for (size_t k = 0; k < b->count; k++) {
            int64_t spec = number(&b->sets[k], "spec.replicas");
            int64_t available = number(&b->sets[k], "status.availableReplicas");
            total += spec;
            after += available < spec ? available : spec;
        }
        assert_true(total <= wanted + rollout_max_surge(&r));
        int64_t least = wanted - rollout_max_unavailable(&r);
        assert_true(after >= least || after == before);
        for (size_t k = 0; k < b->count; k++) {
            struct object *s = &b->sets[k];
            int64_t spec = number(s, "spec.replicas");
            int64_t available = number(s, "status.availableReplicas");
            if (rand_below(&dice, 3) == 0) {
                continue; /* its controller is slow */
            }
            available = available > spec ? spec : available;
            available += available < spec && rand_below(&dice, 2) == 0;
            object_set_int(s, "status.replicas", spec);
            object_set_int(s, "status.readyReplicas", available);
            object_set_int(s, "status.availableReplicas", available);
        }
    }
}

static void rolling_keeps_its_bounds(void **state)
{
    static const char *const strategies[] = {
        ROLLING,       ROLL("1", "0"), ROLL("0", "1"), ROLL("'100%'", "0"), ROLL("0", "'100%'"),
        ROLL("2", "3")};
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct bed b;
        bed_init(&b, *state, 1 + (int)(seed % 11), strategies[seed % 6]);
        settle(&b);
        wants_image(&b, "v2");
        roll_at_random(&b, seed);
        settle(&b);
        assert_int_equal(b.count, 2);
        assert_int_equal(number(&b.sets[0], "spec.replicas"), 0);
        assert_int_equal(number(&b.sets[1], "spec.replicas"), number(&b.d, "spec.replicas"));
        assert_true(rollout_is_complete(&b.d));
        arena_clear(&b.f->arena);
    }
}

static void a_change_of_mind_in_the_middle(void **state)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct bed b;
        bed_init(&b, *state, 10, ROLLING);
        settle(&b);
        wants_image(&b, "v2");
        step(&b);
        settle_sets(&b);
        step(&b);
        wants_image(&b, "v3");
        roll_at_random(&b, seed);
        settle(&b);
        assert_int_equal(b.count, 3);
        assert_int_equal(number(&b.sets[2], "spec.replicas"), 10);
        assert_int_equal(number(&b.sets[0], "spec.replicas"), 0);
        assert_int_equal(number(&b.sets[1], "spec.replicas"), 0);
        arena_clear(&b.f->arena);
    }
}

static void unhealthy_old_pods_go_first(void **state)
{
    struct bed b;
    bed_init(&b, *state, 10, ROLL("3", "2"));
    settle(&b);
    /* Three of ten never became available. */
    object_set_int(&b.sets[0], "status.readyReplicas", 7);
    object_set_int(&b.sets[0], "status.availableReplicas", 7);
    wants_image(&b, "v2");
    step(&b); /* makes the new set with 3 */
    assert_int_equal(number(&b.sets[1], "spec.replicas"), 3);
    step(&b);
    /* 13 - 8 - 3 new ones that do not count yet: two may go, the broken ones. */
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 8);
    step(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 8);
}

static void old_status_decides_nothing(void **state)
{
    struct bed b;
    bed_init(&b, *state, 10, ROLL("3", "2"));
    settle(&b);
    wants_image(&b, "v2");
    step(&b);
    step(&b); /* 10 -> 8 */
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 8);
    step(&b); /* up before down */
    assert_int_equal(number(&b.sets[1], "spec.replicas"), 5);
    /* One new pod is available, but the old set still counts the two that go. */
    object_set_int(&b.sets[1], "status.replicas", 5);
    object_set_int(&b.sets[1], "status.availableReplicas", 1);
    step(&b);
    assert_true(b.unsettled);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 8);
    object_set_int(&b.sets[0], "status.replicas", 8);
    object_set_int(&b.sets[0], "status.availableReplicas", 8);
    step(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 7);
}

static void recreate_waits_for_the_last_old_pod(void **state)
{
    struct bed b;
    bed_init(&b, *state, 3, "{'type':'Recreate'}");
    settle(&b);
    wants_image(&b, "v2");
    step(&b);
    assert_int_equal(b.count, 1);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 0);
    step(&b); /* its status still has pods */
    assert_int_equal(b.count, 1);
    settle_sets(&b);
    b.old_pods = true; /* they are terminating */
    step(&b);
    assert_int_equal(b.count, 1);
    b.old_pods = false;
    step(&b);
    assert_int_equal(b.count, 2);
    assert_int_equal(number(&b.sets[1], "spec.replicas"), 3);
}

static void scaling_in_the_middle_is_proportional(void **state)
{
    struct bed b;
    bed_init(&b, *state, 10, ROLL("3", "2"));
    settle(&b);
    wants_image(&b, "v2");
    step(&b);
    step(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 8);
    assert_int_equal(number(&b.sets[1], "spec.replicas"), 5 - 2); /* 8 + 3 */
    /* As the documentation has it: 15 in all, surge 3: 18; five more for 8 and 5. */
    object_set_int(&b.sets[1], "spec.replicas", 5);
    wants_number(&b, "spec.replicas", 15);
    step(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 11);
    assert_int_equal(number(&b.sets[1], "spec.replicas"), 7);
    assert_string_equal(annotation(&b, &b.sets[0], ROLLOUT_DESIRED), "15");
    assert_string_equal(annotation(&b, &b.sets[1], ROLLOUT_MAX), "18");
    step(&b); /* one step of the rollout again: total is at its bound */
    assert_int_equal(number(&b.sets[0], "spec.replicas") + number(&b.sets[1], "spec.replicas"), 18);
    wants_number(&b, "spec.replicas", 0);
    step(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 0);
    assert_int_equal(number(&b.sets[1], "spec.replicas"), 0);
}

static void scaling_a_settled_one(void **state)
{
    struct bed b;
    bed_init(&b, *state, 3, ROLLING);
    settle(&b);
    wants_number(&b, "spec.replicas", 7);
    step(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 7);
    assert_string_equal(annotation(&b, &b.sets[0], ROLLOUT_DESIRED), "7");
    settle(&b);
    wants_number(&b, "spec.replicas", 0);
    settle(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 0);
    wants_number(&b, "spec.replicas", 2);
    settle(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 2);
    assert_int_equal(b.count, 1);
}

static void paused(void **state)
{
    struct bed b;
    bed_init(&b, *state, 3, ROLLING);
    settle(&b);
    object_set_bool(&b.d, "spec.paused", true);
    wants_image(&b, "v2");
    settle(&b);
    assert_int_equal(b.count, 1);
    assert_string_equal(condition(&b, "Progressing", "reason"), "DeploymentPaused");
    assert_string_equal(condition(&b, "Progressing", "status"), "Unknown");
    assert_string_equal(condition(&b, "Progressing", "message"), "Deployment is paused");
    /* It scales all the same. */
    wants_number(&b, "spec.replicas", 5);
    settle(&b);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 5);
    assert_int_equal(b.count, 1);
    object_set_bool(&b.d, "spec.paused", false);
    b.now_us += 3600 * 1000000ll; /* longer than the deadline */
    step(&b);
    assert_int_equal(b.count, 2);
    assert_string_equal(condition(&b, "Progressing", "reason"), "NewReplicaSetCreated");
    settle(&b);
    assert_string_equal(condition(&b, "Progressing", "reason"), "NewReplicaSetAvailable");
}

static void going_back_takes_the_old_set(void **state)
{
    struct bed b;
    bed_init(&b, *state, 3, ROLLING);
    settle(&b);
    wants_image(&b, "v2");
    settle(&b);
    assert_string_equal(annotation(&b, &b.d, ROLLOUT_REVISION), "2");
    wants_image(&b, "v1");
    settle(&b);
    assert_int_equal(b.count, 2);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 3);
    assert_int_equal(number(&b.sets[1], "spec.replicas"), 0);
    assert_string_equal(annotation(&b, &b.sets[0], ROLLOUT_REVISION), "3");
    assert_string_equal(annotation(&b, &b.sets[0], ROLLOUT_HISTORY), "1");
    assert_string_equal(annotation(&b, &b.d, ROLLOUT_REVISION), "3");
    wants_image(&b, "v2");
    settle(&b);
    wants_image(&b, "v1");
    settle(&b);
    assert_string_equal(annotation(&b, &b.sets[0], ROLLOUT_REVISION), "5");
    assert_string_equal(annotation(&b, &b.sets[0], ROLLOUT_HISTORY), "1,3");
}

static void history_is_bounded(void **state)
{
    struct bed b;
    char image[8];
    bed_init(&b, *state, 2, ROLLING);
    settle(&b);
    for (int i = 2; i <= 6; i++) {
        snprintf(image, sizeof image, "v%d", i);
        wants_image(&b, image);
        settle(&b);
        assert_true(b.count <= 3); /* revisionHistoryLimit 2 and the present one */
    }
    assert_string_equal(annotation(&b, &b.sets[0], ROLLOUT_REVISION), "4");
    assert_string_equal(annotation(&b, &b.sets[2], ROLLOUT_REVISION), "6");
}

static void the_list_of_revisions_is_bounded(void **state)
{
    struct bed b;
    char list[2100] = "";
    bed_init(&b, *state, 1, ROLLING);
    settle(&b);
    for (int i = 0; strlen(list) < 1995; i++) {
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", i > 0 ? "," : "",
                 1000 + i);
    }
    bool changed;
    assert_int_equal(
        rollout_annotate(&b.sets[0], slice_str(ROLLOUT_HISTORY), slice_str(list), &changed), 0);
    wants_image(&b, "v2");
    settle(&b);
    wants_image(&b, "v1");
    settle(&b);
    const char *now = annotation(&b, &b.sets[0], ROLLOUT_HISTORY);
    assert_true(strlen(now) <= ROLLOUT_HISTORY_BYTES_MAX);
    assert_memory_equal(now, "1001,", 5);
    assert_string_equal(now + strlen(now) - 2, ",1");
}

static void deadline(void **state)
{
    struct bed b;
    bed_init(&b, *state, 3, ROLLING);
    settle(&b);
    wants_image(&b, "v2");
    step(&b); /* makes the set; no pod of it ever gets ready */
    object_set_int(&b.sets[1], "status.replicas", 1);
    step(&b);
    assert_string_equal(condition(&b, "Progressing", "reason"), "ReplicaSetUpdated");
    step(&b);
    assert_false(b.status_changed);
    assert_int_equal(b.again_ms, 601000);
    b.now_us += 600 * 1000000ll;
    step(&b);
    assert_false(b.status_changed);
    b.now_us += 1;
    step(&b);
    assert_string_equal(condition(&b, "Progressing", "reason"), "ProgressDeadlineExceeded");
    assert_string_equal(condition(&b, "Progressing", "status"), "False");
    char want[96];
    char name[32];
    snprintf(name, sizeof name, "%s", text_at(b.f, &b.sets[1], "metadata.name"));
    snprintf(want, sizeof want, "ReplicaSet '%s' has timed out progressing.", name);
    assert_string_equal(condition(&b, "Progressing", "message"), want);
    step(&b);
    assert_int_equal(b.again_ms, 0);
    /* Progress after all. */
    settle(&b);
    assert_string_equal(condition(&b, "Progressing", "reason"), "NewReplicaSetAvailable");
    snprintf(want, sizeof want, "ReplicaSet '%s' has successfully progressed.", name);
    assert_string_equal(condition(&b, "Progressing", "message"), want);
}

static void failures_of_sets_are_the_deployments(void **state)
{
    struct bed b;
    struct value *unused;
    bed_init(&b, *state, 3, ROLLING);
    step(&b);
    object_append(&b.sets[0], "status.conditions", value_empty(VALUE_MESSAGE), &unused);
    object_set_str(&b.sets[0], "status.conditions[0].type", "ReplicaFailure");
    object_set_str(&b.sets[0], "status.conditions[0].status", "True");
    object_set_str(&b.sets[0], "status.conditions[0].reason", "FailedCreate");
    object_set_str(&b.sets[0], "status.conditions[0].message", "no room");
    step(&b);
    assert_string_equal(condition(&b, "ReplicaFailure", "reason"), "FailedCreate");
    assert_string_equal(condition(&b, "ReplicaFailure", "message"), "no room");
    object_remove(&b.sets[0], "status.conditions");
    step(&b);
    assert_string_equal(condition(&b, "ReplicaFailure", "reason"), "");
}

static void a_collision_makes_another_name(void **state)
{
    struct bed b;
    char first[ROLLOUT_HASH_BYTES];
    char second[ROLLOUT_HASH_BYTES];
    bed_init(&b, *state, 1, ROLLING);
    struct rollout r = {.arena = &b.f->arena, .d = b.d};
    assert_int_equal(rollout_hash(&r.d, first), 0);
    assert_int_equal(rollout_collided(&r), 0);
    assert_int_equal(object_int(&r.d, "status.collisionCount", 0), 1);
    assert_int_equal(rollout_hash(&r.d, second), 0);
    assert_memory_not_equal(first, second, sizeof first);
}

static void a_deleted_one_keeps_its_sets(void **state)
{
    struct bed b;
    bed_init(&b, *state, 3, ROLLING);
    settle(&b);
    object_set_int(&b.d, "metadata.deletionTimestamp", NOW_S);
    wants_image(&b, "v2");
    wants_number(&b, "spec.replicas", 9);
    step(&b);
    assert_int_equal(b.count, 1);
    assert_int_equal(number(&b.sets[0], "spec.replicas"), 3);
    assert_int_equal(number(&b.d, "status.observedGeneration"), 3);
}

static void templates_are_compared_without_their_hash(void **state)
{
    struct fixture *f = *state;
    struct object d = deployment(f, 1, ROLLING);
    struct object s = decoded(f, SCHEMA_APPS_V1_REPLICA_SET,
                              "{'spec':{'template':{'metadata':{'labels':{'app':'web',"
                              "'pod-template-hash':'abc'},'annotations':{}},"
                              "'spec':{'containers':[{'name':'c','image':'v1'}]}}}}");
    assert_true(rollout_same_template(&d, &s));
    object_set_str(&s, "spec.template.spec.containers[0].image", "v2");
    assert_false(rollout_same_template(&d, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(first_set, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_round_in_favour_of_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(rolling_keeps_its_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_of_mind_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(unhealthy_old_pods_go_first, setup, teardown),
        cmocka_unit_test_setup_teardown(old_status_decides_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(recreate_waits_for_the_last_old_pod, setup, teardown),
        cmocka_unit_test_setup_teardown(scaling_in_the_middle_is_proportional, setup, teardown),
        cmocka_unit_test_setup_teardown(scaling_a_settled_one, setup, teardown),
        cmocka_unit_test_setup_teardown(paused, setup, teardown),
        cmocka_unit_test_setup_teardown(going_back_takes_the_old_set, setup, teardown),
        cmocka_unit_test_setup_teardown(history_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(the_list_of_revisions_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_of_sets_are_the_deployments, setup, teardown),
        cmocka_unit_test_setup_teardown(a_collision_makes_another_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deleted_one_keeps_its_sets, setup, teardown),
        cmocka_unit_test_setup_teardown(templates_are_compared_without_their_hash, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
