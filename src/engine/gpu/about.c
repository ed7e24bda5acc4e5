/* What the engine says of itself: the card in run.json, the plan lock in the run and its checkpoints. */
#include <stdio.h>

#include "engine/gpu/private.h"

static void tell_versions(struct ddp_gpu_engine *e)
{
    const struct ddp_gpu_versions *v = &e->about.versions;
    ddp_engine_tell_integer(&e->base, "gpu.versions.driver", v->driver);
    ddp_engine_tell_integer(&e->base, "gpu.versions.runtime", v->runtime);
    ddp_engine_tell_integer(&e->base, "gpu.versions.cudnn", v->cudnn);
    ddp_engine_tell_integer(&e->base, "gpu.versions.cublaslt", v->cublaslt);
    ddp_engine_tell_integer(&e->base, "gpu.versions.nccl", v->nccl);
}

void ddp_gpu_engine_describe(struct ddp_gpu_engine *e)
{
    static const char *const precision[] = {"fp32", "bf16", "fp16"};
    struct ddp_engine *base = &e->base;
    struct ddp_gpu_about *a = &e->about;
    snprintf(a->capability, sizeof a->capability, "%d.%d", a->device.major, a->device.minor);
    base->name = a->device.name;
    ddp_engine_tell_text(base, "device", "cuda");
    ddp_engine_tell_text(base, "gpu.name", a->device.name);
    ddp_engine_tell_text(base, "gpu.uuid", a->device.uuid);
    ddp_engine_tell_integer(base, "gpu.sms", a->device.sms);
    ddp_engine_tell_text(base, "gpu.compute_capability", a->capability);
    tell_versions(e);
    ddp_engine_tell_text(base, "gpu.precision", precision[e->type]);
    ddp_engine_tell_text(base, "gpu.plan_lock_sha256", base->identity);
    ddp_engine_tell_real(base, "gpu.memory_mb", (double)a->bytes / 1e6);
    ddp_engine_tell_bool(base, "gpu.graph", e->graph);
    if (e->train)
        ddp_engine_tell_integer(base, "gpu.branches", ddp_gpu_pass_branches(e->train));
    ddp_engine_tell_bool(base, "gpu.resident_data", e->layout.resident);

    ddp_text_init(&e->lock_text);
    ddp_gpu_lock_text(e->lock, &e->lock_text);
    base->file = DDP_GPU_LOCK_FILE;
    base->file_text = e->lock_text.s;
}
