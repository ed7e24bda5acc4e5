/* From folders of pictures to one packed file: what `ddp-data pack` does. */
#ifndef DDP_DATA_PACK_H
#define DDP_DATA_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "ddp/error.h"

struct ddp_pack_options {
    const char *dir;      /* holds train/CLASS/ and test/CLASS/ (or val/CLASS/), or CLASS/ */
    const char *out;      /* the packed file */
    int width, height;    /* 0: all pictures have one size already */
    bool stretch;         /* resize without keeping proportions; else the middle is kept */
    int channels;         /* 0: as the first picture; 1 gray, 3 colour */
    double test_fraction; /* CLASS/ only: this part of each class, drawn by seed, becomes the test split */
    uint64_t seed;
    int threads;                                               /* >= 1 */
    void (*progress)(void *user, int64_t done, int64_t total); /* may be NULL */
    void *user;
};

struct ddp_pack_result {
    int64_t count[2]; /* train, test */
    int classes, c, h, w;
    int64_t ignored; /* files that are no .jpg, .jpeg or .png */
    char digest[2][65];
};

/* Classes are the folders' names in byte order, samples lie by class and then by file name. A picture that
 * does not decode, has another size, or a class folder without pictures is an error that names it, and no
 * file is written. */
int ddp_pack_run(const struct ddp_pack_options *opt, struct ddp_pack_result *result, struct ddp_error *err);

#endif
