/* test_objects.c - what kvctl knows of objects without a server: kinds, trees, differences,
 * kubeconfigs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cli/objects.h"
#include "plugins/object/decode.h"
#include "plugins/object/yamljson.h"

struct scene {
    struct arena arena;
    struct buf out;
    struct errmsg e;
};

static int scene_open(void **state)
{
    struct scene *s = mem_xzalloc(sizeof *s);
    arena_init(&s->arena, 0);
    buf_init(&s->out);
    *state = s;
    return 0;
}

static int scene_close(void **state)
{
    struct scene *s = *state;
    arena_close(&s->arena);
    buf_close(&s->out);
    mem_free(s);
    return 0;
}

static struct value tree(struct scene *s, const char *json)
{
    struct value v;
    assert_int_equal(decode_json(slice_str(json), NULL, &s->arena, &v, NULL, &s->e), 0);
    return v;
}

static const char *written(struct scene *s)
{
    buf_append_byte(&s->out, 0);
    assert_false(s->out.failed);
    return (const char *)s->out.data;
}

#define ASSERT_OUT(s, want)                      \
    do {                                         \
        assert_string_equal(written(s), (want)); \
        buf_clear(&(s)->out);                    \
    } while (0)

static void kinds_are_found_by_their_names(void **state)
{
    struct scene *s = *state;
    static const struct {
        const char *word, *path;
    } rows[] = {
        {"pods", "/api/v1/namespaces/n/pods/x"},
        {"pod", "/api/v1/namespaces/n/pods/x"},
        {"po", "/api/v1/namespaces/n/pods/x"},
        {"Pod", "/api/v1/namespaces/n/pods/x"},
        {"deploy", "/apis/apps/v1/namespaces/n/deployments/x"},
        {"deployments.apps", "/apis/apps/v1/namespaces/n/deployments/x"},
        {"deployment.v1.apps", "/apis/apps/v1/namespaces/n/deployments/x"},
        {"events", "/api/v1/namespaces/n/events/x"},
        {"events.events.k8s.io", "/apis/events.k8s.io/v1/namespaces/n/events/x"},
        {"pods.v1", "/api/v1/namespaces/n/pods/x"},
        {"pods.", "/api/v1/namespaces/n/pods/x"},
    };
    static const char *const none[] = {"",        ".",     ".apps", "pods.apps",
                                       "pods.v2", "frobs", "p",     NULL};
    struct kind k;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(kind_find(slice_str(rows[i].word), &k));
        kind_path(&k, slice_str("n"), slice_str("x"), &s->out);
        ASSERT_OUT(s, rows[i].path);
    }
    for (const char *const *n = none; *n != NULL; n++) {
        assert_false(kind_find(slice_str(*n), &k));
    }
    assert_true(kind_find(slice_str("nodes"), &k));
    assert_false(kind_is_namespaced(&k));
    kind_path(&k, slice_of("", 0), slice_str("a/../b c"), &s->out);
    ASSERT_OUT(s, "/api/v1/nodes/a%2F..%2Fb%20c");
    assert_true(kind_of(slice_str("apps/v1"), slice_str("Deployment"), &k));
    kind_name(&k, &s->out);
    ASSERT_OUT(s, "deployment.apps");
    assert_true(kind_is_short(&k, slice_str("deploy")));
    assert_false(kind_is_short(&k, slice_str("deployment")));
    /* Lists and options are types, but nothing to ask for. */
    assert_false(kind_of(slice_str("v1"), slice_str("PodList"), &k));
    assert_false(kind_of(slice_str(""), slice_str(""), &k));
}

static void yaml_is_what_kubectl_prints(void **state)
{
    struct scene *s = *state;
    struct value v = tree(
        s, "{\"b\":{\"list\":[{\"name\":\"x\",\"more\":{\"a\":[]}},\"v\",[1,2],{}],\"empty\":{}},"
           "\"a\":\"plain\",\"k\":12,\"f\":1.5,\"t\":true,\"z\":null}");
    tree_yaml(&v, &s->out);
    ASSERT_OUT(s, "a: plain\nb:\n  empty: {}\n  list:\n  - more:\n      a: []\n    name: x\n  - v\n"
                  "  - - 1\n    - 2\n  - {}\nf: 1.5\nk: 12\nt: true\nz: null\n");
    tree_json(&v, &s->out);
    assert_non_null(
        strstr(written(s), "{\n    \"a\": \"plain\",\n    \"b\": {\n        \"empty\": {},"));
}

