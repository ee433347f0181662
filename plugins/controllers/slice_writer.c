/* slice_writer.c - gathering slices, carrying out plans, expecting what was created. */
#include "plugins/controllers/slice_writer.h"

#include "base/alloc.h"

#define SLICE_CHANGE_DELAY_MS 1000u  /* after somebody's change of a slice, several are one */
#define SLICE_UNSEEN_MS       30000u /* looks again at a service whose slices do not show up */

/* Slices of a service, gathered from the informer. */
struct slice_gather {
    const struct slice_writer *writer;
    struct slice service;
    const struct object **items;
    size_t count, room;
};

static bool slice_is_ours(const struct slice_writer *w, const struct object *o)
{
    return slice_eq(object_text(o, "metadata.labels[" SLICE_LABEL_MANAGER "]"),
                    slice_str(w->manager));
}

static struct slice slice_service(const struct object *o)
{
    return object_text(o, "metadata.labels[" SLICE_LABEL_SERVICE "]");
}

static int slice_gather_one(void *data, const struct object *o)
{
    struct slice_gather *g = data;
    if (!slice_is_ours(g->writer, o) || !slice_eq(slice_service(o), g->service)) {
        return 0;
    }
    if (g->count == g->room) {
        size_t room = g->room == 0 ? 8 : g->room * 2;
        const struct object **items = mem_realloc(g->items, room * sizeof *items);
        if (items == NULL) {
            return KVP_NO_MEMORY;
        }
        g->items = items;
        g->room = room;
    }
    g->items[g->count++] = o;
    return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

struct slice_created { /* a create under way */
    struct slice_writer *s;
    size_t len;
    char key[];
};

static void slice_create_done(void *data, const struct client_answer *a)
{
    struct slice_created *c = data;
    if (client_certainly_not(a)) {
        expects_created(c->s->expects, slice_of(c->key, c->len));
    }
    mem_free(c);
}

static int slice_create(struct slice_writer *s, struct work *w, struct slice key,
                        struct client_request *r)
{
    struct slice_created *c = mem_zalloc(sizeof *c + key.len);
    if (c == NULL) {
        return KVP_NO_MEMORY;
    }
    c->s = s;
    c->len = key.len;
    memcpy(c->key, key.data, key.len);
    r->done = slice_create_done;
    r->data = c;
    int rc = work_send(w, r, WORK_NS_TERMINATING_OK | WORK_NOT_FOUND_OK);
    if (rc != 0) {
        mem_free(c);
    }
    return rc;
}

static int slice_act(struct slice_writer *s, struct work *w, struct slice key,
                     const struct slice_action *act)
{
    struct client_request r = {.type = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE)};
    const struct object *o = act->have != NULL ? act->have : &act->o;
    r.space = object_namespace(o);
    r.name = object_name(o);
    switch (act->what) {
    case SLICE_KEEP:
        return 0;
    case SLICE_CREATE:
        r.verb = KVP_VERB_CREATE;
        r.object = &act->o;
        return slice_create(s, w, key, &r);
    case SLICE_UPDATE:
        r.verb = KVP_VERB_UPDATE;
        r.object = &act->o;
        return work_send(w, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    case SLICE_DELETE:
        r.verb = KVP_VERB_DELETE;
        return work_send(w, &r, WORK_NOT_FOUND_OK);
    }
    return KVP_INVALID;
}

static int slice_carry_out(struct slice_writer *s, struct work *w, struct slice key,
                           const struct slice_plan *plan)
{
    int rc = plan->creates == 0 ? 0 : expects_creations(s->expects, key, plan->creates);
    for (size_t i = 0; i < plan->count && rc == 0; i++) {
        rc = slice_act(s, w, key, &plan->items[i]);
    }
    if (rc != 0) {
        expects_forget(s->expects, key); /* not all were sent: how many is not known any more */
    }
    return rc;
}

static int slice_writer_gather(struct slice_writer *w, struct slice key, struct slice_gather *out)
{
    struct slice space;
    *out = (struct slice_gather){.writer = w};
    object_key_split(key, &space, &out->service);
    return informer_each_in(w->slices, space, slice_gather_one, out);
}

int slice_writer_sync(struct slice_writer *w, struct work *work, struct slice key,
                      struct slice_plan_args *args)
{
    struct slice_gather g;
    struct slice_plan plan;
    struct arena a;
    arena_init(&a, 0);
    int rc = slice_writer_gather(w, key, &g);
    args->slices = g.items;
    args->slice_count = g.count;
    args->manager = w->manager;
    rc = rc == 0 ? slice_plan(args, &a, &plan) : rc;
    rc = rc == 0 ? slice_carry_out(w, work, key, &plan) : rc;
    arena_close(&a);
    mem_free(g.items);
    return rc;
}

int slice_writer_clear(struct slice_writer *w, struct work *work, struct slice key)
{
    struct slice_gather g;
    int rc = slice_writer_gather(w, key, &g);
    for (size_t i = 0; i < g.count && rc == 0; i++) {
        struct slice_action act = {.what = SLICE_DELETE, .have = g.items[i]};
        rc = slice_act(w, work, key, &act);
    }
    mem_free(g.items);
    return rc;
}

bool slice_writer_may(struct slice_writer *w, struct slice key, int64_t *later)
{
    *later = w->caught_up ? SLICE_UNSEEN_MS : KVP_DONE;
    return w->caught_up && expects_satisfied(w->expects, key);
}

void slice_writer_forget(struct slice_writer *w, struct slice key)
{
    expects_forget(w->expects, key);
}

/* ---- changes -------------------------------------------------------------------------------- */

static void slice_changed(void *data, const struct object *before, const struct object *now)
{
    struct slice_writer *s = data;
    const struct object *o = now != NULL ? now : before;
    struct slice space = object_namespace(o);
    struct slice name = slice_service(o);
    if (!slice_is_ours(s, o) || name.len == 0) {
        return;
    }
    struct buf key;
    buf_init(&key);
    buf_append_slice(&key, space);
    buf_append_byte(&key, '/');
    buf_append_slice(&key, name);
    if (key.failed) {
        handlers_check(&s->handlers, KVP_NO_MEMORY);
    } else if (before == NULL) {
        bool waited = !expects_satisfied(s->expects, buf_slice(&key));
        expects_created(s->expects, buf_slice(&key));
        if (waited && expects_satisfied(s->expects, buf_slice(&key))) {
            handlers_queue(&s->handlers, s->works, buf_slice(&key), 0);
        }
    }
    if (!key.failed) {
        handlers_queue(&s->handlers, s->works, buf_slice(&key), SLICE_CHANGE_DELAY_MS);
    }
    buf_close(&key);
}

/* ---- life ----------------------------------------------------------------------------------- */

int slice_writer_open(struct slice_writer *w, struct controllers *all, const char *manager,
                      void (*ready)(void *data), void *data)
{
    struct client term = w->handlers.term;
    w->slices = all->informers[WATCH_ENDPOINT_SLICES];
    w->manager = manager;
    w->expects = expects_open(term);
    int rc = w->expects == NULL ? KVP_NO_MEMORY
                                : handlers_add(&w->handlers, w->slices, slice_changed, w);
    return rc != 0 ? rc
                   : catchup_open(term, w->slices, schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE),
                                  &all->catchups[WATCH_ENDPOINT_SLICES], ready, data, &w->catchup);
}

void slice_writer_close(struct slice_writer *w)
{
    handlers_off(&w->handlers);
    works_close(w->works);
    catchup_close(w->catchup);
    expects_close(w->expects);
}
