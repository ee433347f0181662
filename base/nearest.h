/* nearest.h - which known word was meant by an unknown one, for sentences that refuse it.
 *
 *   struct nearest n;
 *   nearest_init(&n, wanted);
 *   for each known word: nearest_offer(&n, word);
 *   n.word is the one that takes the fewest edits, the first of equals; NULL when none was offered.
 *
 * Borrows all texts, allocates nothing; any thread. */
#ifndef KVD_BASE_NEAREST_H
#define KVD_BASE_NEAREST_H

struct nearest {
    const char *wanted;
    const char *word;
    unsigned edits; /* characters put in, left out or replaced; UINT_MAX without a word */
};

/* Longer words are compared by their first bytes only. */
#define NEAREST_WORD_BYTES_MAX 64

void nearest_init(struct nearest *n, const char *wanted);
void nearest_offer(struct nearest *n, const char *word);

#endif
