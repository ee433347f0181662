/* service.c - what a service takes and gives back. */
#include "plugins/apiserver/service.h"

#include <inttypes.h>
#include <stdio.h>

#define SERVICE_ADDRESSES "/registry/kvd.io/serviceips/"
#define SERVICE_PORTS     "/registry/kvd.io/nodeports/"

#define SERVICE_PATH_BYTES 64u
#define SERVICE_GUESSES    3u  /* before all that is taken is read */
#define SERVICE_TRIES      16u /* then somebody else is always quicker */
#define SERVICE_PAGE       10000
/* Guesses that hit ports of the same service; then what was guessed is remembered. */
#define SERVICE_OWN_GUESSES 64u

static bool is_service(const struct object *o)
{
    return o != NULL && o->type == schema_type(SCHEMA_CORE_V1_SERVICE);
}

static bool type_is(const struct object *o, const char *type)
{
    return slice_eq(object_text(o, "spec.type"), slice_str(type));
}

void service_address_key(struct slice address, struct buf *out)
{
    buf_append_str(out, SERVICE_ADDRESSES);
    buf_append_slice(out, address);
}

struct slice service_owner(const struct object *o, struct arena *a)
{
    struct buf b;
    buf_init(&b);
    buf_append_slice(&b, object_text(o, "metadata.namespace"));
    buf_append_byte(&b, '/');
    buf_append_slice(&b, object_text(o, "metadata.name"));
    struct slice s = b.failed ? slice_of(NULL, 0) : arena_dup(a, buf_slice(&b));
    buf_close(&b);
    return s;
}

void allocation_init(struct allocation *a)
{
    struct claims *c = &a->claims; /* whose items are kilobytes that nearly nobody needs */
    c->count = 0;
    a->addresses = (struct pool){0};
    a->ports = (struct pool){0};
    a->tries = 0;
    a->ports_next = false;
}

/* ---- claims -------------------------------------------------------------------------------- */

/* Only what new has and old has not is taken, and the other way round. */
static int claim_add(struct allocation *a, struct arena *arena, struct slice key,
                     enum claim_way way, bool picked, size_t port)
{
    struct claims *c = &a->claims;
    for (size_t i = 0; i < c->count; i++) {
        if (!slice_eq(c->items[i].key, key)) {
            continue;
        }
        if (way == CLAIM_GIVE_BACK && c->items[i].way == CLAIM_TAKE) {
            c->items[i].way = CLAIM_KEEP;
        }
        return 0;
    }
    if (c->count == COMMIT_CLAIMS_MAX) {
        return ERR_REQUEST_TOO_LARGE;
    }
    struct slice copy = arena_dup(arena, key);
    c->items[c->count] = (struct claim){.key = copy, .way = way, .picked = picked, .port = port};
    c->count += copy.data != NULL;
    return copy.data == NULL ? ERR_NOMEM : 0;
}

#define PORT_HEALTH SIZE_MAX
#define PORT_NONE   (SIZE_MAX - 1)

static int claim_address(struct allocation *a, struct arena *arena, struct slice address,
                         enum claim_way way, bool picked)
{
    char plain[ADDRESS_TEXT_BYTES];
    struct buf key;
    if (!address_canonical(address, plain)) {
        return 0; /* None, or what validation has complained of */
    }
    buf_init(&key);
    service_address_key(slice_str(plain), &key);
    int rc = key.failed ? ERR_NOMEM : claim_add(a, arena, buf_slice(&key), way, picked, PORT_NONE);
    buf_close(&key);
    return rc;
}

static int claim_port(struct allocation *a, struct arena *arena, int64_t number, enum claim_way way,
                      bool picked, size_t port)
{
    char key[sizeof SERVICE_PORTS + 24];
    if (number == 0) {
        return 0;
    }
    snprintf(key, sizeof key, SERVICE_PORTS "%" PRId64, number);
    return claim_add(a, arena, slice_str(key), way, picked, port);
}

static int64_t node_port(const struct object *o, size_t i)
{
    char path[SERVICE_PATH_BYTES];
    snprintf(path, sizeof path, "spec.ports[%zu].nodePort", i);
    return object_int(o, path, 0);
}

