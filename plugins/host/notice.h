/* notice.h - which notices a plugin has given lately (notice.c). */
#ifndef KVD_PLUGINS_HOST_NOTICE_H
#define KVD_PLUGINS_HOST_NOTICE_H

#include <stdint.h>

#define NOTICES_MAX 64u

struct notice {
    uint64_t hash;    /* of object and reason; 0 = free */
    uint64_t told_ms; /* 0 = not yet */
    uint64_t count;   /* since then */
};

struct notice_set {
    struct notice notices[NOTICES_MAX];
};

#endif
