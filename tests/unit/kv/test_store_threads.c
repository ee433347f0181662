/* test_store_threads - one writer, one checkpoint thread and three readers, every read checked.
 *
 * Operation n moves money between two accounts, moves a token, appends record n and writes n into a
 * row of its own; all of it follows from n, so the whole state after any n is known before the
 * threads start. The checkpoint thread checkpoints, drops old records, defragments and copies; the
 * writer now and then installs a copy, which takes it back to an earlier n. A reader opens a view,
 * learns n from its point, and compares everything. Run it under TSan. */
#include "store_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "kv/store_test.h"

#define OPERATIONS_DEFAULT 15000u
#define ACCOUNTS           40u
#define TOKENS             6u
#define READERS            3u
#define BALANCE            1000
/* Operations between two checkpoints at most: a busy machine would otherwise let the writer finish
 * before the other threads have done much. */
#define OPERATIONS_PER_CHECKPOINT 50u
#define VIEWS_WANTED              50u
/* For what must happen, but is up to the scheduler. */
#define PATIENCE_NS 60000000000ull

/* A balance and since which operation it holds. */
struct change {
    uint64_t since;
    int64_t balance;
};

struct account {
    struct change *changes;
    size_t count;
};

struct bank {
    struct fixture f;
    char copy[300];
    uint64_t operations;
    struct account accounts[ACCOUNTS];
    pthread_barrier_t begin;       /* all threads are there */
    pthread_mutex_t checkpointing; /* held around each step of the checkpoint thread */
    pthread_cond_t sealed;
    bool stop_checkpoints; /* checkpointing */
    bool have_copy;        /* checkpointing */
    uint64_t copy_index;   /* checkpointing */
    _Atomic bool stop;
    uint64_t views_wanted; /* before the end */
    _Atomic uint64_t views;
    _Atomic uint64_t checkpoints;
    _Atomic uint64_t installs;
    _Atomic bool calm; /* the checkpoint thread would like to trim */
    _Atomic uint64_t trims;
    _Atomic uint64_t wrong;
    pthread_mutex_t message_lock;
    char message[300];
};

static uint64_t mix(uint64_t n)
{
    n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
    n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
    return n ^ (n >> 31);
}

struct operation {
    unsigned from;
    unsigned to;
    int64_t amount;
    unsigned token;
};

static struct operation operation_at(uint64_t n)
{
    uint64_t dice = mix(n);
    struct operation o = {.from = (unsigned)(dice % ACCOUNTS),
                          .amount = (int64_t)(dice >> 40 & 0xff),
                          .token = (unsigned)(mix(n + 1000000) % TOKENS)};
    o.to = (o.from + 1 + (unsigned)(dice >> 20) % (ACCOUNTS - 1)) % ACCOUNTS;
    return o;
}

static void account_change(struct account *a, uint64_t n, int64_t by)
{
    a->changes = realloc(a->changes, (a->count + 1) * sizeof a->changes[0]);
    int64_t before = a->count == 0 ? BALANCE : a->changes[a->count - 1].balance;
    a->changes[a->count++] = (struct change){.since = n, .balance = before + by};
}

/* What the account holds after operation n; since 0 = never touched. */
static struct change account_at(const struct account *a, uint64_t n)
{
    size_t low = 0;
    size_t high = a->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (a->changes[middle].since <= n) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? (struct change){.since = 0, .balance = BALANCE} : a->changes[low - 1];
}

static void bank_wrong(struct bank *b, const char *what, uint64_t n, uint64_t detail)
{
    if (atomic_fetch_add(&b->wrong, 1) == 0) {
        pthread_mutex_lock(&b->message_lock);
        snprintf(b->message, sizeof b->message, "%s at operation %llu (%llu)", what,
                 (unsigned long long)n, (unsigned long long)detail);
        pthread_mutex_unlock(&b->message_lock);
    }
}

/* ---- the writer
 * ---------------------------------------------------------------------------------- */

static void writer_put(struct bank *b, enum store_table table, const void *key, size_t len,
                       uint64_t n, int64_t balance)
{
    uint8_t value[16];
    bytes_put_le64(value, n);
    bytes_put_le64(value + 8, (uint64_t)balance);
    if (store_put(b->f.store, table, slice_of(key, len), slice_of(value, sizeof value)) != 0) {
        bank_wrong(b, "store_put failed", n, 0);
    }
}

