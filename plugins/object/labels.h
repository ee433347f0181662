/* labels.h - label selectors: their text form, their object form, and what they match. */
#ifndef KVD_OBJECT_LABELS_H
#define KVD_OBJECT_LABELS_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "plugins/object/value.h"

enum label_operator {
    LABEL_IN,
    LABEL_NOT_IN,
    LABEL_EQUALS,
    LABEL_DOUBLE_EQUALS,
    LABEL_NOT_EQUALS,
    LABEL_EXISTS,
    LABEL_NOT_EXISTS,
    LABEL_GREATER,
    LABEL_LESS,
};

struct label_requirement {
    enum label_operator op;
    struct slice key;
    struct slice *values; /* sorted, each once */
    size_t count;
};

/* All requirements must hold; none at all matches everything. */
struct label_selector {
    struct label_requirement *items; /* sorted by key */
    size_t count;
    bool nothing; /* matches no object at all */
};

/* Reads "a=b,c in (d,e),!f,g>1". The selector and its texts lie in the arena. Returns 0,
 * ERR_INVALID with Kubernetes' sentence in e, or ERR_NOMEM. */
int label_selector_parse(struct slice text, struct arena *arena, struct label_selector *out,
                         struct errmsg *e);
/* From a LabelSelector message; NULL selects nothing, an empty one everything. Its texts are
 * shared. ERR_INVALID: an operator that is none, or what no label can be. */
int label_selector_from(const struct value *message, struct arena *arena,
                        struct label_selector *out, struct errmsg *e);
/* From a plain map, as services have it. */
int label_selector_from_map(const struct value *map, struct arena *arena,
                            struct label_selector *out);
/* labels: a map of texts, or NULL. */
bool label_selector_matches(const struct label_selector *s, const struct value *labels);
/* Appends the canonical text. */
void label_selector_print(const struct label_selector *s, struct buf *out);

#endif
