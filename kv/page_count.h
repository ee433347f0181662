/* page_count.h - how many keys lie behind a page.
 *
 * An answer cut by its limit still tells the count of the whole range (etcd does), so a client that
 * lists in pages makes every page walk all that is left. But it asks for its pages at one revision,
 * where nothing changes any more: the count of a page is the one before less the rows sent. A few
 * of these are remembered; whoever asks for the page behind one need not walk. */
#ifndef KVD_KV_PAGE_COUNT_H
#define KVD_KV_PAGE_COUNT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define PAGE_COUNTS_MAX 32u
/* Longer bounds are not remembered. */
#define PAGE_COUNT_KEY_BYTES_MAX 1024u
/* Fewer keys are walked faster than looked up. */
#define PAGE_COUNT_ROWS_MIN 1000

struct page_count {
    uint8_t *bytes; /* first key that is counted, then the range's end; NULL = empty */
    uint32_t start_len;
    uint32_t end_len;
    int64_t revision;
    int64_t count;
    uint64_t used; /* page_counts.uses then */
};

struct page_counts {
    pthread_mutex_t lock; /* guards all below */
    uint64_t uses;
    struct page_count slots[PAGE_COUNTS_MAX];
};

void page_counts_init(struct page_counts *p);
void page_counts_close(struct page_counts *p);
/* Forgets all. Any thread, as the two below. */
void page_counts_clear(struct page_counts *p);
/* At `revision`, `count` keys lie behind the key `last` and before `end` (as RangeRequest writes
 * it). Silently not remembered when it is not worth it, too long, or out of memory. */
void page_counts_keep(struct page_counts *p, int64_t revision, struct slice last, struct slice end,
                      int64_t count);
/* Is the number of keys from `start` on known? */
bool page_counts_find(struct page_counts *p, int64_t revision, struct slice start, struct slice end,
                      int64_t *count);

#endif
