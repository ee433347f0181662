/* address.c - a range of addresses. */
#include "plugins/apiserver/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_BITS_MAX 20u
#define ADDRESS_BITS_MIN 3u

static bool address_parse(struct slice text, uint8_t out[16], bool *v6)
{
    char copy[ADDRESS_TEXT_BYTES];
    if (text.len == 0 || text.len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    memset(out, 0, 16);
    *v6 = memchr(copy, ':', text.len) != NULL;
    return inet_pton(*v6 ? AF_INET6 : AF_INET, copy, out) == 1;
}

bool address_is(struct slice text, bool *v6)
{
    uint8_t bytes[16];
    return address_parse(text, bytes, v6);
}

bool address_canonical(struct slice text, char out[ADDRESS_TEXT_BYTES])
{
    uint8_t bytes[16];
    bool v6;
    return address_parse(text, bytes, &v6) &&
           inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, out, ADDRESS_TEXT_BYTES) != NULL;
}

/* The last four bytes as a number. */
static uint32_t address_tail(const uint8_t *bytes, bool v6)
{
    const uint8_t *p = bytes + (v6 ? 12 : 0);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

const char *address_range_parse(const char *text, struct address_range *r)
{
    const char *slash = strchr(text, '/');
    char *end;
    *r = (struct address_range){.v6 = false};
    if (slash == NULL ||
        !address_parse(slice_of(text, (size_t)(slash - text)), r->network, &r->v6)) {
        return "it is not a network as 10.96.0.0/12";
    }
    long prefix = strtol(slash + 1, &end, 10);
    long bits = (r->v6 ? 128 : 32) - prefix;
    if (end == slash + 1 || *end != 0 || bits < 0 || prefix < 0) {
        return "it is not a network as 10.96.0.0/12";
    }
    if (bits > (long)ADDRESS_BITS_MAX) {
        return "it is too large: at most 2^20 addresses, /12 or /108";
    }
    if (bits < (long)ADDRESS_BITS_MIN) {
        return "it is too small: at least 8 addresses, /29 or /125";
    }
    uint32_t tail = address_tail(r->network, r->v6);
    if ((tail & ((1u << bits) - 1)) != 0) {
        return "its address has bits behind the network's";
    }
    r->count = (1u << bits) - (r->v6 ? 1 : 2);
    char plain[ADDRESS_TEXT_BYTES];
    inet_ntop(r->v6 ? AF_INET6 : AF_INET, r->network, plain, sizeof plain);
    snprintf(r->text, sizeof r->text, "%s/%d", plain, (int)(prefix & 0xff));
    return NULL;
}

void address_print(const struct address_range *r, uint32_t number, char out[ADDRESS_TEXT_BYTES])
{
    uint8_t bytes[16];
    memcpy(bytes, r->network, sizeof bytes);
    uint32_t tail = address_tail(bytes, r->v6) + number + 1;
    uint8_t *p = bytes + (r->v6 ? 12 : 0);
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(tail >> (24 - 8 * i));
    }
    inet_ntop(r->v6 ? AF_INET6 : AF_INET, bytes, out, ADDRESS_TEXT_BYTES);
}

bool address_number(const struct address_range *r, struct slice text, uint32_t *number)
{
    uint8_t bytes[16];
    bool v6;
    if (!address_parse(text, bytes, &v6) || v6 != r->v6 ||
        (v6 && memcmp(bytes, r->network, 12) != 0)) {
        return false;
    }
    uint32_t tail = address_tail(bytes, v6);
    uint32_t first = address_tail(r->network, v6) + 1;
    *number = tail - first;
    return tail >= first && *number < r->count;
}
