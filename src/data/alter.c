/* What is done to a training picture's bytes, one thing after the other; which of it a config wants, and
 * whether it fits the pictures. */
#include "data/alter.h"

static bool moves(const struct ddp_config *cfg)
{
    return cfg->data.rotate > 0 || cfg->data.translate > 0 || cfg->data.shear > 0 || cfg->data.scale.n > 0;
}

static bool colours(const struct ddp_config *cfg)
{
    return cfg->data.brightness > 0 || cfg->data.contrast > 0 || cfg->data.saturation > 0 ||
           cfg->data.hue > 0;
}

bool ddp_augment_alters(const struct ddp_config *cfg)
{
    return cfg->data.crop_area.n > 0 || moves(cfg) || colours(cfg);
}

void ddp_augment_unaltered(struct ddp_config *cfg)
{
    cfg->data.crop_area.n = cfg->data.scale.n = 0;
    cfg->data.rotate = cfg->data.translate = cfg->data.shear = 0;
    cfg->data.brightness = cfg->data.contrast = cfg->data.saturation = cfg->data.hue = 0;
    cfg->data.mixup = 0;
}

static void set_range(double to[2], const struct ddp_floats *f, double low, double high)
{
    to[0] = f->n == 2 ? f->v[0] : low;
    to[1] = f->n == 2 ? f->v[1] : high;
}

void ddp_alter_init(struct ddp_alter *a, const struct ddp_config *cfg)
{
    *a = (struct ddp_alter){
        .on = ddp_augment_alters(cfg),
        .crop = cfg->data.crop_area.n > 0,
        .affine = moves(cfg),
        .jitter = colours(cfg),
        .rotate = cfg->data.rotate,
        .translate = cfg->data.translate,
        .shear = cfg->data.shear,
        .brightness = cfg->data.brightness,
        .contrast = cfg->data.contrast,
        .saturation = cfg->data.saturation,
        .hue = cfg->data.hue,
    };
    set_range(a->area, &cfg->data.crop_area, 1, 1);
    set_range(a->ratio, &cfg->data.crop_ratio, 3.0 / 4, 4.0 / 3);
    set_range(a->scale, &cfg->data.scale, 1, 1);
}

static int check_range(const struct ddp_config *cfg, const char *key, const struct ddp_floats *f,
                       struct ddp_error *err)
{
    char where[512];
    ddp_config_where(cfg, key, where, sizeof where);
    if (f->n != 0 && f->n != 2)
        return ddp_fail(err, DDP_E_CONFIG, "%s%s has %d value%s; it is [from, to]", where, key, f->n,
                        ddp_plural(f->n));
    if (f->n == 2 && f->v[0] > f->v[1])
        return ddp_fail(err, DDP_E_CONFIG, "%s%s = [%g, %g] begins above its end; write [%g, %g]", where, key,
                        f->v[0], f->v[1], f->v[1], f->v[0]);
    return 0;
}

int ddp_augment_check(const struct ddp_config *cfg, const struct ddp_dataset_info *info,
                      struct ddp_error *err)
{
    const struct {
        const char *key;
        bool on, colour; /* of three channels; else of one or three */
    } keys[] = {{"data.brightness", cfg->data.brightness > 0, false},
                {"data.contrast", cfg->data.contrast > 0, false},
                {"data.saturation", cfg->data.saturation > 0, true},
                {"data.hue", cfg->data.hue > 0, true}};
    const int c = info->shape.c;
    char where[512];
    if (cfg->data.mixup > 0 && info->targets > 0)
        return ddp_fail(err, DDP_E_CONFIG,
                        "%sdata.mixup is for classes, this data has real targets; leave it out",
                        ddp_config_where(cfg, "data.mixup", where, sizeof where));
    int status = check_range(cfg, "data.crop_area", &cfg->data.crop_area, err);
    if (status == 0)
        status = check_range(cfg, "data.crop_ratio", &cfg->data.crop_ratio, err);
    if (status == 0)
        status = check_range(cfg, "data.scale", &cfg->data.scale, err);
    for (size_t i = 0; i < DDP_COUNT(keys) && status == 0 && !info->real; i++)
        if (keys[i].on && c != 3 && (keys[i].colour || c != 1))
            status =
                ddp_fail(err, DDP_E_CONFIG,
                         "%s%s is for pictures in colour (3 channels)%s, this data's have %d; leave it out",
                         ddp_config_where(cfg, keys[i].key, where, sizeof where), keys[i].key,
                         keys[i].colour ? "" : " or grey", c);
    return status;
}

static size_t words(const struct ddp_alter *a, struct ddp_shape shape)
{
    const size_t read = a->crop || a->affine ? ddp_resample_words(shape) : 0;
    const size_t colour = a->jitter ? (size_t)(shape.c + 1) * (size_t)shape.h * (size_t)shape.w : 0;
    return read > colour ? read : colour;
}

size_t ddp_alter_scratch(const struct ddp_alter *a, struct ddp_shape shape)
{
    return a->on ? 4 * words(a, shape) : 0;
}

void ddp_alter_apply(const struct ddp_alter *a, struct ddp_shape shape, uint8_t *pixels, uint64_t seed,
                     int64_t epoch, int64_t index, void *scratch)
{
    const struct ddp_draw d = {seed, epoch, index};
    if (a->crop) {
        const struct ddp_window win = ddp_resized_crop_draw(a, shape.h, shape.w, &d);
        const struct ddp_sampling s = ddp_resized_crop_sampling(&win, shape.h, shape.w);
        ddp_alter_kernels()->resample(&s, shape, pixels, pixels, scratch);
    }
    if (a->affine) {
        const struct ddp_sampling s = ddp_affine_sampling(a, shape.h, shape.w, &d);
        ddp_alter_kernels()->resample(&s, shape, pixels, pixels, scratch);
    }
    if (a->jitter)
        ddp_jitter(a, shape, pixels, &d, scratch);
}
