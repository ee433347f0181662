/* ttl-janitor.c - keys under /ttl/ whose value names a duration go after it: `kvctl put /ttl/a
 * 30s`.
 *
 * Each key gets a lease of its own with that time to live, so the store itself deletes it, whoever
 * leads then. The lease is detached: it does not end with this member's leadership. A key written
 * anew has lost its lease and gets another one. Durations are a number with s, m or h; other values
 * are left alone and counted. Shows: leases, an index, a timer, labels, items finished by hand. */
#include <kvplugin.h>
#include <stdio.h>
#include <string.h>

#define TTL_MAX_S (365 * 24 * 3600)

struct conf {
    const char *prefix;
    int64_t report_ms;
};
static const struct kvp_option options[] = {
    {"prefix", KVP_OPT_STRING, 0, offsetof(struct conf, prefix), "/ttl/", .help = "keys to clear"},
    {"report", KVP_OPT_DURATION, 0, offsetof(struct conf, report_ms), "10s", 100, 86400000,
     .help = "how often the gauge of keys is set"},
    {0}};

enum state { LEASED, FRESH, UNREADABLE, STATES };
static const char *const state_names[STATES] = {"leased", "fresh", "unreadable"};

struct janitor {
    struct kvp_ctx *ctx;
    const struct kvp_host *host;
    const struct conf *conf;
    struct kvp_ctx *term;
    struct kvp_cache *cache;
    uint32_t keys; /* gauge by state */
    uint32_t series[STATES];
};

/* One key on its way to a lease. */
struct job {
    struct janitor *self;
    struct kvp_item *item;
    int64_t mod_revision;
    int64_t lease;
    struct kvp_bytes key, value; /* copies, behind this struct */
};

/* Seconds of "90s", "5m", "2h"; 0 = not a duration. */
static int64_t seconds_of(struct kvp_bytes text)
{
    const char *at = text.data;
    int64_t n = 0;
    size_t i = 0;
    for (; i < text.len && at[i] >= '0' && at[i] <= '9' && n <= TTL_MAX_S; i++) {
        n = n * 10 + (at[i] - '0');
    }
    if (i == 0 || i + 1 != text.len) {
        return 0;
    }
    int64_t unit = at[i] == 's' ? 1 : at[i] == 'm' ? 60 : at[i] == 'h' ? 3600 : 0;
    return n * unit <= TTL_MAX_S ? n * unit : 0;
}

static enum state state_of(const struct kvp_cached *row)
{
    if (row->lease != 0) {
        return LEASED;
    }
    return seconds_of(*(const struct kvp_bytes *)row->object) > 0 ? FRESH : UNREADABLE;
}

static void index_by_state(void *data, const struct kvp_cached *row, struct kvp_emit *emit)
{
    struct janitor *self = data;
    self->host->index_emit(emit, kvp_str(state_names[state_of(row)]));
}

/* ---- one key ----------------------------------------------------------------------------------
 */

static void job_end(struct job *job, int64_t result)
{
    struct janitor *self = job->self;
    self->host->item_done(job->item, result);
    self->host->release(self->ctx, job);
}

static void job_written(void *data, const struct kvp_result *r)
{
    struct job *job = data;
    struct janitor *self = job->self;
    if (r->outcome == KVP_REFUSED) {
        /* Nobody needs that lease. If this fails too, it ends by itself. */
        self->host->lease_revoke(self->term, job->lease, NULL, NULL);
    }
    job_end(job, r->outcome == KVP_OK ? KVP_DONE : KVP_RETRY);
}

static void job_leased(void *data, const struct kvp_result *r)
{
    struct job *job = data;
    struct janitor *self = job->self;
    if (r->outcome != KVP_OK) {
        job_end(job, KVP_RETRY);
        return;
    }
    job->lease = r->lease;
    struct kvp_put put = {
        .size = sizeof(put), .key = job->key, .value = job->value, .lease = r->lease};
    /* Only if nobody has written it since: a new value is a new time. */
    if (self->host->put_if(self->term, &put, job->mod_revision, job_written, job) != 0) {
        self->host->lease_revoke(self->term, job->lease, NULL, NULL);
        job_end(job, KVP_RETRY);
    }
}

