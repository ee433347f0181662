/* plane_user.c - somebody who changes deployments through the API, more often than is good.
 *
 * Leads like the other plugins; a step each half second or so. In the end it wants something simple
 * and says so until it was heard, in each of its terms. */
#define KVP_ENTRY plane_user_entry
#include <kvplugin.h>
#include <stdio.h>

#include "plugins/client/informer.h"
#include "tests/sim/plane.h"

bool plane_user_final;

struct user {
    const struct kvp_host *host;
    struct kvp_ctx *root;
    struct informer *pods;
    struct client term;
    bool leads;
    bool heard[PLANE_DEPLOYMENTS + 1]; /* in this term; the last is the service */
};

/* A request that brings one of the wanted things about. */
struct wish {
    struct user *user;
    unsigned at;
    bool final; /* what is wanted in the end */
};

int plane_final_replicas(unsigned i)
{
    static const int replicas[PLANE_DEPLOYMENTS] = {3, 1, 2};
    return replicas[i];
}

static uint32_t dice(struct user *u, uint32_t sides)
{
    uint32_t n;
    u->host->random(u->root, &n, sizeof(n));
    return n % sides;
}

static void write_deployment(unsigned i, int replicas, unsigned image, char *out, size_t size)
{
    snprintf(out, size,
             "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d%u\"},"
             "\"spec\":{\"replicas\":%d,\"selector\":{\"matchLabels\":{\"app\":\"d%u\"}},"
             "\"template\":{\"metadata\":{\"labels\":{\"app\":\"d%u\"}},\"spec\":{"
             "\"terminationGracePeriodSeconds\":1,\"containers\":[{\"name\":\"c\",\"image\":"
             "\"image:%u\"}]}}}}",
             i, replicas, i, i, image);
}

static void on_patched(void *data, const struct client_answer *a)
{
    struct wish *w = data;
    if (a->ok && w->final && w->user->leads) {
        w->user->heard[w->at] = true;
    }
    mem_free(w);
}

static void send(struct user *u, struct wish *w, enum kvp_verb verb, enum schema_type_id type,
                 const char *name, const char *body, client_done_fn *done)
{
    const struct client_request r = {.verb = verb,
                                     .type = schema_type(type),
                                     .space = slice_str("default"),
                                     .name = slice_str(verb == KVP_VERB_CREATE ? "" : name),
                                     .body = slice_str(body),
                                     .done = done,
                                     .data = w};
    if (client_send(u->term, &r) != 0) {
        mem_free(w);
    }
}

static struct wish *wish_new(struct user *u, unsigned at)
{
    struct wish *w = mem_xalloc(sizeof(*w));
    *w = (struct wish){.user = u, .at = at, .final = plane_user_final};
    return w;
}

/* Deployment i is to be like this. Made when it is not there, else changed. */
static void want(struct user *u, unsigned i, int replicas, unsigned image)
{
    char name[8];
    char body[600];
    snprintf(name, sizeof(name), "d%u", i);
    write_deployment(i, replicas, image, body, sizeof(body));
    send(u, wish_new(u, i), KVP_VERB_PATCH, SCHEMA_APPS_V1_DEPLOYMENT, name, body, on_patched);
    send(u, wish_new(u, i), KVP_VERB_CREATE, SCHEMA_APPS_V1_DEPLOYMENT, name, body, on_patched);
}

static void want_service(struct user *u)
{
    send(u, wish_new(u, PLANE_DEPLOYMENTS), KVP_VERB_CREATE, SCHEMA_CORE_V1_SERVICE, "s",
         "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\"},\"spec\":{"
         "\"selector\":{\"app\":\"d0\"},\"ports\":[{\"port\":80}]}}",
         on_patched);
}

struct pick {
    uint32_t at;
    const struct object *o;
};

static int pick_pod(void *data, const struct object *o)
{
    struct pick *p = data;
    p->o = o;
    return p->at-- == 0;
}

static void delete_pod(struct user *u)
{
    size_t n = informer_len(u->pods);
    if (n > 0) {
        struct pick p = {.at = dice(u, (uint32_t)n)};
        informer_each(u->pods, pick_pod, &p);
        (void)client_delete(u->term, p.o->type, object_namespace(p.o), object_name(p.o), NULL, NULL,
                            NULL);
    }
}

static void scale(struct user *u, unsigned i)
{
    char name[8];
    char body[64];
    snprintf(name, sizeof(name), "d%u", i);
    snprintf(body, sizeof(body), "{\"spec\":{\"replicas\":%u}}", dice(u, 7));
    send(u, wish_new(u, i), KVP_VERB_PATCH, SCHEMA_APPS_V1_DEPLOYMENT, name, body, on_patched);
}

static void user_final(struct user *u)
{
    for (unsigned i = 0; i < PLANE_DEPLOYMENTS; i++) {
        if (!u->heard[i]) {
            want(u, i, plane_final_replicas(i), 99);
        }
    }
    if (!u->heard[PLANE_DEPLOYMENTS]) {
        want_service(u);
        /* There already is as good: it never changes. */
        u->heard[PLANE_DEPLOYMENTS] = dice(u, 4) == 0;
    }
}

static void user_step(void *data)
{
    struct user *u = data;
    uint32_t what = dice(u, 100);
    unsigned i = dice(u, PLANE_DEPLOYMENTS);
    if (plane_user_final) {
        user_final(u);
    } else if (what < 30) {
        want(u, i, (int)dice(u, 5), dice(u, 3));
    } else if (what < 60) {
        scale(u, i);
    } else if (what < 80) {
        delete_pod(u);
    } else if (what < 88) {
        char name[8];
        snprintf(name, sizeof(name), "d%u", i);
        (void)client_delete(u->term, schema_type(SCHEMA_APPS_V1_DEPLOYMENT), slice_str("default"),
                            slice_str(name), NULL, NULL, NULL);
    } else {
        want_service(u);
    }
}

static int user_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                     void **self, struct kvp_errmsg *e)
{
    struct user *u = mem_xzalloc(sizeof(*u));
    const struct informer_args a = {.type = schema_type(SCHEMA_CORE_V1_POD)};
    (void)conf, (void)e;
    u->host = host;
    u->root = ctx;
    int rc = informer_open((struct client){host, ctx}, &a, &u->pods);
    if (rc != 0) {
        mem_free(u);
        return rc;
    }
    *self = u;
    return 0;
}

static int user_start(void *self, struct kvp_ctx *term_ctx, uint64_t term)
{
    struct user *u = self;
    struct kvp_timer_args a = {.size = sizeof(a),
                               .jitter_percent = 100,
                               .after_ms = 300,
                               .repeat_ms = 300,
                               .fire = user_step,
                               .data = u};
    (void)term;
    u->term = (struct client){u->host, term_ctx};
    u->leads = true;
    memset(u->heard, 0, sizeof(u->heard));
    return u->host->timer(term_ctx, &a, NULL);
}

static void user_stop(void *self, int32_t reason)
{
    struct user *u = self;
    (void)reason;
    u->leads = false;
}

static void user_fini(void *self)
{
    struct user *u = self;
    informer_close(u->pods);
    mem_free(u);
}

KVP_PLUGIN(.name = "user", .version = "1", .about = "changes deployments", .init = user_init,
           .start = user_start, .stop = user_stop, .fini = user_fini);
