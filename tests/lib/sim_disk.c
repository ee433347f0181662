/* sim_disk.c - files as byte arrays, operations as a list sorted by due time.
 *
 * An operation's effect happens at its completion; until then only a crash lets parts of it show.
 * The bytes of a write are copied at submission and compared at completion, so a caller that reuses
 * its buffer too early is caught. */
#include "tests/lib/sim_disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/list.h"
#include "base/rand.h"

enum sim_op_kind { SIM_CREATE, SIM_WRITE, SIM_REMOVE };

struct sim_file {
    struct list node; /* sim_disk.files, sorted by name */
    char *name;
    uint8_t *data;
    size_t len;
};

struct disk_file {
    struct list node;      /* sim_disk.handles */
    struct sim_file *file; /* NULL once removed */
    uint64_t life;         /* handles of an earlier life only close */
};

struct sim_op {
    struct list node; /* sim_disk.ops, sorted by due */
    enum sim_op_kind kind;
    uint64_t due_ms;
    struct disk_req *req;
    struct disk_file *handle;
    struct disk_file **out;
    uint64_t offset;
    const void *theirs;
    uint8_t *bytes;
    size_t len;
    char **names;
    size_t name_count;
    int err; /* decided at submission, except for a full disk */
};

struct sim_disk {
    struct disk disk;
    struct sim_disk_options o;
    struct rand rand;
    struct list files;
    struct list handles;
    struct list ops;
    uint64_t now_ms;
    uint64_t life;
    uint64_t op_count;
    uint64_t written;
    uint64_t fail_countdown;
    uint64_t cut_countdown;
    bool full_writes;
    bool dead;
};

static void *sim_alloc(size_t size)
{
    void *p = calloc(1, size == 0 ? 1 : size);
    FATAL_IF(p == NULL, "the simulated disk is out of memory");
    return p;
}

static char *sim_strdup(const char *text)
{
    size_t len = strlen(text);
    char *copy = sim_alloc(len + 1);
    memcpy(copy, text, len);
    return copy;
}

static struct sim_disk *sim_of(const struct disk *d)
{
    return d->impl;
}

/* ---- files ----------------------------------------------------------------------------------- */

