/* range_sort.c - ordering the rows of a range, in slices.
 *
 * Ties keep key order in both directions (contract K-11), hence the place as the last criterion. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "kv/range.h"

static int compare_target(const struct range_plan *plan, const struct range_ref *a,
                          const struct range_ref *b)
{
    if (plan->target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE) {
        return slice_cmp(slice_of(a->by.bytes, a->len), slice_of(b->by.bytes, b->len));
    }
    return a->by.number < b->by.number ? -1 : a->by.number > b->by.number;
}

int range_ref_cmp(const struct range_plan *plan, const struct range_ref *a,
                  const struct range_ref *b)
{
    int order = compare_target(plan, a, b);
    if (order != 0) {
        return plan->descending ? -order : order;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static void swap(struct range_ref *a, struct range_ref *b)
{
    struct range_ref t = *a;
    *a = *b;
    *b = t;
}

static void sift_down(const struct range_plan *plan, struct range_ref *refs, size_t len)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= len) {
            return;
        }
        if (child + 1 < len && range_ref_cmp(plan, &refs[child + 1], &refs[child]) > 0) {
            child++;
        }
        if (range_ref_cmp(plan, &refs[child], &refs[at]) <= 0) {
            return;
        }
        swap(&refs[child], &refs[at]);
        at = child;
    }
}

static void sift_up(const struct range_plan *plan, struct range_ref *refs, size_t at)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (range_ref_cmp(plan, &refs[at], &refs[parent]) <= 0) {
            return;
        }
        swap(&refs[at], &refs[parent]);
        at = parent;
    }
}

static bool range_refs_push(struct kv_range *r, const struct range_ref *ref)
{
    if (r->ref_count == r->ref_cap) {
        size_t cap = r->ref_cap == 0 ? 64 : r->ref_cap * 2;
        struct range_ref *refs = mem_realloc(r->refs, cap * sizeof(*refs));
        if (refs == NULL) {
            return false;
        }
        r->refs = refs;
        r->ref_cap = cap;
    }
    r->refs[r->ref_count++] = *ref;
    return true;
}

bool range_heap_offer(struct kv_range *r, const struct range_ref *ref)
{
    int64_t limit = r->plan.limit;
    bool bounded = r->plan.sorted && !r->plan.limit_first && limit > 0 &&
                   limit <= (int64_t)RANGE_HEAP_ROWS_MAX;
    if (!bounded) {
        return range_refs_push(r, ref);
    }
    if (r->ref_count < (size_t)limit) {
        if (!range_refs_push(r, ref)) {
            return false;
        }
        sift_up(&r->plan, r->refs, r->ref_count - 1);
    } else if (range_ref_cmp(&r->plan, ref, &r->refs[0]) < 0) {
        r->refs[0] = *ref;
        sift_down(&r->plan, r->refs, r->ref_count);
    }
    return true;
}

/* Begins merging the pair of runs at s->low. */
static void begin_pair(struct range_sort *s)
{
    s->left = s->low;
    s->right = s->low + s->width < s->len ? s->low + s->width : s->len;
    s->out = s->low;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

enum kv_progress range_sort_step(struct kv_range *r, uint32_t *budget, int *err)
{
    struct range_sort *s = &r->sort;
    if (s->width == 0) {
        s->len = r->ref_count;
        s->width = 1;
        s->from = r->refs;
        r->refs = NULL; /* range_close frees whatever is where */
        s->to = s->len > 1 ? mem_alloc(s->len * sizeof(*s->to)) : NULL;
        if (s->len > 1 && s->to == NULL) {
            *err = ERR_NOMEM;
            return KV_DONE;
        }
        begin_pair(s);
    }
    while (s->width < s->len) {
        size_t middle = min_size(s->low + s->width, s->len);
        size_t high = min_size(s->low + 2 * s->width, s->len);
        while (s->out < high) {
            if (*budget == 0) {
                return KV_MORE;
            }
            (*budget)--;
            bool left = s->left < middle &&
                        (s->right >= high ||
                         range_ref_cmp(&r->plan, &s->from[s->left], &s->from[s->right]) <= 0);
            s->to[s->out++] = s->from[left ? s->left++ : s->right++];
        }
        s->low = high;
        if (s->low >= s->len) {
            struct range_ref *t = s->from;
            s->from = s->to;
            s->to = t;
            s->width *= 2;
            s->low = 0;
        }
        begin_pair(s);
    }
    r->refs = s->from;
    s->from = NULL;
    mem_free(s->to);
    s->to = NULL;
    return KV_DONE;
}
