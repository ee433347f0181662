/* configuration.h - libraft's member lists, decoded with bounds and inspected.
 *
 * libraft 0.15 encodes configurations but offers no decoder, and its own trusts every length. Bytes
 * that reach us from a disk, a checkpoint or a peer go through configuration_decode first.
 * Format (little endian): u8 version 1, u64 n, n times { u64 id, address NUL-terminated, u8 role },
 * zero padding to a multiple of 8. */
#ifndef KVD_RAFT_CONFIGURATION_H
#define KVD_RAFT_CONFIGURATION_H

#include <stdbool.h>
#include <stdint.h>

#include <raft.h>

#include "base/limits.h"
#include "base/slice.h"

/* Encoded size of the largest configuration that decodes. */
#define CONFIGURATION_BYTES_MAX (16u + MEMBERS_MAX * (8u + MEMBER_ADDRESS_BYTES_MAX + 1u + 1u))

/* Decodes into *out, which the caller releases with raft_configuration_close. 0, ERR_MALFORMED
 * (also: no member, a member twice, more than MEMBERS_MAX, an unknown role) or ERR_NOMEM; on
 * failure *out is empty and needs no release. */
int configuration_decode(struct slice encoded, struct raft_configuration *out);
/* Zeros over the padding of an encoded configuration, which libraft's encoder leaves as the heap
 * had it: nobody else shall see that. Bytes that do not decode stay as they are. */
void configuration_clear_padding(void *encoded, size_t len);
/* The member's position, or c->n. */
unsigned configuration_index_of(const struct raft_configuration *c, uint64_t id);
const struct raft_server *configuration_get(const struct raft_configuration *c, uint64_t id);
unsigned configuration_voters(const struct raft_configuration *c);
bool configuration_is_voter(const struct raft_configuration *c, uint64_t id);
/* Is this member the one and only voter? */
bool configuration_only_voter(const struct raft_configuration *c, uint64_t id);

#endif
