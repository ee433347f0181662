/* lane.h - where callbacks run: a mailbox and timers, driven by a loop, a thread or a test.
 *
 * A lane runs messages and timers one after the other. Anybody may post; a message is a struct
 * embedded by its owner, so posting allocates nothing and cannot fail. Messages of one poster run
 * in the order they were posted. The store loop has a lane ("home"), each plugin has one; two lanes
 * meet only by posting to each other. What a lane needs of the world is a struct lane_driver:
 *   lane_open_loop    a given uv loop (home; plugins on the store loop)
 *   lane_open_thread  a thread of its own with a uv loop (the default of plugins)
 *   lane_open_manual  nothing: the test or simulator calls lane_run and moves the clock
 * Except lane_post, lane_now and lane_wall_us everything is for the lane's own thread.
 *
 * A lane with a thread can be lent to a loop's lane, its helper (lane_lend). To wake a sleeping
 * thread and to be woken by it costs more than most messages do; so what is said to be quick
 * (lane_post_quick) and posted by the helper's own thread is run by the helper in its next turn,
 * unless the thread is at work already. What is not quick, or too much for the helper's share of a
 * turn, is left to the thread, in order. Only one of the two is ever inside the lane. */
#ifndef KVD_PLUGINS_HOST_LANE_H
#define KVD_PLUGINS_HOST_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/rand.h"
#include "base/wake.h"

/* Belongs to the lane from lane_post until run begins; run may free or post it again. */
struct lane_msg {
    struct lane_msg *next;
    void (*run)(struct lane_msg *m);
    bool quick; /* set by lane_post and its like */
};

/* Embedded, zero-initialised; must not move or be freed while set. */
struct lane_timer {
    struct heap_node node;
    void (*fire)(struct lane_timer *t); /* not set any more when it runs */
    uint32_t round;                     /* of the lane, when it was set */
};
static inline bool lane_timer_is_set(const struct lane_timer *t)
{
    return t->node.at != 0;
}

struct lane;

/* How a lane is driven. */
struct lane_driver {
    void (*wake)(struct lane *l);                /* any thread, no lock: call lane_turn soon */
    void (*arm)(struct lane *l, uint64_t at_ms); /* call lane_turn then; UINT64_MAX = never */
    uint64_t (*now_ms)(struct lane *l);          /* any thread */
    uint64_t (*wall_us)(struct lane *l);         /* any thread */
    void (*roll)(struct lane *l, void *out, size_t len);
    void (*close)(struct lane *l); /* calls lane_closed when nothing is left */
};

struct lane {
    const struct lane_driver *driver;
    pthread_mutex_t lock; /* guards the next six */
    struct lane_msg *first;
    struct lane_msg *last;
    bool waking;        /* the driver or the helper was told, and nobody has looked yet */
    bool running;       /* a turn is under way: it looks again before it ends */
    bool missed;        /* the thread came while the helper was inside, and is to come again */
    bool guest;         /* the helper is inside; its thread may read it without the lock */
    atomic_uint wakers; /* posters that are telling the driver: the lane stays until they have */
    struct heap timers;
    uint32_t round;   /* of firing timers */
    atomic_bool dead; /* abandoned: posts are dropped */
    bool closing;
    struct lane_msg closer;
    void (*on_closed)(void *data);
    void *closed_data;
    /* lane_lend.c */
    struct lane *helper;         /* NULL = not lent; helper's thread */
    struct list help_link;       /* in helper->to_help */
    struct list to_help;         /* of a helper: lanes with quick messages */
    bool rearm;                  /* while guest: a timer became the first one */
    atomic_uint_fast64_t helped; /* messages run by the helper so far */
    /* loop and thread */
    pthread_t owner; /* of a loop that was there */
    bool owned;      /* owner is set */
    uv_loop_t *loop;
    struct wake mail;
    uv_timer_t timer;
    uint64_t armed_ms; /* when timer fires; UINT64_MAX = never */
    uv_idle_t idle;
    int handles;
    uv_thread_t thread;
    uv_loop_t own_loop;
    struct lane *home; /* thread: told when the thread is through, to join it */
    struct lane_msg joined;
    char name[16];
    /* manual */
    bool woken;
    uint64_t clock_ms;
    struct rand dice;
};

