/* wire.c - encoding and bounded decoding of peer frames. */
#include "raft/wire.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "raft/configuration.h"

bool frame_put(struct buf *out, const struct frame *f)
{
    if (!buf_reserve(out, FRAME_HEADER_BYTES + f->body.len)) {
        return false;
    }
    uint8_t head[FRAME_HEADER_BYTES] = {FRAME_VERSION, (uint8_t)f->type};
    head[2] = (uint8_t)f->flags;
    head[3] = (uint8_t)(f->flags >> 8);
    bytes_put_le64(head + 8, f->term);
    bytes_put_le64(head + 16, f->a);
    bytes_put_le64(head + 24, f->b);
    bytes_put_le64(head + 32, f->c);
    bytes_put_le32(head + 40, f->n);
    return buf_append(out, head, sizeof(head)) && buf_append_slice(out, f->body);
}

bool frame_put_entry(struct buf *out, const struct raft_entry *e)
{
    if (e->buf.len > UINT32_MAX || !buf_reserve(out, frame_entry_size(e))) {
        return false;
    }
    uint8_t head[FRAME_ENTRY_BYTES] = {0};
    bytes_put_le64(head, e->term);
    bytes_put_le32(head + 8, (uint32_t)e->buf.len);
    head[12] = (uint8_t)e->type;
    return buf_append(out, head, sizeof(head)) && buf_append(out, e->buf.base, e->buf.len);
}

void frame_next_entry(const struct frame *f, size_t *at, struct frame_entry *out)
{
    const uint8_t *head = f->body.data + *at;
    uint32_t len = bytes_le32(head + 8);
    out->term = bytes_le64(head);
    out->type = head[12];
    out->payload = slice_of(head + FRAME_ENTRY_BYTES, len);
    *at += FRAME_ENTRY_BYTES + len;
}

static bool entries_valid(const struct frame *f)
{
    /* A lying count must not buy us a long loop: each entry has at least a header. */
    if (f->n > f->body.len / FRAME_ENTRY_BYTES) {
        return false;
    }
    uint64_t term = f->b;
    size_t at = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        size_t left = f->body.len - at;
        if (left < FRAME_ENTRY_BYTES ||
            bytes_le32(f->body.data + at + 8) > left - FRAME_ENTRY_BYTES) {
            return false;
        }
        struct frame_entry e;
        frame_next_entry(f, &at, &e);
        if (e.term < term || e.term == 0 || e.term > f->term) {
            return false;
        }
        term = e.term;
        if (e.type == RAFT_CHANGE) {
            struct raft_configuration c;
            if (configuration_decode(e.payload, &c) != 0) {
                return false;
            }
            raft_configuration_close(&c);
        } else if (e.type != RAFT_COMMAND && e.type != RAFT_BARRIER) {
            return false;
        }
    }
    return at == f->body.len;
}

static bool append_valid(const struct frame *f)
{
    return f->term != 0 && (f->a == 0) == (f->b == 0) && f->b <= f->term && entries_valid(f);
}

static bool install_valid(const struct frame *f)
{
    return f->term != 0 && f->a != 0 && f->b != 0 && f->b <= f->term && f->n == f->body.len &&
           f->n <= MEMBER_ADDRESS_BYTES_MAX &&
           (f->n == 0 || memchr(f->body.data, 0, f->body.len) == NULL);
}

bool frame_get(struct slice in, struct frame *out)
{
    if (in.len < FRAME_HEADER_BYTES || in.data[0] != FRAME_VERSION) {
        return false;
    }
    const uint8_t *p = in.data;
    *out = (struct frame){.type = p[1],
                          .flags = (uint16_t)(p[2] | p[3] << 8),
                          .term = bytes_le64(p + 8),
                          .a = bytes_le64(p + 16),
                          .b = bytes_le64(p + 24),
                          .c = bytes_le64(p + 32),
                          .n = bytes_le32(p + 40),
                          .body = slice_of(p + FRAME_HEADER_BYTES, in.len - FRAME_HEADER_BYTES)};
    if (out->term >= FRAME_NUMBER_MAX) {
        return false;
    }
    switch (out->type) {
    case FRAME_CONFIRM:
    case FRAME_CONFIRMED:
        return out->n == 0 && out->body.len == 0;
    case FRAME_APPEND:
        return out->a < FRAME_NUMBER_MAX && append_valid(out);
    case FRAME_INSTALL:
        return out->a < FRAME_NUMBER_MAX && install_valid(out);
    case FRAME_APPEND_RESULT:
        return out->a < FRAME_NUMBER_MAX && out->b < FRAME_NUMBER_MAX && out->n == 0 &&
               out->body.len == 0;
    case FRAME_VOTE:
        return out->term != 0 && out->c != 0 && out->b <= out->term && out->n == 0 &&
               out->body.len == 0;
    case FRAME_VOTE_RESULT:
    case FRAME_TIMEOUT_NOW:
        return out->term != 0 && out->n == 0 && out->body.len == 0;
    }
    return false;
}

const char *frame_name(enum frame_type type)
{
    static const char *const names[] = {"?",       "append",      "append-result",
                                        "vote",    "vote-result", "install",
                                        "timeout", "confirm",     "confirmed"};
    return type <= FRAME_CONFIRMED ? names[type] : names[0];
}
