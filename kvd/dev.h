/* dev.h - `kvd --dev`: one member for the author of a plugin, who has typed nothing else.
 *
 * What is not given is chosen: a temporary data directory, free ports on the loopback address, logs
 * as text. The store itself is the same: nothing is faster or less safe than without the flag.
 * kvd/dev_reload.h loads plugins again when their files change. Start-up and end, one thread. */
#ifndef KVD_KVD_DEV_H
#define KVD_KVD_DEV_H

#include "base/buf.h"
#include "base/err.h"
#include "kvd/config.h"
#include "kvd/flags.h"

/* With --dev: fills in the flags that were not given (texts in cfg's arena), makes the temporary
 * directory and notes it in cfg. Without: nothing. ERR_IO, ERR_NOMEM with a sentence. */
int dev_settings(struct kvd_config *cfg, struct flag_values *f, struct errmsg *e);

/* What to type next, now that it serves. program: argv[0], beside which kvctl may lie. Appends. */
void dev_banner(const struct kvd_config *cfg, const char *program, struct buf *out);

/* Removes the temporary directory, if dev_settings has made one. Blocks on the disk. Only what is
 * left undone by a second signal or kill -9 stays behind. */
void dev_remove(struct kvd_config *cfg);

#endif
