/* Losses of a batch: each sample on its own, then one fixed sum over all. */
#include "ops/loss/loss.h"

#include "ops/ops.h"

enum { SAMPLES_PER_TASK = 16 };

struct job {
    const struct ddp_op_call *call;
    ddp_loss_fn fn;
    float *loss;    /* [n] */
    int32_t *right; /* [n], or */
    float *error;   /* [n] in its place */
};

int ddp_loss_plan(const char *name, struct ddp_shape in, int batch, struct ddp_layer_plan *plan,
                  struct ddp_error *err)
{
    if (in.h != 1 || in.w != 1)
        return ddp_fail(
            err, DDP_E_SHAPE,
            "%s: pictures of %d x %d x %d came in, it takes one value for each class; put a linear layer or "
            "global_avg_pool before it",
            name, in.c, in.h, in.w);
    plan->out = in;
    plan->any_strides = true;
    plan->scratch_bytes = (size_t)batch * (sizeof(float) + sizeof(int32_t));
    plan->flops = 20.0 * in.c;
    return 0;
}

static void set_labels(const struct ddp_op_call *call, int n, struct ddp_loss_sample *s)
{
    const struct ddp_mixed *m = call->mixed ? &call->mixed[n] : NULL;
    s->label = m ? m->label : call->label[n];
    s->other = m ? m->other : s->label;
    s->own = m ? m->own : 1.0f;
}

static void samples_task(void *ctx, int task)
{
    const struct job *j = ctx;
    const struct ddp_op_call *call = j->call;
    const struct ddp_tensor *x = call->in[0], *dx = call->training ? call->din[0] : NULL;
    int end = (task + 1) * SAMPLES_PER_TASK < x->n ? (task + 1) * SAMPLES_PER_TASK : x->n;
    for (int n = task * SAMPLES_PER_TASK; n < end; n++) {
        struct ddp_loss_sample s = {.x = ddp_at(x, n, 0, 0, 0), .sb = x->sb, .classes = x->c};
        if (call->target)
            s.target = call->target + (int64_t)n * x->c;
        else
            set_labels(call, n, &s);
        if (dx) {
            s.dx = ddp_at(dx, n, 0, 0, 0);
            s.dsb = dx->sb;
            s.accumulate = call->accumulate[0];
        }
        struct ddp_loss_score score;
        j->loss[n] = j->fn(call, &s, &score);
        if (call->target)
            j->error[n] = score.error;
        else
            j->right[n] = score.best == (s.own >= 0.5f ? s.label : s.other);
    }
}

static float tree_sum(float *v, int n)
{
    for (int stride = 1; stride < n; stride *= 2)
        for (int i = 0; i + stride < n; i += 2 * stride)
            v[i] += v[i + stride];
    return v[0];
}

void ddp_loss_run(const struct ddp_op_call *call, ddp_loss_fn fn)
{
    int n = call->in[0]->n;
    *call->loss = 0;
    *call->correct = 0;
    if (call->target)
        *call->error = 0;
    if (n == 0)
        return;
    float *scratch = call->scratch;
    struct job j = {call, fn, scratch, (int32_t *)(scratch + n), scratch + n};
    ddp_parallel(call->pool, (n + SAMPLES_PER_TASK - 1) / SAMPLES_PER_TASK, samples_task, &j);
    for (int i = 0; i < n && !call->target; i++)
        *call->correct += j.right[i];
    if (call->target)
        *call->error = tree_sum(j.error, n);
    *call->loss = tree_sum(j.loss, n);
}
