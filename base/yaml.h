/* yaml.h - configuration files as a small tree; libyaml reads, this bounds and simplifies.
 *
 * Taken is what configuration needs: one document of maps with text keys, lists and scalars.
 * Anchors, aliases and tags are refused (the first two can make a small file huge), so are keys
 * given twice; yaml_load_rules can take all of these but tags, within bounds. JSON is a subset of
 * YAML and is read too (but for surrogate pairs, which libyaml does not know). Scalars stay text;
 * yaml_bool and yaml_int read them where a flag wants one. yaml_load is for start-up: the caller's
 * thread may wait for large files. */
#ifndef KVD_BASE_YAML_H
#define KVD_BASE_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/slice.h"

enum yaml_type { YAML_TEXT, YAML_LIST, YAML_MAP };

/* Lives in the arena given to yaml_load, as its texts do. */
struct yaml_node {
    enum yaml_type type;
    unsigned line;           /* in the file, from 1, for messages */
    bool quoted;             /* YAML_TEXT: stood in quotes or a block: never null, bool or number */
    const char *text;        /* YAML_TEXT: UTF-8, NUL-terminated, no NUL inside */
    const char *key;         /* inside a map: this value's key; else NULL */
    bool key_quoted;         /* the key stood in quotes */
    size_t count;            /* YAML_LIST, YAML_MAP: children */
    struct yaml_node *first; /* children, in the file's order */
    struct yaml_node *last;
    struct yaml_node *next; /* the next child of the same parent */
};

/* Reads one document. *root is set on success only; an empty document is a null scalar.
 * Returns 0, ERR_INVALID (e says "line 7: ..."), or ERR_NOMEM (also: the arena's limit). Bounds:
 * YAML_BYTES_MAX, YAML_DEPTH_MAX, YAML_NODES_MAX of limits.h. The text is not kept. */
int yaml_load(struct slice text, struct arena *arena, struct yaml_node **root, struct errmsg *e);

/* What a reader takes beyond configuration: documents that programs send. */
struct yaml_rules {
    size_t bytes_max;
    size_t depth_max; /* at most YAML_DEPTH_CEILING */
    size_t nodes_max; /* what aliases repeat counts each time, so no small text becomes huge */
    bool aliases;     /* anchors and aliases are read: an alias is a copy */
    bool twins;       /* keys given twice are kept, all of them, in order: the caller looks */
};

/* yaml_load with other rules. */
int yaml_load_rules(struct slice text, const struct yaml_rules *rules, struct arena *arena,
                    struct yaml_node **root, struct errmsg *e);

/* The value of a map's key; NULL when missing or when map is no map. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* True for a missing value: plain nothing, ~ or null. NULL nodes count as null. */
bool yaml_is_null(const struct yaml_node *n);
/* true/false, yes/no, on/off in lower, Title or UPPER case, plain. false when it is something else.
 */
bool yaml_bool(const struct yaml_node *n, bool *out);
/* Decimal, 0x hexadecimal or 0o octal, with sign, plain. false when it is something else or does
 * not fit. */
bool yaml_int(const struct yaml_node *n, int64_t *out);

#endif
