/* From folders of pictures to one packed file: what `ddp-data pack` does. */
#ifndef DDP_DATA_PACK_H
#define DDP_DATA_PACK_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "ddp/error.h"

struct ddp_pack_options {
    const char *dir;      /* holds train/CLASS/ and test/CLASS/ (or val/CLASS/), or CLASS/ */
    const char *out;      /* the packed file */
    int width, height;    /* 0: all pictures have one size already */
    bool stretch;         /* resize without keeping proportions; else the middle is kept */
    int channels;         /* 0: colour if any picture has it; 1 gray, 3 colour */
    double test_fraction; /* CLASS/ only: this part of each class, drawn by seed, becomes the test split */
    uint64_t seed;
    int threads;        /* >= 1 */
    int64_t max_pixels; /* a picture of more is bad; 0: DDP_IMAGE_MOST */
    bool skip_bad;      /* leave bad pictures out (they are decoded twice), else they are an error */
    /* Called for each bad picture, up to the end of the folder; may be NULL: only counted. */
    void (*bad)(void *user, const char *why);
    const volatile sig_atomic_t
        *stop; /* NULL, or becomes true when packing is to end (DDP_E_STOPPED), leaving nothing */
    void (*progress)(void *user, int64_t done, int64_t total); /* may be NULL */
    void *user;
};

struct ddp_pack_result {
    int64_t count[2]; /* train, test */
    int classes, c, h, w;
    int64_t ignored; /* files that are no .jpg, .jpeg or .png, and what is no file (pipes, devices) */
    int64_t bad;     /* pictures that were left out (skip_bad) */
    bool mixed;      /* gray and colour pictures were brought to colour */
    char digest[2][65];
};

/* Classes are the folders' names in byte order, samples lie by class and then by path in it; folders
 * inside a class belong to it. Pictures that do not decode or have another size are bad: all of them are
 * told of, and then it is an error and no file is written, unless skip_bad leaves them out. A class folder
 * without pictures is an error. On any error there is no file. */
int ddp_pack_run(const struct ddp_pack_options *opt, struct ddp_pack_result *result, struct ddp_error *err);

#endif
