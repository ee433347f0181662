/* boot.c - from directory to running core.
 *
 * boot_open reads term, log and, when the log is empty and the store too, the bootstrap file. It
 * refuses what cannot be right: a gap between checkpoint and log, a first entry that is no
 * configuration, configurations that don't decode. Where checkpoint and log contradict each other
 * the checkpoint wins, since it holds committed entries only: that happens after a crash in the
 * middle of a snapshot install. */
#include "raft/boot.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "raft/configuration.h"
#include "raft/io.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"

#define BOOT_FILE       "bootstrap"
#define BOOT_HEAD_BYTES 16u
#define BOOT_BYTES_MAX  (BOOT_HEAD_BYTES + CONFIGURATION_BYTES_MAX)

static const char boot_magic[8] = {'k', 'v', 'd', 'b', 'o', 'o', 't', '1'};

/* ---- bootstrap ---------------------------------------------------------------------------- */

static void boot_note_name(void *data, const char *name, uint64_t size)
{
    struct node_boot *b = data;
    if (strcmp(name, BOOT_FILE) == 0) {
        b->file = true;
    } else {
        b->n++; /* anything else: the directory has been used */
    }
}

static int boot_encode(const struct node_member *members, size_t count, struct raft_buffer *out)
{
    struct raft_configuration c;
    raft_configuration_init(&c);
    int rv = count == 0 || count > MEMBERS_MAX ? RAFT_INVALID : 0;
    /* By id, so that all members write the very same first entry. */
    uint64_t above = 0;
    for (size_t k = 0; k < count && rv == 0; k++) {
        const struct node_member *next = NULL;
        for (size_t i = 0; i < count; i++) {
            if (members[i].id > above && (next == NULL || members[i].id < next->id)) {
                next = &members[i];
            }
        }
        if (next == NULL || strlen(next->address) > MEMBER_ADDRESS_BYTES_MAX) {
            rv = RAFT_INVALID;
            break;
        }
        above = next->id;
        rv = raft_configuration_add(&c, next->id, next->address,
                                    next->kind == NODE_VOTER     ? RAFT_VOTER
                                    : next->kind == NODE_LEARNER ? RAFT_STANDBY
                                                                 : RAFT_SPARE);
    }
    if (rv == 0 && configuration_voters(&c) == 0) {
        rv = RAFT_INVALID;
    }
    if (rv == 0) {
        rv = raft_configuration_encode(&c, out);
    }
    if (rv == 0) {
        configuration_clear_padding(out->base, out->len);
    }
    raft_configuration_close(&c);
    return rv == 0 ? 0 : rv == RAFT_NOMEM ? ERR_NOMEM : ERR_INVALID;
}

int node_bootstrap(const struct node_options *options, const struct node_member *members, size_t n,
                   struct errmsg *e)
{
    struct disk *d = options->disk;
    struct node_boot found = {0};
    if (d->list(d, boot_note_name, &found) != 0) {
        return errmsg_set(e, ERR_IO, "list the log directory");
    }
    if (found.n > 0 || options->applied_index > 0) {
        return errmsg_set(e, ERR_INVALID, "the member was started before");
    }
    struct raft_buffer c;
    int err = boot_encode(members, n, &c);
    if (err != 0) {
        return errmsg_set(e, err,
                          "the initial members are not valid: ids and addresses must "
                          "differ, at least one must vote");
    }
    uint8_t bytes[BOOT_BYTES_MAX];
    FATAL_IF(c.len > sizeof(bytes) - BOOT_HEAD_BYTES, "BOOT_BYTES_MAX is too small");
    memcpy(bytes, boot_magic, sizeof(boot_magic));
    bytes_put_le32(bytes + 8, (uint32_t)c.len);
    bytes_put_le32(bytes + 12, crc32c(0, c.base, c.len));
    memcpy(bytes + BOOT_HEAD_BYTES, c.base, c.len);
    err = d->write_now(d, BOOT_FILE, 0, bytes, BOOT_HEAD_BYTES + c.len);
    raft_free(c.base);
    return err == 0 ? 0 : errmsg_set(e, err, "write the initial configuration");
}

