/* sim_net.c - a heap of frames ordered by arrival. */
#include "tests/lib/sim_net.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rand.h"

struct sim_frame {
    uint64_t at_ms;
    uint64_t number; /* ties: first sent, first delivered */
    uint64_t from;
    uint64_t to;
    size_t len;
    uint8_t *bytes;
};

struct sim_member {
    uint64_t id;
    struct sim_net *net;
    struct node_transport transport;
    void (*receive)(void *data, uint64_t from, struct slice frame);
    void *data;
    bool paused;
    struct sim_frame *waiting; /* arrived while paused */
    size_t waiting_n;
    size_t waiting_cap;
};

struct sim_net {
    struct sim_net_options o;
    struct rand rand;
    uint64_t now_ms;
    struct sim_member members[SIM_NET_MEMBERS_MAX];
    size_t members_n;
    bool cut[SIM_NET_MEMBERS_MAX][SIM_NET_MEMBERS_MAX];
    uint64_t last_ms[SIM_NET_MEMBERS_MAX][SIM_NET_MEMBERS_MAX];
    size_t queued[SIM_NET_MEMBERS_MAX][SIM_NET_MEMBERS_MAX];
    struct sim_frame *heap;
    size_t heap_n;
    size_t heap_cap;
    uint64_t sent;
    uint64_t delivered;
    bool (*filter)(void *data, uint64_t from, uint64_t to, struct slice frame);
    void *filter_data;
};

static void *sim_grow(void *array, size_t *cap, size_t size)
{
    *cap = *cap == 0 ? 64 : 2 * *cap;
    array = realloc(array, *cap * size);
    FATAL_IF(array == NULL, "the test machine is out of memory");
    return array;
}

static struct sim_member *sim_find(const struct sim_net *net, uint64_t id)
{
    for (size_t i = 0; i < net->members_n; i++) {
        if (net->members[i].id == id) {
            return (struct sim_member *)&net->members[i];
        }
    }
    return NULL;
}

static size_t sim_at(const struct sim_net *net, const struct sim_member *m)
{
    return (size_t)(m - net->members);
}

/* ---- heap --------------------------------------------------------------------------------- */

