/* listing.h - walks the rows of a kind at one revision, page by page, and hands on those that the
 * selectors choose: for lists, initial events and deletecollection. */
#ifndef KVD_APISERVER_LISTING_H
#define KVD_APISERVER_LISTING_H

#include "plugins/apiserver/exchange.h"
#include "plugins/object/decode.h"
#include "plugins/object/fields.h"
#include "plugins/object/labels.h"

#define SELECTION_KEPT_MAX 8

/* What a request selects: its selectors, read and checked. */
struct selection {
    struct label_selector labels;
    struct field_selector fields;
    struct slice name;                           /* the only name that matches; "" = any */
    bool all;                                    /* nothing is left out */
    struct decode_kept kept[SELECTION_KEPT_MAX]; /* what is looked at, of these types */
    size_t kept_count;
};

/* The parameters of a list or watch fit together. False: answered with 422. */
bool selection_check_options(struct exchange *ex, bool watch);
/* From the request's parameters. False: answered with 400. */
bool selection_read(struct exchange *ex, struct selection *s);
/* Whether a value is selected. scratch is used and not cleared. 1, 0, or -1: cannot be decoded. */
int selection_matches(const struct selection *s, const struct schema_type *type, struct slice value,
                      struct arena *scratch);

struct listing {
    struct exchange *ex;
    const struct selection *selection;
    int64_t revision;  /* to read at, 0 = the newest; then the one read at */
    int64_t limit;     /* rows wanted; 0 = all */
    int64_t at_least;  /* the revision must be this at least */
    bool stale;        /* anything this member has will do */
    struct buf prefix; /* key of the kind or namespace, or of the one object */
    struct buf from;   /* key to go on from; empty = the beginning */
    int64_t count;     /* handed on so far */
    int64_t page_rows; /* of the next page */
    size_t page_bytes; /* values of the page that is being handed on */
    bool began;        /* a page has come: what this member has at its revision will do */
    bool more;         /* ended by the limit: from is where the rest begins */
    bool single;       /* prefix is the key of one object */
    bool over;         /* closed: a page that comes now is nobody's */
    struct arena scratch;
    /* A selected row; value lives during the call. Not 0: stop with 500. */
    int (*row)(struct listing *l, struct slice key, struct slice value, int64_t revision);
    /* A page is through and another one follows: true to go on at once, false to be continued by
     * listing_page. NULL: always. */
    bool (*page)(struct listing *l);
    /* Through; l is still open. Not called when an answer has been given, or the client is gone. */
    void (*done)(struct listing *l);
    /* The revision is compacted; l is still open. */
    void (*compacted)(struct listing *l);
    /* The store is not as far as wanted: l is closed, this is called when it is. */
    void (*restart)(struct exchange *ex);
    /* l closes: frees what is the caller's. May be NULL; called once. */
    void (*closed)(struct listing *l);
    void *data;
};

/* Sets up what is listed; the fields of the caller's choice may be set then. False: answered.
 * l lives in the exchange's arena. While a page is under way it closes itself when the client
 * leaves or an answer is given; at any other time closing it is the caller's. */
bool listing_init(struct listing *l, struct exchange *ex, const struct selection *s);
/* Reads the next page. */
void listing_page(struct listing *l);
/* Frees the buffers; harmless twice. */
void listing_close(struct listing *l);

#endif
