/* test_slice_plan.c - the writes that make a service's slices right: as few as can be. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/slice_mirror.h"
#include "plugins/controllers/slice_pods.h"

#define PODS_MAX   64
#define SLICES_MAX 32

struct world {
    struct fixture *f;
    struct object service;
    struct object pods[PODS_MAX];
    const struct object *pod_list[PODS_MAX];
    size_t pod_count;
    struct object slices[SLICES_MAX];
    const struct object *slice_list[SLICES_MAX];
    size_t slice_count;
    unsigned next; /* name */
    size_t created, updated, deleted;
};

static struct world *world_new(void **state)
{
    struct fixture *f = *state;
    struct world *w = arena_zalloc(&f->arena, sizeof *w);
    assert_non_null(w);
    w->f = f;
    w->service = decoded(f, SCHEMA_CORE_V1_SERVICE,
                         "{'apiVersion':'v1','kind':'Service','metadata':{'name':'s','namespace':"
                         "'d','uid':'u-s','labels':{'l':'1'}},'spec':{'clusterIP':'10.0.0.1',"
                         "'selector':{'a':'1'},'ports':[{'name':'p','port':80,'targetPort':8080,"
                         "'protocol':'TCP'}]}}");
    return w;
}

static void world_pod(struct world *w, unsigned number)
{
    struct object *o = &w->pods[w->pod_count];
    *o = decoded_f(w->f, SCHEMA_CORE_V1_POD,
                   "{'metadata':{'name':'p%u','namespace':'d','uid':'u-%04u'},'status':{'podIP':"
                   "'10.1.0.%u','conditions':[{'type':'Ready','status':'True'}]}}",
                   number, number, number);
    w->pod_list[w->pod_count++] = o;
}

static void world_drop_pod(struct world *w, size_t at)
{
    w->pod_list[at] = w->pod_list[--w->pod_count];
}

/* Plans and carries out, as the server would. */
static void world_step(struct world *w)
{
    struct slice_plan plan;
    struct slice_pods src = {.service = &w->service, .pods = w->pod_list, .count = w->pod_count};
    struct slice_plan_args args = {
        .slices = w->slice_list, .slice_count = w->slice_count, .endpoints_max = 5};
    slice_pods_plan(&src, &args);
    assert_int_equal(slice_plan(&args, &w->f->arena, &plan), 0);
    w->created = w->updated = w->deleted = 0;
    struct object next[SLICES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < plan.count; i++) {
        const struct slice_action *a = &plan.items[i];
        w->created += a->what == SLICE_CREATE;
        w->updated += a->what == SLICE_UPDATE;
        w->deleted += a->what == SLICE_DELETE;
    }
    assert_int_equal(w->created, plan.creates);
    for (size_t i = 0; i < w->slice_count; i++) {
        const struct slice_action *found = NULL;
        for (size_t j = 0; j < plan.count; j++) {
            const struct slice_action *a = &plan.items[j];
            bool about = a->have == w->slice_list[i];
            if (about && (found == NULL || a->what != SLICE_KEEP)) {
                assert_true(found == NULL || found->what == SLICE_KEEP);
                found = a;
            }
        }
        assert_non_null(found);
        if (found->what != SLICE_DELETE) {
            next[count++] = found->what == SLICE_UPDATE ? found->o : *w->slice_list[i];
        }
    }
    for (size_t i = 0; i < plan.count; i++) {
        if (plan.items[i].what == SLICE_CREATE) {
            char name[16];
            next[count] = plan.items[i].o;
            snprintf(name, sizeof name, "s-%u", w->next++);
            assert_int_equal(object_set_str(&next[count], "metadata.name", name), 0);
            count++;
        }
        assert_in_range(count, 0, SLICES_MAX - 1);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(object_copy(&next[i], &w->f->arena, &w->slices[i]), 0);
        w->slice_list[i] = &w->slices[i];
    }
    w->slice_count = count;
}

