/* config_resolve.h - the middle of config.c: checks across flags, and values in the units of
 * struct kvd_config. Private to config.c and its tests. */
#ifndef KVD_KVD_CONFIG_RESOLVE_H
#define KVD_KVD_CONFIG_RESOLVE_H

#include "base/err.h"
#include "kvd/config.h"
#include "kvd/flags.h"

/* etcd's rules (F-07), also about flags that are refused later. ERR_INVALID with etcd's sentence.
 */
int config_validate(const struct flag_values *f, struct errmsg *e);
/* Fills the log settings; on failure they stay as they were. */
int config_resolve_log(struct kvd_config *cfg, const struct flag_values *f, struct errmsg *e);
/* Fills everything else. Text is copied into cfg's arena. */
int config_resolve(struct kvd_config *cfg, const struct flag_values *f,
                   void (*warn)(void *data, const char *text), void *data, struct errmsg *e);
/* "1h", "3" (hours) or revisions: what automatic compaction keeps (contract C-07). */
int config_resolve_compaction(struct kvd_config *cfg, const struct flag_values *f,
                              struct errmsg *e);

/* The words of a comma-separated list, NULL-terminated, in cfg's arena; empty ones are nothing.
 * NULL = no memory. */
const char *const *config_words(struct kvd_config *cfg, const char *list);
/* config_tls.c: the TLS flags together; then, once the URLs are there, what they mean. */
int config_validate_tls(const struct flag_values *f, struct errmsg *e);
int config_resolve_tls(struct kvd_config *cfg, const struct flag_values *f,
                       void (*warn)(void *data, const char *text), void *data, struct errmsg *e);

#endif
