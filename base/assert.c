/* assert.c - what the two always-on grades of complaint do. */
#include "base/assert.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"

static struct metric assert_warnings = {
    .name = "kvd_warnings_total",
    .help = "Bugs noticed and survived; each has a log line at level warn.",
    .type = METRIC_COUNTER,
};

/* Registered before main, because a warning may come before anyone registers metrics. */
__attribute__((constructor)) static void assert_register(void)
{
    metrics_register(&assert_warnings);
}

_Noreturn void assert_fatal(const char *file, int line, const char *condition, const char *why)
{
    const struct log_field fields[] = {F_STR("condition", condition), {.name = NULL}};
    log_write(LOG_FATAL, file, line, why, fields);
    abort();
}

bool assert_warn(const char *file, int line, const char *condition, const char *why)
{
    const struct log_field fields[] = {F_STR("condition", condition), {.name = NULL}};
    metric_add(&assert_warnings, 1);
    if (log_enabled(LOG_WARN)) {
        log_write(LOG_WARN, file, line, why, fields);
    }
    return true;
}
