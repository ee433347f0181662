/* configuration.c - bounded decoding of libraft's member lists. */
#include "raft/configuration.h"

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"

#define CONFIGURATION_VERSION 1

/* One server at *at; false when the bytes end early or make no sense. */
static bool decode_server(struct slice in, size_t *at, uint64_t *id, const char **address,
                          int *role)
{
    if (in.len - *at < 8) {
        return false;
    }
    *id = bytes_le64(in.data + *at);
    *at += 8;
    size_t room = in.len - *at;
    if (room > MEMBER_ADDRESS_BYTES_MAX + 1u) {
        room = MEMBER_ADDRESS_BYTES_MAX + 1u;
    }
    const uint8_t *end = room == 0 ? NULL : memchr(in.data + *at, 0, room);
    if (end == NULL) {
        return false;
    }
    *address = (const char *)in.data + *at;
    *at = (size_t)(end - in.data) + 1;
    if (in.len - *at < 1) {
        return false;
    }
    *role = in.data[(*at)++];
    return *id != 0 && (*role == RAFT_VOTER || *role == RAFT_STANDBY || *role == RAFT_SPARE);
}

int configuration_decode(struct slice encoded, struct raft_configuration *out)
{
    raft_configuration_init(out);
    if (encoded.len < 9 || encoded.data[0] != CONFIGURATION_VERSION) {
        return ERR_MALFORMED;
    }
    uint64_t n = bytes_le64(encoded.data + 1);
    if (n == 0 || n > MEMBERS_MAX) {
        return ERR_MALFORMED;
    }
    size_t at = 9;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t id;
        const char *address;
        int role;
        int rv = RAFT_MALFORMED;
        if (decode_server(encoded, &at, &id, &address, &role)) {
            /* Refuses an id or address that occurs twice. */
            rv = raft_configuration_add(out, id, address, role);
        }
        if (rv != 0) {
            raft_configuration_close(out);
            raft_configuration_init(out);
            return rv == RAFT_NOMEM ? ERR_NOMEM : ERR_MALFORMED;
        }
    }
    return 0;
}

void configuration_clear_padding(void *encoded, size_t len)
{
    struct slice in = slice_of(encoded, len);
    if (len < 9 || in.data[0] != CONFIGURATION_VERSION) {
        return;
    }
    size_t at = 9;
    for (uint64_t n = bytes_le64(in.data + 1); n > 0; n--) {
        uint64_t id;
        const char *address;
        int role;
        if (!decode_server(in, &at, &id, &address, &role)) {
            return;
        }
    }
    memset((uint8_t *)encoded + at, 0, len - at);
}

unsigned configuration_index_of(const struct raft_configuration *c, uint64_t id)
{
    unsigned i = 0;
    while (i < c->n && c->servers[i].id != id) {
        i++;
    }
    return i;
}

const struct raft_server *configuration_get(const struct raft_configuration *c, uint64_t id)
{
    unsigned i = configuration_index_of(c, id);
    return i == c->n ? NULL : &c->servers[i];
}

unsigned configuration_voters(const struct raft_configuration *c)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < c->n; i++) {
        voters += c->servers[i].role == RAFT_VOTER;
    }
    return voters;
}

bool configuration_is_voter(const struct raft_configuration *c, uint64_t id)
{
    const struct raft_server *server = configuration_get(c, id);
    return server != NULL && server->role == RAFT_VOTER;
}

bool configuration_only_voter(const struct raft_configuration *c, uint64_t id)
{
    return configuration_is_voter(c, id) && configuration_voters(c) == 1;
}
