/* amounts.c - sums of resources; see amounts.h. */
#include "plugins/scheduler/amounts.h"

#include <string.h>

static int64_t amounts_sum(int64_t a, int64_t b)
{
    int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) {
        return b > 0 ? INT64_MAX : INT64_MIN;
    }
    return sum;
}

static struct sched_amount *amounts_find(const struct sched_amounts *a, struct slice name)
{
    for (size_t i = 0; i < a->extra_count; i++) {
        if (slice_eq(a->extra[i].name, name)) {
            return &a->extra[i];
        }
    }
    return NULL;
}

int64_t sched_amounts_extra(const struct sched_amounts *a, struct slice name)
{
    const struct sched_amount *x = amounts_find(a, name);
    return x == NULL ? 0 : x->amount;
}

/* The place of a name, made if need be (the array is copied, as arenas do not grow it). */
static struct sched_amount *amounts_make(struct sched_amounts *a, struct slice name,
                                         struct arena *arena)
{
    struct sched_amount *x = amounts_find(a, name);
    if (x != NULL) {
        return x;
    }
    struct sched_amount *grown = arena_alloc(arena, (a->extra_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    if (a->extra_count > 0) {
        memcpy(grown, a->extra, a->extra_count * sizeof *grown);
    }
    a->extra = grown;
    x = &grown[a->extra_count++];
    *x = (struct sched_amount){.name = name};
    return x;
}

bool sched_amounts_add(struct sched_amounts *a, const struct sched_amounts *b, int times,
                       struct arena *arena)
{
    bool ok = true;
    a->cpu_m = amounts_sum(a->cpu_m, times * b->cpu_m);
    a->memory = amounts_sum(a->memory, times * b->memory);
    a->disk = amounts_sum(a->disk, times * b->disk);
    for (size_t i = 0; i < b->extra_count; i++) {
        struct sched_amount *x = amounts_make(a, b->extra[i].name, arena);
        if (x == NULL) {
            ok = false;
            continue;
        }
        x->amount = amounts_sum(x->amount, times * b->extra[i].amount);
    }
    return ok;
}

static int64_t amounts_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool sched_amounts_max(struct sched_amounts *a, const struct sched_amounts *b, struct arena *arena)
{
    bool ok = true;
    a->cpu_m = amounts_larger(a->cpu_m, b->cpu_m);
    a->memory = amounts_larger(a->memory, b->memory);
    a->disk = amounts_larger(a->disk, b->disk);
    for (size_t i = 0; i < b->extra_count; i++) {
        struct sched_amount *x = amounts_make(a, b->extra[i].name, arena);
        if (x == NULL) {
            ok = false;
            continue;
        }
        x->amount = amounts_larger(x->amount, b->extra[i].amount);
    }
    return ok;
}

bool sched_amounts_zero(const struct sched_amounts *a)
{
    for (size_t i = 0; i < a->extra_count; i++) {
        if (a->extra[i].amount != 0) {
            return false;
        }
    }
    return a->cpu_m == 0 && a->memory == 0 && a->disk == 0;
}

/* Sets (does not add) one resource. Names that mean no amount a node hands out are left out. */
static bool amounts_set(struct sched_amounts *a, struct slice name, const struct quantity *q,
                        struct arena *arena)
{
    if (slice_eq(name, slice_str("cpu"))) {
        a->cpu_m = quantity_millis(q);
        return true;
    }
    int64_t units = quantity_units(q);
    if (slice_eq(name, slice_str("memory"))) {
        a->memory = units;
    } else if (slice_eq(name, slice_str("ephemeral-storage"))) {
        a->disk = units;
    } else if (memchr(name.data, '/', name.len) != NULL ||
               slice_starts_with(name, slice_str("hugepages-")) ||
               slice_starts_with(name, slice_str("attachable-volumes-"))) {
        struct sched_amount *x = amounts_make(a, name, arena);
        if (x == NULL) {
            return false;
        }
        x->amount = units;
    }
    return true;
}

/* Sets what the map names. */
static bool amounts_overlay(struct sched_amounts *a, const struct value *map, struct arena *arena,
                            int64_t *pods)
{
    bool ok = true;
    for (size_t i = 0; i < value_len(map); i++) {
        struct quantity q;
        const char *why = NULL;
        struct slice name = value_map_key(map, i);
        if (quantity_parse(value_slice(value_map_at(map, i)), &q, &why) != 0) {
            continue; /* the API server lets none in */
        }
        if (pods != NULL && slice_eq(name, slice_str("pods"))) {
            *pods = quantity_units(&q);
            continue;
        }
        ok = amounts_set(a, name, &q, arena) && ok;
    }
    return ok;
}

bool sched_amounts_of(const struct value *map, struct arena *arena, struct sched_amounts *out,
                      int64_t *pods)
{
    *out = (struct sched_amounts){0};
    return amounts_overlay(out, map, arena, pods);
}

/* ---- pods --------------------------------------------------------------------------------------
 */

static bool amounts_of_container(const struct value *container, bool with_defaults,
                                 struct arena *arena, struct sched_amounts *out)
{
    const struct value *map = value_find(
        schema_type(SCHEMA_CORE_V1_RESOURCE_REQUIREMENTS),
        value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), container, "resources"), "requests");
    bool ok = sched_amounts_of(map, arena, out, NULL);
    if (with_defaults && value_map_cget(map, "cpu") == NULL) {
        out->cpu_m = SCHED_CPU_M_DEFAULT;
    }
    if (with_defaults && value_map_cget(map, "memory") == NULL) {
        out->memory = SCHED_MEMORY_DEFAULT;
    }
    return ok;
}

