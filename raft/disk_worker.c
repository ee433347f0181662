/* disk_worker.c - queue, thread, and the way back to the loop. */
#include "raft/disk_worker.h"

#include <signal.h>

#include "base/assert.h"
#include "base/err.h"

/* The work needs little stack; a default of 8 MiB would only grow the address space. */
#define DISK_WORKER_STACK_BYTES (256u * 1024u)

static void *disk_worker_run(void *arg)
{
    struct disk_worker *w = arg;
    pthread_setname_np(pthread_self(), "log-disk");
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->stop && list_empty(&w->queue)) {
            pthread_cond_wait(&w->change, &w->lock);
        }
        if (w->stop) {
            break;
        }
        struct disk_job *job = LIST_ENTRY(list_pop_front(&w->queue), struct disk_job, node);
        w->running = job;
        pthread_mutex_unlock(&w->lock);
        job->work(job);
        pthread_mutex_lock(&w->lock);
        w->running = NULL;
        list_push_back(&w->finished, &job->node);
        pthread_cond_broadcast(&w->change);
        uv_async_send(&w->async);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void disk_worker_on_async(uv_async_t *async)
{
    struct disk_worker *w = async->data;
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&w->lock);
    list_splice_back(&done, &w->finished);
    pthread_mutex_unlock(&w->lock);
    while (!list_empty(&done)) {
        struct disk_job *job = LIST_ENTRY(list_pop_front(&done), struct disk_job, node);
        if (--w->in_flight == 0) {
            uv_unref((uv_handle_t *)&w->async);
        }
        job->done(job);
    }
}

int disk_worker_init(struct disk_worker *w, uv_loop_t *loop)
{
    w->in_flight = 0;
    w->started = false;
    w->running = NULL;
    w->stop = false;
    list_init(&w->queue);
    list_init(&w->finished);
    if (uv_async_init(loop, &w->async, disk_worker_on_async) != 0) {
        return ERR_IO;
    }
    w->async.data = w;
    uv_unref((uv_handle_t *)&w->async);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->change, NULL);
    return 0;
}

static bool disk_worker_start(struct disk_worker *w)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t old;
    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    pthread_attr_setstacksize(&attr, DISK_WORKER_STACK_BYTES);
    /* Signals are for the main thread's loop. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    w->started = pthread_create(&w->thread, &attr, disk_worker_run, w) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return w->started;
}

void disk_worker_submit(struct disk_worker *w, struct disk_job *job)
{
    bool runs = w->started || disk_worker_start(w);
    job->err = runs ? 0 : ERR_NO_SPACE;
    if (w->in_flight++ == 0) {
        uv_ref((uv_handle_t *)&w->async);
    }
    pthread_mutex_lock(&w->lock);
    list_push_back(runs ? &w->queue : &w->finished, &job->node);
    pthread_cond_broadcast(&w->change);
    pthread_mutex_unlock(&w->lock);
    if (!runs) {
        uv_async_send(&w->async);
    }
}

static bool disk_worker_take(struct list *from, struct disk_job *job)
{
    LIST_FOREACH (it, from) {
        if (it == &job->node) {
            list_remove(it);
            return true;
        }
    }
    return false;
}

bool disk_worker_forget(struct disk_worker *w, struct disk_job *job, bool *ran)
{
    pthread_mutex_lock(&w->lock);
    bool found = disk_worker_take(&w->queue, job);
    *ran = false;
    if (!found) {
        while (w->running == job) {
            pthread_cond_wait(&w->change, &w->lock);
        }
        found = disk_worker_take(&w->finished, job);
        *ran = found && w->started;
    }
    pthread_mutex_unlock(&w->lock);
    if (found && --w->in_flight == 0) {
        uv_unref((uv_handle_t *)&w->async);
    }
    return found;
}

static void disk_worker_on_closed(uv_handle_t *handle)
{
    struct disk_worker *w = handle->data;
    w->closed(w);
}

void disk_worker_close(struct disk_worker *w, void (*closed)(struct disk_worker *w))
{
    FATAL_IF(w->in_flight > 0, "the disk is closed with operations under way");
    if (w->started) {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_broadcast(&w->change);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->change);
    w->closed = closed;
    uv_close((uv_handle_t *)&w->async, disk_worker_on_closed);
}
