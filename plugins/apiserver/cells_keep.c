/* cells_keep.c - the fields that columns look at, of the types that have many others. */
#include "plugins/apiserver/cells_keep.h"

#include <pthread.h>

#define CELLS_KEEP_FIELDS 8u

static const struct {
    enum schema_type_id type;
    const char *fields[CELLS_KEEP_FIELDS]; /* NULL ends the list */
} kept[] = {
    {SCHEMA_META_V1_OBJECT_META,
     {"name", "namespace", "creationTimestamp", "deletionTimestamp", "labels"}},
    {SCHEMA_CORE_V1_POD_SPEC, {"containers", "initContainers", "nodeName", "readinessGates"}},
    {SCHEMA_CORE_V1_CONTAINER, {"name", "image", "restartPolicy"}},
    {SCHEMA_CORE_V1_POD_STATUS,
     {"phase", "reason", "conditions", "podIPs", "nominatedNodeName", "containerStatuses",
      "initContainerStatuses"}},
    {SCHEMA_CORE_V1_POD_CONDITION, {"type", "status", "reason"}},
    {SCHEMA_CORE_V1_CONTAINER_STATUS,
     {"name", "state", "lastState", "ready", "restartCount", "started"}},
    {SCHEMA_CORE_V1_NODE_STATUS, {"conditions", "addresses", "nodeInfo"}},
    {SCHEMA_CORE_V1_NODE_CONDITION, {"type", "status"}},
};

#define CELLS_KEPT (sizeof kept / sizeof kept[0])

static struct decode_kept types[CELLS_KEPT];
static const struct decode_keep keep = {.types = types, .count = CELLS_KEPT};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
    for (size_t i = 0; i < CELLS_KEPT; i++) {
        types[i] = (struct decode_kept){.type = schema_type(kept[i].type)};
        for (size_t k = 0; k < CELLS_KEEP_FIELDS && kept[i].fields[k] != NULL; k++) {
            decode_keep_field(&types[i], kept[i].fields[k]);
        }
    }
}

const struct decode_keep *cells_keep(void)
{
    (void)pthread_once(&once, fill);
    return &keep;
}
