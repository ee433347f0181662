/* svc_plugin_answer.h - what the plugin host says as messages of proto/kvd/plugin.proto. Private to
 * rpc/.
 *
 * Structs and texts go into the arena; numbers are copied, texts borrowed where they are valid
 * UTF-8, so that the host's must live until the message is encoded. NULL: out of memory. */
#ifndef KVD_RPC_SVC_PLUGIN_ANSWER_H
#define KVD_RPC_SVC_PLUGIN_ANSWER_H

#include "base/alloc.h"
#include "proto/kvd/plugin.pb-c.h"
#include "rpc/plugin_admin.h"

/* A text that may come from a plugin: what is not UTF-8 is escaped. */
char *svc_plugin_text(struct arena *a, const char *text);
Kvdpb__PluginInfo *svc_plugin_info(struct arena *a, const struct plugin_info *p);
Kvdpb__PluginLoad *svc_plugin_load(struct arena *a, const struct plugin_info *p);
/* All of them; *count is set. Also NULL when there are none. Secrets stay here. */
Kvdpb__PluginOption **svc_plugin_options(struct arena *a, const struct plugin_info *p,
                                         size_t *count, bool *failed);

#endif
