/* body.h - the objects that requests carry. All of these may run in a step of work. */
#ifndef KVD_APISERVER_BODY_H
#define KVD_APISERVER_BODY_H

#include "plugins/apiserver/exchange.h"
#include "plugins/object/object.h"

/* Turns a body in protobuf into the JSON it stands for, so that all verbs see JSON or YAML; others
 * stay as they are. False: the answer has been given. */
bool body_translate(struct exchange *ex);
/* For exchange_work: how large the work of it is. */
size_t body_translate_bytes(const struct exchange *ex);
/* The same of decoding it: its length; of YAML that repeats parts of itself anything. */
size_t body_bytes(const struct exchange *ex);
/* Decodes the body as an object of the request's kind, JSON or YAML, as strict as fieldValidation
 * says, and puts it into the request's namespace. False: the answer has been given. */
bool body_decode(struct exchange *ex, struct object *out);
/* Answers or warns of what a strict decoding found. False: answered. */
bool body_report(struct exchange *ex, const struct decode_report *report);
/* Drops owner references that repeat an earlier one's uid, with a warning if one is wanted. False:
 * answered. */
bool body_dedupe_owners(struct exchange *ex, struct object *o, bool warn);
/* Checks the parameters of a write and answers 422 when they are wrong. kind: CreateOptions, ... */
bool body_check_options(struct exchange *ex, const char *kind);

#endif
