/* Axes, frames and legends: one style for all plots, readable from the last row. */
#include "bench/report/svg.h"

#include <math.h>
#include <stdio.h>

static const char FONT[] = "font-family=\"Helvetica,Arial,sans-serif\"";

static double step_of(double range)
{
    const double raw = range / 6, power = pow(10, floor(log10(raw))), f = raw / power;
    return power * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
}

void svg_axis_round(struct svg_axis *a)
{
    if (a->log) {
        a->low = pow(2, floor(log2(a->low) + 1e-9));
        a->high = pow(2, ceil(log2(a->high) - 1e-9));
        if (a->high <= a->low)
            a->high = 2 * a->low;
        return;
    }
    if (!(a->high > a->low))
        a->high = a->low + 1;
    const double step = step_of(a->high - a->low);
    a->low = floor(a->low / step + 1e-9) * step;
    a->high = ceil(a->high / step - 1e-9) * step;
}

double svg_at(const struct svg_axis *a, double v)
{
    const double f = a->log ? log(v / a->low) / log(a->high / a->low) : (v - a->low) / (a->high - a->low);
    return a->from + f * (a->to - a->from);
}

int svg_ticks(const struct svg_axis *a, double tick[SVG_TICKS])
{
    int n = 0;
    if (a->log) {
        const double factor = pow(2, ceil(log2(a->high / a->low) / (SVG_TICKS - 1)));
        for (double v = a->low; v < a->high * 1.01 && n<SVG_TICKS; v *= factor> 1 ? factor : 2)
            tick[n++] = v;
        return n;
    }
    const double step = step_of(a->high - a->low);
    for (double v = a->low; v < a->high + step / 2 && n < SVG_TICKS; v += step)
        tick[n++] = fabs(v) < step / 1e6 ? 0 : v;
    return n;
}

static const char *number(double v, char buf[32])
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    for (int i = 0; i < 3; i++)
        if (v >= 10 * units[i].unit) {
            snprintf(buf, 32, "%.4g%s", v / units[i].unit, units[i].name);
            return buf;
        }
    snprintf(buf, 32, "%.4g", v);
    return buf;
}

static void escaped(struct ddp_text *out, const char *s)
{
    for (; s && *s; s++)
        ddp_text_add(out, *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '"' ? "&quot;" : "%c", *s);
}

void svg_text(struct ddp_text *out, double x, double y, const char *anchor, int size, const char *text)
{
    ddp_text_add(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" %s>", x, y, anchor,
                 size, FONT);
    escaped(out, text);
    ddp_text_add(out, "</text>\n");
}

void svg_begin(struct ddp_text *out, const char *title)
{
    ddp_text_add(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        SVG_WIDTH, SVG_HEIGHT, SVG_WIDTH, SVG_HEIGHT);
    svg_text(out, SVG_LEFT, 34, "start", 20, title);
}

void svg_end(struct ddp_text *out)
{
    ddp_text_add(out, "</svg>\n");
}

static void line(struct ddp_text *out, double x1, double y1, double x2, double y2, const char *colour)
{
    ddp_text_add(out, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\" fill=\"none\"/>\n", x1, y1, x2, y2,
                 colour);
}

void svg_frame(struct ddp_text *out, const struct svg_axis *x, const struct svg_axis *y, const char *x_title,
               const char *y_title)
{
    double tick[SVG_TICKS];
    char buf[32];
    for (int i = 0, n = svg_ticks(y, tick); i < n; i++) {
        const double at = svg_at(y, tick[i]);
        line(out, SVG_LEFT, at, SVG_WIDTH - SVG_RIGHT, at, "#dddddd");
        svg_text(out, SVG_LEFT - 8, at + 5, "end", 15, number(tick[i], buf));
    }
    for (int i = 0, n = x ? svg_ticks(x, tick) : 0; i < n; i++) {
        const double at = svg_at(x, tick[i]);
        line(out, at, SVG_HEIGHT - SVG_BOTTOM, at, SVG_HEIGHT - SVG_BOTTOM + 5, "#444444");
        svg_text(out, at, SVG_HEIGHT - SVG_BOTTOM + 22, "middle", 15, number(tick[i], buf));
    }
    line(out, SVG_LEFT, SVG_TOP, SVG_LEFT, SVG_HEIGHT - SVG_BOTTOM, "#444444");
    line(out, SVG_LEFT, SVG_HEIGHT - SVG_BOTTOM, SVG_WIDTH - SVG_RIGHT, SVG_HEIGHT - SVG_BOTTOM, "#444444");
    svg_text(out, (SVG_LEFT + SVG_WIDTH - SVG_RIGHT) / 2.0, SVG_HEIGHT - 18, "middle", 16, x_title);
    ddp_text_add(out, "<g transform=\"translate(22 %d) rotate(-90)\">",
                 (SVG_TOP + SVG_HEIGHT - SVG_BOTTOM) / 2);
    svg_text(out, 0, 0, "middle", 16, y_title);
    ddp_text_add(out, "</g>\n");
}

/* Okabe and Ito's. */
const char *svg_colour(int i)
{
    static const char *const colours[] = {"#0072b2", "#e69f00", "#009e73", "#d55e00",
                                          "#56b4e9", "#cc79a7", "#f0e442", "#999999"};
    return colours[i % (int)DDP_COUNT(colours)];
}

void svg_legend(struct ddp_text *out, int i, const char *colour, const char *text)
{
    const double x = SVG_WIDTH - SVG_RIGHT + 16, y = SVG_TOP + 12 + 24 * i;
    ddp_text_add(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"14\" fill=\"%s\"/>\n", x, y - 12,
                 colour);
    svg_text(out, x + 22, y, "start", 14, text);
}
