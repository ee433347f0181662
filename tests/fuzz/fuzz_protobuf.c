/* fuzz_protobuf - the decoder of every message that comes from outside or from the log.
 *
 * Input: one byte picks the type, the rest is the message. What decodes must encode, to a size
 * codec_size foretells, and decode again to a message with the same encoding. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"
#include "proto/codec.h"
#include "proto/entry.pb-c.h"
#include "proto/etcd/auth.pb-c.h"
#include "proto/etcd/election.pb-c.h"
#include "proto/etcd/health.pb-c.h"
#include "proto/etcd/kv.pb-c.h"
#include "proto/etcd/lease.pb-c.h"
#include "proto/etcd/lock.pb-c.h"
#include "proto/etcd/rpc.pb-c.h"
#include "proto/kvd/plugin.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The corpus depends on the order: append only. */
static const ProtobufCMessageDescriptor *const types[] = {
    &etcdserverpb__internal_raft_request__descriptor,
    &etcdserverpb__range_request__descriptor,
    &etcdserverpb__put_request__descriptor,
    &etcdserverpb__delete_range_request__descriptor,
    &etcdserverpb__txn_request__descriptor,
    &etcdserverpb__compaction_request__descriptor,
    &etcdserverpb__watch_request__descriptor,
    &etcdserverpb__lease_grant_request__descriptor,
    &etcdserverpb__lease_revoke_request__descriptor,
    &etcdserverpb__lease_checkpoint_request__descriptor,
    &etcdserverpb__lease_keep_alive_request__descriptor,
    &etcdserverpb__lease_time_to_live_request__descriptor,
    &etcdserverpb__lease_leases_request__descriptor,
    &etcdserverpb__member_add_request__descriptor,
    &etcdserverpb__member_remove_request__descriptor,
    &etcdserverpb__member_update_request__descriptor,
    &etcdserverpb__member_list_request__descriptor,
    &etcdserverpb__member_promote_request__descriptor,
    &etcdserverpb__alarm_request__descriptor,
    &etcdserverpb__status_request__descriptor,
    &etcdserverpb__defragment_request__descriptor,
    &etcdserverpb__move_leader_request__descriptor,
    &etcdserverpb__hash_request__descriptor,
    &etcdserverpb__hash_kvrequest__descriptor,
    &etcdserverpb__snapshot_request__descriptor,
    &etcdserverpb__downgrade_request__descriptor,
    &etcdserverpb__auth_enable_request__descriptor,
    &etcdserverpb__auth_disable_request__descriptor,
    &etcdserverpb__auth_status_request__descriptor,
    &etcdserverpb__authenticate_request__descriptor,
    &etcdserverpb__auth_user_add_request__descriptor,
    &etcdserverpb__auth_user_get_request__descriptor,
    &etcdserverpb__auth_user_list_request__descriptor,
    &etcdserverpb__auth_user_delete_request__descriptor,
    &etcdserverpb__auth_user_change_password_request__descriptor,
    &etcdserverpb__auth_user_grant_role_request__descriptor,
    &etcdserverpb__auth_user_revoke_role_request__descriptor,
    &etcdserverpb__auth_role_add_request__descriptor,
    &etcdserverpb__auth_role_get_request__descriptor,
    &etcdserverpb__auth_role_list_request__descriptor,
    &etcdserverpb__auth_role_delete_request__descriptor,
    &etcdserverpb__auth_role_grant_permission_request__descriptor,
    &etcdserverpb__auth_role_revoke_permission_request__descriptor,
    &v3lockpb__lock_request__descriptor,
    &v3lockpb__unlock_request__descriptor,
    &v3electionpb__campaign_request__descriptor,
    &v3electionpb__leader_request__descriptor,
    &v3electionpb__resign_request__descriptor,
    &v3electionpb__proclaim_request__descriptor,
    &grpc__health__v1__health_check_request__descriptor,
    &etcdserverpb__range_response__descriptor,
    &etcdserverpb__txn_response__descriptor,
    &etcdserverpb__watch_response__descriptor,
    &etcdserverpb__status_response__descriptor,
    &etcdserverpb__member_list_response__descriptor,
    &mvccpb__key_value__descriptor,
    &authpb__user__descriptor,
    &authpb__role__descriptor,
    &leasepb__lease__descriptor,
    &kvdpb__plugin_list_request__descriptor,
    &kvdpb__plugin_describe_request__descriptor,
    &kvdpb__plugin_top_request__descriptor,
    &kvdpb__plugin_config_request__descriptor,
    &kvdpb__plugin_reload_request__descriptor,
    &kvdpb__plugin_enable_request__descriptor,
    &kvdpb__plugin_disable_request__descriptor,
    &kvdpb__plugin_describe_response__descriptor,
    &kvdpb__plugin_top_response__descriptor,
};

#define ARENA_BYTES_MAX (4u << 20)

static void encode(const void *msg, struct buf *out)
{
    size_t size = codec_size(msg);
    FATAL_IF(!codec_encode(msg, out), "out of memory");
    FATAL_IF(out->len != size, "codec_size and codec_encode disagree");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof types / sizeof types[0])];
    struct arena a;
    arena_init(&a, ARENA_BYTES_MAX);
    void *msg;
    int rc = codec_decode(type, slice_of(data + 1, size - 1), &a, &msg);
    FATAL_IF((rc == 0) != (msg != NULL), "result and message disagree");
    FATAL_IF(a.used > ARENA_BYTES_MAX, "the arena is over its limit");
    if (rc == 0) {
        struct buf first, second;
        buf_init(&first);
        buf_init(&second);
        encode(msg, &first);
        struct arena again;
        arena_init(&again, 0);
        rc = codec_decode(type, buf_slice(&first), &again, &msg);
        FATAL_IF(rc != 0, "what was encoded does not decode");
        encode(msg, &second);
        FATAL_IF(!slice_eq(buf_slice(&first), buf_slice(&second)),
                 "a round trip changed a message");
        arena_close(&again);
        buf_close(&first);
        buf_close(&second);
    }
    arena_close(&a);
    return 0;
}
