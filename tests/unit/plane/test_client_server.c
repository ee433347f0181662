/* test_client_server.c - informers, queues and Events over the real API server. */
#include <malloc.h>

#include "plugins/client/expect.h"
#include "plugins/client/recorder.h"
#include "plugins/client/work.h"
#include "tests/unit/plane/plane.h"

/* ---- an informer and what a handler of it holds ------------------------------------------------
 */

#define HELD_MAX 2048

/* A handler's own picture of the objects, kept by what it is told alone. */
struct mirror {
    char names[HELD_MAX][32];
    int64_t revisions[HELD_MAX];
    size_t count;
    size_t told, removed;
    int synced;
    bool wrong;
};

static struct {
    struct client client;
    struct informer_args args;
    struct informer *informer;
    struct mirror mirror;
    int rc;
} it;

static size_t mirror_find(const struct mirror *m, const struct object *o)
{
    char name[32];
    snprintf(name, sizeof(name), "%.*s", (int)object_name(o).len,
             (const char *)object_name(o).data);
    size_t i = 0;
    while (i < m->count && strcmp(m->names[i], name) != 0) {
        i++;
    }
    return i;
}

static void mirror_changed(void *data, const struct object *before, const struct object *now)
{
    struct mirror *m = data;
    const struct object *o = now != NULL ? now : before;
    size_t at = mirror_find(m, o);
    m->told++;
    m->wrong = m->wrong || (before != NULL) != (at < m->count);
    if (now == NULL && at < m->count) {
        m->removed++;
        m->count--;
        memcpy(m->names[at], m->names[m->count], sizeof(m->names[at]));
        m->revisions[at] = m->revisions[m->count];
    } else if (now != NULL) {
        assert_true(at < HELD_MAX);
        m->wrong = m->wrong || (at < m->count && object_revision(now) <= m->revisions[at]);
        snprintf(m->names[at], sizeof(m->names[at]), "%.*s", (int)object_name(o).len,
                 (const char *)object_name(o).data);
        m->revisions[at] = object_revision(now);
        m->count += at == m->count;
    }
}

static void mirror_synced(void *data)
{
    ((struct mirror *)data)->synced++;
}

static void open_inside(void *data)
{
    struct informer_handler *h;
    (void)data;
    it.rc = informer_open(it.client, &it.args, &it.informer);
    it.rc = it.rc == 0 ? informer_on(it.informer, mirror_changed, mirror_synced, &it.mirror, &h)
                       : it.rc;
}

static void close_inside(void *data)
{
    (void)data;
    informer_close(it.informer);
    it.informer = NULL;
}

static void open_informer_with(const struct informer_args *args)
{
    memset(&it, 0, sizeof(it));
    it.client = plane_root_client();
    it.args = *args;
    plane_inside(open_inside, NULL);
    assert_int_equal(it.rc, 0);
    plane_on_fini(close_inside, NULL);
    PLANE_UNTIL(informer_synced(it.informer), 10000);
}

static void open_informer(enum schema_type_id type, const char *query)
{
    open_informer_with(&(struct informer_args){.type = schema_type(type), .query = query});
}

/* The informer, its handler and the store agree. */
static void expect_agreement(enum schema_type_id type, const char *space, const char *query)
{
    size_t count;
    plane_settle();
    struct object **all = plane_list(type, space, query, &count);
    assert_int_equal(informer_len(it.informer), count);
    assert_int_equal(it.mirror.count, count);
    for (size_t i = 0; i < count; i++) {
        const struct object *o =
            informer_find(it.informer, object_namespace(all[i]), object_name(all[i]));
        assert_non_null(o);
        assert_int_equal(object_revision(o), object_revision(all[i]));
        assert_int_equal(it.mirror.revisions[mirror_find(&it.mirror, o)], object_revision(o));
    }
    assert_false(it.mirror.wrong);
}

static void make(const char *name, const char *label, int n)
{
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\","
                 "\"labels\":{\"x\":\"%s\"}},\"data\":{\"n\":\"%d\"}}",
                 name, label, n);
}

static void make_many(int from, int to)
{
    char name[32];
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        make(name, i % 2 == 0 ? "even" : "odd", i);
    }
}

