/* origin.c - who wrote a version of a key. */
#include "base/err.h"
#include "kv/kv.h"
#include "kv/mvcc.h"
#include "kv/state.h"

static int origin_read(struct store_view *view, struct slice key, int64_t revision, struct buf *out)
{
    const struct store_point *point = store_view_point(view);
    struct mvcc_reader reader;
    struct version version;
    struct record record;
    if (revision > point->revision) {
        return ERR_FUTURE_REV;
    }
    mvcc_reader_init(&reader, view);
    int found =
        mvcc_find(&reader, key, (struct rev){.main = revision, .sub = REV_SUB_MAX}, &version);
    int err = found < 0 ? -found : 0;
    bool compacted = revision <= point->compact_revision;
    if (found == 0 || (found > 0 && version.rev.main != revision)) {
        err = compacted ? ERR_COMPACTED : ERR_NOT_FOUND;
    } else if (err == 0) {
        err = mvcc_record(view, version.rev, &record);
        /* Compaction drops rows piece by piece: the record may be gone before its index row. */
        err = err == ERR_DAMAGED && compacted ? ERR_COMPACTED : err;
    }
    if (err == 0 && !buf_append_slice(out, record.origin)) {
        err = ERR_NOMEM;
    }
    mvcc_reader_close(&reader);
    return err;
}

int kv_origin(struct kv *kv, struct slice key, int64_t revision, struct buf *out)
{
    struct store_view *view;
    if (key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    int err = store_view_open(kv->store, &view);
    if (err == 0) {
        err = origin_read(view, key, revision, out);
        store_view_close(view);
    }
    return err;
}
