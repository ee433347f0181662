/* listing.c - selectors, and walks over rows. */
#include "plugins/apiserver/listing.h"

#include "plugins/object/object.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/waiting.h"

/* Rows of one page at most, and of the first one, when nobody knows yet how large they are. The
 * pages after it have so many rows that they are about so large: decoding takes time; and while one
 * is being sent the next is read and printed, all of which is to stay in a processor's cache. */
#define LISTING_PAGE_ROWS     500
#define LISTING_FIRST_ROWS    100
#define LISTING_DECODED_BYTES (128u * 1024u)
#define LISTING_PLAIN_BYTES   (256u * 1024u)

bool selection_check_options(struct exchange *ex, bool watch)
{
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    causes_init(c, &ex->arena);
    query_check_list(&ex->query, watch, c);
    if (c->count > 0) {
        exchange_fail(ex, status_invalid(&ex->arena, slice_str("meta.k8s.io"),
                                         slice_str("ListOptions"), slice_of("", 0), c));
    }
    return c->count == 0;
}

/* Of a stored object only what is compared is decoded. An event of the group that is stored as the
 * other's is decoded whole: its type is not the stored one. */
static void selection_keep(struct selection *s, const struct schema_type *type)
{
    static const char *const always[] = {"metadata.name", "metadata.namespace", "metadata.labels"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        decode_keep_path(s->kept, SELECTION_KEPT_MAX, &s->kept_count, type, slice_str(always[i]));
    }
    for (size_t i = 0; i < s->fields.count; i++) {
        decode_keep_path(s->kept, SELECTION_KEPT_MAX, &s->kept_count, type,
                         s->fields.items[i].field);
    }
}

bool selection_read(struct exchange *ex, struct selection *s)
{
    struct errmsg e = {.text = ""};
    const struct query *q = &ex->query;
    *s = (struct selection){0};
    int rc = label_selector_parse(q->label_selector, &ex->arena, &s->labels, &e);
    rc = rc == 0 ? field_selector_parse(q->field_selector, &ex->arena, &s->fields, &e) : rc;
    rc = rc == 0 ? field_selector_check(&s->fields, ex->request.type, &e) : rc;
    if (!exchange_understands(ex, rc, &e)) {
        return false;
    }
    selection_keep(s, ex->request.type);
    s->name = field_selector_exact(&s->fields, "metadata.name");
    if (ex->request.name.len > 0) {
        s->name = ex->request.name;
    }
    s->all = s->labels.count == 0 && s->fields.count == 0 && ex->request.name.len == 0;
    return true;
}

int selection_matches(const struct selection *s, const struct schema_type *type, struct slice value,
                      struct arena *scratch)
{
    struct object o;
    struct errmsg e;
    if (s->all) {
        return 1;
    }
    struct decode_keep keep = {.types = s->kept, .count = s->kept_count};
    if (stored_decode_some(type, value, &keep, scratch, &o, &e) != 0) {
        return -1;
    }
    if (s->name.len > 0 && !slice_eq(object_text(&o, "metadata.name"), s->name)) {
        return 0;
    }
    return label_selector_matches(&s->labels, object_get(&o, "metadata.labels")) &&
           field_selector_matches(&s->fields, type, &o.root);
}

void listing_close(struct listing *l)
{
    if (l->closed != NULL) {
        l->closed(l);
        l->closed = NULL;
    }
    l->over = true;
    buf_close(&l->prefix);
    buf_close(&l->from);
    arena_close(&l->scratch);
}

/* Whether rows are decoded: to be selected, or to be shown as cells. */
static bool listing_decodes(const struct listing *l)
{
    return !l->selection->all || l->ex->media.shape == MEDIA_TABLE;
}

bool listing_init(struct listing *l, struct exchange *ex, const struct selection *s)
{
    const struct request *r = &ex->request;
    bool namespaced = (r->kind->rules & SCHEMA_RULE_NAMESPACED) != 0;
    *l = (struct listing){.ex = ex, .selection = s, .page_rows = LISTING_FIRST_ROWS};
    buf_init(&l->prefix);
    buf_init(&l->from);
    arena_init(&l->scratch, 0);
    l->single = s->name.len > 0 && (!namespaced || r->space.len > 0);
    stored_key(r->type, r->space, l->single ? s->name : slice_of("", 0), &l->prefix);
    if (l->prefix.failed) {
        listing_close(l);
        exchange_no_memory(ex);
        return false;
    }
    return true;
}

