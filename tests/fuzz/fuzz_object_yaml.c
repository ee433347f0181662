/* fuzz_object_yaml - objects sent as YAML. What is read becomes JSON that decodes, and that JSON,
 * being YAML too, becomes the same object again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "plugins/object/yamljson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libyaml reads no key over 1,024 characters on one line and no escaped surrogates, and a mark of
 * byte order is none inside a text. */
static bool reads_again(struct slice json)
{
    return json.len < 900 && (json.len == 0 || memchr(json.data, '\\', json.len) == NULL) &&
           (json.len == 0 || memchr(json.data, 0xef, json.len) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct errmsg e = {.text = ""};
    struct buf json;
    struct buf again;
    struct slice twins;
    struct value v;
    struct value w;
    struct object o;
    struct decode_report report;
    arena_init(&a, 256u << 20);
    buf_init(&json);
    buf_init(&again);
    struct slice yaml = slice_of(data, size);
    int rc = yaml_to_json(yaml, &a, &json, &twins, &e);
    FATAL_IF(rc != 0 && e.text[0] == 0, "a refusal without a sentence");
    if (rc == 0) {
        rc = decode_json(buf_slice(&json), NULL, &a, &v, NULL, &e);
        FATAL_IF(rc == ERR_INVALID, "the JSON made of YAML is none");
        if (rc == 0 && reads_again(buf_slice(&json))) {
            rc = yaml_to_json(buf_slice(&json), &a, &again, NULL, &e);
            FATAL_IF(rc == ERR_INVALID, "the JSON made of YAML is no YAML");
            /* The order of keys may differ: 1 and "1" are different words of YAML. */
            rc = rc == 0 ? decode_json(buf_slice(&again), NULL, &a, &w, NULL, &e) : rc;
            FATAL_IF(rc == 0 && !value_equal(NULL, &v, &w), "a round trip changed the object");
        }
        object_decode_yaml(&o, schema_type(SCHEMA_CORE_V1_POD), &a, yaml, &report, &e);
    }
    buf_close(&json);
    buf_close(&again);
    arena_close(&a);
    return 0;
}
