/* Axes and marks of a plot, drawn as SVG. Private to bench/report. */
#ifndef DDP_BENCH_SVG_H
#define DDP_BENCH_SVG_H

#include "base/base.h"

enum { SVG_WIDTH = 840, SVG_HEIGHT = 520, SVG_LEFT = 86, SVG_TOP = 62, SVG_RIGHT = 210, SVG_BOTTOM = 66 };

struct svg_axis {
    bool log;
    double low, high; /* values */
    double from, to;  /* where these lie, in pixels */
};

/* Widened to round numbers that hold [low, high]. */
void svg_axis_round(struct svg_axis *a);
double svg_at(const struct svg_axis *a, double value);
/* Round values along it, at most 10; returns how many. */
enum { SVG_TICKS = 10 };
int svg_ticks(const struct svg_axis *a, double tick[SVG_TICKS]);

void svg_begin(struct ddp_text *out, const char *title);
void svg_end(struct ddp_text *out);
/* anchor: "start", "middle", "end". */
void svg_text(struct ddp_text *out, double x, double y, const char *anchor, int size, const char *text);
void svg_frame(struct ddp_text *out, const struct svg_axis *x, const struct svg_axis *y, const char *x_title,
               const char *y_title);
/* The i-th of a set that the colour-blind can tell apart. */
const char *svg_colour(int i);
void svg_legend(struct ddp_text *out, int i, const char *colour, const char *text);

#endif
