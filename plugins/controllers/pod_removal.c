/* pod_removal.c - a status update, then a deletion. */
#include "plugins/controllers/pod_removal.h"

#include "base/alloc.h"
#include "plugins/controllers/conditions.h"

struct pod_removal {
    struct client client;
    struct work *work;
    int64_t grace_s;
    size_t uid_len, space_len, name_len;
    char text[]; /* uid, namespace, name */
};

static int pod_removal_request(struct client c, struct work *w, const struct client_request *r,
                               unsigned forgiven)
{
    return w != NULL ? work_send(w, r, forgiven) : client_send(c, r);
}

static int pod_removal_delete(const struct pod_removal *p)
{
    struct buf body;
    buf_init(&body);
    buf_append_str(&body, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",");
    if (p->grace_s >= 0) {
        buf_printf(&body, "\"gracePeriodSeconds\":%lld,", (long long)p->grace_s);
    }
    buf_printf(&body, "\"preconditions\":{\"uid\":\"%.*s\"}}", (int)p->uid_len, p->text);
    struct client_request r = {.verb = KVP_VERB_DELETE,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .space = slice_of(p->text + p->uid_len, p->space_len),
                               .name = slice_of(p->text + p->uid_len + p->space_len, p->name_len),
                               .body = buf_slice(&body)};
    int rc = body.failed ? KVP_NO_MEMORY
                         : pod_removal_request(p->client, p->work, &r,
                                               WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    buf_close(&body);
    return rc;
}

static void pod_removal_marked(void *data, const struct client_answer *a)
{
    struct pod_removal *p = data;
    if (a->ok && pod_removal_delete(p) != 0 && p->work != NULL) {
        work_fail(p->work, "the deletion could not be sent");
    }
    mem_free(p);
}

static struct pod_removal *pod_removal_new(const struct pod_removal_args *a)
{
    struct slice uid = object_uid(a->pod);
    struct slice space = object_namespace(a->pod);
    struct slice name = object_name(a->pod);
    struct pod_removal *p = mem_zalloc(sizeof *p + uid.len + space.len + name.len);
    if (p == NULL) {
        return NULL;
    }
    p->client = a->client;
    p->work = a->work;
    p->grace_s = a->grace_s;
    p->uid_len = uid.len;
    p->space_len = space.len;
    p->name_len = name.len;
    memcpy(p->text, uid.data, uid.len);
    memcpy(p->text + uid.len, space.data, space.len);
    memcpy(p->text + uid.len + space.len, name.data, name.len);
    return p;
}

/* Makes the status say it. *changed: whether it has to be written. */
static int pod_removal_mark(const struct pod_removal_args *a, struct object *o, bool *changed)
{
    struct slice phase = object_text(o, "status.phase");
    bool over = slice_eq(phase, slice_str("Failed")) || slice_eq(phase, slice_str("Succeeded"));
    int rc = 0;
    *changed = false;
    if (a->reason != NULL) {
        struct condition_want want = {"DisruptionTarget", "True", a->reason, a->message, a->now_s};
        rc = conditions_set(o, &want, changed);
    }
    if (rc == 0 && a->failed && !over) {
        *changed = true;
        rc = object_set_str(o, "status.phase", "Failed");
    }
    return rc;
}

int pod_removal_send(const struct pod_removal_args *a)
{
    struct pod_removal *p = pod_removal_new(a);
    if (p == NULL) {
        return KVP_NO_MEMORY;
    }
    struct arena arena;
    struct object o;
    bool changed;
    arena_init(&arena, 0);
    int rc = object_copy(a->pod, &arena, &o);
    rc = rc == 0 ? pod_removal_mark(a, &o, &changed) : rc;
    if (rc != 0) {
        rc = KVP_NO_MEMORY;
    } else if (!changed) {
        rc = pod_removal_delete(p);
        mem_free(p);
        p = NULL;
    } else {
        struct client_request r = {.verb = KVP_VERB_UPDATE,
                                   .type = o.type,
                                   .sub = "status",
                                   .space = object_namespace(a->pod),
                                   .name = object_name(a->pod),
                                   .object = &o,
                                   .done = pod_removal_marked,
                                   .data = p};
        rc = pod_removal_request(a->client, a->work, &r, WORK_NOT_FOUND_OK);
    }
    if (rc != 0) {
        mem_free(p);
    }
    arena_close(&arena);
    return rc;
}
