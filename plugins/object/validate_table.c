/* validate_table.c - which type has which function. */
#include "plugins/object/validate_kinds.h"

validate_fn *validate_function(const struct schema_type *t)
{
    static validate_fn *const functions[SCHEMA_TYPE_COUNT_] = {
        [SCHEMA_META_V1_OBJECT_META] = validate_object_meta,
        [SCHEMA_META_V1_LABEL_SELECTOR] = validate_label_selector,
        [SCHEMA_META_V1_LABEL_SELECTOR_REQUIREMENT] = validate_label_requirement,
        [SCHEMA_CORE_V1_NAMESPACE] = validate_namespace_object,
        [SCHEMA_CORE_V1_POD] = validate_pod,
        [SCHEMA_CORE_V1_POD_SPEC] = validate_pod_spec,
        [SCHEMA_CORE_V1_VOLUME] = validate_volume,
        [SCHEMA_CORE_V1_TOLERATION] = validate_toleration,
        [SCHEMA_CORE_V1_NODE_SELECTOR_REQUIREMENT] = validate_node_requirement,
        [SCHEMA_CORE_V1_TOPOLOGY_SPREAD_CONSTRAINT] = validate_spread,
        [SCHEMA_CORE_V1_PREFERRED_SCHEDULING_TERM] = validate_weighted,
        [SCHEMA_CORE_V1_WEIGHTED_POD_AFFINITY_TERM] = validate_weighted,
        [SCHEMA_CORE_V1_POD_AFFINITY_TERM] = validate_affinity_term,
        [SCHEMA_CORE_V1_NODE_SELECTOR] = validate_node_selector,
        [SCHEMA_CORE_V1_HOST_ALIAS] = validate_host_alias,
        [SCHEMA_CORE_V1_CONTAINER] = validate_container,
        [SCHEMA_CORE_V1_EPHEMERAL_CONTAINER] = validate_container,
        [SCHEMA_CORE_V1_CONTAINER_PORT] = validate_container_port,
        [SCHEMA_CORE_V1_ENV_VAR] = validate_env,
        [SCHEMA_CORE_V1_RESOURCE_REQUIREMENTS] = validate_resources,
        [SCHEMA_CORE_V1_PROBE] = validate_handler,
        [SCHEMA_CORE_V1_LIFECYCLE_HANDLER] = validate_handler,
        [SCHEMA_CORE_V1_HTTP_GET_ACTION] = validate_http_get,
        [SCHEMA_CORE_V1_TCP_SOCKET_ACTION] = validate_tcp_socket,
        [SCHEMA_CORE_V1_GRPC_ACTION] = validate_grpc,
        [SCHEMA_CORE_V1_EXEC_ACTION] = validate_exec,
        [SCHEMA_CORE_V1_SERVICE] = validate_service,
        [SCHEMA_CORE_V1_CONFIG_MAP] = validate_config_map,
        [SCHEMA_CORE_V1_SECRET] = validate_secret,
        [SCHEMA_CORE_V1_NODE] = validate_node,
        [SCHEMA_CORE_V1_EVENT] = validate_event,
        [SCHEMA_CORE_V1_ENDPOINT_SUBSET] = validate_endpoint_subset,
        [SCHEMA_CORE_V1_ENDPOINT_ADDRESS] = validate_endpoint_address,
        [SCHEMA_CORE_V1_ENDPOINT_PORT] = validate_endpoint_port,
        [SCHEMA_CORE_V1_REPLICATION_CONTROLLER_SPEC] = validate_replication_controller_spec,
        [SCHEMA_APPS_V1_REPLICA_SET_SPEC] = validate_replica_set_spec,
        [SCHEMA_APPS_V1_DEPLOYMENT_SPEC] = validate_deployment_spec,
        [SCHEMA_APPS_V1_DEPLOYMENT_STRATEGY] = validate_strategy,
        [SCHEMA_APPS_V1_ROLLING_UPDATE_DEPLOYMENT] = validate_rolling_update,
        [SCHEMA_COORDINATION_V1_LEASE_SPEC] = validate_lease_spec,
        [SCHEMA_SCHEDULING_V1_PRIORITY_CLASS] = validate_priority_class,
        [SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE] = validate_endpoint_slice,
        [SCHEMA_AUTHENTICATION_V1_TOKEN_REQUEST_SPEC] = validate_token_request_spec,
    };
    bool built_in = t >= schema_types && t < schema_types + schema_type_count;
    return built_in ? functions[t - schema_types] : NULL;
}
