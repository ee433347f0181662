/* memory.c - the plugin's memory: counted, numbered, checked for leaks. */
#include <string.h>

#include "plugins/testing/world.h"

#define BLOCK_LIVE 0x6b76705f6c697665ull
#define BLOCK_DEAD 0x6b76705f64656164ull

struct block {
    struct list link; /* in world.blocks */
    uint64_t mark;
    size_t size;
    uint64_t number; /* of this allocation since t_open */
    struct kvp_ctx *ctx;
    _Alignas(16) uint8_t data[];
};

void *quiet_zalloc(size_t size)
{
    uint64_t left = quiet_begin();
    void *p = mem_xzalloc(size);
    quiet_end(left);
    return p;
}

void *quiet_dup(const void *data, size_t len)
{
    char *p = quiet_zalloc(len + 1);
    if (len > 0) {
        memcpy(p, data, len);
    }
    return p;
}

void *block_alloc(struct kvp_ctx *ctx, size_t size)
{
    struct block *b = mem_alloc(sizeof(*b) + size);
    if (b == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&world->lock);
    *b = (struct block){
        .mark = BLOCK_LIVE, .size = size, .number = ++world->block_count, .ctx = ctx};
    list_push_back(&world->blocks, &b->link);
    pthread_mutex_unlock(&world->lock);
    memset(b->data, 0xa5, size);
    return b->data;
}

void *block_dup(struct kvp_ctx *ctx, struct kvp_bytes bytes)
{
    uint8_t *p = block_alloc(ctx, bytes.len + 1);
    if (p != NULL) {
        if (bytes.len > 0) {
            memcpy(p, bytes.data, bytes.len);
        }
        p[bytes.len] = '\0';
    }
    return p;
}

void block_release(struct kvp_ctx *ctx, void *memory)
{
    (void)ctx;
    if (memory == NULL) {
        return;
    }
    struct block *b = LIST_ENTRY(memory, struct block, data);
    if (b->mark != BLOCK_LIVE) {
        misuse("release of memory that alloc or dup did not give, or that was released before");
        return;
    }
    pthread_mutex_lock(&world->lock);
    list_remove(&b->link);
    pthread_mutex_unlock(&world->lock);
    b->mark = BLOCK_DEAD;
    memset(b->data, 0xdd, b->size);
    mem_free(b);
}

void blocks_check(void)
{
    size_t count = 0;
    size_t bytes = 0;
    uint64_t first = 0;
    LIST_FOREACH (it, &world->blocks) {
        struct block *b = LIST_ENTRY(it, struct block, link);
        first = count == 0 ? b->number : first;
        bytes += b->size;
        count++;
    }
    if (count > 0) {
        fail_test(world->file, world->line,
                  "%s: memory was not released: %zu allocations of %zu bytes in all, the first is "
                  "allocation %llu",
                  world->plugin->name, count, bytes, (unsigned long long)first);
    }
}

void block_free_all(void)
{
    for (struct list *it; (it = list_pop_front(&world->blocks)) != NULL;) {
        mem_free(LIST_ENTRY(it, struct block, link));
    }
}
