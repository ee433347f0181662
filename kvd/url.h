/* url.h - lists of URLs as etcd's flags take them: http://host:port, https://host:port,
 * unix://path, unixs://path, comma-separated, without paths on http. */
#ifndef KVD_KVD_URL_H
#define KVD_KVD_URL_H

#include "base/alloc.h"
#include "base/err.h"
#include "kvd/config.h"

/* More would not fit the front end's listeners either. */
#define KVD_URLS_MAX 16

/* Parses a list into memory of the arena, sorted and without duplicates, as etcd keeps it. Empty
 * text is an empty list. ERR_INVALID with etcd's sentence ("URL scheme must be http, https, unix,
 * or unixs: ..."), ERR_NOMEM. */
int kvd_urls_parse(struct arena *arena, const char *text, struct kvd_urls *out, struct errmsg *e);

#endif
