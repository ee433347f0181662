/* informer_impl.h - what the informer's files share; nobody else includes it.
 *
 *   informer.c          opening, closing, looking things up
 *   informer_fill.c     list and watch: what to ask next, and when
 *   informer_store.c    the objects and their indexes
 *   informer_tell.c     handlers, also those that come late
 *
 * All objects stand in one list in the order they came, each with a number: a late handler walks it
 * and is told of what is behind it only. What is replaced goes to `trash` until the callback that
 * replaced it returns; so does the informer itself when it is closed in there (depth). */
#ifndef KVD_CLIENT_INFORMER_IMPL_H
#define KVD_CLIENT_INFORMER_IMPL_H

#include "base/hashmap.h"
#include "base/list.h"
#include "plugins/client/alarm.h"
#include "plugins/client/informer.h"
#include "plugins/client/pack.h"

/* By namespace: always there for kinds that have one. */
#define INFORMER_BY_NAMESPACE INFORMER_INDEXES_MAX
#define INFORMER_INDEXES      (INFORMER_INDEXES_MAX + 1)

/* Objects of one page of a list: decoding them is a few milliseconds. */
#define INFORMER_PAGE_OBJECTS 200u
/* Objects a late handler is told of in one callback. */
#define INFORMER_REPLAY_OBJECTS 200u
/* A watch that ends sooner, without having told anything, counts as a failure. */
#define INFORMER_WATCH_MS_MIN     1000u
#define INFORMER_BACKOFF_MS_FIRST 800u
#define INFORMER_BACKOFF_MS_EARLY 100u /* before the first list */
#define INFORMER_BACKOFF_MS_LAST  30000u
/* Failures in a row until a person is told. */
#define INFORMER_FAILURES_TOLD 5u

struct index_value;

/* One object under one value of one index. */
struct index_ref {
    struct list link; /* index_value.refs */
    struct index_value *value;
    struct informer_entry *entry;
    struct index_ref *next; /* of the same entry */
};

struct index_value {
    struct hash_node node; /* informer.indexes[index] */
    struct list refs;
    uint8_t index;
    size_t len;
    uint8_t bytes[];
};

struct informer_entry {
    struct hash_node node; /* informer.entries */
    struct list link;      /* informer.order */
    uint64_t number;       /* ascending in that order */
    uint64_t listed;       /* the last list that had it */
    struct packed *packed;
    struct index_ref *refs;
    uint32_t key_len;
    uint8_t key[];
};

struct informer_handler {
    struct list link; /* informer.handlers */
    struct informer *informer;
    informer_changed_fn *changed;
    informer_synced_fn *synced;
    void (*gone)(void *data, struct informer *i); /* the informer is closed; may be NULL */
    void *data;
    struct list
        *next;     /* in informer.order: the first it has not been told of; NULL = told of all */
    uint64_t told; /* number of the last one it has been told of, while next is not NULL */
    bool told_synced;
    bool off; /* to be freed when the callback returns */
};

enum informer_state {
    INFORMER_LISTING,
    INFORMER_WATCHING,
    INFORMER_WAITING, /* until retry_at */
    INFORMER_ENDED,   /* with its context */
};

struct informer {
    struct client client;
    const struct schema_type *type;
    const struct schema_type *list_type;
    struct slice query; /* owned */
    informer_index_fn *index_fns[INFORMER_INDEXES_MAX];
    void *index_data;
    bool namespaced;
    bool metadata;

    struct hashmap entries;
    struct list order;
    uint64_t numbers; /* given out */
    struct hashmap indexes[INFORMER_INDEXES];
    struct list trash; /* struct packed */
    struct list handlers;

    enum informer_state state;
    struct kvp_object *request; /* under way */
    struct alarm alarm;
    uint64_t retry_at;
    bool relist;       /* what to do then */
    int64_t revision;  /* shown; watch from here */
    int64_t listing;   /* revision of the list that is being read; 0 = not known yet */
    uint64_t listed;   /* number of the list */
    struct buf next;   /* continue token */
    uint64_t began_ms; /* of the watch */
    bool heard;        /* something, from this watch */
    bool synced;
    uint32_t failures; /* in a row */
    struct arena scratch;

    uint32_t depth; /* callbacks on the stack that still need the informer */
    bool closed;
};

static inline void informer_enter(struct informer *i)
{
    i->depth++;
}
/* Frees what had to wait. i may be gone when it returns. */
void informer_leave(struct informer *i);

/* ---- informer_fill.c ---- */
void informer_list(struct informer *i);
void informer_on_alarm(void *data);

/* ---- informer_store.c ---- */
struct informer_entry *informer_entry(struct informer *i, struct slice key);
/* Takes in an object of scratch (managedFields are taken out of it) and tells the handlers. 0 or
 * ERR_NOMEM: nothing has changed. The informer may be closed when it returns. */
int informer_put(struct informer *i, struct object *o);
/* last: the state to show, in scratch; NULL: as it was known. 0 or ERR_NOMEM as above. */
int informer_remove(struct informer *i, struct informer_entry *entry, struct object *last);
struct index_value *informer_index_value(struct informer *i, size_t index, struct slice value);
void informer_store_close(struct informer *i);

/* ---- informer_tell.c ---- */
/* number: of the entry. */
void informer_tell(struct informer *i, uint64_t number, const struct object *before,
                   const struct object *now);
void informer_tell_synced(struct informer *i);
/* The entry is about to leave the order: late handlers go on behind it. */
void informer_step_over(struct informer *i, struct informer_entry *entry);
/* Tells late handlers a slice. */
void informer_replay(struct informer *i);
/* As informer_on, with gone. */
int informer_attach(struct informer *i, const struct informer_handler *args,
                    struct informer_handler **out);
void informer_handlers_sweep(struct informer *i);
void informer_handlers_close(struct informer *i);

#endif
