/* test_admission - what the server adds to pods and nodes, and what it refuses by other objects. */
#include "tests/unit/apiserver/server.h"

#define SEEDS 8u
#define PODS  "/api/v1/namespaces/default/pods"
#define SAS   "/api/v1/namespaces/default/serviceaccounts"
#define PCS   "/apis/scheduling.k8s.io/v1/priorityclasses"

static char body_[1024];

static const char *pod(const char *name, const char *more)
{
    snprintf(body_, sizeof body_,
             "{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"containers\":[{\"name\":\"c\","
             "\"image\":\"i\"}]}}",
             name, more);
    return body_;
}

static void account_story(void)
{
    server_open_all();
    struct asked a = ask("POST", PODS, pod("p", ""));
    expect_part(a, 201, "\"serviceAccountName\":\"default\",\"serviceAccount\":\"default\"");
    expect_part(a, 201, "\"volumes\":[{\"name\":\"kube-api-access-");
    expect_part(a, 201,
                "\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"expirationSeconds\":3607,"
                "\"path\":\"token\"}},{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{"
                "\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},{\"downwardAPI\":{\"items\":[{\"path\":"
                "\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":"
                "\"metadata.namespace\"}}]}}],\"defaultMode\":420}}]");
    expect_part(a, 201,
                "\"readOnly\":true,\"mountPath\":\"/var/run/secrets/kubernetes.io/"
                "serviceaccount\"}]");
    /* Nobody owns what admission adds. */
    t_expect(strstr(a.body, "f:serviceAccount") == NULL && strstr(a.body, "f:status") == NULL);
    expect_part(a, 201, "f:containers");
    expect_answer("POST", PODS, pod("q", "\"serviceAccountName\":\"none\","), 403,
                  "pods \\\"q\\\" is forbidden: error looking up service account default/none: "
                  "serviceaccount \\\"none\\\" not found");
    expect_answer("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"t\"}}", 201, NULL);
    expect_answer("POST", "/api/v1/namespaces/t/pods",
                  "{\"metadata\":{\"generateName\":\"g-\"},\"spec\":{\"containers\":[{\"name\":"
                  "\"c\",\"image\":\"i\"}]}}",
                  403,
                  "pods \\\"g-\\\" is forbidden: error looking up service account t/default: "
                  "serviceaccount \\\"default\\\" not found");
    expect_answer("POST", "/api/v1/namespaces/none/pods", pod("q", ""), 404,
                  "namespaces \\\"none\\\" not found");
    /* Without a token. */
    a = ask("POST", PODS, pod("q", "\"automountServiceAccountToken\":false,"));
    expect_part(a, 201, "\"serviceAccountName\":\"default\"");
    t_expect(strstr(a.body, "kube-api-access") == NULL);
    expect_answer("POST", SAS,
                  "{\"metadata\":{\"name\":\"quiet\"},\"automountServiceAccountToken\":false,"
                  "\"imagePullSecrets\":[{\"name\":\"s\"}]}",
                  201, NULL);
    a = ask("POST", PODS, pod("r", "\"serviceAccountName\":\"quiet\","));
    expect_part(a, 201, "\"imagePullSecrets\":[{\"name\":\"s\"}]");
    t_expect(strstr(a.body, "kube-api-access") == NULL);
    a = ask("POST", PODS,
            pod("s", "\"serviceAccountName\":\"quiet\",\"automountServiceAccountToken\":true,"
                     "\"imagePullSecrets\":[{\"name\":\"mine\"}],"));
    expect_part(a, 201, "\"imagePullSecrets\":[{\"name\":\"mine\"}]");
    expect_part(a, 201, "kube-api-access-");
    /* What is mounted there already stays. */
    a = ask("POST", PODS,
            "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"volumes\":[{\"name\":\"v\"}],"
            "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"volumeMounts\":[{\"name\":\"v\","
            "\"mountPath\":\"/var/run/secrets/kubernetes.io/serviceaccount\"}]}]}}");
    expect_part(a, 201, NULL);
    t_expect(strstr(a.body, "kube-api-access") == NULL);
    /* Mirrors have no account. */
    a = ask("POST", PODS,
            "{\"metadata\":{\"name\":\"mirror\",\"annotations\":{\"kubernetes.io/config.mirror\":"
            "\"x\"}},\"spec\":{\"nodeName\":\"n\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]"
            "}}");
    expect_part(a, 201, NULL);
    t_expect(strstr(a.body, "serviceAccount") == NULL);
    expect_answer("POST", PODS,
                  "{\"metadata\":{\"name\":\"mirror2\",\"annotations\":{\"kubernetes.io/"
                  "config.mirror\":\"x\"}},\"spec\":{\"nodeName\":\"n\",\"serviceAccountName\":"
                  "\"default\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}",
                  403, "a mirror pod may not reference service accounts");
    t_close();
}

