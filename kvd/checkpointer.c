/* checkpointer.c - the loop of the checkpoint thread and its mailbox. */
#include "kvd/checkpointer.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "kvd/node_metrics.h"

/* Pauses between attempts on a full disk. */
#define RETRY_MS_MIN 500u
#define RETRY_MS_MAX 8000u
/* Memory is given back after so long without work: quiet is longer than the usual time between two
 * checkpoints. A server that is never quiet gets it in a shorter pause, but seldom: the reads after
 * it fault their pages in again. */
#define TRIM_QUIET_MS    6000u
#define TRIM_PAUSE_MS    2000u
#define TRIM_INTERVAL_NS 60000000000ull
/* A defragmentation waits so long for compactions in progress. */
#define DEFRAGMENT_PATIENCE_NS 10000000000ull

struct checkpointer {
    struct kv *kv;
    struct checkpointer_events events;
    uv_async_t async;
    pthread_t thread;
    void (*stopped)(void *data);
    void *stopped_data;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under lock */
    bool work;
    bool stop;
    bool defragment;
    uint64_t defragment_ns; /* asked for then */
    bool busy;
    bool ended;    /* the thread is about to return */
    bool progress; /* events not yet delivered */
    bool full;
    bool full_told; /* store loop: last state delivered */
    bool defragmented;
    int defragment_err;
    int fatal;
};

/* ---- the thread --------------------------------------------------------------------------------
 */

static void post(struct checkpointer *c)
{
    uv_async_send(&c->async);
}

/* Sleeps until there is work or, if pause_ms > 0, until the pause is over. patient: work does not
 * end the pause, because it has just failed. Returns false to stop. */
static bool wait_for_work(struct checkpointer *c, uint64_t pause_ms, bool patient, bool *work)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(pause_ms / 1000);
    until.tv_nsec += (long)(pause_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&c->lock);
    c->busy = false;
    while (!c->stop) {
        if (!patient && (c->work || c->defragment)) {
            break;
        }
        if (pause_ms == 0) {
            pthread_cond_wait(&c->wake, &c->lock);
        } else if (pthread_cond_timedwait(&c->wake, &c->lock, &until) != 0) {
            break; /* the pause is over */
        }
    }
    bool go_on = !c->stop;
    *work = c->work || c->defragment;
    c->work = false;
    c->busy = go_on;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

/* Fulfils the wish for a defragmentation, if there is one. Compactions under way go first, because
 * they make the room that is to be given back; `busy` asks not to wait for them too long. */
static void defragment_if_asked(struct checkpointer *c, bool busy)
{
    uint64_t start = clock_mono_ns();
    pthread_mutex_lock(&c->lock);
    bool asked = c->defragment && (!busy || start - c->defragment_ns > DEFRAGMENT_PATIENCE_NS);
    if (asked) {
        c->defragment = false;
    }
    pthread_mutex_unlock(&c->lock);
    if (!asked) {
        return;
    }
    node_metrics_defragment_began();
    int err = store_defragment(kv_store(c->kv));
    node_metrics_defragmented(clock_mono_ns() - start);
    pthread_mutex_lock(&c->lock);
    c->defragmented = true;
    c->defragment_err = err;
    pthread_mutex_unlock(&c->lock);
    post(c);
}

/* Steps until nothing is left or one fails. Returns 0 or the error. */
static int take_steps(struct checkpointer *c)
{
    enum kv_progress progress;
    do {
        int err = 0;
        uint64_t start = clock_mono_ns();
        progress = kv_checkpoint_step(c->kv, &err);
        if (err != 0) {
            return err;
        }
        node_metrics_checkpointed(clock_mono_ns() - start);
        pthread_mutex_lock(&c->lock);
        c->progress = true;
        c->full = store_reserve_short(kv_store(c->kv)); /* written, but into the last room */
        bool stop = c->stop;
        pthread_mutex_unlock(&c->lock);
        post(c);
        if (stop) {
            return 0;
        }
        defragment_if_asked(c, true);
    } while (progress == KV_MORE);
    return 0;
}

/* How long to sleep when the disk is not full: for ever, or until memory could be given back. */
static uint64_t idle_pause_ms(const struct checkpointer *c, uint64_t trimmed_ns)
{
    if (!store_trim_worthwhile(kv_store(c->kv))) {
        return 0;
    }
    return clock_mono_ns() - trimmed_ns < TRIM_INTERVAL_NS ? TRIM_QUIET_MS : TRIM_PAUSE_MS;
}

