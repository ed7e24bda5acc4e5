/* Dropout (Srivastava et al., 2014): out = in / (1 - p) where kept, 0 elsewhere; in evaluation out = in.
 *
 * An element is kept when its random word >= floor(p * 2^32). The word is a function of seed, epoch, layer,
 * the sample's index in the data set and the element's place in the plain layout, and of nothing else: not of
 * strides, vector width, threads, shard or position in the batch. With philox4(c0, c1, c2, c3; key = seed)
 * (base/philox.h), c = channel, q = y*W + x:
 *
 *   pictures (H*W > 1)   word q % 4 of {q / 4, c, low 32 bits of sample, s}
 *   vectors  (H*W = 1)   word c % 4 of {c / 4, 0xffffffff, low 32 bits of sample, s}
 *
 *   s = DDP_STREAM_DROPOUT ^ layer ^ epoch * 0x9E3779B1 ^ (high 32 bits of sample) * 0xC2B2AE3D
 *
 * where layer is the hash of the layer's name. Channels stay far below 2^32 - 1, so the two forms never meet;
 * a flattened picture (flatten.c) that kept its shape counts as a picture.
 *
 * The kept bits, 16 channels to a word of 16, are saved for backward. out may be in's memory, din dout's. */
#include "ops/ops.h"

#include "ops/dropout/dropout.h"
#include "ops/dropout/dropout_cpu.h"
#include "ops/point/point_cpu.h"
#include "ops/builtin.h"
#include "ops/walk.h"

static const struct ddp_key keys[] = {
    {.name = "p",
     .type = DDP_KEY_FLOAT,
     .offset = offsetof(struct ddp_dropout_conf, p),
     .dflt = "0.5",
     .min = 0,
     .max = 1,
     .flags = DDP_KEY_RESULT,
     .doc = "probability that an element is zeroed; below 1"},
    {0},
};

struct job {
    struct ddp_dropout d;
    const struct ddp_op_call *call;
    struct ddp_walk walk;
    int blocks, groups;
    bool back;
};

static int plan_layer(const void *conf_, const struct ddp_shape *in, int nin, int batch,
                      struct ddp_layer_plan *plan, struct ddp_error *err)
{
    const struct ddp_dropout_conf *conf = conf_;
    (void)nin;
    if (!(conf->p >= 0 && conf->p < 1))
        return ddp_fail(err, DDP_E_CONFIG, "dropout: p is %g, allowed is 0 up to, but not including, 1",
                        conf->p);
    int64_t pixels = (int64_t)in[0].h * in[0].w, words = pixels == 1 ? 1 : (pixels + 3) / 4 * 4;
    plan->out = in[0];
    plan->any_strides = true;
    plan->over_in = DDP_OVER_PLAIN;
    plan->saved_bytes = (size_t)batch * ddp_blocks(in[0].c) * (size_t)words * sizeof(uint16_t);
    plan->flops = (double)in[0].c * pixels;
    return 0;
}

static struct job job_of(const struct ddp_op_call *call, bool back)
{
    const struct ddp_dropout_conf *conf = call->conf;
    struct job j = {.call = call, .back = back};
    j.d = (struct ddp_dropout){
        .in = back ? call->dout : call->in[0],
        .out = back ? call->din[0] : call->out,
        .kept = call->saved,
        .seed = call->seed,
        .stream = DDP_STREAM_DROPOUT ^ call->layer ^ call->epoch * 0x9E3779B1u,
        .threshold = (uint32_t)(conf->p * 0x1p32),
        .scale = (float)(1.0 / (1.0 - conf->p)),
        .sample = call->sample,
        .accumulate = back && call->accumulate[0],
    };
    j.walk = ddp_walk_of(j.d.out);
    j.blocks = ddp_blocks(j.d.in->c);
    j.groups = (j.d.in->h * j.d.in->w + 3) / 4;
    return j;
}

static void copy_task(void *ctx, int task)
{
    const struct job *j = ctx;
    ddp_point_kernels()->copy(j->walk.rows, j->walk.run, ddp_walk_plane(&j->walk, j->d.in, task),
                              ddp_walk_plane(&j->walk, j->d.out, task), j->d.accumulate);
}

static void vectors_task(void *ctx, int block)
{
    const struct job *j = ctx;
    const struct ddp_dropout_kernels *k = ddp_dropout_kernels();
    (j->back ? k->backward_vectors : k->forward_vectors)(&j->d, block, 0, j->d.in->n);
}

/* Pictures: task = (sample, block). Features: task = (block, group), so that samples, which lie together, are
 * inside. */
static void groups_task(void *ctx, int task)
{
    const struct job *j = ctx;
    const struct ddp_dropout_kernels *k = ddp_dropout_kernels();
    int n0 = task / j->blocks, n1 = n0 + 1, block = task % j->blocks, g0 = 0, g1 = j->groups;
    if (j->walk.features) {
        n0 = 0;
        n1 = j->d.in->n;
        block = task / j->groups;
        g0 = task % j->groups;
        g1 = g0 + 1;
    }
    (j->back ? k->backward : k->forward)(&j->d, block, g0, g1, n0, n1);
}

static void run(struct job *j)
{
    const struct ddp_tensor *in = j->d.in;
    if (in->n == 0)
        return;
    if (!j->call->training)
        ddp_parallel(j->call->pool, j->walk.tasks, copy_task, j);
    else if (in->h * in->w == 1)
        ddp_parallel(j->call->pool, j->blocks, vectors_task, j);
    else
        ddp_parallel(j->call->pool, j->blocks * (j->walk.features ? j->groups : in->n), groups_task, j);
}

static void forward(const struct ddp_op_call *call)
{
    struct job j = job_of(call, false);
    if (call->training || call->in[0]->p != call->out->p)
        run(&j);
}

static void backward(const struct ddp_op_call *call)
{
    if (!call->din[0])
        return;
    struct job j = job_of(call, true);
    run(&j);
}

const struct ddp_op ddp_op_dropout = {
    .name = "dropout",
    .doc = "zero elements at random while training",
    .conf_bytes = sizeof(struct ddp_dropout_conf),
    .keys = keys,
    .nin = 1,
    .any_shape = true,
    .out_use = DDP_OUT_UNREAD,
    .plan = plan_layer,
    .forward = forward,
    .backward = backward,
    .device = &ddp_dropout_device,
};
