/* openapi.c - requests for OpenAPI documents.
 *
 * Documents are written while the client reads them, piece by piece, so none is ever kept. What is
 * kept is a hash of each: it names the document in the index and is its ETag. The first request
 * has all hashes made on a pool thread, as that takes writing each document once. */
#include "plugins/apiserver/openapi.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "plugins/apiserver/media.h"
#include "plugins/apiserver/openapi_doc.h"
#include "plugins/object/encode.h"

#define OPENAPI_GROUPS_MAX  32u
#define OPENAPI_HASH_DIGITS 32u
#define OPENAPI_PIECE_BYTES (16u * 1024u)
#define OPENAPI_YEAR_S      (365 * 86400)

struct openapi_group {
    const char *group, *version; /* NULL: the document of version 2 */
    char hash[OPENAPI_HASH_DIGITS + 1];
};

/* Of a plugin; the first group is the document of version 2. */
struct openapi {
    struct openapi_group groups[OPENAPI_GROUPS_MAX];
    size_t count;
};

/* ---- hashes -------------------------------------------------------------------------------- */

/* Making the hashes, for an exchange that waits. */
struct hashing {
    struct exchange *ex;
    struct apiserver *api;
    struct slice path;
    struct openapi *made;
    bool failed;
};

static bool hash_group(struct openapi_group *g)
{
    struct arena a;
    struct buf piece;
    struct openapi_doc d;
    uint64_t first = 14695981039346656037ull;
    uint64_t second = 0x9E3779B97F4A7C15ull;
    arena_init(&a, 0);
    buf_init(&piece);
    bool ok = openapi_doc_init(&d, g->group, g->version, &a) == 0;
    while (ok && openapi_doc_next(&d, &piece)) {
        for (size_t i = 0; i < piece.len; i++) {
            first = (first ^ piece.data[i]) * 1099511628211ull;
            second = (second + piece.data[i]) * 0x2545F4914F6CDD1Dull;
            second ^= second >> 29;
        }
        ok = !piece.failed;
        buf_clear(&piece);
    }
    snprintf(g->hash, sizeof g->hash, "%016" PRIX64 "%016" PRIX64, first, second);
    buf_close(&piece);
    arena_close(&a);
    return ok;
}

/* On a pool thread: sees nothing but its own memory and the schema. */
static void hash_all(void *data)
{
    struct hashing *h = data;
    for (size_t i = 0; i < h->made->count && !h->failed; i++) {
        h->failed = !hash_group(&h->made->groups[i]);
    }
}

static void hash_done(void *data, int canceled)
{
    struct hashing *h = data;
    struct exchange *ex = h->ex;
    struct slice path = h->path;
    bool failed = h->failed || canceled;
    if (!failed && h->api->openapi == NULL) {
        h->api->openapi = h->made;
        h->made = NULL;
    }
    mem_free(h->made);
    mem_free(h);
    if (!exchange_back(ex)) {
        return;
    }
    if (failed) {
        exchange_fail(ex, status_unavailable(&ex->arena, "the documents cannot be made right now"));
    } else {
        openapi_answer(ex, path);
    }
}

/* All documents there are. */
static void list_groups(struct openapi *all)
{
    all->count = 1;
    for (size_t i = 0; i < schema_resource_count; i++) {
        const struct schema_resource *r = schema_resources + i;
        const struct schema_type *t = schema_at(r, r->type);
        const char *group = schema_text(t, t->group);
        const char *version = schema_text(t, t->version);
        bool known = !request_serves(r, NULL);
        for (size_t k = 1; k < all->count && !known; k++) {
            known = strcmp(all->groups[k].group, group) == 0 &&
                    strcmp(all->groups[k].version, version) == 0;
        }
        if (!known && all->count < OPENAPI_GROUPS_MAX) {
            all->groups[all->count++] = (struct openapi_group){.group = group, .version = version};
        }
    }
}

static void start_hashing(struct exchange *ex, struct slice path)
{
    const struct kvp_host *host = ex->api->host;
    struct hashing *h = mem_zalloc(sizeof *h);
    struct openapi *made = mem_zalloc(sizeof *made);
    int rc = h == NULL || made == NULL ? KVP_NO_MEMORY : 0;
    if (rc == 0) {
        list_groups(made);
        *h = (struct hashing){.ex = ex, .api = ex->api, .path = path, .made = made};
        exchange_call(ex);
        rc = host->offload(ex->api->ctx, hash_all, hash_done, h);
        if (rc == 0) {
            return;
        }
        exchange_not_called(ex, rc);
    } else {
        exchange_no_memory(ex);
    }
    mem_free(made);
    mem_free(h);
}

void openapi_close(struct apiserver *api)
{
    mem_free(api->openapi);
    api->openapi = NULL;
}

/* ---- answers ------------------------------------------------------------------------------- */

static struct slice format(struct exchange *ex, const char *pattern, const char *a, const char *b)
{
    char text[256];
    snprintf(text, sizeof text, pattern, a, b);
    struct slice copy = arena_dup(&ex->arena, slice_str(text));
    return copy.data == NULL ? slice_of("", 0) : copy;
}

/* "api/v1", "apis/apps/v1" */
static void group_path(const struct openapi_group *g, char *out, size_t room)
{
    snprintf(out, room, "%s%s/%s", g->group[0] == 0 ? "api" : "apis/", g->group, g->version);
}

