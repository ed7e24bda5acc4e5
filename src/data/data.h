/* The face of src/data: data sets, the order in which samples come, augmentation, and the loader that brings
 * a rank its shards ahead of time. */
#ifndef DDP_DATA_H
#define DDP_DATA_H

#include "base/base.h"
#include "config/config.h"
#include "ddp/dataset.h"
#include "ddp/op.h"

/* ---- data sets ------------------------------------------------------------------------------- */

/* Real numbers are handed out as (value - mean) / deviation, in doubles, rounded once. */
struct ddp_scaling {
    int n;
    double *mean, *std; /* [n]; NULL: as they are */
};

struct ddp_dataset {
    const struct ddp_dataset_ops *ops;
    void *self;
    struct ddp_dataset_info info; /* count already cut by data.limit_* */
    enum ddp_split split;
    int64_t *pick;                      /* [count] samples of ops that data.limit_* took; NULL: all */
    struct ddp_scaling inputs, targets; /* by the training split; n 0: pictures, labels */
};

/* Bytes of a sample's input, and of its label or targets, as ddp_dataset_get() writes them. */
static inline size_t ddp_dataset_input_bytes(const struct ddp_dataset_info *info)
{
    const struct ddp_shape *s = &info->shape;
    return (size_t)s->c * (size_t)s->h * (size_t)s->w * (info->real ? sizeof(float) : 1);
}
static inline size_t ddp_dataset_answer_bytes(const struct ddp_dataset_info *info)
{
    return info->targets > 0 ? (size_t)info->targets * sizeof(float) : sizeof(int32_t);
}
/* What a model is to give: classes, or -targets. */
static inline int ddp_dataset_outputs(const struct ddp_dataset_info *info)
{
    return info->targets > 0 ? -info->targets : info->classes;
}

/* Open the split that cfg's data group describes. Errors say which file, what is wrong, and how to get it
 * (`ddp-data fetch mnist`). */
int ddp_dataset_open(const struct ddp_config *cfg, enum ddp_split split, struct ddp_dataset **out,
                     struct ddp_error *err);
/* The same for who asks for nothing but its info: no sums are checked, formats may leave pixels unread. */
int ddp_dataset_glance(const struct ddp_config *cfg, enum ddp_split split, struct ddp_dataset **out,
                       struct ddp_error *err);
void ddp_dataset_close(struct ddp_dataset *ds); /* NULL is fine */
/* SHA-256 of a split, as run.json has it; reads all of it. */
int ddp_dataset_digest(const struct ddp_config *cfg, enum ddp_split split, char hex[65],
                       struct ddp_error *err);
/* A text that other data hardly has, for little reading: of files their sizes and 16 pieces of each. The
 * same data in other files (packed or not) may have another one. Formats that do not tell their files: the
 * digest. */
int ddp_dataset_mark(const struct ddp_config *cfg, enum ddp_split split, char hex[65], struct ddp_error *err);
bool ddp_dataset_known(const struct ddp_config *cfg); /* data.format is a format of this program */
/* What shows without opening anything is added to err: a format that is not known. */
int ddp_dataset_check(const struct ddp_config *cfg, struct ddp_error *err);
/* The samples of data.format are made by the program one by one: there are no files. */
bool ddp_dataset_is_made(const char *format);
/* A model for one split takes the other's samples: same shape and kind, as many classes or targets. Else
 * DDP_E_DATA. */
int ddp_dataset_check_splits(const struct ddp_dataset_info *train, const struct ddp_dataset_info *test,
                             struct ddp_error *err);
/* Sample 0..count-1: x [c, h, w] bytes of a picture, or scaled floats; y a label that is one of the classes,
 * or scaled targets. Errors name the sample. Called from several threads at once. */
int ddp_dataset_get(const struct ddp_dataset *ds, int64_t index, void *x, void *y, struct ddp_error *err);
/* The label alone; scratch: room for a sample. */
int ddp_dataset_label(const struct ddp_dataset *ds, int64_t index, void *scratch, int32_t *label,
                      struct ddp_error *err);
/* Keep `limit` samples, classes in the proportion in which the set has them, drawn by seed; 0, or more than
 * there are: all. Reads all labels. */
int ddp_dataset_limit(struct ddp_dataset *ds, int64_t limit, uint64_t seed, struct ddp_error *err);
const struct ddp_dataset_ops *ddp_dataset_format_at(int i); /* NULL past the end */

/* ---- order ----------------------------------------------------------------------------------- */

/* perm[0..count-1]: the order of an epoch, a pure function of (seed, epoch, count); the identity when
 * !shuffle. */
void ddp_order_epoch(uint64_t seed, int64_t epoch, int64_t count, bool shuffle, int64_t *perm);
/* Batch b of an epoch holds positions [b*batch, min((b+1)*batch, count)); shard s of S gets
 * an even, contiguous part: from the batch's begin, m*s/S .. m*(s+1)/S. The last, short batch
 * is spread the same way. */
int64_t ddp_order_batches(int64_t count, int64_t batch);
void ddp_order_shard(int64_t count, int64_t batch, int64_t b, int shards, int shard, int64_t *begin,
                     int64_t *end);