static int boot_read_file(struct node *n, struct slice *configuration, uint8_t *bytes,
                          struct errmsg *e)
{
    struct disk *d = n->options.disk;
    size_t got = 0;
    if (d->read(d, BOOT_FILE, 0, bytes, BOOT_BYTES_MAX, &got) != 0) {
        return errmsg_set(e, ERR_IO, "read %s", BOOT_FILE);
    }
    uint32_t len = got >= BOOT_HEAD_BYTES ? bytes_le32(bytes + 8) : 0;
    if (got < BOOT_HEAD_BYTES || memcmp(bytes, boot_magic, sizeof(boot_magic)) != 0 ||
        len > got - BOOT_HEAD_BYTES ||
        crc32c(0, bytes + BOOT_HEAD_BYTES, len) != bytes_le32(bytes + 12)) {
        return errmsg_set(e, ERR_DAMAGED, "%s is incomplete or damaged; bootstrap the member again",
                          BOOT_FILE);
    }
    *configuration = slice_of(bytes + BOOT_HEAD_BYTES, len);
    return 0;
}

static void boot_removed(struct disk_req *req, int err)
{
    struct node *n = req->data;
    n->boot.removing = false;
    n->boot.file = err != 0; /* a leftover is removed by the next start */
    node_close_step(n);
}

void boot_remove_file(struct node *n)
{
    static const char *const names[] = {BOOT_FILE, NULL};
    if (!n->boot.file || n->boot.removing) {
        return;
    }
    n->boot.removing = true;
    n->boot.remove = (struct disk_req){.data = n, .cb = boot_removed};
    n->options.disk->remove(n->options.disk, &n->boot.remove, names);
}

/* Entry 1 on its way to the disk. */
struct boot_first {
    struct log_append append;
    struct log_entry entry;
    struct node *node;
    uint8_t payload[];
};

static void boot_first_durable(struct log_append *req)
{
    struct boot_first *f = req->data;
    struct node *n = f->node;
    n->boot.writing = NULL;
    mem_free(f);
    if (!n->closing) {
        boot_remove_file(n);
    }
    node_settle(n);
}

static int boot_add(struct node *n, const struct log_entry *e);

/* The log is empty and the store too: entry 1 is what node_bootstrap left, term 1. libraft may run
 * on it before it is durable, since everything else queues behind it in the log. */