/* More than two pages; then all kinds of changes; across terms. */
static void an_informer_follows_the_store(void **state)
{
    (void)state;
    plane_open("apiserver", NULL);
    make_many(0, 450);
    open_informer(SCHEMA_CORE_V1_CONFIG_MAP, NULL);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, NULL);
    assert_int_equal(it.mirror.synced, 1);
    make_many(400, 500); /* 50 changed, 50 new */
    plane_delete(SCHEMA_CORE_V1_CONFIG_MAP, "default", "c7", NULL);
    plane_delete(SCHEMA_CORE_V1_CONFIG_MAP, "default", "c450", NULL);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, NULL);
    assert_int_equal(it.mirror.removed, 2);
    plane_follow(); /* the instance's informer goes on */
    plane_lead();
    make("fresh", "odd", 1);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, NULL);
    plane_advance(3 * 3600000); /* watches end and begin again, bookmarks come */
    make("later", "odd", 1);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, NULL);
    assert_int_equal(it.mirror.synced, 1);
    plane_close();
}

/* With a selector, objects come and go by their labels. */
static void selectors_are_kept(void **state)
{
    (void)state;
    plane_open("apiserver", NULL);
    make_many(0, 10);
    open_informer(SCHEMA_CORE_V1_CONFIG_MAP, "labelSelector=x%3Deven");
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, "labelSelector=x%3Deven");
    make("c1", "even", 1);
    make("c2", "odd", 1);
    make("c3", "odd", 77);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, "labelSelector=x%3Deven");
    assert_int_equal(it.mirror.removed, 1);
    plane_close();
}

static void on_deleted(void *data, const struct kvp_result *r)
{
    assert_int_equal(r->outcome, KVP_OK);
    assert_int_equal(r->count, 1);
    *(bool *)data = true;
}

/* Behind the API server's back. */
static void delete_row_inside(void *data)
{
    const struct kvp_del del = {.size = sizeof(del),
                                .key = kvp_str("/registry/configmaps/default/c3")};
    struct client c = plane_client();
    assert_int_equal(c.host->del(c.ctx, &del, on_deleted, data), 0);
}

/* The API server is away for a while, and what the informer saw last is compacted meanwhile. */
static void compaction_makes_it_list_again(void **state)
{
    bool deleted = false;
    (void)state;
    plane_open("apiserver", NULL);
    make_many(0, 20);
    open_informer(SCHEMA_CORE_V1_CONFIG_MAP, NULL);
    plane_disable("apiserver");
    plane_advance(10000);
    assert_int_equal(informer_len(it.informer), it.mirror.count);
    size_t told = it.mirror.told;
    plane_inside(delete_row_inside, &deleted);
    assert_true(deleted);
    plane_compact();
    plane_enable("apiserver");
    PLANE_UNTIL(it.mirror.removed == 1, 60000);
    assert_int_equal(it.mirror.told, told + 1); /* only what is different */
    make("later", "odd", 1);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, NULL);
    assert_int_equal(it.mirror.synced, 1);
    plane_compact(); /* a watch that is up to date does not mind */
    plane_advance(2 * 3600000);
    make("last", "odd", 1);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, NULL);
    plane_close();
}

/* ---- a small controller: each config map "want-N" is to have N "child-..." ------------------- */

static struct {
    struct informer *maps;
    struct works *works;
    struct expects *expects;
    struct recorder *recorder;
    struct informer_handler *handler;
    unsigned creates;
} ctl;

struct children {
    struct slice parent;
    size_t count;
};

static bool is_child_of(const struct object *o, struct slice parent)
{
    return slice_eq(object_text(o, "data[parent]"), parent);
}

static int count_children(void *data, const struct object *o)
{
    struct children *c = data;
    c->count += is_child_of(o, c->parent);
    return 0;
}

static void ctl_on_created(void *data, const struct client_answer *a)
{
    struct slice key = slice_str(data);
    if (!a->ok) {
        expects_created(ctl.expects, key); /* will not be seen */
    }
}

static void ctl_create(struct work *w, struct slice parent, const char *key)
{
    struct arena arena;
    struct object o;
    arena_init(&arena, 0);
    assert_int_equal(object_new(&o, schema_type(SCHEMA_CORE_V1_CONFIG_MAP), &arena), 0);
    object_set_str(&o, "metadata.namespace", "default");
    object_set_str(&o, "metadata.generateName", "child-");
    object_set_text(&o, "data[parent]", parent);
    const struct client_request r = {.verb = KVP_VERB_CREATE,
                                     .type = o.type,
                                     .object = &o,
                                     .done = ctl_on_created,
                                     .data = (void *)(uintptr_t)key};
    if (work_send(w, &r, 0) != 0) {
        expects_created(ctl.expects, slice_str(key));
    }
    ctl.creates++;
    arena_close(&arena);
}

