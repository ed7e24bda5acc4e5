/* LARS on a device: lars_args.h has the equations, sgd.cu the step, norms.cu the norms. */
#include "optim/lars_args.h"
#include "optim/norms.cuh"
#include "optim/sgd.cuh"

struct lars {
    enum { NORMS = DDP_LARS_NORMS };

    DDP_DEVICE double trust(const struct ddp_optim_hyper *h, double weight_decay, struct ddp_optim_norms n)
    {
        return ddp_lars_trust(h, weight_decay, n);
    }
};

static void trust(struct ddp_gpu_stream *s, const struct ddp_gpu_between_args *a)
{
    DDP_LAUNCH(s, between_block<lars>, 1, DDP_FLAT_THREADS, *a);
}

const struct ddp_gpu_optim ddp_cuda_lars = {{NULL, ddp_cuda_sgd_step}, trust};
