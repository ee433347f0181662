/* test_testing_calls.c - the test host's groups of calls answer as kvplugin.h says. */
#include "tests/unit/plugins/probe.h"

/* ---- reads and transactions ------------------------------------------------------------------ */

static struct {
    unsigned answers;
    int32_t outcome, reason;
    int64_t revision, total;
    size_t count;
    uint32_t more;
    char first[32], value[32], next[32];
    size_t next_len;
} got;

static void on_rows(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    (void)data;
    got.answers++;
    got.outcome = r->outcome;
    got.reason = r->reason;
    got.revision = r->revision;
    got.count = rows->count;
    got.total = rows->total;
    got.more = rows->more;
    got.first[0] = got.value[0] = '\0';
    if (rows->count > 0) {
        snprintf(got.first, sizeof(got.first), "%.*s", (int)rows->rows[0].key.len,
                 (const char *)rows->rows[0].key.data);
        snprintf(got.value, sizeof(got.value), "%.*s", (int)rows->rows[0].value.len,
                 (const char *)rows->rows[0].value.data);
    }
    got.next_len = rows->next.len;
    memcpy(got.next, rows->next.data != NULL ? rows->next.data : "", rows->next.len);
}

static void ask_range(void *data)
{
    assert_int_equal(probe.host->range(probe.ctx, data, on_rows, NULL), 0);
}

static void range(const struct kvp_range *r)
{
    got.answers = 0;
    inside(ask_range, (void *)r);
    t_advance(10);
    assert_int_equal(got.answers, 1);
}

static void ranges_page_count_and_look_back(void **state)
{
    (void)state;
    char key[32];
    t_on_failure(_fail);
    probe = (struct probe){0};
    t_open(&probe_plugin, NULL);
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "/r/%d", i);
        t_put(key, "old");
    }
    int64_t before = t_revision();
    t_put("/r/0", "new");
    t_put("/s", "x");
    struct kvp_range r = {
        .size = sizeof(r), .flags = KVP_PREFIX, .key = kvp_str("/r/"), .limit = 4};
    range(&r);
    assert_int_equal(got.count, 4);
    assert_int_equal(got.more, 1);
    assert_string_equal(got.value, "new");
    char from[32];
    memcpy(from, got.next, got.next_len);
    r.from = kvp_bytes_of(from, got.next_len);
    r.revision = got.revision;
    t_delete("/r/4"); /* after the page's revision */
    range(&r);
    assert_string_equal(got.first, "/r/4");
    r = (struct kvp_range){.size = sizeof(r), .key = kvp_str("/r/3"), .end = kvp_str("/r/7")};
    range(&r);
    assert_int_equal(got.count, 3); /* 3, 5, 6 */
    assert_int_equal(got.total, 3);
    r.flags = KVP_COUNT_ONLY;
    range(&r);
    assert_int_equal(got.count, 0);
    assert_int_equal(got.total, 3);
    r = (struct kvp_range){.size = sizeof(r), .flags = KVP_KEYS_ONLY, .key = kvp_str("/r/0")};
    range(&r);
    assert_string_equal(got.first, "/r/0");
    assert_string_equal(got.value, "");
    r.flags = 0;
    r.revision = before;
    range(&r);
    assert_string_equal(got.value, "old");
    r.revision = 1000;
    range(&r);
    assert_int_equal(got.reason, KVP_FUTURE);
    t_compact(0);
    r.revision = before;
    range(&r);
    assert_int_equal(got.reason, KVP_COMPACTED);
    assert_int_equal(got.revision, t_revision());
    t_close();
}

static struct {
    unsigned answers;
    int32_t outcome;
    uint32_t succeeded;
    size_t ops;
    int64_t deleted;
    char read[32];
} committed;

static void on_commit(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    (void)data;
    committed.answers++;
    committed.outcome = r->outcome;
    committed.succeeded = t->succeeded;
    committed.ops = t->count;
    for (size_t i = 0; i < t->count; i++) {
        if (t->ops[i].op == KVP_OP_DEL) {
            committed.deleted = t->ops[i].count;
        } else if (t->ops[i].op == KVP_OP_GET && t->ops[i].row_count > 0) {
            snprintf(committed.read, sizeof(committed.read), "%.*s",
                     (int)t->ops[i].rows[0].value.len, (const char *)t->ops[i].rows[0].value.data);
        }
    }
}

