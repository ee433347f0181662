/* work.c - timers, posts and offloaded work of the test host, all in virtual time. */
#include "plugins/testing/world.h"

/* ---- timers -------------------------------------------------------------------------------- */

struct kvp_timer {
    struct list link; /* first: in kvp_ctx.timers, then among the graves */
    struct task task;
    struct kvp_timer_args args;
    bool over;
    bool firing;
    bool canceled; /* while it fires */
};

static void timer_over(struct kvp_timer *t)
{
    t->over = true;
    task_cancel(&t->task);
    list_remove(&t->link);
    list_push_back(&world->graves, &t->link);
}

static void timer_set(struct kvp_timer *t, uint64_t ms)
{
    uint64_t more = ms * t->args.jitter_percent / 100;
    task_at(&t->task, world->now_ms + ms + (more > 0 ? chance_below(more + 1) : 0));
}

static void timer_task(struct task *task)
{
    struct kvp_timer *t = LIST_ENTRY(task, struct kvp_timer, task);
    t->firing = true;
    callback_begin();
    t->args.fire(t->args.data);
    callback_end();
    t->firing = false;
    if (t->args.repeat_ms == 0 || t->canceled) {
        timer_over(t);
    } else {
        timer_set(t, t->args.repeat_ms);
    }
}

int t_call_timer(struct kvp_ctx *ctx, const struct kvp_timer_args *a, struct kvp_timer **out)
{
    if (a == NULL || a->size == 0 || a->fire == NULL || a->jitter_percent > 100) {
        misuse("timer: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    int reason = call_simple(ctx, "timer");
    if (reason != 0) {
        return reason;
    }
    struct kvp_timer *t = mem_zalloc(sizeof(*t));
    if (t == NULL) {
        return KVP_NO_MEMORY;
    }
    t->args = *a;
    t->task.run = timer_task;
    list_push_back(&ctx->timers, &t->link);
    timer_set(t, a->after_ms);
    if (out != NULL) {
        *out = t;
    }
    return 0;
}

void t_call_timer_cancel(struct kvp_timer *t)
{
    if (t == NULL) {
        return;
    }
    if (t->over || t->canceled) {
        misuse("timer_cancel of a timer that is over");
        return;
    }
    if (t->firing) {
        t->canceled = true;
        return;
    }
    timer_over(t);
}

void timers_end(struct kvp_ctx *ctx)
{
    while (!list_empty(&ctx->timers)) {
        timer_over(LIST_ENTRY(ctx->timers.next, struct kvp_timer, link));
    }
}

/* ---- post: any thread ---------------------------------------------------------------------- */

struct post {
    struct list link; /* in kvp_ctx.posts */
    void (*fn)(void *data);
    void *data;
};

static bool post_run_one(struct kvp_ctx *ctx)
{
    pthread_mutex_lock(&world->lock);
    struct list *it = list_pop_front(&ctx->posts);
    pthread_mutex_unlock(&world->lock);
    if (it == NULL) {
        return false;
    }
    struct post *p = LIST_ENTRY(it, struct post, link);
    callback_begin();
    p->fn(p->data);
    callback_end();
    mem_free(p);
    return true;
}

static void post_task(struct task *t)
{
    post_run_one(LIST_ENTRY(t, struct kvp_ctx, post_task));
}

/* Posts of other threads have no task: they are found when the test lets time pass. */
void posts_take(void)
{
    LIST_FOREACH (it, &world->contexts) {
        struct kvp_ctx *ctx = LIST_ENTRY(it, struct kvp_ctx, link);
        pthread_mutex_lock(&world->lock);
        bool any = !list_empty(&ctx->posts);
        pthread_mutex_unlock(&world->lock);
        if (any && !task_is_set(&ctx->post_task)) {
            ctx->post_task.run = post_task;
            task_soon(&ctx->post_task);
        }
    }
}

int t_call_post(struct kvp_ctx *ctx, void (*fn)(void *data), void *data)
{
    if (fn == NULL) {
        misuse("post: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    bool own = pthread_equal(pthread_self(), world->thread);
    int32_t drawn = 0;
    if (own && call_fault(call_name_find("post"), &drawn) == FAULT_CALL) {
        return drawn;
    }
    struct post *p = mem_alloc(sizeof(*p));
    if (p == NULL) {
        return KVP_NO_MEMORY;
    }
    *p = (struct post){.fn = fn, .data = data};
    pthread_mutex_lock(&world->lock);
    bool stopped = ctx->stopped;
    if (!stopped) {
        list_push_back(&ctx->posts, &p->link);
    }
    pthread_mutex_unlock(&world->lock);
    if (stopped) {
        mem_free(p);
        return KVP_STOPPED;
    }
    if (own) {
        posts_take();
    }
    return 0;
}

/* ---- offload ------------------------------------------------------------------------------- */

struct work {
    struct list link; /* in kvp_ctx.works */
    struct task task;
    struct kvp_ctx *ctx;
    bool worked;
    void (*work)(void *data);
    void (*done)(void *data, int canceled);
    void *data;
};

static void work_finish(struct work *w)
{
    list_remove(&w->link);
    call_name_find("offload")->in_flight--;
    if (w->done != NULL) {
        callback_begin();
        w->done(w->data, !w->worked);
        callback_end();
    }
    mem_free(w);
}

static void work_done_task(struct task *t)
{
    work_finish(LIST_ENTRY(t, struct work, task));
}

static void work_task(struct task *t)
{
    struct work *w = LIST_ENTRY(t, struct work, task);
    w->worked = true;
    world->working = true;
    callback_begin();
    w->work(w->data);
    callback_end();
    world->working = false;
    w->task.run = work_done_task;
    task_soon(&w->task);
}

int t_call_offload(struct kvp_ctx *ctx, void (*work)(void *data),
                   void (*done)(void *data, int canceled), void *data)
{
    if (work == NULL) {
        misuse("offload: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    int reason = call_simple(ctx, "offload");
    if (reason != 0) {
        return reason;
    }
    struct work *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return KVP_NO_MEMORY;
    }
    w->ctx = ctx;
    w->work = work;
    w->done = done;
    w->data = data;
    w->task.run = work_task;
    list_push_back(&ctx->works, &w->link);
    struct call_name *n = call_name_find("offload");
    n->in_flight++;
    if (!n->held) {
        task_soon(&w->task);
    }
    return 0;
}

void works_end(struct kvp_ctx *ctx)
{
    while (post_run_one(ctx)) {
    }
    task_cancel(&ctx->post_task);
    while (!list_empty(&ctx->works)) {
        struct work *w = LIST_ENTRY(ctx->works.next, struct work, link);
        task_cancel(&w->task);
        work_finish(w);
    }
}

void works_release(void)
{
    LIST_FOREACH (it, &world->contexts) {
        LIST_FOREACH (at, &LIST_ENTRY(it, struct kvp_ctx, link)->works) {
            struct work *w = LIST_ENTRY(at, struct work, link);
            if (!task_is_set(&w->task)) {
                task_soon(&w->task);
            }
        }
    }
}
