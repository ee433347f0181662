/* test_recorder.c - Events: what they say, which are the same, similar, or too many. */
#include "plugins/client/correlate.h"
#include "plugins/client/recorder.h"
#include "tests/unit/plane/fake.h"

static struct {
    struct recorder *recorder;
    struct object about;
    struct arena arena;
    char reason[32], message[2000];
    int times;
    bool numbered; /* each message gets its number */
    uint64_t fail_at;
    bool hit;
} t;

static void open_inside(void *data)
{
    t.recorder = recorder_open(plane_client(), data);
    assert_non_null(t.recorder);
}

static void close_inside(void *data)
{
    (void)data;
    recorder_close(t.recorder);
    t.recorder = NULL;
}

static void say_inside(void *data)
{
    (void)data;
    mem_fail_after(t.fail_at);
    for (int i = 0; i < t.times; i++) {
        if (t.numbered) {
            recorder_warning(t.recorder, &t.about, t.reason, "%s %d", t.message, i);
        } else {
            recorder_normal(t.recorder, &t.about, t.reason, "%s", t.message);
        }
    }
    t.hit = t.fail_at != 0 && mem_fail_left() == 0;
    mem_fail_after(0);
}

static void say(const char *reason, const char *message, int times, bool numbered)
{
    snprintf(t.reason, sizeof(t.reason), "%s", reason);
    snprintf(t.message, sizeof(t.message), "%s", message);
    t.times = times;
    t.numbered = numbered;
    plane_inside(say_inside, NULL);
}

static void about(enum schema_type_id type, const char *json)
{
    struct errmsg e = {""};
    assert_int_equal(
        object_decode(&t.about, schema_type(type), &t.arena, slice_str(json), NULL, &e), 0);
}

static void open_recorder(void)
{
    memset(&t, 0, sizeof(t));
    arena_init(&t.arena, 0);
    fake_open();
    plane_inside(open_inside, "test-controller");
    plane_on_stop(close_inside, NULL);
    about(SCHEMA_CORE_V1_POD, "{\"metadata\":{\"name\":\"web\",\"namespace\":\"n\",\"uid\":\"u1\","
                              "\"resourceVersion\":\"77\"}}");
}

static void close_recorder(void)
{
    plane_close();
    arena_close(&t.arena);
}

static void expect_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("without %s: %s", part, text);
    }
}

/* All that an Event carries, as client-go writes it. */
static void events_say_who_what_and_when(void **state)
{
    (void)state;
    open_recorder();
    say("Started", "it \"runs\" now", 1, false);
    struct fake_call *c = fake_find(KVP_VERB_CREATE);
    assert_string_equal(c->resource, "events");
    assert_string_equal(c->space, "n");
    expect_has(c->body, "\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web.");
    expect_has(c->body, "\"namespace\":\"n\"");
    expect_has(c->body, "\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"n\",\"name\":\"web\","
                        "\"uid\":\"u1\",\"apiVersion\":\"v1\",\"resourceVersion\":\"77\"}");
    expect_has(c->body, "\"reason\":\"Started\",\"message\":\"it \\\"runs\\\" now\"");
    expect_has(c->body, "\"source\":{\"component\":\"test-controller\"}");
    expect_has(c->body, "\"firstTimestamp\":\"2026-01-01T00:00:00Z\","
                        "\"lastTimestamp\":\"2026-01-01T00:00:00Z\",\"count\":1,"
                        "\"type\":\"Normal\"");
    expect_has(c->body, "\"reportingComponent\":\"test-controller\"");
    /* Of cluster scope: in default. */
    about(SCHEMA_CORE_V1_NODE, "{\"metadata\":{\"name\":\"node\",\"uid\":\"u2\"}}");
    say("Ready", "m", 1, false);
    c = &fake.calls[1];
    assert_string_equal(c->space, "default");
    expect_has(c->body, "\"involvedObject\":{\"kind\":\"Node\",\"name\":\"node\",\"uid\":\"u2\","
                        "\"apiVersion\":\"v1\"}");
    /* The longest name and text. */
    char json[400], name[254];
    memset(name, 'x', 253);
    name[253] = '\0';
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\",\"uid\":\"u3\"}}", name);
    about(SCHEMA_CORE_V1_NODE, json);
    char message[1402] = "x";
    for (int i = 0; i < 700; i++) {
        memcpy(message + 1 + 2 * i, "\xc3\xa9", 3);
    }
    say("Long", message, 1, false);
    c = &fake.calls[2];
    expect_has(c->body, "\"name\":\"event.");
    char *at = strstr(c->body, "\"message\":\"");
    assert_int_equal(strcspn(at + 11, "\""), 1023); /* and half a letter less */
    close_recorder();
}

