/* scope.h - what one plugin context has open: caches, queues, controllers ("parts").
 *
 * A part is made by its own file (cache.h, queue.h, controller.h) and registered here, so that the
 * end of a context closes all of them. Parts stand on the calls of the ABI alone (range, watch,
 * timer, put, alloc, ...), given as a table and a context: the real host and the authors' test
 * library run the same code. All of it belongs to the plugin's lane; nothing here is thread-safe.
 *
 * A part ends in two steps. Closed: it gives no more callbacks and asks for nothing. Freed: when in
 * addition none of its callbacks is on the stack and no request of it is under way (`holds`).
 *
 * The owner of a context:
 *   scope_init    when the context begins
 *   scope_end     when it ends: closes all parts, newest first
 *                 (then the owner answers all requests under way, as the ABI promises)
 *   scope_settle  when every request has been answered: frees what parts still hold
 *   scope_close   when nobody can know a part any more: frees their shells. On any thread */
#ifndef KVD_PLUGINS_HOST_SCOPE_H
#define KVD_PLUGINS_HOST_SCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "include/kvplugin.h"

struct meter;

struct scope {
    const struct kvp_host *host; /* the calls parts make; may lack cache_*, queue_*, controller* */
    struct kvp_ctx *ctx;         /* the context they make them with */
    /* 0, or the reason why this thread may not call now (WRONG_THREAD, STOPPED). Not NULL. */
    int (*enter)(struct kvp_ctx *ctx);
    /* Told about calls on parts that are closed already. NULL: such calls are only refused. */
    void (*misuse)(struct kvp_ctx *ctx, const char *call);
    /* Keeps the shells of closed parts until scope_close, so that misuse can be told. */
    bool keep_dead;
    /* Where queues of that name count (NULL: of the plugin's). May be NULL, and answer it. */
    struct meter *(*meter)(struct kvp_ctx *ctx, const char *name);
    /* inside */
    struct list open; /* struct scope_part.link, newest first */
    struct list dead; /* closed, not freed yet */
    struct kvp_timer *pulse;
    bool ended;
};

struct scope_part;
struct scope_kind {
    void (*close)(struct scope_part *p); /* unwatch, tell others; p->closed is set */
    void (*clear)(struct scope_part *p); /* free everything but p itself */
    void (*wake)(struct scope_part *p);  /* part_wake's time has come */
};

/* The first member of every part. */
struct scope_part {
    struct list link;
    struct scope *scope;
    const struct scope_kind *kind;
    struct kvp_timer *timer;
    uint64_t wake_at; /* of timer; UINT64_MAX = none */
    uint32_t holds;
    bool closed;
    bool cleared;
    bool late;  /* no timer could be made: the pulse wakes it */
    bool ended; /* closed by the end of its context, and not by its owner yet */
};

/* host, enter, misuse, keep_dead are set by the caller before. Allocates nothing. */
void scope_init(struct scope *s, struct kvp_ctx *ctx);
void scope_end(struct scope *s);
void scope_settle(struct scope *s);
void scope_close(struct scope *s);

/* ---- for parts ----------------------------------------------------------------------------- */

/* A zeroed part of `size` bytes, registered. The shell is the host's memory, not the plugin's: it
 * may outlive what the plugin is asked to account for. NULL: *reason says why (the context's enter,
 * or NO_MEMORY). */
void *part_new(struct scope *s, const struct scope_kind *kind, size_t size, int *reason);
/* 0 when `call` may be made on p now; else the reason to return. */
int part_enter(const struct scope_part *p, const char *call);
/* May `call` close p now? Also while its context is about to end: what is closed calls back no
 * more, so whoever closed it may free what its callbacks use. Once the context has ended there is
 * nothing left to close, and nothing wrong with it. */
bool part_may_close(struct scope_part *p, const char *call);
/* kind->wake runs at this time (now_ms's clock) or earlier, in a callback of its own. Cannot fail:
 * without memory for a timer it runs at the next pulse (PLUGIN_PULSE_MS). */
void part_wake(struct scope_part *p, uint64_t at_ms);
void part_hold(struct scope_part *p);
void part_release(struct scope_part *p); /* may free p */
/* Harmless when closed. p may be gone when it returns. */
void part_close(struct scope_part *p);

static inline void *part_alloc(const struct scope_part *p, size_t size)
{
    return p->scope->host->alloc(p->scope->ctx, size);
}
static inline void part_free(const struct scope_part *p, void *memory)
{
    p->scope->host->release(p->scope->ctx, memory);
}
static inline uint64_t part_now(const struct scope_part *p)
{
    return p->scope->host->now_ms(p->scope->ctx);
}

static inline struct slice slice_of_kvp(struct kvp_bytes b)
{
    return slice_of(b.data, b.len);
}
static inline struct kvp_bytes kvp_of_slice(struct slice s)
{
    return kvp_bytes_of(s.data, s.len);
}

#endif