/* THEN: put a, delete b*, read a. ELSE: read c. */
static void commit_txn(void *compare)
{
    const struct kvp_host *h = probe.host;
    struct kvp_txn *t = h->txn_new(probe.ctx);
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("/a"), .value = kvp_str("1")};
    struct kvp_del del = {.size = sizeof(del), .flags = KVP_PREFIX, .key = kvp_str("/b")};
    struct kvp_range a = {.size = sizeof(a), .key = kvp_str("/a")};
    struct kvp_range c = {.size = sizeof(c), .key = kvp_str("/c")};
    memset(&committed, 0, sizeof(committed));
    assert_int_equal(h->txn_compare(t, compare), 0);
    assert_int_equal(h->txn_put(t, KVP_THEN, &put), 0);
    assert_int_equal(h->txn_del(t, KVP_THEN, &del), 0);
    assert_int_equal(h->txn_get(t, KVP_THEN, &a), 0);
    assert_int_equal(h->txn_get(t, KVP_ELSE, &c), 0);
    assert_int_equal(h->txn_commit(t, on_commit, NULL), 0);
}

static void transact(const struct kvp_compare *c)
{
    inside(commit_txn, (void *)c);
    t_advance(10);
    assert_int_equal(committed.answers, 1);
    assert_int_equal(committed.outcome, KVP_OK);
}

static void transactions_compare_and_act(void **state)
{
    (void)state;
    t_on_failure(_fail);
    probe = (struct probe){0};
    t_open(&probe_plugin, NULL);
    t_put("/b1", "x");
    t_put("/b2", "x");
    t_put("/c", "see");
    int64_t before = t_revision();
    struct kvp_compare c = {.size = sizeof(c),
                            .target = KVP_CMP_VALUE,
                            .relation = KVP_EQUAL,
                            .key = kvp_str("/c"),
                            .value = kvp_str("other")};
    transact(&c);
    assert_int_equal(committed.succeeded, 0);
    assert_string_equal(committed.read, "see");
    assert_int_equal(t_revision(), before); /* nothing was written */
    c.value = kvp_str("see");
    transact(&c);
    assert_int_equal(committed.succeeded, 1);
    assert_int_equal(committed.ops, 3);
    assert_int_equal(committed.deleted, 2);
    assert_string_equal(committed.read, "1");
    assert_int_equal(t_revision(), before + 1); /* one for all */
    /* A missing row has version 0 and no value; a range holds when all its rows do. */
    struct kvp_compare gone = {.size = sizeof(gone),
                               .target = KVP_CMP_VERSION,
                               .relation = KVP_EQUAL,
                               .key = kvp_str("/b1")};
    transact(&gone);
    assert_int_equal(committed.succeeded, 1);
    gone.target = KVP_CMP_VALUE;
    gone.relation = KVP_NOT_EQUAL;
    transact(&gone);
    assert_int_equal(committed.succeeded, 0);
    struct kvp_compare all = {.size = sizeof(all),
                              .flags = KVP_PREFIX,
                              .target = KVP_CMP_CREATE_REVISION,
                              .relation = KVP_LESS,
                              .key = kvp_str("/"),
                              .number = before + 1};
    transact(&all);
    assert_int_equal(committed.succeeded, 0); /* /a was made then */
    all.relation = KVP_GREATER;
    all.number = 1;
    transact(&all);
    assert_int_equal(committed.succeeded, 1);
    t_close();
}

/* ---- http ------------------------------------------------------------------------------------ */

static struct kvp_listener *listener;
static uint32_t port;
static size_t body_bytes;
static unsigned body_ends, closes, completes;
static char seen[256];

static void echo_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    (void)data;
    snprintf(seen, sizeof(seen), "%.*s %.*s ?%.*s user=%.*s headers=%zu", (int)r->method.len,
             (const char *)r->method.data, (int)r->path.len, (const char *)r->path.data,
             (int)r->query.len, (const char *)r->query.data, (int)r->identity->user.len,
             (const char *)r->identity->user.data, r->header_count);
    body_bytes = 0;
    body_ends = 0;
    probe.host->http_pause(x, 1);
}

static void echo_body(void *data, struct kvp_http *x, struct kvp_bytes bytes, int last)
{
    (void)data;
    body_bytes += bytes.len;
    body_ends += last != 0;
    if (last) {
        assert_int_equal(probe.host->http_respond(x, 201, NULL, 0), 0);
        assert_int_equal(probe.host->http_write(x, kvp_str("thanks")), 0);
        assert_int_equal(probe.host->http_finish(x), 0);
    }
}

static void on_closed(void *data, struct kvp_http *x, int complete)
{
    (void)data;
    (void)x;
    closes++;
    completes += complete != 0;
}

static struct kvp_http *held;
static void hold_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    (void)data;
    (void)r;
    held = x;
}

static void silent_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    (void)data;
    (void)r;
    probe.host->http_finish(x);
}

static void abort_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    (void)data;
    (void)r;
    probe.host->http_abort(x);
}

