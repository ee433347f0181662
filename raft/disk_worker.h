/* disk_worker.h - one thread that does blocking disk work for a loop, in order.
 *
 * The thread is started by the first job, so a process that never needs one does not have it. A job
 * is embedded by its owner and belongs to the thread from disk_worker_submit to `done`, which runs
 * on the loop thread, never inside submit. */
#ifndef KVD_RAFT_DISK_WORKER_H
#define KVD_RAFT_DISK_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include <uv.h>

#include "base/list.h"

struct disk_job {
    struct list node;
    void (*work)(struct disk_job *job); /* worker thread */
    void (*done)(struct disk_job *job); /* loop thread; the job is the owner's again */
    int err;                            /* for work to set; ERR_NO_SPACE when there is no thread */
};

struct disk_worker {
    uv_async_t async; /* loop thread, but for uv_async_send */
    unsigned in_flight;
    bool started;
    pthread_t thread;
    void (*closed)(struct disk_worker *w);

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t change;
    struct list queue;
    struct list finished;
    struct disk_job *running;
    bool stop;
};

/* 0 or ERR_IO. */
int disk_worker_init(struct disk_worker *w, uv_loop_t *loop);
void disk_worker_submit(struct disk_worker *w, struct disk_job *job);
/* Takes a job back without `done`: one not begun never runs, one that runs is waited for. False
 * when the worker does not have it. *ran: it has run. */
bool disk_worker_forget(struct disk_worker *w, struct disk_job *job, bool *ran);
/* No job may be in flight. Ends the thread (joined here: it is idle); closed when the handle is. */
void disk_worker_close(struct disk_worker *w, void (*closed)(struct disk_worker *w));

#endif
