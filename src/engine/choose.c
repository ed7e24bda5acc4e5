/* Which engine computes a run: the only place that knows them all. */
#include "device/device.h"
#include "engine/private.h"

static int decide(struct ddp_config *cfg, bool *gpu, struct ddp_error *err)
{
    const struct ddp_gpu_api *api = NULL;
    int gpus = 0;
    const int status = ddp_gpu_decide(cfg, &api, &gpus, err);
    *gpu = api != NULL;
    return status;
}

int ddp_engine_choose(struct ddp_config *cfg, struct ddp_comm *comm, const struct ddp_engine_ops **out,
                      struct ddp_error *err)
{
    const bool lead = comm->rank == 0;
    bool gpu = false;
    /* the launcher has decided for its ranks; of others rank 0 speaks */
    int status = ddp_comm_agree(comm, lead ? decide(cfg, &gpu, err) : 0, err);
    if (status == 0)
        status = ddp_comm_bcast(comm, &gpu, sizeof gpu, 0, err);
    if (status)
        return status;
    cfg->device = gpu ? DDP_DEVICE_CUDA : DDP_DEVICE_CPU;
    if (gpu && !lead)
        status = decide(cfg, &gpu, err); /* is it here, too? */
    status = ddp_comm_agree(comm, status, err);
    if (status == 0)
        *out = gpu ? &ddp_engine_gpu : &ddp_engine_cpu;
    return status;
}
