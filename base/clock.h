/* clock.h - the two clocks. Only the outermost layers (kvd/, rpc/, cli/) read them: kv/ and raft/
 * are given time, so that simulation can make it. */
#ifndef KVD_BASE_CLOCK_H
#define KVD_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC */
uint64_t clock_mono_ms(void);
uint64_t clock_wall_us(void); /* microseconds since 1970 */

#endif
