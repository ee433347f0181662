/* recorder.h - Events about objects: what `kubectl describe` shows at the end.
 *
 * As client-go's recorder: the same event again raises count and lastTimestamp of the one that is
 * there; similar ones (same object, type and reason, other text) are combined into one "(combined
 * from similar events): ..." from the tenth on, until there is none for ten minutes; per recorder
 * and object 25 at once and one every five minutes after that. Events are written through the API
 * server into the object's namespace ("default" for cluster scope) and nobody waits for them: at
 * most RECORDER_PENDING_MAX are under way; further ones, and those the server refuses, are dropped
 * and logged at debug level. */
#ifndef KVD_CLIENT_RECORDER_H
#define KVD_CLIENT_RECORDER_H

#include "plugins/client/client.h"

struct recorder;
#define RECORDER_PENDING_MAX 256u

/* component: source.component and reportingComponent: "deployment-controller". Close it when the
 * context ends (in stop) or before; what is recorded after the end goes nowhere. NULL = out of
 * memory. */
struct recorder *recorder_open(struct client c, const char *component);
void recorder_close(struct recorder *r); /* NULL is fine */
/* A Normal or Warning event. reason: one CamelCase word. The message is cut at 1,024 bytes. */
void recorder_normal(struct recorder *r, const struct object *about, const char *reason,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));
void recorder_warning(struct recorder *r, const struct object *about, const char *reason,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