static struct job *job_new(struct janitor *self, struct kvp_item *item,
                           const struct kvp_cached *row)
{
    struct kvp_bytes value = *(const struct kvp_bytes *)row->object;
    struct job *job = self->host->alloc(self->ctx, sizeof(*job) + row->key.len + value.len);
    if (job != NULL) {
        char *bytes = (char *)(job + 1);
        memcpy(bytes, row->key.data, row->key.len);
        memcpy(bytes + row->key.len, value.data, value.len);
        *job = (struct job){.self = self,
                            .item = item,
                            .mod_revision = row->mod_revision,
                            .key = kvp_bytes_of(bytes, row->key.len),
                            .value = kvp_bytes_of(bytes + row->key.len, value.len)};
    }
    return job;
}

static int64_t reconcile(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    struct janitor *self = data;
    struct kvp_cached row = {.size = sizeof(row)};
    if (self->host->cache_get(self->cache, key, &row) != 0 || state_of(&row) != FRESH) {
        return KVP_DONE;
    }
    struct job *job = job_new(self, item, &row);
    if (job == NULL) {
        return KVP_RETRY;
    }
    struct kvp_lease_args lease = {.size = sizeof(lease),
                                   .flags = KVP_DETACHED,
                                   .ttl_s = seconds_of(*(const struct kvp_bytes *)row.object)};
    if (self->host->lease_grant(self->term, &lease, job_leased, job) != 0) {
        self->host->release(self->ctx, job);
        return KVP_RETRY;
    }
    return KVP_PENDING; /* job_end finishes it */
}

/* ---- the gauge ---------------------------------------------------------------------------------
 */

static int count_row(void *data, const struct kvp_cached *row)
{
    (void)row;
    (*(int64_t *)data)++;
    return 0;
}

static void report(void *data)
{
    struct janitor *self = data;
    for (int i = 0; i < STATES; i++) {
        int64_t count = 0;
        if (self->host->cache_by_index(self->cache, 0, kvp_str(state_names[i]), count_row,
                                       &count) == 0) {
            self->host->metric_set(self->ctx, self->series[i], count);
        }
    }
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int define_gauge(struct janitor *self)
{
    struct kvp_metric_args metric = {.size = sizeof(metric),
                                     .type = KVP_GAUGE,
                                     .name = "keys",
                                     .help = "Keys by what became of them.",
                                     .labels = {"state"}};
    int status = self->host->metric(self->ctx, &metric, &self->keys);
    for (int i = 0; i < STATES && status == 0; i++) {
        struct kvp_bytes value = kvp_str(state_names[i]);
        status = self->host->metric_series(self->ctx, self->keys, &value, 1, &self->series[i]);
    }
    return status;
}

static int open_cache(struct janitor *self)
{
    static const struct kvp_index indexes[] = {{.name = "state", .values = index_by_state}};
    struct kvp_cache_args cache = {.size = sizeof(cache),
                                   .prefix = kvp_str(self->conf->prefix),
                                   .indexes = indexes,
                                   .index_count = 1,
                                   .data = self};
    return self->host->cache_open(self->ctx, &cache, &self->cache);
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **out,
                struct kvp_errmsg *e)
{
    struct janitor *self = host->alloc(ctx, sizeof(*self));
    if (self != NULL) {
        *self = (struct janitor){.ctx = ctx, .host = host, .conf = conf};
        struct kvp_timer_args timer = {.size = sizeof(timer),
                                       .after_ms = (uint64_t)self->conf->report_ms,
                                       .repeat_ms = (uint64_t)self->conf->report_ms,
                                       .fire = report,
                                       .data = self};
        if (define_gauge(self) == 0 && open_cache(self) == 0 &&
            host->timer(ctx, &timer, NULL) == 0) {
            *out = self;
            return 0;
        }
        host->release(ctx, self);
    }
    snprintf(e->text, sizeof(e->text), "out of memory");
    return 1;
}

static int start(void *data, struct kvp_ctx *term_ctx, uint64_t term)
{
    struct janitor *self = data;
    struct kvp_controller *controller;
    struct kvp_controller_args args = {.size = sizeof(args),
                                       .parallel = 16,
                                       .cache = self->cache,
                                       .reconcile = reconcile,
                                       .data = self};
    (void)term;
    self->term = term_ctx;
    return self->host->controller(term_ctx, &args, &controller);
}

static void fini(void *data)
{
    struct janitor *self = data;
    self->host->release(self->ctx, self);
}

KVP_PLUGIN(.name = "ttl-janitor", .version = "1.0", .about = "Deletes keys after their time.",
           .options = options, .conf_size = sizeof(struct conf), .init = init, .start = start,
           .fini = fini);
