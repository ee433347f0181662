/* jobs.c - compaction, hashes, defragmentation: requests whose work is not one entry or one read.
 *
 * A compaction is a proposal; its logical effect is there when that is applied. Then a seal is
 * forced, so that the checkpoint thread gets to drop rows at once; a `physical` request waits for
 * that. HashKV reads the whole history in slices, in turns with everything else. */
#include "base/clock.h"
#include "base/log.h"
#include "kvd/node_metrics.h"
#include "kvd/serve_impl.h"
#include "proto/codec.h"

struct compact_job {
    struct list link; /* jobs.compactions, once applied */
    struct service_write write;
    struct serve *serve;
    struct service_job *job;
    int64_t target;
    int64_t revision; /* for the answer */
    bool physical;
    bool proposed; /* the proposal is under way */
};

struct hash_job {
    struct list link; /* jobs.hashes */
    struct service_job *job;
    struct kv_hash *hash;
    int64_t revision;
    uint64_t started_ns;
};

void jobs_init(struct serve *s)
{
    list_init(&s->jobs.compactions);
    list_init(&s->jobs.hashes);
    list_init(&s->jobs.defragments);
    s->jobs.compacted = kv_compact_done(s->kv);
}

static void job_answer(struct service_job *j, int err, int64_t revision,
                       const struct service_hash *hash)
{
    j->cb(j, err, revision, hash);
}

/* ---- compaction --------------------------------------------------------------------------------
 */

static void compact_job_end(struct compact_job *c, int err)
{
    struct service_job *j = c->job;
    int64_t revision = c->revision;
    list_remove(&c->link);
    pool_free(&c->serve->pool, c);
    job_answer(j, err, revision, NULL);
}

static void compact_job_applied(struct service_write *w, int err, int64_t revision,
                                struct slice body)
{
    (void)body;
    struct compact_job *c = w->data;
    struct serve *s = c->serve;
    c->proposed = false;
    c->revision = revision;
    if (err != 0 || !c->physical || kv_compact_done(s->kv) >= c->target) {
        compact_job_end(c, err);
        return;
    }
    list_push_back(&s->jobs.compactions, &c->link);
}

void jobs_compact(struct service *service, struct service_job *j, int64_t revision, bool physical)
{
    struct serve *s = serve_of(service);
    struct compact_job *c = pool_zalloc(&s->pool, sizeof(*c));
    if (c == NULL) {
        job_answer(j, ERR_NOMEM, 0, NULL);
        return;
    }
    list_init(&c->link);
    c->serve = s;
    c->job = j;
    c->target = revision;
    c->physical = physical;
    c->proposed = true;
    c->write.data = c;
    c->write.cb = compact_job_applied;
    j->impl[0] = c;
    j->impl[1] = NULL;
    struct buf request;
    buf_init(&request);
    wire_put_uint(&request, 1, (uint64_t)revision);
    wire_put_uint(&request, 2, physical);
    if (request.failed) {
        compact_job_end(c, ERR_NOMEM);
    } else {
        proposals_propose(service, &c->write, SERVICE_COMPACTION, buf_slice(&request));
    }
    buf_close(&request);
}

void jobs_compacted(struct serve *s, int64_t done)
{
    if (done <= s->jobs.compacted) {
        return;
    }
    s->jobs.compacted = done;
    for (struct list *it = s->jobs.compactions.next, *next; it != &s->jobs.compactions; it = next) {
        struct compact_job *c = LIST_ENTRY(it, struct compact_job, link);
        next = it->next;
        if (c->target <= done) {
            compact_job_end(c, 0);
        }
    }
}

/* ---- hashes ------------------------------------------------------------------------------------
 */

void jobs_hash(struct service *service, struct service_job *j)
{
    struct serve *s = serve_of(service);
    uint64_t started_ns = clock_mono_ns();
    uint64_t running = kv_running_hash(s->kv);
    struct service_hash hash = {.hash = (uint32_t)(running ^ running >> 32),
                                .compact_revision = kv_compact_revision(s->kv),
                                .hash_revision = kv_revision(s->kv)};
    node_metrics_hashed(clock_mono_ns() - started_ns);
    job_answer(j, 0, hash.hash_revision, &hash);
}

