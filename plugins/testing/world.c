/* world.c - the clock, the tasks, and a plugin's life: init, start, stop, reload, fini. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hashmap.h"
#include "include/kvplugin-test.h"
#include "plugins/host/options.h"
#include "plugins/testing/world.h"

/* Bits of a task's key below the millisecond: the order among equals. */
#define ORDER_BITS 20

/* The clock's start: not 0, which plugins use for "never". */
#define CLOCK_START_MS 1000

#define RETRY_MS_MIN 1000
#define RETRY_MS_MAX 300000

struct world *world;

/* The seed of the next world; 0 = from the environment, else 1. */
static uint64_t world_next_seed;
/* What the next world arms at once: t_for_each_alloc. */
static uint64_t world_next_alloc;
static bool world_last_alloc_hit;

/* ---- tasks --------------------------------------------------------------------------------- */

uint64_t chance_below(uint64_t below)
{
    return rand_below(&world->dice, below);
}

void task_at(struct task *t, uint64_t at_ms)
{
    uint64_t left = quiet_begin();
    uint64_t order = chance_below(1u << ORDER_BITS);
    bool set = heap_set(&world->tasks, &t->node, (int64_t)(at_ms << ORDER_BITS | order));
    FATAL_IF(!set, "out of memory");
    quiet_end(left);
}

void task_soon(struct task *t)
{
    task_at(t, world->now_ms + chance_below(4));
}

void task_cancel(struct task *t)
{
    heap_remove(&world->tasks, &t->node);
}

bool task_is_set(const struct task *t)
{
    return t->node.at != 0;
}

static bool task_run_next(uint64_t until_ms)
{
    struct heap_node *n = heap_min(&world->tasks);
    if (n == NULL || (uint64_t)n->key >> ORDER_BITS > until_ms) {
        return false;
    }
    heap_remove(&world->tasks, n);
    uint64_t at = (uint64_t)n->key >> ORDER_BITS;
    world->now_ms = at > world->now_ms ? at : world->now_ms;
    struct task *t = LIST_ENTRY(n, struct task, node);
    t->run(t);
    misuse_tell();
    posts_take();
    return true;
}

void callback_begin(void)
{
    if (world->depth++ == 0) {
        mem_fail_after(world->alloc_left);
    }
}

void callback_end(void)
{
    if (--world->depth == 0) {
        world->alloc_left = mem_fail_left();
        mem_fail_after(0);
    }
}

static void world_may_move(const char *what)
{
    world_need(what);
    if (world->client_txn) {
        fail_test(world->file, world->line, "%s between t_txn_begin and t_txn_end", what);
    }
}

void t_advance(uint64_t ms)
{
    world_may_move("t_advance");
    uint64_t until = world->now_ms + ms;
    posts_take();
    while (task_run_next(until)) {
    }
    world->now_ms = until;
}

int t_step(void)
{
    world_may_move("t_step");
    posts_take();
    return task_run_next(UINT64_MAX >> ORDER_BITS);
}

uint64_t t_now(void)
{
    return world_need("t_now")->now_ms;
}

uint64_t t_seed(void)
{
    return world_need("t_seed")->seed;
}

uint64_t t_random(uint64_t below)
{
    world_need("t_random");
    return below == 0 ? 0 : chance_below(below);
}

int t_fail_alloc(uint64_t n)
{
    world_need("t_fail_alloc");
    int hit = world->alloc_armed && world->alloc_left == 0;
    world->alloc_armed = n != 0;
    world->alloc_left = n;
    return hit;
}

/* ---- opened and closed --------------------------------------------------------------------- */