/* Each pod is in exactly one slice; no slice is too long; a second look writes nothing. */
static void world_check(struct world *w)
{
    size_t listed = 0;
    char path[64];
    for (size_t i = 0; i < w->slice_count; i++) {
        size_t len = value_len(object_get(w->slice_list[i], "endpoints"));
        assert_in_range(len, 0, 5);
        listed += len;
    }
    assert_int_equal(listed, w->pod_count);
    for (size_t p = 0; p < w->pod_count; p++) {
        size_t found = 0;
        for (size_t i = 0; i < w->slice_count; i++) {
            for (size_t j = 0; j < value_len(object_get(w->slice_list[i], "endpoints")); j++) {
                snprintf(path, sizeof path, "endpoints[%zu].targetRef.uid", j);
                found += slice_eq(object_text(w->slice_list[i], path),
                                  object_text(w->pod_list[p], "metadata.uid"));
            }
        }
        assert_int_equal(found, 1);
    }
    world_step(w);
    assert_int_equal(w->created + w->updated + w->deleted, 0);
}

static void slices_are_few(void **state)
{
    struct world *w = world_new(state);
    for (unsigned i = 0; i < 12; i++) {
        world_pod(w, i);
    }
    world_step(w);
    assert_int_equal(w->created, 3);
    world_check(w);
    world_pod(w, 20); /* goes where there is room */
    world_step(w);
    assert_int_equal(w->created, 0);
    assert_int_equal(w->updated, 1);
    world_check(w);
    world_drop_pod(w, 0);
    world_step(w);
    assert_int_equal(w->updated, 1);
    assert_int_equal(w->deleted + w->created, 0);
    world_check(w);
}

static void without_pods_one_empty_slice(void **state)
{
    struct world *w = world_new(state);
    world_step(w);
    assert_int_equal(w->created, 1);
    assert_int_equal(value_len(object_get(w->slice_list[0], "ports")), 0);
    assert_string_equal(text_at(w->f, w->slice_list[0], "addressType"), "IPv4");
    world_check(w);
    world_pod(w, 1); /* the empty one is used */
    world_step(w);
    assert_int_equal(w->updated, 1);
    assert_int_equal(w->created + w->deleted, 0);
    assert_string_equal(text_at(w->f, w->slice_list[0], "metadata.name"), "s-0");
    world_check(w);
    world_drop_pod(w, 0);
    world_step(w);
    assert_int_equal(w->slice_count, 1);
    world_check(w);
}

static void labels_and_strangers(void **state)
{
    struct world *w = world_new(state);
    world_pod(w, 1);
    world_step(w);
    world_check(w);
    assert_string_equal(text_at(w->f, w->slice_list[0], "metadata.ownerReferences[0].uid"), "u-s");
    assert_int_equal(object_set_str(&w->service, "metadata.labels[l]", "2"), 0);
    world_step(w);
    assert_int_equal(w->updated, 1);
    assert_string_equal(text_at(w->f, w->slice_list[0], "metadata.labels[l]"), "2");
    world_check(w);
    /* A new service of that name: slices of the old one go, they are not used. */
    assert_int_equal(object_set_str(&w->service, "metadata.uid", "u-t"), 0);
    world_step(w);
    assert_int_equal(w->deleted, 1);
    assert_int_equal(w->created, 1);
    world_check(w);
}

/* Random pods come and go. */
static void always_right(void **state)
{
    struct world *w = world_new(state);
    uint32_t dice = 12345;
    unsigned number = 1;
    for (int i = 0; i < 400; i++) {
        dice = dice * 1664525u + 1013904223u;
        unsigned changes = (dice >> 28) + 1;
        for (unsigned j = 0; j < changes; j++) {
            dice = dice * 1664525u + 1013904223u;
            bool come = w->pod_count == 0 || (w->pod_count < 40 && (dice >> 30) != 0);
            if (!come) {
                world_drop_pod(w, (dice >> 8) % w->pod_count);
            } else if (w->pod_count < 40) {
                /* The place of a pod that went may still be pointed to: a fresh one each time. */
                struct object *o = arena_zalloc(&w->f->arena, sizeof *o);
                size_t at = w->pod_count;
                w->pod_count = PODS_MAX - 1;
                world_pod(w, number++ % 250);
                *o = w->pods[PODS_MAX - 1];
                assert_int_equal(object_set_int(o, "metadata.generation", number), 0);
                char uid[16];
                snprintf(uid, sizeof uid, "v-%u", number);
                assert_int_equal(object_set_str(o, "metadata.uid", uid), 0);
                w->pod_count = at;
                w->pod_list[w->pod_count++] = o;
            }
        }
        world_step(w);
        world_check(w);
    }
}

