/* term_impl.h - the term file as log_open sees it. */
#ifndef KVD_RAFT_TERM_IMPL_H
#define KVD_RAFT_TERM_IMPL_H

#include <stdint.h>

#include "base/err.h"
#include "raft/disk.h"

#define TERM_FILE_NAME "term"

/* The stored term. 0, ERR_NOT_FOUND when there is no file, ERR_DAMAGED, ERR_TOO_NEW, ERR_IO. */
int term_file_peek(struct disk *disk, uint64_t *term, struct errmsg *e);

#endif
