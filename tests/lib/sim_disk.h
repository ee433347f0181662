/* sim_disk.h - a struct disk in memory on virtual time that does what real disks do when it hurts.
 *
 * Operations complete inside sim_disk_run once their seeded latency has passed, never elsewhere. A
 * power cut leaves each sector of the write in flight old or new on its own, creations in flight
 * done or not, removals in flight partly done; what was completed survives. On top: slow
 * operations, a full disk, an input/output error at operation N, power lost inside a synchronous
 * call, flipped bits. Breaches of the contract in raft/disk.h by the caller (two writes at once,
 * misaligned, bytes changed under way) abort. One thread. Its own memory does not come from mem_*,
 * so that mem_fail_after counts only the code under test. */
#ifndef KVD_TESTS_LIB_SIM_DISK_H
#define KVD_TESTS_LIB_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/disk.h"

struct sim_disk_options {
    uint64_t seed;
    uint32_t sector_bytes;   /* [512] */
    uint32_t latency_ms_min; /* of an asynchronous operation [1]; 0 counts as 1 */
    uint32_t latency_ms_max; /* [3] */
    double slow_chance;      /* 0..1: an operation takes up to slow_ms_max instead [0] */
    uint32_t slow_ms_max;    /* [3000] */
    uint64_t room_bytes;     /* sum of file sizes beyond which ERR_NO_SPACE; 0 = no limit */
};

/* Empty disk. Never NULL. Zeros in *o mean the defaults in brackets. */
struct disk *sim_disk_new(const struct sim_disk_options *o);
/* Operations in flight are dropped without callback, handles still open are closed. */
void sim_disk_free(struct disk *d);

/* Moves the disk's clock to now_ms (never backwards) and completes what is due, in order. Call it
 * at every step of virtual time: operations start at the newest time given here. */
void sim_disk_run(struct disk *d, uint64_t now_ms);
/* When the next completion is due; UINT64_MAX when nothing is in flight. */
uint64_t sim_disk_next_ms(const struct disk *d);

/* Power cut: everything in flight ends as the top of this file says, its callbacks are never
 * called. Handles of before only take `close` afterwards. Dead-disk states (below) end: the disk is
 * back. */
void sim_disk_crash(struct disk *d);
/* The process dies but the power stays: what is in flight happened wholly or not at all. */
void sim_disk_kill(struct disk *d);

/* ---- faults --------------------------------------------------------------------------------- */

/* Bytes all files may take together; 0 = no limit. Shrinking it below what is used removes nothing.
 */
void sim_disk_set_room(struct disk *d, uint64_t bytes);
/* While set, writes into existing files fail with ERR_NO_SPACE too (a copy-on-write file system);
 * some of their sectors are written nevertheless. */
void sim_disk_set_full_writes(struct disk *d, bool on);
/* The Nth operation from now (1 = the next; all kinds count) fails with ERR_IO, and if it writes,
 * some sectors are written. 0 = off. */
void sim_disk_fail_at(struct disk *d, uint64_t n);
/* Power is lost inside the Nth write_now from now: its sectors are old or new each, a new file
 * exists or not, and this and all later calls answer ERR_IO until sim_disk_crash. 0 = off. */
void sim_disk_cut_in_write_now(struct disk *d, uint64_t n);
/* Inverts bit 0..7 of one byte of a file, at rest. */
void sim_disk_flip(struct disk *d, const char *name, uint64_t offset, unsigned bit);
/* Deletes a file behind everyone's back. */
void sim_disk_delete(struct disk *d, const char *name);

/* ---- looking at it --------------------------------------------------------------------------- */

/* The bytes of a file as they lie on the disk, writable by the test; NULL when there is none. Valid
 * until the file is removed or written over by sim_disk_put. */
uint8_t *sim_disk_file(struct disk *d, const char *name, size_t *len);
/* Name of file number i in order of names; NULL past the end. */
const char *sim_disk_name(const struct disk *d, size_t i);
/* Creates or replaces a file, durable at once. */
void sim_disk_put(struct disk *d, const char *name, const void *bytes, size_t len);
/* A copy of all files with fresh state (no operation in flight) and the given seed. */
struct disk *sim_disk_copy(const struct disk *d, uint64_t seed);
uint64_t sim_disk_used(const struct disk *d); /* bytes of all files */
size_t sim_disk_in_flight(const struct disk *d);
size_t sim_disk_handles(const struct disk *d); /* open ones */
/* Operations submitted since new, and bytes given to write: for budgets in tests. */
uint64_t sim_disk_ops(const struct disk *d);
uint64_t sim_disk_written(const struct disk *d);

#endif
