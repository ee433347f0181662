/* objects.h - what kvctl's commands about Kubernetes objects share: kinds by their names, requests
 * with their failures told, trees as YAML, JSON and differences. One thread. */
#ifndef KVD_CLI_OBJECTS_H
#define KVD_CLI_OBJECTS_H

#include "cli/cli.h"
#include "cli/kube.h"
#include "plugins/object/value.h"

/* ---- kinds (objects_kind.c) ---- */
struct kind {
    const struct schema_type *type;
    const struct schema_resource *resource;
};
/* By what people write: pods, pod, po, Pod, deployments.apps, deployment.v1.apps. The core group
 * comes first. false: no such kind. */
bool kind_find(struct slice word, struct kind *k);
/* By an object's own apiVersion and kind. */
bool kind_of(struct slice api_version, struct slice name, struct kind *k);
/* Is word one of its short names, such as po? */
bool kind_is_short(const struct kind *k, struct slice word);
bool kind_is_namespaced(const struct kind *k);
/* Appends /api/v1/namespaces/NS/pods/NAME. space empty: all namespaces, or cluster scope. */
void kind_path(const struct kind *k, struct slice space, struct slice name, struct buf *out);
/* Appends "deployment.apps". */
void kind_name(const struct kind *k, struct buf *out);

/* ---- a command and its server (objects.c) ---- */
struct objects {
    struct cli *cli;
    struct kube_config config;
    struct kube *kube;  /* NULL until the first request */
    struct slice space; /* of -n, of the kubeconfig, or "default" */
    bool all;           /* -A */
};
/* Options that these commands share; for their tables. */
#define OBJECTS_OPTIONS                                                                        \
    {"namespace", 'n', ARG_STRING, "", "namespace; else that of the kubeconfig, or default"},  \
        {"kubeconfig", 0, ARG_STRING, "", "file that says which API server, and who you are"}, \
    {                                                                                          \
        "server", 0, ARG_STRING, "", "URL of the API server, instead of the kubeconfig's"      \
    }
/* Reads the options. The kubeconfig is looked for when the first request is sent, and for its
 * namespace if need be. 0 or an exit code (printed). */
int objects_open(struct objects *o, struct cli *cli);
void objects_close(struct objects *o);

/* A request; *out (NULL: not wanted) is the answer as an untyped tree in the command's arena. 0, or
 * an exit code, printed: "pods "x" not found (NotFound)". missing not NULL: a 404 is no failure, it
 * is told there. */
int objects_call(struct objects *o, const char *method, const char *path, const char *content_type,
                 struct slice body, struct value *out, bool *missing);
/* The same with another accept, and as a stream when line is given. */
int objects_send(struct objects *o, const struct kube_request *r, struct value *out, bool *missing);

/* What a command line names: KIND NAME..., or KIND/NAME... */
struct target {
    struct kind kind;
    struct slice name; /* empty: all of that kind */
};
/* 0 with the list in the arena, or CLI_BAD_ARGS (printed). */
int objects_targets(struct cli *cli, struct target **list, size_t *count);
/* Exactly one, with a name. */
int objects_target(struct cli *cli, struct target *t);
/* Its namespace: empty in cluster scope. */
struct slice objects_space(const struct objects *o, const struct kind *k);

/* ---- untyped trees (objects_tree.c) ---- */
/* A member by names joined by dots; NULL when it is not there. */
const struct value *tree_get(const struct value *v, const char *path);
struct slice tree_text(const struct value *v, const char *path);
/* Reads JSON. 0 or CLI_FAILURE (printed). */
int tree_read(struct cli *cli, struct slice json, struct value *out);
/* As kubectl prints them: YAML with sorted keys, JSON indented by four. Ends with a newline. */
void tree_yaml(const struct value *v, struct buf *out);
void tree_json(const struct value *v, struct buf *out);
/* One line for people: texts as they are, the rest as JSON, cut at `most` bytes. */
void tree_brief(const struct value *v, size_t most, struct buf *out);
/* Calls for each leaf that differs: path as "spec.containers[web].image"; a or b NULL: it is not
 * there. Items of lists are matched by their name, type, key, ip or uid when all have one. */
typedef void tree_differs_fn(void *data, struct slice path, const struct value *a,
                             const struct value *b);
void tree_diff(const struct value *a, const struct value *b, tree_differs_fn *differs, void *data);

/* ---- lines (objects_lines.c) ---- */
/* Appends the unified difference of two texts, with three lines around each change; nothing when
 * they are the same. */
void lines_diff(struct slice a, struct slice b, const char *name_a, const char *name_b,
                struct buf *out);

/* ---- commands ---- */
/* get: does the command line mean objects? Words and options alone decide (help.c says how).
 * *wrong: an option of objects that stands beside a key or an option of keys; else NULL. */
bool objects_meant(const struct args *a, const char **wrong);
int objects_get(struct cli *cli);
/* Reads every document of -f: each one a tree. 0 or an exit code (printed). */
int objects_read_files(struct cli *cli, struct value **list, size_t *count);

#endif
