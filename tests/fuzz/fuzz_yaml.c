/* fuzz_yaml - configuration files. Whatever loads is a tree within the bounds whose texts can be
 * written as JSON, and that JSON loads as a tree of the same size. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the tree and counts its nodes; depth is bounded, so recursion is. */
static size_t write_json(struct json *j, const struct yaml_node *n, unsigned depth)
{
    FATAL_IF(depth > YAML_DEPTH_MAX, "a tree deeper than its bound");
    FATAL_IF(n->line == 0, "a node without a line");
    if (n->type == YAML_TEXT) {
        bool b;
        int64_t i;
        yaml_bool(n, &b);
        yaml_int(n, &i);
        yaml_is_null(n);
        json_cstr(j, n->text);
        return 1;
    }
    size_t total = 1;
    size_t children = 0;
    n->type == YAML_MAP ? json_object(j) : json_array(j);
    for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
        if (n->type == YAML_MAP) {
            FATAL_IF(yaml_get(n, c->key) != c, "a key leads to another value");
            json_key(j, c->key);
        }
        total += write_json(j, c, depth + 1);
        children++;
    }
    n->type == YAML_MAP ? json_object_end(j) : json_array_end(j);
    FATAL_IF(children != n->count, "a list of another length than it says");
    return total;
}

/* libyaml reads no key over 1,024 characters on one line, and an escape may take six. */
static bool fits_again(const struct yaml_node *n)
{
    for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
        if ((c->key != NULL && strlen(c->key) > 150) || !fits_again(c)) {
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct errmsg e;
    struct yaml_node *root = NULL;
    arena_init(&a, 16u << 20);
    int rc = yaml_load(slice_of(data, size), &a, &root, &e);
    FATAL_IF((rc == 0) != (root != NULL), "result and tree disagree");
    if (rc == 0) {
        struct buf b;
        struct json j;
        buf_init(&b);
        json_init(&j, &b);
        size_t nodes = write_json(&j, root, 0);
        FATAL_IF(nodes > YAML_NODES_MAX, "a tree larger than its bound");
        if (fits_again(root) && b.len <= YAML_BYTES_MAX) {
            struct yaml_node *again = NULL;
            rc = yaml_load(buf_slice(&b), &a, &again, &e);
            FATAL_IF(rc != 0, "a tree written as JSON does not load");
            buf_clear(&b);
            json_init(&j, &b);
            FATAL_IF(write_json(&j, again, 0) != nodes, "a round trip changed the tree");
        }
        buf_close(&b);
    }
    arena_close(&a);
    return 0;
}
