/* work.c - a queue and its keys in work.
 *
 * A key in work is a struct work from the moment the host's queue gives it until nothing of it is
 * open: reconcile has returned, its requests are answered, its holds are released. While informers
 * are not synced the first keys are parked, which keeps the others in line.
 *
 * Lifetimes: works_close tells those who wait for answers that none will come, and frees what
 * nobody needs any more; a work with requests under way stays for their answers (the last one may
 * be the context's end), and the works stay for it. */
#include "plugins/client/work.h"

#include <stdio.h>

#include "base/hashmap.h"
#include "base/list.h"
#include "plugins/client/informer_impl.h"

struct work {
    struct list link; /* works.all */
    struct works *works;
    int64_t result;    /* so far */
    uint32_t requests; /* not answered */
    uint32_t holds;
    bool busy;   /* in reconcile */
    bool failed; /* comes again with backoff */
    bool parked; /* not begun */
    uint32_t key_len;
    uint8_t key[];
};

/* How often a key failed in a row. */
struct work_failure {
    struct hash_node node; /* works.failures */
    uint32_t count;
    uint32_t key_len;
    uint8_t key[];
};

struct works {
    struct client client;
    struct kvp_queue *queue;
    char *name;
    work_reconcile_fn *reconcile;
    void *data;
    struct list all;
    struct list asked; /* work_request.link: somebody waits for the answer */
    struct hashmap failures;
    struct informer *waits_for[WORKS_INFORMERS_MAX]; /* NULL = synced, or none */
    struct informer_handler *handlers[WORKS_INFORMERS_MAX];
    bool stuck;     /* an informer was closed before it synced */
    bool ended;     /* the context is */
    bool closed;    /* by works_close */
    uint32_t depth; /* callbacks on the stack that still need it */
};

struct work_request {
    struct list link; /* works.asked; by itself when nobody waits, or has been told */
    struct work *work;
    enum kvp_verb verb;
    client_done_fn *done;
    void *data;
    unsigned forgiven;
};

static struct slice work_key(const struct work *w)
{
    return slice_of(w->key, w->key_len);
}

/* ---- failures ------------------------------------------------------------------------------ */

