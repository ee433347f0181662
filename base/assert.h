/* assert.h - three grades of complaint.
 *
 * FATAL_IF     always on: data is at stake, going on would make it worse. Logs and aborts.
 * WARN_IF      always on: a bug that can be survived. Logs and counts (kvd_warnings_total).
 * ASSERT       debug builds only (DEBUG=1 or any SAN=): documents what holds.
 *
 * The names differ from <assert.h> so that NDEBUG habits cannot switch off the first grade. */
#ifndef KVD_BASE_ASSERT_H
#define KVD_BASE_ASSERT_H

#include <stdbool.h>

/* Logs the failed condition with its place and aborts. Any thread. */
_Noreturn void assert_fatal(const char *file, int line, const char *condition, const char *why);
/* Logs and counts; returns true so it can stand in an if. Any thread. */
bool assert_warn(const char *file, int line, const char *condition, const char *why);

/* Stops the process when (condition) is true; why is one sentence for the operator. */
#define FATAL_IF(condition, why)                                 \
    do {                                                         \
        if (__builtin_expect((condition), 0)) {                  \
            assert_fatal(__FILE__, __LINE__, #condition, (why)); \
        }                                                        \
    } while (0)

/* True, after a log line, when (condition) is true. */
#define WARN_IF(condition, why) \
    (__builtin_expect((condition), 0) && assert_warn(__FILE__, __LINE__, #condition, (why)))

#ifdef KVD_DEBUG
#define ASSERT(condition) FATAL_IF(!(condition), "internal invariant broken")
#else
#define ASSERT(condition) ((void)sizeof(condition))
#endif

#endif
