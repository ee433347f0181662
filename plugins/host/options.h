/* options.h - a plugin's configuration struct from its option table and "name=value,..." text. */
#ifndef KVD_PLUGINS_HOST_OPTIONS_H
#define KVD_PLUGINS_HOST_OPTIONS_H

#include "base/err.h"
#include "include/kvplugin.h"

/* Is the table itself sound (names, types, offsets inside conf_size, defaults)? 0 or ERR_INVALID
 * with a sentence for its author. */
int options_check(const struct kvp_plugin *d, struct errmsg *e);
/* *out: one mem_* block with the struct and all strings, or NULL when conf_size is 0. text: what
 * stands behind the file in --plugin, "" = all defaults. 0, ERR_NOMEM, or ERR_INVALID with a
 * sentence that names the option (an unknown one with the nearest known). */
int options_parse(const struct kvp_plugin *d, const char *text, void **out, struct errmsg *e);
/* The first option without KVP_OPT_RELOADABLE whose value differs in two such structs, or NULL. */
const char *options_fixed_change(const struct kvp_plugin *d, const void *a, const void *b);

#endif
