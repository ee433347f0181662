/* alarm.h - a callback later, that cannot be lost for want of memory and may be closed at any time.
 *
 * A timer of the host is gone when its context ends, and nobody is told: whoever is closed after
 * that cannot know whether to cancel it. A queue's handle stays good until the plugin ends, and a
 * key that it knows already can be set without memory; so an alarm is a queue with one key. */
#ifndef KVD_CLIENT_ALARM_H
#define KVD_CLIENT_ALARM_H

#include "plugins/client/client.h"

struct alarm {
    struct client client;
    struct kvp_queue *queue; /* NULL = not open */
    void (*fire)(void *data);
    void *data;
};

/* fire also runs once soon after the opening: it looks at what is due. 0 or a reason. */
int alarm_open(struct alarm *a, struct client c, void (*fire)(void *data), void *data);
/* fire runs after so many milliseconds or, when it was set for an earlier time, earlier: it looks
 * at the clock. Nothing happens once the context has ended. */
void alarm_set(struct alarm *a, uint64_t ms);
/* fire runs no more. Harmless when not open. Also from inside fire. */
void alarm_close(struct alarm *a);

#endif