static void *checkpointer_main(void *data)
{
    struct checkpointer *c = data;
    uint64_t pause_ms = 0;
    uint64_t trimmed_ns = 0; /* never yet; a process starts with a young clock only at boot */
    bool refused = false;
    bool full = false;
    bool work;
    pthread_setname_np(pthread_self(), "kvd-checkpoint");
    while (wait_for_work(c, pause_ms, refused, &work)) {
        if (!work && !full) {
            /* A view may be open (ERR_BUSY): another pause. What else fails has been logged. */
            if (store_trim(kv_store(c->kv)) != ERR_BUSY) {
                trimmed_ns = clock_mono_ns();
            }
            pause_ms = idle_pause_ms(c, trimmed_ns);
            continue;
        }
        int err = take_steps(c);
        if (err == 0) {
            defragment_if_asked(c, false);
        }
        refused = err == ERR_NO_SPACE;
        full = refused || (err == 0 && !store_restore_reserve(kv_store(c->kv)));
        pthread_mutex_lock(&c->lock);
        c->full = full;
        c->fatal = refused ? 0 : err;
        pthread_mutex_unlock(&c->lock);
        post(c);
        if (err != 0 && !refused) {
            break;
        }
        if (!full) {
            pause_ms = idle_pause_ms(c, trimmed_ns);
            continue;
        }
        pause_ms = pause_ms == 0 ? RETRY_MS_MIN : pause_ms * 2;
        pause_ms = pause_ms > RETRY_MS_MAX ? RETRY_MS_MAX : pause_ms;
    }
    pthread_mutex_lock(&c->lock);
    c->ended = true;
    c->busy = false;
    pthread_mutex_unlock(&c->lock);
    post(c);
    return NULL;
}

/* ---- the store loop ----------------------------------------------------------------------------
 */

static void on_closed(uv_handle_t *handle)
{
    struct checkpointer *c = handle->data;
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    void (*cb)(void *) = c->stopped;
    void *data = c->stopped_data;
    mem_free(c);
    cb(data);
}

static void on_async(uv_async_t *async)
{
    struct checkpointer *c = async->data;
    pthread_mutex_lock(&c->lock);
    bool progress = c->progress;
    bool full = c->full;
    bool defragmented = c->defragmented;
    int defragment_err = c->defragment_err;
    int fatal = c->fatal;
    bool ended = c->ended;
    bool stop = c->stop;
    c->progress = c->defragmented = false;
    c->fatal = 0;
    pthread_mutex_unlock(&c->lock);
    if (progress && !stop) {
        c->events.progress(c->events.data);
    }
    if (full != c->full_told && !stop) {
        c->full_told = full;
        c->events.full(c->events.data, full);
    }
    if (defragmented && !stop) {
        c->events.defragmented(c->events.data, defragment_err);
    }
    if (fatal != 0 && !stop) {
        c->events.fatal(c->events.data, fatal);
    }
    if (ended && stop && !uv_is_closing((uv_handle_t *)async)) {
        pthread_join(c->thread, NULL);
        uv_close((uv_handle_t *)async, on_closed);
    }
}

static void nothing(void *data)
{
    (void)data;
}

int checkpointer_start(uv_loop_t *loop, struct kv *kv, const struct checkpointer_events *events,
                       struct checkpointer **out, struct errmsg *e)
{
    struct checkpointer *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return errmsg_set(e, ERR_NOMEM, "checkpoint thread: out of memory");
    }
    c->kv = kv;
    c->events = *events;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int rv = uv_async_init(loop, &c->async, on_async);
    if (rv != 0) {
        rv = errmsg_set(e, ERR_IO, "checkpoint thread: %s", uv_strerror(rv));
        goto err_after_cond;
    }
    c->async.data = c;
    rv = pthread_create(&c->thread, NULL, checkpointer_main, c);
    if (rv != 0) {
        /* The async handle is on the loop already: it is closed there, and c with it. */
        c->stopped = nothing;
        c->stopped_data = NULL;
        uv_close((uv_handle_t *)&c->async, on_closed);
        return errmsg_set(e, ERR_IO, "checkpoint thread: %s", strerror(rv));
    }
    *out = c;
    return 0;

err_after_cond:
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
    return rv;
}

void checkpointer_wake(struct checkpointer *c)
{
    pthread_mutex_lock(&c->lock);
    c->work = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

void checkpointer_defragment(struct checkpointer *c)
{
    pthread_mutex_lock(&c->lock);
    if (!c->defragment) {
        c->defragment = true;
        c->defragment_ns = clock_mono_ns();
    }
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

bool checkpointer_busy(struct checkpointer *c)
{
    pthread_mutex_lock(&c->lock);
    bool busy = c->busy || c->work;
    pthread_mutex_unlock(&c->lock);
    return busy;
}

void checkpointer_stop(struct checkpointer *c, void (*cb)(void *data), void *data)
{
    c->stopped = cb;
    c->stopped_data = data;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    uv_async_send(&c->async); /* also when the thread ended before */
}
