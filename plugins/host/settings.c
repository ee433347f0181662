/* settings.c - option texts; see settings.h. */
#include "plugins/host/settings.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

/* The next "name=value" of *text; false at its end. What has no '=' is a name alone. */
static bool settings_next(const char **text, struct slice *name, struct slice *value)
{
    const char *at = *text + strspn(*text, ",");
    size_t len = strcspn(at, ",");
    size_t name_len = strcspn(at, "=,");
    *name = slice_of(at, name_len);
    *value = name_len < len ? slice_of(at + name_len + 1, len - name_len - 1) : slice_of(at, 0);
    *text = at + len;
    return len > 0;
}

struct slice settings_find(const char *text, const char *name)
{
    struct slice found, value;
    while (settings_next(&text, &found, &value)) {
        if (slice_eq(found, slice_str(name))) {
            return value;
        }
    }
    return slice_of(NULL, 0);
}

static void settings_put(struct buf *out, struct slice name, struct slice value)
{
    if (out->len > 0) {
        buf_append_byte(out, ',');
    }
    buf_append_slice(out, name);
    buf_append_byte(out, '=');
    buf_append_slice(out, value);
}

static bool settings_have(const char *text, struct slice wanted)
{
    struct slice name, value;
    while (settings_next(&text, &name, &value)) {
        if (slice_eq(name, wanted)) {
            return true;
        }
    }
    return false;
}

/* Gives the buffer's bytes away as a text. */
static char *settings_take(struct buf *b)
{
    char *text = NULL;
    if (buf_append_byte(b, 0) && !b->failed) {
        text = mem_dup(b->data, b->len);
    }
    buf_close(b);
    return text;
}

char *settings_merge(const char *text, const char *over)
{
    struct slice name, value;
    struct buf out;
    buf_init(&out);
    while (settings_next(&text, &name, &value)) {
        if (!settings_have(over, name)) {
            settings_put(&out, name, value);
        }
    }
    while (settings_next(&over, &name, &value)) {
        settings_put(&out, name, value);
    }
    return settings_take(&out);
}

char *settings_text(const struct plugin_setting *settings, size_t count, int *err, struct errmsg *e)
{
    struct buf out;
    *err = 0;
    buf_init(&out);
    for (size_t i = 0; i < count && *err == 0; i++) {
        const char *name = settings[i].name;
        const char *value = settings[i].value != NULL ? settings[i].value : "";
        if (name[strcspn(name, ",=")] != '\0' || *name == '\0') {
            *err = errmsg_set(e, ERR_INVALID, "\"%.64s\" is no name of an option", name);
        } else if (strchr(value, ',') != NULL) {
            *err = errmsg_set(e, ERR_INVALID, "option %.64s: a value has no comma", name);
        }
        for (size_t k = 0; k < i && *err == 0; k++) {
            if (strcmp(settings[k].name, name) == 0) {
                *err = errmsg_set(e, ERR_INVALID, "option %.64s is given twice", name);
            }
        }
        settings_put(&out, slice_str(name), slice_str(value));
    }
    if (*err != 0) {
        buf_close(&out);
        return NULL;
    }
    char *text = settings_take(&out);
    if (text == NULL) {
        *err = errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    return text;
}
