/* fuzz_patch - an object and a patch to it. Byte 0: the kind of patch in its low two bits, the type
 * in the others; then the object's JSON, a NUL byte, the patch. What comes out is an object that is
 * written and decodes again; the object patched stays as it was; what does not has a sentence. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "plugins/object/defaults.h"
#include "plugins/object/patch.h"
#include "plugins/object/validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* By position: append, never insert. */
static const enum schema_type_id types[] = {
    SCHEMA_CORE_V1_POD,    SCHEMA_APPS_V1_DEPLOYMENT, SCHEMA_CORE_V1_SERVICE,   SCHEMA_CORE_V1_NODE,
    SCHEMA_CORE_V1_SECRET, SCHEMA_CORE_V1_CONFIG_MAP, SCHEMA_CORE_V1_ENDPOINTS,
};

/* Defaults twice are defaults once, and validation survives whatever comes. */
static void use(struct object *o)
{
    struct object once;
    static struct causes causes;
    FATAL_IF(object_default(o) == 0 && object_copy(o, o->arena, &once) == 0 &&
                 object_default(o) == 0 && !object_equal(o, &once),
             "defaulting twice changed the object");
    causes_init(&causes, o->arena);
    validate_create(o, &causes);
    validate_update(o, o, &causes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size < 2 ? NULL : memchr(data + 1, 0, size - 1);
    if (end == NULL) {
        return 0;
    }
    const struct schema_type *t =
        schema_type(types[(data[0] >> 2) % (sizeof types / sizeof types[0])]);
    struct arena a;
    struct errmsg e = {.text = ""};
    struct object o;
    struct object before;
    struct object after;
    struct decode_report report;
    arena_init(&a, 64u << 20);
    struct slice json = slice_of(data + 1, (size_t)(end - data - 1));
    struct slice patch = slice_of(end + 1, size - (size_t)(end - data) - 1);
    if (object_decode(&o, t, &a, json, NULL, &e) == 0 && object_copy(&o, &a, &before) == 0) {
        e.text[0] = 0;
        int rc = object_patch(&o, (enum patch_kind)(data[0] % 3), patch, &a, &after, &report, &e);
        FATAL_IF(!object_equal(&o, &before), "a patch changed the object it was for");
        FATAL_IF(rc != 0 && e.text[0] == 0, "a refusal without a sentence");
        if (rc == 0) {
            use(&after);
        }
        use(&o);
    }
    arena_close(&a);
    return 0;
}