static int open_routes(void)
{
    struct kvp_errmsg e = {""};
    struct kvp_listen_args l = {.size = sizeof(l), .address = "127.0.0.1"};
    struct kvp_route_args r = {.size = sizeof(r),
                               .body_bytes_max = 100000,
                               .method = "POST",
                               .pattern = "/echo/*",
                               .begin = echo_begin,
                               .body = echo_body,
                               .closed = on_closed};
    const struct kvp_host *h = probe.host;
    assert_int_equal(h->http_listen(probe.ctx, &l, &listener, &port, &e), 0);
    l.port = port;
    assert_int_equal(h->http_listen(probe.ctx, &l, &listener, &port, &e), KVP_EXISTS);
    assert_int_equal(h->http_certificate(listener, kvp_str("C"), kvp_str("K"), kvp_str(""), &e),
                     KVP_INVALID); /* a port without TLS */
    assert_non_null(strstr(e.text, "without a certificate"));
    assert_int_equal(h->http_route(probe.ctx, &r), 0);
    assert_int_equal(h->http_route(probe.ctx, &r), KVP_EXISTS);
    r.method = "*";
    r.body = NULL;
    r.pattern = "/echo/hold";
    r.begin = hold_begin;
    assert_int_equal(h->http_route(probe.ctx, &r), 0);
    r.pattern = "/silent";
    r.begin = silent_begin;
    assert_int_equal(h->http_route(probe.ctx, &r), 0);
    r.pattern = "/abort";
    r.listener = listener;
    r.begin = abort_begin;
    return h->http_route(probe.ctx, &r);
}

static struct kvp_http *unpaused;
static void unpause(void *data)
{
    (void)data;
    probe.host->http_pause(unpaused, 0);
}

static char big[100001];

static void requests_have_bodies_and_ends(void **state)
{
    (void)state;
    t_on_failure(_fail);
    closes = completes = 0;
    probe = (struct probe){.on_init = open_routes};
    t_open(&probe_plugin, NULL);
    struct kvp_pair header = {kvp_str("accept"), kvp_str("*/*")};
    struct t_http_args a = {.size = sizeof(a),
                            .method = "POST",
                            .path = "/echo/a?b=c",
                            .body = kvp_bytes_of(big, 100000),
                            .headers = &header,
                            .header_count = 1,
                            .user = "ada"};
    struct t_http *x = t_http_open(&a);
    t_advance(1000);
    assert_string_equal(seen, "POST /echo/a ?b=c user=ada headers=1");
    assert_int_equal(body_bytes, 0); /* paused */
    unpaused = (struct kvp_http *)x;
    inside(unpause, NULL);
    t_advance(1000);
    assert_int_equal(body_bytes, 100000);
    assert_int_equal(body_ends, 1);
    assert_int_equal(t_http_status(x), 201);
    assert_string_equal(t_http_body(x).data, "thanks");
    assert_int_equal(t_http_ended(x), 1);
    assert_int_equal(closes, 1);
    assert_int_equal(completes, 1);
    /* Too large; the exact pattern before the tree; no answer; another port. */
    a.body.len = 100001;
    assert_int_equal(t_http_status(t_http_open(&a)), 413);
    x = t_http("POST", "/echo/hold");
    t_advance(100);
    assert_non_null(held);
    t_http_cancel(x);
    t_advance(100);
    assert_int_equal(closes, 2);
    assert_int_equal(completes, 1);
    x = t_http("GET", "/silent");
    t_advance(100);
    assert_int_equal(t_http_status(x), 500);
    assert_int_equal(t_http_status(t_http("GET", "/abort")), 404);
    a = (struct t_http_args){.size = sizeof(a), .path = "/abort", .port = port};
    x = t_http_open(&a);
    t_advance(100);
    assert_int_equal(t_http_ended(x), -1);
    assert_int_equal(closes, 4);
    /* One is open when the plugin ends. */
    (void)t_http("GET", "/echo/hold");
    t_advance(100);
    t_close();
    assert_int_equal(closes, 5);
    assert_int_equal(completes, 2);
}

/* ---- metrics, notices --------------------------------------------------------------------------
 */

static uint32_t counter, by_label, histogram;
static int define_metrics(void)
{
    struct kvp_metric_args m = {
        .size = sizeof(m), .type = KVP_COUNTER, .name = "things", .help = "Things."};
    const struct kvp_host *h = probe.host;
    assert_int_equal(h->metric(probe.ctx, &m, &counter), 0);
    assert_int_equal(h->metric(probe.ctx, &m, &counter), KVP_EXISTS);
    m = (struct kvp_metric_args){.size = sizeof(m),
                                 .type = KVP_GAUGE,
                                 .name = "open",
                                 .help = "Open.",
                                 .labels = {"kind", "color"}};
    assert_int_equal(h->metric(probe.ctx, &m, &by_label), 0);
    m = (struct kvp_metric_args){
        .size = sizeof(m), .type = KVP_HISTOGRAM, .name = "took", .help = "Took."};
    return h->metric(probe.ctx, &m, &histogram);
}

