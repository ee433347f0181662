/* address.h - the range service addresses come from, and the addresses in it by number. Pure. */
#ifndef KVD_APISERVER_ADDRESS_H
#define KVD_APISERVER_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define ADDRESS_TEXT_BYTES 48u

/* Addresses 0 .. count-1; number 0 is the first one behind the network's own. Of version 4 the last
 * one of the network is not in it, as broadcasts go there. */
struct address_range {
    uint8_t network[16];
    bool v6;
    uint32_t count;
    char text[ADDRESS_TEXT_BYTES + 4]; /* 10.96.0.0/12 */
};

/* Reads 10.96.0.0/12 or fd00::/112. At most 2^20 addresses (/12, /108), at least 8. Returns NULL,
 * or what is wrong (static). */
const char *address_range_parse(const char *text, struct address_range *r);
/* The text of an address. */
void address_print(const struct address_range *r, uint32_t number, char out[ADDRESS_TEXT_BYTES]);
/* An address' number; false: it is not in the range, or no address. */
bool address_number(const struct address_range *r, struct slice text, uint32_t *number);
/* Whether a text is an address, and of which version. */
bool address_is(struct slice text, bool *v6);
/* The one form of an address: what address_print would write. False: it is none. */
bool address_canonical(struct slice text, char out[ADDRESS_TEXT_BYTES]);

#endif