static struct slice_plan mirror_plan(struct fixture *f, const struct object *endpoints)
{
    struct slice_plan plan;
    struct slice_plan_args args = {0};
    slice_mirror_plan(endpoints, &args);
    assert_int_equal(slice_plan(&args, &f->arena, &plan), 0);
    return plan;
}

/* One slice for each family and list of ports; an address that is there twice is listed once. */
static void users_endpoints_are_mirrored(void **state)
{
    struct fixture *f = *state;
    struct object o = decoded(
        f, SCHEMA_CORE_V1_ENDPOINTS,
        "{'apiVersion':'v1','kind':'Endpoints','metadata':{'name':'e','namespace':'d','uid':'u'},"
        "'subsets':[{'addresses':[{'ip':'192.0.2.1','hostname':'h','nodeName':'n'},{'ip':"
        "'192.0.2.1'},{'ip':'2001:db8::1'}],'notReadyAddresses':[{'ip':'192.0.2.2'}],'ports':[{"
        "'name':'p','port':1,'protocol':'UDP'}]},{'addresses':[{'ip':'192.0.2.1'}],'ports':[{"
        "'port':2}]}]}");
    struct slice_plan plan = mirror_plan(f, &o);
    assert_int_equal(plan.creates, 3);
    size_t listed = 0;
    size_t ipv6 = 0;
    for (size_t i = 0; i < plan.count; i++) {
        const struct object *slice = &plan.items[i].o;
        listed += value_len(object_get(slice, "endpoints"));
        ipv6 += slice_eq(object_text(slice, "addressType"), slice_str("IPv6"));
        assert_string_equal(text_at(f, slice, "metadata.labels[" SLICE_LABEL_SERVICE "]"), "e");
        assert_string_equal(text_at(f, slice, "metadata.labels[" SLICE_LABEL_MANAGER "]"),
                            SLICE_MIRROR_MANAGER);
    }
    assert_int_equal(listed, 4);
    assert_int_equal(ipv6, 1);
    struct object empty =
        decoded(f, SCHEMA_CORE_V1_ENDPOINTS, "{'metadata':{'name':'e','namespace':'d','uid':'u'}}");
    assert_int_equal(mirror_plan(f, &empty).count, 0);
}

static void what_is_mirrored(void **state)
{
    struct fixture *f = *state;
    struct object endpoints = decoded(f, SCHEMA_CORE_V1_ENDPOINTS, "{}");
    struct object skipped =
        decoded(f, SCHEMA_CORE_V1_ENDPOINTS,
                "{'metadata':{'labels':{'endpointslice.kubernetes.io/skip-mirror':'true'}}}");
    struct object lock =
        decoded(f, SCHEMA_CORE_V1_ENDPOINTS,
                "{'metadata':{'annotations':{'control-plane.alpha.kubernetes.io/leader':'x'}}}");
    struct object bare = decoded(f, SCHEMA_CORE_V1_SERVICE, "{}");
    struct object selecting = decoded(f, SCHEMA_CORE_V1_SERVICE, "{'spec':{'selector':{'a':'b'}}}");
    assert_true(slice_mirror_wanted(&endpoints, &bare));
    assert_false(slice_mirror_wanted(&endpoints, &selecting));
    assert_false(slice_mirror_wanted(&endpoints, NULL));
    assert_false(slice_mirror_wanted(NULL, &bare));
    assert_false(slice_mirror_wanted(&skipped, &bare));
    assert_false(slice_mirror_wanted(&lock, &bare));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slices_are_few, setup, teardown),
        cmocka_unit_test_setup_teardown(without_pods_one_empty_slice, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_and_strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(always_right, setup, teardown),
        cmocka_unit_test_setup_teardown(users_endpoints_are_mirrored, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_mirrored, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
