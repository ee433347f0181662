/* validate_groups.c - kinds outside the core group, and replication controllers. */
#include <stdlib.h>
#include <string.h>

#include "plugins/object/labels.h"
#include "plugins/object/validate_kinds.h"

/* The pods of a template must be among those selected, and run for good. */
static void template_fits(const struct validate_at *at, const struct label_selector *selector,
                          const char *owner)
{
    const struct value *labels = validate_get(at, "template.metadata.labels");
    const struct place *template = PLACE_FIELD(at->place, "template");
    const struct place *spec = PLACE_FIELD(template, "spec");
    if ((selector->nothing || selector->count > 0) && !label_selector_matches(selector, labels)) {
        const struct schema_type *t = schema_type(SCHEMA_META_V1_OBJECT_META);
        cause_invalid(at->causes, PLACE_FIELD(PLACE_FIELD(template, "metadata"), "labels"),
                      schema_find(t, slice_str("labels")), labels,
                      "`selector` does not match template `labels`");
    }
    struct slice policy = validate_text(at, "template.spec.restartPolicy");
    if (!slice_eq(policy, slice_str("Always")) && policy.len > 0) {
        cause_not_supported(at->causes, PLACE_FIELD(spec, "restartPolicy"), policy, "Always");
    }
    if (validate_get(at, "template.spec.activeDeadlineSeconds") != NULL) {
        cause_forbidden(at->causes, PLACE_FIELD(spec, "activeDeadlineSeconds"),
                        "activeDeadlineSeconds in %s is not Supported", owner);
    }
}

void validate_replication_controller_spec(const struct validate_at *at)
{
    struct label_selector selector;
    const struct value *map = validate_get(at, "selector");
    validate_labels(at->causes, PLACE_FIELD(at->place, "selector"), map);
    if (validate_get(at, "template") == NULL) {
        return;
    }
    if (label_selector_from_map(map, at->causes->arena, &selector) != 0) {
        at->causes->failed = true;
        return;
    }
    template_fits(at, &selector, "ReplicationController");
}

static void selector_and_template(const struct validate_at *at)
{
    const struct value *message = validate_get(at, "selector");
    const struct place *p = PLACE_FIELD(at->place, "selector");
    const struct schema_field *f = schema_find(at->type, slice_str("selector"));
    struct label_selector selector;
    struct errmsg e;
    if (message != NULL && message->len == 0) {
        cause_invalid(at->causes, p, f, message, "empty selector is invalid for deployment");
    }
    int rc = label_selector_from(message, at->causes->arena, &selector, &e);
    if (rc == ERR_INVALID) {
        cause_invalid(at->causes, p, f, message, "invalid label selector");
    } else if (rc != 0) {
        at->causes->failed = true;
    } else {
        template_fits(at, &selector, "ReplicaSet");
    }
}

void validate_replica_set_spec(const struct validate_at *at)
{
    selector_and_template(at);
}

void validate_deployment_spec(const struct validate_at *at)
{
    const struct value *deadline = validate_get(at, "progressDeadlineSeconds");
    selector_and_template(at);
    if (deadline != NULL && deadline->integer <= validate_int(at, "minReadySeconds", 0)) {
        cause_invalid_int(at->causes, PLACE_FIELD(at->place, "progressDeadlineSeconds"),
                          deadline->integer, "must be greater than minReadySeconds");
    }
}

void validate_strategy(const struct validate_at *at)
{
    if (value_is_text(validate_get(at, "type"), "Recreate") &&
        validate_get(at, "rollingUpdate") != NULL) {
        cause_forbidden(at->causes, PLACE_FIELD(at->place, "rollingUpdate"),
                        "may not be specified when strategy `type` is 'Recreate'");
    }
}

/* A number, or a percentage without its sign; *percent tells which. -1 for anything else. */
static int64_t number_or_percent(const struct value *v, bool *percent)
{
    struct slice text = value_slice(v);
    *percent = false;
    if (v == NULL || v->kind == VALUE_INT) {
        return v == NULL ? 0 : v->integer;
    }
    if (!name_is(NAME_PERCENT, text)) {
        return -1;
    }
    *percent = true;
    int64_t n = 0;
    for (size_t i = 0; i + 1 < text.len && n < INT32_MAX; i++) {
        n = n * 10 + (text.data[i] - '0');
    }
    return n;
}

static void rolling_amount(const struct validate_at *at, const char *field)
{
    const struct value *v = validate_get(at, field);
    const struct place *p = PLACE_FIELD(at->place, field);
    if (v == NULL) {
        return;
    }
    if (v->kind == VALUE_TEXT) {
        validate_name(at->causes, NAME_PERCENT, p, value_slice(v));
    } else if (v->integer < 0) {
        cause_invalid_int(at->causes, p, v->integer, "must be greater than or equal to 0");
    }
}

