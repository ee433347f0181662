/* client.c - the simulated load: writes, compare-and-swaps, leases, compactions, and reads.
 *
 * A client talks to one member at a time as a real one would: mostly to the leader, sometimes to
 * somebody who only believes to be it. Everything acknowledged becomes a claim on the history. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "proto/batch.h"
#include "proto/codec.h"
#include "tests/sim/plugins.h"

enum {
    OPS_IN_FLIGHT_MAX = 40,
    OP_TIMEOUT_MS = 7000,
    KEY_BYTES_MAX = 900,
    LONG_KEYS_FROM = HISTORY_KEYS - 8, /* these exceed LMDB's key limit */
    FIELD_PUT = 4,
    FIELD_DELETE_RANGE = 5,
    FIELD_TXN = 6,
    FIELD_COMPACTION = 7,
    FIELD_LEASE_GRANT = 8,
    FIELD_LEASE_REVOKE = 9,
    COMPARE_MOD = 2
};

/* ---- keys and values
 * ------------------------------------------------------------------------------ */

/* "/k/007" or, for the last few, the same with a tail that exceeds LMDB's 511 bytes. */
static struct slice make_key(uint32_t key, char *out)
{
    if (plugin_is_key(key)) {
        return plugin_key_text(key, out);
    }
    size_t len = (size_t)snprintf(out, KEY_BYTES_MAX, "/k/%03u", key);
    if (key >= LONG_KEYS_FROM) {
        size_t tail = 520 + 40 * (key - LONG_KEYS_FROM);
        memset(out + len, 'x', tail);
        len += tail;
    }
    return slice_of(out, len);
}

uint32_t client_parse_key(struct slice key)
{
    char text[8] = "";
    if (key.len < 6 || memcmp(key.data, "/k/", 3) != 0) {
        return plugin_parse_key(key);
    }
    memcpy(text, key.data + 3, 3);
    return (uint32_t)strtoul(text, NULL, 10);
}

/* Twenty digits, then padding of any length. */
static struct slice make_value(struct world *w, uint64_t value, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "%020llu", (unsigned long long)value);
    size_t pad = rand_below(&w->rand, 300);
    if (rand_chance(&w->rand, 0.02)) {
        pad = rand_below(&w->rand, size - 32);
    }
    memset(out + len, '.', pad);
    return slice_of(out, len + pad);
}

uint64_t client_parse_value(struct slice value)
{
    char text[24] = "";
    memcpy(text, value.data, value.len < 20 ? value.len : 20);
    return strtoull(text, NULL, 10);
}

/* ---- requests
 * ------------------------------------------------------------------------------------- */

static void put_body(struct buf *b, struct slice key, struct slice value, int64_t lease)
{
    wire_put_bytes(b, 1, key);
    wire_put_bytes(b, 2, value);
    wire_put_uint(b, 3, (uint64_t)lease);
}

/* A RequestOp holding one put, as field `list` of a TxnRequest. */
static void txn_put(struct buf *txn, uint32_t list, struct slice key, struct slice value)
{
    struct buf put, op;
    buf_init(&put);
    buf_init(&op);
    put_body(&put, key, value, 0);
    wire_put_header(&op, 2, put.len);
    buf_append_slice(&op, buf_slice(&put));
    wire_put_header(txn, list, op.len);
    buf_append_slice(txn, buf_slice(&op));
    buf_close(&put);
    buf_close(&op);
}

