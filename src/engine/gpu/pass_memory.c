/* One rank's memory for a model on the device: one allocation, cut up by the memory plan; the vendor's
 * workspace behind it. */
#include "engine/gpu/pass_private.h"

struct sizes {
    const struct ddp_gpu_pass *p;
    int batch;
};

/* Of what was planned for the model's own batch. */
static size_t scaled(const struct sizes *z, size_t bytes)
{
    return (size_t)((double)bytes * ((double)z->batch / z->p->plan->batch));
}

static size_t shape_bytes(const struct sizes *z, struct ddp_shape s)
{
    return (size_t)z->batch * (size_t)ddp_gpu_elements(s) * ddp_gpu_type_bytes(z->p->conf.type);
}

static size_t value_bytes(const void *ctx, int value, bool grad)
{
    const struct sizes *z = ctx;
    (void)grad;
    return shape_bytes(z, z->p->plan->value[value].shape);
}

static size_t saved_bytes(const void *ctx, int stage)
{
    const struct sizes *z = ctx;
    return scaled(z, z->p->stage[stage].plan.saved_bytes);
}

/* At the least what pictures on their way to a vector of features take. */
static size_t scratch_bytes(const void *ctx, int stage)
{
    const struct sizes *z = ctx;
    const size_t call = scaled(z, z->p->stage[stage].plan.scratch_bytes),
                 load = shape_bytes(z, z->p->plan->input);
    return call > load ? call : load;
}

static int sync_doubles(const void *ctx, int stage)
{
    const struct sizes *z = ctx;
    return z->p->stage[stage].plan.sync_doubles;
}

void ddp_gpu_pass_plan_memory(const struct ddp_gpu_pass *p, int batch, struct ddp_memory *out)
{
    const struct sizes z = {p, batch};
    const struct ddp_memory_form form = {.value = value_bytes,
                                         .saved = saved_bytes,
                                         .scratch = scratch_bytes,
                                         .sync_doubles = sync_doubles,
                                         .ctx = &z,
                                         .align = DDP_GPU_ALIGN};
    ddp_memory_plan(p->plan, p->conf.training, &form, out);
}

size_t ddp_gpu_pass_bytes(const struct ddp_gpu_pass *p, int batch)
{
    struct ddp_memory mem;
    ddp_gpu_pass_plan_memory(p, batch, &mem);
    const size_t bytes = ddp_memory_bytes(&mem, p->conf.resident) + ddp_gpu_align(p->workspace_bytes);
    ddp_memory_finish(&mem);
    return bytes;
}

int ddp_gpu_pass_sync_width(const struct ddp_gpu_pass *p)
{
    return p->mem.sync_doubles;
}

int ddp_gpu_pass_allocate(struct ddp_gpu_pass *p, struct ddp_error *err)
{
    const int resident = p->conf.resident;
    const size_t bytes = ddp_memory_bytes(&p->mem, resident) + ddp_gpu_align(p->workspace_bytes);
    const int status = p->conf.api->alloc(p->conf.gpu, bytes, &p->memory, err);
    if (status)
        return status;
    for (int i = 0; i < resident; i++)
        p->area[i] = ddp_memory_area(&p->mem, p->memory, i);
    p->scratch = ddp_memory_scratch(&p->mem, p->memory, resident);
    p->sync_leaves = ddp_memory_sync(&p->mem, p->memory, resident, 0);
    p->sync_sum = ddp_memory_sync(&p->mem, p->memory, resident, resident);
    p->workspace = (char *)p->memory + ddp_memory_bytes(&p->mem, resident);
    return 0;
}
