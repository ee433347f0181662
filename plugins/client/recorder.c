/* recorder.c - builds Events and sends them; correlate.c decides which. */
#include "plugins/client/recorder.h"

#include <stdio.h>

#include "plugins/client/correlate.h"
#include "plugins/object/encode.h"
#include "plugins/object/instant.h"

#define RECORDER_MESSAGE_BYTES_MAX 1024u
#define RECORDER_NAME_BYTES_MAX    253u

struct recorder {
    struct client client;
    struct correlator correlator;
    uint32_t pending; /* requests under way */
    uint32_t serial;  /* tells names of one microsecond apart */
    bool closed;      /* to be freed when none is under way */
    char component[];
};

/* One Event on its way. */
struct recorder_request {
    struct recorder *recorder;
    uint64_t event; /* in the correlator */
    bool patch;     /* of one that is there; else a new one */
    struct slice space;
    struct buf full; /* the whole Event: for when it is not there after all */
    char space_text[RECORDER_NAME_BYTES_MAX + 1]; /* behind space */
};

/* What is said, with all decided. */
struct recorder_words {
    const struct object *about;
    const char *type, *reason, *message;
    const char *name; /* of the Event */
    int64_t count, first_s, last_s;
};

struct recorder *recorder_open(struct client c, const char *component)
{
    size_t bytes = strlen(component) + 1;
    struct recorder *r = mem_zalloc(sizeof(*r) + bytes);
    if (r != NULL) {
        r->client = c;
        correlator_init(&r->correlator);
        memcpy(r->component, component, bytes);
    }
    return r;
}

static void recorder_check(struct recorder *r)
{
    if (r->closed && r->pending == 0) {
        correlator_close(&r->correlator);
        mem_free(r);
    }
}

void recorder_close(struct recorder *r)
{
    if (r != NULL) {
        r->closed = true;
        recorder_check(r);
    }
}

static void recorder_dropped(const struct recorder *r, struct slice why)
{
    if (!r->closed) {
        KVP_LOG(r->client.host, r->client.ctx, KVP_DEBUG, "an Event was dropped",
                kvp_f_str("component", r->component), kvp_f_bytes("why", kvp_of_slice(why)));
    }
}

/* ---- the object ---------------------------------------------------------------------------- */

/* Writes one object; the first failure stays. */
struct recorder_write {
    struct object o;
    int err;
};

static void recorder_set(struct recorder_write *w, const char *path, struct slice text)
{
    if (w->err == 0 && text.len > 0) {
        w->err = object_set_text(&w->o, path, text);
    }
}

static void recorder_set_int(struct recorder_write *w, const char *path, int64_t v)
{
    if (w->err == 0) {
        w->err = object_set_int(&w->o, path, v);
    }
}

static struct slice recorder_space(const struct object *about)
{
    struct slice space = object_namespace(about);
    return space.len > 0 ? space : slice_str("default");
}

/* The whole Event as JSON. false: out of memory. */
static bool recorder_build(const struct recorder *r, const struct recorder_words *words,
                           struct buf *out)
{
    struct arena arena;
    struct recorder_write w;
    const struct object *about = words->about;
    arena_init(&arena, 0);
    w.err = object_new(&w.o, schema_type(SCHEMA_CORE_V1_EVENT), &arena);
    recorder_set(&w, "metadata.name", slice_str(words->name));
    recorder_set(&w, "metadata.namespace", recorder_space(about));
    recorder_set(&w, "involvedObject.kind", slice_str(schema_type_name(about->type)));
    recorder_set(&w, "involvedObject.apiVersion", object_api_version(about->type, &arena));
    recorder_set(&w, "involvedObject.namespace", object_namespace(about));
    recorder_set(&w, "involvedObject.name", object_name(about));
    recorder_set(&w, "involvedObject.uid", object_uid(about));
    recorder_set(&w, "involvedObject.resourceVersion",
                 object_text(about, "metadata.resourceVersion"));
    recorder_set(&w, "reason", slice_str(words->reason));
    recorder_set(&w, "message", slice_str(words->message));
    recorder_set(&w, "type", slice_str(words->type));
    recorder_set(&w, "source.component", slice_str(r->component));
    recorder_set(&w, "reportingComponent", slice_str(r->component));
    recorder_set_int(&w, "firstTimestamp", words->first_s);
    recorder_set_int(&w, "lastTimestamp", words->last_s);
    recorder_set_int(&w, "count", words->count);
    if (w.err == 0) {
        object_encode(&w.o, out);
    }
    arena_close(&arena);
    return w.err == 0 && !out->failed;
}

