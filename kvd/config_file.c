/* config_file.c - settings from a file; see config_file.h. */
#include "kvd/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/gosyntax.h"
#include "base/limits.h"
#include "base/yaml.h"

struct config_file {
    struct flag_values *flags;
    struct arena *arena;
    const char *name;
    void (*warn)(void *data, const char *text);
    void *data;
};

/* Keys of etcd's file that mean nothing there either, or belong to parts refused elsewhere. */
static bool config_file_legacy(const char *key)
{
    static const char *const keys[] = {"discovery", "discovery-proxy", "discovery-fallback",
                                       "proxy", "snap-dir"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void config_file_warn(const struct config_file *c, const struct yaml_node *node,
                             const char *what)
{
    char text[256];
    snprintf(text, sizeof(text), "%s: line %u: %s \"%.100s\"", c->name, node->line, what,
             node->key);
    c->warn(c->data, text);
}

/* A list of scalars, comma-separated, in the arena. NULL: not such a list, or out of memory. */
static const char *config_file_join(const struct config_file *c, const struct yaml_node *list)
{
    size_t room = 1;
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        if (n->type != YAML_TEXT || strchr(n->text, ',') != NULL) {
            return NULL;
        }
        room += strlen(n->text) + 1;
    }
    char *joined = arena_alloc(c->arena, room);
    size_t at = 0;
    if (joined == NULL) {
        return NULL;
    }
    joined[0] = '\0';
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        at += (size_t)snprintf(joined + at, room - at, "%s%s", at > 0 ? "," : "", n->text);
    }
    return joined;
}

/* The value as the flag's syntax wants it. */
static int config_file_text(const struct config_file *c, enum flag_type type,
                            const struct yaml_node *node, const char **text, struct errmsg *e)
{
    bool flag = false;
    int64_t number = 0;
    if (node->type == YAML_LIST && (type == FLAG_TYPE_STRINGS || type == FLAG_TYPE_URLS)) {
        *text = config_file_join(c, node);
        return *text != NULL ? 0 : errmsg_set(e, ERR_INVALID, "expected a list of words");
    }
    if (node->type != YAML_TEXT) {
        return errmsg_set(e, ERR_INVALID, "expected one value, not a %s",
                          node->type == YAML_LIST ? "list" : "section");
    }
    *text = node->text;
    if (type == FLAG_TYPE_BOOL && yaml_bool(node, &flag)) {
        *text = flag ? "true" : "false";
    } else if (type == FLAG_TYPE_DURATION && yaml_int(node, &number)) {
        /* etcd's files have durations as nanoseconds. */
        char *copy = arena_alloc(c->arena, 32);
        if (copy == NULL) {
            return errmsg_set(e, ERR_NOMEM, "out of memory");
        }
        snprintf(copy, 32, "%lldns", (long long)number);
        *text = copy;
    }
    return 0;
}

static int config_file_take(const struct config_file *c, enum flag_id id,
                            const struct yaml_node *node, struct errmsg *e)
{
    const char *text = NULL;
    if (yaml_is_null(node)) {
        return 0;
    }
    if (flag_row(id)->type == FLAG_TYPE_PLUGINS && node->type == YAML_LIST) {
        for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
            int one = config_file_take(c, id, n, e);
            if (one != 0) {
                return one;
            }
        }
        return 0;
    }
    int err = config_file_text(c, flag_row(id)->type, node, &text, e);
    if (err == 0) {
        err = flags_set(c->flags, id, text, FLAG_FROM_FILE, e);
    }
    if (err != 0) {
        return errmsg_wrap(e, err, "%s: line %u: %s", c->name, node->line, flag_row(id)->name);
    }
    return 0;
}

/* client-transport-security and peer-transport-security: their keys are flags without (or with) a
 * "peer-" in front; a few are spelled otherwise. */
static enum flag_id config_file_security(const char *key, bool peer)
{
    char name[64];
    if (strcmp(key, "allowed-hostname") == 0) {
        return peer ? FLAG_peer_cert_allowed_hostname : FLAG_client_cert_allowed_hostname;
    }
    if (strcmp(key, "allowed-cn") == 0) {
        return peer ? FLAG_peer_cert_allowed_cn : FLAG_COUNT_;
    }
    if (!peer && strcmp(key, "skip-client-san-verification") == 0) {
        return FLAG_COUNT_;
    }
    snprintf(name, sizeof(name), "%s%.50s", peer ? "peer-" : "", key);
    enum flag_id id = flag_find(slice_str(name));
    return id != FLAG_COUNT_ && flag_row(id)->group == FLAG_GROUP_SECURITY ? id : FLAG_COUNT_;
}