static struct work_failure *works_failure(const struct works *q, struct slice key)
{
    uint64_t hash = hash_bytes(key);
    for (struct hash_node *n = hashmap_first(&q->failures, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct work_failure *f = LIST_ENTRY(n, struct work_failure, node);
        if (slice_eq(slice_of(f->key, f->key_len), key)) {
            return f;
        }
    }
    return NULL;
}

/* Without memory the count starts over: the queue's own, which makes the delays, goes on. */
static void works_count_failure(struct works *q, struct slice key)
{
    struct work_failure *f = works_failure(q, key);
    if (f == NULL) {
        f = mem_zalloc(sizeof(*f) + key.len);
        if (f == NULL) {
            return;
        }
        f->key_len = (uint32_t)key.len;
        if (key.len > 0) {
            memcpy(f->key, key.data, key.len);
        }
        if (!hashmap_insert(&q->failures, &f->node, hash_bytes(key))) {
            mem_free(f);
            return;
        }
    }
    f->count += f->count < UINT32_MAX;
}

static void works_forget_failures(struct works *q, struct slice key)
{
    struct work_failure *f = works_failure(q, key);
    if (f != NULL) {
        hashmap_remove(&q->failures, &f->node);
        mem_free(f);
    }
}

uint32_t work_failures(const struct work *w)
{
    const struct work_failure *f = works_failure(w->works, work_key(w));
    return f != NULL ? f->count : 0;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void works_free(struct works *q)
{
    size_t bucket = 0;
    for (struct hash_node *n = hashmap_iter(&q->failures, &bucket, NULL); n != NULL;) {
        struct hash_node *next = hashmap_iter(&q->failures, &bucket, n);
        mem_free(LIST_ENTRY(n, struct work_failure, node));
        n = next;
    }
    hashmap_close(&q->failures);
    mem_free(q->name);
    mem_free(q);
}

static void works_leave(struct works *q)
{
    q->depth--;
    if (q->depth == 0 && q->closed && list_empty(&q->all)) {
        works_free(q);
    }
}

static void work_free(struct work *w)
{
    list_remove(&w->link);
    mem_free(w);
}

/* The key is finished: back to the queue with it. */
static void works_finish(struct works *q, struct slice key, int64_t result)
{
    const struct kvp_host *host = q->client.host;
    struct kvp_bytes k = kvp_of_slice(key);
    if (q->ended || q->closed) {
        return;
    }
    if (result < 0) {
        works_count_failure(q, key);
        (void)host->queue_add_limited(q->queue, k); /* the queue knows the key: needs no memory */
    } else {
        works_forget_failures(q, key);
        host->queue_forget(q->queue, k);
        if (result > 0) {
            (void)host->queue_add_after(q->queue, k, (uint64_t)result);
        }
    }
    host->queue_done(q->queue, k);
}

/* Finishes the work when nothing of it is open. */
static void work_settle(struct work *w)
{
    if (w->busy || w->requests > 0 || w->holds > 0) {
        return;
    }
    struct works *q = w->works;
    works_finish(q, work_key(w), w->failed ? KVP_RETRY : w->result);
    work_free(w);
}

void work_fail(struct work *w, const char *why)
{
    w->failed = true;
    if (!w->works->ended) {
        KVP_LOG(w->works->client.host, w->works->client.ctx, KVP_DEBUG, "a key failed",
                kvp_f_str("works", w->works->name), kvp_f_bytes("key", kvp_of_slice(work_key(w))),
                kvp_f_str("why", why), kvp_f_int("failures", work_failures(w)));
    }
}

/* Takes over what reconcile or a release said. */
static void work_take_result(struct work *w, int64_t result)
{
    if (result < 0) {
        w->failed = true;
    } else if (result > 0 && (w->result == 0 || result < w->result)) {
        w->result = result;
    }
}

void work_look_again(struct work *w, int64_t ms)
{
    work_take_result(w, ms);
}

/* ---- working ------------------------------------------------------------------------------- */

static void work_run(struct work *w)
{
    struct works *q = w->works;
    w->parked = false;
    w->busy = true;
    int64_t result = q->reconcile(q->data, w, work_key(w));
    w->busy = false;
    work_take_result(w, result);
    work_settle(w);
}

static bool works_ready(const struct works *q)
{
    bool ready = !q->stuck;
    for (size_t k = 0; k < WORKS_INFORMERS_MAX; k++) {
        ready = ready && (q->waits_for[k] == NULL || informer_synced(q->waits_for[k]));
    }
    return ready;
}

static void works_on_key(void *data, struct kvp_queue *queue, struct kvp_bytes key)
{
    struct works *q = data;
    struct work *w = mem_zalloc(sizeof(*w) + key.len);
    (void)queue;
    if (w == NULL) {
        works_finish(q, slice_of_kvp(key), KVP_RETRY);
        return;
    }
    w->works = q;
    w->key_len = (uint32_t)key.len;
    if (key.len > 0) {
        memcpy(w->key, key.data, key.len);
    }
    list_push_back(&q->all, &w->link);
    w->parked = !works_ready(q);
    q->depth++;
    if (!w->parked) {
        work_run(w);
    }
    works_leave(q);
}

static void works_stop_waiting(struct works *q)
{
    for (size_t k = 0; k < WORKS_INFORMERS_MAX; k++) {
        informer_off(q->handlers[k]);
        q->handlers[k] = NULL;
        q->waits_for[k] = NULL;
    }
}

/* An informer is synced. */
static void works_on_synced(void *data)
{
    struct works *q = data;
    if (!works_ready(q) || q->ended) {
        return;
    }
    q->depth++;
    works_stop_waiting(q);
    for (struct list *it = q->all.next; it != &q->all && !q->closed;) {
        struct work *w = LIST_ENTRY(it, struct work, link);
        it = it->next;
        if (w->parked) {
            work_run(w);
        }
    }
    works_leave(q);
}

static void works_on_gone(void *data, struct informer *i)
{
    struct works *q = data;
    for (size_t k = 0; k < WORKS_INFORMERS_MAX; k++) {
        if (q->waits_for[k] == i) {
            q->waits_for[k] = NULL;
            q->handlers[k] = NULL;
            q->stuck = true;
        }
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static bool work_is_forgiven(const struct client_answer *a, unsigned forgiven)
{
    bool exists = slice_eq(a->status_reason, slice_str("AlreadyExists"));
    switch (a->status) {
    case 404:
        return (forgiven & WORK_NOT_FOUND_OK) != 0;
    case 409:
        return (forgiven & (exists ? WORK_EXISTS_OK : WORK_CONFLICT_OK)) != 0;
    case 403:
        return a->ns_terminating && (forgiven & WORK_NS_TERMINATING_OK) != 0;
    default:
        return false;
    }
}

static void work_on_done(void *data, const struct client_answer *a)
{
    struct work_request *r = data;
    struct work *w = r->work;
    struct works *q = w->works;
    q->ended = q->ended || a->reason == KVP_STOPPED;
    q->depth++;
    if (!list_empty(&r->link)) {
        list_remove(&r->link);
        r->done(r->data, a);
    }
    if (!q->closed && !a->ok && !work_is_forgiven(a, r->forgiven)) {
        char why[256];
        snprintf(why, sizeof(why), "%.*s", (int)a->message.len, (const char *)a->message.data);
        work_fail(w, why);
    }
    mem_free(r);
    w->requests--;
    work_settle(w);
    works_leave(q);
}

/* Nobody will hear the answers: those who wait are told now, while what they work with is there. */
static void works_tell_closed(struct works *q)
{
    for (struct list *it; (it = list_pop_front(&q->asked)) != NULL;) {
        struct work_request *r = LIST_ENTRY(it, struct work_request, link);
        bool reads = r->verb == KVP_VERB_GET || r->verb == KVP_VERB_LIST;
        const struct client_answer a = {.outcome = reads ? KVP_REFUSED : KVP_UNKNOWN,
                                        .reason = KVP_STOPPED,
                                        .message = slice_str("the queue was closed")};
        r->done(r->data, &a);
    }
}

int work_send(struct work *w, const struct client_request *r, unsigned forgiven)
{
    struct works *q = w->works;
    struct client_request own = *r;
    struct work_request *made = q->closed ? NULL : mem_alloc(sizeof(*made));
    if (made == NULL) {
        w->failed = true;
        return q->closed ? KVP_STOPPED : KVP_NO_MEMORY;
    }
    *made = (struct work_request){
        .work = w, .verb = r->verb, .done = r->done, .data = r->data, .forgiven = forgiven};
    list_init(&made->link);
    own.done = work_on_done;
    own.data = made;
    int reason = client_send(q->client, &own);
    if (reason != 0) {
        mem_free(made);
        q->ended = q->ended || reason == KVP_STOPPED;
        work_fail(w, "a request could not be sent");
        return reason;
    }
    if (made->done != NULL) {
        list_push_back(&q->asked, &made->link);
    }
    w->requests++;
    return 0;
}

void work_hold(struct work *w)
{
    w->holds++;
}

void work_release(struct work *w, int64_t result)
{
    struct works *q = w->works;
    q->depth++;
    w->holds--;
    work_take_result(w, result);
    work_settle(w);
    works_leave(q);
}

/* ---- opened, added, closed ----------------------------------------------------------------- */

static int works_await(struct works *q, const struct works_args *a)
{
    const struct informer_handler args = {
        .synced = works_on_synced, .gone = works_on_gone, .data = q};
    for (size_t k = 0; k < WORKS_INFORMERS_MAX && a->informers[k] != NULL; k++) {
        if (informer_synced(a->informers[k])) {
            continue;
        }
        int reason = informer_attach(a->informers[k], &args, &q->handlers[k]);
        if (reason != 0) {
            return reason;
        }
        q->waits_for[k] = a->informers[k];
    }
    return 0;
}

int works_open(struct client c, const struct works_args *a, struct works **out)
{
    struct works *q = mem_zalloc(sizeof(*q));
    if (q == NULL) {
        return KVP_NO_MEMORY;
    }
    q->client = c;
    q->reconcile = a->reconcile;
    q->data = a->data;
    list_init(&q->all);
    list_init(&q->asked);
    hashmap_init(&q->failures);
    const struct kvp_queue_args args = {.size = sizeof(args),
                                        .parallel = a->parallel != 0 ? a->parallel : 5,
                                        .delay_min_ms = a->delay_min_ms,
                                        .delay_max_ms = a->delay_max_ms,
                                        .work = works_on_key,
                                        .data = q};
    q->name = mem_strdup(a->name != NULL ? a->name : "");
    int reason = q->name == NULL ? KVP_NO_MEMORY : works_await(q, a);
    if (reason == 0) {
        reason = c.host->queue_open(c.ctx, &args, &q->queue);
        q->queue = reason == 0 ? q->queue : NULL;
    }
    if (reason != 0) {
        works_close(q);
        return reason;
    }
    *out = q;
    return 0;
}

void works_close(struct works *q)
{
    if (q == NULL || q->closed) {
        return;
    }
    q->closed = true;
    works_stop_waiting(q);
    if (q->queue != NULL) {
        q->client.host->queue_close(q->queue);
    }
    q->depth++;
    works_tell_closed(q);
    for (struct list *it = q->all.next; it != &q->all;) {
        struct work *w = LIST_ENTRY(it, struct work, link);
        it = it->next;
        w->holds = 0;
        work_settle(w);
    }
    works_leave(q);
}

int works_add(struct works *q, struct slice key)
{
    return q->ended || q->closed ? KVP_STOPPED
                                 : q->client.host->queue_add(q->queue, kvp_of_slice(key));
}

int works_add_object(struct works *q, const struct object *o)
{
    struct buf key;
    buf_init(&key);
    int reason = object_key(o, &key) == 0 ? works_add(q, buf_slice(&key)) : KVP_NO_MEMORY;
    buf_close(&key);
    return reason;
}

int works_add_after(struct works *q, struct slice key, uint64_t ms)
{
    return q->ended || q->closed ? KVP_STOPPED
                                 : q->client.host->queue_add_after(q->queue, kvp_of_slice(key), ms);
}

size_t works_len(const struct works *q)
{
    return q->ended || q->closed ? 0 : q->client.host->queue_len(q->queue);
}