static const char the_key[] = "default/want";

static int64_t ctl_reconcile(void *data, struct work *w, struct slice key)
{
    (void)data;
    const struct object *o = informer_get(ctl.maps, key);
    if (!slice_eq(key, slice_str(the_key)) || o == NULL) {
        return KVP_DONE;
    }
    struct slice want = object_text(o, "data[count]");
    size_t n = 0;
    for (size_t i = 0; i < want.len; i++) {
        n = n * 10 + (size_t)(want.data[i] - '0');
    }
    struct children has = {.parent = object_name(o)};
    if (!expects_satisfied(ctl.expects, key)) {
        return KVP_DONE;
    }
    informer_each(ctl.maps, count_children, &has);
    if (has.count < n) {
        assert_int_equal(expects_creations(ctl.expects, key, n - has.count), 0);
        recorder_normal(ctl.recorder, o, "Creating", "creating %zu", n - has.count);
        for (size_t i = has.count; i < n; i++) {
            ctl_create(w, object_name(o), the_key);
        }
    }
    return KVP_DONE;
}

static void ctl_changed(void *data, const struct object *before, const struct object *now)
{
    (void)data;
    const struct object *o = now != NULL ? now : before;
    if (before == NULL && is_child_of(o, slice_str("want"))) {
        expects_created(ctl.expects, slice_str(the_key));
    }
    (void)works_add(ctl.works, slice_str(the_key));
}

static void ctl_start(void *data)
{
    (void)data;
    struct client c = plane_client();
    const struct works_args a = {
        .name = "want", .reconcile = ctl_reconcile, .informers = {ctl.maps}};
    ctl.expects = expects_open(c);
    ctl.recorder = recorder_open(c, "want-controller");
    assert_int_equal(works_open(c, &a, &ctl.works), 0);
    assert_int_equal(informer_on(ctl.maps, ctl_changed, NULL, NULL, &ctl.handler), 0);
}

static void ctl_stop(void *data)
{
    (void)data;
    informer_off(ctl.handler);
    works_close(ctl.works);
    recorder_close(ctl.recorder);
    expects_close(ctl.expects);
    ctl.works = NULL;
}

static void ctl_maps_inside(void *data)
{
    const struct informer_args a = {.type = schema_type(SCHEMA_CORE_V1_CONFIG_MAP)};
    (void)data;
    assert_int_equal(informer_open(plane_root_client(), &a, &ctl.maps), 0);
}

static void ctl_fini(void *data)
{
    (void)data;
    informer_close(ctl.maps);
}

static size_t children(void)
{
    size_t count;
    size_t n = 0;
    struct object **all = plane_list(SCHEMA_CORE_V1_CONFIG_MAP, "default", NULL, &count);
    for (size_t i = 0; i < count; i++) {
        n += is_child_of(all[i], slice_str("want"));
    }
    return n;
}

static void want(int n)
{
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"want\"},"
                 "\"data\":{\"count\":\"%d\"}}",
                 n);
}

/* Exactly as many as wanted, whenever leadership changes in the middle. */
static void a_controller_makes_nothing_twice(void **state)
{
    (void)state;
    memset(&ctl, 0, sizeof(ctl));
    plane_open("apiserver", NULL);
    plane_inside(ctl_maps_inside, NULL);
    plane_on_fini(ctl_fini, NULL);
    plane_inside(ctl_start, NULL);
    plane_on_stop(ctl_stop, NULL);
    want(10);
    PLANE_UNTIL(children() == 10, 5000);
    assert_int_equal(plane_events("default", "want", "Creating"), 1);
    assert_string_equal(
        plane_text_of(plane_list(SCHEMA_CORE_V1_EVENT, "default", NULL, &(size_t){0})[0],
                      "source.component"),
        "want-controller");
    plane_advance(600000);
    assert_int_equal(children(), 10);
    assert_int_equal(ctl.creates, 10);
    for (int round = 1; round <= 6; round++) {
        want(10 + 5 * round);
        /* Between the request and the next event: answers are on their way. */
        plane_turns((unsigned)round * 2);
        plane_on_start(ctl_start, NULL);
        plane_follow();
        plane_lead();
        plane_on_stop(ctl_stop, NULL);
        PLANE_UNTIL(children() >= (size_t)(10 + 5 * round), 10000);
        plane_advance(600000);
        assert_int_equal(children(), 10 + 5 * round);
    }
    plane_close();
}

