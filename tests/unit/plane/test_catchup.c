/* test_catchup.c - a new leader decides nothing before its caches show what the former one did, and
 * before its own handlers have been told of it. */
#include "plugins/client/informer.h"
#include "plugins/controllers/catchup.h"
#include "tests/unit/plane/fake.h"

#define PODS 6000

static struct {
    struct informer *informer;
    struct informer_handler *handler;
    struct catchup *catchup;
    struct catchup *other; /* of the same kind */
    struct catchup_list *shared;
    int other_ready;
    size_t told;       /* pods */
    size_t told_ready; /* when ready was called */
    int ready;
} t;

static void on_changed(void *data, const struct object *before, const struct object *now)
{
    (void)data;
    t.told += before == NULL && now != NULL;
}

static void on_ready(void *data)
{
    (void)data;
    t.ready++;
    t.told_ready = t.told;
}

static void on_other_ready(void *data)
{
    (void)data;
    t.other_ready++;
}

static void open_informer(void *data)
{
    struct informer_args a = {.type = schema_type(SCHEMA_CORE_V1_POD)};
    (void)data;
    assert_int_equal(informer_open(plane_root_client(), &a, &t.informer), 0);
}

static void close_informer(void *data)
{
    (void)data;
    informer_close(t.informer);
}

/* As a controller does when its term begins. */
static void begin(void *data)
{
    (void)data;
    assert_int_equal(informer_on(t.informer, on_changed, NULL, NULL, &t.handler), 0);
    assert_int_equal(catchup_open(plane_client(), t.informer, schema_type(SCHEMA_CORE_V1_POD),
                                  &t.shared, on_ready, NULL, &t.catchup),
                     0);
}

static void begin_two(void *data)
{
    begin(data);
    assert_int_equal(catchup_open(plane_client(), t.informer, schema_type(SCHEMA_CORE_V1_POD),
                                  &t.shared, on_other_ready, NULL, &t.other),
                     0);
}

static void end(void *data)
{
    (void)data;
    informer_off(t.handler);
    catchup_close(t.catchup);
    catchup_close(t.other);
    assert_null(t.shared);
}

/* A list of count pods, p1 at revision 1 and so on, as of a revision. */
static char *list_of(size_t count, unsigned revision)
{
    size_t room = 128 + count * 128;
    char *text = malloc(room);
    int len =
        snprintf(text, room, "{\"metadata\":{\"resourceVersion\":\"%u\"},\"items\":[", revision);
    for (size_t i = 1; i <= count; i++) {
        len += snprintf(text + len, room - (size_t)len,
                        "%s{\"metadata\":{\"name\":\"p%zu\",\"namespace\":\"default\","
                        "\"resourceVersion\":\"%zu\"}}",
                        i > 1 ? "," : "", i, i);
    }
    snprintf(text + len, room - (size_t)len, "]}");
    return text;
}

static void answer_list(struct fake_call *list, size_t count, unsigned revision)
{
    char *text = list_of(count, revision);
    fake_answer(list, 200, text);
    free(text);
}

/* The list is answered while the handlers are still being told of thousands of pods. */
static void handlers_are_told_first(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    fake_open();
    plane_inside(open_informer, NULL);
    answer_list(fake_await(KVP_VERB_LIST, 1000), PODS, PODS);
    plane_inside_only(begin, NULL);
    for (int i = 0; i < 100 && fake_find(KVP_VERB_LIST) == NULL; i++) {
        plane_crawl(1);
    }
    assert_true(t.told < PODS); /* or this test shows nothing */
    answer_list(fake_find(KVP_VERB_LIST), 3, PODS);
    PLANE_UNTIL(t.ready, 1000);
    assert_int_equal(t.told_ready, PODS);
    plane_advance(1000);
    assert_int_equal(t.ready, 1);
    plane_inside(end, NULL);
    plane_inside(close_informer, NULL);
    plane_close();
}

/* A pod that the list has and the cache does not: ready once it is shown. */
static void what_the_store_has_is_awaited(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    fake_open();
    plane_inside(open_informer, NULL);
    answer_list(fake_await(KVP_VERB_LIST, 1000), 2, 2);
    struct fake_call *watch = fake_await(KVP_VERB_WATCH, 1000);
    plane_inside(begin, NULL);
    fake_refuse(fake_await(KVP_VERB_LIST, 1000), 503, "ServiceUnavailable");
    answer_list(fake_await(KVP_VERB_LIST, 1000), 3, 7);
    plane_advance(60000);
    assert_int_equal(t.ready, 0);
    fake_event(watch, "ADDED",
               "{\"metadata\":{\"name\":\"p3\",\"namespace\":\"default\","
               "\"resourceVersion\":\"3\"}}");
    assert_int_equal(t.ready, 1);
    assert_int_equal(t.told_ready, 3);
    plane_inside(end, NULL);
    plane_inside(close_informer, NULL);
    plane_close();
}

/* Two that wait for one kind: one list, of metadata, and its pages. */
static void one_list_is_enough_for_all(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    fake_open();
    plane_inside(open_informer, NULL);
    answer_list(fake_await(KVP_VERB_LIST, 1000), 3, 3);
    plane_inside(begin_two, NULL);
    struct fake_call *list = fake_await(KVP_VERB_LIST, 1000);
    plane_advance(10000);
    assert_int_equal(fake_open_calls(), 2); /* and the informer's watch */
    assert_non_null(strstr(list->accept, "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"));
    fake_answer(list, 200,
                "{\"metadata\":{\"resourceVersion\":\"3\",\"continue\":\"a+b/c=\"},\"items\":[]}");
    assert_non_null(strstr(fake_await(KVP_VERB_LIST, 0)->query, "&continue=a%2Bb%2Fc%3D"));
    assert_int_equal(t.ready + t.other_ready, 0);
    answer_list(fake_find(KVP_VERB_LIST), 3, 3);
    plane_advance(0);
    assert_int_equal(t.ready, 1);
    assert_int_equal(t.other_ready, 1);
    plane_inside(end, NULL);
    plane_inside(close_informer, NULL);
    plane_close();

    /* Closed while it is asked for: the list goes with the last who waits. */
    memset(&t, 0, sizeof t);
    fake_open();
    plane_inside(open_informer, NULL);
    answer_list(fake_await(KVP_VERB_LIST, 1000), 3, 3);
    plane_inside(begin_two, NULL);
    list = fake_await(KVP_VERB_LIST, 1000);
    plane_inside(end, NULL);
    answer_list(list, 3, 3);
    plane_advance(10000);
    assert_int_equal(t.ready + t.other_ready, 0);
    plane_inside(close_informer, NULL);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(handlers_are_told_first),
        PLANE_TEST(what_the_store_has_is_awaited),
        PLANE_TEST(one_list_is_enough_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
