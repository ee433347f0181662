/* test_replica_status.c - what a replica set says of its pods; whose child an object is. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/claim.h"
#include "plugins/controllers/replica_status.h"

#define NOW_S 1700000000

static const char owner_json[] =
    "{'metadata':{'name':'web','namespace':'default','uid':'u1','generation':3},"
    "'spec':{'selector':{'matchLabels':{'app':'web'}},"
    "'template':{'metadata':{'labels':{'app':'web','v':'2'}}}}}";

static void counts(void **state)
{
    struct fixture *f = *state;
    struct object owner = decoded(f, SCHEMA_APPS_V1_REPLICA_SET, owner_json);
    static const char *const pods[] = {
        "{'metadata':{'labels':{'app':'web','v':'2'}}}",
        "{'metadata':{'labels':{'app':'web','v':'1'}},'status':{'conditions':[{'type':'Ready',"
        "'status':'True','lastTransitionTime':'2023-11-14T22:13:10Z'}]}}",
        "{'metadata':{'labels':{'app':'web','v':'2'}},'status':{'conditions':[{'type':'Ready',"
        "'status':'True','lastTransitionTime':'2023-11-14T22:13:15Z'}]}}",
        "{'status':{'phase':'Failed'}}",
        "{'metadata':{'deletionTimestamp':'2023-11-14T22:13:20Z'}}",
    };
    struct label_selector template;
    struct replica_fields fields;
    replica_fields_init(&fields);
    struct replica_counts n = {0};
    bool changed;
    assert_int_equal(label_selector_from_map(object_get(&owner, "spec.template.metadata.labels"),
                                             &f->arena, &template),
                     0);
    for (size_t i = 0; i < sizeof pods / sizeof pods[0]; i++) {
        struct object o = decoded(f, SCHEMA_CORE_V1_POD, pods[i]);
        struct replica_look look;
        replica_look(&fields, &o, &look);
        replica_count(&n, &look, &template, 10, NOW_S);
    }
    assert_int_equal(n.next_s, 5);
    assert_int_equal(replica_status_set(&owner, &n, NULL, slice_of("", 0), NOW_S, &changed), 0);
    assert_true(changed);
    buf_clear(&f->out);
    encode_field(schema_find(owner.type, slice_str("status")), object_get(&owner, "status"),
                 &f->out);
    assert_string_equal(plain(&f->out),
                        "{'replicas':3,'fullyLabeledReplicas':2,'readyReplicas':2,"
                        "'availableReplicas':1,'terminatingReplicas':1,'observedGeneration':3}");
    assert_int_equal(replica_status_set(&owner, &n, NULL, slice_of("", 0), NOW_S, &changed), 0);
    assert_false(changed);
}

static void failures_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct object owner = decoded(f, SCHEMA_APPS_V1_REPLICA_SET, owner_json);
    struct replica_counts n = {0};
    bool changed;
    assert_int_equal(
        replica_status_set(&owner, &n, "FailedCreate", slice_str("no room"), NOW_S, &changed), 0);
    assert_true(changed);
    assert_string_equal(text_at(f, &owner, "status.conditions[0].type"), "ReplicaFailure");
    assert_string_equal(text_at(f, &owner, "status.conditions[0].status"), "True");
    assert_string_equal(text_at(f, &owner, "status.conditions[0].reason"), "FailedCreate");
    assert_string_equal(text_at(f, &owner, "status.conditions[0].message"), "no room");
    assert_int_equal(object_int(&owner, "status.conditions[0].lastTransitionTime", 0), NOW_S);
    /* The first one stays. */
    assert_int_equal(
        replica_status_set(&owner, &n, "FailedDelete", slice_str("other"), NOW_S + 9, &changed), 0);
    assert_false(changed);
    assert_int_equal(replica_status_set(&owner, &n, NULL, slice_of("", 0), NOW_S, &changed), 0);
    assert_true(changed);
    assert_int_equal(value_len(object_get(&owner, "status.conditions")), 0);
}

#define OWNED_BY(uid)                                                                         \
    "'ownerReferences':[{'apiVersion':'apps/v1','kind':'ReplicaSet','name':'web','uid':'" uid \
    "','controller':true}]"
#define GOING "'deletionTimestamp':'2023-11-14T22:13:20Z'"

static void claims(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *pod;
        enum claim of_owner, of_going_owner;
    } cases[] = {
        {"{'metadata':{'labels':{'app':'web'}," OWNED_BY("u1") "}}", CLAIM_OWNED, CLAIM_OWNED},
        {"{'metadata':{'labels':{'app':'x'}," OWNED_BY("u1") "}}", CLAIM_RELEASE, CLAIM_OTHER},
        {"{'metadata':{'labels':{'app':'web'}," OWNED_BY("u2") "}}", CLAIM_OTHER, CLAIM_OTHER},
        {"{'metadata':{'labels':{'app':'web'}}}", CLAIM_ADOPT, CLAIM_OTHER},
        {"{'metadata':{'labels':{'app':'web'}," GOING "}}", CLAIM_OTHER, CLAIM_OTHER},
        {"{'metadata':{'labels':{'app':'web'}," GOING "," OWNED_BY("u1") "}}", CLAIM_OWNED,
         CLAIM_OWNED},
        {"{'metadata':{'labels':{'app':'x'}}}", CLAIM_OTHER, CLAIM_OTHER},
        {"{}", CLAIM_OTHER, CLAIM_OTHER},
    };
    struct object owner = decoded(f, SCHEMA_APPS_V1_REPLICA_SET, owner_json);
    struct object going =
        decoded(f, SCHEMA_APPS_V1_REPLICA_SET, "{'metadata':{'uid':'u1'," GOING "}}");
    struct label_selector s;
    struct errmsg e;
    assert_int_equal(label_selector_from(object_get(&owner, "spec.selector"), &f->arena, &s, &e),
                     0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct object o = decoded(f, SCHEMA_CORE_V1_POD, cases[i].pod);
        if (claim_decide(&owner, &s, &o) != cases[i].of_owner ||
            claim_decide(&going, &s, &o) != cases[i].of_going_owner) {
            fail_msg("case %zu", i);
        }
    }
}

static void patches(void **state)
{
    struct fixture *f = *state;
    struct object owner = decoded(f, SCHEMA_APPS_V1_REPLICA_SET, owner_json);
    claim_print_adopt(&owner, slice_str("p1"), &f->out);
    assert_string_equal(plain(&f->out),
                        "{'metadata':{'ownerReferences':[{'apiVersion':'apps/v1','kind':"
                        "'ReplicaSet','name':'web','uid':'u1','controller':true,"
                        "'blockOwnerDeletion':true}],'uid':'p1'}}");
    buf_clear(&f->out);
    claim_print_release(slice_str("u1"), slice_str("p1"), &f->out);
    assert_string_equal(
        plain(&f->out),
        "{'metadata':{'ownerReferences':[{'$patch':'delete','uid':'u1'}],'uid':'p1'}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(claims, setup, teardown),
        cmocka_unit_test_setup_teardown(patches, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
