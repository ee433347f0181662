/* batch.c - packing and walking the operations of one raft entry. */
#include "proto/batch.h"

#include "base/bytes.h"
#include "proto/codec.h"

#define BATCH_VARINT_BYTES_MAX 10u
/* Fields of InternalRaftRequest beside the request of a plugin. */
#define BATCH_FIELD_EPOCH  2000u
#define BATCH_FIELD_ORIGIN 2001u

bool batch_start(struct buf *b)
{
    static const uint8_t header[BATCH_HEADER_BYTES] = {BATCH_VERSION};
    return buf_append(b, header, sizeof(header));
}

bool batch_add(struct buf *b, struct batch_origin origin, struct slice request)
{
    uint8_t head[BATCH_OP_BYTES];
    if (request.len > UINT32_MAX || !buf_reserve(b, sizeof(head) + request.len)) {
        return false;
    }
    bytes_put_le32(head, (uint32_t)request.len);
    bytes_put_le64(head + 4, origin.number);
    bytes_put_le64(head + 12, origin.member);
    bytes_put_le64(head + 20, origin.incarnation);
    return buf_append(b, head, sizeof(head)) && buf_append_slice(b, request);
}

bool batch_add_field(struct buf *b, struct batch_origin origin, uint32_t field,
                     struct slice message)
{
    size_t len =
        wire_varint_size((uint64_t)field << 3) + wire_varint_size(message.len) + message.len;
    uint8_t head[BATCH_OP_BYTES];
    /* Varints want room for their longest form: with it nothing below can fail halfway. */
    if (len > UINT32_MAX || !buf_reserve(b, sizeof(head) + len + 2 * BATCH_VARINT_BYTES_MAX)) {
        return false;
    }
    bytes_put_le32(head, (uint32_t)len);
    bytes_put_le64(head + 4, origin.number);
    bytes_put_le64(head + 12, origin.member);
    bytes_put_le64(head + 20, origin.incarnation);
    return buf_append(b, head, sizeof(head)) && wire_put_header(b, field, message.len) &&
           buf_append_slice(b, message);
}

bool batch_add_stamped(struct buf *b, struct batch_origin origin, uint32_t field,
                       struct slice message, const struct batch_stamp *stamp)
{
    struct buf request;
    struct buf epoch;
    buf_init(&request);
    buf_init(&epoch);
    wire_put_bytes(&epoch, 1, stamp->plugin);
    wire_put_uint(&epoch, 2, stamp->member);
    wire_put_uint(&epoch, 3, stamp->term);
    wire_put_uint(&epoch, 4, stamp->epoch);
    wire_put_header(&request, field, message.len);
    buf_append_slice(&request, message);
    wire_put_bytes(&request, BATCH_FIELD_EPOCH, buf_slice(&epoch));
    wire_put_bytes(&request, BATCH_FIELD_ORIGIN, stamp->plugin);
    bool ok = !epoch.failed && !request.failed && batch_add(b, origin, buf_slice(&request));
    buf_close(&request);
    buf_close(&epoch);
    return ok;
}

int batch_next(struct slice payload, size_t *position, struct batch_op *op)
{
    if (*position == 0) {
        if (payload.len < BATCH_HEADER_BYTES || payload.data[0] != BATCH_VERSION) {
            return -1;
        }
        *position = BATCH_HEADER_BYTES;
    }
    size_t left = payload.len - *position;
    if (left == 0) {
        return 0;
    }
    if (left < BATCH_OP_BYTES) {
        return -1;
    }
    const uint8_t *head = payload.data + *position;
    uint32_t len = bytes_le32(head);
    if (len > left - BATCH_OP_BYTES) {
        return -1;
    }
    op->origin.number = bytes_le64(head + 4);
    op->origin.member = bytes_le64(head + 12);
    op->origin.incarnation = bytes_le64(head + 20);
    op->request = slice_of(head + BATCH_OP_BYTES, len);
    *position += BATCH_OP_BYTES + len;
    return 1;
}