/* The same again: a patch of the first one's count; when that is gone, a new one. */
static void repetitions_raise_the_count(void **state)
{
    (void)state;
    open_recorder();
    say("Same", "m", 1, false);
    fake_answer(fake_find(KVP_VERB_CREATE), 201, "{}");
    plane_advance(5000);
    say("Same", "m", 1, false);
    struct fake_call *c = fake_find(KVP_VERB_PATCH);
    assert_string_equal(c->type, "application/merge-patch+json");
    assert_string_equal(c->body,
                        "{\"count\":2,\"lastTimestamp\":\"2026-01-01T00:00:05Z\",\"message\":"
                        "\"m\"}");
    assert_true(strncmp(c->name, "web.", 4) == 0);
    expect_has(fake.calls[0].body, c->name);
    fake_answer(c, 200, "{}");
    say("Same", "m", 1, false);
    fake_refuse(fake_find(KVP_VERB_PATCH), 404, "NotFound");
    c = fake_find(KVP_VERB_CREATE);
    expect_has(c->body, "\"firstTimestamp\":\"2026-01-01T00:00:00Z\","
                        "\"lastTimestamp\":\"2026-01-01T00:00:05Z\",\"count\":3");
    fake_answer(c, 201, "{}");
    /* Another reason, type or object is another Event. */
    say("Other", "m", 1, false);
    assert_non_null(fake_find(KVP_VERB_CREATE));
    fake_refuse(fake_find(KVP_VERB_CREATE), 403, "Forbidden");
    /* One that could not be made is not there to be counted. */
    say("Other", "m", 1, false);
    c = fake_find(KVP_VERB_CREATE);
    expect_has(c->body, "\"count\":1");
    close_recorder();
}

/* From the tenth different text on they become one; after ten quiet minutes they do not. */
static void similar_ones_are_combined(void **state)
{
    (void)state;
    open_recorder();
    say("Similar", "text", 12, true);
    assert_int_equal(fake.count, 12);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(fake.calls[i].verb, KVP_VERB_CREATE);
        assert_null(strstr(fake.calls[i].body, "combined"));
    }
    expect_has(fake.calls[9].body, "\"message\":\"(combined from similar events): text 9\"");
    for (int i = 10; i < 12; i++) {
        assert_int_equal(fake.calls[i].verb, KVP_VERB_PATCH);
        expect_has(fake.calls[i].body, "(combined from similar events): text 1");
    }
    expect_has(fake.calls[11].body, "\"count\":3");
    plane_advance(600001);
    say("Similar", "fresh", 1, true);
    assert_null(strstr(fake.calls[12].body, "combined"));
    close_recorder();
}

/* 25 at once of one object, then one every five minutes; other objects have their own. */
static void too_many_are_dropped(void **state)
{
    (void)state;
    open_recorder();
    say("Spam", "m", 40, false);
    assert_int_equal(fake.count, 25);
    expect_has(fake.calls[24].body, "\"count\":25");
    plane_advance(299999);
    say("Spam", "m", 1, false);
    assert_int_equal(fake.count, 25);
    plane_advance(1);
    say("Spam", "m", 3, false);
    assert_int_equal(fake.count, 26);
    expect_has(fake.calls[25].body, "\"count\":42"); /* those dropped are counted */
    plane_advance(3 * 300000);
    say("Spam", "m", 9, false);
    assert_int_equal(fake.count, 29);
    plane_advance(100 * 300000);
    say("Spam", "m", 99, false);
    assert_int_equal(fake.count, 29 + 25);
    about(SCHEMA_CORE_V1_NODE, "{\"metadata\":{\"name\":\"node\",\"uid\":\"u2\"}}");
    say("Spam", "m", 2, false);
    assert_int_equal(fake.count, 29 + 25 + 2);
    close_recorder();
}

