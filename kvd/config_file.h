/* config_file.h - settings from a YAML or JSON file (contract F-03).
 *
 * Keys are flag names. Besides scalars: the sections client-transport-security and
 * peer-transport-security (their keys stand for --X and --peer-X), discovery-config (skipped,
 * discovery is not there yet), lists for log-outputs and cipher-suites. Durations are whole
 * nanoseconds, as in etcd, or Go's syntax. A key without value keeps the default; an unknown key is
 * a warning. */
#ifndef KVD_KVD_CONFIG_FILE_H
#define KVD_KVD_CONFIG_FILE_H

#include "base/alloc.h"
#include "base/err.h"
#include "kvd/flags.h"

/* Reads `path` into f (source FLAG_FROM_FILE); texts are copied into the arena. `warn` is called
 * with a sentence for each thing that was skipped. ERR_INVALID, ERR_IO, ERR_NOMEM with a sentence
 * that names the file and, where it can, the line. */
int config_file_load(struct flag_values *f, struct arena *arena, const char *path,
                     void (*warn)(void *data, const char *text), void *data, struct errmsg *e);
/* The same for contents in memory; `name` stands for the file in sentences. */
int config_file_parse(struct flag_values *f, struct arena *arena, const char *name,
                      struct slice contents, void (*warn)(void *data, const char *text), void *data,
                      struct errmsg *e);

#endif
