/* http_health.c - /health, /livez, /readyz and /version (contract H-01..H-06).
 *
 * /health: alarms, then leader, then a read; the first that fails is the reason. /livez and /readyz
 * run each check and list the results. Reads go through the same service call as a client's Range,
 * so a member without quorum waits and fails as a client would (H-05). */
#include <string.h>

#include "base/log.h"
#include "rpc/svc_alarm.h"
#include "rpc/svc_common.h"
#include "rpc/version.h"

enum { PAGE_LIVEZ = 0, PAGE_READYZ = 1, PAGE_HEALTH = 2 };

enum health_check { CHECK_CORRUPTION, CHECK_SERIALIZABLE, CHECK_LINEARIZABLE, CHECK_LEARNER };
#define CHECKS 4

static const char *const check_names[CHECKS] = {"data_corruption", "serializable_read",
                                                "linearizable_read", "non_learner"};
static const unsigned check_sets[2] = {1u << CHECK_SERIALIZABLE, (1u << CHECKS) - 1};
static const char *const page_names[2] = {"livez", "readyz"};

struct health_page {
    struct svc *svc;
    struct http_request *req;
    struct service_read read;
    bool reading;
    int kind;
    unsigned left; /* checks to run, as bits */
    enum health_check running;
    bool failed;
    bool verbose;
    struct buf report;
};

/* RangeRequest{key: "\0", limit: 1, keys_only, serializable}: one key, whatever is stored. */
static const uint8_t health_range_linearizable[] = {0x0a, 1, 0, 0x18, 1, 0x40, 1};
static const uint8_t health_range_serializable[] = {0x0a, 1, 0, 0x18, 1, 0x38, 1, 0x40, 1};

static void health_free(struct health_page *p)
{
    buf_close(&p->report);
    pool_free(&p->svc->pool, p);
}

static void health_on_closed(struct http_request *req)
{
    struct health_page *p = http_data(req);
    if (p->reading) {
        p->svc->service->cancel_read(p->svc->service, &p->read);
    }
    health_free(p);
}

static struct health_page *health_new(struct http_request *req, int kind)
{
    struct svc *s = http_server_data(req);
    struct health_page *p = pool_zalloc(&s->pool, sizeof(*p));
    if (p == NULL) {
        http_respond(req, 503, "text/plain; charset=utf-8", NULL,
                     slice_str("kvd: out of memory\n"));
        return NULL;
    }
    p->svc = s;
    p->req = req;
    p->kind = kind;
    buf_init(&p->report);
    http_set_data(req, p);
    http_on_closed(req, health_on_closed);
    return p;
}

static void health_read(struct health_page *p, bool serializable,
                        void (*cb)(struct service_read *, int, int64_t, struct slice, uint64_t,
                                   bool (*)(void *, struct buf *, size_t), void (*)(void *),
                                   void *))
{
    p->reading = true;
    p->read.data = p;
    p->read.cb = cb;
    struct slice request =
        serializable ? slice_of(health_range_serializable, sizeof(health_range_serializable))
                     : slice_of(health_range_linearizable, sizeof(health_range_linearizable));
    p->svc->service->range(p->svc->service, &p->read, request, serializable);
}

/* ---- /health -----------------------------------------------------------------------------------
 */

static void health_answer(struct health_page *p, const char *reason, const char *detail)
{
    static const struct http_header_field plain[] = {{"X-Content-Type-Options", "nosniff"},
                                                     {NULL, NULL}};
    struct buf *out = &p->report;
    if (reason[0] == '\0') {
        p->svc->health_success++;
        buf_append_str(out, "{\"health\":\"true\",\"reason\":\"\"}");
        http_respond(p->req, 200, "text/plain; charset=utf-8", NULL, buf_slice(out));
    } else {
        p->svc->health_failures++;
        buf_printf(out, "{\"health\":\"false\",\"reason\":\"%s%s\"}", reason, detail);
        LOG(LOG_WARN, "/health error", F_BYTES("output", buf_slice(out)),
            F_INT("status-code", 503));
        buf_append_byte(out, '\n');
        http_respond(p->req, 503, "text/plain; charset=utf-8", plain, buf_slice(out));
    }
    health_free(p);
}

