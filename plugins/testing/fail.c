/* fail.c - how a test fails: one sentence, the place, the seed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/kvplugin-test.h"
#include "plugins/testing/world.h"

static void (*fail_hook)(const char *file, int line);
static char fail_sentence[1024];

void t_on_failure(void (*fail)(const char *file, int line))
{
    fail_hook = fail;
}

const char *t_failure(void)
{
    return fail_sentence;
}

static void fail_say(const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file != NULL ? file : "?", line, fail_sentence);
    if (world != NULL) {
        fprintf(stderr, "    at %llu ms; again with KVP_TEST_SEED=%llu\n",
                (unsigned long long)world->now_ms, (unsigned long long)world->seed);
    }
    if (fail_hook == NULL) {
        abort();
    }
    fail_hook(file, line);
}

void fail_test(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(fail_sentence, sizeof(fail_sentence), format, args);
    va_end(args);
    fail_say(file, line);
}

void t_fail_test_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(fail_sentence, sizeof(fail_sentence), format, args);
    va_end(args);
    fail_say(file, line);
}

void misuse(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (pthread_equal(pthread_self(), world->thread)) {
        fail_test(world->file, world->line, "%s: %s", world->plugin->name, text);
        return;
    }
    pthread_mutex_lock(&world->lock);
    if (world->misuse[0] == '\0') {
        snprintf(world->misuse, sizeof(world->misuse), "%s", text);
    }
    pthread_mutex_unlock(&world->lock);
}

void misuse_tell(void)
{
    char text[256];
    pthread_mutex_lock(&world->lock);
    snprintf(text, sizeof(text), "%s", world->misuse);
    world->misuse[0] = '\0';
    pthread_mutex_unlock(&world->lock);
    if (text[0] != '\0') {
        fail_test(world->file, world->line, "%s: %s", world->plugin->name, text);
    }
}

struct world *world_need(const char *what)
{
    if (world == NULL) {
        fprintf(stderr, "kvplugin-test: %s outside t_open .. t_close\n", what);
        abort();
    }
    return world;
}

/* ---- expectations -------------------------------------------------------------------------- */

void t_expect_at(const char *file, int line, int holds, const char *text)
{
    if (!holds) {
        fail_test(file, line, "expected: %s", text);
    }
}

void t_expect_int_at(const char *file, int line, const char *text, int64_t have, int64_t want)
{
    if (have != want) {
        fail_test(file, line, "%s is %lld, expected %lld", text, (long long)have, (long long)want);
    }
}

void t_expect_value_at(const char *file, int line, const char *key, const char *value)
{
    const char *have = t_get(key);
    if (have == NULL && value != NULL) {
        fail_test(file, line, "there is no key %s, expected value \"%.200s\"", key, value);
    } else if (have != NULL && value == NULL) {
        fail_test(file, line, "key %s has value \"%.200s\", expected no such key", key, have);
    } else if (have != NULL && strcmp(have, value) != 0) {
        fail_test(file, line, "key %s has value \"%.200s\", expected \"%.200s\"", key, have, value);
    }
}
