/* range_page.c - a range read page by page: rows are found and encoded in one walk, and what lies
 * behind the page is not counted. */
#include "base/err.h"
#include "base/limits.h"
#include "kv/range.h"
#include "proto/codec.h"

/* Up to here an answer grows by doubling; then it gets all the room at once that the page seems to
 * need: copying it again and again would cost as much as reading the rows. */
#define RANGE_PAGE_SMALL_BYTES (32u * 1024u)

/* Room for a row of so many bytes, or for those that may follow, too. */
static bool page_reserve(const struct kv_range *r, size_t size, size_t bytes, struct buf *out)
{
    size_t more = size + RANGE_PAGE_TRAILER_BYTES;
    if (out->len >= RANGE_PAGE_SMALL_BYTES && out->len + more > out->cap) {
        size_t room = bytes > out->len ? bytes - out->len : 0;
        if (r->plan.limit > 0) {
            size_t rows = (size_t)(r->plan.limit - r->kept);
            size_t rest = out->len / (size_t)r->kept * rows;
            rest += rest / 8;
            room = rest < room ? rest : room;
        }
        more += room;
    }
    return buf_reserve(out, more);
}

int kv_range_page(struct kv_range *r, size_t bytes, struct buf *out)
{
    uint32_t budget = SLICE_ROWS_MAX;
    if (r->plan.by_ref || r->plan.count_only) {
        return ERR_UNIMPLEMENTED;
    }
    for (;;) {
        if (!r->looked) {
            int found = budget == 0 ? 2 : mvcc_iter_next(&r->iter, &budget);
            if (found < 0) {
                return -found;
            }
            if (found == 2) {
                return ERR_AGAIN;
            }
            if (found == 0) {
                return range_trailer(r, out) ? 0 : ERR_NOMEM;
            }
            r->looked = true;
        }
        size_t size = range_row_size(&r->plan, r->iter.key, &r->iter.version);
        if ((r->plan.limit > 0 && r->kept >= r->plan.limit) ||
            (r->kept > 0 && out->len + size > bytes)) {
            return wire_put_uint(out, 3, 1) ? 0 : ERR_NOMEM;
        }
        if (!page_reserve(r, size, bytes, out)) {
            return ERR_NOMEM;
        }
        int err = range_row_append(r, r->iter.key, &r->iter.version, out);
        if (err != 0) {
            return err;
        }
        r->looked = false;
        r->kept++;
        r->count++;
        range_spend(&budget, size);
    }
}
