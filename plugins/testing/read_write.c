/* read_write.c - get, range, put, put_if, del, del_if of the test host. */
#include <string.h>

#include "plugins/testing/range.h"
#include "plugins/testing/world.h"

/* ---- read ---------------------------------------------------------------------------------- */

int32_t range_check(const struct kvp_range *r)
{
    bool bad = r == NULL || r->size == 0 || (r->key.len == 0 && (r->flags & KVP_PREFIX) == 0) ||
               r->limit < 0 || r->limit > KVP_PAGE_ROWS_MAX || r->revision < 0;
    return bad ? KVP_INVALID : 0;
}

int32_t range_read(struct arena *memory, const struct kvp_range *r, struct kvp_rows *out)
{
    const struct store *s = &world->store;
    int64_t revision = r->revision != 0 ? r->revision : s->revision;
    *out = (struct kvp_rows){.size = sizeof(*out)};
    if (revision < s->compacted) {
        return KVP_COMPACTED;
    }
    if (revision > s->revision) {
        return KVP_FUTURE;
    }
    /* Inside a transaction its own changes are seen: they are of the revision to come. */
    int64_t at = s->open && r->revision == 0 ? 0 : revision;
    struct span span = span_of(r->key, r->end, r->flags);
    struct slice from = slice_of(r->from.data, r->from.len);
    size_t first = store_seek(s, slice_cmp(from, span.key) > 0 ? from : span.key);
    size_t limit = r->limit != 0 ? (size_t)r->limit : 1000;
    struct kvp_row *rows = NULL;
    size_t bytes = 0;
    for (size_t i = first; i < s->key_count && span_has(&span, s->keys[i]->bytes); i++) {
        const struct kvp_row *row = store_row_at(s, i, at);
        if (row == NULL) {
            continue;
        }
        out->total++;
        if ((r->flags & KVP_COUNT_ONLY) != 0 || out->more) {
            continue;
        }
        bytes += row->key.len + row->value.len;
        if (out->count == limit || (out->count > 0 && bytes > KVP_PAGE_BYTES)) {
            out->more = 1;
            out->next = row->key;
            continue;
        }
        if ((out->count & (out->count - 1)) == 0) {
            struct kvp_row *more =
                arena_zalloc(memory, (out->count == 0 ? 1 : out->count * 2) * sizeof(*more));
            if (out->count > 0) {
                memcpy(more, rows, out->count * sizeof(*more));
            }
            rows = more;
        }
        rows[out->count] = *row;
        if ((r->flags & KVP_KEYS_ONLY) != 0) {
            rows[out->count].value = kvp_bytes_of(NULL, 0);
        }
        out->count++;
    }
    out->rows = rows;
    return 0;
}

static void range_effect(struct call *c)
{
    int32_t reason = range_read(&c->memory, &c->range, &c->rows);
    if (reason == KVP_COMPACTED) {
        call_refuse(c, reason, "that revision has been compacted");
        c->result.revision = world->store.compacted;
    } else if (reason != 0) {
        call_refuse(c, reason, "that revision does not exist yet");
    } else {
        c->result.revision = c->range.revision != 0 ? c->range.revision : world->store.revision;
        c->result.count = c->rows.total;
        /* A host may not know how many there are behind a page. */
        if (c->rows.more && chance_below(2) == 0) {
            c->rows.total = -1;
        }
    }
}

static void range_deliver(struct call *c, const struct kvp_result *r)
{
    c->rows.size = sizeof(c->rows);
    c->cb.rows(c->data, r, &c->rows);
}

static int range_call(struct kvp_ctx *ctx, const char *name, const struct kvp_range *r,
                      kvp_rows_fn *cb, void *data)
{
    if (cb == NULL || range_check(r) != 0) {
        misuse("%s: an argument breaks its rule (KVP_INVALID)", name);
        return KVP_INVALID;
    }
    int reason;
    struct call *c = call_new(ctx, name, &reason);
    if (c == NULL) {
        return reason;
    }
    c->range = *r;
    c->range.key = call_keep(c, r->key);
    c->range.end = call_keep(c, r->end);
    c->range.from = call_keep(c, r->from);
    c->effect = range_effect;
    c->deliver = range_deliver;
    c->cb.rows = cb;
    c->data = data;
    call_go(c);
    return 0;
}

int t_call_range(struct kvp_ctx *ctx, const struct kvp_range *r, kvp_rows_fn *cb, void *data)
{
    return range_call(ctx, "range", r, cb, data);
}

int t_call_get(struct kvp_ctx *ctx, struct kvp_bytes key, kvp_rows_fn *cb, void *data)
{
    struct kvp_range r = {.size = sizeof(r), .key = key};
    return range_call(ctx, "get", &r, cb, data);
}

/* ---- write --------------------------------------------------------------------------------- */

int32_t put_check(const struct kvp_put *p)
{
    bool bad = p == NULL || p->size == 0 || p->key.len == 0 || p->key.data == NULL ||
               (p->flags & ~KVP_KEEP_LEASE) != 0;
    return bad ? KVP_INVALID : 0;
}

int32_t put_possible(const struct kvp_put *p)
{
    const struct kvp_row *row = store_row(&world->store, slice_of_kvp(p->key), 0);
    if ((p->flags & KVP_KEEP_LEASE) != 0) {
        return row == NULL ? KVP_NOT_FOUND : 0;
    }
    return p->lease != 0 && !lease_known(p->lease) ? KVP_NOT_FOUND : 0;
}