static void build(struct world *w, struct op *op, struct buf *request, uint32_t *field)
{
    static char key_text[KEY_BYTES_MAX], other_text[KEY_BYTES_MAX], value_text[60000];
    struct slice key = make_key(op->key, key_text);
    struct slice value = op->kind == OP_TEXT
                             ? slice_str(op->text)
                             : make_value(w, op->value, value_text, sizeof(value_text));
    struct buf compare;
    buf_init(&compare);
    switch (op->kind) {
    case OP_PUT:
    case OP_TEXT:
    case OP_PUT_LEASED:
        *field = FIELD_PUT;
        put_body(request, key, value, op->kind == OP_PUT_LEASED ? op->previous : 0);
        break;
    case OP_SWAP:
        *field = FIELD_TXN;
        wire_put_uint(&compare, 2, COMPARE_MOD);
        wire_put_bytes(&compare, 3, key);
        wire_put_uint(&compare, 6, (uint64_t)op->previous);
        wire_put_header(request, 1, compare.len);
        buf_append_slice(request, buf_slice(&compare));
        txn_put(request, 2, key, value);
        break;
    case OP_PAIR:
        *field = FIELD_TXN;
        txn_put(request, 2, key, value);
        txn_put(request, 2, make_key((op->key + 1) % HISTORY_KEYS, other_text), value);
        break;
    case OP_WIPE:
        *field = FIELD_DELETE_RANGE;
        wire_put_bytes(request, 1, key);
        wire_put_bytes(request, 2, make_key((op->key + 4) % HISTORY_KEYS, other_text));
        break;
    case OP_ERASE:
        *field = FIELD_DELETE_RANGE;
        wire_put_bytes(request, 1, key);
        break;
    case OP_COMPACT:
        *field = FIELD_COMPACTION;
        wire_put_uint(request, 1, (uint64_t)op->previous);
        break;
    case OP_GRANT:
        *field = FIELD_LEASE_GRANT;
        wire_put_uint(request, 1, op->value);
        wire_put_uint(request, 2, (uint64_t)op->previous);
        break;
    case OP_REVOKE:
        *field = FIELD_LEASE_REVOKE;
        wire_put_uint(request, 1, (uint64_t)op->previous);
        break;
    case OP_READ:
    case OP_READ_OLD:
        break;
    }
    buf_close(&compare);
}

static void submit(struct op *op)
{
    struct member *m = op->member;
    struct buf request, entry, ops;
    uint32_t field = 0;
    buf_init(&request);
    buf_init(&entry);
    buf_init(&ops);
    build(m->world, op, &request, &field);
    wire_put_header(&entry, field, request.len);
    buf_append_slice(&entry, buf_slice(&request));
    op->number = m->next_number++;
    struct batch_origin origin = {m->number, m->incarnation, op->number};
    batch_add(&ops, origin, buf_slice(&entry));
    list_push_back(&m->ops, &op->link);
    node_propose(m->node, buf_slice(&ops), op->number, op->number);
    buf_close(&request);
    buf_close(&entry);
    buf_close(&ops);
}

static void op_free(struct op *op)
{
    list_remove(&op->link);
    mem_free(op);
}

/* ---- results
 * -------------------------------------------------------------------------------------- */

static struct lease *lease_find(struct world *w, int64_t id)
{
    for (unsigned i = 0; i < LEASES_MAX; i++) {
        if (w->leases[i].id == id) {
            return &w->leases[i];
        }
    }
    return NULL;
}

static uint64_t body_number(struct slice body, uint32_t number)
{
    struct wire_field field;
    while (wire_next(&body, &field) == 1) {
        if (field.number == number) {
            return field.value;
        }
    }
    return 0;
}

static void claim(struct op *op, int kind, uint32_t key, uint64_t value, int64_t revision,
                  int64_t previous)
{
    struct world *w = op->member->world;
    struct history_claim c = {.kind = kind,
                              .key = key,
                              .value = value,
                              .revision = revision,
                              .previous = previous,
                              .at_ms = w->now_ms,
                              .member = op->member->number};
    history_claim(&w->history, &c);
}

static void acknowledged(struct op *op, int64_t revision, struct slice body)
{
    struct world *w = op->member->world;
    w->counts.acked++;
    if (revision > w->history.acked_revision) {
        w->history.acked_revision = revision;
    }
    switch (op->kind) {
    case OP_PUT:
    case OP_TEXT:
    case OP_PUT_LEASED:
        claim(op, CLAIM_PUT, op->key, op->value, revision, 0);
        break;
    case OP_PAIR:
        claim(op, CLAIM_PUT, op->key, op->value, revision, 0);
        claim(op, CLAIM_PUT, (op->key + 1) % HISTORY_KEYS, op->value, revision, 0);
        break;
    case OP_SWAP:
        if (body_number(body, 2) == 1) {
            claim(op, CLAIM_SWAP, op->key, op->value, revision, op->previous);
        }
        break;
    case OP_WIPE:
    case OP_ERASE:
        if (body_number(body, 2) > 0) {
            claim(op, CLAIM_WIPE, op->key, 0, revision, (int64_t)body_number(body, 2));
        }
        break;
    case OP_GRANT: {
        struct lease *l = lease_find(w, 0);
        if (l != NULL) {
            *l = (struct lease){op->previous, (int64_t)op->value,
                                w->now_ms + op->value * 1000 - (w->now_ms - op->started_ms)};
        }
        break;
    }
    case OP_REVOKE: {
        struct lease *l = lease_find(w, op->previous);
        if (l != NULL) {
            l->id = 0;
        }
        break;
    }
    case OP_COMPACT:
    case OP_READ:
    case OP_READ_OLD:
        break;
    }
}

