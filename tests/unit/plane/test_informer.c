/* test_informer.c - informers against a provider whose answers the test writes. */
#include "tests/unit/plane/fake.h"
#include "plugins/client/informer.h"

/* ---- what handlers saw ------------------------------------------------------------------------
 */

#define SEEN_MAX 2048

struct seen {
    char text[SEEN_MAX]; /* "+a@1 ~a@1>2 -a@2 !" */
    int synced;
    int calls;
    struct informer *close_at; /* closed in the call number close_on */
    struct informer_handler *off_at;
    int on;
};

static void seen_name(char *out, size_t room, const struct object *o)
{
    struct slice name = object_name(o);
    snprintf(out, room, "%.*s@%lld", (int)name.len, (const char *)name.data,
             (long long)object_revision(o));
}

static void on_changed(void *data, const struct object *before, const struct object *now)
{
    struct seen *s = data;
    char a[80] = "", b[80] = "", line[200];
    if (before != NULL) {
        seen_name(a, sizeof(a), before);
    }
    if (now != NULL) {
        seen_name(b, sizeof(b), now);
    }
    snprintf(line, sizeof(line), "%s%s%s%s ",
             before == NULL ? "+"
             : now == NULL  ? "-"
                            : "~",
             a, before && now ? ">" : "", b);
    size_t len = strlen(s->text);
    assert_true(len + strlen(line) < SEEN_MAX);
    memcpy(s->text + len, line, strlen(line) + 1);
    s->calls++;
    if (s->calls == s->on && s->close_at != NULL) {
        informer_close(s->close_at);
    }
    if (s->calls == s->on && s->off_at != NULL) {
        informer_off(s->off_at);
    }
}

static void on_synced(void *data)
{
    struct seen *s = data;
    s->synced++;
    size_t len = strlen(s->text);
    assert_true(len + 3 <= SEEN_MAX);
    memcpy(s->text + len, "! ", 3);
}

static void expect_seen(struct seen *s, const char *text)
{
    if (strcmp(s->text, text) != 0) {
        fail_msg("seen \"%s\" instead of \"%s\"", s->text, text);
    }
    s->text[0] = '\0';
}

/* ---- inside the probe ---------------------------------------------------------------------------
 */

static struct {
    struct client client;
    struct informer_args args;
    struct informer *informer;
    struct informer_handler *handler;
    struct seen *seen;
    int rc;
} it;

static void open_inside(void *data)
{
    (void)data;
    it.rc = informer_open(it.client, &it.args, &it.informer);
    if (it.rc == 0 && it.seen != NULL) {
        it.rc = informer_on(it.informer, on_changed, on_synced, it.seen, &it.handler);
    }
}

static void close_inside(void *data)
{
    (void)data;
    informer_close(it.informer);
    it.informer = NULL;
}

static void on_inside(void *data)
{
    struct seen *s = data;
    int calls = s->calls;
    it.rc = informer_on(it.informer, on_changed, on_synced, s, &it.handler);
    assert_int_equal(s->calls, calls); /* not inside the call */
}

static void off_inside(void *data)
{
    informer_off(data);
}

static void open_informer(struct client c, struct seen *seen)
{
    memset(&it, 0, sizeof(it));
    it.client = c;
    it.args.type = schema_type(SCHEMA_CORE_V1_CONFIG_MAP);
    it.seen = seen;
    plane_inside(open_inside, NULL);
    assert_int_equal(it.rc, 0);
}

/* ---- objects ------------------------------------------------------------------------------------
 */

static const char *object(const char *name, int revision)
{
    static char text[8][512];
    static unsigned next;
    char *out = text[next++ % 8];
    snprintf(out, 512,
             "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
             "\"namespace\":\"n\",\"uid\":\"u-%s\",\"resourceVersion\":\"%d\","
             "\"managedFields\":[{\"manager\":\"x\"}]},\"data\":{\"k\":\"%d\"}}",
             name, name, revision, revision);
    return out;
}

