/* plugin_scribe.h - a plugin of the simulator's own: writes its leadership down, again and again.
 *
 * hello and ttl-janitor compare before they write, so that even an unfenced late write of theirs
 * does no harm. This one just puts "term epoch member count" to /scribe/000 every few milliseconds
 * while it leads: the history then shows who wrote when. After each put it reads the key back: a
 * linearizable read must not be older than what was acknowledged. */
#ifndef KVD_TESTS_SIM_PLUGIN_SCRIBE_H
#define KVD_TESTS_SIM_PLUGIN_SCRIBE_H

#include <stdbool.h>

#include "include/kvplugin.h"

extern bool scribe_quiet; /* writes nothing more */
/* Given by the simulator: what the plugin found wrong. */
void scribe_complain(const char *why);

const struct kvp_plugin *scribe_entry(void);

#endif
