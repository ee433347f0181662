/* kubeconfig.c - which API server, and as whom: kubeconfig files. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/yaml.h"
#include "cli/kube.h"

#define KUBECONFIG_BYTES_MAX (1024u * 1024u)
#define KUBECONFIG_PATH_MAX  4096u

/* A whole file into the arena. */
static int file_read(const char *path, struct arena *arena, struct slice *out, struct errmsg *e)
{
    struct buf all;
    int rc = 0;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return errmsg_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path,
                          strerror(errno));
    }
    buf_init(&all);
    for (;;) {
        if (!buf_reserve(&all, 65536)) {
            rc = errmsg_set(e, ERR_NOMEM, "out of memory");
            break;
        }
        size_t n = fread(all.data + all.len, 1, 65536, f);
        all.len += n;
        if (n == 0) {
            rc = ferror(f) ? errmsg_set(e, ERR_IO, "%s: %s", path, strerror(errno)) : 0;
            break;
        }
        if (all.len > KUBECONFIG_BYTES_MAX) {
            rc =
                errmsg_set(e, ERR_INVALID, "%s is larger than any kubeconfig or certificate", path);
            break;
        }
    }
    fclose(f);
    if (rc == 0) {
        *out = arena_dup(arena, buf_slice(&all));
        rc = out->data == NULL ? errmsg_set(e, ERR_NOMEM, "out of memory") : 0;
    }
    buf_close(&all);
    return rc;
}

/* A member's text; "" when it is not there. */
static const char *text_of(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *n = yaml_get(map, key);
    return n != NULL && n->type == YAML_TEXT && !yaml_is_null(n) ? n->text : "";
}

/* The entry of a list by its member `name`. */
static const struct yaml_node *entry(const struct yaml_node *root, const char *list,
                                     const char *name)
{
    const struct yaml_node *all = yaml_get(root, list);
    for (const struct yaml_node *n = all == NULL || all->type != YAML_LIST ? NULL : all->first;
         n != NULL; n = n->next) {
        if (n->type == YAML_MAP && strcmp(text_of(n, "name"), name) == 0) {
            return n;
        }
    }
    return NULL;
}

static int decode_base64(const char *text, struct arena *arena, struct slice *out)
{
    size_t len = strlen(text);
    size_t pad = 0;
    uint8_t *bytes = arena_alloc(arena, len / 4 * 3 + 4);
    if (bytes == NULL) {
        return ERR_NOMEM;
    }
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=') {
        pad++;
    }
    int n = len == 0 || len % 4 != 0 || len > KUBECONFIG_BYTES_MAX
                ? -1
                : EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
    if (n < (int)pad) {
        return ERR_INVALID;
    }
    *out = slice_of(bytes, (size_t)n - pad);
    return 0;
}

/* NAME-data in base64, or the file NAME. */
static int material(const struct yaml_node *map, const char *name, const char *base,
                    struct arena *arena, struct slice *out, struct errmsg *e)
{
    char key[64];
    char path[KUBECONFIG_PATH_MAX];
    snprintf(key, sizeof key, "%s-data", name);
    const char *data = text_of(map, key);
    const char *file = text_of(map, name);
    if (*data != '\0') {
        int rc = decode_base64(data, arena, out);
        return rc == 0 ? 0 : errmsg_set(e, rc, "%s is not base64", key);
    }
    if (*file == '\0') {
        return 0;
    }
    int n = snprintf(path, sizeof path, "%s%s%s", *file == '/' ? "" : base, *file == '/' ? "" : "/",
                     file);
    if (n < 0 || (size_t)n >= sizeof path) {
        return errmsg_set(e, ERR_INVALID, "%s: the path is too long", name);
    }
    return file_read(path, arena, out, e);
}

int kube_config_parse(struct slice text, const char *base, struct arena *arena,
                      struct kube_config *out, struct errmsg *e)
{
    struct yaml_node *root = NULL;
    int rc = yaml_load(text, arena, &root, e);
    if (rc != 0) {
        return rc;
    }
    const char *name = text_of(root, "current-context");
    const struct yaml_node *context = yaml_get(entry(root, "contexts", name), "context");
    if (context == NULL) {
        return errmsg_set(e, ERR_INVALID, "current-context \"%.100s\" is none of its contexts",
                          name);
    }
    const struct yaml_node *cluster =
        yaml_get(entry(root, "clusters", text_of(context, "cluster")), "cluster");
    const struct yaml_node *user = yaml_get(entry(root, "users", text_of(context, "user")), "user");
    if (cluster == NULL || *text_of(cluster, "server") == '\0') {
        return errmsg_set(e, ERR_INVALID, "the context \"%.100s\" has no cluster with a server",
                          name);
    }
    if (yaml_get(user, "exec") != NULL || yaml_get(user, "auth-provider") != NULL) {
        return errmsg_set(
            e, ERR_INVALID,
            "users that are made by a program (exec, auth-provider) are not supported");
    }
    bool insecure = false;
    if (yaml_get(cluster, "insecure-skip-tls-verify") != NULL &&
        !yaml_bool(yaml_get(cluster, "insecure-skip-tls-verify"), &insecure)) {
        return errmsg_set(e, ERR_INVALID, "insecure-skip-tls-verify is neither true nor false");
    }
    out->server = text_of(cluster, "server");
    out->server_name = text_of(cluster, "tls-server-name");
    out->space = text_of(context, "namespace");
    out->token = text_of(user, "token");
    out->insecure = insecure;
    rc = material(cluster, "certificate-authority", base, arena, &out->ca, e);
    if (rc == 0) {
        rc = material(user, "client-certificate", base, arena, &out->cert, e);
    }
    if (rc == 0) {
        rc = material(user, "client-key", base, arena, &out->key, e);
    }
    if (rc == 0 && *out->token == '\0' && *text_of(user, "tokenFile") != '\0') {
        struct slice token;
        rc = file_read(text_of(user, "tokenFile"), arena, &token, e);
        if (rc == 0) {
            size_t len = token.len;
            while (len > 0 && token.data[len - 1] <= ' ') {
                len--;
            }
            char *copy = arena_zalloc(arena, len + 1);
            if (copy == NULL) {
                return errmsg_set(e, ERR_NOMEM, "out of memory");
            }
            memcpy(copy, token.data, len);
            out->token = copy;
        }
    }
    return rc;
}

