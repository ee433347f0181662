/* ca_file.c - which file, and reading it. */
#include "plugins/controllers/ca_file.h"

#include <stdio.h>

#include "plugins/controllers/conf.h"

#define CA_FILE_BYTES_MAX (256u * 1024u) /* a bundle of some dozen certificates */
#define CA_FILE_OWN       "pki/ca.crt"   /* in the data directory */

int ca_file_open(struct ca_file *f, const struct controllers *all, struct client term)
{
    const struct kvp_host *host = term.host;
    const char *file = all->conf->root_ca_file;
    const char *dir = KVP_HAS(host, data_dir) ? host->data_dir(term.ctx) : "";
    *f = (struct ca_file){.term = term};
    buf_init(&f->path);
    buf_init(&f->pem);
    if (file[0] != 0) {
        buf_printf(&f->path, "%s", file);
    } else if (dir[0] != 0) {
        buf_printf(&f->path, "%s/" CA_FILE_OWN, dir);
    }
    if (f->path.len > 0) {
        buf_append_byte(&f->path, 0);
    }
    return f->path.failed ? KVP_NO_MEMORY : 0;
}

void ca_file_close(struct ca_file *f)
{
    buf_close(&f->path);
    buf_close(&f->pem);
}

/* False: it could not be read, or is empty or too large. */
static bool ca_file_read(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return false;
    }
    bool ok = buf_reserve(out, CA_FILE_BYTES_MAX + 1);
    if (ok) {
        out->len = fread(out->data, 1, CA_FILE_BYTES_MAX + 1, f);
        ok = !ferror(f) && out->len > 0 && out->len <= CA_FILE_BYTES_MAX;
    }
    fclose(f);
    return ok;
}

bool ca_file_look(struct ca_file *f)
{
    struct buf pem;
    struct buf kept;
    buf_init(&pem);
    buf_init(&kept);
    bool ok = ca_file_read((const char *)f->path.data, &pem);
    if (!ok && !f->missed) {
        KVP_LOG(f->term.host, f->term.ctx, KVP_WARN, "root CA not read",
                kvp_f_str("file", (const char *)f->path.data));
    }
    f->missed = !ok;
    /* A copy of its size: the buffer it was read into is much larger. */
    bool changed = ok && !slice_eq(buf_slice(&pem), buf_slice(&f->pem)) &&
                   buf_append_slice(&kept, buf_slice(&pem));
    if (changed) {
        buf_close(&f->pem);
        f->pem = kept;
    } else {
        buf_close(&kept);
    }
    buf_close(&pem);
    return changed;
}