static struct sim_file *sim_find(const struct sim_disk *s, const char *name)
{
    LIST_FOREACH (it, &s->files) {
        struct sim_file *f = LIST_ENTRY(it, struct sim_file, node);
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}

static struct sim_file *sim_file_new(struct sim_disk *s, const char *name, size_t len)
{
    struct sim_file *f = sim_alloc(sizeof *f);
    FATAL_IF(strchr(name, '/') != NULL, "file names hold no slash");
    FATAL_IF(sim_find(s, name) != NULL, "the file exists already");
    f->name = sim_strdup(name);
    f->data = sim_alloc(len);
    f->len = len;
    struct list *at = s->files.next;
    while (at != &s->files && strcmp(LIST_ENTRY(at, struct sim_file, node)->name, name) < 0) {
        at = at->next;
    }
    list_insert_before(at, &f->node);
    return f;
}

static void sim_file_free(struct sim_disk *s, struct sim_file *f)
{
    LIST_FOREACH (it, &s->handles) {
        struct disk_file *h = LIST_ENTRY(it, struct disk_file, node);
        if (h->file == f) {
            h->file = NULL;
        }
    }
    list_remove(&f->node);
    free(f->name);
    free(f->data);
    free(f);
}

static struct disk_file *sim_handle(struct sim_disk *s, struct sim_file *f)
{
    struct disk_file *h = sim_alloc(sizeof *h);
    h->file = f;
    h->life = s->life;
    list_push_back(&s->handles, &h->node);
    return h;
}

static uint64_t sim_used(const struct sim_disk *s)
{
    uint64_t used = 0;
    LIST_FOREACH (it, &s->files) {
        used += LIST_ENTRY(it, struct sim_file, node)->len;
    }
    return used;
}

static bool sim_has_room(const struct sim_disk *s, uint64_t more)
{
    return s->o.room_bytes == 0 || sim_used(s) + more <= s->o.room_bytes;
}

/* Each sector of the range becomes new with probability one half. */
static void sim_tear(struct sim_disk *s, struct sim_file *f, uint64_t offset, const uint8_t *bytes,
                     size_t len)
{
    while (len > 0) {
        size_t n = s->o.sector_bytes - (size_t)(offset % s->o.sector_bytes);
        n = n < len ? n : len;
        if (rand_chance(&s->rand, 0.5)) {
            memcpy(f->data + offset, bytes, n);
        }
        offset += n;
        bytes += n;
        len -= n;
    }
}

/* ---- synchronous calls ----------------------------------------------------------------------- */

/* Counts an operation; true when it must fail. */
static bool sim_fails(struct sim_disk *s)
{
    s->op_count++;
    if (s->dead) {
        return true;
    }
    return s->fail_countdown > 0 && --s->fail_countdown == 0;
}

static int sim_list(struct disk *d, void (*name)(void *data, const char *name, uint64_t size),
                    void *data)
{
    struct sim_disk *s = sim_of(d);
    if (sim_fails(s)) {
        return ERR_IO;
    }
    LIST_FOREACH (it, &s->files) {
        struct sim_file *f = LIST_ENTRY(it, struct sim_file, node);
        name(data, f->name, f->len);
    }
    return 0;
}

static int sim_read(struct disk *d, const char *name, uint64_t offset, void *out, size_t len,
                    size_t *got)
{
    struct sim_disk *s = sim_of(d);
    struct sim_file *f = sim_find(s, name);
    if (sim_fails(s) || f == NULL) {
        return ERR_IO;
    }
    size_t left = offset < f->len ? f->len - (size_t)offset : 0;
    *got = len < left ? len : left;
    if (*got > 0) {
        memcpy(out, f->data + offset, *got);
    }
    return 0;
}

static int sim_write_now(struct disk *d, const char *name, uint64_t offset, const void *bytes,
                         size_t len)
{
    struct sim_disk *s = sim_of(d);
    bool fails = sim_fails(s);
    if (s->dead) {
        return ERR_IO;
    }
    bool cut = s->cut_countdown > 0 && --s->cut_countdown == 0;
    struct sim_file *f = sim_find(s, name);
    if (f == NULL) {
        FATAL_IF(offset != 0, "a new file is written from its start");
        if (!fails && !cut && !sim_has_room(s, len)) {
            return ERR_NO_SPACE;
        }
        if (!fails && (!cut || rand_chance(&s->rand, 0.5))) {
            f = sim_file_new(s, name, len);
            memcpy(f->data, bytes, len);
        }
    } else {
        FATAL_IF(offset + len > f->len, "write_now does not grow a file");
        if (fails || cut) {
            sim_tear(s, f, offset, bytes, len);
        } else {
            memcpy(f->data + offset, bytes, len);
        }
    }
    s->written += len;
    s->dead = s->dead || cut;
    return fails || cut ? ERR_IO : 0;
}

static struct disk_file *sim_open(struct disk *d, const char *name)
{
    struct sim_disk *s = sim_of(d);
    struct sim_file *f = sim_find(s, name);
    return f == NULL || sim_fails(s) ? NULL : sim_handle(s, f);
}

static void sim_close(struct disk *d, struct disk_file *h)
{
    struct sim_disk *s = sim_of(d);
    LIST_FOREACH (it, &s->ops) {
        FATAL_IF(LIST_ENTRY(it, struct sim_op, node)->handle == h, "closed under a write");
    }
    list_remove(&h->node);
    free(h);
}

/* ---- asynchronous calls ---------------------------------------------------------------------- */

static void sim_op_free(struct sim_op *op)
{
    list_remove(&op->node);
    for (size_t i = 0; i < op->name_count; i++) {
        free(op->names[i]);
    }
    free(op->names);
    free(op->bytes);
    free(op);
}

static struct sim_op *sim_submit(struct sim_disk *s, enum sim_op_kind kind, struct disk_req *req)
{
    struct sim_op *op = sim_alloc(sizeof *op);
    op->kind = kind;
    op->req = req;
    op->err = sim_fails(s) ? ERR_IO : 0;
    uint64_t spread = s->o.latency_ms_max - s->o.latency_ms_min + 1;
    uint64_t latency = s->o.latency_ms_min + rand_below(&s->rand, spread);
    if (rand_chance(&s->rand, s->o.slow_chance)) {
        latency += rand_below(&s->rand, s->o.slow_ms_max);
    }
    op->due_ms = s->now_ms + latency;
    struct list *at = s->ops.next;
    while (at != &s->ops && LIST_ENTRY(at, struct sim_op, node)->due_ms <= op->due_ms) {
        at = at->next;
    }
    list_insert_before(at, &op->node);
    return op;
}

static void sim_create(struct disk *d, struct disk_req *req, const char *name, uint64_t size,
                       struct disk_file **file)
{
    struct sim_disk *s = sim_of(d);
    FATAL_IF(sim_find(s, name) != NULL, "created twice");
    struct sim_op *op = sim_submit(s, SIM_CREATE, req);
    op->names = sim_alloc(sizeof *op->names);
    op->names[0] = sim_strdup(name);
    op->name_count = 1;
    op->len = (size_t)size;
    op->out = file;
}

static void sim_write(struct disk *d, struct disk_req *req, struct disk_file *h, uint64_t offset,
                      const void *bytes, size_t len)
{
    struct sim_disk *s = sim_of(d);
    LIST_FOREACH (it, &s->ops) {
        FATAL_IF(LIST_ENTRY(it, struct sim_op, node)->kind == SIM_WRITE, "two writes in flight");
    }
    FATAL_IF(h->file == NULL || h->life != s->life, "write through a dead handle");
    FATAL_IF(offset % s->o.sector_bytes != 0 || len % s->o.sector_bytes != 0, "misaligned write");
    FATAL_IF(len == 0 || offset + len > h->file->len, "write outside of the file");
    FATAL_IF((uintptr_t)bytes % 4096 != 0, "misaligned buffer");
    struct sim_op *op = sim_submit(s, SIM_WRITE, req);
    op->handle = h;
    op->offset = offset;
    op->theirs = bytes;
    op->bytes = sim_alloc(len);
    memcpy(op->bytes, bytes, len);
    op->len = len;
    s->written += len;
}

static void sim_remove(struct disk *d, struct disk_req *req, const char *const *names)
{
    struct sim_op *op = sim_submit(sim_of(d), SIM_REMOVE, req);
    while (names[op->name_count] != NULL) {
        op->name_count++;
    }
    op->names = sim_alloc(op->name_count * sizeof *op->names);
    for (size_t i = 0; i < op->name_count; i++) {
        op->names[i] = sim_strdup(names[i]);
    }
}

static void sim_op_crash(struct sim_disk *s, struct sim_op *op);

static void sim_forget(struct disk *d, struct disk_req *req)
{
    struct sim_disk *s = sim_of(d);
    LIST_FOREACH (it, &s->ops) {
        struct sim_op *op = LIST_ENTRY(it, struct sim_op, node);
        if (op->req == req) {
            sim_op_crash(s, op);
            sim_op_free(op);
            return;
        }
    }
}

static void sim_finish_create(struct sim_disk *s, struct sim_op *op)
{
    if (op->err == 0 && !sim_has_room(s, op->len)) {
        op->err = ERR_NO_SPACE;
    }
    if (op->err == 0) {
        *op->out = sim_handle(s, sim_file_new(s, op->names[0], op->len));
    }
}

static void sim_finish_write(struct sim_disk *s, struct sim_op *op)
{
    struct sim_file *f = op->handle->file;
    FATAL_IF(memcmp(op->theirs, op->bytes, op->len) != 0, "bytes changed under a write");
    FATAL_IF(f == NULL, "removed under a write");
    if (op->err == 0 && s->full_writes) {
        op->err = ERR_NO_SPACE;
    }
    if (op->err == 0) {
        memcpy(f->data + op->offset, op->bytes, op->len);
    } else {
        sim_tear(s, f, op->offset, op->bytes, op->len);
    }
}

static void sim_finish_remove(struct sim_disk *s, struct sim_op *op)
{
    for (size_t i = 0; op->err == 0 && i < op->name_count; i++) {
        struct sim_file *f = sim_find(s, op->names[i]);
        if (f != NULL) {
            sim_file_free(s, f);
        }
    }
}

static void sim_finish(struct sim_disk *s, struct sim_op *op)
{
    switch (op->kind) {
    case SIM_CREATE:
        sim_finish_create(s, op);
        break;
    case SIM_WRITE:
        sim_finish_write(s, op);
        break;
    case SIM_REMOVE:
        sim_finish_remove(s, op);
        break;
    }
}

void sim_disk_run(struct disk *d, uint64_t now_ms)
{
    struct sim_disk *s = sim_of(d);
    FATAL_IF(now_ms < s->now_ms, "time goes backwards");
    while (!list_empty(&s->ops)) {
        struct sim_op *op = LIST_ENTRY(s->ops.next, struct sim_op, node);
        if (op->due_ms > now_ms) {
            break;
        }
        /* What the callback submits starts when this one ended, not at the end of the step. */
        s->now_ms = op->due_ms > s->now_ms ? op->due_ms : s->now_ms;
        sim_finish(s, op);
        struct disk_req *req = op->req;
        int err = op->err;
        sim_op_free(op);
        req->cb(req, err);
    }
    s->now_ms = now_ms;
}

uint64_t sim_disk_next_ms(const struct disk *d)
{
    const struct sim_disk *s = sim_of(d);
    return list_empty(&s->ops) ? UINT64_MAX : LIST_ENTRY(s->ops.next, struct sim_op, node)->due_ms;
}

/* ---- crashes and faults ---------------------------------------------------------------------- */

static void sim_op_crash(struct sim_disk *s, struct sim_op *op)
{
    switch (op->kind) {
    case SIM_CREATE:
        if (sim_has_room(s, op->len) && rand_chance(&s->rand, 0.5)) {
            sim_file_new(s, op->names[0], op->len);
        }
        break;
    case SIM_WRITE:
        if (op->handle->file != NULL) {
            sim_tear(s, op->handle->file, op->offset, op->bytes, op->len);
        }
        break;
    case SIM_REMOVE:
        for (size_t i = 0; i < op->name_count; i++) {
            struct sim_file *f = sim_find(s, op->names[i]);
            if (f != NULL && rand_chance(&s->rand, 0.5)) {
                sim_file_free(s, f);
            }
        }
        break;
    }
}

static void sim_end_life(struct sim_disk *s)
{
    while (!list_empty(&s->ops)) {
        sim_op_free(LIST_ENTRY(s->ops.next, struct sim_op, node));
    }
    s->life++;
    s->dead = false;
    s->fail_countdown = 0;
    s->cut_countdown = 0;
}

void sim_disk_crash(struct disk *d)
{
    struct sim_disk *s = sim_of(d);
    LIST_FOREACH (it, &s->ops) {
        sim_op_crash(s, LIST_ENTRY(it, struct sim_op, node));
    }
    sim_end_life(s);
}

void sim_disk_kill(struct disk *d)
{
    struct sim_disk *s = sim_of(d);
    LIST_FOREACH (it, &s->ops) {
        struct sim_op *op = LIST_ENTRY(it, struct sim_op, node);
        if (!rand_chance(&s->rand, 0.5)) {
            continue;
        }
        if (op->kind == SIM_CREATE) {
            if (sim_has_room(s, op->len)) {
                sim_file_new(s, op->names[0], op->len);
            }
        } else {
            sim_finish(s, op);
        }
    }
    sim_end_life(s);
}

void sim_disk_set_room(struct disk *d, uint64_t bytes)
{
    sim_of(d)->o.room_bytes = bytes;
}

void sim_disk_set_full_writes(struct disk *d, bool on)
{
    sim_of(d)->full_writes = on;
}

void sim_disk_fail_at(struct disk *d, uint64_t n)
{
    sim_of(d)->fail_countdown = n;
}

void sim_disk_cut_in_write_now(struct disk *d, uint64_t n)
{
    sim_of(d)->cut_countdown = n;
}

void sim_disk_flip(struct disk *d, const char *name, uint64_t offset, unsigned bit)
{
    struct sim_file *f = sim_find(sim_of(d), name);
    FATAL_IF(f == NULL || offset >= f->len || bit > 7, "no such bit to flip");
    f->data[offset] ^= (uint8_t)(1u << bit);
}

void sim_disk_delete(struct disk *d, const char *name)
{
    struct sim_file *f = sim_find(sim_of(d), name);
    FATAL_IF(f == NULL, "no such file to delete");
    sim_file_free(sim_of(d), f);
}

/* ---- looking at it --------------------------------------------------------------------------- */

uint8_t *sim_disk_file(struct disk *d, const char *name, size_t *len)
{
    struct sim_file *f = sim_find(sim_of(d), name);
    if (f == NULL) {
        return NULL;
    }
    *len = f->len;
    return f->data;
}

const char *sim_disk_name(const struct disk *d, size_t i)
{
    const struct sim_disk *s = sim_of(d);
    LIST_FOREACH (it, &s->files) {
        if (i-- == 0) {
            return LIST_ENTRY(it, struct sim_file, node)->name;
        }
    }
    return NULL;
}

void sim_disk_put(struct disk *d, const char *name, const void *bytes, size_t len)
{
    struct sim_disk *s = sim_of(d);
    struct sim_file *f = sim_find(s, name);
    if (f != NULL && f->len != len) {
        sim_file_free(s, f);
        f = NULL;
    }
    f = f != NULL ? f : sim_file_new(s, name, len);
    if (len > 0) {
        memcpy(f->data, bytes, len);
    }
}

struct disk *sim_disk_copy(const struct disk *d, uint64_t seed)
{
    const struct sim_disk *s = sim_of(d);
    struct sim_disk_options o = s->o;
    o.seed = seed;
    struct disk *copy = sim_disk_new(&o);
    LIST_FOREACH (it, &s->files) {
        struct sim_file *f = LIST_ENTRY(it, struct sim_file, node);
        sim_disk_put(copy, f->name, f->data, f->len);
    }
    return copy;
}

uint64_t sim_disk_used(const struct disk *d)
{
    return sim_used(sim_of(d));
}

size_t sim_disk_in_flight(const struct disk *d)
{
    size_t n = 0;
    LIST_FOREACH (it, &sim_of(d)->ops) {
        n++;
    }
    return n;
}

size_t sim_disk_handles(const struct disk *d)
{
    size_t n = 0;
    LIST_FOREACH (it, &sim_of(d)->handles) {
        n++;
    }
    return n;
}

uint64_t sim_disk_ops(const struct disk *d)
{
    return sim_of(d)->op_count;
}

uint64_t sim_disk_written(const struct disk *d)
{
    return sim_of(d)->written;
}

struct disk *sim_disk_new(const struct sim_disk_options *o)
{
    struct sim_disk *s = sim_alloc(sizeof *s);
    s->o = *o;
    s->o.sector_bytes = o->sector_bytes == 0 ? 512 : o->sector_bytes;
    s->o.latency_ms_min = o->latency_ms_min == 0 ? 1 : o->latency_ms_min;
    s->o.latency_ms_max = o->latency_ms_max == 0 ? 3 : o->latency_ms_max;
    if (s->o.latency_ms_max < s->o.latency_ms_min) {
        s->o.latency_ms_max = s->o.latency_ms_min;
    }
    s->o.slow_ms_max = o->slow_ms_max == 0 ? 3000 : o->slow_ms_max;
    rand_init(&s->rand, o->seed);
    list_init(&s->files);
    list_init(&s->handles);
    list_init(&s->ops);
    s->disk = (struct disk){.impl = s,
                            .sector_bytes = s->o.sector_bytes,
                            .list = sim_list,
                            .read = sim_read,
                            .write_now = sim_write_now,
                            .open = sim_open,
                            .close = sim_close,
                            .create = sim_create,
                            .write = sim_write,
                            .remove = sim_remove,
                            .forget = sim_forget};
    return &s->disk;
}

void sim_disk_free(struct disk *d)
{
    struct sim_disk *s = sim_of(d);
    sim_end_life(s);
    while (!list_empty(&s->handles)) {
        struct disk_file *h = LIST_ENTRY(s->handles.next, struct disk_file, node);
        list_remove(&h->node);
        free(h);
    }
    while (!list_empty(&s->files)) {
        sim_file_free(s, LIST_ENTRY(s->files.next, struct sim_file, node));
    }
    free(s);
}