static uint64_t world_env_seed(void)
{
    const char *text = getenv("KVP_TEST_SEED");
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static void world_new(const char *file, int line, const struct kvp_plugin *plugin,
                      const char *options)
{
    struct world *w = mem_xzalloc(sizeof(*w));
    world = w; /* one that was left by a longjmp is lost */
    w->seed = world_env_seed() != 0 ? world_env_seed() : world_next_seed;
    w->seed = w->seed != 0 ? w->seed : 1;
    rand_init(&w->dice, w->seed);
    hash_seed(w->seed);
    w->now_ms = CLOCK_START_MS;
    w->thread = pthread_self();
    pthread_mutex_init(&w->lock, NULL);
    w->file = file;
    w->line = line;
    w->plugin = plugin;
    w->options = mem_strdup(options != NULL ? options : "");
    w->alloc_left = world_next_alloc;
    w->alloc_armed = world_next_alloc != 0;
    w->next_lease = 1000;
    w->next_port = 40000;
    heap_init(&w->tasks);
    store_init(&w->store);
    list_init(&w->contexts);
    list_init(&w->leases);
    list_init(&w->faults);
    list_init(&w->graves);
    list_init(&w->blocks);
    list_init(&w->metrics);
    list_init(&w->lines);
    list_init(&w->listeners);
    list_init(&w->routes);
    list_init(&w->exchanges);
    list_init(&w->objects);
    list_init(&w->providers);
    list_init(&w->test_providers);
    call_names_clear();
}

static void list_free_all(struct list *head)
{
    for (struct list *it; (it = list_pop_front(head)) != NULL;) {
        mem_free(it);
    }
}

static void world_free(void)
{
    struct world *w = world;
    world_last_alloc_hit = w->alloc_armed && w->alloc_left == 0;
    leases_clear();
    list_free_all(&w->faults); /* their link comes first, too */
    list_free_all(&w->graves);
    block_free_all();
    lines_clear();
    store_close(&w->store);
    objects_forget_providers();
    heap_close(&w->tasks);
    mem_free(w->options);
    mem_free(w->text);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
    world = NULL;
}

/* The configuration of w->plugin, as kvd reads it. */
static int world_read_options(const char *text, void **conf, struct kvp_errmsg *e)
{
    struct errmsg why = {""};
    *conf = NULL;
    int err = options_check(world->plugin, &why);
    if (err == 0) {
        err = options_parse(world->plugin, text != NULL ? text : "", conf, &why);
    }
    snprintf(e->text, sizeof(e->text), "%s", why.text);
    return err != 0 ? KVP_INVALID : 0;
}

/* init; 0 or its refusal in e. */
static int world_init_plugin(struct kvp_errmsg *e)
{
    struct world *w = world;
    if (world_read_options(w->options, &w->conf, e) != 0) {
        return KVP_INVALID;
    }
    w->instance = ctx_new(false);
    w->in_init = true;
    w->self = NULL;
    callback_begin();
    int status = w->plugin->init(w->instance, &t_host, w->plugin->conf_size > 0 ? w->conf : NULL,
                                 &w->self, e);
    callback_end();
    w->in_init = false;
    w->opened = status == 0;
    return status;
}

/* Ends what a failed or finished instance has left, and looks for leaks. */
static void world_end_instance(void)
{
    struct world *w = world;
    http_end();
    objects_end_provided();
    if (w->instance != NULL && !w->instance->stopped) {
        ctx_end(w->instance);
    }
    if (w->opened && w->plugin->fini != NULL) {
        callback_begin();
        w->plugin->fini(w->self);
        callback_end();
    }
    w->opened = false;
    w->self = NULL;
    w->instance = NULL;
    misuse_tell();
    while (!list_empty(&w->contexts)) {
        ctx_free(LIST_ENTRY(w->contexts.next, struct kvp_ctx, link));
    }
    blocks_check();
    http_clear();
    objects_clear();
    metrics_clear();
    mem_free(w->conf);
    w->conf = NULL;
}

static int world_descriptor_check(const struct kvp_plugin *p, struct kvp_errmsg *e)
{
    if (p == NULL || p->init == NULL || p->name == NULL || p->abi_major != KVP_ABI_MAJOR ||
        p->abi_minor > KVP_ABI_MINOR) {
        snprintf(e->text, sizeof(e->text),
                 "the descriptor has no name or init, or asks for another ABI than %u.%u",
                 KVP_ABI_MAJOR, KVP_ABI_MINOR);
        return KVP_INVALID;
    }
    return 0;
}

static int world_open(struct kvp_errmsg *e)
{
    int status = world_descriptor_check(world->plugin, e);
    if (status == 0) {
        status = world_init_plugin(e);
    }
    if (status != 0) {
        world_end_instance();
    }
    return status;
}

/* A refusal is a failure unless a failed allocation explains it. */
static int world_opened(const char *file, int line, int status, const struct kvp_errmsg *e)
{
    if (status != 0 && !(world->alloc_armed && world->alloc_left == 0) && world->chaos == 0) {
        fail_test(file, line, "%s: init was refused: %s",
                  world->plugin != NULL && world->plugin->name != NULL ? world->plugin->name : "?",
                  e->text);
    }
    return status;
}

int t_open_at(const char *file, int line, const struct kvp_plugin *plugin, const char *options)
{
    struct kvp_errmsg e = {""};
    world_new(file, line, plugin, options);
    return world_opened(file, line, world_open(&e), &e);
}

void t_open_refused_at(const char *file, int line, const struct kvp_plugin *plugin,
                       const char *options, const char *part)
{
    struct kvp_errmsg e = {""};
    world_new(file, line, plugin, options);
    if (world_open(&e) == 0) {
        fail_test(file, line, "%s: init was expected to refuse", plugin->name);
        world_end_instance();
    } else if (strstr(e.text, part) == NULL) {
        fail_test(file, line, "the refusal is \"%s\", expected \"%s\" in it", e.text, part);
    }
    world_free();
}

static void world_stop(int32_t reason)
{
    struct world *w = world;
    task_cancel(&w->failed);
    ctx_end(w->leading);
    w->leading = NULL;
    w->started = false;
    if (w->plugin->stop != NULL) {
        callback_begin();
        w->plugin->stop(w->self, reason);
        callback_end();
    }
}

static void world_shut(void)
{
    task_cancel(&world->retry);
    task_cancel(&world->failed);
    if (world->started) {
        world_stop(KVP_STOPPED);
    }
    world->leads = false;
    world_end_instance();
}

void t_close_at(const char *file, int line)
{
    world_need("t_close");
    world->file = file;
    world->line = line;
    world_shut();
    world_free();
}

int t_reopen_at(const char *file, int line)
{
    struct kvp_errmsg e = {""};
    world_need("t_reopen");
    world->file = file;
    world->line = line;
    world_shut();
    world->elsewhere = false;
    return world_opened(file, line, world_open(&e), &e);
}

/* ---- leading ------------------------------------------------------------------------------- */

static void world_start(void);

static void world_retry_task(struct task *t)
{
    (void)t;
    world_start();
}

static void world_start_later(void)
{
    world->retry.run = world_retry_task;
    task_at(&world->retry, world->now_ms + world->retry_ms);
    world->retry_ms = world->retry_ms * 2 < RETRY_MS_MAX ? world->retry_ms * 2 : RETRY_MS_MAX;
}

static void world_start(void)
{
    struct world *w = world;
    if (!w->leads || w->started || !w->opened) {
        return;
    }
    w->epoch++;
    w->leading = ctx_new(true);
    w->leading->term = w->term;
    w->leading->epoch = w->epoch;
    int status = 0;
    if (w->plugin->start != NULL) {
        callback_begin();
        status = w->plugin->start(w->self, w->leading, w->term);
        callback_end();
    }
    if (status != 0) {
        world_stop(KVP_INTERNAL);
        world_start_later();
    } else {
        w->started = true;
    }
}

void t_lead(uint64_t term)
{
    world_may_move("t_lead");
    if (world->leads || term <= world->term) {
        fail_test(world->file, world->line,
                  "t_lead(%llu): this member leads already, or had that term",
                  (unsigned long long)term);
        return;
    }
    world->leads = true;
    world->elsewhere = false;
    world->term = term;
    world->retry_ms = RETRY_MS_MIN;
    world_start();
}

/* Of the writes on their way some happened while this member still led. */
static void world_last_writes(void)
{
    struct kvp_ctx *ctx = world->leading;
    for (struct list *it = ctx->calls.next; it != &ctx->calls;) {
        struct call *c = LIST_ENTRY(it, struct call, link);
        it = it->next;
        if (!c->effected && !c->held && task_is_set(&c->task) && chance_below(2) == 0) {
            task_cancel(&c->task);
            c->task.run(&c->task);
        }
    }
}

void t_depose(void)
{
    world_may_move("t_depose");
    if (!world->leads) {
        fail_test(world->file, world->line, "t_depose: this member does not lead");
        return;
    }
    world->leads = false;
    task_cancel(&world->retry);
    if (world->started) {
        world_last_writes();
        if (!world->elsewhere) {
            world->epoch++;
        }
        world_stop(KVP_NOT_LEADER);
    }
    world->elsewhere = true;
}

void t_lead_elsewhere(void)
{
    world_may_move("t_lead_elsewhere");
    world->epoch++;
    world->elsewhere = true;
}

void t_change_leader(void)
{
    if (t_is_leader()) {
        t_depose();
    } else {
        t_lead(world->term + 1);
    }
}

int t_is_leader(void)
{
    return world_need("t_is_leader")->leads;
}

int t_leading(void)
{
    return world_need("t_leading")->started;
}

static void world_failed_task(struct task *t)
{
    (void)t;
    if (world->started) {
        world_stop(KVP_INTERNAL);
        world_start_later();
    }
}

void t_call_fail(struct kvp_ctx *ctx, const char *why)
{
    if (ctx_enter(ctx, "fail") != 0) {
        return;
    }
    line_count('l', why);
    /* The host stops the term, whichever of the two contexts told it. */
    world->failed.run = world_failed_task;
    task_at(&world->failed, world->now_ms);
}

/* ---- reload -------------------------------------------------------------------------------- */

int t_reload(const char *options)
{
    struct kvp_errmsg e = {""};
    world_may_move("t_reload");
    const struct kvp_plugin *p = world->plugin;
    void *conf;
    int status = world_read_options(options, &conf, &e);
    if (status != 0) {
        return status;
    }
    if (p->reload == NULL || options_fixed_change(p, world->conf, conf) != NULL) {
        mem_free(conf);
        return KVP_INVALID;
    }
    callback_begin();
    status = p->reload(world->self, conf, &e);
    callback_end();
    mem_free(status == 0 ? world->conf : conf);
    world->conf = status == 0 ? conf : world->conf;
    return status;
}

/* ---- many runs ----------------------------------------------------------------------------- */

void t_for_each_seed(unsigned count, void (*story)(void))
{
    if (world_env_seed() != 0) {
        count = 1;
    }
    for (unsigned i = 1; i <= count; i++) {
        world_next_seed = i;
        story();
    }
    world_next_seed = 0;
}

unsigned t_for_each_alloc(void (*story)(void))
{
    unsigned n = 0;
    do {
        n++;
        world_next_alloc = n;
        world_last_alloc_hit = false;
        story();
    } while (world_last_alloc_hit);
    world_next_alloc = 0;
    return n - 1;
}
