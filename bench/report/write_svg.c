/* A report's plot: lines over a column, or stacked bars. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/private.h"
#include "bench/report/svg.h"

enum { MOST_SERIES = 16 };

static double value(const struct bench_table *t, int row, int column)
{
    return column >= 0 && bench_table_is_plain(t, row, column) ? t->cell[row * t->ncolumns + column].number
                                                               : NAN;
}

static const char *name(const struct bench_table *t, int row, int column, char buf[32])
{
    return column < 0 ? "" : bench_cell_text(&t->column[column], &t->cell[row * t->ncolumns + column], buf);
}

static void hold(struct svg_axis *a, double v)
{
    if (!isfinite(v) || (a->log && v <= 0))
        return;
    a->low = fmin(a->low, v);
    a->high = fmax(a->high, v);
}

/* ---- lines ---- */

struct lines {
    const struct bench_table *t;
    const struct bench_plot *p;
    int x, y, low, high, series, ideal;
    struct svg_axis ax, ay;
    char of[MOST_SERIES][64];
    int n;
};

static void find_series(struct lines *l)
{
    char buf[32];
    for (int row = 0; row < l->t->nrows; row++) {
        const char *s = name(l->t, row, l->series, buf);
        int i = 0;
        while (i < l->n && strcmp(l->of[i], s) != 0)
            i++;
        if (i == l->n && l->n < MOST_SERIES)
            snprintf(l->of[l->n++], sizeof l->of[0], "%s", s);
    }
}

static void find_axes(struct lines *l)
{
    l->ax = (struct svg_axis){l->p->log_x, INFINITY, -INFINITY, SVG_LEFT, SVG_WIDTH - SVG_RIGHT};
    l->ay = (struct svg_axis){l->p->log_y, INFINITY, -INFINITY, SVG_HEIGHT - SVG_BOTTOM, SVG_TOP};
    for (int row = 0; row < l->t->nrows; row++) {
        hold(&l->ax, value(l->t, row, l->x));
        const int columns[] = {l->y, l->low, l->high, l->ideal};
        for (size_t i = 0; i < DDP_COUNT(columns); i++)
            hold(&l->ay, value(l->t, row, columns[i]));
    }
    if (!l->p->log_x)
        hold(&l->ax, 0);
    if (!l->p->log_y)
        hold(&l->ay, 0);
    svg_axis_round(&l->ax);
    svg_axis_round(&l->ay);
}

static bool in_series(const struct lines *l, int row, int series)
{
    char buf[32];
    return strcmp(name(l->t, row, l->series, buf), l->of[series]) == 0;
}

static void draw_error(const struct lines *l, int row, const char *colour, struct ddp_text *out)
{
    const double low = value(l->t, row, l->low), high = value(l->t, row, l->high);
    if (!isfinite(low) || !isfinite(high) || (l->ay.log && low <= 0))
        return;
    const double x = svg_at(&l->ax, value(l->t, row, l->x));
    ddp_text_add(out, "<path d=\"M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8\" stroke=\"%s\"/>\n", x,
                 svg_at(&l->ay, low), svg_at(&l->ay, high), x - 4, svg_at(&l->ay, low), x - 4,
                 svg_at(&l->ay, high), colour);
}

static void draw_line(const struct lines *l, int series, int column, const char *colour, bool dashed,
                      struct ddp_text *out)
{
    struct ddp_text path;
    int n = 0;
    ddp_text_init(&path);
    for (int row = 0; row < l->t->nrows; row++) {
        const double x = value(l->t, row, l->x), y = value(l->t, row, column);
        if (!in_series(l, row, series) || !isfinite(x) || !isfinite(y) || (l->ay.log && y <= 0) ||
            (l->ax.log && x <= 0))
            continue;
        ddp_text_add(&path, "%s%.1f %.1f", n++ ? "L" : "M", svg_at(&l->ax, x), svg_at(&l->ay, y));
        if (dashed)
            continue;
        ddp_text_add(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", svg_at(&l->ax, x),
                     svg_at(&l->ay, y), colour);
        draw_error(l, row, colour, out);
    }
    if (n > 1)
        ddp_text_add(out, "<path d=\"%s\" stroke=\"%s\" stroke-width=\"%s\" fill=\"none\"/>\n", path.s,
                     colour, dashed ? "1.5\" stroke-dasharray=\"6 5" : "2.5");
    ddp_text_finish(&path);
}