/* Puts the key behind this one where the next page begins. */
static bool listing_set_from(struct listing *l, struct slice key, bool behind)
{
    buf_clear(&l->from);
    buf_append_slice(&l->from, key);
    if (behind) {
        buf_append_byte(&l->from, 0);
    }
    return !l->from.failed;
}

static void listing_fail(struct listing *l, struct status s)
{
    struct exchange *ex = l->ex;
    listing_close(l);
    exchange_fail(ex, s);
}

/* How many rows the next page is to have, after one of these. */
static int64_t listing_fit(const struct listing *l, const struct kvp_rows *rows)
{
    size_t wanted = listing_decodes(l) ? LISTING_DECODED_BYTES : LISTING_PLAIN_BYTES;
    size_t fit = rows->count * wanted / (l->page_bytes + 1);
    return fit > LISTING_PAGE_ROWS ? LISTING_PAGE_ROWS : (int64_t)fit + 1;
}

/* The rows of a page. False: stopped, answered. */
static bool listing_rows(struct listing *l, const struct kvp_rows *rows)
{
    l->began = true;
    l->page_bytes = 0;
    for (size_t i = 0; i < rows->count; i++) {
        l->page_bytes += rows->rows[i].value.len;
    }
    l->page_rows = listing_fit(l, rows);
    for (size_t i = 0; i < rows->count; i++) {
        const struct kvp_row *row = &rows->rows[i];
        struct slice value = slice_of_kvp(row->value);
        if (l->limit > 0 && l->count == l->limit) {
            l->more = true;
            return listing_set_from(l, slice_of_kvp(row->key), false);
        }
        arena_clear(&l->scratch);
        int match = selection_matches(l->selection, l->ex->request.type, value, &l->scratch);
        if (match > 0) {
            l->count++;
        }
        if (match < 0 ||
            (match > 0 && l->row(l, slice_of_kvp(row->key), value, row->mod_revision) != 0)) {
            listing_fail(l, status_internal(&l->ex->arena, "a stored object cannot be read: %.*s",
                                            (int)row->key.len, (const char *)row->key.data));
            return false;
        }
    }
    return true;
}

/* Begins anew when the store has come so far. */
static void listing_wait(struct listing *l, int64_t wanted, int64_t current)
{
    listing_close(l);
    wait_for_revision(l->ex, wanted, current, l->restart);
}

static void listing_answer(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct listing *l = data;
    struct exchange *ex = l->ex;
    if (ex->peer == NULL || l->over) {
        listing_close(l);
        exchange_back(ex);
        return;
    }
    if (r->outcome == KVP_REFUSED && r->reason == KVP_COMPACTED) {
        exchange_back(ex);
        l->compacted(l);
        return;
    }
    if (r->outcome == KVP_REFUSED && r->reason == KVP_FUTURE) {
        exchange_back(ex);
        listing_wait(l, l->revision, r->revision);
        return;
    }
    if (r->outcome != KVP_OK) {
        listing_close(l);
        exchange_back_well(ex, r);
        return;
    }
    exchange_back(ex);
    if (l->revision == 0 && r->revision < l->at_least) {
        listing_wait(l, l->at_least, r->revision);
        return;
    }
    l->revision = r->revision > l->revision ? r->revision : l->revision;
    if (!listing_rows(l, rows)) {
        return;
    }
    if (l->more || !rows->more) {
        l->done(l);
        return;
    }
    if (!listing_set_from(l, slice_of_kvp(rows->next), false)) {
        listing_fail(l, status_internal(&ex->arena, "out of memory"));
        return;
    }
    if (l->limit > 0 && l->count == l->limit) {
        l->more = true;
        l->done(l);
    } else if (l->page == NULL || l->page(l)) {
        listing_page(l);
    }
}

void listing_page(struct listing *l)
{
    struct exchange *ex = l->ex;
    struct kvp_range range = {
        .size = sizeof range,
        .flags = (l->single ? 0 : KVP_PREFIX) | (l->stale || l->began ? KVP_SERIALIZABLE : 0),
        .key = kvp_bytes_of(l->prefix.data, l->prefix.len),
        .from = kvp_bytes_of(l->from.data, l->from.len),
        .revision = l->revision,
        .limit = l->page_rows,
    };
    int64_t left = l->limit - l->count;
    if (l->limit > 0 && l->selection->all && left < range.limit) {
        range.limit = left;
    }
    exchange_call(ex);
    int reason = ex->api->host->range(ex->ctx, &range, listing_answer, l);
    if (reason != 0) {
        listing_close(l);
        exchange_not_called(ex, reason);
    }
}
