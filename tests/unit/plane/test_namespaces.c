/* test_namespaces.c - what a namespace gets when it comes, and how it goes. */
#include "plugins/controllers/conditions.h"
#include "tests/unit/plane/nodes.h"

static void in_space(const char *json)
{
    plane_apply(json);
}

static struct condition space_condition(const char *name, const char *type)
{
    const struct object *o = plane_get(SCHEMA_CORE_V1_NAMESPACE, NULL, name);
    assert_non_null(o);
    return conditions_find(o, type);
}

static bool says(struct condition c, const char *reason, const char *message)
{
    return slice_eq(conditions_text(c, "reason"), slice_str(reason)) &&
           slice_eq(conditions_text(c, "message"), slice_str(message));
}

/* The root CA comes from a file. */
static void write_ca(char *path, const char *text)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void a_namespace_gets_account_and_root_ca(void **state)
{
    (void)state;
    char path[] = "/tmp/kvd-test-ca-XXXXXX";
    char option[128];
    write_ca(path, "-----BEGIN CERTIFICATE-----\nx\n");
    snprintf(option, sizeof option, "controllers,root-ca-file=%s", path);
    plane_open("apiserver", option, NULL);
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"x\"}}");
    PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "x", "default") != NULL, 1000);
    PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_CONFIG_MAP, "x", "kube-root-ca.crt") != NULL, 1000);
    plane_expect(SCHEMA_CORE_V1_CONFIG_MAP, "x", "kube-root-ca.crt", "data[ca.crt]",
                 "-----BEGIN CERTIFICATE-----\nx\n");
    assert_non_null(plane_get(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "kube-system", "default"));
    plane_delete(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "x", "default", NULL);
    plane_patch(SCHEMA_CORE_V1_CONFIG_MAP, "x", "kube-root-ca.crt", NULL,
                "{\"data\":{\"ca.crt\":\"forged\"}}");
    PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "x", "default") != NULL, 1000);
    PLANE_UNTIL(
        strcmp(plane_text(SCHEMA_CORE_V1_CONFIG_MAP, "x", "kube-root-ca.crt", "data[ca.crt]"),
               "forged") != 0,
        1000);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("renewed", f);
    fclose(f);
    PLANE_UNTIL(
        strcmp(plane_text(SCHEMA_CORE_V1_CONFIG_MAP, "x", "kube-root-ca.crt", "data[ca.crt]"),
               "renewed") == 0,
        70000);
    remove(path);
    plane_close();
}

static void space_with_content(void)
{
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"x\"}}");
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\","
             "\"namespace\":\"x\"},\"data\":{\"k\":\"v\"}}");
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\","
             "\"namespace\":\"x\"}}");
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\","
             "\"namespace\":\"x\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":"
             "\"c\",\"image\":\"i\"}]}}");
}

/* Pods first; the rest when they are gone; then the namespace. */
static void a_deleted_namespace_is_emptied_and_goes(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    node_join("n1");
    space_with_content();
    plane_delete(SCHEMA_CORE_V1_NAMESPACE, NULL, "x", NULL);
    plane_advance(6000);
    assert_true(says(space_condition("x", "NamespaceContentRemaining"), "SomeResourcesRemain",
                     "Some resources are remaining: pods. has 1 resource instances"));
    assert_true(says(space_condition("x", "NamespaceDeletionDiscoveryFailure"),
                     "ResourcesDiscovered", "All resources successfully discovered"));
    assert_non_null(plane_get(SCHEMA_CORE_V1_CONFIG_MAP, "x", "c"));
    assert_string_not_equal(plane_text(SCHEMA_CORE_V1_POD, "x", "p", "metadata.deletionTimestamp"),
                            "");
    plane_delete(SCHEMA_CORE_V1_POD, "x", "p", "{\"gracePeriodSeconds\":0}");
    PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_NAMESPACE, NULL, "x") == NULL, 2000);
    assert_null(plane_get(SCHEMA_CORE_V1_CONFIG_MAP, "x", "c"));
    assert_null(plane_get(SCHEMA_CORE_V1_SECRET, "x", "s"));
    assert_null(plane_get(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "x", "default"));
    plane_close();
}

