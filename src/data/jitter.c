/* Colour jitter: brightness, contrast, saturation and hue of a picture, in an order that is drawn. */
#include "data/alter.h"

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE, STEPS };

/* One of the 24 orders of four: Fisher and Yates' with the word's digits. */
static void draw_order(uint32_t word, int order[STEPS])
{
    uint32_t which = ddp_uniform_int(word, 24);
    for (int i = 0; i < STEPS; i++)
        order[i] = i;
    for (uint32_t i = STEPS; i > 1; i--) {
        const uint32_t k = which % i;
        const int last = order[i - 1];
        which /= i;
        order[i - 1] = order[k];
        order[k] = last;
    }
}

static float factor(uint32_t word, double by)
{
    return (float)ddp_draw_between(word, by < 1 ? 1 - by : 0, 1 + by);
}

/* n: values of a plane; planes 1 or 3, behind them room for one more. */
static void change(int step, const struct ddp_alter *a, const struct ddp_philox4 *r, float *v, size_t n,
                   int planes)
{
    const struct ddp_alter_kernels *k = ddp_alter_kernels();
    const size_t all = n * (size_t)planes;
    float *grey = planes == 3 ? v + all : v;
    const bool colour = planes == 3;
    if (step == BRIGHTNESS && a->brightness > 0)
        k->brighten(v, all, factor(r->v[BRIGHTNESS], a->brightness));
    if (step == CONTRAST && a->contrast > 0) {
        if (colour)
            k->grey(v, n, grey);
        const float mean = (float)((double)k->sum(grey, n) / (256.0 * (double)n));
        k->part_one(v, mean, all, factor(r->v[CONTRAST], a->contrast));
    }
    if (step == SATURATION && a->saturation > 0 && colour) {
        const float f = factor(r->v[SATURATION], a->saturation);
        k->grey(v, n, grey);
        for (size_t c = 0; c < 3; c++)
            k->part(v + c * n, grey, n, f);
    }
    if (step == HUE && a->hue > 0 && colour)
        k->turn(v, n, (float)(6 * ddp_draw_between(r->v[HUE], -a->hue, a->hue)));
}

void ddp_jitter(const struct ddp_alter *a, struct ddp_shape shape, uint8_t *pixels, const struct ddp_draw *d,
                float *floats)
{
    const struct ddp_philox4 r = ddp_draw(d, 4);
    const size_t n = (size_t)shape.h * (size_t)shape.w, all = n * (size_t)shape.c;
    int order[STEPS];
    draw_order(ddp_draw(d, 5).v[0], order);
    ddp_alter_kernels()->to_floats(pixels, all, floats);
    for (int i = 0; i < STEPS; i++)
        change(order[i], a, &r, floats, n, shape.c);
    ddp_alter_kernels()->to_bytes(floats, all, pixels);
}
