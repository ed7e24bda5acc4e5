/* A stage that only sums and measures, and what clipping and loss scaling make of it. Siblings: optim/norm.c,
 * optim.c (clip). */
#include "optim/norms.cuh"

/* sum = tree sum of the nodes; values: what a.leaves says. 4 n + 4 bytes an element, 4 where the one node is
 * where the sum goes; 4 more for the parameters' squares. */
DDP_KERNEL norms_block(const struct ddp_gpu_update_args a)
{
    const int64_t block = ddp_update_at(a), range = block - a.lo;
    const int n = ddp_update_elements(a);
    const bool stays = a.nodes.n == 0 || (a.nodes.n == 1 && a.nodes.node[0] == a.sum);
    const bool params = a.leaves >> DDP_VALUE_PARAM & 1;
    struct ddp_block_values values = {};
    ddp_pair sum[DDP_FLAT_ROUNDS / 2], p[DDP_FLAT_ROUNDS / 2] = {};
    const ddp_quad zero = {};
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS / 2; q++) {
        const int i = ddp_flat_place(2 * q);
        sum[q] = ddp_update_sum(a, range + i);
        if (params)
            p[q] = ddp_pair_load(a.params + block + i);
    }
    ddp_loaded();
#pragma unroll
    for (int q = 0; q < DDP_FLAT_ROUNDS; q++) {
        const int i = ddp_flat_place(q);
        if (i >= n)
            break;
        const ddp_quad four = sum[q / 2].q[q % 2];
        ddp_update_refuses(a, four); /* its values tell between() */
        if (!stays)
            ddp_quad_store(a.sum + range + i, four);
        ddp_take_values(a, four, p[q / 2].q[q % 2], zero, &values);
    }
    ddp_leave_values(a, values);
}

extern "C" void ddp_cuda_norms(struct ddp_gpu_stream *s, const struct ddp_gpu_update_args *a)
{
    DDP_LAUNCH(s, norms_block, ddp_update_blocks(a), DDP_FLAT_THREADS, *a);
}

struct no_trust {
    enum { NORMS = 0 };

    DDP_DEVICE double trust(const struct ddp_optim_hyper *, double, struct ddp_optim_norms) { return 1; }
};

extern "C" void ddp_cuda_between(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a)
{
    DDP_LAUNCH(s, between_block<no_trust>, 1, DDP_FLAT_THREADS, *a);
}