/* Whatever a text is, its YAML reads as that text again. */
static void yaml_of_texts_reads_back(void **state)
{
    struct scene *s = *state;
    static const char *const texts[] = {
        "",
        "true",
        "No",
        "null",
        "~",
        "12",
        "-1.5",
        "1e6",
        "0x1f",
        "0o17",
        "1_000",
        ".5",
        ".",
        "-",
        "- a",
        "-a",
        "--- a",
        "a: b",
        "a:b",
        "a:",
        "# a",
        "a # b",
        "a#b",
        "*x",
        "&x",
        "!t",
        "%d",
        "@a",
        "`a",
        "[a",
        "{a",
        "a]",
        "'a",
        "\"a",
        "? a",
        "|",
        ">",
        " a",
        "a ",
        "a\nb",
        "a\nb\n",
        "a\n\nb",
        "\na",
        "a\n\n",
        "a \nb",
        "\ta",
        "a\tb",
        "a\\b",
        "12:30",
        "1.2.3.4",
        "10.0.0.1",
        "2006-01-02T15:04:05Z",
        "2006-01-02",
        "nginx:1.2",
        "100Gi",
        "500m",
        "<<",
        "=",
        "y",
        "\x1b[31m",
        "\xc3\xa4",
        "a\r\nb",
        "1ef9bda7-1a97-4aa3-afd1-1b2bb9a557c6",
        "a\n  b\n",
        "  a\nb",
        "+1",
        "1:2:3",
        "0b1",
        "a,b",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct value map = value_empty(VALUE_MAP);
        struct value list = value_empty(VALUE_LIST);
        struct value back;
        struct buf json;
        assert_non_null(value_append(&s->arena, &list, value_text(slice_str(texts[i]))));
        assert_non_null(value_map_set(&s->arena, &map, slice_str("deep"), list));
        assert_non_null(
            value_map_set(&s->arena, &map, slice_str("flat"), value_text(slice_str(texts[i]))));
        if (*texts[i] != '\0') {
            assert_non_null(
                value_map_set(&s->arena, &map, slice_str(texts[i]), value_text(slice_str("key"))));
        }
        buf_init(&json);
        tree_yaml(&map, &s->out);
        if (yaml_to_json(buf_slice(&s->out), &s->arena, &json, NULL, &s->e) != 0) {
            fail_msg("%s: %s", texts[i], s->e.text);
        }
        assert_int_equal(decode_json(buf_slice(&json), NULL, &s->arena, &back, NULL, &s->e), 0);
        if (!value_equal(NULL, &map, &back)) {
            fail_msg("\"%s\" became\n%s", texts[i], written(s));
        }
        buf_close(&json);
        buf_clear(&s->out);
    }
    struct value ip = value_text(slice_str("10.0.0.1"));
    tree_yaml(&ip, &s->out);
    ASSERT_OUT(s, "10.0.0.1\n");
}

static void put_difference(void *data, struct slice path, const struct value *a,
                           const struct value *b)
{
    struct buf *out = data;
    buf_append_slice(out, path);
    buf_append_str(out, ": ");
    tree_brief(a, 20, out);
    buf_append_str(out, " -> ");
    tree_brief(b, 20, out);
    buf_append_byte(out, '\n');
}

static void trees_differ_by_paths(void **state)
{
    struct scene *s = *state;
    struct value a =
        tree(s, "{\"x\":1,\"same\":{\"k\":[1]},\"labels\":{\"a.b/c\":\"1\"},"
                "\"c\":[{\"name\":\"p\",\"v\":1},{\"name\":\"q\",\"v\":2}],\"l\":[1,2]}");
    struct value b = tree(s, "{\"y\":\""
                             "a very long text that is cut\",\"same\":{\"k\":[1]},"
                             "\"labels\":{\"a.b/c\":\"2\"},"
                             "\"c\":[{\"name\":\"q\",\"v\":3},{\"name\":\"r\"}],\"l\":[1]}");
    tree_diff(&a, &b, put_difference, &s->out);
    ASSERT_OUT(s, "c[p]: {\"name\":\"p\",\"v\":1} -> (none)\n"
                  "c[q].v: 2 -> 3\n"
                  "c[r]: (none) -> {\"name\":\"r\"}\n"
                  "l[1]: 2 -> (none)\n"
                  "labels[a.b/c]: 1 -> 2\n"
                  "x: 1 -> (none)\n"
                  "y: (none) -> a very long text tha...\n");
    tree_diff(&a, &a, put_difference, &s->out);
    ASSERT_OUT(s, "");
}

