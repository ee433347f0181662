/* alarm.c - see alarm.h. The key has "failed" once and is never forgotten: so the queue keeps it,
 * and room for its time. */
#include "plugins/client/alarm.h"

static struct kvp_bytes alarm_key(void)
{
    return kvp_bytes_of("alarm", 5);
}

static void alarm_on_key(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    struct alarm *a = data;
    a->client.host->queue_done(q, key);
    a->fire(a->data);
}

int alarm_open(struct alarm *a, struct client c, void (*fire)(void *data), void *data)
{
    *a = (struct alarm){.client = c, .fire = fire, .data = data};
    struct kvp_queue_args args = {
        .size = sizeof(args), .parallel = 1, .delay_min_ms = 1, .work = alarm_on_key, .data = a};
    int reason = c.host->queue_open(c.ctx, &args, &a->queue);
    if (reason == 0) {
        reason = c.host->queue_add_limited(a->queue, alarm_key());
        if (reason != 0) {
            alarm_close(a);
        }
    } else {
        a->queue = NULL;
    }
    return reason;
}

void alarm_set(struct alarm *a, uint64_t ms)
{
    if (a->queue != NULL) {
        (void)a->client.host->queue_add_after(a->queue, alarm_key(), ms);
    }
}

void alarm_close(struct alarm *a)
{
    if (a->queue != NULL) {
        a->client.host->queue_close(a->queue);
        a->queue = NULL;
    }
}