/* Nobody waits: with too many under way the rest is dropped. */
static void pending_ones_are_bounded(void **state)
{
    (void)state;
    open_recorder();
    for (int i = 0; i < 300; i++) {
        char json[100];
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"n%d\",\"uid\":\"u%d\"}}", i, i);
        about(SCHEMA_CORE_V1_NODE, json);
        say("Ready", "m", 1, false);
    }
    assert_int_equal(fake.count, RECORDER_PENDING_MAX);
    fake_answer(&fake.calls[0], 201, "{}");
    say("Ready", "m", 1, false);
    assert_int_equal(fake.count, RECORDER_PENDING_MAX + 1);
    close_recorder();
}

/* Closed with requests under way, ended with the term, said after the end. */
static void ends_are_quiet(void **state)
{
    (void)state;
    open_recorder();
    say("A", "m", 1, false);
    plane_inside(close_inside, NULL);
    fake_refuse(fake_find(KVP_VERB_CREATE), 500, "InternalError");
    plane_inside(open_inside, "again");
    say("A", "m", 2, false);
    plane_on_stop(NULL, NULL);
    plane_follow();
    say("A", "m", 1, false);
    assert_int_equal(fake.count, 3);
    plane_inside(close_inside, NULL);
    close_recorder();
}

static void memory_failures_drop_events(void **state)
{
    (void)state;
    open_recorder();
    bool hit = true;
    int n = 1;
    for (; hit; n++) {
        t.fail_at = (uint64_t)n;
        char json[100];
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"n%d\",\"uid\":\"u%d\"}}", n, n);
        about(SCHEMA_CORE_V1_NODE, json);
        say("First", "m", 1, false);
        hit = t.hit;
        say("First", "m", 1, false); /* a patch, or a create after all */
        hit = hit || t.hit;
        t.fail_at = 0;
        size_t before = fake.count;
        say("First", "m", 1, false);
        assert_int_equal(fake.count, before + 1);
    }
    assert_true(n > 8);
    close_recorder();
}

/* Old records make room for new ones. */
static void the_memory_is_bounded(void **state)
{
    struct correlator c;
    struct correlate_verdict v;
    (void)state;
    correlator_init(&c);
    for (uint64_t i = 0; i < 5 * CORRELATE_RECORDS_MAX; i++) {
        const struct correlate_key key = {.object = i, .similar = i, .message = 1};
        correlator_judge(&c, &key, 1000, &v);
        assert_false(v.dropped || v.no_memory || v.combined);
        assert_null(v.seen);
        assert_true(correlator_add(&c, v.event, "name", 7));
        assert_true(c.seen.records.len <= CORRELATE_RECORDS_MAX);
    }
    assert_int_equal(c.spam.records.len, CORRELATE_RECORDS_MAX);
    assert_int_equal(c.similar.records.len, CORRELATE_RECORDS_MAX);
    const struct correlate_key last = {.object = 5 * CORRELATE_RECORDS_MAX - 1,
                                       .similar = 5 * CORRELATE_RECORDS_MAX - 1,
                                       .message = 1};
    correlator_judge(&c, &last, 1000, &v);
    assert_int_equal(v.seen->count, 2);
    assert_string_equal(v.seen->name, "name");
    const struct correlate_key first = {.object = 0, .similar = 0, .message = 1};
    correlator_judge(&c, &first, 1000, &v);
    assert_null(v.seen);
    correlator_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(events_say_who_what_and_when), PLANE_TEST(repetitions_raise_the_count),
        PLANE_TEST(similar_ones_are_combined),    PLANE_TEST(too_many_are_dropped),
        PLANE_TEST(pending_ones_are_bounded),     PLANE_TEST(ends_are_quiet),
        PLANE_TEST(memory_failures_drop_events),  PLANE_TEST(the_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
