/* suite.c - the seeds that are kept. */
#include "tests/sim/suite.h"

#include <stddef.h>

#include "raft/node.h"
#include "tests/sim/world.h"

const struct suite_seed suite_seeds[] = {
    {1, 1, false, false, "a first run of one member"},
    {3, 1, false, false, "a first run of three members"},
    {1, 1, true, false, "a first run of one member with plugins"},
    {3, 1, true, false, "a first run of three members with plugins"},
    {1, 1, false, true, "a first run of one member with the control plane"},
    {3, 1, false, true, "a first run of three members with the control plane"},
    {0, 0, false, false, NULL},
};

const struct suite_bug suite_planted[] = {
    {"G3: no barrier on winning", NODE_BUG_NO_BARRIER, 3, 1},
    {"reads without the confirmation round", NODE_BUG_NO_CONFIRM, 3, 11},
    {"reads before the own term's barrier", NODE_BUG_NO_OWN_TERM, 3, 2},
    {"acknowledged before the fsync, three members", NODE_BUG_EARLY_ACK, 3, 1},
    {"acknowledged before the fsync, one member", NODE_BUG_EARLY_ACK, 1, 1},
    {"plugins' stamps are not checked", SIM_BUG_NO_FENCE, 3, 8},
    {"plugins start before the epoch is applied", SIM_BUG_EARLY_START, 3, 1},
    {"plugins' writes carry no stamp, three members", SIM_BUG_NO_STAMP, 3, 1},
    {"plugins' writes carry no stamp, one member", SIM_BUG_NO_STAMP, 1, 1},
    {NULL, 0, 0, 0},
};
