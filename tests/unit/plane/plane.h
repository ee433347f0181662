/* plane.h - a test bed for the plugins of the control plane: the real plugin host over the real
 * store, on a clock of the test's.
 *
 * HOW TO. A test program is tests/unit/plane/test_<subject>.c; the Makefile links it with all
 * plugins of the control plane that are there, the store, the host and plane.c.
 *
 *     static void pods_get_a_node(void **state)
 *     {
 *         plane_open("apiserver", "scheduler", NULL);    // opened, leading, namespaces there
 *         plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"}}");
 *         plane_apply("{...}");
 *         PLANE_UNTIL(plane_text(SCHEMA_CORE_V1_POD, "default", "p", "spec.nodeName")[0], 5000);
 *         plane_expect(SCHEMA_CORE_V1_POD, "default", "p", "spec.nodeName", "n1");
 *         plane_close();
 *     }
 *     int main(void)
 *     {
 *         const struct CMUnitTest tests[] = {PLANE_TEST(pods_get_a_node)};
 *         return cmocka_run_group_tests(tests, NULL, NULL);
 *     }
 *
 * PLANE_TEST closes what a failed test left open. Nothing happens behind the test's back: plugins
 * run inside the calls here only, and time passes in plane_advance, plane_until and PLANE_UNTIL
 * only, from timer to timer, so hours take milliseconds. The wall clock is the same clock. It
 * starts at PLANE_START_MS with each plane_open; chance is seeded, so a run is the same each time.
 *
 * The test asks the API server as an administrator (group system:masters), through a plugin "probe"
 * that leads with the others. "apiserver" alone is opened with insecure-allow-all=true, so that
 * what the probe asks by itself (plane_client) is allowed too; "apiserver,insecure-allow-all=false"
 * gives everybody the rights he has. Requests fail the test with the server's answer when they are
 * refused, except plane_get of what is not there and plane_ask. All objects and texts handed out
 * live until plane_close. One plane per program at a time. */
#ifndef KVD_TESTS_UNIT_PLANE_PLANE_H
#define KVD_TESTS_UNIT_PLANE_PLANE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <kvplugin.h>

#include "plugins/client/client.h"

#define PLANE_START_MS 1767225600000ull /* 2026-01-01T00:00:00Z */

int plane_teardown(void **state);
#define PLANE_TEST(name) cmocka_unit_test_setup_teardown(name, NULL, plane_teardown)

/* ---- life ---------------------------------------------------------------------------------- */

/* Plugins by name, with options as behind --plugin: "apiserver", "scheduler,name=value"; NULL ends
 * the list. They are loaded in this order, then the probe; then the member leads. With an apiserver
 * it returns when the system's namespaces are there. A plugin whose init fails fails the test. */
void plane_open(const char *plugin, ...);
/* Ends plugins, then the store; under AddressSanitizer leaks show at the program's end. */
void plane_close(void);
/* A further plugin, the test's own, to be named in plane_open from now on. */
void plane_register(const struct kvp_plugin *descriptor);

/* Leadership: the terms of all plugins end (plane_follow), or begin in a new term (plane_lead). */
void plane_follow(void);
void plane_lead(void);
/* All plugins end and are loaded again, as when the process is restarted. The store stays. */
void plane_restart(void);
/* One plugin ends and stays away, until it is enabled again: with its options, as it was. */
void plane_disable(const char *plugin);
void plane_enable(const char *plugin);
/* Compacts the store at its present revision: who watches from before gets 410. */
void plane_compact(void);
/* The plugin's state as `kvctl plugin list` shows it: "leading", "refused", ... */
const char *plane_state(const char *plugin);

/* ---- time ---------------------------------------------------------------------------------- */

uint64_t plane_now_ms(void);
/* Runs what is due now. */
void plane_settle(void);
void plane_advance(uint64_t ms);
/* A few turns of plugins and store, each as small as can be: to stop in the middle of things. */
void plane_turns(unsigned n);
/* The same, each turn a millisecond long: a machine that is busy. */
void plane_crawl(unsigned n);
/* Until the condition holds, at most so many milliseconds; false: it never did. */
typedef bool plane_condition(void *data);
bool plane_until(plane_condition *condition, void *data, uint64_t ms);
/* To the next timer or by ms, whichever is sooner; returns by how much. */
uint64_t plane_step(uint64_t ms);
/* The same with an expression; fails the test when it never held. Asking (plane_get, ...) inside is
 * fine. Steps are at most PLANE_STEP_MS long, as conditions may depend on the clock alone. */
