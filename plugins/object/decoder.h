/* decoder.h - what decode.c, decode_plain.c and decode_report.c share; nobody else includes it. */
#ifndef KVD_OBJECT_DECODER_H
#define KVD_OBJECT_DECODER_H

#include "base/limits.h"
#include "plugins/object/decode.h"
#include "plugins/object/scan.h"

/* A step of the way to the value in hand. */
struct decode_step {
    const struct schema_type *owner; /* of a field; NULL for keys and indexes */
    struct slice name;               /* of a field or key */
    uint32_t index;                  /* when name.data is NULL */
};

struct decoder {
    struct scan s;
    struct arena *arena;
    struct decode_report *report; /* NULL: not strict */
    struct value *stack;
    size_t stack_len;
    size_t stack_cap;
    bool lean;                      /* managedFields are skipped */
    const struct decode_keep *keep; /* NULL: every field is wanted */
    bool wrong_type;                /* the caller's e holds the first value of a wrong type */
    struct errmsg *e;
    struct errmsg syntax;
    unsigned depth;
    struct decode_step steps[OBJECT_DEPTH_MAX + 2];
};

/* What a place expects. */
struct decode_want {
    enum schema_kind kind;
    const struct schema_type *type;
    const char *go_name; /* of the field, with [] or map[string] in front */
    bool element;        /* inside the list or map: go_name without that */
};

/* ---- decode_report.c ---- */
/* what: "unknown field" or "duplicate field"; name is below the place in hand. 0 or ERR_NOMEM. */
int decode_complain(struct decoder *d, const char *what, struct slice name);
/* Remembers a value that does not fit (only the first one counts); found is Go's word for it. */
void decode_wrong(struct decoder *d, const struct decode_want *want, const char *found);
/* A value whose own reader refused it: the sentence stands alone. */
void decode_refused(struct decoder *d, const char *sentence);
/* Skips the value in hand and remembers that it does not fit. */
int decode_skip_wrong(struct decoder *d, const struct decode_want *want);

/* ---- decode_plain.c ---- */
/* One value that is no message and no wrapper, not null; *out is untouched when it did not fit. */
int decode_plain(struct decoder *d, const struct decode_want *want, struct value *out);
/* What stands for null, and for what did not fit, where a value must be. */
struct value decode_zero(enum schema_kind kind);
double decode_strtod(struct slice digits);

#endif
