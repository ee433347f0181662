/* event.h - watch events between the hub (kv/) and the streams (rpc/), which may not see each
 * other. */
#ifndef KVD_PROTO_EVENT_H
#define KVD_PROTO_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/slice.h"

/* One event, encoded once as field 11 (events) of WatchResponse: tag, length, Event. */
struct watch_event {
    struct blob *body; /* borrowed by the receiver; take a reference to keep it */
    int64_t revision;  /* main revision of the event */
};

struct watch_options {
    struct slice key;       /* copied; empty is taken as one 0x00 byte (contract WA-02) */
    struct slice range_end; /* copied; empty = one key; one 0x00 byte = all keys >= key */
    int64_t start_revision; /* 0 = from the next revision on */
    bool no_put;            /* filter NOPUT */
    bool no_delete;         /* filter NODELETE */
    bool prev_kv;
};

/* Where a watcher's output goes. Called on the store loop. */
struct watch_sink {
    /* All events of one or more WHOLE revisions for one watcher, in (main, sub) order, count >= 1.
     * Returns false when the stream's queue is full: then nothing was taken, the watcher becomes
     * unsynced and rereads from the store once the owner calls watch_resume. `revision` is for the
     * response header: of the last event for a live watcher, the store's for one catching up. */
    bool (*events)(void *data, void *watcher_data, int64_t revision,
                   const struct watch_event *events, size_t count);
    /* Overtaken by compaction (contract WA-08). The watcher is gone after this call returns. */
    void (*compacted)(void *data, void *watcher_data, int64_t compact_revision);
};

#endif