static void use_metrics(void *data)
{
    struct kvp_bytes values[] = {kvp_str("door"), kvp_str("red")};
    struct kvp_notice n = {.size = sizeof(n), .reason = "Tested", .text = "It was tested."};
    uint32_t series;
    uint32_t again;
    const struct kvp_host *h = probe.host;
    (void)data;
    h->metric_add(probe.ctx, counter, 3);
    h->metric_add(probe.ctx, 999, 3);       /* ignored */
    h->metric_set(probe.ctx, counter, 100); /* not a gauge */
    assert_int_equal(h->metric_series(probe.ctx, by_label, values, 2, &series), 0);
    assert_int_equal(h->metric_series(probe.ctx, by_label, values, 2, &again), 0);
    assert_int_equal(series, again);
    h->metric_set(probe.ctx, series, 7);
    h->metric_add(probe.ctx, series, -2);
    h->metric_observe(probe.ctx, histogram, 0.5);
    h->metric_observe(probe.ctx, histogram, 0.7);
    assert_int_equal(h->notice(probe.ctx, &n), 0);
}

static void metrics_are_counted(void **state)
{
    (void)state;
    t_on_failure(_fail);
    probe = (struct probe){.on_init = define_metrics};
    t_open(&probe_plugin, NULL);
    inside(use_metrics, NULL);
    assert_int_equal(t_metric("things", NULL), 3);
    assert_int_equal(t_metric("open", "door", "red", NULL), 5);
    assert_int_equal(t_metric("open", "door", "blue", NULL), -1);
    assert_int_equal(t_metric("took", NULL), 2);
    assert_int_equal(t_metric("none", NULL), -1);
    assert_int_equal(t_noticed("Tested"), 1);
    t_close();
}

/* ---- role, reload, a new process
 * ----------------------------------------------------------------- */

static struct kvp_role role;
static void ask_role(void *ctx)
{
    role = (struct kvp_role){.size = sizeof(role)};
    assert_int_equal(probe.host->leader(*(struct kvp_ctx **)ctx, &role), 0);
}

struct conf {
    int64_t number;
    const char *word;
};
static struct conf conf;
static int reload_status;

static int reload(void *self, const void *new_conf, struct kvp_errmsg *e)
{
    (void)self;
    snprintf(e->text, sizeof(e->text), "not now");
    if (reload_status == 0) {
        conf = *(const struct conf *)new_conf;
    }
    return reload_status;
}

static int init_conf(struct kvp_ctx *ctx, const struct kvp_host *host, const void *c, void **self,
                     struct kvp_errmsg *e)
{
    conf = *(const struct conf *)c;
    return probe_init(ctx, host, c, self, e);
}

static void roles_reloads_and_processes(void **state)
{
    (void)state;
    static const struct kvp_option options[] = {
        {"number", KVP_OPT_INT, KVP_OPT_RELOADABLE, offsetof(struct conf, number), "3", 1, 9,
         .help = "a number"},
        {"word", KVP_OPT_STRING, 0, offsetof(struct conf, word), "x", .help = "a word"},
        {0}};
    struct kvp_plugin p = probe_plugin;
    p.options = options;
    p.conf_size = sizeof(struct conf);
    p.init = init_conf;
    p.reload = reload;
    t_on_failure(_fail);
    probe = (struct probe){0};
    t_open(&p, "number=5");
    assert_int_equal(conf.number, 5);
    assert_string_equal(conf.word, "x");
    assert_int_equal(t_reload("number=6"), 0);
    assert_int_equal(conf.number, 6);
    reload_status = 77;
    assert_int_equal(t_reload("number=7"), 77);
    assert_int_equal(conf.number, 6);
    reload_status = 0;
    assert_int_equal(t_reload("number=10"), KVP_INVALID);
    assert_int_equal(t_reload("number=6,word=y"), KVP_INVALID);
    inside(ask_role, &probe.ctx);
    assert_int_equal(role.is_leader, 0);
    t_lead(5);
    inside(ask_role, &probe.term);
    assert_int_equal(role.is_leader, 1);
    assert_int_equal(role.term, 5);
    uint64_t epoch = role.epoch;
    t_put("/kept", "1");
    assert_int_equal(t_reopen(), 0);
    assert_int_equal(probe.stops, 1);
    assert_int_equal(t_leading(), 0);
    t_expect_value("/kept", "1");
    t_change_leader();
    inside(ask_role, &probe.term);
    assert_int_equal(role.term, 6);
    assert_true(role.epoch > epoch);
    t_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_page_count_and_look_back),
        cmocka_unit_test(transactions_compare_and_act),
        cmocka_unit_test(requests_have_bodies_and_ends),
        cmocka_unit_test(metrics_are_counted),
        cmocka_unit_test(roles_reloads_and_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
