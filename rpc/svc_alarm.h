/* svc_alarm.h - walking the active alarms, for Status and the health pages. Private to rpc/. */
#ifndef KVD_RPC_SVC_ALARM_H
#define KVD_RPC_SVC_ALARM_H

#include "rpc/svc_common.h"

enum { SVC_ALARM_NONE = 0, SVC_ALARM_NOSPACE = 1, SVC_ALARM_CORRUPT = 2 };

/* "NOSPACE", "CORRUPT", else "UNKNOWN". */
const char *svc_alarm_name(int type);
/* Calls back for each active alarm, in the store's order. Out of memory shows none. */
void svc_alarms_each(struct svc *s, void (*alarm)(void *data, uint64_t member, int type),
                     void *data);

#endif
