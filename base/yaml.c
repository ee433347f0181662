/* yaml.c - builds the tree from libyaml's events, without recursion.
 *
 * libyaml's own memory does not come from mem_*: it has no hook for that. It is bounded by the
 * input's size, and its scanner looks ahead at most 1,024 characters, so nesting is noticed here
 * soon enough. */
#include "base/yaml.h"

#include <string.h>

#include <yaml.h>

#include "base/limits.h"

struct yaml_anchor {
    struct yaml_anchor *next; /* newest first: a name may be given again */
    const char *name;
    const struct yaml_node *node;
};

struct yaml_loader {
    const struct yaml_rules *rules;
    struct arena *arena;
    struct errmsg *e;
    struct yaml_node *root;
    struct yaml_node *open[YAML_DEPTH_CEILING]; /* lists and maps around the next event */
    const char *key[YAML_DEPTH_CEILING];        /* of an open map: the key waiting for its value */
    bool key_quoted[YAML_DEPTH_CEILING];
    struct yaml_anchor *anchors;
    size_t depth;
    size_t nodes;
};

static int yaml_refuse(struct yaml_loader *l, const yaml_event_t *event, const char *what)
{
    return errmsg_set(l->e, ERR_INVALID, "line %zu: %s", event->start_mark.line + 1, what);
}

static struct yaml_node *yaml_child(const struct yaml_node *map, const char *key)
{
    for (struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (strcmp(n->key, key) == 0) {
            return n;
        }
    }
    return NULL;
}

/* Copies a scalar's text. NULL with *rc set when it cannot be. */
static const char *yaml_copy(struct yaml_loader *l, const yaml_event_t *event, int *rc)
{
    const uint8_t *value = event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(value, 0, len) != NULL) {
        *rc = yaml_refuse(l, event, "a NUL character inside a text");
        return NULL;
    }
    struct slice copy =
        arena_dup(l->arena, slice_of(value, len + 1)); /* libyaml ends it with NUL */
    if (copy.data == NULL) {
        *rc = ERR_NOMEM;
        return NULL;
    }
    return (const char *)copy.data;
}

