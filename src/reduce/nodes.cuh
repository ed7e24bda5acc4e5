/* The canonical tree on the device, and what else kernels over the flat space share. A thread block of
 * DDP_FLAT_THREADS threads takes DDP_BLOCK elements, 16 a thread: in round q of DDP_FLAT_ROUNDS thread t
 * has the four at q * 4 * DDP_FLAT_THREADS + 4 * t, so that a warp reads 512 bytes in a row. */
#ifndef DDP_COMPUTE_CUDA_NODES_CUH
#define DDP_COMPUTE_CUDA_NODES_CUH

#include "ddp_device.h"

enum {
    DDP_FLAT_THREADS = 256,
    DDP_FLAT_WARPS = DDP_FLAT_THREADS / DDP_WARP,
    DDP_FLAT_ROUNDS = DDP_BLOCK / (4 * DDP_FLAT_THREADS),
    DDP_NODES_DEPTH = 17, /* of the tree over 65536 shards */
};

/* Four floats in a row: one 16-byte access. */
struct ddp_quad {
    float v[4];
};

DDP_DEVICE ddp_quad ddp_quad_load(const float *p)
{
    ddp_quad q;
    ddp_load4(p, q.v);
    return q;
}
DDP_DEVICE void ddp_quad_store(float *p, ddp_quad q)
{
    ddp_store4(p, q.v);
}
/* The four of two rounds: both are asked for before one is used. */
struct ddp_pair {
    ddp_quad q[2];
};

DDP_DEVICE ddp_pair ddp_pair_load(const float *p)
{
    ddp_pair v;
    v.q[0] = ddp_quad_load(p);
    v.q[1] = ddp_quad_load(p + 4 * DDP_FLAT_THREADS);
    return v;
}
DDP_DEVICE void ddp_pair_store(float *p, ddp_pair v)
{
    ddp_quad_store(p, v.q[0]);
    ddp_quad_store(p + 4 * DDP_FLAT_THREADS, v.q[1]);
}

DDP_DEVICE ddp_quad ddp_plus(ddp_quad lower, ddp_quad upper)
{
    ddp_quad sum;
#pragma unroll
    for (int k = 0; k < 4; k++)
        sum.v[k] = lower.v[k] + upper.v[k];
    return sum;
}
DDP_DEVICE ddp_pair ddp_plus(ddp_pair lower, ddp_pair upper)
{
    ddp_pair sum;
    sum.q[0] = ddp_plus(lower.q[0], upper.q[0]);
    sum.q[1] = ddp_plus(lower.q[1], upper.q[1]);
    return sum;
}
DDP_DEVICE float ddp_plus(float lower, float upper)
{
    return lower + upper;
}
DDP_DEVICE void ddp_take(const float *p, float *to)
{
    *to = *p;
}
DDP_DEVICE void ddp_take(const float *p, ddp_quad *to)
{
    *to = ddp_quad_load(p);
}
DDP_DEVICE void ddp_take(const float *p, ddp_pair *to)
{
    *to = ddp_pair_load(p);
}

/* Where this thread's four of a round lie in the block. */
DDP_DEVICE int ddp_flat_place(int round)
{
    return round * 4 * DDP_FLAT_THREADS + 4 * ddp_thread();
}

/* Tree sum of the nodes at element `at` of the range, as ddp_tree_sum_float adds the leaves under them: one
 * addition per node but the first. V is float, ddp_quad or ddp_pair. One and two nodes, which are what 1 and
 * 2 ranks have, take no stack. */
template <class V> DDP_DEVICE V ddp_nodes_sum(const struct ddp_gpu_nodes &nodes, int64_t at)
{
    V top, stack[DDP_NODES_DEPTH];
    ddp_take(nodes.node[0] + at, &top);
    if (nodes.n == 1)
        return top;
    if (nodes.n == 2) {
        V upper;
        ddp_take(nodes.node[1] + at, &upper);
        return ddp_plus(top, upper);
    }
    int depth = 0;
    for (int i = 1; i < nodes.n; i++) {
        stack[depth++] = top;
        ddp_take(nodes.node[i] + at, &top);
        for (int m = nodes.merges[i]; m > 0; m--)
            top = ddp_plus(stack[--depth], top);
    }
    return top;
}

#endif