static int config_file_section(const struct config_file *c, const struct yaml_node *section,
                               bool peer, struct errmsg *e)
{
    if (yaml_is_null(section)) {
        return 0;
    }
    if (section->type != YAML_MAP) {
        return errmsg_set(e, ERR_INVALID, "%s: line %u: invalid %s", c->name, section->line,
                          section->key);
    }
    for (const struct yaml_node *n = section->first; n != NULL; n = n->next) {
        enum flag_id id = config_file_security(n->key, peer);
        if (id == FLAG_COUNT_) {
            config_file_warn(c, n, "unknown key ignored:");
            continue;
        }
        int err = config_file_take(c, id, n, e);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static int config_file_key(const struct config_file *c, const struct yaml_node *node,
                           struct errmsg *e)
{
    if (strcmp(node->key, "client-transport-security") == 0) {
        return config_file_section(c, node, false, e);
    }
    if (strcmp(node->key, "peer-transport-security") == 0) {
        return config_file_section(c, node, true, e);
    }
    if (strcmp(node->key, "discovery-config") == 0) {
        if (!yaml_is_null(node)) {
            return errmsg_set(e, ERR_INVALID,
                              "%s: line %u: discovery-config is not supported yet (see "
                              "docs/status.md)",
                              c->name, node->line);
        }
        return 0;
    }
    if (config_file_legacy(node->key)) {
        return 0;
    }
    enum flag_id id = flag_find(slice_str(node->key));
    if (id == FLAG_COUNT_ || id == FLAG_config_file || id == FLAG_version ||
        flag_row(id)->support == FLAG_OBSOLETE) {
        config_file_warn(c, node, "unknown key ignored:");
        return 0;
    }
    return config_file_take(c, id, node, e);
}

int config_file_parse(struct flag_values *f, struct arena *arena, const char *name,
                      struct slice contents, void (*warn)(void *data, const char *text), void *data,
                      struct errmsg *e)
{
    struct config_file c = {.flags = f, .arena = arena, .name = name, .warn = warn, .data = data};
    struct yaml_node *root = NULL;
    int err = yaml_load(contents, arena, &root, e);
    if (err != 0) {
        return errmsg_wrap(e, err, "%s", name);
    }
    if (yaml_is_null(root)) {
        return 0;
    }
    if (root->type != YAML_MAP) {
        return errmsg_set(e, ERR_INVALID, "%s: line %u: expected settings as \"name: value\"", name,
                          root->line);
    }
    for (const struct yaml_node *n = root->first; n != NULL; n = n->next) {
        err = config_file_key(&c, n, e);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

/* The whole file in the arena; one byte over the limit is enough for the parser to refuse it. */
static int config_file_read(struct arena *arena, const char *path, struct slice *contents,
                            struct errmsg *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int err = errmsg_set(e, ERR_IO, "open %s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return err;
    }
    if (S_ISDIR(st.st_mode)) {
        close(fd);
        return errmsg_set(e, ERR_INVALID, "read %s: is a directory", path);
    }
    uint8_t *data = arena_alloc(arena, YAML_BYTES_MAX + 1);
    size_t len = 0;
    ssize_t got = 1;
    while (data != NULL && got != 0 && len < YAML_BYTES_MAX + 1) {
        got = read(fd, data + len, YAML_BYTES_MAX + 1 - len);
        if (got < 0 && errno != EINTR) {
            break;
        }
        len += got > 0 ? (size_t)got : 0;
    }
    int saved = errno;
    close(fd);
    if (data == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    if (got < 0) {
        return errmsg_set(e, ERR_IO, "read %s: %s", path, strerror(saved));
    }
    *contents = slice_of(data, len);
    return 0;
}

int config_file_load(struct flag_values *f, struct arena *arena, const char *path,
                     void (*warn)(void *data, const char *text), void *data, struct errmsg *e)
{
    struct slice contents = {0};
    int err = config_file_read(arena, path, &contents, e);
    return err != 0 ? err : config_file_parse(f, arena, path, contents, warn, data, e);
}
