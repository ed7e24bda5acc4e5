/* Where a picture is read of which a part is enlarged, or that is rotated, shifted, scaled and sheared. */
#include <math.h>

#include "data/alter.h"

/* ---- random-resized-crop ---------------------------------------------------------------------- */

/* None of ten tries fitted: the largest part in the middle whose ratio is allowed. */
static struct ddp_window middle(const struct ddp_alter *a, int h, int w)
{
    const double ratio = (double)w / (double)h;
    struct ddp_window win = {.h = h, .w = w};
    if (ratio < a->ratio[0])
        win.h = (int)rint((double)w / a->ratio[0]);
    else if (ratio > a->ratio[1])
        win.w = (int)rint((double)h * a->ratio[1]);
    win.h = win.h < 1 ? 1 : win.h;
    win.w = win.w < 1 ? 1 : win.w;
    win.top = (h - win.h) / 2;
    win.left = (w - win.w) / 2;
    return win;
}

/* The area is uniform, the ratio uniform in its logarithm. */
struct ddp_window ddp_resized_crop_draw(const struct ddp_alter *a, int h, int w, const struct ddp_draw *d)
{
    for (uint32_t k = 0; k < 10; k++) {
        const struct ddp_philox4 r = ddp_draw(d, 16 + k);
        const double area = (double)h * (double)w * ddp_draw_between(r.v[0], a->area[0], a->area[1]);
        const double ratio = ddp_exp(ddp_draw_between(r.v[1], ddp_ln(a->ratio[0]), ddp_ln(a->ratio[1])));
        const double high = rint(ddp_sqrt(area / ratio)), wide = rint(ddp_sqrt(area * ratio));
        if (!(high >= 1 && high <= h && wide >= 1 && wide <= w))
            continue;
        struct ddp_window win = {.h = (int)high, .w = (int)wide};
        win.top = (int)ddp_uniform_int(r.v[2], (uint32_t)(h - win.h + 1));
        win.left = (int)ddp_uniform_int(r.v[3], (uint32_t)(w - win.w + 1));
        return win;
    }
    return middle(a, h, w);
}

struct ddp_sampling ddp_resized_crop_sampling(const struct ddp_window *win, int h, int w)
{
    const double xx = (double)win->w / (double)w, yy = (double)win->h / (double)h;
    return (struct ddp_sampling){.xx = xx,
                                 .x0 = 0.5 * xx - 0.5 + (double)win->left,
                                 .yy = yy,
                                 .y0 = 0.5 * yy - 0.5 + (double)win->top,
                                 .left = (float)win->left,
                                 .right = (float)(win->left + win->w - 1),
                                 .top = (float)win->top,
                                 .bottom = (float)(win->top + win->h - 1)};
}

/* ---- affine ----------------------------------------------------------------------------------- */

static double radians(double degrees)
{
    return degrees * (3.14159265358979323846 / 180.0);
}

/* Forward, about the middle: shear along the rows, rotate, scale by s, shift by (tx, ty):
 *
 *   | p q |   | cos r  -cos r tan k - sin r |
 *   | u v | = | sin r  -sin r tan k + cos r |   times s
 *
 * whose determinant is s^2, so that the way back is | v -q; -u p | / s. */
struct ddp_sampling ddp_affine_sampling(const struct ddp_alter *a, int h, int w, const struct ddp_draw *d)
{
    const struct ddp_philox4 r = ddp_draw(d, 2), more = ddp_draw(d, 3);
    const double turn = radians(ddp_draw_between(r.v[0], -a->rotate, a->rotate));
    const double tx = rint(ddp_draw_between(r.v[1], -a->translate, a->translate) * (double)w);
    const double ty = rint(ddp_draw_between(r.v[2], -a->translate, a->translate) * (double)h);
    const double s = ddp_draw_between(r.v[3], a->scale[0], a->scale[1]);
    const double k = radians(ddp_draw_between(more.v[0], -a->shear, a->shear));
    const double sine = ddp_sin(turn), cosine = ddp_cos(turn), tangent = ddp_sin(k) / ddp_cos(k);
    const double q = -cosine * tangent - sine, v = -sine * tangent + cosine;
    struct ddp_sampling out = {.xx = v / s,
                               .xy = -q / s,
                               .yx = -sine / s,
                               .yy = cosine / s,
                               .left = -2,
                               .right = (float)w,
                               .top = -2,
                               .bottom = (float)h};
    const double mx = 0.5 * (double)w - 0.5, my = 0.5 * (double)h - 0.5; /* the middle */
    out.x0 = out.xx * (-mx - tx) + out.xy * (-my - ty) + mx;
    out.y0 = out.yx * (-mx - tx) + out.yy * (-my - ty) + my;
    return out;
}
