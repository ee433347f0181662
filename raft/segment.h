/* segment.h - a segment file's name and header.
 *
 * Segments are files of zeros, filled from the front: the header in the first sector, written
 * together with the first record, then records, each starting at a multiple of the sector. They
 * form a chain: the last record of a full segment names the next (a seal), every header names the
 * one before and repeats the number, index and check at which that one ended. So a segment that is
 * lost, swapped or taken from elsewhere is noticed from either side. Byte tables: raft/README.md,
 * "On disk". */
#ifndef KVD_RAFT_SEGMENT_H
#define KVD_RAFT_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_VERSION          1u
#define SEGMENT_NAME_BYTES       24u
#define SEGMENT_SECTOR_BYTES_MIN 512u
#define SEGMENT_SECTOR_BYTES_MAX 4096u
/* Header, one record, seal: what a segment of any use holds. */
#define SEGMENT_SECTORS_MIN 4u

/* "log-" and 16 hexadecimal digits. */
void segment_name(uint64_t generation, char name[SEGMENT_NAME_BYTES]);
/* More than any log comes to, and far from where numbers end: log_open refuses what lies above. */
#define SEGMENT_GENERATION_MAX ((uint64_t)INT64_MAX / 2)
/* False for other names; generations start at 1. */
bool segment_name_parse(const char *name, uint64_t *generation);

struct segment_head {
    uint64_t generation;
    uint64_t file_bytes;      /* size of the file */
    uint64_t first_seq;       /* number of the first record */
    uint64_t next_index;      /* index of the next entry when the segment begins */
    uint64_t prev_generation; /* the segment before; 0 = the log begins here */
    uint32_t prev_link;       /* link of its last record */
    uint32_t sector_bytes;    /* alignment of records; the first is at this offset */
};

enum segment_state {
    SEGMENT_STARTED,
    SEGMENT_BLANK,   /* the header's sector is zeros: prepared ahead, or its first write was cut off
                      */
    SEGMENT_TOO_NEW, /* a good header of a later version */
    SEGMENT_BAD
};

/* Fills the first `head->sector_bytes` bytes of a segment. */
void segment_head_encode(const struct segment_head *head, uint8_t *out);
/* Reads a header from the first 512 bytes of the file of this generation and size. */
enum segment_state segment_head_decode(const uint8_t *block, uint64_t generation,
                                       uint64_t file_bytes, struct segment_head *out);

/* True when the size of a file suits a segment with this sector: a multiple of 4096, whatever the
 * sector, so that a directory may move to a disk with larger ones. */
bool segment_size_valid(uint64_t file_bytes, uint32_t sector_bytes);

#endif
