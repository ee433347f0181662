/* dev.c - the settings --dev chooses, what it says when it serves, and what it removes. */
#include "kvd/dev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEV_URL_BYTES 32u

/* ---- settings ----------------------------------------------------------------------------------
 */

/* A socket on a free port of the loopback address; -1 = none. While it is open nobody else is given
 * that port; it is closed before the listener opens, and ports are not given again at once. */
static int dev_port(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
                    getsockname(fd, (struct sockaddr *)&a, &len) != 0)) {
        close(fd);
        fd = -1;
    }
    *port = ntohs(a.sin_port);
    return fd;
}

/* "http://127.0.0.1:PORT" of two free ports; NULL in *client: an error with its sentence. */
static int dev_urls(struct kvd_config *cfg, char **client, char **peer, struct errmsg *e)
{
    uint16_t ports[2];
    int a = dev_port(&ports[0]);
    int b = dev_port(&ports[1]);
    int err = a < 0 || b < 0
                  ? errmsg_set(e, ERR_IO, "--dev: no free port on the loopback address: %s",
                               strerror(errno))
                  : 0;
    if (a >= 0) {
        close(a);
    }
    if (b >= 0) {
        close(b);
    }
    if (err != 0) {
        return err;
    }
    *client = arena_alloc(&cfg->arena, DEV_URL_BYTES);
    *peer = arena_alloc(&cfg->arena, DEV_URL_BYTES);
    if (*client == NULL || *peer == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    snprintf(*client, DEV_URL_BYTES, "http://127.0.0.1:%u", ports[0]);
    snprintf(*peer, DEV_URL_BYTES, "http://127.0.0.1:%u", ports[1]);
    return 0;
}

/* Unless it is given, as if it were given like this. */
static int dev_set(struct flag_values *f, enum flag_id id, const char *text, struct errmsg *e)
{
    return flags_given(f, id) ? 0 : flags_set(f, id, text, FLAG_FROM_COMMAND, e);
}

static int dev_set_urls(struct kvd_config *cfg, struct flag_values *f, struct errmsg *e)
{
    char *client = NULL;
    char *peer = NULL;
    int err = dev_urls(cfg, &client, &peer, e);
    bool peers = flags_given(f, FLAG_listen_peer_urls) ||
                 flags_given(f, FLAG_initial_advertise_peer_urls) ||
                 flags_given(f, FLAG_initial_cluster);
    if (err == 0) {
        err = dev_set(f, FLAG_listen_client_urls, client, e);
    }
    if (err == 0) {
        err = dev_set(f, FLAG_advertise_client_urls, f->values[FLAG_listen_client_urls].text, e);
    }
    if (err == 0 && !peers) {
        err = dev_set(f, FLAG_listen_peer_urls, peer, e);
    }
    if (err == 0 && !peers) {
        err = dev_set(f, FLAG_initial_advertise_peer_urls, peer, e);
    }
    return err;
}

static int dev_set_dir(struct kvd_config *cfg, struct flag_values *f, struct errmsg *e)
{
    static const char name[] = "/kvd-dev.XXXXXX";
    const char *parent = getenv("TMPDIR");
    if (flags_given(f, FLAG_data_dir)) {
        return 0;
    }
    parent = parent != NULL && *parent != '\0' ? parent : P_tmpdir;
    size_t len = strlen(parent);
    char *dir = arena_alloc(&cfg->arena, len + sizeof(name));
    if (dir == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    memcpy(dir, parent, len);
    memcpy(dir + len, name, sizeof(name));
    if (mkdtemp(dir) == NULL) {
        return errmsg_set(e, ERR_IO, "--dev: no temporary directory in %s: %s", parent,
                          strerror(errno));
    }
    cfg->temporary_dir = dir;
    return dev_set(f, FLAG_data_dir, dir, e);
}

int dev_settings(struct kvd_config *cfg, struct flag_values *f, struct errmsg *e)
{
    cfg->dev = f->values[FLAG_dev].v.b;
    if (!cfg->dev) {
        return 0;
    }
    int err = dev_set_urls(cfg, f, e);
    if (err == 0) {
        err = dev_set(f, FLAG_log_format, "console", e);
    }
    return err == 0 ? dev_set_dir(cfg, f, e) : err;
}

/* ---- what to type next -------------------------------------------------------------------------
 */

/* The kvctl beside this program, when it was started by a path; else the one on PATH. */
static void dev_kvctl(const char *program, char *out, size_t room)
{
    const char *slash = strrchr(program, '/');
    snprintf(out, room, "%.*skvctl", slash != NULL ? (int)(slash + 1 - program) : 0, program);
    if (slash != NULL && access(out, X_OK) != 0) {
        snprintf(out, room, "kvctl");
    }
}

void dev_banner(const struct kvd_config *cfg, const char *program, struct buf *out)
{
    char kvctl[4096];
    const char *url = cfg->advertise_client.texts[0];
    const char *scheme = strstr(url, "://");
    const char *endpoint = strncmp(url, "http://", 7) == 0 && scheme != NULL ? scheme + 3 : url;
    bool plugins = cfg->plugins[0] != NULL || cfg->plugin_dir[0] != '\0';
    dev_kvctl(program, kvctl, sizeof(kvctl));
    buf_printf(out, "\nkvd --dev is ready on %s. Its data lies in %s%s.\n", endpoint, cfg->data_dir,
               cfg->temporary_dir != NULL ? " and goes when it stops" : "");
    if (plugins) {
        buf_append_str(out, "A plugin whose file changes is loaded again.\n");
    }
    buf_printf(out,
               "In another terminal:\n\n"
               "  %s --endpoints %s put /hello/world \"\"\n"
               "  %s --endpoints %s get /hello/world\n",
               kvctl, endpoint, kvctl, endpoint);
    if (plugins) {
        buf_printf(out, "  %s --endpoints %s plugin list\n", kvctl, endpoint);
    }
    buf_printf(out, "\nor without --endpoints, after\n\n  export KVCTL_ENDPOINTS=%s\n\n", endpoint);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static int dev_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)at;
    (void)(kind == FTW_DP ? rmdir(path) : unlink(path)); /* go on: as much as can be removed */
    return 0;
}

void dev_remove(struct kvd_config *cfg)
{
    if (cfg->temporary_dir == NULL) {
        return;
    }
    (void)nftw(cfg->temporary_dir, dev_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (access(cfg->temporary_dir, F_OK) == 0) {
        LOG(LOG_WARN, "the temporary directory could not be removed",
            F_STR("path", cfg->temporary_dir));
    }
    cfg->temporary_dir = NULL;
}
