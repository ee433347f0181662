/* object_provide.c - who provides which objects. Declared by lanes in init, looked up by home. */
#include "plugins/host/object.h"

static bool provide_text(char **at, struct kvp_bytes *b)
{
    if (b->len > 253 || (b->len > 0 && (b->data == NULL || memchr(b->data, 0, b->len) != NULL))) {
        return false;
    }
    char *copy = *at;
    if (b->len > 0) {
        memcpy(copy, b->data, b->len);
    }
    *b = kvp_bytes_of(copy, b->len);
    *at += b->len;
    return true;
}

static struct provider *provider_new(struct instance *in, const struct kvp_provide_args *a)
{
    size_t bytes = a->group.len + a->version.len + a->resource.len;
    struct provider *p = mem_zalloc(sizeof(*p) + bytes);
    if (p != NULL) {
        p->instance = in;
        p->args = *a;
        list_init(&p->link);
    }
    return p;
}

static bool provide_same(struct kvp_bytes a, struct kvp_bytes b)
{
    return slice_eq(bytes_slice(a), bytes_slice(b));
}

static int host_provide(struct kvp_ctx *ctx, const struct kvp_provide_args *a)
{
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    struct instance *in = ctx->instance;
    struct plugin_host *h = in->host;
    if (a == NULL || a->size < sizeof(*a) || in->frozen || a->request == NULL ||
        a->version.len == 0 || a->resource.len == 0 || a->group.len > 253 || a->version.len > 253 ||
        a->resource.len > 253) {
        return KVP_INVALID;
    }
    struct provider *p = provider_new(in, a);
    if (p == NULL) {
        return KVP_NO_MEMORY;
    }
    char *at = p->text;
    if (!provide_text(&at, &p->args.group) || !provide_text(&at, &p->args.version) ||
        !provide_text(&at, &p->args.resource)) {
        mem_free(p);
        return KVP_INVALID;
    }
    size_t count = 0;
    pthread_mutex_lock(&h->registry_lock);
    LIST_FOREACH (it, &h->providers) {
        const struct provider *other = LIST_ENTRY(it, struct provider, link);
        count++;
        if (provide_same(other->args.group, p->args.group) &&
            provide_same(other->args.version, p->args.version) &&
            provide_same(other->args.resource, p->args.resource)) {
            reason = KVP_EXISTS;
        }
    }
    if (reason == 0 && count >= PLUGIN_PROVIDES_MAX) {
        reason = KVP_BUSY;
    }
    if (reason == 0) {
        list_push_back(&h->providers, &p->link);
    }
    pthread_mutex_unlock(&h->registry_lock);
    if (reason != 0) {
        mem_free(p);
    }
    return reason;
}

/* How well a name fits: 0 not at all, 1 by "*", 2 exactly. */
static unsigned provide_fits(struct kvp_bytes offered, struct kvp_bytes wanted)
{
    if (provide_same(offered, wanted)) {
        return 2;
    }
    return provide_same(offered, kvp_str("*"));
}

const struct provider *provider_find(struct plugin_host *h, const struct kvp_object_request *r)
{
    const struct provider *best = NULL;
    unsigned best_score = 0;
    pthread_mutex_lock(&h->registry_lock);
    LIST_FOREACH (it, &h->providers) {
        const struct provider *p = LIST_ENTRY(it, struct provider, link);
        unsigned group = provide_fits(p->args.group, r->group);
        unsigned version = provide_fits(p->args.version, r->version);
        unsigned resource = provide_fits(p->args.resource, r->resource);
        /* Exact names first by their number, then resource before group before version. */
        unsigned score = (group + version + resource) * 100 + resource * 9 + group * 3 + version;
        if (group > 0 && version > 0 && resource > 0 && p->instance->providing &&
            score > best_score) {
            best = p;
            best_score = score;
        }
    }
    pthread_mutex_unlock(&h->registry_lock);
    return best;
}

void object_close(struct instance *in)
{
    struct plugin_host *h = in->host;
    struct list gone;
    list_init(&gone);
    pthread_mutex_lock(&h->registry_lock);
    for (struct list *it = h->providers.next, *next; it != &h->providers; it = next) {
        next = it->next;
        if (LIST_ENTRY(it, struct provider, link)->instance == in) {
            list_remove(it);
            list_push_back(&gone, it);
        }
    }
    pthread_mutex_unlock(&h->registry_lock);
    for (struct list *it; (it = list_pop_front(&gone)) != NULL;) {
        mem_free(LIST_ENTRY(it, struct provider, link));
    }
}

void object_provide_calls(struct kvp_host *t)
{
    t->provide = host_provide;
}

void object_calls(struct kvp_host *t)
{
    object_provide_calls(t);
    object_ask_calls(t);
    object_answer_calls(t);
}
