/* fuzz_selector - label and field selectors: byte 0 even for labels, odd for fields. What is read
 * is printed, reads again and prints the same; what is not has a sentence. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "plugins/object/fields.h"
#include "plugins/object/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void labels(struct slice text, struct arena *a)
{
    struct label_selector s;
    struct errmsg e = {.text = ""};
    struct buf first;
    struct buf second;
    buf_init(&first);
    buf_init(&second);
    if (label_selector_parse(text, a, &s, &e) != 0) {
        FATAL_IF(e.text[0] == 0, "a refusal without a sentence");
    } else {
        label_selector_print(&s, &first);
        FATAL_IF(label_selector_parse(buf_slice(&first), a, &s, &e) != 0,
                 "a printed selector is not read");
        label_selector_print(&s, &second);
        FATAL_IF(!slice_eq(buf_slice(&first), buf_slice(&second)), "a round trip changed it");
        label_selector_matches(&s, NULL);
    }
    buf_close(&first);
    buf_close(&second);
}

static void fields(struct slice text, struct arena *a)
{
    struct field_selector s;
    struct errmsg e = {.text = ""};
    struct buf first;
    struct buf second;
    const struct value nothing = {.kind = VALUE_MESSAGE};
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD);
    buf_init(&first);
    buf_init(&second);
    if (field_selector_parse(text, a, &s, &e) != 0) {
        FATAL_IF(e.text[0] == 0, "a refusal without a sentence");
    } else {
        field_selector_matches(&s, t, &nothing);
        field_selector_print(&s, &first);
        FATAL_IF(field_selector_parse(buf_slice(&first), a, &s, &e) != 0,
                 "a printed selector is not read");
        field_selector_print(&s, &second);
        FATAL_IF(first.len != second.len, "a round trip changed it");
    }
    buf_close(&first);
    buf_close(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct arena a;
    arena_init(&a, 16u << 20);
    (data[0] % 2 == 0 ? labels : fields)(slice_of(data + 1, size - 1), &a);
    arena_close(&a);
    return 0;
}