static void writer_operation(struct bank *b, uint64_t n)
{
    struct operation o = operation_at(n);
    struct store_view *v = store_writer_view(b->f.store);
    struct slice value;
    unsigned sides[2] = {o.from, o.to};
    for (int i = 0; i < 2; i++) {
        uint8_t key = (uint8_t)sides[i];
        int64_t balance = BALANCE;
        int rc = store_get(v, TABLE_INDEX, slice_of(&key, 1), &value);
        if (rc == 1) {
            balance = (int64_t)bytes_le64(value.data + 8);
        } else if (rc < 0) {
            bank_wrong(b, "the writer cannot read", n, (uint64_t)-rc);
        }
        if (balance != account_at(&b->accounts[key], n - 1).balance) {
            bank_wrong(b, "the writer reads a wrong balance", n, key);
        }
        writer_put(b, TABLE_INDEX, &key, 1, n, balance + (i == 0 ? -o.amount : o.amount));
    }
    uint8_t token = (uint8_t)operation_at(n - 1).token;
    if (store_erase(b->f.store, TABLE_EPOCH, slice_of(&token, 1)) != 0) {
        bank_wrong(b, "store_erase failed", n, 0);
    }
    token = (uint8_t)o.token;
    writer_put(b, TABLE_EPOCH, &token, 1, n, 0);
    writer_put(b, TABLE_LEASE, "n", 1, n, 0);
    uint8_t record[8];
    bytes_put_be64(record, n);
    writer_put(b, TABLE_RECORD, record, sizeof record, n, 0);
}

static uint64_t floor_at(uint64_t n)
{
    return n < 200 ? 0 : (n - 200) / 50 * 50;
}

/* Goes back to the copy's state when there is one; returns the operation to go on after. */
static uint64_t writer_install(struct bank *b, uint64_t n)
{
    struct errmsg e = {""};
    pthread_mutex_lock(&b->checkpointing);
    if (b->have_copy) {
        b->have_copy = false;
        if (store_install(b->f.store, b->copy, &e) != 0) {
            bank_wrong(b, e.text, n, 0);
        } else {
            n = b->copy_index;
            atomic_fetch_add(&b->installs, 1);
        }
    }
    pthread_mutex_unlock(&b->checkpointing);
    return n;
}

/* Seals, so that there is work for the checkpoint thread, and waits until it did `steps` in all. */
static void writer_await_checkpoints(struct bank *b, uint64_t n, uint64_t steps)
{
    uint64_t until = clock_mono_ns() + PATIENCE_NS;
    while (atomic_load(&b->checkpoints) < steps && clock_mono_ns() < until) {
        struct store_meta meta = {
            .applied_index = n, .revision = (int64_t)n, .compact_revision = (int64_t)floor_at(n)};
        if (store_seal(b->f.store, &meta)) {
            pthread_cond_signal(&b->sealed);
        }
        sched_yield();
    }
}

static void *writer_run(void *data)
{
    struct bank *b = data;
    uint64_t n = 0;
    pthread_barrier_wait(&b->begin);
    for (uint64_t turn = 1; turn <= b->operations; turn++) {
        n++;
        writer_operation(b, n);
        struct store_point point = {
            .revision = (int64_t)n, .compact_revision = (int64_t)floor_at(n), .applied_index = n};
        store_publish(b->f.store, &point);
        for (int i = 0; i < 1000 && atomic_load(&b->calm); i++) {
            sched_yield();
        }
        if (mix(turn) % 20 == 0) {
            struct store_meta meta = {.applied_index = n,
                                      .revision = (int64_t)n,
                                      .compact_revision = (int64_t)floor_at(n)};
            if (store_seal(b->f.store, &meta)) {
                pthread_cond_signal(&b->sealed);
            }
            sched_yield();
        }
        if (turn % OPERATIONS_PER_CHECKPOINT == 0) {
            writer_await_checkpoints(b, n, turn / OPERATIONS_PER_CHECKPOINT);
        }
        if (turn % 500 == 0) {
            n = writer_install(b, n);
        }
    }
    uint64_t until = clock_mono_ns() + PATIENCE_NS;
    while (atomic_load(&b->views) < b->views_wanted && clock_mono_ns() < until) {
        sched_yield();
    }
    atomic_store(&b->stop, true);
    pthread_mutex_lock(&b->checkpointing);
    b->stop_checkpoints = true;
    pthread_cond_signal(&b->sealed);
    pthread_mutex_unlock(&b->checkpointing);
    return NULL;
}