static void pods_run_as_accounts(void **state)
{
    t_for_each_seed(SEEDS, account_story);
}

static void priority_story(void)
{
    server_open_all();
    expect_answer("POST", PODS, pod("a", ""), 201,
                  "\"priority\":0,\"enableServiceLinks\":true,\"preemptionPolicy\":"
                  "\"PreemptLowerPriority\"");
    expect_answer("POST", PODS, pod("b", "\"priorityClassName\":\"high\","), 403,
                  "pods \\\"b\\\" is forbidden: no PriorityClass with name high was found");
    expect_answer(
        "POST", PCS,
        "{\"metadata\":{\"name\":\"high\"},\"value\":1000,\"preemptionPolicy\":\"Never\"}", 201,
        NULL);
    struct asked a = ask("POST", PODS, pod("b", "\"priorityClassName\":\"high\","));
    expect_part(a, 201, "\"priorityClassName\":\"high\",\"priority\":1000");
    expect_part(a, 201, "\"preemptionPolicy\":\"Never\"");
    expect_answer("POST", PODS, pod("c", "\"priorityClassName\":\"high\",\"priority\":7,"), 403,
                  "the integer value of priority (7) must not be provided in pod spec; priority "
                  "admission controller computed 1000 from the given PriorityClass name");
    expect_answer("POST", PODS, pod("c", "\"preemptionPolicy\":\"Never\","), 403,
                  "the string value of PreemptionPolicy (Never) must not be provided in pod spec");
    expect_answer("POST", PCS,
                  "{\"metadata\":{\"name\":\"usual\"},\"value\":5,\"globalDefault\":true}", 201,
                  NULL);
    expect_answer("POST", PCS,
                  "{\"metadata\":{\"name\":\"other\"},\"value\":6,\"globalDefault\":true}", 403,
                  "priorityclasses.scheduling.k8s.io \\\"other\\\" is forbidden: PriorityClass "
                  "usual is already marked as default. Only one default can exist");
    expect_answer("POST", PODS, pod("c", ""), 201,
                  "\"priorityClassName\":\"usual\",\"priority\":5");
    /* A change that says nothing of it keeps it. */
    a = ask_typed("PATCH", PODS "/b", "application/merge-patch+json",
                  "{\"spec\":{\"priority\":null,\"activeDeadlineSeconds\":9}}");
    expect_part(a, 200, "\"priority\":1000");
    t_close();
}

static void pods_have_priorities(void **state)
{
    t_for_each_seed(SEEDS, priority_story);
}