/* Hands on as much of the document as the client takes. */
static void document_pump(struct exchange *ex)
{
    struct openapi_doc *d = ex->op;
    while (openapi_doc_next(d, &ex->out)) {
        if (ex->out.failed) {
            exchange_no_memory(ex);
            return;
        }
        if (ex->out.len >= OPENAPI_PIECE_BYTES && !exchange_pump(ex)) {
            return;
        }
    }
    if (ex->out.failed) {
        exchange_no_memory(ex);
        return;
    }
    ex->drained = NULL;
    exchange_end(ex);
}

static void document_answer(struct exchange *ex, const struct openapi_group *g, bool protobuf)
{
    struct openapi_doc *d = arena_alloc(&ex->arena, sizeof *d);
    const char *type = protobuf ? MEDIA_OPENAPI : "application/json";
    ex->etag = format(ex, "\"%s%s\"", g->hash, protobuf ? "-protobuf" : "");
    if (d == NULL || openapi_doc_init(d, g->group, g->version, &ex->arena) != 0) {
        exchange_no_memory(ex);
        return;
    }
    if (ex->etag.len > 0 && slice_eq(ex->etag, ex->none_match)) {
        exchange_answer(ex, 304, type, slice_of("", 0));
        return;
    }
    if (ex->head) {
        exchange_answer(ex, 200, type, slice_of("", 0));
        return;
    }
    d->protobuf = protobuf;
    ex->op = d;
    ex->drained = document_pump;
    exchange_stream(ex, type);
    document_pump(ex);
}

/* The value of hash= in the query; data NULL: there is none. */
static struct slice asked_hash(struct exchange *ex)
{
    struct slice q = ex->query_text;
    struct slice mark = slice_str("hash=");
    while (q.len > 0) {
        const uint8_t *and_ = memchr(q.data, '&', q.len);
        size_t n = and_ == NULL ? q.len : (size_t)(and_ - q.data);
        if (slice_starts_with(slice_of(q.data, n), mark) && n > mark.len) {
            return slice_of(q.data + mark.len, n - mark.len);
        }
        n += and_ != NULL;
        q = slice_of(q.data + n, q.len - n);
    }
    return slice_of(NULL, 0);
}

static struct slice in_a_year(struct exchange *ex)
{
    char text[64];
    struct tm when;
    time_t then = (time_t)(ex->api->host->wall_us(ex->api->ctx) / 1000000) + (time_t)OPENAPI_YEAR_S;
    if (gmtime_r(&then, &when) == NULL ||
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &when) == 0) {
        return slice_of("", 0);
    }
    return format(ex, "%s%s", text, "");
}

/* A document of version 3: for good if its hash is asked for, and to the right one if not. */
static void group_answer(struct exchange *ex, const struct openapi_group *g)
{
    struct slice hash = asked_hash(ex);
    ex->cache_control = slice_str("no-cache, private");
    if (hash.data != NULL && !slice_eq(hash, slice_str(g->hash))) {
        char path[200];
        group_path(g, path, sizeof path);
        ex->location = format(ex, "/openapi/v3/%s?hash=%s", path, g->hash);
        exchange_answer(ex, 301, "text/html; charset=utf-8",
                        format(ex, "<a href=\"/openapi/v3/%s?hash=%s\">Moved Permanently</a>.\n\n",
                               path, g->hash));
        return;
    }
    if (hash.data != NULL) {
        ex->cache_control = slice_str("public, immutable");
        ex->expires = in_a_year(ex);
    }
    document_answer(ex, g, false);
}

static void index_answer(struct exchange *ex, const struct openapi *all)
{
    struct buf out;
    buf_init(&out);
    buf_append_str(&out, "{\"paths\":{");
    for (size_t i = 1; i < all->count; i++) {
        char path[200];
        group_path(&all->groups[i], path, sizeof path);
        buf_printf(&out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}",
                   i > 1 ? "," : "", path, path, all->groups[i].hash);
    }
    buf_append_str(&out, "}}");
    if (out.failed) {
        exchange_no_memory(ex);
    } else {
        exchange_json(ex, 200, buf_slice(&out));
    }
    buf_close(&out);
}

static const struct openapi_group *find_group(const struct openapi *all, struct slice path)
{
    for (size_t i = 1; i < all->count; i++) {
        char known[200];
        group_path(&all->groups[i], known, sizeof known);
        if (slice_eq(path, slice_str(known))) {
            return &all->groups[i];
        }
    }
    return NULL;
}

bool openapi_answer(struct exchange *ex, struct slice path)
{
    struct slice v3 = slice_str("/openapi/v3");
    bool is_v2 = slice_eq(path, slice_str("/openapi/v2"));
    bool is_index = slice_eq(path, v3);
    bool below = slice_starts_with(path, slice_str("/openapi/v3/"));
    if (!is_v2 && !is_index && !below) {
        return false;
    }
    bool protobuf = false;
    if (is_v2 ? !media_openapi(ex->accept, &protobuf) : !media_accepts_json(ex->accept)) {
        exchange_answer(ex, 406, "text/plain; charset=utf-8", slice_of("", 0));
        return true;
    }
    const struct openapi *all = ex->api->openapi;
    if (all == NULL) {
        start_hashing(ex, path);
        return true;
    }
    if (is_index) {
        index_answer(ex, all);
        return true;
    }
    if (is_v2) {
        ex->cache_control = slice_str("no-cache, private");
        document_answer(ex, &all->groups[0], protobuf);
        return true;
    }
    const struct openapi_group *g =
        find_group(all, slice_of(path.data + v3.len + 1, path.len - v3.len - 1));
    if (g == NULL) {
        exchange_no_path(ex);
    } else {
        group_answer(ex, g);
    }
    return true;
}
