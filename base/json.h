/* json.h - writing JSON into a buffer: the gateway's answers, status pages; log lines use the
 * escape.
 *
 * The writer puts commas where they belong and nothing else between tokens (contract J-04: no
 * spaces). It trusts its caller about nesting: an object gets key, value, key, value. Failure is
 * the buffer's: look at buf.failed once at the end. */
#ifndef KVD_BASE_JSON_H
#define KVD_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* Escapes text for the inside of a JSON string into out, whole escapes only, while they fit into
 * `room` bytes. *taken says how much of text that was (all of it, when room >= 6 * text.len). Bytes
 * that are not UTF-8 become \ufffd; control characters, also those above ASCII, are escaped, so no
 * text can steer a terminal. Returns the bytes written. Any thread. */
size_t json_escape(char *out, size_t room, struct slice text, size_t *taken);

struct json {
    struct buf *out; /* not owned */
    bool comma;      /* a value was written at this level: the next one needs a comma */
};

void json_init(struct json *j, struct buf *out);
void json_object(struct json *j);     /* { */
void json_object_end(struct json *j); /* } */
void json_array(struct json *j);      /* [ */
void json_array_end(struct json *j);  /* ] */
void json_key(struct json *j, const char *name);
void json_str(struct json *j, struct slice text);
void json_cstr(struct json *j, const char *text); /* NULL is written as "" */
void json_int(struct json *j, int64_t value);
void json_uint(struct json *j, uint64_t value);
/* 64-bit integers as strings, as protobuf's JSON form has them. */
void json_int_str(struct json *j, int64_t value);
void json_uint_str(struct json *j, uint64_t value);
void json_double(struct json *j, double value); /* null when not finite: JSON has no such numbers */
void json_bool(struct json *j, bool value);
void json_null(struct json *j);
/* Bytes as a string of standard base64 with padding, as protobuf's JSON form has them. */
void json_base64(struct json *j, struct slice bytes);

#endif
