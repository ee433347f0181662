/* object.h - objects: one plugin asks, another one answers, home between them. Private to
 * plugins/host.
 *
 *   asker's lane             home                          provider's lane
 *   kvp_object --ask-->      finds the provider  --begin-->  kvp_call, `request`
 *              <-- note ---  passes on           <-- note --  call_event, call_answer
 *              -- note -->   credit, `writable`  -------->
 *              --leave-->    call_end            --bye--->   `canceled`
 *              <--left---                        <--gone--
 *
 * Either side may go first. Only home knows both: kvp_object.call and kvp_call.object are its
 * fields, and it clears both when one side goes. A kvp_object is freed by its lane at `left`, a
 * kvp_call by home at `gone`, in both cases behind everything that was said about it.
 *
 * Bytes are copied once: a request's into a blob that both lanes read, an answer's or event's into
 * another one. */
#ifndef KVD_PLUGINS_HOST_OBJECT_H
#define KVD_PLUGINS_HOST_OBJECT_H

#include "base/blob.h"
#include "plugins/host/host_impl.h"
#include "plugins/host/lane_flow.h"

struct provider {
    struct list link; /* plugin_host.providers, locked */
    struct instance *instance;
    struct kvp_provide_args args; /* group, version and resource point into text */
    char text[];
};

/* A request as both sides read it; all bytes lie in the blob. */
struct object_words {
    struct blob *blob;
    struct kvp_object_request request;
    struct kvp_identity identity;
};

/* The asker's side. */
struct kvp_object {
    struct ctx_part part;
    struct kvp_ctx *ctx;
    struct object_words words;
    void (*done)(void *data, const struct kvp_result *r, const struct kvp_object_answer *a);
    void (*event)(void *data, struct kvp_bytes type, struct kvp_bytes object, int64_t revision);
    void *data;
    bool dead;             /* lane: no callback any more */
    struct lane_msg ask;   /* lane -> home */
    struct lane_msg over;  /* home -> lane: nobody answers */
    struct lane_msg leave; /* lane -> home, the last one */
    struct lane_msg left;  /* home -> lane, the last one */
    int over_err;
    const char *over_text;
    struct kvp_call *call; /* home */
};

/* The provider's side. */
struct kvp_call {
    struct instance *instance;
    const struct provider *provider;
    struct object_words words;
    struct kvp_ctx ctx; /* of call_ctx */
    char stamp_plugin[PLUGIN_NAME_BYTES_MAX + 1];
    struct lane_flow flow;    /* bytes of events, from the lane to the asker */
    struct lane_msg begin;    /* home -> lane */
    struct lane_msg writable; /* home -> lane */
    struct lane_msg bye;      /* home -> lane: answered, or the asker is gone */
    struct lane_msg gone;     /* lane -> home, the last one */

    /* home */
    struct list link; /* instance.calls, until it ends */
    struct kvp_object *object;
    bool ending;

    /* lane */
    bool answered;
    bool ctx_used;
};

/* An answer or event on its way from lane to home to lane, and back as credit. */
struct object_note {
    struct lane_msg msg;
    struct kvp_call *call;     /* until home has passed it on */
    struct kvp_object *object; /* from then on */
    struct blob *blob;
    struct kvp_bytes type, body; /* in the blob; type: of an event, or the content type */
    bool is_answer;
    int32_t status;
    int64_t revision;
    size_t cost; /* in kvp_call.flow */
};

/* ---- home (object_home.c), as messages, except the last two ---- */
void object_on_ask(struct lane_msg *m);
void object_on_leave(struct lane_msg *m);
void object_on_note(struct lane_msg *m);   /* from the provider */
void object_on_credit(struct lane_msg *m); /* from the asker */
void call_on_gone(struct lane_msg *m);

/* ---- the asker's lane (object_ask.c) ---- */
void object_on_over(struct lane_msg *m);
void object_on_left(struct lane_msg *m);
void object_on_told(struct lane_msg *m); /* a note */
void object_ask_calls(struct kvp_host *t);

/* ---- the provider's lane (object_call.c) ---- */
void call_on_begin(struct lane_msg *m);
void call_on_writable(struct lane_msg *m);
void call_on_bye(struct lane_msg *m);
void object_answer_calls(struct kvp_host *t);

/* ---- object_provide.c ---- */
void object_provide_calls(struct kvp_host *t);
/* Home: who answers for this; NULL: nobody. */
const struct provider *provider_find(struct plugin_host *h, const struct kvp_object_request *r);

void object_note_free(struct object_note *n);
/* May it have changed something when no answer came? */
static inline bool object_changes(const struct kvp_object_request *r)
{
    return r->verb >= KVP_VERB_CREATE;
}

#endif