static void health_on_read(struct service_read *r, int err, int64_t revision, struct slice body,
                           uint64_t total, bool (*produce)(void *, struct buf *, size_t),
                           void (*done)(void *), void *produce_data)
{
    (void)revision, (void)body, (void)total;
    struct health_page *p = r->data;
    p->reading = false;
    if (produce != NULL) {
        done(produce_data);
    }
    health_answer(p, err != 0 ? "RANGE ERROR:" : "", err != 0 ? err_text(err) : "");
}

struct health_alarms {
    bool exclude_nospace;
    bool exclude_corrupt;
    const char *reason;
};

static void health_on_alarm(void *data, uint64_t member, int type)
{
    (void)member;
    struct health_alarms *a = data;
    if (a->reason != NULL || (type == SVC_ALARM_NOSPACE && a->exclude_nospace) ||
        (type == SVC_ALARM_CORRUPT && a->exclude_corrupt)) {
        return;
    }
    a->reason = type == SVC_ALARM_NOSPACE   ? "ALARM NOSPACE"
                : type == SVC_ALARM_CORRUPT ? "ALARM CORRUPT"
                                            : "ALARM UNKNOWN";
}

void http_health(struct http_request *req)
{
    struct health_page *p = health_new(req, PAGE_HEALTH);
    if (p == NULL) {
        return;
    }
    struct health_alarms alarms = {0};
    bool serializable = false;
    char name[32];
    char value[32];
    size_t at = 0;
    while (http_query_next(req, &at, name, sizeof(name), value, sizeof(value))) {
        if (strcmp(name, "exclude") == 0) {
            alarms.exclude_nospace |= strcmp(value, "NOSPACE") == 0;
            alarms.exclude_corrupt |= strcmp(value, "CORRUPT") == 0;
        } else if (strcmp(name, "serializable") == 0) {
            serializable = strcmp(value, "true") == 0;
        }
    }
    svc_alarms_each(p->svc, health_on_alarm, &alarms);
    if (alarms.reason != NULL) {
        health_answer(p, alarms.reason, "");
    } else if (!serializable && !p->svc->service->has_leader(p->svc->service)) {
        health_answer(p, "RAFT NO LEADER", "");
    } else {
        health_read(p, serializable, health_on_read);
    }
}

/* ---- /livez and /readyz ------------------------------------------------------------------------
 */

static void checks_next(struct health_page *p);

/* One line a plugin, for people: a member without one of its plugins is ready all the same. Texts
 * of plugins stay on their line. */
static void checks_on_plugins(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    static const char *const states[] = {"unknown",     "starting", "loaded",  "following",
                                         "leading",     "stopping", "stopped", "disabled",
                                         "quarantined", "failed"};
    struct buf *out = r->data;
    for (size_t i = 0; i < result->count; i++) {
        const struct plugin_info *p = &result->plugins[i];
        bool bad = p->state == PLUGIN_QUARANTINED || p->state == PLUGIN_FAILED;
        buf_printf(out, "[%c]plugin %s %s", bad ? '!' : '+', p->name, states[p->state]);
        buf_append_str(out, p->why != NULL && *p->why != '\0' ? ": " : "");
        for (const char *c = p->why; c != NULL && *c != '\0'; c++) {
            buf_append_byte(out, (uint8_t)*c < ' ' ? ' ' : (uint8_t)*c);
        }
        buf_append_byte(out, '\n');
    }
}

static void checks_show_plugins(struct health_page *p)
{
    struct plugin_admin *plugins = p->svc->options.plugins;
    if (plugins != NULL && p->kind == PAGE_READYZ) {
        struct plugin_admin_req req = {.data = &p->report, .cb = checks_on_plugins};
        plugins->read(plugins, &req, NULL, 0); /* calls back before it returns */
    }
}

static void checks_answer(struct health_page *p)
{
    static const struct http_header_field nosniff[] = {{"X-Content-Type-Options", "nosniff"},
                                                       {NULL, NULL}};
    if (p->failed) {
        LOG(LOG_WARN, "Health check error", F_STR("path", page_names[p->kind]),
            F_BYTES("reason", buf_slice(&p->report)), F_INT("status-code", 503));
        buf_append_byte(&p->report, '\n');
    } else {
        if (!p->verbose) {
            buf_clear(&p->report);
        } else {
            checks_show_plugins(p);
        }
        buf_append_str(&p->report, "ok\n");
    }
    http_respond(p->req, p->failed ? 503 : 200, "text/plain; charset=utf-8", nosniff,
                 buf_slice(&p->report));
    health_free(p);
}

