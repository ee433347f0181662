/* test_bodies_threads.c - large bodies: the API server in the real host, on a lane of its own,
 * works on them away from it, and answers as it does for small ones; seen by TSan.
 *
 * The plugin gets the host's table with a few calls put in between, so that the test sees and holds
 * the work it gives to the pool. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/lib/h2_client.h"
#include "tests/unit/plugins/host_fixture.h"

#define CONFIGMAPS "/api/v1/namespaces/default/configmaps"
#define LARGE      200000u /* bytes of a value */

/* ---- the host in between -----------------------------------------------------------------------
 */

static struct {
    const struct kvp_host *host;
    struct kvp_host table;
    uint32_t port;
    atomic_int offloads, running, done, closed;
    atomic_bool holds;          /* work does not begin */
    atomic_bool refuses;        /* none is taken */
    atomic_uint_least64_t fail; /* the allocation of the next work that fails; 0 = none */
    atomic_bool failed;         /* it came to that */
    atomic_bool on_lane;        /* work ran there: wrong */
    void (*http_closed)(void *data, struct kvp_http *x, int complete);
} between;

struct between_work {
    void (*work)(void *data);
    void (*done)(void *data, int canceled);
    void *data;
    pthread_t lane;
};

static void between_work(void *data)
{
    struct between_work *w = data;
    if (pthread_equal(pthread_self(), w->lane)) {
        between.on_lane = true;
    }
    atomic_fetch_add(&between.running, 1);
    while (between.holds) {
        sched_yield();
    }
    mem_fail_after(between.fail);
    w->work(w->data);
    between.failed = between.fail != 0 && mem_fail_left() == 0;
    mem_fail_after(0);
    atomic_fetch_sub(&between.running, 1);
}

static void between_done(void *data, int canceled)
{
    struct between_work w = *(struct between_work *)data;
    mem_free(data);
    w.done(w.data, canceled);
    atomic_fetch_add(&between.done, 1);
}

static int between_offload(struct kvp_ctx *ctx, void (*work)(void *data),
                           void (*done)(void *data, int canceled), void *data)
{
    if (between.refuses) {
        return KVP_BUSY;
    }
    struct between_work *w = mem_xalloc(sizeof(*w));
    *w = (struct between_work){work, done, data, pthread_self()};
    atomic_fetch_add(&between.offloads, 1);
    return between.host->offload(ctx, between_work, between_done, w);
}

static int between_listen(struct kvp_ctx *ctx, const struct kvp_listen_args *a,
                          struct kvp_listener **out, uint32_t *out_port, struct kvp_errmsg *e)
{
    int rc = between.host->http_listen(ctx, a, out, out_port, e);
    between.port = *out_port;
    return rc;
}

static void between_closed(void *data, struct kvp_http *x, int complete)
{
    between.http_closed(data, x, complete);
    atomic_fetch_add(&between.closed, 1);
}

static int between_route(struct kvp_ctx *ctx, const struct kvp_route_args *a)
{
    struct kvp_route_args route = *a;
    between.http_closed = a->closed;
    route.closed = between_closed;
    return between.host->http_route(ctx, &route);
}

