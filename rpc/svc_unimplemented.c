/* svc_unimplemented.c - methods of etcd that kvd does not have yet: Auth, Lock, Election, the
 * snapshot stream, member changes, MoveLeader, Downgrade. They say so by name; docs/status.md tells
 * when. */
#include <stdio.h>
#include <string.h>

#include "rpc/svc_common.h"

void svc_unimplemented_message(struct rpc_call *call, struct slice bytes)
{
    (void)bytes;
    svc_count_received(call);
    const struct rpc_method *m = rpc_call_method(call);
    const char *dot = strrchr(m->service, '.');
    char text[160];
    snprintf(text, sizeof(text), "kvd: %s/%s is not implemented yet, see docs/status.md",
             dot != NULL ? dot + 1 : m->service, m->method);
    rpc_call_finish(call, GRPC_UNIMPLEMENTED, text);
}

/* Auth is off, and its revision is the initial one: that much is true without auth. */
void svc_auth_status(struct rpc_call *call, struct slice bytes)
{
    static const uint8_t revision_1[] = {3 << 3 | WIRE_VARINT, 1};
    (void)bytes;
    svc_count_received(call);
    svc_reply(call, svc_revision(svc_of(call)), slice_of(revision_1, sizeof(revision_1)));
}