/* What a repetition changes, as a merge patch. */
static bool recorder_build_patch(const struct recorder_words *words, struct buf *out)
{
    char text[INSTANT_TEXT_BYTES_MAX];
    size_t len = instant_print(words->last_s, text);
    buf_printf(out,
               "{\"count\":%lld,\"lastTimestamp\":\"%.*s\",\"message\":", (long long)words->count,
               (int)len, text);
    encode_text(slice_str(words->message), out);
    buf_append_byte(out, '}');
    return !out->failed;
}

/* ---- sending ------------------------------------------------------------------------------- */

static int recorder_send(struct recorder_request *q, const char *name, struct slice patch);

static void recorder_request_free(struct recorder_request *q)
{
    buf_close(&q->full);
    mem_free(q);
}

static void recorder_on_done(void *data, const struct client_answer *a)
{
    struct recorder_request *q = data;
    struct recorder *r = q->recorder;
    r->pending--;
    if (q->patch && a->status == 404 && !r->closed) {
        q->patch = false;
        if (recorder_send(q, NULL, slice_of(NULL, 0)) == 0) {
            return;
        }
    }
    if (!a->ok) {
        recorder_dropped(r, a->message);
        if (a->reason != KVP_STOPPED) {
            correlator_forget(&r->correlator, q->event);
        }
    }
    recorder_request_free(q);
    recorder_check(r);
}

/* name and patch: of one that is there; else it is created. 0 or a reason. */
static int recorder_send(struct recorder_request *q, const char *name, struct slice patch)
{
    const struct client_request request = {.verb = q->patch ? KVP_VERB_PATCH : KVP_VERB_CREATE,
                                           .type = schema_type(SCHEMA_CORE_V1_EVENT),
                                           .space = q->space,
                                           .name = slice_str(name != NULL ? name : ""),
                                           .body = q->patch ? patch : buf_slice(&q->full),
                                           .patch = CLIENT_PATCH_MERGE,
                                           .done = recorder_on_done,
                                           .data = q};
    int reason = client_send(q->recorder->client, &request);
    q->recorder->pending += reason == 0;
    return reason;
}

static struct recorder_request *
recorder_request_new(struct recorder *r, const struct recorder_words *words, uint64_t event)
{
    struct recorder_request *q = mem_zalloc(sizeof(*q));
    if (q == NULL) {
        return NULL;
    }
    struct slice space = recorder_space(words->about);
    q->recorder = r;
    q->event = event;
    buf_init(&q->full);
    size_t len = space.len < RECORDER_NAME_BYTES_MAX ? space.len : RECORDER_NAME_BYTES_MAX;
    memcpy(q->space_text, space.data, len);
    q->space = slice_of(q->space_text, len);
    if (!recorder_build(r, words, &q->full)) {
        recorder_request_free(q);
        return NULL;
    }
    return q;
}

/* Sends what the verdict asks for. false: nothing is on its way. */
static bool recorder_act(struct recorder *r, struct recorder_words *words,
                         const struct correlate_verdict *verdict)
{
    bool sent = false;
    struct buf patch;
    buf_init(&patch);
    struct recorder_request *q = recorder_request_new(r, words, verdict->event);
    if (q != NULL && verdict->seen != NULL) {
        q->patch = true;
        sent = recorder_build_patch(words, &patch) &&
               recorder_send(q, verdict->seen->name, buf_slice(&patch)) == 0;
    } else if (q != NULL) {
        sent = correlator_add(&r->correlator, verdict->event, words->name, words->first_s) &&
               recorder_send(q, NULL, slice_of(NULL, 0)) == 0;
        if (!sent) {
            correlator_forget(&r->correlator, verdict->event);
        }
    }
    if (q != NULL && !sent) {
        recorder_request_free(q);
    }
    buf_close(&patch);
    return sent;
}

