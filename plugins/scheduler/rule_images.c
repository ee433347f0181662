/* rule_images.c - ImageLocality: where large images lie already, a pod starts sooner. */
#include "plugins/scheduler/cycle.h"

#define IMAGES_BYTES_MIN (23ll * 1024 * 1024)
#define IMAGES_BYTES_MAX (1000ll * 1024 * 1024) /* per container */

static enum sched_go rule_images_pre_score(struct sched_cycle *c)
{
    if (c->cluster->image_nodes == 0 || c->pod->image_count == 0) {
        return SCHED_SKIP;
    }
    /* How many nodes have each image. */
    c->scoring[SCHED_IMAGES] = sched_cycle_alloc(c, c->pod->image_count * sizeof(size_t));
    return SCHED_GO;
}

static void rule_images_pre_score_node(struct sched_cycle *c, struct sched_node *n)
{
    size_t *having = c->scoring[SCHED_IMAGES];
    for (size_t i = 0; i < c->pod->image_count && having != NULL; i++) {
        having[i] += sched_node_image(n, c->pod->images[i]) >= 0 ? 1 : 0;
    }
}

/* An image that only few nodes have counts less: else all pods would follow it there. */
static int64_t rule_images_score(struct sched_cycle *c, struct sched_node *n)
{
    const size_t *having = c->scoring[SCHED_IMAGES];
    int64_t max = IMAGES_BYTES_MAX * (int64_t)c->pod->image_count;
    int64_t sum = 0;
    for (size_t i = 0; i < c->pod->image_count; i++) {
        int64_t bytes = sched_node_image(n, c->pod->images[i]);
        if (bytes >= 0) {
            sum += (int64_t)((double)bytes * ((double)having[i] / (double)c->cluster->count));
        }
    }
    sum = sum < IMAGES_BYTES_MIN ? IMAGES_BYTES_MIN : sum;
    sum = sum > max ? max : sum;
    return SCHED_SCORE_MAX * (sum - IMAGES_BYTES_MIN) / (max - IMAGES_BYTES_MIN);
}

const struct sched_rule sched_rule_images = {
    .name = "ImageLocality",
    .pre_score = rule_images_pre_score,
    .pre_score_node = rule_images_pre_score_node,
    .score = rule_images_score,
    .weight = 1,
};