static void toleration_story(void)
{
    server_open_all();
    expect_answer("POST", PODS, pod("a", ""), 201,
                  "\"tolerations\":[{\"key\":\"node.kubernetes.io/not-ready\",\"operator\":"
                  "\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300},{\"key\":"
                  "\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\",\"effect\":"
                  "\"NoExecute\",\"tolerationSeconds\":300}]");
    expect_answer("POST", PODS,
                  pod("b", "\"tolerations\":[{\"key\":\"node.kubernetes.io/not-ready\","
                           "\"operator\":\"Exists\",\"effect\":\"NoExecute\"}],"),
                  201, "\"effect\":\"NoExecute\"},{\"key\":\"node.kubernetes.io/unreachable\"");
    expect_answer("POST", PODS, pod("c", "\"tolerations\":[{\"operator\":\"Exists\"}],"), 201,
                  "\"tolerations\":[{\"operator\":\"Exists\"}]");
    struct asked a = ask_typed("PATCH", PODS "/a", "application/merge-patch+json",
                               "{\"spec\":{\"tolerations\":null}}");
    expect_part(a, 200, "\"tolerationSeconds\":300},{\"key\":\"node.kubernetes.io/unreachable\"");
    expect_answer(
        "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n\"}}", 201,
        "\"taints\":[{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":\"NoSchedule\"}]"
        "}");
    expect_answer("POST", "/api/v1/nodes",
                  "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"taints\":[{\"key\":"
                  "\"node.kubernetes.io/not-ready\",\"effect\":\"NoSchedule\"}]}}",
                  201,
                  "\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/not-ready\",\"effect\":"
                  "\"NoSchedule\"}]}");
    t_close();
}

static void pods_stay_five_minutes(void **state)
{
    t_for_each_seed(SEEDS, toleration_story);
}

static void switch_story(void)
{
    server_open("insecure-allow-all=true,disable-admission-plugins=ServiceAccount+Priority+"
                "DefaultTolerationSeconds+TaintNodesByCondition");
    struct asked a = ask("POST", PODS, pod("a", "\"serviceAccountName\":\"none\","));
    expect_part(a, 201, "\"serviceAccountName\":\"none\"");
    t_expect(strstr(a.body, "tolerations") == NULL && strstr(a.body, "\"priority\"") == NULL);
    expect_answer("POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n\"}}", 201, "\"spec\":{}");
    t_close();
}

static void plugins_are_switched_off(void **state)
{
    t_for_each_seed(SEEDS, switch_story);
    t_open_refused(kvplugin_entry(), "disable-admission-plugins=Nothing",
                   "unknown plugin in Nothing");
}

/* What is remembered of rows that many pods look at is what they say now; of more of them than are
 * remembered, too. */