void client_result(struct member *m, uint64_t number, int err, int64_t revision, struct slice body)
{
    LIST_FOREACH (link, &m->ops) {
        struct op *op = LIST_ENTRY(link, struct op, link);
        if (op->number != number || op->kind == OP_READ || op->kind == OP_READ_OLD) {
            continue;
        }
        if (err == 0) {
            acknowledged(op, revision, body);
        } else {
            m->world->counts.refused++;
        }
        op_free(op);
        return;
    }
}

void client_dropped(struct member *m, uint64_t first, uint64_t last, int err)
{
    struct list *next;
    for (struct list *link = m->ops.next; link != &m->ops; link = next) {
        next = link->next;
        struct op *op = LIST_ENTRY(link, struct op, link);
        if (op->kind == OP_READ || op->kind == OP_READ_OLD || op->number < first ||
            op->number > last) {
            continue;
        }
        if (err == ERR_UNKNOWN_OUTCOME || err == ERR_STOPPED) {
            m->world->counts.unknown++;
        } else {
            m->world->counts.refused++;
        }
        op_free(op);
    }
}

void client_abandon(struct member *m)
{
    struct list *link;
    while ((link = list_pop_front(&m->ops)) != NULL) {
        struct op *op = LIST_ENTRY(link, struct op, link);
        m->world->counts.unknown++;
        mem_free(op);
    }
}

/* ---- reads
 * ---------------------------------------------------------------------------------------- */

static void on_read_index(struct node_read *r, int err, uint64_t index)
{
    struct op *op = r->data;
    if (err != 0) {
        op->member->world->counts.refused++;
        op_free(op);
        return;
    }
    op->confirmed = true;
    op->index = index;
}

/* Reads one key now and claims what was seen. */
static void read_key(struct op *op, int64_t at_revision)
{
    struct member *m = op->member;
    struct world *w = m->world;
    char key_text[KEY_BYTES_MAX];
    struct buf request, out;
    struct kv_range *r = NULL;
    buf_init(&request);
    buf_init(&out);
    wire_put_bytes(&request, 1, make_key(op->key, key_text));
    wire_put_uint(&request, 4, (uint64_t)at_revision);
    int err = kv_range_open(m->kv, buf_slice(&request), &r);
    if (err == ERR_COMPACTED || err == ERR_FUTURE_REV) {
        goto out;
    }
    while (err == 0 && kv_range_measure(r, &err) == KV_MORE) {
        /* the whole answer at once: slices are tested elsewhere */
    }
    if (err != 0) {
        history_fail(&w->history, "member %u: range: %s", m->number, err_name(err));
        goto out;
    }
    while (out.len < kv_range_total(r) && kv_range_produce(r, &out, 4096)) {
        /* appended */
    }
    int64_t revision = kv_range_revision(r);
    if (op->kind == OP_READ && revision < op->floor) {
        history_fail(&w->history,
                     "stale read: member %u answered at revision %lld, but %lld was acknowledged "
                     "before the read began",
                     m->number, (long long)revision, (long long)op->floor);
    }
    struct slice body = buf_slice(&out);
    struct wire_field field, inner;
    uint64_t value = 0;
    int64_t modified = 0;
    while (wire_next(&body, &field) == 1) {
        while (field.number == 2 && wire_next(&field.bytes, &inner) == 1) {
            if (inner.number == 5) {
                value = client_parse_value(inner.bytes);
            } else if (inner.number == 3) {
                modified = (int64_t)inner.value;
            }
        }
    }
    claim(op, CLAIM_READ, op->key, value, at_revision > 0 ? at_revision : revision, modified);
    w->counts.reads++;
out:
    if (r != NULL) {
        kv_range_close(r);
    }
    buf_close(&request);
    buf_close(&out);
}

