/* output_table.c - lists of rows: one line each, or framed for reading. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "base/utf8.h"
#include "cli/output.h"

/* Lists have at most so many columns. */
#define TABLE_COLUMNS_MAX 20

void output_table_init(struct output_table *t, const char *const *titles, size_t columns)
{
    *t = (struct output_table){.titles = titles, .columns = columns};
    buf_init(&t->cells);
}

void output_table_close(struct output_table *t)
{
    buf_close(&t->cells);
}

void output_table_cell(struct output_table *t, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    go_visible(&t->cells, slice_str(text));
    buf_append_byte(&t->cells, 0);
    t->cell_count++;
}

static const char *table_next(const char *cell)
{
    return cell + strlen(cell) + 1;
}

void output_table_simple(const struct output_table *t, struct buf *out)
{
    const char *cell = (const char *)t->cells.data;
    for (size_t i = 0; i < t->cell_count && !t->cells.failed; i++) {
        buf_append_str(out, cell);
        buf_append_str(out, (i + 1) % t->columns == 0 ? "\n" : ", ");
        cell = table_next(cell);
    }
}

/* Columns a text takes on a terminal: one per code point is near enough for names and URLs. */
static size_t table_width(const char *text)
{
    size_t left = strlen(text);
    size_t width = 0;
    while (left > 0) {
        size_t n = utf8_length((const uint8_t *)text, left);
        n = n > 0 ? n : 1;
        text += n;
        left -= n;
        width++;
    }
    return width;
}

static void table_blanks(struct buf *out, size_t count)
{
    while (count-- > 0) {
        buf_append_byte(out, ' ');
    }
}

static void table_rule(struct buf *out, const size_t *widths, size_t columns)
{
    for (size_t c = 0; c < columns; c++) {
        buf_append_byte(out, '+');
        for (size_t i = 0; i < widths[c] + 2; i++) {
            buf_append_byte(out, '-');
        }
    }
    buf_append_str(out, "+\n");
}

static void table_title(struct buf *out, const char *title)
{
    for (; *title != '\0'; title++) {
        buf_append_byte(out, (uint8_t)toupper((unsigned char)*title));
    }
}

/* How wide each column must be. false, and out has failed: it cannot be printed. */
static bool table_measure(const struct output_table *t, size_t *widths, struct buf *out)
{
    if (t->columns > TABLE_COLUMNS_MAX || t->cells.failed) {
        out->failed = true;
        return false;
    }
    for (size_t c = 0; c < t->columns; c++) {
        widths[c] = strlen(t->titles[c]);
    }
    const char *cell = (const char *)t->cells.data;
    for (size_t i = 0; i < t->cell_count; i++, cell = table_next(cell)) {
        size_t width = table_width(cell);
        if (width > widths[i % t->columns]) {
            widths[i % t->columns] = width;
        }
    }
    return true;
}

/* Lines end with their last text: the blanks of a cell are written before the next one that is not
 * empty. */
void output_table_columns(const struct output_table *t, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    size_t owed = 0;
    if (!table_measure(t, widths, out)) {
        return;
    }
    for (size_t c = 0; c < t->columns; c++) {
        table_title(out, t->titles[c]);
        table_blanks(out, c + 1 < t->columns ? widths[c] - strlen(t->titles[c]) + 2 : 0);
    }
    buf_append_byte(out, '\n');
    const char *cell = (const char *)t->cells.data;
    for (size_t i = 0; i < t->cell_count; i++, cell = table_next(cell)) {
        if (*cell != '\0') {
            table_blanks(out, owed);
            owed = 0;
        }
        buf_append_str(out, cell);
        owed += widths[i % t->columns] - table_width(cell) + 2;
        if ((i + 1) % t->columns == 0) {
            buf_append_byte(out, '\n');
            owed = 0;
        }
    }
}

void output_table_framed(const struct output_table *t, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    if (!table_measure(t, widths, out)) {
        return;
    }
    const char *cell = NULL;
    table_rule(out, widths, t->columns);
    for (size_t c = 0; c < t->columns; c++) {
        size_t spare = widths[c] - strlen(t->titles[c]);
        buf_append_str(out, "| ");
        table_blanks(out, spare / 2);
        table_title(out, t->titles[c]);
        table_blanks(out, spare - spare / 2 + 1);
    }
    buf_append_str(out, "|\n");
    table_rule(out, widths, t->columns);
    cell = (const char *)t->cells.data;
    for (size_t i = 0; i < t->cell_count; i++, cell = table_next(cell)) {
        buf_append_str(out, "| ");
        table_blanks(out, widths[i % t->columns] - table_width(cell));
        buf_append_str(out, cell);
        buf_append_str(out, (i + 1) % t->columns == 0 ? " |\n" : " ");
    }
    table_rule(out, widths, t->columns);
}