static void hash_job_end(struct serve *s, struct hash_job *h, int err)
{
    struct service_job *j = h->job;
    int64_t revision = h->revision;
    struct service_hash hash = {0};
    if (err == 0) {
        kv_hash_result(h->hash, &hash.hash, &hash.compact_revision, &hash.hash_revision);
        node_metrics_hashed_kv(clock_mono_ns() - h->started_ns);
    }
    if (h->hash != NULL) {
        kv_hash_close(h->hash);
    }
    list_remove(&h->link);
    pool_free(&s->pool, h);
    job_answer(j, err, revision, &hash);
}

void jobs_hash_kv(struct service *service, struct service_job *j, int64_t revision)
{
    struct serve *s = serve_of(service);
    struct hash_job *h = pool_zalloc(&s->pool, sizeof(*h));
    if (h == NULL) {
        job_answer(j, ERR_NOMEM, 0, NULL);
        return;
    }
    list_init(&h->link);
    h->job = j;
    h->revision = kv_revision(s->kv);
    h->started_ns = clock_mono_ns();
    j->impl[0] = NULL;
    j->impl[1] = h;
    int err = s->stopping ? ERR_STOPPED : kv_hash_open(s->kv, revision, &h->hash);
    if (err != 0) {
        h->hash = NULL;
        hash_job_end(s, h, err);
        return;
    }
    list_push_back(&s->jobs.hashes, &h->link);
    serve_wake(s);
}

bool jobs_step(struct serve *s)
{
    bool counting = key_count_step(s);
    struct list *link = list_pop_front(&s->jobs.hashes);
    if (link == NULL) {
        return counting;
    }
    struct hash_job *h = LIST_ENTRY(link, struct hash_job, link);
    int err = 0;
    if (kv_hash_step(h->hash, &err) == KV_DONE || err != 0) {
        hash_job_end(s, h, err);
    } else {
        list_push_back(&s->jobs.hashes, link);
    }
    return counting || !list_empty(&s->jobs.hashes);
}

/* ---- defragmentation ---------------------------------------------------------------------------
 */

struct defragment_job {
    struct list link; /* jobs.defragments */
    struct service_job *job;
};
_Static_assert(sizeof(struct defragment_job) + 2 * sizeof(void *) <=
                   sizeof(((struct service_job *)0)->impl),
               "a defragmentation fits its request");

static struct defragment_job *defragment_job_of(struct service_job *j)
{
    return (struct defragment_job *)(void *)&j->impl[2];
}

void jobs_defragment(struct service *service, struct service_job *j)
{
    struct serve *s = serve_of(service);
    j->impl[0] = j->impl[1] = NULL;
    if (s->stopping) {
        job_answer(j, ERR_STOPPED, 0, NULL);
        return;
    }
    struct defragment_job *d = defragment_job_of(j);
    d->job = j;
    list_push_back(&s->jobs.defragments, &d->link);
    s->seal_wanted = true; /* compactions just applied reach the thread first */
    serve_wake(s);
}

void jobs_defragmented(struct serve *s, int err)
{
    struct list over;
    list_init(&over);
    list_splice_back(&over, &s->jobs.defragments);
    for (struct list *it; (it = list_pop_front(&over)) != NULL;) {
        job_answer(LIST_ENTRY(it, struct defragment_job, link)->job, err, kv_revision(s->kv), NULL);
    }
}

/* ---- all ---------------------------------------------------------------------------------------
 */

void jobs_cancel(struct service *service, struct service_job *j)
{
    struct serve *s = serve_of(service);
    struct compact_job *c = j->impl[0];
    struct hash_job *h = j->impl[1];
    if (c != NULL) {
        if (c->proposed) {
            proposals_cancel(service, &c->write);
        }
        list_remove(&c->link);
        pool_free(&s->pool, c);
    } else if (h != NULL) {
        kv_hash_close(h->hash);
        list_remove(&h->link);
        pool_free(&s->pool, h);
    } else {
        list_remove(&defragment_job_of(j)->link);
    }
}

void jobs_close(struct serve *s)
{
    while (!list_empty(&s->jobs.compactions)) {
        compact_job_end(LIST_ENTRY(s->jobs.compactions.next, struct compact_job, link),
                        ERR_STOPPED);
    }
    while (!list_empty(&s->jobs.hashes)) {
        hash_job_end(s, LIST_ENTRY(s->jobs.hashes.next, struct hash_job, link), ERR_STOPPED);
    }
    jobs_defragmented(s, ERR_STOPPED);
    key_count_close(s);
}
