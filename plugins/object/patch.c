/* patch.c - from object to tree and back, and the merge patch. */
#include "plugins/object/patch.h"

#include "plugins/object/encode.h"

/* A patch's value for a key the document lacks: without its nulls. */
static int patch_without_nulls(const struct value *patch, struct arena *arena, struct value *out)
{
    if (patch->kind != VALUE_MAP) {
        return value_copy_shared(arena, patch, out);
    }
    *out = value_empty(VALUE_MAP);
    for (size_t i = 0; i < patch->len; i++) {
        const struct value *v = value_map_at(patch, i);
        struct value copy;
        if (v->kind == VALUE_NULL) {
            continue;
        }
        int rc = patch_without_nulls(v, arena, &copy);
        if (rc != 0) {
            return rc;
        }
        if (value_map_set(arena, out, value_map_key(patch, i), copy) == NULL) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

void patch_drop(struct value *at)
{
    if (at != NULL) {
        at->kind = VALUE_GONE;
    }
}

int patch_finish_map(struct value *doc, const struct value *added, struct arena *arena)
{
    value_map_sweep(doc);
    return value_map_add(arena, doc, added);
}

int patch_apply_merge(struct value *doc, const struct value *patch, struct arena *arena,
                      struct errmsg *e)
{
    if (patch->kind != VALUE_MAP || doc->kind != VALUE_MAP) {
        return patch_without_nulls(patch, arena, doc);
    }
    struct value added = value_empty(VALUE_MAP);
    for (size_t i = 0; i < patch->len; i++) {
        struct slice key = value_map_key(patch, i);
        const struct value *v = value_map_at(patch, i);
        struct value *at = value_map_get(doc, key);
        int rc = 0;
        if (v->kind == VALUE_NULL) {
            patch_drop(at);
        } else if (at != NULL) {
            rc = patch_apply_merge(at, v, arena, e);
        } else {
            struct value copy;
            rc = patch_without_nulls(v, arena, &copy);
            if (rc == 0 && value_map_push(arena, &added, key, copy) == NULL) {
                rc = ERR_NOMEM;
            }
        }
        if (rc != 0) {
            return rc;
        }
    }
    return patch_finish_map(doc, &added, arena);
}

static int patch_apply(const struct schema_type *type, enum patch_kind kind, struct value *doc,
                       const struct value *patch, struct arena *arena, struct errmsg *e)
{
    if (kind == PATCH_JSON) {
        return patch_apply_json(doc, patch, arena, e);
    }
    if (patch->kind != VALUE_MAP) {
        return errmsg_set(e, ERR_INVALID,
                          "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                          patch->kind == VALUE_LIST   ? "array"
                          : patch->kind == VALUE_TEXT ? "string"
                          : patch->kind == VALUE_BOOL ? "bool"
                          : patch->kind == VALUE_NULL ? "null"
                                                      : "number");
    }
    return kind == PATCH_MERGE ? patch_apply_merge(doc, patch, arena, e)
                               : patch_apply_strategic(type, doc, patch, arena, e);
}

int object_patch(const struct object *current, enum patch_kind kind, struct slice patch,
                 struct arena *arena, struct object *out, struct decode_report *report,
                 struct errmsg *e)
{
    struct value doc;
    struct value change;
    struct decode_report twins;
    struct buf json;
    buf_init(&json);
    int rc = decode_json(patch, NULL, arena, &change, report == NULL ? NULL : &twins, e);
    if (rc != 0) {
        goto out;
    }
    object_encode(current, &json);
    rc = json.failed ? ERR_NOMEM : decode_json(buf_slice(&json), NULL, arena, &doc, NULL, e);
    rc = rc == 0 ? patch_apply(current->type, kind, &doc, &change, arena, e) : rc;
    if (rc != 0) {
        goto out;
    }
    buf_clear(&json);
    encode_json(NULL, &doc, &json);
    rc = json.failed ? ERR_NOMEM
                     : object_decode(out, current->type, arena, buf_slice(&json), report, e);
    rc = rc == ERR_INVALID ? ERR_REFUSED : rc;
    /* Keys given twice in the patch come first, then what the result has too much. */
    if (rc == 0 && report != NULL && twins.count > 0) {
        struct decode_report unknown = *report;
        *report = twins;
        for (size_t i = 0; i < unknown.count && rc == 0; i++) {
            rc = decode_report_add(report, arena, unknown.texts[i]);
        }
    }
out:
    buf_close(&json);
    return rc == ERR_NOMEM ? errmsg_set(e, rc, "out of memory") : rc;
}