/* All that a service has. */
static int claim_all(struct allocation *a, struct arena *arena, const struct object *o,
                     enum claim_way way)
{
    const struct value *addresses = object_get(o, "spec.clusterIPs");
    size_t ports = value_len(object_get(o, "spec.ports"));
    int rc = 0;
    if (value_len(addresses) == 0) {
        rc = claim_address(a, arena, object_text(o, "spec.clusterIP"), way, false);
    }
    for (size_t i = 0; i < value_len(addresses) && rc == 0; i++) {
        rc = claim_address(a, arena, value_slice(&addresses->items[i]), way, false);
    }
    for (size_t i = 0; i < ports && rc == 0; i++) {
        rc = claim_port(a, arena, node_port(o, i), way, false, i);
    }
    return rc == 0 ? claim_port(a, arena, object_int(o, "spec.healthCheckNodePort", 0), way, false,
                                PORT_HEALTH)
                   : rc;
}

/* ---- picking ------------------------------------------------------------------------------- */

static uint32_t pick_random(struct exchange *ex)
{
    uint32_t n;
    ex->api->host->random(ex->api->ctx, &n, sizeof n);
    return n;
}

/* How many numbers at the lower end are left to those who ask. */
static uint32_t pick_lower(uint32_t count, uint32_t max, uint32_t part)
{
    uint32_t n = count / part;
    return count <= 16 ? 0 : n < 16 ? 16 : n > max ? max : n;
}

/* The first address is that of the service `kubernetes`, which may not have it yet. */
static uint32_t pick_lower_address(uint32_t count)
{
    uint32_t n = pick_lower(count, 256, 16);
    return n == 0 ? 1 : n;
}

static void pick_open(struct exchange *ex, struct allocation *a)
{
    const struct service_ranges *r = &ex->api->ranges;
    if (a->addresses.count == 0) {
        a->ex = ex;
        a->addresses = (struct pool){.count = r->addresses.count,
                                     .lower = pick_lower_address(r->addresses.count)};
        a->ports =
            (struct pool){.count = r->port_count, .lower = pick_lower(r->port_count, 128, 32)};
    }
    a->claims.count = 0;
}

static int pick_address(struct exchange *ex, struct allocation *a, struct object *o)
{
    char text[ADDRESS_TEXT_BYTES];
    uint32_t n;
    struct value *unused;
    if (!pool_pick(&a->addresses, pick_random(ex), &n)) {
        return ERR_NO_SPACE;
    }
    address_print(&ex->api->ranges.addresses, n, text);
    int rc = object_set_str(o, "spec.clusterIP", text);
    object_remove(o, "spec.clusterIPs");
    rc = rc == 0 ? object_append(o, "spec.clusterIPs", value_text(object_text(o, "spec.clusterIP")),
                                 &unused)
                 : rc;
    return rc == 0 ? claim_address(a, o->arena, slice_str(text), CLAIM_TAKE, true) : rc;
}

static int pick_port(struct exchange *ex, struct allocation *a, struct object *o, const char *path,
                     size_t port)
{
    uint32_t n;
    for (unsigned guesses = 0;; guesses++) {
        if (guesses == SERVICE_OWN_GUESSES && a->ports.taken == NULL &&
            pool_learn(&a->ports, o->arena) != 0) {
            return ERR_NOMEM;
        }
        if (!pool_pick(&a->ports, pick_random(ex), &n)) {
            return ERR_NO_SPACE;
        }
        int64_t number = (int64_t)ex->api->ranges.port_first + n;
        size_t before = a->claims.count;
        int rc = claim_port(a, o->arena, number, CLAIM_TAKE, true, port);
        if (rc != 0) {
            return rc;
        }
        /* Not twice in one service. */
        if (a->claims.count > before) {
            return object_set_int(o, path, number);
        }
    }
}

static struct slice port_protocol(const struct object *o, size_t i)
{
    char path[SERVICE_PATH_BYTES];
    snprintf(path, sizeof path, "spec.ports[%zu].protocol", i);
    return object_text(o, path);
}

static int64_t port_number(const struct object *o, size_t i)
{
    char path[SERVICE_PATH_BYTES];
    snprintf(path, sizeof path, "spec.ports[%zu].port", i);
    return object_int(o, path, 0);
}

/* One port in two protocols is one port of the nodes, too. */
static int64_t port_twin(const struct object *o, size_t i)
{
    for (size_t k = 0; k < value_len(object_get(o, "spec.ports")); k++) {
        if (k != i && port_number(o, k) == port_number(o, i) && node_port(o, k) != 0 &&
            !slice_eq(port_protocol(o, k), port_protocol(o, i))) {
            return node_port(o, k);
        }
    }
    return 0;
}

static int pick_ports(struct exchange *ex, struct allocation *a, struct object *o)
{
    int rc = 0;
    for (size_t i = 0; i < value_len(object_get(o, "spec.ports")) && rc == 0; i++) {
        char path[SERVICE_PATH_BYTES];
        if (node_port(o, i) != 0) {
            continue;
        }
        snprintf(path, sizeof path, "spec.ports[%zu].nodePort", i);
        int64_t twin = port_twin(o, i);
        rc = twin != 0 ? object_set_int(o, path, twin) : pick_port(ex, a, o, path, i);
    }
    return rc;
}

