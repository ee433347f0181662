/* validate_kinds.h - the functions of the types that need one; validate_table.c lists them. */
#ifndef KVD_OBJECT_VALIDATE_KINDS_H
#define KVD_OBJECT_VALIDATE_KINDS_H

#include "plugins/object/validate.h"

/* validate_meta.c */
validate_fn validate_object_meta;
validate_fn validate_label_selector;
validate_fn validate_label_requirement;
void validate_meta_create(const struct object *o, struct causes *c);
void validate_meta_update(const struct object *new, const struct object *old, struct causes *c);

/* validate_namespace.c */
validate_fn validate_namespace_object;

/* validate_pod.c */
validate_fn validate_pod;
validate_fn validate_pod_spec;
validate_fn validate_volume;
validate_fn validate_toleration;
validate_fn validate_node_requirement;
validate_fn validate_spread;
validate_fn validate_weighted;
validate_fn validate_affinity_term;
validate_fn validate_node_selector;
validate_fn validate_host_alias;

/* validate_pod_status.c: a pod's status against the one before. */
void validate_pod_status_update(const struct validate_at *at, const struct object *old);

/* validate_container.c */
validate_fn validate_container;
validate_fn validate_container_port;
validate_fn validate_env;
validate_fn validate_resources;
validate_fn validate_handler;
validate_fn validate_http_get;
validate_fn validate_tcp_socket;
validate_fn validate_grpc;
validate_fn validate_exec;

/* validate_core.c */
validate_fn validate_service;
validate_fn validate_config_map;
validate_fn validate_secret;
validate_fn validate_node;
validate_fn validate_event;
validate_fn validate_endpoint_subset;
validate_fn validate_endpoint_address;
validate_fn validate_endpoint_port;

/* validate_groups.c */
validate_fn validate_replication_controller_spec;
validate_fn validate_replica_set_spec;
validate_fn validate_deployment_spec;
validate_fn validate_rolling_update;
validate_fn validate_strategy;
validate_fn validate_lease_spec;
validate_fn validate_priority_class;
validate_fn validate_endpoint_slice;
validate_fn validate_token_request_spec;

/* A port by number or name. */
void validate_port_or_name(struct causes *c, const struct place *p, const struct value *v);
/* An address of version 4 or 6; *v6 tells which. */
bool validate_address(struct slice text, uint8_t out[16], bool *v6);
/* Complains of addresses that mean something else on each machine, and of what is none. */
void validate_reachable(struct causes *c, const struct place *p, struct slice text);
/* 1 to 65535. */
void validate_port_number(struct causes *c, const struct place *p, int64_t port);

#endif
