/* output_json.c - answers as etcdctl's JSON: Go's field names and order, empty fields left out
 * where Go leaves them out. One answer, one line. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/output.h"

static void json_int_field(struct json *j, const char *name, int64_t value)
{
    if (value != 0) {
        json_key(j, name);
        json_int(j, value);
    }
}

static void json_uint_field(struct json *j, const char *name, uint64_t value)
{
    if (value != 0) {
        json_key(j, name);
        json_uint(j, value);
    }
}

static void json_bool_field(struct json *j, const char *name, bool value)
{
    if (value) {
        json_key(j, name);
        json_bool(j, true);
    }
}

static void json_bytes_field(struct json *j, const char *name, ProtobufCBinaryData value)
{
    if (value.len > 0) {
        json_key(j, name);
        json_base64(j, output_bytes(value));
    }
}

static void json_text_field(struct json *j, const char *name, const char *value)
{
    if (value != NULL && *value != '\0') {
        json_key(j, name);
        json_cstr(j, value);
    }
}

static void json_texts_field(struct json *j, const char *name, char **values, size_t count)
{
    if (count == 0) {
        return;
    }
    json_key(j, name);
    json_array(j);
    for (size_t i = 0; i < count; i++) {
        json_cstr(j, values[i]);
    }
    json_array_end(j);
}

static void json_header_fields(struct json *j, const Etcdserverpb__ResponseHeader *h)
{
    if (h != NULL) {
        json_uint_field(j, "cluster_id", h->cluster_id);
        json_uint_field(j, "member_id", h->member_id);
        json_int_field(j, "revision", h->revision);
        json_uint_field(j, "raft_term", h->raft_term);
    }
}

void output_json_header(struct json *j, const Etcdserverpb__ResponseHeader *h)
{
    if (h != NULL) {
        json_key(j, "header");
        json_object(j);
        json_header_fields(j, h);
        json_object_end(j);
    }
}

static void json_key_value(struct json *j, const Mvccpb__KeyValue *kv)
{
    json_object(j);
    json_bytes_field(j, "key", kv->key);
    json_int_field(j, "create_revision", kv->create_revision);
    json_int_field(j, "mod_revision", kv->mod_revision);
    json_int_field(j, "version", kv->version);
    json_bytes_field(j, "value", kv->value);
    json_int_field(j, "lease", kv->lease);
    json_object_end(j);
}

static void json_key_values(struct json *j, const char *name, Mvccpb__KeyValue **kvs, size_t count)
{
    if (count == 0) {
        return;
    }
    json_key(j, name);
    json_array(j);
    for (size_t i = 0; i < count; i++) {
        json_key_value(j, kvs[i]);
    }
    json_array_end(j);
}

static void json_put(struct json *j, const Etcdserverpb__PutResponse *r)
{
    json_object(j);
    output_json_header(j, r->header);
    if (r->prev_kv != NULL) {
        json_key(j, "prev_kv");
        json_key_value(j, r->prev_kv);
    }
    json_object_end(j);
}

static void json_range(struct json *j, const Etcdserverpb__RangeResponse *r)
{
    json_object(j);
    output_json_header(j, r->header);
    json_key_values(j, "kvs", r->kvs, r->n_kvs);
    json_bool_field(j, "more", r->more);
    json_int_field(j, "count", r->count);
    json_object_end(j);
}

static void json_delete(struct json *j, const Etcdserverpb__DeleteRangeResponse *r)
{
    json_object(j);
    output_json_header(j, r->header);
    json_int_field(j, "deleted", r->deleted);
    json_key_values(j, "prev_kvs", r->prev_kvs, r->n_prev_kvs);
    json_object_end(j);
}

/* kvctl sends no transactions inside transactions, so there are no answers to any. */
static void json_response_op(struct json *j, const Etcdserverpb__ResponseOp *op)
{
    json_object(j);
    json_key(j, "Response");
    json_object(j);
    switch (op->response_case) {
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
        json_key(j, "response_range");
        json_range(j, op->response_range);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
        json_key(j, "response_put");
        json_put(j, op->response_put);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
        json_key(j, "response_delete_range");
        json_delete(j, op->response_delete_range);
        break;
    default:
        break;
    }
    json_object_end(j);
    json_object_end(j);
}

static void json_end(struct buf *out)
{
    buf_append_byte(out, '\n');
}

