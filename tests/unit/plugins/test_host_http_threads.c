/* test_host_http_threads.c - http of a plugin on a thread of its own, under load and with clients
 * that leave in the middle; seen by TSan. */
#include "tests/unit/plugins/web_fixture.h"

enum { CLIENTS = 40, ROUNDS = 5 };

static int thread_setup(void **state)
{
    return web_setup_on(state, false);
}

static int lent_setup(void **state)
{
    int rv = web_setup_on(state, false);
    probe_plugin.lanes = KVP_LANE_THREAD | KVP_LANE_LOOP;
    return rv;
}

/* Every third client leaves without reading, every third uploads. */
static void many_clients_come_and_go(void **state)
{
    static struct peer peers[CLIENTS];
    (void)state;
    web_load();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            peer_open(&peers[i], i % 2 == 0 ? web.port : (uint16_t)web.own_port);
            if (i % 3 == 1) {
                peer_post(&peers[i], "/echo", 90000);
                peer_send_some(&peers[i], 90000);
            } else {
                peer_get(&peers[i], "/hello");
            }
        }
        for (int i = 0; i < CLIENTS; i++) {
            if (i % 3 == 0) {
                peer_close(&peers[i]);
            }
        }
        for (int i = 0; i < CLIENTS; i++) {
            if (i % 3 != 0) {
                const char *end = i % 3 == 1 ? "bbbbbbbb" : "hello\n";
                size_t least = i % 3 == 1 ? 90000 : 6;
                UNTIL(peer_heard(&peers[i], end) && peers[i].in.len > least);
                peer_close(&peers[i]);
            }
        }
    }
    UNTIL(web.closes == web.begins);
    assert_int_equal(web.wrong, 0);
    assert_int_equal(web.answered_in_closed, 0);
}

/* Writing and being told meet from both sides: nothing may be lost, and nobody may wait for ever.
 */
static void a_stream_goes_on_until_all_is_written(void **state)
{
    enum { TOTAL = 4 * 1024 * 1024 };
    struct peer p;
    size_t taken = 0;
    (void)state;
    web_load();
    peer_open(&p, (uint16_t)web.own_port);
    peer_get(&p, "/hold/1");
    UNTIL(web.begins == 1);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 200}), 0);
    while (taken < TOTAL) {
        int before = web.writables;
        size_t n = fill(TOTAL - taken);
        taken += n;
        if (taken < TOTAL) {
            UNTIL((peer_read(&p), web.writables > before || n > 0));
        }
    }
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    UNTIL(peer_heard(&p, "\r\n0\r\n\r\n"));
    assert_in_range(p.in.len, taken, taken + 200000);
    peer_close(&p);
    UNTIL(web.closes == 1);
    assert_int_equal(web.completes, 1);
}

static void the_end_meets_requests_on_their_way(void **state)
{
    static struct peer peers[CLIENTS];
    (void)state;
    web_load();
    for (int i = 0; i < CLIENTS; i++) {
        peer_open(&peers[i], i % 2 == 0 ? web.port : (uint16_t)web.own_port);
        if (i % 3 == 1) {
            peer_post(&peers[i], "/slow", 90000);
            peer_send_some(&peers[i], 50000);
        } else {
            peer_get(&peers[i], i % 3 == 0 ? "/hold/1" : "/hello");
        }
    }
    UNTIL(web.begins > 3);
    host_fixture_close();
    assert_int_equal(web.closes, web.begins);
    assert_int_equal(probe.finis, 1);
    for (int i = 0; i < CLIENTS; i++) {
        peer_close(&peers[i]);
    }
}

#define THREADS(test)                                                  \
    cmocka_unit_test_setup_teardown(test, thread_setup, web_teardown), \
        cmocka_unit_test_setup_teardown(test, lent_setup, web_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREADS(many_clients_come_and_go),
        THREADS(a_stream_goes_on_until_all_is_written),
        THREADS(the_end_meets_requests_on_their_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