/* "web-1.18a2b3c4d5e6f708": unique per object, as long as a name may be. */
static void recorder_name(struct recorder *r, const struct object *about, uint64_t wall_us,
                          char out[RECORDER_NAME_BYTES_MAX + 1])
{
    struct slice name = object_name(about);
    uint64_t unique = wall_us * 1000 + r->serial++ % 1000;
    int len = name.len < RECORDER_NAME_BYTES_MAX - 17 ? (int)name.len : 0;
    snprintf(out, RECORDER_NAME_BYTES_MAX + 1, "%.*s.%llx", len > 0 ? len : 5,
             len > 0 ? (const char *)name.data : "event", (unsigned long long)unique);
}

static uint64_t recorder_hash(uint64_t before, struct slice text)
{
    return hash_u64(before ^ hash_bytes(text));
}

/* A message that was cut, where len bytes had no room, ends between two characters. */
static void recorder_cut(char message[RECORDER_MESSAGE_BYTES_MAX + 1], int len)
{
    size_t at = RECORDER_MESSAGE_BYTES_MAX;
    if (len <= (int)RECORDER_MESSAGE_BYTES_MAX) {
        return;
    }
    size_t start = at - 1; /* of the last character */
    while (start > 0 && at - start < 4 && ((uint8_t)message[start] & 0xC0u) == 0x80u) {
        start--;
    }
    uint8_t lead = (uint8_t)message[start];
    size_t bytes = lead < 0x80u ? 1 : lead < 0xE0u ? 2 : lead < 0xF0u ? 3 : 4;
    message[start + bytes > at ? start : at] = '\0';
}

static void recorder_record(struct recorder *r, const struct object *about, const char *type,
                            const char *reason, const char *message)
{
    const struct kvp_host *host = r->client.host;
    char name[RECORDER_NAME_BYTES_MAX + 1];
    char combined[RECORDER_MESSAGE_BYTES_MAX + 1];
    struct correlate_key key = {.message = hash_bytes(slice_str(message))};
    key.object = recorder_hash((uint64_t)(uintptr_t)about->type, object_uid(about));
    key.object = recorder_hash(key.object, object_namespace(about));
    key.object = recorder_hash(key.object, object_name(about));
    key.similar = recorder_hash(recorder_hash(key.object, slice_str(type)), slice_str(reason));
    struct correlate_verdict verdict;
    correlator_judge(&r->correlator, &key, host->now_ms(r->client.ctx), &verdict);
    if (verdict.dropped || verdict.no_memory || r->pending >= RECORDER_PENDING_MAX) {
        recorder_dropped(r, slice_str(verdict.dropped     ? "too many of this object"
                                      : verdict.no_memory ? "out of memory"
                                                          : "too many under way"));
        return;
    }
    if (verdict.combined) {
        recorder_cut(combined, snprintf(combined, sizeof(combined),
                                        "(combined from similar events): %s", message));
    }
    uint64_t wall_us = host->wall_us(r->client.ctx);
    int64_t now_s = (int64_t)(wall_us / 1000000);
    recorder_name(r, about, wall_us, name);
    struct recorder_words words = {.about = about,
                                   .type = type,
                                   .reason = reason,
                                   .message = verdict.combined ? combined : message,
                                   .name = name,
                                   .count = verdict.seen != NULL ? verdict.seen->count : 1,
                                   .first_s = verdict.seen != NULL ? verdict.seen->first_s : now_s,
                                   .last_s = now_s};
    if (!recorder_act(r, &words, &verdict)) {
        recorder_dropped(r, slice_str("it could not be sent"));
    }
}

static void recorder_say(struct recorder *r, const struct object *about, const char *type,
                         const char *reason, const char *format, va_list args)
{
    char message[RECORDER_MESSAGE_BYTES_MAX + 1];
    int len = vsnprintf(message, sizeof(message), format, args);
    if (len >= 0) {
        recorder_cut(message, len);
        recorder_record(r, about, type, reason, message);
    }
}

void recorder_normal(struct recorder *r, const struct object *about, const char *reason,
                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    recorder_say(r, about, "Normal", reason, format, args);
    va_end(args);
}

void recorder_warning(struct recorder *r, const struct object *about, const char *reason,
                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    recorder_say(r, about, "Warning", reason, format, args);
    va_end(args);
}