void output_json_put(struct buf *out, const Etcdserverpb__PutResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_put(&j, r);
    json_end(out);
}

void output_json_range(struct buf *out, const Etcdserverpb__RangeResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_range(&j, r);
    json_end(out);
}

void output_json_delete(struct buf *out, const Etcdserverpb__DeleteRangeResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_delete(&j, r);
    json_end(out);
}

void output_json_txn(struct buf *out, const Etcdserverpb__TxnResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    output_json_header(&j, r->header);
    json_bool_field(&j, "succeeded", r->succeeded);
    if (r->n_responses > 0) {
        json_key(&j, "responses");
        json_array(&j);
        for (size_t i = 0; i < r->n_responses; i++) {
            json_response_op(&j, r->responses[i]);
        }
        json_array_end(&j);
    }
    json_object_end(&j);
    json_end(out);
}

/* Go's own struct, without names for JSON: capital letters, nothing left out. */
void output_json_watch(struct buf *out, const Etcdserverpb__WatchResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    json_key(&j, "Header");
    json_object(&j);
    json_header_fields(&j, r->header);
    json_object_end(&j);
    json_key(&j, "Events");
    json_array(&j);
    for (size_t i = 0; i < r->n_events; i++) {
        const Mvccpb__Event *event = r->events[i];
        json_object(&j);
        json_int_field(&j, "type", event->type);
        if (event->kv != NULL) {
            json_key(&j, "kv");
            json_key_value(&j, event->kv);
        }
        if (event->prev_kv != NULL) {
            json_key(&j, "prev_kv");
            json_key_value(&j, event->prev_kv);
        }
        json_object_end(&j);
    }
    json_array_end(&j);
    json_key(&j, "CompactRevision");
    json_int(&j, r->compact_revision);
    json_key(&j, "Canceled");
    json_bool(&j, r->canceled);
    json_key(&j, "Created");
    json_bool(&j, r->created);
    json_object_end(&j);
    json_end(out);
}

void output_json_header_only(struct buf *out, const Etcdserverpb__ResponseHeader *h)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    output_json_header(&j, h);
    json_object_end(&j);
    json_end(out);
}

/* ---- leases: Go's client puts the header's fields beside the others
 * ---------------------------------- */

void output_json_lease_grant(struct buf *out, const Etcdserverpb__LeaseGrantResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    json_header_fields(&j, r->header);
    json_key(&j, "ID");
    json_int(&j, r->id);
    json_key(&j, "TTL");
    json_int(&j, r->ttl);
    json_key(&j, "Error");
    json_cstr(&j, r->error);
    json_object_end(&j);
    json_end(out);
}

void output_json_lease_keep_alive(struct buf *out, const Etcdserverpb__LeaseKeepAliveResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    json_header_fields(&j, r->header);
    json_key(&j, "ID");
    json_int(&j, r->id);
    json_key(&j, "TTL");
    json_int(&j, r->ttl);
    json_object_end(&j);
    json_end(out);
}

void output_json_lease_time_to_live(struct buf *out, const Etcdserverpb__LeaseTimeToLiveResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    json_header_fields(&j, r->header);
    json_key(&j, "id");
    json_int(&j, r->id);
    json_key(&j, "ttl");
    json_int(&j, r->ttl);
    json_key(&j, "granted-ttl");
    json_int(&j, r->grantedttl);
    json_key(&j, "keys");
    if (r->n_keys == 0) {
        json_null(&j);
    } else {
        json_array(&j);
        for (size_t i = 0; i < r->n_keys; i++) {
            json_base64(&j, output_bytes(r->keys[i]));
        }
        json_array_end(&j);
    }
    json_object_end(&j);
    json_end(out);
}

void output_json_lease_list(struct buf *out, const Etcdserverpb__LeaseLeasesResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    json_header_fields(&j, r->header);
    json_key(&j, "leases");
    json_array(&j);
    for (size_t i = 0; i < r->n_leases; i++) {
        json_object(&j);
        json_key(&j, "id");
        json_int(&j, r->leases[i]->id);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
    json_end(out);
}

/* ---- cluster and maintenance
 * ------------------------------------------------------------------------- */

static void json_hex_field(struct json *j, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIx64, value);
    json_key(j, name);
    json_cstr(j, text);
}

