/* change.h - what an operator does to one plugin: reload, enable, disable. Private to plugins/host.
 *
 * All of it is home's. One change at a time per plugin (plugin.change); it completes its request
 * once, and goes on without it when that was canceled. */
#ifndef KVD_PLUGINS_HOST_CHANGE_H
#define KVD_PLUGINS_HOST_CHANGE_H

#include "rpc/plugin_admin.h"

struct plugin;
struct change;

/* Functions of plugin_admin. p NULL: there is no such plugin. */
void change_reload(struct plugin *p, struct plugin_admin_req *r,
                   const struct plugin_setting *settings, size_t count);
void change_enable(struct plugin *p, struct plugin_admin_req *r);
void change_disable(struct plugin *p, struct plugin_admin_req *r);
void change_cancel(struct plugin_admin_req *r);

/* Told by plugin.c, where p has a change: nothing is under way; its instance is gone. */
void change_settled(struct plugin *p);
void change_closed(struct plugin *p);
/* Told by hang.c: p has been in this callback for so long and does not come back. The request is
 * answered, so that nobody waits for ever; the change goes on when the callback returns. */
void change_impatient(struct plugin *p, const char *callback, uint64_t ms);
/* The host stops: the request is answered, no instance will come any more. */
void change_stop(struct plugin *p);
/* The host stops and p's instance is gone. */
void change_drop(struct plugin *p);

#endif