/* ---- the checkpoint thread
 * ------------------------------------------------------------------------ */

/* Drops the checkpoint's records up to its floor, which every new reader's point has by now. */
static int drop_records(struct store_txn *t, void *data)
{
    int64_t floor = store_txn_meta(t)->compact_revision;
    struct slice key;
    struct slice value;
    for (int i = 0; i < 200; i++) {
        int rc = store_txn_seek(t, TABLE_RECORD, slice_of(NULL, 0), &key, &value);
        if (rc < 0) {
            return -rc;
        }
        if (rc == 0 || (int64_t)bytes_be64(key.data) > floor) {
            return 0;
        }
        int err = store_txn_erase(t, TABLE_RECORD, key);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static void checkpoint_step(struct bank *b, uint64_t step)
{
    int err = store_checkpoint(b->f.store);
    if (err != 0) {
        bank_wrong(b, "store_checkpoint failed", step, (uint64_t)err);
    }
    if (step % 3 == 0) {
        err = store_maintain(b->f.store, drop_records, NULL);
    }
    if (err == 0 && step % 5 == 2) {
        /* It takes a moment without views: most readers hold back meanwhile. */
        atomic_store(&b->calm, true);
        err = ERR_BUSY;
        bool first = atomic_load(&b->trims) == 0 && b->views_wanted > 0;
        uint64_t until = clock_mono_ns() + (first ? PATIENCE_NS / 2 : 0);
        for (int i = 0; err == ERR_BUSY && (i < 500 || clock_mono_ns() < until); i++) {
            err = store_trim(b->f.store);
            sched_yield();
        }
        atomic_store(&b->calm, false);
        atomic_fetch_add(&b->trims, err == 0);
        err = err == ERR_BUSY ? 0 : err;
    }
    if (err == 0 && step % 40 == 7) {
        err = store_defragment(b->f.store);
    }
    if (err == 0 && step % 40 == 20) {
        struct store_meta meta;
        struct buf configuration;
        buf_init(&configuration);
        err = store_copy(b->f.store, b->copy, &meta, &configuration);
        buf_close(&configuration);
        b->have_copy = err == 0;
        b->copy_index = meta.applied_index;
    }
    if (err != 0) {
        bank_wrong(b, "maintenance failed", step, (uint64_t)err);
    }
    atomic_fetch_add(&b->checkpoints, 1);
}

static void *checkpoint_run(void *data)
{
    struct bank *b = data;
    pthread_barrier_wait(&b->begin);
    pthread_mutex_lock(&b->checkpointing);
    for (uint64_t step = 0; !b->stop_checkpoints; step++) {
        while (!store_sealed(b->f.store) && !b->stop_checkpoints) {
            /* The signal may come before the wait: the writer does not hold the lock. A timeout
             * bounds that, and the sealed flag says what is to be done. */
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 2000000;
            if (until.tv_nsec >= 1000000000) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000;
            }
            pthread_cond_timedwait(&b->sealed, &b->checkpointing, &until);
        }
        checkpoint_step(b, step);
        pthread_mutex_unlock(&b->checkpointing);
        sched_yield();
        pthread_mutex_lock(&b->checkpointing);
    }
    pthread_mutex_unlock(&b->checkpointing);
    return NULL;
}

/* ---- the readers
 * --------------------------------------------------------------------------------- */

static void read_accounts(struct bank *b, struct store_view *v, uint64_t n)
{
    struct store_cursor *c;
    if (store_cursor_open(v, TABLE_INDEX, &c) != 0) {
        bank_wrong(b, "no cursor", n, 0);
        return;
    }
    int64_t sum = 0;
    unsigned at = 0;
    int rc = store_cursor_seek(c, slice_of(NULL, 0));
    for (; rc == 1; rc = store_cursor_next(c), at++) {
        unsigned id = store_cursor_key(c).data[0];
        while (at < id && account_at(&b->accounts[at], n).since == 0) {
            sum += BALANCE;
            at++;
        }
        struct change want = account_at(&b->accounts[id], n);
        struct slice value = store_cursor_value(c);
        if (at != id || bytes_le64(value.data) != want.since ||
            (int64_t)bytes_le64(value.data + 8) != want.balance) {
            bank_wrong(b, "a wrong account", n, id);
        }
        sum += (int64_t)bytes_le64(value.data + 8);
    }
    for (; at < ACCOUNTS; at++) {
        sum += BALANCE;
        if (account_at(&b->accounts[at], n).since != 0) {
            bank_wrong(b, "a missing account", n, at);
        }
    }
    if (rc != 0 || sum != (int64_t)ACCOUNTS * BALANCE) {
        bank_wrong(b, "a wrong sum", n, (uint64_t)sum);
    }
    store_cursor_close(c);
}

/* Exactly the token of operation n is there. */
static void read_token(struct bank *b, struct store_view *v, uint64_t n)
{
    struct store_cursor *c;
    unsigned found = 0;
    if (store_cursor_open(v, TABLE_EPOCH, &c) != 0) {
        bank_wrong(b, "no cursor", n, 0);
        return;
    }
    for (int rc = store_cursor_seek(c, slice_of(NULL, 0)); rc == 1; rc = store_cursor_next(c)) {
        found++;
        if (store_cursor_key(c).data[0] != operation_at(n).token ||
            bytes_le64(store_cursor_value(c).data) != n) {
            bank_wrong(b, "a wrong token", n, store_cursor_key(c).data[0]);
        }
    }
    store_cursor_close(c);
    if (found != (n > 0)) {
        bank_wrong(b, "not one token", n, found);
    }
}

/* All records after the point's floor are there, none after n. */
static void read_records(struct bank *b, struct store_view *v, uint64_t n, uint64_t floor)
{
    struct store_cursor *c;
    uint8_t key[8];
    uint64_t next = floor + 1;
    if (store_cursor_open(v, TABLE_RECORD, &c) != 0) {
        bank_wrong(b, "no cursor", n, 0);
        return;
    }
    bytes_put_be64(key, next);
    for (int rc = store_cursor_seek(c, slice_of(key, 8)); rc == 1; rc = store_cursor_next(c)) {
        if (bytes_be64(store_cursor_key(c).data) != next ||
            bytes_le64(store_cursor_value(c).data) != next) {
            bank_wrong(b, "a wrong record", n, bytes_be64(store_cursor_key(c).data));
        }
        next++;
    }
    if (next != n + 1) {
        bank_wrong(b, "records end elsewhere", n, next);
    }
    store_cursor_close(c);
}

static void *reader_run(void *data)
{
    struct bank *b = data;
    uint64_t turn = 0;
    pthread_barrier_wait(&b->begin);
    while (!atomic_load(&b->stop)) {
        struct store_view *v;
        if (atomic_load(&b->calm) && mix(turn++) % 64 != 0) {
            sched_yield();
            continue;
        }
        if (store_view_open(b->f.store, &v) != 0) {
            bank_wrong(b, "no view", 0, 0);
            break;
        }
        uint64_t n = store_view_point(v)->applied_index;
        uint64_t floor = n == 0 ? 0 : (uint64_t)store_view_point(v)->compact_revision;
        for (int pass = 0; pass < (turn % 16 == 0 ? 3 : 1); pass++) {
            struct slice value;
            int rc = store_get(v, TABLE_LEASE, slice_of("n", 1), &value);
            if (rc != (n > 0) || (rc == 1 && bytes_le64(value.data) != n)) {
                bank_wrong(b, "another operation's row", n, rc == 1 ? bytes_le64(value.data) : 0);
            }
            read_accounts(b, v, n);
            read_token(b, v, n);
            read_records(b, v, n, floor);
        }
        store_view_close(v);
        atomic_fetch_add(&b->views, 1);
        turn++;
    }
    return NULL;
}

/* ---- runs
 * ---------------------------------------------------------------------------------------- */

static struct bank *bank_open(uint64_t operations)
{
    struct bank *b = calloc(1, sizeof *b);
    fixture_init(&b->f);
#ifdef KVD_DEBUG
    atomic_store(&store_test_trim_always, true);
#endif
    snprintf(b->copy, sizeof b->copy, "%s.copy", b->f.dir);
    b->operations = operations;
    pthread_barrier_init(&b->begin, NULL, 2 + READERS);
    pthread_mutex_init(&b->checkpointing, NULL);
    pthread_mutex_init(&b->message_lock, NULL);
    pthread_cond_init(&b->sealed, NULL);
    for (uint64_t n = 1; n <= operations; n++) {
        struct operation o = operation_at(n);
        account_change(&b->accounts[o.from], n, -o.amount);
        account_change(&b->accounts[o.to], n, o.amount);
    }
    return b;
}

static void bank_run(struct bank *b)
{
    pthread_t writer;
    pthread_t checkpointer;
    pthread_t readers[READERS];
    assert_int_equal(pthread_create(&writer, NULL, writer_run, b), 0);
    assert_int_equal(pthread_create(&checkpointer, NULL, checkpoint_run, b), 0);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, reader_run, b), 0);
    }
    pthread_join(writer, NULL);
    pthread_join(checkpointer, NULL);
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
    }
}

