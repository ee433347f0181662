/* podplan.c - reading what a container would do. */
#include "plugins/hollow-node/podplan.h"

#include <stdio.h>
#include <string.h>

/* Longest script that is looked at; a longer one is not understood. */
#define PODPLAN_SCRIPT_BYTES_MAX 256u
#define PODPLAN_SECONDS_MAX      (366.0 * 24 * 3600)

/* Seconds written as 5, 1.5, 5s, 2m, 1h or 1d, into milliseconds. */
static bool plan_time(const char *text, uint64_t *ms)
{
    double value = 0;
    char unit = 's';
    int used = 0;
    if (sscanf(text, "%lf%n", &value, &used) != 1 || !(value >= 0)) {
        return false;
    }
    if (text[used] != '\0') {
        unit = text[used++];
    }
    double scale = unit == 's'   ? 1
                   : unit == 'm' ? 60
                   : unit == 'h' ? 3600
                   : unit == 'd' ? 86400
                                 : 0;
    if (text[used] != '\0' || scale == 0 || value * scale > PODPLAN_SECONDS_MAX) {
        return false;
    }
    *ms = (uint64_t)(value * scale * 1000);
    return true;
}

static bool plan_code(const char *text, int32_t *code)
{
    int used = 0;
    int n = 0;
    if (sscanf(text, "%d%n", &n, &used) != 1 || text[used] != '\0' || n < 0 || n > 255) {
        return false;
    }
    *code = n;
    return true;
}

static const char *plan_base(const char *program)
{
    const char *slash = strrchr(program, '/');
    return slash == NULL ? program : slash + 1;
}

/* One simple command of count words. False when it is none of those understood; *over: the script
 * ends with it. */
static bool plan_command(char *const *words, size_t count, struct podplan *plan, bool *over)
{
    const char *program = plan_base(words[0]);
    uint64_t ms = 0;
    if (strcmp(program, "true") == 0 || strcmp(program, ":") == 0) {
        plan->code = 0;
    } else if (strcmp(program, "false") == 0) {
        plan->code = 1;
    } else if (strcmp(program, "exit") == 0 && count <= 2) {
        *over = true;
        return count == 1 || plan_code(words[1], &plan->code);
    } else if (strcmp(program, "sleep") == 0 && count == 2 && plan_time(words[1], &ms)) {
        plan->after_ms += ms;
        plan->code = 0;
    } else {
        return false;
    }
    return true;
}

/* Commands joined by ; && or newlines. */
static bool plan_script(char *script, struct podplan *plan)
{
    bool over = false;
    while (!over && *script != '\0') {
        char *words[4];
        size_t count = 0;
        bool and = false;
        while (*script != '\0' && *script != ';' && *script != '\n' && *script != '&') {
            size_t blank = strspn(script, " \t");
            size_t len = strcspn(script + blank, " \t;\n&");
            script += blank;
            if (len == 0) {
                continue;
            }
            if (count == 4) {
                return false;
            }
            words[count++] = script;
            script += len;
            /* Cut the word where a blank follows; other ends are cut below. */
            if (*script == ' ' || *script == '\t') {
                *script++ = '\0';
            }
        }
        char end = *script;
        if (end == '&') {
            and = script[1] == '&';
            if (!and) {
                return false; /* in the background: not understood */
            }
            *script++ = '\0';
        }
        if (end != '\0') {
            *script++ = '\0';
        }
        if (count > 0 && !plan_command(words, count, plan, &over)) {
            return false;
        }
        over = over || (and&&plan->code != 0);
    }
    return true;
}

/* command and args as one list of words; what is too long or too much is not understood. */
static void plan_read(const struct value *command, const struct value *args, struct podplan *plan)
{
    char text[PODPLAN_SCRIPT_BYTES_MAX];
    char *words[4];
    size_t count = 0;
    size_t at = 0;
    const struct value *lists[] = {command, args};
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < value_len(lists[l]); i++) {
            struct slice word = value_slice(&lists[l]->items[i]);
            if (count == 4 || at + word.len + 1 > sizeof text ||
                memchr(word.data, 0, word.len) != NULL) {
                return;
            }
            words[count++] = text + at;
            memcpy(text + at, word.data, word.len);
            at += word.len;
            text[at++] = '\0';
        }
    }
    /* Without a command the image decides, and there is none. */
    if (count == 0 || value_len(command) == 0) {
        return;
    }
    struct podplan trial = *plan;
    const char *program = plan_base(words[0]);
    bool shell = strcmp(program, "sh") == 0 || strcmp(program, "bash") == 0;
    bool over = false;
    bool understood =
        shell ? count == 3 && strcmp(words[1], "-c") == 0 && plan_script(words[2], &trial)
              : plan_command(words, count, &trial, &over);
    if (understood) {
        trial.ends = true;
        *plan = trial;
    }
}

static bool plan_annotation(const struct object *pod, const char *name, char out[32])
{
    struct slice text = value_slice(value_map_cget(object_get(pod, "metadata.annotations"), name));
    if (text.len == 0 || text.len > 31) {
        return false;
    }
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

void podplan_of(const struct object *pod, bool init, size_t i, struct podplan *plan)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct value *list = object_get(pod, init ? "spec.initContainers" : "spec.containers");
    const struct value *c = &list->items[i];
    char text[32];
    *plan = (struct podplan){0};
    plan->sidecar = init && value_is_text(value_at(t, c, "restartPolicy"), "Always");
    plan_read(value_at(t, c, "command"), value_at(t, c, "args"), plan);
    if (!init && plan_annotation(pod, PODPLAN_EXIT_AFTER, text) &&
        plan_time(text, &plan->after_ms)) {
        plan->ends = true;
        plan->code = 0;
        if (plan_annotation(pod, PODPLAN_EXIT_CODE, text)) {
            (void)plan_code(text, &plan->code);
        }
    }
    if (plan->sidecar) {
        plan->ends = false;
    }
    const struct value *delay = value_at(t, c, "readinessProbe.initialDelaySeconds");
    if (delay != NULL && delay->kind == VALUE_INT && delay->integer > 0) {
        plan->ready_ms = (uint64_t)delay->integer * 1000;
    }
}
