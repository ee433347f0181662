/* validate_address.c - network addresses that others are sent to. */
#include <arpa/inet.h>
#include <string.h>

#include "plugins/object/validate_kinds.h"

bool validate_address(struct slice text, uint8_t out[16], bool *v6)
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    *v6 = memchr(text.data, ':', text.len) != NULL;
    return inet_pton(*v6 ? AF_INET6 : AF_INET, copy, out) == 1;
}

/* Addresses that mean something else on each machine are refused. */
void validate_reachable(struct causes *c, const struct place *p, struct slice text)
{
    uint8_t a[16];
    bool v6;
    static const uint8_t zero[16];
    static const uint8_t loop6[16] = {[15] = 1};
    if (!validate_address(text, a, &v6)) {
        cause_invalid_text(c, p, text, "must be a valid IP address");
        cause_invalid_text(c, p, text,
                           "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return;
    }
    if (memcmp(a, zero, v6 ? 16 : 4) == 0) {
        cause_invalid_text(c, p, text, "may not be unspecified (%.*s)", (int)text.len,
                           (const char *)text.data);
    }
    if (v6 ? memcmp(a, loop6, 16) == 0 : a[0] == 127) {
        cause_invalid_text(c, p, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if (v6 ? a[0] == 0xfe && (a[1] & 0xc0) == 0x80 : a[0] == 169 && a[1] == 254) {
        cause_invalid_text(c, p, text,
                           "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if (v6 ? a[0] == 0xff && (a[1] & 0x0f) == 2 : a[0] == 224 && a[1] == 0 && a[2] == 0) {
        cause_invalid_text(
            c, p, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}
