/* test_origin.c - who wrote a version of a key. */
#include "kv_fixture.h"

static struct buf name;

static int origin(struct kvf *f, const char *key, int64_t revision)
{
    buf_clear(&name);
    int err = kv_origin(f->kv, slice_str(key), revision, &name);
    assert_true(buf_append_byte(&name, 0));
    return err;
}

static void ask(struct kvf *f, const char *key, int64_t revision, int err, const char *plugin)
{
    assert_int_equal(origin(f, key, revision), err);
    assert_string_equal((const char *)name.data, plugin);
}

/* A write by a plugin's leadership. */
static void put_as(struct kvf *f, const char *key)
{
    RAFT(r);
    Etcdserverpb__EpochRequest e = ETCDSERVERPB__EPOCH_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    const char *plugin = "controllers";
    e.plugin = (char *)plugin;
    e.member = MEMBER;
    e.term = 3;
    e.epoch = 1;
    r.epoch = &e;
    put.key = bin(key);
    r.put = &put;
    r.origin = bin(plugin);
    assert_int_equal(kvf_apply(f, &r), 0);
}

static void each_version_has_its_writer(void **state)
{
    struct kvf f;
    (void)state;
    kvf_open(&f);
    buf_init(&name);
    assert_int_equal(kvf_put(&f, "k", "1"), 0); /* 2 */
    put_as(&f, "k");                            /* 3 */
    assert_int_equal(kvf_put(&f, "other", "1"), 0);
    assert_int_equal(kvf_delete(&f, "k", ""), 0); /* 5 */
    put_as(&f, "k");                              /* 6 */
    /* From memory, from disk, and after a restart. */
    for (int round = 0; round < 3; round++) {
        ask(&f, "k", 2, 0, "");
        ask(&f, "k", 3, 0, "controllers");
        ask(&f, "k", 4, ERR_NOT_FOUND, "");
        ask(&f, "k", 5, 0, "");
        ask(&f, "k", 6, 0, "controllers");
        ask(&f, "k", 7, ERR_FUTURE_REV, "");
        ask(&f, "k", 1, ERR_NOT_FOUND, "");
        ask(&f, "none", 6, ERR_NOT_FOUND, "");
        ask(&f, "", 6, ERR_EMPTY_KEY, "");
        if (round == 0) {
            kvf_checkpoint(&f);
        } else {
            kvf_crash(&f);
        }
    }
    assert_int_equal(kvf_compact(&f, 6), 0);
    kvf_checkpoint(&f);
    ask(&f, "k", 3, ERR_COMPACTED, "");
    ask(&f, "k", 6, 0, "controllers");
    buf_close(&name);
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_version_has_its_writer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