/* ---- augmentation ---------------------------------------------------------------------------- */

struct ddp_alter { /* of bytes, before all else; 0: off */
    bool on;       /* any of it */
    bool crop, affine, jitter;
    double area[2], ratio[2];                  /* random-resized-crop */
    double rotate, translate, scale[2], shear; /* degrees, part of a side, factor, degrees */
    double brightness, contrast, saturation, hue;
};
struct ddp_augment {
    bool train; /* crop, flip, cutout only then */
    int crop_padding;
    bool flip;
    int cutout;
    float mean[4], inv_std[4]; /* of each channel in [0, 1] units; 0 and 1 when not normalising */
    bool real;                 /* real numbers, which are scaled already: nothing is done */
    struct ddp_alter alter;    /* on: by the loader's threads, wherever the rest is done */
};
void ddp_augment_init(struct ddp_augment *a, const struct ddp_config *cfg,
                      const struct ddp_dataset_info *info, bool train);
/* Whether the config wants a->alter of training pictures. */
void ddp_alter_init(struct ddp_alter *a, const struct ddp_config *cfg);
bool ddp_augment_alters(const struct ddp_config *cfg);
/* cfg without those, and without mixup. */
void ddp_augment_unaltered(struct ddp_config *cfg);
/* What does not fit pictures of this shape, or each other, is an error that names the key. */
int ddp_augment_check(const struct ddp_config *cfg, const struct ddp_dataset_info *info,
                      struct ddp_error *err);
/* a->alter, in place: pixels [c,h,w], a pure function of (seed, epoch, index). scratch: of
 * ddp_alter_scratch() bytes, aligned for floats. */
void ddp_alter_apply(const struct ddp_alter *a, struct ddp_shape shape, uint8_t *pixels, uint64_t seed,
                     int64_t epoch, int64_t index, void *scratch);
size_t ddp_alter_scratch(const struct ddp_alter *a, struct ddp_shape shape); /* 0 where it is not on */
/* The rest: pixels [c,h,w] uint8 -> out [c,h,w] float, a pure function of (seed, epoch, index). */
void ddp_augment_apply(const struct ddp_augment *a, struct ddp_shape shape, const uint8_t *pixels,
                       uint64_t seed, int64_t epoch, int64_t index, float *out);

/* Mixup: the sample with whose picture and label this one is mixed, 0 to count - 1, and the part of its own,
 * Beta(alpha, alpha); functions of (seed, epoch, index), whoever loads it. The partner comes as it is
 * augmented itself in that epoch. */
void ddp_mixup_draw(double alpha, int64_t count, uint64_t seed, int64_t epoch, int64_t index,
                    int64_t *partner, float *own);

/* ---- loader ---------------------------------------------------------------------------------- */

struct ddp_shard {                 /* one shard's samples */
    int n;                         /* 0 ..ceil(batch/S): samples in it */
    const float *pixels;           /* FLOATS: [n][c][h][w], normalised; features for linear models the same */
    const int32_t *label;          /* [n]; not with INDICES; NULL: real targets, or mixed */
    const float *target;           /* [n][targets]; NULL: labels */
    const struct ddp_mixed *mixed; /* [n] data.mixup of training samples, in place of label; or NULL */
    const int64_t *sample;         /* [n] index in the data set */
    const uint8_t *bytes; /* BYTES: [n][c][h][w] as ddp_dataset_get() gives them: floats of real numbers */
};

struct ddp_batch {
    int64_t epoch, index; /* batch `index` of the epoch */
    int64_t count;        /* samples in the global batch, over all shards */
    int nshards;          /* mine */
    struct ddp_shard *shard;
};

enum ddp_loader_form {
    DDP_LOADER_FLOATS,  /* augmented and normalised here */
    DDP_LOADER_BYTES,   /* as they are: a device augments them */
    DDP_LOADER_INDICES, /* which samples, nothing of them: a device holds the data set */
};

struct ddp_loader_conf {
    enum ddp_loader_form form;
    int64_t batch; /* global */
    int shards, first_shard, last_shard;
    uint64_t seed;
    bool train; /* shuffles, augments and, with FLOATS only, mixes */
    int workers, prefetch;
};

struct ddp_loader;
int ddp_loader_create(const struct ddp_config *cfg, struct ddp_dataset *ds,
                      const struct ddp_loader_conf *conf, struct ddp_loader **out, struct ddp_error *err);
void ddp_loader_destroy(struct ddp_loader *l); /* joins the threads; NULL is fine */
/* Go to batch `index` of `epoch`; restarts prefetching there. */
int ddp_loader_seek(struct ddp_loader *l, int64_t epoch, int64_t index, struct ddp_error *err);
/* The next batch, valid until the next call. Runs from epoch to epoch without end. The first damaged sample
 * met is an error that names file and index. */
int ddp_loader_next(struct ddp_loader *l, const struct ddp_batch **out, struct ddp_error *err);
int64_t ddp_loader_batches(const struct ddp_loader *l); /* per epoch */
double ddp_loader_waited(struct ddp_loader *l);         /* seconds spent waiting since the last call */
size_t ddp_loader_bytes(const struct ddp_loader *l);

#endif