/* ---- finding it ----------------------------------------------------------------------------- */

static const char *variable(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=') {
            return *environment + n + 1;
        }
    }
    return "";
}

static int config_file(const char *path, struct arena *arena, struct kube_config *out,
                       struct errmsg *e)
{
    struct slice text;
    char base[KUBECONFIG_PATH_MAX];
    int rc = file_read(path, arena, &text, e);
    if (rc != 0) {
        return rc;
    }
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (len >= sizeof base) {
        return errmsg_set(e, ERR_INVALID, "the path of the kubeconfig is too long");
    }
    memcpy(base, len == 0 ? "." : path, len == 0 ? 1 : len);
    base[len == 0 ? 1 : len] = '\0';
    *out = (struct kube_config){.source = path};
    rc = kube_config_parse(text, base, arena, out, e);
    return rc == 0 ? 0 : errmsg_wrap(e, rc, "%s", path);
}

/* One place to look: FOLDER/NAME. ERR_NOT_FOUND: nothing there, go on; tried gains the path. */
static int try_file(const char *folder, const char *name, struct arena *arena, struct buf *tried,
                    struct kube_config *out, struct errmsg *e)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = arena_alloc(arena, size);
    if (path == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    snprintf(path, size, "%s%s%s", folder, *folder != '\0' && *name != '\0' ? "/" : "", name);
    buf_printf(tried, "%s%s", tried->len > 0 ? ", " : "", path);
    return access(path, F_OK) != 0 ? ERR_NOT_FOUND : config_file(path, arena, out, e);
}

static int try_all(char *const *environment, struct arena *arena, struct buf *tried,
                   struct kube_config *out, struct errmsg *e)
{
    const char *list = variable(environment, "KUBECONFIG");
    const char *data = variable(environment, "KVD_DATA_DIR");
    const char *home = variable(environment, "HOME");
    int rc = ERR_NOT_FOUND;
    /* kubectl merges the files of the list; here the first that exists is taken. */
    while (*list != '\0' && rc == ERR_NOT_FOUND) {
        size_t len = strcspn(list, ":");
        char *one = arena_zalloc(arena, len + 1);
        if (one == NULL) {
            return errmsg_set(e, ERR_NOMEM, "out of memory");
        }
        memcpy(one, list, len);
        list += len + (list[len] == ':');
        rc = len == 0 ? ERR_NOT_FOUND : try_file(one, "", arena, tried, out, e);
    }
    if (tried->len > 0) {
        return rc;
    }
    rc = try_file(*data != '\0' ? data : "kvd.data", "admin.kubeconfig", arena, tried, out, e);
    if (rc == ERR_NOT_FOUND && *home != '\0') {
        rc = try_file(home, ".kube/config", arena, tried, out, e);
    }
    return rc;
}

int kube_config_find(const char *server, const char *file, char *const *environment,
                     struct arena *arena, struct kube_config *out, struct errmsg *e)
{
    struct buf tried;
    *out = (struct kube_config){.space = "", .token = "", .server_name = ""};
    if (file != NULL && *file != '\0') {
        int rc = config_file(file, arena, out, e);
        if (rc == 0 && server != NULL && *server != '\0') {
            out->server = server;
        }
        return rc;
    }
    if (server != NULL && *server != '\0') {
        out->server = server;
        out->source = "--server";
        return 0;
    }
    buf_init(&tried);
    int rc = try_all(environment, arena, &tried, out, e);
    if (rc == ERR_NOT_FOUND) {
        errmsg_set(e, rc,
                   "no kubeconfig (looked for %.*s): give --kubeconfig FILE, set KUBECONFIG, or "
                   "give --server URL",
                   (int)tried.len, (const char *)tried.data);
    }
    buf_close(&tried);
    return rc;
}
