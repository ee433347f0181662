/* svc_kv_check.c - one pass over the fields of Put, DeleteRange and Range. */
#include "rpc/svc_kv_check.h"

#include "base/err.h"
#include "proto/codec.h"

/* Field numbers of RangeRequest (contract section 1.2). */
enum {
    RANGE_KEY = 1,
    RANGE_END = 2,
    RANGE_SORT_ORDER = 5,
    RANGE_SORT_TARGET = 6,
    RANGE_SERIALIZABLE = 7,
    RANGE_MIN_MOD = 10,
    RANGE_MAX_CREATE = 13
};
enum { ORDER_NONE = 0, ORDER_ASCEND = 1, ORDER_DESCEND = 2 };
enum { TARGET_KEY = 0, TARGET_VALUE = 4 };

int svc_check_put(struct slice request)
{
    size_t key_len = 0;
    size_t value_len = 0;
    uint64_t numbers[4] = {0}; /* lease, prev_kv, ignore_value, ignore_lease */
    struct wire_field f;
    int more;
    while ((more = wire_next(&request, &f)) > 0) {
        if (f.number == 0 || f.number > 6) {
            continue;
        }
        if (f.type != (f.number <= 2 ? WIRE_BYTES : WIRE_VARINT)) {
            return ERR_MALFORMED;
        }
        if (f.number == 1) {
            key_len = f.bytes.len;
        } else if (f.number == 2) {
            value_len = f.bytes.len;
        } else {
            numbers[f.number - 3] = f.value;
        }
    }
    if (more < 0) {
        return ERR_MALFORMED;
    }
    if (key_len == 0) {
        return ERR_EMPTY_KEY;
    }
    if (numbers[2] != 0 && value_len != 0) {
        return ERR_VALUE_PROVIDED;
    }
    if (numbers[3] != 0 && numbers[0] != 0) {
        return ERR_LEASE_PROVIDED;
    }
    return 0;
}

int svc_check_delete_range(struct slice request)
{
    size_t key_len = 0;
    struct wire_field f;
    int more;
    while ((more = wire_next(&request, &f)) > 0) {
        if (f.number == 0 || f.number > 3) {
            continue;
        }
        if (f.type != (f.number <= 2 ? WIRE_BYTES : WIRE_VARINT)) {
            return ERR_MALFORMED;
        }
        if (f.number == 1) {
            key_len = f.bytes.len;
        }
    }
    if (more < 0) {
        return ERR_MALFORMED;
    }
    return key_len == 0 ? ERR_EMPTY_KEY : 0;
}

int svc_check_range(struct slice request, struct svc_range_facts *facts)
{
    size_t key_len = 0;
    int32_t order = 0;
    int32_t target = 0;
    uint64_t filters[4] = {0};
    facts->serializable = false;
    struct wire_field f;
    int more;
    while ((more = wire_next(&request, &f)) > 0) {
        if (f.number == 0 || f.number > RANGE_MAX_CREATE) {
            continue;
        }
        if (f.type != (f.number <= RANGE_END ? WIRE_BYTES : WIRE_VARINT)) {
            return ERR_MALFORMED;
        }
        if (f.number == RANGE_KEY) {
            key_len = f.bytes.len;
        } else if (f.number == RANGE_SORT_ORDER) {
            order = (int32_t)f.value;
        } else if (f.number == RANGE_SORT_TARGET) {
            target = (int32_t)f.value;
        } else if (f.number == RANGE_SERIALIZABLE) {
            facts->serializable = f.value != 0;
        } else if (f.number >= RANGE_MIN_MOD) {
            filters[f.number - RANGE_MIN_MOD] = f.value;
        }
    }
    if (more < 0) {
        return ERR_MALFORMED;
    }
    if (key_len == 0) {
        return ERR_EMPTY_KEY;
    }
    if (order < ORDER_NONE || order > ORDER_DESCEND || target < TARGET_KEY ||
        target > TARGET_VALUE) {
        return ERR_INVALID_SORT;
    }
    facts->default_order = order == ORDER_NONE || (order == ORDER_ASCEND && target == TARGET_KEY);
    facts->filtered = (filters[0] | filters[1] | filters[2] | filters[3]) != 0;
    return 0;
}
