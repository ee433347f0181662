/* amounts.h - how much of each resource: what nodes have and pods ask for. Pure; any thread. */
#ifndef KVD_SCHEDULER_AMOUNTS_H
#define KVD_SCHEDULER_AMOUNTS_H

#include "base/alloc.h"
#include "plugins/object/object.h"

/* A resource that has no field of its own: nvidia.com/gpu, hugepages-2Mi. */
struct sched_amount {
    struct slice name;
    int64_t amount;
};

struct sched_amounts {
    int64_t cpu_m;  /* thousandths of a core */
    int64_t memory; /* bytes */
    int64_t disk;   /* bytes of ephemeral-storage */
    size_t extra_count;
    struct sched_amount *extra;
};

/* What one without a request counts as where scores are made. */
#define SCHED_CPU_M_DEFAULT  100
#define SCHED_MEMORY_DEFAULT (200ll * 1024 * 1024)

/* Of an extra resource; 0 when it is not there. */
int64_t sched_amounts_extra(const struct sched_amounts *a, struct slice name);
/* Adds times * b (1 or -1); new extras go into the arena, their names are b's. False when out of
 * memory: what was there before has been added all the same. Sums stay within int64. */
bool sched_amounts_add(struct sched_amounts *a, const struct sched_amounts *b, int times,
                       struct arena *arena);
/* The larger of each. As sched_amounts_add. */
bool sched_amounts_max(struct sched_amounts *a, const struct sched_amounts *b, struct arena *arena);
bool sched_amounts_zero(const struct sched_amounts *a);
/* A map of quantities as objects have it (NULL: nothing). Names are the map's. `pods` gets the
 * number under "pods" when it is not NULL. False when out of memory. */
bool sched_amounts_of(const struct value *map, struct arena *arena, struct sched_amounts *out,
                      int64_t *pods);

/* What a pod asks for: per resource the larger of all containers (with init containers that go on
 * running) and the most demanding init container (with those that run already), replaced by what
 * the pod as a whole asks for, plus overhead. with_defaults: containers without a request of CPU
 * or memory count as asking for the defaults above. False when out of memory. */
bool sched_amounts_of_pod(const struct object *pod, bool with_defaults, struct arena *arena,
                          struct sched_amounts *out);

#endif
