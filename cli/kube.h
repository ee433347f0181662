/* kube.h - the Kubernetes API server as kvctl's object commands see it: who it is (a kubeconfig, or
 * --server), and requests to it. HTTP and TLS are libcurl's. Blocking; one thread. */
#ifndef KVD_CLI_KUBE_H
#define KVD_CLI_KUBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Who is asked, and as whom. Texts lie in an arena; empty = none. */
struct kube_config {
    const char *source; /* where it comes from, for messages: a file, or "--server" */
    const char *server; /* "https://127.0.0.1:6443" */
    const char *space;  /* namespace of the context */
    const char *token;
    const char *server_name; /* in the certificate, instead of the server's */
    bool insecure;           /* the server's certificate is not checked */
    struct slice ca, cert, key;
};

/* Reads a kubeconfig's current context. base: the folder relative paths start at. 0, ERR_INVALID,
 * ERR_IO or ERR_NOMEM with a sentence. */
int kube_config_parse(struct slice text, const char *base, struct arena *arena,
                      struct kube_config *out, struct errmsg *e);
/* Finds it: server (NULL or "": not given) wins; then file, $KUBECONFIG, admin.kubeconfig in
 * $KVD_DATA_DIR or ./kvd.data, ~/.kube/config. 0, ERR_NOT_FOUND with a sentence that lists where it
 * was looked for, or as above. */
int kube_config_find(const char *server, const char *file, char *const *environment,
                     struct arena *arena, struct kube_config *out, struct errmsg *e);

struct kube;
struct kube_limits {
    uint64_t dial_timeout_ms, command_timeout_ms; /* 0 = none */
    size_t answer_bytes_max;
};
/* NULL with a sentence. config's texts outlive it. */
struct kube *kube_open(const struct kube_config *config, const struct kube_limits *limits,
                       struct errmsg *e);
void kube_close(struct kube *k); /* NULL is fine */

struct kube_request {
    const char *method;
    const char *path;         /* with its query */
    const char *content_type; /* of body; NULL = JSON */
    const char *accept;       /* NULL = JSON */
    struct slice body;
    /* Given: the answer is a stream of lines (a watch) that has no deadline; each is handed over;
     * other than 0 ends it. */
    int (*line)(void *data, struct slice line);
    void *data;
};
struct kube_answer {
    int status;
    struct slice body; /* in the arena; of a stream only when status is above 399 */
};
/* Sends it. 0 when there is an answer, of whatever status; ERR_IO, ERR_DEADLINE, ERR_NOMEM with a
 * sentence when not. A write whose answer got lost may have happened; the sentence says so. */
int kube_send(struct kube *k, const struct kube_request *r, struct arena *arena,
              struct kube_answer *a, struct errmsg *e);

/* Appends text for a path or query: all but letters, digits and -._~ as %XX. */
void kube_escape(struct buf *out, struct slice text);

#endif
