/* alarm.h - the replicated set of alarms, keyed (type, member) (contract MT-02). */
#ifndef KVD_KV_ALARM_H
#define KVD_KV_ALARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum alarm_type { ALARM_NONE = 0, ALARM_NOSPACE = 1, ALARM_CORRUPT = 2 };

struct alarm {
    int32_t type;
    uint64_t member;
};

/* Sorted by type, then member. */
struct alarm_set {
    struct alarm *alarms;
    size_t len;
    size_t cap;
    size_t active[3]; /* by type */
};

void alarm_set_init(struct alarm_set *s);
void alarm_set_close(struct alarm_set *s);
bool alarm_set_has(const struct alarm_set *s, struct alarm a);
/* false = already there, or (*full) the set is at ALARMS_MAX. Aborts when out of memory: apply
 * only. */
bool alarm_set_add(struct alarm_set *s, struct alarm a, bool *full);
bool alarm_set_remove(struct alarm_set *s, struct alarm a);
/* Appends AlarmResponse's field 2 for one alarm, or for all of a type (ALARM_NONE = all). */
bool alarm_append(struct buf *out, struct alarm a);
bool alarm_set_append(const struct alarm_set *s, int32_t type, struct buf *out);

/* The alarm's row: key type BE32, member BE64; the value holds only the CRC. */
#define ALARM_KEY_BYTES 12u
void alarm_key(uint8_t out[ALARM_KEY_BYTES], struct alarm a);
int alarm_parse(struct slice key, struct slice value, struct alarm *out);

#endif
