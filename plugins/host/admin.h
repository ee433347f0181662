/* admin.h - facts about plugins for operators (rpc/plugin_admin.h). Private to plugins/host; home.
 */
#ifndef KVD_PLUGINS_HOST_ADMIN_H
#define KVD_PLUGINS_HOST_ADMIN_H

#include "rpc/plugin_admin.h"

struct plugin;
struct plugin_host;

/* Fills the table of h. */
void admin_init(struct plugin_host *h);
/* All but options; texts are p's. */
void admin_info(struct plugin *p, struct plugin_info *out);

#endif
