/* nearest.c - edit distance by Levenshtein's table, one row at a time; see nearest.h. */
#include "base/nearest.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

static unsigned nearest_least(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

/* row[j]: edits between the first i bytes of a and the first j of b. */
static unsigned nearest_edits(const char *a, const char *b)
{
    unsigned row[NEAREST_WORD_BYTES_MAX + 1];
    size_t a_len = strnlen(a, NEAREST_WORD_BYTES_MAX);
    size_t b_len = strnlen(b, NEAREST_WORD_BYTES_MAX);
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = nearest_least(replaced, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[b_len];
}

void nearest_init(struct nearest *n, const char *wanted)
{
    *n = (struct nearest){.wanted = wanted, .edits = UINT_MAX};
}

void nearest_offer(struct nearest *n, const char *word)
{
    unsigned edits = nearest_edits(n->wanted, word);
    if (edits < n->edits) {
        n->edits = edits;
        n->word = word;
    }
}
