/* Resizing of one picture: rows first, then columns, each new pixel a weighted mean of a run of old ones. */
#include <stdlib.h>

#include "base/base.h"
#include "data/image.h"

/* One axis: new pixel i is the sum of weight[i*most + k] * old[first[i] + k], k = 0..n[i]-1; the weights sum
 * to 1. */
struct axis {
    int most, *first, *n;
    double *weight;
};

/* `from` old pixels, of which [start, start + span) become `to` new ones. */
static struct axis plan_axis(int from, double start, double span, int to)
{
    double scale = span / to;
    struct axis a = {.most = (scale > 1.0 ? (int)scale : 1) + 3};
    a.first = ddp_calloc((size_t)to, sizeof *a.first);
    a.n = ddp_calloc((size_t)to, sizeof *a.n);
    a.weight = ddp_calloc((size_t)to * (size_t)a.most, sizeof *a.weight);
    for (int i = 0; i < to; i++) {
        double *w = a.weight + (size_t)i * (size_t)a.most, total = 0.0;
        double lo = start + i * scale, hi = lo + scale;
        if (scale <= 1.0) { /* linear between the centres of two old pixels */
            double centre = 0.5 * (lo + hi) - 0.5;
            if (centre < 0.0)
                centre = 0.0;
            if (centre > from - 1)
                centre = from - 1;
            a.first[i] = (int)centre;
            double t = centre - a.first[i];
            a.n[i] = t > 0.0 ? 2 : 1;
            w[0] = 1.0 - t;
            w[1] = t;
            continue;
        }
        int end = (int)hi < from ? (int)hi : from - 1; /* the old pixels that [lo, hi) touches, by overlap */
        a.first[i] = (int)lo;
        for (int k = a.first[i]; k <= end && a.n[i] < a.most; k++) {
            double part = (k + 1 < hi ? k + 1 : hi) - (k > lo ? k : lo);
            w[a.n[i]++] = part > 0.0 ? part : 0.0;
            total += part > 0.0 ? part : 0.0;
        }
        for (int k = 0; k < a.n[i]; k++)
            w[k] /= total;
    }
    return a;
}

static void axis_finish(struct axis *a)
{
    free(a->first);
    free(a->n);
    free(a->weight);
}

void ddp_image_resize(const struct ddp_image *in, bool crop, struct ddp_image *out)
{
    double x0 = 0.0, y0 = 0.0, spanx = in->w, spany = in->h;
    if (crop && (int64_t)in->w * out->h > (int64_t)in->h * out->w) { /* too wide */
        spanx = (double)in->h * out->w / out->h;
        x0 = 0.5 * (in->w - spanx);
    } else if (crop) {
        spany = (double)in->w * out->h / out->w;
        y0 = 0.5 * (in->h - spany);
    }
    struct axis ax = plan_axis(in->w, x0, spanx, out->w), ay = plan_axis(in->h, y0, spany, out->h);
    double *rows = ddp_malloc((size_t)in->h * (size_t)out->w * sizeof *rows);
    for (int c = 0; c < in->c; c++) {
        const uint8_t *from = in->p + (size_t)c * (size_t)in->h * (size_t)in->w;
        uint8_t *to = out->p + (size_t)c * (size_t)out->h * (size_t)out->w;
        for (int y = 0; y < in->h; y++)
            for (int x = 0; x < out->w; x++) {
                const double *w = ax.weight + (size_t)x * (size_t)ax.most;
                double sum = 0.0;
                for (int k = 0; k < ax.n[x]; k++)
                    sum += w[k] * from[(size_t)y * (size_t)in->w + (size_t)(ax.first[x] + k)];
                rows[(size_t)y * (size_t)out->w + (size_t)x] = sum;
            }
        for (int y = 0; y < out->h; y++)
            for (int x = 0; x < out->w; x++) {
                const double *w = ay.weight + (size_t)y * (size_t)ay.most;
                double sum = 0.5;
                for (int k = 0; k < ay.n[y]; k++)
                    sum += w[k] * rows[(size_t)(ay.first[y] + k) * (size_t)out->w + (size_t)x];
                to[(size_t)y * (size_t)out->w + (size_t)x] = (uint8_t)(sum < 0.0     ? 0.0
                                                                       : sum > 255.0 ? 255.0
                                                                                     : sum);
            }
    }
    free(rows);
    axis_finish(&ax);
    axis_finish(&ay);
}
