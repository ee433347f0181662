/* bearer.h - whether a token is good, and whose it is. */
#ifndef KVD_APISERVER_BEARER_H
#define KVD_APISERVER_BEARER_H

#include "plugins/apiserver/exchange.h"
#include "plugins/apiserver/jwt.h"

/* One check, in the arena of its exchange. */
struct bearer {
    /* in */
    struct exchange *ex;
    struct slice token;                        /* kept */
    struct slice audiences[JWT_AUDIENCES_MAX]; /* one of them must be the token's */
    size_t audience_count;                     /* 0 = the server's own */
    void (*done)(struct bearer *b); /* once, now or later; not when the caller leaves meanwhile, or
                                       the store could not be asked (which is answered) */
    void *data;
    /* out */
    bool good;
    struct user user;
    struct slice matched[JWT_AUDIENCES_MAX]; /* wanted and in the token */
    size_t matched_count;
    const char *error; /* why it is not good; static */
    /* inside */
    struct jwt jwt;
    unsigned step;
    bool fresh; /* the newest state of what it is bound to is asked for */
};

/* Verifies issuer, signature, times and audiences, then that the account and what the token is
 * bound to are still there: first by what this member has, then by the newest state. */
void bearer_check(struct bearer *b);

#endif
