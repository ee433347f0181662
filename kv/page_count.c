/* page_count.c - a small table, the least recently used entry goes. */
#include "kv/page_count.h"

#include <string.h>

#include "base/alloc.h"

void page_counts_init(struct page_counts *p)
{
    *p = (struct page_counts){.uses = 0};
    pthread_mutex_init(&p->lock, NULL);
}

void page_counts_clear(struct page_counts *p)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < PAGE_COUNTS_MAX; i++) {
        mem_free(p->slots[i].bytes);
        p->slots[i] = (struct page_count){.bytes = NULL};
    }
    pthread_mutex_unlock(&p->lock);
}

void page_counts_close(struct page_counts *p)
{
    page_counts_clear(p);
    pthread_mutex_destroy(&p->lock);
}

static struct page_count *find(struct page_counts *p, int64_t revision, struct slice start,
                               struct slice end)
{
    for (size_t i = 0; i < PAGE_COUNTS_MAX; i++) {
        struct page_count *c = &p->slots[i];
        if (c->bytes != NULL && c->revision == revision && c->start_len == start.len &&
            c->end_len == end.len && memcmp(c->bytes, start.data, start.len) == 0 &&
            memcmp(c->bytes + start.len, end.data, end.len) == 0) {
            return c;
        }
    }
    return NULL;
}

void page_counts_keep(struct page_counts *p, int64_t revision, struct slice last, struct slice end,
                      int64_t count)
{
    if (count < PAGE_COUNT_ROWS_MIN || end.len == 0 || last.len > PAGE_COUNT_KEY_BYTES_MAX ||
        end.len > PAGE_COUNT_KEY_BYTES_MAX) {
        return;
    }
    size_t start_len = last.len + 1; /* the next key there could be: last and a zero byte */
    uint8_t *bytes = mem_alloc(start_len + end.len);
    if (bytes == NULL) {
        return;
    }
    memcpy(bytes, last.data, last.len);
    bytes[last.len] = 0;
    memcpy(bytes + start_len, end.data, end.len);
    pthread_mutex_lock(&p->lock);
    struct page_count *slot = find(p, revision, slice_of(bytes, start_len), end);
    if (slot == NULL) {
        slot = &p->slots[0]; /* an empty one has used == 0 */
        for (size_t i = 1; i < PAGE_COUNTS_MAX; i++) {
            slot = p->slots[i].used < slot->used ? &p->slots[i] : slot;
        }
    }
    mem_free(slot->bytes);
    *slot = (struct page_count){.bytes = bytes,
                                .start_len = (uint32_t)start_len,
                                .end_len = (uint32_t)end.len,
                                .revision = revision,
                                .count = count,
                                .used = ++p->uses};
    pthread_mutex_unlock(&p->lock);
}

bool page_counts_find(struct page_counts *p, int64_t revision, struct slice start, struct slice end,
                      int64_t *count)
{
    pthread_mutex_lock(&p->lock);
    struct page_count *c = find(p, revision, start, end);
    if (c != NULL) {
        c->used = ++p->uses;
        *count = c->count;
    }
    pthread_mutex_unlock(&p->lock);
    return c != NULL;
}
