/* output.c - the simple form, and which form an answer takes; see output.h. */
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"

bool output_is_table(const struct output *o)
{
    return o->form == OUTPUT_TABLE;
}

const char *output_event_type(const Mvccpb__Event *event)
{
    return event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT";
}

const char *output_alarm_type(Etcdserverpb__AlarmType type)
{
    switch (type) {
    case ETCDSERVERPB__ALARM_TYPE__NOSPACE:
        return "NOSPACE";
    case ETCDSERVERPB__ALARM_TYPE__CORRUPT:
        return "CORRUPT";
    default:
        return "UNKNOWN";
    }
}

/* ---- keys and values
 * ----------------------------------------------------------------------------- */

static void output_line(const struct output *o, ProtobufCBinaryData data, struct buf *out)
{
    for (size_t i = 0; o->hex && i < data.len; i++) {
        buf_printf(out, "\\x%02x", data.data[i]);
    }
    if (!o->hex) {
        buf_append(out, data.data, data.len);
    }
    buf_append_byte(out, '\n');
}

static void output_key_value(const struct output *o, const Mvccpb__KeyValue *kv, struct buf *out)
{
    if (!o->value_only) {
        output_line(o, kv->key, out);
    }
    output_line(o, kv->value, out);
}

void output_put(const struct output *o, const Etcdserverpb__PutResponse *r, struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_put(out, r);
        return;
    }
    buf_append_str(out, "OK\n");
    if (r->prev_kv != NULL) {
        output_key_value(o, r->prev_kv, out);
    }
}

void output_range(const struct output *o, const Etcdserverpb__RangeResponse *r, bool count_only,
                  struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_range(out, r);
        return;
    }
    for (size_t i = 0; i < r->n_kvs; i++) {
        output_key_value(o, r->kvs[i], out);
    }
    if (count_only) {
        buf_printf(out, "%" PRId64 "\n", r->count);
    }
}

void output_delete(const struct output *o, const Etcdserverpb__DeleteRangeResponse *r,
                   struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_delete(out, r);
        return;
    }
    buf_printf(out, "%" PRId64 "\n", r->deleted);
    for (size_t i = 0; i < r->n_prev_kvs; i++) {
        output_key_value(o, r->prev_kvs[i], out);
    }
}

void output_txn(const struct output *o, const Etcdserverpb__TxnResponse *r, struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_txn(out, r);
        return;
    }
    buf_append_str(out, r->succeeded ? "SUCCESS\n" : "FAILURE\n");
    for (size_t i = 0; i < r->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = r->responses[i];
        buf_append_byte(out, '\n');
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            output_range(o, op->response_range, false, out);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            output_put(o, op->response_put, out);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            output_delete(o, op->response_delete_range, out);
            break;
        default:
            break;
        }
    }
}

void output_watch(const struct output *o, const Etcdserverpb__WatchResponse *r, struct buf *out)
{
    if (!r->canceled && !r->created && r->n_events == 0) {
        buf_printf(out, "progress notify: %" PRId64 "\n",
                   r->header != NULL ? r->header->revision : 0);
    }
    if (o->form == OUTPUT_JSON) {
        output_json_watch(out, r);
        return;
    }
    for (size_t i = 0; i < r->n_events; i++) {
        const Mvccpb__Event *event = r->events[i];
        buf_printf(out, "%s\n", output_event_type(event));
        if (event->prev_kv != NULL) {
            output_key_value(o, event->prev_kv, out);
        }
        if (event->kv != NULL) {
            output_key_value(o, event->kv, out);
        }
    }
}

void output_compaction(const struct output *o, int64_t revision,
                       const Etcdserverpb__CompactionResponse *r, struct buf *out)
{
    /* etcdctl prints this sentence in every form. */
    (void)o;
    (void)r;
    buf_printf(out, "compacted revision %" PRId64 "\n", revision);
}

/* ---- leases
 * -------------------------------------------------------------------------------------- */

void output_lease_grant(const struct output *o, const Etcdserverpb__LeaseGrantResponse *r,
                        struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_lease_grant(out, r);
        return;
    }
    buf_printf(out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n", (uint64_t)r->id,
               r->ttl);
}