void validate_rolling_update(const struct validate_at *at)
{
    const struct value *missing = validate_get(at, "maxUnavailable");
    bool percent;
    bool surge_percent;
    rolling_amount(at, "maxUnavailable");
    rolling_amount(at, "maxSurge");
    int64_t n = number_or_percent(missing, &percent);
    const struct place *p = PLACE_FIELD(at->place, "maxUnavailable");
    if (n == 0 && number_or_percent(validate_get(at, "maxSurge"), &surge_percent) == 0) {
        cause_invalid(at->causes, p, NULL, missing, "may not be 0 when `maxSurge` is 0");
    }
    if (percent && n > 100) {
        cause_invalid(at->causes, p, NULL, missing, "must not be greater than 100%%");
    }
}

void validate_lease_spec(const struct validate_at *at)
{
    const struct value *duration = validate_get(at, "leaseDurationSeconds");
    if (duration != NULL && duration->integer <= 0) {
        cause_invalid_int(at->causes, PLACE_FIELD(at->place, "leaseDurationSeconds"),
                          duration->integer, "must be greater than 0");
    }
    if (validate_text(at, "preferredHolder").len > 0 && validate_text(at, "strategy").len == 0) {
        cause_forbidden(at->causes, PLACE_FIELD(at->place, "preferredHolder"),
                        "may only be specified if `strategy` is defined");
    }
}

#define PRIORITY_USER_MAX 1000000000

/* The two classes the server makes itself. */
static bool priority_is_known(struct slice name, int64_t value, const char **why)
{
    bool node = slice_eq(name, slice_str("system-node-critical"));
    bool cluster = slice_eq(name, slice_str("system-cluster-critical"));
    if (!node && !cluster) {
        *why = "is not a known system priority class";
        return false;
    }
    *why = "value must match";
    return value == (node ? 2000001000 : 2000000000);
}

void validate_priority_class(const struct validate_at *at)
{
    struct slice name = validate_text(at, "metadata.name");
    int64_t value = validate_int(at, "value", 0);
    const char *why;
    if (slice_starts_with(name, slice_str("system-"))) {
        if (!priority_is_known(name, value, &why)) {
            cause_forbidden(at->causes, PLACE_FIELD(PLACE_FIELD(at->place, "metadata"), "name"),
                            "priority class names with 'system-' prefix are reserved for system "
                            "use only. error: %.*s %s",
                            (int)name.len, (const char *)name.data, why);
        }
    } else if (value > PRIORITY_USER_MAX) {
        cause_forbidden(at->causes, PLACE_FIELD(at->place, "value"),
                        "maximum allowed value of a user defined priority is %d",
                        PRIORITY_USER_MAX);
    }
    if (at->old == NULL) {
        return;
    }
    const struct value *before = value_find(at->type, at->old, "value");
    if ((before == NULL ? 0 : before->integer) != value) {
        cause_forbidden(at->causes, PLACE_FIELD(at->place, "value"),
                        "may not be changed in an update.");
    }
    const struct schema_field *f = schema_find(at->type, slice_str("preemptionPolicy"));
    const struct value *policy = validate_get(at, "preemptionPolicy");
    if (!value_equal_field(f, policy, value_find(at->type, at->old, "preemptionPolicy"))) {
        cause_invalid(at->causes, PLACE_FIELD(at->place, "preemptionPolicy"), f, policy,
                      "field is immutable");
    }
}

#define ENDPOINT_ADDRESSES_MAX 100u

void validate_endpoint_slice(const struct validate_at *at)
{
    const struct schema_type *t = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT);
    const struct schema_type *pt = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_PORT);
    const struct value *list = validate_get(at, "endpoints");
    const struct value *ports = validate_get(at, "ports");
    const struct place *p = PLACE_FIELD(at->place, "endpoints");
    for (size_t i = 0; i < value_len(list); i++) {
        size_t n = value_len(value_find(t, &list->items[i], "addresses"));
        const struct place *here = PLACE_FIELD(PLACE_INDEX(p, i), "addresses");
        if (n == 0) {
            cause_required(at->causes, here, "must contain at least 1 address");
        } else if (n > ENDPOINT_ADDRESSES_MAX) {
            cause_too_many(at->causes, here, n, ENDPOINT_ADDRESSES_MAX);
        }
    }
    p = PLACE_FIELD(at->place, "ports");
    for (size_t i = 1; i < value_len(ports) && i < 1000; i++) {
        struct slice name = value_slice(value_find(pt, &ports->items[i], "name"));
        for (size_t k = 0; k < i; k++) {
            if (slice_eq(value_slice(value_find(pt, &ports->items[k], "name")), name)) {
                cause_duplicate(at->causes, PLACE_FIELD(PLACE_INDEX(p, i), "name"), name);
                break;
            }
        }
    }
}

void validate_token_request_spec(const struct validate_at *at)
{
    int64_t seconds = validate_int(at, "expirationSeconds", 3600);
    const struct place *p = PLACE_FIELD(at->place, "expirationSeconds");
    if (seconds < 600) {
        cause_invalid_int(at->causes, p, seconds,
                          "may not specify a duration less than 10 minutes");
    }
    if (seconds > (int64_t)1 << 32) {
        cause_invalid_int(at->causes, p, seconds,
                          "may not specify a duration larger than 2^32 seconds");
    }
}
