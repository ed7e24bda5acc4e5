/* One rank's memory for a model on the device: one allocation, cut up by the memory plan; behind it what each
 * branch has to itself, the vendor's workspace and, but for the first, scratch. */
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

void ddp_gpu_pass_narrow(struct ddp_gpu_pass *p, int branches)
{
    const int most = branches < DDP_GPU_MAX_BRANCHES ? branches : DDP_GPU_MAX_BRANCHES;
    if (p->branch->n > most)
        p->branch->n = most;
}

int ddp_gpu_pass_branches(const struct ddp_gpu_pass *p)
{
    return p->branch->n;
}

int ddp_gpu_pass_beside(const struct ddp_gpu_pass *p)
{
    return p->synced ? p->conf.shards : p->branch->n;
}

static size_t bytes(const struct ddp_gpu_pass *p, const struct ddp_memory *mem)
{
    const size_t n = (size_t)p->branch->n;
    return ddp_memory_bytes(mem, ddp_gpu_pass_beside(p)) + (n - 1) * mem->scratch_bytes +
           n * ddp_gpu_align(p->workspace_bytes);
}

size_t ddp_gpu_pass_bytes(const struct ddp_gpu_pass *p, int batch)
{
    struct ddp_memory mem;
    ddp_gpu_pass_plan_memory(p, batch, &mem);
    const size_t all = bytes(p, &mem);
    ddp_memory_finish(&mem);
    return all;
}

int ddp_gpu_pass_sync_width(const struct ddp_gpu_pass *p)
{
    return p->mem.sync_doubles;
}

static void place(struct ddp_gpu_pass *p)
{
    const int beside = ddp_gpu_pass_beside(p);
    char *behind = (char *)p->memory + ddp_memory_bytes(&p->mem, beside);
    for (int i = 0; i < beside; i++)
        p->area[i] = ddp_memory_area(&p->mem, p->memory, i);
    p->sync_leaves = ddp_memory_sync(&p->mem, p->memory, beside, 0);
    p->sync_sum = ddp_memory_sync(&p->mem, p->memory, beside, beside);
    p->scratch[0] = ddp_memory_scratch(&p->mem, p->memory, beside);
    for (int i = 0; i < p->branch->n; i++) {
        p->workspace[i] = behind;
        behind += ddp_gpu_align(p->workspace_bytes);
        if (i > 0) {
            p->scratch[i] = behind;
            behind += p->mem.scratch_bytes;
        }
    }
}

int ddp_gpu_pass_allocate(struct ddp_gpu_pass *p, struct ddp_error *err)
{
    int status = p->conf.api->alloc(p->conf.gpu, bytes(p, &p->mem), &p->memory, err);
    if (status == 0)
        status = ddp_gpu_branches_create(p->branch, p->conf.api, p->conf.gpu, p->branch->n, err);
    if (status)
        return status;
    place(p);
    return 0;
}
