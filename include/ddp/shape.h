/* What one sample looks like: for authors of ops and of data sets. */
#ifndef DDP_SHAPE_H
#define DDP_SHAPE_H

#ifdef __cplusplus
extern "C" {
#endif

enum { DDP_CBLOCK = 16 }; /* channels in a block */

struct ddp_shape {
    int c, h,
        w; /* of one sample; a vector of F features is {F, 1, 1} or, flattened from pictures, {C, H, W} */
};

#ifdef __cplusplus
}
#endif
#endif
