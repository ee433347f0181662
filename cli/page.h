/* page.h - one page of an endpoint by HTTP/1.1: what plugins serve beside gRPC. Blocking. */
#ifndef KVD_CLI_PAGE_H
#define KVD_CLI_PAGE_H

#include "base/buf.h"
#include "base/err.h"

/* GETs path (and query, escaped already) from an endpoint as conn_open takes them. The body is
 * appended to out. 0 with *status, whatever it is; ERR_INVALID, ERR_DEADLINE, ERR_IO or
 * ERR_MALFORMED (not HTTP, or more than bytes_max) with a sentence that names the endpoint. */
int page_get(const char *endpoint, const char *path, uint64_t deadline_ms, size_t bytes_max,
             unsigned *status, struct buf *out, struct errmsg *e);

#endif