static void bank_close(struct bank *b)
{
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        free(b->accounts[i].changes);
    }
    unlink(b->copy);
    fixture_close(&b->f);
    free(b);
}

static uint64_t operations_wanted(void)
{
    const char *text = getenv("STORE_STRESS_OPERATIONS");
    return text == NULL ? OPERATIONS_DEFAULT : strtoull(text, NULL, 10);
}

static void every_view_is_one_moment(void **state)
{
    struct bank *b = bank_open(operations_wanted());
    b->views_wanted = VIEWS_WANTED;
    bank_run(b);
    print_message("%llu views, %llu checkpoint steps, %llu installs, %llu trims\n",
                  (unsigned long long)b->views, (unsigned long long)b->checkpoints,
                  (unsigned long long)b->installs, (unsigned long long)b->trims);
    if (b->wrong != 0) {
        fail_msg("%llu wrong reads, first: %s", (unsigned long long)b->wrong, b->message);
    }
    assert_true(b->views >= VIEWS_WANTED);
    assert_true(b->checkpoints >= b->operations / OPERATIONS_PER_CHECKPOINT);
    assert_true(b->installs > 0);
    assert_true(b->trims > 0);
    bank_close(b);
}

#ifdef KVD_DEBUG
/* Holds a reader between taking its version and beginning its transaction until some commits have
 * passed, as a busy machine may. */
