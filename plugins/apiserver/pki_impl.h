/* pki_impl.h - the inside of pki.h, for pki.c and pki_share.c. */
#ifndef KVD_APISERVER_PKI_IMPL_H
#define KVD_APISERVER_PKI_IMPL_H

#include "plugins/apiserver/pki.h"

struct pki {
    struct apiserver *api;
    struct pki_plan plan;
    struct pki_set set; /* in use */
    struct buf client_ca;
    struct buf agreed; /* of the last bundle all had: a hash; empty: not known */
    bool settled;
    bool working;     /* a pki_work is under way */
    bool again;       /* and another one is wanted */
    bool unreadable;  /* so was the row, and it was told */
    uint32_t ends[3]; /* series of a metric: authority, server, administrator */
    int64_t warned;   /* of the authority's end, in seconds since 1970 */
};

/* Something with files, off the lane. */
struct pki_work {
    struct pki *pki;
    struct pki_plan plan;
    struct pki_set set; /* what it begins with, and what came out */
    struct buf client_ca;
    struct buf agreed; /* to be remembered; empty: nothing */
    int64_t now;
    bool adopts; /* settles when it is done */
    int rc;
    struct errmsg e;
};

/* Makes the set fit and stores it, then puts it in force. set: what to begin with; copied. False:
 * not begun (try again later). */
bool pki_work_begin(struct pki *pki, const struct pki_set *set, bool adopts);

/* What is in force is what all members have. */
void pki_settle(struct pki *pki);

#endif
