/* plugin_scribe.c - see plugin_scribe.h. Written like any plugin: over the table alone. */
#define KVP_ENTRY scribe_entry
#include "tests/sim/plugin_scribe.h"

#include <stdio.h>

#define SCRIBE_KEY "/scribe/000"

bool scribe_quiet;

struct scribe {
    struct kvp_ctx *ctx;
    const struct kvp_host *host;
    struct kvp_ctx *term;
    struct kvp_role role;
    uint64_t count;
    int64_t floor; /* newest revision acknowledged in this term */
    bool reading;
    int64_t read_floor; /* floor when the read was asked for */
};

static void on_read(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct scribe *self = data;
    self->reading = false;
    if (r->outcome == KVP_OK && (r->revision < self->read_floor || rows->count != 1 ||
                                 rows->rows[0].mod_revision < self->read_floor)) {
        scribe_complain("a plugin's linearizable read is older than its own acknowledged write");
    }
}

static void on_written(void *data, const struct kvp_result *r)
{
    struct scribe *self = data;
    if (r->outcome != KVP_OK) {
        return;
    }
    self->floor = r->revision > self->floor ? r->revision : self->floor;
    if (!self->reading) {
        self->read_floor = self->floor;
        self->reading = self->host->get(self->ctx, kvp_str(SCRIBE_KEY), on_read, self) == 0;
    }
}

static void write_down(void *data)
{
    struct scribe *self = data;
    char text[96];
    if (scribe_quiet) {
        return;
    }
    snprintf(text, sizeof(text), "%llu %llu %llu %llu", (unsigned long long)self->role.term,
             (unsigned long long)self->role.epoch, (unsigned long long)self->role.member,
             (unsigned long long)++self->count);
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str(SCRIBE_KEY), .value = kvp_str(text)};
    (void)self->host->put(self->term, &put, on_written, self);
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **out,
                struct kvp_errmsg *e)
{
    struct scribe *self = host->alloc(ctx, sizeof(*self));
    (void)conf;
    if (self == NULL) {
        snprintf(e->text, sizeof(e->text), "out of memory");
        return 1;
    }
    *self = (struct scribe){.ctx = ctx, .host = host};
    *out = self;
    return 0;
}

static int start(void *data, struct kvp_ctx *term_ctx, uint64_t term)
{
    struct scribe *self = data;
    struct kvp_timer_args timer = {.size = sizeof(timer),
                                   .jitter_percent = 100,
                                   .after_ms = 20,
                                   .repeat_ms = 20,
                                   .fire = write_down,
                                   .data = self};
    (void)term;
    self->term = term_ctx;
    self->count = 0;
    self->floor = 0;
    self->role = (struct kvp_role){.size = sizeof(self->role)};
    int reason = self->host->leader(term_ctx, &self->role);
    if (reason == 0) {
        write_down(self);
        reason = self->host->timer(term_ctx, &timer, NULL);
    }
    return reason;
}

static void fini(void *data)
{
    struct scribe *self = data;
    self->host->release(self->ctx, self);
}

KVP_PLUGIN(.name = "scribe", .version = "1.0", .about = "Writes down who leads.", .init = init,
           .start = start, .fini = fini);
