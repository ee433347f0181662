/* loader.h - from a file to a descriptor that can be trusted to be one.
 *
 * The file is checked (owner, mode), copied to <plugins_dir>/<base name>.<sha256>.so and the copy
 * is opened: dlopen answers a path it knows with the code it has, also after the file was replaced,
 * and nobody can overwrite what is mapped. RTLD_NOW names a missing symbol here instead of later;
 * RTLD_LOCAL keeps plugins apart; RTLD_NODELETE keeps their code mapped for threads and exit
 * handlers that outlive them. */
#ifndef KVD_PLUGINS_HOST_LOADER_H
#define KVD_PLUGINS_HOST_LOADER_H

#include "base/err.h"
#include "include/kvplugin.h"

struct loaded {
    const struct kvp_plugin *descriptor;
    char sha256[65];
};

/* Makes the directory when missing and removes the copies of earlier processes. Once per process.
 */
int loader_prepare(const char *plugins_dir, struct errmsg *e);
/* 0, or ERR_NOT_FOUND, ERR_INVALID, ERR_IO, ERR_NOMEM with one sentence that begins with the file.
 * Blocks on the disk. */
int loader_open(const char *path, const char *plugins_dir, struct loaded *out, struct errmsg *e);
/* Is this a descriptor this host can run? what: the file, for the sentence. */
int loader_check(const struct kvp_plugin *d, const char *what, struct errmsg *e);

#endif
