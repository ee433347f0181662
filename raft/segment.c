/* segment.c - names and headers as bytes. */
#include "raft/segment.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "raft/record.h"

static const char SEGMENT_MAGIC[8] = "kvd-log";

void segment_name(uint64_t generation, char name[SEGMENT_NAME_BYTES])
{
    snprintf(name, SEGMENT_NAME_BYTES, "log-%016llx", (unsigned long long)generation);
}

bool segment_name_parse(const char *name, uint64_t *generation)
{
    if (strncmp(name, "log-", 4) != 0 || strlen(name) != 20) {
        return false;
    }
    uint64_t value = 0;
    for (const char *p = name + 4; *p != 0; p++) {
        if (*p >= '0' && *p <= '9') {
            value = value << 4 | (uint64_t)(*p - '0');
        } else if (*p >= 'a' && *p <= 'f') {
            value = value << 4 | (uint64_t)(*p - 'a' + 10);
        } else {
            return false;
        }
    }
    *generation = value;
    return value != 0 && value <= INT64_MAX;
}

bool segment_size_valid(uint64_t file_bytes, uint32_t sector_bytes)
{
    return file_bytes % SEGMENT_SECTOR_BYTES_MAX == 0 &&
           file_bytes >= (uint64_t)sector_bytes * SEGMENT_SECTORS_MIN &&
           file_bytes <= LOG_SEGMENT_BYTES_MAX;
}

void segment_head_encode(const struct segment_head *head, uint8_t *out)
{
    ASSERT(segment_size_valid(head->file_bytes, head->sector_bytes));
    memset(out, 0, head->sector_bytes);
    memcpy(out + 8, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC);
    bytes_put_le32(out + 16, SEGMENT_VERSION);
    bytes_put_le32(out + 20, head->sector_bytes);
    bytes_put_le64(out + 24, head->generation);
    bytes_put_le64(out + 32, head->file_bytes);
    bytes_put_le64(out + 40, head->first_seq);
    bytes_put_le64(out + 48, head->next_index);
    bytes_put_le64(out + 56, head->prev_generation);
    bytes_put_le32(out + 64, head->prev_link);
    record_block_seal(out, RECORD_BLOCK_SEGMENT,
                      &(struct record_id){.generation = head->generation}, 0);
}

enum segment_state segment_head_decode(const uint8_t *block, uint64_t generation,
                                       uint64_t file_bytes, struct segment_head *out)
{
    switch (record_block_check(block, RECORD_BLOCK_SEGMENT,
                               &(struct record_id){.generation = generation}, 0)) {
    case RECORD_BLOCK_ZERO:
        return SEGMENT_BLANK;
    case RECORD_BLOCK_BAD:
        return SEGMENT_BAD;
    case RECORD_BLOCK_GOOD:
        break;
    }
    if (memcmp(block + 8, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC) != 0) {
        return SEGMENT_BAD;
    }
    if (bytes_le32(block + 16) != SEGMENT_VERSION) {
        return bytes_le32(block + 16) > SEGMENT_VERSION ? SEGMENT_TOO_NEW : SEGMENT_BAD;
    }
    *out = (struct segment_head){
        .sector_bytes = bytes_le32(block + 20),
        .generation = bytes_le64(block + 24),
        .file_bytes = bytes_le64(block + 32),
        .first_seq = bytes_le64(block + 40),
        .next_index = bytes_le64(block + 48),
        .prev_generation = bytes_le64(block + 56),
        .prev_link = bytes_le32(block + 64),
    };
    bool sector_valid = out->sector_bytes >= SEGMENT_SECTOR_BYTES_MIN &&
                        out->sector_bytes <= SEGMENT_SECTOR_BYTES_MAX &&
                        (out->sector_bytes & (out->sector_bytes - 1)) == 0;
    if (!sector_valid || !segment_size_valid(file_bytes, out->sector_bytes) ||
        out->file_bytes != file_bytes || out->generation != generation || out->next_index == 0 ||
        out->prev_generation >= generation) {
        return SEGMENT_BAD;
    }
    return SEGMENT_STARTED;
}