void output_lease_revoke(const struct output *o, int64_t id,
                         const Etcdserverpb__LeaseRevokeResponse *r, struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_header_only(out, r->header);
        return;
    }
    buf_printf(out, "lease %016" PRIx64 " revoked\n", (uint64_t)id);
}

void output_lease_keep_alive(const struct output *o, const Etcdserverpb__LeaseKeepAliveResponse *r,
                             struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_lease_keep_alive(out, r);
        return;
    }
    buf_printf(out, "lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n", (uint64_t)r->id,
               r->ttl);
}

void output_lease_time_to_live(const struct output *o,
                               const Etcdserverpb__LeaseTimeToLiveResponse *r, bool keys,
                               struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_lease_time_to_live(out, r);
        return;
    }
    if (r->grantedttl == 0 && r->ttl == -1) {
        buf_printf(out, "lease %016" PRIx64 " already expired\n", (uint64_t)r->id);
        return;
    }
    buf_printf(out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)",
               (uint64_t)r->id, r->grantedttl, r->ttl);
    if (keys) {
        buf_append_str(out, ", attached keys([");
        for (size_t i = 0; i < r->n_keys; i++) {
            buf_append_str(out, i > 0 ? " " : "");
            buf_append(out, r->keys[i].data, r->keys[i].len);
        }
        buf_append_str(out, "])");
    }
    buf_append_byte(out, '\n');
}

void output_lease_list(const struct output *o, const Etcdserverpb__LeaseLeasesResponse *r,
                       struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_lease_list(out, r);
        return;
    }
    buf_printf(out, "found %zu leases\n", r->n_leases);
    for (size_t i = 0; i < r->n_leases; i++) {
        buf_printf(out, "%016" PRIx64 "\n", (uint64_t)r->leases[i]->id);
    }
}

/* ---- lists
 * --------------------------------------------------------------------------------------- */

static void output_list(const struct output *o, struct output_table *t, struct buf *out)
{
    if (o->form == OUTPUT_TABLE) {
        output_table_framed(t, out);
    } else {
        output_table_simple(t, out);
    }
    if (t->cells.failed) {
        out->failed = true;
    }
    output_table_close(t);
}

/* Texts with something between them, as one cell. */
static void output_joined(struct output_table *t, char **texts, size_t count, const char *between)
{
    for (size_t i = 0; i < count; i++) {
        buf_append_str(&t->cells, i > 0 ? between : "");
        go_visible(&t->cells, slice_str(texts[i]));
    }
    output_table_cell(t, "%s", "");
}

void output_members(const struct output *o, const Etcdserverpb__MemberListResponse *r,
                    struct buf *out)
{
    static const char *const titles[] = {"ID",         "Status",       "Name",
                                         "Peer Addrs", "Client Addrs", "Is Learner"};
    struct output_table t;
    if (o->form == OUTPUT_JSON) {
        output_json_members(out, r, o->hex);
        return;
    }
    output_table_init(&t, titles, sizeof(titles) / sizeof(titles[0]));
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        const char *name = m->name != NULL ? m->name : "";
        output_table_cell(&t, "%" PRIx64, m->id);
        output_table_cell(&t, "%s", *name != '\0' ? "started" : "unstarted");
        output_table_cell(&t, "%s", name);
        output_joined(&t, m->peerurls, m->n_peerurls, ",");
        output_joined(&t, m->clienturls, m->n_clienturls, ",");
        output_table_cell(&t, "%s", m->islearner ? "true" : "false");
    }
    output_list(o, &t, out);
}

void output_alarms(const struct output *o, const Etcdserverpb__AlarmResponse *r, struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_alarms(out, r);
        return;
    }
    for (size_t i = 0; i < r->n_alarms; i++) {
        /* The blank at the end is etcdctl's. */
        buf_printf(out, "memberID:%" PRIu64 " alarm:%s \n", r->alarms[i]->memberid,
                   output_alarm_type(r->alarms[i]->alarm));
    }
}

