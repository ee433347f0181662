/* fuzz_object - JSON into objects. Byte 0 picks the type (255: none), the rest is the JSON. What
 * decodes is written, decodes again to an equal object and is written to the same bytes; a copy is
 * equal; what does not decode has a sentence. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "plugins/object/encode.h"
#include "plugins/object/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* By position: append, never insert. */
static const enum schema_type_id types[] = {
    SCHEMA_CORE_V1_POD,
    SCHEMA_CORE_V1_NODE,
    SCHEMA_CORE_V1_SERVICE,
    SCHEMA_CORE_V1_SECRET,
    SCHEMA_APPS_V1_DEPLOYMENT,
    SCHEMA_CORE_V1_EVENT,
    SCHEMA_COORDINATION_V1_LEASE,
    SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE,
    SCHEMA_META_V1_DELETE_OPTIONS,
    SCHEMA_AUTHORIZATION_V1_SUBJECT_ACCESS_REVIEW,
    SCHEMA_CORE_V1_POD_LIST,
};

static void round_trip(const struct schema_type *t, const struct value *v, struct arena *a)
{
    struct buf first;
    struct buf second;
    struct errmsg e;
    struct value again;
    struct value copy;
    struct decode_report report;
    buf_init(&first);
    buf_init(&second);
    encode_json(t, v, &first);
    int rc = decode_json(buf_slice(&first), t, a, &again, &report, &e);
    /* Escapes and empty structs may make the JSON larger than what is read. */
    if (rc != ERR_REQUEST_TOO_LARGE && rc != ERR_NOMEM) {
        FATAL_IF(rc != 0, "what was written does not decode");
        FATAL_IF(report.count != 0, "what was written is not strict");
        encode_json(t, &again, &second);
        FATAL_IF(!slice_eq(buf_slice(&first), buf_slice(&second)), "a round trip changed the JSON");
        FATAL_IF(!value_equal(t, v, &again), "a round trip changed the object");
        FATAL_IF(value_copy(a, v, &copy) == 0 && !value_equal(t, v, &copy), "a copy differs");
    }
    buf_close(&first);
    buf_close(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const struct schema_type *t =
        data[0] == 255 ? NULL : schema_type(types[data[0] % (sizeof types / sizeof types[0])]);
    struct arena a;
    struct errmsg e = {.text = ""};
    struct value v;
    struct decode_report report;
    arena_init(&a, 64u << 20);
    if (decode_json(slice_of(data + 1, size - 1), t, &a, &v, &report, &e) == 0) {
        struct buf plain;
        buf_init(&plain);
        encode_json(t, &v, &plain);
        /* Without a schema 1e3 is written as 1000 and -0.0 as -0, which are integers from then on.
         */
        if (t != NULL || decode_json(buf_slice(&plain), t, &a, &v, &report, &e) == 0) {
            round_trip(t, &v, &a);
        }
        buf_close(&plain);
    } else {
        FATAL_IF(e.text[0] == 0, "a refusal without a sentence");
    }
    arena_close(&a);
    return 0;
}
