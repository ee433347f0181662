/* output_plugin.h - what members say about their plugins, in the three forms of -w.
 *
 * As in output.h: text is appended to `out`, failure is the buffer's. Simple is for reading:
 * columns under titles, or named lines. JSON is one array with an object per endpoint, fields named
 * as in proto/kvd/plugin.proto, states as words, nothing left out. */
#ifndef KVD_CLI_OUTPUT_PLUGIN_H
#define KVD_CLI_OUTPUT_PLUGIN_H

#include "cli/output.h"
#include "proto/kvd/plugin.pb-c.h"

/* One endpoint's answer; the pointer of the command in question is set. */
struct output_plugin {
    const char *endpoint;
    const Kvdpb__PluginListResponse *list;
    const Kvdpb__PluginDescribeResponse *describe;
    const Kvdpb__PluginTopResponse *top;
    const Kvdpb__PluginTopResponse *top_before; /* or NULL: costs since each was loaded */
    const Kvdpb__PluginConfigResponse *config;
    const Kvdpb__PluginChangeResponse *change;
};

/* With more than one endpoint, the first column says which. */
void output_plugin_list(const struct output *o, const struct output_plugin *answers, size_t count,
                        struct buf *out);
/* Those that took most time first: since top_before where there is one. */
void output_plugin_top(const struct output *o, const struct output_plugin *answers, size_t count,
                       struct buf *out);
void output_plugin_config(const struct output *o, const struct output_plugin *answers, size_t count,
                          struct buf *out);
void output_plugin_describe(const struct output *o, const struct output_plugin *answers,
                            size_t count, struct buf *out);
/* done: "reloaded", "enabled", "disabled". */
void output_plugin_change(const struct output *o, const char *done,
                          const struct output_plugin *answers, size_t count, struct buf *out);

/* ---- shared by the output_plugin*.c files ------------------------------------------------------
 */

/* Words for the numbers of the protocol; "unknown" for those of a newer server. */
const char *output_plugin_state(int state);
const char *output_plugin_lane(int lane);
const char *output_plugin_type(int type);
const char *output_plugin_source(int source);
/* A time at a glance: "950ns", "12µs", "1.25ms", "3.1s", "5m12s", "2h5m", "4d3h". */
#define OUTPUT_TIME_BYTES_MAX 32
void output_plugin_time(uint64_t ns, char out[OUTPUT_TIME_BYTES_MAX]);

void output_json_plugin_list(struct buf *out, const struct output_plugin *answers, size_t count);
void output_json_plugin_top(struct buf *out, const struct output_plugin *answers, size_t count);
void output_json_plugin_config(struct buf *out, const struct output_plugin *answers, size_t count);
void output_json_plugin_describe(struct buf *out, const struct output_plugin *answers,
                                 size_t count);
void output_json_plugin_change(struct buf *out, const struct output_plugin *answers, size_t count);

#endif
