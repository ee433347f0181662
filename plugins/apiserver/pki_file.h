/* pki_file.h - small files that are whole or as they were. Blocking; any thread. */
#ifndef KVD_APISERVER_PKI_FILE_H
#define KVD_APISERVER_PKI_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

#define PKI_PATH_BYTES 4352u

/* Reads a whole file of at most a megabyte. 0; ERR_NOT_FOUND, ERR_IO with the sentence. */
int pki_file_read(const char *path, struct buf *out, struct errmsg *e);
/* The same of what pki_files_write has written and not renamed yet. */
int pki_file_read_new(const char *path, struct buf *out, struct errmsg *e);

/* A file of keys is its owner's alone: takes the rights of others away. *corrected: it had to. 0,
 * also when there is no such file; ERR_IO with the sentence: it is not ours to change. */
int pki_file_guard(const char *path, bool *corrected, struct errmsg *e);

/* The name of a file or folder is on the disk, whatever is in it. 0 or ERR_IO. */
int pki_file_sync_folder(const char *path, struct errmsg *e);

struct pki_file {
    char path[PKI_PATH_BYTES];
    struct slice bytes;
    mode_t mode;
    int fd;        /* inside */
    bool replaced; /* inside */
};
/* Writes those that differ, and replaces them when all are written. flush: and are on the disk,
 * also those that were so before. 0 or ERR_IO with the sentence. */
int pki_files_write(struct pki_file *files, size_t count, bool flush, struct errmsg *e);

#endif
