/* nodes.c - hollow nodes: registered, kept alive by their leases, stopped and started. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "plugins/hollow-node/hollow.h"

#define NODE_PARALLEL 8u
/* A name that belongs to another node is tried again after this. */
#define FOREIGN_MS 60000
/* A kubelet's leases are renewed with this much chance. */
#define LEASE_JITTER_PERCENT 4u

/* ---- which there are ------------------------------------------------------------------------ */

struct hollow_node *hollow_node_find(struct hollow *h, struct slice name)
{
    struct slice prefix = slice_str(h->conf->prefix);
    size_t number = 0;
    if (!slice_starts_with(name, prefix) || name.len == prefix.len || name.len > prefix.len + 4 ||
        name.data[prefix.len] == '0') {
        return NULL;
    }
    for (size_t i = prefix.len; i < name.len; i++) {
        if (name.data[i] < '0' || name.data[i] > '9') {
            return NULL;
        }
        number = number * 10 + (size_t)(name.data[i] - '0');
    }
    return number >= 1 && number <= h->node_count ? h->nodes[number - 1] : NULL;
}

bool hollow_node_acts(const struct hollow_node *n)
{
    const struct hollow *h = n->all;
    return !n->off && !n->annotated && !n->foreign && h->node_informer != NULL &&
           informer_get(h->node_informer, slice_str(n->name)) != NULL;
}

static bool listed(const char *list, const char *name)
{
    size_t len = strlen(name);
    while (*list != '\0') {
        size_t word = strcspn(list, "+");
        if (word == len && memcmp(list, name, len) == 0) {
            return true;
        }
        list += word + (list[word] == '+');
    }
    return false;
}

/* It is looked at, and its pods if it has come to life. */
static void node_wake(struct hollow_node *n, bool started)
{
    struct hollow *h = n->all;
    if (started) {
        /* A node that starts registers anew, and says at once how it is. */
        n->seen = false;
        n->lease_due_ms = 0;
    }
    n->status_stale = true;
    if (h->node_works == NULL) {
        return;
    }
    hollow_check(h, works_add(h->node_works, slice_str(n->name)));
    if (started) {
        hollow_pods_wake(h, n);
    }
}

static struct hollow_node *node_new(struct hollow *h, size_t index)
{
    struct hollow_node *n = mem_zalloc(sizeof *n);
    if (n == NULL) {
        return NULL;
    }
    n->all = h;
    n->number = (unsigned)index + 1;
    snprintf(n->name, sizeof n->name, "%s%u", h->conf->prefix, n->number);
    snprintf(n->address, sizeof n->address, "172.30.%u.%u", (n->number / 250) & 255u,
             2 + n->number % 250);
    n->addresses[0] = 1; /* .0 and .1 belong to the range itself */
    n->addresses[0] |= 2;
    n->addresses[31] |= 0x80;
    n->off = true;
    return n;
}

int hollow_nodes_apply(struct hollow *h)
{
    for (; h->node_count < (size_t)h->conf->nodes; h->node_count++) {
        h->nodes[h->node_count] = node_new(h, h->node_count);
        if (h->nodes[h->node_count] == NULL) {
            return KVP_NO_MEMORY;
        }
    }
    for (size_t i = 0; i < h->node_count; i++) {
        struct hollow_node *n = h->nodes[i];
        bool off = i >= (size_t)h->conf->nodes || listed(h->conf->stopped, n->name);
        bool started = n->off && !off;
        if (n->off != off) {
            KVP_LOG(h->host, h->ctx, KVP_INFO, off ? "node stopped" : "node started",
                    kvp_f_str("node", n->name));
        }
        n->off = off;
        if (!off) {
            node_wake(n, started);
        }
    }
    return 0;
}

void hollow_nodes_free(struct hollow *h)
{
    for (size_t i = 0; i < h->node_count; i++) {
        mem_free(h->nodes[i]);
    }
}

/* ---- addresses of pods ---------------------------------------------------------------------- */

void hollow_address_print(const struct hollow_node *n, unsigned number, char out[16])
{
    /* 10.244.0.0/24 is the first node's; a thousand of them end at 10.247. */
    unsigned index = n->number - 1;
    snprintf(out, 16, "10.%u.%u.%u", (244 + (index >> 8)) & 255u, index & 255u, number & 255u);
}

unsigned hollow_address_take(struct hollow_node *n, const uint8_t kept[32])
{
    for (unsigned i = 2; i < 255; i++) {
        if (!((n->addresses[i / 8] | kept[i / 8]) & (1u << (i % 8)))) {
            n->addresses[i / 8] |= (uint8_t)(1u << (i % 8));
            return i;
        }
    }
    return 0;
}

