/* sub.h - subresources that are more than a part of the object they belong to: each has a function
 * of its own here, which answers the exchange now or later. */
#ifndef KVD_APISERVER_SUB_H
#define KVD_APISERVER_SUB_H

#include "plugins/apiserver/exchange.h"
#include "plugins/object/object.h"

/* Answers a request for one of them; also one for bindings, the older form of pods/binding. False:
 * it is something else, nothing was done. */
bool sub_answer(struct exchange *ex);

/* ---- each of them; what the request is about has been checked ---- */
void sub_bind(struct exchange *ex);
void sub_bind_legacy(struct exchange *ex);
void sub_evict(struct exchange *ex);
void sub_scale(struct exchange *ex);
void sub_token(struct exchange *ex); /* account_token.c */
/* log, exec, attach, portforward and proxy: says what is wrong with the request, and else that
 * there is no kubelet to ask. */
void sub_kubelet(struct exchange *ex);

/* ---- for those functions ---- */
/* The object in a body is called as the path says; `what` is its kind in the refusal. False:
 * answered. */
bool sub_check_name(struct exchange *ex, const struct object *o, const char *what);
/* Reads the object the request names; `then` has it until it returns. Takes ex->op. */
void sub_read(struct exchange *ex, void (*then)(struct exchange *ex, const struct object *o));
/* Answers with an object. */
void sub_answer_object(struct exchange *ex, int code, const struct object *o);
/* 201 Success; revision: of what was done. */
void sub_answer_done(struct exchange *ex, int64_t revision);

#endif
