/* suite.h - the seeds that are kept: each once found something, or proves that something is found.
 */
#ifndef KVD_TESTS_SIM_SUITE_H
#define KVD_TESTS_SIM_SUITE_H

#include <stdbool.h>
#include <stdint.h>

struct suite_seed {
    unsigned members; /* 0 ends the list */
    uint64_t seed;
    bool plugins;
    bool plane;
    const char *why;
};
extern const struct suite_seed suite_seeds[];

struct suite_bug {
    const char *name; /* NULL ends the list */
    unsigned bugs;    /* enum node_bug, enum sim_bug */
    unsigned members;
    uint64_t seed;
};
extern const struct suite_bug suite_planted[];

#endif