void put_do(const struct kvp_put *p)
{
    const struct kvp_row *row = store_row(&world->store, slice_of_kvp(p->key), 0);
    bool keep = (p->flags & KVP_KEEP_LEASE) != 0 && row != NULL;
    store_put(&world->store, slice_of_kvp(p->key), slice_of_kvp(p->value),
              keep ? row->lease : p->lease);
}

int32_t del_check(const struct kvp_del *d)
{
    bool bad = d == NULL || d->size == 0 || (d->key.len == 0 && (d->flags & KVP_PREFIX) == 0);
    return bad ? KVP_INVALID : 0;
}

static void write_done(struct call *c)
{
    c->result.revision = store_end(&world->store);
    watches_feed();
}

/* The row must be of mod_revision c->number; if not, the call is refused with the row. */
static bool write_compare(struct call *c, struct kvp_bytes key)
{
    const struct kvp_row *row = store_row(&world->store, slice_of_kvp(key), 0);
    if ((row != NULL ? row->mod_revision : 0) == c->number) {
        return true;
    }
    call_refuse(c, KVP_CONFLICT, "the row's mod_revision is another one");
    c->result.revision = world->store.revision;
    c->result.row = row;
    return false;
}

static void put_effect(struct call *c)
{
    int32_t reason = put_possible(&c->put);
    if (reason != 0) {
        call_refuse(c, reason, "no such lease, or no such row to keep the lease of");
        return;
    }
    store_begin(&world->store);
    put_do(&c->put);
    write_done(c);
}

static void put_if_effect(struct call *c)
{
    if (write_compare(c, c->put.key)) {
        put_effect(c);
    }
}

static void del_effect(struct call *c)
{
    struct span span = span_of(c->del.key, c->del.end, c->del.flags);
    store_begin(&world->store);
    c->result.count = store_delete_span(&world->store, &span);
    write_done(c);
}

static void del_if_effect(struct call *c)
{
    if (write_compare(c, c->del.key)) {
        del_effect(c);
    }
}

static void write_deliver(struct call *c, const struct kvp_result *r)
{
    if (c->cb.done != NULL) {
        c->cb.done(c->data, r);
    }
}

int write_allowed(struct kvp_ctx *ctx)
{
    return ctx->may_write ? 0 : KVP_NOT_LEADER;
}

static struct call *write_call(struct kvp_ctx *ctx, const char *name, kvp_done_fn *cb, void *data,
                               int *reason)
{
    *reason = write_allowed(ctx);
    struct call *c = *reason == 0 ? call_new(ctx, name, reason) : NULL;
    if (c != NULL) {
        c->writes = true;
        c->deliver = write_deliver;
        c->cb.done = cb;
        c->data = data;
    }
    return c;
}

static int put_call(struct kvp_ctx *ctx, const char *name, const struct kvp_put *p, int64_t number,
                    kvp_done_fn *cb, void *data)
{
    if (put_check(p) != 0) {
        misuse("%s: an argument breaks its rule (KVP_INVALID)", name);
        return KVP_INVALID;
    }
    int reason;
    struct call *c = write_call(ctx, name, cb, data, &reason);
    if (c == NULL) {
        return reason;
    }
    c->put = *p;
    c->put.key = call_keep(c, p->key);
    c->put.value = call_keep(c, p->value);
    c->number = number;
    c->effect = strcmp(name, "put") == 0 ? put_effect : put_if_effect;
    call_go(c);
    return 0;
}

int t_call_put(struct kvp_ctx *ctx, const struct kvp_put *p, kvp_done_fn *cb, void *data)
{
    return put_call(ctx, "put", p, 0, cb, data);
}

int t_call_put_if(struct kvp_ctx *ctx, const struct kvp_put *p, int64_t mod_revision,
                  kvp_done_fn *cb, void *data)
{
    return put_call(ctx, "put_if", p, mod_revision, cb, data);
}

static int del_call(struct kvp_ctx *ctx, const char *name, const struct kvp_del *d, int64_t number,
                    kvp_done_fn *cb, void *data)
{
    if (del_check(d) != 0) {
        misuse("%s: an argument breaks its rule (KVP_INVALID)", name);
        return KVP_INVALID;
    }
    int reason;
    struct call *c = write_call(ctx, name, cb, data, &reason);
    if (c == NULL) {
        return reason;
    }
    c->del = *d;
    c->del.key = call_keep(c, d->key);
    c->del.end = call_keep(c, d->end);
    c->number = number;
    c->effect = strcmp(name, "del") == 0 ? del_effect : del_if_effect;
    call_go(c);
    return 0;
}

int t_call_del(struct kvp_ctx *ctx, const struct kvp_del *d, kvp_done_fn *cb, void *data)
{
    return del_call(ctx, "del", d, 0, cb, data);
}

int t_call_del_if(struct kvp_ctx *ctx, struct kvp_bytes key, int64_t mod_revision, kvp_done_fn *cb,
                  void *data)
{
    struct kvp_del d = {.size = sizeof(d), .key = key};
    return del_call(ctx, "del_if", &d, mod_revision, cb, data);
}