void client_reads(struct member *m)
{
    struct list *next;
    for (struct list *link = m->ops.next; link != &m->ops; link = next) {
        next = link->next;
        struct op *op = LIST_ENTRY(link, struct op, link);
        if (op->kind == OP_READ && op->confirmed && kv_applied_index(m->kv) >= op->index) {
            read_key(op, 0);
            op_free(op);
        } else if (op->kind != OP_READ && op->started_ms + OP_TIMEOUT_MS < m->world->now_ms) {
            m->world->counts.unknown++;
            op_free(op);
        }
    }
}

/* ---- leases
 * --------------------------------------------------------------------------------------- */

static void on_expired(void *data, int64_t id)
{
    struct member *m = data;
    struct world *w = m->world;
    struct lease *l = lease_find(w, id);
    if (l != NULL && l->id != 0 && w->now_ms < l->promised_ms) {
        history_fail(&w->history, "lease %lld is being expired at %llu ms, promised until %llu ms",
                     (long long)id, (unsigned long long)w->now_ms,
                     (unsigned long long)l->promised_ms);
    }
    struct op *op = mem_xzalloc(sizeof(*op));
    op->kind = OP_REVOKE;
    op->member = m;
    op->previous = id;
    op->started_ms = w->now_ms;
    submit(op);
}

void client_expire_leases(struct member *m)
{
    kv_lease_expired(m->kv, m->world->now_ms, 5000, 8, on_expired, m);
}

/* A keep-alive is answered only by a member that is sure to lead: the renewal is confirmed as a
 * read is (contract L-06). Here only an unpaused, ready leader is asked, and the answer counts at
 * once. */
static void renew_some(struct member *m)
{
    struct world *w = m->world;
    struct lease *l = &w->leases[rand_below(&w->rand, LEASES_MAX)];
    int64_t ttl = 0;
    if (l->id == 0 || !kv_lessor_primary(m->kv) || w->options.members > 1) {
        return;
    }
    if (kv_lease_renew(m->kv, l->id, w->now_ms, &ttl) == 0) {
        l->promised_ms = w->now_ms + (uint64_t)ttl * 1000;
    }
}

/* ---- the load
 * ------------------------------------------------------------------------------------- */

static struct member *choose_member(struct world *w)
{
    struct member *any = NULL;
    unsigned offset = (unsigned)rand_below(&w->rand, SIM_MEMBERS_MAX);
    bool want_leader = rand_chance(&w->rand, 0.85);
    for (unsigned i = 0; i < SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[(i + offset) % SIM_MEMBERS_MAX + 1];
        if (!member_running(m) || m->stopping) {
            continue;
        }
        any = m;
        if (!want_leader || node_leader_ready(m->node)) {
            return m;
        }
    }
    return any;
}

static int choose_kind(struct world *w)
{
    uint64_t dice = rand_below(&w->rand, 100);
    static const struct {
        unsigned below;
        int kind;
    } TABLE[] = {{34, OP_PUT},     {46, OP_SWAP},     {54, OP_PAIR},       {58, OP_WIPE},
                 {60, OP_COMPACT}, {64, OP_GRANT},    {70, OP_PUT_LEASED}, {72, OP_REVOKE},
                 {92, OP_READ},    {100, OP_READ_OLD}};
    for (unsigned i = 0;; i++) {
        if (dice < TABLE[i].below) {
            return TABLE[i].kind;
        }
    }
}

/* What the client believes the key's modification revision is: right, or a little old. */
static int64_t guess_modification(struct world *w, uint32_t key)
{
    const struct history *h = &w->history;
    for (size_t i = h->event_count; i-- > 0 && i + 400 > h->event_count;) {
        if (h->events[i].key == key) {
            return h->events[i].value != 0 ? h->events[i].revision : 0;
        }
    }
    return 0;
}