static void changing_story(void)
{
    enum { SPACES = 100 };
    char path[96];
    server_open_all();
    for (int round = 0; round < 3; round++) {
        char text[160];
        snprintf(text, sizeof text, "{\"imagePullSecrets\":[{\"name\":\"s%d\"}]}", round);
        struct asked a = ask_typed("PATCH", SAS "/default", "application/merge-patch+json", text);
        expect_part(a, 200, NULL);
        snprintf(text, sizeof text,
                 "{\"metadata\":{\"name\":\"c\"},\"value\":%d,\"globalDefault\":true}", round + 1);
        expect_answer("POST", PCS, text, 201, NULL);
        for (int i = 0; i < 2; i++) {
            char name[16];
            snprintf(name, sizeof name, "p%d-%d", round, i);
            a = ask("POST", PODS, pod(name, ""));
            snprintf(text, sizeof text, "\"imagePullSecrets\":[{\"name\":\"s%d\"}]", round);
            expect_part(a, 201, text);
            snprintf(text, sizeof text, "\"priority\":%d,", round + 1);
            expect_part(a, 201, text);
        }
        expect_answer("DELETE", PCS "/c", "", 200, NULL);
    }
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < SPACES; i++) {
            char text[80];
            snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"n%d\"}}", i);
            if (turn == 0) {
                expect_answer("POST", "/api/v1/namespaces", text, 201, NULL);
            }
            snprintf(path, sizeof path, "/api/v1/namespaces/n%d/configmaps", i);
            snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"c%d\"}}", turn);
            expect_answer("POST", path, text, 201, NULL);
        }
    }
    /* Nothing is read again for what is known: it is made while all reads wait. */
    t_hold("get");
    expect_answer("POST", "/api/v1/namespaces/n99/configmaps", "{\"metadata\":{\"name\":\"e\"}}",
                  201, NULL);
    t_release("get");
    /* It ends: nothing comes into it any more, and that is what is told, not what else is wrong. */
    expect_answer("DELETE", "/api/v1/namespaces/n99", "", 200, "Terminating");
    expect_answer("POST", "/api/v1/namespaces/n99/configmaps", "{\"metadata\":{\"name\":\"d\"}}",
                  403, "because it is being terminated");
    expect_answer("DELETE", "/api/v1/namespaces/n98", "", 200, "Terminating");
    expect_answer("POST", "/api/v1/namespaces/n98/configmaps", "{\"metadata\":{\"name\":\"c1\"}}",
                  403, "because it is being terminated");
    t_delete("/registry/namespaces/n97");
    expect_answer("POST", "/api/v1/namespaces/n97/configmaps", "{\"metadata\":{\"name\":\"C\"}}",
                  404, "namespaces \\\"n97\\\" not found");
    expect_answer("POST", "/api/v1/namespaces/n96/configmaps", "{\"metadata\":{\"name\":\"C\"}}",
                  422, "metadata.name");
    expect_answer("POST", "/api/v1/namespaces/n96/configmaps", "{\"metadata\":{\"name\":\"c1\"}}",
                  409, "already exists");
    /* An account that is gone, and one that came. */
    t_delete("/registry/serviceaccounts/default/default");
    expect_answer("POST", PODS, pod("late", ""), 403, "serviceaccount \\\"default\\\" not found");
    t_put("/registry/serviceaccounts/default/default",
          "{\"kind\":\"ServiceAccount\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"default\","
          "\"namespace\":\"default\",\"uid\":\"sb\"},\"imagePullSecrets\":[{\"name\":\"last\"}]}");
    expect_answer("POST", PODS, pod("late", ""), 201, "\"imagePullSecrets\":[{\"name\":\"last\"}]");
    /* A class that says something else now: what fits it is right, and what fitted before is not.
     */
    t_put("/registry/priorityclasses/k", "{\"kind\":\"PriorityClass\",\"apiVersion\":\"scheduling."
                                         "k8s.io/v1\",\"metadata\":{\"name\":"
                                         "\"k\",\"uid\":\"k\"},\"value\":5}");
    expect_answer("POST", PODS, pod("k1", "\"priorityClassName\":\"k\","), 201, "\"priority\":5,");
    expect_answer("POST", PODS, pod("k2", "\"priorityClassName\":\"k\",\"priority\":6,"), 403,
                  "computed 5 from");
    t_put("/registry/priorityclasses/k", "{\"kind\":\"PriorityClass\",\"apiVersion\":\"scheduling."
                                         "k8s.io/v1\",\"metadata\":{\"name\":"
                                         "\"k\",\"uid\":\"k\"},\"value\":6}");
    expect_answer("POST", PODS, pod("k2", "\"priorityClassName\":\"k\",\"priority\":6,"), 201,
                  "\"priority\":6,");
    expect_answer("POST", PODS, pod("k3", "\"priorityClassName\":\"k\",\"priority\":5,"), 403,
                  "computed 6 from");
    t_delete("/registry/priorityclasses/k");
    expect_answer("POST", PODS, pod("k4", "\"priorityClassName\":\"k\","), 403,
                  "no PriorityClass with name k was found");
    t_close();
}

static void what_pods_look_at_may_change(void **state)
{
    t_for_each_seed(1, changing_story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_run_as_accounts),         cmocka_unit_test(pods_have_priorities),
        cmocka_unit_test(pods_stay_five_minutes),       cmocka_unit_test(plugins_are_switched_off),
        cmocka_unit_test(what_pods_look_at_may_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