/* A page: names with revisions "a1 b2", the list's revision, where it goes on. */
static const char *list(const char *items, int revision, const char *next)
{
    static char out[65536];
    size_t len = (size_t)snprintf(
        out, sizeof(out),
        "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":"
        "\"%d\",\"continue\":\"%s\"},\"items\":[",
        revision, next);
    const char *comma = "";
    for (const char *p = items; *p != '\0';) {
        char name[2] = {*p++, '\0'};
        int at = (int)strtol(p, (char **)&p, 10);
        len += (size_t)snprintf(out + len, sizeof(out) - len,
                                "%s{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\","
                                "\"uid\":\"u-%s\",\"resourceVersion\":\"%d\"}}",
                                comma, name, name, at);
        comma = ",";
        p += *p == ' ';
    }
    snprintf(out + len, sizeof(out) - len, "]}");
    return out;
}

static void answer_list(const char *items, int revision)
{
    fake_answer(fake_await(KVP_VERB_LIST, 120000), 200, list(items, revision, ""));
}

/* ---- list and watch -----------------------------------------------------------------------------
 */

/* Pages are asked for at one revision by their token, then the changes since. */
static void lists_in_pages_then_watches(void **state)
{
    static struct seen s;
    (void)state;
    memset(&s, 0, sizeof(s));
    fake_open();
    open_informer(plane_root_client(), &s);
    struct fake_call *c = fake_find(KVP_VERB_LIST);
    assert_string_equal(c->resource, "configmaps");
    assert_string_equal(c->query, "limit=200");
    assert_int_equal(c->revision, 0);
    assert_false(informer_synced(it.informer));
    fake_answer(c, 200, list("a3 b4", 9, "more/+="));
    expect_seen(&s, "+a@3 +b@4 ");
    assert_false(informer_synced(it.informer));
    c = fake_find(KVP_VERB_LIST);
    assert_string_equal(c->query, "limit=200&continue=more%2F%2B%3D");
    fake_answer(c, 200, list("c5", 9, ""));
    expect_seen(&s, "+c@5 ! ");
    assert_true(informer_synced(it.informer));
    assert_int_equal(informer_revision(it.informer), 9);
    assert_int_equal(informer_len(it.informer), 3);
    c = fake_find(KVP_VERB_WATCH);
    assert_int_equal(c->revision, 9);
    assert_string_equal(c->query, "allowWatchBookmarks=true");
    fake_event(c, "MODIFIED", object("b", 10));
    fake_event(c, "ADDED", object("d", 11));
    fake_event(c, "DELETED", object("a", 12));
    expect_seen(&s, "~b@4>b@10 +d@11 -a@12 ");
    assert_int_equal(informer_revision(it.informer), 12);
    assert_int_equal(informer_len(it.informer), 3);
    fake_event(c, "BOOKMARK",
               "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":"
               "{\"resourceVersion\":\"20\"}}");
    assert_int_equal(informer_revision(it.informer), 20);
    /* The watch ends in peace: it goes on behind what was seen, at once. */
    fake_answer(c, 200, "");
    c = fake_find(KVP_VERB_WATCH);
    assert_non_null(c);
    assert_int_equal(c->revision, 20);
    expect_seen(&s, "");
    assert_int_equal(s.synced, 1);
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* The revision is gone: a new list tells the differences, and nothing else. */
static void relists_tell_the_differences(void **state)
{
    static struct seen s;
    (void)state;
    memset(&s, 0, sizeof(s));
    fake_open();
    open_informer(plane_root_client(), &s);
    answer_list("a1 b2 c3 d4", 9);
    expect_seen(&s, "+a@1 +b@2 +c@3 +d@4 ! ");
    struct fake_call *c = fake_find(KVP_VERB_WATCH);
    fake_event(c, "ERROR", "{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}");
    assert_true(fake.calls[1].canceled);
    c = fake_find(KVP_VERB_LIST);
    assert_non_null(c); /* at once */
    assert_true(informer_synced(it.informer));
    assert_int_equal(informer_len(it.informer), 4); /* nothing is forgotten meanwhile */
    fake_answer(c, 200, list("b2 c20", 30, "x"));
    fake_answer(fake_find(KVP_VERB_LIST), 200, list("e21", 30, ""));
    expect_seen(&s, "~c@3>c@20 +e@21 -a@1 -d@4 ");
    assert_int_equal(s.synced, 1);
    /* As an answer too; but not in a circle without a pause. */
    c = fake_find(KVP_VERB_WATCH);
    assert_int_equal(c->revision, 30);
    fake_refuse(c, 410, "Expired");
    assert_null(fake_find(KVP_VERB_LIST));
    uint64_t before = plane_now_ms();
    answer_list("b2 c20 e21", 31);
    assert_in_range(plane_now_ms() - before, 800, 3300);
    expect_seen(&s, "");
    /* What tells something ends the doubts. */
    c = fake_find(KVP_VERB_WATCH);
    fake_event(c, "MODIFIED", object("b", 32));
    fake_refuse(c, 410, "Expired");
    assert_non_null(fake_find(KVP_VERB_LIST));
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* A continue token that expired begins the list anew; what the first try had told is not repeated.
 */
static void a_broken_list_begins_anew(void **state)
{
    static struct seen s;
    (void)state;
    memset(&s, 0, sizeof(s));
    fake_open();
    open_informer(plane_root_client(), &s);
    fake_answer(fake_await(KVP_VERB_LIST, 0), 200, list("a1 b2", 9, "t"));
    fake_refuse(fake_find(KVP_VERB_LIST), 410, "Expired");
    expect_seen(&s, "+a@1 +b@2 ");
    struct fake_call *c = fake_await(KVP_VERB_LIST, 1000);
    assert_string_equal(c->query, "limit=200");
    fake_answer(c, 200, list("b2 c3", 10, ""));
    expect_seen(&s, "+c@3 -a@1 ! ");
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* Failures are repeated ever more slowly, up to half a minute; nothing shown is lost. */
static void failures_back_off(void **state)
{
    static struct seen s;
    (void)state;
    memset(&s, 0, sizeof(s));
    fake_open();
    open_informer(plane_root_client(), &s);
    uint64_t early_ms = 100;
    for (int n = 0; n < 5; n++) {
        uint64_t before = plane_now_ms();
        fake_refuse(fake_await(KVP_VERB_LIST, 30000), 500, "InternalError");
        assert_null(fake_find(KVP_VERB_LIST));
        (void)fake_await(KVP_VERB_LIST, 30000);
        assert_in_range(plane_now_ms() - before, early_ms, 2 * early_ms + 1);
        early_ms *= 2;
    }
    answer_list("a1", 5);
    expect_seen(&s, "+a@1 ! ");
    struct fake_call *c = fake_find(KVP_VERB_WATCH);
    fake_event(c, "MODIFIED", object("a", 6));
    fake_answer(c, 200, ""); /* told something: at once */
    uint64_t ms = 800;
    for (int n = 0; n < 9; n++) {
        uint64_t before = plane_now_ms();
        c = fake_await(KVP_VERB_WATCH, 120000);
        assert_int_equal(c->revision, 6);
        if (n % 2 == 0) {
            fake_answer(c, 200, ""); /* too soon */
        } else {
            fake_event(c, "ERROR", "{\"kind\":\"Status\",\"message\":\"sorry\",\"code\":500}");
        }
        before = plane_now_ms();
        (void)fake_await(KVP_VERB_WATCH, 120000);
        assert_in_range(plane_now_ms() - before, ms, 2 * ms + 1);
        ms = ms * 2 < 30000 ? ms * 2 : 30000;
    }
    /* A watch that lasts is no failure. */
    c = fake_find(KVP_VERB_WATCH);
    plane_advance(1000);
    fake_answer(c, 200, "");
    assert_non_null(fake_find(KVP_VERB_WATCH));
    expect_seen(&s, "~a@1>a@6 ");
    assert_int_equal(informer_len(it.informer), 1);
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* No provider yet: the informer waits for one. (The bed without the fake has none.) */
static void without_a_provider_it_waits(void **state)
{
    static struct seen s;
    (void)state;
    memset(&s, 0, sizeof(s));
    plane_open(NULL);
    open_informer(plane_root_client(), &s);
    plane_advance(60000);
    assert_false(informer_synced(it.informer));
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* Events that make no sense are not taken in; the watch begins again behind the last good one. */
static void bad_events_are_asked_for_again(void **state)
{
    static struct seen s;
    (void)state;
    memset(&s, 0, sizeof(s));
    fake_open();
    open_informer(plane_root_client(), &s);
    answer_list("a1", 5);
    static const char *const bad[] = {"", "{", "[]", "{\"metadata\":7}"};
    for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
        struct fake_call *c = fake_await(KVP_VERB_WATCH, 60000);
        assert_int_equal(c->revision, 5);
        fake_event(c, "MODIFIED", bad[n]);
        assert_null(fake_find(KVP_VERB_WATCH));
    }
    struct fake_call *c = fake_await(KVP_VERB_WATCH, 60000);
    fake_event(c, "ADDED", object("a", 6));    /* known already: a change */
    fake_event(c, "MODIFIED", object("z", 7)); /* not known: an addition */
    fake_event(c, "DELETED", object("y", 8));  /* not known: nothing */
    fake_event(c, "MODIFIED", object("z", 7)); /* the same again: nothing */
    expect_seen(&s, "+a@1 ! ~a@1>a@6 +z@7 ");
    assert_int_equal(informer_revision(it.informer), 8);
    fake_answer(c, 200, "");
    c = fake_await(KVP_VERB_WATCH, 0);
    static const char *const lists[] = {"", "{\"items\":3}", "nonsense"};
    fake_refuse(c, 410, "Expired");
    for (size_t n = 0; n < sizeof(lists) / sizeof(lists[0]); n++) {
        fake_answer(fake_await(KVP_VERB_LIST, 60000), 200, lists[n]);
    }
    answer_list("a6 z7", 9);
    expect_seen(&s, "");
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* ---- looking up ---------------------------------------------------------------------------------
 */

static int count_each(void *data, const struct object *o)
{
    char name[80];
    size_t len = strlen(data);
    seen_name(name, sizeof(name), o);
    snprintf((char *)data + len, 100 - len, "%s ", name);
    return strlen(data) > 60 ? 7 : 0;
}

/* By key, by names; objects carry their kind, and no managedFields. */
static void objects_are_found(void **state)
{
    char all[100] = "";
    (void)state;
    fake_open();
    open_informer(plane_root_client(), NULL);
    answer_list("a1 b2", 5);
    fake_event(fake_find(KVP_VERB_WATCH), "ADDED", object("c", 6));
    const struct object *o = informer_get(it.informer, slice_str("n/c"));
    assert_non_null(o);
    assert_ptr_equal(o, informer_find(it.informer, slice_str("n"), slice_str("c")));
    assert_null(object_get(o, "metadata.managedFields"));
    assert_true(slice_eq(object_text(o, "data[k]"), slice_str("6")));
    o = informer_find(it.informer, slice_str("n"), slice_str("a"));
    assert_true(slice_eq(object_text(o, "kind"), slice_str("ConfigMap")));
    assert_true(slice_eq(object_text(o, "apiVersion"), slice_str("v1")));
    assert_null(informer_find(it.informer, slice_str("m"), slice_str("a")));
    assert_null(informer_find(it.informer, slice_of(NULL, 0), slice_str("a")));
    assert_int_equal(informer_each(it.informer, count_each, all), 0);
    assert_string_equal(all, "a@1 b@2 c@6 ");
    all[0] = '\0';
    assert_int_equal(informer_each_in(it.informer, slice_str("n"), count_each, all), 0);
    assert_string_equal(all, "a@1 b@2 c@6 ");
    all[0] = '\0';
    assert_int_equal(informer_each_in(it.informer, slice_str("m"), count_each, all), 0);
    assert_string_equal(all, "");
    memset(all, 'x', 61);
    assert_int_equal(informer_each(it.informer, count_each, all), 7);
    char longer[600];
    memset(longer, 'y', sizeof(longer));
    assert_null(
        informer_find(it.informer, slice_of(longer, 300), slice_of(longer, sizeof(longer) - 300)));
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* Under each character of data[k]; and twice under the first. */
static void index_digits(void *data, const struct object *o, struct index_emit *emit)
{
    struct slice text = object_text(o, "data[k]");
    (void)data;
    for (size_t i = 0; i < text.len; i++) {
        informer_emit(emit, slice_of(text.data + i, 1));
        informer_emit(emit, slice_of(text.data, 1));
    }
}

static void expect_index(size_t index, const char *value, const char *names)
{
    char all[100] = "";
    assert_int_equal(informer_by_index(it.informer, index, slice_str(value), count_each, all), 0);
    assert_string_equal(all, names);
}

/* Indexes follow every change. */
static void indexes_follow(void **state)
{
    (void)state;
    fake_open();
    memset(&it, 0, sizeof(it));
    it.client = plane_root_client();
    it.args = (struct informer_args){.type = schema_type(SCHEMA_CORE_V1_CONFIG_MAP),
                                     .query = "labelSelector=x%3Dy",
                                     .indexes = {index_digits, informer_index_controller}};
    plane_inside(open_inside, NULL);
    assert_string_equal(fake_find(KVP_VERB_LIST)->query, "limit=200&labelSelector=x%3Dy");
    answer_list("", 1);
    struct fake_call *c = fake_find(KVP_VERB_WATCH);
    assert_string_equal(c->query, "allowWatchBookmarks=true&labelSelector=x%3Dy");
    fake_event(c, "ADDED", object("a", 12));
    fake_event(c, "ADDED", object("b", 23));
    expect_index(0, "1", "a@12 ");
    expect_index(0, "2", "a@12 b@23 ");
    expect_index(0, "3", "b@23 ");
    expect_index(0, "4", "");
    fake_event(c, "MODIFIED", object("a", 34));
    expect_index(0, "1", "");
    expect_index(0, "2", "b@23 ");
    expect_index(0, "3", "b@23 a@34 ");
    fake_event(c, "DELETED", object("b", 40));
    expect_index(0, "2", "");
    expect_index(0, "3", "a@34 ");
    expect_index(1, "u9", "");
    expect_index(3, "u9", "");
    fake_event(c, "MODIFIED",
               "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u-a\","
               "\"resourceVersion\":\"41\",\"ownerReferences\":[{\"uid\":\"u9\",\"controller\":"
               "true}]}}");
    expect_index(1, "u9", "a@41 ");
    expect_index(0, "3", "");
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* ---- handlers -----------------------------------------------------------------------------------
 */

/* Who comes late is told what is there, then what changes, nothing twice and nothing missed. */
static void late_handlers_catch_up(void **state)
{
    static struct seen first, late;
    (void)state;
    memset(&first, 0, sizeof(first));
    memset(&late, 0, sizeof(late));
    fake_open();
    open_informer(plane_root_client(), &first);
    answer_list("a1 b2 c3", 5);
    struct fake_call *c = fake_find(KVP_VERB_WATCH);
    plane_inside(on_inside, &late);
    expect_seen(&late, "+a@1 +b@2 +c@3 ! ");
    fake_event(c, "DELETED", object("a", 6));
    expect_seen(&late, "-a@6 ");
    struct informer_handler *h = it.handler;
    plane_inside(off_inside, h);
    fake_event(c, "ADDED", object("z", 7));
    expect_seen(&late, "");
    expect_seen(&first, "+a@1 +b@2 +c@3 ! -a@6 +z@7 ");
    assert_int_equal(late.synced, 1);
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* What a handler holds by what it was told: names, each with its state. */
struct mirror {
    bool has[501];
    int synced;
    bool wrong;
};

static int mirror_at(const struct object *o)
{
    struct slice name = object_name(o);
    char text[16];
    snprintf(text, sizeof(text), "%.*s", (int)name.len, (const char *)name.data);
    return (int)strtol(text + 1, NULL, 10);
}

static void mirror_on_changed(void *data, const struct object *before, const struct object *now)
{
    struct mirror *m = data;
    int at = mirror_at(now != NULL ? now : before);
    m->wrong = m->wrong || m->has[at] != (before != NULL);
    m->has[at] = now != NULL;
}

static void mirror_on_synced(void *data)
{
    ((struct mirror *)data)->synced++;
}

static void mirror_inside(void *data)
{
    it.rc = informer_on(it.informer, mirror_on_changed, mirror_on_synced, data, NULL);
}

/* More than fit into one callback, while they change: what it is told makes sense at each step, and
 * it ends with what the informer has. */
static void late_handlers_among_many(void **state)
{
    static struct mirror m;
    static char body[200000];
    static const char *const names[] = {"x0", "x199", "x200", "x201", "x499", "x500"};
    struct fake_say says[6];
    (void)state;
    memset(&m, 0, sizeof(m));
    fake_open();
    open_informer(plane_root_client(), NULL);
    size_t len = (size_t)snprintf(body, sizeof(body),
                                  "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[");
    for (int i = 0; i < 500; i++) {
        len += (size_t)snprintf(body + len, sizeof(body) - len,
                                "%s{\"metadata\":{\"name\":\"x%d\",\"namespace\":\"n\",\"uid\":"
                                "\"u%d\",\"resourceVersion\":\"%d\"}}",
                                i > 0 ? "," : "", i, i, i + 1);
    }
    snprintf(body + len, sizeof(body) - len, "]}");
    fake_answer(fake_find(KVP_VERB_LIST), 200, body);
    assert_int_equal(informer_len(it.informer), 500);
    struct fake_call *c = fake_find(KVP_VERB_WATCH);
    plane_inside_only(mirror_inside, &m);
    for (int i = 0; i < 6; i++) {
        char *text = strdup(object(names[i], 600 + i));
        says[i] = (struct fake_say){.call = c,
                                    .event = i == 3   ? "MODIFIED"
                                             : i == 5 ? "ADDED"
                                                      : "DELETED",
                                    .text = text};
        assert_int_equal(fake.host->post(fake.ctx, fake_say_inside, &says[i]), 0);
    }
    plane_settle();
    assert_false(m.wrong);
    assert_int_equal(m.synced, 1);
    for (int i = 0; i <= 500; i++) {
        char name[8];
        snprintf(name, sizeof(name), "x%d", i);
        assert_int_equal(m.has[i],
                         informer_find(it.informer, slice_str("n"), slice_str(name)) != NULL);
    }
    assert_int_equal(informer_len(it.informer), 497);
    for (int i = 0; i < 6; i++) {
        free((void *)(uintptr_t)says[i].text);
    }
    plane_on_fini(close_inside, NULL);
    plane_close();
}

/* Closed, or taken off, in the middle of a page: nothing is called after it. */
static void closing_inside_a_handler(void **state)
{
    static struct seen s, other;
    (void)state;
    memset(&s, 0, sizeof(s));
    memset(&other, 0, sizeof(other));
    fake_open();
    open_informer(plane_root_client(), &s);
    plane_inside(on_inside, &other);
    s.close_at = it.informer;
    s.on = 2;
    answer_list("a1 b2 c3", 5);
    expect_seen(&s, "+a@1 +b@2 ");
    expect_seen(&other, "+a@1 ");
    assert_int_equal(fake_open_calls(), 0);
    plane_advance(60000);
    assert_int_equal(fake.count, 1);
    plane_close();

    memset(&s, 0, sizeof(s));
    fake_open();
    open_informer(plane_root_client(), &s);
    s.off_at = it.handler;
    s.on = 2;
    answer_list("a1 b2 c3", 5);
    expect_seen(&s, "+a@1 +b@2 ");
    assert_int_equal(informer_len(it.informer), 3);
    /* Closed inside an event. */
    memset(&s, 0, sizeof(s));
    s.close_at = it.informer;
    s.on = 4;
    plane_inside(on_inside, &s);
    fake_event(fake_find(KVP_VERB_WATCH), "DELETED", object("b", 6));
    expect_seen(&s, "+a@1 +b@2 +c@3 ! -b@6 ");
    assert_int_equal(fake_open_calls(), 0);
    plane_close();
}

/* ---- ends ---------------------------------------------------------------------------------------
 */

/* An informer of a term ends with it: silent, still answering, closed in stop; also while it lists,
 * watches or waits. */
static void the_end_of_the_term(void **state)
{
    static struct seen s;
    (void)state;
    for (int when = 0; when < 3; when++) {
        memset(&s, 0, sizeof(s));
        fake_open();
        open_informer(plane_client(), &s);
        if (when == 1) {
            answer_list("a1", 5);
        } else if (when == 2) {
            fake_refuse(fake_find(KVP_VERB_LIST), 500, "InternalError");
        }
        s.text[0] = '\0';
        plane_on_stop(when == 0 ? NULL : close_inside, NULL);
        plane_follow();
        plane_advance(60000);
        expect_seen(&s, "");
        if (when == 0) { /* closed long after its end */
            assert_int_equal(informer_len(it.informer), 0);
            plane_inside(close_inside, NULL);
        }
        assert_int_equal(fake_open_calls(), 0);
        plane_close();
    }
}

/* ---- memory -------------------------------------------------------------------------------------
 */

/* Each allocation of the lane fails once, in the list, the event and the relist: in the end
 * everything has been told, nothing twice. */
static void memory_failures_lose_nothing(void **state)
{
    static struct seen s;
    uint64_t reached = 0;
    (void)state;
    for (uint64_t n = 1; n < 400; n++) {
        memset(&s, 0, sizeof(s));
        fake_open();
        memset(&it, 0, sizeof(it));
        it.client = plane_root_client();
        it.args = (struct informer_args){.type = schema_type(SCHEMA_CORE_V1_CONFIG_MAP),
                                         .indexes = {index_digits}};
        it.seen = &s;
        plane_inside(open_inside, NULL);
        assert_int_equal(it.rc, 0);
        struct fake_say say = {
            .call = fake_find(KVP_VERB_LIST), .status = 200, .text = list("a1 b2", 5, "")};
        assert_int_equal(fake.host->post(fake.ctx, fake_say_inside, &say), 0);
        bool hit = plane_settle_failing(n);
        reached += hit;
        for (int tries = 0; !informer_synced(it.informer) && tries < 20; tries++) {
            PLANE_UNTIL(informer_synced(it.informer) || fake_find(KVP_VERB_LIST) != NULL, 60000);
            if (fake_find(KVP_VERB_LIST) != NULL) {
                fake_answer(fake_find(KVP_VERB_LIST), 200, list("a1 b2", 5, ""));
            }
        }
        expect_seen(&s, "+a@1 +b@2 ! ");
        plane_on_fini(close_inside, NULL);
        plane_close();
        if (!hit) {
            break;
        }
    }
    assert_true(reached > 10);
}

/* Three events, told as a server tells them: one that is not taken is told again. */
static const char *const three_types[] = {"MODIFIED", "ADDED", "DELETED"};

struct three {
    struct fake_call *call;
    const char *texts[3];
    int next;
};

static void three_inside(void *data)
{
    struct three *e = data;
    while (e->next < 3 && e->call->call != NULL &&
           fake.host->call_event(e->call->call, kvp_str(three_types[e->next]),
                                 kvp_str(e->texts[e->next]), e->next + 6) == 0) {
        e->next++;
    }
}

static void memory_failures_of_events(void **state)
{
    static struct seen s;
    bool hit = true;
    (void)state;
    for (uint64_t n = 1; hit && n < 400; n++) {
        memset(&s, 0, sizeof(s));
        fake_open();
        open_informer(plane_root_client(), &s);
        answer_list("a1 b2", 5);
        expect_seen(&s, "+a@1 +b@2 ! ");
        struct three e = {.call = fake_find(KVP_VERB_WATCH),
                          .texts = {object("a", 6), object("c", 7), object("b", 8)}};
        assert_int_equal(fake.host->post(fake.ctx, three_inside, &e), 0);
        hit = plane_settle_failing(n);
        for (int tries = 0; informer_revision(it.informer) < 8 && tries < 20; tries++) {
            struct fake_call *c = fake_await(KVP_VERB_WATCH, 60000);
            if (c != e.call) { /* a new watch: all behind its revision */
                e.call = c;
                e.next = (int)c->revision - 5;
            }
            assert_int_equal(fake.host->post(fake.ctx, three_inside, &e), 0);
            plane_settle();
        }
        expect_seen(&s, "~a@1>a@6 +c@7 -b@8 ");
        plane_on_fini(close_inside, NULL);
        plane_close();
    }
    assert_false(hit);
}

struct opening {
    uint64_t n;
    bool hit;
};

static void opening_inside(void *data)
{
    struct opening *o = data;
    mem_fail_after(o->n);
    open_inside(NULL);
    o->hit = mem_fail_left() == 0;
    mem_fail_after(0);
    if (it.rc != 0 && it.informer != NULL) {
        informer_close(it.informer);
        it.informer = NULL;
    }
}

static void memory_failures_of_opening(void **state)
{
    static struct seen s;
    (void)state;
    memset(&s, 0, sizeof(s));
    fake_open();
    struct opening o = {.hit = true};
    for (o.n = 1; o.hit && o.n < 100; o.n++) {
        memset(&it, 0, sizeof(it));
        it.client = plane_root_client();
        it.args.type = schema_type(SCHEMA_CORE_V1_CONFIG_MAP);
        it.seen = &s;
        plane_inside(opening_inside, &o);
        assert_true(it.rc == 0 || it.rc == KVP_NO_MEMORY);
        if (it.rc == 0) { /* or it goes on without what failed */
            answer_list("a1", 5);
            expect_seen(&s, "+a@1 ! ");
            plane_inside(close_inside, NULL);
        }
    }
    assert_true(o.n > 5 && !o.hit);
    it.args.type = schema_type(SCHEMA_META_V1_STATUS);
    plane_inside(open_inside, NULL);
    assert_int_equal(it.rc, KVP_INVALID);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(lists_in_pages_then_watches),
        PLANE_TEST(relists_tell_the_differences),
        PLANE_TEST(a_broken_list_begins_anew),
        PLANE_TEST(failures_back_off),
        PLANE_TEST(without_a_provider_it_waits),
        PLANE_TEST(bad_events_are_asked_for_again),
        PLANE_TEST(objects_are_found),
        PLANE_TEST(indexes_follow),
        PLANE_TEST(late_handlers_catch_up),
        PLANE_TEST(late_handlers_among_many),
        PLANE_TEST(closing_inside_a_handler),
        PLANE_TEST(the_end_of_the_term),
        PLANE_TEST(memory_failures_lose_nothing),
        PLANE_TEST(memory_failures_of_events),
        PLANE_TEST(memory_failures_of_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
