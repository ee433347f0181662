/* fuzz_object_protobuf - protobuf into objects. Byte 0 picks the type, the rest is the message (or,
 * for 255, an envelope). What decodes is written, decodes again to an equal object; what does not
 * decode has a sentence. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "plugins/object/protobuf.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct errmsg e = {.text = ""};
    struct protobuf_envelope p;
    struct arena arena;
    struct value v;
    struct value again;
    struct buf out;
    if (size == 0) {
        return 0;
    }
    p.object = slice_of(data + 1, size - 1);
    const struct schema_type *t = schema_type(types[data[0] % (sizeof types / sizeof types[0])]);
    if (data[0] == 255 && protobuf_open(p.object, &p, &e) != 0) {
        FATAL_IF(e.text[0] == 0, "a refusal without a sentence");
        return 0;
    }
    arena_init(&arena, 64u << 20);
    buf_init(&out);
    int rc = decode_protobuf(p.object, t, &arena, &v, &e);
    FATAL_IF(rc != 0 && e.text[0] == 0, "a refusal without a sentence");
    if (rc == 0) {
        encode_protobuf(t, &v, &out);
        rc = decode_protobuf(buf_slice(&out), t, &arena, &again, &e);
        /* What was sent packed, or a canonical quantity, may be longer than what came. */
        FATAL_IF(rc != 0 && rc != ERR_REQUEST_TOO_LARGE && rc != ERR_NOMEM,
                 "what was written does not decode");
        FATAL_IF(rc == 0 && !value_equal(t, &v, &again), "a round trip changed the object");
    }
    buf_close(&out);
    arena_close(&arena);
    return 0;
}