/* A scalar where a map wants a key. */
static int yaml_take_key(struct yaml_loader *l, const yaml_event_t *event)
{
    int rc = 0;
    const char *key = yaml_copy(l, event, &rc);
    if (key == NULL) {
        return rc;
    }
    const struct yaml_node *twin = l->rules->twins ? NULL : yaml_child(l->open[l->depth - 1], key);
    if (twin != NULL) {
        return errmsg_set(l->e, ERR_INVALID,
                          "line %zu: key \"%.64s\" is given twice, first in line %u",
                          event->start_mark.line + 1, key, twin->line);
    }
    l->key[l->depth - 1] = key;
    l->key_quoted[l->depth - 1] = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

static bool yaml_wants_key(const struct yaml_loader *l)
{
    return l->depth > 0 && l->open[l->depth - 1]->type == YAML_MAP && l->key[l->depth - 1] == NULL;
}

/* Makes a node and hangs it under the innermost open one. NULL with *rc set on failure. */
static struct yaml_node *yaml_add(struct yaml_loader *l, const yaml_event_t *event,
                                  enum yaml_type type, int *rc)
{
    if (l->nodes >= l->rules->nodes_max) {
        *rc = yaml_refuse(l, event, "too many values in one file");
        return NULL;
    }
    struct yaml_node *n = arena_zalloc(l->arena, sizeof *n);
    if (n == NULL) {
        *rc = ERR_NOMEM;
        return NULL;
    }
    l->nodes++;
    n->type = type;
    n->line = (unsigned)event->start_mark.line + 1;
    if (l->depth == 0) {
        l->root = n;
        return n;
    }
    struct yaml_node *parent = l->open[l->depth - 1];
    n->key = l->key[l->depth - 1];
    n->key_quoted = l->key[l->depth - 1] != NULL && l->key_quoted[l->depth - 1];
    l->key[l->depth - 1] = NULL;
    if (parent->last == NULL) {
        parent->first = n;
    } else {
        parent->last->next = n;
    }
    parent->last = n;
    parent->count++;
    return n;
}

/* Refuses tags, and anchors where they are not taken. */
static int yaml_check_marks(struct yaml_loader *l, const yaml_event_t *event, const void *anchor,
                            const void *tag)
{
    if (!l->rules->aliases && (anchor != NULL || tag != NULL)) {
        return yaml_refuse(l, event, "anchors (&) and tags (!) are not supported");
    }
    return tag == NULL ? 0 : yaml_refuse(l, event, "tags (!) are not supported");
}

static int yaml_remember(struct yaml_loader *l, const void *name, const struct yaml_node *n)
{
    if (name == NULL) {
        return 0;
    }
    struct yaml_anchor *a = arena_alloc(l->arena, sizeof *a);
    struct slice copy = arena_dup(l->arena, slice_of(name, strlen(name) + 1));
    if (a == NULL || copy.data == NULL) {
        return ERR_NOMEM;
    }
    *a = (struct yaml_anchor){.next = l->anchors, .name = (const char *)copy.data, .node = n};
    l->anchors = a;
    return 0;
}

static int yaml_scalar(struct yaml_loader *l, const yaml_event_t *event)
{
    int bad = yaml_check_marks(l, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (bad != 0) {
        return bad;
    }
    if (yaml_wants_key(l)) {
        return yaml_take_key(l, event);
    }
    int rc = 0;
    struct yaml_node *n = yaml_add(l, event, YAML_TEXT, &rc);
    if (n == NULL) {
        return rc;
    }
    n->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    n->text = yaml_copy(l, event, &rc);
    return rc != 0 ? rc : yaml_remember(l, event->data.scalar.anchor, n);
}

static int yaml_start(struct yaml_loader *l, const yaml_event_t *event, enum yaml_type type,
                      const void *anchor, const void *tag)
{
    int rc = yaml_check_marks(l, event, anchor, tag);
    if (rc != 0) {
        return rc;
    }
    if (yaml_wants_key(l)) {
        return yaml_refuse(l, event, "a key must be a text");
    }
    if (l->depth == l->rules->depth_max) {
        return yaml_refuse(l, event, "nested too deeply");
    }
    struct yaml_node *n = yaml_add(l, event, type, &rc);
    if (n != NULL) {
        rc = yaml_remember(l, anchor, n);
        l->open[l->depth] = n;
        l->key[l->depth] = NULL;
        l->depth++;
    }
    return rc;
}

/* A copy of what an anchor names, hung under the innermost open node. */
static int yaml_repeat(struct yaml_loader *l, const yaml_event_t *event,
                       const struct yaml_node *from)
{
    int rc = 0;
    struct yaml_node *n = yaml_add(l, event, from->type, &rc);
    if (n == NULL) {
        return rc;
    }
    n->quoted = from->quoted;
    n->text = from->text;
    if (from->type == YAML_TEXT) {
        return 0;
    }
    if (l->depth == l->rules->depth_max) {
        return yaml_refuse(l, event, "nested too deeply");
    }
    l->open[l->depth] = n;
    l->key[l->depth] = NULL;
    l->depth++;
    for (const struct yaml_node *c = from->first; c != NULL && rc == 0; c = c->next) {
        l->key[l->depth - 1] = c->key;
        l->key_quoted[l->depth - 1] = c->key_quoted;
        rc = yaml_repeat(l, event, c);
    }
    l->depth--;
    return rc;
}

static int yaml_alias(struct yaml_loader *l, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct yaml_anchor *a = l->anchors;
    while (a != NULL && strcmp(a->name, name) != 0) {
        a = a->next;
    }
    if (a == NULL) {
        return yaml_refuse(l, event, "an alias (*) of an unknown anchor");
    }
    for (size_t i = 0; i < l->depth; i++) {
        if (l->open[i] == a->node) {
            return yaml_refuse(l, event, "an anchor's value contains itself");
        }
    }
    if (yaml_wants_key(l)) {
        return yaml_refuse(l, event, "a key must be a text");
    }
    return yaml_repeat(l, event, a->node);
}

/* One event. *done at the stream's end. */
static int yaml_event(struct yaml_loader *l, const yaml_event_t *event, bool *done)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return l->root == NULL ? 0 : yaml_refuse(l, event, "a second document in the file");
    case YAML_ALIAS_EVENT:
        return l->rules->aliases ? yaml_alias(l, event)
                                 : yaml_refuse(l, event, "aliases (*) are not supported");
    case YAML_SCALAR_EVENT:
        return yaml_scalar(l, event);
    case YAML_SEQUENCE_START_EVENT:
        return yaml_start(l, event, YAML_LIST, event->data.sequence_start.anchor,
                          event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return yaml_start(l, event, YAML_MAP, event->data.mapping_start.anchor,
                          event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        l->depth--;
        return 0;
    case YAML_STREAM_END_EVENT:
        *done = true;
        return 0;
    default:
        return 0;
    }
}

static int yaml_parser_failure(const yaml_parser_t *parser, struct errmsg *e)
{
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
    switch (parser->error) {
    case YAML_MEMORY_ERROR:
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    case YAML_READER_ERROR:
        return errmsg_set(e, ERR_INVALID, "byte %zu: %s", parser->problem_offset, problem);
    default:
        return errmsg_set(e, ERR_INVALID, "line %zu: %s", parser->problem_mark.line + 1, problem);
    }
}

int yaml_load(struct slice text, struct arena *arena, struct yaml_node **root, struct errmsg *e)
{
    static const struct yaml_rules rules = {
        .bytes_max = YAML_BYTES_MAX, .depth_max = YAML_DEPTH_MAX, .nodes_max = YAML_NODES_MAX};
    return yaml_load_rules(text, &rules, arena, root, e);
}

int yaml_load_rules(struct slice text, const struct yaml_rules *rules, struct arena *arena,
                    struct yaml_node **root, struct errmsg *e)
{
    struct yaml_loader l = {.rules = rules, .arena = arena, .e = e};
    if (text.len > rules->bytes_max) {
        return errmsg_set(e, ERR_INVALID, "larger than %zu bytes", rules->bytes_max);
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.len == 0 ? (const uint8_t *)"" : text.data,
                                 text.len);
    int rc = 0;
    bool done = false;
    while (rc == 0 && !done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            rc = yaml_parser_failure(&parser, e);
            break;
        }
        rc = yaml_event(&l, &event, &done);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (rc == 0 && l.root == NULL) {
        l.root = arena_zalloc(arena, sizeof *l.root);
        if (l.root != NULL) {
            l.root->line = 1;
            l.root->text = "";
        } else {
            rc = ERR_NOMEM;
        }
    }
    if (rc == ERR_NOMEM) {
        errmsg_set(e, rc, "out of memory");
    }
    if (rc == 0) {
        *root = l.root;
    }
    return rc;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    return map != NULL && map->type == YAML_MAP ? yaml_child(map, key) : NULL;
}

/* True when n is a plain scalar equal to one of the words (NULL ends the list). */
static bool yaml_is_word(const struct yaml_node *n, const char *const *words)
{
    if (n->type != YAML_TEXT || n->quoted) {
        return false;
    }
    for (; *words != NULL; words++) {
        if (strcmp(n->text, *words) == 0) {
            return true;
        }
    }
    return false;
}

bool yaml_is_null(const struct yaml_node *n)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
    return n == NULL || yaml_is_word(n, words);
}

bool yaml_bool(const struct yaml_node *n, bool *out)
{
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
                                      "YES",  "on",   "On",   "ON",  NULL};
    static const char *const no[] = {"false", "False", "FALSE", "no",  "No",
                                     "NO",    "off",   "Off",   "OFF", NULL};
    if (n == NULL) {
        return false;
    }
    if (yaml_is_word(n, yes)) {
        *out = true;
        return true;
    }
    if (yaml_is_word(n, no)) {
        *out = false;
        return true;
    }
    return false;
}

bool yaml_int(const struct yaml_node *n, int64_t *out)
{
    if (n == NULL || n->type != YAML_TEXT || n->quoted) {
        return false;
    }
    const char *p = n->text;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') {
        p++;
    }
    unsigned base = 10;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'o')) {
        base = p[1] == 'x' ? 16 : 8;
        p += 2;
    }
    if (*p == '\0') {
        return false;
    }
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t value = 0;
    for (; *p != '\0'; p++) {
        unsigned digit = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                         : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
                         : *p >= 'A' && *p <= 'F' ? (unsigned)(*p - 'A' + 10)
                                                  : 99;
        if (digit >= base || value > (limit - digit) / base) {
            return false;
        }
        value = value * base + digit;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}
