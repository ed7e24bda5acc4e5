/* For kernels that pool: which pixel of its window a maximum is, a byte each. */
#ifndef DDP_OPS_POOL_VEC_H
#define DDP_OPS_POOL_VEC_H

#include "ops/cpu/vec.h"

typedef uint8_t vb __attribute__((vector_size(DDP_VL)));

INLINE void store_index(uint8_t *p, vi index)
{
    vb b = __builtin_convertvector(index, vb);
    memcpy(p, &b, sizeof b);
}
INLINE vi load_index(const uint8_t *p)
{
    vb b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b, vi);
}

/* m ? i : index */
INLINE vi choose(vi m, int i, vi index)
{
    return (m & i) | (~m & index);
}

/* best, index <- a, i where a is larger. NaN wins, so that it reaches the loss. */
INLINE void take_larger(vf *best, vi *index, vf a, int i)
{
    const vi take = (a > *best) | (a != a);
    *best = SELECT(take, a, *best);
    *index = choose(take, i, *index);
}

#endif
