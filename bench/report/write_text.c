/* A report for people: on a terminal, and as Markdown. */
#include <string.h>

#include "bench/report/private.h"

static bool shown(const struct bench_table *t, int i)
{
    return t->column[i].title != NULL;
}

static bool has_shown(const struct bench_table *t)
{
    int i = 0;
    while (i < t->ncolumns && !shown(t, i))
        i++;
    return i < t->ncolumns;
}

/* Bytes that begin a character of UTF-8: what a column counts. */
static int length(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

static int width(const struct bench_table *t, int column)
{
    char buf[32];
    int most = length(t->column[column].title);
    for (int row = 0; row < t->nrows; row++) {
        const int n = length(bench_cell_text(&t->column[column], &t->cell[row * t->ncolumns + column], buf));
        most = n > most ? n : most;
    }
    return most;
}

/* Text to the left, numbers to the right. */
static void add_cell(struct ddp_text *out, const char *text, int to, bool left)
{
    const int gap = to - length(text) > 0 ? to - length(text) : 0;
    if (!left)
        ddp_text_add(out, "%*s", gap, "");
    ddp_text_add(out, "%s", text);
    if (left)
        ddp_text_add(out, "%*s", gap, "");
}

static void trim(struct ddp_text *out)
{
    while (out->len > 0 && out->s[out->len - 1] == ' ')
        out->s[--out->len] = '\0';
    ddp_text_add(out, "\n");
}

static void text_table(const struct bench_table *t, struct ddp_text *out)
{
    char buf[32];
    if (t->nrows == 0 || !has_shown(t))
        return;
    if (t->title)
        ddp_text_add(out, "%s\n", t->title);
    for (int row = -1; row < t->nrows; row++) {
        for (int i = 0, first = 1; i < t->ncolumns; i++) {
            const struct bench_column *c = &t->column[i];
            if (!shown(t, i))
                continue;
            ddp_text_add(out, "%s", first ? "" : "  ");
            add_cell(out, row < 0 ? c->title : bench_cell_text(c, &t->cell[row * t->ncolumns + i], buf),
                     width(t, i), c->format == NULL);
            first = 0;
        }
        trim(out);
    }
    ddp_text_add(out, "\n");
}

static void text_line(struct ddp_text *out, const char *title, const char *text)
{
    ddp_text_add(out, "%s: %s\n", title, text);
}

void bench_write_text(const struct bench_report *r, struct ddp_text *out)
{
    bench_write_where(r, out, text_line);
    for (int i = 0; i < r->nfacts; i++)
        if (r->fact[i].title)
            text_line(out, r->fact[i].title, r->fact[i].text);
    ddp_text_add(out, "\n");
    for (int i = 0; i < r->ntables; i++)
        text_table(r->table[i], out);
    for (int i = 0; i < r->nnotes; i++)
        ddp_text_add(out, "%s\n", r->note[i]);
    for (int i = 0; i < r->nwarnings; i++)
        text_line(out, "warning", r->warning[i]);
}

/* ---- Markdown ---- */

static void md_cell(struct ddp_text *out, const char *text)
{
    ddp_text_add(out, " ");
    for (; *text; text++)
        ddp_text_add(out, *text == '|' || *text == '<' ? "\\%c" : "%c", *text);
    ddp_text_add(out, " |");
}

static void md_line(struct ddp_text *out, const char *title, const char *text)
{
    ddp_text_add(out, "|");
    md_cell(out, title);
    md_cell(out, text);
    ddp_text_add(out, "\n");
}

static void md_table(const struct bench_table *t, struct ddp_text *out)
{
    char buf[32];
    if (t->nrows == 0 || !has_shown(t))
        return;
    if (t->title)
        ddp_text_add(out, "## %s\n\n", t->title);
    for (int row = -2; row < t->nrows; row++) {
        ddp_text_add(out, "|");
        for (int i = 0; i < t->ncolumns; i++) {
            const struct bench_column *c = &t->column[i];
            if (!shown(t, i))
                continue;
            if (row == -1)
                ddp_text_add(out, c->format ? " ---: |" : " --- |");
            else
                md_cell(out, row < 0 ? c->title : bench_cell_text(c, &t->cell[row * t->ncolumns + i], buf));
        }
        ddp_text_add(out, "\n");
    }
    ddp_text_add(out, "\n");
}

void bench_write_md(const struct bench_report *r, struct ddp_text *out)
{
    ddp_text_add(out, "# %s\n\n`", r->name);
    size_t i;
    json_t *word;
    json_array_foreach(r->command, i, word)
        ddp_text_add(out, "%s%s", i ? " " : "", json_string_value(word));
    ddp_text_add(out, "`\n\n| | |\n| --- | --- |\n");
    bench_write_where(r, out, md_line);
    for (int k = 0; k < r->nfacts; k++)
        if (r->fact[k].title)
            md_line(out, r->fact[k].title, r->fact[k].text);
    ddp_text_add(out, "\n");
    for (int k = 0; k < r->ntables; k++)
        md_table(r->table[k], out);
    for (int k = 0; k < r->nnotes; k++)
        ddp_text_add(out, "%s\n\n", r->note[k]);
    for (int k = 0; k < r->nwarnings; k++)
        ddp_text_add(out, "**Warning:** %s\n\n", r->warning[k]);
}