static void lines(const struct bench_report *r, struct ddp_text *out)
{
    const struct bench_plot *p = &r->plot;
    struct lines *l = ddp_calloc(1, sizeof *l);
    l->t = r->plotted;
    l->p = p;
    l->x = bench_table_column(l->t, p->x);
    l->y = bench_table_column(l->t, p->y);
    l->low = bench_table_column(l->t, p->low);
    l->high = bench_table_column(l->t, p->high);
    l->series = bench_table_column(l->t, p->series);
    l->ideal = bench_table_column(l->t, p->ideal);
    find_series(l);
    find_axes(l);
    svg_frame(out, &l->ax, &l->ay, p->x_title, p->y_title);
    for (int i = 0; i < l->n; i++) {
        if (l->ideal >= 0)
            draw_line(l, i, l->ideal, "#777777", true, out);
        draw_line(l, i, l->y, svg_colour(i), false, out);
        if (*l->of[i])
            svg_legend(out, i, svg_colour(i), l->of[i]);
    }
    if (l->ideal >= 0)
        svg_legend(out, *l->of[0] ? l->n : 0, "#777777", l->t->column[l->ideal].title);
    free(l);
}

/* ---- bars ---- */

static void bars(const struct bench_report *r, struct ddp_text *out)
{
    const struct bench_table *t = r->plotted;
    const struct bench_plot *p = &r->plot;
    struct svg_axis ay = {false, 0, 0, SVG_HEIGHT - SVG_BOTTOM, SVG_TOP};
    const int x = bench_table_column(t, p->x);
    char buf[32];
    for (int row = 0; row < t->nrows; row++) {
        double sum = 0;
        for (int i = 0; i < BENCH_COLUMNS && p->parts[i]; i++)
            sum += fmax(0, value(t, row, bench_table_column(t, p->parts[i])));
        hold(&ay, sum);
    }
    svg_axis_round(&ay);
    svg_frame(out, NULL, &ay, p->x_title, p->y_title);
    const double each = (SVG_WIDTH - SVG_RIGHT - SVG_LEFT) / (double)(t->nrows > 0 ? t->nrows : 1);
    for (int row = 0; row < t->nrows; row++) {
        double below = 0, at = SVG_LEFT + each * row;
        for (int i = 0; i < BENCH_COLUMNS && p->parts[i]; i++) {
            const double v = fmax(0, value(t, row, bench_table_column(t, p->parts[i])));
            const double top = svg_at(&ay, below + v), base = svg_at(&ay, below);
            ddp_text_add(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n",
                         at + each * 0.18, top, each * 0.64, base - top, svg_colour(i));
            below += v;
        }
        svg_text(out, at + each / 2, SVG_HEIGHT - SVG_BOTTOM + 22, "middle", 15, name(t, row, x, buf));
    }
    for (int i = 0; i < BENCH_COLUMNS && p->parts[i]; i++) {
        const int c = bench_table_column(t, p->parts[i]);
        svg_legend(out, i, svg_colour(i), c >= 0 ? t->column[c].title : p->parts[i]);
    }
}

void bench_write_svg(const struct bench_report *r, struct ddp_text *out)
{
    svg_begin(out, r->plotted ? r->plot.title : r->name);
    if (!r->plotted || r->plotted->nrows == 0)
        svg_text(out, SVG_LEFT, SVG_TOP + 30, "start", 16, "nothing was measured");
    else if (r->plot.kind == BENCH_LINES)
        lines(r, out);
    else
        bars(r, out);
    svg_end(out);
}