/* What an init container needs beside those that run already; one that goes on running is added to
 * both sums. */
static bool amounts_init(const struct value *container, bool with_defaults, struct arena *arena,
                         struct sched_amounts *running, struct sched_amounts *sum,
                         struct sched_amounts *largest)
{
    struct sched_amounts here;
    const struct value *policy =
        value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), container, "restartPolicy");
    bool ok = amounts_of_container(container, with_defaults, arena, &here);
    if (value_is_text(policy, "Always")) {
        ok = sched_amounts_add(sum, &here, 1, arena) && ok;
        ok = sched_amounts_add(running, &here, 1, arena) && ok;
        return sched_amounts_max(largest, running, arena) && ok;
    }
    ok = sched_amounts_add(&here, running, 1, arena) && ok;
    return sched_amounts_max(largest, &here, arena) && ok;
}

bool sched_amounts_of_pod(const struct object *pod, bool with_defaults, struct arena *arena,
                          struct sched_amounts *out)
{
    const struct value *containers = object_get(pod, "spec.containers");
    const struct value *init = object_get(pod, "spec.initContainers");
    struct sched_amounts running = {0};
    struct sched_amounts largest = {0};
    struct sched_amounts overhead;
    bool ok = true;
    *out = (struct sched_amounts){0};
    for (size_t i = 0; i < value_len(containers); i++) {
        struct sched_amounts here;
        ok = amounts_of_container(&containers->items[i], with_defaults, arena, &here) && ok;
        ok = sched_amounts_add(out, &here, 1, arena) && ok;
    }
    for (size_t i = 0; i < value_len(init); i++) {
        ok = amounts_init(&init->items[i], with_defaults, arena, &running, out, &largest) && ok;
    }
    ok = sched_amounts_max(out, &largest, arena) && ok;
    ok = amounts_overlay(out, object_get(pod, "spec.resources.requests"), arena, NULL) && ok;
    ok = sched_amounts_of(object_get(pod, "spec.overhead"), arena, &overhead, NULL) && ok;
    return sched_amounts_add(out, &overhead, 1, arena) && ok;
}