static int pick_missing(struct exchange *ex, struct allocation *a, struct object *o)
{
    bool balancer = type_is(o, "LoadBalancer");
    int rc = 0;
    if (!type_is(o, "ExternalName") && object_text(o, "spec.clusterIP").len == 0) {
        rc = pick_address(ex, a, o);
        if (rc == ERR_NO_SPACE) {
            exchange_fail(ex, status_internal(&ex->arena, "failed to allocate a serviceIP: range "
                                                          "is full"));
            return rc;
        }
    }
    if (rc == 0 && (type_is(o, "NodePort") ||
                    (balancer && object_bool(o, "spec.allocateLoadBalancerNodePorts", true)))) {
        rc = pick_ports(ex, a, o);
    }
    if (rc == 0 && balancer && object_int(o, "spec.healthCheckNodePort", 0) == 0 &&
        slice_eq(object_text(o, "spec.externalTrafficPolicy"), slice_str("Local"))) {
        rc = pick_port(ex, a, o, "spec.healthCheckNodePort", PORT_HEALTH);
    }
    if (rc == ERR_NO_SPACE) {
        exchange_fail(ex,
                      status_internal(&ex->arena, "failed to allocate a nodePort: range is full"));
    }
    return rc;
}

/* ---- what was asked for -------------------------------------------------------------------- */

static struct causes *refusal_new(struct exchange *ex)
{
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (c != NULL) {
        causes_init(c, &ex->arena);
    }
    return c;
}

static void refuse(struct exchange *ex, const struct object *o, const struct causes *c)
{
    exchange_fail(ex, status_invalid(&ex->arena, slice_of("", 0), slice_str("Service"),
                                     object_text(o, "metadata.name"), c));
}

static void refuse_address(const struct object *o, struct causes *c, const char *why)
{
    const struct value *all = object_get(o, "spec.clusterIPs");
    const struct schema_field *f =
        schema_find(schema_type(SCHEMA_CORE_V1_SERVICE_SPEC), slice_str("clusterIPs"));
    struct slice one = object_text(o, "spec.clusterIP");
    cause_invalid(c, PLACE_FIELD(PLACE_FIELD(NULL, "spec"), "clusterIPs"), f, all,
                  "failed to allocate IP %.*s: %s", (int)one.len, (const char *)one.data, why);
}

static void refuse_port(const struct object *o, struct causes *c, size_t port, const char *why)
{
    const struct place *spec = PLACE_FIELD(NULL, "spec");
    if (port == PORT_HEALTH) {
        cause_invalid_int(c, PLACE_FIELD(spec, "healthCheckNodePort"),
                          object_int(o, "spec.healthCheckNodePort", 0), "%s", why);
    } else {
        cause_invalid_int(c, PLACE_FIELD(PLACE_INDEX(PLACE_FIELD(spec, "ports"), port), "nodePort"),
                          node_port(o, port), "%s", why);
    }
}

/* Addresses and ports that are taken lie in their ranges. */
static void check_ranges(struct exchange *ex, const struct allocation *a, const struct object *o,
                         struct causes *c)
{
    const struct service_ranges *r = &ex->api->ranges;
    char why[160];
    uint32_t n;
    for (size_t i = 0; i < a->claims.count; i++) {
        const struct claim *one = &a->claims.items[i];
        if (one->way != CLAIM_TAKE) {
            continue;
        }
        if (one->port == PORT_NONE) {
            struct slice address = object_text(o, "spec.clusterIP");
            if (!address_number(&r->addresses, address, &n)) {
                snprintf(why, sizeof why,
                         "the provided IP (%.*s) is not in the valid range. The range of valid IPs "
                         "is %s",
                         (int)(address.len < 64 ? address.len : 64), (const char *)address.data,
                         r->addresses.text);
                refuse_address(o, c, why);
            }
            continue;
        }
        int64_t number = one->port == PORT_HEALTH ? object_int(o, "spec.healthCheckNodePort", 0)
                                                  : node_port(o, one->port);
        if (number < r->port_first || number >= (int64_t)r->port_first + r->port_count) {
            snprintf(why, sizeof why,
                     "provided port is not in the valid range. The range of valid ports is "
                     "%" PRIu32 "-%" PRIu32,
                     r->port_first, r->port_first + r->port_count - 1);
            refuse_port(o, c, one->port, why);
        }
    }
}