static void begin(struct member *m)
{
    struct world *w = m->world;
    struct op *op = mem_xzalloc(sizeof(*op));
    list_init(&op->link);
    op->kind = choose_kind(w);
    op->member = m;
    op->started_ms = w->now_ms;
    op->key = (uint32_t)rand_below(&w->rand, HISTORY_KEYS);
    op->value = ++w->next_value;
    op->floor = w->history.acked_revision;
    struct lease *l = &w->leases[rand_below(&w->rand, LEASES_MAX)];
    switch (op->kind) {
    case OP_SWAP:
        op->previous = guess_modification(w, op->key);
        break;
    case OP_COMPACT:
        /* Never past what some member has shown: the history would have a hole nobody can fill. */
        op->previous =
            w->history.event_count > 0 ? w->history.events[w->history.event_count - 1].revision : 1;
        op->previous -= (int64_t)rand_below(&w->rand, 30);
        break;
    case OP_WIPE:
        op->key = (uint32_t)rand_below(&w->rand, HISTORY_KEYS - 4);
        break;
    case OP_GRANT:
        op->value = 2 + rand_below(&w->rand, 6); /* seconds */
        op->previous = ++w->next_lease;
        break;
    case OP_REVOKE:
    case OP_PUT_LEASED:
        op->previous = l->id;
        if (l->id == 0) {
            op->kind = OP_PUT;
        }
        break;
    case OP_READ:
        if (member_decides_alone(m)) {
            w->counts.reads_alone++;
            read_key(op, 0);
            mem_free(op);
            return;
        }
        list_push_back(&m->ops, &op->link);
        op->read.data = op;
        op->read.cb = on_read_index;
        node_read_index(m->node, &op->read);
        return;
    case OP_READ_OLD:
        read_key(op, rand_chance(&w->rand, 0.5)
                         ? 0
                         : kv_revision(m->kv) - (int64_t)rand_below(&w->rand, 50));
        mem_free(op);
        return;
    case OP_PUT:
    case OP_PAIR:
    case OP_TEXT:
    case OP_ERASE:
        break;
    }
    submit(op);
}

/* Something for the plugins to do: a key of hello's to be stamped, or not, or to go; one of
 * ttl-janitor's with a duration, or with what is none. */
static void begin_for_plugins(struct member *m)
{
    struct world *w = m->world;
    struct op *op = mem_xzalloc(sizeof(*op));
    uint64_t dice = rand_below(&w->rand, 100);
    list_init(&op->link);
    op->member = m;
    op->started_ms = w->now_ms;
    op->kind = dice < 10 ? OP_ERASE : OP_TEXT;
    bool ttl = dice >= 80;
    op->key =
        (ttl ? PLUGIN_KEY_TTL : PLUGIN_KEY_HELLO) + (uint32_t)rand_below(&w->rand, PLUGIN_KEYS);
    if (dice >= 90) {
        snprintf(op->text, sizeof(op->text), "%us", 1 + (unsigned)rand_below(&w->rand, 3));
    } else if (dice >= 70) { /* hello leaves it as it is, ttl-janitor cannot read it */
        snprintf(op->text, sizeof(op->text), "%020llu", (unsigned long long)++w->next_value);
    }
    op->value = plugin_parse_value(op->key, slice_str(op->text), 0);
    submit(op);
}

static size_t list_length(const struct list *head)
{
    size_t n = 0;
    LIST_FOREACH (link, head) {
        n++;
    }
    return n;
}

static void plugin_client_step(struct world *w)
{
    if (!w->clients || w->plugin_model == NULL || !rand_chance(&w->rand, 0.04)) {
        return;
    }
    struct member *m = choose_member(w);
    if (m != NULL && m->store_until_ms <= w->now_ms && list_length(&m->ops) < OPS_IN_FLIGHT_MAX) {
        begin_for_plugins(m);
    }
}

void client_step(struct world *w)
{
    plugin_client_step(w);
    if (!w->clients || !rand_chance(&w->rand, 0.12)) {
        return;
    }
    struct member *m = choose_member(w);
    if (m == NULL || m->store_until_ms > w->now_ms) {
        return;
    }
    renew_some(m);
    unsigned burst = 1 + (unsigned)rand_below(&w->rand, 4);
    for (unsigned i = 0; i < burst && list_length(&m->ops) < OPS_IN_FLIGHT_MAX; i++) {
        begin(m);
        if (!m->alive) {
            return;
        }
    }
}
