/* informer_tell.c - handlers: told of changes, and late ones first of what is there.
 *
 * A late handler walks the list of all objects. It is told of changes of what it has walked past;
 * the others it will be told of as they are then. */
#include "plugins/client/informer_impl.h"

static bool handler_is_told_of(const struct informer_handler *h, uint64_t number)
{
    return h->next == NULL || number <= h->told;
}

void informer_tell(struct informer *i, uint64_t number, const struct object *before,
                   const struct object *now)
{
    for (struct list *it = i->handlers.next; it != &i->handlers && !i->closed; it = it->next) {
        struct informer_handler *h = LIST_ENTRY(it, struct informer_handler, link);
        if (!h->off && h->changed != NULL && handler_is_told_of(h, number)) {
            h->changed(h->data, before, now);
        }
    }
}

static void handler_tell_synced(struct informer_handler *h)
{
    if (h->off || h->told_synced || h->next != NULL || !h->informer->synced) {
        return;
    }
    h->told_synced = true;
    if (h->synced != NULL) {
        h->synced(h->data);
    }
}

void informer_tell_synced(struct informer *i)
{
    for (struct list *it = i->handlers.next; it != &i->handlers && !i->closed; it = it->next) {
        handler_tell_synced(LIST_ENTRY(it, struct informer_handler, link));
    }
}

void informer_step_over(struct informer *i, struct informer_entry *entry)
{
    LIST_FOREACH (it, &i->handlers) {
        struct informer_handler *h = LIST_ENTRY(it, struct informer_handler, link);
        if (h->next == &entry->link) {
            h->next = entry->link.next;
        }
    }
}

/* Up to *budget objects. */
static void handler_replay(struct informer_handler *h, uint32_t *budget)
{
    struct informer *i = h->informer;
    while (h->next != &i->order && *budget > 0 && !h->off && !i->closed) {
        struct informer_entry *entry = LIST_ENTRY(h->next, struct informer_entry, link);
        h->next = h->next->next;
        h->told = entry->number;
        (*budget)--;
        if (h->changed != NULL) {
            h->changed(h->data, NULL, &entry->packed->object);
        }
    }
    if (h->next == &i->order) {
        h->next = NULL;
    }
}

void informer_replay(struct informer *i)
{
    uint32_t budget = INFORMER_REPLAY_OBJECTS;
    for (struct list *it = i->handlers.next; it != &i->handlers && !i->closed; it = it->next) {
        struct informer_handler *h = LIST_ENTRY(it, struct informer_handler, link);
        if (h->next != NULL && !h->off) {
            handler_replay(h, &budget);
        }
        if (!i->closed) {
            handler_tell_synced(h);
        }
    }
    if (budget == 0 && !i->closed) {
        alarm_set(&i->alarm, 0);
    }
}

int informer_attach(struct informer *i, const struct informer_handler *args,
                    struct informer_handler **out)
{
    struct informer_handler *h = mem_alloc(sizeof(*h));
    if (h == NULL) {
        return KVP_NO_MEMORY;
    }
    *h = *args;
    h->informer = i;
    h->next = i->order.next != &i->order && h->changed != NULL ? i->order.next : NULL;
    list_push_back(&i->handlers, &h->link);
    if (h->next != NULL || i->synced) {
        alarm_set(&i->alarm, 0);
    }
    *out = h;
    return 0;
}

int informer_on(struct informer *i, informer_changed_fn *changed, informer_synced_fn *synced,
                void *data, struct informer_handler **out)
{
    struct informer_handler *h;
    const struct informer_handler args = {.changed = changed, .synced = synced, .data = data};
    return informer_attach(i, &args, out != NULL ? out : &h);
}

void informer_off(struct informer_handler *h)
{
    if (h == NULL || h->off) {
        return;
    }
    struct informer *i = h->informer;
    h->off = true;
    informer_enter(i);
    informer_leave(i);
}

void informer_handlers_sweep(struct informer *i)
{
    for (struct list *it = i->handlers.next; it != &i->handlers;) {
        struct informer_handler *h = LIST_ENTRY(it, struct informer_handler, link);
        it = it->next;
        if (h->off) {
            list_remove(&h->link);
            mem_free(h);
        }
    }
}

void informer_handlers_close(struct informer *i)
{
    for (struct list *it; (it = list_pop_front(&i->handlers)) != NULL;) {
        struct informer_handler *h = LIST_ENTRY(it, struct informer_handler, link);
        if (h->gone != NULL) {
            h->gone(h->data, i);
        }
        mem_free(h);
    }
}
