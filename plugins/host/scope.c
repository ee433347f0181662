/* scope.c - the parts of one context: registered, woken, closed.
 *
 * Waking: each part has at most one timer, armed for the earliest time it wants. When the host has
 * no memory for a timer the part is marked late, and the scope's pulse, a slow repeating timer made
 * with the first part, wakes it: so a failed allocation delays work but never loses it. */
#include "plugins/host/scope.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"

void scope_init(struct scope *s, struct kvp_ctx *ctx)
{
    s->ctx = ctx;
    s->pulse = NULL;
    s->ended = false;
    list_init(&s->open);
    list_init(&s->dead);
}

static struct scope_part *scope_late_part(struct scope *s)
{
    LIST_FOREACH (it, &s->open) {
        struct scope_part *p = LIST_ENTRY(it, struct scope_part, link);
        if (p->late) {
            return p;
        }
    }
    return NULL;
}

static void part_woken(struct scope_part *p)
{
    p->late = false;
    part_hold(p);
    p->kind->wake(p);
    part_release(p);
}

static void scope_pulse(void *data)
{
    struct scope *s = data;
    struct scope_part *late[16];
    size_t count = 0;
    /* What is still without a timer after its wake waits for the next pulse. */
    for (struct scope_part *p; count < 16 && (p = scope_late_part(s)) != NULL; count++) {
        p->late = false;
        part_hold(p);
        late[count] = p;
    }
    for (size_t i = 0; i < count; i++) {
        if (!late[i]->closed) {
            part_woken(late[i]);
        }
        part_release(late[i]);
    }
}

static int scope_start_pulse(struct scope *s)
{
    if (s->pulse != NULL) {
        return 0;
    }
    struct kvp_timer_args a = {.size = sizeof(a),
                               .after_ms = PLUGIN_PULSE_MS,
                               .repeat_ms = PLUGIN_PULSE_MS,
                               .fire = scope_pulse,
                               .data = s};
    return s->host->timer(s->ctx, &a, &s->pulse);
}

void scope_end(struct scope *s)
{
    s->ended = true;
    while (!list_empty(&s->open)) {
        struct scope_part *p = LIST_ENTRY(s->open.next, struct scope_part, link);
        p->ended = true;
        part_close(p);
    }
    if (s->pulse != NULL) {
        s->host->timer_cancel(s->pulse);
        s->pulse = NULL;
    }
}

void scope_settle(struct scope *s)
{
    for (struct list *it = s->dead.next; it != &s->dead;) {
        struct scope_part *p = LIST_ENTRY(it, struct scope_part, link);
        it = it->next;
        if (!p->cleared) {
            p->cleared = true;
            p->kind->clear(p);
        }
    }
}

void scope_close(struct scope *s)
{
    ASSERT(list_empty(&s->open));
    scope_settle(s);
    for (struct list *it; (it = list_pop_front(&s->dead)) != NULL;) {
        mem_free(LIST_ENTRY(it, struct scope_part, link));
    }
}

void *part_new(struct scope *s, const struct scope_kind *kind, size_t size, int *reason)
{
    *reason = s->ended ? KVP_STOPPED : s->enter(s->ctx);
    if (*reason == 0) {
        *reason = scope_start_pulse(s);
    }
    if (*reason != 0) {
        return NULL;
    }
    struct scope_part *p = mem_zalloc(size);
    if (p == NULL) {
        *reason = KVP_NO_MEMORY;
        return NULL;
    }
    p->scope = s;
    p->kind = kind;
    p->wake_at = UINT64_MAX;
    list_push_front(&s->open, &p->link);
    return p;
}

int part_enter(const struct scope_part *p, const char *call)
{
    struct scope *s = p->scope;
    if (p->closed) {
        if (s->misuse != NULL) {
            s->misuse(s->ctx, call);
        }
        return KVP_STOPPED;
    }
    return s->enter(s->ctx);
}

bool part_may_close(struct scope_part *p, const char *call)
{
    if (p->ended) {
        p->ended = false; /* a second time is a mistake */
        return false;
    }
    int reason = part_enter(p, call);
    return reason == 0 || (reason == KVP_STOPPED && !p->closed);
}

static void part_fired(void *data)
{
    struct scope_part *p = data;
    p->timer = NULL;
    p->wake_at = UINT64_MAX;
    part_woken(p);
}

void part_wake(struct scope_part *p, uint64_t at_ms)
{
    if (p->closed || at_ms >= p->wake_at) {
        return;
    }
    uint64_t now = part_now(p);
    struct kvp_timer_args a = {.size = sizeof(a),
                               .after_ms = at_ms > now ? at_ms - now : 0,
                               .fire = part_fired,
                               .data = p};
    struct kvp_timer *t;
    if (p->scope->host->timer(p->scope->ctx, &a, &t) != 0) {
        p->late = true;
        return;
    }
    if (p->timer != NULL) {
        p->scope->host->timer_cancel(p->timer);
    }
    p->timer = t;
    p->wake_at = at_ms;
}

void part_hold(struct scope_part *p)
{
    p->holds++;
}

void part_release(struct scope_part *p)
{
    ASSERT(p->holds > 0);
    p->holds--;
    if (p->holds > 0 || !p->closed || p->cleared) {
        return;
    }
    p->cleared = true;
    p->kind->clear(p);
    if (!p->scope->keep_dead) {
        list_remove(&p->link);
        mem_free(p);
    }
}

void part_close(struct scope_part *p)
{
    if (p->closed) {
        return;
    }
    p->closed = true;
    list_remove(&p->link);
    list_push_back(&p->scope->dead, &p->link);
    if (p->timer != NULL) {
        p->scope->host->timer_cancel(p->timer);
        p->timer = NULL;
    }
    part_hold(p);
    p->kind->close(p);
    part_release(p);
}