static bool sim_before(const struct sim_frame *a, const struct sim_frame *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

static void sim_push(struct sim_net *net, struct sim_frame f)
{
    if (net->heap_n == net->heap_cap) {
        net->heap = sim_grow(net->heap, &net->heap_cap, sizeof(f));
    }
    size_t i = net->heap_n++;
    while (i > 0 && sim_before(&f, &net->heap[(i - 1) / 2])) {
        net->heap[i] = net->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    net->heap[i] = f;
}

static struct sim_frame sim_pop(struct sim_net *net)
{
    struct sim_frame top = net->heap[0];
    struct sim_frame last = net->heap[--net->heap_n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= net->heap_n) {
            break;
        }
        if (child + 1 < net->heap_n && sim_before(&net->heap[child + 1], &net->heap[child])) {
            child++;
        }
        if (!sim_before(&net->heap[child], &last)) {
            break;
        }
        net->heap[i] = net->heap[child];
        i = child;
    }
    net->heap[i] = last;
    return top;
}

/* ---- sending ------------------------------------------------------------------------------ */

static void sim_put(struct sim_net *net, struct sim_member *from, struct sim_member *to,
                    struct slice bytes)
{
    struct rand *r = &net->rand;
    size_t a = sim_at(net, from);
    size_t b = sim_at(net, to);
    uint64_t span = net->o.delay_ms_max - net->o.delay_ms_min + 1;
    uint64_t at = net->now_ms + net->o.delay_ms_min + rand_below(r, span);
    bool late = rand_chance(r, net->o.late_chance);
    if (late) {
        at += rand_below(r, net->o.late_ms_max + 1);
    }
    if (net->o.keep_order && at < net->last_ms[a][b]) {
        at = net->last_ms[a][b];
    }
    if (!late) {
        net->last_ms[a][b] = at > net->last_ms[a][b] ? at : net->last_ms[a][b];
    }
    struct sim_frame f = {.at_ms = at,
                          .number = net->sent++,
                          .from = from->id,
                          .to = to->id,
                          .len = bytes.len,
                          .bytes = malloc(bytes.len)};
    FATAL_IF(f.bytes == NULL, "the test machine is out of memory");
    memcpy(f.bytes, bytes.data, bytes.len);
    net->queued[a][b] += f.len;
    sim_push(net, f);
}

static void sim_send(struct node_transport *t, uint64_t to_id, const char *address,
                     struct slice frame)
{
    struct sim_member *from = t->impl;
    struct sim_net *net = from->net;
    struct sim_member *to = sim_find(net, to_id);
    if (to == NULL || net->cut[sim_at(net, from)][sim_at(net, to)] ||
        (net->filter != NULL && !net->filter(net->filter_data, from->id, to_id, frame)) ||
        rand_chance(&net->rand, net->o.drop_chance)) {
        return;
    }
    size_t *queued = &net->queued[sim_at(net, from)][sim_at(net, to)];
    if (net->o.queue_bytes != 0 && *queued + frame.len > net->o.queue_bytes) {
        return;
    }
    sim_put(net, from, to, frame);
    if (rand_chance(&net->rand, net->o.repeat_chance)) {
        sim_put(net, from, to, frame);
    }
}

static size_t sim_queued(struct node_transport *t, uint64_t to_id)
{
    struct sim_member *from = t->impl;
    struct sim_member *to = sim_find(from->net, to_id);
    return to == NULL ? 0 : from->net->queued[sim_at(from->net, from)][sim_at(from->net, to)];
}

/* ---- delivering --------------------------------------------------------------------------- */

static void sim_deliver(struct sim_net *net, struct sim_frame *f)
{
    struct sim_member *from = sim_find(net, f->from);
    struct sim_member *to = sim_find(net, f->to);
    if (to->paused) {
        if (to->waiting_n == to->waiting_cap) {
            to->waiting = sim_grow(to->waiting, &to->waiting_cap, sizeof(*f));
        }
        to->waiting[to->waiting_n++] = *f;
        return;
    }
    size_t a = sim_at(net, from);
    size_t b = sim_at(net, to);
    net->queued[a][b] -= f->len;
    if (to->receive != NULL && !net->cut[a][b]) {
        net->delivered++;
        to->receive(to->data, f->from, slice_of(f->bytes, f->len));
    }
    free(f->bytes);
}

void sim_net_run(struct sim_net *net, uint64_t now_ms)
{
    FATAL_IF(now_ms < net->now_ms, "virtual time went backwards");
    net->now_ms = now_ms;
    while (net->heap_n > 0 && net->heap[0].at_ms <= now_ms) {
        struct sim_frame f = sim_pop(net);
        sim_deliver(net, &f);
    }
}

uint64_t sim_net_next_ms(const struct sim_net *net)
{
    return net->heap_n == 0 ? UINT64_MAX : net->heap[0].at_ms;
}

/* ---- members and faults ------------------------------------------------------------------- */

struct node_transport *
sim_net_attach(struct sim_net *net, uint64_t id,
               void (*receive)(void *data, uint64_t from, struct slice frame), void *data)
{
    struct sim_member *m = sim_find(net, id);
    if (m == NULL) {
        FATAL_IF(net->members_n == SIM_NET_MEMBERS_MAX, "SIM_NET_MEMBERS_MAX is too small");
        m = &net->members[net->members_n++];
        m->id = id;
        m->net = net;
        m->transport = (struct node_transport){.impl = m, .send = sim_send, .queued = sim_queued};
    }
    m->receive = receive;
    m->data = data;
    return &m->transport;
}

void sim_net_detach(struct sim_net *net, uint64_t id)
{
    struct sim_member *m = sim_find(net, id);
    if (m != NULL) {
        m->receive = NULL;
        sim_net_pause(net, id, false);
    }
}

void sim_net_pause(struct sim_net *net, uint64_t id, bool paused)
{
    struct sim_member *m = sim_find(net, id);
    if (m == NULL || m->paused == paused) {
        return;
    }
    m->paused = paused;
    for (size_t i = 0; !paused && i < m->waiting_n; i++) {
        struct sim_frame f = m->waiting[i];
        f.at_ms = net->now_ms;
        sim_push(net, f);
    }
    m->waiting_n = paused ? m->waiting_n : 0;
}

void sim_net_cut(struct sim_net *net, uint64_t from, uint64_t to, bool cut)
{
    struct sim_member *a = sim_find(net, from);
    struct sim_member *b = sim_find(net, to);
    if (a != NULL && b != NULL) {
        net->cut[sim_at(net, a)][sim_at(net, b)] = cut;
    }
}

void sim_net_isolate(struct sim_net *net, uint64_t id, bool cut)
{
    for (size_t i = 0; i < net->members_n; i++) {
        if (net->members[i].id != id) {
            sim_net_cut(net, id, net->members[i].id, cut);
            sim_net_cut(net, net->members[i].id, id, cut);
        }
    }
}

void sim_net_heal(struct sim_net *net)
{
    memset(net->cut, 0, sizeof(net->cut));
}

void sim_net_filter(struct sim_net *net,
                    bool (*filter)(void *data, uint64_t from, uint64_t to, struct slice frame),
                    void *data)
{
    net->filter = filter;
    net->filter_data = data;
}

void sim_net_set(struct sim_net *net, const struct sim_net_options *o)
{
    net->o = *o;
    net->o.delay_ms_min = o->delay_ms_min == 0 ? 1 : o->delay_ms_min;
    net->o.delay_ms_max = o->delay_ms_max == 0 ? 5 : o->delay_ms_max;
    if (net->o.delay_ms_max < net->o.delay_ms_min) {
        net->o.delay_ms_max = net->o.delay_ms_min;
    }
    net->o.late_ms_max = o->late_ms_max == 0 ? 200 : o->late_ms_max;
}

struct sim_net *sim_net_new(const struct sim_net_options *o)
{
    struct sim_net *net = calloc(1, sizeof(*net));
    FATAL_IF(net == NULL, "the test machine is out of memory");
    rand_init(&net->rand, o->seed);
    sim_net_set(net, o);
    return net;
}

void sim_net_free(struct sim_net *net)
{
    for (size_t i = 0; i < net->heap_n; i++) {
        free(net->heap[i].bytes);
    }
    for (size_t i = 0; i < net->members_n; i++) {
        for (size_t k = 0; k < net->members[i].waiting_n; k++) {
            free(net->members[i].waiting[k].bytes);
        }
        free(net->members[i].waiting);
    }
    free(net->heap);
    free(net);
}

uint64_t sim_net_sent(const struct sim_net *net)
{
    return net->sent;
}

uint64_t sim_net_delivered(const struct sim_net *net)
{
    return net->delivered;
}

size_t sim_net_in_flight(const struct sim_net *net)
{
    return net->heap_n;
}
