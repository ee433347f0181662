/* answer.c - what the service answers, in the words of the plugin ABI. */
#include "plugins/host/host_impl.h"

#include "proto/codec.h"

int32_t answer_reason(int err)
{
    switch (err) {
    case 0:
        return KVP_REASON_NONE;
    case ERR_NOMEM:
        return KVP_NO_MEMORY;
    case ERR_BUSY:
    case ERR_AGAIN:
    case ERR_TOO_MANY_REQUESTS:
        return KVP_BUSY;
    case ERR_NOT_FOUND:
    case ERR_KEY_NOT_FOUND:
    case ERR_LEASE_NOT_FOUND:
        return KVP_NOT_FOUND;
    case ERR_LEASE_EXIST:
        return KVP_EXISTS;
    case ERR_COMPACTED:
        return KVP_COMPACTED;
    case ERR_FUTURE_REV:
        return KVP_FUTURE;
    case ERR_FENCED:
        return KVP_FENCED;
    case ERR_NOT_LEADER:
        return KVP_NOT_LEADER;
    case ERR_REQUEST_TOO_LARGE:
    case ERR_TOO_MANY_OPS:
        return KVP_TOO_LARGE;
    case ERR_NO_SPACE:
        return KVP_NO_SPACE;
    case ERR_STOPPED:
        return KVP_STOPPED;
    case ERR_CANCELED:
    case ERR_ETCD_CANCELED:
        return KVP_CANCELED;
    case ERR_DEADLINE:
    case ERR_TIMEOUT:
    case ERR_TIMEOUT_LEADER_FAIL:
    case ERR_TIMEOUT_CONN_LOST:
    case ERR_TIMEOUT_WAIT_APPLIED_INDEX:
        return KVP_TIMEOUT;
    case ERR_NO_LEADER:
    case ERR_LEADER_CHANGED:
    case ERR_UNKNOWN_OUTCOME:
    case ERR_UNHEALTHY:
        return KVP_UNAVAILABLE;
    case ERR_PERMISSION_DENIED:
        return KVP_FORBIDDEN;
    case ERR_UNIMPLEMENTED:
        return KVP_UNSUPPORTED;
    case ERR_IO:
    case ERR_DAMAGED:
    case ERR_CORRUPT:
        return KVP_INTERNAL;
    default:
        return KVP_INVALID;
    }
}

void answer_result(struct kvp_result *out, int err, bool unknown, int64_t revision)
{
    *out = (struct kvp_result){.size = sizeof(*out),
                               .outcome = err == 0  ? KVP_OK
                                          : unknown ? KVP_UNKNOWN
                                                    : KVP_REFUSED,
                               .reason = answer_reason(err),
                               .revision = revision,
                               .text = err_text(err)};
}

static struct kvp_bytes answer_bytes(struct slice s)
{
    return (struct kvp_bytes){.data = s.data, .len = s.len};
}

bool answer_row(struct slice key_value, struct kvp_row *out)
{
    struct wire_field f;
    int more;
    memset(out, 0, sizeof(*out));
    while ((more = wire_next(&key_value, &f)) > 0) {
        switch (f.number) {
        case 1:
            out->key = answer_bytes(f.bytes);
            break;
        case 2:
            out->create_revision = (int64_t)f.value;
            break;
        case 3:
            out->mod_revision = (int64_t)f.value;
            break;
        case 4:
            out->version = (int64_t)f.value;
            break;
        case 5:
            out->value = answer_bytes(f.bytes);
            break;
        case 6:
            out->lease = (int64_t)f.value;
            break;
        default:
            break;
        }
    }
    return more == 0;
}

/* Room for one row more. */
static bool answer_rows_grow(struct answer_rows *a)
{
    if (a->count < a->cap) {
        return true;
    }
    size_t cap = a->cap == 0 ? 1 : a->cap * 4;
    struct kvp_row *rows = mem_realloc(a->rows, cap * sizeof(*rows));
    if (rows == NULL) {
        return false;
    }
    a->rows = rows;
    a->cap = cap;
    return true;
}

bool answer_rows_open(struct answer_rows *a, struct slice body)
{
    struct wire_field f;
    int more;
    bool ok = true;
    memset(a, 0, sizeof(*a));
    while (ok && (more = wire_next(&body, &f)) != 0) {
        if (more < 0) {
            ok = false;
        } else if (f.number == 2) {
            ok = answer_rows_grow(a) && answer_row(f.bytes, &a->rows[a->count]);
            a->count += ok;
        } else if (f.number == 3) {
            a->more = f.value != 0;
        } else if (f.number == 4) {
            a->total = (int64_t)f.value;
        }
    }
    if (!ok) {
        answer_rows_close(a);
    }
    return ok;
}

void answer_rows_close(struct answer_rows *a)
{
    mem_free(a->rows);
    memset(a, 0, sizeof(*a));
}
