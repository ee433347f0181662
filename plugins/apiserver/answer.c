/* answer.c - a stored value becomes an answer, on the lane or away from it. */
#include "plugins/apiserver/answer.h"

#include "plugins/apiserver/verbs.h"

struct answer {
    int code;
    struct slice value;
    int64_t revision;
};

static bool answer_step(struct exchange *ex, void *data)
{
    const struct answer *a = data;
    answer_stored(ex, a->code, a->value, a->revision);
    return false;
}

static void answer_given(void *data)
{
}

void answer_value(struct exchange *ex, int code, struct slice value, int64_t revision)
{
    if (value.len <= EXCHANGE_INLINE_BYTES_MAX) {
        answer_stored(ex, code, value, revision);
        return;
    }
    struct answer *a = arena_alloc(&ex->arena, sizeof *a);
    struct slice copy = arena_dup(&ex->arena, value);
    if (a == NULL || copy.data == NULL) {
        exchange_no_memory(ex);
        return;
    }
    *a = (struct answer){.code = code, .value = copy, .revision = revision};
    exchange_work(ex, value.len, answer_step, answer_given, a);
}
