/* reach_member.c - the row that says where this member is reached: it goes with the lease, 15 s
 * after the member. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "plugins/apiserver/reach.h"

#define REACH_LEASE_S  15
#define REACH_RETRY_MS 1000u

struct reach_member {
    struct apiserver *api;
    int64_t lease;
    char key[sizeof REACH_ROWS + 20];
    char value[ADDRESS_TEXT_BYTES + 8]; /* address:port, [address]:port */
};

static void member_grant(void *data);

static void member_later(struct reach_member *m)
{
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = REACH_RETRY_MS, .fire = member_grant, .data = m};
    if (m->api->host->timer(m->api->ctx, &timer, NULL) != 0) {
        KVP_LOG(m->api->host, m->api->ctx, KVP_WARN, "this member is not told to others",
                kvp_f_str("why", "no timer"));
    }
}

static void member_lost(void *data, int64_t id)
{
    struct reach_member *m = data;
    if (id == m->lease) {
        m->lease = 0;
        member_grant(m);
    }
}

static void member_put_done(void *data, const struct kvp_result *r)
{
    struct reach_member *m = data;
    if (r->outcome != KVP_OK && r->reason != KVP_STOPPED) {
        member_later(m);
    }
}

static void member_put(struct reach_member *m)
{
    struct kvp_put put = {
        .size = sizeof put, .key = kvp_str(m->key), .value = kvp_str(m->value), .lease = m->lease};
    int rc = m->api->host->put(m->api->ctx, &put, member_put_done, m);
    if (rc != 0 && rc != KVP_STOPPED) {
        member_later(m);
    }
}

static void member_granted(void *data, const struct kvp_result *r)
{
    struct reach_member *m = data;
    if (r->outcome == KVP_OK) {
        m->lease = r->lease;
        member_put(m);
    } else if (r->reason != KVP_STOPPED) {
        member_later(m);
    }
}

static void member_grant(void *data)
{
    struct reach_member *m = data;
    struct kvp_lease_args lease = {
        .size = sizeof lease, .ttl_s = REACH_LEASE_S, .lost = member_lost, .data = m};
    if (m->lease != 0) {
        member_put(m);
        return;
    }
    int rc = m->api->host->lease_grant(m->api->ctx, &lease, member_granted, m);
    if (rc != 0 && rc != KVP_STOPPED) {
        member_later(m);
    }
}

/* ---- the address --------------------------------------------------------------------------- */

/* Of an interface that leads somewhere; false: there is none. */
static bool member_own_address(int family, char out[ADDRESS_TEXT_BYTES])
{
    struct ifaddrs *list;
    bool found = false;
    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != family ||
            (i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_UP)) {
            continue;
        }
        if (family == AF_INET) {
            const struct sockaddr_in *in = (const void *)i->ifa_addr;
            found = inet_ntop(family, &in->sin_addr, out, ADDRESS_TEXT_BYTES) != NULL;
        } else {
            const struct sockaddr_in6 *in = (const void *)i->ifa_addr;
            found = !IN6_IS_ADDR_LINKLOCAL(&in->sin6_addr) &&
                    inet_ntop(family, &in->sin6_addr, out, ADDRESS_TEXT_BYTES) != NULL;
        }
    }
    freeifaddrs(list);
    return found;
}

/* host of host:port; [v6]:port; port 0 = none is named. */
static struct slice member_split(const char *text, uint32_t *port)
{
    struct slice s = slice_str(text);
    size_t colon = s.len;
    bool v6 = s.len > 0 && s.data[0] == '[';
    for (size_t i = s.len; i > 0 && colon == s.len; i--) {
        colon = s.data[i - 1] == ':' ? i - 1 : colon;
    }
    *port = colon < s.len ? (uint32_t)strtoul(text + colon + 1, NULL, 10) : 0;
    return v6 && colon > 2 ? slice_of(s.data + 1, colon - 2) : slice_of(s.data, colon);
}

static void member_address(struct apiserver *api, char *out, size_t room)
{
    char text[ADDRESS_TEXT_BYTES];
    uint32_t port = 0;
    struct slice host = slice_str(api->conf->address);
    if (api->conf->advertise[0] != 0) {
        host = member_split(api->conf->advertise, &port);
    }
    bool any = slice_eq(host, slice_str("0.0.0.0"));
    bool any6 = slice_eq(host, slice_str("::"));
    if ((any && !member_own_address(AF_INET, text)) ||
        (any6 && !member_own_address(AF_INET6, text)) ||
        (!any && !any6 && !address_canonical(host, text))) {
        snprintf(text, sizeof text, "127.0.0.1");
    }
    bool v6 = strchr(text, ':') != NULL;
    api->reach_port = port != 0 ? port : api->port;
    snprintf(out, room, "%s%s%s:%" PRIu32, v6 ? "[" : "", text, v6 ? "]" : "", api->reach_port);
}

int reach_open(struct apiserver *api)
{
    struct kvp_role role = {.size = sizeof role};
    if (api->port == 0) {
        return 0;
    }
    struct reach_member *m = mem_zalloc(sizeof *m);
    if (m == NULL) {
        return KVP_NO_MEMORY;
    }
    m->api = api;
    (void)api->host->leader(api->ctx, &role);
    snprintf(m->key, sizeof m->key, REACH_ROWS "%016" PRIx64, role.member);
    member_address(api, m->value, sizeof m->value);
    api->reach_member = m;
    member_grant(m);
    return 0;
}

void reach_close(struct apiserver *api)
{
    mem_free(api->reach_member);
    api->reach_member = NULL;
}