static int between_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                        void **self, struct kvp_errmsg *e)
{
    between.host = host;
    between.table = *host;
    between.table.offload = between_offload;
    between.table.http_listen = between_listen;
    between.table.http_route = between_route;
    return kvplugin_entry()->init(ctx, &between.table, conf, self, e);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

struct peer {
    int fd;
    struct buf in;
    bool eof;
};

static void peer_close(struct peer *p)
{
    close(p->fd);
    buf_close(&p->in);
}

static void peer_read(struct peer *p)
{
    static uint8_t bytes[64 * 1024];
    ssize_t n;
    while ((n = recv(p->fd, bytes, sizeof(bytes), 0)) > 0) {
        buf_append(&p->in, bytes, (size_t)n);
    }
    p->eof = p->eof || n == 0 || (n < 0 && errno != EAGAIN);
}

struct told {
    int status;
    struct buf body; /* with a NUL */
};

static void send_all(struct peer *p, struct slice bytes)
{
    size_t at = 0;
    while (at < bytes.len) {
        ssize_t n = send(p->fd, bytes.data + at, bytes.len - at, MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
        } else {
            uv_run(&hf.f->loop, UV_RUN_NOWAIT);
        }
    }
}

/* One request on a connection of its own. */
static void begin(struct peer *p, const char *method, const char *path, const char *type,
                  struct slice body)
{
    char head[512];
    memset(p, 0, sizeof(*p));
    p->fd = test_connect((uint16_t)between.port);
    snprintf(head, sizeof(head),
             "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: %s\r\n"
             "User-Agent: tester\r\nContent-Length: %zu\r\n\r\n",
             method, path, type, body.len);
    send_all(p, slice_str(head));
    send_all(p, body);
}

/* Takes a chunked body apart, in place. */
static void unchunk(struct buf *b)
{
    size_t at = 0;
    size_t to = 0;
    while (at < b->len) {
        size_t n = strtoul((char *)b->data + at, NULL, 16);
        char *line = strstr((char *)b->data + at, "\r\n");
        if (n == 0 || line == NULL) {
            break;
        }
        at = (size_t)(line + 2 - (char *)b->data);
        memmove(b->data + to, b->data + at, n);
        to += n;
        at += n + 2;
    }
    b->len = to;
}

static struct told heard(struct peer *p)
{
    struct told t = {0};
    UNTIL((peer_read(p), p->eof));
    buf_append_byte(&p->in, 0);
    assert_int_equal(sscanf((char *)p->in.data, "HTTP/1.1 %d", &t.status), 1);
    char *body = strstr((char *)p->in.data, "\r\n\r\n");
    assert_non_null(body);
    buf_append_str(&t.body, body + 4);
    buf_append_byte(&t.body, 0);
    if (strcasestr((char *)p->in.data, "transfer-encoding: chunked") != NULL) {
        unchunk(&t.body);
        buf_append_byte(&t.body, 0);
    }
    peer_close(p);
    return t;
}

static struct told ask_api(const char *method, const char *path, const char *type,
                           struct slice body)
{
    struct peer p;
    begin(&p, method, path, type, body);
    return heard(&p);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int open_api(void **state)
{
    static struct kvp_plugin plugin;
    struct errmsg e = {""};
    assert_int_equal(fixture_setup(state), 0);
    signal(SIGPIPE, SIG_IGN);
    hf.f = *state;
    memset(&between, 0, sizeof(between));
    host_fixture_open(false);
    plugin = *kvplugin_entry();
    plugin.init = between_init;
    host_register_static(&plugin);
    if (host_load(hf.host, "static:apiserver,insecure-allow-all=true,insecure-http=true,port=0",
                  &e) != 0) {
        fail_msg("%s", e.text);
    }
    UNTIL(probe_state() == HOST_READY);
    host_ready(hf.host);
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING);
    for (int status = 0; status != 200;) {
        struct told t = ask_api("GET", "/api/v1/namespaces/default", "", slice_of("", 0));
        status = t.status;
        buf_close(&t.body);
    }
    UNTIL(between.done == between.offloads); /* certificates */
    between.offloads = 0;
    between.done = 0;
    return 0;
}

static int close_api(void **state)
{
    between.holds = false;
    return host_teardown(state);
}

/* What a test says, in which each @ is a value of so many bytes. */
static struct buf filled(const char *pattern, size_t bytes)
{
    struct buf b;
    buf_init(&b);
    for (; *pattern != 0; pattern++) {
        if (*pattern != '@') {
            buf_append_byte(&b, (uint8_t)*pattern);
            continue;
        }
        assert_true(buf_reserve(&b, bytes));
        memset(b.data + b.len, 'x', bytes);
        b.len += bytes;
    }
    return b;
}

/* Makes answers about small and large objects the same: no filling, no identity, no time. */
static void smooth(struct buf *b)
{
    static const char *const names[] = {"\"uid\":\"",
                                        "\"resourceVersion\":\"",
                                        "\"creationTimestamp\":\"",
                                        "\"time\":\"",
                                        "\"uid\": \"",
                                        "\"resourceVersion\": \"",
                                        "\"creationTimestamp\": \"",
                                        "\"time\": \"",
                                        "UID in object meta: ",
                                        "UID in record ("};
    size_t to = 0;
    for (size_t at = 0; at + 1 < b->len;) {
        bool skipped = false;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !skipped; i++) {
            size_t n = strlen(names[i]);
            if (at + n < b->len && memcmp(b->data + at, names[i], n) == 0) {
                memmove(b->data + to, names[i], n);
                to += n;
                at += n;
                while (strchr("\")", b->data[at]) == NULL) {
                    at++;
                }
                skipped = true;
            }
        }
        if (!skipped && b->data[at] == 'x') {
            at++;
        } else if (!skipped) {
            b->data[to++] = b->data[at++];
        }
    }
    b->data[to] = 0;
    b->len = to;
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static const struct {
    const char *method, *path, *type, *body;
    int status;
    bool small_body; /* also when the object is large */
} story[] = {
    {"POST", CONFIGMAPS, "application/json",
     "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", 201},
    {"POST", CONFIGMAPS, "application/json",
     "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", 409},
    {"POST", CONFIGMAPS, "application/yaml", "metadata: {generateName: b-}\ndata: {k: \"@\"}\n",
     201},
    {"POST", CONFIGMAPS "?dryRun=All", "application/json",
     "{\"metadata\":{\"name\":\"c\"},\"data\":{\"k\":\"@\"}}", 201},
    {"POST", CONFIGMAPS, "application/json",
     "{\"metadata\":{\"name\":\"C!\"},\"data\":{\"k\":\"@\",\"/\":\"@\"}}", 422},
    {"POST", CONFIGMAPS "?fieldValidation=Strict", "application/json",
     "{\"metadata\":{\"name\":\"c\"},\"date\":{\"k\":\"@\"}}", 400},
    {"POST", CONFIGMAPS, "application/json",
     "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"1\"},\"data\":{\"k\":\"@\"}}", 500},
    {"POST", CONFIGMAPS, "application/json", "{\"kind\":\"Pod\",\"data\":{\"k\":\"@\"}}", 400},
    {"POST", CONFIGMAPS, "application/json",
     "{\"data\":{\"a longer name than is shown of it\":\"@\"", 400},
    {"POST", CONFIGMAPS, "text/plain", "@", 415},
    {"POST", "/api/v1/namespaces/nowhere/configmaps", "application/json",
     "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", 404},
    {"POST", "/api/v1/namespaces/default/pods", "application/json",
     "{\"metadata\":{\"name\":\"p\",\"annotations\":{\"a\":\"@\"}},\"spec\":{\"containers\":[{"
     "\"name\":\"c\",\"image\":\"i\"}]}}",
     403},
    {"GET", CONFIGMAPS "/a", "application/json", "", 200, true},
    {"GET", CONFIGMAPS "/a?pretty=true", "application/json", "", 200, true},
    {"PUT", CONFIGMAPS "/a", "application/json",
     "{\"metadata\":{\"name\":\"a\",\"labels\":{\"l\":\"1\"}},\"data\":{\"k\":\"@\"}}", 200},
    {"PUT", CONFIGMAPS "/a", "application/json",
     "{\"metadata\":{\"name\":\"a\",\"uid\":\"other\"},\"data\":{\"k\":\"@\"}}", 409},
    {"PUT", CONFIGMAPS "/d", "application/json",
     "{\"metadata\":{\"name\":\"e\"},\"data\":{\"k\":\"@\"}}", 400},
    {"PUT", CONFIGMAPS "/d", "application/json",
     "{\"metadata\":{\"name\":\"d\"},\"data\":{\"k\":\"@\"}}", 404},
    {"PATCH", CONFIGMAPS "/a", "application/merge-patch+json", "{\"data\":{\"m\":\"1\"}}", 200,
     true},
    {"PATCH", CONFIGMAPS "/a", "application/merge-patch+json", "{\"data\":{\"n\":\"@\"}}", 200},
    {"PATCH", CONFIGMAPS "/a", "application/merge-patch+json", "{\"data\":{\"/\":\"1\"}}", 422,
     true},
    {"PATCH", CONFIGMAPS "/a", "application/json-patch+json",
     "[{\"op\":\"copy\",\"from\":\"/data/k\",\"path\":\"/data/o\"}]", 200, true},
    {"PATCH", CONFIGMAPS "/a", "application/json-patch+json",
     "[{\"op\":\"test\",\"path\":\"/data/k\",\"value\":\"2\"}]", 422, true},
    {"PATCH", CONFIGMAPS "/a", "application/strategic-merge-patch+json",
     "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}", 200, true},
    {"PATCH", CONFIGMAPS "/zz", "application/merge-patch+json", "{\"data\":{\"m\":\"@\"}}", 404},
    {"DELETE", CONFIGMAPS "/a", "application/json",
     "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"uid\":\"no\"},\"pad\":"
     "\"@\"}",
     409},
    {"DELETE", CONFIGMAPS "/a?dryRun=All", "application/json", "", 200, true},
    {"DELETE", CONFIGMAPS "/a", "application/json", "", 200, true},
    {"GET", CONFIGMAPS "/a", "application/json", "", 404, true},
};

#define STORY (sizeof(story) / sizeof(story[0]))

/* The name that was made of generateName is another one each time. */
static void forget_generated(struct buf *b)
{
    char *at = strstr((char *)b->data, "\"name\":\"b-");
    if (at != NULL) {
        memset(at + 10, '-', 5);
    }
}

static void large_bodies_are_answered_as_small_ones(void **state)
{
    static struct buf answers[STORY];
    for (size_t bytes = 1; bytes <= LARGE; bytes *= LARGE) {
        for (size_t i = 0; i < STORY; i++) {
            struct buf body = filled(story[i].body, bytes);
            int before = between.offloads;
            struct told t =
                ask_api(story[i].method, story[i].path, story[i].type, buf_slice(&body));
            if (t.status != story[i].status) {
                fail_msg("%s %s %.100s: %d instead of %d: %.300s", story[i].method, story[i].path,
                         story[i].body, t.status, story[i].status, (char *)t.body.data);
            }
            /* The copy of a patch is small at first, and not for certain. */
            if (bytes == 1 && strstr(story[i].body, "copy") == NULL) {
                assert_int_equal(between.offloads, before);
            } else if (!story[i].small_body && t.status != 415 &&
                       strcmp(story[i].method, "PATCH") != 0) {
                assert_int_not_equal(between.offloads, before);
            }
            forget_generated(&t.body);
            smooth(&t.body);
            if (bytes == 1) {
                answers[i] = t.body;
            } else {
                assert_string_equal(t.body.data, answers[i].data);
                buf_close(&t.body);
                buf_close(&answers[i]);
            }
            buf_close(&body);
        }
    }
    assert_false(between.on_lane);
}

/* Each of the steps of a creation and of a change is away once. */
static void every_step_of_something_large_is_away(void **state)
{
    struct buf body =
        filled("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\",\"l\":\"1\"}}", LARGE);
    struct told t = ask_api("POST", CONFIGMAPS, "application/json", buf_slice(&body));
    assert_int_equal(t.status, 201);
    buf_close(&t.body);
    /* Decoded; made and checked; written; the answer. */
    assert_int_equal(between.offloads, 4);
    t = ask_api("PUT", CONFIGMAPS "/a", "application/json",
                slice_str("{\"metadata\":{\"name\":\"a\"},\"data\":{\"l\":\"2\"}}"));
    assert_int_equal(t.status, 200);
    buf_close(&t.body);
    /* What was stored is large: changed, written; the rest is small. */
    assert_int_equal(between.offloads, 6);
    buf_close(&body);
}

/* The length of a body does not tell what it becomes, nor a small page what is printed of it. */
static void what_small_requests_make_large_is_away(void **state)
{
    struct told t = ask_api("POST", CONFIGMAPS, "application/yaml",
                            slice_str("metadata: {name: a}\ndata: {a: &x one, b: *x}\n"));
    assert_int_equal(t.status, 201);
    assert_non_null(strstr((char *)t.body.data, "\"b\":\"one\""));
    buf_close(&t.body);
    assert_true(between.offloads >= 3);
    int before = between.offloads;
    t = ask_api("PATCH", CONFIGMAPS "/a", "application/json-patch+json",
                slice_str("[{\"op\":\"\\u0063opy\",\"from\":\"/data/a\",\"path\":\"/data/c\"}]"));
    assert_int_equal(t.status, 200);
    assert_non_null(strstr((char *)t.body.data, "\"c\":\"one\""));
    buf_close(&t.body);
    assert_true(between.offloads > before);
    struct buf body =
        filled("{\"metadata\":{\"generateName\":\"b-\"},\"data\":{\"k\":\"@\"}}", 16000);
    for (int i = 0; i < 6; i++) {
        t = ask_api("POST", CONFIGMAPS, "application/json", buf_slice(&body));
        assert_int_equal(t.status, 201);
        buf_close(&t.body);
    }
    buf_close(&body);
    before = between.offloads;
    t = ask_api("GET", CONFIGMAPS "?limit=4&pretty=1", "application/json", slice_str(""));
    assert_int_equal(t.status, 200);
    assert_non_null(strstr((char *)t.body.data, "\"remainingItemCount\": 3"));
    buf_close(&t.body);
    assert_int_equal(between.offloads, before + 1);
    t = ask_api("DELETE", CONFIGMAPS, "application/json", slice_str(""));
    assert_int_equal(t.status, 200);
    buf_close(&t.body);
    assert_true(between.offloads > before + 1);
    t = ask_api("GET", CONFIGMAPS, "application/json", slice_str(""));
    assert_non_null(strstr((char *)t.body.data, "\"items\":[]"));
    buf_close(&t.body);
}

static void a_client_may_leave_meanwhile(void **state)
{
    struct peer p;
    struct buf body = filled("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", LARGE);
    for (int round = 0; round < 20; round++) {
        int before = between.closed;
        int offloads = between.offloads;
        between.holds = round % 2 == 0;
        begin(&p, "POST", CONFIGMAPS "?dryRun=All", "application/json", buf_slice(&body));
        if (between.holds) {
            UNTIL(between.running == 1);
            peer_close(&p);
            UNTIL(between.closed == before + 1); /* the server knows, the work is still away */
            between.holds = false;
        } else {
            UNTIL(between.offloads > offloads || round % 4 == 1);
            peer_close(&p);
        }
        UNTIL(between.closed == before + 1 && between.done == between.offloads);
    }
    struct told t = ask_api("POST", CONFIGMAPS, "application/json", buf_slice(&body));
    assert_int_equal(t.status, 201);
    buf_close(&t.body);
    buf_close(&body);
}

/* What a verb has besides, here the memory of one object after the other, stays until the work is
 * back. */
static void a_client_of_a_collection_may_leave(void **state)
{
    struct peer p;
    struct buf body =
        filled("{\"metadata\":{\"generateName\":\"a\"},\"data\":{\"k\":\"@\"}}", LARGE);
    for (int i = 0; i < 3; i++) {
        struct told t = ask_api("POST", CONFIGMAPS, "application/json", buf_slice(&body));
        assert_int_equal(t.status, 201);
        buf_close(&t.body);
    }
    int before = between.closed;
    between.holds = true;
    begin(&p, "DELETE", CONFIGMAPS, "application/json", slice_of("", 0));
    UNTIL(between.running == 1);
    peer_close(&p);
    UNTIL(between.closed == before + 1);
    between.holds = false;
    UNTIL(between.done == between.offloads);
    buf_close(&body);
}

static void a_deadline_does_not_wait_for_work(void **state)
{
    struct peer p;
    struct buf body = filled("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", LARGE);
    between.holds = true;
    begin(&p, "POST", CONFIGMAPS "?timeout=20ms", "application/json", buf_slice(&body));
    struct told t = heard(&p);
    assert_int_equal(between.running, 1); /* it is away all the time */
    assert_int_equal(t.status, 504);
    assert_non_null(strstr((char *)t.body.data, "\"reason\":\"Timeout\""));
    buf_close(&t.body);
    between.holds = false;
    UNTIL(between.running == 0);
    /* It went no further. */
    t = ask_api("GET", CONFIGMAPS "/a", "application/json", slice_of("", 0));
    assert_int_equal(t.status, 404);
    assert_int_equal(between.offloads, 1);
    buf_close(&t.body);
    buf_close(&body);
}

static void work_that_is_not_taken_is_told(void **state)
{
    struct buf body = filled("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", LARGE);
    between.refuses = true;
    struct told t = ask_api("POST", CONFIGMAPS, "application/json", buf_slice(&body));
    assert_int_equal(t.status, 503);
    buf_close(&t.body);
    between.refuses = false;
    buf_close(&body);
}

static void memory_may_fail_in_a_step(void **state)
{
    struct buf body = filled("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", LARGE);
    unsigned refused = 0;
    for (uint64_t n = 1; n < 200; n++) {
        between.fail = n;
        struct told t =
            ask_api("POST", CONFIGMAPS "?dryRun=All", "application/json", buf_slice(&body));
        if (t.status != 201 && t.status != 500) {
            fail_msg("allocation %u: %d %s", (unsigned)n, t.status, (char *)t.body.data);
        }
        refused += t.status == 500;
        buf_close(&t.body);
        if (t.status == 201 && !between.failed) {
            break;
        }
    }
    between.fail = 0;
    assert_true(refused > 3);
    buf_close(&body);
}

static void the_end_comes_while_work_is_away(void **state)
{
    struct peer peers[3];
    struct buf body = filled("{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"@\"}}", LARGE);
    between.holds = true;
    for (size_t i = 0; i < 3; i++) {
        begin(&peers[i], "POST", CONFIGMAPS, "application/json", buf_slice(&body));
    }
    UNTIL(between.offloads == 3 && between.running > 0);
    host_stop(hf.host, host_fixture_on_stopped, &hf.stopped);
    for (int i = 0; i < 10; i++) {
        uv_run(&hf.f->loop, UV_RUN_NOWAIT);
    }
    assert_false(hf.stopped);
    between.holds = false;
    run_until(hf.f, &hf.stopped);
    hf.host = NULL;
    for (size_t i = 0; i < 3; i++) {
        peer_close(&peers[i]);
    }
    buf_close(&body);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_api, close_api)
    const struct CMUnitTest tests[] = {
        T(large_bodies_are_answered_as_small_ones), T(every_step_of_something_large_is_away),
        T(what_small_requests_make_large_is_away),  T(a_client_may_leave_meanwhile),
        T(a_client_of_a_collection_may_leave),      T(a_deadline_does_not_wait_for_work),
        T(work_that_is_not_taken_is_told),          T(memory_may_fail_in_a_step),
        T(the_end_comes_while_work_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
