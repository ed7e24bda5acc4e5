/* Concatenation along channels on the device (concat.cu); contract in concat.c. */
#ifndef DDP_OPS_CONCAT_KERNELS_H
#define DDP_OPS_CONCAT_KERNELS_H

#include "device/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Channels [first, first + real_c) of a wide tensor [pixels][wide_c], and a narrow one [pixels][c] that
 * holds just them. join(): narrow -> wide. split(): wide -> narrow, pad lanes zero. */
struct ddp_gpu_concat_args {
    enum ddp_gpu_type type;
    int64_t pixels;
    int wide_c, c, real_c, first; /* wide_c, c: padded */
    void *wide, *narrow;
    bool last;       /* join(): also the pad lanes of the wide one, with zeros */
    bool accumulate; /* split() */
};

struct ddp_concat_device_kernels {
    void (*join)(struct ddp_gpu_stream *s, const struct ddp_gpu_concat_args *a);
    void (*split)(struct ddp_gpu_stream *s, const struct ddp_gpu_concat_args *a);
};
extern const struct ddp_concat_device_kernels ddp_cuda_concat_kernels; /* of the plug-in */

#ifdef __cplusplus
}
#endif
#endif