bool service_allocate(struct exchange *ex, struct allocation *a, struct object *new,
                      const struct object *old)
{
    struct causes *c;
    a->claims.count = 0;
    if (!is_service(new) && !is_service(old)) {
        return true;
    }
    pick_open(ex, a);
    /* Of many that are removed one after the other each has an arena of its own. */
    struct arena *memory = new == NULL ? old->arena : &ex->arena;
    int rc = new == NULL ? 0 : claim_all(a, memory, new, CLAIM_TAKE);
    rc = rc == 0 && old != NULL ? claim_all(a, memory, old, CLAIM_GIVE_BACK) : rc;
    rc = rc == 0 && new != NULL ? pick_missing(ex, a, new) : rc;
    if (rc == ERR_NO_SPACE) {
        return false;
    }
    if (rc == ERR_REQUEST_TOO_LARGE) {
        exchange_fail(ex, status_too_large(&ex->arena,
                                           "a service may change at most %u addresses "
                                           "and ports at once",
                                           COMMIT_CLAIMS_MAX));
        return false;
    }
    if (rc == 0 && new == NULL) {
        return true;
    }
    c = rc == 0 ? refusal_new(ex) : NULL;
    if (c == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    check_ranges(ex, a, new, c);
    if (c->count > 0) {
        refuse(ex, new, c);
        return false;
    }
    return true;
}

/* ---- when somebody else has it ------------------------------------------------------------- */

static void learn_page(struct allocation *a, struct kvp_bytes from, int64_t revision);

/* The last part of a row's key, as a number of its pool. */
static void learn_row(struct allocation *a, const struct kvp_row *row)
{
    const struct service_ranges *r = &a->ex->api->ranges;
    struct slice key = slice_of_kvp(row->key);
    size_t prefix = a->ports_next ? sizeof SERVICE_PORTS - 1 : sizeof SERVICE_ADDRESSES - 1;
    struct slice rest = slice_of(key.data + prefix, key.len - prefix);
    uint32_t n = 0;
    if (!a->ports_next) {
        if (address_number(&r->addresses, rest, &n)) {
            pool_take(&a->addresses, n);
        }
        return;
    }
    for (size_t i = 0; i < rest.len && i < 5; i++) {
        n = n * 10 + (uint32_t)(rest.data[i] - '0');
    }
    if (n >= r->port_first) {
        pool_take(&a->ports, n - r->port_first);
    }
}

static void learn_answer(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct allocation *a = data;
    if (!exchange_back_well(a->ex, r)) {
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        learn_row(a, &rows->rows[i]);
    }
    if (rows->more) {
        learn_page(a, rows->next, r->revision);
    } else if (!a->ports_next) {
        a->ports_next = true;
        learn_page(a, (struct kvp_bytes){NULL, 0}, 0);
    } else {
        a->then(a->data);
    }
}

static void learn_page(struct allocation *a, struct kvp_bytes from, int64_t revision)
{
    struct exchange *ex = a->ex;
    struct kvp_range range = {.size = sizeof range,
                              .flags = KVP_PREFIX | KVP_KEYS_ONLY,
                              .key = kvp_str(a->ports_next ? SERVICE_PORTS : SERVICE_ADDRESSES),
                              .from = from,
                              .revision = revision,
                              .limit = SERVICE_PAGE};
    exchange_call(ex);
    int reason = ex->api->host->range(ex->ctx, &range, learn_answer, a);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

void service_taken(struct exchange *ex, struct allocation *a, const struct object *o, size_t taken,
                   void (*then)(void *data), void *data)
{
    const struct claim *one = &a->claims.items[taken];
    struct status_about about = request_about(&ex->request);
    if (!one->picked) {
        struct causes *c = refusal_new(ex);
        if (c == NULL) {
            exchange_no_memory(ex);
        } else if (one->port == PORT_NONE) {
            refuse_address(o, c, "provided IP is already allocated");
            refuse(ex, o, c);
        } else {
            refuse_port(o, c, one->port, "provided port is already allocated");
            refuse(ex, o, c);
        }
        return;
    }
    if (++a->tries >= SERVICE_TRIES) {
        exchange_fail(ex, status_server_timeout(&ex->arena, &about, "create"));
        return;
    }
    if (a->tries != SERVICE_GUESSES) {
        then(data);
        return;
    }
    a->ex = ex;
    a->then = then;
    a->data = data;
    if (pool_learn(&a->addresses, &ex->arena) != 0 || pool_learn(&a->ports, &ex->arena) != 0) {
        exchange_no_memory(ex);
    } else {
        pool_take(&a->addresses, 0);
        learn_page(a, (struct kvp_bytes){NULL, 0}, 0);
    }
}