#define PLANE_STEP_MS 100u
#define PLANE_UNTIL(condition, ms)                                                             \
    do {                                                                                       \
        uint64_t plane_left = (ms);                                                            \
        plane_settle();                                                                        \
        while (!(condition)) {                                                                 \
            if (plane_left == 0) {                                                             \
                fail_msg("not so after %llu virtual ms: %s", (unsigned long long)(ms),         \
                         #condition);                                                          \
            }                                                                                  \
            plane_left -= plane_step(plane_left < PLANE_STEP_MS ? plane_left : PLANE_STEP_MS); \
        }                                                                                      \
    } while (0)

/* ---- asking -------------------------------------------------------------------------------- */

/* namespaces: NULL = cluster scope, or all of them for lists. */

struct plane_answer {
    int status;      /* as in HTTP; 0: there was no answer */
    int32_t outcome; /* of the request, then */
    int32_t reason;
    const char *body;    /* JSON */
    const char *message; /* of a refusal */
};
/* Any request. sub, name, body, query may be NULL. content_type: of a patch, NULL = merge patch. */
struct plane_answer plane_ask(enum kvp_verb verb, enum schema_type_id type, const char *sub,
                              const char *space, const char *name, const char *body,
                              const char *content_type, const char *query);

/* Creates the object, or merges it into the one that is there. apiVersion and kind say what it is.
 * Without metadata.namespace: "default" when the kind has namespaces. Returns what is stored. */
struct object *plane_apply(const char *json);
/* Asks for a creation and goes on at once: nothing has happened yet when it returns. */
void plane_send(enum schema_type_id type, const char *space, const char *json);
/* As plane_apply, made with printf. */
struct object *plane_applyf(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct object *plane_get(enum schema_type_id type, const char *space, const char *name); /* NULL */
/* query: "labelSelector=..." or NULL. *count objects, in the server's order. */
struct object **plane_list(enum schema_type_id type, const char *space, const char *query,
                           size_t *count);
size_t plane_count(enum schema_type_id type, const char *space, const char *query);
/* sub: NULL or "status". Compares when o carries a resourceVersion. */
struct object *plane_update(const struct object *o, const char *sub);
/* A merge patch. */
struct object *plane_patch(enum schema_type_id type, const char *space, const char *name,
                           const char *sub, const char *json);
/* options: DeleteOptions as JSON, or NULL. */
void plane_delete(enum schema_type_id type, const char *space, const char *name,
                  const char *options);

/* The value at a path as text; "" when the object or the value is not there. Numbers and booleans
 * are written out; lists, maps and messages as JSON. */
const char *plane_text(enum schema_type_id type, const char *space, const char *name,
                       const char *path);
const char *plane_text_of(const struct object *o, const char *path);
/* Fails the test unless plane_text says this. */
void plane_expect(enum schema_type_id type, const char *space, const char *name, const char *path,
                  const char *text);
/* How many Events of a namespace ("default" for cluster scope) have this reason, about an object of
 * this name (NULL = any), counting repetitions. */
size_t plane_events(const char *space, const char *about, const char *reason);

/* ---- inside a plugin ----------------------------------------------------------------------- */

/* Runs fn in a callback of the probe, then settles. */
void plane_inside(void (*fn)(void *data), void *data);
/* As plane_inside, without settling: what fn began is still under way. */
void plane_inside_only(void (*fn)(void *data), void *data);
/* The probe's contexts: of its term (writes; only while leading), and of the instance (reads). */
struct client plane_client(void);
struct client plane_root_client(void);
/* Runs fn in the probe's next start, stop or fini, once: where a plugin would open and close. */
void plane_on_start(void (*fn)(void *data), void *data);
void plane_on_stop(void (*fn)(void *data), void *data);
void plane_on_fini(void (*fn)(void *data), void *data);

/* Allocation number n of the plugins (not the store's) fails, once. Returns after settling; true:
 * it came to that. The clock stands still. */
bool plane_settle_failing(uint64_t n);

#endif
