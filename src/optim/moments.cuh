/* Adam's moments on a device: moments_args.h has the equations. */
#ifndef DDP_OPTIM_MOMENTS_CUH
#define DDP_OPTIM_MOMENTS_CUH

#include "optim/moments_args.h"
#include "optim/update.cuh"

/* m and v of one element from its mean gradient; what the step is divided by. */
DDP_DEVICE float ddp_moments_step(const struct ddp_moments_args &s, float g, float *m, float *v)
{
    *m = fmaf(s.blend1, g - *m, *m);
    *v = fmaf(s.blend2 * g, g, s.beta2 * *v);
    return fmaf(sqrtf(*v), s.inv_sqrt2, s.eps);
}

#endif