static void json_member(struct json *j, const Etcdserverpb__Member *m, bool hex)
{
    json_object(j);
    if (hex) {
        json_hex_field(j, "ID", m->id);
    } else {
        json_uint_field(j, "ID", m->id);
    }
    json_text_field(j, "name", m->name);
    json_texts_field(j, "peerURLs", m->peerurls, m->n_peerurls);
    json_texts_field(j, "clientURLs", m->clienturls, m->n_clienturls);
    json_bool_field(j, "isLearner", m->islearner);
    json_object_end(j);
}

void output_json_members(struct buf *out, const Etcdserverpb__MemberListResponse *r, bool hex)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    if (hex && r->header != NULL) {
        json_key(&j, "header");
        json_object(&j);
        json_hex_field(&j, "cluster_id", r->header->cluster_id);
        json_hex_field(&j, "member_id", r->header->member_id);
        json_int_field(&j, "revision", r->header->revision);
        json_uint_field(&j, "raft_term", r->header->raft_term);
        json_object_end(&j);
    } else {
        output_json_header(&j, r->header);
    }
    if (r->n_members > 0) {
        json_key(&j, "members");
        json_array(&j);
        for (size_t i = 0; i < r->n_members; i++) {
            json_member(&j, r->members[i], hex);
        }
        json_array_end(&j);
    }
    json_object_end(&j);
    json_end(out);
}

void output_json_alarms(struct buf *out, const Etcdserverpb__AlarmResponse *r)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    output_json_header(&j, r->header);
    if (r->n_alarms > 0) {
        json_key(&j, "alarms");
        json_array(&j);
        for (size_t i = 0; i < r->n_alarms; i++) {
            json_object(&j);
            json_uint_field(&j, "memberID", r->alarms[i]->memberid);
            json_int_field(&j, "alarm", r->alarms[i]->alarm);
            json_object_end(&j);
        }
        json_array_end(&j);
    }
    json_object_end(&j);
    json_end(out);
}

static void json_status(struct json *j, const Etcdserverpb__StatusResponse *r)
{
    json_object(j);
    output_json_header(j, r->header);
    json_text_field(j, "version", r->version);
    json_int_field(j, "dbSize", r->dbsize);
    json_uint_field(j, "leader", r->leader);
    json_uint_field(j, "raftIndex", r->raftindex);
    json_uint_field(j, "raftTerm", r->raftterm);
    json_uint_field(j, "raftAppliedIndex", r->raftappliedindex);
    json_texts_field(j, "errors", r->errors, r->n_errors);
    json_int_field(j, "dbSizeInUse", r->dbsizeinuse);
    json_bool_field(j, "isLearner", r->islearner);
    json_text_field(j, "storageVersion", r->storageversion);
    json_int_field(j, "dbSizeQuota", r->dbsizequota);
    if (r->downgradeinfo != NULL) {
        json_key(j, "downgradeInfo");
        json_object(j);
        json_bool_field(j, "enabled", r->downgradeinfo->enabled);
        json_text_field(j, "targetVersion", r->downgradeinfo->targetversion);
        json_object_end(j);
    }
    json_object_end(j);
}

void output_json_statuses(struct buf *out, const struct output_status *list, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        json_object(&j);
        json_key(&j, "Endpoint");
        json_cstr(&j, list[i].endpoint);
        json_key(&j, "Status");
        json_status(&j, list[i].response);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_end(out);
}

void output_json_healths(struct buf *out, const struct output_health *list, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        json_object(&j);
        json_key(&j, "endpoint");
        json_cstr(&j, list[i].endpoint);
        json_key(&j, "health");
        json_bool(&j, list[i].healthy);
        json_key(&j, "took");
        json_cstr(&j, list[i].took);
        json_text_field(&j, "error", list[i].error);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_end(out);
}

void output_json_hashes(struct buf *out, const struct output_hash *list, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__HashKVResponse *r = list[i].response;
        json_object(&j);
        json_key(&j, "Endpoint");
        json_cstr(&j, list[i].endpoint);
        json_key(&j, "HashKV");
        json_object(&j);
        output_json_header(&j, r->header);
        json_uint_field(&j, "hash", r->hash);
        json_int_field(&j, "compact_revision", r->compact_revision);
        json_int_field(&j, "hash_revision", r->hash_revision);
        json_object_end(&j);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_end(out);
}
