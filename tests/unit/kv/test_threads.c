/* test_threads - readers on threads of their own check everything against the model while one
 * thread applies and one checkpoints and compacts. Meant for the thread sanitizer too. */
#include "kv_random.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "kv/state.h"

enum { READERS = 3, OPERATIONS = 2500 };

struct world {
    struct kvf f;
    struct model m; /* grows under `lock`; old versions never change but for `superseded` */
    pthread_rwlock_t lock;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool woken;
    _Atomic bool over;
    _Atomic uint64_t reads;
    _Atomic uint64_t hashes;
    int checkpoint_err;
};

/* ---- the checkpoint thread
 * ----------------------------------------------------------------------- */

static void *checkpointer(void *data)
{
    struct world *w = data;
    bool over = false;
    while (!over) {
        int err = 0;
        pthread_mutex_lock(&w->wake_lock);
        while (!w->woken && !atomic_load(&w->over)) {
            pthread_cond_wait(&w->wake, &w->wake_lock);
        }
        w->woken = false;
        pthread_mutex_unlock(&w->wake_lock);
        over = atomic_load(&w->over);
        while (kv_checkpoint_step(w->f.kv, &err) == KV_MORE) {
        }
        if (err != 0) {
            w->checkpoint_err = err;
            return NULL;
        }
    }
    return NULL;
}

static void wake(struct world *w)
{
    pthread_mutex_lock(&w->wake_lock);
    w->woken = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->wake_lock);
}

/* ---- readers
 * ------------------------------------------------------------------------------------- */

/* A copy of what the model answers, with an arena of the reader's own. */
static void expect_range(struct world *w, struct model *view, const Etcdserverpb__RangeRequest *q,
                         int64_t revision, struct slice have)
{
    struct buf want;
    buf_init(&want);
    pthread_rwlock_rdlock(&w->lock);
    view->versions = w->m.versions;
    view->len = w->m.len;
    const Etcdserverpb__RangeResponse *a = model_range(view, q, revision, 0);
    pthread_rwlock_unlock(&w->lock);
    view->versions = NULL;
    if (!codec_encode(a, &want) || !slice_eq(have, buf_slice(&want))) {
        print_error("a reader got a wrong answer at revision %lld\n", (long long)revision);
        abort();
    }
    buf_close(&want);
}

static void read_once(struct world *w, struct model *view, struct rand *rnd)
{
    struct buf request;
    struct buf out;
    struct kv_range *r;
    int err = 0;
    Etcdserverpb__RangeRequest *q = random_range(view, rnd);
    q->revision =
        rand_below(rnd, 3) == 0 ? (int64_t)rand_below(rnd, (uint64_t)view->revision + 1) : 0;
    buf_init(&request);
    buf_init(&out);
    if (!codec_encode(q, &request)) {
        abort();
    }
    err = kv_range_open(w->f.kv, buf_slice(&request), &r);
    if (err == 0) {
        while (kv_range_measure(r, &err) == KV_MORE) {
        }
        if (err != 0) {
            print_error("measure: %s\n", err_name(err));
            abort();
        }
        while (out.len < kv_range_total(r)) {
            if (!kv_range_produce(r, &out, 1024)) {
                abort();
            }
        }
        if (kv_range_revision(r) < view->revision) {
            print_error("a reader went back in time\n");
            abort();
        }
        view->revision = kv_range_revision(r);
        expect_range(w, view, q, view->revision, buf_slice(&out));
        kv_range_close(r);
        atomic_fetch_add(&w->reads, 1);
    } else if (err != ERR_COMPACTED || q->revision == 0) {
        print_error("range: %s\n", err_name(err));
        abort();
    }
    buf_close(&out);
    buf_close(&request);
}

static void hash_once(struct world *w)
{
    struct kv_hash *h;
    int err;
    if (kv_hash_open(w->f.kv, 0, &h) != 0) {
        abort();
    }
    while (kv_hash_step(h, &err) == KV_MORE) {
    }
    if (err != 0) {
        abort();
    }
    kv_hash_close(h);
    atomic_fetch_add(&w->hashes, 1);
}

static void *reader(void *data)
{
    static _Atomic uint64_t seeds = 100;
    struct world *w = data;
    struct rand rnd;
    struct model view = {0};
    rand_init(&rnd, atomic_fetch_add(&seeds, 1));
    memcpy(view.names, w->m.names, sizeof(view.names));
    arena_init(&view.arena, 0);
    view.revision = 1;
    view.floor = -1;
    while (!atomic_load(&w->over)) {
        read_once(w, &view, &rnd);
        if (rand_below(&rnd, 50) == 0) {
            hash_once(w);
        }
        arena_clear(&view.arena);
    }
    arena_close(&view.arena);
    return NULL;
}

/* ---- the apply thread
 * ---------------------------------------------------------------------------- */

static void readers_see_only_whole_revisions(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct rand rnd;
    pthread_t threads[READERS + 1];
    rand_init(&rnd, 42);
    model_init(&w->m, &rnd);
    kvf_open(&w->f);
    pthread_rwlock_init(&w->lock, NULL);
    pthread_mutex_init(&w->wake_lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, reader, w), 0);
    }
    assert_int_equal(pthread_create(&threads[READERS], NULL, checkpointer, w), 0);
    for (int i = 0; i < OPERATIONS; i++) {
        Etcdserverpb__InternalRaftRequest r;
        void *answer;
        random_request(&w->m, &rnd, &r);
        /* The model knows first: a reader may see the revision as soon as it is published. */
        pthread_rwlock_wrlock(&w->lock);
        int want = model_apply(&w->m, &r, &answer);
        pthread_rwlock_unlock(&w->lock);
        assert_int_equal(kvf_apply(&w->f, &r), want);
        if (kv_seal(w->f.kv, 20000, rand_below(&rnd, 40) == 0)) {
            wake(w);
        }
    }
    atomic_store(&w->over, true);
    wake(w);
    for (int i = 0; i <= READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(w->checkpoint_err, 0);
    print_message("%llu reads, %llu hashes, compacted to %lld, dropped to %lld\n",
                  (unsigned long long)atomic_load(&w->reads),
                  (unsigned long long)atomic_load(&w->hashes),
                  (long long)kv_compact_revision(w->f.kv), (long long)kv_compact_done(w->f.kv));
    assert_true(atomic_load(&w->reads) > 1000);
    assert_true(kv_compact_done(w->f.kv) > 0);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->wake_lock);
    pthread_rwlock_destroy(&w->lock);
    model_close(&w->m);
    kvf_close(&w->f);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_only_whole_revisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
