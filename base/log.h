/* log.h - one event, one JSON line on stderr (or the configured outputs).
 *
 * Form (etcd contract LG-01): {"level":"info","ts":"2006-01-02T15:04:05.000000Z",
 * "caller":"dir/file.c:123","msg":"...", fields...}. A message an operator acts on says what to do
 * next. Passwords and tokens are never fields. Any thread; a line is written with one write(2). */
#ifndef KVD_BASE_LOG_H
#define KVD_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_PANIC, LOG_FATAL };

struct log_field {
    const char *name; /* NULL ends the list */
    enum { LOG_STR, LOG_INT, LOG_UINT, LOG_BOOL, LOG_DURATION_MS, LOG_BYTES, LOG_HEX } type;
    union {
        const char *s;
        int64_t i;
        uint64_t u;
        double d;
        struct slice b;
    } v;
};

#define F_STR(n, x)   ((struct log_field){.name = (n), .type = LOG_STR, .v.s = (x)})
#define F_INT(n, x)   ((struct log_field){.name = (n), .type = LOG_INT, .v.i = (x)})
#define F_UINT(n, x)  ((struct log_field){.name = (n), .type = LOG_UINT, .v.u = (x)})
#define F_BOOL(n, x)  ((struct log_field){.name = (n), .type = LOG_BOOL, .v.i = (x)})
#define F_MS(n, x)    ((struct log_field){.name = (n), .type = LOG_DURATION_MS, .v.d = (x)})
#define F_BYTES(n, x) ((struct log_field){.name = (n), .type = LOG_BYTES, .v.b = (x)})
/* A member or cluster id: lowercase hex without padding, as a string. */
#define F_HEX(n, x) ((struct log_field){.name = (n), .type = LOG_HEX, .v.u = (x)})

/* Lines below this level cost one comparison. Default LOG_INFO. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "debug", "info", "warn", "error", "panic", "fatal"; false for other words. */
bool log_level_parse(const char *word, enum log_level *out);
/* Where lines go: file descriptors (not owned), default {2}. At most 8. */
void log_set_outputs(const int *fds, int count);
/* json (default) or console form. */
void log_set_json(bool json);
/* Virtual clock for tests: returns microseconds since the epoch; NULL = the system's. */
void log_set_clock(uint64_t (*now_us)(void));
/* The writer behind the macro. fields ends with a NULL name. */
void log_write(enum log_level level, const char *file, int line, const char *msg,
               const struct log_field *fields);

/* LOG(LOG_INFO, "ready to serve client requests", F_INT("revision", r)); */
#define LOG(level, msg, ...)                                                           \
    do {                                                                               \
        if (log_enabled(level)) {                                                      \
            log_write((level), __FILE__, __LINE__, (msg),                              \
                      (struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}}); \
        }                                                                              \
    } while (0)

#endif