/* An object with a finalizer holds it up, and the status says which. */
static void finalizers_hold_it_up(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"x\"}}");
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\","
             "\"namespace\":\"x\",\"finalizers\":[\"example.com/hold\"]}}");
    plane_delete(SCHEMA_CORE_V1_NAMESPACE, NULL, "x", NULL);
    plane_advance(8000);
    assert_true(says(space_condition("x", "NamespaceFinalizersRemaining"), "SomeFinalizersRemain",
                     "Some content in the namespace has finalizers remaining: "
                     "example.com/hold in 1 resource instances"));
    assert_true(conditions_is(space_condition("x", "NamespaceDeletionContentFailure"), "False"));
    plane_patch(SCHEMA_CORE_V1_CONFIG_MAP, "x", "c", NULL, "{\"metadata\":{\"finalizers\":null}}");
    PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_NAMESPACE, NULL, "x") == NULL, 20000);
    plane_close();
}

/* Leadership moves while it is being emptied. */
static void it_goes_whoever_leads(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    for (int i = 0; i < 20; i++) {
        space_with_content();
        plane_delete(SCHEMA_CORE_V1_NAMESPACE, NULL, "x", NULL);
        plane_delete(SCHEMA_CORE_V1_POD, "x", "p", "{\"gracePeriodSeconds\":0}");
        plane_advance(4990 + (uint64_t)i);
        plane_step((uint64_t)i);
        plane_follow();
        plane_lead();
        PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_NAMESPACE, NULL, "x") == NULL, 20000);
    }
    plane_close();
}

static struct object *token_secret(void)
{
    return plane_get(SCHEMA_CORE_V1_SECRET, "default", "t");
}

static struct slice token_of(const struct object *secret)
{
    return secret == NULL ? slice_of(NULL, 0)
                          : value_slice(value_map_cget(object_get(secret, "data"), "token"));
}

/* Asks the server who has this token. */
static const char *review(struct slice token)
{
    static char body[8192];
    snprintf(body, sizeof body,
             "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{"
             "\"token\":\"%.*s\"}}",
             (int)token.len, (const char *)token.data);
    struct plane_answer a = plane_ask(KVP_VERB_CREATE, SCHEMA_AUTHENTICATION_V1_TOKEN_REVIEW, NULL,
                                      NULL, NULL, body, NULL, NULL);
    assert_int_equal(a.status, 201);
    return a.body;
}

/* A Secret for an account's token gets one that authenticates, and goes with the account. */
static void secrets_get_tokens(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"bot\"}"
             "}");
    in_space("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"t\","
             "\"annotations\":{\"kubernetes.io/service-account.name\":\"bot\"}},"
             "\"type\":\"kubernetes.io/service-account-token\"}");
    PLANE_UNTIL(token_of(token_secret()).len > 0, 2000);
    struct slice token = token_of(token_secret());
    assert_non_null(strstr(review(token), "\"authenticated\":true"));
    assert_non_null(strstr(review(token), "system:serviceaccount:default:bot"));
    assert_string_equal(
        plane_text_of(token_secret(), "metadata.annotations[kubernetes.io/service-account.uid]"),
        plane_text(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "default", "bot", "metadata.uid"));
    plane_patch(SCHEMA_CORE_V1_SECRET, "default", "t", NULL, "{\"data\":{\"token\":null}}");
    PLANE_UNTIL(token_of(token_secret()).len > 0, 2000);
    plane_delete(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "default", "bot", NULL);
    PLANE_UNTIL(token_secret() == NULL, 2000);
    assert_null(strstr(review(token), "\"authenticated\":true"));
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(a_namespace_gets_account_and_root_ca),
        PLANE_TEST(a_deleted_namespace_is_emptied_and_goes),
        PLANE_TEST(finalizers_hold_it_up),
        PLANE_TEST(it_goes_whoever_leads),
        PLANE_TEST(secrets_get_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