/* The running check ended: reason NULL = well. */
static void checks_record(struct health_page *p, const char *reason)
{
    const char *name = check_names[p->running];
    if (reason == NULL) {
        buf_printf(&p->report, "[+]%s ok\n", name);
    } else {
        buf_printf(&p->report, "[-]%s failed: %s\n", name, reason);
        p->failed = true;
    }
    p->svc->checks[p->kind][p->running][reason != NULL]++;
    p->svc->check_last[p->kind][p->running] = reason == NULL;
}

static void checks_on_read(struct service_read *r, int err, int64_t revision, struct slice body,
                           uint64_t total, bool (*produce)(void *, struct buf *, size_t),
                           void (*done)(void *), void *produce_data)
{
    (void)revision, (void)body, (void)total;
    struct health_page *p = r->data;
    p->reading = false;
    if (produce != NULL) {
        done(produce_data);
    }
    checks_record(p, err != 0 ? err_text(err) : NULL);
    checks_next(p);
}

static void checks_on_alarm(void *data, uint64_t member, int type)
{
    (void)member;
    bool *corrupt = data;
    *corrupt |= type == SVC_ALARM_CORRUPT;
}

/* Runs checks in order until one must wait or none is left. Depth is bounded by CHECKS. */
static void checks_next(struct health_page *p)
{
    while (p->left != 0) {
        p->running = (enum health_check)__builtin_ctz(p->left);
        p->left &= p->left - 1;
        if (p->running == CHECK_SERIALIZABLE || p->running == CHECK_LINEARIZABLE) {
            health_read(p, p->running == CHECK_SERIALIZABLE, checks_on_read);
            return;
        }
        if (p->running == CHECK_CORRUPTION) {
            bool corrupt = false;
            svc_alarms_each(p->svc, checks_on_alarm, &corrupt);
            checks_record(p, corrupt ? "alarm activated: CORRUPT" : NULL);
        } else {
            struct service_status status = {0};
            p->svc->service->status(p->svc->service, &status);
            checks_record(p, status.is_learner ? "not supported for learner" : NULL);
        }
    }
    checks_answer(p);
}

static int checks_find(const char *name, size_t len)
{
    for (int i = 0; i < CHECKS; i++) {
        if (strlen(check_names[i]) == len && memcmp(check_names[i], name, len) == 0) {
            return i;
        }
    }
    return -1;
}

static unsigned checks_excluded(struct health_page *p, unsigned set)
{
    char name[32];
    char value[64];
    size_t at = 0;
    while (http_query_next(p->req, &at, name, sizeof(name), value, sizeof(value))) {
        if (strcmp(name, "exclude") == 0 && value[0] != '\0') {
            int check = checks_find(value, strlen(value));
            if (check < 0 || (set & 1u << check) == 0) {
                LOG(LOG_WARN, "some health checks cannot be excluded",
                    F_STR("missing-health-checks", value));
            } else {
                set &= ~(1u << check);
            }
        } else if (strcmp(name, "verbose") == 0) {
            p->verbose = true;
        }
    }
    return set;
}

static void checks_page(struct http_request *req, int kind)
{
    struct slice path = http_path(req);
    size_t root = 1 + strlen(page_names[kind]); /* "/livez" */
    unsigned set = check_sets[kind];
    if (path.len > root) {
        const char *name = (const char *)path.data + root + 1;
        int check = checks_find(name, path.len - root - 1);
        if (check < 0 || (set & 1u << check) == 0) {
            http_respond(req, 404, "text/plain; charset=utf-8", NULL,
                         slice_str("404 page not found\n"));
            return;
        }
        set = 1u << check;
    }
    struct health_page *p = health_new(req, kind);
    if (p == NULL) {
        return;
    }
    unsigned wanted = checks_excluded(p, set);
    p->left = path.len > root ? set : wanted; /* a single check cannot be excluded */
    checks_next(p);
}

void http_livez(struct http_request *req)
{
    checks_page(req, PAGE_LIVEZ);
}

void http_readyz(struct http_request *req)
{
    checks_page(req, PAGE_READYZ);
}

/* ---- /version ----------------------------------------------------------------------------------
 */

void http_version(struct http_request *req)
{
    static const char body[] =
        "{\"etcdserver\":\"" SERVER_VERSION "\",\"etcdcluster\":\"" CLUSTER_VERSION
        "\",\"storage\":\"" STORAGE_VERSION "\"}";
    http_respond(req, 200, "application/json", NULL, slice_of(body, sizeof(body) - 1));
}
