/* alarm.c - a small sorted array. */
#include "kv/alarm.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "kv/record.h"
#include "proto/codec.h"

void alarm_set_init(struct alarm_set *s)
{
    memset(s, 0, sizeof(*s));
}

void alarm_set_close(struct alarm_set *s)
{
    mem_free(s->alarms);
    alarm_set_init(s);
}

static bool alarm_less(struct alarm a, struct alarm b)
{
    return a.type != b.type ? a.type < b.type : a.member < b.member;
}

/* Where the alarm is or belongs. */
static size_t alarm_set_place(const struct alarm_set *s, struct alarm a)
{
    size_t low = 0;
    size_t high = s->len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (alarm_less(s->alarms[middle], a)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool alarm_set_has(const struct alarm_set *s, struct alarm a)
{
    size_t at = alarm_set_place(s, a);
    return at < s->len && s->alarms[at].type == a.type && s->alarms[at].member == a.member;
}

bool alarm_set_add(struct alarm_set *s, struct alarm a, bool *full)
{
    *full = false;
    if (alarm_set_has(s, a)) {
        return false;
    }
    if (s->len == ALARMS_MAX) {
        *full = true;
        return false;
    }
    if (s->len == s->cap) {
        s->cap = s->cap == 0 ? 8 : s->cap * 2;
        s->alarms = mem_xrealloc(s->alarms, s->cap * sizeof(s->alarms[0]));
    }
    size_t at = alarm_set_place(s, a);
    memmove(&s->alarms[at + 1], &s->alarms[at], (s->len - at) * sizeof(s->alarms[0]));
    s->alarms[at] = a;
    s->len++;
    if (a.type >= 0 && a.type < 3) {
        s->active[a.type]++;
    }
    return true;
}

bool alarm_set_remove(struct alarm_set *s, struct alarm a)
{
    if (!alarm_set_has(s, a)) {
        return false;
    }
    size_t at = alarm_set_place(s, a);
    s->len--;
    memmove(&s->alarms[at], &s->alarms[at + 1], (s->len - at) * sizeof(s->alarms[0]));
    if (a.type >= 0 && a.type < 3) {
        s->active[a.type]--;
    }
    return true;
}

bool alarm_append(struct buf *out, struct alarm a)
{
    uint64_t type = (uint64_t)(int64_t)a.type;
    return wire_put_header(out, 2, wire_uint_size(1, a.member) + wire_uint_size(2, type)) &&
           wire_put_uint(out, 1, a.member) && wire_put_uint(out, 2, type);
}

bool alarm_set_append(const struct alarm_set *s, int32_t type, struct buf *out)
{
    bool ok = true;
    for (size_t i = 0; i < s->len; i++) {
        if (type == ALARM_NONE || s->alarms[i].type == type) {
            ok = ok && alarm_append(out, s->alarms[i]);
        }
    }
    return ok;
}

void alarm_key(uint8_t out[ALARM_KEY_BYTES], struct alarm a)
{
    bytes_put_be32(out, (uint32_t)a.type);
    bytes_put_be64(out + 4, a.member);
}

int alarm_parse(struct slice key, struct slice value, struct alarm *out)
{
    if (key.len != ALARM_KEY_BYTES || row_unseal(key, &value) != 0) {
        return ERR_DAMAGED;
    }
    out->type = (int32_t)bytes_be32(key.data);
    out->member = bytes_be64(key.data + 4);
    return 0;
}
