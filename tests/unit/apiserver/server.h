/* server.h - what the tests of the server share: the plugin in the test host, and a client. */
#ifndef KVD_TESTS_APISERVER_SERVER_H
#define KVD_TESTS_APISERVER_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <kvplugin-test.h>

#define SERVER_PORT    6443
#define SERVER_STEP_MS 50
#define SERVER_WAIT_MS 20000

static inline void server_failed(const char *file, int line)
{
    _fail(file, line);
}

/* What the leader makes: namespaces, priority classes, the service `kubernetes` with its Endpoints
 * and slice, and the ConfigMap about the authority of clients. */
#define SERVER_OBJECTS 10
static inline size_t server_count(void)
{
    return t_count("/registry/namespaces/") + t_count("/registry/priorityclasses/") +
           t_count("/registry/services/") + t_count("/registry/endpointslices/") +
           t_count("/registry/configmaps/");
}

/* A leader with its namespaces, and with the account that pods of `default` run as, which a
 * controller makes. */
static inline void server_open(const char *options)
{
    t_on_failure(server_failed);
    t_open(kvplugin_entry(), options);
    t_lead(3);
    for (int ms = 0; server_count() < SERVER_OBJECTS && ms < SERVER_WAIT_MS; ms++) {
        t_advance(1);
    }
    t_expect_int(server_count(), SERVER_OBJECTS);
    t_put("/registry/serviceaccounts/default/default",
          "{\"kind\":\"ServiceAccount\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"default\","
          "\"namespace\":\"default\",\"uid\":\"sa\"}}");
}

static inline void server_open_all(void)
{
    server_open("insecure-allow-all=true");
}

struct asked {
    uint32_t status;
    const char *body; /* until t_close or the next ask */
    struct t_http *x;
};

static inline struct t_http *begin_typed(const char *method, const char *path, const char *type,
                                         const char *body)
{
    struct kvp_pair headers[] = {{kvp_str("content-type"), kvp_str(type)},
                                 {kvp_str("user-agent"), kvp_str("tester/1.0")}};
    struct t_http_args a = {.size = sizeof a,
                            .port = SERVER_PORT,
                            .method = method,
                            .path = path,
                            .body = kvp_str(body),
                            .headers = headers,
                            .header_count = 2};
    return t_http_open(&a);
}

static inline struct asked finish(struct t_http *x)
{
    for (int ms = 0; !t_http_ended(x) && ms < SERVER_WAIT_MS; ms += SERVER_STEP_MS) {
        t_advance(SERVER_STEP_MS);
    }
    t_expect_int(t_http_ended(x), 1);
    return (struct asked){t_http_status(x), t_http_body(x).data, x};
}

static inline struct asked ask_typed(const char *method, const char *path, const char *type,
                                     const char *body)
{
    return finish(begin_typed(method, path, type, body));
}

static inline struct asked ask(const char *method, const char *path, const char *body)
{
    return ask_typed(method, path, "application/json", body);
}

/* Asks and expects a status, and a part of the answer (NULL: none in particular). */
#define expect_answer(method, path, body, code, part)         \
    do {                                                      \
        struct asked answer_ = ask((method), (path), (body)); \
        expect_part(answer_, (code), (part));                 \
    } while (0)

#define expect_part(answer, code, part) expect_part_at(__FILE__, __LINE__, (answer), (code), (part))

static inline void expect_part_at(const char *file, int line, struct asked a, uint32_t code,
                                  const char *part)
{
    if (a.status != code || (part != NULL && strstr(a.body, part) == NULL)) {
        t_fail_test_at(file, line, "%u instead of %u with %s: %s", a.status, code,
                       part == NULL ? "anything" : part, a.body);
    }
}

/* Copies what follows `mark` up to the next quote. */
static inline void pick(const char *body, const char *mark, char *out, size_t room)
{
    const char *at = strstr(body, mark);
    out[0] = 0;
    if (at != NULL) {
        snprintf(out, room, "%.*s", (int)strcspn(at + strlen(mark), "\""), at + strlen(mark));
    }
}

#endif