/* ---- memory -------------------------------------------------------------------------------------
 */

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks;
}

/* A thousand pods as controllers make them cost a plugin less than 4 MB. */
static void a_thousand_pods_are_small(void **state)
{
    (void)state;
    plane_open("apiserver", NULL);
    /* Pods need it, and no controller is here to make it. */
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":"
                "\"default\"}}");
    for (int i = 0; i < 1000; i++) {
        plane_applyf(
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":"
            "\"frontend-6c6d6dfd4d-x%d\",\"labels\":{\"app\":\"guestbook\",\"tier\":\"frontend\","
            "\"pod-template-hash\":\"6c6d6dfd4d\"},\"ownerReferences\":[{\"apiVersion\":"
            "\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"frontend-6c6d6dfd4d\",\"uid\":"
            "\"11111111-2222-3333-4444-555555555555\",\"controller\":true,"
            "\"blockOwnerDeletion\":true}]},\"spec\":{\"containers\":[{\"name\":\"php-redis\","
            "\"image\":\"gb-frontend:v5\",\"env\":[{\"name\":\"GET_HOSTS_FROM\",\"value\":"
            "\"dns\"}],\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"100Mi\"}},"
            "\"ports\":[{\"containerPort\":80}]}]}}",
            i);
    }
    size_t before = heap_bytes();
    open_informer(SCHEMA_CORE_V1_POD, NULL);
    size_t used = heap_bytes() - before;
    assert_int_equal(informer_len(it.informer), 1000);
    print_message("1,000 pods in an informer: %zu KiB\n", used / 1024);
    if (used > 0 && used < SIZE_MAX / 2) { /* sanitizers' allocators do not tell */
        assert_true(used < 4u * 1024 * 1024);
    }
    plane_close();
}

/* Metadata alone: of the same kind, followed as whole objects are, and small. */
static void metadata_is_followed(void **state)
{
    static char large[4096];
    (void)state;
    memset(large, 'x', sizeof large - 1);
    plane_open("apiserver", NULL);
    for (int i = 0; i < 300; i++) {
        plane_applyf(
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m%d\"},"
            "\"data\":{\"large\":\"%s\"}}",
            i, large);
    }
    size_t before = heap_bytes();
    open_informer_with(
        &(struct informer_args){.type = schema_type(SCHEMA_CORE_V1_CONFIG_MAP), .metadata = true});
    size_t used = heap_bytes() - before;
    print_message("300 ConfigMaps of 4 KiB as metadata: %zu KiB\n", used / 1024);
    if (used > 0 && used < SIZE_MAX / 2) {
        assert_true(used < 300u * 1024);
    }
    make("m1", "changed", 1);
    make("new", "y", 2);
    plane_delete(SCHEMA_CORE_V1_CONFIG_MAP, "default", "m2", NULL);
    expect_agreement(SCHEMA_CORE_V1_CONFIG_MAP, NULL, NULL);
    const struct object *o = informer_find(it.informer, slice_str("default"), slice_str("m1"));
    assert_ptr_equal(o->type, schema_type(SCHEMA_CORE_V1_CONFIG_MAP));
    assert_true(slice_eq(object_text(o, "kind"), slice_str("ConfigMap")));
    assert_true(slice_eq(object_text(o, "apiVersion"), slice_str("v1")));
    assert_true(slice_eq(object_text(o, "metadata.labels[x]"), slice_str("changed")));
    assert_null(object_get(o, "data"));
    assert_int_equal(it.mirror.removed, 1);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(an_informer_follows_the_store),  PLANE_TEST(selectors_are_kept),
        PLANE_TEST(compaction_makes_it_list_again), PLANE_TEST(a_controller_makes_nothing_twice),
        PLANE_TEST(a_thousand_pods_are_small),      PLANE_TEST(metadata_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
