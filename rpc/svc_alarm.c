/* svc_alarm.c - decodes the service's list of alarms. */
#include "rpc/svc_alarm.h"

const char *svc_alarm_name(int type)
{
    return type == SVC_ALARM_NOSPACE   ? "NOSPACE"
           : type == SVC_ALARM_CORRUPT ? "CORRUPT"
                                       : "UNKNOWN";
}

void svc_alarms_each(struct svc *s, void (*alarm)(void *data, uint64_t member, int type),
                     void *data)
{
    struct buf list;
    buf_init(&list);
    s->service->alarms(s->service, &list);
    struct slice rest = buf_slice(&list);
    struct wire_field f;
    while (!list.failed && wire_next(&rest, &f) > 0) {
        if (f.number != 2 || f.type != WIRE_BYTES) {
            continue;
        }
        uint64_t member = 0;
        int type = 0;
        struct slice inner = f.bytes;
        while (wire_next(&inner, &f) > 0) {
            if (f.number == 1) {
                member = f.value;
            } else if (f.number == 2) {
                type = (int)f.value;
            }
        }
        alarm(data, member, type);
    }
    buf_close(&list);
}
