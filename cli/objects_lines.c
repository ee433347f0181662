/* objects_lines.c - the unified difference of two texts. */
#include <string.h>

#include "cli/objects.h"

#define AROUND 3u
/* Beyond so many pairs of lines what is between the equal ends counts as changed as a whole. */
#define PAIRS_MAX (16u * 1024u * 1024u)

struct lines {
    struct slice *at;
    size_t count;
};

static bool split(struct slice text, struct lines *l)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += text.data[i] == '\n' || i + 1 == text.len;
    }
    l->count = 0;
    l->at = mem_alloc((n + 1) * sizeof *l->at);
    for (size_t i = 0; l->at != NULL && i < text.len;) {
        const uint8_t *end = memchr(text.data + i, '\n', text.len - i);
        size_t len = end == NULL ? text.len - i : (size_t)(end - text.data) - i;
        l->at[l->count++] = slice_of(text.data + i, len);
        i += len + 1;
    }
    return l->at != NULL;
}

/* What becomes of the lines: ' ' in both, '-' of a, '+' of b; in the order they are shown. */
struct script {
    char *marks;
    size_t count;
};

static void mark(struct script *s, char c, size_t times)
{
    memset(s->marks + s->count, c, times);
    s->count += times;
}

/* Longest common subsequence of a[from..a_end) and b[from..b_end), by a table from the end. */
static bool compare(const struct lines *a, const struct lines *b, size_t from, size_t a_end,
                    size_t b_end, struct script *s)
{
    size_t rows = a_end - from;
    size_t columns = b_end - from;
    if (rows == 0 || columns == 0 || rows > PAIRS_MAX / columns) {
        mark(s, '-', rows);
        mark(s, '+', columns);
        return true;
    }
    uint32_t *table = mem_zalloc((rows + 1) * (columns + 1) * sizeof *table);
    if (table == NULL) {
        return false;
    }
    size_t width = columns + 1;
    for (size_t i = rows; i-- > 0;) {
        for (size_t k = columns; k-- > 0;) {
            uint32_t down = table[(i + 1) * width + k];
            uint32_t right = table[i * width + k + 1];
            table[i * width + k] = slice_eq(a->at[from + i], b->at[from + k])
                                       ? table[(i + 1) * width + k + 1] + 1
                                   : down > right ? down
                                                  : right;
        }
    }
    size_t i = 0;
    size_t k = 0;
    while (i < rows || k < columns) {
        if (i < rows && k < columns && slice_eq(a->at[from + i], b->at[from + k])) {
            mark(s, ' ', 1);
            i++;
            k++;
        } else if (i < rows &&
                   (k == columns || table[(i + 1) * width + k] >= table[i * width + k + 1])) {
            mark(s, '-', 1);
            i++;
        } else {
            mark(s, '+', 1);
            k++;
        }
    }
    mem_free(table);
    return true;
}

static bool make_script(const struct lines *a, const struct lines *b, struct script *s)
{
    size_t from = 0;
    size_t a_end = a->count;
    size_t b_end = b->count;
    while (from < a_end && from < b_end && slice_eq(a->at[from], b->at[from])) {
        from++;
    }
    while (a_end > from && b_end > from && slice_eq(a->at[a_end - 1], b->at[b_end - 1])) {
        a_end--;
        b_end--;
    }
    mark(s, ' ', from);
    bool ok = compare(a, b, from, a_end, b_end, s);
    mark(s, ' ', a->count - a_end);
    return ok;
}

/* The marks [from, to) with the numbers of their first lines. */
static void put_hunk(const struct lines *a, const struct lines *b, const struct script *s,
                     size_t from, size_t to, size_t i, size_t k, struct buf *out)
{
    size_t of_a = 0;
    size_t of_b = 0;
    for (size_t m = from; m < to; m++) {
        of_a += s->marks[m] != '+';
        of_b += s->marks[m] != '-';
    }
    buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", of_a > 0 ? i + 1 : i, of_a, of_b > 0 ? k + 1 : k,
               of_b);
    for (size_t m = from; m < to; m++) {
        char c = s->marks[m];
        buf_append_byte(out, (uint8_t)c);
        buf_append_slice(out, c == '+' ? b->at[k] : a->at[i]);
        buf_append_byte(out, '\n');
        i += c != '+';
        k += c != '-';
    }
}

static void put_hunks(const struct lines *a, const struct lines *b, const struct script *s,
                      struct buf *out)
{
    size_t i = 0;
    size_t k = 0;
    for (size_t m = 0; m < s->count;) {
        /* Where the next change is, and where its surroundings end. */
        size_t change = m;
        while (change < s->count && s->marks[change] == ' ') {
            change++;
        }
        if (change == s->count) {
            break;
        }
        size_t from = change - m > AROUND ? change - AROUND : m;
        size_t last = change;
        for (size_t n = change; n < s->count && n <= last + 2 * AROUND; n++) {
            last = s->marks[n] != ' ' ? n : last;
        }
        size_t to = last + 1 + AROUND < s->count ? last + 1 + AROUND : s->count;
        for (; m < from; m++) {
            i++;
            k++;
        }
        put_hunk(a, b, s, from, to, i, k, out);
        for (; m < to; m++) {
            i += s->marks[m] != '+';
            k += s->marks[m] != '-';
        }
    }
}

void lines_diff(struct slice a, struct slice b, const char *name_a, const char *name_b,
                struct buf *out)
{
    struct lines la = {0};
    struct lines lb = {0};
    struct script s = {0};
    if (slice_eq(a, b)) {
        return;
    }
    if (split(a, &la) && split(b, &lb)) {
        s.marks = mem_alloc(la.count + lb.count + 1);
    }
    if (s.marks == NULL || !make_script(&la, &lb, &s)) {
        out->failed = true;
    } else {
        buf_printf(out, "--- %s\n+++ %s\n", name_a, name_b);
        put_hunks(&la, &lb, &s, out);
    }
    mem_free(s.marks);
    mem_free(la.at);
    mem_free(lb.at);
}
