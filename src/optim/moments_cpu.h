/* Adam's moments on CPUs: moments_args.h has the equations. */
#ifndef DDP_OPTIM_MOMENTS_CPU_H
#define DDP_OPTIM_MOMENTS_CPU_H

#include "ops/cpu/vec.h"
#include "optim/moments_args.h"

/* The scalars, one in all lanes. */
struct moments {
    vf scale, blend1, beta2, blend2, inv_sqrt2, eps;
};

INLINE struct moments moments_of(const struct ddp_moments_args *a)
{
    return (struct moments){.scale = SET1(a->scale),
                            .blend1 = SET1(a->blend1),
                            .beta2 = SET1(a->beta2),
                            .blend2 = SET1(a->blend2),
                            .inv_sqrt2 = SET1(a->inv_sqrt2),
                            .eps = SET1(a->eps)};
}

/* m and v from mean gradients, stored; *m1: the new m. Returns what the step is divided by. */
INLINE vf moments_step(const struct moments *s, vf g, float *m, float *v, vf *m1)
{
    vf m0 = LDU(m);
    *m1 = FMA(s->blend1, g - m0, m0);
    vf v1 = FMA(s->blend2 * g, g, s->beta2 * LDU(v));
    STU(m, *m1);
    STU(v, v1);
    return FMA(VSQRT(v1), s->inv_sqrt2, s->eps);
}

#endif
