/* apiserver.h - the plugin's own state, one per process. */
#ifndef KVD_APISERVER_APISERVER_H
#define KVD_APISERVER_APISERVER_H

#include <kvplugin.h>
#include <stdbool.h>

#include "base/hashmap.h"
#include "base/heap.h"
#include "base/slice.h"
#include "plugins/apiserver/address.h"

/* The options, as the table in apiserver.c fills them. */
struct apiserver_conf {
    const char *address;
    int64_t port;
    const char *advertise; /* host:port told in discovery */
    int32_t insecure_allow_all;
    int32_t insecure_http;
    int32_t anonymous_auth;
    const char *tls_cert_file, *tls_private_key_file, *client_ca_file;
    const char *service_account_key_file, *service_account_signing_key_file;
    const char *service_account_issuer, *api_audiences;
    const char *service_cluster_ip_range;
    const char *service_node_port_range;
    const char *disable_admission_plugins;
};

/* Where addresses and node ports of services come from. */
struct service_ranges {
    struct address_range addresses;
    uint32_t port_first, port_count;
};

struct apiserver {
    const struct kvp_host *host;
    struct kvp_ctx *ctx; /* of the instance: every member serves */
    const struct apiserver_conf *conf;
    struct kvp_listener *listener;
    uint32_t port;
    struct pki *pki;       /* keys and certificates */
    struct issuer *issuer; /* of tokens */
    struct service_ranges ranges;
    uint32_t admission_disabled; /* enum admit_plugin */
    struct bootstrap *bootstrap; /* while this member leads */
    struct reach *reach;         /* the same */
    struct trust *trust;         /* the same */
    struct reach_member *reach_member;
    uint32_t reach_port;       /* that this member tells others; 0 = it tells nothing */
    struct hashmap calls;      /* struct exchange.call_node: of plugins, not answered yet */
    struct exchange *answered; /* of plugins, to be freed; by next_answered */
    struct heap deadlines;     /* struct exchange.deadline */
    struct kvp_timer *deadline_timer;
    int64_t deadline_at;
    struct openapi *openapi; /* once somebody has asked for it */
    struct remember *remember;
    struct admit_parts *admit_parts;
};

static inline struct slice slice_of_kvp(struct kvp_bytes b)
{
    return slice_of(b.data, b.len);
}
static inline struct kvp_bytes kvp_of_slice(struct slice s)
{
    return kvp_bytes_of(s.data, s.len);
}

#endif
