/* What the file formats share. Private to src/data, ddp-data and their tests. */
#ifndef DDP_DATA_FORMATS_H
#define DDP_DATA_FORMATS_H

#include "base/base.h"
#include "ddp/dataset.h"

extern const struct ddp_dataset_ops ddp_digits_format, ddp_idx_format, ddp_cifar10_format,
    ddp_cifar100_format, ddp_packed_format, ddp_csv_format, ddp_idx_real_format, ddp_friedman_format,
    ddp_noise_format, ddp_folder_format;

/* "path/name" where path is absolute, as it is once it was found; else "root/path/name", "root/name" when
 * path is "". malloc'd. */
char *ddp_data_path(const struct ddp_dataset_conf *conf, const char *name);

/* What an open() that failed with `status` (0: nothing) is to be said of: a split, or DDP_SPLITS_BOTH.
 * Returns status. */
enum { DDP_SPLITS_BOTH = -1 };
int ddp_data_blame(const struct ddp_dataset_conf *conf, int split, int status);

/* Fail with a text that says what was looked for (`what`: "train-images-idx3-ubyte or ..."), in which folder,
 * where that folder's name comes from, and how to get the data. */
int ddp_data_missing(const struct ddp_dataset_conf *conf, const char *what, struct ddp_error *err);

/* Sums over pixels: exact integers, so that mean and deviation do not depend on the order. */
struct ddp_pixel_stats {
    uint64_t sum[4], square[4], count[4]; /* of each channel */
};
void ddp_pixel_stats_add(struct ddp_pixel_stats *s, struct ddp_shape shape, const uint8_t *pixels);
/* In [0, 1] units; a constant channel has std 1, so that dividing by it is harmless. */
void ddp_pixel_stats_result(const struct ddp_pixel_stats *s, int channels, double mean[4], double std[4]);

#endif