static void window_wait(void *data)
{
    struct bank *b = data;
    uint64_t before = atomic_load(&b->checkpoints);
    while (atomic_load(&b->checkpoints) < before + 2 && !atomic_load(&b->stop)) {
        sched_yield();
    }
}

static void window_run(uint64_t operations, bool planted, uint64_t *wrong, char *message)
{
    struct bank *b = bank_open(operations);
    store_test_view_window_data = b;
    store_test_view_window = window_wait;
    atomic_store(&store_test_skip_version_retry, planted);
    bank_run(b);
    atomic_store(&store_test_skip_version_retry, false);
    store_test_view_window = NULL;
    *wrong = b->wrong;
    snprintf(message, 300, "%s", b->message);
    bank_close(b);
}

/* The planted bug (no comparison of version and transaction) is caught; without it the same unlucky
 * readers see nothing wrong. */
static void the_version_retry_is_needed(void **state)
{
    char message[300];
    uint64_t wrong;
    window_run(1000, false, &wrong, message);
    if (wrong != 0) {
        fail_msg("%llu wrong reads, first: %s", (unsigned long long)wrong, message);
    }
    window_run(1000, true, &wrong, message);
    print_message("without the retry: %llu wrong reads, first: %s\n", (unsigned long long)wrong,
                  message);
    assert_true(wrong > 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_view_is_one_moment),
#ifdef KVD_DEBUG
        cmocka_unit_test(the_version_retry_is_needed),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
