/* A list of strings that it owns: command lines and environments. Always ends with NULL, as exec wants it. */
#ifndef DDP_LAUNCHER_WORDS_H
#define DDP_LAUNCHER_WORDS_H

#include "base/base.h"

struct ddp_words {
    char **w; /* [n + 1], w[n] = NULL; NULL while n = 0 */
    int n, cap;
};

void ddp_words_add(struct ddp_words *words, const char *fmt, ...) DDP_PRINTF(2, 3);
/* Add each; the list ends with NULL, or is NULL. */
void ddp_words_add_all(struct ddp_words *words, const char *const *list);
void ddp_words_drop(struct ddp_words *words); /* the last one */
void ddp_words_finish(struct ddp_words *words);

/* A word as a shell would need it written: 'a b'. Added to out. */
void ddp_words_quote(const char *word, struct ddp_text *out);

#endif