void output_size(int64_t bytes, char *out, size_t room)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;
    double value = bytes < 0 ? 0 : (double)bytes;
    if (value < 10) {
        snprintf(out, room, "%.0f B", value);
        return;
    }
    while (value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    value = (double)(int64_t)(value * 10 + 0.5) / 10;
    snprintf(out, room, value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void output_statuses(const struct output *o, const struct output_status *list, size_t count,
                     struct buf *out)
{
    static const char *const titles[] = {"endpoint",
                                         "ID",
                                         "version",
                                         "storage version",
                                         "db size",
                                         "in use",
                                         "percentage not in use",
                                         "quota",
                                         "is leader",
                                         "is learner",
                                         "raft term",
                                         "raft index",
                                         "raft applied index",
                                         "errors",
                                         "downgrade target version",
                                         "downgrade enabled"};
    struct output_table t;
    if (o->form == OUTPUT_JSON) {
        output_json_statuses(out, list, count);
        return;
    }
    output_table_init(&t, titles, sizeof(titles) / sizeof(titles[0]));
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__StatusResponse *r = list[i].response;
        uint64_t id = r->header != NULL ? r->header->member_id : 0;
        char size[32];
        output_table_cell(&t, "%s", list[i].endpoint);
        output_table_cell(&t, "%" PRIx64, id);
        output_table_cell(&t, "%s", r->version != NULL ? r->version : "");
        output_table_cell(&t, "%s", r->storageversion != NULL ? r->storageversion : "");
        output_size(r->dbsize, size, sizeof(size));
        output_table_cell(&t, "%s", size);
        output_size(r->dbsizeinuse, size, sizeof(size));
        output_table_cell(&t, "%s", size);
        int used = r->dbsize > 0 ? (int)(100.0 * (double)r->dbsizeinuse / (double)r->dbsize) : 100;
        output_table_cell(&t, "%d%%", 100 - used);
        output_size(r->dbsizequota, size, sizeof(size));
        output_table_cell(&t, "%s", size);
        output_table_cell(&t, "%s", r->leader == id ? "true" : "false");
        output_table_cell(&t, "%s", r->islearner ? "true" : "false");
        output_table_cell(&t, "%" PRIu64, r->raftterm);
        output_table_cell(&t, "%" PRIu64, r->raftindex);
        output_table_cell(&t, "%" PRIu64, r->raftappliedindex);
        output_joined(&t, r->errors, r->n_errors, ", ");
        output_table_cell(&t, "%s",
                          r->downgradeinfo != NULL && r->downgradeinfo->targetversion != NULL
                              ? r->downgradeinfo->targetversion
                              : "");
        output_table_cell(&t, "%s",
                          r->downgradeinfo != NULL && r->downgradeinfo->enabled ? "true" : "false");
    }
    output_list(o, &t, out);
}

void output_healths(const struct output *o, const struct output_health *list, size_t count,
                    struct buf *out, struct buf *errors)
{
    static const char *const titles[] = {"endpoint", "health", "took", "error"};
    struct output_table t;
    switch (o->form) {
    case OUTPUT_JSON:
        output_json_healths(out, list, count);
        return;
    case OUTPUT_SIMPLE:
        for (size_t i = 0; i < count; i++) {
            if (*list[i].error == '\0') {
                buf_printf(out, "%s is healthy: successfully committed proposal: took = %s\n",
                           list[i].endpoint, list[i].took);
            } else {
                buf_printf(errors, "%s is unhealthy: failed to commit proposal: %s\n",
                           list[i].endpoint, list[i].error);
            }
        }
        return;
    default:
        break;
    }
    output_table_init(&t, titles, sizeof(titles) / sizeof(titles[0]));
    for (size_t i = 0; i < count; i++) {
        output_table_cell(&t, "%s", list[i].endpoint);
        output_table_cell(&t, "%s", list[i].healthy ? "true" : "false");
        output_table_cell(&t, "%s", list[i].took);
        output_table_cell(&t, "%s", list[i].error);
    }
    output_list(o, &t, out);
}

void output_hashes(const struct output *o, const struct output_hash *list, size_t count,
                   struct buf *out)
{
    static const char *const titles[] = {"endpoint", "hash", "hash_revision"};
    struct output_table t;
    if (o->form == OUTPUT_JSON) {
        output_json_hashes(out, list, count);
        return;
    }
    output_table_init(&t, titles, sizeof(titles) / sizeof(titles[0]));
    for (size_t i = 0; i < count; i++) {
        output_table_cell(&t, "%s", list[i].endpoint);
        output_table_cell(&t, "%" PRIu32, list[i].response->hash);
        output_table_cell(&t, "%" PRId64, list[i].response->hash_revision);
    }
    output_list(o, &t, out);
}
