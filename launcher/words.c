/* Growing lists of strings, and their quoting for a shell. */
#include "launcher/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void push(struct ddp_words *words, char *owned)
{
    if (words->n + 2 > words->cap) {
        words->cap = words->cap ? 2 * words->cap : 16;
        words->w = ddp_realloc(words->w, (size_t)words->cap * sizeof *words->w);
    }
    words->w[words->n++] = owned;
    words->w[words->n] = NULL;
}

void ddp_words_add(struct ddp_words *words, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = ddp_malloc((size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    push(words, s);
}

void ddp_words_add_all(struct ddp_words *words, const char *const *list)
{
    for (; list && *list; list++)
        push(words, ddp_strdup(*list));
}

void ddp_words_drop(struct ddp_words *words)
{
    free(words->w[--words->n]);
    words->w[words->n] = NULL;
}

void ddp_words_finish(struct ddp_words *words)
{
    for (int i = 0; i < words->n; i++)
        free(words->w[i]);
    free(words->w);
    *words = (struct ddp_words){0};
}

void ddp_words_quote(const char *word, struct ddp_text *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    if (*word && strspn(word, plain) == strlen(word)) {
        ddp_text_append(out, word, strlen(word));
        return;
    }
    ddp_text_append(out, "'", 1);
    for (const char *s = word; *s; s++)
        if (*s == '\'')
            ddp_text_append(out, "'\\''", 4);
        else
            ddp_text_append(out, s, 1);
    ddp_text_append(out, "'", 1);
}