/* l is the caller's memory and must not move. 0 or ERR_NOMEM, ERR_IO with a sentence. */
int lane_open_loop(struct lane *l, uv_loop_t *loop, struct errmsg *e);
/* Starts the thread, named `name` (15 bytes are shown). home: where lane_close's callback runs. */
int lane_open_thread(struct lane *l, struct lane *home, const char *name, struct errmsg *e);
/* seed: of lane_dice. The clock starts at 1,000 ms. */
void lane_open_manual(struct lane *l, uint64_t seed);

/* Any thread, until lane_close was called. */
void lane_post(struct lane *l, struct lane_msg *m);
/* The same for what is certainly done within some hundred microseconds: see lane_lend. */
void lane_post_quick(struct lane *l, struct lane_msg *m);
/* The same for what can wait: it runs with the next message that wakes the lane, or timer, in its
 * order. true: nothing is about to wake it; call lane_nudge in a while. */
bool lane_post_quietly(struct lane *l, struct lane_msg *m);
void lane_nudge(struct lane *l);
uint64_t lane_now(struct lane *l);     /* monotonic milliseconds */
uint64_t lane_wall_us(struct lane *l); /* since 1970 */
void lane_dice(struct lane *l, void *out, size_t len);
/* Sets or moves; false when out of memory (as before then). */
bool lane_timer_set(struct lane *l, struct lane_timer *t, uint64_t at_ms);
void lane_timer_cancel(struct lane *l, struct lane_timer *t); /* harmless when not set */

/* Lends l, which has a thread, to `helper`, a lane of a loop; on the helper's thread, which l's
 * home must be. Ends with the lane. */
void lane_lend(struct lane *l, struct lane *helper);

/* Ends the lane after what is posted by now has run; timers still set are forgotten. cb comes once:
 * on `home` for a thread lane (any lane may call), else on the lane itself; l may be freed in it.
 */
void lane_close(struct lane *l, void (*cb)(void *data), void *data);

/* What is posted from now on, by whomever, is dropped. For the end of a process that cannot wait
 * for a callback; only lane_close may follow, of a lane on the calling thread. */
void lane_abandon(struct lane *l);

/* Manual lanes: runs what is posted and due now. true = something ran. */
bool lane_run(struct lane *l);
/* Never back. */
void lane_set_clock(struct lane *l, uint64_t now_ms);
/* The next timer's time, UINT64_MAX when there is none. */
uint64_t lane_next_ms(const struct lane *l);

/* For lane_turn and lane_help. Enters, with all that is in the mailbox, unless somebody is inside.
 * guest: the helper. */
bool lane_enter(struct lane *l, bool guest, struct lane_msg **out);
/* Leaves; rest: what did not run; help: a helper has time for more. true = more waits, and a guest
 * has told the thread or its own next round. */
bool lane_leave(struct lane *l, struct lane_msg *rest, bool help);
/* For drivers of helpers: runs quick messages of the lanes that wait for it, for about
 * LANE_HELP_US_MAX. true = some ran. */
bool lane_help(struct lane *helper);
/* For lane.c, under l's lock, when nobody is inside or told: true = the helper will come and was
 * told. */
bool lane_ask_helper(struct lane *l);
/* For lane.c: l ends. */
void lane_lend_end(struct lane *l);
/* Is this the thread of the loop that the lane was opened on? */
static inline bool lane_is_here(const struct lane *l)
{
    return l->owned && pthread_equal(l->owner, pthread_self()) != 0;
}

/* For drivers: one bounded round of messages and due timers. true = more waits. */
bool lane_turn(struct lane *l);
/* For drivers: all handles are gone. */
void lane_closed(struct lane *l);

#endif