static int boot_first_entry(struct node *n, struct errmsg *e)
{
    uint8_t bytes[BOOT_BYTES_MAX];
    struct slice c = {NULL, 0};
    int err = boot_read_file(n, &c, bytes, e);
    if (err != 0) {
        return err;
    }
    if (term_file_term(n->terms) == 0) {
        err = term_file_set(n->terms, 1, 0);
        if (err != 0) {
            return errmsg_set(e, err, "store the first term");
        }
    }
    struct boot_first *f = mem_alloc(sizeof(*f) + c.len);
    if (f == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    memcpy(f->payload, c.data, c.len);
    f->node = n;
    f->append = (struct log_append){.data = f, .cb = boot_first_durable};
    f->entry = (struct log_entry){
        .index = 1, .term = 1, .type = RAFT_CHANGE, .payload = slice_of(f->payload, c.len)};
    err = boot_add(n, &f->entry);
    if (err != 0) {
        mem_free(f);
        return errmsg_set(e, err, "initial configuration");
    }
    n->boot.writing = f;
    log_append(n->log, &f->append, &f->entry, 1);
    return 0;
}

/* ---- log ---------------------------------------------------------------------------------- */

static bool boot_grow(struct node_boot *b)
{
    if (b->n < b->cap) {
        return true;
    }
    size_t cap = b->cap == 0 ? 256 : 2 * b->cap;
    struct raft_entry *entries = raft_realloc(b->entries, cap * sizeof(*entries));
    if (entries == NULL) {
        return false;
    }
    b->entries = entries;
    b->cap = cap;
    return true;
}

/* Takes one entry of the log into memory of libraft's. */
static int boot_add(struct node *n, const struct log_entry *e)
{
    struct node_boot *b = &n->boot;
    struct raft_configuration c;
    if (b->n == 0) {
        b->first = e->index;
    }
    if (e->index != b->first + b->n || e->term == 0 || e->type < RAFT_COMMAND ||
        e->type > RAFT_CHANGE || (b->n > 0 && e->term < b->entries[b->n - 1].term)) {
        return ERR_DAMAGED;
    }
    if (e->type == RAFT_CHANGE) {
        if (configuration_decode(e->payload, &c) != 0) {
            return ERR_DAMAGED;
        }
        raft_configuration_close(&c);
    }
    uint8_t *payload = raft_malloc(e->payload.len == 0 ? 1 : e->payload.len);
    if (payload == NULL || !boot_grow(b)) {
        raft_free(payload);
        return ERR_NOMEM;
    }
    if (e->payload.len > 0) {
        memcpy(payload, e->payload.data, e->payload.len);
    }
    b->entries[b->n] = (struct raft_entry){
        .term = e->term, .type = e->type, .buf = {.base = payload, .len = e->payload.len}};
    snapshot_count(n, &b->entries[b->n], 1);
    b->n++;
    return 0;
}

static int boot_entry(void *data, const struct log_entry *e)
{
    return boot_add(data, e);
}

static void boot_drop_entries(struct node *n)
{
    struct node_boot *b = &n->boot;
    for (size_t i = 0; i < b->n; i++) {
        raft_free(b->entries[i].buf.base);
    }
    raft_free(b->entries);
    b->entries = NULL;
    b->n = b->cap = 0;
    n->snapshot.bytes = 0;
}

static void boot_reset_done(struct log_append *req)
{
    node_settle(req->data);
}

/* Log against checkpoint. */
static int boot_check(struct node *n, struct errmsg *e)
{
    struct node_boot *b = &n->boot;
    uint64_t applied = n->options.applied_index;
    if (b->n > 0 && b->first > applied + 1) {
        return errmsg_set(e, ERR_DAMAGED,
                          "the log starts at entry %llu but the store ends at %llu: files are "
                          "missing from the data directory",
                          (unsigned long long)b->first, (unsigned long long)applied);
    }
    if (applied == 0) {
        if (b->n > 0 && b->entries[0].type != RAFT_CHANGE) {
            return errmsg_set(e, ERR_DAMAGED, "entry 1 of the log is no configuration");
        }
        return 0;
    }
    uint64_t at = applied - b->first;
    bool contradicts = b->n > 0 && applied >= b->first && at < b->n &&
                       b->entries[at].term != n->options.applied_term;
    if (contradicts || b->n == 0 || b->first + b->n <= applied) {
        if (contradicts) {
            LOG(LOG_WARN,
                "the log holds uncommitted entries below the store's end, left by an "
                "interrupted snapshot install; the store wins",
                F_UINT("index", applied));
        }
        boot_drop_entries(n);
        b->first = applied + 1;
    }
    if (log_last_index(n->log) + 1 != b->first + b->n) {
        n->snapshot.reset = (struct log_append){.data = n, .cb = boot_reset_done};
        log_reset(n->log, &n->snapshot.reset, applied, n->options.applied_term);
    }
    return 0;
}

static void boot_log_full(void *data, bool is_full)
{
    struct node *n = data;
    if (n->options.callbacks.disk_full != NULL) {
        n->options.callbacks.disk_full(n->options.callbacks.data, is_full);
    }
}

static void boot_log_dead(void *data, const char *why)
{
    struct node *n = data;
    n->log_dead = true;
    node_fail(n, why);
}

int boot_open(struct node *n, struct errmsg *e)
{
    struct disk *d = n->options.disk;
    struct node_boot names = {0};
    struct raft_configuration c;
    if (n->options.applied_index > 0) {
        if (n->options.applied_term == 0 ||
            configuration_decode(n->options.configuration, &c) != 0) {
            return errmsg_set(e, ERR_DAMAGED, "the store has no valid raft configuration");
        }
        raft_configuration_close(&c);
    }
    if (d->list(d, boot_note_name, &names) != 0) {
        return errmsg_set(e, ERR_IO, "list the log directory");
    }
    n->boot.file = names.file;
    int err = term_file_open(d, &n->terms, e);
    if (err != 0) {
        return errmsg_wrap(e, err, "term");
    }
    struct log_options o = {.disk = d,
                            .segment_bytes = n->options.segment_bytes,
                            .applied_index = n->options.applied_index,
                            .applied_term = n->options.applied_term,
                            .full = boot_log_full,
                            .fatal = boot_log_dead,
                            .data = n};
    uint64_t first = 0;
    err = log_open(&o, boot_entry, n, &n->log, &first, e);
    if (err != 0) {
        return errmsg_wrap(e, err, "log");
    }
    if (n->boot.n == 0) {
        n->boot.first = first;
    }
    /* A store that was installed just before a crash may know of a newer term than we stored. */
    if (n->options.applied_term > term_file_term(n->terms)) {
        err = term_file_set(n->terms, n->options.applied_term, 0);
        if (err != 0) {
            return errmsg_set(e, err, "store the term of the installed store");
        }
    }
    err = boot_check(n, e);
    if (err != 0) {
        return err;
    }
    if (n->boot.n == 0 && n->options.applied_index == 0 && n->boot.file) {
        return boot_first_entry(n, e);
    }
    boot_remove_file(n);
    return 0;
}

void boot_close(struct node *n)
{
    if (n->boot.removing) {
        n->options.disk->forget(n->options.disk, &n->boot.remove);
    }
    mem_free(n->boot.writing);
    boot_drop_entries(n);
}

/* ---- handing over ------------------------------------------------------------------------- */

/* The newest configuration libraft will find. false: none. */
static bool boot_newest_configuration(const struct node *n, struct slice *out)
{
    for (size_t i = n->boot.n; i > 0; i--) {
        const struct raft_entry *e = &n->boot.entries[i - 1];
        if (e->type == RAFT_CHANGE) {
            *out = slice_of(e->buf.base, e->buf.len);
            return true;
        }
    }
    *out = buf_slice(&n->committed);
    return out->len > 0;
}

static int boot_new_term(struct node *n)
{
    struct slice encoded;
    struct raft_configuration c;
    if (!boot_newest_configuration(n, &encoded) || configuration_decode(encoded, &c) != 0) {
        return 0;
    }
    bool sole = configuration_only_voter(&c, n->options.id);
    raft_configuration_close(&c);
    return sole ? term_file_set(n->terms, term_file_term(n->terms) + 1, n->options.id) : 0;
}

static int boot_snapshot(struct node *n, struct raft_snapshot **out)
{
    struct raft_snapshot *s = raft_calloc(1, sizeof(*s));
    struct raft_buffer *buf = raft_malloc(sizeof(*buf));
    void *stub = raft_calloc(1, 8);
    if (s == NULL || buf == NULL || stub == NULL ||
        configuration_decode(buf_slice(&n->committed), &s->configuration) != 0) {
        raft_free(s);
        raft_free(buf);
        raft_free(stub);
        return RAFT_NOMEM;
    }
    *buf = (struct raft_buffer){.base = stub, .len = 8};
    s->index = n->options.applied_index;
    s->term = n->options.applied_term;
    s->configuration_index = n->committed_index;
    s->bufs = buf;
    s->n_bufs = 1;
    *out = s;
    return 0;
}

int boot_load(struct node *n, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
              raft_index *start_index, struct raft_entry *entries[], size_t *n_entries)
{
    struct node_boot *b = &n->boot;
    if (boot_new_term(n) != 0) {
        return RAFT_IOERR;
    }
    *snapshot = NULL;
    if (n->options.applied_index > 0) {
        int rv = boot_snapshot(n, snapshot);
        if (rv != 0) {
            return rv;
        }
    }
    *term = term_file_term(n->terms);
    *voted_for = term_file_vote(n->terms);
    *start_index = b->first;
    *entries = b->entries;
    *n_entries = b->n;
    b->entries = NULL;
    b->n = b->cap = 0;
    return 0;
}

/* One change at a time: a configuration followed by another was committed, so only the newest may
 * not be. libraft 0.15 could neither roll it back nor keep a second change away from it otherwise.
 */
void boot_mark_uncommitted(struct node *n)
{
    struct raft *r = &n->raft;
    uint64_t newest = r->configuration_index;
    if (newest <= r->commit_index) {
        return;
    }
    r->configuration_uncommitted_index = newest;
    r->configuration_index = n->committed_index;
    for (uint64_t i = newest - 1; i > n->committed_index; i--) {
        const struct raft_entry *e = memlog_get(r, i);
        if (e == NULL) {
            break;
        }
        if (e->type == RAFT_CHANGE) {
            r->configuration_index = i;
            break;
        }
    }
}