static void lines_differ_in_hunks(void **state)
{
    struct scene *s = *state;
    lines_diff(slice_str("a\nb\n"), slice_str("a\nb\n"), "x", "y", &s->out);
    ASSERT_OUT(s, "");
    lines_diff(slice_str("1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
               slice_str("1\n2\n3\n4\nfive\n6\n7\n8\n9\n"), "x", "y", &s->out);
    ASSERT_OUT(s, "--- x\n+++ y\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    lines_diff(slice_str("a\n"), slice_str(""), "x", "y", &s->out);
    ASSERT_OUT(s, "--- x\n+++ y\n@@ -1,1 +0,0 @@\n-a\n");
    lines_diff(slice_str(""), slice_str("a\nb"), "x", "y", &s->out);
    ASSERT_OUT(s, "--- x\n+++ y\n@@ -0,0 +1,2 @@\n+a\n+b\n");
    /* Two changes far apart are two hunks, near ones are one. */
    lines_diff(slice_str("a\n1\n2\n3\n4\n5\n6\n7\n8\nb\n"),
               slice_str("A\n1\n2\n3\n4\n5\n6\n7\n8\nB\n"), "x", "y", &s->out);
    ASSERT_OUT(s, "--- x\n+++ y\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -7,4 +7,4 @@\n 6\n 7\n 8\n"
                  "-b\n+B\n");
    lines_diff(slice_str("a\n1\n2\n3\n4\nb\n"), slice_str("A\n1\n2\n3\n4\nB\n"), "x", "y", &s->out);
    ASSERT_OUT(s, "--- x\n+++ y\n@@ -1,6 +1,6 @@\n-a\n+A\n 1\n 2\n 3\n 4\n-b\n+B\n");
}

/* Applying the difference by hand gives the other text: for many small ones. */
static void a_difference_leads_from_one_to_the_other(void **state)
{
    struct scene *s = *state;
    uint32_t dice = 7;
    for (int round = 0; round < 400; round++) {
        char texts[2][64];
        for (int t = 0; t < 2; t++) {
            size_t n = 0;
            for (int i = (int)((dice = dice * 1664525u + 1013904223u) >> 24) % 16; i > 0; i--) {
                dice = dice * 1664525u + 1013904223u;
                texts[t][n++] = (char)('a' + (dice >> 24) % 3);
                texts[t][n++] = '\n';
            }
            texts[t][n] = '\0';
        }
        lines_diff(slice_str(texts[0]), slice_str(texts[1]), "x", "y", &s->out);
        const char *at = written(s);
        char old[64] = "";
        char new[64] = "";
        /* Every hunk's lines are where its head says they are. */
        for (at = strstr(at, "@@"); at != NULL && *at != '\0';) {
            unsigned i;
            unsigned k;
            unsigned of_i;
            unsigned of_k;
            assert_int_equal(sscanf(at, "@@ -%u,%u +%u,%u @@", &i, &of_i, &k, &of_k), 4);
            at = strchr(at, '\n') + 1;
            size_t from_i = of_i > 0 ? 2 * (i - 1) : 2 * (size_t)i;
            size_t from_k = of_k > 0 ? 2 * (k - 1) : 2 * (size_t)k;
            old[0] = new[0] = '\0';
            while (*at == ' ' || *at == '-' || *at == '+') {
                if (*at != '+') {
                    strncat(old, at + 1, 2);
                }
                if (*at != '-') {
                    strncat(new, at + 1, 2);
                }
                at += 3;
            }
            assert_int_equal(strlen(old), 2 * of_i);
            assert_int_equal(strlen(new), 2 * of_k);
            assert_memory_equal(texts[0] + from_i, old, strlen(old));
            assert_memory_equal(texts[1] + from_k, new, strlen(new));
        }
        assert_int_equal(s->out.len == 1, strcmp(texts[0], texts[1]) == 0);
        buf_clear(&s->out);
    }
}

static void a_kubeconfig_is_read(void **state)
{
    struct scene *s = *state;
    struct kube_config c = {0};
    const char *text =
        "apiVersion: v1\nkind: Config\ncurrent-context: b\n"
        "clusters:\n- name: c\n  cluster: {server: \"https://h:6443\", "
        "certificate-authority-data: Q0E=}\n"
        "users:\n- name: u\n  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}\n"
        "contexts:\n- {name: a, context: {cluster: x, user: y}}\n"
        "- {name: b, context: {cluster: c, user: u, namespace: n}}\n";
    assert_int_equal(kube_config_parse(slice_str(text), ".", &s->arena, &c, &s->e), 0);
    assert_string_equal(c.server, "https://h:6443");
    assert_string_equal(c.space, "n");
    assert_true(slice_eq(c.ca, slice_str("CA")));
    assert_true(slice_eq(c.cert, slice_str("CERT")));
    assert_true(slice_eq(c.key, slice_str("KEY")));
    assert_false(c.insecure);
    static const char *const bad[] = {"",
                                      "[]",
                                      "a",
                                      "current-context: [1]",
                                      "contexts: 3",
                                      "current-context: a\ncontexts: [1, {name: a}]\n",
                                      "current-context: a\ncontexts: [{name: a, context: {}}]\n",
                                      NULL};
    for (const char *const *b = bad; *b != NULL; b++) {
        assert_int_equal(kube_config_parse(slice_str(*b), ".", &s->arena, &c, &s->e), ERR_INVALID);
        assert_true(s->e.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kinds_are_found_by_their_names, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(yaml_is_what_kubectl_prints, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(yaml_of_texts_reads_back, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(trees_differ_by_paths, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(lines_differ_in_hunks, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(a_difference_leads_from_one_to_the_other, scene_open,
                                        scene_close),
        cmocka_unit_test_setup_teardown(a_kubeconfig_is_read, scene_open, scene_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
