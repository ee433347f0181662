/* all_types.h - a message with every field type, as protoc-c would have made it, for the codec's
 * tests: etcd's own messages use only some of them. */
#ifndef KVD_TESTS_UNIT_PROTO_ALL_TYPES_H
#define KVD_TESTS_UNIT_PROTO_ALL_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct all_types {
    ProtobufCMessage base;
    int32_t f1, f2, f3;
    int64_t f4, f5, f6;
    uint32_t f7, f8;
    uint64_t f9, f10;
    float f11;
    double f12;
    protobuf_c_boolean f13;
    int f14;
    char *f15;
    ProtobufCBinaryData f16;
    struct all_types *f17;
    size_t count21, count22, count23, count24, count25, count26, count27, count28, count29, count30,
        count31, count32, count33, count34, count35, count36, count37;
    int32_t *f21, *f22, *f23;
    int64_t *f24, *f25, *f26;
    uint32_t *f27, *f28;
    uint64_t *f29, *f30;
    float *f31;
    double *f32;
    protobuf_c_boolean *f33;
    int *f34;
    char **f35;
    ProtobufCBinaryData *f36;
    struct all_types **f37;
    int pick; /* the set member's number, 0 = none */
    union {
        int64_t f41;
        ProtobufCBinaryData f42;
        char *f43;
        struct all_types *f44;
        protobuf_c_boolean f45;
        uint64_t f46;
    };
};

static const ProtobufCMessageDescriptor all_types_descriptor;

#define ALL_ONE(n, t, d, init)                                          \
    {                                                                   \
        "f" #n, n, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_##t, 0,       \
            offsetof(struct all_types, f##n), d, init, 0, 0, NULL, NULL \
    }
#define ALL_LIST(n, t, d)                                                                          \
    {                                                                                              \
        "f" #n, n, PROTOBUF_C_LABEL_REPEATED, PROTOBUF_C_TYPE_##t,                                 \
            offsetof(struct all_types, count##n), offsetof(struct all_types, f##n), d, NULL, 0, 0, \
            NULL, NULL                                                                             \
    }
#define ALL_PICK(n, t, d)                                                                         \
    {                                                                                             \
        "f" #n, n, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_##t, offsetof(struct all_types, pick),  \
            offsetof(struct all_types, f##n), d, NULL, PROTOBUF_C_FIELD_FLAG_ONEOF, 0, NULL, NULL \
    }

static const ProtobufCFieldDescriptor all_types_fields[] = {
    ALL_ONE(1, INT32, NULL, NULL),
    ALL_ONE(2, SINT32, NULL, NULL),
    ALL_ONE(3, SFIXED32, NULL, NULL),
    ALL_ONE(4, INT64, NULL, NULL),
    ALL_ONE(5, SINT64, NULL, NULL),
    ALL_ONE(6, SFIXED64, NULL, NULL),
    ALL_ONE(7, UINT32, NULL, NULL),
    ALL_ONE(8, FIXED32, NULL, NULL),
    ALL_ONE(9, UINT64, NULL, NULL),
    ALL_ONE(10, FIXED64, NULL, NULL),
    ALL_ONE(11, FLOAT, NULL, NULL),
    ALL_ONE(12, DOUBLE, NULL, NULL),
    ALL_ONE(13, BOOL, NULL, NULL),
    ALL_ONE(14, ENUM, NULL, NULL),
    ALL_ONE(15, STRING, NULL, &protobuf_c_empty_string),
    ALL_ONE(16, BYTES, NULL, NULL),
    ALL_ONE(17, MESSAGE, &all_types_descriptor, NULL),
    ALL_LIST(21, INT32, NULL),
    ALL_LIST(22, SINT32, NULL),
    ALL_LIST(23, SFIXED32, NULL),
    ALL_LIST(24, INT64, NULL),
    ALL_LIST(25, SINT64, NULL),
    ALL_LIST(26, SFIXED64, NULL),
    ALL_LIST(27, UINT32, NULL),
    ALL_LIST(28, FIXED32, NULL),
    ALL_LIST(29, UINT64, NULL),
    ALL_LIST(30, FIXED64, NULL),
    ALL_LIST(31, FLOAT, NULL),
    ALL_LIST(32, DOUBLE, NULL),
    ALL_LIST(33, BOOL, NULL),
    ALL_LIST(34, ENUM, NULL),
    ALL_LIST(35, STRING, NULL),
    ALL_LIST(36, BYTES, NULL),
    ALL_LIST(37, MESSAGE, &all_types_descriptor),
    ALL_PICK(41, INT64, NULL),
    ALL_PICK(42, BYTES, NULL),
    ALL_PICK(43, STRING, NULL),
    ALL_PICK(44, MESSAGE, &all_types_descriptor),
    ALL_PICK(45, BOOL, NULL),
    ALL_PICK(46, FIXED64, NULL),
};

#define ALL_TYPES_INIT                                                          \
    ((struct all_types){.base = PROTOBUF_C_MESSAGE_INIT(&all_types_descriptor), \
                        .f15 = (char *)protobuf_c_empty_string})

static void all_types_init(ProtobufCMessage *msg)
{
    *(struct all_types *)msg = ALL_TYPES_INIT;
}

static const ProtobufCMessageDescriptor all_types_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "All",
    .sizeof_message = sizeof(struct all_types),
    .n_fields = sizeof all_types_fields / sizeof all_types_fields[0],
    .fields = all_types_fields,
    .message_init = all_types_init,
};

#endif
