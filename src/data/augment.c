/* Crop, flip, cutout, normalise: bytes to floats, each picture by itself. */
#include "data/data.h"

#include <string.h>

void ddp_augment_init(struct ddp_augment *a, const struct ddp_config *cfg,
                      const struct ddp_dataset_info *info, bool train)
{
    *a = (struct ddp_augment){
        .real = info->real,
        .train = train,
        .crop_padding = (int)cfg->data.crop_padding,
        .flip = cfg->data.flip,
        .cutout = (int)cfg->data.cutout,
    };
    if (train && !info->real)
        ddp_alter_init(&a->alter, cfg);
    const struct ddp_floats *mean = &cfg->data.mean, *std = &cfg->data.std;
    for (int c = 0; c < 4; c++) {
        double m = mean->n == 0 ? info->mean[c] : mean->v[c < mean->n ? c : 0];
        double s = std->n == 0 ? info->std[c] : std->v[c < std->n ? c : 0];
        bool on = cfg->data.normalize && c < info->shape.c;
        a->mean[c] = on ? (float)m : 0.0f;
        a->inv_std[c] = on && s > 0.0 ? (float)(1.0 / s) : 1.0f;
    }
}

/* out = (pixel / 255 - mean) * inv_std, three rounded operations. Outside the picture the pixel is 0, as with
 * PyTorch's RandomCrop; inside the cutout the result is 0, the mean. Draws: word 0 rows, 1 columns, 2 flip of
 * draw 0; 0 row, 1 column of draw 1 (DeVries and Taylor, arXiv:1708.04552: the square's centre is anywhere,
 * its edges may be cut off). */
void ddp_augment_apply(const struct ddp_augment *a, struct ddp_shape shape, const uint8_t *pixels,
                       uint64_t seed, int64_t epoch, int64_t index, float *out)
{
    int h = shape.h, w = shape.w, dy = 0, dx = 0;
    bool mirror = false;
    if (a->train && (a->crop_padding > 0 || a->flip)) {
        struct ddp_philox4 r = ddp_philox4(0, (uint32_t)index, (uint32_t)epoch, DDP_STREAM_AUGMENT, seed);
        uint32_t places = 2 * (uint32_t)a->crop_padding + 1;
        dy = (int)ddp_uniform_int(r.v[0], places) - a->crop_padding;
        dx = (int)ddp_uniform_int(r.v[1], places) - a->crop_padding;
        mirror = a->flip && (r.v[2] >> 31);
    }
    /* columns [x0, x1) of the result show the picture, the rest of the row what lies outside */
    int x0 = dx < 0 ? -dx : 0, x1 = dx > 0 ? w - dx : w;
    if (x0 > w)
        x0 = w;
    if (x1 < x0)
        x1 = x0;
    for (int c = 0; c < shape.c; c++) {
        const uint8_t *plane = pixels + (size_t)c * (size_t)h * (size_t)w;
        float mean = a->mean[c], scale = a->inv_std[c], outside = (0.0f - mean) * scale;
        float *to = out + (size_t)c * (size_t)h * (size_t)w;
        for (int y = 0; y < h; y++, to += w) {
            int sy = y + dy;
            if (sy < 0 || sy >= h) {
                for (int x = 0; x < w; x++)
                    to[x] = outside;
                continue;
            }
            const uint8_t *from = plane + (size_t)sy * (size_t)w;
            for (int x = 0; x < x0; x++)
                to[x] = outside;
            for (int x = x0; x < x1; x++)
                to[x] = ((float)from[x + dx] / 255.0f - mean) * scale;
            for (int x = x1; x < w; x++)
                to[x] = outside;
            for (int x = 0; mirror && x < w / 2; x++) {
                float v = to[x];
                to[x] = to[w - 1 - x];
                to[w - 1 - x] = v;
            }
        }
    }
    if (!a->train || a->cutout <= 0)
        return;
    struct ddp_philox4 r = ddp_philox4(1, (uint32_t)index, (uint32_t)epoch, DDP_STREAM_AUGMENT, seed);
    int top = (int)ddp_uniform_int(r.v[0], (uint32_t)h) - a->cutout / 2;
    int left = (int)ddp_uniform_int(r.v[1], (uint32_t)w) - a->cutout / 2;
    int bottom = top + a->cutout < h ? top + a->cutout : h,
        right = left + a->cutout < w ? left + a->cutout : w;
    top = top < 0 ? 0 : top;
    left = left < 0 ? 0 : left;
    for (int c = 0; c < shape.c; c++)
        for (int y = top; y < bottom; y++)
            for (int x = left; x < right; x++)
                out[((size_t)c * (size_t)h + (size_t)y) * (size_t)w + (size_t)x] = 0.0f;
}
