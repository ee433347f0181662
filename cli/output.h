/* output.h - answers in the three forms of -w: simple (as etcdctl prints it), json (etcdctl's field
 * layout: bytes in base64, ids as numbers, header inside or flat as Go's client has it), table
 * (lists only).
 *
 * Each function appends to `out`; the caller writes it to standard output whole, so that a reader
 * never sees half an answer. Failure is the buffer's. */
#ifndef KVD_CLI_OUTPUT_H
#define KVD_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/slice.h"
#include "proto/etcd/rpc.pb-c.h"

enum output_form { OUTPUT_SIMPLE, OUTPUT_JSON, OUTPUT_TABLE };

struct output {
    enum output_form form;
    bool hex;        /* --hex: keys and values as \x61\x62; member ids in JSON as hex text */
    bool value_only; /* --print-value-only, simple form */
};

/* What one endpoint said, for the endpoint commands. error "" = it answered. */
struct output_status {
    const char *endpoint;
    const Etcdserverpb__StatusResponse *response;
};
struct output_health {
    const char *endpoint;
    bool healthy;
    char took[32]; /* Go duration */
    const char *error;
};
struct output_hash {
    const char *endpoint;
    const Etcdserverpb__HashKVResponse *response;
};

/* Does this form exist for lists only? Then a command without a list refuses it. */
bool output_is_table(const struct output *o);

void output_put(const struct output *o, const Etcdserverpb__PutResponse *r, struct buf *out);
/* count_only: print the count where etcdctl's simple form has nothing to say. */
void output_range(const struct output *o, const Etcdserverpb__RangeResponse *r, bool count_only,
                  struct buf *out);
void output_delete(const struct output *o, const Etcdserverpb__DeleteRangeResponse *r,
                   struct buf *out);
void output_txn(const struct output *o, const Etcdserverpb__TxnResponse *r, struct buf *out);
/* Events of one watch response; also progress notifications and the end of a watch. */
void output_watch(const struct output *o, const Etcdserverpb__WatchResponse *r, struct buf *out);
void output_compaction(const struct output *o, int64_t revision,
                       const Etcdserverpb__CompactionResponse *r, struct buf *out);

void output_lease_grant(const struct output *o, const Etcdserverpb__LeaseGrantResponse *r,
                        struct buf *out);
void output_lease_revoke(const struct output *o, int64_t id,
                         const Etcdserverpb__LeaseRevokeResponse *r, struct buf *out);
void output_lease_keep_alive(const struct output *o, const Etcdserverpb__LeaseKeepAliveResponse *r,
                             struct buf *out);
void output_lease_time_to_live(const struct output *o,
                               const Etcdserverpb__LeaseTimeToLiveResponse *r, bool keys,
                               struct buf *out);
void output_lease_list(const struct output *o, const Etcdserverpb__LeaseLeasesResponse *r,
                       struct buf *out);

void output_members(const struct output *o, const Etcdserverpb__MemberListResponse *r,
                    struct buf *out);
void output_alarms(const struct output *o, const Etcdserverpb__AlarmResponse *r, struct buf *out);
void output_statuses(const struct output *o, const struct output_status *list, size_t count,
                     struct buf *out);
/* Unhealthy ones go to `errors` in the simple form. */
void output_healths(const struct output *o, const struct output_health *list, size_t count,
                    struct buf *out, struct buf *errors);
void output_hashes(const struct output *o, const struct output_hash *list, size_t count,
                   struct buf *out);

/* "20 kB", "1.5 MB": powers of 1000, as etcdctl rounds them. */
void output_size(int64_t bytes, char *out, size_t room);

/* ---- shared by the output_*.c files
 * -------------------------------------------------------------- */

static inline struct slice output_bytes(ProtobufCBinaryData data)
{
    return slice_of(data.data, data.len);
}
/* Go's %q of an event type: "PUT", "DELETE". */
const char *output_event_type(const Mvccpb__Event *event);
const char *output_alarm_type(Etcdserverpb__AlarmType type);

/* Texts of one list, row after row: `columns` cells each. */
struct output_table {
    const char *const *titles;
    size_t columns;
    struct buf cells; /* NUL-terminated texts, back to back */
    size_t cell_count;
};
void output_table_init(struct output_table *t, const char *const *titles, size_t columns);
void output_table_close(struct output_table *t);
/* Ends a cell with this text; text put into `cells` before belongs to it. At most 1,023 bytes. */
void output_table_cell(struct output_table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Lines with ", " between cells, columns under titles, or a framed table, right-aligned. */
void output_table_simple(const struct output_table *t, struct buf *out);
void output_table_columns(const struct output_table *t, struct buf *out);
void output_table_framed(const struct output_table *t, struct buf *out);

/* JSON pieces. */
void output_json_header(struct json *j, const Etcdserverpb__ResponseHeader *h);
void output_json_put(struct buf *out, const Etcdserverpb__PutResponse *r);
void output_json_range(struct buf *out, const Etcdserverpb__RangeResponse *r);
void output_json_delete(struct buf *out, const Etcdserverpb__DeleteRangeResponse *r);
void output_json_txn(struct buf *out, const Etcdserverpb__TxnResponse *r);
void output_json_watch(struct buf *out, const Etcdserverpb__WatchResponse *r);
void output_json_members(struct buf *out, const Etcdserverpb__MemberListResponse *r, bool hex);
void output_json_alarms(struct buf *out, const Etcdserverpb__AlarmResponse *r);
void output_json_statuses(struct buf *out, const struct output_status *list, size_t count);
void output_json_healths(struct buf *out, const struct output_health *list, size_t count);
void output_json_hashes(struct buf *out, const struct output_hash *list, size_t count);
void output_json_lease_grant(struct buf *out, const Etcdserverpb__LeaseGrantResponse *r);
void output_json_lease_keep_alive(struct buf *out, const Etcdserverpb__LeaseKeepAliveResponse *r);
void output_json_lease_time_to_live(struct buf *out,
                                    const Etcdserverpb__LeaseTimeToLiveResponse *r);
void output_json_lease_list(struct buf *out, const Etcdserverpb__LeaseLeasesResponse *r);
void output_json_header_only(struct buf *out, const Etcdserverpb__ResponseHeader *h);

#endif
