/* patch.h - the three patches: JSON patch (RFC 6902), merge patch (RFC 7396), strategic merge
 * patch.
 *
 * They work on untyped trees, the form an object's JSON has; the strategic one asks the schema how
 * lists merge. The result decodes like a request, so a patch is as strict as a write. */
#ifndef KVD_OBJECT_PATCH_H
#define KVD_OBJECT_PATCH_H

#include "plugins/object/object.h"

/* Operations of one JSON patch, and bytes its copies may add, as Kubernetes bounds them. */
#define PATCH_OPERATIONS_MAX 10000u
#define PATCH_COPY_BYTES_MAX (3u * 1024u * 1024u)
/* Items compared while lists of one strategic patch merge: lists of some thousand items. */
#define PATCH_COMPARISONS_MAX 100000000u
/* Items that make place while a JSON patch changes lists and maps, and bytes that it moves. */
#define PATCH_MOVES_MAX 32000000u

enum patch_kind { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC };

/* Applies a patch to an object; *out is a new object in the arena (texts may be shared with the
 * current one, which is unchanged). report as in decode_json.
 * Returns 0; ERR_INVALID: the patch is not what it should be (400); ERR_REFUSED: what came out of
 * it is no object of that type (422);
 * ERR_NOT_FOUND: a JSON patch that does not apply, or whose test failed (422);
 * ERR_REQUEST_TOO_LARGE: too many operations or too much copied (413); ERR_TOO_DEEP; ERR_NOMEM.
 * e has the sentence. */
int object_patch(const struct object *current, enum patch_kind kind, struct slice patch,
                 struct arena *arena, struct object *out, struct decode_report *report,
                 struct errmsg *e);

/* What a merge does to a map all at once, since each pair by itself would move all behind it: pairs
 * that go are marked (at NULL: there is none), those that come are pushed to a map of their own.
 * Then both is done to the document. 0 or ERR_NOMEM. */
void patch_drop(struct value *at);
int patch_finish_map(struct value *doc, const struct value *added, struct arena *arena);

/* The parts, on untyped trees; doc is changed in place, on failure it is half-way. patch is not
 * changed, its texts are shared. */
int patch_apply_json(struct value *doc, const struct value *patch, struct arena *arena,
                     struct errmsg *e);
int patch_apply_merge(struct value *doc, const struct value *patch, struct arena *arena,
                      struct errmsg *e);
/* type is doc's; NULL where nothing is known of it. */
int patch_apply_strategic(const struct schema_type *type, struct value *doc,
                          const struct value *patch, struct arena *arena, struct errmsg *e);

#endif