bool hollow_address_claim(struct hollow_node *n, struct slice text, unsigned *number)
{
    for (unsigned i = 2; i < 255; i++) {
        char own[16];
        hollow_address_print(n, i, own);
        if (slice_eq(text, slice_str(own))) {
            bool was_free = !(n->addresses[i / 8] & (1u << (i % 8)));
            n->addresses[i / 8] |= (uint8_t)(1u << (i % 8));
            *number = was_free ? i : 0;
            return was_free;
        }
    }
    return false;
}

void hollow_address_give(struct hollow_node *n, unsigned number)
{
    if (number >= 2 && number < 255) {
        n->addresses[number / 8] &= (uint8_t) ~(1u << (number % 8));
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

static void created(void *data, const struct client_answer *a)
{
    struct hollow_node *n = data;
    struct hollow *h = n->all;
    if (a->ok) {
        n->lease_due_ms = 0;
        n->status_due_ms = hollow_now(h).ms + hollow_jitter(h, h->conf->status_ms, 10);
        KVP_LOG(h->host, h->ctx, KVP_INFO, "node registered", kvp_f_str("node", n->name));
    } else if (a->outcome == KVP_OK && a->status == 409) {
        /* Unless it is ours and the informer has yet to show it. */
        n->foreign = informer_get(h->node_informer, slice_str(n->name)) == NULL;
    }
}

static void status_written(void *data, const struct client_answer *a)
{
    struct hollow_node *n = data;
    if (a->ok) {
        n->status_due_ms =
            hollow_now(n->all).ms + hollow_jitter(n->all, n->all->conf->status_ms, 10);
    } else {
        n->status_stale = true;
    }
}

static void lease_written(void *data, const struct client_answer *a)
{
    struct hollow_node *n = data;
    const struct hollow *h = n->all;
    if (a->ok) {
        n->lease_known = true;
        n->lease_due_ms =
            hollow_now(h).ms + hollow_jitter(h, h->conf->lease_ms, LEASE_JITTER_PERCENT);
    } else if (a->outcome == KVP_OK && a->status == 404) {
        n->lease_known = false;
    } else if (a->outcome == KVP_OK && a->status == 409) {
        n->lease_known = true;
    }
}

/* ---- reconciling ---------------------------------------------------------------------------- */

static void node_register(struct hollow_node *n, struct work *w)
{
    struct arena arena;
    struct object o = {.arena = &arena};
    arena_init(&arena, 0);
    if (hollow_node_object(n, hollow_now(n->all).wall_s, &o) == 0) {
        struct client_request r = {.verb = KVP_VERB_CREATE,
                                   .type = schema_type(SCHEMA_CORE_V1_NODE),
                                   .object = &o,
                                   .done = created,
                                   .data = n};
        (void)work_send(w, &r, WORK_EXISTS_OK);
    } else {
        work_fail(w, "out of memory");
    }
    arena_close(&arena);
}

static void node_report(struct hollow_node *n, const struct object *o, struct work *w)
{
    struct buf body;
    buf_init(&body);
    hollow_node_patch(n, o, hollow_now(n->all).wall_s, &body);
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = schema_type(SCHEMA_CORE_V1_NODE),
                               .sub = "status",
                               .name = slice_str(n->name),
                               .body = buf_slice(&body),
                               .patch = CLIENT_PATCH_STRATEGIC,
                               .done = status_written,
                               .data = n};
    n->status_stale = false;
    if (body.failed) {
        work_fail(w, "out of memory");
    } else {
        (void)work_send(w, &r, WORK_NOT_FOUND_OK);
    }
    buf_close(&body);
}

static void node_renew(struct hollow_node *n, const struct object *o, struct work *w)
{
    uint64_t wall_us = n->all->host->wall_us(n->all->ctx);
    struct client_request r = {.type = schema_type(SCHEMA_COORDINATION_V1_LEASE),
                               .space = slice_str("kube-node-lease"),
                               .done = lease_written,
                               .data = n};
    struct arena arena;
    struct buf body;
    struct object lease = {.arena = &arena};
    int rc = 0;
    arena_init(&arena, 0);
    buf_init(&body);
    if (n->lease_known) {
        hollow_lease_patch(wall_us, &body);
        r.verb = KVP_VERB_PATCH;
        r.patch = CLIENT_PATCH_MERGE;
        r.name = slice_str(n->name);
        r.body = buf_slice(&body);
        rc = body.failed ? ERR_NOMEM : 0;
    } else {
        rc = hollow_lease_object(n, object_uid(o), wall_us, &lease);
        r.verb = KVP_VERB_CREATE;
        r.object = &lease;
    }
    if (rc == 0) {
        (void)work_send(w, &r, 0);
    } else {
        work_fail(w, "out of memory");
    }
    buf_close(&body);
    arena_close(&arena);
}

static int64_t node_reconcile(void *data, struct work *w, struct slice key)
{
    struct hollow *h = data;
    struct hollow_node *n = hollow_node_find(h, key);
    const struct object *o = informer_get(h->node_informer, key);
    if (n == NULL || n->off) {
        return KVP_DONE;
    }
    if (o == NULL) {
        if (n->foreign) {
            n->foreign = false;
            KVP_LOG(h->host, h->ctx, KVP_WARN, "a node of this name is not ours: left alone",
                    kvp_f_str("node", n->name));
            return FOREIGN_MS;
        }
        if (!n->seen && !n->annotated) {
            node_register(n, w);
            return 1000;
        }
        return KVP_DONE; /* somebody deleted it */
    }
    n->seen = true;
    n->foreign = false;
    if (n->annotated) {
        return KVP_DONE;
    }
    uint64_t now = hollow_now(h).ms;
    bool lease_due = n->lease_due_ms <= now;
    if (n->status_stale || n->status_due_ms <= now || (lease_due && !hollow_node_is_ready(o))) {
        node_report(n, o, w);
    }
    if (lease_due) {
        node_renew(n, o, w);
        /* The answers set the next times: looked at again at the shorter of both intervals. */
        return h->conf->lease_ms < h->conf->status_ms ? h->conf->lease_ms : h->conf->status_ms;
    }
    uint64_t next = n->lease_due_ms < n->status_due_ms ? n->lease_due_ms : n->status_due_ms;
    return next > now ? (int64_t)(next - now) : 1;
}

static void node_changed(void *data, const struct object *before, const struct object *now)
{
    struct hollow *h = data;
    const struct object *o = now != NULL ? now : before;
    struct hollow_node *n = hollow_node_find(h, object_name(o));
    if (n == NULL) {
        return;
    }
    if (now == NULL) {
        /* Deleted by somebody: it stays away until it is started again. */
        n->annotated = false;
        n->seen = true;
        return;
    }
    bool stop = value_is_text(
        value_map_cget(object_get(now, "metadata.annotations"), HOLLOW_ANNOTATION), "stopped");
    if (stop != n->annotated) {
        n->annotated = stop;
        KVP_LOG(h->host, h->ctx, KVP_INFO, stop ? "node stopped" : "node started",
                kvp_f_str("node", n->name));
        node_wake(n, !stop);
    } else if (before == NULL) {
        hollow_check(h, works_add(h->node_works, slice_str(n->name)));
        hollow_pods_wake(h, n);
    }
}

static void nodes_synced(void *data)
{
    struct hollow *h = data;
    for (size_t i = 0; i < h->node_count; i++) {
        hollow_check(h, works_add(h->node_works, slice_str(h->nodes[i]->name)));
    }
}

int hollow_nodes_start(struct hollow *h)
{
    struct informer_args informer = {.type = schema_type(SCHEMA_CORE_V1_NODE),
                                     .query = "labelSelector=kvd.io%2Fhollow%3Dtrue"};
    uint64_t now = hollow_now(h).ms;
    for (size_t i = 0; i < h->node_count; i++) {
        struct hollow_node *n = h->nodes[i];
        n->seen = n->foreign = n->annotated = n->status_stale = false;
        n->lease_known = true;
        /* What a leader before this one has written lasts a while: the writes of many nodes are
         * spread over half an interval, and stay spread. New nodes do not wait. */
        n->lease_due_ms = now + (uint64_t)h->conf->lease_ms * i / h->node_count / 2;
        n->status_due_ms = n->lease_due_ms;
    }
    int rc = informer_open(h->term, &informer, &h->node_informer);
    struct works_args works = {.name = "nodes",
                               .parallel = NODE_PARALLEL,
                               .reconcile = node_reconcile,
                               .data = h,
                               .informers = {h->node_informer}};
    rc = rc == 0 ? works_open(h->term, &works, &h->node_works) : rc;
    struct informer_handler *handler;
    return rc == 0 ? informer_on(h->node_informer, node_changed, nodes_synced, h, &handler) : rc;
}
