/* Rows of text in columns. */
#include "grid.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ddp_grid_init(struct ddp_grid *t, int columns)
{
    *t = (struct ddp_grid){.columns = columns};
}

/* Characters of UTF-8: a byte of the form 10xxxxxx goes on with one. */
static int width(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

static void cut(char *s, int most)
{
    int n = 0;
    for (char *p = s; *p; p++) {
        n += (*p & 0xc0) != 0x80;
        if (n > most) {
            *p = '\0';
            return;
        }
    }
}

void ddp_grid_take(struct ddp_grid *t, char *text, int most)
{
    ddp_text_plain(text);
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    if (most > 0)
        cut(text, most);
    t->cell = ddp_realloc(t->cell, (size_t)(t->cells + 1) * sizeof *t->cell);
    t->cell[t->cells++] = text;
}

void ddp_grid_add(struct ddp_grid *t, const char *text)
{
    ddp_grid_take(t, ddp_strdup(text), 0);
}

void ddp_grid_finish(struct ddp_grid *t)
{
    int *widest = ddp_calloc((size_t)t->columns, sizeof *widest);
    for (int i = 0; i < t->cells; i++) {
        const int w = width(t->cell[i]);
        widest[i % t->columns] = w > widest[i % t->columns] ? w : widest[i % t->columns];
    }
    for (int i = 0; i < t->cells; i++) {
        const int column = i % t->columns, w = width(t->cell[i]);
        const bool last = column == t->columns - 1;
        printf("%s%*s%s", t->cell[i], last ? 0 : widest[column] - w + 2, "", last ? "\n" : "");
        free(t->cell[i]);
    }
    free(widest);
    free(t->cell);
    ddp_grid_init(t, t->columns);
}

void ddp_line(const char *fmt, ...)
{
    char line[8192];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    ddp_text_plain(line);
    puts(line);
}
