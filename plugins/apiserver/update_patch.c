/* update_patch.c - PATCH: what it has, what it makes of an object, and what is said when it makes
 * none. */
#include "plugins/apiserver/update.h"

#include "plugins/apiserver/body.h"
#include "plugins/apiserver/media.h"

#define UPDATE_SHOWN_BYTES 1024u /* of a patch, in a refusal */

bool update_read_patch(struct update *u)
{
    struct exchange *ex = u->ex;
    u->patch = true;
    switch (media_body(ex->content_type)) {
    case MEDIA_BODY_JSON_PATCH:
        u->patch_kind = PATCH_JSON;
        return true;
    case MEDIA_BODY_MERGE_PATCH:
        u->patch_kind = PATCH_MERGE;
        return true;
    case MEDIA_BODY_STRATEGIC_PATCH:
        u->patch_kind = PATCH_STRATEGIC;
        return true;
    default:
        exchange_fail(ex, status_unsupported_media(&ex->arena, MEDIA_PATCHES));
        return false;
    }
}

/* A copy may double the object each time; its name may be written with escapes. */
bool update_patch_grows(const struct update *u)
{
    static const char copy[] = "copy";
    const struct buf *b = &u->ex->body;
    return u->patch && u->patch_kind == PATCH_JSON && b->len > 0 &&
           (memmem(b->data, b->len, copy, sizeof copy - 1) != NULL ||
            memchr(b->data, '\\', b->len) != NULL);
}

/* What a patch that fails means. */
static void update_patch_failed(struct exchange *ex, int rc, const struct errmsg *e)
{
    switch (rc) {
    case ERR_NOMEM:
        exchange_no_memory(ex);
        break;
    case ERR_NOT_FOUND:
        exchange_fail(ex, status_unprocessable());
        break;
    case ERR_REQUEST_TOO_LARGE:
        exchange_fail(ex, status_too_large(&ex->arena, "%s", e->text));
        break;
    default:
        exchange_fail(ex, status_bad_request(&ex->arena, "%s", e->text));
    }
}

/* What a patch makes of the object is none. */
static void update_refuse_patch(struct exchange *ex, const char *why)
{
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    struct slice shown = buf_slice(&ex->body);
    if (c == NULL) {
        exchange_no_memory(ex);
        return;
    }
    shown.len = shown.len < UPDATE_SHOWN_BYTES ? shown.len : UPDATE_SHOWN_BYTES;
    causes_init(c, &ex->arena);
    cause_invalid_text(c, PLACE_FIELD(NULL, "patch"), shown, "%s", why);
    exchange_fail(ex,
                  status_invalid(&ex->arena, slice_of("", 0), slice_of("", 0), slice_of("", 0), c));
}

bool update_patch(struct update *u, const struct object *old, struct object *new)
{
    struct exchange *ex = u->ex;
    struct errmsg e = {.text = ""};
    struct decode_report report = {0};
    int rc = object_patch(old, u->patch_kind, buf_slice(&ex->body), &ex->arena, new, &report, &e);
    if (rc == ERR_REFUSED) {
        update_refuse_patch(ex, e.text);
        return false;
    }
    if (rc != 0) {
        update_patch_failed(ex, rc, &e);
        return false;
    }
    if (report.count > 0 && slice_eq(ex->query.validation, slice_str("Strict"))) {
        struct buf b;
        buf_init(&b);
        decode_report_text(&report, &b);
        buf_append_byte(&b, 0);
        update_refuse_patch(ex, b.failed ? "strict decoding error" : (const char *)b.data);
        buf_close(&b);
        return false;
    }
    /* Once: what a patch says too much it says again at every try. */
    return u->tries > 0 || body_report(ex, &report);
}
