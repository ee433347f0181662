/* ca_file.h - the certificates that pods trust the API server by.
 *
 * They come from a file: option root-ca-file, else the authority that the API server keeps in the
 * data directory. It is small and local, and read at once, in callbacks. */
#ifndef KVD_CONTROLLERS_CA_FILE_H
#define KVD_CONTROLLERS_CA_FILE_H

#include "base/buf.h"
#include "plugins/controllers/controllers.h"

#define CA_FILE_REREAD_MS 10000u /* how often users look at it again */

struct ca_file {
    struct client term;
    struct buf path; /* with its NUL; empty: there is no file */
    struct buf pem;  /* empty: not read yet */
    bool missed;     /* that it could not be read was logged */
};

/* Finds out which file; reads nothing yet. 0 or KVP_NO_MEMORY; close it in any case. */
int ca_file_open(struct ca_file *f, const struct controllers *all, struct client term);
void ca_file_close(struct ca_file *f);
/* There is a file to look at. */
static inline bool ca_file_exists(const struct ca_file *f)
{
    return f->path.len > 0;
}
/* Reads it again. True: pem has changed. */
bool ca_file_look(struct ca_file *f);

#endif
