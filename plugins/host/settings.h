/* settings.h - option texts: "name=value,name=value", as behind the file in --plugin.
 *
 * A plugin has two of them: what the flag said, and what reloads have set since. Whoever returns a
 * text gives a mem_* block to the caller; NULL is out of memory unless it is said otherwise. */
#ifndef KVD_PLUGINS_HOST_SETTINGS_H
#define KVD_PLUGINS_HOST_SETTINGS_H

#include "base/err.h"
#include "base/slice.h"
#include "rpc/plugin_admin.h"

/* The value of a name; data is NULL when the text does not have it. It lies in text. */
struct slice settings_find(const char *text, const char *name);
/* All of `over`, behind those of `text` that are not in it. */
char *settings_merge(const char *text, const char *over);
/* The text of these settings. NULL with e set: ERR_INVALID (a name or value that has a comma, a
 * name that has '=', one given twice) or ERR_NOMEM in *err. */
char *settings_text(const struct plugin_setting *settings, size_t count, int *err,
                    struct errmsg *e);

#endif
